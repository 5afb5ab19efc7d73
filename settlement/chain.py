"""The chain that seals entries: links of up to 10,000 in canonical order, and one anchor a date.

Canonical order is (business date, step, source, key), code point by code point. A date is sealed once,
as a whole, when it takes no more entries: the day's end's step and every other step of it. Each link
rests on the one before, each anchor on the former date's; nothing of a clock or of the order of
writing is in any of them, so the same entries make the same chain.

    digest = SHA-256(hash of each entry, one after the other)
    link   = SHA-256(previous link, "date/step/chunk/count", digest)
    anchor = SHA-256(previous anchor, "date/entries", last link)

Beside its hash a link keeps the first entry's (source, key) and eight bytes of each entry's hash. Trust
does not rest on these; they let the verifier name the row that was changed, put in or taken out.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import date
from itertools import groupby, islice
from typing import Final

import msgspec

CHUNK: Final = 10_000  # entries a link of the chain
FINGERPRINT: Final = 8  # bytes of an entry's hash that a link keeps


class Hashed(msgspec.Struct, frozen=True):
    """An entry's place and hash: all that the chain needs of it."""

    step: str
    source: str
    key: str
    hash: bytes


class Seal(msgspec.Struct, frozen=True):
    """One link of the chain: a chunk of a step's entries in canonical order."""

    business_date: date
    step: str
    chunk: int
    count: int
    first_source: str
    first_key: str
    fingerprints: bytes
    previous: bytes
    hash: bytes


class Anchor(msgspec.Struct, frozen=True):
    """A date's end: all its links in one hash. Whoever keeps this one elsewhere can hold the whole
    ledger up to the date against it."""

    business_date: date
    entries: int
    link: bytes  # the last one so far; empty where none is
    previous: bytes
    hash: bytes


def seal(
    business_date: date, entries: Iterable[Hashed], previous: bytes, chunk: int = CHUNK
) -> list[Seal]:
    """The links of a date's entries, which come in canonical order, after the link `previous`."""
    seals: list[Seal] = []
    for step, of_step in groupby(entries, key=lambda one: one.step):
        number = 0
        while part := list(islice(of_step, chunk)):
            seals.append(_seal(business_date, step, number, part, previous))
            previous = seals[-1].hash
            number += 1
    return seals


def _seal(
    business_date: date, step: str, chunk: int, part: Sequence[Hashed], previous: bytes
) -> Seal:
    digest = hashlib.sha256(b"".join(one.hash for one in part)).digest()
    return Seal(
        business_date=business_date,
        step=step,
        chunk=chunk,
        count=len(part),
        first_source=part[0].source,
        first_key=part[0].key,
        fingerprints=b"".join(one.hash[:FINGERPRINT] for one in part),
        previous=previous,
        hash=link_hash(business_date, step, chunk, len(part), digest, previous),
    )


def link_hash(
    business_date: date, step: str, chunk: int, count: int, digest: bytes, previous: bytes
) -> bytes:
    place = f"{business_date.isoformat()}/{step}/{chunk}/{count}".encode()
    return hashlib.sha256(previous + place + digest).digest()


def anchor(business_date: date, entries: int, link: bytes, previous: bytes) -> Anchor:
    place = f"{business_date.isoformat()}/{entries}".encode()
    made = hashlib.sha256(previous + place + link).digest()
    return Anchor(business_date, entries, link, previous, made)
