"""The engine: every frame is taken in, or turned away, here, and handed to who serves its type.

A money request goes its way by itself (`money_request`); what else a terminal asks is a task, which this
module owns. Both outlive their connection. An error of ours in one ends that one; it is logged and costs
nobody else anything.

The vault may be on a network and suspend, so what was looked at before is looked at again.
"""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from iso8583.mti import is_response, without_repeat
from switch import intake, reception
from switch.bounded import Remembered
from switch.effects import Reply
from switch.intake import Refusal
from switch.journal import FindByKey
from switch.money_request import MoneyRequest
from switch.reception import Verified
from switch.replies import Replies
from switch.reversal import ReversalAsk, judge_reversal
from switch.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from hsm.ports import Hsm
    from iso8583.framing import Frame
    from switch.access import AccessCache
    from switch.acquirers.ports import Acquirer
    from switch.admission import Admission
    from switch.config import Config
    from switch.downloads import Downloads
    from switch.journal import Journal
    from switch.load import Load
    from switch.management import Management
    from switch.numbers import Block
    from switch.ports import Clock
    from switch.rates import Sources
    from switch.reception import Received
    from switch.reference import Snapshot
    from switch.rows import Rows, Standing
    from switch.store_ports import Batches, Undecided

ALWAYS_TAKEN = ("040", "022", "062", "032")  # at the bound too, within a reserve (rules §8)


class Peer(Protocol):
    """The connection that a frame came on."""

    dialect: str
    source: str  # address, without port

    def answer(self, frame: Frame, body: bytes, request: int = 0) -> None:
        """Send an answer back the way the frame came; a closed connection drops it.

        `request`: the processing request digit of its header.
        """
        ...

    def odd(self) -> None:
        """A message that can not be answered; after a few the connection is closed."""
        ...

    def finished(self) -> None:
        """One request less in flight."""
        ...


class Log(Protocol):
    """What the engine says of its work; everything is masked already."""

    def authorized(self, reply: Reply, watch: Watch) -> None:
        """A money request was answered, and after how long; its line may be made later."""
        ...

    def managed(self, received: Received, response_code: str, rule: str) -> None: ...

    def refused(self, source: str, response_code: str, rule: str) -> None: ...

    def recovered(self, undecided: Undecided) -> None: ...

    def noted(self, event: str) -> None:
        """A step in a connection's life, to be counted."""
        ...

    def downloaded(self, topic: str, act: str) -> None:
        """What became of a terminal's download, or that it was asked for one."""
        ...

    def failed(self, error: BaseException) -> None: ...


