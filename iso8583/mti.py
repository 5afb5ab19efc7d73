"""The message type identifier: four digits, version · class · function · origin.

Source: ISO 8583:1987 §4.1 as summarised in `reference/iso8583-base.md`; the private classes that
terminals use (0320, 0620, 0920) follow the same digits.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

VERSIONS: Final = {"0": "1987", "1": "1993", "2": "2003", "9": "private"}
CLASSES: Final = {
    "1": "authorisation",
    "2": "financial",
    "3": "file action",
    "4": "reversal",
    "5": "reconciliation",
    "6": "administrative",
    "7": "fee collection",
    "8": "network management",
    "9": "private",
}
FUNCTIONS: Final = {
    "0": "request",
    "1": "request response",
    "2": "advice",
    "3": "advice response",
    "4": "notification",
    "5": "notification acknowledgement",
    "6": "instruction",
    "7": "instruction acknowledgement",
}
ORIGINS: Final = {
    "0": "acquirer",
    "1": "acquirer repeat",
    "2": "issuer",
    "3": "issuer repeat",
    "4": "other",
    "5": "other repeat",
}


def is_request(mti: str) -> bool:
    """Whether the message asks for an answer: the function digit is even.

    >>> is_request("0200"), is_request("0421"), is_request("0830")
    (True, True, False)
    """
    return mti[2] in "02468"


def is_response(mti: str) -> bool:
    """Whether the message is an answer: the function digit is odd."""
    return not is_request(mti)


def is_advice(mti: str) -> bool:
    """Whether the message tells of something done (0220, 0420, 0820), to be repeated until heard."""
    return mti[2] == "2"


def is_repeat(mti: str) -> bool:
    """Whether the sender says that it sent this before (0201, 0221, 0421)."""
    return mti[3] in "135"


@lru_cache(1_024)  # there are few, and one is asked for at every message
def without_repeat(mti: str) -> str:
    """The MTI with its repeat digit cleared: what the kind of a request is made of.

    >>> without_repeat("0421")
    '0420'
    """
    return mti[:3] + str(int(mti[3]) & ~1) if is_repeat(mti) else mti


def as_repeat(mti: str) -> str:
    """The MTI of the same message sent again.

    >>> as_repeat("0420"), as_repeat("0421")
    ('0421', '0421')
    """
    return mti[:3] + str(int(mti[3]) | 1)


@lru_cache(1_024)
def response_mti(mti: str) -> str:
    """The MTI of the answer: function + 1, repeat digit cleared. Raises ValueError on an answer.

    >>> response_mti("0200"), response_mti("0421"), response_mti("0800")
    ('0210', '0430', '0810')
    """
    if len(mti) != 4 or not (mti.isascii() and mti.isdigit()):
        raise ValueError("an MTI is four digits")
    if not is_request(mti):
        raise ValueError(f"MTI {mti} is an answer already")
    plain = without_repeat(mti)
    return plain[:2] + str(int(plain[2]) + 1) + plain[3]


# The same digits in Chinese: class, function, origin.
_CHINESE: Final = (
    dict(
        zip(
            "123456789",
            ["授权", "金融", "文件", "冲正", "对账", "管理", "费用", "网络管理", "私有"],
            strict=True,
        )
    ),
    dict(
        zip(
            "01234567",
            ["请求", "应答", "通知", "通知应答", "告知", "告知确认", "指令", "指令确认"],
            strict=True,
        )
    ),
    dict(
        zip(
            "012345",
            ["受理方", "受理方重发", "发卡方", "发卡方重发", "其他", "其他重发"],
            strict=True,
        )
    ),
)


def describe(mti: str, lang: str = "en") -> str:
    """The MTI in words, for display; in Chinese with `lang` "zh".

    >>> describe("0421"), describe("0421", "zh")
    ('reversal advice, acquirer repeat', '冲正通知(受理方重发)')
    """
    if lang.startswith("zh"):
        words = [table.get(mti[at], "未知") for at, table in enumerate(_CHINESE, 1)]
        return f"{words[0]}{words[1]}({words[2]})"
    digits = CLASSES.get(mti[1], "unknown class"), FUNCTIONS.get(mti[2], "unknown function")
    return f"{digits[0]} {digits[1]}, {ORIGINS.get(mti[3], 'unknown origin')}"
