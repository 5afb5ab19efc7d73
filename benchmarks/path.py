"""Where the processor time of one authorisation goes, part by part: one process, no socket, no store.

    python -m benchmarks.path [--link unionpay_pos|iso1987_ascii] [--vault] [--rounds N]
                              [--parts] [--calls] [--json]

The engine as `benchmarks.forward` builds it (null store, vault and log), but its connections are in
memory: frames of 64 terminals are handed to their protocols, what goes to the bank is caught, the
bank's answers are made while no clock runs, handed to the link's protocol, and what goes back is
caught again. So the figure repeats within a few per cent where sockets and neighbours blur it.

`--vault`: the vault, the card numbers, the log and the metrics are the real ones too; only the store
answers at once. `--parts` spreads the figure by samples of the processor's time (SIGPROF): a sample
belongs to the innermost function that the table below names. `--calls` counts what one transaction
calls, function by function.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import pathlib
import signal
import statistics
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from benchmarks import report
from benchmarks.load import CARDS, Bank, Identity, Plan, run
from benchmarks.null_ports import NullLog, NullPans, NullStore, NullVault, null_key, snapshot_of
from iso8583.framing import LINK, POS, Framer
from switch import logs
from switch.adapters.system import SystemClock
from switch.config import Batch, Config, Listener, Rates
from switch.reference import Link, Route
from switch.wiring import Ports, Stores, build
from terminals.registry import Merchant, Terminal

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

MODULE: Final = "benchmarks.path"
LINES: Final = 32
ROUNDS: Final = 40
TURNS_MAX: Final = 1_000  # of the loop, for a round: then something was refused
ROOT: Final = str(pathlib.Path(__file__).resolve().parent.parent) + "/"


class Caught(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 40_000)})
        self.written: list[bytes] = []

    def write(self, data: Any) -> None:
        self.written.append(data)

    def writelines(self, parts: Any) -> None:
        self.written.append(b"".join(parts))

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

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


class Yardstick:
    """The bare forwarder of `benchmarks.forward` on the same frames: how fast the machine is now."""

    def __init__(self, path: Path, dialect: str) -> None:
        from benchmarks.pyiso8583_forward import Forwarder, Peer

        self.path = path
        self.forwarder = Forwarder(dialect)
        self.terminal, self.link = (
            Peer(POS, self.forwarder.from_terminal),
            Peer(LINK, self.forwarder.from_bank),
        )
        for peer in (self.terminal, self.link):
            peer.connection_made(Caught())
        self.forwarder.link = self.link
        self.bank = Bank(dialect, "", "off")

    def round(self) -> int:
        frames = [identity.next_frame() for identity in self.path.identities]
        started_ns = time.process_time_ns()
        for frame in frames:
            self.terminal.data_received(frame)
        spent_ns = time.process_time_ns() - started_ns
        sent, self.link.transport.written = self.link.transport.written, []
        answers = []
        for data in sent:
            (frame,) = Framer(LINK).receive_bytes(data)
            body = self.bank.answer(frame.body)
            answers.append(len(body).to_bytes(2, "big") + body)
        started_ns = time.process_time_ns()
        for data in answers:
            self.link.data_received(data)
        spent_ns += time.process_time_ns() - started_ns
        self.terminal.transport.written = []
        return spent_ns


class Path:
    """A switch between terminals and a bank of bytes."""

    def __init__(self, dialect: str) -> None:
        self.timed = False  # while the clock runs
        self.plan = Plan(port=0, lines=LINES)
        self.bank = Bank(dialect, "", "off")
        self.framer = Framer(LINK)
        self.wire = Wire()
        link = Link(
            acquirer="bank", host="", port=0, de32="48000000", dialect=dialect, max_connections=1
        )
        plan = self.plan
        store: Any = NullStore(
            snapshot_of(
                [
                    Merchant(merchant=plan.merchant, name="Benchmark"),
                    *(Terminal(merchant=plan.merchant, terminal=name) for name in plan.names()),
                    Route(prefix="622000", acquirer="bank", pin_required=True),
                    link,
                ],
                [null_key("link:bank", usage) for usage in ("ZAK", "ZPK")],
            )
        )
        config = Config(
            workers=1,
            listeners=(Listener(),),
            batch=Batch(items_max=1 << 60),
            rates=Rates(terminal_messages_per_s=100_000),
        )
        vault: Any = NullVault()
        ports = Ports(
            stores=Stores(
                journal=store, numbers=store, owners=store, queue=store, batches=store,
                reference=store, downloads=store,
            ),
            hsm=vault, pans=NullPans(), clock=SystemClock(), transport=self.wire, log=NullLog(),
        )  # fmt: skip
        self.switch = build(config, 0, ports)
        self.identities = [Identity(plan, plan.name(n, 0), CARDS.card(1 + n)) for n in range(LINES)]
        self.lines: list[tuple[asyncio.Protocol, Caught]] = []

    async def start(self) -> None:
        starting = asyncio.create_task(self.switch.start([None]))
        while not starting.done():
            await asyncio.sleep(0.001)
            self.answer()
        await starting
        for _ in range(LINES):
            protocol, transport = self.switch.servers[0].accept(), Caught()
            protocol.connection_made(transport)
            self.lines.append((protocol, transport))

    def answer(self) -> list[bytes]:
        """The bank's answers to what it was sent; to management at once."""
        sent, self.wire.transport.written = self.wire.transport.written, []
        answers = []
        for data in sent:
            for frame in self.framer.receive_bytes(data):
                body = self.bank.answer(frame.body)
                answers.append(len(body).to_bytes(2, "big") + body)
        if answers and not self.lines:
            self.wire.protocol.data_received(b"".join(answers))
        return answers

    async def round(self) -> int:
        """A purchase of each terminal; ns of the processor for all of them."""
        frames = [identity.next_frame() for identity in self.identities]
        sent = self.wire.transport
        self.timed = True
        started_ns = time.process_time_ns()
        for (protocol, _), frame in zip(self.lines, frames, strict=True):
            protocol.data_received(frame)
        for _ in range(TURNS_MAX):
            if len(sent.written) * 16 >= LINES:
                break
            await asyncio.sleep(0)
        spent_ns = time.process_time_ns() - started_ns
        self.timed = False
        answers = self.answer()
        assert len(answers) == LINES
        together = [b"".join(answers[at : at + 16]) for at in range(0, LINES, 16)]
        last = self.lines[-1][1]
        self.timed = True
        started_ns = time.process_time_ns()
        for data in together:
            self.wire.protocol.data_received(data)
        for _ in range(TURNS_MAX):
            if last.written:
                break
            await asyncio.sleep(0)
        spent_ns += time.process_time_ns() - started_ns
        self.timed = False
        for (_, transport), identity in zip(self.lines, self.identities, strict=True):
            (answer,) = transport.written
            transport.written = []
            (frame,) = Framer(POS).receive_bytes(answer)
            assert identity.take(frame) == "00"
        return spent_ns


