"""Facts become a story: the steps of a transaction's life, who did each with whom, and when.

A step says what was stored and no more. What happened on the wire comes first, in order of time; two
steps of one instant stand in the order in which they follow from one another. The books come after it,
by business date, for a day's end has no instant of its own for each record.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import msgspec

from switch.explain.books import book_steps
from switch.explain.facts import Facts
from switch.explain.steps import Step, Tone
from switch.routing import read_route_rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from switch.explain.facts import Attempt, Linked, LinkKey, Queued

GIVEN_UP = "--"  # DE 39 of a queued message that was never answered finally
TONES: dict[str, Tone] = {
    "approved": "good",
    "declined": "bad",
    "refused": "bad",
    "unknown": "bad",
    "reversed": "bad",
    "pending": "open",
    "in_flight": "open",
}
# What of a decision's JSON has a place of its own in the text.
KNOWN_DECISION = frozenset(("generation", "merchant", "terminal", "route", "routing", "pin"))
# What no table has, and so no step tells.
NOT_RECORDED = ("vault_calls", "first_send_time", "terminal_answer_time", "terminal_repeats")


class Element(msgspec.Struct, frozen=True):
    """A data element of the request, as the journal keeps it."""

    de: str
    value: str


class Story(msgspec.Struct, frozen=True):
    facts: Facts
    message: tuple[Element, ...]
    steps: tuple[Step, ...]
    books: tuple[Step, ...]


def story_of(facts: Facts) -> Story:
    told = facts.transaction
    steps = sorted(_steps(facts), key=lambda step: step.at or told["received_at"])  # stable
    return Story(facts, tuple(_message(facts)), tuple(steps), tuple(book_steps(facts)))


def _message(facts: Facts) -> Iterator[Element]:
    """Elements 2 masked; 55 by its length only: what is kept of it is for reversal and clearing."""
    told = facts.transaction
    chip = "" if facts.chip_bytes is None else f"[{facts.chip_bytes} bytes]"
    elements = (
        ("MTI", told["mti"]),
        ("2", told["pan_masked"]),
        ("3", told["processing_code"]),
        ("4", f"{told['amount_minor']:012d}"),
        ("11", told["stan"]),
        ("12", told["local_time"][4:]),
        ("13", told["local_time"][:4]),
        ("18", told["mcc"]),
        ("22", told["entry_mode"]),
        ("23", facts.card_sequence),
        ("25", told["condition_code"]),
        ("37", told["rrn"]),
        ("38", told["auth_code"]),
        ("39", told["response_code"]),
        ("41", told["terminal"]),
        ("42", told["merchant"]),
        ("49", told["currency"]),
        ("55", chip),
        ("60.2", told["batch"]),
    )
    return (Element(de, value) for de, value in elements if value)


# -- the wire ------------------------------------------------------------------------------------


def _steps(facts: Facts) -> Iterator[Step]:
    yield from _asked(facts)
    yield from _attempted(facts)
    yield from _decided(facts)
    yield from _undone(facts)
    yield from _followed(facts)
    yield from _batch(facts)
    for case in facts.cases:
        yield Step(
            "case_opened", "switch", "store", case.opened_at, tone="bad",
            values={"case": case.case_id, "kind": case.kind},
        )  # fmt: skip


def _asked(facts: Facts) -> Iterator[Step]:
    told = facts.transaction
    at = told["received_at"]
    names = ("mti", "type", "amount_minor", "currency", "stan", "batch", "entry_mode", "pan_masked")
    yield Step("received", "terminal", "switch", at, values={name: told[name] for name in names})
    if told["session_id"] is not None:
        issued = facts.session.created_at if facts.session is not None else None
        values = {"session_id": told["session_id"], "issued_at": issued}
        yield Step("mac_verified", "switch", "vault", at, values=values)
    decision = told["decision"] if isinstance(told["decision"], dict) else {}
    if decision:
        yield Step(
            "versions", "switch", "switch", at,
            values={
                "business_date": told["business_date"],
                **{name: decision.get(name) for name in ("generation", "merchant", "terminal")},
            },
        )  # fmt: skip
    for name in sorted(decision.keys() - KNOWN_DECISION):
        values = {"name": name, "value": decision[name]}
        yield Step("decision", "switch", "switch", at, values=values)
    if facts.originals:
        yield Step("original", "switch", "store", at, values=linked_values(facts.originals[0]))
    if told["state"] == "refused":
        yield from _candidates(facts, decision.get("routing"), at)
        values = {"rule": told["rule"], "response_code": told["response_code"]}
        yield Step("check_failed", "switch", "switch", at, tone="bad", values=values)
    elif facts.attempts:
        yield Step("checks_passed", "switch", "switch", at, tone="good")
        yield from _candidates(facts, decision.get("routing"), at)
        first = facts.attempts[0]
        yield Step("routed", "switch", "switch", at, values={
            "route": decision.get("route", ""),
            "acquirer": first.acquirer,
            "route_rule": first.route_rule,
            "rule": read_route_rule(first.route_rule).rule,
        })  # fmt: skip
    yield Step("recorded", "switch", "store", at, values={"request_id": told["request_id"]})


def _candidates(facts: Facts, routing: Any, at: dt.datetime) -> Iterator[Step]:
    """The links that might have been tried, in order: taken, passed over and why, or not needed."""
    if not isinstance(routing, dict):
        return  # a route of one link, which `routed` names
    first = facts.attempts[0] if facts.attempts else None
    passed = dict(routing.get("passed", {}))
    if first is not None:
        passed |= read_route_rule(first.route_rule).passed
    for place, each in enumerate(routing["candidates"], 1):
        name = each["acquirer"]
        taken = first is not None and name == first.acquirer
        state = "taken" if taken else "passed_over" if name in passed else "spare"
        values = {
            "place": place,
            "acquirer": name,
            "state": state,
            "reason": passed.get(name, ""),
            "cost_minor": each.get("cost_minor"),
            "by": each.get("by", ""),
            "weight": each.get("weight"),
            "currency": facts.transaction["currency"],
        }
        tone: Tone = "bad" if state == "passed_over" else ""
        yield Step("candidate", "switch", "switch", at, tone=tone, values=values)


def _attempted(facts: Facts) -> Iterator[Step]:
    for number, attempt in enumerate(facts.attempts):
        if number:
            at = attempt.recorded_at
            former = facts.attempts[number - 1]
            routed = read_route_rule(attempt.route_rule)
            why = dict(routed.passed)
            values: dict[str, Any] = {
                "attempt": former.attempt,
                "acquirer": former.acquirer,
                "reason": why.pop(former.acquirer, ""),
            }
            yield Step("not_sent", "bank", "switch", at, tone="bad", values=values)
            for name, reason in why.items():
                values = {"acquirer": name, "reason": reason}
                yield Step("passed_over", "switch", "switch", at, tone="bad", values=values)
            values = {
                "acquirer": attempt.acquirer,
                "route_rule": attempt.route_rule,
                "rule": routed.rule,
            }
            yield Step("rerouted", "switch", "store", at, values=values)
        yield from _vault_before(facts, attempt)
        yield _attempt(attempt)


def _vault_before(facts: Facts, attempt: Attempt) -> Iterator[Step]:
    """What the vault does before a message leaves: the PIN under the link's key, then the MAC."""
    decision = facts.transaction["decision"]
    with_pin = isinstance(decision, dict) and decision.get("pin")
    events = {"ZPK": "pin_translated" if with_pin else "", "ZAK": "link_signed"}
    for key in sorted(facts.link_keys, key=lambda key: key.usage, reverse=True):
        if key.attempt == attempt.attempt and events[key.usage]:
            values = _of_key(key, attempt.acquirer)
            yield Step(events[key.usage], "switch", "vault", attempt.recorded_at, values=values)


