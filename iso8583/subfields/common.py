"""Subfields that more than one family has. Codes of accounts and amounts are [unverified]."""

from __future__ import annotations

from typing import Final

from iso8583 import codes
from iso8583.subfields.layout import Layout, Subfield

ACCOUNTS: Final[dict[str, codes.Text]] = {
    "00": ("default", "默认"),
    "10": ("savings", "储蓄"),
    "20": ("cheque", "支票"),
    "30": ("credit", "信用"),
    "40": ("universal", "通用"),
    "50": ("investment", "投资"),
}
AMOUNT_TYPES: Final[dict[str, codes.Text]] = {
    "01": ("ledger balance", "账面余额"),
    "02": ("available balance", "可用余额"),
    "03": ("owing", "欠款额"),
    "04": ("due", "到期应还"),
    "40": ("cash back", "返现"),
}
SIGNS: Final[dict[str, codes.Text]] = {"C": ("credit", "贷"), "D": ("debit", "借")}
PIN: Final[dict[str, codes.Text]] = {
    "0": ("unspecified", "未指明"),
    "1": ("with PIN", "有密码"),
    "2": ("no PIN", "无密码"),
}


def _processing_code(types: dict[str, codes.Text]) -> Layout:
    return Layout(
        3,
        ("processing code", "交易处理码"),
        (
            Subfield("3.1", ("transaction type", "交易类型"), "an", 2, types),
            Subfield("3.2", ("account, from", "转出账户类型"), "an", 2, ACCOUNTS),
            Subfield("3.3", ("account, to", "转入账户类型"), "an", 2, ACCOUNTS),
        ),
        least=3,
    )


PROCESSING_CODE: Final = _processing_code(codes.HOST_PROCESSING_CODES)
TERMINAL_PROCESSING_CODE: Final = _processing_code(codes.PROCESSING_CODES)
ENTRY_MODE: Final = Layout(
    22,
    ("point of service entry mode", "服务点输入方式码"),
    (
        Subfield("22.1", ("PAN entry mode", "主账号输入方式"), "n", 2, codes.ENTRY_MODES),
        Subfield("22.2", ("PIN entry capability", "密码输入能力"), "n", 1, PIN),
    ),
    least=2,
)


def additional_amounts(groups: int) -> Layout:
    """DE 54: groups of 20 characters."""
    return Layout(
        54,
        ("additional amounts", "附加金额"),
        (
            Subfield("54.1", ("account type", "账户类型"), "an", 2, ACCOUNTS),
            Subfield("54.2", ("amount type", "金额类型"), "an", 2, AMOUNT_TYPES),
            Subfield("54.3", ("currency", "货币代码"), "an", 3, role="currency"),
            Subfield("54.4", ("sign", "符号"), "an", 1, SIGNS),
            Subfield("54.5", ("amount", "金额"), "n", 12, role="amount"),
        ),
        group_at=0,
        groups_max=groups,
    )
