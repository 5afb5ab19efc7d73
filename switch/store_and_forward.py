"""Store and forward: reversals and repeats, delivered to an acquirer until finally answered (rules §8).

Theory of operation. Every process has a `Forwarder` for each link; the one that holds the acquirer's
lease delivers. It takes the lease only while its link is signed on, renews it in time, and sends
nothing that could leave after the lease's end by its own monotonic clock. Two owners for a moment are
harmless all the same: an item's DE 7, 11 and 37 were allotted when it was queued and never change.
An item is noted as sent before its bytes leave, so whoever comes next flags it as a repeat. Items of
one root original go one after the other, others side by side. Nothing is kept here that the store
does not have, but for how long a refused item rests: a new owner tries at once.

What an answer means is decided by the pure functions in the second half of this file.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from switch.acquirers.link_messages import attempt_of, build_repeat, build_reversal, kind_of
from switch.acquirers.ports import Answer, AnswerKind, NoAnswerError, NotSentError
from switch.answers import kept
from switch.journal import (
    CaseRow,
    Commit,
    EndRow,
    FindById,
    Judgement,
    LateAnswerRow,
    Lost,
    OutcomeRow,
    OutcomeState,
    ReversalRow,
)
from switch.reference import Link
from switch.reversal import SWITCH_TIME_OUT, WireIdentity, reverse
from switch.rounds import rounds
from switch.rows import PAN_COLUMN
from switch.transactions import TYPES, OnUnknown
from terminals.registry import Merchant

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from hsm.pans import Pans
    from iso8583.message import Message
    from switch.acquirers.ports import Deliverer
    from switch.journal import AttemptRow, Journal, Original, RequestRow, Scene
    from switch.ports import Clock
    from switch.reference import Snapshot
    from switch.store_ports import Lease, Queue, QueueItem

_log = structlog.get_logger(__name__)

LEASE_MARGIN_NS: Final = 500_000_000  # nothing is sent in the last half second of a lease
RESTING_MAX: Final = 4_096  # refused items that rest; at the bound no more are taken
SEEN_MAX: Final = 16_384
OVERDUE_LOOK_S: Final = 10.0  # between looks at the oldest items while the link is down
STOP_S: Final = 1.0  # what is under way may end this long after the stop
UNDELIVERED: Final = "--"  # in place of DE 39: given up, a case is open


class Forwarder:
    """One process's hand on one acquirer's queue. `owner` gives this process's present owner id."""

    def __init__(
        self,
        link: Link,
        *,
        host: Deliverer,
        queue: Queue,
        journal: Journal,
        pans: Pans,
        clock: Clock,
        owner: Callable[[], int],
        numbers: Callable[[str], WireIdentity | None],
        reference: Callable[[], Snapshot],
        poll_s: float = 0.25,
        take: int = 64,
        send_by_s: float = 2.0,
        lease_renew_s: float = 1.0,
    ) -> None:
        self._link = link
        self._host = host
        self._queue = queue
        self._journal = journal
        self._pans = pans
        self._clock = clock
        self._owner = owner
        self._numbers = numbers
        self._reference = reference
        self._poll_s = poll_s
        self._take = take
        self._send_by_ns = int(send_by_s * 1e9)
        self._lease_renew_s = lease_renew_s
        self._lease: Lease | None = None
        self._lease_owner = 0
        self._lease_at_s = 0.0  # when it is asked for again, held or not
        self._overdue_at_s = 0.0
        self._busy: dict[int, int] = {}  # item → its root original
        self._resting: dict[int, float] = {}  # item → when it may be tried again
        self._seen: dict[int, float] = {}  # item → when this process first saw it
        self._tasks: dict[asyncio.Task[None], None] = {}  # in order: a set has none
        self._nudged = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
        self.delivered = 0
        self.undelivered = 0

    @property
    def holds_lease(self) -> bool:
        return self._lease is not None and self._send_until_ns() > self._clock.monotonic_ns()

    def change(self, link: Link) -> None:
        """Other settings, from the next item on."""
        self._link = link

    def nudge(self) -> None:
        """Something was queued: look now."""
        self._nudged.set()

    async def start(self) -> None:
        acquirer = self._link.acquirer
        looks = rounds(
            self._round, "queue", acquirer, pause_s=lambda: self._poll_s, nudged=self._nudged
        )
        self._runner = asyncio.get_running_loop().create_task(
            looks, name=f"store and forward {acquirer}"
        )

    async def stop(self) -> None:
        """Take nothing more; what is under way may end shortly, else it stays in the queue."""
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.gather(self._runner, return_exceptions=True)
        self._lease = None
        tasks = list(self._tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_S)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _round(self) -> None:
        now_s = asyncio.get_running_loop().time()
        if not self._host.ready:
            self._lease = None  # let it run out: another process may have a link that works
            await self._give_up_overdue(now_s)
            return
        owner = self._owner()
        if now_s >= self._lease_at_s or owner != self._lease_owner:
            self._lease_at_s = now_s + self._lease_renew_s
            self._lease = await self._queue.lease(self._link.acquirer, owner)
            self._lease_owner = owner
        if self.holds_lease:
            await self._take_due(now_s)

    async def _give_up_overdue(self, now_s: float) -> None:
        """A host that is away for so long has a case opened all the same. Without the lease: so only
        what its holder, should there be one, has given up long ago or would have."""
        if now_s < self._overdue_at_s:
            return
        self._overdue_at_s = now_s + OVERDUE_LOOK_S
        link = self._link
        for item in await self._queue.due(link.acquirer, self._take, list(self._busy)):
            if item.age_s >= link.retry_total_s + link.timeout_s + OVERDUE_LOOK_S:
                await self._give_up(item)

    async def _give_up(self, item: QueueItem) -> None:
        case = case_of(item, "undelivered", self._clock.now())
        verdict = await self._queue.finish(item, UNDELIVERED, Commit(case=case))
        if not isinstance(verdict, Lost):
            self.undelivered += 1
            _log.error("queue_item_undelivered", **self._about(item))

    async def _take_due(self, now_s: float) -> None:
        for item_id in [item_id for item_id, until_s in self._resting.items() if until_s <= now_s]:
            del self._resting[item_id]
        at_once = 1 if self._host.spared else self._link.queue_concurrency
        free = min(at_once - len(self._busy), self._take)
        if free <= 0 or len(self._resting) >= RESTING_MAX:
            return
        exclude = [*self._busy, *self._resting]
        for item in await self._queue.due(self._link.acquirer, free, exclude):
            item_id, root = item.row.item_id, item.row.root_request_id
            if item_id in self._busy or root in self._busy.values():
                continue
            self._busy[item_id] = root
            if len(self._seen) >= SEEN_MAX:
                del self._seen[next(iter(self._seen))]
            self._seen.setdefault(item_id, now_s)
            task = asyncio.get_running_loop().create_task(self._deliver(item))
            self._tasks[task] = None
            task.add_done_callback(lambda task: self._tasks.pop(task, None))

    async def _deliver(self, item: QueueItem) -> None:
        item_id = item.row.item_id
        rests = True
        try:
            rests = not await self._try(item)
        except NotSentError as error:
            _log.info("queue_item_not_sent", **self._about(item), reason=error.reason)
        except NoAnswerError as error:
            _log.warning("queue_item_unanswered", **self._about(item), reason=error.reason)
        except Exception as error:  # noqa: BLE001 - whatever went wrong with one item, it is tried again
            _log.error("queue_item_failed", **self._about(item), error=repr(error))
        finally:
            del self._busy[item_id]
            if rests:
                now_s = asyncio.get_running_loop().time()
                self._resting[item_id] = now_s + backoff_s(self._link, item.tries)
            else:
                self._seen.pop(item_id, None)
                self._nudged.set()

    async def _try(self, item: QueueItem) -> bool:
        """One try; whether it was the last."""
        if is_overdue(item, self._link):
            await self._give_up(item)
            return True
        message = await self._message(item)
        await self._queue.sent(item.row.item_id, item.tries + 1)
        # counted anew: the store may have taken its time
        send_by_ns = min(self._send_until_ns(), self._clock.monotonic_ns() + self._send_by_ns)
        seen_s = self._seen[item.row.item_id]
        delivery = await self._host.deliver(message, item.original, seen_s, send_by_ns)
        answer = delivery.answer
        final = judge_delivery(item.row.kind, answer, overtook=delivery.overtook)
        if final is None:
            _log.warning(
                "queue_item_refused", **self._about(item), response_code=answer.response_code
            )
            return False
        await self._finish(item, answer, final)
        return True

    async def _finish(self, item: QueueItem, answer: Answer, final: Ended) -> None:
        now = self._clock.now()
        commit = conclude(item, answer, final, now)
        if item.row.kind == "reversal" and answer.response_code != "00":
            # a late approval that came while this was under way has left the rest to us
            judge = judge_ended_reversal(
                item, answer.response_code, commit, self._numbers, now, self._link
            )
            find = FindById(item.row.request_id, item.row.request_date)
            await self._journal.decide(find, judge)
        else:
            verdict = await self._queue.finish(item, answer.response_code, commit)
            if isinstance(verdict, Lost) and commit is not None:
                # another owner, or a person, decided the request: the item has nothing left to say
                verdict = await self._queue.finish(item, answer.response_code, None)
            if isinstance(verdict, Lost):
                _log.warning("queue_item_ended_elsewhere", **self._about(item))
                return
        self.delivered += 1
        _log.info("queue_item_delivered", **self._about(item), response_code=answer.response_code)

    async def _message(self, item: QueueItem) -> Message:
        request = item.original.request
        pan, expiry = "", None
        if request.pan_cipher is not None:
            pan, expiry = self._pans.reveal(request.pan_cipher, request.request_id, PAN_COLUMN)
        merchant = self._reference().merchants.get(request.key.merchant) or Merchant(
            merchant=request.key.merchant, name=request.key.merchant
        )
        if item.row.kind == "reversal":
            return build_reversal(
                item, pan, expiry or "", merchant, self._link, repeat=item.tries > 0
            )
        related = await self._related(request)
        repeat = item.tries > 0 or not TYPES[request.type].advice  # others were tried before
        return build_repeat(item, pan, expiry or "", merchant, self._link, related, repeat=repeat)

    async def _related(self, request: RequestRow) -> Original | None:
        """What a refund or advice names, for DE 90."""
        if request.original_request_id is None:
            return None

        def read(scene: Scene) -> Judgement:
            original = scene.originals[0] if scene.originals else None
            return Judgement(commit=None, response_code="", rule="read", original=original)

        judgement, _ = await self._journal.decide(FindById(request.original_request_id), read)
        return judgement.original

    def _send_until_ns(self) -> int:
        return 0 if self._lease is None else int(self._lease.until_s * 1e9) - LEASE_MARGIN_NS

    def _about(self, item: QueueItem) -> dict[str, str | int]:
        return {
            "acquirer": self._link.acquirer,
            "kind": item.row.kind,
            "item_id": item.row.item_id,
            "request_id": item.row.request_id,
            "stan": item.row.link_stan,
            "rrn": item.original.request.rrn,
            "attempt": item.tries + 1,
        }


