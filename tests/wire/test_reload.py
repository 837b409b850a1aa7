"""Reload under load: nobody notices, nothing grows, the connections to the servers stay."""
import contextlib
import copy
import json
import os
import shutil
import signal
import socket
import tempfile
import threading
import time

import pytest

from harness import memcached
from harness.peers import clean
from harness.process import Process
from harness.proxy import BIN, KIND, OPTIONS, SLOW, Proxy, config, free_port
from harness.raw import Client, Crowd, Origin, get, request
from harness.wait import holds, scale, until

RELOADS = scale(20, 100)
WARM = 8
MIB = 1 << 20


def reload_all(proxy, conf, times):
    for n in range(times):
        conf["upstreams"]["app"]["timeouts"] = {"response": f"{30 + n % 2}s"}
        proxy.reload(conf)


def test_reload_under_load(run):
    backend = run.backend(delay_us=1000)
    proxy, port = run.front([backend], workers=4, pool={"max": 8})
    load = run.load(port, clients=64, keepalive=50, duration_ms=600000)
    conf = copy.deepcopy(proxy.conf)
    reload_all(proxy, conf, WARM)
    until(lambda: backend.stats()["requests"] > 2000, 20, "the load")
    accepted, sockets, memory = backend.stats()["accepted"], backend.stats()["open"], proxy.process.rss()
    reload_all(proxy, conf, RELOADS)
    grown = proxy.process.rss() - memory
    requests = backend.stats()["requests"]
    until(lambda: backend.stats()["requests"] > requests + 500, 20, "the load to go on")
    assert proxy.reloads("error") == 0
    clean(load.stop())
    seen = backend.stats()
    assert seen["accepted"] == accepted and seen["open"] == sockets, "the pool was kept"
    assert seen["over_cap"] == 0 and seen["open_max"] <= 8
    if KIND == "release":
        assert grown < 2 * MIB, f"{RELOADS} reloads: {grown / MIB:.1f} MiB more"


def test_descriptors_do_not_grow(run):
    """Counted at rest: the same connections, the same listeners, the same files after every reload."""
    backend = run.backend()
    proxy, port = run.front([backend], workers=4, pool={"max": 8})
    conf = copy.deepcopy(proxy.conf)

    def at_rest():
        clean(run.load(port, clients=32, keepalive=50, requests=500).result())
        until(lambda: proxy.metrics().sum("lastack_client_connections") == 0, 5, "all clients to leave")

        # The least of many looks: the admin listener and the port ledger open one for a moment now and then.
        def look(_):
            time.sleep(0.01)
            return proxy.process.descriptors() - backend.stats()["open"]
        return min(map(look, range(30)))

    reload_all(proxy, conf, WARM)
    before = at_rest()
    reload_all(proxy, conf, RELOADS)
    after = at_rest()
    assert after <= before, f"{before} descriptors before, {after} after {RELOADS} reloads"


def test_a_bad_file_changes_nothing(run):
    backend = run.backend()
    proxy, port = run.front([backend], pool={"max": 8})
    load = run.load(port, clients=16, keepalive=50, duration_ms=600000)
    good = copy.deepcopy(proxy.conf)
    for _ in range(5):
        proxy.reload({**good, "upstreams": {"app": {"servers": [backend.text], "pool": {"max": -1}}}}, expect="failure")
    requests = backend.stats()["requests"]
    holds(lambda: load.running(), 0.2, "the load")
    until(lambda: backend.stats()["requests"] > requests + 200, 10, "the load to go on")
    clean(load.stop())
    assert backend.stats()["open_max"] <= 8
    proxy.reload(good)


def test_a_configuration_out_of_a_pipe(run):
    """It is read once: nobody may ever write to the pipe again, and the process must not wait for that."""
    lastack, port = run.front([run.origin()])
    os.remove(lastack.conf_path)
    os.mkfifo(lastack.conf_path)
    lastack.reload(expect="failure")
    assert get(port).status == 200 and f"{lastack.conf_path}: not a regular file" in lastack.log()
    assert lastack.stop() == 0


