"""FastCGI byte by byte: a client (what a web server sends), and a server whose answers are a Python function."""
import contextlib
import os
import socket
import struct
import threading

BEGIN, ABORT, END, PARAMS, STDIN, STDOUT, STDERR = range(1, 8)


def record(kind, content=b"", padding=0, request=1, version=1, reserved=0, length=None):
    """length: what its head says, when that is not the truth."""
    said = len(content) if length is None else length
    return struct.pack("!BBHHBB", version, kind, request, said, padding, reserved) + content + bytes(padding)


def addressed(data, request):
    """Records for request 1 made those of another one (what has a different id gets one as different; 0 stays). What is no
    whole record head stays as it is."""
    out, at = bytearray(data), 0
    while at + 8 <= len(out):
        if out[at + 3]:
            out[at + 3] = (out[at + 3] + request - 2) % 255 + 1
        at += 8 + (out[at + 4] << 8 | out[at + 5]) + out[at + 6]
    return bytes(out)


def end(status=0, protocol=0):
    return record(END, struct.pack("!IB3x", status, protocol))


def stdout(text, piece=65535):
    text = text if isinstance(text, bytes) else text.encode("latin-1")
    return b"".join(record(STDOUT, text[i:i + piece]) for i in range(0, len(text), piece))


def reply(body=b"ok", head="Content-Type: text/plain\r\n"):
    body = body if isinstance(body, bytes) else body.encode("latin-1")
    return stdout(head.encode() + b"\r\n" + body) + record(STDOUT) + end()


def _length(n):
    return bytes([n]) if n < 128 else struct.pack("!I", n | 0x80000000)


def pairs(params):
    out = b""
    for name, value in params.items():
        name, value = name.encode("latin-1"), value.encode("latin-1")
        out += _length(len(name)) + _length(len(value)) + name + value
    return out


def parse_pairs(data):
    """[(name, value)] in order; fails on anything that is left over."""
    out, at = [], 0

    def length():
        nonlocal at
        n = data[at]
        at += 1
        if n & 0x80:
            n = (n & 0x7f) << 24 | int.from_bytes(data[at:at + 3], "big")
            at += 3
        return n
    while at < len(data):
        name_n, value_n = length(), length()
        assert at + name_n + value_n <= len(data), "a pair that is longer than the parameters"
        out.append((data[at:at + name_n].decode("latin-1"), data[at + name_n:at + name_n + value_n].decode("latin-1")))
        at += name_n + value_n
    return out


class Request:
    """What a server was asked. params: a dict; doubled: names that came twice."""

    def __init__(self, keep, params, body, records):
        self.keep, self.params, self.body, self.records = keep, dict(params), body, records
        names = [n for n, _ in params]
        self.doubled = sorted({n for n in names if names.count(n) > 1})


class Connection:
    def __init__(self, sock):
        self.sock, self.buffer, self.requests, self.id = sock, b"", 0, 1
        sock.settimeout(60)

    def exactly(self, n):
        while len(self.buffer) < n:
            piece = self.sock.recv(1 << 18)
            if not piece:
                raise ConnectionError(self.buffer)
            self.buffer += piece
        part, self.buffer = self.buffer[:n], self.buffer[n:]
        return part

    def record(self):
        version, kind, request, length, padding, reserved = struct.unpack("!BBHHBB", self.exactly(8))
        if kind == BEGIN:
            assert request != self.id or self.requests == 0, "the id of the request before it"
            self.id = request
        assert (version, request, reserved) == (1, self.id, 0) and 0 < request < 256, (version, request, reserved)
        content = self.exactly(length)
        self.exactly(padding)
        return kind, content

    def request(self):
        """The next request in full; None: the other side hung up between two."""
        try:
            kind, content = self.record()
        except ConnectionError as error:
            if error.args[0] == b"":
                return None
            raise
        assert kind == BEGIN, kind
        role, flags = struct.unpack("!HB5x", content)
        assert role == 1
        params, body, records = b"", b"", []
        for kind, into in ((PARAMS, "params"), (STDIN, "body")):
            while True:
                got, content = self.record()
                assert got == kind, (got, kind)
                records.append((got, len(content)))
                if not content:
                    break
                if into == "params":
                    params += content
                else:
                    body += content
        self.requests += 1
        return Request(bool(flags & 1), parse_pairs(params), body, records)

    def send(self, data):
        self.sock.sendall(data)

    def answer(self, data):
        """Whole records, to the present request."""
        self.send(addressed(data, self.id))

    def finish(self):
        self.close()

    def reset(self):
        """A Unix socket has no RST: with bytes unread, its end is one."""
        self.close()

    def close(self):
        with contextlib.suppress(OSError):
            self.sock.close()


class Server:
    """A FastCGI server on a Unix socket. answer(request) gives bytes; or handler(connection) does everything itself."""

    def __init__(self, directory, answer=None, handler=None, backlog=128, name="app"):
        self.path = os.path.join(str(directory), f"{name}.sock")
        self.text = f"unix:{self.path}"
        self.answer, self.handler = answer or (lambda r: reply()), handler
        self.requests, self.connections, self.errors, self.open, self.most = [], [], [], 0, 0
        self.lock = threading.Lock()
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.bind(self.path)
        self.sock.listen(backlog)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.sock.accept()
            except OSError:
                return
            with self.lock:
                self.open += 1
                self.most = max(self.most, self.open)
            connection = Connection(sock)
            self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            if self.handler:
                self.handler(self, connection)
                return
            while True:
                request = connection.request()
                if request is None:
                    return
                self.requests.append(request)
                connection.answer(self.answer(request))
                if not request.keep:
                    return
        except (ConnectionError, OSError) as error:
            self.errors.append(error)
        finally:
            with self.lock:
                self.open -= 1
            connection.close()

    @property
    def last(self):
        return self.requests[-1]

    def close(self):
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)


class Answer:
    def __init__(self, out, err, ended):
        self.head, _, self.body = out.partition(b"\r\n\r\n")
        self.err, self.ended = err, ended


def get(path, script, query="", **params):
    """One request to the server at a Unix socket, or at (host, port), without FCGI_KEEP_CONN."""
    values = {"SCRIPT_FILENAME": script, "SCRIPT_NAME": script, "QUERY_STRING": query, "REQUEST_METHOD": "GET",
              "REQUEST_URI": script, "SERVER_PROTOCOL": "HTTP/1.1", "GATEWAY_INTERFACE": "CGI/1.1", **params}
    sock = socket.socket(socket.AF_UNIX if isinstance(path, str) else socket.AF_INET)
    sock.settimeout(20)
    sock.connect(path)
    c = Connection(sock)
    try:
        c.send(record(BEGIN, struct.pack("!HB5x", 1, 0)) + record(PARAMS, pairs(values)) + record(PARAMS) + record(STDIN))
        out, err = b"", b""
        while True:
            kind, content = c.record()
            if kind == STDOUT:
                out += content
            elif kind == STDERR:
                err += content
            elif kind == END:
                return Answer(out, err, content)
    finally:
        c.close()