async def measure(given: argparse.Namespace) -> None:
    logs.configure(SystemClock(), "path", level="warning", file=None)
    path = Path(given.link)
    await path.start()
    for _ in range(8):
        await path.round()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 1_000)
    if given.calls:
        await count_calls(path)
        return
    if given.parts:
        await sample(path, given.rounds)
        return
    yardstick = Yardstick(path, given.link)
    for _ in range(4):
        yardstick.round()
    spent, bare = [], []
    for _ in range(given.rounds):
        spent.append(await path.round() / LINES / 1e3)
        bare.append(yardstick.round() / LINES / 1e3)
    ours, theirs = statistics.median(spent), statistics.median(bare)
    print(
        f"{ours:.1f} µs (min {min(spent):.1f}), yardstick {theirs:.1f} ({min(bare):.1f}): {theirs / ours:.2f} {min(bare) / min(spent):.2f}"
    )


async def count_calls(path: Path) -> None:
    calls: Counter[str] = Counter()
    c_calls: Counter[str] = Counter()

    def seen(frame: FrameType, event: str, arg: Any) -> None:
        if event == "call":
            code = frame.f_code
            name = code.co_filename.rpartition("wt-speed/")[2]
            calls[f"{name}:{code.co_qualname}"] += 1
        elif event == "c_call":
            c_calls[f"{frame.f_code.co_qualname} > {getattr(arg, '__qualname__', arg)}"] += 1

    sys.setprofile(seen)
    await path.round()
    sys.setprofile(None)
    for name, count in calls.most_common():
        print(f"{count / LINES:6.2f}  {name}")
    print(sum(calls.values()) / LINES, "python", sum(c_calls.values()) / LINES, "C")
    for name, count in c_calls.most_common():
        print(f"{count / LINES:6.2f}  {name}")


