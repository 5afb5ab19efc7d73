"""Goal: keys under a variant LMK are what other people's devices made of them, and nothing else opens.

Method: the published rows are in `test_known_answers.py`; here the scheme is written a second time from
its description, on PyCryptodome's single DES, and both are held together over drawn keys, types, schemes
and carriers. PINs and decimalisation tables under the LMK: there and back, bound to what they are bound to.
"""

import copy
import pickle
import re
from pathlib import Path

import pytest
from Crypto.Cipher import AES, DES
from Crypto.Hash import CMAC
from hypothesis import given, settings, strategies as st

from hsm import variant
from hsm.des_keys import des_key_fault, with_odd_parity
from hsm.errors import KeyLengthError, KeyParityError, KeySchemeError, KeyTypeError, VaultError
from hsm.lmk import TEST_LMK, Lmk
from hsm.variant import KEY_TYPES, SCHEMES, VariantLmk
from tests.hsm.support import odd, seeded

ACCOUNT = "550000025321"
LMK = Lmk(seeded(7)(32))
DERIVED = VariantLmk.derived(LMK)

# -- the scheme, written again ------------------------------------------------------------

VARIANTS = [0x00, 0xA6, 0x5A, 0x6A, 0xDE, 0x2B, 0x50, 0x74, 0x9C, 0xFA]
PAIR_OF = {
    "00": "04-05", "01": "06-07", "02": "14-15", "03": "16-17", "05": "20-21", "06": "22-23",
    "07": "24-25", "08": "26-27", "09": "28-29", "0A": "30-31", "0B": "32-33", "0D": "36-37",
}  # fmt: skip


def ede(key: bytes, block: bytes) -> bytes:
    parts = [key[at : at + 8] for at in range(0, len(key), 8)]
    first, second, third = parts[0], parts[-1 if len(parts) < 3 else 1], parts[2 % len(parts)]
    once = DES.new(first, DES.MODE_ECB).encrypt(block)
    twice = DES.new(second, DES.MODE_ECB).decrypt(once)
    return DES.new(third, DES.MODE_ECB).encrypt(twice)


