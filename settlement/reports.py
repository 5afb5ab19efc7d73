"""The day's reports: CSV for scripts and one page for people. Pure: values in, bytes out.

Amounts in CSV are integers in minor units under headings that end in `_minor`; on the page they
are written with their currency's exponent. Nothing here reads a clock: the only instant is the
recorded one of the date's first run.
"""

import csv
import html
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import Final

import msgspec

from settlement.cases import BREAK_CLASSES, Break
from settlement.chart import CHART
from settlement.columns import Relation
from settlement.detail import DETAIL, files
from settlement.ledger import TrialLine
from settlement.netting import Net
from settlement.ports import Step
from settlement.texts import TEXTS, both

CHART_BARS: Final = 20
PAGE_BREAKS: Final = 500
EXPONENTS: Final = {"392": 0, "410": 0}  # others have two decimals


class Day(msgspec.Struct, frozen=True):
    """Everything the reports of one date say."""

    business_date: date
    at: datetime
    steps: list[Step]
    detail: Relation
    breaks: list[Break]
    nets: list[Net]
    trial: list[TrialLine]
    merchant_names: dict[str, tuple[str, str]]


def render(day: Day) -> Iterator[tuple[str, bytes]]:
    """(file name, content), in a fixed order."""
    yield "merchants.csv", merchants_csv(day)
    yield "breaks.csv", breaks_csv(day)
    yield "trial-balance.csv", trial_csv(day)
    heading = (",".join(DETAIL) + "\n").encode()
    for merchant, lines in files(day.detail):
        yield f"settlement/{file_name(merchant)}.csv", heading + lines
    yield "report.html", page(day)


def file_name(merchant: str) -> str:
    """A merchant id as a file's name: letters, digits, - and _ stay, other bytes in hex."""
    return "".join(
        chr(byte) if (chr(byte).isalnum() and byte < 128) or byte in b"-_" else f"%{byte:02X}"
        for byte in merchant.encode()
    )


def _csv(heading: Sequence[str], lines: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heading)
    writer.writerows([_cell(value) for value in line] for line in lines)
    return text.getvalue().encode()


def _cell(value: object) -> object:
    # A spreadsheet runs text that starts like a formula; amounts are numbers and stay.
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t"):
        return "'" + value
    return "" if value is None else value


def merchants_csv(day: Day) -> bytes:
    return _csv(
        (
            "business_date",
            "merchant",
            "name",
            "name_zh",
            "currency",
            "count",
            "gross_minor",
            "taken_back_minor",
            "discount_minor",
            "held_minor",
            "net_minor",
        ),
        (
            (
                net.business_date,
                net.merchant,
                *day.merchant_names.get(net.merchant, ("", "")),
                net.currency,
                net.count,
                net.gross_minor,
                net.taken_back_minor,
                net.discount_minor,
                net.held_minor,
                net.net_minor,
            )
            for net in day.nets
        ),
    )


def breaks_csv(day: Day) -> bytes:
    return _csv(
        (
            "id",
            "business_date",
            "class",
            "acquirer",
            "currency",
            "ours_minor",
            "theirs_minor",
            "difference_minor",
            "keys",
            "evidence",
        ),
        (
            (
                one.id,
                one.business_date,
                one.break_class,
                one.acquirer,
                one.currency,
                one.ours_minor,
                one.theirs_minor,
                one.difference_minor,
                pairs(one.keys),
                pairs(one.evidence),
            )
            for one in day.breaks
        ),
    )


