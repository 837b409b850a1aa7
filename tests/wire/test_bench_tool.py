"""`lastack bench` against backends of known truth, against real ones, and against those that fail."""
import json
import os
import signal
import socket
import subprocess
import threading
import time

import pytest

from harness import memcached, proxy, servers
from harness.proxy import free_port
from harness.wait import FULL, scale, until


class Bench:
    """One `lastack bench` with a JSON report."""

    def __init__(self, run, backend, *words, under=()):
        self.path = os.path.join(run.folder("bench"), f"{len(os.listdir(run.folder('bench')))}.json")
        upstream = backend if isinstance(backend, str) else backend.text
        self.sockets = run.folder("sockets")
        self.popen = run.own(Owned([*under, proxy.BIN, "bench", "-u", upstream, "--json", self.path, *map(str, words)], self.sockets))

    def end(self, timeout=600):
        """(exit status, report, what it printed)"""
        out, _ = self.popen.communicate(timeout=timeout)
        with open(self.path) as f:
            return self.popen.returncode, json.load(f), out


class Owned(subprocess.Popen):
    def __init__(self, words, sockets):
        super().__init__(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | {"TMPDIR": sockets},
                         preexec_fn=lambda: [signal.signal(s, signal.SIG_DFL) for s in (signal.SIGHUP, signal.SIGINT)])  # which the tests' shell may ignore

    def close(self):
        if self.poll() is None:
            self.kill()
            self.wait()


def bench(run, backend, *words):
    return Bench(run, backend, *words).end()


SHORT = ("--seconds", "0.3", "--warmup", "0.1")


def sensible(report):
    """What is true of every report, whatever was measured."""
    for r in report["runs"]:
        split = sum(r["split"][part]["mean_us"] for part in ("queue", "connect", "backend", "proxy"))
        if r["latency_us"]["count"] > 100 and r["stage"] == "sweep":
            assert split == pytest.approx(r["latency_us"]["mean"], rel=0.3, abs=300), r
        assert r["connections"]["busy"] is None or r["connections"]["busy"] <= r["size"] + 1e-6, r
        assert sum(n for row in r["heat"]["rows"] for n in row[1:]) <= r["latency_us"]["count"], r


def test_workers_and_drift(run):
    """Eight workers are found by their number; when they slow down meanwhile, no size is named. Wake-ups that come 1 ms late move a
    short bench's answer by one or two: how near it has to be is asked of the full figures below."""
    backend = run.backend(workers=8, delay_us=12000, delay_jitter_us=4000)
    html, hdr = os.path.join(run.folder("forms"), "b.html"), os.path.join(run.folder("forms"), "b.hgrm")
    code, report, out = bench(run, backend, "--sizes", "4,7,8,9,12", "--repeats", 2, "--html", html, "--hdr", hdr, *SHORT)
    sensible(report)
    assert sorted(os.listdir(run.folder("forms"))) == sorted(["b.html", *(f"b-{size}.hgrm" for size in (4, 7, 8, 9, 12))])
    with open(html) as f:
        assert '"verdict"' in f.read()
    stages = [r["stage"] for r in report["runs"]]
    sweeps = stages.index("drift")  # ten; as many once more where they scatter
    assert stages[:sweeps] == ["sweep"] * sweeps and sweeps % 10 == 0
    drift = report["runs"][sweeps]
    assert (drift["stage"], drift["size"]) == ("drift", report["runs"][0]["size"])
    if report["verdict"]["answer"] == "size":  # a busy host may make it say that it cannot tell, and then it says why
        assert code == 0 and 4 < report["verdict"]["bare"] < 12, out
        assert f"pool: {{ max: {report['verdict']['size']} }}" in out
        levels = [r for r in report["runs"] if r["stage"] == "level"]
        assert [round(r["rate"] / levels[-1]["rate"] * 0.95, 2) for r in levels] == [0.5, 0.7, 0.85, 0.95]
        assert 0.7 < levels[-1]["rate"] / report["verdict"]["best_throughput"] < 1.1
    else:
        assert code == 1 and report["verdict"]["reason"].startswith("cannot tell: ") and report["verdict"]["size"] is None, out
    best = {r["size"]: r["throughput"] for r in report["runs"]}
    assert best[4] < 0.75 * max(best[8], best[9], best[12]), best

    b = Bench(run, backend, "--sizes", "2,4", "--repeats", 3, *SHORT)
    delay = 12000
    while b.popen.poll() is None:
        backend.set(delay_us=delay)
        delay = int(delay * 1.02)
        time.sleep(0.1)
    code, report, out = b.end()
    assert (code, report["verdict"]["answer"], report["verdict"]["size"]) == (1, "cannot_tell", None), out
    assert report["verdict"]["reason"].startswith("cannot tell: "), out


