"""The money counter: what moved, counted by each party from its own records, and compared item by item.

    cardholders   balances at the banks, before less after
    banks         their entries that stand
    journal       effects that the switch captured
    ledger        legs of the receivable that were posted for them
    terminals     slips that stand
    files         the rows of the banks' clearing files, as they were taken in

Sums that agree could hide two errors, so neighbours are compared item by item: bank and journal by
the key of the link, journal and terminal by (merchant, terminal, batch, trace). What differs must be
one of the things that were done on purpose, and is counted under its name; whatever is left is
`unexplained`, and one of these fails the demonstration. Pure.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from settlement.clearing import Capture, Transaction
    from terminals.simulator.bank import Bank
    from terminals.simulator.com_file import PlantedBreak
    from terminals.simulator.terminal import Slip

LinkName = tuple[str, str, str]  # acquirer, transmission time, link STAN
SlipName = tuple[str, str, int, int]  # merchant, terminal, batch, trace


class Gap(msgspec.Struct, frozen=True):
    """Why two neighbouring views differ: so many items, so much money (this less the other)."""

    reason: str  # planted, forgotten, lost_slip, unexplained
    count: int
    amount_minor: int


class View(msgspec.Struct, frozen=True):
    """One party's count, and what lies between it and the view above (files: the banks' entries)."""

    party: str
    amount_minor: int
    gaps: tuple[Gap, ...] = ()


class Money(msgspec.Struct, frozen=True):
    """The table, and what nobody can explain."""

    views: list[View]
    unexplained: list[str]

    @property
    def right(self) -> bool:
        return not self.unexplained


def count_money(
    *,
    banks: Sequence[Bank],
    planted: Mapping[str, Sequence[PlantedBreak]],
    file_effects: Mapping[str, int],
    captures: Iterable[Capture],
    transactions: Iterable[Transaction],
    ledger_minor: int,
    slips: Iterable[Slip],
    lost_slips: Collection[SlipName],
) -> Money:
    """Compare all views. `planted` and `file_effects` by acquirer."""
    unexplained: list[str] = []
    by_request = {one.request_id: one for one in transactions}
    captured: Counter[int] = Counter()
    for capture in captures:
        captured[capture.request_id] += capture.effect_minor

    cardholders = sum(bank.accounts.taken_minor for bank in banks)
    booked = sum(entry.effect_minor for bank in banks for entry in bank.accounts.entries)
    if cardholders != booked:
        unexplained.append(f"cardholders paid {cardholders}, the banks' entries say {booked}")

    filed, file_gap = _files(banks, planted, file_effects, unexplained)
    journal = sum(captured.values())
    forgotten_gap, journal_gap = _bank_and_journal(banks, captured, by_request, unexplained)
    if journal != ledger_minor:
        unexplained.append(f"the journal captured {journal}, the ledger posted {ledger_minor}")
    terminals, slip_gap, terminal_gap = _journal_and_terminals(
        captured, by_request, slips, lost_slips, unexplained
    )

    def gaps(*found: Gap) -> tuple[Gap, ...]:
        return tuple(gap for gap in found if gap.count or gap.amount_minor)

    views = [
        View("cardholders", cardholders),
        View("banks", booked, gaps(_rest(cardholders, booked))),
        View("journal", journal, gaps(forgotten_gap, journal_gap)),
        View("ledger", ledger_minor, gaps(_rest(journal, ledger_minor))),
        View("terminals", terminals, gaps(slip_gap, terminal_gap)),
        View("files", filed, gaps(file_gap, _rest(booked + file_gap.amount_minor, filed))),
    ]
    return Money(views, unexplained)


def _rest(expected_minor: int, found_minor: int) -> Gap:
    left = found_minor - expected_minor
    return Gap("unexplained", 1 if left else 0, left)


def _files(
    banks: Sequence[Bank],
    planted: Mapping[str, Sequence[PlantedBreak]],
    file_effects: Mapping[str, int],
    unexplained: list[str],
) -> tuple[int, Gap]:
    """The files' sum, and what was planted in them."""
    count = amount = 0
    for bank in banks:
        name = bank.options.name
        wrong = [one for one in planted.get(name, ()) if one.cause == "planted"]
        off = sum(planted_effect(one) for one in wrong)
        count += len(wrong)
        amount += off
        booked = sum(entry.effect_minor for entry in bank.accounts.entries)
        if file_effects.get(name, 0) != booked + off:
            unexplained.append(
                f"the file of {name} bills {file_effects.get(name, 0)}, "
                f"its entries and mistakes say {booked + off}"
            )
    return sum(file_effects.values()), Gap("planted", count, amount)


