"""What stands before the MTI is shown by its fields: length, TPDU, every header that we know.

Method: messages framed with `iso8583.headers`, whose values come back by their names.
"""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from iso8583 import headers
from iso8583.codec import codec_for
from iso8583.inspect import inspect_message
from tests.schemas import assert_valid

GIVEN = {
    "pos": {"software": "32", "state": "0", "request": "3", "version": "200021"},
    "base24": {"product": "02", "release": "34", "status": "017"},
    "base1": {"destination": "123456", "source": "654321", "flags": "00A0"},
    "cups": {"destination": "00010344   ", "source": "00010000   ", "reject": "00000"},
}
DIALECTS = {"pos": "unionpay_pos", "base24": "base24", "base1": "visa", "cups": "iso1987_ascii"}


def framed(name: str) -> bytes:
    """A message in its dialect behind that header, a TPDU where terminals have one, and a length."""
    message: dict[int, str | bytes] = {
        0: "0200", 2: "6222021234567894", 3: "000000", 4: "000000000100", 11: "000001",
        12: "101112", 13: "0512", 25: "00", 49: "156",
    }  # fmt: skip
    rest = headers.get(name).build(GIVEN[name]) + codec_for(DIALECTS[name]).encode(message)
    if name == "pos":
        rest = bytes.fromhex("6000030A1B") + rest
    return len(rest).to_bytes(2, "big") + rest


@pytest.mark.parametrize("name", GIVEN)
def test_a_header_is_shown_by_its_fields(name: str) -> None:
    data = framed(name)
    found = inspect_message(data)
    assert found.ok
    assert not found.doubtful
    shown = found.to_json_dict()
    assert_valid("inspection", shown)
    header = shown["frame"][-1]
    assert header["part"] == "header"
    assert header["name"] == headers.get(name).titles[0]
    values = {field["key"]: field["value"] for field in header["fields"]}
    assert values == headers.get(name).parse(data[header["offset"] :])
    assert values | GIVEN[name] == values
    assert data[header["offset"] :][: header["length"]].hex().upper() == header["raw"]
    assert shown["frame"][0] == {
        "part": "length", "name": "length", "offset": 0, "length": 2, "raw": data[:2].hex().upper(),
        "value": str(len(data) - 2), "meaning": "binary, big endian", "fields": [],
    }  # fmt: skip
    for lang, column in (("en", 0), ("zh", 1)):
        out = io.StringIO()
        Console(file=out, width=200).print(found.table(lang))
        for field in headers.get(name).fields:
            assert field.names[column] in out.getvalue()


def test_a_tpdu_is_an_id_and_two_addresses() -> None:
    tpdu = inspect_message(framed("pos")).to_json_dict()["frame"][1]
    assert (tpdu["part"], tpdu["offset"], tpdu["raw"]) == ("tpdu", 2, "6000030A1B")
    assert [field["value"] for field in tpdu["fields"]] == ["60", "0003", "0A1B"]


def test_a_header_in_doubt_has_no_fields() -> None:
    data = framed("base24")
    cut = inspect_message(data[:-3])
    assert cut.doubtful
    header = cut.to_json_dict()["frame"][-1]
    assert (header["raw"], header["value"], header["fields"]) == (None, "[12 bytes]", [])
    assert len(inspect_message(data[:-3], unmask=True).frame()[-1].fields) == 6


def test_lengths_are_told_as_they_are_written() -> None:
    body = framed("base24")[2:]
    for length, value, meaning in (
        (b"%04d" % len(body), len(body), "digits in ASCII"),
        (b"%04d" % (len(body) + 4), len(body) + 4, "digits in ASCII, counts itself"),
        (bytes.fromhex(f"{len(body):04d}"), len(body), "BCD"),
        (len(body).to_bytes(4, "big"), len(body), "binary, big endian"),
    ):
        one = inspect_message(length + body).frame()[0]
        assert (one.value, one.meaning[0]) == (str(value), meaning)
