"""HTTP byte by byte: a client that sends exactly what it is told, and an origin whose behaviour is a Python function."""
import contextlib
import queue
import re
import socket
import ssl
import threading
import time

from . import netns


class Gone(Exception):
    """The other side closed in the middle of a message."""


class Message:
    """A parsed request or response. headers: list of (name, value) as received, without the fields' case changed."""

    def __init__(self, head, body=b"", trailers=(), chunked=False):
        self.head, self.body, self.trailers, self.chunked = head, body, list(trailers), chunked
        lines = head.split(b"\r\n")
        self.start = lines[0].decode("latin-1")
        self.headers = []
        for line in lines[1:]:
            if line:
                name, _, value = line.decode("latin-1").partition(":")
                self.headers.append((name, value.strip()))
        first, _, rest = self.start.partition(" ")
        if first.startswith("HTTP/"):
            self.version, self.status = first, int(rest[:3])
        else:
            self.method, (self.target, _, self.version) = first, rest.partition(" ")

    def get(self, name, default=None):
        found = self.all(name)
        return ", ".join(found) if found else default

    def all(self, name):
        return [v for n, v in self.headers if n.lower() == name.lower()]

    def __repr__(self):
        return f"<{self.start} {self.headers} {len(self.body)} bytes>"


class Stream:
    """A socket with a buffer and the framing rules of RFC 9112."""

    def __init__(self, sock, timeout=10):
        self.sock, self.buffer = sock, b""
        sock.settimeout(timeout)

    def send(self, data):
        self.sock.sendall(data if isinstance(data, bytes) else data.encode("latin-1"))

    def fill(self):
        piece = self.sock.recv(65536)
        self.buffer += piece
        return bool(piece)

    def until(self, mark):
        while mark not in self.buffer:
            if not self.fill():
                raise Gone(self.buffer)
        part, self.buffer = self.buffer.split(mark, 1)
        return part

    def exactly(self, n):
        pieces, have = [self.buffer], len(self.buffer)
        while have < n:
            piece = self.sock.recv(1 << 18)
            if not piece:
                raise Gone(b"".join(pieces)[:200])
            pieces.append(piece)
            have += len(piece)
        data = b"".join(pieces)
        self.buffer = data[n:]
        return data[:n]

    def head(self):
        return self.until(b"\r\n\r\n") + b"\r\n"

    def chunked(self):
        body, trailers = [], []
        while True:
            size = int(self.until(b"\r\n").split(b";")[0], 16)
            if size == 0:
                while True:
                    line = self.until(b"\r\n")
                    if not line:
                        return b"".join(body), trailers
                    name, _, value = line.decode("latin-1").partition(":")
                    trailers.append((name, value.strip()))
            body.append(self.exactly(size))
            assert self.exactly(2) == b"\r\n", "no CRLF after a chunk"

    def to_end(self):
        while self.fill():
            pass
        data, self.buffer = self.buffer, b""
        return data

    def at_end(self, timeout=5):
        """True when the other side closes (FIN or RST) within timeout without a byte more."""
        self.sock.settimeout(timeout)
        try:
            return not self.buffer and not self.fill()
        except ConnectionError:
            return True
        except socket.timeout:
            return False

    def close(self):
        with contextlib.suppress(OSError):
            self.sock.close()

    def finish(self):
        """Closes; over TLS the close_notify goes first and is answered."""
        if isinstance(self.sock, ssl.SSLSocket):
            with contextlib.suppress(OSError, ValueError):
                self.sock.unwrap()
        self.close()

    def reset(self):
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Client(Stream):
    """tls: an ssl.SSLContext; name: what to ask for (SNI); session: to resume; preface: bytes before everything."""

    def __init__(self, port, address="127.0.0.1", host=netns.HERE, timeout=10, receive_buffer=None, tls=None, name="test",
                 session=None, preface=b""):
        with host.inside():
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            sock = socket.socket(family)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect((address, port))
        if preface:
            sock.sendall(preface)
        if tls:
            sock = tls.wrap_socket(sock, server_hostname=name, session=session, suppress_ragged_eofs=False)
        super().__init__(sock, timeout)

    def response(self, to="GET"):
        """The next response, interim ones included (they come back as messages of their own)."""
        message = Message(self.head())
        if to == "HEAD" or message.status < 200 or message.status in (204, 304):
            return message
        if "chunked" in (message.get("Transfer-Encoding") or "").lower():
            message.body, message.trailers = self.chunked()
            message.chunked = True
        elif message.get("Content-Length") is not None:
            message.body = self.exactly(int(message.get("Content-Length")))
        else:
            message.body = self.to_end()
        return message

    def final(self, to="GET"):
        while True:
            message = self.response(to)
            if message.status >= 200:
                return message

    def ask(self, target="/", method="GET", headers="", body=b"", version="1.1", host="test"):
        """Sends one request and takes its final response."""
        self.send(request(target, method, headers, body, version, host))
        return self.final(method)