# -- what an answer to a delivery means ---------------------------------------------------------


class Ended(msgspec.Struct, frozen=True):
    """The delivery has ended; `case` names what a person must look at, "" for nothing."""

    case: str = ""


# DE 39 of a 0430 → the case it opens. 25 only where the 0420 can not have come before its original.
FINAL_FOR_REVERSALS: Final = {"00": "", "94": "", "12": "reversal_refused", "25": ""}
# DE 39 of a 0230 to a repeat that say nothing of the transaction: tried again.
NOT_FINAL_FOR_REPEATS: Final = frozenset({"30", "68", "91", "96", "98"})


def judge_delivery(kind: str, answer: Answer, *, overtook: bool) -> Ended | None:
    """Whether this answer ends the item (rules §8); None: try again."""
    code = answer.response_code
    if kind == "reversal":
        if code not in FINAL_FOR_REVERSALS or (code == "25" and overtook):
            return None
        return Ended(FINAL_FOR_REVERSALS[code])
    if code in NOT_FINAL_FOR_REPEATS or answer.kind is AnswerKind.UNMAPPED:
        return None
    return Ended("repeat_duplicate" if code == "94" else "")


def conclude(item: QueueItem, answer: Answer, final: Ended, now: dt.datetime) -> Commit | None:
    """What is stored with the end of an item."""
    case = case_of(item, final.case, now, answer.response_code) if final.case else None
    if item.row.kind == "reversal":
        return None if case is None else Commit(case=case)
    if item.original.outcome is None:
        return Commit(outcome=outcome_of(item, answer, now), case=case)
    if answer.kind.approves:
        return None if case is None else Commit(case=case)
    return conclude_refused_advice(item, answer, now)


