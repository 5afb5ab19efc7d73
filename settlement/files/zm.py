"""UnionPay ZM: the transactions of one online merchant (网上商户对账文件).

Name: `IN` + letter + `YYMMDD` + 2 digits + `ZM_` + the merchant's 15 characters [unverified]. Fixed
width, one blank after each field. Source: settlement reference [C6]. The direction of a row is its
transaction type: 01 and 03 give, 04, 31 and 33 take back [unverified]; a link's `gives` and
`takes_back` replace these. There is no retrieval reference number: matches use trace and time.
"""

from typing import Any, Final

from settlement.clearing import ClearingRow, FileName
from settlement.files.bulk import transactions
from settlement.files.layout import Layout, column, laid_out
from settlement.files.lines import Values, lines_of
from settlement.files.names import unionpay
from settlement.files.rows import CodedExpected, Context, Parsed
from settlement.said import said

GIVES: Final = ("01", "03")  # purchase, completion
TAKES_BACK: Final = ("04", "31", "33")  # refund, void, void of a completion

ZM: Final = Layout(
    "ZM",
    laid_out(
        (
            column("code", 3, "an", "交易代码"),
            column("acquirer_id", 11, "n..", "代理机构标识码", optional=False),
            column("forwarder_id", 11, "n..", "发送机构标识码"),
            column("stan", 6, "n", "系统跟踪号", optional=False),
            column("transmission_time", 10, "n", "交易传输时间 MMDDhhmmss", optional=False),
            column("pan", 19, "n..", "账号", secret=True),
            column("amount", 12, "n", "交易金额", optional=False),
            column("mcc", 4, "n", "商户类别"),
            column("terminal_type", 2, "an", "终端类型"),
            column("query_id", 21, "an", "查询流水号"),
            column("old_pay_type", 2, "an", "支付方式 (旧)"),
            column("order", 32, "an", "商户订单号"),
            column("card_type", 2, "an", "支付卡类型"),
            column("original_stan", 6, "n", "原始交易的系统跟踪号"),
            column("original_time", 10, "n", "原始交易日期时间"),
            column("fee", 13, "xn", "商户手续费"),
            column("net", 13, "xn", "结算金额"),
            column("pay_type", 4, "an", "支付方式"),
            column("group_merchant", 15, "an", "集团商户代码"),
            column("type", 2, "n", "交易类型", optional=False),
            column("sub_type", 2, "n", "交易子类"),
            column("business", 6, "an", "业务类型"),
            column("account_type", 2, "an", "账号类型"),
            column("bill_type", 4, "an", "账单类型"),
            column("bill", 32, "an", "账单号码"),
            column("interaction", 1, "an", "交互方式"),
            column("original_query_id", 21, "an", "原交易查询流水号"),
            column("merchant", 15, "an", "商户代码", optional=False),
            column("split_mode", 1, "an", "分账入账方式"),
            column("sub_merchant", 15, "an", "二级商户代码"),
            column("sub_name", 32, "ans", "二级商户简称"),
            column("sub_amount", 13, "xn", "二级商户分账入账金额"),
            column("settled_net", 13, "xn", "清算净额"),
            column("terminal", 8, "an", "终端号"),
            column("custom", 32, "ans", "商户自定义域"),
            column("discount", 13, "xn", "优惠金额"),
            column("invoice", 13, "xn", "发票金额"),
            column("instalment_fee", 12, "xn", "分期付款附加手续费"),
            column("instalments", 2, "an", "分期付款期数"),
            column("medium", 1, "an", "交易介质"),
            column("reserved", 131, "ans", "保留使用"),
        )
    ),
)

render: Final = ZM.render  # rows as dicts by the names of the table
parse_name: Final = unionpay("ZM", r"ZM_\w{15}")


def parse(data: bytes, file: FileName, context: Context) -> Parsed:
    """Every transaction, or FileError and nothing."""
    lines = lines_of(data, ZM, file)
    return Parsed(transactions=[ClearingRow(**_fields(line, context)) for line in lines])


def _fields(line: Values, context: Context) -> dict[str, Any]:
    expected = context.expected
    assert isinstance(expected, CodedExpected)
    own = expected.gives or expected.takes_back
    gives, takes_back = (expected.gives, expected.takes_back) if own else (GIVES, TAKES_BACK)
    known = (*gives, *takes_back)
    line.check("type", lambda type_: type_ in known, said("file_type"))
    token, masked = line.pan(context)
    return {
        **line.place(context),
        "content": line.content(context),
        "de32": line.text("acquirer_id"),
        "de33": line.text("forwarder_id"),
        "stan": line.text("stan"),
        "transmission_time": line.moment("transmission_time"),
        "pan_token": token,
        "pan_masked": masked,
        "amount_minor": line.minor("amount"),
        "currency": context.currency,
        "mti": "0200",
        "processing_code": line.mapped(
            "type", lambda type_: "200000" if type_ in takes_back else "000000"
        ),
        "mcc": line.text("mcc"),
        "terminal": line.text("terminal"),
        "merchant": line.text("merchant"),
        "rrn": "",
        "condition_code": "",
        "auth_code": "",
        "original_stan": line.text("original_stan"),
        "original_time": line.moment("original_time"),
        "response_code": "",
        "entry_mode": "",
        "fee_receivable_minor": line.plus("fee"),
        "fee_payable_minor": line.minus("fee"),
        "switching_fee_minor": None,
    }


at_once: Final = transactions(ZM, _fields)
