"""Matches of one line with several: which lines of either side belong together, and by which rule."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final

import msgspec

from settlement.matches import Member
from settlement.ports import Store
from settlement.reports.model import Column, Money, Report, Table
from settlement.texts import both

AT_ONCE: Final = 5_000  # lines whose records and rows are held at one time


class SumLine(msgspec.Struct, frozen=True):
    """A line of such a match, with what it says."""

    member: Member
    merchant: str
    terminal: str
    rrn: str
    amount_minor: int
    currency: str


async def lines_of(store: Store, business_date: date) -> list[SumLine]:
    """In order of match, side and line."""
    found: list[SumLine] = []
    every = await store.members(business_date)
    for first in range(0, len(every), AT_ONCE):
        members = every[first : first + AT_ONCE]
        records = await store.records_by_key([one.member for one in members if one.side == "ours"])
        rows = await store.rows_by_id([one.member for one in members if one.side == "theirs"])
        for one in members:
            line = records[one.member] if one.side == "ours" else rows[one.member]
            found.append(
                SumLine(
                    one, line.merchant, line.terminal, line.rrn, line.effect_minor, line.currency
                )
            )
    return found


def report(business_date: date, at: datetime, lines: Sequence[SumLine]) -> Report:
    return Report("report_sums", business_date.isoformat(), at, (table(lines),))


def table(lines: Sequence[SumLine]) -> Table:
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
    rows = [
        (
            one.member.business_date,
            one.member.match_id,
            f"{one.member.rule}/{one.member.rule_version}",
            one.member.side,
            both(f"side_{one.member.side}"),
            one.member.member,
            one.merchant,
            one.terminal,
            one.rrn,
            one.currency,
            Money(one.amount_minor, one.currency),
        )
        for one in lines
    ]
    return Table("sums", columns, rows, more_in="sums.csv")
