"""One acquirer's link: several connections, one set of requests in flight.

Theory of operation. `IsoLink` keeps a connection open and signed on for each slot that its process
holds (`switch/slots.py`; `switch/network_management.py` decides, `link_connection.Connection`
executes). A request goes out on one of them;
its answer is matched by the elements of `link_messages.MATCHING` on whichever connection it comes,
so a connection that drops loses no answer: its requests wait on until their deadline
(`in_flight.InFlight`).

An answer counts only if its MAC verifies and it agrees with its request (rules §5). What does not
count leaves the request waiting: a good answer may still come. What comes after the deadline, or
belongs to nobody here, is handed to `on_late`.

The vault signs and verifies. One on a network takes its time: what was looked at before is looked at
again after, and answers may be verified in another order than they came in.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from typing import TYPE_CHECKING, Any, Final, TypeVar
from zoneinfo import ZoneInfo

import msgspec
import structlog

from hsm.errors import VaultError
from hsm.keys import KeyUsage
from iso8583.codec import codec_for
from iso8583.errors import DecodeError, EncodeError, FramingError
from iso8583.framing import Frame, FramingSpec, build
from switch import network_management as management, numbers as blocks
from switch.acquirers import link_messages
from switch.acquirers.hand_over import HandOver
from switch.acquirers.in_flight import EXPIRED_MAX, Expired, InFlight, MatchKey, Pending
from switch.acquirers.link_connection import Connection, Counters
from switch.acquirers.link_keys import ZERO_MAC, LinkMac, sent_key
from switch.acquirers.ports import Answer, Delivery, NotSentError
from switch.acquirers.sibling_stream import Mirrored
from switch.at_once import at_once
from switch.bounded import remember
from switch.network_management import Event

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from hsm.ports import Hsm
    from iso8583.message import Message
    from switch.acquirers.ports import OnLate
    from switch.acquirers.sibling_messages import Send
    from switch.acquirers.sibling_stream import Sibling
    from switch.acquirers.siblings import Siblings
    from switch.journal import AttemptRow, Original
    from switch.ports import Clock, Transport
    from switch.reference import Link, Snapshot
    from switch.slots import Slot, SlotSource
    from switch.store_ports import Numbers
    from terminals.registry import StoredKey

_log = structlog.get_logger(__name__)

SENT_MAX: Final = 65_536  # messages of which it is known on which connection they left
CLOSED_MAX: Final = 1_024  # connections of which it is known when they closed
PARKED_MAX: Final = 256  # answers that wait for a look at newer keys
RECONNECT_MAX_S: Final = 30.0
STAN_BLOCK: Final = 1_000
SIGN_OFF_S: Final = 2.0  # for the answers to it, when we leave
LOOK_S: Final = 0.05  # between looks whether what is in flight has ended
RETIRE_S: Final = 0.25  # until siblings have heard that a connection takes nothing more

Way = TypeVar("Way", Connection, Mirrored)


class IsoLink:
    """A bank link as one process has it: `ports.Acquirer` for the engine, `ports.Deliverer` for
    store-and-forward.

    `slots` says how many of `Link.max_connections` this process may have; where it has none that takes
    bytes, it uses those of its `siblings`. `reference` gives the snapshot in force, `reload` reads it
    anew from the store (asked before a MAC is called wrong), `store_key` keeps a key that the host
    sent.
    """

    def __init__(
        self,
        link: Link,
        *,
        slots: SlotSource,
        transport: Transport,
        clock: Clock,
        hsm: Hsm,
        numbers: Numbers,
        reference: Callable[[], Snapshot],
        on_late: OnLate,
        reload: Callable[[], Awaitable[Snapshot]] | None = None,
        store_key: Callable[[StoredKey], Awaitable[StoredKey]] | None = None,
        on_cutover: Callable[[str, str], None] | None = None,
        stan_block: int = STAN_BLOCK,
        siblings: Siblings | None = None,
    ) -> None:
        self.link = link
        self.counters = Counters()
        self.codec = codec_for(link.dialect)
        self._name = link.acquirer
        self._managed = 70 in link_messages.elements_of(link.dialect)
        self._matching = link_messages.matching_of(link.dialect)
        self._header = bytes.fromhex(link.header_hex)
        self.framing = FramingSpec(
            length="ascii4" if link.length == "ascii4" else "binary2",
            inclusive=link.length_inclusive,
            header_bytes=len(self._header),
        )
        self._transport = transport
        self._clock = clock
        self._hsm = hsm
        self._mac = LinkMac(link, hsm, reference)
        self._reference = reference
        self._reload = reload
        self._store_key = store_key
        self._on_late = on_late
        self._on_cutover = on_cutover
        self._block = blocks.Block(
            lambda count: numbers.link_stans(link.acquirer, count), stan_block
        )
        self._zone = ZoneInfo(link.timezone)
        self._second = 0  # of which the two below were made
        self._transmission_time = ""
        self._local = dt.datetime.fromtimestamp(0, dt.UTC)
        self._slots = slots
        self._given_up: dict[int, Slot] = {}  # by the connection that has yet to close
        self._keepers: list[asyncio.Task[None]] = []
        self._tasks: dict[asyncio.Task[None], None] = {}  # in order: a set has none
        self._serial = 0
        self._connections: dict[int, Connection] = {}
        self._ready: list[Connection] = []
        self._turn = 0
        self._hand_over = HandOver(link.acquirer, siblings)
        self._draining = False
        self._in_flight = InFlight(self.counters)
        self._approved_late: dict[MatchKey, float] = {}
        self._sent_on: dict[MatchKey, int] = {}
        self._closed_at: dict[int, float] = {}
        self._parked: list[tuple[Message, bytes, bool]] = []

    # -- for the engine and store-and-forward ---------------------------------------------------

    @property
    def name(self) -> str:
        return self._name

    @property
    def ready(self) -> bool:
        return not self._draining and (bool(self._ready) or self._hand_over.usable)

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
                self._tick()
                return stan, self._transmission_time

    async def request(self, message: Message, attempt: AttemptRow, send_by_ns: int) -> Answer:
        return await self._in_flight.answer(await self._send(message, attempt, send_by_ns))

    async def deliver(
        self, message: Message, original: Original, first_seen_s: float, send_by_ns: int
    ) -> Delivery:
        sent_s = asyncio.get_running_loop().time()
        key = self._key_of(original)
        followed = None if key is None else self._sent_on.get(key)
        pending = await self._send(message, None, send_by_ns, followed)
        overtook = key is not None and self._may_overtake(key, pending.serial, first_seen_s)
        answer = await self._in_flight.answer(pending)
        # an approval that came while we waited: the bank does know the original after all
        overtook = overtook or (key is not None and self._approved_late.get(key, -1.0) >= sent_s)
        return Delivery(answer, overtook)

    async def start(self) -> None:
        """Lease numbers, then connect in the background; the link may be down for long."""
        await self._block.start()
        self._hand_over.attach(self)
        self._add_keepers()

    def change(self, link: Link) -> None:
        """Other settings of the same `Link.wire`: connections and what is in flight stay."""
        assert link.wire == self.link.wire
        self.link = link
        self._zone, self._second = ZoneInfo(link.timezone), 0
        self._in_flight.end_by(asyncio.get_running_loop().time() + link.timeout_s)
        self._add_keepers()

    async def drain(self, timeout_s: float) -> None:
        """Take nothing new, wait for what is in flight, sign off, close."""
        self._draining = True
        for serial, usable in self.connections():
            self._hand_over.announce(serial, is_open=True, usable=usable)
        try:
            async with asyncio.timeout(timeout_s):
                await self._in_flight.empty.wait()
                while self._hand_over.awaited():  # noqa: ASYNC110 - each ends by its timer
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            _log.warning(
                "link_drain_timed_out", acquirer=self._name, in_flight=len(self._in_flight)
            )
        for keeper in self._keepers:
            keeper.cancel()
        connections = list(self._connections.values())
        for connection in connections:
            connection.tell(Event.DRAIN)
        try:
            async with asyncio.timeout(min(timeout_s, SIGN_OFF_S)):
                for connection in connections:
                    await connection.closed.wait()
        except TimeoutError:
            pass
        await self.stop()

    async def stop(self) -> None:
        """Close everything now. What is in flight ends unknown."""
        self._draining = True
        self._hand_over.detach()
        current = asyncio.current_task()
        tasks = [task for task in (*self._keepers, *self._tasks) if task is not current]
        for task in tasks:
            task.cancel()
        for connection in list(self._connections.values()):
            connection.abort()
        self._in_flight.stop()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- out ------------------------------------------------------------------------------------

    async def _send(
        self,
        message: Message,
        attempt: AttemptRow | None,
        send_by_ns: int,
        followed: int | None = None,
    ) -> Pending:
        """Encode and sign; then choose a way, check the time, register, write: no await in between.

        `followed`: the connection that the original left on. Behind it nothing overtakes (rules §8).
        """
        key = self._key(message)
        try:
            self._may_send(attempt, key)  # else the vault is not asked
            data = await self._signed(message)
            self._may_send(attempt, key)
            connection = self._way(followed, send_by_ns)
        except NotSentError:
            self.counters.not_sent += 1
            raise
        loop = asyncio.get_running_loop()
        pending = Pending(
            key=key,
            request=message,
            attempt=attempt,
            future=loop.create_future(),
            deadline_s=loop.time() + self.link.timeout_s,
            serial=connection.serial,
        )
        self._in_flight.add(pending)
        remember(self._sent_on, key, connection.serial, SENT_MAX)
        self.counters.sent += 1
        if isinstance(connection, Mirrored):
            pending.ticket = self._hand_over.send(connection, data, send_by_ns, key)
        else:
            connection.send(data, send_by_ns)
        return pending

    def _may_send(self, attempt: AttemptRow | None, key: MatchKey) -> None:
        # of requests: what is queued goes out
        if attempt is not None and len(self._in_flight) >= self.link.in_flight_max:
            raise NotSentError("in_flight_max")
        if self._draining:
            raise NotSentError("draining")
        if not self.ready:
            raise NotSentError("link_down")
        if key in self._in_flight.pending:
            raise NotSentError("in_flight_twice")

    def _way(self, followed: int | None, send_by_ns: int) -> Connection | Mirrored:
        connection = self._followed(followed) or self._next_connection()
        if connection is None:
            raise NotSentError("backpressure")
        if self._clock.monotonic_ns() >= send_by_ns:
            raise NotSentError("send_by_passed")
        return connection

    async def _signed(self, message: Message) -> bytes:
        try:
            return self._frame(await self._sealed(message))
        except (EncodeError, FramingError) as error:
            _log.error("link_message_not_encodable", acquirer=self._name, reason=str(error))
            raise NotSentError("encode") from error
        except VaultError as error:
            _log.error("link_message_not_signed", acquirer=self._name, error=type(error).__name__)
            raise NotSentError("vault") from error

    def _next_connection(self) -> Connection | Mirrored | None:
        """Round robin over those that are signed on and take bytes; the siblings' only if need be."""
        return self._round(self._ready) or self._round(list(self._hand_over.mirrored.values()))

    def _followed(self, serial: int | None) -> Connection | Mirrored | None:
        if serial is None:
            return None
        ways: list[Connection | Mirrored] = [*self._ready, *self._hand_over.mirrored.values()]
        return next((way for way in ways if way.serial == serial and way.writable), None)

    def _round(self, ready: Sequence[Way]) -> Way | None:
        for _ in range(len(ready)):
            self._turn = (self._turn + 1) % len(ready)
            if ready[self._turn].writable:
                return ready[self._turn]
        return None

    async def _sealed(self, message: Message) -> bytes:
        """The message's bytes with its MAC in DE 64, or DE 128 where an element above 64 is present."""
        if not self._mac.on:
            return self.codec.encode(message)
        de = 128 if max(message) > 64 else 64
        covered = self.codec.encode({**message, de: ZERO_MAC})[: -len(ZERO_MAC)]
        return covered + await self._mac.sign(covered)

    def _frame(self, body: bytes) -> bytes:
        return build(Frame(b"", self._header, body), self.framing)

    def _may_overtake(self, key: MatchKey, serial: int, first_seen_s: float) -> bool:
        """Could a 0420 that leaves now on connection `serial` arrive before its original (rules §8)?

        Where the original's connection is not known (another process, long ago, or so many have
        closed since), its echoes have closed it or shown that it flows within a known time.
        """
        used = self._sent_on.get(key)
        if used == serial:
            return False
        if used in self._connections or used in self._hand_over.mirrored:
            return True
        link = self.link
        now_s = asyncio.get_running_loop().time()
        closed_at_s = None if used is None else self._closed_at.get(used)
        if closed_at_s is None:
            known_s = link.echo_idle_s + management.MISSES_MAX * link.timeout_s
            return now_s < first_seen_s + known_s + link.reversal_unknown_after_s
        return now_s < closed_at_s + link.reversal_unknown_after_s

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
        return self._key(elements)

    def _key(self, message: Message) -> MatchKey:
        return tuple([message.get(de, "") for de in self._matching])

    def _tick(self) -> None:
        """DE 7 and today's date in the link's zone; made once a second."""
        now = self._clock.now()
        second = int(now.timestamp())
        if second != self._second:
            local = now.astimezone(self._zone)
            self._second = second
            self._transmission_time = local.strftime("%m%d%H%M%S")
            self._local = local

    # -- in -------------------------------------------------------------------------------------

    def received(self, connection: Connection, body: bytes) -> None:
        """One frame, whatever it is."""
        try:
            message = self.codec.decode(body)
        except DecodeError as error:
            self.counters.undecodable += 1
            _log.warning("link_message_undecodable", acquirer=self._name, reason=str(error))
            return
        if str(message[0])[1] == "8":
            self.at_once(connection.managed(message, body))
        else:
            self._answered(message, body, newest_keys=self._reload is None)

    def _answered(
        self, message: Message, body: bytes, *, newest_keys: bool, nobodys: bool = False
    ) -> None:
        key = self._key(message)
        if self._hand_over.on and not nobodys and not self._waits_for(key):
            self._hand_over.pass_on(key, body, lambda: self.nobodys(body))
            return
        work = self._judged(key, message, body, newest_keys=newest_keys, nobodys=nobodys)
        self.at_once(work)

    async def _judged(
        self, key: MatchKey, message: Message, body: bytes, *, newest_keys: bool, nobodys: bool
    ) -> None:
        """Does it count, and for which request? The second is asked once the vault has looked at it."""
        verified = await self._mac.verifies(message, body)
        if not (verified or newest_keys) and len(self._parked) < PARKED_MAX:
            self._look_for_newer_keys(message, body, nobodys=nobodys)
            return
        pending = self._in_flight.pending.get(key)
        expired = None if pending is not None else self._in_flight.expired.get(key)
        if not verified:
            self._not_counting(message, pending, expired, "mac")
            return
        self._tick()
        if pending is not None:
            answer = link_messages.read_answer(
                pending.request, message, self.link, self._local.date()
            )
            if isinstance(answer, str):
                self._not_counting(message, pending, None, "mismatch", answer)
                return
            if answer.settlement_date is None and answer.kind.approves:
                date = link_messages.settlement_date(None, self.link, self._local)
                answer = msgspec.structs.replace(answer, settlement_date=date)
            self._in_flight.forget(pending)
            sent_s = pending.deadline_s - self.link.timeout_s
            self.counters.answered_in(asyncio.get_running_loop().time() - sent_s)
            if not pending.future.done():
                pending.future.set_result(answer)
        elif expired is not None:
            late = link_messages.read_answer(
                expired.request, message, self.link, self._local.date()
            )
            if isinstance(late, str):
                self._not_counting(message, None, expired, "mismatch", late)
                return
            self.counters.late += 1
            if late.kind.approves:
                now_s = asyncio.get_running_loop().time()
                remember(self._approved_late, key, now_s, EXPIRED_MAX)
            if expired.attempt is not None:
                self._on_late(expired.attempt, message, "late")
        else:
            self._unmatched(message)

    def _not_counting(
        self,
        message: Message,
        pending: Pending | None,
        expired: Expired | None,
        reason: str,
        detail: str = "",
    ) -> None:
        """Counted and stored, otherwise as if it had not come (rules §5). Nobody's: only counted."""
        if reason == "mac":
            self.counters.mac_failed += 1
        else:
            self.counters.mismatched += 1
        attempt = pending.attempt if pending else expired.attempt if expired else None
        _log.warning(
            "link_answer_refused",
            acquirer=self._name,
            reason=reason,
            detail=detail,
            stan=message.get(11),
            rrn=message.get(37),
        )
        if attempt is not None:
            self._on_late(attempt, message, reason)

    def _unmatched(self, message: Message) -> None:
        """A good answer to nothing we remember. A 0430 finds its item again when it is repeated."""
        self.counters.unmatched += 1
        _log.warning(
            "link_answer_unmatched",
            acquirer=self._name,
            mti=message[0],
            stan=message.get(11),
            rrn=message.get(37),
            nearest=self._in_flight.nearest(message, self._matching),
        )
        mti = str(message[0])
        if mti[1] != "4" and mti[2] in "13":
            self._on_late(None, message, "late")

    def _look_for_newer_keys(self, message: Message, body: bytes, *, nobodys: bool) -> None:
        """Another process may have taken a key change: ask the store before the MAC is called wrong."""
        self._parked.append((message, body, nobodys))
        if len(self._parked) == 1:
            self.spawn(self._verify_parked())

    async def _verify_parked(self) -> None:
        assert self._reload is not None
        try:
            self._mac.refresh(await self._reload())
        except Exception as error:  # noqa: BLE001 - whatever the store's failure, the answers must be judged
            _log.warning("link_keys_not_reloaded", acquirer=self._name, error=repr(error))
        finally:
            parked, self._parked = self._parked, []
        for message, body, nobodys in parked:
            self._answered(message, body, newest_keys=True, nobodys=nobodys)

    # -- siblings -------------------------------------------------------------------------------

    def connections(self) -> list[tuple[int, bool]]:
        usable = [] if self._draining else [connection.serial for connection in self._ready]
        return [(serial, serial in usable) for serial in self._connections]

    def mirror(self, connection: Mirrored) -> None:
        self._hand_over.mirrored[connection.serial] = connection

    def mirror_lost(self, connection: Mirrored, *, for_certain: bool) -> None:
        """Where only its owner is out of reach it may live on: until its echoes have closed it."""
        self._hand_over.mirrored.pop(connection.serial, None)
        closed_at_s = asyncio.get_running_loop().time()
        if not for_certain:
            closed_at_s += self.link.echo_idle_s + management.MISSES_MAX * self.link.timeout_s
        remember(self._closed_at, connection.serial, closed_at_s, CLOSED_MAX)

    def hand_in(self, message: Send, sibling: Sibling) -> str:
        """A sibling's frame. The time is looked at again: it may have waited on its way."""
        connection = self._connections.get(message.serial)
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
        self._sent_on.pop(key, None)
        self.counters.not_sent += 1
        if not pending.future.done():
            pending.future.set_exception(NotSentError(reason))

    def take(self, body: bytes) -> bool:
        try:
            message = self.codec.decode(body)
        except DecodeError:
            return False
        if not self._waits_for(self._key(message)):
            return False
        self._answered(message, body, newest_keys=self._reload is None, nobodys=True)
        return True

    def _waits_for(self, key: MatchKey) -> bool:
        """Is this answer ours for certain? What store and forward gave up waiting for here, a
        sibling may since have sent again under the same numbers: on our connection, for certain."""
        if key in self._in_flight.pending:
            return True
        expired = self._in_flight.expired.get(key)
        return (
            expired is not None
            and expired.attempt is not None
            and not self._hand_over.waits_for(key)
        )

    def nobodys(self, body: bytes) -> None:
        message = self.codec.decode(body)
        self._answered(message, body, newest_keys=self._reload is None, nobodys=True)

    # -- connections ----------------------------------------------------------------------------

    def _add_keepers(self) -> None:
        loop = asyncio.get_running_loop()
        self._keepers += [
            loop.create_task(self._keep_connected(), name=f"link {self._name} {number}")
            for number in range(len(self._keepers), self.link.max_connections)
        ]

    async def _keep_connected(self) -> None:
        while not self._draining:
            await self._use(await self._slots.take())

    async def _use(self, slot: Slot) -> None:
        """One connection for as long as the slot is ours: connect, wait until it is lost, pause, again."""
        pause_s = self.link.reconnect_s
        connection: Connection | None = None
        try:
            while not (self._draining or slot.ended.is_set()):
                self._serial += 1
                connection = slot.user = Connection(self, self._serial)
                if await self._connect(connection):
                    await connection.closed.wait()
                    if connection.was_ready:
                        pause_s = self.link.reconnect_s
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await slot.ended.wait()
                pause_s = min(pause_s * 2, RECONNECT_MAX_S)
        finally:
            if connection is not None and connection.opened and not connection.closed.is_set():
                self._given_up[connection.serial] = slot
            else:
                self._slots.give_back(slot)

    async def _connect(self, connection: Connection) -> bool:
        link = self.link
        try:
            async with asyncio.timeout(link.connect_timeout_s):
                await self._transport.connect(connection.protocol, link.host, link.port)
        except (OSError, TimeoutError) as error:
            connection.abandon()
            _log.warning("link_connect_failed", acquirer=self._name, error=repr(error))
            return False
        except asyncio.CancelledError:
            connection.abandon()
            raise
        return True

    def opened(self, connection: Connection) -> None:
        self.counters.connections_opened += 1
        self._connections[connection.serial] = connection
        self._announce(connection, usable=False)

    def retire(self, connection: Connection) -> None:
        """Others may have this one: what is in flight on it is answered, then it signs off."""
        if not connection.retiring:
            connection.retiring = True
            self.usable(connection, usable=False)
            self.spawn(self._retire(connection))

    async def _retire(self, connection: Connection) -> None:
        timeout_s = self.link.timeout_s
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await asyncio.sleep(RETIRE_S)
                while self._awaited_on(connection.serial):  # noqa: ASYNC110 - ends by their timer
                    await asyncio.sleep(LOOK_S)
        connection.tell(Event.DRAIN)
        try:
            async with asyncio.timeout(timeout_s):
                await connection.closed.wait()
        except TimeoutError:
            connection.abort()

    def _awaited_on(self, serial: int) -> bool:
        """Is an answer to what left on this connection still awaited?"""
        return self._in_flight.on(serial) or self._hand_over.awaited(serial)

    def lost(self, connection: Connection) -> None:
        self.counters.connections_lost += 1
        self._connections.pop(connection.serial, None)
        now_s = asyncio.get_running_loop().time()
        remember(self._closed_at, connection.serial, now_s, CLOSED_MAX)
        if (slot := self._given_up.pop(connection.serial, None)) is not None:
            self._slots.give_back(slot)
        self._hand_over.announce(connection.serial, is_open=False, usable=False)

    def _announce(self, connection: Connection, *, usable: bool) -> None:
        usable = usable and not self._draining
        self._hand_over.announce(connection.serial, is_open=True, usable=usable)

    def usable(self, connection: Connection, *, usable: bool) -> None:
        self._ready = [other for other in self._ready if other is not connection]
        usable = usable and not connection.retiring
        if usable:
            self._ready.append(connection)
        self._announce(connection, usable=usable)
        _log.info(
            "link_signed_on" if usable else "link_not_ready",
            acquirer=self._name,
            connection=connection.serial,
            ready=len(self._ready),
        )

    def at_once(self, work: Coroutine[Any, Any, None]) -> None:
        """In the turn of the loop that brought it, as far as the vault does not suspend."""
        at_once(work, self._go_on)

    def _go_on(self, work: Coroutine[Any, Any, None]) -> None:
        self.spawn(self._guarded(work))

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:  # noqa: BLE001 - one message must not cost the others their connection
            _log.exception("link_message_failed", acquirer=self._name)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(lambda task: self._tasks.pop(task, None))

    # -- for the connections --------------------------------------------------------------------

    def monotonic_ns(self) -> int:
        return self._clock.monotonic_ns()

    @property
    def managed(self) -> bool:
        """Whether the dialect has network management at all; without, a connection is ready at once."""
        return self._managed

    async def management_frame(self, message: Message) -> bytes:
        if self.link.mac_on_management:
            return self._frame(await self._sealed(message))
        return self._frame(self.codec.encode(message))

    async def management_verifies(self, message: Message, body: bytes) -> bool:
        return not self.link.mac_on_management or await self._mac.verifies(message, body)

    def cutover(self, code: str, month_day: str) -> None:
        self.counters.cutovers += 1
        _log.info("link_cutover_told", acquirer=self._name, code=code, settlement_date=month_day)
        if self._on_cutover is not None:
            self._on_cutover(code, month_day)

    async def import_key(self, usage: str, content: str) -> str:
        """A key the host sent under the ZMK, into the store: DE 39 of the answer to it."""
        zmk = self._reference().key(f"link:{self._name}", KeyUsage.ZMK.value)
        if zmk is None or self._store_key is None:
            return "96"
        key = await sent_key(self._hsm, self._name, zmk.block, usage, content)
        if key is None:
            return "30"
        stored = await self._store_key(key)
        if usage == KeyUsage.ZAK.value:
            self._mac.take_up(stored)
        self.counters.key_changes += 1
        _log.info("link_key_changed", acquirer=self._name, usage=usage, check_value=key.check_value)
        return "00"