def test_odd_inputs(run):
    """A field that has no room is said to be too long."""
    code, report, out = bench(run, run.backend(), "--header", "X: " + "a" * 17000)
    assert code == 1 and "path and headers are too long" in report["failure"], out


def test_compare(run):
    """What cannot be compared is said before anything is asked and costs no report; standard output holds one thing."""
    backend = run.backend()
    words = ("-u", backend.text, "--sizes", "1,2", "--repeats", 1, "--rate", 100, *SHORT)
    old, empty = (os.path.join(run.folder("forms"), name) for name in ("old.json", "empty.json"))
    open(empty, "w").close()
    code, out = proxy.lastack("bench", *words, "--json", old)
    with open(old) as f:
        before = f.read()
    asked = backend.stats()["requests"]
    for more, text in ((("--compare", empty), "the old report is not JSON"),
                       (("--compare", old, "--path", "/x"), "not comparable: the load's path was /, is /x")):
        code, out = proxy.lastack("bench", *words, "--json", old, *more)
        assert code == 1 and text in out and "nothing was measured" in out, out
    assert backend.stats()["requests"] == asked
    with open(old) as f:
        assert f.read() == before
    done = subprocess.run([proxy.BIN, "bench", *map(str, words), "--json", "-", "--compare", old], capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout)["runs"] and "not comparable: no size was measured twice" in done.stderr, done


def test_files_come_first(tmp_path):
    """What is wrong with a file is said before anybody is asked, and what may be kept is not touched."""
    log, sparse, kept = tmp_path / "untimed.log", tmp_path / "sparse.log", tmp_path / "kept.json"
    line = '{"path":"/","method":"GET"%s}\n'
    log.write_text(line % "" + line % "")
    sparse.write_text(line % ',"time":1767323045.5' + line % ',"time":1767323055.5')  # anew every 20 s
    kept.write_text("kept")
    asks = "cannot be reached"
    for words, text in ((("--compare", "/nowhere"), "/nowhere: No such file"), (("--body", "/nowhere"), "/nowhere: No such file"),
                        (("--replay", "/nowhere"), "/nowhere: No such file"), (("--json", "/nowhere/x"), "/nowhere/x: No such file"),
                        (("--html", tmp_path), f"{tmp_path}: Is a directory"), (("--html", f"{kept}/x"), "x: Not a directory"),
                        (("--json", kept, "--hdr", "/nowhere/x"), "/nowhere/x: No such file"),
                        (("--replay", log), "no times, or all the same: give --rate or --clients"), (("--replay", log, "--rate", "auto"), asks),
                        (("--replay", sparse), "no request between 1 s and 4 s of it"), (("--replay", sparse, "--speed", 3), asks),
                        (("--replay", sparse, "--warmup", 11), "no request between 11 s and 14 s"), (("--replay", sparse, "--warmup", 19), asks)):
        code, out = proxy.lastack("bench", "-u", "127.0.0.1:1", *words)
        assert code == 1 and text in out and (text == asks) == (asks in out), (words, out)
    assert kept.read_text() == "kept" and len(os.listdir(tmp_path)) == 3


def test_some_sizes_fail(run):
    """A backend that turns away the fifth connection: the sizes that it bears get a verdict all the same."""
    backend = run.backend(workers=4, delay_us=5000, max_connections=4)
    code, report, out = bench(run, backend, "--sizes", "2,4,16", "--repeats", 2, *SHORT)
    assert any(r["failed"] for r in report["runs"] if r["size"] == 16), out
    assert all(r["failed"] == 0 for r in report["runs"] if r["size"] < 16), out
    assert report["failure"] is None and report["verdict"]["answer"] in ("size", "cannot_tell"), out
    if report["verdict"]["answer"] == "size":
        assert report["verdict"]["size"] <= 4, out


