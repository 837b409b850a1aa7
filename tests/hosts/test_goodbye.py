"""Every planned end of a connection is announced in a request, and the backend hangs up. Its own keep-alive is an hour."""
import signal

import pytest

from common import start, target, upstream
from harness.peers import clean
from harness.wait import scale, until

HOUR = 3600 * 1000

pytestmark = pytest.mark.sanitizer


def backend(run, net, **more):
    return run.backend(host=net.backend, address=net.backends[0], port=9000, idle_ms=HOUR, **more)


def by_the_backend(net, seen, at_least):
    """All of the marked connections were closed by the backend, and nothing by the proxy."""
    assert seen["goodbyes"] >= at_least, seen
    assert seen["goodbye_closed_by_peer"] == 0 and seen["goodbye_reused"] == 0, seen
    assert seen["goodbye_max_ms"] <= 1000, seen
    assert seen["closed_by_peer_fin"] == seen["closed_by_peer_rst"] == 0, seen
    assert net.proxy.count("time-wait", to=net.backends[0]) == 0


def causes(lastack):
    return {(s.labels["by"], s.labels["reason"]): s.value
            for s in lastack.metrics().all("lastack_connections_closed_total") if s.value}


def test_max_requests(run):
    net = run.net()
    back = backend(run, net)
    lastack = start(run, net, upstream(net, pool={"max": 16, "max_requests": 100}))
    n = scale(10000, 100000)
    clean(run.load(target(net), host=net.client, clients=64, requests=n).result())
    until(lambda: back.stats()["goodbyes"] == back.stats()["goodbye_closed_by_origin"], 5, "the backend's closes")
    by_the_backend(net, back.stats(), n // 100 - 16)
    assert back.stats()["accepted"] >= n // 100, "no connection carried more than 100"
    assert set(causes(lastack)) == {("backend", "goodbye")}, causes(lastack)


def test_max_age(run):
    net = run.net()
    back = backend(run, net, delay_us=1000)
    lastack = start(run, net, upstream(net, pool={"max": 16, "max_age": "2s"}))
    clean(run.load(target(net), host=net.client, clients=64, duration_ms=scale(5, 30) * 1000).result())
    seen = until(lambda: (lambda s: s if s["goodbyes"] == s["goodbye_closed_by_origin"] else None)(back.stats()), 5, "the closes")
    by_the_backend(net, seen, 16 * 2)
    assert set(causes(lastack)) <= {("backend", "goodbye"), ("backend", "max_age")}, causes(lastack)


def test_shrink_by_reload(run):
    net = run.net()
    back = backend(run, net, delay_us=3000)
    app = upstream(net, pool={"max": 64})
    lastack = start(run, net, app)
    load = run.load(target(net), host=net.client, clients=256, duration_ms=scale(5, 20) * 1000)
    until(lambda: back.stats()["open"] == 64, 10, "a pool of 64")
    conf = dict(lastack.conf)
    conf["upstreams"] = {"app": {**app, "pool": {"max": 8}}}
    lastack.reload(conf)
    until(lambda: back.stats()["open"] <= 8, 5, "the pool to shrink to 8")
    back.set(max_connections=8)
    clean(load.result())
    seen = back.stats()
    assert seen["open"] <= 8 and seen["over_cap"] == 0
    by_the_backend(net, seen, 56)


def test_drain(run):
    """What is asked is answered; what is asked after SIGTERM's arrival is marked, and the backend closes it."""
    net = run.net()
    back = backend(run, net, delay_us=500000)
    lastack = start(run, net, upstream(net, pool={"max": 8}))
    load = run.load(target(net), host=net.client, clients=40, requests=40)

    def asked():
        n = back.stats()["requests"]  # one that moves on between the two is counted in neither
        return n >= 8 and n + lastack.metrics().sum("lastack_queue_length") >= 40
    until(asked, 10, "8 requests with the backend and the rest in line")
    assert lastack.stop(signal.SIGTERM, timeout=15) == 0
    clean(load.result())
    seen = back.stats()
    assert seen["requests"] == 40
    assert seen["goodbyes"] >= 8, "the last request of each connection said goodbye"
    assert seen["goodbye_closed_by_peer"] == 0 and seen["closed_by_peer_busy"] == 0, seen
    assert seen["goodbye_max_ms"] <= 1000
