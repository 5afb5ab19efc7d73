"""What casework in memory keeps, beside the books that its cases come from."""

from dataclasses import dataclass, field

from settlement.cases import Break
from settlement.casework.states import CaseEvent
from settlement.disputes.table import Dispute, DisputeEvent, Evidence, Placed


@dataclass
class KeptCases:
    opened: dict[str, Break] = field(default_factory=dict)
    events: list[CaseEvent] = field(default_factory=list)
    disputes: dict[str, Dispute] = field(default_factory=dict)
    dispute_events: list[DisputeEvent] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    placed: dict[str, Placed] = field(default_factory=dict)
    numbered_acts: int = 0  # of payouts, statements, and of casework that rests on them
    approved: set[str] = field(default_factory=set)  # ids of proposals
