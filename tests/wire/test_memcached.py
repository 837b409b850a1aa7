"""The memcached protocol: every command answered as memcached itself answers it, and memcached's own conformance test."""
import base64
import collections
import copy
import json
import os
import re
import subprocess
import threading

import pytest

from harness import memcached as mc
from harness.process import Process
from harness.proxy import free_port
from harness.wait import until

# Each script goes to a fresh memcached and to another one behind lastack; the answers must be the same bytes.
SCRIPTS = {
    "storage": b"set a 5 0 3\r\nabc\r\nget a\r\nadd a 0 0 1\r\nx\r\nadd b 0 0 1\r\nx\r\nreplace b 1 0 2\r\nyy\r\nget a b c\r\n"
               b"append b 0 0 2\r\nzz\r\nprepend b 0 0 1\r\n-\r\nget b\r\nreplace nope 0 0 1\r\nx\r\nappend nope 0 0 1\r\nx\r\n"
               b"set neg 0 -1 1\r\nx\r\nget neg\r\nset empty 0 0 0\r\n\r\nget empty\r\n",
    "cas": b"set a 0 0 1\r\n1\r\ngets a\r\ncas a 0 0 1 999999\r\n2\r\ncas nope 0 0 1 1\r\n2\r\nget a\r\ngets nope\r\n"
           b"cas a 0 0 1\r\n",
    "numbers": b"set n 0 0 2\r\n10\r\nincr n 5\r\ndecr n 100\r\nincr n 18446744073709551615\r\nincr n 1\r\nincr nope 1\r\n"
               b"incr n abc\r\nset s 0 0 1\r\nx\r\nincr s 1\r\nincr n\r\nincr\r\n",
    "touch": b"set a 0 0 1\r\n1\r\ntouch a 100\r\ntouch nope 1\r\ngat 100 a\r\ngats 100 a nope\r\ngat 100 nope\r\ntouch a\r\n"
             b"gat\r\ngat x a\r\n",
    "delete": b"set a 0 0 1\r\n1\r\ndelete a\r\ndelete a\r\ndelete a 0\r\ndelete a 5\r\ndelete a 0 noreply\r\ndelete\r\n",
    "many": b"set a 0 0 1\r\n1\r\nset b 0 0 1\r\n2\r\nget a b\r\nget b a\r\nget a a nope a\r\nget nope nada\r\ngets b\r\nget  a   b \r\n",
    "noreply": b"set a 0 0 1 noreply\r\n1\r\nadd a 0 0 1 noreply\r\n2\r\nget a\r\nincr a 1 noreply\r\ndecr nope 1 noreply\r\n"
               b"append a 0 0 1 noreply\r\nx\r\nprepend a 0 0 1 noreply\r\ny\r\nget a\r\ntouch a 0 noreply\r\n"
               b"cas a 0 0 1 1 noreply\r\nz\r\ndelete a noreply\r\nget a\r\nflush_all noreply\r\nverbosity 0 noreply\r\nget a\r\n",
    "values": b"set a 0 0 14\r\na\r\nflush_all\r\n\r\nget a\r\nset b 0 0 5\r\nEND\r\n\r\nget a b\r\nset noreply 0 0 1\r\nx\r\nget noreply\r\n",
    "admin": b"flush_all\r\nflush_all 0\r\nverbosity 1\r\nverbosity\r\nmn\r\nversion\r\nset a 0 0 1\r\n1\r\nflush_all\r\nget a\r\n",
    "meta": b"mg nope v\r\nms a 2 F5 T100\r\nhi\r\nmg a v\r\nmg a k f s v\r\nmg a\r\nmg a Oabc k\r\nmg a t\r\nms a 2 ME\r\nhi\r\nmd a\r\nmd a\r\n"
            b"ma n N0 J13 v\r\nma n v D7\r\nma n MD v\r\nma nope\r\nms b S100\r\n",
    "quiet": b"mg nope v q\r\nms a 2 q\r\nhi\r\nmg a v q\r\nmd nope q\r\nmd a q\r\nma nope q\r\nmd a q\r\nmn\r\nmg a v\r\nma n N0\r\nma n q\r\nma n v q\r\nms c 1 ME q\r\nx\r\n"
             b"ms c 1 ME q k\r\nx\r\nmn\r\n",
    "base64": b"ms Zm9v 2 b\r\nhi\r\nmg foo v\r\nme nope b\r\nme Zm9 b\r\nmg Zm9v b k v\r\nmg Zm9v b k v Oq1\r\nmd Zm9v b\r\nmg foo v\r\nmg Zm9 b v\r\n",
    "errors": b"bogus\r\nget\r\ngets\r\nset\r\nset a\r\nset a 0\r\n\r\nGETS a\r\nset a 0 0\r\ntouch\r\nmg\r\nget " + b"k" * 250 + b"\r\n",
    "long key": b"get " + b"k" * 251 + b"\r\n",
    "long key to delete": b"delete " + b"k" * 251 + b"\r\n",
    "line ends": b"set a 0 0 1\n1\r\nget a\nget a\r\n",
    "utf-8": "set schlüssel 0 0 1\r\nx\r\nget schlüssel\r\n".encode(),
}
NAMES = sorted(SCRIPTS)


