"""Hostile and odd HTTP, case by case: what the client saw, what the server saw, and whether anybody else felt it.

The cases are in cases/*.case. Each runs whole, cut at random places, byte by byte, behind a valid request, before one, with a
harmless field that moves everything, while somebody else waits for the same connection, and over TLS; with request_mode buffer
and stream.
There is one worker and one place: whatever a case leaves behind on a connection, the next request gets it.

code                          passes when
REJECT_CLOSE                  an answer of `status` and the end; the server saw no complete request
ABORT_STREAM                  no 2xx, and the end; the server saw no complete request
LIMIT                         refused (`status`) or served, nothing else
FORWARD                       the server saw exactly `requests`, each was answered 200, the connection goes on (or `closes`; with
                              `status` what follows is refused before that)
EITHER                        refused, or one request forwarded
RELAY, RELAY_NOREUSE          the response came through; _NOREUSE: its connection served nobody after it
EITHER_OK, EITHER_NOREUSE     the same, or 502
BAD_GATEWAY                   502; the connection served nobody after it
TRUNCATE                      502, or the client can see that the response is incomplete; no reuse

Where a code leaves a choice, it is the same one in all these ways: the first one's status and number of requests are compared
with the others'.

In every case the server gets nothing but canonical requests with the proxy's own field, and another client's request, on a
connection that is open all the time, gets its own answer."""
import os
import random
import re
import socket
import ssl

import pytest

from harness import cases, proxy
from harness.cases import LONG, pieces
from harness.certs import Authority, client_context, server_context
from harness.raw import Client, Gone
from harness.strict import Player, Strict
from harness.wait import scale

MODES = ("buffer", "stream")
SEED = int(os.environ.get("LASTACK_SEED") or int.from_bytes(os.urandom(3), "big"))
NONCE = "n0nce77"
FIRST_LINE = re.compile(rb"^(?:\r\n)*[^\r\n ]+ [^\r\n ]+ HTTP/1\.[01]\r\n")
WAYS = {"whole": 1, "random": scale(1, 40), "bytes": 1, "preceded": 1, "followed": 1, "padded": scale(1, 10), "pair": scale(1, 100),
        "tls": scale(1, 10)}
SERVER_WAYS = {"whole": 1, "random": scale(1, 40), "bytes": 1, "preceded": 1, "pair": scale(1, 100), "tls": scale(1, 10)}
CUT = {"pair": "random", "tls": "random"}  # how these ways cut a client's bytes


def get(target):
    return b"GET %s HTTP/1.1\r\nHost: a.test\r\n\r\n" % target.encode()


class World:
    """The proxy, its servers, and the clients that stay: a victim for each stage and one for barriers."""

    def __init__(self, run, mode):
        self.outcome = {}  # of each case: the way it was run first, and what came of it
        ca = Authority(run.folder("ca"))
        pair = ca.issue()
        self.recorder = run.own(Strict())
        self.players = {"stage": run.own(Player()), "stage-tls": run.own(Player(tls=server_context(pair)))}
        self.tls = client_context(ca)
        self.ports = {name: proxy.free_port() for name in ("web", "web-tls", "stage", "stage-tls", "gate")}
        listen = lambda name, **more: {"name": name, "address": f"127.0.0.1:{self.ports[name]}", "timeouts": {"keepalive": "1h"}, **more}
        upstream = lambda server, **more: {
            "servers": [server.text], "pool": {"max": 1}, "buffer": {"request_mode": mode}, "passive": {"failures": 0},
            "request_headers": {"set": {"X-Hop": NONCE}}, "queue": {"timeout": "20s"}, **more}
        conf = proxy.config(
            {"app": upstream(self.recorder), "stage": upstream(self.players["stage"]),
             "stage-tls": upstream(self.players["stage-tls"], tls={"ca": ca.certificate})},
            [listen("web", upstream="app"), listen("web-tls", upstream="app", tls={"certificates": [pair.conf]}),
             listen("stage", upstream="stage"), listen("stage-tls", upstream="stage-tls"), listen("gate")],
            routes=[{"host": "never.test", "path": "/", "upstream": "app", "listen": ["gate"]}], workers=1)
        self.proxy, self.number = run.proxy(conf), 0
        self.gate = run.own(Client(self.ports["gate"], timeout=20))
        self.victims = {name: self.new_victim(name) for name in ("web", "stage", "stage-tls")}
        for player in self.players.values():
            player.between = self.barrier

    def new_victim(self, where):
        client = Client(self.ports[where], timeout=20)
        assert client.ask("/victim-0").status == 200  # from now on it may idle
        return client

    def new_victims(self):
        """After a run that broke off: an answer to the old ones may be still to come."""
        for where, client in self.victims.items():
            client.close()
            self.victims[where] = self.new_victim(where)

    def barrier(self):
        """Comes back when the only worker has seen everything that was sent before: it answers in order."""
        self.gate.send(get("/"))
        assert self.gate.final().status == 404

    def ask_victim(self, where):
        self.number += 1
        self.victims[where].send(get(f"/victim-{self.number}"))

    def victim(self, where):
        """Why the victim's answer is not its own, or nothing."""
        try:
            r = self.victims[where].final()
        except (Gone, OSError) as error:
            self.victims[where] = self.new_victim(where)
            return [f"VICTIM {error!r}"]
        own = f"/victim-{self.number}"
        return [] if r.status == 200 and r.get("X-Target") == own and r.body == own.encode() else [f"VICTIM {r!r} {r.body[:80]}"]


