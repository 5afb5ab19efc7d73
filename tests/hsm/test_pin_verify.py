"""Goal: PINs are checked, made and changed as IBM 3624 and Visa PVV say, and bad input tells nothing.

Method: psec computes natural PINs, offsets and PVVs of drawn keys, cards and PINs; what it does not have
(a check length, the host's `N`, a change) is stated as a property. Refusals are a table.
"""

import itertools
from collections import Counter
from collections.abc import Callable

import psec
import pytest
from hypothesis import assume, given, settings, strategies as st

from hsm import pin_verify
from hsm.digits import account_of, decimalise
from hsm.errors import DecimalisationTableError, PanError, PinError, VaultError
from tests.hsm.support import odd, seeded

pytestmark = pytest.mark.filterwarnings("ignore:.*TripleDES:Warning")

few = settings(max_examples=60, deadline=None)

KEY = odd(1, 16)
TABLE = "0123456789012345"
ACCOUNT = "123456789012"
VALIDATION = "1234567890123456"

keys = st.tuples(st.integers(0, 10_000), st.sampled_from([16, 24])).map(lambda pair: odd(*pair))
double_keys = st.integers(0, 10_000).map(lambda seed: odd(seed, 16))
pins = st.text("0123456789", min_size=4, max_size=12)
pans = st.text("0123456789", min_size=16, max_size=19)
tables = st.permutations("0123456789987654").map("".join)


# -- IBM 3624 --------------------------------------------------------------------------------


@few
@given(
    keys, tables, pins, pans, st.integers(0, 3), st.integers(4, 16), st.sampled_from("0123ABCDEFf")
)
def test_natural_pin_and_offset_against_psec(
    key: bytes, table: str, pin: str, pan: str, start: int, length: int, pad: str
) -> None:
    assume(start + length <= len(pan))
    validation = pin_verify.validation_data(pan, start, length, pad)
    theirs = pan, start, length, pad
    card = key, validation, table
    natural = psec.pin.generate_ibm3624_pin(key, table, "0" * len(pin), *theirs)
    assert pin_verify.natural_pin(*card, len(pin)) == natural
    offset = pin_verify.offset_of_pin(*card, pin)
    assert offset == psec.pin.generate_ibm3624_offset(key, table, pin, *theirs)
    assert pin_verify.pin_of_offset(*card, offset, len(pin)) == pin
    assert pin == psec.pin.generate_ibm3624_pin(key, table, offset, *theirs)
    assert pin_verify.verify_offset(*card, pin, offset)


@few
@given(keys, pins, pins, st.integers(4, 12))
def test_a_pin_is_right_where_its_checked_digits_are(
    key: bytes, pin: str, other: str, check_length: int
) -> None:
    assume(check_length <= len(pin))
    card = key, VALIDATION, TABLE
    offset = pin_verify.offset_of_pin(*card, pin, check_length)
    assert len(offset) == check_length
    assert offset == pin_verify.offset_of_pin(*card, pin)[-check_length:]
    assert pin_verify.verify_offset(*card, pin, offset)
    # A PIN of the same length is right exactly where it ends in the same digits.
    other = (other * 3)[: len(pin)]
    same_end = other[-check_length:] == pin[-check_length:]
    assert pin_verify.verify_offset(*card, other, offset) is same_end
    # The digits before those that are checked may be anything.
    free = len(pin) - check_length
    changed = "".join(str((int(digit) + 1) % 10) for digit in pin[:free]) + pin[free:]
    assert pin_verify.verify_offset(*card, changed, offset)
    full = pin_verify.offset_of_pin(*card, pin)
    assert pin_verify.verify_offset(*card, changed, full, check_length)
    assert pin_verify.verify_offset(*card, changed, full) is (free == 0)


@few
@given(keys, pins)
def test_every_wrong_digit_is_seen_and_a_short_pin_is_wrong(key: bytes, pin: str) -> None:
    card = key, VALIDATION, TABLE
    offset = pin_verify.offset_of_pin(*card, pin)
    for place, step in itertools.product(range(len(pin)), (1, 5, 9)):
        digit = str((int(pin[place]) + step) % 10)
        wrong = pin[:place] + digit + pin[place + 1 :]
        assert not pin_verify.verify_offset(*card, wrong, offset)
    if len(pin) > 4:
        assert not pin_verify.verify_offset(*card, pin[:-1], offset)


@few
@given(keys, st.integers(4, 12), pins)
def test_an_offset_of_zeros_is_the_derived_pin(key: bytes, length: int, pin: str) -> None:
    card = key, VALIDATION, TABLE
    natural = pin_verify.natural_pin(*card, length)
    assert pin_verify.pin_of_offset(*card, "0000", length) == natural
    assert pin_verify.offset_of_pin(*card, natural) == "0" * length
    # Offset arithmetic is from the right: a short one leaves the left of the PIN as it is.
    offset = pin_verify.offset_of_pin(*card, pin)[:4]
    moved = pin_verify.pin_of_offset(*card, offset, length)
    assert moved[:-4] == natural[:-4]
    assert pin_verify.verify_offset(*card, moved, offset)


