"""A bank link whose vault takes its time: what was true before an answer of the vault may not be after.

Method: the link of `test_iso8583_link` in virtual time, with a vault that suspends for as long as a
test says, each call by itself.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from hsm.adapters.local import LocalHsm
from hsm.errors import VaultError
from hsm.keys import KeyUsage
from switch.acquirers import link_keys
from switch.acquirers.ports import Answer, Health, NoAnswerError, NotSentError
from switch.virtual.loop import run_virtual
from tests.switch.acquirers.test_siblings import original_of
from tests.switch.acquirers.wire import FAR_NS, World, answer_to, make_key, make_link

if TYPE_CHECKING:
    from hsm.local import LocalVault


class SlowHsm(LocalHsm):
    """Each call takes the next of its times, then the last of them again; below 0: it does not suspend."""

    def __init__(self, vault: LocalVault) -> None:
        super().__init__(vault)
        self._at_once = vault
        self.mac, self.verify_mac = self._slow_mac, self._slow_verify_mac  # type: ignore[assignment]
        self.mac_s = [0.0]
        self.verify_s = [0.0]
        self.failing = False
        self.bug: Exception | None = None  # that no vault ought to raise

    async def _slow_mac(self, key: str, profile: str, data: bytes) -> bytes:
        await self._takes(self.mac_s)
        return self._at_once.mac(key, profile, data)

    async def _slow_verify_mac(self, key: str, profile: str, data: bytes, mac: bytes) -> bool:
        await self._takes(self.verify_s)
        return self._at_once.verify_mac(key, profile, data, mac)

    async def _takes(self, times: list[float]) -> None:
        if (takes_s := times.pop(0) if len(times) > 1 else times[0]) >= 0.0:
            await asyncio.sleep(takes_s)
        if self.bug is not None:
            raise self.bug
        if self.failing:
            raise VaultError("no answer of the device")


Story = Callable[[World, SlowHsm], Awaitable[None]]


def tell(story: Story, *, connections: int = 1, **settings: Any) -> World:
    async def main() -> World:
        world = World(make_link(**settings), connections=connections)
        slow = SlowHsm(world.bank.vault)
        world.iso._frames._hsm = world.iso._frames.mac._hsm = slow
        async with world:
            await story(world, slow)
            return world

    with capture_logs():
        world, _ = run_virtual(main())
    return world


async def ask(world: World, send_by_ns: int = FAR_NS) -> Answer:
    message, attempt = world.message()
    return await answer_to(world.iso, message, attempt, send_by_ns)


def asking(world: World) -> asyncio.Task[Answer]:
    return asyncio.get_running_loop().create_task(ask(world))


def test_answers_are_verified_in_any_order() -> None:
    async def story(world: World, slow: SlowHsm) -> None:
        slow.verify_s = [3.0, 0.0]
        done: list[int] = []

        async def one(number: int) -> None:
            assert (await ask(world)).response_code == "00"
            done.append(number)

        await asyncio.gather(one(1), one(2))
        assert done == [2, 1]

    tell(story)


def test_an_answer_whose_check_outlasts_the_timer_is_late() -> None:
    async def story(world: World, slow: SlowHsm) -> None:
        slow.verify_s = [40.0]
        with pytest.raises(NoAnswerError, match="timeout"):
            await ask(world)
        await asyncio.sleep(20)
        assert [reason for _, _, reason in world.late] == ["late"]
        assert (world.iso.counters.late, world.iso.counters.answered) == (1, 0)

    tell(story)


def test_the_second_copy_of_an_answer_being_verified_answers_nothing() -> None:
    async def story(world: World, slow: SlowHsm) -> None:
        slow.verify_s = [1.0, 0.5]
        request = asking(world)
        await asyncio.sleep(0.1)
        (connection,) = world.bank.connections
        connection.send(world.bank.answer(world.bank.received[-1]))
        assert (await request).response_code == "00"
        await asyncio.sleep(2)
        counters = world.iso.counters
        assert (counters.answered, counters.twice) == (1, 1)

    tell(story)


def test_a_wrong_mac_found_out_late_leaves_the_request_waiting_for_a_good_answer() -> None:
    async def story(world: World, slow: SlowHsm) -> None:
        slow.verify_s = [1.0]
        world.bank.sign = lambda mac: bytes(8)
        request = asking(world)
        await asyncio.sleep(5)
        assert not request.done()
        world.bank.sign = lambda mac: mac
        world.bank.connections[0].send(world.bank.answer(world.bank.received[-1]))
        assert (await request).response_code == "00"
        assert world.iso.counters.mac_failed == 1

    tell(story)


def test_a_key_that_comes_into_force_while_the_vault_looks_is_tried_too() -> None:
    async def story(world: World, slow: SlowHsm) -> None:
        slow.verify_s = [2.0, 0.0]
        world.iso._answers._reload = None  # there is no second look at the store
        world.bank.silent.add("0200")
        request = asking(world)
        await asyncio.sleep(0.1)
        world.bank.zak = world.bank.vault.generate_key(KeyUsage.ZAK, 16).block
        world.bank.connections[0].send(world.bank.answer(world.bank.received[-1]))
        await asyncio.sleep(1)
        world.iso._frames.mac.take_up(make_key("ZAK", world.bank.zak, 2))
        assert (await request).response_code == "00"

    tell(story)


def test_signed_too_late_nothing_leaves() -> None:
    async def story(world: World, slow: SlowHsm) -> None:
        slow.mac_s = [3.0]
        send_by_ns = world.iso.monotonic_ns() + 2_000_000_000
        with pytest.raises(NotSentError, match="send_by_passed"):
            await ask(world, send_by_ns)
        assert not world.bank.seen("0200")
        assert world.iso.in_flight == 0

    tell(story)


def test_a_link_that_goes_down_while_its_message_is_signed_sends_nothing() -> None:
    async def story(world: World, slow: SlowHsm) -> None:
        slow.mac_s = [3.0]
        request = asking(world)
        await asyncio.sleep(0.1)
        world.transport.down = True
        world.bank.drop()
        with pytest.raises(NotSentError, match="link_down"):
            await request
        assert not world.bank.seen("0200")

    tell(story)


def test_while_draining_what_is_being_signed_stays_here() -> None:
    async def story(world: World, slow: SlowHsm) -> None:
        slow.mac_s = [3.0]
        request = asking(world)
        await asyncio.sleep(0.1)
        await world.iso.drain(1)
        with pytest.raises(NotSentError, match="draining"):
            await request

    tell(story)


def test_a_delivery_given_up_while_it_is_signed_leaves_no_error_behind() -> None:
    async def story(world: World, slow: SlowHsm) -> None:
        errors: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, error: errors.append(error))
        slow.mac_s = [3.0]
        message, attempt = world.message()
        original = original_of(message, attempt)
        reversal, _ = world.message(de_0="0420")
        work = world.iso.deliver(reversal, original, 0.0, FAR_NS)
        delivery = asyncio.create_task(work)
        await asyncio.sleep(1)
        delivery.cancel()
        await asyncio.wait([delivery])
        assert delivery.cancelled()
        del work, delivery
        gc.collect()
        assert not errors

    tell(story)


def test_messages_signed_together_keep_the_bound_of_the_link() -> None:
    async def story(world: World, slow: SlowHsm) -> None:
        slow.mac_s = [1.0]
        world.bank.silent.add("0200")
        results = await asyncio.gather(*(ask(world) for _ in range(5)), return_exceptions=True)
        assert [str(error) for error in results].count("in_flight_max") == 3
        assert len(world.bank.seen("0200")) == 2

    tell(story, in_flight_max=2)


def test_a_vault_away_means_not_sent_and_not_counted() -> None:
    async def story(world: World, slow: SlowHsm) -> None:
        slow.failing = True
        with pytest.raises(NotSentError, match="vault"):
            await ask(world)
        slow.failing = False
        world.bank.delay_s = 1.0
        request = asking(world)
        await asyncio.sleep(0.5)
        slow.failing = True
        await asyncio.sleep(2)
        assert world.iso.counters.mac_failed == 1
        slow.failing = False
        world.bank.connections[0].send(world.bank.answer(world.bank.received[-1]))
        assert (await request).response_code == "00"

    tell(story)


@pytest.mark.parametrize("takes_s", [-1.0, 1.0])
def test_an_error_of_ours_while_it_is_signed_is_told_and_gives_its_probe_back(
    takes_s: float,
) -> None:
    """Whoever waits for a link waits until it is told; a probe that is lost keeps a circuit open."""

    async def story(world: World, slow: SlowHsm) -> None:
        world.bank.silent.add("0200")
        with pytest.raises(NoAnswerError, match="timeout"):
            await ask(world)
        await asyncio.sleep(5)
        assert world.iso.health() is Health.PROBING
        slow.mac_s, slow.bug = [takes_s], RuntimeError("a bug")
        for _ in range(3):
            async with asyncio.timeout(30):
                with pytest.raises(NotSentError, match="internal"):
                    await ask(world)
        slow.bug = None
        world.bank.silent.clear()
        assert (await ask(world)).response_code == "00"
        assert world.iso.health() is Health.UP

    tell(story, timeout_s=2.0, circuit_in_row=1, circuit_pause_s=5.0, circuit_probes=1)


@pytest.mark.parametrize("takes_s", [-1.0, 1.0])
def test_an_error_of_ours_while_it_is_verified_costs_only_that_answer(takes_s: float) -> None:
    async def story(world: World, slow: SlowHsm) -> None:
        world.bank.silent.add("0200")
        request = asking(world)
        await asyncio.sleep(0.1)
        slow.verify_s, slow.bug = [takes_s], RuntimeError("a bug")
        (connection,) = world.bank.connections
        connection.send(world.bank.answer(world.bank.received[-1]))
        await asyncio.sleep(3)
        slow.bug = None
        connection.send(world.bank.answer(world.bank.received[-1]))
        assert (await request).response_code == "00"
        assert (world.bank.connections, world.iso.counters.connections_lost) == ([connection], 0)

    tell(story)


def test_more_at_the_vault_than_the_bound_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_keys, "VERIFYING_MAX", 2)

    async def story(world: World, slow: SlowHsm) -> None:
        slow.verify_s = [5.0]
        results = await asyncio.gather(*(ask(world) for _ in range(3)), return_exceptions=True)
        assert [isinstance(each, NoAnswerError) for each in results].count(True) == 1
        assert world.iso.counters.mac_failed == 1

    tell(story)


def test_management_is_signed_and_verified_by_a_slow_vault_too() -> None:
    async def main() -> None:
        world = World(make_link(mac_on_management=True))
        slow = SlowHsm(world.bank.vault)
        slow.mac_s, slow.verify_s = [0.5], [0.5]
        world.iso._frames._hsm = world.iso._frames.mac._hsm = slow

        def sealing(message: Any) -> bytes:
            de = 128 if max(message) > 64 else 64
            covered = world.bank.codec.encode({**message, de: bytes(8)})[:-8]
            return covered + world.bank.vault.mac(world.bank.zak, world.link.mac_algorithm, covered)

        world.bank.sealed = sealing  # type: ignore[method-assign]
        async with world:
            await asyncio.sleep(1)
            assert world.iso.ready
            (connection,) = world.bank.connections
            connection.send({0: "0800", 7: "0301120000", 11: "000009", 70: "002"})
            connection.send({0: "0800", 7: "0301120000", 11: "000010", 70: "002"})
            await asyncio.sleep(0.7)
            world.bank.drop()  # while the answers are being signed
            await asyncio.sleep(10)
            assert world.iso.ready
            assert len(world.bank.asked("001")) == 2

    with capture_logs():
        run_virtual(main())
