"""Backends that hang up after an idle time, 20 ms away, and clients whose gaps lie around that time."""
from common import LISTEN
from harness import proxy
from harness.peers import clean
from harness.wait import FULL, scale

class Field:
    """A backend behind a relay, and upstreams to it, the lanes, that each serve one client, so that its gap is the
    connection's idle time."""

    def __init__(self, run, net, idle_s, n, lanes):
        self.run, self.net, self.idle_s, self.n, self.lanes = run, net, idle_s, n, lanes
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
        return {self.name(k): {"servers": [self.relay.text], "pool": {"max": 4}} for k in range(self.lanes)}

    def listeners(self):
        return [{"name": self.name(k), "address": f"{self.net.PROXY}:{LISTEN + self.n * 100 + k}", "upstream": self.name(k)}
                for k in range(self.lanes)]

    def target(self, lane):
        return f"{self.net.PROXY}:{LISTEN + self.n * 100 + lane}"

    def load(self, low, high, seconds, method, clients=1):
        for k in range(self.lanes):
            self.loads.append(self.run.load(
                self.target(k), host=self.net.client, clients=clients, method=method, timeout_ms=20000,
                duration_ms=int(seconds * 1000), gap_min_ms=int(self.idle_s * low * 1000),
                gap_max_ms=int(self.idle_s * high * 1000), body=64))

    def results(self):
        loads, self.loads = self.loads, []
        return [clean(load.result()) for load in loads]


def fields(run, *idles_and_lanes):
    net = run.net()
    found = [Field(run, net, idle, n, lanes) for n, (idle, lanes) in enumerate(idles_and_lanes)]
    upstreams, listeners = {}, []
    for f in found:
        upstreams.update(f.upstreams())
        listeners += f.listeners()
    run.proxy(proxy.config(upstreams, listeners), host=net.proxy)
    return found


def test_no_request_is_lost_or_doubled_around_the_timeout(run):
    all_fields = fields(run, (0.3, 12), (1, 12), (2, 12), (5, 12))
    for f in all_fields:
        f.load(0.5, 1.5, scale(14, 120), "GET=50,POST=50")
    for f in all_fields:
        results = f.results()
        assert sum(r["done"] for r in results) > f.lanes * 2
        seen, wire = f.backend.stats(), f.relay.stats()
        assert seen["duplicates"] == 0, f"idle {f.idle_s}: a request was delivered twice"
        proxy_first = wire["first_client_fin"] + wire["first_client_rst"]
        closes = proxy_first + wire["first_server_fin"] + wire["first_server_rst"]
        assert closes > 0
        assert proxy_first <= closes * 0.001, f"idle {f.idle_s}: the proxy closed {proxy_first} of {closes} first"


# A busy host stops for 0.1 s now and then, which is all that the shortest timeout leaves.
IDLES = [0.3, 1, 2, 5] if FULL else [1, 3]
SHARE = 0.05  # of the requests, how many may dial
# Clients' method, lanes, clients of each lane.
GETS, MIXED, SHARED = ("GET", 6, 1), ("GET=50,POST=50", 6, 1), ("GET=50,POST=50", 1, 12)


def unlearned(way, round_):
    """Dials that the share does not count: the first one of each lane, and what a lane needs to learn, each by itself, from
    one client. GET needs no learning. A POST does: as long as the timeout is not known it takes no connection that was idle
    for more than 200 ms, so a lane may fill its pool once (3 more dials). In a shared pool every dial counts."""
    if way == SHARED:
        return 0
    return way[1] * (4 if way == MIXED and round_ == "fresh" else 1)


def test_short_gaps_reuse(run):
    """Gaps below 0.6 of the timeout: at least 95 % of the requests ride an open connection, from the first seconds on,
    also after the backend was restarted. GET alone and GET with POST, each client with its pool; and both of twelve
    clients over one pool."""
    ways = [(idle, way) for way in (GETS, MIXED, SHARED) for idle in IDLES]
    all_fields = fields(run, *((idle, lanes) for idle, (_, lanes, _) in ways))
    for round_ in ("fresh", "after a restart"):
        for f, (_, (method, _, clients)) in zip(all_fields, ways):
            f.load(0.1, 0.58, scale(25, 120), method, clients)
        for f, (idle, way) in zip(all_fields, ways):
            f.results()
            seen = f.backend.stats()
            assert seen["duplicates"] == 0
            assert seen["accepted"] <= SHARE * seen["requests"] + unlearned(way, round_), \
                f"{round_}, idle {idle}, {way}: {seen['accepted']} dials for {seen['requests']} requests"
            f.restart_backend()