def play(port, script, chunk=None):
    with mc.Client(port) as c:  # alone: memcached drops what is pending when a key is too long
        assert c.ask(b"flush_all\r\n") == b"OK\r\n"
    with mc.Client(port) as c:
        if chunk:
            for at in range(0, len(script), chunk):
                c.send(script[at:at + chunk])
        else:
            c.send(script)
        c.send(b"quit\r\n")
        return re.sub(rb"(VALUE \S+ \d+ \d+) \d+\r\n", rb"\1 CAS\r\n", c.rest())


@pytest.fixture
def pair(run):
    """(port of memcached, port of lastack in front of another one)"""
    plain, behind = mc.start(run, 2)
    _, port = mc.front(run, [behind])
    return plain.port, port


@pytest.mark.sanitizer
def test_answers_are_memcacheds(pair):
    plain, port = pair
    for name in NAMES:
        wanted, got = (play(p, SCRIPTS[name]) for p in (plain, port))
        assert got == wanted, name


def test_answers_in_pieces(pair):
    """The same, a few bytes at a time: commands split at every place, by and by."""
    plain, port = pair
    for name in NAMES:
        wanted = play(plain, SCRIPTS[name])
        for chunk in (1, 3, 7):
            assert play(port, SCRIPTS[name], chunk) == wanted, (name, chunk)


def conformance(port):
    done = subprocess.run([mc.binary("memccapable", "libmemcached-tools"), "-h", "127.0.0.1", "-p", str(port), "-a"],
                          capture_output=True, text=True, timeout=120)
    return len(re.findall(r"\[pass\]", done.stdout + done.stderr)), done.stdout + done.stderr


def test_conformance_beside_twemproxy(run):
    """libmemcached's own test of a server: all of it through lastack; twemproxy stands beside it for comparison."""
    one, two = mc.start(run, 2)
    _, port = mc.front(run, [one])
    passed, text = conformance(port)
    assert passed == 27, text
    other, folder = free_port(), run.folder("nutcracker")
    with open(os.path.join(folder, "conf.yml"), "w") as f:
        f.write(f"x:\n  listen: 127.0.0.1:{other}\n  hash: md5\n  distribution: ketama\n  timeout: 1000\n  servers:\n   - {two.text}:1\n")
    run.own(Process([mc.binary("nutcracker", "nutcracker"), "-c", os.path.join(folder, "conf.yml"), "-s", free_port()], folder, "nutcracker")
            ).listening(other)
    passed, text = conformance(other)
    assert passed == 6, text


