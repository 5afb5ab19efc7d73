"""The engine: every frame becomes one task that this module owns, and here alone requests await.

At the vault too: one on a network suspends, so what was looked at before is looked at again.

A request's task outlives its connection. It runs the steps of `authorization`, performs each effect
with the store, the vault and the acquirer, and brings back the event. An exception in one task ends
that one: as unknown where something may have been sent, else as 96; it is logged and costs nobody
else anything.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

import msgspec

from hsm.errors import PinBlockError, VaultError
from iso8583.errors import EncodeError
from iso8583.mti import is_response, without_repeat
from switch import answers, intake, reception
from switch.acquirers.link_messages import build_request
from switch.acquirers.ports import NoAnswerError, NotSentError
from switch.authorization import NOTHING_SENT, Stage
from switch.effects import Decide, Exchange, Look, Reconsider, Reply, Store
from switch.events import Found, Judged, NoAnswer, NotSent, VaultRefused
from switch.intake import Refusal
from switch.journal import FindByKey
from switch.logs import AuthorizationLine
from switch.reversal import ReversalAsk, judge_reversal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hsm.ports import Hsm
    from iso8583.codec import Codec
    from iso8583.framing import Frame
    from iso8583.message import Message
    from switch.access import AccessCache
    from switch.acquirers.ports import Acquirer
    from switch.admission import Admission
    from switch.authorization import Authorization
    from switch.config import Config
    from switch.downloads import Downloads
    from switch.effects import Effect
    from switch.events import Event
    from switch.journal import AttemptRow, Duplicate, Journal
    from switch.load import Load
    from switch.management import Management
    from switch.numbers import Block
    from switch.ports import Clock
    from switch.rates import Sources
    from switch.reception import Received, Verified
    from switch.reference import Link, Snapshot
    from switch.rows import Rows, Standing
    from switch.store_ports import Batches, Undecided

RECONSIDERED_MAX = 5  # times that the ground may move under one request before it is told 96
LOOK_FIRST_S, LOOK_LAST_S = 0.02, 0.5  # between looks for a repeated request's outcome
ENDS = (Reply, Reconsider)  # effects after which there is no event
ALWAYS_TAKEN = ("040", "022", "062", "032")  # at the bound too, within a reserve (rules §8)
WAIT_S = 0.25  # between looks whether an earlier void's reversal was answered


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

    def authorized(self, line: AuthorizationLine) -> None: ...

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


class Watch:
    """Where one request's time goes: durations on the monotonic clock, for its line in the log."""

    __slots__ = (
        "checked_ns",
        "decoded_ns",
        "exchanged_ns",
        "recorded_ns",
        "replied_ns",
        "sent_ns",
        "settled_ns",
        "started_ns",
    )

    def __init__(self, started_ns: int) -> None:
        self.started_ns = started_ns
        self.decoded_ns = self.checked_ns = self.recorded_ns = self.sent_ns = 0
        self.exchanged_ns = self.settled_ns = self.replied_ns = 0

    def add(self, stage: Stage, took_ns: int) -> None:
        if stage is Stage.EXCHANGING:
            self.exchanged_ns += took_ns
        elif stage in NOTHING_SENT or stage is Stage.REROUTING:
            self.recorded_ns += took_ns
        else:
            self.settled_ns += took_ns


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
        self._config = config
        self._journal = journal
        self._batches = batches
        self._cache = cache
        self._admission = admission
        self._management = management
        self._downloads = downloads
        self._rows = rows
        self._hsm = hsm
        self._clock = clock
        self._log = log
        self._standing = standing
        self._load = load
        self._acquirers = acquirers
        self._request_ids = request_ids
        self._snapshot = snapshot
        self._refresh = refresh
        self._sources = sources
        self._demo = demo
        self._tasks: set[asyncio.Task[None]] = set()
        self._undecided: dict[int, int] = {}  # serial → no lower request id, oldest first
        self._abandoned: dict[int, tuple[int, Undecided]] = {}  # request id → serial, what is known
        self._serial = 0

    # -- in and out ----------------------------------------------------------------------------

    def submit(self, frame: Frame, peer: Peer) -> None:
        """Take a frame. When too much waits already it is answered 96, before anything is stored."""
        loop = asyncio.get_running_loop()
        if self._load.takes_new(loop.time()):
            self._begin(frame, peer)
        else:
            loop.call_soon(self._turn_away, frame, peer)

    def _begin(self, frame: Frame, peer: Peer) -> None:
        loop = asyncio.get_running_loop()
        self._load.came(loop.time())
        task = loop.create_task(self._handle(frame, peer))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._stepped()
        self._load.left()

    @property
    def in_flight(self) -> int:
        return len(self._tasks)

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

    async def settled(self, timeout_s: float) -> bool:
        """Every request that is in flight now has ended, or the time is up."""
        tasks = set(self._tasks)
        if tasks:
            _, tasks = await asyncio.wait(tasks, timeout=timeout_s)
        return not tasks

    async def drain(self, timeout_s: float) -> bool:
        """Wait for the requests in flight, and for those whose frames were read meanwhile; False:
        some are left to recovery."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + timeout_s
        while self._tasks and loop.time() < until_s:
            await asyncio.wait(self._tasks, timeout=until_s - loop.time())
        return not self._tasks

    def _turn_away(self, frame: Frame, peer: Peer) -> None:
        """Refusing must cost far less than serving: no task, nothing asked of anybody. What is always
        taken in begins after all, while there is a reserve."""
        begun = False
        try:
            received = self._receive(frame, peer)
            if received.mti[:3] in ALWAYS_TAKEN and self._load.takes_first:
                begun = True
                self._begin(frame, peer)
            else:
                self._refuse(received, frame, peer, Refusal("96", "engine.overload"))
        except Exception as error:  # noqa: BLE001 - one request's failure is that request's alone
            self._unserved(error, frame, peer)
        finally:
            if not begun:
                peer.finished()

    async def _handle(self, frame: Frame, peer: Peer) -> None:
        watch = Watch(self._clock.monotonic_ns())
        try:
            received = self._receive(frame, peer)
            watch.decoded_ns = self._clock.monotonic_ns() - watch.started_ns
            if self._in_its_rate(received, peer):
                await self._dispatch(received, frame, peer, watch)
            else:
                self._refuse(received, frame, peer, Refusal("96", "rates.terminal_messages"))
        except Exception as error:  # noqa: BLE001 - one request's failure is that request's alone
            self._unserved(error, frame, peer)
        finally:
            peer.finished()

    def _in_its_rate(self, received: Received, peer: Peer) -> bool:
        """A terminal that sends without end is refused before it costs a MAC or a row."""
        now_s = asyncio.get_running_loop().time()
        who = peer.source, received.merchant_id, received.terminal_id
        return self._sources.terminal(*who, now_s) or received.mti[:3] in ALWAYS_TAKEN

    def _receive(self, frame: Frame, peer: Peer) -> Received:
        reception.check_header(frame.header, demo=self._demo)
        return reception.receive(frame.body, peer.dialect, self._snapshot())

    def _unserved(self, error: Exception, frame: Frame, peer: Peer) -> None:
        """A frame that can not be read, one that is answered unsigned, or a failure of ours."""
        if isinstance(error, reception.UnreadableError):
            self._log.refused(peer.source, "", str(error))
            peer.odd()
        elif isinstance(error, reception.RefusedError):
            refusal = Refusal(error.response_code, error.rule)
            self._answer_unsigned(peer, frame, error.message, error.codec, refusal)
        else:
            self._log.failed(error)

    async def _dispatch(self, received: Received, frame: Frame, peer: Peer, watch: Watch) -> None:
        mti = received.mti
        try:
            if is_response(mti):
                self._refuse(received, frame, peer, Refusal("40", "type.answer"))
            elif mti[1] in "126":
                await self._money(received, frame, peer, watch)
            elif without_repeat(mti) == "0400":
                await self._reversal(received, frame, peer, watch)
            elif mti[1] in "358":
                await self._manage(received, frame, peer)
            else:
                self._refuse(received, frame, peer, Refusal("40", f"type.{mti}"))
        except (reception.UnreadableError, reception.RefusedError):
            raise
        except Exception as error:  # noqa: BLE001 - nothing was sent: what was would be an outcome
            self._log.failed(error)
            self._refuse(received, frame, peer, Refusal("96", f"failed.{type(error).__name__}"))

    async def _manage(self, received: Received, frame: Frame, peer: Peer) -> None:
        local_time = self._rows.local(timezone_of(received)).text
        answer, rule = await self._management.answer(
            received, self._snapshot(), peer.source, local_time
        )
        digit = await self._management.request(received, self._snapshot(), peer.source, rule)
        peer.answer(frame, received.codec.encode(answer), digit)
        self._log.managed(received, str(answer.get(39, "")), rule)

    # -- money ---------------------------------------------------------------------------------

    async def _money(self, received: Received, frame: Frame, peer: Peer, watch: Watch) -> None:
        malformed = intake.form(received.message, received.profile)
        if malformed is not None:
            self._refuse(received, frame, peer, malformed)
            return
        for _ in range(RECONSIDERED_MAX):
            began_ns = self._clock.monotonic_ns()
            verified = await self._verify(received, peer)
            if isinstance(verified, Refusal):
                self._refuse(received, frame, peer, received.status or verified)
                return
            digit = await self._digit(received, verified, peer)
            reply = await self._authorize(received, verified, watch, began_ns)
            if not isinstance(reply, Reconsider):
                await self._reply(received, verified, frame, peer, reply, watch, digit)
                return
            await self._refresh()
            if reply.batch_frozen:  # else the session stands: all reading theirs again takes long
                self._cache.forget(received.merchant_id, received.terminal_id)
            received = reception.receive(received.body, peer.dialect, self._snapshot())
        self._refuse(received, frame, peer, Refusal("96", "engine.ground_moved"))

    async def _authorize(
        self, received: Received, verified: Verified, watch: Watch, checked_from_ns: int
    ) -> Reply | Refusal | Reconsider:
        """One request from its checks to its reply, or to where it has to look again."""
        self._serial += 1
        serial = self._serial
        # from before its number is taken: a lease renewed meanwhile must not leave it out
        self._undecided[serial] = self._request_ids.lowest
        abandoned = False
        try:
            admitted = await self._admission.admit(received, verified, self._snapshot())
            if isinstance(admitted, Refusal):
                return admitted
            auth, effect = admitted
            began_ns = self._clock.monotonic_ns()
            watch.checked_ns += began_ns - checked_from_ns
            try:
                while not isinstance(effect, ENDS):
                    stage = auth.stage
                    event = await self._perform(effect, auth, received, verified, watch)
                    ended_ns = self._clock.monotonic_ns()
                    watch.add(stage, ended_ns - began_ns)
                    began_ns = ended_ns
                    effect = auth.step(event)
            except Exception as error:
                undecided = auth.undecided()
                if auth.stage in NOTHING_SENT or undecided is None:
                    raise
                self._log.failed(error)
                abandoned = True
                self._abandoned[auth.request.request_id] = serial, undecided
                return auth.reply("98", "engine.failed")
            return effect
        finally:
            if not abandoned:
                del self._undecided[serial]

    async def _reversal(self, received: Received, frame: Frame, peer: Peer, watch: Watch) -> None:
        """A terminal's 0400: only frame, registration, MAC and rules §6 apply."""
        message = received.message
        verified = intake.form_reversal(message, received.profile) or await self._verify(
            received, peer
        )
        if isinstance(verified, Refusal):
            self._refuse(received, frame, peer, verified)
            return
        digit = await self._digit(received, verified, peer)
        key = await self._admission.reversed_key(received, verified)
        tombstone = self._rows.request(received, verified, self._snapshot(), key, None)
        if tombstone is None:
            self._refuse(received, frame, peer, Refusal("96", "numbers.exhausted"))
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
        began_ns = self._clock.monotonic_ns()
        watch.checked_ns = began_ns - watch.started_ns - watch.decoded_ns
        judgement, _ = await self._journal.decide(
            FindByKey(key), lambda scene: judge_reversal(ask, scene)
        )
        watch.recorded_ns = self._clock.monotonic_ns() - began_ns
        request = tombstone if judgement.original is None else judgement.original.request
        request = msgspec.structs.replace(request, local_time=tombstone.local_time)
        reply = Reply(judgement.response_code, judgement.rule, request)
        await self._reply(received, verified, frame, peer, reply, watch, digit)

    def _stepped(self) -> None:
        self._load.stepped(asyncio.get_running_loop().time())

    # -- performing ----------------------------------------------------------------------------

    async def _perform(
        self,
        effect: Effect,
        auth: Authorization,
        received: Received,
        verified: Verified,
        watch: Watch,
    ) -> Event:
        if isinstance(effect, Store):
            auth.issued_ns = self._clock.monotonic_ns()
            return await self._journal.commit(effect.commit)
        if isinstance(effect, Exchange):
            return await self._exchange(effect.attempt, auth, received, verified, watch)
        if isinstance(effect, Decide):
            auth.issued_ns = self._clock.monotonic_ns()
            return await self._decide(effect)
        assert isinstance(effect, Look)
        return await self._look(effect.duplicate)

    async def _exchange(
        self,
        attempt: AttemptRow,
        auth: Authorization,
        received: Received,
        verified: Verified,
        watch: Watch,
    ) -> Event:
        """PIN under the link's key, message, send, wait. Nothing leaves after the send-by time."""
        began_ns = self._clock.monotonic_ns()
        merchant, card = received.merchant, intake.read_card(received.message)
        assert merchant is not None
        assert card is not None
        if self._way_to(attempt.acquirer) is None:
            return NotSent("gone")
        try:
            pin_block = await self._translated(attempt.acquirer, received, verified, card[0])
        except PinBlockError:
            return VaultRefused("99", "pin.block")
        except VaultError as error:
            self._log.failed(error)
            return VaultRefused("96", "vault.failed")
        way = self._way_to(attempt.acquirer)  # the vault may have taken its time
        if way is None:
            return NotSent("gone")
        acquirer, link = way
        message = build_request(
            auth.request,
            attempt,
            received.message,
            card[0],
            card[1],
            merchant,
            link,
            pin_block,
            auth.original,
        )
        send_by_ns = auth.issued_ns + int(self._config.engine.send_by_s * 1e9)
        send_by_ns = min(send_by_ns, self._standing.of(auth.request.owner_id))
        self._stepped()
        watch.sent_ns += self._clock.monotonic_ns() - began_ns
        try:
            with self._load.at(attempt.acquirer):
                return await acquirer.request(message, attempt, send_by_ns)
        except NotSentError as error:
            if error.reason == "vault":  # ours, not the link's: no other route would do better
                return VaultRefused("96", "vault.failed")
            return NotSent(error.reason)
        except NoAnswerError as error:
            return NoAnswer(error.reason)
        except Exception as error:  # noqa: BLE001 - it may have been sent: unknown, never declined
            self._log.failed(error)
            return NoAnswer("internal")

    def _way_to(self, name: str) -> tuple[Acquirer, Link] | None:
        """None: the link was taken out of the reference data meanwhile."""
        acquirer, link = self._acquirers.get(name), self._snapshot().links.get(name)
        return None if acquirer is None or link is None else (acquirer, link)

    async def _translated(
        self, acquirer: str, received: Received, verified: Verified, pan: str
    ) -> bytes | None:
        """The PIN block under the link's ZPK; None where the message has none."""
        block = received.message.get(52)
        if block is None:
            return None
        assert isinstance(block, bytes)
        zpk = self._snapshot().key(f"link:{acquirer}", "ZPK")
        if zpk is None:
            raise VaultError(f"link {acquirer} has no ZPK: tongbao keys import --link {acquirer}")
        return await self._hsm.translate_pin(block, verified.session.pik, zpk.block, pan)

    async def _decide(self, effect: Decide) -> Judged:
        """Judge; while an earlier follow-up is still being reversed, ask again within the timer."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self.longest_timer_s()
        while True:
            judgement, verdict = await self._journal.decide(effect.find, effect.judge)
            if not judgement.wait or loop.time() > until_s:
                return Judged(judgement, verdict)
            with self._load.away():
                await asyncio.sleep(WAIT_S)

    async def _look(self, duplicate: Duplicate) -> Found:
        """The outcome of a request in flight anywhere, or of long ago. Few may wait for one: where
        a bank stands still every terminal repeats, and each of them asks the store again and again."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._config.engine.repeat_wait_s
        pause_s = LOOK_FIRST_S
        while True:
            stored = await self._journal.stored_outcome(
                duplicate.request_id, duplicate.request_date
            )
            decided = stored is not None and (stored.outcome is not None or stored.pending)
            if decided or loop.time() > until_s or not self._load.takes_watcher:
                return Found(stored)
            with self._load.watching():
                await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LOOK_LAST_S)

    def longest_timer_s(self) -> float:
        """After this long every attempt that was committed before is answered or given up."""
        timers = [link.timeout_s for link in self._snapshot().links.values()]
        return max(timers, default=0.0) + self._config.engine.send_by_s

    # -- sessions and answers ------------------------------------------------------------------

    async def _digit(self, received: Received, verified: Verified, peer: Peer) -> int:
        """What the header of the answer will ask for. Looked for before anything is stored: once an
        outcome is, nothing but the answer's way may take time."""
        return await self._downloads.ask(
            verified.access,
            received,
            self._snapshot(),
            peer.source,
            shown=True,
            session=verified.session,
        )

    async def _verify(self, received: Received, peer: Peer) -> Verified | Refusal:
        """MAC; the first message under a session voids the former keys and vouches for its address."""
        verified = await reception.verify(received, self._cache, self._hsm, self._clock.now())
        if isinstance(verified, Refusal):
            return verified
        access, session, batch = verified.access, verified.session, verified.access.batch
        if not session.confirmed:
            newest = session is access.sessions[0]
            await self._batches.confirm_session(session.session_id)
            verified.session = msgspec.structs.replace(session, confirmed=True)
            kept = [] if newest else [other for other in access.sessions if other is not session]
            access.sessions = [*kept, verified.session]
        if peer.source not in access.sources and batch is not None:
            await self._batches.note_source(
                batch.merchant, batch.terminal, batch.batch, peer.source
            )
            if len(access.sources) < self._config.server.session_sources:
                access.sources.add(peer.source)
        return verified

    async def _reply(
        self,
        received: Received,
        verified: Verified,
        frame: Frame,
        peer: Peer,
        reply: Reply | Refusal,
        watch: Watch,
        digit: int,
    ) -> None:
        """Answer, signed under the keys that verified the request, and write its line."""
        began_ns = self._clock.monotonic_ns()
        if isinstance(reply, Refusal):
            answer = self._plain_answer(received.message, reply.response_code)
            self._log.refused(peer.source, reply.response_code, reply.rule)
        else:
            answer = answers.answer_money(
                received.message, reply.response_code, reply.request, reply.attempt, reply.outcome
            )
        try:
            peer.answer(frame, await self._signed(received, verified, answer), digit)
        except (EncodeError, VaultError) as error:
            self._log.failed(error)
        if isinstance(reply, Reply):
            ended_ns = self._clock.monotonic_ns()
            watch.replied_ns = ended_ns - began_ns
            self._log.authorized(authorization_line(reply, watch, ended_ns - watch.started_ns))

    async def _signed(self, received: Received, verified: Verified, answer: Message) -> bytes:
        profile = reception.mac_profile(received)
        if profile == "off":
            return received.codec.encode(answer)
        answer[64] = bytes(8)
        body = received.codec.encode(answer)[:-8]
        return body + await self._hsm.mac(verified.session.mak, profile, body)

    def _refuse(self, received: Received, frame: Frame, peer: Peer, refusal: Refusal) -> None:
        self._answer_unsigned(peer, frame, received.message, received.codec, refusal)

    def _answer_unsigned(
        self, peer: Peer, frame: Frame, message: Message, codec: Codec, refusal: Refusal
    ) -> None:
        if is_response(str(message[0])):
            refusal = Refusal("40", "type.answer")
            peer.odd()  # two peers that answer each other's answers would never end
        self._log.refused(peer.source, refusal.response_code, refusal.rule)
        answer = self._plain_answer(message, refusal.response_code)
        try:
            peer.answer(frame, codec.encode(answer))
        except EncodeError:  # what it echoes is the very element that was bad
            peer.answer(frame, codec.encode(answers.bare(answer)))

    def _plain_answer(self, message: Message, response_code: str) -> Message:
        local_time = self._rows.local().text
        answer = answers.echo(message, response_code, local_time)
        answer[37] = answers.unjournalled_rrn(message, local_time)
        return answer


