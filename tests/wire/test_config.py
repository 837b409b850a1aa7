"""`check`, `schema` and the reference: what is wrong is said at once, each with its place, and nothing is sent anywhere."""
import json
import os
import re

import pytest
import yaml

from harness import netns
from harness.proxy import BIN, KIND, ROOT, lastack

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
        lines = [x for x in out.splitlines() if not x.startswith("warning:")]
        assert len(lines) == 6, out
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
