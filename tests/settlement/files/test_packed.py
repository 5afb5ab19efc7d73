"""Packed files: `.Z` against another implementation, gzip, tar, and what was cut off or is too much.

Oracle: a compressor written here from the format's description, and where the machine has gzip its
own reader of `.Z` (`gzip -dc`), which is not ours.
"""

import gzip
import io
import shutil
import subprocess
import tarfile

import pytest
from hypothesis import given, settings, strategies as st

from settlement.files.layout import FileError
from settlement.files.packed import unpack
from tests.settlement.files.samples import FILES


def compress(data: bytes, widest: int = 12, clear_after: int | None = None) -> bytes:
    """compress's format, in block mode: one code after another, groups of eight codes filled up."""
    codes: list[tuple[int, int]] = []  # (code, bits)
    table = {bytes([byte]): byte for byte in range(256)}
    free, bits, current, first = 257, 9, b"", True
    known = 0  # entries that the reader has: it is one code behind

    def emit(code: int) -> None:
        nonlocal bits, known, first
        codes.append((code, bits))
        if first:
            first, known = False, 257
        elif known < 1 << widest:
            known += 1
        if known >= 1 << bits and bits < widest:
            codes.append((-1, bits))
            bits += 1

    for byte in data:
        longer = current + bytes([byte])
        if longer in table:
            current = longer
            continue
        emit(table[current])
        if free < 1 << widest:
            table[longer] = free
            free += 1
        current = bytes([byte])
        if clear_after is not None and free > 257 + clear_after:
            emit(table[current])
            codes += [(256, bits), (-1, bits)]
            table = {bytes([one]): one for one in range(256)}
            free, bits, first, current = 257, 9, True, b""
    if current:
        emit(table[current])
    out, at, group = 0, 0, 0
    for code, width in codes:
        if code < 0:
            at += -(at - group) % (8 * width)
            group = at
        else:
            out |= code << at
            at += width
    return b"\x1f\x9d" + bytes([0x80 | widest]) + out.to_bytes((at + 7) // 8, "little")


def test_z_by_hand() -> None:
    """`aaa`: code 97, then 257 (the pair it has just made)."""
    bits = 97 | 257 << 9
    assert unpack("x.Z", b"\x1f\x9d\x90" + bits.to_bytes(3, "little")) == [("x", b"aaa")]


@given(
    st.binary(max_size=3_000) | st.text("ab", max_size=6_000).map(str.encode),
    st.sampled_from([9, 10, 12, 16]),
    st.sampled_from([None, 100, 700]),
)
@settings(max_examples=60)
def test_z_comes_back(data: bytes, widest: int, clear_after: int | None) -> None:
    assert unpack("x.Z", compress(data, widest, clear_after)) == [("x", data)]


@pytest.mark.skipif(shutil.which("gzip") is None, reason="no gzip on this machine")
@pytest.mark.parametrize("type_", ["COM", "ERRA", "ZPSUM"])
def test_gzip_reads_our_test_files_the_same(type_: str) -> None:
    data = FILES[type_] * 40
    packed = compress(data, 13)
    found = subprocess.run(["gzip", "-dc"], input=packed, capture_output=True, check=True)
    assert found.stdout == data
    assert unpack("x.Z", packed) == [("x", data)]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not compress's"),
        (b"\x1f\x8b\x08", "not compress's"),
        (b"\x1f\x9d\x91\x61\x00", "codes of up to 17 bits"),
        (b"\x1f\x9d\x90" + (300).to_bytes(2, "little"), "stands for nothing"),
        (b"\x1f\x9d\x90" + (97 | 258 << 9).to_bytes(3, "little"), "stands for nothing"),
    ],
)
def test_broken_z_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(FileError, match=reason):
        unpack("x.Z", data)


def test_gz_and_tar_gz() -> None:
    assert unpack("a.gz", gzip.compress(b"one") + gzip.compress(b"two")) == [("a", b"onetwo")]
    packed = tar({"day/IND26080301ACOM": b"one", "day/IND26080332AERRA": b""})
    wanted = [("IND26080301ACOM", b"one"), ("IND26080332AERRA", b"")]
    assert unpack("a.tar.gz", packed) == unpack("a.tgz", packed) == wanted


def tar(members: dict[str, bytes], **kind: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        directory = tarfile.TarInfo("day")
        directory.type = tarfile.DIRTYPE
        archive.addfile(directory)
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            member.type = kind.get("type", tarfile.REGTYPE)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def test_members_that_are_no_files_are_refused() -> None:
    with pytest.raises(FileError, match="no plain file"):
        unpack("a.tar.gz", tar({"link": b""}, type=tarfile.SYMTYPE))


@pytest.mark.parametrize("name", ["a.gz", "a.tar.gz"])
@given(data=st.data())
def test_what_was_cut_off_or_changed_is_refused(name: str, data: st.DataObject) -> None:
    whole = tar({"x": b"1" * 5_000})
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(FileError):
        unpack(name, whole[:cut])


@given(st.sampled_from(["a.Z", "a.gz", "a.tgz", "a.tar.gz"]), st.binary(max_size=400))
def test_noise_ends_in_bytes_or_a_refusal(name: str, noise: bytes) -> None:
    for data in (noise, b"\x1f\x9d\x90" + noise, gzip.compress(noise)):
        try:
            members = unpack(name, data, 100_000)
        except FileError:
            continue
        assert all(isinstance(content, bytes) for _, content in members)


@pytest.mark.parametrize(
    ("name", "packed"),
    [("a.gz", gzip.compress(bytes(100_000), mtime=0)), ("a.Z", compress(bytes(100_000), 16))],
    ids=["gz", "Z"],
)
def test_a_small_file_can_not_fill_the_memory(name: str, packed: bytes) -> None:
    assert len(packed) < 2_000
    with pytest.raises(FileError, match="more than 99999 bytes when unpacked"):
        unpack(name, packed, 99_999)
    assert unpack(name, packed, 100_000) == [("a", bytes(100_000))]
