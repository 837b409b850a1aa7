"""No response ever reaches the wrong client: every response carries its request's token, whatever goes wrong around it."""
import contextlib
import signal
import socket
import threading

import pytest

from harness.proxy import KIND
from harness.raw import Client, Gone, Stream, request, response
from harness.wait import FULL, scale, until

REQUESTS = scale(10000 if KIND == "release" else 3000, 500000)  # for each of the two ways to buffer
FAULTS = ("reset reset_mid close_before close_after stall stall_mid early early_close extra truncate garbage status408 "
          "bad_chunk two_lengths").split()  # bytes while idle: below, in an order that decides whose they are


@pytest.mark.sanitizer
@pytest.mark.parametrize("mode", ["buffer", "stream"])
def test_everything_goes_wrong_but_never_to_the_wrong_client(run, mode):
    """At least 5 % of each fault: 14 kinds of the backends', 4 of the clients' (many who mean to leave while they
    wait, or in the response, are answered before that)."""
    backends = [run.backend(faults={f: 5.5 for f in FAULTS}, delay_us=500, delay_jitter_us=20000, size=3000) for _ in range(2)]
    proxy, port = run.front(backends, workers=4, pool={"max": 64, "abort_wait": "300ms"}, buffer={"request_mode": mode},
                            passive={"failures": 0}, timeouts={"response": "300ms"}, queue={"timeout": "20s"})
    load = run.load(port, clients=128, requests=REQUESTS, keepalive=60, method="GET=50,POST=40,PUT=10", body=40000,
                    leave_in_head=6, leave_in_body=8, leave_waiting=20, leave_in_response=20, leave_by_reset=50,
                    timeout_ms=20000)
    result = load.result()
    seen = [b.stats() for b in backends]
    total = {k: sum(s[k] for s in seen) for k in seen[0]}
    assert result["mixed"] == 0, result["first_failure"]
    assert result["unechoed"] == 0 and result["extra_bytes"] == 0
    wrong = {k: total[k] for k in ("token_mismatch", "body_mixed", "malformed", "pipelined", "duplicates_unsafe") if total[k]}
    assert not wrong, wrong
    # It was what it says: faults of each kind, clients that left, and still answers.
    assert total["faults"] >= 0.05 * len(FAULTS) * total["requests"]
    assert result["left"] >= 0.2 * result["started"]
    assert result["status_2xx"] > 0.15 * result["started"]
    assert result["started"] == REQUESTS
    until(lambda: sum(b.stats()["busy"] for b in backends) == 0 or FULL, 20, "nothing to be left under way")
    until(lambda: proxy.metrics().sum("lastack_client_connections") == 0, 10, "all clients to be gone")
    assert proxy.metrics().sum("lastack_queue_length") == 0


@pytest.mark.sanitizer
def test_clients_vanish_and_the_connection_is_used_again(run):
    """A single connection, used by everybody: what one client left behind must not be the next one's answer."""
    backend = run.backend(delay_us=1000, size=20000, max_connections=1)
    _, port = run.front([backend], workers=2, pool={"max": 1}, queue={"timeout": "30s"})
    result = run.load(port, clients=16, requests=scale(2000, 20000), keepalive=50, method="GET=60,POST=40", body=5000,
                      leave_in_head=5, leave_in_body=5, leave_waiting=10, leave_in_response=10, leave_by_reset=50).result()
    seen = backend.stats()
    assert result["mixed"] == result["unechoed"] == result["status_5xx"] == 0, result["first_failure"]
    assert seen["over_cap"] == seen["duplicates"] == seen["body_mixed"] == 0


@pytest.mark.sanitizer
def test_bytes_while_idle_are_nobodys_answer(run):
    """The server says something unasked; it lies in the proxy's socket when the next request comes."""
    ready, said = threading.Event(), threading.Event()

    def handler(c):
        while (r := c.request()):
            c.reply(200, r.target.encode())
            if r.target.endswith("last"):
                ready.wait(10)
                ready.clear()
                c.send(response(200, b"for nobody"))
                said.set()
                c.request()
                return

    origin = run.origin(handler)
    proxy, port = run.front([origin], workers=1)
    rounds = scale(300, 3000)
    with Client(port) as one, Client(port) as two:
        for n in range(rounds):
            assert one.ask(f"/{n}-last").body == b"/%d-last" % n
            said.clear()
            ready.set()
            assert said.wait(10)
            r = two.ask(f"/{n}-next")
            assert (r.status, r.body) == (200, b"/%d-next" % n)
    assert len(origin.connections) >= rounds, "each of those connections was given up"
    until(lambda: proxy.metrics().sum("lastack_connections_closed_total", reason="unexpected_bytes") >= rounds, 5, "the reason")


def queued(proxy):
    until(lambda: proxy.metrics().sum("lastack_queue_length") == 1, 10, "a request in line")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_answer_as_long_as_a_read_hides_nothing_behind_it(run, method):
    """64 KiB, and a second answer behind them that has arrived as well: it is not the one of who waits for the connection."""
    path = f"{run.directory}/origin.sock"
    asked, go, said = threading.Event(), threading.Event(), threading.Event()
    length = 65536 - len(response(200, b"x" * 65000)) + 65000

    def serve(listening):
        with contextlib.suppress(OSError):
            while True:
                with Stream(listening.accept()[0]) as c, contextlib.suppress(Gone, ConnectionError):
                    while (head := c.head()):
                        if b"/long" not in head:
                            c.send(response(200, b"yours"))
                            continue
                        asked.set()
                        go.wait(10)
                        go.clear()
                        c.send(response(200, b"x" * length) + response(200, b"poison"))
                        said.set()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(16)
        threading.Thread(target=serve, args=(listening,), daemon=True).start()
        proxy, port = run.front([f"unix:{path}"], workers=1, pool={"max": 1})
        for _ in range(10):
            asked.clear()
            said.clear()
            with Client(port) as one, Client(port) as two:
                one.send(request("/long"))
                assert asked.wait(10)
                two.send(request("/mine", method))
                queued(proxy)
                proxy.process.signal(signal.SIGSTOP)
                go.set()
                assert said.wait(10)
                proxy.process.signal(signal.SIGCONT)
                assert len(one.response().body) == length
                assert two.response().body == b"yours"
        listening.shutdown(socket.SHUT_RDWR)


def test_a_connection_that_ended_is_not_given_to_one_that_waits(run):
    """The server hangs up with its answer and does not say so before: no request that must not be sent twice rides it."""
    def handler(c):
        c.request()
        c.sock.send(response(200, b"ok"), socket.MSG_MORE)  # one segment with the FIN

    proxy, port = run.front([run.origin(handler)], workers=1, pool={"max": 1})
    clients = [run.own(Client(port)) for _ in range(20)]
    for c in clients:
        c.send(request("/", "POST", body=b"once"))
    assert [c.response().status for c in clients] == [200] * 20
