"""Goal: what a terminal of DUKPT made is verified, deciphered and answered by host commands.

Method: the standard's examples under the public test LMK; a terminal by the letter of the standard that
walks from key to key (`tests/hsm/dukpt_terminals.py`).
"""

import json
from pathlib import Path

import psec
import pytest
from Crypto.Cipher import AES, DES3
from Crypto.Hash import CMAC

from hsm.dukpt_replay import MemoryCounters, ReplayGuard
from hsm.keys import Algorithm, KeyUsage
from tests.hsm.dukpt_terminals import AesTerminal, TdesTerminal, derive, xor
from tests.hsm.host.support import Host, host_vault
from tests.hsm.host.test_keys import TMK, ZMK, block, check_digits, second_opening
from tests.hsm.support import odd, seeded

pytestmark = pytest.mark.filterwarnings("ignore:.*TripleDES:Warning")

BDK = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
IK = bytes.fromhex("6AC292FAA1315B4D858AB3A3D7D5933A")
AES_BDK = bytes.fromhex("FEDCBA9876543210F1F1F1F1F1F1F1F1")
AES_IK = bytes.fromhex("1273671EA26AC29AFA4D1084127652A1")
ROWS = [
    row
    for row in json.loads(
        (Path(__file__).parents[2] / "vectors" / "vectors.json").read_text(encoding="utf-8")
    )
    if row["name"].startswith("TDES DUKPT KSN")
]


@pytest.fixture
def host() -> Host:
    return Host(host_vault(allow_weak=False))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["input"]["ksn"])
def test_macs_of_the_standard(host: Host, row: dict[str, dict[str, str]]) -> None:
    bdk, ksn = host.key(BDK, "009"), row["input"]["ksn"]
    data = row["input"]["mac_data_ascii"]
    answer = host(f"GW41{bdk}605{ksn}{len(data):04X}{data}")
    assert answer[:4] == "GX00"
    assert answer[4:].startswith(row["output"]["mac_request_4"])
    assert host(f"GW11{bdk}605{ksn}{answer[4:]}{len(data):04X}{data}") == "GX00"
    assert host(f"GW11{bdk}605{ksn}{answer[4:]}{len(data):04X}{data[:-1]}X") == "GX01"


def test_a_right_mac_uses_a_counter_up_where_they_are_remembered(host: Host) -> None:
    host.vault.replay = ReplayGuard(MemoryCounters())
    bdk = host.key(BDK, "009")
    earlier, later = "FFFF9876543210E00001", "FFFF9876543210E00002"
    macs = {ksn: host(f"GW41{bdk}605{ksn}0004data")[4:] for ksn in (earlier, later)}
    assert host(f"GW11{bdk}605{later}{'0' * 16}0004data") == "GX01"  # proves nothing
    assert host(f"GW11{bdk}605{earlier}{macs[earlier]}0004data") == "GX00"
    assert host(f"GW11{bdk}605{later}{macs[later]}0004data") == "GX00"
    assert host(f"GW11{bdk}605{later}{macs[later]}0004data") == "GX39"
    assert host(f"GW11{bdk}605{earlier}{macs[earlier]}0004data") == "GX39"


@pytest.mark.parametrize("code", ["009", "609", "809"])
def test_a_terminals_messages_are_understood(host: Host, code: str) -> None:
    terminal = TdesTerminal(IK, bytes.fromhex("FFFF9876543210E00000"))
    bdk = host.key(BDK, code)
    for _ in range(12):
        ksn, data = terminal.ksn().hex().upper(), seeded(terminal.counter)(24)
        mac_key = xor(terminal.key(), bytes.fromhex("000000000000FF00" * 2))
        made = psec.mac.generate_retail_mac(mac_key[:8], mac_key[8:], data, 1).hex().upper()
        message = b"GW11" + f"{bdk}A05{ksn}{made}0018".encode() + data
        assert host(message) == "GX00"
        variant = xor(terminal.key(), bytes.fromhex("0000000000FF0000" * 2))
        data_key = DES3.new(variant, DES3.MODE_ECB).encrypt(variant)
        sealed = DES3.new(data_key, DES3.MODE_CBC, bytes(8)).encrypt(data).hex().upper()
        answer = host(f"M20111{code}{bdk}A05{ksn}{'0' * 16}0030{sealed}")
        assert answer == "M300" + sealed[-16:] + "0030" + data.hex().upper()
        answer = host(f"M00111{code}{bdk}A05{ksn}{'0' * 16}0030{data.hex()}")
        assert answer == "M100" + sealed[-16:] + "0030" + sealed
        zek = host.key(ZMK, "00A")
        answer = host(f"M4010011{code}{bdk}A05{ksn}00A{zek}{'0' * 16}0030{sealed}")
        ecb = DES3.new(ZMK, DES3.MODE_ECB).encrypt(data).hex().upper()
        assert answer == "M500" + sealed[-16:] + "0030" + ecb
        terminal.next_transaction()


