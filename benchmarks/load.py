"""The two ends of the switch under load, lean enough not to be what is measured.

    python -m benchmarks.load terminals    a closed loop of terminals
    python -m benchmarks.load bank         a bank that approves everything

Each is one process on uvloop that takes one JSON command a line on stdin and answers one JSON object
a line on stdout; `Process` is the other side of that. Both work on bytes that were encoded once: a
terminal patches amount, trace and MAC of its one purchase in place, the bank cuts the elements that
it echoes out of the request. The first answers of each shape are decoded and checked in full, MACs
included; from then on response code and trace are.
"""

from __future__ import annotations

import asyncio
import json
import select
import subprocess
import sys
import time
from array import array
from binascii import unhexlify
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
import uvloop

from benchmarks import report
from hsm import mac, pin_block
from hsm.ciphers import tdes_ecb_encrypt
from iso8583.codec import Codec, codec_for
from iso8583.framing import LINK, POS, Frame, Framer, build
from iso8583.message import Message, response_mti
from switch.acquirers.link_messages import elements_of
from terminals.simulator.card import Card, CardRange
from terminals.simulator.terminal import Terminal, TerminalOptions, open_key_layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MESSAGE_BYTES: Final = 267  # a purchase with chip and PIN, from its length to its MAC
PURCHASES: Final = 850  # of one identity: a batch takes at most 900
CARDS: Final = CardRange("622000", "01020000", expired_every=0, poor_every=0, count=100_000)
AMOUNTS: Final = 89_999  # amounts are 100 to 90,098 minor units, in turn
CHECKED_ANSWERS: Final = 2  # of each terminal, decoded and verified in full
TMK: Final = "0123456789ABCDEFFEDCBA9876543210"
SIGNING_ON: Final = 32  # lines at one time: more is a storm, of which a node turns part away
BEGINNING: Final = (
    32  # lines at one time: the first request of each has its keys read and confirmed
)
TAIL_S: Final = 15.0  # after the last request was sent, its answer must have come

# DE 55 of a contactless purchase; the last tag is filled up to MESSAGE_BYTES.
CHIP: Final = bytes.fromhex(
    "9F2608A1B2C3D4E5F607189F2701809F37049B2A17C59F360201A4950500000000009A032603019C0100"
    "9F02060000000123455F2A02015682027C009F1A0201569F03060000000000009F3303E0E9C89F1013"
)
CHIP_ANSWER: Final = bytes.fromhex("910AF0E1D2C3B4A5968730309F360201A4")  # 143-byte answers


# -- one process under our hand -----------------------------------------------------------------


class Process:
    """A child that answers one JSON object to each line; its first line says that it is ready."""

    def __init__(self, module: str, *arguments: str) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).resolve().parent.parent,
        )
        self.name = " ".join((module, *arguments[:1]))
        self.ready = self.receive(30.0)

    @property
    def pid(self) -> int:
        return self.child.pid

    def ask(self, timeout_s: float, **command: Any) -> dict[str, Any]:
        assert self.child.stdin is not None
        self.child.stdin.write(json.dumps(command).encode() + b"\n")
        self.child.stdin.flush()
        return self.receive(timeout_s)

    def receive(self, timeout_s: float) -> dict[str, Any]:
        assert self.child.stdout is not None
        readable, _, _ = select.select([self.child.stdout], [], [], timeout_s)
        line = self.child.stdout.readline() if readable else b""
        if not line:
            raise RuntimeError(f"{self.name} {'ended' if readable else 'does not answer'}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{self.name}: {answer['error']}")
        return answer

    def stop(self) -> None:
        """It ends with its stdin."""
        assert self.child.stdin is not None
        self.child.stdin.close()
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


