"""TLS towards servers: whom the proxy trusts, sessions, what may come on an idle connection, who closes first; and the
pool's promises once more with TLS on both sides."""
import os
import shutil
import socket
import ssl
import subprocess
import threading

import pytest

from harness import servers
from harness.certs import Authority, server_context
from harness.peers import clean
from harness.proxy import config, free_port, lastack, yaml
from harness.raw import Client, Crowd, Gone, get, response
from harness.wait import holds, scale, until

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@pytest.fixture
def ca(run):
    return Authority(run.folder("ca"))


def nginx(run, pair, server="location / { return 200 hello; }", more="", **options):
    return run.own(servers.Nginx(run.directory, f"ssl_certificate {pair.chain}; ssl_certificate_key {pair.key}; {more} {server}",
                                 ssl="ssl", **options))


def causes(proxy):
    return {(s.labels["by"], s.labels["reason"]): s.value for s in proxy.metrics().all("lastack_connections_closed_total") if s.value}


def handshakes(proxy):
    return {k: v for k, v in proxy.metrics().by("lastack_server_handshakes_total", "result").items() if v}


def over(proxy):
    until(lambda: proxy.metrics().sum("lastack_connections", upstream="app") == 0, 10, "all connections to be gone")


# ---- trust ----

@pytest.mark.sanitizer
@pytest.mark.parametrize("case, cause, subject", [
    ("expired", "tls_expired", "CN=test"), ("early", "tls_not_yet_valid", "CN=test"), ("self-signed", "tls_self_signed", "CN=test"),
    ("wrong name", "tls_wrong_name", "CN=other"), ("unknown authority", "tls_unknown_ca", "CN="), ("revoked", "tls_revoked", "CN=test"),
    ("for clients", "tls_bad_certificate", "CN=test")])
def test_bad_certificates_have_their_own_cause(run, ca, case, cause, subject):
    tls = {"ca": ca.certificate}
    if case == "expired":
        pair = ca.expired()
    elif case == "early":
        pair = ca.issue(start="20400101000000Z", end="20410101000000Z")
    elif case == "self-signed":
        pair = ca.self_signed()
    elif case == "wrong name":
        pair = ca.issue("other", ("DNS:other",))
    elif case == "unknown authority":
        pair = Authority(run.folder("ca2")).issue()
    elif case == "for clients":
        pair = ca.issue(extra=("extendedKeyUsage=clientAuth",))
    else:
        pair = ca.issue()
        ca.revoke(pair)
        tls["crl"] = ca.crl()
    origin = run.origin(tls=server_context(pair))
    proxy, port = run.front([origin], tls=tls)
    answer = get(port)
    assert answer.status == 502 and f'error=tls_certificate_error; details="{cause}:' in answer.get("Proxy-Status")
    assert until(lambda: proxy.access(), 5, "the access line")[0]["error"] == cause
    assert f"certificate of /{subject}" in proxy.log()
    assert proxy.metrics().sum("lastack_errors_total", cause=cause) == 1
    assert set(handshakes(proxy)) == {"failed"}
    until(lambda: set(causes(proxy)) == {("proxy", "tls_failed")}, 5, "the close to be counted")
    assert origin.requests == []


def test_names(run, ca):
    """By default the name or address as written; server_name in its place."""
    asked = []

    def origin_for(*names):
        context = server_context(ca.issue("server", names))
        context.sni_callback = lambda s, name, c: asked.append(name)
        return run.origin(tls=context)
    cases = [(("IP:127.0.0.1",), "127.0.0.1", {}, 200, None), (("DNS:localhost",), "127.0.0.1", {}, 502, None),
             (("DNS:localhost",), "localhost", {}, 200, "localhost"), (("DNS:app.internal",), "127.0.0.1", {"server_name": "app.internal"}, 200, "app.internal"),
             (("DNS:*.x.internal",), "127.0.0.1", {"server_name": "app.x.internal"}, 200, "app.x.internal"),
             (("DNS:a*.x.internal",), "127.0.0.1", {"server_name": "app.x.internal"}, 502, "app.x.internal"),
             (("DNS:other",), "127.0.0.1", {"server_name": "app.internal", "verify": False}, 200, "app.internal")]
    for names, host, tls, status, sni in cases:
        origin = origin_for(*names)
        _, port = run.front([f"{host}:{origin.port}"], tls={"ca": ca.certificate, **tls})
        asked.clear()
        assert get(port).status == status, (names, host, tls)
        assert asked[0] == sni


