"""What people do with cases: look, assign, note, propose, approve. The shell over `states` and `acts`.

A maker proposes, a different checker approves, and the approval is stored in the commit of what it
lets through: entries and event. Whoever catches a RefusedError writes it down.
"""

from datetime import date, datetime
from typing import Final

import msgspec

from settlement.cases import CASES
from settlement.casework.acts import (
    ACTS,
    Act,
    Move,
    NotPossibleError,
    acts_of,
    borne,
    entries_of,
    move_of,
    payload,
    plan,
    stands,
)
from settlement.casework.approval import TRIES, commit_approved, of_another
from settlement.casework.ports import Casework, ChangedError, DateMovedError, Record, Wanted, Work
from settlement.casework.states import Case, CaseEvent, Kind, after, case_of
from settlement.disputes.deadlines import Calendar
from settlement.disputes.money import Happening, Suspense, step
from settlement.disputes.table import TAKES, Dispute, DisputeFacts
from settlement.four_eyes import Actor, Approval, People, Proposal, require
from settlement.ledger import Entry

OTHER_SIDE: Final = {  # class -> that of cases which may name one of it
    "receivable_overdue": "statement_unmatched",
    "statement_unmatched": "receivable_overdue",
}
WORK: Final = "do:case.work"  # permission to assign, note, withdraw


class UnknownCaseError(Exception):
    """No case has that id."""


class Terms(msgspec.Struct, frozen=True):
    """What deadlines of disputes rest on."""

    calendar: Calendar
    deadlines_days: dict[str, int]


async def case(casework: Casework, case_id: str) -> Case:
    facts = await casework.case(case_id)
    if facts is None:
        raise UnknownCaseError(case_id)
    return case_of(facts)


async def cases(
    casework: Casework,
    wanted: Wanted,
    *,
    state: str = "",
    owner: str = "",
    age_days: int = 0,
    today: date,
) -> list[Case]:
    """Cases by age, oldest first, then id; of one state, of one owner, at least so old."""
    found = [case_of(facts) for facts in await casework.cases(wanted)]
    return sorted(
        (
            one
            for one in found
            if (wanted.ended or one.state != "ended")
            and state in ("", one.state)
            and owner in ("", one.owner)
            and one.age_days(today) >= age_days
        ),
        key=lambda one: (one.facts.found.business_date, one.id),
    )


async def related(casework: Casework, now: Case) -> list[str]:
    """Cases about what may be the same money: those that this one names, and those that name it."""
    found = now.facts.found
    named = set(found.evidence.get(CASES, "").split())
    if other := OTHER_SIDE.get(found.break_class):
        for facts in await casework.cases(Wanted(case_class=other, ended=True)):
            if now.id in facts.found.evidence.get(CASES, "").split():
                named.add(facts.found.id)
    return sorted(named)


# -- without money ------------------------------------------------------------------------------


async def assign(
    casework: Casework, case_id: str, owner: str, actor: Actor, at: datetime, text: str = ""
) -> Case:
    """Give the case to somebody."""
    return await _note_down(casework, case_id, "assigned", actor, at, owner=owner, text=text)


async def note(casework: Casework, case_id: str, text: str, actor: Actor, at: datetime) -> Case:
    return await _note_down(casework, case_id, "noted", actor, at, text=text)


async def withdraw(casework: Casework, case_id: str, text: str, actor: Actor, at: datetime) -> Case:
    """What is proposed for the case shall not be done, whoever proposed it."""
    return await _note_down(casework, case_id, "withdrawn", actor, at, text=text)


async def _note_down(
    casework: Casework,
    case_id: str,
    kind: Kind,
    actor: Actor,
    at: datetime,
    *,
    owner: str = "",
    text: str = "",
    act: str = "",
    proposal: str = "",
) -> Case:
    if not proposal:  # whoever may propose, may say so
        require(actor, WORK)
    for _ in range(TRIES):
        now = await case(casework, case_id)
        event = next_event(
            now,
            kind,
            at,
            await casework.earliest_unposted(),
            operator=actor.operator,
            owner=owner,
            text=text,
            act=act,
            proposal=proposal,
        )
        told = _record(now, event, "case.work")
        try:
            await casework.commit(Work(event.business_date, case_events=[event], record=told))
        except (ChangedError, DateMovedError):
            continue
        return await case(casework, case_id)
    raise ChangedError(case_id)