def test_an_upstream_that_goes_with_requests_behind_the_waiting(run):
    """A pipelined request follows one that waits for an upstream which a reload takes away: the first fails, the next goes to the
    new one."""
    slow, fast = run.backend(delay_us=60000000), run.backend()
    proxy, port = run.front([slow], workers=1, pool={"max": 1}, timeouts={"response": "60s"})
    with Client(port) as first, Client(port) as second:
        first.send(request("/working"))
        until(lambda: slow.stats()["requests"] == 1, 5, "the only connection to be at work")
        second.send(request("/waiting") + request("/behind"))
        until(lambda: proxy.metrics().sum("lastack_queue_length") == 1, 5, "the next one to wait")
        conf = copy.deepcopy(proxy.conf)
        conf["upstreams"] = {"other": conf["upstreams"]["app"] | {"servers": [fast.text]}}
        conf["listen"][0]["upstream"] = "other"
        proxy.reload(conf)
        assert second.final().status in (502, 503)
        assert second.final().status == 200


def silent_server(run):
    """A socket on loopback whose backlog is full: a SYN is not answered."""
    listener = run.own(socket.create_server(("127.0.0.1", 0), backlog=0))
    for _ in range(3):
        s = run.own(socket.socket())
        s.setblocking(False)
        s.connect_ex(listener.getsockname())
    return "127.0.0.1:%d" % listener.getsockname()[1]


@pytest.mark.sanitizer
@pytest.mark.parametrize("before,after", [("least_connections", "hash"), ("hash", "least_connections")])
def test_reload_while_dials_are_under_way(run, before, after):
    """Where requests wait may change with the configuration, while connections to a server that does not answer are on the way;
    and then the server goes: its dials are nobody's any more, and the requests go to the one that takes its place."""
    good = run.backend()
    proxy, port = run.front([silent_server(run)], workers=1, balance=before, hash_key="client", timeouts={"connect": "4s"}, retry={"max": 0})
    clients = [run.own(Client(port)) for _ in range(3)]
    for c in clients:
        c.send(request("/"))
    until(lambda: proxy.metrics().sum("lastack_connections", state="dialing") == 3, 5, "the dials")
    conf = copy.deepcopy(proxy.conf)
    conf["upstreams"]["app"]["balance"] = after
    proxy.reload(conf)
    assert proxy.metrics().sum("lastack_connections", state="dialing") == 3
    conf["upstreams"]["app"]["servers"] = [good.text]
    proxy.reload(conf)
    assert [c.final().status for c in clients] == [200] * 3
    until(lambda: proxy.metrics().sum("lastack_connections", state="dialing") == 0, 20, "the dials to end")
    clients[0].send(request("/"))
    assert clients[0].final().status == 200


@pytest.mark.sanitizer
def test_a_listener_that_changes_its_protocol(run):
    """Clients of the old one are let go as when their listener goes; the socket takes those of the new one, and back again."""
    cache, = memcached.start(run)
    proxy, port = run.front([run.backend()], workers=2)
    http = copy.deepcopy(proxy.conf)
    other = copy.deepcopy(proxy.conf)
    other["upstreams"] = {"cache": {"protocol": "memcached", "servers": [cache.text]}}
    other["listen"] = [{"name": http["listen"][0].get("name", "web"), "address": f"127.0.0.1:{port}", "protocol": "memcached", "upstream": "cache"}]
    for _ in range(2):
        with Client(port) as idle, Client(port) as half:
            idle.send(request("/"))
            assert idle.final().status == 200
            half.send("GET / HT")
            proxy.reload(other)
            assert idle.at_end()
            with memcached.Client(port) as c, memcached.Client(port) as d:
                assert c.set(b"a", b"1") == b"STORED\r\n"
                d.send(b"get a")
                json.loads(proxy.admin("/api/v1/connections")[2])
                proxy.reload(http)
                assert c.rest() == b""
        assert get(port).status == 200


