"""Many memcached clients at once: every value is the one that was stored, connections are few, large values and slow readers do
not hold the others up, memory goes back."""
import threading
import time

import pytest

from harness import memcached as mc
from harness.wait import scale, until


@pytest.mark.sanitizer
def test_short_clients_with_tokens(run):
    """Thousands of clients that come, ask, go: 0 wrong, 0 errors, at most pool.max connections, no TIME_WAIT towards servers."""
    servers = mc.start(run, 3)
    workers = scale(2, 4)
    p, port = mc.front(run, servers, pool={"max": workers}, top={"workers": workers, "log": {"access": "off"}}, timeouts={"response": "20s"})
    most = []
    stop = threading.Event()

    def watch():
        while not stop.wait(0.1):
            most.append(max(sum(mc.connections(s.port).values()) for s in servers))
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    found = mc.load(run, port, clients=scale(300, 2000), commands=scale(30_000, 1_000_000), short=20, seconds=scale(120, 900))
    stop.set()
    watcher.join(10)
    assert found["connects"] >= scale(1000, 40_000) and found["foreign_hits"] > 0
    assert max(most) <= workers, most
    m = p.metrics()
    assert m.sum("lastack_connections_opened_total") <= 3 * workers
    assert m.sum("lastack_connections_closed_total", by="proxy") == 0
    assert all(mc.connections(s.port).get("TIME-WAIT", 0) == 0 for s in servers)
    until(lambda: p.metrics().sum("lastack_memory_used_bytes") == 0, 10, "memory to be given back")


def test_large_values_beside_small_ones(run):
    """Two clients move 1 MB values all the time; small commands are right, and more than one large value never goes before
    them: what a line has picked ahead of them is bounded."""
    servers = mc.start(run, 2, memory=256)
    p, port = mc.front(run, servers, top={"workers": 1}, timeouts={"response": "20s"})
    found = mc.load(run, port, clients=20, commands=scale(10_000, 100_000), short=50, big=2)
    assert found["commands"] >= 10_000
    assert sum(s.stat("bytes_written") for s in servers) > 5_000_000


def test_one_large_value_at_a_time_goes_before_a_small_get(run):
    """Ten clients want 1 MB each at once from a slow server; a small get that comes after them is answered after at most two
    of the ten (one on its way, one picked), though all were asked before it."""
    order, gate = [], threading.Event()

    def handler(conn):
        while (line := conn.recv_line()) is not None:
            key = (line.split() + [b"quit"])[1]
            order.append(key)
            if key.startswith(b"big"):
                gate.wait(10)
                conn.send(b"VALUE %b 0 1000000\r\n" % key + b"x" * 1000000 + b"\r\nEND\r\n")
            else:
                conn.send(b"VALUE %b 0 1\r\nx\r\nEND\r\n" % key)
    fake = run.own(mc.Fake(handler))
    _, port = mc.front(run, [fake], top={"workers": 1}, timeouts={"response": "30s"})
    gate.set()
    movers = [mc.Client(port) for _ in range(10)]
    for n, c in enumerate(movers):  # from now on lastack knows them for what they are
        assert len(c.get(b"big%d" % n)[b"big%d" % n]) == 1000000
    order.clear()
    gate.clear()
    for n, c in enumerate(movers):
        c.send(b"get big%d\r\n" % n)
    until(lambda: order, 5, "the first large one at the server")
    small = mc.Client(port)
    small.send(b"get small\r\n")
    time.sleep(0.2)
    gate.set()
    assert small.values() == {b"small": b"x"}
    for n, c in enumerate(movers):
        assert len(c.values()[b"big%d" % n]) == 1000000
    assert order.index(b"small") <= 2, order


def test_a_slow_upload_holds_nobody(run):
    """A client that sends its value a little at a time: the server hears of it when it is complete."""
    server, = mc.start(run)
    _, port = mc.front(run, [server], top={"workers": 1})
    with mc.Client(port) as slow, mc.Client(port) as c:
        slow.send(b"set slow 0 0 1000000\r\n")
        for part in range(10):
            slow.send(b"x" * 100000)
            assert c.set(b"k", b"%d" % part) == b"STORED\r\n"
            assert c.get(b"k", b"slow") == {b"k": b"%d" % part}
        slow.send(b"\r\n")
        assert slow.line() == b"STORED\r\n"
        assert len(c.get(b"slow")[b"slow"]) == 1000000


def test_slow_readers_hold_nobody(run):
    """Clients that ask for 1 MB values and do not read: others go on, memory is bounded, and what they were sent is whole."""
    server, = mc.start(run, memory=256)
    p, port = mc.front(run, [server], top={"workers": 1, "limits": {"memory": "64MiB"}}, timeouts={"response": "20s"})
    value = bytes(range(256)) * 4000
    with mc.Client(port) as c:
        assert c.set(b"big", value) == b"STORED\r\n"
        slow = [mc.Client(port) for _ in range(8)]
        for s in slow:
            s.send(b"get big\r\n" * 20)
        for n in range(200):
            assert c.set(b"k", b"%d" % n) == b"STORED\r\n"
            assert c.get(b"k") == {b"k": b"%d" % n}
        bound = 8 * 2 * len(value) + (4 << 20)  # more while the files are written
        until(lambda: p.metrics().sum("lastack_memory_used_bytes") < bound, 10, "answers to be in files")
        for s in slow[:4]:
            for _ in range(20):
                assert s.values() == {b"big": value}
        for s in slow[4:]:
            s.reset()
    until(lambda: p.metrics().sum("lastack_memory_used_bytes") < 1 << 20, 10, "memory to be given back")


def test_memory_is_bounded(run):
    """More answers than limits.memory allows: those clients are told or hung up on, the others are served, nothing stays."""
    server, = mc.start(run, memory=256)
    p, port = mc.front(run, [server], top={"workers": 1, "limits": {"memory": "4MiB"}})
    value = b"x" * 900_000
    with mc.Client(port) as c:
        assert c.set(b"big", value) == b"STORED\r\n"
    slow = [mc.Client(port) for _ in range(20)]
    for s in slow:
        s.send(b"get big\r\n" * 10)
    time.sleep(0.3)
    assert p.metrics().sum("lastack_memory_used_bytes") <= 5 << 20
    for s in slow:
        s.close()
    until(lambda: p.metrics().sum("lastack_memory_used_bytes") == 0, 10, "memory to be given back")
    with mc.Client(port) as c:
        assert c.get(b"big") == {b"big": value}


def test_drain_answers_what_was_asked(run):
    server, = mc.start(run)
    p, port = mc.front(run, [server])
    with mc.Client(port) as c, mc.Client(port) as idle:
        c.set(b"k", b"v")
        assert idle.get(b"k") == {b"k": b"v"}
        c.send(b"get k\r\n" * 100)
        c.exactly(10)
        assert p.stop() == 0
        text = c.rest()
        assert idle.rest() == b""
    assert text.endswith(b"END\r\n") and (len(text) + 10) % len(b"VALUE k 0 1\r\nv\r\nEND\r\n") == 0
