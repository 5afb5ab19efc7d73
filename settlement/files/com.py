"""UnionPay COM: the general transaction flow (一般交易流水) of one settlement date.

Name: `IN` + party letter + `YYMMDD` (settlement date) + 2 digits (sequence) + `ACOM` or `ACOMN`.
GBK, one line a transaction, every field followed by one blank, amounts in fen. No header and no
trailer: an empty file says that the day had no transactions, an absent one says nothing.

The acquirer's reading of the fee columns: `fee_payable` is what we pay the issuer for a sale,
`fee_receivable` what comes back for a refund or void, `switching_fee` the network's (D: we pay).
Source: settlement reference [C1, C2, C4, C5].
"""

import re
from collections.abc import Callable, Collection, Iterable
from datetime import date
from typing import Any, Final

from settlement.clearing import ClearingRow, FileName
from settlement.files.bulk import transactions
from settlement.files.layout import Field, Layout
from settlement.files.lines import Values, lines_of
from settlement.files.rows import Context, Parsed
from settlement.said import said

# DE 39 of what moved money, where a link has no table of its own
APPROVED: Final = frozenset({"00", "10", "11", "A2", "A4", "A5", "A6"})
KINDS: Final = ("01", "02", "04")  # of the MTI: financial messages and reversals

COM: Final = Layout(
    "COM",
    (
        Field("acquirer_id", 0, 11, "n..", "代理机构 F32"),
        Field("forwarder_id", 12, 11, "n..", "发送机构 F33", optional=True),
        Field("stan", 24, 6, "n", "系统跟踪号 F11"),
        Field("transmission_time", 31, 10, "n", "交易传输时间 F7 MMDDhhmmss"),
        Field("pan", 42, 19, "n..", "主账号 F2", secret=True),
        Field("amount", 62, 12, "n", "交易金额 F4"),
        Field("partial_amount", 75, 12, "n", "部分代收 F95", optional=True),
        Field("cardholder_fee", 88, 12, "x+n", "持卡人手续费 F28", optional=True),
        Field("mti", 101, 4, "n", "报文类型"),
        Field("processing_code", 106, 6, "n", "处理码 F3"),
        Field("mcc", 113, 4, "n", "商户类型 F18", optional=True),
        Field("terminal", 118, 8, "an", "终端 F41"),
        Field("merchant", 127, 15, "an", "商户 F42"),
        Field("rrn", 143, 12, "an", "检索参考号 F37", optional=True),
        Field("condition_code", 156, 2, "an", "服务点条件码 F25", optional=True),
        Field("auth_code", 159, 6, "an", "授权应答码 F38", optional=True),
        Field("receiver_id", 166, 11, "n..", "接收机构 F100", optional=True),
        Field("original_stan", 178, 6, "n", "原跟踪号", optional=True),
        Field("response_code", 185, 2, "an", "应答码 F39", optional=True),
        Field("entry_mode", 188, 3, "n", "输入方式 F22", optional=True),
        Field("fee_receivable", 192, 12, "n", "应收手续费", optional=True),
        Field("fee_payable", 205, 12, "n", "应付手续费", optional=True),
        Field("switching_fee", 218, 12, "x+n", "转接服务费", optional=True),
        Field("conversion", 231, 1, "an", "单双转换", optional=True),
        Field("card_sequence", 233, 3, "an", "卡序列号 F23", optional=True),
        Field("reader_capability", 237, 1, "an", "终端读取能力", optional=True),
        Field("ic_condition", 239, 1, "an", "IC 卡条件代码", optional=True),
        Field("original_time", 241, 10, "n", "原交易日期时间", optional=True),
        Field("issuer_id", 252, 11, "n..", "发卡机构", optional=True),
        Field("region", 264, 1, "an", "交易地域", optional=True),
        Field("terminal_type", 266, 2, "an", "终端类型", optional=True),
        Field("eci", 269, 2, "an", "ECI", optional=True),
        Field("instalment_fee", 272, 12, "x+n", "分期附加手续费", optional=True),
        Field("other", 285, 14, "an", "其他", optional=True),
    ),
)

# Newer versions have a tail behind the base (a transfer-in card among other things). It is not read.

NAME: Final = re.compile(r"IN(?P<party>[A-Z])(?P<date>\d{6})(?P<sequence>\d{2})(?P<type>ACOMN?)")


def parse_name(acquirer: str, name: str) -> FileName | None:
    """What the name says, or None where it is not a COM file's.

    >>> parse_name("upay", "IND26080101ACOM").settlement_date.isoformat()
    '2026-08-01'
    """
    found = NAME.fullmatch(name)
    if found is None:
        return None
    day = found["date"]
    try:
        settlement_date = date(2000 + int(day[:2]), int(day[2:4]), int(day[4:]))
    except ValueError:
        return None
    return FileName(acquirer, name, "COM", settlement_date, int(found["sequence"]))


def render_name(settlement_date: date, sequence: int = 1, party: str = "D") -> str:
    return f"IN{party}{settlement_date:%y%m%d}{sequence:02d}ACOM"


def parse(
    data: bytes,
    file: FileName,
    *,
    token: Callable[[str], bytes],
    mask: Callable[[str], str],
    currency: str = "156",
    version: int = 1,
    approved: Collection[str] = APPROVED,
) -> list[ClearingRow]:
    """`read` with what a context says given one by one."""
    context = Context(token=token, mask=mask, currency=currency, version=version, approved=approved)
    return read(data, file, context).transactions


def read(data: bytes, file: FileName, context: Context) -> Parsed:
    """All rows of one file, or FileError and nothing. PANs leave as token and mask only."""
    lines = lines_of(data, COM, file, tail=True)
    return Parsed(transactions=[ClearingRow(**fields(line, context)) for line in lines])


def fields(line: Values, context: Context) -> dict[str, Any]:
    """A row whose DE 39 says that no money moved refuses the file: nobody can tell what it bills."""
    approved = APPROVED if context.approved is None else context.approved
    moment = line.moment("transmission_time", required=True)
    token, masked = line.pan(context)
    kinds = said("file_mti")
    line.check("mti", lambda mti: mti[:2] in KINDS, kinds)
    codes = said("file_not_approved")
    line.check("response_code", lambda code: not code or code in approved, codes)
    return {
        **line.place(context),
        # the tail may hold another PAN; it is left out
        "content": line.content(context, COM),
        "de32": line.text("acquirer_id"),
        "de33": line.text("forwarder_id"),
        "stan": line.text("stan"),
        "transmission_time": moment,
        "pan_token": token,
        "pan_masked": masked,
        "amount_minor": line.either("partial_amount", "amount"),
        "currency": context.currency,
        "mti": line.text("mti"),
        "processing_code": line.text("processing_code"),
        "mcc": line.text("mcc"),
        "terminal": line.text("terminal"),
        "merchant": line.text("merchant"),
        "rrn": line.text("rrn"),
        "condition_code": line.text("condition_code"),
        "auth_code": line.text("auth_code"),
        "original_stan": line.text("original_stan"),
        "original_time": line.text("original_time"),
        "response_code": line.text("response_code"),
        "entry_mode": line.text("entry_mode"),
        "fee_receivable_minor": line.amount("fee_receivable"),
        "fee_payable_minor": line.amount("fee_payable"),
        "switching_fee_minor": line.amount("switching_fee"),
    }


at_once: Final = transactions(COM, fields, tail=True)


def render(rows: Iterable[dict[str, str | int | None]]) -> bytes:
    """The file of `rows`, each a dict by the names of `COM` (simulators and tests)."""
    return b"".join(COM.join(row) + b"\n" for row in rows)
