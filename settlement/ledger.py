"""Entries that sum to zero, their hashes, and the chain that seals them.

An entry is one money event in one currency: parallel postings (account, owner, amount), debit
plus, credit minus. It is idempotent by (source, key): the same again is nothing, other content
under the same key is `LedgerConflictError`. Wall-clock times and surrogate ids stand outside the hash.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Final

import msgspec
import pyarrow as pa  # type: ignore[import-untyped]

from settlement.chart import CHART
from settlement.columns import Relation, schema_of, table_of
from settlement.posting_rules import POSTING_RULES

CHUNK: Final = 10_000  # entries a link of the chain
FIELD, ITEM = "\x1f", "\x1e"  # between fields of the canonical form, and between items of a list


class LedgerConflictError(Exception):
    """The same (source, key) with other content."""


class Entry(msgspec.Struct, frozen=True):
    """One balanced entry. Postings of amount zero are left out; an empty entry is not made."""

    business_date: date
    step: str
    source: str  # captured, cost, fee, break, release, hold, cutoff, agent_share
    key: str
    rule: str
    rule_version: int
    currency: str
    merchant: str
    acquirer: str
    terminal: str
    batch: int
    settlement_date: date
    accounts: tuple[str, ...]
    owners: tuple[str, ...]
    amounts: tuple[int, ...]

    def __post_init__(self) -> None:
        assert len(self.accounts) == len(self.owners) == len(self.amounts) >= 2
        assert sum(self.amounts) == 0, f"{self.source} {self.key}: {self.amounts} is not zero"
        assert 0 not in self.amounts, f"{self.source} {self.key}: an empty posting"

    @property
    def hash(self) -> bytes:
        return hashlib.sha256(canonical(msgspec.structs.astuple(self))).digest()

    @property
    def order(self) -> tuple[date, str, str, str]:
        return (self.business_date, self.step, self.source, self.key)


def canonical(fields: tuple[object, ...]) -> bytes:
    """What an entry's hash is over: its fields in the order of `Entry`, as text, with U+001F
    between them and U+001E between the items of a list; dates as YYYY-MM-DD, numbers in decimal;
    UTF-8. So SQL, too, can make it: `concat_ws` over the columns, `array_to_string` for lists.

    Asserts that no field contains a separator; without that two entries could have one form.

    >>> canonical(("a", 1, ("x", "y"), (5, -5)))
    b'a\\x1f1\\x1fx\\x1ey\\x1f5\\x1e-5'
    """
    parts: list[str] = []
    items = 0
    for field in fields:
        if isinstance(field, tuple | list):
            parts.append(ITEM.join(map(str, field)))
            items += len(field) - 1
        else:
            parts.append(str(field))
    text = FIELD.join(parts)
    assert text.count(FIELD) == len(parts) - 1, f"a separator in {fields}"
    assert text.count(ITEM) == items, f"a separator in {fields}"
    return text.encode()


class Movement(msgspec.Struct, frozen=True, order=True):
    """What entries moved on one account of one owner by one rule."""

    account: str
    owner: str
    currency: str
    rule: str
    count: int
    debit_minor: int
    credit_minor: int  # positive

    @property
    def amount_minor(self) -> int:
        return self.debit_minor - self.credit_minor


class TrialLine(msgspec.Struct, frozen=True, order=True):
    account: str
    currency: str
    debit_minor: int
    credit_minor: int

    @property
    def balance_minor(self) -> int:
        return self.debit_minor - self.credit_minor


class Seal(msgspec.Struct, frozen=True):
    """One link of the chain: a chunk of a step's entries in canonical order."""

    business_date: date
    step: str
    chunk: int
    count: int
    previous: bytes
    hash: bytes


def entry(
    rule_name: str,
    source: str,
    key: str,
    variables: dict[str, int],
    *,
    business_date: date,
    step: str,
    currency: str,
    acquirer: str,
    settlement_date: date,
    merchant: str = "",
    agent: str = "",
    terminal: str = "",
    batch: int = 0,
    from_settlement_date: date | None = None,
) -> Entry | None:
    """The entry that `rule_name` makes of `variables`; None where all of its postings are zero.

    `from_settlement_date` is the owner day of credits in `cutoff_transfer`, whose two legs stand
    on the receivables of two days.
    """
    rule = POSTING_RULES[rule_name]
    assert rule.variables == variables.keys(), f"{rule_name} takes {sorted(rule.variables)}"
    accounts: list[str] = []
    owners: list[str] = []
    amounts: list[int] = []
    for index, leg in enumerate(rule.legs):
        amount = sum(weight * variables[name] for name, weight in leg.weights.items())
        if amount == 0:
            continue
        day = from_settlement_date if from_settlement_date and index else settlement_date
        accounts.append(leg.account)
        owners.append(_owner(leg.account, acquirer, day, merchant, agent))
        amounts.append(amount)
    if not amounts:
        return None
    return Entry(
        business_date=business_date,
        step=step,
        source=source,
        key=key,
        rule=rule.name,
        rule_version=rule.version,
        currency=currency,
        merchant=merchant,
        acquirer=acquirer,
        terminal=terminal,
        batch=batch,
        settlement_date=settlement_date,
        accounts=tuple(accounts),
        owners=tuple(owners),
        amounts=tuple(amounts),
    )


