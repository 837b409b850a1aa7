"""The PROXY protocol: believed from trusted networks, required from them, sent to servers that want it; with TLS behind it."""
import copy
import socket
import struct
import threading

import pytest

from harness import fcgi, servers
from harness.certs import Authority, client_context
from harness.proxy import config, free_port, lastack, yaml
from harness.raw import Client, Crowd, Gone, get, request
from harness.wait import scale, until

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def v1(source="192.0.2.1", port=1111):
    return f"PROXY TCP{6 if ':' in source else 4} {source} {'::1' if ':' in source else '127.0.0.1'} {port} 80\r\n".encode()


def v2(source="192.0.2.1", port=1111, extra=b""):
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    ends = socket.inet_pton(family, source) + socket.inet_pton(family, "::1" if ":" in source else "127.0.0.1")
    body = ends + struct.pack("!HH", port, 80) + extra
    return SIGNATURE + bytes([0x21, 0x21 if ":" in source else 0x11]) + struct.pack("!H", len(body)) + body


LOCAL = SIGNATURE + b"\x20\0\0\0"


def front(run, servers_, tls=None, **more):
    listener = {"accept_proxy": ["127.0.0.0/8"], **({"tls": tls} if tls else {}), **more.pop("listener", {})}
    return run.front(servers_, listener=listener, **more)


@pytest.mark.sanitizer
@pytest.mark.parametrize("header, who", [
    (v1(), "192.0.2.1"), (v1("2001:db8::7"), "2001:db8::7"), (v2(), "192.0.2.1"), (v2("2001:db8::7"), "2001:db8::7"),
    (v2(extra=b"\4\1\0" + b"x" * 256), "192.0.2.1"), (b"PROXY UNKNOWN\r\n", "127.0.0.1"), (LOCAL, "127.0.0.1")])
def test_the_client_is_who_the_header_says(run, header, who):
    origin = run.origin()
    proxy, port = front(run, [origin])
    with Client(port, preface=header + request("/together")) as c:  # in one segment with what follows
        assert c.final().status == 200
        assert origin.last.get("X-Forwarded-For") == who
        assert c.ask("/again").status == 200 and origin.last.get("X-Forwarded-For") == who
    with Client(port) as c:
        for byte in header:  # and byte by byte
            c.send(bytes([byte]))
        assert c.ask().status == 200
    assert origin.last.get("X-Forwarded-For") == who
    until(lambda: len(proxy.access()) == 3, 5, "three lines")
    assert {line["client"] for line in proxy.access()} == {who}
    assert proxy.metrics().sum("lastack_proxy_headers_total", result="good") == 2


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("header, who, port", [(v1(), "192.0.2.1", "1111"), (v2("2001:db8::7"), "2001:db8::7", "1111"), (LOCAL, "127.0.0.1", None)],
                         ids=["v1", "v2", "local"])
def test_a_script_is_told_of_both_ends(run, header, who, port, secure):
    """The client is who the header says; the server's address is the listener's own, also where that is a wildcard. HTTPS is what the
    client speaks to lastack, whatever it says of itself."""
    root = run.folder("www")
    open(f"{root}/index.php", "w").close()
    server, ca = run.own(fcgi.Server(run.directory)), Authority(run.folder("ca"))
    for address in ("127.0.0.1", "0.0.0.0"):
        here = free_port()
        listener = {"address": f"{address}:{here}", "accept_proxy": ["127.0.0.0/8"]}
        if secure:
            listener["tls"] = {"certificates": [ca.issue().conf]}
        run.proxy(config({"app": {"protocol": "fastcgi", "servers": [server.text], "fastcgi": {"root": root}}}, [{**listener, "upstream": "app"}]))
        with Client(here, preface=header, tls=client_context(ca) if secure else None) as c:
            assert c.ask("/index.php", headers="X-Forwarded-Proto: https\r\nX-Forwarded-For: 6.6.6.6\r\nHttps: on\r\n").status == 200
            own = str(c.sock.getsockname()[1])
        told = server.last.params
        assert (told["REMOTE_ADDR"], told["REMOTE_PORT"]) == (who, port or own)
        assert (told["SERVER_ADDR"], told["SERVER_PORT"]) == ("127.0.0.1", str(here))
        assert (told.get("HTTPS"), told["REQUEST_SCHEME"]) == (("on", "https") if secure else (None, "http"))


@pytest.mark.sanitizer
def test_without_a_good_header_nothing_is_served(run):
    origin = run.origin()
    proxy, port = front(run, [origin], listener={"timeouts": {"handshake": "300ms"}})
    for wrong in (request(), b"PROXY TCP4 192.0.2.1\r\n" + request(), SIGNATURE + b"\x21\x11\0\0" + request(), v1()[:-1] + b"x",
                  b"PROXY UNKNOWN " + b"x" * 200, b"PROXY TCP4 192.0.2.1", b"\r\n\r\n\0"):  # the last two: the rest never comes
        with Client(port, preface=wrong) as c:
            assert c.at_end(20), wrong
    assert origin.requests == []
    until(lambda: proxy.metrics().sum("lastack_proxy_headers_total", result="bad") == 7, 5, "seven bad ones")
    assert "no PROXY header from 127.0.0.1" in proxy.log()


