"""Dictionaries that remember so much and no more."""

from __future__ import annotations

from typing import Any


def remember(known: dict[Any, Any], key: Any, value: Any, bound: int) -> None:
    """Newest last; the oldest goes at the bound.

    >>> known = {"a": 1, "b": 2}
    >>> remember(known, "a", 3, 2)
    >>> remember(known, "c", 4, 2)
    >>> known
    {'a': 3, 'c': 4}
    """
    known.pop(key, None)
    if len(known) >= bound:
        del known[next(iter(known))]
    known[key] = value
