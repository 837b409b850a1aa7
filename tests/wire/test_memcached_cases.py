"""Hostile and odd memcached, case by case: what the client saw, what the server saw, and whether anybody else felt it.

The cases are in cases/memcached/. requests: what clients send, each whole, cut at random places, byte by byte, behind a valid
command, before one, and while somebody else waits for the same connection. replies: what servers answer to `get k1` (or to
the lines with `?`). There is one worker and one connection: whatever a case leaves behind on it, the next command gets it.

code                          passes when
REJECT_KEEP                   an error line; the server saw nothing of it; the connection goes on or ends
REJECT_CLOSE                  an error line or nothing, and the end; the server saw nothing of it
ABORT_STREAM                  the client left in the middle: the server saw nothing, the client got nothing
LIMIT                         an error line and the end, or one answer with one END
FORWARD                       the server saw exactly the commands of `server`, the client got `answer`, the connection goes on
LOCAL                         the same, with an answer that no server gives; `closes`: and then the end
EITHER                        refused, or forwarded once
EARLY                         the client got `answer`, each command its own, whatever the server made of the first
RELAY, RELAY_NOREUSE          the client got the reply (or `answer`); _NOREUSE: the connection served nobody after it
BAD_GATEWAY, TRUNCATE         SERVER_ERROR or the end, never something that looks complete; no reuse
LATE                          SERVER_ERROR when its time is over, whatever the server says later; no reuse

In every case the server gets nothing but canonical lines (single spaces, CRLF, no control characters, no noreply, no q), and
another client's get, on a connection that is open all the time, is answered with its own value."""
import re
import socket
import threading

import pytest

from harness import cases, memcached as mc, proxy
from harness.cases import pieces
from harness.wait import scale

from test_http_cases import run_all, ways

WAYS = {"whole": 1, "random": scale(1, 40), "bytes": 1, "preceded": 1, "followed": 1, "pair": scale(1, 100)}
CANONICAL = re.compile(rb"[^\x00-\x20\x7f]+(?: [^\x00-\x20\x7f]+)*\Z")
STORES = {b"set": 4, b"add": 4, b"replace": 4, b"append": 4, b"prepend": 4, b"cas": 4, b"ms": 2}
ERROR = re.compile(rb"(?:ERROR|CLIENT_ERROR [^\r\n]+|SERVER_ERROR [^\r\n]+)\r\n")


def value(key):
    return b"VALUE %b 0 %d\r\n%b\r\n" % (key, len(key), key)


