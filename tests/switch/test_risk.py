"""Risk rules: what fires when, what moves, and what is wrong with a rule.

Method: the ten examples of `docs/risk.md`, read out of the page, are asked of sequences of requests; the
counters are kept here, in the plainest way: a list of everything that went forward.
"""

from __future__ import annotations

import datetime as dt
import functools
import re
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from switch import limits, risk
from switch.admission import forward, take_in
from switch.advice import Way
from switch.journal import (
    Commit,
    Count,
    Counted,
    CounterMove,
    Judgement,
    OutcomeState,
    Scene,
)
from switch.reference import Item, Snapshot
from switch.reference_file import ReferenceFileError, parse, render
from switch.reversal import WireIdentity
from switch.risk_rules import Asked, Condition, Prepared, Rule, RuleSet
from tests.switch.rows import ATTEMPT, REQUEST, TODAY

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = Path(__file__).resolve().parents[2] / "docs" / "risk.md"
(EXAMPLES,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
ENTRIES = parse(EXAMPLES, "risk.md", {})
NOON = dt.datetime(2026, 3, 4, 4, 0, tzinfo=dt.UTC)  # 12:00 in Shanghai
SNAPSHOT = Snapshot(
    1,
    [
        Item(kind=kind, key=key, version=3, effective_from=NOON, content=content)
        for kind, key, content in ENTRIES
    ],
)


def asked(at: dt.datetime = NOON, **changes: Any) -> Asked:
    local = at + dt.timedelta(hours=8)
    plain = Asked(
        type="purchase",
        mcc="5999",
        entry_mode="051",
        currency="156",
        amount_minor=100_00,
        minute=local.hour * 60 + local.minute,
        at_s=int(at.timestamp()),
        timezone="Asia/Shanghai",
        card_type="debit",
        foreign=False,
        card="ab" * 16,
        merchant="M1",
        terminal="M1/T1",
        agent="north",
    )
    return msgspec.structs.replace(plain, **changes)


class Till:
    """What went forward, and what one rule says of the next."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.moves: list[CounterMove] = []

    def _rules(self, of: str) -> list[Prepared]:
        return [each for each in SNAPSHOT.risk.of_type(of) if each.rule.name == self._name]

    def _counted(self, count: Count) -> Counted:
        mine = [
            move
            for move in self.moves
            if (move.of.counter, move.of.subject) == (count.counter, count.subject)
        ]
        read = [move for move in mine if move.of.bucket >= count.from_bucket]
        return Counted(
            sum(move.count for move in read),
            sum(move.amount_minor for move in read),
            max((move.of.bucket for move in mine), default=None),
        )

    def ask(self, request: Asked) -> str:
        """The code of a decline, the action of what else fires, or "" where nothing does."""
        assessment = risk.assess(self._rules(request.type), request)
        counted = [self._counted(count) for count in assessment.counts]
        verdict = risk.weigh(assessment, counted, 1)
        self.moves += verdict.moves
        if verdict.declined is not None:
            return verdict.declined.of.response_code
        return verdict.fired[0].of.rule.action if verdict.fired else ""


def minutes(count: float) -> dt.datetime:
    return NOON + dt.timedelta(minutes=count)


def days(count: float) -> dt.datetime:
    return NOON + dt.timedelta(days=count)


KEYED: dict[str, Any] = {"entry_mode": "012"}
FALLBACK: dict[str, Any] = {"entry_mode": "801"}
SCENES: dict[str, list[tuple[Asked, str]]] = {
    "card-velocity": [
        *[(asked(minutes(number)), "") for number in range(5)],
        (asked(minutes(5), merchant="M2", terminal="M2/T9"), "65"),  # whichever the shop
        (asked(minutes(5), card="cd" * 16), ""),
        (asked(minutes(5), type="void"), ""),
        (asked(minutes(11)), ""),
    ],
    "card-day-sum": [
        (asked(amount_minor=19_999_00), ""),
        (asked(amount_minor=1_00), ""),
        (asked(amount_minor=1), "61"),
        (asked(amount_minor=30_000_00, card_type="credit"), ""),
        (asked(NOON.replace(hour=16), amount_minor=20_000_00), ""),  # 00:00 there
        (asked(NOON.replace(hour=16), timezone="UTC"), "61"),
    ],
    "keyed-amount": [
        (asked(amount_minor=500_00, **KEYED), ""),
        (asked(amount_minor=500_01, **KEYED), "61"),
        (asked(amount_minor=500_01), ""),
        (asked(amount_minor=500_01, currency="840", **KEYED), ""),
    ],
    "fallback-mcc": [
        (asked(**FALLBACK), ""),
        (asked(mcc="5944", **FALLBACK), "57"),
        (asked(mcc="6011", **FALLBACK), "57"),
        (asked(mcc="5944"), ""),
    ],
    "night": [
        (asked(amount_minor=5_000_01), ""),
        (asked(NOON.replace(hour=15), amount_minor=5_000_01), "review"),  # 23:00
        (asked(NOON.replace(hour=15), amount_minor=5_000_00), ""),
        (asked(NOON.replace(hour=21, minute=59), amount_minor=5_000_01), "review"),
        (asked(NOON.replace(hour=22), amount_minor=5_000_01), ""),  # 06:00
    ],
    "stolen-cards": [
        (asked(), ""),
        (asked(card="00112233445566778899aabbccddeeff"), "43"),
        (asked(card=""), ""),
    ],
    "refund-ratio": [
        *[(asked(minutes(number)), "") for number in range(18)],
        (asked(minutes(20), type="refund", amount_minor=3_600_00), ""),  # of too few
        (asked(minutes(21), type="refund", amount_minor=1), "review"),
        (asked(minutes(22)), ""),  # a sale makes it no worse
    ],
    "keyed-ratio": [
        *[(asked(minutes(number)), "") for number in range(27)],
        *[(asked(minutes(30), **KEYED), "") for _ in range(3)],
        (asked(minutes(31), **KEYED), "alert"),
        (asked(days(1), **KEYED), ""),
    ],
    "dormant-terminal": [
        (asked(), ""),
        (asked(days(60)), ""),
        (asked(days(121)), "alert"),
        (asked(days(121)), ""),
        (asked(days(300), terminal="M1/T2"), ""),
    ],
    "terminal-tries": [
        *[(asked(type="balance", card=f"{number:032x}"), "") for number in range(20)],
        (asked(), "65"),
        (asked(terminal="M1/T2"), ""),
    ],
}


@pytest.mark.parametrize("name", SCENES)
def test_examples_of_the_page(name: str) -> None:
    till = Till(name)
    assert [till.ask(request) for request, _ in SCENES[name]] == [told for _, told in SCENES[name]]


def test_every_example_has_a_scene_and_comes_out_as_it_went_in() -> None:
    assert {key for kind, key, _ in ENTRIES if kind == "risk_rule"} == set(SCENES)
    assert len(SCENES) == 10
    assert parse(render(ENTRIES), "again", {}) == ENTRIES


@given(st.lists(st.integers(0, 4_000), min_size=1, max_size=60))
def test_no_window_holds_more_than_the_limit(times: list[int]) -> None:
    """Whatever the order of arrival: clocks of nodes may differ."""
    till = Till("card-velocity")
    passed = [
        second for second in times if not till.ask(asked(NOON + dt.timedelta(seconds=second)))
    ]
    for first in passed:
        assert sum(first <= other <= first + 600 for other in passed) <= 5


# -- the judge ------------------------------------------------------------------------------------


def scene(*counted: Counted) -> Scene:
    return Scene(business_date=TODAY, generation=1, originals=(), counted=counted)


def judged(name: str, *counted: Counted, go: Any = None, **changes: Any) -> Judgement:
    rules = [each for each in SNAPSHOT.risk.of_type("purchase") if each.rule.name == name]
    assessment = risk.assess(rules, asked(), advice=changes.pop("advice", False))
    request = msgspec.structs.replace(REQUEST, decision="{}", **changes)
    go = go or (lambda row, seen: forward(ATTEMPT, row, seen))
    return limits.judge(request, assessment, go)(scene(*counted))


def percent(part: int, whole: int) -> Fraction:
    return Fraction(100 * part, whole) if whole else Fraction(0)


MEASURES: dict[str, Callable[[Counted, Counted, int, int], Fraction | int | None]] = {
    "count": lambda of, part, amount, bucket: of.count + 1,
    "sum": lambda of, part, amount, bucket: of.amount_minor + amount,
    "dormant": lambda of, part, amount, bucket: None if of.newest is None else bucket - of.newest,
    "ratio": lambda of, part, amount, bucket: percent(part.count + 1, of.count + 1),
    "money": lambda of, part, amount, bucket: percent(
        part.amount_minor + amount, of.amount_minor + amount
    ),
}
NUMBERS = st.integers(0, 2_000)


@given(
    st.sampled_from(sorted(MEASURES)),
    st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS),
    st.none() | st.integers(0, 99),
    st.integers(0, 100),
    st.integers(0, 12),
    NUMBERS,
    st.booleans(),
)
def test_a_guard_is_what_a_rule_measures_against_its_threshold(
    measure: Any,
    counted: tuple[int, int, int, int],
    newest: int | None,
    threshold: int,
    least: int,
    amount_minor: int,
    in_part: bool,
) -> None:
    """The linear form against the measure itself, in fractions."""
    rule = Rule(
        name="any",
        scope="card",
        measure="ratio" if measure == "money" else measure,
        by_amount=measure == "money",
        threshold=threshold,
        minimum_count=least if measure in ("ratio", "money") else 0,
        action="alert",
    )
    of, part = Counted(*counted[:2], newest), Counted(*counted[2:], None)
    guard = risk.guard_of(rule, 99, 0, amount_minor, in_part=in_part)
    measured = MEASURES[measure](of, part, amount_minor, 99)
    fires = measured is not None and measured > threshold
    if measure in ("ratio", "money"):
        fires = fires and in_part and of.count + 1 >= least
    assert guard.fires((of, part)) == fires


def test_what_passes_goes_on_with_its_moves() -> None:
    judgement = judged("card-velocity", Counted(4, 0, None))
    assert judgement.commit is not None
    assert judgement.commit.attempt == ATTEMPT
    assert [(move.count, move.amount_minor, move.returns) for move in judgement.commit.moves] == [
        (1, 100_00, True)
    ]
    assert judgement.commit.request is not None
    assert judgement.commit.request.decision == '{,"risk":["risk.card-velocity@3"]}'
    assert (judgement.commit.alerts, judgement.commit.case) == ((), None)


def test_what_is_declined_names_its_rule_and_moves_nothing() -> None:
    judgement = judged("card-velocity", Counted(5, 0, None))
    commit = judgement.commit
    assert commit is not None
    assert commit.outcome is not None
    assert (commit.outcome.state, commit.outcome.response_code, commit.outcome.rule) == (
        OutcomeState.REFUSED,
        "65",
        "risk.card-velocity@3",
    )
    assert (commit.attempt, commit.moves) == (None, ())
    (alert,) = commit.alerts
    assert (alert.measured, alert.threshold, alert.version) == (6, 5, 3)


def test_an_advice_is_never_declined_but_held_with_a_case() -> None:
    judgement = judged("card-velocity", Counted(5, 0, None), advice=True)
    assert (judgement.response_code, judgement.rule) == ("00", "held.risk.card-velocity@3")
    commit = judgement.commit
    assert commit is not None
    assert commit.outcome is not None
    assert (commit.outcome.response_code, commit.outcome.effect_minor) == ("00", None)
    assert commit.case is not None
    assert commit.case.kind == "advice_held"
    assert "risk.card-velocity@3" in commit.case.detail
    assert (commit.attempt, commit.queue, commit.moves) == (None, None, ())
    assert [alert.rule for alert in commit.alerts] == ["card-velocity"]


def test_an_advice_that_passes_is_taken_in_with_its_moves() -> None:
    way = Way(ATTEMPT, "", lambda _acquirer: WireIdentity(7, "000001", "0304120000"))
    judgement = judged(
        "card-velocity",
        Counted(4, 0, None),
        advice=True,
        go=functools.partial(take_in, way, +1),
    )
    commit = judgement.commit
    assert commit is not None
    assert commit.outcome is not None
    assert commit.outcome.effect_minor == REQUEST.amount_minor
    assert commit.queue is not None
    assert [move.count for move in commit.moves] == [1]
    without = judged(
        "card-velocity",
        Counted(4, 0, None),
        advice=True,
        go=functools.partial(take_in, None, +1),
    )
    assert (without.commit, without.response_code) == (None, "96")


def test_what_is_refused_for_another_reason_moves_nothing() -> None:
    judgement = judged(
        "card-velocity",
        Counted(0, 0, None),
        go=lambda row, seen: forward(None, row, seen),
    )
    assert judgement.response_code == "91"
    assert judgement.commit is not None
    assert (judgement.commit.moves, judgement.commit.attempt) == ((), None)
    waiting = Judgement(commit=None, response_code="91", rule="original.being_reversed", wait=True)
    assert judged("card-velocity", Counted(0, 0, None), go=lambda *_: waiting) == waiting


def test_rules_switched_off_are_not_there() -> None:
    rule = Rule(name="off", scope="card", measure="any", action="decline", enabled=False)
    assert not RuleSet({"off": rule}, {}, {}).rules
    assert not Snapshot(1).risk.rules
    assert SNAPSHOT.risk.rules
    assert Commit().moves == ()
    assert Condition() == SNAPSHOT.risk.of_type("void")[0].rule.when


# -- what is wrong with a rule --------------------------------------------------------------------

GOOD = {"name": '"a"', "scope": '"card"', "measure": '"count"', "action": '"decline"'}
WRONG: list[tuple[dict[str, str], str]] = [
    ({"name": '"A rule"'}, "name"),
    ({"measure": '"sum"'}, "when.currencies"),
    ({"measure": '"amount"', "when": '{ currencies = ["156", "840"] }'}, "when.currencies"),
    ({"measure": '"ratio"'}, "part"),
    ({"part": '{ types = ["refund"] }'}, "part"),
    ({"measure": '"listed"'}, "list"),
    ({"list": '"x"', "measure": '"listed"'}, "list"),  # no such list
    ({"measure": '"any"', "threshold": "1"}, "threshold"),
    ({"measure": '"dormant"'}, "threshold"),
    ({"measure": '"dormant"', "threshold": "9", "window_s": "60"}, "window_s"),
    ({"minimum_count": "5"}, "minimum_count"),
    ({"when": '{ types = ["sale"] }'}, "when.types[0]"),
    ({"when": '{ mccs = ["jewels"] }'}, "when.mccs[0]"),
    ({"when": '{ hours = "night" }'}, "when.hours"),
    ({"when": "{ amount_from_minor = 5, amount_to_minor = 4 }"}, "when.amount_to_minor"),
    ({"when": '{ card_types = ["prepaid"] }'}, "when.card_types[0]"),
    ({"only": '["6220000000000011"]'}, "only[0]"),  # a card number is no token
    ({"scope": '"merchant"', "only": '["nobody"]'}, "only[0]"),
    ({"scope": '"type"', "only": '["sale"]'}, "only[0]"),
    ({"response_code": '"00"'}, "response_code"),
    ({"action": '"alert"', "response_code": '"61"'}, "response_code"),
    ({"timezone": '"Mars/Olympus"'}, "timezone"),
    ({"scope": '"planet"'}, "scope"),
    ({"threshold": "-1"}, "threshold"),
    ({"limit": "1"}, "limit"),
]


@pytest.mark.parametrize(("changes", "at"), WRONG)
def test_a_bad_rule_is_refused_with_its_place(changes: dict[str, str], at: str) -> None:
    lines = [f"{name} = {value}" for name, value in (GOOD | changes).items()]
    with pytest.raises(ReferenceFileError) as refused:
        parse("\n".join(["[[risk_rule]]", *lines]), "rules.toml", {})
    assert refused.value.at == f"risk_rule[1].{at}"


@pytest.mark.parametrize("pan", ["6220000000000011", "370000000000002"])
def test_card_numbers_do_not_come_into_a_list(pan: str) -> None:
    with pytest.raises(ReferenceFileError) as refused:
        parse(f'[[risk_list]]\nname = "a"\nmembers = ["{pan}"]', "rules.toml", {})
    assert refused.value.at == "risk_list[1].members[0]"
    assert pan not in str(refused.value)


def test_the_rule_that_the_bad_ones_differ_from_is_good() -> None:
    lines = [f"{name} = {value}" for name, value in GOOD.items()]
    assert len(parse("\n".join(["[[risk_rule]]", *lines]), "rules.toml", {})) == 1
