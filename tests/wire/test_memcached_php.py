"""Real PHP (php-memcached, libmemcached): sessions and objects, short and persistent connections, TCP and Unix sockets; and
keys that PHP has placed on three servers itself are found through lastack, and the other way round."""
import os

import pytest

from harness import memcached as mc

CHECK = """
function check($c, $what) { if (!$c) { fwrite(STDERR, "failed: $what\\n"); exit(1); } }
"""
KEYS = """
$keys = []; for ($i = 0; $i < 300; $i++) { $keys[] = ["user:$i", "sess_" . dechex($i * 7919), "memc.sess.key.$i", "k$i"][$i % 4]; }
"""
# lastack's words for PHP's options
SETTINGS = {
    "modula": ({"distribution": "modula"}, "[]"),
    "modula-md5": ({"distribution": "modula", "hash": "md5"}, "[Memcached::OPT_HASH => Memcached::HASH_MD5]"),
    "modula-crc": ({"distribution": "modula", "hash": "crc32"}, "[Memcached::OPT_HASH => Memcached::HASH_CRC]"),
    "modula-fnv1_32": ({"distribution": "modula", "hash": "fnv1_32"}, "[Memcached::OPT_HASH => Memcached::HASH_FNV1_32]"),
    "modula-fnv1a_32": ({"distribution": "modula", "hash": "fnv1a_32"}, "[Memcached::OPT_HASH => Memcached::HASH_FNV1A_32]"),
    "modula-fnv1_64": ({"distribution": "modula", "hash": "fnv1_64"}, "[Memcached::OPT_HASH => Memcached::HASH_FNV1_64]"),
    "modula-fnv1a_64": ({"distribution": "modula", "hash": "fnv1a_64"}, "[Memcached::OPT_HASH => Memcached::HASH_FNV1A_64]"),
    "modula-murmur": ({"distribution": "modula", "hash": "murmur"}, "[Memcached::OPT_HASH => Memcached::HASH_MURMUR]"),
    "ketama": ({"distribution": "ketama"}, "[Memcached::OPT_LIBKETAMA_COMPATIBLE => true]"),
    "consistent": ({"distribution": "ketama_unweighted", "hash": "one_at_a_time"},
                   "[Memcached::OPT_DISTRIBUTION => Memcached::DISTRIBUTION_CONSISTENT]"),
    "consistent-md5": ({"distribution": "ketama_unweighted", "hash": "md5", "key_hash": "md5"},
                       "[Memcached::OPT_DISTRIBUTION => Memcached::DISTRIBUTION_CONSISTENT, Memcached::OPT_HASH => Memcached::HASH_MD5]"),
    "consistent-fnv": ({"distribution": "ketama_unweighted", "hash": "fnv1a_32"},
                       "[Memcached::OPT_DISTRIBUTION => Memcached::DISTRIBUTION_CONSISTENT, Memcached::OPT_HASH => Memcached::HASH_FNV1A_32]"),
}


@pytest.mark.parametrize("weights", [(1, 1, 1), (1, 2, 4)])
def test_keys_lie_where_php_puts_them(run, weights):
    servers = mc.start(run, 3)
    listens, upstreams, parts = [], {}, []
    for n, (name, (conf, options)) in enumerate(sorted(SETTINGS.items())):
        port = mc.free_port()
        upstreams[f"u{n}"] = {"protocol": "memcached", "memcached": conf,
                              "servers": [{"address": s.text, "weight": w} for s, w in zip(servers, weights)]}
        listens.append({"address": f"127.0.0.1:{port}", "protocol": "memcached", "upstream": f"u{n}"})
        parts.append(f"['{name}', {port}, {options}]")
    run.proxy({"workers": 1, "listen": listens, "upstreams": upstreams})
    direct = ", ".join(f"['127.0.0.1', {s.port}, {w}]" for s, w in zip(servers, weights))
    mc.php(CHECK + KEYS + f"""
        foreach ([{', '.join(parts)}] as [$name, $port, $options]) {{
            $straight = new Memcached(); $straight->setOptions($options + [Memcached::OPT_TCP_NODELAY => true]);
            $straight->addServers([{direct}]);
            $through = new Memcached(); $through->addServer('127.0.0.1', $port);
            check($straight->flush(), "$name flush");
            foreach ($keys as $i => $k) check($straight->set($k, "a$i"), "$name set $k");
            foreach ($keys as $i => $k) check($through->get($k) === "a$i", "$name through $k");
            $all = $through->getMulti($keys, Memcached::GET_PRESERVE_ORDER);
            check(count($all) === count($keys) && array_keys($all) === $keys, "$name getMulti");
            foreach ($keys as $i => $k) check($through->set($k, "b$i"), "$name set through $k");
            foreach ($keys as $i => $k) check($straight->get($k) === "b$i", "$name straight $k");
        }}""")