def test_stats_of_all_servers(run):
    servers = mc.start(run, 3)
    _, port = mc.front(run, servers)
    with mc.Client(port) as c:
        for n in range(30):
            c.set(b"k%d" % n, b"x")
        lines = c.ask(b"stats\r\n", b"END\r\n").split(b"\r\n")
        stat = {line.split()[1].decode(): line.split(maxsplit=2)[2] for line in lines if line.startswith(b"STAT")}
        assert int(stat["curr_items"]) == 30
        assert sum(int(stat[f"{s.text}:curr_items"]) for s in servers) == 30
        assert len({stat[f"{s.text}:pid"] for s in servers}) == 3
        assert c.ask(b"stats reset\r\n") == b"RESET\r\n"
        assert c.ask(b"stats sizes_enable\r\nget no\r\n", b"END\r\n") == b"STAT sizes_status enabled\r\nEND\r\n"
        assert b":active_slabs" in c.ask(b"stats slabs\r\n", b"END\r\n")


def test_stats_of_key_prefixes(run):
    """Lines of a kind of their own, and then END: all of it is this command's answer and nobody else's."""
    server, = mc.start(run)
    _, port = mc.front(run, [server], pool={"max": 1}, top={"workers": 1})
    with mc.Client(port) as c:
        assert c.ask(b"stats detail on\r\n") == b"OK\r\n"
        c.set(b"x:1", b"a")
        c.send(b"stats detail dump\r\nget x:1\r\nmn\r\n")
        assert c.until(b"MN\r\n") == b"PREFIX x get 0 hit 0 set 1 del 0\r\nEND\r\nVALUE x:1 0 1\r\na\r\nEND\r\nMN\r\n"


def test_keys_of_all_servers(run):
    """`stats cachedump`, by which PHP's getAllKeys goes: every server's keys, as this listener's clients know them."""
    servers = mc.start(run, 3)
    _, port = mc.front(run, servers, listener={"memcached": {"prefix": "app:"}})
    for s in servers:
        with mc.Client(s.port) as c:
            c.set(b"foreign", b"x")
    keys = {b"k%d" % n for n in range(30)}

    def dumped(at):
        with mc.Client(at) as c:
            lines = c.ask(b"stats cachedump 1 100\r\n", b"END\r\n").split(b"\r\n")
            return {line.split()[1] for line in lines if line.startswith(b"ITEM ")}

    def same():  # a server tells of its keys when it has moved them to where it looks
        there = [{k[4:] for k in dumped(s.port) if k.startswith(b"app:")} for s in servers]
        return all(there) and dumped(port) == set().union(*there) <= keys
    with mc.Client(port) as c:
        for key in keys:
            c.set(key, b"x")
        until(same, 10, "the keys of all three")
        assert c.ask(b"stats cachedump 30 100\r\n", b"END\r\n") == b"END\r\n"
        assert c.ask(b"stats detail on\r\n") == b"OK\r\n"
        for key in keys:
            c.set(key, b"x")
        dump = c.ask(b"stats detail dump\r\n", b"END\r\n").split(b"\r\n")
        assert sum(int(line.split()[7]) for line in dump if line.startswith(b"PREFIX app ")) == len(keys)


def test_flush_and_verbosity_reach_all(run):
    servers = mc.start(run, 3)
    _, port = mc.front(run, servers)
    with mc.Client(port) as c:
        for n in range(30):
            c.set(b"k%d" % n, b"x")
        assert all(s.stat("curr_items") for s in servers)
        assert c.ask(b"flush_all\r\n") == b"OK\r\n"
        assert c.get(*(b"k%d" % n for n in range(30))) == {}
    assert all(s.stat("cmd_flush") == 1 for s in servers)


def test_flush_can_be_denied(run):
    server, = mc.start(run)
    p, port = mc.front(run, [server], listener={"memcached": {"flush_all": "deny"}})
    with mc.Client(port) as c:
        c.set(b"a", b"1")
        assert c.ask(b"flush_all\r\n") == b"CLIENT_ERROR flush_all not allowed\r\n"
        assert c.ask(b"flush_all 10 noreply\r\nmn\r\n") == b"MN\r\n"
        assert c.get(b"a") == {b"a": b"1"}
    until(lambda: "memcached.flush_all: deny" in p.log(), 5, "the key's name in the log")


