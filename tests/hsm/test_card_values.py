"""Goal: card verification values are Visa's in every use, and bad input tells nothing.

Method: psec computes the same of drawn keys and cards; the uses and the orders of the expiry date are
stated one by one; refusals are a table.
"""

from collections.abc import Callable

import psec
import pytest
from hypothesis import given, settings, strategies as st

from hsm import card_values
from hsm.card_values import CardValue, CardValueProfile
from hsm.errors import PanError, VaultError
from tests.hsm.support import odd

pytestmark = pytest.mark.filterwarnings("ignore:.*TripleDES:Warning")

few = settings(max_examples=80, deadline=None)

KEY = odd(1, 16)
PAN = "6222021234567890123"


def digits(least: int, most: int | None = None) -> st.SearchStrategy[str]:
    return st.text("0123456789", min_size=least, max_size=most or least)


@few
@given(st.integers(0, 10_000).map(lambda seed: odd(seed, 16)), digits(12, 19), digits(4), digits(3))
def test_against_psec(key: bytes, pan: str, expiry: str, service_code: str) -> None:
    value = card_values.card_value(key, pan, expiry, service_code)
    assert value == psec.cvv.generate_cvv(key, pan, expiry, service_code)
    assert card_values.verify(key, pan, expiry, service_code, value)
    for place in range(3):
        wrong = str((int(value[place]) + 1) % 10)
        changed = value[:place] + wrong + value[place + 1 :]
        assert not card_values.verify(key, pan, expiry, service_code, changed)


@pytest.mark.parametrize(
    ("profile", "kind", "expected"),
    [
        (CardValueProfile(), CardValue.CVV, ("3012", "201")),
        (CardValueProfile(), CardValue.CVV2, ("1230", "000")),
        (CardValueProfile(), CardValue.ICVV, ("3012", "999")),
        (CardValueProfile(cvv2_expiry="YYMM"), CardValue.CVV2, ("3012", "000")),
        (CardValueProfile(cvv_expiry="MMYY"), CardValue.CVV, ("1230", "201")),
        (CardValueProfile(cvv_expiry="MMYY"), CardValue.ICVV, ("1230", "999")),
        (CardValueProfile(icvv_service_code="998"), CardValue.ICVV, ("3012", "998")),
        (CardValueProfile(cvv2_service_code="001"), CardValue.CVV2, ("1230", "001")),
    ],
)
def test_what_goes_in_is_the_issuers_setting(
    profile: CardValueProfile, kind: CardValue, expected: tuple[str, str]
) -> None:
    assert profile.inputs(kind, "3012", "201") == expected


def test_the_three_values_of_a_card_differ() -> None:
    profile = CardValueProfile()
    values = {
        card_values.card_value(KEY, PAN, *profile.inputs(kind, "3012", "201")) for kind in CardValue
    }
    assert len(values) == 3


REFUSALS: list[tuple[Callable[[], object], type[VaultError], str]] = [
    (lambda: card_values.card_value(bytes(8), PAN, "3012", "201"), VaultError, "16 bytes"),
    (lambda: card_values.card_value(odd(1, 24), PAN, "3012", "201"), VaultError, "16 bytes"),
    (lambda: card_values.card_value(KEY, PAN[:11], "3012", "201"), PanError, "12 to 19"),
    (lambda: card_values.card_value(KEY, PAN + "0", "3012", "201"), PanError, "12 to 19"),
    (lambda: card_values.card_value(KEY, "A" + PAN[1:], "3012", "201"), PanError, "12 to 19"),
    (lambda: card_values.card_value(KEY, PAN, "301", "201"), VaultError, "expiry date has 4"),
    (lambda: card_values.card_value(KEY, PAN, "30-2", "201"), VaultError, "expiry date has 4"),
    (lambda: card_values.card_value(KEY, PAN, "3012", "20"), VaultError, "service code has 3"),
    (
        lambda: card_values.card_value(KEY, PAN, "3012", "\uff1201"),
        VaultError,
        "service code has 3",
    ),
    (lambda: card_values.verify(KEY, PAN, "3012", "201", "12"), VaultError, "value has 3 digits"),
    (lambda: card_values.verify(KEY, PAN, "3012", "201", "12x"), VaultError, "value has 3 digits"),
    (lambda: CardValueProfile(cvv2_expiry="DDMM"), VaultError, "YYMM or MMYY"),
    (lambda: CardValueProfile(cvv_expiry=""), VaultError, "YYMM or MMYY"),
    (lambda: CardValueProfile(icvv_service_code="99"), VaultError, "service code has 3"),
    (lambda: CardValueProfile().inputs(CardValue.CVV, "3013", "201"), VaultError, "month"),
    (lambda: CardValueProfile().inputs(CardValue.CVV, "123", "201"), VaultError, "expiry date"),
]


@pytest.mark.parametrize("row", REFUSALS, ids=lambda row: row[2])
def test_refusals_say_what_is_wrong(
    row: tuple[Callable[[], object], type[VaultError], str],
) -> None:
    call, kind, reason = row
    with pytest.raises(kind, match=reason) as caught:
        call()
    for secret in (KEY.hex(), PAN[:12], "3012", "12x"):
        assert secret not in str(caught.value)