def by_the_letter(carrier: bytes, clear: bytes, scheme: str) -> str:
    changes = {"U": [0xA6, 0x5A], "T": [0x6A, 0xDE, 0x2B]}.get(scheme, [0, 0, 0])
    text = "" if scheme == "Z" else scheme
    for place in range(len(clear) // 8):
        key = bytearray(carrier)
        if changes[place]:
            key[8] ^= changes[place]
        text += ede(bytes(key), clear[8 * place : 8 * place + 8]).hex().upper()
    return text


def carrier_of(lmk: VariantLmk, code: str) -> bytes:
    pair = bytearray(lmk._pairs[int(PAIR_OF[code[1:]][:2]) // 2])
    pair[0] ^= VARIANTS[int(code[0])]
    return bytes(pair)


LMKS = st.sampled_from([VariantLmk.TEST, DERIVED])
CODES = st.sampled_from(sorted(KEY_TYPES))
LETTERS = st.sampled_from(sorted(SCHEMES))
KEYS = st.binary(min_size=24, max_size=24).map(with_odd_parity)


@given(LMKS, CODES, LETTERS, KEYS)
def test_under_the_lmk(lmk: VariantLmk, code: str, letter: str, key: bytes) -> None:
    clear = key[: SCHEMES[letter].key_bytes]
    text = lmk.encrypt_key(clear, code, letter)
    assert text == by_the_letter(carrier_of(lmk, code), clear, letter)
    assert lmk.decrypt_key(text, code) == clear


@given(LETTERS, KEYS, KEYS)
def test_under_a_zmk(letter: str, zmk: bytes, key: bytes) -> None:
    clear = key[: SCHEMES[letter].key_bytes]
    text = variant.encrypt_under(zmk[:16], clear, letter)
    assert text == by_the_letter(zmk[:16], clear, letter)
    assert variant.decrypt_under(zmk[:16], text) == clear


@pytest.mark.parametrize("carrier_bytes", [8, 24])
def test_carriers_of_other_lengths(carrier_bytes: int) -> None:
    carrier = odd(1, carrier_bytes)
    for letter, row in SCHEMES.items():
        clear = odd(2, row.key_bytes)
        if row.part_variants:
            with pytest.raises(KeyLengthError, match="16 bytes"):
                variant.encrypt_under(carrier, clear, letter)
            with pytest.raises(KeyLengthError, match="16 bytes"):
                variant.decrypt_under(carrier, letter + "0" * 2 * row.key_bytes)
        else:
            text = variant.encrypt_under(carrier, clear, letter)
            assert text == by_the_letter(carrier, clear, letter)
            assert variant.decrypt_under(carrier, text) == clear


def test_a_double_length_key_without_its_letter_is_as_scheme_x() -> None:
    clear = odd(3, 16)
    text = DERIVED.encrypt_key(clear, "000", "")
    assert DERIVED.encrypt_key(clear, "000", "X") == "X" + text
    assert DERIVED.decrypt_key(text, "000") == clear


def test_one_key_has_another_text_under_every_type_and_scheme() -> None:
    clear = odd(4, 16)
    texts = {DERIVED.encrypt_key(clear, code, letter)[1:] for code in KEY_TYPES for letter in "UX"}
    assert len(texts) == 2 * len(KEY_TYPES)


def test_a_key_opens_under_no_other_type() -> None:
    refused = 0
    for code in KEY_TYPES:
        text = DERIVED.encrypt_key(odd(5, 16), code, "U")
        for other in KEY_TYPES.keys() - {code}:
            with pytest.raises(KeyParityError):
                DERIVED.decrypt_key(text, other)
            refused += 1
        with pytest.raises(KeyParityError):
            VariantLmk.TEST.decrypt_key(text, code)
    assert refused == len(KEY_TYPES) * (len(KEY_TYPES) - 1)


def test_swapped_halves_are_seen_in_u_and_not_in_x() -> None:
    clear = odd(6, 16)
    text = DERIVED.encrypt_key(clear, "001", "X")
    assert DERIVED.decrypt_key("X" + text[17:] + text[1:17], "001") == clear[8:] + clear[:8]
    text = DERIVED.encrypt_key(clear, "001", "U")
    with pytest.raises(KeyParityError):
        DERIVED.decrypt_key("U" + text[17:] + text[1:17], "001")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", KeySchemeError),
        ("U", KeySchemeError),
        ("V" + "0" * 32, KeySchemeError),
        ("u" + "0" * 32, KeySchemeError),
        ("U" + "0" * 31 + "G", KeySchemeError),
        ("U" + "0" * 31 + "a", KeySchemeError),
        ("U" + "0" * 31 + "\n", KeySchemeError),
        ("U" + "0" * 30, KeyLengthError),
        ("U" + "0" * 48, KeyLengthError),
        ("T" + "0" * 32, KeyLengthError),
        ("X" + "0" * 16, KeyLengthError),
        ("Y" + "0" * 32, KeyLengthError),
        ("Z" + "0" * 32, KeyLengthError),
        ("0" * 48, KeyLengthError),
        ("0" * 17, KeyLengthError),
    ],
)
def test_texts_that_are_no_key(text: str, error: type[VaultError]) -> None:
    with pytest.raises(error):
        DERIVED.decrypt_key(text, "001")
    with pytest.raises(error):
        variant.decrypt_under(odd(1, 16), text)


def test_what_is_not_encrypted() -> None:
    for scheme in ("V", "u", "UU", "0"):
        with pytest.raises(KeySchemeError):
            DERIVED.encrypt_key(odd(1, 16), "001", scheme)
    for scheme, length in (
        ("U", 8),
        ("U", 24),
        ("T", 16),
        ("X", 24),
        ("Y", 16),
        ("Z", 16),
        ("", 8),
    ):
        with pytest.raises(KeyLengthError):
            DERIVED.encrypt_key(odd(1, length), "001", scheme)
    for code in ("", "0", "0000", "00F", "A00", "001 ", "00a"):
        with pytest.raises(KeyTypeError):
            DERIVED.encrypt_key(odd(1, 16), code, "U")
        with pytest.raises(KeyTypeError):
            DERIVED.decrypt_key("U" + "0" * 32, code)


def test_key_types_are_told_apart_by_pair_and_variant() -> None:
    assert len({(row.pair, row.variant) for row in KEY_TYPES.values()}) == len(KEY_TYPES)
    for code, row in KEY_TYPES.items():
        assert row.code == code
        assert f"{2 * row.pair:02}-{2 * row.pair + 1:02}" == PAIR_OF[code[1:]]
        assert {row.generated, row.imported, row.exported} <= {"free", "authorised", "never"}
        assert row.exported != "free"


def test_the_document_names_every_key_type() -> None:
    text = (Path(__file__).parents[2] / "docs" / "hsm.md").read_text(encoding="utf-8")
    table = text[text.index("| code | key |") : text.index("Those marked ?")]
    named = dict(re.findall(r"\b(\d0[0-9A-F])( \?)?", table))
    assert named == {code: "" if row.verified else " ?" for code, row in KEY_TYPES.items()}


# -- the pairs ------------------------------------------------------------------------------


def test_pairs_are_derived_as_described() -> None:
    for number, pair in enumerate(DERIVED._pairs):
        data = (
            (1).to_bytes(4, "big") + b"Tongbao variant LMK" + b"\0" + bytes([number, 0])
            + (128).to_bytes(4, "big")
        )  # fmt: skip
        mac = CMAC.new(seeded(7)(32), ciphermod=AES)
        mac.update(data)
        assert pair == with_odd_parity(mac.digest())
        assert des_key_fault(pair) is None
    assert len(set(DERIVED._pairs)) == 20


def test_a_weak_pair_is_derived_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first = variant.derive_pair(LMK, 3)
    monkeypatch.setattr(variant, "des_key_fault", lambda key: "weak" if key == first else None)
    assert variant.derive_pair(LMK, 3) not in DERIVED._pairs


def test_derivation_is_fixed() -> None:
    # Keys stored under these pairs are lost if this ever changes.
    assert VariantLmk.derived(TEST_LMK).check_value == "698DDF"
    assert VariantLmk.TEST.check_value == "1265C7"


def test_the_published_set_goes_with_the_public_test_lmk_alone() -> None:
    assert VariantLmk.of(TEST_LMK) is VariantLmk.TEST
    assert VariantLmk.of(LMK).check_value == DERIVED.check_value
    assert VariantLmk.derived(TEST_LMK).check_value != VariantLmk.TEST.check_value


def test_an_lmk_shows_nothing_and_is_not_pickled() -> None:
    assert re.fullmatch(r"VariantLmk\([0-9A-F]{6}\)", repr(DERIVED))
    for attempt in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError, match="not pickled"):
            attempt(DERIVED)
    for pairs in ((), DERIVED._pairs[:19], (*DERIVED._pairs[:19], bytes(8))):
        with pytest.raises(VaultError):
            VariantLmk(pairs)


