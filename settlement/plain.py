"""What of a day is plain is settled in columns; the rest is handed out to be looked at one by one.

Plain is a pair of a standing capture and the row that bills it with the same amount, neither of
which anything else concerns: no reversal row names the row, no earlier break rests on either. So is
what plainly waits for another date's close: a record whose file is not due, a row sent and settled
later, a row that a later date's request explains. Everything else of both sides is the rest.

The engine holds, under these names, what `split` reads: `records` of the date, `open_records` and
`shorts` of earlier ones, requests `ahead`, `incoming_rows`, and `mismatched` rows. It leaves `met`:
every pair with its kind and class; and, each line alone, the matches of one with several (`summed`).
"""

from collections.abc import Collection
from datetime import date
from functools import cache
from typing import TYPE_CHECKING, Any, Final, cast

import ibis  # type: ignore[import-untyped]
import msgspec
import pyarrow as pa  # type: ignore[import-untyped]

from settlement import summed
from settlement.clearing import ClearingRecord, ClearingRow, infer_date
from settlement.columns import structs_of
from settlement.passes import COLUMNS, pair_tables
from settlement.records import ahead, different, institution_of, records_table, table_named
from settlement.rows import effect_of, id_of, is_reversal, rows_table

if TYPE_CHECKING:
    import ibis.expr.types as ir  # type: ignore[import-untyped]

    from settlement.ports import Engine

EPOCH: Final = date(1970, 1, 1)
MET: Final = {
    "rule": "string",
    "record": "string",
    "row": "string",
    "kind": "string",  # plain, summed, held (for a later date's request), odd
    "match_class": "string",
}
UNMET: Final = {"id": "string", "waits": "boolean"}
PAIRS: Final = pa.schema([(name, pa.string()) for name in ("rule", "record", "row")])
IDS: Final = pa.schema([("id", pa.string())])
DUE: Final = pa.schema([("acquirer", pa.string()), ("settlement_date", pa.date32())])
SENT: Final = pa.schema(
    [("month_day", pa.string()), ("settlement_date", pa.date32()), ("later", pa.bool_())]
)


class Rest(msgspec.Struct, frozen=True):
    """What is not plain, and how much was."""

    records: list[ClearingRecord]
    waiting: list[ClearingRecord]  # of later dates, that a row of the rest met
    rows: list[ClearingRow]
    neighbours: list[ClearingRow]  # settled rows that have a key of one of `rows`
    paired: list[tuple[str, str, str]]  # rule, record, row: pairs that are not plain
    matched: dict[str, int]  # class -> plain pairs
    sums: summed.Summed  # matches of one with several
    carried_records: int
    carried_rows: int


def split(
    engine: "Engine",
    business_date: date,
    window_days: int,
    *,
    broken: Collection[str],
    taken_in: Collection[tuple[str, date]],
) -> Rest:
    """Pair both sides, and tell what is plain from the rest; see `reconcile.reconcile`."""
    engine.load("broken", pa.table([sorted(broken)], schema=IDS))
    due = sorted(taken_in)
    engine.load("taken_in", pa.table([[a for a, _ in due], [d for _, d in due]], schema=DUE))
    engine.keep("ours", _ours(business_date))
    engine.keep("theirs", _theirs())
    found = pair_tables(engine, "ours", "theirs")
    if found is None:
        engine.load("pairs", PAIRS.empty_table())
    else:
        engine.keep("pairs", found)
    engine.keep("touched", _touched())
    engine.keep("met", _met(business_date, window_days))
    sums = summed.NOTHING
    if summed.find(engine, business_date):
        engine.keep("met", _met_table().union(summed.met_lines()[list(MET)]))
        sums = summed.settled(engine)
    _load_sent(engine, business_date)
    engine.keep("unmet_rows", _unmet_rows(business_date))
    engine.keep("unmet_records", _unmet_records(business_date))
    counts = _counts(engine)
    rest = Rest(
        records=structs_of(ClearingRecord, engine.table(_rest_records())),
        waiting=structs_of(ClearingRecord, engine.table(_rest_waiting(business_date))),
        rows=structs_of(ClearingRow, engine.table(_rest_rows())),
        neighbours=structs_of(ClearingRow, engine.table(_neighbours())),
        paired=cast("list[tuple[str, str, str]]", engine.rows(_odd_pairs())),
        matched={str(name): _int(count) for name, count in engine.rows(_matched())},
        sums=sums,
        carried_records=counts["waiting records"],
        carried_rows=counts["held"] + counts["waiting rows"],
    )
    captured = sum(one.captured for one in rest.records)
    records = counts["plain"] + sums.records + rest.carried_records + captured
    assert counts["captured"] == records, f"a record is neither plain nor looked at: {counts}"
    rows = counts["plain"] + sums.rows + rest.carried_rows + len(rest.rows)
    assert counts["rows"] == rows, f"a row is neither plain nor looked at: {counts}"
    return rest


