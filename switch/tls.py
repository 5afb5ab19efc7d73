"""TLS of the terminals' listeners and of links: a context from PEM texts, and until when they hold.

TLS 1.2 and later with Python's own choice of ciphers. The supervisor alone reads the files; workers
get their content, so that all of them change at the same word and one that is started again has what
the others have, whatever lies in the files by then.
"""

from __future__ import annotations

import hashlib
import os
import ssl
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import msgspec
from cryptography import x509

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Sequence


class TlsError(Exception):
    """What can not be used, in one sentence."""


class Pem(msgspec.Struct, frozen=True):
    """What a listener or link shows, and whose certificates the other side must show ("" where none).

    A link may show none, where the bank asks for none.
    """

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
    _furnish(context, pem)
    if pem.clients:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class LinkContext(ssl.SSLContext):
    """Of a link: what the authorities vouch for must also be one of `pins`, where there are any.

    `pins`: SHA-256 of the certificate (DER), in lower-case hex. Checked at the end of the handshake, so
    that no connection is made with another.
    """

    pins: frozenset[str]
    serves: bool


def link_context(pem: Pem, *, serves: bool, pins: Sequence[str] = ()) -> LinkContext:
    """Both sides show a certificate that the other's authorities vouch for. Raises `TlsError`.

    `serves`: the bank connects to us. Who connects may show none where it has none; then the name of
    the other's certificate is checked, too.
    """
    if not pem.clients:
        raise TlsError("authorities: a link names those of the other side's certificate")
    context = LinkContext(ssl.PROTOCOL_TLS_SERVER if serves else ssl.PROTOCOL_TLS_CLIENT)
    context.pins = frozenset(pin.lower().replace(":", "") for pin in pins)
    context.serves = serves
    context.sslobject_class = _Pinned
    _furnish(context, pem)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


class _Pinned(ssl.SSLObject):
    def do_handshake(self) -> None:
        super().do_handshake()
        context = self.context
        assert isinstance(context, LinkContext)
        shown = self.getpeercert(binary_form=True) or b""
        if context.pins and hashlib.sha256(shown).hexdigest() not in context.pins:
            raise ssl.SSLCertVerificationError("the certificate is none of those in tls_pins")


def _furnish(context: ssl.SSLContext, pem: Pem) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    if pem.certificate or pem.key:
        try:
            with _file(pem.certificate) as certificate, _file(pem.key) as key:
                context.load_cert_chain(certificate, key, password=_refuse_passphrase)
        except (ssl.SSLError, ValueError) as error:
            raise TlsError(f"certificate and key: {_reason(error)}") from error
    if pem.clients:
        try:
            context.load_verify_locations(cadata=pem.clients.decode("ascii", "replace"))
        except (ssl.SSLError, ValueError) as error:
            raise TlsError(f"authorities: {_reason(error)}") from error


def validity_of(pem: Pem) -> Validity:
    """Of the chain as a whole: an intermediate that has ended is as bad as the node's own.

    Who shows no certificate is held to the authorities of the other side.
    """
    try:
        chain = x509.load_pem_x509_certificates(pem.certificate or pem.clients)
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
