"""Cases in files that people can read: tests/wire/cases/FAMILY.case, and how many of them passed. HTTP's are described here;
those of memcached/ are written alike, wire/test_memcached_cases.py says what differs.

    # a comment
    [name] LEVEL CODE option...     LEVEL: MUST, SHOULD or POLICY (we are stricter on purpose)
    ; a word on why
    |a line, sent with CRLF
    >bytes, sent without
    ?a line of the request (family response: | and > are what the server sends; default: GET /t)
    !idle !fin !rst                 what the server does between these bytes
    @out text                       a FastCGI record: out, err, end (eight zero bytes if nothing else is said), begin, abort,
                                    params, stdin or a number; @out(pad=9,id=2,version=1,reserved=0,length=5) sets its
                                    head, (each=1) makes records of so many bytes, (times=9) repeats it, (raw) adds nothing
    = what must be seen             by the server, or in family response by the client

In lines: \\r \\n \\t \\\\ \\xNN, and \\*N{text} for text N times. Codes are those of wire/test_http_cases.py. Options:

    status=400,413   what a refusal may be (default 400); FORWARD closes: of what follows, which is not looked at without it
    requests=2       how many requests the server must see (default 1)
    fin              the client sends FIN behind the bytes
    closes           the connection must end after the responses
    hasty            the client sends on after it has said close: in pieces, it may lose the answer by its own fault
    alone            not while somebody waits for the connection: what comes late would be that one's answer to anybody
    again            the server may be asked twice: it starts with what an earlier request may have left on the connection
    plain            not over TLS: the server is told the client's scheme
    evil             /evil may come through as a request of its own
    forbid=TEXT      bytes the client must not get

What must be seen: `target /x`, `method GET`, `body text`, `status 200`, `field Name: value` (exactly one field of that
name), `no Name`, `trailerless`; of a FastCGI request `param NAME: value`, `noparam NAME`; in front a number when it is not the
first request."""
import collections
import glob
import os
import re

from . import fcgi

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "wire", "cases")
LONG = 700  # of what is longer, only the ends are sent byte by byte
_ESCAPE = re.compile(r"\\(?:\*(\d+)\{((?:[^}\\]|\\.)*)\}|x([0-9a-f]{2})|(.))")
_RECORD = re.compile(r"@(\w+)(?:\(([^)]*)\))?(?: (.*))?$")
_TYPES = {"begin": fcgi.BEGIN, "abort": fcgi.ABORT, "end": fcgi.END, "params": fcgi.PARAMS, "stdin": fcgi.STDIN, "out": fcgi.STDOUT,
          "err": fcgi.STDERR}
_PLAIN = {"r": "\r", "n": "\n", "t": "\t", "\\": "\\", "0": "\0"}


def unescape(text):
    """The bytes that a line of a case file stands for."""
    def one(m):
        if m.group(1):
            return unescape(m.group(2)).decode("latin-1") * int(m.group(1))
        if m.group(3):
            return chr(int(m.group(3), 16))
        return _PLAIN[m.group(4)]
    return _ESCAPE.sub(one, text).encode("latin-1")


def records(line):
    """The bytes that a line with @ stands for."""
    name, words, text = _RECORD.match(line).groups()
    options = dict((w + "=").split("=")[:2] for w in (words or "").split(",") if w)
    content, number = unescape(text or ""), {k: int(v) for k, v in options.items() if v}
    assert set(options) <= {"pad", "id", "version", "reserved", "length", "each", "times", "raw"}, line
    if name == "end" and not content and "raw" not in options:
        content = bytes(8)
    each = number.get("each", max(len(content), 1))
    pieces = [content[i:i + each] for i in range(0, len(content), each)] or [b""]
    head = dict(padding=number.get("pad", 0), request=number.get("id", 1), version=number.get("version", 1),
                reserved=number.get("reserved", 0), length=number.get("length"))
    return b"".join(fcgi.record(_TYPES.get(name) or int(name), p, **head) for p in pieces) * number.get("times", 1)