def test_prefix(run):
    """What one listener's clients store, the server has under the prefix, and they never see it."""
    server, = mc.start(run)
    _, port = mc.front(run, [server], listener={"memcached": {"prefix": "site-a:"}})
    with mc.Client(port) as c, mc.Client(server.port) as direct:
        c.set(b"k", b"v")
        assert direct.get(b"site-a:k", b"k") == {b"site-a:k": b"v"}
        assert c.get(b"k", b"nope") == {b"k": b"v"}
        assert c.ask(b"mg k k v Oz\r\n", b"v\r\n") == b"VA 1 kk Oz\r\nv\r\n"
        assert c.ask(b"mg aw== b k v\r\n", b"\r\nv\r\n") == b"VA 1 kk\r\nv\r\n"
        assert c.ask(b"ms //8= 1 b\r\nw\r\n") == b"HD\r\n"
        assert c.ask(b"mg //8= b k v\r\n", b"\r\nw\r\n") == b"VA 1 k//8= b\r\nw\r\n"
        assert c.ask(b"me k\r\n").startswith(b"ME k exp=")
        assert c.ask(b"me aw== b\r\n").startswith(b"ME k exp=")
        assert c.ask(b"me //8= b\r\n").startswith(b"ME //8= exp=")
        assert c.ask(b"incr k 1\r\n").startswith(b"CLIENT_ERROR cannot increment")
        assert c.ask(b"delete k\r\n") == b"DELETED\r\n"
        assert c.ask(b"get " + b"k" * 250 + b"\r\n").startswith(b"CLIENT_ERROR ")
        assert c.set(b"k" * 250, b"x").startswith(b"CLIENT_ERROR ")
        assert c.get(b"k") == {}


def test_a_line_too_long_with_its_prefix(run):
    """A server hangs up on 2,048 bytes without a line end: what the prefix makes longer is refused, and its data are read over."""
    def handler(conn):
        while conn.recv_line() is not None:
            conn.send(b"NOT_FOUND\r\n")
    fake = run.own(mc.Fake(handler))
    _, port = mc.front(run, [fake], listener={"memcached": {"prefix": "site-a:"}})
    refused = b"CLIENT_ERROR bad command line format\r\n"
    with mc.Client(port) as c:
        assert c.ask(b"touch k " + b"0" * 2038 + b"\r\n") == refused
        assert c.ask(b"ms k 9 " + b"T" + b"0" * 2036 + b"1\r\nflush_all\r\n") == refused
        assert c.ask(b"touch k " + b"0" * 2031 + b"\r\n") == b"NOT_FOUND\r\n"
    assert [len(line) for line in fake.lines] == [2046]


def test_many_keys_over_three_servers(run):
    """1,000 keys of three servers, in the order asked, with one END; misses left out; and 10,000 in one line."""
    servers = mc.start(run, 3)
    _, port = mc.front(run, servers)
    with mc.Client(port) as c:
        for n in range(0, 1000, 2):
            c.send(b"set key:%d 0 0 %d noreply\r\n%d\r\n" % (n, len(str(n)), n))
        keys = [b"key:%d" % n for n in range(1000)]
        c.send(b"get " + b" ".join(keys) + b"\r\nmn\r\n")
        answer = c.until(b"MN\r\n")
        assert answer == b"".join(b"VALUE key:%d 0 %d\r\n%d\r\n" % (n, len(str(n)), n) for n in range(0, 1000, 2)) + b"END\r\nMN\r\n"
        c.send(b"get " + b"key:2 " * 10000 + b"z\r\nmn\r\n")
        assert c.until(b"MN\r\n") == b"VALUE key:2 0 1\r\n2\r\n" * 10000 + b"END\r\nMN\r\n"
    assert all(s.stat("cmd_get") > 100 for s in servers)


def test_lines_that_touch_many_keys_are_short(run):
    """A server hangs up on 2,048 bytes without a line end, but for get and gets: one line each, gat and gats in several."""
    def handler(conn):
        while conn.recv_line() is not None:
            conn.send(b"END\r\n")
    fake = run.own(mc.Fake(handler))
    _, port = mc.front(run, [fake], pool={"max": 1}, top={"workers": 1})
    with mc.Client(port) as c:
        for verb, lines in ((b"get", 1), (b"gets", 1), (b"gat 10", 2), (b"gats 10", 2)):
            fake.lines.clear()
            assert c.ask(verb + b"".join(b" key:%030d" % n for n in range(100)) + b"\r\n") == b"END\r\n"
            assert len(fake.lines) == lines
            assert [k for line in fake.lines for k in line.split() if k.startswith(b"key:")] == [b"key:%030d" % n for n in range(100)]
            assert lines == 1 or max(map(len, fake.lines)) < 2048


