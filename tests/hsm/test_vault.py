"""Goal: the port does what it says, one key serves one purpose, and nothing leaks.

Method: the local vault with seeded entropy; tables of forbidden combinations; clear keys are known only
because the test enters them itself.
"""

import ast
import itertools
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings, strategies as st

from hsm import check_values, ciphers, key_block, keys, mac, pin_block, working_keys
from hsm.adapters.local import LocalHsm
from hsm.des_keys import with_odd_parity
from hsm.errors import KeyBlockError, KeyUsageError, PinBlockError, VaultError, WeakKeyError
from hsm.keys import USAGES, Algorithm, KeyUsage, Operation, operations_of
from hsm.lmk import Lmk
from hsm.local import LocalVault
from hsm.mac_profiles import PROFILES
from hsm.vault import OpenKey, header_for
from tests.hsm.support import make_vault, odd, seeded, stored

if TYPE_CHECKING:
    from hsm.ports import Hsm

PAN = "6222021234567890123"
DATA = bytes(range(200))

TMK = odd(1, 16)
TPK = odd(2, 16)
ZPK = odd(3, 16)
MAK = odd(4, 16)
MAK_8 = odd(5, 8)
ZMK = odd(6, 16)
ZAK = odd(7, 16)


def one_of_each(vault: LocalVault) -> dict[KeyUsage, str]:
    return {
        usage: vault.generate_key(usage, 32 if usage.value in ("DATA", "TOKEN") else 16).block
        for usage in KeyUsage
    }


def sealed_pin(pin: str = "1234", key: bytes = TPK, pan: str = PAN) -> bytes:
    return ciphers.tdes_ecb_encrypt(key, pin_block.encode_format0(pin, pan))


def test_the_local_vault_is_the_port() -> None:
    vault: Hsm = LocalHsm(make_vault())
    assert vault.lmk_id == "35571B903C"


# -- PIN ---------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(
    st.text("0123456789", min_size=4, max_size=12), st.text("0123456789", min_size=13, max_size=19)
)
def test_a_translated_pin_is_the_same_pin(pin: str, pan: str) -> None:
    vault = make_vault()
    tpk, zpk = stored(vault, KeyUsage.TPK, TPK), stored(vault, KeyUsage.ZPK, ZPK)
    translated = vault.translate_pin(sealed_pin(pin, pan=pan), tpk, zpk, pan)
    assert pin_block.decode_format0(ciphers.tdes_ecb_decrypt(ZPK, translated), pan) == pin


def test_single_length_pik_of_layout_001_translates() -> None:
    vault = make_vault()
    tpk, zpk = stored(vault, KeyUsage.PIK, odd(8, 8)), stored(vault, KeyUsage.ZPK, ZPK)
    translated = vault.translate_pin(sealed_pin(key=odd(8, 8)), tpk, zpk, PAN)
    assert translated == sealed_pin(key=ZPK)


def test_wrong_key_or_wrong_pan_is_a_pin_block_error_not_a_wrong_pin() -> None:
    vault = make_vault()
    tpk, zpk = stored(vault, KeyUsage.TPK, TPK), stored(vault, KeyUsage.ZPK, ZPK)
    for block, pan in (
        (sealed_pin(key=odd(9, 16)), PAN),
        (sealed_pin(), "6222029876543210123"),
        (sealed_pin()[:7], PAN),
        (sealed_pin() + b"\0", PAN),
        (b"", PAN),
    ):
        with pytest.raises(PinBlockError):
            vault.translate_pin(block, tpk, zpk, pan)
    assert vault.translate_pin(sealed_pin(), tpk, zpk, PAN) == sealed_pin(key=ZPK)


@pytest.mark.parametrize(
    "pan", ["", "1234567", "1" * 20, "62220212345678901²3", "6222 021234567890"]
)
def test_what_is_no_pan_is_not_used_as_one(pan: str) -> None:
    vault = make_vault()
    tpk, zpk = stored(vault, KeyUsage.TPK, TPK), stored(vault, KeyUsage.ZPK, ZPK)
    with pytest.raises(VaultError) as caught:
        vault.translate_pin(sealed_pin(), tpk, zpk, pan)
    assert not isinstance(caught.value, PinBlockError)


