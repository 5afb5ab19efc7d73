"""Our clearing records against the rows of the networks' files.

Theory of operation. Passes run in order; each pairs what the earlier ones left, one record with
one row, on equal keys. Where a key stands several times on a side, its n-th record meets its n-th
row, counted in an order that depends on content alone, so shuffled or split files give the same
pairs. A pair's class follows from the two states and amounts; what is left over is classed last.

    pass           keys equal on both sides
    exact          DE 32, 33, 11, 7 and the amount
    exact-keys     DE 32, 33, 11, 7
    rrn            RRN, terminal, merchant, amount
    auth-day       authorisation code, PAN token, amount, same settlement day
    auth-next-day  ... the row one settlement day later
    auth-prev-day  ... the row one settlement day earlier

A record that has no success (declined, unknown, pending) is never matched: it explains a
network long, and the row stays open, since the approval may still come on another date.
The passes are ibis expressions, so the same text runs on DuckDB and on Spark.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import date
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

import ibis  # type: ignore[import-untyped]
import msgspec
import pyarrow as pa  # type: ignore[import-untyped]

from settlement.cases import Break
from settlement.clearing import ClearingRecord, ClearingRow, infer_date, institution

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
EXACT_KEYS: Final = (*SIDE, "de32", "de33", "stan", "time")
PASSES: Final = (
    Pass("exact", 1, (*EXACT_KEYS, "amount")),
    Pass("exact-keys", 1, EXACT_KEYS),
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
VERSIONS: Final = {one.name: one.version for one in PASSES} | {
    "file-reversal": 1,  # a reversal row and the row it reverses, within the files
    "voided-pair": 1,  # records of one chain that sum to zero and are absent from the files
}
# States of a record that say: whatever the acquirer did, we took it back. An outcome `unknown`
# queues its reversal in the same commit (rules section 3), so a billed row says: reversal lost.
TAKEN_BACK: Final = frozenset({"reversed", "unknown"})


class Match(msgspec.Struct, frozen=True):
    """One disposition: a record with a row, or either alone where its pair is on its own side."""

    business_date: date
    match_class: str
    rule: str
    rule_version: int
    record: str  # key, or ""
    row: str  # id, or ""


class Result(msgspec.Struct, frozen=True):
    """`matches` settle both sides; `breaks` do not. `carried` wait for another date's file."""

    matches: list[Match]
    breaks: list[Break]
    carried_records: list[str]
    carried_rows: list[str]
    still_open: list[str]  # records and rows of earlier breaks, not found this time either
    # rows of earlier breaks that the network takes back itself -> settlement date of that
    taken_back: dict[str, date]


