"""A story as one self-contained page: no script, nothing fetched, both languages, light and dark.

The language is switched by two radio buttons and style alone, so that the page works wherever a mail or a
ticket carries it.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from switch.explain import text
from switch.explain.diagram import svg
from switch.explain.story import NOT_RECORDED, TONES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from switch.explain.steps import Step
    from switch.explain.story import Story

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #5b646d; --line: #dfe3e7; --paper: #fff;
  --card: #f6f8f9; --good: #1f7a4d; --bad: #b0402c; --open: #9a6b00; --wire: #2d5f9a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ea; --soft: #9aa4ad; --line: #363c43;
  --paper: #15181b; --card: #1c2024; --good: #5cba8c; --bad: #e88670; --open: #d9a93f;
  --wire: #7fb0e8; } }
* { box-sizing: border-box; }
body { font: 15px/1.55 system-ui, "PingFang SC", "Noto Sans SC", "Microsoft YaHei", sans-serif;
  color: var(--ink); background: var(--paper); max-width: 1080px; margin: 1.6rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: .2rem 0 .3rem; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem; }
p { margin: .2rem 0; } .sub { color: var(--soft); font-size: .92rem; }
nav { float: right; } nav label { cursor: pointer; padding: .15rem .6rem; color: var(--soft);
  border: 1px solid var(--line); border-radius: 1rem; font-size: .85rem; }
input.lang { position: absolute; opacity: 0; }
#en:checked ~ main .zh, #zh:checked ~ main .en { display: none; }
#en:checked ~ nav label[for=en], #zh:checked ~ nav label[for=zh] { color: var(--paper);
  background: var(--ink); border-color: var(--ink); }
#en:focus-visible ~ nav label[for=en], #zh:focus-visible ~ nav label[for=zh] {
  outline: 2px solid var(--wire); outline-offset: 2px; }
.state { display: inline-block; width: .7rem; height: .7rem; border-radius: 50%; margin-right: .5rem;
  background: var(--soft); } .state.good { background: var(--good); }
.state.bad { background: var(--bad); } .state.open { background: var(--open); }
.box { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: .6rem .9rem; } .scroll { overflow-x: auto; }
dl { display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; margin: 0; font-variant-numeric: tabular-nums; }
dl div { display: flex; gap: .45rem; } dt { color: var(--soft); } dd { margin: 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top;
  overflow-wrap: anywhere; }
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
@media print { :root { color-scheme: light; --ink: #000; --paper: #fff; --card: #fff; --line: #bbb; }
  body { margin: 0; max-width: none; font-size: 11px; } nav { display: none; }
  tr, svg { break-inside: avoid; } svg { min-width: 0; } .scroll { overflow: visible; } }
"""


def render(story: Story, *, chinese: bool) -> str:
    """The page; `chinese`: which language it opens in."""
    checked = {True: ("", " checked"), False: (" checked", "")}[chinese]
    parts = [
        f'<!doctype html>\n<html lang="{"zh" if chinese else "en"}">\n<head>\n<meta charset="utf-8"/>',
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>',
        f"<title>{_text(text.title(story, chinese=chinese))}</title>",
        f"<style>{_STYLE}</style>\n</head>\n<body>",
        f'<input class="lang" type="radio" name="lang" id="en"{_value(checked[0])}/>',
        f'<input class="lang" type="radio" name="lang" id="zh"{_value(checked[1])}/>',
        '<nav><label for="en">English</label> <label for="zh">中文</label></nav>\n<main>',
    ]
    for language in (False, True):
        parts.append(
            f'<div class="{"zh" if language else "en"}" lang="{"zh" if language else "en"}">'
        )
        parts += _body(story, chinese=language)
        parts.append("</div>")
    return "\n".join([*parts, "</main>\n</body>\n</html>\n"])


def _value(checked: str) -> str:
    """An attribute with its value: the page is well-formed XML, too."""
    return f'{checked}="checked"' if checked else ""


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


def _text(value: str) -> str:
    return html.escape(value)