# -- PINs and decimalisation tables ----------------------------------------------------------

PINS = st.text("0123456789", min_size=4, max_size=12)
ACCOUNTS = st.text("0123456789", min_size=12, max_size=12)


@given(PINS, ACCOUNTS, st.integers(0, 8))
def test_a_pin_comes_back(pin: str, account: str, spare: int) -> None:
    width = min(len(pin) + 1 + spare, 13)
    text = DERIVED.encrypt_pin(pin, account, width)
    assert re.fullmatch(f"[0-9A-F]{{{width}}}", text)
    assert DERIVED.decrypt_pin(text, account) == pin


def feistel_by_the_letter(key: bytes, value: int, account: str, width: int) -> int:
    bits = f"{value:0{4 * width}b}"
    left, right = bits[: 2 * width], bits[2 * width :]
    for number in range(10):
        first = ede(key, bytes([width, number]) + bytes.fromhex(account))
        half = int(right, 2).to_bytes(8, "big")
        mac = ede(key, bytes(a ^ b for a, b in zip(first, half, strict=True)))
        mask = f"{int.from_bytes(mac, 'big'):064b}"[-2 * width :]
        mixed = "".join(str(int(a) ^ int(b)) for a, b in zip(left, mask, strict=True))
        left, right = right, mixed
    return int(left + right, 2)