def reconcile(
    business_date: date,
    records: Sequence[ClearingRecord],
    rows: Sequence[ClearingRow],
    engine: "Engine",
    *,
    ahead: Sequence[ClearingRecord] = (),
    broken: Collection[str] = (),
    mismatched: Sequence[ClearingRow] = (),
    taken_in: Collection[tuple[str, date]] = (),
    window_days: int = 1,
) -> Result:
    """Classes every record and row of a close.

    `records` are the date's and the open ones of earlier dates; `ahead` are standing captures of
    later dates: their rows wait for that date's close. `broken` are the records and rows of earlier
    open breaks: they may find their other side, and break no second time; `mismatched` are the rows
    of earlier status mismatches, which a reversal row may still end. `taken_in` are the (acquirer,
    settlement date) whose files are here: a record that settles after the business date waits only
    while its file is not. A row that settles and was sent after the business date waits, too.
    """
    ours = {record.key: record for record in (*records, *ahead)}
    theirs = {row.id: row for row in rows}
    assert len(ours) == len(records) + len(ahead), "a record stands twice"
    assert len(theirs) == len(rows), "a row stands twice"
    waiting = {record.key for record in ahead}

    reversed_rows, reversal_rows = file_reversals(rows, same_date=True)
    paired = pairs(ours.values(), (r for r in rows if r.id not in reversal_rows), engine)
    matches: list[Match] = []
    breaks: list[Break] = []
    carried_rows: list[str] = []
    still_open: list[str] = []
    used_records: set[str] = set()
    used_rows: set[str] = set()
    explained: dict[str, ClearingRecord] = {}  # row -> our request without success

    for rule, key, row_id in paired:
        record, row = ours[key], theirs[row_id]
        if abs((row.settlement_date - record.settlement_date).days) > window_days:
            continue
        if key in waiting:
            carried_rows.append(row_id)
            used_rows.add(row_id)
            used_records.add(key)
            continue
        found = pair_class(record, row, reversed_in_file=row_id in reversed_rows)
        if found == "network_long":
            explained[row_id] = record
            continue
        used_records.add(key)
        used_rows.add(row_id)
        matches.append(Match(business_date, found, rule, VERSIONS[rule], key, row_id))
        if found in ("amount_mismatch", "status_mismatch"):
            standing = 0 if row_id in reversed_rows else row.effect_minor
            breaks.append(
                break_of(business_date, found, record, row, record.effect_minor, standing, rule)
            )

    # Rows that the file itself reverses: both are left out, whatever we know of them.
    gone = used_rows | reversed_rows.keys() | reversal_rows
    left = [row for row in rows if row.id not in gone]
    reversed_later, later_reversals = file_reversals([*left, *mismatched], same_date=False)
    for row_id in sorted({*reversed_rows, *reversal_rows, *reversed_later, *later_reversals}):
        if row_id in theirs and row_id not in used_rows:
            used_rows.add(row_id)
            rule = "file-reversal"
            matches.append(Match(business_date, "reversed_both", rule, VERSIONS[rule], "", row_id))

    _voided_pairs(business_date, records, used_records, matches)
    matched_keys = {
        (row.acquirer, *keys)
        for row_id in used_rows
        for row in (theirs[row_id],)
        for keys in _same(row)
    }
    for row in sorted(rows, key=_content_order):
        if row.id in used_rows:
            continue
        if row.id in broken:
            still_open.append(row.id)
        elif row.settlement_date > business_date and _sent_on(row) > business_date:
            carried_rows.append(row.id)
        else:
            known = explained.get(row.id)
            found = _row_class(row, known, matched_keys)
            breaks.append(break_of(business_date, found, known, row, None, row.effect_minor, ""))
    carried_records: list[str] = []
    for record in records:
        if record.key in used_records or not record.captured:
            continue
        if record.key in broken:
            still_open.append(record.key)
        # A record of a settlement date whose file is not here yet waits, silently.
        elif (
            record.settlement_date > business_date
            and (record.acquirer, record.settlement_date) not in taken_in
        ):
            carried_records.append(record.key)
        else:
            breaks.append(
                break_of(
                    business_date, "network_short", record, None, record.effect_minor, None, ""
                )
            )
    result = Result(
        matches=sorted(matches, key=lambda one: (one.record, one.row)),
        breaks=sorted(breaks, key=lambda one: _break_order(one, theirs)),
        carried_records=sorted(carried_records),
        carried_rows=sorted(carried_rows),
        still_open=sorted(still_open),
        taken_back=dict(sorted(reversed_later.items())),
    )
    _assert_whole(result, records, rows)
    return result


def pair_class(record: ClearingRecord, row: ClearingRow, *, reversed_in_file: bool) -> str:
    """The class of a pair, by both states.

    ours        file        class
    captured    billed      matched, cutoff_shift or amount_mismatch
    captured    reversed    status_mismatch
    taken back  billed      status_mismatch
    taken back  reversed    reversed_both
    no success  billed      network_long
    no success  reversed    reversed_both
    """
    if reversed_in_file:
        return "status_mismatch" if record.captured else "reversed_both"
    if not record.captured:
        return "status_mismatch" if record.state in TAKEN_BACK else "network_long"
    if record.effect_minor != row.effect_minor:
        return "amount_mismatch"
    return "matched" if record.settlement_date == row.settlement_date else "cutoff_shift"


def pairs(
    records: Iterable[ClearingRecord], rows: Iterable[ClearingRow], engine: "Engine"
) -> list[tuple[str, str, str]]:
    """(rule, record key, row id) of every pass, in order of the record's key."""
    engine.load("ours", record_table(records))
    engine.load("theirs", row_table(rows))
    found: list[tuple[str, str, str]] = []
    for one in PASSES:
        plan = pass_plan(one)
        engine.keep("pair", plan.pair)
        found += [(one.name, str(key), str(row)) for key, row in engine.rows(plan.found)]
        engine.keep("ours", plan.ours_left)
        engine.keep("theirs", plan.theirs_left)
    return sorted(found, key=lambda line: line[1:])


