"""Goal: every published answer that concerns the vault comes out of it.

Method: `tests/vectors/vectors.json`, one test a row, dispatched by the row's algorithm. A row is either
checked or named in `LATER` with the reason; a third kind fails. The source of a row stands in the file.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hsm import (
    card_values,
    check_values,
    ciphers,
    key_block,
    mac,
    pin_block,
    pin_verify,
    tracks,
)
from hsm.digits import account_of
from hsm.errors import PinBlockError
from hsm.keys import Algorithm, KeyUsage
from hsm.variant import VariantLmk
from tests.hsm import known_dukpt, known_emv, known_sm2
from tests.hsm.host.support import Host
from tests.hsm.rows import Row, data_of, equal, key_of, upper
from tests.hsm.support import make_vault, stored

ROWS: list[Row] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "vectors.json").read_text(encoding="utf-8")
)

# Start of the algorithm's name -> what is to be built first.
LATER = {
    "UnionPay POS 8583 BCD/ASCII packing": "a matter of iso8583/",
}


def later(row: Row) -> str | None:
    return next(
        (reason for start, reason in LATER.items() if row["algorithm"].startswith(start)), None
    )


def check_format0(row: Row) -> None:
    block = pin_block.encode_format0(row["input"]["pin"], row["input"]["pan"])
    assert upper(block) == row["output"]
    assert pin_block.decode_format0(block, row["input"]["pan"]) == row["input"]["pin"]


def check_format1(row: Row) -> None:
    fill = bytes.fromhex(row["input"]["filler_hex"]).rjust(7, b"\0")
    block = pin_block.encode_format1(row["input"]["pin"], fill)
    assert upper(block) == row["output"]
    assert pin_block.decode_format1(block) == row["input"]["pin"]


def check_format2(row: Row) -> None:
    block = pin_block.encode_format2(row["input"]["pin"])
    assert upper(block) == row["output"]
    assert pin_block.decode_format2(block) == row["input"]["pin"]


def check_format3(row: Row) -> None:
    block = pin_block.encode_format3(row["input"]["pin"], row["input"]["pan"], b"\x05" * 10)
    assert upper(block) == row["output"]
    assert pin_block.decode_format3(block, row["input"]["pan"]) == row["input"]["pin"]


def check_format4(row: Row) -> None:
    assert upper(pin_block.format4_pan_field(row["input"]["pan"])) == row["output"]


def check_translation(row: Row) -> None:
    vault = make_vault()
    tpk = stored(vault, KeyUsage.TPK, bytes.fromhex(row["keys"]["tpk"]))
    zpk = stored(vault, KeyUsage.ZPK, bytes.fromhex(row["keys"]["zpk"]))
    under_tpk = bytes.fromhex(row["input"]["under_tpk"])
    clear = ciphers.tdes_ecb_decrypt(bytes.fromhex(row["keys"]["tpk"]), under_tpk)
    assert upper(clear) == row["input"]["clear_block"]
    assert pin_block.decode_format0(clear, row["input"]["pan"]) == row["input"]["pin"]
    assert upper(vault.translate_pin(under_tpk, tpk, zpk, row["input"]["pan"])) == row["output"]


def check_unwrap(row: Row) -> None:
    kbpk = bytes.fromhex(row["keys"]["kbpk"])
    _, key = key_block.unwrap(kbpk, row["input"]["key_block"])
    assert upper(key) == row["output"]["key"]


def check_unionpay_mac(row: Row) -> None:
    key, data = bytes.fromhex(row["keys"]["mak"]), bytes.fromhex(row["input"]["mab"])
    assert upper(mac.unionpay_ecb(key, data)) == row["output"]["final_block"]
    de64 = bytes.fromhex(row["output"]["field64"])
    assert mac.compute("unionpay-ecb", key, data) == de64
    vault = make_vault()
    block = stored(vault, KeyUsage.MAK, key)
    assert vault.mac(block, "unionpay-ecb", data) == de64
    assert vault.verify_mac(block, "unionpay-ecb", data, de64)


def check_working_key(row: Row) -> None:
    vault = make_vault()
    tmk = stored(vault, KeyUsage.TMK, bytes.fromhex(row["keys"]["tmk"]))
    cryptogram = bytes.fromhex(row["input"]["encrypted_mak"])
    imported = vault.import_key(KeyUsage.MAK, tmk, cryptogram, allow_weak=True)
    clear = bytes.fromhex(row["output"])
    assert ciphers.tdes_ecb_decrypt(bytes.fromhex(row["keys"]["tmk"]), cryptogram) == clear
    assert imported.check_value == upper(check_values.tdes_check_value(clear))
    assert vault.mac(imported.block, "x9.9", b"data") == mac.compute("x9.9", clear, b"data")


def check_variant(row: Row) -> None:
    lmk, code = VariantLmk.TEST, row["keys"]["key_type_code"][:3]
    clear, text = bytes.fromhex(row["input"]["clear_key"]), row["output"]["under_lmk"]
    assert lmk.encrypt_key(clear, code, text[0]) == text
    assert lmk.decrypt_key(text, code) == clear
    assert upper(check_values.tdes_check_value(clear)) == row["output"]["kcv6"]


def check_cvv(row: Row) -> None:
    cvk, given = bytes.fromhex(row["keys"]["cvk"]), row["input"]
    card = given["pan"], given["expiry"], given["service_code"]
    assert card_values.card_value(cvk, *card) == row["output"]
    assert card_values.verify(cvk, *card, row["output"])


def check_pvv(row: Row) -> None:
    pvk, given = bytes.fromhex(row["keys"]["pvk"]), row["input"]
    account = account_of(given["pan"])
    assert pin_verify.pvv(pvk, account, given["pvki"], given["pin"]) == row["output"]
    assert pin_verify.verify_pvv(pvk, account, given["pvki"], given["pin"], row["output"])


def check_ibm_offset(row: Row) -> None:
    pvk, given, expected = bytes.fromhex(row["keys"]["pvk"]), row["input"], row["output"]
    card = pvk, given["validation_data"], given["decimalisation_table"]
    assert pin_verify.natural_pin(*card, len(given["pin"])) == expected["natural_pin"]
    assert pin_verify.offset_of_pin(*card, given["pin"]) == expected["offset"]
    assert pin_verify.verify_offset(*card, given["pin"], expected["offset"])


def check_track(row: Row) -> None:
    tdk, track = bytes.fromhex(row["keys"]["tdk"]), row["input"]["track2"]
    assert tracks.encrypt(tdk, track) == row["output"]
    assert tracks.decrypt(tdk, row["output"]) == track


def iterated_sm4(row: Row) -> bytes:
    cipher, block = ciphers.Sm4(key_of(row)), data_of(row)
    for _ in range(row["input"]["iterations"]):
        block = cipher.encrypt(block)
    return block


def check_host(row: Row) -> None:
    command, answer = row["algorithm"].split()[1].split("/")
    given, output = row["input"]["command_data"], row["output"]["response_data"]
    assert Host()(command + given) == answer + output


CHECKS: dict[str, Callable[[Row], None]] = {
    "ISO 9564-1 format 0": check_format0,
    "ISO 9564-1 format 1": check_format1,
    "ISO 9564-1 format 2": check_format2,
    "ISO 9564-1 format 3": check_format3,
    "ISO 9564-1 format 4": check_format4,
    "TDES ECB + ISO 9564 format 0": check_translation,
    "ISO 9797-1 alg 1 (X9.9), padding 1": equal(lambda row: mac.x9_9(key_of(row), data_of(row))),
    "FIPS 113 / X9.9 (alg 1, zero pad)": equal(lambda row: mac.x9_9(key_of(row), data_of(row))),
    "ISO 9797-1 alg 3 (X9.19), padding 1": equal(lambda row: mac.x9_19(key_of(row), data_of(row))),
    "ISO 9797-1 alg 3 (X9.19), padding 2": equal(
        lambda row: mac.x9_19(key_of(row), data_of(row), 2)
    ),
    "ISO 9797-1 alg 3, padding 1": equal(lambda row: mac.x9_19(key_of(row), data_of(row))),
    "ISO 9797-1 alg 3, padding 2": equal(lambda row: mac.x9_19(key_of(row), data_of(row), 2)),
    "AES-CMAC": equal(lambda row: mac.aes_cmac(key_of(row), data_of(row))),
    "TDES-CMAC": equal(lambda row: ciphers.tdes_cmac(key_of(row), data_of(row))),
    "KCV: first 3 bytes of E(K, 8 zero bytes)": equal(
        lambda row: check_values.tdes_check_value(key_of(row))
    ),
    "KCV: first 5 bytes of AES-CMAC(K, 16 zero bytes)": equal(
        lambda row: check_values.aes_check_value(key_of(row))
    ),
    "KCV: first 3 bytes of AES-ECB(K, 16 zero bytes)": equal(
        lambda row: check_values.aes_ecb_check_value(key_of(row))
    ),
    "TR-31/X9.143 unwrap": check_unwrap,
    "UnionPay POS MAC (XOR fold, hex expand, two TDES ECB)": check_unionpay_mac,
    "UnionPay POS MAC (XOR fold, hex expand, two DES ECB)": check_unionpay_mac,
    "TDES-ECB decrypt": check_working_key,
    "Racal/Thales variant LMK encryption": check_variant,
    "DES-ECB": equal(lambda row: ciphers.tdes_ecb_encrypt(key_of(row), data_of(row))),
    "AES-ECB": equal(lambda row: ciphers.aes_ecb_encrypt(key_of(row), data_of(row))),
    "Visa CVV": check_cvv,
    "Visa PVV": check_pvv,
    "IBM 3624 PIN offset": check_ibm_offset,
    "UnionPay POS F35: TDES-ECB of the 8 bytes before the last byte": check_track,
    "SM4-ECB": equal(lambda row: ciphers.sm4_ecb_encrypt(key_of(row), data_of(row))),
    "SM4-ECB iterated": equal(iterated_sm4),
    "SM4 CBC-MAC, zero IV, ISO 9797-1 padding 1": equal(
        lambda row: mac.sm4_cbc(key_of(row), data_of(row))
    ),
    "first 4 bytes of SM4(K, 16 zero bytes)": equal(
        lambda row: check_values.sm4_check_value(key_of(row))
    ),
    "HMAC-SHA-256": equal(lambda row: ciphers.hmac_sha256(key_of(row), data_of(row))),
}
CHECKS |= {
    f"payShield {pair} (test LMKs)": check_host for pair in ("CA/CB", "CI/CJ", "CW/CX", "DC/DD")
}
CHECKS |= known_dukpt.CHECKS
CHECKS |= known_emv.CHECKS
CHECKS |= known_sm2.CHECKS


@pytest.mark.parametrize(
    "row", [row for row in ROWS if not later(row)], ids=lambda row: str(row["name"])
)
def test_known_answer(row: Row) -> None:
    CHECKS[row["algorithm"]](row)


def test_every_row_is_checked_or_named() -> None:
    for row in ROWS:
        assert (row["algorithm"] in CHECKS) is not bool(later(row)), row["name"]
    assert sum(1 for row in ROWS if not later(row)) >= 40
    for start in LATER:
        assert any(row["algorithm"].startswith(start) for row in ROWS), start


def test_hmac_with_its_key_hashed_before() -> None:
    # RFC 4231 cases 1, 2 and 6 (a key longer than a block)
    for key, data in (
        (b"\x0b" * 20, b"Hi There"),
        (b"Jefe", b"what do ya want for nothing?"),
        (b"\xaa" * 131, b"Test Using Larger Than Block-Size Key - Hash Key First"),
    ):
        assert ciphers.Hmac(key).digest(data) == ciphers.hmac_sha256(key, data)


def test_aes_128_key_block_carries_its_algorithm() -> None:
    # X9.143:2021 8.1 has an AES key of 16 bytes under an AES-256 protection key.
    row = next(row for row in ROWS if "X9.143:2021 8.1" in row["name"])
    header, key = key_block.unwrap(bytes.fromhex(row["keys"]["kbpk"]), row["input"]["key_block"])
    assert (header.usage, header.algorithm, header.mode) == ("P0", Algorithm.AES.value, "E")
    assert len(key) == 16


def test_a_bad_format0_block_is_refused_by_the_rule_it_breaks() -> None:
    pan = "6222021234567890123"
    number = pin_block.pan_part(pan)
    for field, reason in (
        ("1412345fffffffff", "control"),
        ("0312fffffffffff0", "length"),
        ("0d12345678901234", "length"),
        ("04123affffffffff", "decimal"),
        ("041234fffffffff0", "fill"),
        ("041234ffff0fffff", "fill"),
    ):
        block = (int(field, 16) ^ number).to_bytes(8, "big")
        assert not pin_block.format0_is_valid(block, pin_block.pan_part(pan))
        with pytest.raises(PinBlockError, match=reason):
            pin_block.decode_format0(block, pan)