# -- one key, one purpose ---------------------------------------------------------------------


def test_pin_translation_takes_pin_keys_alone() -> None:
    vault = make_vault()
    keys = one_of_each(vault)
    for source, destination in itertools.product(KeyUsage, repeat=2):
        if source in (KeyUsage.TPK, KeyUsage.ZPK) and destination is KeyUsage.ZPK:
            continue
        with pytest.raises(KeyUsageError):
            vault.translate_pin(bytes(8), keys[source], keys[destination], PAN)


def test_the_table_of_usages_stands_in_the_documentation() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "hsm.md"
    assert f"```\n{keys.render()}\n```" in page.read_text(encoding="utf-8")


# What each usage may do, written down a second time.
MAY = {
    KeyUsage.TMK: {Operation.KEY_WRAP, Operation.KEY_UNWRAP},
    KeyUsage.ZMK: {Operation.KEY_WRAP, Operation.KEY_UNWRAP},
    KeyUsage.TPK: {Operation.PIN_DECRYPT},
    KeyUsage.ZPK: {Operation.PIN_DECRYPT, Operation.PIN_ENCRYPT},
    KeyUsage.MAK: {Operation.MAC_GENERATE, Operation.MAC_VERIFY},
    KeyUsage.ZAK: {Operation.MAC_GENERATE, Operation.MAC_VERIFY},
    KeyUsage.HMAC: {Operation.MAC_GENERATE, Operation.MAC_VERIFY},
    KeyUsage.TDK: {Operation.DATA_DECRYPT},
    KeyUsage.ZEK: {Operation.DATA_ENCRYPT, Operation.DATA_DECRYPT},
    KeyUsage.DEK: {Operation.DATA_ENCRYPT, Operation.DATA_DECRYPT},
    KeyUsage.BDK: {Operation.DERIVE_DUKPT},
    KeyUsage.IK: {Operation.DERIVE_DUKPT},
    KeyUsage.PVK_IBM: {Operation.PIN_VERIFY_IBM},
    KeyUsage.PVK_VISA: {Operation.PIN_VERIFY_VISA},
    KeyUsage.CVK: {Operation.CARD_VALUE},
    KeyUsage.MK_AC: {Operation.DERIVE_AC},
    KeyUsage.MK_SMI: {Operation.DERIVE_SMI},
    KeyUsage.MK_SMC: {Operation.DERIVE_SMC},
    KeyUsage.MK_DAC: {Operation.DERIVE_DAC},
    KeyUsage.MK_DN: {Operation.DERIVE_DN},
    KeyUsage.DATA: set(),
    KeyUsage.TOKEN: set(),
}


def test_every_wrong_pairing_of_usage_and_operation_is_refused() -> None:
    assert set(MAY) == set(KeyUsage)
    for (usage, row), operation in itertools.product(USAGES.items(), Operation):
        for algorithm, lengths in row.lengths.items():
            key = OpenKey(usage, algorithm, odd(1, lengths[0]))
            if operation in MAY[usage]:
                key.require(operation)
            else:
                with pytest.raises(KeyUsageError):
                    key.require(operation)


def test_a_mode_of_use_only_takes_away() -> None:
    table = make_vault()._keys
    for usage, row in USAGES.items():
        algorithm, lengths = next(iter(row.lengths.items()))
        for mode in "BCDEGNSVXYQ":
            if mode == row.mode:
                continue
            left = operations_of(usage, mode)
            assert left <= MAY[usage]
            if left and left < MAY[usage]:
                block = table.wrap(usage, algorithm, odd(2, lengths[0]), mode=mode).block
                assert table.open(block).operations == left
            else:
                with pytest.raises(KeyUsageError):
                    table.wrap(usage, algorithm, odd(2, lengths[0]), mode=mode)


