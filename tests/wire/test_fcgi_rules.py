"""FastCGI byte by byte: what a script is told, and what its answers become. The server is a Python function."""
import os
import socket
import threading

import pytest

from harness import fcgi
from harness.certs import Authority, client_context
from harness.raw import Client, Crowd, Gone, chunks, get, request
from harness.wait import holds, scale, until

OK = fcgi.reply(b"ok", "Status: 200 OK\r\nContent-Type: text/plain\r\n")


def app(run, answer=None, handler=None, fastcgi=None, pool=None, files=("index.php",), **more):
    """(server, proxy, port)"""
    root = run.folder("www")
    for name in files:
        os.makedirs(os.path.dirname(os.path.join(root, name)), exist_ok=True)
        open(os.path.join(root, name), "w").close()
    server = run.own(fcgi.Server(run.directory, answer, handler))
    proxy, port = run.front([server], protocol="fastcgi", pool={"max": 4, **(pool or {})},
                            fastcgi={"root": root, "try": ["$uri", "/index.php"], **(fastcgi or {})}, **more)
    return server, proxy, port


# what a script is told -------------------------------------------------------------------------------------------------

def test_parameters(run):
    server, _, port = app(run, fastcgi={"params": {"APP_ENV": "prod", "FULL": "$scheme://$host$request_uri", "SERVER_SOFTWARE": "none",
                                                   "AGENT": "$http_user_agent/${request_method}"}}, files=("index.php", "a/b.php"))
    with Client(port) as c:
        c.ask("/a/b.php/info/x%20y?q=1&r=%2F", headers="X-One: 1\r\nUser-Agent: test\r\nContent-Type: a/b\r\n", host="a.test:81")
        here = c.sock.getsockname()[1]
    p = server.last.params
    root = os.path.join(str(run.directory), "www")
    expected = {"SCRIPT_FILENAME": root + "/a/b.php", "SCRIPT_NAME": "/a/b.php", "PATH_INFO": "/info/x y", "QUERY_STRING": "q=1&r=%2F",
                "REQUEST_METHOD": "GET", "REQUEST_URI": "/a/b.php/info/x%20y?q=1&r=%2F", "DOCUMENT_URI": "/a/b.php/info/x y",
                "DOCUMENT_ROOT": root, "SERVER_PROTOCOL": "HTTP/1.1", "REQUEST_SCHEME": "http", "GATEWAY_INTERFACE": "CGI/1.1",
                "REMOTE_ADDR": "127.0.0.1", "REMOTE_PORT": str(here), "SERVER_ADDR": "127.0.0.1", "SERVER_PORT": str(port),
                "SERVER_NAME": "a.test", "REDIRECT_STATUS": "200", "HTTP_HOST": "a.test:81", "HTTP_X_ONE": "1", "CONTENT_TYPE": "a/b",
                "CONTENT_LENGTH": "", "HTTP_USER_AGENT": "test", "APP_ENV": "prod", "SERVER_SOFTWARE": "none", "AGENT": "test/GET",
                "FULL": "http://a.test/a/b.php/info/x%20y?q=1&r=%2F", "HTTP_X_FORWARDED_FOR": "127.0.0.1"}
    assert {k: p.get(k) for k in expected} == expected
    assert server.last.doubled == [] and server.last.keep and "HTTPS" not in p and "HTTP_CONTENT_TYPE" not in p


def test_fields_that_may_not_pass(run):
    server, _, port = app(run)
    get(port, headers="Proxy: http://evil.test\r\nPHP_VALUE: auto_prepend_file=/etc/passwd\r\nPHP-ADMIN-VALUE: x\r\nX_Under: 1\r\n"
                      "X-Dup: a\r\nx-dup: b\r\nCookie: a=1\r\nCookie: b=2\r\nConnection: X-Hop\r\nX-Hop: 1\r\nX.Dot: 1\r\n")
    p = server.last.params
    assert p["HTTP_X_DUP"] == "a, b" and p["HTTP_COOKIE"] == "a=1; b=2" and p["HTTP_PHP_ADMIN_VALUE"] == "x"
    assert not {"HTTP_PROXY", "PHP_VALUE", "PHP_ADMIN_VALUE", "HTTP_PHP_VALUE", "HTTP_X_UNDER", "HTTP_X_HOP", "HTTP_X.DOT",
                "HTTP_X_DOT", "HTTP_CONNECTION"} & set(p)
    assert server.last.doubled == []


