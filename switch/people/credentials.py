"""What an operator shows: a password and a code that is good once (TOTP), or an SSH key.

The password is kept as scrypt makes it (RFC 7914), in the form `$scrypt$ln=15,r=8,p=1$SALT$HASH`. Of the
64 bytes that scrypt gives, the first half is the hash; the second is the key under which the TOTP secret
is sealed (AES-256-GCM), so no command needs the LMK to know who runs it, and the store alone shows
neither. TOTP is RFC 6238 with SHA-1, six digits and 30 s: what every authenticator application takes.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hmac
import re
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

import msgspec

from hsm import ciphers
from hsm.errors import VaultError

if TYPE_CHECKING:
    from collections.abc import Callable

COST_LOG2 = 15  # 32 MiB, some 0.1 s
COST_LOG2_MAX = 20
SALT_BYTES = 16
NONCE_BYTES = 12
TOTP_BYTES = 20
TOTP_DIGITS = 6
TOTP_STEP_S = 30
TOTP_WINDOW = 1  # steps that a clock may be off, either way
CODE_BYTES = 15  # of an enrolment code: 24 characters
PASSWORD_CHARACTERS_MIN, PASSWORD_CHARACTERS_MAX = 12, 1_024
_SECRET = re.compile(r"\$scrypt\$ln=(\d{1,2}),r=8,p=1\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)")


class Credential(msgspec.Struct, frozen=True):
    """One version of a credential; the last one counts."""

    operator: str
    kind: Literal["enrolment", "password", "ssh_key"]
    secret: str = ""  # $scrypt$… of a password or of an enrolment's code
    totp: bytes | None = None  # nonce, then the sealed secret; of a password
    public_key: str = ""  # of an SSH key, as in authorized_keys
    expires_at: dt.datetime | None = None  # of an enrolment

    def __repr__(self) -> str:
        return f"Credential({self.operator}, {self.kind})"


def fault(password: str) -> str | None:
    """Why a password is not taken, as a key of the texts; None where it is."""
    if not PASSWORD_CHARACTERS_MIN <= len(password) <= PASSWORD_CHARACTERS_MAX:
        return "password_length"
    return None


def of_password(
    operator: str, password: str, totp: bytes, entropy: Callable[[int], bytes]
) -> Credential:
    """A password with its TOTP secret."""
    salt, nonce = entropy(SALT_BYTES), entropy(NONCE_BYTES)
    secret, key = _derive(password, salt, COST_LOG2)
    sealed = ciphers.aes_gcm_encrypt(key, nonce, totp, operator.encode())
    return Credential(operator, "password", secret=secret, totp=nonce + sealed)


def of_enrolment(
    operator: str, code: str, expires_at: dt.datetime, entropy: Callable[[int], bytes]
) -> Credential:
    """A code with which the operator chooses a credential, once."""
    secret, _ = _derive(plain_code(code), entropy(SALT_BYTES), COST_LOG2)
    return Credential(operator, "enrolment", secret=secret, expires_at=expires_at)


def new_code(entropy: Callable[[int], bytes]) -> str:
    """An enrolment code: four groups of six characters A to Z, 2 to 7."""
    text = base64.b32encode(entropy(CODE_BYTES)).decode()
    return "-".join(text[at : at + 6] for at in range(0, len(text), 6))


def plain_code(code: str) -> str:
    """An enrolment code as it is hashed, however it was typed.

    >>> plain_code(" abcdef-234567 ")
    'ABCDEF234567'
    """
    return "".join(code.upper().replace("-", "").split())


def matches(credential: Credential, password: str) -> bool:
    """Whether it is the password, or the enrolment's code."""
    return _key(credential, password) is not None


def totp_secret(credential: Credential, password: str) -> bytes | None:
    """The TOTP secret where the password is right, else None."""
    key = _key(credential, password)
    if key is None or credential.totp is None:
        return None
    nonce, sealed = credential.totp[:NONCE_BYTES], credential.totp[NONCE_BYTES:]
    try:
        return ciphers.aes_gcm_decrypt(key, nonce, sealed, credential.operator.encode())
    except VaultError:
        return None  # another operator's row, or a changed one


def _key(credential: Credential, password: str) -> bytes | None:
    parts = _SECRET.fullmatch(credential.secret)
    if parts is None or not 1 <= int(parts[1]) <= COST_LOG2_MAX:
        return None
    secret, key = _derive(password, _unbase64(parts[2]), int(parts[1]))
    return key if hmac.compare_digest(secret.encode(), credential.secret.encode()) else None


def _derive(password: str, salt: bytes, cost_log2: int) -> tuple[str, bytes]:
    """What is kept of the password, and the key that is not."""
    made = ciphers.scrypt(password.encode(), salt, cost=1 << cost_log2, length=64)
    kept = f"$scrypt$ln={cost_log2},r=8,p=1${_base64(salt)}${_base64(made[:32])}"
    return kept, made[32:]


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def _unbase64(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        return b""


# -- TOTP ---------------------------------------------------------------------------------------


def totp(secret: bytes, step: int) -> str:
    """The code of a step (half minutes since 1970). RFC 6238, appendix B, with six digits:

    >>> totp(b"12345678901234567890", 59 // 30), totp(b"12345678901234567890", 1111111109 // 30)
    ('287082', '081804')
    """
    digest = hmac.digest(secret, step.to_bytes(8), "sha1")
    at = digest[-1] & 0x0F
    number = int.from_bytes(digest[at : at + 4]) & 0x7FFFFFFF
    return f"{number % 10**TOTP_DIGITS:0{TOTP_DIGITS}d}"


def step_of(secret: bytes, code: str, now: dt.datetime) -> int | None:
    """The step that a code is of, within the window; None where it is of none."""
    present = int(now.timestamp()) // TOTP_STEP_S
    given = "".join(code.split()).encode()
    for step in range(present - TOTP_WINDOW, present + TOTP_WINDOW + 1):
        if hmac.compare_digest(totp(secret, step).encode(), given):
            return step
    return None


def totp_uri(operator: str, secret: bytes) -> str:
    """What an authenticator application reads, typed or as a QR code."""
    digits = base64.b32encode(secret).decode()
    return f"otpauth://totp/Tongbao:{quote(operator)}?secret={digits}&issuer=Tongbao"
