"""The access log in both formats, reopening, limits of the error log, Proxy-Status."""
import os
import re
import signal

import pytest

from harness import raw
from harness.proxy import free_port
from harness.raw import Client, get
from harness.wait import until

FIELDS = {"time": str, "listener": str, "client": str, "method": str, "host": str, "target": str, "status": int, "bytes_in": int,
          "bytes_out": int, "upstream": str, "server": str, "source": str, "connection": int, "reuse": int, "queue_ms": (int, float),
          "connect_ms": (int, float), "backend_ms": (int, float), "total_ms": (int, float), "retries": int, "error": str,
          "user_agent": str, "referer": str}


def lines(lastack, count):
    return until(lambda: len(lastack.access()) >= count and lastack.access(), 5, f"{count} lines in the access log")


def test_json(run):
    origin = run.origin(answer=lambda r: (201, b"x" * 1000, ""))
    lastack, port = run.front([origin], source=["127.0.0.1"], workers=1)
    with Client(port) as c:
        c.ask("/a?b=c", "POST", 'User-Agent: me "quoted" \\ \xe9\r\nReferer: http://x/\r\n', b"12345", host="Site.Test:80")
        c.ask("/second")
    first, second = lines(lastack, 2)
    for line in (first, second):
        assert set(line) == set(FIELDS)
        for name, kind in FIELDS.items():
            assert isinstance(line[name], kind), (name, line[name])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
        assert 0 <= line["queue_ms"] + line["backend_ms"] <= line["total_ms"] + 0.01, line
    assert first["method"] == "POST" and first["target"] == "/a?b=c" and first["host"].lower().startswith("site.test")
    assert first["listener"] == "web" and first["client"] == "127.0.0.1" and first["status"] == 201
    assert first["bytes_in"] == 5 and first["bytes_out"] >= 1000
    assert first["upstream"] == "app" and first["server"] == origin.text and first["source"] == "127.0.0.1"
    assert first["reuse"] == 0 and second["reuse"] == 1 and first["connection"] == second["connection"] > 0
    assert first["connect_ms"] > 0 and second["connect_ms"] == 0
    assert first["user_agent"].startswith('me "quoted" \\ ') and first["referer"] == "http://x/"
    assert first["error"] == "" and first["retries"] == 0


def test_combined(run):
    origin = run.origin(answer=lambda r: (200, b"x" * 10, ""))
    lastack, port = run.front([origin], log={"format": "combined"}, workers=1)
    get(port, "/a b".replace(" ", "%20"), headers='User-Agent: evil" 200 0 "\r\nReferer: http://x/\r\n')
    get(port, "/none")
    found = until(lambda: len(lastack.access_lines()) >= 2 and lastack.access_lines(), 5, "lines")
    form = re.compile(r'127\.0\.0\.1 - - \[(\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] "(\S+) (\S+) HTTP/1\.1" (\d{3}) (\d+) "([^"]*)" "([^"]*)"'
                      r" upstream=app server=\S+ source=\S+ connection=\d+ reuse=\d+ queue=[\d.]+ connect=[\d.]+ backend=[\d.]+ total=[\d.]+ error=-")
    first, second = (form.fullmatch(x) for x in found)
    assert first and second, found
    assert first.group(2, 3, 4, 6) == ("GET", "/a%20b", "200", "http://x/")
    assert "\\x22" in first.group(7) and second.group(7) == "-"


def test_requests_without_a_server_are_logged_too(run):
    lastack, port = run.front(["127.0.0.1:%d" % free_port()])
    get(port)
    with Client(port) as c:
        c.send(b"NOT HTTP AT ALL\r\n\r\n")
        c.to_end()
    by = {x["status"]: x for x in lines(lastack, 2)}
    assert by[502]["error"] == "connect_refused" and by[502]["connection"] == 0
    assert by[400]["error"] == "bad_request"


def test_a_client_that_leaves_is_logged(run):
    origin = run.origin(lambda c: (c.request(), c.to_end()))
    lastack, port = run.front([origin], pool={"abort_wait": "100ms"})
    with Client(port) as c:
        c.send(raw.request("/left"))
        until(lambda: origin.requests, 5, "the request")
    line, = lines(lastack, 1)
    assert line["status"] == 499 and line["error"] == "client_gone" and line["target"] == "/left"


def test_reopen(run, tmp_path):
    """After SIGUSR1 both logs go to new files, and no line is lost."""
    error_log = os.path.join(str(tmp_path), "error.log")
    lastack, port = run.front([run.origin()], log={"error": error_log})
    get(port, "/before")
    lines(lastack, 1)
    os.rename(lastack.access_path, lastack.access_path + ".1")
    os.rename(error_log, error_log + ".1")
    lastack.process.signal(signal.SIGUSR1)
    until(lambda: os.path.exists(lastack.access_path) and os.path.exists(error_log), 5, "new files")
    for n in range(50):
        get(port, f"/after{n}")

    def together():
        found = lastack.access_lines() + lastack.access_lines(lastack.access_path + ".1")
        return len(found) == 51
    until(together, 5, "all lines in one of the files")
    until(lambda: any("/after49" in x for x in lastack.access_lines()), 5, "the last line in the new file")
    lastack.write({**lastack.conf, "nonsense": 1})
    lastack.process.signal(signal.SIGHUP)

    def told():
        with open(error_log) as f:
            return "nonsense" in f.read()
    until(told, 5, "a line in the new error log")


def test_error_log_limits_itself(run):
    """A failing server writes a few lines, not one for each request."""
    origin = run.origin(lambda c: (c.request(), c.send(b"no http at all\r\n\r\n"), c.to_end()))
    lastack, port = run.front([origin], passive={"failures": 0})
    for _ in range(200):
        assert get(port).status == 502
    found = lastack.log().splitlines()
    assert 1 <= len([x for x in found if "malformed" in x]) <= 5, found[-10:]
    assert len(found) < 15
    assert any("held back" in x for x in found)


PROBLEMS = {
    "refused": (None, "connection_refused", 502),
    "garbage": (lambda c: (c.request(), c.send(b"what?\r\n\r\n"), c.to_end()), "http_protocol_error", 502),
    "closed": (lambda c: c.request(), "connection_terminated", 502),
    "silent": (lambda c: (c.request(), c.to_end()), "http_response_timeout", 504),
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_proxy_status(run, problem):
    handler, error, status = PROBLEMS[problem]
    server = run.origin(handler) if handler else "127.0.0.1:%d" % free_port()
    lastack, port = run.front([server], timeouts={"response": "200ms"})
    r = get(port, method="POST", body=b"x")
    assert r.status == status
    assert re.fullmatch(r'lastack; error=%s; details="[^"]+"' % error, r.get("Proxy-Status")), r.get("Proxy-Status")
    assert "Server" not in dict(r.headers), "nothing else says who we are"


def test_proxy_status_is_only_on_our_own(run):
    _, port = run.front([run.origin(answer=lambda r: (503, b"", ""))])
    r = get(port)
    assert r.status == 503 and r.get("Proxy-Status") is None and "lastack" in r.get("Via")
