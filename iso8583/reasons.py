# ruff: noqa: RUF001, RUF002 - Chinese punctuation
"""What is wrong, in Chinese: errors carry English reasons, which logs keep and people may want in theirs.

A row is a reason with `{}` where it has numbers or names, and what it is in Chinese, `{0}` being the
first of them. A test holds every reason that this folder gives against the table.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

REASONS: Final[dict[str, str]] = {
    # bytes that are no message
    "needs {} bytes, {} left": "需要{0}字节，只剩{1}字节",
    "{} bytes after the last element": "最后一个域之后还有{0}字节",
    "not in the dialect": "方言中没有该域",
    "not four digits": "不是四位数字",
    "a version that the dialect does not have": "方言中没有该版本",
    "a class that the dialect does not have": "方言中没有该报文类别",
    "message class 0 is reserved": "报文类别0为保留值",
    "announces a second bitmap that the dialect does not have": "声明了方言中没有的第二位图",
    "length prefix is not digits": "长度前缀不是数字",
    "length {} over {}": "长度{0}超过{1}",
    "length {} is odd, what it counts comes in pairs": "长度{0}为奇数，而所计内容成对出现",
    "wrong filler nibble": "填充半字节错误",
    "not a digit": "不是数字",
    "not a letter or digit": "不是字母或数字",
    "not a letter, digit or blank": "不是字母、数字或空格",
    "not printable": "不是可打印字符",
    "not a digit or separator": "不是数字或分隔符",
    "not a hex digit or separator": "不是十六进制数字或分隔符",
    "not C or D and digits": "不是C或D加数字",
    "not an upper-case hex digit": "不是大写十六进制数字",
    "not upper-case hex digits": "不是大写十六进制数字",
    "not a character of the encoding": "不是该编码的字符",
    "not printable GBK text": "不是可打印的GBK文本",
    # inputs that are no bytes, or too many
    "no message": "没有报文",
    "no MTI of any dialect": "没有任何方言的消息类型",
    "not a hex digit": "不是十六进制数字",
    "odd number of hex digits": "十六进制数字为奇数个",
    "not base64": "不是base64",
    "length says {} bytes, {} follow": "长度为{0}字节，其后有{1}字节",
    "more than {} bytes in one message": "一条报文超过{0}字节",
    "only the first {} messages are shown": "只显示前{0}条报文",
    "only the first {} bytes were looked at": "只查看了前{0}字节",
    "only the first {} lines were looked at": "只查看了前{0}行",
    "only the first {} characters were looked at": "只查看了前{0}个字符",
    # parts of elements
    "{}: needs {}, {} left": "{0}：需要{1}，只剩{2}",
    "{}: no {} within {}": "{0}：{2}个字符内没有{1}",
    "{}: {}": "{0}：{1}",
    "{}: a character is cut": "{0}：字符被截断",
    "{}: not {}": "{0}：不是{1}",
    "{} more than its subfields have": "比其子域多{0}",
    "no subfields": "没有子域",
    "characters that the element can not have": "该域不能有的字符",
    "no tag of {} digits and length of {}": "没有{0}位数字的标签和{1}位长度",
    "more than {} tags": "标签超过{0}个",
    "tag cut or over {} bytes": "标签被截断或超过{0}字节",
    "value of {} bytes, {} left": "值为{0}字节，只剩{1}字节",
    "tag without length": "标签没有长度",
    "length is not one byte, 81 or 82": "长度不是一个字节，也不以81或82开头",
    "length cut": "长度被截断",
    "no separator": "没有分隔符",
    "PAN of {} digits": "主账号为{0}位",
    "PAN is not digits": "主账号不是数字",
    "expiry or service code is not digits": "有效期或服务码不是数字",
    "header {} needs {} bytes, {} left": "报文头{0}需要{1}字节，只剩{2}字节",
    "header {} begins otherwise": "报文头{0}的开头不符",
    "header {}, {}: not {}": "报文头{0}，{1}：不是{2}",
    # files that can not be read, in the system's words
    "No such file or directory": "没有该文件或目录",
    "Is a directory": "是一个目录",
    "Permission denied": "没有权限",
    "no name of a file": "不能作文件名",
    # dialects that are none
    "no dialect {}; there are {}": "没有方言{0}；可用：{1}",
    "there is a dialect {} already": "已有方言{0}",
    "more than {} dialects were added": "添加的方言超过{0}个",
    "more than {} characters": "超过{0}个字符",
    "is not TOML: {}": "不是TOML：{0}",
    "not UTF-8": "不是UTF-8",
    "nested too deep": "嵌套过深",
    "Invalid value": "值无效",
    "Invalid statement": "语句无效",
    "Unterminated string": "字符串没有结束",
    "Unclosed array": "数组没有结束",
    "Unclosed inline table": "内联表没有结束",
    "Cannot overwrite a value": "同一个键出现两次",
    "Cannot declare {} twice": "{0}声明了两次",
    "Illegal character {}": "非法字符{0}",
    "Expected '=' after a key in a key/value pair": "键之后应有=",
    "Expected ']' at the end of a table declaration": "表头末尾应有]",
    "Expected newline or end of document after a statement": "语句之后应换行",
    "expected `{}`, got `{}`": "应为`{0}`，实为`{1}`",
    "no such key; there are {}": "没有这个键；可用：{0}",
    "is needed": "必填",
    "needed where there is no base": "没有base时必填",
    "the base has no DE {}": "base中没有域{0}",
    "the number of an element, 2 to 192": "应为域号，2至192",
    "elements are 2 to 64 and 66 to 192": "域号为2至64、66至192",
    "elements must ascend, each once": "域号应递增且不重复",
    "small letters, digits and _, and a dot before what a variant is called": (
        "应为小写字母、数字和_，变体名之前加一个点"
    ),
    "{} is none of {}": "{0}不是下列之一：{1}",
    "encoding is none of {} and no text encoding (ascii, gbk, cp500 …)": (
        "encoding既不是{0}，也不是文本编码（ascii、gbk、cp500等）"
    ),
    "{} can not carry {}": "{0}不能承载{1}",
    "xn in BCD is fixed: a sign and digits in pairs": "BCD的xn为定长：一个符号和成对的数字",
    "padding is none, even, or left_ or right_ and hex digits": (
        "padding应为none、even，或left_、right_加十六进制数字"
    ),
    "padding none is for BCD that is always even: this can be odd, write left_0 or right_0": (
        "padding为none只用于总是偶数位的BCD：此处可为奇数位，请写left_0或right_0"
    ),
    "padding is for BCD that can be odd: leave it out here": (
        "padding只用于可为奇数位的BCD：此处请省略"
    ),
    "an odd fixed size can not be even": "奇数定长不能用even",
    "prefix is fixed, or l to llllll and _bcd, _ascii, _ebcdic, _bin": (
        "prefix应为fixed，或l至llllll加_bcd、_ascii、_ebcdic、_bin"
    ),
    "without a prefix nothing is counted": "没有长度前缀就无可计数",
    "units of BCD are nibbles already": "BCD的单位已是半字节",
    "digits whose bytes are counted come in pairs": "按字节计数的数字应成对",
    "size {} does not fit prefix {}": "size {0}与prefix {1}不符",
    "{} are MTI digits": "{0}应为消息类型的数字",
    "there are {} to {} bitmaps": "位图为{0}至{1}个",
    "DE {} needs another bitmap": "域{0}需要再加一个位图",
    "sizes of variable elements add up to {}, at most {}; this one is the largest": (
        "变长域的size合计{0}，最多{1}；此域最大"
    ),
}


def reason(english: str, lang: str = "en") -> str:
    """The reason as the operator reads it; one that the table does not have stays as it is.

    >>> reason("needs 8 bytes, 3 left", "zh")
    '需要8字节，只剩3字节'
    >>> reason("not a digit in cp500", "zh"), reason("needs 8 bytes, 3 left")
    ('不是数字（编码cp500）', 'needs 8 bytes, 3 left')
    """
    if not lang.startswith("zh"):
        return english
    if english in REASONS:
        return REASONS[english]
    head, _, encoding = english.rpartition(" in ")  # as text of another encoding than ASCII
    if head in REASONS:
        return f"{REASONS[head]}（编码{encoding}）"
    for pattern, chinese in _patterns():
        found = pattern.fullmatch(english)
        if found is not None:
            return chinese.format(*(reason(part, lang) for part in found.groups()))
    return english


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    """Those with something in them; what says most first."""
    rows = sorted(REASONS.items(), key=lambda row: -len(row[0].replace("{}", "")))
    return [
        (re.compile(re.escape(english).replace(r"\{\}", "(.+?)"), re.DOTALL), chinese)
        for english, chinese in rows
        if "{}" in english
    ]
