"""Drawn sides for the passes, and what they come to by an oracle that knows no engine.

The oracle is the theory of operation in plain Python: group by the keys, sort by content, n-th with
n-th. It shares the passes' table with the code, and nothing else.
"""

import random
from collections.abc import Sequence
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
from hypothesis import strategies as st

from settlement.passes import COLUMNS, PASSES

Line = dict[str, Any]
Pairs = list[tuple[str, str, str]]  # rule, record, row

# Few values each, blanks among them, so that keys stand several times and passes take from each other.
_DOMAINS: dict[str, tuple[Any, ...]] = {
    "acquirer": ("a", "b"),
    "currency": ("156", "344"),
    "side": ("asked", "asked", "reversal"),
    "de32": ("1", "1", ""),
    "de33": ("1",),
    "stan": ("1", "2", ""),
    "time": ("t1", "t1", "t2"),
    "rrn": ("r1", "r2", ""),
    "terminal": ("T1", "T1", "T2"),
    "merchant": ("M1",),
    "auth": ("A1", "A2", ""),
    "token": ("k1", "k1", "k2"),
    "amount": (100, 100, 200, -100),
    "day": (1, 1, 2, 3),
    "rank": (0, 0, 1),
}


@st.composite
def sides(draw: st.DrawFn, most: int = 8) -> tuple[list[Line], list[Line]]:
    line = st.fixed_dictionaries({name: st.sampled_from(of) for name, of in _DOMAINS.items()})
    return _named(draw(st.lists(line, max_size=most)), draw(st.lists(line, max_size=most)))


def drawn_sides(chance: random.Random, count: int) -> tuple[list[Line], list[Line]]:
    """The same without hypothesis, for an engine that takes seconds; more traces, fewer collisions."""
    domains = {
        **_DOMAINS,
        "stan": (*map(str, range(count // 4)), ""),
        "rrn": (*map(str, range(40)), ""),
    }
    domains |= {"amount": tuple(range(-300, 900, 100))}

    def side() -> list[Line]:
        return [{name: chance.choice(of) for name, of in domains.items()} for _ in range(count)]

    return _named(side(), side())


def _named(ours: list[Line], theirs: list[Line]) -> tuple[list[Line], list[Line]]:
    """With identities, which are the contents, too."""
    return (
        [{**line, "key": f"o{n}", "content": f"o{n}"} for n, line in enumerate(ours)],
        [{**line, "row": f"t{n}", "content": f"t{n}"} for n, line in enumerate(theirs)],
    )


def table(lines: Sequence[Line], identity: str, kind: str = "string") -> pa.Table:
    kinds = {"string": pa.string(), "int64": pa.int64()}
    shape = {identity: kind, **COLUMNS}
    return pa.table(
        {name: pa.array([line[name] for line in lines], kinds[k]) for name, k in shape.items()}
    )


def oracle(ours: Sequence[Line], theirs: Sequence[Line]) -> tuple[Pairs, set[str], set[str]]:
    """Pairs in order of the record, and what is left on either side."""
    left, right = list(ours), list(theirs)
    found: Pairs = []
    for one in PASSES:
        shift = one.day_shift
        on_left = _grouped(left, one.keys, shift)
        on_right = _grouped(right, one.keys, None if shift is None else 0)
        for key, records in on_left.items():
            for record, row in zip(records, on_right.get(key, ()), strict=False):
                found.append((one.name, record["key"], row["row"]))
        matched = {name for _, *both in found for name in both}
        left = [line for line in left if line["key"] not in matched]
        right = [line for line in right if line["row"] not in matched]
    return (
        sorted(found, key=lambda pair: pair[1:]),
        {line["key"] for line in left},
        {line["row"] for line in right},
    )


def _grouped(
    lines: Sequence[Line], keys: Sequence[str], shift: int | None
) -> dict[tuple[Any, ...], list[Line]]:
    groups: dict[tuple[Any, ...], list[Line]] = {}
    for line in sorted(lines, key=lambda line: (line["rank"], line["content"])):
        key = tuple(line[name] for name in keys)
        if "" not in key:
            day = None if shift is None else line["day"] + shift
            groups.setdefault((*key, day), []).append(line)
    return groups
