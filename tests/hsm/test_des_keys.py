"""Goal: no DES key that is another in disguise gets in, and the error says which kind of fault it is.

Method: one row a fault, by parts; and keys drawn at random, each either sound or refused for what a
second reading of the rule (PyCryptodome's own check of degenerate keys) says.
"""

import pytest
from Crypto.Cipher import DES3
from hypothesis import given, strategies as st

from hsm.des_keys import WEAK_KEYS, des_key_fault, has_odd_parity, with_odd_parity
from hsm.errors import KeyLengthError, KeyParityError, MasqueradingKeyError, WeakKeyError

K1 = bytes.fromhex("0123456789ABCDEF")
K2 = bytes.fromhex("FEDCBA9876543210")
K3 = bytes.fromhex("89ABCDEF01234567")
EVEN = bytes(byte ^ 1 for byte in K2)
WEAK = bytes.fromhex("E0FEE0FEF1FEF1FE")


@pytest.mark.parametrize(
    ("parts", "kind", "words"),
    [
        ([], KeyLengthError, "8, 16 or 24"),
        ([K1, K2, K3, K1], KeyLengthError, "8, 16 or 24"),
        ([bytes(8)], WeakKeyError, "all zero"),
        ([bytes(24)], WeakKeyError, "all zero"),
        ([WEAK], WeakKeyError, "a weak key"),
        ([K1, WEAK], WeakKeyError, "part 2 is weak"),
        ([K1, bytes(8)], WeakKeyError, "part 2 is weak"),
        ([K1, K1], MasqueradingKeyError, "parts 1 and 2 .* single-length"),
        ([K2, EVEN], MasqueradingKeyError, "parts 1 and 2 .* single-length"),
        ([K1, K1, K1], MasqueradingKeyError, "parts 1 and 2 .* single-length"),
        ([K1, K1, K3], MasqueradingKeyError, "parts 1 and 2 .* single-length"),
        ([K1, K3, K3], MasqueradingKeyError, "parts 2 and 3 .* single-length"),
        ([K1, K2, K1], MasqueradingKeyError, "parts 1 and 3 .* double-length"),
        ([EVEN], KeyParityError, "wrong parity"),
        ([K1, EVEN, K3], KeyParityError, "wrong parity"),
    ],
)
def test_a_fault_has_its_kind_and_says_where(
    parts: list[bytes], kind: type[WeakKeyError], words: str
) -> None:
    fault = des_key_fault(b"".join(parts))
    assert type(fault) is kind
    with pytest.raises(kind, match=words):
        raise fault


@pytest.mark.parametrize("key", [K1, K1 + K2, K1 + K2 + K3])
def test_sound_keys(key: bytes) -> None:
    assert des_key_fault(key) is None


def test_weak_keys_are_the_sixteen() -> None:
    assert len(WEAK_KEYS) == 16
    assert all(has_odd_parity(key) for key in WEAK_KEYS)


PARTS = st.sampled_from([K1, K2, K3]) | st.binary(min_size=8, max_size=8).map(with_odd_parity)


@given(st.lists(PARTS, min_size=2, max_size=3))
def test_as_pycryptodome_says(parts: list[bytes]) -> None:
    key = b"".join(parts)
    try:
        DES3.adjust_key_parity(key)
    except ValueError:  # it degenerates to single DES
        assert isinstance(des_key_fault(key), WeakKeyError)
    else:
        fault = des_key_fault(key)
        # which PyCryptodome lets pass: weak parts, and a third part that is the first
        assert fault is None or set(parts) & WEAK_KEYS or parts[0] == parts[2]


@given(st.binary(min_size=8, max_size=24))
def test_parity(key: bytes) -> None:
    odd = with_odd_parity(key)
    assert all(byte.bit_count() % 2 for byte in odd)
    assert all((a ^ b) <= 1 for a, b in zip(key, odd, strict=True))
    assert has_odd_parity(key) is (odd == key)
