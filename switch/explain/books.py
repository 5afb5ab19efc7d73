"""The part of a story that the day's end wrote: clearing, match, fees, postings, payout, cases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iso8583.message import mask_text
from settlement.casework.states import case_of
from settlement.reports.figures import money
from switch.explain.steps import Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from settlement.casework.states import CaseFacts
    from settlement.clearing import ClearingRecord
    from settlement.disputes.table import DisputeFacts
    from settlement.ledger import Entry
    from settlement.story import Books
    from switch.explain.facts import Facts
    from switch.explain.steps import Tone


def step(event: str, **more: Any) -> Step:
    return Step(event, "store", "store", **more)


def book_steps(facts: Facts) -> Iterator[Step]:
    for capture in facts.captures:
        yield step(
            "capture_stands",
            on=capture.business_date,
            values={
                "capture_id": capture.capture_id,
                "effect_minor": capture.effect_minor,
                "currency": capture.currency,
            },
        )
    books = facts.books
    for record in books.records:
        yield from _record(books, record)
    for entry in books.entries:
        yield _entry(entry)
    yield from _paid(books)
    for case in books.cases:
        yield from _case(case)
    for dispute in books.disputes:
        yield from _dispute(dispute)


def _record(books: Books, record: ClearingRecord) -> Iterator[Step]:
    currency = record.currency
    yield step(
        "record",
        on=record.business_date,
        values={
            "key": record.key,
            "settlement_date": record.settlement_date,
            "amount_minor": record.amount_minor,
            "currency": currency,
            "state": record.state,
        },
    )
    matched = [one for one in books.matches if one.record == record.key]
    for match in matched:
        found = next((row for row in books.rows if row.id == match.row), None)
        yield step(
            "matched",
            on=match.business_date,
            tone="good",
            values={
                "match_class": match.match_class,
                "rule": match.rule,
                "version": match.rule_version,
                "row": match.row or "",
                "theirs_minor": None if found is None else found.amount_minor,
                "currency": currency,
            },
        )
    members = [one for one in books.members if one.side == "ours" and one.member == record.key]
    for member in members:
        values = {
            "match_id": member.match_id,
            "rule": member.rule,
            "version": member.rule_version,
        }
        yield step("match_member", on=member.business_date, values=values)
    if not (matched or members) and record.captured:
        yield step("not_matched", on=record.business_date, tone="open", values={"key": record.key})
    for fee in books.fees:
        if fee.key == record.key:
            yield step(
                "fee",
                on=fee.business_date,
                values={
                    "discount_minor": fee.discount_minor,
                    "currency": currency,
                    "plan": fee.plan,
                    "version": fee.plan_version,
                    "card_type": fee.card_type,
                },
            )
    for cost in books.costs:
        if cost.key == record.key:
            yield step(
                "cost",
                on=cost.business_date,
                values={
                    "issuer_minor": cost.issuer_minor,
                    "network_minor": cost.network_minor,
                    "currency": currency,
                    "plan": cost.plan,
                    "version": cost.plan_version,
                },
            )
    for share in books.shares:
        if share.key == record.key:
            for agent, version, amount in zip(
                share.agents, share.versions, share.shares_minor, strict=True
            ):
                values = {"agent": agent, "version": version, "share_minor": amount}
                values["currency"] = currency
                yield step("share", on=share.business_date, values=values)


def _entry(entry: Entry) -> Step:
    lines = zip(entry.accounts, entry.owners, entry.amounts, strict=True)
    return step(
        "posted",
        on=entry.business_date,
        values={
            "entry": f"{entry.source}/{entry.key}",
            "rule": entry.rule,
            "version": entry.rule_version,
            "layer": entry.layer,
            "currency": entry.currency,
            "postings": [
                {"account": account, "owner": owner, "amount_minor": amount}
                for account, owner, amount in lines
            ],
        },
    )


def postings_text(postings: list[dict[str, Any]], currency: str) -> str:
    """Debit plus.

    >>> postings_text([{"account": "a", "owner": "o", "amount_minor": -5}], "156")
    'a o -0.05'
    """
    return "; ".join(
        " ".join(
            part
            for part in (one["account"], one["owner"], money(one["amount_minor"], currency))
            if part
        )
        for one in postings
    )


def _paid(books: Books) -> Iterator[Step]:
    for net in books.nets:
        yield step(
            "net",
            on=net.business_date,
            values={
                "merchant": net.merchant,
                "net_minor": net.net_minor,
                "currency": net.currency,
                "count": net.count,
            },
        )
    decided = {one.batch: one for one in books.decisions}
    for order in books.orders:
        decision = decided.get(order.batch)
        state = "proposed" if decision is None else decision.decision
        tone: Tone = "open" if decision is None else ""
        yield step(
            "payout",
            on=None if decision is None else decision.business_date,
            tone=tone,
            values={
                "order": order.end_to_end_id,
                "amount_minor": order.amount_minor,
                "currency": order.currency,
                "through": order.through,
                "batch": order.batch,
                "state": state,
                "replaces": order.replaces,
            },
        )
        for event in books.events:
            if event.end_to_end_id == order.end_to_end_id:
                yield step(
                    "payout_event",
                    on=event.business_date,
                    tone="good" if event.kind in ("confirmed", "received") else "bad",
                    values={
                        "order": event.end_to_end_id,
                        "kind": event.kind,
                        "statement": f"{event.account}/{event.statement}/{event.line}",
                        "reason": event.reason,
                    },
                )


def _case(facts: CaseFacts) -> Iterator[Step]:
    found, case = facts.found, case_of(facts)
    yield step(
        "case",
        on=found.business_date,
        tone="open" if case.state != "ended" else "",
        values={
            "case": found.id,
            "kind": found.break_class,
            "state": case.state,
            "owner": case.owner,
            "difference_minor": found.difference_minor or None,
            "currency": found.currency,
        },
    )
    for event in facts.events:
        values = {
            "case": found.id,
            "kind": event.kind,
            "state": event.state,
            "operator": event.operator,
            "checker": event.checker,
            "text": mask_text(event.text),
        }
        yield step("case_event", at=event.at, on=event.business_date, values=values)
    if facts.resolution is not None:
        values = {"case": found.id, "reason": facts.resolution.reason}
        yield step("case_resolved", on=facts.resolution.business_date, tone="good", values=values)


def _dispute(facts: DisputeFacts) -> Iterator[Step]:
    about = facts.dispute
    yield step(
        "dispute",
        on=about.business_date,
        tone="" if facts.ended else "open",
        values={
            "dispute": about.id,
            "state": facts.state,
            "charged_minor": facts.charged_minor,
            "currency": about.currency,
        },
    )
    for event in facts.events:
        values = {
            "dispute": about.id,
            "event": event.event,
            "state": event.state,
            "by": event.by,
            "reason": event.reason,
            "amount_minor": event.amount_minor,
            "currency": about.currency,
            "deadline": event.deadline,
        }
        yield step("dispute_event", at=event.at, on=event.business_date, values=values)
