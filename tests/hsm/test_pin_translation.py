"""Goal: a PIN block changes its format only as ANSI X9.8 lets it, and the PIN stays the same.

Method: the table is written again as sets of what binds a PIN to its PAN; every pair of formats is tried
with drawn PINs, PANs and keys, and what comes out is opened by psec or, for formats 1 and 4, by the letter.
"""

import itertools

import psec
import pytest
from Crypto.Cipher import AES, DES3
from hypothesis import given, settings, strategies as st

from hsm import ciphers, pin_block
from hsm.errors import PinBlockError, PinFormatError, VaultError
from hsm.pin_translation import (
    CREATION_FORMATS,
    FORMAT_CODES,
    TRANSLATIONS,
    PinFormat,
    check_creation,
    check_translation,
    close_pin,
    format_of,
    open_pin,
    pan_of_account,
    translate,
)
from tests.hsm.support import odd, seeded

PAN = "6222021234567890123"
ISO_0, ISO_1, ISO_2, ISO_3, ISO_4, DIEBOLD, PLUS = PinFormat
BOUND = {ISO_0, ISO_3, ISO_4}
SOURCE, DESTINATION = odd(1, 16), odd(2, 24)
SOURCE_AES, DESTINATION_AES = seeded(1)(16), seeded(2)(32)

pins = st.text("0123456789", min_size=4, max_size=12)
pans = st.text("0123456789", min_size=13, max_size=19)


def functions(form: PinFormat, des_key: bytes, aes_key: bytes) -> ciphers.Tdes | ciphers.Aes:
    return ciphers.Aes(aes_key) if form is ISO_4 else ciphers.Tdes(des_key)


def opened_elsewhere(form: PinFormat, block: bytes, pan: str) -> str:
    """By psec, which has formats 0 and 3, and by the letter of ISO 9564-1 for 1 and 4."""
    if form is ISO_4:
        cipher = AES.new(DESTINATION_AES, AES.MODE_ECB)
        account = pan.rjust(12, "0")
        field = f"{len(account) - 12:x}{account}".ljust(32, "0")
        inner = bytes(
            a ^ b for a, b in zip(cipher.decrypt(block), bytes.fromhex(field), strict=True)
        )
        clear = cipher.decrypt(inner)
        assert clear[0] >> 4 == 4
        pin = clear.hex()[2 : 2 + (clear[0] & 15)]
        assert clear.hex()[2 + len(pin) : 16].strip("a") == ""
        return pin
    clear = DES3.new(DESTINATION, DES3.MODE_ECB).decrypt(block)
    if form is ISO_1:
        assert clear[0] >> 4 == 1
        return clear.hex()[2 : 2 + (clear[0] & 15)]
    decode = (
        psec.pinblock.decode_pinblock_iso_0
        if form is ISO_0
        else psec.pinblock.decode_pinblock_iso_3
    )
    return decode(clear, pan)


def test_the_table_says_what_the_rules_say() -> None:
    for source, destination in itertools.product(PinFormat, repeat=2):
        allowed = (
            {source, destination} <= BOUND | {ISO_1}
            and not (source in BOUND and destination not in BOUND)
        )  # fmt: skip
        assert ((source, destination) in TRANSLATIONS) is allowed
        if allowed:
            check_translation(source, destination)
        else:
            with pytest.raises(PinFormatError):
                check_translation(source, destination)


@settings(max_examples=30, deadline=None)
@given(pins, pans)
def test_every_allowed_pair(pin: str, pan: str) -> None:
    for source, destination in TRANSLATIONS:
        there = functions(source, SOURCE, SOURCE_AES)
        here = functions(destination, DESTINATION, DESTINATION_AES)
        block = close_pin(pin, source, pan, there.encrypt, seeded(3))
        made = translate(
            block, source, destination, pan,
            decrypt=there.decrypt, encrypt=here.encrypt, entropy=seeded(4),
        )  # fmt: skip
        assert opened_elsewhere(destination, made, pan) == pin
        assert open_pin(made, destination, pan, here.decrypt) == pin


def never(_block: bytes) -> bytes:
    raise AssertionError("the key was used")


def test_every_other_pair_is_refused_before_a_key_is_used() -> None:
    reasons = {}
    for source, destination in set(itertools.product(PinFormat, repeat=2)) - TRANSLATIONS:
        with pytest.raises(PinFormatError) as caught:
            translate(
                bytes(8), source, destination, PAN,
                decrypt=never, encrypt=never, entropy=seeded(1),
            )  # fmt: skip
        reasons[source, destination] = str(caught.value)
    assert len(reasons) == 49 - 13
    assert all("parted" in reasons[form, ISO_1] for form in BOUND)
    assert all("chip" in reasons[form, ISO_2] for form in (*BOUND, ISO_1, ISO_2))
    assert all(
        "verification alone" in reasons[old, form] for old in (DIEBOLD, PLUS) for form in BOUND
    )
    assert all("no PIN block is made" in reasons[ISO_0, old] for old in (DIEBOLD, PLUS))


