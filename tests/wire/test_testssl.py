"""testssl.sh of Debian against a listener with default settings: nothing that it finds is above LOW. Minutes: with --full."""
import json
import os
import shutil
import subprocess

import pytest

from harness.certs import Authority
from harness.wait import FULL


# What a site says of itself is the servers' business, but testssl.sh counts it.
HEADERS = ("Strict-Transport-Security: max-age=31536000\r\nX-Frame-Options: DENY\r\nX-Content-Type-Options: nosniff\r\n"
           "Content-Security-Policy: default-src 'none'\r\n")
NOT_OURS = {"engine_problem"}  # about the openssl(1) that testssl.sh itself uses


@pytest.mark.skipif(not FULL, reason="takes minutes: sh tests/run.sh --full")
@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_no_finding_above_low(run, kind):
    program = shutil.which("testssl")
    assert program, "testssl is missing: apt-get install testssl.sh (tests/run.sh does it)"
    ca = Authority(run.folder("ca"), kind=kind)
    pair = ca.issue("localhost", ("DNS:localhost",), extra=("authorityInfoAccess=OCSP;URI:http://127.0.0.1:1/",
                                                            "extendedKeyUsage=serverAuth"))
    conf = {**pair.conf, "ocsp": ca.ocsp(pair)}
    _, port = run.front([run.origin(answer=lambda r: (200, b"hello", HEADERS))], listener={"tls": {"certificates": [conf]}})
    out = os.path.join(run.folder("out"), "found.json")
    done = subprocess.run([program, "--quiet", "--warnings", "batch", "--color", "0", "--ip", "127.0.0.1", "--add-ca", ca.certificate,
                           "--jsonfile", out, f"localhost:{port}"], capture_output=True, text=True, timeout=1800)
    with open(out) as f:
        found = json.load(f)
    print(done.stdout)
    assert len(found) > 100, done.stdout[-2000:] + done.stderr[-2000:]
    bad = [x for x in found if x["severity"] in ("MEDIUM", "HIGH", "CRITICAL", "WARN", "FATAL") and x["id"] not in NOT_OURS]
    assert not bad, "\n".join(f"{x['severity']} {x['id']}: {x['finding']}" for x in bad)
