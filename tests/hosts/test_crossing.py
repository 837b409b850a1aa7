"""A server that says something unasked just when a request is on its way: the two cross on the wire.

The proxy's host sends to a wrong hardware address for a while, so that nothing of the request arrives while the server's
bytes do."""
import contextlib

import pytest

from common import LISTEN, start, upstream
from harness import raw
from harness.wait import until

pytestmark = pytest.mark.sanitizer

STOLEN = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen"
TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@contextlib.contextmanager
def deaf(net):
    """The backend's host hears nothing from the proxy's."""
    where = (net.backends[0], "dev", "p1")
    net.proxy.run("ip", "neigh", "replace", where[0], "lladdr", "02:00:00:00:00:99", "nud", "permanent", *where[1:])
    try:
        yield
    finally:
        net.proxy.run("ip", "neigh", "del", *where)


@pytest.mark.parametrize("unasked", (STOLEN, TIMEOUT), ids=("response", "408"))
@pytest.mark.parametrize("method", ("GET", "POST"))
def test_bytes_cross_a_request(run, method, unasked):
    net = run.net()
    origin = run.origin(answer=lambda r: (200, r.target.encode(), ""), host=net.backend, address=net.backends[0], port=9000)
    lastack = start(run, net, upstream(net, pool={"max": 1}, timeouts={"connect": "10s"}), workers=1)
    client = run.own(raw.Client(LISTEN, net.PROXY, net.client, timeout=20))
    assert client.ask("/first").body == b"/first"
    with deaf(net):
        client.send(raw.request("/second", method))
        until(lambda: any(s.send_q for s in net.proxy.sockets(("established",), to=net.backends[0])), 10, "the request on its way")
        origin.connections[0].sock.sendall(unasked)
        until(lambda: not net.proxy.sockets(("established",), to=net.backends[0]), 10, "the connection to be dropped")
    r = client.final()
    if method == "GET":
        assert (r.status, r.body) == (200, b"/second")
    else:  # the server may have got it after all
        assert r.status == 502 and "response_unasked" in r.get("Proxy-Status"), (r, r.body)
    m = lastack.metrics()
    assert m.sum("lastack_connections_closed_total", reason="unexpected_bytes") == 1
    assert m.sum("lastack_retries_total") == (method == "GET")