def timezone_of(received: Received) -> str:
    return "" if received.merchant is None else received.merchant.timezone


class Decided(msgspec.Struct, gc=False):
    """Of `RequestRow.decision` what the line tells."""

    route: str = ""


_decided = msgspec.json.Decoder(Decided)


def authorization_line(reply: Reply, watch: Watch, total_ns: int) -> AuthorizationLine:
    request, attempt = reply.request, reply.attempt
    exchanged_ns = watch.exchanged_ns - watch.sent_ns  # the link's part and the bank's
    return AuthorizationLine(
        time=request.received_at,
        merchant=request.key.merchant,
        terminal=request.key.terminal,
        stan=f"{request.key.stan:06d}",
        rrn=request.rrn,
        type=request.type,
        amount_minor=request.amount_minor,
        currency=request.currency,
        pan_masked=request.pan_masked,
        response_code=reply.response_code,
        acquirer="" if attempt is None else attempt.acquirer,
        rule=reply.rule,
        decode_us=watch.decoded_ns // 1_000,
        commit1_us=watch.recorded_ns // 1_000,
        acquirer_us=exchanged_ns // 1_000,
        commit2_us=watch.settled_ns // 1_000,
        total_us=total_ns // 1_000,
        check_us=watch.checked_ns // 1_000,
        send_us=watch.sent_ns // 1_000,
        reply_us=watch.replied_ns // 1_000,
        request_id=request.request_id,
        batch=f"{request.key.batch:06d}",
        mti=request.mti,
        entry_mode=request.entry_mode,
        state="" if reply.outcome is None else reply.outcome.state,
        route=_decided.decode(request.decision).route if request.decision else "",
        route_rule="" if attempt is None else attempt.route_rule,
        attempts=0 if attempt is None else attempt.attempt,
        link_stan="" if attempt is None else attempt.link_stan,
    )
