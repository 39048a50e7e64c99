"""A CA for a test, and the certificates that it gives."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_PEM = serialization.Encoding.PEM


@dataclass(frozen=True, slots=True)
class Pair:
    """Files of a certificate and its key."""

    certificate_file: str
    key_file: str


class Authority:
    """A CA; *ca_file* is what others trust."""

    def __init__(self, folder: Path, name: str = "Test CA") -> None:
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = self._builder(self._name, self._key, days=30).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        self.ca_file = str(folder / f"{name}.pem")
        Path(self.ca_file).write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(_PEM))

    def gives(self, name: str = "127.0.0.1", *, days: int = 30, into: Pair | None = None) -> Pair:
        """A certificate for *name* (and 127.0.0.1), good for servers and clients; *into*: files that it replaces."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        made = self._builder(subject, key, days).add_extension(names, critical=False)
        pair = into or Pair(str(self._folder / f"{name}.crt"), str(self._folder / f"{name}.key"))
        Path(pair.certificate_file).write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(_PEM))
        Path(pair.key_file).write_bytes(
            key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        return pair

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=days))
        )
