"""Servers that stop, die, come back: every command is answered within its timeout, only that server's keys are touched,
and the return needs nobody. Failover, warm-up, flush on return."""
import glob
import json
import os
import select
import signal
import threading
import time

import pytest

from harness.disk import Disk
from harness import memcached as mc
from harness.wait import scale, until

MISS = b"END\r\n"


def freeze(pid):
    """SIGSTOP, and none of its threads runs any more: they stop one after the other."""
    os.kill(pid, signal.SIGSTOP)

    def state(task):
        with open(task) as f:
            return f.read().rpartition(")")[2].split()[0]
    until(lambda: all(state(task) == "T" for task in glob.glob(f"/proc/{pid}/task/*/stat")), 10, "all threads to stop")


def place(port, servers, count=60):
    """{server: keys} as lastack has placed them."""
    found = {s.text: [] for s in servers}
    with mc.Client(port) as c:
        for n in range(count):
            assert c.set(b"key:%d" % n, b"%d" % n) == b"STORED\r\n"
    for s in servers:
        with mc.Client(s.port) as d:
            found[s.text] = sorted(d.get(*(b"key:%d" % n for n in range(count))))
    assert all(found.values()) and sum(map(len, found.values())) == count
    return found


class Askers:
    """Threads that ask for keys all the time; what they saw by key."""

    def __init__(self, port, keys, threads=4, limit=8.0):
        self.port, self.keys, self.limit, self.stop = port, keys, limit, False
        self.bad, self.answers, self.slowest = [], {k: [] for k in keys}, 0.0
        self.threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(threads)]
        for t in self.threads:
            t.start()

    def _run(self, n):
        try:
            with mc.Client(self.port, timeout=self.limit) as c:
                while not self.stop:
                    for key in self.keys[n::len(self.threads)]:
                        c.send(b"get " + key + b"\r\n")
                        line = c.line()
                        if line.startswith(b"VALUE "):
                            assert line.split()[1] == key
                            value = c.exactly(int(line.split()[3]) + 7)[:-7]
                            assert key == b"key:" + value
                            self.answers[key].append("hit")
                        elif line == MISS:
                            self.answers[key].append("miss")
                        elif line.startswith(b"SERVER_ERROR lastack: "):
                            self.answers[key].append("error")
                        else:
                            raise AssertionError(line)
        except (OSError, AssertionError) as error:
            self.bad.append(repr(error))

    def mark(self):
        """Forget what was seen so far."""
        for key in self.keys:
            self.answers[key] = []

    def until_seen(self, what, keys, timeout=30):
        until(lambda: self.bad or all(self.answers[k][-1:] == [what] for k in keys), timeout, f"{what} for {len(keys)} keys")
        assert not self.bad, self.bad

    def end(self):
        self.stop = True
        for t in self.threads:
            t.join(20)
        assert not self.bad, self.bad


# Longer than this host stands still now and then: servers that are well must not be out.
QUICK = {"timeouts": {"connect": "800ms", "response": "800ms"}, "passive": {"failures": 2, "out": "200ms", "out_max": "400ms"},
         "health": {"timeout": "800ms"}}


@pytest.mark.sanitizer
@pytest.mark.parametrize("eject", ["miss", "error", "rehash"])
def test_a_server_stops_and_goes_on(run, eject):
    servers = mc.start(run, 3)
    p, port = mc.front(run, servers, memcached={"auto_eject": eject, "distribution": "ketama"}, **QUICK)
    keys = place(port, servers)
    victim = servers[1]
    theirs = keys[victim.text]
    others = [k for s in servers if s is not victim for k in keys[s.text]]
    askers = Askers(port, sorted(theirs + others))
    askers.until_seen("hit", theirs + others)
    freeze(victim.pid)
    askers.until_seen("error" if eject == "error" else "miss", theirs)
    mc.wait_up(p, victim.text, 0)
    askers.mark()
    askers.until_seen("hit", others)
    assert {a for k in others for a in askers.answers[k]} == {"hit"}
    if eject == "rehash":  # other servers take what is set now
        with mc.Client(port) as c:
            for k in theirs:
                assert c.set(k, k[4:]) == b"STORED\r\n"
        askers.until_seen("hit", theirs)
    elif eject == "miss":
        with mc.Client(port) as c:
            assert c.set(theirs[0], b"x").startswith(b"SERVER_ERROR lastack: ")
            assert c.ask(b"mg " + theirs[0] + b" v\r\n") == b"EN\r\n"
            assert c.get(theirs[0], others[0]) == {others[0]: others[0][4:]}
    os.kill(victim.pid, signal.SIGCONT)
    mc.wait_up(p, victim.text)
    askers.until_seen("hit", theirs + others)
    askers.end()


