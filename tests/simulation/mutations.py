"""Planted bugs: small changes of production code that break a promise, put in and taken out by a test.

Each is what a hurried hand might do. The checkers must find every one within a few seeds; one that
they do not find says that they are blind there.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

import msgspec
import structlog

from hsm.pans import LocalPans
from switch import (
    authorization,
    downloads,
    follow_up,
    recovery,
    reversal,
    routing,
    store_and_forward,
)
from switch.acquirers.iso8583_link import IsoLink
from switch.acquirers.link_keys import LinkMac
from switch.acquirers.sibling_stream import Sibling
from switch.acquirers.siblings import Siblings
from switch.adapters.memory import commits
from switch.adapters.memory.numbers import MemoryNumbers, MemoryOwners
from switch.admission import Admission
from switch.advice import repeat_item
from switch.effects import Exchange, Reply
from switch.engine import Engine
from switch.events import NotSent
from switch.journal import Commit, EndRow, Judgement, OutcomeState
from switch.load import Load
from switch.reference import Snapshot
from switch.server import TerminalServer
from switch.store_ports import Held
from switch.wiring import Links
from tests.simulation.edge_mutations import EDGE_MUTATIONS
from tests.simulation.link_mutations import LINK_MUTATIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from switch.adapters.memory.facts import Facts
    from switch.authorization import Authorization
    from switch.effects import Effect
    from switch.journal import OutcomeRow, RequestRow
    from switch.store_ports import DownloadFact, KeptDownload, Undecided


@contextlib.contextmanager
def answer_before_commit() -> Iterator[None]:
    """The answer leaves when the bank has spoken, not when its outcome is durable (P1)."""
    decide = authorization.decide

    def hurried(auth: Authorization, outcome: OutcomeRow, reverse_reason: str = "") -> Effect:
        effect = decide(auth, outcome, reverse_reason)
        if outcome.state is OutcomeState.APPROVED:
            return Reply(outcome.response_code, outcome.rule, auth.request, auth.attempt, outcome)
        return effect

    with mock.patch.object(authorization, "decide", hurried):
        yield


@contextlib.contextmanager
def reversal_dropped_on_restart() -> Iterator[None]:
    """Recovery writes the outcome of what was in flight, and forgets its reversal (P4)."""
    recover = recovery.recover

    def forgetful(*args: Any, **options: Any) -> Commit | None:
        commit = recover(*args, **options)
        if commit is None or commit.reversal is None:
            return commit
        return Commit(outcome=commit.outcome)

    with mock.patch("switch.duties.recover", forgetful):
        yield


@contextlib.contextmanager
def late_approval_captured() -> Iterator[None]:
    """An approval that comes after the time-out replaces the outcome (P3)."""
    contest = commits._contest
    judge_late = store_and_forward.judge_late_answer

    def lenient(store: Facts, commit: Commit, commit_id: int) -> Any:
        if commit.outcome is not None and commit.outcome.rule == "late":
            return None
        return contest(store, commit, commit_id)

    def eager(attempt: Any, request_date: Any, answer: Any, reason: str, *more: Any) -> Any:
        judge = judge_late(attempt, request_date, answer, reason, *more)

        def judged(scene: Any) -> Any:
            judgement: Any = judge(scene)
            original = scene.originals[0] if scene.originals else None
            if original is None or original.outcome is None or reason != "late":
                return judgement
            late = judgement.commit.late_answer
            if late.response_code != "00" or original.outcome.state is not OutcomeState.UNKNOWN:
                return judgement
            outcome = msgspec.structs.replace(
                original.outcome,
                state=OutcomeState.APPROVED,
                response_code="00",
                rule="late",
                approved_amount_minor=late.amount_minor,
                effect_minor=late.amount_minor,
            )
            commit = msgspec.structs.replace(judgement.commit, outcome=outcome)
            return msgspec.structs.replace(judgement, commit=commit)

        return judged

    with (
        mock.patch.object(commits, "_contest", lenient),
        mock.patch("switch.late_answers.judge_late_answer", eager),
    ):
        yield


@contextlib.contextmanager
def late_approval_kept() -> Iterator[None]:
    """An approval that comes after its reversal was answered is stored, and no more (P5)."""
    with mock.patch.object(store_and_forward, "late_rule", return_value="late.stored"):
        yield


@contextlib.contextmanager
def late_approval_under_way_kept() -> Iterator[None]:
    """A reversal that ends other than 00 does not look whether its original was approved meanwhile (P5)."""

    def ended(item: Any, code: str, concluded: Commit | None, *_: Any) -> Any:
        commit = msgspec.structs.replace(concluded or Commit(), end=EndRow(item.row.item_id, code))
        return lambda _scene: Judgement(commit=commit, response_code="", rule="late.nothing")

    with mock.patch.object(store_and_forward, "judge_ended_reversal", ended):
        yield


@contextlib.contextmanager
def reversal_not_noted() -> Iterator[None]:
    """A reversal goes out before that it may have is noted (P1)."""
    deliver = store_and_forward.Forwarder._try

    async def unnoted(forwarder: Any, item: Any) -> bool:
        queue = forwarder._queue

        class Deaf:
            def __getattr__(self, name: str) -> Any:
                return getattr(queue, name)

            async def sent(self, item_id: int, attempt: int) -> None:
                pass

        forwarder._queue = Deaf()
        try:
            return await deliver(forwarder, item)
        finally:
            forwarder._queue = queue

    with mock.patch.object(store_and_forward.Forwarder, "_try", unnoted):
        yield


@contextlib.contextmanager
def time_out_is_a_decline() -> Iterator[None]:
    """No answer in time is taken for a decline: nothing is reversed (P3, P5)."""

    def declined(auth: Authorization, _event: Any) -> Effect:
        outcome = authorization.outcome_plain(auth, OutcomeState.DECLINED, "91", "time_out")
        return authorization.decide(auth, outcome)

    table = {
        at: declined if step is authorization.no_answer else step
        for at, step in authorization.TABLE.items()
    }
    with mock.patch.object(authorization, "TABLE", table):
        yield


@contextlib.contextmanager
def repeat_is_new() -> Iterator[None]:
    """A duplicate is answered as the second copy of a request finds it: not looked up (P2)."""
    repeated = authorization.repeated

    def careless(auth: Authorization, event: Any) -> Effect:
        effect = repeated(auth, event)
        if isinstance(effect, Reply):
            return effect
        return auth.reply("51", "repeat.careless")

    table = {at: careless if step is repeated else step for at, step in authorization.TABLE.items()}
    with mock.patch.object(authorization, "TABLE", table):
        yield


def _in_table(step: Callable[..., Effect], instead: Callable[..., Effect]) -> Any:
    """Another step wherever the table of an authorisation names this one."""
    table = {at: instead if each is step else each for at, each in authorization.TABLE.items()}
    return mock.patch.object(authorization, "TABLE", table)


@contextlib.contextmanager
def partial_captured_in_full() -> Iterator[None]:
    """A partial approval captures what was asked for, not what was approved (P5)."""
    approved = authorization.outcome_approved

    def generous(auth: Authorization, answer: Any, _amount_minor: int) -> OutcomeRow:
        return approved(auth, answer, auth.request.amount_minor)

    with mock.patch.object(authorization, "outcome_approved", generous):
        yield


@contextlib.contextmanager
def refund_reversed() -> Iterator[None]:
    """A refund without an answer is reversed like everything else (P3)."""

    def reversing(auth: Authorization, _event: Any) -> Effect:
        outcome = authorization.outcome_plain(auth, OutcomeState.UNKNOWN, "98", "no_answer")
        return authorization.decide(auth, outcome, reverse_reason=reversal.SWITCH_TIME_OUT)

    with _in_table(authorization.no_answer, reversing):
        yield


@contextlib.contextmanager
def other_content_answered() -> Iterator[None]:
    """The key alone makes a repeat: that its content differs is not looked at (P2)."""
    repeated = authorization.repeated

    def trusting(auth: Authorization, event: Any) -> Effect:
        return repeated(auth, msgspec.structs.replace(event, content=auth.request.content))

    with _in_table(repeated, trusting):
        yield


@contextlib.contextmanager
def reversed_still_told() -> Iterator[None]:
    """A repeat gets the stored approval, whether or not it still stands (P2)."""
    found = authorization.found

    def faithful(auth: Authorization, event: Any) -> Effect:
        stored = event.stored
        if stored is not None and stored.outcome is not None:
            stored = msgspec.structs.replace(stored, standing=True)
        return found(auth, msgspec.structs.replace(event, stored=stored))

    with _in_table(found, faithful):
        yield


@contextlib.contextmanager
def duplicate_of_another_node() -> Iterator[None]:
    """Requests are unique per process, not in the whole store (P2)."""
    contest_key = commits._contest_key

    def local(store: Facts, request: RequestRow) -> Any:
        known = store.keys.get(request.key)
        if known is not None and store.requests[known.request_id].row.owner_id != request.owner_id:
            return None
        return contest_key(store, request)

    with mock.patch.object(commits, "_contest_key", local):
        yield


@contextlib.contextmanager
def tombstone_forgotten() -> Iterator[None]:
    """A 0400 for what is not known is answered 25, and nothing is kept of it (P4)."""
    judge_reversal = reversal.judge_reversal

    def forgetful(ask: Any, scene: Any) -> Any:
        judgement = judge_reversal(ask, scene)
        if judgement.rule != "reversal.unknown":
            return judgement
        assert judgement.commit is not None
        commit = msgspec.structs.replace(judgement.commit, request=None)
        return msgspec.structs.replace(judgement, commit=commit)

    with mock.patch("switch.engine.judge_reversal", forgetful):
        yield


@contextlib.contextmanager
def posted_date_reversed() -> Iterator[None]:
    """A 0400 is taken whatever the state of its original's date (P9)."""
    judge_reversal = reversal.judge_reversal

    def dateless(ask: Any, scene: Any) -> Any:
        originals = tuple(
            msgspec.structs.replace(each, date_state="frozen")
            if each.date_state == "posted"
            else each
            for each in scene.originals
        )
        return judge_reversal(ask, msgspec.structs.replace(scene, originals=originals))

    with mock.patch("switch.engine.judge_reversal", dateless):
        yield


