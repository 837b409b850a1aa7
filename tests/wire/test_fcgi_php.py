"""php-fpm of Debian behind lastack."""
import os

import pytest

from harness import servers
from harness.raw import Client, get


def site(run, name="www", **scripts):
    """A document root with these scripts."""
    root = run.folder(name)
    for script, text in scripts.items():
        with open(os.path.join(root, script.replace("__", "/") + ".php"), "w") as f:
            f.write("<?php\n" + text)
    return root


def php(run, scripts, fpm=None, pool=None, fastcgi=None, **more):
    """(fpm, proxy, port, root)"""
    fpm = run.own(servers.PhpFpm(run.directory, **(fpm or {})))
    root = site(run, **scripts)
    proxy, port = run.front([fpm], protocol="fastcgi", pool={"max": 7, **(pool or {})},
                            fastcgi={"root": root, **(fastcgi or {})}, **more)
    return fpm, proxy, port, root


def test_hello(run):
    _, proxy, port, _ = php(run, {"index": "echo 'hello ', $_GET['a'] ?? '-', ' ', $_SERVER['REQUEST_METHOD'];"})
    r = get(port, "/index.php?a=1")
    assert (r.status, r.body) == (200, b"hello 1 GET"), r
    assert get(port, "/").body == b"hello - GET"
    with Client(port) as c:
        for n in range(20):
            assert c.ask(f"/?a={n}").body == f"hello {n} GET".encode()
    assert proxy.metrics().sum("lastack_connections_opened_total") == 1
