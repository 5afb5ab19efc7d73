"""Operator texts of this folder: key -> (English, Chinese)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from iso8583.dialects.table import Dialect

TEXTS: Final[dict[str, tuple[str, str]]] = {
    "element": ("DE", "域"),
    "name": ("name", "名称"),
    "value": ("value", "值"),
    "meaning": ("meaning", "含义"),
    "dialect": ("dialect", "方言"),
    "framing": ("framing", "帧"),
    "length": ("length", "长度"),
    "error": ("error", "错误"),
    "at_byte": ("at byte", "位于字节"),
    "decoded": ("decoded", "已解码"),
    "title": ("title", "说明"),
    "mti": ("MTI", "消息类型"),
    "bitmap": ("bitmap", "位图"),
    "header": ("header", "报文头"),
    "elements": ("elements", "域数"),
    "versions": ("versions", "版本"),
    "base": ("variant of", "变体自"),
    "format": ("format", "格式"),
    "encoding": ("encoding", "编码"),
    "prefix": ("prefix", "长度前缀"),
    "padding": ("padding", "填充"),
}
# Titles of our own dialects in Chinese; in English they stand in the tables.
DIALECT_TITLES: Final[dict[str, str]] = {
    "unionpay_pos": "银联POS终端接口(依据实际观察的Q/CUP 009)",
    "iso1987_ascii": "ISO 8583:1987,ASCII,二进制位图(参考银行链路)",
    "iso1987_ascii_hex": "ISO 8583:1987,ASCII,位图为16或32个十六进制字符",
    "unionpay_pos.de22_right": "22域右对齐(0012)",
    "unionpay_pos.de35_filler_f": "35域以半字节F填充",
    "unionpay_pos.de35_enciphered": "35、36域为加密半字节(53域=2610…)",
    "unionpay_pos.de35_cipher_de60_long": "35域为密文且长度按字节计;60域可达19位",
    "unionpay_pos.de60_text": "60域为ASCII字符",
    "unionpay_pos.de55_long_de60_text": "55域可达999字节(TLV的十六进制文本),60域为ASCII字符",
    "unionpay_pos.de48_text": "48域为ASCII字符",
    "unionpay_pos.private_blocks": "含43域(定长40,GBK)、46、47域(终端数据块)和56域(GBK文本)",
    "iso1987_binary": "ISO 8583:1987,BCD与ASCII,二进制位图",
    "iso1987_ebcdic": "ISO 8583:1987,EBCDIC,二进制位图",
    "iso1993_ascii": "ISO 8583:1993,ASCII,二进制位图",
    "iso1993_binary": "ISO 8583:1993,BCD与ASCII,二进制位图",
    "iso1993_ebcdic": "ISO 8583:1993,EBCDIC,位图为EBCDIC十六进制字符",
    "iso2003_binary": "ISO 8583:2003,BCD与ASCII,二进制位图",
    "base24": "BASE24类:ISO 8583:1987,ASCII,十六进制位图,报文头为ISO加9个字符",
    "visa": "Visa类:BCD,EBCDIC文本,长度为1个二进制字节,22字节报文头",
    "ipm": "万事达IPM:ISO 8583:1993,ASCII,二进制位图",
    "ipm_ebcdic": "万事达IPM:ISO 8583:1993,EBCDIC,二进制位图",
    "iso1987_ascii.binary_hex": "ISO 8583:1987,全字符:二进制域为十六进制,金额不带符号(jPOS)",
    "iso1987_binary.filler_left": "ISO 8583:1987二进制,奇数位在前填充",
    "iso1987_ebcdic.hex": "ISO 8583:1987,EBCDIC,位图为EBCDIC十六进制字符",
    "iso1987_ebcdic.prefix_bcd": "ISO 8583:1987,EBCDIC,长度为BCD",
    "iso1993_ascii.hex": "ISO 8583:1993,ASCII,位图与定长二进制域为十六进制字符",
    "iso1993_binary.filler_right": "ISO 8583:1993二进制,奇数位在后填充",
    "ipm.hex": "万事达IPM,位图为十六进制字符",
    "ipm_ebcdic.hex": "万事达IPM,EBCDIC,位图为ASCII十六进制字符",
}


def dialect_title(dialect: Dialect, lang: str = "en") -> str:
    """What a dialect is; of one that a user wrote in the words of its file."""
    chinese = DIALECT_TITLES.get(dialect.name) if lang.startswith("zh") else None
    return chinese or dialect.title


def text(key: str, lang: str = "en") -> str:
    """The text of a key, in Chinese with `lang` "zh"."""
    return TEXTS[key][1 if lang.startswith("zh") else 0]
