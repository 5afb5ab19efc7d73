"""Goal: keys are made, moved and told apart as devices do it, and nothing leaves that must not.

Method: published commands under the public test LMK; a second implementation of the variant scheme (on
PyCryptodome) and of TR-31 (psec) that opens what was answered; one wrong field at a time.
"""

import psec
import pytest
from Crypto.Cipher import DES3
from hypothesis import given, settings, strategies as st

from hsm.key_block import Header, wrap
from hsm.keys import USAGES, Algorithm, KeyUsage
from hsm.lmk import TEST_LMK, Lmk
from hsm.variant import VariantLmk, encrypt_under
from tests.hsm.host.support import Host, host_vault
from tests.hsm.support import odd, seeded

# psec makes Triple DES of `cryptography` in ways that are deprecated there
pytestmark = pytest.mark.filterwarnings("ignore:.*TripleDES:Warning")

ZMK = odd(21, 16)
TMK = odd(22, 16)
PAIR_06_07 = bytes.fromhex("61616161616161617070707070707070")  # of the public test LMK
CODES = ("001", "002", "003", "008", "009", "00A", "00B", "109", "209", "309", "402", "80D")


@pytest.fixture
def host() -> Host:
    return Host(host_vault(allow_weak=False))


@pytest.fixture
def officers(host: Host) -> Host:
    host.vault.authorise(60)
    return host


def second_opening(carrier: bytes, text: str, first_byte: int = 0) -> bytes:
    """Opens a key of the variant scheme by PyCryptodome, from the description in `hsm.variant`."""
    parts = {"U": (0xA6, 0x5A), "T": (0x6A, 0xDE, 0x2B), "X": (0, 0), "Y": (0, 0, 0)}[text[0]]
    clear = b""
    for place, part in enumerate(parts):
        key = bytearray(carrier)
        key[0] ^= first_byte
        key[8] ^= part
        sealed = bytes.fromhex(text[1 + 16 * place : 17 + 16 * place])
        clear += DES3.new(bytes(key), DES3.MODE_ECB).decrypt(sealed)
    return clear


def block(host: Host, usage: KeyUsage, key: bytes, algorithm: Algorithm = Algorithm.TDES) -> str:
    return "S" + host.vault.keys.wrap(usage, algorithm, key).block


def check_digits(key: bytes) -> str:
    return DES3.new(key, DES3.MODE_ECB).encrypt(bytes(8)).hex()[:6].upper()


# -- known answers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("BU001U93CB819F8FEE4F78BF9C4CDD84750DB1", "BV00B70AD25C94548822"),
        ("BU011U1EF828AA8F6B80EB83E19FBC373F3A85", "BV006F1E3F74F826B7EB"),
        ("BU011U1EF828AA8F6B80EB83E19FBC373F3A85;001", "BV006F1E3F"),
        ("BUFF1U1EF828AA8F6B80EB83E19FBC373F3A85;001;001", "BV006F1E3F"),
        ("BU0200406FBB23A5214DF;001", "BV000035BB"),
        (
            "A6001U71979DEB8587E2734F1E99D5DCAEF9ACU482C4E722BB0CF1845E1E5BD16310119U",
            "A700U0E07CDC0161A0DE3B5AA44DF227EC9DEABDEBC",
        ),
        (
            "A6001U71979DEB8587E2734F1E99D5DCAEF9ACXC8E3118AFA853807EB7E92294663A5BAU",
            "A700U1EF828AA8F6B80EB83E19FBC373F3A856F1E3F",
        ),
        (
            "A8002U1457FF6ADF6250C66C368416B4C9D383U8463435FC4B4DAA0C49025272C29B12CU",
            "A900U2C62A23D001B97412950CD8BE66C7639070753",
        ),
    ],
)
def test_published_commands_give_the_published_answers(command: str, answer: str) -> None:
    host = Host()
    host.vault.authorise(60)
    assert host(command) == answer


# -- A0 ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", CODES)
def test_a_made_key_opens_under_its_own_type_and_no_other(officers: Host, code: str) -> None:
    answer = officers("A00" + code + "U")
    assert answer[:4] == "A100"
    text, digits = answer[4:-6], answer[-6:]
    clear = officers.vault.variant.decrypt_key(text, code)
    assert check_digits(clear) == digits
    opened = {
        other for other in CODES if officers("BUFF1" + text + f";{other};001") == "BV00" + digits
    }
    assert opened == {code}


