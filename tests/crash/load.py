"""The terminals of a crash run: most trade as they like, some are patient, some probe.

Most hang up, repeat, send twice and reverse, at any node. Patient ones keep still when a process of
their node was killed under them, so that what ends their request is the switch alone. Probes ask
each node for an approval at each bank once a round's deeds are over.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from itertools import product
from typing import TYPE_CHECKING, Any

import msgspec

from iso8583.codec import codec_for
from iso8583.errors import DecodeError, FramingError
from iso8583.framing import POS, Framer
from iso8583.message import mask_pan
from terminals.simulator.card import BANK_A, BANK_B
from terminals.simulator.fleet import Fleet, FleetOptions, FleetResult, Line, Mix, TerminalFaults
from terminals.simulator.terminal import Terminal
from tests.crash.history import Answered, Asked, Event, Lost
from tests.crash.plan import TRADING_S
from tests.crash.recovery import RECOVERED_S
from tests.end_to_end.node import terminal_options

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from terminals.simulator.card import CardRange

MANY, PATIENT = 32, 8
# In which the requests of a dead process are to be taken over (10 s), and their reversals to
# arrive: these wait out the timer of the link (2 s), and the queue is looked at now and then. The
# rest is for a machine that has other things to do.
PATIENCE_S = 30.0
AFTERWARDS_S = 1.5  # of trading when the last harm is over
PROBING_S = RECOVERED_S + 5.0
STUCK_S = 120.0  # for the terminals to end what they began
TRADE = FleetOptions(
    duration_s=STUCK_S,
    think_s=0.08,
    faults=TerminalFaults(
        hang_up=0.02, repeat=0.03, repeat_lost=0.02, double=0.01, print_failure=0.02
    ),
    answer_timeout_s=4.0,
    retry_s=0.2,
    tries=300,
    refund_tries=60,
    one_shot=0.3,
)
PURCHASES = Mix(purchase=1.0, **dict.fromkeys(Mix.__struct_fields__[1:], 0.0))
PATIENTLY = FleetOptions(
    duration_s=STUCK_S,
    think_s=0.02,
    mix=PURCHASES,
    answer_timeout_s=PATIENCE_S,
    connect_timeout_s=PATIENCE_S + 5.0,
    retry_s=0.2,
    tries=300,
)
PROBE = FleetOptions(
    duration_s=PROBING_S,
    think_s=0.1,
    mix=PURCHASES,
    answer_timeout_s=4.0,
    retry_s=0.2,
    tries=300,
    settle=False,
)


class Load:
    """All terminals of a life. `resting`: nodes that the balancer has been told to spare;
    `killed_s`: when a process of a node was last killed, on the loop's clock."""

    def __init__(
        self,
        names: tuple[str, ...],
        dice: random.Random,
        note: Callable[[Event], None],
        port_of: Callable[[str], int],
    ) -> None:
        self.names = names
        self.note = note
        self.resting: set[str] = set()
        self.killed_s: dict[str, float] = {}
        self.pairs = list(product(names, (BANK_A, BANK_B)))
        self.terminals = [
            Terminal(terminal_options(index, reversal_tries=10_000), f"{index:04X}")
            for index in range(MANY + PATIENT + len(self.pairs))
        ]
        self._dice = dice
        self._port_of = port_of

    async def trade(self, harm: asyncio.Task[None]) -> list[str]:
        """Every terminal trades until the harm is over, and a little longer; then it clears what it
        owes and settles its batch. Says which terminals gave up."""
        many, patient = self.terminals[:MANY], self.terminals[MANY:][:PATIENT]
        fleets = [Fleet(many, TRADE, self._dice, self._connect)]
        fleets += [Fleet([one], PATIENTLY, self._dice, Patient(self).connect) for one in patient]
        loop = asyncio.get_running_loop()
        ends_s = loop.time() + TRADING_S

        def stop(_: asyncio.Task[None]) -> None:
            for fleet in fleets:
                loop.call_later(max(ends_s - loop.time(), AFTERWARDS_S), fleet.stop)

        harm.add_done_callback(stop)
        async with asyncio.timeout(STUCK_S):
            results = await asyncio.gather(*(fleet.run() for fleet in fleets), self.probe(harm))
        return [text for result in results for text in result.gave_up]

    async def probe(self, harm: asyncio.Task[None]) -> FleetResult:
        """When the harm is over: at each node a purchase at each bank, again until it is approved."""
        await asyncio.wait([harm])
        terminals = self.terminals[MANY + PATIENT :]
        probes = [
            self._probe(terminal, name, cards)
            for terminal, (name, cards) in zip(terminals, self.pairs, strict=True)
        ]
        results = await asyncio.gather(*probes)
        return FleetResult(gave_up=[text for result in results for text in result.gave_up])

    async def _probe(
        self, terminal: Terminal, name: str, cards: tuple[CardRange, ...]
    ) -> FleetResult:
        options = msgspec.structs.replace(PROBE, cards=cards)

        async def connect(*_: Any) -> tuple[Any, Any]:
            return await self.connect(name)

        def told(kind: str, code: str) -> None:
            if (kind, code) == ("purchase", "00"):
                fleet.stop()

        fleet = Fleet([terminal], options, self._dice, connect, told)
        return await fleet.run()

    async def _connect(self, _host: str, _port: int, _factory: Any) -> tuple[Any, Any]:
        return await self.connect(self.choose())

    def choose(self) -> str:
        """Any node will do: a repeat or a reversal often comes to another than its original. As a
        balancer would, it spares one that is being restarted, if there is another."""
        up = [name for name in self.names if name not in self.resting]
        return self._dice.choice(up or list(self.names))

    async def connect(self, name: str) -> tuple[Any, Any]:
        """A recorded connection to this node."""
        return await asyncio.get_running_loop().create_connection(
            lambda: RecordedLine(name, self.note),
            "127.0.0.1",
            self._port_of(name),
        )


