"""Fields: hop-by-hop ones stop here, Host stays, who the client is is told as configured."""
import pytest

from harness.raw import Client, get

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
