"""IPM: records of the corpus, blocking known byte by byte, header and trailer, meaning of messages."""

import json
from pathlib import Path
from typing import Any

import pytest

from settlement.files import ipm, vbs
from settlement.files.ipm import Coding, IpmExpected
from settlement.files.layout import FileError
from settlement.files.rows import Adjustment
from tests.settlement.files.samples import FILES, presented, read
from tests.settlement.world import PAN, PANS

CORPUS = Path(__file__).resolve().parents[2] / "data" / "corpus" / "messages.jsonl"
RECORDS: dict[str, dict[str, Any]] = {
    record["id"]: record
    for record in map(json.loads, CORPUS.read_text(encoding="utf-8").splitlines())
    if record["family"] == "ipm"
}
CODINGS = {
    "ipm-ascii-raw": IpmExpected(),
    "ipm-ascii-raw-hex": IpmExpected(hex_bitmap=True),
    "ipm-ebcdic-raw-hex": IpmExpected(ebcdic=True, hex_bitmap=True),
    "ipm-min-hexbitmap": IpmExpected(hex_bitmap=True),
    "ipm-bad-short": IpmExpected(),
    "ipm-bad-trailing": IpmExpected(),
}
FILE_ID = "0022608030000001234500001"


def test_every_ipm_record_of_the_corpus_is_here() -> None:
    assert RECORDS.keys() == {*CODINGS, "ipm-vbs-2"}


@pytest.mark.parametrize("name", [n for n in CODINGS if not RECORDS[n].get("bad")])
def test_records_of_the_corpus_are_read_and_written_again(name: str) -> None:
    data, expected = bytes.fromhex(RECORDS[name]["hex"]), RECORDS[name]["expected"]
    coding = Coding(CODINGS[name])
    record = coding.decode(data, "x", 1)
    assert record.message[0] == expected["MTI"]
    for key, value in expected.items():
        if key.startswith("DE") and key[2:].isdigit():
            assert record.message[int(key[2:])] == value, key
        if key.startswith("PDS"):
            assert record.pds[key[3:]] == value
    if name != "ipm-min-hexbitmap":  # its bitmap announces nothing above 64, which we do not write
        assert coding.encode(record.message).lower() == data.lower()


@pytest.mark.parametrize("name", [n for n in CODINGS if RECORDS[n].get("bad")])
def test_broken_records_of_the_corpus_are_refused(name: str) -> None:
    with pytest.raises(FileError):
        Coding(CODINGS[name]).decode(bytes.fromhex(RECORDS[name]["hex"]), "x", 1)


def test_the_vbs_of_the_corpus_has_its_two_records() -> None:
    records = vbs.read(bytes.fromhex(RECORDS["ipm-vbs-2"]["hex"]), "x")
    assert [record.hex().upper() for record in records] == [RECORDS["ipm-ascii-raw"]["hex"]] * 2


# -- frames, byte by byte -------------------------------------------------------------------------


def test_vbs_and_blocks_by_hand() -> None:
    plain = b"\x00\x00\x00\x03abc\x00\x00\x00\x02de\x00\x00\x00\x00"
    assert vbs.read(plain, "x") == [b"abc", b"de"]
    assert vbs.write([b"abc", b"de"], blocked=False) == plain
    blocked = plain + b"@" * (1014 - len(plain))
    assert vbs.read(blocked, "x") == [b"abc", b"de"]
    assert vbs.write([b"abc", b"de"], blocked=True) == blocked


def test_a_record_may_reach_over_blocks() -> None:
    record = bytes(range(1, 64)) * 40  # 2,520 bytes: three blocks
    stream = len(record).to_bytes(4, "big") + record + bytes(4)
    cut = [stream[:1012], stream[1012:2024], stream[2024:].ljust(1012, b"@")]
    assert vbs.read(b"".join(part + b"@@" for part in cut), "x") == [record]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file ends where a length should stand"),
        (b"\x00\x00\x00\x03abc", "the file ends where a length should stand"),
        (b"\x00\x00\x00\x03ab", "of which 2 are there"),
        (b"\x7f\xff\xff\xff", "more than 16384"),
        (b"\x00\x00\x00\x00x", "more behind the end"),
        (b"\x00\x00\x00\x01a\x00\x00\x00\x00" + b"@" * 2019, "a whole block behind the end"),
        (b"\x00\x00\x00\x00" + b"x".rjust(1008, b"@") + b"@@", "more behind the end"),
    ],
)
def test_broken_frames_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(FileError, match=reason):
        vbs.read(data, "x")


# -- header and trailer ---------------------------------------------------------------------------


