"""The header of a key block (TR-31:2018, ANSI X9.143:2021 clause 6): sixteen characters and optional blocks.

    offset  width
    0       1     version: A, C variants of a DES key; B derived from it; D, E derived from an AES key
    1       4     length of the whole block, decimal
    5       2     usage          7   1   algorithm      8   1   mode of use
    9       2     key version: 00 unused; c and a digit, a component; else the version
    11      1     exportability: E under a trusted key block, N never, S also in other forms
    12      2     number of optional blocks, decimal
    14      1     key context: 0 as the wrapping key's, 1 stored, 2 exchanged (0 in TR-31:2018)
    15      1     reserved, 0
    16      …     optional blocks: id 2, length 2 (hex, of the whole optional block), data; a length of 00
                  is followed by 04 and the length in 4 hex digits (02 and 4 digits are read too: TR-31:2018
                  counts bytes where X9.143 counts digits)

What an optional block may hold stands in `OPTIONAL_BLOCKS`. Ids that begin with a digit are their users'
own; other unknown ids are refused, because they may restrict the key in a way that nobody here knows.
Which usage goes with which algorithm and mode is not asked here but in `hsm.key_block_rules`.
"""

import base64
import binascii
import calendar
import re
from collections.abc import Callable
from typing import Final

import msgspec

from hsm.errors import KeyBlockError

KEY_BLOCK_CHARACTERS_MAX: Final = 4096
OPTIONAL_BLOCKS_MAX: Final = 16

_SHORT_MAX: Final = 255  # characters of a whole optional block whose length fits two hex digits


class Header(msgspec.Struct, frozen=True):
    """Bytes 0 to 15 and the optional blocks but `PB`, whose random text is made by `key_block.wrap`."""

    version: str
    usage: str
    algorithm: str
    mode: str
    key_version: str = "00"
    exportability: str = "N"
    optional: tuple[tuple[str, str], ...] = ()
    context: str = "0"

    def option(self, identifier: str) -> str | None:
        """The data of the optional block with this id."""
        for found, data in self.optional:
            if found == identifier:
                return data
        return None


# -- reading and writing ---------------------------------------------------------------------


def parse_header(block: str) -> tuple[Header, int]:
    """The header without any key, and the offset at which the payload starts."""
    if not 16 <= len(block) <= KEY_BLOCK_CHARACTERS_MAX:
        raise KeyBlockError(f"a key block has 16 to {KEY_BLOCK_CHARACTERS_MAX} characters")
    if not (block.isascii() and block.isprintable()):
        raise KeyBlockError("a key block is printable ASCII")
    if not block[1:5].isdecimal() or int(block[1:5]) != len(block):
        raise KeyBlockError("the length in the header is not that of the block")
    if not block[12:14].isdecimal() or int(block[12:14]) > OPTIONAL_BLOCKS_MAX:
        raise KeyBlockError(f"a key block has at most {OPTIONAL_BLOCKS_MAX} optional blocks")
    if block[15] != "0":
        raise KeyBlockError("the reserved byte of the header is not 0")
    optional = []
    position, count = 16, int(block[12:14])
    for number in range(count):
        identifier, data, position = parse_optional(block, position)
        if identifier != "PB":
            optional.append((identifier, data))
        elif number != count - 1:
            raise KeyBlockError("optional block PB is not the last one")
    header = Header(
        version=block[0],
        usage=block[5:7],
        algorithm=block[7],
        mode=block[8],
        key_version=block[9:11],
        exportability=block[11],
        optional=tuple(optional),
        context=block[14],
    )
    check_form(header)
    return header, position


def parse_optional(block: str, position: int) -> tuple[str, str, int]:
    """Id and data of the optional block at `position`, and where the next one starts."""
    found = _OPTIONAL_START.match(block, position)
    if found is None:
        raise KeyBlockError("a malformed optional block")
    end = position + int(found["short"] or found["long"], 16)
    if not found.end() <= end <= len(block):
        raise KeyBlockError("the length of an optional block is wrong")
    return found["id"], block[found.end() : end], end


