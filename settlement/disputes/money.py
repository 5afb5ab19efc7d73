"""What an event does to a dispute: its next state, and the entries that move the money. Pure.

Where a dispute stands on the ledger, by its own entries (debits plus), with C what is charged:

    account                  chargeback under way    won, lost       absorbed
    network receivable       -C                      -C              -C
    chargeback receivable     C                       0               0
    merchant payable          held                    C               0
    merchant held            -held                    0               0
    write-off loss            0                       0               C

The fees of the rows stand beside that as cost. What we started ourselves has no C: its one row moves
the receivable against the case's suspense, or against the merchant.
"""

from collections.abc import Mapping
from datetime import date, datetime

import msgspec

from settlement.disputes.deadlines import Calendar
from settlement.disputes.table import (
    BORNE_BY_US,
    ENDS,
    STARTED_BY_US,
    TABLE,
    TAKES,
    By,
    DisputeEvent,
    DisputeFacts,
    Event,
    Move,
)
from settlement.ledger import Entry, entry
from settlement.said import SaidError


class RefusedEventError(SaidError):
    """The event does not fit the dispute: its state, its direction, its amount. A value to callers:
    a row of the network becomes a case then."""


class Happening(msgspec.Struct, frozen=True):
    """An event as it comes in, before the table has judged it."""

    event: Event
    by: By
    at: datetime
    business_date: date
    effect_minor: int = 0  # signed, on what the network owes us; of what we send: as it will be
    issuer_fee_minor: int = 0
    network_fee_minor: int = 0
    settlement_date: date | None = None  # of the network's row
    reason: str = ""
    text: str = ""
    row: str = ""
    operator: str = ""
    checker: str = ""
    proposal: str = ""


class Suspense(msgspec.Struct, frozen=True):
    """The suspense that a dispute of a case draws on."""

    long: bool
    left_minor: int  # the case's, signed
    issuer_borne_minor: int = 0  # fees by which the case holds less than its gross amount
    network_borne_minor: int = 0

    @property
    def gross_minor(self) -> int:
        return self.left_minor + self.issuer_borne_minor + self.network_borne_minor


class Stepped(msgspec.Struct, frozen=True):
    event: DisputeEvent
    entries: list[Entry]
    difference_minor: int = 0  # what left the case's suspense


def judge(facts: DisputeFacts, one: Happening, *, room_minor: int) -> Move:
    """The row of the table, if the event fits. `room_minor`: what other disputes left of the sale.

    Raises RefusedEventError.
    """
    move = TABLE.get((facts.state, one.event))
    if move is None or move.by != one.by:
        raise RefusedEventError("dispute_event", state=facts.state, event=one.event, by=one.by)
    if facts.dispute.case_id and not facts.events and one.event not in STARTED_BY_US:
        raise RefusedEventError("dispute_of_sale", event=one.event)
    sign = move.sign if move.money else _sign_to_come(one.event, one.by)
    if not sign:
        return move
    if one.effect_minor * sign <= 0:
        raise RefusedEventError("dispute_effect", event=one.event, effect=one.effect_minor)
    amount = abs(one.effect_minor)
    if move.money == "adjust" and amount > facts.events[0].amount_minor:
        raise RefusedEventError(
            "dispute_answered", amount=amount, sent=facts.events[0].amount_minor
        )
    if move.money == "charge" and move.sign > 0 and amount > facts.charged_minor:
        raise RefusedEventError("dispute_given_back", amount=amount, taken=facts.charged_minor)
    if sign < 0 and not facts.dispute.case_id:
        left = room_minor - facts.taken_minor
        if amount > left:
            raise RefusedEventError("dispute_taken", amount=amount, left=left)
    return move


def _sign_to_come(event: Event, by: By) -> int:
    """Of what we send: the effect that the network's row of it will have."""
    return -TAKES[event] if by == "acquirer" and event in STARTED_BY_US else 0