@pytest.fixture(scope="module", params=MODES)
def world(request, module_run):
    return World(module_run, request.param)


# ---- sending and reading ----

class Talk:
    """One client's connection and what came back on it."""

    def __init__(self, port, head=False, tls=None):
        self.client, self.head = Client(port, timeout=15, tls=tls), head
        self.interim, self.statuses, self.ended, self.cut, self.raw_end = [], [], False, False, b""
        self.rude = False  # the connection ended without a close_notify

    def send(self, data):
        try:
            self.client.send(data)
        except OSError:
            pass  # refused in the middle: what was said before that is read below

    def final(self):
        """The next final response; None at the end of the connection."""
        while not self.ended:
            try:
                m = self.client.response("HEAD" if self.head else "GET")
            except Gone as gone:
                self.ended, self.raw_end = True, gone.args[0]
                self.cut = bool(gone.args[0])
            except ConnectionError:
                self.ended = True
            except ssl.SSLEOFError:
                self.ended = self.rude = True
            except socket.timeout:
                raise AssertionError("no answer") from None
            else:
                if m.status >= 200:
                    self.head = False
                    self.statuses.append(m.status)
                    return m
                self.interim.append(m.status)
        return None

    def over(self):
        """Has the proxy ended the connection, with nothing more said?"""
        try:
            return self.ended or self.client.at_end(15)
        except ssl.SSLEOFError:
            self.rude = True
            return True


def own(m, target):
    return m is not None and m.status == 200 and m.get("X-Target") == target[:60]


def compare(world, case, way, status, forwarded, why):
    """The same bytes come to the same, whichever way they come. What a client lost by its own haste says nothing, nor
    whether a response that breaks off was relayed already, nor what padding has brought over a bound."""
    if why or case.code == "TRUNCATE" or ("hasty" in case and status is None) or (case.code == "LIMIT" and way == "padded"):
        return
    first_way, first = world.outcome.setdefault(str(case), (way, (status, forwarded)))
    if (status, forwarded) != first:
        why.append(f"status {status}, forwarded {forwarded}; {first_way}: status {first[0]}, forwarded {first[1]}")


# ---- cases of clients ----

def read_forwarded(case, talk, n, way, why):
    """n answers, and then the connection is as the case says."""
    for i in range(n):
        m = talk.final()
        if m is None and "hasty" in case and way not in ("whole", "preceded", "followed", "padded"):
            return
        if m is None or m.status != 200:
            why.append(f"answer {i + 1} of {n} is {m!r}")
            return
    if "closes" in case:
        m = talk.final()
        if m is not None and m.status < 400:
            why.append(f"went on with {m!r}")
        if "status" in case and (m is None or m.status not in case.statuses):
            why.append(f"what follows is answered {m!r}")
        if not talk.over():
            why.append("not closed")
        return
    talk.send(get("/last"))
    if not own(talk.final(), "/last"):
        why.append("the connection does not go on")


def read_refused(case, talk, why):
    m = talk.final()
    if case.code == "REJECT_CLOSE" and (m is None or m.status not in case.statuses):
        why.append(f"answered {m!r}")
    if case.code == "ABORT_STREAM" and m is not None and m.status < 400:
        why.append(f"answered {m!r}")
    if m is not None and "lastack" not in (m.get("Proxy-Status") or ""):
        why.append("no Proxy-Status")
    if not talk.over():
        why.append("not closed")


