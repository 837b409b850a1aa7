"""SIGTERM: what is under way is finished, then the process ends; a second one ends it at once."""
import contextlib
import ctypes
import os
import signal
import socket
import threading
import time

import pytest

from harness.peers import FAILURES
from harness.raw import Client, get, held, request
from harness.wait import until

pytestmark = pytest.mark.sanitizer  # leaks show at the end: exit 0 is asked for everywhere

CLIENTS = 64
PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000


def waiting(backend, port, count, target):
    clients = [Client(port, timeout=30) for _ in range(count)]
    for c in clients:
        c.send(request(target))
    until(lambda: backend.stats()["busy"] == count, 10, "the requests to arrive")
    return clients


def test_requests_under_way_are_finished(run):
    """24 at the backend, 40 in the line behind them."""
    gate = threading.Event()
    origin = run.origin(held(gate))
    proxy, port = run.front([origin], workers=4, pool={"max": 24}, drain_timeout="20s", queue={"timeout": "20s"})
    clients = [Client(port, timeout=30) for _ in range(64)]
    for c in clients:
        c.send(request("/"))
    until(lambda: len(origin.requests) == 24 and proxy.metrics().sum("lastack_queue_length") == 40, 10, "24 at work, and the others to wait")
    proxy.process.signal(signal.SIGTERM)
    until(lambda: "draining" in proxy.log(), 10, "the drain")
    gate.set()
    for c in clients:
        r = c.final()
        assert r.status == 200 and "close" in r.get("Connection", "").lower() and c.at_end()
    assert proxy.stop(timeout=10) == 0


def test_under_load(run):
    """Short clients: who was accepted is served; who comes later is refused, by the kernel."""
    backend = run.backend(delay_us=5000)
    proxy, port = run.front([backend], workers=4, pool={"max": 8}, drain_timeout="10s")
    load = run.load(port, clients=CLIENTS, duration_ms=600000)
    until(lambda: backend.stats()["requests"] > 500, 20, "the load")
    start = time.monotonic()
    code = proxy.stop(timeout=10)
    took = time.monotonic() - start
    result = load.stop()
    # A connection that the kernel completes between a worker's last accept and its close of the listener is reset by the
    # kernel: at most once for each client, nothing of it was read, and the counts below say that nothing that was read is
    # lost.
    bad = {k: result[k] for k in FAILURES if result[k] and k not in ("refused", "reset")}
    assert code == 0 and not bad, (code, bad, result["first_failure"])
    assert result["refused"] > 0 and result["reset"] <= CLIENTS, result
    assert took < 8, "long before drain_timeout"
    seen = backend.stats()
    assert seen["responses"] == seen["requests"] == result["done"] and seen["aborted"] == 0


def test_ends_within_drain_timeout(run):
    backend = run.backend()
    proxy, port = run.front([backend], drain_timeout="1s")
    clients = waiting(backend, port, 8, "/?delay_ms=60000")
    start = time.monotonic()
    assert proxy.stop(timeout=10) == 0
    assert time.monotonic() - start > 0.9
    assert all(c.at_end() or c.final().status >= 500 for c in clients)


def test_idle_clients_do_not_hold_it(run):
    backend = run.backend()
    proxy, port = run.front([backend], drain_timeout="20s", listener={"timeouts": {"head": "3s"}})
    with Client(port) as idle, Client(port) as half:
        assert idle.ask("/").status == 200
        half.send("GET / HT")
        until(lambda: proxy.metrics().sum("lastack_client_connections") == 2, 5, "both to be accepted")
        start = time.monotonic()
        assert proxy.stop(timeout=10) == 0
        assert time.monotonic() - start < 10, "long before drain_timeout"
        assert idle.at_end() and (half.at_end() or half.final().status == 408)


def test_second_signal_ends_at_once(run):
    backend = run.backend()
    proxy, port = run.front([backend], drain_timeout="60s")
    clients = waiting(backend, port, 8, "/?delay_ms=60000")
    proxy.process.signal(signal.SIGTERM)
    until(lambda: "draining" in proxy.log(), 5, "the drain")
    assert proxy.process.alive()
    start = time.monotonic()
    assert proxy.stop(timeout=5) == 0
    assert time.monotonic() - start < 10, "long before drain_timeout"
    for c in clients:
        c.close()


