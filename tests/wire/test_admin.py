"""The admin listener: every metric with its labels, the status, health and readiness, the dashboard."""
import json
import threading

import pytest

from harness import raw
from harness.proxy import BIN, free_port
from harness.raw import Client, Crowd, get, held, request, response
from harness.wait import until

GAUGE, COUNTER, HISTOGRAM = "gauge", "counter", "histogram"
SERVER = {"upstream", "server"}
METRICS = {
    "lastack_client_connections": (GAUGE, {"listener"}), "lastack_clients_accepted_total": (COUNTER, {"listener"}),
    "lastack_requests_total": (COUNTER, SERVER | {"code"}),
    "lastack_request_seconds": (HISTOGRAM, {"upstream", "phase"}),
    "lastack_connections": (GAUGE, SERVER | {"source", "state"}),
    "lastack_connections_opened_total": (COUNTER, SERVER | {"source"}),
    "lastack_connections_closed_total": (COUNTER, SERVER | {"by", "reason"}),
    "lastack_reuse_ratio": (GAUGE, {"upstream"}),
    "lastack_pool_max": (GAUGE, SERVER), "lastack_idle_reuse_seconds": (GAUGE, SERVER),
    "lastack_takeovers_total": (COUNTER, SERVER), "lastack_dial_failures_total": (COUNTER, SERVER),
    "lastack_bytes_total": (COUNTER, {"upstream", "direction"}),
    "lastack_build_info": (GAUGE, {"version"}), "lastack_config_reloads_total": (COUNTER, {"result"}),
    "lastack_queue_length": (GAUGE, {"upstream"}), "lastack_queue_timeouts_total": (COUNTER, {"upstream"}),
    "lastack_retries_total": (COUNTER, {"upstream", "reason"}),
    "lastack_ports": (GAUGE, {"source", "destination", "state"}),
    "lastack_server_up": (GAUGE, SERVER),
    "lastack_errors_total": (COUNTER, {"upstream", "cause"}),
}


def test_every_metric(run):
    origin = run.origin()
    lastack, port = run.front([origin, {"address": f"127.0.0.1:{free_port()}", "drain": True}], source=["127.0.0.1"])
    for _ in range(5):
        get(port, method="POST", body=b"x" * 100)
    with Client(port) as c:
        c.send(b"BAD\r\n\r\n")
        c.to_end()
    until(lambda: lastack.metrics().sum("lastack_requests_total", code="200") == 5, 5, "the counts")
    m = lastack.metrics()
    for name, (kind, labels) in METRICS.items():
        assert m.types.get(name) == kind, name
        found = m.all(name + ("_count" if kind == HISTOGRAM else ""))
        assert found, name
        for sample in found:
            assert set(sample.labels) == labels, sample
    assert set(m.by("lastack_connections", "state")) == {"dialing", "busy", "idle", "parked", "leaving", "pinned", "tunnel"}
    assert set(m.by("lastack_ports", "state")) == {"free", "open", "time_wait", "foreign"}
    assert set(m.by("lastack_request_seconds_count", "phase")) == {"queue", "connect", "backend", "total"}
    assert m.sum("lastack_requests_total", server=origin.text, code="200") == 5
    assert m.sum("lastack_errors_total", cause="bad_request") == 1
    assert m.sum("lastack_connections_opened_total", server=origin.text, source="127.0.0.1") == len(origin.connections)
    assert m.sum("lastack_connections", state="idle") == len(origin.connections)
    assert m.sum("lastack_bytes_total", direction="out") > 500
    assert m.sum("lastack_pool_max", server=origin.text) == 64
    for phase in ("queue", "connect", "backend", "total"):
        buckets = [s for s in m.all("lastack_request_seconds_bucket", upstream="app", phase=phase)]
        values = [s.value for s in buckets]
        assert values == sorted(values) and buckets[-1].labels["le"] == "+Inf" and values[-1] == (len(origin.connections) if phase == "connect" else 5)
    free = m.sum("lastack_ports", destination=origin.text, state="free")
    assert free + m.sum("lastack_ports", destination=origin.text, state="open") > 1000