def outcome_of(item: QueueItem, answer: Answer, now: dt.datetime) -> OutcomeRow:
    """The final word on a refund: its capture takes the date of this commit (rules §2)."""
    request = item.original.request
    attempt = attempt_of(item.original, item.row.acquirer)
    outcome = OutcomeRow(
        request_id=request.request_id,
        request_date=item.original.request_date,
        state=OutcomeState.DECLINED,
        response_code=answer.response_code,
        decided_at=now,
        rule="acquirer",
        attempt=None if attempt is None else attempt.attempt,
        acquirer_response_code=answer.response_code,
        acquirer_rrn="" if answer.rrn == request.rrn else answer.rrn,
        on_current_date=True,
    )
    if not answer.kind.approves:
        return outcome
    amount = request.amount_minor if answer.amount_minor is None else answer.amount_minor
    assert 0 <= amount <= request.amount_minor
    sign = TYPES[request.type].sign
    return msgspec.structs.replace(
        outcome,
        state=OutcomeState.APPROVED,
        approved_amount_minor=amount,
        effect_minor=sign * amount if sign else None,
        auth_code=answer.auth_code,
        settlement_date=answer.settlement_date,
        answer=kept(answer.elements),
    )


def conclude_refused_advice(item: QueueItem, answer: Answer, now: dt.datetime) -> Commit:
    """An advice was answered 00 and captured when it came; the bank says no: the linked opposite."""
    original = item.original
    case = case_of(item, "advice_refused", now, answer.response_code)
    if not original.captured_minor:
        return Commit(case=case)
    reversal = ReversalRow(
        original_request_id=original.request.request_id,
        original_date=original.request_date,
        seq=1 + len(original.reversals),
        origin="rule",
        reason=answer.response_code,
        queued_at=now,
        capture="opposite",
    )
    return Commit(reversal=reversal, case=case)


