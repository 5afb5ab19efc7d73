"""UnionPay ERRA: errors and adjustments (差错流水), one row a money-moving answer to one transaction.

Name: `IN` + party letter + `YYMMDD` + 2 digits + `AERRA`. No header, no trailer. A chargeback, a
re-presentment, a credit adjustment each come as a row of their own settlement date that names the
original. Source: settlement reference [C1]. Unverified: the meaning of error types (E05 and others),
and which amounts are signed (each may be).
"""

from typing import Any, Final

from settlement.clearing import FileName
from settlement.files.bulk import other_rows
from settlement.files.layout import Layout, column, laid_out
from settlement.files.lines import Values, last_four, lines_of
from settlement.files.names import unionpay
from settlement.files.rows import Adjustment, Context, Parsed

ERRA: Final = Layout(
    "ERRA",
    laid_out(
        (
            column("error_type", 3, "an", "差错交易标志", optional=False),
            column("acquirer_id", 11, "n..", "代理机构 F32", optional=False),
            column("forwarder_id", 11, "n..", "发送机构 F33"),
            column("stan", 6, "n", "系统跟踪号 F11", optional=False),
            column("transmission_time", 10, "n", "交易传输时间 F7 MMDDhhmmss", optional=False),
            column("pan", 19, "n..", "主账号 F2", secret=True),
            column("amount", 12, "n", "交易金额 F4", optional=False),
            column("mti", 4, "n", "报文类型"),
            column("processing_code", 6, "n", "处理码 F3"),
            column("mcc", 4, "n", "商户类型 F18"),
            column("terminal", 8, "an", "终端 F41"),
            column("original_rrn", 12, "an", "上笔检索参考号 F37"),
            column("condition_code", 2, "an", "服务点条件码 F25"),
            column("auth_code", 6, "an", "授权应答码 F38"),
            column("receiver_id", 11, "n..", "接收机构 F100"),
            column("issuer_id", 11, "n..", "发卡机构"),
            column("original_stan", 6, "n", "上笔跟踪号"),
            column("response_code", 2, "an", "应答码 F39"),
            column("entry_mode", 3, "n", "输入方式 F22"),
            column("fee_receivable", 12, "xn", "应收手续费"),
            column("fee_payable", 12, "xn", "应付手续费"),
            column("instalment_fee", 12, "xn", "分期附加手续费"),
            column("cardholder_fee", 12, "xn", "持卡人手续费"),
            column("receivable", 12, "xn", "应收费用"),
            column("payable", 12, "xn", "应付费用"),
            column("reason", 4, "an", "差错原因"),
            column("out_institution", 11, "n..", "转出机构"),
            column("out_account", 19, "an", "转出账户", secret=True),
            column("in_institution", 11, "n..", "转入机构"),
            column("in_account", 19, "an", "转入账户", secret=True),
            column("original_time", 10, "n", "上笔日期时间 MMDDhhmmss"),
            column("card_sequence", 3, "an", "卡序列号 F23"),
            column("reader_capability", 1, "an", "终端读取能力"),
            column("ic_condition", 1, "an", "IC 卡条件代码"),
            column("original_settlement_date", 4, "n", "上笔清算日期 MMDD"),
            column("original_amount", 12, "n", "上笔交易金额"),
            column("region", 1, "an", "交易地域"),
            column("eci", 2, "an", "ECI"),
            column("merchant", 15, "an", "商户 F42"),
            column("sender_clearing_institution", 11, "n..", "发送方清算机构"),
            column("receiver_clearing_institution", 11, "n..", "接收方清算机构"),
            column("in_clearing_institution", 11, "n..", "转入方清算机构"),
            column("original_terminal_type", 2, "an", "上笔终端类型"),
            column("merchant_name", 40, "ans", "商户名称地址 F43"),
            column("special_fee_type", 2, "an", "特殊计费类型"),
            column("special_fee_level", 1, "an", "特殊计费档次"),
            column("reserved_1", 8, "an", "保留"),
            column("product", 24, "an", "卡产品信息"),
            column("original_code", 3, "an", "上笔交易代码"),
            column("initiator", 1, "an", "交易发起方式"),
            column("account_type", 2, "an", "账户类型"),
            column("reserved_2", 46, "ans", "保留"),
            column("original_type", 3, "an", "上笔交易类型"),
            column("merchant_fee", 9, "xn", "商户手续费"),
            column("bank", 11, "n..", "商户结算行"),
            column("bank_fee", 9, "xn", "结算行手续费"),
        )
    ),
)

render: Final = ERRA.render  # rows as dicts by the names of the table
parse_name: Final = unionpay("ERRA", "AERRA")


def parse(data: bytes, file: FileName, context: Context) -> Parsed:
    """Every adjustment, or FileError and nothing."""
    lines = lines_of(data, ERRA, file)
    return Parsed(rows=[Adjustment(**_fields(line, context)) for line in lines])


def _fields(line: Values, context: Context) -> dict[str, Any]:
    token, masked = line.pan(context)
    return {
        **line.place(context),
        "merchant": line.text("merchant"),
        "rrn": line.text("original_rrn"),
        "pan_token": token,
        "pan_masked": masked,
        "amount_minor": line.minor("amount"),
        "currency": context.currency,
        "error_type": line.text("error_type"),
        "reason": line.text("reason"),
        "de32": line.text("acquirer_id"),
        "de33": line.text("forwarder_id"),
        "stan": line.text("stan"),
        "transmission_time": line.moment("transmission_time"),
        "mti": line.text("mti"),
        "processing_code": line.text("processing_code"),
        "mcc": line.text("mcc"),
        "terminal": line.text("terminal"),
        "auth_code": line.text("auth_code"),
        "response_code": line.text("response_code"),
        "entry_mode": line.text("entry_mode"),
        "condition_code": line.text("condition_code"),
        "receiver_id": line.text("receiver_id"),
        "issuer_id": line.text("issuer_id"),
        "original_stan": line.text("original_stan"),
        "original_time": line.moment("original_time"),
        "original_settlement_date": line.earlier("original_settlement_date"),
        "original_amount_minor": line.amount("original_amount"),
        "original_type": line.text("original_type"),
        "out_institution": line.text("out_institution"),
        "out_account_masked": line.mapped("out_account", last_four),
        "in_institution": line.text("in_institution"),
        "in_account_masked": line.mapped("in_account", last_four),
        "initiator": line.text("initiator"),
        "receivable_minor": line.minor("receivable"),
        "payable_minor": line.minor("payable"),
        "fee_receivable_minor": line.minor("fee_receivable"),
        "fee_payable_minor": line.minor("fee_payable"),
        "cardholder_fee_minor": line.minor("cardholder_fee"),
        "instalment_fee_minor": line.minor("instalment_fee"),
        "merchant_fee_minor": line.minor("merchant_fee"),
    }


at_once: Final = other_rows(ERRA, Adjustment, _fields)
