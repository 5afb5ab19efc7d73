"""How Mastercard's files hold records: VBS, and 1014 blocking around it.

VBS: every record behind its length (4 bytes, big endian); a zero length ends the file. Blocked: the
VBS stream cut into 1012 bytes, two bytes `40` behind each, the last block filled up with `40`.
Source: settlement reference [C11].
"""

from collections.abc import Iterable
from typing import Final

from settlement.files.layout import FileError
from settlement.said import said

BLOCK: Final = 1014
PAYLOAD: Final = 1012
FILLER: Final = b"\x40"
MAX_RECORD: Final = 16_384
MAX_RECORDS: Final = 20_000_000


def is_blocked(data: bytes) -> bool:
    """Whether whole blocks fill the file, each ending as blocks end.

    >>> is_blocked(write([b"record"], blocked=True)), is_blocked(write([b"record"], blocked=False))
    (True, False)
    """
    return (
        bool(data)
        and len(data) % BLOCK == 0
        and all(data[at : at + 2] == FILLER * 2 for at in range(PAYLOAD, len(data), BLOCK))
    )


def read(data: bytes, name: str) -> list[bytes]:
    """The records of a file, blocked or not. FileError: record from 1, byte of the VBS stream."""
    blocked = is_blocked(data)
    if blocked:
        data = b"".join(data[at : at + PAYLOAD] for at in range(0, len(data), BLOCK))
    records: list[bytes] = []
    at = 0
    while True:
        number = len(records) + 1
        if number > MAX_RECORDS:
            raise FileError(name, number, at + 1, "", said("file_many_records", most=MAX_RECORDS))
        if at + 4 > len(data):
            raise FileError(name, number, at + 1, "", said("file_no_length"))
        length = int.from_bytes(data[at : at + 4], "big")
        at += 4
        if length == 0:
            break
        if length > MAX_RECORD:
            reason = said("file_long_record", length=length, most=MAX_RECORD)
            raise FileError(name, number, at - 3, "", reason)
        record = data[at : at + length]
        if len(record) < length:
            reason = said("file_record_cut", length=length, found=len(record))
            raise FileError(name, number, at + 1, "", reason)
        records.append(record)
        at += length
    if data[at:].strip(FILLER if blocked else b""):
        raise FileError(name, len(records) + 1, at + 1, "", said("file_more_behind"))
    if blocked and len(data) - at >= PAYLOAD:
        raise FileError(name, len(records) + 1, at + 1, "", said("file_block_behind"))
    return records


def write(records: Iterable[bytes], *, blocked: bool) -> bytes:
    """The file of `records`; none may be empty, for that would end it."""
    parts: list[bytes] = []
    for record in records:
        assert 0 < len(record) <= MAX_RECORD, len(record)
        parts.append(len(record).to_bytes(4, "big") + record)
    data = b"".join(parts) + bytes(4)
    if not blocked:
        return data
    return b"".join(
        data[at : at + PAYLOAD].ljust(PAYLOAD, FILLER) + FILLER * 2
        for at in range(0, len(data), PAYLOAD)
    )
