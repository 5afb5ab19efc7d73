"""Whether somebody is the operator he says: one judgement over what the store knows and what he shows.

The store asks for it under a lock of the operator's and keeps the verdict in the same transaction, so
that no two tries count as one, and no code is taken twice.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Literal

import msgspec

from switch.people import credentials, ssh
from switch.people.credentials import Credential
from switch.people.lock_out import locked_until
from switch.people.operators import Operator

if TYPE_CHECKING:
    from switch.config import People

Reason = Literal[
    "",  # passed
    "wrong",  # password, code, signature, or nobody of this name: which, is not told
    "replayed_code",
    "locked",
    "suspended",
    "other_credential",  # has none of this kind: an SSH key, or must enrol first
    "expired",  # the enrolment
]


class Standing(msgspec.Struct, frozen=True):
    """What the store knows of an operator when he tries; `now` by the store's clock."""

    now: dt.datetime
    operator: Operator | None
    credential: Credential | None
    failures: tuple[dt.datetime, ...] = ()  # since the last success or unlocking
    totp_step: int = 0  # the highest that was taken


class Verdict(msgspec.Struct, frozen=True):
    """What came of a try. One that `counts` is kept, and a failure then counts towards the lock-out."""

    reason: Reason = ""
    counts: bool = True
    totp_step: int | None = None
    until: dt.datetime | None = None  # end of a lock-out

    @property
    def passed(self) -> bool:
        return not self.reason


def by_password(standing: Standing, password: str, code: str, settings: People) -> Verdict:
    """Password and TOTP code."""
    barred = _barred(standing, "password", settings)
    if barred is not None:
        return barred
    assert standing.credential is not None
    secret = credentials.totp_secret(standing.credential, password)
    step = None if secret is None else credentials.step_of(secret, code, standing.now)
    if step is None:
        return Verdict("wrong")
    if step <= standing.totp_step:
        return Verdict("replayed_code")
    return Verdict(totp_step=step)


def by_signature(
    standing: Standing, challenge: bytes, signature: ssh.Signature, settings: People
) -> Verdict:
    """A signature over a challenge that was made for this try."""
    barred = _barred(standing, "ssh_key", settings)
    if barred is not None:
        return barred
    assert standing.credential is not None
    key = ssh.key_blob(standing.credential.public_key)
    return Verdict() if ssh.verify(signature, key, challenge) else Verdict("wrong")


def by_enrolment(standing: Standing, code: str, settings: People) -> Verdict:
    """The code with which an operator chooses his credential."""
    barred = _barred(standing, "enrolment", settings)
    if barred is not None:
        return barred
    assert standing.credential is not None
    assert standing.credential.expires_at is not None
    if standing.now >= standing.credential.expires_at:
        return Verdict("expired", counts=False)
    right = credentials.matches(standing.credential, credentials.plain_code(code))
    return Verdict() if right else Verdict("wrong")


def _barred(standing: Standing, kind: str, settings: People) -> Verdict | None:
    """Why what he shows is not even looked at."""
    if standing.operator is None:
        return Verdict("wrong", counts=False)
    if standing.operator.state != "active":
        return Verdict("suspended", counts=False)
    until = locked_until(
        standing.failures,
        failures_max=settings.failures_max,
        lock_out_s=settings.lock_out_s,
    )
    if until is not None and standing.now < until:
        return Verdict("locked", counts=False, until=until)
    if standing.credential is None or standing.credential.kind != kind:
        return Verdict("other_credential", counts=False)
    return None