@settings(max_examples=30)
@given(PINS, ACCOUNTS, st.integers(0, 8))
def test_a_pin_is_enciphered_as_described(pin: str, account: str, spare: int) -> None:
    width = min(len(pin) + 1 + spare, 13)
    filled = int(pin.ljust(width, "F"), 16)
    value = feistel_by_the_letter(DERIVED._pairs[1], filled, account, width)
    assert DERIVED.encrypt_pin(pin, account, width) == f"{value:0{width}X}"


def test_a_pin_is_bound_to_account_lmk_and_width() -> None:
    text = DERIVED.encrypt_pin("1234", ACCOUNT, 13)
    for lmk, other, account in (
        (DERIVED, text, "550000025322"),
        (DERIVED, text, "650000025321"),
        (VariantLmk.TEST, text, ACCOUNT),
        (DERIVED, text[:-1], ACCOUNT),
        (DERIVED, text[1:] + text[0], ACCOUNT),
    ):
        with pytest.raises(VaultError, match="not a PIN of this account"):
            lmk.decrypt_pin(other, account)


def test_changed_digits_are_refused_at_full_width() -> None:
    text = DERIVED.encrypt_pin("123456", ACCOUNT, 13)
    for place in range(13):
        for digit in set("0123456789ABCDEF") - {text[place]}:
            with pytest.raises(VaultError):
                DERIVED.decrypt_pin(text[:place] + digit + text[place + 1 :], ACCOUNT)


def test_ten_thousand_pins_have_as_many_texts() -> None:
    texts = {DERIVED.encrypt_pin(f"{pin:04}", ACCOUNT, 5) for pin in range(0, 10_000, 10)}
    assert len(texts) == 1000
    # neighbours share no digits in any place more often than chance has it (1 in 16)
    columns = [len({text[place] for text in texts}) for place in range(5)]
    assert columns == [16] * 5


def test_what_is_no_pin() -> None:
    for pin in ("", "123", "1234567890123", "12a4", "12 4", "１２３４"):  # noqa: RUF001
        with pytest.raises(VaultError, match="PIN"):
            DERIVED.encrypt_pin(pin, ACCOUNT, 13)
    with pytest.raises(VaultError, match="4 to 4"):
        DERIVED.encrypt_pin("12345", ACCOUNT, 5)
    with pytest.raises(VaultError, match="5 to 13"):
        DERIVED.encrypt_pin("1234", ACCOUNT, 14)
    for account in ("", "1" * 11, "1" * 13, "55000002532A", "55000002532１"):  # noqa: RUF001
        with pytest.raises(VaultError, match="12 digits"):
            DERIVED.encrypt_pin("1234", account, 13)
        with pytest.raises(VaultError, match="12 digits"):
            DERIVED.decrypt_pin("0" * 13, account)
    for text in ("", "1234", "0" * 14, "0000g", "abcde", "00000\n"):
        with pytest.raises(VaultError):
            DERIVED.decrypt_pin(text, ACCOUNT)


@given(st.text("0123456789", min_size=16, max_size=16))
def test_a_decimalisation_table_comes_back(table: str) -> None:
    text = DERIVED.encrypt_decimalisation_table(table)
    key = bytearray(DERIVED._pairs[1])
    key[0] ^= 0xA6
    assert text == ede(bytes(key), bytes.fromhex(table)).hex().upper()
    assert DERIVED.decrypt_decimalisation_table(text) == table


def test_what_is_no_decimalisation_table() -> None:
    good = DERIVED.encrypt_decimalisation_table("0123456789012345")
    for text in ("", "0" * 15, good.lower(), good[1:] + good[0], "0" * 17):
        with pytest.raises(VaultError):
            DERIVED.decrypt_decimalisation_table(text)
    with pytest.raises(VaultError):
        VariantLmk.TEST.decrypt_decimalisation_table(good)
    for table in ("", "0" * 15, "0" * 17, "012345678901234A"):
        with pytest.raises(VaultError):
            DERIVED.encrypt_decimalisation_table(table)