def test_encoded_keys_are_where_they_were_put(run):
    """Of three servers every meta command asks the one that holds the key, encoded or not."""
    _, port = mc.front(run, mc.start(run, 3))
    with mc.Client(port) as c:
        for n in range(30):
            key = b"k:%d" % n
            code = base64.b64encode(key)
            assert c.ask(b"ms %b 1 b\r\nx\r\n" % code) == b"HD\r\n"
            for command in (b"mg %b b" % code, b"mg %b" % key):
                assert c.ask(command + b"\r\n") == b"HD\r\n"
            for command in (b"me %b b" % code, b"me %b" % key):
                assert c.ask(command + b"\r\n").startswith(b"ME %b exp=" % code)


def test_large_values(run):
    server, = mc.start(run, words=("-I", "16m"), memory=256)
    _, port = mc.front(run, [server], top={"limits": {"memory": "64MiB"}})
    with mc.Client(port) as c:
        for size in (65533, 65534, 65535, 65536, 100_000, 1_000_000, 10_000_000):
            value = os.urandom(size)
            assert c.set(b"big", value) == b"STORED\r\n"
            assert c.get(b"big") == {b"big": value}
        assert c.set(b"big", b"x" * 17_000_000).startswith(b"SERVER_ERROR ")
        assert c.set(b"small", b"y") == b"STORED\r\n"
        assert c.get(b"small") == {b"small": b"y"}


def test_value_over_the_limit(run):
    server, = mc.start(run)
    _, port = mc.front(run, [server], memcached={"value_max": "64KiB"})
    with mc.Client(port) as c:
        assert c.set(b"a", b"x" * 65537) == b"SERVER_ERROR object too large for cache\r\n"
        assert c.set(b"a", b"x" * 65536) == b"STORED\r\n"
        assert len(c.get(b"a")[b"a"]) == 65536


def test_connections_are_few_and_closed_by_the_server(run):
    """Many short clients: at most pool.max connections; reload keeps them; a goodbye is `quit`, and the server closes."""
    server, = mc.start(run)
    p, port = mc.front(run, [server], pool={"max": 2})
    for n in range(300):
        with mc.Client(port) as c:
            assert c.set(b"k%d" % n, b"%d" % n) == b"STORED\r\n"
            assert c.get(b"k%d" % n) == {b"k%d" % n: b"%d" % n}
    m = p.metrics()
    assert m.sum("lastack_connections_opened_total") <= 2
    assert m.sum("lastack_memcached_commands_total", upstream="cache", command="get") == 300
    assert m.sum("lastack_memcached_commands_total", upstream="cache", command="set") == 300
    assert m.sum("lastack_memcached_keys_total", result="hit") == 300
    before = server.stat("total_connections")
    p.reload()
    for n in range(20):
        with mc.Client(port) as c:
            assert c.get(b"k%d" % n) == {b"k%d" % n: b"%d" % n}
    assert server.stat("total_connections") - before <= 22 and p.metrics().sum("lastack_connections_opened_total") <= 2
    assert p.stop() == 0
    assert mc.connections(server.port).get("TIME-WAIT", 0) == 0


@pytest.mark.sanitizer
@pytest.mark.parametrize("at_once", [1, 40, 100])
def test_max_requests_says_quit(run, at_once):
    """So many commands, pipelined or not, and then quit, on each connection."""
    heard = collections.defaultdict(list)

    def serve(c):
        while (line := c.recv_line()) not in (None, b"quit"):
            heard[c.number].append(line)
            c.send(b"END\r\n")
        heard[c.number].append(line)
    fake = run.own(mc.Fake(serve))
    p, port = mc.front(run, [fake], pool={"max": 1, "max_requests": 10}, top={"workers": 1}, health={"interval": "1h"})
    with mc.Client(port) as c:
        for n in range(0, 200, at_once):
            c.send(b"get k\r\n" * at_once)
            for _ in range(at_once):
                assert c.line() == b"END\r\n"
    until(lambda: p.metrics().sum("lastack_connections_closed_total", reason="goodbye") == 20, 10, "all goodbyes")
    assert list(heard.values()) == [[b"get k"] * 10 + [b"quit"]] * 20
    assert p.metrics().sum("lastack_connections_closed_total") == 20


