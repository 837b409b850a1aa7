"""Several sources, few ports each: even use, other users of the same ports, and nothing left at all."""
import collections
import re
import socket
import time

from common import mine, start, target, upstream
from harness.peers import clean
from harness.proxy import SLOW
from harness.wait import scale, until

NO_PORT = re.compile(r"ip_local_port_range|local port|source address", re.I)


def by_source(net, lastack):
    return collections.Counter(s.local for s in mine(net, lastack, "established"))


def hold(run, net, connections, seconds):
    """A load that keeps this many requests with the backend for so many seconds."""
    return run.load(target(net), host=net.client, clients=connections, requests=connections,
                    path=f"/?delay_ms={int(seconds * 1000)}")


def fill(net, source, many):
    """Another program's connections from this source: as many as it can get, at most `many`."""
    taken = []
    with net.proxy.inside():
        for _ in range(many):
            s = socket.socket()
            s.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
            s.settimeout(2)
            try:
                s.bind((source, 0))
                s.connect((net.backends[0], 9000))
            except OSError:
                s.close()
                break
            taken.append(s)
    return taken


def test_four_sources_of_fifty_ports(run):
    net = run.net(ports=50, sources=4)
    backend = run.backend(host=net.backend, address=net.backends[0], port=9000)
    lastack = start(run, net, upstream(net, pool={"max": 160}))
    load = hold(run, net, 160, 2.5)
    until(lambda: len(mine(net, lastack, "established")) == 160, 10, "160 connections")
    counts = by_source(net, lastack)
    assert sorted(counts) == sorted(net.sources) and all(39 <= n <= 41 for n in counts.values()), counts
    clean(load.result())

    # Someone else takes what is left of the first source, then everything of it.
    taken = fill(net, net.sources[0], 50)
    assert len(taken) >= 9
    backend.close_idle()
    until(lambda: len(mine(net, lastack, "established")) == 0, 10, "no connection of the proxy's")
    taken += fill(net, net.sources[0], 60 - len(taken))
    assert len(taken) == 50, "the first source's ports are all taken by another program"
    load = hold(run, net, 140, 2.5)
    until(lambda: backend.stats()["busy"] == 140, 10, "140 connections over the other sources")
    counts = by_source(net, lastack)
    assert counts[net.sources[0]] == 0 and all(n <= 50 for n in counts.values()), counts
    until(lambda: lastack.metrics().sum("lastack_ports", source=net.sources[0], state="foreign") >= 45, 15, "the ledger to say foreign")
    clean(load.result())
    for s in taken:
        s.close()


def test_all_ports_gone(run):
    net = run.net(ports=50)
    backend = run.backend(host=net.backend, address=net.backends[0], port=9000, delay_us=5000)
    lastack = start(run, net, upstream(net, pool={"max": 64}))
    seconds = scale(6, 45)
    began = time.monotonic()
    load = run.load(target(net), host=net.client, clients=256, duration_ms=seconds * 1000)
    until(lambda: len(mine(net, lastack, "established")) == 50, 10, "all 50 ports in use")
    clean(load.result())
    elapsed = time.monotonic() - began
    assert backend.stats()["open_max"] == 50
    assert len(mine(net, lastack, "established")) == 50, "and it kept them"
    lines = [line for line in lastack.log().splitlines() if NO_PORT.search(line)]
    assert 1 <= len(lines) <= elapsed / 10 + 2, lines
    assert any("ip_local_port_range" in line or "source" in line for line in lines), f"says what to do: {lines}"
    assert lastack.metrics().sum("lastack_server_up", upstream="app") == 1, "never blamed on the server"


def test_a_port_range_of_a_source_is_kept(run):
    """Inside and outside of the sysctl range."""
    for low, high in ((40010, 40019), (50000, 50009)):
        net = run.net(ports=100)
        run.backend(host=net.backend, address=net.backends[0], port=9000)
        lastack = start(run, net, {**upstream(net, pool={"max": 10}), "source": [f"{net.sources[0]}:{low}-{high}"]})
        load = hold(run, net, 10, 1)
        until(lambda: len(mine(net, lastack, "established")) == 10, 10, "10 connections")
        used = {s.local_port for s in mine(net, lastack, "established")}
        assert used == set(range(low, high + 1)), used
        clean(load.result())
        lastack.stop()


