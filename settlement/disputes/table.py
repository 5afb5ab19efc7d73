"""A dispute as a table: (state, event) -> where it leads, what it moves, by when it must go on.

Theory of operation. The issuer asks (query 查询, retrieval 调单), then takes the sale back (chargeback
一次退单). We answer with evidence and claim it again (re-presentment 再请款); the issuer may take it back
once more (second chargeback 二次退单), and arbitration 仲裁 decides. What we start ourselves (credit
adjustment 贷记调整, claim 请款, collection 托收, manual refund 手工退货) is sent and waits for the
network's row. Every row of the network moves money on its own settlement date, by an entry of its
own linked to the dispute; nothing is edited.

`charged` is what the issuer has taken and we have not got back: it stands on the chargeback
receivable from the merchant, and an end moves it to whoever bears it. While the issuer may take or
has taken, the merchant's money is on hold for as much. So every dispute ends with nothing on the
receivable and nothing on hold, and the merchant bears what was charged: never more than the sale.

An event comes from the network (a row of an error file), from us, or from the clock (`expired`, when
the state's deadline has passed). Money comes from rows of the network only, but for the ends.
"""

from datetime import date, datetime
from typing import Final, Literal, get_args

import msgspec

from settlement.disputes.deadlines import DEADLINES_DAYS

State = Literal[
    "new",
    "queried",
    "retrieving",
    "answered",
    "unanswered",
    "charged_back",
    "representing",
    "represented",
    "charged_back_again",
    "arbitrating",
    "crediting",
    "claiming",
    "collecting",
    "refunding",
    "won",
    "lost",
    "absorbed",
    "settled",
    "closed",
]
Event = Literal[
    "query",
    "retrieval",
    "fulfilled",
    "chargeback",
    "representment",
    "second_chargeback",
    "award",
    "credit_adjustment",
    "claim",
    "collection",
    "manual_refund",
    "answer",
    "accept",
    "absorb",
    "refused",
    "expired",
]
By = Literal["network", "acquirer", "clock"]
Money = Literal["", "charge", "adjust"]
STATES: Final[tuple[State, ...]] = get_args(State)
EVENTS: Final[tuple[Event, ...]] = get_args(Event)
ENDS: Final = frozenset({"won", "lost", "absorbed", "settled", "closed"})
# Whether an end charges `charged` to the merchant or to us. Won with a rest: the merchant's.
BORNE_BY_US: Final = frozenset({"absorbed"})


class Move(msgspec.Struct, frozen=True):
    """One row of the table."""

    state: State
    by: By
    money: Money = ""  # charge: a chargeback and what opposes it; adjust: what we started
    sign: int = 0  # of its effect on what the network owes us; 0: either
    hold: Literal["", "take", "free"] = ""  # take: for as much as may be the merchant's to bear
    deadline: str = ""  # key of `DEADLINES_DAYS`, for the state it leads to
    approval: str = ""  # the act that a checker must let through


def _move(
    state: State,
    by: By,
    money: Money = "",
    sign: int = 0,
    hold: Literal["", "take", "free"] = "",
    deadline: str = "",
    approval: str = "",
) -> Move:
    return Move(state, by, money, sign, hold, deadline, approval)


_ASKED: Final[dict[Event, Move]] = {
    "query": _move("queried", "network", deadline="query"),
    "retrieval": _move("retrieving", "network", deadline="retrieval"),
    "chargeback": _move("charged_back", "network", "charge", -1, "take", "representment"),
}
_GIVEN_UP: Final[dict[Event, Move]] = {
    "accept": _move("lost", "acquirer", hold="free", approval="dispute.accept"),
    "absorb": _move("absorbed", "acquirer", hold="free", approval="dispute.absorb"),
}
_REPRESENTED: Final = _move("represented", "network", "charge", 1, deadline="second_chargeback")


def _started(
    event: Event, sign: int, sent: State, hold: Literal["", "take"]
) -> dict[State, dict[Event, Move]]:
    """What we start ourselves: sent, then settled by the network's row, refused, or forgotten."""
    freed: Literal["", "free"] = "free" if hold else ""
    return {
        "new": {event: _move(sent, "acquirer", hold=hold, deadline=event, approval="dispute.open")},
        sent: {
            event: _move("settled", "network", "adjust", sign, freed),
            "refused": _move("closed", "acquirer", hold=freed),
            "expired": _move("closed", "clock", hold=freed),
        },
    }


