"""One line of a side that is the sum of several of the other: split captures, joined ones, totals.

Theory of operation. After the passes of one with one, lines that are left are grouped by a weak key.
Where a group has one line on the side of totals and all its lines on the other side add up to it,
they are one match, however many they are. Where they do not, or several totals stand, a choice of
lines is looked for in groups of at most `MEMBERS_MAX`; it is taken only if no other choice of amounts
adds up, because a sum that two choices explain proves neither. Equal amounts are interchangeable, and
the first in the order of content are taken, so shuffled and split files give the same matches.

    pass            one line of   is the sum of all or some lines with equal
    split-capture   ours          RRN, terminal, merchant
    split-auth      ours          authorisation code, PAN token, merchant
    joined-capture  theirs        RRN, terminal, merchant
    day-total       theirs        terminal, merchant; the row names no transaction

All are of one settlement day, so a match moves nothing from one day's receivable to another's. Requests without success take no part. Groups are summed by the engine; only the lines of the few
groups that need a choice become Python objects.
"""

from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import ibis  # type: ignore[import-untyped]
import msgspec
import pyarrow as pa  # type: ignore[import-untyped]

from settlement.passes import COLUMNS, OURS_LEFT, SIDE, TEXT_COLUMNS, THEIRS_LEFT

if TYPE_CHECKING:
    import ibis.expr.types as ir  # type: ignore[import-untyped]

    from settlement.ports import Engine

MEMBERS_MAX: Final = 12  # lines of a group that a choice is made of: at most 2 ** 12 sums
TOTALS_MAX: Final = 12  # totals of such a group
GROUPS_MAX: Final = (
    10_000  # such groups in one pass, in the order of their keys; the rest stays open
)


class SumPass(msgspec.Struct, frozen=True):
    name: str
    version: int
    total: Literal["ours", "theirs"]  # the side whose one line is the sum
    keys: tuple[str, ...]
    absent: tuple[str, ...] = ()  # columns that are empty on a total


SUM_PASSES: Final = (
    SumPass("split-capture", 1, "ours", (*SIDE, "rrn", "terminal", "merchant", "day")),
    SumPass("split-auth", 1, "ours", (*SIDE, "auth", "token", "merchant", "day")),
    SumPass("joined-capture", 1, "theirs", (*SIDE, "rrn", "terminal", "merchant", "day")),
    SumPass(
        "day-total",
        1,
        "theirs",
        ("acquirer", "currency", "terminal", "merchant", "day"),
        absent=("stan", "rrn", "auth"),
    ),
)


def passes_with_groups(engine: "Engine", *, identity: str = "string") -> tuple[SumPass, ...]:
    """The passes that have anything to look at in what `pair_tables` left: most days none. One that
    has nothing now has nothing later, since the passes before it only take lines away."""
    found = {str(name) for (name,) in engine.rows(_with_groups(identity))}
    return tuple(one for one in SUM_PASSES if one.name in found)


def sum_tables(
    engine: "Engine", passes: Sequence[SumPass] = SUM_PASSES, *, identity: str = "string"
) -> "ir.Table":
    """(rule, total, member) of the passes, as a relation over tables that stay in the engine.

    `total` is the identity of the one line, on the side that the rule names, and the match's name;
    `member` that of each line it is the sum of, on the other side. Reads the tables that
    `pair_tables` left, with identities of the same type, and leaves in them what no pass met.
    """
    kind = {"string": pa.string(), "int64": pa.int64()}[identity]
    found = []
    for number, one in enumerate(passes):
        plan = sum_plan(one, number, identity)
        engine.keep("sum_totals", plan.totals)
        engine.keep("sum_members", plan.members)
        engine.keep("sum_groups", plan.groups)
        engine.load("sum_chosen", _table(_choose(engine.rows(plan.lines)), kind))
        engine.keep(f"sum_{number}", plan.sum)
        engine.keep(OURS_LEFT, plan.ours_left)
        engine.keep(THEIRS_LEFT, plan.theirs_left)
        found.append(plan.found)
    return ibis.union(*found)


