"""UnionPay COM: the general transaction flow (一般交易流水) of one settlement date.

Name: `IN` + party letter + `YYMMDD` (settlement date) + 2 digits (sequence) + `ACOM` or `ACOMN`.
GBK, one line a transaction, every field followed by one blank, amounts in fen. No header and no
trailer: an empty file says that the day had no transactions, an absent one says nothing.

The acquirer's reading of the fee columns: `fee_payable` is what we pay the issuer for a sale,
`fee_receivable` what comes back for a refund or void, `switching_fee` the network's (D: we pay).
Source: settlement reference [C1, C2, C4, C5].
"""

import hashlib
import re
from collections.abc import Callable, Collection, Iterable
from datetime import date
from typing import Final

from settlement.clearing import ClearingRow, FileName, infer_date
from settlement.files.layout import Field, FileError, Layout, signed

# DE 39 of what moved money, where a link has no table of its own
APPROVED: Final = frozenset({"00", "10", "11", "A2", "A4", "A5", "A6"})
MAX_LINES: Final = 20_000_000
MAX_LINE: Final = 2_048
PAN_DIGITS_MIN: Final = 12
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

_AT: Final = {name: index for index, name in enumerate(COM.names)}
_PAN_FROM: Final = COM.fields[_AT["pan"]].offset
_PAN_TO: Final = _PAN_FROM + COM.fields[_AT["pan"]].length


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
    """All rows of one file, or FileError and nothing. PANs leave as token and mask only.

    A row whose DE 39 says that no money moved refuses the file: nobody can tell what it bills.
    """
    lines = data.split(b"\n")
    if lines[-1] in (b"", b"\r", b"\x1a"):
        lines.pop()
    elif len(lines[-1]) < COM.length:  # trimmed lines have an end, a file that was cut off has none
        reason = "the file ends within a line"
        raise FileError(file.name, len(lines), len(lines[-1]) + 1, "", reason)
    if len(lines) > MAX_LINES:
        raise FileError(file.name, MAX_LINES, 1, "", f"more than {MAX_LINES} lines")
    return [
        parse_line(line.removesuffix(b"\r"), file, number, token, mask, currency, version, approved)
        for number, line in enumerate(lines, 1)
    ]


def parse_line(
    line: bytes,
    file: FileName,
    number: int,
    token: Callable[[str], bytes],
    mask: Callable[[str], str],
    currency: str,
    version: int,
    approved: Collection[str],
) -> ClearingRow:
    if len(line) > MAX_LINE:
        raise FileError(file.name, number, MAX_LINE, "", f"a line longer than {MAX_LINE} bytes")
    values = COM.split(line, file.name, number)
    if len(line) > COM.length and line[COM.length : COM.length + 1] != b" ":
        shown = line[COM.length :].decode("gbk", "replace")
        raise FileError(file.name, number, COM.length + 1, shown, "no blank after other")

    def refuse(name: str, reason: str) -> FileError:
        at = COM.fields[_AT[name]].offset + 1
        shown = "" if COM.fields[_AT[name]].secret else text(name)
        return FileError(file.name, number, at, shown, f"{name}: {reason}")

    def text(name: str) -> str:
        return values[_AT[name]] or ""

    def amount(name: str) -> int | None:
        value = values[_AT[name]]
        return None if value is None else int(value)

    moment = text("transmission_time")
    if infer_date(moment[:4], file.settlement_date) is None:
        raise refuse("transmission_time", "no such date")
    if moment[4:6] > "23" or moment[6:8] > "59" or moment[8:] > "59":
        raise refuse("transmission_time", "no such time")
    pan = text("pan")
    if len(pan) < PAN_DIGITS_MIN:
        raise refuse("pan", f"shorter than {PAN_DIGITS_MIN} digits")
    mti, processing_code = text("mti"), text("processing_code")
    if mti[:2] not in KINDS:
        raise refuse("mti", "neither a financial message nor a reversal")
    if text("response_code") and text("response_code") not in approved:
        raise refuse("response_code", "not a code that this link approves with")
    pan_token = token(pan)
    # The token stands for the PAN here too, and the tail, which may hold another, is left out: a
    # bare hash over a PAN can be searched.
    content = hashlib.sha256(file.settlement_date.isoformat().encode())
    content.update(line[:_PAN_FROM] + pan_token + line[_PAN_TO : COM.length].rstrip())
    return ClearingRow(
        acquirer=file.acquirer,
        file=file.name,
        version=version,
        line=number,
        settlement_date=file.settlement_date,
        content=content.digest(),
        de32=text("acquirer_id"),
        de33=text("forwarder_id"),
        stan=text("stan"),
        transmission_time=moment,
        pan_token=pan_token,
        pan_masked=mask(pan),
        amount_minor=amount("partial_amount") or int(text("amount")),
        currency=currency,
        mti=mti,
        processing_code=processing_code,
        mcc=text("mcc"),
        terminal=text("terminal"),
        merchant=text("merchant"),
        rrn=text("rrn"),
        condition_code=text("condition_code"),
        auth_code=text("auth_code"),
        original_stan=text("original_stan"),
        original_time=text("original_time"),
        response_code=text("response_code"),
        entry_mode=text("entry_mode"),
        fee_receivable_minor=amount("fee_receivable"),
        fee_payable_minor=amount("fee_payable"),
        switching_fee_minor=signed(values[_AT["switching_fee"]]),
    )


def render(rows: Iterable[dict[str, str | int | None]]) -> bytes:
    """The file of `rows`, each a dict by the names of `COM` (simulators and tests)."""
    return b"".join(COM.join(row) + b"\n" for row in rows)
