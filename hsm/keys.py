"""What keys are for: one purpose each, how it is written in a TR-31 header, and what it allows.

`USAGES` is the one place of key separation. A key's usage says which operations it may do; the mode of
use in its header (TR-31 byte 8) can only take away from them. Whoever works with a key, in process
(`hsm.local`) or for a host command (`hsm.host`), asks `hsm.vault.OpenKey.require` first.

A key leaves the vault only as a `KeyBlock`: a TR-31 block under the LMK with what an inventory
needs beside it. `repr` shows none of it but the usage and the check value.
"""

from enum import Enum
from typing import Final

import msgspec


class Algorithm(Enum):
    """TR-31 byte 7. X9.143 leaves the digits to their users: 4 is SM4 here, in our own blocks alone."""

    DES = "D"
    TDES = "T"
    AES = "A"
    HMAC = "H"
    SM4 = "4"


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
    ZEK = "ZEK"  # zone data key
    DEK = "DEK"  # data of the host's own
    BDK = "BDK"  # base derivation key of DUKPT
    IK = "IK"  # initial key of one DUKPT device
    PVK_IBM = "PVK-IBM"  # PIN verification, IBM 3624
    PVK_VISA = "PVK-VISA"  # PIN verification, Visa PVV
    CVK = "CVK"  # card verification values
    MK_AC = "MK-AC"  # EMV issuer master key: application cryptograms
    MK_SMI = "MK-SMI"  # … integrity of scripts
    MK_SMC = "MK-SMC"  # … confidentiality of scripts
    MK_DAC = "MK-DAC"  # … data authentication codes
    MK_DN = "MK-DN"  # … dynamic numbers
    HMAC = "HMAC"  # HMAC of others' data
    DATA = "DATA"  # AES-GCM of PANs at rest
    TOKEN = "TOKEN"  # HMAC of PANs and of requests' contents  # noqa: S105 - a name


class Operation(Enum):
    """What a key can be used for; the texts stand in errors."""

    PIN_DECRYPT = "open PIN blocks"
    PIN_ENCRYPT = "close PIN blocks"
    PIN_VERIFY_IBM = "verify PINs by IBM 3624"
    PIN_VERIFY_VISA = "verify PINs by PVV"
    MAC_GENERATE = "make MACs"
    MAC_VERIFY = "verify MACs"
    CARD_VALUE = "make card verification values"
    DATA_ENCRYPT = "encrypt data"
    DATA_DECRYPT = "decrypt data"
    KEY_WRAP = "carry keys out"
    KEY_UNWRAP = "carry keys in"
    DERIVE_DUKPT = "derive DUKPT keys"
    DERIVE_AC = "derive keys of application cryptograms"
    DERIVE_SMI = "derive keys of script MACs"
    DERIVE_SMC = "derive keys of script confidentiality"
    DERIVE_DAC = "derive data authentication codes"
    DERIVE_DN = "derive dynamic numbers"


_O = Operation

# TR-31 byte 8 -> what it leaves of a usage's operations. N, X and Y take nothing away.
MODE_OPERATIONS: Final[dict[str, frozenset[Operation]]] = {
    "B": frozenset(
        {_O.PIN_DECRYPT, _O.PIN_ENCRYPT, _O.DATA_ENCRYPT, _O.DATA_DECRYPT}
        | {_O.KEY_WRAP, _O.KEY_UNWRAP}
    ),
    "D": frozenset({_O.PIN_DECRYPT, _O.DATA_DECRYPT, _O.KEY_UNWRAP}),
    "E": frozenset({_O.PIN_ENCRYPT, _O.DATA_ENCRYPT, _O.KEY_WRAP}),
    "C": frozenset(
        {_O.MAC_GENERATE, _O.MAC_VERIFY, _O.CARD_VALUE, _O.PIN_VERIFY_IBM, _O.PIN_VERIFY_VISA}
    ),
    # a card value or PVV is verified by making it, so G and V can not be told apart inside
    "G": frozenset({_O.MAC_GENERATE, _O.CARD_VALUE, _O.PIN_VERIFY_IBM, _O.PIN_VERIFY_VISA}),
    "V": frozenset({_O.MAC_VERIFY, _O.CARD_VALUE, _O.PIN_VERIFY_IBM, _O.PIN_VERIFY_VISA}),
    "N": frozenset(Operation),
    "X": frozenset(Operation),
    "Y": frozenset(Operation),
}


class UsageRow(msgspec.Struct, frozen=True):
    """How one usage is written and what it may do."""

    tr31_usage: dict[Algorithm, str]  # header bytes 5-6, by algorithm; absent: not for this usage
    mode: str  # header byte 8 of a key made here
    exportability: str  # header byte 11: S may leave under another key, N never
    lengths: dict[Algorithm, tuple[int, ...]]  # bytes of key
    operations: frozenset[Operation]
    carried_by: frozenset[KeyUsage] = frozenset()  # keys it may be imported or sent under
    accepts: frozenset[str] = frozenset()  # TR-31 usages of a foreign block imported as this one
    accepts_modes: str = ""  # and its modes of use