@pytest.mark.sanitizer
def test_a_server_dies_and_is_restarted(run):
    servers = mc.start(run, 3)
    p, port = mc.front(run, servers, **QUICK)
    keys = place(port, servers)
    victim = servers[0]
    theirs = keys[victim.text]
    others = [k for s in servers if s is not victim for k in keys[s.text]]
    askers = Askers(port, sorted(theirs + others))
    for _ in range(scale(1, 5)):
        askers.until_seen("hit", theirs + others)
        askers.mark()
        os.kill(victim.pid, signal.SIGKILL)
        victim.popen.wait(10)
        askers.until_seen("miss", theirs)
        victim = run.own(victim.again(run.directory))
        mc.wait_up(p, victim.text)
        with mc.Client(port) as c:
            for k in theirs:
                until(lambda k=k: c.set(k, k[4:]) == b"STORED\r\n", 10, "a set to the server that is back")
        askers.until_seen("hit", theirs)
        assert {a for k in others for a in askers.answers[k]} <= {"hit"}
    askers.end()


def test_a_part_that_fails(run):
    """A multi-get over three servers of which one is silent: hits, misses (or an error), one END, in time."""
    servers = mc.start(run, 3)
    for failed in ("miss", "error"):
        p, port = mc.front(run, servers, memcached={"failed_get": failed}, timeouts={"response": "400ms"}, passive={"failures": 0})
        keys = place(port, servers)
        every = [b"key:%d" % n for n in range(60)]
        freeze(servers[2].pid)
        try:
            with mc.Client(port) as c:
                c.send(b"get " + b" ".join(every) + b"\r\nversion\r\n")
                text = c.until(b"VERSION")
        finally:
            os.kill(servers[2].pid, signal.SIGCONT)
        found = [line.split()[1] for line in text.split(b"\r\n") if line.startswith(b"VALUE")]
        if failed == "miss":
            assert found == [k for k in every if k not in keys[servers[2].text]]
            assert text.count(b"END\r\n") == 1
        else:
            assert text.count(b"END\r\n") == 0 and text.count(b"SERVER_ERROR lastack: ") == 1
        p.process.kill()
        p.stopped = True


def test_an_error_line_waits_for_the_value_behind_it(run):
    """One server refuses while a large value of another has partly come: the value is ended first, then the words are said."""
    placed, begun, refuse, go_on = (threading.Event() for _ in range(4))
    value, words = b"v" * 100_000, b"SERVER_ERROR out of memory writing get response\r\n"

    def handler(conn):
        while (line := conn.recv_line()) is not None:
            if not placed.is_set():
                conn.send(MISS)
            elif conn.fake is servers[0]:
                refuse.wait(10)
                conn.send(words)
            else:
                conn.send(b"VALUE %b 0 100000\r\n" % line[4:] + value[:50_000])
                begun.set()
                go_on.wait(10)
                conn.send(value[50_000:] + b"\r\nEND\r\n")
    servers = [run.own(mc.Fake(handler)) for _ in range(2)]
    _, port = mc.front(run, servers, timeouts={"response": "20s"}, top={"workers": 1})
    with mc.Client(port) as c, mc.Client(port) as gate:
        for n in range(60):
            assert c.get(b"key:%d" % n) == {}
        keys = [s.lines[0][4:] for s in servers]
        placed.set()
        c.send(b"get " + b" ".join(keys) + b"\r\nmn\r\n")
        assert begun.wait(10)
        assert gate.ask(b"mn\r\n") == b"MN\r\n"  # what was sent before has been read
        refuse.set()
        answer = c.exactly(20_000)
        go_on.set()
        assert answer + c.until(b"MN\r\n") == b"VALUE %b 0 100000\r\n" % keys[1] + value + b"\r\n" + words + b"MN\r\n"


