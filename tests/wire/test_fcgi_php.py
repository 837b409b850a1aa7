"""php-fpm of Debian behind lastack."""
import hashlib
import os
import signal
import struct
import tempfile
import time

import pytest

from harness import servers
from harness.peers import FAILURES, clean
from harness.proxy import free_port
from harness.raw import Client, Gone, chunks, get, request
from harness.wait import scale, until


def site(run, name="www", **scripts):
    """A document root with these scripts."""
    root = run.folder(name)
    for script, text in scripts.items():
        with open(os.path.join(root, script.replace("__", "/") + ".php"), "w") as f:
            f.write("<?php\n" + text)
    return root


def php(run, scripts, fpm=None, pool=None, fastcgi=None, **more):
    """(fpm, proxy, port, root)"""
    fpm = run.own(servers.PhpFpm(run.directory, **(fpm or {})))
    root = site(run, **scripts)
    proxy, port = run.front([fpm], protocol="fastcgi", pool={"max": 7, **(pool or {})},
                            fastcgi={"root": root, **(fastcgi or {})}, **more)
    return fpm, proxy, port, root


def test_hello(run):
    _, proxy, port, _ = php(run, {"index": "echo 'hello ', $_GET['a'] ?? '-', ' ', $_SERVER['REQUEST_METHOD'];"}, workers=1)
    r = get(port, "/index.php?a=1")
    assert (r.status, r.body) == (200, b"hello 1 GET"), r
    assert get(port, "/").body == b"hello - GET"
    with Client(port) as c:
        for n in range(20):
            assert c.ask(f"/?a={n}").body == f"hello {n} GET".encode()
    assert proxy.metrics().sum("lastack_connections_opened_total") == 1


SLEEP = "usleep(1000 * (int)($_GET['ms'] ?? random_int(1, 20))); echo 'ok ', $_GET['t'] ?? '';"
# Counts how often each POST was run, by its token: a line each, appended in one write.
COUNT = "file_put_contents(__DIR__ . '/count', $_GET['t'] . \"\\n\", FILE_APPEND | LOCK_EX); usleep(2000); echo 'ok';"


def spread(fpm):
    """How many connections FPM has now, as the kernel counts them on its side, the listener aside."""
    if fpm.port:
        with open("/proc/net/tcp") as f:
            rows = [line.split() for line in f.readlines()[1:]]
        return len({row[2] for row in rows if row[1].endswith(f":{fpm.port:04X}") and row[3] in ("01", "08")})  # the kernel may tell one twice
    with open("/proc/net/unix") as f:
        return sum(line.rstrip().endswith(fpm.path) for line in f) - 1


CLIENTS, REQUESTS = 400, scale(3000, 50000)


def most_during(load, fpm):
    most = 0
    while load.running():
        most = max(most, spread(fpm))
        time.sleep(0.005)
    return most


@pytest.mark.parametrize("tcp", [False, True], ids=["unix", "tcp"])
def test_an_exact_cap_below_the_children(run, tcp):
    """Eight children, seven places, 400 short clients on 4 workers: all are served, and FPM never has anybody in its queue (which it
    can only tell of TCP)."""
    fpm, proxy, port, _ = php(run, {"index": SLEEP}, fpm={"port": free_port() if tcp else None}, workers=4,
                              queue={"length": 2000, "timeout": "60s"})
    until(lambda: spread(fpm) == 0, 10, "a child to end the connection that asked whether it listens")
    load = run.load(port, clients=CLIENTS, requests=REQUESTS, path="/index.php?t={token}", no_token=True)
    most = most_during(load, fpm)
    result = clean(load.result())
    assert result["status_2xx"] == REQUESTS
    assert 4 <= most <= 7, (most, proxy.metrics().sum("lastack_connections_opened_total"))
    status = fpm.status()
    assert status["max listen queue"] == 0 and status["max children reached"] == 0, status
    assert status["accepted conn"] >= REQUESTS
    m = proxy.metrics()
    assert m.sum("lastack_connections_opened_total") <= 14, m.by("lastack_connections_closed_total", "reason")
    assert m.sum("lastack_connections_closed_total", by="proxy") == 0
    print(f"lastack: {REQUESTS} requests, 0 failed, at most {most} connections, listen queue at most {status['max listen queue']}, "
          f"{m.sum('lastack_connections_opened_total'):.0f} opened")


def in_front(run, which, fpm, root):
    if which == "nginx":
        return run.own(servers.nginx_fastcgi(run.directory, fpm, root, keepalive=7))
    return run.own(servers.haproxy_fastcgi(run.directory, fpm, root, maxconn=None if which == "haproxy" else 7))


