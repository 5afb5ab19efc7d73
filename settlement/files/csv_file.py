"""CSV as a link describes it: which column is what, how amounts and times are written, the trailer.

Nothing is guessed. The description is data in the link's `clearing`; a title, a code, a number or a
column that it does not name refuses the file. Errors give the column as the number of the field.
Quoted fields can not hold line ends.
"""

import csv
import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

import msgspec

from iso8583.amount import CURRENCIES
from settlement.clearing import ClearingRow, FileName
from settlement.files.layout import FileError
from settlement.files.lines import numbered
from settlement.files.rows import CodedExpected, Context, Parsed
from settlement.said import Said, said

COLUMNS_MAX: Final = 200
DIGITS_MAX: Final = 15  # of an amount in minor units
TIMED: Final = ("time", "settlement_date")
AMOUNTS: Final = ("amount", "fee", "network_fee")
PLAIN: Final = (
    "merchant",
    "terminal",
    "rrn",
    "stan",
    "auth_code",
    "mcc",
    "de32",
    "de33",
    "currency",
    "entry_mode",
    "condition_code",
    "original_stan",
)
SPECIAL: Final = ("pan", "pan_masked", "type", "status")
FIELDS: Final = (*PLAIN, *AMOUNTS, *TIMED, *SPECIAL)


class CsvColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One column. `field` is what it is to us, of `FIELDS`; empty: not read. `title` is what the
    header line calls it. `format` is that of a date or time, as `strptime` has it."""

    field: str = ""
    title: str = ""
    format: str = ""


class CsvTrailer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last line: `mark` in its first field; by field number from 1 (0: it has none) the count
    of rows and the sums of amounts and fees, as they stand in the rows."""

    mark: str
    count: Annotated[int, msgspec.Meta(ge=0, le=COLUMNS_MAX)] = 0
    amount: Annotated[int, msgspec.Meta(ge=0, le=COLUMNS_MAX)] = 0
    fee: Annotated[int, msgspec.Meta(ge=0, le=COLUMNS_MAX)] = 0