def test_nobody_listens(run):
    port_ = mc.free_port()
    _, port = mc.front(run, [f"127.0.0.1:{port_}"])
    with mc.Client(port) as c:
        for _ in range(10):
            assert c.set(b"a", b"1").startswith(b"SERVER_ERROR lastack: ")
            assert c.get(b"a") == {}
            assert c.ask(b"version\r\n").startswith(b"SERVER_ERROR lastack: ")
            assert c.ask(b"stats\r\n").startswith(b"SERVER_ERROR lastack: ")
            assert c.ask(b"flush_all\r\n").startswith(b"SERVER_ERROR lastack: ")
            c.send(b"set a 0 0 1 noreply\r\n1\r\nmn\r\n")
            assert c.line() == b"MN\r\n"


def test_a_meta_miss_says_what_memcacheds_does(run):
    """Of a server that is out as of one that does not have it: the key and the opaque, as they were asked for."""
    server, = mc.start(run)
    fronts = [mc.front(run, [to], listener=listener)[1]
              for to in (server, f"127.0.0.1:{mc.free_port()}") for listener in ({}, {"memcached": {"prefix": "app:"}})]
    for ask in (b"mg no k O123 v", b"mg no v", b"mg no O1 k t", b"mg bm8= b k v O7", b"mg bm8= b O7"):
        answers = []
        for port in (server.port, *fronts):
            with mc.Client(port) as c:
                answers.append(c.ask(ask + b"\r\n"))
        assert answers[0].startswith(b"EN") and answers == answers[:1] * 5, (ask, answers)


@pytest.mark.parametrize("flush", [True, False])
def test_flush_on_return(run, flush):
    """A server that was away may hold what was changed meanwhile: with flush_on_return nobody reads that."""
    server, = mc.start(run)
    p, port = mc.front(run, [server], memcached={"flush_on_return": flush, "failed_get": "miss"}, **QUICK)
    with mc.Client(port) as c:
        c.set(b"k", b"stale")
        freeze(server.pid)
        until(lambda: c.get(b"k") == {} and p.metrics().sum("lastack_server_up", server=server.text) == 0, 20, "it to be out")
        os.kill(server.pid, signal.SIGCONT)

        def back():
            c.get(b"k")
            return p.metrics().sum("lastack_server_up", server=server.text) == 1
        until(back, 20, "its return")
        assert c.get(b"k") == ({} if flush else {b"k": b"stale"})
    assert server.stat("cmd_flush") == (1 if flush else 0)


def test_a_quiet_server_is_asked(run):
    """Nobody asks for anything: a server that stops is out all the same, in again when it goes on, and nothing is hung up."""
    servers = mc.start(run, 2)
    p, port = mc.front(run, servers, **{**QUICK, "health": {"interval": "100ms", "timeout": "800ms"}}, top={"workers": 1})
    place(port, servers)
    opened = p.metrics().sum("lastack_connections_opened_total")
    heard = p.metrics().sum("lastack_bytes_total", upstream="cache")
    until(lambda: p.metrics().sum("lastack_bytes_total", upstream="cache") >= heard + 6 * len("version\r\nVERSION 1.6"), 10,
          "three answers to version on each of two connections")
    assert p.metrics().sum("lastack_connections_opened_total") == opened
    freeze(servers[1].pid)
    mc.wait_up(p, servers[1].text, 0)
    assert p.metrics().sum("lastack_server_up", server=servers[0].text) == 1
    os.kill(servers[1].pid, signal.SIGCONT)
    mc.wait_up(p, servers[1].text)
    os.kill(servers[1].pid, signal.SIGKILL)  # its FIN comes at once: nothing is lost, nothing is asked again
    servers[1].popen.wait(10)
    with mc.Client(port) as c:
        assert c.get(*(b"key:%d" % n for n in range(60)))
    mc.wait_up(p, servers[1].text, 0)
    run.own(servers[1].again(run.directory))
    mc.wait_up(p, servers[1].text)


