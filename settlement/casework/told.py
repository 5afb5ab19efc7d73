"""Cases and disputes as scripts read them: JSON shapes, and the ageing. Fields may be added."""

from collections.abc import Iterable
from datetime import date
from typing import Final

import msgspec

from settlement.casework.acts import acts_of
from settlement.casework.states import Case
from settlement.disputes.table import TABLE, DisputeFacts
from settlement.matches import Member

# days of age, from and to; the last is open
AGES: Final = ((0, 1), (2, 7), (8, 30), (31, 90), (91, None))


def case_object(case: Case, today: date) -> dict[str, object]:
    """One line of `case list --json`."""
    found = case.facts.found
    return {
        "id": case.id,
        "class": found.break_class,
        "state": case.state,
        "owner": case.owner,
        "business_date": found.business_date,
        "age_days": case.age_days(today),
        "acquirer": found.acquirer,
        "merchant": found.merchant,
        "currency": found.currency,
        "amount_minor": found.amount_minor,
        "difference_minor": found.difference_minor,
        "left_minor": case.left_minor,
        "held_minor": case.held_minor,
        "keys": found.keys,
        "evidence": found.evidence,
    }


def whole_case(
    case: Case,
    today: date,
    disputes: Iterable[DisputeFacts],
    match: Iterable[Member] = (),
    related: Iterable[str] = (),
) -> dict[str, object]:
    """`case show --json`: what it is about, its history, what may be done."""
    found, resolution = case.facts.found, case.facts.resolution
    return {
        **case_object(case, today),
        "ours_minor": found.ours_minor,
        "theirs_minor": found.theirs_minor,
        "settlement_date": found.settlement_date,
        "record": found.record,
        "row": found.row,
        "match": [
            {"rule": f"{one.rule}/{one.rule_version}", "side": one.side, "line": one.member}
            for one in match
        ],
        "related": list(related),
        "resolution": None
        if resolution is None
        else {"business_date": resolution.business_date, "reason": resolution.reason},
        "acts": acts_of(case),
        "history": case.facts.events,
        "disputes": [dispute_object(facts, today) for facts in disputes],
    }


def dispute_object(facts: DisputeFacts, today: date) -> dict[str, object]:
    """One line of `dispute list --json`."""
    about, last = facts.dispute, facts.last
    return {
        "id": about.id,
        "state": facts.state,
        "deadline": last.deadline if last is not None else None,
        "days_left": days_left(facts, today),
        "reason": next((one.reason for one in reversed(facts.events) if one.reason), ""),
        "acquirer": about.acquirer,
        "merchant": about.merchant,
        "currency": about.currency,
        "rrn": about.rrn,
        "pan_masked": about.pan_masked,
        "original_minor": about.original_minor,
        "charged_minor": facts.charged_minor,
        "held_minor": facts.held_minor,
        "case": about.case_id,
    }


def days_left(facts: DisputeFacts, today: date) -> int | None:
    """Calendar days until the deadline; a minus where it has passed, None where there is none."""
    last = facts.last
    return None if last is None or last.deadline is None else (last.deadline - today).days


def whole_dispute(facts: DisputeFacts, today: date) -> dict[str, object]:
    """`dispute show --json`."""
    about = msgspec.structs.asdict(facts.dispute)
    return {
        **dispute_object(facts, today),
        **{name: about[name] for name in ("business_date", "record", "terminal", "link_stan")},
        "settlement_date": facts.dispute.settlement_date,
        "events": facts.events,
        "evidence": facts.evidence,
        "ours": sorted(
            event
            for (state, event), move in TABLE.items()
            if state == facts.state and move.by == "acquirer"
        ),
    }


class Ageing(msgspec.Struct, frozen=True):
    """Open cases of one class and currency by age; `counts` in the order of `AGES`."""

    case_class: str
    currency: str
    counts: tuple[int, ...]
    long_minor: int
    short_minor: int  # a minus
    held_minor: int


def ageing(cases: Iterable[Case], today: date) -> list[Ageing]:
    """Open cases by class and currency, in their order, and age."""
    lines: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        if case.state != "ended":
            found = case.facts.found
            lines.setdefault((found.break_class, found.currency), []).append(case)
    return [
        Ageing(
            name,
            currency,
            tuple(
                sum(1 for one in found if age_of(one, today) == each) for each in range(len(AGES))
            ),
            long_minor=sum(max(one.left_minor, 0) for one in found),
            short_minor=sum(min(one.left_minor, 0) for one in found),
            held_minor=sum(one.held_minor for one in found),
        )
        for (name, currency), found in sorted(lines.items())
    ]


def age_of(case: Case, today: date) -> int:
    """The place in `AGES`."""
    days = max(case.age_days(today), 0)
    return next(n for n, (_, last) in enumerate(AGES) if last is None or days <= last)


def age_name(place: int) -> str:
    """How an age is written.

    >>> [age_name(place) for place in range(5)]
    ['0-1', '2-7', '8-30', '31-90', '91+']
    """
    first, last = AGES[place]
    return f"{first}+" if last is None else f"{first}-{last}"