def test_two_destinations_do_not_share_the_ports(run):
    """50 ports are 50 for each destination (IP_BIND_ADDRESS_NO_PORT)."""
    net = run.net(ports=50, backends=2)
    for address in net.backends:
        run.backend(host=net.backend, address=address, port=9000)
    app = {**upstream(net, pool={"max": 50}, balance="round_robin"), "servers": [f"{a}:9000" for a in net.backends]}
    lastack = start(run, net, app)
    load = hold(run, net, 100, 2)
    until(lambda: net.proxy.count("established", port=9000) == 100, 10, "50 connections to each")
    for address in net.backends:
        assert net.proxy.count("established", to=address) == 50
    clean(load.result())
    assert lastack.process.alive()


def test_ipv6_source(run):
    net = run.net(v6=True)
    run.backend(host=net.backend, address="[fd77:2::100]", port=9000)
    start(run, net, {"servers": ["[fd77:2::100]:9000"], "source": ["fd77:2::1"], "pool": {"max": 4}})
    clean(run.load(target(net), host=net.client, clients=8, requests=200).result())
    assert {s.local for s in net.proxy.sockets(("established",), to="fd77:2::100")} == {"fd77:2::1"}


def test_sources_of_two_families(run):
    """Each server is dialed from those of its own."""
    net = run.net(v6=True, sources=2)
    for address in net.backends[0], "[fd77:2::100]":
        run.backend(host=net.backend, address=address, port=9000, delay_us=20000)
    lastack = start(run, net, {"servers": [f"{net.backends[0]}:9000", "[fd77:2::100]:9000"], "source": [*net.sources, "fd77:2::1"],
                               "pool": {"max": 6}, "balance": "round_robin"})
    clean(run.load(target(net), host=net.client, clients=12, requests=200).result())
    sources = {to: {s.local for s in net.proxy.sockets(("established",), to=to)} for to in (net.backends[0], "fd77:2::100")}
    assert sources == {net.backends[0]: set(net.sources), "fd77:2::100": {"fd77:2::1"}}
    m = lastack.metrics()
    assert m.sum("lastack_server_up") == 2 and m.sum("lastack_errors_total") == 0
    assert len(m.by("lastack_ports", "source")) == 3


def test_more_sources_than_sixty_four(run):
    """What other programs have taken shows at every one of them."""
    origin, sources = run.origin(), [f"127.0.0.{n + 1}" for n in range(66)]
    lastack, _ = run.front([origin], source=sources)
    for source in sources[::13]:
        run.own(socket.create_connection((origin.address, origin.port), source_address=(source, 0)))
    until(lambda: [lastack.metrics().sum("lastack_ports", source=s, state="foreign") for s in sources[::13]] == [1] * 6, 10 * SLOW,
          "the ledger to say foreign")


def test_a_wider_range_of_ports(run):
    """The sysctl that the log asks for takes effect at a reload; without a change the connections stay."""
    net = run.net(ports=10)
    backend = run.backend(host=net.backend, address=net.backends[0], port=9000)
    lastack = start(run, net, upstream(net, pool={"max": 30}, queue={"timeout": "30s"}))
    load = hold(run, net, 30, 2)
    until(lambda: backend.stats()["busy"] == 10, 10, "all ports in use")
    lastack.reload()  # no port is needed to see that the address is there
    clean(load.result())
    net.proxy.sysctl(net__ipv4__ip_local_port_range="40000 40049")
    for _ in range(2):
        lastack.reload()
        load = hold(run, net, 30, 2)
        until(lambda: backend.stats()["busy"] == 30, 10, "all places in use")
        clean(load.result())
    assert backend.stats()["open_max"] == 30 and backend.stats()["accepted"] <= 10 + 30
