"""Host commands as a client asks them: what an operation of the port is in bytes, and what came back.

Pure; `hsm/adapters/network.py` carries it. Keys are those of the variant scheme, which every device has;
keys in key blocks (`S`) serve where they are only used. Layouts as in `hsm/host/commands/`, whose sources
they share. A key as the port hands it out is its usage, a colon and the device's own text: the device knows
only a type, which PIK and TMK have in common.
"""

import re
from binascii import Error as HexError, hexlify, unhexlify
from typing import Final, NamedTuple

import msgspec

from hsm import capabilities, mac as macs
from hsm.errors import KeyBlockError, KeyUsageError, PinBlockError, VaultError, WeakKeyError
from hsm.host.codes import CODES
from hsm.keys import Algorithm, KeyUsage
from hsm.mac_profiles import MacAlgorithm, MacProfile
from hsm.pin_block import pan_part


class DeviceError(VaultError):
    """A device on a network gave no answer that can be used."""


class DeviceDownError(DeviceError):
    """No device is connected, or the one that was asked has gone."""


class DeviceTimeoutError(DeviceError):
    """It did not answer in time."""


class DeviceBusyError(DeviceError):
    """As many commands are under way as may be."""


class AnswerError(DeviceError):
    """It answered what it may not answer."""


class Ask(NamedTuple):
    """One command, without header and length."""

    command: str
    data: bytes
    repeatable: bool = True  # asking another device once more changes nothing

    def __repr__(self) -> str:
        return f"Ask({self.command}, {len(self.data)} bytes)"


# -- keys ----------------------------------------------------------------------------------------

TYPES: Final = {
    KeyUsage.ZMK: "000",
    KeyUsage.ZPK: "001",
    KeyUsage.TMK: "002",
    KeyUsage.TPK: "002",
    KeyUsage.MAK: "003",
    KeyUsage.ZAK: "008",
    KeyUsage.ZEK: "00A",
    KeyUsage.DEK: "00B",
    KeyUsage.TDK: "30B",
}
BLOCK_TYPE: Final = "FFF"  # of every key in a key block
LMK_SCHEMES: Final = {8: "Z", 16: "U", 24: "T"}  # bytes of key -> scheme under the LMK
ECB_SCHEMES: Final = {8: "Z", 16: "X", 24: "Y"}  # … and bare under another key
_LENGTH_FLAGS: Final = {16: "0", 33: "1", 32: "1", 49: "2"}  # characters of text -> flag of BU
_CHARACTERS: Final = {"Z": 16, "U": 33, "X": 33, "T": 49, "Y": 49}
_KEY_TEXT: Final = re.compile(
    r"[0-9A-F]{16}|[0-9A-F]{32}|[UX][0-9A-F]{32}|[TY][0-9A-F]{48}|S[ -~]+"
)
KEY_TEXT_MAX: Final = 1_024
CHECK_DIGITS: Final = 6  # of a check value as it is kept


class DeviceKey(NamedTuple):
    """A key of the port, taken apart."""

    usage: KeyUsage
    text: str

    @property
    def type(self) -> str:
        return BLOCK_TYPE if self.text[0] == "S" else TYPES[self.usage]

    def __repr__(self) -> str:
        return f"DeviceKey({self.usage.value})"


def key_of(block: str, *usages: KeyUsage) -> DeviceKey:
    """The device's key in what the port handed out. `KeyUsageError`: it is for something else.

    >>> key_of("ZPK:U1EF828AA8F6B80EB83E19FBC373F3A85").type
    '001'
    """
    name, colon, text = block.partition(":")
    usage = _NAMES.get(name)
    if not colon or usage is None or len(text) > KEY_TEXT_MAX or _KEY_TEXT.fullmatch(text) is None:
        raise KeyBlockError("not a key of a device on a network: move it, see docs/hsm.md")
    if usages and usage not in usages:
        raise KeyUsageError(f"a {usage.value} is no {' or '.join(one.value for one in usages)}")
    return DeviceKey(usage, text)


_NAMES: Final = {usage.value: usage for usage in TYPES}


def is_device_key(block: str) -> bool:
    """Whether a stored key is one of a device; a key block of the vault in the process is not."""
    return block.partition(":")[0] in _NAMES


