"""What the tests on hosts share: lastack between the hosts of a Net."""
from harness import proxy

LISTEN = 8080


def upstream(net, port=9000, **more):
    """An upstream on the backend host, over all sources of the proxy's host."""
    return {"servers": [f"{net.backends[0]}:{port}"], "source": list(net.sources), **more}


def start(run, net, app, **top):
    """lastack on the proxy's host with the one upstream "app"; clients reach it at target(net)."""
    listen = [{"name": "web", "address": f"{net.PROXY}:{LISTEN}", "upstream": "app", **top.pop("listener", {})}]
    return run.proxy(proxy.config({"app": app}, listen, **top), host=net.proxy)


def target(net):
    return f"{net.PROXY}:{LISTEN}"


def mine(net, lastack, *states):
    """The proxy's own sockets to the backend, as ss sees them."""
    return [s for s in net.proxy.sockets(states, to=net.backends[0]) if s.process == lastack.process.pid]
