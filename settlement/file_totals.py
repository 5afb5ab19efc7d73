"""The networks' own sums of a settlement date (ZSUM, ZPSUM) against what our records come to.

Every close keeps the sums of its records by merchant and settlement date. A record that the network
settles on a neighbouring date counts there; records that cancel one another, which no file has,
count nowhere. So the sums of a settlement date stand once its window has passed, and the close that
reaches its end compares them with the date's files: all merchants of one type of file at once, and
again when another file of that type comes. A difference is a break that moves no money: what it
consists of is either found row by row, too, or the network's files do not agree with one another.
A file that is not there is never compared.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import ibis  # type: ignore[import-untyped]

from settlement import plain
from settlement.cases import Break, Resolution
from settlement.columns import schema_of
from settlement.files.rows import FileRow, MerchantTotal, PayoutLine
from settlement.kept_sums import SettledSum
from settlement.matches import Match
from settlement.records import exact, records_table, table_named
from settlement.rows import id_of, rows_table

if TYPE_CHECKING:
    import ibis.expr.types as ir  # type: ignore[import-untyped]

    from settlement.clearing import IncomingFile
    from settlement.ports import Engine
    from settlement.run import Run

CLASS: Final = "file_totals"
# type of file -> what its rows are
SUMMED: Final[dict[str, type[FileRow]]] = {"ZSUM": MerchantTotal, "ZPSUM": PayoutLine}
NAMED_MAX: Final = 10  # merchants that a break names


class Compared(NamedTuple):
    """What a close adds: its own sums, what differs, and breaks that a new comparison replaces."""

    sums: list[SettledSum]
    files: int  # how many types of file and settlement dates were compared
    breaks: list[Break]
    resolutions: list[Resolution]


class Group(NamedTuple):
    """The files of one type and settlement date."""

    acquirer: str
    settlement_date: date
    type: str


async def check_file_totals(run: "Run", open_breaks: Iterable[Break]) -> Compared:
    """The networks' sums that are due. Records, rows and matches of the date are in the engine."""
    sums = settled_sums(run.engine)
    due = await _due(run)
    days = {group.settlement_date for group in due}
    ours = [one for one in sums if one.settlement_date in days]
    ours += await run.store.settled_before(run.date, days) if days else []
    breaks: list[Break] = []
    for group, names in sorted(due.items()):
        day = group.settlement_date
        kind = SUMMED[group.type].kind
        theirs = [
            row
            for row in await run.store.file_rows(kind, day, day)
            if row.acquirer == group.acquirer
        ]
        home = str(run.tariffs.link(group.acquirer).get("currency") or run.settings.currency)
        breaks += compare(run.date, group, names, ours, theirs, home)
    resolutions = [
        Resolution(one.id, run.date, "compared again", one.settlement_date)
        for one in open_breaks
        if one.break_class == CLASS
        and one.settlement_date is not None
        and Group(one.acquirer, one.settlement_date, one.keys["type"]) in due
    ]
    return Compared(sums, len(due), breaks, resolutions)


async def _due(run: "Run") -> dict[Group, list[str]]:
    """Files whose sums this close compares, by name: the last of them has come, and the window of
    their settlement date has passed."""
    last = {
        (one.acquirer, one.name): one  # by version
        for one in await run.store.files_between(date.min, date.max)
        if one.type in SUMMED and one.business_date <= run.date
    }
    found: dict[Group, list[IncomingFile]] = {}
    for one in last.values():
        found.setdefault(Group(one.acquirer, one.settlement_date, one.type), []).append(one)
    earlier = run.date - timedelta(days=run.settings.offset_days)
    window = timedelta(days=run.settings.window_days)
    return {
        group: sorted(file.name for file in files)
        for group, files in found.items()
        if earlier
        < max(group.settlement_date + window, *(file.business_date for file in files))
        <= run.date
    }


# -- ours -----------------------------------------------------------------------------------------


def settled_sums(engine: "Engine") -> list[SettledSum]:
    """What the close adds to the sums of its own and the neighbouring settlement dates."""
    return [SettledSum(*cast("Any", line)) for line in engine.rows(_settled_sums())]


