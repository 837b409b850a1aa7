"""What does not fit is refused with its place, its reason and what would be right; a running proxy stays as it is."""
import os
import re
import signal
import socket
import subprocess
import time

import pytest
import yaml

from harness import raw
from harness.proxy import BIN, config, free_port, lastack
from harness.raw import Client, get
from harness.wait import until


def written(directory, conf):
    path = os.path.join(str(directory), "site.yaml")
    with open(path, "w") as f:
        f.write(conf if isinstance(conf, str) else yaml.safe_dump(conf, sort_keys=False))
    return path


def app(**more):
    return {"app": {"servers": ["127.0.0.1:8081"], **more}}


def site(upstream=None, **more):
    return config(app(**(upstream or {})), f"127.0.0.1:{free_port()}", **more)


def test_port_in_use(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        path = written(tmp_path, config(app(), address))
        code, out = lastack("run", path)
        assert code == 1 and f"cannot listen on {address}" in out and "in use" in out, out
        assert f"{path}:" in out and "listen[0].address" in out
        code, out = lastack("run", written(tmp_path, site(admin={"address": address})))
        assert code == 1 and re.search(r"site.yaml:\d+:\d+: admin.address: cannot listen on .* in use; another process uses it", out), out


BAD = [
    ("unknown user", site(user="nobody-of-this-name"), "user: there is no user"),
    ("source not local", site({"source": ["192.0.2.7"]}), "upstreams.app.source[0]: 192.0.2.7 is not an address of this host"),
    ("no source local", site({"source": ["192.0.2.7", "192.0.2.8"]}), "upstreams.app.source[1]: 192.0.2.8 is not an address of this host"),
    ("listener not local", config(app(), "192.0.2.7:8080"), "listen[0].address: 192.0.2.7 is not an address of this host"),
    ("families", site({"source": ["::1"]}), "upstreams.app.servers[0]: server 127.0.0.1:8081 is IPv4, but source ::1 is IPv6"),
    ("no such folder", site({"buffer": {"dir": "/nowhere/at/all"}}), "upstreams.app.buffer.dir: /nowhere/at/all"),
    ("log folder", site(log={"access": "/nowhere/access.log"}), "log.access:"),
    ("unix folder", config(app(), "unix:/nowhere/lastack.sock"), "listen[0].address:"),
    ("pool of 0", site({"pool": {"max": 0}}), "upstreams.app.pool.max: 0 is out of range, must be from 1 to 65535"),
    ("pool too big", site({"pool": {"max": 70000}}), "upstreams.app.pool.max: 70000 is out of range"),
    ("weight", config({"app": {"servers": [{"address": "127.0.0.1:1", "weight": 0}]}}, "127.0.0.1:8080"), "servers[0].weight: 0"),
    ("duration", site(drain_timeout="2d"), "drain_timeout: "),
    ("negative", site({"queue": {"length": -1}}), "upstreams.app.queue.length: -1 is out of range"),
    ("size", site(limits={"memory": "1KiB"}), "limits.memory: "),
    ("no such upstream", config(app(), [{"address": "127.0.0.1:8080", "upstream": "other"}]), "listen[0].upstream: "),
    ("more tunnels than places", site({"pool": {"max": 4, "tunnels": 5}}), "upstreams.app.pool.tunnels: "),
    ("port 0", config({"app": {"servers": ["127.0.0.1:0"]}}, "127.0.0.1:8080"), "upstreams.app.servers[0]"),
]


@pytest.mark.parametrize("conf, said", [x[1:] for x in BAD], ids=[x[0].replace(" ", "_") for x in BAD])
def test_refused_with_its_place(tmp_path, conf, said):
    """By check and by run, in the same words, with file, line and column."""
    path = written(tmp_path, conf)
    for command in ("check", "run"):
        code, out = lastack(command, path)
        assert code == 1, f"{command}: {out}"
        lines = [x for x in out.splitlines() if said in x and not x.startswith("warning:")]
        assert lines and lines[0].startswith(f"{path}:"), out
        assert all(part.isdigit() for part in lines[0].removeprefix(f"{path}:").split(":")[:2]), out


@pytest.mark.parametrize("make", [lambda p: None, os.mkdir, lambda p: open(p, "wb").write(b"\xff\xfe\x00"),
                                  lambda p: open(p, "w").write("listen: [\n")], ids=["missing", "folder", "binary", "not_yaml"])
def test_unreadable_file(tmp_path, make):
    path = os.path.join(str(tmp_path), "site.yaml")
    make(path)
    for command in ("check", "run"):
        code, out = lastack(command, path)
        assert code == 1 and path in out and len(out.splitlines()) == 1, out


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_file_without_permission(tmp_path):
    path = written(tmp_path, site())
    os.chmod(path, 0)
    done = subprocess.run([BIN, "check", path], capture_output=True, text=True, user="nobody", group="nogroup", extra_groups=[])
    assert done.returncode == 1 and "Permission denied" in done.stderr and path in done.stderr, done


@pytest.mark.parametrize("words", [[], ["no-such-command"], ["run"], ["check"], ["run", "--listen", ":8080"], ["run", "--no-such-option"],
                                   ["run", "a.yaml", "b.yaml"], ["run", "a.yaml", "--pool", "3"], ["check", "a", "b"],
                                   ["schema", "x"], ["ports", "--no-such-option"], ["doctor", "--no-such-option"],
                                   ["demo", "--seconds", "x"], ["bench", "-u", "foo"]], ids=lambda w: "_".join(w) or "nothing")
def test_wrong_usage(words):
    code, out = lastack(*words)
    assert code == 2 and re.search("usage:|--help", out), out
    if words and words[0] in ("run", "check", "schema"):
        assert re.match(r"(lastack )?\w+: .+\nTry 'lastack \w+ --help'.\n$", out), "one line says what is wrong"


def test_usage_says_which_option():
    assert "--seconds 1: must be from 8 to 600" in lastack("demo", "--seconds", "1")[1]
    for upstream, bare in ("foo", "foo"), ("127.0.0.1:80,[::1]", "[::1]"), ("127.0.0.1", "127.0.0.1"), ("a:80,foo:", "foo:"):
        code, out = lastack("bench", "-u", upstream)
        assert code == 2 and f"--upstream {bare}: the port is missing" in out, out


def test_demo_looks_at_its_address_first():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        code, out = lastack("demo", "--stay", "--listen", address)
    assert (code, out) == (1, f"lastack demo: --listen {address}: Address already in use\n")
    code, out = lastack("demo", "--listen", address)
    assert code == 2 and "--listen is where --stay serves" in out, out


def test_ports_asks_a_lastack(run):
    """An answer to /metrics does not make a server a lastack."""
    other = run.origin()
    code, out = lastack("ports", "--admin", other.text)
    assert code == 1 and f"{other.text} answered /metrics" in out and "is this a lastack admin listener?" in out, out
    code, out = lastack("ports", "--admin", "x")
    assert code == 2 and out.startswith("lastack ports: --admin x: "), out


def test_version_and_help_by_every_name():
    for words in ("--version", "-v", "version"), ("--help", "-h", "help"):
        said = {lastack(word) for word in words}
        assert len(said) == 1 and {code for code, _ in said} == {0} and "lastack" in said.pop()[1]
    assert "--version" in lastack("--help")[1] and "-c, --config" in lastack("check", "--help")[1]


@pytest.mark.parametrize("command", ["", "run", "check", "schema", "demo", "ports", "doctor"])
def test_help(command):
    code, out = lastack(*filter(None, [command, "--help"]))
    assert code == 0 and out.startswith("usage: lastack"), out


def test_quick_mode_says_what_is_wrong():
    words = ("run", "--listen", f"127.0.0.1:{free_port()}", "--upstream")
    code, out = lastack(*words, "127.0.0.1:81,x", "--workers", "0", "--pool", "0", "--source", "y", "--admin", "z")
    assert code == 1 and "command line" not in out and "upstreams." not in out, out
    for told in ('--upstream: "x": the port is missing', "--workers: 0 is out of range", "--pool: 0 is out of range", '--source: "y" is wrong',
                 '--admin: "z" is wrong'):
        assert any(line.startswith(told) for line in out.splitlines()), (told, out)
    code, out = lastack(*words, "127.0.0.1:81", "--source", "192.0.2.1")
    assert code == 1 and out.startswith("--source: 192.0.2.1 is not an address of this host"), out


@pytest.mark.parametrize("option, value", [("--pool", "zero"), ("--pool", ""), ("--pool", "3, tunnels: 2"), ("--pool", "-1"),
                                           ("--workers", "1 # x"), ("--workers", "1.5"), ("--source", ""), ("--source", "127.0.0.1,"),
                                           ("--listen", ":1,,:2"), ("--upstream", ",127.0.0.1:1")])
def test_quick_mode_takes_values_alone(option, value):
    words = {"--listen": "127.0.0.1:1", "--upstream": "127.0.0.1:1", option: value}
    code, out = lastack("run", *(word for pair in words.items() for word in pair))
    assert code == 2 and out.startswith(f"lastack run: {option} '{value}': "), out


def test_a_bad_reload_changes_nothing(run):
    origin = run.origin()
    lastack_, port = run.front([origin], workers=1)  # a poke that is late would mean a dial
    with Client(port) as c:
        assert c.ask().status == 200
        for n, text in enumerate(["listen: [", "upstreams: {}\n",
                                  yaml.safe_dump({**lastack_.conf, "upstreams": {"app": {"servers": [origin.text], "pool": {"maxx": 1}}}})]):
            with open(lastack_.conf_path, "w") as f:
                f.write(text)
            lastack_.process.signal(signal.SIGHUP)
            until(lambda n=n: lastack_.reloads("failed") == n + 1, 10, "the reload to fail")
            assert c.ask().status == 200
        assert get(port).status == 200
    assert len(origin.connections) == 1, "the pool was kept"
    log = lastack_.log()
    assert "upstreams.app.pool.maxx: unknown key" in log and "reload failed" in log
    assert lastack_.reloads() == 0


def test_a_reload_to_a_taken_port_changes_nothing(run):
    origin = run.origin()
    lastack_, port = run.front([origin])
    other = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        conf = config({"app": {"servers": [origin.text]}},
                      [{"name": "new", "address": f"127.0.0.1:{other}", "upstream": "app"},
                       {"name": "taken", "address": "127.0.0.1:%d" % taken.getsockname()[1], "upstream": "app"}])
        lastack_.reload(conf, expect="failed")
    assert get(port).status == 200, "the old listener is still there"
    with pytest.raises(ConnectionRefusedError):
        get(other)
    assert "cannot listen on" in lastack_.log()


def test_memory_over_its_bound(run):
    """New work gets 503 while the bound is reached; the process lives and recovers."""
    origin = run.origin()
    lastack_, port = run.front([origin], limits={"memory": "1MiB"}, buffer={"request": "256KiB", "response_file": 0})
    holders, refused = [], 0
    try:
        for _ in range(30):
            c = Client(port)
            holders.append(c)
            c.send(raw.request("/", "POST", "Content-Length: 200000\r\n"))
            try:
                c.send(b"x" * 190000)
            except ConnectionError:
                pass
        until(lambda: "limits.memory" in lastack_.log() or lastack_.metrics().sum("lastack_errors_total", cause="memory_limit") > 0,
              10, "the bound to be reached")
        for c in holders:
            c.sock.settimeout(0.2)
            try:
                answer = c.final()
            except socket.timeout:
                continue  # one of those whose body is held
            assert answer.status == 503 and "memory_limit" in answer.get("Proxy-Status")
            refused += 1
        assert 20 <= refused < 30
    finally:
        for c in holders:
            c.close()
    until(lambda: lastack_.metrics().sum("lastack_memory_used_bytes") < 300000, 10, "the memory to come back")
    assert get(port, method="POST", body=b"y" * 100000).status == 200
    log = [x for x in lastack_.log().splitlines() if "limits.memory" in x]
    assert len(log) <= 2, "one line per 10 s"


@pytest.mark.parametrize("size", [20, 400])
def test_no_memory_for_a_head(run, size):
    """Even a client for whose head there is no room hears 503."""
    origin = run.origin()
    lastack_, port = run.front([origin], limits={"memory": "1MiB"}, listener={"timeouts": {"head": "30s"}})
    holders = []
    try:
        for _ in range(size):
            c = Client(port)
            c.send(b"GET / HTTP/1.1\r\nHost: x\r\nX-Unfinished: ")
            holders.append(c)
        if size == 20:
            assert get(port).status == 200
        else:
            until(lambda: "limits.memory" in lastack_.log(), 10, "the bound to be reached")
            c = Client(port)
            c.send(raw.request())
            answer = c.final()
            assert answer.status == 503
            c.close()
    finally:
        for c in holders:
            c.close()
    until(lambda: get(port).status == 200, 10, "it to recover")


def test_out_of_descriptors(run):
    """It stops accepting, says so once, does not spin, and goes on when clients leave."""
    origin = run.origin()
    lastack_, port = run.front([origin], fd_limit=80, limits={"clients": 1000}, workers=1)
    holders = []
    try:
        for _ in range(120):
            holders.append(Client(port))
            holders[-1].send(b"GET / HTTP/1.1\r\n")
        until(lambda: "cannot accept clients" in lastack_.log(), 10, "the log line")
        before = lastack_.process.cpu_seconds()
        time.sleep(1)  # what it uses in this second is the question
        assert lastack_.process.cpu_seconds() - before < 0.3
    finally:
        for c in holders:
            c.close()
    until(lambda: get(port).status == 200, 10, "it to accept again")
    assert len([x for x in lastack_.log().splitlines() if "cannot accept clients" in x]) == 1


def test_more_clients_than_allowed_wait(run):
    """limits.clients: the ones over it wait in the kernel's queue and are served when others leave."""
    origin = run.origin()
    lastack_, port = run.front([origin], limits={"clients": 5}, workers=1)
    holders = [Client(port) for _ in range(5)]
    for c in holders:
        assert c.ask().status == 200
    with Client(port, timeout=10) as late:
        late.send(raw.request())
        until(lambda: "limits.clients reached" in lastack_.log(), 5, "the log line")
        assert lastack_.metrics().sum("lastack_client_connections") == 5
        holders.pop().close()
        assert late.final().status == 200
    for c in holders:
        c.close()


def test_clients_of_one_address(run):
    origin = run.origin()
    lastack_, port = run.front([origin], limits={"clients_per_address": 3})
    holders = [Client(port) for _ in range(3)]
    for c in holders:
        assert c.ask().status == 200
    with Client(port) as over:
        with pytest.raises((OSError, raw.Gone)):
            over.ask()
    for c in holders:
        c.close()
    until(lambda: lastack_.metrics().sum("lastack_client_connections") == 0, 5, "them to leave")
    assert get(port).status == 200
    assert lastack_.metrics().sum("lastack_clients_refused_total") == 1


@pytest.mark.parametrize("few, many", [("", ""), (":20000-20099", ":20000-29999")], ids=["any_port", "own_range"])
def test_a_source_that_is_not_there(run, few, many):
    """Said at the start, and again when it is tried; all connections go over the other one."""
    origin = run.origin(answer=lambda r: (200, b"x", "Connection: close\r\n"))
    lastack, port = run.front([origin], source=["127.0.0.2" + few, "192.0.2.7" + many], workers=1)
    with Client(port) as c:
        assert [c.ask("/").status for _ in range(20)] == [200] * 20
    assert len(origin.connections) == 20
    m = lastack.metrics()
    assert m.sum("lastack_connections_opened_total", source="127.0.0.2") == 20
    assert m.sum("lastack_connections_opened_total", source="192.0.2.7") == 0
    until(lambda: re.search(r"source 192\.0\.2\.7 is not an address of this host: connections to \S+ \(app\) go over the other", lastack.log()),
          5, "a line in the log")
    assert "upstreams.app.source[1]: 192.0.2.7 is not an address of this host: until it is" in lastack.log()