Lengths = dict[Algorithm, tuple[int, ...]]

_D: Final = Algorithm.DES
_T: Final = Algorithm.TDES
_A: Final = Algorithm.AES
_H: Final = Algorithm.HMAC
_S: Final = Algorithm.SM4

_TDES: Final[Lengths] = {_T: (16, 24)}
_TDES_2: Final[Lengths] = {_T: (16,)}
_AES: Final[Lengths] = {_A: (16, 24, 32)}
_SM4: Final[Lengths] = {_S: (16,)}
_CIPHERS: Final[Lengths] = {**_TDES, **_AES, **_SM4}
_MACS: Final[Lengths] = {_T: (16,), **_AES, **_SM4}
_HMACS: Final[Lengths] = {_H: (16, 20, 24, 32, 48, 64)}

_CARRY: Final = frozenset({_O.KEY_WRAP, _O.KEY_UNWRAP})
_MAC: Final = frozenset({_O.MAC_GENERATE, _O.MAC_VERIFY})
_DATA: Final = frozenset({_O.DATA_ENCRYPT, _O.DATA_DECRYPT})
_PIN: Final = frozenset({_O.PIN_DECRYPT, _O.PIN_ENCRYPT})

_TMK: Final = frozenset({KeyUsage.TMK})
_ZMK: Final = frozenset({KeyUsage.ZMK})
_MAC_CODES: Final = frozenset({"M0", "M1", "M3", "M6"})


def _every(code: str, lengths: Lengths) -> dict[Algorithm, str]:
    return dict.fromkeys(lengths, code)


def _master(code: str, operation: Operation) -> UsageRow:
    """An EMV issuer master key."""
    return UsageRow(
        tr31_usage=_every(code, {**_TDES_2, **_SM4}),
        mode="X",
        exportability="S",
        lengths={**_TDES_2, **_SM4},
        operations=frozenset({operation}),
        carried_by=_ZMK,
        accepts=frozenset({code}),
        accepts_modes="XN",
    )


