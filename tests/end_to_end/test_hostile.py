"""Hostile and broken clients on the terminals' port, while honest terminals trade (P7, P8).

Goal: every abuse costs its own connection at most, gets the right refusal or is closed, is counted in
/metrics, and is never an error of our own; honest terminals see the same answers at about the same
pace, and memory stays bounded. Method: one real node for the whole file; each kind of abuse alone,
with what it must meet, then all of them at once beside a fleet whose latency is compared with that of
quiet runs just before and after. The last test balances the books of everything.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import resource
import socket
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from hsm import mac
from iso8583.codec import codec_for
from iso8583.framing import POS, Frame, build
from iso8583.mti import is_response
from terminals.simulator.card import BANK_A, card_pools
from terminals.simulator.terminal import Terminal
from tests.end_to_end.day import quiet, trade
from tests.end_to_end.node import Hosts, Node, banks, furnish, running, terminal_options
from tests.end_to_end.wire import (
    Wire,
    echo_request,
    framed,
    metrics,
    resident_bytes,
    total,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from iso8583.message import Message
    from terminals.simulator.fleet import FleetResult
    from terminals.simulator.terminal import Outcome
    from tests.loop_thread import LoopThread

pytestmark = pytest.mark.xdist_group("end_to_end_2")

HONEST = 6  # terminals 0 to 5 trade as a fleet; each abuse that needs a real one has its own
UNDER_ATTACK, BAD_MAC, DRIP, PATIENT, FLOODED, MUTANT, SPLIT, MAD = range(HONEST, HONEST + 8)
TERMINALS = HONEST + 8
FRAME_S = 2.0
SIGN_ONS = 5
BOUNDS = f"""
[server]
frame_s = {FRAME_S}
in_flight_per_connection = 16
write_buffer_bytes = 16_384
[rules]
sign_ons = {SIGN_ONS}
sign_on_window_s = 600
"""
IDLE = 2_000
SLOWER_AT_MOST = 10  # half of the honest terminals' answers under attack, against the quiet run
RSS_GROWTH_BYTES = 32 * 1024 * 1024  # of one worker, over everything in this file
COUNTED_WITHIN_LOOKS = 300  # of 0.2 s: workers tell the supervisor every second
NOISE = random.Random(1987)
CARDS = card_pools(BANK_A).sound


class Stage:
    """The node and its banks, furnished once for all tests of this file."""

    def __init__(self, node: Node, loop: LoopThread, hosts: Hosts) -> None:
        self.node = node
        self.run = loop.run
        self.hosts = hosts
        self.rss = {pid: resident_bytes(pid) for pid in node.workers}
        self._first_trace = 1
        self.refusals: Counter[str] = Counter()  # expected in /metrics so far
        self.effect_minor = 0  # what all terminals say was captured

    def wire(self) -> Wire:
        return Wire(self.node.address)

    def terminal(self, index: int) -> Terminal:
        """One of them, switched on again: its traces go on where the former ones did not reach."""
        self._first_trace += 1_000
        options = msgspec.structs.replace(terminal_options(index), first_trace=self._first_trace)
        return Terminal(options, f"{index:04X}")

    async def signed_on(self, wire: Wire, index: int) -> Terminal:
        terminal = self.terminal(index)
        outcome = await wire.ask(terminal, terminal.sign_on())
        assert outcome.state == "approved", outcome
        return terminal

    async def buys(self, wire: Wire, terminal: Terminal) -> Outcome:
        outcome = await wire.ask(terminal, terminal.purchase(CARDS[0], 1_00, pin=CARDS[0].pin))
        self.effect_minor += terminal.slips[-1].effect_minor
        return outcome

    async def fleet(self, transactions: int) -> FleetResult:
        result = await trade(self.node, HONEST, transactions)
        assert not result.surprises, (result.surprises, result.counts)
        assert not result.undecided
        assert not result.gave_up
        assert set(result.settlements) == {"balanced"}, result.settlements
        self.effect_minor += result.effect_minor
        return result

    def expect(self, refusals: int, response_code: str) -> None:
        """So many more are to be counted; looked at once, for /metrics is a second behind."""
        self.refusals[response_code] += refusals

    async def counted(self, name: str, at_least: float, **labels: str) -> None:
        """Wait until /metrics has it."""
        for _ in range(COUNTED_WITHIN_LOOKS):
            if total(metrics(self.node), name, **labels) >= at_least:
                return
            await asyncio.sleep(0.2)
        raise AssertionError(f"{name} {labels} is not {at_least}")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("hostile")
    with banks() as (loop, hosts), running(folder, more=BOUNDS) as node:
        loop.run(furnish(node, hosts, TERMINALS))
        yield Stage(node, loop, hosts)
        assert node.stop() == 0, node.log()


ADDRESS = bytes.fromhex("6000030099"), bytes.fromhex("603100310000")  # TPDU, header
NOBODY = framed(echo_request("M" + "9" * 14, "T9999999"))
TINY = bytes.fromhex("000C 6000030099 603100310000 08")


# -- bytes that are no frames -------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(bytes.fromhex("FFFF"), id="longer than any frame"),
        pytest.param(bytes.fromhex("0FFF"), id="a byte longer than any frame"),
        pytest.param(bytes.fromhex("0000"), id="nothing"),
        pytest.param(bytes.fromhex("000B") + bytes(11), id="no message"),
        pytest.param(b"\xff" + NOISE.randbytes(65_535), id="64 KiB of noise"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", id="a web browser"),
    ],
)
def test_what_can_be_no_frame_is_closed(stage: Stage, data: bytes) -> None:
    async def scenario() -> None:
        stage.expect(1, "closed")
        async with stage.wire() as wire:
            wire.send(data)
            assert await wire.closed()

    stage.run(scenario())


def test_a_frame_cut_short_by_the_end_of_its_connection(stage: Stage) -> None:
    async def scenario() -> None:
        stage.expect(2, "closed")
        async with stage.wire() as wire:
            wire.send(NOBODY[:-1])
            wire.writer.write_eof()
            assert await wire.closed()
        async with stage.wire() as wire:
            wire.send(NOBODY[:30])

    stage.run(scenario())


def test_frames_without_a_readable_sender_are_closed_after_three(stage: Stage) -> None:
    async def scenario() -> None:
        stage.expect(3, "closed")
        async with stage.wire() as wire:
            wire.send(TINY * 4_000)
            assert await wire.closed()

    stage.run(scenario())


def test_one_byte_at_a_time_is_closed_in_the_end(stage: Stage) -> None:
    async def scenario() -> None:
        stage.expect(1, "closed")
        async with stage.wire() as wire:
            terminal = await stage.signed_on(wire, DRIP)
            begun_s = asyncio.get_running_loop().time()
            request = terminal.echo()
            for byte in request.frame[:-1]:
                wire.send(bytes([byte]))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(FRAME_S / 8):
                        assert await wire.closed()
                        break
            else:
                raise AssertionError("not closed")
            assert asyncio.get_running_loop().time() - begun_s >= FRAME_S

    stage.run(scenario())


# -- frames of nobody, or of somebody else ------------------------------------------------------


def test_an_unknown_terminal_is_told_97_unsigned(stage: Stage) -> None:
    async def scenario() -> None:
        stage.expect(1, "97")
        async with stage.wire() as wire:
            wire.send(NOBODY)
            answer = await wire.message()
            assert (answer[0], answer[39], answer[11]) == ("0830", "97", "000001")
            assert 64 not in answer
            assert {12, 13, 37, 41, 42} <= set(answer)

    stage.run(scenario())


def test_a_body_that_does_not_decode_is_told_30(stage: Stage) -> None:
    """DE 41 and 42 can be read, DE 49 behind them can not."""

    async def scenario() -> None:
        options = terminal_options(UNDER_ATTACK)
        message: Message = {
            0: "0200", 3: "000000", 4: "000000000100", 11: "000001", 22: "022", 25: "00",
            41: options.terminal, 42: options.merchant, 49: "156", 60: "22000001",
        }  # fmt: skip
        data = framed(message)
        at = data.rindex(b"156")
        stage.expect(1, "30")
        async with stage.wire() as wire:
            wire.send(data[:at] + b"\0\0\0" + data[at + 3 :])
            answer = await wire.message()
            assert (answer[0], answer[39], answer[42]) == ("0210", "30", options.merchant)

    stage.run(scenario())


def test_a_bad_mac_is_told_a0_and_does_not_use_up_its_trace(stage: Stage) -> None:
    async def scenario() -> None:
        stage.expect(2, "A0")
        async with stage.wire() as wire:
            terminal = await stage.signed_on(wire, BAD_MAC)
            request = terminal.purchase(CARDS[0], 1_00, pin=CARDS[0].pin)
            for _ in range(2):
                wire.send(request.frame[:-1] + bytes([request.frame[-1] ^ 1]))
                answer = await wire.message()
                assert (answer[39], 64 in answer) == ("A0", False)
            outcome = await wire.ask(terminal, request)  # the same trace, with the right MAC
            assert outcome.state == "approved", outcome
            stage.effect_minor += terminal.slips[-1].effect_minor

    stage.run(scenario())


def test_answers_from_a_terminal_are_told_40_and_end_the_line(stage: Stage) -> None:
    async def scenario() -> None:
        options = terminal_options(UNDER_ATTACK)
        stage.expect(3, "40")
        async with stage.wire() as wire:
            answer = {**echo_request(options.merchant, options.terminal), 0: "0830", 39: "00"}
            for _ in range(3):
                wire.send(framed(answer))
                told = await wire.message()
                assert (told[0], told[39]) == ("0830", "40")
            assert await wire.closed()

    stage.run(scenario())


@pytest.mark.parametrize("mti", ["0600", "0920", "0420", "0100"])
def test_types_that_are_not_served_are_told_40(stage: Stage, mti: str) -> None:
    """Money types say so only to a terminal that has shown itself: before, 30 or 77."""

    async def scenario() -> None:
        options = terminal_options(UNDER_ATTACK)
        async with stage.wire() as wire:
            wire.send(framed({**echo_request(options.merchant, options.terminal), 0: mti}))
            answer = await wire.message()
            assert answer[39] == ("30" if mti[1] in "126" else "40")

    stage.run(scenario())


def test_a_sign_on_flood_is_bounded_and_leaves_the_keys_in_use(stage: Stage) -> None:
    """The real terminal trades on under its keys, whatever others ask for in its name."""

    async def scenario() -> None:
        async with stage.wire() as honest:
            terminal = await stage.signed_on(honest, FLOODED)
            assert (await stage.buys(honest, terminal)).state == "approved"
            codes: list[str] = []
            for _ in range(30):  # on both workers
                async with stage.wire() as wire:
                    other = stage.terminal(FLOODED)
                    codes.append((await wire.ask(other, other.sign_on())).response_code)
            workers = len(stage.node.workers)
            assert set(codes) == {"00", "65"}
            assert codes.count("00") < SIGN_ONS * workers
            assert (await stage.buys(honest, terminal)).state == "approved"

            await stage.counted("tongbao_managements_total", 15, rule="sign_on.rate")

    stage.run(scenario())


# -- frames in order, connections that are not --------------------------------------------------


def test_frames_in_any_split(stage: Stage) -> None:
    async def scenario() -> None:
        async with stage.wire() as wire:
            terminal = await stage.signed_on(wire, SPLIT)
            for size in (1, 2, 3, 7, 64, 10_000):
                request = terminal.purchase(CARDS[1], 1_00, pin=CARDS[1].pin)
                for at in range(0, len(request.frame), size):
                    wire.send(request.frame[at : at + size])
                    await wire.writer.drain()
                    await asyncio.sleep(0)
                outcome = terminal.answer(await wire.frame())
                assert outcome.state == "approved", outcome
                stage.effect_minor += terminal.slips[-1].effect_minor

    stage.run(scenario())


def test_a_half_closed_connection_gets_its_answers(stage: Stage) -> None:
    async def scenario() -> None:
        async with stage.wire() as wire:
            terminal = await stage.signed_on(wire, SPLIT)
            request = terminal.purchase(CARDS[2], 1_00, pin=CARDS[2].pin)
            options = terminal.options
            echoes = [
                framed(echo_request(options.merchant, options.terminal, at)) for at in range(40)
            ]
            wire.send(b"".join(echoes) + request.frame)
            wire.writer.write_eof()
            answers = [await wire.frame() for _ in range(41)]
            assert await wire.closed()
            (mine,) = [frame for frame in answers if terminal.expects(frame)]
            assert terminal.answer(mine).state == "approved"
            stage.effect_minor += terminal.slips[-1].effect_minor

    stage.run(scenario())


def test_thousands_of_requests_on_one_line_are_all_answered(stage: Stage) -> None:
    """Far more than the bound of a connection: it is read as they finish."""

    async def scenario() -> None:
        options = terminal_options(UNDER_ATTACK)
        async with stage.wire() as wire:
            wire.send(
                b"".join(
                    framed(echo_request(options.merchant, options.terminal, at))
                    for at in range(2_000)
                )
            )
            traces = {str((await wire.message())[11]) for _ in range(2_000)}
            assert len(traces) == 2_000

    stage.run(scenario())


def test_a_peer_that_reads_no_answers_is_cut_off(stage: Stage) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        stage.expect(1, "closed")
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            deaf.setblocking(False)
            await loop.sock_connect(deaf, stage.node.address)
            with pytest.raises((ConnectionResetError, BrokenPipeError)):  # noqa: PT012
                async with asyncio.timeout(60):
                    while True:
                        await loop.sock_sendall(deaf, NOBODY * 200)

    stage.run(scenario())


# -- mutations ----------------------------------------------------------------------------------


def mutated(dice: random.Random, data: bytes) -> bytes:
    """A frame with something wrong in its message, its length right more often than not."""
    body = bytearray(data[2:])
    for _ in range(dice.choice((1, 1, 1, 2, 5))):
        at = dice.randrange(11, len(body))
        match dice.randrange(6):
            case 0:
                body[at] ^= 1 << dice.randrange(8)
            case 1:
                body[at] = dice.choice((0x00, 0x0A, 0x20, 0x99, 0xB2, 0xFF))
            case 2:
                del body[at : at + dice.randrange(1, 9)]
            case 3:
                body[at:at] = dice.randbytes(dice.randrange(1, 9))
            case 4:
                body[11 + dice.randrange(10)] ^= 1 << dice.randrange(8)  # MTI, bitmap
            case 5:
                del body[at:]
        if len(body) <= 22:
            body += bytes(22)
    length = len(body) + (dice.choice((-3, 4, 300)) if dice.random() < 0.03 else 0)
    return length.to_bytes(2, "big") + bytes(body)


async def throw(stage: Stage, frames: list[bytes]) -> list[Message]:
    """Each on a line of its own that is closed behind it: what comes back."""
    answers: list[Message] = []
    for data in frames:
        async with stage.wire() as wire:
            wire.send(data)
            wire.writer.write_eof()
            with contextlib.suppress(EOFError, ConnectionResetError):
                while True:
                    answers.append(await wire.message())
    return answers


def test_mutations_of_valid_frames(stage: Stage) -> None:
    """Whatever is changed under the MAC moves no money, and breaks nothing."""

    async def scenario() -> None:
        dice = random.Random(8583)
        async with stage.wire() as wire:
            terminal = await stage.signed_on(wire, MUTANT)
            assert (await stage.buys(wire, terminal)).state == "approved"
            pristine = [
                stage.terminal(MUTANT).sign_on().frame,
                terminal.purchase(CARDS[3], 1_00, pin=CARDS[3].pin).frame,
            ]
            terminal.no_answer()
            pristine.append(terminal.reversal().frame)
            terminal.no_answer()
            lots = [[mutated(dice, dice.choice(pristine)) for _ in range(90)] for _ in range(4)]
            answers = [
                answer
                for lot in await asyncio.gather(*(throw(stage, lot) for lot in lots))
                for answer in lot
            ]
            codes = {str(answer[39]) for answer in answers}
            assert {"30", "97", "A0"} <= codes, codes
            signed = [a for a in answers if a[0] in ("0210", "0410", "0230") and 64 in a]
            assert not {str(a[39]) for a in signed} & {"00", "96"}, signed
            assert all(is_response(str(answer[0])) for answer in answers)
            # the slot: it was never sent whole, so there is nothing to reverse
            outcome = await wire.ask(terminal, terminal.reversal())
            assert outcome.response_code in ("00", "25"), outcome

    stage.run(scenario())


# Values that the dialect can write, and sense can not be made of.
NONSENSE: dict[int, tuple[str | bytes, ...]] = {
    2: ("", "4", "6220000000000000041", "9" * 19), 3: ("310000", "200000", "999999"),
    4: ("000000000000", "999999999999"), 14: ("0000", "9999"), 22: ("051", "999"), 25: ("06", "99"),
    35: ("=", "1=", "6220000000000000040", "99999999999999=9999"), 37: (" " * 12, "606300000001"),
    38: (" " * 6,), 39: ("98", "ZZ"), 48: ("", "99", "1" * 322), 49: ("840", "ABC"),
    52: (bytes(8), b"\xff" * 8), 54: ("x",), 55: (b"", b"\x9f", b"\x9f\x26\xff", bytes(255)),
    60: ("22", "25000001", "22000000", "9" * 17, "00000001003", "00000001201", "00000001207"),
    61: ("1", "000001000001", "0000010000010305", "9" * 29), 62: (bytes(3),), 63: ("CUP",),
}  # fmt: skip
MAD_MTIS = ("0200", "0201", "0220", "0400", "0401", "0100", "0320", "0500", "0820", "0620", "0420")


def nonsense(dice: random.Random, terminal: Terminal) -> bytes:
    """A message of any type with any elements, under the right MAC."""
    options = terminal.options
    message: Message = {
        0: dice.choice(MAD_MTIS), 2: "6220000000000000040", 3: "000000", 4: "000000000100",
        11: f"{dice.randrange(1, 40):06}", 22: "012", 25: "00", 41: options.terminal,
        42: options.merchant, 49: "156", 60: "22000001", 64: bytes(8),
    }  # fmt: skip
    for de in dice.sample((2, 3, 4, 22, 25, 49, 60), dice.choice((0, 0, 0, 1, 2))):
        del message[de]
    for de in dice.sample(sorted(NONSENSE), dice.randrange(5)):
        message[de] = dice.choice(NONSENSE[de])
    covered = codec_for("unionpay_pos").encode(dict(sorted(message.items())))[:-8]
    return covered + mac.compute(options.mac_profile, terminal._mak, covered)


def test_nonsense_under_the_right_mac_is_answered(stage: Stage) -> None:
    """One that holds the keys and has gone mad; that none of it is an error of ours is seen below."""

    async def scenario() -> None:
        dice = random.Random(1993)
        async with stage.wire() as wire:
            terminal = await stage.signed_on(wire, MAD)
            codes: set[str] = set()
            for _ in range(30):
                lot = [nonsense(dice, terminal) for _ in range(15)]
                wire.send(b"".join(build(Frame(*ADDRESS, body), POS) for body in lot))
                codes |= {str((await wire.message()).get(39, "")) for _ in lot}
            assert {"00", "12", "14", "25", "30", "40", "94"} <= codes, codes
            assert not codes & {"96", "98", "A0"}, codes

    stage.run(scenario())


def test_all_of_it_was_counted(stage: Stage) -> None:
    async def scenario() -> None:
        for code, refusals in stage.refusals.items():
            await stage.counted("tongbao_refusals_total", refusals, response_code=code)

    stage.run(scenario())


# -- all at once --------------------------------------------------------------------------------


async def for_ever(act: Callable[[], Awaitable[Any]], pause_s: float) -> None:
    while True:
        with contextlib.suppress(OSError, EOFError, TimeoutError):
            await act()
        await asyncio.sleep(pause_s)


def test_honest_terminals_trade_on(stage: Stage) -> None:
    """Between two quiet runs one with every abuse at once: same answers, about the same pace.

    Others may load the machine in the one and not in the others: then once more.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 16_384), hard))

    async def scenario() -> None:
        paces = []
        for _ in range(5):
            paces.append(await pace())
            quiet_ms, loud_ms = paces[-1]
            if loud_ms <= SLOWER_AT_MOST * quiet_ms:
                return
        raise AssertionError(paces)

    async def pace() -> tuple[float, float]:
        """Of half of the answers, in ms: undisturbed, and under attack."""
        before = await stage.fleet(60)
        idle = [socket.create_connection(stage.node.address) for _ in range(IDLE)]
        attacks = [asyncio.create_task(for_ever(act, pause_s)) for act, pause_s in abuses(stage)]
        try:
            during = await stage.fleet(120)
            assert not [task for task in attacks if task.done()], attacks
        finally:
            for task in attacks:
                task.cancel()
            await asyncio.gather(*attacks, return_exceptions=True)
            still_open = 0
            for one in idle:
                one.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    assert one.recv(1) == b"never"
                still_open += 1
                one.close()
        assert still_open == IDLE
        assert sum(sum(codes.values()) for codes in during.counts.values()) >= 120
        after = await stage.fleet(60)
        quiet_ms = max(run.latency["purchase"].p50_ms for run in (before, after))
        return quiet_ms, during.latency["purchase"].p50_ms

    try:
        stage.run(scenario())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def abuses(stage: Stage) -> list[tuple[Callable[[], Awaitable[Any]], float]]:
    """What to do again and again, and the pause between."""
    dice = random.Random(64)
    options = terminal_options(UNDER_ATTACK)
    unsigned: Message = {
        0: "0200", 2: CARDS[0].pan, 3: "000000", 4: "000000000100", 11: "000001", 22: "012",
        25: "00", 41: options.terminal, 42: options.merchant, 49: "156", 60: "22000001",
        64: b"00000000",
    }  # fmt: skip
    bad = framed(unsigned)

    async def say(data: bytes, linger_s: float = 0.0) -> None:
        async with stage.wire() as wire:
            wire.send(data)
            await wire.writer.drain()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(linger_s or 0.2):
                    await wire.closed()

    async def ask(data: bytes, count: int) -> None:
        async with stage.wire() as wire:
            wire.send(data * count)
            for _ in range(count):
                await wire.frame()

    async def drip() -> None:
        async with stage.wire() as wire:
            for byte in NOBODY[:-1]:
                wire.send(bytes([byte]))
                await asyncio.sleep(1.0)

    return [
        (lambda: say(dice.randbytes(65_536)), 0.05),
        (lambda: say(NOBODY[: dice.randrange(1, len(NOBODY))]), 0.02),
        (lambda: say(bytes.fromhex("FFFF")), 0.02),
        (lambda: say(TINY * 4_000), 0.1),
        (lambda: say(mutated(dice, NOBODY)), 0.02),
        (lambda: say(NOBODY * 500), 0.3),
        (lambda: ask(NOBODY, 20), 0.05),
        (lambda: ask(bad, 20), 0.1),
        (drip, 0.0),
    ]


# -- the end ------------------------------------------------------------------------------------


def test_nothing_of_it_was_an_error_and_the_books_balance(stage: Stage) -> None:
    async def scenario() -> None:
        await quiet(stage.node)
        captures = await stage.node.query("SELECT sum(effect_minor) AS sum FROM switch.capture_v1")
        mad = await stage.node.query(
            "SELECT sum(effect_minor) AS sum FROM switch.capture_v1 WHERE terminal = $1",
            terminal_options(MAD).terminal,
        )
        assert captures[0]["sum"] - (mad[0]["sum"] or 0) == stage.effect_minor
        assert captures[0]["sum"] == sum(b.report().standing_minor for b in stage.hosts.banks)
        await asyncio.sleep(1.5)

    stage.run(scenario())
    numbers = metrics(stage.node)
    assert total(numbers, "tongbao_failures_total") == 0, numbers
    assert set(stage.node.workers) == set(stage.rss), "a worker died"
    for pid, before in stage.rss.items():
        grown = resident_bytes(pid) - before
        assert grown < RSS_GROWTH_BYTES, f"worker grew by {grown >> 20} MiB"
