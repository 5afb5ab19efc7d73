"""What became of each line of a journal: the messages that crossed, the facts that were stored.

Everything that the replayed switch does belongs to a line: a message to a bank by the attempt or the
queued item that was stored before it left, a fact by its request. A line is over when its terminal
was answered, its outcome stands, and nothing of it waits for a bank; lines are told in their order.
What still comes of one that was told follows as more of it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from typing import TYPE_CHECKING, Final

import msgspec

from iso8583.message import masked
from switch.replay.journal_file import Request
from switch.replay.played_bank import UNRECORDED, recorded_answers, recorded_end
from switch.transactions import TOMBSTONE

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from iso8583.message import Message
    from switch.journal import Commit, Key
    from switch.replay.played_bank import PlayedBank, Said

HELD_MAX: Final = 2_000  # lines that are over wait for so many before them
RIGHT: Final = b"right"  # stand in DE 64 or 128 for a MAC that was looked at
WRONG: Final = b"wrong"
SETTLES_S: Final = 1.0  # until what a bank's answer leads to is stored


class Crossed(msgspec.Struct, frozen=True):
    """A message between two parties, `at` seconds after its line; everything sensitive is masked."""

    sender: str
    receiver: str
    at: float
    elements: dict[str, str]  # by data element, "0" the MTI


class Played(msgspec.Struct, kw_only=True):
    """What came of one line. `facts` are flat, so that they are compared name by name."""

    line: int
    what: str  # request, reversal, settlement
    name: str
    type: str
    at: float
    messages: list[Crossed] = []
    facts: dict[str, str] = {}
    recorded: dict[str, str] = {}  # of the facts those that the journal has, as it has them
    notes: list[str] = []
    more: bool = False  # of a line that was told before


class _Open(msgspec.Struct):
    """A line that is not over. `waiting`: items of the queue, answers of banks on their way."""

    played: Played
    recorded: Request | None
    answered: bool = False
    decided: bool = False
    waiting: int = 0

    @property
    def over(self) -> bool:
        return self.answered and self.decided and self.waiting <= 0


class Item(msgspec.Struct, frozen=True):
    """Of the queue: the line that it is told with, the request whose it is."""

    line: int
    request_line: int
    kind: str
    seq: int


class Happened:
    def __init__(self, tell: Callable[[Played], None], now_s: Callable[[], float]) -> None:
        self._tell = tell
        self._now_s = now_s
        self._open: dict[int, _Open] = {}
        self._order: deque[int] = deque()  # of lines not told yet
        self._was: dict[int, _Open] = {}  # what is known of those that were told
        self._line_of: dict[Key, int] = {}
        self._reversal_of: dict[tuple[str, str, int, int], int] = {}
        self._rows: dict[int, int] = {}  # request id here → line
        self._has_row: set[int] = set()
        self._attempts: dict[tuple[str, str, str], tuple[int, int]] = {}  # → line, try from 0
        self._tries: Counter[int] = Counter()
        self._items: dict[tuple[str, str, str], int] = {}  # wire identity → item
        self._item: dict[int, Item] = {}
        self._sent: Counter[int] = Counter()
        self._named: dict[int, bool] = {}  # by line
        self.unplaced = 0  # messages and facts of no line

    # -- lines --------------------------------------------------------------------------------

    @property
    def waiting(self) -> bool:
        return bool(self._order)

    def begin(self, played: Played, recorded: Request | None) -> None:
        self._open[played.line] = _Open(played, recorded)
        if recorded is not None:
            self._named[played.line] = recorded.named
        self._order.append(played.line)

    def asks(self, line: int, key: Key | None, reversal: tuple[str, str, int, int] | None) -> None:
        """By which keys the rows of a line will be known."""
        if key is not None:
            self._line_of[key] = line
        if reversal is not None:
            self._reversal_of[reversal] = line

    def answered(self, line: int) -> None:
        opened = self._open.get(line)
        if opened is not None:
            opened.answered = True
            opened.decided |= line not in self._has_row

    def note(self, line: int, text: str) -> None:
        played = self._played(line)
        if text not in played.notes:
            played.notes.append(text)
        self._told_after(played)

    def message(self, line: int, sender: str, receiver: str, message: Message) -> None:
        played = self._played(line)
        at = round(self._now_s() - played.at, 6)
        played.messages.append(Crossed(sender, receiver, at, shown(message)))
        self._told_after(played)

    def fact(self, line: int | None, name: str, value: object, *, add: bool = False) -> None:
        if line is None:
            self.unplaced += 1
            return
        played = self._played(line)
        text = "" if value is None else str(value)
        if add and name in played.facts:
            text = f"{played.facts[name]}, {text}"
        played.facts[name] = text
        self._told_after(played)

    def _played(self, line: int) -> Played:
        opened = self._open.get(line)
        if opened is not None:
            return opened.played
        return more_of(self._was[line].played)

    def _told_after(self, played: Played) -> None:
        if played.more:
            self._tell(played)

    def tell(self, *, everything: bool = False) -> None:
        """Those that are over, in order; one that never ends holds up so many."""
        while self._order:
            line = self._order[0]
            if not (everything or self._open[line].over or len(self._order) > HELD_MAX):
                break
            self._order.popleft()
            opened = self._open.pop(line)
            if not opened.over:
                opened.played.notes.append("not over")
            self._tell(opened.played)
            of = opened.recorded  # of one that is over only what its reversal may still ask for
            kept = of if of is not None and (of.deliveries or not opened.over) else None
            self._was[line] = _Open(more_of(opened.played), kept)

    def _opened(self, line: int) -> _Open | None:
        return self._open.get(line) or self._was.get(line)

    def named(self, request_id: int) -> bool:
        """May a later line name it? What is of no line is left as it is."""
        return self._named.get(self._rows.get(request_id, -1), True)

    def forget(self, kept: Container[int]) -> None:
        """The requests that the store has forgotten, and the lines that were theirs."""
        gone = {line for request_id, line in self._rows.items() if request_id not in kept}
        if not gone:
            return
        self._rows = {of: line for of, line in self._rows.items() if line not in gone}
        self._line_of = {of: line for of, line in self._line_of.items() if line not in gone}
        self._attempts = {of: at for of, at in self._attempts.items() if at[0] not in gone}
        items = {of for of, item in self._item.items() if item.request_line in gone}
        self._items = {of: item for of, item in self._items.items() if item not in items}
        for of in items:
            del self._item[of]
            self._sent.pop(of, None)
        for line in gone:
            self._tries.pop(line, None)
            self._named.pop(line, None)
            self._was.pop(line, None)
        self._has_row -= gone

    # -- what is stored ---------------------------------------------------------------------------

    def committed(self, commit: Commit, sent: tuple[int, int] | None) -> None:
        """Every commit that stands, before anything of it leaves."""
        said = commit.reversal_request
        key = None if said is None else said.key
        reversal_line = None
        if key is not None:
            reversal_line = self._reversal_of.get((key.merchant, key.terminal, key.batch, key.stan))
        if commit.request is not None:
            self._requested(commit, reversal_line)
        if commit.attempt is not None:
            row = commit.attempt
            line = self._rows.get(row.request_id)
            if line is not None:
                wire = (row.acquirer, row.link_stan, row.transmission_time)
                self._attempts[wire] = (line, self._tries[line])
                self._tries[line] += 1
                self.fact(line, f"attempt {row.attempt}", f"{row.acquirer} by {row.route_rule}")
        if commit.outcome is not None:
            self._decided(commit)
        if commit.reversal is not None:
            of = commit.reversal
            line = (
                self._rows.get(of.original_request_id) if reversal_line is None else reversal_line
            )
            text = f"{of.origin}, reason {of.reason}, capture {of.capture or 'none'}"
            self.fact(line, f"reversal {of.seq}", text)
        if commit.queue is not None:
            self._queued(commit, reversal_line)
        if commit.late_answer is not None:
            late = commit.late_answer
            text = f"{late.response_code} ({late.reason})"
            self.fact(self._rows.get(late.request_id), "late answer", text, add=True)
        if said is not None and reversal_line is not None:
            self.fact(reversal_line, "response_code", said.response_code)
            self.fact(reversal_line, "rule", said.rule)
        if commit.case is not None:
            line = (
                None if commit.case.request_id is None else self._rows.get(commit.case.request_id)
            )
            self.fact(
                line if reversal_line is None else reversal_line, "case", commit.case.kind, add=True
            )
        for alert in commit.alerts:
            self.fact(
                self._rows.get(alert.request_id), "alert", f"{alert.rule}: {alert.action}", add=True
            )
        if commit.end is not None:
            self._ended(commit)

    def _requested(self, commit: Commit, reversal_line: int | None) -> None:
        row = commit.request
        assert row is not None
        if row.type == TOMBSTONE:
            self.fact(reversal_line, "tombstone", "yes")
            return
        line = self._line_of.get(row.key)
        if line is None:
            self.unplaced += 1
            return
        self._rows[row.request_id] = line
        self._has_row.add(line)
        self.fact(line, "type", row.type)

    def _decided(self, commit: Commit) -> None:
        row = commit.outcome
        assert row is not None
        line = self._rows.get(row.request_id)
        self.fact(line, "state", row.state.value)
        if line is None:
            return
        self.fact(line, "response_code", row.response_code)
        self.fact(line, "rule", row.rule)
        self.fact(line, "approved_amount_minor", row.approved_amount_minor)
        self.fact(line, "effect_minor", row.effect_minor)
        opened = self._open.get(line)
        if opened is not None:
            opened.decided = True

    def _queued(self, commit: Commit, reversal_line: int | None) -> None:
        row = commit.queue
        assert row is not None
        request_line = self._rows.get(row.request_id)
        if request_line is None:
            self.unplaced += 1
            return
        line = request_line if reversal_line is None else reversal_line
        self._items[row.acquirer, row.link_stan, row.transmission_time] = row.item_id
        self._item[row.item_id] = Item(line, request_line, row.kind, row.seq)
        self.fact(line, f"{row.kind} {row.seq} queued for", row.acquirer)
        self._wait(line, +1)

    def _ended(self, commit: Commit) -> None:
        assert commit.end is not None
        item = self._item.get(commit.end.item_id)
        if item is not None:
            self.fact(item.line, f"{item.kind} {item.seq} ended", commit.end.response_code)
            self._wait(item.line, -1)

    def _wait(self, line: int, by: int) -> None:
        opened = self._open.get(line)
        if opened is not None:
            opened.waiting += by

    # -- what banks are asked ----------------------------------------------------------------------

    def asked(self, bank: PlayedBank, message: Message) -> Said:
        """What the bank answers; the message is noted with its line."""
        name = bank.link.acquirer
        wire = (name, str(message.get(11, "")), str(message.get(7, "")))
        item_id = self._items.get(wire)
        if item_id is not None:
            item = self._item[item_id]
            line, said = item.line, self._delivered(item_id, item)
        elif wire in self._attempts:
            line, nth = self._attempts[wire]
            opened = self._opened(line)
            recorded = None if opened is None else opened.recorded
            answers = recorded and recorded_answers(recorded.attempts, nth, name)
            if answers is None:
                self.note(line, "nothing was recorded that a bank answered: it is silent")
            said = answers or []
        else:
            self.unplaced += 1
            return []
        self.message(line, "switch", name, message)
        self._wait(line, len(said))
        return said

    def _delivered(self, item_id: int, item: Item) -> Said:
        opened = self._opened(item.request_line)
        recorded = None if opened is None else opened.recorded
        nth = self._sent[item_id]
        self._sent[item_id] += 1
        said = recorded and recorded_end(recorded.deliveries, item.kind, item.seq, nth)
        if said is None:
            self.note(item.line, f"no {item.kind} was recorded: it is answered 00")
            return UNRECORDED
        return said or []

    def heard(self, bank: PlayedBank, message: Message) -> None:
        """The bank has answered."""
        wire = (bank.link.acquirer, str(message.get(11, "")), str(message.get(7, "")))
        item_id = self._items.get(wire)
        if item_id is not None:
            line = self._item[item_id].line
        elif wire in self._attempts:
            line = self._attempts[wire][0]
        else:
            return
        self.message(line, bank.link.acquirer, "switch", message)
        asyncio.get_running_loop().call_later(SETTLES_S, self._wait, line, -1)


def more_of(played: Played) -> Played:
    """What still comes of a line that was told, to be filled."""
    of = played
    return Played(line=of.line, what=of.what, name=of.name, type=of.type, at=of.at, more=True)


def shown(message: Message) -> dict[str, str]:
    """Elements for people; of a MAC only whether it is right."""
    elements = masked({de: value for de, value in message.items() if de not in (64, 128)})
    for de in (64, 128):
        value = message.get(de)
        if isinstance(value, bytes):
            elements[de] = value.decode() if value in (RIGHT, WRONG) else "[MAC]"
    return {str(de): elements[de] for de in sorted(elements)}
