"""One acquirer's link: several connections, one set of requests in flight.

Theory of operation. `IsoLink` keeps a connection open and signed on for each slot that its process
holds (`connection_pool.py`; `switch/network_management.py` decides, `link_connection.Connection`
executes). A request is signed (`link_frames.py`) and goes out on one of them; its answer is matched by
the elements of `link_messages.MATCHING` on whichever connection it comes (`link_answers.py`), so a
connection that drops loses no answer: its requests wait on until their deadline
(`in_flight.InFlight`).

The vault signs and verifies: one in this process in a call, and so does all else. One on a network takes
its time, and what comes behind it is a task: what was looked at before is looked at again after.
"""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any, Final

import structlog

from hsm.errors import VaultError
from iso8583.errors import EncodeError, FramingError
from switch import network_management as management, numbers as blocks
from switch.acquirers import link_messages
from switch.acquirers.circuit import Circuit, CircuitState
from switch.acquirers.connection_pool import LOOK_S, ConnectionPool
from switch.acquirers.form_codec import FormCodec
from switch.acquirers.hand_over import HandOver
from switch.acquirers.in_flight import InFlight, MatchKey, Pending
from switch.acquirers.incoming import Incoming
from switch.acquirers.link_answers import Answers
from switch.acquirers.link_clock import LinkClock
from switch.acquirers.link_connection import Counters
from switch.acquirers.link_frames import Frames
from switch.acquirers.link_tasks import LinkTasks
from switch.acquirers.ports import (
    DOWN,
    FULL,
    OPEN,
    PROBING,
    UP,
    Answer,
    Delivery,
    Health,
    NoAnswerError,
    NotSentError,
)
from switch.acquirers.reach import reach_of
from switch.acquirers.sibling_stream import Mirrored

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from hsm.ports import Hsm
    from iso8583.message import Message
    from switch.acquirers.ports import OnLate, Told
    from switch.acquirers.sibling_messages import Send
    from switch.acquirers.sibling_stream import Sibling
    from switch.acquirers.siblings import Siblings
    from switch.acquirers.unmatched import OnUnmatched
    from switch.journal import AttemptRow, Original
    from switch.ports import Accepts, Clock, Transport
    from switch.reference import Link, Snapshot
    from switch.slots import SlotSource
    from switch.store_ports import Numbers
    from terminals.registry import StoredKey

_log = structlog.get_logger(__name__)

STAN_BLOCK: Final = 1_000


