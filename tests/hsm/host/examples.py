"""A working command or more for every host command, and what must hold of any answer to anything.

The property tests and `make fuzz` damage them. A command without an example fails
`test_any_bytes.py`: whoever adds one adds a line here.
"""

import time
from functools import cache

from hypothesis import strategies as st

from hsm import ciphers, pin_block
from hsm.host.codes import CODES
from hsm.host.commands import COMMANDS
from hsm.host.dispatch import answer_code
from hsm.keys import Algorithm, KeyUsage
from tests.hsm.host.support import HEADER, Host, host_vault
from tests.hsm.support import odd, seeded

SECONDS_MAX = 1.0  # of processor, for one command of at most 32 KB
COMMAND_BYTES_MAX = 32_768

ZMK, TMK, KEY, OTHER = odd(71, 16), odd(72, 16), odd(73, 16), odd(74, 16)
AES_KEY = seeded(75)(16)
PAN = "5555000000253211"
ACCOUNT = "500000025321"
KSN = "FFFF9876543210E00001"
# Commands whose 01 has data: a key came in with wrong parity.
ADVICE = frozenset({"A6", "FA", "FC", "FK", "MI", "DW"})


@cache
def fuzzed_host() -> Host:
    host = Host(host_vault(allow_weak=False))
    host.vault.take_over_from(host.vault.keys.lmk)
    return host


def text(clear: bytes, key_type: str) -> str:
    return fuzzed_host().key(clear, key_type)


def under(carrier: bytes, clear: bytes) -> str:
    return "X" + ciphers.tdes_ecb_encrypt(carrier, clear).hex().upper()


def in_block(usage: KeyUsage, clear: bytes, algorithm: Algorithm = Algorithm.TDES) -> str:
    """The same block whenever it is asked for."""
    return _block(usage, clear, algorithm)


@cache
def _block(usage: KeyUsage, clear: bytes, algorithm: Algorithm) -> str:
    return "S" + fuzzed_host().vault.keys.wrap(usage, algorithm, clear).block


def pin(key: bytes) -> str:
    clear = pin_block.encode_format0("1234", PAN)
    return ciphers.tdes_ecb_encrypt(key, clear).hex().upper()


@cache
def examples() -> dict[str, list[bytes]]:
    """Command code -> commands that end with 00."""
    from tests.hsm.host.pin_examples import pin_examples

    zmk, tmk = text(ZMK, "000"), text(TMK, "80D")
    zmk_block, tmk_block = in_block(KeyUsage.ZMK, ZMK), in_block(KeyUsage.TMK, TMK)
    zpk_block, tak_block = in_block(KeyUsage.ZPK, KEY), in_block(KeyUsage.MAK, KEY)
    zek_block = in_block(KeyUsage.ZEK, AES_KEY, Algorithm.AES)
    incoming = under(ZMK, KEY)
    zone = (("001", ""), ("00A", "0"), ("008", "1"))
    found: dict[str, list[str]] = {
        "A0": [
            "A00001U%00",
            f"A01001U;0{zmk}X",
            f"A01003U;1{tmk}U",
            "A00FFFS%01#P0T2B00E00",
            f"A01FFFS;0{zmk_block}R%01#M3T2G00S01LB07ZAK",
            f"A0B302U01{text(KEY, '009')}FFFF9876543210E;1{tmk}X",
            f"A0AFFFS04{in_block(KeyUsage.BDK, AES_KEY, Algorithm.AES)}0123456789ABCDEF#B1A1X00N00",
        ],
        "A6": [f"A6001{zmk}{incoming}U", f"A6FFF{zmk_block}{incoming}S%01#P0B00E00"],
        "A8": [f"A8001{zmk}{text(KEY, '001')}X", f"A8FFF{zmk_block}{zpk_block}R%01&N"],
        "BU": [f"BUFF1{text(KEY, '001')};001;001", f"BUFFF{zpk_block};FFF;001"],
        "BW": [f"BW011{text(KEY, '001')};0U0!11"],
        "FA": [f"FA{zmk}{incoming};0U1"],
        "GC": [f"GC{zmk}{text(KEY, '001')};X01", f"GC{zmk_block}{zpk_block};R01"],
        "FC": [f"FC{zmk}{incoming};0U1"],
        "FE": [f"FE{zmk}{text(KEY, '002')};X01"],
        "FK": [f"FK{flag}{zmk}{incoming};0U1" for _, flag in zone[1:]],
        "FM": [f"FM{flag}{zmk}{text(KEY, code)};X01" for code, flag in zone[1:]],
        "MI": [f"MI{zmk}{incoming};0U1"],
        "MG": [f"MG{zmk}{text(KEY, '003')};X01"],
        "AG": [f"AG{tmk}{text(KEY, '003')};X01"],
        "DW": [f"DW{zmk}{incoming};0U1"],
        "DY": [f"DY{zmk}{text(KEY, '009')};X01"],
        "HC": [f"HC{tmk};XU1", f"HC{tmk_block}%01#P0T2D00N00"],
        "HA": [f"HA{tmk};XU1", f"HA{tmk_block}"],
        "IA": [f"IA{zmk};XU1", f"IA{zmk_block};RS1"],
        "FI": [f"FI0{zmk};XU1", f"FI1{zmk};XU1"],
        "CA": [f"CA{text(KEY, '002')}{text(OTHER, '001')}12{pin(KEY)}0101{ACCOUNT}"],
        "CC": [f"CC{text(KEY, '001')}{text(OTHER, '001')}12{pin(KEY)}0101{ACCOUNT}"],
        "M6": [
            f"M601131003{text(KEY, '003')}0008ABCDEF12",
            f"M621031008{text(KEY, '008')}00000000000000000010{'AB' * 8}",
            f"M601131FFF{tak_block}0008ABCDEF12\x19trailer",
        ],
        "M8": [f"M811131003{text(KEY, '003')}0010{'AB' * 8}"],
        "GW": [f"GW41{text(KEY, '009')}605{KSN}0004data"],
        "MS": [f"MS0011{text(KEY, '003')}0004{'AB' * 4}"],
        "MQ": [f"MQ0{text(KEY, '008')}004data"],
        "MA": [f"MA{text(KEY, '003')}data"],
        "MC": [],
        "ME": [],
        "M0": [
            f"M0011100A{text(KEY, '00A')}{'0' * 16}0010{'AB' * 8}",
            f"M00011009{text(KEY, '009')}605{KSN}0010{'AB' * 8}",
            f"M00101FFF{zek_block}{'0' * 32}0010{'b' * 16}",
        ],
        "M2": [f"M2011130B{text(KEY, '30B')}{'0' * 16}0010{'AB' * 8}"],
        "M4": [f"M400011130B{text(KEY, '30B')}00A{text(OTHER, '00A')}{'0' * 16}0010{'AB' * 8}"],
        "NC": ["NC", "NC%01"],
        "NO": ["NO00"],
        "B2": ["B20004ping"],
        "RA": ["RA"],
        "GM": ["GM0600004data"],
    }  # fmt: skip
    made = {code: [command.encode("latin-1") for command in row] for code, row in found.items()}
    made["MC"].append(f"MC{text(KEY, '003')}".encode() + x9_9(KEY) + b"data")
    made["ME"].append(f"ME{text(KEY, '003')}{text(OTHER, '003')}".encode() + x9_9(KEY) + b"data")
    for code, commands in pin_examples().items():
        made.setdefault(code, []).extend(commands)
    return made


