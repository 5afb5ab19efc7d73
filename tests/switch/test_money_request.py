"""A money request whose own steps fail: it ends once, and is told nothing that contradicts what is stored.

Method: the real `MoneyRequest` between an engine, an authorisation, a vault and replies that a test gives it;
what it does to them is noted. Everything answers at once, but where the vault is one on a network.
"""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from hsm.errors import PinBlockError, VaultError
from iso8583.errors import EncodeError
from switch.authorization import Stage
from switch.effects import Exchange, Reply
from switch.engine import Engine
from switch.events import NotSent, VaultRefused
from switch.money_request import MoneyRequest
from switch.reception import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

UNDECIDED = SimpleNamespace(request=SimpleNamespace(request_id=7))


class Bench:
    """`reply`: what telling the terminal comes to; `stage`: how far its authorisation is."""

    def __init__(self, reply: Callable[[], None], stage: Stage = Stage.DECIDING) -> None:
        self.notes: list[str] = []
        note = self.notes.append

        def told(_frame: Any, _peer: Any, _body: bytes, mac: bytes | Exception, *_: Any) -> None:
            reply()
            note("told" if isinstance(mac, bytes) else f"no answer: {mac}")

        self.spawned: list[Coroutine[Any, Any, None]] = []
        self.vault = SimpleNamespace(mac=lambda *_: bytes(8))
        self.made = made = SimpleNamespace(
            decide=lambda _serial: note("decided"),
            abandon=lambda _serial, _undecided: note("abandoned"),
            ended=lambda _serial, _peer: note("ended"),
            monotonic_ns=lambda: 0,
            log=SimpleNamespace(failed=lambda _error: note("failed")),
            hsm=self.vault,
            replies=SimpleNamespace(
                body=lambda *_: b"",
                tell=told,
                refuse=lambda *refused: note(f"refused {refused[-1].response_code}"),
            ),
            acquirers={},
            snapshot=lambda: SimpleNamespace(links={}, key=lambda *_: SimpleNamespace(block="ZPK")),
            spawn=self.spawned.append,
        )
        anything: Any = SimpleNamespace()
        engine: Any = made
        received: Any = SimpleNamespace(
            message={52: bytes(8)}, sender=SimpleNamespace(mac_profile="x9.9", merchant=anything)
        )
        self.request = MoneyRequest(engine, 1, received, anything, anything, anything, anything)
        self.request.asked = SimpleNamespace(pan="6220000000000000321")  # type: ignore[assignment]
        self.request.verified = SimpleNamespace(  # type: ignore[assignment]
            session=SimpleNamespace(mak="MAK", pik="PIK")
        )
        self.request.watch = SimpleNamespace(staged=lambda *_: None)  # type: ignore[assignment]
        self.request.auth = SimpleNamespace(  # type: ignore[assignment]
            stage=stage,
            attempt=SimpleNamespace(acquirer="bank"),
            step=self._step,
            undecided=lambda: UNDECIDED,
            reply=lambda code, rule: Reply(code, rule, anything),
        )

    def _step(self, event: Any) -> Any:
        if isinstance(event, Exception):
            raise event
        if isinstance(event, NotSent | VaultRefused):
            self.notes.append(f"{event}")
            return answer("91")
        return event

    def wait(self) -> None:
        """For a vault on a network."""
        (work,) = self.spawned
        self.spawned.clear()
        asyncio.run(work)


def over_the_network(result: Any) -> Callable[..., Coroutine[Any, Any, Any]]:
    """What the vault there gives, or raises, in its time."""

    async def asked(*_: Any) -> Any:
        await asyncio.sleep(0)
        if isinstance(result, Exception):
            raise result
        return result

    return asked


def fails(error: Exception) -> Callable[..., None]:
    def reply(*_: Any) -> None:
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


@pytest.mark.parametrize(
    ("mac", "note"), [(bytes(8), "told"), (VaultError("lost"), "no answer: lost")]
)
def test_an_answer_waits_for_a_vault_that_takes_its_time(mac: Any, note: str) -> None:
    bench = Bench(lambda: None)
    bench.vault.mac = over_the_network(mac)
    bench.request.go_on(answer())
    assert bench.notes == ["decided"]
    bench.wait()
    assert bench.notes == ["decided", note, "ended"]


def test_a_link_may_be_taken_out_while_the_vault_translates() -> None:
    """Then nothing is sent, and another route may be taken."""
    bench = Bench(lambda: None, Stage.EXCHANGING)
    bench.vault.translate_pin = over_the_network(bytes(8))
    exchange: Any = Exchange(bench.request.auth.attempt)  # type: ignore[union-attr, arg-type]
    bench.request.go_on(exchange)
    assert bench.notes == []
    bench.wait()
    assert bench.notes == [f"{NotSent('gone')}", "decided", "told", "ended"]


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (PinBlockError("fill"), VaultRefused("99", "pin.block")),
        (VaultError("lost"), VaultRefused("96", "vault.failed")),
    ],
)
@pytest.mark.parametrize("slow", [False, True])
def test_a_vault_that_translates_no_pin(
    error: Exception, refused: VaultRefused, slow: bool
) -> None:
    bench = Bench(lambda: None, Stage.EXCHANGING)
    link: Any = SimpleNamespace()
    bench.made.acquirers["bank"] = link
    bench.made.snapshot = lambda: SimpleNamespace(
        links={"bank": link}, key=lambda *_: SimpleNamespace(block="ZPK")
    )
    bench.vault.translate_pin = over_the_network(error) if slow else fails(error)
    exchange: Any = Exchange(bench.request.auth.attempt)  # type: ignore[union-attr, arg-type]
    bench.request.go_on(exchange)
    if slow:
        bench.wait()
    told = [note for note in bench.notes if note != "failed"]
    assert told == [f"{refused}", "decided", "told", "ended"]


def test_a_refusal_that_can_not_be_written_costs_its_own_frame_only() -> None:
    """What failed is logged, and whoever handed the frame on goes on with the next."""

    def unsigned(*_: Any) -> None:
        raise EncodeError(41, "does not fit")

    failed: list[BaseException] = []
    engine: Any = SimpleNamespace(
        log=SimpleNamespace(failed=failed.append), replies=SimpleNamespace(unsigned=unsigned)
    )
    anything: Any = SimpleNamespace()
    Engine.unserved(engine, RefusedError("30", "form.decode", {}, anything), anything, anything)
    assert [type(error) for error in failed] == [EncodeError]
