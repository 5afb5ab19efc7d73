"""UnionPay ALFEE: brand service fees (品牌服务费), one row a transaction.

Name: `IN` + party letter + `YYMMDD` + 2 digits + `ALFEE`. No header, no trailer.
Source: settlement reference [C1]. Unverified: which amounts are signed (each may be).
"""

from typing import Any, Final

from settlement.clearing import FileName
from settlement.files.bulk import other_rows
from settlement.files.layout import Layout, column, laid_out
from settlement.files.lines import Values, lines_of
from settlement.files.names import unionpay
from settlement.files.rows import BrandFee, Context, Parsed
from settlement.said import said

ALFEE: Final = Layout(
    "ALFEE",
    laid_out(
        (
            column("branch_1", 11, "an", "一级分支机构"),
            column("standard", 1, "an", "银联标准卡标志"),
            column("debit_credit", 2, "n", "借贷记标志 01 借记 02 03 贷记"),
            column("terminal_type", 2, "an", "终端类型"),
            column("medium", 1, "an", "交易介质"),
            column("region", 1, "an", "交易地域"),
            column("mcc", 4, "n", "商户类型 F18"),
            column("branch_2", 11, "an", "二级分支机构"),
            column("acquirer_id", 11, "n..", "代理机构 F32"),
            column("forwarder_id", 11, "n..", "发送机构 F33"),
            column("issuer_id", 11, "n..", "发卡机构"),
            column("receiver_id", 11, "n..", "接收机构 F100"),
            column("collecting_institution", 11, "n..", "费用收取机构"),
            column("mti", 4, "n", "报文类型", optional=False),
            column("processing_code", 6, "n", "处理码 F3", optional=False),
            column("condition_code", 2, "an", "服务点条件码 F25"),
            column("stan", 6, "n", "系统跟踪号 F11", optional=False),
            column("transmission_time", 10, "n", "交易传输时间 F7 MMDDhhmmss", optional=False),
            column("pan", 19, "n..", "主账号 F2", secret=True),
            column("out_card", 28, "an", "转出卡", secret=True),
            column("in_card", 28, "an", "转入卡", secret=True),
            column("original", 42, "an", "原始数据元"),
            column("terminal", 8, "an", "终端 F41"),
            column("merchant", 15, "an", "商户 F42"),
            column("rrn", 12, "an", "检索参考号 F37"),
            column("amount", 12, "xn", "交易金额 F4", optional=False),
            column("acquirer_fee", 12, "xn", "收单方手续费"),
            column("brand_fee", 12, "xn", "品牌服务费", optional=False),
            column("reserved_fee", 12, "an", "保留"),
            column("net", 13, "xn", "净额"),
            column("initiator", 1, "an", "发起方"),
            column("reserved", 99, "ans", "保留使用"),
        )
    ),
)

render: Final = ALFEE.render  # rows as dicts by the names of the table
parse_name: Final = unionpay("ALFEE", "ALFEE")


def parse(data: bytes, file: FileName, context: Context) -> Parsed:
    """Every row's fee, or FileError and nothing."""
    return Parsed(rows=[BrandFee(**_fields(line, context)) for line in lines_of(data, ALFEE, file)])


def _fields(line: Values, context: Context) -> dict[str, Any]:
    reason = said("file_debit_credit")
    line.check("debit_credit", lambda code: code in ("", "01", "02", "03"), reason)
    token, masked = line.pan(context)
    return {
        **line.place(context),
        "merchant": line.text("merchant"),
        "rrn": line.text("rrn"),
        "pan_token": token,
        "pan_masked": masked,
        "amount_minor": line.minor("amount"),
        "currency": context.currency,
        "debit_credit": line.text("debit_credit"),
        "standard_card": line.text("standard"),
        "de32": line.text("acquirer_id"),
        "de33": line.text("forwarder_id"),
        "stan": line.text("stan"),
        "transmission_time": line.moment("transmission_time"),
        "mti": line.text("mti"),
        "processing_code": line.text("processing_code"),
        "mcc": line.text("mcc"),
        "terminal": line.text("terminal"),
        "issuer_id": line.text("issuer_id"),
        "receiver_id": line.text("receiver_id"),
        "collecting_institution": line.text("collecting_institution"),
        "original": line.text("original"),
        "initiator": line.text("initiator"),
        "acquirer_fee_minor": line.minor("acquirer_fee"),
        "brand_fee_minor": line.minor("brand_fee"),
        "net_minor": line.minor("net"),
    }


at_once: Final = other_rows(ALFEE, BrandFee, _fields)
