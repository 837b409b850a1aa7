"""TLS towards clients: real clients, certificates by name, resumption, client certificates, stapling, reload, and what
goes wrong: garbage, silence, wrong files."""
import datetime
import os
import random
import re
import socket
import ssl
import subprocess
import threading

import pytest

from harness import proxy as proxies
from harness.certs import Authority, Pair, client_context, openssl
from harness.peers import clean
from harness.proxy import KIND, config, free_port, lastack
from harness.raw import Client, get, request
from harness.wait import holds, scale, until

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@pytest.fixture
def ca(run):
    return Authority(run.folder("ca"))


def tls_front(run, ca, servers, pairs=None, tls=None, **more):
    pairs = pairs or [ca.issue()]
    listener = {"tls": {"certificates": [p.conf for p in pairs], **(tls or {})}, **more.pop("listener", {})}
    return run.front(servers, listener=listener, **more)


def curl(ca, port, *words, name="localhost"):
    done = subprocess.run(["curl", "-sS", "--max-time", "20", "--cacert", ca.certificate, f"https://{name}:{port}/", "--resolve",
                           f"{name}:{port}:127.0.0.1", *map(str, words)], capture_output=True, text=True, timeout=30)
    return done.returncode, done.stdout, done.stderr


def s_client(port, *words, input="", ca=None):
    trust = ["-CAfile", ca.certificate] if ca else []
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *trust, *words], input=input, capture_output=True,
                          text=True, timeout=30)
    return done.stdout + done.stderr


def handshakes(proxy):
    return {k: v for k, v in proxy.metrics().by("lastack_client_handshakes_total", "result").items() if v}


@pytest.mark.sanitizer
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_curl(run, ca, version):
    origin = run.origin()
    proxy, port = tls_front(run, ca, [origin])
    assert curl(ca, port, f"--tlsv{version}", "--tls-max", version) == (0, "hello", "")
    assert origin.last.get("X-Forwarded-Proto") == "https"
    line = until(lambda: proxy.access(), 5, "the access line")[0]
    assert line["tls"] == f"TLSv{version}" and line["tls_resumed"] is False
    assert handshakes(proxy) == {"full": 1}


