"""Matching passes, as data: one record with one row on equal keys, each pass over what is left.

Theory of operation. Both sides are tables of an engine with the same columns. A pass joins them on
its keys. Where a key stands once on either side that is a plain join. Where it stands several
times, its n-th record meets its n-th row, counted in an order that depends on content alone, so
shuffled or split files give the same pairs. To tell the two cases apart, hashes of the keys are
counted: two keys with one hash are only numbered without need, since equality always decides.

    pass           keys equal on both sides
    exact          DE 32, 33, 11, 7, 41 and the amount
    exact-keys     DE 32, 33, 11, 7, 41
    rrn            RRN, terminal, merchant, amount
    auth-day       authorisation code, PAN token, amount, same settlement day
    auth-next-day  ... the row one settlement day later
    auth-prev-day  ... the row one settlement day earlier

A line without one of the pass's keys takes no part in it. All of it is ibis expressions, so the
same text runs on DuckDB and on Spark, and nothing of a matched pair becomes a Python object.
"""

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

import ibis  # type: ignore[import-untyped]
import msgspec
import pyarrow as pa  # type: ignore[import-untyped]

from settlement.clearing import ClearingRecord, ClearingRow, institution

if TYPE_CHECKING:
    import ibis.expr.types as ir  # type: ignore[import-untyped]

    from settlement.ports import Engine


class Pass(msgspec.Struct, frozen=True):
    name: str
    version: int
    keys: tuple[str, ...]
    day_shift: int | None = None  # row's settlement day less the record's; None: any


# `side` keeps reversals apart: a reversal row names its original by DE 11 and 7, and so does the
# linked opposite that our books post when a date was frozen already.
SIDE: Final = ("acquirer", "currency", "side")
EXACT_KEYS: Final = (*SIDE, "de32", "de33", "stan", "time", "terminal")
PASSES: Final = (
    Pass("exact", 2, (*EXACT_KEYS, "amount")),
    Pass("exact-keys", 2, EXACT_KEYS),
    Pass("rrn", 1, (*SIDE, "rrn", "terminal", "merchant", "amount")),
    Pass("auth-day", 1, (*SIDE, "auth", "token", "amount"), 0),
    Pass("auth-next-day", 1, (*SIDE, "auth", "token", "amount"), 1),
    Pass("auth-prev-day", 1, (*SIDE, "auth", "token", "amount"), -1),
)
TEXT_COLUMNS: Final = (
    *("acquirer", "currency", "side", "de32", "de33", "stan", "time"),
    *("rrn", "terminal", "merchant", "auth", "token", "content"),
)
NUMBER_COLUMNS: Final = ("amount", "day", "rank")
COLUMNS: Final = dict.fromkeys(TEXT_COLUMNS, "string") | dict.fromkeys(NUMBER_COLUMNS, "int64")
OURS_LEFT: Final = "ours_left"
THEIRS_LEFT: Final = "theirs_left"


def pairs(
    records: Iterable[ClearingRecord], rows: Iterable[ClearingRow], engine: "Engine"
) -> list[tuple[str, str, str]]:
    """(rule, record key, row id) of every pass, in order of the record's key: for small days."""
    engine.load("ours", record_table(records))
    engine.load("theirs", row_table(rows))
    found = pair_tables(engine, "ours", "theirs").order_by("record")
    return [(str(rule), str(record), str(row)) for rule, record, row in engine.rows(found)]


def pair_tables(engine: "Engine", ours: str, theirs: str) -> "ir.Table":
    """(rule, record, row) of every pass, as a relation over tables that stay in the engine.

    `ours` and `theirs` name tables of the engine with `COLUMNS` and an identity, `key` of ours and
    `row` of theirs; neither is changed. What no pass met is left in the tables `OURS_LEFT` and
    `THEIRS_LEFT`, with all columns.
    """
    found = []
    for number, one in enumerate(PASSES):
        plan = pass_plan(one, number, ours, theirs)
        engine.keep("several", plan.several)
        engine.keep(f"pair_{number}", plan.pair)
        engine.keep(OURS_LEFT, plan.ours_left)
        engine.keep(THEIRS_LEFT, plan.theirs_left)
        found.append(plan.found)
        ours, theirs = OURS_LEFT, THEIRS_LEFT
    return ibis.union(*found)


class PassPlan(NamedTuple):
    """A pass as expressions over both sides and over what its earlier expressions made."""

    several: "ir.Table"  # hashes of keys that stand more than once on a side
    pair: "ir.Table"
    ours_left: "ir.Table"
    theirs_left: "ir.Table"
    found: "ir.Table"


@cache
def pass_plan(one: Pass, number: int, ours_name: str, theirs_name: str) -> PassPlan:
    """Built once a process: building and compiling cost more than a small day's rows."""
    ours = ibis.table({"key": "string", **COLUMNS}, name=ours_name)
    theirs = ibis.table({"row": "string", **COLUMNS}, name=theirs_name)
    several = ibis.table({"hash": "int64"}, name="several")
    pair = ibis.table({"record": "string", "row": "string"}, name=f"pair_{number}")
    left, right = _keyed(ours, one, one.day_shift or 0), _keyed(theirs, one, 0)
    on = [*one.keys, *_day(one)]
    once = left.anti_join(several, "hash").join(right, on)
    again = _numbered(left.semi_join(several, "hash"), on).join(
        _numbered(right.semi_join(several, "hash"), on), [*on, "nth"]
    )
    return PassPlan(
        several=ibis.union(_repeated(left), _repeated(right), distinct=True),
        pair=ibis.union(*(each.select(record="key", row="row") for each in (once, again))),
        ours_left=ours.anti_join(pair, ours.key == pair.record),
        theirs_left=theirs.anti_join(pair, "row"),
        found=pair.select(ibis.literal(one.name).name("rule"), "record", "row"),
    )