@contextlib.contextmanager
def loser_writes_outcome() -> Iterator[None]:
    """The last outcome stands, not the first: an upsert (P2)."""
    contest = commits._contest

    def last_wins(store: Facts, commit: Commit, commit_id: int) -> Any:
        if commit.outcome is not None and commit.outcome.request_id in store.outcomes:
            return None
        return contest(store, commit, commit_id)

    with mock.patch.object(commits, "_contest", last_wins):
        yield


@contextlib.contextmanager
def sent_after_its_time() -> Iterator[None]:
    """Neither the lease nor the send-by time is looked at before a request's bytes leave (P3)."""
    frame = IsoLink._frame

    def late(link: IsoLink, pending: Any) -> Any:
        if pending.attempt is not None:  # of what is queued P4 speaks
            pending.send_by_ns = 1 << 62
        return frame(link, pending)

    with mock.patch.object(IsoLink, "_frame", late):
        yield


@contextlib.contextmanager
def takeover_too_early() -> Iterator[None]:
    """Every earlier owner is taken for an earlier life of this worker: its lease is not waited for (P3)."""
    take_over = MemoryOwners.take_over

    async def impatient(
        owners: MemoryOwners, owner_id: int, _node: str, _worker: int, *, at_start: bool = False
    ) -> list[Undecided]:
        del at_start
        found: dict[int, Undecided] = {}
        rows = list(owners._store.owner_rows.values())
        for node, worker in dict.fromkeys((row.node, row.worker) for row in rows):
            for each in await take_over(owners, owner_id, node, worker, at_start=True):
                found[each.request.request_id] = each
        return list(found.values())

    with mock.patch.object(MemoryOwners, "take_over", impatient):
        yield


