"""Goal: a PIN is right or wrong as a device says it, and an account does not serve for guessing.

Method: published commands under the public test LMK; psec for every value on drawn PINs; one wrong field at a
time; a clock that is moved for what is counted.
"""

import psec
import pytest
from hypothesis import given, settings, strategies as st

from hsm import ciphers
from hsm.errors import (
    DecimalisationTableError,
    PanError,
    PinBlockError,
    PinError,
    PinFormatError,
    PinLengthError,
    ReplayError,
    VaultError,
)
from hsm.host.codes import code_of
from hsm.host.failures import QUIET_S, PinFailures
from hsm.host.vault import PinSettings
from hsm.keys import Algorithm, KeyUsage
from hsm.vault import OpenKey
from tests.hsm.host.support import Clock, Host, host_vault
from tests.hsm.host.test_pins import ACCOUNT, AES_KEY, PAN, TPK, made_by_psec, pins, sealed
from tests.hsm.support import odd

PVK = odd(21, 16)
TABLE = "8351296477461538"
# The digits of the PAN without the last, as psec takes them, filled with F.
TEMPLATE = f"{PAN[:10]}NF"

pytestmark = pytest.mark.filterwarnings("ignore:.*TripleDES:Warning")  # psec
_EXAMPLES = settings(max_examples=25, deadline=None)


def psec_offset(pin: str) -> str:
    return psec.pin.generate_ibm3624_offset(PVK, TABLE, pin, PAN, 0, 15, "F")


def psec_pvv(pin: str) -> str:
    return psec.pin.generate_visa_pvv(PVK, "1", pin[:4], PAN)


def clear_tables() -> Host:
    return Host(host_vault(pins=PinSettings(clear_tables=True)))


def ibm(host: Host, check_length: int = 4) -> str:
    table = TABLE
    if not host.vault.pins.clear_tables:
        table = host.vault.variant.encrypt_decimalisation_table(TABLE)
    return f"{check_length:02}{ACCOUNT}{table}{TEMPLATE}"


# -- known answers, github.com/nickntg/thalessimulatorlibrary, HostCommandTests.vb ------------------------

_TPK, _ZPK = "U8463435FC4B4DAA0C49025272C29B12C", "U1EF828AA8F6B80EB83E19FBC373F3A85"
_PVK = "X367930344805B1FAD6146EF4ED7502B3"
_BDK = "U8E3D3E2FD5919657F05A1AA90D32A014"


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (f"DC0406FBB23A5214DF{_PVK}AE7A708F877571A90155000002532114402", "DD00"),
        (f"DC0406FBB23A5214DF{_PVK[1:]}AE7A708F877571A90155000002532114402", "DD00"),
        (f"DC0406FBB23A5214DF{_PVK[1:]}AE7A708F877571A90155000002532114401", "DD01"),
        (f"DC{_TPK}{_PVK}028DCC093FB0471F0355000002532114402", "DD00"),
        (f"DC{_TPK}{_PVK}028DCC093FB0471F0355000002532114401", "DD01"),
        (f"EC{_ZPK}{_PVK}91DDDA0A7C12CFAA0155000002532114402", "ED00"),
        (f"EC{_ZPK}{_PVK}91DDDA0A7C12CFAA0155000002532114401", "ED01"),
        (f"CU001{_ZPK}{_PVK}91DDDA0A7C12CFAA0155000002532114402262D1CC277EF0BB4", "CV009614"),
        (f"CU001{_ZPK}{_PVK}91DDDA0A7C12CFAA0155000002532114401262D1CC277EF0BB4", "CV01"),
        # of a PIN in format 03 nothing is made here
        (f"CU002{_TPK}{_PVK}028DCC093FB0471F0355000002532114402DC90438F79A7A075", "CV29"),
        # its account is not the block's, which that simulator does not look at
        (
            f"CM{_BDK}U9487FAD9CF6AF6E918BF06F71FED1415605FFFF9876543210E000011B9C1845EB993A7A"
            "04401234567806023",
            "CN20",
        ),
        # a PVK of single length
        (
            f"CK{_BDK}56C1DC7F3A899043605FFFF9876543210E000011B9C1845EB993A7A04401234567890"
            "01234567890123450004012345N99252FFFFFFFF",
            "CL27",
        ),
    ],
)
def test_a_published_command_gives_the_published_answer(command: str, answer: str) -> None:
    assert Host()(command) == answer


# -- against psec -------------------------------------------------------------------------------------