def test_the_systems_authorities_are_the_default(run, ca):
    """As they are at the last reload."""
    origin, file = run.origin(tls=server_context(ca.issue())), os.path.join(run.folder("system"), "cert.pem")
    shutil.copy(Authority(run.folder("other")).certificate, file)
    proxy, port = run.front([origin], tls={}, env={"SSL_CERT_FILE": file})
    assert get(port).status == 502
    shutil.copy(ca.certificate, file)
    proxy.reload(proxy.conf)
    assert get(port).status == 200


@pytest.mark.sanitizer
def test_the_proxy_shows_its_certificate(run, ca):
    mine = ca.issue("proxy", names=())
    origin = run.origin(tls=server_context(ca.issue(), ca=ca))
    _, port = run.front([origin], tls={"ca": ca.certificate, "certificate": mine.chain, "key": mine.key})
    assert get(port).status == 200
    peer = dict(x[0] for x in origin.connections[0].sock.getpeercert()["subject"])
    assert peer["commonName"] == "proxy" and origin.connections[0].sock.selected_alpn_protocol() is None
    _, port = run.front([origin], tls={"ca": ca.certificate})
    assert get(port).status == 502


@pytest.mark.parametrize("says, cause, status", [("nothing", "tls_timeout", 504), ("http", "tls_handshake", 502), ("fin", "tls_closed", 502)])
def test_servers_that_do_not_shake_hands(run, ca, says, cause, status):
    def handler(c):
        c.sock.recv(1000)
        if says == "http":
            c.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        while says != "fin" and c.sock.recv(1000):
            pass
    proxy, port = run.front([run.origin(handler)], tls={"ca": ca.certificate}, timeouts={"handshake": "300ms" if says == "nothing" else "10s"})
    answer = get(port)
    assert answer.status == status and f'details="{cause}:' in answer.get("Proxy-Status")


@pytest.mark.parametrize("second", [False, True])
def test_a_server_that_stalls_in_its_handshake(run, ca, second):
    """With the default times another server has its turn before queue.timeout ends; with no other one it is not the line that
    took the time."""
    def silent(c):
        while c.sock.recv(1000):
            pass
    stalls = run.origin(silent)
    good = run.origin(answer=lambda r: response(body=b"good"), tls=server_context(ca.issue()))
    proxy, port = run.front([stalls, good][:1 + second], tls={"ca": ca.certificate}, balance="round_robin", workers=1,
                            queue={"timeout": "5s" if second else "500ms"})
    if second:
        assert [get(port).body for _ in range(2)] == [b"good"] * 2
    else:
        answer = get(port)
        assert answer.status == 504 and 'details="tls_timeout:' in answer.get("Proxy-Status")
        assert proxy.metrics().sum("lastack_queue_timeouts_total") == 0


def test_check_says_what_is_wrong(run, ca):
    path = os.path.join(run.folder("conf"), "lastack.yaml")
    a, b = ca.issue(), ca.issue()

    def check(tls, server="127.0.0.1:1"):
        with open(path, "w") as f:
            yaml.safe_dump(config({"app": {"servers": [server], "tls": tls}}, f"127.0.0.1:{free_port()}"), f)
        return lastack("check", path)
    for tls, said in [({"ca": "/nowhere"}, "upstreams.app.tls.ca: /nowhere: No such file"), ({"ca": a.key}, "no certificate in PEM form"),
                      ({"crl": a.certificate}, "upstreams.app.tls.crl: ") , ({"certificate": a.certificate, "key": b.key}, "is not the key of"),
                      ({"key": a.key}, "has no certificate beside it"), ({"ciphers": "x"}, "upstreams.app.tls.ciphers: ")]:
        code, out = check(tls)
        assert code == 1 and said in out, (tls, out)
    assert check({"verify": False})[0] == 0 and "pretend" in check({"verify": False})[1]


# ---- sessions, identity ----

@pytest.mark.sanitizer
@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_sessions_are_resumed(run, ca, version):
    """Each connection carries one request: all but the first handshakes are resumed."""
    origin = run.origin(tls=server_context(ca.issue(), version), answer=lambda r: response(200, b"x", "Connection: close\r\n"))

    def handler(c):
        if c.request():
            c.reply(200, b"x", "Connection: close\r\n")
    origin.handler = handler
    proxy, port = run.front([origin], tls={"ca": ca.certificate}, workers=1)
    for _ in range(20):
        assert get(port).status == 200
    assert handshakes(proxy) == {"full": 1, "resumed": 19}