@contextlib.contextmanager
def drain_forgets() -> Iterator[None]:
    """A process that drains waits for nothing, and closes its owner with requests in flight (P4)."""
    # Nor does it end its links: a request that is told of that is decided after all.
    release = MemoryOwners.release

    async def hasty(owners: MemoryOwners, owner_id: int) -> None:
        await release(owners, owner_id)
        owners._store.owner_rows[owner_id].closed = True

    async def no_wait(*_: Any) -> bool:
        return True

    with (
        mock.patch.object(TerminalServer, "drained", no_wait),
        mock.patch.object(Engine, "drain", no_wait),
        mock.patch.object(Links, "drain", no_wait),
        mock.patch.object(MemoryOwners, "release", hasty),
    ):
        yield


@contextlib.contextmanager
def capture_on_wrong_date() -> Iterator[None]:
    """A capture takes the date on which it was decided, not its request's (P5)."""
    approved = authorization.outcome_approved

    def today(auth: Authorization, answer: Any, amount_minor: int) -> OutcomeRow:
        outcome = approved(auth, answer, amount_minor)
        return msgspec.structs.replace(outcome, on_current_date=True)

    with mock.patch.object(authorization, "outcome_approved", today):
        yield


@contextlib.contextmanager
def repeat_with_new_stan() -> Iterator[None]:
    """A refund is repeated under a new DE 11: its bank takes it for another one (P2)."""

    def renumbered(request: Any, attempt: Any, date: Any, numbers: Any) -> Any:
        item, identity = repeat_item(request, attempt, date, numbers), numbers(attempt.acquirer)
        if item is None or identity is None:
            return item
        return msgspec.structs.replace(item, link_stan=identity.link_stan)

    with mock.patch.object(authorization, "repeat_item", renumbered):
        yield


