"""A certificate authority of a test's own: certificates good and bad, revocation lists, OCSP responses, by openssl(1)."""
import os
import ssl
import subprocess

import cryptography.x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

DAY = 86400


def openssl(*words, cwd=None, input=None):
    done = subprocess.run(["openssl", *map(str, words)], cwd=cwd, input=input, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"openssl {' '.join(map(str, words))}: {done.stderr[-2000:]}"
    return done.stdout


class Pair:
    def __init__(self, certificate, key, chain=None):
        self.certificate, self.key, self.chain = certificate, key, chain or certificate

    @property
    def whole(self):
        """Certificate, chain and key in one file."""
        path = self.key + ".whole"
        with open(path, "w") as f:
            f.write(open(self.chain).read() + open(self.key).read())
        return path

    @property
    def conf(self):
        """As a listener's tls.certificates takes it."""
        return {"certificate": self.chain, "key": self.key}


class Authority:
    """openssl ca with its little database, in a folder of the test."""

    def __init__(self, folder, name="test CA", kind="ec"):
        self.folder, self.kind, self.serial = str(folder), kind, 0
        os.makedirs(self.folder, exist_ok=True)
        os.chmod(self.folder, 0o755)
        self.certificate, self.key = self._path("ca.pem"), self._path("ca.key")
        for name_, text in (("index.txt", ""), ("index.txt.attr", "unique_subject = no\n"), ("serial", os.urandom(8).hex().replace("0", "1") + "\n"), ("crlnumber", "01\n")):
            self._write(name_, text)
        self._write("ca.cnf", f"""
[ca]
default_ca = here
[here]
dir = {self.folder}
new_certs_dir = {self.folder}
database = {self.folder}/index.txt
serial = {self.folder}/serial
crlnumber = {self.folder}/crlnumber
certificate = {self.certificate}
private_key = {self.key}
default_md = sha256
default_days = 90
default_crl_days = 30
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
organizationName = optional
""")
        openssl("req", "-x509", *self._new_key(kind), "-nodes", "-keyout", self.key, "-out", self.certificate, "-days", 90,
                "-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE",
                "-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature")

    def _path(self, name):
        return os.path.join(self.folder, name)

    def _write(self, name, text):
        with open(self._path(name), "w") as f:
            f.write(text)
        return self._path(name)

    @staticmethod
    def _new_key(kind):
        return ["-newkey", "rsa:2048"] if kind == "rsa" else ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]

    def issue(self, name="test", names=("DNS:test", "DNS:localhost", "IP:127.0.0.1"), kind=None, start=None, end=None, extra=(),
              subject=None):
        """start, end: YYYYMMDDHHMMSSZ."""
        self.serial += 1
        stem = f"{name.replace('*', 'any').replace('/', '_')}-{self.serial}"
        request, key, certificate = (self._path(stem + end_) for end_ in (".csr", ".key", ".pem"))
        words = ["req", "-new", *self._new_key(kind or self.kind), "-nodes", "-keyout", key, "-out", request, "-subj",
                 subject or f"/CN={name}"]
        if names:
            words += ["-addext", "subjectAltName=" + ",".join(names)]
        for one in extra:
            words += ["-addext", one]
        openssl(*words)
        dates = (["-startdate", start] if start else []) + (["-enddate", end] if end else [])
        openssl("ca", "-batch", "-notext", "-config", self._path("ca.cnf"), "-in", request, "-out", certificate, *dates)
        os.chmod(key, 0o644)
        with open(self._path(stem + ".chain"), "w") as f:
            f.write(open(certificate).read() + open(self.certificate).read())
        return Pair(certificate, key, self._path(stem + ".chain"))

    def expired(self, **more):
        return self.issue(start="20200101000000Z", end="20200201000000Z", **more)

    def self_signed(self, name="test"):
        key, certificate = self._path("self.key"), self._path("self.pem")
        openssl("req", "-x509", *self._new_key("ec"), "-nodes", "-keyout", key, "-out", certificate, "-days", 30, "-subj",
                f"/CN={name}", "-addext", f"subjectAltName=DNS:{name},IP:127.0.0.1")
        os.chmod(key, 0o644)
        return Pair(certificate, key)

    def revoke(self, pair):
        openssl("ca", "-config", self._path("ca.cnf"), "-revoke", pair.certificate)

    def crl(self):
        out = self._path("crl.pem")
        openssl("ca", "-config", self._path("ca.cnf"), "-gencrl", "-out", out)
        return out

    def ocsp(self, pair, name="ocsp.der", signer=None, *words):
        """A response of this authority about pair's certificate, in DER. signer: another Pair or Authority signs it."""
        out, signer = self._path(name), signer or self
        openssl("ocsp", "-index", self._path("index.txt"), "-CA", self.certificate, "-rsigner", signer.certificate, "-rkey", signer.key,
                "-issuer", self.certificate, "-cert", pair.certificate, "-respout", out, "-ndays", 3, "-noverify", *words)
        return out

    def ocsp_of(self, pair, start, end, name="dated.der"):
        """The same for other times (datetime, UTC), which openssl(1) cannot say."""
        x = lambda path: cryptography.x509.load_pem_x509_certificate(open(path, "rb").read())
        issuer, out = x(self.certificate), self._path(name)
        builder = ocsp.OCSPResponseBuilder().add_response(
            cert=x(pair.certificate), issuer=issuer, algorithm=hashes.SHA1(), cert_status=ocsp.OCSPCertStatus.GOOD, this_update=start,
            next_update=end, revocation_time=None, revocation_reason=None).responder_id(ocsp.OCSPResponderEncoding.HASH, issuer)
        key = serialization.load_pem_private_key(open(self.key, "rb").read(), None)
        with open(out, "wb") as f:
            f.write(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER))
        return out


def client_context(ca=None, version=None, alpn=("http/1.1",), pair=None):
    """For raw.Client: trusts ca (an Authority), or anybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = ca is not None
    context.verify_mode = ssl.CERT_REQUIRED if ca else ssl.CERT_NONE
    if ca:
        context.load_verify_locations(ca.certificate)
    if version:
        context.minimum_version = context.maximum_version = version
    if alpn:
        context.set_alpn_protocols(alpn)
    if pair:
        context.load_cert_chain(pair.chain, pair.key)
    return context


def server_context(pair, version=None, ca=None):
    """For raw.Origin. ca: clients must show one of its certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.chain, pair.key)
    if version:
        context.minimum_version = context.maximum_version = version
    if ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(ca.certificate)
    return context