def _owner(account: str, acquirer: str, day: date, merchant: str, agent: str) -> str:
    kind = CHART[account].owner
    if kind == "acquirer_day":
        return owner_of_day(acquirer, day)
    return {"acquirer": acquirer, "merchant": merchant, "agent": agent, "own": ""}[kind]


def owner_of_day(acquirer: str, settlement_date: date) -> str:
    return f"{acquirer}/{settlement_date.isoformat()}"


ENTRY_COLUMNS: Final = schema_of(Entry).append(pa.field("hash", pa.string()))


def entry_relation(entries: Iterable[Entry]) -> Relation:
    """Entries in columns, each with its hash last."""
    made = list(entries)
    hashes = pa.array(["\\x" + one.hash.hex() for one in made], pa.string())
    return Relation(table_of(Entry, made).append_column("hash", hashes))


def movements(entries: Iterable[Entry]) -> list[Movement]:
    """The sums of entries; what a store's `movements` must equal."""
    sums: dict[tuple[str, str, str, str], list[int]] = {}
    for made in entries:
        for account, owner, amount in zip(made.accounts, made.owners, made.amounts, strict=True):
            line = sums.setdefault((account, owner, made.currency, made.rule), [0, 0, 0])
            line[0] += 1
            line[1 if amount > 0 else 2] += abs(amount)
    return sorted(Movement(*key, *line) for key, line in sums.items())


def trial_balance(moved: Iterable[Movement]) -> list[TrialLine]:
    """Debits and credits by account. Asserts that every currency sums to zero."""
    lines: dict[tuple[str, str], list[int]] = {}
    zero: dict[str, int] = {}
    for line in moved:
        sums = lines.setdefault((line.account, line.currency), [0, 0])
        sums[0] += line.debit_minor
        sums[1] += line.credit_minor
        zero[line.currency] = zero.get(line.currency, 0) + line.amount_minor
    assert not any(zero.values()), f"the ledger does not sum to zero: {zero}"
    return [
        TrialLine(account, currency, debit, credit)
        for (account, currency), (debit, credit) in sorted(lines.items())
    ]


def seal(
    business_date: date, step: str, entries: Sequence[Entry], previous: bytes, chunk: int = CHUNK
) -> list[Seal]:
    """Chain a step's entries, in canonical order, onto the chain's last link."""
    hashes = [made.hash for made in sorted(entries, key=lambda made: made.order)]
    return seal_hashes(business_date, step, hashes, previous, chunk)


def seal_hashes(
    business_date: date, step: str, hashes: Sequence[bytes], previous: bytes, chunk: int = CHUNK
) -> list[Seal]:
    """The same of the entries' hashes, in canonical order."""
    seals: list[Seal] = []
    for number, first in enumerate(range(0, len(hashes), chunk)):
        part = hashes[first : first + chunk]
        link = link_hash(business_date, step, number, part, previous)
        seals.append(Seal(business_date, step, number, len(part), previous, link))
        previous = link
    return seals


def link_hash(
    business_date: date, step: str, chunk: int, hashes: Sequence[bytes], previous: bytes
) -> bytes:
    digest = hashlib.sha256(previous)
    digest.update(f"{business_date.isoformat()}/{step}/{chunk}/{len(hashes)}".encode())
    for one in hashes:
        digest.update(one)
    return digest.digest()


def verify(
    entries: Sequence[Entry], seals: Sequence[Seal], chunk: int = CHUNK, previous: bytes = b""
) -> str | None:
    """None, or what does not hold, naming the step and chunk. `previous` is the hash of the last
    link before `seals`, which are in order."""
    by_step: dict[tuple[date, str], list[Entry]] = {}
    for made in sorted(entries, key=lambda made: made.order):
        by_step.setdefault((made.business_date, made.step), []).append(made)
    sealed = 0
    for link in seals:
        if link.previous != previous:
            return f"{link.business_date} {link.step} chunk {link.chunk} does not follow its link"
        previous = link.hash
        part = by_step.get((link.business_date, link.step), [])[
            link.chunk * chunk : (link.chunk + 1) * chunk
        ]
        hashes = [made.hash for made in part]
        expected = link_hash(link.business_date, link.step, link.chunk, hashes, link.previous)
        if len(part) != link.count or expected != link.hash:
            return f"{link.business_date} {link.step} chunk {link.chunk} is not what was sealed"
        sealed += len(part)
    if sealed != len(entries):
        return f"{len(entries) - sealed} entries stand outside the chain"
    return None
