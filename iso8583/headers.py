"""Headers that stand before the MTI, by name: what a dialect's `header` column points at.

| name | bytes | layout | source |
| --- | --- | --- | --- |
| `pos` | 6 | application type n2, software n2, state n1, processing request n1, sub-version n6 | `reference/pos-messages.md` §1 |
| `base24` | 12 | `ISO`, product 2, release 2, status 3, originator 1, responder 1 | `reference/iso8583-base.md` [unverified] |
| `base1` | 22 | length 1, format 1, text format 1, total length 2, destination n6, source n6, control 1, flags 2, status 3, batch 1, reserved 3, user 1 | jPOS BASE1Header |
| `base1_reject` | 26 | the same, then bitmap 2, reject code n4 | jPOS BASE1Header |
| `cups` | 46 | length 1, flag 1, total length n4, destination 11, source 11, reserved 3, batch 1, transaction 8, user 1, reject 5, all characters but the first two | `reference/iso8583-base.md` [unverified] |

A length in a header counts the header itself. Values are text: digits of `bcd`, characters of `ascii`,
upper-case hex of `raw`, decimal digits of `number` (big endian).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from iso8583.errors import DecodeError, EncodeError

if TYPE_CHECKING:
    from collections.abc import Mapping

Encoding = Literal["bcd", "ascii", "raw", "number"]


class HeaderField(msgspec.Struct, frozen=True):
    """One field: its key, its names, how many bytes it has and how they are read.

    Widths are counted in nibbles, two a byte: some fields of headers have one.
    """

    key: str
    names: tuple[str, str]  # English, Chinese
    nibbles: int
    encoding: Encoding = "bcd"
    value: str = ""  # written where none is given

    def name(self, lang: str = "en") -> str:
        """The name, in Chinese with `lang` "zh"."""
        return self.names[lang.startswith("zh")]


class Header(msgspec.Struct, frozen=True):
    """A header: fields in order; `magic` are the bytes it always begins with."""

    name: str
    titles: tuple[str, str]  # English, Chinese
    fields: tuple[HeaderField, ...]
    magic: bytes = b""

    @property
    def width(self) -> int:
        """Bytes of the header."""
        return sum(field.nibbles for field in self.fields) // 2

    def matches(self, data: bytes) -> bool:
        """Whether `data` can begin with this header: its magic, and enough bytes for it."""
        return len(data) >= self.width and data.startswith(self.magic)

    def parse(self, data: bytes) -> dict[str, str]:
        """Field -> value of the first `width` bytes of `data`, in order.

        Raises DecodeError (no element, offset in `data`) where bytes are missing, are no digits or
        characters of a field, or do not begin as the header does.
        """
        if len(data) < self.width:
            raise DecodeError(
                None, len(data), f"header {self.name} needs {self.width} bytes, {len(data)} left"
            )
        if not data.startswith(self.magic):
            raise DecodeError(None, 0, f"header {self.name} begins otherwise")
        digits = data[: self.width].hex().upper()
        found: dict[str, str] = {}
        at = 0
        for field in self.fields:
            value = _read(field, digits[at : at + field.nibbles])
            if value is None:
                raise DecodeError(
                    None, at // 2, f"header {self.name}, {field.key}: not {_KIND[field.encoding]}"
                )
            found[field.key] = value
            at += field.nibbles
        return found

    def build(self, values: Mapping[str, str]) -> bytes:
        """The bytes; what `values` leaves out is written as the table says, else as zeros or blanks.

        Raises EncodeError on a value that does not fit its field, or for a field that is none.
        """
        unknown = set(values) - {field.key for field in self.fields}
        if unknown:
            raise EncodeError(None, f"header {self.name} has no field {min(unknown)}")
        digits = "".join(
            _written(self.name, field, values.get(field.key, field.value or _blank(field)))
            for field in self.fields
        )
        return bytes.fromhex(digits)


_KIND: Final[dict[str, str]] = {
    "bcd": "digits", "ascii": "printable characters", "raw": "hex digits", "number": "a number",
}  # fmt: skip


def _read(field: HeaderField, digits: str) -> str | None:
    if field.encoding == "bcd":
        return digits if digits.isdigit() else None
    if field.encoding == "ascii":
        text = bytes.fromhex(digits).decode("latin-1")
        return text if text.isascii() and text.isprintable() else None
    return str(int(digits, 16)) if field.encoding == "number" else digits


def _blank(field: HeaderField) -> str:
    if field.encoding == "ascii":
        return " " * (field.nibbles // 2)
    return "0" if field.encoding == "number" else "0" * field.nibbles


def _written(header: str, field: HeaderField, value: str) -> str:
    digits = value
    if field.encoding == "ascii":
        digits = value.encode("ascii", "replace").hex()
    elif field.encoding == "number" and value.isascii() and value.isdigit():
        digits = f"{int(value):0{field.nibbles}X}"
    fits = len(digits) == field.nibbles and not digits.strip("0123456789abcdefABCDEF")
    if not fits or _read(field, digits.upper()) != value:
        raise EncodeError(
            None,
            f"header {header}, {field.key}: {_KIND[field.encoding]} in {field.nibbles / 2:g} bytes",
        )
    return digits


_BASE1: Final = (
    HeaderField("header_length", ("header length", "报文头长度"), 2, "number", "22"),
    HeaderField("header_format", ("header format", "报文头格式"), 2, "raw", "01"),
    HeaderField("text_format", ("text format", "正文格式"), 2, "number", "2"),
    HeaderField("total_length", ("total length", "报文总长度"), 4, "number"),
    HeaderField("destination", ("destination station", "目的站"), 6),
    HeaderField("source", ("source station", "源站"), 6),
    HeaderField("control", ("round-trip control", "往返控制"), 2, "raw"),
    HeaderField("flags", ("flags", "标志"), 4, "raw"),
    HeaderField("status", ("message status flags", "报文状态标志"), 6, "raw"),
    HeaderField("batch", ("batch number", "批次号"), 2, "number"),
    HeaderField("reserved", ("reserved", "保留"), 6, "raw"),
    HeaderField("user", ("user information", "用户信息"), 2, "raw"),
)

POS: Final = Header(
    "pos",
    ("POS terminal, six bytes", "POS终端报文头"),
    (
        HeaderField("application", ("application type", "应用类别"), 2, value="60"),
        HeaderField("software", ("software version", "软件总版本号"), 2, "raw"),
        HeaderField("state", ("terminal state (1 test)", "终端状态(1测试)"), 1, "raw"),
        HeaderField("request", ("processing request", "处理要求"), 1, "raw"),
        HeaderField("version", ("software sub-version", "软件分版本号"), 6, "raw"),
    ),
)
BASE24: Final = Header(
    "base24",
    ("BASE24, ISO and nine characters", "BASE24报文头"),
    (
        HeaderField("magic", ("start of header", "报文头标识"), 6, "ascii", "ISO"),
        HeaderField("product", ("product", "产品"), 4, "ascii", "02"),
        HeaderField("release", ("release", "版本"), 4, "ascii", "34"),
        HeaderField("status", ("status", "状态"), 6, "ascii", "000"),
        HeaderField("originator", ("originator", "发起方"), 2, "ascii", "1"),
        HeaderField("responder", ("responder", "应答方"), 2, "ascii", "0"),
    ),
    b"ISO",
)
BASE1: Final = Header("base1", ("Visa BASE I, 22 bytes", "Visa BASE I报文头"), _BASE1, b"\x16")
BASE1_REJECT: Final = Header(
    "base1_reject",
    ("Visa BASE I of a rejected message, 26 bytes", "Visa BASE I拒绝报文头"),
    (
        msgspec.structs.replace(_BASE1[0], value="26"),
        *_BASE1[1:],
        HeaderField("bitmap", ("bitmap", "位图"), 4, "raw", "8000"),
        HeaderField("reject", ("reject code", "拒绝码"), 4),
    ),
    b"\x1a",
)
CUPS: Final = Header(
    "cups",
    ("UnionPay between hosts, 46 bytes", "银联CUPS报文头"),
    (
        HeaderField("header_length", ("header length", "报文头长度"), 2, "number", "46"),
        HeaderField("flag", ("header flag and version", "头标识和版本号"), 2, "raw", "01"),
        HeaderField("total_length", ("total length", "整个报文长度"), 8, "ascii", "0000"),
        HeaderField("destination", ("destination", "目的ID"), 22, "ascii"),
        HeaderField("source", ("source", "源ID"), 22, "ascii"),
        HeaderField("reserved", ("reserved", "保留使用"), 6, "ascii"),
        HeaderField("batch", ("batch number", "批次号"), 2, "ascii"),
        HeaderField("transaction", ("transaction information", "交易信息"), 16, "ascii"),
        HeaderField("user", ("user information", "用户信息"), 2, "ascii"),
        HeaderField("reject", ("reject code", "拒绝码"), 10, "ascii", "00000"),
    ),
    b"\x2e",
)
HEADERS: Final = {header.name: header for header in (POS, BASE24, BASE1, BASE1_REJECT, CUPS)}


def get(name: str) -> Header:
    """The header of that name; raises LookupError naming those there are."""
    header = HEADERS.get(name)
    if header is None:
        raise LookupError(f"no header {name!r}; there are {', '.join(HEADERS)}")
    return header
