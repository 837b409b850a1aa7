"""WebSocket between real clients and real servers (python3-websockets, node's ws): everything that the protocol has passes;
its connections are counted while they last, and their places come back."""
import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import threading

import pytest
import websockets

from harness import proxy, raw
from harness.certs import Authority, client_context
from harness.process import Process
from harness.proxy import ROOT, SLOW
from harness.wait import holds, until

NODE = {"NODE_PATH": "/usr/share/nodejs:/usr/lib/nodejs"}  # where Debian puts them, whoever's node it is
SCRIPT = os.path.join(ROOT, "tests/peers/websocket.js")
BIG = 64 << 20


class PythonServer:
    """The same manners as websocket.js."""

    def __init__(self):
        self.port, self.open, self.loop = proxy.free_port(), 0, asyncio.new_event_loop()
        ready = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self.thread.start()
        assert ready.wait(10)

    def _run(self, ready):
        asyncio.set_event_loop(self.loop)

        async def main():
            self.end = asyncio.Event()
            async with websockets.serve(self._serve, "127.0.0.1", self.port, max_size=BIG):
                ready.set()
                await self.end.wait()
        self.loop.run_until_complete(main())

    async def _serve(self, ws):
        self.open += 1
        try:
            async for message in ws:
                if message == "open?":
                    await ws.send(str(self.open))
                elif message == "ping me":
                    await (await ws.ping("are you there"))
                    await ws.send("ponged")
                elif message == "close me":
                    await ws.close(4001, "because")
                else:
                    await ws.send(message)
        finally:
            self.open -= 1

    def close(self):
        self.loop.call_soon_threadsafe(self.end.set)
        self.thread.join(10)


class NodeServer(Process):
    def __init__(self, directory):
        self.port = proxy.free_port()
        super().__init__(["node", SCRIPT, "server", self.port], directory, f"node-{self.port}", env=NODE)
        self.listening(self.port, 20 * SLOW)


def front(run, kind, upgrade=("websocket",), **app):
    """(proxy, url)"""
    server = run.own(PythonServer() if kind == "python" else NodeServer(run.folder("node")))
    port = proxy.free_port()
    conf = proxy.config({"app": {"servers": [f"127.0.0.1:{server.port}"], **app}}, [{"name": "web", "address": f"127.0.0.1:{port}"}],
                        routes=[{"host": "*", "path": "/", "upstream": "app", "upgrade": list(upgrade)}])
    return run.proxy(conf), f"ws://127.0.0.1:{port}/chat"


def connect(url):
    return websockets.connect(url, max_size=BIG, open_timeout=20)


def tunnels(p):
    """By the metrics and by the status page, which must agree."""
    def both():
        shown = [s["connections"]["tunnel"] for u in p.status()["upstreams"] for s in u["servers"]]
        counted = p.metrics().sum("lastack_connections", state="tunnel")
        return (counted,) if sum(shown) == counted else None
    return until(both, 5, "status and metrics to agree")[0]


async def ask(ws, message):
    await ws.send(message)
    return await asyncio.wait_for(ws.recv(), 20)


async def python_client(url):
    """The same talk as websocket.js."""
    out = {}
    async with connect(url) as ws:
        out["text"] = await ask(ws, "grüß dich")
        blob, long = os.urandom(1 << 20), "x" * (1 << 20)
        out["binary"] = await ask(ws, blob) == blob
        out["long_text"] = await ask(ws, long) == long
        out["many"] = sum([await ask(ws, str(i)) == str(i) for i in range(200)])
        await asyncio.wait_for(await ws.ping("12"), 20)
        out["pong"] = "12"
        out["ponged"] = await ask(ws, "ping me")
        await ws.close(4002, "mine")
        out["own_close"] = ws.close_code
    async with connect(url) as ws:
        await ws.send("close me")
        with contextlib.suppress(websockets.ConnectionClosed):
            await asyncio.wait_for(ws.recv(), 20)
        out["its_close"] = [ws.close_code, ws.close_reason]
    return out


def node_client(url):
    done = subprocess.run(["node", SCRIPT, "client", url], capture_output=True, text=True, timeout=60 * SLOW, env={**os.environ, **NODE})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.sanitizer
