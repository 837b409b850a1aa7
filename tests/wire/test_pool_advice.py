"""pool.advise says what pool.max should be and changes nothing; pool.auto lets it follow what the server bears, within its
range. The server is one of known truth: so long for each request, whatever else it does."""
import json
import math

from harness.peers import clean
from harness.wait import until

LOAD = {"clients": 64, "keepalive": 100, "duration_ms": 240000}


def gauge(p, name):
    found = p.metrics().all(f"lastack_pool_{name}")
    return found[0].value if found else None


def advice(p):
    return json.loads(p.admin("/api/v1/status")[2])["upstreams"][0]["servers"][0].get("advice")


def test_advise_publishes_and_changes_nothing(run):
    backend = run.backend(delay_us=5000)
    p, port = run.front([backend], pool={"max": 20, "advise": True})
    assert gauge(p, "advised") is None and advice(p)["why"] == "unknown" and "max" not in advice(p)
    load = run.load(port, rate=1000, **LOAD)
    until(lambda: gauge(p, "advised"), 60, "an advice")

    def calm():  # a host that stood still asks for what it left out, all at once
        told = advice(p)
        return told["why"] == "enough" and told["requests_per_second"] <= 1100 and told
    told = until(calm, 100, "an advice for what was asked")
    clean(load.stop())
    # 5 ms and what the machine adds, at what really came: Little's law, as the backend counts it too.
    seen = backend.stats()
    assert told["backend_ms"] >= 5
    assert abs(told["at_work"] - told["requests_per_second"] * told["backend_ms"] / 1000) <= 0.3 * told["at_work"]
    assert told["at_work"] >= 0.7 * 0.005 * told["requests_per_second"]
    assert told["at_work_peak"] <= seen["busy_max"] + 1
    assert told["max"] == math.ceil(told["at_work_peak"] + 2 * math.sqrt(told["at_work_peak"]))
    assert told["auto"] is False and gauge(p, "max") == 20


def test_auto_follows_within_its_range(run):
    backend = run.backend(delay_us=5000)
    p, port = run.front([backend], pool={"max": 4, "auto": [2, 5]})
    load = run.load(port, **LOAD)  # always more than there are places
    until(lambda: gauge(p, "max") == 5, 60, "one place more")
    until(lambda: backend.stats()["open_max"] == 5, 10, "its connection")
    first = advice(p)
    assert first["auto"] is True and first["why"] in ("queue", "backend_full")
    p.reload(p.conf)  # what was found is kept
    assert gauge(p, "max") == 5
    spans = {advice(p)["requests_per_second"]}
    until(lambda: spans.add(advice(p)["requests_per_second"]) or len(spans) >= 2, 60, "one more span")
    assert gauge(p, "max") in (4, 5)
    conf = json.loads(json.dumps(p.conf))
    conf["upstreams"]["app"]["pool"] = {"max": 3}
    p.reload(conf)
    assert gauge(p, "max") == 3 and gauge(p, "advised") is None and advice(p) is None
    until(lambda: backend.stats()["open"] <= 3, 10, "the smaller pool")
    clean(load.stop())
    assert backend.stats()["open_max"] <= 5
