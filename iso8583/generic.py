"""The generic table codec: reference, fallback, and the one that explains errors.

For every row of a dialect's table a reader and a writer are built once. Decoding looks up the readers
of the message's bitmap and lets each take its element. What a writer accepts is exactly what the
reader gives back: `encode` refuses anything that would not decode to the same message.
"""

from __future__ import annotations

from binascii import unhexlify
from typing import TYPE_CHECKING, Final, NamedTuple

from iso8583.errors import DecodeError, EncodeError
from iso8583.reading import Reader, absent, build_reader
from iso8583.writing import Writer, build_writer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iso8583.dialects.table import Dialect
    from iso8583.message import Message

# Bitmaps (decoding) and key sequences (encoding) remembered per codec; at the bound all are dropped.
PLANS_MAX: Final = 256

_HEX_CHARACTERS: Final = frozenset("0123456789abcdefABCDEF")


class Explanation(NamedTuple):
    """Everything that could be read, the first error, and where each element lies.

    `spans`: DE -> (offset, length) in bytes of the body, length prefix included; 0 the MTI, 1 the
    bitmap. An element whose content is bad has a span but no value.
    """

    message: Message
    error: DecodeError | None
    spans: dict[int, tuple[int, int]]


class GenericCodec:
    """Reads and writes messages of one dialect, row by row. Holds no state but bounded caches."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect: Final = dialect
        self._bcd_mti: Final = dialect.mti == "bcd"
        self._text: Final = "cp500" if dialect.mti == "ebcdic" else "latin-1"
        self.mti_width: Final = 2 if self._bcd_mti else 4
        self._bitmap_text: Final = {"hex": "latin-1", "hex_ebcdic": "cp500"}.get(dialect.bitmap, "")
        self.bitmap_width: Final = 16 if self._bitmap_text else 8
        self.mtis: Final = {
            f"{version}{kind}{rest:02d}": self._mti_octets(f"{version}{kind}{rest:02d}")
            for version in dialect.versions
            for kind in dialect.classes
            for rest in range(100)
        }
        self.readers: Final = {row.de: build_reader(row) for row in dialect.elements}
        self.writers: Final = {row.de: build_writer(row) for row in dialect.elements}
        self._plans: Final[dict[bytes, tuple[Reader, ...]]] = {}
        self._shapes: Final[dict[tuple[int, ...], tuple[bytes, list[tuple[int, Writer]]]]] = {}

    def _mti_octets(self, mti: str) -> bytes:
        return unhexlify(mti) if self._bcd_mti else mti.encode(self._text)

    # -- decoding ------------------------------------------------------------

    def decode(self, data: bytes) -> Message:
        """The message that `data` is: MTI to the last byte of the last element, no framing.

        Raises DecodeError with element and offset; also for bytes left over. Anything but a
        message raises DecodeError and nothing else.
        """
        hexed = data.hex()
        text = data.decode("latin-1")
        mti = self._mti(data, hexed, text)
        if mti not in self.mtis:
            raise self._mti_error(data, mti)
        offset = self.mti_width + self.bitmap_width
        bitmap = data[self.mti_width : offset]
        if self._bitmap_text or len(bitmap) < 8 or bitmap[0] & 0x80:
            bitmap, offset = self.bitmap(data)
        readers = self._plans.get(bitmap)
        plan = readers if readers is not None else self._plan(bitmap)
        message: Message = {0: mti}
        for read in plan:
            offset = read(data, hexed, text, offset, message)
        if offset != len(data):
            raise DecodeError(None, offset, f"{len(data) - offset} bytes after the last element")
        if readers is None:  # admitted only now: noise does not push out what is in use
            if len(self._plans) >= PLANS_MAX:
                self._plans.clear()
            self._plans[bitmap] = plan
        return message

    def explain(self, data: bytes, instead: Mapping[int, Reader] | None = None) -> Explanation:
        """The message as far as it can be read, the first error and the spans; never raises.

        Goes on behind an element whose extent is known but whose content is bad, so that a peer
        with one bad element can still be answered by DE 11, 41, 42. `instead` are readers that
        take the place of the table's: what if that element were written otherwise?
        """
        readers = self.readers if instead is None else {**self.readers, **instead}
        hexed = data.hex()
        text = data.decode("latin-1")
        message: Message = {}
        spans: dict[int, tuple[int, int]] = {}
        first: DecodeError | None = None
        mti = self._mti(data, hexed, text)
        if mti in self.mtis:
            message[0] = mti
            spans[0] = (0, self.mti_width)
        else:
            first = self._mti_error(data, mti)
        try:
            bitmap, offset = self.bitmap(data)
        except DecodeError as error:
            return Explanation(message, first or error, spans)
        spans[1] = (self.mti_width, offset - self.mti_width)
        for de in elements_of(bitmap):
            read = readers.get(de) or absent(de)
            try:
                end = read(data, hexed, text, offset, message)
            except DecodeError as error:
                first = first or error
                if error.end is None:
                    return Explanation(message, first, spans)
                end = error.end
            spans[de] = (offset, end - offset)
            offset = end
        if offset != len(data) and first is None:
            first = DecodeError(None, offset, f"{len(data) - offset} bytes after the last element")
        return Explanation(message, first, spans)

    def _mti(self, data: bytes, hexed: str, text: str) -> str:
        if self._text == "cp500":
            return data[:4].decode("cp500")
        return hexed[:4] if self._bcd_mti else text[:4]

    def _mti_error(self, data: bytes, digits: str) -> DecodeError:
        if len(data) < self.mti_width:
            return DecodeError(0, 0, f"needs {self.mti_width} bytes, {len(data)} left")
        if not (digits.isascii() and digits.isdigit()):
            return DecodeError(0, 0, "not four digits")
        if digits[0] not in self.dialect.versions:
            return DecodeError(0, 0, "a version that the dialect does not have")
        if digits[1] == "0":
            return DecodeError(0, 0, "message class 0 is reserved")
        return DecodeError(0, 0, "a class that the dialect does not have")

    def bitmap(self, data: bytes) -> tuple[bytes, int]:
        """The bitmap as 8, 16 or 24 bytes, and the offset after it; raises DecodeError."""
        start, width = self.mti_width, self.bitmap_width
        bitmap = self._bitmap_part(data, start)
        if bitmap[0] & 0x80:
            if self.dialect.bitmaps == 1:
                reason = "announces a second bitmap that the dialect does not have"
                raise DecodeError(1, start, reason)
            start += width
            bitmap += self._bitmap_part(data, start)
            if bitmap[8] & 0x80 and self.dialect.bitmaps > 2:
                start += width
                bitmap += self._bitmap_part(data, start)
        return bitmap, start + width

    def announces_second(self, octet: int) -> bool:
        """Whether a bitmap that begins with this byte announces another one behind it."""
        if not self._bitmap_text:
            return octet >= 0x80
        return bytes([octet]).decode(self._bitmap_text) in "89abcdefABCDEF"

    def _bitmap_part(self, data: bytes, start: int) -> bytes:
        width = self.bitmap_width
        part = data[start : start + width]
        if len(part) < width:
            raise DecodeError(1, start, f"needs {width} bytes, {len(part)} left")
        if not self._bitmap_text:
            return part
        digits = part.decode(self._bitmap_text)
        for at, digit in enumerate(digits):
            if digit not in _HEX_CHARACTERS:
                raise DecodeError(1, start + at, "not a hex digit")
        return unhexlify(digits)

    def _plan(self, bitmap: bytes) -> tuple[Reader, ...]:
        return tuple(self.readers.get(de) or absent(de) for de in elements_of(bitmap))

    # -- encoding ------------------------------------------------------------

    def encode(self, message: Message) -> bytes:
        """The bytes of the message, MTI to last element, bitmap made from the keys.

        Raises EncodeError where a value, its type or its length is not the dialect's: whatever is
        returned decodes to an equal message.
        """
        keys = tuple(message)
        bitmap, writers = self._shapes.get(keys) or self._shape(keys)
        mti = message[0]
        head = self.mtis.get(mti) if isinstance(mti, str) else None
        if head is None:
            raise EncodeError(0, "four digits of a version and class that the dialect has")
        return b"".join([head, bitmap, *[write(message[de]) for de, write in writers]])

    def _shape(self, keys: tuple[int, ...]) -> tuple[bytes, list[tuple[int, Writer]]]:
        """Bitmap and writers in order for a sequence of keys; raises EncodeError."""
        if 0 not in keys:
            raise EncodeError(0, "no MTI")
        others = [key for key in keys if type(key) is not int]
        if others:
            raise EncodeError(None, "keys are numbers of elements")
        writers: list[tuple[int, Writer]] = []
        for de in sorted(key for key in keys if key != 0):
            writer = self.writers.get(de)
            if writer is None:
                raise EncodeError(de, "not in the dialect")
            writers.append((de, writer))
        bitmap = self.written_bitmap([de for de, _ in writers])
        if len(self._shapes) >= PLANS_MAX:
            self._shapes.clear()
        return self._shapes.setdefault(keys, (bitmap, writers))

    def written_bitmap(self, elements: list[int]) -> bytes:
        """The bitmap that announces the elements, as the dialect writes it."""
        highest = max(elements, default=0)
        announced = (
            {*elements} | ({1} if highest > 64 else set()) | ({65} if highest > 128 else set())
        )
        width = 8 * ((highest > 64) + (highest > 128) + 1)
        bits = sum(1 << (8 * width - de) for de in announced)
        bitmap = bits.to_bytes(width, "big")
        return bitmap.hex().upper().encode(self._bitmap_text) if self._bitmap_text else bitmap


def elements_of(bitmap: bytes) -> list[int]:
    """The elements that a bitmap of 8, 16 or 24 bytes announces, ascending, without bitmaps' bits.

    >>> elements_of(bytes.fromhex("4000000000000001"))
    [2, 64]
    """
    bits = int.from_bytes(bitmap, "big")
    top = len(bitmap) * 8
    found = [de for de in range(2, top + 1) if bits >> (top - de) & 1]
    return [de for de in found if de != 65] if top == 192 else found
