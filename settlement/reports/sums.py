"""Matches of one line with several: which lines of either side belong together, and by which rule."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Final, overload

import msgspec
import pyarrow as pa  # type: ignore[import-untyped]

from settlement.clearing import ClearingRecord, ClearingRow
from settlement.columns import table_of
from settlement.matches import Member
from settlement.ports import Store
from settlement.reports.model import Column, Money, Report, Row, Table, words

AT_ONCE: Final = 5_000  # lines that are objects at one time


class SumLine(msgspec.Struct, frozen=True):
    """A line of such a match, with what it says."""

    business_date: date
    match_id: str
    rule: str  # with its version
    side: str
    member: str
    merchant: str
    terminal: str
    rrn: str
    currency: str
    amount_minor: int


class SumLines(Sequence[Row]):
    """Lines as the rows of their table. They stay in columns, and a row is made when it is asked for: a
    network that settles in sums alone brings as many as a date has transactions."""

    def __init__(self, held: pa.Table) -> None:
        self._held = held

    def __len__(self) -> int:
        return int(self._held.num_rows)

    def __iter__(self) -> Iterator[Row]:
        for batch in self._held.to_batches(AT_ONCE):
            for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                yield _row(SumLine(*values))

    @overload
    def __getitem__(self, place: int) -> Row: ...

    @overload
    def __getitem__(self, place: slice) -> "SumLines": ...

    def __getitem__(self, place: int | slice) -> "Row | SumLines":
        if isinstance(place, int):
            return next(iter(self[range(len(self))[place] :]))
        first, end, step = place.indices(len(self))
        assert step == 1, "every row of a stretch"
        return SumLines(self._held.slice(first, max(0, end - first)))


def _row(one: SumLine) -> Row:
    return (
        one.business_date,
        one.match_id,
        one.rule,
        one.side,
        words(f"side_{one.side}"),
        one.member,
        one.merchant,
        one.terminal,
        one.rrn,
        one.currency,
        Money(one.amount_minor, one.currency),
    )


async def lines_of(store: Store, business_date: date) -> SumLines:
    """In order of match, side and line."""
    found = [table_of(SumLine, ())]
    every = await store.members(business_date)
    for first in range(0, len(every), AT_ONCE):
        members = every[first : first + AT_ONCE]
        records = await store.records_by_key([one.member for one in members if one.side == "ours"])
        rows = await store.rows_by_id([one.member for one in members if one.side == "theirs"])
        lines = [
            _line(one, records[one.member] if one.side == "ours" else rows[one.member])
            for one in members
        ]
        found.append(table_of(SumLine, lines))
    return SumLines(pa.concat_tables(found))


def _line(one: Member, said: ClearingRecord | ClearingRow) -> SumLine:
    return SumLine(
        business_date=one.business_date,
        match_id=one.match_id,
        rule=f"{one.rule}/{one.rule_version}",
        side=one.side,
        member=one.member,
        merchant=said.merchant,
        terminal=said.terminal,
        rrn=said.rrn,
        currency=said.currency,
        amount_minor=said.effect_minor,
    )


def report(business_date: date, at: datetime, lines: SumLines) -> Report:
    return Report("report_sums", business_date.isoformat(), at, (table(lines),))


def table(lines: SumLines) -> Table:
    columns = (
        Column("business_date", shown="data"),
        Column("match", "small"),
        Column("rule", text="match_rule"),
        Column("side", shown="data"),
        Column("side_name", shown="page", text="side"),
        Column("line", "small"),
        Column("merchant"),
        Column("terminal"),
        Column("rrn"),
        Column("currency", shown="data"),
        Column("amount", "money"),
    )
    return Table("sums", columns, lines, more_in="sums.csv")
