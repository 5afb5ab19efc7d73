"""The pack's page: self-contained, no script, both languages, light and dark."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any, Final

from switch.texts import say

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Sequence

    from switch.certify.pack import Head

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #5b646d; --line: #dfe3e7; --paper: #fff;
  --card: #f6f8f9; --good: #1f7a4d; --bad: #b0402c; --open: #9a6b00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ea; --soft: #9aa4ad; --line: #363c43;
  --paper: #15181b; --card: #1c2024; --good: #5cba8c; --bad: #e88670; --open: #d9a93f; } }
* { box-sizing: border-box; }
body { font: 15px/1.55 system-ui, "PingFang SC", "Noto Sans SC", "Microsoft YaHei", sans-serif;
  color: var(--ink); background: var(--paper); max-width: 1080px; margin: 1.6rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: .2rem 0 .3rem; } .sub { color: var(--soft); font-size: .92rem; }
nav { float: right; } nav label { cursor: pointer; padding: .15rem .6rem; color: var(--soft);
  border: 1px solid var(--line); border-radius: 1rem; font-size: .85rem; }
input.lang { position: absolute; opacity: 0; }
#en:checked ~ main .zh, #zh:checked ~ main .en { display: none; }
#en:checked ~ nav label[for=en], #zh:checked ~ nav label[for=zh] { color: var(--paper);
  background: var(--ink); border-color: var(--ink); }
details { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; margin: .4rem 0;
  padding: .4rem .8rem; }
summary { cursor: pointer; } .passed { color: var(--good); } .failed { color: var(--bad); }
.not_run { color: var(--open); } b.r { display: inline-block; min-width: 5.5rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; margin: .4rem 0; }
td, th { padding: .15rem .6rem; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; overflow-wrap: anywhere; }
th { font-weight: 600; background: var(--paper); }
@media print { nav { display: none; } body { margin: 0; max-width: none; font-size: 11px; }
  details { break-inside: avoid; } }
"""


def render(
    head: Head, cases: Sequence[dict[str, Any]], counts: Counter[str], *, chinese: bool
) -> str:
    """The page; `chinese`: which language it opens in."""
    checked = ' checked="checked"'
    parts = [
        f'<!doctype html>\n<html lang="{"zh" if chinese else "en"}">\n<head>\n<meta charset="utf-8"/>',
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>',
        f"<title>{_text(_title(head, 'zh' if chinese else 'en'))}</title>",
        f"<style>{_STYLE}</style>\n</head>\n<body>",
        f'<input class="lang" type="radio" name="lang" id="en"{"" if chinese else checked}/>',
        f'<input class="lang" type="radio" name="lang" id="zh"{checked if chinese else ""}/>',
        '<nav><label for="en">English</label> <label for="zh">中文</label></nav>\n<main>',
    ]
    for language in ("en", "zh"):
        parts.append(f'<div class="{language}" lang="{language}">')
        parts += _body(head, cases, counts, language)
        parts.append("</div>")
    return "\n".join([*parts, "</main>\n</body>\n</html>\n"])


def _title(head: Head, language: str) -> str:
    return say("certify_title", language, link=head.link)


def _body(
    head: Head, cases: Sequence[dict[str, Any]], counts: Counter[str], language: str
) -> Iterator[str]:
    yield f"<h1>{_text(_title(head, language))}</h1>"
    against = say("certify_simulated" if head.simulated else "certify_real", language)
    facts = say(
        "certify_facts",
        language,
        against=against,
        dialect=head.dialect,
        mac=head.mac_algorithm,
        at=head.begun_at.isoformat(timespec="seconds"),
        version=head.version,
    )
    yield f'<p class="sub">{_text(facts)}</p>'
    results = ", ".join(
        f"{_result(name, language)} {counts[name]}" for name in ("passed", "failed", "not_run")
    )
    yield f"<p>{_text(results)}. {_text(say('certify_masked', language))}</p>"
    for case in cases:
        yield from _case(case, language)


def _result(name: str, language: str) -> str:
    return say(f"certify_{name}", language)


def _case(case: dict[str, Any], language: str) -> Iterator[str]:
    zh = "_zh" if language == "zh" else ""
    result = case["result"]
    opened = ' open="open"' if result == "failed" else ""
    yield (
        f'<details{opened}><summary><b class="r {result}">{_text(_result(result, language))}</b>'
        f"{_text(case['title' + zh])} <span class='sub'>{_text(case['id'])}</span></summary>"
    )
    yield f'<p class="sub">{_text(case["purpose" + zh])}</p>'
    for reason in case["why"]:
        yield f'<p class="{result}">{_text(reason[language])}</p>'
    for step in case["steps"]:
        for reason in step["wrong"]:
            yield f'<p class="failed">{_text(step["do"])}: {_text(reason[language])}</p>'
    for message in case["messages"]:
        yield _message(message, language)
    yield "</details>"


def _message(message: dict[str, Any], language: str) -> str:
    name = "name_zh" if language == "zh" else "name"
    way = say(f"certify_to_{message['to']}", language)
    fault = f" · {say('certify_fault_' + message['fault'], language)}" if message["fault"] else ""
    title = f"{message['at']:.3f} s · {message['mti']} {way}{fault}"
    rows = "".join(
        f"<tr><td>{one['de']}</td><td>{_text(one[name])}</td><td>{_text(one['value'])}</td></tr>"
        for one in message["elements"]
    )
    return f'<table><tbody><tr><th colspan="3">{_text(title)}</th></tr>{rows}</tbody></table>'


def _text(value: str) -> str:
    return html.escape(value)
