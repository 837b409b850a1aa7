"""Slow clients hold no connection to a server: what they send is read first, what they get is kept for them."""
from harness.peers import FAILURES, clean
from harness.raw import Client, request
from harness.wait import holds, scale, until

CLIENTS = scale(100, 500)
SECONDS = scale(4, 60)
RAMP_MS = scale(2000, 20000)
UPLOAD, DOWNLOAD, RATE = 2 << 20, 4 << 20, 1024
PLACES, FAST = 8, 4


def only_slow(result):
    """The load was stopped in the middle of everything: nothing else may have gone wrong."""
    bad = {k: result[k] for k in FAILURES if result[k] and k != "unfinished"}
    assert not bad, f"{bad}; first: {result['first_failure']}"


def test_slow_uploads_and_downloads(run):
    backend = run.backend(delay_us=1000, max_connections=PLACES)
    proxy, port = run.front([backend], workers=2, pool={"max": PLACES},
                            listener={"timeouts": {"body": "2h", "min_rate": 500, "write": "10m"}})
    slow = {"clients": CLIENTS, "duration_ms": 3600000, "ramp_ms": RAMP_MS, "timeout_ms": 3600000, "grace_ms": 100}
    up = run.load(port, method="POST", body=UPLOAD, upload_rate=RATE, **slow)
    down = run.load(port, path=f"/?size={DOWNLOAD}", download_rate=RATE, **slow)
    fast = run.load(port, clients=FAST, keepalive=50, rate=100, duration_ms=3600000, timeout_ms=20000)

    def clients():
        return proxy.metrics().sum("lastack_client_connections")
    until(lambda: clients() >= 2 * CLIENTS, RAMP_MS / 1000 + 30, "all slow clients")
    # Their responses went through the backend while they have barely begun to read: from now on only fast ones hold it.
    until(lambda: proxy.metrics().sum("lastack_bytes_total", direction="in") >= CLIENTS * DOWNLOAD, 120, "the downloads")
    until(lambda: backend.stats()["busy"] <= FAST, 10, "their end")
    holds(lambda: backend.stats()["busy"] <= FAST, SECONDS, "only fast clients holding the backend", 0.01)
    assert up.running() and down.running() and fast.running() and clients() >= 2 * CLIENTS
    fast_result = clean(fast.stop())
    until(lambda: backend.stats()["busy"] == 0, 10, "the fast clients' end")
    holds(lambda: backend.stats()["busy"] == 0, SECONDS / 4, "nobody holding the backend", 0.01)
    status = proxy.status()["upstreams"][0]
    up_result, down_result = up.stop(), down.stop()
    only_slow(up_result)
    only_slow(down_result)
    assert up_result["bytes_out"] > CLIENTS * RATE and down_result["bytes_in"] > CLIENTS * RATE
    served = backend.stats()
    assert served["requests"] == fast_result["done"] + CLIENTS and served["request_body_bytes"] == 0
    assert served["over_cap"] == 0 and served["duplicates"] == 0
    assert status["queue"]["timeouts"] == 0
    until(lambda: clients() == 0, 10, "all clients to be gone")
    until(lambda: proxy.status()["limits"]["memory_used_bytes"] == 0 == proxy.status()["limits"]["disk_used_bytes"], 10,
          "what was kept for them to be given back")


def test_stream_mode_is_what_holds_connections(run):
    """So that the test above cannot pass by accident: the same uploads, forwarded as they come."""
    backend = run.backend()
    _, port = run.front([backend], pool={"max": PLACES}, buffer={"request_mode": "stream"}, queue={"timeout": "60s"},
                        listener={"timeouts": {"body": "2h", "min_rate": 0}})
    run.load(port, clients=20, method="POST", body=UPLOAD, upload_rate=RATE, duration_ms=3600000, timeout_ms=3600000, grace_ms=100)
    until(lambda: backend.stats()["busy"] == PLACES, 10, "slow clients to hold all connections")


def test_little_room_and_no_file(run):
    """Answers that are more than the client takes and the buffer holds: what is too much stays at the server."""
    sizes = range(60000, 65400, 600)
    origin = run.origin(answer=lambda r: (200, b"x" * int(r.target[1:]), ""))
    _, port = run.front([origin], workers=1, buffer={"response": "4KiB", "response_file": 0})
    for size in sizes:
        with Client(port, receive_buffer=4096) as c:
            c.send(request(f"/{size}") * 80)
            seen = -1
            while seen < len(origin.requests):  # until it gets no further
                seen = len(origin.requests)
                holds(lambda: True, 0.1)
            assert {len(c.response().body) for _ in range(80)} == {size}