def test_set_and_remove_hold_for_what_is_added_here(run):
    server, _, port = app(run, request_headers={"set": {"X-Forwarded-Proto": "https", "Via": "a"}, "remove": ["X-Forwarded-Host", "X-Forwarded-For"]})
    get(port, headers="X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: ftp\r\nVia: 1.0 outer\r\n")
    p = server.last.params
    assert (p["HTTP_X_FORWARDED_PROTO"], p["HTTP_VIA"]) == ("https", "a")
    assert not {"HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_HOST"} & set(p) and server.last.doubled == []


def test_variables_of_fields_tell_what_the_script_may_believe(run):
    """$http_NAME is a field as it is passed on: what was dropped or is another's name is not there, what was set is."""
    ca, people = Authority(run.folder("ca")), Authority(run.folder("people"), "people")
    names = "host x_user x_debug x_site x_subject x_forwarded_for x_forwarded_proto x_hop x_one via proxy".split()
    server, _, port = app(run, fastcgi={"params": {f"V_{n}": f"<$http_{n}>" for n in names}},
                          request_headers={"set": {"X-Site": "ours"}, "remove": ["X-Debug"]}, listener={"tls": {
                              "certificates": [ca.issue().conf], "client": {"ca": people.certificate, "header": "X-Subject", "verify": "optional"}}})
    forged = "".join(f"{n}: forged\r\n" for n in "X_User X_Debug X-Debug X_Site X-Site X_Subject X-Subject X-Forwarded-For X-Forwarded-Proto X-Hop "
                     "Proxy".split()) + "Connection: X-Hop\r\nX_One: forged\r\nX-One: 1\r\nX-One: 2\r\n"
    told = {"host": "test", "x_site": "ours", "x_forwarded_for": "127.0.0.1", "x_forwarded_proto": "https", "x_one": "1", "via": "1.1 lastack"}
    for shown, subject in (None, ""), (people.issue("me", names=(), subject="/CN=me"), "CN=me"):
        with Client(port, tls=client_context(ca, pair=shown)) as c:
            c.ask(headers=forged)
        seen = {n: server.last.params[f"V_{n}"] for n in names}
        assert seen == {n: f"<{told.get(n, '')}>" for n in names} | {"x_subject": f"<{subject}>"}


def test_lengths_of_parameters(run):
    server, _, port = app(run)
    sizes = (0, 1, 126, 127, 128, 129, 4000, 12000)
    get(port, headers="".join(f"X-L{n}: {'v' * n}\r\n" for n in sizes) + f"{'N' * 200}: long\r\n")
    for n in sizes:
        assert server.last.params[f"HTTP_X_L{n}"] == "v" * n
    assert server.last.params["HTTP_" + "N" * 200] == "long"


def test_paths_that_are_no_script(run):
    """An upload that looks like a directory, a name with a control character: never run, never half of a path."""
    server, _, port = app(run, files=("index.php", "uploads/a.jpg"), fastcgi={"try": ["$uri"]})
    for target, status in ("/uploads/a.jpg/x.php", 404), ("/none.php", 404), ("/none.php/PATH%0aINFO", 400), ("/index.php%0a", 400), ("/index.php%00", 400), \
            ("/%2e%2e/%2e%2e/etc/passwd.php", 400), ("/index.php/../../x.php", 400), ("/uploads/.php", 404), ("/index.phpx", 404):
        assert get(port, target).status == status, target
    assert server.requests == []
    assert get(port, "/index.php/").body == b"ok" and server.last.params["PATH_INFO"] == "/"
    assert get(port, "/index.php").body == b"ok" and "PATH_INFO" not in server.last.params