def _int(value: object) -> int:
    return int(cast("Any", value))


# -- both sides, as the passes take them ----------------------------------------------------------


@cache
def standing() -> "ir.Table":
    """The date's records and the open ones of earlier dates."""
    earlier = records_table("open_records")
    shorts = records_table("shorts").anti_join(earlier, "key")
    return records_table("records").union(earlier, shorts)


@cache
def _ours(business_date: date) -> "ir.Table":
    every = standing().union(ahead(business_date))
    return every.select(
        "key",
        "acquirer",
        "currency",
        "de32",
        "de33",
        "rrn",
        "terminal",
        "merchant",
        side=_side(every.state == "opposite"),
        stan=every.link_stan,
        time=every.transmission_time,
        auth=every.auth_code,
        token=every.pan_token,
        content=every.key,
        amount=every.amount_minor,
        day=day_of(every.settlement_date),
        # a standing capture is paired before a request without one
        rank=ibis.ifelse(every.effect_minor != 0, 0, 1).cast("int64"),
    )[["key", *COLUMNS]]


@cache
def _theirs() -> "ir.Table":
    rows = rows_table("incoming_rows")
    reversal, row_id, day = is_reversal(rows), id_of(rows), day_of(rows.settlement_date)
    de32, de33 = institution_of(rows.de32), institution_of(rows.de33)
    return rows.select(
        "acquirer",
        "currency",
        "rrn",
        "terminal",
        "merchant",
        row=row_id,
        side=_side(reversal),
        de32=de32,
        de33=ibis.ifelse(de33 == "", de32, de33),
        stan=ibis.ifelse(reversal, rows.original_stan, rows.stan),
        time=ibis.ifelse(reversal, rows.original_time, rows.transmission_time),
        auth=rows.auth_code,
        token=rows.pan_token,
        content=rows.content + " " + row_id,
        amount=effect_of(rows),
        day=day,
        rank=day,
    )[["row", *COLUMNS]]


def _side(reversal: "ir.BooleanValue") -> "ir.StringValue":
    return ibis.ifelse(reversal, "reversal", "asked")


def day_of(day: "ir.DateValue") -> "ir.IntegerValue":
    """Days since 1970-01-01."""
    return day.delta(ibis.literal(EPOCH), unit="day").cast("int64")


# -- plain, held, odd -----------------------------------------------------------------------------


def _ids(name: str) -> "ir.Table":
    return table_named(name, IDS)


def _met_table() -> "ir.Table":
    return ibis.table(MET, name="met")


@cache
def _touched() -> "ir.Table":
    """Reversal rows, and every row that has the keys one of them names."""
    incoming = rows_table("incoming_rows")
    every = incoming.union(rows_table("mismatched"))
    reversals = every.filter(is_reversal(every))
    named = incoming.semi_join(
        reversals.select(
            "acquirer",
            "currency",
            "de32",
            "de33",
            stan=reversals.original_stan,
            transmission_time=reversals.original_time,
        ),
        ["acquirer", "currency", "de32", "de33", "stan", "transmission_time"],
    )
    own = incoming.filter(is_reversal(incoming))
    return named.select(id=id_of(named)).union(own.select(id=id_of(own)), distinct=True)


