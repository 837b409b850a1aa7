"""The access log in both formats, reopening, limits of the error log, Proxy-Status."""
import contextlib
import json
import os
import re
import shutil
import signal
import tempfile
import threading
import time

import pytest
import yaml

from harness import raw
from harness.disk import Disk
from harness.peers import clean
from harness.proxy import Proxy, config, free_port
from harness.proxy import lastack as lastack_
from harness.raw import Client, get
from harness.wait import until

FIELDS = {"time": str, "listener": str, "client": str, "method": str, "host": str, "target": str, "status": int, "bytes_in": int,
          "bytes_out": int, "upstream": str, "server": str, "source": str, "connection": int, "reuse": int, "queue_ms": (int, float),
          "connect_ms": (int, float), "backend_ms": (int, float), "total_ms": (int, float), "retries": int, "error": str,
          "user_agent": str, "referer": str}


def lines(lastack, count):
    return until(lambda: len(lastack.access()) >= count and lastack.access(), 5, f"{count} lines in the access log")


def test_json(run):
    origin = run.origin(answer=lambda r: (201, b"x" * 1000, ""))
    lastack, port = run.front([origin], source=["127.0.0.1"], workers=1)
    with Client(port) as c:
        c.ask("/a?b=c", "POST", 'User-Agent: me "quoted" \\ \xe9\r\nReferer: http://x/\r\n', b"12345", host="Site.Test:80")
        c.ask("/second")
    first, second = lines(lastack, 2)
    for line in (first, second):
        assert set(line) == set(FIELDS)
        for name, kind in FIELDS.items():
            assert isinstance(line[name], kind), (name, line[name])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
        assert 0 <= line["queue_ms"] + line["backend_ms"] <= line["total_ms"] + 0.01, line
    assert first["method"] == "POST" and first["target"] == "/a?b=c" and first["host"].lower().startswith("site.test")
    assert first["listener"] == "web" and first["client"] == "127.0.0.1" and first["status"] == 201
    assert first["bytes_in"] == 5 and first["bytes_out"] >= 1000
    assert first["upstream"] == "app" and first["server"] == origin.text and first["source"] == "127.0.0.1"
    assert first["reuse"] == 0 and second["reuse"] == 1 and first["connection"] == second["connection"] > 0
    assert first["connect_ms"] > 0 and second["connect_ms"] == 0
    assert first["user_agent"].startswith('me "quoted" \\ ') and first["referer"] == "http://x/"
    assert first["error"] == "" and first["retries"] == 0


def test_combined(run):
    origin = run.origin(answer=lambda r: (200, b"x" * 10, ""))
    lastack, port = run.front([origin], log={"format": "combined"}, workers=1)
    get(port, "/a b".replace(" ", "%20"), headers='User-Agent: evil" 200 0 "\r\nReferer: http://x/\r\n')
    get(port, "/none", method="POST", body=b"12345", name="Site.Test:80")
    found = until(lambda: len(lastack.access_lines()) >= 2 and lastack.access_lines(), 5, "lines")
    form = re.compile(r'127\.0\.0\.1 - - \[(\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] "(\S+) (\S+) HTTP/1\.1" (\d{3}) (\d+) "([^"]*)" "([^"]*)"'
                      r" listener=web host=(\S+) bytes_in=(\d+) upstream=app server=\S+ source=\S+ connection=\d+ reuse=\d+ queue_ms=[\d.]+"
                      r" connect_ms=[\d.]+ backend_ms=[\d.]+ total_ms=[\d.]+ retries=0 error=-")
    first, second = (form.fullmatch(x) for x in found)
    assert first and second, found
    assert first.group(2, 3, 4, 6) == ("GET", "/a%20b", "200", "http://x/") and second.group(8, 9) == ("Site.Test:80", "5")
    named = set(re.findall(r" (\w+)=", found[0]))
    in_front = {"time", "client", "method", "target", "status", "bytes_out", "user_agent", "referer"}
    assert named == set(FIELDS) - in_front, "the rest of what JSON has"
    assert "\\x22" in first.group(7) and second.group(7) == "-"


def test_requests_without_a_server_are_logged_too(run):
    lastack, port = run.front(["127.0.0.1:%d" % free_port()])
    get(port)
    with Client(port) as c:
        c.send(b"NOT HTTP AT ALL\r\n\r\n")
        c.to_end()
    by = {x["status"]: x for x in lines(lastack, 2)}
    assert by[502]["error"] == "connect_refused" and by[502]["connection"] == 0
    assert by[400]["error"] == "bad_request"


