"""Servers given by name: the hosts file, and a name server whose answers change."""
import contextlib
import copy
import os
import shutil
import signal
import socket
import struct
import threading

import pytest

from harness import netns
from harness.proxy import SLOW, free_port
from harness.raw import Client, Origin, get
from harness.wait import holds, until


class Dns:
    """A name server on loopback: names = {name: [addresses]}; a name that is missing does not exist, None is not answered."""

    def __init__(self, names, ttl=1, address="127.0.0.1", port=0, host=netns.HERE):
        self.names, self.ttl, self.asked = names, ttl, 0
        self.answers = threading.Event()
        self.answers.set()
        with host.inside():
            self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((address, port))
        self.text = "127.0.0.1:%d" % self.sock.getsockname()[1]
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while True:
            try:
                packet, peer = self.sock.recvfrom(2048)
            except OSError:
                return
            if not packet:
                return
            self.asked += 1
            self.answers.wait()
            answer = self._answer(packet)
            if answer:
                self.sock.sendto(answer, peer)

    def _answer(self, packet):
        at, labels = 12, []
        while packet[at]:
            labels.append(packet[at + 1:at + 1 + packet[at]].decode())
            at += packet[at] + 1
        kind, = struct.unpack("!H", packet[at + 1:at + 3])
        question = packet[12:at + 5]
        found = self.names.get(".".join(labels).lower(), ())
        if found is None:
            return None
        records = b""
        count = 0
        for address in found:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            if kind == (28 if family == socket.AF_INET6 else 1):
                raw = socket.inet_pton(family, address)
                records += struct.pack("!HHHIH", 0xc00c, kind, 1, self.ttl, len(raw)) + raw
                count += 1
        code = 0 if found else 3
        return packet[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, count, 0, 0) + question + records

    def close(self):
        self.answers.set()
        self.sock.sendto(b"", self.sock.getsockname())
        self.thread.join(2)
        self.sock.close()


def pair(run, **where):
    """Two servers with one port and two addresses."""
    port = free_port()
    return port, [run.own(Origin(answer=lambda r, a=a: (200, a.encode(), ""), address=a, port=port, **where)) for a in ("127.0.0.1", "127.0.0.2")]


def bodies(port, count=12, **where):
    with Client(port, **where) as c:
        return {c.ask().body.decode() for _ in range(count)}


def test_hosts_file(run):
    origin = run.origin()
    lastack, port = run.front([f"localhost:{origin.port}"])
    assert get(port).status == 200
    m = lastack.metrics()
    assert any("localhost" in s.labels["server"] or s.labels["server"] == origin.text for s in m.all("lastack_server_up"))


def test_all_addresses_of_a_name(run):
    at, _ = pair(run)
    dns = run.own(Dns({"app.test": ["127.0.0.1", "127.0.0.2"]}))
    _, port = run.front([f"app.test:{at}"], resolver={"servers": [dns.text]}, balance="round_robin")
    assert bodies(port) == {"127.0.0.1", "127.0.0.2"}


def test_an_address_that_changes(run):
    """Followed within the time the answer may live; what was connected to the old one is let go, no request fails."""
    at, _ = pair(run)
    dns = run.own(Dns({"app.test": ["127.0.0.1"]}))
    _, port = run.front([f"app.test:{at}"], resolver={"servers": [dns.text], "max_ttl": "1s"})
    assert bodies(port) == {"127.0.0.1"}
    dns.names["app.test"] = ["127.0.0.2"]
    until(lambda: bodies(port, 1) == {"127.0.0.2"}, 10 * SLOW, "the new address")
    assert bodies(port) == {"127.0.0.2"}


def test_long_lives_are_bounded(run):
    """max_ttl holds for an answer that claims to live for an hour."""
    at, _ = pair(run)
    dns = run.own(Dns({"app.test": ["127.0.0.1"]}, ttl=3600))
    _, port = run.front([f"app.test:{at}"], resolver={"servers": [dns.text], "max_ttl": "1s"})
    assert bodies(port) == {"127.0.0.1"}
    dns.names["app.test"] = ["127.0.0.2"]
    until(lambda: bodies(port, 1) == {"127.0.0.2"}, 10 * SLOW, "the new address")


@pytest.mark.parametrize("broken", [(), None], ids=["no_such_name", "silence"])
def test_a_name_server_that_fails_later(run, broken):
    """The known addresses stay in use."""
    at, _ = pair(run)
    dns = run.own(Dns({"app.test": ["127.0.0.1"]}))
    _, port = run.front([f"app.test:{at}"], resolver={"servers": [dns.text], "max_ttl": "1s"})
    assert bodies(port) == {"127.0.0.1"}
    dns.names["app.test"] = broken
    before = dns.asked
    until(lambda: dns.asked > before, 10 * SLOW, "another question")
    holds(lambda: get(port).status == 200, 0.5, "an answer")
    if broken == ():
        dns.names["app.test"] = ["127.0.0.2"]
        until(lambda: bodies(port, 1) == {"127.0.0.2"}, 15 * SLOW, "the new address")


def test_no_such_name_at_the_start(run):
    """It starts, answers 503 and finds the name as soon as it exists."""
    at, _ = pair(run)
    dns = run.own(Dns({}))
    lastack, port = run.front([f"app.test:{at}"], resolver={"servers": [dns.text], "max_ttl": "1s"})
    r = get(port)
    assert r.status == 503 and "dns_error" in r.get("Proxy-Status")
    assert "app.test" in lastack.log()
    dns.names["app.test"] = ["127.0.0.1"]
    until(lambda: get(port).status == 200, 20 * SLOW, "the name to be found")


