"""Charts as inline SVG: no script, no font of their own, the same on paper."""

import html
from typing import Final

from settlement.reports.model import Chart
from settlement.texts import both

WIDTH: Final = 720
BAR: Final = 420  # of the longest
LINE: Final = 40  # a bar with its label above it


def render(chart: Chart) -> str:
    """Horizontal bars, each under its label, so that long names and phones do not fight. Lengths
    are whole units: no float is ever printed."""
    title = f"{both(chart.key)} {chart.note}".rstrip()
    most = max((bar.value for bar in chart.bars), default=0) or 1
    kind = "alarm" if chart.alarm else "bar"
    parts = [
        f"<h2>{_text(title)}</h2>",
        f'<div class="scroll"><svg viewBox="0 0 {WIDTH} {len(chart.bars) * LINE}" role="img" '
        f'aria-label="{_text(title)}">',
    ]
    for number, bar in enumerate(chart.bars):
        assert bar.value >= 0, bar
        y, long = number * LINE, max(bar.value * BAR // most, 1)
        parts.append(
            f'<text x="0" y="{y + 14}">{_text(bar.label)}</text>'
            f'<rect class="{kind}" x="0" y="{y + 19}" width="{long}" height="14" rx="2"/>'
            f'<text class="v" x="{long + 8}" y="{y + 31}">{_text(bar.shown)}</text>'
        )
    return "\n".join([*parts, "</svg></div>"])


def _text(value: str) -> str:
    return html.escape(value)