@pytest.mark.parametrize("unix", [False, True])
@pytest.mark.parametrize("persistent", [False, True])
def test_objects(run, unix, persistent):
    servers = mc.start(run, 3)
    path = os.path.join(run.folder("sockets"), "mc.sock")
    listener = {"address": f"unix:{path}"} if unix else None
    _, port = mc.front(run, servers, listener=listener, memcached={"distribution": "ketama"})
    mc.php(CHECK + """
        [$host, $port, $persistent] = [$argv[1], (int) $argv[2], $argv[3] === 'True'];
        for ($round = 0; $round < 20; $round++) {
            $m = $persistent ? new Memcached('pool') : new Memcached();
            if (!$m->getServerList()) $m->addServer($host, $port);
            $object = (object) ['a' => [1, 2.5, 'x' => null], 'text' => str_repeat('lastack ', 5000), 'round' => $round];
            check($m->set("o$round", $object, 60), 'set');
            check($m->get("o$round") == $object, 'get');
            check($m->add("o$round", 1) === false && $m->getResultCode() === Memcached::RES_NOTSTORED, 'add');
            check($m->set("n$round", 5) && $m->increment("n$round", 3) === 8 && $m->decrement("n$round", 1) === 7, 'numbers');
            check($m->setMulti(["m1" => 'a', "m2" => [1], "m3" => 3.5]), 'setMulti');
            check($m->getMulti(['m1', 'm2', 'none', 'm3']) == ['m1' => 'a', 'm2' => [1], 'm3' => 3.5], 'getMulti');
            $e = $m->get("n$round", null, Memcached::GET_EXTENDED);
            check($m->cas($e['cas'], "n$round", 100) && !$m->cas($e['cas'], "n$round", 101), 'cas');
            check($m->touch("n$round", 100) && $m->delete("n$round") && !$m->delete("n$round"), 'delete');
            check($m->get('nothing') === false && $m->getResultCode() === Memcached::RES_NOTFOUND, 'miss');
            check(count($m->getVersion()) === 1 && count($m->getStats()) === 1, 'version');
            $big = random_bytes(900000);
            check($m->set('big', $big) && $m->get('big') === $big, 'big');
            $m->setOption(Memcached::OPT_NOREPLY, true);
            $m->set('quiet', $round); $m->setOption(Memcached::OPT_NOREPLY, false);
            check($m->get('quiet') === $round, 'noreply');
        }""", path if unix else "127.0.0.1", 0 if unix else port, persistent)


def test_sessions(run):
    """PHP's own session handler, locks included, over three servers; each page is a process of its own."""
    servers = mc.start(run, 3)
    _, port = mc.front(run, servers)
    page = """
        ini_set('session.save_handler', 'memcached'); ini_set('session.save_path', '127.0.0.1:' . $argv[1]);
        ini_set('memcached.sess_binary_protocol', '0'); ini_set('session.use_cookies', '0'); ini_set('session.cache_limiter', '');
        session_id($argv[2]); session_start();
        $_SESSION['count'] = ($_SESSION['count'] ?? 0) + 1; $_SESSION['who'] = $argv[2];
        if ($_SESSION['who'] !== $argv[2]) exit(1);
        $count = $_SESSION['count']; session_write_close(); echo $count;
    """
    for turn in range(1, 4):
        for who in ("alice", "bob", "carol", "dave"):
            assert mc.php(page, port, who) == str(turn)
    assert sum(s.stat("curr_items") for s in servers) == 4


def test_binary_protocol_is_refused_at_once(run):
    server, = mc.start(run)
    p, port = mc.front(run, [server])
    mc.php(CHECK + """
        $m = new Memcached(); $m->setOption(Memcached::OPT_BINARY_PROTOCOL, true); $m->addServer('127.0.0.1', (int) $argv[1]);
        $start = microtime(true);
        check($m->set('a', 1) === false, 'set'); check(microtime(true) - $start < 5, 'at once');""", port)
    assert "Memcached::OPT_BINARY_PROTOCOL" in p.log()