def waiting_reload(run):
    """(proxy, port, name server, port of the servers, configuration): a reload from 127.0.0.2 to a name that is not answered yet."""
    at, _ = pair(run)
    dns = run.own(Dns({"app.test": ["127.0.0.1"]}))
    lastack, port = run.front([f"127.0.0.2:{at}"], resolver={"servers": [dns.text]})
    conf = copy.deepcopy(lastack.conf)
    conf["upstreams"]["app"]["servers"] = [f"app.test:{at}"]
    lastack.write(conf)
    dns.answers.clear()
    lastack.process.signal(signal.SIGHUP)
    until(lambda: dns.asked, 5 * SLOW, "the question")
    return lastack, port, dns, at, conf


@pytest.mark.sanitizer
def test_a_reload_to_a_name(run):
    """The present configuration serves until the name has been looked up."""
    lastack, port, dns, _, _ = waiting_reload(run)
    assert bodies(port) == {"127.0.0.2"} and lastack.reloads() == 0
    dns.answers.set()
    until(lambda: lastack.reloads() == 1, 5 * SLOW, "the reload")
    assert bodies(port) == {"127.0.0.1"}


@pytest.mark.sanitizer
def test_a_reload_while_another_waits_for_a_name(run):
    """The last file given is the one that counts; a wrong one leaves the one that waits alone."""
    lastack, port, dns, at, conf = waiting_reload(run)
    lastack.reload({**conf, "upstreams": {}}, expect="failure")
    conf["upstreams"]["app"]["servers"] = [f"127.0.0.2:{at}"]
    lastack.reload(conf)
    dns.answers.set()
    holds(lambda: lastack.reloads() == 1 and bodies(port, 1) == {"127.0.0.2"}, 0.3, "the last one")


@pytest.mark.sanitizer
def test_a_reload_while_the_first_names_are_awaited(run):
    """It is made up for."""
    at, _ = pair(run)
    dns = run.own(Dns({"app.test": ["127.0.0.1"]}))
    dns.answers.clear()
    lastack, port = run.front([f"app.test:{at}"], resolver={"servers": [dns.text]}, ready=False)
    until(lambda: dns.asked, 10 * SLOW, "the question")
    conf = copy.deepcopy(lastack.conf)
    conf["upstreams"]["app"]["servers"] = [f"127.0.0.2:{at}"]
    lastack.write(conf)
    lastack.process.signal(signal.SIGHUP)
    dns.answers.set()
    until(lastack.ready, 10 * SLOW, "/readyz")
    until(lambda: lastack.reloads() == 1, 5 * SLOW, "the reload")
    assert bodies(port) == {"127.0.0.2"}


@pytest.mark.sanitizer
def test_a_reload_changes_the_name_servers(run):
    at, _ = pair(run)
    dns = [run.own(Dns({"app.test": [address]}, ttl=3600)) for address in ("127.0.0.1", "127.0.0.2")]
    lastack, port = run.front([f"app.test:{at}"], resolver={"servers": [dns[0].text]})
    assert bodies(port) == {"127.0.0.1"}
    lastack.reload({**lastack.conf, "resolver": {"servers": [dns[1].text]}})
    assert bodies(port) == {"127.0.0.2"} and dns[1].asked
    dns.append(run.own(Dns({})))
    lastack.reload({**lastack.conf, "resolver": {"servers": [dns[2].text]}})
    assert bodies(port) == {"127.0.0.2"} and dns[2].asked, "what is known stays known"


@pytest.mark.sanitizer
def test_a_reload_reads_the_systems_name_servers_again(run):
    """A host with a resolv.conf of its own, that changes."""
    host = run.own(netns.Host(f"{netns.PREFIX}names"))
    folder = f"/etc/netns/{host.name}"
    os.makedirs(folder)
    run.own(contextlib.ExitStack()).callback(shutil.rmtree, folder)

    def use(address):
        with open(f"{folder}/resolv.conf", "w") as f:
            f.write(f"nameserver {address}\n")
    use("127.0.0.1")
    at, _ = pair(run, host=host)
    dns = [run.own(Dns({"app.test": [a]}, ttl=3600, address=a, port=53, host=host)) for a in ("127.0.0.1", "127.0.0.2")]
    lastack, port = run.front([f"app.test:{at}"], resolver={"servers": "system", "max_ttl": "1h"}, host=host)
    assert bodies(port, host=host) == {"127.0.0.1"}
    lastack.reload()
    assert not dns[1].asked
    use("127.0.0.2")
    lastack.reload()
    assert bodies(port, host=host) == {"127.0.0.2"} and dns[1].asked


@pytest.mark.sanitizer
@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("apart", [False, True])
def test_a_body_whose_end_fails_at_once(run, framing, apart):
    """No address is known: a request's body ends, its answer comes at once, and the next request begins where the body ended,
    whether that came with the head, or later in one piece with the body."""
    dns = run.own(Dns({}))
    p, port = run.front(["app.test:80"], resolver={"servers": [dns.text]})
    head, body = {"length": (b"Content-Length: 5\r\n", b"GET /"), "chunked": (b"Transfer-Encoding: chunked\r\n", b"5\r\nGET /\r\n0\r\n\r\n")}[framing]
    with Client(port) as c:
        for _ in range(3):
            c.send(b"POST /a HTTP/1.1\r\nHost: x\r\n" + head + (b"Expect: 100-continue\r\n\r\n" if apart else b"\r\n" + body))
            if apart:
                assert c.response().status == 100
            c.send((body if apart else b"") + b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n")
            assert [c.final().status for _ in range(2)] == [503, 503]
    assert p.metrics().sum("lastack_requests_total", code="400") == 0
