"""Sending a link a new key: what is next, and the sender against a host of a test's script, in virtual time.

The store is the one in memory, shared by two workers where a test has two; keys are made by the real
vault. The host takes keys, refuses them, or its answers are lost.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, strategies as st
from structlog.testing import capture_logs

from hsm.adapters.local import LocalHsm
from hsm.keys import KeyUsage
from hsm.lmk import TEST_LMK
from hsm.local import LocalVault
from switch import key_exchange
from switch.acquirers.link_connection import Counters
from switch.acquirers.ports import NoAnswerError, NotSentError
from switch.adapters.memory import MemoryStore
from switch.key_exchange import TRIES, KeySender, Step, next_step
from switch.reference import Snapshot
from switch.store_ports import KeyExchange, KeyFact
from switch.virtual.loop import run_virtual
from terminals.registry import StoredKey
from tests.switch.acquirers.wire import EPOCH, VirtualClock, make_link

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

OWNER = "link:bank_a"


def exchange(*facts: str, age_s: float = 0.0) -> KeyExchange:
    told = tuple(KeyFact(fact, 2, "", EPOCH) for fact in facts)
    return KeyExchange(1, "bank_a", "ZAK", "ann", EPOCH, told, age_s)


@pytest.mark.parametrize(
    ("facts", "age_s", "step"),
    [
        ((), 0.0, Step.MAKE),
        (("made", "sent"), -1_800.0, Step.SEND),  # the store's clock was set back
        (("made",), 0.0, Step.SEND),
        (("made", "sent"), 0.0, Step.WAIT),
        (("made", "sent"), 11.9, Step.WAIT),
        (("made", "sent"), 12.0, Step.SEND),
        (("made", "sent", "sent"), 13.9, Step.WAIT),
        (("made", "sent", "sent"), 14.0, Step.SEND),
        (("made", *["sent"] * (TRIES - 1)), 70.0, Step.SEND),
        (("made", *["sent"] * TRIES), 69.9, Step.WAIT),
        (("made", *["sent"] * TRIES), 70.0, Step.GIVE_UP),
    ],
)
def test_what_is_next(facts: tuple[str, ...], age_s: float, step: Step) -> None:
    assert next_step(exchange(*facts, age_s=age_s), 10.0) is step


@given(st.integers(1, TRIES), st.floats(0, 1_000, allow_nan=False), st.floats(0.1, 30))
def test_nobody_sends_while_an_answer_may_come(sends: int, age_s: float, timeout_s: float) -> None:
    step = next_step(exchange("made", *["sent"] * sends, age_s=age_s), timeout_s)
    assert step is Step.WAIT or age_s >= timeout_s


class Host:
    """A link as `KeySender` sees it; `answers`: DE 39, or "" where the 0810 is lost."""

    name = "bank_a"

    def __init__(self, world: Desk, **settings: Any) -> None:
        self.link = make_link(**settings)
        self.key_form = self.link.key_form
        self.counters = Counters()
        self.signed_on = True
        self.answers: list[str] = []
        self.sent: list[str] = []
        self.reloads = 0
        self._world = world
        self.waiting: Callable[[StoredKey], None] = lambda _key: None

    def on_waiting_key(self, told: Callable[[StoredKey], None]) -> None:
        self.waiting = told

    async def reload_keys(self) -> None:
        self.reloads += 1
        await self._world.look()

    async def change_key(self, content: str) -> str:
        self.sent.append(content)
        answer = self.answers.pop(0) if self.answers else "00"
        if answer == "not sent":
            raise NotSentError("link_down")
        await asyncio.sleep(0.1)
        if not answer:
            await asyncio.sleep(9.9)
            raise NoAnswerError("timeout")
        return answer


class Desk:
    def __init__(self) -> None:
        self.store = MemoryStore(VirtualClock())
        self.vault = LocalVault(TEST_LMK, random.Random(3).randbytes)
        self.snapshot = Snapshot(0)
        self.senders: list[KeySender] = []

    def host(self, **settings: Any) -> Host:
        host: Any = Host(self, **settings)
        sender = KeySender(
            host,
            store=self.store.key_exchanges,
            hsm=LocalHsm(self.vault),
            reference=lambda: self.snapshot,
        )
        self.senders.append(sender)
        return host  # type: ignore[no-any-return]

    async def look(self) -> None:
        self.snapshot = await self.store.reference.snapshot()

    async def looks(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(0.5)

    async def prepare(self) -> None:
        for usage in (KeyUsage.ZMK, KeyUsage.ZPK, KeyUsage.ZAK):
            key = self.vault.generate_key(usage, 16)
            await self.store.reference.add_key(
                StoredKey(
                    owner=OWNER, usage=usage.value, version=0, block=key.block,
                    check_value=key.check_value, lmk_id=key.lmk_id,
                )
            )  # fmt: skip
        await self.look()

    async def ask(self, usage: str = "ZAK") -> None:
        assert await self.store.key_exchanges.ask("bank_a", usage, "ann") is not None

    def states(self) -> list[str]:
        return [one.state for one in self.store.exchange_rows.values()]

    def newest(self, usage: str = "ZAK") -> int:
        key = self.snapshot.key(OWNER, usage)
        assert key is not None
        return key.version


def tell(story: Callable[[Desk], Awaitable[None]]) -> list[Any]:
    async def main() -> None:
        desk = Desk()
        await desk.prepare()
        looking = asyncio.create_task(desk.looks())
        try:
            await story(desk)
        finally:
            looking.cancel()
            for sender in desk.senders:
                await sender.stop()

    with capture_logs() as logs:
        run_virtual(main())
    return logs


async def started(desk: Desk, **settings: Any) -> Host:
    host = desk.host(**settings)
    await desk.senders[-1].start()
    return host


@pytest.mark.parametrize("usage", ["ZPK", "ZAK"])
@pytest.mark.parametrize("form", ["tr31", "hex"])
def test_a_key_is_made_sent_and_in_force_once_it_is_answered(usage: str, form: str) -> None:
    async def story(desk: Desk) -> None:
        host = await started(desk, key_form=form)
        await desk.ask(usage)
        await asyncio.sleep(10)
        (content,) = host.sent
        assert content[:3] == usage
        zmk = desk.snapshot.key(OWNER, "ZMK")
        assert zmk is not None
        if form == "hex":
            cryptogram: bytes | str = bytes.fromhex(content[3:-6])
            check_value: str | None = content[-6:]
        else:
            cryptogram, check_value = content[3:], None
        theirs = desk.vault.import_key(
            KeyUsage[usage], zmk.block, cryptogram, check_value=check_value
        )
        ours = desk.snapshot.key(OWNER, usage)
        assert ours is not None
        assert (ours.version, ours.check_value) == (2, theirs.check_value)
        assert desk.states() == ["accepted"]
        assert (host.counters.key_changes, host.reloads) == (1, 1)

    tell(story)


def test_a_lost_answer_has_the_same_key_sent_again() -> None:
    async def story(desk: Desk) -> None:
        host = await started(desk)
        host.answers = ["", "", "00"]
        await desk.ask()
        await asyncio.sleep(12)
        assert (len(host.sent), desk.newest()) == (1, 1)  # the former one signs until it is settled
        assert [one.version for one in desk.snapshot.waiting_keys(OWNER, "ZAK")] == [2]
        await asyncio.sleep(48)
        assert len(host.sent) == 3
        assert len({desk.vault.import_key(KeyUsage.ZAK, _zmk(desk), one[3:]).check_value
                    for one in host.sent}) == 1  # fmt: skip
        assert (desk.states(), desk.newest()) == (["accepted"], 2)

    tell(story)


def _zmk(desk: Desk) -> str:
    zmk = desk.snapshot.key(OWNER, "ZMK")
    assert zmk is not None
    return zmk.block


def test_a_refused_key_ends_and_the_former_one_stays() -> None:
    async def story(desk: Desk) -> None:
        host = await started(desk)
        host.answers = ["05"]
        await desk.ask()
        await asyncio.sleep(30)
        assert (len(host.sent), desk.states(), desk.newest()) == (1, ["refused"], 1)
        assert not desk.snapshot.waiting_keys(OWNER, "ZAK")
        assert host.counters.key_changes_failed == 1

    assert "key_refused" in [each["event"] for each in tell(story)]


def test_a_key_refused_after_an_answer_was_lost_may_have_been_taken() -> None:
    async def story(desk: Desk) -> None:
        host = await started(desk)
        host.answers = ["", "94"]
        await desk.ask()
        await asyncio.sleep(60)
        assert (len(host.sent), desk.states(), desk.newest()) == (2, ["given_up"], 1)
        assert [one.version for one in desk.snapshot.waiting_keys(OWNER, "ZAK")] == [2]  # verifies
        assert host.counters.key_changes_failed == 1

    assert "key_given_up" in [each["event"] for each in tell(story)]


def test_an_answer_under_the_new_key_settles_it() -> None:
    async def story(desk: Desk) -> None:
        host = await started(desk)
        host.answers = [""] * 9
        await desk.ask()
        await asyncio.sleep(5)
        (waiting,) = desk.snapshot.waiting_keys(OWNER, "ZAK")
        host.waiting(waiting)
        await asyncio.sleep(8)
        assert (desk.states(), desk.newest(), len(host.sent)) == (["accepted"], 2, 1)

    tell(story)


def test_a_host_that_never_answers_leaves_it_to_a_person() -> None:
    async def story(desk: Desk) -> None:
        host = await started(desk)
        host.answers = [""] * 99
        await desk.ask()
        await asyncio.sleep(TRIES * 90)
        assert (len(host.sent), desk.states()) == (TRIES, ["given_up"])
        assert [one.version for one in desk.snapshot.waiting_keys(OWNER, "ZAK")] == [2]

    tell(story)


def test_of_two_workers_one_sends() -> None:
    async def story(desk: Desk) -> None:
        hosts = [await started(desk), await started(desk)]
        for host in hosts:
            host.answers = ["", ""]
        await desk.ask()
        await asyncio.sleep(11)
        assert sum(len(host.sent) for host in hosts) == 1
        await asyncio.sleep(60)
        assert sum(len(host.sent) for host in hosts) <= 5
        assert (desk.states(), desk.newest()) == (["accepted"], 2)
        assert len([one for one in desk.store.stored_keys if one.usage == "ZAK"]) == 2

    tell(story)


def test_a_worker_that_dies_leaves_it_to_the_next() -> None:
    async def story(desk: Desk) -> None:
        first = await started(desk)
        first.answers = [""]
        await desk.ask()
        await asyncio.sleep(5)
        assert len(first.sent) == 1
        await desk.senders[0].stop()
        second = await started(desk)
        await asyncio.sleep(30)
        assert len(second.sent) == 1
        assert (desk.states(), desk.newest()) == (["accepted"], 2)

    tell(story)


def test_who_is_not_signed_on_waits() -> None:
    async def story(desk: Desk) -> None:
        host = await started(desk)
        host.signed_on = False
        await desk.ask()
        await asyncio.sleep(10)
        assert desk.states() == ["asked"]
        host.signed_on = True
        await asyncio.sleep(10)
        assert desk.states() == ["accepted"]

    tell(story)


def test_by_schedule() -> None:
    async def story(desk: Desk) -> None:
        host = await started(desk, key_renew_h=1.0)
        await asyncio.sleep(600)
        assert sorted(one[:3] for one in host.sent) == ["ZAK", "ZPK"]
        await asyncio.sleep(3_600)
        assert len(host.sent) == 4
        assert (desk.newest("ZAK"), desk.newest("ZPK")) == (3, 3)

    tell(story)


def test_without_a_zmk_nothing_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(desk: Desk) -> None:
        host = await started(desk)
        desk.store.stored_keys = [
            msgspec.structs.replace(one, status="retired") if one.usage == "ZMK" else one
            for one in desk.store.stored_keys
        ]
        desk.store.generation += 1
        await asyncio.sleep(1)
        await desk.ask()
        await asyncio.sleep(10)
        assert (host.sent, desk.states()) == ([], ["made"])

    monkeypatch.setattr(key_exchange, "LOOK_S", 5.0)
    assert "key_exchange_without_zmk" in [each["event"] for each in tell(story)]
