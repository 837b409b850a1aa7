"""Fields: hop-by-hop ones stop here, Host stays, who the client is is told as configured."""
import time
from email.utils import parsedate_to_datetime

import pytest

from harness.raw import Client, chunks, get, request, response

ALL = {"X-Forwarded-For": "9.9.9.9", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "outer.test", "Forwarded": "for=9.9.9.9"}
SENT = "".join(f"{k}: {v}\r\n" for k, v in ALL.items())


def test_hop_by_hop_of_the_request(run):
    origin = run.origin()
    _, port = run.front([origin])
    get(port, "/", headers="Keep-Alive: timeout=9\r\nProxy-Connection: keep-alive\r\nTE: gzip, trailers\r\nConnection: X-Mine, close\r\n"
                           "X-Mine: secret\r\nX-Kept: yes\r\nUpgrade: h2c\r\nProxy: evil\r\n")
    m = origin.last
    for name in ("Keep-Alive", "Proxy-Connection", "X-Mine", "Upgrade"):
        assert m.get(name) is None, name
    assert m.get("TE") in (None, "trailers")
    assert m.get("X-Kept") == "yes"
    assert "X-Mine" not in (m.get("Connection") or "")


def test_hop_by_hop_of_the_response(run):
    origin = run.origin(answer=lambda r: (200, b"x", "Keep-Alive: timeout=5\r\nConnection: X-Inner\r\nX-Inner: 1\r\nX-Kept: 2\r\n"
                                                     "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n"))
    _, port = run.front([origin])
    with Client(port) as c:
        r = c.ask("/")
    assert r.get("X-Inner") is None and r.get("Keep-Alive") in (None,) and r.get("X-Kept") == "2"
    assert r.all("Set-Cookie") == ["a=1", "b=2"]


def test_a_response_has_one_date(run):
    """RFC 9110 6.6.1: what came without one gets it here."""
    own = "Sun, 06 Nov 1994 08:49:37 GMT"
    origin = run.origin(answer=lambda r: b"HTTP/1.1 103 Early Hints\r\n\r\n" + response(200, b"x", f"Date: {own}\r\n" if "own" in r.target else ""))
    _, port = run.front([origin])
    with Client(port) as c:
        c.send(request("/"))
        assert [c.response().all("Date"), origin.last.target] == [[], "/"], "an interim response needs none"
        date, = c.response().all("Date")
        assert abs(parsedate_to_datetime(date).timestamp() - time.time()) < 60
        assert c.ask("/own").all("Date") == [own]


def test_host_and_target_stay_as_they_are(run):
    origin = run.origin()
    _, port = run.front([origin])
    get(port, "/a%2Fb/../c?q=%20x&y=1", name="Www.Example.Test:8080")
    assert origin.last.get("Host") == "Www.Example.Test:8080"
    assert origin.last.target == "/a%2Fb/../c?q=%20x&y=1"


def test_absolute_form(run):
    origin = run.origin()
    _, port = run.front([origin])
    with Client(port) as c:
        c.send("GET http://inner.test/x?y HTTP/1.1\r\nHost: inner.test\r\n\r\n")
        assert c.final().status == 200
    assert origin.last.get("Host") == "inner.test"
    assert origin.last.target in ("/x?y", "http://inner.test/x?y")


@pytest.mark.parametrize("mode", ["x_forwarded", "rfc7239", "both", "off"])
@pytest.mark.parametrize("trusted", [False, True])
def test_forwarded(run, mode, trusted):
    origin = run.origin()
    _, port = run.front([origin], forwarded={"mode": mode, **({"trust": ["127.0.0.0/8"]} if trusted else {})})
    get(port, headers=SENT, name="asked.test")
    m = origin.last
    if mode in ("x_forwarded", "both"):
        assert m.get("X-Forwarded-For").replace(" ", "") == ("9.9.9.9,127.0.0.1" if trusted else "127.0.0.1")
        assert m.get("X-Forwarded-Proto") == ("https" if trusted else "http")
        assert m.get("X-Forwarded-Host") == ("outer.test" if trusted else "asked.test")
    if mode in ("rfc7239", "both"):
        forwarded = m.get("Forwarded").lower().replace('"', "")
        assert "for=127.0.0.1" in forwarded and "proto=http" in forwarded
        assert ("for=9.9.9.9" in forwarded) == trusted
    if mode == "x_forwarded" and not trusted:
        assert m.get("Forwarded") is None, "what the client claims in the other form is not passed on"
    if mode == "rfc7239" and not trusted:
        assert m.get("X-Forwarded-For") is None


@pytest.mark.parametrize("mode, name, newest", [("x_forwarded", "X-Forwarded-For", "9.9.9.9"), ("rfc7239", "Forwarded", "for=9.9.9.9")])
@pytest.mark.parametrize("trusted", [False, True])
def test_what_a_trusted_hop_wrote_is_not_pushed_out(run, mode, name, newest, trusted):
    """The part that the client made may be of any length: what does not fit is refused, not cut."""
    origin = run.origin()
    _, port = run.front([origin], forwarded={"mode": mode, **({"trust": ["127.0.0.0/8"]} if trusted else {})})
    for n in (1, 340, 385, 395, 450, 2000):
        for lines in (["8.8.8.8, " * n + newest], ["8.8.8.8, " * n + "8.8.8.8", newest]):
            seen = len(origin.requests)
            r = get(port, headers="".join(f"{name}: {line}\r\n" for line in lines))
            if r.status == 200:
                told = [v.strip() for v in origin.last.get(name).split(",")]
                assert "127.0.0.1" in told[-1] and (not trusted or told[-2] == newest and len(told) == n + len(lines) + 1)
            else:
                assert trusted and n > 300 and r.status == 431 and len(origin.requests) == seen