def ptrace(what, thread):
    if ctypes.CDLL(None, use_errno=True).ptrace(what, thread, None, None) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")


@contextlib.contextmanager
def traced(thread):
    """Stops one thread of another process."""
    ptrace(PTRACE_SEIZE, thread)
    ptrace(PTRACE_INTERRUPT, thread)
    assert os.WIFSTOPPED(os.waitpid(thread, WALL)[1])
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            ptrace(PTRACE_DETACH, thread)


def test_second_signal_ends_it_without_a_worker_that_hangs(run):
    """One that a tracer has stopped stands for one in a call that does not return."""
    proxy, _ = run.front([run.backend()], workers=2)
    tasks = f"/proc/{proxy.process.pid}/task"
    worker = next(int(t) for t in os.listdir(tasks) if open(f"{tasks}/{t}/comm").read() == "worker-01\n")
    with traced(worker):
        proxy.stopped = True
        proxy.process.signal(signal.SIGTERM)
        until(lambda: "draining" in proxy.log(), 5, "the drain")
        proxy.process.signal(signal.SIGTERM)
        until(lambda: os.waitpid(worker, WALL | os.WNOHANG)[0], 20, "the end")  # nobody else hears of it before
        assert proxy.process.wait(10) == 1
    assert "1 of 2 workers" in proxy.log()


def test_another_process_takes_over(run):
    """SIGUSR2 changes nothing and says how: beside this one, then this one drains."""
    backend = run.backend()
    first, port = run.front([backend])
    first.process.signal(signal.SIGUSR2)
    until(lambda: "SIGUSR2: a new binary cannot take over" in first.log(), 5, "the advice")
    run.proxy({k: v for k, v in first.conf.items() if k != "admin"})
    assert first.stop(timeout=10) == 0
    assert get(port).status == 200


def ask(path):
    """How the answer of a Unix listener begins; None: nobody listens."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        try:
            s.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        s.sendall(request("/", headers="Connection: close\r\n"))
        return s.recv(12)


def test_the_path_of_a_unix_listener_is_the_successors(run):
    """The one that drains has nothing to do with it any more, when the next one has taken it over."""
    go, path = threading.Event(), f"{run.directory}/front.sock"
    origin = run.origin(answer=lambda r: (200 if r.target != "/slow" or go.wait(60) else 500, b"", ""))
    first, port = run.front([origin])
    first.reload({**first.conf, "listen": [*first.conf["listen"], {"name": "local", "address": f"unix:{path}", "upstream": "app"}]})
    client = run.own(Client(port, timeout=30))
    client.send(request("/slow"))
    until(lambda: origin.requests, 5, "the request")
    first.process.signal(signal.SIGTERM)
    until(lambda: ask(path) is None, 5, "the listener to close")
    run.proxy({k: v for k, v in first.conf.items() if k != "admin"})
    go.set()
    assert client.final().status == 200
    assert first.stop(timeout=10) == 0
    assert ask(path) == b"HTTP/1.1 200"


def test_the_paths_of_unix_sockets_go(run):
    path = {key: f"{run.directory}/{key}.sock" for key in ("admin", "front")}
    proxy, _ = run.front([run.backend()], admin={"address": f"unix:{path['admin']}"}, listener={"address": f"unix:{path['front']}"}, ready=False)
    until(lambda: ask(path["front"]) == b"HTTP/1.1 200" and ask(path["admin"]), 20, "both to answer")
    assert proxy.stop(timeout=10) == 0
    assert not any(map(os.path.exists, path.values()))


def test_the_path_of_a_unix_listener_goes_when_the_start_fails(run):
    first, _ = run.front([run.backend()])
    path = f"{run.directory}/front.sock"
    second, _ = run.front([run.backend()], admin={"address": f"127.0.0.1:{first.admin_port}"}, listener={"address": f"unix:{path}"}, ready=False)
    second.stopped = True
    assert second.process.wait(20) == 1
    assert "admin.address: cannot listen" in second.log() and not os.path.exists(path)
