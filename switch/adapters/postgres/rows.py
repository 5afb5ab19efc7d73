"""Journal rows as the tuples that `switch.flush` takes, and as records come back.

The order of the elements is that of the composite types in `schema/0002_store.sql` and
`0020_flush.sql`; the order of the arguments is that of `0021_lighter_flush.sql`.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from switch.journal import (
    AttemptRow,
    Commit,
    Counted,
    Key,
    OutcomeRow,
    OutcomeState,
    RequestRow,
    ReversalRow,
)
from switch.transactions import TOMBSTONE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from switch.journal import Count, CounterMove, FindCounted

FLUSH = """SELECT switch.flush(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)"""
FLUSH_PLAINLY = "SELECT switch.flush_plainly($1, $2, $3)"

_NO_ATTEMPT = (None, None, None, None, None, None, None)


class Presumed(NamedTuple):
    """What a commit was judged on before anything was counted under a lock."""

    find: FindCounted
    fires: tuple[bool, ...]  # each of `find.guards`


class Group:
    """The arguments of one call of `switch.flush`, laid out commit after commit."""

    def __init__(self) -> None:
        self._requests: list[tuple[Any, ...]] = []
        self._outcomes: list[tuple[Any, ...]] = []
        self._owners: set[int] = set()
        self._besides = False
        self._attempts: list[tuple[Any, ...]] = []
        self._reversals: list[tuple[Any, ...]] = []
        self._queued: list[tuple[Any, ...]] = []
        self._late_answers: list[tuple[Any, ...]] = []
        self._reversal_requests: list[tuple[Any, ...]] = []
        self._cases: list[tuple[Any, ...]] = []
        self._ends: list[tuple[Any, ...]] = []
        self._sents: list[tuple[Any, ...]] = []
        self._gives_back = False
        self._counters: dict[tuple[str, str], list[int]] = {}  # → place from 1, from which bucket
        self._judged: list[tuple[Any, ...]] = []
        self._guards: list[tuple[Any, ...]] = []
        self._moves: list[tuple[Any, ...]] = []
        self._alerts: list[tuple[Any, ...]] = []

    def args(self) -> tuple[Any, ...]:
        """Sorted, as `switch.flush` takes its locks. What is empty is NULL: that costs neither side."""
        self._requests.sort(key=_BY_KEY)
        self._outcomes.sort(key=_BY_REQUEST)
        counters = [(*of, from_bucket) for of, (_, from_bucket) in self._counters.items()]
        seldom = (
            self._attempts or None,
            self._reversals or None,
            self._queued or None,
            self._late_answers or None,
            self._reversal_requests or None,
            self._cases or None,
            self._ends or None,
            self._sents or None,
            self._gives_back or None,
            counters or None,
            self._judged or None,
            self._guards or None,
            self._moves or None,
            self._alerts or None,
        )
        return (
            self._requests or None,
            list(self._owners) or None,
            self._outcomes or None,
            self._besides or any(seldom),
            *seldom,
        )

    def add(self, n: int, commit: Commit, commit_id: int) -> None:
        """Lay out the rows of the `n`-th commit."""
        request, attempt, outcome = commit.request, commit.attempt, commit.outcome
        if request is not None:
            self._requests.append(request_tuple(n, request, attempt))
            self._owners.add(request.owner_id)
            self._besides |= request.original_request_id is not None
        elif attempt is not None:
            self._attempts.append(
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
            self._outcomes.append(
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
            self._besides |= outcome.on_current_date
            self._gives_back |= outcome.state is not OutcomeState.APPROVED
        if commit.reversal is not None or commit.queue is not None:
            self._add_queued(n, commit, commit_id)
        if commit.late_answer is not None or commit.reversal_request is not None:
            self._add_told(n, commit, commit_id)
        case = commit.case
        if case is not None:
            self._cases.append(
                (
                    n,
                    commit_id,
                    case.kind,
                    case.request_id,
                    case.merchant,
                    case.terminal,
                    case.detail,
                    case.opened_at,
                )
            )
        end = commit.end
        if end is not None:  # it stands only if it is the one that ends this queue item
            self._ends.append((n, commit_id, end.item_id, end.response_code))
        if commit.moves:
            self._moves += [(n, *move) for move in map(_move, commit.moves)]
        if commit.alerts:
            self._alerts += [(n, *msgspec.structs.astuple(alert)) for alert in commit.alerts]

    def _add_queued(self, n: int, commit: Commit, commit_id: int) -> None:
        reversal, queue = commit.reversal, commit.queue
        if reversal is not None:
            self._reversals.append(
                (
                    n,
                    commit_id,
                    commit.outcome is not None,
                    reversal.original_request_id,
                    reversal.original_date,
                    reversal.seq,
                    reversal.origin,
                    reversal.reason,
                    reversal.queued_at,
                    reversal.capture,
                )
            )
            self._gives_back = True
        if queue is not None:
            self._queued.append(
                (
                    n,
                    queue.item_id,
                    queue.acquirer,
                    queue.kind,
                    queue.request_id,
                    queue.request_date,
                    queue.root_request_id,
                    queue.seq,
                    queue.link_stan,
                    queue.transmission_time,
                    queue.delay_s,
                )
            )

    def _add_told(self, n: int, commit: Commit, commit_id: int) -> None:
        late, asked = commit.late_answer, commit.reversal_request
        if late is not None:
            self._late_answers.append(
                (
                    n,
                    commit_id,
                    late.request_id,
                    late.request_date,
                    late.attempt,
                    late.response_code,
                    late.auth_code,
                    late.amount_minor,
                    late.reason,
                    late.received_at,
                    late.release_queue,
                )
            )
        if asked is not None:
            self._reversal_requests.append(
                (
                    n,
                    commit_id,
                    *_key(asked.key),
                    asked.original_request_id,
                    asked.reason,
                    asked.response_code,
                    asked.rule,
                    asked.received_at,
                )
            )

    def sent(self, n: int, item_id: int, attempt: int) -> None:
        self._sents.append((n, item_id, attempt))

    def guard(self, n: int, presumed: Presumed, moves: Sequence[CounterMove]) -> None:
        """The `n`-th commit stands only where its rules say what it was judged on."""
        first = len(self._guards) + 1
        moved = {(move.of.counter, move.of.subject): move for move in moves}
        counts = presumed.find.counts
        for each, fires in zip(presumed.find.guards, presumed.fires, strict=True):
            of, part = counts[each.count], None if each.part < 0 else counts[each.part]
            moves_part = part is not None and (part.counter, part.subject) in moved
            move = moved.get((of.counter, of.subject))
            self._guards.append(
                (
                    n,
                    self._place(of),
                    0 if part is None else self._place(part),
                    each.constant,
                    each.per_count,
                    each.per_amount,
                    each.per_part_count,
                    each.per_part_amount,
                    each.per_newest,
                    each.minimum_count,
                    fires,
                    0 if move is None else 3 if moves_part else 1,
                    0 if move is None else move.amount_minor,
                    of.bucket,
                )
            )
        self._judged.append((n, first, len(self._guards)))

    def _place(self, of: Count) -> int:
        """From 1. Where two ask from different buckets on, both get the longer window: a limit errs to
        the safe side, and for this flush only."""
        fresh = [len(self._counters) + 1, of.from_bucket]
        asked = self._counters.setdefault((of.counter, of.subject), fresh)
        asked[1] = min(asked[1], of.from_bucket)
        return asked[0]

    def counted(self, said: Sequence[Any], counts: Sequence[Count]) -> tuple[Counted, ...]:
        """Of what a flush says of all its counters, these."""
        number = len(self._counters)
        places = [self._place(of) - 1 for of in counts]
        return tuple(
            Counted(said[place], said[place + number], said[place + 2 * number]) for place in places
        )


_BY_KEY = itemgetter(5, 6, 7, 8, 9)  # of a request's tuple
_BY_REQUEST = itemgetter(2)


def _move(move: CounterMove) -> tuple[Any, ...]:
    of = move.of
    return (
        move.request_id,
        of.counter,
        of.subject,
        of.bucket,
        move.count,
        move.amount_minor,
        move.returns,
        of.kept_until,
    )


def _key(key: Key) -> tuple[str, str, int, int, str]:
    return (key.merchant, key.terminal, key.batch, key.stan, key.kind)


def request_tuple(n: int, row: RequestRow, attempt: AttemptRow | None) -> tuple[Any, ...]:
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
