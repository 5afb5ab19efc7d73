"""Every type of clearing file by name: how it is called, laid out, parsed and expected."""

import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import msgspec

from iso8583.dialects.ipm import IPM
from iso8583.dialects.table import Dialect
from settlement.clearing import FileName
from settlement.files import (
    acoma,
    alfee,
    com,
    csv_file,
    erra,
    ipm,
    ipm_rows,
    merchant_check,
    names,
    presentment,
    zm,
    zsum,
)
from settlement.files.layout import Layout
from settlement.files.rows import CodedExpected, Context, Expected, Parsed


class Format(NamedTuple):
    """One type of file. `parse_name` is None where the name is agreed with the bank."""

    name: str  # the type, as FileName has it
    title: tuple[str, str]  # English, Chinese
    layouts: tuple[Layout | Dialect, ...]
    parse: Callable[[bytes, FileName, Context], Parsed]
    parse_name: names.NameParser | None = None
    expected: type[Expected] = Expected
    check: Callable[[msgspec.Struct], None] = lambda _: None


def _com(data: bytes, file: FileName, context: Context) -> Parsed:
    return Parsed(
        transactions=com.parse(
            data,
            file,
            token=context.token,
            mask=context.mask,
            currency=context.currency,
            version=context.version,
            approved=com.APPROVED if context.approved is None else context.approved,
        )
    )


def _check_codes(expected: msgspec.Struct) -> None:
    assert isinstance(expected, CodedExpected)
    if not expected.gives:
        raise ValueError("gives: the codes of sales are needed")


def _check_csv(expected: msgspec.Struct) -> None:
    assert isinstance(expected, csv_file.CsvExpected)
    csv_file.check(expected)


FORMATS: Final[dict[str, Format]] = {
    one.name: one
    for one in (
        Format(
            "COM", ("general transaction flow", "一般交易流水"), (com.COM,), _com, com.parse_name
        ),
        Format(
            "ACOMA",
            ("agency-cleared flow", "代理清算流水"),
            (acoma.ACOMA,),
            acoma.parse,
            acoma.parse_name,
        ),
        Format(
            "ALFEE",
            ("brand service fees", "品牌服务费"),
            (alfee.ALFEE,),
            alfee.parse,
            alfee.parse_name,
        ),
        Format("ERRA", ("adjustments", "差错流水"), (erra.ERRA,), erra.parse, erra.parse_name),
        Format(
            "ZSUM",
            ("merchant totals", "商户汇总"),
            (zsum.ZSUM,),
            zsum.parse_zsum,
            zsum.parse_zsum_name,
        ),
        Format(
            "ZPSUM",
            ("payout list", "商户划款明细"),
            (zsum.ZPSUM,),
            zsum.parse_zpsum,
            zsum.parse_zpsum_name,
        ),
        Format(
            "ZM",
            ("online merchant", "网上商户对账"),
            (zm.ZM,),
            zm.parse,
            zm.parse_name,
            CodedExpected,
        ),
        Format(
            "CHECK",
            ("merchant check file", "商户对账文件"),
            (merchant_check.CHECK, merchant_check.CHECK_TRAILER),
            merchant_check.parse,
            expected=merchant_check.CheckExpected,
            check=_check_codes,
        ),
        Format(
            "PRESENTMENT",
            ("dual-message presentment", "双信息请款"),
            (presentment.PRESENTMENT,),
            presentment.parse,
        ),
        Format(
            "CSV",
            ("as a link describes it", "按链路描述"),
            (),
            csv_file.parse,
            expected=csv_file.CsvExpected,
            check=_check_csv,
        ),
        Format(
            "IPM",
            ("Mastercard clearing", "万事达清算"),
            (IPM,),
            ipm_rows.parse,
            expected=ipm.IpmExpected,
        ),
    )
}


class ExpectedError(ValueError):
    """What a link's `clearing` says is wrong: the path within it, and the reason."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}" if path else reason)
        self.path, self.reason = path, reason


def expected_of(clearing: object) -> dict[str, Expected]:
    """The files of a day by type, out of a link's `clearing`: "com" (one required COM), "none", or a
    table type -> what is said of it. Raises ExpectedError.

    >>> sorted(expected_of({"COM": {}, "ZPSUM": {"optional": True}}))
    ['COM', 'ZPSUM']
    """
    if clearing in ("none", "com"):
        return {"COM": Expected()} if clearing == "com" else {}
    if not isinstance(clearing, Mapping) or not clearing:
        raise ExpectedError("", "com, none, or a table of file types")
    found: dict[str, Expected] = {}
    for type_, content in clearing.items():
        if type_ not in FORMATS:
            raise ExpectedError(str(type_), f"no such type; there are {', '.join(FORMATS)}")
        found[type_] = _expected(FORMATS[type_], content)
    return found


def _expected(form: Format, content: object) -> Expected:
    try:
        found = msgspec.convert(content, form.expected)
    except msgspec.ValidationError as error:
        raise ExpectedError(form.name, str(error)) from error
    try:
        _check(form, found)
    except ValueError as error:
        raise ExpectedError(form.name, str(error)) from error
    return found


def _check(form: Format, expected: Expected) -> None:
    form.check(expected)
    if expected.name:
        names.check(expected.name)
    elif form.parse_name is None:
        raise ValueError("name: needed, this type has no name of its own")


def recognise(acquirer: str, name: str, expected: Mapping[str, Expected]) -> FileName | None:
    """What a name says among the files that are expected; None where it is none of them."""
    for type_ in sorted(expected):
        own, form = expected[type_].name, FORMATS[type_]
        if own:
            found = names.match(re.compile(own, re.ASCII), type_, acquirer, name)
        else:
            assert form.parse_name is not None
            found = form.parse_name(acquirer, name)
        if found is not None:
            return found
    return None


def standard() -> dict[str, Expected]:
    """Every type that has names of its own, without options."""
    return {one.name: one.expected() for one in FORMATS.values() if one.parse_name is not None}


def parse(data: bytes, file: FileName, context: Context) -> Parsed:
    """The whole file by its type, or FileError and nothing."""
    return FORMATS[file.type].parse(data, file, context)