@contextlib.contextmanager
def follow_ups_not_counted() -> Iterator[None]:
    """Each void or refund is judged alone: those before it are not counted (P2)."""
    with mock.patch.object(follow_up, "_standing", return_value=[]):
        yield


@contextlib.contextmanager
def follow_up_to_alternate() -> Iterator[None]:
    """A void or refund may go by another link where its original's is down (P5)."""
    attempt_follow_up = Admission._attempt_follow_up

    def rerouted(admission: Admission, request: Any, acquirer: str, snapshot: Any) -> Any:
        choices = [acquirer, *(link for link in sorted(snapshot.links) if link != acquirer)]
        made = (attempt_follow_up(admission, request, each, snapshot) for each in choices)
        return next((each for each in made if each is not None), None)

    with mock.patch.object(Admission, "_attempt_follow_up", rerouted):
        yield


@contextlib.contextmanager
def bank_mac_not_checked() -> Iterator[None]:
    """An answer of a bank counts, whatever its MAC (P3, P7)."""
    with mock.patch.object(LinkMac, "verifies", return_value=True):
        yield


@contextlib.contextmanager
def any_answer_is_final() -> Iterator[None]:
    """A reversal has ended when the bank has said anything at all (P4)."""

    def easily(_kind: str, _answer: Any, *, overtook: bool) -> store_and_forward.Ended:
        del overtook
        return store_and_forward.Ended()

    with mock.patch.object(store_and_forward, "judge_delivery", easily):
        yield


