"""Two runs compared: each difference by its element, what rules cover counted and no difference."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from switch.replay.compare import Ignored, IgnoreError, Summary, differences
from switch.replay.happened import Crossed, Played


def message(sender: str, receiver: str, at: float = 0.1, **elements: str) -> Crossed:
    return Crossed(sender, receiver, at, {name[1:]: value for name, value in elements.items()})


def line(number: int = 1, **changes: Any) -> Played:
    plain = Played(
        line=number,
        what="request",
        name="m/t 000001/000001",
        type="purchase",
        at=1.0,
        messages=[
            message("switch", "bank_a", e0="0200", e4="000000001000", e7="0304100001", e11="000007", e37="606300000000"),
            message("switch", "terminal", 0.3, e0="0210", e11="000001", e37="606300000000", e39="00"),
        ],
        facts={"state": "approved", "response_code": "00"},
        recorded={"state": "approved", "response_code": "00"},
    )  # fmt: skip
    return msgspec.structs.replace(plain, **changes)


def with_element(at: int, name: str, value: str) -> Played:
    one = line()
    elements = {**one.messages[at].elements, name: value}
    one.messages[at] = msgspec.structs.replace(one.messages[at], elements=elements)
    return one


def labels(a: Played, b: Played, ignored: Ignored | None = None) -> tuple[list[str], Summary]:
    summary = Summary()
    found = list(differences([a], [b], ignored or Ignored(), summary))
    return [
        f"{each.where} {each.kind} {each.name} {each.a}|{each.b}".strip()
        for one in found
        for each in one.differences
    ], summary


def test_the_same_is_no_difference() -> None:
    assert labels(line(), line())[0] == []


CASES = [
    ("an element", with_element(1, "39", "51"), ["0210 switch→terminal element 39 00|51"]),
    ("one more", with_element(1, "38", "123456"), ["0210 switch→terminal element 38 -|123456"]),
    ("a fact", line(facts={"state": "declined", "response_code": "00"}), ["fact state approved|declined"]),
    ("a message less", line(messages=line().messages[:1]), ["0210 switch→terminal message message sent|-"]),
    ("another bank", line(messages=[message("switch", "bank_b", e0="0200"), line().messages[1]]), ["0200 switch→bank_a message message sent|-", "0200 switch→bank_b message message -|sent"]),
    ("later", line(messages=[line().messages[0], msgspec.structs.replace(line().messages[1], at=0.5)]), ["0210 switch→terminal time time 0.300 s|0.500 s"]),
    ("a note", line(notes=["silent"]), ["note silent -|noted"]),
    ("twice", line(messages=[*line().messages, line().messages[1]]), ["0210 switch→terminal (2) message message -|sent"]),
]  # fmt: skip


@pytest.mark.parametrize(("other", "expected"), [pytest.param(*c[1:], id=c[0]) for c in CASES])
def test_each_difference_is_named(other: Played, expected: list[str]) -> None:
    found, summary = labels(line(), other)
    assert found == expected
    assert summary.differing == 1
    assert summary.by_type == {"purchase": 1}


RULES = [
    (0, "11", "000099", "stan"),
    (0, "37", "606300000009", "rrn"),
    (1, "37", "606300000009", "rrn"),
    (0, "7", "0304100002", "time"),
]


@pytest.mark.parametrize(("at", "element", "value", "rule"), RULES)
def test_numbers_and_times_are_their_own_affair(
    at: int, element: str, value: str, rule: str
) -> None:
    other = with_element(at, element, value)
    found, summary = labels(line(), other)
    assert (found, summary.by_rule) == ([], {rule: 1})
    assert len(labels(line(), other, Ignored(compare=[rule]))[0]) == 1


def test_the_terminals_trace_is_not_the_switchs_affair() -> None:
    assert labels(line(), with_element(1, "11", "000002"))[0] != []


def test_of_the_original_only_number_and_time_may_differ() -> None:
    original = "0200000007030410000100048020000" + "0" * 11
    with_90 = with_element(0, "90", original)
    assert labels(with_90, with_element(0, "90", original.replace("000007", "000008")))[0] == []
    assert labels(with_90, with_element(0, "90", "0100" + original[4:]))[0] != []


@pytest.mark.parametrize("word", ["39", "DE 39", "DE39", "0210:39", "0210:DE 39"])
def test_what_is_ignored_is_counted(word: str) -> None:
    found, summary = labels(line(), with_element(1, "39", "51"), Ignored([word]))
    assert found == []
    assert sum(summary.by_rule.values()) == 1


def test_ignoring_in_one_message_is_not_ignoring_in_all() -> None:
    assert labels(line(), with_element(1, "39", "51"), Ignored(["0430:39"]))[0] != []
    assert labels(line(), line(facts={}), Ignored(["state"]))[0] != []
    assert labels(line(), line(facts={}), Ignored(["state", "response_code"]))[0] == []


def test_a_rule_that_is_none() -> None:
    with pytest.raises(IgnoreError, match="guess"):
        Ignored(compare=["guess"])


def test_what_comes_of_a_line_later_may_come_in_any_order() -> None:
    more = Played(
        line=1,
        what="request",
        name="n",
        type="purchase",
        at=1.0,
        messages=[message("switch", "bank_a", e0="0421")],
        more=True,
    )
    a, b = [line(), line(2), more, line(3)], [line(), line(2), line(3), more]
    assert list(differences(a, b, Ignored(), Summary())) == []
    (found,) = differences(a, b[:3], Ignored(), Summary())
    assert [each.name for each in found.differences] == ["message"]


def test_how_many_are_as_recorded() -> None:
    _, summary = labels(line(), line(facts={"state": "declined", "response_code": "51"}))
    assert (summary.as_recorded, summary.with_facts) == ((1, 0), 1)
    assert summary.outcomes == {"00 → 51": 1}
