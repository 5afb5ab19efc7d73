"""Where a request would go, under reference data in force or not yet applied. Pure; nothing is sent.

Which links are up is not asked: a trial says what the rules say. `passed` names links to be taken for
down, to see what follows.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import msgspec

from switch.journal import Key
from switch.reference import Item, Snapshot
from switch.routing import Asked
from switch.transactions import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from switch.reference import Route
    from switch.routing import Choice

NO_ROUTE = "15"  # DE 39 of a card that no route has


class Candidate(msgspec.Struct, frozen=True):
    place: int
    acquirer: str
    state: str  # taken, passed_over, spare
    cost_minor: int | None = None
    by: str = ""
    weight: int | None = None


class Objection(msgspec.Struct, frozen=True):
    """A rule that was asked before the one that decided, and the first key of it that did not hold."""

    rule: str
    key: str


class Trial(msgspec.Struct, frozen=True):
    """The answer of `route try`. `more_digits`: longer prefixes that cards with these digits may have."""

    card: str  # the digits that were given
    route: str  # prefix@version, "" where no route has such cards
    rule: str
    choose: str
    candidates: tuple[Candidate, ...]
    objections: tuple[Objection, ...]
    more_digits: tuple[str, ...]
    response_code: str  # 15: no route, 91: every candidate is taken for down; else ""


def under(
    snapshot: Snapshot,
    newest: Mapping[tuple[str, str], Item],
    entries: Iterable[tuple[str, str, Any]],
) -> Snapshot:
    """The reference data as they would be with a file applied; `newest`: of each item the last version."""
    made = snapshot.copy(snapshot.generation + 1)
    items = []
    for kind, key, content in entries:
        known = newest.get((kind, key))
        version = 1 if known is None else known.version + (known.content != content)
        effective = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
        items.append(
            Item(kind=kind, key=key, version=version, effective_from=effective, content=content)
        )
    made.take(items, ())
    return made


def decide(snapshot: Snapshot, asked: Asked) -> tuple[Route, Choice] | None:
    """The card's route, and what the rules make of it; None: no route has such cards."""
    route = snapshot.route(asked.pan)
    return None if route is None else (route, snapshot.routing.choose(route, asked))


def attempt(snapshot: Snapshot, asked: Asked, down: Sequence[str] = ()) -> Trial:
    more = longer(snapshot, asked.pan)
    found = decide(snapshot, asked)
    if found is None:
        return Trial(asked.pan, "", "", "", (), (), more, NO_ROUTE)
    route, choice = found
    told = msgspec.json.decode(choice.told) if choice.told else {}
    rows = told.get("candidates") or [{"acquirer": name} for name in choice.candidates]
    candidates = []
    taken = False
    for place, row in enumerate(rows, 1):
        state = "passed_over" if row["acquirer"] in down else "spare" if taken else "taken"
        taken = taken or state == "taken"
        candidates.append(Candidate(place=place, state=state, **row))
    objections = snapshot.routing.objections(route, asked)
    return Trial(
        card=asked.pan,
        route=f"{route.prefix}@{snapshot.version('route', route.prefix)}",
        rule=choice.rule,
        choose=told.get("choose", "order"),
        candidates=tuple(candidates),
        objections=tuple(Objection(rule, key) for rule, key in objections),
        more_digits=more,
        response_code="" if taken else "91",
    )


def longer(snapshot: Snapshot, digits: str) -> tuple[str, ...]:
    """Prefixes of routes and rules that say more than these digits do."""
    ruled = (prefix for ready in snapshot.routing.rules for prefix in ready.prefixes)
    found = {
        prefix
        for prefix in (*snapshot.routes, *ruled)
        if len(prefix) > len(digits) and prefix.startswith(digits)
    }
    return tuple(sorted(found))


# -- what was, and what would be --------------------------------------------------------------------


class Former(msgspec.Struct, frozen=True):
    """A request of the journal, as far as routing asks."""

    request_id: int
    rrn: str
    merchant: str
    terminal: str
    batch: int
    stan: int
    mti: str
    processing_code: str
    type: str
    amount_minor: int
    currency: str
    mcc: str
    entry_mode: str
    pan_masked: str
    acquirer: str | None
    route: str  # prefix@version that was stored
    route_rule: str | None

    @property
    def digits(self) -> str:
        """What is known of the card's first digits: its mask, or the route that it had."""
        masked = self.pan_masked.partition("*")[0]
        prefix = self.route.partition("@")[0]
        return max(masked, prefix, key=len)

    @property
    def asked(self) -> Asked:
        kind = kind_of(self.mti, self.processing_code)
        key = Key(self.merchant, self.terminal, self.batch, self.stan, kind)
        return Asked(
            key, self.type, self.digits, self.mcc, self.currency, self.entry_mode, self.amount_minor
        )


class Side(msgspec.Struct, frozen=True):
    """What one set of reference data says of a request."""

    rule: str
    candidates: tuple[str, ...]


class Difference(msgspec.Struct, frozen=True):
    """A request that would go elsewhere. `undetermined`: its masked number leaves open where."""

    request_id: int
    rrn: str
    merchant: str
    type: str
    amount_minor: int
    currency: str
    pan_masked: str
    sent_to: str | None  # where it really went
    now: Side
    then: Side
    undetermined: bool


NOWHERE = Side("", ())


def compare(now: Snapshot, then: Snapshot, of: Former) -> Difference | None:
    """None: it would go the same way, by whatever rule."""
    asked = of.asked
    before, after = _side(now, asked), _side(then, asked)
    open_ = bool(longer(now, asked.pan) or longer(then, asked.pan))
    if before.candidates == after.candidates and not open_:
        return None
    if open_ and not _may_differ(now, then, asked):
        return None
    return Difference(
        request_id=of.request_id,
        rrn=of.rrn,
        merchant=of.merchant,
        type=of.type,
        amount_minor=of.amount_minor,
        currency=of.currency,
        pan_masked=of.pan_masked,
        sent_to=of.acquirer,
        now=before,
        then=after,
        undetermined=open_,
    )


def _side(snapshot: Snapshot, asked: Asked) -> Side:
    found = decide(snapshot, asked)
    return NOWHERE if found is None else Side(found[1].rule, found[1].candidates)


def _may_differ(now: Snapshot, then: Snapshot, asked: Asked) -> bool:
    """Does any card that begins like this go elsewhere? One of each longer prefix is tried."""
    tried = {asked.pan, *longer(now, asked.pan), *longer(then, asked.pan)}
    cards = [msgspec.structs.replace(asked, pan=digits) for digits in sorted(tried)]
    return any(_side(now, card).candidates != _side(then, card).candidates for card in cards)