def test_a_key_that_may_leave_can_be_told_to_stay() -> None:
    vault = make_vault()
    table = vault._keys
    zmk = vault.generate_key(KeyUsage.ZMK, 16).block
    stays = table.wrap(KeyUsage.ZPK, Algorithm.TDES, ZPK, exportability="N").block
    with pytest.raises(KeyUsageError, match="leave"):
        vault.export_key(stays, zmk)
    with pytest.raises(KeyUsageError):
        table.wrap(KeyUsage.TMK, Algorithm.TDES, TMK, exportability="S")


def test_macs_take_mac_keys_alone() -> None:
    vault = make_vault()
    for usage, key in one_of_each(vault).items():
        if usage in (KeyUsage.MAK, KeyUsage.ZAK):
            assert vault.verify_mac(key, "x9.19", DATA, vault.mac(key, "x9.19", DATA))
            continue
        with pytest.raises(KeyUsageError):
            vault.mac(key, "x9.19", DATA)
        with pytest.raises(KeyUsageError):
            vault.verify_mac(key, "x9.19", DATA, bytes(8))


def test_keys_come_under_their_own_carrier_alone() -> None:
    vault = make_vault()
    keys = one_of_each(vault)
    for usage, carrier in itertools.product(KeyUsage, repeat=2):
        if carrier in USAGES[usage].carried_by:
            continue
        with pytest.raises(KeyUsageError):
            vault.import_key(usage, keys[carrier], bytes(range(16)))


def test_only_exportable_keys_leave_and_only_under_their_carrier() -> None:
    vault = make_vault()
    keys = one_of_each(vault)
    for usage, carrier in itertools.product(KeyUsage, repeat=2):
        row = USAGES[usage]
        if row.exportability == "S" and carrier in row.carried_by:
            continue
        with pytest.raises(KeyUsageError):
            vault.export_key(keys[usage], keys[carrier])


def test_working_keys_go_under_a_tmk_alone() -> None:
    vault = make_vault()
    for usage, key in one_of_each(vault).items():
        if usage is not KeyUsage.TMK:
            with pytest.raises(KeyUsageError):
                vault.generate_working_keys(key, "003", 16)


def test_a_label_or_a_header_can_not_be_exchanged() -> None:
    # A block of this LMK whose header is well made but not that of the usage it is labelled with.
    vault = make_vault()
    lmk_key = b"TONGBAO PUBLIC TEST LMK 00000001"
    good = header_for(KeyUsage.ZPK, Algorithm.TDES)
    block = key_block.wrap(lmk_key, good, ZPK, seeded(1), pad_to=32)
    assert vault.check_value(block) == check_values.tdes_check_value(ZPK).hex().upper()
    label = (("LB", "ZPK"),)
    for header in (
        key_block.Header("D", "P0", "T", "B", exportability="S"),
        key_block.Header("D", "P0", "T", "B", exportability="S", optional=(("LB", "TPK"),)),
        key_block.Header("D", "P0", "T", "B", exportability="S", optional=(("LB", "nonsense"),)),
        key_block.Header("D", "P0", "T", "D", exportability="E", optional=(("LB", "TPK"),)),
        key_block.Header("D", "M3", "T", "B", exportability="S", optional=label),
        key_block.Header("D", "P0", "H", "B", exportability="S", optional=label),
        key_block.Header("D", "P0", "R", "B", exportability="S", optional=label),
        key_block.Header("D", "P0", "T", "N", exportability="S", optional=label),
    ):
        forged = key_block.wrap(lmk_key, header, ZPK, seeded(1), pad_to=32)
        with pytest.raises((KeyBlockError, KeyUsageError)):
            vault.check_value(forged)


def test_a_block_of_another_lmk_does_not_open() -> None:
    other = LocalVault(Lmk(bytes(range(32))), seeded(1))
    with pytest.raises(KeyBlockError):
        make_vault().check_value(other.generate_key(KeyUsage.ZPK, 16).block)


