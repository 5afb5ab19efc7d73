"""Goal: our ciphers, MACs and PIN blocks agree with two other implementations.

Method: PyCryptodome (its own C code, no OpenSSL) for every primitive and for MACs composed here by the
letter of the standard; psec for PIN blocks, CBC and retail MACs. Hypothesis draws the input.
psec makes single DES of `cryptography` in a way that is deprecated there; that warning is its own.
"""

import hmac
import itertools

import psec
import pytest
from Crypto.Cipher import AES, DES, DES3
from Crypto.Hash import CMAC
from hypothesis import given, settings, strategies as st

from hsm import ciphers, mac, pin_block
from hsm.errors import PinBlockError
from tests.hsm import sm4_by_the_letter
from tests.hsm.support import odd, seeded

pytestmark = pytest.mark.filterwarnings("ignore:.*TripleDES:Warning")

few = settings(max_examples=60, deadline=None)

double_keys = st.integers(0, 10_000).map(lambda seed: odd(seed, 16))
single_keys = st.integers(0, 10_000).map(lambda seed: odd(seed, 8))
triple_keys = st.integers(0, 10_000).map(lambda seed: odd(seed, 24))
aes_keys = st.sampled_from([16, 24, 32]).flatmap(
    lambda size: st.binary(min_size=size, max_size=size)
)
messages = st.binary(max_size=400)
blocks_8 = st.integers(0, 40).flatmap(lambda n: st.binary(min_size=8 * n, max_size=8 * n))
blocks_16 = st.integers(0, 20).flatmap(lambda n: st.binary(min_size=16 * n, max_size=16 * n))
pins = st.text("0123456789", min_size=4, max_size=12)
pans = st.text("0123456789", min_size=13, max_size=19)


def des_ecb(key: bytes, data: bytes) -> bytes:
    cipher = DES.new(key, DES.MODE_ECB) if len(key) == 8 else DES3.new(key, DES3.MODE_ECB)
    return bytes(cipher.encrypt(data))


# -- primitives --------------------------------------------------------------------------


@few
@given(st.one_of(single_keys, double_keys, triple_keys), blocks_8)
def test_des_ecb(key: bytes, data: bytes) -> None:
    sealed = ciphers.tdes_ecb_encrypt(key, data)
    assert sealed == des_ecb(key, data)
    assert ciphers.tdes_ecb_decrypt(key, sealed) == data


@few
@given(st.one_of(double_keys, triple_keys), blocks_8, st.binary(min_size=8, max_size=8))
def test_des_cbc(key: bytes, data: bytes, vector: bytes) -> None:
    sealed = ciphers.tdes_cbc_encrypt(key, vector, data)
    assert sealed == DES3.new(key, DES3.MODE_CBC, vector).encrypt(data)
    assert ciphers.tdes_cbc_decrypt(key, vector, sealed) == data


@few
@given(aes_keys, blocks_16, st.binary(min_size=16, max_size=16))
def test_aes(key: bytes, data: bytes, vector: bytes) -> None:
    sealed = ciphers.aes_ecb_encrypt(key, data)
    assert sealed == AES.new(key, AES.MODE_ECB).encrypt(data)
    assert ciphers.aes_ecb_decrypt(key, sealed) == data
    chained = ciphers.aes_cbc_encrypt(key, vector, data)
    assert chained == AES.new(key, AES.MODE_CBC, vector).encrypt(data)
    assert ciphers.aes_cbc_decrypt(key, vector, chained) == data


@few
@given(st.binary(min_size=16, max_size=16), blocks_16, st.binary(min_size=16, max_size=16))
def test_sm4_by_the_letter(key: bytes, data: bytes, vector: bytes) -> None:
    sealed = ciphers.sm4_ecb_encrypt(key, data)
    assert sealed == sm4_by_the_letter.encrypt(key, data)
    assert ciphers.sm4_ecb_decrypt(key, sealed) == data
    chained = b""
    for at in range(0, len(data), 16):
        before = chained[-16:] or vector
        block = bytes(a ^ b for a, b in zip(data[at : at + 16], before, strict=True))
        chained += sm4_by_the_letter.encrypt(key, block)
    assert ciphers.sm4_cbc_encrypt(key, vector, data) == chained
    assert ciphers.sm4_cbc_decrypt(key, vector, chained) == data


