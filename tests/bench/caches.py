"""memcached under measurement: the proxies in front of it, and one server alone, beside each other.

lastack and twemproxy stand in front of the same three servers, with the same placing (PHP's default) and as many connections to
each; "direct" is one server that the clients connect to themselves. The proxies have the first CPU, the servers and the load
the last one, as in the other rows, but for one user alone: with two CPUs each of a proxy's hops wakes the other CPU, and direct
none, so that it would be the machine's wake-ups that are measured. There everything has one CPU. Where servers work side by side,
or beside a client that moves large values, nothing is pinned: their fight for the last CPU would be measured, direct as well. (That
client, which stands for another host, is nice to the rest.)
"floor" is what a hop costs that does nothing: floor.c, for many keys split.c."""
import contextlib
import json
import os
import subprocess

import measure
from harness import memcached as mc
from harness import netns
from harness.process import Process
from harness.proxy import BIN, free_port
from harness.wait import until
import proxies
from proxies import fill, pinned, program

KEYS, SIZE, LARGE = 1000, 100, 1_000_000
SERVERS = 3


class Server(Process):
    def __init__(self, work, cpus, host=netns.HERE, address="127.0.0.1"):
        self.port, self.address = free_port(), address
        words = [mc.binary("memcached", "memcached"), "-u", "nobody", "-l", address, "-p", self.port, "-U", 0, "-m", 256, "-c", 4000,
                 "-t", 1, "-I", "2m"]
        super().__init__(pinned(cpus, words), work, f"memcached-{self.port}", host)
        self.listening(self.port)

    def close(self, grace=0):
        self.kill()


class Front(Process):
    """A proxy: its port, and the processes whose time it is."""

    def __init__(self, work, cpus, servers, name, words, port, host=netns.HERE):
        self.name, self.port, self.servers = name, port, servers
        super().__init__(pinned(cpus, words), work, name, host)
        self.listening(port)

    def pids(self):
        return [self.pid]


class Direct:
    name = "direct"

    def __init__(self, server):
        self.port, self.address, self.servers, self.log = server.port, server.address, [server], server.log

    def pids(self):
        return []


def lastack(work, cpus, servers, binary, pool, name="lastack", host=netns.HERE):
    port = free_port()
    conf = fill("lastack-memcached.yaml", os.path.join(work, f"{name}-{port}.yaml"), PORT=port, ADMIN=free_port(), POOL=pool,
                SERVERS=", ".join(f'"{s.address}:{s.port}"' for s in servers))
    return Front(work, cpus, servers, name, [binary or BIN, "run", conf], port, host)


def twemproxy(work, cpus, servers, pool, host=netns.HERE):
    port = free_port()
    conf = fill("nutcracker.yml", os.path.join(work, f"nutcracker-{port}.yml"), PORT=port, POOL=pool,
                SERVERS="\n".join(f"   - {s.address}:{s.port}:1" for s in servers))
    words = [mc.binary("nutcracker", "nutcracker"), "-c", conf, "-s", free_port(), "-m", 16384, "-v", 2]
    return Front(work, cpus, servers, "twemproxy", words, port, host)


class Floor(Front):
    def __init__(self, work, cpus, server):
        port = free_port()
        key = f"load:{SIZE}:0"  # the generator's first
        answer = len(f"VALUE {key} 0 {SIZE}\r\n") + SIZE + len("\r\nEND\r\n")
        super().__init__(work, cpus, [server], "floor", [program("bench_floor"), port, server.port, answer, "kept", f"ask=get {key}"], port)


class Split(Front):
    """The floor of a get of many keys; its servers hold all of them."""

    def __init__(self, work, cpus, servers):
        port = free_port()
        super().__init__(work, cpus, servers, "floor", [program("bench_split"), port, *(s.port for s in servers)], port)


def options_of(**options):
    """A page is a connection and 20 gets over it, one after the other; kept: the connection stays."""
    page = {} if options.get("kept") else dict(keepalive=100, keepalive_requests=20, close_first=True)
    return dict(memcached=True, keys=KEYS, value_bytes=SIZE, **page) | options


def load(bench, target, by=None, **options):
    found = (by or bench.load).run(target, **options_of(**options))
    if found["misses"]:
        raise RuntimeError(f"{target.name}: {options}: {found['misses']} misses")
    return {"gets": found["done"], **{f"get_{q}_us": found["latency_us"][q] for q in ("p50", "p99")},
            **{f"page_{q}_us": found["life_us"][q] for q in ("p50", "p99")}}


