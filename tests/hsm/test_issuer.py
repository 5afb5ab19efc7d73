"""Goal: an issuer's vault says right and wrong as other hands do, and no key serves another purpose.

Method: psec and pyemv on drawn cards; every key of every usage in every place.
"""

from collections.abc import Callable

import psec
import pyemv
import pytest
from hypothesis import given, settings, strategies as st

from hsm import ciphers, pin_block, pin_verify
from hsm.card_values import CardValue, CardValueProfile
from hsm.errors import KeyUsageError, PinBlockError, VaultError
from hsm.keys import USAGES, Algorithm, KeyUsage, Operation
from hsm.pin_translation import PinFormat
from tests.hsm.support import make_vault, odd, seeded, stored

pytestmark = pytest.mark.filterwarnings("ignore:.*TripleDES:Warning")  # psec, pyemv
few = settings(max_examples=25, deadline=None)

PAN, PSN = "6222021234567890123", "01"
KEY = odd(61, 16)
AES_KEY = seeded(62)(16)
TABLE = "8351296477461538"
VALIDATION = "622202123456789F"
pins = st.text("0123456789", min_size=4, max_size=12)
Calls = dict[Operation, list[Callable[[], object]]]

TAGS = {
    "9F02": bytes(6), "9F03": bytes(6), "9F1A": b"\1\x56", "95": bytes(5), "5F2A": b"\1\x56",
    "9A": b"\x26\x11\x27", "9C": b"\0", "9F37": b"\1\2\3\4", "82": b"\x7c\0", "9F36": b"\0\7",
    "9F10": bytes.fromhex("07010103A00002010A010000000000AABBCCDD"),
}  # fmt: skip


def sealed(pin: str, pan: str = PAN) -> bytes:
    return ciphers.tdes_ecb_encrypt(KEY, pin_block.encode_format0(pin, pan))


@few
@given(pins, pins)
def test_pins_agree_with_psec(pin: str, wrong: str) -> None:
    vault = make_vault()
    tpk = stored(vault, KeyUsage.TPK, KEY)
    visa, ibm = stored(vault, KeyUsage.PVK_VISA, KEY), stored(vault, KeyUsage.PVK_IBM, KEY)
    value = psec.pin.generate_visa_pvv(KEY, "1", pin[:4], PAN)
    same_value = psec.pin.generate_visa_pvv(KEY, "1", wrong[:4], PAN) == value
    issuer = vault.issuer
    assert issuer.verify_pin_pvv(sealed(pin), tpk, visa, PAN, "1", value)
    assert issuer.verify_pin_pvv(sealed(wrong), tpk, visa, PAN, "1", value) is same_value
    offset = psec.pin.generate_ibm3624_offset(KEY, TABLE, pin, PAN, 0, 15, "F")
    given = VALIDATION, TABLE, offset
    assert issuer.verify_pin_ibm(sealed(pin), tpk, ibm, PAN, *given)
    assert issuer.verify_pin_ibm(sealed(wrong), tpk, ibm, PAN, *given) is (
        pin_verify.verify_offset(KEY, *given[:2], wrong, offset)
    )
    with pytest.raises(PinBlockError):
        issuer.verify_pin_pvv(bytes(8), tpk, visa, PAN, "1", value)


def test_pins_in_the_other_formats() -> None:
    vault = make_vault()
    issuer = vault.issuer
    aes = stored(vault, KeyUsage.ZPK, AES_KEY, Algorithm.AES)
    zpk, visa = stored(vault, KeyUsage.ZPK, KEY), stored(vault, KeyUsage.PVK_VISA, KEY)
    value = psec.pin.generate_visa_pvv(KEY, "1", "1234", PAN)
    given = visa, PAN, "1", value
    whole = psec.pinblock.encipher_pinblock_iso_4(AES_KEY, "1234", PAN)
    assert issuer.verify_pin_pvv(whole, aes, *given, PinFormat.ISO_4)
    with pytest.raises(KeyUsageError):
        issuer.verify_pin_pvv(whole, zpk, *given, PinFormat.ISO_4)
    with pytest.raises(KeyUsageError):
        issuer.verify_pin_pvv(whole, aes, *given)
    third = ciphers.tdes_ecb_encrypt(KEY, psec.pinblock.encode_pinblock_iso_3("1234", PAN))
    assert issuer.verify_pin_pvv(third, zpk, *given, PinFormat.ISO_3)


