# ruff: noqa: RUF001 - Chinese punctuation
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
    "offset": ("at", "位置"),
    "bytes": ("bytes", "字节"),
    "header": ("header", "报文头"),
    "hidden_bytes": ("[{count} bytes]", "[{count}字节]"),
    "hidden_characters": ("[{count} characters]", "[{count}字符]"),
    "doubtful": (
        "elements may be misplaced: what may hold digits of a card is masked; --unmask shows it",
        "各域可能错位：可能含有卡号的内容已屏蔽；--unmask可显示",
    ),
    "likely": ("likely", "可能原因"),
    "or": ("or", "或"),
    "candidates": ("candidates", "候选"),
    "score": ("score", "得分"),
    "elements": ("elements", "域数"),
    # What was probably done wrong (`iso8583.inspector.mistakes`).
    "mistake_tpdu_not_stripped": (
        "TPDU not stripped: the input begins with 60, the MTI stands behind {width} bytes",
        "未去除TPDU：数据以60开头，消息类型位于第{width}字节之后",
    ),
    "mistake_header_not_stripped": (
        "a header of {width} bytes not stripped: a whole message begins behind it",
        "未去除{width}字节的报文头：其后是一条完整报文",
    ),
    "mistake_length_inclusive": (
        "the length counts itself: it says {size}, as many bytes as there are with it",
        "长度包含自身：其值{size}等于连同长度在内的字节数",
    ),
    "mistake_length_bcd": (
        "the length is BCD: {digits} means {size} bytes; as a binary number it would be {binary}",
        "长度为BCD码：{digits}表示{size}字节；按二进制则为{binary}",
    ),
    "mistake_length_characters": (
        "the length counts hex characters, not bytes: it says {stated}, {rest} bytes follow",
        "长度计的是十六进制字符数而非字节数：其值{stated}，其后{rest}字节",
    ),
    "mistake_length_little_endian": (
        "the length is little endian: it says {stated} big endian, {rest} bytes follow",
        "长度为小端序：按大端序为{stated}，其后{rest}字节",
    ),
    "mistake_length_of_body": (
        "the length leaves out TPDU or header: it says {stated}, {rest} bytes follow",
        "长度未计入TPDU或报文头：其值{stated}，其后{rest}字节",
    ),
    "mistake_length_wrong": (
        "the length is wrong: it says {stated}, {rest} bytes follow and are one whole message",
        "长度错误：其值{stated}，其后{rest}字节却是一条完整报文",
    ),
    "mistake_hex_as_text": (
        "hex sent as text: {count} bytes are all hex digits; packed two a byte they are a message",
        "十六进制以文本发送：{count}字节全为十六进制字符，压缩后是一条报文",
    ),
    "mistake_utf8_mangled": (
        "bytes over 7F were written as UTF-8, {count} too many: the binary data went through text",
        "大于7F的字节被写成UTF-8（多{count}字节）：二进制数据被当作文本处理",
    ),
    "mistake_bytes_replaced": (
        "{count} bytes were replaced by U+FFFD (EF BF BD) when the data went through text: "
        "they are lost, capture again",
        "{count}个字节经文本处理后被替换为U+FFFD（EF BF BD），已丢失，请重新抓取",
    ),
    "mistake_newlines_changed": (
        "0A became 0D 0A {count} times: a transfer in text mode",
        "0A被改为0D 0A共{count}处：以文本方式传输",
    ),
    "mistake_ebcdic": (
        "EBCDIC where ASCII is meant: the MTI's digits are F0 to F9",
        "应为ASCII处为EBCDIC：消息类型的数字为F0至F9",
    ),
    "mistake_mti_ascii": (
        "the MTI is four characters where two BCD bytes are meant",
        "消息类型应为两字节BCD，实为四个字符",
    ),
    "mistake_mti_bcd": (
        "the MTI is two BCD bytes where four characters are meant",
        "消息类型应为四个字符，实为两字节BCD",
    ),
    "mistake_bitmap_hex": (
        "the bitmap is hex characters where bytes are meant",
        "位图应为二进制，实为十六进制字符",
    ),
    "mistake_bitmap_binary": (
        "the bitmap is bytes where hex characters are meant",
        "位图应为十六进制字符，实为二进制",
    ),
    "mistake_bitmap_announces": (
        "the bitmap announces DE {de}, but the data reads as if it were absent",
        "位图声明了域{de}，但数据中似乎没有该域",
    ),
    "mistake_bitmap_leaves_out": (
        "the bitmap does not announce DE {de}, but the data reads as if it were present",
        "位图未声明域{de}，但数据中似乎有该域",
    ),
    "mistake_bitmap_means": (
        "the bitmap announces DE {de}, but what stands there looks like DE {other}",
        "位图声明了域{de}，但该处数据更像域{other}",
    ),
    "mistake_filler_side": (
        "DE {de}: an odd count of digits has its filler on the other side",
        "域{de}：奇数位数字的填充位在另一侧",
    ),
    "mistake_ascii_for_bcd": (
        "DE {de}: characters, one digit a byte, where BCD is meant",
        "域{de}：应为BCD，实为字符（每字节一位数字）",
    ),
    "mistake_bcd_for_ascii": (
        "DE {de}: BCD, two digits a byte, where characters are meant",
        "域{de}：应为字符，实为BCD（每字节两位数字）",
    ),
    "mistake_ebcdic_for_ascii": (
        "DE {de}: EBCDIC where ASCII is meant",
        "域{de}：应为ASCII，实为EBCDIC",
    ),
    "mistake_hex_for_binary": (
        "DE {de}: hex characters where bytes are meant",
        "域{de}：应为二进制，实为十六进制字符",
    ),
    "mistake_binary_for_hex": (
        "DE {de}: bytes where hex characters are meant",
        "域{de}：应为十六进制字符，实为二进制",
    ),
    "mistake_prefix_counts_bytes": (
        "DE {de}: its length counts bytes where digits are meant",
        "域{de}：长度应计数字位数，实计字节数",
    ),
    "mistake_prefix_counts_digits": (
        "DE {de}: its length counts digits, two a byte, where bytes are meant",
        "域{de}：长度应计字节数，实计数字位数",
    ),
    "mistake_prefix_bcd": (
        "DE {de}: its length is BCD where the dialect writes it otherwise",
        "域{de}：长度为BCD码，与方言不符",
    ),
    "mistake_prefix_ascii": (
        "DE {de}: its length is ASCII digits where the dialect writes it otherwise",
        "域{de}：长度为ASCII数字，与方言不符",
    ),
    "mistake_prefix_bin": (
        "DE {de}: its length is a binary number where the dialect writes it otherwise",
        "域{de}：长度为二进制数，与方言不符",
    ),
    "mistake_prefix_width": (
        "DE {de}: its length has another number of digits (LL where LLL is meant, or LLL for LL)",
        "域{de}：长度位数不符（LL与LLL混用）",
    ),
    "mistake_prefix_wrong": (
        "DE {de}: its length is wrong; with {units} the rest decodes",
        "域{de}：长度错误；若为{units}，其余部分可解码",
    ),
    "mistake_mac_missing": (
        "MAC missing: bit {de} is set and the message ends where DE {de} should begin",
        "缺少MAC：位图第{de}位为1，但报文在域{de}处结束",
    ),
    "mistake_cut": (
        "cut: the message ends within DE {de}, after {size} bytes; all before it is in order",
        "报文被截断：{size}字节后在域{de}内结束，此前均正常",
    ),
    "mistake_cut_by_length": (
        "cut: the length says {stated} bytes, {rest} follow, and they end within DE {de}",
        "报文被截断：长度为{stated}字节，其后只有{rest}字节，在域{de}内结束",
    ),
    "mistake_no_message": (
        "probably no ISO 8583 message: no dialect finds MTI and elements wherever a frame may end. "
        "Is it the whole message, as it was sent, and not enciphered?",
        "可能不是ISO 8583报文：在任何可能的帧头之后，各方言均找不到消息类型和域。"
        "请确认是发送时的完整报文且未加密",
    ),
    "mistake_glued": (
        "two messages glued together: the last {count} bytes are a message of their own",
        "两条报文粘连：最后{count}字节是另一条报文",
    ),
    "mistake_trailing_filler": (
        "{count} filling bytes behind the message",
        "报文之后有{count}个填充字节",
    ),
    "mistake_trailing": (
        "{count} bytes behind the message that belong to none of its elements",
        "报文之后有{count}个不属于任何域的字节",
    ),
    "line": ("line {line}", "第{line}行"),
    "title": ("title", "说明"),
    "mti": ("MTI", "消息类型"),
    "bitmap": ("bitmap", "位图"),
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
    "iso1987_binary.key_16": "ISO 8583:1987二进制,DE 96为16字节双倍长密钥",
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
