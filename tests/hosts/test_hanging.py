"""Nobody is left hanging: no CLOSE_WAIT that lasts, and peers that vanish without a word are noticed."""
import time

import pytest

from common import LISTEN, start, target, upstream
from harness import raw
from harness.peers import clean
from harness.wait import scale, until

pytestmark = pytest.mark.sanitizer


def test_no_close_wait_lasts(run):
    """Backends that hang up after every few responses, after 50 ms idle, and clients that close first."""
    net = run.net()
    run.backend(host=net.backend, address=net.backends[0], port=9000, idle_ms=50, max_requests=5, faults={"close_after": 10})
    lastack = start(run, net, upstream(net, pool={"max": 16}))
    seconds = scale(6, 30)
    load = run.load(target(net), host=net.client, clients=32, duration_ms=seconds * 1000, gap_max_ms=100, keepalive=50,
                    keepalive_requests=10)
    first_seen = {}
    while load.running():
        now = time.monotonic()
        waiting = {(s.local_port, s.remote, s.remote_port) for s in net.proxy.sockets(("close-wait",))}
        first_seen = {key: first_seen.get(key, now) for key in waiting}
        worst = max((now - t for t in first_seen.values()), default=0)
        assert worst < 5, f"CLOSE_WAIT for {worst:.1f} s"
        time.sleep(0.1)
    clean(load.result())
    until(lambda: net.proxy.count("close-wait") == 0, 2, "no CLOSE_WAIT at the end")
    assert lastack.process.alive()


def test_backend_vanishes(run):
    net = run.net()
    back = run.backend(host=net.backend, address=net.backends[0], port=9000)
    lastack = start(run, net, upstream(net, pool={"max": 4}, timeouts={"user": "3s", "connect": "1s", "response": "60s"},
                                       queue={"length": 100, "timeout": "20s"}, retry={"max": 0}))
    clean(run.load(target(net), host=net.client, clients=4, requests=40).result())
    held = run.load(target(net), host=net.client, clients=4, requests=4, path="/?delay_ms=100000")
    until(lambda: back.stats()["busy"] == 4, 10, "4 requests with the backend")
    net.backend.link("b0", False)
    began = time.monotonic()
    until(lambda: net.proxy.count("established", to=net.backends[0]) == 0, 15, "the dead connections to be noticed")
    noticed = time.monotonic() - began
    assert noticed < 12, f"noticed after {noticed:.1f} s, timeouts.user is 3 s"
    result = held.result()
    assert result["status_5xx"] == 4, result
    net.backend.link("b0", True)
    back.reset_all()
    until(lambda: raw.get(LISTEN, address=net.PROXY, host=net.client).status == 200, 20, "service after the link's return")
    clean(run.load(target(net), host=net.client, clients=4, requests=4, path="/?delay_ms=300").result())
    assert back.stats()["busy_max"] >= 4, "all four places are back"
    assert lastack.metrics().sum("lastack_connections", upstream="app") <= 4


def test_client_vanishes(run):
    """One idle, one in the middle of an upload, one in the middle of a download."""
    net = run.net()
    back = run.backend(host=net.backend, address=net.backends[0], port=9000)
    start(run, net, upstream(net, pool={"max": 4}, buffer={"request_mode": "stream", "response_file": 0}),
          listener={"timeouts": {"head": "3s", "body": "3s", "keepalive": "3s", "write": "3s"}})
    idle = raw.Client(LISTEN, net.PROXY, net.client)
    assert idle.ask("/").status == 200
    upload = raw.Client(LISTEN, net.PROXY, net.client)
    upload.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n" + "x" * 1000)
    download = raw.Client(LISTEN, net.PROXY, net.client, receive_buffer=4096)
    download.send(raw.request("/?size=20000000"))
    assert download.fill()
    until(lambda: back.stats()["busy"] == 2, 10, "the upload and the download at the backend")
    net.client.link("c0", False)
    until(lambda: net.proxy.count("established", "close-wait", "fin-wait-1", "fin-wait-2", local_port=LISTEN) == 0, 20,
          "the proxy to notice that its clients are gone")
    until(lambda: back.stats()["busy"] == 0, 10, "their places to be given back")
    net.client.link("c0", True)
    clean(run.load(target(net), host=net.client, clients=4, requests=4, path="/?delay_ms=300").result())
    for c in (idle, upload, download):
        c.reset()
