"""The fields of one command, read from left to right; every fault is a `HostError` with its code.

Text fields are ASCII. After the last field may stand `%` and the LMK's id (2 digits), then X'19' and a
trailer of up to 32 characters that the answer repeats; `end` reads both and refuses anything else.
"""

import binascii
from typing import Final

from hsm.host.codes import HostError

LMK_VARIANT: Final = "00"
LMK_KEY_BLOCK: Final = "01"
TRAILER_BYTES_MAX: Final = 32
KEY_TEXT_MAX: Final = 4_097  # `S` and a key block

_TRAILER: Final = "\x19"
_DIGITS: Final = frozenset("0123456789")
_HEX: Final = frozenset("0123456789ABCDEFabcdef")
# letter of a key scheme -> characters after it; S and R are followed by a key block with its length
_SCHEME_CHARACTERS: Final = {"U": 32, "X": 32, "T": 48, "Y": 48, "Z": 16}


class Fields:
    """A cursor over one command's data."""

    __slots__ = ("_at", "_data", "_text", "ended", "lmk_id", "trailer")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._text = data.decode("latin-1")  # one character a byte
        self._at = 0
        self.lmk_id: str | None = None
        self.trailer = b""
        self.ended = False  # read to the end: the trailer is known

    def text(self, count: int) -> str:
        """`count` characters of printable ASCII."""
        found = self._text[self._at : self._at + count]
        if len(found) != count:
            raise HostError("80")
        if not (found.isascii() and found.isprintable()):
            raise HostError("15")
        self._at += count
        return found

    def digits(self, count: int, code: str = "15") -> str:
        """`count` decimal digits; `code` where something else stands there."""
        found = self._text[self._at : self._at + count]
        if len(found) != count:
            raise HostError("80")
        if not (found.isascii() and found.isdigit()):
            raise HostError(code)
        self._at += count
        return found

    def digits_here(self, least: int, most: int, code: str = "15") -> str:
        """The decimal digits that stand here, up to whatever is none; `code` unless so many."""
        end = start = self._at
        while end < len(self._text) and self._text[end] in _DIGITS:
            end += 1
        if not least <= end - start <= most:
            raise HostError(code)
        self._at = end
        return self._text[start:end]

    def number(self, count: int, code: str = "15") -> int:
        """A decimal number of `count` digits."""
        return int(self.digits(count, code))

    def hex(self, characters: int, code: str = "15") -> bytes:
        """Bytes written as `characters` hex digits."""
        found = self._text[self._at : self._at + characters]
        if len(found) != characters:
            raise HostError("80")
        try:
            value = binascii.unhexlify(found)
        except (binascii.Error, ValueError):
            raise HostError(code) from None
        self._at += characters
        return value

    def hex_number(self, characters: int) -> int:
        """A number written as hex digits, as lengths of data are."""
        found = self.text(characters)
        if not _HEX.issuperset(found):
            raise HostError("15")
        return int(found, 16)

    def binary(self, count: int) -> bytes:
        """`count` raw bytes."""
        found = self._data[self._at : self._at + count]
        if len(found) != count:
            raise HostError("80")
        self._at += count
        return found

    def choice(self, allowed: str, code: str = "15") -> str:
        """One character out of `allowed`."""
        found = self.text(1)
        if found not in allowed:
            raise HostError(code)
        return found

    def until(self, delimiter: str, maximum: int, code: str = "15") -> str:
        """Printable text up to `delimiter`, which is consumed; at most `maximum` characters."""
        end = self._text.find(delimiter, self._at, self._at + maximum + 1)
        if end < 0:
            raise HostError(code)
        found = self.text(end - self._at)
        self._at += len(delimiter)
        return found

    def skip_if(self, mark: str) -> bool:
        """Whether `mark` stands here; it is consumed then."""
        if self._text.startswith(mark, self._at):
            self._at += len(mark)
            return True
        return False

    def rest(self) -> bytes:
        """All that is left, for commands whose data has no length: no LMK id, no trailer can follow."""
        return self.binary(self.remaining())

    def peek(self, count: int = 1) -> str:
        """The next characters, fewer or none at the end."""
        return self._text[self._at : self._at + count]

    def remaining(self) -> int:
        """Bytes not read yet, trailer included."""
        return len(self._data) - self._at

    def key(self, bare: int = 32) -> str:
        """The text of a key: a scheme letter with its digits, `S` or `R` and a block, or bare hex.

        `bare` is how many hex digits a key without a letter has in this command (16 or 32).
        """
        letter = self._text[self._at : self._at + 1]
        if letter in ("S", "R"):
            size = self._text[self._at + 2 : self._at + 6]
            if not (len(size) == 4 and size.isascii() and size.isdigit()):
                raise HostError("83")
            found = self._text[self._at : self._at + 1 + int(size)]
            if len(found) != 1 + int(size) or not (found.isascii() and found.isprintable()):
                raise HostError("83")
        else:
            count = _SCHEME_CHARACTERS.get(letter)
            found = self._text[self._at : self._at + (bare if count is None else 1 + count)]
            if count is None and letter not in _HEX:
                raise HostError("26" if letter else "80")
            if len(found) != (bare if count is None else 1 + count):
                raise HostError("80")
            if not _HEX.issuperset(found if count is None else found[1:]):
                raise HostError("15")
        self._at += len(found)
        return found

    def lmk(self) -> None:
        """The LMK's id, if it stands here: some commands have fields after it."""
        if self.skip_if("%"):
            self.lmk_id = self.digits(2, "13")
            if self.lmk_id not in (LMK_VARIANT, LMK_KEY_BLOCK):
                raise HostError("13")

    def end(self) -> None:
        """Nothing but an LMK id and a trailer may follow."""
        if len(self._text) != self._at:
            self._read_end()
        self.ended = True

    def _read_end(self) -> None:
        if self.lmk_id is None:
            self.lmk()
        if self.skip_if(_TRAILER):
            trailer = self._data[self._at :]
            if len(trailer) > TRAILER_BYTES_MAX:
                raise HostError("80")
            self.trailer = _TRAILER.encode() + trailer
        elif len(self._text) != self._at:
            raise HostError("80")
