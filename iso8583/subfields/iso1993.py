"""Subfields of ISO 8583:1993: the twelve positions of DE 22, amounts, original data.

The codes of DE 22 and the cut of DE 46 (six groups of 34 make its 204) are [unverified].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from iso8583.subfields.common import PROCESSING_CODE, SIGNS, additional_amounts
from iso8583.subfields.layout import Layout, Subfield

if TYPE_CHECKING:
    from iso8583.codes import Text

_INPUT_CAPABILITY: Final[dict[str, Text]] = {
    "0": ("unknown", "未知"),
    "1": ("manual, no terminal", "手工,无终端"),
    "2": ("magnetic stripe", "磁条"),
    "3": ("bar code", "条码"),
    "4": ("OCR", "光学识别"),
    "5": ("chip", "IC卡"),
    "6": ("key entry", "键盘输入"),
}
_AUTHENTICATION: Final[dict[str, Text]] = {
    "0": ("none", "无"),
    "1": ("PIN", "密码"),
    "2": ("electronic signature", "电子签名"),
    "3": ("biometrics", "生物特征"),
    "4": ("biographic", "个人资料"),
    "5": ("manual signature", "手工签名"),
    "6": ("other", "其他"),
}
_ENVIRONMENT: Final[dict[str, Text]] = {
    "0": ("no terminal", "无终端"),
    "1": ("on premises, attended", "商户内,有人值守"),
    "2": ("on premises, unattended", "商户内,无人值守"),
    "3": ("off premises, attended", "商户外,有人值守"),
    "4": ("off premises, unattended", "商户外,无人值守"),
    "5": ("at the cardholder's, unattended", "持卡人处,无人值守"),
}
_CARDHOLDER: Final[dict[str, Text]] = {
    "0": ("present", "在场"),
    "1": ("not present, unspecified", "不在场,未指明"),
    "2": ("mail order", "邮购"),
    "3": ("telephone order", "电话订购"),
    "4": ("standing authorisation", "长期授权"),
}
_INPUT_MODE: Final[dict[str, Text]] = {
    "0": ("unspecified", "未指明"),
    "1": ("manual, no terminal", "手工,无终端"),
    "2": ("magnetic stripe", "磁条"),
    "3": ("bar code", "条码"),
    "4": ("OCR", "光学识别"),
    "5": ("chip", "IC卡"),
    "6": ("keyed", "键盘输入"),
}
_AUTHENTICATED_BY: Final[dict[str, Text]] = {
    "0": ("not authenticated", "未验证"),
    "1": ("chip", "IC卡"),
    "2": ("terminal", "终端"),
    "3": ("authorising agent", "授权方"),
    "4": ("merchant", "商户"),
    "5": ("other", "其他"),
}
_OUTPUT: Final[dict[str, Text]] = {
    "0": ("unknown", "未知"),
    "1": ("none", "无"),
    "2": ("magnetic stripe write", "写磁条"),
    "3": ("chip", "IC卡"),
}
_TERMINAL_OUTPUT: Final[dict[str, Text]] = {
    "0": ("unknown", "未知"),
    "1": ("none", "无"),
    "2": ("printing", "打印"),
    "3": ("display", "显示"),
    "4": ("printing and display", "打印和显示"),
}
_PIN_CAPTURE: Final[dict[str, Text]] = {
    "0": ("no PIN capture", "不支持密码"),
    "1": ("unknown", "未知"),
    **{
        code: (f"{number} characters", f"{number}位")
        for code, number in zip("456789ABC", range(4, 13), strict=True)
    },
}

POS_DATA_CODE: Final = Layout(
    22,
    ("point of service data code", "服务点数据码"),
    (
        Subfield("22.1", ("card data input capability", "卡数据输入能力"), "an", 1, _INPUT_CAPABILITY),
        Subfield("22.2", ("cardholder authentication capability", "持卡人验证能力"), "an", 1, _AUTHENTICATION),
        Subfield("22.3", ("card capture capability", "吞卡能力"), "an", 1, {"0": ("none", "无"), "1": ("capture", "有")}),
        Subfield("22.4", ("operating environment", "操作环境"), "an", 1, _ENVIRONMENT),
        Subfield("22.5", ("cardholder present", "持卡人是否在场"), "an", 1, _CARDHOLDER),
        Subfield("22.6", ("card present", "卡是否在场"), "an", 1, {"0": ("not present", "不在场"), "1": ("present", "在场")}),
        Subfield("22.7", ("card data input mode", "卡数据输入方式"), "an", 1, _INPUT_MODE),
        Subfield("22.8", ("cardholder authentication method", "持卡人验证方式"), "an", 1, _AUTHENTICATION),
        Subfield("22.9", ("cardholder authentication entity", "持卡人验证实体"), "an", 1, _AUTHENTICATED_BY),
        Subfield("22.10", ("card data output capability", "卡数据输出能力"), "an", 1, _OUTPUT),
        Subfield("22.11", ("terminal output capability", "终端输出能力"), "an", 1, _TERMINAL_OUTPUT),
        Subfield("22.12", ("PIN capture capability", "密码输入能力"), "an", 1, _PIN_CAPTURE),
    ),
    least=12,
)  # fmt: skip
ORIGINAL_AMOUNTS: Final = Layout(
    30,
    ("amounts, original", "原始金额"),
    (
        Subfield("30.1", ("original amount, transaction", "原始交易金额"), "n", 12),
        Subfield("30.2", ("original amount, reconciliation", "原始对账金额"), "n", 12),
    ),
    least=2,
)
FEES: Final = Layout(
    46,
    ("amounts, fees", "费用金额"),
    (
        Subfield("46.1", ("fee type", "费用类型"), "n", 2),
        Subfield("46.2", ("currency", "货币代码"), "an", 3, role="currency"),
        Subfield("46.3", ("sign", "符号"), "an", 1, SIGNS),
        Subfield("46.4", ("fee", "费用"), "n", 8, role="amount"),
        Subfield("46.5", ("conversion rate", "汇率"), "n", 8),
        Subfield("46.6", ("sign, reconciliation", "对账符号"), "an", 1, SIGNS),
        Subfield("46.7", ("fee, reconciliation", "对账费用"), "n", 8),
        Subfield("46.8", ("currency, reconciliation", "对账货币代码"), "an", 3),
    ),
    group_at=0,
    groups_max=6,
)
ORIGINAL_DATA: Final = Layout(
    56,
    ("original data elements", "原始数据元"),
    (
        Subfield("56.1", ("original message type", "原始报文类型"), "n", 4),
        Subfield("56.2", ("original STAN", "原始系统跟踪号"), "n", 6),
        Subfield("56.3", ("original local date and time", "原始本地日期时间"), "n", 12),
        Subfield("56.4", ("length of the acquirer", "受理机构长度"), "n", 2),
        Subfield("56.5", ("original acquirer", "原始受理机构"), "n", 11, rest=True),
    ),
    least=4,
)
LAYOUTS: Final = (
    PROCESSING_CODE,
    POS_DATA_CODE,
    ORIGINAL_AMOUNTS,
    FEES,
    additional_amounts(6),
    ORIGINAL_DATA,
)