class PassPlan(NamedTuple):
    """A pass as expressions over the tables `ours`, `theirs` and its own result `pair`."""

    pair: "ir.Table"
    found: "ir.Table"
    ours_left: "ir.Table"
    theirs_left: "ir.Table"


@cache
def pass_plan(one: Pass) -> PassPlan:
    """Built once a process: building and compiling cost more than a small day's rows."""
    shared = dict.fromkeys(TEXT_COLUMNS, "string") | dict.fromkeys(NUMBER_COLUMNS, "int64")
    ours = ibis.table({"key": "string", **shared}, name="ours")
    theirs = ibis.table({"row": "string", **shared}, name="theirs")
    pair = ibis.table({"key": "string", "row": "string"}, name="pair")
    left, right = _numbered(ours, one, one.day_shift or 0), _numbered(theirs, one, 0)
    on = [*one.keys, "nth"] + (["matching_day"] if one.day_shift is not None else [])
    return PassPlan(
        pair=left.join(right, on).select("key", "row"),
        found=pair.order_by("key"),
        ours_left=ours.anti_join(pair, "key"),
        theirs_left=theirs.anti_join(pair, "row"),
    )


def _numbered(side: "ir.Table", one: Pass, day_shift: int) -> "ir.Table":
    """The side's rows that have every key, numbered within equal keys by content alone."""
    present = [side[key] != "" for key in one.keys if key in TEXT_COLUMNS]
    keyed = side.filter(present)
    names = list(one.keys)
    if one.day_shift is not None:
        keyed = keyed.mutate(matching_day=keyed.day + day_shift)
        names.append("matching_day")
    window = ibis.window(
        group_by=[keyed[name] for name in names], order_by=[keyed.rank, keyed.content]
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


def file_reversals(
    rows: Sequence[ClearingRow], *, same_date: bool
) -> tuple[dict[str, date], set[str]]:
    """(rows reversed within the files -> settlement date of that, the reversals that did it).

    With `same_date`, only within one settlement date: a pair over two dates settles on both.
    """
    originals: dict[tuple[object, ...], list[str]] = {}
    for row in sorted(rows, key=_content_order):
        if not row.is_reversal:
            day = row.settlement_date if same_date else None
            key = (row.acquirer, day, row.de32, row.de33, row.stan, row.transmission_time)
            originals.setdefault(key, []).append(row.id)
    reversed_rows: dict[str, date] = {}
    reversal_rows: set[str] = set()
    for row in sorted(rows, key=_content_order):
        if row.is_reversal:
            day = row.settlement_date if same_date else None
            key = (row.acquirer, day, row.de32, row.de33, row.original_stan, row.original_time)
            if left := originals.get(key):
                reversed_rows[left.pop(0)] = row.settlement_date
                reversal_rows.add(row.id)
    return reversed_rows, reversal_rows


def _voided_pairs(
    business_date: date,
    records: Sequence[ClearingRecord],
    used: set[str],
    matches: list[Match],
) -> None:
    # A network may leave both rows of a voided or reversed pair out of its file.
    chains: dict[int, list[ClearingRecord]] = {}
    for record in records:
        if record.captured:
            chains.setdefault(record.root_request_id, []).append(record)
    for chain in chains.values():
        left = [record for record in chain if record.key not in used]
        if len(left) > 1 and sum(record.effect_minor for record in left) == 0:
            for record in left:
                used.add(record.key)
                matches.append(
                    Match(
                        business_date,
                        "reversed_both",
                        "voided-pair",
                        VERSIONS["voided-pair"],
                        record.key,
                        "",
                    )
                )


def _sent_on(row: ClearingRow) -> date:
    return infer_date(row.transmission_time[:4], row.settlement_date) or row.settlement_date


def _same(row: ClearingRow) -> list[tuple[str, ...]]:
    kind = row.mti[:2]
    keys: list[tuple[str, ...]] = [
        (kind, row.de32, row.de33, row.stan, row.transmission_time, str(row.effect_minor))
    ]
    if row.rrn:
        keys.append((kind, row.rrn, row.terminal, row.merchant, str(row.effect_minor)))
    return keys


def _row_class(
    row: ClearingRow,
    known: ClearingRecord | None,
    matched: set[tuple[str, ...]],
) -> str:
    if any((row.acquirer, *keys) in matched for keys in _same(row)):
        return "duplicate"
    if row.effect_minor < 0 and known is None:
        return "orphan_refund"
    return "network_long"


def break_of(
    business_date: date,
    found: str,
    record: ClearingRecord | None,
    row: ClearingRow | None,
    ours_minor: int | None,
    theirs_minor: int | None,
    rule: str,
) -> Break:
    keys: dict[str, str] = {}
    evidence: dict[str, str] = {}
    if row is not None:
        keys = {
            "merchant": row.merchant,
            "terminal": row.terminal,
            "rrn": row.rrn,
            "link_stan": row.stan,
            "transmission_time": row.transmission_time,
            "pan_masked": row.pan_masked,
        }
        evidence = {"file": row.file, "line": str(row.line), "mti": row.mti}
    if record is not None:
        keys |= {
            "merchant": record.merchant,
            "terminal": record.terminal,
            "batch": f"{record.batch:06d}",
            "stan": f"{record.stan:06d}",
            "request_id": str(record.request_id),
            "pan_masked": record.pan_masked,
        }
        if row is None:
            keys |= {
                "rrn": record.rrn,
                "link_stan": record.link_stan,
                "transmission_time": record.transmission_time,
            }
        evidence |= {"type": record.type, "state": record.state}
    if rule:
        evidence["rule"] = f"{rule}/{VERSIONS[rule]}"
    settlement_date = row.settlement_date if row else record.settlement_date if record else None
    source = row or record
    assert source is not None
    # Where no capture of ours bears the row's fee as cost, what we gain is net of it.
    unborne = row is not None and theirs_minor and not (record and record.captured)
    fee = row.fee_minor if row and unborne else 0
    return Break(
        id="",
        business_date=business_date,
        break_class=found,
        acquirer=source.acquirer,
        currency=source.currency,
        keys=dict(sorted(keys.items())),
        ours_minor=ours_minor,
        theirs_minor=theirs_minor,
        record=record.key if record else "",
        row=row.id if row else "",
        evidence=dict(sorted(evidence.items())),
        settlement_date=settlement_date,
        merchant=keys.get("merchant", ""),
        difference_minor=(theirs_minor or 0) - fee - (ours_minor or 0),
    )


def _content_order(row: ClearingRow) -> tuple[bytes, str, str, int]:
    return (row.content, row.acquirer, row.file, row.line)


def _break_order(
    one: Break, theirs: dict[str, ClearingRow]
) -> tuple[str, str, str, str, bytes, str]:
    row = theirs.get(one.row)
    content = row.content if row else b""
    return (one.acquirer, one.break_class, one.merchant, one.record, content, one.row)


def _assert_whole(
    result: Result, records: Sequence[ClearingRecord], rows: Sequence[ClearingRow]
) -> None:
    # matched + open = both sides, and nothing stands in two matches
    matched_records = [one.record for one in result.matches if one.record]
    matched_rows = [one.row for one in result.matches if one.row]
    assert len(set(matched_records)) == len(matched_records), "a record stands in two matches"
    assert len(set(matched_rows)) == len(matched_rows), "a row stands in two matches"
    alone = {"network_short"}
    open_records = [one.record for one in result.breaks if one.break_class in alone]
    captured = [record.key for record in records if record.captured]
    taken = set(matched_records)
    still = set(result.still_open)
    assert sorted(
        [key for key in captured if key in taken or key in still]
        + open_records
        + result.carried_records
    ) == sorted(captured), "a record is neither matched nor open"
    alone = {"network_long", "duplicate", "orphan_refund"}
    open_rows = [one.row for one in result.breaks if one.break_class in alone]
    again = [row.id for row in rows if row.id in still]
    assert sorted(matched_rows + open_rows + result.carried_rows + again) == sorted(
        row.id for row in rows
    ), "a row is neither matched nor open"