async def obey(perform: Callable[[dict[str, Any]], Any], **ready: Any) -> None:
    """The child's side: a line in, `perform` awaited, a line out; ends with stdin."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print(json.dumps(ready), flush=True)
    while line := await reader.readline():
        try:
            answer = await perform(json.loads(line))
        except Exception as error:  # noqa: BLE001 - told to the parent, which ends us
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


# -- terminals ----------------------------------------------------------------------------------


class Plan(msgspec.Struct, frozen=True):
    """What the terminals are and whom they call. Without `tmk` nobody signs on and nothing is signed."""

    port: int
    lines: int  # connections, each with one request in flight
    spare: int = 1  # identities a line
    merchant: str = "100000000000001"
    tmk: str = ""
    mac_profile: str = "unionpay-ecb"
    first: int = 0  # number of the first identity

    def name(self, line: int, spare: int) -> str:
        return f"{self.first + line * self.spare + spare:08d}"

    def names(self) -> list[str]:
        return [self.name(n, k) for n in range(self.lines) for k in range(self.spare)]


class Identity:
    """One registered terminal: its keys and its purchase, ready to be patched."""

    def __init__(self, plan: Plan, name: str, card: Card) -> None:
        self.plan = plan
        self.codec = codec_for("unionpay_pos")
        self.card = card
        self.batch = "000001"
        self.left = PURCHASES if plan.tmk else 1 << 60
        self.terminal = Terminal(
            TerminalOptions(merchant=plan.merchant, terminal=name, tmk=plan.tmk or TMK),
            name[-4:],
        )
        self.name = name
        self.seal: Callable[[bytes], bytes] | None = None
        if not plan.tmk:
            self.prepare(bytes(16))

    def sign_on(self) -> bytes:
        return self.terminal.sign_on().frame

    def signed_on(self, frame: Frame) -> None:
        """Take the working keys out of the answer to the sign-on."""
        answer = self.codec.decode(frame.body)
        if answer.get(39) != "00":
            raise RuntimeError(f"sign-on of {self.name} was answered {answer.get(39)!r}")
        pik, mak, _ = open_key_layout(answer[62], bytes.fromhex(self.plan.tmk), "003", mak_bytes=16)
        self.take_keys(str(answer[60])[2:8], pik, mak)

    def take_keys(self, batch: str, pik: bytes, mak_key: bytes) -> None:
        self.batch = batch
        self.seal = mac.function(mac.profile_named(self.plan.mac_profile), mak_key)
        self.prepare(pik)

    def prepare(self, pik: bytes) -> None:
        """Encode the purchase and find where trace, amount and MAC are."""
        tpdu, header = (
            bytes.fromhex("600003") + unhexlify(self.name[-4:]),
            bytes.fromhex("603100310000"),
        )
        body = self.codec.encode(self.purchase(pik))
        self.frame = bytearray(build(Frame(tpdu, header, body), POS))
        assert len(self.frame) == MESSAGE_BYTES, len(self.frame)
        self.body_at = len(self.frame) - len(body)
        spans = self.codec.spans(body)
        self.amount_at = self.body_at + spans[4][0]
        self.trace_at = self.body_at + spans[11][0]
        self.mac_at = self.body_at + spans[64][0]
        self.trace = 0
        self.shapes: dict[int, tuple[int, int]] = {}  # length of an answer -> where DE 11, 39 are

    def purchase(self, pik: bytes) -> Message:
        card = self.card
        message: Message = {
            0: "0200", 2: card.pan, 3: "000000", 4: "000000000100", 11: "000000",
            14: card.expiry, 22: "051", 23: "001", 25: "00", 26: "12", 35: card.track2,
            41: self.name, 42: self.plan.merchant, 49: "156",
            52: tdes_ecb_encrypt(pik, pin_block.encode_format0(card.pin, card.pan)),
            53: "2600000000000000", 55: CHIP, 60: f"22{self.batch}000600", 64: bytes(8),
        }  # fmt: skip
        short = MESSAGE_BYTES - 13 - len(self.codec.encode(message))
        message[55] = CHIP[:-1] + bytes([short]) + bytes(range(short))
        return message

    def next_frame(self) -> bytes:
        """The purchase with the next trace and amount."""
        self.left -= 1
        self.trace = trace = self.trace % 999_999 + 1
        frame = self.frame
        frame[self.trace_at : self.trace_at + 3] = self.trace_bytes = b"%c%c%c" % (
            _BCD[trace // 10_000],
            _BCD[trace // 100 % 100],
            _BCD[trace % 100],
        )
        amount = 100 + trace * 7 % AMOUNTS
        frame[self.amount_at + 3] = _BCD[amount // 10_000]
        frame[self.amount_at + 4] = _BCD[amount // 100 % 100]
        frame[self.amount_at + 5] = _BCD[amount % 100]
        if self.seal is not None:
            frame[self.mac_at :] = self.seal(bytes(frame[self.body_at : self.mac_at]))
        return bytes(frame)

    def take(self, frame: Frame) -> str:
        """DE 39 of an answer; the first ones are checked in full."""
        body = frame.body
        shape = self.shapes.get(len(body))
        if shape is None or self.trace <= CHECKED_ANSWERS:
            shape = self.shapes[len(body)] = self.check(frame)
        trace_at, code_at = shape
        if body[trace_at : trace_at + 3] != self.trace_bytes:
            raise RuntimeError(f"{self.name} got the answer to another trace")
        return body[code_at : code_at + 2].decode()

    def check(self, frame: Frame) -> tuple[int, int]:
        answer = self.codec.decode(frame.body)
        if answer[0] != "0210" or answer.get(41) != self.name:
            raise RuntimeError(f"{self.name} got an answer that is not its own")
        if self.seal is not None and answer[39] == "00":
            covered, sent = frame.body[:-8], frame.body[-8:]
            if 64 not in answer or self.seal(covered) != sent:
                raise RuntimeError(f"the MAC of an answer to {self.name} is wrong")
        spans = self.codec.spans(frame.body)
        return spans[11][0], spans[39][0]


_BCD: Final = [tens << 4 | ones for tens in range(10) for ones in range(10)]


class Wire(asyncio.Protocol):
    """A terminals' connection: frames go to `heard`; whatever fails makes the run worth nothing."""

    def __init__(self, fail: Callable[[Exception], None]) -> None:
        self.fail = fail
        self.framer = Framer(POS)
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.fail(RuntimeError(f"the switch closed a connection: {exc}"))

    def data_received(self, data: bytes) -> None:
        now_ns = time.perf_counter_ns()
        try:
            for frame in self.framer.receive_bytes(data):
                self.heard(frame, now_ns)
        except Exception as error:  # noqa: BLE001 - whatever it is, the run is worth nothing
            self.fail(error)

    def heard(self, frame: Frame, now_ns: int) -> None:
        raise NotImplementedError