_OPTIONAL_START: Final = re.compile(
    r"(?P<id>[0-9A-Z]{2})(?:00(?:04|02)(?P<long>[0-9A-F]{4})|(?!00)(?P<short>[0-9A-F]{2}))"
)


def encode_header(
    header: Header, payload_characters: int, block_bytes: int, entropy: Callable[[int], bytes]
) -> str:
    """A header of good form as text, for a payload and MAC of so many characters.

    A padding block PB of random letters makes the optional blocks whole cipher blocks.
    """
    optional = "".join(encode_optional(identifier, data) for identifier, data in header.optional)
    count = len(header.optional)
    missing = -len(optional) % block_bytes
    if missing:
        if missing < 4:
            missing += block_bytes
        letters = "".join(chr(65 + byte % 26) for byte in entropy(missing - 4))
        optional += f"PB{missing:02X}{letters}"
        count += 1
    total = 16 + len(optional) + payload_characters
    if total > KEY_BLOCK_CHARACTERS_MAX or count > OPTIONAL_BLOCKS_MAX:
        raise KeyBlockError("the key block would be too long")
    return (
        f"{header.version}{total:04}{header.usage}{header.algorithm}{header.mode}"
        f"{header.key_version}{header.exportability}{count:02}{header.context}0{optional}"
    )


def encode_optional(identifier: str, data: str) -> str:
    """One optional block, with the long form of the length where the short one is too small."""
    if len(data) + 4 <= _SHORT_MAX:
        return f"{identifier}{len(data) + 4:02X}{data}"
    return f"{identifier}0004{len(data) + 10:04X}{data}"


# -- what may stand there ----------------------------------------------------------------------


def check_form(header: Header) -> None:
    """`KeyBlockError` unless every element and optional block has the form of its kind."""
    elements = (
        header.version,
        header.usage,
        header.algorithm,
        header.mode,
        header.key_version,
        header.exportability,
        header.context,
    )
    if _ELEMENTS.fullmatch(" ".join(elements)) is None:
        for (form, words), element in zip(_FORMS, elements, strict=True):
            if re.fullmatch(form, element) is None:
                raise KeyBlockError(f"{words} in the header")
    seen = set()
    for identifier, data in header.optional:
        if identifier in seen:
            raise KeyBlockError(f"optional block {identifier} stands twice")
        seen.add(identifier)
        row = OPTIONAL_BLOCKS.get(identifier)
        if row is None:
            if _OWN.fullmatch(identifier) is None:
                raise KeyBlockError("an optional block of unknown id")
            row = _OWN_ROW
        if not row.holds(data):
            raise KeyBlockError(f"optional block {identifier} ({row.name}) is malformed")
        if row.algorithms and header.algorithm not in row.algorithms:
            raise KeyBlockError(
                f"optional block {identifier} is not for keys of algorithm {header.algorithm}"
            )
    if (identity := header.option("BI")) and _BI_ALGORITHM[identity[:2]] != header.algorithm:
        raise KeyBlockError("optional block BI is that of another algorithm")


_FORMS: Final = (
    ("[A-E]", "a version that is not one of A, B, C, D, E"),
    ("[0-9A-Z]{2}", "a malformed usage"),
    ("[0-9A-Z]", "a malformed algorithm"),
    ("[0-9A-Z]", "a malformed mode of use"),
    ("[0-9A-Za-z]{2}", "a malformed key version"),
    ("[ENS]", "an exportability that is not one of E, N, S"),
    ("[012]", "a key context that is not one of 0, 1, 2"),
)
_ELEMENTS: Final = re.compile(" ".join(form for form, _ in _FORMS))  # all at once, for speed


class OptionalBlock(msgspec.Struct, frozen=True):
    """What one kind of optional block is, and what it holds."""

    name: str
    form: re.Pattern[str] | None
    check: Callable[[str], bool] | None = None
    algorithms: str = ""  # of the header it may stand in; empty: any

    def holds(self, data: str) -> bool:
        """Whether the data has this block's form."""
        return (self.form is None or self.form.fullmatch(data) is not None) and (
            self.check is None or self.check(data)
        )