class Stage:
    """A memcached that takes nothing but canonical lines and remembers them. A command for k1 is played as `play` said."""

    def __init__(self):
        self.seen, self.bad = [], []  # (connection, line, data)
        self.parts, self.cut, self.between = None, None, lambda: None
        self.go, self.heard, self.played = threading.Event(), threading.Event(), threading.Event()
        self.fake = mc.Fake(self._serve)

    def play(self, parts, cut):
        self.go.clear()
        self.heard.clear()
        self.played.clear()
        self.cut, self.parts = cut, parts

    def stop(self):
        self.parts = None

    def _serve(self, conn):
        while (line := conn.recv_line()) is not None:
            word = line.split(b" ")
            if line == b"quit":
                return
            data = None
            if word[0] in STORES:
                data = conn.data(int(word[STORES[word[0]]]) + 2)
                if data is None or data[-2:] != b"\r\n":
                    self.bad.append((line, data and data[-40:]))
                    return
                data = data[:-2]
            self._judge(line, word)
            self.seen.append((conn.number, line, data))
            if self.parts is not None and word[1:2] == [b"k1"]:
                try:
                    goes_on = self._play(conn)
                finally:
                    self.played.set()
                if not goes_on:
                    return
            else:
                conn.send(self._answer(word, data))

    def _judge(self, line, word):
        told = word[-1] == b"noreply" and not (word[0] in (b"get", b"gets", b"gat", b"gats") or (word[0] in STORES and len(word) < 6))
        padded = word[0] in STORES and any(re.match(rb"-?0[0-9]", w) for w in word[2:])  # 1.6.40 takes its data for commands
        if not CANONICAL.match(line) or told or padded or (word[0][:1] == b"m" and b"q" in word[2:]):
            self.bad.append(line)

    @staticmethod
    def _answer(word, data):
        verb = word[0]
        if verb in (b"get", b"gets"):
            return b"".join(map(value, word[1:])) + b"END\r\n"
        if verb in (b"gat", b"gats"):
            return b"END\r\n"
        if verb == b"ms":
            return b"HD\r\n"
        if verb in STORES:
            return b"SERVER_ERROR object too large for cache\r\n" if len(data) > 1 << 20 else b"STORED\r\n"
        if verb == b"delete":
            return b"DELETED\r\n" if word[2:] in ([], [b"0"]) else b"CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]\r\n"
        if verb == b"touch":
            return b"TOUCHED\r\n" if len(word) == 3 else b"ERROR\r\n"
        if verb == b"incr":
            if len(word) < 3:
                return b"ERROR\r\n"
            return b"5\r\n" if word[2].isdigit() else b"CLIENT_ERROR invalid numeric delta argument\r\n"
        return b"EN\r\n" if verb == b"mg" else b"ERROR\r\n"

    def _play(self, conn):
        """False: it hung up."""
        self.go.wait(20)
        for part in self.parts or ():
            if isinstance(part, bytes):
                for n, piece in enumerate(self.cut(part)):
                    if n:
                        self.between()
                    conn.send(piece)
            elif part in ("idle", "late"):
                self.heard.wait(20)
                self.between()
            elif part == "rst":
                conn.reset()
                return False
            else:
                return False
        return True


class World:
    """The proxy, a server for each listener, a client for barriers and one victim for each server."""

    def __init__(self, run):
        self.stages = {name: Stage() for name in ("app", "play", "late")}
        for stage in self.stages.values():
            run.own(stage.fake)
            stage.between = self.barrier
        self.ports, self.number = {name: proxy.free_port() for name in self.stages}, 0
        conf = proxy.config(
            {name: {"protocol": "memcached", "servers": [s.fake.text], "pool": {"max": 1}, "passive": {"failures": 0},
                    "timeouts": {"response": "1s" if name == "late" else "20s"}} for name, s in self.stages.items()},
            [{"name": name, "address": f"127.0.0.1:{port}", "protocol": "memcached", "upstream": name,
              "memcached": {"flush_all": "deny"}}
             for name, port in self.ports.items()], workers=1)
        self.proxy = run.proxy(conf)
        self.gate, self.one = run.own(mc.Client(self.ports["app"])), threading.Lock()
        self.victims = {name: run.own(mc.Client(port)) for name, port in self.ports.items()}
        self.asked = {name: None for name in self.ports}
        self.run = run

    def barrier(self):
        """Comes back when the only worker has seen everything that was sent before: it answers in order."""
        with self.one:  # connections of a case and of what was asked again play at the same time
            assert self.gate.ask(b"mn\r\n") == b"MN\r\n"

    def ask_victim(self, name):
        self.number += 1
        self.asked[name] = b"victim-%d" % self.number
        self.victims[name].send(b"get %b\r\n" % self.asked[name])

    def victim(self, name):
        """Why the victim's answer is not its own, or nothing."""
        if self.asked[name] is None:
            self.ask_victim(name)
        key, self.asked[name] = self.asked[name], None
        try:
            found = self.victims[name].values()
        except (OSError, AssertionError) as error:
            self.victims[name].close()
            self.victims[name] = self.run.own(mc.Client(self.ports[name]))
            return [f"VICTIM {error!r}"]
        return [] if found == {key: key} else [f"VICTIM {found}"]

    def new_victims(self):
        for name, client in self.victims.items():
            client.close()
            self.victims[name], self.asked[name] = self.run.own(mc.Client(self.ports[name])), None


