"""The generic table codec: reference, and the one that explains errors.

For every row of a dialect's table a reader and a writer are built once, as closures over the row's
columns. Decoding looks up the readers of the message's bitmap and lets each take its element; the
whole body is turned to hex digits and to latin-1 text once, so that a reader is mostly one slice
and one check. What a writer accepts is exactly what the reader gives back: `encode` refuses
anything that would not decode to the same message.

Traps held off here: `str.isdigit` accepts `²` and full-width digits (so every check is preceded by
`isascii`, or looks at hex digits); `bytes.fromhex` skips blanks (so `unhexlify`); a length prefix
can promise more than there is (slices just come out short, so lengths are compared).
"""

from __future__ import annotations

from binascii import Error as HexError, unhexlify
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from iso8583.dialects import registry
from iso8583.errors import DecodeError, EncodeError
from iso8583.message import Message

if TYPE_CHECKING:
    from iso8583.dialects.table import Dialect, Element

# (data, its hex digits, its latin-1 text, offset, message) -> offset after the element
Reader = Callable[[bytes, str, str, int, Message], int]
Writer = Callable[[str | bytes], bytes]

# Bitmaps (decoding) and key sequences (encoding) remembered per codec; at the bound all are dropped.
SHAPES_MAX: Final = 256


class Explanation(NamedTuple):
    """Everything that could be read, the first error, and where each element lies.

    `spans`: DE -> (offset, length) in bytes of the body, length prefix included; 0 the MTI, 1 the
    bitmap. An element whose content is bad has a span but no value.
    """

    message: Message
    error: DecodeError | None
    spans: dict[int, tuple[int, int]]


