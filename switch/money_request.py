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
from iso8583.errors import EncodeError
from switch import intake, reception
from switch.acquirers.link_messages import build_request
from switch.acquirers.ports import Answer, NoAnswerError, NotSentError
from switch.at_once import tell
from switch.authorization import NOTHING_SENT
from switch.effects import Decide, Exchange, Look, Reconsider, Reply, Store
from switch.events import Found, Judged, NoAnswer, NotSent, VaultRefused
from switch.intake import Refusal
from switch.reception import Verified

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from iso8583.framing import Frame
    from switch.admission import Admitted
    from switch.authorization import Authorization
    from switch.effects import Effect
    from switch.engine import Engine, Peer
    from switch.events import Event
    from switch.journal import Duplicate, Verdict
    from switch.reception import Received
    from switch.reference import Snapshot
    from switch.watch import Watch

RECONSIDERED_MAX = 5  # times that the ground may move under one request before it is told 96
LOOK_FIRST_S, LOOK_LAST_S = 0.02, 0.5  # between looks for a repeated request's outcome
WAIT_S = 0.25  # between looks whether an earlier void's reversal was answered


class MoneyRequest:
    """`serial`: by which the engine knows it, until it calls `Engine.ended`."""

    __slots__ = (
        "abandoned", "acquirer", "asked", "auth", "body", "digit", "engine", "frame", "issued_ns", "peer",
        "received", "reply", "serial", "snapshot", "tries", "verified", "watch",
    )  # fmt: skip

    asked: intake.Ask
    verified: Verified

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
        self.auth: Authorization | None = None
        self.issued_ns = 0  # monotonic: when its newest commit was handed over
        self.acquirer = ""  # that it waits for
        self.digit = 0
        self.tries = 0
        self.reply: Reply | Refusal | None = None
        self.body = b""  # of its answer, up to the MAC
        self.abandoned = False  # left to `duties`: it may have been sent, and we failed

    # -- from its form to the first effect -------------------------------------------------------

    def begin(self) -> None:
        """Plain calls as far as they go; where somebody has to be asked, what is left is a task."""
        engine, received = self.engine, self.received
        try:
            asked = intake.read(received.message, received.sender.profile)
            if isinstance(asked, Refusal):
                self._refuse(asked)
                return
            self.asked = asked
            verified = engine.verify(received, self.peer)
            if isinstance(verified, Verified) and not engine.downloads.may_ask(self.snapshot):
                admitted = self._admit(verified)
                if isinstance(admitted, (tuple, Refusal)):
                    self._begun(admitted)
                else:
                    engine.spawn(self._begin_admitted(admitted))
            else:
                engine.spawn(self._begin_verified(verified))
        except Exception as error:  # noqa: BLE001 - one request's failure is that request's alone
            self._failed(error)

    async def _begin_verified(self, verdict: Verified | Awaitable[Verified | Refusal]) -> None:
        engine, received = self.engine, self.received
        try:
            verified = verdict if isinstance(verdict, Verified) else await verdict
            if isinstance(verified, Refusal):
                self._refuse(received.sender.status or verified)
                return
            self.digit = await engine.digit(received, verified, self.snapshot, self.peer)
            admitted = self._admit(verified)
            if not isinstance(admitted, (tuple, Refusal)):
                admitted = await admitted
            self._begun(admitted)
        except Exception as error:  # noqa: BLE001 - one request's failure is that request's alone
            self._failed(error)

    async def _begin_admitted(self, admitted: Awaitable[Admitted]) -> None:
        try:
            self._begun(await admitted)
        except Exception as error:  # noqa: BLE001 - one request's failure is that request's alone
            self._failed(error)

    def _admit(self, verified: Verified) -> Admitted | Awaitable[Admitted]:
        engine = self.engine
        self.verified = verified
        engine.undertake(self.serial)
        return engine.admission.admit(self.received, verified, self.asked, self.snapshot)

    def _begun(self, admitted: Admitted) -> None:
        if isinstance(admitted, Refusal):
            self._reply(admitted)
            return
        self.auth, effect = admitted
        watch, now_ns = self.watch, self.engine.monotonic_ns()
        watch.checked_ns += now_ns - watch.since_ns
        watch.since_ns = now_ns
        self._perform(effect)

    async def _reconsidered(self, effect: Reconsider) -> None:
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
            self.begin()

    # -- from effect to event --------------------------------------------------------------------

    def go_on(self, event: Event) -> None:
        """The next step, by what came of the last."""
        auth = self.auth
        assert auth is not None
        try:
            self.watch.staged(auth.stage, self.engine.monotonic_ns())
            effect = auth.step(event)
            self._perform(effect)
        except Exception as error:  # noqa: BLE001 - one request's failure is that request's alone
            self._failed(error)

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, Store):
            self.issued_ns = self.watch.since_ns  # this step's beginning
            self.engine.journal.submit(effect.commit, self.stored)
        elif isinstance(effect, Exchange):
            self._exchange(effect)
        elif isinstance(effect, Reply):
            self._reply(effect)
        elif isinstance(effect, Reconsider):
            self.engine.spawn(self._reconsidered(effect))
        else:
            self.engine.spawn(self._asked(effect))

    def stored(self, verdict: Verdict | Exception) -> None:
        """The journal's word on what was to be stored."""
        if isinstance(verdict, Exception):
            self._failed(verdict)
        else:
            self.go_on(verdict)

    async def _asked(self, effect: Decide | Look) -> None:
        try:
            if isinstance(effect, Decide):
                self.issued_ns = self.engine.monotonic_ns()
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

    def _exchange(self, effect: Exchange) -> None:
        """PIN under the link's key, message, send. Nothing leaves after the send-by time."""
        pin_block = self.received.message.get(52)
        if pin_block is None:
            self._send(None)
            return
        assert isinstance(pin_block, bytes)
        engine, pik = self.engine, self.verified.session.pik
        try:
            zpk = zpk_of(effect.attempt.acquirer, engine.snapshot())
            translated = engine.hsm.translate_pin(pin_block, pik, zpk, self.asked.pan)
        except VaultError as error:
            self._send(error)
        else:
            if isinstance(translated, bytes):
                self._send(translated)
            else:
                engine.spawn(tell(translated, self._send))

    def _send(self, pin_block: bytes | Exception | None) -> None:
        """With the PIN block, or why there is none. Then it is the link's, which tells what comes of it."""
        engine, auth, received, asked = self.engine, self.auth, self.received, self.asked
        assert auth is not None
        attempt, merchant = auth.attempt, received.sender.merchant
        assert attempt is not None
        assert merchant is not None
        name = attempt.acquirer
        try:
            acquirer, link = engine.acquirers.get(name), engine.snapshot().links.get(name)
            if acquirer is None or link is None:  # taken out of the reference data meanwhile
                self.go_on(NotSent("gone"))
                return
            if isinstance(pin_block, Exception):
                self.go_on(self._vault_refused(pin_block))
                return
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
            send_by_ns = self.issued_ns + engine.send_by_ns
            standing_ns = engine.standing.of(auth.request.owner_id)
            if standing_ns < send_by_ns:
                send_by_ns = standing_ns
            self.watch.sent_ns += engine.monotonic_ns() - self.watch.since_ns
            self.acquirer = name
            engine.load.sent(name, engine.loop_time())
        except Exception as error:  # noqa: BLE001 - one request's failure is that request's alone
            self._failed(error)
            return
        try:
            acquirer.send(message, attempt, send_by_ns, self.exchanged)
        except Exception as error:  # noqa: BLE001 - it may have been sent: unknown, never declined
            engine.load.back(name)
            engine.log.failed(error)
            self.go_on(NoAnswer("internal"))

    def _vault_refused(self, error: Exception) -> VaultRefused:
        if isinstance(error, PinBlockError):
            return VaultRefused("99", "pin.block")
        if not isinstance(error, VaultError):
            raise error
        self.engine.log.failed(error)
        return VaultRefused("96", "vault.failed")

    def exchanged(self, came: Answer | NotSentError | NoAnswerError) -> None:
        """The link's word on what was to be sent."""
        self.engine.load.back(self.acquirer)
        event: Event
        if isinstance(came, Answer):
            event = came
        elif isinstance(came, NoAnswerError):
            event = NoAnswer(came.reason)
        else:
            # where the vault failed: that is ours, not the link's, and no other route would do better
            ours = came.reason == "vault"
            event = VaultRefused("96", "vault.failed") if ours else NotSent(came.reason)
        self.go_on(event)

    # -- its end ---------------------------------------------------------------------------------

    def _reply(self, reply: Reply | Refusal) -> None:
        self.reply = reply
        engine, received = self.engine, self.received
        if not self.abandoned:
            engine.decide(self.serial)
        mak, profile = self.verified.session.mak, received.sender.mac_profile
        try:
            self.body = body = engine.replies.body(received, self.peer, reply)
            mac = b"" if profile == "off" else engine.hsm.mac(mak, profile, body)
        except (EncodeError, VaultError) as error:
            self._told(error)
        except Exception as error:  # noqa: BLE001 - one request's failure is that request's alone
            self._failed(error)
        else:
            if isinstance(mac, bytes):
                self._told(mac)
            else:
                engine.spawn(tell(mac, self._told))

    def _told(self, mac: bytes | Exception) -> None:
        """Its MAC, or why there is no answer: the line of what was decided is written all the same."""
        assert self.reply is not None
        try:
            self.engine.replies.tell(
                self.frame, self.peer, self.body, mac, self.digit, self.reply, self.watch
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
        if self.reply is not None:  # another answer would contradict what is stored
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
            self._reply(auth.reply("98", "engine.failed"))

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
