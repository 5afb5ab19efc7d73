"""COM files: the standard's offsets, both ways, and refusals that name line, column and reason."""

import doctest
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

import settlement.clearing
import settlement.fees
import settlement.files.layout
import settlement.reports.figures
import settlement.run
import settlement.shares
import settlement.texts
from settlement.clearing import ClearingRow, FileName, infer_date
from settlement.fees import Tariffs
from settlement.files import com
from settlement.files.layout import Field, FileError, Layout
from tests.settlement.world import ACQUIRER, DAY, PAN, PANS, billed, com_file, reference, trade

NAME = FileName(ACQUIRER, "IND26080301ACOM", "COM", DAY, 1)

# settlement reference §1, as it stands there
STANDARD = """0:11 acquirer F32 · 12:11 forwarder F33 · 24:6 trace F11 · 31:10 transmission time
MMDDhhmmss F7 · 42:19 PAN · 62:12 amount · 75:12 partial amount F95 · 88:12 cardholder fee x+n11 ·
101:4 MTI · 106:6 processing code · 113:4 MCC · 118:8 terminal · 127:15 merchant · 143:12 RRN ·
156:2 service condition · 159:6 auth code · 166:11 receiving institution F100 · 178:6 original trace
· 185:2 response · 188:3 entry mode · 192:12 fee receivable · 205:12 fee payable · 218:12 switching
fee x+n11 · 231:1 single/dual conversion · 233:3 card sequence · 237:1 reader capability · 239:1 IC
condition · 241:10 original date time · 252:11 issuer · 264:1 region · 266:2 terminal type · 269:2
ECI · 272:12 instalment extra fee x+n11 · 285:14 other."""


def parse(data: bytes, name: FileName = NAME) -> list[ClearingRow]:
    return com.parse(data, name, token=PANS.token, mask=PANS.mask)


def test_the_table_has_the_standards_offsets() -> None:
    wanted = [(int(at), int(long)) for at, long in re.findall(r"(\d+):(\d+)\s", STANDARD)]
    assert [(field.offset, field.length) for field in com.COM.fields] == wanted
    assert com.COM.length == 299
    assert " 285   14  an   o  other" in str(com.COM)


def test_a_table_with_a_gap_is_refused_when_built() -> None:
    with pytest.raises(AssertionError, match=r"offset 5, expected 4"):
        Layout("x", (Field("a", 0, 3, "n", ""), Field("b", 5, 3, "n", "")))


def test_a_rendered_row_parses_back() -> None:
    (row,) = parse(com_file([billed(trade(7, 123_45))])[1])
    assert (row.de32, row.de33, row.stan, row.transmission_time) == (
        "48021000",
        "48021000",
        "000007",
        "0803101500",
    )
    assert (row.amount_minor, row.effect_minor, row.mti) == (12345, 12345, "0200")
    assert (row.issuer_fee_minor, row.network_fee_minor) == (43, 4)
    assert row.pan_token == PANS.token(PAN)
    assert row.pan_masked == "622202*********0123"
    assert PAN not in repr(row)


@pytest.mark.parametrize(
    ("changes", "effect"),
    [
        ({}, 10_000),
        ({"processing_code": "200000"}, -10_000),
        ({"mti": "0220", "processing_code": "200000"}, -10_000),
        ({"mti": "0420"}, -10_000),
        ({"mti": "0420", "processing_code": "200000"}, 10_000),
        ({"partial_amount": 4_000}, 4_000),
    ],
)
def test_direction_and_amount(changes: dict[str, Any], effect: int) -> None:
    (row,) = parse(com_file([billed(trade(1), **changes)])[1])
    assert row.effect_minor == effect


LINE = com_file([billed(trade(1))])[1].rstrip(b"\n")


def patched(offset: int, data: bytes) -> bytes:
    return LINE[:offset] + data + LINE[offset + len(data) :]


@pytest.mark.parametrize(
    ("line", "column", "reason"),
    [
        (patched(62, b"00000000O100"), 63, "amount: not 12 digits"),
        (patched(62, b" " * 12), 63, "amount: mandatory, but blank"),
        (patched(62, b"\xa3\xb1"), 63, "amount: not 12 digits"),
        (patched(23, b"1"), 24, "no blank after forwarder_id"),
        (patched(218, b"X00000000003"), 219, "switching_fee: not C, D or blank"),
        (patched(31, b"0230101500"), 32, "transmission_time: no such date"),
        (patched(31, b"0803251500"), 32, "transmission_time: no such time"),
        (patched(42, b" 622202123456789012"), 43, "pan: not digits filled with blanks"),
        (patched(101, b"0800"), 102, "mti: neither"),
        (patched(185, b"05"), 186, "response_code: not a code"),
        (patched(285, b"\xff\xff"), 286, "other: not gbk text"),
        (LINE[:250], 251, "the line ends after 250 bytes"),
        (LINE[:299] + b"X", 300, "no blank after other"),
        (b"", 1, "the line ends after 0 bytes"),
    ],
)
def test_a_bad_line_refuses_the_whole_file(line: bytes, column: int, reason: str) -> None:
    with pytest.raises(FileError, match=re.escape(reason)) as refused:
        parse(LINE + b"\n" + line + b"\n" + LINE + b"\n")
    assert (refused.value.line, refused.value.column) == (2, column)