def test_via_both_ways(run):
    origin = run.origin(answer=lambda r: (200, b"", "Via: 1.0 inner\r\n"))
    _, port = run.front([origin])
    r = get(port, headers="Via: 1.1 outer\r\n")
    sent = [v.strip() for v in origin.last.get("Via").split(",")]
    assert sent[0] == "1.1 outer" and sent[1].startswith("1.1 ") and "lastack" in sent[1]
    back = [v.strip() for v in r.get("Via").split(",")]
    assert back[0] == "1.0 inner" and "lastack" in back[1]
    assert r.get("Server") is None and r.get("Proxy-Status") is None


def test_set_and_remove(run):
    origin = run.origin()
    _, port = run.front([origin], request_headers={"set": {"X-Site": "a"}, "remove": ["X-Debug"]})
    get(port, headers="X-Site: evil\r\nx-debug: 1\r\nX-Other: 2\r\n")
    assert origin.last.all("X-Site") == ["a"]
    assert origin.last.get("X-Debug") is None and origin.last.get("X-Other") == "2"


OURS = ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded", "Via", "Max-Forwards")


@pytest.mark.parametrize("trusted", [False, True])
def test_set_and_remove_hold_for_what_is_added_here(run, trusted):
    """Each field that the proxy adds can be set or removed; the others stay as they are."""
    origin = run.origin()
    forwarded = {"mode": "both", **({"trust": ["127.0.0.0/8"]} if trusted else {})}
    _, plain = run.front([origin], forwarded=forwarded)
    _, port = run.front([origin], forwarded=forwarded, request_headers={"set": {"x-forwarded-proto": "https", "Via": "a", "Forwarded": "for=b"},
                                                                       "remove": ["X-Forwarded-Host", "x-forwarded-for", "Max-Forwards"]})
    sent = SENT + "Via: 1.0 outer\r\nMax-Forwards: 5\r\n"
    get(plain, headers=sent, method="OPTIONS")
    assert all(origin.last.get(name) for name in OURS)
    get(port, headers=sent, method="OPTIONS")
    assert {n: origin.last.all(n) for n in OURS} == {
        "X-Forwarded-For": [], "X-Forwarded-Proto": ["https"], "X-Forwarded-Host": [], "Forwarded": ["for=b"], "Via": ["a"], "Max-Forwards": []}


def test_the_most_fields_that_can_be_set(run):
    """40 beside all that is added here: none is lost."""
    origin = run.origin()
    _, port = run.front([origin], forwarded={"mode": "both"}, request_headers={"set": {f"X-Set-{i}": str(i) for i in range(40)}})
    get(port, headers="Max-Forwards: 5\r\n", method="OPTIONS")
    assert [origin.last.all(f"X-Set-{i}") for i in range(40)] == [[str(i)] for i in range(40)]
    assert [name for name in OURS if len(origin.last.all(name)) != 1] == []


def test_set_and_remove_hold_for_trailers(run):
    origin = run.origin()
    _, port = run.front([origin], request_headers={"set": {"X-Site": "a"}, "remove": ["X_Debug"]}, buffer={"request_mode": "stream"})
    with Client(port) as c:
        c.send(b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
        c.send(chunks(b"body", trailers="X-Site: evil\r\nx-debug: 1\r\nX-Sum: 42\r\n"))
        assert c.final().status == 200
    assert origin.last.all("X-Site") == ["a"] and origin.last.trailers == [("X-Sum", "42")]


@pytest.mark.parametrize("trusted", [False, True])
def test_forwarded_in_the_spelling_of_cgi(run, trusted):
    """A server that makes HTTP_X_FORWARDED_FOR of names cannot tell X_Forwarded_For from ours: it goes no further,
    whoever sent it. Other names with underscores do."""
    origin = run.origin()
    _, port = run.front([origin], forwarded={"mode": "x_forwarded", **({"trust": ["127.0.0.0/8"]} if trusted else {})})
    get(port, headers="X_Forwarded_For: 6.6.6.6\r\nx-forwarded_proto: https\r\nX_FORWARDED-HOST: evil.test\r\nX_Forwarded_Fox: 1\r\n")
    names = [n.lower() for n, _ in origin.last.headers]
    assert "x_forwarded_for" not in names and "x-forwarded_proto" not in names and "x_forwarded-host" not in names
    assert "x_forwarded_fox" in names
    assert origin.last.get("X-Forwarded-For") == "127.0.0.1"


def test_forwarded_off_leaves_every_spelling(run):
    origin = run.origin()
    _, port = run.front([origin], forwarded={"mode": "off"})
    get(port, headers="X_Forwarded_For: 6.6.6.6\r\n")
    assert origin.last.get("X_Forwarded_For") == "6.6.6.6"
