"""What keys are for: one purpose each, and how that purpose is written in a TR-31 header.

A key leaves the vault only as a `KeyBlock`: a TR-31 block under the LMK with what an inventory
needs beside it. `repr` shows none of it but the usage and the check value.
"""

from enum import Enum
from typing import Final

import msgspec


class Algorithm(Enum):
    """TR-31 byte 7."""

    DES = "D"
    TDES = "T"
    AES = "A"
    HMAC = "H"


class KeyUsage(Enum):
    """One purpose a key can have. `PIK` and `TAK` are other names of TPK and MAK."""

    TMK = "TMK"  # terminal master key: carries a terminal's working keys
    ZMK = "ZMK"  # zone master key: carries a link's keys
    TPK = "TPK"  # terminal PIN key: a PIN block from a terminal is opened with it
    PIK = TPK
    MAK = "MAK"  # terminal MAC key
    TAK = MAK
    TDK = "TDK"  # terminal data key: track encryption
    ZPK = "ZPK"  # zone PIN key
    ZAK = "ZAK"  # zone MAC key
    DATA = "DATA"  # AES-GCM of PANs at rest
    TOKEN = "TOKEN"  # HMAC of PANs and of requests' contents  # noqa: S105 - a name


class UsageRow(msgspec.Struct, frozen=True):
    """How one usage is written and what it may do."""

    tr31_usage: dict[Algorithm, str]  # header bytes 5-6, by algorithm; absent: not for this usage
    mode: str  # header byte 8
    exportability: str  # header byte 11: S may leave under another key, N never
    lengths: dict[Algorithm, tuple[int, ...]]  # bytes of key
    accepts: frozenset[str]  # TR-31 usages of a foreign block that may be imported as this one
    accepts_modes: str  # and its modes of use
    carried_by: frozenset[KeyUsage]  # keys it may be imported or sent under


_T: Final = Algorithm.TDES
_D: Final = Algorithm.DES
_A: Final = Algorithm.AES
_H: Final = Algorithm.HMAC

_KEK_LENGTHS: Final[dict[Algorithm, tuple[int, ...]]] = {_T: (16, 24), _A: (16, 24, 32)}
_PIN_LENGTHS: Final[dict[Algorithm, tuple[int, ...]]] = {_T: (16, 24), _A: (16, 24, 32)}

# Two usages of one TR-31 code (TMK and ZMK; TPK and ZPK; MAK and ZAK) differ in the optional block
# LB, which the block's MAC covers and the vault compares.
# TR-31 has no code for the UnionPay fold: M1 stands on single and M3 on double-length DES MAC keys.
USAGES: Final[dict[KeyUsage, UsageRow]] = {
    KeyUsage.TMK: UsageRow(
        tr31_usage={_T: "K0", _A: "K0"},
        mode="B",
        exportability="N",
        lengths=_KEK_LENGTHS,
        accepts=frozenset({"K0"}),
        accepts_modes="BDEN",
        carried_by=frozenset({KeyUsage.ZMK, KeyUsage.TMK}),
    ),
    KeyUsage.ZMK: UsageRow(
        tr31_usage={_T: "K0", _A: "K0"},
        mode="B",
        exportability="N",
        lengths=_KEK_LENGTHS,
        accepts=frozenset({"K0", "K1"}),
        accepts_modes="BDEN",
        carried_by=frozenset({KeyUsage.ZMK}),
    ),
    KeyUsage.TPK: UsageRow(
        tr31_usage={_D: "P0", _T: "P0", _A: "P0"},
        mode="D",
        exportability="N",
        lengths={_D: (8,), **_PIN_LENGTHS},  # 8: layout 001 alone
        accepts=frozenset({"P0"}),
        accepts_modes="BDEN",
        carried_by=frozenset({KeyUsage.TMK}),
    ),
    KeyUsage.MAK: UsageRow(
        tr31_usage={_D: "M1", _T: "M3", _A: "M6"},
        mode="C",
        exportability="N",
        lengths={_D: (8,), _T: (16,), _A: (16,)},
        accepts=frozenset({"M0", "M1", "M3", "M6"}),
        accepts_modes="CGVN",
        carried_by=frozenset({KeyUsage.TMK}),
    ),
    KeyUsage.TDK: UsageRow(
        tr31_usage={_T: "D0", _A: "D0"},
        mode="D",
        exportability="N",
        lengths={_T: (16, 24), _A: (16, 24, 32)},
        accepts=frozenset({"D0"}),
        accepts_modes="BDEN",
        carried_by=frozenset({KeyUsage.TMK}),
    ),
    KeyUsage.ZPK: UsageRow(
        tr31_usage={_T: "P0", _A: "P0"},
        mode="B",
        exportability="S",
        lengths=_PIN_LENGTHS,
        accepts=frozenset({"P0"}),
        accepts_modes="BDEN",
        carried_by=frozenset({KeyUsage.ZMK}),
    ),
    KeyUsage.ZAK: UsageRow(
        tr31_usage={_T: "M3", _A: "M6"},
        mode="C",
        exportability="S",
        lengths={_T: (16,), _A: (16,)},
        accepts=frozenset({"M0", "M1", "M3", "M6"}),
        accepts_modes="CGVN",
        carried_by=frozenset({KeyUsage.ZMK}),
    ),
    KeyUsage.DATA: UsageRow(
        tr31_usage={_A: "D0"},
        mode="B",
        exportability="N",
        lengths={_A: (32,)},
        accepts=frozenset(),
        accepts_modes="",
        carried_by=frozenset(),
    ),
    KeyUsage.TOKEN: UsageRow(
        tr31_usage={_H: "M7"},
        mode="C",
        exportability="N",
        lengths={_H: (32,)},
        accepts=frozenset(),
        accepts_modes="",
        carried_by=frozenset(),
    ),
}


class KeyBlock(msgspec.Struct, frozen=True):
    """A key as the vault hands it out and takes it back (rules §13): store all four.

    `block` is opaque to the caller, printable ASCII, at most `KEY_BLOCK_CHARACTERS_MAX`.
    `check_value` is upper-case hex: 6 digits for DES and Triple DES, 10 for AES and HMAC.
    """

    block: str
    usage: KeyUsage
    check_value: str
    lmk_id: str

    def __repr__(self) -> str:
        return f"KeyBlock({self.usage.value}, check_value={self.check_value}, lmk_id={self.lmk_id})"


class WorkingKeys(msgspec.Struct, frozen=True):
    """A terminal's new session keys: DE 62 for the wire, key blocks for the store.

    Check values are those of the wire, 8 upper-case hex digits.
    """

    layout: str  # DE 60.3: 001, 003 or 004
    de62: bytes
    pik: str
    pik_check_value: str
    mak: str
    mak_check_value: str
    tdk: str | None
    tdk_check_value: str | None
    lmk_id: str

    def __repr__(self) -> str:
        return (
            f"WorkingKeys({self.layout}, pik={self.pik_check_value}, mak={self.mak_check_value}, "
            f"tdk={self.tdk_check_value}, lmk_id={self.lmk_id})"
        )


class ExportedKey(msgspec.Struct, frozen=True):
    """A link key on its way to the other side, under their common ZMK."""

    key_block: str  # TR-31: version B under a Triple DES ZMK, D under AES
    ecb_hex: str  # the older form: ECB under the ZMK, upper-case hex
    check_value: str  # 6 hex digits, what follows `ecb_hex` in DE 48

    def __repr__(self) -> str:
        return f"ExportedKey(check_value={self.check_value})"
