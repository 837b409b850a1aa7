"""`check`, `schema` and the reference: what is wrong is said at once, each with its place, and nothing is sent anywhere."""
import json
import os
import re
import subprocess

import pytest
import yaml

from harness import netns
from harness.proxy import BIN, KIND, ROOT, free_port, lastack

GOOD = """\
listen:
  - address: 127.0.0.1:8080
    upstream: app
upstreams:
  app:
    servers: [127.0.0.1:8081]
"""

SIX = """\
workers: many
listen:
  - address: 127.0.0.1:99999
    upstream: app
upstreams:
  app:
    servers: [127.0.0.1:8081]
    balance: fastest
    pool:
      maxx: 8
      max_age: 5 bananas
  other:
    servers: [127.0.0.1:8082]
    queue: { length: -1 }
"""


def written(directory, text):
    path = os.path.join(str(directory), "site.yaml")
    with open(path, "w") as f:
        f.write(text)
    return path


def check(directory, text):
    return lastack("check", written(directory, text))


def test_a_good_file(tmp_path):
    code, out = check(tmp_path, GOOD)
    assert code == 0, out


def test_six_mistakes_are_six_lines(tmp_path):
    path = written(tmp_path, SIX)
    wanted = [(1, 10, "workers"), (3, 14, "listen[0].address"), (8, 14, "upstreams.app.balance"),
              (10, 7, "upstreams.app.pool.maxx"), (11, 16, "upstreams.app.pool.max_age"), (14, 22, "upstreams.other.queue.length")]
    for command in ("check", "run"):
        code, out = lastack(command, path)
        assert code == 1, out
        *lines, last = [x for x in out.splitlines() if not x.startswith("warning:")]
        assert len(lines) == 6 and last.startswith("note: this host's addresses, users and files"), out
        assert [re.match(r"(.*?):(\d+):(\d+): (\S+): \S", x).groups() for x in lines] == \
            [(path, str(line), str(column), key) for line, column, key in wanted]


@pytest.mark.parametrize("text, said", [
    (GOOD + "    pool: { maxx: 8 }\n", ':7:13: upstreams.app.pool.maxx: unknown key, did you mean "max"?'),
    (GOOD + "    balanse: hash\n", 'upstreams.app.balanse: unknown key, did you mean "balance"?'),
    (GOOD + "    balance: lest_connections\n", 'did you mean "least_connections"?'),
    (GOOD + "    idle_reuse: 5s\n", 'did you mean "pool.idle_reuse"?'),
    (GOOD.replace("upstream: app", "upstream: ap"), 'did you mean "app"?'),
    (GOOD + "admin: { adress: \"127.0.0.1:9900\" }\n", 'did you mean "address"?'),
    (GOOD.replace("127.0.0.1:8080", "[::1]:8080"), 'must be quoted, such as "[::1]:80"'),
    (GOOD + "    tls: { verfy: true }\n", 'did you mean "verify"?'),
])
def test_what_was_meant(tmp_path, text, said):
    code, out = check(tmp_path, text)
    assert code == 1
    assert said in out, out


def test_a_name_of_the_longest_kind(tmp_path):
    """What depends on whether a key was written does so under every name."""
    name = "n" * 64
    text = GOOD.replace("app", name) + "    balance: hash\n    hash_key: client\n    tls: { server_name: \"app:8443\" }\n"
    code, out = check(tmp_path, text)
    assert code == 1 and "hash needs" not in out and "server_name: must be a name or an address" in out, out


def test_reference_and_examples_load(tmp_path):
    reference = os.path.join(ROOT, "conf/reference.yaml")
    code, out = lastack("check", reference)
    assert code == 0, out
    with open(reference) as f:
        assert lastack("schema", "--reference") == (0, f.read()), "conf/reference.yaml is not what the program prints"
    code, out = lastack("check", os.path.join(ROOT, "conf/examples/minimal.yaml"))
    assert code == 0, out
    for example in ("full", "tls", "memcached"):
        code, out = lastack("check", os.path.join(ROOT, f"conf/examples/{example}.yaml"))
        # Only what depends on the host it is read on may be wrong with it.
        for line in out.splitlines() if code else []:
            assert re.search(r"warning: |no user|not an address of this host|no socket can be made|no file can be made|"
                             r"/etc/ssl/lastack/\S+: No such file", line), line


