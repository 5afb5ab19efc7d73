"""A key as commands that move keys see it: under the LMK in one of two forms, or under another key.

Under the LMK a key is text of the variant scheme, told apart by a key type code, or `S` and a key block,
told apart by its header; key type FFF means the latter. One command works with one form: mixed ones
are refused with A1. Under a ZMK or TMK a key is text of the variant schemes, or `R` or `S` and a TR-31
block. What may be carried where: by `hsm.variant.KEY_TYPES` in the variant form, as devices have it, and by
`hsm.keys.USAGES` for key blocks. A key of the block form never leaves as bare ECB.
"""

from typing import Final

import msgspec

from hsm import key_block, key_block_rules
from hsm.des_keys import des_key_fault, with_odd_parity
from hsm.errors import MasqueradingKeyError
from hsm.host import vault as uses
from hsm.host.codes import HostError
from hsm.host.fields import Fields
from hsm.host.vault import HostVault, KeyUse
from hsm.keys import USAGES, Algorithm, KeyUsage, Operation, operations_of
from hsm.local import strength_bits
from hsm.variant import KEY_TYPES, KeyType, decrypt_under, encrypt_under
from hsm.vault import OpenKey, algorithm_of, check_strength, check_value

BLOCK: Final = "FFF"  # key type code of everything in a key block
BLOCK_SCHEMES: Final = ("S", "R")
SCHEME_BYTES: Final = {"Z": 8, "U": 16, "X": 16, "T": 24, "Y": 24}

_U: Final = KeyUsage

# Key type -> the usages it stands for; the lengths are those of the first. Types that nothing here uses
# (WWK, ZTK, CVC3, TKR) are left out: no command makes or moves them.
TYPE_USAGES: Final[dict[str, tuple[KeyUsage, ...]]] = {
    "000": (_U.ZMK,),
    "001": (_U.ZPK,),
    "002": (_U.TPK, _U.TMK, _U.PVK_IBM, _U.PVK_VISA),
    "302": (_U.IK,),
    "402": (_U.CVK,),
    "003": (_U.MAK,),
    "008": (_U.ZAK,),
    "009": (_U.BDK,),
    "609": (_U.BDK,),
    "809": (_U.BDK,),
    "109": (_U.MK_AC,),
    "209": (_U.MK_SMI,),
    "309": (_U.MK_SMC,),
    "409": (_U.MK_DAC,),
    "509": (_U.MK_DN,),
    "00A": (_U.ZEK,),
    "00B": (_U.DEK,),
    "30B": (_U.TDK,),
    "70D": (_U.TPK,),
    "80D": (_U.TMK,),
}  # fmt: skip

# Usages that key blocks of the devices' own write with digits [unverified, but 72 is observed].
_DIGIT_USAGES: Final = {
    "21": _U.DEK, "22": _U.ZEK, "23": _U.TDK, "51": _U.TMK, "52": _U.ZMK, "71": _U.TPK, "72": _U.ZPK,
}  # fmt: skip
# Of the usages that share a TR-31 code, a key that goes under no TMK is first one of these.
_ZONE_FIRST: Final = (_U.ZMK, _U.ZPK, _U.ZAK, _U.ZEK)

_ALGORITHMS: Final = {
    "D1": (Algorithm.DES, 8), "T2": (Algorithm.TDES, 16), "T3": (Algorithm.TDES, 24),
    "A1": (Algorithm.AES, 16), "A2": (Algorithm.AES, 24), "A3": (Algorithm.AES, 32),
}  # fmt: skip
# An element of a header that contradicts the others -> code
_FAULTS: Final = {
    "usage": "A6", "algorithm": "A7", "mode": "A8", "key_version": "A9", "context": "B8", "optional": "AC",
}  # fmt: skip
_DES: Final = frozenset({Algorithm.DES, Algorithm.TDES})


class Attributes(msgspec.Struct, frozen=True):
    """What a command asks of a key block's header."""

    usage: str
    algorithm: tuple[Algorithm, int] | None  # and bytes of key
    mode: str
    exportability: str
    label: KeyUsage | None  # optional block LB, which names one usage of several


def key_type(code: str) -> KeyType:
    """The row of a key type that is moved here; 04 for any other."""
    if code not in TYPE_USAGES:
        raise HostError("04")
    return KEY_TYPES[code]


def same_form(code: str, *texts: str) -> None:
    """A1 unless every text has the form that the key type says: `S` and a block, or the variant scheme.

    A text may be a key or only the letter of a scheme.
    """
    for text in texts:
        if (text[:1] in BLOCK_SCHEMES) is not (code == BLOCK):
            raise HostError("A1")


# -- fields ------------------------------------------------------------------------------------


