"""From a verified message to the first step of its authorisation (rules §11, after the MAC)."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import msgspec

from switch import follow_up, intake, limits
from switch.advice import TAKEN, taken_in
from switch.authorization import Authorization
from switch.intake import Refusal
from switch.journal import (
    AttemptRow,
    Commit,
    FindByReference,
    Judgement,
    Key,
    OutcomeRow,
    OutcomeState,
)
from switch.routing import OF_ORIGINAL, Asked, read_route_rule, with_choice
from switch.transactions import HOLDS, UNSUPPORTED, Search, Side

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from switch.access import AccessCache
    from switch.advice import Way
    from switch.config import Config
    from switch.effects import Effect
    from switch.intake import Ask
    from switch.journal import Duplicate, Journal, RequestRow, Scene
    from switch.ports import Clock
    from switch.reception import Received, Verified
    from switch.reference import Route, Snapshot
    from switch.risk import Assessment
    from switch.routing import Choice, Passed
    from switch.rows import Rows, Second

    Admitted = tuple[Authorization, Effect] | Refusal

# By their bare names: through its class each costs as much as three calls.
DEBIT, NONE = Side.DEBIT, Side.NONE


class Admission:
    """The checks, the row, the route. Asks the store only where rules §3 wants a repeat found."""

    def __init__(
        self, config: Config, journal: Journal, cache: AccessCache, rows: Rows, clock: Clock
    ) -> None:
        self._config = config
        self._items_max = config.batch.items_max
        self._workers = config.workers
        self._journal = journal
        self._cache = cache
        self._rows = rows
        self._identity = rows.identity
        self._now = clock.now

    def admit(
        self, received: Received, verified: Verified, asked: Ask, snapshot: Snapshot
    ) -> Admitted | Awaitable[Admitted]:
        """The machine and its first effect; a `Refusal` where nothing can or need be stored.

        Something to await comes where the store has to be asked before.
        """
        key = key_of(received, verified, asked)
        sender, type_, now = received.sender, asked.type, self._now()
        route = snapshot.route(asked.pan) if asked.pan else None
        local = self._rows.local(sender.timezone, now)
        request = self._rows.request(received, verified, snapshot, key, asked, route, now, local)
        if request is None:
            return Refusal("96", "numbers.exhausted")
        auth = self._authorization(request, received, asked)
        if (
            (sender.status is None or type_.advice)
            and sender.profile.batch_in_message
            and not type_.follows
            and unfit(key, verified, advice=type_.advice) is None
            and not verified.access.count_is_old(self._items_max, self._workers)
        ):
            effect = self._first_effect(auth, asked, received, verified, route, local, snapshot)
            return effect if isinstance(effect, Refusal) else (auth, effect)
        return self._admit_asking(auth, asked, received, verified, route, local, snapshot)

    async def _admit_asking(
        self,
        auth: Authorization,
        asked: Ask,
        received: Received,
        verified: Verified,
        route: Route | None,
        local: Second,
        snapshot: Snapshot,
    ) -> Admitted:
        key, advice = auth.request.key, asked.type.advice
        stopped = None if advice else received.sender.status
        if stopped is None and unfit(key, verified, advice=advice) is not None:
            stopped = await self._unfit_still(key, verified, advice=advice)
        former = await self._taken_before(key, received, asked, stopped)
        if former is not None:
            return auth, auth.repeat(former)
        if stopped is not None:
            stored = stopped.response_code == "77" and key.batch < current_batch(verified)
            return (auth, auth.refuse("77", stopped.rule)) if stored else stopped
        if verified.access.count_is_old(self._items_max, self._workers):
            verified.access = await self._cache.read(key.merchant, key.terminal)
        effect = self._first_effect(auth, asked, received, verified, route, local, snapshot)
        return effect if isinstance(effect, Refusal) else (auth, effect)

    async def _unfit_still(self, key: Key, verified: Verified, *, advice: bool) -> Refusal | None:
        """77 for a batch that is not open, 96 while the open one is settled; the store is asked
        before a terminal is told so. A 77 is kept only under a batch that is over: its key would
        else answer for a transaction of a batch to come."""
        verified.access = await self._cache.read(key.merchant, key.terminal)
        return unfit(key, verified, advice=advice)

    def _authorization(self, request: RequestRow, received: Received, asked: Ask) -> Authorization:
        merchant = received.sender.merchant
        partial = asked.private.partial and merchant is not None and merchant.partial_approval
        return Authorization(
            request,
            asked.type,
            partial and asked.type.opens,  # a follow-up is all or nothing
            self._now,
            self._identity,
        )

    def _next_attempt(
        self,
        snapshot: Snapshot,
        request: RequestRow,
        former: AttemptRow,
        acquirer: str,
        passed: Passed,
    ) -> AttemptRow | str:
        """After one that certainly sent nothing; by the rule that chose that one."""
        if former.attempt >= self._config.engine.attempts_max:
            return "attempts_max"
        rule = read_route_rule(former.route_rule).rule
        return self._rows.attempt(request, former, acquirer, rule, snapshot, passed)

    async def _taken_before(
        self, key: Key, received: Received, asked: Ask, stopped: Refusal | None
    ) -> Duplicate | None:
        """A repeat that the commit would not find in time: its terminal is suspended, its batch is
        over, or (a void, a refund …) its judge would see itself among the follow-ups.

        Everywhere else the unique key decides, not a prior read.
        """
        elsewhere = not received.profile.batch_in_message and key.batch > 1
        if stopped is None and not asked.type.follows and not elsewhere:
            return None
        here = await self._journal.find_request(key)
        if here is not None or not elsewhere:
            return here
        return await self._journal.find_request(previous(key))

    def _first_effect(
        self,
        auth: Authorization,
        asked: Ask,
        received: Received,
        verified: Verified,
        route: Route | None,
        local: Second,
        snapshot: Snapshot,
    ) -> Effect | Refusal:
        if asked.type is UNSUPPORTED:
            return auth.refuse("40", f"type.{asked.kind}.{asked.private.usage}")
        if asked.type.advice:
            return self._advice(auth, asked, received, verified, route, local, snapshot)
        merchant = received.sender.merchant
        assert merchant is not None, "a merchant that is missing is a status"
        items = verified.access.items + verified.access.added
        if asked.type.side is DEBIT and items >= self._items_max:
            return auth.refuse("65", "batch.full")
        refusal = intake.validate(asked, received.message, route, merchant, local.month)
        if refusal is not None:
            return auth.refuse(refusal.response_code, refusal.rule)
        assessment, declined = limits.asked_first(
            asked, auth.request, merchant, route, local.time, snapshot
        )
        if declined is not None:
            return auth.refuse(declined.of.response_code, declined.of.told)
        if route is None:
            return auth.refuse("15", "route.none")
        verified.access.added += asked.type.side is not NONE
        if asked.type.follows:
            anew = None
            if merchant.unreferenced_refund:
                choice = choose(snapshot, route, asked.pan, auth.request)
                anew = functools.partial(self._first_usable, auth.request, choice, snapshot)
            return self._follow_up(auth, received, snapshot, anew, assessment)
        attempt = self._routed(auth, route, asked.pan, snapshot)
        if assessment is not None:
            go = functools.partial(forward, attempt)
            judge = limits.judge(auth.request, assessment, go)
            return auth.judge(assessment.find(), judge)
        return auth.refuse("91", "link.down") if attempt is None else auth.record(attempt)

    def _routed(
        self, auth: Authorization, route: Route, pan: str, snapshot: Snapshot
    ) -> AttemptRow | None:
        """The first attempt that can be made; what is left of the choice stays as alternates."""
        choice = choose(snapshot, route, pan, auth.request)
        attempt = self._first_usable(auth.request, choice, snapshot)
        if isinstance(attempt, AttemptRow):
            if choice.told:  # else its one link is all there is
                at = choice.candidates.index(attempt.acquirer)
                auth.alternates = choice.candidates[at + 1 :]
                auth.next_attempt = functools.partial(self._next_attempt, snapshot)
                note_choice(auth, choice)
            return attempt
        note_choice(auth, choice, attempt)
        return None

    def _first_usable(
        self, request: RequestRow, choice: Choice, snapshot: Snapshot
    ) -> AttemptRow | Passed:
        """An attempt at the first link that can be tried, else why each of them can not."""
        passed: Passed = ()
        for acquirer in choice.candidates:
            made = self._rows.attempt(request, None, acquirer, choice.rule, snapshot, passed)
            if isinstance(made, AttemptRow):
                return made
            passed = (*passed, (acquirer, made))
        return passed

    def _advice(
        self,
        auth: Authorization,
        asked: Ask,
        received: Received,
        verified: Verified,
        route: Route | None,
        local: Second,
        snapshot: Snapshot,
    ) -> Effect | Refusal:
        """Never declined: what would decline anything else has it held (rules §11)."""
        merchant = received.merchant
        if received.status is not None or merchant is None:
            return auth.hold(
                "merchant.unknown" if received.status is None else received.status.rule
            )
        refusal = intake.validate(asked, received.message, route, merchant, local.month)
        if refusal is not None:
            return auth.hold(refusal.rule)
        assessment, declined = limits.asked_first(
            asked, auth.request, merchant, route, local.time, snapshot
        )
        if declined is not None:
            return auth.hold(declined.of.told)
        if route is None:
            return auth.hold("route.none")
        verified.access.added += asked.type.side is not NONE
        if asked.type.follows:
            return self._follow_up(auth, received, snapshot, None, assessment)
        code = str(received.message.get(38, "")).strip()
        choice = choose(snapshot, route, asked.pan, auth.request)
        note_choice(
            auth, choice
        )  # it is delivered from the queue: whether the link is up is no matter
        way = self._rows.way(auth.request, choice.candidates[0], choice.rule, code, snapshot)
        go = functools.partial(take_in, way, asked.type.sign)
        if assessment is not None:
            judge = limits.judge(auth.request, assessment, go)
            return auth.judge(assessment.find(), judge)
        commit = go(auth.request, None).commit
        if commit is None:  # unstored: it comes again
            return Refusal("96", "numbers.exhausted")
        return auth.take_in(commit)

    def _follow_up(
        self,
        auth: Authorization,
        received: Received,
        snapshot: Snapshot,
        anew: Callable[[], AttemptRow | Passed] | None,
        assessment: Assessment | None,
    ) -> Effect:
        """DE 61 names batch, trace and date of its original, DE 37 its RRN; of a pre-authorisation
        that another terminal made, its slip may have the authorisation code (DE 38) alone."""
        message, request, type_ = received.message, auth.request, auth.type
        reference, rrn = str(message.get(61, "")), str(message.get(37, "")).strip()
        auth_code = str(message.get(38, "")).strip()
        here, named = type_.search is Search.TERMINAL, len(reference) >= 12
        by_code = bool(type_.follows == HOLDS and auth_code and request.pan_token)
        if by_code and not reference[:12].strip("0"):
            named = False
        if not named and not rrn and not by_code:
            if type_.advice:
                return auth.hold("original.not_named")
            if type_.judge != "refund":
                return auth.refuse("30", "original.not_named")
            if anew is None:
                return auth.refuse("25", "original.not_named")
            reference, named = "0" * 12, True  # no transaction has that batch and trace
        find = FindByReference(
            merchant=request.key.merchant,
            terminal=request.key.terminal if here else None,
            batch=int(reference[:6]) if named else None,
            stan=int(reference[6:12]) if named else None,
            month_day=None if here or len(reference) < 16 else reference[12:16],
            pan_token=request.pan_token if by_code and not named else None,
            rrn=None if named or not rrn else rrn,
            auth_code=auth_code if by_code and not named and not rrn else None,
            types=type_.follows,
        )
        ask = follow_up.FollowUpAsk(
            request=request,
            attempt=lambda acquirer: self._attempt_follow_up(request, acquirer, snapshot),
            rrn=rrn,
            auth_code=auth_code,
            refund_window_days=self._config.rules.refund_days,
            hold_days=self._config.rules.hold_days,
            completion_percent=self._config.rules.completion_percent,
            way=lambda acquirer: self._rows.way(
                request, acquirer, OF_ORIGINAL, auth_code, snapshot
            ),
            unreferenced=anew,
        )
        judge = follow_up.JUDGES[type_.judge]
        if assessment is None:
            return auth.judge(find, lambda scene: judge(ask, scene))

        def go(row: RequestRow, scene: Scene) -> Judgement:
            return judge(msgspec.structs.replace(ask, request=row), scene)

        counted = assessment.find(find)
        return auth.judge(counted, limits.judge(request, assessment, go))

    def _attempt_follow_up(
        self, request: RequestRow, acquirer: str, snapshot: Snapshot
    ) -> AttemptRow | None:
        made = self._rows.attempt(request, None, acquirer, OF_ORIGINAL, snapshot)
        return made if isinstance(made, AttemptRow) else None

    async def reversed_key(self, received: Received, verified: Verified, asked: Ask) -> Key:
        """The key of the original that a 0400 names by its own elements."""
        key = key_of(received, verified, asked)
        if not received.profile.batch_in_message and key.batch > 1:
            here = await self._journal.find_request(key)
            if here is None and await self._journal.find_request(previous(key)) is not None:
                return previous(key)
        return key


def key_of(received: Received, verified: Verified, asked: Ask) -> Key:
    sender = received.sender
    batch = asked.private.batch if sender.profile.batch_in_message else current_batch(verified)
    return Key(sender.merchant_id, sender.terminal_id, batch, asked.stan, asked.kind)


def choose(snapshot: Snapshot, route: Route, pan: str, request: RequestRow) -> Choice:
    """Where the rules in force send it; without any, where its card's route says."""
    table = snapshot.routing
    if not table.rules:
        return table.own(route)
    return table.choose(
        route,
        Asked(
            request.key,
            request.type,
            pan,
            request.mcc,
            request.currency,
            request.entry_mode,
            request.amount_minor,
        ),
    )


