"""Goal: PIN blocks change keys as a device changes them, and wrong ones get the published code.

Method: published commands under the public test LMK; then one wrong field at a time.
"""

import pytest
from hypothesis import given, settings, strategies as st

from hsm import ciphers, pin_block
from hsm.keys import Algorithm, KeyUsage
from tests.hsm.host.support import Host
from tests.hsm.support import odd

PAN = "5555000000253211"
ACCOUNT = "500000025321"
TPK, ZPK = odd(11, 16), odd(12, 16)


def sealed(pin: str = "1234", key: bytes = TPK) -> str:
    clear = pin_block.encode_format0(pin, PAN)
    return ciphers.tdes_ecb_encrypt(key, clear).hex().upper()


def ca(host: Host, **changed: str) -> str:
    fields = {
        "tpk": host.key(TPK, "002"), "zpk": host.key(ZPK, "001"), "longest": "12",
        "block": sealed(), "source": "01", "destination": "01", "account": ACCOUNT,
    }  # fmt: skip
    return host("CA" + "".join((fields | changed).values()))


def test_a_published_command_gives_the_published_answer() -> None:
    command = (
        "CAU8463435FC4B4DAA0C49025272C29B12CU1EF828AA8F6B80EB83E19FBC373F3A85"
        "126428EB94035AF53B0101550000025321"
    )
    assert Host()(command) == "CB000491DDDA0A7C12CFAA01"


@settings(max_examples=25, deadline=None)
@given(st.text("0123456789", min_size=4, max_size=12))
def test_a_translated_pin_is_the_same_pin(pin: str) -> None:
    answer = ca(Host(), block=sealed(pin))
    assert answer[:4] == "CB00"
    assert answer[4:6] == f"{len(pin):02}"
    assert answer[6:22] == sealed(pin, ZPK)


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("tpk", "U" + "0" * 32, "10"),
        ("tpk", "Q" + "0" * 32, "26"),
        ("tpk", "U" + "0" * 31 + "G", "15"),
        ("zpk", "U" + "0" * 32, "11"),
        ("longest", "13", "24"),
        ("longest", "1X", "15"),
        ("block", "0" * 16, "20"),
        ("block", "Z" * 16, "20"),
        ("source", "99", "23"),
        ("destination", "05", "23"),
        ("account", "50000002532X", "22"),
        ("account", "50000", "80"),
        ("account", ACCOUNT + "1", "80"),
        ("account", ACCOUNT + "%99", "13"),
    ],
)
def test_a_wrong_field_has_its_code(field: str, value: str, code: str) -> None:
    assert ca(Host(), **{field: value}) == "CB" + code


def test_keys_as_blocks_do_what_their_header_says() -> None:
    host = Host()
    keys = host.vault.keys
    tpk = "S" + keys.wrap(KeyUsage.TPK, Algorithm.TDES, TPK).block
    zpk = "S" + keys.wrap(KeyUsage.ZPK, Algorithm.TDES, ZPK).block
    mak = "S" + keys.wrap(KeyUsage.MAK, Algorithm.TDES, TPK).block
    assert ca(host, tpk=tpk, zpk=zpk) == "CB0004" + sealed(key=ZPK) + "01"
    assert ca(host, tpk=mak, zpk=zpk) == "CBA6"
    assert ca(host, tpk=tpk, zpk=tpk) == "CBA6"
    changed = zpk[:-1] + ("0" if zpk[-1] != "0" else "1")
    assert ca(host, tpk=tpk, zpk=changed) == "CBA4"
    assert host("CA" + tpk[:50]) == "CB83"


def test_a_trailer_comes_back_with_answers_and_errors() -> None:
    host = Host()
    assert ca(host, account=ACCOUNT + "%00\x19trailer")[-8:] == "\x19trailer"
    assert ca(host, block="0" * 16, account=ACCOUNT + "\x19abc") == "CB20\x19abc"
    assert ca(host, account=ACCOUNT + "\x19" + "t" * 33) == "CB80"