class IsoLink:
    """A bank link as one process has it: `ports.Acquirer` for the engine, `ports.Deliverer` for
    store-and-forward, `link_connection.Owner` for its connections, `siblings.SharedLink` for siblings.

    `slots` says how many of `Link.max_connections` this process may have; where it has none that takes
    bytes, it uses those of its `siblings`. `reference` gives the snapshot in force, `reload` reads it
    anew from the store (asked before a MAC is called wrong), `store_key` keeps a key that the host
    sent. `accepts` is where the bank connects to us, from `sources`, where it does.
    """

    def __init__(
        self,
        link: Link,
        *,
        slots: SlotSource,
        transport: Transport,
        accepts: Accepts | None = None,
        sources: tuple[str, ...] = (),
        clock: Clock,
        hsm: Hsm,
        numbers: Numbers,
        reference: Callable[[], Snapshot],
        on_late: OnLate,
        on_unmatched: OnUnmatched | None = None,
        reload: Callable[[], Awaitable[Snapshot]] | None = None,
        store_key: Callable[[StoredKey], Awaitable[StoredKey | None]] | None = None,
        on_cutover: Callable[[str, str], None] | None = None,
        stan_block: int = STAN_BLOCK,
        siblings: Siblings | None = None,
    ) -> None:
        self.link = link
        self.counters = Counters()
        self._name = link.acquirer
        self._managed = 70 in link_messages.elements_of(link.dialect)
        self._clock = LinkClock(clock, link.timezone)
        self._on_cutover = on_cutover
        self._reload = reload
        self._key_asks: dict[tuple[str, str], asyncio.Future[str]] = {}  # by DE 7, 11
        self._block = blocks.Block(
            lambda count: numbers.link_stans(link.acquirer, count), stan_block
        )
        self._tasks = tasks = LinkTasks(link.acquirer)
        self.circuit = Circuit(link, self._circuit_changed)
        self.ending = False  # its successor, if it has one, is what is told of
        self._in_flight = InFlight(self.counters, self.circuit)
        self._hand_over = HandOver(link.acquirer, siblings)
        self._frames = frames = Frames(link, hsm, reference, store_key, self.counters)
        self._incoming = None if accepts is None else Incoming(self, accepts, sources, slots)
        self._pool = pool = ConnectionPool(
            self,
            slots=slots,
            reach=functools.partial(reach_of, self, transport, self._incoming),
            in_flight=self._in_flight,
            hand_over=self._hand_over,
        )
        self._answers = answers = Answers(
            self,
            frames=frames,
            clock=self._clock,
            circuit=self.circuit,
            in_flight=self._in_flight,
            hand_over=self._hand_over,
            on_late=on_late,
            on_unmatched=on_unmatched,
            reload=reload,
        )
        # What connections and siblings ask is answered by the part that it is about; bound here once,
        # for it is asked with every message.
        self.codec, self.framing = frames.codec, frames.framing
        self.management_frame, self.import_key = frames.management, frames.import_key
        self.management_verifies = frames.management_verifies
        self.opened, self.usable, self.lost = pool.opened, pool.usable, pool.lost
        self.retire, self.connections = pool.retire, pool.states
        self.slot_counters, self.slots = pool.slot_counters, pool.slots
        self.asked_on = pool.asked_on
        self.mirror, self.mirror_lost = pool.mirror, pool.mirror_lost
        self.received, self.take, self.nobodys = answers.received, answers.take, answers.nobodys
        self.unmatched = answers.management
        self.at_once, self.spawn = tasks.at_once, tasks.spawn
        self.monotonic_ns = self._clock.monotonic_ns
        # looking the loop up costs more than asking it
        self._time = asyncio.get_running_loop().time

    # -- for the engine and store-and-forward ---------------------------------------------------

    @property
    def name(self) -> str:
        return self._name

    @property
    def ready(self) -> bool:
        return not self._pool.draining and (bool(self._pool.ready) or self._hand_over.usable)

    @property
    def spared(self) -> bool:
        return not self.circuit.closed

    @property
    def circuit_state(self) -> CircuitState:
        return self.circuit.state(asyncio.get_running_loop().time())

    def health(self) -> Health:
        pool = self._pool
        if pool.draining or not (pool.ready or self._hand_over.usable):
            return DOWN
        if len(self._in_flight.pending) >= self.link.in_flight_max:
            return FULL
        if self.circuit.closed:
            return UP
        takes = self.circuit.takes(asyncio.get_running_loop().time())
        return PROBING if takes else OPEN

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    def numbers(self) -> tuple[str, str] | None:
        while True:
            number = self._block.take()
            if number is None:
                return None
            stan = blocks.stan(number)
            if stan not in self._in_flight.stans:
                return stan, self._clock.transmission_time()

    def send(self, message: Message, attempt: AttemptRow, send_by_ns: int, told: Told) -> None:
        circuit = self.circuit.take(self._time())
        if circuit is None:
            self.counters.not_sent += 1
            told(NotSentError("circuit_open"))
            return
        key = self._answers.key(message)
        pending = Pending(key, message, attempt, told, send_by_ns, attempt.request_id, circuit)
        frame = self._frame(pending)
        if isinstance(frame, bytes):
            self._leave(pending, frame)
        elif frame is not None:
            self._tasks.at_once(self._leave_in_time(pending, frame))

    async def deliver(
        self, message: Message, original: Original, first_seen_s: float, send_by_ns: int
    ) -> Delivery:
        loop = asyncio.get_running_loop()
        sent_s = loop.time()
        key = self._key_of(original)
        followed = None if key is None else self._in_flight.sent_on.get(key)
        answered: asyncio.Future[Answer] = loop.create_future()
        pending = Pending(
            self._answers.key(message),
            message,
            None,
            functools.partial(tell, answered),
            send_by_ns,
            original.request.request_id,
            self.circuit.watch(),
        )
        frame = self._frame(pending)
        try:
            if isinstance(frame, bytes):
                left = self._leave(pending, frame, followed)
            else:
                left = frame is not None and await self._leave_in_time(pending, frame, followed)
        except asyncio.CancelledError:
            answered.exception()  # why nothing left: nobody is there to hear it
            raise
        if not left:
            await answered  # it is told already why nothing left
            raise AssertionError
        assert pending.way is not None
        overtook = key is not None and self._pool.may_overtake(
            key, pending.way.serial, first_seen_s
        )
        try:
            answer = await answered
        except asyncio.CancelledError:
            self._in_flight.give_up(pending)
            raise
        # an approval that came while we waited: the bank does know the original after all
        overtook = overtook or (key is not None and self._answers.approved_late_since(key, sent_s))
        return Delivery(answer, overtook)

    def _key_of(self, original: Original) -> MatchKey | None:
        """By what the original was matched; None where it was never tried here."""
        attempt = link_messages.attempt_of(original, self._name)
        if attempt is None:
            return None
        elements: Message = {
            7: attempt.transmission_time,
            11: attempt.link_stan,
            32: attempt.de32,
            33: attempt.de33,
            41: original.request.key.terminal.ljust(8),
        }
        return self._answers.key(elements)

    # -- for who changes its keys ---------------------------------------------------------------

    @property
    def signed_on(self) -> bool:
        """Whether this process itself has a connection that is."""
        return not self._pool.draining and bool(self._pool.ready)

    @property
    def key_form(self) -> str:
        """How a key that we send is written: as the link says, or as its form alone can carry it."""
        in_hex = isinstance(self.codec, FormCodec) and self.codec.key_in_hex
        return "hex" if in_hex else self.link.key_form

    def on_waiting_key(self, told: Callable[[StoredKey], None]) -> None:
        """`told` hears of a ZAK that the host has signed under while it waits for the 0810."""
        self._frames.mac.on_waiting = told

    async def reload_keys(self) -> None:
        if self._reload is not None:
            self._frames.mac.refresh(await self._reload())

    async def change_key(self, content: str) -> str:
        """Send an 0800 with DE 70 = 101 and this DE 48: DE 39 of its answer, on whichever connection.

        Raises NotSentError or NoAnswerError.
        """
        connection = self._pool.own()
        numbers = self.numbers()
        if connection is None or numbers is None:
            raise NotSentError("link_down")
        stan, transmission_time = numbers
        link = self.link
        message = management.ask_key_change(content, stan, transmission_time, link.de32, link.de33)
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._key_asks[transmission_time, stan] = answer
        try:
            async with asyncio.timeout(min(link.timeout_s, management.KEY_ANSWER_S)):
                await connection.send_management(message)
                return await answer
        except (EncodeError, FramingError, VaultError) as error:
            raise NotSentError("encode") from error
        except TimeoutError:
            raise NoAnswerError("timeout") from None
        finally:
            del self._key_asks[transmission_time, stan]

    def asked(self, message: Message) -> bool:
        answer = self._key_asks.get((str(message.get(7)), str(message.get(11))))
        if answer is None or answer.done():
            return False
        answer.set_result(str(message.get(39, "")))
        return True

    # -- its life -------------------------------------------------------------------------------

    async def start(self) -> None:
        """Lease numbers, then connect in the background; the link may be down for long."""
        await self._block.start()
        self._hand_over.attach(self)
        if self._incoming is not None:
            self._incoming.start()
        self._pool.keep()

    def change(self, link: Link) -> None:
        """Other settings of the same `Link.wire`: connections and what is in flight stay."""
        assert link.wire == self.link.wire
        self.link = link
        self._clock.move(link.timezone)
        self.circuit.change(link)
        self._in_flight.end_by(asyncio.get_running_loop().time() + link.timeout_s)
        self._pool.keep()

    async def drain(self, timeout_s: float) -> None:
        """Take nothing new, wait for what is in flight, sign off, close."""
        self.ending = True
        self._pool.drain()
        if self._incoming is not None:
            self._incoming.stop()
        try:
            async with asyncio.timeout(timeout_s):
                await self._in_flight.empty.wait()
                while self._hand_over.awaited():  # noqa: ASYNC110 - each ends by its timer
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            _log.warning(
                "link_drain_timed_out", acquirer=self._name, in_flight=len(self._in_flight)
            )
        await self._pool.sign_off(timeout_s)
        await self.stop()

    async def stop(self) -> None:
        """Close everything now. What is in flight ends unknown."""
        self._hand_over.detach()
        keepers = self._pool.stop()
        if self._incoming is not None:
            keepers += self._incoming.stop()
        current = asyncio.current_task()
        tasks = [task for task in (*keepers, *self._tasks) if task is not current]
        for task in tasks:
            task.cancel()
        self._in_flight.stop()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- out ------------------------------------------------------------------------------------

    def _frame(self, pending: Pending) -> bytes | Coroutine[Any, Any, bytes] | None:
        """Its message, signed; a coroutine where the vault takes its time. None: it does not leave, and
        `told` knows why."""
        try:
            self._may_send(pending)  # else the vault is not asked
            return self._frames.request(pending.request)
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it: nothing has left yet
            self._not_left(pending, error)
            return None

    async def _leave_in_time(
        self,
        pending: Pending,
        frame: Coroutine[Any, Any, bytes],
        followed: int | None = None,
    ) -> bool:
        """What was looked at before the vault took its time is looked at again."""
        try:
            data = await frame
            self._may_send(pending)
        except asyncio.CancelledError:  # the link ends while the vault signs
            self._not_left(pending, NotSentError("draining"))
            raise
        except Exception as error:  # noqa: BLE001 - as above
            self._not_left(pending, error)
            return False
        return self._leave(pending, data, followed)

    def _leave(self, pending: Pending, data: bytes, followed: int | None = None) -> bool:
        """Choose a way, check the time, register, write: no await in between. False: `told` knows why
        nothing left.

        `followed`: the connection that the original left on. Behind it nothing overtakes (rules §8).
        """
        bound = 0 if pending.attempt is None else self.link.connection_in_flight_max
        way = self._pool.way(followed, bound)
        if way is None:
            full = bound and self._pool.way(followed) is not None
            reason = "connection_in_flight_max" if full else "backpressure"
            self._not_left(pending, NotSentError(reason))
            return False
        if self.monotonic_ns() >= pending.send_by_ns:
            self._not_left(pending, NotSentError("send_by_passed"))
            return False
        self._in_flight.add(pending, way, self._time() + self.link.timeout_s)
        self.counters.sent += 1
        try:
            if isinstance(way, Mirrored):
                pending.ticket = self._hand_over.send(way, data, pending.send_by_ns, pending.key)
            else:
                way.send(data, pending.send_by_ns)
        except Exception:  # noqa: BLE001 - it may have left, and so waits for its answer
            _log.exception("link_message_failed", acquirer=self._name)
        return True

    def _not_left(self, pending: Pending, error: Exception) -> None:
        if not isinstance(error, NotSentError):
            _log.error("link_message_failed", acquirer=self._name, exc_info=error)
            error = NotSentError("internal")
        self.counters.not_sent += 1
        self.circuit.released(pending.circuit)
        pending.told(error)

    def _may_send(self, message: Pending) -> None:
        pending, pool = self._in_flight.pending, self._pool
        # of requests: what is queued goes out
        if message.attempt is not None and len(pending) >= self.link.in_flight_max:
            raise NotSentError("in_flight_max")
        if pool.draining:
            raise NotSentError("draining")
        if not (pool.ready or self._hand_over.usable):
            raise NotSentError("link_down")
        if message.key in pending:
            raise NotSentError("in_flight_twice")

    # -- siblings -------------------------------------------------------------------------------

    def hand_in(self, message: Send, sibling: Sibling) -> str:
        """A sibling's frame. The time is looked at again: it may have waited on its way."""
        connection = self._pool.get(message.serial)
        if connection is None:
            return "connection_gone"
        if not connection.signed_on or not connection.writable:
            return "connection_not_usable"
        if self._clock.monotonic_ns() >= message.send_by_ns:
            return "send_by_passed"
        self._hand_over.note(message, sibling, self.link.timeout_s)
        connection.send(message.data, message.send_by_ns)
        return ""

    def not_sent(self, key: MatchKey, ticket: int, reason: str) -> None:
        """Certainly nothing left: the request may take another route."""
        pending = self._in_flight.pending.get(key)
        if pending is None or pending.ticket != ticket:
            return
        self._in_flight.forget(pending)
        self.circuit.released(pending.circuit)
        self._in_flight.sent_on.pop(key, None)
        self.counters.not_sent += 1
        pending.told(NotSentError(reason))

    # -- connections ----------------------------------------------------------------------------

    @property
    def managed(self) -> bool:
        """Whether the dialect has network management at all; without, a connection is ready at once."""
        return self._managed

    def _circuit_changed(self, state: CircuitState, cause: str) -> None:
        if self.ending:
            return  # nothing new leaves here: it says nothing of the link that follows
        if state is CircuitState.OPEN:
            self.counters.circuit_opened += 1
        tell = _log.info if state is CircuitState.CLOSED else _log.warning
        tell("link_circuit", acquirer=self._name, state=state.value, cause=cause)

    def cutover(self, code: str, month_day: str) -> None:
        self.counters.cutovers += 1
        _log.info("link_cutover_told", acquirer=self._name, code=code, settlement_date=month_day)
        if self._on_cutover is not None:
            self._on_cutover(code, month_day)


def tell(answered: asyncio.Future[Answer], came: Answer | NotSentError | NoAnswerError) -> None:
    """`ports.Told` of who waits."""
    if answered.done():
        return
    if isinstance(came, Answer):
        answered.set_result(came)
    else:
        answered.set_exception(came)