def is_time(text: str) -> bool:
    """UTC as YYYYMMDDhhmmss or YYYY-MM-DDThh:mm:ss, perhaps with hundredths, Z; and a real day."""
    found = _TIME_PLAIN.fullmatch(text) or _TIME_MARKED.fullmatch(text)
    if found is None:
        return False
    year, month, day = (int(part) for part in found.groups())
    return year > 0 and day <= calendar.monthrange(year, month)[1]


_TIME_PLAIN: Final = re.compile(
    r"(\d{4})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?:[01]\d|2[0-3])[0-5]\d[0-5]\d(?:\d\d)?Z",
    re.ASCII,
)
_TIME_MARKED: Final = re.compile(
    r"(\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d\d)?Z",
    re.ASCII,
)


def is_certificate(text: str) -> bool:
    """Form 00 (X.509) or 01 (EMV), base64. Or 02, a chain: (form, length in 4 hex digits, base64), …"""
    if text[:2] != "02":
        return text[:2] in ("00", "01") and is_base64(text[2:])
    position = 2
    while position < len(text):
        found = _CHAINED.match(text, position)
        if found is None:
            return False
        position = found.end() + int(found[1], 16)
        if position > len(text) or not is_base64(text[found.end() : position]):
            return False
    return position > 2


_CHAINED: Final = re.compile(r"0[01]([0-9A-F]{4})")


def is_base64(text: str) -> bool:
    """Whether this is base64 of at least one byte, padded."""
    try:
        return bool(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return False


_CHECK_VALUE: Final = re.compile(r"00(?:[0-9A-F]{2}){2,3}|01(?:[0-9A-F]{2}){2,5}")
_PRINTABLE: Final = re.compile(r"[ -~]*")
_OWN: Final = re.compile(r"[0-9][0-9A-Z]")
_OWN_ROW: Final = OptionalBlock("proprietary", _PRINTABLE)
_BI_ALGORITHM: Final = {"00": "T", "01": "A"}

# X9.143:2021 table 7 and clause 6.3.6. Not here: PB, the padding, which is no part of a `Header`.
OPTIONAL_BLOCKS: Final = {
    "AL": OptionalBlock("asymmetric key life", re.compile("010[01]")),
    "BI": OptionalBlock(
        "base derivation key id", re.compile("00[0-9A-F]{10}|01[0-9A-F]{8}"), algorithms="TA"
    ),
    "CT": OptionalBlock("public key certificate", None, is_certificate),
    "DA": OptionalBlock(
        "derivations allowed", re.compile("01(?:[0-9A-Z]{2}[0-9A-Z][0-9A-Z][ENS]){1,49}")
    ),
    "FL": OptionalBlock("flags", _PRINTABLE),
    "HM": OptionalBlock("HMAC hash", re.compile("10|2[0-5]|3[0-3]|4[01]"), algorithms="H"),
    "IK": OptionalBlock("AES DUKPT initial key id", re.compile("[0-9A-F]{16}"), algorithms="A"),
    "KC": OptionalBlock("check value of the key", _CHECK_VALUE),
    "KP": OptionalBlock("check value of the protection key", _CHECK_VALUE),
    "KS": OptionalBlock("initial key serial number", re.compile("[0-9A-F]{16}|[0-9A-F]{20}")),
    "KV": OptionalBlock("key block values", re.compile("[0-9A-Za-z]{4}")),
    "LB": OptionalBlock("label", _PRINTABLE),
    "PK": OptionalBlock("check value of the exporting key", _CHECK_VALUE),
    "TC": OptionalBlock("time of creation", None, is_time),
    "TS": OptionalBlock("time stamp", None, is_time),
    "WP": OptionalBlock("wrapping pedigree", re.compile("00[0-3]")),
}
