"""Goal: the older commands move each key between LMK and ZMK or TMK, and only where it may go.

Method: published commands under the public test LMK; what is made is opened on both sides by
PyCryptodome; wrong carriers, types, states one at a time.
"""

import psec
import pytest
from Crypto.Cipher import DES3

from hsm.keys import KeyUsage
from tests.hsm.host.support import Host, host_vault
from tests.hsm.host.test_keys import TMK, ZMK, block, check_digits, second_opening
from tests.hsm.support import odd

pytestmark = pytest.mark.filterwarnings("ignore:.*TripleDES:Warning")

KEY = odd(31, 16)
# command in, command out, key type, flag
PAIRS = (
    ("FA", "GC", "001", ""),
    ("FC", "FE", "002", ""),
    ("FK", "FM", "00A", "0"),
    ("FK", "FM", "008", "1"),
    ("MI", "MG", "003", ""),
    ("DW", "DY", "009", ""),
)


@pytest.fixture
def host() -> Host:
    return Host(host_vault(allow_weak=False))


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (
            "FCU1457FF6ADF6250C66C368416B4C9D383XF7D53991678347EFB3026882F724E6EE;XU1",
            "FD00U8463435FC4B4DAA0C49025272C29B12C070753",
        ),
        (
            "FEU1457FF6ADF6250C66C368416B4C9D383U8463435FC4B4DAA0C49025272C29B12C;XX1",
            "FF00XF7D53991678347EFB3026882F724E6EE070753",
        ),
        (
            "DWU1457FF6ADF6250C66C368416B4C9D3836A2C67C227784BC5D8508B6BED82ECB8;0U1",
            "DX00U8E3D3E2FD5919657F05A1AA90D32A01408D7B4",
        ),
        (
            "DYU1457FF6ADF6250C66C368416B4C9D383U8E3D3E2FD5919657F05A1AA90D32A014;X01",
            "DZ00X6A2C67C227784BC5D8508B6BED82ECB808D7B4",
        ),
    ],
)
def test_published_commands_give_the_published_answers(command: str, answer: str) -> None:
    host = Host()
    host.vault.authorise(60)
    assert host(command) == answer


@pytest.mark.parametrize(("into", "out", "code", "flag"), PAIRS)
def test_what_goes_out_comes_in(host: Host, into: str, out: str, code: str, flag: str) -> None:
    zmk, text = host.key(ZMK, "000"), host.key(KEY, code)
    assert host(out + flag + zmk + text)[2:] == "17"
    host.vault.authorise(60)
    answer = host(out + flag + zmk + text + ";X01")
    assert answer[2:4] == "00"
    assert second_opening(ZMK, answer[4:-6]) == KEY
    assert host(into + flag + zmk + answer[4:-6] + ";0U1")[2:] == "00" + text + check_digits(KEY)
    whole = host(out + flag + zmk + text)
    assert whole[2:5] == "00U"
    assert len(whole) == 4 + 33 + 16
    assert host(into + flag + zmk + whole[4:37])[2:] == "00" + text + whole[-16:]
    # under the LMK it is another type; with another key's variant it has another parity
    other = next(row[2] for row in PAIRS if row[2] != code)
    assert host(out + flag + zmk + host.key(KEY, other))[2:] == "11"
    assert host(out + flag + host.key(ZMK, "001") + text)[2:] == "10"
    assert host(out + flag + zmk + text + ";Q01")[2:] == "26"
    assert host(into + flag + zmk + whole[4:37] + ";0T1")[2:] == "27"
    assert host(into + flag + zmk + whole[4:37] + ";0S1")[2:] == "A1"
    assert host(into + flag + zmk + whole[4:37] + ";0U7")[2:] == "15"


@pytest.mark.parametrize(
    ("command", "code", "carrier"),
    [
        ("IA", "001", "000"),
        ("FI0", "00A", "000"),
        ("FI1", "008", "000"),
        ("HA", "003", "80D"),
        ("HC", "002", "80D"),
    ],
)
def test_a_made_key_is_the_same_on_both_sides(
    host: Host, command: str, code: str, carrier: str
) -> None:
    under = host.key(TMK, carrier)
    answer = host(command + under + ";XU1")
    assert answer[2:5] == "00X"
    theirs, ours, digits = answer[4:37], answer[37:70], answer[70:]
    clear = host.vault.variant.decrypt_key(ours, code)
    assert second_opening(TMK, theirs) == clear
    assert digits == ("" if command in ("HA", "HC") else check_digits(clear))
    assert host(command + under) != answer
    assert host(command + under + ";ZZ1")[2:4] == ("00" if code in ("002", "003") else "27")
    assert host(command + under + ";UT1")[2:] == "27"
    assert host(command + under + ";TT1")[2:] == "27"
    assert host(command + under + ";QQ1")[2:] == "26"
    assert host(command + host.key(TMK, "009"))[2:] == "10"


def test_wrong_parity_is_advice(host: Host) -> None:
    even = bytes([KEY[0] ^ 1]) + KEY[1:]
    sealed = "X" + DES3.new(ZMK, DES3.MODE_ECB).encrypt(even).hex().upper()
    answer = host("FA" + host.key(ZMK, "000") + sealed + ";0U1")
    assert answer == "FB01" + host.key(KEY, "001") + check_digits(KEY)


def test_blocks_go_where_their_usage_goes(host: Host) -> None:
    host.vault.authorise(60)
    zmk, tmk = block(host, KeyUsage.ZMK, ZMK), block(host, KeyUsage.TMK, TMK)
    zpk, mak = block(host, KeyUsage.ZPK, KEY), block(host, KeyUsage.MAK, KEY)
    answer = host("GC" + zmk + zpk + ";R01")
    assert answer[:5] == "GD00R"
    back = host("FA" + zmk + answer[4:-6] + ";001")
    assert back[:5] == "FB00S"
    assert host.vault.keys.open(back[5:-6]).key == KEY
    assert host("GC" + zmk + mak) == "GDA6"
    assert host("GC" + tmk + zpk) == "GDA6"
    assert host("MG" + zmk + mak) == "MHAA"
    theirs = psec.tr31.wrap(ZMK, psec.tr31.Header("B", "M3", "T", "C", "00", "E"), KEY)
    assert host("MI" + zmk + "R" + theirs) == "MJA6"
    theirs = psec.tr31.wrap(TMK, psec.tr31.Header("B", "P0", "T", "B", "00", "E"), KEY)
    assert host("FA" + tmk + "R" + theirs) == "FBA6"
    made = host("HA" + tmk)
    assert made[:5] == "HB00S"
    assert host("HA" + zmk) == "HBA6"
    assert host("IA" + zmk)[:5] == "IB00S"
    assert host("HC" + tmk) == "HD15"
    made = host("HC" + tmk + "%01#P0T2D00N00")
    size = int(made[6:10])
    opened = host.vault.keys.open(made[4 + 1 + size + 1 :])
    assert opened.usage is KeyUsage.TPK
