"""CSV for scripts: UTF-8 without a byte order mark, `\\n` at a line's end, amounts in minor units.

The mark would make Excel show Chinese names, and would stand before the first heading for every
script that reads the file; who wants a spreadsheet has the XLSX.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import date

from settlement.reports.model import Cell, Money, Table, Words

RISKY = ("=", "+", "-", "@", "\t")


def render(table: Table) -> Iterator[bytes]:
    """A table's data columns, line by line."""
    seen = table.seen("data")
    yield from lines([[table.columns[n].csv_heading for n in seen]])
    yield from lines([_cell(row[n]) for n in seen] for row in table.rows)


def _cell(cell: Cell) -> object:
    if isinstance(cell, Words):
        return str(cell)
    return cell.amount_minor if isinstance(cell, Money) else cell


def lines(rows: Iterable[Sequence[object]]) -> Iterator[bytes]:
    """Rows as lines of CSV. Text that a spreadsheet would run as a formula is marked as text;
    numbers stay."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    for row in rows:
        writer.writerow([_safe(cell) for cell in row])
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()


def _safe(cell: object) -> object:
    if isinstance(cell, str) and cell.startswith(RISKY):
        return "'" + cell
    if cell is None:
        return ""
    return cell.isoformat() if isinstance(cell, date) else cell
