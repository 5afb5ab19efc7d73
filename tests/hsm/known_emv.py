"""Checks of the published rows of chip cards, for `test_known_answers.py`."""

from collections.abc import Callable

from hsm import emv_cryptograms, emv_keys, emv_profiles, emv_scripts
from tests.hsm.rows import Row, data_of, equal, upper


def card_key(row: Row, name: str, option: str = "A") -> bytes:
    y = emv_keys.diversifier(row["input"]["pan"], row["input"]["psn"], option=option)
    return emv_keys.master_key(bytes.fromhex(row["keys"][name]), y)


def check_emv_card(row: Row) -> None:
    given, output = row["input"], row["output"]
    master = card_key(row, "imk_ac")
    assert upper(master) == output["icc_mk"]
    key = emv_keys.common_session_key(master, bytes.fromhex(given["r"]))
    assert upper(key) == output["sk_ac"]
    arqc = emv_cryptograms.application_cryptogram(key, data_of(row))
    assert upper(arqc) == output["arqc_pad80"]
    if "arpc1_with_icc_mk" in output:
        arpc = emv_cryptograms.arpc_method_1(master, arqc, bytes.fromhex(given["arc"]))
        assert upper(arpc) == output["arpc1_with_icc_mk"]


def check_emv_option_b(row: Row) -> None:
    assert upper(card_key(row, "imk", "B")) == row["output"]["icc_mk"]


def emv_arpc_1(row: Row) -> bytes:
    arqc, arc = bytes.fromhex(row["input"]["arqc"]), bytes.fromhex(row["input"]["arc"])
    return emv_cryptograms.arpc_method_1(bytes.fromhex(row["keys"]["sk_ac"]), arqc, arc)


def emv_arpc_2(row: Row) -> bytes:
    given = row["input"]
    return emv_cryptograms.arpc_method_2(
        bytes.fromhex(row["keys"]["sk_ac"]),
        bytes.fromhex(given["arqc"]),
        bytes.fromhex(given["csu"]),
        bytes.fromhex(given["proprietary_auth_data"]),
    )


def tags_of(data: bytes) -> dict[str, bytes]:
    """The chip data that a cryptogram's input was made of; what follows the list is of tag 9F10."""
    tags, at = {}, 0
    for tag, length in emv_profiles.ELEMENTS.items():
        tags[tag] = data[at : at + length]
        at += length
    return tags | {"9F10": data[at:]}


def check_emv_cvn10(row: Row) -> None:
    given, output = row["input"], row["output"]
    profile = emv_profiles.profile_named("visa-cvn10")
    data = bytes.fromhex(given["data_9F02..CVR"])
    tags = tags_of(data)
    tags["9F10"] = bytes.fromhex("06010A") + tags["9F10"]
    tags["9F26"] = bytes.fromhex(output["arqc"])
    issuer_key = bytes.fromhex(row["keys"]["imk_ac"])
    pan, psn, arc = given["pan"], given["psn"], bytes.fromhex(given["arc"])
    assert emv_profiles.cryptogram_data(profile, tags) == data
    assert upper(emv_profiles.master_key(profile, issuer_key, pan, psn)) == output["icc_mk"]
    assert emv_profiles.verify(profile, issuer_key, pan, psn, tags)
    answer = emv_profiles.issuer_authentication_data(profile, issuer_key, pan, psn, tags, arc)
    assert upper(answer) == output["arpc"] + given["arc"]


def check_emv_uics(row: Row) -> None:
    given, output = row["input"], row["output"]
    r = emv_keys.r_of_atc(bytes.fromhex(given["atc"]))
    key = emv_keys.common_session_key(card_key(row, "imk_ac"), r)
    assert upper(key) == output["sk_ac"]
    arqc = emv_cryptograms.application_cryptogram(key, data_of(row))
    assert upper(arqc) == output["arqc"]
    assert upper(emv_cryptograms.arpc_method_1(key, arqc, b"00")) == output["arpc1_3030"]


def check_emv_script(row: Row) -> None:
    r = bytes.fromhex(row["input"]["r(ARQC)"])
    key = emv_keys.common_session_key(card_key(row, "imk_smi"), r)
    assert upper(key) == row["output"]["sk_smi"]
    code = emv_scripts.script_mac(key, bytes.fromhex(row["input"]["apdu_header"]))
    assert upper(code) == row["output"]["mac8"]


CHECKS: dict[str, Callable[[Row], None]] = {
    "EMV Book 2 A1.4.1/A1.3.1/8.1/8.2.1": check_emv_card,
    "EMV Book 2 A1.4.1": check_emv_card,
    "EMV Book 2 A1.4.2": check_emv_option_b,
    "EMV Book 2 8.2.1": equal(emv_arpc_1),
    "EMV Book 2 8.2.2": equal(emv_arpc_2),
    "Visa CVN 10": check_emv_cvn10,
    "EMV CSK, R = ATC||000000000000": check_emv_uics,
    "EMV secure messaging MAC (CSK by ARQC)": check_emv_script,
}