class Line(Wire):
    """One connection: asks, waits for the answer, asks again, until the run is over."""

    def __init__(self, load: Load, identities: list[Identity]) -> None:
        super().__init__(load.fail)
        self.load = load
        self.identities = identities
        self.identity = identities[0]
        self.signing_on = -1  # index of the identity that waits for its keys
        self.begun = False  # it has had an answer to a purchase
        self.sent_ns = 0

    def heard(self, frame: Frame, now_ns: int) -> None:
        if self.signing_on >= 0:
            self.signed_on(frame)
        else:
            self.load.answered(self.identity.take(frame), now_ns - self.sent_ns)
            if not self.begun:
                self.begun = True
                self.load.begun()
            self.purchase()

    def sign_on(self, index: int) -> None:
        self.signing_on = index
        self.transport.write(self.identities[index].sign_on())

    def signed_on(self, frame: Frame) -> None:
        self.identities[self.signing_on].signed_on(frame)
        if self.signing_on + 1 < len(self.identities):
            self.sign_on(self.signing_on + 1)
        else:
            self.signing_on = -1
            self.load.one_done()
            self.load.sign_on_next()

    def purchase(self) -> None:
        """The next request, or none when the time is over."""
        if self.load.over():
            self.load.one_done()
            return
        if not self.identity.left:
            self.identities.remove(self.identity)
            if not self.identities:
                raise RuntimeError("all identities have a full batch: ask for more spare ones")
            self.identity = self.identities[0]
        frame = self.identity.next_frame()
        self.sent_ns = time.perf_counter_ns()
        self.transport.write(frame)