def read_attributes(fields: Fields, *, with_algorithm: bool) -> Attributes | None:
    """`#`, usage 2, algorithm 2 (where a key is made), mode of use 1, version 2, exportability 1, count 2,
    optional blocks; None where no `#` stands. One optional block is known: LB, with a usage of ours.
    """
    if not fields.skip_if("#"):
        return None
    usage = fields.text(2)
    algorithm = None
    if with_algorithm:
        algorithm = _ALGORITHMS.get(fields.text(2))
        if algorithm is None:
            raise HostError("A7")
    mode = fields.text(1)
    if fields.text(2) != "00":
        raise HostError("A9")
    exportability = fields.choice("ENS", "AA")
    count = fields.number(2, "AB")
    if count > 1:
        raise HostError("AB")
    return Attributes(usage, algorithm, mode, exportability, read_label(fields) if count else None)


def read_label(fields: Fields) -> KeyUsage:
    identifier, length = fields.text(2), fields.hex_number(2)
    if identifier != "LB" or length <= 4:
        raise HostError("AC")
    try:
        return KeyUsage(fields.text(length - 4))
    except ValueError:
        raise HostError("AC") from None


def read_carrier(fields: Fields) -> tuple[KeyUse, str]:
    """`;` and 0 (ZMK) or 1 (TMK), then the key; older clients send a ZMK without these two."""
    use = uses.ZMK_OUT
    if fields.skip_if(";") and fields.choice("01") == "1":
        use = uses.TMK_OUT
    return use, fields.key(32)


# -- under the LMK ----------------------------------------------------------------------------


def open_key(vault: HostVault, text: str, code: str, parity: str = "10") -> OpenKey:
    """A key of this type under the LMK, or of any usage for FFF."""
    same_form(code, text)
    if code == BLOCK:
        return vault.keys.unwrap(text[1:])
    usage = TYPE_USAGES[key_type(code).code][0]
    return vault.open_variant(text, KeyUse(usage, Operation.KEY_WRAP, (code,), parity))


def under_lmk(vault: HostVault, opened: OpenKey, code: str, scheme: str) -> str:
    """The text of a key under the LMK. `scheme` "" is that of 16 bytes without a letter.

    The variant form has no mode of use: a key that came with a narrower one than its usage's is refused (A8).
    Nor has it an exportability: whether the key may leave again is its type's matter.
    """
    same_form(code, scheme)
    if code == BLOCK:
        return (
            "S"
            + vault.keys.wrap(
                opened.usage,
                opened.algorithm,
                opened.key,
                mode=opened.mode,
                exportability=opened.exportability,
            ).block
        )
    if opened.mode != USAGES[opened.usage].mode:
        raise HostError("A8")
    return vault.variant.encrypt_key(opened.key, code, scheme)


def scheme_of(text: str) -> str:
    """The scheme letter of a key's text; "" for 16 bytes without one."""
    if text[0] in "STUXY":
        return text[0]
    return "Z" if len(text) == 16 else ""


def check_digits(opened: OpenKey, digits: int = 6) -> str:
    """The check value as these commands give it: 6 digits, or as many as the key's kind has."""
    return check_value(opened.algorithm, opened.key)[:digits]


def require_authorised(vault: HostVault, need: str) -> None:
    """By a column of the table of key types: 17 outside the authorised state, 29 for never."""
    if need == "never":
        raise HostError("29")
    if need == "authorised" and not vault.authorised:
        raise HostError("17")


# -- what a header asks ------------------------------------------------------------------------


def usage_of(
    code: str, algorithm: Algorithm, label: KeyUsage | None, carrier: OpenKey | None
) -> KeyUsage:
    """The usage that a TR-31 code means here: the one labelled, else one that this carrier carries.

    A6 where no usage has the code, A7 where those that have it are not for the algorithm.
    """
    if label is not None or code in _DIGIT_USAGES:
        found = [_DIGIT_USAGES[code] if label is None else label]
        if label is not None and code not in USAGES[label].accepts:
            raise HostError("A6")
    else:
        found = [usage for usage, row in USAGES.items() if code in row.accepts]
    if carrier is not None:
        found = [usage for usage in found if carrier.usage in USAGES[usage].carried_by]
    if not found:
        raise HostError("A6")
    found = [usage for usage in found if algorithm in USAGES[usage].tr31_usage]
    if not found:
        raise HostError("A7")
    if carrier is None or carrier.usage is KeyUsage.ZMK:
        found.sort(key=lambda usage: usage not in _ZONE_FIRST)
    return found[0]


def restricted(
    usage: KeyUsage, algorithm: Algorithm, key: bytes, mode: str, exportability: str
) -> OpenKey:
    """A key with no more rights than were asked and its usage has; A8 where a mode leaves it none."""
    row = USAGES[usage]
    left = operations_of(usage, mode)
    if not left:
        raise HostError("A8")
    return OpenKey(
        usage,
        algorithm,
        key,
        mode=row.mode if left == row.operations else mode,
        exportability=row.exportability if row.exportability == "N" else exportability,
    )


# -- under another key -------------------------------------------------------------------------


