"""TLS of the terminals' listeners: a context from PEM texts, and until when they hold.

TLS 1.2 and later with Python's own choice of ciphers. The supervisor alone reads the files; workers
get their content, so that all of them change at the same word and one that is started again has what
the others have, whatever lies in the files by then.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import msgspec
from cryptography import x509

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator


class TlsError(Exception):
    """What can not be used, in one sentence."""


class Pem(msgspec.Struct, frozen=True):
    """What a listener shows, and whose certificates its terminals must show ("" where none)."""

    certificate: bytes
    key: bytes
    clients: bytes = b""

    def __repr__(self) -> str:
        return f"Pem({len(self.certificate)} bytes of certificates)"


class Validity(msgspec.Struct, frozen=True):
    """When every certificate of a chain holds."""

    begins_at: "dt.datetime"
    ends_at: "dt.datetime"


def context_of(pem: Pem) -> ssl.SSLContext:
    """Raises `TlsError`: not PEM, a key of another certificate, a key under a passphrase."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        with _file(pem.certificate) as certificate, _file(pem.key) as key:
            context.load_cert_chain(certificate, key, password=_refuse_passphrase)
    except (ssl.SSLError, ValueError) as error:
        raise TlsError(f"certificate and key: {_reason(error)}") from error
    if pem.clients:
        try:
            context.load_verify_locations(cadata=pem.clients.decode("ascii", "replace"))
        except (ssl.SSLError, ValueError) as error:
            raise TlsError(f"authorities of clients: {_reason(error)}") from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def validity_of(pem: Pem) -> Validity:
    """Of the chain as a whole: an intermediate that has ended is as bad as the node's own."""
    try:
        chain = x509.load_pem_x509_certificates(pem.certificate)
    except ValueError as error:
        raise TlsError(f"certificate: {error}") from error
    return Validity(
        max(each.not_valid_before_utc for each in chain),
        min(each.not_valid_after_utc for each in chain),
    )


def _refuse_passphrase() -> NoReturn:
    raise ValueError("the key is under a passphrase")  # OpenSSL would ask for it on the console


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error).lower().replace("_", " ")


@contextmanager
def _file(content: bytes) -> Iterator[str]:
    """The name of a file with this content, in memory where the system can: `ssl` takes names only."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, content)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
    else:
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            yield file.name