@pytest.mark.parametrize("which", ["nginx", "haproxy", "haproxy-maxconn"])
def test_what_others_do_with_the_same(run, which):
    """The same load, so that the test above proves something. nginx (2 workers, keepalive 7) has no cap, and idle connections of one
    worker hold children that requests of the other wait for; nor has HAProxy (2 threads) without maxconn. With maxconn 7 it has a
    queue, and a cap that it oversteps by one now and then. What happens is printed."""
    fpm = run.own(servers.PhpFpm(run.directory, port=free_port()))
    proxy = in_front(run, which, fpm, site(run, index=SLEEP))
    load = run.load(proxy.port, clients=CLIENTS, requests=REQUESTS, duration_ms=scale(1500, 240000), path="/index.php?t={token}",
                    no_token=True, timeout_ms=20000, grace_ms=scale(1000, 20000))
    most = most_during(load, fpm)
    result = load.result()
    proxy.close()  # what it holds of php-fpm, the question about its state would wait for
    status = fpm.status()
    failed = {k: result[k] for k in FAILURES if result[k]}
    print(f"{which}: {result['started']} requests, {result['status_2xx']} served, failures {failed or 'none'}, at most {most} connections, "
          f"listen queue at most {status['max listen queue']}")
    assert result["status_2xx"] > 100, "it serves nothing: this load shows nothing"
    assert which == "haproxy-maxconn" or most > 7, f"{which} kept to the cap: this load shows nothing"


@pytest.mark.parametrize("how", ["max_requests", "reload", "kill"])
def test_workers_that_end_under_load(run, how):
    """No GET fails; no POST is run twice."""
    fpm, proxy, port, root = php(run, {"index": SLEEP, "count": COUNT}, fpm={"max_requests": 50 if how == "max_requests" else 0},
                                 queue={"length": 2000, "timeout": "60s"}, passive={"failures": 0},
                                 retry={"max": 4})  # three killed at once: a GET may lose each of them in turn
    gets = run.load(port, clients=30, duration_ms=600000, path="/index.php?ms=2", no_token=True)
    posts = run.load(port, clients=10, duration_ms=600000, method="POST", body=100, path="/count.php?t={token}", no_token=True)
    counted = os.path.join(root, "count")

    def done(more):
        start = len(open(counted).read().splitlines()) if os.path.exists(counted) else 0
        until(lambda: os.path.exists(counted) and len(open(counted).read().splitlines()) >= start + more, 60, "POSTs that were run")
    for _ in range(scale(3, 20)):
        done(150)
        if how == "reload":
            fpm.signal(signal.SIGUSR2)
        elif how == "kill":
            for child in fpm.children()[:3]:
                os.kill(child, signal.SIGKILL)
    done(150)
    after_gets, after_posts = gets.stop(), posts.stop()
    clean(after_gets)
    lines = open(counted).read().splitlines()
    assert len(lines) == len(set(lines)), "a POST was run twice"
    bad = {k: after_posts[k] for k in FAILURES if after_posts[k] and k != "status_5xx"}
    assert not bad, (bad, after_posts["first_failure"])
    # What was in flight when its worker ended may have been run: it is not sent again, and its client is told.
    assert after_posts["status_5xx"] <= len(lines) // 10, after_posts["status"]
    assert after_gets["status_2xx"] > 100


def test_a_short_backlog_and_many_clients(run):
    """A Unix socket with a backlog of 8: connect() answers EAGAIN where nginx gives up with a 502."""
    fpm, proxy, port, root = php(run, {"index": SLEEP}, fpm={"backlog": 8, "children": 16}, pool={"max": 15},
                                 queue={"length": 2000, "timeout": "60s"})
    clean(run.load(port, clients=500, requests=scale(3000, 20000), path="/index.php?ms=5", no_token=True, timeout_ms=60000).result())
    nginx = run.own(servers.nginx_fastcgi(run.directory, fpm, root))
    twin = run.load(nginx.port, clients=500, requests=1500, path="/index.php?ms=5", no_token=True).result()
    assert twin["status_5xx"] > 0 and "11: Resource temporarily unavailable" in nginx.errors(), "this load shows nothing"


@pytest.mark.parametrize("method, tcp, body", [("GET", False, 0), ("POST", False, 10), ("POST", False, 1 << 20), ("POST", True, 10)],
                         ids=["unix-GET", "unix-POST", "unix-large-POST", "tcp-POST"])