def store_all(bench, target, by=None, keys=KEYS):
    (by or bench.load).run(target, **options_of(kept=True, clients=1, requests=keys, keys=keys), fill=True)


@contextlib.contextmanager
def site(bench, pool=1, one_cpu=False, unpinned=False):
    """The targets, every key stored through each. one_cpu: and what a hop costs at least; all of it where the load is."""
    with contextlib.ExitStack() as stack:
        def own(thing):
            stack.callback(thing.close)
            return thing
        cpus, work = bench.cpus if unpinned else bench.load.cpus if one_cpu else bench.cpus[:1], bench.work
        servers_cpus = bench.cpus if unpinned else bench.load.cpus
        many = lambda: [own(Server(work, servers_cpus)) for _ in range(SERVERS)]
        targets = [own(lastack(work, cpus, many(), bench.binary["lastack"], pool))]
        if "before" in bench.options.peers:
            targets.append(own(lastack(work, cpus, many(), bench.binary["before"], pool, "before")))
        targets += [own(twemproxy(work, cpus, many(), pool)), Direct(own(Server(work, servers_cpus)))]
        for t in targets:
            store_all(bench, t)
        if one_cpu:
            targets.append(own(Floor(work, cpus, targets[-1].servers[0])))
        yield targets


def cpu_run(bench, target, **options):
    """One run: CPU time for each get, of the proxy and of its servers too, and the load's own figures."""
    servers = [s.pid for s in target.servers]
    a, b = measure.cpu(target.pids()), measure.cpu(servers)
    found = load(bench, target, **options)
    c, d = measure.cpu(target.pids()), measure.cpu(servers)
    found["cpu_us"] = (c[0] - a[0]) / found["gets"] / 1000
    found["all_us"] = found["cpu_us"] + (d[0] - b[0]) / found["gets"] / 1000
    return found


def add(bench, row, found, *metrics):
    for metric, unit, key in metrics:
        for name, runs in found.items():
            if name != "direct" or key != "cpu_us":
                bench.table.add(row, metric, unit, name, [r[key] for r in runs])


def measure_gets(bench, row, clients, **options):
    with site(bench) as targets:
        found = {t.name: [] for t in targets}
        for t in targets:
            load(bench, t, clients=clients, ms=200, **options)
        for t in bench.rounds(targets, bench.options.rounds):
            found[t.name].append(cpu_run(bench, t, clients=clients, ms=bench.ms, **options))
        for t in targets[:-1]:
            with measure.Syscalls(t.pids(), os.path.join(bench.work, f"strace-{t.name}-{t.port}")) as calls:
                n = load(bench, t, clients=clients, ms=bench.ms, **options)["gets"]
            bench.table.add(row, "syscalls", "per get", t.name, [sum(calls.calls.values()) / n])
    return found


def memcached_short(bench):
    """memcached: a page is a connection, 20 gets, close; through proxies and direct"""
    row = "memcached short"
    found = measure_gets(bench, row, 16)
    add(bench, row, found, ("cpu", "us per get", "cpu_us"), ("cpu with servers", "us per get", "all_us"),
        ("get p50", "us", "get_p50_us"), ("get p99", "us", "get_p99_us"), ("page p50", "us", "page_p50_us"), ("page p99", "us", "page_p99_us"))


def memcached_alone(bench):
    """memcached: one user alone on one CPU, always the same key; short pages, and gets over a kept connection"""
    row = "memcached alone"
    with site(bench, one_cpu=True) as targets:
        for options, quantile, metric in ((dict(), "page_p50_us", "page p50"), (dict(kept=1), "get_p50_us", "kept get p50")):
            found = {t.name: [] for t in targets}
            for t in bench.rounds(targets, bench.options.pairs):
                found[t.name].append(load(bench, t, clients=1, keys=1, ms=bench.ms, **options)[quantile])
            for name, runs in found.items():
                bench.table.add(row, metric, "us", name, runs)


def memcached_kept(bench):
    """memcached: clients that stay connected, one get after the other"""
    row = "memcached kept"
    add(bench, row, measure_gets(bench, row, 16, kept=1), ("cpu", "us per get", "cpu_us"), ("cpu with servers", "us per get", "all_us"),
        ("get p50", "us", "get_p50_us"), ("get p99", "us", "get_p99_us"))


