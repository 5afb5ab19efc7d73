"""Limits and risk rules: what a request may do, what follows, and which counters it moves. Pure.

Theory of operation. `assess` asks every rule that may concern a request. What needs nothing but the
request (an amount, a list, an hour) fires at once. What needs a counter becomes a `Count` to be read
under its lock, in the transaction that stores the decision, so that two processes can not both see
the last place free. `weigh` then gives the verdict and the moves of the counters.

A counter is (rule and width, subject) with one row for each bucket of time. A sliding window of W
seconds has buckets of W/12; what is read are the bucket of now and the 12 before it, so nothing of
the last W seconds is left out, and at most W/12 more is counted: a limit errs to the safe side. A
window of 0 has one bucket a day in its zone. Buckets later than now, of a process whose clock is
ahead, count too.

What moves: a request that goes forward to an acquirer adds 1 and its requested amount to every
counter of its rules, review and alert rules included, in the commit that records it. When it ends
otherwise than approved, or is reversed, the store takes that back in the same transaction
(`attempts` rules excepted). A request that is refused or held here moves nothing; a void or a
refund gives nothing back.
"""

from __future__ import annotations

import datetime as dt
import json
import zoneinfo
from typing import TYPE_CHECKING

import msgspec

from switch.journal import AlertRow, CaseRow, Count, Counted, CounterMove, FindCounted, Guard
from switch.risk_rules import BUCKETS, COUNTED, DAY_S, Asked, Prepared, Rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from switch.journal import FindByReference, RequestRow

DORMANT_KEPT_DAYS = 800  # how long it is known that a card or terminal was ever used
EPOCH = dt.date(1970, 1, 1)


class Fired(msgspec.Struct, frozen=True, gc=False):
    """A rule whose threshold was passed, and by what."""

    of: Prepared
    subject: str
    measured: int

    @property
    def alerts(self) -> bool:
        return self.of.rule.action == "alert" or self.of.rule.alert


class Asking(msgspec.Struct, frozen=True):
    """A rule that a counter decides."""

    of: Prepared
    guard: Guard  # its places are of `Assessment.counts`
    in_part: bool  # the request moves the part of its ratio as well


class Assessment(msgspec.Struct, frozen=True):
    """What is known of a request before any counter is read."""

    asked: Asked
    fired: tuple[Fired, ...] = ()
    asking: tuple[Asking, ...] = ()
    counts: tuple[Count, ...] = ()
    advice: bool = False  # it has happened already: what declines others has it held (rules §11)

    @property
    def declined(self) -> Fired | None:
        return first_declining(self.fired)

    @property
    def silent(self) -> bool:
        """Nobody wants an alert of it."""
        return not any(each.alerts for each in self.fired)

    def find(self, of: FindByReference | None = None) -> FindCounted:
        """What the judge over it has to be shown."""
        return FindCounted(self.counts, of, tuple(each.guard for each in self.asking))

    @property
    def plain(self) -> bool:
        """Nothing to judge: the request goes the short way."""
        return not self.fired and not self.asking


class Verdict(msgspec.Struct, frozen=True):
    """What the rules say. With `declined` there are no moves."""

    declined: Fired | None
    fired: tuple[Fired, ...]
    moves: tuple[CounterMove, ...]


def first_declining(fired: Sequence[Fired]) -> Fired | None:
    """Of several the first by name."""
    declining = [each for each in fired if each.of.rule.action == "decline"]
    return min(declining, key=lambda each: each.of.rule.name, default=None)


def assess(rules: Sequence[Prepared], asked: Asked, *, advice: bool = False) -> Assessment:
    """Ask every rule; those over counters say which ones they need, the others fire or do not."""
    fired: list[Fired] = []
    asking: list[Asking] = []
    counts: list[Count] = []
    for each in rules:
        rule = each.rule
        subject = asked.subject(rule.scope)
        if not subject or (rule.only and subject not in rule.only) or not each.when.holds(asked):
            continue
        if rule.measure in COUNTED:
            place, in_part = len(counts), each.part is not None and each.part.holds(asked)
            counts.append(count_of(each, asked, subject, ""))
            if each.part is not None:
                counts.append(count_of(each, asked, subject, "/part"))
            guard = guard_of(rule, counts[place].bucket, place, asked.amount_minor, in_part=in_part)
            asking.append(Asking(each, guard, in_part))
        elif rule.measure == "amount":
            if asked.amount_minor > rule.threshold:
                fired.append(Fired(each, subject, asked.amount_minor))
        elif rule.measure == "any" or subject in each.members:
            fired.append(Fired(each, subject, 1))
    return Assessment(asked, tuple(fired), tuple(asking), tuple(counts), advice)