def test_failover(run):
    first, second = mc.start(run, 2)
    p, port = mc.front(run, [first], memcached={"failover": "spare"},
                       upstreams={"spare": {"protocol": "memcached", "servers": [second.text]}}, **QUICK)
    with mc.Client(port) as c:
        assert c.set(b"k", b"one") == b"STORED\r\n"
        os.kill(first.pid, signal.SIGKILL)
        first.popen.wait(10)
        until(lambda: c.set(b"k", b"two") == b"STORED\r\n", 10, "the spare to take it")
        assert c.get(b"k") == {b"k": b"two"}
        assert second.stat("curr_items") == 1
        first = run.own(first.again(run.directory))

        def back():
            c.get(b"nothing")
            return p.metrics().sum("lastack_server_up", server=first.text) == 1
        until(back, 20, "the return of the first")
        assert c.get(b"k") == {}


def test_warm_up(run):
    """A new, cold server asks the old one on a miss, and keeps what it gets."""
    cold, warm = mc.start(run, 2)
    _, port = mc.front(run, [cold], memcached={"warm_from": "old"},
                       upstreams={"old": {"protocol": "memcached", "servers": [warm.text]}})
    with mc.Client(port) as c, mc.Client(warm.port) as old, mc.Client(cold.port) as new:
        old.set(b"k", b"kept", flags=7)
        assert c.ask(b"get k\r\n", MISS) == b"VALUE k 7 4\r\nkept\r\nEND\r\n"
        until(lambda: new.get(b"k"), 5, "it to be kept")
        assert new.ask(b"get k\r\n", MISS) == b"VALUE k 7 4\r\nkept\r\nEND\r\n"
        old.ask(b"delete k\r\n")
        assert c.get(b"k") == {b"k": b"kept"}
        assert c.get(b"nowhere") == {}
        c.set(b"n", b"new")
        assert old.get(b"n") == {}


def test_failover_of_a_get_that_is_not_answered_in_time(run):
    """The other upstream is asked after half of the command's time, within which there is an answer; also when what stands before
    it on the connection has its whole time."""
    asked, never = threading.Event(), threading.Event()
    silent, (spare,) = run.own(fake(asked, never, b"")), mc.start(run, 1)
    plain = {"health": {"interval": "1h"}, "passive": {"failures": 0}}
    _, port = mc.front(run, [silent], memcached={"failover": "spare"}, upstreams={"spare": {"protocol": "memcached", "servers": [spare.text], "timeouts": {"response": "2s"}, **plain}},
                       timeouts={"response": "2s"}, pool={"max": 1}, top={"workers": 1}, **plain)
    _, clock = mc.front(run, [silent], timeouts={"response": "2750ms"}, **plain)
    with mc.Client(port) as c, mc.Client(clock) as later, mc.Client(spare.port) as other:
        other.set(b"k", b"there")
        with mc.Client(port) as before:
            before.send(b"set a 0 0 1\r\nx\r\n")
            assert asked.wait(10)
            assert c.get(b"k") == {b"k": b"there"}
        freeze(spare.pid)
        later.send(b"get k\r\n")
        c.send(b"get k\r\n")
        first = select.select([c.socket, later.socket], [], [], 60)[0]
        os.kill(spare.pid, signal.SIGCONT)
        assert first == [c.socket] and c.until(b"\r\n").startswith(b"SERVER_ERROR lastack: ")
    never.set()


def test_a_warm_up_does_not_fail_over(run):
    """The key's own server has said that it has none: what the failover upstream still holds is not the answer, nor kept."""
    main, spare = mc.start(run, 2)
    _, port = mc.front(run, [main], memcached={"failover": "spare", "warm_from": "old"},
                       upstreams={"spare": {"protocol": "memcached", "servers": [spare.text]},
                                  "old": {"protocol": "memcached", "servers": [f"127.0.0.1:{mc.free_port()}"]}})
    with mc.Client(port) as c, mc.Client(spare.port) as stale:
        stale.set(b"k", b"stale")
        assert [c.get(b"k") for _ in range(5)] == [{}] * 5
    assert main.stat("curr_items") == 0


