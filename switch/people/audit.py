"""The audit log: one chain of records, and the verifier that names the first broken one.

A record's hash is SHA-256 over the hash of the record before it (32 zero bytes before the first) and
its own fields, each as `length:bytes` in UTF-8, in the order of `Record`: number, microseconds since
1970, actor, act, object, result, before, after. `switch.audit_v1` (schema/0008_people.sql) appends and
computes the same. Who can write to the store as its owner can make a new chain from any row on, or
drop its end: against that stands the anchor, `number:hash`, noted somewhere else.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Literal

import msgspec

GENESIS = bytes(32)
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
MICROSECOND = dt.timedelta(microseconds=1)

Result = Literal["done", "refused"]


class Record(msgspec.Struct, frozen=True):
    """One privileged act, or its refusal."""

    seq: int  # from 1, without gaps
    at: dt.datetime
    actor: str  # an operator's id; node:NAME for a node's own acts
    act: str
    object: str
    result: Result
    before: str  # canonical JSON without secrets, PANs masked; empty: nothing
    after: str
    previous: bytes
    hash: bytes


class Anchor(msgspec.Struct, frozen=True):
    """A record's number and hash: with them all records before it stand fast."""

    seq: int
    hash: bytes

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash.hex()}"

    @classmethod
    def parse(cls, text: str) -> Anchor:
        """Raises ValueError.

        >>> Anchor.parse("3:" + "00" * 32).seq
        3
        """
        seq, _, digits = text.partition(":")
        value = bytes.fromhex(digits)
        if not seq.isdecimal() or len(value) != len(GENESIS):
            raise ValueError(f"an anchor is NUMBER:HASH, not {text!r}")
        return cls(int(seq), value)


class Broken(msgspec.Struct, frozen=True):
    """The first record that is not what was appended, and what shows it."""

    seq: int
    reason: Literal[
        "changed",  # its hash is not that of its content
        "rehashed",  # it has another hash than the record after it was chained to
        "missing",
        "twice",  # a record with this number stood before
        "not_the_anchor",  # another hash than was noted: this record, or one before it
    ]


def record_hash(record: Record) -> bytes:
    """What `record.hash` must be, by its own fields and `previous`."""
    digest = hashlib.sha256(record.previous)
    fields = (
        str(record.seq),
        str((record.at - EPOCH) // MICROSECOND),
        record.actor,
        record.act,
        record.object,
        record.result,
        record.before,
        record.after,
    )
    for field in fields:
        data = field.encode()
        digest.update(b"%d:%b" % (len(data), data))
    return digest.digest()


def append(
    last: Record | None,
    at: dt.datetime,
    actor: str,
    act: str,
    subject: str,
    before: str,
    after: str,
    result: Result = "done",
) -> Record:
    """The next record of a chain."""
    record = Record(
        seq=last.seq + 1 if last else 1,
        at=at,
        actor=actor,
        act=act,
        object=subject,
        result=result,
        before=before,
        after=after,
        previous=last.hash if last else GENESIS,
        hash=b"",
    )
    return msgspec.structs.replace(record, hash=record_hash(record))


class Verifier:
    """Takes the records in order of their numbers; says at the first that is broken, and goes no further.

    Where two neighbours do not fit, one of them was changed together with its hash. Which one, the
    record after them shows: it was chained to the second as that was.
    """

    def __init__(self, anchor: Anchor | None = None) -> None:
        self._anchor = anchor
        self._last: Record | None = None
        self._doubtful: int | None = None  # the first of two neighbours that do not fit

    def take(self, record: Record) -> Broken | None:
        last = self._last
        if self._doubtful is not None and last is not None:
            fits = record.previous == last.hash
            return Broken(self._doubtful if fits else last.seq, "rehashed")
        expected = last.seq + 1 if last else 1
        if record.seq != expected:
            return (
                Broken(expected, "missing")
                if record.seq > expected
                else Broken(record.seq, "twice")
            )
        if record_hash(record) != record.hash:
            return Broken(record.seq, "changed")
        if record.previous != (last.hash if last else GENESIS):
            if last is None:
                return Broken(record.seq, "rehashed")
            self._doubtful = last.seq
        anchor = self._anchor
        if anchor is not None and anchor.seq == record.seq and anchor.hash != record.hash:
            return Broken(record.seq, "not_the_anchor")
        self._last = record
        return None

    def end(self) -> Broken | None:
        """After the last record."""
        if self._doubtful is not None:
            return Broken(self._doubtful, "rehashed")
        last = self._last.seq if self._last else 0
        if self._anchor is not None and self._anchor.seq > last:
            return Broken(last + 1, "missing")
        return None

    @property
    def anchor(self) -> Anchor:
        """Of the last record that was taken; to be noted."""
        return Anchor(self._last.seq, self._last.hash) if self._last else Anchor(0, GENESIS)