@_EXAMPLES
@given(pins, pins, st.sampled_from(["01", "47", "05"]), st.booleans())
def test_offsets_and_pins_are_those_of_psec(pin: str, new: str, source: str, clear: bool) -> None:
    host = clear_tables() if clear else Host()
    tpk, zpk, pvk = host.key(TPK, "002"), host.key(TPK, "001"), host.key(PVK, "002")
    block, given = made_by_psec(source, TPK, pin), ibm(host, len(pin))
    offset = psec_offset(pin)
    filled = offset.ljust(12, "F")
    assert host(f"DA{tpk}{pvk}12{block}{source}{given}{filled}") == "DB00"
    assert host(f"EA{zpk}{pvk}12{block}{source}{given}{filled}") == "EB00"
    stored = host.vault.variant.encrypt_pin(pin, ACCOUNT, 13)
    assert host(f"DE{pvk}{stored}{given}") == f"DF00{filled}"
    assert host(f"EE{pvk}{filled}{given}") == f"EF00{stored}"
    if source != "05":
        assert host(f"BK002{tpk}{pvk}{block}{source}{given}") == f"BL00{filled}"
        changed = made_by_psec(source, TPK, new)
        answer = host(f"DU001{zpk}{pvk}{block}{source}{ibm(host)}{filled}{changed}")
        # in a longer PIN the offset covers the 4 rightmost digits
        assert answer == f"DV00{psec_offset(new)[-4:].ljust(12, 'F')}"


@_EXAMPLES
@given(pins, pins, st.sampled_from(["01", "47", "05"]))
def test_pvvs_are_those_of_psec(pin: str, new: str, source: str) -> None:
    host = Host()
    tpk, zpk, pvk = host.key(TPK, "002"), host.key(TPK, "001"), host.key(PVK, "002")
    block, value = made_by_psec(source, TPK, pin), psec_pvv(pin)
    wrong = value[:3] + str((int(value[3]) + 1) % 10)
    assert host(f"DC{tpk}{pvk}{block}{source}{ACCOUNT}1{value}") == "DD00"
    assert host(f"EC{zpk}{pvk}{block}{source}{ACCOUNT}1{value}") == "ED00"
    assert host(f"DC{tpk}{pvk}{block}{source}{ACCOUNT}1{wrong}") == "DD01"
    stored = host.vault.variant.encrypt_pin(pin, ACCOUNT, 13)
    assert host(f"DG{pvk}{stored}{ACCOUNT}1") == f"DH00{value}"
    if source != "05":
        assert host(f"FW001{zpk}{pvk}{block}{source}{ACCOUNT}1") == f"FX00{value}"
        changed = made_by_psec(source, TPK, new)
        both = f"{pvk}{block}{source}{ACCOUNT}1{value}{changed}"
        assert host(f"CU002{tpk}{both}") == f"CV00{psec_pvv(new)}"
        assert host(f"CU002{tpk}{both.replace('1' + value, '1' + wrong)}") == "CV01"


def test_a_pin_under_an_aes_key_is_verified_with_the_whole_pan() -> None:
    host = Host()
    zpk = host.block(KeyUsage.ZPK, AES_KEY, Algorithm.AES)
    pvk = host.block(KeyUsage.PVK_VISA, PVK)
    block = made_by_psec("48", AES_KEY, "1234")
    assert host(f"EC{zpk}{pvk}{block}48{PAN};1{psec_pvv('1234')}") == "ED00"
    assert host(f"EC{zpk}{pvk}{block}48{PAN};1{psec_pvv('1235')}") == "ED01"
    assert host(f"EC{zpk}{pvk}{block}48{PAN[:-1]}9;1{psec_pvv('1234')}") == "ED20"
    assert host(f"EC{zpk}{pvk}{block}48{ACCOUNT};1{psec_pvv('1234')}") == "ED22"


