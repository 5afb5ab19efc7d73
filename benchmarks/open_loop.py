"""Terminals that do not wait for each other, and a bank that remembers what it entered.

    python -m benchmarks.open_loop terminals    requests at a given rate, answered or not
    python -m benchmarks.open_loop bank …       `benchmarks.load`'s bank, with its entries

A closed loop slows down with what it measures; here every request has its time, and its latency
counts from then, whether or not the generator or the switch kept up. All frames are sealed before
the run, so that a request costs the generator a write and a look at its answer. Commands and answers
are those of `benchmarks.load`.
"""

from __future__ import annotations

import asyncio
import sys
import time
from array import array
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import msgspec

from benchmarks import report
from benchmarks.load import CARDS, Bank, Identity, Plan, Wire, obey, run, serve_bank

if TYPE_CHECKING:
    from collections.abc import Iterable

    from iso8583.framing import Frame
    from iso8583.message import Message

TICK_S: Final = 0.001
TAIL_S: Final = 40.0  # after the last request its answer must have come: a bank's timer and more
BIN_S: Final = 0.1
SIGN_ONS: Final = 32  # at a time
ACCEPTED_MAX: Final = 890  # purchases of one identity: a batch takes 900


class Phase:
    """So many requests a second for so long, and what became of them."""

    def __init__(self, rate: float, seconds: float) -> None:
        self.rate = rate
        self.seconds = seconds
        self.sent = 0
        self.late_ns = 0  # of the last request, behind its time
        self.codes: Counter[str] = Counter()
        self.accepted_ns = array("q")
        self.refused_ns = array("q")
        bins = int(seconds / BIN_S) + 1
        self.bins = [{"accepted": 0, "refused": 0, "slowest_ns": 0} for _ in range(bins)]
        self.began_ns = 0

    def answered(self, due_ns: int, now_ns: int, code: str) -> None:
        took_ns = now_ns - due_ns
        self.codes[code] += 1
        of_bin = self.bins[int((due_ns - self.began_ns) / 1e9 / BIN_S)]
        if code in ("91", "96"):
            self.refused_ns.append(took_ns)
            of_bin["refused"] += 1
        else:
            self.accepted_ns.append(took_ns)
            of_bin["accepted"] += 1
            of_bin["slowest_ns"] = max(of_bin["slowest_ns"], took_ns)

    def result(self) -> dict[str, Any]:
        return {
            "rate": self.rate,
            "seconds": self.seconds,
            "sent": self.sent,
            "codes": dict(self.codes),
            "accepted_tps": len(self.accepted_ns) / self.seconds,
            "behind_ms": self.late_ns / 1e6,
            "accepted_ms": report.percentiles(self.accepted_ns),
            "refused_ms": report.percentiles(self.refused_ns),
            "bins": self.bins,
        }


class Line(Wire):
    """One connection of one terminal, with as many requests on the way as there may be."""

    def __init__(self, load: Load, identity: Identity) -> None:
        super().__init__(load.fail)
        self.load = load
        self.identity = identity
        self.frames: list[tuple[bytes, bytes]] = []  # trace and frame, the next one last
        self.waiting: dict[bytes, tuple[Phase, int]] = {}  # trace -> whose, and when it was due
        self.shapes: dict[int, tuple[int, int, int]] = {}  # an answer's length -> DE 11, 37, 39
        self.accepted = 0

    def heard(self, frame: Frame, now_ns: int) -> None:
        if self.identity.seal is None:
            self.identity.signed_on(frame)
            self.load.signed_on()
        else:
            self.take(frame.body, now_ns)

    def prepare(self, count: int) -> None:
        made = []
        for _ in range(count):
            frame = self.identity.next_frame()
            made.append((bytes(self.identity.trace_bytes), frame))
        self.frames = made[::-1] + self.frames

    def purchase(self, phase: Phase, due_ns: int) -> None:
        trace, frame = self.frames.pop()
        self.waiting[trace] = phase, due_ns
        self.transport.write(frame)

    def take(self, body: bytes, now_ns: int) -> None:
        shape = self.shapes.get(len(body))
        if shape is None:
            shape = self.shapes[len(body)] = self.learn(body)
        trace_at, rrn_at, code_at = shape
        code = body[code_at : code_at + 2].decode()
        phase, due_ns = self.waiting.pop(body[trace_at : trace_at + 3])
        phase.answered(due_ns, now_ns, code)
        if code == "00":
            self.accepted += 1
            self.load.approved.append(body[rrn_at : rrn_at + 12].decode())
            if self.accepted > ACCEPTED_MAX:
                raise RuntimeError("a batch is full: ask for more lines")
        self.load.one_answered()

    def learn(self, body: bytes) -> tuple[int, int, int]:
        codec = self.identity.codec
        answer = codec.decode(body)
        if answer[0] != "0210" or answer.get(41) != self.identity.name:
            raise RuntimeError(f"{self.identity.name} got an answer that is not its own")
        seal = self.identity.seal
        if 64 in answer and (seal is None or seal(body[:-8]) != body[-8:]):
            raise RuntimeError(f"the MAC of an answer to {self.identity.name} is wrong")
        spans = codec.spans(body)
        return spans[11][0], spans[37][0], spans[39][0]