class Load:
    """All lines together and what they measured."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.signed_off: list[Line] = []
        self.codes: dict[str, int] = {}
        self.latencies_ns = array("q")
        self.until_ns = 0
        self.left = 0
        self.resting: list[Line] = []  # will have their first request when others have had theirs
        self.done: asyncio.Future[None]

    async def perform(self, command: dict[str, Any]) -> dict[str, Any]:
        match command.pop("do"):
            case "connect":
                return await self.connect(msgspec.convert(command, Plan))
            case "run":
                return await self.run(command["seconds"], command.get("lines"))
            case "close":
                for line in self.lines:
                    line.load = Load()
                    line.transport.close()
                return {}
            case other:
                raise RuntimeError(f"no command {other}")

    async def connect(self, plan: Plan) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        for n in range(plan.lines):
            identities = [
                Identity(plan, plan.name(n, k), CARDS.card(1 + n * plan.spare + k))
                for k in range(plan.spare)
            ]
            _, line = await loop.create_connection(
                lambda identities=identities: Line(self, identities),  # type: ignore[misc]
                "127.0.0.1",
                plan.port,
            )
            self.lines.append(line)
        if plan.tmk:
            self._begin(len(self.lines))
            self.signed_off = self.lines[:]
            for _ in range(SIGNING_ON):
                self.sign_on_next()
            await asyncio.wait_for(self.done, 60.0)
        return {"lines": len(self.lines)}

    def sign_on_next(self) -> None:
        if self.signed_off:
            self.signed_off.pop().sign_on(0)

    async def run(self, seconds: float, lines: int | None = None) -> dict[str, Any]:
        """Trade for so long, on all lines or some; then wait for what is in flight."""
        self.codes = {}
        self.latencies_ns = array("q")
        trading = self.lines[:lines]
        self._begin(len(trading))
        started_ns = time.perf_counter_ns()
        self.until_ns = started_ns + int(seconds * 1e9)
        fresh = [line for line in trading if not line.begun]
        self.resting = fresh[BEGINNING:]
        for line in [line for line in trading if line.begun] + fresh[:BEGINNING]:
            line.purchase()
        await asyncio.wait_for(self.done, seconds + TAIL_S)
        took_s = (time.perf_counter_ns() - started_ns) / 1e9
        latency_ms = report.percentiles(self.latencies_ns)
        return {
            "transactions": len(self.latencies_ns),
            "seconds": took_s,
            "codes": self.codes,
            **{f"latency_ms_{name}": value for name, value in latency_ms.items()},
        }

    def _begin(self, lines: int) -> None:
        self.done = asyncio.get_running_loop().create_future()
        self.left = lines

    def over(self) -> bool:
        return time.perf_counter_ns() >= self.until_ns

    def answered(self, code: str, latency_ns: int) -> None:
        self.codes[code] = self.codes.get(code, 0) + 1
        self.latencies_ns.append(latency_ns)

    def begun(self) -> None:
        """A line has had its first answer."""
        if self.resting:
            self.resting.pop().purchase()

    def one_done(self) -> None:
        self.left -= 1
        if self.resting and self.over():
            self.left -= len(self.resting)
            self.resting = []
        if not self.left and not self.done.done():
            self.done.set_result(None)

    def fail(self, error: Exception) -> None:
        if self.left and not self.done.done():
            self.done.set_exception(error)


# -- the bank -----------------------------------------------------------------------------------

ECHOED: Final = (2, 3, 4, 7, 11, 12, 13, 32, 33, 37, 41, 42, 49)


class Cut(msgspec.Struct, frozen=True):
    """How the answer to requests of one shape is made: pieces of the request between constants."""

    constants: tuple[bytes, ...]
    slices: tuple[slice, ...]  # one less than constants


class Bank:
    """Approves. Requests of one shape (length, MTI, bitmap, length of the PAN) are laid out alike."""

    def __init__(self, dialect: str, zak: str, mac_profile: str) -> None:
        self.codec: Codec = codec_for(dialect)
        self.managed = 70 in elements_of(dialect)
        self.seal = (
            mac.function(mac.profile_named(mac_profile), bytes.fromhex(zak)) if zak else None
        )
        mti_width = 2 if self.codec.dialect.mti == "bcd" else 4
        self.head = mti_width + 8 + 2
        self.cuts: dict[tuple[int, bytes], Cut] = {}
        self.answered = 0
        self.signed_on = 0

    def answer(self, body: bytes) -> bytes:
        cut = self.cuts.get((len(body), body[: self.head]))
        if cut is None:
            message = self.codec.decode(body)
            if str(message[0])[1] == "8":
                return self.manage(message)
            cut = self.cuts[len(body), body[: self.head]] = self.learn(body, message)
        self.answered += 1
        parts = [cut.constants[0]]
        for piece, constant in zip(cut.slices, cut.constants[1:], strict=True):
            parts += (body[piece], constant)
        answer = b"".join(parts)
        return answer if self.seal is None else answer + self.seal(answer)

    def learn(self, body: bytes, message: Message) -> Cut:
        """Decode, verify and answer one request in full; remember where everything was."""
        if self.seal is not None and self.seal(body[:-8]) != body[-8:]:
            raise RuntimeError("the MAC of a request to the bank is wrong")
        answer: Message = {de: message[de] for de in ECHOED if de in message}
        answer |= {0: response_mti(str(message[0])), 38: "123456", 39: "00", 55: CHIP_ANSWER}
        answer |= {15: time.strftime("%m%d")}
        if 64 in message or 128 in message:
            answer[64] = bytes(8)
        answer = {de: answer[de] for de in sorted(answer)}
        encoded = self.codec.encode(answer)
        there, here = self.codec.spans(body), self.codec.spans(encoded)
        constants, at = [b""], 0
        slices: list[slice] = []
        for de in sorted(here):
            start, length = here[de]
            if de in ECHOED and de > 1:
                source = there[de][0]
                if slices and not constants[-1] and slices[-1].stop == source:
                    slices[-1] = slice(slices[-1].start, source + length)
                else:
                    slices.append(slice(source, source + length))
                    constants.append(b"")
            else:
                constants[-1] += encoded[start : start + length]
            at = start + length
        assert at == len(encoded)
        if self.seal is not None:
            assert constants[-1].endswith(bytes(8))
            constants[-1] = constants[-1][:-8]
        return Cut(tuple(constants), tuple(slices))

    def facts(self) -> dict[str, Any]:
        """What else it can tell."""
        return {}

    def manage(self, message: Message) -> bytes:
        answer: Message = {de: message[de] for de in (7, 11, 32, 33, 70) if de in message}
        self.signed_on += message.get(70) == "001"
        answer |= {0: response_mti(str(message[0])), 39: "00"}
        return self.codec.encode(answer)


class BankLine(asyncio.Protocol):
    def __init__(self, bank: Bank) -> None:
        self.bank = bank
        self.framer = Framer(LINK)
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        answers: list[bytes] = []
        for frame in self.framer.receive_bytes(data):
            body = self.bank.answer(frame.body)
            answers += (len(body).to_bytes(2, "big"), body)
        self.transport.write(b"".join(answers))


async def serve_bank(bank: Bank) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: BankLine(bank), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def perform(command: dict[str, Any]) -> dict[str, Any]:
        counted = {"answered": bank.answered, "signed_on": bank.signed_on}
        return counted | bank.facts() if command.get("do") == "facts" else counted

    await obey(perform, port=port)


async def serve_terminals() -> None:
    await obey(Load().perform)


def run(main: Any) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


def main(arguments: Iterable[str]) -> None:
    match list(arguments):
        case ["terminals"]:
            run(serve_terminals())
        case ["bank", dialect]:
            run(serve_bank(Bank(dialect, "", "off")))
        case ["bank", dialect, zak, mac_profile]:
            run(serve_bank(Bank(dialect, zak, mac_profile)))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
