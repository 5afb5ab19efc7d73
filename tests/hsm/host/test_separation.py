"""Goal: no host command takes a key that is for something else, in either form.

Method: every working command of `examples.py`; each key in it is replaced by the same clear key as every
other type of the variant scheme, or as a block of every other usage; none may end with 00.
"""

import re

import pytest

from hsm.host.commands import COMMANDS
from hsm.keys import USAGES, Algorithm, KeyUsage
from hsm.variant import KEY_TYPES
from tests.hsm.host.examples import (
    AES_KEY,
    KEY,
    OTHER,
    TMK,
    ZMK,
    check,
    examples,
    fuzzed_host,
    in_block,
    text,
)

KEYS = (ZMK, TMK, KEY, OTHER)
# Types that a field takes alike: two names of one usage.
ALIKE = ({"002", "70D"}, {"002", "80D"}, {"009", "609", "809"})


def kinds_of(command: bytes) -> dict[str, tuple[bytes, str]]:
    """The variant keys in a command: text -> clear key and type."""
    known = {text(clear, code): (clear, code) for clear in KEYS for code in KEY_TYPES}
    return {shown: found for shown, found in known.items() if shown.encode() in command}


def blocks_of(command: bytes) -> dict[str, tuple[bytes, KeyUsage, Algorithm]]:
    known = {}
    for clear, algorithm in (*((key, Algorithm.TDES) for key in KEYS), (AES_KEY, Algorithm.AES)):
        for usage, row in USAGES.items():
            if len(clear) in row.lengths.get(algorithm, ()):
                known[in_block(usage, clear, algorithm)] = (clear, usage, algorithm)
    return {shown: found for shown, found in known.items() if shown.encode() in command}


def carried(command: bytes) -> str:
    """The keys of which a command for every type (FFF) takes any usage: what BU, BW and A8 are about."""
    place = {b"BU": 0, b"BW": 0, b"A8": 1}.get(command[:2])
    return (
        ""
        if place is None
        else "S" + re.split(r"SD(?=\d{4})", command.decode("latin-1"))[1 + place]
    )


@pytest.mark.parametrize("code", COMMANDS)
def test_a_key_of_another_type_is_refused(code: str) -> None:
    for command in examples()[code]:
        for shown, (clear, key_type) in kinds_of(command).items():
            for other in KEY_TYPES:
                if other == key_type or any({other, key_type} <= alike for alike in ALIKE):
                    continue
                wrong = command.replace(shown.encode(), text(clear, other).encode())
                assert check(wrong) in ("10", "11"), (command, other)


@pytest.mark.parametrize("code", COMMANDS)
def test_a_block_of_another_usage_is_refused(code: str) -> None:
    for command in examples()[code]:
        for shown, (clear, usage, algorithm) in blocks_of(command).items():
            for other, row in USAGES.items():
                if len(clear) not in row.lengths.get(algorithm, ()):
                    continue
                if USAGES[other].operations & USAGES[usage].operations:
                    continue  # a MAC key of a terminal and one of a zone; both make MACs
                wrong = command.replace(shown.encode(), in_block(other, clear, algorithm).encode())
                found = check(wrong)
                if found == "00" and carried(command)[1:].startswith(shown[2:]):
                    assert row.exportability == "S" or code != "A8"
                    continue
                if other is KeyUsage.BDK and code in ("M0", "M2", "M4"):
                    assert found in ("15", "80")  # it is taken, and then needs a KSN
                    continue
                assert found in ("A6", "AA"), (command, other)


def test_every_pairing_was_tried() -> None:
    tried = {code for code in COMMANDS for command in examples()[code] if kinds_of(command)}
    assert {"A0", "A6", "A8", "BU", "BW", "CA", "M6", "M0", "GW", "HC", "IA"} <= tried
    blocks = {code for code in COMMANDS for command in examples()[code] if blocks_of(command)}
    assert {"A0", "A6", "A8", "BU", "M6", "M0", "HA", "IA", "GC"} <= blocks


def test_a_block_that_may_do_nothing_does_nothing() -> None:
    host = fuzzed_host()
    for usage in (KeyUsage.DATA, KeyUsage.TOKEN):
        row = USAGES[usage]
        (algorithm,) = row.tr31_usage
        made = "S" + host.vault.keys.wrap(usage, algorithm, bytes(range(32))).block
        for head, tail in (("M00011FFF", "0020" + "0" * 32), ("M601161FFF", "00020A")):
            assert check((head + made + tail).encode()) == "A6"
        assert check(f"A8FFF{in_block(KeyUsage.ZMK, ZMK)}{made}R".encode()) in ("AA", "27")