@pytest.mark.parametrize("scheme", "UXTY")
def test_a_made_key_under_a_zmk_opens_by_a_second_implementation(host: Host, scheme: str) -> None:
    zmk = host.key(ZMK, "000")
    if scheme in "TY":  # three parts are stronger than the ZMK
        assert host("A01" + "001" + scheme + ";0" + zmk + scheme) == "A127"
        return
    answer = host("A01001U;0" + zmk + scheme)
    assert answer[:5] == "A100U"
    under_lmk, under_zmk = answer[4:37], answer[37:-6]
    clear = second_opening(ZMK, under_zmk)
    assert clear == second_opening(PAIR_06_07, under_lmk)
    assert check_digits(clear) == answer[-6:]
    assert host("A01001U" + zmk + scheme)[:5] == "A100U"  # as older clients send it


def test_a_zmk_needs_the_authorised_state(host: Host) -> None:
    assert host("A00000U") == "A117"
    assert host("A00FFFS%01#K0T2B00E00") == "A117"
    host.vault.authorise(60)
    assert host("A00000U")[:4] == "A100"
    answer = host("A00FFFS%01#K0T2B00E00")
    assert answer[:5] == "A100S"
    assert host.vault.keys.open(answer[5:-6]).usage is KeyUsage.ZMK


@pytest.mark.parametrize(
    ("attributes", "usage", "mode", "exportability"),
    [
        ("P0T2B00E00", KeyUsage.ZPK, "B", "E"),
        ("P0T2E00N00", KeyUsage.ZPK, "E", "N"),
        ("P0A3N00S00", KeyUsage.ZPK, "B", "S"),
        ("72T2N00E00", KeyUsage.ZPK, "B", "E"),
        ("71T2D00S00", KeyUsage.TPK, "D", "N"),
        ("P0T2D00S01LB07TPK", KeyUsage.TPK, "D", "N"),
        ("M1T2N00E00", KeyUsage.ZAK, "C", "E"),
        ("M3T2G00N01LB07MAK", KeyUsage.MAK, "G", "N"),
        ("D0A1D00E00", KeyUsage.ZEK, "D", "E"),
        ("B0T2X00S00", KeyUsage.BDK, "X", "S"),
        ("B0A1N00S00", KeyUsage.BDK, "X", "S"),
        ("C0T2C00E00", KeyUsage.CVK, "C", "E"),
        ("V1T2N00E00", KeyUsage.PVK_IBM, "C", "E"),
        ("V2T2V00E00", KeyUsage.PVK_VISA, "C", "E"),
        ("E0T2N00E00", KeyUsage.MK_AC, "X", "E"),
        ("51T2B00E00", KeyUsage.TMK, "B", "N"),
    ],
)
def test_a_made_block_has_the_usage_asked_and_no_more_rights(
    host: Host, attributes: str, usage: KeyUsage, mode: str, exportability: str
) -> None:
    answer = host("A00FFFS%01#" + attributes)
    assert answer[:5] == "A100S"
    opened = host.vault.keys.open(answer[5:-6])
    assert (opened.usage, opened.mode, opened.exportability) == (usage, mode, exportability)
    assert opened.check_value()[:6] == answer[-6:]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ("200 1U", "15"),
        ("0ZZZU", "04"),
        ("0006U", "04"),  # a watchword key: nothing here uses one
        ("0001Q", "26"),
        ("0001Z", "27"),  # no PIN key of a zone has a single length
        ("0009T", "27"),
        ("0001S", "A1"),
        ("0FFFU", "A1"),
        ("0FFFS", "15"),
        ("0001U%01#P0T2B00E00", "15"),
        ("0FFFS%01#Q9T2B00E00", "A6"),
        ("0FFFS%01#P0T9B00E00", "A7"),
        ("0FFFS%01#B0T3X00E00", "27"),
        ("0FFFS%01#C0A1C00E00", "A7"),
        ("0FFFS%01#P0T2G00E00", "A8"),
        ("0FFFS%01#P0T2B01E00", "A9"),
        ("0FFFS%01#P0T2B00X00", "AA"),
        ("0FFFS%01#P0T2B00E02", "AB"),
        ("0FFFS%01#P0T2B00E01KS07ABC", "AC"),
        ("0FFFS%01#P0T2B00E01LB07ABC", "AC"),
        ("0FFFS%01#P0T2B00E01LB07ZAK", "A6"),
        ("0FFFS%01#P0T2B00E0", "80"),
        ("0001U%02", "13"),
        ("0001Uextra", "80"),
        ("1001U;2", "15"),
    ],
)
def test_a0_says_what_is_wrong(host: Host, data: str, code: str) -> None:
    assert host("A0" + data) == "A1" + code


