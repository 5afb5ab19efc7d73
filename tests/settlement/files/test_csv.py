"""CSV: what is described is read, everything else is refused, by line and field."""

from typing import Any

import msgspec
import pytest

from settlement.files import csv_file
from settlement.files.csv_file import CsvColumn, CsvExpected, CsvTrailer, minor_units
from settlement.files.layout import FileError
from settlement.files.rows import Parsed
from tests.settlement.files.samples import CSV, csv_text, read
from tests.settlement.world import PAN, PANS

MERCHANT = "104110058120001"
SALE = f'消费,621500000001,2026-08-03 10:15:00,"1,000.00",0.60,{PAN},{MERCHANT},"你好, 茶"'
TRAILER: dict[str, Any] = {"count": 2, "amount": "1005", "fee": "0.63"}
REFUND = f"退货,621500000002,2026-08-03 10:16:00,5.00,0.03,{PAN},{MERCHANT},"


def parse(data: bytes, **changes: Any) -> Parsed:
    return read("CSV", data, expected=msgspec.structs.replace(CSV, **changes))


def test_a_file_as_described() -> None:
    sale, refund = parse(csv_text(SALE, REFUND, count=2, amount="1005", fee="0.63")).transactions
    assert (sale.line, sale.effect_minor, sale.issuer_fee_minor) == (2, 100_000, 60)
    assert (sale.rrn, sale.transmission_time, sale.merchant) == (
        "621500000001",
        "0803101500",
        MERCHANT,
    )
    assert (sale.pan_token, sale.pan_masked) == (PANS.token(PAN), PANS.mask(PAN))
    assert (refund.effect_minor, refund.issuer_fee_minor) == (-500, -3)
    assert sale.network_fee_minor is None


@pytest.mark.parametrize(
    ("row", "field", "reason"),
    [
        (SALE.replace("消费", "预授权"), 1, "type: not a code"),
        (SALE.replace("10:15:00", "10:15"), 3, "time: not %Y-%m-%d"),
        (SALE.replace('"1,000.00"', '"1,00.00"'), 4, "amount: no amount in major units"),
        (SALE.replace('"1,000.00"', "1000.001"), 4, "amount: no amount in major units"),
        (
            SALE.replace('"1,000.00"', "-1000.00"),
            4,
            "below zero, where the direction is in the type",
        ),
        (SALE.replace('"1,000.00"', "\uff11000.00"), 4, "amount: no amount"),
        (SALE.replace('"1,000.00"', "1e3"), 4, "amount: no amount"),
        (SALE.replace('"1,000.00"', "9" * 16), 4, "amount: no amount"),
        (SALE.replace("0.60", "-0.60"), 5, "fee: below zero"),
        (SALE.replace(PAN, "62220212345"), 6, "pan: not 12 to 19 digits"),
        (SALE + ",more", 9, "9 fields; described are 8"),
        ("消费,1", 3, "2 fields; described are 8"),
        (SALE.replace('"你好, 茶"', '"你好'), 1, "not a line of fields"),
        ("", 1, "fields; described are 8|not a line of fields"),
    ],
)
def test_a_row_that_is_not_as_described_refuses_the_file(row: str, field: int, reason: str) -> None:
    trailer = {"trailer": CsvTrailer(mark="合计", count=2)}
    with pytest.raises(FileError, match=reason) as refused:
        parse(csv_text(REFUND, row, count=2, amount="", fee=""), **trailer)
    assert (refused.value.line, refused.value.column) == (3, field)
    assert PAN[:11] not in str(refused.value)


@pytest.mark.parametrize(
    ("told", "field", "reason"),
    [
        ({"count": 1}, 2, "there are 2 rows"),
        ({"amount": "1,004.99"}, 4, "the trailer has no number|the rows sum to"),
        ({"amount": "1004.99"}, 4, "amount: the rows sum to 100500 minor units"),
        ({"amount": ""}, 4, "the trailer has no number here"),
        ({"fee": "0.64"}, 5, "fee: the rows sum to 63 minor units"),
    ],
)
def test_a_trailer_that_differs_refuses_the_file(
    told: dict[str, Any], field: int, reason: str
) -> None:
    with pytest.raises(FileError, match=reason) as refused:
        parse(csv_text(SALE, REFUND, **(TRAILER | told)))
    assert (refused.value.line, refused.value.column) == (4, field)