def cover(total_minor: int, amounts: Sequence[int]) -> tuple[int, ...] | None:
    """Which of the amounts add up to the total: their indexes, where only one choice does.

    >>> cover(300, [100, 200, 250]), cover(300, [100, 200, 100])
    ((0, 1), (0, 1))

    None where nothing adds up, and where two choices do:

    >>> cover(300, [100, 200, 150, 150]), cover(300, [70, 200])
    (None, None)
    """
    assert len(amounts) <= MEMBERS_MAX, len(amounts)
    # sum -> choices that reach it, as how often each distinct amount is taken; three at most, as one
    # may be the empty choice and two of the others are one too many
    reached: dict[int, list[tuple[int, ...]]] = {0: [()]}
    distinct = sorted(Counter(amounts).items())
    for amount, times in distinct:
        further: dict[int, list[tuple[int, ...]]] = {}
        for reached_minor, choices in reached.items():
            for taken in range(times + 1):
                known = further.setdefault(reached_minor + taken * amount, [])
                known += [(*choice, taken) for choice in choices][: 3 - len(known)]
        reached = further
    choices = [choice for choice in reached.get(total_minor, ()) if any(choice)]
    if len(choices) != 1:
        return None
    wanted = {amount: taken for (amount, _), taken in zip(distinct, choices[0], strict=True)}
    picked = []
    for index, amount in enumerate(amounts):
        if wanted[amount]:
            wanted[amount] -= 1
            picked.append(index)
    return tuple(picked)


Chosen = tuple[object, object]  # identities of total and member


def _choose(lines: list[tuple[object, ...]]) -> list[Chosen]:
    """What covers the totals of each group; `lines` are (identity, amount, is total, keys …)."""
    found: list[Chosen] = []
    for _, group in groupby(lines, key=lambda line: line[3:]):
        in_order = [(bool(line[2]), line[0], int(str(line[1]))) for line in group]
        members = [(name, amount) for total, name, amount in in_order if not total]
        for total, name, amount in in_order:
            chosen = cover(amount, [each for _, each in members]) if total else None
            if chosen is not None and len(chosen) > 1:
                found += [(name, members[index][0]) for index in chosen]
                members = [one for index, one in enumerate(members) if index not in chosen]
    return found


def _table(chosen: list[Chosen], kind: pa.DataType) -> pa.Table:
    return pa.table(
        {
            "total": pa.array([total for total, _ in chosen], kind),
            "member": pa.array([member for _, member in chosen], kind),
        }
    )


class SumPlan(NamedTuple):
    """A pass as expressions over both sides and over what its earlier expressions made."""

    totals: "ir.Table"  # lines that may be a sum
    members: "ir.Table"  # lines that may be part of one
    groups: "ir.Table"  # keys with both, their counts and sums
    lines: "ir.Table"  # of the groups that need a choice
    sum: "ir.Table"
    ours_left: "ir.Table"
    theirs_left: "ir.Table"
    found: "ir.Table"


@cache
def sum_plan(one: SumPass, number: int, identity: str) -> SumPlan:
    """Built once a process, as `pass_plan`."""
    keys = list(one.keys)
    sides = _sides(identity)
    lines = {name: _lines(side, name, one) for name, side in sides.items()}
    shape = {"name": identity, "content": "string", "amount": "int64", "rank": "int64"}
    shape |= {key: COLUMNS[key] for key in keys}
    totals, members = (ibis.table(shape, name=f"sum_{name}") for name in ("totals", "members"))
    counts = dict.fromkeys(("totals", "lines", "total_minor", "lines_minor"), "int64")
    groups = ibis.table({**{key: COLUMNS[key] for key in keys}, **counts}, name="sum_groups")
    whole = groups.filter((groups.totals == 1) & (groups.total_minor == groups.lines_minor))
    chosen = ibis.table({"total": identity, "member": identity}, name="sum_chosen")
    summed = ibis.table({"total": identity, "member": identity}, name=f"sum_{number}")
    other = "theirs" if one.total == "ours" else "ours"
    left = {
        one.total: _without(sides[one.total], summed.total),
        other: _without(sides[other], summed.member),
    }
    return SumPlan(
        totals=_total_lines(lines[one.total], one),
        members=lines[other],
        groups=_groups(totals, members, keys),
        lines=_lines_to_choose(totals, members, groups, keys),
        sum=_whole_sums(totals, members, whole, keys).union(chosen),
        ours_left=left["ours"],
        theirs_left=left["theirs"],
        found=summed.select(ibis.literal(one.name).name("rule"), "total", "member"),
    )