@few
@given(st.text("0123456789", min_size=12, max_size=19), st.sampled_from(CardValue))
def test_card_values_agree_with_psec(pan: str, kind: CardValue) -> None:
    vault = make_vault()
    cvk = stored(vault, KeyUsage.CVK, KEY)
    expiry, service = {
        CardValue.CVV: ("3012", "201"),
        CardValue.CVV2: ("1230", "000"),
        CardValue.ICVV: ("3012", "999"),
    }[kind]
    card = cvk, pan, "3012", "201", kind
    value = vault.issuer.make_card_value(*card)
    assert value == psec.cvv.generate_cvv(KEY, pan, expiry, service)
    assert vault.issuer.verify_card_value(*card, value)
    assert not vault.issuer.verify_card_value(*card, f"{(int(value) + 1) % 1000:03}")
    own = CardValueProfile(cvv2_expiry="YYMM", cvv2_service_code="123")
    if kind is CardValue.CVV2:
        made = vault.issuer.make_card_value(*card, own)
        assert made == psec.cvv.generate_cvv(KEY, pan, "3012", "123")
        assert vault.issuer.verify_card_value(*card, made, own)


def test_a_cryptogram_is_judged_and_answered_as_pyemv_does() -> None:
    vault = make_vault()
    mk_ac = stored(vault, KeyUsage.MK_AC, KEY)
    session = pyemv.kd.derive_common_sk(
        pyemv.kd.derive_icc_mk_a(KEY, PAN, PSN), TAGS["9F36"] + bytes(6)
    )
    data = b"".join(value for tag, value in TAGS.items() if tag != "9F10")
    arqc = pyemv.ac.generate_ac(session, data + TAGS["9F10"][3:7], pyemv.ac.PaddingType.EMV)
    card = mk_ac, "unionpay-uics", PAN, PSN
    right, wrong = TAGS | {"9F26": arqc}, TAGS | {"9F26": bytes(8)}
    answer = pyemv.ac.generate_arpc_1(session, arqc, b"00") + b"00"
    assert vault.issuer.verify_arqc(*card, right)
    assert not vault.issuer.verify_arqc(*card, wrong)
    assert vault.issuer.answer_arqc(*card, right, b"00") == answer
    assert vault.issuer.answer_arqc(*card, wrong, b"00") is None
    with pytest.raises(KeyUsageError):
        vault.issuer.verify_arqc(mk_ac, "pboc-sm4", PAN, PSN, right)
    with pytest.raises(VaultError):
        vault.issuer.verify_arqc(mk_ac, "none such", PAN, PSN, right)


def keys_of_every_usage() -> list[tuple[KeyUsage, Algorithm, int]]:
    return [
        (usage, algorithm, lengths[0])
        for usage, row in USAGES.items()
        for algorithm, lengths in row.lengths.items()
    ]


@pytest.mark.parametrize(("usage", "algorithm", "length"), keys_of_every_usage())
def test_no_key_serves_another_purpose(usage: KeyUsage, algorithm: Algorithm, length: int) -> None:
    vault = make_vault()
    issuer = vault.issuer
    clear = odd(63, length)
    key = vault._keys.wrap(usage, algorithm, clear).block
    tpk = stored(vault, KeyUsage.TPK, KEY)
    visa, ibm = stored(vault, KeyUsage.PVK_VISA, KEY), stored(vault, KeyUsage.PVK_IBM, KEY)
    cvk_rest = PAN, "3012", "201", CardValue.CVV
    tags = TAGS | {"9F26": bytes(8)}
    offset = VALIDATION, TABLE, "0000"
    calls: Calls = {
        Operation.PIN_VERIFY_VISA: [
            lambda: issuer.verify_pin_pvv(sealed("1234"), tpk, key, PAN, "1", "0000")
        ],
        Operation.PIN_VERIFY_IBM: [
            lambda: issuer.verify_pin_ibm(sealed("1234"), tpk, key, PAN, *offset)
        ],
        Operation.PIN_DECRYPT: [
            lambda: issuer.verify_pin_pvv(sealed("1234"), key, visa, PAN, "1", "0000"),
            lambda: issuer.verify_pin_ibm(sealed("1234"), key, ibm, PAN, *offset),
        ],
        Operation.CARD_VALUE: [
            lambda: issuer.make_card_value(key, *cvk_rest),
            lambda: issuer.verify_card_value(key, *cvk_rest, "123"),
        ],
        Operation.DERIVE_AC: [
            lambda: issuer.verify_arqc(key, "emv-csk", PAN, PSN, tags),
            lambda: issuer.answer_arqc(key, "emv-csk", PAN, PSN, tags, bytes(4)),
        ],
    }
    for operation, tried in calls.items():
        for call in tried:
            if operation in USAGES[usage].operations:
                continue
            with pytest.raises(KeyUsageError) as caught:
                call()
            assert clear.hex() not in str(caught.value)
