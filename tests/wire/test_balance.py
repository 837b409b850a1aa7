"""Which server takes a request: weights, turns, load, hashes, backups, draining, slow start. Counted at the servers."""
import collections
import contextlib
import socket
import threading

import pytest

from harness.proxy import free_port
from harness.raw import Client, Crowd, Origin, get, held
from harness.wait import until


def names(run, count, **more):
    """count origins that answer with their number."""
    return [run.origin(answer=lambda r, n=n: (200, b"%d" % n, ""), **more) for n in range(count)]


def ask_many(port, count, headers=lambda n: ""):
    """{server: requests} of requests one after the other."""
    seen = collections.Counter()
    with Client(port) as c:
        for n in range(count):
            seen[int(c.ask(f"/{n}", headers=headers(n)).body)] += 1
    return seen


@pytest.mark.parametrize("balance", ["round_robin", "least_connections"])
def test_weights(run, balance):
    origins = names(run, 3)
    _, port = run.front([{"address": o.text, "weight": w} for o, w in zip(origins, (1, 2, 5))], balance=balance, workers=1)
    assert ask_many(port, 400) == {0: 50, 1: 100, 2: 250}


def test_round_robin_spreads_evenly_in_short_runs(run):
    origins = names(run, 3)
    _, port = run.front([{"address": o.text, "weight": w} for o, w in zip(origins, (2, 1, 1))], balance="round_robin", workers=1)
    with Client(port) as c:
        order = [int(c.ask().body) for _ in range(12)]
    for at in range(0, 12, 4):
        assert sorted(order[at:at + 4]) == [0, 0, 1, 2], order
    assert all(a != 0 or b != 0 or c != 0 for a, b, c in zip(order, order[1:], order[2:])), order


def one_is_busy(run):
    """(gate, port, crowd): of two servers the first has a request, until the gate opens."""
    gate = threading.Event()
    stuck, quick = run.origin(held(gate, b"0")), names(run, 2)[1]
    _, port = run.front([stuck, quick], balance="least_connections", workers=1)
    crowd = Crowd(1, lambda n: get(port, "/held", timeout=30).status)
    until(lambda: len(stuck.requests) == 1, 5, "a request to be held")
    return gate, port, crowd


def test_least_connections(run):
    """A server that is busy gets no more while another is idle."""
    gate, port, crowd = one_is_busy(run)
    assert ask_many(port, 100) == {1: 100}
    gate.set()
    assert crowd.results() == [200]


def test_what_was_busy_once_is_no_debt(run):
    """A server that was slow for long has its share again, not all that it missed."""
    gate, port, crowd = one_is_busy(run)
    assert ask_many(port, 300) == {1: 300}
    gate.set()
    assert crowd.results() == [200]
    assert ask_many(port, 100) == {0: 50, 1: 50}


