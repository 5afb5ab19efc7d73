"""The ledger held against itself: entries against their hashes, links, anchors and checkpoints.

Everything is read once, date by date and entry by entry in canonical order; what is kept is one chunk and
the balances. A finding names the chunk and its first broken row. What can be told apart:

    changed      a row is not what its own hash says
    unbalanced   a row's postings do not sum to zero
    replaced     a row has the hash of its content, but another one was sealed
    inserted     a row was put into a sealed chunk
    missing      a row of a sealed chunk is gone; its neighbours are named
    outside      a row of a sealed date, or before it, that no link covers
    link         a link does not follow the one before, or is not that of its rows
    anchor       an anchor does not follow the one before, or is not that of its links
    checkpoint   a closing balance is not the sum of the entries
    limit        a balance with limits is not the sum of the entries
"""

import hashlib
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import date
from typing import Final, Literal, NamedTuple, Protocol

import msgspec

from settlement.chain import FINGERPRINT, Anchor, Seal, anchor, link_hash
from settlement.ledger import Entry, canonical
from settlement.limits import Layered, Limited

FINDINGS_MAX: Final = 100
NONE_KEPT: Final[Mapping[date, str]] = {}
ACCOUNTS, AMOUNTS, CURRENCY, LAYER = (
    Entry.__struct_fields__.index(name) for name in ("accounts", "amounts", "currency", "layer")
)
SPARE: Final = 1_000  # rows kept of a chunk beyond its count: enough to say what came in

FindingKind = Literal[
    "changed",
    "unbalanced",
    "replaced",
    "inserted",
    "missing",
    "outside",
    "link",
    "anchor",
    "checkpoint",
    "limit",
]


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


class StoredEntry(NamedTuple):
    """A row as it stands, whatever stands there: the fields in the order of `Entry`, and its hash."""

    fields: tuple[object, ...]
    hash: bytes

    @property
    def order(self) -> tuple[str, str, str]:
        _, step, source, key, *_ = self.fields
        return str(step), str(source), str(key)


Place = tuple[str, str, str, str]  # account, owner, currency, layer


class Closing(msgspec.Struct, frozen=True):
    """A checkpoint: what a date moved on a place, and the balance after it."""

    count: int
    debit_minor: int
    credit_minor: int
    balance_minor: int


class Stored(Protocol):
    """What the verifier reads, all of it in one snapshot."""

    async def anchors(self) -> list[Anchor]: ...

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
        order: tuple[str, str, str] = ("", "", ""),
        chunk: int | None = None,
    ) -> None:
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(Finding(kind, day, order[0], chunk, order[1], order[2], text))

    def kept(self, anchors: Sequence[Anchor], kept: Mapping[date, str]) -> None:
        stand = {one.business_date: one.hash.hex() for one in anchors}
        for day, wanted in sorted(kept.items()):
            if stand.get(day) != wanted:
                self._found("anchor", day, f"is not the one that was kept, {wanted}")

    # -- a sealed date

    async def sealed(self, stands: Anchor) -> None:
        day = stands.business_date
        links = await self._stored.links(day)
        chunks = _Chunks(links)
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

    async def _chunk(self, day: date, chunk: "_Chunk") -> None:
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
                f"{account} {owner} {currency} {layer}: {stand.get(place)} is not what the entries come "
                f"to{f', and {len(differing) - 1} more' if differing[1:] else ''}",
            )

    # -- what no link covers

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
                    f"{key.account} {key.owner} {key.currency}: {layered} stands, the entries come "
                    f"to {Layered(pending, settled)}",
                )


Flaw = tuple[FindingKind, tuple[str, str, str], str]


class _Chunk:
    """The rows that stand between a link's first and the next link's."""

    def __init__(self, link: Seal) -> None:
        self.link = link
        self.count = 0
        self.digest = hashlib.sha256()
        self.rows: list[tuple[bytes, tuple[str, str, str]]] = []
        self.flaw: Flaw | None = None

    def add(self, row: StoredEntry, flaw: tuple[FindingKind, str] | None) -> None:
        if flaw is not None and self.flaw is None:
            self.flaw = (flaw[0], row.order, flaw[1])
        self.count += 1
        self.digest.update(row.hash)
        if len(self.rows) < self.link.count + SPARE:
            self.rows.append((row.hash, row.order))


