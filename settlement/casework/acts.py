"""What may be done with a case's money, as data, and what it comes to.

An act moves what suspense holds to where it belongs, by one posting rule for each of the two
suspense accounts; the entry is linked to the case by its key. What is proposed is a payload of JSON
values that names the rule and every variable, so that the checker sees all that will be booked. It
also names how the case stood (`stands`): an act on a case that stands otherwise is refused.
"""

from collections.abc import Mapping
from datetime import date
from typing import Final, Literal

import msgspec

from settlement.cases import SWITCH_CLASSES
from settlement.casework.states import Case
from settlement.clearing import ClearingRecord, ClearingRow
from settlement.disputes.table import Event
from settlement.fees import NotInForceError, Tariffs
from settlement.ledger import Entry, entry
from settlement.said import SaidError

Permission = Literal["case.adjust", "case.write_off", "case.release"]


class Act(msgspec.Struct, frozen=True):
    """One line of the table."""

    name: str
    permission: Permission  # what the checker approves
    long: str = ""  # posting rule where the difference stands in long suspense
    short: str = ""  # ... in short suspense
    owed: str = ""  # posting rule of what a network owes; the case holds no suspense
    dispute: Event | None = None  # opens a dispute with the network; money moves by its answer
    part: bool = False  # may move a part of what is left


_ACTS: Final = (
    # the books take the file's word: the merchant gets the sale, or does not
    Act("follow_file", "case.adjust", "case_follow_file_long", "case_follow_file_short"),
    Act("accept_fee", "case.adjust", "case_accept_fee_long", "case_accept_fee_short"),
    Act(
        "settle_with_merchant",
        "case.adjust",
        "case_merchant_long",
        "case_merchant_short",
        part=True,
    ),
    Act("write_off", "case.write_off", "case_write_off_long", "case_write_off_short", part=True),
    Act("write_off_receivable", "case.write_off", owed="case_receivable_lost", part=True),
    Act("credit_adjustment", "case.adjust", dispute="credit_adjustment", part=True),
    Act("claim", "case.adjust", dispute="claim", part=True),
    Act("collection", "case.adjust", dispute="collection", part=True),
    Act("release", "case.release", part=True),  # of the hold, before the case ends
    Act("acknowledge", "case.adjust"),  # of a case without money
    Act("link", "case.adjust"),  # of one whose money another entry has moved
    # the close found the other side after all: the linked opposite of what adjusted the case
    Act("take_back", "case.adjust"),
)
ACTS: Final[dict[str, Act]] = {act.name: act for act in _ACTS}

_NO_MONEY: Final = ("link", "acknowledge")
_SHORT: Final = ("follow_file", "settle_with_merchant", "claim", "collection", "write_off")
_EITHER: Final = ("follow_file", "settle_with_merchant", *("credit_adjustment", "claim"))
# class -> the acts that may end it, beside a later close. `clearing.md` section 4.
CLASS_ACTS: Final[dict[str, tuple[str, ...]]] = {
    "network_long": ("follow_file", "credit_adjustment", "write_off"),
    "network_short": (*_SHORT, "release"),
    "amount_mismatch": (*_EITHER, "collection", "write_off", "release"),
    "status_mismatch": (*_EITHER, "collection", "write_off", "release"),
    "duplicate": ("credit_adjustment", "write_off"),
    "orphan_refund": ("settle_with_merchant", "claim", "write_off"),
    "fee_mismatch": ("accept_fee", "write_off"),
    "file_changed": ("acknowledge",),
    "file_late": ("acknowledge",),
    "adjustment_unplaced": ("settle_with_merchant", "write_off", "acknowledge"),
    "terminal_totals": _NO_MONEY,
    "file_totals": _NO_MONEY,
    "receivable_overdue": ("write_off_receivable", *_NO_MONEY),
    "statement_unmatched": ("write_off", "acknowledge"),
    "reserve_difference": _NO_MONEY,
    **dict.fromkeys(SWITCH_CLASSES, _NO_MONEY),
}
OTHER_ACTS: Final = ("settle_with_merchant", "write_off", *_NO_MONEY)  # of a class of others
REOPENED_ACTS: Final = ("take_back", "settle_with_merchant", "write_off")
assert {name for names in CLASS_ACTS.values() for name in names} <= ACTS.keys()


