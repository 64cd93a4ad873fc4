"""Certificates of an authority that nobody else trusts, for one test."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Certificates:
    """An authority, a server on 127.0.0.1 and a client, as PEM files of a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder, self._authority_key = folder, ec.generate_private_key(ec.SECP256R1())
        self.ca, _ = self._made("authority", self._authority_key, is_authority=True)
        self.server, self.server_key = self._made("server", ec.generate_private_key(ec.SECP256R1()))
        self.client, self.client_key = self._made("client", ec.generate_private_key(ec.SECP256R1()))

    def _made(self, name: str, key: ec.EllipticCurvePrivateKey, *, is_authority: bool = False) -> tuple[Path, Path]:
        now = datetime.now(UTC)
        local = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_named(name))
            .issuer_name(_named("authority"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(local, critical=False)
            .sign(self._authority_key, hashes.SHA256())
        )
        paths = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return paths


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
