"""Headers by name: every field read where it stands, written back, refused where it is none.

Goal: what `iso8583.headers` says of a header holds both ways. Method: bytes of one header by hand;
hypothesis over all; dialects name only headers there are.
"""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from iso8583 import headers
from iso8583.dialects import registry
from iso8583.dialects.table import Dialect, Element
from iso8583.errors import DecodeError, EncodeError

# jPOS BASE1Header: length 22, format 1, text 2, total 105, destination 123456, source 654321
BASE1 = bytes.fromhex("16 01 02 0069 123456 654321 00 0000 000000 00 000000 00")


def test_widths_are_those_of_the_sources() -> None:
    widths = {name: header.width for name, header in headers.HEADERS.items()}
    assert widths == {"pos": 6, "base24": 12, "base1": 22, "base1_reject": 26, "cups": 46}


def test_fields_of_a_header() -> None:
    found = headers.BASE1.parse(BASE1 + b"\x02\x00")
    assert (found["header_length"], found["total_length"]) == ("22", "105")
    assert (found["destination"], found["source"]) == ("123456", "654321")
    assert headers.BASE1.build(found) == BASE1
    assert headers.POS.parse(bytes.fromhex("603110310000"))["state"] == "1"
    assert headers.BASE24.parse(b"ISO023400010")["release"] == "34"


@given(st.sampled_from(sorted(headers.HEADERS)), st.binary(max_size=60))
def test_what_is_read_is_written_back(name: str, data: bytes) -> None:
    header = headers.get(name)
    octets = header.magic + data
    try:
        found = header.parse(octets)
    except DecodeError:
        return
    assert header.matches(octets)
    assert header.build(found) == octets[: header.width]


def test_what_is_no_header() -> None:
    with pytest.raises(DecodeError, match="needs 12 bytes, 3 left"):
        headers.BASE24.parse(b"ISO")
    with pytest.raises(DecodeError, match="begins otherwise"):
        headers.BASE24.parse(b"OSI023400010")
    with pytest.raises(DecodeError, match="at byte 5: header base1, destination: not digits"):
        headers.BASE1.parse(BASE1[:5] + b"\xff" + BASE1[6:])
    with pytest.raises(EncodeError, match="has no field nii"):
        headers.POS.build({"nii": "1"})
    for wrong in ("12345", "1234567", "12345A", "²23456"):
        with pytest.raises(EncodeError, match="destination: digits in 3 bytes"):
            headers.BASE1.build({"destination": wrong})
    with pytest.raises(LookupError, match="no header 'visa'; there are pos, base24"):
        headers.get("visa")


def test_dialects_name_headers_there_are() -> None:
    named = {registry.get(name).header for name in registry.names()}
    assert named == {"", "base24", "base1"}
    with pytest.raises(ValueError, match="header is none of pos"):
        Dialect("x", "", "bcd", "binary", (Element(3, "n", 6, "bcd"),), header="visa")
