"""Test cards: valid where they should be, the same wherever they are made; the dice repeat."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, strategies as st

from terminals.simulator.card import BANK_A, BANK_B, CardRange, card_pools, luhn_digit
from terminals.simulator.dice import Dice

ALL = BANK_A + BANK_B


def test_every_pan_is_luhn_valid_and_unique() -> None:
    cards = [card for card_range in ALL for card in card_range.cards()]
    assert all(luhn_digit(card.pan[:-1]) == card.pan[-1] for card in cards)
    assert all(len(card.pan) in (16, 19) for card in cards)
    assert len({card.pan for card in cards}) == len(cards)


@given(st.text("0123456789", min_size=1, max_size=18), st.data())
def test_luhn_finds_one_wrong_digit(payload: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(payload) - 1))
    other = data.draw(st.sampled_from([d for d in "0123456789" if d != payload[at]]))
    assert luhn_digit(payload) != luhn_digit(payload[:at] + other + payload[at + 1 :])


def test_pools_hold_each_card_once() -> None:
    pools = card_pools(ALL)
    assert len(pools.sound) + len(pools.expired) + len(pools.poor) == sum(r.count for r in ALL)
    assert all(card.expiry == "2401" for card in pools.expired)
    assert all(card.balance_minor < 100 for card in pools.poor)


@pytest.mark.parametrize("wrong", [{"bin": "12"}, {"bin": "622000", "pan_length": 13}])
def test_a_wrong_range_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"bin|pan_length"):
        CardRange(**({"issuer": "1"} | wrong))  # type: ignore[arg-type]


def test_dice_repeat_and_stay_in_bounds() -> None:
    assert [Dice.from_bits(random.Random(7)).bits64() for _ in range(2)] == [
        Dice.from_bits(random.Random(7)).bits64()
    ] * 2
    dice = Dice(1)
    assert {dice.below(3) for _ in range(100)} == {0, 1, 2}
    assert {dice.between(1, 2) for _ in range(100)} == {1, 2}
    assert not any(dice.chance(0.0) for _ in range(100))
    assert all(dice.chance(1.0) for _ in range(100))
    assert dice.sample(range(10), 20) == list(range(10))
    assert {dice.weighted([("a", 1.0), ("b", 0.0)]) for _ in range(100)} == {"a"}


@given(st.integers(0, 2**64), st.integers(0, 30), st.integers(0, 40))
def test_a_sample_has_no_repeats(seed: int, size: int, count: int) -> None:
    drawn = Dice(seed).sample(range(size), count)
    assert len(set(drawn)) == len(drawn) == min(size, count)
