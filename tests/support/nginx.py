"""A real nginx with the project's own configuration, on the loopback, and the certificates that it takes."""

from __future__ import annotations

import datetime as dt
import ipaddress
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.support.checkouts import ROOT

__all__ = ["USER", "Nginx", "make_tls", "require_nginx", "running_nginx"]

#: Who may write with a password.
USER = "ci:secret"

CONFIGURATION = ROOT / "docker/cluster/nginx.conf"


@dataclass(frozen=True)
class Nginx:
    """A step cache.

    Attributes:
        address: of it, https.
        store: its folder.
        tls: the certificates of a machine that may write.
    """

    address: str
    store: Path
    tls: Path

    def with_password(self) -> str:
        return self.address.replace("://", f"://{USER}@")


def require_nginx() -> str:
    """The program; the test is skipped where it is not installed."""
    found = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if not found:
        pytest.skip("needs Debian's nginx-light")
    return found


def make_tls(folder: Path, ca_of: Path | None = None) -> Path:
    """A folder of ca.pem, cert.pem and key.pem for 127.0.0.1, of a new CA or that of another folder."""
    folder.mkdir(parents=True)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    now = dt.datetime.now(dt.UTC)

    def certify(key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey, *, is_ca: bool) -> bytes:
        subject = name if is_ca else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, folder.name)])
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=0 if is_ca else None), critical=True)
        )
        if not is_ca:
            usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            made = made.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
            here = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
            made = made.add_extension(x509.SubjectAlternativeName([here]), critical=False)
        return made.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def dump(key: ec.EllipticCurvePrivateKey) -> bytes:
        kind = serialization.PrivateFormat.PKCS8
        return key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())

    if ca_of is None:
        authority = ec.generate_private_key(ec.SECP256R1())
        (folder / "ca.key").write_bytes(dump(authority))
        (folder / "ca.pem").write_bytes(certify(authority, authority, is_ca=True))
    else:
        loaded = serialization.load_pem_private_key((ca_of / "ca.key").read_bytes(), None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        authority = loaded
        shutil.copy(ca_of / "ca.pem", folder)
    key = ec.generate_private_key(ec.SECP256R1())
    (folder / "key.pem").write_bytes(dump(key))
    (folder / "key.pem").chmod(0o600)
    (folder / "cert.pem").write_bytes(certify(key, authority, is_ca=False))
    return folder


@contextmanager
def running_nginx(folder: Path) -> Iterator[Nginx]:
    """Start it on a free port, with the places of the configuration in ``folder``; end it with its workers."""
    program = require_nginx()
    etc, store = make_tls(folder / "etc"), folder / "store"
    store.mkdir()
    hashed = subprocess.run(["openssl", "passwd", "-6", "secret"], capture_output=True, text=True, check=True).stdout
    (etc / "htpasswd").write_text(f"ci:{hashed}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    text = CONFIGURATION.read_text()
    for old, new in (
        ("user www-data;", "user root;" if Path("/proc/self").owner() == "root" else ""),
        ("worker_processes auto;", "worker_processes 2;"),
        ("listen 8443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("/srv/steps", str(store)),
        ("/etc/steps", str(etc)),
        ("/tmp/steps-", f"{folder}/"),
    ):
        assert old in text
        text = text.replace(old, new)
    (folder / "nginx.conf").write_text(text)
    command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]
    log = folder / "log"
    with log.open("w") as said:  # a pipe that nobody reads would fill, and nginx wait
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        yield Nginx(f"https://127.0.0.1:{port}", store, make_tls(folder / "writer", etc))
    finally:
        process.terminate()
        process.wait(timeout=20)
