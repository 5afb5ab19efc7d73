"""Where the processor time of one authorisation goes, part by part: one process, no socket, no store.

    python -m benchmarks.path [--everything] [--mac cmac|x9.19-binary] [--link unionpay_pos|iso1987_ascii]
                              [--rounds N] [--parts | --calls] [--json]

The engine as `benchmarks.forward` builds it (null store, vault and log), but its connections are in
memory: frames of 32 terminals are handed to their protocols, what goes to the bank is caught, the bank's
answers are made while no clock runs, handed to the link's protocol, and what goes back is caught again.
Beside it, in turns in the same process, the bare forwarder on pyiso8583 is given the same frames: its
figure tells how fast the machine was, and the ratio of the two least disturbed rounds is what can be compared
from day to day.

With `--everything` the vault is that of a worker, and so are card numbers, log and metrics: terminals and link
sign, PIN blocks are translated, PANs are enciphered, a line is written for each purchase. The store stays null.

`--parts` spreads the figure by samples of the processor's time (SIGPROF): a sample belongs to the innermost
function on its stack that a row of `PARTS` names. `--calls` counts what one transaction calls.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks import report
from benchmarks.load import CARDS, TMK, Bank, Identity, Plan, run
from benchmarks.null_ports import null_switch
from benchmarks.pyiso8583_forward import Forwarder, Peer
from benchmarks.real_ports import Keys, RealLog, real_parts
from iso8583.framing import LINK, POS, Framer
from switch import logs
from switch.adapters.system import SystemClock
from switch.reference import Link

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType

MODULE: Final = "benchmarks.path"
LINES: Final = 32
ROUNDS: Final = 200
WARM_ROUNDS: Final = 24
TOGETHER: Final = 16  # answers of the bank in one read
FLUSH_ROUNDS: Final = 7  # 224 purchases, a little fewer than `log.lines_max`
TURNS_MAX: Final = 1_000  # of the loop, for a round: then something was refused
TICK_S: Final = 0.001
ROOT: Final = str(Path(__file__).resolve().parent.parent) + "/"

# (part, how file and function of its samples begin), the innermost frame first
PARTS: Final = (
    ("codec, four messages", "<iso8583 "),
    ("codec, four messages", "iso8583/codec.py"),
    ("framing, both sides", "iso8583/framing.py"),
    ("vault and card numbers (null)", "benchmarks/null_ports.py:NullVault"),
    ("vault and card numbers (null)", "benchmarks/null_ports.py:NullPans"),
    ("card numbers", "hsm/pans.py"),
    ("PIN translation", "hsm/local.py:LocalVault.translate_pin"),
    ("MACs", "hsm/local.py:LocalVault.mac"),
    ("MACs", "hsm/local.py:LocalVault.verify_mac"),
    ("vault, other", "hsm/adapters/"),
    ("line of the log", "switch/watch.py:authorization_line"),
    ("line of the log", "switch/logs.py"),
    ("metrics", "switch/reporter.py"),
    ("answer to the terminal", "switch/replies.py"),
    ("answer to the terminal", "switch/answers.py:answer"),
    ("answer to the terminal", "switch/server.py:TerminalConnection.answer"),
    ("link: message built", "switch/acquirers/link_messages.py:build_request"),
    ("link: answer matched and judged", "switch/acquirers/link_answers.py"),
    ("link: answer matched and judged", "switch/acquirers/link_connection.py:Connection.data"),
    ("link: signed and sent", "switch/acquirers/iso8583_link.py:IsoLink.send"),
    ("link: signed and sent", "switch/acquirers/link_connection.py:Connection._flush"),
    ("reception: terminal, rate, form", "switch/reception.py:receive"),
    ("reception: terminal, rate, form", "switch/intake.py:read"),
    ("reception: terminal, rate, form", "switch/rates.py"),
    ("session and MAC", "switch/engine.py:Engine.verify"),
    ("checks and route", "switch/intake.py"),
    ("checks and route", "switch/limits.py"),
    ("checks and route", "switch/routing.py"),
    ("rows and numbers", "switch/rows.py"),
    ("rows and numbers", "switch/numbers.py"),
    ("checks and route", "switch/admission.py"),
    ("state machine", "switch/authorization.py"),
    ("engine: begun, performed, ended", "switch/money_request.py"),
    ("engine: begun, performed, ended", "switch/engine.py"),
    ("engine: begun, performed, ended", "switch/load.py"),
    ("terminal connections", "switch/server.py"),
    ("store (null)", "benchmarks/null_ports.py"),
)


class Caught(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 40_000)})
        self.written: list[bytes] = []

    def taken(self) -> list[bytes]:
        written, self.written = self.written, []
        return written

    def write(self, data: Any) -> None:
        self.written.append(data)

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...


class Wire:
    """`ports.Transport` to the bank."""

    def __init__(self) -> None:
        self.transport = Caught()
        self.protocol: asyncio.Protocol

    async def connect(
        self, factory: Callable[[], asyncio.Protocol], _host: str, _port: int
    ) -> asyncio.Transport:
        self.protocol = factory()
        asyncio.get_running_loop().call_soon(self.protocol.connection_made, self.transport)
        return self.transport


class Answering:
    """The bank, off the clock."""

    def __init__(self, dialect: str, zak: bytes = b"", mac: str = "off") -> None:
        self._bank = Bank(dialect, zak.hex(), mac)
        self._framer = Framer(LINK)

    def to(self, sent: Iterable[bytes]) -> list[bytes]:
        bodies = [
            self._bank.answer(frame.body)
            for data in sent
            for frame in self._framer.receive_bytes(data)
        ]
        return [len(body).to_bytes(2, "big") + body for body in bodies]


class Yardstick:
    """The bare forwarder of `benchmarks.forward` on the same frames: how fast the machine is now."""

    def __init__(self, dialect: str) -> None:
        self._bank = Answering(dialect)
        forwarder = Forwarder(dialect)
        self._ends = Caught(), Caught()
        self._terminal = Peer(POS, forwarder.from_terminal)
        self._link = forwarder.link = Peer(LINK, forwarder.from_bank)
        for peer, end in zip((self._terminal, self._link), self._ends, strict=True):
            peer.connection_made(end)

    def round(self, frames: Iterable[bytes]) -> int:
        """ns of the processor for all of them."""
        started_ns = time.process_time_ns()
        for frame in frames:
            self._terminal.data_received(frame)
        spent_ns = time.process_time_ns() - started_ns
        answers = self._bank.to(self._ends[1].taken())
        started_ns = time.process_time_ns()
        for data in answers:
            self._link.data_received(data)
        spent_ns += time.process_time_ns() - started_ns
        assert len(self._ends[0].taken()) == LINES
        return spent_ns


class OnePath:
    """A switch between terminals and a bank that are bytes. `folder`: of its log; None: all is null."""

    def __init__(self, dialect: str, mac: str, folder: Path | None) -> None:
        self.clocked = False  # while the clock runs
        self._wire = Wire()
        plan = Plan(port=0, lines=LINES, tmk="" if folder is None else TMK)
        link = Link(
            acquirer="bank", host="", port=0, de32="48000000", dialect=dialect, max_connections=1,
            mac_algorithm=mac,
        )  # fmt: skip
        self.identities = [Identity(plan, plan.name(n, 0), CARDS.card(1 + n)) for n in range(LINES)]
        self._log: RealLog | None = None
        self._rounds = self._flush_ns = 0
        if folder is None:
            self._bank = Answering(dialect)
            self._switch = null_switch(plan, link, self._wire)
        else:
            keys = Keys(plan.names())
            for identity in self.identities:
                identity.take_keys(identity.batch, *keys.of_terminal[identity.name])
            parts = real_parts(plan, link, keys, folder)
            self._log = parts.log
            self._bank = Answering(dialect, keys.zak, mac)
            self._switch = null_switch(plan, link, self._wire, parts)
        self._lines: list[tuple[asyncio.Protocol, Caught]] = []

    async def start(self) -> None:
        starting = asyncio.create_task(self._switch.start([None]))
        while not starting.done():
            await asyncio.sleep(0.001)
            for answer in self._bank.to(self._wire.transport.taken()):  # to its sign-on
                self._wire.protocol.data_received(answer)
        await starting
        for _ in range(LINES):
            protocol = self._switch.servers[0].accept()
            transport = Caught()
            protocol.connection_made(transport)
            self._lines.append((protocol, transport))

    async def round(self) -> int:
        """A purchase of each terminal; ns of the processor for all of them."""
        frames = [identity.next_frame() for identity in self.identities]
        sent, last = self._wire.transport, self._lines[-1][1]
        self.clocked = True
        started_ns = time.process_time_ns()
        for (protocol, _), frame in zip(self._lines, frames, strict=True):
            protocol.data_received(frame)
        await self._until(lambda: len(sent.written) * TOGETHER >= LINES)
        spent_ns = time.process_time_ns() - started_ns
        self.clocked = False
        answers = self._bank.to(sent.taken())
        assert len(answers) == LINES, "not every purchase went to the bank"
        together = [b"".join(answers[at : at + TOGETHER]) for at in range(0, LINES, TOGETHER)]
        self.clocked = True
        started_ns = time.process_time_ns()
        for data in together:
            self._wire.protocol.data_received(data)
        await self._until(lambda: bool(last.written))
        spent_ns += time.process_time_ns() - started_ns + self._share_of_a_flush()
        self.clocked = False
        for (_, transport), identity in zip(self._lines, self.identities, strict=True):
            (answer,) = Framer(POS).receive_bytes(b"".join(transport.taken()))
            assert identity.take(answer) == "00", "not every purchase was approved"
        return spent_ns

    def _share_of_a_flush(self) -> int:
        """ns that a round's part in writing the log costs; once in a while it is written."""
        if self._log is not None and not self._rounds % FLUSH_ROUNDS:
            started_ns = time.process_time_ns()
            self._log.flush()
            self._flush_ns = time.process_time_ns() - started_ns
        self._rounds += 1
        return self._flush_ns // FLUSH_ROUNDS

    async def _until(self, done: Callable[[], bool]) -> None:
        for _ in range(TURNS_MAX):
            if done():
                return
            await asyncio.sleep(0)


