"""Nobody starves: idle connections serve every worker, and who came first is served first."""
import threading
import time

from harness.peers import clean
from harness.raw import Client, Crowd, Origin, get, held, request
from harness.wait import scale, until

WAITERS = 300
OVERTAKEN = 32


def dump(proxy):
    status, _, text = proxy.admin("/api/v1/connections")
    assert status == 200, text
    return text


def clients_by_worker(proxy, backend, port, per_worker):
    """{worker: [keep-alive clients that it has accepted]} for two workers. While a client's request is at the backend
    the proxy says which worker serves it."""
    import json
    found, others = {}, []
    for _ in range(200):
        c = Client(port)


        def look():
            c.send(request("/?delay_ms=30"))
            rows = [r for r in json.loads(dump(proxy)) if r["client"].endswith(":%d" % c.sock.getsockname()[1])]
            assert c.final().status == 200
            return rows
        row = until(look, 10, "the request to show", 0.002)[0]
        found.setdefault(row["worker"], []).append(c)
        others.append(c)
        full = [w for w in found if len(found[w]) >= per_worker]
        if len(full) >= 2:
            return {w: found[w] for w in full}
    raise AssertionError(f"clients did not spread: { {w: len(v) for w, v in found.items()} }")


def test_idle_connections_of_one_worker_serve_another(run):
    backend = run.backend()
    proxy, port = run.front([backend], workers=4, pool={"max": 8})
    of = clients_by_worker(proxy, backend, port, 8)
    (a, give), (b, ask) = list(of.items())[:2]
    # Eight requests at once by clients of worker A: eight connections, which end up idle there.
    for c in give[:8]:
        c.send(request("/?delay_ms=1500"))
    until(lambda: backend.stats()["busy"] == 8, 5, "a full pool")
    assert all(c.final().status == 200 for c in give[:8])
    accepted = backend.stats()["accepted"]
    served = 0
    for n in range(scale(50, 500)):
        for c in ask[:8]:
            c.send(request(f"/?delay_ms={n % 3}"))
        for c in ask[:8]:
            assert c.final().status == 200
            served += 1
        if n % 10 == 0:  # and back again
            for c in give[:8]:
                c.send(request("/?delay_ms=5"))
            assert all(c.final().status == 200 for c in give[:8])
    assert backend.stats()["accepted"] == accepted, f"dials for {served} requests that idle connections could serve"
    assert proxy.metrics().sum("lastack_takeovers_total") > 0


def test_a_post_gets_an_idle_connection_of_another_worker(run):
    """Also one that has idled longer than anything is known to be good for, if there is no other."""
    backend = run.backend()
    proxy, port = run.front([backend], workers=2, pool={"max": 1})
    (give, *_), (ask, *_) = clients_by_worker(proxy, backend, port, 1).values()
    assert give.ask().status == 200
    time.sleep(0.5)  # what it has idled for is the question
    assert ask.ask(method="POST", body=b"x").status == 200
    assert backend.stats()["accepted"] == 1


def test_one_post_ends_one_parked_connection_of_another_worker(run):
    backend = run.backend()
    relay = run.relay(backend.text, 10)  # the server's FIN takes its time
    proxy, port = run.front([relay], workers=2, pool={"max": 4, "idle_reuse": "150ms", "idle_close": "60s"})
    give, (ask, *_) = clients_by_worker(proxy, backend, port, 4).values()
    backend.close_idle()
    until(lambda: proxy.metrics().sum("lastack_connections") == 0, 5, "an empty pool")
    for c in give[:4]:
        c.send(request("/?delay_ms=1500"))
    until(lambda: backend.stats()["busy"] == 4, 5, "a full pool")
    assert all(c.final().status == 200 for c in give[:4])
    until(lambda: proxy.metrics().sum("lastack_connections", state="parked") == 4, 5, "parked connections")
    assert ask.ask(method="POST", body=b"x").status == 200
    assert proxy.metrics().sum("lastack_connections_closed_total", reason="parked_for_cap") == 1


class Turnstile(Origin):
    """Serves one request per connection and hangs up; notes the order in which requests came."""

    def __init__(self, service_s, silent):
        self.order, self.service_s, self.silent, self.open = [], service_s, silent, threading.Event()
        super().__init__(self.serve)

    def serve(self, c):
        r = c.request()
        if r is None:
            return
        self.order.append(int(r.target[1:]))
        self.open.wait(30)
        time.sleep(self.service_s)
        c.reply(200, r.target.encode(), "" if self.silent else "Connection: close\r\n")


def overtaken(order):
    """For each request, how many that were sent after it arrived before it; the most."""
    return max(sum(later > n for later in order[:at]) for at, n in enumerate(order))


def test_nobody_is_overtaken_by_many(run):
    """300 waiters of four workers, sent one by one; a backend with two connections that hangs up after every response.
    The order at the backend is the proof."""
    origin = run.own(Turnstile(0.002, silent=False))
    proxy, port = run.front([origin], workers=4, pool={"max": 2}, queue={"length": 1024, "timeout": "20s"})
    clients = [Client(port, timeout=30) for _ in range(WAITERS)]
    for n, c in enumerate(clients):
        c.send(request(f"/{n}"))
        if n % 16 == 15:  # no worker is far behind the others
            until(lambda: proxy.metrics().sum("lastack_queue_length") >= n - 2, 10, "those so far to wait", 0.002)
    until(lambda: proxy.metrics().sum("lastack_queue_length") >= WAITERS - 2, 10, "all of them to wait")
    origin.open.set()
    for n, c in enumerate(clients):
        r = c.final()
        assert (r.status, r.body) == (200, b"/%d" % n)
        c.close()
    assert sorted(origin.order) == list(range(WAITERS)), "each of them once"
    assert overtaken(origin.order) <= OVERTAKEN
    assert proxy.metrics().sum("lastack_queue_timeouts_total") == 0


def test_none_times_out_under_load(run):
    backend = run.backend(close_each=1, delay_us=1000, max_connections=2)
    _, port = run.front([backend], workers=4, pool={"max": 2}, queue={"timeout": "30s"})
    result = clean(run.load(port, clients=WAITERS, keepalive=50, requests=scale(3000, 30000)).result())
    seen = backend.stats()
    assert seen["over_cap"] == 0 and seen["open_max"] <= 2
    assert seen["accepted"] == seen["requests"] == result["done"]


def test_time_at_a_server_is_no_time_in_line(run):
    """A request that its server has lost after longer than queue.timeout waits for another one as any request does."""
    asked, give_up, gate = threading.Event(), threading.Event(), threading.Event()

    def dies(c):
        c.request()
        asked.set()
        give_up.wait(20)
        c.close()

    other = run.origin(held(gate, b"second"))
    proxy, port = run.front([run.origin(dies), other], workers=1, balance="round_robin", pool={"max": 1}, queue={"timeout": "2s"})
    lost = Crowd(1, lambda n: get(port, timeout=30).body)
    assert asked.wait(10)
    holder = Crowd(1, lambda n: get(port, timeout=30).body)
    until(lambda: len(other.requests) == 1, 10, "the other server to be at work")
    since = time.monotonic()
    until(lambda: time.monotonic() - since > 2.1, 10, "queue.timeout")
    give_up.set()
    until(lambda: proxy.metrics().sum("lastack_queue_length") == 1, 10, "the lost request in line")
    gate.set()
    assert lost.results() == holder.results() == [b"second"]