def test_bodies(run):
    server, _, port = app(run, answer=lambda r: fcgi.reply(str(len(r.body))), workers=1)
    evil = b"A" * 33450 + fcgi.record(fcgi.BEGIN, bytes(8)) + b"B" * 65534
    assert get(port, "/", "POST", body=evil).body == str(len(evil)).encode()
    assert server.last.body == evil and server.last.params["CONTENT_LENGTH"] == str(len(evil))
    for body in b"", b"x", b"y" * 65528, b"z" * 65529, os.urandom(1 << 20):
        r = get(port, "/", "POST", "Transfer-Encoding: chunked\r\n", chunks(body) if body else b"0\r\n\r\n")
        assert r.body == str(len(body)).encode()
        assert server.last.body == body and server.last.params["CONTENT_LENGTH"] == str(len(body))
    get(port, "/", "POST", "Content-Length: 0\r\n")
    assert server.last.params["CONTENT_LENGTH"] == "0"
    assert server.last.doubled == [] and len(server.connections) == 1


def test_a_streamed_body(run):
    """buffer.request_mode: stream: with a length it goes out as it comes, without one it is awaited."""
    seen = threading.Event()

    def handler(server, connection):
        kind, _ = connection.record()
        got = 0
        while True:
            kind, content = connection.record()
            got += len(content) if kind == fcgi.STDIN else 0
            if kind == fcgi.STDIN and content:
                seen.set()
            if kind == fcgi.STDIN and not content:
                break
        connection.answer(fcgi.reply(str(got)))
    _, _, port = app(run, handler=handler, buffer={"request_mode": "stream"})
    with Client(port) as c:
        c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
        assert seen.wait(10)
        c.send("world")
        assert c.final().body == b"10"
    seen.clear()
    with Client(port) as c:
        c.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        assert not seen.wait(0.3)
        c.send("0\r\n\r\n")
        assert c.final().body == b"5"


@pytest.mark.parametrize("mode", ["stream", "buffer"])
def test_a_client_that_waits_for_100(run, mode):
    """FastCGI has no word for Expect: it is answered here, once, and not where the client does not wait."""
    server, _, port = app(run, answer=lambda r: fcgi.reply(r.body), buffer={"request_mode": mode})
    with Client(port) as c:
        for body in b"hello", b"hello again":
            c.send(request("/", "POST", f"Expect: 100-continue\r\nContent-Length: {len(body)}\r\n"))
            assert c.response().status == 100
            c.send(body)
            r = c.response()
            assert (r.status, r.body) == (200, body)
        c.send(request("/", "POST", "Expect: 100-continue\r\n", b"at once"))
        r = c.response()
        assert (r.status, r.body) == (200, b"at once")
    assert len(server.connections) == 1 and "HTTP_EXPECT" not in server.last.params


def test_a_client_that_does_not_read_has_its_time(run):
    """The response is not read either then: timeouts.response is the script's, not the client's."""
    size = 8 << 20
    reply = fcgi.reply(b"x" * size)
    _, proxy, port = app(run, answer=lambda r: reply, timeouts={"response": "2s"},
                         buffer={"response": "64KiB", "response_file": 0})
    with Client(port, receive_buffer=4096) as c:
        c.send(request("/"))
        head = c.head()
        holds(lambda: proxy.metrics().sum("lastack_errors_total") == 0, 3, "no error")
        assert b"chunked" in head and len(c.chunked()[0]) == size


