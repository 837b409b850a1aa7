"""Fixtures. Everything a test starts through `run` is stopped in reverse order, whatever happened."""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))
sys.dont_write_bytecode = True

from harness import cases, netns, peers, proxy, raw, servers  # noqa: E402
from harness.wait import until  # noqa: E402


class Run:
    """Starts things for one test and stops them at its end."""

    def __init__(self, directory):
        self.directory, self.started = directory, []
        os.chmod(directory, 0o755)  # servers that drop root read their files here

    def own(self, thing):
        self.started.append(thing)
        return thing

    def folder(self, name):
        path = os.path.join(str(self.directory), name)
        os.makedirs(path, exist_ok=True)
        os.chmod(path, 0o755)
        return path

    def net(self, **options):
        return self.own(netns.Net(**options))

    def backend(self, **options):
        return self.own(peers.Backend(self.directory, **options))

    def relay(self, target, delay_ms, **options):
        return self.own(peers.Relay(self.directory, target, delay_ms, **options))

    def load(self, target, **options):
        return self.own(peers.Load(self.directory, target if isinstance(target, str) else f"127.0.0.1:{target}", **options))

    def origin(self, handler=None, **options):
        return self.own(raw.Origin(handler, **options))

    def proxy(self, conf, **options):
        return self.own(proxy.Proxy(conf, self.folder(f"proxy{len(self.started)}"), **options))

    def front(self, servers_, pool=None, **more):
        """A proxy on loopback with one upstream "app"; returns (proxy, port). Keywords: the upstream's keys, and
        for the whole config those of TOP."""
        port = proxy.free_port()
        top = {k: more.pop(k) for k in list(more) if k in TOP}
        process = {k: more.pop(k) for k in list(more) if k in ("host", "fd_limit", "env", "ready")}
        app = {"servers": [s if isinstance(s, (str, dict)) else s.text for s in servers_], **more}
        if pool:
            app["pool"] = pool
        listen = top.pop("listener", {})
        listen = [{"name": "web", "address": f"127.0.0.1:{port}", "upstream": "app", **listen}]
        return self.proxy(proxy.config({"app": app}, listen, **top), **process), port

    def close(self):
        first = None
        for thing in reversed(self.started):
            try:
                thing.close()
            except BaseException as error:
                first = first or error
        self.started = []
        if first:
            raise first


TOP = "workers drain_timeout listener admin routes forwarded resolver log limits user".split()


@pytest.fixture
def run(tmp_path):
    r = Run(tmp_path)
    try:
        yield r
    finally:
        r.close()


@pytest.fixture(scope="module")
def module_run(tmp_path_factory):
    """The same for what all tests of a file share."""
    r = Run(tmp_path_factory.mktemp("module"))
    try:
        yield r
    finally:
        r.close()


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left():
    yield
    assert netns.leftovers() == [], "network namespaces of this run are left over"


def pytest_configure(config):
    config.addinivalue_line("markers", "sanitizer: runs under the sanitizers too (tests/run.sh: wire-asan, wire-tsan)")


def pytest_report_header(config):
    return f"proxy: {proxy.BIN} ({proxy.KIND}); scale: {'full' if os.environ.get('LASTACK_FULL') == '1' else 'small'}"


def pytest_terminal_summary(terminalreporter):
    for line in cases.TALLY.lines():
        terminalreporter.write_line(f"http cases: {line}")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.when == "call" and report.failed and "run" in item.funcargs:
        for thing in item.funcargs["run"].started:
            if isinstance(thing, proxy.Proxy):
                report.sections.append(("lastack's log (end)", thing.log()[-3000:]))


assert until  # re-exported for tests