# -- one wrong field ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("offset", "9" * 12, "01"),
        ("offset", "123FFFFFFFFF", "15"),
        ("offset", "1234FFFF1234", "15"),
        ("check", "03", "15"),
        ("check", "05", "15"),
        ("check", "0X", "15"),
        ("longest", "13", "24"),
        ("longest", "03", "24"),
        ("block", "0" * 16, "20"),
        ("source", "34", "29"),
        ("source", "04", "23"),
        ("account", "12345678901X", "22"),
        ("table", "8351296477461530", "25"),  # not of the LMK
        ("table", "X" * 16, "25"),
        ("template", "112233445566", "15"),
        ("template", "1122334455NN", "15"),
        ("template", "1122334455NZ", "15"),
        ("pvk", "U" + "0" * 32, "11"),
        ("tpk", "U" + "0" * 32, "10"),
        ("tail", "1", "80"),
    ],
)
def test_a_wrong_field_has_its_code(field: str, value: str, code: str) -> None:
    host = Host()
    fields = {
        "tpk": host.key(TPK, "002"), "pvk": host.key(PVK, "002"), "longest": "12",
        "block": sealed(), "source": "01", "check": "04", "account": ACCOUNT,
        "table": host.vault.variant.encrypt_decimalisation_table(TABLE),
        "template": TEMPLATE, "offset": psec_offset("1234").ljust(12, "F"), "tail": "",
    }  # fmt: skip
    assert host("DA" + "".join(fields.values())) == "DB00"
    assert host("DA" + "".join((fields | {field: value}).values())) == "DB" + code


@pytest.mark.parametrize("table", ["0000000000000001", "0123456789999990", "0123456701234567"])
def test_a_table_that_tells_too_much_is_refused_clear_and_under_the_lmk(table: str) -> None:
    few = len(set(table)) < 8 or max(map(table.count, table)) > 4
    code = "25" if few else "00"
    for host in (Host(), clear_tables()):
        host.vault.authorise(60)
        clear = host.vault.pins.clear_tables
        shown = table if clear else host.vault.variant.encrypt_decimalisation_table(table)
        stored = host.vault.variant.encrypt_pin("1234", ACCOUNT, 13)
        answer = host(f"DE{host.key(PVK, '002')}{stored}04{ACCOUNT}{shown}{TEMPLATE}")
        assert answer[2:4] == code
        assert host(f"LO{table}")[2:4] == code


def test_tables_go_under_the_lmk_in_the_authorised_state_alone() -> None:
    host = Host()
    assert host(f"LO{TABLE}") == "LP17"
    host.vault.authorise(60)
    answer = host(f"LO{TABLE}")
    assert answer == "LP00" + host.vault.variant.encrypt_decimalisation_table(TABLE)
    assert host("LO" + "A" * 16) == "LP25"


@pytest.mark.parametrize("source", ["03", "05", "34", "48"])
def test_nothing_is_made_of_a_pin_in_another_format(source: str) -> None:
    host = Host()
    zpk, pvk, block = host.key(TPK, "001"), host.key(PVK, "002"), "0" * 16
    given = ibm(host)
    assert host(f"BK001{zpk}{pvk}{block}{source}{given}") == "BL29"
    assert host(f"DU001{zpk}{pvk}{block}{source}{given}0000FFFFFFFF{block}") == "DV29"
    assert host(f"FW001{zpk}{pvk}{block}{source}{ACCOUNT}1") == "FX29"
    assert host(f"CU001{zpk}{pvk}{block}{source}{ACCOUNT}11234{block}") == "CV29"
    assert host(f"FW003{zpk}{pvk}{block}{source}{ACCOUNT}1") == "FX28"
    assert host(f"FWFFF{zpk}{pvk}{block}{source}{ACCOUNT}1") == "FXA1"


def test_a_pvk_of_one_method_does_not_serve_the_other() -> None:
    host = Host()
    tpk = host.block(KeyUsage.TPK, TPK)
    for_ibm, for_visa = host.block(KeyUsage.PVK_IBM, PVK), host.block(KeyUsage.PVK_VISA, PVK)
    visa = f"{sealed()}01{ACCOUNT}1{psec_pvv('1234')}"
    offset = f"12{sealed()}01{ibm(host)}{psec_offset('1234').ljust(12, 'F')}"
    assert host(f"DC{tpk}{for_visa}{visa}") == "DD00"
    assert host(f"DC{tpk}{for_ibm}{visa}") == "DDA6"
    assert host(f"DA{tpk}{for_ibm}{offset}") == "DB00"
    assert host(f"DA{tpk}{for_visa}{offset}") == "DBA6"


def test_only_the_checked_digits_count() -> None:
    host = clear_tables()
    keys = host.key(TPK, "002") + host.key(PVK, "002")
    offset = psec_offset("123456").ljust(12, "F")
    for pin, length, answer in (
        ("993456", 4, "DB00"),
        ("993456", 5, "DB01"),
        ("993456", 6, "DB01"),
        ("123457", 4, "DB01"),
    ):
        block = made_by_psec("01", TPK, pin)
        assert host(f"DA{keys}12{block}01{ibm(host, length)}{offset}") == answer


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PinError("…"), "24"),
        (PanError("…"), "22"),
        (PinFormatError("…"), "23"),
        (DecimalisationTableError("…"), "25"),
        (PinBlockError("…"), "20"),
        (PinLengthError("…"), "24"),
        (ReplayError("…"), "39"),
        (VaultError("…"), "15"),
    ],
)
def test_what_a_function_refuses_has_a_published_code(error: VaultError, code: str) -> None:
    assert code_of(error) == code


