"""Uploads and downloads of every size with the clients that people use (curl, httpx, aiohttp): what arrives is what was
sent, and what the proxy needs for it does not depend on the size."""
import asyncio
import contextlib
import hashlib
import json
import os
import subprocess
import threading
import time

import aiohttp
import httpx
import pytest

from harness import pattern, raw, servers
from harness.process import Process
from harness.proxy import KIND, ROOT, SLOW, free_port
from harness.wait import FULL, scale, until

KIB, MIB = 1 << 10, 1 << 20
SMALL = [0, 1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, MIB]
BIG = [48 * MIB] if not FULL else [100 * MIB, 2048 * MIB]
# What a single transfer may need: what is buffered in memory for it on its way in and out, and the allocator's slack.
GROWTH = 16 * MIB
PATIENCE = scale(120, 900) * SLOW


class Store(Process):
    """tests/peers/store.py"""

    def __init__(self, directory):
        self.port = free_port()
        self.text = f"127.0.0.1:{self.port}"
        super().__init__(["/usr/bin/python3", os.path.join(ROOT, "tests/peers/store.py"), self.port], directory, f"store-{self.port}")
        self.listening(self.port, 20 * SLOW)

    def stats(self):
        return json.loads(raw.get(self.port, "/stats").body)


class Watch:
    """The most memory that a process has had, looked at all the while."""

    def __init__(self, process):
        self.process, self.begun = process, process.rss()
        self.most, self.over = self.begun, threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)

    def _look(self):
        while not self.over.wait(0.005):
            with contextlib.suppress(OSError):
                self.most = max(self.most, self.process.rss())

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    @property
    def growth(self):
        return self.most - self.begun


class Curl:
    @staticmethod
    def up(url, path, size, chunked):
        words = ["curl", "-sS", "--fail", "--max-time", str(PATIENCE), "-X", "PUT", "-T", "-" if chunked else path, url]
        with open(path, "rb") as f:
            return json.loads(subprocess.run(words, stdin=f, check=True, capture_output=True).stdout)

    @staticmethod
    def down(url, out):
        with subprocess.Popen(["curl", "-sS", "--fail", "--max-time", str(PATIENCE), url], stdout=subprocess.PIPE) as p:
            while (piece := p.stdout.read(MIB)):
                out(piece)
        assert p.returncode == 0


class Httpx:
    @staticmethod
    def up(url, path, size, chunked):
        body = pattern.pieces(size) if chunked else open(path, "rb")
        r = httpx.put(url, content=body, timeout=PATIENCE, headers=None if chunked else {"Content-Length": str(size)})
        assert r.status_code == 200, r
        return r.json()

    @staticmethod
    def down(url, out):
        with httpx.stream("GET", url, timeout=PATIENCE) as r:
            assert r.status_code == 200, r
            for piece in r.iter_raw():
                out(piece)


class Aiohttp:
    @staticmethod
    def up(url, path, size, chunked):
        async def body():
            for piece in pattern.pieces(size):
                yield piece

        async def go():
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(PATIENCE)) as session:
                if chunked:
                    async with session.put(url, data=body()) as r:
                        return r.status, await r.text()
                with open(path, "rb") as f:
                    async with session.put(url, data=f) as r:
                        return r.status, await r.text()
        status, text = asyncio.run(go())
        assert status == 200, (status, text)
        return json.loads(text)

    @staticmethod
    def down(url, out):
        async def go():
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(PATIENCE)) as session:
                async with session.get(url) as r:
                    assert r.status == 200, r
                    async for piece in r.content.iter_any():
                        out(piece)
        asyncio.run(go())


CLIENTS = {"curl": Curl, "httpx": Httpx, "aiohttp": Aiohttp}


@pytest.fixture(scope="module")
def digests():
    return {size: pattern.digest(size) for size in SMALL + BIG}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """{size: path}, also what nginx serves."""
    folder = tmp_path_factory.mktemp("files")
    os.chmod(folder, 0o755)
    os.chmod(folder.parent, 0o755)
    paths = {size: pattern.write(os.path.join(str(folder), f"{size}.bin"), size) for size in SMALL + BIG}
    yield paths
    for path in paths.values():
        os.unlink(path)


