"""Two runs of one journal, line by line: which elements, facts and times differ. Pure, streamed.

Messages of a line are paired by sender, receiver, MTI and turn. What differs by a rule (`RULES`) is
counted under its name and is no difference: numbers and times that a build gives out are its own
affair, and follow each other through every message of a day. `--ignore` adds rules, `--compare`
takes one away.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from iso8583.mti import without_repeat

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from switch.replay.happened import Crossed, Played

TIMING_S: Final = 0.001  # that a message may come earlier or later
ABSENT: Final = "-"


class Rule(msgspec.Struct, frozen=True):
    """Elements in which builds may differ. `within`: of a value only these characters."""

    name: str
    elements: tuple[str, ...]
    within: tuple[slice, ...] = ()


# DE 90: MTI 4, STAN 6, DE 7 10, DE 32 and DE 33 11 each
RULES: Final[dict[str, Rule]] = {
    row.name: row
    for row in (
        Rule("stan", ("link:11",)),
        Rule("rrn", ("37",)),
        Rule("time", ("7", "12", "13")),
        Rule("original", ("90",), (slice(4, 20),)),
    )
}

_IGNORE: Final = re.compile(r"(?:([0-9]{4}):)?(?:DE ?)?([0-9]{1,3})", re.IGNORECASE)


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """`where`: of an element the message, of a fact "". `a`, `b`: "-" where there is none."""

    where: str
    kind: str  # element, message, fact, time, note
    name: str  # data element, or the fact's
    a: str
    b: str


class Differing(msgspec.Struct, frozen=True, kw_only=True):
    """A line whose runs differ."""

    line: int
    name: str
    type: str
    at: float
    differences: tuple[Difference, ...]


class Summary(msgspec.Struct, kw_only=True):
    lines: int = 0
    differing: int = 0
    by_element: Counter[str] = msgspec.field(default_factory=Counter)
    by_type: Counter[str] = msgspec.field(default_factory=Counter)
    by_rule: Counter[str] = msgspec.field(default_factory=Counter)  # expected, or told to ignore
    outcomes: Counter[str] = msgspec.field(default_factory=Counter)  # A's answer → B's
    as_recorded: tuple[int, int] = (0, 0)  # lines whose facts are those of the journal
    with_facts: int = 0  # lines that have facts in the journal


class IgnoreError(ValueError):
    """A word of --ignore or --compare that names nothing."""


class Ignored:
    """What does not count: the rules, and what the operator names.

    Words: a rule's name; `DE 39`, `39`; `0210:39`; a fact's name; `timing`, `notes`.
    """

    def __init__(self, ignore: Iterable[str] = (), compare: Iterable[str] = ()) -> None:
        self._rules = dict(RULES)
        self._named: set[str] = set()
        for word in compare:
            if self._rules.pop(word, None) is None:
                raise IgnoreError(word)
        for word in ignore:
            match = _IGNORE.fullmatch(word.strip())
            self._named.add(word.strip() if match is None else f"{match[1] or ''}:{int(match[2])}")
        self.by_element = {
            element: rule for rule in self._rules.values() for element in rule.elements
        }

    def rule(self, difference: Difference) -> str:
        """The name of what covers a difference, or ""."""
        if difference.kind == "time":
            return "timing" if "timing" in self._named else ""
        if difference.kind == "note":
            return "notes" if "notes" in self._named else ""
        if difference.kind != "element":
            return difference.name if difference.name in self._named else ""
        mti, _, parties = difference.where.partition(" ")
        for named in (f":{difference.name}", f"{mti}:{difference.name}"):
            if named in self._named:
                return named.removeprefix(":")
        side = "terminal" if "terminal" in parties else "link"
        rule = self.by_element.get(difference.name) or self.by_element.get(
            f"{side}:{difference.name}"
        )
        if rule is None or (rule.within and not only_within(difference, rule.within)):
            return ""
        return rule.name


def only_within(difference: Difference, places: tuple[slice, ...]) -> bool:
    """Nothing else differs."""

    def rest(value: str) -> str:
        characters = list(value)
        for place in places:
            characters[place] = "?" * len(characters[place])
        return "".join(characters)

    return rest(difference.a) == rest(difference.b)


def differences(
    a: Iterable[Played], b: Iterable[Played], ignored: Ignored, summary: Summary
) -> Iterator[Differing]:
    """Lines that differ, as soon as both runs have told of them; the summary counts all."""
    more: dict[int, list[Played]] = {}  # what came of lines later: A's not yet met by B's
    for one, other in _paired(a, b, more):
        summary.lines += 1
        _count(one, other, summary)
        found = _differing(one, other, ignored, summary)
        if found is not None:
            yield found
    for line in sorted(more):
        one, other = more[line]
        found = _differing(one, other, ignored, summary)
        if found is not None:
            yield found


def _paired(
    a: Iterable[Played], b: Iterable[Played], more: dict[int, list[Played]]
) -> Iterator[tuple[Played, Played]]:
    """Both tell lines in their order; what follows of one told before is put by."""
    first, second = _told(a, 0, more), _told(b, 1, more)
    for one in first:
        other = next(second, None)
        assert other is not None, "both runs tell of the same lines"
        assert one.line == other.line, "both runs tell of the same lines"
        yield one, other
    assert next(second, None) is None, "both runs tell of the same lines"


def _told(of: Iterable[Played], side: int, more: dict[int, list[Played]]) -> Iterator[Played]:
    for played in of:
        if not played.more:
            yield played
            continue
        both = more.setdefault(
            played.line, [msgspec.structs.replace(played, messages=[], facts={}) for _ in "ab"]
        )
        both[side].messages.extend(played.messages)
        both[side].facts.update(played.facts)
        if both[0].messages == both[1].messages and both[0].facts == both[1].facts:
            del more[played.line]


def _count(one: Played, other: Played, summary: Summary) -> None:
    if not one.recorded:
        return
    summary.with_facts += 1
    same = [
        all(played.facts.get(name, "") == value for name, value in played.recorded.items())
        for played in (one, other)
    ]
    was = summary.as_recorded
    summary.as_recorded = (was[0] + same[0], was[1] + same[1])


def _differing(one: Played, other: Played, ignored: Ignored, summary: Summary) -> Differing | None:
    counted = []
    for each in _of(one, other):
        rule = ignored.rule(each)
        if rule:
            summary.by_rule[rule] += 1
        else:
            counted.append(each)
    if not counted:
        return None
    summary.differing += 1
    summary.by_type[one.type] += 1
    for each in counted:
        summary.by_element[label(each)] += 1
        if each.kind == "fact" and each.name == "response_code":
            summary.outcomes[f"{each.a} → {each.b}"] += 1
    return Differing(
        line=one.line, name=one.name, type=one.type, at=one.at, differences=tuple(counted)
    )


def label(of: Difference) -> str:
    """What a difference is counted as."""
    if of.kind == "element":
        return f"{of.where} DE {of.name}"
    return f"{of.where} {of.kind}" if of.where else f"{of.kind} {of.name}"


def _of(one: Played, other: Played) -> Iterator[Difference]:
    """Facts first: they say what the messages show."""
    for name in dict.fromkeys([*one.facts, *other.facts]):
        a, b = one.facts.get(name, ABSENT), other.facts.get(name, ABSENT)
        if a != b:
            yield Difference(where="", kind="fact", name=name, a=a, b=b)
    left, right = _by_turn(one), _by_turn(other)
    for key in dict.fromkeys([*left, *right]):
        here, there = left.get(key), right.get(key)
        where = f"{key[0]} {key[1]}→{key[2]}" + (f" ({key[3]})" if key[3] > 1 else "")
        if here is None or there is None:
            a, b = (ABSENT, "sent") if here is None else ("sent", ABSENT)
            yield Difference(where=where, kind="message", name="message", a=a, b=b)
            continue
        yield from _of_elements(where, here, there)
    notes = [note for note in one.notes if note not in other.notes]
    for note in notes:
        yield Difference(where="", kind="note", name=note, a="noted", b=ABSENT)
    for note in (note for note in other.notes if note not in one.notes):
        yield Difference(where="", kind="note", name=note, a=ABSENT, b="noted")


def _of_elements(where: str, here: Crossed, there: Crossed) -> Iterator[Difference]:
    names = sorted({*here.elements, *there.elements}, key=int)
    for name in names:
        a, b = here.elements.get(name, ABSENT), there.elements.get(name, ABSENT)
        if a != b:
            yield Difference(where=where, kind="element", name=name, a=a, b=b)
    if abs(here.at - there.at) > TIMING_S:
        a, b = f"{here.at:.3f} s", f"{there.at:.3f} s"
        yield Difference(where=where, kind="time", name="time", a=a, b=b)


def _by_turn(played: Played) -> dict[tuple[str, str, str, int], Crossed]:
    turns: Counter[tuple[str, str, str]] = Counter()
    found = {}
    for message in played.messages:
        mti = message.elements.get("0", "")
        of = (without_repeat(mti) if len(mti) == 4 else mti, message.sender, message.receiver)
        turns[of] += 1
        found[(*of, turns[of])] = message
    return found