@pytest.mark.parametrize("way", ["server", "upstream", "protocol"])
def test_the_cap_holds_for_a_server_that_leaves_and_returns(run, way):
    """Its connections outlive the configurations that do not name it: they count, and carry requests again."""
    first, other = run.backend(), run.backend()
    proxy, port = run.front([first], workers=2, pool={"max": 4})
    with_it = copy.deepcopy(proxy.conf)
    without = copy.deepcopy(proxy.conf)
    upstream = without["upstreams"]["app"]
    if way == "server":
        upstream["servers"] = [other.text]
    elif way == "upstream":
        without["upstreams"] = {"other": upstream | {"servers": [other.text]}}
        without["listen"][0]["upstream"] = "other"
    else:
        upstream["protocol"] = "memcached"
        without["listen"][0]["protocol"] = "memcached"
    for _ in range(3):
        clean(run.load(port, clients=32, requests=300).result())
        proxy.reload(without)
        proxy.reload(with_it)
    clean(run.load(port, clients=32, requests=300).result())
    seen = first.stats()
    assert seen["open_max"] <= 4 and seen["over_cap"] == 0
    assert seen["accepted"] <= (4 if way != "protocol" else 16), "they were used again"


@pytest.mark.sanitizer
def test_a_unix_listener_that_goes_serves_who_has_connected(run):
    """Clients that no worker has accepted yet, when a reload takes their listener away, are answered."""
    backend = run.backend()
    proxy, port = run.front([backend], workers=2, pool={"max": 8})
    conf = copy.deepcopy(proxy.conf)
    path = str(run.directory / "front.sock")
    with_it = {**conf, "listen": conf["listen"] + [{**conf["listen"][0], "name": "local", "address": "unix:" + path}]}
    proxy.reload(with_it)
    proxy.write(conf)
    proxy.process.signal(signal.SIGSTOP)
    clients = []
    for _ in range(200):
        s = run.own(socket.socket(socket.AF_UNIX))
        s.settimeout(20)
        s.connect(path)
        s.sendall(request("/", headers="Connection: close\r\n"))
        clients.append(s)
    proxy.process.signal(signal.SIGHUP)
    proxy.process.signal(signal.SIGCONT)
    assert [s.recv(12) for s in clients] == [b"HTTP/1.1 200"] * 200
    until(lambda: proxy.reloads() == 2, 10, "the reload")
    assert not os.path.exists(path)


@pytest.mark.sanitizer
def test_listeners_come_and_go(run):
    """While clients of theirs are being answered, and the counts are read."""
    backend = run.backend(delay_us=20000)
    proxy, _ = run.front([backend], workers=2, pool={"max": 8})
    conf = copy.deepcopy(proxy.conf)
    for n in range(10):
        port = free_port()
        proxy.reload({**conf, "listen": conf["listen"] + [{**conf["listen"][0], "name": f"n{n}", "address": f"127.0.0.1:{port}"}]})
        clients = [run.own(Client(port)) for _ in range(8)]
        for c in clients:
            c.send(request("/"))
        until(lambda: proxy.metrics().sum("lastack_client_connections", listener=f"n{n}") == 8, 5, "the clients")
        proxy.reload(conf)
        assert [c.final().status for c in clients] == [200] * 8
        assert list(proxy.metrics().by("lastack_client_connections", "listener")) == ["web"]


def test_a_reload_says_what_needs_a_restart(run):
    proxy, port = run.front([run.backend()], workers=len(os.sched_getaffinity(0)) + 1)
    proxy.reload({**proxy.conf, "workers": "auto", "admin": {"address": "127.0.0.1:1"}, "user": "nobody", "limits": {"header_bytes": "64KiB"}})
    for key in ("workers", "admin.address", "user", "limits.header_bytes"):
        assert any(key + ": " in line and "restart" in line for line in proxy.log().split("\n")), key
    own = {"name": "own", "address": f"0.0.0.0:{proxy.admin_port}", "upstream": "app"}
    proxy.reload({**proxy.conf, "listen": proxy.conf["listen"] + [own]}, expect="failed")
    assert "in use; this process has it as its admin.address" in proxy.log()
    assert get(port).status == 200