def test_unix_socket(run):
    server, = mc.start(run)
    path = os.path.join(run.folder("sockets"), "mc.sock")
    p, port = mc.front(run, [server], listener={"address": f"unix:{path}"})
    with mc.Client(path) as c:
        assert c.set(b"a", b"1") == b"STORED\r\n"
        assert c.get(b"a") == {b"a": b"1"}


def test_a_fin_after_the_commands(run):
    """printf … | nc: everything that was asked is answered, then the connection ends."""
    server, = mc.start(run)
    _, port = mc.front(run, [server])
    with mc.Client(port) as c:
        c.send(b"set a 0 0 1\r\n1\r\nget a\r\n")
        c.socket.shutdown(1)
        assert c.rest() == b"STORED\r\nVALUE a 0 1\r\n1\r\nEND\r\n"
    with mc.Client(port) as c:
        c.send(b"set a 0 0 5\r\n12")
        c.socket.shutdown(1)
        assert c.rest() == b""
    with mc.Client(port) as c:
        assert c.get(b"a") == {b"a": b"1"}


def test_binary_protocol_is_named_in_the_log(run):
    server, = mc.start(run)
    p, port = mc.front(run, [server])
    with mc.Client(port) as c:
        c.send(b"\x80\x00\x00\x02" + b"\0" * 20 + b"k1")
        assert c.rest() == b""
    until(lambda: "Memcached::OPT_BINARY_PROTOCOL" in p.log(), 5, "the option's name in the log")
    assert server.stat("cmd_get") == 0


def test_access_log_has_a_line_for_each_command(run):
    server, = mc.start(run)
    p, port = mc.front(run, [server])
    with mc.Client(port) as c:
        c.send(b"set a 0 0 3\r\nabc\r\nget a b\r\nset n 0 0 1 noreply\r\n1\r\nincr a 1\r\nbogus\r\nmg a v\r\nget " + b"k" * 251 + b"\r\nversion\r\nquit\r\n")
        answer = c.rest()
    found = until(lambda: len(p.access()) >= 9 and p.access(), 10, "nine lines")
    assert [(x["command"], x["key"], x["keys"], x["result"], x["hits"], x["misses"]) for x in found] == [
        ("set", "a", 1, "STORED", 0, 0), ("get", "a", 2, "VALUE", 1, 1), ("set", "n", 1, "STORED", 0, 0),
        ("incr", "a", 1, "CLIENT_ERROR", 0, 0), ("-", "", 0, "ERROR", 0, 0), ("mg", "a", 1, "VA", 1, 0),
        ("-", "", 0, "CLIENT_ERROR", 0, 0), ("version", "", 0, "VERSION", 0, 0), ("quit", "", 0, "", 0, 0)]
    assert all(x["listener"] == "mc" and x["client"] == "127.0.0.1" for x in found)
    assert {x["error"] for x in found if x["command"] == "-"} == {"bad_request"}
    assert {x["server"] for x in found if x["command"] not in ("-", "quit")} == {server.text}
    assert found[0]["bytes_in"] == len("set a 0 0 3\r\nabc\r\n") and found[0]["bytes_out"] == len("STORED\r\n")
    assert sum(x["bytes_out"] for x in found) == len(answer)
    assert all(x["total_ms"] >= 0 for x in found)