def test_a_header_says_exactly_the_titles() -> None:
    good = csv_text(SALE, count=1, amount="1000", fee="0.60")
    for old, new, at in (("金额", "数额", 4), ("备注", "备注,又", 9), ("类型,", "", 1)):
        with pytest.raises(FileError) as refused:
            parse(good.replace(old.encode("gbk"), new.encode("gbk"), 1))
        assert (refused.value.line, refused.value.column) == (1, at)


def test_wrong_encoding_is_refused_by_line() -> None:
    with pytest.raises(FileError, match="not utf-8 text from byte") as refused:
        parse(csv_text(SALE, count=1, amount="1000", fee="0.60"), encoding="utf-8")
    assert refused.value.line == 1


SIGNED = CsvExpected(
    name="x",
    header=False,
    sign="amount",
    unit="minor",
    delimiter="|",
    skip_lines=1,
    statuses=("OK",),
    columns=(
        CsvColumn("stan"),
        CsvColumn("settlement_date", format="%Y%m%d"),
        CsvColumn("amount"),
        CsvColumn("fee"),
        CsvColumn("network_fee"),
        CsvColumn("pan_masked"),
        CsvColumn("currency"),
        CsvColumn("status"),
    ),
)


def test_amounts_may_carry_the_sign_and_a_file_may_have_neither_header_nor_trailer() -> None:
    csv_file.check(SIGNED)
    data = (
        b"report of the day\n"
        b"1|20260803|10000|60|3|622202*********0123|156|OK\n"
        b"2|20260803|-500|-3|0|622202*********0123|392|OK\n"
    )
    sale, refund = read("CSV", data, expected=SIGNED).transactions
    assert (sale.effect_minor, sale.issuer_fee_minor, sale.network_fee_minor) == (10_000, 60, 3)
    assert (refund.effect_minor, refund.issuer_fee_minor, refund.currency) == (-500, -3, "392")
    assert (sale.pan_token, sale.pan_masked) == (b"", "622202*********0123")
    for old, new, reason in (
        (b"|OK", b"|NO", "status: not a status"),
        (b"20260803", b"20260804", "not the settlement date of the file"),
        (b"|392|", b"|XXX|", "not a numeric currency code"),
    ):
        with pytest.raises(FileError, match=reason):
            read("CSV", data.replace(old, new), expected=SIGNED)


@pytest.mark.parametrize(
    ("text", "changes", "currency", "minor"),
    [
        ("1.5", {}, "156", 150),
        ("1", {}, "156", 100),
        ("+0.05", {}, "156", 5),
        ("-0.05", {}, "156", -5),
        ("1234", {}, "392", 1234),
        ("12.3", {}, "392", None),
        ("1.234", {}, "048", 1234),
        ("1.234,56", {"decimal_mark": ",", "thousands_mark": "."}, "978", 123456),
        ("1,234.56", {}, "156", None),
        ("12,34.56", {"thousands_mark": ","}, "156", None),
        ("1234.56", {"thousands_mark": ","}, "156", 123456),
        ("150", {"unit": "minor"}, "156", 150),
        ("1.5", {"unit": "minor"}, "156", None),
        ("", {}, "156", None),
        ("-", {}, "156", None),
        (".5", {}, "156", None),
        ("²", {}, "156", None),
    ],
)
def test_amounts_as_written(
    text: str, changes: dict[str, Any], currency: str, minor: int | None
) -> None:
    assert minor_units(text, CsvExpected(**changes), currency) == minor


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"columns": ()}, "columns: 1 to 200"),
        ({"columns": (CsvColumn("price", "x"),)}, "no 'price'"),
        ({"columns": (CsvColumn("time", "x"),)}, "format belongs to times"),
        ({"columns": (CsvColumn("amount", "x", "%Y"),)}, "format belongs to times"),
        ({"columns": (CsvColumn("amount"),)}, "with a header every column has a title"),
        ({"columns": (CsvColumn("amount", "x"), CsvColumn("amount", "y"))}, "stands twice"),
        ({"columns": (CsvColumn("amount", "x"),)}, "rrn or stan, are needed"),
        ({"gives": ()}, "sign: `type` needs"),
        ({"sign": "amount"}, "sign: `type` needs"),
        ({"statuses": ("OK",)}, "statuses: belongs"),
        ({"delimiter": ";;"}, "one character"),
        ({"delimiter": '"'}, "delimiter: is the quote too"),
        ({"thousands_mark": "."}, "decimal_mark: used twice"),
    ],
)
def test_a_description_that_contradicts_itself_is_refused(
    changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        csv_file.check(msgspec.structs.replace(CSV, **changes))
