"""Goal: PINs of DUKPT terminals come over to a zone's key or are verified, and no KSN serves twice.

Method: published commands; terminals that keep registers, on PyCryptodome alone, for a thousand counters; what a
replay, a KSN that goes back, a damaged block and a store that fails answer.
"""

import psec
import pytest
from Crypto.Cipher import DES3

from hsm import dukpt_aes, dukpt_tdes, pin_block
from hsm.dukpt_replay import MemoryCounters, ReplayGuard
from hsm.host.commands import COMMANDS
from hsm.host.dispatch import Dispatcher
from hsm.host.vault import DERIVERS_MAX, PinSettings
from hsm.keys import Algorithm, KeyUsage
from tests.hsm.dukpt_terminals import AesTerminal, TdesTerminal, derive, xor
from tests.hsm.host.support import Host, host_vault
from tests.hsm.host.test_pin_verify import PVK, TABLE, TEMPLATE, psec_offset, psec_pvv
from tests.hsm.host.test_pins import ACCOUNT, PAN, ZPK, opened_by_psec
from tests.hsm.support import odd, seeded

pytestmark = pytest.mark.filterwarnings("ignore:.*TripleDES:Warning")  # psec

BDK = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
AES_BDK = seeded(31)(32)
SERIAL = bytes.fromhex("FFFF9876543210E00000")
AES_SERIAL = bytes.fromhex("123456789012345600000000")


def terminal() -> TdesTerminal:
    return TdesTerminal(dukpt_tdes.initial_key(BDK, SERIAL), SERIAL)


def sealed(device: TdesTerminal, pin: str = "1234") -> str:
    key = xor(device.key(), (bytes(7) + b"\xff") * 2)
    clear = pin_block.encode_format0(pin, PAN)
    return DES3.new(key, DES3.MODE_ECB).encrypt(clear).hex().upper()


def guarded() -> Host:
    return Host(host_vault(replay=ReplayGuard(MemoryCounters())))


def ksn_of(device: TdesTerminal) -> str:
    return device.ksn().hex().upper()


# github.com/nickntg/thalessimulatorlibrary, HostCommandTests.vb
_KEYS = "U8E3D3E2FD5919657F05A1AA90D32A014U9D961F6AF1D24B38AB37B320022FF57D"


@pytest.mark.parametrize(
    "rest",
    [
        "605FFFF9876543210E000011B9C1845EB993A7A01401234567890",
        "605FFFF9876543210E00010D5D9638559EF53D601401234567890",
        "605FFFF9876543210EFFC00DEFC6F09F8927B7101401234567890",
        "6059876543210E000011B9C1845EB993A7A01401234567890",  # 16 digits, as 605 says
        "A05FFFF9876543210E000011B9C1845EB993A7A01401234567890",  # 20
    ],
)
def test_a_published_command_gives_the_published_answer(rest: str) -> None:
    assert Host()(f"CI{_KEYS}{rest}") == "CJ00047D26134E85E7DADF01"
    from_format_0 = rest[:-14] + "01" + rest[-14:]
    assert Host()(f"G0{_KEYS}{from_format_0}") == "G100047D26134E85E7DADF01"


def test_a_terminals_pins_come_over_and_are_verified() -> None:
    host, device = guarded(), terminal()
    bdk, zpk, pvk = host.key(BDK, "009"), host.key(ZPK, "001"), host.key(PVK, "002")
    table = host.vault.variant.encrypt_decimalisation_table(TABLE)
    offset = f"04{ACCOUNT}{table}{TEMPLATE}{psec_offset('1234').ljust(12, 'F')}"
    value = f"{ACCOUNT}1{psec_pvv('1234')}"
    for turn in range(600):
        at = f"A05{ksn_of(device)}{sealed(device)}"
        match turn % 6:
            case 0:
                answer = host(f"CI{bdk}{zpk}{at}47{ACCOUNT}")
                assert opened_by_psec("47", ZPK, answer[6:-2]) == "1234"
            case 1:
                answer = host(f"G0~{host.key(BDK, '609')}{zpk}{at}0101{ACCOUNT}")
                assert opened_by_psec("01", ZPK, answer[6:-2]) == "1234"
            case 2:
                assert host(f"CK{bdk}{pvk}{at}{offset}") == "CL00"
            case 3:
                assert host(f"CM{bdk}{pvk}{at}{value}") == "CN00"
            case 4:
                assert host(f"GO0{bdk}{pvk}{at}01{offset}") == "GP00"
            case _:
                assert host(f"GQ0{bdk}{pvk}{at}01{value}") == "GR00"
        device.next_transaction()