def count_of(of: Prepared, asked: Asked, subject: str, part: str) -> Count:
    """The counter that a rule reads for this request, and the bucket that it moves."""
    rule = of.rule
    if rule.measure == "dormant" or rule.window_s == 0:
        day = local_day(asked.at_s, rule.timezone or asked.timezone)
        kept = DORMANT_KEPT_DAYS if rule.measure == "dormant" else 2
        ends = dt.datetime.combine(EPOCH, dt.time(), dt.UTC) + dt.timedelta(days=day + kept)
        return Count(f"{rule.name}/day{part}", subject, day, day, ends)
    width_s = max(1, -(-rule.window_s // BUCKETS))
    reach = -(-rule.window_s // width_s)
    bucket = asked.at_s // width_s
    ends = dt.datetime.fromtimestamp((bucket + reach + 1) * width_s + DAY_S, dt.UTC)
    return Count(f"{rule.name}/{rule.window_s}{part}", subject, bucket, bucket - reach, ends)


def local_day(at_s: int, timezone: str) -> int:
    """Days since 1970 in a zone."""
    return (dt.datetime.fromtimestamp(at_s, zoneinfo.ZoneInfo(timezone)).date() - EPOCH).days


def guard_of(rule: Rule, bucket: int, place: int, amount_minor: int, *, in_part: bool) -> Guard:
    """When a rule fires: what it would measure with this request, less its threshold, is above 0.

    A ratio of r % is above t where 100 · part > t · whole, the request in both.
    """
    over = -rule.threshold
    if rule.measure == "count":
        return Guard(place, constant=1 + over, per_count=1)
    if rule.measure == "sum":
        return Guard(place, constant=amount_minor + over, per_amount=1)
    if rule.measure == "dormant":
        return Guard(place, constant=bucket + over, per_newest=-1)
    if not in_part:
        return Guard(place, place + 1)  # always 0
    least = max(0, rule.minimum_count - 1)
    if rule.by_amount:
        constant = (100 + over) * amount_minor
        return Guard(
            place,
            place + 1,
            constant,
            per_amount=over,
            per_part_amount=100,
            minimum_count=least,
        )
    return Guard(
        place, place + 1, 100 + over, per_count=over, per_part_count=100, minimum_count=least
    )


def weigh(assessment: Assessment, counted: Sequence[Counted], request_id: int) -> Verdict:
    """The verdict, with the counters read under lock: `counted[n]` is of `counts[n]`."""
    fired = list(assessment.fired)
    moves: list[CounterMove] = []
    amount_minor = assessment.asked.amount_minor
    for each in assessment.asking:
        guard, count = each.guard, assessment.counts[each.guard.count]
        if guard.fires(counted):
            measured = measure(each, count, counted, amount_minor)
            fired.append(Fired(each.of, count.subject, measured))
        for place, moved in ((guard.count, True), (guard.part, each.in_part)):
            if moved:
                of, returns = assessment.counts[place], not each.of.rule.attempts
                moves.append(CounterMove(request_id, of, 1, amount_minor, returns))
    declined = first_declining(fired)
    return Verdict(declined, tuple(fired), () if declined is not None else tuple(moves))


def measure(asking: Asking, count: Count, counted: Sequence[Counted], amount_minor: int) -> int:
    """What a rule that fires has measured, this request included: for people."""
    rule, of = asking.of.rule, counted[asking.guard.count]
    if rule.measure == "count":
        return of.count + 1
    if rule.measure == "sum":
        return of.amount_minor + amount_minor
    if rule.measure == "dormant":
        assert of.newest is not None, "nothing was dormant that never was"
        return count.bucket - of.newest
    part = counted[asking.guard.part]
    if rule.by_amount:
        return percent(part.amount_minor + amount_minor, of.amount_minor + amount_minor)
    return percent(part.count + 1, of.count + 1)


def percent(part: int, whole: int) -> int:
    """Rounded up, so that whatever is above a threshold measures more than it.

    >>> percent(1, 5), percent(201, 1000), percent(0, 0)
    (20, 21, 0)
    """
    return -(-100 * part // whole) if whole else 0


# -- what is kept of it --------------------------------------------------------------------------


def alerts_of(
    verdict: Verdict, request: RequestRow, asked: Asked, *, reviews: bool = False
) -> tuple[AlertRow, ...]:
    """One alert a rule that asks for one, and where `reviews` a review too. The store keeps one a
    rule, subject and day."""
    return tuple(
        AlertRow(
            request_id=request.request_id,
            rule=fired.of.rule.name,
            version=fired.of.version,
            action=fired.of.rule.action,
            scope=fired.of.rule.scope,
            subject=fired.subject,
            day=local_day(asked.at_s, asked.timezone),
            measured=fired.measured,
            threshold=fired.of.rule.threshold,
            merchant=request.key.merchant,
            terminal=request.key.terminal,
            pan_masked=request.pan_masked,
            raised_at=request.received_at,
        )
        for fired in verdict.fired
        if fired.alerts or (reviews and fired.of.rule.action == "review")
    )


def case_of(verdict: Verdict, request: RequestRow) -> CaseRow | None:
    """A review is a case."""
    named = [each for each in verdict.fired if each.of.rule.action == "review"]
    if not named:
        return None
    return CaseRow(
        kind="risk_review",
        request_id=request.request_id,
        merchant=request.key.merchant,
        terminal=request.key.terminal,
        detail=json.dumps(
            {
                "rrn": request.rrn,
                "amount_minor": request.amount_minor,
                "rules": [each.of.told for each in named],
                "measured": [each.measured for each in named],
            }
        ),
        opened_at=request.received_at,
    )


def decision(request: RequestRow, asking: Sequence[Asking], fired: Sequence[Fired]) -> str:
    """The request's decision with the rules that were asked, and those that fired (P10)."""
    told = sorted({each.of.told for each in asking} | {each.of.told for each in fired})
    names = json.dumps(told, separators=(",", ":"))
    return f'{request.decision[:-1]},"risk":{names}}}'