# Innermost first: a sample belongs to the first function on its stack that a row names, by file and,
# where the file has several parts, by function.
PARTS: Final = (
    ("codec, four messages", "<iso8583 ", ()),
    ("codec, four messages", "iso8583/codec.py", ()),
    ("framing, both sides", "iso8583/framing.py", ()),
    ("vault and card numbers (null, or real)", "hsm/", ()),
    ("vault and card numbers (null, or real)", "benchmarks/null_ports.py:NullVault", ()),
    ("vault and card numbers (null, or real)", "benchmarks/null_ports.py:NullPans", ()),
    ("log line, metrics", "switch/watch.py:authorization_line", ()),
    ("log line, metrics", "switch/reporter.py", ()),
    ("log line, metrics", "switch/logs.py", ()),
    ("answer to the terminal", "switch/replies.py", ()),
    ("answer to the terminal", "switch/answers.py:answer", ()),
    ("answer to the terminal", "switch/server.py:TerminalConnection.answer", ()),
    ("link: message built", "switch/acquirers/link_messages.py:build_request", ()),
    ("link: answer matched and judged", "switch/acquirers/link_answers.py", ()),
    (
        "link: answer matched and judged",
        "switch/acquirers/link_connection.py:Connection.data_received",
        (),
    ),
    ("link: signed and sent", "switch/acquirers/iso8583_link.py:IsoLink.send", ()),
    ("link: signed and sent", "switch/acquirers/link_connection.py:Connection._flush", ()),
    ("reception: terminal, rate, form", "switch/reception.py:receive", ()),
    ("reception: terminal, rate, form", "switch/intake.py:read", ()),
    ("reception: terminal, rate, form", "switch/rates.py", ()),
    ("session and MAC", "switch/engine.py:Engine.verify", ()),
    ("checks and route", "switch/intake.py", ()),
    ("checks and route", "switch/limits.py", ()),
    ("rows and numbers", "switch/rows.py", ()),
    ("rows and numbers", "switch/numbers.py", ()),
    ("checks and route", "switch/admission.py", ()),
    ("state machine", "switch/authorization.py", ()),
    ("engine", "switch/money_request.py", ()),
    ("engine", "switch/engine.py", ()),
    ("engine", "switch/load.py", ()),
    ("terminal connections", "switch/server.py", ()),
    ("store (null)", "benchmarks/null_ports.py", ()),
)


def part_of(frame: FrameType | None) -> str:
    while frame is not None:
        code = frame.f_code
        name = f"{code.co_filename.removeprefix(ROOT)}:{code.co_qualname}"
        for part, begins, _ in PARTS:
            if name.startswith(begins):
                return part
        if name.startswith("benchmarks/path.py"):
            return "this benchmark" if code.co_name != "round" else "loop"
        frame = frame.f_back
    return "loop"


async def sample(path: Path, rounds: int) -> None:
    spent: list[float] = []
    parts: Counter[str] = Counter()

    def tick(_signum: int, frame: FrameType | None) -> None:
        if path.timed:
            parts[part_of(frame)] += 1

    signal.signal(signal.SIGPROF, tick)
    signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)
    spent = [await path.round() / LINES / 1e3 for _ in range(rounds)]
    signal.setitimer(signal.ITIMER_PROF, 0)
    total, whole = sum(parts.values()), statistics.median(spent)
    for name, count in parts.most_common():
        print(f"{count / total * whole:6.1f} µs  {count / total * 100:5.1f} %  {name}")
    print(f"{whole:6.1f} µs, {total} samples")


def main() -> None:
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__)
    parser.add_argument("--link", choices=("unionpay_pos", "iso1987_ascii"), default="unionpay_pos")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--parts", action="store_true")
    parser.add_argument("--calls", action="store_true")
    given = parser.parse_args()
    report.begin()
    run(measure(given))


if __name__ == "__main__":
    main()
