"""Our clearing records against the rows of the networks' files.

The matching passes (`settlement.passes`) pair one record with one row; what is plain of that stays in
columns (`settlement.plain`). Here is the rest of a day, one by one: a pair's class follows from the two
states and amounts; what is left over is classed last.

A record that has no success (declined, unknown, pending) is never matched: it explains a
network long, and the row stays open, since the approval may still come on another date.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import date
from typing import Final

import msgspec

from settlement.cases import Break
from settlement.clearing import ClearingRecord, ClearingRow, infer_date
from settlement.matches import Match
from settlement.passes import PASSES
from settlement.plain import Rest
from settlement.sums import SUM_PASSES

VERSIONS: Final = {one.name: one.version for one in (*PASSES, *SUM_PASSES)} | {
    "file-reversal": 1,  # a reversal row and the row it reverses, within the files
    "voided-pair": 1,  # records of one chain that sum to zero and are absent from the files
    "late-opposite": 1,  # a linked opposite of what only an earlier file had reversed
}
# States of a record that say: whatever the acquirer did, we took it back. An outcome `unknown`
# queues its reversal in the same commit (rules section 3), so a billed row says: reversal lost.
TAKEN_BACK: Final = frozenset({"reversed", "unknown"})


class Result(msgspec.Struct, frozen=True):
    """What the rest of a day came to. `matches` settle both sides; `breaks` do not; `carried` wait
    for another date's file."""

    matches: list[Match]
    breaks: list[Break]
    carried_records: list[str]
    carried_rows: list[str]
    still_open: list[str]  # records and rows of earlier breaks, not found this time either
    # rows that the network takes back over two dates -> the date of its other half
    taken_back: dict[str, date]
    # records of earlier mismatches that we have reversed since -> settlement date of the opposite
    reversed_since: dict[str, date]


Paired = Sequence[tuple[str, ClearingRecord, str]]  # rule, record, row
RowPair = tuple[ClearingRow, ClearingRow]  # an original and what reverses it


class _Sheet(msgspec.Struct):
    """What the steps of one close work on: both sides, and what has become of them."""

    business_date: date
    window_days: int
    records: dict[str, ClearingRecord]
    rows: dict[str, ClearingRow]
    broken: Collection[str]
    taken_in: Collection[tuple[str, date]]
    used: set[str] = set()  # record keys and row ids
    matches: list[Match] = []
    breaks: list[Break] = []
    carried_records: list[str] = []
    carried_rows: list[str] = []
    still_open: list[str] = []
    # row -> the rule that paired it with a request of ours without success
    explained: dict[str, tuple[str, ClearingRecord]] = {}

    def match(self, found: str, rule: str, record: str, row: str) -> None:
        self.used |= {record, row} - {""}
        self.matches.append(Match(self.business_date, found, rule, VERSIONS[rule], record, row))

    def due(self, record: ClearingRecord) -> bool:
        """Its file is here, or should be."""
        return (
            record.settlement_date <= self.business_date
            or (record.acquirer, record.settlement_date) in self.taken_in
        )


def reconcile(
    business_date: date,
    rest: Rest,
    *,
    broken: Collection[str] = (),
    mismatched: Sequence[ClearingRow] = (),
    reversed_there: Sequence[ClearingRecord] = (),
    taken_in: Collection[tuple[str, date]] = (),
    window_days: int = 1,
) -> Result:
    """Classes every record and row of a close that is not plain.

    `rest.records` are the date's and the open ones of earlier dates; `rest.waiting` are standing
    captures of later dates: their rows wait for that date's close. `broken` are the records and rows
    of earlier open breaks: they may find their other side, and break no second time. Of earlier
    status mismatches, `mismatched` are the rows that the file bills and a reversal row may still end,
    `reversed_there` the records that only the file had reversed and a linked opposite ends.
    `taken_in` are the (acquirer, settlement date) whose files are here: a record that settles after
    the business date waits only while its file is not. A row that settles and was sent after the
    business date waits, too, and so does a reversal row that settles after it: what it takes back
    may have broken on its own date, and ends on that of the reversal.
    """
    sheet = _Sheet(
        business_date,
        window_days,
        {record.key: record for record in rest.records},
        {row.id: row for row in rest.rows},
        broken,
        taken_in,
    )
    waiting = {record.key: record for record in rest.waiting}
    assert len(sheet.records) == len(rest.records), "a record stands twice"
    assert not waiting.keys() & sheet.records.keys(), "a record stands on two dates"
    assert len(sheet.rows) == len(rest.rows), "a row stands twice"
    paired = [
        (rule, sheet.records.get(key) or waiting[key], row_id) for rule, key, row_id in rest.paired
    ]
    in_file, across = _reversed_in_files(sheet, paired)
    _classify_pairs(sheet, waiting, paired, {original.id for original, _ in (*in_file, *across)})
    later = across + _reversed_later(sheet, (*in_file, *across), mismatched)
    _drop_pairs(sheet, (*in_file, *later))
    _pair_chains(sheet)
    reversed_since = _pair_late_opposites(sheet, reversed_there)
    _classify_rows(sheet, rest.neighbours)
    _classify_records(sheet)
    result = _result(sheet, later, reversed_since)
    _assert_whole(result, rest.records, rest.rows)
    return result