def test_an_early_answer_that_stops(run):
    """It has its time though the request goes on after it: the place comes back."""
    took = threading.Event()

    def handler(server, c):
        while c.record()[1] != b"first":
            pass
        c.answer(fcgi.record(fcgi.STDOUT, b"Content-Length: 10\r\n\r\nhello"))
        while c.record()[1] != b"later":
            pass
        took.set()
        while True:
            c.record()
    server, proxy, port = app(run, handler=handler, timeouts={"response": "1500ms"}, buffer={"request_mode": "stream"})
    with Client(port) as c:
        c.send(request("/", "POST", "Content-Length: 14\r\n") + b"first")
        assert c.until(b"hello").startswith(b"HTTP/1.1 200")
        c.send(b"later")
        assert took.wait(10)
        c.send(b"last")
        assert c.at_end()
    until(lambda: proxy.metrics().sum("lastack_connections_closed_total", reason="timeout") == 1, 5, "the place to be back")


def test_a_body_that_stays_short(run):
    server, _, port = app(run)
    with Client(port) as c:
        c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
        c.sock.shutdown(socket.SHUT_WR)
        assert c.at_end()
    assert get(port).status == 200
    assert [r.params["REQUEST_METHOD"] for r in server.requests] == ["GET"]


# what answers become ---------------------------------------------------------------------------------------------------

HEAD = "Status: 200 OK\r\nContent-Type: text/plain\r\n\r\n"
ANSWERS = {  # name: (bytes, status, body, may the connection be used again)
    "plain": (OK, 200, b"ok", True),
    "padding": (fcgi.record(fcgi.STDOUT, (HEAD + "ok").encode(), 255) + fcgi.end(), 200, b"ok", True),
    "no end of stdout": (fcgi.stdout(HEAD + "ok") + fcgi.end(), 200, b"ok", True),
    "unknown type": (fcgi.record(12, bytes(65535), 1) + OK, 200, b"ok", False),
    "LF": (fcgi.reply(b"ok", "Status: 200 OK\nContent-Type: text/plain\n").replace(b"\r\n", b"\n", 0), 200, b"ok", True),
    "one byte a record": (fcgi.stdout(HEAD + "ok", 1) + fcgi.record(fcgi.STDOUT) + fcgi.end(), 200, b"ok", True),
    "no status": (fcgi.reply(b"ok"), 200, b"ok", True),
    "location": (fcgi.reply(b"ok", "Location: /x\r\n"), 302, b"ok", True),
    "status and location": (fcgi.reply(b"ok", "Status: 301 Moved\r\nLocation: /x\r\n"), 301, b"ok", True),
    "no content": (fcgi.reply(b"", "Status: 204\r\n"), 204, b"", True),
    "length": (fcgi.reply(b"hello", "Content-Length: 5\r\n"), 200, b"hello", True),
    "large": (fcgi.reply(b"x" * 300000), 200, b"x" * 300000, True),
    "length too short": (fcgi.reply(b"helloEXTRA", "Content-Length: 5\r\n"), 200, b"hello", False),
    "transfer-encoding": (fcgi.reply(b"hello", "Transfer-Encoding: chunked\r\nX: 1\r\n"), 200, b"hello", False),
    "after the end": (OK + fcgi.reply(b"stolen"), 200, b"ok", False),
    "another id": (fcgi.record(fcgi.STDOUT, (HEAD + "stolen").encode(), request=2) + fcgi.end(), 502, None, False),
    "another version": (fcgi.record(fcgi.STDOUT, (HEAD + "x").encode(), version=2) + fcgi.end(), 502, None, False),
    "nothing": (fcgi.end(), 502, None, False),
    "no head": (fcgi.stdout("hello") + fcgi.end(), 502, None, False),
    "overloaded": (fcgi.end(protocol=2), 502, None, False),
    "101": (fcgi.reply(b"", "Status: 101\r\nUpgrade: x\r\n"), 502, None, False),
    "two lengths": (fcgi.reply(b"hello", "Content-Length: 5\r\nContent-Length: 6\r\n"), 502, None, False),
    "http": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 502, None, False),
    "huge head": (fcgi.reply(b"ok", "X: " + "y" * 50000 + "\r\n"), 502, None, False),
}