def test_an_aes_terminals_pins_come_over_and_are_verified() -> None:
    host = guarded()
    device = AesTerminal(dukpt_aes.initial_key(AES_BDK, AES_SERIAL[:8]), AES_SERIAL)
    bdk = host.block(KeyUsage.BDK, AES_BDK, Algorithm.AES)
    zpk, pvk = host.block(KeyUsage.ZPK, ZPK), host.block(KeyUsage.PVK_VISA, PVK)
    for turn in range(100):
        key = derive(device.key(), "1000", "00040100", device.ksn()[4:])
        block = psec.pinblock.encipher_pinblock_iso_4(key, "123456", PAN).hex().upper()
        at = f"888{ksn_of(device)}{block}"
        if turn % 2:
            answer = host(f"G0{bdk}{zpk}{at}4801{PAN}")
            assert opened_by_psec("01", ZPK, answer[6:-2]) == "123456"
            assert answer[:6] == "G10006"
        else:
            assert host(f"GQ0{bdk}{pvk}{at}48{PAN};1{psec_pvv('1234')}") == "GR00"
        device.next_transaction()


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("CI{zpk}{zpk}605{ksn}{block}01{account}", "10"),
        ("CI{bdk}{bdk}605{ksn}{block}01{account}", "11"),
        ("CI{ik}{zpk_block}605{ksn}{block}01{account}", "A6"),
        ("CI{bdk}{zpk}6X5{ksn}{block}01{account}", "15"),
        ("CI{bdk}{zpk}101{ksn}{block}01{account}", "15"),
        ("CI{bdk}{zpk}303{ksn}{block}01{account}", "15"),
        ("CI{bdk}{zpk}FFF{ksn}{block}01{account}", "15"),
        ("CI{bdk}{zpk}605FFFF9876543210E0000X{block}01{account}", "15"),
        ("CI{bdk}{zpk}605FFFF9876543210E00000{block}01{account}", "15"),  # counter 0
        ("CI{bdk}{zpk}605FFFF9876543210FFFFFF{block}01{account}", "15"),  # too many ones
        ("CI{bdk}{zpk}605{ksn}{block}05{account}", "29"),
        ("CI{bdk}{zpk}605{ksn}{block}02{account}", "23"),
        ("CI{bdk}{zpk}605{ksn}{zeros}01{account}", "20"),
        ("CI{bdk}{zpk}605{ksn}{block}01{account}0", "80"),
        ("CI{bdk}{zpk}605{ksn}{block}48{pan}", "02"),
        ("G0{bdk}{zpk}605{ksn}{block}0105{account}", "29"),
        ("G0*{bdk2}{zpk}605{ksn}{block}0101{account}", "10"),
        ("G0~{bdk2}{zpk}605{ksn}{block}0101{account}", "00"),
        ("G0{aes}{zpk_block}888{aes_ksn}{zeros}{zeros}0101{account}", "02"),
        ("G0{aes}{zpk_block}888{aes_ksn}{zeros}{zeros}4801{pan}", "20"),
        ("GQ1{bdk}{zpk}605{ksn}{block}01{account}11234", "29"),
        ("GO2{bdk}", "15"),
    ],
)
def test_a_wrong_command_has_its_code(command: str, code: str) -> None:
    host, device = guarded(), terminal()
    filled = command.format(
        bdk=host.key(BDK, "009"), bdk2=host.key(BDK, "609"), zpk=host.key(ZPK, "001"),
        zpk_block=host.block(KeyUsage.ZPK, ZPK), ik=host.block(KeyUsage.IK, BDK),
        aes=host.block(KeyUsage.BDK, AES_BDK, Algorithm.AES), aes_ksn="123456789012345600000001",
        ksn=ksn_of(device), block=sealed(device), zeros="0" * 16, account=ACCOUNT, pan=PAN,
    )  # fmt: skip
    assert host(filled)[2:4] == code


