"""What a dialect table is: one row per data element, orthogonal columns, validated when built.

| column   | says                                   | values                                     |
| -------- | -------------------------------------- | ------------------------------------------ |
| content  | which characters the value may have    | `n` digits · `an` letters, digits · `anp`  |
|          |                                        | and blanks · `ans` printable · `z` track   |
|          |                                        | (digits and `=`) · `zx` enciphered track   |
|          |                                        | (hex digits, `D` as `=`) · `xn` `C`/`D`    |
|          |                                        | then digits · `b` bytes                    |
| size     | how many: exactly, or at most          | in units: digits, characters, bytes        |
| encoding | how the value is written               | `bcd` `ascii` `gbk` `raw` `hex`            |
| prefix   | how the length is written              | `fixed` `ll_bcd` `lll_bcd` `ll_ascii`      |
|          |                                        | `lll_ascii`                                |
| padding  | an odd count of BCD digits             | `none` `left_0` (right-aligned) `right_0`  |
|          |                                        | `right_0f` (writes 0, takes F) `right_f0`  |
|          |                                        | (writes F, takes 0)                        |

A BCD prefix is one byte (LL) or two (LLL); an ASCII one two or three digits. A prefix counts units:
digits where the encoding is `bcd`, bytes elsewhere (`reference/pos-messages.md` §2). `hex` writes a
byte as two upper-case characters; its prefix counts bytes of the value.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

import msgspec

from iso8583 import elements

Content = Literal["n", "an", "anp", "ans", "z", "zx", "xn", "b"]
Encoding = Literal["bcd", "ascii", "gbk", "raw", "hex"]
Prefix = Literal["fixed", "ll_bcd", "lll_bcd", "ll_ascii", "lll_ascii"]
Padding = Literal["none", "left_0", "right_0", "right_0f", "right_f0"]

# Which contents an encoding can carry.
CARRIES: Final[dict[str, frozenset[str]]] = {
    "bcd": frozenset({"n", "z", "zx"}),
    "ascii": frozenset({"n", "an", "anp", "ans", "z", "xn"}),
    "gbk": frozenset({"ans"}),
    "raw": frozenset({"b"}),
    "hex": frozenset({"b"}),
}
PREFIX_LIMIT: Final[dict[str, int]] = {
    "fixed": 999,
    "ll_bcd": 99,
    "ll_ascii": 99,
    "lll_bcd": 999,
    "lll_ascii": 999,
}


class Element(msgspec.Struct, frozen=True):
    """One row: how a data element is written. Raises ValueError when the columns contradict."""

    de: int
    content: Content
    size: int
    encoding: Encoding
    prefix: Prefix = "fixed"
    padding: Padding = "none"
    name: str = ""

    def __post_init__(self) -> None:
        where = f"DE {self.de}"
        if not 2 <= self.de <= 128 or self.de == 65:
            raise ValueError(f"{where}: elements are 2 to 64 and 66 to 128")
        for column, values in _COLUMNS.items():
            if getattr(self, column) not in values:
                raise ValueError(f"{where}: {column} is none of {', '.join(values)}")
        if self.content not in CARRIES[self.encoding]:
            raise ValueError(f"{where}: {self.encoding} can not carry {self.content}")
        if not 1 <= self.size <= PREFIX_LIMIT[self.prefix]:
            raise ValueError(f"{where}: size {self.size} does not fit prefix {self.prefix}")
        odd = self.prefix != "fixed" or self.size % 2 == 1
        if (self.encoding == "bcd" and odd) != (self.padding != "none"):
            raise ValueError(f"{where}: padding belongs to BCD that can be odd, and only there")

    @property
    def title(self) -> str:
        """The row's own name, or the element's usual one."""
        return self.name or elements.name(self.de)

    @property
    def format(self) -> str:
        """The standard's notation.

        >>> Element(2, "n", 19, "bcd", "ll_bcd", "right_0").format
        'n..19'
        """
        dots = {"fixed": " ", "ll_bcd": "..", "ll_ascii": ".."}.get(self.prefix, "...")
        return f"{self.content}{dots}{self.size}"


_COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "content": get_args(Content),
    "encoding": get_args(Encoding),
    "prefix": get_args(Prefix),
    "padding": get_args(Padding),
}


class Dialect(msgspec.Struct, frozen=True):
    """A host's way of writing messages: MTI, bitmap, and the table of elements.

    `versions` are the first MTI digits it takes; `bitmap` is `binary` (8 bytes, 16 when bit 1 is
    set) or `hex` (16 or 32 characters, written upper case). An element without a row is refused.
    `base` names the dialect that a variant overrides. Raises ValueError on a contradiction.
    """

    name: str
    title: str
    mti: Literal["bcd", "ascii"]
    bitmap: Literal["binary", "hex"]
    elements: tuple[Element, ...]
    versions: str = "0"
    base: str = ""

    def __post_init__(self) -> None:
        numbers = [element.de for element in self.elements]
        if numbers != sorted(set(numbers)):
            raise ValueError(f"{self.name}: elements must ascend, each once")
        if not self.versions or not (self.versions.isascii() and self.versions.isdigit()):
            raise ValueError(f"{self.name}: versions are MTI digits")

    def __str__(self) -> str:
        """The table, to be read beside the standard's own page."""
        rows = [("DE", "name", "format", "encoding", "prefix", "padding")]
        rows += [
            (str(e.de), e.title, e.format, e.encoding, e.prefix, e.padding) for e in self.elements
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
        bitmap: Literal["binary", "hex"] | None = None,
    ) -> Dialect:
        """This table with some rows replaced or added, under a name of its own."""
        rows = {row.de: row for row in self.elements} | {row.de: row for row in overrides}
        return Dialect(
            name=name,
            title=title,
            mti=self.mti,
            bitmap=bitmap or self.bitmap,
            elements=tuple(rows[de] for de in sorted(rows)),
            versions=self.versions,
            base=self.base or self.name,
        )