def test_unreachable(run):
    code, report, out = bench(run, f"127.0.0.1:{free_port()}")
    assert (code, report["verdict"]["answer"], report["runs"]) == (1, "failed", [])
    assert "cannot be reached: Connection refused. Nothing was measured." in report["failure"] and report["failure"] in out
    port = free_port()
    code, report, out = bench(run, f"localhost:{port}")
    assert f"The backend localhost:{port} cannot be reached" in report["failure"], out
    code, report, out = bench(run, "unix:/nowhere")
    assert code == 1 and "cannot be reached: No such file or directory" in report["failure"], out


def test_errors_only(run):
    backend = run.backend()
    code, report, out = bench(run, backend, "--path", "/?status=503")
    assert (code, report["verdict"]["answer"], report["verdict"]["size"]) == (1, "failed", None)
    assert "8 of 8 requests failed when it was tried out (status_503 8" in report["failure"] and report["failure"] in out
    hangs_up = run.backend(faults={"close_before": 100})
    code, report, out = bench(run, hangs_up)
    assert code == 1 and report["verdict"]["answer"] == "failed" and "requests failed" in report["failure"], out


def test_slower_than_a_run(run):
    """No run could see an answer: it says so at once, names the time it needs, and blames nobody."""
    backend = run.backend(delay_us=70000)
    code, report, out = bench(run, backend, "--seconds", 0.05, "--warmup", 0)
    assert (code, report["verdict"]["answer"], report["runs"]) == (1, "failed", []), out
    assert "a run has 0.05 s to see an answer" in report["failure"] and "--seconds 0." in report["failure"], out
    assert backend.stats()["requests"] == 8


def test_dies_midway(run):
    backend = run.backend(workers=4, delay_us=5000)
    b = Bench(run, backend, "--sizes", "2,4", *SHORT)
    until(lambda: backend.stats()["requests"] > 100, 20, "the first run")
    backend.kill()
    code, report, out = b.end()
    assert (code, report["verdict"]["answer"], report["verdict"]["size"]) == (1, "failed", None), out
    assert "The backend died in run" in report["failure"] and "Connection refused" in report["failure"], out


@pytest.mark.parametrize("moment", ["at once", "in a run", "at a level"])
def test_interrupted(run, moment):
    """What was measured until then is a whole report; the exit status says that no size was found."""
    backend = run.backend(workers=2, delay_us=5000 if moment != "at once" else 1_000_000)
    b = Bench(run, backend, "--sizes", "1,2,3,4", "--repeats", "1", *SHORT)
    if moment == "at once":
        until(lambda: backend.stats()["requests"] > 0, 20, "it to try the backend out")
    else:
        until(lambda: backend.stats()["requests"] > (100 if moment == "in a run" else 300), 20, "that moment")
    b.popen.send_signal({"at once": signal.SIGTERM, "in a run": signal.SIGINT, "at a level": signal.SIGHUP}[moment])
    code, report, out = b.end(20)
    assert code == 1 and report["interrupted"], (report["failure"], out)
    if moment == "at once":
        assert report["runs"] == [] and report["verdict"]["size"] is None
    else:
        assert report["runs"] and all(r["seconds"] > 0 for r in report["runs"])
        assert [r["cut"] for r in report["runs"][:-1]] == [False] * (len(report["runs"]) - 1)
    sensible(report)
    assert os.listdir(b.sockets) == []


def test_hangup_under_nohup(run):
    backend = run.backend(workers=2, delay_us=5000)
    b = Bench(run, backend, "--sizes", "1,2", "--repeats", "1", *SHORT, under=("nohup",))
    until(lambda: backend.stats()["requests"] > 20, 20, "the first run")
    b.popen.send_signal(signal.SIGHUP)
    code, report, out = b.end(60)
    assert not report["interrupted"] and report["failure"] is None and {r["size"] for r in report["runs"]} == {1, 2}, out


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [int(word) for word in f.read().split()]