@pytest.mark.parametrize("client", ["python", "node"])
@pytest.mark.parametrize("server", ["python", "node"])
def test_a_whole_conversation(run, server, client):
    p, url = front(run, server)
    seen = asyncio.run(python_client(url)) if client == "python" else node_client(url)
    assert seen == {"text": "grüß dich", "binary": True, "long_text": True, "many": 200, "pong": "12", "ponged": "ponged",
                    "own_close": 4002, "its_close": [4001, "because"]}
    until(lambda: tunnels(p) == 0, 10, "both tunnels to have ended")
    until(lambda: p.metrics().sum("lastack_client_connections") == 0, 10, "both clients to be gone")
    m = p.metrics()
    assert m.sum("lastack_requests_total", code="101") == 2 == m.sum("lastack_connections_opened_total")
    by = m.by("lastack_connections_closed_total", "by", reason="tunnel_end")
    assert m.sum("lastack_connections_closed_total") == sum(by.values()) == 2
    if client == "python":  # it lets the server hang up first, as RFC 6455 7.1.1 asks; ws does not wait for that
        assert by["backend"] == 2, by
    lines = until(lambda: len(found := p.access()) == 2 and found, 10, "two lines in the access log")
    assert {(x["method"], x["target"], x["status"], x["upstream"]) for x in lines} == {("GET", "/chat", 101, "app")}
    assert max(x["bytes_in"] for x in lines) > 1 << 20 and max(x["bytes_out"] for x in lines) > 1000


@pytest.mark.sanitizer
@pytest.mark.parametrize("server", ["python", "node"])
def test_tunnels_are_counted_and_their_places_come_back(run, server):
    p, url = front(run, server, pool={"max": 4, "tunnels": 3})

    async def go():
        held = [await connect(url) for _ in range(3)]
        assert await ask(held[0], "open?") == "3", "as the server counts"
        assert await asyncio.to_thread(tunnels, p) == 3
        assert p.metrics().sum("lastack_connections") == 3, "a tunnel is in no other state"
        with pytest.raises(websockets.InvalidStatusCode) as refused:
            await connect(url)
        assert refused.value.status_code == 503
        for end in ("client", "server", "cut"):  # three ways to end one, and another takes its place each time
            old = held.pop(0)
            if end == "client":
                await old.close()
            elif end == "server":
                await old.send("close me")
                await asyncio.wait_for(old.wait_closed(), 20)
            else:
                old.transport.abort()
            await asyncio.to_thread(until, lambda: tunnels(p) == 2, 10, f"the tunnel that the {end} ended to be over")
            held.append(await connect(url))
            await asyncio.to_thread(until, lambda: tunnels(p) == 3, 10, "the next tunnel")
        assert await ask(held[0], "open?") == "3"
        for ws in held:
            await ws.close()
    asyncio.run(go())
    until(lambda: tunnels(p) == 0, 10, "all tunnels to have ended")
    by = p.metrics().by("lastack_connections_closed_total", "by", reason="tunnel_end")
    assert by == {"backend": 5, "proxy": 1}, "the one whose client was cut off ended from our side"


@pytest.mark.sanitizer
def test_many_tunnels_at_once(run):
    p, url = front(run, "python", pool={"max": 60, "tunnels": 50})

    async def one(n):
        async with connect(url) as ws:
            for i in range(10):
                blob = bytes([n]) * (1000 * n + i)
                assert await ask(ws, blob) == blob
            return int(await ask(ws, "open?"))

    async def go():
        return await asyncio.gather(*[one(n) for n in range(50)])
    assert max(asyncio.run(go())) <= 50
    until(lambda: tunnels(p) == 0, 10, "all tunnels to have ended")


def test_only_where_the_route_allows_it(run):
    _, url = front(run, "python", upgrade=())
    with pytest.raises(websockets.InvalidStatusCode) as refused:
        asyncio.run(connect_once(url))
    assert refused.value.status_code == 426, "the server's own answer to a plain request"


async def connect_once(url):
    async with connect(url):
        pass


