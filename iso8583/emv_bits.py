"""What the bits and digits of chip data say, in English and Chinese.

| tag  | what                              | source                           |
| ---- | --------------------------------- | -------------------------------- |
| 82   | application interchange profile   | EMV 4.3 Book 3 annex C1          |
| 95   | terminal verification results     | annex C5                         |
| 9B   | transaction status information    | annex C6                         |
| 9F27 | cryptogram information data       | Book 3 §6.5.5.4 table 14         |
| 9F33 | terminal capabilities             | Book 4 annex A2                  |
| 9F34 | CVM results                       | Book 4 annex A4, Book 3 annex C3 |
| 9F35 | terminal type                     | Book 4 annex A1                  |
| 9F10 | issuer application data           | UnionPay (PBOC) and Visa: length |
|      |                                   | 06/07, key index, cryptogram     |
|      |                                   | version, CVR [unverified];       |
|      |                                   | M/Chip: 18 bytes [unverified]    |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from iso8583 import amount, codes

if TYPE_CHECKING:
    from collections.abc import Callable

Text = tuple[str, str]
Bit = tuple[int, int, str, str]  # byte (1 the first), mask, English, Chinese

BITS: Final[dict[str, tuple[Bit, ...]]] = {
    "82": (
        (1, 0x40, "SDA supported", "支持静态数据认证"),
        (1, 0x20, "DDA supported", "支持动态数据认证"),
        (1, 0x10, "cardholder verification supported", "支持持卡人验证"),
        (1, 0x08, "terminal risk management to be performed", "执行终端风险管理"),
        (1, 0x04, "issuer authentication supported", "支持发卡行认证"),
        (1, 0x01, "CDA supported", "支持复合动态数据认证"),
    ),
    "95": (
        (1, 0x80, "offline data authentication not performed", "未进行脱机数据认证"),
        (1, 0x40, "SDA failed", "静态数据认证失败"),
        (1, 0x20, "ICC data missing", "IC卡数据缺失"),
        (1, 0x10, "card on terminal exception file", "卡片出现在终端异常文件中"),
        (1, 0x08, "DDA failed", "动态数据认证失败"),
        (1, 0x04, "CDA failed", "复合动态数据认证失败"),
        (1, 0x02, "SDA selected", "选择了静态数据认证"),
        (
            2,
            0x80,
            "card and terminal have different application versions",
            "卡片与终端应用版本不一致",
        ),
        (2, 0x40, "expired application", "应用已过期"),
        (2, 0x20, "application not yet effective", "应用尚未生效"),
        (2, 0x10, "requested service not allowed for card product", "卡片不允许所请求的服务"),
        (2, 0x08, "new card", "新卡"),
        (3, 0x80, "cardholder verification failed", "持卡人验证失败"),
        (3, 0x40, "unrecognised CVM", "未知的持卡人验证方法"),
        (3, 0x20, "PIN try limit exceeded", "PIN尝试次数超限"),
        (3, 0x10, "PIN required, PIN pad absent or broken", "要求输入PIN但密码键盘不存在或故障"),
        (3, 0x08, "PIN required, PIN pad present, PIN not entered", "要求输入PIN但未输入"),
        (3, 0x04, "online PIN entered", "输入了联机PIN"),
        (4, 0x80, "floor limit exceeded", "交易超过最低限额"),
        (4, 0x40, "lower consecutive offline limit exceeded", "超过连续脱机交易下限"),
        (4, 0x20, "upper consecutive offline limit exceeded", "超过连续脱机交易上限"),
        (4, 0x10, "selected randomly for online processing", "随机选择联机处理"),
        (4, 0x08, "merchant forced online", "商户要求联机"),
        (5, 0x80, "default TDOL used", "使用缺省TDOL"),
        (5, 0x40, "issuer authentication failed", "发卡行认证失败"),
        (5, 0x20, "script failed before final GENERATE AC", "最后一次GENERATE AC之前脚本失败"),
        (5, 0x10, "script failed after final GENERATE AC", "最后一次GENERATE AC之后脚本失败"),
    ),
    "9B": (
        (1, 0x80, "offline data authentication performed", "已进行脱机数据认证"),
        (1, 0x40, "cardholder verification performed", "已进行持卡人验证"),
        (1, 0x20, "card risk management performed", "已进行卡片风险管理"),
        (1, 0x10, "issuer authentication performed", "已进行发卡行认证"),
        (1, 0x08, "terminal risk management performed", "已进行终端风险管理"),
        (1, 0x04, "script processing performed", "已进行脚本处理"),
    ),
    "9F33": (
        (1, 0x80, "manual key entry", "手工键盘输入"),
        (1, 0x40, "magnetic stripe", "磁条"),
        (1, 0x20, "IC with contacts", "接触式IC卡"),
        (2, 0x80, "plaintext PIN for ICC verification", "IC卡明文PIN验证"),
        (2, 0x40, "enciphered PIN, online", "加密PIN联机验证"),
        (2, 0x20, "signature", "签名"),
        (2, 0x10, "enciphered PIN, offline", "加密PIN脱机验证"),
        (2, 0x08, "no CVM required", "无需CVM"),
        (3, 0x80, "SDA", "静态数据认证"),
        (3, 0x40, "DDA", "动态数据认证"),
        (3, 0x20, "card capture", "吞卡"),
        (3, 0x08, "CDA", "复合动态数据认证"),
    ),
}
# CVR of UnionPay (PBOC) and Visa, behind its length byte [unverified]
_CVR: Final[tuple[Bit, ...]] = (
    (1, 0x08, "issuer authentication failed", "发卡行认证失败"),
    (1, 0x04, "offline PIN verification performed", "已进行脱机PIN验证"),
    (1, 0x02, "offline PIN verification failed", "脱机PIN验证失败"),
    (1, 0x01, "unable to go online", "不能联机"),
    (2, 0x80, "last online transaction not completed", "上次联机交易未完成"),
    (2, 0x40, "PIN try limit exceeded", "PIN尝试次数超限"),
    (2, 0x20, "velocity counters exceeded", "超过频度检查计数器"),
    (2, 0x10, "new card", "新卡"),
    (2, 0x08, "issuer authentication failed on last online transaction", "上次联机交易发卡行认证失败"),
    (2, 0x04, "issuer authentication not performed after online authorisation", "联机授权后未进行发卡行认证"),
    (2, 0x02, "application blocked: PIN try limit", "因PIN尝试次数超限应用锁定"),
    (2, 0x01, "SDA failed on last transaction", "上次交易静态数据认证失败"),
    (3, 0x08, "script failed", "脚本处理失败"),
    (3, 0x04, "DDA failed on last transaction", "上次交易动态数据认证失败"),
    (3, 0x02, "DDA performed", "已进行动态数据认证"),
)  # fmt: skip
_CRYPTOGRAMS: Final = (
    ("AAC, declined", "AAC 拒绝"),
    ("TC, approved offline", "TC 脱机批准"),
    ("ARQC, online", "ARQC 请求联机"),
    ("reserved", "保留"),
)
_SECOND: Final = (*_CRYPTOGRAMS[:2], ("not requested", "未请求"), _CRYPTOGRAMS[3])
_ADVICE: Final = {
    1: ("service not allowed", "不允许的服务"),
    2: ("PIN try limit exceeded", "PIN尝试次数超限"),
    3: ("issuer authentication failed", "发卡行认证失败"),
}
_CVMS: Final[dict[int, Text]] = {
    0x00: ("fail CVM processing", "CVM处理失败"),
    0x01: ("plaintext PIN by card", "卡片明文PIN验证"),
    0x02: ("enciphered PIN online", "联机加密PIN验证"),
    0x03: ("plaintext PIN by card and signature", "卡片明文PIN验证加签名"),
    0x04: ("enciphered PIN by card", "卡片加密PIN验证"),
    0x05: ("enciphered PIN by card and signature", "卡片加密PIN验证加签名"),
    0x1E: ("signature", "签名"),
    0x1F: ("no CVM required", "无需CVM"),
    0x20: ("cardholder certificate", "持卡人证件"),  # UnionPay [unverified]
    0x3F: ("no CVM performed", "未进行CVM"),
}
_CONDITIONS: Final[dict[int, Text]] = {
    0: ("always", "总是"),
    1: ("if unattended cash", "无人值守取现时"),
    2: ("if not cash and not cashback", "非取现且非返现时"),
    3: ("if the terminal supports it", "终端支持时"),
    4: ("if manual cash", "人工取现时"),
    5: ("if purchase with cashback", "消费返现时"),
    6: ("if under X", "低于X金额时"),
    7: ("if over X", "高于X金额时"),
    8: ("if under Y", "低于Y金额时"),
    9: ("if over Y", "高于Y金额时"),
}
_RESULTS: Final = {0: ("unknown", "未知"), 1: ("failed", "失败"), 2: ("successful", "成功")}
_OPERATED: Final = {
    1: ("financial institution", "金融机构"),
    2: ("merchant", "商户"),
    3: ("cardholder", "持卡人"),
}
_WHERE: Final = (
    ("attended, online only", "有人值守,仅联机"),
    ("attended, offline with online capability", "有人值守,可脱机可联机"),
    ("attended, offline only", "有人值守,仅脱机"),
    ("unattended, online only", "无人值守,仅联机"),
    ("unattended, offline with online capability", "无人值守,可脱机可联机"),
    ("unattended, offline only", "无人值守,仅脱机"),
)
_NONE: Final = ("no bit set", "所有位均为0")


def meaning(tag: str, value: bytes) -> Text:
    """What the value says, (English, Chinese); empty texts where nothing is known of it.

    >>> meaning("9F27", b"\\x80")[0], meaning("82", bytes.fromhex("0800"))[0]
    ('ARQC, online', 'terminal risk management to be performed')
    """
    if tag in BITS:
        return _joined(_set_bits(BITS[tag], value)) if value else ("", "")
    tell = _TELLERS.get(tag)
    try:
        return ("", "") if tell is None else tell(value)
    except (LookupError, ValueError):  # too short, or a code that nobody gave a meaning
        return "", ""


def _set_bits(bits: tuple[Bit, ...], value: bytes) -> list[Text]:
    found = [(en, zh) for at, mask, en, zh in bits if at <= len(value) and value[at - 1] & mask]
    return found or [_NONE]


def _joined(texts: list[Text]) -> Text:
    return "; ".join(text[0] for text in texts), "; ".join(text[1] for text in texts)


def _cryptogram(value: bytes) -> Text:
    texts = [_CRYPTOGRAMS[value[0] >> 6]]
    if value[0] & 0x08:
        texts.append(("advice required", "要求通知"))
    if value[0] & 0x07 in _ADVICE:
        texts.append(_ADVICE[value[0] & 0x07])
    return _joined(texts)


def _cvm_results(value: bytes) -> Text:
    code, condition, result = value[0], value[1], value[2]
    return _joined([_CVMS[code & 0x3F], _CONDITIONS[condition], _RESULTS[result]])


def _terminal_type(value: bytes) -> Text:
    operated, where = divmod(int(value.hex()), 10)
    if where == 0:
        raise ValueError("terminal types end in 1 to 6")
    return _joined([_OPERATED[operated], _WHERE[where - 1]])


def _currency(value: bytes) -> Text:
    letters = amount.CURRENCIES[value.hex()[-3:]][0]
    return letters, letters


def _transaction_type(value: bytes) -> Text:
    return codes.PROCESSING_CODES[value.hex()]


def _response(value: bytes) -> Text:
    return codes.RESPONSE_CODES[value.decode("ascii")]


def _issuer_application_data(value: bytes) -> Text:
    if len(value) == 18 and value[0] not in (6, 7):  # M/Chip
        head = f"key index {value[0]}, cryptogram version {value[1]:02X}, CVR {value[2:8].hex().upper()}"
        return head, head.replace("key index", "密钥索引").replace("cryptogram version", "密文版本")
    if value[0] not in (6, 7) or len(value) < 1 + value[0] or value[3] != 3:
        return "", ""
    cvr = value[4:7]
    texts = [
        (f"key index {value[1]}", f"密钥索引 {value[1]}"),
        (f"cryptogram version {value[2]:02X}", f"密文版本 {value[2]:02X}"),
        _prefixed("first", "第一次", _CRYPTOGRAMS[cvr[0] >> 4 & 3]),
        _prefixed("second", "第二次", _SECOND[cvr[0] >> 6]),
        *(text for text in _set_bits(_CVR, cvr) if text is not _NONE),
    ]
    if cvr[2] >> 4:
        texts.append((f"{cvr[2] >> 4} script commands", f"{cvr[2] >> 4}条脚本命令"))
    if value[0] == 7:
        algorithm = {1: "DES", 4: "SM4"}.get(value[7], f"{value[7]:02X}")
        texts.append((f"algorithm {algorithm}", f"算法 {algorithm}"))
    return _joined(texts)


def _prefixed(english: str, chinese: str, text: Text) -> Text:
    return f"{english} {text[0]}", f"{chinese} {text[1]}"


_TELLERS: Final[dict[str, Callable[[bytes], Text]]] = {
    "9F27": _cryptogram,
    "9F34": _cvm_results,
    "9F35": _terminal_type,
    "5F2A": _currency,
    "9F42": _currency,
    "9C": _transaction_type,
    "8A": _response,
    "9F10": _issuer_application_data,
}