def test_proxy_that_ends(run):
    """A run whose proxy is gone says so and names no backend; what the proxy would have counted is unknown."""
    backend = run.backend(workers=2, delay_us=5000)
    b = Bench(run, backend, "--sizes", "1,2", "--seconds", 20, "--warmup", 0)
    until(lambda: backend.stats()["requests"] > 100, 20, "the first run")
    for pid in children(b.popen.pid):
        os.kill(pid, signal.SIGKILL)
    code, report, out = b.end(60)
    assert (code, report["verdict"]["answer"], report["verdict"]["size"]) == (1, "failed", None) and not report["interrupted"], out
    assert "The proxy ended in this run, by signal 9: " in report["failure"] and report["failure"] in out
    assert len(report["runs"]) == 1 and report["runs"][0]["cut"], out
    told = report["runs"][0]
    unknown = [told["connections"][n] for n in ("opened", "closed_by_backend", "closed_by_proxy")] + [told["cpu_s"]["proxy"]]
    assert unknown == [None] * 4 and all(p["mean_us"] is None and p["p99_us"] is None for p in told["split"].values()), told
    assert os.listdir(b.sockets) == []


class Drips:
    """Takes connections and answers with a head and then a byte now and then, for ever."""

    def __init__(self, head=b""):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.text = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.head, self.asked = head, 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                peer = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.drip, args=(peer,), daemon=True).start()

    def drip(self, peer):
        try:
            self.asked += peer.recv(1) != b""
            peer.sendall(self.head)
            while True:
                peer.sendall(b"x")
                time.sleep(0.1)
        except OSError:
            peer.close()

    def close(self):
        self.listener.close()


@pytest.mark.parametrize("protocol, head", [("memcached", b""), ("fastcgi", b"\1\6\0\1\xff\xff\0\0")])
def test_backend_that_drips(run, protocol, head):
    """Being asked what it is, it keeps nobody for longer than a few seconds, and Ctrl-C ends that at once."""
    drips = run.own(Drips(head))
    words = ("--protocol", protocol, "--sizes", "1,2", *(("--script", "/x.php", "--status-path", "/status") if protocol == "fastcgi" else ()))
    b = Bench(run, drips, *words)
    until(lambda: drips.asked == 1, 20, "its question")
    until(lambda: drips.asked > 1, 30, "the first requests")
    b.popen.send_signal(signal.SIGINT)
    assert b.end(30)[1]["interrupted"]
    b = Bench(run, drips, *words)
    asked = drips.asked
    until(lambda: drips.asked > asked, 20, "its question")
    b.popen.send_signal(signal.SIGINT)
    assert b.popen.wait(30) in (1, -signal.SIGINT)
    assert os.listdir(b.sockets) == []


def test_slower_than_the_warm_up(run):
    """The first answers come when a request's time is over: each run waits for them, so that a pool that does little carries its rate."""
    backend = run.backend(delay_us=600_000)
    code, report, out = bench(run, backend, "--rate", 40, "--sizes", "40,64", "--seconds", 1, "--repeats", 1, "--warmup", 0.1)
    note = "each run warms up for"
    assert report["failure"] is None and any(note in text for text in report["verdict"]["notes"]) and note in out, out
    begins = [r["begin_s"] for r in report["runs"]]
    assert len(begins) == 3 and all(later - earlier >= 2 * 0.6 + 1 for earlier, later in zip(begins, begins[1:])), begins