def test_a_ksn_serves_once_and_never_goes_back() -> None:
    host, device = guarded(), terminal()
    bdk, zpk, pvk = host.key(BDK, "009"), host.key(ZPK, "001"), host.key(PVK, "002")
    commands = []
    for _ in range(3):
        commands.append(f"CI{bdk}{zpk}A05{ksn_of(device)}{sealed(device)}01{ACCOUNT}")
        device.next_transaction()
    assert host(commands[1])[:4] == "CJ00"
    assert host(commands[1]) == "CJ39"
    assert host(commands[0]) == "CJ39"
    # another command with the same KSN is a replay too
    at = commands[1].removeprefix(f"CI{bdk}{zpk}")[: 3 + 20 + 16]
    assert host(f"CM{bdk}{pvk}{at}{ACCOUNT}1{psec_pvv('1234')}") == "CN39"
    assert host(commands[2])[:4] == "CJ00"
    # the same device under another BDK is another device
    other = host.key(BDK[::-1], "009")
    assert host(commands[1].replace(bdk, other)) == "CJ20"


def test_only_a_block_that_opens_uses_a_counter_up() -> None:
    host, device = guarded(), terminal()
    bdk, zpk, pvk = host.key(BDK, "009"), host.key(ZPK, "001"), host.key(PVK, "002")
    start = f"{bdk}{zpk}A05{ksn_of(device)}"
    aes = host.block(KeyUsage.ZPK, AES_BDK, Algorithm.AES)
    for nothing in (
        f"CI{start}{'0' * 16}01{ACCOUNT}",
        f"CI{start}{sealed(device)}05{ACCOUNT}",
        f"CI{start}{sealed(device)}01{ACCOUNT}junk",
        f"CI{bdk}{aes}A05{ksn_of(device)}{sealed(device)}01{ACCOUNT}",
    ):
        assert host(nothing)[:4] != "CJ00"
    cleared = Host(host_vault(replay=host.vault.replay, pins=PinSettings(clear_tables=True)))
    rest = f"{ksn_of(device)}{sealed(device)}05{ACCOUNT}{TABLE}{TEMPLATE}1234FFFFFFFF"
    assert cleared(f"CK{bdk}{pvk}A05{rest}") == "CL15"  # more digits to check than there are
    assert host(f"CM{bdk}{pvk}A05{ksn_of(device)}{sealed(device)}{ACCOUNT}11234%02") == "CN13"
    # nor a KSN that somebody made up, far ahead
    ahead = "FFFF9876543210FFC000"
    assert host(f"CI{bdk}{zpk}A05{ahead}{'0' * 16}01{ACCOUNT}") == "CJ20"
    # a wrong PIN does: its block was genuine
    wrong = f"CM{bdk}{pvk}A05{ksn_of(device)}{sealed(device)}{ACCOUNT}1{psec_pvv('4321')}"
    assert host(wrong) == "CN01"
    assert host(f"CI{start}{sealed(device)}01{ACCOUNT}") == "CJ39"


def test_without_a_guard_a_ksn_may_come_again() -> None:
    host, device = Host(), terminal()
    keys = host.key(BDK, "009") + host.key(ZPK, "001")
    command = f"CI{keys}A05{ksn_of(device)}{sealed(device)}01{ACCOUNT}"
    assert host(command) == host(command)
    assert host(command)[:4] == "CJ00"


def test_a_store_that_takes_no_counter_is_a_fault_of_the_device() -> None:
    told: list[tuple[str, type[BaseException]]] = []
    host, device = Host(host_vault(replay=ReplayGuard(MemoryCounters(0)))), terminal()
    dispatcher = Dispatcher(
        host.vault, COMMANDS, failed=lambda code, error: told.append((code, type(error)))
    )
    keys = host.key(BDK, "009") + host.key(ZPK, "001")
    command = f"0000CI{keys}A05{ksn_of(device)}{sealed(device)}01{ACCOUNT}"
    assert dispatcher.answer(command.encode()) == b"0000CJ41"
    assert told == [("CI", OSError)]


def test_what_was_derived_with_a_key_is_kept_up_to_a_bound() -> None:
    host, device = Host(), terminal()
    bdk = host.key(BDK, "009")
    host(f"CI{bdk}{host.key(ZPK, '001')}A05{ksn_of(device)}{sealed(device)}01{ACCOUNT}")
    assert host.vault._derivers
    for seed in range(DERIVERS_MAX + 5):
        other = host.key(odd(seed, 16), "009")
        host(f"CI{other}{host.key(ZPK, '001')}A05{ksn_of(device)}{sealed(device)}01{ACCOUNT}")
    assert len(host.vault._derivers) == DERIVERS_MAX
