"""What people and the clock do with disputes: open, answer, accept, add evidence, let expire."""

from contextlib import suppress
from datetime import date, datetime
from typing import Final

import msgspec

from settlement.casework.acts import unhold
from settlement.casework.approval import TRIES, commit_approved, of_another
from settlement.casework.ports import Casework, ChangedError, DateMovedError, Record, Work
from settlement.casework.states import Case, CaseEvent
from settlement.casework.work import Terms, case, next_event, suspense_of
from settlement.clearing import ClearingRecord
from settlement.disputes.money import Happening, RefusedEventError, Stepped, step
from settlement.disputes.table import (
    STARTED_BY_US,
    TABLE,
    TAKES,
    Dispute,
    DisputeEvent,
    DisputeFacts,
    Event,
    Evidence,
)
from settlement.four_eyes import Actor, Approval, People, Proposal, require
from settlement.ledger import Entry

WORK: Final = "do:dispute.work"  # permission to answer and to add evidence


class UnknownDisputeError(Exception):
    """No dispute has that id."""


async def dispute(casework: Casework, dispute_id: str) -> DisputeFacts:
    facts = await casework.dispute(dispute_id)
    if facts is None:
        raise UnknownDisputeError(dispute_id)
    return facts


async def happen(
    casework: Casework,
    facts: DisputeFacts,
    one: Happening,
    terms: Terms,
    *,
    actor: str,
    act: str = "dispute.work",
) -> Work:
    """The work that an event of a dispute comes to, that of its case included; `actor` is who
    brings it about, for the audit log.

    Raises RefusedEventError.
    """
    about = facts.dispute
    of_case = await case(casework, about.case_id) if about.case_id else None
    stepped = step(
        facts,
        one,
        calendar=terms.calendar,
        deadlines_days=terms.deadlines_days,
        room_minor=about.original_minor - await _taken_elsewhere(casework, facts),
        suspense=await suspense_of(casework, of_case) if of_case else None,
    )
    case_events, entries = _of_case(of_case, facts, stepped, one)
    return Work(
        one.business_date,
        disputes=[] if facts.events else [about],
        dispute_events=[stepped.event],
        case_events=case_events,
        entries=[*stepped.entries, *entries],
        record=_record(facts, stepped.event, actor, act),
    )


def _record(facts: DisputeFacts, event: DisputeEvent, actor: str, act: str) -> Record:
    before: dict[str, object] = {
        "state": facts.state,
        "charged_minor": facts.charged_minor,
        "held_minor": facts.held_minor,
    }
    after = {
        "event": event.event,
        "by": event.by,
        **{name: getattr(event, name) for name in before},
        "amount_minor": event.amount_minor,
        "reason": event.reason,
        "text": event.text,
    }
    return Record(actor, act, facts.dispute.id, before, after)


async def _taken_elsewhere(casework: Casework, facts: DisputeFacts) -> int:
    """What other disputes about the same sale took of it, or are about to."""
    about = facts.dispute
    if not about.record:
        return 0
    others = await casework.disputes_by_rrn(about.acquirer, [about.rrn])
    return sum(
        max(one.taken_minor, one.held_minor)
        for one in others
        if one.dispute.record == about.record and one.dispute.id != about.id
    )


def _of_case(
    of_case: Case | None, facts: DisputeFacts, stepped: Stepped, one: Happening
) -> tuple[list[CaseEvent], list[Entry]]:
    """The case's own event: adjusted by the network's row, or returned without."""
    if of_case is None or stepped.event.state not in ("settled", "closed"):
        return [], []
    if of_case.state != "disputed":  # a close has ended it meanwhile
        return [], []
    adjusted = stepped.event.state == "settled"
    ends = adjusted and stepped.difference_minor == of_case.left_minor
    released = of_case.held_minor if ends else 0
    event = next_event(
        of_case,
        "adjusted" if adjusted else "returned",
        one.at,
        one.business_date,
        operator=one.operator,
        difference_minor=stepped.difference_minor,
        released_minor=released,
        text=one.text,
        act=facts.events[0].event if facts.events else one.event,
        dispute=facts.dispute.id,
    )
    return [event], [unhold(of_case, released, one.business_date)] if released else []


