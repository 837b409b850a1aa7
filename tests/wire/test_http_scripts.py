"""HTTP cases that take steps and time: early and late answers, answers of our own, bodies that stop, clients that leave. What
counts is what the server saw afterwards: the next client of the only place is on a connection that nobody left anything on."""
import socket
import threading
import time

import pytest

from harness import proxy
from harness.raw import Client, Gone, get, request
from harness.strict import Strict
from harness.wait import scale, until

EVIL = b"GET /evil HTTP/1.1\r\nHost: a.test\r\n\r\n"
STREAM = {"request_mode": "stream"}


class Stage(Strict):
    """Answers with the target's name; a path in `scenes` is played by its function(connection, head) instead, which says
    whether the connection goes on."""

    def __init__(self, **scenes):
        self.scenes = {f"/{k}": v for k, v in scenes.items()}
        self.began = threading.Event()
        super().__init__()

    def take(self, connection):
        while not connection.buffer:
            if not connection.fill():
                return None
        target = connection.buffer.split(b" ", 2)[1].decode()
        if target in self.scenes:
            head = connection.head()
            self.seen.append(target)
            self.began.set()
            return self.take(connection) if self.scenes[target](connection, head) else None
        return super().take(connection)

    def targets(self):
        return [m if isinstance(m, str) else m.target for m in self.seen]


def front(run, stage, **more):
    more.setdefault("pool", {"max": 1})
    lastack, port = run.front([run.own(stage)], workers=1, passive={"failures": 0}, **more)
    return lastack, port


def victims(port, stage, n=20):
    """Others get their own answers, and nothing else has reached the server."""
    for i in range(n):
        assert get(port, f"/victim-{i}").body == b"/victim-%d" % i
    assert stage.bad == [] and "/evil" not in stage.targets()


def closed(lastack, reason):
    return lastack.metrics().sum("lastack_connections_closed_total", reason=reason)


# ---- early answers ----

@pytest.mark.sanitizer
@pytest.mark.parametrize("close", [False, True])
def test_early_answer_while_the_body_is_on_its_way(run, close):
    """It reaches the client although that is still sending; the connection it left a body on is never used again."""
    def early(c, head):
        c.send(b"HTTP/1.1 413 Too Large\r\n%sContent-Length: 3\r\n\r\nbig" % (b"Connection: close\r\n" if close else b""))
        if not close:
            c.to_end()
        return False
    stage = Stage(early=early)
    _, port = front(run, stage, buffer=STREAM)
    for n in range(scale(20, 200)):
        with Client(port) as c:
            c.send(request("/early", "POST", "Content-Length: 1000000\r\n") + b"A" * 1000)
            stage.began.wait(10)
            try:
                for _ in range(10):
                    c.send(b"A" * 10000)
            except ConnectionError:
                pass
            r = c.final()
            assert (r.status, r.body) == (413, b"big") and "close" in r.get("Connection")
        assert get(port, f"/victim-{n}").body == b"/victim-%d" % n
    victims(port, stage, 1)