def test_bytes_and_waits_count_whole(run):
    """Heads and framing are bytes, too; and a request that waits in vain has waited."""
    said, gate = response(200, b"hello"), threading.Event()

    def handler(c):
        while (r := c.request()) is not None:
            if r.target == "/slow":
                gate.wait(30)
            c.send(said)
    lastack, port = run.front([run.origin(handler)], pool={"max": 1}, queue={"timeout": "200ms"}, timeouts={"response": "60s"})
    for _ in range(3):
        assert get(port).status == 200
    m = lastack.metrics()
    assert m.sum("lastack_bytes_total", direction="in") == 3 * len(said)
    assert m.sum("lastack_bytes_total", direction="out") > 3 * len(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
    with Client(port) as c:
        c.send(request("/slow"))
        until(lambda: lastack.metrics().sum("lastack_connections", state="busy") == 1, 10, "the only place to be taken")
        assert get(port).status == 503
        m = lastack.metrics()
        assert m.sum("lastack_request_seconds_count", phase="queue") == 4 and m.sum("lastack_request_seconds_sum", phase="queue") >= 0.2
        gate.set()
        assert c.final().status == 200


def test_names_in_labels_are_escaped_and_samples_are_unique(run):
    lastack, port = run.front([run.origin()], listener={"name": "web.1"})
    get(port)
    m = lastack.metrics()
    keys = [(s.name, tuple(sorted(s.labels.items()))) for s in m.samples]
    assert len(keys) == len(set(keys))
    assert m.sum("lastack_clients_accepted_total", listener="web.1") == 1


def test_states_are_true_while_it_works(run):
    gate = threading.Event()
    origin = run.origin(held(gate))
    lastack, port = run.front([origin], pool={"max": 2})
    crowd = Crowd(5, lambda n: get(port, timeout=30).status)
    try:
        until(lambda: lastack.metrics().sum("lastack_queue_length") == 3, 5, "three to wait")
        m = lastack.metrics()
        assert m.sum("lastack_connections", state="busy") == 2
        until(lambda: len(origin.connections) == 2, 5, "the origin to accept both")
        assert m.sum("lastack_client_connections") == 5
        live = json.loads(lastack.admin("/api/v1/connections")[2])
        assert len(live) == 5
        for x in live:
            assert x["client"].startswith("127.0.0.1:") and x["upstream"] == "app" and x["age_ms"] >= 0 and x["listener"] == "web"
        assert sum(x["connection"] > 0 for x in live) == 2
    finally:
        gate.set()
    assert crowd.results() == [200] * 5
    until(lambda: lastack.metrics().sum("lastack_queue_length") == 0, 5, "an empty queue")
    assert lastack.metrics().sum("lastack_connections", state="busy") == 0


def test_status(run):
    origin = run.origin()
    lastack, port = run.front([origin])
    get(port)
    code, headers, text = lastack.admin("/api/v1/status")
    assert code == 200 and headers["Content-Type"].startswith("application/json")
    s = lastack.status()
    assert s["version"] and s["workers"] == 2 and s["ready"] is True and s["draining"] is False
    app, = s["upstreams"]
    assert app["name"] == "app" and app["requests"] == 1 and app["queue"]["length"] == 0
    server, = app["servers"]
    assert server["server"] == origin.text and server["up"] is True and server["places"] == {**server["places"], "used": 1, "max": 64}
    assert server["connections"]["idle"] == 1 and server["opened"] == 1
    assert {"in_force_ms", "from"} <= set(server["reuse_clock"])
    assert server["ports"][0]["free"] > 0
    web, = s["listeners"]
    assert web["name"] == "web" and web["accepted"] == 1


def test_health_and_readiness(run):
    gate = threading.Event()

    def held(c):
        c.request()
        gate.wait(20)
        c.reply(200, b"ok", "Connection: close\r\n")
    origin = run.origin(held)
    lastack, port = run.front([origin])
    assert lastack.admin("/healthz")[0] == 200 and lastack.admin("/readyz")[0] == 200
    crowd = Crowd(1, lambda n: get(port, timeout=30).status)
    until(lambda: origin.requests, 5, "the request")
    lastack.process.signal(15)
    lastack.stopped = True
    until(lambda: lastack.admin("/readyz")[0] == 503, 5, "not ready while it drains")
    assert lastack.admin("/healthz")[0] == 200, "but alive"
    assert lastack.metrics().sum("lastack_draining") == 1
    assert len(json.loads(lastack.admin("/api/v1/connections")[2])) == 1, "also of workers that are done"
    gate.set()
    assert crowd.results() == [200]
    assert lastack.process.wait(20) == 0


def test_dashboard(run):
    lastack, _ = run.front([run.origin()])
    code, headers, text = lastack.admin("/")
    assert code == 200 and headers["Content-Type"].startswith("text/html")
    assert "<html" in text.lower() and "/api/v1/status" in text
    assert "http://" not in text.replace("http://www.w3.org", "") and "https://" not in text, "it loads nothing from elsewhere"


@pytest.mark.parametrize("text, codes", [
    (b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", {404}), (b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", {405}),
    (b"junk\r\n\r\n", {400}), (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100000 + b"\r\n\r\n", {400, 431}),
])
def test_what_it_refuses(run, text, codes):
    lastack, _ = run.front([run.origin()])
    with Client(lastack.admin_port) as c:
        try:
            c.send(text)
            assert c.final().status in codes
        except (ConnectionError, raw.Gone):
            assert len(text) > 1000, "only too much may end in a reset"
    assert lastack.admin("/healthz")[0] == 200


def test_head(run):
    lastack, _ = run.front([run.origin()])
    with Client(lastack.admin_port) as c:
        r = c.ask("/metrics", "HEAD")
        assert r.status == 200 and int(r.get("Content-Length")) > 1000 and c.at_end()


def test_ports_command(run):
    origin = run.origin()
    lastack, port = run.front([origin])
    get(port)
    words = [BIN, "ports", "--admin", f"127.0.0.1:{lastack.admin_port}"]
    text = lastack.host.run(*words)
    assert origin.text in text and "time_wait" in text
    found = json.loads(lastack.host.run(*words, "--json"))
    assert origin.text in json.dumps(found)