@few
@given(keys, pins, pins, pins)
def test_a_pin_change_needs_the_old_pin(key: bytes, old: str, new: str, wrong: str) -> None:
    card = key, VALIDATION, TABLE
    offset = pin_verify.offset_of_pin(*card, old)
    changed = pin_verify.change_offset(*card, old, offset, new)
    assert changed == pin_verify.offset_of_pin(*card, new)
    assume(wrong != old)
    assert pin_verify.change_offset(*card, wrong, offset, new) is None
    four = pin_verify.change_offset(*card, old, offset, new, 4)
    assert four == pin_verify.offset_of_pin(*card, new)[-4:]


@few
@given(
    st.text("0123456789ABCDEFabcdef", min_size=11, max_size=11),
    st.integers(0, 11),
    st.text("0123456789", min_size=12, max_size=12),
)
def test_validation_data_of_a_host_command(hexes: str, place: int, account: str) -> None:
    template = f"{hexes[:place]}N{hexes[place:]}"
    inserted = pin_verify.insert_account(template, account)
    assert len(inserted) == 16
    assert inserted[place : place + 5] == account[7:]
    assert inserted[:place] + inserted[place + 5 :] == hexes.upper()
    assert pin_verify.natural_pin(KEY, inserted, TABLE, 4).isdigit()


@few
@given(st.text("0123456789", min_size=16, max_size=16))
def test_a_decimalisation_table_is_within_its_limits_or_refused(table: str) -> None:
    counts = Counter(table)
    if len(counts) >= 8 and max(counts.values()) <= 4:
        pin_verify.check_table(table)
    else:
        with pytest.raises(DecimalisationTableError):
            pin_verify.natural_pin(KEY, VALIDATION, table, 4)


def test_the_limits_of_a_decimalisation_table() -> None:
    for table in ("0000123456712345", "0123456701234567", "0123456789012345"):
        pin_verify.check_table(table)
    for table, reason in (
        ("0123456012345601", "8 different"),
        ("0000012345671234", "more than 4"),
        ("012345678901234", "16 digits"),
        ("01234567890123456", "16 digits"),
        ("0123456789ABCDEF", "16 digits"),
        ("012345678901234\uff15", "16 digits"),
    ):
        with pytest.raises(DecimalisationTableError, match=reason):
            pin_verify.check_table(table)


# -- Visa PVV --------------------------------------------------------------------------------


@few
@given(double_keys, pins, st.text("0123456789", min_size=13, max_size=19), st.integers(0, 9))
def test_pvv_against_psec(key: bytes, pin: str, pan: str, index: int) -> None:
    account = account_of(pan)
    value = pin_verify.pvv(key, account, str(index), pin)
    assert value == psec.pin.generate_visa_pvv(key, str(index), pin[:4], pan)
    assert pin_verify.verify_pvv(key, account, str(index), pin, value)
    assert pin_verify.verify_pvv(key, account, str(index), pin[:4] + "9876", value)
    wrong = str((int(value[0]) + 1) % 10) + value[1:]
    assert not pin_verify.verify_pvv(key, account, str(index), pin, wrong)


@few
@given(double_keys, pins, pins, pins)
def test_a_pvv_change_needs_the_old_pin(key: bytes, old: str, new: str, wrong: str) -> None:
    value = pin_verify.pvv(key, ACCOUNT, "1", old)
    changed = pin_verify.change_pvv(key, ACCOUNT, "1", old, value, new)
    assert changed == pin_verify.pvv(key, ACCOUNT, "1", new)
    assume(pin_verify.pvv(key, ACCOUNT, "1", wrong) != value)
    assert pin_verify.change_pvv(key, ACCOUNT, "1", wrong, value, new) is None


@few
@given(st.binary(min_size=8, max_size=16), st.integers(1, 16))
def test_decimalising_takes_digits_first_and_letters_after(block: bytes, count: int) -> None:
    hexes = block.hex()
    expected = [char for char in hexes if char.isdigit()]
    expected += [str(int(char, 16) - 10) for char in hexes if not char.isdigit()]
    assert decimalise(block, count) == "".join(expected[:count])


# -- new PINs --------------------------------------------------------------------------------


def test_random_pins_have_every_digit_as_often() -> None:
    entropy = seeded(5)
    digits = Counter("".join(pin_verify.random_pin(12, entropy) for _ in range(5_000)))
    # 6,000 of each are expected, and 73 is the standard deviation.
    assert set(digits) == set("0123456789")
    assert all(abs(count - 6_000) < 5 * 73 for count in digits.values())


def test_bytes_that_do_not_share_out_are_thrown_away() -> None:
    given_out = [b"\xfa\xff\xfb\x05", b"\xfc\x07\xf9\x0b", b"\x00\x00\x00\x00"]
    assert pin_verify.random_pin(4, lambda _: given_out.pop(0)) == "5791"
    with pytest.raises(VaultError, match="entropy"):
        pin_verify.random_pin(4, lambda count: b"\xff" * count)


