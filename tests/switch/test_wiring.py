"""How what a link is granted is shared out among the workers of a node."""

from __future__ import annotations

import pytest

from switch.wiring import share_of


@pytest.mark.parametrize(
    ("granted", "shares"),
    [(1, [1]), (4, [2, 2]), (5, [2, 2, 1]), (2, [1, 1]), (1, [1, 0]), (2, [1, 1, 0, 0])],
)
def test_all_workers_together_make_what_is_granted(granted: int, shares: list[int]) -> None:
    assert [share_of(granted, len(shares), worker) for worker in range(len(shares))] == shares
    assert sum(shares) == granted