def test_causes():
    """Every name that metrics and logs have for an error or a close, with its meaning."""
    with open(os.path.join(ROOT, "conf/causes.md")) as f:
        text = f.read()
    assert lastack("schema", "--causes") == (0, text), "conf/causes.md is not what the program prints"
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if "| `" in line]
    assert all(cells[-1] for cells in rows) and len({(r[0], r[1]) for r in rows}) == len(rows)
    assert sum(r[0] in ("backend", "proxy") for r in rows) >= 26 and sum(r[0].startswith("`") for r in rows) >= 59


def test_nowhere_to_print(tmp_path):
    """What was printed and could not be written has failed."""
    good = written(tmp_path, GOOD)
    for words in (("schema",), ("schema", "--reference"), ("check", good), ("--version",), ("bench", "--help")):
        with open("/dev/full", "w") as full:
            done = subprocess.run([BIN, *words], stdout=full, stderr=subprocess.PIPE, text=True, timeout=30)
        assert (done.returncode, done.stderr) == (1, "lastack: standard output cannot be written\n"), words


def keys(schema, root, prefix="", seen=()):
    """Every path of properties in a JSON Schema."""
    found = set()
    if "$ref" in schema:
        if schema["$ref"] in seen:
            return found
        at = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            at = at[part]
        return keys(at, root, prefix, (*seen, schema["$ref"]))
    for name, inner in schema.get("properties", {}).items():
        path = f"{prefix}.{name}" if prefix else name
        found |= {path} | keys(inner, root, path, seen)
    for word in ("items", "additionalProperties"):
        if isinstance(schema.get(word), dict):
            found |= keys(schema[word], root, prefix + ("[]" if word == "items" else ".*"), seen)
    for word in ("anyOf", "oneOf", "allOf"):
        for inner in schema.get(word, []):
            found |= keys(inner, root, prefix, seen)
    return found


def test_schema(tmp_path):
    code, out = lastack("schema")
    assert code == 0
    schema = json.loads(out)
    assert schema["$schema"].startswith("http") and schema["type"] == "object"
    found = keys(schema, schema)
    for key in ("workers", "listen[].address", "listen[].timeouts.head", "upstreams.*.pool.max", "upstreams.*.health.path",
                "upstreams.*.servers[].weight", "routes[].host", "limits.memory", "log.access"):
        assert key in found, sorted(found)

    def walk(value, path):
        if isinstance(value, dict):
            for k, v in value.items():
                inner = f"{path}.{'*' if path == 'upstreams' else k}" if path else k
                assert inner in found or path == "upstreams", inner
                walk(v, inner)
        elif isinstance(value, list):
            for v in value:
                walk(v, path + "[]")
    with open(os.path.join(ROOT, "conf/reference.yaml")) as f:
        walk(yaml.safe_load(f), "")


def test_reference_without_its_comment_signs(tmp_path):
    """It has every key, and each commented line is right where it stands. What is for one protocol alone is the only error."""
    with open(os.path.join(ROOT, "conf/reference.yaml")) as f:
        head, body = f.read().split("\n\n", 1)
    assert all(line.startswith("#") for line in head.splitlines())
    text = re.sub(r"(?m)^( *)# ((?:- )?\w+:)", r"\1\2", body)
    assert not re.search(r"(?m)^ *#", text)

    def paths(value, path):
        if isinstance(value, dict):
            for k, v in value.items():
                inner = f"{path}.{'*' if path == 'upstreams' else k}" if path else k
                yield inner
                yield from paths(v, inner)
        elif isinstance(value, list):
            for v in value:
                yield from paths(v, path + "[]")
    schema = json.loads(lastack("schema")[1])
    assert keys(schema, schema) - set(paths(yaml.safe_load(text), "")) == {"upstreams.*.source[].address"}, "its short form is there"
    code, out = check(tmp_path, text)
    assert code == 1
    assert re.findall(r"(?m)^[^\s:]+:\d+:\d+: (\S+): (.*)$", out) == [
        ("listen[0].memcached", "is for `protocol: memcached`, this listener is http"),
        ("upstreams.app.fastcgi", "is for `protocol: fastcgi`, this upstream is http"),
        ("upstreams.app.memcached", "is for `protocol: memcached`, this upstream is http")], out