@pytest.mark.sanitizer
def test_a_server_goes_while_requests_wait_for_another(run):
    """Its last response ends at a worker whose colleagues wait, and do not know the server any more: its connection stays where
    it is, and no descriptor is mixed up."""
    stays, goes = run.backend(delay_us=300000), run.backend(delay_us=2000000)
    proxy, port = run.front([stays, goes], workers=2, pool={"max": 1}, timeouts={"response": "60s"}, queue={"timeout": "30s"})
    stdin = f"/proc/{proxy.process.pid}/fd/0"
    conf, before = copy.deepcopy(proxy.conf), os.readlink(stdin)
    conf["upstreams"]["app"]["servers"] = [stays.text]
    clients = [run.own(Client(port, timeout=30)) for _ in range(16)]
    for c in clients:
        c.send(request("/"))
    until(lambda: goes.stats()["requests"] == 1 and stays.stats()["requests"] >= 1, 10, "both to be at work")
    proxy.reload(conf)
    assert [c.final().status for c in clients] == [200] * len(clients)
    assert os.readlink(stdin) == before
    assert goes.stats()["requests"] == 1 and stays.stats()["open_max"] == 1
    goes.close()
    until(lambda: proxy.metrics().sum("lastack_connections", server=goes.text) == 0, 10, "its connection to go")


def counts(proxy, server):
    """(opened, closed, open) of one server, by the metrics."""
    m = proxy.metrics()
    return tuple(m.sum(name, server=server.text) for name in ("lastack_connections_opened_total", "lastack_connections_closed_total", "lastack_connections"))


def at_rest(proxy, server):
    """The same, once all dials have ended and the server has seen them."""
    until(lambda: proxy.metrics().sum("lastack_connections", server=server.text, state="dialing") == 0, 10, "the dials to end")
    until(lambda: counts(proxy, server)[0] == server.stats()["accepted"], 10, "each to be seen")
    return counts(proxy, server)


@pytest.mark.sanitizer
def test_a_server_that_takes_anothers_place_counts_on(run):
    """Another source makes another server: what the one before has counted stays, and its connections are still counted."""
    backend = run.backend()
    proxy, port = run.front([backend], workers=2, pool={"max": 4})
    app = proxy.conf["upstreams"]["app"]
    opened = closed = answered = 0
    for source in ({}, {"source": ["127.0.0.1"]}, {}):
        proxy.reload({**proxy.conf, "upstreams": {"app": {**app, **source}}})
        clean(run.load(port, clients=32, requests=300).result())
        before, (opened, closed, _) = (opened, closed), at_rest(proxy, backend)
        assert opened >= before[0] and closed >= before[1]
        before, answered = answered, proxy.metrics().sum("lastack_requests_total", server=backend.text, code="200")
        assert answered >= before + 300
    by_source = proxy.metrics().by("lastack_connections_opened_total", "source")
    assert by_source["default"] > 0 and by_source["127.0.0.1"] > 0
    backend.close()
    until(lambda: counts(proxy, backend) == (opened, opened, 0), 20, "the close of each to be counted")


