"""The rows: each measures one noun, for every proxy in turn, and adds its figures to the table.

Within a row all proxies run at once but only one is under load; rounds go through them in turn, each round starting
with the next one, so that whatever else the machine does hits all alike."""
import concurrent.futures
import contextlib
import os
import resource
import shutil
import socket
import statistics
import subprocess
import tempfile

import measure  # first: it says where harness is
import caches
from harness.certs import Authority
from harness.peers import Relay
from proxies import Origin, pinned, program
from table import REAL

LARGE = 1 << 20
STALLED, HALF_HELLO = 1000, b"\x16\x03\x01\x02\x00\x01\x00"  # a record of 512 bytes begins, and goes no further
WARM = 6000  # requests before a count begins: lastack looks at each connection of a server before use until 4,096 were quiet


def _cpu_metrics(bench, row, found, per, more):
    """found: {proxy: [one dict for each run]}"""
    for proxy, runs in found.items():
        add = lambda metric, unit, key, **k: bench.table.add(row, metric, unit, proxy, [r[key] for r in runs], **k)
        add(f"cpu{per}", more, "cpu")
        # The kernel's split comes in ticks of 10 ms: over all runs together it means something.
        ticks = max(sum(r["user"] + r["kernel"] for r in runs), 1)
        for part in ("user", "kernel"):
            share = sum(r[part] for r in runs) / ticks
            bench.table.add(row, f"cpu{per}, {part}", more, proxy, [statistics.median(r["cpu"] for r in runs) * share])
        add("requests per CPU second", "", "per_second", more_is_better=True)
        add("page faults", "per request", "faults")
        if all(r["counters"] for r in runs):
            for event in runs[0]["counters"]:
                bench.table.add(row, f"{event} per request", "", proxy, [r["counters"][event] for r in runs])


def _cpu_run(bench, proxy, scale, **options):
    with measure.Counters(proxy.pids()) as counters:
        a = measure.cpu(proxy.pids())
        result = bench.load.run(proxy, **options)
        b = measure.cpu(proxy.pids())
    n, total = result["done"], b[0] - a[0]
    return dict(cpu=total / n * scale, user=b[1] - a[1], kernel=b[2] - a[2], faults=(b[3] - a[3]) / n, per_second=n / total * 1e9,
                counters={k: v / n for k, v in counters.values.items()})


def _cpu(bench, row, kept, bytes=128, log=False, clients=32):
    per, unit, scale = (" per byte", "ns", 1 / LARGE) if bytes == LARGE else ("", "us per request", 1e-3)
    with bench.site(bytes, kept=kept, log=log, only=REAL if log else None) as proxies:
        found = {p.name: [] for p in proxies}
        for p in proxies:
            bench.load.run(p, kept=kept, clients=clients, ms=200)
        for p in bench.rounds(proxies, bench.options.rounds):
            found[p.name].append(_cpu_run(bench, p, scale, kept=kept, clients=clients, ms=bench.ms))
    _cpu_metrics(bench, row, found, per, unit)


def short(bench):
    """a new connection for each request, pooled upstream, 128 bytes, no access log"""
    _cpu(bench, "short", False)


def short_logged(bench):
    """the same with an access log"""
    _cpu(bench, "short logged", False, log=True)


def kept(bench):
    """clients that keep their connection"""
    _cpu(bench, "kept", True)


def kept_logged(bench):
    """the same with an access log"""
    _cpu(bench, "kept logged", True, log=True)


def large(bench):
    """1 MiB responses to kept clients: CPU time per byte"""
    _cpu(bench, "large", True, bytes=LARGE, clients=4)


