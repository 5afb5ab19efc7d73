"""A case: a break, what people have done about it since, and how it stands.

Theory of operation. A case holds money in two places: its difference in suspense, and where the
merchant's money waits, a hold. Nothing is edited: an event is added, and an event that moves money
is linked to its entries. `left` is what suspense still holds of the difference (long plus, short
minus), `held` what is left of the hold. A case ends when neither holds anything, by the last event
that adjusts it or because a later close found its other side; where a close finds it after it was
adjusted, what stands too much is left, and the case is open again.

`TABLE` is (state, event) -> (state when no money is left, state when some is). The event `resolved`
is the close's and stands in no row of ours: it comes before the first event that knew of it.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final, Literal, NamedTuple, get_args

import msgspec

from settlement.cases import Break, Resolution
from settlement.said import SaidError

State = Literal["open", "assigned", "proposed", "disputed", "ended"]
Kind = Literal[
    "assigned",
    "noted",
    "proposed",
    "withdrawn",
    "released",
    "adjusted",
    "reduced",
    "disputed",
    "returned",
    "resolved",
]
STATES: Final[tuple[State, ...]] = get_args(State)
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


class After(NamedTuple):
    """Where an event leads."""

    settled: State  # nothing in suspense and on hold any more
    left: State


def _stays(state: State) -> After:
    return After(state, state)


TABLE: Final[dict[tuple[State, Kind], After]] = {
    ("open", "assigned"): _stays("assigned"),
    ("open", "noted"): _stays("open"),
    ("open", "proposed"): _stays("proposed"),
    ("open", "released"): _stays("open"),
    ("open", "adjusted"): After("ended", "open"),
    ("open", "reduced"): _stays("open"),
    ("open", "disputed"): _stays("disputed"),
    ("open", "resolved"): After("ended", "open"),
    ("assigned", "assigned"): _stays("assigned"),
    ("assigned", "noted"): _stays("assigned"),
    ("assigned", "proposed"): _stays("proposed"),
    ("assigned", "released"): _stays("assigned"),
    ("assigned", "adjusted"): After("ended", "assigned"),
    ("assigned", "reduced"): _stays("assigned"),
    ("assigned", "disputed"): _stays("disputed"),
    ("assigned", "resolved"): After("ended", "open"),
    ("proposed", "assigned"): _stays("proposed"),
    ("proposed", "noted"): _stays("proposed"),
    ("proposed", "proposed"): _stays("proposed"),
    ("proposed", "withdrawn"): _stays("assigned"),
    ("proposed", "released"): _stays("assigned"),
    ("proposed", "adjusted"): After("ended", "assigned"),
    ("proposed", "reduced"): _stays("assigned"),
    ("proposed", "disputed"): _stays("disputed"),
    ("proposed", "resolved"): After("ended", "open"),
    # with the network: its answer moves the money, or returns the case
    ("disputed", "assigned"): _stays("disputed"),
    ("disputed", "noted"): _stays("disputed"),
    ("disputed", "proposed"): _stays("disputed"),
    ("disputed", "withdrawn"): _stays("disputed"),
    ("disputed", "released"): _stays("disputed"),
    ("disputed", "adjusted"): After("ended", "assigned"),
    ("disputed", "returned"): _stays("assigned"),
    ("disputed", "resolved"): After("ended", "open"),
    ("ended", "noted"): _stays("ended"),
    ("ended", "resolved"): After("ended", "open"),
}


class CaseEvent(msgspec.Struct, frozen=True):
    """One thing that was done about a case. (case, sequence) names it, for ever."""

    case_id: str
    sequence: int  # from 1
    kind: Kind
    state: State  # of the case after it
    operator: str
    at: datetime
    business_date: date  # of its entries
    text: str = ""
    owner: str = ""  # of `assigned`
    act: str = ""  # of what was proposed or done
    proposal: str = ""
    checker: str = ""
    dispute: str = ""
    difference_minor: int = 0  # how much of the case's difference left suspense
    released_minor: int = 0  # how much of its hold went back to the merchant
    resolved: bool = False  # whether a close had resolved the break by then
    entry: str = ""  # source/key of the one that moved the case's money, of `link`


class CaseFacts(msgspec.Struct, frozen=True):
    """Everything that is stored of a case."""

    found: Break
    hold_minor: int  # what its finding put on hold
    standing: bool  # its entries are in the ledger: found by a date that is posted, or opened
    resolution: Resolution | None
    events: tuple[CaseEvent, ...] = ()


class Case(msgspec.Struct, frozen=True):
    """A case as it stands."""

    facts: CaseFacts
    state: State
    owner: str
    left_minor: int
    held_minor: int

    @property
    def id(self) -> str:
        return self.facts.found.id

    @property
    def resolved(self) -> bool:
        return self.facts.resolution is not None

    @property
    def next_sequence(self) -> int:
        return len(self.facts.events) + 1

    @property
    def standing(self) -> dict[str, object]:
        """How it stands, for the audit log."""
        return {
            "state": self.state,
            "owner": self.owner,
            "left_minor": self.left_minor,
            "held_minor": self.held_minor,
        }

    def count(self, kind: Kind) -> int:
        return sum(1 for one in self.facts.events if one.kind == kind)

    def age_days(self, today: date) -> int:
        return (today - self.facts.found.business_date).days

    @property
    def long(self) -> bool:
        """On which of the two suspense accounts it stands: by what its finding moved."""
        return self.facts.found.difference_minor > 0


class NotNowError(SaidError):
    """The case's state does not allow that."""


def case_of(facts: CaseFacts) -> Case:
    """How the case stands. Asserts that every event came to the state it says it came to."""
    case = Case(facts, "open", "", facts.found.difference_minor, facts.hold_minor)
    resolved = False
    for event in facts.events:
        if event.resolved and not resolved:
            case, resolved = _resolved(case), True
        case = after(case, event)
        assert case.state == event.state, f"{event.case_id}/{event.sequence} is not {event.state}"
    if facts.resolution is not None and not resolved:
        case = _resolved(case)
    return case


def after(case: Case, event: CaseEvent) -> Case:
    """The case after the event; its `state` is not looked at. Raises NotNowError."""
    left = case.left_minor - event.difference_minor
    held = case.held_minor - event.released_minor
    return msgspec.structs.replace(
        case,
        state=_next(case, event.kind, left, held),
        owner=event.owner or case.owner,
        left_minor=left,
        held_minor=held,
    )


def _resolved(case: Case) -> Case:
    """The close gave the whole difference back, and what was still on hold."""
    left = case.left_minor - case.facts.found.difference_minor
    return msgspec.structs.replace(
        case, state=_next(case, "resolved", left, 0), left_minor=left, held_minor=0
    )


def _next(case: Case, kind: Kind, left_minor: int, held_minor: int) -> State:
    found = TABLE.get((case.state, kind))
    if found is None:
        raise NotNowError("case_not_now", case=case.id, state=case.state, kind=kind)
    return found.left if left_minor or held_minor else found.settled


def in_order(events: Sequence[CaseEvent]) -> tuple[CaseEvent, ...]:
    """The events of one case by sequence; asserts that none is missing."""
    found = tuple(sorted(events, key=lambda event: event.sequence))
    assert [event.sequence for event in found] == list(range(1, len(found) + 1)), "events missing"
    return found
