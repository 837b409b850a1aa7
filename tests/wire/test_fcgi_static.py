"""Files served straight from a FastCGI upstream's root."""
import os
import time

import pytest

from harness import fcgi
from harness.raw import Client, get, request
from harness.wait import scale, until


def write(root, name, data=b"x", mtime=None):
    path = os.path.join(root, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)
    if mtime:
        os.utime(path, (mtime, mtime))
    return path


def site(run, fastcgi=None, **more):
    """(server, proxy, port, root): a site whose scripts are answered by a FastCGI server that tells its SCRIPT_NAME."""
    root = run.folder("www")
    write(root, "index.php")
    server = run.own(fcgi.Server(run.directory, answer=lambda r: fcgi.reply(r.params["SCRIPT_NAME"] + " " + r.params["QUERY_STRING"])))
    proxy, port = run.front([server], protocol="fastcgi", fastcgi={"root": root, **(fastcgi or {})}, **more)
    return server, proxy, port, root


def test_a_file(run):
    server, proxy, port, root = site(run)
    write(root, "css/site.css", b"body {}\n", mtime=784111777)
    r = get(port, "/css/site.css")
    assert (r.status, r.body) == (200, b"body {}\n")
    assert r.get("Content-Type") == "text/css" and r.get("Content-Length") == "8"
    assert r.get("Last-Modified") == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert r.get("ETag").startswith('"') and r.get("Accept-Ranges") == "bytes" and r.get("Date")
    h = get(port, "/css/site.css", "HEAD")
    assert (h.status, h.get("Content-Length"), h.body) == (200, "8", b"")
    assert get(port, "/css/site.css?v=3").body == b"body {}\n"
    assert get(port, "/css/%73ite.css").body == get(port, "/x/../css//site.css").body == b"body {}\n"
    r = get(port, "/css/site.css", "POST", body=b"a=1")
    assert (r.status, r.get("Allow")) == (405, "GET, HEAD")
    assert get(port, "/css/none.css").status == 404
    assert server.requests == [] and server.connections == []
    with Client(port) as c:  # a connection stays open over files and scripts
        assert [c.ask(t).status for t in ("/css/site.css", "/index.php", "/css/none.css", "/css/site.css")] == [200, 200, 404, 200]
    until(lambda: len(proxy.access()) >= 10, 5, "log lines")
    line = next(l for l in proxy.access() if (l["method"], l["target"]) == ("GET", "/css/site.css"))
    assert line["status"] == 200 and line["server"] == "" and line["upstream"] == "app"


@pytest.mark.sanitizer
def test_a_file_that_cannot_be_opened_now_is_not_a_missing_one(run):
    _, proxy, port, root = site(run, {"try": ["$uri", "$uri/", "/index.php"]}, workers=1)
    targets = ("/a.txt", "/dir/", "/new.php", "/new.php/info", "/none")
    for name in "a.txt", "dir/index.php", "new.php":
        write(root, name)
    with Client(port) as c:
        assert c.ask("/a.txt").status == 200
        with proxy.no_descriptors():
            assert [c.ask(t).status for t in targets] == [500] * 5
        assert [c.ask(t).status for t in targets] == [200] * 5
    assert f"cannot open files under {root}: Too many open files" in proxy.log()
    assert proxy.metrics().sum("lastack_errors_total", cause="internal") == 5


