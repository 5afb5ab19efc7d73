"""A report as a workbook: a sheet a table, headings in both languages, amounts as numbers.

Office Open XML (ECMA-376) as little as a spreadsheet needs, written here: a library's call a cell took
half of a day's end that has many breaks. The same report is the same bytes on every machine: the only
time in the file is the report's own. Text is always written as text, so nothing in it can become a
formula. A cell holds a double, as every spreadsheet does: exact to 15 digits; an amount beyond them is
written as text.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from settlement.reports.figures import exponent, money
from settlement.reports.model import XLSX_ROWS, Cell, Money, Report, Table
from settlement.texts import both
from settlement.zips import packed

NAME_MAX: Final = 31  # characters of a sheet's name
EXACT: Final = 10**15
_WIDTHS: Final = {"text": 18, "small": 40, "count": 10, "money": 16}
_DAY_0: Final = date(1899, 12, 30)  # which days are counted from

# what XML can not hold, and what a reader would take for such an escape (ECMA-376 22.9.2.19)
_ODD: Final = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")
_SPECIAL: Final = re.compile("[&<>]|" + _ODD.pattern)

_XML: Final = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_MAIN: Final = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE: Final = "http://schemas.openxmlformats.org/package/2006"
_TYPE: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml"

# cell formats by their place in _STYLES
_HEAD, _DATE = 1, 2
_DECIMALS: Final = {0: 3, 2: 4}
_STYLES: Final = (
    f'<styleSheet xmlns="{_MAIN}">'
    '<numFmts count="1"><numFmt numFmtId="164" formatCode="yyyy\\-mm\\-dd"/></numFmts>'
    '<fonts count="2"><font><sz val="11"/><name val="Calibri"/></font>'
    '<font><b/><sz val="11"/><name val="Calibri"/></font></fonts>'
    '<fills count="2"><fill><patternFill patternType="none"/></fill>'
    '<fill><patternFill patternType="gray125"/></fill></fills>'
    '<borders count="2"><border><left/><right/><top/><bottom/><diagonal/></border>'
    '<border><left/><right/><top/><bottom style="thin"><color auto="1"/></bottom><diagonal/></border>'
    "</borders>"
    '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>'
    '<cellXfs count="5"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>'
    '<xf numFmtId="0" fontId="1" fillId="0" borderId="1" xfId="0" applyFont="1" applyBorder="1" '
    'applyAlignment="1"><alignment wrapText="1"/></xf>'
    '<xf numFmtId="164" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>'
    '<xf numFmtId="3" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>'
    '<xf numFmtId="4" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/></cellXfs>'
    '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles>'
    "</styleSheet>"
)


def render(report: Report) -> bytes:
    return packed((name, content.encode()) for name, content in _members(report))


def _members(report: Report) -> Iterator[tuple[str, str]]:
    """The parts of the package, in its order."""
    names = [both(table.key)[:NAME_MAX] for table in report.tables]
    numbers = range(1, len(names) + 1)
    yield "[Content_Types].xml", _content_types(len(names))
    yield (
        "_rels/.rels",
        _relations(
            ("workbook", f"{_OFFICE}/officeDocument", "xl/workbook.xml"),
            ("core", f"{_PACKAGE}/relationships/metadata/core-properties", "docProps/core.xml"),
        ),
    )
    yield "docProps/core.xml", _core(report)
    sheets = "".join(
        f'<sheet name={quoteattr(_text(name))} sheetId="{n}" r:id="sheet{n}"/>'
        for n, name in zip(numbers, names, strict=True)
    )
    yield (
        "xl/workbook.xml",
        f'{_XML}<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>{sheets}</sheets></workbook>',
    )
    yield (
        "xl/_rels/workbook.xml.rels",
        _relations(
            *((f"sheet{n}", f"{_OFFICE}/worksheet", f"worksheets/sheet{n}.xml") for n in numbers),
            ("styles", f"{_OFFICE}/styles", "styles.xml"),
        ),
    )
    yield "xl/styles.xml", _XML + _STYLES
    for number, table in zip(numbers, report.tables, strict=True):
        yield f"xl/worksheets/sheet{number}.xml", "".join(_sheet(table))


def _content_types(sheets: int) -> str:
    parts = [
        ("/docProps/core.xml", "application/vnd.openxmlformats-package.core-properties+xml"),
        ("/xl/workbook.xml", f"{_TYPE}.sheet.main+xml"),
        ("/xl/styles.xml", f"{_TYPE}.styles+xml"),
        *((f"/xl/worksheets/sheet{n}.xml", f"{_TYPE}.worksheet+xml") for n in range(1, sheets + 1)),
    ]
    overrides = "".join(f'<Override PartName="{p}" ContentType="{t}"/>' for p, t in parts)
    return (
        f'{_XML}<Types xmlns="{_PACKAGE}/content-types"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Default Extension="xml" ContentType="application/xml"/>{overrides}</Types>'
    )


def _relations(*found: tuple[str, str, str]) -> str:
    lines = "".join(f'<Relationship Id="{i}" Type="{t}" Target="{to}"/>' for i, t, to in found)
    return f'{_XML}<Relationships xmlns="{_PACKAGE}/relationships">{lines}</Relationships>'


def _core(report: Report) -> str:
    at = report.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    title = escape(_text(f"{both(report.key)} {report.subject}"))
    return (
        f'{_XML}<cp:coreProperties xmlns:cp="{_PACKAGE}/metadata/core-properties" '
        'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:dcterms="http://purl.org/dc/terms/" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f"<dc:title>{title}</dc:title><dc:creator>Tongbao</dc:creator>"
        f'<dcterms:created xsi:type="dcterms:W3CDTF">{at}</dcterms:created></cp:coreProperties>'
    )


def _sheet(table: Table) -> Iterator[str]:
    seen = table.seen("data")
    columns = [table.columns[number] for number in seen]
    rows = table.rows[:XLSX_ROWS]
    yield (
        f'{_XML}<worksheet xmlns="{_MAIN}"><sheetViews><sheetView workbookViewId="0">'
        '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/>'
        "</sheetView></sheetViews><cols>"
    )
    for place, column in enumerate(columns, 1):
        yield f'<col min="{place}" max="{place}" width="{_WIDTHS[column.kind]}" customWidth="1"/>'
    yield "</cols><sheetData>"
    yield _row([_string(both(column.heading), _HEAD) for column in columns])
    for row in rows:
        yield _row([_cell(row[number]) for number in seen])
    if len(table.rows) > XLSX_ROWS:
        left = f"+ {len(table.rows) - XLSX_ROWS:,} {both('more_rows')}: {table.more_in}"
        yield _row([_string(left)])
    yield "</sheetData>"
    if rows:
        yield f'<autoFilter ref="A1:{_letters(len(columns))}{len(rows) + 1}"/>'
    yield "</worksheet>"


def _row(cells: Sequence[str]) -> str:
    """Cells without a place of their own stand one after the other."""
    return f"<row>{''.join(cells)}</row>"


def _cell(cell: Cell) -> str:
    if isinstance(cell, str):
        return _string(cell)
    if isinstance(cell, Money):
        return _amount(cell)
    if isinstance(cell, date):
        return f'<c s="{_DATE}"><v>{(cell - _DAY_0).days}</v></c>'
    return "<c/>" if cell is None else f"<c><v>{cell}</v></c>"


def _string(value: str, style: int = 0) -> str:
    if not value:
        return "<c/>"
    plain = value if _SPECIAL.search(value) is None else escape(_text(value))
    return f'<c s="{style}" t="inlineStr"><is><t xml:space="preserve">{plain}</t></is></c>'


def _text(value: str) -> str:
    return _ODD.sub(lambda found: f"_x{ord(found[0]):04X}_", value)


def _amount(cell: Money) -> str:
    amount = cell.amount_minor
    if amount is None:
        return "<c/>"
    if abs(amount) >= EXACT:
        return _string(money(amount, cell.currency))
    decimals = exponent(cell.currency)
    shown = money(amount, cell.currency).replace(",", "")
    return f'<c s="{_DECIMALS[decimals]}"><v>{shown}</v></c>'


def _letters(number: int) -> str:
    """
    >>> _letters(1), _letters(26), _letters(28)
    ('A', 'Z', 'AB')
    """
    letters = ""
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters
