"""The load generator, which judges everything else: what it measures when the backend stalls, what it asks when a file says it,
and that it sees a wrong value."""
import os
import signal
import socket
import threading
import time

import pytest

from harness import memcached as mc
from harness.wait import scale

REQUESTS = """
GET /a?size=10
HEAD /b
Host: b.test
POST /c {body}
X-C: 1
"""


def test_a_stall_shows(run):
    """A backend that answers at once but stalls for 200 ms of each second (full: 1 s of each 10 s). At a fixed rate a fifth (a tenth)
    of the requests fall into a stall, and p99 says so; the closed loop beside it asks nothing meanwhile, and its p90 does not."""
    seconds, every, stall = scale(4, 30), scale(1, 10), scale(0.2, 1)
    b = run.backend()
    common = dict(duration_ms=seconds * 1000, keepalive=100, grace_ms=5000)
    fixed = run.load(b.text, clients=200, rate=300, **common)
    closed = run.load(b.text, clients=4, gap_min_ms=2, gap_max_ms=2, **common)
    while fixed.running() and closed.running():
        time.sleep(every - stall)
        b.signal(signal.SIGSTOP)
        time.sleep(stall)
        b.signal(signal.SIGCONT)
    found, beside = fixed.result(), closed.result()
    assert found["failures"] == 0 and beside["failures"] == 0
    assert found["started"] + found["unstarted"] == 300 * seconds
    assert found["latency_us"]["p99"] > 0.7 * stall * 1e6
    assert beside["latency_us"]["count"] > 100 * seconds
    assert beside["latency_us"]["p90"] < 0.5 * found["latency_us"]["p99"]
    assert beside["latency_us"]["max"] > 0.7 * stall * 1e6  # it did meet the stalls, a few times


def test_latency_counts_without_a_free_client(run):
    """Two clients and a rate that needs four: a request that waits for a client is slow, but not sent late by the generator."""
    b = run.backend(delay_us=20000)
    found = run.load(b.text, clients=2, rate=200, requests=120, keepalive=100).result()
    assert found["failures"] == 0 and found["done"] == 120
    assert found["latency_us"]["p90"] > 300_000 and found["late_us"]["p90"] < found["latency_us"]["p90"] / 10


def test_asks_what_a_file_says(run, tmp_path):
    """A file of requests is asked in order, with its bodies and fields; a bad one is refused with its line."""
    (tmp_path / "body").write_bytes(b"x" * 1000)
    (tmp_path / "requests").write_text(REQUESTS.format(body=tmp_path / "body"))
    b = run.backend()
    found = run.load(b.text, ask=tmp_path / "requests", requests=300, keepalive=50).result()
    assert found["failures"] == 0 and found["status"] == {"200": 300}
    stats = b.stats()
    assert stats["requests"] == 300 and stats["request_body_bytes"] == 100 * 1000
    assert found["bytes_in"] > 100 * 10 + 100 * 128
    (tmp_path / "bad").write_text("GET /\nPOST\n")
    with pytest.raises(AssertionError, match=r"bad:2: not a path or URL"):
        run.load(b.text, ask=tmp_path / "bad", requests=1).result()


def test_replays_the_access_log(run, tmp_path):
    """What lastack logged is asked again, in its own time: both formats give the same requests."""
    counts = {}
    for format in ("json", "combined"):
        log = tmp_path / f"access-{format}.log"
        b = run.backend()
        p, port = run.front([b], log={"access": str(log), "format": format})
        run.load(port, rate=200, requests=200, method="GET=80,POST=20", path="/p{n}").result()
        p.stop()
        again = run.backend()
        found = run.load(again.text, replay=log, timed=True, speed=2, requests=400).result()
        counts[format] = again.stats()["requests"]
        assert found["failures"] == 0 and found["late_us"]["count"] == 400
        assert found["seconds"] > 0.7  # over two laps: the second begins when the first is over
    assert counts == {"json": 400, "combined": 400}


def test_memcached(run):
    """Gets and sets: each value is its own; misses are counted; one that was stored by somebody else is seen."""
    server, = mc.start(run, 1)
    target = f"127.0.0.1:{server.port}"
    found = run.load(target, memcached=True, keys=50, requests=2000, set_percent=30, keepalive=50).result()
    assert found["failures"] == 0 and found["done"] == 2000 and found["status"] == {"200": 2000}
    assert 0 < found["misses"] < 1000 and found["hits"] + found["misses"] + found["stored"] == 2000
    assert found["no_fin"] == 0 and found["connections"] > 300  # short ones say quit and await the FIN
    for gets, bytes in ((1, 100), (20, 100), (5, 100_000)):
        filled = run.load(target, memcached=True, fill=True, keys=50, value_bytes=bytes, requests=50, clients=1, keepalive=100).result()
        found = run.load(target, memcached=True, keys=50, value_bytes=bytes, gets=gets, requests=500, keepalive=100).result()
        assert filled["failures"] + found["failures"] + filled["misses"] + found["misses"] == 0
        assert found["bytes_in"] > 500 * gets * bytes
    with mc.Client(server.port) as c:
        assert c.set(b"load:100:7", b"x" * 100) == b"STORED\r\n" and c.set(b"load:100:8", b"short") == b"STORED\r\n"
    found = run.load(target, memcached=True, keys=50, requests=1000, keepalive=100).result()
    assert found["mixed"] == found["failures"] > 0 and found["first_failure"].startswith("mixed: ")


def test_unix_socket_with_a_full_queue(run, tmp_path):
    """A Unix socket whose queue is full refuses at once; the client comes again, and the wait is part of the latency."""
    path = str(tmp_path / "s.sock")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)
        s.listen(1)
        done = threading.Event()

        def serve():
            while not done.is_set():
                try:
                    c, _ = s.accept()
                except TimeoutError:
                    continue
                with c:
                    if c.recv(65536):
                        time.sleep(0.005)
                        c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        s.settimeout(0.1)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            found = run.load(f"unix:{path}", clients=50, requests=100, no_token=True).result()
        finally:
            done.set()
            thread.join()
    assert found["failures"] == 0 and found["done"] == 100
    assert found["latency_us"]["p90"] > 50_000
    assert not os.path.exists(str(tmp_path / "missing"))
    found = run.load(f"unix:{tmp_path}/missing", clients=2, requests=4).result()
    assert found["connect_other"] == 4 and "No such file" in found["first_failure"]