@cache
def _met(business_date: date, window_days: int) -> "ir.Table":
    """Pairs not too many settlement days apart. A linked opposite is delivered when the acquirer
    can be reached: its row may be of any later date."""
    found = table_named("pairs", PAIRS)
    ours = _pairing(standing(), waits=False).union(_pairing(ahead(business_date), waits=True))
    rows = rows_table("incoming_rows")
    theirs = rows.select(
        row=id_of(rows), row_effect=effect_of(rows), row_day=day_of(rows.settlement_date)
    )
    met = found.join(ours, "record").join(theirs, "row")
    apart = met.row_day - met.record_day
    met = met.filter((apart.abs() <= window_days) | (met.opposite & (apart > 0)))
    odd = (
        met.row.isin(_ids("touched").id)
        | met.row.isin(_ids("broken").id)
        | met.record.isin(_ids("broken").id)
        | met.opposite
        | ~met.captured
    )
    kind = ibis.cases(
        (odd, "odd"),
        (met.waits, "held"),
        (met.record_effect == met.row_effect, "plain"),
        else_="odd",
    )
    same_day = met.record_day == met.row_day
    return met.mutate(kind=kind, match_class=ibis.ifelse(same_day, "matched", "cutoff_shift"))[
        list(MET)
    ]


def _pairing(records: "ir.Table", *, waits: bool) -> "ir.Table":
    return records.select(
        record=records.key,
        record_effect=records.effect_minor,
        record_day=day_of(records.settlement_date),
        captured=records.effect_minor != 0,
        opposite=records.state == "opposite",
        waits=ibis.literal(waits),
    )


def _load_sent(engine: "Engine", business_date: date) -> None:
    """Whether rows of (MMDD, settlement date) were sent after the business date: few of these."""
    found = cast("list[tuple[str, date]]", engine.rows(_sent_days()))
    later = [(infer_date(day, settled) or settled) > business_date for day, settled in found]
    columns = [[day for day, _ in found], [settled for _, settled in found], later]
    engine.load("sent", pa.table(columns, schema=SENT))


def _month_day(rows: "ir.Table") -> "ir.StringValue":
    return rows.transmission_time.substr(0, 4)


@cache
def _sent_days() -> "ir.Table":
    rows = rows_table("incoming_rows")
    return different(rows.mutate(month_day=_month_day(rows)), "month_day", "settlement_date")


@cache
def _unmet_rows(business_date: date) -> "ir.Table":
    """Rows that no plain or held pair has; `waits`: they plainly belong to a later close."""
    rows = rows_table("incoming_rows")
    met = _met_table()
    identified = rows.select("settlement_date", id=id_of(rows), month_day=_month_day(rows))
    unmet = identified.anti_join(met.filter(met.kind != "odd"), identified.id == met.row)
    dated = unmet.left_join(table_named("sent", SENT), ["month_day", "settlement_date"])
    waits = (
        dated.later
        & (dated.settlement_date > business_date)
        & dated.id.notin(_ids("touched").id)
        & dated.id.notin(_ids("broken").id)
        & dated.id.notin(met.row)
    )
    return dated.select("id", waits=waits)


@cache
def _unmet_records(business_date: date) -> "ir.Table":
    """Captures that no plain pair has, and what else an odd pair has; `waits`: their file is not
    due."""
    every = standing()
    met = _met_table()
    settled = met.filter(met.kind.isin(["plain", "summed"]))
    unmet = every.anti_join(settled, every.key == settled.record)
    held = met.filter((met.kind == "held") & (met.row == ""))  # of a sum that waits
    here = table_named("taken_in", DUE).mutate(here=True)
    dated = unmet.left_join(here, ["acquirer", "settlement_date"])
    captured, paired = dated.effect_minor != 0, dated.key.isin(met.record)
    due = (dated.settlement_date <= business_date) | (dated.here.notnull())
    waits = (
        captured & ~due & (dated.state != "opposite") & dated.key.notin(_ids("broken").id) & ~paired
    )
    waits |= dated.key.isin(held.record)
    return dated.filter(captured | paired).select(id=dated.key, waits=waits)


# -- the rest -------------------------------------------------------------------------------------


def _unmet(name: str) -> "ir.Table":
    return ibis.table(UNMET, name=name)


