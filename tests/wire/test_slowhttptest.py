"""slowhttptest in its four modes beside normal traffic: nobody else notices, and what the slow ones cost is bounded."""

import pytest

from harness.peers import clean
from harness.process import Process
from harness.proxy import KIND
from harness.wait import scale, until

CONNECTIONS = scale(200, 1000)
SECONDS = scale(5, 30)
MIB = 1 << 20
MEMORY = 512 * MIB
PLACES, HANDFUL = 16, 6
SIZE = MIB  # of what is read slowly: more than the kernel keeps for a socket with so small a window

MODES = {
    "slowloris": ["-H", "-i", "1", "-x", "24", "-t", "GET"],
    "slow_body": ["-B", "-i", "1", "-s", "65536", "-x", "16", "-t", "POST"],
    "slow_read": ["-X", "-w", "64", "-y", "128", "-n", "1", "-z", "16", "-k", "1"],
    "range": ["-R", "-a", "5", "-b", "2000", "-t", "HEAD"],
}


def attack(run, mode, port):
    """slowhttptest, running. -p: how long its own normal request may take."""
    path = f"/?size={SIZE}" if mode == "slow_read" else "/"
    words = ["slowhttptest", *MODES[mode], "-c", CONNECTIONS, "-r", scale(200, 250), "-l", SECONDS, "-p", 5, "-v", 1,
             "-u", f"http://127.0.0.1:{port}{path}"]
    return run.own(Process(words, run.folder("slow"), "slowhttptest"))


@pytest.mark.parametrize("mode", MODES)
def test_slowhttptest(run, mode):
    backend = run.backend(delay_us=500, max_connections=PLACES)
    short = {"head": "2s", "body": "2s", "write": "2s", "keepalive": "2s", "min_rate": 500}
    proxy, port = run.front([backend], pool={"max": PLACES}, listener={"timeouts": short}, buffer={"response": "64KiB", "dir": run.folder("spool")},
                            limits={"memory": MEMORY, "disk": 12 << 30})
    load = run.load(port, clients=8, keepalive=50, rate=scale(100, 400), method="GET=70,POST=30", body=3000, duration_ms=3600000,
                    timeout_ms=10000)
    until(lambda: backend.stats()["requests"] > 50, 10, "the normal traffic")
    before = proxy.process.rss()
    slow = attack(run, mode, port)
    busy, clients, memory, rss = [], [], [], []
    while slow.alive():
        busy.append(backend.stats()["busy"])
        status = proxy.status()
        memory.append(status["limits"]["memory_used_bytes"])
        rss.append(proxy.process.rss())
        clients.append(proxy.metrics().sum("lastack_client_connections"))
    assert slow.wait(10) == 0, slow.log()
    result, seen = load.stop(), backend.stats()
    assert seen["over_cap"] == 0 == seen["duplicates_unsafe"], seen
    clean(result)
    assert result["done"] > 50 * SECONDS // 2
    assert max(clients) > CONNECTIONS / 4 or mode == "range", f"{max(clients)} at once: was it an attack?"
    # A slow body never comes this far, and what is read slowly is taken off at once.
    busy.sort()
    assert busy[int(len(busy) * 0.95)] <= HANDFUL and busy[-1] <= PLACES, busy[-20:]
    assert proxy.status()["upstreams"][0]["queue"]["timeouts"] == 0
    if mode in ("slowloris", "slow_body"):
        assert seen["requests"] <= result["started"] + 20, "only normal requests, and slowhttptest's own looks, came through"
    assert max(memory) <= MEMORY
    assert KIND != "release" or max(rss) - before < max(memory) + CONNECTIONS * 64 * 1024 + 24 * MIB
    until(lambda: proxy.metrics().sum("lastack_client_connections") == 0, 20, "all clients to be gone")
    until(lambda: proxy.status()["limits"]["memory_used_bytes"] == 0 == proxy.status()["limits"]["disk_used_bytes"], 20,
          "what was kept for them to be given back")
