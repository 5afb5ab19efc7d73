"""What the vault's operations cost, beside psec and PyCryptodome with its contexts kept.

    python -m benchmarks.crypto [--json] [--rounds N] [--bytes N]

Every contender does the same work on the same input and must give the same before it is timed:

* vault: as its callers have it. PIN translation, MACs and keys through the port (key block in, bytes out,
  usage and PIN block checked); the operations of issuers as functions on clear keys with kept contexts.
* psec: as its users call it.
* pycryptodome: its ciphers, made once and kept, in ordinary Python: a PIN block is decoded, checked and
  encoded again, a message is folded block by block, a PIN is compared as text.
* tuned: the same ciphers in the fastest Python known to us, where that is another: our own verdict on a
  PIN block, one `struct` for all blocks of a message. It has no bar; it shows what of the distance is the
  library and what is the code around it. For HMAC it is the standard library's.

Rounds take turns; the figure is the median round in microseconds of processor time a call. A bar is a
time, or a time and how many times PyCryptodome's it must be.
"""

from __future__ import annotations

import argparse
import functools
import hmac
import operator
import os
import statistics
import struct
import time
import warnings
from typing import TYPE_CHECKING, Final

import msgspec
import psec
from Crypto.Cipher import AES, DES, DES3
from Crypto.Hash import CMAC, HMAC, SHA256

from benchmarks import host_port, report
from hsm import card_values, ciphers, pin_block, pin_verify
from hsm.des_keys import with_odd_parity
from hsm.digits import account_of
from hsm.keys import Algorithm, KeyUsage
from hsm.lmk import TEST_LMK
from hsm.local import LocalVault
from hsm.pans import LocalPans

if TYPE_CHECKING:
    from collections.abc import Callable

    Call = Callable[[], object]
    Case = tuple[str, dict[str, Call], bool]  # name, contender -> call, whether all must agree

PAN = "6222021234567890123"
COLUMN = "switch.request.pan"
TABLE = "0123456789012345"
CALLS = 200  # a round and contender
CONTENDERS: Final = ("vault", "psec", "pycryptodome", "tuned")

# operation -> microseconds at most, and how many times that PyCryptodome must take
BARS: Final[dict[str, tuple[float, float | None]]] = {
    "PIN translate, format 0": (3.0, 3.0),
    "MAC unionpay-ecb": (4.0, 3.0),
    "MAC x9.19-binary": (14.0, None),
    "MAC cmac": (1.5, 3.0),
}


# -- PyCryptodome in ordinary Python ---------------------------------------------------------


def pan_number(pan: str) -> int:
    if not (13 <= len(pan) <= 19 and pan.isascii() and pan.isdigit()):
        raise ValueError("PAN")
    return int(pan[-13:-1], 16)


def decode_format0(block: bytes, pan: str) -> str:
    field = f"{int.from_bytes(block, 'big') ^ pan_number(pan):016X}"
    if field[0] != "0":
        raise ValueError("control")
    length = int(field[1], 16)
    if not 4 <= length <= 12:
        raise ValueError("length")
    pin, fill = field[2 : 2 + length], field[2 + length :]
    if not pin.isdigit():
        raise ValueError("digits")
    if fill.strip("F"):
        raise ValueError("fill")
    return pin


def encode_format0(pin: str, pan: str) -> bytes:
    if not (4 <= len(pin) <= 12 and pin.isascii() and pin.isdigit()):
        raise ValueError("PIN")
    field = f"0{len(pin):X}{pin}".ljust(16, "F")
    return (int(field, 16) ^ pan_number(pan)).to_bytes(8, "big")


def fold(data: bytes, width: int = 8) -> int:
    value = 0
    padded = data + bytes(-len(data) % width)
    for start in range(0, len(padded), width):
        value ^= int.from_bytes(padded[start : start + width], "big")
    return value


def fold_by_struct(data: bytes) -> int:
    padded = data + bytes(-len(data) % 8)
    blocks: tuple[int, ...] = struct.unpack(f">{len(padded) // 8}Q", padded)
    return functools.reduce(operator.xor, blocks)