@pytest.mark.sanitizer
def test_answers(run):
    name = "plain"
    server, proxy, port = app(run, answer=lambda r: ANSWERS[name][0], pool={"max": 1}, workers=1)
    for name, (_, status, body, reuse) in ANSWERS.items():
        before = len(server.connections)
        r = get(port)
        assert r.status == status and (body is None or r.body == body), (name, r)
        assert b"stolen" not in r.body and r.get("Status") is None, name
        victim, kept = name, len(server.connections)
        name = "plain"
        r = get(port, "/victim")
        assert (r.status, r.body) == (200, b"ok"), victim
        assert (len(server.connections) == kept) == reuse, f"{victim}: {before} {kept} {len(server.connections)}"


def test_every_cut(run):
    """An answer that arrives in two parts is the same wherever it was cut."""
    whole = fcgi.record(fcgi.STDERR, b"warning\n", 3) + fcgi.stdout("Status: 404 Not Found\nX: y\n\nbody", 9) + fcgi.record(fcgi.STDOUT) + fcgi.end()

    def handler(server, connection):
        while (r := connection.request()) is not None:
            cut, mine = int(r.params["QUERY_STRING"]), fcgi.addressed(whole, connection.id)
            connection.send(mine[:cut])
            threading.Event().wait(0.002)
            connection.send(mine[cut:])
    server, _, port = app(run, handler=handler, workers=1)
    with Client(port) as c:
        for cut in range(len(whole)):
            r = c.ask(f"/?{cut}")
            assert (r.status, r.body, r.get("X")) == (404, b"body", "y"), cut
    assert len(server.connections) == 1


@pytest.mark.parametrize("sent", [b"", fcgi.record(fcgi.STDOUT, HEAD.encode())[:30], fcgi.stdout(HEAD + "half"),
                                  fcgi.reply(b"hello", "Content-Length: 500\r\n")], ids=["nothing", "half a head", "half a body", "short"])
def test_a_response_that_ends_early(run, sent):
    def handler(server, connection):
        if (r := connection.request()) is not None:
            server.requests.append(r)
            connection.answer(sent if r.params["QUERY_STRING"] != "ok" else OK)
    server, proxy, port = app(run, handler=handler)
    with Client(port) as c:
        c.send(request("/", "POST", body=b"x"))
        if b"half" in sent or b"500" in sent:
            with pytest.raises((Gone, ConnectionError)):
                c.final()
        else:
            assert c.final().status == 502
    assert get(port, "/?ok").body == b"ok"
    assert [r.params["REQUEST_METHOD"] for r in server.requests] == ["POST", "GET"], "a POST was run twice"


def test_stderr(run):
    """Ordered, one line each, harmless, bounded."""
    text = {"few": b"first\nsecond \x1b[31mred\r\nFAKE\x00 LINE\nlast without end",
            "flood": b"".join(b"line %d %s\n" % (n, b"e" * 50) for n in range(scale(20000, 160000)))}

    def answer(r):
        out = b"".join(fcgi.record(fcgi.STDERR, text[r.params["QUERY_STRING"]][i:i + 1000])
                       for i in range(0, len(text[r.params["QUERY_STRING"]]), 1000))
        return out + OK
    _, proxy, port = app(run, answer=answer)
    assert get(port, "/?few").body == b"ok"
    until(lambda: "last without end" in proxy.log(), 5, "the lines")
    lines = [l for l in proxy.log().splitlines() if "stderr" in l]
    assert len(lines) == 4 and "first" in lines[0] and "red" in lines[1] and "FAKE" in lines[2] and "last" in lines[3]
    assert "\x1b" not in proxy.log() and "\x00" not in proxy.log() and "upstream app" in lines[0]
    before = len(proxy.log())
    assert get(port, "/?flood", timeout=60).body == b"ok"
    until(lambda: "held back" in proxy.log(), 5, "what was held back")
    assert len(proxy.log()) - before < 20000
    assert "line 0 " in proxy.log() and "line 1000 " not in proxy.log()


