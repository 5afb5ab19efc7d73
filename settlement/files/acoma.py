"""UnionPay ACOMA: the flow of transactions that were cleared for us as an agency (代理清算流水).

A COM row, then who shares in it: nine pairs of service institution and role fee, the merchant's fee,
and two flags. Name: `IN` + party letter + `YYMMDD` + 2 digits + `ACOMA`. No header, no trailer.

Both rows of a reversed (`R`) or voided (`C`) pair are flagged, and are left out where the flagged
rows of one retrieval reference number cancel one another to zero. A flagged row without its other
half stays a transaction, so that money never disappears by a flag alone.

Source: settlement reference [C1, C3]. Unverified: the width of the settlement bank's fee and of the
three custom fees (9, as the other fees of this file), which of the fees may be signed (each may), and
what follows the transfer-in card (not read).
"""

import hashlib
from collections import defaultdict
from typing import Final

import msgspec

from settlement.clearing import ClearingRow, FileName
from settlement.files import com
from settlement.files.layout import Layout, column, laid_out
from settlement.files.lines import Line, numbered
from settlement.files.names import unionpay
from settlement.files.rows import AgencyFee, Context, FileRow, LeftOut, Parsed

ROLES: Final = range(1, 10)
CUSTOM_FEES: Final = range(1, 4)
REVERSED, VOIDED = "R", "C"

SHARES: Final = Layout(
    "ACOMA behind COM",
    laid_out(
        (
            column("sender_institution", 11, "n..", "发送方清算机构"),
            column("receiver_institution", 11, "n..", "接收方清算机构"),
            column("reversal_flag", 1, "an", "冲正标志 R"),
            column("void_flag", 1, "an", "撤销标志 C"),
            column("settlement_date", 4, "n", "清算日期 MMDD"),
            column("session", 2, "an", "清算场次"),
            column("merchant_name", 40, "ans", "商户名称地址 F43"),
            column("currency", 3, "n", "交易币种 F49"),
            column("discount", 9, "xn", "自动优惠手续费"),
            column("merchant_fee", 9, "xn", "商户手续费"),
            column("bank", 11, "n..", "商户结算行"),
            column("bank_fee", 9, "xn", "结算行手续费"),
            *(
                one
                for role in ROLES
                for one in (
                    column(f"institution_{role}", 11, "n..", f"收单服务机构 {role}"),
                    column(f"role_fee_{role}", 9, "xn", f"角色手续费 {role}"),
                )
            ),
            *(column(f"custom_fee_{n}", 9, "xn", f"自定义费用 {n}") for n in CUSTOM_FEES),
            column("in_card", 19, "n..", "转入卡卡号", secret=True),
        ),
        start=com.COM.length + 1,
    ),
    start=com.COM.length + 1,
)
ACOMA: Final = Layout("ACOMA", (*com.COM.fields, *SHARES.fields))

render: Final = ACOMA.render  # rows as dicts by the names of the table
parse_name: Final = unionpay("ACOMA", "ACOMA")


def parse(data: bytes, file: FileName, context: Context) -> Parsed:
    """The transactions with their shares, and the pairs that cancel; or FileError."""
    transactions: list[ClearingRow] = []
    rows: list[FileRow] = []
    flagged: dict[str, list[tuple[ClearingRow, str]]] = defaultdict(list)
    for number, bytes_ in numbered(data, file, ACOMA.length):
        line = Line(SHARES, bytes_, file, number, tail=True)
        row = _row(bytes_, line, context)
        flag = _flag(line)
        if flag:
            flagged[row.rrn].append((row, flag))
        else:
            transactions.append(row)
            rows.append(_shares(row, line))
    for rrn, group in flagged.items():
        if rrn and sum(row.effect_minor for row, _ in group) == 0:
            rows += [_left_out(row, flag) for row, flag in group]
        else:
            transactions += [row for row, _ in group]
    transactions.sort(key=lambda row: row.line)
    rows.sort(key=lambda row: row.line)
    return Parsed(transactions=transactions, rows=rows)


def _flag(line: Line) -> str:
    flags = line.text("reversal_flag") + line.text("void_flag")
    if line.text("reversal_flag") not in ("", REVERSED):
        raise line.refuse("reversal_flag", f"neither blank nor {REVERSED}")
    if line.text("void_flag") not in ("", VOIDED):
        raise line.refuse("void_flag", f"neither blank nor {VOIDED}")
    return flags[:1]


def _row(data: bytes, line: Line, context: Context) -> ClearingRow:
    line.same_date("settlement_date")
    row = com.parse_line(
        data,
        line.file,
        line.number,
        context.token,
        context.mask,
        line.text("currency") or context.currency,
        context.version,
        com.APPROVED if context.approved is None else context.approved,
    )
    # whether a row is flagged is part of what it says
    content = hashlib.sha256(row.content + line.content(context)).digest()
    return msgspec.structs.replace(row, content=content)


def _left_out(row: ClearingRow, flag: str) -> LeftOut:
    return LeftOut(
        acquirer=row.acquirer,
        file=row.file,
        version=row.version,
        line=row.line,
        settlement_date=row.settlement_date,
        merchant=row.merchant,
        rrn=row.rrn,
        pan_token=row.pan_token,
        pan_masked=row.pan_masked,
        amount_minor=row.effect_minor,
        currency=row.currency,
        flag=flag,
        de32=row.de32,
        de33=row.de33,
        stan=row.stan,
        transmission_time=row.transmission_time,
        mti=row.mti,
        processing_code=row.processing_code,
        terminal=row.terminal,
    )


def _shares(row: ClearingRow, line: Line) -> AgencyFee:
    return AgencyFee(
        acquirer=row.acquirer,
        file=row.file,
        version=row.version,
        line=row.line,
        settlement_date=row.settlement_date,
        merchant=row.merchant,
        rrn=row.rrn,
        pan_token=row.pan_token,
        pan_masked=row.pan_masked,
        amount_minor=row.effect_minor,
        currency=row.currency,
        merchant_name=line.text("merchant_name"),
        sender_institution=line.text("sender_institution"),
        receiver_institution=line.text("receiver_institution"),
        session=line.text("session"),
        discount_minor=line.minor("discount"),
        merchant_fee_minor=line.minor("merchant_fee"),
        bank=line.text("bank"),
        bank_fee_minor=line.minor("bank_fee"),
        shares=tuple(
            (line.text(f"institution_{role}"), line.minor(f"role_fee_{role}")) for role in ROLES
        ),
        custom_fees_minor=tuple(line.minor(f"custom_fee_{number}") for number in CUSTOM_FEES),
    )