@pytest.fixture(scope="module")
def world(module_run):
    return World(module_run)


def what(case, name):
    """The texts of what must be seen under this name, as bytes."""
    return [cases.unescape(text) for _, which, text in case.wants if which == name]


class Talk:
    """A client; what it got until `sentinel`, its last get, was answered, or until the end."""

    def __init__(self, port):
        self.client, self.ended = mc.Client(port, timeout=15), False

    def send(self, data):
        try:
            self.client.send(data)
        except OSError:
            pass  # hung up in the middle: what was said before that is read below

    def rest(self, sentinel=None):
        end = sentinel and value(sentinel) + b"END\r\n"
        if sentinel:
            self.send(b"get %b\r\n" % sentinel)
        try:
            text = self.client.until(end) if end else self.client.rest()
        except ConnectionResetError:
            text, self.client.left = self.client.left, b""
        except TimeoutError:
            raise AssertionError(f"no answer; so far {self.client.left[-300:]!r}") from None
        self.ended = not end or not text.endswith(end)
        return text if self.ended else text[:-len(end)]


# ---- cases of clients ----

def judge_request(case, got, ended, why):
    error = ERROR.match(got)
    if case.code == "REJECT_KEEP" and not error:
        why.append(f"answered {got[:200]!r}")
    elif case.code == "REJECT_CLOSE" and ((got and not error) or not ended):
        why.append(f"answered {got[:200]!r}, {'closed' if ended else 'not closed'}")
    elif case.code == "ABORT_STREAM" and got:
        why.append(f"answered {got[:200]!r}")
    elif case.code == "LIMIT" and not (error and ended) and not (got.count(b"END\r\n") == 1 and b"ERROR" not in got):
        why.append(f"answered {got[:200]!r}, {'closed' if ended else 'not closed'}")
    elif case.code in ("FORWARD", "LOCAL", "EARLY"):
        for answer in what(case, "answer"):
            if got != answer:
                why.append(f"answered {got[:200]!r}")
        if ended != ("closes" in case):
            why.append("closed" if ended else "not closed")


def judge_seen(case, seen, why):
    if case.code in ("REJECT_KEEP", "REJECT_CLOSE", "ABORT_STREAM") and seen:
        why.append(f"the server saw {seen!r}")
    if case.code in ("FORWARD", "LOCAL") and case.wants:
        wanted = what(case, "server")
        if [line for _, line, _ in seen] != wanted:
            why.append(f"the server saw {seen!r}")
        blocks = [data for _, _, data in seen if data is not None]
        if what(case, "data") and blocks != what(case, "data"):
            why.append(f"the server got {blocks!r}")
    if case.code in ("EITHER", "LIMIT") and len(seen) > (1 if case.code == "EITHER" else 10000):
        why.append(f"the server saw {len(seen)} commands")
    if any(line.startswith((b"flush_all", b"shutdown", b"watch")) for _, line, _ in seen):
        why.append(f"EVIL {seen!r}")


def run_client_case(world, case, way, rng):
    why, stage, data = [], world.stages["app"], case.raw
    ends = [p for p in case.parts if not isinstance(p, bytes)]
    if way == "followed" and (ends or not data.endswith(b"\n")):
        return None
    data = (b"get before\r\n" if way == "preceded" else b"") + data + (b"get after\r\n" if way == "followed" else b"")
    before = len(stage.seen)
    talk = Talk(world.ports["app"])
    with talk.client:
        for n, piece in enumerate(pieces(data, "random" if way == "pair" else way, rng)):
            if n:
                world.barrier()
            if n == 1 and way == "pair":
                world.ask_victim("app")
            talk.send(piece)
        if ends == ["rst"]:
            world.barrier()
            talk.client.reset()
            got = b""
        elif ends == ["fin"]:
            talk.client.socket.shutdown(socket.SHUT_WR)
            got = talk.rest()
        elif case.code == "REJECT_CLOSE" or "closes" in case:
            got = talk.rest()
        else:
            got = talk.rest(b"sentinel")
    if way == "preceded" and ends != ["rst"]:
        first = value(b"before") + b"END\r\n"
        if not got.startswith(first) and not (case.code == "LIMIT" and talk.ended):
            why.append(f"the command before it was answered {got[:200]!r}")
        got = got[len(first):]
    if way == "followed":
        last = value(b"after") + b"END\r\n"
        if got.endswith(last):
            got = got[:-len(last)]
        elif not talk.ended:
            why.append(f"the command after it was answered {got[-200:]!r}")
    judge_request(case, got, talk.ended, why)
    world.barrier()
    why += world.victim("app")
    why += [f"not canonical: {b!r}" for b in stage.bad]
    stage.bad.clear()
    others = (b"get before", b"get after", b"get sentinel")
    judge_seen(case, [s for s in stage.seen[before:] if s[1] not in others and not s[1].startswith(b"get victim-")], why)
    return why


