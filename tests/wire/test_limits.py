"""What is over a limit gets a clear answer, and the client really gets it: also one that is in the middle of sending, sends
all before it reads, or sends slowly. Seen with curl and with Python's own client, which reads last."""
import contextlib
import http.client
import os
import socket
import subprocess
import time

import pytest

from harness import pattern, proxy, raw
from harness.raw import Client, get
from harness.wait import FULL, scale, until

MIB = 1 << 20
SIZE = 50 * MIB
ROUNDS = scale(5, 50)


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    path = pattern.write(os.path.join(str(tmp_path_factory.mktemp("big")), "50M"), SIZE)
    yield path
    os.unlink(path)


def curl(port, *words, target="/", stdin=None, timeout=60):
    """(status, head, body); curl itself must be content."""
    done = subprocess.run(["curl", "-sS", "-i", *words, f"http://127.0.0.1:{port}{target}"], stdin=stdin, capture_output=True, timeout=timeout)
    assert done.returncode == 0, f"curl ended with {done.returncode}: {done.stderr.decode()}"
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    while head.startswith(b"HTTP/1.1 100"):
        head, _, body = body.partition(b"\r\n\r\n")
    return raw.Message(head + b"\r\n"), body


def refused(message, status, word):
    assert message.status == status, message
    assert message.get("Proxy-Status").startswith("lastack; error=") and word in message.get("Proxy-Status"), message
    assert message.get("Connection") == "close"
    assert message.get("Date") is not None and message.get("Content-Length") is not None
    return True


