"""Slow clients hold no connection to a server: what they send is read first, what they get is kept for them."""
import time

from harness.peers import FAILURES, clean
from harness.proxy import SLOW
from harness.wait import scale, until

CLIENTS = scale(100, 500)
SECONDS = scale(8, 60)
RAMP_MS = scale(2000, 20000)
UPLOAD, DOWNLOAD, RATE = 2 << 20, 4 << 20, 1024
PLACES, HANDFUL = 8, 4


def busy_samples(backend, seconds):
    """What the backend says it is working on, many times."""
    seen, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        seen.append(backend.stats()["busy"])
        time.sleep(0.01)
    return seen


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
    fast = run.load(port, clients=4, keepalive=50, rate=100, duration_ms=3600000, timeout_ms=5000)
    seen = busy_samples(backend, RAMP_MS / 1000 + SECONDS)
    assert up.running() and down.running() and fast.running()
    status = proxy.status()["upstreams"][0]
    fast_result, up_result, down_result = clean(fast.stop()), up.stop(), down.stop()
    only_slow(up_result)
    only_slow(down_result)
    assert up_result["bytes_out"] > CLIENTS * RATE and down_result["bytes_in"] > CLIENTS * RATE
    # All downloads went through the backend while their clients have barely begun to read.
    served = backend.stats()
    assert served["requests"] == fast_result["done"] + CLIENTS and served["request_body_bytes"] == 0
    assert served["over_cap"] == 0 and served["duplicates"] == 0
    # Many samples: a busy moment of this machine, in which several connections are being read, may be among them.
    seen.sort()
    assert seen[int(len(seen) * 0.99)] <= HANDFUL, f"{seen[-20:]} of {PLACES} busy at once"
    assert seen[-1] < PLACES
    assert seen.count(0) > len(seen) / 2, "mostly nobody holds a connection"
    assert status["queue"]["timeouts"] == 0
    assert fast_result["latency_us"]["p99"] < 50000 * SLOW, fast_result["latency_us"]
    until(lambda: proxy.metrics().sum("lastack_client_connections") == 0, 10, "all clients to be gone")
    until(lambda: proxy.status()["limits"]["memory_used_bytes"] == 0 == proxy.status()["limits"]["disk_used_bytes"], 10,
          "what was kept for them to be given back")


def test_stream_mode_is_what_holds_connections(run):
    """So that the test above cannot pass by accident: the same uploads, forwarded as they come."""
    backend = run.backend()
    _, port = run.front([backend], pool={"max": PLACES}, buffer={"request_mode": "stream"}, queue={"timeout": "60s"},
                        listener={"timeouts": {"body": "2h", "min_rate": 0}})
    run.load(port, clients=20, method="POST", body=UPLOAD, upload_rate=RATE, duration_ms=3600000, timeout_ms=3600000, grace_ms=100)
    until(lambda: backend.stats()["busy"] == PLACES, 10, "slow clients to hold all connections")