async def measure(given: argparse.Namespace, folder: Path | None) -> None:
    logs.configure(SystemClock(), "path", level="warning", file=None)
    path, yardstick = OnePath(given.link, given.mac, folder), Yardstick(given.link)
    await path.start()
    for _ in range(WARM_ROUNDS):
        await path.round()
        yardstick.round([identity.next_frame() for identity in path.identities])
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 1_000)  # as switch.worker
    if given.calls:
        await count_calls(path)
    elif given.parts:
        await sample(path, given.rounds)
    else:
        await compare(path, yardstick, given)


async def compare(path: OnePath, yardstick: Yardstick, given: argparse.Namespace) -> None:
    taken: dict[str, list[float]] = {"tongbao": [], "pyiso8583": []}
    for _ in range(given.rounds):
        taken["tongbao"].append(await path.round() / LINES / 1e3)
        frames = [identity.next_frame() for identity in path.identities]
        taken["pyiso8583"].append(yardstick.round(frames) / LINES / 1e3)
    least = {name: min(each) for name, each in taken.items()}
    median = {name: statistics.median(each) for name, each in taken.items()}
    ratio = least["pyiso8583"] / least["tongbao"]
    if given.json:
        report.as_json(
            MODULE,
            link=given.link,
            everything=given.everything,
            mac=given.mac,
            least_us=least,
            median_us=median,
            ratio=ratio,
        )
        return
    what = (
        f"everything but the store, link MAC {given.mac}," if given.everything else "forward only,"
    )
    report.show(
        MODULE,
        f"one authorisation in one process, {what} link in {given.link}; {given.rounds} rounds of {LINES}",
        ("", "least µs", "median µs"),
        [(name, f"{least[name]:.1f}", f"{median[name]:.1f}") for name in taken],
        f"pyiso8583 / tongbao, least: {ratio:.2f}",
    )