@given(pins, pans)
def test_a_block_is_not_opened_with_another_pan(pin: str, pan: str) -> None:
    # The last digit of the PAN's part lies under the fill; in format 3 another letter may come of it.
    other = pan[:-2] + str((int(pan[-2]) + 1) % 10) + pan[-1]
    for form in (ISO_0, ISO_4):
        key = functions(form, SOURCE, SOURCE_AES)
        block = close_pin(pin, form, pan, key.encrypt, seeded(3))
        with pytest.raises(PinBlockError):
            open_pin(block, form, other, key.decrypt)


@pytest.mark.parametrize("form", [*PinFormat])
def test_blocks_of_wrong_length_and_noise(form: PinFormat) -> None:
    key = functions(form, SOURCE, SOURCE_AES)
    for length in (0, 1, 7, 9, 15, 17, 24, 8 if form is ISO_4 else 16):
        with pytest.raises(PinBlockError, match="bytes"):
            open_pin(bytes(length), form, PAN, never)
    size = 16 if form is ISO_4 else 8
    opened = 0
    for seed in range(200):
        try:
            open_pin(seeded(seed)(size), form, PAN, key.decrypt)
            opened += 1
        except PinBlockError:
            pass
    assert opened <= (20 if form is ISO_1 else 3)  # whose fill may be anything


def test_pins_of_wrong_length_are_not_closed() -> None:
    for form in (ISO_0, ISO_1, ISO_2, ISO_3, ISO_4):
        for pin in ("", "123", "1234567890123", "12E4"):
            with pytest.raises(VaultError, match="4 to 12"):
                close_pin(pin, form, PAN, never, seeded(1))
    for form in (DIEBOLD, PLUS):
        with pytest.raises(PinFormatError, match="no PIN block is made"):
            close_pin("1234", form, PAN, never, seeded(1))


@pytest.mark.parametrize(
    ("form", "clear", "pan", "pin"),
    [
        (DIEBOLD, "1234FFFFFFFFFFFF", PAN, "1234"),
        (DIEBOLD, "123456789012FFFF", PAN, "123456789012"),
        (DIEBOLD, "123FFFFFFFFFFFFF", PAN, None),
        (DIEBOLD, "1234567890123FFF", PAN, None),
        (DIEBOLD, "1234FFFFFFFFFFF0", PAN, None),
        (DIEBOLD, "1234AFFFFFFFFFFF", PAN, None),
        (PLUS, "05921A1CBFFFFFED", "2283400000123456", "92389"),
        (PLUS, "05921A1CBFFFFFED", "2283400000129999", "92389"),
        (PLUS, "05921A1CBFFFFFED", "2283400000133456", None),
        (PLUS, "15921A1CBFFFFFED", "2283400000123456", None),
    ],
)
def test_formats_of_old(form: PinFormat, clear: str, pan: str, pin: str | None) -> None:
    sealed = ciphers.tdes_ecb_encrypt(SOURCE, bytes.fromhex(clear))
    if pin is None:
        with pytest.raises(PinBlockError):
            open_pin(sealed, form, pan, ciphers.Tdes(SOURCE).decrypt)
    else:
        assert open_pin(sealed, form, pan, ciphers.Tdes(SOURCE).decrypt) == pin


def test_a_short_pan_has_no_front_for_plus() -> None:
    with pytest.raises(VaultError, match="13 digits"):
        open_pin(bytes(8), PLUS, "228340000012", ciphers.Tdes(SOURCE).decrypt)


def test_a_pvv_or_offset_is_made_of_bound_des_formats_alone() -> None:
    for form in PinFormat:
        if form in {ISO_0, ISO_3}:
            check_creation(form)
        else:
            with pytest.raises(PinFormatError, match="0 or 3"):
                check_creation(form)
    assert {ISO_0, ISO_3} == CREATION_FORMATS


def test_codes() -> None:
    named = {
        "01": ISO_0,
        "03": DIEBOLD,
        "04": PLUS,
        "05": ISO_1,
        "34": ISO_2,
        "47": ISO_3,
        "48": ISO_4,
    }
    for number in range(100):
        code = f"{number:02}"
        if code in named:
            assert format_of(code) is named[code]
        else:
            with pytest.raises(PinFormatError):
                format_of(code)
    assert FORMAT_CODES.keys() - named.keys() == {"02", "35", "46"}
    for code in ("", "1", "001", "0A"):
        with pytest.raises(PinFormatError):
            format_of(code)


@given(pins, pans)
def test_twelve_digits_of_an_account_stand_for_its_pan(pin: str, pan: str) -> None:
    account = pan[-13:-1]
    assert pin_block.encode_format0(pin, pan_of_account(account)) == pin_block.encode_format0(
        pin, pan
    )
    for wrong in (account[1:], account + "0", "A" + account[1:], "１" + account[1:]):  # noqa: RUF001
        with pytest.raises(VaultError):
            pan_of_account(wrong)
