"""Subfields of IPM records: 1993's, the merchant's name and place in DE 43, PDS in five elements.

Source: settlement reference [C11] and cardutil's parses (corpus). PDS names are [unverified].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from iso8583.subfields import iso1993
from iso8583.subfields.layout import Layout, Subfield, Tagged

if TYPE_CHECKING:
    from iso8583.codes import Text

PDS_NAMES: Final[dict[str, Text]] = {
    "0001": ("card program", "卡计划"),
    "0023": ("terminal type", "终端类型"),
    "0025": ("message reversal indicator", "冲正标识"),
    "0105": ("file id", "文件标识"),
    "0301": ("file amount, checksum", "文件金额校验"),
    "0306": ("file message count", "文件报文数"),
}
LAYOUTS: Final[tuple[Layout | Tagged, ...]] = (
    *iso1993.LAYOUTS,
    Layout(
        43,
        ("card acceptor name and location", "受卡方名称地址"),
        (
            Subfield("43.1", ("name", "名称"), "ans", 99, until="\\"),
            Subfield("43.2", ("address", "地址"), "ans", 99, until="\\"),
            Subfield("43.3", ("suburb", "城区"), "ans", 99, until="\\"),
            Subfield("43.4", ("postal code", "邮政编码"), "ans", 10),
            Subfield("43.5", ("state", "州"), "ans", 3),
            Subfield("43.6", ("country", "国家代码"), "ans", 3),
        ),
        least=6,
    ),
    *(Tagged(de, "PDS", 4, 3, PDS_NAMES) for de in (48, 62, 123, 124, 125)),
)