def step(
    facts: DisputeFacts,
    one: Happening,
    *,
    calendar: Calendar,
    deadlines_days: Mapping[str, int],
    room_minor: int,
    suspense: Suspense | None = None,
) -> Stepped:
    """The event as it will be stored, and its entries. Raises RefusedEventError."""
    move = judge(facts, one, room_minor=room_minor)
    assert (suspense is not None) == bool(facts.dispute.case_id), "a case and its suspense"
    amount = abs(one.effect_minor)
    charged = facts.charged_minor - (one.effect_minor if move.money == "charge" else 0)
    held = _held(facts, move, charged, amount)
    made, difference = _row_entry(facts, one, move, suspense)
    entries = [made, _hold_entry(facts, one, held), _end_entry(facts, one, move, charged)]
    if move.state in ENDS:
        charged = 0
    days = deadlines_days.get(move.deadline)
    return Stepped(
        DisputeEvent(
            dispute_id=facts.dispute.id,
            sequence=facts.next_sequence,
            event=one.event,
            state=move.state,
            by=one.by,
            at=one.at,
            business_date=one.business_date,
            deadline=(
                None
                if days is None
                else calendar.add_working_days(one.settlement_date or one.business_date, days)
            ),
            settlement_date=one.settlement_date,
            amount_minor=amount,
            issuer_fee_minor=one.issuer_fee_minor,
            network_fee_minor=one.network_fee_minor,
            charged_minor=charged,
            held_minor=held,
            reason=one.reason,
            text=one.text,
            row=one.row,
            operator=one.operator,
            checker=one.checker,
            proposal=one.proposal,
        ),
        [each for each in entries if each is not None],
        difference,
    )


def _row_entry(
    facts: DisputeFacts, one: Happening, move: Move, suspense: Suspense | None
) -> tuple[Entry | None, int]:
    """What the network's row moves, and by how much it lowers the case's suspense."""
    if move.money == "charge":
        return _entry(facts, one, "dispute_chargeback", "dispute", _row_variables(one)), 0
    if move.money != "adjust":
        return None, 0
    if suspense is None:
        return _entry(facts, one, "dispute_merchant", "dispute", _row_variables(one)), 0
    return _out_of_suspense(facts, one, suspense)


def _hold_entry(facts: DisputeFacts, one: Happening, held: int) -> Entry | None:
    if held == facts.held_minor:
        return None
    return _entry(facts, one, "payout_hold", "dispute_hold", {"held": held - facts.held_minor})


def _end_entry(facts: DisputeFacts, one: Happening, move: Move, charged: int) -> Entry | None:
    """Who bears what is still charged when the dispute ends."""
    if move.state not in ENDS or not charged:
        return None
    rule = "dispute_absorb" if move.state in BORNE_BY_US else "dispute_charge"
    return _entry(facts, one, rule, "dispute_end", {"charged": charged})


def _held(facts: DisputeFacts, move: Move, charged: int, amount: int) -> int:
    if move.hold == "free":
        return 0
    if move.hold == "take" and not facts.dispute.case_id:
        return max(facts.held_minor, charged if move.money == "charge" else amount)
    return facts.held_minor


def _out_of_suspense(
    facts: DisputeFacts, one: Happening, suspense: Suspense
) -> tuple[Entry | None, int]:
    """The row's entry against the case's suspense, and what it leaves there the less.

    The whole gross amount takes the fees that the case's row bore as cost; a part takes none.
    """
    whole = one.effect_minor == -suspense.gross_minor
    borne = (suspense.issuer_borne_minor, suspense.network_borne_minor) if whole else (0, 0)
    difference = -one.effect_minor - sum(borne)
    if difference * suspense.left_minor <= 0 or abs(difference) > abs(suspense.left_minor):
        raise RefusedEventError(
            "dispute_case_holds", event=one.event, effect=one.effect_minor, left=suspense.left_minor
        )
    variables = _row_variables(one) | {"issuer_borne": borne[0], "network_borne": borne[1]}
    rule = "dispute_long" if suspense.long else "dispute_short"
    return _entry(facts, one, rule, "dispute", variables), difference


def _row_variables(one: Happening) -> dict[str, int]:
    return {
        "amount": one.effect_minor,
        "issuer": one.issuer_fee_minor,
        "network": one.network_fee_minor,
    }


def _entry(
    facts: DisputeFacts, one: Happening, rule: str, source: str, variables: dict[str, int]
) -> Entry | None:
    about = facts.dispute
    return entry(
        rule,
        source,
        f"{about.id}/{facts.next_sequence:03d}",
        variables,
        business_date=one.business_date,
        step="dispute",
        currency=about.currency,
        acquirer=about.acquirer,
        settlement_date=one.settlement_date or one.business_date,
        merchant=about.merchant,
        terminal=about.terminal,
    )
