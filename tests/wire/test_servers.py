"""Real servers behind and real clients in front: nginx and Apache with short keep-alive times, curl."""
import os
import random
import shutil
import subprocess
import tempfile
import time

import pytest

from harness import servers
from harness.raw import Client, Crowd, get
from harness.wait import scale, until


class Folder:
    """What the servers serve. Not below pytest's own folder: it belongs to root alone, and servers drop root."""

    def __init__(self):
        self.path = tempfile.mkdtemp(prefix="lastack-files-")
        os.chmod(self.path, 0o755)
        self.write("index.html", b"hello\n")
        self.write("big", os.urandom(3_000_000))

    def write(self, name, data):
        path = os.path.join(self.path, name)
        with open(path, "wb") as f:
            f.write(data)
        os.chmod(path, 0o644)

    def close(self):
        shutil.rmtree(self.path)


def made(run, kind, folder=None, **more):
    folder = folder or run.own(Folder())
    if kind == "nginx":
        return run.own(servers.Nginx(run.directory, f"root {folder.path};", keepalive_timeout="2s", **more))
    return run.own(servers.Apache(run.directory, folder.path, keepalive_timeout=1, **more))


@pytest.mark.parametrize("kind", ["nginx", "apache"])
def test_gaps_around_its_keepalive_time(run, kind):
    """Requests at random gaps around the server's timeout, for a while: none fails, and it is the server that closes."""
    server = made(run, kind)
    lastack, port = run.front([server.text], pool={"max": 8})
    timeout = {"nginx": 2.0, "apache": 1.0}[kind]
    chance = random.Random(7)
    end = time.monotonic() + scale(7, 60)
    asked = 0
    while time.monotonic() < end:
        for _ in range(5):
            assert Crowd(4, lambda n: get(port, "/").body).results() == [b"hello\n"] * 4
            asked += 4
        time.sleep(chance.choice([chance.uniform(0, 0.3), timeout * chance.uniform(0.8, 1.2)]))
    m = lastack.metrics()
    assert asked > 100
    assert m.sum("lastack_requests_total", code="200") == asked == m.sum("lastack_requests_total")
    closed = m.by("lastack_connections_closed_total", "by")
    assert closed.get("backend", 0) >= 3 and closed.get("proxy", 0) <= closed["backend"] * 0.01, closed
    assert m.sum("lastack_connections_opened_total") < asked / 2, "connections are used again"


@pytest.mark.parametrize("kind", ["nginx", "apache"])
def test_many_at_once(run, kind):
    server = made(run, kind)
    lastack, port = run.front([server.text], pool={"max": 8})

    def one(n):
        for _ in range(20):
            assert get(port, "/").body == b"hello\n"
        assert len(get(port, "/big", timeout=30).body) == 3_000_000
        assert get(port, "/none").status == 404
    Crowd(20, one).results()
    m = lastack.metrics()
    assert m.sum("lastack_requests_total", code="200") == 420 and m.sum("lastack_requests_total", code="404") == 20
    assert m.sum("lastack_connections_opened_total") <= 16


@pytest.mark.parametrize("kind", ["nginx", "apache"])
def test_a_restart_of_the_server(run, kind):
    """The same address, a new process: what was idle is gone, requests go on."""
    folder = run.own(Folder())
    server = made(run, kind, folder)
    _, port = run.front([server.text])
    with Client(port) as c:
        assert c.ask().status == 200
        server.close()
        again = made(run, kind, folder, port=server.port)
        assert again.alive()
        until(lambda: c.ask().status == 200, 10, "an answer")
        for _ in range(20):
            assert c.ask().status == 200


def curl(*words):
    done = subprocess.run(["curl", "-sS", "-m", "20", *words], capture_output=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_curl(run, tmp_path):
    """What curl does by itself: keep-alive, ranges, uploads with Expect, HTTP/1.0, HEAD, chunked uploads from a pipe."""
    folder = run.own(Folder())
    nginx = made(run, "nginx", folder)
    origin = run.origin(answer=lambda r: (200, b"%d" % len(r.body), ""))
    _, port = run.front([nginx.text])
    url = f"http://127.0.0.1:{port}"
    assert curl(url + "/", url + "/index.html") == b"hello\nhello\n"
    assert curl("-0", url + "/") == b"hello\n"
    assert curl("-r", "1-3", url + "/") == b"ell"
    head = curl("-I", url + "/big").decode()
    assert head.startswith("HTTP/1.1 200") and "Content-Length: 3000000" in head and "Via:" in head
    with open(os.path.join(folder.path, "big"), "rb") as f:
        assert curl(url + "/big") == f.read()
    _, port = run.front([origin])
    url = f"http://127.0.0.1:{port}"
    big = os.path.join(str(tmp_path), "upload")
    with open(big, "wb") as f:
        f.write(b"z" * 5_000_000)
    assert curl("-H", "Expect: 100-continue", "-T", big, url + "/up") == b"5000000"
    assert curl("-H", "Transfer-Encoding: chunked", "-d", "@" + big, url + "/up") == b"5000000"
    assert curl("-d", "a=b", url, "--next", "-sS", url) == b"30"


def test_unix_socket_listener(run, tmp_path):
    path = os.path.join(str(tmp_path), "front.sock")
    origin = run.origin()
    lastack, _ = run.front([origin], listener={"address": f"unix:{path}", "mode": "0600"})
    assert curl("--unix-socket", path, "http://any/") == b"hello"
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert lastack.stop() == 0
    assert not os.path.exists(path), "it is taken away at the end"
