"""Health: what puts a server out, what brings it back, and what must never count. Judged by who got requests."""
import signal
import socket
import threading
import time

import pytest

from harness.proxy import SLOW, free_port
from harness.raw import Client, Origin, get, request
from harness.wait import holds, until


def up(lastack, origin):
    return lastack.metrics().sum("lastack_server_up", server=origin if isinstance(origin, str) else origin.text) == 1


def test_passive_out_and_back_in(run):
    """Refused connections put a server out; a single request tries it again later; then it has its share."""
    good = run.origin(answer=lambda r: (200, b"good", ""))
    port_of_bad = free_port()
    bad = f"127.0.0.1:{port_of_bad}"
    lastack, port = run.front([bad, good], balance="round_robin", workers=1, passive={"failures": 2, "out": "300ms", "out_max": "600ms"})
    with Client(port) as c:
        for _ in range(10):
            assert c.ask().body == b"good", "the other server answers"
        assert not up(lastack, bad)
        back = run.own(Origin(answer=lambda r: (200, b"back", ""), port=port_of_bad))
        until(lambda: c.ask().body == b"back", 5 * SLOW, "a request to try it")
        assert up(lastack, back)
        assert sum(c.ask().body == b"back" for _ in range(20)) == 10
    log = [x for x in lastack.log().splitlines() if " is out" in x]
    assert len(log) == 1, "said once, not for each request"


def test_out_for_longer_each_time(run):
    """While a server stays away, it is tried less and less."""
    good = run.origin()
    dials = []

    def refuse(c):
        dials.append(time.monotonic())
        c.reset()
    bad = run.origin(refuse)
    _, port = run.front([bad, good], balance="round_robin", workers=1, passive={"failures": 1, "out": "100ms", "out_max": "10s"})

    def more():
        assert get(port).status == 200
        return len(dials) >= 4
    until(more, 10 * SLOW, "four tries", every=0.005)
    gaps = [b - a for a, b in zip(dials, dials[1:])]
    assert gaps[0] >= 0.09 and gaps[1] >= 0.19 and gaps[2] >= 0.39, gaps


def test_nobody_is_up(run):
    """Whoever waits in vain is told that, not that the pool is too small."""
    origin = run.origin(answer=lambda r: (500 if r.target == "/up" else 200, b"", ""))
    lastack, port = run.front([origin], health={"path": "/up", "interval": "100ms", "timeout": "50ms", "unhealthy": 1}, queue={"timeout": "300ms"})
    until(lambda: not up(lastack, origin), 10, "the server to be down")
    r = get(port)
    assert r.status == 503 and 'details="no_server:' in r.get("Proxy-Status") and r.get("Retry-After")


def test_only_server(run):
    """With nobody else a server that is out answers 503 after the queue's time, and works at once when it is back."""
    address = free_port()
    lastack, port = run.front([f"127.0.0.1:{address}"], passive={"failures": 1, "out": "200ms", "out_max": "200ms"}, queue={"timeout": "3s"})
    r = get(port)
    assert r.status == 502 and "connection_refused" in r.get("Proxy-Status")
    run.own(Origin(port=address))
    assert get(port).status == 200, "waits until it is tried again"
    assert up(lastack, f"127.0.0.1:{address}")