def test_a_removed_server_is_shown_while_it_has_connections(run):
    """And its last closes are counted where they can be seen."""
    goes, stays = run.backend(delay_us=2000), run.backend(delay_us=2000)
    proxy, port = run.front([goes, stays], workers=2, pool={"max": 4})
    conf = copy.deepcopy(proxy.conf)
    clean(run.load(port, clients=32, requests=300).result())
    before = opened, _, left = at_rest(proxy, goes)
    assert left > 0
    conf["upstreams"]["app"]["servers"] = [stays.text]
    for _ in range(2):
        proxy.reload(conf)
        until(lambda: counts(proxy, goes) == before, 10, "its connections to be shown")
        assert proxy.metrics().sum("lastack_requests_total", server=goes.text, code="200") > 0
        shown, = proxy.status()["removed"]
        assert (shown["upstream"], shown["server"], shown["opened"]) == ("app", goes.text, opened)
        assert sum(shown["connections"].values()) == left
    goes.close()
    until(lambda: counts(proxy, goes) == (opened, opened, 0), 20, "the close of each to be counted")

    def forgotten():
        proxy.reload(conf)
        return proxy.status()["removed"] == [] and counts(proxy, goes) == (0, 0, 0)
    until(forgotten, 20, "it to be forgotten")


def test_the_cap_holds_while_an_upstream_changes_its_name(run):
    """Under load, several times: the backend never sees more connections than pool.max. Requests that wait for what is no more
    are told so; nothing else fails."""
    backend = run.backend(delay_us=2000)
    proxy, port = run.front([backend], workers=2, pool={"max": 4})
    conf = copy.deepcopy(proxy.conf)
    app = conf["upstreams"]["app"]
    load = run.load(port, clients=16, duration_ms=600000)
    for n in range(8):
        requests = backend.stats()["requests"]
        until(lambda: backend.stats()["requests"] > requests + 200, 20, "the load to go on")
        name = f"app{n % 4 * n % 3}"  # also one that there was before
        conf["upstreams"] = {name: app}
        conf["listen"][0]["upstream"] = name
        proxy.reload(conf)
    found = load.stop()
    assert set(found["status"]) <= {"200", "503"}
    clean({**found, "status_5xx": 0})
    assert backend.stats()["open_max"] <= 4


@pytest.mark.parametrize("full", [False, True])
def test_connections_of_a_server_that_was_replaced(run, full):
    """The server closes them in its time, as ever; at the cap, where they would keep requests waiting, they make room."""
    gate = threading.Event()

    origin = run.origin(answer=lambda r: gate.wait(30) and (200, b"", ""))
    proxy, port = run.front([origin], workers=2, pool={"max": 4 if full else 64})
    crowd = Crowd(4, lambda n: get(port))
    until(lambda: len(origin.connections) == 4, 10, "four connections")
    gate.set()
    assert {r.status for r in crowd.results()} == {200}
    conf = copy.deepcopy(proxy.conf)
    conf["upstreams"]["app"]["source"] = ["127.0.0.1"]
    proxy.reload(conf)
    assert get(port).status == 200 and len(origin.connections) == 5
    before = origin.connections[:4]
    if full:
        until(lambda: {c.ended for c in before} == {"peer"}, 10, "room")
    else:
        holds(lambda: {c.ended for c in before} == {None}, 0.5, "no end that the proxy begins")


def test_an_upstream_returns_beside_the_one_that_took_its_place(run):
    """Each has its own cap again, also while a connection of the first life is at work."""
    go = threading.Event()

    def answer(r):
        if r.target == "/slow":
            go.wait(30)
        return 200, b"", ""
    origin = run.own(Origin(answer=answer))
    proxy, port = run.front([origin], workers=1, pool={"max": 1}, timeouts={"response": "60s"})
    conf, second = copy.deepcopy(proxy.conf), free_port()
    app = conf["upstreams"]["app"]
    with Client(port) as c:
        c.send(request("/slow"))
        until(lambda: proxy.metrics().sum("lastack_connections", state="busy") == 1, 5, "the request to be at work")
        conf["upstreams"] = {"other": app}
        conf["listen"][0]["upstream"] = "other"
        proxy.reload(conf)
        conf["upstreams"] = {"app": app, "other": app}
        conf["listen"].append({"name": "again", "address": f"127.0.0.1:{second}", "upstream": "app"})
        for _ in range(2):
            proxy.reload(conf)
        assert get(second).status == 200
        go.set()
        assert c.final().status == 200
    assert get(port).status == 200


