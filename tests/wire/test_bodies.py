"""Bodies of any size, byte for byte, in bounded memory; what buffer and stream mode mean for the server."""
import hashlib
import os
import socket
import threading
import time

import pytest

from harness import raw
from harness.proxy import KIND
from harness.raw import Client, Crowd, get
from harness.wait import holds, scale, until

BIG = scale(96, 1024) * 1024 * 1024
PIECE = os.urandom(1 << 20)
MIB = 1 << 20


def digest(size):
    h = hashlib.sha256()
    for _ in range(size // MIB):
        h.update(PIECE)
    return h.hexdigest()


def store(c):
    """Answers with the body's digest, or with a big body on /down."""
    while (r := c.request(body=False)):
        if r.target == "/down":
            c.send(f"HTTP/1.1 200 OK\r\nContent-Length: {BIG}\r\n\r\n")
            for _ in range(BIG // MIB):
                c.send(PIECE)
            continue
        if r.target == "/down-chunked":
            c.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(BIG // MIB):
                c.send(b"%x\r\n" % MIB + PIECE + b"\r\n")
            c.send(b"0\r\n\r\n")
            continue
        h = hashlib.sha256()
        if "chunked" in (r.get("Transfer-Encoding") or ""):
            while (size := int(c.until(b"\r\n"), 16)):
                h.update(c.exactly(size))
                c.exactly(2)
            c.exactly(2)
        else:
            left = int(r.get("Content-Length", "0"))
            while left:
                piece = c.exactly(min(left, MIB))
                h.update(piece)
                left -= len(piece)
        c.reply(200, h.hexdigest().encode())


@pytest.mark.parametrize("mode", ["buffer", "stream"])
@pytest.mark.parametrize("chunked", [False, True])
def test_big_upload(run, mode, chunked):
    lastack, port = run.front([run.origin(store)], buffer={"request_mode": mode})
    get(port)
    before = lastack.process.rss()
    with Client(port, timeout=120) as c:
        c.send(raw.request("/up", "POST", "Transfer-Encoding: chunked\r\n" if chunked else f"Content-Length: {BIG}\r\n"))
        worst = 0
        for _ in range(BIG // MIB):
            c.send(b"%x\r\n" % MIB + PIECE + b"\r\n" if chunked else PIECE)
            worst = max(worst, lastack.process.rss())
        if chunked:
            c.send(b"0\r\n\r\n")
        assert c.final().body.decode() == digest(BIG)
    if KIND == "release":
        assert worst - before < 24 * MIB, f"memory grew by {(worst - before) / MIB:.0f} MiB for {BIG / MIB:.0f} MiB"


@pytest.mark.parametrize("path", ["/down", "/down-chunked"])
@pytest.mark.parametrize("slow", [False, True])
def test_big_download(run, path, slow):
    lastack, port = run.front([run.origin(store)])
    get(port)
    before = worst = lastack.process.rss()
    h = hashlib.sha256()
    with Client(port, timeout=120) as c:
        c.send(raw.request(path))
        head = raw.Message(c.head())
        assert head.status == 200
        if slow:
            until(lambda: lastack.process.rss() >= before, 1)
            time.sleep(0.5)  # the server sends, this client does not read
        left = BIG
        while left:
            if path == "/down":
                piece = c.exactly(min(left, MIB))
            else:
                size = int(c.until(b"\r\n"), 16)
                piece = c.exactly(size)
                c.exactly(2)
            h.update(piece)
            left -= len(piece)
            worst = max(worst, lastack.process.rss())
    assert h.hexdigest() == digest(BIG)
    if KIND == "release":
        assert worst - before < 24 * MIB, f"memory grew by {(worst - before) / MIB:.0f} MiB"


def test_buffer_mode_takes_no_connection_before_the_body_is_there(run):
    origin = run.origin()
    _, port = run.front([origin])
    with Client(port) as c:
        c.send(raw.request("/", "POST", "Content-Length: 300000\r\n") + b"x" * 299999)
        holds(lambda: not origin.connections, 0.4, "no connection")
        c.send(b"x")
        assert c.final().status == 200
    assert origin.last.body == b"x" * 300000


def test_stream_mode_forwards_at_once(run):
    origin = run.origin(lambda c: (c.request(body=False), c.exactly(5), c.reply(200, b"early"), c.to_end()))
    _, port = run.front([origin], buffer={"request_mode": "stream"})
    with Client(port) as c:
        c.send(raw.request("/", "POST", "Content-Length: 300000\r\n") + b"first")
        assert c.final().body == b"early"


@pytest.mark.sanitizer
@pytest.mark.parametrize("half_close", ["abort", "serve"])
@pytest.mark.parametrize("end", ["FIN", "RST"])
def test_stream_mode_sees_a_client_leave_the_queue(run, half_close, end):
    """More of its body has come than is read before there is a connection, and its end lies behind that."""
    backend = run.backend()
    proxy, port = run.front([backend], pool={"max": 1}, queue={"timeout": "60s"}, buffer={"request_mode": "stream"},
                            listener={"client_half_close": half_close})
    with Client(port, timeout=60) as first, Client(port) as c:
        first.send(raw.request("/?delay_ms=60000"))
        until(lambda: backend.stats()["busy"] == 1, 5, "the only connection to be taken")
        c.send(raw.request("/", "POST", "Content-Length: 300000\r\n") + b"x" * 100000)
        until(lambda: proxy.metrics().sum("lastack_queue_length") == 1, 5, "it to wait")
        c.reset() if end == "RST" else c.sock.shutdown(socket.SHUT_WR)
        if end == "FIN" and half_close == "serve":
            holds(lambda: proxy.metrics().sum("lastack_queue_length") == 1, 2, "its place in the queue")
        else:
            until(lambda: proxy.metrics().sum("lastack_queue_length") == 0, 10, "it to be out of the queue")
        first.reset()


def test_a_slow_client_does_not_hold_the_server(run):
    """The response is taken off the server though the client reads nothing."""
    back = run.backend()
    lastack, port = run.front([back], pool={"max": 1})
    with Client(port, receive_buffer=4096) as c:
        c.send(raw.request("/?size=30000000"))
        until(lambda: back.stats()["requests"] == 1 and back.stats()["busy"] == 0, 10, "the server to be done")
        assert get(port).status == 200, "its only connection serves others"
        assert len(c.final().body) == 30000000
    assert lastack.process.rss() < 200 * MIB or KIND != "release"


def test_limits_body(run):
    origin = run.origin()
    _, port = run.front([origin], limits={"body": "10KiB"})
    assert get(port, method="POST", body=b"x" * 10240).status == 200
    seen = len(origin.requests)
    for headers in ("Content-Length: 10241\r\n", "Transfer-Encoding: chunked\r\n"):
        with Client(port) as c:
            c.send(raw.request("/", "POST", headers))
            if "chunked" in headers:
                c.send(b"3000\r\n" + b"x" * 0x3000 + b"\r\n")
            r = c.final()
            assert r.status == 413 and "lastack" in r.get("Proxy-Status")
    assert len(origin.requests) == seen


def test_body_too_slow(run):
    origin = run.origin()
    _, port = run.front([origin], listener={"timeouts": {"body": "300ms", "head": "300ms"}})
    with Client(port) as c:
        c.send(raw.request("/", "POST", "Content-Length: 10\r\n") + b"x")
        assert c.final().status == 408 and c.at_end()
    with Client(port) as c:
        c.send(b"GET / HTTP/1.1\r\nHo")
        r = c.final()
        assert r.status == 408 and c.at_end()
    with Client(port) as c:
        began = time.monotonic()
        try:
            for byte in b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: yyyyyyyyyyyyyyyyyyyyyyy\r\n\r\n":
                c.send(bytes([byte]))
                time.sleep(0.05)
        except ConnectionError:
            pass
        assert c.at_end() or c.buffer.startswith(b"HTTP/1.1 408")
        assert time.monotonic() - began < 5, "the head's time is a total, whatever trickles in"
    assert origin.requests == []


def test_early_final_response_closes_the_doubtful_connection(run):
    """The server answers before it has read the body: this connection is not used again."""
    def early(c):
        if c.request(body=False):
            c.reply(413, b"too big")
            c.at_end(5)
    origin = run.origin(early)
    _, port = run.front([origin], buffer={"request_mode": "stream"})
    with Client(port) as c:
        c.send(raw.request("/", "POST", "Content-Length: 5000000\r\n") + b"x" * 1000)
        assert c.final().status == 413
    with Client(port) as c:
        assert c.ask("/", "POST", body=b"x").status == 413
    assert len(origin.connections) == 2


def test_a_server_that_waited_for_the_body_says_so(run):
    """408 at once on a connection that was idle is for nobody, and the request goes again; later it is this request's answer."""
    def handler(c):
        assert c.request()
        c.reply(200, b"first")
        while c.fill():  # the head, and never all of the body
            if c.buffer.endswith(b"half"):
                since = time.monotonic()
                until(lambda: time.monotonic() - since > 1.5, 10, "the server's patience")
                c.send(raw.response(408, b"too slow", "Connection: close\r\n"))
                return
    origin = run.origin(handler)
    _, port = run.front([origin], workers=1, buffer={"request_mode": "stream"})
    with Client(port) as c:
        assert c.ask().body == b"first"
        c.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhalf")
        r = c.final()
        assert (r.status, r.body) == (408, b"too slow")
    assert len(origin.connections) == 1


def test_a_408_for_nobody_costs_one_connection(run):
    """The request goes again on a new connection in the place of the lost one, not on another idle one that may end as well; and
    the server's FIN is awaited, not cut off by a reset."""
    gate, ends = threading.Event(), []

    def handler(c):
        assert c.request()
        gate.wait(10)
        c.reply(200, b"first")
        if c.request(body=False):
            c.send(raw.response(408, b"too late", "Connection: close\r\n"))
            c.sock.shutdown(socket.SHUT_WR)
            ends.append(c.at_end())
    origin = run.origin(handler)
    proxy, port = run.front([origin], workers=1)
    crowd = Crowd(3, lambda n: get(port))
    until(lambda: len(origin.connections) == 3, 10, "three connections")
    gate.set()
    assert {r.body for r in crowd.results()} == {b"first"}
    r = get(port)
    assert (r.status, r.body) == (200, b"first")
    m = proxy.metrics()
    assert len(origin.connections) == 4 and m.sum("lastack_retries_total", reason="race") == 1
    until(lambda: ends, 10, "the end of the lost one")
    assert ends == [True]