@pytest.mark.parametrize("begun", [False, True])
def test_a_client_that_leaves_is_logged(run, begun):
    """With the time that the server took so far, before its answer or in the middle of it; that time is counted once."""
    origin = run.origin(lambda c: (c.request(), begun and c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"), c.to_end()))
    lastack, port = run.front([origin], pool={"abort_wait": "100ms"})
    with Client(port) as c:
        c.send(raw.request("/left"))
        until(lambda: origin.requests, 5, "the request")
        if begun:
            assert c.until(b"hello")
    line, = lines(lastack, 1)
    assert line["status"] == (200 if begun else 499) and line["error"] == "client_gone" and line["target"] == "/left"
    until(lambda: lastack.metrics().sum("lastack_connections") == 0, 10, "the connection to be given up")
    assert 0 < line["backend_ms"] <= line["total_ms"] + 0.01
    m = lastack.metrics()
    assert m.sum("lastack_request_seconds_count", phase="backend") == 1
    assert 0 < m.sum("lastack_request_seconds_sum", phase="backend") * 1000 <= line["total_ms"] + 0.01


def test_reopen(run, tmp_path):
    """After SIGUSR1 both logs go to new files, and no line is lost."""
    error_log = os.path.join(str(tmp_path), "error.log")
    lastack, port = run.front([run.origin()], log={"error": error_log})
    get(port, "/before")
    lines(lastack, 1)
    os.rename(lastack.access_path, lastack.access_path + ".1")
    os.rename(error_log, error_log + ".1")
    lastack.process.signal(signal.SIGUSR1)
    until(lambda: os.path.exists(lastack.access_path) and os.path.exists(error_log), 5, "new files")
    for n in range(50):
        get(port, f"/after{n}")

    def together():
        found = lastack.access_lines() + lastack.access_lines(lastack.access_path + ".1")
        return len(found) == 51
    until(together, 5, "all lines in one of the files")
    until(lambda: any("/after49" in x for x in lastack.access_lines()), 5, "the last line in the new file")
    lastack.write({**lastack.conf, "nonsense": 1})
    lastack.process.signal(signal.SIGHUP)

    def told():
        with open(error_log) as f:
            return "nonsense" in f.read()
    until(told, 5, "a line in the new error log")


def users_folder(run):
    """A folder that everybody may look into, and `logs` in it, which is nobody's."""
    directory = tempfile.mkdtemp()
    run.own(contextlib.ExitStack()).callback(shutil.rmtree, directory)
    logs = os.path.join(directory, "logs")
    os.mkdir(logs)
    for path in (directory, logs):
        os.chmod(path, 0o755)
    shutil.chown(logs, "nobody")
    return directory, logs


def as_nobody(run, directory, **log):
    """The configuration of a proxy that is to become nobody."""
    return config({"app": {"servers": [run.backend().text]}}, [{"address": f"127.0.0.1:{free_port()}", "upstream": "app"}], user="nobody", log=log)


@pytest.mark.parametrize("way", ["last", "hard", "folder", "new"])
@pytest.mark.parametrize("key", ["access", "error"])
def test_root_does_not_follow_what_the_user_can_lay(run, key, way):
    """A link in the user's folder to a file of root's, or to where there is none yet: nothing is written there, and it
    is not given away."""
    directory, logs = users_folder(run)
    roots = os.path.join(directory, "roots")
    if way != "new":
        with open(roots, "w") as f:
            f.write("as it was")
    (os.link if way == "hard" else os.symlink)(directory if way == "folder" else roots, os.path.join(logs, "link"))
    path = os.path.join(logs, "link", "roots") if way == "folder" else os.path.join(logs, "link")
    conf = as_nobody(run, directory, **{"access": "off", key: path})
    with open(os.path.join(directory, "site.yaml"), "w") as f:
        yaml.safe_dump({**conf, "admin": {"address": f"127.0.0.1:{free_port()}"}}, f)
    code, out = lastack_("run", f.name)
    told = 'user "nobody" may not write it' if way in ("last", "hard") else "Permission denied"  # the former by `check` as well
    assert code == 1 and f"log.{key}: {path}: {told}" in out, out
    assert not os.path.exists(roots) if way == "new" else open(roots).read() == "as it was" and os.stat(roots).st_uid == 0


@pytest.mark.parametrize("kind", ["roots_folder", "roots_link", "link_to_users", "fifo", "/dev/null", "/dev/stdout", "/dev/stderr"])
def test_logs_that_root_has_laid_out(run, kind):
    directory, logs = users_folder(run)
    path = kind if kind.startswith("/") else os.path.join(directory, "x.log")
    target = path
    if kind == "roots_link":
        target = os.path.join(run.folder("elsewhere"), "x.log")
    elif kind == "link_to_users":
        target = os.path.join(logs, "x.log")
    elif kind == "fifo":
        os.mkfifo(path, 0o600)
        end = os.open(path, os.O_RDWR)
    if target != path:
        os.symlink(target, path)
    proxy = run.own(Proxy(as_nobody(run, directory, access=path), directory))
    assert get(int(proxy.conf["listen"][0]["address"].split(":")[1]), "/wanted").status == 200
    if kind == "/dev/null":
        return
    if kind == "fifo":
        assert b"/wanted" in os.read(end, 65536)
        os.close(end)
        return
    until(lambda: "/wanted" in (proxy.log() if kind.startswith("/dev") else open(target).read()), 5, "the line")
    if kind in ("roots_folder", "link_to_users"):
        assert os.stat(target).st_uid == os.stat(logs).st_uid


def test_lines_of_several_workers_stay_whole_on_a_pipe(run, tmp_path):
    """The reader is slower than the workers, so that the pipe is full all the time."""
    fifo, found = str(tmp_path / "access"), []
    os.mkfifo(fifo)
    end = os.open(fifo, os.O_RDWR)  # no end of file while it is open

    def read():
        while not found or not found[-1].endswith(b"stop\n"):
            found.append(os.read(end, 65536))
            time.sleep(0.005)
    reader = threading.Thread(target=read)
    reader.start()
    try:
        lastack, port = run.front([run.backend()], workers=4, pool={"max": 8}, log={"access": fifo})
        clean(run.load(port, clients=32, keepalive=100, requests=20000).result())
        assert lastack.stop() == 0
    finally:
        os.write(end, b"stop\n")
        reader.join()
        os.close(end)
    *logged, stop = b"".join(found).splitlines()
    assert stop == b"stop" and len(logged) == 20000
    assert {json.loads(line)["status"] for line in logged} == {200}


def fill(end, found, wanted):
    """Reads what there is; True: as many lines."""
    with contextlib.suppress(BlockingIOError):
        found.append(os.read(end, 1 << 20))
    return b"".join(found).count(b"\n") >= wanted


@pytest.mark.sanitizer
@pytest.mark.parametrize("way", ["fifo", "stdout"])
def test_a_reader_that_stands_still_stops_nobody(run, tmp_path, way):
    """Several times what the pipe holds: every request is answered at once, and every line comes when it is read at last. A
    named pipe has no reader at all until then."""
    fifo, found, n = str(tmp_path / "access"), [], 1500
    end, write = os.pipe()
    os.mkfifo(fifo)
    origin, port = run.origin(), free_port()
    lastack = run.own(Proxy(config({"app": {"servers": [origin.text]}}, f"127.0.0.1:{port}", workers=1,
                                   log={"access": fifo if way == "fifo" else way}), str(tmp_path), stdout=write))
    os.close(write)
    with Client(port) as c:
        for i in range(n):
            assert c.ask(f"/{i}").status == 200
    lastack.process.signal(signal.SIGUSR1)
    lastack.reload(lastack.conf)
    if way == "fifo":
        os.close(end)
        end = os.open(fifo, os.O_RDONLY)
    os.set_blocking(end, False)
    until(lambda: fill(end, found, n), 10, "all lines")
    assert [json.loads(line)["target"] for line in b"".join(found).splitlines()] == [f"/{i}" for i in range(n)]
    assert lastack.stop() == 0
    os.close(end)


def test_a_reader_that_never_reads(run, tmp_path):
    """Lines of more than a pipe takes in one piece, more of them than are kept: they are lost, and the process ends when told."""
    fifo = str(tmp_path / "access")
    os.mkfifo(fifo)
    lastack, port = run.front([run.origin()], workers=1, log={"access": fifo})
    with Client(port) as c:
        for i in range(300):
            assert c.ask(f"/{i}?" + "x" * 7000).status == 200
    until(lambda: "access log: its reader does not read; lines are lost" in lastack.log(), 10, "word of it")
    assert lastack.stop() == 0


def test_a_full_disk_spoils_one_line(run):
    """The line that had no room is lost; those that follow when there is room again are whole."""
    disk = run.own(Disk(run.folder("small"), "8k"))
    lastack, port = run.front([run.backend()], workers=1, log={"access": f"{disk.path}/access"})
    with Client(port) as c:
        for n in range(20):
            assert c.ask(f"/{n}?" + "x" * 1000).status == 200
        until(lambda: "lines are lost" in lastack.log(), 10, "the disk to be full")
        disk.resize("1m")
        for n in range(3):
            assert c.ask(f"/later{n}").status == 200

    def lines():
        good, bad = [], 0
        for line in open(f"{disk.path}/access"):
            try:
                good.append(json.loads(line)["target"])
            except ValueError:
                bad += 1
        return good[-3:] == ["/later0", "/later1", "/later2"] and bad == 1
    until(lines, 10, "the three last lines behind one that was cut")


def test_logs_belong_to_user(run):
    """Started as root: the files are the user's, so a reload accepts them and a rotated one is made anew."""
    directory, logs = users_folder(run)
    port = free_port()
    files = {"access": f"{logs}/access.log", "error": f"{logs}/error.log"}
    conf = config({"app": {"servers": [run.backend().text]}}, [{"address": f"127.0.0.1:{port}", "upstream": "app"}], user="nobody", log=files)
    proxy = run.own(Proxy(conf, directory))
    assert get(port).status == 200
    proxy.reload(proxy.conf)
    for path in files.values():
        os.rename(path, path + ".1")
    proxy.process.signal(signal.SIGUSR1)
    until(lambda: all(os.path.exists(path) for path in files.values()), 10, "both files anew")
    assert get(port).status == 200
    until(lambda: os.path.getsize(files["access"]) > 0, 10, "a line in the new file")


def test_a_log_that_cannot_be_opened_is_named(run, tmp_path):
    for key in ("access", "error"):
        path = os.path.join(str(tmp_path), key)
        os.symlink(os.path.join(str(tmp_path), "gone", "x"), path)
        conf = config({"app": {"servers": ["127.0.0.1:81"]}}, f"127.0.0.1:{free_port()}", log={key: path})
        with open(os.path.join(str(tmp_path), "site.yaml"), "w") as f:
            yaml.safe_dump(conf, f)
        code, out = lastack_("run", f.name)
        assert code == 1 and f"log.{key}: {path}: No such file" in out, out


def test_error_log_limits_itself(run):
    """A failing server writes a few lines, not one for each request."""
    origin = run.origin(lambda c: (c.request(), c.send(b"no http at all\r\n\r\n"), c.to_end()))
    lastack, port = run.front([origin], passive={"failures": 0})
    for _ in range(200):
        assert get(port).status == 502
    found = lastack.log().splitlines()
    assert 1 <= len([x for x in found if "malformed" in x]) <= 5, found[-10:]
    assert len(found) < 15
    assert any("held back" in x for x in found)


PROBLEMS = {
    "refused": (None, "connection_refused", 502),
    "garbage": (lambda c: (c.request(), c.send(b"what?\r\n\r\n"), c.to_end()), "http_protocol_error", 502),
    "closed": (lambda c: c.request(), "connection_terminated", 502),
    "silent": (lambda c: (c.request(), c.to_end()), "http_response_timeout", 504),
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_proxy_status(run, problem):
    handler, error, status = PROBLEMS[problem]
    server = run.origin(handler) if handler else "127.0.0.1:%d" % free_port()
    lastack, port = run.front([server], timeouts={"response": "200ms" if problem == "silent" else "10s"})
    r = get(port, method="POST", body=b"x")
    assert r.status == status
    assert re.fullmatch(r'lastack; error=%s; details="[^"]+"' % error, r.get("Proxy-Status")), r.get("Proxy-Status")
    assert "Server" not in dict(r.headers), "nothing else says who we are"


def test_proxy_status_is_only_on_our_own(run):
    _, port = run.front([run.origin(answer=lambda r: (503, b"", ""))])
    r = get(port)
    assert r.status == 503 and r.get("Proxy-Status") is None and "lastack" in r.get("Via")
