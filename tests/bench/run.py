"""Measures lastack beside nginx, HAProxy and the floor (floor.c) on this machine; writes bench.md and bench.json.

The proxy has one CPU, the load and the origin another one (the first and the last that this process may use). Times
on a shared machine scatter; CPU time per request scatters less; counts (instructions, system calls, connections) hardly.
Run it through run.sh, which installs and builds what is missing."""
import argparse
import contextlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness.proxy import BIN, ROOT  # noqa: E402
from harness.wait import until  # noqa: E402
import measure  # noqa: E402
import proxies  # noqa: E402
import rows  # noqa: E402
from table import Table  # noqa: E402

# name: (default, --quick)
SCALE = dict(ms=(500, 150), rounds=(5, 2), pairs=(7, 3), requests=(4000, 500), opened=(50000, 4000), idle=(4000, 1000))


def arguments():
    p = argparse.ArgumentParser(prog="sh tests/bench/run.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                epilog="rows:\n" + "\n".join(f"  {n:13} {f.__doc__}" for n, f in rows.ROWS.items()))
    p.add_argument("--quick", action="store_true", help="less than two minutes, less exact")
    p.add_argument("--only", action="append", metavar="ROW", choices=list(rows.ROWS), help="this row alone (may be repeated)")
    p.add_argument("--out", type=os.path.abspath, default=os.path.join(ROOT, "build/bench"), help="where bench.md, bench.json and profiles go")
    p.add_argument("--peers", default="lastack,nginx,haproxy,floor,floor-more", help="which proxies (comma list)")
    for name in ("lastack", "nginx", "haproxy"):
        p.add_argument(f"--{name}", metavar="PATH", type=os.path.abspath, default=os.environ.get(f"BENCH_{name.upper()}"),
                       help=f"another {name} than the {'one built here' if name == 'lastack' else 'installed one'} "
                            f"(or BENCH_{name.upper()})")
    p.add_argument("--before", metavar="PATH", type=os.path.abspath, help="an older lastack, measured beside the present one")
    for name, text in dict(ms="milliseconds of a timed run", rounds="timed runs for each proxy", pairs="latency runs for each proxy",
                           requests="requests in a counted run", opened="requests of the row opened",
                           idle="idle clients").items():
        p.add_argument(f"--{name}", type=int, metavar="N", help=f"{text} ({SCALE[name][0]}; quick: {SCALE[name][1]})")
    options = p.parse_args()
    for name, values in SCALE.items():
        if getattr(options, name) is None:
            setattr(options, name, values[options.quick])
    options.peers = options.peers.split(",")
    if options.before and "before" not in options.peers:
        options.peers.insert(1, "before")
    unknown = set(options.peers) - set(proxies.KINDS)
    if unknown:
        p.error(f"--peers: {', '.join(sorted(unknown))}: not one of {', '.join(proxies.KINDS)}")
    return options


class Bench:
    """What the rows share: options, CPUs, the load, the table, and sites (an origin with all proxies before it)."""

    def __init__(self, options, work):
        self.options, self.work, self.out, self.ms = options, work, options.out, options.ms
        self.cpus = sorted(os.sched_getaffinity(0))
        self.load = proxies.Load(self.cpus[-1:])
        self.table = Table()
        self.binary = {name: proxies.find(name, getattr(options, name)) for name in ("nginx", "haproxy")}
        self.binary.update(lastack=options.lastack, before=options.before)
        missing = [n for n in options.peers if n in ("nginx", "haproxy") and not self.binary[n]]
        if missing:
            sys.exit(f"{', '.join(missing)}: not installed (sh conf/packages.sh bench), no path given, and not left out by --peers")

    @contextlib.contextmanager
    def site(self, bytes, only=None, everywhere=False, **options):
        """The running proxies, each with an origin of its own (so that connections are counted for each)."""
        started = []
        try:
            for name in self.options.peers:
                if only is None or name in only:
                    origin = proxies.Php(self.work, self.load.cpus, bytes, options["pool"]) if options.get("php") else \
                        proxies.Origin(self.work, self.load.cpus, bytes)
                    started.append(origin)
                    started.append(proxies.KINDS[name](self.work, self.cpus if everywhere else self.cpus[:1], origin,
                                                       binary=self.binary.get(name), **options))
                    if everywhere:
                        started[-1].spread(self.cpus)
            yield [p for p in started if isinstance(p, proxies.Proxy)]
        finally:
            for p in reversed(started):
                p.close()

    @staticmethod
    def rounds(members, n):
        """Each member n times, in turn; every round begins with another one."""
        for i in range(n):
            k = i % len(members) if members else 0
            yield from members[k:] + members[:k]

    @staticmethod
    def clients_at(proxy, n):
        until(lambda: proxy.host.count("established", local_port=proxy.port) >= n, 20, f"{n} clients")


def facts(bench):
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    versions = {n: proxies.version(n, bench.binary.get(n) or BIN) for n in bench.options.peers if n in ("lastack", "nginx", "haproxy")}
    return dict(kernel=platform.release(), cpu=model, cpus=len(bench.cpus), load_average=os.getloadavg(), versions=versions,
                hardware_counters=bool(measure.Counters.supported), options=vars(bench.options))


def about(f, seconds):
    counters = "by perf" if f["hardware_counters"] else "not available here (callgrind counts user space)"
    return (f"# Benchmarks\n\n{'; '.join(v for v in f['versions'].values() if v)}. {f['cpus']} CPUs ({f['cpu']}), Linux {f['kernel']}, load average "
            f"{f['load_average'][0]:.1f}. Hardware counters: {counters}. {seconds:.0f} s.")


def main():
    options = arguments()
    os.makedirs(options.out, exist_ok=True)
    begin, work = time.monotonic(), tempfile.mkdtemp(prefix="bench-")
    os.chmod(work, 0o755)
    bench = Bench(options, work)
    failed = []
    try:
        measure.Counters([])
        f = facts(bench)
        for name in options.only or rows.ROWS:
            start = time.monotonic()
            try:
                rows.ROWS[name](bench)
                print(f"{name}: {time.monotonic() - start:.1f} s", flush=True)
            except (RuntimeError, AssertionError, OSError, subprocess.SubprocessError) as error:
                failed.append(name)
                print(f"{name}: failed: {error}", file=sys.stderr, flush=True)
            bench.table.write(options.out, about(f, time.monotonic() - begin), f)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    with open(os.path.join(options.out, "bench.md")) as table:
        print(table.read())
    if failed:
        sys.exit(f"failed rows: {', '.join(failed)}")


main()