class NotPossibleError(SaidError):
    """The act does not fit the case: its class, its state, its amounts."""


def acts_of(case: Case) -> tuple[str, ...]:
    """The acts that may be proposed for the case as it stands."""
    if case.state == "ended" or not case.facts.standing:
        return ()
    if case.resolved:  # and something is left: the close gave back what was adjusted already
        by_network = any(one.dispute for one in case.facts.events if one.kind == "adjusted")
        return tuple(name for name in REOPENED_ACTS if name != "take_back" or not by_network)
    names = CLASS_ACTS.get(case.facts.found.break_class, OTHER_ACTS)
    return tuple(name for name in names if _fits(ACTS[name], case))


def _fits(act: Act, case: Case) -> bool:
    if act.name == "release":
        return case.held_minor != 0
    if case.state == "disputed":  # its money waits for the network's answer
        return False
    if act.name in _NO_MONEY or act.owed:
        return not case.left_minor
    if act.name == "follow_file" and case.count("adjusted"):
        return False
    if act.dispute:
        return (case.left_minor > 0) == (act.dispute == "credit_adjustment") and bool(
            case.left_minor
        )
    return case.left_minor != 0


def stands(case: Case) -> dict[str, object]:
    """What an act rests on, in its payload: whatever changes it makes the proposal void."""
    return {
        "state": "disputed" if case.state == "disputed" else "open",
        "left_minor": case.left_minor,
        "held_minor": case.held_minor,
        "adjustments": case.count("adjusted"),
        "withdrawn": case.count("withdrawn"),
        "resolved": case.resolved,
    }


class Move(msgspec.Struct, frozen=True):
    """What an approved act does to its case."""

    difference_minor: int = 0  # leaves suspense
    released_minor: int = 0  # leaves the hold
    rule: str = ""
    variables: dict[str, int] = {}
    opposes: bool = False  # what adjusted the case before
    dispute: Event | None = None
    amount_minor: int = 0  # of the dispute
    owed_minor: int = 0  # by the network, as it stood
    linked: dict[str, object] = {}  # the entry that has moved the case's money, as it stands
    note: str = ""  # plan and version that a discount rests on


def plan(
    case: Case,
    name: str,
    amount_minor: int | None,
    *,
    row: ClearingRow | None,
    record: ClearingRecord | None,
    tariffs: Tariffs,
    linked: Entry | None = None,
    owed_minor: int = 0,
) -> Move:
    """What the act comes to for the case; `amount_minor` is a part, positive, None the whole.

    `row` and `record` are the two sides that the break names, `linked` is the entry of `link`,
    `owed_minor` what the network owes of the case's settlement date. Raises NotPossibleError.
    """
    if name not in acts_of(case):
        takes = ", ".join(acts_of(case)) or "-"
        raise NotPossibleError(
            "act_not_taken", case=case.id, state=case.state, act=name, takes=takes
        )
    act = ACTS[name]
    if amount_minor is not None and not act.part:
        raise NotPossibleError("act_whole", act=name)
    if name == "release":
        return Move(released_minor=_part(case.held_minor, amount_minor, case))
    if act.dispute:
        return _dispute(case, act, amount_minor, row)
    if act.owed:
        return _lost(case, act, amount_minor, owed_minor)
    if name == "take_back":
        move = Move(difference_minor=case.left_minor, opposes=True)
    elif name == "follow_file":
        move = _follow_file(case, act, row=row, record=record, tariffs=tariffs)
    elif name == "acknowledge":
        move = Move()
    elif name == "link":
        move = Move(linked=told_of(_fitting(case, linked)))
    else:
        move = _moved(case, act, _part(case.left_minor, amount_minor, case))
    ends = move.difference_minor == case.left_minor
    return msgspec.structs.replace(move, released_minor=case.held_minor if ends else 0)