# ---- cases of servers ----

def judge_reply(case, got, ended, wanted, why):
    if b"stolen" in got and case.code != "RELAY":
        why.append(f"STOLEN {got[:200]!r}")
    if case.code in ("RELAY", "RELAY_NOREUSE"):
        if got != wanted or ended:
            why.append(f"answered {got[:200]!r}, {'closed' if ended else 'not closed'}")
    elif case.code == "LATE":
        if got != b"SERVER_ERROR lastack: server did not respond in time\r\n":
            why.append(f"answered {got[:200]!r}")
    elif b"SERVER_ERROR lastack: " not in got and not (ended and not got.endswith(b"END\r\n")):
        why.append(f"answered {got[-200:]!r}, {'closed' if ended else 'not closed'}")


def run_server_case(world, case, way, rng):
    if way == "followed" or (way == "pair" and "alone" in case):
        return None
    name = "late" if case.code == "LATE" else "play"
    if name == "late" and way not in ("whole", "pair"):
        return None
    why, stage, request = [], world.stages[name], case.request or b"get k1\r\n"
    before = len(stage.seen)
    why += world.victim(name)  # its connection has answered somebody
    talk = Talk(world.ports[name])
    stage.play(case.parts, lambda data: pieces(data, way, rng))
    with talk.client:
        if way == "preceded":
            talk.send(b"get before\r\n")
            if talk.client.values() != {b"before": b"before"}:
                why.append("the command before it was answered wrongly")
        talk.send(request)
        if way == "pair":
            world.barrier()
            world.ask_victim(name)
            world.barrier()
        stage.go.set()
        wanted = (what(case, "answer") or [case.raw])[0]
        got = b""
        if case.code in ("RELAY_NOREUSE", "LATE"):
            got = talk.client.line() if case.code == "LATE" else talk.client.exactly(len(wanted))
            stage.heard.set()
            assert stage.played.wait(15), "the server could not say it all"
            world.barrier()
        got += talk.rest(b"sentinel")
    judge_reply(case, got, talk.ended, wanted, why)
    stage.stop()
    why += world.victim(name)
    why += [f"not canonical: {b!r}" for b in stage.bad]
    stage.bad.clear()
    seen = stage.seen[before:]
    of_case = [number for number, line, _ in seen if line.split(b" ")[1:2] == [b"k1"]]
    safe = request.startswith((b"get", b"gets"))
    if not 1 <= len(of_case) <= (2 if safe and case.code != "RELAY" else 1):
        why.append(f"sent {len(of_case)} times")
    reused = of_case and seen[-1][0] == of_case[-1]
    if way != "pair" and case.code != "RELAY" and reused:
        why.append("REUSED")
    if case.code == "RELAY" and not reused:
        why.append("not reused")
    return why


# ---- the tests ----

@pytest.mark.parametrize("way", ways(WAYS))
@pytest.mark.parametrize("family", ["requests", "replies"])
def test_cases(world, family, way):
    run_all(world, f"memcached/{family}", way, WAYS[way], run_client_case if family == "requests" else run_server_case)
