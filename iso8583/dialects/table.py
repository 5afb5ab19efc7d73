"""What a dialect table is: one row per data element, orthogonal columns, validated when built.

| column   | says                                   | values                                     |
| -------- | -------------------------------------- | ------------------------------------------ |
| content  | which characters the value may have    | `n` digits · `an` letters, digits · `anp`  |
|          |                                        | and blanks · `ans` printable · `z` track   |
|          |                                        | (digits and `=`) · `zx` enciphered track   |
|          |                                        | (hex digits, `D` as `=`) · `xn` `C`/`D`    |
|          |                                        | then digits · `h` hex digits, upper case · |
|          |                                        | `any` characters · `b` bytes               |
| size     | how many: exactly, or at most          | in units: digits, characters, bytes        |
| encoding | how the value is written               | `bcd` two digits a byte, of `xn` behind    |
|          |                                        | `C` or `D` in ASCII · `raw` bytes ·        |
|          |                                        | `hex` two upper-case characters a byte ·   |
|          |                                        | else a text encoding that Python knows:    |
|          |                                        | `ascii`, `gbk`, `cp500` (EBCDIC) …         |
| prefix   | how the length is written              | `fixed`, or one `l` a digit and how the    |
|          |                                        | digits are written: `ll_bcd` `lll_ascii`   |
|          |                                        | `ll_ebcdic`; with `_bin` one `l` a byte    |
| padding  | an odd count of BCD digits             | `none`, or the side and the digits: the    |
|          |                                        | first is written, all are taken:           |
|          |                                        | `left_0` `right_0` `right_0f` `right_f0`;  |
|          |                                        | `even`: an odd count is refused            |
| counts   | what the prefix counts                 | `units`, or `bytes` as they are written,   |
|          |                                        | or `nibbles`, two of them                  |

A BCD prefix packs two digits a byte (LL one byte, LLL and LLLL two). It counts units unless `counts`
says otherwise: digits where the encoding is `bcd`, bytes elsewhere (`reference/pos-messages.md` §2).
Where it counts the bytes of BCD digits, a filler can not be told from a digit and is one.
"""

from __future__ import annotations

import re
from typing import Final, Literal, get_args

import msgspec

from iso8583 import elements, headers

Content = Literal["n", "an", "anp", "ans", "z", "zx", "xn", "h", "any", "b"]
Counts = Literal["units", "bytes", "nibbles"]
Mti = Literal["bcd", "ascii", "ebcdic"]
Bitmap = Literal["binary", "hex", "hex_ebcdic"]

TEXTS: Final = frozenset({"n", "an", "anp", "ans", "z", "xn", "h", "any"})
# Which contents an encoding can carry; a text encoding carries `TEXTS`.
CARRIES: Final[dict[str, frozenset[str]]] = {
    "bcd": frozenset({"n", "z", "zx", "h", "xn"}),
    "raw": frozenset({"b"}),
    "hex": frozenset({"b"}),
}
BITMAPS_MAX: Final = 3
# Of all variable elements together, those that are counted alike once: every length has its entry in
# the codec's tables, about 0.3 kB.
LENGTHS_MAX: Final = 131_072
_PREFIX: Final = re.compile(r"(l{1,6})_(bcd|ascii|ebcdic|bin)")
_PADDING: Final = re.compile(r"(left|right)_([0-9a-f]{1,16})")