class Codec:
    """Reads and writes messages of one dialect. Holds no state but bounded caches."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect: Final = dialect
        self._bcd_mti: Final = dialect.mti == "bcd"
        self._mti_width: Final = 2 if self._bcd_mti else 4
        self._hex_bitmap: Final = dialect.bitmap == "hex"
        self._bitmap_width: Final = 16 if self._hex_bitmap else 8
        # class 0 is reserved, and what a stream of zeros would be read as
        self._mtis: Final = {
            f"{version}{number:03d}": unhexlify(f"{version}{number:03d}")
            if self._bcd_mti
            else f"{version}{number:03d}".encode()
            for version in dialect.versions
            for number in range(100, 1000)
        }
        self._readers: Final = {row.de: build_reader(row) for row in dialect.elements}
        self._writers: Final = {row.de: build_writer(row) for row in dialect.elements}
        self._plans: Final[dict[bytes, tuple[Reader, ...]]] = {}
        self._shapes: Final[dict[tuple[int, ...], tuple[bytes, list[tuple[int, Writer]]]]] = {}

    # -- decoding ------------------------------------------------------------

    def decode(self, data: bytes) -> Message:
        """The message that `data` is: MTI to the last byte of the last element, no framing.

        Raises DecodeError with element and offset; also for bytes left over. Anything but a
        message raises DecodeError and nothing else.
        """
        hexed = data.hex()
        text = data.decode("latin-1")
        width = self._mti_width
        mti = hexed[:4] if self._bcd_mti else text[:4]
        if mti not in self._mtis:
            raise self._mti_error(data)
        offset = width + self._bitmap_width
        bitmap = data[width:offset]
        if self._hex_bitmap or len(bitmap) < 8 or bitmap[0] & 0x80:
            bitmap, offset = self._bitmap(data)
        readers = self._plans.get(bitmap)
        plan = readers if readers is not None else self._plan(bitmap)
        message: Message = {0: mti}
        for read in plan:
            offset = read(data, hexed, text, offset, message)
        if offset != len(data):
            raise DecodeError(None, offset, f"{len(data) - offset} bytes after the last element")
        if readers is None:  # admitted only now: noise does not push out what is in use
            if len(self._plans) >= SHAPES_MAX:
                self._plans.clear()
            self._plans[bitmap] = plan
        return message

    def decode_partial(self, data: bytes) -> tuple[Message, DecodeError | None]:
        """As much of the message as can be read, and the first error, None when there is none.

        Goes on behind an element whose extent is known but whose content is bad, so that a peer
        with one bad element can still be answered by DE 11, 41, 42.
        """
        message, error, _ = self.explain(data)
        return message, error

    def spans(self, data: bytes) -> dict[int, tuple[int, int]]:
        """Where each element lies: DE -> (offset, length); as far as the message can be read."""
        return self.explain(data).spans

    def explain(self, data: bytes) -> Explanation:
        """`decode_partial` and `spans` in one pass; never raises."""
        hexed = data.hex()
        text = data.decode("latin-1")
        message: Message = {}
        spans: dict[int, tuple[int, int]] = {}
        first: DecodeError | None = None
        width = self._mti_width
        mti = hexed[:4] if self._bcd_mti else text[:4]
        if mti in self._mtis:
            message[0] = mti
            spans[0] = (0, width)
        else:
            first = self._mti_error(data)
        try:
            bitmap, offset = self._bitmap(data)
        except DecodeError as error:
            return Explanation(message, first or error, spans)
        spans[1] = (width, offset - width)
        for de in elements_of(bitmap):
            read = self._readers.get(de) or _absent(de)
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

    def _mti_error(self, data: bytes) -> DecodeError:
        if len(data) < self._mti_width:
            return DecodeError(0, 0, f"needs {self._mti_width} bytes, {len(data)} left")
        digits = data.hex()[:4] if self._bcd_mti else data[:4].decode("latin-1")
        if not (digits.isascii() and digits.isdigit()):
            return DecodeError(0, 0, "not four digits")
        if digits[0] not in self.dialect.versions:
            return DecodeError(0, 0, "a version that the dialect does not have")
        return DecodeError(0, 0, "message class 0 is reserved")

    def _bitmap(self, data: bytes) -> tuple[bytes, int]:
        """The bitmap as 8 or 16 bytes, and the offset after it."""
        start, width = self._mti_width, self._bitmap_width
        bitmap = self._bitmap_half(data, start)
        if bitmap[0] & 0x80:
            bitmap += self._bitmap_half(data, start + width)
            return bitmap, start + 2 * width
        return bitmap, start + width

    def _bitmap_half(self, data: bytes, start: int) -> bytes:
        width = self._bitmap_width
        half = data[start : start + width]
        if len(half) < width:
            raise DecodeError(1, start, f"needs {width} bytes, {len(half)} left")
        if not self._hex_bitmap:
            return half
        try:
            return unhexlify(half)
        except HexError:
            at = next(i for i, byte in enumerate(half) if chr(byte) not in _HEX_CHARACTERS)
            raise DecodeError(1, start + at, "not a hex digit") from None

    def _plan(self, bitmap: bytes) -> tuple[Reader, ...]:
        return tuple(self._readers.get(de) or _absent(de) for de in elements_of(bitmap))

    # -- encoding ------------------------------------------------------------

    def encode(self, message: Message) -> bytes:
        """The bytes of the message, MTI to last element, bitmap made from the keys.

        Raises EncodeError where a value, its type or its length is not the dialect's: whatever is
        returned decodes to an equal message.
        """
        keys = tuple(message)
        bitmap, writers = self._shapes.get(keys) or self._shape(keys)
        mti = message[0]
        head = self._mtis.get(mti) if type(mti) is str else None
        if head is None:
            raise EncodeError(0, "four digits of a version and class that the dialect has")
        return b"".join([head, bitmap, *[write(message[de]) for de, write in writers]])

    def _shape(self, keys: tuple[int, ...]) -> tuple[bytes, list[tuple[int, Writer]]]:
        """Bitmap and writers in order for a sequence of keys; raises EncodeError."""
        if 0 not in keys:
            raise EncodeError(0, "no MTI")
        writers: list[tuple[int, Writer]] = []
        bits = 0
        for de in sorted(key for key in keys if key != 0):
            writer = self._writers.get(de)
            if writer is None or type(de) is not int:
                raise EncodeError(de, "not in the dialect")
            writers.append((de, writer))
            bits |= 1 << (128 - de)
        if bits & ((1 << 64) - 1):
            bitmap = (bits | 1 << 127).to_bytes(16, "big")
        else:
            bitmap = (bits >> 64).to_bytes(8, "big")
        if self._hex_bitmap:
            bitmap = bitmap.hex().upper().encode()
        if len(self._shapes) >= SHAPES_MAX:
            self._shapes.clear()
        return self._shapes.setdefault(keys, (bitmap, writers))


@cache  # bounded by the registry's names
def codec_for(name: str) -> Codec:
    """The shared codec of a registered dialect; raises LookupError on an unknown name."""
    return Codec(registry.get(name))


def elements_of(bitmap: bytes) -> list[int]:
    """The elements that a bitmap of 8 or 16 bytes announces, ascending, without bit 1.

    >>> elements_of(bytes.fromhex("4000000000000001"))
    [2, 64]
    """
    bits = int.from_bytes(bitmap, "big")
    top = len(bitmap) * 8
    return [de for de in range(2, top + 1) if bits >> (top - de) & 1]


# -- contents: what characters a value may have ------------------------------
# Each predicate is asked about ASCII text only, so the Unicode answers of str never count.


def _is_digits(value: str) -> bool:
    return not value or value.isdigit()


def _is_alphanumeric(value: str) -> bool:
    return not value or value.isalnum()


def _is_alphanumeric_or_blank(value: str) -> bool:
    return value.isalnum() or _is_alphanumeric(value.replace(" ", ""))


def _is_track(value: str) -> bool:
    return _is_digits(value.replace("=", ""))


def _is_enciphered_track(value: str) -> bool:
    return not value.strip("0123456789ABCEF=")


def _is_signed(value: str) -> bool:
    return value[:1] in {"C", "D"} and value[1:].isdigit()


_HEX_CHARACTERS: Final = frozenset("0123456789abcdefABCDEF")
_CONTENT: Final[dict[str, tuple[Callable[[str], bool], str]]] = {
    "n": (_is_digits, "not a digit"),
    "an": (_is_alphanumeric, "not a letter or digit"),
    "anp": (_is_alphanumeric_or_blank, "not a letter, digit or blank"),
    "ans": (str.isprintable, "not printable"),
    "z": (_is_track, "not a digit or separator"),
    "zx": (_is_enciphered_track, "not a hex digit or separator"),
    "xn": (_is_signed, "not C or D and digits"),
}
# Nibbles of BCD contents as `bytes.hex` writes them, and the message's characters for them.
_BCD_TO_TEXT: Final = str.maketrans("dabcef", "=ABCEF")

_PREFIX_WIDTH: Final = {"fixed": 0, "ll_bcd": 1, "lll_bcd": 2, "ll_ascii": 2, "lll_ascii": 3}
_PREFIX_DIGITS: Final = {"ll_bcd": 2, "lll_bcd": 4, "ll_ascii": 2, "lll_ascii": 3}
# The filler nibble written, and those accepted, at an odd count of digits.
_FILLERS: Final = {
    "none": ("", ""),
    "left_0": ("0", "0"),
    "right_0": ("0", "0"),
    "right_0f": ("0", "0f"),
    "right_f0": ("F", "f0"),
}


# -- readers -----------------------------------------------------------------


def build_reader(row: Element) -> Reader:
    """The function that takes one element off a body, for one row of a table."""
    if row.encoding == "bcd":
        if row.prefix == "fixed":
            return _fixed_bcd_even(row) if row.size % 2 == 0 else _fixed_bcd_odd(row)
        return _variable_bcd(row)
    if row.prefix == "fixed":
        return _fixed_bytes(row)
    return _variable_bytes(row)


def _fixed_bcd_even(row: Element) -> Reader:
    de, size, width = row.de, row.size, row.size // 2
    to_value = _bcd_content(row)

    def read_digits(data: bytes, hexed: str, _text: str, offset: int, message: Message) -> int:
        end = offset + width
        value = hexed[2 * offset : 2 * end]
        if len(value) != size or not value.isdigit():
            raise _bcd_error(row, data, offset, width)
        message[de] = value
        return end

    def read_nibbles(data: bytes, hexed: str, _text: str, offset: int, message: Message) -> int:
        end = offset + width
        value = to_value(hexed[2 * offset : 2 * end])
        if value is None or len(value) != size:
            raise _bcd_error(row, data, offset, width)
        message[de] = value
        return end

    return read_digits if row.content == "n" else read_nibbles


def _fixed_bcd_odd(row: Element) -> Reader:
    de, size, width = row.de, row.size, (row.size + 1) // 2
    left = row.padding == "left_0"
    accepted = _FILLERS[row.padding][1]
    to_value = _bcd_content(row)

    def read(data: bytes, hexed: str, _text: str, offset: int, message: Message) -> int:
        end = offset + width
        nibbles = hexed[2 * offset : 2 * end]
        if len(nibbles) <= size:
            raise _bcd_error(row, data, offset, width)
        digits = nibbles[1:] if left else nibbles[:-1]
        value = digits if digits.isdigit() else to_value(digits)
        if value is None or nibbles[0 if left else -1] not in accepted:
            raise _bcd_error(row, data, offset, width)
        message[de] = value
        return end

    return read


def _variable_bcd(row: Element) -> Reader:
    de = row.de
    bcd_prefix, prefix_width, counts = _prefix(row)
    accepted = _FILLERS[row.padding][1]
    left = row.padding == "left_0"
    to_value = _bcd_content(row)

    def read(data: bytes, hexed: str, text: str, offset: int, message: Message) -> int:
        start = offset + prefix_width
        count = counts.get(hexed[2 * offset : 2 * start] if bcd_prefix else text[offset:start])
        if count is None:
            raise _prefix_error(row, data, offset)
        width = (count + 1) >> 1
        end = start + width
        if end > len(data):
            raise _short(de, data, start, width)
        if count & 1 == 0:
            nibbles = hexed[2 * start : 2 * end]
        elif left:
            nibbles = hexed[2 * start + 1 : 2 * end]
            if hexed[2 * start] not in accepted:
                raise _bcd_error(row, data, start, width, count)
        else:
            nibbles = hexed[2 * start : 2 * end - 1]
            if hexed[2 * end - 1] not in accepted:
                raise _bcd_error(row, data, start, width, count)
        value = nibbles if nibbles.isdigit() else to_value(nibbles)
        if value is None:
            raise _bcd_error(row, data, start, width, count)
        message[de] = value
        return end

    return read


def _fixed_bytes(row: Element) -> Reader:
    de = row.de
    width = row.size * 2 if row.encoding == "hex" else row.size
    to_value = _bytes_content(row)
    is_content = _text_content(row)

    def read_raw(data: bytes, _hexed: str, _text: str, offset: int, message: Message) -> int:
        end = offset + width
        value = data[offset:end]
        if len(value) != width:
            raise _short(de, data, offset, width)
        message[de] = value
        return end

    def read_text(data: bytes, _hexed: str, text: str, offset: int, message: Message) -> int:
        end = offset + width
        value = text[offset:end]
        if len(value) != width:
            raise _short(de, data, offset, width)
        if not (value.isascii() and is_content(value)):
            raise _text_error(row, data, offset, end)
        message[de] = value
        return end

    def read_other(data: bytes, _hexed: str, _text: str, offset: int, message: Message) -> int:
        end = offset + width
        if end > len(data):
            raise _short(de, data, offset, width)
        value = to_value(data[offset:end])
        if value is None:
            raise _text_error(row, data, offset, end)
        message[de] = value
        return end

    return {"raw": read_raw, "ascii": read_text}.get(row.encoding, read_other)


def _variable_bytes(row: Element) -> Reader:
    de = row.de
    scale = 2 if row.encoding == "hex" else 1
    bcd_prefix, prefix_width, counts = _prefix(row)
    to_value = _bytes_content(row)
    is_content = _text_content(row)

    def read_raw(data: bytes, hexed: str, text: str, offset: int, message: Message) -> int:
        start = offset + prefix_width
        count = counts.get(hexed[2 * offset : 2 * start] if bcd_prefix else text[offset:start])
        if count is None:
            raise _prefix_error(row, data, offset)
        end = start + count
        value = data[start:end]
        if len(value) != count:
            raise _short(de, data, start, count)
        message[de] = value
        return end

    def read_text(data: bytes, hexed: str, text: str, offset: int, message: Message) -> int:
        start = offset + prefix_width
        count = counts.get(hexed[2 * offset : 2 * start] if bcd_prefix else text[offset:start])
        if count is None:
            raise _prefix_error(row, data, offset)
        end = start + count
        value = text[start:end]
        if len(value) != count:
            raise _short(de, data, start, count)
        if not (value.isascii() and (is_content(value) or not value)):
            raise _text_error(row, data, start, end)
        message[de] = value
        return end

    def read_other(data: bytes, hexed: str, text: str, offset: int, message: Message) -> int:
        start = offset + prefix_width
        count = counts.get(hexed[2 * offset : 2 * start] if bcd_prefix else text[offset:start])
        if count is None:
            raise _prefix_error(row, data, offset)
        end = start + count * scale
        if end > len(data):
            raise _short(de, data, start, count * scale)
        value = to_value(data[start:end])
        if value is None:
            raise _text_error(row, data, start, end)
        message[de] = value
        return end

    return {"raw": read_raw, "ascii": read_text}.get(row.encoding, read_other)


def _absent(de: int) -> Reader:
    def read(_data: bytes, _hexed: str, _text: str, offset: int, _message: Message) -> int:
        raise DecodeError(de, offset, "not in the dialect")

    return read


def _prefix(row: Element) -> tuple[bool, int, dict[str, int]]:
    """Whether the prefix is BCD, its width in bytes, and every legal prefix with its count."""
    digits = _PREFIX_DIGITS[row.prefix]
    counts = {f"{count:0{digits}d}": count for count in range(row.size + 1)}
    return row.prefix.endswith("_bcd"), _PREFIX_WIDTH[row.prefix], counts


def _bcd_content(row: Element) -> Callable[[str], str | None]:
    """Hex digits (lower case) of an element -> its value, None when they are not its content."""

    def digits(nibbles: str) -> str | None:
        return nibbles if not nibbles or nibbles.isdigit() else None

    def track(nibbles: str) -> str | None:
        value = nibbles.replace("d", "=")
        return value if _is_track(value) else None

    def enciphered_track(nibbles: str) -> str | None:
        return nibbles.translate(_BCD_TO_TEXT)

    return {"n": digits, "z": track}.get(row.content, enciphered_track)


def _text_content(row: Element) -> Callable[[str], bool]:
    """The row's predicate for ASCII text that is not empty; str's own where one says the same."""
    plain = {"n": str.isdigit, "an": str.isalnum, "b": str.isprintable}
    return plain.get(row.content) or _CONTENT[row.content][0]


def _bytes_content(row: Element) -> Callable[[bytes], str | bytes | None]:
    """Bytes of an element -> its value, None when they are not its content."""
    if row.encoding == "raw":
        return lambda octets: octets
    if row.encoding == "hex":
        return _unhex_upper
    is_content = _CONTENT[row.content][0]

    def from_ascii(octets: bytes) -> str | None:
        if not octets.isascii():
            return None
        value = octets.decode("ascii")
        return value if is_content(value) else None

    return from_ascii if row.encoding == "ascii" else gbk_text


def _unhex_upper(octets: bytes) -> bytes | None:
    """Upper-case hex only: with two cases one value would have two writings."""
    try:
        value = unhexlify(octets)
    except HexError:
        return None
    return value if value.hex().upper().encode() == octets else None


def gbk_text(octets: bytes) -> str | None:
    """GBK text without control characters that reads back to the same bytes, else None."""
    if octets.isascii():
        value = octets.decode("ascii")
        return value if value.isprintable() else None
    try:
        value = octets.decode("gbk")
        if value.encode("gbk") != octets:
            return None
    except UnicodeError:
        return None
    return None if any(character < " " or character == "\x7f" for character in value) else value


# -- what went wrong, told after the fact ------------------------------------


def _short(de: int, data: bytes, offset: int, width: int) -> DecodeError:
    return DecodeError(de, offset, f"needs {width} bytes, {max(len(data) - offset, 0)} left")


def _prefix_error(row: Element, data: bytes, offset: int) -> DecodeError:
    width = _PREFIX_WIDTH[row.prefix]
    prefix = data[offset : offset + width]
    if len(prefix) < width:
        return _short(row.de, data, offset, width)
    digits = prefix.hex() if row.prefix.endswith("_bcd") else prefix.decode("latin-1")
    if not (digits.isascii() and digits.isdigit()):
        return DecodeError(row.de, offset, "length prefix is not digits")
    return DecodeError(row.de, offset, f"length {int(digits)} over {row.size}")


def _bcd_error(
    row: Element, data: bytes, offset: int, width: int, count: int | None = None
) -> DecodeError:
    """Why `width` bytes are not the row's digits: too few, a wrong nibble, a wrong filler."""
    if offset + width > len(data):
        return _short(row.de, data, offset, width)
    end = offset + width
    odd = (row.size if count is None else count) % 2 == 1
    nibbles = data[offset:end].hex()
    filler_at = (0 if row.padding == "left_0" else len(nibbles) - 1) if odd else -1
    allowed = {"n": "0123456789", "z": "0123456789d"}.get(row.content, "0123456789abcdef")
    for index, nibble in enumerate(nibbles):
        if index != filler_at and nibble not in allowed:
            return DecodeError(row.de, offset + index // 2, _CONTENT[row.content][1], end)
    return DecodeError(row.de, offset + filler_at // 2, "wrong filler nibble", end)


def _text_error(row: Element, data: bytes, offset: int, end: int) -> DecodeError:
    """Why the bytes are not the row's characters, at the first that is not."""
    if row.encoding == "hex":
        return DecodeError(row.de, offset, "not upper-case hex digits", end)
    if row.encoding == "gbk":
        return DecodeError(row.de, offset, "not printable GBK text", end)
    is_content, reason = _CONTENT[row.content]
    for index in range(offset, end):
        character = chr(data[index])
        if row.content == "xn":
            good = character in "CD" if index == offset else character in "0123456789"
        else:
            good = character.isascii() and is_content(character)
        if not good:
            return DecodeError(row.de, index, reason, end)
    return DecodeError(row.de, offset, reason, end)


# -- writers -----------------------------------------------------------------


def build_writer(row: Element) -> Writer:
    """The function that writes one value, prefix included, for one row of a table."""
    if row.encoding == "bcd":
        if row.prefix == "fixed" and row.size % 2 == 0 and row.content == "n":
            return _write_digits(row)
        return _write_bcd(row)
    if row.encoding == "ascii":
        return _write_text(row)
    if row.encoding == "gbk":
        return _write_gbk(row)
    return _write_octets(row)


def _write_digits(row: Element) -> Writer:
    de, size = row.de, row.size

    def write(value: str | bytes) -> bytes:
        if type(value) is not str or len(value) != size:
            raise _value_error(row, value)
        if not (value.isascii() and value.isdigit()):
            raise EncodeError(de, "not a digit")
        return unhexlify(value)

    return write


def _write_bcd(row: Element) -> Writer:
    de, size, fixed = row.de, row.size, row.prefix == "fixed"
    is_content, reason = _CONTENT[row.content]
    filler = _FILLERS[row.padding][0]
    left = row.padding == "left_0"
    prefixes = _prefixes(row)

    def write(value: str | bytes) -> bytes:
        if type(value) is not str or (len(value) != size if fixed else len(value) > size):
            raise _value_error(row, value)
        if not (value.isascii() and is_content(value)):
            raise EncodeError(de, reason)
        count = len(value)
        nibbles = value.replace("=", "D")
        if count & 1:
            nibbles = filler + nibbles if left else nibbles + filler
        return prefixes[count] + unhexlify(nibbles)

    return write


def _write_text(row: Element) -> Writer:
    de, size, fixed = row.de, row.size, row.prefix == "fixed"
    is_content, reason = _text_content(row), _CONTENT[row.content][1]
    prefixes = _prefixes(row)

    def write_fixed(value: str | bytes) -> bytes:
        if type(value) is not str or len(value) != size:
            raise _value_error(row, value)
        if not (value.isascii() and is_content(value)):
            raise EncodeError(de, reason)
        return value.encode()

    def write_variable(value: str | bytes) -> bytes:
        if type(value) is not str or len(value) > size:
            raise _value_error(row, value)
        if not (value.isascii() and (is_content(value) or not value)):
            raise EncodeError(de, reason)
        return prefixes[len(value)] + value.encode()

    return write_fixed if fixed else write_variable


def _write_gbk(row: Element) -> Writer:
    de, size, fixed = row.de, row.size, row.prefix == "fixed"
    prefixes = _prefixes(row)

    def write(value: str | bytes) -> bytes:
        if type(value) is not str:
            raise _value_error(row, value)
        try:
            octets = value.encode("gbk")
        except UnicodeError:
            raise EncodeError(de, "not GBK text") from None
        if len(octets) != size if fixed else len(octets) > size:
            raise _length_error(row, len(octets))
        if gbk_text(octets) != value:
            raise EncodeError(de, "not printable GBK text")
        return prefixes[len(octets)] + octets

    return write


def _write_octets(row: Element) -> Writer:
    size, fixed, hexed = row.size, row.prefix == "fixed", row.encoding == "hex"
    prefixes = _prefixes(row)

    def write(value: str | bytes) -> bytes:
        if type(value) is not bytes or (len(value) != size if fixed else len(value) > size):
            raise _value_error(row, value)
        return prefixes[len(value)] + (value.hex().upper().encode() if hexed else value)

    return write


def _prefixes(row: Element) -> list[bytes]:
    """The written length prefix by count; empty ones where the element is fixed."""
    if row.prefix == "fixed":
        return [b""] * (row.size + 1)
    digits = _PREFIX_DIGITS[row.prefix]
    texts = [f"{count:0{digits}d}" for count in range(row.size + 1)]
    return [unhexlify(text) if row.prefix.endswith("_bcd") else text.encode() for text in texts]


def _value_error(row: Element, value: str | bytes) -> EncodeError:
    wanted = bytes if row.content == "b" else str
    if type(value) is not wanted:
        return EncodeError(row.de, f"wants {wanted.__name__}, not {type(value).__name__}")
    return _length_error(row, len(value))


def _length_error(row: Element, length: int) -> EncodeError:
    wanted = str(row.size) if row.prefix == "fixed" else f"at most {row.size}"
    return EncodeError(row.de, f"wants {wanted}, has {length}")
