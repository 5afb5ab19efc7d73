"""A money request whose own steps fail: it ends once, and is told nothing that contradicts what is stored.

Method: the real `MoneyRequest` between an engine, an authorisation and replies that a test gives it;
what it does to them is noted. Everything answers at once, as with the vault in this process.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from hsm.errors import VaultError
from switch.authorization import Stage
from switch.effects import Reply
from switch.money_request import MoneyRequest

if TYPE_CHECKING:
    from collections.abc import Callable

UNDECIDED = SimpleNamespace(request=SimpleNamespace(request_id=7))


class Bench:
    """`reply`: what telling the terminal comes to; `stage`: how far its authorisation is."""

    def __init__(self, reply: Callable[[], None], stage: Stage = Stage.DECIDING) -> None:
        self.notes: list[str] = []
        note = self.notes.append

        async def replied(*_: Any) -> None:
            reply()
            note("told")

        made: Any = SimpleNamespace(
            decide=lambda _serial: note("decided"),
            abandon=lambda _serial, _undecided: note("abandoned"),
            ended=lambda _serial, _peer: note("ended"),
            monotonic_ns=lambda: 0,
            log=SimpleNamespace(failed=lambda _error: note("failed")),
            replies=SimpleNamespace(
                reply=replied, refuse=lambda *refused: note(f"refused {refused[-1].response_code}")
            ),
            spawn=None,  # nothing suspends
        )
        anything: Any = SimpleNamespace()
        self.request = MoneyRequest(made, 1, anything, anything, anything, anything, anything)
        self.request.verified = anything
        self.request.watch = SimpleNamespace(staged=lambda *_: None)  # type: ignore[assignment]
        self.request.auth = SimpleNamespace(  # type: ignore[assignment]
            stage=stage,
            step=self._step,
            undecided=lambda: UNDECIDED,
            reply=lambda code, rule: Reply(code, rule, anything),
        )

    def _step(self, event: Any) -> Any:
        if isinstance(event, Exception):
            raise event
        return event


def fails(error: Exception) -> Callable[[], None]:
    def reply() -> None:
        raise error

    return reply


def answer(code: str = "00") -> Any:
    nothing: Any = None
    return Reply(code, "acquirer", nothing)


@pytest.mark.parametrize("error", [RuntimeError("the line of the log"), VaultError("its device")])
def test_an_outcome_whose_answer_fails_is_told_nothing_else(error: Exception) -> None:
    """A 96 after an approval would have the card debited and the sale void, without a reversal."""
    bench = Bench(fails(error))
    bench.request.go_on(answer())
    assert bench.notes == ["decided", "failed", "ended"]


def test_what_is_left_to_others_stays_undecided_whatever_becomes_of_its_answer() -> None:
    """Else a lease that is renewed leaves it out, and nobody decides it after a crash."""
    bench = Bench(fails(RuntimeError("98 can not be written")), Stage.EXCHANGING)
    step: Any = RuntimeError("a bug in a step")
    bench.request.go_on(step)
    assert bench.notes == ["failed", "abandoned", "failed", "ended"]


@pytest.mark.parametrize(
    ("stage", "notes"),
    [
        (Stage.RECORDING, ["failed", "decided", "refused 96", "ended"]),
        (Stage.DECIDING, ["failed", "abandoned", "told", "ended"]),
    ],
)
def test_a_failure_is_told_by_how_far_it_was(stage: Stage, notes: list[str]) -> None:
    bench = Bench(lambda: None, stage)
    bench.request.stored(RuntimeError("the journal"))
    assert bench.notes == notes