def pairs(values: dict[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in sorted(values.items()) if value)


def trial_csv(day: Day) -> bytes:
    return _csv(
        (
            "business_date",
            "account",
            "name",
            "name_zh",
            "currency",
            "debit_minor",
            "credit_minor",
            "balance_minor",
        ),
        (
            (
                day.business_date,
                line.account,
                CHART[line.account].name,
                CHART[line.account].name_zh,
                line.currency,
                line.debit_minor,
                line.credit_minor,
                line.balance_minor,
            )
            for line in day.trial
        ),
    )


def money(amount_minor: int | None, currency: str) -> str:
    """
    >>> money(-1234567, "156"), money(5, "156"), money(1500, "392")
    ('-12,345.67', '0.05', '1,500')
    """
    if amount_minor is None:
        return ""
    exponent = EXPONENTS.get(currency, 2)
    whole, part = divmod(abs(amount_minor), 10**exponent)
    sign = "-" if amount_minor < 0 else ""
    return f"{sign}{whole:,}" + (f".{part:0{exponent}d}" if exponent else "")


# -- the page ---------------------------------------------------------------------------------

_STYLE: Final = """
:root { --ink: #1b1f24; --soft: #6a737d; --line: #e1e4e8; --bar: #2f6f4f; --warn: #b0402c; }
body { font: 15px/1.5 system-ui, "PingFang SC", "Noto Sans SC", "Microsoft YaHei", sans-serif;
  color: var(--ink); max-width: 1100px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
p.sub { color: var(--soft); margin-top: .2rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; }
th { color: var(--soft); font-weight: 500; font-size: .85rem; }
td.n, th.n { text-align: right; white-space: nowrap; }
td.k { color: var(--soft); font-size: .85rem; word-break: break-word; }
tfoot td { font-weight: 600; border-bottom: none; } code { font-size: .8rem; }
svg text { font-size: 12px; fill: var(--ink); } svg .v { fill: var(--soft); }
@media print { body { margin: 0; max-width: none; } }
"""


def page(day: Day) -> bytes:
    """One readable page, no script, charts as inline SVG, English and Chinese side by side."""
    title = f"{both('title')} {day.business_date.isoformat()}"
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
        f"<h1>{_text(title)}</h1>",
        f'<p class="sub">{_text(both("recorded_at"))}: {_text(day.at.isoformat())}</p>',
        _nets_chart(day),
        _breaks_chart(day),
        _section("merchants", _nets_table(day)),
        _section("breaks", _breaks_table(day)),
        _section("trial_balance", _trial_table(day)),
        _section("steps", _steps_table(day)),
        "</body>\n</html>\n",
    ]
    return "\n".join(part for part in parts if part).encode()


def _text(value: object) -> str:
    return html.escape(str(value))


def _section(key: str, body: str) -> str:
    return f"<h2>{_text(both(key))}</h2>\n{body}"


def _table(
    headings: Sequence[tuple[str, str]],
    lines: Iterable[Sequence[object]],
    foot: Iterable[Sequence[object]] = (),
) -> str:
    """Headings are (text key, cell class): "n" right-aligned, "k" small, "" plain."""

    def row(cells: Sequence[object]) -> str:
        return (
            "<tr>"
            + "".join(
                f'<td class="{kind}">{_text(cell)}</td>' if kind else f"<td>{_text(cell)}</td>"
                for cell, (_, kind) in zip(cells, headings, strict=True)
            )
            + "</tr>"
        )

    head = "".join(
        f'<th class="n">{_text(both(key))}</th>' if kind == "n" else f"<th>{_text(both(key))}</th>"
        for key, kind in headings
    )
    body = "\n".join(row(line) for line in lines)
    end = "\n".join(row(line) for line in foot)
    tfoot = f"\n<tfoot>{end}</tfoot>" if end else ""
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>{tfoot}\n</table>"