@few
@given(aes_keys, st.binary(min_size=12, max_size=12), messages, messages)
def test_aes_gcm(key: bytes, nonce: bytes, data: bytes, associated: bytes) -> None:
    cipher = AES.new(key, AES.MODE_GCM, nonce)
    cipher.update(associated)
    sealed = b"".join(cipher.encrypt_and_digest(data))
    assert ciphers.aes_gcm_encrypt(key, nonce, data, associated) == sealed
    assert ciphers.aes_gcm_decrypt(key, nonce, sealed, associated) == data


@few
@given(aes_keys, triple_keys, messages)
def test_cmac(aes_key: bytes, des_key: bytes, data: bytes) -> None:
    assert ciphers.aes_cmac(aes_key, data) == CMAC.new(aes_key, data, AES).digest()
    assert ciphers.tdes_cmac(des_key, data) == CMAC.new(des_key, data, DES3).digest()


@few
@given(st.binary(max_size=100), messages)
def test_hmac(key: bytes, data: bytes) -> None:
    assert ciphers.Hmac(key).digest(data) == hmac.digest(key, data, "sha256")


@few
@given(double_keys, st.lists(st.tuples(messages, blocks_8), min_size=1, max_size=8))
def test_a_kept_cbc_context_remembers_nothing(key: bytes, many: list[tuple[bytes, bytes]]) -> None:
    kept, kept_aes, kept_sm4 = ciphers.Tdes(key), ciphers.Aes(key), ciphers.Sm4(key)
    for data, more in many:
        padded, vector = mac.pad_1(data), (more + bytes(8))[:8]
        fresh = DES3.new(key, DES3.MODE_CBC, bytes(8)).encrypt(padded)[-8:]
        assert kept.cbc_mac(padded) == fresh
        fresh = DES3.new(key, DES3.MODE_CBC, vector).encrypt(padded)[-8:]
        assert kept.cbc_mac(padded, vector) == fresh
        padded, vector = padded + bytes(-len(padded) % 16), vector * 2
        fresh = AES.new(key, AES.MODE_CBC, vector).encrypt(padded)[-16:]
        assert kept_aes.cbc_mac(padded, vector) == fresh
        assert (
            kept_aes.cbc_mac(padded) == AES.new(key, AES.MODE_CBC, bytes(16)).encrypt(padded)[-16:]
        )
        fresh = ciphers.sm4_cbc_encrypt(key, vector, padded)[-16:]
        assert kept_sm4.cbc_mac(padded, vector) == fresh
        assert kept_sm4.cbc_mac(padded) == ciphers.sm4_cbc_encrypt(key, bytes(16), padded)[-16:]


# -- MACs by the letter of the standard -------------------------------------------------


def unionpay_by_the_letter(key: bytes, data: bytes) -> bytes:
    padded = data + bytes(-len(data) % 8)
    fold = bytes(8)
    for start in range(0, len(padded), 8):
        fold = bytes(a ^ b for a, b in zip(fold, padded[start : start + 8], strict=True))
    text = fold.hex().upper().encode()
    middle = bytes(a ^ b for a, b in zip(des_ecb(key, text[:8]), text[8:], strict=True))
    return des_ecb(key, middle)


@few
@given(st.one_of(single_keys, double_keys), messages)
def test_unionpay_ecb(key: bytes, data: bytes) -> None:
    expected = unionpay_by_the_letter(key, data)
    assert mac.unionpay_ecb(key, data) == expected
    assert mac.compute("unionpay-ecb", key, data) == expected.hex().upper()[:8].encode()
    assert mac.compute("unionpay-ecb-binary", key, data) == expected


def test_unionpay_ecb_of_every_length_around_a_block_and_of_the_longest() -> None:
    key = odd(1, 16)
    for length in [*range(40), 255, 256, 257, 2048, 2056, 2057, 4096, mac.MAC_DATA_MAX]:
        data = seeded(length)(length)
        assert mac.unionpay_ecb(key, data) == unionpay_by_the_letter(key, data)


@few
@given(double_keys, messages, st.sampled_from([1, 2]))
def test_x9_19_against_psec(key: bytes, data: bytes, padding: int) -> None:
    assert mac.x9_19(key, data, padding) == psec.mac.generate_retail_mac(
        key[:8], key[8:], data, padding
    )


