"""One commit onto the facts: the tables' constraints, who wins, then the rows, all or none."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import msgspec

from switch.adapters.memory.facts import KeptOutcome, KeptRequest, KeptReversal, OpenItem
from switch.journal import (
    Commit,
    CounterMove,
    Duplicate,
    Lost,
    OutcomeRow,
    OutcomeState,
    OwnerTakenError,
    QueueRow,
    RequestRow,
    ReversalRow,
    RowRefusedError,
    Stale,
    Stored,
    Verdict,
)
from switch.store_ports import RiskAlert
from switch.transactions import TOMBSTONE

if TYPE_CHECKING:
    from switch.adapters.memory.facts import Facts

REVERSAL_SEQ_MAX = 15


def apply(
    facts: Facts,
    commit: Commit,
    commit_id: int,
    sent: tuple[int, int] | None = None,
) -> Verdict:
    """Who wins, in the order of `switch.store`; then the rows, all of them or none."""
    _check(facts, commit)
    end = commit.end
    if end is not None:
        ended = facts.queue_end.get(end.item_id)
        if ended is not None and ended[1] != commit_id:
            return Lost(request_id=end.item_id)
        if ended is None:
            facts.queue_end[end.item_id] = (end.response_code, commit_id)
            facts.queue_open.pop(end.item_id, None)
    verdict = _contest(facts, commit, commit_id)
    if verdict is not None:
        return verdict
    _write(facts, commit, commit_id)
    if sent is not None:
        facts.queue_sent.setdefault(sent[0], {}).setdefault(sent[1], facts.clock.now())
    return Stored(business_date=facts.today)


def _check(facts: Facts, commit: Commit) -> None:
    """The constraints of the tables."""
    request, outcome, reversal = commit.request, commit.outcome, commit.reversal
    if request is not None and request.amount_minor < 0:
        raise RowRefusedError("request.amount_minor")
    if outcome is not None:
        if outcome.effect_minor is not None and outcome.state is not OutcomeState.APPROVED:
            raise RowRefusedError("outcome.effect_minor")
        if (outcome.approved_amount_minor or 0) < 0:
            raise RowRefusedError("outcome.approved_amount_minor")
    if reversal is not None:
        if not 1 <= reversal.seq <= REVERSAL_SEQ_MAX:
            raise RowRefusedError("reversal.seq")
        if reversal.capture not in ("", "cancel", "opposite"):
            raise RowRefusedError("reversal.capture")


def _contest(facts: Facts, commit: Commit, commit_id: int) -> Verdict | None:
    """The verdict of a commit that leaves no row (or has left its rows before)."""
    request, outcome, reversal, queue = (
        commit.request,
        commit.outcome,
        commit.reversal,
        commit.queue,
    )
    if request is not None:
        verdict = _contest_key(facts, request)
        if verdict is not None:
            return verdict
    if outcome is not None:
        stood = facts.outcomes.get(outcome.request_id)
        if stood is not None:
            if stood.commit_id != commit_id:
                return Lost(request_id=outcome.request_id)
            return Stored(
                business_date=stood.business_date if outcome.on_current_date else facts.today
            )
    if reversal is not None:
        for other in facts.reversals.get(reversal.original_request_id, ()):
            if other.row.seq == reversal.seq:
                if outcome is not None:
                    raise RowRefusedError("a reversal stands without an outcome")
                if other.commit_id != commit_id:
                    return Lost(request_id=reversal.original_request_id)
                return Stored(business_date=facts.today)
    if queue is not None:
        if queue.item_id in facts.queue_items:
            return Stored(business_date=facts.today)
        if (queue.request_id, queue.kind, queue.seq) in facts.queue_by_subject:
            return Lost(request_id=queue.request_id)
    return None


def _contest_key(facts: Facts, request: RequestRow) -> Verdict | None:
    found = facts.keys.get(request.key)
    if found is not None:
        if found.request_id == request.request_id:
            return Stored(business_date=found.request_date)
        return found
    owner = facts.owner_rows.get(request.owner_id)
    if owner is not None and owner.taken_by is not None:
        raise OwnerTakenError("another process has taken over this one's requests")
    if request.type == TOMBSTONE:
        return None
    if not request.any_batch:
        batch = facts.find_batch(request.key.merchant, request.key.terminal, request.key.batch)
        if batch is not None and batch.frozen:
            return Stale(generation=facts.generation, batch_frozen=True)
    if request.generation < facts.generation:
        return Stale(generation=facts.generation, batch_frozen=False)
    return None


def _write(facts: Facts, commit: Commit, commit_id: int) -> None:
    request, attempt = commit.request, commit.attempt
    if request is not None:
        _write_request(facts, request)
    if attempt is not None:
        of = facts.requests[attempt.request_id]
        if attempt.attempt not in [each.attempt for each in of.attempts]:
            dated = msgspec.structs.replace(attempt, request_date=of.date)
            of.attempts.append(dated)
            of.attempts.sort(key=lambda each: each.attempt)
    if commit.outcome is not None:
        _write_outcome(facts, commit.outcome, commit_id)
    if commit.reversal is not None:
        _write_reversal(facts, commit.reversal, commit_id)
    if commit.queue is not None:
        _write_queue(facts, commit.queue)
    if commit.late_answer is not None:
        facts.late_answers[commit_id] = commit.late_answer
        if commit.late_answer.release_queue:
            for item in facts.queue_open.values():
                if (item.row.request_id, item.row.kind) == (
                    commit.late_answer.request_id,
                    "reversal",
                ):
                    item.not_before = min(item.not_before, facts.clock.now())
    if commit.reversal_request is not None:
        said = facts.reversal_requests[commit_id] = commit.reversal_request
        told = (said.received_at, commit_id, said.response_code)
        facts.told[said.key] = max(told, facts.told.get(said.key, told))
    if commit.case is not None:
        facts.cases[commit_id, 0] = commit.case
    for move in commit.moves:
        _move(facts, move)
    for alert in commit.alerts:
        number = len(facts.risk_alerts) + 1
        facts.risk_alerts.setdefault(
            (alert.rule, alert.subject, alert.day), RiskAlert(number, alert, facts.today)
        )


def _move(facts: Facts, move: CounterMove) -> None:
    """Once a request and counter; the bucket is derived."""
    of = (move.of.counter, move.of.subject)
    moved = facts.risk_moves.setdefault(move.request_id, {})
    if of not in moved:
        moved[of] = move
        held = facts.risk_buckets.setdefault(of, {}).setdefault(move.of.bucket, [0, 0])
        held[0] += move.count
        held[1] += move.amount_minor


def _give_back(facts: Facts, request_id: int) -> None:
    """It did not end approved, or was reversed: once, as what was moved is forgotten."""
    for of, move in list(facts.risk_moves.get(request_id, {}).items()):
        if move.returns:
            held = facts.risk_buckets[of][move.of.bucket]
            held[0] -= move.count
            held[1] -= move.amount_minor
            del facts.risk_moves[request_id][of]


def _write_request(facts: Facts, row: RequestRow) -> None:
    key = row.key
    facts.keys[key] = Duplicate(
        request_id=row.request_id,
        request_date=facts.today,
        content=row.content,
        tombstone=row.type == TOMBSTONE,
    )
    facts.requests[row.request_id] = KeptRequest(row, facts.today, [])
    facts.by_merchant.setdefault(key.merchant, []).append(row.request_id)
    facts.by_stan.setdefault((key.merchant, key.stan), []).append(row.request_id)
    facts.by_batch.setdefault((key.merchant, key.terminal, key.batch), []).append(row.request_id)
    if row.original_request_id is not None:
        facts.follow_ups.setdefault(row.original_request_id, []).append(row.request_id)
    if row.type != TOMBSTONE:
        facts.undecided[row.request_id] = None


def _write_outcome(facts: Facts, row: OutcomeRow, commit_id: int) -> None:
    request_date = facts.today if row.request_date is None else row.request_date
    dated = msgspec.structs.replace(row, request_date=request_date)
    business_date = facts.today if row.on_current_date else request_date
    facts.outcomes[row.request_id] = KeptOutcome(dated, commit_id, business_date)
    facts.undecided.pop(row.request_id, None)
    if row.state not in (OutcomeState.APPROVED, OutcomeState.REFUSED):
        _give_back(facts, row.request_id)


def _write_reversal(facts: Facts, row: ReversalRow, commit_id: int) -> None:
    capture = ""
    outcome = facts.outcomes.get(row.original_request_id)
    earlier = facts.reversals.setdefault(row.original_request_id, [])
    if (
        row.capture
        and outcome is not None
        and outcome.row.effect_minor is not None
        and not any(each.row.capture for each in earlier)
    ):
        if facts.dates[outcome.business_date] in ("open", "cut"):
            capture = "cancel"
        else:
            capture = "opposite"
            facts.opposites.append(
                (row.original_request_id, row.seq, facts.today, -outcome.row.effect_minor)
            )
    original_date = facts.today if row.original_date is None else row.original_date
    stored = msgspec.structs.replace(row, original_date=original_date, capture=capture)
    earlier.append(KeptReversal(stored, commit_id))
    _give_back(facts, row.original_request_id)


def _write_queue(facts: Facts, row: QueueRow) -> None:
    request_date = facts.today if row.request_date is None else row.request_date
    stored = msgspec.structs.replace(row, request_date=request_date)
    facts.queue_items[row.item_id] = stored
    facts.queue_by_subject[row.request_id, row.kind, row.seq] = row.item_id
    facts.position += 1
    now = facts.clock.now()
    facts.queue_open[row.item_id] = OpenItem(
        row=stored,
        position=facts.position,
        not_before=now + dt.timedelta(seconds=row.delay_s),
        created_at=now,
    )