def test_a_pool_that_is_larger_than_fpm(run, method, tcp, body):
    """Two children, eight places: idle connections would hold both children for ever, and what the others carry would never be accepted.
    They give way, nothing is run twice, and it is said what is wrong. On TCP that takes php-fpm's own count of its children. What is
    larger than a socket holds is never sent in full to nobody."""
    fpm, proxy, port, root = php(run, {"count": COUNT}, fpm={"children": 2, "port": free_port() if tcp else None}, pool={"max": 8},
                                 fastcgi={"status_path": "/fpm-status"} if tcp else None)
    if tcp:
        until(lambda: proxy.metrics().sum("lastack_fpm_processes") == 2, 10, "php-fpm's count")
    load = run.load(port, clients=8, requests=scale(60, 1000), method=method, body=body,
                    path="/count.php?t={token}", no_token=True, timeout_ms=1000)
    result = clean(load.result())
    lines = open(os.path.join(root, "count")).read().splitlines()
    assert len(lines) == len(set(lines)) == result["status_2xx"]
    assert "pm.max_children" in proxy.log()
    assert proxy.metrics().sum("lastack_connections_closed_total", reason="worker_wanted") > 0
    for n in range(5):  # and when all is quiet, the next client is served at once by whoever idles
        assert get(port, f"/count.php?t=quiet{n}").body == b"ok"


def test_slow_scripts_run_once(run):
    """A script that takes its time has been read by its worker: the request is not taken elsewhere."""
    fpm, proxy, port, root = php(run, {"slow": COUNT + "usleep(700000);"}, workers=1)
    with Client(port) as c:
        for n in range(3):
            assert c.ask(f"/slow.php?t={n}").body == b"ok"
        assert c.ask("/slow.php?t=p", "POST", body=b"x" * 1000).body == b"ok"
    assert open(os.path.join(root, "count")).read().split() == ["0", "1", "2", "p"]
    m = proxy.metrics()
    assert m.sum("lastack_connections_opened_total") == 1 and m.sum("lastack_retries_total") == 0
    assert "taken elsewhere" not in proxy.log() and "pm.max_children" not in proxy.log()


def test_large_bodies(run):
    """Up and down, through files where memory does not do; nothing is lost or changed."""
    size = scale(16, 100) << 20
    _, proxy, port, root = php(run, {
        "up": "$h = hash_init('sha256'); $in = fopen('php://input', 'rb'); $n = 0;\n"
              "while (($s = fread($in, 65536)) != '') { hash_update($h, $s); $n += strlen($s); }\n"
              "echo $n, ' ', hash_final($h), ' ', $_SERVER['CONTENT_LENGTH'];",
        "down": "$s = str_repeat(pack('N*', ...range(0, 16383)), 1); for ($i = 0; $i < $_GET['n']; $i++) echo $s;",
        "form": "echo hash_file('sha256', $_FILES['f']['tmp_name']), ' ', $_POST['a'];"})
    data = os.urandom(1 << 20) * (size >> 20)
    digest = hashlib.sha256(data).hexdigest()
    assert get(port, "/up.php", "POST", body=data, timeout=120).body.decode() == f"{size} {digest} {size}"
    chunked = get(port, "/up.php", "POST", "Transfer-Encoding: chunked\r\n", chunks(data[:3 << 20]), timeout=120)
    assert chunked.body.decode() == f"{3 << 20} {hashlib.sha256(data[:3 << 20]).hexdigest()} {3 << 20}"
    block = struct.pack("!16384I", *range(16384))
    r = get(port, f"/down.php?n={size >> 16}", timeout=120)
    assert r.body == block * (size >> 16)
    with Client(port, receive_buffer=4096, timeout=120) as slow:  # php is not held by a client that does not read
        slow.send(request(f"/down.php?n={size >> 16}"))
        until(lambda: proxy.metrics().sum("lastack_connections", state="busy") == 0 and
              proxy.metrics().sum("lastack_connections", state="idle") > 0, 60, "php to be free")
        assert slow.final().body == block * (size >> 16)
    form = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nfield\r\n--x\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
    r = get(port, "/form.php", "POST", "Content-Type: multipart/form-data; boundary=x\r\n", form + data + b"\r\n--x--\r\n", timeout=120)
    assert r.body.decode() == f"{digest} field"
    assert proxy.process.rss() < 300 << 20


