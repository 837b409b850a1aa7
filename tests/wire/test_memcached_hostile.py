"""Bytes that are no memcached: clients' (L), servers' (M). Whatever they are, another client's get is its own, and a
server hears no command that a client did not send."""
import collections
import threading
import time

import pytest

from harness import memcached as mc
from harness.wait import until

Case = collections.namedtuple("Case", "name sent code")
# REJECT_KEEP: an error line, nothing reaches a server; REJECT_CLOSE: the same, and hung up; FORWARD: forwarded; EITHER.
CLIENT = [
    Case("get-ok", b"get k1\r\n", "FORWARD"),
    Case("key-250-ok", b"get " + b"k" * 250 + b"\r\n", "FORWARD"),
    Case("key-251", b"get " + b"k" * 251 + b"\r\n", "REJECT_KEEP"),
    Case("key-nul", b"get a\0b\r\n", "EITHER"),
    Case("key-cr", b"get a\rflush_all\r\n", "REJECT_KEEP"),
    Case("lf-only", b"get k1\n", "EITHER"),
    Case("set-ok", b"set k 0 0 5\r\nhello\r\n", "FORWARD"),
    Case("value-crlf-ok", b"set k 0 0 14\r\na\r\nflush_all\r\n\r\n", "FORWARD"),
    Case("value-crlf-one-short", b"set k 0 0 13\r\na\r\nflush_all\r\n\r\n", "REJECT_CLOSE"),
    Case("bytes-neg", b"set k 0 0 -1\r\n", "REJECT_KEEP"),
    Case("bytes-overflow", b"set k 0 0 4294967301\r\nhello\r\n", "REJECT_CLOSE"),
    Case("bytes-overflow64", b"set k 0 0 18446744073709551621\r\nhello\r\n", "REJECT_CLOSE"),
    Case("data-long", b"set k 0 0 3\r\nhello\r\nget k\r\n", "REJECT_CLOSE"),
    Case("data-short", b"set k 0 0 30\r\nhello\r\nget k\r\nflush_all\r\nxxxxxxxxxxxx", "REJECT_CLOSE"),
    Case("noreply-ok", b"set k 0 0 1 noreply\r\n1\r\nget k\r\n", "FORWARD"),
    Case("noreply-error", b"set k 0 0 notanumber noreply\r\nx\r\nget k1\r\n", "REJECT_CLOSE"),
    Case("get-nokey", b"get\r\n", "REJECT_KEEP"),
    Case("line-64k", b"get " + b"A" * 65536, "REJECT_CLOSE"),
    Case("line-1m", b"x" * (1 << 20), "REJECT_CLOSE"),
    Case("line-1m-of-keys", b"get " + b"k " * (1 << 19), "REJECT_CLOSE"),
    Case("unknown-cmd", b"boguscommand x\r\n", "REJECT_KEEP"),
    Case("shutdown", b"shutdown\r\n", "REJECT_KEEP"),
    Case("watch", b"watch fetchers mutations\r\n", "REJECT_KEEP"),
    Case("lru_crawler", b"lru_crawler metadump all\r\n", "REJECT_KEEP"),
    Case("http-on-memc", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "REJECT_CLOSE"),
    Case("meta-key-cr", b"mg a\rflush_all v\r\n", "REJECT_KEEP"),
    Case("meta-bytes-neg", b"ms k -1\r\n", "REJECT_KEEP"),
    Case("meta-data-long", b"ms k 3\r\nhello\r\nget k\r\n", "REJECT_CLOSE"),
    Case("control-characters", b"get \x01\x02\x7f\r\n", "REJECT_KEEP"),
]


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


@pytest.mark.sanitizer
def test_client_cases(run):
    fake = run.own(mc.Fake(recorder))
    fake.data = []
    _, port = mc.front(run, [fake], top={"workers": 1})
    with mc.Client(port) as victim:
        for case in CLIENT:
            fake.lines.clear()
            with mc.Client(port) as c:
                try:
                    c.send(case.sent)
                except OSError:
                    pass  # hung up before it had all
                if case.code == "REJECT_CLOSE":
                    answer = c.rest()
                    assert not answer or b"ERROR" in answer.split(b"\r\n")[0], (case.name, answer)
                else:
                    answer = c.line()
                if case.code == "REJECT_KEEP":
                    assert b"ERROR" in answer, (case.name, answer)
                if case.code == "FORWARD":
                    assert b"ERROR" not in answer, (case.name, answer)
            if case.code.startswith("REJECT"):
                assert fake.lines == [], (case.name, fake.lines)
            assert not [line for line in fake.lines if line.split()[0] not in (b"get", b"set", b"ms")], (case.name, fake.lines)
            assert not [line for line in fake.lines if b"noreply" in line or b"\r" in line], (case.name, fake.lines)
            assert victim.get(b"victim") == {b"victim": b"victim"}, case.name


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


