"""FastCGI servers that take nothing but exact requests: one records them, one plays a case. The twins of strict.py."""
import os
import re

from . import fcgi
from .strict import Player as HttpPlayer

OURS = set("""SCRIPT_FILENAME SCRIPT_NAME PATH_INFO QUERY_STRING REQUEST_METHOD REQUEST_URI DOCUMENT_URI DOCUMENT_ROOT SERVER_PROTOCOL
    REQUEST_SCHEME HTTPS GATEWAY_INTERFACE SERVER_SOFTWARE REMOTE_ADDR REMOTE_PORT SERVER_ADDR SERVER_PORT SERVER_NAME REDIRECT_STATUS
    CONTENT_TYPE CONTENT_LENGTH""".split())
NEVER = {"HTTP_PROXY", "HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE", "HTTP_CONNECTION", "HTTP_TRANSFER_ENCODING", "HTTP_TE", "HTTP_TRAILER",
         "HTTP_UPGRADE", "HTTP_EXPECT", "HTTP_KEEP_ALIVE", "HTTP_PROXY_AUTHORIZATION", "HTTP_PROXY_CONNECTION"}
FIELD = re.compile(r"HTTP_[A-Z0-9_]+")


class Told:
    """A request as the cases look at it."""

    def __init__(self, request, number):
        self.params, self.body, self.number, self.trailers = request.params, request.body, number, []
        self.method, self.target = self.params["REQUEST_METHOD"], self.params["REQUEST_URI"]

    def all(self, name):
        value = self.params.get("HTTP_" + name.upper().replace("-", "_"))
        return [] if value is None else [value]

    def __repr__(self):
        return f"<{self.method} {self.target} {self.params['SCRIPT_NAME']} {len(self.body)} bytes>"


def judge(request, root):
    """What holds for every request to a script; fails with what does not."""
    p = request.params
    assert not request.doubled, request.doubled
    assert not NEVER & set(p), NEVER & set(p)
    odd = [n for n in p if n not in OURS and not FIELD.fullmatch(n)]
    assert not odd, odd
    script = p["SCRIPT_FILENAME"]
    assert script == root + p["SCRIPT_NAME"] and p["DOCUMENT_ROOT"] == root, script
    assert script.endswith(".php") and os.path.isfile(script) and os.path.realpath(script) == script, script
    assert p.get("PATH_INFO", "/").startswith("/"), p["PATH_INFO"]
    assert p["CONTENT_LENGTH"] == str(len(request.body)) or (p["CONTENT_LENGTH"], request.body) == ("", b""), p["CONTENT_LENGTH"]
    assert p["REQUEST_URI"] and p["GATEWAY_INTERFACE"] == "CGI/1.1" and p["REDIRECT_STATUS"] == "200"


class Recorder(fcgi.Server):
    """seen: the requests that were complete, in order. bad: what was not exact. cut: requests that broke off."""

    def __init__(self, directory, root, name):
        self.root, self.seen, self.bad, self.cut, self.begun = root, [], [], 0, 0
        super().__init__(directory, handler=self._run, name=name)

    def _run(self, _, connection):
        self.begun += 1
        number = self.begun
        try:
            while (request := connection.request()) is not None:
                judge(request, self.root)
                told = Told(request, number)
                self.seen.append(told)
                if not self.serve(connection, told) or not request.keep:
                    return
        except AssertionError as error:
            self.bad.append(error)
        except (ConnectionError, OSError):
            self.cut += 1

    def serve(self, connection, told):
        """The answer that says whose it is."""
        name = told.target.encode("latin-1")[:60]
        connection.answer(fcgi.reply(b"" if told.method == "HEAD" else name, f"X-Target: {name.decode('latin-1')}\r\n"))
        return True


class Player(Recorder):
    """Answers /t with the parts of a case, as split says; everything else with its own name."""
    play, _play = HttpPlayer.play, HttpPlayer._play

    def __init__(self, directory, root, name):
        HttpPlayer.rest(self)
        super().__init__(directory, root, name)

    def serve(self, connection, told):
        if not told.target.startswith("/t"):
            return super().serve(connection, told)
        try:
            return self._play(connection, [fcgi.addressed(p, connection.id) if isinstance(p, bytes) else p for p in self.parts])
        finally:
            self.played.set()
