"""What two builds differ in as one self-contained page in both languages: counts as bars, lines side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from iso8583 import elements
from switch.page import document, text
from switch.texts import say

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Sequence

    from switch.replay.compare import Difference, Differing, Summary

_STYLE: Final = """
details { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; margin: .4rem 0;
  padding: .4rem .8rem; } summary { cursor: pointer; }
td.n { width: 5rem; text-align: right; } td.bar { width: 45%; }
td.bar i { display: block; height: .8rem; margin-top: .35rem; background: var(--wire);
  border-radius: .2rem; min-width: 2px; }
td.a { color: var(--open); width: 30%; } td.b { color: var(--wire); width: 30%; }
"""
COUNTS: Final = ("by_element", "by_type", "outcomes", "by_rule")  # of `Summary`


def render(
    builds: Sequence[str], summary: Summary, shown: Sequence[Differing], *, language: str
) -> str:
    """`builds`: their two names; `shown`: the lines that are shown one by one, of all that differ."""
    return document(
        " | ".join(builds),
        lambda each: _body(builds, summary, shown, each),
        language=language,
        style=_STYLE,
    )


def _body(
    builds: Sequence[str], summary: Summary, shown: Sequence[Differing], language: str
) -> Iterator[str]:
    yield f"<h1>{text(verdict(builds, summary, language))}</h1>"
    for told in as_recorded(builds, summary, language):
        yield f'<p class="sub">{text(told)}</p>'
    for name in COUNTS:
        counts: Counter[str] = getattr(summary, name)
        if counts:
            yield f"<h2>{text(say(f'replay_{name}', language))}</h2>"
            yield _bars(counts)
    if not shown:
        return
    yield f"<h2>{text(say('replay_lines', language))}</h2>"
    for differing in shown:
        yield _line(differing, builds, language)
    if summary.differing > len(shown):
        more = say("replay_more", language, count=summary.differing - len(shown))
        yield f"<p>{text(more)}</p>"


def _bars(counts: Counter[str]) -> str:
    longest = max(counts.values())
    rows = "".join(
        f'<tr><td>{text(name)}</td><td class="n">{count:,}</td>'
        f'<td class="bar"><i style="width: {100 * count / longest:.1f}%"></i></td></tr>'
        for name, count in ordered(counts)
    )
    return f'<div class="box scroll"><table><tbody>{rows}</tbody></table></div>'


def _line(differing: Differing, builds: Sequence[str], language: str) -> str:
    a, b = builds
    title = say(
        "replay_line", language, line=differing.line, name=differing.name, type=differing.type
    )
    rows = "".join(
        f'<tr><td>{text(place(each, language))}</td><td class="a">{text(each.a)}</td>'
        f'<td class="b">{text(each.b)}</td></tr>'
        for each in differing.differences
    )
    return (
        f'<details open="open"><summary>{text(title)}</summary><div class="scroll"><table><tbody>'
        f"<tr><th></th><th>{text(a)}</th><th>{text(b)}</th></tr>{rows}"
        "</tbody></table></div></details>"
    )


# -- said on the console too --------------------------------------------------------------------


def verdict(builds: Sequence[str], summary: Summary, language: str) -> str:
    key = "replay_differ" if summary.differing else "replay_same"
    a, b = builds
    return say(key, language, a=a, b=b, lines=summary.lines, differing=summary.differing)


def as_recorded(builds: Sequence[str], summary: Summary, language: str) -> list[str]:
    """How many lines each build decided as production did."""
    return [
        say("replay_as_recorded", language, build=name, same=same, of=summary.with_facts)
        for name, same in zip(builds, summary.as_recorded, strict=True)
    ]


def ordered(counts: Counter[str]) -> list[tuple[str, int]]:
    """The most frequent first."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def place(of: Difference, language: str) -> str:
    if of.kind == "element":
        return f"{of.where} DE {of.name} {elements.name(int(of.name), language)}"
    return f"{of.where} {of.name}".strip()
