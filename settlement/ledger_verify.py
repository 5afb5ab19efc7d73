"""The ledger held against itself: entries against their hashes, links, anchors and checkpoints.

Everything is read once, date by date and entry by entry in canonical order; what is kept is one chunk and
the balances. A finding names the chunk and its first broken row. What can be told apart:

    rows         as `chunk_verify` has them
    outside      a row of a sealed date, or before it, that no link covers
    link         a link does not follow the one before, or is not that of its rows
    anchor       an anchor does not follow the one before, or is not that of its links
    checkpoint   a closing balance is not the sum of the entries
    limit        a balance with limits is not the sum of the entries
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import date
from typing import Final, Protocol

import msgspec

from settlement.chain import Anchor, Seal, anchor, link_hash
from settlement.chunk_verify import (
    Chunk,
    Chunks,
    FindingKind,
    Order,
    Place,
    StoredEntry,
    explain,
    flaw_of,
    moves_of,
)
from settlement.limits import Layered, Limited

FINDINGS_MAX: Final = 100
NONE_KEPT: Final[Mapping[date, str]] = {}


class Finding(msgspec.Struct, frozen=True):
    """What does not hold. `step`, `source` and `key` are empty where it is not about a row."""

    kind: FindingKind
    business_date: date
    step: str
    chunk: int | None
    source: str
    key: str
    text: str


class Verified(msgspec.Struct, frozen=True):
    """What a run came to. `anchor` is the last one that was reached, hex."""

    findings: list[Finding]
    first: date | None
    last: date | None
    dates: int
    entries: int
    open_entries: int
    anchor: str


class Closing(msgspec.Struct, frozen=True):
    """A checkpoint: what a date moved on a place, and the balance after it."""

    count: int
    debit_minor: int
    credit_minor: int
    balance_minor: int


def _told(closing: Closing | None) -> str:
    """In words for people."""
    if closing is None:
        return "no balance"
    moved = f"{closing.debit_minor} debit and {closing.credit_minor} credit,"
    return f"{closing.balance_minor} after {closing.count} postings, {moved}"


class Stored(Protocol):
    """What the verifier reads, all of it in one snapshot."""

    async def anchors(self) -> list[Anchor]: ...

    async def ended(self) -> list[date]:
        """Dates that take no more entries."""

    async def links(self, business_date: date) -> list[Seal]:
        """Without fingerprints, by (step, chunk)."""

    async def fingerprints(self, business_date: date, step: str, chunk: int) -> bytes: ...

    def entries(self, business_date: date) -> AsyncIterator[Sequence[StoredEntry]]:
        """In canonical order, some at a time."""

    async def dates(self) -> list[date]:
        """Every date that has entries."""

    async def checkpoints(self, business_date: date) -> dict[Place, Closing]: ...

    async def closings(self, at: date) -> dict[Place, int]:
        """Balances at the end of a date, zero ones left out."""

    async def limited(self) -> dict[Limited, Layered]: ...


class Watch(Protocol):
    """Who is told how far it is."""

    def advanced(self, business_date: date, entries: int) -> None: ...


class Unwatched:
    """Nobody is told."""

    def advanced(self, business_date: date, entries: int) -> None: ...


async def verify(
    stored: Stored,
    watch: Watch,
    *,
    first: date | None = None,
    last: date | None = None,
    kept: Mapping[date, str] = NONE_KEPT,
) -> Verified:
    """Verify the dates from `first` to `last`, or all. From `first` on, balances and links go on from
    what stands before it; open dates are looked at only where `last` is None. `kept` has anchors, hex,
    that were written down elsewhere: who can change the whole database can not change these."""
    run = _Run(stored, watch)
    anchors = await stored.anchors()
    run.kept(anchors, kept)
    before = [one for one in anchors if first is not None and one.business_date < first]
    if before:
        run.start(before[-1], await stored.closings(before[-1].business_date))
    chosen = [
        one
        for one in anchors
        if (first is None or one.business_date >= first)
        and (last is None or one.business_date <= last)
    ]
    for one in chosen:
        await run.sealed(one)
    sealed = {one.business_date for one in anchors}
    run.ended(set(await stored.ended()) - sealed)
    end = anchors[-1].business_date if anchors else date.min
    for day in await stored.dates():
        if day in sealed or (first is not None and day < first):
            continue
        if day < end:
            await run.stray(day)
        elif last is None:
            await run.open(day)
    if first is None and last is None:
        run.limits(await stored.limited())
    return Verified(
        findings=run.findings,
        first=chosen[0].business_date if chosen else None,
        last=chosen[-1].business_date if chosen else None,
        dates=len(chosen),
        entries=run.count,
        open_entries=run.open_count,
        anchor=chosen[-1].hash.hex() if chosen else "",
    )


class _Run:
    """What is carried from date to date."""

    def __init__(self, stored: Stored, watch: Watch) -> None:
        self._stored = stored
        self._watch = watch
        self._link = b""
        self._anchor = b""
        self._balances: dict[Place, int] = defaultdict(int)
        self.findings: list[Finding] = []
        self.count = 0
        self.open_count = 0

    def start(self, before: Anchor, closings: Mapping[Place, int]) -> None:
        self._link, self._anchor = before.link, before.hash
        self._balances.update(closings)

    def _found(
        self,
        kind: FindingKind,
        day: date,
        text: str,
        *,
        order: Order = ("", "", ""),
        chunk: int | None = None,
    ) -> None:
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(Finding(kind, day, order[0], chunk, order[1], order[2], text))

    def kept(self, anchors: Sequence[Anchor], kept: Mapping[date, str]) -> None:
        stand = {one.business_date: one.hash.hex() for one in anchors}
        for day, wanted in sorted(kept.items()):
            if day not in stand:
                self._found("anchor", day, f"was never made, or is gone; {wanted} was kept of it")
            elif stand[day] != wanted:
                self._found("anchor", day, f"is not the one that was kept, {wanted}")

    # -- a sealed date

    async def sealed(self, stands: Anchor) -> None:
        day = stands.business_date
        links = await self._stored.links(day)
        chunks = Chunks(links)
        moved: dict[Place, list[int]] = {}
        count = 0
        async for rows in self._stored.entries(day):
            for row in rows:
                for place, amount in moves_of(row):
                    total = moved.setdefault(place, [0, 0, 0])
                    total[0] += 1
                    total[1 if amount > 0 else 2] += abs(amount)
                for chunk in chunks.add(row, flaw_of(row)):
                    await self._chunk(day, chunk)
            count += len(rows)
            self._watch.advanced(day, len(rows))
        for chunk in chunks.rest():
            await self._chunk(day, chunk)
        if chunks.outside is not None:
            self._found("outside", day, "no link covers its step", order=chunks.outside)
        self.count += count
        self._anchored(stands, count)
        self._closed(day, moved, await self._stored.checkpoints(day))

    async def _chunk(self, day: date, chunk: Chunk) -> None:
        """Judge one chunk whose rows have all been seen."""
        link = chunk.link
        if link.previous != self._link:
            self._found(
                "link",
                day,
                "does not follow the link before it",
                order=(link.step, "", ""),
                chunk=link.chunk,
            )
        self._link = link.hash
        flaws = [chunk.flaw] if chunk.flaw is not None else []
        digest = chunk.digest.digest()
        made = link_hash(day, link.step, link.chunk, chunk.count, digest, link.previous)
        if made != link.hash or chunk.count != link.count:
            sealed = await self._stored.fingerprints(day, link.step, link.chunk)
            flaws.append(explain(sealed, chunk.rows, link.step))
        for kind, order, text in sorted(flaws, key=lambda flaw: flaw[1])[:1]:
            self._found(kind, day, text, order=order, chunk=link.chunk)

    def _anchored(self, stands: Anchor, count: int) -> None:
        day = stands.business_date
        if stands.previous != self._anchor:
            self._found("anchor", day, "does not follow the anchor before it")
        made = anchor(day, stands.entries, stands.link, stands.previous)
        if made.hash != stands.hash:
            self._found("anchor", day, "is not what was sealed")
        elif stands.link != self._link:
            self._found("anchor", day, "is not that of the date's last link")
        elif stands.entries != count:
            self._found("anchor", day, f"was of {stands.entries} entries; {count} stand")
        self._anchor, self._link = stands.hash, stands.link

    def _closed(
        self, day: date, moved: Mapping[Place, list[int]], stand: Mapping[Place, Closing]
    ) -> None:
        differing: list[Place] = []
        for place, (count, debit, credit) in moved.items():
            self._balances[place] += debit - credit
            if stand.get(place) != Closing(count, debit, credit, self._balances[place]):
                differing.append(place)
        differing += [place for place in stand if place not in moved]
        for place in sorted(differing)[:1]:
            account, owner, currency, layer = place
            self._found(
                "checkpoint",
                day,
                f"{account} {owner} {currency} {layer}: {_told(stand.get(place))} is not what the entries "
                f"come to{f', and {len(differing) - 1} more' if differing[1:] else ''}",
            )

    # -- what no link covers

    def ended(self, days: set[date]) -> None:
        for day in sorted(days):
            text = (
                "is gone, or was never made: the date takes no more entries; `close` would seal it"
            )
            self._found("anchor", day, text)

    async def stray(self, day: date) -> None:
        async for rows in self._stored.entries(day):
            self._found("outside", day, "the date was never sealed", order=rows[0].order)
            break

    async def open(self, day: date) -> None:
        """Entries of a date that is still open: each by itself."""
        async for rows in self._stored.entries(day):
            for row in rows:
                if (flaw := flaw_of(row)) is not None:
                    self._found(flaw[0], day, flaw[1], order=row.order)
                for place, amount in moves_of(row):
                    self._balances[place] += amount
            self.open_count += len(rows)
            self._watch.advanced(day, len(rows))

    def limits(self, stand: Mapping[Limited, Layered]) -> None:
        for key, layered in sorted(stand.items()):
            pending, settled = (
                self._balances.get((key.account, key.owner, key.currency, layer), 0)
                for layer in ("pending", "settled")
            )
            if layered != Layered(pending, settled):
                self._found(
                    "limit",
                    date.min,
                    f"{key.account} {key.owner} {key.currency}: {layered.settled_minor} settled and "
                    f"{layered.pending_minor} pending stand, the entries come to {settled} and {pending}",
                )