def block_of(usage: KeyUsage, text: str) -> str:
    """What the port hands out for a device's key."""
    return f"{usage.value}:{text}"


def movable(block: str, *usages: KeyUsage) -> DeviceKey:
    """A key that takes part in making or moving others: keys in key blocks do that at the console."""
    key = key_of(block, *usages)
    if key.text[0] == "S":
        raise KeyUsageError("keys in key blocks are made and moved at the device's console")
    return key


def check_usage(usage: KeyUsage, algorithm: Algorithm | None) -> None:
    """`KeyUsageError` for a key that no device of this kind makes or takes."""
    if usage not in TYPES:
        raise KeyUsageError(f"a {usage.value} is not kept on a device: it is local")
    if algorithm not in (None, Algorithm.DES, Algorithm.TDES):
        raise KeyUsageError(capabilities.OTHER_KEYS)


# -- PIN blocks and MACs ---------------------------------------------------------------------------


def translate_pin(pin_block: bytes, source_key: str, destination_key: str, pan: str) -> Ask:
    """CA from a TPK, CC from a ZPK, format 01 (ISO 0) to 01; longest PIN 12."""
    source = key_of(source_key, KeyUsage.TPK, KeyUsage.ZPK)
    destination = key_of(destination_key, KeyUsage.ZPK)
    if len(pin_block) != 8:
        raise PinBlockError("a PIN block of this format has 8 bytes")
    text = f"{source.text}{destination.text}12{pin_block.hex().upper()}0101{pan_part(pan):012x}"
    return Ask("CA" if source.usage is KeyUsage.TPK else "CC", text.encode())


def read_translated(data: bytes) -> bytes:
    """Length of the PIN 2 · PIN block 16H · format 2."""
    if len(data) != 20 or data[18:] != b"01":
        raise AnswerError("the answer to a translation has another form")
    return unhex(data[2:18])


class MacPlan(msgspec.Struct, frozen=True):
    """How the device makes DE 64 of a profile."""

    algorithm: str  # of M6: 1, 3 or 6
    padding: int  # method of ISO 9797-1, done here; 0: the algorithm has its own
    folded: bool  # UnionPay: what it covers is folded here first
    hex8: bool  # DE 64 is the first 4 bytes as hex, else 8 bytes


def mac_plan(profile: MacProfile) -> MacPlan:
    """The plan of a profile, or `VaultError` where the device has none (`hsm.capabilities`)."""
    algorithm = capabilities.MAC_ALGORITHMS.get(profile.algorithm)
    if algorithm is None:
        raise VaultError(capabilities.fault_of_mac(profile) or "no MAC")
    folded = profile.algorithm is MacAlgorithm.UNIONPAY_ECB
    return MacPlan(algorithm, profile.padding, folded, profile.coding == "hex8")


def covered_by(plan: MacPlan, data: bytes) -> bytes:
    """What the device makes the MAC of, whole blocks. The UnionPay fold needs no key: its two encryptions
    of the 16 characters, E(E(left) xor right), are algorithm 1 over them."""
    if len(data) > macs.MAC_DATA_MAX:
        raise VaultError(f"a MAC covers at most {macs.MAC_DATA_MAX} bytes")
    if plan.folded:
        return fold(data)
    return macs.pad(data, plan.padding, 8) if plan.padding else data


def fold(data: bytes) -> bytes:
    """All 8-byte blocks XORed, as 16 upper-case hex characters.

    >>> fold(bytes.fromhex("0123456789ABCDEF" "FF"))
    b'FE23456789ABCDEF'
    """
    padded = data + bytes(-len(data) % 8)
    value = 0
    for at in range(0, len(padded), 8):
        value ^= int.from_bytes(padded[at : at + 8], "big")
    return b"%016X" % value


def generate_mac(key: str, plan: MacPlan, data: bytes) -> Ask:
    """M6: mode 0 (the only block) · input 0 (binary) · size (0: 4 bytes, 1: 8) · algorithm · padding 0 ·
    key type 3 · key · length 4H · data."""
    return Ask("M6", mac_fields(key, plan, covered_by(plan, data)))


