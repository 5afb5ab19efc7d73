"""One line with several: what adds up, what proves nothing, and what may not change a result."""

import itertools
from collections.abc import Sequence
from typing import Any

import ibis  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings, strategies as st

from settlement.passes import COLUMNS, OURS_LEFT, THEIRS_LEFT
from settlement.sums import MEMBERS_MAX, SUM_PASSES, cover, sum_tables
from tests.settlement.engines import Line, sides, table
from tests.settlement.world import ENGINE

EXAMPLES = settings(max_examples=20, deadline=None)
Sums = list[tuple[str, str, tuple[str, ...]]]  # rule, total, members

BASE: Line = {**dict.fromkeys(COLUMNS, "x"), "amount": 0, "day": 1, "rank": 0}


def ours(*amounts: int, **changes: Any) -> list[Line]:
    return [
        {**BASE, "key": f"o{n}", "content": f"o{n}", "amount": amount, **changes}
        for n, amount in enumerate(amounts)
    ]


def theirs(*amounts: int, **changes: Any) -> list[Line]:
    return [
        {**BASE, "row": f"t{n}", "content": f"t{n}", "amount": amount, **changes}
        for n, amount in enumerate(amounts)
    ]


def summed(left: Sequence[Line], right: Sequence[Line]) -> tuple[Sums, set[str], set[str]]:
    ENGINE.load(OURS_LEFT, table(left, "key"))
    ENGINE.load(THEIRS_LEFT, table(right, "row"))
    found: dict[tuple[str, str], list[str]] = {}
    lines = ENGINE.rows(sum_tables(ENGINE).order_by(["rule", "total", "member"]))
    for rule, total, member in lines:
        found.setdefault((str(rule), str(total)), []).append(str(member))
    rest = []
    for name, identity in ((OURS_LEFT, "key"), (THEIRS_LEFT, "row")):
        side = ibis.table({identity: "string", **COLUMNS}, name=name)
        rest.append({str(row[0]) for row in ENGINE.rows(side.select(identity).order_by(identity))})
    return [(*key, tuple(members)) for key, members in found.items()], rest[0], rest[1]


TOTAL: dict[str, Any] = {"stan": "", "rrn": "", "auth": ""}


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (ours(300), theirs(100, 200), [("split-capture", "o0", ("t0", "t1"))]),
        (ours(300, rrn=""), theirs(100, 200, rrn="y"), [("split-auth", "o0", ("t0", "t1"))]),
        (ours(100, 200), theirs(300), [("joined-capture", "t0", ("o0", "o1"))]),
        (
            ours(*range(1, 40)),
            theirs(780, **TOTAL),
            [("day-total", "t0", tuple(f"o{n}" for n in sorted(range(39), key=str)))],
        ),
        # a refund among them
        (ours(300, -100), theirs(200, **TOTAL), [("day-total", "t0", ("o0", "o1"))]),
        # some lines of the group only
        (ours(300), theirs(100, 200, 50), [("split-capture", "o0", ("t0", "t1"))]),
        (ours(300), theirs(100, 100, 200), [("split-capture", "o0", ("t0", "t2"))]),
        (
            ours(300, 70),
            theirs(100, 200, 30, 40),
            [("split-capture", "o0", ("t0", "t1")), ("split-capture", "o1", ("t2", "t3"))],
        ),
        # proves nothing: two choices, one line alone, nothing adds up
        (ours(300), theirs(100, 200, 150, 150), []),
        (ours(300), theirs(300), []),
        (ours(300), theirs(300, 100, 200), []),
        (ours(300), theirs(100, 100), []),
        # other keys, another side, a request without success
        (ours(300), [*theirs(100), *theirs(0, 200, rrn="y", auth="y", terminal="y")[1:]], []),
        (ours(300, side="reversal"), theirs(100, 200), []),
        (ours(300, rank=1), theirs(100, 200), []),
        (ours(100, 200, rank=1), theirs(300, **TOTAL), []),
        # a row that names a transaction is no total of a day
        (ours(100, 200, rrn="y", auth="y"), theirs(300, rrn=""), []),
        (ours(100, 200), theirs(300, **TOTAL, day=2), []),
        # more lines than a choice is made of
        (ours(300), theirs(100, 200, *[1_000_000] * MEMBERS_MAX), []),
    ],
)
def test_sum(left: list[Line], right: list[Line], expected: Sums) -> None:
    found, ours_left, theirs_left = summed(left, right)
    assert found == expected
    used = {name for _, total, members in found for name in (total, *members)}
    assert ours_left == {line["key"] for line in left} - used
    assert theirs_left == {line["row"] for line in right} - used


@EXAMPLES
@given(sides(), st.randoms(use_true_random=False))
def test_sums_hold_and_order_changes_nothing(
    drawn: tuple[list[Line], list[Line]], chance: Any
) -> None:
    left, right = drawn
    expected = found, ours_left, theirs_left = summed(left, right)
    amounts = {line["key"]: line["amount"] for line in left}
    amounts |= {line["row"]: line["amount"] for line in right}
    used: list[str] = []
    for rule, total, members in found:
        assert amounts[total] == sum(amounts[member] for member in members), rule
        assert len(members) > 1
        used += [total, *members]
    assert len(set(used)) == len(used), "a line stands in two matches"
    assert sorted([*used, *ours_left, *theirs_left]) == sorted(amounts)
    chance.shuffle(left)
    chance.shuffle(right)
    assert summed(left, right) == expected


@given(
    st.integers(-20, 20),
    st.lists(st.integers(-9, 9).filter(bool), max_size=8),
)
def test_cover_is_the_only_choice(total: int, amounts: list[int]) -> None:
    choices = {
        tuple(sorted(amounts[index] for index in chosen))
        for size in range(1, len(amounts) + 1)
        for chosen in itertools.combinations(range(len(amounts)), size)
        if sum(amounts[index] for index in chosen) == total
    }
    found = cover(total, amounts)
    if len(choices) == 1:
        assert found is not None
        assert tuple(sorted(amounts[index] for index in found)) in choices
    else:
        assert found is None


def test_identities_may_be_integers() -> None:
    left = [{**line, "key": n} for n, line in enumerate(ours(300, 70))]
    right = [{**line, "row": n} for n, line in enumerate(theirs(100, 200, 40, 50))]
    ENGINE.load(OURS_LEFT, table(left, "key", "int64"))
    ENGINE.load(THEIRS_LEFT, table(right, "row", "int64"))
    found = sum_tables(ENGINE, identity="int64").order_by(["total", "member"])
    assert ENGINE.rows(found) == [("split-capture", 0, 0), ("split-capture", 0, 1)]


def test_every_pass_has_its_own_name() -> None:
    assert len({one.name for one in SUM_PASSES}) == len(SUM_PASSES)
