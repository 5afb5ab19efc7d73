"""The verdict over a history, from the outside alone: no table, no log, no view of the switch is read.

Two parties keep books of their own, terminals (slips) and banks (entries), and a retrieval reference
number (DE 37) ties a slip to its entry. What the switch may never do to them is in the table of
`ANOMALIES`; each row is found by one function below.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

import msgspec

from tests.crash.history import OVER, Answered, Asked, Banked, Entry, Harm, Lost, Slip
from tests.crash.recovery import NEVER_S, not_recovered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.crash.history import History

ANOMALIES: Final = {
    "lost": "an approval that a terminal holds stands at no bank",
    "doubled": "an approval that a terminal holds stands more than once",
    "amount": "an approval and its entry differ in kind or amount",
    "orphan": "an entry stands that no terminal holds a slip of",
    "sent_again": "a request reached the banks twice as new",
    "contradiction": "the same request, asked again, got another final answer",
    "not_reversed": "a reversal was answered 00 and its original stands",
    "invented": "a terminal held an approval before any bank had seen the request",
    "undecided": "a terminal could not learn the end of a request that is reversed when unknown",
    "not_recovered": "a node did not approve at a bank within 30 s of the last deed",
    "drain_reset": "a node that was told to drain dropped a request that it had before",
}

APPROVED: Final = frozenset({"00", "10", "11", "A2", "A4", "A5", "A6"})
NOT_FINAL: Final = frozenset({"96", "98", "A0", "77", "97", "30"})  # says nothing of the outcome
MONEY: Final = frozenset({"purchase", "void", "refund"})
KINDS: Final = {("020", "00"): "purchase", ("020", "20"): "void", ("022", "20"): "refund"}
REVERSIBLE: Final = frozenset({"purchase", "void"})
OPEN: Final = frozenset({"in_flight", "unknown", "reversing", "not_reversed"})

Key = tuple[str, str, str, str]  # terminal, batch, trace, what
Reference = tuple[str, str]  # terminal, RRN


class Anomaly(msgspec.Struct, frozen=True, order=True):
    """A promise that this history shows broken. `name` is a key of `ANOMALIES`."""

    name: str
    where: str
    why: str


def check(history: History) -> list[Anomaly]:
    """Every anomaly of a history whose faults have ended and whose queues had time to drain."""
    return sorted(
        {
            *_standing_once(history),
            *_entries_explained(history),
            *_sent_once(history),
            *_answers_agree(history),
            *_reversals_took(history),
            *_approved_by_a_bank(history),
            *_all_decided(history),
            *_all_recovered(history),
            *_drained_quietly(history),
        }
    )


# -- 0 lost, 0 doubled ---------------------------------------------------------------


def _standing_once(history: History) -> Iterator[Anomaly]:
    standing = _standing(history)
    for slip in history.of(Slip):
        if slip.state == "approved" and slip.kind in MONEY:
            yield from _held(slip, standing.get((slip.terminal, slip.rrn), []))
    yield from _held_on_the_wire(history, standing)


def _held(slip: Slip, entries: list[Entry]) -> Iterator[Anomaly]:
    where = f"{slip.terminal} {slip.kind} {slip.batch}/{slip.trace} RRN {slip.rrn}"
    if not entries:
        yield Anomaly("lost", where, f"{slip.approved_minor} approved, no entry stands")
    elif len(entries) > 1:
        yield Anomaly("doubled", where, f"{len(entries)} entries stand: {_names(entries)}")
    elif (entries[0].kind, entries[0].amount_minor) != (slip.kind, slip.approved_minor):
        why = f"slip {slip.approved_minor}, entry {entries[0].kind} {entries[0].amount_minor}"
        yield Anomaly("amount", where, why)


def _held_on_the_wire(
    history: History, standing: dict[Reference, list[Entry]]
) -> Iterator[Anomaly]:
    """The same for what was answered, whatever the slips say: approved, and never asked back."""
    asked_back = {
        (asked.terminal, asked.batch, asked.trace)
        for asked in history.of(Asked)
        if asked.what == "040"
    }
    kinds = _kinds(history)
    for key, answers in _approvals(history).items():
        terminal, batch, trace, what = key
        if (terminal, batch, trace) in asked_back or kinds.get(key) not in MONEY:
            continue
        found = standing.get((terminal, answers[0].rrn), [])
        where = f"{terminal} {what}x {batch}/{trace} RRN {answers[0].rrn}"
        if len(found) != 1:
            name = "doubled" if found else "lost"
            yield Anomaly(name, where, f"answered {answers[0].code}, {len(found)} entries stand")


def _entries_explained(history: History) -> Iterator[Anomaly]:
    """An entry that stands has a slip, or is of a refund whose terminal gave up asking, or of what a
    terminal sent more than once: a copy that met a store without answer was told 96."""
    slips = history.of(Slip)
    held = {(slip.terminal, slip.rrn) for slip in slips if slip.state == "approved" and slip.rrn}
    explained = Counter(
        (slip.kind, slip.terminal, slip.amount_minor)
        for slip in slips
        if slip.kind == "refund" and slip.state in OPEN
    ) + _told_96_of_a_copy(history)
    for reference, entries in _standing(history).items():
        if reference in held:
            continue
        for entry in entries:
            what = (entry.kind, entry.terminal, entry.amount_minor)
            if explained[what] > 0:
                explained[what] -= 1
                continue
            where = f"{entry.bank} {entry.kind} {entry.link_key} RRN {entry.rrn}"
            yield Anomaly("orphan", where, f"{entry.amount_minor} of {entry.terminal}, no slip")


def _told_96_of_a_copy(history: History) -> Counter[tuple[str, str, int]]:
    copies = Counter(
        (ask.terminal, ask.batch, ask.trace) for ask in history.of(Asked) if ask.what != "040"
    )
    told = {
        (answer.terminal, answer.batch, answer.trace)
        for answer in history.of(Answered)
        if answer.code == "96"
    }
    return Counter(
        (slip.kind, slip.terminal, slip.amount_minor)
        for slip in history.of(Slip)
        if slip.state == "declined"
        if copies[slip.terminal, slip.batch, slip.trace] > 1
        if (slip.terminal, slip.batch, slip.trace) in told
    )


# -- one effect ------------------------------------------------------------------------


def _sent_once(history: History) -> Iterator[Anomaly]:
    """A reference has one key on the link; a key comes once unflagged; no more keys than requests."""
    link_keys: defaultdict[tuple[str, str, str], set[str]] = defaultdict(set)
    unflagged: Counter[tuple[str, str, str]] = Counter()
    sent: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
    for one in history.of(Banked):
        what = one.mti[:3]
        if what not in ("020", "022"):
            continue
        link_keys[one.terminal, what, one.rrn].add(one.link_key)
        content = (one.terminal, what, one.function, str(one.amount_minor), one.pan_masked)
        sent[content].add(f"{one.bank} {one.link_key}")
        if one.mti[3] == "0":
            unflagged[one.bank, one.link_key, what] += 1
    for (terminal, what, rrn), keys in link_keys.items():
        if len(keys) > 1:
            where = f"{terminal} {what}x RRN {rrn}"
            yield Anomaly("sent_again", where, f"as {', '.join(sorted(keys))}")
    for (bank, link_key, what), count in unflagged.items():
        if count > 1:
            yield Anomaly("sent_again", f"{bank} {what}0 {link_key}", f"{count} times unflagged")
    asked: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
    for ask in history.of(Asked):
        content = (ask.terminal, ask.what, ask.function, str(ask.amount_minor), ask.pan_masked)
        asked[content].add(f"{ask.batch}/{ask.trace}")
    for same, keys in sent.items():
        if len(keys) > len(asked[same]):
            why = f"asked as {sorted(asked[same])}, sent as {sorted(keys)}"
            yield Anomaly("sent_again", " ".join(same), why)


def _answers_agree(history: History) -> Iterator[Anomaly]:
    """Approved stays approved, with the same references, until asked back; declined stays declined."""
    ended_s = _ends(history)
    first: dict[Key, Answered] = {}
    for answer in history.of(Answered):
        key = _key(answer)
        if answer.what not in ("020", "022") or answer.code in NOT_FINAL:
            continue
        before = first.setdefault(key, answer)
        if (answer.code, answer.rrn, answer.auth_code) == _final(before):
            continue
        if not {answer.code, before.code} & APPROVED and answer.code == before.code:
            continue  # declined is declined, under whatever number
        end_s = ended_s.get((answer.terminal, answer.batch, answer.trace), float("inf"))
        if end_s < answer.at_s and answer.code not in APPROVED:
            continue
        where = f"{answer.terminal} {answer.what}x {answer.batch}/{answer.trace}"
        yield Anomaly("contradiction", where, f"{_final(before)}, then {_final(answer)}")


def _ends(history: History) -> dict[tuple[str, str, str], float]:
    """When a request was first asked back, voided or refunded: later repeats of it may get 12."""
    times: dict[tuple[str, str, str], float] = {}
    for ask in history.of(Asked):
        if ask.what == "040":
            times.setdefault((ask.terminal, ask.batch, ask.trace), ask.at_s)
        elif ask.original:
            batch, _, trace = ask.original.partition("/")
            times.setdefault((ask.terminal, batch, trace), ask.at_s)
    return times


def _reversals_took(history: History) -> Iterator[Anomaly]:
    standing = _standing(history)
    approvals = _approvals(history)
    for answer in history.of(Answered):
        if answer.what != "040" or answer.code != "00":
            continue
        for original in approvals.get((answer.terminal, answer.batch, answer.trace, "020"), []):
            if entries := standing.get((answer.terminal, original.rrn)):
                where = f"{answer.terminal} {answer.batch}/{answer.trace} RRN {original.rrn}"
                yield Anomaly("not_reversed", where, f"0410 00, stands: {_names(entries)}")


def _approved_by_a_bank(history: History) -> Iterator[Anomaly]:
    seen_s: dict[Reference, float] = {}
    for one in history.of(Banked):
        if one.mti[:3] in ("020", "022"):
            seen_s.setdefault((one.terminal, one.rrn), one.at_s)
    for answers in _approvals(history).values():
        for answer in answers:
            if seen_s.get((answer.terminal, answer.rrn), float("inf")) > answer.at_s:
                where = f"{answer.terminal} {answer.what}x {answer.batch}/{answer.trace}"
                yield Anomaly("invented", where, f"RRN {answer.rrn} at no bank by then")


def _all_decided(history: History) -> Iterator[Anomaly]:
    for slip in history.of(Slip):
        if slip.kind in REVERSIBLE and slip.state in OPEN:
            where = f"{slip.terminal} {slip.kind} {slip.batch}/{slip.trace}"
            yield Anomaly("undecided", where, f"is {slip.state} at the end")


# -- it goes on ------------------------------------------------------------------------


def _all_recovered(history: History) -> Iterator[Anomaly]:
    for (node, bank), took_s in not_recovered(history).items():
        why = "never approved again" if took_s == NEVER_S else f"approved after {took_s:.1f} s"
        yield Anomaly("not_recovered", f"{node} at {bank}", why)


def _drained_quietly(history: History) -> Iterator[Anomaly]:
    """What a node had been asked before it was told to drain gets its answer, unless something else
    was done to the node meanwhile. What comes later may meet a connection that is being closed."""
    for node, begun_s, over_s, disturbed in _drains(history):
        for lost in history.of(Lost):
            if lost.node == node and lost.asked_s < begun_s <= lost.at_s <= over_s:
                if any(lost.asked_s <= end_s and at_s <= lost.at_s for at_s, end_s in disturbed):
                    continue
                where = f"{lost.terminal} {lost.what}x {lost.batch}/{lost.trace}"
                late_s = lost.at_s - begun_s
                yield Anomaly(
                    "drain_reset", where, f"closed by {node} {late_s:.2f} s into its drain"
                )


def _drains(
    history: History,
) -> Iterator[tuple[str, float, float, list[tuple[float, float]]]]:
    """(node, from, to) of each drain, and from when to when something else was done to the node."""
    done = _deeds(history)
    for deed in done:
        what, target, begun_s, over_s = deed
        node = target.partition(":")[2]
        if what == "drain":
            others = [one for one in done if one[0] != "drain" and one[1].endswith(f":{node}")]
            yield node, begun_s, over_s, [(one[2], one[3]) for one in others]


def _deeds(history: History) -> list[tuple[str, str, float, float]]:
    """(what, target, from, to) of everything that was done; one that is not over lasts."""
    harms = history.of(Harm)
    deeds = []
    for at, harm in enumerate(harms):
        if not harm.over:
            ends = (
                later.at_s
                for later in harms[at:]
                if (later.what, later.target) == (harm.what + OVER, harm.target)
            )
            deeds.append((harm.what, harm.target, harm.at_s, next(ends, NEVER_S)))
    return deeds


# -- reading -------------------------------------------------------------------------


def _standing(history: History) -> dict[Reference, list[Entry]]:
    standing: defaultdict[Reference, list[Entry]] = defaultdict(list)
    for entry in history.of(Entry):
        if entry.standing and entry.kind in MONEY:
            standing[entry.terminal, entry.rrn].append(entry)
    return dict(standing)


def _approvals(history: History) -> dict[Key, list[Answered]]:
    approvals: defaultdict[Key, list[Answered]] = defaultdict(list)
    for answer in history.of(Answered):
        if answer.what in ("020", "022") and answer.code in APPROVED:
            approvals[_key(answer)].append(answer)
    return dict(approvals)


def _kinds(history: History) -> dict[Key, str]:
    return {
        (ask.terminal, ask.batch, ask.trace, ask.what): KINDS.get((ask.what, ask.function), "other")
        for ask in history.of(Asked)
    }


def _key(answer: Answered) -> Key:
    return (answer.terminal, answer.batch, answer.trace, answer.what)


def _final(answer: Answered) -> tuple[str, str, str]:
    return (answer.code, answer.rrn, answer.auth_code)


def _names(entries: list[Entry]) -> str:
    return ", ".join(f"{entry.bank} {entry.link_key}" for entry in entries)
