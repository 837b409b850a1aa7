"""Reload under load: nobody notices, nothing grows, the connections to the servers stay."""
import copy
import time

from harness.peers import clean
from harness.proxy import KIND
from harness.raw import Client, request
from harness.wait import holds, scale, until

RELOADS = scale(20, 100)
WARM = 8
MIB = 1 << 20


def reload_all(proxy, conf, times):
    for n in range(times):
        conf["upstreams"]["app"]["timeouts"] = {"response": f"{30 + n % 2}s"}
        proxy.reload(conf)


def test_reload_under_load(run):
    backend = run.backend(delay_us=1000)
    proxy, port = run.front([backend], workers=4, pool={"max": 8})
    load = run.load(port, clients=64, keepalive=50, duration_ms=600000)
    conf = copy.deepcopy(proxy.conf)
    reload_all(proxy, conf, WARM)
    until(lambda: backend.stats()["requests"] > 2000, 20, "the load")
    accepted, sockets, memory = backend.stats()["accepted"], backend.stats()["open"], proxy.process.rss()
    reload_all(proxy, conf, RELOADS)
    grown = proxy.process.rss() - memory
    requests = backend.stats()["requests"]
    until(lambda: backend.stats()["requests"] > requests + 500, 20, "the load to go on")
    assert proxy.reloads("error") == 0
    clean(load.stop())
    seen = backend.stats()
    assert seen["accepted"] == accepted and seen["open"] == sockets, "the pool was kept"
    assert seen["over_cap"] == 0 and seen["open_max"] <= 8
    if KIND == "release":
        assert grown < 2 * MIB, f"{RELOADS} reloads: {grown / MIB:.1f} MiB more"


def test_descriptors_do_not_grow(run):
    """Counted at rest: the same connections, the same listeners, the same files after every reload."""
    backend = run.backend()
    proxy, port = run.front([backend], workers=4, pool={"max": 8})
    conf = copy.deepcopy(proxy.conf)

    def at_rest():
        clean(run.load(port, clients=32, keepalive=50, requests=500).result())
        until(lambda: proxy.metrics().sum("lastack_client_connections") == 0, 5, "all clients to leave")
        # The least of many looks: the admin listener and the port ledger open one for a moment now and then.
        end, least = time.monotonic() + 0.5, 1 << 30
        while time.monotonic() < end:
            least = min(least, proxy.process.descriptors() - backend.stats()["open"])
        return least

    reload_all(proxy, conf, WARM)
    before = at_rest()
    reload_all(proxy, conf, RELOADS)
    after = at_rest()
    assert after <= before, f"{before} descriptors before, {after} after {RELOADS} reloads"


def test_a_bad_file_changes_nothing(run):
    backend = run.backend()
    proxy, port = run.front([backend], pool={"max": 8})
    load = run.load(port, clients=16, keepalive=50, duration_ms=600000)
    good = copy.deepcopy(proxy.conf)
    for _ in range(5):
        proxy.reload({**good, "upstreams": {"app": {"servers": [backend.text], "pool": {"max": -1}}}}, expect="failure")
    requests = backend.stats()["requests"]
    holds(lambda: load.running(), 0.2, "the load")
    until(lambda: backend.stats()["requests"] > requests + 200, 10, "the load to go on")
    clean(load.stop())
    assert backend.stats()["open_max"] <= 8
    proxy.reload(good)


def test_an_upstream_that_goes_with_requests_behind_the_waiting(run):
    """A pipelined request follows one that waits for an upstream which a reload takes away: the first fails, the next goes to the
    new one."""
    slow, fast = run.backend(delay_us=60000000), run.backend()
    proxy, port = run.front([slow], workers=1, pool={"max": 1}, timeouts={"response": "60s"})
    with Client(port) as first, Client(port) as second:
        first.send(request("/working"))
        until(lambda: slow.stats()["requests"] == 1, 5, "the only connection to be at work")
        second.send(request("/waiting") + request("/behind"))
        until(lambda: proxy.metrics().sum("lastack_queue_length") == 1, 5, "the next one to wait")
        conf = copy.deepcopy(proxy.conf)
        conf["upstreams"] = {"other": conf["upstreams"]["app"] | {"servers": [fast.text]}}
        conf["listen"][0]["upstream"] = "other"
        proxy.reload(conf)
        assert second.final().status in (502, 503)
        assert second.final().status == 200