def read_either(case, talk, followed, why):
    m = talk.final()
    if m is not None and m.status != 200 and not (400 <= m.status < 500 or m.status in (501, 505)):
        why.append(f"answered {m!r}")
    if case.code == "LIMIT" and "status" in case and m is not None and m.status not in case.statuses:
        why.append(f"answered {m!r}")
    if m is None or "close" in (m.get("Connection") or "").lower():
        if not talk.over():
            why.append("not closed")
        return
    if not followed:
        talk.send(get("/last"))
    m = talk.final()
    if m is not None and m.status == 200 and not own(m, "/after" if followed else "/last"):
        why.append(f"a second answer: {m!r}")


def judge_seen(world, case, before, way, why):
    """What the server saw of one run."""
    seen, bad = world.recorder.seen[before:], world.recorder.bad
    why += [f"not canonical: {b!r}" for b in bad]
    bad.clear()
    why += [f"SMUGGLED {m!r}" for m in seen if m.all("X-Hop") != [NONCE]]
    ours = [m for m in seen if not m.target.startswith("/victim-")]
    if way == "preceded":
        if not ours or ours[0].target != "/before":
            why.append("the request before it did not come first")
        ours = ours[1:]
    if way == "followed" and case.code != "REJECT_CLOSE" and "closes" not in case:
        ours = [m for m in ours if m.target != "/after"]
    ours = [m for m in ours if m.target != "/last"]
    if "evil" not in case:
        why += [f"EVIL {m!r}" for m in ours if m.target.startswith("/evil")]
    low, high = {"REJECT_CLOSE": (0, 0), "ABORT_STREAM": (0, 0), "EITHER": (0, 1), "LIMIT": (0, 1)}.get(case.code, (case.requests,) * 2)
    if not low <= len(ours) <= high:
        why.append(f"the server saw {ours!r}")
    for i, m in enumerate(ours):
        why += case.unseen(i + 1, m)
    return len(ours)


def run_client_case(world, case, way, rng):
    why, data = [], case.raw
    if way == "tls" and "plain" in case:
        return None
    if way == "padded":
        first = FIRST_LINE.match(data)
        if first is None:
            return None
        data = first.group(0) + b"X-Pad: %s\r\n" % (b"p" * rng.randint(1, 7900)) + data[first.end():]
    if way == "preceded":
        data = get("/before") + data
    if way == "followed":
        if "fin" in case:
            return None
        data += get("/after")
    web, tls = ("web-tls", world.tls) if way == "tls" else ("web", None)
    talk = Talk(world.ports[web], tls=tls, head=case.raw.startswith(b"HEAD") and way != "preceded")
    before, asked = len(world.recorder.seen), False
    with talk.client:
        for n, piece in enumerate(pieces(data, CUT.get(way, way), rng)):
            if n and way == "pair" and not asked:
                world.barrier()
                world.ask_victim("web")
                asked = True
            elif n:
                world.barrier()
            talk.send(piece)
        if "fin" in case:
            talk.client.sock.shutdown(socket.SHUT_WR)
        if way == "preceded":
            if not own(talk.final(), "/before"):
                why.append("the request before it was not answered")
            talk.head = case.raw.startswith(b"HEAD")
        if case.code == "FORWARD":
            read_forwarded(case, talk, case.requests + (way == "followed" and "closes" not in case), way, why)
        elif case.code in ("REJECT_CLOSE", "ABORT_STREAM"):
            read_refused(case, talk, why)
        else:
            read_either(case, talk, way == "followed", why)
    if talk.rude and "hasty" not in case:
        why.append("ended without a close_notify")
    if talk.interim and b"HTTP/1.0\r\n" in case.raw:
        why.append(f"interim responses to HTTP/1.0: {talk.interim}")
    if not asked:
        world.ask_victim("web")
    why += world.victim("web")
    forwarded = judge_seen(world, case, before, way, why)
    status = next(iter(talk.statuses[way == "preceded":]), None)
    compare(world, case, way, status, forwarded, why)
    return why


# ---- cases of servers ----

def judge_response(case, talk, m, why):
    status = m.status if m is not None else None
    if m is not None and "lastack" in (m.get("Proxy-Status") or ""):
        allowed = [int(x) for x in case.options.get("status", "502").split(",")]
        if case.code in ("RELAY", "RELAY_NOREUSE") or status not in allowed:
            why.append(f"answered {m!r}")
        return
    if case.code == "BAD_GATEWAY" or (case.code == "LIMIT" and m is not None):
        why.append(f"answered {m!r}")
    elif case.code == "TRUNCATE":
        if m is not None:
            why.append(f"FAKE END {m!r}")
        elif talk.raw_end.endswith(b"0\r\n\r\n"):
            why.append(f"FAKE END {talk.raw_end[-40:]!r}")
    elif m is None:
        why.append("no response")
    else:
        why += case.unseen(1, m)


