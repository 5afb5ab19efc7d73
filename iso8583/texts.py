"""Operator texts of this folder: key -> (English, Chinese)."""

from __future__ import annotations

from typing import Final

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
}


def text(key: str, lang: str = "en") -> str:
    """The text of a key, in Chinese with `lang` "zh"."""
    return TEXTS[key][1 if lang.startswith("zh") else 0]