def downloaded(client, url):
    h, n = hashlib.sha256(), 0

    def out(piece):
        nonlocal n
        h.update(piece)
        n += len(piece)
    client.down(url, out)
    return n, h.hexdigest()


def all_given_back(p):
    limits = p.status()["limits"]
    return limits["memory_used_bytes"] == 0 == limits["disk_used_bytes"]


@pytest.mark.parametrize("mode", ["buffer", "stream"])
@pytest.mark.parametrize("client", CLIENTS)
def test_uploads(run, files, digests, client, mode):
    store = run.own(Store(run.folder("store")))
    p, port = run.front([store], pool={"idle_reuse": "60s"}, buffer={"request_mode": mode, "dir": run.folder("spool")})
    raw.get(port, "/stats")
    with Watch(p.process) as memory:
        for size, path in files.items():
            for chunked in (False, True):
                seen = CLIENTS[client].up(f"http://127.0.0.1:{port}/up", path, size, chunked)
                assert (seen["bytes"], seen["sha256"]) == (size, digests[size]), (size, chunked)
                assert seen["framing"] in ("length", "chunked")
                if not chunked:
                    assert seen["framing"] == "length", "a length that was said is passed on"
    assert KIND != "release" or memory.growth < GROWTH, f"{memory.growth / MIB:.1f} MiB"
    until(lambda: all_given_back(p), 10, "memory and disk to be given back")
    assert p.metrics().sum("lastack_connections_opened_total") <= 2, "bodies of all sizes went over one connection"


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("server", ["nginx", "aiohttp"])
def test_downloads(run, files, digests, server, client):
    """From nginx with a length and (gzip off, SSI-like) from aiohttp with a length and chunked."""
    if server == "nginx":
        back = run.own(servers.Nginx(run.directory, f"root {os.path.dirname(next(iter(files.values())))};"))
        targets = ["/{size}.bin"]
    else:
        back = run.own(Store(run.folder("store")))
        targets = ["/down?size={size}&chunked=0", "/down?size={size}&chunked=1"]
    p, port = run.front([back], buffer={"dir": run.folder("spool")})
    raw.get(port, "/stats")
    with Watch(p.process) as memory:
        for size in files:
            for target in targets:
                seen = downloaded(CLIENTS[client], f"http://127.0.0.1:{port}" + target.format(size=size))
                assert seen == (size, digests[size]), target
    assert KIND != "release" or memory.growth < GROWTH, f"{memory.growth / MIB:.1f} MiB"
    until(lambda: all_given_back(p), 10, "memory and disk to be given back")


def test_curl_resumes_and_asks_for_ranges(run, files, digests):
    back = run.own(servers.Nginx(run.directory, f"root {os.path.dirname(next(iter(files.values())))};"))
    _, port = run.front([back])
    url, path = f"http://127.0.0.1:{port}/{MIB}.bin", os.path.join(run.folder("out"), "half")
    subprocess.run(["curl", "-sS", "-o", path, "-r", f"0-{MIB // 2}", url], check=True)
    assert os.path.getsize(path) == MIB // 2 + 1
    subprocess.run(["curl", "-sS", "-o", path, "-C", "-", url], check=True)
    with open(path, "rb") as f:
        assert hashlib.sha256(f.read()).hexdigest() == digests[MIB]


BOUNDS = {  # what is bounded, and by what: (upstream's buffer, limits, most on disk)
    "response_file": ({"response": "128KiB", "response_file": "1MiB"}, {}, MIB + 256 * KIB),
    "no_file": ({"response": "128KiB", "response_file": 0}, {}, 0),
    "limits_disk": ({"response": "128KiB"}, {"disk": "1MiB"}, MIB),
}