@pytest.mark.sanitizer
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("most", [512, 4096])
def test_a_client_that_takes_short_records(run, ca, version, most):
    """max_fragment_length, RFC 6066 4: no record is longer, and everything arrives, also when it does not fit the socket."""
    body = bytes(random.Random(1).choices(b"abcdefghijklmnopqrstuvwxyz", k=5_000_000))
    origin = run.origin(answer=lambda r: (200, body if r.target == "/large" else body[:3000], ""))
    proxy, port = tls_front(run, ca, [origin])
    for target, size in (("/", 3000), ("/large", 5_000_000)):
        with subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", ca.certificate, version, "-maxfraglen", str(most),
                               "-ign_eof", "-quiet"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as client:
            client.stdin.write(f"GET {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode())
            client.stdin.flush()
            if target == "/large":  # its pipe and its socket fill
                until(lambda: proxy.metrics().sum("lastack_client_connections") == 1, 5, "the client")
                holds(lambda: client.poll() is None, 0.3)
            answer = client.stdout.read()
        head, _, got = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200") and got == body[:size], (head, len(got))
    assert curl(ca, port)[0] == 0


def test_forwarded_says_https(run, ca):
    origin = run.origin()
    _, port = tls_front(run, ca, [origin], forwarded={"mode": "rfc7239"})
    assert curl(ca, port)[0] == 0
    assert "proto=https" in origin.last.get("Forwarded")


def test_what_is_refused(run, ca):
    _, port = tls_front(run, ca, [run.origin()])
    with pytest.raises(ssl.SSLError, match="(?i)alert|no application protocol"):
        Client(port, tls=client_context(ca, alpn=("h2",)))
    assert "alert protocol version" in s_client(port, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    assert "handshake failure" in s_client(port, "-tls1_2", "-cipher", "AES128-SHA")
    said = s_client(port, "-tls1_2", input="R\n", ca=ca)
    assert "no renegotiation" in said, said
    assert "Max Early Data: 0" in s_client(port, "-tls1_3", "-ign_eof", ca=ca, input="GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")


def test_min_version_and_ciphers(run, ca):
    _, port = tls_front(run, ca, [run.origin()], tls={"min_version": "tls1.3", "ciphersuites": "TLS_CHACHA20_POLY1305_SHA256"})
    with pytest.raises(ssl.SSLError):
        Client(port, tls=client_context(ca, TLS12))
    with Client(port, tls=client_context(ca)) as c:
        assert c.sock.cipher()[0] == "TLS_CHACHA20_POLY1305_SHA256" and c.ask().status == 200


def test_names_pick_certificates(run, ca):
    pairs = [ca.issue("first", ("DNS:first", "DNS:also.first")), ca.issue("any", ("DNS:*.wild.test",)),
             ca.issue("both", ("DNS:both",), kind="ec"), ca.issue("both", ("DNS:both",), kind="rsa")]
    _, port = tls_front(run, ca, [run.origin()], pairs)
    anybody = client_context()
    anybody.verify_mode = ssl.CERT_REQUIRED
    anybody.load_verify_locations(ca.certificate)

    def subject(name):
        with Client(port, tls=anybody, name=name) as c:
            assert c.ask().status == 200
            return dict(x[0] for x in c.sock.getpeercert()["subject"])["commonName"]
    assert [subject(n) for n in ("first", "also.first", "A.Wild.Test", "a.b.wild.test", "wild.test", "unknown", None)] == \
        ["first", "first", "any", "first", "first", "first", "first"]
    assert "rsa_pss" in s_client(port, "-servername", "both", "-sigalgs", "rsa_pss_rsae_sha256", "-tls1_3").lower().replace("-", "_")
    assert "ECDSA" in s_client(port, "-servername", "both", "-sigalgs", "ecdsa_secp256r1_sha256", "-tls1_3")


@pytest.mark.sanitizer
@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_sessions_are_resumed_by_any_worker_and_after_a_reload(run, ca, version):
    proxy, port = tls_front(run, ca, [run.origin()], workers=4)
    context = client_context(ca, version)
    session, reused, rounds = None, 0, scale(200, 5000)
    for n in range(rounds):
        if n == rounds // 2:
            proxy.reload()
        with Client(port, tls=context, session=session) as c:
            assert c.ask(headers="Connection: close\r\n").status == 200
            reused += c.sock.session_reused
            session = c.sock.session
    assert reused >= 0.99 * rounds, f"{reused} of {rounds}"
    assert handshakes(proxy) == {"full": rounds - reused, "resumed": reused}


def test_sessions_of_another_listener_or_trust_are_not_taken(run, ca):
    """A session begun where no certificate was asked for must not open a listener that asks for one."""
    pair, ports = ca.issue(), [free_port(), free_port()]
    tls = {"certificates": [pair.conf]}
    clients = {"client": {"ca": ca.certificate, "verify": "optional"}}
    listen = [{"name": f"l{n}", "address": f"127.0.0.1:{port}", "upstream": "app", "tls": dict(tls)} for n, port in enumerate(ports)]
    proxy = run.proxy(config({"app": {"servers": [run.origin().text]}}, listen))
    context = client_context(ca)

    def session_of(port, session=None):
        with Client(port, tls=context, session=session) as c:
            assert c.ask().status == 200
            return c.sock.session, c.sock.session_reused
    first, _ = session_of(ports[0])
    assert session_of(ports[0], first)[1] and not session_of(ports[1], first)[1]
    conf = dict(proxy.conf)
    conf["listen"][0]["tls"].update(clients)
    proxy.reload(conf)
    assert not session_of(ports[0], first)[1]


def test_no_sessions(run, ca):
    _, port = tls_front(run, ca, [run.origin()], tls={"session": 0})
    with Client(port, tls=client_context(ca, TLS13)) as c:
        assert c.ask().status == 200 and not c.sock.session.has_ticket


# ---- client certificates ----

def test_client_certificates(run, ca):
    people = Authority(run.folder("people"), "people")
    good = people.issue("me", names=(), subject="/O=A, B\\+C/CN=me \"x\"")
    gone = people.issue("gone", names=())
    people.revoke(gone)
    stranger = ca.issue("stranger", names=())
    origin, pair = run.origin(), ca.issue()
    ports = [free_port() for _ in range(3)]
    client = {"ca": people.certificate, "crl": people.crl(), "header": "X-Client-Subject"}
    listen = [{"name": f"l{n}", "address": f"127.0.0.1:{port}", "upstream": "app"} for n, port in enumerate(ports)]
    listen[0]["tls"] = {"certificates": [pair.conf], "client": client}
    listen[1]["tls"] = {"certificates": [pair.conf], "client": {**client, "verify": "optional"}}
    proxy = run.proxy(config({"app": {"servers": [origin.text]}}, listen))
    forged = "X-Client-Subject: CN=root\r\nx-client-SUBJECT: CN=root\r\nX_Client_Subject: CN=root\r\n"

    def ask(port, shown=None):
        with Client(port, tls=client_context(ca, pair=shown)) as c:
            c.ask(headers=forged)
        last = origin.last
        assert last.get("X_Client_Subject") is None
        return last.all("X-Client-Subject")
    assert ask(ports[0], good) == ['O=A\\, B\\+C,CN=me \\"x\\"'] == ask(ports[1], good)
    assert ask(ports[1]) == []
    get(ports[2], headers=forged)  # a plain listener, the same servers
    assert origin.last.all("X-Client-Subject") == [] and origin.last.get("X_Client_Subject") is None
    # A resumed session is as good as the one that it continues.
    context = client_context(ca, pair=good)
    with Client(ports[0], tls=context) as c:
        c.ask()
        session = c.sock.session
    with Client(ports[0], tls=context, session=session) as c:
        c.ask()
        assert c.sock.session_reused and origin.last.all("X-Client-Subject") == ['O=A\\, B\\+C,CN=me \\"x\\"']
    for n, shown in enumerate((gone, None, stranger)):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            ask(ports[0], shown)
        until(lambda: proxy.metrics().sum("lastack_client_handshakes_total", listener="l0", result="failed") == n + 1, 5, "a failure")
    assert "certificate revoked" in proxy.log()  # the first; lines are limited to one a second


# ---- stapling ----

def test_ocsp_response_is_stapled(run, ca):
    pair, other = ca.issue(), ca.issue("other")
    stapled = {**pair.conf, "ocsp": ca.ocsp(pair)}
    proxy, port = run.front([run.origin()], listener={"tls": {"certificates": [stapled]}})
    said = s_client(port, "-status", ca=ca)
    assert "OCSP Response Status: successful" in said and "Cert Status: good" in said
    conf = dict(proxy.conf)
    conf["listen"][0]["tls"] = {"certificates": [{**pair.conf, "ocsp": ca.ocsp(other, "other.der")}]}
    proxy.reload(conf, expect="failure")
    assert "is for another certificate" in proxy.log()
    assert "Cert Status: good" in s_client(port, "-status", ca=ca)


def test_two_kinds_of_key_with_a_stapled_response(run, ca):
    """Each client gets the certificate that it can take, and the response that belongs to it, if there is one."""
    rsa, ec = ca.issue("both", ("DNS:test",), kind="rsa"), ca.issue("both", ("DNS:test",), kind="ec")
    _, port = run.front([run.origin()], listener={"tls": {"certificates": [{**rsa.conf, "ocsp": ca.ocsp(rsa)}, ec.conf]}})
    for algorithm, stapled in (("rsa_pss_rsae_sha256", True), ("ecdsa_secp256r1_sha256", False)):
        for version in ("-tls1_2", "-tls1_3"):
            said = s_client(port, "-status", "-servername", "test", "-sigalgs", algorithm, version, ca=ca)
            assert ("Cert Status: good" in said) == stapled and ("no response sent" in said) != stapled, (algorithm, said)


def broken(path):
    """The same response with a wrong last byte: without certificates in it, that is the signature's."""
    data = bytearray(open(path, "rb").read())
    data[-1] ^= 1
    with open(path, "wb") as f:
        f.write(data)
    return path


def responses(run, ca, pair):
    """[(certificate file, OCSP file, None or what is said of it, is it an error)]"""
    foreign, gone = Authority(run.folder("foreign"), "foreign"), ca.issue("gone")
    delegate, server = ca.issue("delegate", names=(), extra=["extendedKeyUsage=OCSPSigning"]), ca.issue("server", names=())
    stranger = foreign.issue("stranger", names=(), extra=["extendedKeyUsage=OCSPSigning"])
    ca.revoke(gone)
    now, day = datetime.datetime.utcnow(), datetime.timedelta(days=1)
    not_signed = "is not signed by the certificate's issuer"
    return [
        (pair, ca.ocsp(pair, "good.der"), None, False),
        (pair, ca.ocsp(pair, "delegate.der", delegate), None, False),
        (pair, ca.ocsp(pair, "bare.der", None, "-resp_no_certs"), None, False),
        (pair, ca.ocsp_of(pair, now - day, now + day, "dated.der"), None, False),
        (pair, broken(ca.ocsp(pair, "broken.der", None, "-resp_no_certs")), not_signed, True),
        (pair, ca.ocsp(pair, "foreign.der", foreign), not_signed, True),
        (pair, ca.ocsp(pair, "stranger.der", stranger), not_signed, True),
        (pair, ca.ocsp(pair, "server.der", server), not_signed, True),
        (pair, ca.ocsp(gone, "other.der"), "is for another certificate", True),
        (gone, ca.ocsp(gone, "gone.der"), "says that the certificate is revoked", True),
        (pair, pair.certificate, "is not an OCSP response in DER form", True),
        (pair, ca.ocsp_of(pair, now - 3 * day, now - day, "expired.der"), "has expired, it is not sent", False),
        (pair, ca.ocsp_of(pair, now + day, now + 3 * day, "early.der"), "is not valid yet, it is not sent", False),
        (Pair(pair.certificate, pair.key), ca.ocsp(pair, "alone.der"), "cannot be verified, it is not sent", False),
    ]


def test_a_wrong_ocsp_response_is_named_and_not_stapled(run, ca):
    cases = responses(run, ca, ca.issue())
    conf = lambda certificates: config({"app": {"servers": ["127.0.0.1:1"]}}, [
        {"address": f"127.0.0.1:{free_port()}", "upstream": "app", "tls": {"certificates": certificates}}])
    code, out = check(run, conf([{**pair.conf, "ocsp": path} for pair, path, _, _ in cases]))
    said = {int(n): line for line in out.splitlines() for n in re.findall(r"certificates\[(\d+)\]\.ocsp: ", line)}
    assert code == 1 and sorted(said) == [n for n, case in enumerate(cases) if case[2]], out
    for n, line in said.items():
        _, path, why, error = cases[n]
        assert f"{path}: {why}" in line and ("warning: " in line) != error, line
    for pair, path, why, error in cases:
        if not error:
            front = run.proxy(conf([{**pair.conf, "ocsp": path}]))
            answer = s_client(front.conf["listen"][0]["address"].split(":")[1], "-status", ca=ca)
            assert ("Cert Status: good" in answer) == (why is None), (path, answer)
            assert ("OCSP response: no response sent" in answer) == (why is not None), (path, answer)


# ---- reload ----

@pytest.mark.sanitizer
def test_certificates_are_reloaded_and_nobody_notices(run, ca):
    old, new = ca.issue("old", ("DNS:test",)), ca.issue("new", ("DNS:test",))
    site = run.folder("site")

    def install(pair, key=None):
        for source, name in ((pair.certificate, "site.pem"), ((key or pair).key, "site.key")):
            with open(source) as i, open(os.path.join(site, name), "w") as o:
                o.write(i.read())
    install(old)
    proxy, port = run.front([run.origin()], listener={"tls": {"certificates": [
        {"certificate": f"{site}/site.pem", "key": f"{site}/site.key"}]}})

    def subject():
        with Client(port, tls=client_context(ca)) as c:
            return dict(x[0] for x in c.sock.getpeercert()["subject"])["commonName"]
    with Client(port, tls=client_context(ca)) as stays:
        assert stays.ask().status == 200 and subject() == "old"
        install(new, key=old)
        proxy.reload(expect="failure")
        assert f"{site}/site.key: is not the key of the certificate in {site}/site.pem" in proxy.log()
        assert stays.ask().status == 200 and subject() == "old"
        install(new)
        proxy.reload()
        assert stays.ask().status == 200 and subject() == "new"
        assert stays.ask("/", "POST", body=b"x" * 100000).status == 200


@pytest.mark.sanitizer
def test_reloads_under_load(run, ca):
    backend = run.backend()
    proxy, port = tls_front(run, ca, [backend])
    relay = run.relay(f"127.0.0.1:{port}", 0, connect_tls="test")
    load = run.load(relay.port, clients=16, keepalive=5, duration_ms=scale(3000, 20000))
    for _ in range(scale(5, 40)):
        proxy.reload()
    clean(load.result())


# ---- what check says ----

def problem_files(run, ca):
    folder, pair, other = run.folder("files"), ca.issue(), ca.issue("other")

    def write(name, text):
        path = os.path.join(folder, name)
        with open(path, "w") as f:
            f.write(text)
        return path
    locked = write("locked.key", openssl("pkey", "-in", pair.key, "-aes256", "-passout", "pass:secret"))
    return [
        ({"certificate": "/nowhere/a.pem", "key": pair.key}, "certificate: /nowhere/a.pem: No such file or directory"),
        ({"certificate": pair.certificate, "key": "/nowhere/a.key"}, "key: /nowhere/a.key: No such file or directory"),
        ({"certificate": pair.certificate, "key": other.key}, f"key: {other.key}: is not the key of the certificate in {pair.certificate}"),
        ({"certificate": pair.key, "key": pair.key}, f"certificate: {pair.key}: no certificate in PEM form"),
        ({"certificate": pair.certificate}, f"key: {pair.certificate}: no private key in PEM form"),
        ({"certificate": write("empty.pem", ""), "key": pair.key}, "empty.pem: is empty"),
        ({"certificate": write("half.pem", open(pair.certificate).read()[:300]), "key": pair.key}, "half.pem: no certificate in PEM form"),
        ({"certificate": folder, "key": pair.key}, f"certificate: {folder}: Is a directory"),
        ({"certificate": pair.certificate, "key": locked}, "locked.key: the key has a passphrase"),
        ({"certificate": write("chain.pem", open(pair.chain).read()[:-200]), "key": pair.key}, "certificate 2 of the chain is broken"),
    ]


def check(run, conf):
    path = os.path.join(run.folder("conf"), "lastack.yaml")
    with open(path, "w") as f:
        proxies.yaml.safe_dump(conf, f)
    return lastack("check", path)


def test_check_says_which_file_and_why(run, ca):
    path = os.path.join(run.folder("conf"), "lastack.yaml")
    cases = problem_files(run, ca)

    def listening(certificates, **tls):
        listen = [{"address": f"127.0.0.1:{free_port()}", "upstream": "app", "tls": {"certificates": certificates, **tls}}]
        return check(run, config({"app": {"servers": ["127.0.0.1:1"]}}, listen))
    # All at once, each with its place.
    code, out = listening([c for c, _ in cases])
    assert code == 1
    for n, (_, said) in enumerate(cases):
        assert re.search(rf"^{re.escape(path)}:\d+:\d+: listen\[0\]\.tls\.certificates\[{n}\]\.", out, re.M), (n, out)
        assert said in out, (said, out)
    good = ca.issue().conf
    code, out = listening([good], ciphers="NONE-SUCH", ciphersuites="NEITHER", client={"ca": "/nowhere/ca.pem"})
    assert code == 1 and 'tls.ciphers: no cipher of "NONE-SUCH" is known' in out and "tls.ciphersuites:" in out
    assert "listen[0].tls.client.ca: /nowhere/ca.pem: No such file" in out
    code, out = listening([ca.expired().conf])
    assert code == 0 and re.search(r"warning: .*certificates\[0\]\.certificate: .*expired \(", out), out


def test_check_warns_of_a_key_that_a_reload_cannot_read(run, ca):
    """Run as root, which reads it at the start and is `user` by then."""
    path, pair = os.path.join(run.folder("conf"), "lastack.yaml"), ca.issue()
    listen = [{"address": f"127.0.0.1:{free_port()}", "upstream": "app", "tls": {"certificates": [pair.conf]}}]
    with open(path, "w") as f:
        proxies.yaml.safe_dump(config({"app": {"servers": ["127.0.0.1:1"]}}, listen, user="nobody"), f)
    for mode, warned in ((0o600, True), (0o640, True), (0o644, False)):
        os.chmod(pair.key, mode)
        code, out = lastack("check", path)
        assert code == 0 and (f'{pair.key}: user "nobody" may not read it' in out) == warned, (oct(mode), out)


# ---- bytes ----

@pytest.mark.sanitizer
@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_bodies_of_all_sizes_arrive_as_they_were(run, ca, version):
    sizes = [0, 1, 4095, 16383, 16384, 16385, 32768, 65536, 100000, 1 << 20, scale(3 << 20, 30 << 20)]
    origin = run.origin(answer=lambda r: (200, r.body, ""))
    _, port = tls_front(run, ca, [origin], timeouts={"response": "30s"})
    with Client(port, tls=client_context(ca, version), timeout=60) as c:
        for size in sizes:
            body = os.urandom(size)
            assert c.ask("/", "POST", body=body).body == body, size
            assert c.ask("/", "POST", body=body, headers="Connection: keep-alive\r\n").body == body
    body = os.urandom(2 << 20)
    with Client(port, tls=client_context(ca, version), receive_buffer=4096, timeout=60) as c:  # the kernel is full all the time
        assert c.ask("/", "POST", body=body).body == body


@pytest.mark.sanitizer
def test_pipelined_requests_in_one_record(run, ca):
    """What OpenSSL has read ahead is no event of the socket's: it must not be forgotten."""
    origin = run.origin(answer=lambda r: (200, r.target.encode(), ""))
    _, port = tls_front(run, ca, [origin], workers=1)
    with Client(port, tls=client_context(ca)) as c:
        wanted = [f"/{n}" for n in range(30)]
        c.send(b"".join(request(t, headers="X-Fill: " + "x" * 450 + "\r\n") for t in wanted))
        assert [c.response().body.decode() for _ in wanted] == wanted
        c.send(request("/post", "POST", "Content-Length: 40000\r\n"))
        c.send(b"y" * 40000 + request("/after"))
        assert [c.response().body for _ in range(2)] == [b"/post", b"/after"]


@pytest.mark.sanitizer
@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_a_response_ends_with_close_notify(run, ca, version):
    """suppress_ragged_eofs is off: an end without close_notify would raise."""
    _, port = tls_front(run, ca, [run.origin(answer=lambda r: (200, b"x" * 5000, ""))])
    for headers, http in (("Connection: close\r\n", "1.1"), ("", "1.0")):
        with Client(port, tls=client_context(ca, version, alpn=None)) as c:
            assert c.ask(headers=headers, version=http).status == 200
            assert c.sock.recv(100) == b""


def test_websocket(run, ca):
    def handler(c):
        r = c.request()
        assert r.get("Upgrade") == "websocket"
        c.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        while (data := c.sock.recv(65536)):
            c.send(data)
    origin, port = run.origin(handler), free_port()
    listen = [{"name": "web", "address": f"127.0.0.1:{port}", "tls": {"certificates": [ca.issue().conf]}}]
    run.proxy(config({"app": {"servers": [origin.text]}}, listen, [{"path": "/", "upstream": "app", "upgrade": ["websocket"]}]))
    with Client(port, tls=client_context(ca)) as c:
        c.send(request(headers="Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
                               "dGhlIHNhbXBsZSBub25jZQ==\r\n"))
        assert c.response().status == 101
        for size in (1, 16384, 100000):
            data = os.urandom(size)
            c.send(data)
            assert c.exactly(size) == data


# ---- hostile clients ----

@pytest.mark.sanitizer
def test_garbage_and_silence_hold_nobody_up(run, ca):
    """Some say nothing, some half a ClientHello, some nonsense; beside them everybody is served."""
    stalled = scale(200 if KIND != "release" else 1000, 1000)
    backend = run.backend()
    proxy, port = tls_front(run, ca, [backend], listener={"timeouts": {"handshake": "10m"}})
    hello = hello_of(port)
    sockets = []
    for n in range(stalled):
        s = socket.create_connection(("127.0.0.1", port))
        s.sendall(hello[:(1, 5, 60, len(hello) - 1)[n % 4]])
        sockets.append(s)
    until(lambda: proxy.metrics().sum("lastack_client_connections") >= stalled, 20, "all of them")
    relay = run.relay(f"127.0.0.1:{port}", 0, connect_tls="test")
    clean(run.load(relay.port, clients=8, requests=scale(1000, 20000), keepalive=20).result())
    assert proxy.metrics().sum("lastack_client_connections") >= stalled
    for nonsense in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", os.urandom(300), b"\x16\x03\x01\xff\xff" + b"z" * 1000):
        with socket.create_connection(("127.0.0.1", port)) as s:
            s.sendall(nonsense)
            s.settimeout(10)
            try:
                while s.recv(1000):
                    pass
            except ConnectionError:
                pass
    until(lambda: handshakes(proxy).get("failed", 0) >= 3, 5, "the nonsense to be counted")
    for s in sockets:
        s.close()
    until(lambda: proxy.metrics().sum("lastack_client_connections") == 0, 10, "all to be gone")


def hello_of(port):
    """A ClientHello as OpenSSL sends it."""
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        client_context().wrap_bio(into, out, server_hostname="test").do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


def test_a_stalled_handshake_ends_at_its_timeout(run, ca):
    proxy, port = tls_front(run, ca, [run.origin()], listener={"timeouts": {"handshake": "300ms"}})
    hello = hello_of(port)
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.settimeout(20)
        s.sendall(hello[:100])
        with pytest.raises(ConnectionError):
            while s.recv(100):
                pass
            raise ConnectionError
    until(lambda: handshakes(proxy).get("timeout") == 1, 5, "the timeout to be counted")


def test_a_record_in_pieces_gives_no_new_time(run, ca):
    """A byte of a record is none of a head: whoever sends them one by one has as long as everybody."""
    _, port = tls_front(run, ca, [run.origin()], listener={"timeouts": {"head": "400ms", "keepalive": "400ms"}})
    with Client(port, tls=client_context()) as c, socket.socket(fileno=os.dup(c.sock.fileno())) as s:
        s.setblocking(False)
        s.send(b"\x17\x03\x03\x40\x00")

        def ended():
            try:
                s.send(b"x")
                return not s.recv(100)
            except BlockingIOError:
                return False
            except ConnectionError:
                return True
        until(ended, 10, "its end", every=0.1)


def test_handshakes_over_the_limit_are_shed_and_others_served(run, ca):
    """One percent of each worker's time is ten RSA handshakes a second or so. Who is connected notices nothing."""
    pair = ca.issue(kind="rsa")
    proxy, port = tls_front(run, ca, [run.origin()], [pair], limits={"handshake_cpu": 1}, workers=1)
    context = client_context(ca)

    def connect():
        """True: served."""
        try:
            with Client(port, tls=context) as c:
                return c.ask().status == 200
        except (ssl.SSLError, ConnectionError):
            return False
    until(connect, 10, "a first handshake")
    with until(lambda: try_connect(port, context), 10, "a client that stays") as stays:
        served = 0
        def flood():
            nonlocal served
            served += connect()
            assert stays.ask().status == 200
            return handshakes(proxy).get("shed", 0) >= 20
        until(flood, 60, "some to be shed", every=0)
    until(connect, 10, "the next second")


def try_connect(port, context):
    try:
        return Client(port, tls=context)
    except (ssl.SSLError, ConnectionError):
        return None


@pytest.mark.sanitizer
def test_many_clients_at_once(run, ca):
    backend = run.backend(size=3000)
    proxy, port = tls_front(run, ca, [backend], workers=4)
    relay = run.relay(f"127.0.0.1:{port}", 0, connect_tls="test")
    result = run.load(relay.port, clients=64, requests=scale(3000, 50000), keepalive=30, method="GET=60,POST=40", body=20000,
                      leave_in_head=5, leave_waiting=5, leave_in_response=10, leave_by_reset=50).result()
    assert result["mixed"] == result["unechoed"] == result["status_5xx"] == result["extra_bytes"] == 0, result["first_failure"]
    until(lambda: proxy.metrics().sum("lastack_client_connections") == 0, 10, "all clients to be gone")




@pytest.mark.sanitizer
@pytest.mark.parametrize("serve", [True, False])
def test_a_client_that_only_stops_sending(run, ca, serve):
    """close_notify means what a FIN means: client_half_close decides."""
    go = threading.Event()

    def handler(c):
        c.request()
        go.wait(10)
        c.reply(200, b"x" * 5000)
    proxy, port = tls_front(run, ca, [run.origin(handler)], listener={"client_half_close": "serve" if serve else "abort"})
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.settimeout(10)
        into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
        o = client_context(ca).wrap_bio(into, out, server_hostname="test")

        def step(what):
            while True:
                try:
                    return what()
                except ssl.SSLWantReadError:
                    if out.pending:
                        s.sendall(out.read())
                    into.write(s.recv(65536)) or into.write_eof()
        step(o.do_handshake)
        o.write(request())
        with pytest.raises(ssl.SSLWantReadError):
            o.unwrap()
        s.sendall(out.read())
        if serve:
            go.set()
            got = b""
            while not got.endswith(b"x" * 5000):
                got += step(lambda: o.read(65536))
            assert got.startswith(b"HTTP/1.1 200")
        else:
            until(lambda: proxy.access(), 10, "the access line")
            assert proxy.access()[0]["error"] == "client_gone"
            go.set()
