"""WebSocket upgrades become tunnels: bytes both ways, outside of the pool, inside of the cap."""
from harness import proxy, raw
from harness.raw import Client
from harness.wait import until

UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"


def echo(c):
    while (r := c.request()):
        if r.get("Upgrade"):
            c.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n")
            c.send(b"welcome")
            while c.buffer or c.fill():
                c.send(c.buffer)
                c.buffer = b""
            return
        c.reply(200, b"plain")


def front(run, handler=echo, upgrade=("websocket",), **app):
    origin = run.origin(handler)
    port = proxy.free_port()
    conf = proxy.config({"app": {"servers": [origin.text], **app}}, [{"name": "web", "address": f"127.0.0.1:{port}"}],
                        routes=[{"host": "*", "path": "/", "upstream": "app", "upgrade": list(upgrade)}])
    return run.proxy(conf), origin, port


def switch(port, early=b""):
    c = Client(port)
    c.send(raw.request("/chat", headers=UPGRADE) + early)
    r = c.response()
    assert r.status == 101 and r.get("Upgrade").lower() == "websocket" and "upgrade" in r.get("Connection").lower()
    return c


def test_tunnel(run):
    _, origin, port = front(run)
    with switch(port, b"early") as c:
        assert c.exactly(7) == b"welcome"
        assert c.exactly(5) == b"early"
        blob = bytes(range(256)) * 4000
        c.send(blob[:300000])
        assert c.exactly(300000) == blob[:300000]
    assert origin.requests[0][1].get("Sec-WebSocket-Key")
    until(lambda: origin.open() == 0, 5, "the end of the tunnel at the server")


def test_server_ends_the_tunnel(run):
    def once(c):
        c.request()
        c.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nbye")
    _, _, port = front(run, once)
    with switch(port) as c:
        assert c.exactly(3) == b"bye" and c.at_end()


def test_tunnels_are_bounded_and_hold_their_place(run):
    lastack, _, port = front(run, pool={"max": 4, "tunnels": 2})
    open_ = [switch(port), switch(port)]
    with Client(port) as c:
        c.send(raw.request("/", headers=UPGRADE))
        assert c.response().status == 503
    with Client(port) as c:
        assert c.ask("/").body == b"plain"
    open_[0].close()
    until(lambda: lastack.metrics().sum("lastack_connections", state="tunnel") == 1, 5, "the first tunnel's end")
    open_.append(switch(port))
    for c in open_:
        c.close()


def test_not_allowed_by_the_route(run):
    _, origin, port = front(run, upgrade=())
    with Client(port) as c:
        c.send(raw.request("/", headers=UPGRADE))
        assert c.response().status == 200, "answered as if Upgrade had not been asked for"
    assert origin.last.get("Upgrade") is None


def test_refused_by_the_server(run):
    def no(c):
        while c.request():
            c.reply(403, b"no")
    _, origin, port = front(run, no)
    with Client(port) as c:
        c.send(raw.request("/", headers=UPGRADE))
        assert c.final().status == 403
        assert c.ask("/").status == 403
    assert len(origin.connections) == 1


def test_a_101_nobody_asked_for(run):
    def odd(c):
        c.request()
        c.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        c.fill()
    _, _, port = front(run, odd)
    assert raw.get(port).status == 502