# -- too many wrong PINs ------------------------------------------------------------------------------


def test_too_many_wrong_pins_close_an_account() -> None:
    clock = Clock()
    host = Host(host_vault(clock=clock, pins=PinSettings(failures_max=3)))
    tpk, pvk = host.key(TPK, "002"), host.key(PVK, "002")
    block_pvk = host.block(KeyUsage.PVK_VISA, PVK)
    right, wrong = psec_pvv("1234"), psec_pvv("4321")

    def dc(value: str, account: str = ACCOUNT, pvk: str = pvk, block: str = "") -> str:
        return host(f"DC{tpk}{pvk}{block or sealed()}01{account}1{value}")[2:]

    assert [dc(wrong), dc(wrong), dc(right)] == ["01", "01", "00"]  # a right one starts anew
    assert [dc(wrong), dc("0" * 4, block="0" * 16), dc(wrong)] == ["01", "20", "01"]
    # the same key in another form, and the other commands, count together
    assert dc(wrong, pvk=block_pvk) == "01"
    assert dc(right) == "39"
    assert dc(right, pvk=block_pvk) == "39"
    assert dc(right, block="0" * 16) == "39"  # not even looked at
    zone = f"CU001{host.key(TPK, '001')}{pvk}{sealed()}01{ACCOUNT}1{right}{sealed('9999')}"
    assert host(zone) == "CV39"
    # another account, and another key, are their own
    assert dc(right, account=ACCOUNT[::-1]) == "20"
    assert dc(right, pvk=host.key(odd(22, 16), "002")) == "01"
    clock.now_s += QUIET_S - 1
    assert dc(right) == "39"
    clock.now_s += 1
    assert dc(right) == "00"


def test_digits_that_do_not_count_do_not_begin_the_count_anew() -> None:
    host = Host(host_vault(pins=PinSettings(failures_max=3, clear_tables=True)))
    tpk, pvk = host.key(TPK, "002"), host.key(PVK, "002")
    unbound = ciphers.tdes_ecb_encrypt(TPK, bytes.fromhex("141234FFFFFFFFFF")).hex().upper()
    dc = [
        host(f"DC{tpk}{pvk}{unbound}05{number}{ACCOUNT[1:]}1{psec_pvv('4321')}")[2:]
        for number in range(4)  # a PVV has 11 digits of the account
    ]
    assert dc == ["01", "01", "01", "39"]
    rest = f"{TABLE}{TEMPLATE}{psec_offset('4321')}FFFFFFFF"
    da = [
        host(f"DA{tpk}{pvk}12{unbound}0504{number:07}{ACCOUNT[-5:]}{rest}")[2:]
        for number in range(4)  # validation data has 5
    ]
    assert da == ["01", "01", "01", "39"]
    da = [
        host(f"DA{tpk}{pvk}12{sealed()}0104{number}{ACCOUNT[1:]}{rest}")[2:]
        for number in (5, 4, 7, 6)  # in format 01 the first digits hide the PIN's
    ]
    assert da == ["01", "01", "01", "39"]


def test_what_is_counted_is_bounded_and_off_by_default() -> None:
    clock, key = Clock(), OpenKey(KeyUsage.PVK_VISA, Algorithm.TDES, PVK)
    failures = PinFailures(2, clock, accounts_max=3)

    def judge(account: str, right: bool) -> str:
        try:
            failures.judge(account, key, lambda: right)
        except Exception as error:  # noqa: BLE001
            return str(error)[:2]
        return "00"

    for account in "abc":
        assert judge(account, right=False) == "01"
    assert judge("a", right=False) == "01"  # now b is the longest quiet
    assert judge("d", right=False) == "01"
    assert len(failures) == 3
    assert judge("a", right=True) == "39"
    assert judge("b", right=False) == "01"  # b begins anew
    assert judge("b", right=False) == "01"  # and being in, pushes none out
    assert judge("a", right=True) == "39"
    host = Host()
    pvk, tpk = host.key(PVK, "002"), host.key(TPK, "002")
    for _ in range(50):
        assert host(f"DC{tpk}{pvk}{sealed()}01{ACCOUNT}1{psec_pvv('4321')}") == "DD01"
    assert len(host.vault.failures) == 0
