"""HTTP/1.1 both ways: every kind of message arrives as what it was."""
import time

import pytest

from harness import raw
from harness.raw import Client, chunks, get, request


def test_keep_alive_client_and_one_server_connection(run):
    origin = run.origin()
    _, port = run.front([origin])
    with Client(port) as c:
        for n in range(20):
            r = c.ask(f"/{n}")
            assert (r.status, r.body) == (200, b"hello")
    assert [m.target for _, m in origin.requests] == [f"/{n}" for n in range(20)]
    assert len(origin.connections) == 1


def test_short_clients_share_one_server_connection(run):
    origin = run.origin()
    _, port = run.front([origin], workers=1)
    for _ in range(20):
        with Client(port) as c:
            r = c.ask("/", headers="Connection: close\r\n")
            assert r.status == 200 and "close" in r.get("Connection", "").lower()
            assert c.at_end()
    assert len(origin.connections) == 1
    assert all("close" not in (m.get("Connection") or "") for _, m in origin.requests)


def test_http10(run):
    origin = run.origin()
    _, port = run.front([origin])
    with Client(port) as c:
        r = c.ask("/", version="1.0")
        assert r.status == 200 and r.body == b"hello" and c.at_end()
    with Client(port) as c:  # an old client that asks for keep-alive
        assert c.ask("/", version="1.0", headers="Connection: keep-alive\r\n").get("Connection", "").lower() == "keep-alive"
        assert c.ask("/", version="1.0", headers="Connection: keep-alive\r\n").status == 200
    assert origin.last.version == "HTTP/1.1"


def test_http10_without_host(run):
    origin = run.origin()
    _, port = run.front([origin])
    with Client(port) as c:
        c.send("GET / HTTP/1.0\r\n\r\n")
        assert c.final().status == 200


def test_http11_without_host_is_refused(run):
    origin = run.origin()
    _, port = run.front([origin])
    with Client(port) as c:
        c.send("GET / HTTP/1.1\r\n\r\n")
        assert c.final().status == 400
    assert origin.requests == []


def test_chunked_response_for_http10_is_close_delimited(run):
    def handler(c):
        while c.request():
            c.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(b"abc", b"defg"))
    _, port = run.front([run.origin(handler)])
    with Client(port) as c:
        c.send("GET / HTTP/1.0\r\n\r\n")
        r = c.final()
        assert r.get("Transfer-Encoding") is None and r.body == b"abcdefg"


def test_pipelined_requests_are_answered_in_order(run):
    origin = run.origin(answer=lambda r: (200, r.target.encode(), ""))
    _, port = run.front([origin])
    with Client(port) as c:
        c.send(b"".join(request(f"/{n}") for n in range(50)))
        assert [c.final().body for _ in range(50)] == [f"/{n}".encode() for n in range(50)]


def test_pipelined_with_bodies_and_slow_first(run):
    def handler(c):
        while (r := c.request()):
            if r.target == "/slow":
                time.sleep(0.3)
            c.reply(200, r.target.encode() + b" " + r.body)
    _, port = run.front([run.origin(handler)])
    with Client(port) as c:
        c.send(request("/slow", "POST", body=b"one") + request("/fast", "POST", body=b"two") + request("/last"))
        assert [c.final().body for _ in range(3)] == [b"/slow one", b"/fast two", b"/last "]


@pytest.mark.parametrize("method", "GET HEAD POST PUT DELETE OPTIONS PATCH PROPFIND REPORT X-CUSTOM".split())
def test_methods(run, method):
    origin = run.origin(answer=lambda r: (200, b"" if r.method == "HEAD" else b"ok", ""))
    _, port = run.front([origin])
    with Client(port) as c:
        assert c.ask("/", method).status == 200
        assert c.ask("/again").status == 200
    assert origin.requests[0][1].method == method


def test_connect_is_refused(run):
    origin = run.origin()
    _, port = run.front([origin])
    with Client(port) as c:
        c.send("CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\n\r\n")
        assert c.final().status in (400, 405, 501)
    assert origin.requests == []


@pytest.mark.parametrize("mode", ["buffer", "stream"])
def test_chunked_request(run, mode):
    origin = run.origin(answer=lambda r: (200, r.body, ""))
    _, port = run.front([origin], buffer={"request_mode": mode})
    with Client(port) as c:
        c.send(b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(b"one", b"x" * 70000, b"end"))
        assert c.final().body == b"one" + b"x" * 70000 + b"end"
        assert c.ask("/").status == 200