def x9_9(key: bytes) -> bytes:
    return ciphers.tdes_ecb_encrypt(key, b"data".ljust(8, b"\0"))[:4].hex().upper().encode()


def check(command: bytes) -> str:
    """The error code of an answer that is as any answer must be; `AssertionError` for any other."""
    host = fuzzed_host()
    host.vault.authorise(1e9)
    host.faults.clear()
    message = HEADER + command
    began = time.process_time()
    answer = host.dispatcher.answer(message)
    assert time.process_time() - began < SECONDS_MAX
    assert not host.faults, host.faults
    if len(command) < 2:
        assert answer is None
        return ""
    assert answer is not None
    name = command[:2].decode("latin-1")
    assert answer[:6] == HEADER + answer_code(name).encode("latin-1")
    code = answer[6:8].decode()
    assert code in CODES
    assert code != "41"
    assert (code == "68") is (name not in COMMANDS)
    assert len(answer) <= 0xFFFF
    if code != "00" and not (code == "01" and name in ADVICE):
        assert answer[8:] == b"" or (answer[8:9] == b"\x19" and message.endswith(answer[8:]))
    for secret in (ZMK, TMK, KEY, OTHER, AES_KEY):
        for shown in (secret, secret.hex().encode(), secret.hex().upper().encode()):
            assert shown not in answer or shown in message
    return code


@st.composite
def damaged(draw: st.DrawFn, command: bytes) -> bytes:
    """A few characters changed, dropped, repeated, cut, added, or taken from another command."""
    changed = bytearray(command)
    every = [other for row in examples().values() for other in row]
    digits = b"0123456789ABCDEFSRUXTYZ;%#&!\x19"
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(2, max(len(changed), 2)))
        kind = draw(st.sampled_from(["digit", "set", "cut", "add", "drop", "repeat", "splice"]))
        if kind == "digit":
            changed[at : at + 1] = bytes([draw(st.sampled_from(digits))])
        elif kind == "set":
            changed[at : at + 1] = bytes([draw(st.integers(0, 255))])
        elif kind == "cut":
            del changed[at:]
        elif kind == "add":
            changed[at:at] = draw(st.binary(min_size=1, max_size=8))
        elif kind == "drop":
            del changed[at : at + draw(st.integers(1, 40))]
        elif kind == "repeat":
            changed[at:at] = changed[at : at + draw(st.integers(1, 200))]
        else:
            other = draw(st.sampled_from(every))
            changed[at:] = other[draw(st.integers(2, len(other))) :]
    return bytes(changed[:COMMAND_BYTES_MAX])