def test_a_client_that_is_late_for_its_upgrade(run):
    """An answer just before it fills what the kernel takes for this client: nothing of the 101 and what follows is lost."""
    switched = threading.Event()

    def handler(c):
        while (r := c.request()):
            if r.get("Upgrade"):
                c.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
                switched.set()
                c.to_end()
                return
            c.reply(200, b"x" * int(r.target[1:]))
    origin, port = run.origin(handler), proxy.free_port()
    run.proxy(proxy.config({"app": {"servers": [origin.text], "pool": {"tunnels": 64, "max": 64}}},
                           [{"name": "web", "address": f"127.0.0.1:{port}"}], workers=1,
                           routes=[{"path": "/", "upstream": "app", "upgrade": ["websocket"]}]))
    upgrade = raw.request("/up", headers="Connection: Upgrade\r\nUpgrade: websocket\r\n")
    most, size = 0, 1 << 22  # what the kernel takes: searched for by halves
    while size - most > 1:
        middle = (most + size) // 2
        switched.clear()
        with raw.Client(port, receive_buffer=4096) as c:
            c.send(raw.request(f"/{middle}") + upgrade)
            if switched.wait(0.05 * SLOW):
                most = middle
            else:
                size = middle
            assert len(c.final().body) == middle
            assert c.response().status == 101 and c.exactly(5) == b"hello"


def test_a_tunnel_that_is_silent_too_long(run):
    p, url = front(run, "python", timeouts={"tunnel": "3s"})

    async def go():
        async with connect(url) as ws:
            for _ in range(3):  # silence is what counts, not age
                await asyncio.sleep(1.2)
                assert await ask(ws, "still here") == "still here"
            await asyncio.wait_for(ws.wait_closed(), 20)
    asyncio.run(go())
    until(lambda: tunnels(p) == 0, 10, "the tunnel to have ended")


def test_a_tunnel_without_a_limit(run):
    p, url = front(run, "python", timeouts={"tunnel": 0})

    async def go():
        async with connect(url) as ws:
            for _ in range(3):
                assert await ask(ws, "still here") == "still here"
                await asyncio.sleep(0.1)
    asyncio.run(go())
    until(lambda: tunnels(p) == 0, 10, "the tunnel to have ended")


@pytest.mark.sanitizer
def test_reload_and_drain_leave_a_tunnel_its_time(run):
    p, url = front(run, "python", pool={"max": 4, "tunnels": 2})
    p.write({**p.conf, "drain_timeout": "2s"})
    p.reload()

    async def go():
        async with connect(url) as ws:
            changed = json.loads(json.dumps(p.conf))
            changed["upstreams"]["app"]["pool"]["max"] = 3
            await asyncio.to_thread(p.reload, changed)
            assert await ask(ws, "after the reload") == "after the reload"
            assert await asyncio.to_thread(tunnels, p) == 1
            ending = asyncio.create_task(asyncio.to_thread(p.stop))
            assert await ask(ws, "while it drains") == "while it drains"
            await asyncio.wait_for(ws.wait_closed(), 30 * SLOW)
            assert await ending == 0
    asyncio.run(go())
    assert [x["status"] for x in p.access()] == [101]


@pytest.mark.parametrize("upgrade", [(), ("websocket",)], ids=["no_upgrades", "websocket_only"])
def test_h2c_never(run, upgrade):
    origin = run.origin()
    port = proxy.free_port()
    run.proxy(proxy.config({"app": {"servers": [origin.text]}}, [{"name": "web", "address": f"127.0.0.1:{port}"}],
                           routes=[{"host": "*", "path": "/", "upstream": "app", "upgrade": list(upgrade)}]))
    out = subprocess.run(["curl", "-sS", "--http2", "-w", " %{http_version} %{http_code}", f"http://127.0.0.1:{port}/"],
                         capture_output=True, text=True, timeout=30)
    assert (out.returncode, out.stdout) == (0, "hello 1.1 200"), out
    for name in ("Upgrade", "HTTP2-Settings", "Connection"):
        assert origin.last.get(name) is None, name
    for value in ("h2c, websocket", "websocket, h2c"):
        assert raw.get(port, headers=f"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: {value}\r\nHTTP2-Settings: AAMAAABk\r\n").status == 200
        assert origin.last.get("Upgrade") is None
    seen = len(origin.requests)
    out = subprocess.run(["curl", "-s", "--http2-prior-knowledge", f"http://127.0.0.1:{port}/"], capture_output=True, timeout=30)
    assert out.returncode != 0
    holds(lambda: len(origin.requests) == seen, 0.2, "nothing of it reached the server")


SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-One: 1\r\nX-Two: " + b"2" * 300 + b"\r\n\r\n"


UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
ROUTES = [{"host": "*", "path": "/chat", "upstream": "app", "upgrade": ["websocket"]}]


def switched(run, *pieces, **top):
    """What a client has of these pieces of a server: each has been read before the next one is sent."""
    gate = []

    def serve(connection):
        connection.request()
        for piece in pieces:
            assert gate[0].ask("/gate").status == 404  # in order: the only worker has read what came before
            connection.send(piece)
        connection.to_end()
    port = proxy.free_port()
    run.proxy(proxy.config({"app": {"servers": [run.origin(serve).text]}}, [{"name": "web", "address": f"127.0.0.1:{port}"}], workers=1,
                           routes=ROUTES, **top))
    gate.append(run.own(raw.Client(port)))
    with raw.Client(port) as c:
        c.send(raw.request("/chat", headers=UPGRADE))
        answer = c.response()
        early = b"".join(pieces)[len(SWITCH):]
        return answer.status, answer.headers, c.exactly(len(early)) == early


SWITCHED = (101, [("X-One", "1"), ("X-Two", "2" * 300), ("Via", "1.1 lastack"), ("Connection", "Upgrade"), ("Upgrade", "websocket")], True)


@pytest.mark.sanitizer
@pytest.mark.parametrize("cut", [1, 60, 140, len(SWITCH) - 1, len(SWITCH)])
def test_a_101_that_comes_in_pieces(run, cut):
    assert switched(run, SWITCH[:cut], SWITCH[cut:] + b"early bytes") == SWITCHED


def test_more_behind_a_101_than_a_buffer_holds(run):
    assert switched(run, SWITCH + os.urandom(60 << 10), limits={"header_bytes": "4KiB"}) == SWITCHED


@pytest.mark.sanitizer
def test_one_tunnel_too_many_where_a_connection_idles(run):
    """It is refused in the same moment in which it is given its connection, which goes on serving others."""
    def serve(connection):
        while (request := connection.request()):
            connection.send(SWITCH if request.get("Upgrade") else raw.response())
    origin, port = run.origin(serve), proxy.free_port()
    p = run.proxy(proxy.config({"app": {"servers": [origin.text], "pool": {"max": 4, "tunnels": 1}}},
                               [{"name": "web", "address": f"127.0.0.1:{port}"}], workers=1, routes=ROUTES))
    with raw.Client(port) as held:
        held.send(raw.request("/chat", headers=UPGRADE))
        assert held.response().status == 101
        for _ in range(3):
            assert raw.get(port, "/chat").status == 200
            with raw.Client(port) as c:
                c.send(raw.request("/chat", headers=UPGRADE))
                assert c.response().status == 503
    assert len(origin.connections) == 2
    assert p.metrics().sum("lastack_errors_total", cause="tunnels_full") == 3


@pytest.mark.sanitizer
def test_tunnels_count_when_a_reload_replaces_their_server(run):
    """pool.tunnels keeps places for requests, also while tunnels of the server before are open."""
    def serve(connection):
        while (request := connection.request()):
            connection.send(SWITCH if request.get("Upgrade") else raw.response())
    origin, port = run.origin(serve), proxy.free_port()
    app = {"servers": [origin.text], "pool": {"max": 2, "tunnels": 1}}
    p = run.proxy(proxy.config({"app": app}, [{"name": "web", "address": f"127.0.0.1:{port}"}], routes=ROUTES))
    with raw.Client(port) as held, raw.Client(port) as second:
        held.send(raw.request("/chat", headers=UPGRADE))
        assert held.response().status == 101
        p.reload({**p.conf, "upstreams": {"app": {**app, "source": ["127.0.0.1"]}}})
        second.send(raw.request("/chat", headers=UPGRADE))
        assert second.response().status == 503
        assert raw.get(port, "/chat").status == 200
        assert p.status()["upstreams"][0]["servers"][0]["places"]["tunnels"] == 1
    until(lambda: p.status()["upstreams"][0]["servers"][0]["places"]["tunnels"] == 0, 10, "the tunnel to have ended")