def _record(now: Case, event: CaseEvent, act: str) -> Record:
    """What the audit log is told of the event."""
    after_it = {**after(now, event).standing, "event": event.kind, "text": event.text}
    if event.act:
        after_it |= {"act": event.act, "proposal": event.proposal}
    return Record(event.operator, act, event.case_id, now.standing, after_it)


def next_event(
    now: Case,
    kind: Kind,
    at: datetime,
    business_date: date,
    *,
    operator: str,
    difference_minor: int = 0,
    released_minor: int = 0,
    owner: str = "",
    text: str = "",
    act: str = "",
    proposal: str = "",
    checker: str = "",
    dispute: str = "",
    entry: str = "",
) -> CaseEvent:
    """The case's next event, with the state it comes to. Raises NotNowError."""
    event = CaseEvent(
        case_id=now.id,
        sequence=now.next_sequence,
        kind=kind,
        state=now.state,
        operator=operator,
        at=at,
        business_date=business_date,
        text=text,
        owner=owner,
        act=act,
        proposal=proposal,
        checker=checker,
        dispute=dispute,
        difference_minor=difference_minor,
        released_minor=released_minor,
        resolved=now.resolved,
        entry=entry,
    )
    return msgspec.structs.replace(event, state=after(now, event).state)


# -- maker ----------------------------------------------------------------------------------------


async def propose(
    casework: Casework,
    people: People,
    case_id: str,
    act_name: str,
    maker: Actor,
    at: datetime,
    *,
    amount_minor: int | None = None,
    reason: str = "",
    entry: str = "",
) -> Proposal:
    """Propose an act; `amount_minor` is a part of what is left, None the whole; `entry` is the
    source/key of the one that `link` names.

    Raises NotPossibleError, RefusedError.
    """
    now = await case(casework, case_id)
    act = ACTS.get(act_name)
    if act is None:
        raise NotPossibleError(
            "act_not_known", act=act_name, case=case_id, takes=", ".join(acts_of(now)) or "-"
        )
    record, row = await casework.sides(now.facts.found)
    owed = await casework.owed(now.facts.found) if act.owed else None
    move = plan(
        now,
        act_name,
        amount_minor,
        row=row,
        record=record,
        tariffs=await casework.tariffs(),
        linked=await entry_named(casework, entry) if entry else None,
        owed_minor=owed.amount_minor if owed else 0,
    )
    content = payload(now, act, move, reason)
    made = await people.propose(act.permission, case_id, content, maker)
    await _note_down(
        casework, case_id, "proposed", maker, at, text=reason, act=act_name, proposal=made.id
    )
    return made


async def entry_named(casework: Casework, name: str) -> Entry:
    source, _, key = name.partition("/")
    found = await casework.entry(source, key)
    if found is None:
        raise NotPossibleError("act_entry_unknown", entry=name)
    return found


async def still_stands(casework: Casework, proposal: Proposal) -> bool:
    """Whether the case is as it was when that was proposed for it; else the proposal is void."""
    facts = await casework.case(proposal.subject)
    if facts is None or not _stands(case_of(facts), proposal):
        return False
    act, move = move_of(proposal.payload)
    return not act.owed or (await casework.owed(facts.found)).amount_minor == move.owed_minor


def _stands(now: Case, proposal: Proposal) -> bool:
    act, _ = move_of(proposal.payload)
    return act.name in acts_of(now) and proposal.payload["stands"] == stands(now)


# -- checker --------------------------------------------------------------------------------------


async def do(casework: Casework, judged: Approval, at: datetime, terms: Terms) -> Case:
    """What an approved proposal says, in one commit with its approval.

    Raises RefusedError where the case has changed; BusyError while a close is under way.
    """

    async def build(each: Approval) -> Work:
        return await _work(casework, each, at, terms)

    await commit_approved(casework, judged, build)
    return await case(casework, judged.proposal.subject)