def test_access_log_names_commands_whose_client_left(run):
    """One that a server was asked, once its answer is there; one whose data never came, at once."""
    asked, go = threading.Event(), threading.Event()

    def handler(conn):
        while (line := conn.recv_line()) is not None:
            if line == b"get a":
                asked.set()
                go.wait(10)
                conn.send(b"VALUE a 0 1\r\n1\r\nEND\r\n")
            else:
                conn.send(b"VERSION 1\r\n")
    server = run.own(mc.Fake(handler))
    p, port = mc.front(run, [server], timeouts={"response": "20s"})
    with mc.Client(port) as c:
        c.send(b"get a\r\nset b 0 0 5\r\nxy")
        assert asked.wait(10)
        c.reset()
    found, = until(p.access, 10, "the set")
    assert (found["command"], found["key"], found["result"], found["error"], found["bytes_out"]) == ("set", "b", "", "client_gone", 0)
    go.set()
    _, found = until(lambda: len(p.access()) == 2 and p.access(), 10, "the get")
    assert (found["command"], found["key"], found["result"], found["hits"]) == ("get", "a", "VALUE", 1)
    assert (found["error"], found["bytes_out"], found["client"]) == ("client_gone", 0, "127.0.0.1")


def test_access_log_in_one_line(run):
    server, = mc.start(run)
    p, port = mc.front(run, [server], top={"log": {"format": "combined"}})
    with mc.Client(port) as c:
        assert c.get(b'a"b') == {}
    line, = until(p.access_lines, 10, "a line")
    assert re.fullmatch(r'127\.0\.0\.1 - - \[[^]]+\] "get a\\x22b" END 5 listener=\S+ bytes_in=9 keys=1 hits=0 misses=1 upstream=cache '
                        rf'server={re.escape(server.text)} total_ms=[\d.]+ error=-', line), line


def test_connections_under_way_are_shown(run):
    """Who waits for a server, who is in the middle of a value; not who is idle."""
    started = threading.Event()

    def handler(conn):
        while conn.recv_line() is not None:
            started.set()
    fake = run.own(mc.Fake(handler))
    p, port = mc.front(run, [fake], timeouts={"response": "20s"})
    with mc.Client(port) as waits, mc.Client(port) as uploads, mc.Client(port):
        waits.send(b"get a\r\nget b\r\n")
        uploads.send(b"set k 0 0 100\r\nabc")
        assert started.wait(10)
        shown = until(lambda: len(s := json.loads(p.admin("/api/v1/connections")[2])) == 2 and s, 10, "two of them")
        assert sorted((x["listener"], x["state"], x["commands"], x["upstream"]) for x in shown) == [
            ("mc", "data", 1, "cache"), ("mc", "waiting", 2, "cache")]


def test_what_is_spooled_reaches_a_reader_of_large_buffers(run):
    """Answers of which little may be held, to a client that takes all that it is sent: whatever is written at once, the rest follows."""
    server, = mc.start(run)
    p, port = mc.front(run, [server], buffer={"response": "4KiB"})
    large = bytes(900_000)
    with mc.Client(port) as c:
        assert c.set(b"large", large) == b"STORED\r\n"
        for _ in range(5):
            c.send(b"get large\r\n" * 3)
            for _ in range(3):
                assert c.values() == {b"large": large}
    until(lambda: p.metrics().sum("lastack_disk_used_bytes") == 0, 10, "the spool to be given back")


@pytest.mark.sanitizer
def test_fewer_connections_after_a_reload(run):
    """The line that is one too many goes, not the one that all commands go to."""
    server, = mc.start(run)
    p, port = mc.front(run, [server], top={"workers": 1}, pool={"max": 2}, timeouts={"response": "10s"})
    with mc.Client(port) as c:
        assert c.set(b"big", b"v" * 200000) == b"STORED\r\n" and c.set(b"k", b"v") == b"STORED\r\n"
        assert p.metrics().sum("lastack_connections", upstream="cache") == 2
        conf = copy.deepcopy(p.conf)
        conf["upstreams"]["cache"]["pool"]["max"] = 1
        p.reload(conf)
        until(lambda: p.metrics().sum("lastack_connections", upstream="cache") == 1, 10, "one to go")
        for _ in range(5):
            assert c.get(b"k") == {b"k": b"v"} and c.get(b"big") == {b"big": b"v" * 200000}
    assert p.metrics().sum("lastack_errors_total") == 0