def _reversed_in_files(sheet: _Sheet, paired: Paired) -> tuple[list[RowPair], list[RowPair]]:
    """Originals and reversals of one settlement date, and those across dates that are no new event."""
    rows = sheet.rows.values()
    # A reversal row that a linked opposite of ours meets is an event of its own on both sides;
    # any other takes its original out of the file.
    ours_too = {row_id for _, _, row_id in paired if sheet.rows[row_id].is_reversal}
    in_file = file_reversals([row for row in rows if row.id not in ours_too], same_date=True)
    # What broke on an earlier date, is a request of this one that we took back, and is now taken
    # back by the file, too: the request ends with the break, and is no new one.
    taken_back = {
        row_id for _, one, row_id in paired if not one.captured and one.state in TAKEN_BACK
    } & set(sheet.broken)
    here = ours_too | {row.id for pair in in_file for row in pair}
    across = [
        pair
        for pair in file_reversals([row for row in rows if row.id not in here], same_date=False)
        if pair[0].id in taken_back and pair[1].settlement_date <= sheet.business_date
    ]
    return in_file, across


def _reversed_later(
    sheet: _Sheet, known: Iterable[RowPair], mismatched: Iterable[ClearingRow]
) -> list[RowPair]:
    """Of what no pair has used: originals whose reversal has come with another settlement date."""
    here = {row.id for pair in known for row in pair}
    left = (row for row in sheet.rows.values() if row.id not in sheet.used and row.id not in here)
    return [
        pair
        for pair in file_reversals([*left, *mismatched], same_date=False)
        if not {pair[0].id, pair[1].id} <= set(sheet.broken)  # one is new: its date bears the rest
        and max(row.settlement_date for row in pair) <= sheet.business_date  # else it waits
    ]


def _drop_pairs(sheet: _Sheet, pairs: Iterable[RowPair]) -> None:
    for original, reversal in pairs:
        if original.id in sheet.carried_rows:  # waits for its record, and its reversal with it
            sheet.carried_rows.append(reversal.id)
            sheet.used.add(reversal.id)
        else:
            _drop_reversed(sheet, original, reversal)


def _result(sheet: _Sheet, later: Iterable[RowPair], reversed_since: dict[str, date]) -> Result:
    return Result(
        matches=sorted(sheet.matches, key=lambda one: (one.record, one.row)),
        breaks=sorted(sheet.breaks, key=lambda one: _break_order(one, sheet.rows)),
        carried_records=sorted(sheet.carried_records),
        carried_rows=sorted(sheet.carried_rows),
        still_open=sorted(sheet.still_open),
        taken_back=dict(
            sorted(
                (one.id, other.settlement_date)
                for pair in later
                for one, other in (pair, pair[::-1])
            )
        ),
        reversed_since=reversed_since,
    )


def _classify_pairs(
    sheet: _Sheet,
    waiting: dict[str, ClearingRecord],
    paired: list[tuple[str, ClearingRecord, str]],
    reversed_rows: Collection[str],
) -> None:
    for rule, record, row_id in paired:
        row = sheet.rows[row_id]
        if record.key in waiting:
            sheet.carried_rows.append(row_id)
            sheet.used.add(row_id)
            continue
        found = pair_class(record, row, reversed_in_file=row_id in reversed_rows)
        if found == "network_long":
            sheet.explained[row_id] = (rule, record)
            continue
        sheet.match(found, rule, record.key, row_id)
        if found in ("amount_mismatch", "status_mismatch"):
            standing = 0 if row_id in reversed_rows else row.effect_minor
            sheet.breaks.append(
                break_of(
                    sheet.business_date, found, record, row, record.effect_minor, standing, rule
                )
            )


def _drop_reversed(sheet: _Sheet, original: ClearingRow, reversal: ClearingRow) -> None:
    """A row and its reversal are left out, whatever we know of them. A fee that the network
    keeps of the two is nobody's cost here: a break."""
    rule = "file-reversal"
    for row in (original, reversal):
        if row.id in sheet.rows and row.id not in sheet.used:
            sheet.match("reversed_both", rule, "", row.id)
    if kept := original.fee_minor + reversal.fee_minor:
        new = original if reversal.id in sheet.broken else reversal
        found = break_of(sheet.business_date, "fee_mismatch", None, new, 0, kept, rule)
        sheet.breaks.append(msgspec.structs.replace(found, difference_minor=-kept))