def test_a_server_that_drains_gets_no_more_requests(run):
    """Also while requests wait: those that come free are not used again."""
    stays, drains = run.backend(delay_us=5000), run.backend(delay_us=5000)
    proxy, port = run.front([stays, drains], workers=2, pool={"max": 2})
    load = run.load(port, clients=32, duration_ms=600000)
    until(lambda: drains.stats()["requests"] > 50, 20, "the load")
    conf = copy.deepcopy(proxy.conf)
    conf["upstreams"]["app"]["servers"] = [stays.text, {"address": drains.text, "drain": True}]
    proxy.reload(conf)
    last, more = drains.stats()["requests"], stays.stats()["requests"]
    until(lambda: stays.stats()["requests"] > more + 100, 20, "the load to go on")
    assert drains.stats()["requests"] <= last + 2
    clean(load.stop())


def test_an_upstream_that_changes_its_protocol_with_requests_waiting(run):
    """They were made for the protocol it had: none of them is sent to what speaks another one."""
    slow = run.backend(delay_us=60000000)
    other = run.own(socket.create_server(("127.0.0.1", 0)))
    other.setblocking(False)
    proxy, port = run.front([slow], workers=1, pool={"max": 1}, timeouts={"response": "60s"})
    with Client(port) as first, Client(port) as second:
        first.send(request("/working"))
        until(lambda: slow.stats()["requests"] == 1, 5, "the only connection to be at work")
        second.send(request("/waiting"))
        until(lambda: proxy.metrics().sum("lastack_queue_length") == 1, 5, "the next one to wait")
        conf = copy.deepcopy(proxy.conf)
        conf["upstreams"]["app"] |= {"protocol": "fastcgi", "servers": ["127.0.0.1:%d" % other.getsockname()[1]],
                                     "fastcgi": {"root": str(run.directory)}}
        proxy.reload(conf)
        assert second.final().status in (502, 503)
        with pytest.raises(BlockingIOError):
            other.accept()


def test_a_listener_gets_another_name(run):
    proxy, port = run.front([run.backend()], workers=2)
    assert get(port).status == 200
    conf = copy.deepcopy(proxy.conf)
    conf["listen"][0]["name"] = "shop"
    proxy.reload(conf)
    assert get(port).status == 200
    until(lambda: len(proxy.access()) == 2, 5, "both lines")
    assert sorted(line["listener"] for line in proxy.access()) == ["shop", "web"]
    assert list(proxy.metrics().by("lastack_client_connections", "listener")) == ["shop"]


def test_listeners_exchange_their_names(run):
    """What one has counted does not appear under the other's name; what is open does."""
    proxy, port = run.front([run.backend()], workers=2)
    conf = copy.deepcopy(proxy.conf)
    conf["listen"].append({**conf["listen"][0], "name": "b", "address": f"127.0.0.1:{free_port()}"})
    proxy.reload(conf)

    def counts():
        m = proxy.metrics()
        return [m.by(name, "listener") for name in ("lastack_clients_accepted_total", "lastack_client_connections")]
    with Client(port) as c:
        assert c.ask("/").status == 200
        for _ in range(4):
            assert get(port).status == 200
        until(lambda: counts() == [{"web": 5, "b": 0}, {"web": 1, "b": 0}], 5, "the others to leave")
        conf["listen"][0]["name"], conf["listen"][1]["name"] = "b", "web"
        proxy.reload(conf)
        assert counts() == [{"web": 0, "b": 0}, {"web": 0, "b": 1}]
        proxy.reload(conf)
        assert get(port).status == 200
        assert counts()[0] == {"web": 0, "b": 1}


