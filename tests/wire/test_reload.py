"""Reload under load: nobody notices, nothing grows, the connections to the servers stay."""
import copy
import json
import socket
import time

import pytest

from harness import memcached
from harness.peers import clean
from harness.proxy import KIND
from harness.raw import Client, get, request
from harness.wait import holds, scale, until

RELOADS = scale(20, 100)
WARM = 8
MIB = 1 << 20


def reload_all(proxy, conf, times):
    for n in range(times):
        conf["upstreams"]["app"]["timeouts"] = {"response": f"{30 + n % 2}s"}
        proxy.reload(conf)


def test_reload_under_load(run):
    backend = run.backend(delay_us=1000)
    proxy, port = run.front([backend], workers=4, pool={"max": 8})
    load = run.load(port, clients=64, keepalive=50, duration_ms=600000)
    conf = copy.deepcopy(proxy.conf)
    reload_all(proxy, conf, WARM)
    until(lambda: backend.stats()["requests"] > 2000, 20, "the load")
    accepted, sockets, memory = backend.stats()["accepted"], backend.stats()["open"], proxy.process.rss()
    reload_all(proxy, conf, RELOADS)
    grown = proxy.process.rss() - memory
    requests = backend.stats()["requests"]
    until(lambda: backend.stats()["requests"] > requests + 500, 20, "the load to go on")
    assert proxy.reloads("error") == 0
    clean(load.stop())
    seen = backend.stats()
    assert seen["accepted"] == accepted and seen["open"] == sockets, "the pool was kept"
    assert seen["over_cap"] == 0 and seen["open_max"] <= 8
    if KIND == "release":
        assert grown < 2 * MIB, f"{RELOADS} reloads: {grown / MIB:.1f} MiB more"


def test_descriptors_do_not_grow(run):
    """Counted at rest: the same connections, the same listeners, the same files after every reload."""
    backend = run.backend()
    proxy, port = run.front([backend], workers=4, pool={"max": 8})
    conf = copy.deepcopy(proxy.conf)

    def at_rest():
        clean(run.load(port, clients=32, keepalive=50, requests=500).result())
        until(lambda: proxy.metrics().sum("lastack_client_connections") == 0, 5, "all clients to leave")
        # The least of many looks: the admin listener and the port ledger open one for a moment now and then.
        end, least = time.monotonic() + 0.5, 1 << 30
        while time.monotonic() < end:
            least = min(least, proxy.process.descriptors() - backend.stats()["open"])
        return least

    reload_all(proxy, conf, WARM)
    before = at_rest()
    reload_all(proxy, conf, RELOADS)
    after = at_rest()
    assert after <= before, f"{before} descriptors before, {after} after {RELOADS} reloads"


def test_a_bad_file_changes_nothing(run):
    backend = run.backend()
    proxy, port = run.front([backend], pool={"max": 8})
    load = run.load(port, clients=16, keepalive=50, duration_ms=600000)
    good = copy.deepcopy(proxy.conf)
    for _ in range(5):
        proxy.reload({**good, "upstreams": {"app": {"servers": [backend.text], "pool": {"max": -1}}}}, expect="failure")
    requests = backend.stats()["requests"]
    holds(lambda: load.running(), 0.2, "the load")
    until(lambda: backend.stats()["requests"] > requests + 200, 10, "the load to go on")
    clean(load.stop())
    assert backend.stats()["open_max"] <= 8
    proxy.reload(good)


def test_an_upstream_that_goes_with_requests_behind_the_waiting(run):
    """A pipelined request follows one that waits for an upstream which a reload takes away: the first fails, the next goes to the
    new one."""
    slow, fast = run.backend(delay_us=60000000), run.backend()
    proxy, port = run.front([slow], workers=1, pool={"max": 1}, timeouts={"response": "60s"})
    with Client(port) as first, Client(port) as second:
        first.send(request("/working"))
        until(lambda: slow.stats()["requests"] == 1, 5, "the only connection to be at work")
        second.send(request("/waiting") + request("/behind"))
        until(lambda: proxy.metrics().sum("lastack_queue_length") == 1, 5, "the next one to wait")
        conf = copy.deepcopy(proxy.conf)
        conf["upstreams"] = {"other": conf["upstreams"]["app"] | {"servers": [fast.text]}}
        conf["listen"][0]["upstream"] = "other"
        proxy.reload(conf)
        assert second.final().status in (502, 503)
        assert second.final().status == 200


def silent_server(run):
    """A socket on loopback whose backlog is full: a SYN is not answered."""
    listener = run.own(socket.create_server(("127.0.0.1", 0), backlog=0))
    for _ in range(3):
        s = run.own(socket.socket())
        s.setblocking(False)
        s.connect_ex(listener.getsockname())
    return "127.0.0.1:%d" % listener.getsockname()[1]


@pytest.mark.sanitizer
@pytest.mark.parametrize("before,after", [("least_connections", "hash"), ("hash", "least_connections")])
def test_reload_while_dials_are_under_way(run, before, after):
    """Where requests wait may change with the configuration, while connections to a server that does not answer are on the way;
    and then the server goes: its dials are nobody's any more, and the requests go to the one that takes its place."""
    good = run.backend()
    proxy, port = run.front([silent_server(run)], workers=1, balance=before, hash_key="client", timeouts={"connect": "2s"}, retry={"max": 0})
    clients = [run.own(Client(port)) for _ in range(3)]
    for c in clients:
        c.send(request("/"))
    until(lambda: proxy.metrics().sum("lastack_connections", state="dialing") == 3, 5, "the dials")
    conf = copy.deepcopy(proxy.conf)
    conf["upstreams"]["app"]["balance"] = after
    proxy.reload(conf)
    assert proxy.metrics().sum("lastack_connections", state="dialing") == 3
    conf["upstreams"]["app"]["servers"] = [good.text]
    proxy.reload(conf)
    assert [c.final().status for c in clients] == [200] * 3
    until(lambda: proxy.metrics().sum("lastack_connections", state="dialing") == 0, 10, "the dials to end")
    clients[0].send(request("/"))
    assert clients[0].final().status == 200


@pytest.mark.sanitizer
def test_a_listener_that_changes_its_protocol(run):
    """Clients of the old one are let go as when their listener goes; the socket takes those of the new one, and back again."""
    cache, = memcached.start(run)
    proxy, port = run.front([run.backend()], workers=2)
    http = copy.deepcopy(proxy.conf)
    other = copy.deepcopy(proxy.conf)
    other["upstreams"] = {"cache": {"protocol": "memcached", "servers": [cache.text]}}
    other["listen"] = [{"name": http["listen"][0].get("name", "web"), "address": f"127.0.0.1:{port}", "protocol": "memcached", "upstream": "cache"}]
    for _ in range(2):
        with Client(port) as idle, Client(port) as half:
            idle.send(request("/"))
            assert idle.final().status == 200
            half.send("GET / HT")
            proxy.reload(other)
            assert idle.at_end()
            with memcached.Client(port) as c, memcached.Client(port) as d:
                assert c.set(b"a", b"1") == b"STORED\r\n"
                d.send(b"get a")
                json.loads(proxy.admin("/api/v1/connections")[2])
                proxy.reload(http)
                assert c.rest() == b""
        assert get(port).status == 200