@pytest.mark.skipif(KIND != "release", reason="sanitizers and strace both want ptrace")
def test_check_touches_no_network(tmp_path):
    """Neither a connection nor a datagram, for addresses and names alike."""
    text = GOOD.replace("[127.0.0.1:8081]", '["127.0.0.1:8081", "backend.example.com:80", "[::1]:8081"]') + "resolver: { servers: [192.0.2.53] }\n"
    trace = os.path.join(str(tmp_path), "trace")
    out = netns.HERE.run("strace", "-f", "-e", "trace=network", "-o", trace, BIN, "check", written(tmp_path, text), check=False)
    with open(trace) as f:
        calls = f.read()
    assert "exited with 0" in calls, out + calls
    for line in calls.splitlines():
        if re.search(r"\b(connect|sendto|sendmsg|sendmmsg|listen|accept4?)\(", line):
            assert "AF_UNIX" in line, line


def test_doctor_looks_at_certificates(tmp_path):
    """What `run` would refuse is nothing that "can be run"."""
    text = GOOD.replace("    upstream: app\n", "    upstream: app\n    tls: { certificates: [/nowhere/site.pem] }\n")
    for command in ("check", "doctor"):
        code, out = lastack(command, written(tmp_path, text))
        out = " ".join(out.split())
        assert code == 1 and "/nowhere/site.pem: No such file" in out and "can be run" not in out, out


def test_probe_looks_up_names(tmp_path):
    code, out = lastack("check", "--probe", written(tmp_path, GOOD))
    assert code == 0 and "nothing to ask" in out, out
    port, dns = free_port(), free_port()
    text = GOOD.replace("    servers: [127.0.0.1:8081]\n", f"    servers: [localhost:{port}]\n    protocol: fastcgi\n"
                        "    fastcgi: { root: /srv, files: false, status_path: /status }\n")
    code, out = lastack("check", "--probe", written(tmp_path, text))
    assert code == 0 and f"upstreams.app: server localhost:{port}@127.0.0.1:{port}: Connection refused" in out, out
    text = text.replace("localhost", "app.test") + f"resolver: {{ servers: [127.0.0.1:{dns}] }}\n"
    code, out = lastack("check", "--probe", written(tmp_path, text))
    assert code == 0 and re.search(rf"warning: .*: upstreams.app: server app.test:{port}: Could not contact DNS", out), out


def test_schema_takes_what_the_loader_takes(tmp_path):
    schema = json.loads(lastack("schema")[1])["properties"]
    pool = schema["upstreams"]["additionalProperties"]["properties"]["pool"]
    size, truth = schema["limits"]["properties"]["memory"], pool["properties"]["advise"]
    size = next(x for x in size["anyOf"] if x["type"] == "string")
    for key, pattern, words in (("limits: {{ memory: {} }}", size, ["64mib", "64 MiB", "64Mi", "9999999b", "1G", "64MB", "64x"]),
                                ("    pool: {{ advise: {} }}", truth, ["yes", "No", "on", "OFF", "true", "maybe"])):
        for word in words:
            code, out = check(tmp_path, GOOD + key.format(word) + "\n")
            assert (code == 0) == bool(re.search(pattern["pattern"], word)), (word, out)
    assert truth["type"] == ["boolean", "string"]
    for empty, at in (("admin:", schema["admin"]), ("    pool:", pool)):
        assert check(tmp_path, GOOD + empty + "\n")[0] == 0 and at["type"] == ["object", "null"]