def test_a_server_that_cannot_be_dialed_leaves_the_work_to_the_other(run):
    """The backlog of a Unix socket is full: that is no failure of the server, and nobody waits for it while another one has
    room."""
    path = f"{run.directory}/hung.sock"
    together = threading.Barrier(8, timeout=20)

    def eight_at_once(c):
        while c.request():
            together.wait()
            c.reply(200, b"ok")
    with contextlib.ExitStack() as stack:
        hung = stack.enter_context(socket.socket(socket.AF_UNIX))
        hung.bind(path)
        hung.listen(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                filler = stack.enter_context(socket.socket(socket.AF_UNIX))
                filler.setblocking(False)
                filler.connect(path)
        proxy, port = run.front([f"unix:{path}", run.origin(eight_at_once)], workers=1)
        assert Crowd(8, lambda n: [get(port, timeout=30).status for _ in range(5)]).results() == [[200] * 5] * 8
        assert "the backlog of its socket is full" in proxy.log()
        assert proxy.metrics().sum("lastack_server_up") == 2


def test_who_has_tried_a_server_in_vain_holds_up_nobody(run):
    """One that can only wait for the other server is first in line; the ones behind it may use what it may not."""
    gate = threading.Event()
    port_of_one = free_port()
    two = run.origin(held(gate, b"two"))
    proxy, port = run.front([f"127.0.0.1:{port_of_one}", two], workers=1, pool={"max": 1}, passive={"failures": 0}, queue={"timeout": "30s"})
    crowd = Crowd(2, lambda n: get(port, "/held", timeout=30).body)
    until(lambda: len(two.requests) == 1 and proxy.metrics().sum("lastack_queue_length") == 1, 5, "one held, one in line")
    run.own(Origin(answer=lambda r: (200, b"one", ""), port=port_of_one))
    assert [get(port, timeout=15).body for _ in range(3)] == [b"one"] * 3
    gate.set()
    assert crowd.results() == [b"two"] * 2


def test_hash_by_header(run):
    origins = names(run, 4)
    _, port = run.front(origins, balance="hash", hash_key="header:X-User")
    where = collections.defaultdict(set)
    with Client(port) as c:
        for n in range(200):
            user = n % 50
            where[user].add(int(c.ask(headers=f"X-User: user{user}\r\n").body))
    assert all(len(servers) == 1 for servers in where.values()), "one user, one server"
    spread = collections.Counter(next(iter(s)) for s in where.values())
    assert len(spread) == 4 and max(spread.values()) < 30, spread


def test_hash_moves_only_keys_of_a_server_that_leaves(run):
    origins = names(run, 4)
    lastack, port = run.front(origins, balance="hash", hash_key="header:X-User")

    def places():
        with Client(port) as c:
            return {n: int(c.ask(headers=f"X-User: {n}\r\n").body) for n in range(60)}
    before = places()
    conf = dict(lastack.conf)
    conf["upstreams"]["app"]["servers"] = [o.text for o in origins[:3]]
    lastack.reload(conf)
    after = places()
    assert all(after[n] == s for n, s in before.items() if s != 3)
    assert 3 not in after.values()


def test_hash_by_client(run):
    origins = names(run, 4)
    _, port = run.front(origins, balance="hash", hash_key="client")
    seen = {get(port).body for _ in range(20)}
    assert len(seen) == 1, "the client's port does not count"


def test_backup(run):
    origins = names(run, 2)
    gone = run.origin()
    gone.close()
    _, port = run.front([origins[0], {"address": origins[1].text, "backup": True}])
    assert ask_many(port, 40) == {0: 40}
    _, port = run.front([gone.text, {"address": origins[1].text, "backup": True}])
    assert ask_many(port, 40) == {1: 40}, "no other server is up"


def test_drain(run):
    """Takes no new requests; what is under way ends well."""
    gate = threading.Event()

    def held(c):
        while (r := c.request()):
            if r.target == "/held":
                gate.wait(20)
            c.reply(200, b"0")
    first, second = run.origin(held), names(run, 2)[1]
    lastack, port = run.front([first, {"address": second.text, "backup": True}])
    crowd = Crowd(1, lambda n: get(port, "/held", timeout=30).status)
    until(lambda: len(first.requests) == 1, 5, "the request")
    conf = dict(lastack.conf)
    conf["upstreams"]["app"]["servers"] = [{"address": first.text, "drain": True}, second.text]
    lastack.reload(conf)
    assert ask_many(port, 30) == {1: 30}
    gate.set()
    assert crowd.results() == [200]


def test_slow_start(run):
    """A server that comes back starts with a small share, and gets its full one in the end."""
    up = [False]
    both = names(run, 2)
    both[0].answer = lambda r: (200 if up[0] or r.target != "/health" else 503, b"0", "")
    lastack, port = run.front([{"address": o.text, "slow_start": "4s"} for o in both], balance="round_robin", workers=1,
                              health={"path": "/health", "interval": "1s", "timeout": "1s", "unhealthy": 1, "healthy": 1})
    label = both[0].text
    until(lambda: lastack.metrics().sum("lastack_server_up", server=label) == 0, 10, "the server to be down")
    assert ask_many(port, 20) == {1: 20}
    up[0] = True
    until(lambda: lastack.metrics().sum("lastack_server_up", server=label) == 1, 10, "the server to be up")
    early = ask_many(port, 50)
    assert early[0] <= 15, early
    until(lambda: ask_many(port, 20)[0] >= 9, 10, "its full share")
