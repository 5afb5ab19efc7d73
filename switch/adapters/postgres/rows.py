"""Journal rows as the tuples that `switch.store` takes, and as records come back.

The order of the elements is that of the composite types in `schema/0002_store.sql`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from switch.journal import (
    AttemptRow,
    Commit,
    Key,
    OutcomeRow,
    OutcomeState,
    RequestRow,
    ReversalRow,
)
from switch.transactions import TOMBSTONE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STORE = "SELECT * FROM switch.store($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"

_NO_ATTEMPT = (None, None, None, None, None, None, None)


class Group:
    """The arguments of one call of `switch.store`."""

    __slots__ = ("args",)

    def __init__(self) -> None:
        self.args: tuple[list[tuple[Any, ...]], ...] = ([], [], [], [], [], [], [], [], [], [])

    def add(self, n: int, commit: Commit, commit_id: int) -> None:
        """Lay out the rows of the `n`-th commit."""
        (
            requests,
            outcomes,
            attempts,
            reversals,
            queued,
            late_answers,
            reversal_requests,
            cases,
            ends,
            _,
        ) = self.args
        request = commit.request
        attempt = commit.attempt
        outcome = commit.outcome
        if request is not None:
            requests.append(_request(n, request, attempt))
        elif attempt is not None:
            attempts.append(
                (
                    n,
                    attempt.request_id,
                    attempt.request_date,
                    attempt.attempt,
                    attempt.acquirer,
                    attempt.link_stan,
                    attempt.transmission_time,
                    attempt.de32,
                    attempt.de33,
                    attempt.route_rule,
                )
            )
        if outcome is not None:
            outcomes.append(
                (
                    n,
                    commit_id,
                    outcome.request_id,
                    outcome.request_date,
                    outcome.state,
                    outcome.response_code,
                    outcome.decided_at,
                    outcome.rule,
                    outcome.attempt,
                    outcome.approved_amount_minor,
                    outcome.effect_minor,
                    outcome.auth_code,
                    outcome.settlement_date,
                    outcome.acquirer_rrn,
                    outcome.acquirer_response_code,
                    outcome.answer,
                    outcome.on_current_date,
                )
            )
        row: Any = commit.reversal
        if row is not None:
            reversals.append(
                (
                    n,
                    commit_id,
                    outcome is not None,
                    row.original_request_id,
                    row.original_date,
                    row.seq,
                    row.origin,
                    row.reason,
                    row.queued_at,
                    row.capture,
                )
            )
        row = commit.queue
        if row is not None:
            queued.append(
                (
                    n,
                    row.item_id,
                    row.acquirer,
                    row.kind,
                    row.request_id,
                    row.request_date,
                    row.root_request_id,
                    row.seq,
                    row.link_stan,
                    row.transmission_time,
                    row.delay_s,
                )
            )
        row = commit.late_answer
        if row is not None:
            late_answers.append(
                (
                    n,
                    commit_id,
                    row.request_id,
                    row.request_date,
                    row.attempt,
                    row.response_code,
                    row.auth_code,
                    row.amount_minor,
                    row.reason,
                    row.received_at,
                    row.release_queue,
                )
            )
        row = commit.reversal_request
        if row is not None:
            reversal_requests.append(
                (
                    n,
                    commit_id,
                    *_key(row.key),
                    row.original_request_id,
                    row.reason,
                    row.response_code,
                    row.rule,
                    row.received_at,
                )
            )
        row = commit.case
        if row is not None:
            cases.append(
                (
                    n,
                    commit_id,
                    row.kind,
                    row.request_id,
                    row.merchant,
                    row.terminal,
                    row.detail,
                    row.opened_at,
                )
            )
        end = commit.end
        if end is not None:  # it stands only if it is the one that ends this queue item
            ends.append((n, commit_id, end.item_id, end.response_code))

    def sent(self, n: int, item_id: int, attempt: int) -> None:
        self.args[9].append((n, item_id, attempt))


def _key(key: Key) -> tuple[str, str, int, int, str]:
    return (key.merchant, key.terminal, key.batch, key.stan, key.kind)


def _request(n: int, row: RequestRow, attempt: AttemptRow | None) -> tuple[Any, ...]:
    key = row.key
    return (
        n,
        not row.any_batch and row.type != TOMBSTONE,
        row.request_id,
        row.owner_id,
        row.generation,
        key.merchant,
        key.terminal,
        key.batch,
        key.stan,
        key.kind,
        row.content,
        row.type,
        row.mti,
        row.processing_code,
        row.amount_minor,
        row.currency,
        row.rrn,
        row.received_at,
        row.local_time,
        row.entry_mode,
        row.condition_code,
        row.card_sequence,
        row.mcc,
        row.pan_token,
        row.pan_masked,
        row.pan_cipher,
        row.chip,
        row.original_request_id,
        row.session_id,
        row.decision,
        row.foreign,
        *(
            _NO_ATTEMPT
            if attempt is None
            else (
                attempt.attempt,
                attempt.acquirer,
                attempt.link_stan,
                attempt.transmission_time,
                attempt.de32,
                attempt.de33,
                attempt.route_rule,
            )
        ),
    )


# -- back -----------------------------------------------------------------------------------------


def request_of(record: Mapping[str, Any]) -> RequestRow:
    """The request in a record of all columns of switch.request."""
    return RequestRow(
        request_id=record["request_id"],
        owner_id=record["owner_id"],
        generation=record["generation"],
        key=Key(
            merchant=record["merchant"],
            terminal=record["terminal"],
            batch=record["batch"],
            stan=record["stan"],
            kind=record["kind"],
        ),
        content=record["content"],
        type=record["type"],
        mti=record["mti"],
        processing_code=record["processing_code"],
        amount_minor=record["amount_minor"],
        currency=record["currency"],
        rrn=record["rrn"],
        received_at=record["received_at"],
        local_time=record["local_time"],
        entry_mode=record["entry_mode"],
        condition_code=record["condition_code"],
        card_sequence=record["card_sequence"],
        mcc=record["mcc"],
        pan_token=record["pan_token"],
        pan_masked=record["pan_masked"],
        pan_cipher=record["pan_cipher"],
        chip=record["chip"],
        original_request_id=record["original_request_id"],
        session_id=record["session_id"],
        decision=record["decision"],
        foreign=record["foreign_card"],
        any_batch=record["any_batch"],
    )


def attempt_of(record: Mapping[str, Any]) -> AttemptRow:
    return AttemptRow(
        request_id=record["request_id"],
        attempt=record["attempt"],
        acquirer=record["acquirer"],
        link_stan=record["link_stan"],
        transmission_time=record["transmission_time"],
        de32=record["de32"],
        de33=record["de33"],
        route_rule=record["route_rule"],
        request_date=record["request_date"],
    )


def outcome_of(record: Mapping[str, Any]) -> OutcomeRow:
    return OutcomeRow(
        request_id=record["request_id"],
        state=OutcomeState(record["state"]),
        response_code=record["response_code"],
        decided_at=record["decided_at"],
        rule=record["rule"],
        request_date=record["request_date"],
        attempt=record["attempt"],
        approved_amount_minor=record["approved_amount_minor"],
        effect_minor=record["effect_minor"],
        auth_code=record["auth_code"],
        settlement_date=record["settlement_date"],
        acquirer_rrn=record["acquirer_rrn"],
        acquirer_response_code=record["acquirer_response_code"],
        answer=record["answer"],
        on_current_date=record["on_current_date"],
    )


def reversal_of(record: Mapping[str, Any]) -> ReversalRow:
    return ReversalRow(
        original_request_id=record["original_request_id"],
        original_date=record["original_date"],
        seq=record["seq"],
        origin=record["origin"],
        reason=record["reason"],
        queued_at=record["queued_at"],
        capture=record["capture"],
    )


def attempts_of(request: Mapping[str, Any], later: Sequence[AttemptRow]) -> tuple[AttemptRow, ...]:
    """All attempts of a request: the one in its own record, then the later ones."""
    if request["attempt"] is None:
        return tuple(later)
    return (attempt_of(request), *later)