@pytest.mark.sanitizer
def test_a_connection_verified_for_one_name_never_serves_another(run, ca):
    """Two upstreams with one address: their names differ, and then one of them changes its own by a reload."""
    asked = {}

    def sni(s, name, _):
        asked[s] = name
    context = server_context(ca.issue("both", ("DNS:one", "DNS:two", "DNS:three")))
    context.sni_callback = sni
    requests = []

    def handler(c):
        while (r := c.request()):
            requests.append((asked[c.sock], r.target))
            c.reply(200, b"x")
    origin = run.origin(handler, tls=context)
    ports = [free_port(), free_port()]
    listen = [{"name": name, "address": f"127.0.0.1:{port}", "upstream": name} for name, port in zip(("one", "two"), ports)]
    upstreams = {n: {"servers": [origin.text], "tls": {"ca": ca.certificate, "server_name": n}} for n in ("one", "two")}
    proxy = run.proxy(config(upstreams, listen, workers=1))

    def ask_all():
        requests.clear()
        for _ in range(5):
            for name, port in zip(("one", "two"), ports):
                assert get(port, f"/{name}").status == 200
        return set(requests)
    assert ask_all() == {("one", "/one"), ("two", "/two")}
    proxy.reload()  # what has not changed keeps its connections
    before = len(origin.connections)
    assert ask_all() == {("one", "/one"), ("two", "/two")} and len(origin.connections) == before
    conf = dict(proxy.conf)
    conf["upstreams"]["two"]["tls"]["server_name"] = "three"
    proxy.reload(conf)
    assert ask_all() == {("one", "/one"), ("three", "/two")}
    conf["upstreams"]["two"]["tls"]["server_name"] = "four"  # none of the certificate's
    proxy.reload(conf)
    assert get(ports[1]).status == 502 and get(ports[0]).status == 200


@pytest.mark.sanitizer
def test_one_connection_serves_all_workers(run, ca):
    """Taken over between workers with everything TLS knows about it."""
    origin = run.origin(tls=server_context(ca.issue()), answer=lambda r: (200, r.target.encode() * 500, ""))
    proxy, port = run.front([origin], tls={"ca": ca.certificate}, workers=4, pool={"max": 1}, queue={"timeout": "30s"})

    def one(n):
        for k in range(10):
            with Client(port) as c:
                assert c.ask(f"/{n}-{k}").body == b"/%d-%d" % (n, k) * 500
    Crowd(scale(12, 50), one).results()
    assert len(origin.connections) == 1
    assert proxy.metrics().sum("lastack_takeovers_total") > 0


# ---- idle connections ----

class SServer:
    """openssl s_server, driven by its standard input: what it sends is what we write; a line "K" updates keys and asks for
    the same from the other side."""

    def __init__(self, run, pair, *words):
        self.port = free_port()
        self.text = f"127.0.0.1:{self.port}"
        self.popen = subprocess.Popen(["openssl", "s_server", "-accept", self.text, "-cert", pair.chain, "-key", pair.key, *words],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0)
        self.out, self.lock = b"", threading.Lock()
        threading.Thread(target=self._read, daemon=True).start()
        run.own(self)
        until(lambda: b"ACCEPT" in self.out, 10, "s_server")

    def _read(self):
        while (piece := os.read(self.popen.stdout.fileno(), 65536)):
            self.out += piece

    def write(self, text):
        self.popen.stdin.write(text.encode())

    def answer(self, body):
        self.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}")

    def close(self):
        self.popen.kill()
        self.popen.wait()


@pytest.mark.sanitizer
def test_key_updates_on_an_idle_connection_are_no_poison(run, ca):
    server = SServer(run, ca.issue(), "-tls1_3", "-msg")
    proxy, port = run.front([server.text], tls={"ca": ca.certificate}, workers=1)

    def ask(n):
        with Client(port) as c:
            c.send(f"GET /{n} HTTP/1.1\r\nHost: test\r\n\r\n")
            until(lambda: f"GET /{n} ".encode() in server.out, 10, "the request")
            server.answer(f"answer {n}")
            return c.final().body.decode()
    assert ask(1) == "answer 1"
    until(lambda: proxy.metrics().sum("lastack_connections", state="idle") == 1, 5, "an idle connection")
    for n, update in ((2, "K"), (3, "k"), (4, "K")):
        server.write(update + "\n")
        until(lambda: server.out.count(b", KeyUpdate") >= n - 1, 5, "the update")
        holds(lambda: proxy.metrics().sum("lastack_connections", state="idle") == 1, 0.1, "the connection idling on")
        assert ask(n) == f"answer {n}"
    assert server.out.count(b"GET /") == 4 and causes(proxy) == {}
    assert proxy.metrics().sum("lastack_connections_opened_total") == 1


