"""What a report is: tables and charts under a title, as values.

A column says where it is shown: some stand for people alone (a merchant's name in one cell), some
for scripts alone (a date that the title says already). CSV and XLSX have the data's columns, the
page has the people's. Headings are keys of `settlement.texts`.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Final, Literal

import msgspec

from settlement.texts import TEXTS

PAGE_ROWS: Final = 500  # of a table on a page; the CSV has them all
XLSX_ROWS: Final = 100_000  # of a sheet; Excel's own end is 1,048,576


class Money(msgspec.Struct, frozen=True):
    amount_minor: int | None
    currency: str  # ISO 4217 numeric


class Words(msgspec.Struct, frozen=True):
    """A text in both languages: pages and files have them side by side, the screen the operator's."""

    english: str
    chinese: str

    def __str__(self) -> str:
        return f"{self.english} · {self.chinese}"


def words(key: str) -> Words:
    """The text of a key of `TEXTS`."""
    return Words(*TEXTS[key])


Cell = str | int | date | Money | Words | None
Row = Sequence[Cell]


class Column(msgspec.Struct, frozen=True):
    key: str  # heading in CSV; of money, with `_minor` behind it
    kind: Literal["text", "small", "count", "money"] = "text"
    shown: Literal["all", "data", "page"] = "all"
    text: str = ""  # key of the heading for people, where it is another

    @property
    def heading(self) -> str:
        return self.text or self.key

    @property
    def csv_heading(self) -> str:
        return f"{self.key}_minor" if self.kind == "money" else self.key


class Table(msgspec.Struct, frozen=True):
    key: str  # of its heading; in XLSX the sheet's name
    columns: tuple[Column, ...]
    rows: Sequence[Row]
    foot: Sequence[Row] = ()  # totals, for people
    more_in: str = ""  # the file that has every row

    def seen(self, medium: Literal["data", "page"]) -> list[int]:
        """Numbers of the columns that a medium shows."""
        return [n for n, column in enumerate(self.columns) if column.shown in ("all", medium)]


class Bar(msgspec.Struct, frozen=True):
    label: str
    value: int  # from 0 on
    shown: str


class Chart(msgspec.Struct, frozen=True):
    key: str
    bars: tuple[Bar, ...]
    note: str = ""  # behind the heading, such as a currency
    alarm: bool = False


class Report(msgspec.Struct, frozen=True):
    key: str
    subject: str  # behind the title: a date, a merchant, a month
    at: datetime  # the recorded instant that the report is as of
    parts: tuple[Table | Chart, ...]

    @property
    def tables(self) -> list[Table]:
        return [part for part in self.parts if isinstance(part, Table)]


def totals(rows: Iterable[Row], columns: Sequence[Column], label: Words) -> list[list[Cell]]:
    """One foot line a currency: the sums of its money and count columns, `label` in the first."""
    sums: dict[str, list[int]] = {}
    for row in rows:
        currency = next((cell.currency for cell in row if isinstance(cell, Money)), "")
        line = sums.setdefault(currency, [0] * len(columns))
        for index, cell in enumerate(row):
            if isinstance(cell, Money):
                line[index] += cell.amount_minor or 0
            elif columns[index].kind == "count" and isinstance(cell, int):
                line[index] += cell
    made: list[list[Cell]] = []
    for currency, line in sorted(sums.items()):
        cells: list[Cell] = []
        for column, figure in zip(columns, line, strict=True):
            if column.kind == "money":
                cells.append(Money(figure, currency))
            elif column.kind == "count":
                cells.append(figure)
            else:
                cells.append(currency if column.key == "currency" else "")
        first = next(n for n, column in enumerate(columns) if column.shown != "data")
        cells[first] = label
        made.append(cells)
    return made
