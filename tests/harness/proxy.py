"""lastack as a test sees it: a config (dict), a process, its admin listener, its logs."""
import contextlib
import http.client
import itertools
import json
import os
import re
import resource
import signal
import socket
import subprocess
import time

import yaml

from . import netns
from .metrics import Metrics
from .process import Process
from .wait import until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.path.abspath(os.environ.get("LASTACK_BIN", os.path.join(ROOT, "build/release/lastack")))
SANITIZED = re.compile(r"(ERROR: (Address|Leak|Thread)Sanitizer|WARNING: ThreadSanitizer|runtime error:|Assertion|assert)[^\n]*")
# A sanitized binary is several times slower: tests that judge times or memory ask this.
KIND = os.environ.get("LASTACK_KIND") or next((k for k in ("asan", "tsan") if f"/{k}/" in BIN), "release")
SLOW = 1 if KIND == "release" else 5
OPTIONS = {"ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:exitcode=99", "UBSAN_OPTIONS": "print_stacktrace=1",
           "TSAN_OPTIONS": "halt_on_error=0:exitcode=98:second_deadlock_stack=1:"
                           f"suppressions={os.path.join(ROOT, 'tests/harness/tsan.supp')}"}


_ports = itertools.count(int.from_bytes(os.urandom(2), "big"))


def free_port():
    """A port of 127.0.0.1 that is free now, outside the range of ephemeral ports so that it stays free. Another one
    each time: it may be for another host, where one given before is in use and this look would not show it."""
    for _ in range(1000):
        port = 10000 + next(_ports) % 20000
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise AssertionError("no free port")


def lastack(*words, timeout=30, host=netns.HERE, env=None, cwd=None, input=None):
    """Runs a sub-command to its end: (exit code, stdout + stderr)."""
    done = subprocess.run(host.command([BIN, *map(str, words)]), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=timeout, env={**os.environ, **(env or {})}, cwd=cwd, input=input)
    return done.returncode, done.stdout


def config(upstreams, listen, routes=None, **more):
    """A complete config. upstreams: {name: {...}}; listen: an address or a list of listener dicts."""
    if isinstance(listen, str):
        listen = [{"name": "web", "address": listen}]
        if not routes:
            listen[0]["upstream"] = next(iter(upstreams))
    conf = {"workers": 2, "listen": listen, "upstreams": upstreams, **more}
    if routes:
        conf["routes"] = routes
    return conf


class Proxy:
    """A running `lastack run`. Leaving it without stop() is fine: close() kills it and then checks its log for
    sanitizer reports and failed assertions."""

    def __init__(self, conf, directory, host=netns.HERE, ready=True, fd_limit=None, env=None, words=("run",), stdout=None):
        self.directory, self.host = str(directory), host
        self.conf_path = os.path.join(self.directory, "lastack.yaml")
        self.access_path = os.path.join(self.directory, "access.log")
        self.admin_port = 9900 if host.name else free_port()
        self.write(conf)
        self.process = Process([BIN, *words, self.conf_path], self.directory, "lastack", host, {**OPTIONS, **(env or {})},
                               fd_limit=fd_limit, stdout=stdout)
        self.stopped = False
        if ready:
            try:
                until(self.ready, 15 * SLOW, "/readyz")
            except BaseException:
                print(self.log()[-4000:])
                self.process.kill()
                raise

    def write(self, conf):
        conf = dict(conf)
        conf.setdefault("admin", {"address": f"127.0.0.1:{self.admin_port}"})
        conf["log"] = {"level": "info", "format": "json", "access": self.access_path, **conf.get("log", {})}
        self.conf = conf
        with open(self.conf_path, "w") as f:
            yaml.safe_dump(conf, f, sort_keys=False)

    # admin listener ------------------------------------------------------------------------------------------------
    def admin(self, path, timeout=10):
        """(status, headers, text) of a GET on the admin listener."""
        with self.host.inside():
            c = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=timeout)
            try:
                c.request("GET", path)
                r = c.getresponse()
                return r.status, dict(r.getheaders()), r.read().decode()
            finally:
                c.close()

    def ready(self):
        if not self.process.alive():
            raise AssertionError(f"lastack ended with {self.process.popen.returncode}:\n{self.log()[-4000:]}")
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.admin("/readyz", 2)[0] == 200
        return False

    def settle(self):
        """A client has its response a moment before the books are closed: this list comes from the workers themselves,
        between two events, so what they had begun before is counted then."""
        assert self.admin("/api/v1/connections")[0] == 200

    def metrics(self):
        self.settle()
        status, _, text = self.admin("/metrics")
        assert status == 200, text
        return Metrics(text)

    def status(self):
        self.settle()
        status, _, text = self.admin("/api/v1/status")
        assert status == 200, text
        return json.loads(text)

    # logs ----------------------------------------------------------------------------------------------------------
    def log(self):
        return self.process.log()

    def access(self):
        """The access log so far, one dict a line (JSON format)."""
        try:
            with open(self.access_path) as f:
                return [json.loads(line) for line in f.read().split("\n")[:-1] if line]
        except FileNotFoundError:
            return []

    def access_lines(self, path=None):
        try:
            with open(path or self.access_path) as f:
                return f.read().split("\n")[:-1]
        except FileNotFoundError:
            return []

    # signals -------------------------------------------------------------------------------------------------------
    def reloads(self, result="success"):
        """How often a reload ended this way, whatever the word for success is."""
        by = self.metrics().by("lastack_config_reloads_total", "result")
        good = {k: v for k, v in by.items() if k in ("ok", "success")}
        return sum(good.values()) if result == "success" else sum(by.values()) - sum(good.values())

    def reload(self, conf=None, expect="success", timeout=20):
        before = self.reloads(expect)
        if conf is not None:
            self.write(conf)
        self.process.signal(signal.SIGHUP)
        until(lambda: self.reloads(expect) > before, timeout * SLOW, f"a reload with {expect}")

    def stop(self, number=signal.SIGTERM, timeout=40):
        """Asks it to drain, waits for its end, returns the exit code."""
        self.process.signal(number)
        self.stopped = True
        return self.process.wait(timeout * SLOW)

    @contextlib.contextmanager
    def no_descriptors(self):
        """While it may open no more of them; those that it has go on."""
        before = resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, (3, before[1]))
        try:
            yield
        finally:
            resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, before)

    def close(self):
        died = not self.process.alive() and not self.stopped
        code = self.process.popen.returncode
        if self.process.alive():
            self.process.signal(signal.SIGTERM)
            end = time.monotonic() + 2 * SLOW
            second = False
            while self.process.alive() and time.monotonic() < end:
                time.sleep(0.01)
                if not second and time.monotonic() > end - 1.7 * SLOW:
                    self.process.signal(signal.SIGTERM)  # a second one: at once
                    second = True
        self.process.kill()
        report = SANITIZED.search(self.log())
        assert not report, f"{report.group(0)}\n{self.log()[-6000:]}"
        assert not died, f"lastack died by itself with {code}:\n{self.log()[-4000:]}"