def test_what_is_asked(run, tmp_path):
    """Methods, fields and bodies arrive; short clients and more than one backend too."""
    backend = [run.backend(workers=4, delay_us=2000), run.backend(workers=4, delay_us=2000)]
    body = tmp_path / "body"
    body.write_bytes(b"x" * 5000)
    code, report, out = bench(run, ",".join(b.text for b in backend), "--sizes", "2,4", "--repeats", 1, "--clients", 16,
                              "--keepalive", 0, "--method", "POST", "--body", body, *SHORT)
    assert report["failure"] is None and all(r["failed"] == 0 and r["done"] > 0 for r in report["runs"]), out
    for b in backend:
        stats = b.stats()
        assert stats["request_body_bytes"] >= 5000 * (stats["requests"] - 8) and stats["requests"] > 50
        assert stats["open_max"] <= 4
    assert {r["size"] for r in report["runs"]} == {2, 4} and all(r["clients"] == 16 for r in report["runs"])
    requests = tmp_path / "requests"
    requests.write_text("/a?size=10\nGET /b?size=20\n")
    code, report, out = bench(run, backend[0], "--sizes", "1,2", "--repeats", 1, "--rate", 200, "--requests-from", requests, *SHORT)
    assert report["failure"] is None and all(r["failed"] == 0 and r["rate"] == 200 for r in report["runs"]), out
    log = tmp_path / "access.log"
    line = '{"time":"2026-01-02T03:04:05.%03dZ","method":"%s","target":"/%d?size=10","host":"x","total_ms":1}\n'
    log.write_text("".join(line % (5 * n, "POST" if n % 10 == 9 else "GET", n) for n in range(200)) + '{"method":"GET","target":"/"}\n')
    name = f"localhost:{backend[0].text.rpartition(':')[2]}"
    code, report, out = bench(run, name, "--sizes", "1,2", "--repeats", 1, "--replay", log, *SHORT)
    assert report["failure"] is None and all(r["failed"] == 0 and r["done"] > 0 for r in report["runs"]), out
    assert report["runs"][0]["rate"] == pytest.approx(180, rel=0.05)
    assert any("20 lines" in note for note in report["verdict"]["notes"]) and "20 lines" in out, out
    assert any("1 lines" in note and "no time" in note for note in report["verdict"]["notes"]), out
    assert report["options"]["load"]["host"] == name == report["backends"][0]["name"] != report["backends"][0]["address"], out


def test_usage():
    for words, text in ((("-u", "127.0.0.1:1", "--rate", "5", "--clients", "5"), "give one of the two"), ((), "--upstream is needed"),
                        (("-u", "127.0.0.1:1", "--protocol", "fastcgi"), "--script")):
        code, out = proxy.lastack("bench", *words)
        assert code == 2 and text in out, (words, out)
    code, out = proxy.lastack("bench", "--help")
    assert code == 0 and "--slo" in out


@pytest.mark.parametrize("children", (4, 8, 16) if FULL else (4,))
def test_php(run, children):
    """php-fpm and a script that sleeps 20 ms and computes a little: its own word bounds the sizes, all children are of use, and
    the pool leaves one of them to others."""
    fpm = run.own(servers.PhpFpm(run.directory, children=children))
    until(lambda: len(fpm.children()) == children, 20, "its children")
    root = run.folder("www")
    with open(f"{root}/index.php", "w") as f:
        f.write("<?php usleep(20000); for ($i = 0, $x = ''; $i < 300; $i++) $x = md5($x); echo $x;")
    code, report, out = bench(run, fpm, "--protocol", "fastcgi", "--script", f"{root}/index.php", "--status-path", "/fpm-status",
                              "--repeats", scale(1, 3), *(() if FULL else ("--clients", 12, *SHORT)))
    assert report["backends"][0]["limit"] == children and report["backends"][0]["limit_name"] == "pm.max_children"
    assert max(r["size"] for r in report["runs"]) == children and all(r["failed"] == 0 for r in report["runs"]), out
    assert all(r["cpu_s"]["backend"] > 0 for r in report["runs"] if r["stage"] == "sweep"), "all its children are found"
    sensible(report)
    if report["verdict"]["answer"] == "size":
        assert report["verdict"]["size"] <= children - 1, out
    assert not FULL or (report["verdict"]["answer"] == "size" and report["verdict"]["bare"] >= 0.85 * children), out


def test_memcached(run):
    server = memcached.start(run)[0]
    code, report, out = bench(run, server, "--protocol", "memcached", "--sizes", "1,2", "--repeats", 1, "--keys", 500, *SHORT)
    assert report["backends"][0]["limit"] == 4000 and report["backends"][0]["limit_name"] == "maxconns"
    assert all(r["failed"] == 0 and r["done"] > 0 for r in report["runs"]), out
    assert server.stat("curr_items") == 500 and server.stat("get_misses") == 0


