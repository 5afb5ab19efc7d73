"""The MAC profiles a terminal or a link can name: algorithm, key lengths, padding, coding of DE 64.

A terminal's profile is one row of this table; which of the row's key lengths it has is a setting of
the terminal. `render()` prints the table as the documentation shows it.
"""

from enum import Enum
from typing import Final

import msgspec


class MacAlgorithm(Enum):
    """How the 8 (16 for CMAC) bytes of the result are made."""

    UNIONPAY_ECB = "unionpay-ecb"  # XOR fold, hex expansion, two encryptions
    X9_9 = "x9.9"  # ISO 9797-1 algorithm 1: CBC; with a 16-byte key every block is Triple DES
    X9_19 = "x9.19"  # ISO 9797-1 algorithm 3: single DES CBC, Triple DES on the last block
    AES_CMAC = "aes-cmac"  # RFC 4493, AES-128
    NONE = "none"


class MacProfile(msgspec.Struct, frozen=True):
    """One row. `coding`: `hex8` first 8 upper-case hex characters, `raw8` first 8 bytes, `none`."""

    name: str
    algorithm: MacAlgorithm
    mak_bytes: tuple[int, ...]  # lengths of key it works with
    padding: int  # ISO 9797-1 padding method; 0 where the algorithm has its own
    coding: str
    source: str


_ROWS: Final = (
    # name                 algorithm                  MAK      pad coding  source
    ("unionpay-ecb",        MacAlgorithm.UNIONPAY_ECB, (8, 16), 1, "hex8", "Q/CUP 009.1, as terminals do it"),
    ("unionpay-ecb-binary", MacAlgorithm.UNIONPAY_ECB, (8, 16), 1, "raw8", "observed at a few hosts"),
    ("x9.9",                MacAlgorithm.X9_9,         (8, 16), 1, "hex8", "ANSI X9.9, FIPS 113"),
    ("x9.9-binary",         MacAlgorithm.X9_9,         (8, 16), 1, "raw8", "ANSI X9.9, FIPS 113"),
    ("x9.19",               MacAlgorithm.X9_19,        (16,),   1, "hex8", "ANSI X9.19"),
    ("x9.19-binary",        MacAlgorithm.X9_19,        (16,),   1, "raw8", "ANSI X9.19"),
    ("cmac",                MacAlgorithm.AES_CMAC,     (16,),   0, "raw8", "NIST SP 800-38B"),
    ("off",                 MacAlgorithm.NONE,         (),      0, "none", "no DE 64 either way"),
)  # fmt: skip

PROFILES: Final[dict[str, MacProfile]] = {row[0]: MacProfile(*row) for row in _ROWS}


def render() -> str:
    """The table as text, one profile a line.

    >>> print(render().splitlines()[1])
    unionpay-ecb         unionpay-ecb  8,16   1        hex8    Q/CUP 009.1, as terminals do it
    """
    lines = [f"{'profile':<20} {'algorithm':<13} {'MAK':<6} {'padding':<8} {'DE 64':<7} source"]
    for profile in PROFILES.values():
        lengths = ",".join(map(str, profile.mak_bytes)) or "-"
        lines.append(
            f"{profile.name:<20} {profile.algorithm.value:<13} {lengths:<6} "
            f"{profile.padding or '-':<8} {profile.coding:<7} {profile.source}"
        )
    return "\n".join(lines)
