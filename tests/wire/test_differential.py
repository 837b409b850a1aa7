"""The same bytes to lastack, nginx and HAProxy, each before a server of the same kind that writes down what arrives.

Wherever lastack passes on something else than a peer (or refuses what the peer passes on, or the other way round),
tests/wire/differential/differences.txt says so and why; a difference that is not there, and a row there that is no
longer true, fail. With other versions of a peer than those in that file its rows are not judged. What lastack passes
on is judged by itself too: one request in, one canonical request out, which python3-h11 reads the same way.

LASTACK_DIFFERENCES=FILE writes the rows as they are now to FILE, the ones without a reason first."""
import os
import random
import re
import socket
import subprocess

import pytest

from harness import differ
from harness.servers import Haproxy, Nginx
from harness.wait import FULL, scale

HERE = os.path.join(os.path.dirname(__file__), "differential")
CASES = differ.read_cases(HERE)
TABLE = os.path.join(HERE, "differences.txt")
WRITE = os.environ.get("LASTACK_DIFFERENCES")
CANARY = b"GET /canary HTTP/1.1\r\nHost: canary.test\r\nConnection: close\r\n\r\n"
SERIAL = re.compile(rb"(?im)^x-serial: (\d+)\r$")
NGINX = """location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection "";
             proxy_set_header Host $http_host; proxy_next_upstream off; proxy_ignore_client_abort on; }
           client_max_body_size 0; large_client_header_buffers 4 32k;"""


class Lane:
    """One proxy with its recorder: bytes in, what reached the server and what the client heard out."""

    def __init__(self, name, port, recorder):
        self.name, self.port, self.recorder = name, port, recorder

    def exchange(self, raw, answers, patience):
        """All that comes back until the proxy closes. The client says that it has sent all when it has heard so many
        answers (or has waited long enough for them): HAProxy may drop what is still to do when it sees a FIN."""
        got = b""
        with socket.create_connection(("127.0.0.1", self.port), 20) as s:
            try:
                s.sendall(raw)
                s.settimeout(patience)
                while len(SERIAL.findall(got)) < answers:
                    try:
                        piece = s.recv(65536)
                    except socket.timeout:
                        break
                    if not piece:
                        break
                    got += piece
                s.settimeout(20)
                s.shutdown(socket.SHUT_WR)
                while (piece := s.recv(65536)):
                    got += piece
            except socket.timeout:
                raise AssertionError(f"{self.name} did not close after {raw[:200]!r}") from None
            except OSError:
                pass  # refused, and closed, before all was sent
        return got

    def run(self, raw, answers=0, patience=0.2):
        """(requests at the server, serials of the answers that the client heard). A canary on a connection of its own
        follows: what is recorded before it belongs to this case, and it must hear its own answer. answers: how many
        are awaited before the client's FIN."""
        heard = self.exchange(raw, answers, patience)
        answer = self.exchange(CANARY, 1, 20)
        seen = self.recorder.take()
        assert seen and seen[-1].target == "/canary", f"{self.name}: the canary is not the last: {differ.outcome(seen)}"
        own = b"X-Serial: %d\r\n" % seen[-1].serial
        assert answer.startswith(b"HTTP/1.1 200 ") and own.lower() in answer.lower(), f"{self.name}: the canary heard {answer!r}"
        return seen[:-1], [int(n) for n in SERIAL.findall(heard)]


@pytest.fixture
def lanes(run, tmp_path):
    def recorder():
        return run.own(differ.Recorder())
    ours = recorder()
    _, port = run.front([ours.text], pool={"max": 1}, workers=1, listener={"client_half_close": "serve"}, forwarded={"mode": "off"})
    out = {"lastack": Lane("lastack", port, ours)}
    theirs = recorder()
    nginx = run.own(Nginx(tmp_path, NGINX, f"upstream app {{ server {theirs.text}; keepalive 4; }}", name="nginx-differ"))
    out["nginx"] = Lane("nginx", nginx.port, theirs)
    theirs = recorder()
    out["haproxy"] = Lane("haproxy", run.own(Haproxy(tmp_path, theirs.text)).port, theirs)
    return out


