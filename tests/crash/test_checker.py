"""The checker names every planted anomaly, and is silent about a sound history.

Goal: a checker that can not fail proves nothing. Method: one sound history with a purchase, a void, a
reversal and a declined request, and one change a row, each of a kind that a broken switch would make.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.crash.checker import ANOMALIES, check
from tests.crash.history import (
    Answered,
    Asked,
    Banked,
    Entry,
    Event,
    Harm,
    History,
    Lost,
    Slip,
    read,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

POS = "M1/T1"


def asked(at_s: float, trace: str, what: str = "020", function: str = "00") -> Asked:
    return Asked(at_s, "node1", POS, what, function, "000001", trace, 500, "622000******0001")


def answered(at_s: float, trace: str, code: str, rrn: str, what: str = "020") -> Answered:
    return Answered(at_s, "node1", POS, what, "000001", trace, code, rrn, "123456", 500)


def banked(
    at_s: float, key: str, rrn: str, code: str = "00", mti: str = "0200", function: str = "00"
) -> Banked:
    return Banked(at_s, "a", mti, function, key, POS, rrn, 500, "622000******0001", code)


def slip(trace: str, state: str, rrn: str, kind: str = "purchase") -> Slip:
    return Slip(POS, kind, "000001", trace, state, 500, 500 if state == "approved" else 0, rrn)


def entry(key: str, rrn: str, *, standing: bool = True, kind: str = "purchase") -> Entry:
    return Entry("a", kind, POS, rrn, key, 500, standing)


def sound() -> list[Event]:
    """1 bought · 2 bought, then asked back · 3 declined, asked again · 4 voids 1 · 5 refund, no answer.

    A worker is killed at 0.5; a worker is drained from 2.05 to 2.6, with 2 in flight.
    """
    return [
        Harm(0.5, "kill", "worker:node1"),
        Harm(0.5, "kill over", "worker:node1"),
        asked(1, "000001"),
        banked(1.1, "k1", "r1"),
        answered(1.2, "000001", "00", "r1"),
        asked(2, "000002"),
        Harm(2.05, "drain", "worker:node1"),
        banked(2.1, "k2", "r2"),
        answered(2.2, "000002", "00", "r2"),
        asked(2.3, "000002", "040"),
        answered(2.4, "000002", "00", "", "040"),
        banked(2.5, "k3", "r2", mti="0420"),
        Harm(2.6, "drain over", "worker:node1"),
        asked(3, "000003"),
        banked(3.1, "k4", "r3", code="51"),
        answered(3.2, "000003", "51", "r3"),
        asked(3.3, "000003"),
        answered(3.4, "000003", "51", "r3"),
        asked(4, "000004", function="20"),
        banked(4.1, "k5", "r4", function="20"),
        answered(4.2, "000004", "00", "r4"),
        asked(5, "000005", "022", "20"),
        banked(5.1, "k6", "r5", mti="0220", function="20"),
        banked(5.2, "k6", "r5", mti="0221", function="20"),
        slip("000001", "approved", "r1"),
        slip("000002", "reversed", "r2"),
        slip("000003", "declined", "r3"),
        slip("000004", "approved", "r4", "void"),
        slip("000005", "unknown", "", "refund"),
        entry("k1", "r1"),
        entry("k2", "r2", standing=False),
        entry("k5", "r4", kind="void"),
        entry("k6", "r5", kind="refund"),
    ]


def lost(at_s: float, asked_s: float) -> Lost:
    return Lost(at_s, "node1", POS, "020", "000001", "000002", asked_s)


def without(events: list[Event], gone: Event) -> list[Event]:
    assert gone in events
    return [event for event in events if event != gone]


def changed(events: list[Event], old: Event, **to: object) -> list[Event]:
    assert old in events
    return [msgspec.structs.replace(one, **to) if one == old else one for one in events]


PLANTED: list[tuple[str, set[str], Callable[[list[Event]], list[Event]]]] = [
    ("the bank lost it", {"lost"}, lambda all_: without(all_, entry("k1", "r1"))),
    (
        "reversed behind the terminal's back",
        {"lost"},
        lambda all_: changed(all_, entry("k1", "r1"), standing=False),
    ),
    (
        "debited twice under one reference",
        {"doubled", "sent_again"},
        lambda all_: [*all_, asked(6, "000006"), banked(1.3, "k9", "r1"), entry("k9", "r1")],
    ),
    (
        "debited twice under two references",
        {"orphan", "sent_again"},
        lambda all_: [*all_, banked(1.3, "k9", "r9"), entry("k9", "r9")],
    ),
    (
        "sent again as new with the same key",
        {"sent_again"},
        lambda all_: [*all_, banked(1.3, "k1", "r1")],
    ),
    (
        "another amount",
        {"amount"},
        lambda all_: changed(all_, entry("k1", "r1"), amount_minor=400),
    ),
    (
        "an approval that the terminal never learnt of",
        {"orphan"},
        lambda all_: [*all_, asked(6, "000006"), banked(6.1, "k9", "r9"), entry("k9", "r9")],
    ),
    (
        "approved, then declined",
        {"contradiction"},
        lambda all_: [*all_, asked(6, "000001"), answered(6.1, "000001", "51", "r1")],
    ),
    (
        "declined, then approved",
        {"contradiction", "lost"},
        lambda all_: [*all_, answered(6.1, "000003", "00", "r3")],
    ),
    (
        "approved twice under two references",
        {"contradiction", "invented"},
        lambda all_: [*all_, answered(6.1, "000001", "00", "r7")],
    ),
    (
        "a reversal that did not take",
        {"not_reversed", "orphan"},
        lambda all_: changed(all_, entry("k2", "r2", standing=False), standing=True),
    ),
    (
        "approved by nobody",
        {"invented", "lost"},
        lambda all_: [*all_, asked(6, "000006"), answered(6.1, "000006", "00", "r9")],
    ),
    (
        "answered before the bank was asked",
        {"invented"},
        lambda all_: changed(all_, banked(1.1, "k1", "r1"), at_s=1.3),
    ),
    (
        "a reversal that never got through",
        {"undecided"},
        lambda all_: changed(all_, slip("000002", "reversed", "r2"), state="reversing"),
    ),
    (
        "declined for ever after a deed",
        {"not_recovered"},
        lambda all_: [
            *all_,
            *(Harm(6, "cut", "link:a"), Harm(6.1, "cut over", "link:a")),
            *(asked(at_s, f"{at_s:06}") for at_s in range(7, 60)),
            *(answered(at_s + 0.1, f"{at_s:06}", "91", f"r{at_s}") for at_s in range(7, 60)),
        ],
    ),
    (
        "nothing asked at another node after a deed",
        {"not_recovered"},
        lambda all_: [*all_, msgspec.structs.replace(asked(0.4, "000009"), node="node2")],
    ),
    (
        "a request from before a drain is dropped",
        {"drain_reset"},
        lambda all_: [*all_, lost(2.1, asked_s=2)],
    ),
]


def test_a_sound_history_has_no_anomaly() -> None:
    assert check(History(sound())) == []


@pytest.mark.parametrize(("name", "expected", "plant"), PLANTED, ids=[row[0] for row in PLANTED])
def test_a_planted_anomaly_is_named(
    name: str, expected: set[str], plant: Callable[[list[Event]], list[Event]]
) -> None:
    assert {anomaly.name for anomaly in check(History(plant(sound())))} == expected


def test_every_anomaly_is_planted() -> None:
    assert set.union(*(expected for _, expected, _ in PLANTED)) == set(ANOMALIES)


def test_what_is_not_final_contradicts_nothing() -> None:
    events = [*sound(), asked(6, "000001"), answered(6.1, "000001", "96", "")]
    assert check(History(events)) == []


def test_a_copy_that_was_told_96_explains_an_entry() -> None:
    twice: list[Event] = [
        asked(6, "000006"),
        asked(6.1, "000006"),
        banked(6.3, "k9", "r9"),
        entry("k9", "r9"),
    ]
    told: list[Event] = [answered(6.2, "000006", "96", ""), slip("000006", "declined", "")]
    assert check(History([*sound(), *twice, *told])) == []
    once = [*sound(), *twice[1:], *told]
    assert {anomaly.name for anomaly in check(History(once))} == {"orphan"}


def test_after_a_reversal_a_repeat_may_be_declined() -> None:
    events = [*sound(), asked(6, "000002"), answered(6.1, "000002", "12", "r2")]
    assert check(History(events)) == []


def test_after_a_void_a_repeat_may_be_declined() -> None:
    void = msgspec.structs.replace(asked(6, "000006", function="20"), original="000001/000001")
    events = [*sound(), void, asked(6.2, "000001"), answered(6.3, "000001", "12", "r1")]
    assert check(History(events)) == []


def test_a_request_that_meets_a_closing_connection_is_no_drain_reset() -> None:
    assert check(History([*sound(), lost(2.2, asked_s=2.1)])) == []


def test_a_kill_excuses_a_reset_in_a_drain() -> None:
    kill = [Harm(2.07, "kill", "worker:node1"), Harm(2.07, "kill over", "worker:node1")]
    assert check(History([*sound(), *kill, lost(2.1, asked_s=2)])) == []


def test_a_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    write(tmp_path / "history.jsonl", History(sound()))
    assert read(tmp_path / "history.jsonl").events == sound()