def note_choice(auth: Authorization, choice: Choice, passed: Passed = ()) -> None:
    """The request's decision tells it; a route of one link is told by its name alone."""
    if choice.told or passed:
        told = with_choice(auth.request.decision, choice, passed)
        auth.request = msgspec.structs.replace(auth.request, decision=told)


def forward(attempt: AttemptRow | None, request: RequestRow, _scene: Scene) -> Judgement:
    """What follows where no risk rule objects; an attempt that is missing: every link is down."""
    if attempt is not None:
        return Judgement(Commit(request=request, attempt=attempt), "", "risk.passed")
    request = msgspec.structs.replace(request, any_batch=True)
    outcome = OutcomeRow(
        request_id=request.request_id,
        state=OutcomeState.REFUSED,
        response_code="91",
        decided_at=request.received_at,
        rule="link.down",
    )
    return Judgement(Commit(request=request, outcome=outcome), "91", "link.down")


def take_in(way: Way | None, sign: int, request: RequestRow, _scene: Scene | None) -> Judgement:
    """What follows of an advice without an original; without numbers it comes again, unstored."""
    effect_minor = sign * request.amount_minor
    commit = None if way is None else taken_in(request, way, effect_minor, request.request_id)
    if commit is None:
        return Judgement(None, "96", "numbers.exhausted")
    return Judgement(commit, TAKEN, "advice.taken_in")


def previous(key: Key) -> Key:
    return msgspec.structs.replace(key, batch=key.batch - 1)


def current_batch(verified: Verified) -> int:
    """The host's open batch, which counts where the profile's messages name none (rules §3)."""
    batch = verified.access.batch
    return 0 if batch is None else batch.batch


def unfit(key: Key, verified: Verified, *, advice: bool) -> Refusal | None:
    """Why a new transaction may not go into the batch it names, as far as this process knows.

    An advice may name the newest batch in whatever state, and the one before it (rules §9).
    """
    batch = verified.access.batch
    if advice and batch is not None and key.batch in (batch.batch, batch.batch - 1):
        return None
    if batch is None or batch.batch != key.batch or batch.state == "closed":
        return Refusal("77", "batch.not_open")
    return None if batch.state == "open" else Refusal("96", f"batch.{batch.state}")
