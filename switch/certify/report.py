"""The pack's page, in both languages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from switch.page import document, text as _text
from switch.texts import say

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Sequence

    from switch.certify.pack import Head

_STYLE: Final = """
details { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; margin: .4rem 0;
  padding: .4rem .8rem; }
summary { cursor: pointer; } .passed { color: var(--good); } .failed { color: var(--bad); }
.not_run { color: var(--open); } b.r { display: inline-block; min-width: 5.5rem; }
details table { margin: .4rem 0; } details td, details th { padding: .15rem .6rem; }
th { font-weight: 600; background: var(--paper); }
"""


def render(
    head: Head, cases: Sequence[dict[str, Any]], counts: Counter[str], *, chinese: bool
) -> str:
    """The page; `chinese`: which language it opens in."""
    opens_in = "zh" if chinese else "en"
    return document(
        _title(head, opens_in),
        lambda language: _body(head, cases, counts, language),
        language=opens_in,
        style=_STYLE,
    )


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