# Two usages of one TR-31 code (TMK and ZMK; TPK and ZPK; MAK and ZAK; TDK, ZEK and DEK) differ in the
# optional block LB, which the block's MAC covers and the vault compares.
# TR-31 has no code for the UnionPay fold: M1 stands on single and M3 on double-length DES MAC keys.
USAGES: Final[dict[KeyUsage, UsageRow]] = {
    KeyUsage.TMK: UsageRow(
        tr31_usage=_every("K0", _CIPHERS),
        mode="B",
        exportability="N",
        lengths=_CIPHERS,
        operations=_CARRY,
        carried_by=_ZMK | _TMK,
        accepts=frozenset({"K0"}),
        accepts_modes="BDEN",
    ),
    KeyUsage.ZMK: UsageRow(
        tr31_usage=_every("K0", _CIPHERS),
        mode="B",
        exportability="N",
        lengths=_CIPHERS,
        operations=_CARRY,
        carried_by=_ZMK,
        accepts=frozenset({"K0", "K1"}),
        accepts_modes="BDEN",
    ),
    KeyUsage.TPK: UsageRow(
        tr31_usage={_D: "P0", **_every("P0", _CIPHERS)},
        mode="D",
        exportability="N",
        lengths={_D: (8,), **_CIPHERS},  # 8: layout 001 alone
        operations=frozenset({_O.PIN_DECRYPT}),
        carried_by=_TMK,
        accepts=frozenset({"P0"}),
        accepts_modes="BDEN",
    ),
    KeyUsage.MAK: UsageRow(
        tr31_usage={_D: "M1", _T: "M3", _A: "M6", _S: "M6", _H: "M7"},
        mode="C",
        exportability="N",
        lengths={_D: (8,), **_MACS, **_HMACS},
        operations=_MAC,
        carried_by=_TMK,
        accepts=_MAC_CODES | {"M7"},
        accepts_modes="CGVN",
    ),
    KeyUsage.TDK: UsageRow(
        tr31_usage=_every("D0", _CIPHERS),
        mode="D",
        exportability="N",
        lengths=_CIPHERS,
        operations=frozenset({_O.DATA_DECRYPT}),
        carried_by=_TMK,
        accepts=frozenset({"D0"}),
        accepts_modes="BDEN",
    ),
    KeyUsage.ZPK: UsageRow(
        tr31_usage=_every("P0", _CIPHERS),
        mode="B",
        exportability="S",
        lengths=_CIPHERS,
        operations=_PIN,
        carried_by=_ZMK,
        accepts=frozenset({"P0"}),
        accepts_modes="BDEN",
    ),
    KeyUsage.ZAK: UsageRow(
        tr31_usage={_T: "M3", _A: "M6", _S: "M6"},
        mode="C",
        exportability="S",
        lengths=_MACS,
        operations=_MAC,
        carried_by=_ZMK,
        accepts=_MAC_CODES,
        accepts_modes="CGVN",
    ),
    KeyUsage.ZEK: UsageRow(
        tr31_usage=_every("D0", _CIPHERS),
        mode="B",
        exportability="S",
        lengths=_CIPHERS,
        operations=_DATA,
        carried_by=_ZMK,
        accepts=frozenset({"D0"}),
        accepts_modes="BDEN",
    ),
    KeyUsage.DEK: UsageRow(
        tr31_usage=_every("D0", _CIPHERS),
        mode="B",
        exportability="N",
        lengths=_CIPHERS,
        operations=_DATA,
        carried_by=_ZMK,
        accepts=frozenset({"D0"}),
        accepts_modes="BDEN",
    ),
    KeyUsage.BDK: UsageRow(
        tr31_usage=_every("B0", {**_TDES_2, **_AES}),
        mode="X",
        exportability="S",
        lengths={**_TDES_2, **_AES},
        operations=frozenset({_O.DERIVE_DUKPT}),
        carried_by=_ZMK,
        accepts=frozenset({"B0"}),
        accepts_modes="XN",
    ),
    KeyUsage.IK: UsageRow(
        tr31_usage=_every("B1", {**_TDES_2, **_AES}),
        mode="X",
        exportability="S",
        lengths={**_TDES_2, **_AES},
        operations=frozenset({_O.DERIVE_DUKPT}),
        carried_by=_ZMK | _TMK,
        accepts=frozenset({"B1"}),
        accepts_modes="XN",
    ),
    KeyUsage.PVK_IBM: UsageRow(
        tr31_usage=_every("V1", _TDES),
        mode="C",
        exportability="S",
        lengths=_TDES,
        operations=frozenset({_O.PIN_VERIFY_IBM}),
        carried_by=_ZMK,
        accepts=frozenset({"V0", "V1"}),
        accepts_modes="CGVN",
    ),
    KeyUsage.PVK_VISA: UsageRow(
        tr31_usage=_every("V2", _TDES_2),
        mode="C",
        exportability="S",
        lengths=_TDES_2,
        operations=frozenset({_O.PIN_VERIFY_VISA}),
        carried_by=_ZMK,
        accepts=frozenset({"V0", "V2"}),
        accepts_modes="CGVN",
    ),
    KeyUsage.CVK: UsageRow(
        tr31_usage=_every("C0", _TDES_2),
        mode="C",
        exportability="S",
        lengths=_TDES_2,
        operations=frozenset({_O.CARD_VALUE}),
        carried_by=_ZMK,
        accepts=frozenset({"C0"}),
        accepts_modes="CGVN",
    ),
    KeyUsage.MK_AC: _master("E0", _O.DERIVE_AC),
    KeyUsage.MK_SMI: _master("E2", _O.DERIVE_SMI),
    KeyUsage.MK_SMC: _master("E1", _O.DERIVE_SMC),
    KeyUsage.MK_DAC: _master("E3", _O.DERIVE_DAC),
    KeyUsage.MK_DN: _master("E4", _O.DERIVE_DN),
    KeyUsage.HMAC: UsageRow(
        tr31_usage=_every("M7", _HMACS),
        mode="C",
        exportability="S",
        lengths=_HMACS,
        operations=_MAC,
        carried_by=_ZMK,
        accepts=frozenset({"M7"}),
        accepts_modes="CGVN",
    ),
    # Kept apart from DEK and HMAC: they never come in, never leave, and no operation by name does
    # anything with them; `hsm.pans` alone opens them.
    KeyUsage.DATA: UsageRow(
        tr31_usage={_A: "D0"},
        mode="B",
        exportability="N",
        lengths={_A: (32,)},
        operations=frozenset(),
    ),
    KeyUsage.TOKEN: UsageRow(
        tr31_usage={_H: "M7"},
        mode="C",
        exportability="N",
        lengths={_H: (32,)},
        operations=frozenset(),
    ),
}


def operations_of(usage: KeyUsage, mode: str) -> frozenset[Operation]:
    """What a key of this usage may do under a mode of use; nothing under an unknown one."""
    return USAGES[usage].operations & MODE_OPERATIONS.get(mode, frozenset())


def render() -> str:
    """The table as the documentation shows it, one usage a line; SM4 is algorithm 4.

    >>> print(render().splitlines()[1])
    TMK       K0 B           N        TMK ZMK  carry keys in, carry keys out           T 16,24; A 16,24,32; 4 16
    """
    columns = ("usage", "TR-31", "leaves", "under", "may", "bytes of key")
    lines = [columns]
    for usage, row in USAGES.items():
        codes = ",".join(dict.fromkeys(row.tr31_usage.values()))
        sizes = "; ".join(
            f"{algorithm.value} {','.join(map(str, lengths))}"
            for algorithm, lengths in row.lengths.items()
        )
        under = " ".join(sorted(carrier.value for carrier in row.carried_by)) or "-"
        may = ", ".join(sorted(operation.value for operation in row.operations)) or "-"
        lines.append((usage.value, f"{codes} {row.mode}", row.exportability, under, may, sizes))
    return "\n".join("{:<9} {:<14} {:<8} {:<8} {:<39} {}".format(*line) for line in lines)


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
