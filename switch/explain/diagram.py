"""The wire of a story as a sequence diagram, inline SVG: lanes down, time down, one row a step."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from switch.explain import text
from switch.explain.steps import LANES
from switch.explain.texts import LABELS, LANES as LANE_NAMES

if TYPE_CHECKING:
    import datetime as dt

    from switch.explain.steps import Step
    from switch.explain.story import Story

WIDTH = 1000
GUTTER = 150  # for times, left of the first lane
LANE_WIDTH = 182
HEAD = 44  # of the lanes' names
ROW = 38
GONE = frozenset(
    ("no_answer", "not_sent")
)  # what did not come is drawn, broken, where it would have
LABEL_MAX = 34  # characters, a Chinese one counted as two; the timeline has it whole


def svg(story: Story, *, chinese: bool) -> str:
    height = HEAD + ROW * len(story.steps) + 24
    label = html.escape(text.word("diagram", chinese=chinese))
    parts = [f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}">']
    for lane in LANES:
        x = _x(lane)
        name = html.escape(LANE_NAMES[lane][chinese])
        parts.append(
            f'<rect class="head" x="{x - 50}" y="6" width="100" height="26" rx="6"/>'
            f'<text class="h" x="{x}" y="24" text-anchor="middle">{name}</text>'
            f'<line class="lane" x1="{x}" y1="32" x2="{x}" y2="{height - 8}"/>'
        )
    began = story.facts.transaction["received_at"]
    shown = ""
    for number, step in enumerate(story.steps):
        y = HEAD + ROW * number + 26
        time = _time(step, began)
        if time != shown:
            parts.append(f'<text class="t" x="4" y="{y + 4}">{html.escape(time)}</text>')
            shown = time
        parts.append(_row(step, y, chinese=chinese))
    return "\n".join([*parts, "</svg>"])


def _x(lane: str) -> int:
    return GUTTER + LANE_WIDTH // 2 - 40 + LANE_WIDTH * LANES.index(lane)


def _time(step: Step, began: dt.datetime) -> str:
    """Of day, and how long after the request."""
    if step.at is None:
        return ""
    after = step.at - began
    clock = text.at_text(step.at)
    if after.days or after.total_seconds() < 0:
        return clock[5:19]
    return f"{clock[11:]}  +{after.total_seconds():.3f} s"


def _row(step: Step, y: int, *, chinese: bool) -> str:
    label = html.escape(
        _short(text.filled(LABELS[step.event][chinese], step.values, chinese=chinese))
    )
    whole = html.escape(text.sentence(step, chinese=chinese))
    source, target = _x(step.source), _x(step.target)
    if source == target:
        return (
            f'<g class="{step.tone}"><title>{whole}</title>'
            f'<rect class="p" x="{source - 4}" y="{y - 6}" width="8" height="12" rx="2"/>'
            f'<text class="l" x="{source + 12}" y="{y + 4}">{label}</text></g>'
        )
    way = 1 if target > source else -1
    kind = f"{step.tone} gone" if step.event in GONE else step.tone
    tip = f"{target - way * 3},{y} {target - way * 11},{y - 5} {target - way * 11},{y + 5}"
    return (
        f'<g class="{kind}"><title>{whole}</title>'
        f'<path class="a" d="M{source} {y} H{target - way * 10}"/><polygon class="p" points="{tip}"/>'
        f'<text class="l" x="{(source + target) // 2}" y="{y - 6}" text-anchor="middle">{label}</text></g>'
    )


def _short(label: str) -> str:
    """
    >>> _short("a short one"), len(_short("x" * 60))
    ('a short one', 34)
    """
    width = 0
    for number, character in enumerate(label):
        width += 1 if character.isascii() else 2
        if width > LABEL_MAX:
            return label[: number - 1] + "\u2026"
    return label