def run_server_case(world, case, way, rng):
    if way == "pair" and "alone" in case:
        return None
    why, stage = [], "stage-tls" if way == "tls" else "stage"
    player = world.players[stage]
    player.play(case.parts, lambda data: pieces(data, "random" if way == "tls" else way, rng))
    before = len(player.seen)
    request = case.request or get("/t")
    talk = Talk(world.ports[stage])
    with talk.client:
        if way == "preceded":
            talk.send(get("/before"))
            if not own(talk.final(), "/before"):
                why.append("the request before it was not answered")
        talk.head = request.startswith(b"HEAD")
        talk.send(request)
        if way == "pair":
            world.ask_victim(stage)
        m = talk.final()
        player.heard.set()
        assert player.played.wait(15), "the server never got the request"
        if way != "pair":
            world.ask_victim(stage)
        why += world.victim(stage)
        judge_response(case, talk, m, why)
        if not talk.ended and m is not None and "close" not in (m.get("Connection") or "").lower():
            talk.send(get("/last"))
            if not own(talk.final(), "/last"):
                why.append("the client's connection does not go on")
        elif not talk.over():
            why.append("the client's connection stays open")
    heard = (m.head + b"\r\n" + m.body if m is not None else talk.raw_end) + talk.client.buffer
    if "forbid" in case and cases.unescape(case.options["forbid"]) in heard:
        why.append(f"the client got {case.options['forbid']}")
    if b"stolen" in heard.lower():
        why.append("STOLEN")
    seen = player.seen[before:]
    of_case = [x.number for x in seen if x.target.startswith("/t")]
    after = [x.number for x in seen if x.target.startswith("/victim-")]
    reused = of_case and after and of_case[0] == after[0] and seen.index(next(x for x in seen if x.target.startswith("/t"))) < \
        seen.index(next(x for x in seen if x.target.startswith("/victim-")))
    if len(of_case) != 1 and not ("again" in case and len(of_case) == 2):
        why.append(f"sent {len(of_case)} times")
    if reused and case.code in ("RELAY_NOREUSE", "EITHER_NOREUSE", "BAD_GATEWAY", "TRUNCATE"):
        why.append("REUSED")
    if case.code == "RELAY" and way != "pair" and not reused:
        why.append("not reused")
    why += [f"not canonical: {b!r}" for b in player.bad]
    player.bad.clear()
    if "again" not in case:
        compare(world, case, way, m and m.status, len(of_case), why)
    return why


# ---- the tests ----

def run_all(world, family, way, times, one):
    rng = random.Random(f"{SEED}-{family}-{way}")
    failed = []
    for case in cases.load(family):
        for _ in range(times):
            try:
                why = one(world, case, way, rng)
            except (AssertionError, OSError) as error:
                why = [str(error) or repr(error)]
                world.new_victims()
            if why is None:
                break
            cases.TALLY.note(case, why)
            if why:
                failed.append(f"{case} ({case.level} {case.code}): {'; '.join(why)}")
                break
        assert world.proxy.process.alive(), f"the proxy died at {case}"
    assert not failed, f"LASTACK_SEED={SEED}\n" + "\n".join(failed)


def ways(table):
    """Under the sanitizers one way is enough."""
    return [pytest.param(way, marks=pytest.mark.sanitizer if way == "random" else ()) for way in table]


@pytest.mark.parametrize("way", ways(WAYS))
@pytest.mark.parametrize("family", [f for f in cases.families() if f != "response"])
def test_requests(world, family, way):
    run_all(world, family, way, WAYS[way], run_client_case)


@pytest.mark.parametrize("way", ways(SERVER_WAYS))
def test_responses(world, way):
    run_all(world, "response", way, SERVER_WAYS[way], run_server_case)


def test_every_two_way_split(world):
    """All of them under LASTACK_FULL; else one in 29, from a random start."""
    rng = random.Random(SEED)
    failed = []
    for family in cases.families():
        if family == "response":
            continue
        for case in cases.load(family):
            for at in range(1 + rng.randrange(scale(29, 1)), min(len(case.raw), LONG), scale(29, 1)):
                why = run_client_case(world, case, at, rng)
                cases.TALLY.note(case, why)
                if why:
                    failed.append(f"{case} cut at {at}: {'; '.join(why)}")
                    break
    assert not failed, "\n".join(failed)