@contextlib.contextmanager
def numbers_given_twice() -> Iterator[None]:
    """A block of numbers is read in one statement and advanced in another (P3)."""

    async def racing(numbers: MemoryNumbers, name: str, first: int, count: int) -> tuple[int, int]:
        start = numbers._store.blocks.get(name, first)
        await asyncio.sleep(0.003)
        numbers._store.blocks[name] = start + count
        return start, start + count - 1

    with mock.patch.object(MemoryNumbers, "_block", racing):
        yield


@contextlib.contextmanager
def card_number_not_masked() -> Iterator[None]:
    """The whole card number is kept where its mask should stand (P6)."""
    with mock.patch.object(LocalPans, "mask", lambda _pans, pan: pan):
        yield


@contextlib.contextmanager
def card_number_logged() -> Iterator[None]:
    """A line for finding errors says which card was sent to which bank (P6)."""
    frame = IsoLink._frame

    def chatty(link: IsoLink, pending: Any) -> Any:
        structlog.get_logger().info("sending", acquirer=link.name, pan=pending.request.get(2))
        return frame(link, pending)

    with mock.patch.object(IsoLink, "_frame", chatty):
        yield


@contextlib.contextmanager
def frozen_capture_cancelled() -> Iterator[None]:
    """A reversal cancels its capture, whatever the state of its date: no linked opposite (P9)."""
    write_reversal = commits._write_reversal

    def cancelling(store: Facts, row: Any, commit_id: int) -> None:
        dates, store.dates = store.dates, dict.fromkeys(store.dates, "open")
        try:
            write_reversal(store, row, commit_id)
        finally:
            store.dates = dates

    with mock.patch.object(commits, "_write_reversal", cancelling):
        yield


@contextlib.contextmanager
def late_approval_without_case() -> Iterator[None]:
    """A late approval is reversed anew, and no person is told (P4)."""
    anew = store_and_forward._reverse_anew

    def silent(*args: Any) -> Commit:
        return msgspec.structs.replace(anew(*args), case=None)

    with mock.patch.object(store_and_forward, "_reverse_anew", silent):
        yield


@contextlib.contextmanager
def refused_reversal_without_case() -> Iterator[None]:
    """A 0400 is answered 12, and no person is told, but of posted dates (P4)."""
    refused = reversal._refused

    def silent(*args: Any) -> Judgement:
        judgement = refused(*args)
        if judgement.rule == "reversal.date_posted":
            return judgement
        assert judgement.commit is not None
        commit = msgspec.structs.replace(judgement.commit, case=None)
        return msgspec.structs.replace(judgement, commit=commit)

    with mock.patch.object(reversal, "_refused", silent):
        yield


@contextlib.contextmanager
def load_not_counted_down() -> Iterator[None]:
    """What a process has taken in counts for ever (P8)."""
    ended = Load.ended

    def stays(load: Load, now_s: float) -> None:
        load.inside += 1
        ended(load, now_s)

    with mock.patch.object(Load, "ended", stays):
        yield


@contextlib.contextmanager
def stream_not_made_again() -> Iterator[None]:
    """A stream between two workers that is cut is not made again (P8)."""

    async def once(siblings: Siblings, worker: int) -> None:
        sibling = Sibling(siblings, worker)
        await siblings._transport.connect(sibling.protocol, siblings._path(worker))

    with mock.patch.object(Siblings, "_keep_connected", once):
        yield


@contextlib.contextmanager
def versions_not_kept() -> Iterator[None]:
    """A route is stored by its name alone, without the version that was in force (P10)."""
    with mock.patch.object(Snapshot, "version", return_value="null"):
        yield


@contextlib.contextmanager
def every_process_for_itself() -> Iterator[None]:
    """Each process opens as many connections as the bank grants to all (P8)."""

    async def alone(
        _owners: MemoryOwners, _owner_id: int, _acquirer: str, granted: int, _keep: Sequence[int]
    ) -> Held:
        await asyncio.sleep(0)
        return Held(granted, tuple(range(1, granted + 1)))

    with mock.patch.object(MemoryOwners, "hold_slots", alone):
        yield