@cache
def _rest_records() -> "ir.Table":
    every, unmet = standing(), _unmet("unmet_records")
    odd = unmet.filter(~unmet.waits)
    return every.semi_join(odd, every.key == odd.id).order_by("key")


@cache
def _rest_waiting(business_date: date) -> "ir.Table":
    waiting, met = ahead(business_date), _met_table()
    odd = met.filter(met.kind == "odd")
    return waiting.semi_join(odd, waiting.key == odd.record).order_by("key")


def _odd_rows() -> "ir.Table":
    rows, unmet = rows_table("incoming_rows"), _unmet("unmet_rows")
    identified = rows.mutate(id=id_of(rows))
    return identified.semi_join(unmet.filter(~unmet.waits), "id")


@cache
def _rest_rows() -> "ir.Table":
    return _odd_rows().order_by("id")[rows_table("incoming_rows").columns]


@cache
def _neighbours() -> "ir.Table":
    """Rows of plain and held pairs that agree with a row of the rest in all link keys, or in RRN,
    terminal and merchant, and in the amount: what a duplicate has beside it."""
    rows, met = rows_table("incoming_rows"), _met_table()
    settled = met.filter(met.kind != "odd")
    identified = rows.mutate(id=id_of(rows))
    used = _same_keys(identified.semi_join(settled, identified.id == settled.row))
    odd = _same_keys(_odd_rows())
    shared = ["acquirer", "mti_class", "effect"]
    by_link = used.semi_join(odd, [*shared, "de32", "de33", "stan", "transmission_time"])
    known = used.filter(used.rrn != "")
    by_rrn = known.semi_join(odd, [*shared, "rrn", "terminal", "merchant"])
    return by_link.union(by_rrn, distinct=True).order_by("id")[rows.columns]


def _same_keys(rows: "ir.Table") -> "ir.Table":
    columns = [*rows_table("incoming_rows").columns, "id", "mti_class", "effect"]
    return rows.mutate(mti_class=rows.mti.substr(0, 2), effect=effect_of(rows))[columns]


@cache
def _odd_pairs() -> "ir.Table":
    met = _met_table()
    return met.filter(met.kind == "odd").select("rule", "record", "row").order_by("record", "row")


@cache
def _matched() -> "ir.Table":
    met = _met_table()
    plain = met.filter(met.kind == "plain")
    return plain.group_by("match_class").agg(count=plain.count()).order_by("match_class")


def _counts(engine: "Engine") -> dict[str, int]:
    found = {str(name): _int(count) for name, count in engine.rows(_counted())}
    distinct = (found.pop("plain records"), found.pop("plain rows"))
    assert distinct == (found["plain"], found["plain"]), f"something stands in two matches: {found}"
    return found


@cache
def _counted() -> "ir.Table":
    met, every = _met_table(), standing()
    plain = met.filter(met.kind == "plain")
    rows, records = _unmet("unmet_rows"), _unmet("unmet_records")
    counts = {
        "captured": every.filter(every.effect_minor != 0).count(),
        "held": met.filter((met.kind == "held") & (met.row != "")).count(),
        "plain": plain.count(),
        "plain records": plain.record.nunique(),
        "plain rows": plain.row.nunique(),
        "rows": rows_table("incoming_rows").count(),
        "waiting records": records.filter(records.waits).count(),
        "waiting rows": rows.filter(rows.waits).count(),
    }
    lines = [
        count.as_table().rename(count=count.get_name()).mutate(name=ibis.literal(name))
        for name, count in counts.items()
    ]
    return ibis.union(*(line.select("name", "count") for line in lines)).order_by("name")


def matches(versions: dict[str, int], business_date: date) -> "ir.Table":
    """The plain pairs as `matches.Match`, and the lines of sums, each alone."""
    met = _met_table()
    found = met.filter(met.kind.isin(["plain", "summed"]))
    version = ibis.cases(*((found.rule == name, n) for name, n in versions.items()), else_=0)
    return found.select(
        "match_class",
        "rule",
        "record",
        "row",
        business_date=ibis.literal(business_date),
        rule_version=version.cast("int64"),
    )
