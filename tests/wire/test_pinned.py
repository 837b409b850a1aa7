"""NTLM and Negotiate authenticate a connection, not a request: such a connection is one client's and nobody else's."""
import pytest

from harness import proxy
from harness.raw import Client, get, request
from harness.wait import scale, until


class Guarded:
    """What IIS does: two legs, and then everything on this connection is that user's."""

    def __init__(self, run, scheme="NTLM", more=""):
        self.scheme, self.more, self.log = scheme, more, []
        self.origin = run.origin(self.serve)

    def serve(self, c):
        user, legs = None, 0
        while (r := c.request()):
            said = r.get("Authorization") or ""
            if r.target == "/open":
                c.reply(200, b"user=%s" % (user or "nobody").encode())
            elif r.target == "/hang-up":
                c.reply(200, b"bye")
                return
            elif said.startswith(f"{self.scheme} user-") and legs == 1:
                user, legs = said.split("user-")[1], 2
                c.reply(200, f"user={user}".encode())
            elif said.startswith(self.scheme):
                legs = 1
                c.reply(401, b"more", f"WWW-Authenticate: {self.scheme} Y2hhbGxlbmdl\r\n")
            elif user:
                c.reply(200, f"user={user}".encode())
            else:
                c.reply(401, b"who", f"WWW-Authenticate: {self.scheme}\r\n{self.more}")
            self.log.append((c.number, r.target, user))

    def connection_of(self, target):
        found = until(lambda: {n for n, t, _ in self.log if t == target}, 5, "the request in the server's log")
        assert len(found) == 1, self.log
        return found.pop()


def sign_in(c, user, target="/in", scheme="NTLM"):
    assert c.ask(target, headers=f"Authorization: {scheme} first\r\n").status == 401
    r = c.ask(target, headers=f"Authorization: {scheme} user-{user}\r\n")
    assert (r.status, r.body) == (200, f"user={user}".encode())


def pinned(lastack):
    return lastack.metrics().sum("lastack_connections", state="pinned")


def ended(lastack, reason):
    return lastack.metrics().sum("lastack_connections_closed_total", reason=reason)


