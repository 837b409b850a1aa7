"""Routes: exact host, then *.x, then *; the longest path prefix that ends at a segment; matched on the normalized path."""
import pytest

from harness.proxy import config, free_port
from harness.raw import Client, get


def site(run, routes, listen=("web",)):
    """One origin for each upstream that the routes name; returns what a request reaches."""
    names = sorted({r["upstream"] for r in routes})
    origins = {n: run.origin(answer=lambda r, n=n: (200, n.encode(), "")) for n in names}
    ports = {name: free_port() for name in listen}
    conf = config({n: {"servers": [origins[n].text]} for n in names},
                  [{"name": name, "address": f"127.0.0.1:{p}"} for name, p in ports.items()], routes)
    lastack = run.proxy(conf)

    def reach(host, path="/", listener=None, **more):
        r = get(ports[listener or listen[0]], path, name=host, **more)
        return r.body.decode() if r.status == 200 else r.status
    reach.proxy, reach.ports, reach.origins = lastack, ports, origins
    return reach


def test_hosts(run):
    reach = site(run, [{"host": "*", "upstream": "any"}, {"host": "*.example.test", "upstream": "wild"},
                       {"host": "www.example.test", "upstream": "exact"}, {"host": "*.deep.example.test", "upstream": "deep"}])
    for host, wanted in {"www.example.test": "exact", "WWW.Example.TEST": "exact", "www.example.test:8080": "exact",
                         "www.example.test.": "exact", "a.example.test": "wild", "a.b.example.test": "wild",
                         "x.deep.example.test": "deep", "deep.example.test": "wild", "example.test": "any",
                         "badexample.test": "any", "www.example.test.evil": "any", "[::1]:80": "any", "10.0.0.1": "any"}.items():
        assert reach(host) == wanted, host


def test_paths(run):
    reach = site(run, [{"path": "/", "upstream": "root"}, {"path": "/api", "upstream": "api"}, {"path": "/api/v2", "upstream": "v2"},
                       {"path": "/static/", "upstream": "static"}])
    for path, wanted in {"/": "root", "/api": "api", "/api/": "api", "/api/x": "api", "/apix": "root", "/api-v2": "root", "/api?x=/api/v2": "api",
                         "/api/v2": "v2", "/api/v2/y": "v2", "/api/v20": "api", "/static/a": "static", "/static": "root",
                         "/x/../api": "api", "/%61pi/v2": "v2", "/api/./v2": "v2", "/api/../static/b": "static", "/API": "root"}.items():
        assert reach("h.test", path) == wanted, path
    assert reach.origins["api"].requests, "forwarded as received"
    assert {m.target for _, m in reach.origins["v2"].requests} >= {"/%61pi/v2", "/api/./v2"}


def test_spellings_that_servers_take_for_the_same_path(run):
    """What one route keeps to itself is not reached through another one by slashes that servers merge, or by what stands
    behind a semicolon, which some take away."""
    reach = site(run, [{"path": "/", "upstream": "root"}, {"path": "/admin", "upstream": "admin"}, {"path": "/app/admin/", "upstream": "deep"}])
    for path, wanted in {"//admin/x": "admin", "/x//../admin": 404, "///admin": "admin", "/admin;v=1": "admin", "/admin;v=1/x": "admin", "/adminx": "root",
                         "/;a/admin": 404, "/.;/admin": 404, "/x;a/admin": "root", "/;jsessionid=1": "root",
                         "/app;x/admin;y/z": "deep", "/app//admin/": "deep", "/app/admin;x": "root", "/x//admin": "root"}.items():
        assert reach("h.test", path) == wanted, path
    assert "//admin/x" in {m.target for _, m in reach.origins["admin"].requests}, "forwarded as received"


def test_host_goes_before_path(run):
    reach = site(run, [{"host": "*", "path": "/very/long/path", "upstream": "path"}, {"host": "a.test", "path": "/", "upstream": "host"}])
    assert reach("a.test", "/very/long/path") == "host"
    assert reach("b.test", "/very/long/path") == "path"


def test_a_host_without_a_fitting_path_falls_to_the_next(run):
    reach = site(run, [{"host": "*", "path": "/", "upstream": "any"}, {"host": "a.test", "path": "/api", "upstream": "api"}])
    assert reach("a.test", "/api/x") == "api"
    assert reach("a.test", "/other") == "any"


def test_no_route(run):
    reach = site(run, [{"host": "a.test", "path": "/x", "upstream": "one"}])
    assert reach("b.test") == 404 and reach("a.test", "/y") == 404
    with Client(reach.ports["web"]) as c:
        answer = c.ask("/", host="b.test")
        assert answer.status == 404
        assert answer.get("Proxy-Status").startswith("lastack; error=destination_not_found")
        assert c.ask("/x", host="a.test").status == 200, "the connection stays"
    assert reach.proxy.metrics().sum("lastack_errors_total", upstream="", cause="no_route") == 3
    assert reach.proxy.metrics().sum("lastack_requests_total", upstream="", code="404") == 3


def test_listeners(run):
    """A route may belong to some listeners only; a listener with an upstream of its own knows no routes."""
    reach = site(run, [{"path": "/", "upstream": "outside", "listen": ["web"]}, {"path": "/", "upstream": "inside", "listen": ["intern"]},
                       {"path": "/both", "upstream": "both"}], listen=("web", "intern"))
    assert reach("h", "/a", "web") == "outside" and reach("h", "/a", "intern") == "inside"
    assert reach("h", "/both", "web") == "both" == reach("h", "/both", "intern")


@pytest.mark.parametrize("target, wanted", [("*", {200}), ("http://a.test/api/x", {200})])
def test_other_targets(run, target, wanted):
    reach = site(run, [{"host": "a.test", "path": "/", "upstream": "one"}])
    with Client(reach.ports["web"]) as c:
        assert c.ask(target, "OPTIONS", host="a.test").status in wanted