@pytest.mark.sanitizer
def test_a_server_goes_within_a_data_block(run):
    """A reload takes the server away while a client is sending a value for it: the rest is taken, and the value goes where it
    was begun."""
    first, second = mc.start(run, 2)
    p, port = mc.front(run, [first])
    with mc.Client(port) as c:
        c.send(b"set k 0 0 10\r\n01234")
        until(lambda: any(x["state"] == "data" for x in json.loads(p.admin("/api/v1/connections")[2]) if "state" in x), 10, "the block")
        conf = dict(p.conf)
        conf["upstreams"]["cache"]["servers"] = [second.text]
        for _ in range(3):
            p.reload(conf)
        assert c.ask(b"56789\r\n") == b"STORED\r\n"
        assert c.get(b"k") == {}
    assert first.stat("curr_items") == 1 and second.stat("curr_items") == 0


def test_a_warm_up_that_fails_is_a_miss(run):
    """What the old server says instead of a value is not the client's."""
    cold, = mc.start(run, 1)
    warm = run.own(mc.Fake(lambda conn: [conn.send(b"SERVER_ERROR out of memory\r\n") for _ in iter(conn.recv_line, None)]))
    _, port = mc.front(run, [cold], memcached={"warm_from": "old"}, upstreams={"old": {"protocol": "memcached", "servers": [warm.text]}})
    with mc.Client(port) as c:
        assert c.ask(b"get k\r\n", MISS) == MISS
        assert c.ask(b"get k\r\n", MISS) == MISS
    assert warm.lines.count(b"get k") == 2


@pytest.mark.parametrize("rest", [None, b"\r\nSERVER_ERROR out of memory\r\n"])
def test_half_a_warm_up_is_not_kept(run, rest):
    """The old server dies within a value, or says more than the value: the client is told, and the new one hears nothing of it."""
    def cold(conn):
        while (line := conn.recv_line()) is not None:
            conn.send(b"END\r\n" if line.startswith(b"get ") else b"ERROR\r\n")

    def warm(conn):
        conn.recv_line()
        conn.send(b"VALUE k 0 10\r\n01234" + (b"56789" + rest if rest else b""))
        if rest:
            conn.recv_line()
    new, old = run.own(mc.Fake(cold)), run.own(mc.Fake(warm))
    _, port = mc.front(run, [new], memcached={"warm_from": "old"}, pool={"max": 1}, top={"workers": 1},
                       upstreams={"old": {"protocol": "memcached", "servers": [old.text], "passive": {"failures": 0}}})
    with mc.Client(port) as c:
        answer = c.ask(b"get k\r\nmn\r\n", b"MN\r\n")
        assert c.ask(b"get other\r\n") == MISS
    assert answer == (b"VALUE k 0 10\r\n0123456789" + rest if rest else
                      b"SERVER_ERROR lastack: server closed before its response\r\n") + b"MN\r\n"
    assert [line for line in new.lines if not line.startswith(b"get ")] == []


def test_reload_moves_keys_and_loses_nothing(run):
    """A third server joins while commands run: nobody sees an error, kept servers keep their connections."""
    servers = mc.start(run, 3)
    p, port = mc.front(run, servers[:2], memcached={"distribution": "ketama"})
    keys = place(port, servers[:2])
    askers = Askers(port, sorted(k for v in keys.values() for k in v))
    askers.until_seen("hit", askers.keys)
    conf = dict(p.conf)
    for count in (3, 1, 2):
        conf["upstreams"]["cache"]["servers"] = [s.text for s in servers[:count]]
        p.reload(conf)
        time.sleep(0.1)
    askers.until_seen("hit", askers.keys)
    askers.end()
    assert not any("error" in a for a in askers.answers.values())
    m = p.metrics()
    assert m.sum("lastack_connections_closed_total", by="proxy") == 0
    assert m.sum("lastack_connections_opened_total", server=servers[0].text) <= 2