def test_conditions_and_ranges(run):
    _, _, port, root = site(run)
    write(root, "a.txt", bytes(range(100)), mtime=784111777)
    date, etag = "Sun, 06 Nov 1994 08:49:37 GMT", get(port, "/a.txt").get("ETag")

    def ask(*lines, method="GET"):
        return get(port, "/a.txt", method, "".join(f"{l}\r\n" for l in lines))
    for lines in (f"If-None-Match: {etag}",), (f'If-None-Match: "x", W/{etag}',), ("If-None-Match: *",), \
            (f"If-Modified-Since: {date}",), ("If-Modified-Since: Sunday, 06-Nov-94 08:49:38 GMT",):
        r = ask(*lines)
        assert (r.status, r.body) == (304, b"") and r.get("ETag") == etag and not r.get("Content-Length"), (lines, r)
    for lines in ('If-None-Match: "x"', f"If-Modified-Since: {date}"), ("If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT",), \
            ("If-Modified-Since: yesterday",), (f"If-Match: {etag}",), (f"If-Unmodified-Since: {date}",):
        assert ask(*lines).status == 200, lines
    assert ask('If-Match: "x"').status == ask("If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT").status == 412
    for value, first, end in ("0-0", 0, 1), ("10-19", 10, 20), ("90-", 90, 100), ("-5", 95, 100), ("0-1000", 0, 100):
        r = ask(f"Range: bytes={value}")
        assert (r.status, r.body) == (206, bytes(range(first, end))), value
        assert r.get("Content-Range") == f"bytes {first}-{end - 1}/100"
    for value in "bytes=5-1", "bytes=0-1,3-4", "lines=1-2", "bytes=", "bytes=a-b":
        assert ask(f"Range: {value}").status == 200, value
    r = ask("Range: bytes=100-")
    assert r.status == 416 and r.get("Content-Range") == "bytes */100"
    assert ask("Range: bytes=1-2", f"If-Range: {etag}").status == ask("Range: bytes=1-2", f"If-Range: {date}").status == 206
    assert ask("Range: bytes=1-2", 'If-Range: "x"').status == 200
    assert ask("Range: bytes=1-2", method="HEAD").status == 200
    write(root, "empty", b"")
    assert (get(port, "/empty").status, get(port, "/empty").get("Content-Length")) == (200, "0")


def test_what_is_not_there(run):
    """Nothing outside root, no dot file, no directory listing, no source of a script."""
    _, _, port, root = site(run)
    write(root, ".htaccess", b"secret")
    write(root, ".git/config", b"secret")
    write(root, "dir/x", b"x")
    write(root, "old.PHP", b"secret")
    write(root, ".well-known/acme/token", b"token")
    write(os.path.dirname(root), "outside.txt", b"secret")
    os.symlink(os.path.join(os.path.dirname(root), "outside.txt"), os.path.join(root, "out.txt"))
    os.symlink("dir/x", os.path.join(root, "in.txt"))
    os.mkfifo(os.path.join(root, "fifo"))
    os.symlink("/", os.path.join(root, "slash"))
    for target in ("/.htaccess", "/.git/config", "/%2ehtaccess", "/dir/../.htaccess", "/dir%2F..%2F.htaccess", "/x%2F.git/config",
                   "/out.txt", "/fifo", "/slash/etc/passwd", "/dir/", "/old.PHP", "/../outside.txt", "/%2e%2e/outside.txt",
                   "/..%2foutside.txt", "/dir/%2e%2e/%2e%2e/outside.txt", "/.well-known/../.htaccess", "/.well-known/.x", "//..//outside.txt"):
        r = get(port, target)
        assert r.status in (400, 404), (target, r.status)
        assert b"secret" not in r.body and b"root:" not in r.body, target
    for target in "/a%00.txt", "/a%0a", "/a%0D", "/%7f", "/index.php%00.txt", "/none.php/a%0ab", "/a.txt/%0a":
        assert get(port, target).status == 400, target
    assert get(port, "/in.txt").body == b"x" and get(port, "/.well-known/acme/token").body == b"token"


def test_names_of_dot_files_behind_a_script_are_its_business(run):
    """WebDAV in PHP has such names in its path info, a front controller in its requests."""
    _, _, port, root = site(run, {"try": ["$uri", "$uri/", "/index.php"]})
    write(root, "dav.php")
    write(root, ".git/config", b"secret")
    write(root, ".git/index.php", b"secret")
    for target, script in {"/dav.php/files/.config/x": "/dav.php", "/.git/config": "/index.php", "/.git/": "/index.php",
                           "/.git/index.php/x": "/index.php", "/a/.b": "/index.php"}.items():
        assert get(port, target).body.decode().split()[0] == script, target


def test_links_out_of_root_where_they_are_wanted(run):
    _, _, port, root = site(run, {"follow_symlinks": True})
    outside = write(os.path.dirname(root), "outside.txt", b"public")
    os.symlink(outside, os.path.join(root, "out.txt"))
    assert get(port, "/out.txt").body == b"public"


