"""Subfields of the Visa-like dialect: 1987's, but DE 22 of four digits and DE 59 (jPOS's parse of it)."""

from __future__ import annotations

from typing import Final

from iso8583 import codes
from iso8583.subfields import iso1987
from iso8583.subfields.common import PIN
from iso8583.subfields.layout import Layout, Subfield

LAYOUTS: Final = (
    Layout(
        22,
        ("point of service entry mode", "服务点输入方式码"),
        (
            Subfield("22.1", ("PAN entry mode", "主账号输入方式"), "n", 2, codes.ENTRY_MODES),
            Subfield("22.2", ("PIN entry capability", "密码输入能力"), "n", 1, PIN),
            Subfield("22.3", ("filler", "填充"), "n", 1),
        ),
        least=3,
    ),
    Layout(
        59,
        ("national POS geographic data", "国家POS地理数据"),
        (
            Subfield("59.1", ("state", "州"), "ans", 2),
            Subfield("59.2", ("county", "县"), "ans", 3),
            Subfield("59.3", ("postal code", "邮政编码"), "ans", 9, rest=True),
        ),
        least=1,
    ),
    *(layout for layout in iso1987.LAYOUTS if layout.de != 22),
)