def test_early_answer_without_a_continue(run):
    """The client sends what it promised all the same, and it is no request."""
    stage = Stage(early=lambda c, head: c.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n") or not c.to_end())
    lastack, port = front(run, stage, buffer=STREAM)
    with Client(port) as c:
        c.send(request("/early", "POST", f"Expect: 100-continue\r\nContent-Length: {len(EVIL)}\r\n"))
        assert c.final().status == 401
        try:
            c.send(EVIL)
        except ConnectionError:
            pass
        assert c.at_end()
    victims(port, stage)
    assert closed(lastack, "unsent_request") == 1


def test_an_early_answer_that_stops(run):
    """It has its time once the request, which went on after it, is out: the place comes back."""
    took = threading.Event()

    def early(c, head):
        c.exactly(5)
        c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        c.exactly(5)
        took.set()
        c.to_end()
        return False
    stage = Stage(early=early)
    lastack, port = front(run, stage, buffer=STREAM, timeouts={"response": "1500ms"})
    with Client(port) as c:
        c.send(request("/early", "POST", "Content-Length: 14\r\n") + b"first")
        assert c.until(b"hello").startswith(b"HTTP/1.1 200")
        c.send(b"later")
        assert took.wait(10)
        c.send(b"last")
        assert c.at_end()
    victims(port, stage, 1)
    assert closed(lastack, "timeout") == 1


def test_an_interim_answer_that_announces_a_body(run):
    """What is behind it may be that body: no other client is answered on this connection."""
    fake = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    stage = Stage(odd=lambda c, head: c.send(b"HTTP/1.1 103 Early Hints\r\nContent-Length: %d\r\n\r\n%s" % (len(fake), fake)) or True)
    lastack, port = front(run, stage)
    with Client(port) as c:
        assert c.ask("/odd").status == 200
    victims(port, stage)
    assert len(stage.connections) == 2 and closed(lastack, "protocol_error") == 1


def test_the_whole_body_was_there(run):
    """An answer before the server has read it is no reason to give the connection up, if all of it was sent."""
    def early(c, head):
        c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        c.exactly(36)
        return True
    stage = Stage(early=early)
    _, port = front(run, stage)
    with Client(port) as c:
        for _ in range(10):
            assert c.ask("/early", "POST", body=EVIL[:36].ljust(36)).status == 200
    victims(port, stage)
    assert len(stage.connections) == 1


# ---- late answers ----

@pytest.mark.sanitizer
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_late_answer_after_a_timeout(run, method):
    """504, and what comes after it is nobody's."""
    go_on = threading.Event()

    def late(c, head):
        c.at_end(10)  # the proxy gives the connection up
        go_on.wait(10)
        c.send(b"HTTP/1.1 200 OK\r\nX-Stolen: 1\r\nContent-Length: 6\r\n\r\nstolen")
        return False
    stage = Stage(late=late)
    lastack, port = front(run, stage, timeouts={"response": "1s"})
    with Client(port) as c:
        r = c.ask("/late", method)
        assert r.status == 504 and "response_timeout" in r.get("Proxy-Status")
        go_on.set()
        assert c.ask("/mine").body == b"/mine", "the client goes on"
    victims(port, stage)
    assert closed(lastack, "timeout") == 1 and stage.targets().count("/late") == 1


@pytest.mark.sanitizer
@pytest.mark.parametrize("leave", ["fin", "rst"])
@pytest.mark.parametrize("wait", ["5s", "100ms"])
def test_late_answer_after_the_client_left(run, leave, wait):
    """It is read off, or its connection is given up; the next client sees nothing of it."""
    go_on = threading.Event()

    def late(c, head):
        go_on.wait(10)
        try:
            c.send(b"HTTP/1.1 200 OK\r\nX-Stolen: 1\r\nContent-Length: 6\r\n\r\nstolen")
        except OSError:
            return False
        return True
    stage = Stage(late=late)
    lastack, port = front(run, stage, pool={"max": 1, "abort_wait": wait})
    c = Client(port)
    c.send(request("/late"))
    assert stage.began.wait(10)
    c.reset() if leave == "rst" else c.close()
    until(lambda: lastack.metrics().sum("lastack_client_connections") == 0, 5, "the client to be gone")
    if wait != "5s":
        until(lambda: closed(lastack, "aborted_exchange") == 1, 5, "the connection to be given up")
    go_on.set()
    victims(port, stage)
    assert len(stage.connections) == (1 if wait == "5s" else 2)


@pytest.mark.parametrize("part", [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 40])
def test_an_answer_that_drips(run, part):
    """The head has a total time, however steadily it comes."""
    def drip(c, head):
        try:
            for byte in part:
                c.send(bytes([byte]))
                time.sleep(0.06)  # what is tested is time
            c.to_end()
        except OSError:
            pass
        return False
    stage = Stage(drip=drip)
    lastack, port = front(run, stage, timeouts={"response": "1s"})
    with Client(port) as c:
        c.send(request("/drip"))
        try:
            while (m := c.response()).status < 200:
                pass
            assert m.status == 504
        except Gone:
            pass
    victims(port, stage)
    assert closed(lastack, "timeout") == 1


# ---- lost connections ----

@pytest.mark.parametrize("method, status", [("GET", 200), ("PUT", 200), ("DELETE", 200), ("POST", 502), ("PATCH", 502)])
@pytest.mark.parametrize("how", ["fin", "rst"])
def test_a_used_connection_dies_instead_of_an_answer(run, method, status, how):
    """Once more on a fresh one, if that cannot do harm; nothing else is ever run twice."""
    runs = []

    def die(c, head):
        runs.append(head)
        if len(runs) > 1:
            c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            return True
        if how == "rst":
            c.reset()
        return False
    stage = Stage(die=die)
    lastack, port = front(run, stage)
    with Client(port) as c:
        assert c.ask("/warm").status == 200
        assert c.ask("/die", method).status == status
        assert len(runs) == (2 if status == 200 else 1)
    assert lastack.metrics().sum("lastack_retries_total") == (1 if status == 200 else 0)
    victims(port, stage)


# ---- answers of our own ----

@pytest.mark.sanitizer
@pytest.mark.parametrize("mode", ["buffer", "stream"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_our_own_answer_and_an_unread_body(run, mode, framing):
    """The body is never taken for a request: it is read off, or the connection ends."""
    stage = Stage()
    port = proxy.free_port()
    run.own(stage)
    run.proxy(proxy.config({"app": {"servers": [stage.text], "connection_auth": "refuse", "buffer": {"request_mode": mode}}},
                           [{"name": "web", "address": f"127.0.0.1:{port}"}], workers=1,
                           routes=[{"path": "/open", "upstream": "app"}]))
    head = f"Content-Length: {len(EVIL)}\r\n" if framing == "length" else "Transfer-Encoding: chunked\r\n"
    body = EVIL if framing == "length" else b"%x\r\n%s\r\n0\r\n\r\n" % (len(EVIL), EVIL)
    for target, headers, status in [("/denied", "", 404), ("/open", "Authorization: NTLM x\r\n", 403), ("/denied", "Expect: 100-continue\r\n", 404)]:
        for split in (False, True):
            with Client(port) as c:
                data = request(target, "POST", headers + head)
                if split:
                    c.send(data)
                    assert c.final().status == status
                    try:
                        c.send(body)
                    except ConnectionError:
                        pass
                else:
                    c.send(data + body)
                    assert c.final().status == status
                assert c.at_end(), "nothing is answered behind it"
    assert get(port, "/open").body == b"/open"
    assert stage.targets() == ["/open"] and stage.bad == []


@pytest.mark.sanitizer
@pytest.mark.parametrize("mode", ["buffer", "stream"])
@pytest.mark.parametrize("expect", ["", "Expect: 100-continue\r\n"])
def test_a_body_that_does_not_come(run, mode, expect):
    """408, the place is free again, and what comes later is no request."""
    stage = Stage()
    lastack, port = front(run, stage, buffer={"request_mode": mode}, listener={"timeouts": {"body": "300ms"}})
    with Client(port) as c:
        c.send(request("/t", "POST", f"{expect}Content-Length: {len(EVIL)}\r\n"))
        r = c.final()
        assert r.status == 408 and "body_timeout" in r.get("Proxy-Status")
        assert get(port, "/other").body == b"/other", "the place is free"
        try:
            c.send(EVIL)
        except ConnectionError:
            pass
        assert c.at_end()
    victims(port, stage)
    assert stage.targets().count("/t") == 0


def test_min_rate(run):
    """A byte now and then is not enough, and a fast body of any length is."""
    stage = Stage()
    lastack, port = front(run, stage, listener={"timeouts": {"body": "400ms", "min_rate": 100000}})
    with Client(port, timeout=20) as c:
        c.send(request("/t", "POST", "Content-Length: 100000\r\n"))
        try:
            for _ in range(400):
                c.send(b"A")
                time.sleep(0.02)  # never silent for long
                if lastack.metrics().sum("lastack_errors_total", cause="body_timeout"):
                    break
        except ConnectionError:
            pass
        assert c.final().status == 408 and c.at_end()
    assert get(port, "/t", "POST", body=b"x" * 3000000).status == 200
    assert stage.targets() == ["/t"]


def test_min_rate_while_the_server_does_not_read(run):
    """The rate is the client's: the time in which nothing is read from it does not count."""
    n, drips = 30_000_000, 10

    def slow(c, head):
        time.sleep(4)  # more than 30 MB may take at 10 MB a second
        c.exactly(n + drips)
        c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        return True
    stage = Stage(slow=slow)
    lastack, port = front(run, stage, buffer=STREAM, limits={"body": 0}, timeouts={"send": "60s"},
                          listener={"timeouts": {"body": "400ms", "min_rate": 10_000_000}})
    with Client(port, timeout=20) as c:
        c.send(request("/slow", "POST", f"Content-Length: {n + drips}\r\n") + b"A" * n)
        for _ in range(drips):  # the timer looks at the rate while the body is awaited
            time.sleep(0.1)
            c.send(b"A")
        assert c.final().status == 200
    assert lastack.metrics().sum("lastack_client_timeouts_total") == 0


def test_a_pause_begins_with_the_last_byte(run):
    """The one that stopped earlier goes first, although its timer was set before its last byte came."""
    stage = Stage()
    lastack, port = front(run, stage, pool={"max": 2}, listener={"timeouts": {"body": "2s", "min_rate": 0}})
    head = lambda target: request(target, "POST", "Content-Length: 10\r\n")
    with Client(port) as late, Client(port) as soon:
        soon.send(head("/soon"))
        time.sleep(1)
        soon.send(b"A")
        time.sleep(0.5)
        late.send(head("/late"))
        assert soon.final().status == 408 and late.final().status == 408
    lines = until(lambda: len(lastack.access()) == 2 and lastack.access(), 5, "both lines")
    assert [line["target"] for line in lines] == ["/soon", "/late"]


# ---- clients that leave ----

@pytest.mark.sanitizer
@pytest.mark.parametrize("mode", ["buffer", "stream"])
@pytest.mark.parametrize("how", ["rst", "fin"])
def test_the_client_leaves_in_its_body(run, mode, how):
    """The server's request is never completed, and its connection never used again; no descriptor stays."""
    stage = Stage()
    lastack, port = front(run, stage, buffer={"request_mode": mode})
    before = None
    for n in range(scale(30, 300)):
        with Client(port) as c:
            c.send(request("/t", "POST", "Content-Length: 1000\r\n" if n % 2 else "Transfer-Encoding: chunked\r\n") +
                   (b"hello" if n % 2 else b"5\r\nhello\r\n"))
            if mode == "stream" and n % 3 == 0:
                until(lambda: lastack.metrics().sum("lastack_connections", state="busy") == 1, 5, "its connection")
            if how == "rst":
                c.reset()
            else:
                c.sock.shutdown(socket.SHUT_WR)
                assert c.at_end()
        assert get(port, f"/victim-{n}").body == b"/victim-%d" % n
        before = before or lastack.process.descriptors()
    victims(port, stage)
    assert stage.targets().count("/t") == 0
    assert lastack.process.descriptors() <= before + 2


@pytest.mark.sanitizer
def test_the_client_leaves_behind_a_body_that_lies_in_a_file(run):
    """All of it is here: it is still sent, and the connection serves others."""
    size, go_on = 16 << 20, threading.Event()

    def slow(c, head):
        go_on.wait(20)
        c.exactly(size)
        c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        return True
    stage = Stage(slow=slow)
    lastack, port = front(run, stage, pool={"max": 1, "abort_wait": "20s"})
    c = Client(port)
    c.send(request("/slow", "POST", f"Content-Length: {size}\r\n") + b"x" * size)
    assert stage.began.wait(20)
    c.reset()
    until(lambda: lastack.metrics().sum("lastack_client_connections") == 0, 5, "the client to be gone")
    go_on.set()
    victims(port, stage, 1)
    assert len(stage.connections) == 1


def test_fin_behind_the_request_means_it_left(run):
    """client_half_close: abort, the default: its response goes nowhere."""
    go_on = threading.Event()
    stage = Stage(slow=lambda c, head: go_on.wait(10) and (c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow") or True))
    lastack, port = front(run, stage)
    with Client(port) as c:
        c.send(request("/slow"))
        assert stage.began.wait(10)
        c.sock.shutdown(socket.SHUT_WR)
        until(lambda: lastack.metrics().sum("lastack_requests_total", code="499") == 1, 5, "it to be counted")
        go_on.set()
        assert c.at_end()
    victims(port, stage)
    assert len(stage.connections) == 1


# ---- Max-Forwards ----

def test_max_forwards(run):
    """RFC 9110 7.6.2: OPTIONS with 0 is answered here, its body is no request; else the next one gets one less."""
    stage = Stage()
    _, port = front(run, stage)
    with Client(port) as c:
        r = c.ask("/x", "OPTIONS", "Max-Forwards: 0\r\n")
        assert r.status == 200 and "GET" in r.get("Allow")
        assert c.ask("/x", "OPTIONS", "Max-Forwards: 7\r\n").status == 200
        assert stage.seen[-1].all("Max-Forwards") == ["6"]
        assert c.ask("/x", "OPTIONS", "Max-Forwards: seven\r\n").status == 400
    with Client(port) as c:
        assert c.ask("/x", "GET", "Max-Forwards: 0\r\n").status == 200, "means nothing elsewhere"
        c.send(request("/x", "OPTIONS", f"Max-Forwards: 0\r\nContent-Length: {len(EVIL)}\r\n") + EVIL)
        assert c.final().status == 200 and c.at_end()
        for n in ("TRACE", "CONNECT"):
            assert get(port, "/x" if n == "TRACE" else "a.test:80", n, "Max-Forwards: 0\r\n").status in (400, 405)
    victims(port, stage)


def test_abort_wait_is_one_time(run):
    """For head and body together: of two clients that left, the first one's connection is given up first, though its head came."""
    order, left = [], threading.Event()

    def handler(c):
        r = c.request()
        if r.target == "/first":
            left.wait(10)
            time.sleep(1.5)
            c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        try:
            c.to_end()
        except (ConnectionError, Gone):
            pass
        order.append(r.target)
    origin = run.origin(handler)
    lastack, port = run.front([origin], workers=1, pool={"max": 2, "abort_wait": "3s"}, timeouts={"response": "60s"})
    for n, target in enumerate(("/first", "/second")):
        c = Client(port)
        c.send(request(target))
        until(lambda: len(origin.connections) == n + 1, 10, "the request to be at work")
        c.close()
        left.set()
        if n == 0:
            time.sleep(1)
    until(lambda: len(order) == 2, 20, "both to be given up")
    assert order == ["/first", "/second"]
    until(lambda: closed(lastack, "aborted_exchange") == 2, 10, "both closes to be counted")
