"""A report as a workbook: a sheet a table, headings in both languages, amounts as numbers.

The same report is the same bytes on every machine: the only time in the file is the report's own,
and its members are packed anew (`settlement.zips`). Text is always written as text, so nothing in it can
become a formula. A cell holds a double, as every spreadsheet does: exact to 15 digits; an amount
beyond them is written as text.
"""

import io
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Final

import xlsxwriter  # type: ignore[import-untyped]

from settlement.reports.figures import exponent, money
from settlement.reports.model import XLSX_ROWS, Cell, Money, Report, Table
from settlement.texts import both
from settlement.zips import members, packed

NAME_MAX: Final = 31  # characters of a sheet's name
EXACT: Final = 10**15
_WIDTHS: Final = {"text": 18, "small": 40, "count": 10, "money": 16}


def render(report: Report) -> bytes:
    data = io.BytesIO()
    book = xlsxwriter.Workbook(data, {"in_memory": True, "strings_to_formulas": False})
    book.set_properties(
        {
            "title": f"{both(report.key)} {report.subject}",
            "author": "Tongbao",
            "created": report.at.replace(tzinfo=None),
        }
    )
    formats = {
        "head": book.add_format({"bold": True, "bottom": 1, "text_wrap": True}),
        "date": book.add_format({"num_format": "yyyy-mm-dd"}),
        0: book.add_format({"num_format": "#,##0"}),
        2: book.add_format({"num_format": "#,##0.00"}),
    }
    for table in report.tables:
        _sheet(book.add_worksheet(both(table.key)[:NAME_MAX]), table, formats)
    book.close()
    return packed(members(data.getvalue(), packed_here=False))


def _sheet(sheet: Any, table: Table, formats: dict[Any, Any]) -> None:
    seen = table.seen("data")
    for place, number in enumerate(seen):
        column = table.columns[number]
        sheet.write_string(0, place, both(column.heading), formats["head"])
        sheet.set_column(place, place, _WIDTHS[column.kind])
    sheet.freeze_panes(1, 0)
    rows = table.rows[:XLSX_ROWS]
    for line, row in enumerate(rows, 1):
        _row(sheet, line, [row[n] for n in seen], formats)
    if rows:
        sheet.autofilter(0, 0, len(rows), len(seen) - 1)
    if len(table.rows) > XLSX_ROWS:
        left = f"+ {len(table.rows) - XLSX_ROWS:,} {both('more_rows')}: {table.more_in}"
        sheet.write_string(XLSX_ROWS + 1, 0, left)


def _row(sheet: Any, line: int, cells: Sequence[Cell], formats: dict[Any, Any]) -> None:
    for place, cell in enumerate(cells):
        match cell:
            case None:
                pass
            case Money():
                _amount(sheet, line, place, cell, formats)
            case int():
                sheet.write_number(line, place, cell)
            case date():
                sheet.write_datetime(line, place, cell, formats["date"])
            case _:
                sheet.write_string(line, place, str(cell))


def _amount(sheet: Any, line: int, place: int, cell: Money, formats: dict[Any, Any]) -> None:
    if cell.amount_minor is None:
        return
    decimals = exponent(cell.currency)
    if abs(cell.amount_minor) >= EXACT:
        sheet.write_string(line, place, money(cell.amount_minor, cell.currency))
    else:
        amount = Decimal(cell.amount_minor).scaleb(-decimals)
        sheet.write_number(line, place, amount, formats[decimals])