def test_one_tunnel_too_many_on_a_connection_that_was_to_be_its_last(run):
    """Nothing was said on it, so its server would not know that it is to hang up."""
    def serve(connection):
        while connection.request():
            connection.send(SWITCH)
    origin, port = run.origin(serve), proxy.free_port()
    p = run.proxy(proxy.config({"app": {"servers": [origin.text], "pool": {"max": 4, "tunnels": 1, "max_requests": 1, "goodbye_timeout": "60s"}}},
                               [{"name": "web", "address": f"127.0.0.1:{port}"}], workers=1, routes=ROUTES))
    with raw.Client(port) as held, raw.Client(port) as c:
        held.send(raw.request("/chat", headers=UPGRADE))
        assert held.response().status == 101
        c.send(raw.request("/chat", headers=UPGRADE))
        assert c.response().status == 503
        until(lambda: p.metrics().sum("lastack_connections_closed_total", by="proxy", reason="aborted_exchange") == 1, 10, "its end")
        assert p.metrics().sum("lastack_connections") == 1


@contextlib.contextmanager
def tunnel(run, serve, **client):
    """(proxy, client) after the 101; then serve(connection) has the server's side."""
    def handler(connection):
        connection.request()
        connection.send(SWITCH)
        serve(connection)
    port = proxy.free_port()
    listener = {"name": "web", "address": f"127.0.0.1:{port}"}
    if "tls" in client:
        pair = Authority(run.folder("ca")).issue()
        listener["tls"] = {"certificates": [pair.conf]}
    p = run.proxy(proxy.config({"app": {"servers": [run.origin(handler).text]}}, [listener], workers=1, routes=ROUTES))
    with raw.Client(port, **client) as c:
        c.send(raw.request("/chat", headers=UPGRADE))
        assert c.response().status == 101
        yield p, c


@pytest.mark.parametrize("size", [1, 40000, 80000, 120000])
def test_a_fin_behind_much(run, size):
    """However much of it is there at once, what is behind it is passed on."""
    go, sent, data = threading.Event(), threading.Event(), os.urandom(size)

    def serve(connection):
        go.wait(20)
        connection.send(data)
        connection.sock.shutdown(socket.SHUT_WR)
        sent.set()
        connection.to_end()
    with tunnel(run, serve, receive_buffer=1 << 20) as (p, c):
        p.process.signal(signal.SIGSTOP)
        go.set()
        sent.wait(5)  # more than the sockets take is sent later
        p.process.signal(signal.SIGCONT)
        assert c.to_end() == data


@pytest.mark.sanitizer
def test_a_client_that_leaves_without_a_close_notify(run):
    """As browsers do. What it said arrives, and the end behind it is no reset, whatever the server still says."""
    read, got, data = threading.Event(), [], os.urandom(50000)

    def serve(connection):
        read.wait(20)
        try:
            connection.send(b"more")
            got.append(connection.to_end())
        except ConnectionError as error:
            got.append(error)
    with tunnel(run, serve, tls=client_context()) as (p, c):
        c.send(data)
        socket.socket(fileno=os.dup(c.sock.fileno())).shutdown(socket.SHUT_WR)
        until(lambda: p.metrics().sum("lastack_connections", state="tunnel") == 0, 10, "the tunnel's end")
        read.set()
        assert until(lambda: got, 10, "the server to be done") == [data]
        until(lambda: p.metrics().sum("lastack_connections") == 0, 10, "the connection's end")
        assert p.metrics().sum("lastack_connections_closed_total", by="proxy", reason="tunnel_end") == 1
