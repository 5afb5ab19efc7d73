"""Checks of the published rows of SM2 and SM3, for `test_known_answers.py`."""

from collections.abc import Callable

from hsm import ciphers, sm2
from tests.hsm.rows import Row, data_of, equal, upper
from tests.hsm.support import seeded


def sm2_keys(row: Row) -> tuple[bytes, bytes]:
    keys = row["keys"]
    private, public = bytes.fromhex(keys["d"]), bytes.fromhex("04" + keys["px"] + keys["py"])
    assert sm2.public_key(private, seeded()) == public
    return private, public


def sm2_random(row: Row) -> Callable[[int], bytes]:
    """The row's k first, then anything: the rest only blinds."""
    k, rest = [bytes.fromhex(row["keys"]["k"])], seeded()
    return lambda count: k.pop() if k and count == 32 else rest(count)


def check_sm2_signature(row: Row) -> None:
    private, public = sm2_keys(row)
    hashed = sm2.digest(public, data_of(row))
    assert upper(hashed) == row["input"]["e"]
    signature = sm2.sign_digest(private, hashed, sm2_random(row))
    assert upper(signature) == row["output"]["r"] + row["output"]["s"]
    assert sm2.verify(public, data_of(row), signature)


def check_sm2_encryption(row: Row) -> None:
    private, public = sm2_keys(row)
    output = row["output"]
    sealed = sm2.encrypt(public, data_of(row), sm2_random(row))
    assert upper(sealed) == output["C1"] + output["C3"] + output["C2"]
    assert sm2.decrypt(private, sealed, seeded()) == data_of(row)


CHECKS: dict[str, Callable[[Row], None]] = {
    "SM3": equal(lambda row: ciphers.sm3(data_of(row))),
    "SM2 sign (sm2p256v1), ID 1234567812345678": check_sm2_signature,
    "SM2 encrypt, ciphertext order C1||C3||C2": check_sm2_encryption,
}