def _sides(identity: str) -> "dict[str, ir.Table]":
    return {
        "ours": ibis.table({"key": identity, **COLUMNS}, name=OURS_LEFT),
        "theirs": ibis.table({"row": identity, **COLUMNS}, name=THEIRS_LEFT),
    }


@cache
def _with_groups(identity: str) -> "ir.Table":
    """Names of the passes that have a group, in their order."""
    sides = _sides(identity)
    counts = []
    for one in SUM_PASSES:
        other = "theirs" if one.total == "ours" else "ours"
        totals = _total_lines(_lines(sides[one.total], one.total, one), one)
        groups = _groups(totals, _lines(sides[other], other, one), list(one.keys))
        counts.append(groups.aggregate(groups=groups.count()).mutate(name=ibis.literal(one.name)))
    every = ibis.union(*counts)
    return every.filter(every.groups > 0).select("name").order_by("name")


def _lines(side: "ir.Table", name: str, one: SumPass) -> "ir.Table":
    """The side's lines that have every key; of ours, those that stand."""
    conditions = [side[key] != "" for key in one.keys if key in TEXT_COLUMNS]
    if name == "ours":
        conditions.append(side["rank"] == 0)
    identity = side["key"] if name == "ours" else side["row"]
    columns = ["content", "amount", "rank", *one.keys, *one.absent]
    return side.filter(conditions).select(identity.name("name"), *dict.fromkeys(columns))


def _total_lines(lines: "ir.Table", one: SumPass) -> "ir.Table":
    nameless = lines.filter([lines[column] == "" for column in one.absent]) if one.absent else lines
    return nameless.drop(*(column for column in one.absent if column not in one.keys))


def _groups(totals: "ir.Table", members: "ir.Table", keys: list[str]) -> "ir.Table":
    # DuckDB sums to 128 bits, Spark to 64
    ones = totals.group_by(keys).agg(
        totals=totals.count(), total_minor=totals.amount.sum().cast("int64")
    )
    others = members.group_by(keys).agg(
        lines=members.count(), lines_minor=members.amount.sum().cast("int64")
    )
    return ones.join(others.filter(others.lines > 1), keys)


def _whole_sums(
    totals: "ir.Table", members: "ir.Table", whole: "ir.Table", keys: list[str]
) -> "ir.Table":
    named = totals.semi_join(whole, keys).select(*keys, total="name")
    return named.join(members, keys).select("total", member="name")


def _lines_to_choose(
    totals: "ir.Table", members: "ir.Table", groups: "ir.Table", keys: list[str]
) -> "ir.Table":
    """(identity, amount, is total, keys …), in the order of keys and content."""
    small = (groups.lines <= MEMBERS_MAX) & (groups.totals <= TOTALS_MAX)
    whole = (groups.totals == 1) & (groups.total_minor == groups.lines_minor)
    chosen = groups.filter(small & ~whole).select(*keys).order_by(keys).limit(GROUPS_MAX)
    lines = ibis.union(
        *(
            side.semi_join(chosen, keys).mutate(is_total=ibis.literal(is_total))
            for side, is_total in ((totals, 1), (members, 0))
        )
    )
    in_order = lines.order_by([*keys, "is_total", "rank", "content"])
    return in_order.select("name", "amount", "is_total", *keys)


def _without(side: "ir.Table", matched: "ir.Column") -> "ir.Table":
    identity = side["key"] if "key" in side.columns else side["row"]
    return side.anti_join(matched.as_table(), identity == matched)
