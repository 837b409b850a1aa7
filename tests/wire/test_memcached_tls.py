"""What comes before a memcached client's first command: TLS, a PROXY header; and TLS towards the servers (memcached -Z)."""
import os

import pytest

from harness import memcached as mc
from harness.certs import Authority, client_context
from harness.wait import until

PATIENT = {"response": "20s"}


@pytest.fixture
def ca(tmp_path):
    return Authority(str(tmp_path / "ca"))


class TlsClient(mc.Client):
    def __init__(self, port, ca, before=b""):
        super().__init__(port)
        self.socket.sendall(before)
        self.socket = client_context(ca, alpn=()).wrap_socket(self.socket, server_hostname="localhost")


def counts(p):
    m = p.metrics()
    return m.sum("lastack_client_connections"), m.sum("lastack_clients_accepted_total")


@pytest.mark.sanitizer
@pytest.mark.parametrize("header", [b"", b"PROXY TCP4 192.0.2.7 127.0.0.1 1111 80\r\n"], ids=["tls", "tls behind PROXY"])
def test_tls_clients(run, ca, header):
    """Pipelined commands, values larger than any buffer both ways, quit, and a client that hangs up."""
    listener = {"tls": {"certificates": [ca.issue().conf]}, **({"accept_proxy": ["127.0.0.0/8"]} if header else {})}
    server, = mc.start(run)
    p, port = mc.front(run, [server], listener=listener, timeouts=PATIENT)
    large = os.urandom(900_000)
    with TlsClient(port, ca, header) as c:
        assert c.set(b"a", b"1") == b"STORED\r\n"
        c.send(b"get a\r\n" * 300)
        for _ in range(300):
            assert c.values() == {b"a": b"1"}
        assert c.set(b"large", large) == b"STORED\r\n"
        assert c.get(b"large", b"a") == {b"large": large, b"a": b"1"}
        c.send(b"version\r\nquit\r\n")
        assert c.rest().startswith(b"VERSION ")
    with TlsClient(port, ca, header) as c:
        assert c.get(b"a") == {b"a": b"1"}
    until(lambda: counts(p) == (0, 2), 10, "two clients, both gone")
    assert p.metrics().sum("lastack_client_handshakes_total", result="full") == 2
    until(lambda: p.metrics().sum("lastack_memory_used_bytes") == 0, 10, "memory to be given back")
    until(lambda: len(p.access()) >= 306, 10, "the log")
    assert {x["client"] for x in p.access()} == {"192.0.2.7" if header else "127.0.0.1"}


@pytest.mark.sanitizer
def test_proxy_headers(run):
    """The header and the first command in one segment, in pieces, from a health check, and what comes without one."""
    server, = mc.start(run)
    p, port = mc.front(run, [server], listener={"accept_proxy": ["127.0.0.0/8"]}, top={"limits": {"clients_per_address": 1}},
                       timeouts=PATIENT)
    with mc.Client(port) as c:
        c.send(b"PROXY TCP4 192.0.2.7 127.0.0.1 1111 80\r\nset a 0 0 1\r\n1\r\n")
        assert c.line() == b"STORED\r\n"
        with mc.Client(port) as other:  # there is one of that address
            other.send(b"PROXY TCP4 192.0.2.7 127.0.0.1 1112 80\r\nget a\r\n")
            assert other.rest() == b""
        with mc.Client(port) as other:
            for piece in (b"PROXY TCP4 192.0.2", b".8 127.0.0.1 1111 80\r", b"\nge", b"t a\r\n"):
                other.send(piece)
            assert other.values() == {b"a": b"1"}
        with mc.Client(port) as other:
            other.send(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0get a\r\n")
            assert other.values() == {b"a": b"1"}
    with mc.Client(port) as c:
        c.send(b"get a\r\n" + b" " * 600)
        assert c.rest() == b""
    until(lambda: counts(p) == (0, 5), 10, "all of them to be gone")
    with mc.Client(port) as c:  # nobody is counted who is gone
        c.send(b"PROXY TCP4 192.0.2.7 127.0.0.1 1111 80\r\nget a\r\n")
        assert c.values() == {b"a": b"1"}
    until(lambda: len(p.access()) == 4, 10, "the log")
    assert sorted(x["client"] for x in p.access()) == ["127.0.0.1", "192.0.2.7", "192.0.2.7", "192.0.2.8"]


def test_who_does_not_open(run, ca):
    """Silence, plain text and a client in its handshake when the proxy ends: each is gone, and no server heard of them."""
    server, = mc.start(run)
    listener = {"tls": {"certificates": [ca.issue().conf]}, "timeouts": {"handshake": "300ms"}}
    p, port = mc.front(run, [server], listener=listener, timeouts=PATIENT)
    with mc.Client(port) as silent, mc.Client(port) as plain:
        plain.send(b"get a\r\n")
        plain.rest()
        assert silent.rest() == b""
    until(lambda: counts(p) == (0, 2), 10, "both to be gone")
    m = p.metrics()
    assert m.sum("lastack_client_handshakes_total", result="timeout") == 1
    assert m.sum("lastack_client_handshakes_total", result="failed") == 1
    assert server.stat("cmd_get") == 0


def test_the_proxy_ends_while_a_client_opens(run, ca):
    server, = mc.start(run)
    p, port = mc.front(run, [server], listener={"tls": {"certificates": [ca.issue().conf]}, "timeouts": {"handshake": "5m"}})
    with mc.Client(port) as c:
        until(lambda: counts(p)[0] == 1, 10, "the client")
        assert p.stop(timeout=20) == 0
        assert c.rest() == b""


@pytest.mark.sanitizer
def test_tls_to_the_servers(run, ca):
    pair = ca.issue()
    server, = mc.start(run, words=["-u", "root", "-Z", "-o", f"ssl_chain_cert={pair.chain},ssl_key={pair.key}"])
    p, port = mc.front(run, [server], tls={"ca": ca.certificate, "server_name": "localhost"}, timeouts=PATIENT)
    large = os.urandom(900_000)
    keys = [b"key:%03d" % n for n in range(300)]
    with mc.Client(port) as c, mc.Client(port) as d:
        assert c.set(b"large", large) == b"STORED\r\n"
        c.send(b"".join(b"set %b 0 0 %d\r\n%b\r\n" % (k, len(k), k) for k in keys))
        assert all(c.line() == b"STORED\r\n" for _ in keys)
        c.send(b"get large\r\n" * 3)
        assert d.get(*keys) == {k: k for k in keys}
        for _ in range(3):
            assert c.values() == {b"large": large}
    m = p.metrics()
    assert m.sum("lastack_server_handshakes_total") == m.sum("lastack_connections_opened_total") <= 4
    assert m.sum("lastack_server_handshakes_total", result="full") >= 1
    assert m.sum("lastack_connections_closed_total", by="proxy") == 0