@pytest.mark.parametrize("way", ["status", "reset", "silence", "refused"])
def test_active_down_and_up(run, way):
    state = {"well": True}
    silent = []

    def serve(c):
        while (r := c.request()):
            if r.target == "/health?x=1" and not state["well"]:
                assert r.get("Host") == "check.test"
                if way == "status":
                    c.reply(500, b"bad")
                elif way == "reset":
                    return c.reset()
                else:
                    silent.append(c)
                    c.to_end()
                    return
            else:
                c.reply(200, b"fine", "Connection: close\r\n" if "close" in (r.get("Connection") or "") else "")
            if "close" in (r.get("Connection") or ""):
                return
    first = run.origin(serve)
    second = run.origin(answer=lambda r: (200, b"second", ""))
    lastack, port = run.front([first, second], balance="round_robin", workers=1,
                              health={"path": "/health?x=1", "host": "check.test", "interval": "100ms", "timeout": "100ms", "unhealthy": 2,
                                      "healthy": 2})
    until(lambda: any(m.target == "/health?x=1" for _, m in first.requests), 5 * SLOW, "a check")

    def both():  # a check that is late takes a server out for a moment
        return {get(port).body for _ in range(6)} == {b"fine", b"second"}
    until(both, 5 * SLOW, "both to serve")
    state["well"] = False
    if way == "refused":
        first.close()
    until(lambda: not up(lastack, first), 5 * SLOW, "the server to be down")
    assert {get(port).body for _ in range(10)} == {b"second"}
    assert any("is down" in x and "/health" in x for x in lastack.log().splitlines())
    state["well"] = True
    if way == "refused":
        run.own(Origin(serve, port=first.port))
    until(lambda: up(lastack, first), 5 * SLOW, "the server to be up")
    until(both, 5 * SLOW, "both to serve")


def test_checks_hold_places_too(run):
    """A check is a connection under the cap."""
    back = run.backend(max_connections=2)
    lastack, port = run.front([back], pool={"max": 2}, health={"path": "/", "interval": "50ms", "timeout": "50ms"})
    for _ in range(100):
        assert get(port).status == 200
    until(lambda: back.stats()["requests"] > 105, 10, "checks")
    assert back.stats()["open_max"] <= 2, back.stats()


def test_checks_are_spared_under_load(run):
    """A real answer within the interval says enough."""
    origin = run.origin()
    _, port = run.front([origin], health={"path": "/health", "interval": "1s", "timeout": "1s"})
    end = time.monotonic() + 2.5
    with Client(port) as c:
        while time.monotonic() < end:
            assert c.ask("/real").status == 200
            holds(lambda: True, 0.02)
    assert sum(m.target == "/health" for _, m in origin.requests) <= 1


@pytest.mark.sanitizer
@pytest.mark.parametrize("workers", [1, 3])
def test_a_server_that_hangs_on_all_its_places_is_down(run, workers):
    """No check gets a connection, and nobody an answer: that is one. What comes free first is the check's, whoever waits."""
    gate, hung = threading.Event(), []

    def serve(c):
        while (r := c.request()):
            if not gate.is_set():
                hung.append(r.target)
                gate.wait(30)
            last = "close" in (r.get("Connection") or "")
            c.reply(200, b"well", "Connection: close\r\n" if last else "")
            if last:
                return
    origin = run.origin(serve)
    lastack, port = run.front([origin], workers=workers, pool={"max": 2}, queue={"timeout": "30s"}, timeouts={"response": "60s"},
                              health={"path": "/health", "interval": "500ms", "timeout": "200ms", "unhealthy": 2})
    clients = [run.own(Client(port, timeout=30)) for _ in range(6)]
    for c in clients:
        c.send(request("/slow"))
    until(lambda: hung.count("/slow") == 2, 10 * SLOW, "both places to be taken")
    until(lambda: not up(lastack, origin), 10 * SLOW, "the server to be down")
    gate.set()
    assert [c.final().status for c in clients] == [200] * 6
    until(lambda: up(lastack, origin), 10 * SLOW, "the server to be up")


@pytest.mark.sanitizer
def test_a_check_gets_what_idles_at_another_worker(run):
    """There is one place, and the connection that holds it is whose the client's worker was: it becomes the check's goodbye."""
    origin = run.origin()
    lastack, port = run.front([origin], workers=4, pool={"max": 1}, health={"path": "/health", "interval": "300ms", "timeout": "300ms", "unhealthy": 100})

    def checks():
        return sum(m.target == "/health" for _, m in origin.requests)
    for _ in range(4):  # clients come to any of the workers
        assert get(port).status == 200
        before = checks()
        until(lambda: checks() > before, 10 * SLOW, "a check")
    assert up(lastack, origin)


