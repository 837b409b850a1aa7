"""WebSocket between real clients and real servers (python3-websockets, node's ws): everything that the protocol has passes;
its connections are counted while they last, and their places come back."""
import asyncio
import contextlib
import json
import os
import subprocess
import threading

import pytest
import websockets

from harness import proxy, raw
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


def test_a_tunnel_that_is_silent_too_long(run):
    p, url = front(run, "python", timeouts={"tunnel": "1s"})

    async def go():
        async with connect(url) as ws:
            for _ in range(3):  # silence is what counts, not age
                await asyncio.sleep(0.5)
                assert await ask(ws, "still here") == "still here"
            await asyncio.wait_for(ws.wait_closed(), 20)
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