def case_of(item: QueueItem, kind: str, now: dt.datetime, response_code: str = "") -> CaseRow:
    request = item.original.request
    detail = {
        "acquirer": item.row.acquirer,
        "kind": item.row.kind,
        "seq": item.row.seq,
        "link_stan": item.row.link_stan,
        "transmission_time": item.row.transmission_time,
        "rrn": request.rrn,
        "amount_minor": request.amount_minor,
        "tries": item.tries,
        "response_code": response_code,
    }
    return CaseRow(
        kind=kind,
        request_id=request.request_id,
        merchant=request.key.merchant,
        terminal=request.key.terminal,
        detail=json.dumps(detail),
        opened_at=now,
    )


def is_overdue(item: QueueItem, link: Link) -> bool:
    """The bound: after it the item is a person's, and reconciliation's."""
    return item.tries >= link.retry_tries or item.age_s >= link.retry_total_s


def backoff_s(link: Link, tries: int) -> float:
    """Before the next try: doubling from the first, bounded."""
    return min(link.retry_s * 2.0 ** min(tries, 30), link.retry_max_s)


# -- late answers -------------------------------------------------------------------------------


def judge_late_answer(
    attempt: AttemptRow,
    request_date: dt.date,
    answer: Answer | Message,
    reason: str,
    numbers: Callable[[str], WireIdentity | None],
    now: dt.datetime,
    link: Link | None = None,
) -> Callable[[Scene], Judgement]:
    """The judge of an answer that came after the outcome, or was not good enough (rules §5, "Late").

    It is always stored. A late approval never becomes one; if there is no reversal, or it was finally
    answered before the approval came (a host may say 00 to a 0420 and approve its original all the
    same), a new one is queued under numbers of its own, with a case. A reversal that waits for this
    answer may leave now. `link` has the table of DE 39.
    """
    code, amount, auth_code, approves = _read_late(answer, link)

    def judge(scene: Scene) -> Judgement:
        if not scene.originals:
            return Judgement(commit=None, response_code="", rule="late.unknown")
        original = scene.originals[0]
        waiting = bool(original.reversals) and original.reversal_response is None
        late = LateAnswerRow(
            request_id=original.request.request_id,
            request_date=request_date,
            attempt=attempt.attempt,
            response_code=code,
            auth_code=auth_code,
            amount_minor=amount,
            reason=reason,
            received_at=now,
            release_queue=waiting and reason == "late",
        )
        commit = Commit(late_answer=late)
        rule = late_rule(original, approves=approves and reason == "late")
        if rule == "late.reversed_anew":
            anew = _reverse_anew(original, code, original.reversal_response, numbers, now)
            commit = msgspec.structs.replace(anew, late_answer=late)
        return Judgement(commit=commit, response_code="", rule=rule, original=original)

    return judge