@pytest.mark.parametrize("ticks, pause", [(10, 0), (scale(3, 60), 0.5)], ids=["at once", "slowly"])
def test_what_a_script_flushes_arrives_as_it_is_printed(run, ticks, pause):
    """Each line waits until the one before has been read by the client: it says so over a file. Under LASTACK_FULL that takes 30 s."""
    _, _, port, root = php(run, {"tick": f"while (ob_get_level()) ob_end_flush();\nfor ($i = 0; $i < {ticks}; $i++) {{\n"
                                         "  echo \"tick $i\\n\"; flush();\n  for ($k = 0; !file_exists(__DIR__ . \"/seen$i\"); $k++) {\n"
                                         "    if ($k > 6000) { echo 'late'; exit; } usleep(5000); clearstatcache(); }\n}\necho 'end';"})
    with Client(port, timeout=30) as c:
        c.send(request("/tick.php"))
        assert b"chunked" in c.head()
        for n in range(ticks):
            assert c.exactly(int(c.until(b"\r\n"), 16)) == f"tick {n}\n".encode()
            c.exactly(2)
            time.sleep(pause)
            open(os.path.join(root, f"seen{n}"), "w").close()
        body, _ = c.chunked()
        assert body == b"end"


def test_scripts_that_misbehave(run):
    fpm, proxy, port, root = php(run, {
        "fatal": "echo 'before '; flush(); nothing_of_that_name();",
        "early": "nothing_of_that_name();",
        "segv": "echo str_repeat('x', 100000); flush(); posix_kill(getmypid(), 9); sleep(5);",
        "gone": "posix_kill(getmypid(), 9); sleep(5);",
        "noise": "for ($i = 0; $i < $_GET['n']; $i++) error_log(\"noise $i \" . str_repeat('e', 1000)); echo 'ok';",
        "finish": "echo 'done'; fastcgi_finish_request(); usleep(1500000); file_put_contents(__DIR__ . '/finished', 'x');",
        "index": "echo 'fine';"}, pool={"max": 2})
    assert get(port, "/early.php").status == 500
    assert "nothing_of_that_name" in proxy.log()
    r = get(port, "/fatal.php")
    assert (r.status, r.body) == (200, b"before ")
    with Client(port) as c:
        c.send(request("/segv.php"))
        with pytest.raises((Gone, ConnectionError)):
            c.final()
    assert get(port, "/gone.php", "POST", body=b"x").status == 502
    assert get(port, "/index.php").body == b"fine"
    before = len(proxy.log())
    assert get(port, f"/noise.php?n={scale(2000, 10000)}", timeout=60).body == b"ok"
    assert "noise 0 " in proxy.log() and len(proxy.log()) - before < 80000
    assert get(port, "/finish.php").body == b"done"
    assert not os.path.exists(os.path.join(root, "finished")), "the answer came after the work"
    for _ in range(3):
        assert get(port, "/index.php").body == b"fine"
    until(lambda: os.path.exists(os.path.join(root, "finished")), 10, "the work after the answer")
    until(lambda: len(proxy.access()) >= 10, 5, "log lines")
    errors = {line["target"]: line["error"] for line in proxy.access() if line.get("error")}
    assert errors.pop("/gone.php") in ("server_closed", "server_reset") and errors == {"/segv.php": "response_incomplete"}, errors


def test_apache_with_mod_php(run):
    """PHP over HTTP: a process per connection here too. Three places before four processes; nobody waits for an idle connection, which
    Apache itself closes after a second."""
    with tempfile.TemporaryDirectory(prefix="lastack-files-") as root:  # Apache does not run as root, and may not look into ours
        os.chmod(root, 0o755)
        with open(os.path.join(root, "index.php"), "w") as f:
            f.write("<?php usleep(2000); echo 'ok ', strlen(file_get_contents('php://input'));")
        apache_php(run, root)


def apache_php(run, root):
    apache = run.own(servers.ApachePhp(run.directory, root, children=4, keepalive_timeout=1))
    proxy, port = run.front([apache], pool={"max": 3}, queue={"length": 2000, "timeout": "60s"})
    clean(run.load(port, clients=100, requests=1500, path="/index.php", no_token=True).result())
    assert get(port, "/index.php", "POST", body=b"x" * 100000).body == b"ok 100000"
    assert get(port, "/index.php", "POST", "Transfer-Encoding: chunked\r\n", chunks(b"abc", b"de")).body == b"ok 5"
    m = proxy.metrics()
    assert m.sum("lastack_connections_opened_total") < 60, m.by("lastack_connections_closed_total", "reason")
    until(lambda: proxy.metrics().sum("lastack_connections_closed_total", by="backend", reason="keepalive_timeout") > 0, 10, "Apache to hang up")
