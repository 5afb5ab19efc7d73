"""One chunk of the chain against its rows: which of them is not what was sealed.

A chunk's rows are those that stand between its first entry and the next link's. What can be told apart:

    changed      a row is not what its own hash says
    unbalanced   a row's postings do not sum to zero
    replaced     a row has the hash of its content, but another one was sealed
    inserted     a row was put into a sealed chunk
    missing      a row of a sealed chunk is gone; its neighbours are named
    link         every row is as it was sealed, but the link is not that of its rows
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple

from settlement.chain import FINGERPRINT, Seal
from settlement.ledger import Entry, canonical

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

Order = tuple[str, str, str]  # step, source, key
Place = tuple[str, str, str, str]  # account, owner, currency, layer


class StoredEntry(NamedTuple):
    """A row as it stands, whatever stands there: the fields in the order of `Entry`, and its hash."""

    fields: tuple[Any, ...]
    hash: bytes

    @property
    def order(self) -> Order:
        return self.fields[1:4]


Flaw = tuple[FindingKind, Order, str]


class Chunk:
    """The rows that stand between a link's first and the next link's."""

    def __init__(self, link: Seal) -> None:
        self.link = link
        self.count = 0
        self.digest = hashlib.sha256()
        self.rows: list[tuple[bytes, Order]] = []
        self.flaw: Flaw | None = None

    def add(self, row: StoredEntry, flaw: tuple[FindingKind, str] | None) -> None:
        if flaw is not None and self.flaw is None:
            self.flaw = (flaw[0], row.order, flaw[1])
        self.count += 1
        self.digest.update(row.hash)
        if len(self.rows) < self.link.count + SPARE:
            self.rows.append((row.hash, row.order))


class Chunks:
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
        self._current: Chunk | None = None
        self.outside: Order | None = None

    def add(self, row: StoredEntry, flaw: tuple[FindingKind, str] | None) -> list[Chunk]:
        """The chunks that are complete before the row."""
        order = row.order
        if order[0] not in self._steps:
            self.outside = self.outside or order
            return []
        done: list[Chunk] = []
        while self._begun < len(self._starts) and order >= self._starts[self._begun]:
            done += self._take()
        assert self._current is not None
        self._current.add(row, flaw)
        return done

    def rest(self) -> list[Chunk]:
        """The last chunk, and those of which no row stands any more."""
        done: list[Chunk] = []
        while self._begun < len(self._links):
            done += self._take()
        return [*done, self._current] if self._current is not None else done

    def _take(self) -> list[Chunk]:
        done = [self._current] if self._current is not None else []
        self._current = Chunk(self._links[self._begun])
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
    total = sum(row.fields[AMOUNTS])
    if total != 0:
        return "unbalanced", f"its postings come to {total}"
    return None


def moves_of(row: StoredEntry) -> Iterator[tuple[Place, int]]:
    accounts, owners, amounts = row.fields[ACCOUNTS : AMOUNTS + 1]
    currency, layer = row.fields[CURRENCY], row.fields[LAYER]
    for account, owner, amount in zip(accounts, owners, amounts, strict=False):
        yield (account, owner, currency, layer), amount


def explain(sealed: bytes, rows: Sequence[tuple[bytes, Order]], step: str) -> Flaw:
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
