"""What the vault's operations cost, beside psec and PyCryptodome with its contexts kept.

    python -m benchmarks.crypto [--json] [--rounds N] [--bytes N]

Every contender does the same work on the same input and must give the same bytes before it is timed:
psec as its users call it, PyCryptodome with cipher objects made once, the vault through its port (key
block in, bytes out, usage and PIN block checked). Rounds are interleaved, the figure is the median
round in microseconds a call.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import psec
from Crypto.Cipher import AES, DES, DES3
from Crypto.Hash import CMAC

from hsm import ciphers, pin_block
from hsm.des_keys import with_odd_parity
from hsm.keys import Algorithm, KeyUsage
from hsm.lmk import TEST_LMK
from hsm.local import LocalVault
from hsm.pans import LocalPans

Call = Callable[[], object]
Case = tuple[str, dict[str, Call], bool]  # name, contender -> call, whether all must agree

PAN = "6222021234567890123"
COLUMN = "switch.request.pan"
CALLS = 400  # a round and contender


def cases(message_bytes: int) -> list[Case]:
    vault = LocalVault(TEST_LMK, os.urandom)
    tpk, zpk, mak = (with_odd_parity(os.urandom(16)) for _ in range(3))
    data = os.urandom(message_bytes)

    def stored(usage: KeyUsage, key: bytes, algorithm: Algorithm | None = None) -> str:
        return vault.import_components(usage, [key], algorithm=algorithm, allow_weak=True).block

    tpk_block, zpk_block = stored(KeyUsage.TPK, tpk), stored(KeyUsage.ZPK, zpk)
    mak_block = stored(KeyUsage.MAK, mak)
    aes_block = stored(KeyUsage.MAK, mak, Algorithm.AES)
    tmk_block = vault.generate_key(KeyUsage.TMK, 16).block
    sealed = ciphers.tdes_ecb_encrypt(tpk, pin_block.encode_format0("123456", PAN))

    def psec_translate() -> bytes:
        clear = psec.des.decrypt_tdes_ecb(tpk, sealed)
        pin = psec.pinblock.decode_pinblock_iso_0(clear, PAN)
        return psec.des.encrypt_tdes_ecb(zpk, psec.pinblock.encode_pinblock_iso_0(pin, PAN))

    their_tpk, their_zpk = DES3.new(tpk, DES3.MODE_ECB), DES3.new(zpk, DES3.MODE_ECB)
    pan_number = pin_block.pan_part(PAN)

    def pycryptodome_translate() -> bytes:
        clear = their_tpk.decrypt(sealed)
        if not pin_block.format0_is_valid(clear, pan_number):
            raise AssertionError
        return bytes(their_zpk.encrypt(clear))

    their_mak = DES3.new(mak, DES3.MODE_ECB)

    def fold() -> bytes:
        value = 0
        padded = data + bytes(-len(data) % 8)
        for start in range(0, len(padded), 8):
            value ^= int.from_bytes(padded[start : start + 8], "big")
        return b"%016X" % value

    def unionpay(encrypt: Callable[[bytes], bytes]) -> bytes:
        text = fold()
        middle = int.from_bytes(encrypt(text[:8]), "big") ^ int.from_bytes(text[8:], "big")
        return encrypt(middle.to_bytes(8, "big")).hex().upper()[:8].encode()

    def pycryptodome_x9_19() -> bytes:
        padded = data + bytes(-len(data) % 8)
        chained = DES.new(mak[:8], DES.MODE_CBC, bytes(8)).encrypt(padded[:-8])[-8:]
        last = int.from_bytes(chained, "big") ^ int.from_bytes(padded[-8:], "big")
        return bytes(their_mak.encrypt(last.to_bytes(8, "big")))

    pans = LocalPans(
        TEST_LMK,
        {1: vault.generate_key(KeyUsage.DATA, 32).block},
        1,
        vault.generate_key(KeyUsage.TOKEN, 32).block,
    )
    cipher = pans.protect(PAN, "3012", 1, COLUMN)
    content = (PAN, "000000", "000000001234", "156", None)

    return [
        (
            "PIN translate, format 0",
            {
                "vault": lambda: vault.translate_pin(sealed, tpk_block, zpk_block, PAN),
                "psec": psec_translate,
                "pycryptodome": pycryptodome_translate,
            },
            True,
        ),
        (
            "MAC unionpay-ecb",
            {
                "vault": lambda: vault.mac(mak_block, "unionpay-ecb", data),
                "psec": lambda: unionpay(lambda block: psec.des.encrypt_tdes_ecb(mak, block)),
                "pycryptodome": lambda: unionpay(their_mak.encrypt),
            },
            True,
        ),
        (
            "MAC x9.19-binary",
            {
                "vault": lambda: vault.mac(mak_block, "x9.19-binary", data),
                "psec": lambda: psec.mac.generate_retail_mac(mak[:8], mak[8:], data, 1),
                "pycryptodome": pycryptodome_x9_19,
            },
            True,
        ),
        (
            "MAC x9.9-binary, Triple DES",
            {
                "vault": lambda: vault.mac(mak_block, "x9.9-binary", data),
                "psec": lambda: psec.mac.generate_cbc_mac(mak, data, 1),
                "pycryptodome": lambda: DES3.new(mak, DES3.MODE_CBC, bytes(8)).encrypt(
                    data + bytes(-len(data) % 8)
                )[-8:],
            },
            True,
        ),
        (
            "MAC cmac",
            {
                "vault": lambda: vault.mac(aes_block, "cmac", data),
                "pycryptodome": lambda: CMAC.new(mak, data, AES).digest()[:8],
            },
            True,
        ),
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
            start = time.perf_counter_ns()
            for _ in range(CALLS):
                call()
            times[contender].append((time.perf_counter_ns() - start) / CALLS / 1000)
    return {contender: statistics.median(values) for contender, values in times.items()}


def machine() -> str:
    """Processor, cores, interpreter."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def main() -> None:
    parser = argparse.ArgumentParser(description="what the vault's operations cost")
    parser.add_argument("--json", action="store_true", help="figures as one JSON object")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--bytes", type=int, default=267, help="length of the MACed message")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # psec makes single DES in a way `cryptography` deprecates
    figures = {case[0]: measure(case, arguments.rounds) for case in cases(arguments.bytes)}
    command = f"python -m benchmarks.crypto {' '.join(sys.argv[1:])}".rstrip()
    if arguments.json:
        report = {
            "command": command,
            "machine": machine(),
            "message_bytes": arguments.bytes,
            "median_us": figures,
        }
        print(json.dumps(report))
        return
    print(f"{command}\n{machine()}; MAC over {arguments.bytes} bytes; median µs a call\n")
    print(f"{'operation':<30}{'vault':>9}{'psec':>9}{'pycryptodome':>14}   psec/vault")
    for name, row in figures.items():
        cells = [
            f"{row[who]:.2f}" if who in row else "-" for who in ("vault", "psec", "pycryptodome")
        ]
        ratio = f"{row['psec'] / row['vault']:.1f}" if "psec" in row else "-"
        print(f"{name:<30}{cells[0]:>9}{cells[1]:>9}{cells[2]:>14}   {ratio:>10}")


if __name__ == "__main__":
    main()
