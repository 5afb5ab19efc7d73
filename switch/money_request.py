"""One money request from its message to its answer.

Theory of operation. The machine of `authorization` says what is to be done, one effect a step; what
comes of it is its next event. No task waits in between: whoever brings it (the journal a verdict, a link
an answer) calls, and the request goes on in that turn of the loop. Only what has to ask the store in the
middle is a task: a session that is not remembered, originals under lock, a look for the outcome of
another. The vault in this process answers at once; one on a network makes a task of what is left.

    open ──Store──▶ journal ──verdict──▶ go_on ──Exchange──▶ link ──answer──▶ go_on ──Store──▶ … ──Reply──▶ reply

An error of ours in one request ends that one: as unknown where something may have been sent, else
as 96; it is logged and costs nobody else anything.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hsm.errors import PinBlockError, VaultError
from switch import intake, reception
from switch.acquirers.link_messages import build_request
from switch.acquirers.ports import NoAnswerError, NotSentError
from switch.at_once import at_once
from switch.authorization import NOTHING_SENT
from switch.effects import Decide, Exchange, Look, Reconsider, Reply, Store
from switch.events import Found, Judged, NoAnswer, NotSent, VaultRefused
from switch.intake import Refusal

if TYPE_CHECKING:
    from iso8583.framing import Frame
    from switch.acquirers.ports import Acquirer, Answer
    from switch.authorization import Authorization
    from switch.effects import Effect
    from switch.engine import Engine, Peer
    from switch.events import Event
    from switch.journal import AttemptRow, Duplicate, Verdict
    from switch.reception import Received, Verified
    from switch.reference import Link, Snapshot
    from switch.watch import Watch

RECONSIDERED_MAX = 5  # times that the ground may move under one request before it is told 96
LOOK_FIRST_S, LOOK_LAST_S = 0.02, 0.5  # between looks for a repeated request's outcome
WAIT_S = 0.25  # between looks whether an earlier void's reversal was answered


class MoneyRequest:
    """`serial`: by which the engine knows it, until it calls `Engine.ended`."""

    asked: intake.Ask
    verified: Verified
    auth: Authorization | None = None
    acquirer = ""  # that it waits for
    digit = 0
    tries = 0
    replying = False
    abandoned = False  # left to `duties`: it may have been sent, and we failed

    def __init__(
        self,
        engine: Engine,
        serial: int,
        received: Received,
        snapshot: Snapshot,
        frame: Frame,
        peer: Peer,
        watch: Watch,
    ) -> None:
        self.engine = engine
        self.serial = serial
        self.received = received
        self.snapshot = snapshot  # that it was read by: a newer one makes its commit stale
        self.frame = frame
        self.peer = peer
        self.watch = watch

    def begin(self) -> None:
        at_once(self._open(), self.engine.spawn)

    # -- from its form to the first effect -------------------------------------------------------

    async def _open(self) -> None:
        engine, received = self.engine, self.received
        try:
            asked = intake.read(received.message, received.sender.profile)
            if isinstance(asked, Refusal):
                self._refuse(asked)
                return
            self.asked = asked
            verified = await engine.verify(received, self.peer)
            if isinstance(verified, Refusal):
                self._refuse(received.sender.status or verified)
                return
            self.verified = verified
            self.digit = await engine.digit(received, verified, self.snapshot, self.peer)
            engine.undertake(self.serial)
            admitted = await engine.admission.admit(received, verified, asked, self.snapshot)
            if isinstance(admitted, Refusal):
                await self._reply(admitted)
                return
            self.auth, effect = admitted
            watch, now_ns = self.watch, engine.monotonic_ns()
            watch.checked_ns += now_ns - watch.since_ns
            watch.since_ns = now_ns
            self._perform(effect)
        except Exception as error:  # noqa: BLE001 - one request's failure is that request's alone
            self._failed(error)

    async def _reconsider(self, effect: Reconsider) -> None:
        """Reference data have changed under it: read anew, and over again."""
        engine, received = self.engine, self.received
        engine.decide(self.serial)
        self.auth = None
        self.tries += 1
        try:
            if self.tries >= RECONSIDERED_MAX:
                self._refuse(Refusal("96", "engine.ground_moved"))
                return
            await engine.refresh()
            if effect.batch_frozen:  # else the session stands: all reading theirs again takes long
                engine.cache.forget(received.sender.merchant_id, received.sender.terminal_id)
            self.snapshot = engine.snapshot()
            self.received = reception.receive(received.body, self.peer.dialect, self.snapshot)
            self.watch.since_ns = engine.monotonic_ns()
        except (reception.UnreadableError, reception.RefusedError) as error:
            engine.unserved(error, self.frame, self.peer)
            self._end()
        except Exception as error:  # noqa: BLE001 - one request's failure is that request's alone
            self._failed(error)
        else:
            await self._open()

    # -- from effect to event --------------------------------------------------------------------

    def _perform(self, effect: Effect) -> None:
        engine = self.engine
        if isinstance(effect, Store):
            assert self.auth is not None
            self.auth.issued_ns = engine.monotonic_ns()
            engine.journal.submit(effect.commit, self.stored)
        elif isinstance(effect, Exchange):
            at_once(self._exchange(effect.attempt), engine.spawn)
        elif isinstance(effect, Reply):
            at_once(self._reply(effect), engine.spawn)
        elif isinstance(effect, Reconsider):
            engine.spawn(self._reconsider(effect))
        else:
            engine.spawn(self._ask(effect))

    def go_on(self, event: Event) -> None:
        """The next step, by what came of the last."""
        auth = self.auth
        assert auth is not None
        try:
            self.watch.staged(auth.stage, self.engine.monotonic_ns())
            self._perform(auth.step(event))
        except Exception as error:  # noqa: BLE001 - one request's failure is that request's alone
            self._failed(error)

    def stored(self, verdict: Verdict | Exception) -> None:
        """The journal's word on what was to be stored."""
        if isinstance(verdict, Exception):
            self._failed(verdict)
        else:
            self.go_on(verdict)

    async def _ask(self, effect: Decide | Look) -> None:
        try:
            if isinstance(effect, Decide):
                assert self.auth is not None
                self.auth.issued_ns = self.engine.monotonic_ns()
                event: Judged | Found = await self._decide(effect)
            else:
                event = await self._look(effect.duplicate)
        except Exception as error:  # noqa: BLE001 - one request's failure is that request's alone
            self._failed(error)
        else:
            self.go_on(event)

    async def _decide(self, effect: Decide) -> Judged:
        """Judge; while an earlier follow-up is still being reversed, ask again within the timer."""
        engine, loop = self.engine, asyncio.get_running_loop()
        until_s = loop.time() + engine.longest_timer_s()
        while True:
            judgement, verdict = await engine.journal.decide(effect.find, effect.judge)
            if not judgement.wait or loop.time() > until_s:
                return Judged(judgement, verdict)
            with engine.load.away():
                await asyncio.sleep(WAIT_S)

    async def _look(self, duplicate: Duplicate) -> Found:
        """The outcome of a request in flight anywhere, or of long ago. Few may wait for one: where
        a bank stands still every terminal repeats, and each of them asks the store again and again."""
        engine, loop = self.engine, asyncio.get_running_loop()
        until_s = loop.time() + engine.config.engine.repeat_wait_s
        pause_s = LOOK_FIRST_S
        while True:
            stored = await engine.journal.stored_outcome(
                duplicate.request_id, duplicate.request_date
            )
            decided = stored is not None and (stored.outcome is not None or stored.pending)
            if decided or loop.time() > until_s or not engine.load.takes_watcher:
                return Found(stored)
            with engine.load.watching():
                await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LOOK_LAST_S)

    # -- with the acquirer -----------------------------------------------------------------------

    async def _exchange(self, attempt: AttemptRow) -> None:
        """PIN under the link's key, message, send. Nothing leaves after the send-by time."""
        try:
            unsent = await self._send(attempt)
        except Exception as error:  # noqa: BLE001 - one request's failure is that request's alone
            self._failed(error)
        else:
            if unsent is not None:
                self.go_on(unsent)

    async def _send(self, attempt: AttemptRow) -> NotSent | NoAnswer | VaultRefused | None:
        """None: it is the link's now, which tells what comes of it."""
        engine, auth, received, asked = self.engine, self.auth, self.received, self.asked
        name, merchant = attempt.acquirer, received.sender.merchant
        assert auth is not None
        assert merchant is not None
        way = self._way_to(name)
        if way is None:
            return NotSent("gone")
        pin_block = received.message.get(52)
        if pin_block is not None:
            assert isinstance(pin_block, bytes)
            snapshot = engine.snapshot()
            try:
                zpk, pik = zpk_of(name, snapshot), self.verified.session.pik
                translated = engine.hsm.translate_pin(pin_block, pik, zpk, asked.pan)
                pin_block = translated if isinstance(translated, bytes) else await translated
            except PinBlockError:
                return VaultRefused("99", "pin.block")
            except VaultError as error:
                engine.log.failed(error)
                return VaultRefused("96", "vault.failed")
            if engine.snapshot() is not snapshot:  # the vault has taken its time
                way = self._way_to(name)
                if way is None:
                    return NotSent("gone")
        acquirer, link = way
        message = build_request(
            auth.request,
            attempt,
            received.message,
            asked.pan,
            asked.expiry,
            merchant,
            link,
            pin_block,
            auth.original,
        )
        send_by_ns = min(
            auth.issued_ns + engine.send_by_ns, engine.standing.of(auth.request.owner_id)
        )
        self.watch.sent_ns += engine.monotonic_ns() - self.watch.since_ns
        self.acquirer = name
        engine.load.sent(name, asyncio.get_running_loop().time())
        try:
            acquirer.send(message, attempt, send_by_ns, self.exchanged)
        except Exception as error:  # noqa: BLE001 - it may have been sent: unknown, never declined
            engine.load.back(name)
            engine.log.failed(error)
            return NoAnswer("internal")
        return None

    def exchanged(self, came: Answer | NotSentError | NoAnswerError) -> None:
        """The link's word on what was to be sent."""
        self.engine.load.back(self.acquirer)
        event: Event
        if isinstance(came, NotSentError):
            # where the vault failed: that is ours, not the link's, and no other route would do better
            ours = came.reason == "vault"
            event = VaultRefused("96", "vault.failed") if ours else NotSent(came.reason)
        elif isinstance(came, NoAnswerError):
            event = NoAnswer(came.reason)
        else:
            event = came
        self.go_on(event)

    def _way_to(self, name: str) -> tuple[Acquirer, Link] | None:
        """None: the link was taken out of the reference data meanwhile."""
        engine = self.engine
        acquirer, link = engine.acquirers.get(name), engine.snapshot().links.get(name)
        return None if acquirer is None or link is None else (acquirer, link)

    # -- its end ---------------------------------------------------------------------------------

    async def _reply(self, reply: Reply | Refusal) -> None:
        self.replying = True
        engine = self.engine
        if not self.abandoned:
            engine.decide(self.serial)
        try:
            await engine.replies.reply(
                self.received, self.verified, self.frame, self.peer, reply, self.watch, self.digit
            )
        except Exception as error:  # noqa: BLE001 - one request's failure is that request's alone
            self._failed(error)
        else:
            self._end()

    def _refuse(self, refusal: Refusal) -> None:
        engine = self.engine
        engine.decide(self.serial)
        try:
            engine.replies.refuse(self.received, self.frame, self.peer, refusal)
        except Exception as error:  # noqa: BLE001 - whoever called has others to tell
            engine.log.failed(error)
        self._end()

    def _failed(self, error: Exception) -> None:
        engine, auth = self.engine, self.auth
        engine.log.failed(error)
        if (
            self.replying
        ):  # its answer may be on its way, and another would contradict what is stored
            self._end()
            return
        undecided = None
        if auth is not None and auth.stage not in NOTHING_SENT:
            undecided = auth.undecided()
        if undecided is None:
            self._refuse(Refusal("96", f"failed.{type(error).__name__}"))
        else:
            assert auth is not None
            self.abandoned = True
            engine.abandon(self.serial, undecided)
            at_once(self._reply(auth.reply("98", "engine.failed")), engine.spawn)

    def _end(self) -> None:
        """Nothing of this may reach who called: the journal and the link have others to tell."""
        try:
            self.engine.ended(self.serial, self.peer)
        except Exception as error:  # noqa: BLE001 - a connection's failure is that connection's alone
            self.engine.log.failed(error)


def zpk_of(acquirer: str, snapshot: Snapshot) -> str:
    """The block of the key that PIN blocks go to an acquirer under. VaultError where there is none."""
    zpk = snapshot.key(f"link:{acquirer}", "ZPK")
    if zpk is None:
        raise VaultError(f"link {acquirer} has no ZPK: tongbao keys import --link {acquirer}")
    return zpk.block