def mac_fields(key: str, plan: MacPlan, covered: bytes) -> bytes:
    found = key_of(key, KeyUsage.MAK, KeyUsage.ZAK)
    size = "0" if plan.hex8 else "1"
    text = f"00{size}{plan.algorithm}0{found.type}{found.text}{len(covered):04X}"
    return text.encode() + covered


def read_mac(plan: MacPlan, data: bytes) -> bytes:
    """The bytes of DE 64 from an answer to M6: 8H or 16H."""
    if len(data) != (8 if plan.hex8 else 16):
        raise AnswerError("the answer to a MAC has another length")
    return hexlify(unhex(data)).upper() if plan.hex8 else unhex(data)


def verify_mac(key: str, plan: MacPlan, data: bytes, mac: bytes) -> Ask | None:
    """M8: as M6, then the MAC in hex. None: what came can not be a MAC, so the device is not asked."""
    if plan.hex8:
        if _HEX8.fullmatch(mac) is None:
            return None
    elif len(mac) != 8:
        return None
    text = mac if plan.hex8 else mac.hex().upper().encode()
    return Ask("M8", mac_fields(key, plan, covered_by(plan, data)) + text)


_HEX8: Final = re.compile(rb"[0-9A-F]{8}")


# -- making and moving keys ---------------------------------------------------------------------------


def generate_key(usage: KeyUsage, length: int) -> Ask:
    """A0, mode 0: key type 3 · scheme under the LMK 1."""
    return Ask("A0", f"0{TYPES[usage]}{scheme(LMK_SCHEMES, length)}".encode(), repeatable=False)


def generate_under_tmk(usage: KeyUsage, tmk: str, length: int) -> Ask:
    """HC for a PIK, HA for a MAK: TMK · `;` · scheme under the TMK · scheme under the LMK · check value type
    (0); A0, mode 1, for a TDK: key type 3 · scheme under the LMK · `;1` · TMK · scheme under the TMK."""
    carrier = movable(tmk, KeyUsage.TMK)
    sent, kept = scheme(ECB_SCHEMES, length), scheme(LMK_SCHEMES, length)
    if usage is KeyUsage.TDK:
        return Ask("A0", f"1{TYPES[usage]}{kept};1{carrier.text}{sent}".encode(), repeatable=False)
    command = {KeyUsage.TPK: "HC", KeyUsage.MAK: "HA"}[usage]
    return Ask(command, f"{carrier.text};{sent}{kept}0".encode(), repeatable=False)


def read_under_tmk(ask: Ask, length: int, data: bytes) -> tuple[str, bytes]:
    """(key under the LMK, cryptogram under the TMK). HD and HB give that of the TMK first, A1 last."""
    sent, kept = scheme(ECB_SCHEMES, length), scheme(LMK_SCHEMES, length)
    if ask.command == "A0":
        under_lmk, rest = read_key(data, kept)
        under_tmk, _ = read_key(rest, sent)
    else:
        under_tmk, rest = read_key(data, sent)
        under_lmk, _ = read_key(rest, kept)
    return under_lmk, unhexlify(under_tmk.lstrip("XY"))


def check_value(key: DeviceKey, *, whole: bool = False) -> Ask:
    """BU: FF · length flag 1 · key · `;` · key type 3 · `;00` · check value type (0: 16H, 1: 6H)."""
    flag = "F" if key.text[0] == "S" else _LENGTH_FLAGS[len(key.text)]
    return Ask("BU", f"FF{flag}{key.text};{key.type};00{0 if whole else 1}".encode())


def encrypted_zeros(key: str) -> Ask:
    """The first 4 bytes of a MAK over a block of zeros: what BU does not tell of a single-length key."""
    return generate_mac(key, _ZEROS, bytes(8))


_ZEROS: Final = MacPlan("1", 0, folded=False, hex8=True)


def read_check_value(data: bytes, digits: int) -> str:
    if len(data) < digits:
        raise AnswerError("a check value is shorter than was asked for")
    return unhex(data[:digits]).hex().upper()


