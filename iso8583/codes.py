"""The codes inside elements, in English and Chinese: response, processing, entry mode, network.

Terminals' tables are UnionPay's; `HOST_…` are those of other hosts, as the standard has them: a code
means what its dialect says (`of_family`).

Source: `reference/pos-messages.md` §4, §5 and §9 (terminals), `reference/iso8583-base.md` (links).
What a code leads to (approved, declined, reversed) belongs to the link's own table, not here.
"""

from __future__ import annotations

from typing import Final, NamedTuple

Text = tuple[str, str]

# DE 39 towards terminals and on links.
RESPONSE_CODES: Final[dict[str, Text]] = {
    "00": ("approved", "交易成功"),
    "01": ("call issuer", "请持卡人与发卡银行联系"),
    "02": ("call issuer, special condition", "请持卡人与发卡银行联系(特殊条件)"),
    "03": ("invalid merchant", "无效商户"),
    "04": ("pick up card", "此卡被没收"),
    "05": ("cardholder verification failed", "持卡人认证失败"),
    "06": ("error", "出错"),
    "07": ("pick up card, special condition", "特定条件下没收卡"),
    "09": ("request in progress", "请求正在处理中"),
    "10": ("partial approval", "部分承兑"),
    "11": ("approved, VIP", "成功,VIP客户"),
    "12": ("invalid transaction", "无效的关联交易"),
    "13": ("invalid amount", "无效金额"),
    "14": ("invalid card number", "无效卡号"),
    "15": ("no such issuer", "无对应发卡方"),
    "17": ("customer cancelled", "客户取消"),
    "19": ("enter again", "重新送入交易"),
    "20": ("invalid response", "无效应答"),
    "21": ("card not initialised or dormant", "该卡未初始化或睡眠卡"),
    "22": ("wrong operation or beyond allowed days", "操作有误,或超出交易允许天数"),
    "25": ("no original transaction", "没有原始交易"),
    "30": ("format error", "请重试"),
    "31": ("bank not supported", "交换中心不支持的银行"),
    "33": ("expired card, pick up", "过期的卡,没收"),
    "34": ("fraud card, pick up", "作弊卡,吞卡"),
    "36": ("restricted card, pick up", "受限制的卡,没收"),
    "38": ("PIN tries exceeded, pick up", "密码错误次数超限"),
    "39": ("no credit account", "无此信用卡账户"),
    "40": ("type not supported", "发卡方不支持的交易类型"),
    "41": ("lost card", "挂失卡"),
    "42": ("no universal account", "无此账户"),
    "43": ("stolen card", "被窃卡"),
    "44": ("no investment account", "无此投资账户"),
    "45": ("use the chip", "请使用芯片"),
    "51": ("insufficient funds", "可用余额不足"),
    "52": ("no cheque account", "无此支票账户"),
    "53": ("no savings account", "无此储蓄卡账户"),
    "54": ("expired card", "该卡已过期"),
    "55": ("wrong PIN", "密码错"),
    "56": ("no card record", "无此卡记录"),
    "57": ("not permitted to card", "不允许此卡交易"),
    "58": ("not permitted to terminal", "不允许在本终端"),
    "59": ("card check error", "卡片校验错"),
    "60": ("contact acquirer", "请与受理方联系"),
    "61": ("amount limit exceeded", "金额超限"),
    "62": ("restricted card", "受限制的卡"),
    "63": ("security violation", "违反安全保密规定"),
    "64": ("amount does not match original", "与原交易不匹配"),
    "65": ("count limit exceeded", "超出次数限制"),
    "66": ("call acquirer's security", "请与受理方安全部门联系"),
    "67": ("hard capture", "强制没收卡"),
    "68": ("time out", "交易超时"),
    "75": ("PIN tries exceeded", "密码错误次数超限"),
    "77": ("sign on again", "请向网络中心签到"),
    "79": ("upload offline data again", "POS终端重传脱机数据"),
    "90": ("day switch in progress", "系统日切"),
    "91": ("issuer down", "发卡方状态不正常"),
    "92": ("line down or no route", "线路异常"),
    "93": ("violation of law", "交易违法"),
    "94": ("duplicate", "重复交易"),
    "95": ("reconcile error", "对账错"),
    "96": ("switch failure", "交换中心异常"),
    "97": ("terminal not registered", "终端未登记"),
    "98": ("issuer time out", "发卡方超时"),
    "99": ("PIN format error, sign on", "PIN格式错"),
    "A0": ("MAC error, sign on", "MAC校验错"),
    "A1": ("transfer currency mismatch", "转账货币不一致"),
    "A2": ("approved, check with issuer", "交易成功,请向发卡行确认"),
    "A3": ("account wrong", "账户不正确"),
    "A4": ("approved, check with issuer", "交易成功,请向发卡行确认"),
    "A5": ("approved, check with issuer", "交易成功,请向发卡行确认"),
    "A6": ("approved, check with issuer", "交易成功,请向发卡行确认"),
    "A7": ("switch failure", "交换中心异常"),
}