@pytest.mark.sanitizer
def test_bytes_on_an_idle_connection_are_poison(run, ca):
    said = threading.Event()

    def handler(c):
        c.request()
        c.reply(200, b"first")
        said.wait(10)
        c.send(response(200, b"for nobody"))
        c.request()
    origin = run.origin(handler, tls=server_context(ca.issue()))
    proxy, port = run.front([origin], tls={"ca": ca.certificate})
    assert get(port).body == b"first"
    said.set()
    over(proxy)
    assert causes(proxy) == {("proxy", "unexpected_bytes"): 1}
    assert get(port).body == b"first"


@pytest.mark.sanitizer
@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_after_close_notify_the_fin_is_awaited(run, ca, version):
    """The server says that it ends and takes its time: the connection takes no request any more, keeps its place, and is
    closed by the server. It is answered, as some servers wish."""
    go, answered, fin = threading.Event(), threading.Event(), threading.Event()

    def handler(c):
        c.request()
        c.reply(200, b"x")
        if c.number == 0:
            c.sock = c.sock.unwrap()  # close_notify, and waits for the other side's
            answered.set()
            c.sock.settimeout(0.2)
            try:
                assert c.sock.recv(1) != b"", "the proxy closed first"
            except socket.timeout:
                fin.set()
            go.wait(10)
    origin = run.origin(handler, tls=server_context(ca.issue(), version))
    proxy, port = run.front([origin], tls={"ca": ca.certificate}, pool={"max": 2, "goodbye_timeout": "20s"}, workers=1)
    assert get(port).status == 200
    assert answered.wait(10), "no close_notify came back"
    until(lambda: proxy.metrics().sum("lastack_connections", state="leaving") == 1, 5, "it to be leaving")
    assert get(port).status == 200 and len(origin.connections) == 2
    assert fin.wait(10)
    go.set()
    until(lambda: causes(proxy).get(("backend", "keepalive_timeout"), 0) >= 1, 5, "the server's FIN")
    assert all(by == "backend" for by, _ in causes(proxy)), causes(proxy)


@pytest.mark.sanitizer
def test_a_close_notify_without_a_fin_is_waited_for_in_bounds(run, ca):
    done = threading.Event()

    def handler(c):
        c.request()
        c.reply(200, b"x")
        c.sock = c.sock.unwrap()
        done.wait(20)
    origin = run.origin(handler, tls=server_context(ca.issue()))
    proxy, port = run.front([origin], tls={"ca": ca.certificate}, pool={"max": 1, "goodbye_timeout": "100ms"}, queue={"timeout": "15s"})
    assert get(port).status == 200
    assert get(port, timeout=15).status == 200  # the place comes free: forced
    # The second request may have crossed the close_notify; then it is its own connection that is forced.
    until(lambda: causes(proxy).get(("proxy", "forced"), 0) >= 1, 10, "a connection to be forced")
    done.set()


def test_nginx_hangs_up_first(run, ca):
    """Short keep-alive: every connection ends by nginx's hand, none by the proxy's, and no request is lost. One that was dialed for
    a client whom another connection served first has to wait for client_header_timeout."""
    fronts = []
    for name in ("TLSv1.2", "TLSv1.3"):
        server = nginx(run, ca.issue(), keepalive_timeout="1s", more=f"ssl_protocols {name}; client_header_timeout 1s;")
        proxy, port = run.front([server], tls={"ca": ca.certificate}, pool={"max": 8})
        fronts.append((proxy, port, run.load(port, clients=8, duration_ms=scale(4000, 60000), gap_min_ms=500, gap_max_ms=1500)))
    for proxy, port, load in fronts:
        clean(load.result())
        over(proxy)
        assert get(port).status == 200, "one more connection, which resumes a session of theirs"
        over(proxy)
        assert set(causes(proxy)) <= {("backend", "keepalive_timeout"), ("backend", "race"), ("backend", "reset")}, causes(proxy)
        found = handshakes(proxy)
        assert found["resumed"] >= 1 and found["full"] <= 8 and set(found) == {"full", "resumed"}, found


# ---- truncation ----