@pytest.mark.parametrize("bound", BOUNDS)
def test_a_response_over_its_bound_waits_for_its_client(run, digests, bound):
    """Nothing fails: the server is read no further than the bound until the client has taken some. That this takes
    longer than timeouts.response is not the server's fault."""
    size = BIG[0]
    buffer, limits, most = BOUNDS[bound]
    store = run.own(Store(run.folder("store")))
    p, port = run.front([store], buffer={**buffer, "dir": run.folder("spool")}, limits=limits, timeouts={"response": "2s"})
    h, left, disk = hashlib.sha256(), size, []
    with Watch(p.process) as memory, raw.Client(port, timeout=60 * SLOW, receive_buffer=65536) as c:
        c.send(raw.request(f"/down?size={size}"))
        assert raw.Message(c.head()).status == 200
        still = None
        for _ in range(30):  # until the proxy has stopped reading
            time.sleep(0.1)
            read = p.metrics().sum("lastack_bytes_total", direction="in")
            disk.append(p.status()["limits"]["disk_used_bytes"])
            if read == still:
                break
            still = read
        time.sleep(3)  # longer than timeouts.response
        while left:
            piece = c.exactly(min(left, 4 * MIB))
            h.update(piece)
            left -= len(piece)
            disk.append(p.status()["limits"]["disk_used_bytes"])
    assert h.hexdigest() == digests[size]
    assert max(disk) <= most and (max(disk) > 0) == (most > 0), disk
    assert KIND != "release" or memory.growth < GROWTH, f"{memory.growth / MIB:.1f} MiB"
    until(lambda: all_given_back(p), 10, "memory and disk to be given back")
    until(lambda: store.stats()["busy"] == 0, 10, "the server to be done")


def test_many_slow_readers_share_limits_disk(run):
    """More than fits is wanted by all of them together: each gets its response, at its own pace."""
    store = run.own(Store(run.folder("store")))
    size, count = 12 * MIB, 6  # more than what the kernel keeps for a socket
    p, port = run.front([store], pool={"max": 32}, buffer={"response": "64KiB", "dir": run.folder("spool")}, limits={"disk": "4MiB"})
    want = pattern.digest(size)
    clients = [raw.Client(port, timeout=60 * SLOW, receive_buffer=8192) for _ in range(count)]
    try:
        for c in clients:
            c.send(raw.request(f"/down?size={size}"))
        until(lambda: p.status()["limits"]["disk_used_bytes"] > 3 * MIB, 20, "the disk's share to be used up")
        time.sleep(0.3)
        assert p.status()["limits"]["disk_used_bytes"] <= 4 * MIB
        got = raw.Crowd(count, lambda n: clients[n].final()).results(120 * SLOW)
    finally:
        for c in clients:
            c.close()
    assert [hashlib.sha256(m.body).hexdigest() for m in got] == [want] * count
    until(lambda: all_given_back(p), 10, "memory and disk to be given back")


def test_an_upload_over_limits_disk(run):
    """There is no room to keep it: a clear 503, and room again for the next."""
    store = run.own(Store(run.folder("store")))
    p, port = run.front([store], buffer={"dir": run.folder("spool")}, limits={"disk": "1MiB"})
    path = pattern.write(os.path.join(run.folder("up"), "8M"), 8 * MIB)
    for chunked in (False, True):
        done = subprocess.run(["curl", "-sS", "-i", "-T", "-" if chunked else path, f"http://127.0.0.1:{port}/up"], stdin=open(path, "rb"),
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        answer = raw.Message(done.stdout.split("\n\n")[-2 if "\n\n" in done.stdout else 0].replace("\n", "\r\n").encode())
        assert "lastack" in done.stdout and " 503 " in done.stdout, (answer, done.stdout)
    until(lambda: all_given_back(p), 10, "memory and disk to be given back")
    assert Curl.up(f"http://127.0.0.1:{port}/up", pattern.write(path, MIB), MIB, True)["sha256"] == pattern.digest(MIB)
    assert store.stats()["requests"] == 1, "none of the others reached the server"
