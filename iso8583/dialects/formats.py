"""The standard's own page as data, and how a host writes it: a table is one applied to the other.

A page says `{2: "n..19", 3: "n6", 52: "b8"}`: content, then a dot for every digit of the length where
there is one, then the size. A `Style` says in which encoding text and digits are written and how
lengths are. What a host does otherwise is given as rows, which replace those of the page.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, cast, get_args

import msgspec

from iso8583.dialects.table import Content, Element

if TYPE_CHECKING:
    from collections.abc import Mapping

_FORMAT: Final = re.compile(r"([a-z]+)(\.{0,4})([1-9]\d*)")


class Style(msgspec.Struct, frozen=True):
    """How a host writes what the page says.

    `text` is the encoding of characters, `digits` that of `n` (`bcd`, or a text encoding), `track` that
    of `z`, `binary` that of `b` (`raw` or `hex`), `prefix` how lengths are written. `fixed` and
    `variable` are the padding of an odd count of BCD digits.
    """

    text: str
    digits: str
    track: str
    prefix: Literal["bcd", "ascii", "ebcdic", "bin"]
    binary: Literal["raw", "hex"] = "raw"
    fixed: str = "left_0"
    variable: str = "left_0"

    def row(self, de: int, written: str, name: str = "") -> Element:
        """The row of an element whose format is `written`. Raises ValueError.

        >>> Style("ascii", "bcd", "bcd", "bcd").row(2, "n..19").format
        'n..19'
        """
        match = _FORMAT.fullmatch(written)
        if match is None or match[1] not in get_args(Content):
            raise ValueError(f"DE {de}: {written!r} is no format such as n..19")
        content, letters, size = cast("Content", match[1]), "l" * len(match[2]), int(match[3])
        encodings = {"n": self.digits, "xn": self.digits, "z": self.track, "b": self.binary}
        encoding = encodings.get(content, self.text)
        padding = "none"
        if encoding == "bcd" and content != "xn" and (letters or size % 2):
            padding = self.variable if letters else self.fixed
        return Element(de, content, size, encoding, self._prefix(letters), padding, name)

    def _prefix(self, letters: str) -> str:
        if not letters:
            return "fixed"
        if self.prefix == "bin":  # a byte holds two digits' worth of length
            letters = "l" * ((len(letters) + 1) // 2)
        return f"{letters}_{self.prefix}"

    def rows(self, page: Mapping[int, str], *otherwise: Element) -> tuple[Element, ...]:
        """The table: the page in this style, but `otherwise` where it says so."""
        found = {de: self.row(de, written) for de, written in page.items()}
        found |= {row.de: row for row in otherwise}
        return tuple(found[de] for de in sorted(found))


ASCII: Final = Style("ascii", "ascii", "ascii", "ascii")
EBCDIC: Final = Style("cp500", "cp500", "cp500", "ebcdic")
# The filler of a fixed number stands in front, that of a variable one behind, where 0 and F are met.
BINARY: Final = Style("ascii", "bcd", "bcd", "bcd", variable="right_0f")
