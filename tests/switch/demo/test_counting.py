"""The demonstration's judges: they must see a fen that is missing and a break that is wrong.

Method: two simulated banks decide real requests without a wire; journal, slips and file are written
down from what they decided, so that everything agrees; then one thing is spoilt at a time.
"""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from settlement.cases import Break
from settlement.clearing import Capture, Transaction
from switch.demo import plan
from switch.demo.breaks import compare_breaks
from switch.demo.money import count_money
from terminals.simulator.accounts import Asked, LinkKey
from terminals.simulator.bank import Bank
from terminals.simulator.terminal import Slip

if TYPE_CHECKING:
    from switch.demo.money import Money
    from terminals.simulator.com_file import PlantedBreak

DATE = dt.date(2026, 3, 5)
PURCHASES = 60  # at each bank


@dataclass
class World:
    """Everybody's records of the same day."""

    banks: list[Bank]
    captures: list[Capture] = field(default_factory=list)
    transactions: list[Transaction] = field(default_factory=list)
    slips: list[Slip] = field(default_factory=list)
    planted: dict[str, tuple[PlantedBreak, ...]] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)
    lost: set[tuple[str, str, int, int]] = field(default_factory=set)
    ledger_off: int = 0

    def count(self) -> Money:
        return count_money(
            banks=self.banks,
            planted=self.planted,
            file_effects=self.files,
            captures=self.captures,
            transactions=self.transactions,
            ledger_minor=sum(one.effect_minor for one in self.captures) + self.ledger_off,
            slips=self.slips,
            lost_slips=self.lost,
        )


@pytest.fixture
def world() -> World:
    made = World([Bank(plan.bank_options(1, of), DATE, random.Random(7)) for of in plan.BANKS])
    for at, bank in enumerate(made.banks):
        cards = [card for of in bank.options.cards for card in of.cards()]
        for index in range(PURCHASES):
            number = at * PURCHASES + index + 1
            buy(made, bank, number, cards[index], 1_000 + number)
        entry = bank.accounts.entries[3]
        by = LinkKey("0305130000", f"{900_000 + at:06}", "48025840", "48025840")
        assert bank.accounts.reverse(entry.asked.key, by, entry.approved_minor, DATE) == "00"
        taken_back = at * PURCHASES + 4
        made.captures = [one for one in made.captures if one.request_id != taken_back]
        next(s for s in made.slips if int(s.trace) == taken_back).state = "reversed"
    for bank in made.banks:
        file = bank.clearing_file(DATE)
        made.planted[bank.options.name] = file.planted
        made.files[bank.options.name] = billed(file.data)
    return made


def buy(world: World, bank: Bank, number: int, card: Any, amount_minor: int) -> None:
    """One purchase in everybody's records."""
    key = LinkKey("0305120000", f"{number:06}", "48025840", "48025840")
    asked = Asked(
        key=key,
        mti="0200",
        kind="purchase",
        processing_code="000000",
        pan=card.pan,
        amount_minor=amount_minor,
        merchant="M" * 15,
        terminal="T" * 8,
        mcc="5411",
        entry_mode="022",
        condition="00",
        rrn=f"{number:012}",
    )
    entry = bank.accounts.decide(asked, DATE)
    slip = Slip("purchase", "M" * 15, "T" * 8, "000001", f"{number:06}", amount_minor, card.pan, "")
    slip.state, slip.approved_minor = "declined", entry.approved_minor
    common: dict[str, Any] = {
        "request_id": number,
        "business_date": DATE,
        "settlement_date": DATE,
        "type": "purchase",
        "merchant": "M" * 15,
        "terminal": "T" * 8,
        "batch": 1,
        "stan": number,
        "acquirer": bank.options.name,
        "currency": "156",
    }
    world.transactions.append(
        Transaction(
            **common,
            state="approved",
            mti="0200",
            processing_code="000000",
            amount_minor=amount_minor,
            link_stan=key.stan,
            transmission_time=key.transmission_time,
        )
    )
    if entry.approved:
        slip.state = "approved"
        world.captures.append(Capture(capture_id=number, effect_minor=amount_minor, **common))
    world.slips.append(slip)


def billed(data: bytes) -> int:
    """The sum of a file of purchases: columns of `reference/clearing.md` section 1."""
    start = 12 + 12 + 7 + 11 + 20
    return sum(int(line[start : start + 12]) for line in data.splitlines())


def reasons(money: Money) -> dict[str, int]:
    return {gap.reason: gap.count for view in money.views for gap in view.gaps}