class Case:
    def __init__(self, family, name, level, code, options):
        self.family, self.name, self.level, self.code, self.options = family, name, level, code, {}
        for word in options:
            key, _, value = word.partition("=")
            assert key in ("status", "requests", "fin", "closes", "hasty", "alone", "again", "plain", "evil", "forbid"), f"{family}: {name}: {word}?"
            self.options[key] = value
        self.notes, self.request, self.parts, self.wants = [], b"", [], []

    @property
    def raw(self):
        return b"".join(p for p in self.parts if isinstance(p, bytes))

    @property
    def statuses(self):
        return [int(x) for x in self.options.get("status", "400").split(",")]

    @property
    def requests(self):
        return int(self.options.get("requests", "1"))

    def __contains__(self, option):
        return option in self.options

    def add(self, line):
        mark, text = line[0], line[1:]
        if mark == ";":
            self.notes.append(text.strip())
        elif mark == "?":
            self.request += unescape(text[1:]) if text.startswith(">") else unescape(text) + b"\r\n"
        elif mark == "!":
            self.parts.append(text.strip())
        elif mark == "=":
            number, _, rest = text.strip().partition(" ")
            index, what = (int(number), rest) if number.isdigit() else (1, text.strip())
            self.wants.append((index, *(what.split(" ", 1) + [""])[:2]))
        elif mark in "|>@":
            data = records(line) if mark == "@" else unescape(text) + (b"\r\n" if mark == "|" else b"")
            if self.parts and isinstance(self.parts[-1], bytes):
                self.parts[-1] += data
            else:
                self.parts.append(data)
        else:
            raise AssertionError(f"{self.family}: {self.name}: {line!r}?")

    def unseen(self, index, message):
        """What message number index lacks of what must be seen, as texts."""
        out = []
        for which, what, text in self.wants:
            if which != index:
                continue
            if what == "field":
                name, _, value = text.partition(":")
                have, want = message.all(name), [unescape(value.strip()).decode("latin-1")]
            elif what == "param":
                name, _, value = text.partition(":")
                have, want = message.params.get(unescape(name).decode("latin-1")), unescape(value.strip()).decode("latin-1")
            elif what == "noparam":
                have, want = message.params.get(text), None
            elif what == "no":
                have, want = message.all(text), []
            elif what == "trailerless":
                have, want = message.trailers, []
            elif what == "body":
                have, want = message.body, unescape(text)
            else:
                have, want = str(getattr(message, what)), text
            if have != want:
                out.append(f"{what} {text.partition(':')[0]}: {have!r}, not {want!r}")
        return out

    def __str__(self):
        return f"{self.family}/{self.name}"


def load(family):
    """The cases of one family, in their order."""
    found = []
    with open(os.path.join(FOLDER, f"{family}.case")) as f:
        for line in f.read().split("\n"):
            if line.startswith("["):
                name, _, rest = line[1:].partition("]")
                level, code, *options = rest.split()
                found.append(Case(family, name, level, code, options))
            elif line and not line.startswith("#"):
                found[-1].add(line)
    names = [c.name for c in found]
    assert len(set(names)) == len(names), f"{family}: a name stands twice"
    return found


def families():
    return sorted(os.path.basename(p)[:-5] for p in glob.glob(os.path.join(FOLDER, "*.case")))


def pieces(data, way, rng):
    """data as this way sends it; a number is where it is cut in two."""
    if isinstance(way, int):
        return [data[:way], data[way:]]
    if way == "bytes":
        if len(data) <= LONG:
            return [data[i:i + 1] for i in range(len(data))]
        ends = LONG // 2
        return [data[i:i + 1] for i in range(ends)] + [data[ends:-ends]] + [data[i:i + 1] for i in range(len(data) - ends, len(data))]
    if way == "random" and len(data) > 1:
        cuts = sorted(rng.sample(range(1, len(data)), min(len(data) - 1, rng.randint(1, 6))))
        return [data[a:b] for a, b in zip([0] + cuts, cuts + [len(data)])]
    return [data]


class Tally:
    """Cases and runs by family, for the summary of a test run."""

    def __init__(self):
        self.runs, self.failed = collections.defaultdict(collections.Counter), collections.defaultdict(set)

    def note(self, case, why):
        self.runs[case.family][case.name] += 1
        if why:
            self.failed[case.family].add(case.name)

    def lines(self):
        total = passed = runs = 0
        for family in sorted(self.runs):
            n, bad, times = len(self.runs[family]), len(self.failed[family]), sum(self.runs[family].values())
            total, passed, runs = total + n, passed + n - bad, runs + times
            yield f"{family:<12} {n - bad:4d} of {n:4d} cases passed, in {times} runs"
        if total:
            yield f"{'all':<12} {passed:4d} of {total:4d} cases passed, in {runs} runs"


TALLY = Tally()
