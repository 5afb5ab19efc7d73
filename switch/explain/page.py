"""A story as one self-contained page in both languages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from switch.explain import text
from switch.explain.diagram import svg
from switch.explain.story import NOT_RECORDED, TONES
from switch.page import document, text as _text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from switch.explain.steps import Step
    from switch.explain.story import Story

_STYLE = """
.state { display: inline-block; width: .7rem; height: .7rem; border-radius: 50%; margin-right: .5rem;
  background: var(--soft); } .state.good { background: var(--good); }
.state.bad { background: var(--bad); } .state.open { background: var(--open); }
dl { display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; margin: 0; font-variant-numeric: tabular-nums; }
dl div { display: flex; gap: .45rem; } dt { color: var(--soft); } dd { margin: 0; }
td.w { white-space: nowrap; color: var(--soft); font-size: .88rem; overflow-wrap: normal; }
tr.good td:last-child { color: var(--good); } tr.bad td:last-child { color: var(--bad); }
tr.open td:last-child { color: var(--open); }
svg { display: block; min-width: 46rem; width: 100%; }
svg text { font: 12px system-ui, "PingFang SC", "Noto Sans SC", "Microsoft YaHei", sans-serif;
  fill: var(--ink); } svg .t { fill: var(--soft); font-size: 11px; }
svg .h { font-weight: 600; font-size: 13px; } svg .head { fill: var(--card); stroke: var(--line); }
svg .lane { stroke: var(--line); } svg .l { paint-order: stroke; stroke: var(--card); stroke-width: 5px;
  stroke-linejoin: round; }
svg .a { stroke: var(--wire); fill: none; stroke-width: 1.5; } svg .p { fill: var(--wire); }
svg .good .a { stroke: var(--good); } svg .good .p { fill: var(--good); }
svg .bad .a { stroke: var(--bad); } svg .bad .p { fill: var(--bad); }
svg .open .a { stroke: var(--open); } svg .open .a, svg .gone .a { stroke-dasharray: 5 4; } svg .open .p { fill: var(--open); }
@media (max-width: 700px) { td.w { white-space: normal; } }
@media print { svg { break-inside: avoid; min-width: 0; } }
"""


def render(story: Story, *, chinese: bool) -> str:
    """The page; `chinese`: which language it opens in."""
    return document(
        text.title(story, chinese=chinese),
        lambda language: _body(story, chinese=language == "zh"),
        language="zh" if chinese else "en",
        style=_STYLE,
    )


def _body(story: Story, *, chinese: bool) -> Iterator[str]:
    told = story.facts.transaction
    tone = TONES[told["state"]]
    yield f'<h1><span class="state {tone}"></span>{_text(text.title(story, chinese=chinese))}</h1>'
    yield f'<p class="sub">{_text(text.identity(story, chinese=chinese))}</p>'
    masked = text.word("masked", chinese=chinese)
    yield f'<p class="sub">{_text(text.dates(story, chinese=chinese))}. {_text(masked)}</p>'
    yield _heading("diagram", chinese=chinese)
    yield f'<div class="box scroll">{svg(story, chinese=chinese)}</div>'
    yield f'<p class="sub">{_text(text.word("stages", chinese=chinese))}: {_text(text.stages(story, chinese=chinese))}</p>'
    yield _heading("message", chinese=chinese)
    pairs = "".join(
        f"<div><dt>{_text(one.de)}</dt><dd>{_text(text.clean(one.value))}</dd></div>"
        for one in story.message
    )
    yield f'<div class="box"><dl>{pairs}</dl></div>'
    yield _heading("timeline", chinese=chinese)
    yield _table(story.steps, chinese=chinese, with_lanes=True)
    if text.chain(story):
        yield _heading("chain", chinese=chinese)
        for of in text.chain(story):
            yield f"<p>{_text(text.linked(of, chinese=chinese))}</p>"
    yield _heading("books", chinese=chinese)
    if story.books:
        yield _table(story.books, chinese=chinese, with_lanes=False)
    else:
        yield f"<p>{_text(text.word('nothing', chinese=chinese))}</p>"
    yield _heading("not_recorded", chinese=chinese)
    for name in NOT_RECORDED:
        yield f'<p class="sub">{_text(text.word(name, chinese=chinese))}</p>'


def _heading(name: str, *, chinese: bool) -> str:
    return f"<h2>{_text(text.word(name, chinese=chinese))}</h2>"


def _table(steps: tuple[Step, ...], *, chinese: bool, with_lanes: bool) -> str:
    rows = []
    for step in steps:
        between = text.lanes(step, chinese=chinese).replace("->", "\u2192")
        lanes = f'<td class="w">{_text(between)}</td>' if with_lanes else ""
        rows.append(
            f'<tr class="{step.tone}"><td class="w">{_text(text.when(step))}</td>{lanes}'
            f"<td>{_text(text.sentence(step, chinese=chinese))}</td></tr>"
        )
    return f'<div class="scroll"><table><tbody>{"".join(rows)}</tbody></table></div>'
