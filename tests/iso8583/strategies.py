"""Hypothesis strategies made from dialect tables: values of a row, messages of a dialect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

if TYPE_CHECKING:
    from iso8583.dialects.table import Dialect, Element
    from iso8583.message import Message

ALPHABETS = {
    "n": "0123456789",
    "an": "0123456789ABCXYZabcxyz",
    "anp": "0123456789ABCXYZabcxyz ",
    "ans": "".join(map(chr, range(32, 127))),
    "z": "0123456789=",
    "zx": "0123456789ABCEF=",
    "h": "0123456789ABCDEF",
}


def values(row: Element) -> st.SearchStrategy[str | bytes]:
    """Every kind of value the row can write; sizes kept small where the row allows it."""
    most = row.size if row.prefix == "fixed" else min(row.size, 40)
    least = row.size if row.prefix == "fixed" else 0
    if row.content == "b":
        return st.binary(min_size=least, max_size=most)
    if row.content == "xn":
        digits = st.text("0123456789", min_size=most - 1, max_size=most - 1)
        return st.builds("".join, st.tuples(st.sampled_from("CD"), digits))
    if row.content == "any":
        one_byte = row.encoding not in {"utf-8", "gbk"}
        some = st.characters(codec=row.encoding if one_byte else "ascii")
        text = st.text(some, min_size=least, max_size=most)
        if one_byte or row.prefix == "fixed":
            return text
        return text | st.text(st.characters(codec=row.encoding), max_size=most // 4)
    text = st.text(ALPHABETS[row.content], min_size=least, max_size=most)
    if row.in_pairs:
        return text.map(lambda value: value[: len(value) // 2 * 2])
    if row.encoding == "gbk" and row.prefix != "fixed":
        return text | st.text("成功有限公司A1 ", max_size=most // 2)
    return text


@st.composite
def messages(draw: st.DrawFn, dialect: Dialect, most: int = 24) -> Message:
    """A message of up to `most` elements, keys in any order."""
    rows = draw(st.lists(st.sampled_from(dialect.elements), unique=True, max_size=most))
    version = draw(st.sampled_from(dialect.versions))
    message: Message = {0: version + draw(st.sampled_from(["200", "210", "421", "800", "320"]))}
    for row in rows:
        message[row.de] = draw(values(row))
    return message