# -- MAC ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_every_profile_verifies_its_own_and_nothing_else(name: str) -> None:
    vault = make_vault()
    profile = PROFILES[name]
    kinds = [
        (algorithm, length)
        for algorithm, lengths in USAGES[KeyUsage.MAK].lengths.items()
        for length in lengths
        if algorithm in profile.key_algorithms and length in profile.mak_bytes
    ]
    assert kinds or name == "off"
    for algorithm, length in kinds:
        clear = odd(5, length)
        key = stored(vault, KeyUsage.MAK, clear, algorithm)
        value = vault.mac(key, name, DATA)
        assert value == mac.compute(name, clear, DATA)
        assert len(value) == 8
        assert vault.verify_mac(key, name, DATA, value)
        for wrong in (bytes(8), b"", value[:4], value + b"\0", value.swapcase()):
            assert wrong == value or not vault.verify_mac(key, name, DATA, wrong)
        assert not vault.verify_mac(key, name, DATA[:-1], value)


def test_off_means_no_de64_either_way() -> None:
    vault = make_vault()
    assert vault.mac("", "off", DATA) == b""
    assert vault.verify_mac("", "off", DATA, b"")
    assert not vault.verify_mac("", "off", DATA, bytes(8))


def test_keys_and_profiles_that_do_not_fit() -> None:
    vault = make_vault()
    single = stored(vault, KeyUsage.MAK, MAK_8)
    double = stored(vault, KeyUsage.MAK, MAK)
    aes = stored(vault, KeyUsage.MAK, MAK, Algorithm.AES)
    for key, profile in (
        (single, "x9.19"),
        (single, "cmac"),
        (double, "cmac"),
        (aes, "unionpay-ecb"),
        (aes, "x9.19-binary"),
        (double, "no such profile"),
    ):
        with pytest.raises(VaultError):
            vault.mac(key, profile, DATA)
    with pytest.raises(VaultError, match="at most"):
        vault.mac(double, "x9.19", bytes(mac.MAC_DATA_MAX + 1))


# -- working keys ------------------------------------------------------------------------------

SIGN_ONS = [
    ("001", 8, None, 24),
    ("003", 8, None, 40),
    ("003", 16, None, 40),
    ("003", 16, Algorithm.AES, 40),
    ("004", 8, None, 60),
    ("004", 16, None, 60),
    ("004", 16, Algorithm.AES, 60),
]


@pytest.mark.parametrize(("layout", "mak_bytes", "algorithm", "length"), SIGN_ONS)
def test_a_terminal_opens_its_working_keys(
    layout: str, mak_bytes: int, algorithm: Algorithm | None, length: int
) -> None:
    vault = make_vault()
    keys = vault.generate_working_keys(
        stored(vault, KeyUsage.TMK, TMK), layout, mak_bytes, mak_algorithm=algorithm
    )
    assert len(keys.de62) == length
    clear = working_keys.open_de62(TMK, layout, keys.de62, mak_bytes, algorithm)
    assert len(clear.mak) == mak_bytes
    assert (clear.tdk is None) is (layout != "004") is (keys.tdk is None)
    if layout != "001" and mak_bytes == 8:
        assert keys.de62[28:36] == bytes(8)

    pik_end = 8 if layout == "001" else 16
    mak_end = {"001": 20}.get(layout, 36)
    assert keys.de62[pik_end : pik_end + 4].hex().upper() == keys.pik_check_value
    assert keys.de62[mak_end : mak_end + 4].hex().upper() == keys.mak_check_value
    if keys.tdk is not None:
        assert keys.de62[56:].hex().upper() == keys.tdk_check_value
        assert keys.tdk_check_value is not None
        assert keys.tdk_check_value.startswith(vault.check_value(keys.tdk))
    profile = "cmac" if algorithm else "unionpay-ecb"
    assert vault.mac(keys.mak, profile, DATA) == mac.compute(profile, clear.mak, DATA)
    zpk = stored(vault, KeyUsage.ZPK, ZPK)
    assert vault.translate_pin(sealed_pin(key=clear.pik), keys.pik, zpk, PAN) == sealed_pin(key=ZPK)


