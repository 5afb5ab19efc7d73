"""A story as text for people, and as the object for scripts."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Any

import msgspec

from settlement.reports.figures import money
from switch.explain.books import postings_text
from switch.explain.story import NOT_RECORDED
from switch.explain.texts import LANES, NAMES, SENTENCES, WORDS
from switch.transactions import TYPES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from switch.explain.facts import Linked
    from switch.explain.steps import Step
    from switch.explain.story import Story

EMPTY = "-"
NAMED = frozenset(("state", "origin", "kind", "reason"))  # values that may be one of `NAMES`
OPTIONAL = re.compile(r"\[([^\]]*)\]")
PLACE = re.compile(r"\{(\w+)\}")


def at_text(at: dt.datetime) -> str:
    """UTC to the millisecond.

    >>> import datetime
    >>> at_text(datetime.datetime(2026, 3, 4, 4, 0, 1, 2500, datetime.timezone.utc))
    '2026-03-04 04:00:01.002'
    """
    return at.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S.") + f"{at.microsecond // 1000:03d}"


def filled(template: str, values: Mapping[str, Any], *, chinese: bool) -> str:
    """A template with its values: `{amount}` is `amount_minor` in the currency's own units, and a part in
    square brackets is left out where a value in it is empty.

    >>> filled("{a}[, code {b}]", {"a": 1, "b": ""}, chinese=False)
    '1'
    """
    currency = str(values.get("currency") or "")
    shown = {
        name: value_text(name, value, currency, chinese=chinese) for name, value in values.items()
    }
    shown |= {
        name.removesuffix("_minor"): money(value, currency)
        for name, value in values.items()
        if name.endswith("_minor")
    }

    def part(found: re.Match[str]) -> str:
        names = PLACE.findall(found[1])
        return found[1] if all(shown[name] for name in names) else ""

    filler = {name: value or EMPTY for name, value in shown.items()}
    return OPTIONAL.sub(part, template).format_map(filler)


def value_text(name: str, value: Any, currency: str, *, chinese: bool) -> str:
    if value is None or value == "":
        return ""
    if name in NAMED and value in NAMES:
        return NAMES[value][chinese]
    if name == "type" and chinese and value in TYPES:
        return TYPES[value].name_zh
    if name == "postings":
        return postings_text(value, currency)
    if isinstance(value, dt.datetime):
        return at_text(value)
    return clean(str(value))


def clean(value: str) -> str:
    """Without what a screen would obey and a page may not hold.

    >>> clean("a" + chr(27) + "[2J")
    'a\ufffd[2J'
    """
    spaced = (" " if each.isspace() else each for each in value)
    return "".join(each if each.isprintable() else "\ufffd" for each in spaced)


def sentence(step: Step, *, chinese: bool) -> str:
    return filled(SENTENCES[step.event][chinese], step.values, chinese=chinese)


def word(name: str, *, chinese: bool, **values: Any) -> str:
    return filled(WORDS[name][chinese], values, chinese=chinese)


def title(story: Story, *, chinese: bool) -> str:
    told = story.facts.transaction
    names = ("type", "amount_minor", "currency", "state")
    return word("title", chinese=chinese, **{name: told[name] for name in names})


def identity(story: Story, *, chinese: bool) -> str:
    names = ("rrn", "request_id", "merchant", "terminal", "batch", "stan")
    told = story.facts.transaction
    return word("identity", chinese=chinese, **{name: told[name] for name in names})


def dates(story: Story, *, chinese: bool) -> str:
    told = story.facts.transaction
    names = ("business_date", "settlement_date")
    return word("dates", chinese=chinese, **{name: told[name] for name in names})


def lanes(step: Step, *, chinese: bool) -> str:
    source, target = LANES[step.source][chinese], LANES[step.target][chinese]
    return source if source == target else f"{source} -> {target}"


def stages(story: Story, *, chinese: bool) -> str:
    spent = story.facts.stages
    if spent is None:
        return word("stages_none", chinese=chinese)
    return word("stages_of", chinese=chinese, **msgspec.structs.asdict(spent))


def chain(story: Story) -> tuple[Linked, ...]:
    return (*story.facts.originals, *story.facts.follow_ups)


def linked(of: Linked, *, chinese: bool) -> str:
    return word("chain_of", chinese=chinese, **msgspec.structs.asdict(of))


def when(step: Step) -> str:
    if step.at is not None:
        return at_text(step.at)
    return step.on.isoformat() if step.on is not None else ""


def render(story: Story, *, chinese: bool) -> str:
    """Lines for a screen."""
    return "\n".join(_lines(story, chinese=chinese))


def _lines(story: Story, *, chinese: bool) -> Iterator[str]:
    yield title(story, chinese=chinese)
    yield f"  {identity(story, chinese=chinese)}"
    yield f"  {dates(story, chinese=chinese)}"
    yield ""
    yield word("message", chinese=chinese)
    yield f"  {'  '.join(f'{one.de}={clean(one.value)}' for one in story.message)}"
    yield ""
    yield word("timeline", chinese=chinese)
    for step in story.steps:
        yield f"  {when(step)}  {_padded(lanes(step, chinese=chinese))}  {sentence(step, chinese=chinese)}"
    yield ""
    yield word("stages", chinese=chinese)
    yield f"  {stages(story, chinese=chinese)}"
    if chain(story):
        yield ""
        yield word("chain", chinese=chinese)
        for of in chain(story):
            yield f"  {linked(of, chinese=chinese)}"
    yield ""
    yield word("books", chinese=chinese)
    for step in story.books:
        yield f"  {when(step):10}  {sentence(step, chinese=chinese)}"
    if not story.books:
        yield f"  {word('nothing', chinese=chinese)}"
    yield ""
    yield word("not_recorded", chinese=chinese)
    for name in NOT_RECORDED:
        yield f"  {word(name, chinese=chinese)}"


LANES_WIDTH = 20  # "terminal -> switch" and two


def _padded(text: str) -> str:
    """To one width on a screen, where a Chinese character takes two columns."""
    width = sum(1 if character.isascii() else 2 for character in text)
    return text + " " * max(LANES_WIDTH - width, 0)


# -- for scripts ------------------------------------------------------------------------------------


def to_object(story: Story) -> dict[str, Any]:
    """The object of `explain --json`."""
    facts = story.facts
    return {
        "transaction": facts.transaction,
        "message": [{"element": one.de, "value": one.value} for one in story.message],
        "timeline": [_step(step) for step in story.steps],
        "books": [_step(step) for step in story.books],
        "stages": facts.stages,
        "originals": [_linked(of) for of in facts.originals],
        "follow_ups": [_linked(of) for of in facts.follow_ups],
        "not_recorded": list(NOT_RECORDED),
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        "at": step.at,
        "business_date": step.on,
        "event": step.event,
        "source": step.source,
        "target": step.target,
        "values": step.values,
    }


def _linked(of: Linked) -> dict[str, Any]:
    shown = msgspec.structs.asdict(of)
    return {**shown, "batch": f"{of.batch:06d}", "stan": f"{of.stan:06d}"}


def listed(of: Linked) -> dict[str, Any]:
    """One line of the list where a key names several."""
    return _linked(of)