def memcached_many(bench):
    """memcached: 1,000 keys in one get, over three servers; direct: from one; nothing pinned"""
    with site(bench, unpinned=True) as targets, contextlib.ExitStack() as stack:
        everywhere = proxies.Load(bench.cpus)
        servers = targets[0].servers
        for s in servers:
            store_all(bench, Direct(s))
        targets.append(Split(bench.work, bench.cpus, servers))
        stack.callback(targets[-1].close)
        found = {t.name: [] for t in targets}
        for t in bench.rounds(targets, bench.options.pairs):
            found[t.name].append(load(bench, t, by=everywhere, clients=1, kept=1, gets=KEYS, ms=bench.ms))
    add(bench, "memcached many", found, ("1,000 keys p50", "us", "get_p50_us"), ("1,000 keys p99", "us", "get_p99_us"))


def memcached_large(bench):
    """memcached: p99 of small gets while another client moves 1 MB values all the time; two connections to each server; nothing pinned"""
    row = "memcached large"
    everywhere = proxies.Load(bench.cpus)
    with site(bench, pool=2, unpinned=True) as targets:
        found = {t.name: ([], []) for t in targets}
        for t in bench.rounds(targets, bench.options.rounds):
            found[t.name][0].append(load(bench, t, everywhere, clients=4, kept=1, ms=bench.ms)["get_p99_us"])
            large = options_of(clients=1, kept=1, keys=1, value_bytes=LARGE, set_percent=50, ms=bench.ms + 600)
            mover = subprocess.Popen(["nice", "-n", "19", *everywhere.words(t, **large)], stdout=subprocess.PIPE)
            try:
                load(bench, t, everywhere, clients=1, kept=1, ms=100)  # both are up
                found[t.name][1].append(load(bench, t, everywhere, clients=4, kept=1, ms=bench.ms)["get_p99_us"])
                moved = json.loads(mover.communicate(timeout=30)[0])["done"]
            finally:
                mover.kill()
                mover.wait(20)
            if moved < 10:
                raise RuntimeError(f"{t.name}: only {moved} large values were moved")
    for name, (without, during) in found.items():
        bench.table.add(row, "get p99 without", "us", name, without)
        bench.table.add(row, "get p99 beside 1 MB values", "us", name, during)
        bench.table.add(row, "with / without", "", name, [a / b for a, b in zip(during, without)])


@contextlib.contextmanager
def long_wire(work, one_way_ms):
    """Two hosts, the near one and the far one, and the latter's address."""
    with contextlib.ExitStack() as stack:
        hosts = []
        for letter in "nmf":
            hosts.append(netns.Host(f"{netns.PREFIX}{letter}"))
            stack.callback(hosts[-1].close)
        near, middle, far = hosts
        for host, device, other, address in ((near, "n0", "m0", "10.78.0.1"), (far, "f0", "m1", "10.78.0.2")):
            subprocess.run(["ip", "link", "add", device, "netns", host.name, "type", "veth", "peer", "name", other, "netns", middle.name],
                           check=True)
            host.add_address(device, f"{address}/24")
            host.link(device, True)
            middle.link(other, True)
        wire = Process([program("peer_wire"), "--a", "m0", "--b", "m1", "--delay-ms", one_way_ms], work, "wire", middle)
        stack.callback(wire.close)
        until(lambda: "ready" in wire.log(), 10, "the wire")
        yield near, far, "10.78.0.2"


def memcached_far(bench):
    """memcached: pages of 20 gets, the servers 10 ms of round trip away from clients and proxies"""
    keys, work = 20, bench.work
    with long_wire(work, 5) as (near, far, address), contextlib.ExitStack() as stack:
        def own(thing):
            stack.callback(thing.close)
            return thing
        by = proxies.Load(bench.load.cpus, near)
        many = lambda: [own(Server(work, bench.load.cpus, far, address)) for _ in range(SERVERS)]
        targets = [own(lastack(work, bench.cpus[:1], many(), bench.binary["lastack"], 1, host=near)),
                   own(twemproxy(work, bench.cpus[:1], many(), 1, near)), Direct(many()[0])]
        for t in targets:
            store_all(bench, t, by, keys)
        found = {t.name: [] for t in targets}
        for t in bench.rounds(targets, bench.options.rounds):
            found[t.name].append(load(bench, t, by, clients=16, keys=keys, ms=3 * bench.ms))
    add(bench, "memcached far", found, ("page p50", "us", "page_p50_us"), ("page p99", "us", "page_p99_us"))


ROWS = {f.__name__: f for f in (memcached_short, memcached_kept, memcached_alone, memcached_many, memcached_large, memcached_far)}
