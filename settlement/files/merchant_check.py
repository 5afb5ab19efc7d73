"""An acquirer's check file for one merchant (商户对账文件): header, rows, trailer, no separators.

Every record has the row's columns. The header begins with ten zeros. The trailer begins with ten
nines and has, in the places of amount, debit fee and credit fee, the sums of all rows. A file without
its trailer was cut off and is refused, as is one whose sums differ. Names are agreed with the bank.

Source: settlement reference [C7]. Unverified: transaction codes and statuses (settings `gives`,
`takes_back`, `statuses` of the link), and that the amounts of refunds count into the trailer's sum as
they stand, without sign.
"""

import itertools
from typing import Final

from settlement.clearing import ClearingRow, FileName
from settlement.files.layout import FileError, Layout, column, laid_out
from settlement.files.lines import Line, numbered
from settlement.files.rows import CodedExpected, Context, Parsed
from settlement.said import said

HEADER_MARK: Final = b"0000000000"
TRAILER_MARK: Final = b"9999999999"
SUMS: Final = ("amount", "debit_fee", "credit_fee")

CHECK: Final = Layout(
    "CHECK",
    laid_out(
        (
            column("settlement_date", 8, "n", "清算日期 YYYYMMDD", optional=False),
            column("code", 3, "an", "交易代码", optional=False),
            column("stan", 6, "n", "系统跟踪号 F11", optional=False),
            column("transmission_time", 10, "n", "交易传输时间 F7 MMDDhhmmss", optional=False),
            column("acquirer_id", 11, "n..", "代理机构 F32", optional=False),
            column("forwarder_id", 11, "n..", "发送机构 F33"),
            column("issuer_id", 11, "n..", "发卡机构"),
            column("pan", 19, "n..", "主账号 F2", optional=False, secret=True),
            column("amount", 12, "n", "交易金额 F4", optional=False),
            column("mcc", 4, "n", "商户类型 F18"),
            column("rrn", 12, "an", "检索参考号 F37"),
            column("auth_code", 6, "an", "授权应答码 F38"),
            column("terminal", 8, "an", "终端 F41", optional=False),
            column("merchant", 15, "an", "商户 F42", optional=False),
            column("merchant_name", 40, "ans", "商户名称"),
            column("debit_fee", 8, "n", "商户借记手续费"),
            column("credit_fee", 8, "n", "商户贷记手续费"),
            column("status", 5, "an", "交易状态"),
            column("reserved", 100, "ans", "保留使用"),
        ),
        gap=0,
    ),
    separator=b"",
)

_SUMMED: Final = {one.name: one for one in CHECK.fields if one.name in SUMS}
CHECK_TRAILER: Final = Layout(
    "CHECK trailer",
    laid_out(
        (
            column("mark", 10, "n", "9999999999", optional=False),
            column("filler_1", _SUMMED["amount"].offset - 10, "an", "填充"),
            column("amount", 12, "n", "交易金额合计", optional=False),
            column(
                "filler_2",
                _SUMMED["debit_fee"].offset - _SUMMED["amount"].offset - 12,
                "an",
                "填充",
            ),
            column("debit_fee", 8, "n", "借记手续费合计", optional=False),
            column("credit_fee", 8, "n", "贷记手续费合计", optional=False),
            column("filler_3", 105, "an", "填充"),
        ),
        gap=0,
    ),
    separator=b"",
)
assert CHECK_TRAILER.length == CHECK.length


class CheckExpected(CodedExpected, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`statuses` are those of rows that moved money; empty: all."""

    statuses: tuple[str, ...] = ()


def parse(data: bytes, file: FileName, context: Context) -> Parsed:
    """All rows, once header and trailer are there and the sums agree; or FileError and nothing."""
    lines = list(numbered(data, file, CHECK.length))
    if not lines or not lines[0][1].startswith(HEADER_MARK):
        raise FileError(file.name, 1, 1, "", said("file_check_header"))
    number, last = lines[-1]
    if len(lines) < 2 or not last.startswith(TRAILER_MARK):
        raise FileError(file.name, number, 1, "", said("file_check_trailer"))
    trailer = Line(CHECK_TRAILER, last, file, number)
    rows = [Line(CHECK, line, file, number) for number, line in lines[1:-1]]
    for name in SUMS:
        found = sum(row.minor(name) for row in rows)
        if found != trailer.minor(name):
            raise trailer.refuse(name, said("file_sum", found=found))
    return Parsed(transactions=[_row(row, context) for row in rows])


def _row(line: Line, context: Context) -> ClearingRow:
    expected = context.expected
    assert isinstance(expected, CheckExpected)
    line.same_date("settlement_date")
    if line.text("code") not in (*expected.gives, *expected.takes_back):
        raise line.refuse("code", said("file_code"))
    if expected.statuses and line.text("status") not in expected.statuses:
        raise line.refuse("status", said("file_status"))
    token, masked = line.pan(context)
    fees = line.values["debit_fee"], line.values["credit_fee"]
    return ClearingRow(
        acquirer=line.file.acquirer,
        file=line.file.name,
        version=context.version,
        line=line.number,
        settlement_date=line.file.settlement_date,
        content=line.content(context),
        de32=line.text("acquirer_id"),
        de33=line.text("forwarder_id"),
        stan=line.text("stan"),
        transmission_time=line.moment("transmission_time"),
        pan_token=token,
        pan_masked=masked,
        amount_minor=line.minor("amount"),
        currency=context.currency,
        mti="0200",
        processing_code="200000" if line.text("code") in expected.takes_back else "000000",
        mcc=line.text("mcc"),
        terminal=line.text("terminal"),
        merchant=line.text("merchant"),
        rrn=line.text("rrn"),
        condition_code="",
        auth_code=line.text("auth_code"),
        original_stan="",
        original_time="",
        response_code="",
        entry_mode="",
        fee_receivable_minor=None if fees == (None, None) else line.minor("credit_fee"),
        fee_payable_minor=None if fees == (None, None) else line.minor("debit_fee"),
        switching_fee_minor=None,
    )


def render(rows: list[dict[str, str | int | None]]) -> bytes:
    """Header, `rows` (dicts by the names of `CHECK`) and the trailer with their sums."""
    lines = [CHECK.join(row) for row in rows]
    sums = {name: sum(int(row.get(name) or 0) for row in rows) for name in SUMS}
    trailer = CHECK_TRAILER.join({"mark": TRAILER_MARK.decode(), **sums})
    everything = itertools.chain([HEADER_MARK.ljust(CHECK.length)], lines, [trailer])
    return b"".join(line + b"\n" for line in everything)