@pytest.mark.sanitizer
def test_a_drain_lets_a_check_end(run):
    """It is under way when SIGTERM comes: its answer is read, and the server hangs up."""
    gate, held, answered = threading.Event(), threading.Event(), threading.Event()

    def serve(c):
        assert c.request().target == "/health"
        held.set()
        gate.wait(20)
        c.reply(200, b"well", "Connection: close\r\n")
        answered.set()
    origin = run.origin(serve)
    lastack, port = run.front([origin], workers=1, health={"path": "/health", "interval": "30s", "timeout": "20s"}, drain_timeout="30s")
    assert held.wait(10 * SLOW)
    lastack.process.signal(signal.SIGTERM)

    def refused():
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) != 0
    until(refused, 10 * SLOW, "the worker to drain")
    gate.set()
    lastack.stopped = True
    assert lastack.process.wait(20 * SLOW) == 0
    assert answered.wait(10) and not origin.errors and len(origin.requests) == 1


def test_a_slow_answer_to_the_first_request_keeps_nobody_out(run):
    """The server could not be connected to, and can be again: what it makes of the first request does not matter for that."""
    address, gate, held = free_port(), threading.Event(), threading.Event()

    def serve(c):
        while (r := c.request()):
            if r.target == "/slow":
                held.set()
                gate.wait(20)
            c.reply(200, r.target.encode())
    lastack, port = run.front([f"127.0.0.1:{address}"], workers=1, passive={"failures": 1, "out": "100ms", "out_max": "100ms"})
    assert get(port).status == 502
    run.own(Origin(serve, port=address))
    with Client(port) as c:
        c.send(request("/slow"))
        assert held.wait(10)
        assert [get(port, "/fast").body for _ in range(3)] == [b"/fast"] * 3
        gate.set()
        assert c.response().body == b"/slow"


def test_a_probe_that_ends_without_an_answer_makes_way_for_the_next(run):
    """The server was out for what it answered; the one request that tries it again leaves before its answer."""
    state, held = {"bad": True}, threading.Event()

    def serve(c):
        while (r := c.request()):
            if state["bad"]:
                return c.reset()
            if r.target == "/left":
                held.set()
                c.to_end()
                return
            c.reply(200, b"well")
    lastack, port = run.front([run.origin(serve)], workers=1, retry={"max": 0}, queue={"timeout": "5s"},
                              passive={"failures": 1, "out": "100ms", "out_max": "100ms"}, pool={"abort_wait": "50ms"})
    assert get(port).status == 502
    state["bad"] = False
    with Client(port) as c:
        c.send(request("/left"))
        assert held.wait(10)
        c.reset()
    assert get(port).status == 200


def test_a_lost_race_never_counts(run):
    """A reused connection on which the server hangs up as the request comes says nothing about its health."""
    def once(c):
        c.request() and c.reply(200, b"ok")
        c.request()
        c.reset()
    origin = run.origin(once)
    lastack, port = run.front([origin], workers=1, passive={"failures": 1, "out": "30s"})
    with Client(port) as c:
        for _ in range(20):
            assert c.ask().status == 200
    assert up(lastack, origin)
    m = lastack.metrics()
    assert m.sum("lastack_retries_total", reason="race") > 0, "there were races"
    assert " is out" not in lastack.log()


def test_a_port_shortage_never_counts(run):
    """One local port, taken by somebody else: the request waits, the server stays up."""
    origin = run.origin()
    local = free_port()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", local))
        taken.connect(("127.0.0.1", origin.port))
        lastack, port = run.front([origin], source=[f"127.0.0.1:{local}-{local}"], pool={"max": 1},
                                  passive={"failures": 1, "out": "30s"}, queue={"timeout": "500ms"})
        r = get(port)
        assert r.status == 503, r
        assert up(lastack, origin) and " is out" not in lastack.log()
        assert any("no local port" in x for x in lastack.log().splitlines())
