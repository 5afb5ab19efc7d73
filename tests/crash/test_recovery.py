"""How soon the switch goes on: absences count as for ever, and takeover is seen without the terminal.

Method: small histories around one deed, with their times by hand.
"""

from __future__ import annotations

import msgspec
import pytest

from tests.crash.history import Event, Harm, History
from tests.crash.recovery import (
    NEVER_S,
    decided_s,
    not_recovered,
    recovery_s,
    resumed_s,
)
from tests.crash.test_checker import answered, asked, banked


def deed(at_s: float, what: str, target: str, lasts_s: float = 0.0) -> list[Event]:
    return [Harm(at_s, what, target), Harm(at_s + lasts_s, f"{what} over", target)]


def bought(at_s: float, trace: str, code: str = "00") -> list[Event]:
    return [asked(at_s, trace), answered(at_s + 0.1, trace, code, f"r{trace}")]


KILL = deed(2, "kill", "worker:node1")


def test_recovery_is_counted_from_the_deed_to_the_answer() -> None:
    events = [*bought(1, "000001"), *KILL, *bought(2.5, "000002", "91"), *bought(4, "000003")]
    assert recovery_s(History(events)) == pytest.approx(2.1)
    assert not_recovered(History(events)) == {}


def test_what_was_asked_before_the_deed_proves_nothing() -> None:
    events = [asked(1.9, "000001"), *KILL, answered(2.1, "000001", "00", "r1")]
    assert recovery_s(History(events)) == NEVER_S


def test_a_bank_without_an_approval_counts_as_never() -> None:
    of_bank_b = msgspec.structs.replace(asked(1, "000001"), pan_masked="621799******0001")
    events = [of_bank_b, *KILL, *bought(3, "000002")]
    assert recovery_s(History(events)) == NEVER_S
    assert not_recovered(History(events)) == {("node1", "b"): NEVER_S}


@pytest.mark.parametrize(("at_s", "late"), [(31.0, False), (33.0, True)])
def test_the_bound_is_counted_from_the_end_of_the_last_deed(at_s: float, late: bool) -> None:
    pause = deed(1.5, "pause", "postgres", 0.9)
    events = [*bought(1, "000001"), *KILL, *pause, *bought(at_s, "000002")]
    expected = {("node1", "a"): pytest.approx(at_s + 0.1 - 2.4)} if late else {}
    assert not_recovered(History(events)) == expected


def test_a_next_deed_within_the_bound_begins_the_count_again() -> None:
    events = [*bought(1, "000001"), *KILL, *deed(9, "cut", "link:a"), *bought(35, "000002")]
    assert not_recovered(History(events)) == {}


def test_a_kill_of_a_bank_is_no_kill_of_a_process_of_ours() -> None:
    assert resumed_s(History([*bought(1, "000001"), *deed(2, "kill", "bank:a")])) == []
    assert resumed_s(History([*KILL, *bought(3, "000001")])) == [pytest.approx(1.1)]


def test_a_request_left_by_a_kill_ends_with_its_reversal_at_the_bank() -> None:
    left: list[Event] = [asked(1.9, "000001"), banked(1.95, "k1", "r1"), *KILL]
    assert decided_s(History(left)) == [NEVER_S]
    bank_stood_still = [left[0], *KILL, banked(2.5, "k1", "r1")]
    assert decided_s(History(bank_stood_still)) == [NEVER_S]
    taken_over = banked(7.5, "k2", "r1", mti="0420")
    assert decided_s(History([*left, taken_over])) == [pytest.approx(5.5)]
    told = answered(4, "000001", "00", "r1")
    assert decided_s(History([*left, told, taken_over])) == [pytest.approx(2.0)]
    asked_back = answered(3, "000001", "25", "", "040")
    assert decided_s(History([*left, asked_back, taken_over])) == [pytest.approx(1.0)]
    not_yet = answered(3, "000001", "96", "", "040")
    assert decided_s(History([*left, not_yet, taken_over])) == [pytest.approx(5.5)]


def test_what_was_answered_or_never_reached_a_bank_was_not_left() -> None:
    answered_before: list[Event] = [asked(1.8, "000001"), banked(1.85, "k1", "r1")]
    answered_before += [answered(1.9, "000001", "00", "r1")]
    never_sent = asked(1.95, "000002")
    balance: list[Event] = [
        asked(1.7, "000003", function="31"),
        banked(1.75, "k3", "r3", function="31"),
    ]
    assert decided_s(History([*answered_before, never_sent, *balance, *KILL])) == []