def test_others_are_not_believed(run):
    origin = run.origin()
    _, port = run.front([origin], listener={"accept_proxy": ["10.0.0.0/8"]})
    assert get(port).status == 200 and origin.last.get("X-Forwarded-For") == "127.0.0.1"
    with Client(port, preface=v1()) as c:
        c.send(request())
        assert c.final().status == 400


def test_unix_listener(run):
    origin, path = run.origin(), run.folder("s") + "/http.sock"
    listen = [{"name": "web", "address": f"unix:{path}", "upstream": "app", "accept_proxy": ["0.0.0.0/0"]}]
    run.proxy(config({"app": {"servers": [origin.text]}}, listen))
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        s.sendall(v2() + request(headers="Connection: close\r\n"))
        assert s.recv(1000).startswith(b"HTTP/1.1 200")
    assert origin.last.get("X-Forwarded-For") == "192.0.2.1"


@pytest.mark.sanitizer
def test_tls_behind_the_header(run):
    ca = Authority(run.folder("ca"))
    origin = run.origin()
    _, port = front(run, [origin], {"certificates": [ca.issue().conf]})
    for header in (v1(), v2("2001:db8::7")):
        with Client(port, tls=client_context(ca), preface=header) as c:
            assert c.ask().status == 200
    assert [r.get("X-Forwarded-For") for _, r in origin.requests] == ["192.0.2.1", "2001:db8::7"]
    assert origin.last.get("X-Forwarded-Proto") == "https"


def test_who_may_have_set_forwarded_fields_is_asked_of_the_client_in_the_header(run):
    origin = run.origin()
    _, port = front(run, [origin], forwarded={"trust": ["192.0.2.0/24"]})
    for source, wanted in (("192.0.2.1", "1.2.3.4, 192.0.2.1"), ("198.51.100.1", "198.51.100.1")):
        with Client(port, preface=v1(source)) as c:
            c.ask(headers="X-Forwarded-For: 1.2.3.4\r\n")
        assert origin.last.get("X-Forwarded-For") == wanted


def test_limits_count_the_client_in_the_header(run):
    origin = run.origin()
    proxy, port = front(run, [origin], limits={"clients_per_address": 2})
    def come(source):
        try:
            c = Client(port, preface=v1(source))
            c.send(request())
            return c if c.final().status == 200 else None
        except (Gone, ConnectionError):
            return None
    held = [come("192.0.2.1"), come("192.0.2.1"), come("192.0.2.2"), come("192.0.2.2")]
    assert all(held) and come("192.0.2.1") is None and come("192.0.2.2") is None
    held[0].close()
    until(lambda: proxy.metrics().sum("lastack_client_connections") == 3, 10, "it to be gone")
    assert come("192.0.2.1") and come("192.0.2.2") is None
    assert get_local(port) == get_local(port) == get_local(port) == 200  # who speaks for itself is not counted


def get_local(port):
    with Client(port, preface=LOCAL) as c:
        return c.ask().status


# ---- sent ----

def header_of(connection):
    """Reads a header as a server does: (version, source, source port)."""
    if connection.exactly(5) == b"PROXY":
        words = connection.until(b"\r\n").decode().split()
        return (1, None, 0) if words == ["UNKNOWN"] else (1, words[1], int(words[3]))
    connection.exactly(7)
    command, family, length = struct.unpack("!BBH", connection.exactly(4))
    body = connection.exactly(length)
    if command == 0x20:
        return (2, None, 0)
    size = 4 if family == 0x11 else 16
    return (2, socket.inet_ntop(socket.AF_INET if size == 4 else socket.AF_INET6, body[:size]), struct.unpack("!H", body[2 * size:2 * size + 2])[0])


@pytest.mark.sanitizer
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_sent_to_servers_one_client_a_connection(run, version):
    seen = []

    def handler(c):
        head = header_of(c)
        while (r := c.request()):
            seen.append((head, r.target, r.get("Connection")))
            c.reply(200, f"{head[1]}:{head[2]}".encode())
            if r.get("Connection") == "close":
                return
    origin = run.origin(handler)
    proxy, port = run.front([origin], send_proxy=version, pool={"max": 4}, workers=2)

    def one(n):
        for _ in range(5):
            with Client(port) as c:
                mine = "%s:%d" % c.sock.getsockname()
                for k in range(3):  # kept alive here, never there
                    assert c.ask(f"/{n}").body.decode() == mine
    rounds = scale(12, 60)
    Crowd(rounds, one).results()
    assert len(seen) == len(origin.connections) == rounds * 15 and {s[2] for s in seen} == {"close"}
    assert {s[0][0] for s in seen} == {int(version[1])}
    closed = proxy.metrics().by("lastack_connections_closed_total", "reason")
    until(lambda: proxy.metrics().sum("lastack_connections", upstream="app") == 0, 10, "all connections to be gone")
    closed = {k: v for k, v in proxy.metrics().by("lastack_connections_closed_total", "reason").items() if v}
    assert closed == {"goodbye": rounds * 15}, closed


