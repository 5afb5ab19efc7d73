"""The MAC profiles a terminal or a link can name: algorithm, key lengths, padding, coding of DE 64.

A terminal's profile is one row of this table; which of the row's key lengths it has is a setting of
the terminal. `render()` prints the table as the documentation shows it.
"""

from collections.abc import Collection, Mapping
from enum import Enum
from typing import Final

import msgspec

from hsm.keys import Algorithm


class MacAlgorithm(Enum):
    """How the result is made, of which DE 64 carries the first 4 or 8 bytes."""

    UNIONPAY_ECB = "unionpay-ecb"  # XOR fold, hex expansion, two encryptions
    UNIONPAY_ECB_SM4 = "unionpay-ecb-sm4"  # the same shape on blocks of 16 bytes
    X9_9 = "x9.9"  # ISO 9797-1 algorithm 1: CBC; with a longer key every block is Triple DES
    X9_19 = "x9.19"  # ISO 9797-1 algorithm 3: single DES CBC, Triple DES on the last block
    SM4_CBC = "sm4-cbc"  # ISO 9797-1 algorithm 1 over SM4
    AES_CMAC = "aes-cmac"  # RFC 4493
    TDES_CMAC = "tdes-cmac"  # NIST SP 800-38B
    HMAC_SHA256 = "hmac-sha256"  # RFC 2104
    HMAC_SHA384 = "hmac-sha384"
    HMAC_SHA512 = "hmac-sha512"
    HMAC_SM3 = "hmac-sm3"
    NONE = "none"


_DES: Final = frozenset({Algorithm.DES, Algorithm.TDES})
_AES: Final = frozenset({Algorithm.AES})
_SM4: Final = frozenset({Algorithm.SM4})
_HMAC: Final = frozenset({Algorithm.HMAC})

_KEY_ALGORITHMS: Final[dict[MacAlgorithm, frozenset[Algorithm]]] = {
    MacAlgorithm.UNIONPAY_ECB: _DES,
    MacAlgorithm.UNIONPAY_ECB_SM4: _SM4,
    MacAlgorithm.X9_9: _DES,
    MacAlgorithm.X9_19: _DES,
    MacAlgorithm.SM4_CBC: _SM4,
    MacAlgorithm.AES_CMAC: _AES,
    MacAlgorithm.TDES_CMAC: _DES,
    MacAlgorithm.HMAC_SHA256: _HMAC,
    MacAlgorithm.HMAC_SHA384: _HMAC,
    MacAlgorithm.HMAC_SHA512: _HMAC,
    MacAlgorithm.HMAC_SM3: _HMAC,
    MacAlgorithm.NONE: frozenset(Algorithm),
}


class MacProfile(msgspec.Struct, frozen=True):
    """One row. `coding`: `hex8` first 8 upper-case hex characters, `raw8` first 8 bytes, `none`."""

    name: str
    algorithm: MacAlgorithm
    mak_bytes: tuple[int, ...]  # lengths of key it works with
    padding: int  # ISO 9797-1 padding method; 0 where the algorithm has its own
    coding: str
    source: str

    @property
    def key_algorithms(self) -> frozenset[Algorithm]:
        """What its keys are keys of."""
        return _KEY_ALGORITHMS[self.algorithm]


_HMAC_BYTES: Final = (16, 20, 24, 32, 48, 64)

