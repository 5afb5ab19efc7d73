"""Key sets of a terminal: how long the former one stays good after a sign-on."""

from __future__ import annotations

import datetime as dt

import pytest

from switch.access import Access
from switch.journal import Session

NOON = dt.datetime(2026, 3, 4, 12, tzinfo=dt.UTC)


def session(number: int, *, confirmed: bool) -> Session:
    return Session(
        session_id=number,
        merchant="M" * 15,
        terminal="T" * 8,
        layout="003",
        pik="",
        mak="",
        tdk=None,
        created_at=NOON,
        confirmed=confirmed,
    )


@pytest.mark.parametrize(
    ("age_s", "confirmed", "usable"),
    [
        (0, False, [2, 1]),
        (5, False, [2, 1]),
        (6, False, [2]),
        (0, True, [2]),  # a message has verified under the new set
    ],
)
def test_the_former_set_ends_by_use_or_by_age(
    age_s: int, confirmed: bool, usable: list[int]
) -> None:
    access = Access([session(2, confirmed=confirmed), session(1, confirmed=True)], None, 5.0)
    found = access.usable(NOON + dt.timedelta(seconds=age_s))
    assert [each.session_id for each in found] == usable