def under_carrier(
    vault: HostVault, carrier: OpenKey, opened: OpenKey, scheme: str, exportability: str = ""
) -> str:
    """The text of a key under a ZMK or TMK. 27: the carrier is weaker than the key, or of a wrong length."""
    if strength_bits(opened) > strength_bits(carrier):
        raise HostError("27")
    if scheme in BLOCK_SCHEMES:
        aes = carrier.algorithm is Algorithm.AES
        header = key_block.Header(
            version="D" if aes else "B",
            usage=USAGES[opened.usage].tr31_usage[opened.algorithm],
            algorithm=opened.algorithm.value,
            mode=opened.mode,
            exportability=exportability or opened.exportability,
        )
        pad_to = 32 if aes else 24
        return scheme + key_block.wrap(
            carrier.key, header, opened.key, vault.entropy, pad_to=pad_to
        )
    if opened.algorithm not in _DES or carrier.algorithm is not Algorithm.TDES:
        raise HostError("26")
    return encrypt_under(carrier.key, opened.key, scheme)


def from_carrier(
    vault: HostVault, carrier: OpenKey, text: str, usages: tuple[KeyUsage, ...]
) -> tuple[OpenKey, bool]:
    """A key that came under a ZMK or TMK, and whether its parity was right; it is odd afterwards.

    But an initial key of DUKPT has no parity: every bit of it counts, so it stays as it came.

    `usages`: what it may be, the first for a key without a header; none with one means whatever the
    header says. Weak keys are refused: 75, 11, 27; those stronger than their carrier, too: 27.
    """
    found, parity = opened_from_carrier(vault, carrier, text, usages)
    if strength_bits(found) > strength_bits(carrier):
        raise HostError("27")
    return found, parity


def opened_from_carrier(
    vault: HostVault, carrier: OpenKey, text: str, usages: tuple[KeyUsage, ...]
) -> tuple[OpenKey, bool]:
    if text[0] in BLOCK_SCHEMES:
        return from_block(vault, carrier, text[1:], usages), True
    if carrier.algorithm is not Algorithm.TDES:
        raise HostError("26")
    clear = decrypt_under(carrier.key, text.upper())
    key = clear if usages[0] is KeyUsage.IK else with_odd_parity(clear)
    algorithm = Algorithm.DES if len(key) == 8 else Algorithm.TDES
    refuse(vault, usages[0], algorithm, key)
    return OpenKey(usages[0], algorithm, key), key == clear


def from_block(
    vault: HostVault, carrier: OpenKey, block: str, usages: tuple[KeyUsage, ...]
) -> OpenKey:
    if block[:1] != ("D" if carrier.algorithm is Algorithm.AES else "B"):
        raise HostError("B8")
    header, key = key_block.unwrap(carrier.key, block)
    fault = key_block_rules.fault(header)
    if fault is not None:
        raise HostError(_FAULTS[fault.element])
    algorithm = algorithm_of(header.algorithm)
    if usages:
        usage = next((one for one in usages if header.usage in USAGES[one].accepts), None)
        if usage is None:
            raise HostError("A6")
        if algorithm not in USAGES[usage].tr31_usage:
            raise HostError("A7")
    else:
        usage = usage_of(header.usage, algorithm, None, carrier)
    if header.exportability not in ("E", "N", "S"):
        raise HostError("AA")
    refuse(vault, usage, algorithm, key)
    # E of a terminal's PIN key is the terminal's side of it: ours is the usage's own.
    mode = header.mode if operations_of(usage, header.mode) else USAGES[usage].mode
    return restricted(usage, algorithm, key, mode, header.exportability)


def refuse(vault: HostVault, usage: KeyUsage, algorithm: Algorithm, key: bytes) -> None:
    """27 for a length the usage does not have, 75 for a shorter key in disguise, 11 for a weak one."""
    check_length(usage, algorithm, key)
    if vault.allow_weak:
        return
    if algorithm in _DES:
        fault = des_key_fault(with_odd_parity(key) if usage is KeyUsage.IK else key)
        if fault is not None:
            raise HostError("75" if isinstance(fault, MasqueradingKeyError) else "11")
    else:
        check_strength(algorithm, key)


def check_length(usage: KeyUsage, algorithm: Algorithm, key: bytes) -> None:
    if len(key) not in USAGES[usage].lengths.get(algorithm, ()):
        raise HostError("27")


def open_carrier(vault: HostVault, use: KeyUse, text: str, code: str) -> OpenKey:
    """The ZMK or TMK of a command for keys of this type, in the same form."""
    same_form(code, text)
    return vault.key(text, use)


def require_carried(carrier: OpenKey, opened: OpenKey, code: str) -> None:
    """That a key may go under, or come under, a key of the carrier's usage.

    In blocks the usage's row says it (A6). In the variant form everything may go under a ZMK that the key
    type lets leave, and under a TMK what is a terminal's (29).
    """
    if code == BLOCK:
        if carrier.usage not in USAGES[opened.usage].carried_by:
            raise HostError("A6")
    elif carrier.usage is KeyUsage.TMK and not any(
        KeyUsage.TMK in USAGES[usage].carried_by for usage in TYPE_USAGES[code]
    ):
        raise HostError("29")
