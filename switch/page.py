"""A self-contained page: no script, nothing fetched, both languages, light and dark, well-formed.

The language is switched by two radio buttons and style alone, so that the page works wherever a mail or a
ticket carries it. What is on it: `explain/page.py`, `replay/page.py`, `certify/report.py`.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_STYLE: Final = """
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
.box { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: .6rem .9rem; } .scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top;
  text-align: left; overflow-wrap: anywhere; }
@media print { :root { color-scheme: light; --ink: #000; --paper: #fff; --card: #fff; --line: #bbb; }
  body { margin: 0; max-width: none; font-size: 11px; } nav { display: none; }
  tr, details { break-inside: avoid; } .scroll { overflow: visible; } }
"""


def document(
    title: str, body: Callable[[str], Iterable[str]], *, language: str, style: str = ""
) -> str:
    """`body`: its markup in "en" and in "zh"; `language`: in which it opens; `style`: of this kind of page."""
    checked = {language: ' checked="checked"'}
    parts = [
        f'<!doctype html>\n<html lang="{language}">\n<head>\n<meta charset="utf-8"/>',
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>',
        f"<title>{text(title)}</title>",
        f"<style>{_STYLE}{style}</style>\n</head>\n<body>",
        f'<input class="lang" type="radio" name="lang" id="en"{checked.get("en", "")}/>',
        f'<input class="lang" type="radio" name="lang" id="zh"{checked.get("zh", "")}/>',
        '<nav><label for="en">English</label> <label for="zh">中文</label></nav>\n<main>',
    ]
    for each in ("en", "zh"):
        parts += [f'<div class="{each}" lang="{each}">', *body(each), "</div>"]
    return "\n".join([*parts, "</main>\n</body>\n</html>\n"])


def text(value: str) -> str:
    return html.escape(value)
