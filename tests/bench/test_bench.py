"""The benchmark runs, and what it counts is within bounds. Times are not looked at: they belong to a quiet machine."""
import json
import os
import subprocess
import sys

from harness.proxy import BIN, ROOT


def test_counts(tmp_path):
    words = [sys.executable, os.path.join(ROOT, "tests/bench/run.py"), "--quick", "--out", str(tmp_path), "--peers", "lastack,nginx,floor",
             "--lastack", BIN, "--ms", "100", "--rounds", "1", "--requests", "300", "--opened", "3000"]
    for row in ("short", "syscalls", "opened", "memcached_kept"):
        words += ["--only", row]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    with open(tmp_path / "bench.json") as f:
        results = json.load(f)["results"]
    found = {(r["row"], r["metric"], r["proxy"]): r["median"] for r in results}

    # lastack does the work of the floor and little more; the bounds leave room for wake-ups on a busy machine.
    assert 6 <= found["syscalls short", "all", "floor"] <= 9
    assert 5 <= found["syscalls short", "all", "lastack"] <= 12
    assert 4 <= found["syscalls kept", "all", "lastack"] <= 8
    # a pool of 64 for 200 clients on 4 workers: never more, and none is opened twice
    assert 1 <= found["opened", "in 3,000 requests from a cold start", "lastack"] <= 64
    assert found["opened", "per 1,000,000 requests once warm", "nginx"] >= 0
    for proxy in ("lastack", "nginx", "floor"):
        assert found["short", "cpu", proxy] > 0
    # recv and send towards the client, and shares of what serves several at once
    assert 2 <= found["memcached kept", "syscalls", "lastack"] <= 5
    assert found["memcached kept", "cpu", "twemproxy"] > 0

    table = (tmp_path / "bench.md").read_text()
    for cells in ("| short | cpu, us per request |", "| syscalls short | all, per request |", "| opened |"):
        assert cells in table