def judge_ended_reversal(
    item: QueueItem,
    response_code: str,
    concluded: Commit | None,
    numbers: Callable[[str], WireIdentity | None],
    now: dt.datetime,
    link: Link,
) -> Callable[[Scene], Judgement]:
    """A reversal ends other than 00: was its original approved late in the meantime?

    Its end and what follows stand together: an approval that finds it ended reverses anew itself.
    The one case then says both. One late approval leads to one new reversal at most: a host that approved and forgot says 25 to
    that one too, for ever.
    """

    def judge(scene: Scene) -> Judgement:
        original = scene.originals[0]
        approved = [code for code in original.late_codes if kind_of(code, link).approves]
        anew = sum(row.origin == "late_approval" for row in original.reversals)
        commit, rule = concluded or Commit(), "late.nothing"
        if len(approved) > anew and original.reversals[-1].seq == item.row.seq:
            commit = _reverse_anew(original, approved[-1], response_code, numbers, now)
            rule = "late.reversed_anew"
        commit = msgspec.structs.replace(commit, end=EndRow(item.row.item_id, response_code))
        return Judgement(commit=commit, response_code="", rule=rule)

    return judge


def late_rule(original: Original, *, approves: bool) -> str:
    """What a late answer leads to, by the state of its original."""
    row = TYPES.get(original.request.type)
    outcome = original.outcome
    if not approves or outcome is None or outcome.state is OutcomeState.APPROVED:
        return "late.stored"
    if row is None or row.on_unknown is not OnUnknown.REVERSE:
        return "late.stored"
    if original.reversals and original.reversal_response is None:
        return "late.reversal_under_way"
    return "late.reversed_anew"


def _reverse_anew(
    original: Original,
    late_code: str,
    reversal_code: str | None,
    numbers: Callable[[str], WireIdentity | None],
    now: dt.datetime,
) -> Commit:
    request = original.request
    anew = reverse(original, numbers, "late_approval", SWITCH_TIME_OUT, now)
    detail = {
        "acquirer": original.attempts[-1].acquirer if original.attempts else "",
        "rrn": request.rrn,
        "amount_minor": request.amount_minor,
        "late_response_code": late_code,
        "reversal_response_code": reversal_code,
        "queued": anew is not None,
    }
    case = CaseRow(
        kind="late_approval",
        request_id=request.request_id,
        merchant=request.key.merchant,
        terminal=request.key.terminal,
        detail=json.dumps(detail),
        opened_at=now,
    )
    return msgspec.structs.replace(anew or Commit(), case=case)


def _read_late(answer: Answer | Message, link: Link | None) -> tuple[str, int | None, str, bool]:
    """DE 39, DE 4, DE 38 and whether the bank says that it approved."""
    if isinstance(answer, Answer):
        return answer.response_code, answer.amount_minor, answer.auth_code, answer.kind.approves
    code = str(answer.get(39, ""))
    amount = str(answer.get(4, ""))
    known = link or Link(acquirer="", host="", port=0, de32="")
    return (
        code,
        int(amount) if amount.isascii() and amount.isdigit() else None,
        str(answer.get(38, "")).strip(),
        kind_of(code, known).approves,
    )
