"""Matches of one line with several in a day's end: found in what no pair has, settled line by line.

The lines of such a match go into `met` one by one, each alone: so nothing that a pair has is looked at
again, and `match` says that no line is in two. Which lines make one match is `members`. A reversal row
and the row it names take no part: what they come to is told within the files.

A match with a request that a later date captures waits for that date's close, and all its lines with it.
"""

from datetime import date
from functools import cache
from typing import TYPE_CHECKING, Any, Final, cast

import ibis  # type: ignore[import-untyped]
import msgspec
import pyarrow as pa  # type: ignore[import-untyped]

from settlement.columns import schema_of
from settlement.matches import Member
from settlement.passes import COLUMNS, THEIRS_LEFT
from settlement.records import ahead, table_named
from settlement.sums import SUM_PASSES, passes_with_groups, sum_tables

if TYPE_CHECKING:
    import ibis.expr.types as ir  # type: ignore[import-untyped]

    from settlement.ports import Engine

IDS: Final = pa.schema([("id", pa.string())])
SUMS: Final = pa.schema([(name, pa.string()) for name in ("rule", "total", "member")])
LINES: Final = pa.schema(
    [
        ("rule", pa.string()),
        ("match_id", pa.string()),
        ("side", pa.string()),
        ("member", pa.string()),
        ("waits", pa.bool_()),
    ]
)


class Summed(msgspec.Struct, frozen=True):
    """What the passes of one with several settled: matches, and their lines on either side."""

    matches: int
    records: int
    rows: int
    broken: frozenset[str]  # those of the lines that an earlier date's break is about


NOTHING: Final = Summed(0, 0, 0, frozenset())


def find(engine: "Engine", business_date: date) -> bool:
    """Whether anything adds up; `sum_lines` has it then. Reads `touched`, and what `pair_tables` left."""
    passes = passes_with_groups(engine)
    if not passes:
        return False
    engine.keep(THEIRS_LEFT, _untouched())
    engine.keep("sums", sum_tables(engine, passes))
    engine.keep("sum_lines", _lines(business_date))
    return bool(engine.rows(_counts()))


def settled(engine: "Engine") -> Summed:
    """What `find` found, without what waits. Reads `broken`."""
    found = {str(side): numbers for side, *numbers in engine.rows(_counts(waits=False))}
    if not found:
        return NOTHING
    records, matches = cast("list[Any]", found["ours"])
    rows, _ = cast("list[Any]", found["theirs"])
    broken = frozenset(str(one) for (one,) in engine.rows(_broken()))
    return Summed(int(matches), int(records), int(rows), broken)


@cache
def _untouched() -> "ir.Table":
    theirs = ibis.table({"row": "string", **COLUMNS}, name=THEIRS_LEFT)
    touched = table_named("touched", IDS)
    return theirs.anti_join(touched, theirs["row"] == touched.id)


@cache
def _lines(business_date: date) -> "ir.Table":
    """A line for each of both sides; requests of later dates, which make a match wait, are left out."""
    sums = table_named("sums", SUMS)
    ours_totals = [one.name for one in SUM_PASSES if one.total == "ours"]
    is_ours = sums.rule.isin(ours_totals)
    sides = ibis.literal("ours"), ibis.literal("theirs")
    named = {"rule": sums.rule, "match_id": sums.total}
    totals = sums.select(**named, side=ibis.ifelse(is_ours, *sides), member=sums.total).distinct()
    members = sums.select(**named, side=ibis.ifelse(is_ours, *sides[::-1]), member=sums.member)
    every = totals.union(members)
    later = ahead(business_date).select(member="key")
    waiting = every.semi_join(later, "member").select("match_id").distinct().mutate(later=True)
    here = every.anti_join(later, "member").left_join(waiting, "match_id")
    return here.select("rule", "match_id", "side", "member", waits=here.later.notnull())


def lines_table() -> "ir.Table":
    return table_named("sum_lines", LINES)


@cache
def _counts(*, waits: bool | None = None) -> "ir.Table":
    """(side, lines, matches)."""
    lines = lines_table()
    if waits is not None:
        lines = lines.filter(lines.waits == waits)
    counted = lines.group_by("side").agg(lines=lines.count(), matches=lines.match_id.nunique())
    return counted.order_by("side")


@cache
def _broken() -> "ir.Table":
    lines = lines_table()
    settled_lines = lines.filter(~lines.waits)
    broken = table_named("broken", IDS)
    found = settled_lines.semi_join(broken, settled_lines.member == broken.id)
    return found.select("member").order_by("member")


@cache
def met_lines() -> "ir.Table":
    """The lines as `plain.MET` has pairs: each alone."""
    lines = lines_table()
    ours = lines.side == "ours"
    return lines.select(
        "rule",
        record=ibis.ifelse(ours, lines.member, ""),
        row=ibis.ifelse(ours, "", lines.member),
        kind=ibis.ifelse(lines.waits, "held", "summed"),
        match_class=ibis.literal("matched"),
    )


@cache
def members(business_date: date) -> "ir.Table":
    """What is stored of the matches: `matches.Member`, in order of match and member."""
    lines = lines_table()
    version = ibis.cases(*((lines.rule == one.name, one.version) for one in SUM_PASSES), else_=0)
    made = lines.filter(~lines.waits).select(
        "match_id",
        "rule",
        "side",
        "member",
        business_date=ibis.literal(business_date),
        rule_version=version.cast("int64"),
    )
    return made.order_by("match_id", "side", "member")[schema_of(Member).names]