class Patient:
    """Who connects for one terminal that keeps still for a while where its node was hit."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._name = ""
        self._connected_s = 0.0

    async def connect(self, *_: Any) -> tuple[Any, Any]:
        loop = asyncio.get_running_loop()
        killed_s = self._load.killed_s.get(self._name, 0.0)
        if killed_s > self._connected_s:
            await asyncio.sleep(killed_s + PATIENCE_S - loop.time())
        self._name, self._connected_s = self._load.choose(), loop.time()
        return await self._load.connect(self._name)


class RecordedLine(Line):
    """A terminal's line that notes what was said on it."""

    def __init__(self, node: str, note: Callable[[Event], None]) -> None:
        super().__init__()
        self._node = node
        self._note = note
        self._out, self._in = Framer(POS), Framer(POS)
        self._codec = codec_for("unionpay_pos")
        self._open: Asked | None = None  # asked, not answered yet
        self._left = False

    def write(self, data: bytes) -> None:
        self._read(self._out, data)
        super().write(data)

    def data_received(self, data: bytes) -> None:
        self._read(self._in, data)
        super().data_received(data)

    def _read(self, framer: Framer, data: bytes) -> None:
        with contextlib.suppress(FramingError, DecodeError):
            for frame in framer.receive_bytes(data):
                event = event_of(self._codec.decode(frame.body), self._node)
                if event is not None:
                    self._note(event)
                    self._open = event if isinstance(event, Asked) else None

    def close(self) -> None:
        self._left = True
        super().close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._open is not None and not self._left:
            self._note(lost(self._open))
        super().connection_lost(exc)


def lost(ask: Asked) -> Lost:
    """That its connection has been ended, now."""
    return Lost(time.monotonic(), ask.node, ask.terminal, ask.what, ask.batch, ask.trace, ask.at_s)


def event_of(message: dict[int, Any], node: str) -> Asked | Answered | None:
    """A money message as an event; None for any other."""
    mti = str(message[0])
    if mti[:2] not in ("02", "04") or 42 not in message or 60 not in message:
        return None
    answer = mti[2] in "13"
    what = mti[:2] + str(int(mti[2]) & ~1)
    terminal = f"{message[42]}/{message[41]}"
    batch, trace = str(message[60])[2:8], str(message[11])
    amount_minor = int(str(message.get(4, "0")))
    original = str(message.get(61, ""))
    if not answer:
        return Asked(
            at_s=time.monotonic(),
            node=node,
            terminal=terminal,
            what=what,
            function=str(message.get(3, ""))[:2],
            batch=batch,
            trace=trace,
            amount_minor=amount_minor,
            pan_masked=mask_pan(str(message.get(2, ""))),
            original=f"{original[:6]}/{original[6:12]}" if original and what != "040" else "",
        )
    return Answered(
        at_s=time.monotonic(),
        node=node,
        terminal=terminal,
        what=what,
        batch=batch,
        trace=trace,
        code=str(message.get(39, "")),
        rrn=str(message.get(37, "")),
        auth_code=str(message.get(38, "")),
        amount_minor=amount_minor,
    )
