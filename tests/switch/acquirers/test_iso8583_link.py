"""The multiplexer of a bank link, in virtual time against a bank on a wire in memory.

Each test is one story about what may happen between a request and its answer; time is exact, so
that deadlines are checked to the second. `test_over_tcp` is the same over real sockets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec
import pytest
import structlog
from structlog.testing import capture_logs

from hsm.adapters.local import LocalHsm
from hsm.keys import KeyUsage
from switch.acquirers.ports import Answer, AnswerKind, NoAnswerError, NotSentError
from switch.reference import Link, Snapshot
from switch.virtual.loop import run_virtual
from tests.switch.acquirers.wire import (
    FAR_NS,
    Bank,
    BankConnection,
    MemoryNumbers,
    VirtualClock,
    World,
    answer_to,
    make_key,
    make_link,
)

if TYPE_CHECKING:
    from iso8583.message import Message

Story = Callable[[World], Awaitable[None]]


def tell(story: Story, link: Link | None = None, *, connections: int = 1) -> World:
    async def main() -> World:
        async with World(link, connections=connections) as world:
            await story(world)
            return world

    with capture_logs():
        world, _ = run_virtual(main())
    return world


def loop_time() -> float:
    return asyncio.get_running_loop().time()


async def ask(world: World, **changes: str) -> Answer:
    message, attempt = world.message(**changes)
    return await answer_to(world.iso, message, attempt, FAR_NS)


async def not_answered(world: World, **changes: str) -> float:
    """Seconds until the request was given up as unknown."""
    started = loop_time()
    with pytest.raises(NoAnswerError):
        await ask(world, **changes)
    return loop_time() - started


def test_signs_on_first_and_asks_with_a_mac() -> None:
    async def story(world: World) -> None:
        answer = await ask(world)
        assert answer.kind is AnswerKind.APPROVED
        assert (answer.auth_code, answer.amount_minor) == ("A12345", 100_00)
        assert str(answer.settlement_date) == "2026-03-01"
        assert [m[0] for m in world.bank.received] == ["0800", "0200"]
        assert world.bank.received[0][70] == "001"
        assert world.iso.in_flight == 0

    tell(story)


@pytest.mark.parametrize(
    "link",
    [
        make_link(length="ascii4", length_inclusive=True, header_hex="49534F3031"),
        make_link(dialect="iso1987_ascii_hex", mac_algorithm="x9.19-binary"),
        make_link(mac_algorithm="off"),
        make_link(de33="00000033"),
        make_link(mac_on_management=False, timezone="UTC"),
    ],
)
def test_settings_of_a_link(link: Link) -> None:
    async def story(world: World) -> None:
        assert (await ask(world)).response_code == "00"

    tell(story, link)


def test_a_terminal_dialect_has_no_sign_on_and_matches_by_stan_and_terminal() -> None:
    async def story(world: World) -> None:
        assert world.iso.ready
        message, attempt = world.message()
        for de in (7,):
            del message[de]
        answer = await answer_to(world.iso, message, attempt, FAR_NS)
        assert answer.response_code == "00"
        assert [m[0] for m in world.bank.received] == ["0200"]

    tell(story, make_link(dialect="unionpay_pos"))


def test_before_sign_on_nothing_is_sent() -> None:
    async def story(world: World) -> None:
        assert not world.iso.ready
        with pytest.raises(NotSentError, match="link_down"):
            await ask(world)
        assert not world.bank.seen("0200")

    async def main() -> None:
        world = World()
        world.bank.silent.add("001")
        async with world:
            await story(world)

    with capture_logs():
        run_virtual(main())


def test_no_answer_is_unknown_after_exactly_the_link_timer() -> None:
    async def story(world: World) -> None:
        world.bank.silent.add("0200")
        assert await not_answered(world) == pytest.approx(30)
        assert world.iso.counters.expired == 1

    tell(story)


def test_deadlines_fire_in_order_with_one_timer() -> None:
    async def story(world: World) -> None:
        world.bank.silent.add("0200")
        started = loop_time()

        async def one(delay_s: float) -> float:
            await asyncio.sleep(delay_s)
            await not_answered(world)
            return loop_time() - started - delay_s

        waits = await asyncio.gather(*(one(delay_s) for delay_s in (0, 1, 1, 2.5, 29, 31, 100)))
        assert waits == [pytest.approx(30)] * 7

    tell(story)


def test_send_by_is_checked_right_before_the_write() -> None:
    async def story(world: World) -> None:
        message, attempt = world.message()
        with pytest.raises(NotSentError, match="send_by_passed"):
            await answer_to(world.iso, message, attempt, VirtualClock().monotonic_ns())
        await asyncio.sleep(1)
        assert not world.bank.seen("0200")

    tell(story)


def test_in_flight_is_bounded() -> None:
    async def story(world: World) -> None:
        world.bank.delay_s = 5
        results = await asyncio.gather(*(ask(world) for _ in range(4)), return_exceptions=True)
        refused = [r for r in results if isinstance(r, NotSentError)]
        assert [r.reason for r in refused] == ["in_flight_max"] * 2
        assert sum(isinstance(r, Answer) for r in results) == 2

    tell(story, make_link(in_flight_max=2))


def test_a_full_write_buffer_takes_no_new_request() -> None:
    async def story(world: World) -> None:
        connection = world.iso._pool.ready[0]
        connection.pause_writing()
        with pytest.raises(NotSentError, match="backpressure"):
            await ask(world)
        connection.resume_writing()
        assert (await ask(world)).response_code == "00"

    tell(story)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m | {4: "000000010001"}, "mismatch"),
        (lambda m: m | {4: "000000005000"}, "mismatch"),
        (lambda m: m | {3: "200000"}, "mismatch"),
        (lambda m: m | {41: "10000002"}, "mismatch"),
        (lambda m: m | {49: "840"}, "mismatch"),
        (lambda m: m | {0: "0230"}, "mismatch"),
        (lambda m: {de: v for de, v in m.items() if de != 39}, "mismatch"),
        (lambda m: m | {4: "000000000000", 39: "10"}, "mismatch"),
        (lambda m: m | {4: "000000010000", 39: "10"}, "mismatch"),
    ],
)
def test_an_answer_that_disagrees_is_no_answer(
    change: Callable[[Message], Message], reason: str
) -> None:
    async def story(world: World) -> None:
        world.bank.change = change
        assert await not_answered(world) == pytest.approx(30)
        assert [(a is not None, r) for a, _, r in world.late] == [(True, reason)]

    tell(story)


def test_a_bad_mac_is_no_answer_but_a_good_one_may_follow() -> None:
    async def story(world: World) -> None:
        world.bank.sign = lambda mac: bytes(8)
        assert await not_answered(world) == pytest.approx(30)
        assert [r for _, _, r in world.late] == ["mac"]

        request = asyncio.ensure_future(ask(world))
        await asyncio.sleep(1)
        world.bank.sign = lambda mac: mac
        world.bank.connections[0].send(world.bank.answer(world.bank.received[-1]))
        assert (await request).response_code == "00"

    tell(story)


def test_a_partial_approval_is_less_than_asked() -> None:
    async def story(world: World) -> None:
        world.bank.change = lambda m: m | {4: "000000004000", 39: "10"}
        answer = await ask(world)
        assert (answer.kind, answer.amount_minor) == (AnswerKind.PARTIAL, 40_00)

    tell(story)


def test_a_late_answer_is_handed_over_with_its_attempt() -> None:
    async def story(world: World) -> None:
        world.bank.delay_s = 45
        await not_answered(world)
        await asyncio.sleep(20)
        ((attempt, message, reason),) = world.late
        assert attempt is not None
        assert (attempt.link_stan, message[39], reason) == (message[11], "00", "late")

    tell(story)


def test_an_answer_to_nothing_we_know_is_handed_over_without_attempt() -> None:
    async def story(world: World) -> None:
        await ask(world)
        stray = world.bank.answer(world.bank.received[-1]) | {11: "777777"}
        world.bank.connections[0].send(stray)
        bad = world.bank.answer(world.bank.received[-1]) | {11: "777778"}
        world.bank.sign = lambda mac: bytes(8)
        world.bank.connections[0].send(bad)
        await asyncio.sleep(1)
        assert [(a, m[11], r) for a, m, r in world.late] == [(None, "777777", "late")]
        assert world.iso.counters.mac_failed == 1

    tell(story)


def test_a_dropped_connection_loses_no_answer() -> None:
    """The request waits on; the answer comes on another connection."""

    async def story(world: World) -> None:
        world.bank.delay_s = 5
        request = asyncio.ensure_future(ask(world))
        await asyncio.sleep(1)
        used = world.bank.received_on[-1]
        assert used.transport is not None
        used.transport.close()
        other = next(c for c in world.bank.connections if c is not used)
        world.bank.answer_on = lambda _connection: other
        assert (await request).response_code == "00"

    tell(story, connections=2)


def test_reconnects_with_growing_pauses_and_signs_on_again() -> None:
    async def story(world: World) -> None:
        world.transport.down = True
        world.bank.drop()
        await asyncio.sleep(0.5)
        assert not world.iso.ready
        await asyncio.sleep(60)
        world.transport.down = False
        await asyncio.sleep(31)
        assert world.iso.ready
        assert (await ask(world)).response_code == "00"
        assert len(world.bank.asked("001")) == 2

    tell(story)


def test_requests_share_the_connections() -> None:
    async def story(world: World) -> None:
        await asyncio.gather(*(ask(world) for _ in range(9)))
        used = [c for m, c in zip(world.bank.received, world.bank.received_on, strict=True)
                if m[0] == "0200"]  # fmt: skip
        assert sorted(used.count(c) for c in world.bank.connections) == [3, 3, 3]

    tell(story, connections=3)


def test_echo_after_idle_and_close_after_two_misses() -> None:
    async def story(world: World) -> None:
        await asyncio.sleep(65)
        assert len(world.bank.asked("301")) == 1
        world.bank.silent.update({"301", "001"})
        await asyncio.sleep(55 + 30 + 25)
        assert len(world.bank.asked("301")) == 3
        assert world.iso.ready
        await asyncio.sleep(10)
        assert not world.iso.ready

    tell(story)


def test_a_busy_line_is_not_asked() -> None:
    async def story(world: World) -> None:
        for _ in range(20):
            await ask(world)
            await asyncio.sleep(10)
        assert not world.bank.asked("301")

    tell(story)


def test_a_refused_sign_on_closes_and_is_tried_again() -> None:
    async def main() -> None:
        world = World()
        world.bank.response_codes["0800"] = ["91", "91", "00"]
        async with world:
            assert not world.iso.ready
            await asyncio.sleep(10)
            assert world.iso.ready
            assert len(world.bank.asked("001")) == 3

    with capture_logs():
        run_virtual(main())


def test_sign_on_waits_for_numbers() -> None:
    """A block taken up while the store is slow: the sign-on comes when there is one."""

    async def main() -> None:
        world = World(numbers=MemoryNumbers(delay_s=0.4))
        world.iso._block._size = 1
        async with world:
            world.bank.drop()
            while world.iso.numbers() is not None:
                pass
            await asyncio.sleep(5)
            assert world.iso.ready

    with capture_logs():
        run_virtual(main())


def test_the_host_signs_off_and_on() -> None:
    async def story(world: World) -> None:
        def say(code: str, stan: str) -> None:
            message: Message = {0: "0800", 7: "0301120000", 11: stan, 32: "10200001", 70: code}
            world.bank.connections[0].send(message)

        say("002", "000001")
        await asyncio.sleep(1)
        assert not world.iso.ready
        say("001", "000002")
        await asyncio.sleep(1)
        assert world.iso.ready
        say("201", "000003")
        say("301", "000004")
        say("999", "000005")
        await asyncio.sleep(1)
        assert [(m[0], m[11], m[39]) for m in world.bank.answered_to_us] == [
            ("0810", "000001", "00"),
            ("0810", "000002", "00"),
            ("0810", "000003", "00"),
            ("0810", "000004", "00"),
            ("0810", "000005", "40"),
        ]
        assert world.cutovers == [("201", "")]

    tell(story)


def test_after_the_host_signed_off_we_ask_again() -> None:
    async def story(world: World) -> None:
        world.bank.connections[0].send({0: "0800", 7: "0301120000", 11: "000001", 70: "002"})
        await asyncio.sleep(1)
        assert not world.iso.ready
        await asyncio.sleep(61)
        assert world.iso.ready

    tell(story)


@pytest.mark.parametrize("form", ["key_block", "ecb"])
def test_the_host_changes_the_mac_key(form: str) -> None:
    async def story(world: World) -> None:
        bank = world.bank
        new = bank.vault.generate_key(KeyUsage.ZAK, 16).block
        exported = bank.vault.export_key(new, bank.zmk.block)
        content = exported.key_block if form == "key_block" else (
            exported.ecb_hex + exported.check_value
        )  # fmt: skip
        message: Message = {
            0: "0800",
            7: "0301120000",
            11: "000001",
            48: "ZAK" + content,
            70: "101",
        }
        bank.connections[0].send(message)
        await asyncio.sleep(0.1)
        assert bank.answered_to_us[-1][39] == "00"
        assert [key.usage for key in world.stored] == ["ZMK", "ZAK", "ZAK"]

        bank.silent.add(
            "0200"
        )  # signed with the new key already; the bank answers with the old one
        old, bank.zak = bank.zak, new
        request = asyncio.ensure_future(ask(world))
        await asyncio.sleep(1)
        bank.zak = old
        bank.connections[0].send(bank.answer(bank.received[-1]))
        assert (await request).response_code == "00"

        await asyncio.sleep(60)  # … which is void after a minute
        bank.zak = new
        given_up = asyncio.ensure_future(not_answered(world))
        await asyncio.sleep(1)
        bank.zak = old
        bank.connections[0].send(bank.answer(bank.received[-1]))
        assert await given_up == pytest.approx(30)

    tell(story)


@pytest.mark.parametrize(
    ("content", "code"),
    [("ZAK" + "0" * 38, "30"), ("ZPKgarbage", "30"), ("TMK123", "30"), ("ZAK", "30")],
)
def test_a_key_that_can_not_be_is_refused(content: str, code: str) -> None:
    async def story(world: World) -> None:
        message: Message = {0: "0800", 7: "0301120000", 11: "000001", 48: content, 70: "101"}
        world.bank.connections[0].send(message)
        await asyncio.sleep(0.1)
        assert world.bank.answered_to_us[-1][39] == code
        assert len(world.stored) == 2

    tell(story)


def test_a_key_another_process_took_is_looked_up_before_a_mac_is_called_wrong() -> None:
    async def story(world: World) -> None:
        world.bank.silent.add("0200")
        request = asyncio.ensure_future(ask(world))
        await asyncio.sleep(1)
        world.bank.zak = world.bank.vault.generate_key(KeyUsage.ZAK, 16).block
        world.stored.append(make_key("ZAK", world.bank.zak, 2))
        world.bank.connections[0].send(world.bank.answer(world.bank.received[-1]))
        assert (await request).response_code == "00"

    tell(story)


def test_management_with_a_mac_where_the_link_says_so() -> None:
    class Signing(Bank):
        def sealed(self, message: Message) -> bytes:
            de = 128 if max(message) > 64 else 64
            covered = self.codec.encode({**message, de: bytes(8)})[:-8]
            return covered + self.sign(self.vault.mac(self.zak, self.link.mac_algorithm, covered))

    async def main() -> None:
        world = World(make_link(mac_on_management=True))
        signing = Signing(world.link)
        signing.vault, signing.zak = world.bank.vault, world.bank.zak
        world.bank = world.transport.bank = signing
        async with world:
            assert world.iso.ready
            signing.sign = lambda mac: bytes(8)
            signing.connections[0].send({0: "0800", 7: "0301120000", 11: "000009", 70: "002"})
            await asyncio.sleep(1)
            assert world.iso.ready
            assert signing.answered_to_us[-1][39] == "A0"

    with capture_logs():
        run_virtual(main())


def test_no_key_means_nothing_sent() -> None:
    async def story(world: World) -> None:
        world.snapshot = Snapshot(2, [], [])
        world.iso._frames.mac._current = None
        with pytest.raises(NotSentError, match="vault"):
            await ask(world)

    tell(story)


def test_what_can_not_be_written_is_not_sent() -> None:
    async def story(world: World) -> None:
        with pytest.raises(NotSentError, match="encode"):
            await ask(world, de_4="12")

    tell(story)


def test_garbage_disturbs_nobody() -> None:
    async def story(world: World) -> None:
        world.bank.delay_s = 5
        request = asyncio.ensure_future(ask(world))
        await asyncio.sleep(1)
        world.bank.connections[0].send_body(b"not a message at all")
        assert (await request).response_code == "00"
        assert world.iso.counters.undecodable == 1
        world.bank.delay_s = 0
        transport = world.bank.connections[0].transport
        assert transport is not None
        transport.write(b"\xff\xff" * 100)  # no frame is that long: the connection is closed
        await asyncio.sleep(0.5)
        assert not world.iso.ready
        await asyncio.sleep(5)
        assert world.iso.ready

    tell(story)


def test_numbers_skip_what_is_in_flight() -> None:
    async def main() -> None:
        world = World(numbers=MemoryNumbers(first=999_990))
        async with world:
            world.bank.silent.add("0200")
            request = asyncio.ensure_future(ask(world))
            await asyncio.sleep(0.1)
            in_flight = str(world.bank.seen("0200")[0][11])
            world.iso._block.lowest += 999_997 - world.iso._block.lowest + int(in_flight) - 1
            world.iso._block._last = world.iso._block.lowest + 100
            taken = [world.iso.numbers() for _ in range(10)]
            assert in_flight not in [pair[0] for pair in taken if pair]
            request.cancel()

    with capture_logs():
        run_virtual(main())


def test_drain_waits_signs_off_and_closes() -> None:
    async def story(world: World) -> None:
        world.bank.delay_s = 5
        request = asyncio.ensure_future(ask(world))
        await asyncio.sleep(1)
        draining = asyncio.ensure_future(world.iso.drain(40))
        await asyncio.sleep(1)
        with pytest.raises(NotSentError, match="draining"):
            await ask(world)
        assert (await request).response_code == "00"
        await draining
        await asyncio.sleep(0.1)
        assert len(world.bank.asked("002")) == 1
        assert not world.bank.connections

    tell(story)


def test_stop_ends_what_is_in_flight_as_unknown() -> None:
    async def story(world: World) -> None:
        world.bank.silent.add("0200")
        request = asyncio.ensure_future(not_answered(world))
        await asyncio.sleep(1)
        await world.iso.stop()
        assert await request == pytest.approx(1)

    tell(story)


def test_an_answer_counts_although_nobody_waits_any_more() -> None:
    async def story(world: World) -> None:
        world.bank.delay_s = 5
        request = asyncio.ensure_future(ask(world))
        await asyncio.sleep(1)
        request.cancel()
        await asyncio.sleep(10)
        assert (world.iso.in_flight, world.iso.counters.answered, world.late) == (0, 1, [])

    tell(story)


class TcpTransport:
    async def connect(
        self, factory: Callable[[], asyncio.Protocol], host: str, port: int
    ) -> asyncio.Transport:
        transport, _ = await asyncio.get_running_loop().create_connection(factory, host, port)
        return transport


@pytest.mark.parametrize("runner", ["asyncio", "uvloop"])
def test_over_tcp(runner: str) -> None:
    async def main() -> None:
        bank = Bank(make_link())
        server = await asyncio.get_running_loop().create_server(
            lambda: BankConnection(bank), "127.0.0.1", 0
        )
        port = server.sockets[0].getsockname()[1]
        link = make_link(host="127.0.0.1", port=port)
        world = World(link, transport=TcpTransport())
        world.bank.vault, world.bank.zak = bank.vault, bank.zak
        world.snapshot = Snapshot(1, [], [make_key("ZAK", bank.zak)])
        world.iso._frames._hsm = world.iso._frames.mac._hsm = LocalHsm(bank.vault)
        await world.iso.start()
        async with asyncio.timeout(10):
            while not world.iso.ready:  # noqa: ASYNC110 - the link tells nobody
                await asyncio.sleep(0.01)
        answers = await asyncio.gather(*(ask(world) for _ in range(200)))
        assert {a.response_code for a in answers} == {"00"}
        bank.silent.add("0200")
        world.iso.change(msgspec.structs.replace(link, timeout_s=0.3))
        with pytest.raises(NoAnswerError):
            await ask(world)
        await world.iso.drain(5)
        assert len(bank.asked("002")) == 1
        server.close()
        await server.wait_closed()

    with capture_logs():
        if runner == "uvloop":
            import uvloop

            uvloop.run(main())
        else:
            asyncio.run(main())


def test_logs_carry_no_card() -> None:
    async def main() -> None:
        async with World() as world:
            world.bank.change = lambda m: m | {4: "000000010001"}
            await not_answered(world)
            world.bank.change = lambda m: m | {11: "888888"}
            await not_answered(world)

    with capture_logs() as logs:
        run_virtual(main())
    assert logs
    assert "6222020000000000004" not in repr(logs)
    structlog.reset_defaults()


def test_without_a_connection_there_are_numbers_and_nothing_is_sent() -> None:
    async def story(world: World) -> None:
        assert not world.iso.ready
        first, second = world.iso.numbers(), world.iso.numbers()
        assert first is not None
        assert first != second
        with pytest.raises(NotSentError, match="link_down"):
            await ask(world)
        assert world.iso.counters.connections_opened == 0
        await world.iso.drain(1.0)

    tell(story, connections=0)


# -- slots and changes ----------------------------------------------------------------------------


def test_a_slot_that_others_want_ends_when_nothing_is_awaited_on_it() -> None:
    async def story(world: World) -> None:
        world.bank.delay_s = 5.0
        asking = [asyncio.create_task(ask(world)) for _ in range(2)]
        await asyncio.sleep(1)
        wanted = world.slots.used[2]
        wanted.end(at_once=False)
        await asyncio.sleep(2)
        assert len(world.bank.connections) == 2
        asking.append(asyncio.create_task(ask(world)))  # not on that one any more
        assert [(await one).response_code for one in asking] == ["00"] * 3
        used = [id(on) for m, on in zip(world.bank.received, world.bank.received_on, strict=True)
                if m[0] == "0200"]  # fmt: skip
        assert len(set(used[:2])) == 2
        assert used[2] in used[:2]
        await asyncio.sleep(12)
        assert len(world.bank.asked("002")) == 1
        assert len(world.bank.connections) == 1
        assert list(world.slots.used) == [1]
        assert (await ask(world)).response_code == "00"

    tell(story, connections=2)


def test_a_slot_that_is_lost_closes_at_once() -> None:
    async def story(world: World) -> None:
        world.bank.silent.add("0200")
        asking = asyncio.create_task(not_answered(world))
        await asyncio.sleep(1)
        world.slots.used[1].end(at_once=True)
        await asyncio.sleep(0.1)
        assert not world.bank.connections
        assert not world.slots.used
        assert not world.bank.asked("002")
        await asyncio.sleep(60)
        assert world.iso.counters.connections_opened == 1
        assert asking.done()

    tell(story)


@pytest.mark.parametrize("at_once", [True, False])
def test_a_slot_that_ends_while_it_is_connected_never_opens(*, at_once: bool) -> None:
    async def story(world: World) -> None:
        world.transport.latency_s = 1.0
        world.bank.drop()
        await asyncio.sleep(1.5)  # the pause of a second, and half of the way
        world.slots.used[1].end(at_once=at_once)
        await asyncio.sleep(5)
        assert not world.bank.connections
        assert not world.slots.used
        assert world.iso.counters.connections_opened == 1

    tell(story)


def test_what_is_given_up_is_free_once_its_connection_has_closed() -> None:
    async def story(world: World) -> None:
        connection = next(iter(world.iso._pool._open.values()))
        await world.iso.drain(1.0)
        await connection.closed.wait()
        await asyncio.sleep(0.01)
        assert not world.slots.used

    tell(story)


def test_settings_change_under_a_link_that_goes_on() -> None:
    async def story(world: World) -> None:
        world.bank.silent.add("0200")
        asking = [asyncio.create_task(not_answered(world))]
        await asyncio.sleep(1)
        changed = msgspec.structs.replace(world.link, timeout_s=10.0, in_flight_max=2)
        world.iso.change(changed)
        asking.append(asyncio.create_task(not_answered(world)))
        await asyncio.sleep(1)
        with pytest.raises(NotSentError, match="in_flight_max"):
            await ask(world)
        assert [await one for one in asking] == [pytest.approx(11), pytest.approx(10)]
        assert len(world.bank.asked("001")) == 1

    tell(story)


def test_more_connections_come_with_a_change() -> None:
    async def story(world: World) -> None:
        assert len(world.bank.connections) == 1
        world.iso.change(msgspec.structs.replace(world.link, max_connections=3))
        await asyncio.sleep(1)
        assert len(world.bank.connections) == 3

    tell(story, make_link(max_connections=1), connections=3)