def test_excluded_pins_are_not_made() -> None:
    given_out = [bytes([1, 1, 1, 1]), bytes([1, 2, 3, 4]), bytes([2, 6, 0, 7])]
    excluded = {"1111", "1234"}
    assert pin_verify.random_pin(4, lambda _: given_out.pop(0), excluded) == "2607"
    with pytest.raises(VaultError, match="not excluded"):
        pin_verify.random_pin(4, bytes, {"0000"})


# -- refusals --------------------------------------------------------------------------------

CARD = (KEY, VALIDATION, TABLE)

REFUSALS: list[tuple[Callable[[], object], type[VaultError], str]] = [
    (lambda: pin_verify.natural_pin(*CARD, 3), PinError, "4 to 12"),
    (lambda: pin_verify.natural_pin(*CARD, 13), PinError, "4 to 12"),
    (lambda: pin_verify.offset_of_pin(*CARD, "123"), PinError, "4 to 12"),
    (lambda: pin_verify.offset_of_pin(*CARD, "1234567890123"), PinError, "4 to 12"),
    (lambda: pin_verify.offset_of_pin(*CARD, "12a4"), PinError, "digits"),
    (lambda: pin_verify.offset_of_pin(*CARD, "\uff11\uff12\uff13\uff14"), PinError, "digits"),
    (lambda: pin_verify.offset_of_pin(*CARD, "1234", 5), VaultError, "check length"),
    (lambda: pin_verify.offset_of_pin(*CARD, "1234", 3), VaultError, "check length"),
    (lambda: pin_verify.verify_offset(*CARD, "1234", "0000", 5), VaultError, "check length"),
    (lambda: pin_verify.verify_offset(*CARD, "123", "0000"), PinError, "4 to 12"),
    (lambda: pin_verify.verify_offset(*CARD, "1234", "000"), VaultError, "offset has 4 to 12"),
    (lambda: pin_verify.verify_offset(*CARD, "1234", "00FF"), VaultError, "offset has 4 to 12"),
    (lambda: pin_verify.pin_of_offset(*CARD, "00000", 4), VaultError, "no longer than the PIN"),
    (lambda: pin_verify.natural_pin(bytes(8), VALIDATION, TABLE, 4), VaultError, "16 or 24 bytes"),
    (lambda: pin_verify.natural_pin(KEY, VALIDATION[1:], TABLE, 4), VaultError, "16 hex digits"),
    (lambda: pin_verify.natural_pin(KEY, "N" * 16, TABLE, 4), VaultError, "16 hex digits"),
    (lambda: pin_verify.insert_account("11223344556N", "12345678901"), PanError, "12 digits"),
    (lambda: pin_verify.insert_account("112233445566", ACCOUNT), VaultError, "one N"),
    (lambda: pin_verify.insert_account("1122334455NN", ACCOUNT), VaultError, "one N"),
    (lambda: pin_verify.insert_account("11223344556GN", ACCOUNT), VaultError, "one N"),
    (lambda: pin_verify.insert_account("1122334455GN", ACCOUNT), VaultError, "one N"),
    (lambda: pin_verify.validation_data("12345678901"), PanError, "12 to 19"),
    (lambda: pin_verify.validation_data("123456789012", 0, 13), PanError, "does not have"),
    (lambda: pin_verify.validation_data("1234567890123456789", 0, 17), PanError, "does not have"),
    (lambda: pin_verify.validation_data("123456789012", -1, 4), PanError, "does not have"),
    (lambda: pin_verify.validation_data("123456789012", 0, 4, "G"), VaultError, "pad character"),
    (lambda: pin_verify.validation_data("123456789012", 0, 4, ""), VaultError, "pad character"),
    (lambda: account_of("123456789012"), PanError, "13 to 19"),
    (lambda: pin_verify.pvv(KEY, "12345678901", "1", "1234"), PanError, "12 digits"),
    (lambda: pin_verify.pvv(KEY, ACCOUNT, "A", "1234"), VaultError, "key index has 1 digit$"),
    (lambda: pin_verify.pvv(KEY, ACCOUNT, "", "1234"), VaultError, "key index"),
    (lambda: pin_verify.pvv(KEY, ACCOUNT, "1", "123"), PinError, "4 to 12"),
    (lambda: pin_verify.pvv(odd(1, 24), ACCOUNT, "1", "1234"), VaultError, "16 bytes"),
    (lambda: pin_verify.verify_pvv(KEY, ACCOUNT, "1", "1234", "12"), VaultError, "PVV has 4"),
    (lambda: pin_verify.random_pin(3, bytes), PinError, "4 to 12"),
    (lambda: pin_verify.random_pin(13, bytes), PinError, "4 to 12"),
]


@pytest.mark.parametrize("row", REFUSALS, ids=lambda row: row[2])
def test_refusals_say_what_is_wrong(
    row: tuple[Callable[[], object], type[VaultError], str],
) -> None:
    call, kind, reason = row
    with pytest.raises(kind, match=reason) as caught:
        call()
    shown = str(caught.value)
    for secret in (KEY.hex(), VALIDATION, TABLE, ACCOUNT, "1234567890123", "12a4"):
        assert secret not in shown