def unionpay(folded: int, encrypt: Callable[[bytes], bytes]) -> bytes:
    text = b"%016X" % folded
    middle = int.from_bytes(encrypt(text[:8]), "big") ^ int.from_bytes(text[8:], "big")
    return encrypt(middle.to_bytes(8, "big")).hex().upper()[:8].encode()


def two_passes(block: bytes, count: int) -> str:
    text = block.hex()
    digits = [digit for digit in text if digit.isdigit()]
    digits += [str(int(digit, 16) - 10) for digit in text if not digit.isdigit()]
    return "".join(digits[:count])


def cases(message_bytes: int) -> list[Case]:
    vault = LocalVault(TEST_LMK, os.urandom)
    tpk, zpk, mak = (with_odd_parity(os.urandom(16)) for _ in range(3))
    data = os.urandom(message_bytes)

    def stored(usage: KeyUsage, key: bytes, algorithm: Algorithm | None = None) -> str:
        return vault.import_components(usage, [key], algorithm=algorithm, allow_weak=True).block

    return [
        *pin_cases(vault, tpk, zpk, stored(KeyUsage.TPK, tpk), stored(KeyUsage.ZPK, zpk)),
        *mac_cases(
            vault,
            mak,
            data,
            stored(KeyUsage.MAK, mak),
            {
                algorithm: stored(KeyUsage.MAK, mak, algorithm)
                for algorithm in (Algorithm.AES, Algorithm.HMAC, Algorithm.SM4)
            },
        ),
        *issuer_cases(zpk),
        *storage_cases(vault),
    ]


def pin_cases(
    vault: LocalVault, tpk: bytes, zpk: bytes, tpk_block: str, zpk_block: str
) -> list[Case]:
    sealed = ciphers.tdes_ecb_encrypt(tpk, pin_block.encode_format0("123456", PAN))
    their_tpk, their_zpk = DES3.new(tpk, DES3.MODE_ECB), DES3.new(zpk, DES3.MODE_ECB)

    def psec_translate() -> bytes:
        clear = psec.des.decrypt_tdes_ecb(tpk, sealed)
        pin = psec.pinblock.decode_pinblock_iso_0(clear, PAN)
        return psec.des.encrypt_tdes_ecb(zpk, psec.pinblock.encode_pinblock_iso_0(pin, PAN))

    def pycryptodome_translate() -> bytes:
        pin = decode_format0(their_tpk.decrypt(sealed), PAN)
        return bytes(their_zpk.encrypt(encode_format0(pin, PAN)))

    def tuned_translate() -> bytes:
        clear = their_tpk.decrypt(sealed)
        if not pin_block.format0_is_valid_for(clear, PAN):
            raise AssertionError
        return bytes(their_zpk.encrypt(clear))

    return [
        (
            "PIN translate, format 0",
            {
                "vault": lambda: vault.translate_pin(sealed, tpk_block, zpk_block, PAN),
                "psec": psec_translate,
                "pycryptodome": pycryptodome_translate,
                "tuned": tuned_translate,
            },
            True,
        )
    ]


