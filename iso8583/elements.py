"""Data elements 2 to 128 by name, in English and Chinese.

Names follow ISO 8583:1987; what 1993, 2003 and a family of dialects call otherwise stands behind, and a
dialect's row may name its own use. Source: `reference/iso8583-base.md`, `reference/pos-messages.md` §3.
"""

from __future__ import annotations

from typing import Final

# DE: (English, Chinese)
NAMES: Final[dict[int, tuple[str, str]]] = {
    0: ("message type", "消息类型"),
    1: ("bitmap", "位图"),
    2: ("primary account number", "主账号"),
    3: ("processing code", "交易处理码"),
    4: ("amount, transaction", "交易金额"),
    5: ("amount, settlement", "清算金额"),
    6: ("amount, cardholder billing", "持卡人扣账金额"),
    7: ("transmission date and time", "交易传输时间"),
    8: ("amount, cardholder billing fee", "持卡人扣账手续费"),
    9: ("conversion rate, settlement", "清算汇率"),
    10: ("conversion rate, cardholder billing", "持卡人扣账汇率"),
    11: ("systems trace audit number", "受卡方系统跟踪号"),
    12: ("time, local transaction", "受卡方所在地时间"),
    13: ("date, local transaction", "受卡方所在地日期"),
    14: ("date, expiration", "卡有效期"),
    15: ("date, settlement", "清算日期"),
    16: ("date, conversion", "兑换日期"),
    17: ("date, capture", "获取日期"),
    18: ("merchant type", "商户类型"),
    19: ("acquiring institution country", "受理机构国家代码"),
    20: ("primary account number country", "主账号国家代码"),
    21: ("forwarding institution country", "发送机构国家代码"),
    22: ("point of service entry mode", "服务点输入方式码"),
    23: ("card sequence number", "卡序列号"),
    24: ("network international identifier", "网络国际标识"),
    25: ("point of service condition", "服务点条件码"),
    26: ("PIN capture code", "服务点PIN获取码"),
    27: ("authorisation identification length", "授权标识应答长度"),
    28: ("amount, transaction fee", "交易费"),
    29: ("amount, settlement fee", "清算费"),
    30: ("amount, transaction processing fee", "交易处理费"),
    31: ("amount, settlement processing fee", "清算处理费"),
    32: ("acquiring institution", "受理方标识码"),
    33: ("forwarding institution", "发送机构标识码"),
    34: ("primary account number, extended", "扩展主账号"),
    35: ("track 2", "二磁道数据"),
    36: ("track 3", "三磁道数据"),
    37: ("retrieval reference number", "检索参考号"),
    38: ("authorisation code", "授权标识应答码"),
    39: ("response code", "应答码"),
    40: ("service restriction code", "服务限制码"),
    41: ("terminal", "受卡机终端标识码"),
    42: ("merchant", "受卡方标识码"),
    43: ("merchant name and location", "受卡方名称地址"),
    44: ("additional response data", "附加响应数据"),
    45: ("track 1", "一磁道数据"),
    46: ("additional data, ISO", "附加数据 ISO"),
    47: ("additional data, national", "附加数据 国家"),
    48: ("additional data, private", "附加数据 私有"),
    49: ("currency, transaction", "交易货币代码"),
    50: ("currency, settlement", "清算货币代码"),
    51: ("currency, cardholder billing", "持卡人账户货币代码"),
    52: ("PIN block", "个人标识码数据"),
    53: ("security control information", "安全控制信息"),
    54: ("additional amounts", "附加金额"),
    55: ("IC card data", "IC卡数据域"),
    56: ("reserved, ISO (56)", "保留 ISO 56"),
    **{de: (f"reserved, national ({de})", f"保留 国家 {de}") for de in range(57, 60)},
    **{de: (f"reserved, private ({de})", f"保留 私有 {de}") for de in range(60, 64)},
    64: ("message authentication code", "报文鉴别码"),
    66: ("settlement code", "清算代码"),
    67: ("extended payment code", "扩展付款代码"),
    68: ("receiving institution country", "接收机构国家代码"),
    69: ("settlement institution country", "清算机构国家代码"),
    70: ("network management code", "网络管理信息码"),
    71: ("message number", "报文编号"),
    72: ("message number, last", "末报文编号"),
    73: ("date, action", "动作日期"),
    74: ("credits, number", "贷记交易笔数"),
    75: ("credits reversal, number", "冲正贷记笔数"),
    76: ("debits, number", "借记交易笔数"),
    77: ("debits reversal, number", "冲正借记笔数"),
    78: ("transfers, number", "转账笔数"),
    79: ("transfers reversal, number", "冲正转账笔数"),
    80: ("inquiries, number", "查询笔数"),
    81: ("authorisations, number", "授权笔数"),
    82: ("credits, processing fee", "贷记处理费"),
    83: ("credits, transaction fee", "贷记交易费"),
    84: ("debits, processing fee", "借记处理费"),
    85: ("debits, transaction fee", "借记交易费"),
    86: ("credits, amount", "贷记交易金额"),
    87: ("credits reversal, amount", "冲正贷记金额"),
    88: ("debits, amount", "借记交易金额"),
    89: ("debits reversal, amount", "冲正借记金额"),
    90: ("original data elements", "原始数据元"),
    91: ("file update code", "文件修改编码"),
    92: ("file security code", "文件安全码"),
    93: ("response indicator", "响应标识"),
    94: ("service indicator", "服务标识"),
    95: ("replacement amounts", "代替金额"),
    96: ("message security code", "报文安全码"),
    97: ("amount, net settlement", "净清算额"),
    98: ("payee", "收款人"),
    99: ("settlement institution", "清算机构标识码"),
    100: ("receiving institution", "接收机构标识码"),
    101: ("file name", "文件名"),
    102: ("account identification 1", "账户标识1"),
    103: ("account identification 2", "账户标识2"),
    104: ("transaction description", "交易描述"),
    **{de: (f"reserved, ISO ({de})", f"保留 ISO {de}") for de in range(105, 112)},
    **{de: (f"reserved, national ({de})", f"保留 国家 {de}") for de in range(112, 120)},
    **{de: (f"reserved, private ({de})", f"保留 私有 {de}") for de in range(120, 128)},
    128: ("message authentication code", "报文鉴别码"),
}
# What 1993 calls otherwise than 1987.
NAMES_1993: Final[dict[int, tuple[str, str]]] = {
    5: ("amount, reconciliation", "对账金额"),
    9: ("conversion rate, reconciliation", "对账汇率"),
    12: ("date and time, local transaction", "受卡方所在地日期时间"),
    13: ("date, effective", "卡生效日期"),
    22: ("point of service data code", "服务点数据码"),
    24: ("function code", "功能码"),
    25: ("message reason code", "报文原因码"),
    26: ("card acceptor business code", "受卡方业务代码"),
    27: ("approval code length", "授权码长度"),
    28: ("date, reconciliation", "对账日期"),
    29: ("reconciliation indicator", "对账标识"),
    30: ("amounts, original", "原始金额"),
    31: ("acquirer reference data", "受理方参考数据"),
    38: ("approval code", "授权码"),
    39: ("action code", "行动码"),
    40: ("service code", "服务码"),
    46: ("amounts, fees", "费用金额"),
    50: ("currency, reconciliation", "对账货币代码"),
    56: ("original data elements", "原始数据元"),
    57: ("authorisation life cycle code", "授权生命周期码"),
    58: ("authorising agent institution", "授权代理机构标识码"),
    59: ("transport data", "传输数据"),
    60: ("reserved, national (60)", "保留 国家 60"),
    61: ("reserved, national (61)", "保留 国家 61"),
    66: ("amounts, original fees", "原始费用金额"),
    70: ("authorising agent institution country", "授权代理机构国家代码"),
    72: ("data record", "数据记录"),
    82: ("inquiries reversal, number", "冲正查询笔数"),
    83: ("payments, number", "付款笔数"),
    84: ("payments reversal, number", "冲正付款笔数"),
    85: ("fee collections, number", "收费笔数"),
    90: ("authorisations reversal, number", "冲正授权笔数"),
    91: ("destination institution country", "目的机构国家代码"),
    92: ("originator institution country", "发起机构国家代码"),
    93: ("destination institution", "目的机构标识码"),
    94: ("originator institution", "发起机构标识码"),
    95: ("card issuer reference data", "发卡方参考数据"),
    96: ("key management data", "密钥管理数据"),
    97: ("amount, net reconciliation", "净对账额"),
    105: ("credits, chargeback amount", "贷记退单金额"),
    106: ("debits, chargeback amount", "借记退单金额"),
    107: ("credits, chargeback number", "贷记退单笔数"),
    108: ("debits, chargeback number", "借记退单笔数"),
    109: ("credits, fee amounts", "贷记费用金额"),
    110: ("debits, fee amounts", "借记费用金额"),
}
# What 2003 calls otherwise than 1993; the rest of what it reserves has its number.
NAMES_2003: Final[dict[int, tuple[str, str]]] = {
    18: ("message error indicator", "报文错误标识"),
    21: ("transaction life cycle identification", "交易生命周期标识"),
    26: ("merchant category code", "商户类别码"),
    27: ("point of service capability", "服务点能力"),
    31: ("acquirer reference number", "受理方参考号"),
    34: ("electronic commerce data", "电子商务数据"),
    49: ("verification data", "验证数据"),
    68: ("batch and file transfer message control", "批量/文件传输报文控制"),
    69: ("batch and file transfer control data", "批量/文件传输控制数据"),
    70: ("file transfer description", "文件传输描述"),
    74: ("reconciliation data, primary", "主对账数据"),
    75: ("reconciliation data, secondary", "辅对账数据"),
    104: ("transaction specific data", "交易特定数据"),
    109: ("reconciliation fee amounts, credit", "贷记对账费用金额"),
    110: ("reconciliation fee amounts, debit", "借记对账费用金额"),
    **{
        de: (f"reserved ({de})", f"保留 {de}")
        for de in (50, 51, 71, *range(76, 93), *range(105, 109), *range(111, 128), *range(129, 193))
    },
}
# What a family of dialects (a base and its variants) has in elements that the standard leaves open.
NAMES_OF_FAMILIES: Final[dict[str, dict[int, tuple[str, str]]]] = {
    "unionpay_pos": {
        57: ("additional transaction data", "附加交易信息"),
        58: ("e-purse data", "PBOC电子钱包标准的交易信息"),
        59: ("QR code and wallet data", "自定义域 59"),
        60: ("private: type, batch, capability", "自定义域 60"),
        61: ("original transaction", "原始信息域"),
        62: ("private (62)", "自定义域 62"),
        63: ("private (63)", "自定义域 63"),
    },
}


def name(de: int, lang: str = "en", version: str = "0", family: str = "") -> str:
    """The element's name in English, or in Chinese with `lang` "zh"; `DE n` where there is none.

    `version` is the first digit of the MTI: 1993 and 2003 call some elements otherwise; `family` the
    base of the dialect.

    >>> name(24), name(24, version="1"), name(24, "zh", "2")
    ('network international identifier', 'function code', '功能码')
    >>> name(60), name(60, family="unionpay_pos")
    ('reserved, private (60)', 'private: type, batch, capability')
    """
    names = NAMES.get(de, (f"DE {de}", f"域 {de}"))
    if version in {"1", "2"}:
        names = NAMES_1993.get(de, names)
    if version == "2":
        names = NAMES_2003.get(de, names)
    names = NAMES_OF_FAMILIES.get(family, {}).get(de, names)
    return names[lang.startswith("zh")]
