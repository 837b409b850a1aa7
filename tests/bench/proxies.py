"""The proxies under measurement, their origin and their load: started, pinned, found.

Each proxy has its configuration in conf/, with @WORDS@ to fill in. All get the same: one origin, the same number of
workers on the same CPUs, deferred accept, a backlog of 4096, a pool of the same size, forwarded fields, and an access
log that is off, or on and (where the proxy can) gathered in 32 KiB. HAProxy can only write its log line by line."""
import json
import mmap
import os
import shutil
import struct
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from harness import netns  # noqa: E402
from harness.peers import program  # noqa: E402
from harness.process import Process  # noqa: E402
from harness.proxy import BIN, free_port  # noqa: E402
from harness.servers import PhpFpm  # noqa: E402
import measure  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))


def pinned(cpus, words):
    return ["taskset", "-c", ",".join(map(str, cpus)), *map(str, words)]


def fill(template, to, **words):
    with open(os.path.join(HERE, "conf", template)) as f:
        text = f.read()
    for key, value in words.items():
        text = text.replace(f"@{key}@", str(value))
    with open(to, "w") as f:
        f.write(text)
    return to


class Origin(Process):
    def __init__(self, folder, cpus, bytes):
        self.port, self.bytes = free_port(), bytes
        counts = os.path.join(folder, f"origin-{self.port}.counts")
        super().__init__(pinned(cpus, [program("bench_origin"), self.port, bytes, counts]), folder, f"origin-{self.port}")
        self.listening(self.port)
        with open(counts, "rb") as f:
            self.map = mmap.mmap(f.fileno(), 16, access=mmap.ACCESS_READ)

    def counts(self):
        """(connections, requests) since its start"""
        return struct.unpack("QQ", self.map[:16])


class Php(PhpFpm):
    """php-fpm with a script that says as many bytes; one worker more than the pool, so that nobody waits for one."""

    def __init__(self, folder, cpus, bytes, pool):
        super().__init__(folder, children=pool + 1)
        self.root = os.path.join(self.folder, "www")
        os.makedirs(self.root)
        with open(os.path.join(self.root, "index.php"), "w") as f:
            f.write(f"<?php header('Content-Length: {bytes}'); header('Content-Type: text/plain'); echo '{'x' * bytes}';")
        for pid in self.pids():
            os.sched_setaffinity(pid, cpus)

    def pids(self):
        return [self.pid, *self.children()]


class Proxy(Process):
    """One running proxy. Options: workers, pool, kept, log (bool), callgrind (bool), tls (a file with certificate and key),
    php (bool: the origin is a Php)."""
    name = None

    def __init__(self, folder, cpus, origin, binary=None, workers=1, pool=64, kept=False, log=False, callgrind=False,
                 tls=None, php=False):
        self.tls, self.variant = tls, "-php" if php else ""
        self.port, self.origin, self.binary = free_port(), origin, binary
        self.workers, self.pool, self.kept, self.logged, self.callgrind = workers, pool, kept, log, callgrind
        self.folder = os.path.join(folder, f"{self.name}-{self.port}")
        os.makedirs(self.folder)
        self.access = os.path.join(self.folder, "access.log")
        words, stdout = self.words(), None
        if callgrind:
            self.profile = os.path.join(self.folder, "callgrind.out")
            words = [*measure.CALLGRIND, f"--callgrind-out-file={self.profile}", *words]
        if log and self.name == "haproxy":
            stdout = self.stdout = open(self.access, "ab")
        super().__init__(pinned(cpus, words), self.folder, self.name, stdout=stdout)
        self.listening(self.port, 60)
        if callgrind:
            self.instructions = measure.Instructions(self.pid, self.profile)

    def common(self):
        origin = dict(ORIGIN=self.origin.path, ROOT=self.origin.root) if self.variant else dict(ORIGIN=self.origin.port)
        return dict(**origin, PORT=self.port, WORKERS=self.workers, POOL=self.pool, FOLDER=self.folder)

    def conf(self, name):
        return os.path.join(self.folder, name)

    def pids(self):
        children = subprocess.run(["pgrep", "-P", str(self.pid)], capture_output=True, text=True).stdout.split()
        return [self.pid, *map(int, children)]

    def spread(self, cpus):
        """One CPU for each worker, as lastack does by itself."""
        for i, worker in enumerate(self.workers_of()):
            os.sched_setaffinity(worker, {cpus[i % len(cpus)]})

    def workers_of(self):
        return []