@pytest.mark.parametrize("size", [65536, 1000, 7])
def test_chunked_request_behind_a_long_head(run, size):
    """The head's buffer is full then: the body is read on its own, and not a byte of what follows it."""
    origin = run.origin(answer=lambda r: (200, r.body, ""))
    _, port = run.front([origin])
    pieces = [bytes([65 + i % 26]) * size for i in range(min(2000, (1 << 20) // size))]
    with Client(port) as c:
        for end in ("", "X-Sum: 42\r\n"):
            c.send(b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nX-Long: " + b"x" * 5000 + b"\r\n\r\n" +
                   chunks(*pieces, trailers=end) + request("/next"))
            assert c.final().body == b"".join(pieces)
            assert c.final().status == 200
    assert [m.target for _, m in origin.requests] == ["/", "/next"] * 2


@pytest.mark.parametrize("mode", ["buffer", "stream"])
def test_request_trailers(run, mode):
    origin = run.origin()
    _, port = run.front([origin], buffer={"request_mode": mode})
    with Client(port) as c:
        c.send(b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n" +
               chunks(b"body", trailers="X-Sum: 42\r\n"))
        assert c.final().status == 200
        assert c.ask("/next").status == 200
    assert origin.requests[0][1].body == b"body"
    first = origin.requests[0][1]
    if first.chunked:  # a body that was buffered may go on with a length, and then without trailers
        assert ("X-Sum", "42") in first.trailers


def test_response_trailers(run):
    def handler(c):
        while c.request():
            c.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n" +
                   chunks(b"abc", b"def", trailers="X-Sum: 7\r\n"))
    _, port = run.front([run.origin(handler)])
    with Client(port) as c:
        for _ in range(2):
            r = c.ask("/")
            assert r.chunked and r.body == b"abcdef" and ("X-Sum", "7") in r.trailers


def test_head_keeps_the_length_and_has_no_body(run):
    def handler(c):
        while c.request():
            c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n")
    origin = run.origin(handler)
    _, port = run.front([origin])
    with Client(port) as c:
        for _ in range(3):
            assert c.ask("/", "HEAD").get("Content-Length") == "12345"
    assert len(origin.connections) == 1


@pytest.mark.parametrize("head", ["HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",
                                  'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n', "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"])
def test_responses_without_body(run, head):
    def handler(c):
        while c.request():
            c.send(head)
    origin = run.origin(handler)
    _, port = run.front([origin])
    with Client(port) as c:
        for _ in range(3):
            assert c.ask("/").status == int(head[9:12])
    assert len(origin.connections) == 1


def test_interim_responses_are_relayed(run):
    def handler(c):
        while c.request():
            c.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n")
            c.reply(200, b"done")
    _, port = run.front([run.origin(handler)])
    with Client(port) as c:
        c.send(request("/"))
        seen = [c.response(), c.response(), c.response()]
        assert [r.status for r in seen] == [103, 102, 200]
        assert seen[0].get("Link") == "</a.css>"
        c.send(request("/", version="1.0"))  # an HTTP/1.0 client never gets a 1xx
        assert c.response().status == 200


@pytest.mark.parametrize("mode", ["buffer", "stream"])
def test_expect_continue(run, mode):
    def handler(c):
        while (r := c.request(body=False)):
            if "100-continue" in (r.get("Expect") or ""):
                c.send("HTTP/1.1 100 Continue\r\n\r\n")
            c.body(r)
            c.reply(200, r.body)
    origin = run.origin(handler)
    _, port = run.front([origin], buffer={"request_mode": mode})
    with Client(port) as c:
        c.send(request("/", "POST", "Expect: 100-continue\r\nContent-Length: 4\r\n"))
        assert c.response().status == 100
        if mode == "buffer":
            assert origin.requests == [], "no connection is taken before the body has come"
        c.send(b"body")
        assert c.final().body == b"body"
        assert c.ask("/").status == 200


def test_expect_refused_early_in_stream_mode(run):
    def handler(c):
        c.request(body=False)
        c.send("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    _, port = run.front([run.origin(handler)], buffer={"request_mode": "stream"})
    with Client(port) as c:
        c.send(request("/", "POST", "Expect: 100-continue\r\nContent-Length: 4\r\n"))
        assert c.response().status == 413


def test_close_delimited_response(run):
    def handler(c):
        c.request()
        c.send(b"HTTP/1.1 200 OK\r\n\r\n" + b"z" * 100000)
    origin = run.origin(handler)
    _, port = run.front([origin])
    with Client(port) as c:
        for _ in range(3):
            assert c.ask("/").body == b"z" * 100000  # chunked by the proxy: the client's connection stays
    assert len(origin.connections) == 3


def test_head_split_at_every_byte(run):
    origin = run.origin(answer=lambda r: (200, r.body, ""))
    _, port = run.front([origin], workers=1)
    data = request("/x", "POST", "X-A: b\r\n", b"body")
    with Client(port) as c:
        for at in range(1, len(data), 7):
            c.send(data[:at])
            time.sleep(0.002)  # two segments
            c.send(data[at:])
            assert c.final().body == b"body"


@pytest.mark.parametrize("bad, status", [
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    ("GET /\r\nHost: a\r\n\r\n", 400),
    ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    ("GET / HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\n folded: x\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", (400, 501)),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: " + "y" * 40000 + "\r\n\r\n", 431),
    ("GET /" + "y" * 70000 + " HTTP/1.1\r\nHost: a\r\n\r\n", (414, 431)),
    ("GET / HTTP/1.1\r\nHost: a\r\n" + "".join(f"X-{n}: 1\r\n" for n in range(200)) + "\r\n", 431),
])
def test_bad_requests_are_refused_and_reach_nobody(run, bad, status):
    origin = run.origin()
    _, port = run.front([origin])
    with Client(port) as c:
        c.send(bad)
        r = c.final()
        assert r.status in (status if isinstance(status, tuple) else (status,))
        assert "lastack" in r.get("Proxy-Status")
        assert c.at_end(), "the connection is closed after it"
    assert origin.requests == []
    assert get(port).status == 200


def test_empty_lines_before_a_request(run):
    _, port = run.front([run.origin()])
    with Client(port) as c:
        c.send(b"\r\n" + request("/"))
        assert c.final().status == 200


def test_no_keep_alive_for_clients(run):
    """timeouts.keepalive: 0: one request of a connection is answered, and the client told so."""
    _, port = run.front([run.origin()], listener={"timeouts": {"keepalive": 0}})
    for version in "1.1", "1.0":
        with Client(port) as c:
            r = c.ask("/", headers="Connection: keep-alive\r\n", version=version)
            assert r.status == 200 and r.get("Connection") == "close" and c.at_end()


def test_empty_line_behind_a_request(run):
    """The client is idle all the same: the time for the next request holds, and it ends without an answer. A head that
    begins has its own time."""
    lastack, port = run.front([run.origin()], listener={"timeouts": {"head": "1s", "keepalive": "4s"}})
    with Client(port) as idle, Client(port) as late, Client(port) as unfinished:
        for c in (idle, late, unfinished):
            c.send(request("/") + b"\r\n")
            assert c.final().status == 200
        unfinished.send(b"\r\nGET / HT")
        assert unfinished.final().status == 408
        assert late.ask("/").status == 200
        assert idle.at_end(), "no answer"


def test_empty_line_behind_a_request_and_drain(run):
    lastack, port = run.front([run.origin()])
    with Client(port) as c:
        c.send(request("/") + b"\r\n")
        assert c.final().status == 200
        assert lastack.stop() == 0
        assert c.at_end(), "no answer"


def test_client_that_half_closes(run):
    def handler(c):
        while c.request():
            time.sleep(0.2)
            c.reply(200, b"late")
    origin = run.origin(handler)
    _, port = run.front([origin], listener={"client_half_close": "serve"})
    with Client(port) as c:
        c.send(request("/"))
        c.sock.shutdown(raw.socket.SHUT_WR)
        assert c.final().body == b"late" and c.at_end()


def test_unix_sockets_both_ways(run):
    import os
    import socket
    import threading
    folder = run.folder("sock")
    server = socket.socket(socket.AF_UNIX)
    server.bind(f"{folder}/app")
    server.listen(16)

    def serve():
        while True:
            try:
                s, _ = server.accept()
            except OSError:
                return
            stream = raw.Stream(s)
            try:
                while stream.head():
                    stream.send(raw.response(200, b"unix"))
            except (raw.Gone, OSError):
                pass
    threading.Thread(target=serve, daemon=True).start()
    from harness import proxy
    conf = proxy.config({"app": {"servers": [f"unix:{folder}/app"]}},
                        [{"name": "u", "address": f"unix:{folder}/front", "mode": "0660", "upstream": "app"}])
    run.proxy(conf)
    assert os.stat(f"{folder}/front").st_mode & 0o777 == 0o660
    s = socket.socket(socket.AF_UNIX)
    s.connect(f"{folder}/front")
    c = Client.__new__(Client)
    raw.Stream.__init__(c, s)
    with c:
        for _ in range(5):
            assert c.ask("/").body == b"unix"
    server.close()