def fake(asked, go, answer):
    """Answers `answer` once go is set; asked: it was."""
    def handler(conn):
        while (line := conn.recv_line()) not in (None, b"quit"):
            asked.set()
            assert go.wait(20)
            conn.send(answer)
    return mc.Fake(handler)


@pytest.mark.sanitizer
def test_reload_takes_away_a_server_that_has_answered(run):
    """`stats` waits for the other one, and names both."""
    asked, slow, now, go = threading.Event(), threading.Event(), threading.Event(), threading.Event()
    now.set()
    first, second = run.own(fake(asked, now, b"STAT pid 1\r\nEND\r\n")), run.own(fake(slow, go, b"STAT pid 2\r\nEND\r\n"))
    p, port = mc.front(run, [first, second], timeouts={"response": "20s"}, health={"interval": "1h"})
    with mc.Client(port) as c:
        c.send(b"stats\r\n")
        assert asked.wait(10) and slow.wait(10)
        conf = dict(p.conf)
        conf["upstreams"]["cache"]["servers"] = [second.text]
        p.reload(conf)
        until(lambda: p.metrics().sum("lastack_connections", server=first.text) == 0, 10, "its connection to go, with its answer there")
        go.set()
        answer = c.until(b"END\r\n")
    assert b"STAT %b:pid 1\r\n" % first.text.encode() in answer and b"STAT %b:pid 2\r\n" % second.text.encode() in answer, answer


@pytest.mark.sanitizer
def test_reload_takes_away_a_listener(run):
    """A command whose client has left is still under way; another client is in the middle of a line: that one is served as
    before, and then hung up on."""
    asked, go = threading.Event(), threading.Event()
    server = run.own(fake(asked, go, b"END\r\n"))
    p, port = mc.front(run, [server], timeouts={"response": "20s"}, health={"interval": "1h"})
    conf = dict(p.conf)
    other = mc.free_port()
    with mc.Client(port) as c, mc.Client(port) as d:
        c.send(b"get gone\r\n")
        assert asked.wait(10)
        c.reset()
        d.send(b"get ha")
        until(lambda: p.metrics().sum("lastack_client_connections") == 1, 10, "the first client's end")
        conf["listen"] = [conf["listen"][0] | {"name": "other", "address": f"127.0.0.1:{other}"}]
        p.reload(conf)
        p.reload(conf)
        go.set()
        d.send(b"lf\r\n")
        assert d.rest() == MISS
    with mc.Client(other) as e:
        assert e.get(b"k") == {}


def test_large_values_to_a_client_that_takes_its_time(run):
    """More of a multi-get is asked for when the client has taken what came before: that has a time of its own."""
    server, = mc.start(run, memory=256)
    p, port = mc.front(run, [server], timeouts={"response": "1s"})
    value = os.urandom(70_000)
    keys = [b"k%d" % n for n in range(300)]
    with mc.Client(port) as c:
        for k in keys:
            assert c.set(k, value) == b"STORED\r\n"
        assert c.get(keys[0]) == {keys[0]: value}
        c.send(b"get " + b" ".join(keys) + b"\r\n")
        first = c.exactly(70_000)
        time.sleep(1.5)  # longer than timeouts.response
        c.left = first + c.left
        assert c.values() == dict.fromkeys(keys, value)
    assert p.metrics().sum("lastack_errors_total") == 0


def test_a_disk_that_is_full_under_a_value(run):
    """The command fails at once, its client goes on, and the server is not blamed."""
    disk = run.own(Disk(run.folder("small"), "1m"))
    server, = mc.start(run, words=("-I", "16m"))
    p, port = mc.front(run, [server], buffer={"dir": disk.path}, top={"limits": {"memory": "8MiB"}})
    with mc.Client(port) as c:
        c.send(b"set a 0 0 6000000\r\n" + b"x" * 6000000 + b"\r\nget b\r\n")
        assert c.line().startswith(b"SERVER_ERROR lastack: ")
        assert c.line() == MISS
    assert p.metrics().sum("lastack_server_up") == 1 and server.stat("cmd_set") == 0
