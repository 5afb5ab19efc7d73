"""Goal: keys, check values, PIN blocks and MACs that other people published come out of the vault.

Method: the records with `kat` of `tests/data/corpus`, through the port where it has an operation. The
records are read by offset from what the corpus says about them, not by our codec.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from hsm import check_values, ciphers, mac, pin_block, working_keys
from hsm.keys import KeyUsage
from tests.hsm.support import make_vault, stored

CORPUS = Path(__file__).parent.parent / "data" / "corpus" / "messages.jsonl"
RECORDS: dict[str, dict[str, Any]] = {
    record["id"]: record
    for record in map(json.loads, CORPUS.read_text(encoding="utf-8").splitlines())
}
EXPECTED_KATS = {
    "cup-go8583-signin-resp",
    "cup-lyx-reversal-resp-x919",
    "cup-mac-agiledata",
    "cup-mac-halalah",
    "cup-mac-secretutil",
    "pin-payby-format0",
}


def octets(record: dict[str, Any], name: str) -> bytes:
    return bytes.fromhex(record["keys"][name])


def test_every_known_answer_has_a_test() -> None:
    assert {name for name, record in RECORDS.items() if record.get("kat")} == EXPECTED_KATS


def test_sign_on_answer_opens_under_the_published_tmk() -> None:
    record = RECORDS["cup-go8583-signin-resp"]
    de62 = bytes.fromhex(record["decoded"]["fields"]["62"].removeprefix("hex:"))
    keys = working_keys.open_de62(octets(record, "tmk"), "003", de62, 8)
    assert (keys.pik, keys.mak) == (octets(record, "pik"), octets(record, "mak"))
    assert de62[28:36] == bytes(8)  # the unused half of the MAK slot, as transmitted

    vault = make_vault()
    tmk = stored(vault, KeyUsage.TMK, octets(record, "tmk"))
    for usage, cryptogram, check_value in (
        (KeyUsage.TPK, de62[:16], record["keys"]["pik_kcv"]),
        (KeyUsage.MAK, de62[20:28], record["keys"]["mak_kcv"]),
    ):
        block = vault.import_key(usage, tmk, cryptogram, check_value=check_value, allow_weak=True)
        assert check_value.startswith(block.check_value)


def test_components_working_keys_and_x919_of_a_reversal() -> None:
    record = RECORDS["cup-lyx-reversal-resp-x919"]
    components = [octets(record, "zmk_component1"), octets(record, "zmk_component2")]
    printed = record["keys"]["zmk_component_kcvs"].split(" / ")
    for component, check_value in zip(components, printed, strict=True):
        assert check_values.tdes_check_value(component).hex().upper().startswith(check_value)

    vault = make_vault()
    # What its source calls ZMK carries a terminal's working keys: our TMK.
    tmk = vault.import_components(KeyUsage.TMK, components)
    pik = vault.import_key(
        KeyUsage.TPK, tmk.block, octets(record, "pik_under_zmk"), check_value="CF9C35EA"
    )
    mak = vault.import_key(
        KeyUsage.MAK, tmk.block, octets(record, "mak_under_zmk"), check_value="21DD874E"
    )
    assert pik.check_value == "CF9C35"
    message = bytes.fromhex(record["hex"])
    start = message.index(bytes.fromhex("0400"))  # the MTI: length, TPDU and header are not covered
    data, printed_mac = message[start:-8], message[-8:]
    assert printed_mac.hex().upper() == record["kat"]["mac"]
    assert vault.mac(mak.block, "x9.19-binary", data) == printed_mac
    assert vault.verify_mac(mak.block, "x9.19-binary", data, printed_mac)
    assert not vault.verify_mac(mak.block, "x9.19-binary", data + b"\1", printed_mac)


def test_pin_block_and_mac_of_one_purchase() -> None:
    record = RECORDS["cup-mac-agiledata"]
    vault = make_vault()
    tmk = stored(vault, KeyUsage.TMK, octets(record, "tmk"))
    pik = vault.import_key(KeyUsage.TPK, tmk, octets(record, "pik_under_tmk"), allow_weak=True)
    mak = vault.import_key(KeyUsage.MAK, tmk, octets(record, "mak_under_tmk"), allow_weak=True)
    answer = record["kat"]
    data = bytes.fromhex(answer["input"])
    assert vault.mac(mak.block, "unionpay-ecb", data) == answer["field64_ascii"].encode()
    assert vault.mac(mak.block, "unionpay-ecb-binary", data).hex().upper() == answer["mac_full"]

    pin = answer["pin"]
    de52 = bytes.fromhex(pin["field52"])
    zpk_clear = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
    zpk = stored(vault, KeyUsage.ZPK, zpk_clear)
    under_zpk = vault.translate_pin(de52, pik.block, zpk, pin["pan"])
    clear = ciphers.tdes_ecb_decrypt(zpk_clear, under_zpk)
    assert clear.hex().upper() == pin["clear_block"]
    assert pin_block.decode_format0(clear, pin["pan"]) == pin["pin"]


def test_key_chain_and_mac_of_a_purchase() -> None:
    record = RECORDS["cup-mac-secretutil"]
    vault = make_vault()
    kek = stored(vault, KeyUsage.ZMK, octets(record, "kek"))
    tmk = vault.import_key(KeyUsage.TMK, kek, octets(record, "tmk_under_kek"), allow_weak=True)
    mak = vault.import_key(
        KeyUsage.MAK, tmk.block, octets(record, "mak_under_tmk"), allow_weak=True
    )
    data = bytes.fromhex(record["kat"]["input"])
    assert vault.mac(mak.block, "unionpay-ecb", data).decode() == record["kat"]["field64_ascii"]


@pytest.mark.parametrize("name", ["cup-mac-halalah", "cup-mac-agiledata", "cup-mac-secretutil"])
def test_unionpay_mac_on_clear_keys(name: str) -> None:
    answer = RECORDS[name]["kat"]
    key, data = bytes.fromhex(answer["key"]), bytes.fromhex(answer["input"])
    assert mac.unionpay_ecb(key, data).hex().upper() == answer["mac_full"]
    assert mac.verify("unionpay-ecb", key, data, answer["field64_ascii"].encode())


def test_clear_pin_block_of_a_specification() -> None:
    record = RECORDS["pin-payby-format0"]
    expected = record["expected"] or {}
    block = bytes.fromhex(record["hex"])
    assert pin_block.decode_format0(block, str(expected["pan"])) == str(expected["pin"])
