"""How much the costly tests play: enough in every run, ten times as much in a deep one.

Costly is what closes days or asks PostgreSQL for each example. `make test-deep` sets the environment
variable, and runs the drawn tests and those that are marked `deep` alone: the rest of a product of
which every run plays a part.
"""

import os
from collections.abc import Callable, Iterable
from typing import Any, Final

import pytest

DEPTH: Final = int(os.environ.get("TONGBAO_TEST_DEPTH", "1"))


def examples(count: int) -> int:
    """`max_examples` of a costly test."""
    return count * DEPTH


def sampled(rows: Iterable[Any], always: Callable[[Any], bool]) -> list[Any]:
    """Parameters of a product: those that every run plays, and the others for a deep one."""
    return [
        row
        if always(row)
        else pytest.param(*row, marks=pytest.mark.deep)
        if isinstance(row, tuple)
        else pytest.param(row, marks=pytest.mark.deep)
        for row in rows
    ]
