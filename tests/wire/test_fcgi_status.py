"""What lastack knows of php-fpm: its status page in the metrics, warnings, health checks, `check --probe`."""
import contextlib
import copy
import os
import socket

from harness import servers
from harness.proxy import lastack
from harness.raw import get
from harness.wait import until


def front(run, children, maximum, fastcgi=None, **more):
    fpm = run.own(servers.PhpFpm(run.directory, children=children))
    root = run.folder("www")
    with open(os.path.join(root, "index.php"), "w") as f:
        f.write("<?php echo 'ok';")
    proxy, port = run.front([fpm], protocol="fastcgi", pool={"max": maximum}, fastcgi={"root": root, **(fastcgi or {})}, **more)
    return fpm, proxy, port


SOON = {"interval": "100ms", "timeout": "100ms"}


def probe(proxy):
    code, text = lastack("check", "--probe", proxy.conf_path)
    assert code == 0, text
    return text


def sampled(proxy):
    return proxy.metrics().sum("lastack_fpm_processes") > 0


def test_metrics(run):
    fpm, proxy, port = front(run, 5, 3, {"status_path": "/fpm-status"}, health={**SOON, "timeout": "10s"})
    assert get(port).status == 200
    until(lambda: sampled(proxy), 10, "a sample")
    # php-fpm counts a worker as active again for each request of a connection that stays open, and puts that right once a second.
    until(lambda: proxy.metrics().sum("lastack_fpm_processes") == 5, 20, "all of its workers")
    assert proxy.metrics().sum("lastack_fpm_listen_queue") == 0
    until(lambda: proxy.metrics().sum("lastack_fpm_accepted_total") >= 5, 10, "more samples than connections")
    assert proxy.metrics().sum("lastack_connections_closed_total") == 0, "a sample costs a connection"
    assert "pm.max_children" not in proxy.log() and proxy.metrics().sum("lastack_server_up") == 1
    until(lambda: "php-fpm has 5 workers (static)" in probe(proxy), 20, "the probe to tell")
    assert "pool.max (" not in probe(proxy)


def test_a_pool_that_is_too_large(run):
    _, proxy, port = front(run, 3, 3, {"status_path": "/fpm-status"}, health=SOON)
    until(lambda: "pool.max (3) is not below pm.max_children (3)" in proxy.log(), 10, "the warning")
    proxy.stop()  # its samples keep php-fpm's count wrong
    until(lambda: "upstreams.app.pool.max: server unix:" in probe(proxy), 20, "the probe to tell", every=0.3)


def test_a_page_that_is_none(run):
    """It is told, and the server stays in use."""
    fpm, proxy, port = front(run, 3, 2, {"status_path": "/index.php"}, health=SOON)
    until(lambda: "is not php-fpm's status page" in proxy.log(), 10, "the warning")
    assert get(port).status == 200 and not sampled(proxy)
    code, text = lastack("check", "--probe", proxy.conf_path)
    assert code == 0 and "set pm.status_path" in text, text
    fpm.kill()
    until(lambda: "Connection refused" in lastack("check", "--probe", proxy.conf_path)[1], 10, "the refusal to be told")


def test_health_checks_and_samples_take_turns(run):
    fpm, proxy, port = front(run, 4, 2, {"status_path": "/fpm-status"}, health={**SOON, "path": "/fpm-ping", "unhealthy": 2})
    until(lambda: sampled(proxy), 10, "a sample")
    assert proxy.metrics().sum("lastack_server_up") == 1
    fpm.signal(19)  # stopped
    for child in fpm.children():
        os.kill(child, 19)
    until(lambda: proxy.metrics().sum("lastack_server_up") == 0, 20, "the server to be down")
    for child in fpm.children():
        os.kill(child, 18)
    fpm.signal(18)
    until(lambda: proxy.metrics().sum("lastack_server_up") == 1, 20, "the server to be up")
    until(lambda: get(port).status == 200, 10, "an answer")


def test_the_page_goes_while_its_connection_comes(run):
    """A reload takes status_path away between a look's connect and its answer."""
    with contextlib.ExitStack() as stack:
        own = stack.enter_context
        server = own(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = server.getsockname()
        own(socket.create_connection(address))  # its queue is full: the next one is told nothing
        health = {"interval": "20s", "timeout": "20s"}
        proxy, port = run.front(["%s:%d" % address], protocol="fastcgi", health={**health, "path": "/ping"}, timeouts={"connect": "20s"},
                                fastcgi={"root": run.folder("www"), "status_path": "/status"})
        until(lambda: proxy.metrics().sum("lastack_connections", state="dialing") == 1, 10, "the dial")
        conf = copy.deepcopy(proxy.conf)
        del conf["upstreams"]["app"]["fastcgi"]["status_path"]
        proxy.reload(conf)
        server.listen(10)
        until(lambda: proxy.metrics().sum("lastack_connections", state="dialing") == 0, 20, "the connection")
        assert proxy.process.alive()


def test_what_php_said_ends_with_its_page(run):
    _, proxy, port = front(run, 3, 2, {"status_path": "/fpm-status"}, health=SOON)
    until(lambda: sampled(proxy), 10, "a sample")
    conf = copy.deepcopy(proxy.conf)
    del conf["upstreams"]["app"]["fastcgi"]["status_path"]
    proxy.reload(conf)
    until(lambda: not sampled(proxy), 10, "its metrics to go")