# DE 3, first two digits.
PROCESSING_CODES: Final[dict[str, Text]] = {
    "00": ("purchase", "消费"),
    "01": ("cash", "取现"),
    "03": ("pre-authorisation", "预授权"),
    "17": ("cash load void", "现金充值撤销"),
    "20": ("void or refund", "撤销或退货"),
    "30": ("available funds inquiry", "可用余额查询"),
    "31": ("balance inquiry", "余额查询"),
    "33": ("account check", "账户验证"),
    "40": ("top-up from account", "账户充值"),
    "60": ("load, named account", "指定账户圈存"),
    "62": ("load, other account", "非指定账户圈存"),
    "63": ("load, cash", "现金充值"),
}

# DE 22, first two digits; the third is 1 with PIN, 2 without.
ENTRY_MODES: Final[dict[str, Text]] = {
    "00": ("unspecified", "未指明"),
    "01": ("keyed", "手工"),
    "02": ("magnetic stripe", "磁条"),
    "03": ("bar or QR code", "条码/二维码"),
    "05": ("chip, contact", "接触式IC卡"),
    "07": ("contactless, quick", "非接触式快速支付"),
    "91": ("contactless, stripe data", "非接触式磁条"),
    "92": ("reservation without card", "无卡预约"),
    "95": ("chip, unreliable", "IC卡数据不可靠"),
    "96": ("mobile chip", "移动支付IC"),
    "98": ("contactless, full", "非接触式标准"),
}

# DE 25.
CONDITIONS: Final[dict[str, Text]] = {
    "00": ("normal", "正常"),
    "06": ("pre-authorisation family", "预授权"),
    "08": ("mail or phone order", "订购"),
    "18": ("phone order pre-authorisation", "订购预授权"),
    "60": ("additional pre-authorisation", "追加预授权"),
    "64": ("instalment", "分期付款"),
    "65": ("points", "积分"),
    "66": ("account top-up", "账户充值"),
    "67": ("reservation", "预约消费"),
    "91": ("e-cash or e-purse load", "电子现金/钱包圈存"),
}

# What hosts mean by codes that terminals have otherwise or not at all [unverified].
_HOSTS_OTHERWISE: Final[dict[str, Text]] = {
    "05": ("do not honour", "不予承兑"),
    "08": ("honour with identification", "核对身份后承兑"),
    "21": ("no action taken", "未作处理"),
    "22": ("suspected malfunction", "疑似故障"),
    "25": ("record not found", "找不到记录"),
    "40": ("function not supported", "不支持的功能"),
    "42": ("no universal account", "无此通用账户"),
    "45": ("", ""),
    "59": ("suspected fraud", "疑似作弊"),
    "76": ("wrong account", "账户错误"),
    "77": ("", ""),
    "79": ("", ""),
    "81": ("PIN cryptographic error", "密码加密错误"),
    "82": ("wrong CVV", "CVV错误"),
    "85": ("verified, no reason to decline", "验证通过"),
    "86": ("PIN can not be verified", "无法验证密码"),
    "90": ("cut-over in progress", "系统日切"),
    "97": ("", ""),
    "98": ("", ""),
    "99": ("", ""),
    **{f"A{number}": ("", "") for number in range(8)},
}
HOST_RESPONSE_CODES: Final[dict[str, Text]] = {
    code: text for code, text in sorted({**RESPONSE_CODES, **_HOSTS_OTHERWISE}.items()) if text[0]
}
HOST_PROCESSING_CODES: Final[dict[str, Text]] = {
    "00": ("purchase", "消费"),
    "01": ("cash", "取现"),
    "02": ("adjustment, debit", "借记调整"),
    "03": ("cheque guarantee", "支票担保"),
    "09": ("purchase with cash back", "消费返现"),
    "20": ("void or refund", "撤销或退货"),
    "21": ("deposit", "存款"),
    "22": ("adjustment, credit", "贷记调整"),
    "30": ("available funds inquiry", "可用余额查询"),
    "31": ("balance inquiry", "余额查询"),
    "40": ("transfer between accounts", "账户间转账"),
}
HOST_CONDITIONS: Final[dict[str, Text]] = {
    "00": ("normal", "正常"),
    "01": ("cardholder not present", "持卡人不在场"),
    "02": ("unattended terminal", "无人值守终端"),
    "03": ("merchant suspicious", "商户存疑"),
    "05": ("cardholder present, card not", "持卡人在场,卡不在场"),
    "06": ("pre-authorisation family", "预授权"),
    "07": ("telephone request", "电话请求"),
    "08": ("mail or phone order", "邮购或电话订购"),
    "10": ("cardholder's identity verified", "已核对持卡人身份"),
}

