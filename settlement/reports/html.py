"""A report as one self-contained page: no script, charts inline, English and Chinese side by side,
for a screen, a phone and paper."""

import html
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Final

from settlement.reports import charts
from settlement.reports.figures import money
from settlement.reports.model import PAGE_ROWS, Cell, Column, Money, Report, Table
from settlement.texts import both

_CLASS: Final = {"text": "", "small": "k", "count": "n", "money": "n"}

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #5b646d; --line: #e1e4e8; --paper: #fff;
  --bar: #2f6f4f; --alarm: #b0402c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ea; --soft: #9aa4ad; --line: #363c43;
  --paper: #15181b; --bar: #5cae87; --alarm: #e07a64; } }
body { font: 15px/1.5 system-ui, "PingFang SC", "Noto Sans SC", "Microsoft YaHei", sans-serif;
  color: var(--ink); background: var(--paper); max-width: 1100px; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
p.sub { color: var(--soft); margin-top: .2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; }
th { color: var(--soft); font-weight: 500; font-size: .85rem; }
td.n, th.n { text-align: right; white-space: nowrap; }
td.k { color: var(--soft); font-size: .85rem; word-break: break-word; }
tfoot td { font-weight: 600; border-bottom: none; }
svg { width: 100%; min-width: 30rem; max-width: 720px; display: block; }
svg text { font-size: 14px; fill: var(--ink); } svg .v { fill: var(--soft); }
svg .bar { fill: var(--bar); } svg .alarm { fill: var(--alarm); }
@media (max-width: 700px) { body { margin: 1rem auto; } th, td { padding: .25rem .4rem; } }
@media print { :root { color-scheme: light; --ink: #000; --paper: #fff; --line: #ccc; }
  body { margin: 0; max-width: none; font-size: 11px; } thead { display: table-header-group; }
  tr, svg { break-inside: avoid; } .scroll { overflow: visible; } }
"""


def render(report: Report) -> bytes:
    title = f"{both(report.key)} {report.subject}"
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
        f"<h1>{_text(title)}</h1>",
        f'<p class="sub">{_text(both("recorded_at"))}: {_text(report.at.isoformat())}</p>',
    ]
    for part in report.parts:
        if isinstance(part, Table):
            parts += _table(part)
        elif part.bars:
            parts.append(charts.render(part))
    return "\n".join([*parts, "</body>\n</html>\n"]).encode()


def _table(table: Table) -> Iterator[str]:
    yield f"<h2>{_text(both(table.key))}</h2>"
    if not table.rows:
        nothing = f"no_{table.key}" if table.key == "breaks" else "nothing"
        yield f"<p>{_text(both(nothing))}</p>"
        return
    seen = table.seen("page")
    columns = [table.columns[n] for n in seen]
    yield '<div class="scroll"><table>'
    yield f"<thead><tr>{''.join(_heading(column) for column in columns)}</tr></thead>\n<tbody>"
    for row in table.rows[:PAGE_ROWS]:
        yield _row([row[n] for n in seen], columns)
    yield "</tbody>"
    if table.foot:
        yield "<tfoot>"
        for row in table.foot:
            yield _row([row[n] for n in seen], columns)
        yield "</tfoot>"
    yield "</table></div>"
    left = len(table.rows) - PAGE_ROWS
    if left > 0:
        where = f": {table.more_in}" if table.more_in else ""
        yield f'<p class="sub">+ {left:,} {_text(both("more_rows"))}{_text(where)}</p>'


def _heading(column: Column) -> str:
    return _element("th", _CLASS[column.kind].replace("k", ""), both(column.heading))


def _row(cells: Sequence[Cell], columns: Sequence[Column]) -> str:
    made = (
        _element("td", _CLASS[column.kind], _shown(cell))
        for cell, column in zip(cells, columns, strict=True)
    )
    return f"<tr>{''.join(made)}</tr>"


def _element(name: str, kind: str, text: str) -> str:
    attribute = f' class="{kind}"' if kind else ""
    return f"<{name}{attribute}>{_text(text)}</{name}>"


def _shown(cell: Cell) -> str:
    match cell:
        case None:
            return ""
        case Money():
            return money(cell.amount_minor, cell.currency)
        case int():
            return f"{cell:,}"
        case date():
            return cell.isoformat()
        case _:
            return str(cell)


def _text(value: str) -> str:
    return html.escape(value)
