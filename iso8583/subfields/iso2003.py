"""Subfields of ISO 8583:2003: amounts with their currency and exponent (`reference/iso8583-base.md`).

DE 54: six groups of 21 make its 126 [unverified: the exponent's place].
"""

from __future__ import annotations

from typing import Final

from iso8583.subfields.common import ACCOUNTS, AMOUNT_TYPES, PROCESSING_CODE, SIGNS
from iso8583.subfields.layout import Layout, Subfield


def _amount(de: int, titles: tuple[str, str], size: int) -> Layout:
    return Layout(
        de,
        titles,
        (
            Subfield(f"{de}.1", ("currency", "货币代码"), "n", 3, role="currency"),
            Subfield(f"{de}.2", ("exponent", "小数位数"), "n", 1),
            Subfield(f"{de}.3", ("amount", "金额"), "n", size),
        ),
        least=3,
    )


LAYOUTS: Final = (
    PROCESSING_CODE,
    _amount(4, ("amount, transaction", "交易金额"), 12),
    _amount(5, ("amount, reconciliation", "对账金额"), 12),
    _amount(6, ("amount, cardholder billing", "持卡人扣账金额"), 12),
    _amount(8, ("amount, cardholder billing fee", "持卡人扣账手续费"), 8),
    Layout(
        54,
        ("additional amounts", "附加金额"),
        (
            Subfield("54.1", ("account type", "账户类型"), "an", 2, ACCOUNTS),
            Subfield("54.2", ("amount type", "金额类型"), "an", 2, AMOUNT_TYPES),
            Subfield("54.3", ("currency", "货币代码"), "an", 3, role="currency"),
            Subfield("54.4", ("exponent", "小数位数"), "n", 1),
            Subfield("54.5", ("sign", "符号"), "an", 1, SIGNS),
            Subfield("54.6", ("amount", "金额"), "n", 12),
        ),
        group_at=0,
        groups_max=6,
    ),
)
