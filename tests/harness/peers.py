"""The C programs of tests/peers: the backend that counts, the load generator, the relay with a long wire.

They are found beside the proxy's binary, or in LASTACK_PEERS. One class each; options as keywords (idle_ms=300
becomes --idle-ms 300)."""
import http.client
import json
import os
import subprocess
import tempfile

from . import netns
from .process import Process
from .proxy import BIN, ROOT, free_port
from .wait import until

DIRECTORY = os.environ.get("LASTACK_PEERS")


def program(name):
    for directory in filter(None, (DIRECTORY, os.path.join(ROOT, "build/release"), os.path.dirname(BIN))):
        path = os.path.join(directory, name)
        if os.access(path, os.X_OK):
            return path
    raise AssertionError(f"{name} is not built (cmake --build --preset release), and LASTACK_PEERS does not name its folder")


def _options(options):
    words = []
    for key, value in options.items():
        key = "--" + key.replace("_", "-")
        if value is True:
            words.append(key)
        elif isinstance(value, (list, tuple)):
            for item in value:
                words += [key, item]
        elif value is not None and value is not False:
            words += [key, value]
    return words


class _Controlled(Process):
    control = ("127.0.0.1", 0)

    def _get(self, path):
        with self.host.inside():
            c = http.client.HTTPConnection(*self.control, timeout=10)
            try:
                c.request("GET", path)
                r = c.getresponse()
                text = r.read().decode()
                assert r.status == 200, f"{self.name}: {path}: {r.status}"
                return json.loads(text)
            finally:
                c.close()

    def stats(self):
        return self._get("/stats")

    def reset(self):
        return self._get("/reset")


class Backend(_Controlled):
    """peer_backend: what it counts is the proof. faults={"reset": 5}: percent of the requests."""

    def __init__(self, directory, host=netns.HERE, address="127.0.0.1", port=None, name=None, faults=None, fd_limit=None, **options):
        self.address, self.port = address, port or free_port()
        self.control = ("127.0.0.1", free_port())
        words = [program("peer_backend"), "--listen", self.text, "--control", "%s:%d" % self.control]
        words += _options(options) + _options({"fault": [f"{k}={v}" for k, v in (faults or {}).items()]})
        super().__init__(words, str(directory), name or f"backend-{self.port}", host, fd_limit=fd_limit)
        self.listening(self.port)

    @property
    def text(self):
        return f"{self.address}:{self.port}"

    def set(self, **values):
        """set(delay_us=1000), set(**{"fault.reset": 5})"""
        return self._get("/set?" + "&".join(f"{k}={v}" for k, v in values.items()))

    def listen(self, on):
        return self._get(f"/listen?on={int(on)}")

    def close_idle(self):
        return self._get("/close_idle")

    def reset_all(self):
        return self._get("/reset_all")


class Relay(_Controlled):
    """peer_relay: every byte and FIN arrives delay_ms later, each way. accept_tls (a certs.Pair), connect_tls (a name): that
    side speaks TLS, so that plain peers become TLS clients and servers."""

    def __init__(self, directory, target, delay_ms, host=netns.HERE, address="127.0.0.1", port=None, accept_tls=None,
                 connect_tls=None, resume=True):
        self.port = port or free_port()
        self.text = f"{address}:{self.port}"
        self.control = ("127.0.0.1", free_port())
        super().__init__([program("peer_relay"), "--listen", self.text, "--target", target, "--delay-ms", delay_ms,
                          "--control", "%s:%d" % self.control, *(["--accept-tls", accept_tls.whole] if accept_tls else []),
                          *(["--connect-tls", connect_tls, "--resume", int(resume)] if connect_tls else [])], str(directory), f"relay-{self.port}", host)
        self.listening(self.port)


class Load:
    """peer_loadgen, running. result() waits for its end."""

    def __init__(self, directory, target, host=netns.HERE, **options):
        self.out = tempfile.NamedTemporaryFile(dir=str(directory), prefix="load-", suffix=".json", delete=False)
        self.options = options
        self.process = Process([program("peer_loadgen"), "--target", target, *_options(options)], str(directory),
                               os.path.basename(self.out.name)[:-5], host, stdout=self.out)

    def running(self):
        return self.process.alive()

    def stop(self):
        """Starts nothing new; what is in flight has its grace."""
        if self.running():
            self.process.signal(15)
        return self.result()

    def result(self, timeout=None):
        patience = timeout or (float(self.options.get("duration_ms", 0)) + float(self.options.get("grace_ms", 5000))) / 1000 + 600
        try:
            code = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"the load did not end within {patience} s: {self.options}")
        with open(self.out.name) as f:
            text = f.read()
        assert code == 0 and text, f"loadgen ended with {code}: {self.process.log()[-2000:]}"
        return json.loads(text)

    def close(self):
        self.process.kill()
        self.out.close()


FAILURES = ("refused unreachable no_port connect_other reset eof_before truncated timeout malformed extra_bytes mixed "
            "unfinished shed status_4xx status_5xx").split()


def clean(result):
    """Fails unless every request of this load got its own good answer."""
    bad = {k: result[k] for k in FAILURES if result[k]}
    assert not bad, f"{bad} of {result['started']} requests, status {result['status']}; first: {result['first_failure']}"
    return result
