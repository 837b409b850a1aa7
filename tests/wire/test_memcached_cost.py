"""What lines cost, in system calls: nothing waits that could go on, and nothing is asked of the kernel twice."""
import os
import re
import subprocess

import pytest

from harness import memcached as mc
from harness.proxy import KIND
from harness.wait import until

pytestmark = pytest.mark.skipif(KIND != "release", reason="sanitizers and strace both want ptrace")
CALLS = "epoll_wait,epoll_pwait,epoll_pwait2,recvfrom,sendto,sendmsg"


def traced(run, pid, play):
    """The worker's calls while play() runs: (name, text, result)."""
    path = os.path.join(run.directory, "trace")
    p = subprocess.Popen(["strace", "-f", "-q", "-s", "64", "-e", f"trace={CALLS}", "-o", path, "-p", str(pid)])
    try:
        tasks = f"/proc/{pid}/task"
        until(lambda: all(re.search(r"TracerPid:\s+[1-9]", open(f"{tasks}/{t}/status").read()) for t in os.listdir(tasks)), 20, "strace")
        play()
    finally:
        p.terminate()
        p.wait(20)
    threads = {}
    with open(path) as f:
        for line in f:
            thread, text = line.rstrip().split(None, 1)
            known = threads.setdefault(thread, [])
            if text.endswith("<unfinished ...>"):
                known.append(text.removesuffix("<unfinished ...>"))
            elif text.startswith("<... "):
                if known:
                    known[-1] += re.sub(r"^<\.\.\. \S+ resumed>", "", text)
            else:
                known.append(text)
    worker = max(threads.values(), key=lambda calls: sum("get " in c for c in calls))
    found = []
    for text in worker:
        m = re.fullmatch(r"(\w+)\((.*)\)\s+= (-?\d+).*", text)
        if m:
            found.append((m[1], m[2], int(m[3])))
    return found


def test_a_get_is_passed_on_in_the_turn_in_which_it_came(run):
    """One client, one get after the other: two turns of the loop, each wakes by a socket, reads it and writes the other."""
    server, = mc.start(run)
    p, port = mc.front(run, [server], top={"workers": 1}, timeouts={"response": "20s"})
    with mc.Client(port) as c:
        assert c.set(b"k", b"v" * 100) == b"STORED\r\n"

        def gets():
            for _ in range(200):
                assert c.get(b"k") == {b"k": b"v" * 100}
        calls = traced(run, p.process.pid, gets)
    woken = sum(r > 0 for name, _, r in calls if name.startswith("epoll"))
    moves = [(t, r) for name, t, r in calls if not name.startswith("epoll") and "MSG_PEEK" not in t]
    vain = [t for t, r in moves if r <= 0]
    assert len(moves) - len(vain) == 800 and len(vain) <= 8, vain
    assert 400 <= woken <= 420, woken
    since = None  # what was read in this turn
    for name, text, result in calls:
        word = re.search(r'"(get|VALUE)', text)
        if name.startswith("epoll"):
            assert since is None, f"{since} was read and not written before the next wait"
        elif word and name == "recvfrom" and result > 0:
            since = word[1]
        elif word and name in ("sendto", "sendmsg"):
            assert since == word[1], f"{word[1]} written in a turn in which {since} was read"
            since = None


def test_many_keys_look_once_at_each_server(run):
    servers = mc.start(run, 3)
    p, port = mc.front(run, servers, top={"workers": 1}, timeouts={"response": "20s"})
    keys = [b"key:%04d" % i for i in range(1000)]
    with mc.Client(port) as c:
        for k in keys:
            assert c.set(k, k) == b"STORED\r\n"
        calls = traced(run, p.process.pid, lambda: c.get(*keys) == {k: k for k in keys} or pytest.fail("wrong values"))
    assert sum("MSG_PEEK" in t for _, t, _ in calls) <= 3
    asked = [r for name, t, r in calls if name in ("sendto", "sendmsg") and '"get ' in t]
    assert 3 <= len(asked) <= 15, asked  # about a kilobyte each: 1,000 keys of 9 bytes are 9