# What a server sends for `get k1`: (bytes, what the client sees, may the connection be used again)
SERVER = {
    "ok": (b"VALUE k1 0 5\r\nhello\r\nEND\r\n", b"VALUE k1 0 5\r\nhello\r\nEND\r\n", True),
    "value-with-end": (b"VALUE k1 0 7\r\na\r\nEND\r\r\nEND\r\n", b"VALUE k1 0 7\r\na\r\nEND\r\r\nEND\r\n", True),
    "error-line": (b"SERVER_ERROR out of memory\r\n", b"SERVER_ERROR out of memory\r\n", True),
    "extra-after-end": (b"VALUE k1 0 2\r\nok\r\nEND\r\nVALUE k1 0 6\r\nstolen\r\nEND\r\n", b"VALUE k1 0 2\r\nok\r\nEND\r\n", False),
    "wrong-key": (b"VALUE other 0 6\r\nstolen\r\nEND\r\n", b"SERVER_ERROR", False),
    "bytes-short": (b"VALUE k1 0 2\r\nhello\r\nEND\r\n", None, False),
    "no-line": (b"\r\n", b"SERVER_ERROR", False),
    "another-reply": (b"STORED\r\n", b"SERVER_ERROR", False),
    "long-line": (b"VALUE " + b"k" * 10000, b"SERVER_ERROR", False),
    "negative": (b"VALUE k1 0 -5\r\nhello\r\nEND\r\n", b"SERVER_ERROR", False),
    "no-end": (b"VALUE k1 0 2\r\nok\r\n<FIN>", None, False),
    "half": (b"VALUE k1 0 20\r\nok<FIN>", None, False),
    "nothing": (b"<FIN>", b"SERVER_ERROR", False),
}


@pytest.mark.parametrize("name", sorted(SERVER))
def test_server_cases(run, name):
    raw, wanted, reuse = SERVER[name]
    cases = []

    def handler(conn):
        while (line := conn.recv_line()) is not None:
            if line == b"get k1":
                cases.append(conn.number)
                conn.send(raw.replace(b"<FIN>", b""))
                if b"<FIN>" in raw:
                    return
            else:
                conn.send(b"VALUE victim 0 2\r\n%02d\r\nEND\r\n" % conn.number)
    fake = run.own(mc.Fake(handler))
    p, port = mc.front(run, [fake], memcached={"auto_eject": "error"}, passive={"failures": 0}, top={"workers": 1})
    with mc.Client(port) as c, mc.Client(port) as victim:
        c.send(b"get k1\r\n")
        if wanted is None:  # some of it may have been passed on: it must not look complete
            answer = c.rest(1.0)
            assert not answer.endswith(b"END\r\n") and b"stolen" not in answer
            assert b"SERVER_ERROR" in answer or answer == b"" or not answer.endswith(b"\r\n") or len(answer) < 40
        elif wanted.endswith(b"\r\n"):
            assert c.exactly(len(wanted)) == wanted
        else:
            assert c.line().startswith(wanted)
        found = victim.get(b"victim")
        assert (int(found[b"victim"]) == cases[-1]) == reuse, (found, cases)


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
    def handler(conn):
        while (line := conn.recv_line()) is not None:
            if line == b"get slow":
                time.sleep(0.6)
                conn.send(b"VALUE slow 0 6\r\nstolen\r\nEND\r\n")
            else:
                conn.send(b"VALUE victim 0 2\r\n%02d\r\nEND\r\n" % conn.number)
    fake = run.own(mc.Fake(handler))
    p, port = mc.front(run, [fake], memcached={"auto_eject": "error"}, timeouts={"response": "200ms"}, top={"workers": 1})
    with mc.Client(port) as c, mc.Client(port) as victim:
        assert c.ask(b"get slow\r\n") == b"SERVER_ERROR lastack: server did not respond in time\r\n"
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