class Prefix(msgspec.Struct, frozen=True):
    """A length prefix: `width` bytes that can say at most `limit`; `kind` as in its name."""

    kind: Literal["fixed", "bcd", "ascii", "ebcdic", "bin"]
    digits: int
    width: int
    limit: int

    @property
    def packed(self) -> bool:
        """Whether it is no text: told by its hex digits."""
        return self.kind in {"bcd", "bin"}

    @classmethod
    def of(cls, name: str) -> Prefix | None:
        """The prefix of that name; None where it is no prefix's."""
        if name == "fixed":
            return cls("fixed", 0, 0, 9999)
        match = _PREFIX.fullmatch(name)
        if match is None:
            return None
        letters = len(match[1])
        if match[2] == "bin":
            return cls("bin", letters, letters, min(256**letters - 1, 65_535))
        limit = min(10**letters - 1, 65_535)
        if match[2] == "bcd":
            return cls("bcd", (letters + 1) // 2 * 2, (letters + 1) // 2, limit)
        return cls("ebcdic" if match[2] == "ebcdic" else "ascii", letters, letters, limit)


class Element(msgspec.Struct, frozen=True):
    """One row: how a data element is written. Raises ValueError when the columns contradict."""

    de: int
    content: Content
    size: int
    encoding: str
    prefix: str = "fixed"
    padding: str = "none"
    name: str = ""
    counts: Counts = "units"

    def __post_init__(self) -> None:
        where = f"DE {self.de}"
        if not 2 <= self.de <= 192 or self.de == 65:
            raise ValueError(f"{where}: elements are 2 to 64 and 66 to 192")
        for column, values in (("content", get_args(Content)), ("counts", get_args(Counts))):
            if getattr(self, column) not in values:
                raise ValueError(f"{where}: {column} is none of {', '.join(values)}")
        if self.encoding not in CARRIES and not is_text_encoding(self.encoding):
            named = ", ".join(CARRIES)
            raise ValueError(
                f"{where}: encoding is none of {named} and no text encoding (ascii, gbk, cp500 …)"
            )
        if self.content not in CARRIES.get(self.encoding, TEXTS):
            raise ValueError(f"{where}: {self.encoding} can not carry {self.content}")
        self._check_length(where)
        odd = self.counts == "units" and (self.prefix != "fixed" or self.size % 2 == 1)
        if self.content == "xn":
            odd = False
            if self.encoding == "bcd" and (self.prefix != "fixed" or self.size % 2 == 0):
                raise ValueError(f"{where}: xn in BCD is fixed: a sign and digits in pairs")
        if self.padding not in {"none", "even"} and not _PADDING.fullmatch(self.padding):
            raise ValueError(f"{where}: padding is none, even, or left_ or right_ and hex digits")
        if self.padding == "even" and self.prefix == "fixed":
            raise ValueError(f"{where}: an odd fixed size can not be even")
        if self.encoding == "bcd" and odd and self.padding == "none":
            raise ValueError(
                f"{where}: padding none is for BCD that is always even: this can be odd, "
                "write left_0 or right_0"
            )
        if self.padding != "none" and not (self.encoding == "bcd" and odd):
            raise ValueError(f"{where}: padding is for BCD that can be odd: leave it out here")

    def _check_length(self, where: str) -> None:
        prefix = Prefix.of(self.prefix)
        if prefix is None:
            raise ValueError(
                f"{where}: prefix is fixed, or l to llllll and _bcd, _ascii, _ebcdic, _bin"
            )
        if self.counts != "units" and self.prefix == "fixed":
            raise ValueError(f"{where}: without a prefix nothing is counted")
        if self.counts == "nibbles" and self.encoding == "bcd":
            raise ValueError(f"{where}: units of BCD are nibbles already")
        if self.counts == "bytes" and self.encoding == "bcd" and self.size % 2:
            raise ValueError(f"{where}: digits whose bytes are counted come in pairs")
        if not (self.size >= 1 and self.counted(self.size) <= prefix.limit):
            raise ValueError(f"{where}: size {self.size} does not fit prefix {self.prefix}")

    @property
    def length_prefix(self) -> Prefix:
        """What the row's prefix is; there is one of that name since the row was built."""
        found = Prefix.of(self.prefix)
        assert found is not None
        return found

    def counted(self, units: int) -> int:
        """What the prefix says of a value of so many units.

        >>> Element(2, "n", 20, "bcd", "ll_bcd", "none", "", "bytes").counted(20)
        10
        """
        if self.counts == "units":
            return units
        octets = {"bcd": units // 2, "hex": units * 2}.get(self.encoding, units)
        return octets if self.counts == "bytes" else 2 * octets

    @property
    def in_pairs(self) -> bool:
        """Whether an odd count of BCD digits is refused."""
        return self.padding == "even" or (self.encoding == "bcd" and self.counts == "bytes")

    @property
    def fillers(self) -> tuple[str, str]:
        """The side of the filler, and its digits in lower case: the first written, all taken."""
        side, _, digits = self.padding.partition("_")
        return side, digits

    @property
    def format(self) -> str:
        """The standard's notation.

        >>> Element(2, "n", 19, "bcd", "ll_bcd", "right_0").format
        'n..19'
        """
        dots = "." * max(self.prefix.count("l"), 2) if self.prefix != "fixed" else " "
        return f"{self.content}{dots}{self.size}"


def is_text_encoding(name: str) -> bool:
    """Whether Python knows an encoding of that name that is one of text.

    >>> is_text_encoding("cp500"), is_text_encoding("zlib"), is_text_encoding("utf-16")
    (True, False, False)

    Those that write a byte order mark or need several bytes for a digit are none here.
    """
    try:
        return len("0".encode(name)) == 1
    except (LookupError, UnicodeError, ValueError):
        return False


class Dialect(msgspec.Struct, frozen=True):
    """A host's way of writing messages: MTI, bitmap, and the table of elements.

    `versions` and `classes` are the first two MTI digits it takes; `bitmap` is `binary` (8 bytes, 16
    when bit 1 is set) or `hex` (16 or 32 characters, written upper case; `hex_ebcdic` in EBCDIC).
    `bitmaps` is how many there can be: with 3, bit 65 announces another one behind the second. An
    element without a row is refused. `header` names what stands before the MTI (`iso8583.headers`),
    `base` the dialect that a variant overrides. Raises ValueError on a contradiction.
    """

    name: str
    title: str
    mti: Mti
    bitmap: Bitmap
    elements: tuple[Element, ...]
    versions: str = "0"
    base: str = ""
    classes: str = "123456789"
    bitmaps: int = 2
    header: str = ""

    def __post_init__(self) -> None:
        numbers = [element.de for element in self.elements]
        if numbers != sorted(set(numbers)):
            raise ValueError(f"{self.name}: elements must ascend, each once")
        for column, values in (("mti", get_args(Mti)), ("bitmap", get_args(Bitmap))):
            if getattr(self, column) not in values:
                raise ValueError(f"{self.name}: {column} is none of {', '.join(values)}")
        for column in ("versions", "classes"):
            digits = getattr(self, column)
            if not digits or not (digits.isascii() and digits.isdigit()):
                raise ValueError(f"{self.name}: {column} are MTI digits")
        if self.header and self.header not in headers.HEADERS:
            raise ValueError(f"{self.name}: header is none of {', '.join(headers.HEADERS)}")
        if not 1 <= self.bitmaps <= BITMAPS_MAX:
            raise ValueError(f"{self.name}: there are 1 to {BITMAPS_MAX} bitmaps")
        self._check_lengths()
        if numbers and numbers[-1] > 64 * self.bitmaps:
            raise ValueError(f"{self.name}: DE {numbers[-1]} needs another bitmap")

    def _check_lengths(self) -> None:
        variable = [row for row in self.elements if row.prefix != "fixed"]
        counted = {(row.prefix, row.size, row.encoding, row.counts) for row in variable}
        lengths = sum(size for _, size, _, _ in counted)
        if lengths > LENGTHS_MAX:
            largest = max(variable, key=lambda row: row.size).de
            raise ValueError(
                f"{self.name}: DE {largest}: sizes of variable elements add up to {lengths}, "
                f"at most {LENGTHS_MAX}; this one is the largest"
            )

    @property
    def family(self) -> str:
        """The base of a variant, or the dialect itself: whose private elements mean the same."""
        return self.base or self.name

    def element_name(self, de: int, lang: str = "en") -> str:
        """The row's own name, or the family's or the standard's in the dialect's version, in Chinese
        with "zh"."""
        row = self.element(de)
        own = "" if row is None else row.name
        return own or elements.name(de, lang, self.versions[0], self.family)

    def __str__(self) -> str:
        """The table, to be read beside the standard's own page."""
        rows = [("DE", "name", "format", "encoding", "prefix", "padding")]
        rows += [
            (str(e.de), self.element_name(e.de), e.format, e.encoding, e.prefix, e.padding)
            for e in self.elements
        ]
        widths = [max(len(row[column]) for row in rows) for column in range(6)]
        lines = [f"{self.name}: {self.title}", f"MTI {self.mti}, bitmap {self.bitmap}"]
        lines += [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join(lines)

    def element(self, de: int) -> Element | None:
        """The row of an element, or None."""
        return next((row for row in self.elements if row.de == de), None)

    def variant(
        self,
        name: str,
        title: str,
        *overrides: Element,
        bitmap: Bitmap | None = None,
        header: str | None = None,
    ) -> Dialect:
        """This table with some rows replaced or added, under a name of its own."""
        rows = {row.de: row for row in self.elements} | {row.de: row for row in overrides}
        return msgspec.structs.replace(
            self,
            name=name,
            title=title,
            bitmap=bitmap or self.bitmap,
            header=self.header if header is None else header,
            elements=tuple(rows[de] for de in sorted(rows)),
            base=self.family,
        )