def test_the_two_forms_are_not_mixed(officers: Host) -> None:
    text, in_block = officers.key(ZMK, "000"), block(officers, KeyUsage.ZMK, ZMK)
    zpk, zpk_block = officers.key(odd(3, 16), "001"), block(officers, KeyUsage.ZPK, odd(3, 16))
    assert officers("A01001U;0" + in_block + "U") == "A1A1"
    assert officers("A01FFFS;0" + text + "S%01#P0T2B00E00") == "A1A1"
    assert officers("A01FFFS;0" + in_block + "X%01#P0T2B00E00") == "A1A1"
    assert officers("A8001" + in_block + zpk + "U") == "A9A1"
    assert officers("A8001" + text + zpk_block + "U") == "A9A1"
    assert officers("A8FFF" + in_block + zpk_block + "X") == "A9A1"
    assert officers("A6001" + in_block + "X" + "0" * 32 + "U") == "A7A1"
    assert officers("GC" + in_block + zpk) == "GDA1"


# -- A8 and back by A6 -------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1 << 30), st.sampled_from("UX"), st.sampled_from(CODES))
def test_what_leaves_comes_back(seed: int, scheme: str, code: str) -> None:
    officers = Host(host_vault(allow_weak=False))
    officers.vault.authorise(60)
    key, zmk = odd(seed, 16), officers.key(ZMK, "000")
    answer = officers("A8" + code + zmk + officers.key(key, code) + scheme)
    assert answer[:4] == "A900"
    assert second_opening(ZMK, answer[4:-6]) == key
    assert answer[-6:] == check_digits(key)
    back = officers("A6" + code + zmk + answer[4:-6] + "U")
    assert back == "A700" + officers.key(key, code) + answer[-6:]


@pytest.mark.parametrize("letter", "RS")
def test_a_block_leaves_as_tr31_that_another_reads(officers: Host, letter: str) -> None:
    key = odd(5, 16)
    zpk, zmk = block(officers, KeyUsage.ZPK, key), block(officers, KeyUsage.ZMK, ZMK)
    answer = officers("A8FFF" + zmk + zpk + letter + "%01&N")
    assert answer[:5] == "A900" + letter
    header, clear = psec.tr31.unwrap(ZMK, answer[5:-6])
    assert clear == key
    assert (header.version_id, header.key_usage, header.exportability) == ("B", "P0", "N")
    back = officers("A6FFF" + zmk + answer[4:-6] + "S%01")
    assert back[:5] == "A700S"
    opened = officers.vault.keys.open(back[5:-6])
    assert (opened.usage, opened.key, opened.exportability) == (KeyUsage.ZPK, key, "N")


def test_tr31_of_another_comes_in_with_no_more_rights_than_its_header(host: Host) -> None:
    zmk, key = block(host, KeyUsage.ZMK, ZMK), odd(6, 16)
    for usage, mode, found in (
        ("P0", "E", (KeyUsage.ZPK, "E")),
        ("M3", "G", (KeyUsage.ZAK, "G")),
        ("D0", "B", (KeyUsage.ZEK, "B")),
        ("K1", "B", (KeyUsage.ZMK, "B")),
        ("B0", "N", (KeyUsage.BDK, "X")),
    ):
        header = psec.tr31.Header("B", usage, "T", mode, "00", "E")
        answer = host("A6FFF" + zmk + "R" + psec.tr31.wrap(ZMK, header, key) + "S")
        assert answer[:5] == "A700S", usage
        opened = host.vault.keys.open(answer[5:-6])
        assert (opened.usage, opened.mode) == found
        assert opened.key == key
    into_variant = psec.tr31.wrap(ZMK, psec.tr31.Header("B", "P0", "T", "B", "00", "E"), key)
    answer = host("A6001" + host.key(ZMK, "000") + "R" + into_variant + "U")
    assert answer == "A700" + host.key(key, "001") + check_digits(key)
    assert host("A6008" + host.key(ZMK, "000") + "R" + into_variant + "U") == "A7A6"
    narrow = psec.tr31.wrap(ZMK, psec.tr31.Header("B", "P0", "T", "E", "00", "E"), key)
    assert host("A6001" + host.key(ZMK, "000") + "R" + narrow + "U") == "A7A8"


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (("P0", "T", "G", "00"), "A8"),
        (("Z9", "T", "B", "00"), "A6"),
        (("C0", "D", "C", "00"), "A7"),
        (("P0", "T", "B", "c1"), "A9"),
        (("P0", "T", "B", "12"), None),
    ],
)
def test_tr31_with_a_header_that_contradicts_itself_stays_out(
    host: Host, header: tuple[str, str, str, str], code: str | None
) -> None:
    usage, algorithm, mode, version = header
    made = psec.tr31.Header("B", usage, algorithm, mode, version, "E")
    wrapped = psec.tr31.wrap(ZMK, made, odd(6, 8 if algorithm == "D" else 16))
    answer = host("A6FFF" + block(host, KeyUsage.ZMK, ZMK) + "R" + wrapped + "S")
    assert answer[:4] == "A7" + (code or "00")


@pytest.mark.parametrize("version", "AC")
def test_tr31_of_versions_that_bind_less_stays_out(host: Host, version: str) -> None:
    wrapped = psec.tr31.wrap(ZMK, psec.tr31.Header(version, "P0", "T", "B", "00", "E"), odd(6, 16))
    assert host("A6FFF" + block(host, KeyUsage.ZMK, ZMK) + "R" + wrapped + "S") == "A7B8"


@pytest.mark.parametrize(
    ("key", "usage", "code"),
    [
        ("0123456789ABCDEF" * 2, "P0", "75"),
        ("0101010101010101FEFEFEFEFEFEFEFE", "P0", "11"),
        ("0123456789ABCDEE0123456789ABCD01", "P0", "11"),  # wrong parity, under a MAC
        ("0123456789ABCDEFFEDCBA98765432108989898989898989", "C0", "27"),
    ],
)
def test_weak_keys_do_not_come_in_by_tr31(host: Host, key: str, usage: str, code: str) -> None:
    header = psec.tr31.Header("B", usage, "T", "N", "00", "E")
    wrapped = psec.tr31.wrap(ZMK, header, bytes.fromhex(key))
    assert host("A6FFF" + block(host, KeyUsage.ZMK, ZMK) + "R" + wrapped + "S") == "A7" + code


def test_an_hmac_key_that_comes_from_a_zone_is_no_terminals(host: Host) -> None:
    kek, key = seeded(8)(32), seeded(9)(32)
    wrapped = psec.tr31.wrap(kek, psec.tr31.Header("D", "M7", "H", "C", "00", "E"), key)
    answer = host("A6FFF" + block(host, KeyUsage.ZMK, kek, Algorithm.AES) + "R" + wrapped + "S")
    opened = host.vault.keys.open(answer[5:-6])
    assert (opened.usage, opened.key) == (KeyUsage.HMAC, key)


def test_a_variant_key_leaves_in_a_block_that_goes_no_further(officers: Host) -> None:
    zmk, key = officers.key(ZMK, "000"), odd(3, 16)
    answer = officers("A8001" + zmk + officers.key(key, "001") + "R")
    header, clear = psec.tr31.unwrap(ZMK, answer[5:-6])
    assert (header.key_usage, header.exportability, clear) == ("P0", "N", key)
    assert officers("A8002" + zmk + officers.key(key, "002") + "R") == "A928"  # of several usages


@pytest.mark.parametrize("length", [16, 20, 32, 64])
def test_hmac_keys_go_under_what_is_as_strong(officers: Host, length: int) -> None:
    strong = block(officers, KeyUsage.ZMK, seeded(8)(32), Algorithm.AES)
    weak = block(officers, KeyUsage.ZMK, ZMK)
    key = block(officers, KeyUsage.HMAC, seeded(9)(length), Algorithm.HMAC)
    assert officers("A8FFF" + strong + key + "R")[:4] == "A900"
    assert officers("A8FFF" + weak + key + "R") == "A927"


