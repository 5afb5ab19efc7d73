"""The ceremony log: what custodians did with an LMK, one line an act, each bound to the line before.

A line is a JSON object and a line feed, in exactly the bytes that `encode` gives it: `seq` (from 1),
`at` (UTC), `act`, `who`, `facts` (check values, numbers, names: never a secret), `previous` and `hash`,
hex. The hash is SHA-256 over the 32 bytes of the hash before (zeros before the first line) and the
canonical JSON of the other fields. Lines are only ever added.

What a crash leaves: an act is written down before it is done, and a line is written in one piece with
its line feed at the end. So a last line without one was never finished, and its act was not done. It
stays, is told as torn, and is no break; whoever writes next ends it with ` torn` and a line feed, and
begins with a line `log.torn` that has its SHA-256. Any other line that is not as it was written is a
break, and is named.

Whoever may write the file can make a whole new chain, or drop its end: against that stands the anchor,
`number:hash`, which the custodians note on paper and the switch's audit log keeps.
"""

import hashlib
from typing import Final, Literal

import msgspec

GENESIS: Final = bytes(32)
LOG_BYTES_MAX: Final = 16 << 20
TORN: Final = "log.torn"
TORN_END: Final = b" torn"  # a record that lacks its line feed alone becomes none by it

Facts = dict[str, str | int | list[str]]


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line."""

    seq: int
    at: str
    act: str
    who: str
    facts: Facts
    previous: str
    hash: str

    @property
    def anchor(self) -> str:
        """To be noted somewhere else."""
        return f"{self.seq}:{self.hash}"


class Broken(msgspec.Struct, frozen=True):
    """The first line, counted from 1, that is not what was written."""

    line: int
    reason: Literal[
        "changed",  # its hash is not that of its content, or it is no record at all
        "not_chained",  # it was not written after the line that stands before it
        "not_the_anchor",  # another hash than was noted: this line, or one before it
        "missing",  # the anchor is of a line further down
    ]


class Verified(msgspec.Struct, frozen=True):
    """`records` stand; after them comes what is `broken`, or `torn`: bytes of an unfinished line."""

    records: tuple[Record, ...]
    broken: Broken | None
    torn: bytes

    @property
    def last(self) -> Record | None:
        return self.records[-1] if self.records else None


def record_hash(record: Record) -> str:
    """What `record.hash` must be."""
    content = [record.seq, record.at, record.act, record.who, record.facts]
    digest = hashlib.sha256(bytes.fromhex(record.previous))
    digest.update(msgspec.json.encode(content, order="deterministic"))
    return digest.hexdigest()


def following(last: Record | None, at: str, act: str, who: str, facts: Facts) -> Record:
    """The next record of a chain."""
    record = Record(
        seq=last.seq + 1 if last else 1,
        at=at,
        act=act,
        who=who,
        facts=facts,
        previous=last.hash if last else GENESIS.hex(),
        hash="",
    )
    return msgspec.structs.replace(record, hash=record_hash(record))


def mended(last: Record | None, at: str, torn: bytes) -> tuple[bytes, Record]:
    """What ends an unfinished line, and the record that follows it and vouches for it."""
    return TORN_END + b"\n", following(last, at, TORN, "", vouched(torn + TORN_END))


def encode(record: Record) -> bytes:
    """The line, with its line feed."""
    return msgspec.json.encode(record, order="deterministic") + b"\n"


def verify(data: bytes, anchor: str = "") -> Verified:
    """All records of a log up to the first line that is not what was written."""
    *lines, torn = data.split(b"\n")
    noted_seq, _, noted_hash = anchor.partition(":")
    records: list[Record] = []
    doubtful: bytes | None = None  # a line that is no record: the next one must vouch for it

    def broken(line: int, reason: str) -> Verified:
        found = msgspec.convert({"line": line, "reason": reason}, Broken)
        return Verified(tuple(records), found, torn)

    for number, line in enumerate(lines, 1):
        record = parse(line)
        if doubtful is not None and not (
            record and record.act == TORN and record.facts == vouched(doubtful)
        ):
            return broken(number - 1, "changed")
        if record is None:
            doubtful = line
            continue
        doubtful = None
        last = records[-1] if records else None
        expected = (last.seq + 1, last.hash) if last else (1, GENESIS.hex())
        if (record.seq, record.previous) != expected:
            return broken(number, "not_chained")
        records.append(record)
        if str(record.seq) == noted_seq and record.hash != noted_hash:
            return broken(number, "not_the_anchor")
    if doubtful is not None:
        return broken(len(lines), "changed")
    if noted_seq and int(noted_seq) > len(records):
        return broken(len(lines) + 1, "missing")
    return Verified(tuple(records), None, torn)


def parse(line: bytes) -> Record | None:
    """The record of a line, if the line is exactly what was written for it."""
    try:
        record = msgspec.json.decode(line, type=Record)
        fits = encode(record) == line + b"\n" and record_hash(record) == record.hash
    except (msgspec.MsgspecError, ValueError):
        return None
    return record if fits else None


def vouched(line: bytes) -> Facts:
    return {"bytes": len(line), "sha256": hashlib.sha256(line).hexdigest()}
