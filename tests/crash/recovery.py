"""How soon the switch goes on after a deed, as terminals and banks see it.

A pair is a node and a bank; it has recovered when the node approves, at that bank, what was asked after
the deed. A pair that never does has taken for ever: it is infinite, not left out. The run probes
every pair when the last deed of a round is over (`World.probe`), so that an absence says something.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import product
from typing import TYPE_CHECKING, Final

from terminals.simulator.card import BANK_A, BANK_B
from tests.crash.history import Answered, Asked, Banked, Harm, History

if TYPE_CHECKING:
    from collections.abc import Iterable

NEVER_S: Final = float("inf")
# What clients are promised after the loss of a primary. The longest waits inside are a connection
# to the store that is given up (10 s) and the pause before a worker that dies often (5 s).
RECOVERED_S: Final = 30.0
OPEN_S: Final = 5.0  # no terminal waits longer for an answer
PROCESSES: Final = frozenset({"worker", "supervisor", "node"})
MONEY: Final = frozenset({"00", "20"})  # DE 3: purchase, void
REVERSAL_FINAL: Final = frozenset({"00", "12", "25"})
ISSUERS: Final = {
    cards.bin: name for name, ranges in (("a", BANK_A), ("b", BANK_B)) for cards in ranges
}

Pair = tuple[str, str]  # node, bank
RequestKey = tuple[str, str, str, str]  # terminal, batch, trace, what


def not_recovered(history: History) -> dict[Pair, float]:
    """Pairs that took longer than `RECOVERED_S` from an instant at which the last deed was over, and
    how long. Where the next deed came sooner than that, the pair is judged from the end of that one."""
    pairs, approvals = _pairs(history), _approvals(history)
    begun_s = sorted(harm.at_s for harm in history.of(Harm) if not harm.over)
    late: dict[Pair, float] = {}
    for quiet_s in _quiet(history):
        next_s = min((at_s for at_s in begun_s if at_s > quiet_s), default=NEVER_S)
        for pair in pairs:
            took_s = _first_after(approvals[pair], quiet_s)
            if took_s > RECOVERED_S and next_s - quiet_s > RECOVERED_S:
                late[pair] = max(late.get(pair, 0.0), took_s)
    return late


def recovery_s(history: History) -> float:
    """The longest time from the beginning of a deed until a pair approved what was asked after it."""
    approvals = _approvals(history)
    return max(
        (
            _first_after(approvals[pair], harm.at_s)
            for harm in history.of(Harm)
            if not harm.over
            for pair in _pairs(history)
        ),
        default=0.0,
    )


def resumed_s(history: History) -> list[float]:
    """For each kill of a process: the time until its node approved what was asked after it."""
    approvals = _approvals(history)
    through: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for (node, _), times in approvals.items():
        through[node] += times
    return [_first_after(through[node], at_s) for node, at_s in _kills(history)]


def decided_s(history: History) -> list[float]:
    """For each request that a bank has taken in and a killed process may have left without an
    answer: the time from the kill until it ended, as far as the outside sees it. It has when its
    terminal gets an answer to it or to its reversal, or a bank gets a reversal for the terminal."""
    times: list[float] = []
    ends = _ends(history)
    for node, killed_s in _kills(history):
        for ask in _left(history, node, killed_s):
            after = [at_s for at_s in ends[_key(ask)] if at_s > killed_s]
            after += [
                one.at_s
                for one in history.of(Banked)
                if one.terminal == ask.terminal and one.mti[1] == "4" and one.at_s > killed_s
            ]
            times.append(min(after, default=NEVER_S) - killed_s)
    return times


def _left(history: History, node: str, killed_s: float) -> list[Asked]:
    """Purchases and voids at a node that had no answer at that instant and were sent: a bank that
    stood still has taken them in since."""
    ends = _ends(history)
    banked = [one for one in history.of(Banked) if one.mti[:3] == "020"]
    return [
        ask
        for ask in history.of(Asked)
        if killed_s - OPEN_S < ask.at_s <= killed_s and ask.node == node
        if ask.what == "020" and ask.function in MONEY
        if not any(ask.at_s <= at_s <= killed_s for at_s in ends[_key(ask)])
        if any(
            (one.terminal, one.amount_minor) == (ask.terminal, ask.amount_minor)
            and ask.at_s <= one.at_s <= killed_s + OPEN_S
            for one in banked
        )
    ]


# -- reading -------------------------------------------------------------------------


def _pairs(history: History) -> list[Pair]:
    """Every node that was asked, with every bank whose cards were presented."""
    asked = history.of(Asked)
    nodes = {ask.node for ask in asked}
    return sorted(product(nodes, {_issuer(ask) for ask in asked if ask.what == "020"}))


def _issuer(ask: Asked) -> str:
    return ISSUERS.get(ask.pan_masked[:6], ask.pan_masked[:6])


def _approvals(history: History) -> defaultdict[Pair, list[tuple[float, float]]]:
    """When what a pair approved was asked, and answered."""
    asked: dict[RequestKey, Asked] = {}
    approved: defaultdict[Pair, list[tuple[float, float]]] = defaultdict(list)
    for event in sorted(_wire(history), key=lambda event: event.at_s):
        if isinstance(event, Asked):
            asked[_key(event)] = event
        elif event.what == "020" and event.code == "00" and _key(event) in asked:
            ask = asked[_key(event)]
            approved[event.node, _issuer(ask)].append((ask.at_s, event.at_s))
    return approved


def _wire(history: History) -> Iterable[Asked | Answered]:
    return [event for event in history.events if isinstance(event, Asked | Answered)]


def _first_after(times: Iterable[tuple[float, float]], since_s: float) -> float:
    """From `since_s` to the first approval of what was asked after it."""
    return min((end_s for asked_s, end_s in times if asked_s >= since_s), default=NEVER_S) - since_s


def _quiet(history: History) -> list[float]:
    """The instants at which no deed was going on any more."""
    going, quiet = 0, []
    for harm in sorted(history.of(Harm), key=lambda harm: harm.at_s):
        going += -1 if harm.over else 1
        if going == 0:
            quiet.append(harm.at_s)
    return quiet


def _kills(history: History) -> list[tuple[str, float]]:
    """(node, when) of each kill of a process of the switch."""
    return [
        (harm.target.partition(":")[2], harm.at_s)
        for harm in history.of(Harm)
        if harm.what == "kill" and harm.target.partition(":")[0] in PROCESSES
    ]


def _ends(history: History) -> defaultdict[RequestKey, list[float]]:
    """When a request, as its terminal sees it, was answered, or answered for its reversal."""
    ends: defaultdict[RequestKey, list[float]] = defaultdict(list)
    for answer in history.of(Answered):
        terminal, batch, trace, what = _key(answer)
        if what != "040" or answer.code in REVERSAL_FINAL:
            ends[terminal, batch, trace, "020" if what == "040" else what].append(answer.at_s)
    return ends


def _key(event: Asked | Answered) -> RequestKey:
    return (event.terminal, event.batch, event.trace, event.what)