def test_what_agrees_is_right(world: World) -> None:
    money = world.count()
    assert money.right, money.unexplained
    planted = sum(len(of) for of in world.planted.values())
    assert reasons(money) == {"planted": planted}
    amounts = {view.party: view.amount_minor for view in money.views}
    assert len({amounts[p] for p in ("cardholders", "banks", "journal", "terminals")}) == 1
    assert amounts["files"] == sum(world.files.values())


def test_a_forgotten_approval_is_explained_only_for_its_own_amount(world: World) -> None:
    bank = world.banks[0]
    accounts = bank.accounts
    buy(world, bank, 500, bank.options.cards[0].card(1), 4_321)
    entry = accounts.entries[-1]
    accounts.forget(entry)
    bank.forgotten.append(entry)
    money = world.count()
    assert money.right, money.unexplained
    assert reasons(money)["forgotten"] == 1
    world.captures[-1] = msgspec.structs.replace(world.captures[-1], effect_minor=4_322)
    assert not world.count().right


def test_a_lost_slip_is_explained_only_when_it_was_lost_on_purpose(world: World) -> None:
    slip = world.slips.pop(0)
    assert not world.count().right
    world.lost.add((slip.merchant, slip.terminal, int(slip.batch), int(slip.trace)))
    assert world.count().right


def test_two_errors_that_cancel_are_seen(world: World) -> None:
    first, second = world.captures[0], world.captures[1]
    world.captures[0] = msgspec.structs.replace(first, effect_minor=first.effect_minor + 5)
    world.captures[1] = msgspec.structs.replace(second, effect_minor=second.effect_minor - 5)
    money = world.count()
    assert {view.party: view.amount_minor for view in money.views}["journal"] == sum(
        slip.effect_minor for slip in world.slips
    )
    assert len(money.unexplained) == 4  # both, at the bank and at the terminal


@pytest.mark.parametrize("spoil", ["ledger", "file", "cardholder", "slip", "capture"])
def test_a_fen_is_missed(world: World, spoil: str) -> None:
    if spoil == "ledger":
        world.ledger_off = 1
    elif spoil == "file":
        world.files["bank-b"] -= 1
    elif spoil == "cardholder":
        world.banks[0].accounts.entries[0].taken_minor += 1
    elif spoil == "slip":
        next(slip for slip in world.slips if slip.state == "approved").approved_minor += 1
    else:
        del world.captures[0]
    assert not world.count().right


# -- breaks ---------------------------------------------------------------------------------------


def found(world: World) -> list[Break]:
    """What a reconciliation that makes no mistake would report."""
    breaks: list[Break] = []
    for acquirer, planted in world.planted.items():
        for one in planted:
            ours = None if one.kind in ("duplicate", "extra") else one.ours_minor
            breaks.append(
                Break(
                    id=str(len(breaks)),
                    business_date=DATE,
                    break_class=one.break_class,
                    acquirer=acquirer,
                    currency="156",
                    keys={"transmission_time": one.transmission_time, "link_stan": one.stan},
                    ours_minor=0 if one.kind == "reversed_but_billed" else ours,
                    theirs_minor=one.file_minor,
                )
            )
    return breaks


def test_exactly_the_planted_breaks(world: World) -> None:
    comparison = compare_breaks(world.planted, found(world))
    assert comparison.right, (comparison.not_found, comparison.not_expected)
    kinds = {one.kind for planted in world.planted.values() for one in planted}
    assert kinds == {"missing", "extra", "amount", "duplicate", "reversed_but_billed"}
    assert sum(comparison.found.values()) == sum(comparison.planted.values())


@pytest.mark.parametrize(
    "changes",
    [
        {"break_class": "fee_mismatch"},
        {"acquirer": "bank-c"},
        {"theirs_minor": 1},
        {"ours_minor": 1},
        {"keys": {"transmission_time": "0305120000", "link_stan": "999999"}},
    ],
)
def test_a_break_that_is_not_the_planted_one(world: World, changes: dict[str, Any]) -> None:
    breaks = found(world)
    breaks[0] = msgspec.structs.replace(breaks[0], **changes)
    comparison = compare_breaks(world.planted, breaks)
    assert len(comparison.not_found) == len(comparison.not_expected) == 1


def test_one_too_few_and_one_too_many(world: World) -> None:
    breaks = found(world)
    assert len(compare_breaks(world.planted, breaks[1:]).not_found) == 1
    assert len(compare_breaks(world.planted, [*breaks, breaks[0]]).not_expected) == 1
