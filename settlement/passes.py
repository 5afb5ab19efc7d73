"""Matching passes, as data: one record with one row on equal keys, each pass over what is left.

Theory of operation. Both sides are tables of an engine with the same columns. In a pass the n-th
record of a key meets its n-th row, counted in an order that depends on content alone, so shuffled or
split files give the same pairs.

    pass           keys equal on both sides
    exact          DE 32, 33, 11, 7, 41 and the amount
    exact-keys     DE 32, 33, 11, 7, 41
    rrn            RRN, terminal, merchant, amount
    auth-day       authorisation code, PAN token, amount, same settlement day
    auth-next-day  ... the row one settlement day later
    auth-prev-day  ... the row one settlement day earlier

A line without one of the pass's keys takes no part in it.

To count costs a sort, to compare nine columns much memory. So where many lines are left, a pass first
pairs the keys that stand once on either side, which are nearly all, by a hash of 63 bits; it then
counts what remains. A key that stands on both sides meets its own hash, and where another key shares
it the hash stands twice and both are compared in full. So only two keys that each stand on one side
alone could be taken for one: with 100,000 such lines on either side, once in 900 million days.

All of it is ibis expressions, so the same text runs on DuckDB and on Spark, and nothing of a matched
pair becomes a Python object.
"""

import inspect
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
BULK: Final = 100_000  # lines left on either side, from which on hashes pay
OURS_LEFT: Final = "ours_left"
THEIRS_LEFT: Final = "theirs_left"


def pairs(
    records: Iterable[ClearingRecord], rows: Iterable[ClearingRow], engine: "Engine"
) -> list[tuple[str, str, str]]:
    """(rule, record key, row id) of every pass, in order of the record's key: for small days."""
    engine.load("ours", record_table(records))
    engine.load("theirs", row_table(rows))
    found = pair_tables(engine, "ours", "theirs")
    if found is None:
        return []
    lines = engine.rows(found.order_by("record"))
    return [(str(rule), str(record), str(row)) for rule, record, row in lines]


def pair_tables(
    engine: "Engine", ours: str, theirs: str, *, identity: str = "string", bulk: int = BULK
) -> "ir.Table | None":
    """(rule, record, row) of every pass, as a relation over tables that stay in the engine; None
    where a side is empty.

    `ours` and `theirs` name tables of the engine with `COLUMNS` and an identity of the ibis type
    `identity`, called `key` in ours and `row` in theirs; neither table is changed. What no pass met is
    left in the tables `OURS_LEFT` and `THEIRS_LEFT`, with all columns. At size an identity should be
    an integer: 35 bytes of text on each line of a join cost more than the join.
    """
    sides = Sides(ours, theirs, identity)
    found = []
    for number, one in enumerate(PASSES):
        ours_count, theirs_count = _count(engine, sides)
        if not ours_count or not theirs_count:
            break
        if min(ours_count, theirs_count) > bulk:
            found.append(_pair_once(engine, once_plan(one, number, sides)))
            sides = Sides(OURS_LEFT, THEIRS_LEFT, identity)
        plan = pass_plan(one, number, sides)
        for name, expression in plan.tables:
            engine.keep(name, expression)
        found.append(plan.found)
        sides = Sides(OURS_LEFT, THEIRS_LEFT, identity)
    if not found:  # nothing was looked at, so all of it is left
        engine.keep(OURS_LEFT, sides.ours)
        engine.keep(THEIRS_LEFT, sides.theirs)
        return None
    return ibis.union(*found)


class Sides(NamedTuple):
    """Names of both sides' tables, and the type of their identities."""

    ours_name: str
    theirs_name: str
    identity: str

    @property
    def ours(self) -> "ir.Table":
        return ibis.table({"key": self.identity, **COLUMNS}, name=self.ours_name)

    @property
    def theirs(self) -> "ir.Table":
        return ibis.table({"row": self.identity, **COLUMNS}, name=self.theirs_name)


def _count(engine: "Engine", sides: Sides) -> tuple[int, int]:
    """Lines of both sides."""
    (ours, theirs), *_ = engine.rows(_counted(sides))
    return int(str(ours)), int(str(theirs))


@cache
def _counted(sides: Sides) -> "ir.Table":
    ours, theirs = (side.aggregate(lines=side.count()) for side in (sides.ours, sides.theirs))
    return ours.cross_join(theirs, rname="theirs_{name}")


class Plan(NamedTuple):
    """A pass, or its part, as the tables it makes one after the other, and the pairs in them."""

    tables: list[tuple[str, "ir.Table"]]
    found: "ir.Table"


# -- counted: any number of lines of a key -------------------------------------------------------


@cache
def pass_plan(one: Pass, number: int, sides: Sides) -> Plan:
    """Built once a process: building and compiling cost more than a small day's rows."""
    name = f"pair_{number}"
    on = [*one.keys, *_day(one)]
    left, right = (_numbered(*side, one) for side in ((sides.ours, "key"), (sides.theirs, "row")))
    pair = ibis.table({"record": sides.identity, "row": sides.identity}, name=name)
    return Plan(
        [
            (name, left.join(right, [*on, "nth"]).select(record="key", row="row")),
            (OURS_LEFT, sides.ours.anti_join(pair, sides.ours.key == pair.record)),
            (THEIRS_LEFT, sides.theirs.anti_join(pair, "row")),
        ],
        _named(pair, one),
    )


def _day(one: Pass) -> list[str]:
    return [] if one.day_shift is None else ["matching_day"]


