"""500 local ports, one source, short clients: the proxy's ports must not run out. The twin shows that they would."""
import threading

from common import LISTEN, start, target, upstream
from harness import raw, servers
from harness.peers import clean
from harness.wait import scale, until

REQUESTS = scale(30000, 200000)
SERVICE_US = 20000


def test_ports_do_not_run_out(run):
    net = run.net(ports=500)
    backend = run.backend(host=net.backend, address=net.backends[0], port=9000, max_connections=64, delay_us=SERVICE_US)
    start(run, net, upstream(net, pool={"max": 64}))
    result = clean(run.load(target(net), host=net.client, clients=256, requests=REQUESTS).result())
    assert result["status"] == {"200": REQUESTS}
    seen = backend.stats()
    assert seen["open_max"] <= 64 and seen["over_cap"] == 0
    assert seen["requests"] == REQUESTS
    assert net.proxy.count("time-wait", to=net.backends[0]) == 0
    assert net.backend.count("time-wait", local_port=9000) == 0, "nobody closed anything"


def test_the_same_load_through_nginx_fails_most(run):
    """So that the test above cannot pass by accident: the same hosts, ports, backend and load."""
    net = run.net(ports=500)
    backend = run.backend(host=net.backend, address=net.backends[0], port=9000, delay_us=SERVICE_US)
    run.own(servers.nginx_proxy(run.directory, backend.text, host=net.proxy, address=net.PROXY, port=8080, workers=1))
    result = run.load(target(net), host=net.client, clients=256, requests=REQUESTS).result()
    assert result["status_5xx"] > REQUESTS / 2, result["status"]
    assert net.proxy.count("time-wait", to=net.backends[0]) > 400


def test_a_request_that_found_no_port_says_so(run):
    """Four ports for six requests: two wait in vain, and neither the answer nor the metrics call that a pool that is too small."""
    net = run.net(ports=4, sources=1)
    gate = threading.Event()
    origin = run.own(raw.Origin(raw.held(gate), host=net.backend, address=net.backends[0], port=9000))
    lastack = start(run, net, upstream(net, pool={"max": 8}, queue={"timeout": "1s"}), workers=1)
    crowd = raw.Crowd(6, lambda n: raw.get(LISTEN, f"/{n}", address=net.PROXY, host=net.client, timeout=30))
    until(lambda: [line["error"] for line in lastack.access()] == ["no_port"] * 2, 10, "two that have waited")
    gate.set()
    answers = crowd.results()
    refused = [r for r in answers if r.status == 503]
    assert len(refused) == 2 and all('details="no_port:' in r.get("Proxy-Status") for r in refused)
    assert sum(r.status == 200 for r in answers) == 4 and len(origin.connections) == 4
    net.proxy.sysctl(net__ipv4__ip_local_port_range="40000 40063")  # whoever asks needs a port as well
    assert lastack.metrics().sum("lastack_ports_exhausted_total") > 0