def test_aes_goes_under_aes_alone(officers: Host) -> None:
    kek, key = seeded(8)(32), seeded(9)(16)
    strong = block(officers, KeyUsage.ZMK, kek, Algorithm.AES)
    weak = block(officers, KeyUsage.ZMK, ZMK)
    zpk = block(officers, KeyUsage.ZPK, key, Algorithm.AES)
    answer = officers("A8FFF" + strong + zpk + "R")
    assert answer[:5] == "A900R"
    assert psec.tr31.unwrap(kek, answer[5:-6])[1] == key
    assert officers("A8FFF" + weak + zpk + "R") == "A927"


def test_an_ecb_key_gets_its_block_from_attributes(host: Host) -> None:
    zmk, key = block(host, KeyUsage.ZMK, ZMK), odd(10, 16)
    sealed = "X" + DES3.new(ZMK, DES3.MODE_ECB).encrypt(key).hex().upper()
    answer = host("A6FFF" + zmk + sealed + "S%01#M3V00N01LB07ZAK")
    opened = host.vault.keys.open(answer[5:-6])
    assert (opened.usage, opened.mode, opened.key) == (KeyUsage.ZAK, "V", key)
    assert host("A6FFF" + zmk + sealed + "S%01") == "A715"


def test_wrong_parity_is_advice_and_is_set_odd(host: Host) -> None:
    key = odd(11, 16)
    even = bytes([key[0] ^ 1]) + key[1:]
    sealed = "X" + DES3.new(ZMK, DES3.MODE_ECB).encrypt(even).hex().upper()
    answer = host("A6001" + host.key(ZMK, "000") + sealed + "U")
    assert answer == "A701" + host.key(key, "001") + check_digits(key)


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("0101010101010101" * 2, "11"),
        ("FEFEFEFEFEFEFEFE0123456789ABCDEF", "11"),
        ("0123456789ABCDEF" * 2, "75"),
        ("0123456789ABCDEF0022446688AACCEE", "75"),  # halves equal but for parity
        ("0123456789ABCDEFFEDCBA9876543210", None),
    ],
)
def test_weak_and_disguised_keys_do_not_come_in(host: Host, key: str, code: str | None) -> None:
    sealed = "X" + DES3.new(ZMK, DES3.MODE_ECB).encrypt(bytes.fromhex(key)).hex().upper()
    answer = host("A6001" + host.key(ZMK, "000") + sealed + "U")
    assert answer[:4] == ("A7" + code if code else answer[:4])
    assert (len(answer) == 4) is (code is not None)


def test_no_key_comes_in_under_a_weaker_one(host: Host) -> None:
    zmk, block = host.key(ZMK, "000"), host.block(KeyUsage.ZMK, ZMK)
    three = odd(91, 24)
    cryptogram = encrypt_under(ZMK, three, "Y")
    assert host(f"A6001{zmk}{cryptogram}T") == "A727"
    assert host(f"A6FFF{block}{cryptogram}S#P0B00E00") == "A727"
    header = Header(version="B", usage="P0", algorithm="T", mode="B", exportability="N")
    sent = wrap(ZMK, header, three, seeded(92), pad_to=24)
    assert host(f"A6FFF{block}R{sent}S") == "A727"
    assert host(f"FA{zmk}{cryptogram};0T1") == "FB27"


def test_a_type_that_never_leaves_is_not_made_for_another(officers: Host) -> None:
    zmk = officers.key(ZMK, "000")
    for code in ("000", "302"):
        assert officers(f"A00{code}U")[:4] == "A100"
        assert officers(f"A01{code}U;0{zmk}U") == "A129"


