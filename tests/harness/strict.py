"""Servers that take nothing but canonical requests: one records them, one plays a case. What a proxy lets through in a
doubtful form shows here as `bad`."""
import re
import threading

from .raw import Gone, Message, Origin, response

_START = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [\x21-\x7e]+ HTTP/1\.1")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([^\x00-\x08\x0a-\x1f\x7f]*[^\x00-\x20\x7f]|)")
_CHUNK = re.compile(rb"[0-9a-f]{1,16}")
_HOP = ("keep-alive", "proxy-connection", "proxy-authorization", "proxy", "http2-settings", "te")


class Bad(Exception):
    """A request that is not canonical."""


def _lines(head):
    first, *rest = head.split(b"\r\n")[:-1]
    if not _START.fullmatch(first):
        raise Bad(first)
    for line in rest:
        if not _FIELD.fullmatch(line):
            raise Bad(line)


def _judge(message):
    length, coding = message.all("Content-Length"), message.all("Transfer-Encoding")
    if len(message.all("Host")) != 1:
        raise Bad("Host", message)
    if len(length) + len(coding) > 1 or coding not in ([], ["chunked"]) or (length and not re.fullmatch(r"0|[1-9]\d*", length[0])):
        raise Bad("framing", message)
    if message.all("Connection") not in ([], ["close"]) or message.all("Upgrade"):
        raise Bad("connection", message)
    for name in _HOP:
        if message.all(name):
            raise Bad(name, message)
    if not re.match(r"/|\*$", message.target):
        raise Bad("target", message)


def _chunked(connection):
    """Like Stream.chunked, but a chunk line is a number and nothing else."""
    body = []
    while True:
        line = connection.until(b"\r\n")
        if not _CHUNK.fullmatch(line):
            raise Bad("chunk", line)
        if int(line, 16) == 0:
            break
        body.append(connection.exactly(int(line, 16)))
        if connection.exactly(2) != b"\r\n":
            raise Bad("chunk", body)
    trailers = []
    while (line := connection.until(b"\r\n")):
        if not _FIELD.fullmatch(line):
            raise Bad("trailer", line)
        name, _, value = line.decode("latin-1").partition(": ")
        trailers.append((name, value))
    return b"".join(body), trailers


class Strict(Origin):
    """seen: the requests that were complete, in order. bad: what was not canonical. cut: requests that broke off."""

    def __init__(self, **more):
        self.seen, self.bad, self.cut = [], [], 0
        super().__init__(self._run, **more)

    def take(self, connection):
        """The next request; None when the connection ended."""
        try:
            while not connection.buffer:
                if not connection.fill():
                    return None
            head = connection.head()
            _lines(head)
            message = Message(head)
            _judge(message)
            if message.all("Transfer-Encoding"):
                message.body, message.trailers = _chunked(connection)
                message.chunked = True
            else:
                message.body = connection.exactly(int(message.get("Content-Length", "0")))
        except Bad as error:
            self.bad.append(error)
            return None
        except (Gone, ConnectionError):
            self.cut += 1
            return None
        return message

    def own(self, connection, message):
        """The answer that says whose it is."""
        name = message.target.encode("latin-1")[:60]
        head = b"HTTP/1.1 200 OK\r\nX-Target: %s\r\nContent-Length: %d\r\n\r\n" % (name, len(name))
        connection.send(head + (b"" if message.method == "HEAD" else name))

    def serve(self, connection, message):
        self.own(connection, message)
        return True

    def _run(self, connection):
        while (message := self.take(connection)) is not None:
            message.number = connection.number
            self.seen.append(message)
            if not self.serve(connection, message):
                return


class Player(Strict):
    """Answers /t with the parts of a case, as split says; everything else with its own name."""

    def __init__(self, **more):
        self.rest()
        super().__init__(**more)

    def rest(self):
        self.parts, self.split = [], lambda data: [data]
        self.between = lambda: None     # called between two pieces
        self.heard = threading.Event()  # the client has what was sent so far: !idle waits for it
        self.played = threading.Event()

    def play(self, parts, split):
        self.parts, self.split = parts, split
        self.heard.clear()
        self.played.clear()

    def serve(self, connection, message):
        if not message.target.startswith("/t"):
            return super().serve(connection, message)
        try:
            return self._play(connection, self.parts)
        finally:
            self.played.set()

    def _play(self, connection, parts):
        for part in parts:
            if part == "idle":
                self.heard.wait(10)
            elif part == "fin":
                connection.finish()
                return False
            elif part == "rst":
                connection.reset()
                return False
            else:
                for n, piece in enumerate(self.split(part)):
                    if n:
                        self.between()
                    try:
                        connection.send(piece)
                    except OSError:
                        return False  # the proxy has seen enough
        return True


assert response  # for those who import both
