"""Dialects that users write: what is allowed becomes a table, what is not is told by key and line.

Goal: a file either gives a table that a codec can be made of, or says where it is wrong and what is
allowed. Method: tables of files and refusals; every dialect of ours written as a file comes back.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from iso8583.codec import Codec
from iso8583.dialects import registry
from iso8583.dialects.from_toml import DialectFileError, from_toml

if TYPE_CHECKING:
    from iso8583.dialects.table import Dialect

BASED = 'name = "acme"\nbase = "unionpay_pos"\n'
ROW = BASED + '[elements.48]\ncontent = "ans"\nsize = 322\nencoding = "ascii"\nprefix = "lll_bcd"\n'

LONG = "".join(  # whose lengths would be tables of 130,000 entries
    f'[elements.{de}]\ncontent = "ans"\nsize = {65_535 - de}\nencoding = "ascii"\n'
    'prefix = "llllll_ascii"\n'
    for de in (60, 61)
)


def test_rows_are_replaced_added_and_removed() -> None:
    found = from_toml(
        'name = "acme"\ntitle = "ACME"\nbase = "unionpay_pos.de22_right"\nremove = [58, 59]\nversions = "01"\n'
        '[elements]\n43 = { content = "ans", size = 40, encoding = "gbk" }\n'
        '48 = { content = "ans", size = 322, encoding = "ascii", prefix = "lll_bcd", name = "block" }\n',
        registry.get,
    )
    base = registry.get("unionpay_pos.de22_right")
    assert {row.de for row in found.elements} == {row.de for row in base.elements} - {58, 59} | {43}
    assert (found.base, found.versions, found.mti) == ("unionpay_pos", "01", "bcd")
    row = found.element(48)
    assert row is not None
    assert (row.format, found.element_name(48)) == ("ans...322", "block")
    assert found.element(22) == base.element(22)
    codec = Codec(found)
    message: dict[int, str | bytes] = {0: "1200", 43: "公司" + " " * 36, 48: "A-1"}
    assert codec.decode(codec.encode(message)) == message


def as_toml(dialect: Dialect) -> str:
    """The whole table as a file without base."""
    lines = [f'name = "{dialect.name}"', f'title = "{dialect.title}"']
    lines += [
        f"{key} = {msgspec.json.encode(getattr(dialect, key)).decode()}"
        for key in ("mti", "bitmap", "versions", "classes", "bitmaps", "header")
    ]
    for row in dialect.elements:
        lines.append(f"[elements.{row.de}]")
        columns = msgspec.to_builtins(row)
        del columns["de"]
        lines += [f"{key} = {msgspec.json.encode(v).decode()}" for key, v in columns.items()]
    return "\n".join(lines)


@pytest.mark.parametrize("name", registry.names())
def test_a_dialect_of_ours_written_as_a_file_comes_back(name: str) -> None:
    dialect = registry.get(name)
    found = from_toml(as_toml(dialect), registry.get)
    assert found == msgspec.structs.replace(dialect, base="")


REFUSED = [
    ('name = "x"\nbase = "union"\n', "base", 2, "no dialect 'union'; there are unionpay_pos, "),
    ('name = "x"\nmti = "bcd"\n', "bitmap", 0, "needed where there is no base"),
    ('name = "x"\n', "mti", 0, "needed where there is no base"),
    ("title = 'x'\n", "name", 0, "is needed"),
    ('name = "X"\n', "name", 1, "small letters, digits and _"),
    ('name = "a.b.c"\n', "name", 1, "small letters"),
    ("name = 1\n", "name", 1, "expected `str`, got `int`"),
    (BASED + "\nremove = [2, 5]\n", "remove", 4, "the base has no DE 5"),
    (BASED + "remove = [true]\n", "remove", 3, "expected `int`"),
    (BASED + 'versions = "x"\n', "versions", 3, "versions are MTI digits"),
    (BASED + 'header = "x"\n', "header", 3, "header is none of pos, base24"),
    (BASED + 'mti = "x"\n', "mti", 3, "mti is none of bcd, ascii, ebcdic"),
    (BASED + "bitmaps = 4\n", "bitmaps", 3, "there are 1 to 3 bitmaps"),
    (BASED + "colour = 4\n", "colour", 3, "no such key; there are name, title, base, remove, mti"),
    (BASED + "[element.48]\nsize = 4\n", "element", 3, "no such key; there are name"),
    (BASED + "[elements.200]\n", "elements.200.content", 3, "is needed"),
    (BASED + "[elements.x]\n", "elements.x", 3, "the number of an element"),
    (BASED + "[elements]\n48 = 5\n", "elements.48", 4, "expected `object`, got `int`"),
    (ROW.replace("322", '"x"'), "elements.48.size", 5, "expected `int`, got `str`"),
    (ROW.replace("322", "0"), "elements.48.size", 5, "size 0 does not fit prefix lll_bcd"),
    (ROW.replace("322", "1000"), "elements.48.size", 5, "size 1000 does not fit"),
    (ROW.replace('"ans"', '"x"'), "elements.48.content", 4, "content is none of n, an, "),
    (ROW.replace('"ascii"', '"x"'), "elements.48.encoding", 6, "encoding is none of bcd, raw"),
    (ROW.replace('"ascii"', '"bcd"'), "elements.48", 3, "bcd can not carry ans"),
    (ROW.replace("lll_bcd", "lll"), "elements.48.prefix", 7, "prefix is fixed, or l to llllll"),
    (ROW + 'padding = "left_0"\n', "elements.48.padding", 8, "padding is for BCD that can be odd"),
    (ROW + 'counts = "x"\n', "elements.48.counts", 8, "counts is none of units, bytes"),
    (ROW + 'colour = "x"\n', "elements.48.colour", 8, "no such key; there are content, size"),
    (ROW.replace("elements.48", "elements.1"), "elements.1", 3, "elements are 2 to 64"),
    (ROW.replace("elements.48", "elements.190"), "bitmaps", 0, "DE 190 needs another bitmap"),
    (BASED + "[elements.48\n", "", 3, "is not TOML: Expected ']'"),
    (BASED + "[elements.48]\ncontent = ans\n", "", 4, "is not TOML: Invalid value"),
    (
        ROW + LONG,
        "elements.60.size",
        10,
        "sizes of variable elements add up to 134023, at most 131072",
    ),
    ("#" * 200_001, "", 0, "more than 200000 characters"),
    ("a = " + "[" * 2_000, "", 0, "is not TOML: nested too deep"),
]


@pytest.mark.parametrize(("text", "key", "line", "reason"), REFUSED)
def test_a_wrong_file_is_refused_by_key_and_line(
    text: str, key: str, line: int, reason: str
) -> None:
    with pytest.raises(DialectFileError) as refused:
        from_toml(text, registry.get)
    error = refused.value
    assert (error.key, error.line) == (key, line), error
    assert error.reason.startswith(reason)
    assert f"line {line}: " in str(error) or not line


def test_the_line_is_found_in_a_second() -> None:
    before = time.process_time()
    with pytest.raises(DialectFileError, match=r"^line 4: remove: "):
        from_toml(BASED + " " * 2_000 + "# none\nremove = [5]\n", registry.get)
    assert time.process_time() - before < 1


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80), st.integers(0, len(ROW)))
def test_anything_else_is_refused_with_the_same_error(noise: str, at: int) -> None:
    try:
        found = from_toml(ROW[:at] + noise + ROW[at:], registry.get)
    except DialectFileError:
        return
    assert found.elements


def test_dialects_are_added_once_and_bounded() -> None:
    found = from_toml(ROW, registry.get)
    known = registry.names()
    try:
        registry.add(found)
        registry.add(found)
        assert registry.get("acme") is found
        assert registry.names() == (*known, "acme")
        with pytest.raises(ValueError, match="there is a dialect acme already"):
            registry.add(msgspec.structs.replace(found, title="another"))
        with pytest.raises(ValueError, match="there is a dialect unionpay_pos already"):
            registry.add(msgspec.structs.replace(found, name="unionpay_pos"))
        for number in range(registry.ADDED_MAX - 1):
            registry.add(msgspec.structs.replace(found, name=f"many{number}"))
        assert len(registry.added()) == registry.ADDED_MAX
        with pytest.raises(ValueError, match="more than 64"):
            registry.add(msgspec.structs.replace(found, name="one_too_many"))
    finally:
        for name in set(registry.names()) - set(known):
            del registry._DIALECTS[name]
