"""Subfields of ISO 8583:1987. Source: `reference/iso8583-base.md` (DE 90), `reference/link.md`; the cut
of DE 95 adds up to its 42 characters [unverified]."""

from __future__ import annotations

from typing import Final

from iso8583.subfields.common import ENTRY_MODE, PROCESSING_CODE, additional_amounts
from iso8583.subfields.layout import Layout, Subfield

ORIGINAL_DATA: Final = Layout(
    90,
    ("original data elements", "原始数据元"),
    (
        Subfield("90.1", ("original message type", "原始报文类型"), "n", 4),
        Subfield("90.2", ("original STAN", "原始系统跟踪号"), "n", 6),
        Subfield("90.3", ("original transmission time", "原始传输日期时间"), "n", 10),
        Subfield("90.4", ("original acquirer", "原始受理机构"), "n", 11),
        Subfield("90.5", ("original forwarder", "原始发送机构"), "n", 11),
    ),
    least=5,
)
REPLACEMENT_AMOUNTS: Final = Layout(
    95,
    ("replacement amounts", "替换金额"),
    (
        Subfield("95.1", ("actual amount, transaction", "实际交易金额"), "n", 12),
        Subfield("95.2", ("actual amount, settlement", "实际清算金额"), "n", 12),
        Subfield("95.3", ("actual amount, transaction fee", "实际交易费"), "an", 9),
        Subfield("95.4", ("actual amount, settlement fee", "实际清算费"), "an", 9),
    ),
    least=4,
)
SECURITY_CONTROL: Final = Layout(
    53,
    ("security control information", "安全控制信息"),
    (
        Subfield("53.1", ("PIN format", "密码格式"), "n", 1),
        Subfield("53.2", ("algorithm", "加密算法"), "n", 1),
        Subfield("53.3", ("track data", "磁道数据"), "n", 1),
        Subfield("53.4", ("reserved", "保留"), "n", 13),
    ),
    least=4,
)
LAYOUTS: Final = (
    PROCESSING_CODE,
    ENTRY_MODE,
    SECURITY_CONTROL,
    additional_amounts(6),
    ORIGINAL_DATA,
    REPLACEMENT_AMOUNTS,
)
