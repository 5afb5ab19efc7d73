"""Tags of chip data (DE 55) by name: English, Chinese, format, and whether the value is a secret.

A secret is card data, what holds it (templates; certificates that a PAN is recovered from, EMV Book 2
§6.4), and what an issuer's script carries (`emv_scripts` shows which command it is).

Names and formats: EMV 4.3 Book 3 annex A (`b` bytes, `n` and `cn` digits, `an` and `ans`
characters). Chinese names as terminals' documents use them. UnionPay's private tags and those of
downloads are [unverified]: `reference/pos-messages.md` §5.4 and §5.5.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Tag(NamedTuple):
    """One row: names, format, whether it is in EMV Book 3, whether its value is shown masked."""

    english: str
    chinese: str
    format: str
    emv: bool = True
    secret: bool = False

    def name(self, lang: str = "en") -> str:
        """The name, in Chinese with `lang` "zh"."""
        return self.chinese if lang.startswith("zh") else self.english


def _own(english: str, chinese: str, format_: str = "b") -> Tag:
    return Tag(english, chinese, format_, emv=False)


TAGS: Final[dict[str, Tag]] = {
    "42": Tag("issuer identification number", "发卡行标识号", "n 6"),
    "4F": Tag("application identifier, card", "应用标识符(卡片)", "b 5-16"),
    "50": Tag("application label", "应用标签", "ans 1-16"),
    "56": Tag("track 1 equivalent data", "一磁道等效数据", "ans", secret=True),
    "57": Tag("track 2 equivalent data", "二磁道等效数据", "b ..19", secret=True),
    "5A": Tag("application PAN", "应用主账号", "cn ..19", secret=True),
    "5F20": Tag("cardholder name", "持卡人姓名", "ans 2-26", secret=True),
    "5F24": Tag("application expiration date", "应用失效日期", "n 6", secret=True),
    "5F25": Tag("application effective date", "应用生效日期", "n 6"),
    "5F28": Tag("issuer country code", "发卡行国家代码", "n 3"),
    "5F2A": Tag("transaction currency code", "交易货币代码", "n 3"),
    "5F2D": Tag("language preference", "首选语言", "an 2-8"),
    "5F30": Tag("service code", "服务码", "n 3", secret=True),
    "5F34": Tag("PAN sequence number", "应用主账号序列号", "n 2"),
    "5F36": Tag("transaction currency exponent", "交易货币指数", "n 1"),
    "5F50": Tag("issuer URL", "发卡行URL", "ans"),
    "5F57": Tag("account type", "账户类型", "n 2"),
    "6F": Tag("FCI template", "文件控制信息模板", "b"),
    "70": Tag("record template", "记录模板", "b", secret=True),
    "71": Tag("issuer script template 1", "发卡行脚本模板1", "b", secret=True),
    "72": Tag("issuer script template 2", "发卡行脚本模板2", "b", secret=True),
    "77": Tag("response template, format 2", "响应报文模板格式2", "b", secret=True),
    "80": Tag("response template, format 1", "响应报文模板格式1", "b", secret=True),
    "81": Tag("amount, authorised (binary)", "授权金额(二进制)", "b 4"),
    "82": Tag("application interchange profile", "应用交互特征(AIP)", "b 2"),
    "83": Tag("command template", "命令模板", "b"),
    "84": Tag("dedicated file name", "专用文件名称", "b 5-16"),
    "86": Tag("issuer script command", "发卡行脚本命令", "b ..261", secret=True),
    "87": Tag("application priority indicator", "应用优先指示器", "b 1"),
    "88": Tag("short file identifier", "短文件标识符", "b 1"),
    "89": Tag("authorisation code", "授权码", "b 6"),
    "8A": Tag("authorisation response code", "授权响应码", "an 2"),
    "8C": Tag("CDOL 1", "卡片风险管理数据对象列表1", "b"),
    "8D": Tag("CDOL 2", "卡片风险管理数据对象列表2", "b"),
    "8E": Tag("CVM list", "持卡人验证方法列表", "b"),
    "8F": Tag("CA public key index, card", "CA公钥索引(卡片)", "b 1"),
    "90": Tag("issuer public key certificate", "发卡行公钥证书", "b"),
    "91": Tag("issuer authentication data", "发卡行认证数据", "b 8-16"),
    "92": Tag("issuer public key remainder", "发卡行公钥余项", "b"),
    "93": Tag("signed static application data", "签名的静态应用数据", "b"),
    "94": Tag("application file locator", "应用文件定位器", "b"),
    "95": Tag("terminal verification results", "终端验证结果(TVR)", "b 5"),
    "97": Tag("TDOL", "交易证书数据对象列表", "b"),
    "98": Tag("TC hash value", "交易证书哈希值", "b 20"),
    "99": Tag("PIN data", "交易PIN数据", "b", secret=True),
    "9A": Tag("transaction date", "交易日期", "n 6"),
    "9B": Tag("transaction status information", "交易状态信息(TSI)", "b 2"),
    "9C": Tag("transaction type", "交易类型", "n 2"),
    "9D": Tag("directory definition file name", "目录定义文件名称", "b 5-16"),
    "9F01": Tag("acquirer identifier", "收单行标识", "n 6-11"),
    "9F02": Tag("amount, authorised", "授权金额", "n 12"),
    "9F03": Tag("amount, other", "其他金额", "n 12"),
    "9F04": Tag("amount, other (binary)", "其他金额(二进制)", "b 4"),
    "9F05": Tag("application discretionary data", "应用自定义数据", "b", secret=True),
    "9F06": Tag("application identifier, terminal", "应用标识符(终端)", "b 5-16"),
    "9F07": Tag("application usage control", "应用用途控制", "b 2"),
    "9F08": Tag("application version, card", "应用版本号(卡片)", "b 2"),
    "9F09": Tag("application version, terminal", "应用版本号(终端)", "b 2"),
    "9F0B": Tag("cardholder name, extended", "持卡人姓名扩展", "ans", secret=True),
    "9F0D": Tag("issuer action code, default", "发卡行行为代码(缺省)", "b 5"),
    "9F0E": Tag("issuer action code, denial", "发卡行行为代码(拒绝)", "b 5"),
    "9F0F": Tag("issuer action code, online", "发卡行行为代码(联机)", "b 5"),
    "9F10": Tag("issuer application data", "发卡行应用数据", "b ..32"),
    "9F11": Tag("issuer code table index", "发卡行代码表索引", "n 2"),
    "9F12": Tag("application preferred name", "应用首选名称", "ans"),
    "9F13": Tag("last online ATC register", "上次联机ATC寄存器", "b 2"),
    "9F14": Tag("lower consecutive offline limit", "连续脱机交易下限", "b 1"),
    "9F15": Tag("merchant category code", "商户类别代码", "n 4"),
    "9F16": Tag("merchant identifier", "商户标识", "ans 15"),
    "9F17": Tag("PIN try counter", "PIN尝试计数器", "b 1"),
    "9F18": Tag("issuer script identifier", "发卡行脚本标识符", "b 4"),
    "9F1A": Tag("terminal country code", "终端国家代码", "n 3"),
    "9F1B": Tag("terminal floor limit", "终端最低限额", "b 4"),
    "9F1C": Tag("terminal identification", "终端标识", "an 8"),
    "9F1D": Tag("terminal risk management data", "终端风险管理数据", "b"),
    "9F1E": Tag("interface device serial number", "接口设备序列号", "an 8"),
    "9F1F": Tag("track 1 discretionary data", "一磁道自定义数据", "ans", secret=True),
    "9F20": Tag("track 2 discretionary data", "二磁道自定义数据", "cn", secret=True),
    "9F21": Tag("transaction time", "交易时间", "n 6"),
    "9F22": Tag("CA public key index, terminal", "CA公钥索引(终端)", "b 1"),
    "9F23": Tag("upper consecutive offline limit", "连续脱机交易上限", "b 1"),
    "9F26": Tag("application cryptogram", "应用密文", "b 8"),
    "9F27": Tag("cryptogram information data", "密文信息数据", "b 1"),
    "9F2D": Tag("ICC PIN encipherment key certificate", "IC卡PIN加密公钥证书", "b", secret=True),
    "9F32": Tag("issuer public key exponent", "发卡行公钥指数", "b"),
    "9F33": Tag("terminal capabilities", "终端性能", "b 3"),
    "9F34": Tag("CVM results", "持卡人验证结果", "b 3"),
    "9F35": Tag("terminal type", "终端类型", "n 2"),
    "9F36": Tag("application transaction counter", "应用交易计数器(ATC)", "b 2"),
    "9F37": Tag("unpredictable number", "不可预知数", "b 4"),
    "9F38": Tag("PDOL", "处理选项数据对象列表", "b"),
    "9F39": Tag("point of service entry mode", "销售点输入方式", "n 2"),
    "9F3A": Tag("amount, reference currency", "参考货币金额", "b 4"),
    "9F3C": Tag("transaction reference currency", "交易参考货币代码", "n 3"),
    "9F40": Tag("additional terminal capabilities", "附加终端性能", "b 5"),
    "9F41": Tag("transaction sequence counter", "交易序列计数器", "n 4-8"),
    "9F42": Tag("application currency code", "应用货币代码", "n 3"),
    "9F44": Tag("application currency exponent", "应用货币指数", "n 1"),
    "9F45": Tag("data authentication code", "数据认证码", "b 2"),
    "9F46": Tag("ICC public key certificate", "IC卡公钥证书", "b", secret=True),
    "9F47": Tag("ICC public key exponent", "IC卡公钥指数", "b"),
    "9F48": Tag("ICC public key remainder", "IC卡公钥余项", "b"),
    "9F49": Tag("DDOL", "动态数据认证数据对象列表", "b"),
    "9F4A": Tag("static data authentication tag list", "静态数据认证标签列表", "b"),
    "9F4B": Tag("signed dynamic application data", "签名的动态应用数据", "b"),
    "9F4C": Tag("ICC dynamic number", "IC卡动态数", "b 2-8"),
    "9F4D": Tag("log entry", "交易日志入口", "b 2"),
    "9F4E": Tag("merchant name and location", "商户名称及位置", "ans"),
    "9F4F": Tag("log format", "日志格式", "b"),
    "9F53": _own("transaction category code", "交易类别代码", "an 1"),
    "9F5D": _own("available offline spending amount", "可用脱机消费金额", "n 12"),
    "9F63": _own("card product identification", "卡产品标识信息", "b 16"),
    "9F66": _own("terminal transaction qualifiers", "终端交易属性", "b 4"),
    "9F6C": _own("card transaction qualifiers", "卡片交易属性", "b 2"),
    "9F6E": _own("form factor indicator", "设备类型指示", "b"),
    "9F74": _own("e-cash authorisation code", "电子现金发卡行授权码", "an 6"),
    "9F77": _own("e-cash balance limit", "电子现金余额上限", "n 12"),
    "9F78": _own("e-cash single transaction limit", "电子现金单笔交易限额", "n 12"),
    "9F79": _own("e-cash balance", "电子现金余额", "n 12"),
    "9F7A": _own("e-cash terminal indicator", "电子现金终端支持指示器", "n 1"),
    "9F7B": _own("e-cash terminal transaction limit", "电子现金终端交易限额", "n 12"),
    "9F7C": _own("customer exclusive data", "客户专属数据"),
    "9F7D": _own("application specification data", "应用特定数据"),
    "A5": Tag("FCI proprietary template", "FCI专有模板", "b"),
    "BF0C": Tag("FCI issuer discretionary data", "FCI发卡行自定义数据", "b"),
    "DF01": _own("application selection indicator", "应用选择指示符", "b 1"),
    "DF02": _own("CA public key modulus", "CA公钥模"),
    "DF03": _own("CA public key check value", "CA公钥校验值", "b 20"),
    "DF04": _own("CA public key exponent", "CA公钥指数"),
    "DF05": _own("CA public key expiry", "CA公钥有效期"),
    "DF06": _own("CA public key hash algorithm", "CA公钥哈希算法标识", "b 1"),
    "DF07": _own("CA public key algorithm", "CA公钥算法标识", "b 1"),
    "DF11": _own("terminal action code, default", "终端行为代码(缺省)", "b 5"),
    "DF12": _own("terminal action code, online", "终端行为代码(联机)", "b 5"),
    "DF13": _own("terminal action code, denial", "终端行为代码(拒绝)", "b 5"),
    "DF14": _own("default DDOL", "缺省DDOL"),
    "DF15": _own("threshold for biased random selection", "偏置随机选择阈值", "b 4"),
    "DF16": _own("maximum target percentage", "偏置随机选择最大目标百分数", "n 2"),
    "DF17": _own("target percentage", "随机选择目标百分数", "n 2"),
    "DF18": _own("terminal online PIN capability", "终端联机PIN支持能力", "b 1"),
    "DF19": _own("contactless floor limit", "非接触脱机最低限额", "n 12"),
    "DF20": _own("contactless transaction limit", "非接触交易限额", "n 12"),
    "DF21": _own("contactless CVM limit", "非接触CVM限额", "n 12"),
    "DF31": _own("issuer script results", "发卡行脚本结果"),
    "DF32": _own("mobile chip serial", "移动支付芯片序列号"),
    "DF33": _own("mobile key version", "移动支付过程密钥数据"),
    "DF34": _own("mobile terminal data", "移动支付终端读取时间"),
}


def name(tag: str, lang: str = "en") -> str:
    """The tag's name; empty where the dictionary has none.

    >>> name("9F26"), name("9F26", "zh")
    ('application cryptogram', '应用密文')
    """
    found = TAGS.get(tag)
    return "" if found is None else found.name(lang)


def is_secret(tag: str) -> bool:
    """Whether the value is hidden from people: card data, and whatever we do not know."""
    found = TAGS.get(tag)
    return found is None or found.secret
