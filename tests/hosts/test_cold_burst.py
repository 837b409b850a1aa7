"""64 requests at once on a warm pool of 8, when a dial takes long (a wire that holds every SYN back so long)."""
from common import LISTEN
from harness import proxy
from harness.peers import clean
from harness.wait import scale, until
from harness.wire import Wire, is_syn

# The figure is 20; five times as much leaves a busy machine five times as long for the burst.
DIAL_MS = scale(100, 20)


def burst(run, service_ms):
    net = run.net()
    wire = run.own(Wire(net.proxy, "10.77.9.1/24", net.backend, "10.77.9.2/24", lambda p: DIAL_MS if is_syn(p) else 0))
    back = run.backend(host=net.backend, address="10.77.9.2", port=9000, delay_us=service_ms * 1000)
    conf = proxy.config({"app": {"servers": ["10.77.9.2:9000"], "pool": {"max": 64}}},
                        [{"name": "web", "address": f"{net.PROXY}:{LISTEN}", "upstream": "app"}])
    run.proxy(conf, host=net.proxy)
    clean(run.load(f"{net.PROXY}:{LISTEN}", host=net.client, clients=8, requests=8, path="/?delay_ms=400").result())
    assert back.stats()["open"] == 8
    back.reset()
    clean(run.load(f"{net.PROXY}:{LISTEN}", host=net.client, clients=64, requests=64).result())
    until(lambda: back.stats()["busy"] == 0, 5, "the end of the burst")
    assert wire.passed > 0
    return back.stats()


def test_short_service_needs_few_dials(run):
    seen = burst(run, 1)
    assert seen["accepted"] < 16, f"{seen['accepted']} dials for a burst that 8 connections serve in about 8 ms"


def test_long_service_gets_all_connections(run):
    """Dials for all of the 64 that the warm 8 cannot serve."""
    seen = burst(run, 2000)
    assert seen["open_max"] == 64 and seen["busy_max"] == 64, (seen["open_max"], seen["busy_max"])