def test_the_codes_of_the_link_are_the_ones_that_approve() -> None:
    name = com.parse_name(ACQUIRER, "IND26080301ACOM")
    assert name is not None
    own = patched(185, b"Y1")
    (row,) = com.parse(own, name, token=PANS.token, mask=PANS.mask, approved={"Y1"})
    assert row.response_code == "Y1"
    links = [reference("link", "a", {"acquirer": "a", "approved": ["00"], "partial": ["Y1"]})]
    assert Tariffs(links).approved_codes("a") == frozenset({"00", "Y1"})
    assert Tariffs(links).approved_codes("b") is None


def test_a_refusal_shows_no_pan() -> None:
    shifted = LINE[:40] + LINE[41:] + b" "
    with pytest.raises(FileError) as refused:
        parse(shifted)
    wrong = patched(62, PAN[:12].encode())[:42] + b"x" + LINE[43:]
    with pytest.raises(FileError) as also:
        parse(wrong)
    assert PAN not in str(refused.value) + str(also.value)
    assert PAN[1:] not in str(also.value)
    for broken in (patched(42, b"62220212345 6789012"), patched(42, b"62220212           ")):
        with pytest.raises(FileError, match="column 43, ''") as third:
            parse(broken)
        assert "62220" not in str(third.value)
    beside = patched(285, b"\xff1234567 123456")
    with pytest.raises(FileError, match=r"\*{7} 12345"):
        parse(beside)


def test_lines_may_end_as_windows_ends_them_or_within_trailing_blanks() -> None:
    whole = parse(LINE)
    assert parse(LINE + b"\r\n") == parse(LINE.rstrip() + b"\n") == whole
    tail = LINE[:300] + b" " * 19 + b" 12 " + b"order".ljust(40) + b" " + b"0001 "
    assert parse(tail) == whole, "the tail, which may hold another PAN, is in no hash"


@pytest.mark.parametrize("left", [b"", LINE + b"\n"])
def test_a_file_that_ends_within_a_line_was_cut_off(left: bytes) -> None:
    """Also where the cut is between two fields and the rest may be blank: fees would be lost."""
    for length in (142, 155, 190, 217, 298):
        with pytest.raises(FileError, match="the file ends within a line") as refused:
            parse(left + LINE[:length])
        assert refused.value.column == length + 1


def test_an_empty_file_has_no_rows() -> None:
    assert parse(b"") == []


@pytest.mark.parametrize(
    ("month_day", "settled", "expected"),
    [
        ("1231", date(2027, 1, 1), date(2026, 12, 31)),
        ("0101", date(2027, 1, 1), date(2027, 1, 1)),
        ("0101", date(2026, 12, 31), date(2027, 1, 1)),
        ("0229", date(2028, 3, 1), date(2028, 2, 29)),
        ("0803", DAY, DAY),
        ("0230", DAY, None),
        ("1301", DAY, None),
    ],
)
def test_the_year_is_the_nearest(month_day: str, settled: date, expected: date | None) -> None:
    assert infer_date(month_day, settled) == expected


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("IND26080301ACOM", True),
        ("IND26080302ACOMN", True),
        ("IND26080332ACOMA", False),
        ("IND26083201ACOM", False),
        ("IND26080301ACOM.part", False),
        ("../IND26080301ACOM", False),
    ],
)
def test_names(name: str, taken: bool) -> None:
    assert (com.parse_name(ACQUIRER, name) is not None) == taken


@given(
    st.integers(0, 10**12 - 1),
    st.integers(-(10**11) + 1, 10**11 - 1),
    st.text("茶馆Tea", min_size=1, max_size=4),
)
def test_values_survive_the_file(amount: int, fee: int, other: str) -> None:
    line = com.COM.join(billed(trade(1), amount=amount, switching_fee=fee, other=other))
    (row,) = parse(line)
    assert (row.amount_minor, row.switching_fee_minor) == (amount, fee)
    assert com.COM.split(line, "x", 1)[-1] == other


@given(st.binary(min_size=2, max_size=400).filter(lambda noise: noise.strip(b"\n\r\x1a")))
def test_noise_is_refused_by_line_and_column(noise: bytes) -> None:
    with pytest.raises(FileError) as refused:
        parse(noise)
    assert refused.value.line >= 1
    assert refused.value.column >= 1


def test_examples_in_docstrings() -> None:
    for module in (
        settlement.clearing,
        settlement.fees,
        settlement.files.layout,
        settlement.reports.figures,
        settlement.shares,
        settlement.run,
        settlement.texts,
        com,
    ):
        result = doctest.testmod(module)
        assert result.attempted, module.__name__
        assert not result.failed, module.__name__


def test_every_text_has_both_halves() -> None:
    from settlement.cases import BREAK_CLASSES
    from settlement.ports import STEPS
    from settlement.texts import TEXTS

    for key, (english, chinese) in TEXTS.items():
        assert english.strip(), key
        assert re.search("[一-鿿]", chinese), key
    for name in BREAK_CLASSES:
        assert f"class_{name}" in TEXTS
    for step in STEPS:
        assert f"step_{step}" in TEXTS


def test_no_module_of_the_core_touches_the_outside() -> None:
    folder = Path(settlement.clearing.__file__).parent
    for path in [*folder.glob("*.py"), *folder.glob("files/*.py")]:
        if path.name not in ("cli.py", "ports.py"):  # ports name paths, and touch none
            found = re.search(
                r"^\s*(?:import|from) (os|pathlib|asyncpg|duckdb|time|random)\b",
                path.read_text(),
                re.M,
            )
            assert found is None, f"{path.name}: {found}"
