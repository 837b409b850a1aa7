"""As many idle clients as the limit of descriptors allows; at the limit accepting stops, without a spin, and goes on."""
import resource
import time

from harness.proxy import KIND
from harness.raw import Client, request
from harness.wait import scale, until

LIMIT = scale(2200, 20000)  # descriptors of the proxy


def allow_descriptors():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def idle_clients(port, count):
    """Keep-alive clients that have been answered once."""
    clients = [Client(port, timeout=30) for _ in range(count)]
    for at in range(0, count, 200):
        for c in clients[at:at + 200]:
            c.send(request("/"))
        for c in clients[at:at + 200]:
            assert c.final().status == 200
    return clients


def close_all(clients):
    for c in clients:
        c.close()


def at_the_limit(run, proxy, port, clients, line):
    """Everything is taken: newcomers wait, nothing spins, one line says so; when clients leave, newcomers are served."""
    late = [Client(port, timeout=30) for _ in range(20)]
    for c in late:
        c.send(request("/late"))
    until(lambda: line in proxy.log(), 10, "the line in the log")
    cpu, start = proxy.process.cpu_seconds(), time.monotonic()
    time.sleep(2)  # what is measured: the CPU time of two seconds at the limit
    spent = (proxy.process.cpu_seconds() - cpu) / (time.monotonic() - start)
    assert spent < 0.2, f"{spent:.0%} of a CPU while nothing can be accepted"
    assert proxy.log().count(line) == 1
    for c in late:
        c.sock.settimeout(0.01)
    waiting = 0
    for c in late:
        try:
            waiting += not c.fill()
        except TimeoutError:
            waiting += 1
    assert waiting > 0, "newcomers wait"
    close_all(clients[:len(clients) // 2])
    for c in late:
        c.sock.settimeout(10)
        assert c.final().status == 200
    assert clients[-1].ask("/still").status == 200
    close_all(late)


def test_idle_clients_up_to_the_limit(run):
    allow_descriptors()
    backend = run.backend(size=10)
    proxy, port = run.front([backend], workers=2, pool={"max": 8}, fd_limit=LIMIT, listener={"timeouts": {"keepalive": "10m"}})
    count = proxy.status()["limits"]["clients"]
    assert count > 0.9 * LIMIT - 100
    count = min(count, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200)
    warm = idle_clients(port, 50)
    before = proxy.process.rss()
    clients = idle_clients(port, count - len(warm))
    each = (proxy.process.rss() - before) / len(clients)
    print(f"{count} idle clients: {each:.0f} bytes of memory each in the proxy")
    assert KIND != "release" or each < 4096, f"{each:.0f} bytes for each idle client"
    assert proxy.process.descriptors() < LIMIT
    if count == proxy.status()["limits"]["clients"]:
        at_the_limit(run, proxy, port, clients, "limits.clients reached")
    close_all(clients + warm)
    until(lambda: proxy.metrics().sum("lastack_client_connections") == 0, 20, "all clients to be gone")
    assert backend.stats()["open_max"] <= 8


def test_descriptors_run_out(run):
    """limits.clients promises more than the process may open: accept() itself fails."""
    backend = run.backend(size=10)
    proxy, port = run.front([backend], workers=2, pool={"max": 8}, fd_limit=300, limits={"clients": 100000},
                            listener={"timeouts": {"keepalive": "10m"}})
    clients = idle_clients(port, 200)
    while proxy.process.descriptors() < 299 and len(clients) < 300:
        c = Client(port, timeout=30)
        c.send(request("/"))
        clients.append(c)
    at_the_limit(run, proxy, port, clients[:200], "cannot accept clients")
    close_all(clients)
    until(lambda: proxy.metrics().sum("lastack_client_connections") == 0, 10, "all clients to be gone")
    clients = idle_clients(port, 200)
    close_all(clients)