def syscalls(bench):
    """system calls per request by strace: short and kept clients, 32 at once, and one short client alone"""
    for name, is_kept, clients, n in (("short", False, 32, bench.options.requests), ("kept", True, 32, bench.options.requests),
                                      ("short alone", False, 1, bench.options.requests // 4)):
        with bench.site(128, kept=is_kept) as proxies:
            for p in proxies:
                bench.load.run(p, kept=is_kept, clients=32, requests=WARM)
                with measure.Syscalls(p.pids(), os.path.join(p.folder, "strace")) as calls:
                    bench.load.run(p, kept=is_kept, clients=clients, requests=n)
                row = f"syscalls {name}"
                bench.table.add(row, "all", "per request", p.name, [sum(calls.calls.values()) / n])
                for call, count in sorted(calls.calls.items(), key=lambda item: -item[1]):
                    if count / n >= 0.02:
                        bench.table.add(row, call, "per request", p.name, [count / n])
                shutil.copy(calls.file, os.path.join(bench.out, f"strace-{name.replace(' ', '-')}-{p.name}.txt"))


def _instructions(bench, row, is_kept, log, bytes=128, n=None):
    n = n or min(bench.options.requests, 2000)
    with bench.site(bytes, kept=is_kept, log=log, callgrind=True, only=REAL) as proxies:
        for p in proxies:
            bench.load.run(p, kept=is_kept, clients=16, requests=max(n // 4, 50) if bench.options.quick or bytes == LARGE else WARM)
            p.instructions.take()
            bench.load.run(p, kept=is_kept, clients=16, requests=n)
            bench.table.add(row, "user", "instructions per request", p.name, [p.instructions.take() / n])
            p.instructions.annotate(os.path.join(bench.out, f"callgrind-{row.replace(' ', '-')}-{p.name}.txt"), n)


def instructions(bench):
    """user-space instructions per request, by callgrind; the profiles stay in the output folder"""
    for name, is_kept in (("short", False), ("kept", True)):
        for log in (False,) if bench.options.quick else (False, True):
            _instructions(bench, f"instructions {name}" + (" logged" if log else ""), is_kept, log)
    if not bench.options.quick:
        _instructions(bench, "instructions large", True, False, LARGE, max(bench.options.requests // 20, 10))


def php(bench):
    """php-fpm and a trivial script: CPU time of the proxy, of php-fpm, and of both"""
    asks = dict(path="/index.php?a=1", clients=7)
    for name, is_kept in (("short", False), ("kept", True)):
        with bench.site(128, kept=is_kept, php=True, pool=7, only=REAL) as proxies:
            found = {p.name: [] for p in proxies}
            for p in proxies:
                bench.load.run(p, kept=is_kept, ms=400, **asks)
            for p in bench.rounds(proxies, 2 * bench.options.rounds):
                a = [measure.cpu(pids)[0] for pids in (p.pids(), p.origin.pids())]
                n = bench.load.run(p, kept=is_kept, ms=2 * bench.ms, **asks)["done"]
                b = [measure.cpu(pids)[0] for pids in (p.pids(), p.origin.pids())]
                found[p.name].append([(after - before) / n * 1e-3 for before, after in zip(a, b)])
        for proxy, runs in found.items():
            for part, of in (("the proxy", lambda r: r[0]), ("php-fpm", lambda r: r[1]), ("both", sum)):
                bench.table.add(f"php {name}", f"cpu of {part}", "us per request", proxy, [of(r) for r in runs])


def php_counts(bench):
    """the same in counts: instructions in user space, and system calls of the proxy"""
    asks = dict(path="/index.php?a=1", clients=7)
    n = min(bench.options.requests, 2000)
    for name, is_kept in (("short", False), ("kept", True)):
        with bench.site(128, kept=is_kept, php=True, pool=7, only=REAL) as proxies:
            for p in proxies:
                bench.load.run(p, kept=is_kept, requests=WARM, **asks)
                with measure.Syscalls(p.pids(), os.path.join(p.folder, "strace")) as calls:
                    bench.load.run(p, kept=is_kept, requests=n, **asks)
                bench.table.add(f"php {name}", "system calls", "per request", p.name, [sum(calls.calls.values()) / n])
                shutil.copy(calls.file, os.path.join(bench.out, f"strace-php-{name}-{p.name}.txt"))
        with bench.site(128, kept=is_kept, php=True, pool=7, callgrind=True, only=REAL) as proxies:
            for p in proxies:
                bench.load.run(p, kept=is_kept, requests=WARM, **asks)
                p.instructions.take()
                bench.load.run(p, kept=is_kept, requests=n, **asks)
                bench.table.add(f"php {name}", "user", "instructions per request", p.name, [p.instructions.take() / n])
                p.instructions.annotate(os.path.join(bench.out, f"callgrind-php-{name}-{p.name}.txt"), n)


class _Through:
    """What a load is told of a proxy: its port, by way of a relay that speaks TLS for the client."""

    def __init__(self, proxy, relay):
        self.proxy, self.port, self.name, self.pids, self.log = proxy, relay.port, proxy.name, proxy.pids, proxy.log


def _through_tls(bench, proxies, relays, resume):
    """Each proxy behind a relay that speaks TLS to it; relays is the ExitStack that ends them."""
    through = []
    for p in proxies:
        relay = Relay(bench.work, f"127.0.0.1:{p.port}", 0, connect_tls="test", resume=resume)
        relays.callback(relay.close)
        through.append(_Through(p, relay))
    return through


def _tls_sites(bench, **options):
    """(what, the proxies, each behind a relay that speaks TLS), for each kind of key and of handshake."""
    for kind in ("ec", "rsa"):
        pem = Authority(tempfile.mkdtemp(dir=bench.work), kind=kind).issue(kind=kind).whole
        for name, resume in (("full", False), ("resumed", True)):
            with bench.site(128, tls=pem, only=REAL, **options) as proxies, contextlib.ExitStack() as relays:
                yield f"tls {kind} {name}", _through_tls(bench, proxies, relays, resume)


def tls(bench):
    """a new TLS connection for each request, ECDSA P-256 and RSA 2048, full handshakes and resumed ones"""
    for row, through in _tls_sites(bench):
        found = {p.name: [] for p in through}
        for p in through:
            bench.load.run(p, kept=False, clients=16, ms=200)
        for p in bench.rounds(through, bench.options.rounds):
            found[p.name].append(_cpu_run(bench, p, 1e-3, kept=False, clients=16, ms=bench.ms))
        for p in through:
            with measure.Syscalls(p.pids(), os.path.join(p.proxy.folder, "strace")) as calls:
                n = bench.options.requests // 4
                bench.load.run(p, kept=False, clients=16, requests=n)
            bench.table.add(row, "syscalls", "per request", p.name, [sum(calls.calls.values()) / n])
        _cpu_metrics(bench, row, found, "", "us per request")


def tls_counts(bench):
    """the same in instructions in user space, by callgrind"""
    n = min(bench.options.requests // 4, 500)
    for row, through in _tls_sites(bench, callgrind=True):
        for p in through:
            bench.load.run(p, kept=False, clients=8, requests=n // 2)
            counter = p.proxy.instructions
            counter.take()
            bench.load.run(p, kept=False, clients=8, requests=n)
            bench.table.add(row, "user", "instructions per request", p.name, [counter.take() / n])
            counter.annotate(os.path.join(bench.out, f"callgrind-{row.replace(' ', '-')}-{p.name}.txt"), n)


def latency(bench):
    """p50 and p99 at one fixed rate, half of what nginx reaches with 64 clients that never pause"""
    for name, is_kept in (("short", False), ("kept", True)):
        with bench.site(128, kept=is_kept) as proxies:
            first = next((p for p in proxies if p.name == "nginx"), proxies[0])
            full = max((bench.load.run(first, kept=is_kept, clients=64, ms=bench.ms) for _ in range(2)),
                       key=lambda r: r["done"] / r["seconds"])
            rate = full["done"] / full["seconds"] / 2
            found = {p.name: [] for p in proxies}
            for p in proxies:
                bench.load.run(p, kept=is_kept, clients=256, requests=WARM)
            for p in bench.rounds(proxies, bench.options.pairs):
                found[p.name].append(bench.load.run(p, kept=is_kept, clients=256, rate=rate, ms=bench.ms))
        for proxy, runs in found.items():
            bench.table.add(f"latency {name}", "rate", "requests per second", proxy, [rate])
            for metric in ("p50", "p99"):
                bench.table.add(f"latency {name}", metric, "us", proxy, [r[f"{metric}_us"] for r in runs])


def _idle(bench, row, p, n):
    bench.load.run(p, kept=True, clients=8, requests=2000)
    before = measure.memory(p.pids())
    holder = subprocess.Popen(bench.load.words(p, clients=n, hold=1), stdout=subprocess.PIPE, text=True)
    try:
        if holder.stdout.readline() != "holding\n":
            raise RuntimeError(f"{p.name}: {n} idle clients did not come about")
        after = measure.memory(p.pids())
    finally:
        holder.terminate()
        holder.wait(20)
    bench.table.add(row, "RSS per client", "bytes", p.name, [(after[0] - before[0]) / n])
    bench.table.add(row, "PSS per client", "bytes", p.name, [(after[1] - before[1]) / n])


def idle(bench):
    """memory per idle client that keeps its connection, without and with TLS"""
    with bench.site(128, kept=True, only=REAL) as proxies:
        for p in proxies:
            _idle(bench, "idle", p, bench.options.idle)
    pem = Authority(tempfile.mkdtemp(dir=bench.work)).issue().whole
    with bench.site(128, kept=True, tls=pem, only=REAL) as proxies, contextlib.ExitStack() as relays:
        for p in _through_tls(bench, proxies, relays, False):
            _idle(bench, "idle tls", p, bench.options.idle)


def opened(bench):
    """upstream connections opened: 4 workers, 200 short clients, a pool of 64"""
    with bench.site(128, workers=4, pool=64, everywhere=True, only=REAL) as proxies:
        for p in proxies:
            n = bench.options.opened
            at = [p.origin.counts()]
            for requests in (n // 10, n - n // 10):
                bench.load.run(p, clients=200, requests=requests)
                at.append(p.origin.counts())
            cold, warm = at[1][0] - at[0][0], at[2][0] - at[1][0]
            bench.table.add("opened", f"in {n:,} requests from a cold start", "connections", p.name, [cold + warm])
            bench.table.add("opened", "per 1,000,000 requests once warm", "connections", p.name, [warm / (n - n // 10) * 1e6])


def scaling(bench):
    """cost per request with 1, 2 and 4 workers, at the same rate for each worker"""
    for workers in (1, 2) if bench.options.quick else (1, 2, 4):
        with bench.site(128, workers=workers, everywhere=True, only=REAL) as proxies:
            found = {p.name: [] for p in proxies}
            options = dict(clients=256, rate=1000 * workers, ms=bench.ms)
            for p in proxies:
                bench.load.run(p, **options)
            for p in bench.rounds(proxies, 1 if bench.options.quick else 3):
                found[p.name].append(_cpu_run(bench, p, 1e-3, **options)["cpu"])
        for proxy, runs in found.items():
            bench.table.add("scaling", f"cpu, {workers} workers", "us per request", proxy, runs)
        n = min(bench.options.requests, 2000)
        with bench.site(128, workers=workers, everywhere=True, callgrind=True, only=("lastack", "before")) as proxies:
            for p in proxies:
                bench.load.run(p, clients=8 * workers, requests=n // 4)
                p.instructions.take()
                bench.load.run(p, clients=8 * workers, requests=n)
                bench.table.add("scaling", f"user, {workers} workers", "instructions per request", p.name,
                                [p.instructions.take() / n])


def slow(bench):
    """p99 of normal traffic while slowhttptest holds connections with heads that never end"""
    tool = shutil.which("slowhttptest")
    if not tool:
        print("slow: slowhttptest is not installed; row left out")
        return
    with bench.site(128, only=REAL) as proxies:
        found = {p.name: ([], []) for p in proxies}
        options = dict(clients=256, rate=1000, ms=bench.ms)
        for p in bench.rounds(proxies, 1 if bench.options.quick else 3):
            found[p.name][0].append(bench.load.run(p, **options)["p99_us"])
            seconds = bench.ms / 1000 + 3
            words = [tool, "-H", "-c", 500, "-r", 500, "-i", 1, "-l", int(seconds + 1), "-x", 10, "-u",
                     f"http://127.0.0.1:{p.port}/"]
            attack = subprocess.Popen(pinned(bench.load.cpus, words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                bench.clients_at(p, 400)
                found[p.name][1].append(bench.load.run(p, **options)["p99_us"])
            finally:
                attack.terminate()
                attack.wait(20)
    for proxy, (without, during) in found.items():
        bench.table.add("slow", "p99 without slow clients", "us", proxy, without)
        bench.table.add("slow", "p99 with 500 slow clients", "us", proxy, during)
        bench.table.add("slow", "p99 with slow clients / without", "", proxy, [a / b for a, b in zip(during, without)])


def stalled(bench):
    """p99 of normal traffic while 1,000 TLS connections stall in their handshakes"""
    pem = Authority(tempfile.mkdtemp(dir=bench.work)).issue().whole
    with bench.site(128, tls=pem, only=REAL) as proxies, contextlib.ExitStack() as relays:
        found, options = {p.name: ([], []) for p in proxies}, dict(clients=16, rate=100, ms=bench.ms)
        for p in bench.rounds(_through_tls(bench, proxies, relays, True), 1 if bench.options.quick else 3):
            bench.load.run(p, **options)
            found[p.name][0].append(bench.load.run(p, **options)["p99_us"])
            with contextlib.ExitStack() as held:
                for _ in range(STALLED):
                    client = held.enter_context(socket.create_connection(("127.0.0.1", p.proxy.port), 20))
                    client.sendall(HALF_HELLO)
                bench.clients_at(p.proxy, STALLED)
                found[p.name][1].append(bench.load.run(p, **options)["p99_us"])
    for proxy, (without, during) in found.items():
        bench.table.add("stalled", "p99 without stalled handshakes", "us", proxy, without)
        bench.table.add("stalled", f"p99 with {STALLED:,} stalled handshakes", "us", proxy, during)
        bench.table.add("stalled", "p99 with stalled handshakes / without", "", proxy, [a / b for a, b in zip(during, without)])


def generator(bench):
    """the load generator itself, no proxy between: how late it sends at a fixed rate, and its CPU time"""
    origin = Origin(bench.work, bench.cpus[:1], 128)
    origin.name = "direct"
    try:
        for name, is_kept, rate in (("short", False, 5000), ("kept", True, 20000)):
            found = []
            for _ in range(bench.options.rounds):
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                run = bench.load.run(origin, kept=is_kept, clients=128, rate=rate, warmup_ms=200, ms=2 * bench.ms)
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                run["cpu_us"] = (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime) / run["done"] * 1e6
                found.append(run)
            row = f"generator {name}"
            for q in ("p50", "p99"):
                bench.table.add(row, f"late {q} at {rate:,} requests per second", "us", "direct", [r["late_us"][q] for r in found])
            bench.table.add(row, "cpu with its start", "us per request", "direct", [r["cpu_us"] for r in found])
    finally:
        origin.close()


def micro(bench):
    """instructions of single operations of the codec, the pool and the ledger"""
    words = [program("bench_micro")]
    count = lambda name, n: measure.run_instructions([*words, name, str(n)], os.path.join(bench.work, f"micro-{name}-{n}"))
    for name in subprocess.run([*words, "list"], capture_output=True, text=True, check=True).stdout.split():
        with concurrent.futures.ThreadPoolExecutor(2) as both:
            few, many = both.map(lambda n: count(name, n), (1000, 3000))
        bench.table.add("micro", name, "instructions", "lastack", [(many - few) / 2000])


ROWS = {f.__name__: f for f in (short, short_logged, kept, kept_logged, large, php, php_counts, tls, tls_counts, syscalls, instructions, latency,
                                idle, opened, scaling, slow, stalled, generator, micro)} | caches.ROWS