async def _work(casework: Casework, judged: Approval, at: datetime, terms: Terms) -> Work:
    proposal = judged.proposal
    now = await case(casework, proposal.subject)
    act, move = move_of(proposal.payload)
    sound = proposal.payload["case"] == now.id and act.permission == proposal.act
    if not sound or move.rule not in ("", act.long, act.short, act.owed):
        raise of_another(proposal)
    if not _stands(now, proposal):
        raise ChangedError("changed_since", what=now.id, proposal=proposal.id)
    day = await casework.earliest_unposted()
    if act.dispute:
        return await _send(casework, now, act, move, judged, day, at, terms)
    owed = await casework.owed(now.facts.found) if act.owed else None
    if owed is not None and owed.amount_minor != move.owed_minor:
        raise ChangedError("changed_since", what=now.id, proposal=proposal.id)
    adjusted_by = tuple(await casework.linked_entries(now.id)) if move.opposes else ()
    event = next_event(
        now,
        _kind(act, move),
        at,
        day,
        operator=proposal.maker,
        difference_minor=move.difference_minor,
        released_minor=move.released_minor,
        text=str(proposal.payload["reason"]),
        act=act.name,
        proposal=proposal.id,
        checker=judged.checker,
        entry="{source}/{key}".format(**move.linked) if move.linked else "",
    )
    entries = entries_of(now, move, day, adjusted_by)
    told = _record(now, event, act.permission)
    return Work(
        day,
        case_events=[event],
        entries=entries,
        record=told,
        rests_on=owed.generation if owed else None,
        approval=judged,
    )


def _kind(act: Act, move: Move) -> Kind:
    if act.name == "release":
        return "released"
    if act.owed and move.variables["amount"] != move.owed_minor:
        return "reduced"  # the rest is still owed
    return "adjusted"


async def _send(
    casework: Casework,
    now: Case,
    act: Act,
    move: Move,
    judged: Approval,
    day: date,
    at: datetime,
    terms: Terms,
) -> Work:
    """Open the dispute whose row will move the case's money."""
    proposal, about = judged.proposal, _dispute_about(now, move.amount_minor, day)
    assert act.dispute is not None
    happening = Happening(
        event=act.dispute,
        by="acquirer",
        at=at,
        business_date=day,
        effect_minor=-TAKES[act.dispute] * move.amount_minor,
        text=str(proposal.payload["reason"]),
        operator=proposal.maker,
        checker=judged.checker,
        proposal=proposal.id,
    )
    stepped = step(
        DisputeFacts(about),
        happening,
        calendar=terms.calendar,
        deadlines_days=terms.deadlines_days,
        room_minor=0,
        suspense=await suspense_of(casework, now),
    )
    event = next_event(
        now,
        "disputed",
        at,
        day,
        operator=proposal.maker,
        text=str(proposal.payload["reason"]),
        act=act.name,
        proposal=proposal.id,
        checker=judged.checker,
        dispute=about.id,
    )
    return Work(
        day,
        case_events=[event],
        disputes=[about],
        dispute_events=[stepped.event],
        entries=stepped.entries,
        record=_record(now, event, act.permission),
        approval=judged,
    )


def _dispute_about(now: Case, amount_minor: int, day: date) -> Dispute:
    found = now.facts.found
    return Dispute(
        id=f"{now.id}-D{now.next_sequence:03d}",
        business_date=day,
        acquirer=found.acquirer,
        currency=found.currency,
        merchant=found.merchant,
        terminal=found.keys.get("terminal", ""),
        record=found.record,
        case_id=now.id,
        rrn=found.keys.get("rrn", ""),
        link_stan=found.keys.get("link_stan", ""),
        transmission_time=found.keys.get("transmission_time", ""),
        pan_masked=found.keys.get("pan_masked", ""),
        original_minor=amount_minor,
        settlement_date=found.settlement_date,
    )


async def suspense_of(casework: Casework, now: Case) -> Suspense:
    """What a dispute of the case may draw on."""
    _, row = await casework.sides(now.facts.found)
    issuer, network = (0, 0) if now.count("adjusted") else borne(now, row)
    return Suspense(now.long, now.left_minor, issuer, network)