@contextlib.contextmanager
def failover_after_silence() -> Iterator[None]:
    """A bank that does not answer is taken for one that was never asked: the next is tried (P3)."""

    def impatient(auth: Authorization, event: Any) -> Effect:
        return authorization.not_sent(auth, NotSent(event.reason))

    with _in_table(authorization.no_answer, impatient):
        yield


@contextlib.contextmanager
def failover_not_committed() -> Iterator[None]:
    """The next link is tried at once; its attempt is written by nobody (P1)."""
    not_sent = authorization.not_sent

    def hasty(auth: Authorization, event: Any) -> Effect:
        effect = not_sent(auth, event)
        if auth.stage is not authorization.Stage.REROUTING:
            return effect
        assert auth.attempt is not None
        auth.stage = authorization.Stage.EXCHANGING
        return Exchange(auth.attempt)

    with _in_table(not_sent, hasty):
        yield


@contextlib.contextmanager
def failover_of_what_is_over() -> Iterator[None]:
    """A further attempt is committed whatever became of the request meanwhile (P3)."""

    def blind(attempt: Any) -> Any:
        return lambda _scene: Judgement(Commit(attempt=attempt), "", "route.alternate")

    with mock.patch.object(authorization, "judge_second_attempt", blind):
        yield


@contextlib.contextmanager
def capture_of_the_first_attempt() -> Iterator[None]:
    """What is approved is captured of the first attempt, whichever won (P5)."""
    approved = authorization.outcome_approved

    def first(auth: Authorization, answer: Any, amount_minor: int) -> OutcomeRow:
        return msgspec.structs.replace(approved(auth, answer, amount_minor), attempt=1)

    with mock.patch.object(authorization, "outcome_approved", first):
        yield


@contextlib.contextmanager
def drawn_anew_each_time() -> Iterator[None]:
    """A split is drawn from what the process has seen so far, not from the request (P10)."""
    count = itertools.count()

    def next_drawn(_rule: str, _key: Any) -> int:
        return next(count) * 37 % 100

    with mock.patch.object(routing, "drawn", next_drawn):
        yield


@contextlib.contextmanager
def passed_over_untold() -> Iterator[None]:
    """Which links could not be tried is not kept (P10)."""

    def silent(rule: str, acquirer: str, link_version: int, _passed: Any = ()) -> str:
        return f"{rule}/{acquirer}@{link_version}"

    with mock.patch("switch.rows.route_rule", silent):
        yield


@contextlib.contextmanager
def versions_mixed() -> Iterator[None]:
    """A part of another version is given out, and the download's end counts (P4)."""
    taken = downloads.taken

    def careless(*args: Any, **options: Any) -> DownloadFact | None:
        fact = taken(*args, **options)
        return None if fact is not None and fact.act == "mixed" else fact

    with mock.patch.object(downloads, "taken", careless):
        yield


@contextlib.contextmanager
def any_end_counts() -> Iterator[None]:
    """The end of a download says that the terminal has what is in force now (P4)."""
    taken = downloads.taken

    def trusting(
        before: DownloadFact | None, now: DownloadFact, step: str, **options: Any
    ) -> DownloadFact | None:
        if step == "end" and now.version:
            return msgspec.structs.replace(now, act="ended")
        return taken(before, now, step, **options)  # type: ignore[arg-type]

    with mock.patch.object(downloads, "taken", trusting):
        yield


@contextlib.contextmanager
def ended_once_is_had() -> Iterator[None]:
    """What a terminal ended it has for ever, whatever it has begun since (P4)."""

    def lasting(facts: Iterable[KeptDownload], address: str) -> dict[str, KeptDownload]:
        return {
            kept.fact.topic: kept
            for kept in facts
            if kept.fact.act == "ended" and (kept.fact.shown or kept.fact.address == address)
        }

    with mock.patch.object(downloads, "had", lasting):
        yield