def mac_cases(
    vault: LocalVault, mak: bytes, data: bytes, block: str, others: dict[Algorithm, str]
) -> list[Case]:
    their_mak = DES3.new(mak, DES3.MODE_ECB)
    their_cmac, their_tdes_cmac = CMAC.new(mak, ciphermod=AES), CMAC.new(mak, ciphermod=DES3)

    def ours(profile: str, algorithm: Algorithm | None = None) -> Call:
        key = block if algorithm is None else others[algorithm]
        return lambda: vault.mac(key, profile, data)

    def pycryptodome_x9_19() -> bytes:
        padded = data + bytes(-len(data) % 8)
        chained = DES.new(mak[:8], DES.MODE_CBC, bytes(8)).encrypt(padded[:-8])[-8:]
        last = int.from_bytes(chained, "big") ^ int.from_bytes(padded[-8:], "big")
        return bytes(their_mak.encrypt(last.to_bytes(8, "big")))

    def of_kept(kept: CMAC.CMAC) -> Call:
        def mac() -> bytes:
            copied = kept.copy()
            copied.update(data)
            return bytes(copied.digest()[:8])

        return mac

    return [
        (
            "MAC unionpay-ecb",
            {
                "vault": ours("unionpay-ecb"),
                "psec": lambda: unionpay(
                    fold(data), lambda each: psec.des.encrypt_tdes_ecb(mak, each)
                ),
                "pycryptodome": lambda: unionpay(fold(data), their_mak.encrypt),
                "tuned": lambda: unionpay(fold_by_struct(data), their_mak.encrypt),
            },
            True,
        ),
        (
            "MAC x9.19-binary",
            {
                "vault": ours("x9.19-binary"),
                "psec": lambda: psec.mac.generate_retail_mac(mak[:8], mak[8:], data, 1),
                "pycryptodome": pycryptodome_x9_19,
            },
            True,
        ),
        (
            "MAC tdes-cbc-binary",
            {
                "vault": ours("tdes-cbc-binary"),
                "psec": lambda: psec.mac.generate_cbc_mac(mak, data, 1),
                "pycryptodome": lambda: DES3.new(mak, DES3.MODE_CBC, bytes(8)).encrypt(
                    data + bytes(-len(data) % 8)
                )[-8:],
            },
            True,
        ),
        (
            "MAC cmac",
            {"vault": ours("cmac", Algorithm.AES), "pycryptodome": of_kept(their_cmac)},
            True,
        ),
        (
            "MAC cmac-tdes",
            {"vault": ours("cmac-tdes"), "pycryptodome": of_kept(their_tdes_cmac)},
            True,
        ),
        (
            "MAC hmac-sha256",
            {
                "vault": ours("hmac-sha256", Algorithm.HMAC),
                "pycryptodome": lambda: HMAC.new(mak, data, SHA256).digest()[:8],
                "tuned": lambda: hmac.digest(mak, data, "sha256")[:8],
            },
            True,
        ),
        ("MAC sm4-cbc-binary", {"vault": ours("sm4-cbc-binary", Algorithm.SM4)}, True),
        ("MAC unionpay-ecb-sm4", {"vault": ours("unionpay-ecb-sm4", Algorithm.SM4)}, True),
    ]


def issuer_cases(key: bytes) -> list[Case]:
    account, validation = account_of(PAN), pin_verify.validation_data(PAN, 0, 16)
    value = pin_verify.pvv(key, account, "1", "1234")
    offset = pin_verify.offset_of_pin(key, validation, TABLE, "123456")
    code = card_values.card_value(key, PAN, "3012", "201")
    whole, left = DES3.new(key, DES3.MODE_ECB), DES.new(key[:8], DES.MODE_ECB)
    natural = str.maketrans("0123456789abcdef", TABLE)

    def pycryptodome_pvv() -> bool:
        block = bytes.fromhex(f"{PAN[-12:-1]}11234")
        return hmac.compare_digest(two_passes(whole.encrypt(block), 4), value)

    def pycryptodome_offset() -> bool:
        digits = whole.encrypt(bytes.fromhex(validation)).hex().translate(natural)
        pairs = zip(digits, offset, strict=False)
        pin = "".join(str((int(a) + int(b)) % 10) for a, b in pairs)
        return hmac.compare_digest(pin, "123456")

    def pycryptodome_cvv() -> bool:
        blocks = bytes.fromhex(f"{PAN}3012201".ljust(32, "0"))
        first = int.from_bytes(left.encrypt(blocks[:8]), "big")
        second = first ^ int.from_bytes(blocks[8:], "big")
        return hmac.compare_digest(two_passes(whole.encrypt(second.to_bytes(8, "big")), 3), code)

    return [
        (
            "PVV verify",
            {
                "vault": lambda: pin_verify.verify_pvv(key, account, "1", "1234", value),
                "psec": lambda: psec.pin.generate_visa_pvv(key, "1", "1234", PAN) == value,
                "pycryptodome": pycryptodome_pvv,
            },
            True,
        ),
        (
            "IBM 3624 offset verify",
            {
                "vault": lambda: pin_verify.verify_offset(key, validation, TABLE, "123456", offset),
                "psec": lambda: (
                    psec.pin.generate_ibm3624_pin(key, TABLE, offset, PAN, 0, 16, "F") == "123456"
                ),
                "pycryptodome": pycryptodome_offset,
            },
            True,
        ),
        (
            "CVV verify",
            {
                "vault": lambda: card_values.verify(key, PAN, "3012", "201", code),
                "psec": lambda: psec.cvv.generate_cvv(key, PAN, "3012", "201") == code,
                "pycryptodome": pycryptodome_cvv,
            },
            True,
        ),
    ]