def _bars(title: str, bars: Sequence[tuple[str, int, str]], colour: str) -> str:
    """Horizontal bars: (label, value >= 0, shown). Widths are integers, so no float is printed."""
    if not bars:
        return ""
    height, label, width = 24, 300, 620
    most = max(value for _, value, _ in bars) or 1
    lines = [
        f'<svg viewBox="0 0 1060 {len(bars) * height + 8}" width="100%" role="img" '
        f'aria-label="{_text(title)}">'
    ]
    for index, (name, value, shown) in enumerate(bars):
        y = index * height + 4
        long = max(value * width // most, 1)
        lines.append(
            f'<text x="{label - 8}" y="{y + 13}" text-anchor="end">{_text(name)}</text>'
            f'<rect x="{label}" y="{y}" width="{long}" height="18" rx="2" fill="{colour}"/>'
            f'<text class="v" x="{label + long + 8}" y="{y + 13}">{_text(shown)}</text>'
        )
    return f"<h2>{_text(title)}</h2>\n" + "\n".join([*lines, "</svg>"])


def _nets_chart(day: Day) -> str:
    largest = sorted(day.nets, key=lambda net: (-net.net_minor, net.merchant, net.currency))
    return _bars(
        both("chart_nets"),
        [
            (
                _merchant(day, net.merchant),
                net.net_minor,
                f"{money(net.net_minor, net.currency)} {net.currency}",
            )
            for net in largest[:CHART_BARS]
            if net.net_minor > 0
        ],
        "var(--bar)",
    )


def _breaks_chart(day: Day) -> str:
    counts = dict.fromkeys(BREAK_CLASSES, 0)
    for one in day.breaks:
        counts[one.break_class] += 1
    return _bars(
        both("chart_breaks"),
        [(both(f"class_{name}"), count, str(count)) for name, count in counts.items() if count],
        "var(--warn)",
    )


def _merchant(day: Day, merchant: str) -> str:
    english, chinese = day.merchant_names.get(merchant, ("", ""))
    return chinese or english or merchant


def _nets_table(day: Day) -> str:
    sums: dict[str, list[int]] = {}
    for net in day.nets:
        line = sums.setdefault(net.currency, [0] * 6)
        figures = (
            net.count,
            net.gross_minor,
            net.taken_back_minor,
            net.discount_minor,
            net.held_minor,
            net.net_minor,
        )
        for index, figure in enumerate(figures):
            line[index] += figure
    return _table(
        (
            ("merchant", ""),
            ("name", ""),
            ("currency", ""),
            ("count", "n"),
            ("gross", "n"),
            ("taken_back", "n"),
            ("discount", "n"),
            ("held", "n"),
            ("net", "n"),
        ),
        (
            (
                net.merchant,
                _merchant(day, net.merchant),
                net.currency,
                net.count,
                money(net.gross_minor, net.currency),
                money(net.taken_back_minor, net.currency),
                money(net.discount_minor, net.currency),
                money(net.held_minor, net.currency),
                money(net.net_minor, net.currency),
            )
            for net in day.nets
        ),
        (
            (both("total"), "", currency, line[0], *(money(n, currency) for n in line[1:]))
            for currency, line in sorted(sums.items())
        ),
    )


def _breaks_table(day: Day) -> str:
    if not day.breaks:
        return f"<p>{_text(both('no_breaks'))}</p>"
    return _table(
        (
            ("class", ""),
            ("acquirer", ""),
            ("keys", "k"),
            ("ours", "n"),
            ("theirs", "n"),
            ("difference", "n"),
        ),
        (
            (
                both(f"class_{one.break_class}"),
                one.acquirer,
                f"{one.id} {pairs(one.keys)}",
                money(one.ours_minor, one.currency),
                money(one.theirs_minor, one.currency),
                money(one.difference_minor, one.currency),
            )
            for one in day.breaks[:PAGE_BREAKS]
        ),
    )


def _trial_table(day: Day) -> str:
    sums: dict[str, list[int]] = {}
    for line in day.trial:
        total = sums.setdefault(line.currency, [0, 0])
        total[0] += line.debit_minor
        total[1] += line.credit_minor
    return _table(
        (("account", ""), ("currency", ""), ("debit", "n"), ("credit", "n"), ("balance", "n")),
        (
            (
                f"{CHART[line.account].name} · {CHART[line.account].name_zh}",
                line.currency,
                money(line.debit_minor, line.currency),
                money(line.credit_minor, line.currency),
                money(line.balance_minor, line.currency),
            )
            for line in day.trial
        ),
        (
            (
                both("total"),
                currency,
                money(debit, currency),
                money(credit, currency),
                money(debit - credit, currency),
            )
            for currency, (debit, credit) in sorted(sums.items())
        ),
    )


def _steps_table(day: Day) -> str:
    return _table(
        (("step", ""), ("totals", "k"), ("content", "k")),
        (
            (
                both(f"step_{step.name}") if f"step_{step.name}" in TEXTS else step.name,
                " ".join(f"{key}={value}" for key, value in step.totals.items()),
                step.content[:16],
            )
            for step in day.steps
        ),
    )
