"""What holds for every type of clearing file.

Goal: a file is read right or refused whole, and whatever was done to it nothing else happens. Method:
one good file a type (`samples`), read; then cut, mutated byte by byte, filled with noise, put into
another encoding; where the file tells its sums, no single byte changes what the rows come to.
"""

import doctest
import importlib

import pytest
from hypothesis import given, strategies as st

from settlement.clearing import FileName
from settlement.files.layout import FileError, Layout
from settlement.files.registry import FORMATS, parse, recognise
from settlement.files.rows import Expected, Parsed
from tests.settlement.files.samples import EXPECTED, FILES, NAMES, context, file_name, read
from tests.settlement.world import ACQUIRER, DAY, PAN


def attempt(type_: str, data: bytes) -> Parsed | FileError:
    """What came of reading: rows, or the only exception that may come."""
    try:
        return read(type_, data)
    except FileError as error:
        return error


TYPES = sorted(FORMATS)
SUMMED = ("CHECK", "CSV", "IPM")  # a trailer tells the sum


def amount_of(parsed: Parsed) -> int:
    amounts = [row.amount_minor for row in parsed.transactions]
    return sum(abs(one) for one in amounts + [row.amount_minor for row in parsed.rows])


@pytest.mark.parametrize("type_", TYPES)
def test_the_sample_is_read_and_holds_no_card_number(type_: str) -> None:
    parsed = read(type_, FILES[type_])
    assert amount_of(parsed) > 0
    assert PAN not in repr(parsed)
    assert parsed.totals["transactions"] + parsed.totals["rows"] >= 2


@pytest.mark.parametrize("type_", TYPES)
def test_names_are_recognised_by_what_the_link_says(type_: str) -> None:
    expected = {type_: EXPECTED.get(type_, Expected())}
    found = recognise(ACQUIRER, NAMES[type_], expected)
    assert found is not None
    assert (found.type, found.settlement_date, found.acquirer) == (type_, DAY, ACQUIRER)
    for wrong in (f"{NAMES[type_]}.part", f"x{NAMES[type_]}", NAMES[type_].replace("0803", "0832")):
        assert recognise(ACQUIRER, wrong, expected) is None
    others = {other: EXPECTED.get(other, Expected()) for other in TYPES if other != type_}
    assert recognise(ACQUIRER, NAMES[type_], others) is None


@given(type_=st.sampled_from(TYPES), data=st.data())
def test_one_byte_changes_nothing_in_silence(type_: str, data: st.DataObject) -> None:
    good = FILES[type_]
    at = data.draw(st.integers(0, len(good) - 1))
    byte = data.draw(st.integers(0, 255))
    changed = good[:at] + bytes([byte]) + good[at + 1 :]
    found = attempt(type_, changed)
    if isinstance(found, FileError):
        assert found.line >= 1
        assert found.column >= 1
        assert PAN not in str(found)
    elif type_ in SUMMED:
        assert amount_of(found) == amount_of(read(type_, good))


@pytest.mark.parametrize("type_", SUMMED)
def test_no_byte_of_a_file_with_a_trailer_changes_its_sum(type_: str) -> None:
    """All positions, and for each the bytes that digits and signs are most likely taken for."""
    good = FILES[type_]
    whole = amount_of(read(type_, good))
    for at in range(len(good)):
        for byte in {good[at] ^ 1, good[at] ^ 2, 0x31, 0x2D} - {good[at]}:
            found = attempt(type_, good[:at] + bytes([byte]) + good[at + 1 :])
            assert isinstance(found, FileError) or amount_of(found) == whole, (at, byte)


@given(type_=st.sampled_from(TYPES), data=st.data())
def test_a_file_that_was_cut_off_is_refused_where_it_can_be_seen(
    type_: str, data: st.DataObject
) -> None:
    """With a trailer always, else within a line; only between lines nobody can tell."""
    good = FILES[type_]
    cut = good[: data.draw(st.integers(0, len(good) - 1))]
    found = attempt(type_, cut)
    if type_ in SUMMED and not isinstance(found, FileError):
        assert amount_of(found) == amount_of(read(type_, good))
    elif type_ not in SUMMED:
        ends = {len(line) for line in good.splitlines(keepends=True)}
        (width,) = ends
        whole = len(cut) % width in (0, width - 1, width - 2)
        assert isinstance(found, FileError) != whole


@given(type_=st.sampled_from(TYPES), noise=st.binary(min_size=1, max_size=1_500))
def test_noise_is_refused(type_: str, noise: bytes) -> None:
    found = attempt(type_, noise)
    if isinstance(found, FileError):
        assert found.line >= 1
    else:
        assert not [*found.transactions, *found.rows]


@pytest.mark.parametrize("type_", [t for t in TYPES if FORMATS[t].layouts and t != "IPM"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp500", "big5"])
def test_another_encoding_is_refused_or_says_the_same(type_: str, encoding: str) -> None:
    again = FILES[type_].decode("gbk").encode(encoding, "replace")
    found = attempt(type_, again)
    assert isinstance(found, FileError) or amount_of(found) == amount_of(read(type_, FILES[type_]))


@pytest.mark.parametrize("type_", [t for t in TYPES if t not in (*SUMMED, "IPM")])
def test_without_trailer_an_empty_file_is_a_day_without_rows(type_: str) -> None:
    parsed = read(type_, b"")
    assert not parsed.transactions
    assert not parsed.rows


@pytest.mark.parametrize("type_", SUMMED)
def test_with_a_trailer_an_empty_file_was_cut_off(type_: str) -> None:
    with pytest.raises(FileError):
        read(type_, b"")


@pytest.mark.parametrize("type_", TYPES)
def test_a_line_without_end_is_refused(type_: str) -> None:
    with pytest.raises(FileError):
        read(type_, b"1" * 100_000)


@pytest.mark.parametrize("type_", TYPES)
def test_the_same_rows_have_the_same_content_in_whatever_order(type_: str) -> None:
    first, again = (read(type_, FILES[type_]).transactions for _ in range(2))
    assert [row.content for row in first] == [row.content for row in again]
    assert len({row.content for row in first}) == len(first)
    other = FileName(ACQUIRER, "x", type_, DAY, 2)
    renamed = parse(FILES[type_], other, context(type_)).transactions
    assert [row.content for row in renamed] == [row.content for row in first]


def test_secret_fields_are_the_same_in_all_tables() -> None:
    for form in FORMATS.values():
        for table in form.layouts:
            if isinstance(table, Layout):
                for field in table.fields:
                    named = field.name in ("pan", "account") or field.name.endswith(
                        ("_card", "_account")
                    )
                    assert not named or field.secret, f"{table.name}.{field.name}"


def test_examples_in_docstrings() -> None:
    for name in ("csv_file", "ipm", "layout", "lines", "names", "packed", "registry", "vbs"):
        result = doctest.testmod(importlib.import_module(f"settlement.files.{name}"))
        assert result.attempted, name
        assert not result.failed, name


def test_file_name_of_samples() -> None:
    assert file_name("COM").settlement_date == DAY
