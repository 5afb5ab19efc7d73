"""Subfields of UnionPay-style terminals. Source: `reference/pos-messages.md` §4, §5.1 to §5.3.

DE 48 and 62 have several uses; the message's MTI and DE 60.3 tell which. Card and key material is
marked secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from iso8583 import codes
from iso8583.subfields.common import ENTRY_MODE, TERMINAL_PROCESSING_CODE, additional_amounts
from iso8583.subfields.layout import Layout, Subfield

if TYPE_CHECKING:
    from iso8583.codes import Text

_CNY: Final = "156"
_RESULTS: Final[dict[str, Text]] = {
    "0": ("request", "请求"),
    "1": ("balanced", "对账平"),
    "2": ("not balanced", "对账不平"),
    "3": ("error", "对账错"),
}
_CARD_FLAGS: Final[dict[str, Text]] = {
    "00": ("UnionPay card", "内卡"),
    "01": ("foreign card", "外卡"),
}
_PIN_FORMATS: Final[dict[str, Text]] = {
    "0": ("no PIN", "无密码"),
    "1": ("PIN block without PAN", "密码不带主账号"),
    "2": ("PIN block with PAN", "密码带主账号"),
}
_ALGORITHMS: Final[dict[str, Text]] = {
    "0": ("single DES", "单倍长DES"),
    "3": ("SM4", "国密SM4"),
    "6": ("double-length", "双倍长"),
}
_TRACKS: Final[dict[str, Text]] = {
    "0": ("track in clear", "磁道不加密"),
    "1": ("track enciphered", "磁道加密"),
}
_TYPES: Final[dict[str, Text]] = {
    "00": ("management", "管理类"),
    "01": ("balance inquiry or check", "查询"),
    "03": ("points inquiry", "积分查询"),
    "10": ("pre-authorisation", "预授权"),
    "11": ("pre-authorisation void", "预授权撤销"),
    "20": ("completion", "预授权完成(请求)"),
    "21": ("completion void", "预授权完成撤销"),
    "22": ("purchase", "消费"),
    "23": ("purchase void", "消费撤销"),
    "24": ("completion advice", "预授权完成(通知)"),
    "25": ("refund", "退货"),
    "27": ("e-cash refund", "电子现金脱机退货"),
    "30": ("offline sale", "离线结算"),
    "32": ("adjustment", "结算调整"),
    "34": ("tip", "追加小费"),
    "36": ("chip offline sale", "电子现金脱机消费"),
    "45": ("load, named account", "指定账户圈存"),
    "46": ("load, cash", "现金充值"),
    "47": ("load, other account", "非指定账户圈存"),
    "51": ("cash load void", "现金充值撤销"),
    "53": ("reservation void", "预约消费撤销"),
    "54": ("reservation", "预约消费"),
}
_CAPABILITIES: Final[dict[str, Text]] = {
    "2": ("stripe only", "仅磁条"),
    "5": ("chip and stripe", "接触式IC与磁条"),
    "6": ("contactless", "非接触式"),
}
_CHIP_CONDITIONS: Final[dict[str, Text]] = {
    "0": ("normal", "正常"),
    "1": ("fallback, last chip read succeeded", "降级,上次IC读取成功"),
    "2": ("fallback, last chip read failed", "降级,上次IC读取失败"),
}
_PARTIAL: Final[dict[str, Text]] = {"0": ("not supported", "不支持"), "1": ("supported", "支持")}
_POINTS: Final[dict[str, Text]] = {
    "048": ("issuer's points", "发卡行积分"),
    "065": ("alliance's points", "联盟积分"),
}
_CONTROLS: Final[dict[str, Text]] = {
    "0": ("none", "无"),
    "1": ("all in this message", "一次下载完"),
    "2": ("more follow", "还有后续"),
    "3": ("last part", "最后一个"),
}


def _key(number: str, names: Text, size: int) -> Subfield:
    return Subfield(number, names, "b", size, secret=True)


def _check_value(number: str, of: str) -> Subfield:
    return Subfield(number, (f"{of} check value", f"{of}校验值"), "b", 4)


LAYOUTS: Final = (
    TERMINAL_PROCESSING_CODE,
    ENTRY_MODE,
    Layout(
        44,
        ("additional response data", "附加响应数据"),
        (
            Subfield("44.1", ("issuer", "发卡机构"), "ans", 11),
            Subfield("44.2", ("acquirer", "收单机构"), "ans", 11),
            Subfield("44.3", ("filler", "填充"), "ans", 3, rest=True),
        ),
        least=2,
    ),
    Layout(
        48,
        ("settlement totals", "结算总额"),
        (
            Subfield("48.1", ("debit amount", "借记总金额"), "n", 12, role="amount", currency=_CNY),
            Subfield("48.2", ("debit count", "借记总笔数"), "n", 3),
            Subfield("48.3", ("credit amount", "贷记总金额"), "n", 12, role="amount", currency=_CNY),
            Subfield("48.4", ("credit count", "贷记总笔数"), "n", 3),
            Subfield("48.5", ("result", "对账应答代码"), "n", 1, _RESULTS),
            Subfield("48.6", ("debit amount, foreign cards", "外卡借记总金额"), "n", 12, role="amount", currency=_CNY),
            Subfield("48.7", ("debit count, foreign cards", "外卡借记总笔数"), "n", 3),
            Subfield("48.8", ("credit amount, foreign cards", "外卡贷记总金额"), "n", 12, role="amount", currency=_CNY),
            Subfield("48.9", ("credit count, foreign cards", "外卡贷记总笔数"), "n", 3),
            Subfield("48.10", ("result, foreign cards", "外卡对账应答代码"), "n", 1, _RESULTS),
        ),
        least=10,
        mtis=("50", "51"),
    ),
    Layout(
        48,
        ("end of batch upload", "批上送结束"),
        (Subfield("48.1", ("messages sent", "上送总笔数"), "n", 4),),
        mtis=("32", "33"),
        managements=("202", "207"),
    ),
    Layout(
        48,
        ("details of a batch upload", "批上送明细"),
        (
            Subfield("48.1", ("items", "明细笔数"), "n", 2),
            Subfield("48.2", ("card flag", "卡类型标志"), "n", 2, _CARD_FLAGS),
            Subfield("48.3", ("trace", "流水号"), "n", 6),
            Subfield("48.4", ("PAN, zero filled", "卡号"), "n", 20, secret=True),
            Subfield("48.5", ("amount", "金额"), "n", 12, role="amount", currency=_CNY),
        ),
        group_at=1,
        groups_max=8,
        mtis=("32", "33"),
    ),
    Layout(
        48,
        ("tip", "小费"),
        (Subfield("48.1", ("tip", "小费金额"), "n", 12, role="amount", currency=_CNY),),
        mtis=("22",),
    ),
    Layout(
        53,
        ("security control information", "安全控制信息"),
        (
            Subfield("53.1", ("PIN format", "密码格式"), "n", 1, _PIN_FORMATS),
            Subfield("53.2", ("algorithm", "加密算法"), "n", 1, _ALGORITHMS),
            Subfield("53.3", ("track data", "磁道加密"), "n", 1, _TRACKS),
            Subfield("53.4", ("reserved", "保留"), "n", 13),
        ),
        least=4,
    ),
    additional_amounts(2),
    Layout(
        60,
        ("type, batch, capability", "自定义域60"),
        (
            Subfield("60.1", ("transaction type", "交易类型码"), "n", 2, _TYPES),
            Subfield("60.2", ("batch number", "批次号"), "n", 6),
            Subfield("60.3", ("network management code", "网络管理信息码"), "n", 3, codes.TERMINAL_MANAGEMENT),
            Subfield("60.4", ("terminal capability", "终端读取能力"), "n", 1, _CAPABILITIES),
            Subfield("60.5", ("chip condition", "IC卡条件代码"), "n", 1, _CHIP_CONDITIONS),
            Subfield("60.6", ("partial approval and balance", "支持部分扣款和返回余额"), "n", 1, _PARTIAL),
            Subfield("60.7", ("account type", "账户类型"), "n", 3, _POINTS),
        ),
        least=2,
    ),
    Layout(
        61,
        ("original transaction", "原始信息域"),
        (
            Subfield("61.1", ("original batch", "原始批次号"), "n", 6),
            Subfield("61.2", ("original trace", "原始POS流水号"), "n", 6),
            Subfield("61.3", ("original date", "原始交易日期"), "n", 4),
            Subfield("61.4", ("authorisation mode", "原交易授权方式"), "n", 2),
            Subfield("61.5", ("authorising institution", "原交易授权机构代码"), "n", 11, rest=True),
        ),
        least=2,
    ),
    Layout(
        62,
        ("terminal serial number", "终端序列号"),
        (
            Subfield("62.1", ("tag", "标识"), "ans", 11, is_always="Sequence No"),
            Subfield("62.2", ("length", "长度"), "n", 2),
            Subfield("62.3", ("licence and serial number", "入网许可证和序列号"), "ans", 84, rest=True),
        ),
        least=3,
        mtis=("80",),
    ),
    *(
        Layout(62, titles, subfields, least=len(subfields), mtis=("81",))
        for titles, subfields in (
            (
                ("working keys, single length", "工作密钥(单倍长)"),
                (
                    _key("62.1", ("PIK", "PIN密钥"), 8),
                    _check_value("62.2", "PIK"),
                    _key("62.3", ("MAK", "MAC密钥"), 8),
                    _check_value("62.4", "MAK"),
                ),
            ),
            (
                ("working keys, double length", "工作密钥(双倍长)"),
                (
                    _key("62.1", ("PIK", "PIN密钥"), 16),
                    _check_value("62.2", "PIK"),
                    _key("62.3", ("MAK slot", "MAC密钥"), 16),
                    _check_value("62.4", "MAK"),
                ),
            ),
            (
                ("working keys with track key", "工作密钥(含磁道密钥)"),
                (
                    _key("62.1", ("PIK", "PIN密钥"), 16),
                    _check_value("62.2", "PIK"),
                    _key("62.3", ("MAK slot", "MAC密钥"), 16),
                    _check_value("62.4", "MAK"),
                    _key("62.5", ("TDK", "磁道密钥"), 16),
                    _check_value("62.6", "TDK"),
                ),
            ),
        )
    ),
    Layout(
        62,
        ("list or parameters", "公钥或参数列表"),
        (
            Subfield("62.1", ("control", "控制"), "n", 1, _CONTROLS),
            Subfield("62.2", ("TLV", "TLV数据"), "b", 998, rest=True),
        ),
        mtis=("81", "83"),
        managements=("370", "372", "380", "382"),
    ),
    *(
        Layout(
            62,
            titles,
            (
                Subfield("62.1", ("usage", "用法"), "n", 2, is_always=usage),
                Subfield("62.2", ("card flag", "卡类型标志"), "n", 2, _CARD_FLAGS),
                Subfield("62.3", ("detail", "明细标志"), "n", 2),
                Subfield("62.4", ("amount", "金额"), "n", 12, role="amount", currency=_CNY),
                Subfield("62.5", ("currency", "货币代码"), "n", 3, role="currency"),
                Subfield("62.6", ("ARPC result", "ARPC认证结果"), "n", 2, rest=True),
            ),
            least=5,
            mtis=("32",),
        )
        for usage, titles in (
            ("61", ("chip transaction uploaded", "IC卡联机成功交易上送")),
            ("71", ("failed chip transaction uploaded", "IC卡认证失败交易上送")),
        )
    ),
    Layout(
        63,
        ("operator or card organisation, texts", "自定义域63"),
        (
            Subfield("63.1", ("operator or card organisation", "操作员或国际信用卡公司代码"), "ans", 3, rest=True),
            Subfield("63.2.1", ("issuer's text", "发卡方信息"), "ans", 20, rest=True),
            Subfield("63.2.2", ("centre's text", "中国银联信息"), "ans", 20, rest=True),
            Subfield("63.2.3", ("acquirer's text", "受理机构信息"), "ans", 20, rest=True),
            Subfield("63.2.4", ("terminal's text", "POS终端信息"), "ans", 60, rest=True),
        ),
        least=1,
    ),
)  # fmt: skip