@pytest.mark.sanitizer
@pytest.mark.parametrize("mode", ["buffer", "stream"])
@pytest.mark.parametrize("expect", ["Expect:", "Expect: 100-continue"], ids=["at_once", "asks_first"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_413_in_the_middle_of_an_upload(run, big, mode, expect, framing):
    origin = run.origin()
    p, port = run.front([origin], limits={"body": "1MiB"}, buffer={"request_mode": mode, "dir": run.folder("spool")})
    for _ in range(ROUNDS):
        with open(big, "rb") as f:
            words = ["-H", expect, "-T", "-" if framing == "chunked" else big]
            refused(curl(port, *words, stdin=f)[0], 413, "body_too_large")
    if mode == "buffer" or framing == "length":
        assert origin.requests == []
    assert get(port).status == 200
    assert p.metrics().sum("lastack_requests_total", code="413") == ROUNDS


@pytest.mark.parametrize("length", [True, False])
def test_413_for_a_client_that_reads_last(run, big, length):
    """http.client sends all of its body before it looks at the answer."""
    _, port = run.front([run.origin()], limits={"body": "1MiB"})
    for _ in range(ROUNDS):
        c = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        with open(big, "rb") as f:
            c.request("PUT", "/", f, {"Content-Length": str(SIZE)} if length else {}, encode_chunked=not length)
        r = c.getresponse()
        assert r.status == 413 and "body_too_large" in r.headers["Proxy-Status"]
        r.read()
        c.close()


def test_413_for_a_slow_client_that_reads_last(run):
    """It needs seconds for what it had set out to send. The connection is still there for it when it looks."""
    _, port = run.front([run.origin()], limits={"body": "64KiB"})
    with Client(port) as c:
        c.send(raw.request("/", "PUT", f"Content-Length: {400 * 1024}\r\n"))
        for _ in range(40):
            c.send(b"x" * 10240)
            time.sleep(0.1)
        refused(c.final(), 413, "body_too_large")


def test_lingering_is_bounded(run):
    """One that neither sends nor hangs up is hung up on, and (this takes half a minute) one that goes on for ever."""
    p, port = run.front([run.origin()], limits={"body": "1KiB"}, listener={"timeouts": {"body": "1s", "min_rate": 0}})
    silent, busy = Client(port), Client(port)
    for c in (silent, busy):
        c.send(raw.request("/", "PUT", "Content-Length: 100000000\r\n"))
        refused(c.final(), 413, "body_too_large")
    began = time.monotonic()
    while p.metrics().sum("lastack_client_connections") > 1:  # the silent one goes first
        try:
            busy.send(b"x")
        except ConnectionError:
            break
        time.sleep(0.1)
        assert time.monotonic() - began < 30
    assert silent.at_end()
    assert p.metrics().sum("lastack_client_timeouts_total") == 0, "both had their answers: that is no timeout"
    with pytest.raises(OSError) if FULL else contextlib.nullcontext():
        while FULL and time.monotonic() - began < 120:
            busy.send(b"x")
            time.sleep(0.1)
    busy.close()
    silent.close()


def test_408_for_a_body_that_stops(run):
    p, port = run.front([run.origin()], listener={"timeouts": {"body": "500ms"}})
    reader, writer = os.pipe()  # curl's -T . waits for the answer and for more to send, -T - only for the latter
    os.write(writer, b"the beginning")
    try:
        refused(curl(port, "-T", ".", "-H", "Expect:", stdin=reader)[0], 408, "body_timeout")
    finally:
        os.close(reader)
        os.close(writer)
    assert p.metrics().sum("lastack_errors_total", cause="body_timeout") == 1


def test_408_for_a_body_below_the_minimum_rate(run):
    """Never silent for long, and yet too slow."""
    p, port = run.front([run.origin()], listener={"timeouts": {"body": "500ms", "min_rate": 100000}})
    with Client(port) as c:
        c.send(raw.request("/", "PUT", "Content-Length: 100000\r\n"))
        answer = b""
        c.sock.settimeout(0.1)
        for _ in range(200):
            try:
                c.send(b"x" * 100)
                answer = c.sock.recv(65536)
                break
            except socket.timeout:
                continue
        assert answer.startswith(b"HTTP/1.1 408 ") and b"body_timeout" in answer
    assert p.metrics().sum("lastack_client_timeouts_total") == 1, "one client, however often it was looked at"


def test_408_for_a_slow_head(run):
    p, port = run.front([run.origin()], listener={"timeouts": {"head": "500ms"}})
    with Client(port) as c:
        c.send(b"GET / HTTP/1.1\r\nHost: x\r\n")
        refused(c.final(), 408, "head_timeout")
        assert c.at_end()
    assert p.metrics().sum("lastack_client_timeouts_total") == 1


CASES = {
    "414": (["-g"], "/" + "x" * 40000, 414, "uri_too_long"),
    "417": (["-H", "Expect: a-miracle"], "/", 417, "expectation"),
    "431_one_field": (["-H", "X-Long: " + "y" * 40000], "/", 431, "head_too_large"),
    "431_many_fields": ([w for n in range(140) for w in ("-H", f"X-{n}: 1")], "/", 431, "head_too_large"),
    "501": (["-H", "Transfer-Encoding: gzip", "-H", "Content-Length:", "-H", "Expect:", "-d", "x"], "/", 501, "not_implemented"),
    "400": (["-H", "Host: a b"], "/", 400, ""),
}


@pytest.mark.parametrize("case", CASES)
def test_clear_answers(run, case):
    words, target, status, word = CASES[case]
    origin = run.origin()
    p, port = run.front([origin])
    refused(curl(port, *words, target=target)[0], status, word)
    assert origin.requests == []
    assert p.metrics().sum("lastack_requests_total", code=str(status)) == 1
    assert get(port).status == 200


def test_505(run):
    origin = run.origin()
    _, port = run.front([origin])
    for version in ("2.0", "3.0", "0.9"):
        with Client(port) as c:
            c.send(f"GET / HTTP/{version}\r\nHost: x\r\n\r\n")
            refused(c.final(), 505, "version")
            assert c.at_end()
    assert origin.requests == []


def test_no_length_is_no_body(run):
    """411 is for servers that insist on a length; a proxy passes on what the server may answer itself."""
    origin = run.origin(answer=lambda r: (411 if r.get("Content-Length") is None and not r.chunked else 200, b"", ""))
    _, port = run.front([origin])
    assert curl(port, "-X", "POST")[0].status == 411
    assert curl(port, "-X", "POST", "-H", "Content-Length: 0")[0].status == 200
    assert curl(port, "-d", "x")[0].status == 200


@pytest.mark.sanitizer
def test_no_memory_for_an_answer_of_our_own(run):
    """The client goes without one, and all is given back."""
    heads = (1 << 20) // 4096  # each begun head has a buffer; behind them there is room for an exchange alone
    port = proxy.free_port()
    lastack = run.proxy(proxy.config({"app": {"servers": [run.origin().text]}}, [{"name": "web", "address": f"127.0.0.1:{port}"}],
                                     routes=[{"path": "/there", "upstream": "app"}], workers=1, limits={"memory": (1 << 20) + 3500}))
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(port)) for _ in range(heads)]
        for c in clients:
            c.send("GET / HTTP/1.1\r\nHost: t\r\n")
        until(lambda: lastack.metrics().sum("lastack_memory_used_bytes") == 1 << 20, 10, "all heads to have begun")
        clients[0].send("\r\n")
        assert clients[0].at_end(), "no answer"
    until(lambda: lastack.metrics().sum("lastack_memory_used_bytes") == 0, 10, "all of it to be given back")
    assert get(port).status == 404


def test_too_few_descriptors_to_start(run):
    """Each number of them, from what a program needs to begin with to what is enough: what is missing is said, and the process
    ends with 1."""
    said = ""
    for descriptors in range(4, 200):
        lastack, _ = run.front(["127.0.0.1:1"], workers=2, fd_limit=descriptors, ready=False, log={"access": "off"})
        until(lambda: not lastack.process.alive() or "workers, 1 listeners" in lastack.log(), 20, "it to run, or to end")
        if "workers, 1 listeners" in lastack.log():
            break
        lastack.stopped = True
        assert lastack.process.popen.returncode == 1 and "Too many open files" in lastack.log(), lastack.log()
        said += lastack.log()
    assert said.count("cannot create an event loop: Too many open files\n") >= 2
    assert "log.error: standard error: Too many open files" in said and "(null)" not in said