def _of_key(key: LinkKey, acquirer: str) -> dict[str, Any]:
    return {"acquirer": acquirer, "version": key.version, "check_value": key.check_value}


def _attempt(attempt: Attempt) -> Step:
    names = ("attempt", "acquirer", "link_stan", "transmission_time", "de32", "de33")
    values = {name: getattr(attempt, name) for name in names}
    return Step("attempt", "switch", "bank", attempt.recorded_at, values=values)


def _decided(facts: Facts) -> Iterator[Step]:
    told = facts.transaction
    at = told["decided_at"]
    if told["response_code"] is None:
        return
    state = decided_state(told)
    if told["acquirer_response_code"]:
        values = {
            "acquirer": told["acquirer"],
            "response_code": told["acquirer_response_code"],
            "auth_code": told["auth_code"],
            "acquirer_rrn": told["acquirer_rrn"],
        }
        yield Step("answered", "bank", "switch", at, tone=TONES[state], values=values)
        last = facts.attempts[-1].attempt if facts.attempts else None
        for key in facts.link_keys:
            if key.attempt == last and key.usage == "ZAK":
                yield Step("answer_verified", "switch", "vault", at,
                           values=_of_key(key, told["acquirer"]))  # fmt: skip
    elif facts.attempts and state == "unknown":
        values = {"acquirer": facts.attempts[-1].acquirer, "rule": told["rule"]}
        yield Step("no_answer", "bank", "switch", at, tone="bad", values=values)
    yield Step(
        "outcome", "switch", "store", at, tone=TONES[state],
        values={
            "state": state,
            "rule": told["rule"],
            "response_code": told["response_code"],
            "approved_amount_minor": told["approved_amount_minor"],
            "currency": told["currency"],
        },
    )  # fmt: skip
    if told["effect_minor"] is not None:
        values = {"effect_minor": told["effect_minor"], "currency": told["currency"]}
        yield Step("captured", "switch", "store", at, tone="good", values=values)
    values = {"response_code": told["response_code"], "auth_code": told["auth_code"]}
    yield Step("told", "switch", "terminal", at, tone=TONES[state], values=values)