@cache
def _settled_sums() -> "ir.Table":
    records = _captured(records_table("records"))
    matches = table_named("matches", schema_of(Match))
    standing = _captured(plain.standing())
    settled = standing.join(matches.select("match_class", "row", key=matches.record), "key")
    cancelled = settled.filter(settled.match_class == "reversed_both")
    rows = rows_table("incoming_rows")
    days = rows.select(row=id_of(rows), day=rows.settlement_date)
    # what is plainly matched has its row on its own date
    paired = settled.filter(~settled.match_class.isin(["matched", "reversed_both"]))
    shifted = paired.join(days, "row").filter(lambda one: one.day != one.settlement_date)
    every = ibis.union(
        _lines(records, records.settlement_date, 1),
        _lines(cancelled, cancelled.settlement_date, -1),
        _lines(shifted, shifted.settlement_date, -1),
        _lines(shifted, shifted.day, 1),
    )
    keys = [name for name in SettledSum.__struct_fields__ if name not in ("count", "amount_minor")]
    sums = every.group_by(keys).agg(
        count=exact(every.number.sum()), amount_minor=exact(every.amount_minor.sum())
    )
    return sums.filter((sums["count"] != 0) | (sums.amount_minor != 0)).order_by(keys)


def _captured(records: "ir.Table") -> "ir.Table":
    return records.filter(records.effect_minor != 0)


def _lines(records: "ir.Table", day: "ir.Value", sign: int) -> "ir.Table":
    """A linked opposite takes its sale away."""
    once = ibis.ifelse(records.state == "opposite", -sign, sign).cast("int64")
    return records.select(
        "acquirer",
        "currency",
        "merchant",
        settlement_date=day,
        number=once,
        amount_minor=records.effect_minor * sign,
    )


# -- against theirs -------------------------------------------------------------------------------

Sums = dict[str, tuple[int, int]]  # merchant -> (count, amount)


def compare(
    business_date: date,
    group: Group,
    names: Sequence[str],
    ours: Iterable[SettledSum],
    theirs: Iterable[FileRow],
    home: str,
) -> list[Break]:
    """A break for each currency in which a merchant differs. A ZSUM counts nothing, so only its
    amounts are compared. `home` is the files' currency where they have no line at all."""
    booked: dict[str, Sums] = {}
    for one in ours:
        if (one.acquirer, one.settlement_date) == (group.acquirer, group.settlement_date):
            _add(booked, one.currency, one.merchant, one.count, one.amount_minor)
    told: dict[str, Sums] = {home: {}}
    for row in theirs:
        _add(told, row.currency, row.merchant, getattr(row, "count", 0), row.amount_minor)
    breaks = []
    for currency in sorted(told):
        found = _differing(booked.get(currency, {}), told[currency], group.type)
        if found:
            sides = booked.get(currency, {}), told[currency]
            breaks.append(_break(business_date, group, names, currency, *sides, found))
    return breaks


def _add(sums: dict[str, Sums], currency: str, merchant: str, count: int, amount: int) -> None:
    of = sums.setdefault(currency, {})
    before = of.get(merchant, (0, 0))
    of[merchant] = (before[0] + count, before[1] + amount)


def _differing(ours: Mapping[str, tuple[int, int]], theirs: Sums, type_: str) -> list[str]:
    counted = type_ == "ZPSUM"
    return [
        merchant
        for merchant in sorted(ours.keys() | theirs.keys())
        for (count, amount), (their_count, their_amount) in [
            (ours.get(merchant, (0, 0)), theirs.get(merchant, (0, 0)))
        ]
        if amount != their_amount or (counted and count != their_count)
    ]


def _break(
    business_date: date,
    group: Group,
    names: Sequence[str],
    currency: str,
    ours: Sums,
    theirs: Sums,
    differing: Sequence[str],
) -> Break:
    counts = {
        "ours_count": str(sum(count for count, _ in ours.values())),
        "file_count": str(sum(count for count, _ in theirs.values())),
    }
    named = {
        f"merchant_{number:02d}": f"{merchant}: {ours.get(merchant, (0, 0))[1]}"
        f" / {theirs.get(merchant, (0, 0))[1]}"
        for number, merchant in enumerate(differing[:NAMED_MAX], 1)
    }
    return Break(
        id="",
        business_date=business_date,
        break_class=CLASS,
        acquirer=group.acquirer,
        currency=currency,
        keys={
            "type": group.type,
            "settlement_date": group.settlement_date.isoformat(),
            "files": " ".join(names),
        },
        ours_minor=sum(amount for _, amount in ours.values()),
        theirs_minor=sum(amount for _, amount in theirs.values()),
        evidence={
            **(counts if group.type == "ZPSUM" else {}),
            "merchants": str(len(differing)),
            **named,
        },
        settlement_date=group.settlement_date,
    )