def storage_cases(vault: LocalVault) -> list[Case]:
    tmk_block = vault.generate_key(KeyUsage.TMK, 16).block
    pans = LocalPans(
        TEST_LMK,
        {1: vault.generate_key(KeyUsage.DATA, 32).block},
        1,
        vault.generate_key(KeyUsage.TOKEN, 32).block,
    )
    cipher = pans.protect(PAN, "3012", 1, COLUMN)
    content = (PAN, "000000", "000000001234", "156", None)
    return [
        ("PAN protect", {"vault": lambda: pans.protect(PAN, "3012", 1, COLUMN)}, True),
        ("PAN reveal", {"vault": lambda: pans.reveal(cipher, 1, COLUMN)}, True),
        ("PAN token", {"vault": lambda: pans.token(PAN)}, True),
        ("content of a request", {"vault": lambda: pans.content(content)}, True),
        (
            "working keys, layout 003",
            {"vault": lambda: vault.generate_working_keys(tmk_block, "003", 16)},
            False,
        ),
    ]


def measure(case: Case, rounds: int) -> dict[str, float]:
    """Median microseconds a call, contenders taking turns."""
    name, contenders, agree = case
    answers = {contender: call() for contender, call in contenders.items()}
    if agree and len(set(answers.values())) != 1:
        raise AssertionError(f"{name}: the contenders do not agree")
    times: dict[str, list[float]] = {contender: [] for contender in contenders}
    for _ in range(rounds):
        for contender, call in contenders.items():
            started_ns = time.process_time_ns()
            for _ in range(CALLS):
                call()
            times[contender].append((time.process_time_ns() - started_ns) / CALLS / 1000)
    return {contender: statistics.median(values) for contender, values in times.items()}


def ratio(row: dict[str, float]) -> float | None:
    """PyCryptodome's time over the vault's."""
    return row["pycryptodome"] / row["vault"] if "pycryptodome" in row else None


def verdict(name: str, row: dict[str, float]) -> tuple[str, str]:
    """The bar and whether it is held; empty where there is none."""
    if name not in BARS:
        return "", ""
    at_most_us, times = BARS[name]
    held = row["vault"] <= at_most_us and (times is None or (ratio(row) or 0.0) >= times)
    bar = f"≤ {at_most_us:g}" + (f", ≥ {times:g}x" if times else "")
    return bar, "pass" if held else "MISSED"


def main() -> None:
    parser = argparse.ArgumentParser(description="what the vault's operations cost")
    parser.add_argument("--json", action="store_true", help="figures as one JSON object")
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--bytes", type=int, default=251, help="length of the MACed message")
    parser.add_argument("--no-device", action="store_true", help="leave the host port out")
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # psec makes single DES in a way `cryptography` deprecates
    figures = {case[0]: measure(case, given.rounds) for case in cases(given.bytes)}
    device = {} if given.no_device else host_port.measure(host_port.Load())
    if given.json:
        report.as_json(
            "benchmarks.crypto",
            message_bytes=given.bytes,
            median_us=figures,
            bars={name: verdict(name, row)[1] for name, row in figures.items() if name in BARS},
            device=device,
        )
        return
    rows = []
    for name, row in figures.items():
        cells = [f"{row[who]:.2f}" if who in row else "-" for who in CONTENDERS]
        times = ratio(row)
        rows.append([name, *cells, f"{times:.1f}x" if times else "-", *verdict(name, row)])
    report.show(
        "benchmarks.crypto",
        f"MAC over {given.bytes} bytes; median µs of processor time a call",
        ["operation", *CONTENDERS, "pycryptodome/vault", "bar", ""],
        rows,
    )
    if device:
        print(f"\n{host_port.TITLE.format(**msgspec.structs.asdict(host_port.Load()))}\n")
        report.table(host_port.COLUMNS, host_port.rows_of(device))


if __name__ == "__main__":
    main()