def decided_state(told: dict[str, Any]) -> str:
    """The outcome itself: what was approved and then reversed was approved."""
    approved = told["state"] == "reversed" and told["approved_amount_minor"] is not None
    return "approved" if approved else str(told["state"])


def _undone(facts: Facts) -> Iterator[Step]:
    # what a reversal followed from stands before it, where both are of one commit
    for late in facts.late_answers:
        values = msgspec.structs.asdict(late)
        values["currency"] = facts.transaction["currency"]
        del values["received_at"]
        yield Step("late_answer", "bank", "switch", late.received_at, tone="open", values=values)
    for stray in facts.unmatched:
        values = msgspec.structs.asdict(stray)
        del values["received_at"]
        yield Step(
            "unmatched_answer", "bank", "switch", stray.received_at, tone="open", values=values
        )
    for asked in facts.reversal_requests:
        values = {
            "reason": asked.reason,
            "response_code": asked.response_code,
            "rule": asked.rule,
        }
        yield Step("reversal_request", "terminal", "switch", asked.received_at, values=values)
    for each in facts.transaction["reversals"]:
        at = dt.datetime.fromisoformat(each["queued_at"])
        event = "reversal_not_needed" if each["state"] == "not_needed" else "reversal_queued"
        values = {name: each[name] for name in ("seq", "origin", "reason")}
        yield Step(event, "switch", "store", at, tone="bad", values=values)
        if each["capture"]:
            values = {"seq": each["seq"]}
            yield Step(f"capture_{each['capture']}", "switch", "store", at, values=values)
    for item in facts.queue:
        yield from _queued(item)


def _queued(item: Queued) -> Iterator[Step]:
    names = ("acquirer", "link_stan", "transmission_time")
    values = {name: getattr(item, name) for name in names}
    if item.kind == "repeat":
        yield Step("repeat_queued", "switch", "store", item.created_at, tone="open", values=values)
    first, again = ("0420", "0421") if item.kind == "reversal" else ("0221", "0221")
    for number, at in enumerate(item.sends, 1):
        sent = {**values, "mti": first if number == 1 else again, "try": number}
        yield Step("sent_again", "switch", "bank", at, values=sent)
    if item.ended_at is not None:
        code = item.response_code
        end = {"acquirer": item.acquirer, "kind": item.kind, "response_code": code}
        if code == GIVEN_UP:
            yield Step("given_up", "switch", "store", item.ended_at, tone="bad", values=end)
        else:
            yield Step("delivered", "bank", "switch", item.ended_at, tone="good", values=end)
    else:
        waits = {"acquirer": item.acquirer, "kind": item.kind}
        last = item.sends[-1] if item.sends else item.created_at
        yield Step("waiting", "store", "store", last, tone="open", values=waits)


def _followed(facts: Facts) -> Iterator[Step]:
    for each in facts.follow_ups:
        values = linked_values(each)
        tone = TONES[each.state]
        yield Step("follow_up", "terminal", "switch", each.received_at, tone=tone, values=values)


def linked_values(of: Linked) -> dict[str, Any]:
    return {
        "request_id": of.request_id,
        "rrn": of.rrn,
        "type": of.type,
        "state": of.state,
        "amount_minor": of.amount_minor,
        "currency": of.currency,
    }


def _batch(facts: Facts) -> Iterator[Step]:
    batch, number = facts.batch, facts.transaction["batch"]
    if batch.frozen_at is not None:
        values = {"batch": number}
        yield Step("batch_frozen", "terminal", "switch", batch.frozen_at, values=values)
    if batch.settled_at is not None:
        values = {"batch": number, "result": batch.result}
        yield Step("batch_settled", "switch", "terminal", batch.settled_at, values=values)
    if batch.uploaded_at is not None:
        values = {"batch": number}
        yield Step("uploaded", "terminal", "switch", batch.uploaded_at, values=values)
    if batch.closed_at is not None:
        values = {"batch": number, "rule": batch.rule}
        yield Step("batch_closed", "switch", "store", batch.closed_at, values=values)