class _Chunks:
    """Sorts a date's rows, which come in order, to its links."""

    def __init__(self, links: Sequence[Seal]) -> None:
        self._links = list(links)
        # what stands before a step's first row was put there, and belongs to its first link
        self._starts = [
            (link.step, link.first_source, link.first_key) if link.chunk else (link.step, "", "")
            for link in links
        ]
        self._steps = {link.step for link in links}
        self._begun = 0
        self._current: _Chunk | None = None
        self.outside: tuple[str, str, str] | None = None

    def add(self, row: StoredEntry, flaw: tuple[FindingKind, str] | None) -> list[_Chunk]:
        """The chunks that are complete before the row."""
        order = row.order
        if order[0] not in self._steps:
            self.outside = self.outside or order
            return []
        done: list[_Chunk] = []
        while self._begun < len(self._starts) and order >= self._starts[self._begun]:
            done += self._take()
        assert self._current is not None
        self._current.add(row, flaw)
        return done

    def rest(self) -> list[_Chunk]:
        """The last chunk, and those of which no row stands any more."""
        done: list[_Chunk] = []
        while self._begun < len(self._links):
            done += self._take()
        return [*done, self._current] if self._current is not None else done

    def _take(self) -> list[_Chunk]:
        done = [self._current] if self._current is not None else []
        self._current = _Chunk(self._links[self._begun])
        self._begun += 1
        return done


def flaw_of(row: StoredEntry) -> tuple[FindingKind, str] | None:
    """What is wrong with a row by itself."""
    try:
        content = hashlib.sha256(canonical(row.fields)).digest()
    except AssertionError:
        return "changed", "it holds a separator of the canonical form"
    if content != row.hash:
        return "changed", "it is not what its hash says"
    amounts = row.fields[AMOUNTS]
    assert isinstance(amounts, Sequence)
    if sum(amounts) != 0:
        return "unbalanced", f"its postings come to {sum(amounts)}"
    return None


def moves_of(row: StoredEntry) -> Iterator[tuple[Place, int]]:
    accounts, owners, amounts = row.fields[ACCOUNTS : AMOUNTS + 1]
    currency, layer = str(row.fields[CURRENCY]), str(row.fields[LAYER])
    for account, owner, amount in zip(accounts, owners, amounts, strict=False):  # type: ignore[call-overload]
        yield (account, owner, currency, layer), amount


def explain(sealed: bytes, rows: Sequence[tuple[bytes, tuple[str, str, str]]], step: str) -> Flaw:
    """The first row of a chunk that is not as sealed, by the fingerprints of those that were."""
    were = [sealed[i : i + FINGERPRINT] for i in range(0, len(sealed), FINGERPRINT)]
    are = [row_hash[:FINGERPRINT] for row_hash, _ in rows]
    at = next(
        (i for i, pair in enumerate(zip(were, are, strict=False)) if pair[0] != pair[1]), None
    )
    if at is None:
        at = min(len(were), len(are))
    if at == len(were) == len(are):
        return "link", (step, "", ""), "every row is as it was sealed; the link itself was changed"
    if at == len(were) or (at < len(are) and were[at] in are[at + 1 :]):
        return "inserted", rows[at][1], f"row {at + 1} was not there when the chunk was sealed"
    if at == len(are) or are[at] in were[at + 1 :]:
        neighbours = " and ".join(
            "/".join(rows[i][1][1:]) for i in (at - 1, at) if 0 <= i < len(rows)
        )
        order = rows[at][1] if at < len(rows) else rows[-1][1] if rows else (step, "", "")
        return "missing", order, f"row {at + 1} of the chunk is gone, by {neighbours or 'nothing'}"
    return "replaced", rows[at][1], f"row {at + 1} is another one than was sealed"