# DE 60.3 of terminals' management messages.
TERMINAL_MANAGEMENT: Final[dict[str, Text]] = {
    "001": ("sign-on, single-length keys", "签到(单倍长)"),
    "002": ("sign-off", "签退"),
    "003": ("sign-on, double-length keys", "签到(双倍长)"),
    "004": ("sign-on with track key", "签到(含磁道密钥)"),
    "201": ("settlement or upload", "批结算/批上送"),
    "202": ("upload end, not balanced", "批上送结束(不平)"),
    "203": ("chip upload, balanced", "IC卡批上送(平)"),
    "205": ("chip upload, not balanced", "IC卡批上送(不平)"),
    "207": ("upload end, balanced", "批上送结束(平)"),
    "301": ("echo", "回响测试"),
    "360": ("parameter download", "参数传递"),
    "361": ("parameter download end", "参数传递结束"),
    "362": ("status upload", "状态上送"),
    "364": ("terminal manager's parameter download", "TMS参数下载"),
    "365": ("terminal manager's parameter download end", "TMS参数下载结束"),
    "370": ("CA key download", "公钥下载"),
    "371": ("CA key download end", "公钥下载结束"),
    "372": ("CA key list", "公钥查询"),
    "380": ("AID parameter download", "IC卡参数下载"),
    "381": ("AID parameter download end", "IC卡参数下载结束"),
    "382": ("AID parameter list", "IC卡参数查询"),
    "390": ("card blacklist download", "黑名单下载"),
    "391": ("card blacklist download end", "黑名单下载结束"),
    "951": ("script result", "脚本结果通知"),
}

# DE 70 of links.
NETWORK_MANAGEMENT: Final[dict[str, Text]] = {
    "001": ("sign-on", "签到"),
    "002": ("sign-off", "签退"),
    "101": ("key change", "重置密钥"),
    "201": ("cut-over begins", "日切开始"),
    "202": ("cut-over ended", "日切结束"),
    "301": ("echo", "线路测试"),
}


TERMINALS: Final = "unionpay_pos"  # the family whose codes these are


class Codes(NamedTuple):
    """The tables of one family of dialects: DE 3 (first two digits), 25, 39."""

    processing: dict[str, Text]
    conditions: dict[str, Text]
    responses: dict[str, Text]


_OF_TERMINALS: Final = Codes(PROCESSING_CODES, CONDITIONS, RESPONSE_CODES)
_OF_HOSTS: Final = Codes(HOST_PROCESSING_CODES, HOST_CONDITIONS, HOST_RESPONSE_CODES)


def of_family(family: str) -> Codes:
    """The tables of a family: the terminals' own, or those of hosts."""
    return _OF_TERMINALS if family == TERMINALS else _OF_HOSTS


def meaning(table: dict[str, Text], code: str, lang: str = "en") -> str:
    """The code's text, in Chinese with `lang` "zh"; empty where the table has none.

    >>> meaning(RESPONSE_CODES, "51"), meaning(RESPONSE_CODES, "51", "zh")
    ('insufficient funds', '可用余额不足')
    """
    text = table.get(code)
    return "" if text is None else text[1 if lang.startswith("zh") else 0]


def entry_mode(code: str, lang: str = "en") -> str:
    """DE 22 (three digits) in words.

    >>> entry_mode("051")
    'chip, contact; with PIN'
    """
    mode = meaning(ENTRY_MODES, code[:2], lang)
    pin = {"1": ("with PIN", "有密码"), "2": ("no PIN", "无密码")}.get(code[2:3])
    return "; ".join(part for part in (mode, pin[lang.startswith("zh")] if pin else "") if part)
