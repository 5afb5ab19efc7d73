"""BER-TLV: known answers of the corpus, and bounds.

Goal: DE 55 of real cards is read, broken ones are refused where they break, kept tags stay byte for
byte. Method: the corpus family emv-tlv; hypothesis for the inverse.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from iso8583.errors import DecodeError, EncodeError
from iso8583.tlv import KEPT_TAGS, build, keep, parse, parse_partial
from tests.iso8583.corpus import record, records

EMV = [row for row in records() if row["family"] == "emv-tlv"]
# where the broken ones break
OFFSETS = {"emv-bad-1": 0, "emv-bad-3": 3, "emv-bad-7": 9, "emv-bad-8": 10, "emv-bad-9": 65}


@pytest.mark.parametrize("row", [row for row in EMV if row["clean"]], ids=lambda row: row["id"])
def test_tags_of_the_corpus(row: dict[str, Any]) -> None:
    tags = {tag: value.hex().upper() for tag, value in parse(bytes.fromhex(row["hex"]))}
    # the file counts the filler between elements as a tag 00
    assert tags == {tag: value for tag, value in row["decoded"]["tags"].items() if tag != "00"}


@pytest.mark.parametrize("row", [row for row in EMV if row.get("bad")], ids=lambda row: row["id"])
def test_broken_tags_of_the_corpus(row: dict[str, Any]) -> None:
    data = bytes.fromhex(row["hex"])
    with pytest.raises(DecodeError) as refused:
        parse(data)
    assert (refused.value.de, refused.value.offset) == (55, OFFSETS[row["id"]])
    found, error = parse_partial(data)
    assert error is not None
    assert build(found) == data[: len(build(found))]


BAD = [
    ("9F", 0, "tag cut"),
    ("DFFFFFFF01 00", 0, "tag cut or over"),
    ("9A", 1, "tag without length"),
    ("9A 80 00", 1, "length is not"),
    ("9A 83 000001 00", 1, "length is not"),
    ("9A 82 01", 1, "length cut"),
    ("9A 03 0102", 2, "value of 3 bytes, 2 left"),
    ("95 00 " * 256, 510, "more than 255 tags"),
]


@pytest.mark.parametrize(("octets", "offset", "reason"), BAD)
def test_refused(octets: str, offset: int, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason) as refused:
        parse(bytes.fromhex(octets), de=62)
    assert (refused.value.de, refused.value.offset) == (62, offset)


@pytest.mark.parametrize("tag", ["", "9", "9F", "9f36", "9F36 ", "9A01", "00", "DFFFFFFF01"])
def test_what_is_no_tag_is_not_written(tag: str) -> None:
    with pytest.raises(EncodeError):
        build([(tag, b"")])


def test_lengths_take_their_shortest_form() -> None:
    for size, head in ((127, "9A7F"), (128, "9A8180"), (255, "9A81FF"), (256, "9A820100")):
        assert build([("9A", bytes(size))])[:-size].hex().upper() == head
    with pytest.raises(EncodeError):
        build([("9A", bytes(65536))])


tags = st.sampled_from(["9A", "95", "82", "9F26", "9F36", "DF31", "DF8116", "71", "FF00"])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(tags, st.binary(max_size=300)), max_size=8))
def test_parse_and_build_are_inverse(elements: list[tuple[str, bytes]]) -> None:
    data = build(elements)
    assert parse(data) == elements
    assert keep(data, {"9A", "9F26"}) == build([e for e in elements if e[0] in {"9A", "9F26"}])


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_are_tags_or_a_decode_error(data: bytes) -> None:
    found, error = parse_partial(data)
    assert error is None or 0 <= error.offset <= len(data)
    assert sum(len(value) for _, value in found) <= len(data)


def test_card_data_is_not_kept() -> None:
    assert not KEPT_TAGS & {"57", "5A", "5F20", "56", "9F6B", "9F20"}
    kept = keep(bytes.fromhex(record("emv-payby-55")["hex"]))
    assert {tag for tag, _ in parse(kept)} <= KEPT_TAGS
    assert keep(build([("5A", b"\x62\x20"), ("9F36", b"\0\x11")])) == build([("9F36", b"\0\x11")])