def rendered(*messages: dict[int, Any], **trailer: str) -> bytes:
    """A file whose trailer says what `trailer` says (`pds0301=...`)."""
    records = vbs.read(ipm.render(list(messages), FILE_ID, IpmExpected()), "x")
    coding = Coding(IpmExpected())
    last = coding.decode(records[-1], "x", 1)
    told = {**last.pds, **{tag[3:]: value for tag, value in trailer.items()}}
    told = {tag: value for tag, value in told.items() if value}
    records[-1] = coding.encode({**last.message, 48: ipm.pds(told)})
    return vbs.write(records, blocked=True)


def test_the_trailer_tells_sum_and_count() -> None:
    records = vbs.read(
        ipm.render([presented(1, 700), presented(2, 35)], FILE_ID, IpmExpected()), "x"
    )
    trailer = Coding(IpmExpected()).decode(records[-1], "x", 4)
    assert trailer.function == ("1644", "695")
    assert trailer.pds == {
        "0105": FILE_ID,
        "0301": "0000000000000735",
        "0306": "00000004",
    }
    assert trailer.text(71) == "00000004"


@pytest.mark.parametrize(
    ("trailer", "reason"),
    [
        ({"pds0301": f"{10_001:016d}"}, "PDS 0301: the records come to 10000"),
        ({"pds0306": "00000004"}, "PDS 0306: the records come to 3"),
        ({"pds0306": "3"}, "PDS 0306: not 8 digits"),
        ({"pds0301": ""}, "PDS 0301: not 16 digits"),
        ({"pds0105": "9" * 25}, "PDS 0105: not the header's file"),
    ],
)
def test_a_trailer_that_differs_refuses_the_file(trailer: dict[str, str], reason: str) -> None:
    with pytest.raises(FileError, match=reason):
        read("IPM", rendered(presented(1), **trailer))


def test_a_file_has_one_header_and_one_trailer() -> None:
    whole = vbs.read(FILES["IPM"], "x")
    for records, reason in (
        (whole[1:], "no header"),
        (whole[:-1], "no trailer"),
        ([], "no header"),
    ):
        with pytest.raises(FileError, match=reason):
            read("IPM", vbs.write(records, blocked=False))
    with pytest.raises(FileError, match="a header or trailer within"):
        read("IPM", rendered(presented(1), {0: "1644", 24: "697"}))


# -- what messages mean ---------------------------------------------------------------------------


def test_a_presentment_is_a_transaction() -> None:
    parsed = read("IPM", FILES["IPM"])
    first, reversed_ = parsed.transactions
    assert (first.line, first.effect_minor, first.mti) == (2, 10_000, "0220")
    assert (first.transmission_time, first.rrn, first.auth_code) == (
        "0803101500",
        "621500000001",
        "000001",
    )
    assert (first.de32, first.mcc, first.currency) == ("48021000", "5812", "156")
    assert (first.pan_token, first.pan_masked) == (PANS.token(PAN), PANS.mask(PAN))
    assert (reversed_.mti, reversed_.effect_minor) == ("0420", -2_000)


def test_a_chargeback_is_an_adjustment() -> None:
    (row,) = read("IPM", FILES["IPM"]).rows
    assert isinstance(row, Adjustment)
    assert (row.error_type, row.reason, row.amount_minor) == ("1442/450", "4853", 500)
    assert row.pan_masked == PANS.mask(PAN)


def test_a_second_presentment_is_an_adjustment_and_administration_is_nothing() -> None:
    data = rendered(presented(1, de24="205"), {0: "1644", 24: "603"})
    parsed = read("IPM", data)
    assert [row.error_type for row in parsed.rows if isinstance(row, Adjustment)] == ["1240/205"]
    assert not parsed.transactions


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"de0": "1340"}, "neither presentment, chargeback nor fee collection"),
        ({"de12": "260230101500"}, "DE 12: no such date"),
        ({"de12": "260803251500"}, "DE 12: no such time"),
        ({"de48": "00230"}, "DE 48: no subelement at character 1"),
        ({"de48": "0023009POI"}, "DE 48: no subelement at character 1"),
        ({"de48": "0023003POI0023003POI"}, "DE 48: PDS 0023 stands twice"),
    ],
)
def test_messages_that_make_no_sense_refuse_the_file(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(FileError, match=reason):
        read("IPM", rendered(presented(1, **changes)))


@pytest.mark.parametrize("de", [2, 3, 4, 49])
def test_a_presentment_without_its_keys_refuses_the_file(de: int) -> None:
    message = presented(1)
    del message[de]
    with pytest.raises(FileError, match=f"DE {de}: mandatory"):
        read("IPM", rendered(message))


def test_a_refusal_shows_no_card_number() -> None:
    records = vbs.read(FILES["IPM"], "x")
    for at in range(len(records[1])):
        broken = [records[0], records[1][:at] + b"?" + records[1][at + 1 :], *records[2:]]
        try:
            read("IPM", vbs.write(broken, blocked=False))
        except FileError as error:
            shown = str(error)
            assert PAN[:8] not in shown
            assert PAN[-8:] not in shown
