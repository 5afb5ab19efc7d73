"""The file of `tongbao journal export`: recorded traffic that holds no card number, key or PIN.

Layout: UTF-8 text, one JSON object a line, `.gz` where the name says so. The first line is the head,
the last the end, between them lines ordered by their time. What a line is stands in its `kind`:

    head        format, version, when the clock begins, the settings that decide
    reference   a version of reference data from this time on
    day         the business date is another one from here on
    request     what a terminal asked, what its banks answered and when, what came of it
    reversal    a terminal's 0400
    settlement  a terminal's 0500 and the totals that it said
    end         how many lines there were, SHA-256 over all bytes before this line

Times are seconds since the head's `begins_at`. Card numbers are test numbers (`cards.py`), keys are
not in here: a player makes its own. `docs/replay.md`; `docs/schemas/journal-line.json`.
"""

from __future__ import annotations

import gzip
import hashlib
import os
from typing import IO, TYPE_CHECKING, Any, Final, cast

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORMAT: Final = "tongbao-journal"
VERSION: Final = 1
LINE_BYTES_MAX: Final = 1 << 20


class Head(msgspec.Struct, frozen=True, kw_only=True, tag="head", tag_field="kind"):
    format: str = FORMAT
    version: int = VERSION
    made_by: str  # version of the tongbao that wrote it
    begins_at: str  # RFC 3339, UTC
    business_date: str  # when it begins
    timezone: str
    settings: dict[str, dict[str, Any]] = {}  # the node's [rules], [batch]
    dialects: tuple[str, ...] = ()  # of the node's own, as TOML


class Reference(msgspec.Struct, frozen=True, kw_only=True, tag="reference", tag_field="kind"):
    at: float
    of: str  # kind of item
    key: str
    version: int
    content: dict[str, Any]


class Day(msgspec.Struct, frozen=True, kw_only=True, tag="day", tag_field="kind"):
    at: float
    business_date: str


