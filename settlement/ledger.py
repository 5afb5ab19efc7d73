"""Entries that sum to zero, their hashes, and what they move.

An entry is one money event in one currency and layer: parallel postings (account, owner, amount),
debit plus, credit minus. It is idempotent by (source, key): the same again is nothing, other content
under the same key is `LedgerConflictError`. Wall-clock times and surrogate ids stand outside the hash.

A layer is how sure the books are. `pending`: captured, and the network's word is still to come.
`settled`: the network's file has it, or it is a break, or it never needed a file. An entry stands in
one layer, so each layer sums to zero by itself; what becomes sure leaves the one by an entry and
joins the other by a second one (rule `confirmed`).
"""

import hashlib
from collections.abc import Iterable
from datetime import date
from typing import Any, Final, Literal

import msgspec

from settlement.chart import CHART
from settlement.posting_rules import POSTING_RULES
from settlement.said import SaidError

Layer = Literal["pending", "settled"]
LAYERS: Final[tuple[Layer, ...]] = ("pending", "settled")

DAY_END_STEP: Final = "post"  # the step of the day's end that posts; others post on open dates

FIELD, ITEM = "\x1f", "\x1e"  # between fields of the canonical form, and between items of a list


class LedgerConflictError(SaidError):
    """The same (source, key) with other content."""


class LedgerClosedError(SaidError):
    """The business date is posted; `Ledger.open_date` says which one takes entries."""


class Entry(msgspec.Struct, frozen=True):
    """One balanced entry. Postings of amount zero are left out; an empty entry is not made."""

    business_date: date
    step: str
    # captured, cost, fee, break, release, hold, cutoff, confirm_out, confirm_in, agent_share
    source: str
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
    layer: Layer = "settled"

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

    def same_request(self, other: "Entry") -> bool:
        """Whether the two ask for the same. Outside the day's end the date is not part of what is
        asked: a poster that asks again may meanwhile find another date open."""
        if self == other:
            return True
        if DAY_END_STEP in (self.step, other.step):
            return False
        return self == msgspec.structs.replace(other, business_date=self.business_date)


def canonical(fields: tuple[Any, ...]) -> bytes:
    """What an entry's hash is over: its fields in the order of `Entry`, as text, with U+001F
    between them and U+001E between the items of a list; dates as YYYY-MM-DD, numbers in decimal;
    UTF-8. So SQL, too, can make it: `concat_ws` over the columns, `array_to_string` for lists.

    Asserts that no field contains a separator; without that two entries could have one form.
    A million a day come through here: hence one join, and no loop over the fields.
    """
    (
        business_date, step, source, key, rule, rule_version, currency, merchant, acquirer,
        terminal, batch, settlement_date, accounts, owners, amounts, layer,
    ) = fields  # fmt: skip
    text = FIELD.join(
        (
            str(business_date),
            step,
            source,
            key,
            rule,
            str(rule_version),
            currency,
            merchant,
            acquirer,
            terminal,
            str(batch),
            str(settlement_date),
            ITEM.join(accounts),
            ITEM.join(owners),
            ITEM.join(map(str, amounts)),
            layer,
        )
    )
    items = len(accounts) + len(owners) + len(amounts)
    assert text.count(FIELD) == len(fields) - 1, f"a separator in {source} {key}"
    assert text.count(ITEM) == max(0, items - 3), f"a separator in {source} {key}"
    return text.encode()


class Movement(msgspec.Struct, frozen=True, order=True):
    """What entries moved on one account of one owner by one rule, in both layers together."""

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
    layer: Layer = "settled",
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
        layer=layer,
    )


def _owner(account: str, acquirer: str, day: date, merchant: str, agent: str) -> str:
    kind = CHART[account].owner
    if kind == "acquirer_day":
        return owner_of_day(acquirer, day)
    return {"acquirer": acquirer, "merchant": merchant, "agent": agent, "own": ""}[kind]


def owner_of_day(acquirer: str, settlement_date: date) -> str:
    return f"{acquirer}/{settlement_date.isoformat()}"


def confirmed(pending: Entry, business_date: date) -> tuple[Entry, Entry]:
    """The two entries by which a capture that waited for its file leaves `pending` and joins
    `settled`, on the date that heard of it."""
    assert pending.rule == "captured", pending
    assert pending.layer == "pending", pending
    rule = POSTING_RULES["confirmed"]
    joins = msgspec.structs.replace(
        pending,
        business_date=business_date,
        source="confirm_in",
        rule=rule.name,
        rule_version=rule.version,
        layer="settled",
    )
    leaves = msgspec.structs.replace(
        joins,
        source="confirm_out",
        amounts=tuple(-amount for amount in pending.amounts),
        layer="pending",
    )
    return leaves, joins


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