async def _do(
    casework: Casework, dispute_id: str, event: Event, actor: Actor, at: datetime, terms: Terms,
    text: str,
) -> DisputeFacts:  # fmt: skip
    """An event of ours that needs no checker."""
    require(actor, WORK)
    facts = await dispute(casework, dispute_id)
    move = TABLE.get((facts.state, event))
    if move is not None and move.approval:
        raise RefusedEventError("dispute_needs_checker", event=event)
    for _ in range(TRIES):
        day = await casework.earliest_unposted()
        one = Happening(event, "acquirer", at, day, text=text, operator=actor.operator)
        try:
            facts = await dispute(casework, dispute_id)
            await casework.commit(await happen(casework, facts, one, terms, actor=actor.operator))
        except (DateMovedError, ChangedError):
            continue
        return await dispute(casework, dispute_id)
    raise ChangedError(dispute_id)


async def answer(
    casework: Casework, dispute_id: str, text: str, actor: Actor, at: datetime, terms: Terms
) -> DisputeFacts:
    """Answer a query or retrieval; claim again; file for arbitration: by the dispute's state."""
    return await _do(casework, dispute_id, "answer", actor, at, terms, text)


async def refused(
    casework: Casework, dispute_id: str, text: str, actor: Actor, at: datetime, terms: Terms
) -> DisputeFacts:
    """The network or the issuer refused what we sent."""
    return await _do(casework, dispute_id, "refused", actor, at, terms, text)


async def add_evidence(
    casework: Casework,
    dispute_id: str,
    name: str,
    sha256: str,
    size: int,
    actor: Actor,
    at: datetime,
    text: str = "",
) -> DisputeFacts:
    """Note down a document that speaks for us, by its hash. The same again changes nothing."""
    require(actor, WORK)
    item = Evidence(dispute_id, name, sha256, size, actor.operator, at, text)
    said: dict[str, object] = {"evidence": name, "sha256": sha256, "text": text}
    told = Record(actor.operator, "dispute.work", dispute_id, {}, said)
    for _ in range(TRIES + 1):
        facts = await dispute(casework, dispute_id)
        if (name, sha256) in {(one.name, one.sha256) for one in facts.evidence}:
            return facts
        with suppress(ChangedError, DateMovedError):
            day = await casework.earliest_unposted()
            await casework.commit(Work(day, evidence=[item], record=told))
    raise ChangedError(dispute_id)


async def expire(
    casework: Casework, today: date, at: datetime, terms: Terms, actor: Actor
) -> list[tuple[DisputeFacts, DisputeFacts]]:
    """What the clock does: every dispute whose deadline has passed goes on; (before, after)."""
    require(actor, WORK)
    moved: list[tuple[DisputeFacts, DisputeFacts]] = []
    for facts in await casework.disputes():
        if not _overdue(facts, today):
            continue
        after = await _expire(casework, facts.dispute.id, today, at, terms, actor)
        if len(after.events) > len(facts.events):
            moved.append((facts, after))
    return moved


def _overdue(facts: DisputeFacts, today: date) -> bool:
    last = facts.last
    return last is not None and last.deadline is not None and last.deadline < today


async def _expire(
    casework: Casework, dispute_id: str, today: date, at: datetime, terms: Terms, actor: Actor
) -> DisputeFacts:
    for _ in range(TRIES):
        facts = await dispute(casework, dispute_id)
        if not _overdue(facts, today):  # somebody answered meanwhile
            return facts
        one = Happening("expired", "clock", at, await casework.earliest_unposted())
        try:
            await casework.commit(await happen(casework, facts, one, terms, actor=actor.operator))
        except (DateMovedError, ChangedError):
            continue
        return await dispute(casework, dispute_id)
    raise ChangedError(dispute_id)


# -- with a checker -------------------------------------------------------------------------------


async def propose(
    casework: Casework,
    people: People,
    dispute_id: str,
    event: Event,
    maker: Actor,
    *,
    reason: str,
) -> Proposal:
    """Propose `accept` or `absorb`: the loss is the merchant's, or ours."""
    facts = await dispute(casework, dispute_id)
    move = TABLE.get((facts.state, event))
    if move is None or not move.approval:
        raise RefusedEventError("dispute_not_given_up", state=facts.state, event=event)
    content: dict[str, object] = {
        "dispute": dispute_id,
        "event": event,
        "stands": _stands(facts),
        "currency": facts.dispute.currency,
        "merchant": facts.dispute.merchant,
        "charged_minor": facts.charged_minor,
        "reason": reason,
    }
    return await people.propose(move.approval, dispute_id, content, maker)