# the pool --------------------------------------------------------------------------------------------------------------

def test_goodbye_is_a_request_without_keep_conn(run):
    server, proxy, port = app(run, answer=lambda r: fcgi.reply("keep" if r.keep else "bye"), pool={"max": 2, "max_requests": 3})
    with Client(port) as c:
        assert [c.ask().body for _ in range(7)] == [b"keep", b"keep", b"bye"] * 2 + [b"keep"]
    until(lambda: proxy.metrics().sum("lastack_connections_closed_total", by="backend", reason="goodbye") == 2, 5, "goodbyes")
    assert proxy.metrics().sum("lastack_connections_closed_total", by="proxy") == 0


def test_nothing_is_dialed_ahead(run):
    """A connection that says nothing would hold a worker for five seconds."""
    server, proxy, port = app(run, workers=1)
    assert get(port).status == 200
    with Client(port) as idle:
        idle.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
        assert get(port).status == 200
        assert len(server.connections) == 1
        idle.send("hello")
        assert idle.final().status == 200
    assert len(server.connections) == 1


def test_bytes_on_an_idle_connection_are_poison(run):
    server, proxy, port = app(run)
    assert get(port).status == 200
    server.connections[0].answer(fcgi.reply(b"stolen"))
    until(lambda: proxy.metrics().sum("lastack_connections_closed_total", reason="unexpected_bytes") == 1, 5, "the close")
    assert get(port).body == b"ok" and len(server.connections) == 2


LATE = {"an answer": fcgi.reply(b"stolen"), "one byte": b"\x01", "a warning": fcgi.record(fcgi.STDERR, b"late"), "an end": fcgi.end()}


@pytest.mark.parametrize("late", LATE.values(), ids=LATE)
def test_what_comes_late_is_not_the_next_ones_answer(run, late):
    """The server has read the next request when it sends what is left of the one before it. Safe requests are asked again on a
    new connection, others fail."""
    def handler(server, connection):
        left = b""
        while (r := connection.request()) is not None:
            server.requests.append(r)
            connection.send(left)
            connection.answer(fcgi.reply(r.params["REQUEST_URI"] + " is ok"))
            left = fcgi.addressed(late, connection.id) if r.params["QUERY_STRING"] == "late" else b""
    server, proxy, port = app(run, handler=handler, pool={"max": 1}, workers=1)
    assert get(port, "/?late").body == b"/?late is ok"
    assert get(port, "/safe").body == b"/safe is ok"
    assert len(server.connections) == 2 and proxy.metrics().sum("lastack_retries_total") == 1
    assert get(port, "/?late").body == b"/?late is ok"
    assert get(port, "/unsafe", "POST", body=b"x").status == 502
    assert get(port, "/safe").body == b"/safe is ok"
    assert [r.params["REQUEST_URI"] for r in server.requests].count("/unsafe") == 1, "a POST was run twice"
    assert proxy.metrics().sum("lastack_connections_closed_total", by="proxy", reason="unexpected_bytes") == 2


def test_a_client_that_leaves_keeps_its_place_until_the_answer(run):
    """php works on: its worker is not free because a client has gone."""
    go = threading.Event()

    def handler(server, connection):
        while (r := connection.request()) is not None:
            server.requests.append(r)
            if r.params["QUERY_STRING"] == "slow":
                go.wait(20)
            connection.answer(OK)
    server, proxy, port = app(run, handler=handler, pool={"max": 1, "abort_wait": "100ms"})
    with Client(port) as c:
        c.send(request("/?slow"))
        until(lambda: len(server.requests) == 1, 5, "the request")
    until(lambda: proxy.access(), 5, "the log line")
    crowd = Crowd(1, lambda n: get(port, "/?next").body)
    until(lambda: proxy.metrics().sum("lastack_queue_length") == 1, 5, "a request that waits")
    assert len(server.connections) == 1
    go.set()
    assert crowd.results() == [b"ok"]
    assert len(server.connections) == 1 and server.most == 1


