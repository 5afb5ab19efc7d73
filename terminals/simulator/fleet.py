"""Many simulated terminals over TCP: rates, mixes and faults as options, counts and views as result.

Each terminal is one task that lives as a shopkeeper would: sign on, sell, void, refund, owe a
reversal and send it first, settle, upload. Terminals that share a line are told apart by the source
of their TPDU. A fault is drawn for each transaction from the terminal's own dice, so that a seed
gives the same plans whatever the network does.

The transport is given in: `connect(host, port, protocol_factory)` returns (transport, protocol), as
`loop.create_connection` does with its arguments in another order; time is the running loop's.
"""

from __future__ import annotations

import asyncio
from array import array
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Literal, cast

import msgspec

from iso8583.errors import FramingError
from iso8583.framing import POS, Frame, Framer
from iso8583.message import mask_pan
from terminals.simulator.card import BANK_A, BANK_B, Card, CardPools, CardRange, card_pools
from terminals.simulator.choice import make
from terminals.simulator.dice import Bits, Dice
from terminals.simulator.terminal import TYPES, Outcome, Request, Slip, Terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

Connect = Callable[
    [str, int, Callable[[], asyncio.Protocol]],
    Awaitable[tuple[asyncio.BaseTransport, asyncio.Protocol]],
]
Progress = Callable[[str, str], None]

FaultName = Literal[
    "none",
    "hang_up",
    "repeat",
    "repeat_lost",
    "double",
    "bad_mac",
    "garbage",
    "print_failure",
    "bad_answer",
]

EXPECTED: Final[dict[str, frozenset[str]]] = {
    "wrong_pin": frozenset({"55", "75", "38"}),
    "expired_card": frozenset({"54"}),
    "poor_card": frozenset({"51"}),
}
BATCH_FULL: Final = "65"
SIGN_ON_FIRST: Final = "77"
UPLOAD_MESSAGES_MAX: Final = 2_000
STOP_POLL_S: Final = 0.2