def part_of(frame: FrameType | None) -> str:
    while frame is not None:
        code = frame.f_code
        name = f"{code.co_filename.removeprefix(ROOT)}:{code.co_qualname}"
        for part, begins in PARTS:
            if name.startswith(begins):
                return part
        frame = frame.f_back
    return "loop, and this benchmark"


async def sample(path: OnePath, rounds: int) -> None:
    parts: Counter[str] = Counter()

    def tick(_signum: int, frame: FrameType | None) -> None:
        if path.clocked:
            parts[part_of(frame)] += 1

    signal.signal(signal.SIGPROF, tick)
    signal.setitimer(signal.ITIMER_PROF, TICK_S, TICK_S)
    whole_us = statistics.median([await path.round() / LINES / 1e3 for _ in range(rounds)])
    signal.setitimer(signal.ITIMER_PROF, 0)
    samples = sum(parts.values())
    report.show(
        MODULE,
        f"one authorisation in one process: {whole_us:.1f} µs, {samples} samples",
        ("part", "µs", "%"),
        [
            (name, f"{count / samples * whole_us:.1f}", f"{count / samples:.1%}")
            for name, count in parts.most_common()
        ],
    )


async def count_calls(path: OnePath) -> None:
    calls: Counter[str] = Counter()
    of_python = 0

    def seen(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal of_python
        if not path.clocked:
            return
        code = frame.f_code
        if event == "call":
            of_python += 1
            calls[f"{code.co_filename.removeprefix(ROOT)}:{code.co_qualname}"] += 1
        elif event == "c_call":
            calls[f"  {code.co_qualname}: {getattr(argument, '__qualname__', argument)}"] += 1

    sys.setprofile(seen)
    await path.round()
    sys.setprofile(None)
    report.show(
        MODULE,
        f"calls of one authorisation: {of_python / LINES:.0f} of functions in Python, "
        f"{(calls.total() - of_python) / LINES:.0f} of others",
        ("function", "times"),
        [(name, f"{count / LINES:.2f}") for name, count in calls.most_common()],
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__)
    parser.add_argument("--everything", action="store_true", help="all but the store is true")
    parser.add_argument(
        "--mac", choices=("cmac", "x9.19-binary"), default="cmac", help="of the link"
    )
    parser.add_argument("--link", choices=("unionpay_pos", "iso1987_ascii"), default="unionpay_pos")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--parts", action="store_true", help="spread over its parts")
    parser.add_argument("--calls", action="store_true", help="what one transaction calls")
    parser.add_argument("--json", action="store_true", help="figures as one JSON object")
    given = parser.parse_args()
    report.begin()
    if not given.everything:
        run(measure(given, None))
        return
    with tempfile.TemporaryDirectory(prefix="tongbao-benchmark-") as folder:
        run(measure(given, Path(folder)))


if __name__ == "__main__":
    main()