class Load:
    """All lines, and the phases of one run."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.approved: list[str] = []  # RRNs of answers 00, of all runs
        self.turn = 0
        self.left = 0
        self.done: asyncio.Future[None]

    async def perform(self, command: dict[str, Any]) -> dict[str, Any]:
        match command.pop("do"):
            case "connect":
                return await self.connect(msgspec.convert(command, Plan))
            case "run":
                return await self.run([Phase(*each) for each in command["phases"]])
            case "approved":
                return {"rrns": self.approved}
            case other:
                raise RuntimeError(f"no command {other}")

    async def connect(self, plan: Plan) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        for n in range(plan.lines):
            identity = Identity(plan, plan.name(n, 0), CARDS.card(1 + n))
            _, line = await loop.create_connection(
                lambda identity=identity: Line(self, identity),  # type: ignore[misc]
                "127.0.0.1",
                plan.port,
            )
            self.lines.append(line)
        self.left = len(self.lines)
        self.done = loop.create_future()
        self.turn = 0
        for _ in range(min(SIGN_ONS, len(self.lines))):
            self.sign_on_next()
        await asyncio.wait_for(self.done, 60.0)
        return {"lines": len(self.lines)}

    def sign_on_next(self) -> None:
        if self.turn < len(self.lines):
            line = self.lines[self.turn]
            self.turn += 1
            line.transport.write(line.identity.sign_on())

    def signed_on(self) -> None:
        self.left -= 1
        self.sign_on_next()
        if not self.left:
            self.done.set_result(None)

    async def run(self, phases: list[Phase]) -> dict[str, Any]:
        """One phase after the other without a pause; then wait for every answer."""
        total = sum(int(phase.rate * phase.seconds) for phase in phases)
        each = total // len(self.lines) + 1
        for line in self.lines:
            line.prepare(max(0, each - len(line.frames)))
        self.done = asyncio.get_running_loop().create_future()
        self.left = total
        for phase in phases:
            await self.play(phase)
        try:
            async with asyncio.timeout(TAIL_S):
                await self.done
        except TimeoutError:
            pass  # what is unanswered is told
        return {"phases": [phase.result() for phase in phases], "unanswered": self.left}

    async def play(self, phase: Phase) -> None:
        """Send what is due at every tick; what the loop could not send in time counts as due then."""
        phase.began_ns = began_ns = time.perf_counter_ns()
        count, gap_ns = int(phase.rate * phase.seconds), 1e9 / phase.rate
        lines, turn = self.lines, self.turn % len(self.lines)
        while phase.sent < count:
            due = min(count, int((time.perf_counter_ns() - began_ns) / gap_ns) + 1)
            for at in range(phase.sent, due):
                turn = (turn + 1) % len(lines)
                lines[turn].purchase(phase, began_ns + int(at * gap_ns))
            phase.sent = due
            if self.done.done():
                self.done.result()  # a failure
            await asyncio.sleep(TICK_S)
        phase.late_ns = max(0, time.perf_counter_ns() - began_ns - int(count * gap_ns))
        self.turn = turn

    def one_answered(self) -> None:
        self.left -= 1
        if not self.left and not self.done.done():
            self.done.set_result(None)

    def fail(self, error: Exception) -> None:
        if self.left and not self.done.done():
            self.done.set_exception(error)


# -- the bank -----------------------------------------------------------------------------------


class EntryBank(Bank):
    """Keeps the RRN of everything it approved and of everything that was reversed."""

    def __init__(self, dialect: str, zak: str, mac_profile: str) -> None:
        super().__init__(dialect, zak, mac_profile)
        self.entries: list[str] = []
        self.reversed: list[str] = []
        self.places: dict[tuple[int, bytes], tuple[bool, int]] = {}

    def answer(self, body: bytes) -> bytes:
        place = self.places.get((len(body), body[: self.head]))
        if place is None:
            message: Message = self.codec.decode(body)
            if str(message[0])[1] == "8":
                return self.manage(message)
            at = self.codec.spans(body)[37][0]
            place = self.places[len(body), body[: self.head]] = (str(message[0])[1] == "4", at)
        reversal, at = place
        (self.reversed if reversal else self.entries).append(body[at : at + 12].decode())
        return super().answer(body)

    def facts(self) -> dict[str, Any]:
        return {"entries": self.entries, "reversed": self.reversed}


async def serve_terminals() -> None:
    await obey(Load().perform)


def main(arguments: Iterable[str]) -> None:
    match list(arguments):
        case ["terminals"]:
            run(serve_terminals())
        case ["bank", dialect, zak, mac_profile]:
            run(serve_bank(EntryBank(dialect, zak, mac_profile)))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