class Mix(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Weights of what a terminal does next. Voids and refunds need a sale; without one it sells."""

    purchase: float = 70.0
    void: float = 6.0
    refund: float = 6.0
    balance: float = 8.0
    wrong_pin: float = 3.0
    expired_card: float = 3.0
    poor_card: float = 3.0
    pre_authorisation: float = 0.0  # followed by its completion
    additional_pre_authorisation: float = 0.0
    release: float = 0.0  # the void of a pre-authorisation
    completion: float = 0.0
    completion_advice: float = 0.0
    completion_void: float = 0.0
    offline_sale: float = 0.0
    e_cash_sale: float = 0.0
    adjustment: float = 0.0
    tip: float = 0.0
    qr_payment: float = 0.0
    moto_sale: float = 0.0
    instalment: float = 0.0
    points_sale: float = 0.0
    points_query: float = 0.0
    reservation: float = 0.0
    script_result: float = 0.0

    def __post_init__(self) -> None:
        weights = msgspec.structs.astuple(self)
        if min(weights) < 0 or sum(weights) <= 0:
            raise ValueError("the weights of a mix are zero or more, not all zero")


class TerminalFaults(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Share of transactions (0 to 1) that meet each fault; together at most 1.

    `hang_up`: gone before the answer, then the reversal · `repeat`: the same bytes again after the
    answer · `repeat_lost`: gone before the answer, then the same bytes again · `double`: the bytes
    twice in one write · `bad_mac`: DE 64 spoilt · `garbage`: noise on a connection of its own first ·
    `print_failure`: approved, then reversed with reason 96 · `bad_answer`: the answer's MAC spoilt on
    its way, reversed with reason A0.
    """

    hang_up: float = 0.0
    repeat: float = 0.0
    repeat_lost: float = 0.0
    double: float = 0.0
    bad_mac: float = 0.0
    garbage: float = 0.0
    print_failure: float = 0.0
    bad_answer: float = 0.0

    def __post_init__(self) -> None:
        rates = msgspec.structs.astuple(self)
        if min(rates) < 0 or sum(rates) > 1 + 1e-9:
            raise ValueError("fault rates are 0 to 1, together at most 1")


class FleetOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a fleet trades.

    It ends after `transactions` (all terminals together) or `duration_s`, whichever is set and comes
    first. `think_s` is the mean pause between a terminal's transactions; `rate_tps` sets it from the
    wanted rate of the whole fleet instead. `one_shot` is the share of terminals that connect anew for
    every message; `terminals_per_line` shares a connection among so many.
    """

    host: str = "127.0.0.1"
    port: int = 8583
    transactions: int = 0
    duration_s: float = 0.0
    think_s: float = 0.0
    rate_tps: float = 0.0
    ramp_s: float = 0.0  # terminals start spread over this time
    terminals_per_line: int = 1
    one_shot: float = 0.0
    cards: tuple[CardRange, ...] = BANK_A + BANK_B
    amount_min_minor: int = 1_00
    amount_max_minor: int = 2_000_00
    pin_share: float = 0.7
    mix: Mix = Mix()
    faults: TerminalFaults = TerminalFaults()
    answer_timeout_s: float = 60.0
    connect_timeout_s: float = 5.0
    retry_s: float = 1.0
    tries: int = 30  # of a connection, a sign-on, a settlement
    refund_tries: int = 5
    settle: bool = True

    def __post_init__(self) -> None:
        if self.transactions <= 0 and self.duration_s <= 0:
            raise ValueError("one of transactions and duration_s must be set")
        if not 1 <= self.terminals_per_line <= 10_000:
            raise ValueError("terminals_per_line is 1 to 10000")
        if not 0 < self.amount_min_minor <= self.amount_max_minor:
            raise ValueError("amount_min_minor is above 0 and not above amount_max_minor")


class Latency(msgspec.Struct, frozen=True):
    """Of answered requests, in ms."""

    count: int
    p50_ms: float
    p99_ms: float
    max_ms: float


class SlipView(msgspec.Struct, frozen=True):
    """A slip as it may be shown: the merchant's and the cardholder's view of one request."""

    kind: str
    merchant: str
    terminal: str
    batch: str
    trace: str
    pan_masked: str
    amount_minor: int
    approved_minor: int
    effect_minor: int
    state: str
    response_code: str
    rrn: str
    auth_code: str
    settlement_date: str
    reversal_reason: str
    reversal_answer: str


class FleetResult(msgspec.Struct):
    """What the fleet saw. `slips` holds test PANs: `views` is the list to write out."""

    transactions: int = 0
    elapsed_s: float = 0.0
    counts: dict[str, dict[str, int]] = {}
    reversals: dict[str, int] = {}  # "reason answer"
    faults: dict[str, int] = {}
    repeats_same: int = 0
    repeats_different: list[str] = []
    surprises: dict[str, int] = {}  # answers that the step was not made for
    settlements: dict[str, int] = {}  # balanced, uploaded, failed
    sign_ons: int = 0
    downloads: dict[str, int] = {}  # topic → how often one was brought to its end
    connects: int = 0
    connections_lost: int = 0
    stale_answers: int = 0
    gave_up: list[str] = []
    latency: dict[str, Latency] = {}
    slips: list[Slip] = []

    def views(self) -> list[SlipView]:
        """All slips, PANs masked, in order of terminal, batch and trace."""
        return [
            SlipView(
                kind=slip.kind,
                merchant=slip.merchant,
                terminal=slip.terminal,
                batch=slip.batch,
                trace=slip.trace,
                pan_masked=mask_pan(slip.pan),
                amount_minor=slip.amount_minor,
                approved_minor=slip.approved_minor,
                effect_minor=slip.effect_minor,
                state=slip.state,
                response_code=slip.response_code,
                rrn=slip.rrn,
                auth_code=slip.auth_code,
                settlement_date=slip.settlement_date,
                reversal_reason=slip.reversal_reason,
                reversal_answer=slip.reversal_answer,
            )
            for slip in sorted(self.slips, key=lambda s: (s.merchant, s.terminal, s.batch, s.trace))
        ]

    @property
    def effect_minor(self) -> int:
        """What the slips say moved from cards to merchants."""
        return sum(slip.effect_minor for slip in self.slips)

    @property
    def undecided(self) -> list[Slip]:
        """Slips about money whose end the terminal does not know."""
        open_states = ("in_flight", "unknown", "reversing", "not_reversed")
        return [
            slip
            for slip in self.slips
            if slip.state in open_states and TYPES[slip.kind].on_unknown != "forget"
        ]

    def __repr__(self) -> str:
        return f"FleetResult({self.transactions} transactions, {len(self.slips)} slips)"


# -- lines -------------------------------------------------------------------------


class Line(asyncio.Protocol):
    """One TCP connection; frames go to the mailbox that their TPDU names."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.closed = asyncio.get_running_loop().create_future()
        self.stale = 0
        self._framer = Framer(POS)
        self._boxes: dict[bytes, Mailbox] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            frames = self._framer.receive_bytes(data)
        except FramingError:
            self.close()
            return
        for frame in frames:
            box = self._boxes.get(frame.tpdu[1:3])
            if box is None:
                self.stale += 1
            else:
                box.put(frame)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if not self.closed.done():
            self.closed.set_result(None)
        for box in self._boxes.values():
            box.put(None)

    @property
    def open(self) -> bool:
        """Whether bytes can be sent."""
        return self.transport is not None and not self.transport.is_closing()

    def mailbox(self, address: bytes) -> Mailbox:
        """Where the answers for a terminal arrive."""
        return self._boxes.setdefault(address, Mailbox())

    def write(self, data: bytes) -> None:
        """Send now; on a closed line nothing happens, and no answer will come."""
        if self.transport is not None:
            self.transport.write(data)

    def close(self) -> None:
        """Close from our side."""
        if self.transport is not None:
            self.transport.close()


class Mailbox:
    """Frames for one terminal; None says that the line is gone."""

    def __init__(self) -> None:
        self._frames: deque[Frame | None] = deque()
        self._waiter: asyncio.Future[None] | None = None

    def put(self, frame: Frame | None) -> None:
        """Leave a frame; wake who waits."""
        self._frames.append(frame)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def get(self) -> Frame | None:
        """The next frame, or None when the line is gone."""
        while not self._frames:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._frames[0] is None:
            return None
        return self._frames.popleft()


class Trunk:
    """The connection that some terminals share; opened when one of them needs it."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._line: Line | None = None
        self._lock = asyncio.Lock()

    async def line(self) -> Line:
        """An open line; ConnectionError when none can be had within the tries."""
        async with self._lock:
            if self._line is None or not self._line.open:
                self._line = await self._fleet.dial()
            return self._line

    async def hang_up(self) -> None:
        """Close the line and wait until it is closed."""
        if self._line is not None:
            self._line.close()
            await self._line.closed
            self._line = None


# -- the fleet -----------------------------------------------------------------------


class Fleet:
    """Drives terminals as the options say. Use `run`."""

    def __init__(
        self,
        terminals: Sequence[Terminal],
        options: FleetOptions,
        bits: Bits,
        connect: Connect,
        progress: Progress | None = None,
    ) -> None:
        if not terminals:
            raise ValueError("a fleet needs a terminal")
        addresses = Counter(terminal.tpdu_address for terminal in terminals)
        if options.terminals_per_line > 1 and max(addresses.values()) > 1:
            raise ValueError("terminals that share a line need TPDU sources of their own")
        self.options = options
        self.pools: CardPools = card_pools(options.cards)
        self.result = FleetResult()
        self.deadline_s = float("inf")
        self.stopping = False
        self._connect = connect
        self._progress = progress
        self._latency_ms: dict[str, array[float]] = {}
        self._terminals = terminals
        count = len(terminals)
        self.think_s = count / options.rate_tps if options.rate_tps > 0 else options.think_s
        shared = options.terminals_per_line
        trunks = [Trunk(self) for _ in range((count + shared - 1) // shared)]
        self.agents: list[Agent] = []
        for index, terminal in enumerate(terminals):
            quota = options.transactions // count + (index < options.transactions % count)
            dice = Dice.from_bits(bits)
            one_shot = shared == 1 and dice.chance(options.one_shot)
            trunk = trunks[index // shared]
            start_s = options.ramp_s * index / count
            self.agents.append(
                Agent(self, terminal, trunk, dice, quota, start_s, one_shot=one_shot)
            )

    async def run(self) -> FleetResult:
        """Trade until the work or the time is used up, settle, and say what happened."""
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        if self.options.duration_s > 0:
            self.deadline_s = begun_s + self.options.duration_s
        try:
            async with asyncio.TaskGroup() as group:
                for agent in self.agents:
                    group.create_task(agent.run())
        finally:
            for agent in self.agents:
                await agent.trunk.hang_up()
        self.result.elapsed_s = round(loop.time() - begun_s, 3)
        for one in self._terminals:
            for topic, times in one.downloads.ended.items():
                self.result.downloads[topic] = self.result.downloads.get(topic, 0) + times
        self.result.slips = [slip for one in self._terminals for slip in one.slips]
        self.result.latency = {
            kind: latency_of(samples) for kind, samples in sorted(self._latency_ms.items())
        }
        return self.result

    def stop(self) -> None:
        """Begin nothing new: terminals finish, reverse what they owe, and settle."""
        self.stopping = True

    async def dial(self) -> Line:
        """A new connection, tried again with a pause; ConnectionError in the end."""
        options = self.options
        for _ in range(options.tries):
            try:
                async with asyncio.timeout(options.connect_timeout_s):
                    _, line = await self._connect(options.host, options.port, Line)
            except (OSError, TimeoutError):
                await asyncio.sleep(options.retry_s)
                continue
            assert isinstance(line, Line)
            self.result.connects += 1
            return line
        raise ConnectionError(f"no connection to {options.host}:{options.port}")

    def count(self, outcome: Outcome, latency_s: float | None) -> None:
        """Note one answer, or its absence."""
        code = outcome.response_code or (
            outcome.state if outcome.state in ("no_answer", "bad_answer") else "-"
        )
        codes = self.result.counts.setdefault(outcome.kind, {})
        codes[code] = codes.get(code, 0) + 1
        if latency_s is not None:
            samples = self._latency_ms.setdefault(outcome.kind, array("d"))
            samples.append(latency_s * 1000)
        if self._progress is not None:
            self._progress(outcome.kind, code)


class Step(msgspec.Struct, frozen=True):
    """What a terminal has drawn to do next."""

    label: str  # a name of `Mix`
    card: Card
    amount_minor: int
    pin: str | None
    fault: FaultName
    pick: float  # which of the voidable or refundable slips, 0 to 1


class Agent:
    """One terminal and whoever stands behind the counter."""

    def __init__(
        self,
        fleet: Fleet,
        terminal: Terminal,
        trunk: Trunk,
        dice: Dice,
        quota: int,
        start_s: float,
        *,
        one_shot: bool,
    ) -> None:
        self.terminal = terminal
        self.trunk = trunk
        self._fleet = fleet
        self._options = fleet.options
        self._dice = dice
        self._quota = quota
        self._start_s = start_s
        self._one_shot = one_shot

    async def run(self) -> None:
        """The terminal's day."""
        try:
            await asyncio.sleep(self._start_s)
            await self.sign_on()
            while self._goes_on():
                if self._fleet.think_s > 0:
                    await self._pause(self._dice.exponential_s(self._fleet.think_s))
                await self.step(self.draw())
            await self.clear()
            if self._options.settle:
                await self.settle()
        except ConnectionError as error:
            self._fleet.result.gave_up.append(f"{self.terminal.options.terminal}: {error}")

    def _goes_on(self) -> bool:
        fleet, options = self._fleet, self._options
        if fleet.stopping or asyncio.get_running_loop().time() >= fleet.deadline_s:
            return False
        if options.transactions > 0:
            self._quota -= 1
            return self._quota >= 0
        return True

    async def _pause(self, pause_s: float) -> None:
        """Sleep, but notice that the fleet stops."""
        while pause_s > 0 and not self._fleet.stopping:
            await asyncio.sleep(min(pause_s, STOP_POLL_S))
            pause_s -= STOP_POLL_S

    # -- one transaction -----------------------------------------------------------

    def draw(self) -> Step:
        """What comes next. Always the same number of draws, whatever they say."""
        dice, options = self._dice, self._options
        label = dice.weighted(tuple(msgspec.structs.asdict(options.mix).items()))
        fault = draw_fault(dice, options.faults)
        pool = {
            "expired_card": self._fleet.pools.expired,
            "poor_card": self._fleet.pools.poor,
        }.get(label) or self._fleet.pools.sound
        card = pool[dice.below(len(pool))]
        amount_minor = dice.between(options.amount_min_minor, options.amount_max_minor)
        with_pin = dice.chance(options.pin_share)
        pick = dice.random()
        pin: str | None = None
        if label == "wrong_pin":
            pin = f"{(int(card.pin) + 1) % 1_000_000:06}"
        elif with_pin or label == "balance":
            pin = card.pin
        return Step(label, card, amount_minor, pin, fault, pick)

    async def step(self, step: Step) -> None:
        """Do it, and what its fault leads to."""
        result = self._fleet.result
        if not self.terminal.signed_on:
            await self.sign_on()
        if step.fault != "none":
            result.faults[step.fault] = result.faults.get(step.fault, 0) + 1
        if step.fault == "garbage":
            await self.garbage()
        result.transactions += 1
        outcome = await self.ask(lambda: self._request(step), step.fault)
        self._judge(step, outcome)
        slip = self.terminal.slips[-1]
        kind = TYPES[slip.kind]
        if step.fault == "repeat_lost" and outcome.state == "no_answer":
            outcome = await self.ask(self.terminal.repeat)
        elif step.fault == "repeat" and outcome.state in ("approved", "declined"):
            await self._repeat(outcome)
        elif step.fault == "print_failure" and slip.state == "approved":
            if kind.on_unknown == "reverse":
                self.terminal.undo(slip)
        elif step.label == "pre_authorisation" and slip.state == "approved":
            outcome = await self.ask(lambda: self.terminal.complete(slip, slip.approved_minor))
        await self._settle_unknown(slip)
        await self.clear()
        if outcome.response_code == BATCH_FULL:
            await self.settle()
        elif not self.terminal.signed_on:
            await self.sign_on()
        else:
            await self.download()

    def _request(self, step: Step) -> Request:
        return make(self.terminal, step.label, step.card, step.amount_minor, step.pin, step.pick)

    def _judge(self, step: Step, outcome: Outcome) -> None:
        """Count an answer that the step was not made for."""
        if outcome.state not in ("approved", "declined"):
            return
        expected = EXPECTED.get(step.label, frozenset({"00"}))
        if step.fault == "bad_mac":
            expected = frozenset({"A0"})
        if outcome.response_code not in expected:
            name = f"{step.label} {step.fault} {outcome.response_code}"
            surprises = self._fleet.result.surprises
            surprises[name] = surprises.get(name, 0) + 1

    async def _repeat(self, first: Outcome) -> None:
        """Ask the same again: the stored answer must come."""
        second = await self.ask(self.terminal.repeat)
        result = self._fleet.result
        if second.state not in ("approved", "declined"):
            return
        same_rrn = second.rrn == first.rrn or first.state == "declined"
        if second.response_code == first.response_code and same_rrn:
            result.repeats_same += 1
        else:
            name = f"{self.terminal.options.terminal} {first.kind} {first.trace}"
            result.repeats_different.append(
                f"{name}: {first.response_code}, then {second.response_code}"
            )

    async def _settle_unknown(self, slip: Slip) -> None:
        """A refund without a final answer is sent again, the same bytes."""
        if TYPES[slip.kind].on_unknown != "repeat":
            return
        for _ in range(self._options.refund_tries):
            if slip.state != "unknown":
                return
            await asyncio.sleep(self._options.retry_s)
            await self.ask(self.terminal.repeat)

    async def clear(self) -> None:
        """Send the reversal that is due until it ends."""
        result = self._fleet.result
        while self.terminal.reversal_due:
            if not self.terminal.signed_on:
                await self.sign_on()
            outcome = await self.ask(self.terminal.reversal)
            if self.terminal.reversal_due:
                await asyncio.sleep(self._options.retry_s)
                continue
            slip = next(s for s in reversed(self.terminal.slips) if s.trace == outcome.trace)
            name = f"{slip.reversal_reason} {outcome.response_code or 'dropped'}"
            result.reversals[name] = result.reversals.get(name, 0) + 1

    async def garbage(self) -> None:
        """Noise on a connection of its own; a good host closes it."""
        line = await self._fleet.dial()
        length = self._dice.between(1, 600)
        noise = b"".join(self._dice.bits64().to_bytes(8, "big") for _ in range((length + 7) // 8))
        line.write(noise[:length])
        await asyncio.wait([line.closed], timeout=self._options.retry_s)
        line.close()
        await line.closed

    # -- management ------------------------------------------------------------------

    async def sign_on(self) -> None:
        """Until it succeeds; ConnectionError when the tries are used up."""
        for _ in range(self._options.tries):
            outcome = await self.ask(self.terminal.sign_on)
            if outcome.state == "approved":
                self._fleet.result.sign_ons += 1
                await self.download()
                return
            await asyncio.sleep(self._options.retry_s)
        raise ConnectionError("sign-on refused")

    async def download(self) -> None:
        """What answers have asked for, message by message; what gets no answer is sent anew."""
        for _ in range(self._options.tries):
            while self.terminal.downloads.due:
                outcome = await self.ask(self.terminal.download)
                if outcome.state == "no_answer":
                    break
            else:
                return
            await asyncio.sleep(self._options.retry_s)

    async def settle(self) -> None:
        """0500, and the upload where it does not balance."""
        settlements = self._fleet.result.settlements
        outcome = await self._insist(self.terminal.settle)
        if outcome is None:
            settlements["failed"] = settlements.get("failed", 0) + 1
            return
        name = "balanced" if outcome.balanced else "uploaded"
        for _ in range(UPLOAD_MESSAGES_MAX):
            if not self.terminal.upload_due:
                break
            if await self._insist(self.terminal.upload) is None:
                name = "failed"
                break
        settlements[name] = settlements.get(name, 0) + 1

    async def _insist(self, make: Callable[[], Request]) -> Outcome | None:
        """Ask until approved; a request that got no answer is sent again as it was."""
        again = make
        for _ in range(self._options.tries):
            if not self.terminal.signed_on and not self.terminal.upload_due:
                await self.sign_on()
                again = make
            outcome = await self.ask(again)
            if outcome.state == "approved":
                return outcome
            if outcome.response_code == SIGN_ON_FIRST:
                await self.show_itself()
            again = make if outcome.state == "declined" else self.terminal.repeat
            await asyncio.sleep(self._options.retry_s)
        return None

    async def show_itself(self) -> None:
        """A signed request: what a host wants to have seen from here before unsigned ones."""
        if not self.terminal.signed_on:
            await self.sign_on()
        if not self.terminal.reversal_due and not self.terminal.upload_due:
            card = self._fleet.pools.sound[0]
            await self.ask(lambda: self.terminal.balance(card, pin=card.pin))

    # -- the wire ----------------------------------------------------------------------

    async def ask(self, make: Callable[[], Request], fault: FaultName = "none") -> Outcome:
        """Connect, build, send, wait. The line comes first, so that a reversal slot is only filled
        for what may really leave."""
        line = await self.trunk.line()
        box = line.mailbox(self.terminal.tpdu_address)
        request = make()
        data = request.frame
        if fault == "bad_mac":
            data = data[:-1] + bytes([data[-1] ^ 0x01])
        elif fault == "double":
            data += data
        begun_s = asyncio.get_running_loop().time()
        line.write(data)
        if fault in ("hang_up", "repeat_lost"):
            await asyncio.sleep(self._dice.exponential_s(0.01))
            if self._options.terminals_per_line == 1:
                await self.trunk.hang_up()
            outcome = self.terminal.no_answer()
            self._fleet.count(outcome, None)
            return outcome
        outcome = await self._wait(line, box, spoil=fault == "bad_answer")
        answered = outcome.state in ("approved", "declined")
        elapsed_s = asyncio.get_running_loop().time() - begun_s
        self._fleet.count(outcome, elapsed_s if answered else None)
        if self._one_shot or outcome.state == "no_answer":
            await self._leave()
        return outcome

    async def _leave(self) -> None:
        if self._options.terminals_per_line == 1:
            await self.trunk.hang_up()

    async def _wait(self, line: Line, box: Mailbox, *, spoil: bool) -> Outcome:
        try:
            async with asyncio.timeout(self._options.answer_timeout_s):
                while True:
                    frame = await box.get()
                    if frame is None:
                        self._fleet.result.connections_lost += 1
                        return self.terminal.no_answer()
                    if self.terminal.expects(frame):
                        break
                    self._fleet.result.stale_answers += 1
        except TimeoutError:
            return self.terminal.no_answer()
        if spoil:
            last = frame.body[-1] ^ 0x01
            frame = Frame(frame.tpdu, frame.header, frame.body[:-1] + bytes([last]))
        return self.terminal.answer(frame)


async def run(
    terminals: Sequence[Terminal],
    options: FleetOptions,
    bits: Bits,
    connect: Connect,
    progress: Progress | None = None,
) -> FleetResult:
    """Drive a fleet to its end. Deterministic for the same bits, hosts and transport."""
    return await Fleet(terminals, options, bits, connect, progress).run()


# -- leaves ----------------------------------------------------------------------------


def draw_fault(dice: Dice, faults: TerminalFaults) -> FaultName:
    """One fault or none; a single draw."""
    point = dice.random()
    rates: list[tuple[FaultName, float]] = [
        ("hang_up", faults.hang_up),
        ("repeat", faults.repeat),
        ("repeat_lost", faults.repeat_lost),
        ("double", faults.double),
        ("bad_mac", faults.bad_mac),
        ("garbage", faults.garbage),
        ("print_failure", faults.print_failure),
        ("bad_answer", faults.bad_answer),
    ]
    for name, rate in rates:
        point -= rate
        if point < 0:
            return name
    return "none"


def latency_of(samples: array[float]) -> Latency:
    """Nearest-rank percentiles."""
    ordered = sorted(samples)

    def rank(percent: int) -> float:
        return round(ordered[max(-(-len(ordered) * percent // 100) - 1, 0)], 3)

    return Latency(len(ordered), rank(50), rank(99), round(ordered[-1], 3))