class CsvExpected(CodedExpected, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole description. `sign` says where the direction is: in the code of column `type` (lists
    `gives`, `takes_back`) or in the amount (minus takes back). `unit`: major has the currency's
    decimals, minor none. `skip_lines` stand before the header and are not read. `statuses`: codes of
    column `status` that moved money; another refuses the file."""

    columns: tuple[CsvColumn, ...] = ()
    encoding: Literal["utf-8", "utf-8-sig", "gbk", "gb18030", "ascii", "latin-1"] = "utf-8"
    delimiter: str = ","
    quote: str = '"'
    header: bool = True
    skip_lines: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0
    unit: Literal["major", "minor"] = "major"
    decimal_mark: Literal[".", ","] = "."
    thousands_mark: Literal["", ",", ".", " ", "'"] = ""
    sign: Literal["type", "amount"] = "type"
    statuses: tuple[str, ...] = ()
    trailer: CsvTrailer | None = None


def check(expected: CsvExpected) -> None:
    """What a type can not say of a description. Raises ValueError."""
    named = [one.field for one in expected.columns if one.field]
    if not 1 <= len(expected.columns) <= COLUMNS_MAX:
        raise ValueError(f"columns: 1 to {COLUMNS_MAX}")
    for one in expected.columns:
        if one.field and one.field not in FIELDS:
            raise ValueError(f"columns: no {one.field!r}; there are {', '.join(FIELDS)}")
        if (one.field in TIMED) != bool(one.format):
            raise ValueError(f"columns: {one.field or one.title}: format belongs to times only")
        if expected.header and not one.title:
            raise ValueError("columns: with a header every column has a title")
    if len(set(named)) != len(named):
        raise ValueError("columns: a field stands twice")
    if "amount" not in named or not {"rrn", "stan"} & set(named):
        raise ValueError("columns: amount, and rrn or stan, are needed")
    if (expected.sign == "type") != ("type" in named) or (expected.sign == "type") != bool(
        expected.gives
    ):
        raise ValueError("sign: `type` needs a column `type` and `gives`, `amount` neither")
    if bool(expected.statuses) != ("status" in named):
        raise ValueError("statuses: belongs to a column `status`")
    if len(expected.delimiter) != 1 or len(expected.quote) != 1:
        raise ValueError("delimiter, quote: one character")
    if expected.delimiter == expected.quote:
        raise ValueError("delimiter: is the quote too")
    if expected.decimal_mark == expected.thousands_mark:
        raise ValueError("decimal_mark: used twice")


class _Row:
    """One line's fields by what they are."""

    def __init__(
        self, cells: list[str], expected: CsvExpected, file: FileName, number: int
    ) -> None:
        self.file, self.number, self._expected = file, number, expected
        if len(cells) != len(expected.columns):
            reason = said("file_csv_fields", found=len(cells), described=len(expected.columns))
            raise FileError(
                file.name, number, min(len(cells), len(expected.columns)) + 1, "", reason
            )
        self.values = {
            one.field: cell.strip()
            for one, cell in zip(expected.columns, cells, strict=True)
            if one.field
        }

    def text(self, field: str) -> str:
        return self.values.get(field, "")

    def refuse(self, field: str, reason: Said) -> FileError:
        columns = self._expected.columns
        at = next((n for n, one in enumerate(columns, 1) if one.field == field), 1)
        shown = "" if field == "pan" else self.text(field)
        return FileError(
            self.file.name, self.number, at, shown, said("file_field", field=field, reason=reason)
        )

    def minor(self, field: str, currency: str) -> int:
        value = minor_units(self.text(field), self._expected, currency)
        if value is None:
            raise self.refuse(field, said("file_no_amount", unit=self._expected.unit))
        return value

    def moment(self, field: str) -> datetime | None:
        if not self.text(field):
            return None
        form = next(one.format for one in self._expected.columns if one.field == field)
        try:
            return datetime.strptime(self.text(field), form).replace(tzinfo=UTC)
        except ValueError as error:
            raise self.refuse(field, said("file_not_form", form=form)) from error


def minor_units(text: str, expected: CsvExpected, currency: str) -> int | None:
    """An amount as written; None where it is not one.

    >>> minor_units("-1,234.5", CsvExpected(thousands_mark=","), "156")
    -123450
    >>> minor_units("1.234", CsvExpected(), "156") is None
    True
    """
    places = CURRENCIES[currency][1] if expected.unit == "major" else 0
    mark, between = re.escape(expected.decimal_mark), re.escape(expected.thousands_mark)
    grouped = rf"[0-9]{{1,3}}(?:{between}[0-9]{{3}})+|" if expected.thousands_mark else ""
    decimals = rf"(?:{mark}(?P<decimals>[0-9]{{1,{places}}}))?" if places else ""
    found = re.fullmatch(rf"(?P<sign>[+-]?)(?P<whole>{grouped}[0-9]+){decimals}", text)
    if found is None:
        return None
    whole = re.sub("[^0-9]", "", found["whole"])
    digits = whole + ((found["decimals"] or "") if places else "").ljust(places, "0")
    if len(digits) > DIGITS_MAX:
        return None
    return -int(digits) if found["sign"] == "-" else int(digits)


def parse(data: bytes, file: FileName, context: Context) -> Parsed:
    """All rows, once the trailer's count and sums agree; or FileError and nothing."""
    expected = context.expected
    assert isinstance(expected, CsvExpected)
    lines = list(_cells(data, file, expected))[expected.skip_lines :]
    if expected.header:
        _check_header(lines, file, expected)
        lines = lines[1:]
    last: tuple[int, list[str]] | None = None
    if expected.trailer is not None:
        if not lines or lines[-1][1][:1] != [expected.trailer.mark]:
            number = lines[-1][0] if lines else 1
            raise FileError(file.name, number, 1, "", said("file_no_trailer"))
        last = lines.pop()
    rows = [_Row(cells, expected, file, number) for number, cells in lines]
    if last is not None:
        _check_trailer(last, rows, file, context)
    return Parsed(transactions=[_transaction(row, context) for row in rows])


def _cells(data: bytes, file: FileName, expected: CsvExpected) -> Iterator[tuple[int, list[str]]]:
    codec = expected.encoding
    if codec == "utf-8-sig":
        data, codec = data.removeprefix(b"\xef\xbb\xbf"), "utf-8"
    for number, line in numbered(data, file):
        try:
            text = line.decode(codec)
            (cells,) = csv.reader(
                [text], delimiter=expected.delimiter, quotechar=expected.quote, strict=True
            )
        except UnicodeDecodeError as error:
            reason = said("file_not_text", encoding=codec, byte=error.start + 1)
            raise FileError(file.name, number, 1, "", reason) from error
        except (csv.Error, ValueError) as error:
            raise FileError(file.name, number, 1, "", said("file_not_fields")) from error
        yield number, cells


def _check_header(
    lines: list[tuple[int, list[str]]], file: FileName, expected: CsvExpected
) -> None:
    if not lines:
        raise FileError(file.name, 1, 1, "", said("file_no_header"))
    number, cells = lines[0]
    titles = [one.title for one in expected.columns]
    for at, title in enumerate(titles, 1):
        found = cells[at - 1].strip() if at <= len(cells) else ""
        if found != title:
            raise FileError(file.name, number, at, found, said("file_title", title=title))
    if len(cells) != len(titles):
        raise FileError(file.name, number, len(titles) + 1, "", said("file_more_titles"))


def _check_trailer(
    last: tuple[int, list[str]], rows: list[_Row], file: FileName, context: Context
) -> None:
    expected = context.expected
    assert isinstance(expected, CsvExpected)
    assert expected.trailer is not None
    number, cells = last

    def told(at: int, unit: CsvExpected, currency: str) -> int:
        value = cells[at - 1].strip() if at <= len(cells) else ""
        found = minor_units(value, unit, currency)
        if found is None:
            raise FileError(file.name, number, at, value, said("file_trailer_number"))
        return found

    sums = {"amount": expected.trailer.amount, "fee": expected.trailer.fee}
    if expected.trailer.count:
        plain = msgspec.structs.replace(expected, unit="minor")
        if told(expected.trailer.count, plain, context.currency) != len(rows):
            at = expected.trailer.count
            raise FileError(file.name, number, at, cells[at - 1], said("file_rows", rows=len(rows)))
    for field, at in sums.items():
        if at:
            found = sum(row.minor(field, context.currency) for row in rows if row.text(field))
            if told(at, expected, context.currency) != found:
                reason = said("file_sum_of", field=field, found=found)
                raise FileError(file.name, number, at, cells[at - 1], reason)


def _transaction(row: _Row, context: Context) -> ClearingRow:
    expected = context.expected
    assert isinstance(expected, CsvExpected)
    currency = row.text("currency") or context.currency
    if currency not in CURRENCIES:
        raise row.refuse("currency", said("file_currency"))
    if expected.statuses and row.text("status") not in expected.statuses:
        raise row.refuse("status", said("file_status"))
    amount = row.minor("amount", currency)
    back = _takes_back(row, expected, amount)
    settled = row.moment("settlement_date")
    if settled is not None and settled.date() != row.file.settlement_date:
        raise row.refuse("settlement_date", said("file_other_date"))
    time, pan = row.moment("time"), row.text("pan")
    if pan and not (pan.isascii() and pan.isdigit() and 12 <= len(pan) <= 19):
        raise row.refuse("pan", said("file_pan_digits"))
    fee = _paid(row, "fee", expected, currency, back=back)
    network_fee = _paid(row, "network_fee", expected, currency, back=back)
    return ClearingRow(
        acquirer=row.file.acquirer,
        file=row.file.name,
        version=context.version,
        line=row.number,
        settlement_date=row.file.settlement_date,
        content=_content(row, context),
        de32=row.text("de32"),
        de33=row.text("de33"),
        stan=row.text("stan"),
        transmission_time="" if time is None else f"{time:%m%d%H%M%S}",
        pan_token=context.token(pan) if pan else b"",
        pan_masked=context.mask(pan) if pan else row.text("pan_masked"),
        amount_minor=abs(amount),
        currency=currency,
        mti="0200",
        processing_code="200000" if back else "000000",
        mcc=row.text("mcc"),
        terminal=row.text("terminal"),
        merchant=row.text("merchant"),
        rrn=row.text("rrn"),
        condition_code=row.text("condition_code"),
        auth_code=row.text("auth_code"),
        original_stan=row.text("original_stan"),
        original_time="",
        response_code="",
        entry_mode=row.text("entry_mode"),
        fee_receivable_minor=None if fee is None else max(-fee, 0),
        fee_payable_minor=None if fee is None else max(fee, 0),
        switching_fee_minor=None if network_fee is None else -network_fee,
    )


def _takes_back(row: _Row, expected: CsvExpected, amount: int) -> bool:
    if expected.sign == "amount":
        return amount < 0
    if amount < 0:
        raise row.refuse("amount", said("file_below_zero"))
    if row.text("type") not in (*expected.gives, *expected.takes_back):
        raise row.refuse("type", said("file_code"))
    return row.text("type") in expected.takes_back


def _paid(row: _Row, field: str, expected: CsvExpected, currency: str, *, back: bool) -> int | None:
    """A fee, plus where we pay it; None where the row has none. With the direction in the type a fee
    is written without sign and goes the other way for what is taken back."""
    if not row.text(field):
        return None
    fee = row.minor(field, currency)
    if expected.sign == "amount":
        return fee
    if fee < 0:
        raise row.refuse(field, said("file_below_zero"))
    return -fee if back else fee


def _content(row: _Row, context: Context) -> bytes:
    """SHA-256 of settlement date and fields, the PAN's token in its place."""
    digest = hashlib.sha256(row.file.settlement_date.isoformat().encode())
    for field, value in row.values.items():
        secret = field == "pan" and value
        digest.update(b"\x1f" + (context.token(value) if secret else value.encode()))
    return digest.digest()
