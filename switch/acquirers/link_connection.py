"""One connection of a link: bytes in and out, and the executor of `switch/network_management.py`."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import structlog

from hsm.errors import VaultError
from iso8583.errors import EncodeError, FramingError
from iso8583.framing import Framer, FramingSpec
from switch import network_management as management
from switch.network_management import Effect, Event, Phase

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from iso8583.message import Message
    from switch.acquirers.incoming import Place
    from switch.reference import Link

_log = structlog.get_logger(__name__)

NUMBERS_RETRY_S: Final = 0.1  # a sign-on waits for the first block of numbers
TOGETHER_MAX: Final = 16  # requests in one write; more would only keep the host waiting
WRITE_BUFFER_BYTES: Final = 262_144  # unsent bytes; then the connection takes no new request

# Upper bounds, in seconds, of how long a bank took; the last bucket has none.
ANSWER_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


@dataclass(slots=True)  # one more on a Struct costs as much as a call
class Counters:
    """What happened on the link since this process started."""

    sent: int = 0
    answered: int = 0
    not_sent: int = 0
    circuit_opened: int = 0
    expired: int = 0
    late: int = 0
    unmatched: int = 0
    twice: int = 0
    unmatched_dropped: int = 0
    mac_failed: int = 0
    mismatched: int = 0
    undecodable: int = 0
    echoes_missed: int = 0
    connections_opened: int = 0
    connections_lost: int = 0
    connections_refused: int = 0
    key_changes: int = 0
    key_changes_failed: int = 0
    cutovers: int = 0
    answer_s: float = 0.0  # from message to answer, all together
    answer_buckets: list[int] = field(default_factory=lambda: [0] * (len(ANSWER_S) + 1))

    def answered_in(self, took_s: float) -> None:
        self.answered += 1
        self.answer_s += took_s
        self.answer_buckets[bisect_left(ANSWER_S, took_s)] += 1


@dataclass(slots=True)
class SlotCounters:
    """The same of one slot: of the connections that this process has had there, one after the other."""

    sent: int = 0
    answered: int = 0
    expired: int = 0
    echoes_missed: int = 0
    opened: int = 0
    lost: int = 0


class Owner(Protocol):
    """What a connection needs of the link it belongs to."""

    link: Link
    framing: FramingSpec
    counters: Counters

    @property
    def name(self) -> str: ...

    @property
    def managed(self) -> bool: ...

    def numbers(self) -> tuple[str, str] | None: ...

    def slot_counters(self, slot: int) -> SlotCounters: ...

    def opened(self, connection: Connection) -> None: ...

    def usable(self, connection: Connection, *, usable: bool) -> None: ...

    def lost(self, connection: Connection) -> None: ...

    def retire(self, connection: Connection) -> None: ...

    def received(self, connection: Connection, body: bytes) -> None: ...

    def asked(self, message: Message) -> bool:
        """Handle an 0810 to what the link itself asked, on whichever connection; False: it is none."""
        ...

    def unmatched(self, message: Message, slot: int) -> None:
        """An answer to no management request of ours."""
        ...

    def asked_on(self, answer: Message) -> Connection | None: ...

    async def management_frame(self, message: Message) -> bytes: ...

    async def management_verifies(self, message: Message, body: bytes) -> bool: ...

    def cutover(self, code: str, month_day: str) -> None: ...

    async def import_key(self, usage: str, content: str) -> str: ...

    def at_once(self, work: Coroutine[Any, Any, None]) -> None: ...

    def spawn(self, work: Coroutine[Any, Any, None]) -> None: ...

    def monotonic_ns(self) -> int: ...


class Connection(asyncio.Protocol):
    """One connection: bytes in and out, and the executor of `network_management`."""

    def __init__(self, owner: Owner, serial: int, slot: int) -> None:
        self.serial = serial
        self.slot = slot  # of the link's, cluster-wide
        self.counters = owner.slot_counters(slot)
        self.waiting = 0  # messages that left here and wait for their answer
        self.doubted = False  # some wait, and nothing has been heard for `echo_waiting_s`
        self.closed = asyncio.Event()
        self.opened = False
        self.was_ready = False
        self.place: Place | None = None  # of the keeper that waits for the bank to connect
        self.retiring = (
            False  # it takes no request any more, and ends when it has no answer to wait for
        )
        self._owner = owner
        self._framer = Framer(owner.framing)
        self._state = management.Connection()
        self._transport: asyncio.Transport | None = None
        self._abandoned = False
        self._paused = False
        self._heard_at_s = 0.0
        self._outgoing: list[
            tuple[bytes, int]
        ] = []  # requests of this turn of the loop, send-by ns
        self._asked: tuple[str, str, str, float] | None = None  # DE 7, 11, 70; when
        self._asked_timer: asyncio.TimerHandle | None = None
        self._idle_timer: asyncio.TimerHandle | None = None

    @property
    def signed_on(self) -> bool:
        return self._state.phase is Phase.SIGNED_ON

    @property
    def stands(self) -> bool:
        return self.opened and not self.closed.is_set()

    @property
    def writable(self) -> bool:
        transport = self._transport
        return transport is not None and not self._paused and not transport.is_closing()

    def protocol(self) -> asyncio.Protocol:
        """Itself: the factory that a transport asks for."""
        return self

    def send(self, data: bytes, send_by_ns: int) -> None:
        """Write a request, together with the others of this turn of the loop: one system call."""
        if not self._outgoing:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outgoing.append((data, send_by_ns))
        if len(self._outgoing) >= TOGETHER_MAX:
            self._flush()

    def _flush(self) -> None:
        """What is still in time leaves (rules §4); the rest stays unanswered, and so unknown."""
        outgoing, self._outgoing = self._outgoing, []
        if not outgoing or self._transport is None:
            return
        now_ns = self._owner.monotonic_ns()
        data = b"".join([data for data, send_by_ns in outgoing if now_ns < send_by_ns])
        if data:
            self._transport.write(data)

    def write(self, data: bytes) -> None:
        """Write at once, after what waits to leave."""
        self._flush()
        if self._transport is not None:
            self._transport.write(data)

    def abandon(self) -> None:
        """Connecting took too long: should it succeed after all, it is closed."""
        self._abandoned = True
        if self.place is not None:
            self.place.end(taken=False)
        self.abort()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def end(self, *, at_once: bool) -> None:
        """`slots.User`: the bank must see one connection less of ours."""
        if not self.opened:
            self.abandon()
        elif at_once:
            self.abort()
        else:
            self._owner.retire(self)

    # -- asyncio.Protocol --

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        if self._abandoned:
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        loop = asyncio.get_running_loop()
        self._heard_at_s = loop.time()
        self.opened = True
        self._owner.opened(self)
        if self._owner.managed:
            self._idle_timer = loop.call_later(self._look_s(), self._idle)
            ours = self._owner.link.sign_on == "us"
            self.tell(Event.CONNECTED if ours else Event.CONNECTED_TO_WAIT)
        else:
            self._state = management.Connection(Phase.SIGNED_ON)
            self._execute(Effect.READY)

    def data_received(self, data: bytes) -> None:
        self._heard_at_s = asyncio.get_running_loop().time()
        self.doubted = False
        self._state = management.heard(self._state)
        self.take(data)

    def take(self, data: bytes) -> None:
        try:
            frames = self._framer.receive_bytes(data)
        except FramingError as error:
            self._bad_framing(error)
            return
        for frame in frames:
            try:
                self._owner.received(self, frame.body)
            except Exception:  # noqa: BLE001 - one message must not cost the others their connection
                _log.exception("link_message_failed", acquirer=self._owner.name)
        if self._framer.error is not None:
            self._bad_framing(self._framer.error)

    def _bad_framing(self, error: FramingError) -> None:
        self._owner.counters.undecodable += 1
        _log.warning("link_framing_bad", acquirer=self._owner.name, reason=str(error))
        self.abort()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._asked_timer, self._idle_timer):
            if timer is not None:
                timer.cancel()
        if self.opened:
            _log.info(
                "link_connection_lost",
                acquirer=self._owner.name,
                connection=self.serial,
                error=None if exc is None else repr(exc),
            )
            self.tell(Event.LOST)
            self._owner.lost(self)
        self.closed.set()

    # -- network management --

    def tell(self, event: Event) -> None:
        was_ready = self._state.phase is Phase.SIGNED_ON
        self._state, effects = management.step(self._state, event)
        if event is Event.DRAIN and was_ready and not self._owner.managed:
            effects = (Effect.NOT_READY, Effect.CLOSE)
        for effect in effects:
            self._execute(effect)

    def _execute(self, effect: Effect) -> None:
        match effect:
            case Effect.SEND_SIGN_ON:
                self._ask(management.SIGN_ON)
            case Effect.SEND_SIGN_OFF:
                self._ask(management.SIGN_OFF)
            case Effect.SEND_ECHO:
                self._ask(management.ECHO)
            case Effect.READY:
                self.was_ready = True
                self._owner.usable(self, usable=True)
            case Effect.NOT_READY:
                self._owner.usable(self, usable=False)
            case Effect.CLOSE:
                self._flush()
                if self._transport is not None:
                    self._transport.close()

    def _ask(self, code: str) -> None:
        """Send our 0800 and start its timer; without a number, a little later."""
        loop = asyncio.get_running_loop()
        owner = self._owner
        if self._asked_timer is not None:
            self._asked_timer.cancel()
        numbers = owner.numbers()
        if numbers is None:
            self._asked_timer = loop.call_later(NUMBERS_RETRY_S, self._ask, code)
            return
        stan, transmission_time = numbers
        link = owner.link
        message = management.ask(code, stan, transmission_time, link.de32, link.de33)
        asked = self._asked = (transmission_time, stan, code, loop.time())
        self._asked_timer = loop.call_later(link.timeout_s, self._missed)
        owner.at_once(self._send_ask(message, asked))

    async def send_management(self, message: Message) -> None:
        """An 0800 of the link's own, which is answered to the link."""
        self.write(await self._owner.management_frame(message))

    async def _send_ask(self, message: Message, asked: tuple[str, str, str, float]) -> None:
        """The timer runs already; an ask that another has followed meanwhile does not leave."""
        try:
            data = await self._owner.management_frame(message)
        except (EncodeError, VaultError) as error:
            _log.error("link_management_not_sent", acquirer=self._owner.name, error=repr(error))
            self.abort()
            return
        if self._asked is asked:
            self.write(data)

    def _missed(self) -> None:
        asked, self._asked = self._asked, None
        if asked is not None and asked[2] == management.ECHO:
            if self._heard_at_s > asked[3]:
                return  # it answers other things: it lives
            self._owner.counters.echoes_missed += 1
            self.counters.echoes_missed += 1
        self.tell(Event.MISSED)

    def _idle(self) -> None:
        """Nothing heard for so long: an echo. Sooner where requests wait: until it is answered, they
        take other connections if there are any."""
        loop, link = asyncio.get_running_loop(), self._owner.link
        quiet_s = loop.time() - self._heard_at_s
        self.doubted = bool(self.waiting) and quiet_s >= link.echo_waiting_s
        if (self.doubted or quiet_s >= link.echo_idle_s) and self._asked is None:
            self.tell(Event.IDLE)
        left_s = link.echo_idle_s - quiet_s
        self._idle_timer = loop.call_later(
            min(left_s, self._look_s()) if left_s > 0 else self._look_s(), self._idle
        )

    def _look_s(self) -> float:
        link = self._owner.link
        return min(link.echo_idle_s, link.echo_waiting_s) / 2

    def asks(self, answer: Message) -> bool:
        """Is this the answer to what we have asked last?"""
        asked = self._asked
        return asked is not None and (answer.get(7), answer.get(11)) == asked[:2]

    async def managed(self, message: Message, body: bytes) -> None:
        """An 08xx of the host: the answer to ours, or its own."""
        verified = await self._owner.management_verifies(message, body)
        if self.closed.is_set():
            return
        if not verified:
            self._owner.counters.mac_failed += 1
            if str(message[0])[2] in "02":
                await self._reply(message, "A0")
            return
        if str(message[0])[2] in "02":
            await self._asked_by_host(message)
            return
        asked = self._asked
        if asked is None or (message.get(7), message.get(11)) != asked[:2]:
            if not self._owner.asked(message):
                self._owner.unmatched(message, self.slot)
            return
        self._asked = None
        if self._asked_timer is not None:
            self._asked_timer.cancel()
        response_code = message.get(39)
        if response_code != "00":
            _log.warning(
                "link_management_refused",
                acquirer=self._owner.name,
                code=asked[2],
                response_code=response_code,
            )
        self.tell(Event.ACCEPTED if response_code == "00" else Event.REFUSED)

    async def _asked_by_host(self, message: Message) -> None:
        asked = management.read_ask(message)
        if asked.import_key is not None:
            self._owner.spawn(self._change_key(message, *asked.import_key))
            return
        await self._reply(message, asked.response_code)
        if asked.cutover is not None:
            self._owner.cutover(*asked.cutover)
        if asked.event is not None and not self.closed.is_set():
            self.tell(asked.event)

    async def _change_key(self, message: Message, usage: str, content: str) -> None:
        """Answered once the key is stored: from then on the host may use it."""
        response_code = "96"
        try:
            response_code = await self._owner.import_key(usage, content)
        except Exception as error:  # noqa: BLE001 - whatever failed, the host must not switch keys
            _log.error("link_key_not_stored", acquirer=self._owner.name, error=repr(error))
        await self._reply(message, response_code)

    async def _reply(self, message: Message, response_code: str) -> None:
        answer = management.reply(message, response_code)
        try:
            self.write(await self._owner.management_frame(answer))
        except (EncodeError, VaultError) as error:
            _log.error("link_management_not_answered", acquirer=self._owner.name, error=repr(error))