class Lastack(Proxy):
    name = "lastack"

    def words(self):
        log = self.access if self.logged else "off"
        conf = fill(f"lastack{self.variant}.yaml", self.conf("lastack.yaml"), ADMIN=free_port(), LOG=log, **self.common(),
                    TLS=f", tls: {{ certificates: [{self.tls}] }}" if self.tls else "")
        return [self.binary or BIN, "run", conf]


class Before(Lastack):
    name = "before"


NGINX_TLS = "ssl_certificate {0}; ssl_certificate_key {0}; ssl_protocols TLSv1.2 TLSv1.3; ssl_session_tickets on;"


class Nginx(Proxy):
    name = "nginx"

    def words(self):
        log = f"{self.access} combined buffer=32k flush=200ms" if self.logged else "off"
        conf = fill(f"nginx{self.variant}.conf", self.conf("nginx.conf"), LOG=log, MASTER="off" if self.callgrind else "on", **self.common(),
                    SSL=" ssl" if self.tls else "", TLS=NGINX_TLS.format(self.tls) if self.tls else "")
        return [self.binary, "-p", self.folder, "-c", conf]

    def workers_of(self):
        return self.pids()[1:]


class Haproxy(Proxy):
    name = "haproxy"

    def words(self):
        log, to = ("log global\n    option httplog", "log stdout format raw local0") if self.logged else ("", "")
        conf = fill(f"haproxy{self.variant}.cfg", self.conf("haproxy.cfg"), LOG=log, LOG_TO=to, **self.common(),
                    TLS=f" ssl crt {self.tls} ssl-min-ver TLSv1.2 alpn http/1.1" if self.tls else "")
        return [self.binary, "-q", "-db", "-f", conf]

    def workers_of(self):
        return sorted(map(int, os.listdir(f"/proc/{self.pid}/task")))


class Floor(Proxy):
    name, more = "floor", ()

    def words(self):
        return [program("bench_floor"), self.port, self.origin.port, self.origin.bytes, *(["kept"] if self.kept else []), *self.more]


class FloorMore(Floor):
    name, more = "floor-more", ("more",)


KINDS = {kind.name: kind for kind in (Lastack, Before, Nginx, Haproxy, Floor, FloorMore)}


def find(name, given):
    """The binary of a peer: as given, or what Debian installed; None: not here."""
    return given or shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


def version(name, binary):
    words = {"nginx": [binary, "-v"], "haproxy": [binary, "-v"], "lastack": [binary, "--version"]}.get(name)
    if not words:
        return ""
    done = subprocess.run(words, capture_output=True, text=True)
    return ((done.stdout + done.stderr).strip().splitlines() or [""])[0]


class Load:
    """The project's load generator, with requests that carry no token: what it does not verify costs nothing. kept: clients
    keep their connection; ms: the time of a run. run() waits for its result and insists that every request was answered
    well."""

    def __init__(self, cpus, host=netns.HERE):
        self.cpus, self.host = cpus, host

    def words(self, target, kept=False, ms=0, hold=False, **options):
        address = getattr(target, "address", "127.0.0.1")
        words = [program("peer_loadgen"), "--target", f"{address}:{target.port}", "--no-token", "--fail", "--timeout-ms", 20000,
                 "--header", "User-Agent: bench/1", "--header", "Accept: */*", "--host", "bench.test"]
        options = {"path": "/index.html?a=1", "keepalive": 100 if kept or hold else 0, **options}
        if ms:
            options["duration-ms"] = ms
        for key, value in options.items():
            words += [f"--{key.replace('_', '-')}", *([] if value is True else [value if isinstance(value, str) else int(value)])]
        return self.host.command(pinned(self.cpus, words + ["--hold"] * bool(hold)))

    def run(self, target, **options):
        done = subprocess.run(self.words(target, **options), capture_output=True, text=True, timeout=900)
        if done.returncode or not done.stdout:
            raise RuntimeError(f"{target.name}: load {options}: {done.stdout}{done.stderr}\n{target.log()[-2000:]}")
        found = json.loads(done.stdout)
        return {**found, **{f"{q}_us": found["latency_us"][q] for q in ("p50", "p90", "p99", "max")}}
