"""Goal: check values of every style agree with another implementation, and say no more than they may.

Method: PyCryptodome makes the same bytes of drawn keys; SM4 by the letter of its standard.
"""

import hmac

import pytest
from Crypto.Cipher import AES, DES, DES3
from Crypto.Hash import CMAC
from hypothesis import given, settings, strategies as st

from hsm import check_values
from hsm.errors import VaultError
from tests.hsm import sm4_by_the_letter
from tests.hsm.support import odd

few = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 10_000)


@few
@given(seeds, st.sampled_from([16, 24]), st.integers(1, 8))
def test_of_triple_des(seed: int, size: int, length: int) -> None:
    key = odd(seed, size)
    theirs = DES3.new(key, DES3.MODE_ECB).encrypt(bytes(8))
    assert check_values.tdes_check_value(key, length) == theirs[:length]
    assert check_values.tdes_check_value(key) == theirs[:3]


@few
@given(seeds, st.integers(1, 8))
def test_of_single_des_is_three_bytes_unless_the_wire_has_more(seed: int, length: int) -> None:
    key = odd(seed, 8)
    theirs = DES.new(key, DES.MODE_ECB).encrypt(bytes(8))[:length]
    assert check_values.tdes_check_value(key, length, on_wire=True) == theirs
    even = bytes(byte ^ 1 for byte in key)
    for single in (key, key + key, key * 3, key + even, key + key + odd(seed + 1, 8)):
        if length > 3:
            with pytest.raises(VaultError, match="3 bytes"):
                check_values.tdes_check_value(single, length)
        elif len(single) < 24 or single == key * 3:
            assert check_values.tdes_check_value(single, length) == theirs


@few
@given(st.sampled_from([16, 24, 32]).flatmap(lambda size: st.binary(min_size=size, max_size=size)))
def test_of_aes_hmac_and_sm4(key: bytes) -> None:
    assert check_values.aes_check_value(key) == CMAC.new(key, bytes(16), AES).digest()[:5]
    theirs = AES.new(key, AES.MODE_ECB).encrypt(bytes(16))
    assert check_values.aes_ecb_check_value(key) == theirs[:3]
    assert check_values.aes_ecb_check_value(key, 4) == theirs[:4]
    assert check_values.hmac_check_value(key) == hmac.digest(key, b"", "sha256")[:5]
    sm4_key = key[:16]
    theirs = sm4_by_the_letter.encrypt(sm4_key, bytes(16))
    assert check_values.sm4_check_value(sm4_key) == theirs[:4]
    assert check_values.sm4_check_value(sm4_key, 3) == theirs[:3]


def test_keys_of_other_lengths_have_none() -> None:
    for length in (0, 7, 9, 15, 17, 33):
        for function in (
            check_values.tdes_check_value,
            check_values.aes_check_value,
            check_values.aes_ecb_check_value,
            check_values.sm4_check_value,
        ):
            with pytest.raises(VaultError):
                function(bytes(length))