def import_key(usage: KeyUsage, under: str, cryptogram: bytes | str) -> Ask:
    """A6: key type 3 · ZMK · key under it · scheme under the LMK 1.

    A TR-31 block hides how long its key is; double length is taken for granted.
    """
    carrier = movable(under, KeyUsage.ZMK)
    if isinstance(cryptogram, str):
        if not (
            cryptogram.isascii() and cryptogram.isprintable() and len(cryptogram) < KEY_TEXT_MAX
        ):
            raise KeyBlockError("a key block is printable ASCII")
        text, kept = f"R{cryptogram}", "U"
    else:
        letter, kept = scheme(ECB_SCHEMES, len(cryptogram)), scheme(LMK_SCHEMES, len(cryptogram))
        text = letter.replace("Z", "") + cryptogram.hex().upper()
    return Ask("A6", f"{TYPES[usage]}{carrier.text}{text}{kept}".encode(), repeatable=False)


def export_key(key: str, under: str, *, block: bool) -> Ask:
    """A8: key type 3 · ZMK · key · scheme under it 1 (X, Y or Z; R: TR-31)."""
    leaving = movable(key, KeyUsage.ZPK, KeyUsage.ZAK)
    carrier = movable(under, KeyUsage.ZMK)
    letter = "R" if block else {"U": "X", "X": "X", "T": "Y", "Y": "Y"}.get(leaving.text[0], "Z")
    text = f"{leaving.type}{carrier.text}{leaving.text}{letter}"
    return Ask("A8", text.encode(), repeatable=False)


def read_key(data: bytes, letter: str) -> tuple[str, bytes]:
    """A key in a scheme (R: to the end but the check value), and what follows it."""
    size = len(data) - 6 if letter == "R" else _CHARACTERS[letter]
    text = data[:size].decode("latin-1")
    whole = len(text) == size and text.isascii() and text.isprintable()
    if letter == "R":
        if not (whole and text[:1] == "R"):
            raise AnswerError("the answer has no key block")
    elif not whole or _KEY_TEXT.fullmatch(text) is None or text[0] != letter.replace("Z", text[0]):
        raise AnswerError("the answer has no key in the scheme that was asked for")
    return text, data[size:]


def scheme(schemes: dict[int, str], length: int) -> str:
    letter = schemes.get(length)
    if letter is None:
        raise VaultError(f"a DES key has 8, 16 or 24 bytes, not {length}")
    return letter


# -- the device itself ---------------------------------------------------------------------------------

DIAGNOSTICS: Final = Ask("NC", b"")
_LMK_CHECK_VALUE: Final = re.compile(rb"[0-9A-F]{16}")


def read_lmk(data: bytes) -> str:
    """Of the diagnostics: check value of the LMK 16H · firmware."""
    if _LMK_CHECK_VALUE.match(data) is None:
        raise AnswerError("the diagnostics begin with no check value of the LMK")
    return data[:16].decode()


# -- refusals ---------------------------------------------------------------------------------------

_KINDS: Final[dict[str, type[VaultError]]] = {
    "20": PinBlockError,  # the block holds no PIN: wrong key, wrong PAN, damaged
    "24": PinBlockError,  # … or one of 0 to 3 digits
    "10": KeyBlockError,  # it does not open under this LMK as a key of this type
    "11": KeyBlockError,
    "83": KeyBlockError,
    "84": KeyBlockError,
    "A4": KeyBlockError,
    "04": KeyUsageError,
    "26": KeyUsageError,
    "28": KeyUsageError,
    "29": KeyUsageError,
    "A1": KeyUsageError,
    "A6": KeyUsageError,
    "A8": KeyUsageError,
    "AA": KeyUsageError,
    "27": WeakKeyError,
    "75": WeakKeyError,
}


def refused(command: str, code: str) -> VaultError:
    """What the port raises for a code other than 00; its text names command and code, nothing else.

    >>> refused("CA", "20")
    PinBlockError('host command CA: 20 PIN block does not hold valid values')
    """
    said = CODES.get(code, ("an error of this device's own", ""))[0]
    printable = code if code.isascii() and code.isalnum() else "??"
    return _KINDS.get(code, VaultError)(f"host command {command}: {printable} {said}")


def unhex(data: bytes) -> bytes:
    try:
        return unhexlify(data)
    except (HexError, ValueError):
        raise AnswerError("the answer is not hex where it has to be") from None
