"""One merchant's settlement report of a date: its net, its transactions by type, and each of them."""

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Final

from settlement.fee_book import DETAIL
from settlement.netting import Net
from settlement.reports.day import NET_COLUMNS, net_cells
from settlement.reports.model import Cell, Column, Money, Report, Row, Table, totals, words

_MONEY: Final = ("effect_minor", "discount_minor", "net_minor")
_PAGE: Final = frozenset(
    {"terminal", "stan", "rrn", "type", "pan_masked", "card_type", *_MONEY, "match"}
)

HEADING: Final = (",".join(DETAIL) + "\n").encode()


def report(
    business_date: date,
    at: datetime,
    merchant: str,
    name: str,
    nets: Sequence[Net],
    detail: bytes,
) -> Report:
    """`detail` is what `FeeBook.detail` wrote of the merchant."""
    columns = tuple(_columns())
    rows = list(_rows(detail))
    records = Table(
        "records",
        columns,
        rows,
        totals(rows, columns, words("total")),
        f"settlement/{merchant}.csv",
    )
    subject = f"{business_date.isoformat()} {name} {merchant}"
    return Report("report_merchant", subject, at, (_net(nets), _by_type(rows), records))


def _columns() -> Iterator[Column]:
    for name in DETAIL:
        shown: str = "all" if name in _PAGE else "data"
        if name in _MONEY:
            yield Column(name.removesuffix("_minor"), "money")
        elif shown == "all":
            yield Column(name)
        else:
            yield Column(name, shown="data")


def _rows(detail: bytes) -> Iterator[tuple[Cell, ...]]:
    currency = DETAIL.index("currency")
    for line in csv.reader(io.StringIO(detail.decode(), newline="")):
        yield tuple(
            Money(int(cell), line[currency]) if name in _MONEY else cell
            for name, cell in zip(DETAIL, line, strict=True)
        )


def _net(nets: Sequence[Net]) -> Table:
    columns = (
        Column("currency"),
        *NET_COLUMNS,
    )
    rows: list[Row] = [
        (
            net.currency,
            *net_cells(net),
        )
        for net in nets
    ]
    return Table("merchants", columns, rows)


def _by_type(rows: Sequence[Sequence[Cell]]) -> Table:
    kind, currency = DETAIL.index("type"), DETAIL.index("currency")
    sums: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        line = sums.setdefault((str(row[kind]), str(row[currency])), [0, 0, 0, 0])
        line[0] += 1
        for place, name in enumerate(_MONEY, 1):
            cell = row[DETAIL.index(name)]
            assert isinstance(cell, Money)
            line[place] += cell.amount_minor or 0
    columns = (
        Column("type"),
        Column("currency"),
        Column("count", "count"),
        Column("effect", "money"),
        Column("discount", "money"),
        Column("net", "money"),
    )
    made: list[Row] = [
        (*key, line[0], *(Money(amount, key[1]) for amount in line[1:]))
        for key, line in sorted(sums.items())
    ]
    return Table("by_type", columns, made)