def test_working_keys_that_can_not_be() -> None:
    vault = make_vault()
    tmk = stored(vault, KeyUsage.TMK, TMK)
    for layout, mak_bytes, algorithm in (
        ("001", 16, None),
        ("001", 16, Algorithm.AES),
        ("002", 8, None),
        ("003", 8, Algorithm.AES),
        ("003", 24, None),
        ("003", 0, None),
    ):
        with pytest.raises(VaultError):
            vault.generate_working_keys(tmk, layout, mak_bytes, mak_algorithm=algorithm)


def test_a_terminal_refuses_wrong_keys() -> None:
    vault = make_vault()
    keys = vault.generate_working_keys(stored(vault, KeyUsage.TMK, TMK), "004", 16)
    for tmk, layout, de62, mak_bytes in (
        (odd(9, 16), "004", keys.de62, 16),
        (TMK, "004", keys.de62, 8),
        (TMK, "003", keys.de62, 16),
        (TMK, "004", keys.de62[:-1] + bytes([keys.de62[-1] ^ 1]), 16),
    ):
        with pytest.raises(VaultError):
            working_keys.open_de62(tmk, layout, de62, mak_bytes)


def test_working_keys_differ_and_follow_the_entropy() -> None:
    def sign_on(vault: LocalVault) -> bytes:
        return vault.generate_working_keys(stored(vault, KeyUsage.TMK, TMK), "003", 16).de62

    vault = make_vault(5)
    assert sign_on(vault) != sign_on(vault)
    assert sign_on(make_vault(5)) == sign_on(make_vault(5))


# -- keys in and out ----------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", [Algorithm.TDES, Algorithm.AES])
@pytest.mark.parametrize("usage", [KeyUsage.ZPK, KeyUsage.ZAK])
def test_a_link_key_arrives_at_the_other_side(usage: KeyUsage, algorithm: Algorithm) -> None:
    ours = LocalVault(Lmk(bytes(range(32))), seeded(1))
    theirs = LocalVault(Lmk(bytes(range(32, 64))), seeded(2))
    shared = [seeded(8)(16), seeded(9)(16)]
    if algorithm is Algorithm.TDES:
        shared = [with_odd_parity(component) for component in shared]
    our_zmk, their_zmk = (
        side.import_components(KeyUsage.ZMK, shared, algorithm=algorithm).block
        for side in (ours, theirs)
    )
    key = ours.generate_key(usage, 16, algorithm=algorithm)
    exported = ours.export_key(key.block, our_zmk)
    by_block = theirs.import_key(usage, their_zmk, exported.key_block)
    by_ecb = theirs.import_key(
        usage,
        their_zmk,
        bytes.fromhex(exported.ecb_hex),
        algorithm=algorithm,
        check_value=exported.check_value,
    )
    assert len(exported.check_value) == 6
    assert key.check_value == by_block.check_value == by_ecb.check_value
    assert exported.key_block[0] == ("D" if algorithm is Algorithm.AES else "B")
    # The block is bound to its purpose, the hex form is not.
    other = KeyUsage.ZAK if usage is KeyUsage.ZPK else KeyUsage.ZPK
    with pytest.raises(KeyUsageError):
        theirs.import_key(other, their_zmk, exported.key_block)


def test_a_key_does_not_go_under_a_weaker_one() -> None:
    vault = make_vault()
    zmk = stored(vault, KeyUsage.ZMK, ZMK)
    for key in (
        vault.generate_key(KeyUsage.ZAK, 16, algorithm=Algorithm.AES),
        vault.generate_key(KeyUsage.ZPK, 24),
    ):
        with pytest.raises(VaultError, match="weaker"):
            vault.export_key(key.block, zmk)