def test_fewer_workers_in_the_file_than_run(run):
    """Their number stays; each goes on to have its connection to a memcached server."""
    server, = memcached.start(run)
    proxy, port = memcached.front(run, [server], top={"workers": 4})
    proxy.reload({**proxy.conf, "workers": 1})
    for _ in range(40):
        with memcached.Client(port) as c:
            assert c.set(b"k", b"v") == b"STORED\r\n"


@pytest.mark.sanitizer
def test_a_reload_before_it_is_ready(run):
    """While the first file is being read; the one that is there afterwards counts."""
    old, new = run.origin(answer=lambda r: (200, b"old", "")), run.origin(answer=lambda r: (200, b"new", ""))
    proxy, port = run.front([old])
    assert proxy.stop() == 0
    conf = copy.deepcopy(proxy.conf)
    conf["upstreams"]["app"]["servers"] = [new.text]
    with open(proxy.conf_path) as f:
        first = f.read()
    os.unlink(proxy.conf_path)
    os.mkfifo(proxy.conf_path)
    proxy.process = Process([BIN, "run", proxy.conf_path], proxy.directory, "again", env=OPTIONS)
    fifo = until(lambda: os.open(proxy.conf_path, os.O_WRONLY | os.O_NONBLOCK), 5 * SLOW, "it to read")  # else: no reader
    proxy.process.signal(signal.SIGHUP)
    os.unlink(proxy.conf_path)
    proxy.write(conf)
    os.write(fifo, first.encode())
    os.close(fifo)
    proxy.stopped = False
    until(proxy.ready, 10 * SLOW, "/readyz")
    until(lambda: proxy.reloads() == 1, 5 * SLOW, "the reload")
    assert get(port).body == b"new"


def as_nobody(run, address, folder):
    """A proxy that root has started and that has become nobody, in a folder where it may read its configuration."""
    listen = [{"name": "web", "address": address, "upstream": "app"}]
    proxy = run.own(Proxy(config({"app": {"servers": [run.backend().text]}}, listen, user="nobody", log={"access": "off"}), folder))
    return proxy, copy.deepcopy(proxy.conf)


@pytest.fixture
def anybodys(run):
    """A folder that everybody may look into."""
    folder = tempfile.mkdtemp()
    run.own(contextlib.ExitStack()).callback(shutil.rmtree, folder)
    os.chmod(folder, 0o755)
    return folder


def test_a_listener_that_root_opened_is_narrowed(run, anybodys):
    """From every address to one of them and back."""
    port = free_port()
    proxy, conf = as_nobody(run, f"0.0.0.0:{port}", anybodys)
    for address in ("127.0.0.1", "0.0.0.0"):
        conf["listen"][0]["address"] = f"{address}:{port}"
        proxy.reload(conf)
        assert get(port).status == 200
    assert get(port, address="127.0.0.2").status == 200


@pytest.mark.parametrize("shared", [True, False])
def test_the_next_process_shares_the_port(run, anybodys, shared):
    """Whether the one before has its sockets as the user, or as root because it has no `user`."""
    port = free_port()
    before = run.proxy(config({"app": {"servers": [run.backend().text]}}, f"127.0.0.1:{port}", **({"user": "nobody"} if shared else {}),
                              log={"access": "off"}))
    as_nobody(run, f"127.0.0.1:{port}", anybodys)
    assert before.stop() == 0 and get(port).status == 200


@pytest.mark.parametrize("owner", ["root", "nobody"])
def test_the_permissions_of_a_unix_listener_that_root_opened(run, anybodys, owner):
    """Whoever's folder it is in."""
    shutil.chown(anybodys, owner)
    path = os.path.join(anybodys, "front.sock")
    proxy, conf = as_nobody(run, f"unix:{path}", anybodys)
    for mode in ("0666", "0600"):
        conf["listen"][0]["mode"] = mode
        proxy.reload(conf)
        assert os.stat(path).st_mode & 0o777 == int(mode, 8)
    shutil.chown(path, "root")
    proxy.reload(conf)
    until(lambda: "listen web: its permissions cannot be changed" in proxy.log(), 5, "the complaint")