def _moved(case: Case, act: Act, difference_minor: int) -> Move:
    if act.name == "settle_with_merchant" and not case.facts.found.merchant:
        raise NotPossibleError("act_no_merchant", case=case.id)
    variables = {"difference": difference_minor}
    return Move(difference_minor, rule=_rule(case, act), variables=variables)


def _lost(case: Case, act: Act, amount_minor: int | None, owed_minor: int) -> Move:
    if owed_minor <= 0:
        raise NotPossibleError("act_nothing_owed", case=case.id)
    lost = _part(owed_minor, amount_minor, case)
    return Move(rule=act.owed, variables={"amount": lost}, owed_minor=owed_minor)


def _rule(case: Case, act: Act) -> str:
    return act.long if case.long else act.short


def _fitting(case: Case, linked: Entry | None) -> Entry:
    found = case.facts.found
    if linked is None:
        raise NotPossibleError("act_no_entry")
    for name in ("merchant", "currency"):
        of_entry, of_case = getattr(linked, name), getattr(found, name)
        if of_entry and of_case and of_entry != of_case:
            raise NotPossibleError(
                "act_other_entry",
                entry=f"{linked.source}/{linked.key}",
                of_entry=f"{name} {of_entry}",
                case=case.id,
                of_case=of_case,
            )
    return linked


def told_of(linked: Entry) -> dict[str, object]:
    """The entry for who checks the link: JSON values."""
    names = (
        "source",
        "key",
        "business_date",
        "rule",
        "merchant",
        "currency",
        "accounts",
        "amounts",
    )
    told = {name: msgspec.to_builtins(getattr(linked, name)) for name in names}
    return {name: list(v) if isinstance(v, tuple) else v for name, v in told.items()}


def _part(of_minor: int, amount_minor: int | None, case: Case) -> int:
    if amount_minor is None:
        return of_minor
    if not 0 < amount_minor <= abs(of_minor):
        raise NotPossibleError("act_holds", case=case.id, holds=abs(of_minor), asked=amount_minor)
    return amount_minor if of_minor > 0 else -amount_minor


def _follow_file(
    case: Case,
    act: Act,
    *,
    row: ClearingRow | None,
    record: ClearingRecord | None,
    tariffs: Tariffs,
) -> Move:
    """The merchant's account moves by the file's amount less ours, less the discount on that; the
    fee that no record of ours bore becomes cost."""
    found = case.facts.found
    before, after = found.ours_minor or 0, found.theirs_minor or 0
    effect = after - before
    issuer, network = borne(case, row)
    assert effect - issuer - network == case.left_minor, f"{case.id}: amounts and fees do not agree"
    try:
        if record is not None and record.plan:
            terms = tariffs.plan(record.plan, record.plan_version)
        else:
            terms = tariffs.merchant_plan(found.merchant, found.settlement_date or date.min)
    except NotInForceError as error:
        raise NotPossibleError("act_not_in_force", reason=error) from error
    side = record or row
    assert side is not None
    discount = terms.change(
        "merchant_discount",
        before,
        after,
        record.card_type if record is not None and record.card_type else "credit",
        side.mcc,
        refund=after < before,
    )
    return Move(
        difference_minor=case.left_minor,
        rule=_rule(case, act),
        variables={
            "difference": case.left_minor,
            "issuer": issuer,
            "network": network,
            "discount": discount,
        },
        note=f"{terms.name}/{terms.version}",
    )


