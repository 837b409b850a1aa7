"""The same bytes before several proxies: raw requests as readable text, a server that writes down what reaches it,
and two ways to judge what was passed on: a strict reader of the canonical form, and python3-h11.

A file of requests: `== NAME` starts one; every line that begins with "|" is a line on the wire with its CRLF. In it
`\\r \\n \\t \\0 \\\\ \\xHH` stand for bytes, `{7000*A}` for a repetition, and a line that ends with a single backslash
has no CRLF. Everything else is comment."""
import collections
import os
import re
import socket
import threading

import h11

_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|[rnt0\\])|\{(\d+)\*((?:[^}\\]|\\.)*)\}")
_BYTES = {"r": "\r", "n": "\n", "t": "\t", "0": "\0", "\\": "\\"}
TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"

Seen = collections.namedtuple("Seen", "serial raw method target host fields body trailers whole")


def _unescape(text):
    def one(m):
        if m.group(2):
            return _ESCAPE.sub(one, m.group(3)) * int(m.group(2))
        return chr(int(m.group(1)[1:], 16)) if m.group(1)[0] == "x" else _BYTES[m.group(1)]
    return _ESCAPE.sub(one, text)


def read_cases(directory):
    """{"file/name": bytes}, in order."""
    cases = {}
    for file in sorted(os.listdir(directory)):
        if not file.endswith(".txt") or file == "differences.txt":
            continue
        name = None
        with open(os.path.join(directory, file), encoding="ascii") as f:
            for line in f.read().split("\n"):
                if line.startswith("== "):
                    name = f"{file[:-4]}/{line[3:].split()[0]}"
                    assert name not in cases, f"{name} is there twice"
                    cases[name] = b""
                elif line.startswith("|"):
                    text = line[1:]
                    bare = re.search(r"(?<!\\)(\\\\)*\\$", text) is not None
                    cases[name] += (_unescape(text[:-1]) if bare else _unescape(text) + "\r\n").encode("latin-1")
    return cases


# ---- what reached the server ------------------------------------------------------------------------------------------

def _number(text, base):
    return int(text, base) if re.fullmatch(rb"[0-9a-fA-F]+", text.strip()) else None


class _Stream:
    def __init__(self, sock):
        self.sock, self.buffer, self.raw = sock, b"", b""

    def more(self):
        piece = self.sock.recv(65536)
        self.buffer += piece
        return bool(piece)

    def take(self, n):
        while len(self.buffer) < n:
            if not self.more():
                raise EOFError
        part, self.buffer = self.buffer[:n], self.buffer[n:]
        self.raw += part
        return part

    def until(self, mark):
        while mark not in self.buffer:
            if not self.more():
                raise EOFError
        return self.take(self.buffer.index(mark) + len(mark))


class Recorder:
    """Answers every request with 200 and its serial number; take() gives what came since the last call. It reads
    what any of the proxies may send; whether that was canonical is judged elsewhere, on the bytes."""

    def __init__(self):
        self.lock, self.seen, self.serial = threading.Lock(), [], 0
        self.sock = socket.socket()
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen(64)
        self.port = self.sock.getsockname()[1]
        self.text = f"127.0.0.1:{self.port}"
        self.open = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.sock.accept()
            except OSError:
                return
            self.open.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        stream = _Stream(sock)
        try:
            while True:
                stream.raw = b""
                seen = self._request(stream)
                if seen is None:
                    return
                reply = f"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Serial: {seen.serial}\r\n"
                closes = any(n == "connection" and "close" in v.lower() for n, v in seen.fields)
                sock.sendall((reply + ("Connection: close\r\n" if closes else "") + "\r\n").encode())
                if closes:
                    return
        except OSError:
            pass
        finally:
            sock.close()

    def _request(self, stream):
        start, fields, body, trailers, whole = [], [], b"", [], False
        try:
            lines = stream.until(b"\r\n\r\n").split(b"\r\n")
            start = lines[0].decode("latin-1").split(" ")
            fields = _fields(lines[1:])
            length = [v for n, v in fields if n == "content-length"]
            if any(n == "transfer-encoding" and "chunked" in v.lower() for n, v in fields):
                while (size := _number(stream.until(b"\r\n")[:-2].split(b";")[0], 16)):
                    body += stream.take(size)
                    stream.take(2)
                while (line := stream.until(b"\r\n")) != b"\r\n":
                    trailers += _fields([line[:-2]])
            elif length:
                n = _number(length[0].encode("latin-1"), 10) or 0
                if n > 1 << 32:
                    raise EOFError  # nobody waits for that
                body = stream.take(n)
            whole = True
        except (EOFError, ConnectionError):
            if not stream.raw and not stream.buffer:
                return None
            stream.raw += stream.buffer
        with self.lock:
            self.serial += 1
            host = ",".join(v for n, v in fields if n == "host")
            seen = Seen(self.serial, stream.raw, start[0] if start else "", " ".join(start[1:-1]), host, fields, body,
                        trailers, whole)
            self.seen.append(seen)
        return seen if whole else None

    def take(self):
        with self.lock:
            seen, self.seen = self.seen, []
        return seen

    def close(self):
        self.sock.close()
        for sock in self.open:
            sock.close()