def test_leaving_needs_the_authorised_state_and_a_header_that_allows_it(host: Host) -> None:
    zmk, zpk = host.key(ZMK, "000"), host.key(odd(3, 16), "001")
    tmk = host.key(TMK, "80D")
    assert host("A8001" + zmk + zpk + "U") == "A917"
    host.vault.authorise(60)
    assert host("A8001" + zmk + zpk + "U")[:4] == "A900"
    assert host("A8001;1" + tmk + zpk + "U") == "A929"  # no terminal gets a key of a zone
    assert host("A01009U;1" + tmk + "U") == "A129"
    assert host("A8002;1" + tmk + host.key(odd(3, 16), "002") + "U")[:4] == "A900"
    assert host("A8000" + zmk + zmk + "U") == "A929"
    assert host("A6000" + zmk + zmk + "U") == "A729"
    assert host("A8001" + zmk + host.key(odd(3, 16), "002") + "U") == "A911"
    assert host("A8001" + host.key(ZMK, "001") + zpk + "U") == "A910"
    in_block = block(host, KeyUsage.ZMK, ZMK)
    for usage in KeyUsage:
        row = USAGES[usage]
        if Algorithm.TDES not in row.lengths:
            continue
        key = block(host, usage, odd(4, 16))
        allowed = row.exportability == "S" and KeyUsage.ZMK in row.carried_by
        answer = host("A8FFF" + in_block + key + "R")
        assert (answer[:4] == "A900") is allowed, usage
        assert allowed or answer in ("A9AA", "A9A6")
    once = host.vault.keys.wrap(KeyUsage.ZPK, Algorithm.TDES, odd(3, 16), exportability="E").block
    assert host("A8FFF" + in_block + "S" + once + "R%01&S") == "A9AA"
    assert host("A8FFF" + in_block + "S" + once + "R%01&E")[:4] == "A900"


def test_a_changed_block_is_refused_as_one_whatever_was_changed(officers: Host) -> None:
    zmk, zpk = block(officers, KeyUsage.ZMK, ZMK), block(officers, KeyUsage.ZPK, odd(3, 16))
    for place in (6, 8, 12, 20, len(zpk) - 1, len(zpk) - 40):
        changed = zpk[:place] + ("1" if zpk[place] != "1" else "2") + zpk[place + 1 :]
        assert officers("A8FFF" + zmk + changed + "R") in ("A9A4", "A983")


# -- BU, BW --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ("0200406FBB23A5214DF", "29"),  # 16 digits of a single-length key
        ("0210406FBB23A5214DF", "80"),
        ("021T" + "0" * 48, "05"),
        ("02FU8463435FC4B4DAA0C49025272C29B12C", "05"),
        ("023U8463435FC4B4DAA0C49025272C29B12C", "05"),
        ("ZZ1U8463435FC4B4DAA0C49025272C29B12C", "04"),
        ("FF1U8463435FC4B4DAA0C49025272C29B12C", "15"),
        ("011U8463435FC4B4DAA0C49025272C29B12C", "10"),
        ("021U8463435FC4B4DAA0C49025272C29B12C;00", "80"),
        ("021U8463435FC4B4DAA0C49025272C29B12C;002", "15"),
        ("021U8463435FC4B4DAA0C49025272C29B12C;110", "15"),
    ],
)
def test_bu_says_what_is_wrong(host: Host, data: str, code: str) -> None:
    assert host("BU" + data) == "BV" + code


def test_check_values_of_blocks_are_those_of_their_algorithm(host: Host) -> None:
    key = seeded(3)(32)
    text = block(host, KeyUsage.ZMK, key, Algorithm.AES)
    expected = host.vault.keys.unwrap(text[1:]).check_value()
    assert host("BUFFF" + text + ";FFF;000") == "BV00" + expected
    assert host("BUFFF" + text + ";FFF;001") == "BV00" + expected[:6]


def test_a_key_changes_its_lmk_and_stays_the_same_key() -> None:
    former, lmk = TEST_LMK, Lmk(seeded(4)(32))
    vault = host_vault(lmk, allow_weak=False)
    host, old = Host(vault), VariantLmk.of(former)
    key = odd(12, 16)
    text = old.encrypt_key(key, "001", "U")
    assert host("BW011" + text) == "BX33"
    vault.take_over_from(former)
    assert host("BW011" + text) == "BX00" + host.key(key, "001")
    assert host("BWFF1" + text + ";001;0X0!11") == (
        "BX00" + host.key(key, "001", "X") + check_digits(key)
    )
    assert host("BWFF1" + text + ";001;000%00") == "BX00" + host.key(key, "001")
    assert host("BW011" + host.key(key, "001")) == "BX10"
    assert host("BW011" + text + ";0T0") == "BX27"
    before = Host(host_vault(former))
    in_block = block(before, KeyUsage.ZPK, key)
    answer = host("BWFFF" + in_block + ";FFF;0S0!11")
    assert answer[:5] == "BX00S"
    assert host.vault.keys.open(answer[5:-6]).key == key
    assert host("BWFFF" + in_block[:-1] + "?;FFF;0S0") == "BXA4"
