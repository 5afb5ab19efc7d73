"""Planted bugs: small changes of production code that break a promise, put in and taken out by a test.

Each is what a hurried hand might do. The checkers must find every one within a few seeds; one that
they do not find says that they are blind there.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any
from unittest import mock

import msgspec

from switch import authorization, recovery, store_and_forward
from switch.adapters.memory import MemoryStore
from switch.effects import Reply
from switch.journal import Commit, OutcomeState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from switch.authorization import Authorization
    from switch.effects import Effect
    from switch.journal import OutcomeRow


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
    contest = MemoryStore._contest
    judge_late = store_and_forward.judge_late_answer

    def lenient(store: MemoryStore, commit: Commit, commit_id: int) -> Any:
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
        mock.patch.object(MemoryStore, "_contest", lenient),
        mock.patch("switch.late_answers.judge_late_answer", eager),
    ):
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


# name → (the change, the promises of which one must be seen to break)
MUTATIONS: dict[str, tuple[Callable[[], contextlib.AbstractContextManager[None]], str]] = {
    "answer before commit": (answer_before_commit, "P1"),
    "reversal dropped on restart": (reversal_dropped_on_restart, "P4 P5"),
    "late approval captured": (late_approval_captured, "P2 P3 P5"),
    "reversal sent before it is noted": (reversal_not_noted, "P1"),
    "time-out taken for a decline": (time_out_is_a_decline, "P5"),
    "repeat not looked up": (repeat_is_new, "P1 P2"),
}
