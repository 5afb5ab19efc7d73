"""Checks of the published rows of DUKPT, for `test_known_answers.py`."""

from collections.abc import Callable

from hsm import ciphers, dukpt_aes, dukpt_tdes, mac, pin_block
from tests.hsm.rows import Row, upper


def check_dukpt_tdes(row: Row) -> None:
    keys, given, output = row["keys"], row["input"], row["output"]
    host = dukpt_tdes.TdesDukpt(bytes.fromhex(keys["bdk"]))
    if "iksn" in given:
        assert upper(host.initial_key(bytes.fromhex(given["iksn"]))) == output["ik"]
        return
    ksn = dukpt_tdes.parse_ksn(given["ksn"])
    assert upper(host.initial_key(ksn)) == keys["ik"]
    assert upper(host.transaction_key(ksn)) == output["transaction_key"]
    assert (
        upper(host.working_key(ksn, dukpt_tdes.TdesUsage.DATA_REQUEST))
        == (output["data_key_request_variant_then_tdes"])
    )
    pin_key = host.working_key(ksn, dukpt_tdes.TdesUsage.PIN)
    clear = pin_block.encode_format0(given["pin"], given["pan"])
    assert (upper(pin_key), upper(clear)) == (output["pin_key"], given["clear_pin_block_iso0"])
    assert upper(ciphers.tdes_ecb_encrypt(pin_key, clear)) == output["encrypted_pin_block"]
    data = given["mac_data_ascii"].encode()
    request_key = host.working_key(ksn, dukpt_tdes.TdesUsage.MAC_REQUEST)
    assert upper(request_key) == output["mac_request_key"]
    assert upper(mac.x9_19(request_key, data)[:4]) == output["mac_request_4"]
    response_key = host.working_key(ksn, dukpt_tdes.TdesUsage.MAC_RESPONSE)
    assert upper(mac.x9_19(response_key, data)[:4]) == output["mac_response_4"]


def check_dukpt_aes(row: Row) -> None:
    keys, given, output = row["keys"], row["input"], row["output"]
    if "initial_key_id" in given:
        identity = bytes.fromhex(given["initial_key_id"])
        assert upper(dukpt_aes.initial_key(bytes.fromhex(keys["bdk"]), identity)) == output["ik"]
        return
    ksn = dukpt_aes.parse_ksn(given["ksn"])
    key = dukpt_aes.derivation_key(bytes.fromhex(keys["ik"]), ksn)
    assert upper(key) == output["derivation_key"]


def check_dukpt_aes_transaction(row: Row) -> None:
    given, output = row["input"], row["output"]
    check_dukpt_aes(row)
    host = dukpt_aes.AesDukpt(bytes.fromhex(row["keys"]["bdk"]))
    ksn = dukpt_aes.parse_ksn(given["ksn"])
    assert upper(host.derivation_key(ksn)) == output["derivation_key"]
    made = {
        name: host.working_key(ksn, usage, key_type)
        for name, usage, key_type in (
            ("pin_key_aes128", dukpt_aes.AesUsage.PIN, dukpt_aes.AesKeyType.AES128),
            ("mac_gen_key_aes128", dukpt_aes.AesUsage.MAC_GENERATE, dukpt_aes.AesKeyType.AES128),
            ("data_enc_key_aes128", dukpt_aes.AesUsage.DATA_ENCRYPT, dukpt_aes.AesKeyType.AES128),
            ("pin_key_aes256", dukpt_aes.AesUsage.PIN, dukpt_aes.AesKeyType.AES256),
        )
        if name in output
    }
    assert len(made) >= 3
    assert {name: upper(key) for name, key in made.items()} == {n: output[n] for n in made}
    if "iso4_pin_block" in output:
        fill = bytes.fromhex(given["pin_field_random"])
        pin_key = made["pin_key_aes128"]
        block = pin_block.encode_format4(pin_key, given["pin"], given["pan"], fill)
        assert upper(block) == output["iso4_pin_block"]


CHECKS: dict[str, Callable[[Row], None]] = {
    "X9.24-1 TDES DUKPT": check_dukpt_tdes,
    "X9.24-3 AES DUKPT": check_dukpt_aes,
    "X9.24-3 AES DUKPT + ISO 9564 format 4": check_dukpt_aes_transaction,
}