def test_no_permission(run):
    _, proxy, port, root = site(run, user="www-data") if os.getuid() == 0 else pytest.skip("only root can change user")
    os.chmod(write(root, "closed.txt", b"secret"), 0o600)
    assert get(port, "/closed.txt").status == 403


def test_try_and_index(run):
    server, _, port, root = site(run, {"try": ["$uri", "$uri/", "/index.php?q=$uri&$args"], "index": ["index.html", "index.php"]})
    write(root, "docs/index.html", b"docs")
    write(root, "admin/index.php")
    write(root, "plain/x", b"x")
    assert get(port, "/docs/").body == b"docs"
    assert get(port, "/").body == b"/index.php "
    assert get(port, "/admin/?a=1").body == b"/admin/index.php a=1"
    for target, to in ("/docs", "/docs/"), ("/admin?x=%20", "/admin/?x=%20"):
        for method, body in ("GET", b""), ("POST", b"x"):
            r = get(port, target, method, body=body)
            assert (r.status, r.get("Location")) == (301, to)
    assert get(port, "/plain/").body == b"/index.php q=/plain/&"
    assert get(port, "/some/post?page=2").body == b"/index.php q=/some/post&page=2"
    assert get(port, "/some/post", "POST", body=b"x").body == b"/index.php q=/some/post&"


def test_front_controller(run):
    server, _, port, root = site(run, {"try": ["$uri", "/index.php"]})
    write(root, "a.txt", b"a")
    assert get(port, "/a.txt").body == b"a"
    assert get(port, "/users/7?tab=1").body == b"/index.php tab=1"
    assert server.last.params["REQUEST_URI"] == "/users/7?tab=1" and "PATH_INFO" not in server.last.params
    assert get(port, "/").body == b"/index.php "
    os.remove(os.path.join(root, "index.php"))
    until(lambda: get(port, "/users/7").status == 404, 5, "a script that went to be missed")


def test_a_site_that_cannot_be_looked_at(run):
    """files: false: the scripts are in a container."""
    server, _, port, root = site(run, {"files": False, "root": "/nowhere", "script_root": "/app/public", "try": ["$uri", "$uri/", "/index.php"]})
    for target, script in ("/", "/index.php"), ("/a/b.php/c", "/a/b.php"), ("/users/7", "/index.php"), ("/a/", "/a/index.php"), \
            ("/css/site.css", "/index.php"):
        assert get(port, target).body == f"{script} ".encode(), target
        assert server.last.params["SCRIPT_FILENAME"] == "/app/public" + script
        assert server.last.params["DOCUMENT_ROOT"] == "/app/public"


def test_a_large_file(run):
    _, proxy, port, root = site(run)
    size = scale(20, 200) << 20
    data = os.urandom(1 << 20) * (size >> 20)
    write(root, "big.bin", data)
    with Client(port, receive_buffer=4096) as slow:  # it reads nothing for now, and costs no more than a buffer
        slow.send(request("/big.bin"))
        r = get(port, "/big.bin", timeout=60)
        assert r.status == 200 and r.body == data
        assert get(port, f"/big.bin", headers="Range: bytes=1000000-3000000\r\n").body == data[1000000:3000001]
        assert proxy.process.rss() < 200 << 20
        assert slow.response().body == data
    with Client(port) as c:
        c.send(request("/big.bin"))
        c.exactly(1000)
    with Client(port) as c:  # leaves at once
        c.send(request("/big.bin"))
    assert get(port, "/big.bin", headers="Range: bytes=-3\r\n").body == data[-3:]
    until(lambda: len(proxy.access()) >= 6, 10, "log lines")


def test_a_file_that_shrinks(run):
    _, proxy, port, root = site(run)
    path = write(root, "log.bin", bytes(32 << 20))
    with Client(port, receive_buffer=4096) as c:
        c.send(request("/log.bin"))
        c.head()
        os.truncate(path, 1000)
        with pytest.raises(Exception):
            c.exactly(32 << 20)
    until(lambda: proxy.access(), 10, "a log line")
    assert proxy.access()[-1]["error"] == "response_incomplete"