def test_a_key_does_not_come_under_a_weaker_one() -> None:
    vault = make_vault()
    three, zmk = odd(31, 24), odd(32, 16)
    under = stored(vault, KeyUsage.ZMK, zmk)
    cryptogram = ciphers.tdes_ecb_encrypt(zmk, three)
    header = key_block.Header(version="B", usage="P0", algorithm="T", mode="B", exportability="N")
    block = key_block.wrap(zmk, header, three, seeded(33), pad_to=24)
    for sent in (cryptogram, block):
        with pytest.raises(VaultError, match="weaker"):
            vault.import_key(KeyUsage.ZPK, under, sent)


def test_components_are_put_together_by_xor() -> None:
    vault = make_vault()
    components = [odd(seed, 16) for seed in (11, 12, 13)]
    key = bytes(a ^ b ^ c for a, b, c in zip(*components, strict=True))
    block = vault.import_components(KeyUsage.ZMK, components)
    assert block.check_value == check_values.tdes_check_value(key).hex().upper()
    assert block.lmk_id == vault.lmk_id
    assert vault.check_value(block.block) == block.check_value
    again = vault.import_components(
        KeyUsage.ZMK, components[::-1], check_value=block.check_value.lower()
    )
    assert again.check_value == block.check_value


WEAK = {
    "all zero": bytes(16),
    "equal halves": odd(1, 8) * 2,
    "weak left": bytes.fromhex("0101010101010101") + odd(1, 8),
    "semi-weak right": odd(1, 8) + bytes.fromhex("E0FEE0FEF1FEF1FE"),
    "even parity": bytes(byte ^ 1 for byte in odd(1, 16)),
    "single in a slot of sixteen": odd(1, 8) + bytes(8),
}


@pytest.mark.parametrize("name", sorted(WEAK))
def test_weak_keys_come_only_where_asked_for(name: str) -> None:
    vault = make_vault()
    tmk = stored(vault, KeyUsage.TMK, TMK)
    cryptogram = ciphers.tdes_ecb_encrypt(TMK, WEAK[name])
    with pytest.raises(WeakKeyError):
        vault.import_key(KeyUsage.TPK, tmk, cryptogram)
    vault.import_key(KeyUsage.TPK, tmk, cryptogram, allow_weak=True)


def test_components_are_refused() -> None:
    vault = make_vault()
    good = odd(1, 16)
    for components in (
        [],
        [good],
        [good, good],  # zero
        [good, odd(2, 8)],
        [good, bytes(byte ^ 1 for byte in odd(2, 16))],
        [odd(seed, 16) for seed in range(10)],
        [odd(1, 12), odd(2, 12)],
        [odd(1, 8), odd(2, 8)],  # a TMK is never single length
    ):
        with pytest.raises(VaultError):
            vault.import_components(KeyUsage.TMK, components)
    with pytest.raises(VaultError, match="check value"):
        vault.import_components(KeyUsage.TMK, [good, odd(2, 16)], check_value="000000")
    with pytest.raises(KeyUsageError):
        vault.import_components(KeyUsage.DATA, [seeded(1)(32), seeded(2)(32)])
    with pytest.raises(WeakKeyError):
        vault.import_components(KeyUsage.ZMK, [good, good], algorithm=Algorithm.AES)