def borne(case: Case, row: ClearingRow | None) -> tuple[int, int]:
    """(issuer's, network's) fee of the row by which its difference is less than its amount."""
    found = case.facts.found
    gross = (found.theirs_minor or 0) - (found.ours_minor or 0)
    if row is None or gross == found.difference_minor:
        return 0, 0
    return row.issuer_fee_minor or 0, row.network_fee_minor or 0


def _dispute(case: Case, act: Act, amount_minor: int | None, row: ClearingRow | None) -> Move:
    """What goes to the network: the gross amount. Suspense is moved by its answer, not now."""
    gross = abs(case.left_minor + sum(borne(case, row)) * (not case.count("adjusted")))
    if amount_minor is not None and not 0 < amount_minor <= gross:
        raise NotPossibleError("act_about", case=case.id, about=gross, asked=amount_minor)
    return Move(dispute=act.dispute, amount_minor=amount_minor or gross)


def payload(case: Case, act: Act, move: Move, reason: str) -> dict[str, object]:
    """What a maker proposes and a checker sees: JSON values, and all that the act reads."""
    return {
        "case": case.id,
        "class": case.facts.found.break_class,
        "act": act.name,
        "currency": case.facts.found.currency,
        "merchant": case.facts.found.merchant,
        "acquirer": case.facts.found.acquirer,
        "stands": stands(case),
        "moves": msgspec.to_builtins(move),
        "reason": reason,
    }


def move_of(content: Mapping[str, object]) -> tuple[Act, Move]:
    """The act and its move out of an approved payload."""
    return ACTS[str(content["act"])], msgspec.convert(content["moves"], Move)


# -- entries --------------------------------------------------------------------------------------

SUSPENSE: Final = {True: "long_suspense", False: "short_suspense"}


def entries_of(
    case: Case, move: Move, business_date: date, adjusted_by: tuple[Entry, ...] = ()
) -> list[Entry]:
    """The entries of an act, linked to the case by (source, key); at most one of suspense, one of
    hold. `adjusted_by` are those that adjusted the case before, which `take_back` opposes."""
    key = f"{case.id}/{case.next_sequence:03d}"
    made: list[Entry] = []
    if move.opposes:
        made += [
            opposite(one, business_date, f"{key}-{number}")
            for number, one in enumerate(adjusted_by, 1)
        ]
    elif move.rule:
        made.append(_entry(case, move.rule, "case", key, move.variables, business_date))
    if move.released_minor:
        made.append(unhold(case, move.released_minor, business_date))
    assert suspense_moved(case, made) == move.difference_minor, (
        f"{key}: suspense moves by {suspense_moved(case, made)}, not {move.difference_minor}"
    )
    return made


def unhold(case: Case, released_minor: int, business_date: date) -> Entry:
    """The merchant's money of the case waits no longer."""
    key = f"{case.id}/{case.next_sequence:03d}"
    return _entry(case, "payout_hold", "case_unhold", key, {"held": -released_minor}, business_date)


def _entry(
    case: Case, rule: str, source: str, key: str, variables: dict[str, int], business_date: date
) -> Entry:
    found = case.facts.found
    made = entry(
        rule,
        source,
        key,
        variables,
        business_date=business_date,
        step="case",
        currency=found.currency,
        acquirer=found.acquirer,
        settlement_date=found.settlement_date or found.business_date,
        merchant=found.merchant,
    )
    assert made is not None, f"{source} {key} moves nothing"
    return made


def opposite(made: Entry, business_date: date, key: str) -> Entry:
    """The linked opposite of an entry, on another date, by the same rule and version."""
    return msgspec.structs.replace(
        made,
        business_date=business_date,
        step="case",
        source="case",
        key=key,
        amounts=tuple(-amount for amount in made.amounts),
    )


def suspense_moved(case: Case, entries: list[Entry]) -> int:
    """By how much the entries move the case's suspense account; plus is a debit."""
    return sum(
        amount
        for made in entries
        for account, amount in zip(made.accounts, made.amounts, strict=True)
        if account == SUSPENSE[case.long]
    )
