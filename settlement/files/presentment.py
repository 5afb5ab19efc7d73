"""Dual-message presentment of offline chip sales (双信息请款): 519 bytes and CR LF, no separators.

What an acquirer hands in to be paid for sales that were approved by the card alone, and gets back
as taken. Names are agreed with the bank; no header, no trailer.
Source: settlement reference [C7 `unionpaypos.h`], all columns. It speaks of 505 bytes, its columns
sum to 519; as the last column is text, a line that ends within it is taken too.
"""

from typing import Any, Final

from settlement.clearing import ClearingRow, FileName
from settlement.files.bulk import transactions
from settlement.files.layout import Layout, column, laid_out
from settlement.files.lines import Values, lines_of
from settlement.files.rows import Context, Parsed

PRESENTMENT: Final = Layout(
    "PRESENTMENT",
    laid_out(
        (
            column("pan", 19, "n..", "主账号 F2", optional=False, secret=True),
            column("amount", 12, "n", "交易金额 F4", optional=False),
            column("currency", 3, "n", "交易货币代码 F49", optional=False),
            column("transmission_time", 10, "n", "交易传输时间 MMDDhhmmss", optional=False),
            column("stan", 6, "n", "系统跟踪号 F11", optional=False),
            column("auth_code", 6, "an", "授权应答码 F38"),
            column("auth_date", 4, "n", "授权日期 MMDD"),
            column("rrn", 12, "an", "检索参考号 F37"),
            column("acquirer_id", 11, "n..", "代理机构 F32", optional=False),
            column("forwarder_id", 11, "n..", "发送机构 F33"),
            column("mcc", 4, "n", "商户类型 F18"),
            column("terminal", 8, "an", "终端 F41", optional=False),
            column("merchant", 15, "an", "商户 F42", optional=False),
            column("merchant_name", 40, "ans", "商户名称地址 F43"),
            column("original", 23, "an", "原始交易信息"),
            column("reason", 4, "an", "报文原因代码 F60.1"),
            column("conversion", 1, "an", "单双信息标志"),
            column("cups_serial", 9, "an", "CUPS 流水号"),
            column("receiver_id", 11, "n..", "接收机构 F100"),
            column("issuer_id", 11, "n..", "发卡机构"),
            column("cups_notice", 1, "an", "CUPS 通知标志"),
            column("channel", 2, "an", "交易发起渠道"),
            column("feature", 1, "an", "交易特征标识"),
            column("cups_reserved", 8, "an", "CUPS 保留使用"),
            column("condition_code", 2, "an", "服务点条件码 F25"),
            column("fee", 12, "xn", "本方手续费"),
            column("region", 1, "an", "交易地域"),
            column("eci", 2, "an", "ECI 标志"),
            column("special_fee_type", 2, "an", "特殊计费标志"),
            column("special_fee_level", 1, "an", "特殊计费档次"),
            column("initiator", 1, "an", "交易发起方式"),
            column("reserved", 9, "an", "保留使用"),
            column("cryptogram", 16, "an", "应用密文 9F26"),
            column("entry_mode", 3, "n", "输入方式 F22"),
            column("card_sequence", 3, "an", "卡序列号 F23"),
            column("reader_capability", 1, "an", "终端读取能力"),
            column("ic_condition", 1, "an", "IC 卡条件代码"),
            column("terminal_capabilities", 6, "an", "终端性能 9F33"),
            column("tvr", 10, "an", "终端验证结果 95"),
            column("unpredictable_number", 8, "an", "不可预知数 9F37"),
            column("device_serial", 8, "an", "接口设备序列号 9F1E"),
            column("issuer_data", 64, "an", "发卡行应用数据 9F10"),
            column("atc", 4, "an", "应用交易计数器 9F36"),
            column("aip", 4, "an", "应用交互特征 82"),
            column("date", 6, "n", "交易日期 9A"),
            column("country", 3, "n", "终端国家代码 9F1A"),
            column("response_code", 2, "an", "交易响应码"),
            column("type", 2, "an", "交易类型 9C"),
            column("auth_amount", 12, "n", "授权金额 9F02"),
            column("auth_currency", 3, "n", "交易币种代码 5F2A"),
            column("cryptogram_result", 1, "an", "应用密文校验结果"),
            column("card_expiry", 4, "an", "卡有效期", secret=True),
            column("cryptogram_information", 2, "an", "密文信息数据 9F27"),
            column("other_amount", 12, "n", "其它金额 9F03"),
            column("cvm_results", 6, "an", "持卡人验证方法结果 9F34"),
            column("terminal_type", 2, "an", "终端类型 9F35"),
            column("aid", 32, "an", "专用文件名称 84"),
            column("application_version", 4, "an", "应用版本号 9F09"),
            column("sequence_counter", 8, "an", "交易序列计数器 9F41"),
            column("cash_auth_code", 6, "an", "电子现金发卡行授权码 9F74"),
            column("product", 24, "an", "卡产品标识信息 9F63"),
        ),
        gap=0,
    ),
    separator=b"",
)
assert PRESENTMENT.length == 519


def parse(data: bytes, file: FileName, context: Context) -> Parsed:
    """Every presented sale, or FileError and nothing."""
    lines = lines_of(data, PRESENTMENT, file)
    return Parsed(transactions=[ClearingRow(**_fields(line, context)) for line in lines])


def _fields(line: Values, context: Context) -> dict[str, Any]:
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
        "currency": line.text("currency"),
        "mti": "0220",
        "processing_code": "000000",
        "mcc": line.text("mcc"),
        "terminal": line.text("terminal"),
        "merchant": line.text("merchant"),
        "rrn": line.text("rrn"),
        "condition_code": line.text("condition_code"),
        "auth_code": line.text("auth_code"),
        "original_stan": "",
        "original_time": "",
        "response_code": "",
        "entry_mode": line.text("entry_mode"),
        "fee_receivable_minor": line.plus("fee"),
        "fee_payable_minor": line.minus("fee"),
        "switching_fee_minor": None,
    }


at_once: Final = transactions(PRESENTMENT, _fields)


def render(rows: list[dict[str, str | int | None]]) -> bytes:
    """The file of `rows`, each a dict by the names of `PRESENTMENT`."""
    return PRESENTMENT.render(rows, b"\r\n")