@few
@given(double_keys, messages, st.sampled_from([1, 2]))
def test_cbc_mac_against_psec(key: bytes, data: bytes, padding: int) -> None:
    assert mac.tdes_cbc(key, data, padding) == psec.mac.generate_cbc_mac(key, data, padding)
    assert mac.x9_9(key, data) == psec.mac.generate_cbc_mac(key, data, 1)
    assert mac.x9_9(key[:8], data) == psec.mac.generate_cbc_mac(key[:8], data, 1)


@few
@given(double_keys, messages)
def test_profiles_are_their_algorithms(key: bytes, data: bytes) -> None:
    for name, whole in (
        ("x9.9", mac.x9_9(key, data)),
        ("x9.19", mac.x9_19(key, data)),
        ("unionpay-ecb", mac.unionpay_ecb(key, data)),
    ):
        assert mac.compute(name, key, data) == whole.hex().upper()[:8].encode()
        assert mac.compute(name + "-binary", key, data) == whole
    assert mac.compute("cmac", key, data) == mac.aes_cmac(key, data)[:8]
    assert mac.compute("off", key, data) == b""


# -- PIN blocks ----------------------------------------------------------------------------


@few
@given(pins, pans)
def test_pin_blocks_against_psec(pin: str, pan: str) -> None:
    block = pin_block.encode_format0(pin, pan)
    assert block == psec.pinblock.encode_pinblock_iso_0(pin, pan)
    assert pin_block.decode_format0(block, pan) == pin
    assert pin_block.format0_is_valid(block, pin_block.pan_part(pan))
    assert pin_block.encode_format2(pin) == psec.pinblock.encode_pinblock_iso_2(pin)
    assert pin_block.decode_format3(psec.pinblock.encode_pinblock_iso_3(pin, pan), pan) == pin
    block = pin_block.encode_format3(pin, pan, seeded(7)(10))
    assert psec.pinblock.decode_pinblock_iso_3(block, pan) == pin
    assert pin_block.format4_pan_field(pan) == psec.pinblock.encode_pan_field_iso_4(pan)


@few
@given(pins, pans, aes_keys)
def test_format4_against_psec(pin: str, pan: str, key: bytes) -> None:
    block = pin_block.encode_format4(key, pin, pan, seeded(7)(8))
    assert psec.pinblock.decipher_pinblock_iso_4(key, block, pan) == pin
    theirs = psec.pinblock.encipher_pinblock_iso_4(key, pin, pan)
    assert pin_block.decode_format4(key, theirs, pan) == pin


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(min_size=8, max_size=8).map(bytes.hex),
        st.tuples(
            st.sampled_from(["03", "04", "06", "0c", "0d", "14", "24"]),
            st.text("0123456789afF", min_size=0, max_size=14),
        ).map(lambda pair: (pair[0] + pair[1]).lower().ljust(16, "f")[:16]),
    ),
    pans,
)
def test_the_two_readings_of_format0_agree(field: str, pan: str) -> None:
    block = (int(field, 16) ^ pin_block.pan_part(pan)).to_bytes(8, "big")
    try:
        pin_block.decode_format0(block, pan)
        opens = True
    except PinBlockError:
        opens = False
    assert pin_block.format0_is_valid(block, pin_block.pan_part(pan)) is opens
    assert pin_block.format0_is_valid_for(block, pan) is opens


def test_one_fault_at_every_place_of_format0() -> None:
    # The quick verdict is one addition: every other digit at every place, alone and above a place that is
    # full or empty, must not be lost in what runs over.
    pan = "6222021234567890123"
    number = pin_block.pan_part(pan)
    for length, digit in itertools.product(range(4, 13), "059"):
        right = f"0{length:x}{digit * length}".ljust(16, "f")
        for place, changed in itertools.product(range(2, 16), "0123456789abcdef"):
            field = right[:place] + changed + right[place + 1 :]
            expected = changed == "f" if place >= 2 + length else changed <= "9"
            block = (int(field, 16) ^ number).to_bytes(8, "big")
            assert bool(pin_block.format0_is_valid(block, number)) is expected, field
            assert bool(pin_block.format0_is_valid_for(block, pan)) is expected, field