def test_so_are_those_of_a_terminal_with_aes(host: Host) -> None:
    terminal = AesTerminal(AES_IK, bytes.fromhex("123456789012345600000000"))
    bdk = block(host, KeyUsage.BDK, AES_BDK, Algorithm.AES)
    for _ in range(6):
        ksn, data = terminal.ksn(), seeded(terminal.counter)(32)
        key = derive(terminal.key(), "2002", "00020080", ksn[4:])
        made = CMAC.new(key, data, ciphermod=AES).digest()[:8].hex().upper()
        shown = ksn.hex().upper()
        assert host(f"GW11{bdk}805{shown}{made}0020".encode() + data) == "GX00"
        key = derive(terminal.key(), "3002", "00020080", ksn[4:])
        sealed = AES.new(key, AES.MODE_ECB).encrypt(data).hex().upper()
        assert host(f"M20011FFF{bdk}805{shown}0040{sealed}") == "M3000040" + data.hex().upper()
        terminal.next_transaction()


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("GW0", "02"),
        ("GW42", "06"),
        ("GW41{zpk}605{ksn}0001a", "10"),
        ("GW41{bdk}6X5{ksn}0001a", "15"),
        ("GW41{bdk}605FFFF9876543210E000000001a", "15"),  # counter 0: no transaction
        ("GW41{bdk}605FFFF9876543210FFFFFF0001a", "15"),  # more than ten one bits
        ("GW41{bdk}605FFFF", "80"),
        ("GW41{bdk}605{ksn}0000", "80"),
        ("GW41{bdk}605{ksn}0002a", "80"),
        ("GW41{mak}605{ksn}0001a", "A6"),
        ("GW11{bdk}605{ksn}00000000000000000001a", "01"),
        ("M00011009{bdk}605{ksn}0008{ksn}", "06"),
        ("M00011609{bdk}605{ksn}0010" + "0" * 16, "10"),
        ("M00011009{block}605{ksn}0010" + "0" * 16, "A1"),
    ],
)
def test_it_says_what_is_wrong(host: Host, command: str, code: str) -> None:
    texts = {
        "bdk": host.key(BDK, "009"),
        "zpk": host.key(odd(1, 16), "001"),
        "ksn": "FFFF9876543210E00001",
        "mak": block(host, KeyUsage.MAK, odd(2, 16)),
        "block": block(host, KeyUsage.BDK, BDK),
    }
    if command.endswith("{ksn}0008{ksn}"):
        command = command.replace("0008{ksn}", "0008" + "0" * 8)
    assert host(command.format(**texts))[2:] == code


def test_initial_keys_are_made_and_sent(host: Host) -> None:
    bdk, tmk = host.key(BDK, "009"), host.key(TMK, "80D")
    answer = host(f"A0B302U01{bdk}FFFF9876543210E;1{tmk}X")
    assert answer[:5] == "A100U"
    assert second_opening(TMK, answer[37:70]) == IK
    assert answer[70:] == check_digits(IK)
    assert host(f"A0A302U01{bdk}FFFF9876543210E") == answer[:37] + answer[70:]
    in_block, zmk = block(host, KeyUsage.BDK, BDK), block(host, KeyUsage.ZMK, ZMK)
    answer = host(f"A0BFFFS01{in_block}FFFF9876543210E;0{zmk}R%01#B1T2X00S00")
    size = int(answer[6:10])
    opened = host.vault.keys.open(answer[5 : 5 + size])
    assert (opened.usage, opened.key) == (KeyUsage.IK, IK)
    assert psec.tr31.unwrap(ZMK, answer[6 + size : -6])[1] == IK
    aes = block(host, KeyUsage.BDK, AES_BDK, Algorithm.AES)
    answer = host(f"A0AFFFS04{aes}1234567890123456%01#B1A1N00N00")
    opened = host.vault.keys.open(answer[5:-6])
    assert (opened.usage, opened.key, opened.exportability) == (KeyUsage.IK, AES_IK, "N")


def test_an_initial_key_comes_in_bit_by_bit(host: Host) -> None:
    zmk = block(host, KeyUsage.ZMK, ZMK)
    sealed = "X" + DES3.new(ZMK, DES3.MODE_ECB).encrypt(IK).hex().upper()
    answer = host("A6FFF" + zmk + sealed + "S%01#B1X00N00")
    assert answer[:5] == "A700S"
    opened = host.vault.keys.open(answer[5:-6])
    assert (opened.usage, opened.key) == (KeyUsage.IK, IK)
    wrapped = psec.tr31.wrap(ZMK, psec.tr31.Header("B", "B1", "T", "X", "00", "E"), IK)
    answer = host("A6FFF" + zmk + "R" + wrapped + "S")
    assert host.vault.keys.open(answer[5:-6]).key == IK
    text = host.key(ZMK, "000")
    assert host("A6302" + text + sealed + "U") == "A729"
    host.vault.authorise(60)
    assert host("A8302" + text + sealed + "U") == "A929"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ("A001U", "04"),
        ("A302U1", "15"),
        ("A302U05", "15"),
        ("A302U01{bdk}FFFF9876543210F", "15"),
        ("A302U02{bdk}FFFF9876543210E", "10"),
        ("A302U04{bdk}FFFF9876543210E", "A7"),
        ("A302U01{bdk}FFFF9876543210", "80"),
        ("A302T01{bdk}FFFF9876543210E", "27"),
        ("A302U01{block}FFFF9876543210E", "A1"),
        ("AFFFS01{block}FFFF9876543210E", "15"),
        ("AFFFS04{block}FFFF9876543210E%01#B1T2X00S00", "A7"),
        ("AFFFS01{block}FFFF9876543210E%01#B1A1X00S00", "A7"),
        ("AFFFS01{block}FFFF9876543210E%01#P0T2B00S00", "A6"),
    ],
)
def test_initial_keys_say_what_is_wrong(host: Host, data: str, code: str) -> None:
    texts = {"bdk": host.key(BDK, "009"), "block": block(host, KeyUsage.BDK, BDK)}
    assert host("A0" + data.format(**texts)) == "A1" + code