class Engine:
    def __init__(
        self,
        config: Config,
        *,
        journal: Journal,
        batches: Batches,
        cache: AccessCache,
        admission: Admission,
        management: Management,
        downloads: Downloads,
        rows: Rows,
        hsm: Hsm,
        clock: Clock,
        log: Log,
        standing: Standing,
        load: Load,
        acquirers: dict[str, Acquirer],
        request_ids: Block,
        snapshot: Callable[[], Snapshot],
        refresh: Callable[[], Awaitable[None]],
        sources: Sources,
        demo: bool = False,
    ) -> None:
        self.config = config
        self.journal = journal
        self.batches = batches
        self.cache = cache
        self.admission = admission
        self.hsm = hsm
        self.monotonic_ns = clock.monotonic_ns
        self.log = log
        self.standing = standing
        self.load = load
        self.acquirers = acquirers
        self.snapshot = snapshot
        self.refresh = refresh
        self.replies = Replies(hsm, rows, clock, log)
        self.send_by_ns = int(config.engine.send_by_s * 1e9)
        self.loop_time = asyncio.get_running_loop().time  # it is made in the loop that it serves in
        self._management = management
        self.downloads = downloads
        self._rows = rows
        self._now = clock.now
        self._request_ids = request_ids
        self._terminals = sources.terminals
        self._demo = demo
        self._serial = 0
        self._open: dict[int, None] = {}  # serials of the requests in flight, oldest first
        self._enders: list[asyncio.Future[None]] = []  # who waits for one of them to end
        self._tasks: dict[asyncio.Task[None], None] = {}  # in order: a set has none
        self._undecided: dict[int, int] = {}  # serial → no lower request id, oldest first
        self._abandoned: dict[int, tuple[int, Undecided]] = {}  # request id → serial, what is known

    # -- in and out ----------------------------------------------------------------------------

    def submit(self, frame: Frame, peer: Peer, now_s: float) -> None:
        """Take a frame that came at `now_s` of the loop. When too much waits already it is answered 96,
        before anything is stored."""
        if self.load.take_new(now_s):
            self._begin(frame, peer, now_s)
        else:
            asyncio.get_running_loop().call_soon(self._turn_away, frame, peer)

    def _begin(self, frame: Frame, peer: Peer, now_s: float) -> None:
        self._serial = serial = self._serial + 1
        self._open[serial] = None
        started_ns = self.monotonic_ns()
        served = False  # by somebody else, who ends it
        try:
            if not self._demo:
                reception.check_header(frame.header)
            snapshot = self.snapshot()
            received = reception.receive(frame.body, peer.dialect, snapshot)
            # A terminal that sends without end is refused before it costs a MAC or a row.
            who = peer.source, received.sender.name
            if self._terminals.takes(who, now_s) or received.mti[:3] in ALWAYS_TAKEN:
                decoded_ns = self.monotonic_ns()
                watch = Watch(started_ns, decoded_ns, decoded_ns - started_ns)
                served = self._dispatch(received, snapshot, frame, peer, serial, watch)
            else:
                refusal = Refusal("96", "rates.terminal_messages")
                self.replies.refuse(received, frame, peer, refusal)
        except Exception as error:  # noqa: BLE001 - one request's failure is that request's alone
            self.unserved(error, frame, peer)
        finally:
            if not served:
                self.ended(serial, peer)

    def ended(self, serial: int, peer: Peer) -> None:
        """Nothing more is to be done for a request."""
        del self._open[serial]
        self.load.ended(self.loop_time())
        peer.finished()
        if self._enders:
            enders, self._enders = self._enders, []
            for ender in enders:
                if not ender.done():
                    ender.set_result(None)

    @property
    def in_flight(self) -> int:
        return len(self._open)

    async def settled(self, timeout_s: float) -> bool:
        """Every request that is in flight now has ended, or the time is up."""
        last = self._serial
        return await self._ended_up_to(lambda: last, timeout_s)

    async def drain(self, timeout_s: float) -> bool:
        """Wait for the requests in flight, and for those whose frames were read meanwhile; False:
        some are left to recovery."""
        return await self._ended_up_to(lambda: self._serial, timeout_s)

    async def _ended_up_to(self, last: Callable[[], int], timeout_s: float) -> bool:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + timeout_s
        while self._open and next(iter(self._open)) <= last():
            if loop.time() >= until_s:
                return False
            ender: asyncio.Future[None] = loop.create_future()
            self._enders.append(ender)
            await asyncio.wait([ender], timeout=until_s - loop.time())
        return True

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """What waits in the middle."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)

    # -- what is not decided ---------------------------------------------------------------------

    def undertake(self, serial: int) -> None:
        """From before its number is taken: a lease renewed meanwhile must not leave it out."""
        self._undecided[serial] = self._request_ids.lowest

    def decide(self, serial: int) -> None:
        """It has its outcome, or needs none."""
        self._undecided.pop(serial, None)

    def abandon(self, serial: int, undecided: Undecided) -> None:
        self._abandoned[undecided.request.request_id] = serial, undecided

    @property
    def lowest_undecided(self) -> int:
        """No request that this process still has to decide has a lower id."""
        return next(iter(self._undecided.values()), self._request_ids.lowest)

    @property
    def abandoned(self) -> list[Undecided]:
        """Requests that failed here after something may have left: `duties` decides them."""
        return [undecided for _, undecided in self._abandoned.values()]

    def decided(self, request_id: int) -> None:
        """An abandoned request has its outcome, whoever gave it."""
        serial, _ = self._abandoned.pop(request_id)
        del self._undecided[serial]

    # -- what a frame is -------------------------------------------------------------------------

    def _turn_away(self, frame: Frame, peer: Peer) -> None:
        """Refusing must cost far less than serving: nothing is asked of anybody. What is always
        taken in begins after all, while there is a reserve."""
        try:
            if not self._demo:
                reception.check_header(frame.header)
            received = reception.receive(frame.body, peer.dialect, self.snapshot())
            if received.mti[:3] in ALWAYS_TAKEN and self.load.takes_first:
                now_s = asyncio.get_running_loop().time()
                self.load.take_always(now_s)
                self._begin(frame, peer, now_s)
                return
            self.replies.refuse(received, frame, peer, Refusal("96", "engine.overload"))
        except Exception as error:  # noqa: BLE001 - one request's failure is that request's alone
            self.unserved(error, frame, peer)
        peer.finished()

    def unserved(self, error: Exception, frame: Frame, peer: Peer) -> None:
        """A frame that can not be read, one that is answered unsigned, or a failure of ours."""
        if isinstance(error, reception.UnreadableError):
            self.log.refused(peer.source, "", str(error))
            peer.odd()
        elif isinstance(error, reception.RefusedError):
            refusal = Refusal(error.response_code, error.rule)
            try:
                self.replies.unsigned(peer, frame, error.message, error.codec, refusal)
            except Exception as failure:  # noqa: BLE001 - whoever called has others to serve
                self.log.failed(failure)
        else:
            self.log.failed(error)

    def _dispatch(
        self,
        received: Received,
        snapshot: Snapshot,
        frame: Frame,
        peer: Peer,
        serial: int,
        watch: Watch,
    ) -> bool:
        """Hand it to who serves its type; False: nobody does, and it is answered."""
        mti = received.mti
        work = WORK_OF[mti]
        if work is MONEY:
            MoneyRequest(self, serial, received, snapshot, frame, peer, watch).begin()
        elif work is REVERSAL:
            self.spawn(self._served(self._reversal, serial, received, frame, peer, watch))
        elif work is MANAGEMENT:
            self.spawn(self._served(self._manage, serial, received, frame, peer, watch))
        else:
            rule = "type.answer" if work is NONE_OF_ANSWERS else f"type.{mti}"
            self.replies.refuse(received, frame, peer, Refusal("40", rule))
            return False
        return True

    async def _served(
        self,
        serve: Callable[[Received, Frame, Peer, Watch], Awaitable[None]],
        serial: int,
        received: Received,
        frame: Frame,
        peer: Peer,
        watch: Watch,
    ) -> None:
        try:
            await serve(received, frame, peer, watch)
        except Exception as error:  # noqa: BLE001 - nothing was sent: what was would be an outcome
            self.log.failed(error)
            refusal = Refusal("96", f"failed.{type(error).__name__}")
            self.replies.refuse(received, frame, peer, refusal)
        finally:
            self.ended(serial, peer)

    # -- what is no request for money ------------------------------------------------------------

    async def _manage(self, received: Received, frame: Frame, peer: Peer, _watch: Watch) -> None:
        local_time = self._rows.local(received.sender.timezone).text
        answer, rule = await self._management.answer(
            received, self.snapshot(), peer.source, local_time
        )
        digit = await self._management.request(received, self.snapshot(), peer.source, rule)
        peer.answer(frame, received.codec.encode(answer), digit)
        self.log.managed(received, str(answer.get(39, "")), rule)

    async def _reversal(self, received: Received, frame: Frame, peer: Peer, watch: Watch) -> None:
        """A terminal's 0400: only frame, registration, MAC and rules §6 apply."""
        message = received.message
        asked = intake.read_reversal(message, received.profile)
        if isinstance(asked, Refusal):
            self.replies.refuse(received, frame, peer, asked)
            return
        verdict = self.verify(received, peer)
        verified = verdict if isinstance(verdict, Verified) else await verdict
        if isinstance(verified, Refusal):
            self.replies.refuse(received, frame, peer, verified)
            return
        digit = await self.digit(received, verified, self.snapshot(), peer)
        key = await self.admission.reversed_key(received, verified, asked)
        snapshot = self.snapshot()
        route = snapshot.route(asked.pan) if asked.pan else None
        now = self._now()
        local = self._rows.local(received.sender.timezone, now)
        tombstone = self._rows.request(received, verified, snapshot, key, asked, route, now, local)
        if tombstone is None:
            self.replies.refuse(received, frame, peer, Refusal("96", "numbers.exhausted"))
            return
        ask = ReversalAsk(
            key=key,
            pan_token=tombstone.pan_token,
            amount_minor=tombstone.amount_minor,
            reason=str(message.get(39, "98")),
            tombstone=tombstone,
            numbers=self._rows.identity,
            received_at=tombstone.received_at,
            answer_wait_s=self.longest_timer_s(),
        )
        began_ns = self.monotonic_ns()
        watch.checked_ns = began_ns - watch.since_ns
        judgement, _ = await self.journal.decide(
            FindByKey(key), lambda scene: judge_reversal(ask, scene)
        )
        watch.since_ns = self.monotonic_ns()
        watch.recorded_ns = watch.since_ns - began_ns
        request = tombstone if judgement.original is None else judgement.original.request
        request = msgspec.structs.replace(request, local_time=tombstone.local_time)
        reply = Reply(judgement.response_code, judgement.rule, request)
        await self.replies.reply(received, verified, frame, peer, reply, watch, digit)

    # -- what both ask ---------------------------------------------------------------------------

    def longest_timer_s(self) -> float:
        """After this long every attempt that was committed before is answered or given up."""
        timers = [link.timeout_s for link in self.snapshot().links.values()]
        return max(timers, default=0.0) + self.config.engine.send_by_s

    async def digit(
        self, received: Received, verified: Verified, snapshot: Snapshot, peer: Peer
    ) -> int:
        """What the header of the answer will ask for. Looked for before anything is stored: once an
        outcome is, nothing but the answer's way may take time."""
        if not self.downloads.may_ask(snapshot):
            return 0
        return await self.downloads.ask(
            verified.access,
            received,
            snapshot,
            peer.source,
            shown=True,
            session=verified.session,
        )

    def verify(self, received: Received, peer: Peer) -> Verified | Awaitable[Verified | Refusal]:
        """MAC; the first message under a session voids the former keys and vouches for its address.

        Something to await comes where the store has to be asked, or a vault takes its time.
        """
        verified = reception.verify(received, self.cache, self.hsm, self._now)
        if (
            isinstance(verified, Verified)
            and verified.session.confirmed
            and (peer.source in verified.access.sources or verified.access.batch is None)
        ):
            return verified
        return self._vouched(verified, peer)

    async def _vouched(
        self, verdict: Verified | Awaitable[Verified | Refusal], peer: Peer
    ) -> Verified | Refusal:
        verified = verdict if isinstance(verdict, Verified) else await verdict
        if isinstance(verified, Refusal):
            return verified
        access, session, batch = verified.access, verified.session, verified.access.batch
        if not session.confirmed:
            newest = session is access.sessions[0]
            await self.batches.confirm_session(session.session_id)
            verified.session = msgspec.structs.replace(session, confirmed=True)
            kept = [] if newest else [other for other in access.sessions if other is not session]
            access.sessions = [*kept, verified.session]
        if peer.source not in access.sources and batch is not None:
            await self.batches.note_source(batch.merchant, batch.terminal, batch.batch, peer.source)
            if len(access.sources) < self.config.server.session_sources:
                access.sources.add(peer.source)
        return verified


class Work(Enum):
    """Who serves a message, by its MTI."""

    MONEY = auto()
    REVERSAL = auto()
    MANAGEMENT = auto()
    NONE_OF_ANSWERS = auto()
    NONE = auto()


# Members by their bare names: through its class each costs as much as three calls.
MONEY, REVERSAL, MANAGEMENT, NONE_OF_ANSWERS, NONE = Work


def work_of(mti: str) -> Work:
    if is_response(mti):
        return NONE_OF_ANSWERS
    if mti[1] in "126":
        return MONEY
    if without_repeat(mti) == "0400":
        return REVERSAL
    return MANAGEMENT if mti[1] in "358" else NONE


WORK_OF = Remembered(work_of, 1_024)