def test_memcached_that_holds_less(run):
    """Two workers; a server that stores nine values of ten and finds none of them again: both is said."""
    def handler(conn):
        while (line := conn.recv_line()) is not None:
            word = line.split()
            if word[0] == b"set":
                conn.data(int(word[4]) + 2)
                conn.send(b"SERVER_ERROR out of memory\r\n" if word[1].endswith(b"7") else b"STORED\r\n")
            elif word[0] == b"quit":
                return
            else:
                conn.send({b"version": b"VERSION 1\r\n"}.get(word[0], b"END\r\n"))
    fake = run.own(memcached.Fake(handler))
    code, report, out = bench(run, fake, "--protocol", "memcached", "--workers", 2, "--sizes", "2,3", "--repeats", 1, "--keys", 500,
                              "--clients", 4, *SHORT)
    assert report["failure"] is None and len(report["runs"]) == 3, out
    assert all(r["hits"] == 0 and r["misses"] > 0 for r in report["runs"]), out
    assert any("100 % of the gets missed" in note for note in report["verdict"]["notes"]), out
    assert any("only 450 of 500 keys" in note for note in report["verdict"]["notes"]), out


# ---- the full figures: LASTACK_FULL=1 ----

full = pytest.mark.skipif(not FULL, reason="minutes each: LASTACK_FULL=1")


def truth(workers, delay_us, contention_us):
    """The smallest size within 3 % of the best throughput."""
    def speed(n):
        busy = min(n, workers) if workers else n
        return busy / (delay_us + contention_us * busy * (busy - 1))
    best = max(speed(n) for n in range(1, 129))
    return next(n for n in range(1, 129) if speed(n) >= 0.97 * best)


@full
@pytest.mark.parametrize("workers,delay_us,contention_us,largest", [
    (4, 20000, 0, 16), (8, 10000, 0, 32), (12, 20000, 0, 64), (25, 30000, 0, 128), (0, 20000, 200, 64), (32, 20000, 60, 64)])
def test_known_truth(run, workers, delay_us, contention_us, largest):
    """Ten benches: at least nine name a size within 15 % of the true one."""
    best = truth(workers, delay_us, contention_us)
    found = []
    for _ in range(10):
        backend = run.own(run.backend(workers=workers, delay_us=delay_us, contention_us=contention_us))
        code, report, out = bench(run, backend, "--max", largest, "--seconds", 2, "--warmup", 0.3)
        found.append(report["verdict"]["bare"] if report["verdict"]["answer"] == "size" else report["verdict"]["reason"])
        backend.close()
    good = [size for size in found if isinstance(size, int) and abs(size - best) <= max(1, 0.15 * best)]
    assert len(good) >= 9, (best, found)


@full
def test_nginx_at_a_rate(run):
    """A rate that is far from what this host can do: a handful of connections carries it."""
    nginx = run.own(servers.Nginx(run.directory, 'location / { return 200 "hello"; }'))
    code, report, out = bench(run, nginx, "--max", 16, "--rate", 3000, "--slo", "p99=50ms")
    assert all(r["failed"] == 0 for r in report["runs"]), out
    assert (report["verdict"]["answer"], code) == ("size", 0) and report["verdict"]["bare"] <= 4, out


@full
def test_memcached_at_a_rate(run):
    """One connection carries many commands at a time: one is enough."""
    server = memcached.start(run)[0]
    code, report, out = bench(run, server, "--protocol", "memcached", "--rate", 10000, "--slo", "p99=50ms")
    assert all(r["failed"] == 0 for r in report["runs"]), out
    assert (report["verdict"]["answer"], code) == ("size", 0) and report["verdict"]["bare"] == 1, out


def test_little_is_not_enough(run):
    """A few answers name no size; quietly asked, it says so in a line, and nothing else."""
    backend = run.backend()
    log = os.path.join(run.directory, "access.log")
    with open(log, "w") as f:
        for second in 0, 1:
            f.write(f'127.0.0.1 - - [01/Jan/2026:00:00:0{second} +0000] "GET / HTTP/1.1" 200 5 "-" "-"\n')
    code, report, said = bench(run, backend, "-q", "--replay", log, "--speed", "10", "--sizes", "1,2", "--seconds", "0.3", "--warmup", "0", "--repeats", "1")
    assert code == 1 and report["verdict"]["answer"] == "cannot_tell"
    assert said.startswith("cannot tell: no size was answered more than ") and said.count("\n") == 1, said
