"""A simulated shop: one terminal, its lines to the switch, and everything a shop does to them.

The terminal itself is `terminals/simulator`'s, without I/O. Here it dials, hangs up, half-closes,
repeats at another node, sends its reversal before its original has arrived, and brings up old
messages again. What it believes in the end is in its slips: one of the three views of the money.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec

from iso8583.codec import codec_for
from iso8583.errors import FramingError
from iso8583.framing import POS, Frame, Framer, build
from terminals.simulator.choice import make
from terminals.simulator.dice import Dice
from terminals.simulator.terminal import TYPES
from tests.simulation import estate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from switch.virtual.network import Endpoint
    from terminals.simulator.bank import Bank
    from terminals.simulator.card import Card
    from terminals.simulator.terminal import Outcome, Request, Slip, Terminal
    from tests.simulation.world import World

CONNECT_S: Final = 5.0
ANSWER_S: Final = 25.0  # above the link's timer, as a terminal's must be
RETRY_S: Final = 1.0
LATE_UNDO_S: Final = 90.0
POS_CODEC: Final = codec_for("unionpay_pos")
GHOSTS_MAX: Final = 50  # old requests that may come up again
NAMED_IN_REVERSALS: Final = (3, 4, 11, 14, 22, 25, 41, 42, 49, 60)
FINISHED: Final = ("approved", "declined")
NEVER_STORED: Final = frozenset({"03", "30", "58", "77", "96", "97", "A0"})
COPIES: Final = ("double", "twin", "repeat_lost")  # told 96 of one copy, it may be wrong of another


class TillFaults(msgspec.Struct, frozen=True, kw_only=True):
    """Share of transactions that meet each; together at most 1.

    `hang_up`: gone before the answer, then the reversal · `abort`: the same, with a reset · `overtake`:
    the same, and the original is held up so that the reversal may come first · `repeat`: the same bytes
    again after the answer, on a new line · `repeat_lost`: gone, then the same bytes again · `double`:
    the bytes twice in one write · `twin`: the same bytes to two nodes at once · `bad_mac`: its MAC is
    spoilt · `half_close`: end of file behind the request · `print_failure`: approved, then reversed ·
    `bad_answer`: spoilt on its way · `ghost`: the bytes of an old, approved request come up again ·
    `again`: a purchase is voided or refunded twice · `altered`: the same key with another amount ·
    `late_undo`: approved, and reversed after a while, in which its date may be posted ·
    `wrong_reversal`: a reversal of an old, approved request comes, with another amount.
    """

    hang_up: float = 0.0
    abort: float = 0.0
    overtake: float = 0.0
    repeat: float = 0.0
    repeat_lost: float = 0.0
    double: float = 0.0
    twin: float = 0.0
    bad_mac: float = 0.0
    half_close: float = 0.0
    print_failure: float = 0.0
    bad_answer: float = 0.0
    ghost: float = 0.0
    again: float = 0.0
    altered: float = 0.0
    late_undo: float = 0.0
    wrong_reversal: float = 0.0


class Mix(msgspec.Struct, frozen=True, kw_only=True):
    purchase: float = 60.0
    void: float = 12.0
    refund: float = 10.0
    balance: float = 8.0
    settle: float = 4.0
    sign_on: float = 4.0
    poor: float = 2.0
    # what came later has no weight where a plan does not say so: older seeds keep their meaning
    pre_authorisation: float = 0.0
    release: float = 0.0  # its void
    completion: float = 0.0
    completion_void: float = 0.0
    completion_advice: float = 0.0
    offline_sale: float = 0.0
    e_cash_sale: float = 0.0
    adjustment: float = 0.0
    tip: float = 0.0
    qr_payment: float = 0.0
    moto_sale: float = 0.0
    instalment: float = 0.0
    points_sale: float = 0.0
    reservation: float = 0.0
    points_query: float = 0.0
    additional_pre_authorisation: float = 0.0
    script_result: float = 0.0


class Line(asyncio.Protocol):
    """One connection to the switch; None in `frames` says that it is gone."""

    def __init__(self) -> None:
        self.transport: Endpoint
        self.gone = False
        self.frames: deque[Frame] = deque()
        self._framer = Framer(POS)
        self._waiter: asyncio.Future[None] | None = None

    def itself(self) -> Line:
        """The factory that a connect asks for."""
        return self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # this network's own

    def data_received(self, data: bytes) -> None:
        try:
            self.frames.extend(self._framer.receive_bytes(data))
        except FramingError:
            self.transport.close()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def next(self) -> Frame | None:
        while not self.frames and not self.gone:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self.frames.popleft() if self.frames else None


class Till:
    """One terminal's day. `calm` is set when faults have stopped: then everything is brought to its end."""

    def __init__(
        self,
        world: World,
        terminal: Terminal,
        *,
        dice: Dice,
        quota: int,
        cards: list[Card],
        poor: list[Card],
        source: str,
        mix: Mix,
        faults: TillFaults,
        think_s: float,
    ) -> None:
        self.world = world
        self.terminal = terminal
        self.name = terminal.options.terminal
        self.left = quota
        self.traded = 0
        self._dice = dice
        self.cards = cards
        self._poor = poor
        self.source = source
        self._mix = mix
        self._faults = faults
        self._think_s = think_s
        self._line: Line | None = None
        self._ghosts: deque[tuple[Slip, bytes]] = deque(maxlen=GHOSTS_MAX)
        self._side: list[Line] = []
        self.story: Callable[[Till], Awaitable[None]] | None = None  # instead of what dice say
        self.only: tuple[str, int] | None = None  # the address to dial, when not any
        self.estate_dice: Dice | None = None  # of downloads, where the world has any
        if world.estate is not None:
            self.estate_dice = Dice(world.estate.dice.bits64())
        self.copied: set[tuple[str, str]] = set()  # (batch, trace) of what was sent more than once

    # -- the day --------------------------------------------------------------------------------

    async def _fetch(self) -> None:
        """What the header of an answer has asked for."""
        if self.estate_dice is not None:
            await estate.fetch(self, self.estate_dice)

    async def trade(self) -> None:
        """Use up the quota, whatever happens."""
        await asyncio.sleep(self._think_s * self._dice.random())
        await self.sign_on()
        await self._fetch()
        if self.story is not None:
            await self.story(self)
        while self.left > 0:
            self.left -= 1
            await asyncio.sleep(self._dice.exponential_s(self._think_s))
            await self.step()

    async def finish(self) -> None:
        """Nothing goes wrong any more: reverse what is due, know what is unknown, settle."""
        for line in self._side:
            line.transport.close()
        await self.clear()
        if self.estate_dice is not None:
            await estate.take_all(self)
        for slip in self.terminal.slips:
            assert slip.state in ("approved", "declined", "reversed", "not_reversed", "unknown"), (
                slip.state
            )
        await self.settle()
        self.hang_up()

    async def buy_at(self, bank: Bank) -> bool:
        """Buy for a yuan until this bank has approved it; every try is brought to its end."""
        prefix = bank.options.cards[0].bin
        card = next(card for card in self.cards if card.pan.startswith(prefix))
        while True:
            self.hang_up()
            if not self.terminal.signed_on:
                await self.sign_on()
            outcome = await self.ask(lambda: self.terminal.purchase(card, 1_00))
            slip = self.terminal.slips[-1]
            await self.clear()
            if (
                outcome.state == "approved"
                and self.world.checkers.views.approved_by(slip) == bank.options.name
            ):
                return True
            await asyncio.sleep(RETRY_S)

    async def step(self) -> None:
        """One transaction, and what its fault leads to."""
        if not self.terminal.signed_on:
            await self.sign_on()
        mix = tuple(msgspec.structs.asdict(self._mix).items())
        kind = self._dice.weighted(mix)
        if kind == "settle":
            await self.settle()
            await self.sign_on()
            return
        if kind == "sign_on":
            await self.sign_on()
            return
        fault = self._draw_fault()
        if fault != "none":
            self.world.count(f"till {fault}")
        if fault == "ghost":
            await self._haunt()
        elif fault == "wrong_reversal":
            await self._reverse_wrongly()
        self.traded += 1
        outcome = await self.ask(self._request(kind), fault)
        slip = self.terminal.slips[-1]
        if fault == "repeat_lost" and outcome.state == "no_answer":
            outcome = await self.ask(self.terminal.repeat)
        elif fault == "repeat" and outcome.state in FINISHED and known(outcome):
            await self._repeat(outcome)
        elif fault == "print_failure" and undoable(slip):
            self.terminal.undo(slip)
        elif fault == "again" and slip.kind == "purchase" and slip.state == "approved":
            await self._follow_twice(slip)
            return
        elif fault == "altered" and slip.state == "approved" and self._ghosts:
            await self._alter()
        elif fault == "late_undo" and undoable(slip):
            await asyncio.sleep(LATE_UNDO_S * self._dice.random())
            self.terminal.undo(slip)
        await self.know(slip)
        await self.clear()
        await self._fetch()

    def _draw_fault(self) -> str:
        point = self._dice.random()
        for name, rate in msgspec.structs.asdict(self._faults).items():
            point -= rate
            if point < 0:
                return str(name)
        return "none"

    def _request(self, kind: str) -> Callable[[], Request]:
        dice = self._dice
        card = dice.choice(self._poor if kind == "poor" else self.cards)
        amount_minor = dice.between(1_00, 500_00)
        pin = card.pin if dice.chance(0.5) else None
        pick = dice.random()
        return lambda: make(self.terminal, kind, card, amount_minor, pin, pick)

    async def _repeat(self, first: Outcome) -> None:
        """Ask the same again elsewhere: the stored answer must come."""
        self.hang_up()
        slip = self.terminal.slips[-1]
        believed = slip.state
        again = await self.ask(self.terminal.repeat)
        if nothing_looked_up(again):
            slip.state = believed
        elif again.state in FINISHED:
            self.world.checkers.views.repeated(self.name, first, again)

    async def know(self, slip: Slip) -> None:
        """A refund without a final answer is sent again, the same bytes, until there is one."""
        while slip.state == "unknown":
            await asyncio.sleep(RETRY_S * 2)
            if not self.terminal.signed_on:
                return  # its MAC would be of former keys: the host's outcome stands, see `World.know`
            self.copied.add((slip.batch, slip.trace))
            told = await self.ask(self.terminal.repeat)
            if nothing_looked_up(told):
                slip.state = "unknown"

    async def clear(self) -> None:
        """Send the reversal that is due until it ends."""
        while self.terminal.reversal_due:
            if not self.terminal.signed_on:
                await self.sign_on()
            await self.ask(self.terminal.reversal)
            if self.terminal.reversal_due:
                self.hang_up()
                await asyncio.sleep(RETRY_S)

    async def _follow_twice(self, purchase: Slip) -> None:
        """A void or refund of the whole, and once more: the shop presses the button again."""
        follow = self.terminal.void if self._dice.chance(0.5) else self.terminal.refund
        for _ in range(2):
            if self.terminal.signed_on and purchase.state == "approved":
                await self.ask(lambda: follow(purchase))
                await self.know(self.terminal.slips[-1])
                await self.clear()

    async def _alter(self) -> None:
        """The newest approved request again, for a fen more, under a right MAC; on its own line."""
        (frame,) = Framer(POS).receive_bytes(self._ghosts[-1][1])
        message = POS_CODEC.decode(frame.body)
        if 4 not in message:
            return
        message[4] = f"{int(str(message[4])) + 1:012}"
        message.pop(64, None)
        body = self.terminal._encoded(message)
        await self._aside(build(Frame(frame.tpdu, frame.header, body), POS))

    async def _haunt(self) -> None:
        """Old bytes come up again on a line of their own; nobody waits for what they are told."""
        if self._ghosts:
            await self._aside(self._dice.choice(list(self._ghosts))[1])

    async def _reverse_wrongly(self) -> None:
        """A 0400, under a right MAC, that agrees with its original in all but the amount."""
        if not self._ghosts or not self.terminal.signed_on:
            return
        slip, data = self._dice.choice(list(self._ghosts))
        (frame,) = Framer(POS).receive_bytes(data)
        request = POS_CODEC.decode(frame.body)
        message = {de: request[de] for de in NAMED_IN_REVERSALS if de in request}
        amount = f"{int(str(message.get(4, 0))) + 1:012}"
        body = self.terminal._encoded(message | {0: "0400", 2: slip.pan, 4: amount, 39: "06"})
        await self._aside(build(Frame(frame.tpdu, frame.header, body), POS))

    async def _aside(self, data: bytes) -> None:
        line = await self._dial()
        line.transport.write(data)
        self._side.append(line)
        while len(self._side) > 2:
            self._side.pop(0).transport.close()

    # -- management ------------------------------------------------------------------------------

    async def sign_on(self) -> None:
        while True:
            outcome = await self.ask(self.terminal.sign_on)
            if outcome.state == "approved":
                self.world.count("sign-ons")
                for key in (self.terminal._pik, self.terminal._mak):
                    self.world.checkers.secrets.add("a clear key", key)
                return
            self.hang_up()
            await asyncio.sleep(RETRY_S * 4)

    async def settle(self) -> None:
        """0500 until it is answered, and the upload where it does not balance."""
        await self.clear()
        await self._insist(self.terminal.settle)
        while self.terminal.upload_due:
            await self._insist(self.terminal.upload)

    async def _insist(self, make: Callable[[], Request]) -> None:
        again = make
        while True:
            if not self.terminal.signed_on and not self.terminal.upload_due:
                await self.sign_on()
                again = make
            outcome = await self.ask(again)
            if outcome.state == "approved":
                if outcome.kind == "settle":
                    self.world.checkers.views.settled(
                        self.terminal, balanced=outcome.balanced is True
                    )
                return
            if outcome.response_code == "77":
                # rules §10: this address must show a right MAC for this batch first
                await self.ask(lambda: self.terminal.balance(self.cards[0]))
            again = make if outcome.state == "declined" else self.terminal.repeat
            await asyncio.sleep(RETRY_S)

    # -- the wire ----------------------------------------------------------------------------------

    async def ask(self, make: Callable[[], Request], fault: str = "none") -> Outcome:
        """Dial, build, send, wait. The line comes first: a slot is filled only for what may leave."""
        line = await self._open()
        request = make()
        data = request.frame
        if fault == "bad_mac":
            data = data[:-1] + bytes([data[-1] ^ 0x01])
        elif fault == "double":
            data += data
        self.world.note("ask", self.name, request.kind, request.trace, fault)
        if fault == "overtake":
            line.transport.hold_up(self._dice.exponential_s(3.0))
        line.transport.write(data)
        if fault == "half_close":
            line.transport.write_eof()
        elif fault == "twin":
            twin = await self._dial()
            twin.transport.write(data)
            self._side.append(twin)
        if fault in ("hang_up", "abort", "repeat_lost", "overtake"):
            await asyncio.sleep(self._dice.exponential_s(0.02))
            self.hang_up(abort=fault == "abort")
            outcome = self.terminal.no_answer()
        else:
            outcome = await self._wait(line, spoil=fault == "bad_answer")
        if fault == "half_close" or outcome.state == "no_answer":
            self.hang_up()
        self.world.note(
            "told", self.name, request.kind, request.trace, outcome.state, outcome.response_code
        )
        if request.kind in TYPES:
            slip = self.terminal.slips[-1]
            if fault in COPIES:
                self.copied.add((slip.batch, slip.trace))
            if outcome.state == "approved":
                self.world.count(f"approved {slip.kind}")
                self.world.checkers.views.accepted(slip)
                self._ghosts.append((slip, request.frame))
        return outcome

    async def _wait(self, line: Line, *, spoil: bool) -> Outcome:
        try:
            async with asyncio.timeout(ANSWER_S):
                while True:
                    frame = await line.next()
                    if frame is None:
                        return self.terminal.no_answer()
                    if self.terminal.expects(frame):
                        break
        except TimeoutError:
            return self.terminal.no_answer()
        if spoil:
            last = frame.body[-1] ^ 0x01
            frame = Frame(frame.tpdu, frame.header, frame.body[:-1] + bytes([last]))
        return self.terminal.answer(frame)

    async def _open(self) -> Line:
        if self._line is None or self._line.gone or self._line.transport.is_closing():
            self._line = await self._dial()
        elif self._dice.chance(0.3):
            self.hang_up()
            self._line = await self._dial()
        return self._line

    async def _dial(self) -> Line:
        """A new line to any node that takes it."""
        while True:
            host, port = self.only or self._dice.choice(self.world.addresses)
            line = Line()
            try:
                async with asyncio.timeout(CONNECT_S):
                    await self.world.network.connect(line.itself, host, port, self.source)
            except (OSError, TimeoutError):
                await asyncio.sleep(0.5 * self._dice.random())
                continue
            return line

    def hang_up(self, *, abort: bool = False) -> None:
        line, self._line = self._line, None
        if line is not None:
            if abort:
                line.transport.abort()
            else:
                line.transport.close()


def undoable(slip: Slip) -> bool:
    """May the shop find that it has no paper?"""
    return slip.state == "approved" and TYPES[slip.kind].on_unknown == "reverse"


def known(told: Outcome) -> bool:
    """Is the request known to the switch now? Refused before it was stored, it is new when it comes again."""
    return told.response_code not in NEVER_STORED


def nothing_looked_up(told: Outcome) -> bool:
    """An unsigned 96 to a repeat: the store did not answer, what is known has not changed."""
    return told.response_code == "96" and 64 not in told.message