@pytest.mark.sanitizer
@pytest.mark.parametrize("ends, fine", [("properly", True), ("by FIN", False)])
def test_a_close_delimited_body_must_not_be_cut(run, ca, ends, fine):
    body = b"x" * 50000

    def handler(c):
        c.request()
        c.send(b"HTTP/1.1 200 OK\r\n\r\n" + body)
        if ends == "properly":
            c.sock = c.sock.unwrap()
        else:
            c.sock.shutdown(socket.SHUT_WR)
            c.sock = socket.socket(fileno=c.sock.detach())
    origin = run.origin(handler, tls=server_context(ca.issue()))
    proxy, port = run.front([origin], tls={"ca": ca.certificate})
    with Client(port) as c:
        c.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        try:
            assert c.final().body == body and fine
        except (Gone, ConnectionError, AssertionError):
            assert not fine
    line = until(lambda: proxy.access(), 5, "the access line")[0]
    assert line["error"] == ("" if fine else "response_incomplete")
    over(proxy)
    assert set(causes(proxy)) == {("backend", "close_delimited" if fine else "incomplete_response")}


# ---- the pool's promises, TLS on both sides ----

class Both:
    """Plain peers with relays that speak TLS for them: client -> TLS -> proxy -> TLS -> backend, connection by connection."""

    def __init__(self, run, ca, backend, delay_ms=0, **more):
        pair = ca.issue()
        self.behind = run.relay(backend.text, delay_ms, accept_tls=pair)
        self.proxy, port = run.front([self.behind.text], tls={"ca": ca.certificate}, listener={"tls": {"certificates": [pair.conf]}}, **more)
        self.front = run.relay(f"127.0.0.1:{port}", 0, connect_tls="test")


PLACES, CLIENTS = 8, scale(100, 300)


@pytest.mark.sanitizer
def test_the_cap_is_exact(run, ca):
    backend = run.backend(max_connections=PLACES, delay_us=3000)
    both = Both(run, ca, backend, workers=4, pool={"max": PLACES}, queue={"timeout": "60s"})
    n = scale(2000, 20000)
    clean(run.load(both.front.port, clients=CLIENTS, requests=n, keepalive=20, timeout_ms=60000).result())
    seen = backend.stats()
    assert seen["over_cap"] == 0 and seen["open_max"] <= PLACES and seen["requests"] == n and seen["duplicates"] == 0
    assert seen["reuse"] >= 0.99
    assert both.proxy.metrics().sum("lastack_takeovers_total") > 0


@pytest.mark.sanitizer
def test_goodbyes_end_by_the_backend(run, ca):
    backend = run.backend(idle_ms=3600000)
    both = Both(run, ca, backend, pool={"max": 8, "max_requests": 20}, workers=2)
    n = scale(1000, 20000)
    clean(run.load(both.front.port, clients=16, requests=n).result())
    until(lambda: (lambda s: s["goodbyes"] == s["goodbye_closed_by_origin"])(backend.stats()), 10, "the backend's closes")
    seen, wire = backend.stats(), both.behind.stats()
    assert seen["goodbyes"] >= n // 20 - 8 and seen["goodbye_closed_by_peer"] == seen["goodbye_reused"] == 0, seen
    assert seen["closed_by_peer_fin"] == seen["closed_by_peer_rst"] == 0, seen
    assert wire["first_client_fin"] == wire["first_client_rst"] == 0 and wire["first_server_fin"] >= n // 20 - 8, wire
    assert set(causes(both.proxy)) == {("backend", "goodbye")}, causes(both.proxy)


def test_the_idle_race_loses_nothing(run, ca):
    """The server hangs up after 300 ms of idleness, 20 ms away; gaps lie around that."""
    backend = run.backend(idle_ms=300)
    both = Both(run, ca, backend, delay_ms=20, pool={"max": 24})
    load = run.load(both.front.port, clients=12, method="GET=50,POST=50", body=64, duration_ms=scale(8000, 120000), gap_min_ms=150, gap_max_ms=450)
    result = clean(load.result())
    seen, wire = backend.stats(), both.behind.stats()
    assert result["done"] > 100 and seen["duplicates"] == 0
    by_proxy = wire["first_client_fin"] + wire["first_client_rst"]
    assert by_proxy <= 0.001 * (by_proxy + wire["first_server_fin"] + wire["first_server_rst"]), wire


@pytest.mark.sanitizer
def test_reload_and_drain_under_load(run, ca):
    backend = run.backend(delay_us=500)
    both = Both(run, ca, backend, pool={"max": 8}, workers=2)
    load = run.load(both.front.port, clients=16, keepalive=10, duration_ms=scale(2000, 20000))
    for _ in range(scale(4, 20)):
        both.proxy.reload()
    result = clean(load.result())
    assert result["done"] > 50
    assert both.proxy.stop(timeout=20) == 0
