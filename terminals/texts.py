# ruff: noqa: RUF001 - full-width punctuation is how Chinese is written
"""What operators of the estate and the simulators read, in English and Chinese."""

from __future__ import annotations

from typing import Any

LANGUAGES = ("en", "zh")

TEXTS: dict[str, tuple[str, str]] = {
    "trading": ("trading", "交易中"),
    "traffic": ("Traffic by type and answer", "交易类型与应答"),
    "type": ("type", "类型"),
    "answers": ("answers", "应答"),
    "count": ("count", "笔数"),
    "outcome": ("What the terminals saw", "终端所见"),
    "transactions": ("transactions", "交易笔数"),
    "elapsed": ("seconds", "秒"),
    "reversals": ("reversals (reason answer)", "冲正（原因 应答）"),
    "settlements": ("settlements", "批结算"),
    "faults": ("faults", "故障"),
    "repeats": ("repeats answered the same / differently", "重发应答一致／不一致"),
    "surprises": ("other answers than the step was made for", "与步骤预期不符的应答"),
    "undecided": ("slips without a known end", "结果未知的签购单"),
    "gave_up": ("terminals that gave up", "放弃的终端"),
    "effect": ("net amount, minor units", "净额（分）"),
    "listening": (
        "{name} listens on {host}:{port}, settlement date {date}",
        "{name} 监听 {host}:{port}，清算日期 {date}",
    ),
    "dialling": (
        "{name} connects to {addresses}, settlement date {date}",
        "{name} 连接 {addresses}，清算日期 {date}",
    ),
    "wrote": (
        "{path}: {rows} rows, {planted} planted breaks",
        "{path}：{rows} 行，埋入差错 {planted} 笔",
    ),
    "bank": (
        "{name}: {entries} entries, {taken} taken from cards",
        "{name}：{entries} 笔，卡片共支出 {taken}",
    ),
    "stopping": ("stopping: once more to stop at once", "正在停止；再次发信号则立即停止"),
}


def say(key: str, language: str, /, **values: Any) -> str:
    """The text in the language, with its values.

    >>> say("count", "zh")
    '笔数'
    """
    return TEXTS[key][LANGUAGES.index(language)].format(**values)
