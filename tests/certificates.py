"""Certificates made for a test: authorities, and whom they vouch for."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path

YEAR = dt.timedelta(days=365)


@dataclass
class Certificate:
    """One with its key, in PEM."""

    made: x509.Certificate
    secret: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

    @classmethod
    def make(
        cls,
        name: str,
        issuer: Certificate | None = None,
        *,
        lasts: dt.timedelta = YEAR,
        begins: dt.timedelta = -YEAR,
        rsa_bits: int = 0,
    ) -> Self:
        """Without an issuer: an authority. `begins`, `lasts`: from now."""
        now = dt.datetime.now(dt.UTC)
        secret = (
            rsa.generate_private_key(65_537, rsa_bits)
            if rsa_bits
            else ec.generate_private_key(ec.SECP256R1())
        )
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.made.subject if issuer else subject)
            .public_key(secret.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begins)
            .not_valid_after(now + lasts)
            .add_extension(
                x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True
            )
        )
        if issuer is not None:
            address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
            builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
        signer = issuer.secret if issuer else secret
        return cls(builder.sign(signer, hashes.SHA256()), secret)

    @property
    def pem(self) -> bytes:
        return self.made.public_bytes(serialization.Encoding.PEM)

    @property
    def serial(self) -> int:
        return self.made.serial_number

    @staticmethod
    def serial_of(pem: bytes) -> int:
        return x509.load_pem_x509_certificate(pem).serial_number

    def key_pem(self, passphrase: bytes = b"") -> bytes:
        return self.secret.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(passphrase)
            if passphrase
            else serialization.NoEncryption(),
        )

    def write(self, folder: Path, name: str) -> tuple[str, str]:
        """The paths of certificate and key."""
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        certificate.write_bytes(self.pem)
        key.write_bytes(self.key_pem())
        return str(certificate), str(key)


def client_context(
    authority: Certificate | None, own: tuple[str, str] | None = None
) -> ssl.SSLContext:
    """Of a terminal; without an authority it believes everybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if authority is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(cadata=authority.pem.decode())
    if own is not None:
        context.load_cert_chain(*own)
    return context