_ROWS: Final = (
    # name                    algorithm                      MAK           pad coding  source
    ("unionpay-ecb",          MacAlgorithm.UNIONPAY_ECB,     (8, 16),      1, "hex8", "Q/CUP 009.1, as terminals do it"),
    ("unionpay-ecb-binary",   MacAlgorithm.UNIONPAY_ECB,     (8, 16),      1, "raw8", "observed at a few hosts"),
    ("unionpay-ecb-sm4",      MacAlgorithm.UNIONPAY_ECB_SM4, (16,),        1, "hex8", "by analogy [unverified]"),
    ("unionpay-ecb-sm4-binary", MacAlgorithm.UNIONPAY_ECB_SM4, (16,),      1, "raw8", "by analogy [unverified]"),
    ("x9.9",                  MacAlgorithm.X9_9,             (8, 16),      1, "hex8", "ANSI X9.9, FIPS 113"),
    ("x9.9-binary",           MacAlgorithm.X9_9,             (8, 16),      1, "raw8", "ANSI X9.9, FIPS 113"),
    ("x9.9-pad2",             MacAlgorithm.X9_9,             (8, 16),      2, "hex8", "ISO 9797-1 algorithm 1"),
    ("x9.9-pad2-binary",      MacAlgorithm.X9_9,             (8, 16),      2, "raw8", "ISO 9797-1 algorithm 1"),
    ("x9.19",                 MacAlgorithm.X9_19,            (16,),        1, "hex8", "ANSI X9.19"),
    ("x9.19-binary",          MacAlgorithm.X9_19,            (16,),        1, "raw8", "ANSI X9.19"),
    ("x9.19-pad2",            MacAlgorithm.X9_19,            (16,),        2, "hex8", "ISO 9797-1 algorithm 3"),
    ("x9.19-pad2-binary",     MacAlgorithm.X9_19,            (16,),        2, "raw8", "ISO 9797-1 algorithm 3"),
    ("tdes-cbc",              MacAlgorithm.X9_9,             (16, 24),     1, "hex8", "ISO 9797-1 algorithm 1, Triple DES"),
    ("tdes-cbc-binary",       MacAlgorithm.X9_9,             (16, 24),     1, "raw8", "ISO 9797-1 algorithm 1, Triple DES"),
    ("sm4-cbc",               MacAlgorithm.SM4_CBC,          (16,),        1, "hex8", "ISO 9797-1 algorithm 1, SM4"),
    ("sm4-cbc-binary",        MacAlgorithm.SM4_CBC,          (16,),        1, "raw8", "ISO 9797-1 algorithm 1, SM4"),
    ("cmac",                  MacAlgorithm.AES_CMAC,         (16, 24, 32), 0, "raw8", "NIST SP 800-38B"),
    ("cmac-tdes",             MacAlgorithm.TDES_CMAC,        (16, 24),     0, "raw8", "NIST SP 800-38B"),
    ("hmac-sha256",           MacAlgorithm.HMAC_SHA256,      _HMAC_BYTES,  0, "raw8", "RFC 2104, FIPS 198-1"),
    ("hmac-sha384",           MacAlgorithm.HMAC_SHA384,      _HMAC_BYTES,  0, "raw8", "RFC 2104, FIPS 198-1"),
    ("hmac-sha512",           MacAlgorithm.HMAC_SHA512,      _HMAC_BYTES,  0, "raw8", "RFC 2104, FIPS 198-1"),
    ("hmac-sm3",              MacAlgorithm.HMAC_SM3,         _HMAC_BYTES,  0, "raw8", "RFC 2104 over GB/T 32905"),
    ("off",                   MacAlgorithm.NONE,             (),           0, "none", "no DE 64 either way"),
)  # fmt: skip

PROFILES: Final[dict[str, MacProfile]] = {row[0]: MacProfile(*row) for row in _ROWS}


def profiles_for(lengths: Mapping[Algorithm, Collection[int]]) -> tuple[str, ...]:
    """The names a key can have of which only these algorithms and lengths exist; `off` is one.

    >>> profiles_for({Algorithm.AES: (16,)})
    ('cmac', 'off')
    """
    return tuple(
        profile.name
        for profile in PROFILES.values()
        if profile.algorithm is MacAlgorithm.NONE
        or any(
            length in profile.mak_bytes
            for algorithm in profile.key_algorithms
            for length in lengths.get(algorithm, ())
        )
    )


def render() -> str:
    """The table as text, one profile a line.

    >>> print(render().splitlines()[1])
    unionpay-ecb             unionpay-ecb      8,16               1        hex8   Q/CUP 009.1, as terminals do it
    """
    lines = [f"{'profile':<24} {'algorithm':<17} {'MAK':<18} {'padding':<8} {'DE 64':<6} source"]
    for profile in PROFILES.values():
        lengths = ",".join(map(str, profile.mak_bytes)) or "-"
        lines.append(
            f"{profile.name:<24} {profile.algorithm.value:<17} {lengths:<18} "
            f"{profile.padding or '-':<8} {profile.coding:<6} {profile.source}"
        )
    return "\n".join(lines)