async def propose_opening(
    casework: Casework,
    people: People,
    record_key: str,
    event: Event,
    amount_minor: int,
    maker: Actor,
    *,
    code: str = "",
    reason: str,
) -> Proposal:
    """Propose to start a dispute about a sale that matched: its money is the merchant's."""
    record = await casework.record(record_key)
    if record is None or not record.captured or record.effect_minor <= 0:
        raise RefusedEventError("dispute_no_sale", record=record_key)
    if event not in STARTED_BY_US:
        raise RefusedEventError("dispute_not_ours", event=event)
    others = await casework.disputes_by_rrn(record.acquirer, [record.rrn])
    number = 1 + sum(1 for one in others if one.dispute.record == record_key)
    content: dict[str, object] = {
        "dispute": f"{record_key}-D{number:03d}",
        "event": event,
        "record": record_key,
        "currency": record.currency,
        "merchant": record.merchant,
        "amount_minor": amount_minor,
        "code": code,
        "reason": reason,
    }
    return await people.propose("dispute.open", str(content["dispute"]), content, maker)


def about_sale(record: ClearingRecord, dispute_id: str, business_date: date) -> Dispute:
    """A dispute about one of our sales."""
    return Dispute(
        id=dispute_id,
        business_date=business_date,
        acquirer=record.acquirer,
        currency=record.currency,
        merchant=record.merchant,
        terminal=record.terminal,
        record=record.key,
        case_id="",
        rrn=record.rrn,
        link_stan=record.link_stan,
        transmission_time=record.transmission_time,
        pan_masked=record.pan_masked,
        original_minor=record.effect_minor,
        settlement_date=record.settlement_date,
    )


def _stands(facts: DisputeFacts) -> dict[str, object]:
    return {"state": facts.state, "sequence": len(facts.events)}


async def still_stands(casework: Casework, proposal: Proposal) -> bool:
    """Whether the dispute is as it was when that was proposed; else the proposal is void."""
    facts = await casework.dispute(proposal.subject)
    if proposal.act == "dispute.open":
        return facts is None
    return facts is not None and proposal.payload["stands"] == _stands(facts)


async def do(casework: Casework, judged: Approval, at: datetime, terms: Terms) -> DisputeFacts:
    """What an approved proposal about a dispute says, in one commit with its approval.

    Raises RefusedError where the dispute has changed; BusyError while a close is under way.
    """

    async def build(each: Approval) -> Work:
        return await _approved(casework, each, at, terms)

    await commit_approved(casework, judged, build)
    return await dispute(casework, judged.proposal.subject)


async def _approved(casework: Casework, judged: Approval, at: datetime, terms: Terms) -> Work:
    proposal, content = judged.proposal, judged.proposal.payload
    event: Event = content["event"]  # type: ignore[assignment] # `step` refuses what is none
    day = await casework.earliest_unposted()
    effect = 0
    if proposal.act == "dispute.open":
        record = await casework.record(str(content["record"]))
        assert record is not None, content["record"]
        amount = content["amount_minor"]
        assert isinstance(amount, int)
        facts = DisputeFacts(about_sale(record, proposal.subject, day))
        if await casework.dispute(proposal.subject) is not None:
            raise ChangedError("opened_already", what=proposal.subject)
        effect = -TAKES[event] * amount
    else:
        facts = await dispute(casework, proposal.subject)
        if content["stands"] != _stands(facts):
            raise ChangedError("changed_since", what=proposal.subject, proposal=proposal.id)
    move = TABLE.get((facts.state, event))
    if content["dispute"] != proposal.subject or move is None or move.approval != proposal.act:
        raise of_another(proposal)
    one = Happening(
        event,
        "acquirer",
        at,
        day,
        effect_minor=effect,
        reason=str(content.get("code", "")),
        text=str(content["reason"]),
        operator=proposal.maker,
        checker=judged.checker,
        proposal=proposal.id,
    )
    work = await happen(casework, facts, one, terms, actor=proposal.maker, act=proposal.act)
    return msgspec.structs.replace(work, approval=judged)
