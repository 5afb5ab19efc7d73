"""Test numbers: as long, of the same range, with a right check digit, one for each card."""

from __future__ import annotations

from hypothesis import given, strategies as st

from iso8583.track import luhn_ok
from switch.replay.cards import Ranges

DIGITS = st.text("0123456789", min_size=6, max_size=6)
ROUTES = st.lists(st.text("0123456789", min_size=3, max_size=9), max_size=6)


@given(head=DIGITS, routes=ROUTES, length=st.integers(13, 19), place=st.integers(1, 9_999))
def test_of_the_range_and_as_long(head: str, routes: list[str], length: int, place: int) -> None:
    ranges = Ranges(routes)
    number = ranges.number(head, ranges.met(head), length, place)
    assert len(number) == length
    assert number.startswith(head)
    assert luhn_ok(number)
    assert not luhn_ok(ranges.number(head, ranges.met(head), length, place, sound=False))


@given(head=DIGITS, routes=ROUTES, places=st.sets(st.integers(1, 10**5), min_size=2, max_size=20))
def test_equal_only_where_cards_were(head: str, routes: list[str], places: set[int]) -> None:
    ranges = Ranges(routes)
    numbers = [ranges.number(head, ranges.met(head), 16, place) for place in places]
    assert len(set(numbers)) == len(places)


def test_it_meets_the_route_that_the_card_met() -> None:
    ranges = Ranges(["622000", "62200000", "62200001", "9"])
    for place in (1, 77, 12_345):
        for route in ("622000", "62200000", "62200001"):
            assert ranges.met(ranges.number("622000", route, 19, place)) == route


def test_a_card_without_a_head() -> None:
    assert Ranges(["9"]).number("", "", 8, 12) == "00000125"