def _day(one: Pass) -> list[str]:
    return [] if one.day_shift is None else ["matching_day"]


def _keyed(side: "ir.Table", one: Pass, day_shift: int) -> "ir.Table":
    """The side's lines that have every key, with the hash of their keys."""
    names = [key for key in one.keys if key in TEXT_COLUMNS]
    hashed = _hash(side[names[0]])
    for name in names[1:]:
        hashed ^= _hash(side[name])
    keyed = side.filter([side[name] != "" for name in names]).mutate(hash=hashed)
    return keyed.mutate(matching_day=keyed.day + day_shift) if _day(one) else keyed


@ibis.udf.scalar.builtin(name="hash", signature=(("string",), "int64"))  # type: ignore[misc]
def _hash(text: str) -> int:  # type: ignore[empty-body]
    """The engine's own hash of a text, whatever it is: 64 bits on DuckDB, 32 on Spark."""


def _repeated(keyed: "ir.Table") -> "ir.Table":
    counted = keyed.group_by("hash").agg(lines=keyed.count())
    return counted.filter(counted.lines > 1).select("hash")


def _numbered(keyed: "ir.Table", on: list[str]) -> "ir.Table":
    """Numbered within equal keys by content alone."""
    window = ibis.window(
        group_by=[keyed[name] for name in on], order_by=[keyed.rank, keyed.content]
    )
    return keyed.mutate(nth=ibis.row_number().over(window))


def _side(is_reversal: object) -> str:
    return "reversal" if is_reversal else "asked"


def record_table(records: Iterable[ClearingRecord]) -> pa.Table:
    chosen = list(records)
    return pa.table(
        {
            "key": pa.array([r.key for r in chosen], pa.string()),
            "acquirer": pa.array([r.acquirer for r in chosen], pa.string()),
            "currency": pa.array([r.currency for r in chosen], pa.string()),
            "side": pa.array([_side(r.state == "opposite") for r in chosen], pa.string()),
            "de32": pa.array([r.de32 for r in chosen], pa.string()),
            "de33": pa.array([r.de33 for r in chosen], pa.string()),
            "stan": pa.array([r.link_stan for r in chosen], pa.string()),
            "time": pa.array([r.transmission_time for r in chosen], pa.string()),
            "rrn": pa.array([r.rrn for r in chosen], pa.string()),
            "terminal": pa.array([r.terminal for r in chosen], pa.string()),
            "merchant": pa.array([r.merchant for r in chosen], pa.string()),
            "auth": pa.array([r.auth_code for r in chosen], pa.string()),
            "token": pa.array([r.pan_token.hex() for r in chosen], pa.string()),
            "amount": pa.array([r.amount_minor for r in chosen], pa.int64()),
            "day": pa.array([r.settlement_date.toordinal() for r in chosen], pa.int64()),
            # A standing capture is paired before a request without one.
            "rank": pa.array([0 if r.captured else 1 for r in chosen], pa.int64()),
            "content": pa.array([r.key for r in chosen], pa.string()),
        }
    )


def row_table(rows: Iterable[ClearingRow]) -> pa.Table:
    chosen = list(rows)
    return pa.table(
        {
            "row": pa.array([r.id for r in chosen], pa.string()),
            "acquirer": pa.array([r.acquirer for r in chosen], pa.string()),
            "currency": pa.array([r.currency for r in chosen], pa.string()),
            "side": pa.array([_side(r.is_reversal) for r in chosen], pa.string()),
            "de32": pa.array([institution(r.de32) for r in chosen], pa.string()),
            "de33": pa.array(
                [institution(r.de33) or institution(r.de32) for r in chosen], pa.string()
            ),
            "stan": pa.array(
                [r.original_stan if r.is_reversal else r.stan for r in chosen], pa.string()
            ),
            "time": pa.array(
                [r.original_time if r.is_reversal else r.transmission_time for r in chosen],
                pa.string(),
            ),
            "rrn": pa.array([r.rrn for r in chosen], pa.string()),
            "terminal": pa.array([r.terminal for r in chosen], pa.string()),
            "merchant": pa.array([r.merchant for r in chosen], pa.string()),
            "auth": pa.array([r.auth_code for r in chosen], pa.string()),
            "token": pa.array([r.pan_token.hex() for r in chosen], pa.string()),
            "amount": pa.array([r.effect_minor for r in chosen], pa.int64()),
            "day": pa.array([r.settlement_date.toordinal() for r in chosen], pa.int64()),
            "rank": pa.array([r.settlement_date.toordinal() for r in chosen], pa.int64()),
            "content": pa.array([f"{r.content.hex()} {r.id}" for r in chosen], pa.string()),
        }
    )
