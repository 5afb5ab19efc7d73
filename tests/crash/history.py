"""What terminals and banks saw, as JSON lines: all that the checker may know.

A history has what was said on the wire at a terminal (`Asked`, `Answered`, `Lost`) and at a bank (`Banked`),
what was done to the parts (`Harm`), and the two statements at the end: the terminals' slips (`Slip`) and
the banks' entries (`Entry`). Card numbers are masked. Times are of the machine's monotonic clock, which
all processes share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

T = TypeVar("T")
OVER = " over"


class Asked(msgspec.Struct, frozen=True, tag="asked"):
    """A terminal wrote a request. `what` is the MTI without its last digit: 020, 022, 040."""

    at_s: float
    node: str
    terminal: str  # merchant/terminal
    what: str
    function: str  # DE 3, first two digits
    batch: str
    trace: str
    amount_minor: int
    pan_masked: str
    original: str = ""  # batch/trace, of a void or refund


class Answered(msgspec.Struct, frozen=True, tag="answered"):
    """An answer reached a terminal; `what` is that of its request."""

    at_s: float
    node: str
    terminal: str
    what: str
    batch: str
    trace: str
    code: str
    rrn: str = ""
    auth_code: str = ""
    amount_minor: int = 0


class Lost(msgspec.Struct, frozen=True, tag="lost"):
    """The other side ended a terminal's connection before it had answered what was asked on it."""

    at_s: float
    node: str
    terminal: str
    what: str
    batch: str
    trace: str
    asked_s: float


class Banked(msgspec.Struct, frozen=True, tag="banked"):
    """A money message that a bank took in, and what it answered (which may have reached nobody)."""

    at_s: float
    bank: str
    mti: str
    function: str
    link_key: str  # DE 7/DE 11
    terminal: str
    rrn: str
    amount_minor: int
    pan_masked: str
    code: str


class Slip(msgspec.Struct, frozen=True, tag="slip"):
    """A terminal's own record of a request, at the end."""

    terminal: str
    kind: str
    batch: str
    trace: str
    state: str
    amount_minor: int
    approved_minor: int
    rrn: str


class Entry(msgspec.Struct, frozen=True, tag="entry"):
    """A line of a bank's books, at the end."""

    bank: str
    kind: str
    terminal: str
    rrn: str
    link_key: str
    amount_minor: int
    standing: bool


class Harm(msgspec.Struct, frozen=True, tag="harm"):
    """Something was done to a part; with " over" behind its name it has ended."""

    at_s: float
    what: str
    target: str

    @property
    def over(self) -> bool:
        return self.what.endswith(OVER)


Event = Asked | Answered | Lost | Banked | Slip | Entry | Harm


class History:
    """Events, each kind in the order in which its party wrote it."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.events = list(events)

    def of(self, kind: type[T]) -> list[T]:
        """All events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def since(self, at_s: float) -> History:
        """What was said and done from then on; slips and entries have no time, and are left out."""
        return History(
            event
            for event in self.events
            if not isinstance(event, Slip | Entry) and event.at_s >= at_s
        )


def write(path: Path, history: History) -> None:
    """One event a line."""
    lines = (msgspec.json.encode(event) + b"\n" for event in history.events)
    path.write_bytes(b"".join(lines))


def read(path: Path) -> History:
    """What `write` wrote."""
    decoder = msgspec.json.Decoder(Event)
    return History(decoder.decode(line) for line in path.read_bytes().splitlines())
