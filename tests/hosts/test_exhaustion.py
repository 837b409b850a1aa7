"""500 local ports, one source, short clients: the proxy's ports must not run out. The twin shows that they would."""
from common import start, target, upstream
from harness import servers
from harness.peers import clean
from harness.wait import scale

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