def _pair_chains(sheet: _Sheet) -> None:
    """Records of one chain that sum to zero and that no file has: a network may leave both rows
    of a voided or reversed pair out. Only where every file is here that could have them. Where
    something else of the chain is missing, too, two records that cancel one another are a pair."""
    chains: dict[int, list[ClearingRecord]] = {}
    for record in sheet.records.values():
        if record.captured and record.key not in sheet.used and sheet.due(record):
            chains.setdefault(record.root_request_id, []).append(record)
    for chain in chains.values():
        whole = len(chain) > 1 and sum(record.effect_minor for record in chain) == 0
        for record in chain if whole else _cancelling(chain):
            sheet.match("reversed_both", "voided-pair", record.key, "")


def _cancelling(chain: Sequence[ClearingRecord]) -> list[ClearingRecord]:
    """Each record with the nearest before it that it takes back whole."""
    standing: list[ClearingRecord] = []
    found: list[ClearingRecord] = []
    for record in sorted(chain, key=lambda one: (one.business_date, int(one.key[1:]))):
        other = next((o for o in standing[::-1] if o.effect_minor == -record.effect_minor), None)
        if other is None:
            standing.append(record)
        else:
            standing.remove(other)
            found += [other, record]
    return found


def _pair_late_opposites(
    sheet: _Sheet, reversed_there: Sequence[ClearingRecord]
) -> dict[str, date]:
    """Opposites of what an earlier file had reversed before we did: now both sides have it so."""
    mismatch = {(record.request_id, -record.effect_minor): record for record in reversed_there}
    found: dict[str, date] = {}
    for record in sheet.records.values():
        if record.state == "opposite" and record.key not in sheet.used:
            ended = mismatch.pop((record.request_id, record.effect_minor), None)
            if ended is not None:
                sheet.match("reversed_both", "late-opposite", record.key, "")
                found[ended.key] = record.settlement_date
    return dict(sorted(found.items()))


def _classify_rows(sheet: _Sheet, neighbours: Sequence[ClearingRow]) -> None:
    """What no record and no reversal met."""
    settled = [*neighbours, *(row for row in sheet.rows.values() if row.id in sheet.used)]
    known_keys = {(row.acquirer, *keys) for row in settled for keys in _same(row)}
    for row in sorted(sheet.rows.values(), key=_content_order):
        if row.id in sheet.used:
            continue
        if row.id in sheet.broken:
            sheet.still_open.append(row.id)
        elif row.settlement_date > sheet.business_date and (
            row.is_reversal or _sent_on(row) > sheet.business_date
        ):
            sheet.carried_rows.append(row.id)
        else:
            rule, known = sheet.explained.get(row.id, ("", None))
            found = _row_class(row, known, known_keys)
            sheet.breaks.append(
                break_of(sheet.business_date, found, known, row, None, row.effect_minor, rule)
            )


def _classify_records(sheet: _Sheet) -> None:
    """What no row met. A record waits for its file; a linked opposite one window longer, because
    the reversal itself may not have reached the acquirer yet."""
    for record in sheet.records.values():
        if record.key in sheet.used or not record.captured:
            continue
        waited = (sheet.business_date - record.settlement_date).days
        if record.key in sheet.broken:
            sheet.still_open.append(record.key)
        elif not sheet.due(record) or (record.state == "opposite" and waited < sheet.window_days):
            sheet.carried_records.append(record.key)
        else:
            sheet.breaks.append(
                break_of(
                    sheet.business_date,
                    "network_short",
                    record,
                    None,
                    record.effect_minor,
                    None,
                    "",
                )
            )


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


def file_reversals(
    rows: Sequence[ClearingRow], *, same_date: bool
) -> list[tuple[ClearingRow, ClearingRow]]:
    """(a row, the reversal row of the same amount that names it), each row once.

    With `same_date`, only within one settlement date: a pair over two dates settles on both.
    """

    def key(row: ClearingRow, stan: str, time: str) -> tuple[object, ...]:
        day = row.settlement_date if same_date else None
        return (row.acquirer, day, row.currency, row.de32, row.de33, stan, time)

    originals: dict[tuple[object, ...], list[ClearingRow]] = {}
    found: list[tuple[ClearingRow, ClearingRow]] = []
    in_order = sorted(rows, key=_content_order)
    for row in in_order:
        if not row.is_reversal:
            named = (*key(row, row.stan, row.transmission_time), row.effect_minor)
            originals.setdefault(named, []).append(row)
    for row in in_order:
        if row.is_reversal:
            named = (*key(row, row.original_stan, row.original_time), -row.effect_minor)
            if left := originals.get(named):
                found.append((left.pop(0), row))
    return found


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
    keys, evidence = _named(record, row)
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


def _named(
    record: ClearingRecord | None, row: ClearingRow | None
) -> tuple[dict[str, str], dict[str, str]]:
    """Keys and evidence; of what both sides have, the row's trace and the record's place."""
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
    return keys, evidence


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