def test_wrong_imports() -> None:
    vault = make_vault()
    tmk, zmk = stored(vault, KeyUsage.TMK, TMK), stored(vault, KeyUsage.ZMK, ZMK)
    good = ciphers.tdes_ecb_encrypt(TMK, TPK)
    for usage, under, cryptogram, algorithm in (
        (KeyUsage.TPK, tmk, good[:15], None),
        (KeyUsage.TPK, tmk, b"", None),
        (KeyUsage.TPK, None, good, None),
        (KeyUsage.TPK, tmk, "not a block", None),
        (KeyUsage.TPK, tmk, good, Algorithm.HMAC),
        (KeyUsage.ZAK, zmk, good[:8], None),
    ):
        with pytest.raises(VaultError):
            vault.import_key(usage, under, cryptogram, algorithm=algorithm, allow_weak=True)
    with pytest.raises(VaultError, match="check value"):
        vault.import_key(KeyUsage.TPK, tmk, good, check_value="ABCDEF")
    with pytest.raises(VaultError, match="check value"):
        vault.import_key(KeyUsage.TPK, tmk, good, check_value="")
    old = key_block.Header("B", "P0", "T", "E")
    foreign = key_block.wrap(ZMK, old, ZPK, seeded(1), pad_to=24)
    assert vault.import_key(KeyUsage.ZPK, zmk, foreign).usage is KeyUsage.ZPK
    for header in (
        key_block.Header("B", "P0", "T", "X"),
        key_block.Header("B", "M3", "T", "C"),
        key_block.Header("B", "P0", "D", "E"),
        key_block.Header("B", "P0", "R", "E"),
    ):
        with pytest.raises(VaultError):
            vault.import_key(
                KeyUsage.ZPK, zmk, key_block.wrap(ZMK, header, ZPK, seeded(1), pad_to=24)
            )


def test_a_block_whose_header_makes_no_sense_is_not_imported() -> None:
    vault = make_vault()
    zmk = stored(vault, KeyUsage.ZMK, bytes(range(32)), Algorithm.AES)
    for header in (
        key_block.Header("D", "M3", "A", "C"),  # no retail MAC with AES
        key_block.Header("D", "M6", "A", "C", key_version="c1"),  # a component
        key_block.Header("D", "M6", "A", "C", context="1"),  # for storage elsewhere
        key_block.Header("D", "M6", "A", "C"),
    ):
        block = key_block.wrap(bytes(range(32)), header, MAK, seeded(1), pad_to=32)
        if header == key_block.Header("D", "M6", "A", "C"):
            assert vault.import_key(KeyUsage.ZAK, zmk, block).usage is KeyUsage.ZAK
        else:
            with pytest.raises(KeyUsageError):
                vault.import_key(KeyUsage.ZAK, zmk, block)


def test_a_block_of_its_own_is_taken_back() -> None:
    vault = make_vault()
    block = vault.generate_key(KeyUsage.ZPK, 16)
    assert vault.import_key(KeyUsage.ZPK, None, block.block) == block
    with pytest.raises(KeyUsageError):
        vault.import_key(KeyUsage.TPK, None, block.block)


def test_generated_keys_are_whole() -> None:
    vault = make_vault()
    for usage, row in USAGES.items():
        seen = set()
        for algorithm, lengths in row.lengths.items():
            for length in lengths:
                block = vault.generate_key(usage, length, algorithm=algorithm)
                assert block.usage is usage
                seen |= {len(block.block)} if length <= 32 else set()
                assert vault.check_value(block.block) == block.check_value
            with pytest.raises(VaultError):
                vault.generate_key(usage, 12, algorithm=algorithm)
        assert len(seen) == 1  # up to 32 bytes the length of a key does not show


def test_entropy_that_gives_only_weak_keys_ends() -> None:
    vault = LocalVault(Lmk(bytes(range(32))), bytes)
    with pytest.raises(VaultError, match="entropy"):
        vault.generate_key(KeyUsage.ZPK, 16)


# -- the cache, threads, leaks ---------------------------------------------------------------------


def test_the_cache_of_opened_keys_is_bounded_and_invisible() -> None:
    small = make_vault(keys_max=2)
    keys = [stored(small, KeyUsage.MAK, odd(seed, 16)) for seed in range(5)]
    for _ in range(2):
        for seed, key in enumerate(keys):
            assert small.mac(key, "x9.9", DATA) == mac.compute("x9.9", odd(seed, 16), DATA)
            assert len(small._opened.keys) <= 2


