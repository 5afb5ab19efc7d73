"""Mastercard IPM: ISO 8583:1993 messages as records of a VBS file, ASCII or EBCDIC.

The file begins with 1644/697 (header) and ends with 1644/695 (trailer), which tell the file's id (PDS
0105) and, in the trailer, the sum of DE 4 (PDS 0301) and the count of messages with both of these
(PDS 0306). A file without its trailer, or whose sums differ, is refused. A link's names are its own.

| message | becomes |
| --- | --- |
| 1240, DE 24 = 200 | a transaction; reversed (PDS 0025 = R...) its MTI reads 0420, else 0220 |
| 1240 with another function, 1442, 1740 | an adjustment of type MTI/DE 24, reason DE 25 |
| 1644 | nothing (administration) |

Any other message refuses the file. PDS: tag 4, length 3, value, in DE 48, 62, 123, 124, 125, one list.
The dialects are `iso8583/dialects/ipm.py`. Source: settlement reference [C11]. Unverified: function
codes and the PDS numbers of header and trailer.
"""

from typing import Final

import msgspec

from iso8583.codec import codec_for
from iso8583.dialects.ipm import IPM, IPM_EBCDIC, IPM_EBCDIC_HEX, IPM_HEX
from iso8583.errors import DecodeError, EncodeError
from iso8583.message import Message
from settlement.clearing import FileName
from settlement.files import vbs
from settlement.files.layout import FileError
from settlement.files.rows import Expected

HEADER, TRAILER = ("1644", "697"), ("1644", "695")
FILE_ID, AMOUNTS, COUNT, REVERSAL = "0105", "0301", "0306", "0025"
PDS_ELEMENTS: Final = (48, 62, 123, 124, 125)
SECRET: Final = frozenset({2, 14, 35, 45, 55})  # no error shows their value
CHIP: Final = 55


# by (EBCDIC, bitmaps as hex characters)
DIALECTS: Final = {
    (False, False): IPM,
    (False, True): IPM_HEX,
    (True, False): IPM_EBCDIC,
    (True, True): IPM_EBCDIC_HEX,
}


class IpmExpected(Expected, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`ebcdic` says how the file is written; blocking is seen. `hex_bitmap`: bitmaps as ASCII characters."""

    ebcdic: bool = False
    hex_bitmap: bool = False


class Record(msgspec.Struct, frozen=True):
    """One message: elements, and private data subelements by tag."""

    number: int  # in the file, from 1
    message: Message
    pds: dict[str, str]

    @property
    def function(self) -> tuple[str, str]:
        """(MTI, DE 24)."""
        return str(self.message[0]), self.text(24)

    def text(self, de: int) -> str:
        value = self.message.get(de, "")
        return value if isinstance(value, str) else value.hex()


class Coding:
    """One way of writing records, to and fro."""

    def __init__(self, expected: IpmExpected) -> None:
        self._text: Final = "cp500" if expected.ebcdic else "latin-1"
        self._codec: Final = codec_for(DIALECTS[expected.ebcdic, expected.hex_bitmap].name)

    def decode(self, data: bytes, file: str, number: int) -> Record:
        """A record, or FileError with its number and the byte in it."""
        try:
            message = self._codec.decode(data)
        except DecodeError as error:
            secret = error.de is None or error.de in SECRET
            shown = "" if secret else data[error.offset : error.offset + 12].decode(self._text)
            where = f"DE {error.de}: " if error.de else ""
            raise FileError(
                file, number, error.offset + 1, shown, f"{where}{error.reason}"
            ) from error
        return Record(number, message, pds_of(message, file, number))

    def encode(self, message: Message) -> bytes:
        """The record of a message. Raises EncodeError."""
        return self._codec.encode(message)


def pds_of(message: Message, file: str, number: int) -> dict[str, str]:
    """Private data subelements of a message, over all elements that hold them, by tag."""
    found: dict[str, str] = {}
    for de in PDS_ELEMENTS:
        data = message.get(de, "")
        assert isinstance(data, str)
        at = 0
        while at < len(data):
            tag, length = data[at : at + 4], data[at + 4 : at + 7]
            digits = (tag + length).isascii() and tag.isdigit() and length.isdigit()
            if not digits or len(length) < 3 or at + 7 + int(length) > len(data):
                raise FileError(
                    file, number, 1, "", f"DE {de}: no subelement at character {at + 1}"
                )
            if tag in found:
                raise FileError(file, number, 1, "", f"DE {de}: PDS {tag} stands twice")
            found[tag] = data[at + 7 : at + 7 + int(length)]
            at += 7 + int(length)
    return found


def pds(values: dict[str, str]) -> str:
    """Subelements as one element holds them.

    >>> pds({"0001": "Y"})
    '0001001Y'
    """
    return "".join(f"{tag}{len(value):03d}{value}" for tag, value in sorted(values.items()))


def read(data: bytes, file: FileName, expected: IpmExpected) -> list[Record]:
    """The records between header and trailer, whose sums they come to; or FileError."""
    coding = Coding(expected)
    records = [
        coding.decode(record, file.name, number)
        for number, record in enumerate(vbs.read(data, file.name), 1)
    ]

    def refuse(number: int, reason: str, value: str = "") -> FileError:
        return FileError(file.name, number, 1, value, reason)

    if not records or records[0].function != HEADER:
        raise refuse(1, "no header (1644/697)")
    if records[-1].function != TRAILER:
        raise refuse(len(records), "no trailer (1644/695): the file was cut off")
    trailer = records[-1].pds
    amounts = sum(int(record.text(4) or 0) for record in records)
    for tag, width, found in ((AMOUNTS, 16, amounts), (COUNT, 8, len(records))):
        told = trailer.get(tag, "")
        if len(told) != width or not (told.isascii() and told.isdigit()):
            raise refuse(len(records), f"PDS {tag}: not {width} digits", told)
        if int(told) != found:
            raise refuse(len(records), f"PDS {tag}: the records come to {found}", told)
    if trailer.get(FILE_ID) != records[0].pds.get(FILE_ID):
        raise refuse(len(records), f"PDS {FILE_ID}: not the header's file")
    between = records[1:-1]
    for record in between:
        if record.function in (HEADER, TRAILER):
            raise refuse(record.number, "a header or trailer within the file")
    return between


def render(
    messages: list[Message], file_id: str, expected: IpmExpected, *, blocked: bool = True
) -> bytes:
    """A file of `messages` with header and trailer; DE 71 numbers them. Raises EncodeError."""
    coding = Coding(expected)
    amounts = sum(int(str(message.get(4, "0"))) for message in messages)
    sums = {FILE_ID: file_id, AMOUNTS: f"{amounts:016d}", COUNT: f"{len(messages) + 2:08d}"}
    header: Message = {0: HEADER[0], 24: HEADER[1], 48: pds({FILE_ID: file_id})}
    trailer: Message = {0: TRAILER[0], 24: TRAILER[1], 48: pds(sums)}
    everything = [header, *messages, trailer]
    if amounts >= 10**16 or len(everything) >= 10**8:
        raise EncodeError(48, "sums that the trailer can not hold")
    return vbs.write(
        (coding.encode({**one, 71: f"{n:08d}"}) for n, one in enumerate(everything, 1)),
        blocked=blocked,
    )
