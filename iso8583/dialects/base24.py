"""BASE24-like hosts: ISO 8583:1987 in ASCII behind a header `ISO` and nine digits, bitmaps in hex.

Source: jPOS's BASE24Packager for what differs from the 1987 page (DE 41 of 16 characters, DE 120 to
127), where PIN block and MAC are hex characters; the header is `headers.BASE24`. MACs have 16
characters here, eight bytes [unverified: the packager has 16 bytes].
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from iso8583.dialects.formats import ASCII
from iso8583.dialects.iso1987 import PAGE as PAGE_1987
from iso8583.dialects.table import Dialect

PAGE: Final[dict[int, str]] = {
    **PAGE_1987,
    36: "ans...104",
    41: "ans16",
    44: "ans..27",
    55: "ans...999",
    121: "ans...23",
    122: "n...14",
    123: "ans...153",
    124: "ans...12",
    125: "ans...15",
    127: "ans..99",
}

BASE24: Final = Dialect(
    name="base24",
    title="BASE24-like: ISO 8583:1987, ASCII, hex bitmap, header ISO + 9",
    mti="ascii",
    bitmap="hex",
    elements=replace(ASCII, binary="hex").rows(PAGE),
    header="base24",
)