def _keyed(side: "ir.Table", identity: str, one: Pass) -> tuple["ir.Table", "ir.Value"]:
    """The side with the day it matches on, and whether a line has every key."""
    if one.day_shift is not None:
        shift = one.day_shift if identity == "key" else 0
        side = side.mutate(matching_day=side.day + shift)
    present = [side[key] != "" for key in one.keys if key in TEXT_COLUMNS]
    return side, ibis.and_(*present)


def _numbered(side: "ir.Table", identity: str, one: Pass) -> "ir.Table":
    """Lines that have every key, numbered within equal keys by content alone."""
    keyed, present = _keyed(side, identity, one)
    on = [*one.keys, *_day(one)]
    keyed = keyed.filter(present).select(identity, *dict.fromkeys([*on, "rank", "content"]))
    window = ibis.window(
        group_by=[keyed[name] for name in on], order_by=[keyed["rank"], keyed["content"]]
    )
    return keyed.select(identity, *on, nth=ibis.row_number().over(window))


def _named(pair: "ir.Table", one: Pass) -> "ir.Table":
    return pair.select(ibis.literal(one.name).name("rule"), "record", "row")


# -- once: keys that stand once on either side, by their hashes ----------------------------------


class OncePlan(NamedTuple):
    """The part of a pass that pairs such keys; it leaves the rest to `pass_plan`."""

    ours_hashed: "ir.Table"
    theirs_hashed: "ir.Table"
    several_theirs: "ir.Table"  # hashes that stand several times on their side
    several_both: "ir.Table"  # ... or on ours
    again: "ir.Table"  # lines of theirs with such a hash
    met: "ir.Table"  # all other lines, each with what it meets, or with nothing
    twice: "ir.Table"  # how often a row was met once more
    ours_left: "ir.Table"
    theirs_left: "ir.Table"
    met_name: str
    found: "ir.Table"


def _pair_once(engine: "Engine", plan: OncePlan) -> "ir.Table":
    engine.keep("ours_hashed", plan.ours_hashed)
    engine.keep("theirs_hashed", plan.theirs_hashed)
    # Ours hardly ever stand several times; whether they do is told by the join, for less.
    for several in (plan.several_theirs, plan.several_both):
        engine.keep("several", several)
        engine.keep("again", plan.again)
        engine.keep(plan.met_name, plan.met)
        if engine.rows(plan.twice) == [(0,)]:
            break
    engine.keep(OURS_LEFT, plan.ours_left)
    engine.keep(THEIRS_LEFT, plan.theirs_left)
    return plan.found


@cache
def once_plan(one: Pass, number: int, sides: Sides) -> OncePlan:
    ours = ibis.table({"key": sides.identity, "hash": "int64"}, name="ours_hashed")
    theirs = ibis.table({"row": sides.identity, "hash": "int64"}, name="theirs_hashed")
    several = ibis.table({"hash": "int64"}, name="several")
    again = ibis.table({"row": sides.identity}, name="again")
    met_name = f"met_{number}"
    met = ibis.table({"record": sides.identity, "row": sides.identity}, name=met_name)
    once = theirs.anti_join(several, "hash")
    alone = met.filter(met["row"].isnull()).select(key="record")
    theirs_alone = met.filter(met.record.isnull()).select("row").union(again)
    counts = (
        met.aggregate(met=met["row"].count()),
        theirs.aggregate(lines=theirs.count()),
        again.aggregate(again=again.count()),
    )
    return OncePlan(
        ours_hashed=_hashed(sides.ours, "key", one),
        theirs_hashed=_hashed(sides.theirs, "row", one),
        several_theirs=_several(theirs),
        several_both=_several(theirs).union(_several(ours), distinct=True),
        again=theirs.semi_join(several, "hash").select("row"),
        met=ours.outer_join(once, "hash").select(record="key", row="row"),
        twice=_twice(*counts),
        ours_left=sides.ours.semi_join(alone, "key"),
        theirs_left=sides.theirs.semi_join(theirs_alone, "row"),
        met_name=met_name,
        found=_named(met.filter(met.record.notnull() & met["row"].notnull()), one),
    )


def _twice(met: "ir.Table", theirs: "ir.Table", again: "ir.Table") -> "ir.Table":
    """Every row that stands once is in the outer join once, or once for each record it meets."""
    counted = met.cross_join(theirs).cross_join(again)
    return counted.select(twice=counted.met + counted.again - counted.lines)


def _hashed(side: "ir.Table", identity: str, one: Pass) -> "ir.Table":
    """Identity and hash of the keys; none where a key is missing."""
    keyed, present = _keyed(side, identity, one)
    hashed = _hash([keyed[name] for name in (*one.keys, *_day(one))])
    return keyed.select(identity, hash=ibis.ifelse(present, hashed, ibis.null("int64")))


def _hash(columns: "list[ir.Column]") -> "ir.Column":
    """Spark's function of 64 bits, whose name every engine gives to one of its own."""

    def xxhash64(*_: object) -> None: ...

    xxhash64.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(f"key_{number}", inspect.Parameter.POSITIONAL_ONLY)
            for number in range(len(columns))
        ]
    )
    types = tuple(column.type() for column in columns)
    return ibis.udf.scalar.builtin(xxhash64, signature=(types, "int64"))(*columns)


def _several(hashed: "ir.Table") -> "ir.Table":
    keyed = hashed.filter(hashed.hash.notnull())
    counted = keyed.group_by("hash").agg(lines=keyed.count())
    return counted.filter(counted.lines > 1).select("hash")


# -- sides from a day's values -------------------------------------------------------------------


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