def request(target="/", method="GET", headers="", body=b"", version="1.1", host="test"):
    if body and "content-length" not in headers.lower() and "chunked" not in headers.lower():
        headers += f"Content-Length: {len(body)}\r\n"
    return f"{method} {target} HTTP/{version}\r\nHost: {host}\r\n{headers}\r\n".encode("latin-1") + body


def get(port, target="/", method="GET", headers="", body=b"", address="127.0.0.1", host=netns.HERE, name="test", timeout=10):
    """One request over a connection of its own."""
    with Client(port, address, host, timeout) as c:
        return c.ask(target, method, headers + "Connection: close\r\n", body, host=name)


def chunks(*pieces, trailers=""):
    return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\n" + trailers.encode() + b"\r\n"


def response(status=200, body=b"", headers="", reason="OK"):
    return f"HTTP/1.1 {status} {reason}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


class Connection(Stream):
    """The origin's side of a connection."""

    def __init__(self, origin, sock, number):
        super().__init__(sock, 30)
        self.origin, self.number, self.requests = origin, number, 0
        self.ended = None  # who closed first: "origin" or "peer"

    def request(self, body=True):
        """The next request, its body read; None when the peer closed instead."""
        try:
            while not self.buffer:
                if not self.fill():
                    return None
            message = Message(self.head())
        except (Gone, ConnectionError):
            return None
        if body:
            self.body(message)
        self.requests += 1
        self.origin.requests.append((self.number, message))
        return message

    def body(self, message):
        if "chunked" in (message.get("Transfer-Encoding") or "").lower():
            message.body, message.trailers = self.chunked()
            message.chunked = True
        else:
            message.body = self.exactly(int(message.get("Content-Length", "0")))

    def reply(self, *words, **more):
        self.send(response(*words, **more))


class Origin:
    """A server on loopback (or in a host). handler(connection) runs in a thread of its own per connection; what it
    does is what the origin does. answer: shorthand, handler that answers every request with answer(request)
    (bytes, or (status, body, headers))."""

    def __init__(self, handler=None, answer=None, host=netns.HERE, address="127.0.0.1", port=0, backlog=512, tls=None):
        self.tls = tls  # an ssl.SSLContext
        self.handler, self.answer = handler, answer or (lambda r: (200, b"hello", ""))
        self.connections, self.requests, self.errors = [], [], []
        self.lock, self.closing = threading.Lock(), False
        with host.inside():
            self.sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind((address, port))
        self.sock.listen(backlog)
        self.address, self.port = address, self.sock.getsockname()[1]
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    @property
    def text(self):
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    def _accept(self):
        while True:
            try:
                sock, _ = self.sock.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(self, sock, len(self.connections))
            self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            if self.tls:
                connection.sock = self.tls.wrap_socket(connection.sock, server_side=True, suppress_ragged_eofs=False)
            if self.handler:
                self.handler(connection)
                connection.ended = connection.ended or "origin"
            else:
                self._answer_all(connection)
        except (Gone, ConnectionError, socket.timeout, ValueError, OSError) as error:
            connection.ended = connection.ended or "peer"
            self.errors.append(error)
        except AssertionError as error:
            self.errors.append(error)
        finally:
            connection.close()

    def _answer_all(self, connection):
        while True:
            request = connection.request()
            if request is None:
                connection.ended = "peer"
                return
            answer = self.answer(request)
            connection.send(answer if isinstance(answer, bytes) else response(answer[0], answer[1], answer[2]))
            if "close" in (request.get("Connection") or "").lower():
                connection.ended = "origin"
                return

    @property
    def last(self):
        return self.requests[-1][1]

    def open(self):
        return sum(c.ended is None for c in self.connections)

    def close(self):
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)
            connection.close()


def held(gate, body=b"ok"):
    """An origin's handler: every answer waits for the gate (a threading.Event)."""
    def handler(c):
        while c.request():
            gate.wait(20)
            c.reply(200, body)
    return handler


class Crowd:
    """Runs function(n) in count threads; results() gives their results, or raises the first failure."""

    def __init__(self, count, function):
        self.out = queue.Queue()
        self.threads = [threading.Thread(target=self._run, args=(function, n), daemon=True) for n in range(count)]
        for t in self.threads:
            t.start()

    def _run(self, function, n):
        try:
            self.out.put((n, function(n), None))
        except BaseException as error:  # handed to the test
            self.out.put((n, None, error))

    def results(self, timeout=60):
        end = time.monotonic() + timeout
        found = {}
        for _ in self.threads:
            n, value, error = self.out.get(timeout=max(0.01, end - time.monotonic()))
            if error:
                raise error
            found[n] = value
        return [found[n] for n in sorted(found)]


def number(text):
    """The first number in a text."""
    return float(re.search(r"[\d.]+", text).group(0))