class Answered(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An answer of a bank. `fault`: why it did not count, "mac" or "mismatch"."""

    at: float
    response_code: str
    amount_minor: int | None = None  # where it is another than what was asked
    auth_code: str = ""
    settlement_date: str = ""
    rrn: str = ""  # where the host answered another DE 37
    elements: dict[str, str] = {}  # DE 44, 54
    fault: str = ""


class Attempted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message to a bank, and what it answered, late or not; nothing where it was silent."""

    at: float
    acquirer: str
    answers: tuple[Answered, ...] = ()


class Delivered(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message of the queue: each time that it left, and the final answer. "--": given up."""

    queue: str  # reversal, repeat
    seq: int = 0
    acquirer: str
    sends: tuple[float, ...] = ()
    ended_at: float | None = None
    response_code: str = ""


class Decided(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    at: float
    state: str
    response_code: str
    rule: str
    approved_amount_minor: int | None = None
    effect_minor: int | None = None


class Request(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="request", tag_field="kind"
):
    at: float
    id: int  # of this file
    merchant: str
    terminal: str
    batch: int
    trace: int
    session: int  # grows with every sign-on of the terminal
    type: str
    mti: str
    processing_code: str
    usage: str  # DE 60.1
    amount_minor: int
    currency: str
    entry_mode: str = ""
    condition: str = ""
    card_sequence: str = ""
    card: str = ""  # a test number
    expiry: str = ""
    pin: bool = False
    partial: bool = False  # it takes partial approvals (DE 60.6)
    chip: str = ""  # hex, the tags that are kept
    original: int | None = None  # id of the request that it names
    named: bool = False  # a later line may name it
    attempts: tuple[Attempted, ...] = ()
    deliveries: tuple[Delivered, ...] = ()
    outcome: Decided | None = None


class Reversal(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="reversal", tag_field="kind"
):
    at: float
    merchant: str
    terminal: str
    batch: int
    trace: int  # of the original
    processing_code: str
    usage: str = ""
    original: int | None = None  # id of the request, where it was known
    reason: str
    response_code: str = ""
    rule: str = ""


class Settlement(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    tag="settlement",
    tag_field="kind",
):
    at: float
    merchant: str
    terminal: str
    batch: int
    said: tuple[int, ...]  # as `switch.batch_settled.said`: RMB, then foreign
    result: str = ""


class End(msgspec.Struct, frozen=True, kw_only=True, tag="end", tag_field="kind"):
    lines: int  # before this one
    sha256: str


Line = Head | Reference | Day | Request | Reversal | Settlement | End
Event = Reference | Day | Request | Reversal | Settlement

_decoder: Final[msgspec.json.Decoder[Line]] = msgspec.json.Decoder(Line)
_encode = msgspec.json.Encoder().encode


class JournalFileError(Exception):
    """The file, the line (from 1; 0: as a whole), what is wrong with it."""

    def __init__(self, path: Path | str, line: int, reason: str) -> None:
        self.path, self.line, self.reason = path, line, reason
        where = f":{line}" if line else ""
        super().__init__(f"{path}{where}: {reason}")


class Writer:
    """Writes head and lines in order of time, then the end. Not more than a line is in memory."""

    def __init__(self, path: Path, head: Head) -> None:
        self._raw = open(path, "wb", opener=_for_ourselves)  # noqa: SIM115 - until `close`
        self._file: IO[bytes] = self._raw
        if path.suffix == ".gz":  # without name and time in its header: same lines, same bytes
            packed = gzip.GzipFile("", "wb", fileobj=self._raw, mtime=0)
            self._file = cast("IO[bytes]", packed)
        self._digest = hashlib.sha256()
        self._at = float("-inf")
        self.lines = 0
        self._write(head)

    def add(self, line: Event) -> None:
        assert line.at >= self._at, "lines are in order of time"
        self._at = line.at
        self._write(line)

    def _write(self, line: Line) -> None:
        data = _encode(line) + b"\n"
        self._digest.update(data)
        self._file.write(data)
        self.lines += 1

    def end(self) -> None:
        end = End(lines=self.lines, sha256=self._digest.hexdigest())
        self._file.write(_encode(end) + b"\n")
        self.close()

    def close(self) -> None:
        self._file.close()
        self._raw.close()


def read(path: Path) -> Iterator[tuple[int, Line]]:
    """(line number, line), the head first, without the end; JournalFileError at the first fault."""
    digest = hashlib.sha256()
    at = float("-inf")
    number = 0
    for number, data in _lines(path):
        line = _decoded(path, number, data)
        if number == 1:
            _check_head(path, line)
        elif isinstance(line, Head):
            raise JournalFileError(path, number, "a second head")
        if isinstance(line, End):
            if line.lines != number - 1:
                raise JournalFileError(
                    path,
                    number,
                    f"{line.lines} lines were written before the end, {number - 1} are here",
                )
            if line.sha256 != digest.hexdigest():
                raise JournalFileError(
                    path, number, "the lines are not those that were written: SHA-256 differs"
                )
            break
        digest.update(data)
        if not isinstance(line, Head):
            if line.at < at:
                raise JournalFileError(
                    path, number, f"its time {line.at} is before the former line's {at}"
                )
            at = line.at
        yield number, line
    else:
        raise JournalFileError(
            path, number, "the file ends without its last line: it was cut short"
        )
    if next(_after(path, number), None) is not None:
        raise JournalFileError(path, number + 1, "something follows the end")


def _after(path: Path, number: int) -> Iterator[int]:
    return (at for at, _ in _lines(path) if at > number)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with _opened(path) as file:
            number = 0
            while data := file.readline(LINE_BYTES_MAX + 1):
                number += 1
                if len(data) > LINE_BYTES_MAX:
                    raise JournalFileError(path, number, f"longer than {LINE_BYTES_MAX} bytes")
                yield number, data
    except (OSError, EOFError) as error:  # a damaged .gz is an OSError or ends early
        raise JournalFileError(path, 0, str(getattr(error, "strerror", "") or error)) from error


def _decoded(path: Path, number: int, data: bytes) -> Line:
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise JournalFileError(path, number, str(error)) from error


def _check_head(path: Path, line: Line) -> None:
    if not isinstance(line, Head) or line.format != FORMAT:
        raise JournalFileError(path, 1, "not a journal of `tongbao journal export`")
    if line.version != VERSION:
        raise JournalFileError(path, 1, f"version {line.version}; this build reads {VERSION}")


def _for_ourselves(path: str, flags: int) -> int:
    """Amounts and merchants are nobody else's business."""
    return os.open(path, flags, 0o600)


def _opened(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return cast("IO[bytes]", gzip.open(path, "rb"))
    return path.open("rb")
