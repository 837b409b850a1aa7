"""Hosts made of network namespaces: a client, a proxy and a backend host, joined by veth pairs.

      client                  proxy                         backend
   10.77.1.2/24 ------- 10.77.1.1/24  10.77.2.1.. /24 ------- 10.77.2.100.. /24

In the proxy's host TIME_WAIT ports are not reused early (tcp_tw_reuse=0) and the range of local ports can be small.
Names carry a prefix of this run; everything is removed by close(), whatever failed before."""
import collections
import contextlib
import ctypes
import itertools
import os
import re
import subprocess

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000
_serial = itertools.count()
PREFIX = f"la{os.getpid():x}"

Socket = collections.namedtuple("Socket", "state local local_port remote remote_port recv_q send_q process")


def _ip(*words):
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()} (tests/hosts needs root and network namespaces)")
    return done.stdout


def _setns(fd):
    if _libc.setns(fd, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def _split(address):
    host, _, port = address.rpartition(":")
    host = host.strip("[]").split("%")[0]
    return host.removeprefix("::ffff:"), int(port) if port.isdigit() else 0


class Host:
    """One network namespace. The host with name None is the one the tests run in."""

    def __init__(self, name=None):
        self.name = name
        if name:
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")

    def command(self, words):
        return ["ip", "netns", "exec", self.name, *words] if self.name else list(words)

    def run(self, *words, check=True, timeout=60):
        return subprocess.run(self.command(words), check=check, capture_output=True, text=True, timeout=timeout).stdout

    def sysctl(self, **values):
        """sysctl(net__ipv4__tcp_tw_reuse=0): two underscores stand for a dot."""
        for key, value in values.items():
            self.run("sysctl", "-q", "-w", f"{key.replace('__', '.')}={value}")

    def add_address(self, device, address):
        _ip("-n", self.name, "address", "add", address, "dev", device, *(["nodad"] if ":" in address else []))

    def link(self, device, up):
        _ip("-n", self.name, "link", "set", device, "up" if up else "down")

    @contextlib.contextmanager
    def inside(self):
        """Sockets (and threads, and processes) made in this block belong to this host."""
        if not self.name:
            yield
            return
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            there = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
            try:
                _setns(there)
            finally:
                os.close(there)
            try:
                yield
            finally:
                _setns(home)
        finally:
            os.close(home)

    def sockets(self, states=(), to=None, port=None, local_port=None):
        """TCP sockets of this host as `ss` sees them. states: names as ss takes them ("established", "time-wait",
        "close-wait"); none: all but listening ones. to: the remote address; port: the remote port."""
        words = ["ss", "-tanHOp"]
        for state in states:
            words += ["state", state]
        found = []
        for line in self.run(*words).splitlines():
            part = line.split()
            if len(states) == 1:  # ss leaves the column out when there is only one state
                part.insert(0, states[0].upper())
            state, recv_q, send_q, local, remote = part[:5]
            local, lport = _split(local)
            remote, rport = _split(remote)
            if state == "LISTEN" and "listening" not in states:
                continue
            if (to and remote != to) or (port and rport != port) or (local_port and lport != local_port):
                continue
            process = re.search(r'"([^"]+)",pid=(\d+)', line)
            found.append(Socket(state, local, lport, remote, rport, int(recv_q), int(send_q),
                                int(process.group(2)) if process else None))
        return found

    def count(self, *states, **where):
        return len(self.sockets(states, **where))

    def listens(self, port):
        return any(s.local_port == port for s in self.sockets(("listening",)))

    def close(self):
        if self.name:
            for pid in subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True).stdout.split():
                with contextlib.suppress(OSError):
                    os.kill(int(pid), 9)
            subprocess.run(["ip", "netns", "delete", self.name], capture_output=True)


class Net:
    """The three hosts above. ports: local ports that the proxy's host has; sources: its addresses towards the backend."""
    CLIENT, PROXY = "10.77.1.2", "10.77.1.1"

    def __init__(self, ports=None, sources=1, backends=1, v6=False):
        name = f"{PREFIX}x{next(_serial)}"
        self.sources = [f"10.77.2.{n + 1}" for n in range(sources)]
        self.backends = [f"10.77.2.{n + 100}" for n in range(backends)]
        self.hosts = []
        try:
            self.client, self.proxy, self.backend = (self._host(name + letter) for letter in "cpb")
            _ip("link", "add", "c0", "netns", self.client.name, "type", "veth", "peer", "name", "p0", "netns", self.proxy.name)
            _ip("link", "add", "p1", "netns", self.proxy.name, "type", "veth", "peer", "name", "b0", "netns", self.backend.name)
            self.client.add_address("c0", f"{self.CLIENT}/24")
            self.proxy.add_address("p0", f"{self.PROXY}/24")
            for address in self.sources:
                self.proxy.add_address("p1", f"{address}/24")
            for address in self.backends:
                self.backend.add_address("b0", f"{address}/24")
            if v6:
                self.proxy.add_address("p1", "fd77:2::1/64")
                self.backend.add_address("b0", "fd77:2::100/64")
            self.client.link("c0", True), self.proxy.link("p0", True)
            self.proxy.link("p1", True), self.backend.link("b0", True)
            for host in self.hosts:
                host.sysctl(net__ipv4__tcp_tw_reuse=0, net__core__somaxconn=4096, net__ipv4__tcp_max_syn_backlog=4096,
                            net__ipv4__tcp_max_tw_buckets=262144)
            # Clients come from short connections: their host must not run out of ports itself.
            self.client.sysctl(net__ipv4__ip_local_port_range="1024 65000", net__ipv4__tcp_tw_reuse=1)
            if ports:
                self.proxy.sysctl(net__ipv4__ip_local_port_range=f"40000 {40000 + ports - 1}")
        except BaseException:
            self.close()
            raise

    def _host(self, name):
        host = Host(name)
        self.hosts.append(host)
        return host

    def close(self):
        for host in self.hosts:
            host.close()
        self.hosts = []


def leftovers():
    """Namespaces of this run that still exist."""
    return [line.split()[0] for line in _ip("netns", "list").splitlines() if line.startswith(PREFIX)]


HERE = Host()