def planted_effect(one: PlantedBreak) -> int:
    """What a mistake adds to the file's sum. Only purchases are touched, so signs are plain."""
    if one.kind == "duplicate":
        return one.file_minor or 0
    return (one.file_minor or 0) - (one.ours_minor or 0)


def _bank_and_journal(
    banks: Sequence[Bank],
    captured: Mapping[int, int],
    by_request: Mapping[int, Transaction],
    unexplained: list[str],
) -> tuple[Gap, Gap]:
    """Item by item, by the key of the link; a bank may have forgotten what it approved."""
    theirs: dict[LinkName, int] = {}
    forgotten: dict[LinkName, int] = {}
    for bank in banks:
        acquirer = bank.options.name
        for entry in bank.accounts.entries:
            if entry.effect_minor:
                key = entry.asked.key
                theirs[acquirer, key.transmission_time, key.stan] = entry.effect_minor
        for entry in bank.forgotten:
            key = entry.asked.key
            forgotten[acquirer, key.transmission_time, key.stan] = entry.taken_minor
    ours: dict[LinkName, int] = {}
    for request_id, effect in captured.items():
        if effect:
            one = by_request[request_id]
            name = one.acquirer or "", one.transmission_time or "", one.link_stan or ""
            ours[name] = ours.get(name, 0) + effect
    forgot = Counter[str]()
    rest = Counter[str]()
    for name in sorted(ours.keys() | theirs.keys()):
        off = ours.get(name, 0) - theirs.get(name, 0)
        if not off:
            continue
        if name not in theirs and forgotten.get(name) == off:
            forgot["count"] += 1
            forgot["amount"] += off
            continue
        rest["count"] += 1
        rest["amount"] += off
        unexplained.append(
            f"{' '.join(name)}: captured {ours.get(name, 0)}, the bank has {theirs.get(name, 0)}"
        )
    return (
        Gap("forgotten", forgot["count"], forgot["amount"]),
        Gap("unexplained", rest["count"], rest["amount"]),
    )


def _journal_and_terminals(
    captured: Mapping[int, int],
    by_request: Mapping[int, Transaction],
    slips: Iterable[Slip],
    lost_slips: Collection[SlipName],
    unexplained: list[str],
) -> tuple[int, Gap, Gap]:
    """Item by item, by the terminal's key; a terminal may have lost a slip on purpose."""
    theirs: dict[SlipName, int] = {}
    for slip in slips:
        key = slip.merchant, slip.terminal, int(slip.batch), int(slip.trace)
        theirs[key] = theirs.get(key, 0) + slip.effect_minor
    ours: dict[SlipName, int] = {}
    for request_id, effect in captured.items():
        one = by_request[request_id]
        key = one.merchant, one.terminal, one.batch, one.stan
        ours[key] = ours.get(key, 0) + effect
    lost = Counter[str]()
    rest = Counter[str]()
    for key in sorted(ours.keys() | theirs.keys()):
        off = theirs.get(key, 0) - ours.get(key, 0)
        if not off:
            continue
        into = lost if key in lost_slips and key not in theirs else rest
        into["count"] += 1
        into["amount"] += off
        if into is rest:
            unexplained.append(
                f"{key[0]}/{key[1]} {key[2]:06d} {key[3]:06d}: the terminal has "
                f"{theirs.get(key, 0)}, captured {ours.get(key, 0)}"
            )
    return (
        sum(theirs.values()),
        Gap("lost_slip", lost["count"], lost["amount"]),
        Gap("unexplained", rest["count"], rest["amount"]),
    )