@pytest.mark.sanitizer
@pytest.mark.parametrize("scheme", ["NTLM", "Negotiate"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_connection_is_one_users(run, scheme, workers):
    server = Guarded(run, scheme)
    lastack, port = run.front([server.origin], pool={"max": 8, "tunnels": 4}, workers=workers)
    with Client(port) as ann, Client(port) as bob, Client(port) as eve:
        sign_in(ann, "ann", "/ann", scheme)
        sign_in(bob, "bob", "/bob", scheme)
        assert pinned(lastack) == 2
        for n in range(scale(50, 1000)):
            assert ann.ask("/ann").body == b"user=ann"
            assert eve.ask("/open").body == b"user=nobody"
            assert bob.ask("/bob").body == b"user=bob"
            if n % 10 == 0:
                assert get(port, "/open").body == b"user=nobody"
        assert server.connection_of("/ann") != server.connection_of("/bob")
        assert lastack.status()["upstreams"][0]["servers"][0]["connections"]["pinned"] == 2
    until(lambda: ended(lastack, "pinned_end") == 2 and pinned(lastack) == 0, 5, "their connections to end with them")
    left = {server.connection_of("/ann"), server.connection_of("/bob")}
    for _ in range(20):
        assert get(port, "/open").body == b"user=nobody"
    assert not left & {n for n, t, _ in server.log if t == "/open"}, "nobody else was ever on them"


def test_a_challenge_binds_too(run):
    """Also before anybody has answered it."""
    server = Guarded(run)
    lastack, port = run.front([server.origin], workers=1)
    with Client(port) as one, Client(port) as two:
        assert one.ask("/one").status == 401
        assert pinned(lastack) == 1
        assert two.ask("/open").status == 200
        assert one.ask("/one").status == 401
    assert server.connection_of("/one") != server.connection_of("/open")
    until(lambda: ended(lastack, "pinned_end") == 1, 5, "its end")


def test_pipelined(run):
    server = Guarded(run)
    _, port = run.front([server.origin], workers=1)
    with Client(port) as c:
        sign_in(c, "ann")
        c.send(b"".join(request("/in") for _ in range(20)))
        assert [c.final().body for _ in range(20)] == [b"user=ann"] * 20
    server.connection_of("/in")


@pytest.mark.parametrize("headers", ["Authorization: Basic eDp5\r\n", "Authorization: NTLMish x\r\n", "Proxy-Authorization: NTLM x\r\n"])
def test_other_schemes_share(run, headers):
    origin = run.origin()
    lastack, port = run.front([origin], workers=1)
    for _ in range(3):
        assert get(port, headers=headers).status == 200
    assert len(origin.connections) == 1 and pinned(lastack) == 0


def test_a_short_client_leaves_nothing_behind(run):
    server = Guarded(run)
    lastack, port = run.front([server.origin], pool={"max": 1, "tunnels": 1}, workers=1)
    for n in range(1, 11):
        assert get(port, "/x").status == 401  # Connection: close
        until(lambda n=n: ended(lastack, "pinned_end") == n, 5, "its connection to end")
    assert len(server.origin.connections) == 10
    assert get(port, "/open").status == 200


def test_over_pool_tunnels(run):
    server = Guarded(run)
    lastack, port = run.front([server.origin], pool={"max": 4, "tunnels": 1}, workers=1)
    with Client(port) as ann, Client(port) as bob:
        sign_in(ann, "ann")
        r = bob.ask("/bob", headers="Authorization: NTLM first\r\n")
        assert r.status == 503 and "tunnels_full" in r.get("Proxy-Status")
        assert bob.ask("/bob").status == 401, "a challenge goes through"
        assert bob.ask("/open").body == b"user=nobody"
        assert server.connection_of("/bob") != server.connection_of("/open"), "its connection has served nobody else"
        assert ann.ask("/in").body == b"user=ann"
        ann.close()
        until(lambda: pinned(lastack) == 0, 5, "the place")
        sign_in(bob, "bob", "/in2")
    until(lambda: lastack.status()["upstreams"][0]["servers"][0]["places"]["tunnels"] == 0, 5, "all places to be back")


def test_the_server_hangs_up(run):
    server = Guarded(run)
    lastack, port = run.front([server.origin], workers=1)
    with Client(port) as c:
        sign_in(c, "ann")
        assert c.ask("/hang-up").body == b"bye"
        until(lambda: pinned(lastack) == 0, 5, "the pin to end")
        assert c.ask("/in").status == 401, "nobody on the next connection"
        sign_in(c, "ann", "/again")
    assert lastack.metrics().sum("lastack_connections_closed_total", by="backend") == 1


def test_bytes_on_a_pinned_connection(run):
    """Nobody asked for them: it ends, and they are nobody's answer."""
    def serve(c):
        c.request()
        c.reply(401, b"", "WWW-Authenticate: NTLM\r\n")
        c.reply(200, b"stolen")
        c.fill()
    origin = run.origin(serve)
    lastack, port = run.front([origin], workers=1)
    with Client(port) as c:
        assert c.ask("/").status == 401
        until(lambda: ended(lastack, "unexpected_bytes") == 1, 5, "its end")
        assert c.ask("/").status == 401
    assert len(origin.connections) == 2


def test_the_client_leaves_during_an_exchange(run):
    """The response is read off, but the connection is nobody's any more."""
    went, go_on = [], []

    def serve(c):
        while (r := c.request()):
            if r.target == "/slow":
                went.append(1)
                until(lambda: go_on, 10, "the client to be gone")
            c.reply(200, b"user=ann")
    origin = run.origin(serve)
    lastack, port = run.front([origin], workers=1)
    with Client(port) as c:
        assert c.ask("/", headers="Authorization: Negotiate x\r\n").status == 200
        c.send(request("/slow"))
        until(lambda: went, 5, "the request")
    until(lambda: lastack.metrics().sum("lastack_client_connections") == 0, 5, "the client to be gone")
    go_on.append(1)
    until(lambda: ended(lastack, "pinned_end") == 1, 5, "its end")
    assert get(port, "/other").status == 200
    assert len(origin.connections) == 2 and origin.requests[-1][0] == 1


def test_two_upstreams(run):
    """A client's pin is for one upstream: others are served from their pools, and the last one bound stays."""
    one, two, plain = Guarded(run), Guarded(run), run.origin()
    port = proxy.free_port()
    lastack = run.proxy(proxy.config({"one": {"servers": [one.origin.text]}, "two": {"servers": [two.origin.text]}, "plain": {"servers": [plain.text]}},
                                     [{"name": "web", "address": f"127.0.0.1:{port}"}], workers=1,
                                     routes=[{"path": "/1", "upstream": "one"}, {"path": "/2", "upstream": "two"}, {"path": "/", "upstream": "plain"}]))
    with Client(port) as c:
        sign_in(c, "ann", "/1")
        assert c.ask("/").body == b"hello"
        assert c.ask("/1").body == b"user=ann"
        sign_in(c, "ann", "/2")
        assert c.ask("/2").body == b"user=ann" and pinned(lastack) == 1
        assert c.ask("/1").status == 401, "that one was let go"


def test_upgrade_on_a_pinned_connection(run):
    def serve(c):
        while (r := c.request()):
            if r.get("Upgrade"):
                c.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi")
                c.to_end()
                return
            c.reply(200, b"in")
    origin = run.origin(serve)
    port = proxy.free_port()
    lastack = run.proxy(proxy.config({"app": {"servers": [origin.text], "pool": {"max": 4, "tunnels": 2}}}, [{"name": "web", "address": f"127.0.0.1:{port}"}],
                                     routes=[{"path": "/", "upstream": "app", "upgrade": ["websocket"]}], workers=1))
    with Client(port) as c:
        assert c.ask("/", headers="Authorization: NTLM x\r\n").status == 200
        c.send(request("/", headers="Connection: Upgrade\r\nUpgrade: websocket\r\n"))
        assert c.response().status == 101 and c.exactly(2) == b"hi"
        assert len(origin.connections) == 1
        assert lastack.metrics().sum("lastack_connections", state="tunnel") == 1 and pinned(lastack) == 0
    until(lambda: lastack.status()["upstreams"][0]["servers"][0]["places"]["tunnels"] == 0, 5, "all places to be back")


def test_reload_and_drain(run):
    """A reload keeps the pin; at the end it does not hold the process up."""
    server = Guarded(run)
    lastack, port = run.front([server.origin], workers=1)
    with Client(port) as c:
        sign_in(c, "ann")
        lastack.reload()
        assert c.ask("/in").body == b"user=ann"
        conf = dict(lastack.conf)
        conf["upstreams"] = {"app": {**conf["upstreams"]["app"], "connection_auth": "refuse"}}
        lastack.reload(conf)
        r = c.ask("/in")
        assert r.status == 502 and "connection_auth_required" in r.get("Proxy-Status")
        assert pinned(lastack) == 0
    assert lastack.stop() == 0


def test_refused(run):
    server = Guarded(run, more='WWW-Authenticate: Basic realm="a, NTLM b", Negotiate\r\n')
    lastack, port = run.front([server.origin], connection_auth="refuse", workers=1)
    with Client(port) as c:
        r = c.ask("/", headers="Authorization: NTLM first\r\n")
        assert r.status == 403 and "connection_auth_refused" in r.get("Proxy-Status")
        assert server.log == [], "it did not reach the server"
        r = c.ask("/")
        assert r.status == 401 and r.all("WWW-Authenticate") == ['Basic realm="a, NTLM b"']
        assert c.ask("/open").status == 200
    assert len(server.origin.connections) == 1 and pinned(lastack) == 0


def test_refused_and_nothing_else_offered(run):
    server = Guarded(run, more="WWW-Authenticate: negotiate abc==\r\n")
    _, port = run.front([server.origin], connection_auth="refuse", workers=1)
    with Client(port) as c:
        r = c.ask("/")
        assert r.status == 502 and "connection_auth_required" in r.get("Proxy-Status") and not r.all("WWW-Authenticate")
        assert c.ask("/open").status == 200