def test_a_worker_that_is_busy_after_its_answer(run):
    """fastcgi_finish_request(): END_REQUEST has come, but the worker does not read. A safe request goes elsewhere, another waits."""
    go = threading.Event()

    def handler(server, connection):
        while (r := connection.request()) is not None:
            server.requests.append(r)
            connection.answer(fcgi.reply(r.params["REQUEST_METHOD"]))
            if r.params["QUERY_STRING"] == "finish":
                go.wait(30)
    server, proxy, port = app(run, handler=handler, pool={"max": 2}, workers=1)
    assert get(port, "/?finish").status == 200
    assert get(port).body == b"GET"  # a fresh connection, after the watch
    assert len(server.connections) == 2
    until(lambda: proxy.metrics().sum("lastack_connections_closed_total", by="proxy", reason="worker_busy") == 1, 10, "the close")
    assert proxy.metrics().sum("lastack_retries_total") == 1 and "fastcgi_finish_request" in proxy.log()
    go.set()
    go.clear()
    assert get(port, "/?finish").status == 200
    crowd = Crowd(1, lambda n: get(port, "/post", "POST", body=b"x").body)
    threading.Event().wait(0.6)
    go.set()
    assert crowd.results() == [b"POST"]
    assert [r.params["REQUEST_URI"] for r in server.requests].count("/post") == 1, "a POST was run twice"


def test_all_workers_are_busy_after_their_answers(run):
    """There is nowhere to go: a safe request that was taken elsewhere once waits there, it does not fail."""
    go, both = threading.Event(), threading.Barrier(2)

    def handler(server, connection):
        while (r := connection.request()) is not None:
            server.requests.append(r)
            if r.params["QUERY_STRING"] == "finish":
                both.wait(10)
            connection.answer(fcgi.reply(r.params["REQUEST_METHOD"]))
            if r.params["QUERY_STRING"] == "finish":
                go.wait(30)
    server, proxy, port = app(run, handler=handler, pool={"max": 2}, workers=1)
    assert [r.status for r in Crowd(2, lambda n: get(port, "/?finish")).results()] == [200, 200]
    crowd = Crowd(1, lambda n: get(port).body)
    until(lambda: proxy.metrics().sum("lastack_connections_closed_total", by="proxy", reason="worker_busy") == 1, 10, "the first close")
    holds(lambda: proxy.metrics().sum("lastack_errors_total") == 0, 0.7, "no error")
    go.set()
    assert crowd.results() == [b"GET"]
    assert proxy.metrics().sum("lastack_connections_closed_total", by="proxy", reason="worker_busy") == 1


def test_a_full_backlog_is_waited_for(run):
    """A Unix socket whose backlog is full answers EAGAIN at once, and no event follows."""
    root = run.folder("www")
    open(os.path.join(root, "index.php"), "w").close()
    path = os.path.join(str(run.directory), "full.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(0)
    stuffing = []
    for _ in range(3):
        s = socket.socket(socket.AF_UNIX)
        s.setblocking(False)
        if s.connect_ex(path) == 0:
            stuffing.append(s)
    proxy, port = run.front([f"unix:{path}"], protocol="fastcgi", fastcgi={"root": root})
    crowd = Crowd(3, lambda n: get(port).body)
    until(lambda: proxy.metrics().sum("lastack_queue_length") == 3, 5, "requests that wait")
    for s in stuffing:
        s.close()

    def serve():
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            c = fcgi.Connection(sock)
            try:
                while c.request() is not None:
                    c.answer(OK)
            except (OSError, ConnectionError, AssertionError):
                c.close()
    threads = [threading.Thread(target=serve, daemon=True) for _ in range(6)]
    for t in threads:
        t.start()
    assert crowd.results() == [b"ok"] * 3
    assert proxy.metrics().sum("lastack_errors_total") == 0
    listener.close()
