"""Goal: card numbers at rest open where they were written and nowhere else, match, and print masked.

Method: round trips by hypothesis; ciphertexts moved, changed and under rotated keys; nonces collected.
"""

import pytest
from hypothesis import given, settings, strategies as st

from hsm.errors import KeyUsageError, VaultError
from hsm.keys import KeyUsage
from hsm.lmk import TEST_LMK
from hsm.pans import LocalPans, Pans, mask
from tests.hsm.support import make_vault

COLUMN = "switch.request.pan"
VAULT = make_vault()
OLD, NEW = (VAULT.generate_key(KeyUsage.DATA, 32).block for _ in range(2))
TOKEN = VAULT.generate_key(KeyUsage.TOKEN, 32).block
PAN = "6222021234567890123"

pans = st.text("0123456789", min_size=8, max_size=19)
expiries = st.one_of(st.none(), st.text("0123456789", min_size=4, max_size=4))
rows = st.integers(0, 2**63 - 1)


def make() -> LocalPans:
    return LocalPans(TEST_LMK, {1: OLD}, 1, TOKEN)


@settings(max_examples=100, deadline=None)
@given(pans, expiries, rows)
def test_round_trip(pan: str, expiry: str | None, row_id: int) -> None:
    port: Pans = make()
    cipher = port.protect(pan, expiry, row_id, COLUMN)
    assert port.reveal(cipher, row_id, COLUMN) == (pan, expiry)
    assert make().protect(pan, expiry, row_id, COLUMN) == cipher
    assert pan.encode() not in cipher
    assert cipher[:3] == b"\x01\x00\x01"


def test_a_ciphertext_opens_in_its_own_place_alone() -> None:
    port = make()
    cipher = port.protect(PAN, "3012", 7, COLUMN)
    for moved, row_id, column in (
        (cipher, 8, COLUMN),
        (cipher, 7, "settlement.clearing.pan"),
        (cipher, -1, COLUMN),
        (cipher, 2**63, COLUMN),
        (cipher[:-1], 7, COLUMN),
        (cipher[:10], 7, COLUMN),
        (b"", 7, COLUMN),
        (b"\x02" + cipher[1:], 7, COLUMN),
        (cipher[:2] + b"\x02" + cipher[3:], 7, COLUMN),
        (cipher, 7, ""),
        (cipher, 7, "x" * 256),
    ):
        with pytest.raises(VaultError):
            port.reveal(moved, row_id, column)
    for position in range(len(cipher)):
        changed = cipher[:position] + bytes([cipher[position] ^ 1]) + cipher[position + 1 :]
        with pytest.raises(VaultError):
            port.reveal(changed, 7, COLUMN)


def test_nonces_differ_by_row_and_keys_by_column() -> None:
    port = make()
    seen = {
        (column, row_id): port.protect(PAN, "3012", row_id, column)
        for row_id in range(200)
        for column in ("a.b.c", "a.b.d")
    }
    assert len({cipher[7:] for cipher in seen.values()}) == 400
    # One row written again with another PAN: another tail, so another nonce.
    assert port.protect(PAN, None, 1, COLUMN)[3:7] != port.protect("4" * 16, None, 1, COLUMN)[3:7]


def test_keys_rotate_and_tokens_stay() -> None:
    before = make()
    after = LocalPans(TEST_LMK, {1: OLD, 2: NEW}, 2, TOKEN)
    old = before.protect(PAN, "3012", 7, COLUMN)
    new = after.protect(PAN, "3012", 7, COLUMN)
    assert old != new
    assert after.reveal(old, 7, COLUMN) == after.reveal(new, 7, COLUMN) == (PAN, "3012")
    assert after.needs_new_key(old)
    assert not after.needs_new_key(new)
    assert before.token(PAN) == after.token(PAN)
    assert before.content([PAN]) == after.content([PAN])
    with pytest.raises(VaultError, match="not opened"):
        before.reveal(new, 7, COLUMN)


def test_tokens_and_contents() -> None:
    port = make()
    assert len(port.token(PAN)) == 16
    assert port.token(PAN) != port.token(PAN[:-1])
    other = LocalPans(TEST_LMK, {1: OLD}, 1, VAULT.generate_key(KeyUsage.TOKEN, 32).block)
    assert port.token(PAN) != other.token(PAN)
    lists: list[list[str | None]] = [
        [],
        [None],
        [""],
        ["", ""],
        ["a", "b"],
        ["ab"],
        ["a,1:b"],
        ["a", None, "b"],
        ["1:a"],
        ["-"],
        [PAN],
    ]
    assert len({port.content(parts) for parts in lists}) == len(lists)
    assert all(len(port.content(parts)) == 16 for parts in lists)
    assert port.content([PAN]) != port.token(PAN)


@pytest.mark.parametrize(
    ("pan", "masked"),
    [
        ("6222021234567890123", "622202*********0123"),
        ("4111111111111111", "411111******1111"),
        ("4111111111111", "411111***1111"),
        ("411111111111", "********1111"),
        ("41111111", "****1111"),
        ("4111111", "*******"),
        ("", ""),
    ],
)
def test_masks(pan: str, masked: str) -> None:
    assert mask(pan) == make().mask(pan) == masked
    assert len(masked) == len(pan)


def test_files_open_under_their_own_name_alone() -> None:
    before, after = make(), LocalPans(TEST_LMK, {1: OLD, 2: NEW}, 2, TOKEN)
    data = b"6222021234567890123" * 1000
    sealed = before.seal(data, "bank/IND24010101ACOM")
    assert data[:19] not in sealed
    assert before.seal(data, "bank/IND24010101ACOM") == sealed
    assert before.open(sealed, "bank/IND24010101ACOM") == data
    assert after.open(sealed, "bank/IND24010101ACOM") == data
    assert after.needs_new_key(sealed)
    assert before.open(before.seal(b"", "empty"), "empty") == b""
    other = before.seal(data + b"0", "bank/IND24010101ACOM")
    assert other[3:15] != sealed[3:15]
    for changed, name in (
        (sealed, "bank/IND24010102ACOM"),
        (sealed[:-1], "bank/IND24010101ACOM"),
        (sealed[:3] + other[3:15] + sealed[15:], "bank/IND24010101ACOM"),
        (b"\x01" + sealed[1:], "bank/IND24010101ACOM"),
        (sealed[:20], "bank/IND24010101ACOM"),
        (sealed, ""),
        (sealed, "x" * 2000),
        (after.seal(data, "n"), "n"),
    ):
        with pytest.raises(VaultError):
            before.open(changed, name)


def test_only_the_right_keys_are_taken() -> None:
    for data_keys, current, token in (
        ({1: TOKEN}, 1, TOKEN),
        ({1: OLD}, 1, OLD),
        ({1: VAULT.generate_key(KeyUsage.ZPK, 16).block}, 1, TOKEN),
    ):
        with pytest.raises(KeyUsageError):
            LocalPans(TEST_LMK, data_keys, current, token)
    for ids, current in (([1], 2), ([], 1), ([0], 0), ([65536], 65536)):
        with pytest.raises(VaultError):
            LocalPans(TEST_LMK, dict.fromkeys(ids, OLD), current, TOKEN)
    with pytest.raises(VaultError):
        make().protect("4=4", None, 1, COLUMN)
    with pytest.raises(VaultError):
        make().protect("4" * 100, None, 1, COLUMN)
    assert "DATA" not in repr(make())
