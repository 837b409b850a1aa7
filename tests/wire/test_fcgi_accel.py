"""X-Accel-Redirect, X-Sendfile, X-Accel-Buffering: a script decides, lastack sends."""
import os
import threading
import urllib.parse

from harness import fcgi
from harness.raw import Client, get, request
from harness.wait import until


def app(run, head, fastcgi=None, **more):
    """(server, proxy, port, folder): every answer has the fields that head gives now, and a body nobody should see."""
    root, folder = run.folder("www"), run.folder("files")
    open(os.path.join(root, "index.php"), "w").close()
    for name in ("a.pdf", "big.bin", ".secret"):
        with open(os.path.join(folder, name), "wb") as f:
            f.write(b"0123456789" if name == "a.pdf" else os.urandom(3 << 20) if name == "big.bin" else b"secret")
    os.symlink("/etc/passwd", os.path.join(folder, "out"))
    server = run.own(fcgi.Server(run.directory, answer=lambda r: fcgi.reply(b"own body", head())))
    proxy, port = run.front([server], protocol="fastcgi", workers=1, fastcgi={"root": root, **({"internal": [{"path": "/protected/", "root": folder}],
                            "sendfile": [folder]} if fastcgi is None else fastcgi)}, **more)
    return server, proxy, port, folder


def test_a_file_in_place_of_the_body(run):
    head = ""
    server, proxy, port, folder = app(run, lambda: head)
    with open(os.path.join(folder, "big.bin"), "rb") as f:
        big = f.read()
    for head in "X-Accel-Redirect: /protected/a.pdf\r\n", f"X-Sendfile: {folder}/a.pdf\r\n", "X-Accel-Redirect: /protected//%61.pdf?x\r\n":
        head += "Content-Type: application/pdf\r\nSet-Cookie: a=1\r\nContent-Length: 10\r\nETag: \"own\"\r\n"
        r = get(port)
        assert (r.status, r.body, r.get("Content-Length")) == (200, b"0123456789", "10"), r
        assert r.get("Content-Type") == "application/pdf" and r.get("Set-Cookie") == "a=1" and r.get("ETag") != '"own"'
        assert r.get("X-Accel-Redirect") is None and r.get("X-Sendfile") is None
        assert get(port, headers="Range: bytes=2-4\r\n").body == b"234"
        assert get(port, headers=f"If-None-Match: {r.get('ETag')}\r\n").status == 304
        assert get(port, method="HEAD").get("Content-Length") == "10"
        assert get(port, "/", "PUT", f"If-None-Match: {r.get('ETag')}\r\n", b"x").status == 412
        since = f"If-Modified-Since: {r.get('Last-Modified')}\r\n"
        assert get(port, headers=since).status == 304 and get(port, "/", "PUT", since, b"x").body == b"0123456789"
    head = "X-Accel-Redirect: /protected/big.bin\r\n"
    with Client(port) as c:
        assert [c.ask().body == big for _ in range(5)] == [True] * 5
        assert c.ask("/", "POST", body=b"x" * 100000).body == big
    assert len(server.connections) == 1, "the connection to the script was lost"


def test_a_name_as_it_is(run):
    """Scripts write names as they find them; what a client would have to encode may stand there."""
    head = ""
    _, _, port, folder = app(run, lambda: head)
    for name in "My File.pdf", "ü #1 [a] {b}.pdf":
        with open(os.path.join(folder, name), "wb") as f:
            f.write(name.encode())
        head = f"X-Accel-Redirect: /protected/{name}\r\n"
        assert get(port).body == name.encode()
        head = f"X-Accel-Redirect: /protected/{urllib.parse.quote(name)}\r\n"
        assert get(port).body == name.encode()


def test_a_file_before_the_request_has_been_read(run):
    """The script names the file with its first bytes, and reads the upload all the same."""
    root, folder, named, read = run.folder("www"), run.folder("files"), threading.Event(), []
    for path in os.path.join(root, "index.php"), os.path.join(folder, "a.pdf"):
        with open(path, "wb") as f:
            f.write(b"0123456789")

    def handler(server, c):
        kind, _ = c.record()
        while kind != fcgi.STDIN:
            kind, content = c.record()
        c.answer(fcgi.stdout("X-Accel-Redirect: /protected/a.pdf\r\n\r\n"))
        named.set()
        while content:
            read.append(content)
            kind, content = c.record()
        c.answer(fcgi.record(fcgi.STDOUT) + fcgi.end())
    server = run.own(fcgi.Server(run.directory, handler=handler))
    _, port = run.front([server], protocol="fastcgi", workers=1, buffer={"request_mode": "stream"},
                        fastcgi={"root": root, "internal": [{"path": "/protected/", "root": folder}]})
    with Client(port) as c:
        c.send(request("/", "POST", "Content-Length: 200000\r\n") + b"x" * 1000)
        assert named.wait(10)
        c.send(b"x" * 199000)
        assert c.final().body == b"0123456789"
    assert sum(map(len, read)) == 200000


def test_files_that_are_not_meant(run):
    head = ""
    server, _, port, folder = app(run, lambda: head)
    for head in ("X-Accel-Redirect: /protected/none", "X-Accel-Redirect: /other/a.pdf", "X-Accel-Redirect: /protected/../www/index.php",
                 "X-Accel-Redirect: /protected/.secret", "X-Accel-Redirect: /protected/out", "X-Accel-Redirect: /protected/",
                 "X-Sendfile: /etc/passwd", f"X-Sendfile: {folder}/../www/index.php", f"X-Sendfile: {folder}/.secret",
                 f"X-Sendfile: {folder}x/a.pdf", f"X-Sendfile: {folder}/out", "X-Accel-Redirect: protected/a.pdf"):
        head += "\r\n"
        r = get(port)
        assert r.status == 404 and b"secret" not in r.body and b"root:" not in r.body, (head, r)
    assert len(server.connections) == 1


def test_without_configuration_the_fields_do_nothing(run):
    _, _, port, folder = app(run, lambda: f"X-Accel-Redirect: /protected/a.pdf\r\nX-Sendfile: {folder}/a.pdf\r\n", fastcgi={})
    r = get(port)
    assert r.body == b"own body" and r.get("X-Accel-Redirect") == "/protected/a.pdf"


def test_a_file_that_cannot_be_opened_now(run):
    files = run.folder("files")
    _, proxy, port, _ = app(run, lambda: "X-Accel-Redirect: /protected/a.pdf\r\n",
                            {"files": False, "try": "/index.php", "internal": [{"path": "/protected/", "root": files}]})
    with Client(port) as c:
        assert c.ask().status == 200
        with proxy.no_descriptors():
            assert c.ask().status == 500
        assert c.ask().status == 200


def test_a_response_that_is_not_to_be_buffered(run):
    """It is held in memory, never in a file; the field is not passed on."""
    size = 40 << 20
    root = run.folder("www")
    open(os.path.join(root, "index.php"), "w").close()
    server = run.own(fcgi.Server(run.directory, answer=lambda r: fcgi.reply(b"x" * size, "X-Accel-Buffering: no\r\n")))
    proxy, port = run.front([server], protocol="fastcgi", fastcgi={"root": root})
    with Client(port, receive_buffer=4096, timeout=60) as c:
        c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        head = c.head()
        assert b"X-Accel" not in head
        until(lambda: proxy.metrics().sum("lastack_connections", state="busy") == 1, 5, "the script to be held")
        assert proxy.metrics().sum("lastack_disk_used_bytes") == 0
        body, _ = c.chunked()
        assert len(body) == size
