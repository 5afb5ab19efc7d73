"""Files as they are shipped: `.Z` (Unix compress), `.gz`, `.tar.gz`, or plain.

Pure: bytes in, named bytes out. What comes out is bounded, so that a small file can not fill the
memory. Python has no reader of `.Z`; this is one, after compress's own format: a 3-byte header
(1F 9D, then flags: bits 0-4 the widest code, bit 7 block mode), codes of 9 bits and more, low bits
first, in groups of eight codes that are filled up whenever the width changes.
"""

import io
import tarfile
import zlib
from typing import Final

from settlement.files.layout import FileError
from settlement.said import Said, said

MAX_BYTES: Final = 2 * 1024**3  # unpacked, all members together: a day of 7 million COM lines
MAX_MEMBERS: Final = 1_000
ENDINGS: Final = (".tar.gz", ".tgz", ".gz", ".Z")

CLEAR: Final = 256  # in block mode: forget the table
FIRST_BITS: Final = 9


def is_packed(name: str) -> bool:
    return name.endswith(ENDINGS)


def unpack(name: str, data: bytes, max_bytes: int = MAX_BYTES) -> list[tuple[str, bytes]]:
    """The files in a packed one as (name, bytes), in its order; a plain one is itself.

    >>> unpack("IND26080101ACOM", b"x")
    [('IND26080101ACOM', b'x')]
    """
    if name.endswith((".tar.gz", ".tgz")):
        return _untar(name, _gunzip(name, data, max_bytes))
    if name.endswith(".gz"):
        return [(name.removesuffix(".gz"), _gunzip(name, data, max_bytes))]
    if name.endswith(".Z"):
        return [(name.removesuffix(".Z"), uncompress(name, data, max_bytes))]
    return [(name, data)]


def _gunzip(name: str, data: bytes, max_bytes: int) -> bytes:
    found = io.BytesIO()
    rest = data
    while rest or not data:  # members may stand one behind another
        reader = zlib.decompressobj(wbits=31)
        try:
            found.write(reader.decompress(rest, max_bytes - found.tell() + 1))
        except zlib.error as error:
            raise FileError(name, 1, 1, "", said("file_gzip", reason=error)) from error
        if found.tell() > max_bytes:
            raise FileError(name, 1, 1, "", said("file_unpacked", most=max_bytes))
        if not reader.eof:
            raise FileError(name, 1, 1, "", said("file_gzip_cut"))
        rest = reader.unused_data
    return found.getvalue()


def _untar(name: str, data: bytes) -> list[tuple[str, bytes]]:
    members: list[tuple[str, bytes]] = []
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for member in archive:
                if member.isdir():
                    continue
                inside = member.name.rpartition("/")[2]
                reader = archive.extractfile(member) if member.isreg() else None
                if reader is None or not inside or len(members) >= MAX_MEMBERS:
                    reason = said("file_member")
                    raise FileError(name, len(members) + 1, 1, "", reason)
                content = reader.read()
                if len(content) != member.size:
                    raise FileError(name, len(members) + 1, 1, "", said("file_member_cut"))
                members.append((inside, content))
    except (tarfile.TarError, OSError) as error:
        raise FileError(name, len(members) + 1, 1, "", said("file_tar", reason=error)) from error
    return members


def uncompress(name: str, data: bytes, max_bytes: int = MAX_BYTES) -> bytes:
    """What `compress` packed. FileError names the byte of the packed file."""

    def refuse(reason: Said) -> FileError:
        return FileError(name, 1, at // 8 + 1, "", reason)

    at = 0  # in bits
    if data[:2] != b"\x1f\x9d" or len(data) < 3:
        raise refuse(said("file_compress"))
    widest, block_mode = data[2] & 0x1F, bool(data[2] & 0x80)
    if not FIRST_BITS <= widest <= 16:
        raise refuse(said("file_bits", bits=widest))
    table: list[bytes] = []
    bits, previous, group = FIRST_BITS, b"", 24
    out, size = [], 0
    at, end = 24, len(data) * 8

    def start() -> list[bytes]:
        first = [bytes([byte]) for byte in range(256)]
        return [*first, b""] if block_mode else first

    table = start()
    while at + bits <= end:
        first = at // 8
        code = int.from_bytes(data[first : first + 4], "little") >> (at % 8) & ((1 << bits) - 1)
        at += bits
        if block_mode and code == CLEAR:
            at += -(at - group) % (8 * bits)
            table, bits, previous, group = start(), FIRST_BITS, b"", at
            continue
        if code < len(table):
            found = table[code]
        elif code == len(table) and previous:
            found = previous + previous[:1]
        else:
            raise refuse(said("file_no_code"))
        out.append(found)
        size += len(found)
        if size > max_bytes:
            raise refuse(said("file_unpacked", most=max_bytes))
        if previous and len(table) < 1 << widest:
            table.append(previous + found[:1])
        previous = found
        if len(table) >= 1 << bits and bits < widest:
            at += -(at - group) % (8 * bits)
            bits, group = bits + 1, at
    if int.from_bytes(data[at // 8 :], "little") >> (at % 8):
        raise refuse(said("file_compress_cut"))
    return b"".join(out)
