"""Backends that hang up after an idle time, 20 ms away, and clients whose gaps lie around that time."""
import pytest

from common import LISTEN
from harness import proxy
from harness.peers import clean
from harness.wait import FULL, scale

LANES = 12  # upstreams per backend: each has one client, so that its gap is the connection's idle time


class Field:
    """A backend behind a relay, and LANES upstreams to it that each serve one client."""

    def __init__(self, run, net, idle_s, n):
        self.run, self.net, self.idle_s, self.n = run, net, idle_s, n
        self.port = 9000 + n
        self.start_backend()
        self.relay = run.relay(self.backend.text, 20, host=net.backend, address=net.backends[0], port=7000 + n)
        self.loads = []

    def start_backend(self):
        self.backend = self.run.backend(host=self.net.backend, address="127.0.0.1", port=self.port,
                                        idle_ms=int(self.idle_s * 1000), name=f"backend-{self.n}-{len(self.run.started)}")

    def restart_backend(self):
        self.backend.kill()
        self.start_backend()

    def name(self, lane):
        return f"b{self.n}l{lane}"

    def upstreams(self):
        return {self.name(k): {"servers": [self.relay.text], "pool": {"max": 4}} for k in range(LANES)}

    def listeners(self):
        return [{"name": self.name(k), "address": f"{self.net.PROXY}:{LISTEN + self.n * 100 + k}", "upstream": self.name(k)}
                for k in range(LANES)]

    def target(self, lane):
        return f"{self.net.PROXY}:{LISTEN + self.n * 100 + lane}"

    def load(self, low, high, seconds, method):
        for k in range(LANES):
            self.loads.append(self.run.load(
                self.target(k), host=self.net.client, clients=1, method=method,
                duration_ms=int(seconds * 1000), gap_min_ms=int(self.idle_s * low * 1000),
                gap_max_ms=int(self.idle_s * high * 1000), body=64))

    def results(self):
        loads, self.loads = self.loads, []
        return [clean(load.result()) for load in loads]


def fields(run, idles):
    net = run.net()
    found = [Field(run, net, idle, n) for n, idle in enumerate(idles)]
    upstreams, listeners = {}, []
    for f in found:
        upstreams.update(f.upstreams())
        listeners += f.listeners()
    run.proxy(proxy.config(upstreams, listeners), host=net.proxy)
    return found


def test_no_request_is_lost_or_doubled_around_the_timeout(run):
    all_fields = fields(run, [0.3, 1, 2, 5])
    for f in all_fields:
        f.load(0.5, 1.5, scale(20, 120), "GET=50,POST=50")
    for f in all_fields:
        results = f.results()
        assert sum(r["done"] for r in results) > LANES * 2
        seen, wire = f.backend.stats(), f.relay.stats()
        assert seen["duplicates"] == 0, f"idle {f.idle_s}: a request was delivered twice"
        proxy_first = wire["first_client_fin"] + wire["first_client_rst"]
        closes = proxy_first + wire["first_server_fin"] + wire["first_server_rst"]
        assert closes > 0
        assert proxy_first <= closes * 0.001, f"idle {f.idle_s}: the proxy closed {proxy_first} of {closes} first"


def extra_dials(f):
    """Dials beyond the first connection of each lane, and requests, since the backend was started."""
    seen = f.backend.stats()
    assert seen["duplicates"] == 0
    return seen["accepted"] - LANES, seen["requests"]


IDLES = [0.3, 1, 2, 5] if FULL else [0.3, 1, 2]


def share(idle_s):
    """Of the requests, how many may dial. A busy machine that stops for 0.1 s uses up what the shortest timeout leaves."""
    return 0.1 if idle_s < 1 and not FULL else 0.05



@pytest.mark.parametrize("method", ["GET", "GET=50,POST=50"])
def test_short_gaps_reuse(run, method):
    """Gaps below 0.6 of the timeout: at least 95 % of the requests ride an open connection, from the first seconds on,
    also after the backend was restarted.

    Each lane learns by itself here, from one client. GET needs no learning. A POST does: as long as the timeout is not
    known it takes no connection that was idle for more than 200 ms, so a lane may fill its pool once (3 more dials)."""
    all_fields = fields(run, IDLES)
    for round_ in ("fresh", "after a restart"):
        for f in all_fields:
            f.load(0.1, 0.58, scale(25, 120), method)
        for f in all_fields:
            f.results()
            dials, requests = extra_dials(f)
            learning = 3 * LANES if round_ == "fresh" and method != "GET" else 0
            assert dials <= share(f.idle_s) * requests + learning, f"{round_}, idle {f.idle_s}: {dials} extra dials for {requests} requests"
            f.restart_backend()


def test_short_gaps_reuse_in_a_shared_pool(run):
    """The same with GET and POST of twelve clients over one pool each: 95 %, every dial counted."""
    all_fields = fields(run, IDLES)
    for round_ in ("fresh", "after a restart"):
        loads = [(f, run.load(f.target(0), host=f.net.client, clients=12, method="GET=50,POST=50", body=64, timeout_ms=20000,
                              duration_ms=scale(25, 120) * 1000, gap_min_ms=int(f.idle_s * 100), gap_max_ms=int(f.idle_s * 580)))
                 for f in all_fields]
        for f, load in loads:
            clean(load.result())
            seen = f.backend.stats()
            assert seen["accepted"] <= share(f.idle_s) * seen["requests"], \
                f"{round_}, idle {f.idle_s}: {seen['accepted']} dials for {seen['requests']} requests"
            f.restart_backend()