def test_a_request_in_line_when_it_is_switched_on(run):
    """It has its header, too, although it came when none was wanted."""
    gate, first = threading.Event(), []

    def handler(c):
        if len(origin.connections) == 1:
            c.request()
            gate.wait(30)
            c.reply(200, b"")
            c.to_end()
        else:
            first.append(c.exactly(6))
            c.request()
            c.reply(200, b"", "Connection: close\r\n")
    origin = run.origin(handler)
    proxy, port = run.front([origin], workers=1, pool={"max": 1}, timeouts={"response": "60s"}, queue={"timeout": "60s"})
    conf = copy.deepcopy(proxy.conf)
    with Client(port) as busy, Client(port, timeout=30) as waits:
        busy.send(request("/busy"))
        until(lambda: origin.connections, 10, "the place to be taken")
        waits.send(request("/waits"))
        until(lambda: proxy.metrics().sum("lastack_queue_length") == 1, 10, "the line")
        conf["upstreams"]["app"]["send_proxy"] = "v1"
        proxy.reload(conf)
        gate.set()
        assert busy.final().status == 200 and waits.final().status == 200
    assert first == [b"PROXY "]


def test_an_accepted_header_is_passed_on(run):
    seen = []

    def handler(c):
        seen.append(header_of(c))
        c.request()
        c.reply(200, b"")
    origin = run.origin(handler)
    _, port = front(run, [origin], send_proxy="v2")
    with Client(port, preface=v2("192.0.2.9", 4321)) as c:
        assert c.ask().status == 200
    with Client(port, preface=v2("2001:db8::9", 4321)) as c:  # the other end's is IPv4 here, and goes as IPv6
        assert c.ask().status == 200
    assert seen == [(2, "192.0.2.9", 4321), (2, "2001:db8::9", 4321)]


@pytest.mark.sanitizer
def test_health_checks_speak_for_themselves(run):
    seen = []

    def handler(c):
        seen.append(header_of(c))
        c.request()
        c.reply(200, b"", "Connection: close\r\n")
    run.front([run.origin(handler)], send_proxy="v1", health={"path": "/up", "interval": "50ms", "timeout": "20ms"})
    until(lambda: len(seen) >= 3, 10, "three checks")
    assert set(seen) == {(1, None, 0)}


@pytest.mark.sanitizer
def test_nginx_gets_the_header_before_tls(run):
    ca = Authority(run.folder("ca"))
    pair = ca.issue()
    port_ = free_port()
    nginx = run.own(servers.Nginx(run.directory, f"ssl_certificate {pair.chain}; ssl_certificate_key {pair.key}; "
                                  "location / { return 200 '$proxy_protocol_addr $proxy_protocol_port $ssl_server_name'; }", port=port_,
                                  ssl="ssl proxy_protocol"))
    proxy, port = run.front([nginx], send_proxy="v2", tls={"ca": ca.certificate, "server_name": "test"}, pool={"max": 3})

    def one(n):
        for _ in range(5):
            with Client(port) as c:
                assert c.ask().body.decode() == "%s %d test" % c.sock.getsockname()
    Crowd(scale(8, 50), one).results()
    until(lambda: proxy.metrics().sum("lastack_connections", upstream="app") == 0, 10, "all connections to be gone")


@pytest.mark.sanitizer
def test_clients_that_leave_meanwhile(run):
    """Their connections began with their header: nobody else may have them."""
    def handler(c):
        head = header_of(c)
        if c.request():
            c.reply(200, f"{head[1]}:{head[2]}".encode())
    origin = run.origin(handler, backlog=1)
    relay = run.relay(origin.text, 5)
    _, port = run.front([relay.text], send_proxy="v2", pool={"max": 2}, queue={"timeout": "20s"})

    def one(n):
        for k in range(scale(20, 100)):
            with Client(port, timeout=30) as c:
                if (n + k) % 3 == 0:
                    c.send(request())
                    c.reset()
                else:
                    assert c.ask().body.decode() == "%s:%d" % c.sock.getsockname()
    Crowd(6, one).results(120)


def test_check_says_what_it_costs(tmp_path):
    path = tmp_path / "lastack.yaml"
    listen = [{"address": f"127.0.0.1:{free_port()}", "upstream": "app"}]
    path.write_text(yaml.safe_dump(config({"app": {"servers": ["127.0.0.1:1"], "send_proxy": "v1"}}, listen)))
    code, out = lastack("check", path)
    assert code == 0 and "upstreams.app.send_proxy: connections are not shared" in out, out
