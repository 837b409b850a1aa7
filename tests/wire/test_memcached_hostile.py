"""Bytes that are no memcached, of clients and of servers, in steps and in masses (one by one: test_memcached_cases.py).
Whatever they are, another client's get is its own, and a server hears no command that a client did not send."""
import threading
import time

import pytest

from harness import memcached as mc
from harness.wait import until

def recorder(conn):
    """A server that understands just enough, and remembers every line."""
    while (line := conn.recv_line()) is not None:
        word = line.split()
        if word[0] in (b"set", b"ms"):
            data = conn.data(int(word[4 if word[0] == b"set" else 2]) + 2)
            if data is None:
                return
            conn.fake.data.append(data)
            conn.send(b"STORED\r\n" if word[0] == b"set" else b"HD\r\n")
        elif word[0] == b"quit":
            return
        elif word[0] in (b"get", b"gets"):
            conn.send(b"".join(b"VALUE %b 0 %d\r\n%b\r\n" % (k, len(k), k) for k in word[1:]) + b"END\r\n")
        else:
            conn.send(b"ERROR\r\n")


def test_a_client_that_resets_within_its_data(run):
    """Half a data block reaches no server, at any size; the next client is served over the same connection."""
    fake = run.own(mc.Fake(recorder))
    fake.data = []
    _, port = mc.front(run, [fake], top={"workers": 1})
    with mc.Client(port) as victim:
        for size in (1000, 100_000, 3_000_000):
            assert victim.get(b"victim") == {b"victim": b"victim"}
            c = mc.Client(port)
            c.send(b"set k 0 0 %d\r\n" % size + b"x" * (size // 2))
            c.reset()
            assert victim.get(b"victim") == {b"victim": b"victim"}
    assert {line.split()[0] for line in fake.lines} == {b"get"} and fake.connections == 1


def test_an_object_too_large_is_matched_to_its_set(run):
    server, = mc.start(run)
    _, port = mc.front(run, [server], top={"workers": 1})
    with mc.Client(port) as c:
        for _ in range(5):
            c.send(b"set k 0 0 2000000\r\n" + b"A" * 2000000 + b"\r\nset b 0 0 1\r\n2\r\nget b\r\n")
            assert c.line() == b"SERVER_ERROR object too large for cache\r\n"
            assert c.line() == b"STORED\r\n"
            assert c.values() == {b"b": b"2"}


def test_a_flood_of_commands(run):
    """200,000 pipelined gets whose answers nobody reads: bounded memory, and others are served meanwhile."""
    server, = mc.start(run)
    p, port = mc.front(run, [server])
    with mc.Client(port) as c:
        c.set(b"k", b"v" * 1000)
    flood = mc.Client(port)
    flood.socket.setblocking(False)
    sent, chunk = 0, b"get k\r\n" * 1000
    end = time.monotonic() + 20
    while sent < 200 * len(chunk) and time.monotonic() < end:
        try:
            sent += flood.socket.send(chunk)
            stuck = time.monotonic()
        except BlockingIOError:
            if time.monotonic() - stuck > 0.5:
                break
            time.sleep(0.005)
    with mc.Client(port) as c:
        for _ in range(100):
            assert c.get(b"k") == {b"k": b"v" * 1000}
    assert p.metrics().sum("lastack_memory_used_bytes") < 8 << 20
    flood.reset()
    until(lambda: p.metrics().sum("lastack_client_connections") == 0, 10, "its end")
    until(lambda: p.metrics().sum("lastack_memory_used_bytes") == 0, 10, "memory to be given back")


def test_bytes_on_a_quiet_connection(run):
    """A server that says something nobody asked for: the connection is given up before the next command rides it."""
    told = threading.Event()

    def handler(conn):
        while (line := conn.recv_line()) is not None:
            key = (line.split() + [b"quit"])[1]
            conn.send(b"END\r\n" if key == b"first" else b"VALUE %b 0 2\r\n%02d\r\nEND\r\n" % (key, conn.number))
            if key == b"first":
                conn.send(b"VALUE k1 0 6\r\nstolen\r\nEND\r\n")
                told.set()
    fake = run.own(mc.Fake(handler))
    p, port = mc.front(run, [fake], top={"workers": 1})
    with mc.Client(port) as c:
        assert c.get(b"first") == {}
        assert told.wait(5)
        assert c.get(b"k1") == {b"k1": b"02"}
    assert p.metrics().sum("lastack_connections_closed_total", reason="unexpected_bytes") == 1


def test_a_late_answer_is_nobodys(run):
    """The client was told of the timeout; what comes after it is never matched to another command."""
    told = threading.Event()

    def handler(conn):
        while (line := conn.recv_line()) is not None:
            if line == b"get slow":
                told.wait(10)
                conn.send(b"VALUE slow 0 6\r\nstolen\r\nEND\r\n")
            elif line == b"version":  # one that did not answer is asked whether it is there
                conn.send(b"VERSION 1\r\n")
            else:
                conn.send(b"VALUE victim 0 2\r\n%02d\r\nEND\r\n" % conn.number)
    fake = run.own(mc.Fake(handler))
    p, port = mc.front(run, [fake], memcached={"auto_eject": "error"}, timeouts={"response": "1s"}, top={"workers": 1})
    with mc.Client(port) as c, mc.Client(port) as victim:
        assert c.ask(b"get slow\r\n") == b"SERVER_ERROR lastack: server did not respond in time\r\n"
        told.set()
        assert victim.get(b"victim") == {b"victim": b"02"}
        assert c.get(b"victim") == {b"victim": b"02"}
    assert p.metrics().sum("lastack_connections_closed_total", by="proxy", reason="timeout") == 1


def test_an_early_error_to_a_set(run):
    """The server refuses before it has read the value: that is the set's answer, and the connection is not trusted."""
    def handler(conn):
        line = conn.recv_line()
        if line and line.startswith(b"set"):
            conn.send(b"SERVER_ERROR object too large for cache\r\n")
            time.sleep(0.3)
            return
        while line is not None:
            conn.send(b"VALUE victim 0 2\r\n%02d\r\nEND\r\n" % conn.number)
            line = conn.recv_line()
    fake = run.own(mc.Fake(handler))
    _, port = mc.front(run, [fake], top={"workers": 1})
    with mc.Client(port) as c, mc.Client(port) as victim:
        c.send(b"set k 0 0 20000000\r\n" + b"A" * 20000000 + b"\r\n")
        assert c.line() == b"SERVER_ERROR object too large for cache\r\n"
        assert victim.get(b"victim") == {b"victim": b"02"}


def drip(p, c, every):
    """Sends a byte now and then until it is cut off."""
    def dripped():
        try:
            c.send(b"a")
        except OSError:
            return True
        return p.metrics().sum("lastack_client_connections") == 0
    until(dripped, 10, "the client to be cut off", every=every)
    assert p.metrics().sum("lastack_client_timeouts_total") == 1


@pytest.mark.parametrize("begin", [b"get ", b"set a 0 0 100000\r\n"])
def test_a_client_that_drips(run, begin):
    """A byte now and then does not keep a line, or a data block, open for ever."""
    server, = mc.start(run)
    p, port = mc.front(run, [server], top={"workers": 1}, listener={"timeouts": {"head": "500ms", "body": "500ms"}})
    with mc.Client(port) as c:
        c.send(begin)
        drip(p, c, 0.1)


def test_a_client_that_drips_and_does_not_read(run):
    """Its answers are not taken, and bytes of its own do not put that off."""
    server, = mc.start(run)
    p, port = mc.front(run, [server], top={"workers": 1}, listener={"timeouts": {"write": "1s", "body": "10s"}})
    with mc.Client(port) as c:
        c.set(b"k", b"v" * 1000000)
    with mc.Client(port) as c:
        c.send(b"get k\r\n" * 50 + b"set a 0 0 100000\r\n")
        until(lambda: p.metrics().sum("lastack_bytes_total", direction="in", upstream="cache") > 1000000, 10, "answers")
        drip(p, c, 0.2)


def test_a_line_behind_a_slow_answer_has_its_time(run):
    """What has come of the next command waits for the answer before it; its time begins with that."""
    gate = threading.Event()

    def slow(conn):
        while (line := conn.recv_line()) is not None:
            gate.wait(20)
            conn.send(b"END\r\n")
    _, port = mc.front(run, [run.own(mc.Fake(slow))], top={"workers": 1}, listener={"timeouts": {"head": "300ms"}}, timeouts={"response": "20s"})
    with mc.Client(port) as c:
        c.send(b"get a\r\nget ")
        since = time.monotonic()
        until(lambda: time.monotonic() - since > 0.6, 10, "longer than timeouts.head")
        gate.set()
        assert c.line() == b"END\r\n"
        c.send(b"b\r\n")
        assert c.line() == b"END\r\n"