# Planted in what terminals download: hunted where they do.
OF_DOWNLOADS: Final = (
    "versions mixed in a download",
    "any end of a download counts",
    "an interrupted download forgotten",
)

# Found in worlds with routing rules and links that do not last.
OF_ROUTING: Final = (
    "failover after something was sent",
    "further attempt not committed",
    "further attempt of what is over",
    "captured of the first attempt",
    "split not drawn from the request",
    "links passed over not told",
)

# name → (the change, the promises of which one must be seen to break)
MUTATIONS: dict[str, tuple[Callable[[], contextlib.AbstractContextManager[None]], str]] = {
    "answer before commit": (answer_before_commit, "P1"),
    "reversal dropped on restart": (reversal_dropped_on_restart, "P4 P5"),
    "late approval captured": (late_approval_captured, "P2 P3 P5"),
    "late approval not reversed": (late_approval_kept, "P5"),
    "late approval while its reversal is under way": (late_approval_under_way_kept, "P5"),
    "reversal sent before it is noted": (reversal_not_noted, "P1"),
    "time-out taken for a decline": (time_out_is_a_decline, "P5"),
    "repeat not looked up": (repeat_is_new, "P1 P2"),
    "partial approval captured in full": (partial_captured_in_full, "P3 P5"),
    "refund reversed on time-out": (refund_reversed, "P3"),
    "other content answered as the same": (other_content_answered, "P2"),
    "stored answer given though reversed": (reversed_still_told, "P2"),
    "duplicate not recognised on another node": (duplicate_of_another_node, "P2"),
    "tombstone forgotten": (tombstone_forgotten, "P1 P4"),
    "0400 for a posted date accepted": (posted_date_reversed, "P9"),
    "outcome written by the loser": (loser_writes_outcome, "P2"),
    "owner acting after its lease": (sent_after_its_time, "P3"),
    "takeover before the lease ended": (takeover_too_early, "P3 P8"),
    "drain forgets what is in flight": (drain_forgets, "P4"),
    "capture on the wrong date": (capture_on_wrong_date, "P5"),
    "repeat with new STAN": (repeat_with_new_stan, "P2 P5"),
    "void and refund not counted": (follow_ups_not_counted, "P2"),
    "follow-up sent to an alternate": (follow_up_to_alternate, "P5"),
    "MAC of a bank not checked": (bank_mac_not_checked, "P3 P7"),
    "any answer ends a reversal": (any_answer_is_final, "P4"),
    "numbers given twice": (numbers_given_twice, "P2 P3 P7"),
    "card number not masked": (card_number_not_masked, "P6"),
    "card number logged": (card_number_logged, "P6"),
    "frozen capture cancelled": (frozen_capture_cancelled, "P9"),
    "late approval without a case": (late_approval_without_case, "P4"),
    "refused reversal without a case": (refused_reversal_without_case, "P4"),
    "load not counted down": (load_not_counted_down, "P8"),
    "stream between workers not made again": (stream_not_made_again, "P8"),
    "versions not kept": (versions_not_kept, "P10"),
    "every process connects for itself": (every_process_for_itself, "P8"),
    "failover after something was sent": (failover_after_silence, "P3"),
    "further attempt not committed": (failover_not_committed, "P1"),
    "further attempt of what is over": (failover_of_what_is_over, "P3"),
    "captured of the first attempt": (capture_of_the_first_attempt, "P5"),
    "split not drawn from the request": (drawn_anew_each_time, "P10"),
    "links passed over not told": (passed_over_untold, "P10"),
    **LINK_MUTATIONS,
    "versions mixed in a download": (versions_mixed, "P4"),
    "any end of a download counts": (any_end_counts, "P4"),
    "an interrupted download forgotten": (ended_once_is_had, "P4"),
    **EDGE_MUTATIONS,
}