def judge(seen, serials):
    """What must hold for everything that lastack passes on."""
    for s in seen:
        assert s.whole, f"cut short: {s.raw!r}"
        assert differ.not_canonical(s.raw) is None, f"not canonical ({differ.not_canonical(s.raw)}): {s.raw!r}"
        assert differ.h11_disagrees(s) is None, f"h11 reads {s.raw!r} differently: {differ.h11_disagrees(s)}"
    assert serials == [s.serial for s in seen], f"answers {serials} to requests {[s.serial for s in seen]}"


def versions():
    def first(words):
        done = subprocess.run(words, capture_output=True, text=True, check=True, env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin"})
        return re.search(r"(\d+\.\d+)\.\d+", done.stdout + done.stderr).group(1)
    return {"nginx": first(["nginx", "-v"]), "haproxy": first(["haproxy", "-v"])}


def read_table():
    """({peer: version}, {(case, peer): (ours, theirs, what theirs may be besides)}, {(case, peer): reason})"""
    recorded, rows, reasons = {}, {}, {}
    why, key = None, None
    if not os.path.exists(TABLE):
        return recorded, rows, reasons
    with open(TABLE, encoding="ascii") as f:
        for line in f.read().split("\n"):
            word, _, rest = line.strip().partition(" ")
            if line.startswith("recorded "):
                peer, version = rest.split()
                recorded[peer] = version
            elif line.startswith("why "):
                why = rest
            elif line.startswith("== "):
                name, peer = rest.split(" against ")
                key = (name, peer)
                assert key not in rows, f"{key} is there twice"
                assert name in CASES, f"there is no case {name}"
                rows[key], reasons[key] = {}, why
            elif key and line.startswith("  "):
                rows[key][word] = rest.strip()
    return recorded, {k: (v["lastack"], v[k[1]], v.get("or")) for k, v in rows.items()}, reasons


def write_table(path, recorded, found, reasons):
    by_reason = {}
    for key in found:
        by_reason.setdefault(reasons.get(key) or "?", []).append(key)
    with open(path, "w", encoding="ascii") as f:
        for peer, version in recorded.items():
            f.write(f"recorded {peer} {version}\n")
        for why in sorted(by_reason, key=lambda w: (w != "?", w)):
            f.write(f"\nwhy {why}\n")
            for name, peer in by_reason[why]:
                ours, theirs = found[name, peer]
                f.write(f"== {name} against {peer}\n  lastack  {ours}\n  {peer:8} {theirs}\n")


def compare(key, row, ours, theirs, same_version):
    """What is wrong about what was seen, given the row of the table (None: there is none)."""
    seen = f"\n  lastack  {ours}\n  {key[1]:8} {theirs}"
    if row is None:
        return f"not in the table:{seen}" if ours != theirs and same_version else None
    if ours != row[0]:
        return f"lastack does other than the table says:{seen}"
    if not same_version or theirs in row[1:]:
        return None
    return "in the table, but they do the same now" if ours == theirs else f"{key[1]} does other than the table says:{seen}"


def test_differences_are_the_known_ones(lanes):
    found, wrong, here = {}, [], versions()
    recorded, rows, reasons = read_table()
    wrong += [f"{name} against {peer}: the table gives no reason" for (name, peer), why in reasons.items() if why in (None, "?")]
    for name, raw in CASES.items():
        seen, serials = lanes["lastack"].run(raw)
        try:
            judge(seen, serials)
        except AssertionError as error:
            wrong.append(f"{name}: {error}")
        ours = differ.outcome(seen)
        for peer in ("nginx", "haproxy"):
            row = rows.get((name, peer))
            known = row[1] if row else ours  # without a row: the same as ours
            answers, patience = (0 if known == "refused" else 1 + known.count(" + ") - known.count("(cut short)")), 5
            if WRITE:
                answers, patience = 1000, 0.3
            theirs = differ.outcome(lanes[peer].run(raw, answers, patience)[0])
            if theirs != ours:
                found[name, peer] = (ours, theirs)
            text = compare((name, peer), row, ours, theirs, recorded.get(peer) == here[peer])
            if text:
                wrong.append(f"{name} against {peer}: {text}")
    if WRITE:
        write_table(WRITE, here, found, reasons)
    assert not wrong, f"{len(wrong)} differences:\n" + "\n".join(wrong)
    other = [f"{p} {here[p]} (table: {recorded.get(p)})" for p in here if here[p] != recorded.get(p)]
    if other:
        pytest.skip(f"lastack judged alone: another version of {', '.join(other)}")


# ---- mutations --------------------------------------------------------------------------------------------------------

PIECES = [b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b"\x0b", b":", b",", b";", b'"', b"\\", b"%", b"/", b"#", b"\xff", b"0", b"5", b"-", b"+",
          b"0\r\n\r\n", b"\r\n\r\n", b"\r\n ", b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n",
          b"Connection: close\r\n", b"Connection: Content-Length\r\n", b"Expect: 100-continue\r\n", b"Host: b.test\r\n", b"HTTP/1.0",
          b"GET /evil HTTP/1.1\r\nHost: a.test\r\n\r\n", b"Upgrade: websocket\r\nConnection: upgrade\r\n"]


NEXT = b"GET /next HTTP/1.1\r\nHost: a.test\r\n\r\n"


def mutated(rng, raws):
    """One of the cases, often with a request behind it, with a few places changed; or two of them cut and joined."""
    raw = rng.choice(raws) + (NEXT if rng.random() < 0.5 else b"")
    if rng.random() < 0.2:
        other = rng.choice(raws)
        raw = raw[:rng.randrange(len(raw) + 1)] + other[rng.randrange(len(other) + 1):]
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = rng.randrange(len(raw) + 1)
        kind = rng.randrange(6)
        if kind == 0:
            raw = raw[:at] + raw[at + rng.choice((1, 1, 2, 8)):]
        elif kind == 1:
            raw = raw[:at] + bytes([rng.randrange(256)]) + raw[at + 1:]
        elif kind == 2:
            lines = raw.split(b"\r\n")
            lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
            raw = b"\r\n".join(lines)
        elif kind == 3:
            lines = raw.split(b"\r\n")
            lines.pop(rng.randrange(len(lines)))
            raw = b"\r\n".join(lines)
        else:
            raw = raw[:at] + rng.choice(PIECES) + raw[at:]
    return raw


def reading(seen):
    """How a proxy has cut the bytes into messages. Without TRACE, which lastack answers itself and goes on."""
    return [(s.method.upper(), s.body) for s in seen if s.whole and s.method.upper() != "TRACE"]


def ambiguous(ours, theirs):
    """lastack passes on two or more requests, and a peer that accepts the first has cut the same bytes elsewhere. That
    the peer refuses a later one is its strictness."""
    ours, theirs = reading(ours), reading(theirs)
    n = min(len(ours), len(theirs))
    return len(ours) >= 2 and ours[:n] != theirs[:n]


@pytest.mark.sanitizer
def test_mutations(lanes):
    """Whatever comes in: what goes out is canonical, whole, answered in order, and cut where the peers cut it."""
    seed = int(os.environ.get("LASTACK_SEED") or (random.SystemRandom().randrange(1 << 32) if FULL else 1))
    print(f"LASTACK_SEED={seed}")
    rng, wrong, passed, several = random.Random(seed), [], 0, 0
    raws = [raw for raw in CASES.values() if len(raw) < 2000]
    raws += 2 * [raw for raw in raws if lanes["lastack"].run(raw)[0]]  # what is passed on can go wrong: more of it
    for n in range(scale(500, 20000)):
        raw = mutated(rng, raws)
        ours, serials = lanes["lastack"].run(raw)
        passed += len(ours) > 0
        several += len(ours) > 1
        try:
            judge(ours, serials)
        except AssertionError as error:
            wrong.append(f"mutation {n}: {raw!r}: {error}")
        if len(ours) < 2:
            continue
        for peer in ("nginx", "haproxy"):
            theirs = lanes[peer].run(raw, len(ours))[0]
            if ambiguous(ours, theirs):
                wrong.append(f"mutation {n}: {raw!r}\n  lastack  {differ.outcome(ours)}\n  {peer:8} {differ.outcome(theirs)}")
    assert not wrong, f"LASTACK_SEED={seed}: {len(wrong)}:\n" + "\n".join(wrong)
    assert passed > scale(20, 2000) and several > 0, f"of the mutations only {passed} were passed on: they say little"
    print(f"{passed} passed on, {several} of them as several requests")