def _fields(lines):
    out = []
    for line in lines:
        if line:
            name, _, value = line.decode("latin-1").partition(":")
            out.append((name.lower(), value.strip(" \t")))
    return out


# ---- two judges -------------------------------------------------------------------------------------------------------

_HEAD = re.compile(rb"(" + TOKEN + rb") (/[^\x00-\x20\x7f-\xff#]*|\*) HTTP/1\.1\r\n((?:" + TOKEN +
                   rb": (?:[^\x00-\x20\x7f](?:[^\x00-\x08\x0a-\x1f\x7f]*[^\x00-\x20\x7f])?)?\r\n)*)\r\n")
_CHUNK = re.compile(rb"([1-9a-f][0-9a-f]*)\r\n")
_TRAILERS = re.compile(rb"0\r\n(?:" + TOKEN + rb": [^\x00-\x08\x0a-\x1f\x7f]*\r\n)*\r\n")
_HOP = {"keep-alive", "proxy-connection", "te", "upgrade", "proxy", "proxy-authorization", "http2-settings"}


def not_canonical(raw):
    """Why raw is not one request in the one form that nobody can read in two ways; None when it is."""
    head = _HEAD.match(raw)
    if not head:
        return "head"
    fields = _fields(head.group(3).split(b"\r\n"))
    names = [n for n, _ in fields]
    length = [v for n, v in fields if n == "content-length"]
    coding = [v for n, v in fields if n == "transfer-encoding"]
    if names.count("host") != 1 or len(length) + len(coding) > 1:
        return "host or framing fields"
    if _HOP & set(names):
        return "hop-by-hop fields"
    at = head.end()
    if length:
        if not re.fullmatch(r"0|[1-9][0-9]{0,19}", length[0]):
            return "content-length"
        at += int(length[0])
    elif coding:
        if coding != ["chunked"]:
            return "transfer-encoding"
        while (chunk := _CHUNK.match(raw, at)):
            at = chunk.end() + int(chunk.group(1), 16) + 2
            if raw[at - 2:at] != b"\r\n":
                return "chunk"
        end = _TRAILERS.match(raw, at)
        if not end:
            return "last chunk"
        at = end.end()
    return None if at == len(raw) else "length"


def h11_disagrees(seen):
    """Why python3-h11 does not read exactly this one request; None when it does."""
    server = h11.Connection(h11.SERVER)
    body, request = b"", None
    try:
        server.receive_data(seen.raw)
        while True:
            event = server.next_event()
            if isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return f"{event!r} before the end"
    except h11.RemoteProtocolError as error:
        return str(error)
    fields = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in request.headers]
    ours = (seen.method, seen.target, seen.fields, seen.body)
    theirs = (request.method.decode(), request.target.decode("latin-1"), fields, body)
    if ours != theirs:
        return f"{theirs} instead of {ours}"
    return "bytes are left over" if server.trailing_data[0] else None


# ---- one line for what happened ---------------------------------------------------------------------------------------

def _shown(text, most=48):
    text = "".join(c if " " < c < "\x7f" or c == " " else f"\\x{ord(c):02x}" for c in text)
    return text if len(text) <= most else f"{text[:most // 2]}...({len(text)})"


# Differ by configuration, or belong to one connection, or are the framing, which the content shows.
_IGNORED = {"via", "connection", "content-length", "transfer-encoding", "host"}


def outcome(seen):
    """`POST /t a.test [x=y] {content} <trailer=z>`, joined by " + "; `refused` when nothing reached the server."""
    texts = []
    for s in seen:
        fields = _shown(" ".join(sorted(f"{_shown(n)}={_shown(v)}" for n, v in s.fields if n not in _IGNORED)), 128)
        text = f"{_shown(s.method)} {_shown(s.target)} {_shown(s.host) or '-'}"
        text += f" [{fields}]" if fields else ""
        text += f" {{{_shown(s.body.decode('latin-1'))}}}" if s.body else ""
        text += " <" + " ".join(f"{n}={_shown(v)}" for n, v in s.trailers) + ">" if s.trailers else ""
        texts.append(text + ("" if s.whole else " (cut short)"))
    return " + ".join(texts) or "refused"