def test_contexts_of_the_module_are_bounded() -> None:
    for seed in range(ciphers.CONTEXTS_MAX + 10):
        ciphers.tdes(seeded(seed)(16))
    assert len(ciphers._contexts.tdes) == ciphers.CONTEXTS_MAX


def test_threads_do_not_share_contexts() -> None:
    vault = make_vault()
    key = stored(vault, KeyUsage.MAK, MAK)
    expected = [mac.compute("x9.9", MAK, bytes([n]) * 100) for n in range(4)]
    wrong: list[int] = []
    seen: set[int] = set()

    def work(n: int) -> None:
        results = {vault.mac(key, "x9.9", bytes([n]) * 100) for _ in range(300)}
        if results != {expected[n]}:
            wrong.append(n)
        seen.add(id(vault._opened.keys))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert id(vault._opened.keys) not in seen


def test_a_context_is_dropped_after_an_exception() -> None:
    cipher = ciphers.Tdes(TPK)
    expected = cipher.cbc_mac(DATA)
    cipher.encrypt(DATA)
    with pytest.raises(TypeError):
        cipher.encrypt("x" * 8)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        cipher.cbc_mac("x" * 8)  # type: ignore[arg-type]
    assert cipher._encrypt is None
    assert cipher._cbc is None
    assert cipher.cbc_mac(DATA) == expected
    with pytest.raises(AssertionError):
        cipher.encrypt(b"1234567")
    assert cipher.encrypt(bytes(8)) == ciphers.tdes_ecb_encrypt(TPK, bytes(8))


def test_nothing_printed_shows_a_key() -> None:
    vault = make_vault()
    tmk = stored(vault, KeyUsage.TMK, TMK)
    keys = vault.generate_working_keys(tmk, "004", 16)
    clear = working_keys.open_de62(TMK, "004", keys.de62, 16)
    zmk = stored(vault, KeyUsage.ZMK, ZMK)
    zpk = vault.import_components(KeyUsage.ZPK, [ZPK], allow_weak=True)
    shown = " ".join(
        f"{thing!r} {thing}"
        for thing in (
            vault,
            vault._keys,
            vault._keys.open(zpk.block),
            vault._keys.lmk,
            keys,
            clear,
            zpk,
            vault.export_key(zpk.block, zmk),
            ciphers.Tdes(TMK),
            ciphers.Aes(TMK),
            ciphers.Gcm(TMK),
            ciphers.Hmac(TMK),
        )
    ).upper()
    secrets = [TMK, ZMK, ZPK, clear.pik, clear.mak, clear.tdk, keys.de62, b"TONGBAO PUBLIC TEST"]
    for secret in secrets:
        assert secret is not None
        for half in (secret[:8], secret[8:16]):
            assert half.hex().upper() not in shown
            assert repr(half).upper() not in shown
    for block in (keys.pik, keys.mak, zpk.block):
        assert block not in shown


def test_errors_show_neither_pin_nor_key() -> None:
    vault = make_vault()
    tpk, zpk = stored(vault, KeyUsage.TPK, TPK), stored(vault, KeyUsage.ZPK, ZPK)
    with pytest.raises(PinBlockError) as caught:
        vault.translate_pin(sealed_pin("975318642"), tpk, zpk, "6222029999999999999")
    assert "9753" not in str(caught.value)
    with pytest.raises(VaultError) as refused:
        pin_block.encode_format0("97531x", PAN)
    assert "9753" not in str(refused.value)


def test_one_module_imports_the_cipher_library_and_none_the_machine() -> None:
    hsm = Path(ciphers.__file__).parent
    for path in sorted(hsm.rglob("*.py")):
        names = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.partition(".")[0])
        assert ("cryptography" in names) is (path.name == "ciphers.py"), path
        assert ("Crypto" in names) is (path.name == "ceremony.py"), path
        machine = {"os", "random", "secrets", "time", "socket", "asyncio", "ssl", "datetime"}
        assert not names & machine or path.parent.name == "adapters", path