_ROWS: Final[tuple[dict[State, dict[Event, Move]], ...]] = (
    {
        "new": _ASKED,
        "queried": {
            **_ASKED,
            "answer": _move("answered", "acquirer", deadline="quiet"),
            "expired": _move("unanswered", "clock", deadline="quiet"),
        },
        "retrieving": {
            **_ASKED,
            "answer": _move("answered", "acquirer", deadline="quiet"),
            "fulfilled": _move("answered", "network", deadline="quiet"),
            "expired": _move("unanswered", "clock", deadline="quiet"),
        },
        "answered": {
            **_ASKED,
            "fulfilled": _move("answered", "network", deadline="quiet"),
            "expired": _move("closed", "clock"),
        },
        "unanswered": {
            **_ASKED,
            "answer": _move("answered", "acquirer", deadline="quiet"),
            "expired": _move("closed", "clock"),
        },
        "charged_back": {
            **_GIVEN_UP,
            "answer": _move("representing", "acquirer", deadline="network"),
            "representment": _REPRESENTED,
            "expired": _move("lost", "clock", hold="free"),
        },
        "representing": {
            **_GIVEN_UP,
            "representment": _REPRESENTED,
            "expired": _move("lost", "clock", hold="free"),
        },
        "represented": {
            "second_chargeback": _move(
                "charged_back_again", "network", "charge", -1, "take", "arbitration"
            ),
            "expired": _move("won", "clock", hold="free"),
        },
        "charged_back_again": {
            **_GIVEN_UP,
            "answer": _move("arbitrating", "acquirer", deadline="award"),
            "award": _move("won", "network", "charge", 1, "free"),
            "expired": _move("lost", "clock", hold="free"),
        },
        "arbitrating": {
            **_GIVEN_UP,
            "award": _move("won", "network", "charge", 1, "free"),
            "expired": _move("lost", "clock", hold="free"),
        },
    },
    _started("credit_adjustment", -1, "crediting", "take"),
    _started("claim", 1, "claiming", ""),
    _started("collection", 1, "collecting", ""),
    _started("manual_refund", -1, "refunding", "take"),
)

TABLE: Final[dict[tuple[State, Event], Move]] = {}
for _part in _ROWS:
    for _state, _moves in _part.items():
        for _event, _row in _moves.items():
            assert (_state, _event) not in TABLE, f"{_state} {_event} stands twice"
            TABLE[_state, _event] = _row
assert not {state for state, _ in TABLE} & ENDS, "an end leads nowhere"

STARTED_BY_US: Final[tuple[Event, ...]] = (
    *("credit_adjustment", "claim"),
    *("collection", "manual_refund"),
)


class Dispute(msgspec.Struct, frozen=True):
    """What a dispute is about; never changes."""

    id: str
    business_date: date  # it was opened on
    acquirer: str
    currency: str
    merchant: str
    terminal: str
    record: str  # key of our clearing record, or "" where a case has none
    case_id: str  # of the case that its money comes out of, or ""
    rrn: str
    link_stan: str
    transmission_time: str
    pan_masked: str
    original_minor: int  # the sale's captured amount, plus; of a case, what it is about
    settlement_date: date | None  # the sale's


class DisputeEvent(msgspec.Struct, frozen=True):
    """One thing that happened in a dispute. (dispute, sequence) names it, for ever."""

    dispute_id: str
    sequence: int  # from 1
    event: Event
    state: State  # after it
    by: By
    at: datetime
    business_date: date  # of its entries
    deadline: date | None = None  # by when the state must go on
    settlement_date: date | None = None  # of the network's row
    amount_minor: int = 0  # plus; of the row, or what is sent
    issuer_fee_minor: int = 0  # charged by the row; minus comes back
    network_fee_minor: int = 0
    charged_minor: int = 0  # after it
    held_minor: int = 0  # after it
    reason: str = ""  # the network's four digits
    text: str = ""
    row: str = ""  # key of the error file's row
    operator: str = ""
    checker: str = ""
    proposal: str = ""


class Evidence(msgspec.Struct, frozen=True):
    """A document that speaks for us. Its content is kept by whoever has it; here is its hash."""

    dispute_id: str
    name: str
    sha256: str  # hex
    size: int
    operator: str
    at: datetime
    text: str = ""


class DisputeFacts(msgspec.Struct, frozen=True):
    """Everything that is stored of a dispute; events by sequence, evidence by (at, name)."""

    dispute: Dispute
    events: tuple[DisputeEvent, ...] = ()
    evidence: tuple[Evidence, ...] = ()

    @property
    def last(self) -> DisputeEvent | None:
        return self.events[-1] if self.events else None

    @property
    def state(self) -> State:
        return self.events[-1].state if self.events else "new"

    @property
    def ended(self) -> bool:
        return self.state in ENDS

    @property
    def charged_minor(self) -> int:
        return self.events[-1].charged_minor if self.events else 0

    @property
    def held_minor(self) -> int:
        return self.events[-1].held_minor if self.events else 0

    @property
    def next_sequence(self) -> int:
        return len(self.events) + 1

    @property
    def taken_minor(self) -> int:
        """What the network's rows took of the sale, less what they gave back. Money of a case is no
        money of the sale."""
        taken = 0
        for one in self.events:
            if one.by == "network" and not self.dispute.case_id:
                taken += TAKES.get(one.event, 0) * one.amount_minor
        return taken


# Network's event -> +1: takes of the sale, -1: gives back.
TAKES: Final[dict[Event, int]] = {
    "chargeback": 1,
    "second_chargeback": 1,
    "credit_adjustment": 1,
    "manual_refund": 1,
    "representment": -1,
    "award": -1,
    "claim": -1,
    "collection": -1,
}
assert {
    event: -move.sign for (_, event), move in TABLE.items() if move.by == "network" and move.money
} == TAKES


class Placed(msgspec.Struct, frozen=True):
    """What became of a row of an error file: the same row again changes nothing."""

    key: str
    acquirer: str
    settlement_date: date
    file: str
    line: int
    error_type: str
    reason: str
    currency: str
    effect_minor: int
    dispute_id: str  # that it opened or moved, or ""
    case_id: str  # that it opened, or ""


assert {move.deadline for move in TABLE.values()} - {""} == DEADLINES_DAYS.keys()
