"""memcached as tests need it: real servers, a raw client, servers that misbehave, PHP, and a proxy in front."""
import json
import os
import shutil
import socket
import subprocess
import threading

from . import proxy
from .process import Process
from .proxy import free_port
from .wait import until


def binary(name, package):
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/bin")
    assert path, f"{name} is missing: apt-get install {package} (tests/run.sh does it)"
    return path


class Server(Process):
    """Debian's memcached on loopback."""

    def __init__(self, directory, port=None, address="127.0.0.1", memory=64, words=()):
        self.address, self.port, self.memory = address, port or free_port(), memory
        super().__init__([binary("memcached", "memcached"), "-u", "nobody", "-l", address, "-p", self.port, "-U", "0", "-m",
                          memory, "-c", "4000", *words], str(directory), f"memcached-{self.port}")
        self.listening(self.port)

    @property
    def text(self):
        return f"{self.address}:{self.port}"

    def close(self, grace=0):
        self.kill()  # a graceful end takes it a second

    def again(self, directory):
        """The same place, empty: after kill()."""
        return Server(directory, self.port, self.address, self.memory)

    def ask(self, command, end=b"\r\n"):
        """One command; the server hangs up first, so that no TIME_WAIT of the test's own is left at its clients' side."""
        with Client(self.port) as c:
            answer = c.ask(command, end)
            c.send(b"quit\r\n")
            c.rest()
            return answer

    def stat(self, name):
        for line in self.ask(b"stats\r\n", b"END\r\n").split(b"\r\n"):
            if line.startswith(b"STAT " + name.encode() + b" "):
                return int(line.split()[2])
        raise AssertionError(f"no {name}")


class Client:
    """Bytes out, bytes in."""

    def __init__(self, port, timeout=20):
        if isinstance(port, str):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            self.socket.connect(port)
        else:
            self.socket = socket.create_connection(("127.0.0.1", port), timeout)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.left = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def until(self, end):
        """Everything up to and with `end`; b"" in front of a FIN: what came."""
        while end not in self.left:
            data = self.socket.recv(1 << 20)
            if not data:
                out, self.left = self.left, b""
                return out
            self.left += data
        at = self.left.index(end) + len(end)
        out, self.left = self.left[:at], self.left[at:]
        return out

    def exactly(self, count):
        while len(self.left) < count:
            data = self.socket.recv(1 << 20)
            assert data, f"it ended after {len(self.left)} of {count} bytes"
            self.left += data
        out, self.left = self.left[:count], self.left[count:]
        return out

    def ask(self, command, end=b"\r\n"):
        self.send(command)
        return self.until(end)

    def rest(self, idle=None):
        """What comes until the other side hangs up (or, with idle, until nothing comes for so long)."""
        if idle:
            self.socket.settimeout(idle)
        try:
            while True:
                data = self.socket.recv(1 << 20)
                if not data:
                    break
                self.left += data
        except (TimeoutError, ConnectionResetError):
            pass
        out, self.left = self.left, b""
        return out

    def line(self):
        return self.until(b"\r\n")

    def set(self, key, value, flags=0, exptime=0):
        return self.ask(b"set %b %d %d %d\r\n%b\r\n" % (key, flags, exptime, len(value), value))

    def get(self, *keys):
        """{key: value}; an error line is an AssertionError."""
        self.send(b"get " + b" ".join(keys) + b"\r\n")
        return self.values()

    def values(self):
        found = {}
        while True:
            line = self.line()
            if line == b"END\r\n":
                return found
            word = line.split()
            assert word and word[0] == b"VALUE", line
            found[word[1]] = self.exactly(int(word[3]))
            assert self.exactly(2) == b"\r\n"


class Fake:
    """A server that does what `handler(conn)` does with each connection; conn has recv_line, send, close, reset."""

    def __init__(self, handler):
        self.handler, self.connections, self.lines = handler, 0, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.closing = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def text(self):
        return f"127.0.0.1:{self.port}"

    def _accept(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(s, self.connections), daemon=True).start()

    def _serve(self, s, number):
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        conn = Fake.Connection(self, s, number)
        try:
            self.handler(conn)
        except OSError:
            pass
        finally:
            s.close()

    def close(self):
        self.listener.close()

    class Connection:
        def __init__(self, fake, s, number):
            self.fake, self.socket, self.number, self.left = fake, s, number, b""

        def recv_line(self):
            """The next command line; None: the other side hung up. Data blocks of set are read too."""
            while b"\r\n" not in self.left:
                data = self.socket.recv(65536)
                if not data:
                    return None
                self.left += data
            line, self.left = self.left.split(b"\r\n", 1)
            self.fake.lines.append(line)
            return line

        def data(self, count):
            while len(self.left) < count:
                data = self.socket.recv(65536)
                if not data:
                    return None
                self.left += data
            out, self.left = self.left[:count], self.left[count:]
            return out

        def send(self, data):
            self.socket.sendall(data)

        def reset(self):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.socket.close()


def start(run, count=1, **options):
    return [run.own(Server(run.directory, **options)) for _ in range(count)]


def front(run, servers, memcached=None, listener=None, pool=None, upstreams=None, top=None, **upstream):
    """A proxy with one memcached listener; (proxy, port). Keywords are the upstream's keys."""
    port = free_port()
    cache = {"protocol": "memcached", "servers": [s if isinstance(s, (str, dict)) else s.text for s in servers], **upstream}
    if memcached:
        cache["memcached"] = memcached
    if pool:
        cache["pool"] = pool
    listen = [{"name": "mc", "address": f"127.0.0.1:{port}", "protocol": "memcached", "upstream": "cache", **(listener or {})}]
    conf = proxy.config({"cache": cache, **(upstreams or {})}, listen, **(top or {}))
    return run.proxy(conf), port


def connections(port):
    """Connections that this host has to a port of loopback, by state, on the dialing side."""
    out = subprocess.run(["ss", "-tanH", "dst", f"127.0.0.1:{port}"], capture_output=True, text=True, check=True).stdout
    found = {}
    for line in out.splitlines():
        state = line.split()[0]
        found[state] = found.get(state, 0) + 1
    return found


def php(script, *words, timeout=60):
    done = subprocess.run([binary("php", "php-cli"), "-d", "display_errors=stderr", "-r", script, "--", *map(str, words)],
                          capture_output=True, text=True, timeout=timeout, env={**os.environ})
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def wait_up(proxy_, label, up=1, timeout=20):
    until(lambda: proxy_.metrics().sum("lastack_server_up", server=label) == up, timeout, f"{label} up={up}")





def load(run, port, **options):
    """peer_memcload to its end; its numbers. What was wrong fails here."""
    from . import peers
    words = [peers.program("peer_memcload"), "--target", f"127.0.0.1:{port}"]
    for key, value in options.items():
        words += [f"--{key}", str(value)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    bad = {k: found[k] for k in ("wrong", "errors", "lost", "unfinished") if found[k]}
    assert not bad, f"{bad} of {found['commands']} commands; {found['first']}"
    return found
