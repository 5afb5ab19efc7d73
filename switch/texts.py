# ruff: noqa: RUF001 - full-width punctuation is how Chinese is written
"""What operators read, in English and Chinese. Keys, log events and JSON stay in English."""

from __future__ import annotations

from typing import Any

LANGUAGES = ("en", "zh")

TEXTS: dict[str, tuple[str, str]] = {
    # -- serve
    "hsm_statement": (
        "The software HSM is functionally equal to a payment HSM and can never be certified as one.",
        "软件加密机在功能上等同于金融加密机，但永远无法通过金融加密机的认证。",
    ),
    "demo_statement": (
        "DEMO: the public test LMK is in use. Never put real keys or cards into this data folder.",
        "演示模式：正在使用公开的测试主密钥。切勿在此数据目录中存放真实密钥或卡号。",
    ),
    "ready": (
        "tongbao {version} ready: terminals {terminals}; {workers} workers; metrics {metrics}",
        "通宝 {version} 已就绪：终端地址 {terminals}；工作进程 {workers} 个；监控 {metrics}",
    ),
    "draining": (
        "draining: requests in flight have {seconds:g} s; once more to stop at once",
        "正在排空：处理中的交易还有 {seconds:g} 秒；再次发信号则立即停止",
    ),
    "stopped": ("stopped", "已停止"),
    "no_lmk": (
        "no LMK at {path}: make one with `tongbao init`, or try `tongbao serve --demo`",
        "{path} 没有主密钥：请先运行 `tongbao init`，或用 `tongbao serve --demo` 试用",
    ),
    "lmk_refused": (
        "the LMK at {path} was not opened: {reason}",
        "主密钥 {path} 未能打开：{reason}",
    ),
    "lmk_mode": (
        "{path} can be read by others (mode {mode}); make it 0600",
        "{path} 可被他人读取（权限 {mode}）；请改为 0600",
    ),
    "test_lmk_without_demo": (
        "{path} holds the public test LMK, which only --demo may use",
        "{path} 是公开的测试主密钥，仅限 --demo 使用",
    ),
    "data_of_demo": (
        "{path} was used with {found}; it can not be served {wanted}",
        "{path} 曾用于{found}；不能{wanted}启动",
    ),
    "already_serving": (
        "another `tongbao serve` (process {pid}) uses {path}",
        "另一个 `tongbao serve`（进程 {pid}）正在使用 {path}",
    ),
    "not_bound": ("{host}:{port} can not be bound: {reason}", "无法绑定 {host}:{port}：{reason}"),
    "workers_failed": (
        "workers ended {times} times before they were ready; see {log}",
        "工作进程在就绪前已退出 {times} 次；请查看 {log}",
    ),
    "store_failed": ("the store can not be used: {reason}", "数据库不可用：{reason}"),
    "passphrase": ("passphrase of the LMK", "主密钥口令"),
    # -- init
    "init_done": (
        "LMK {lmk_id} sealed into {path}; data folder {data}",
        "主密钥 {lmk_id} 已封存到 {path}；数据目录 {data}",
    ),
    "init_exists": (
        "{path} exists; an LMK is never overwritten",
        "{path} 已存在；主密钥不会被覆盖",
    ),
    "init_inside_data": (
        "{path} lies inside the data folder {data}; keep the LMK elsewhere",
        "{path} 位于数据目录 {data} 之内；主密钥须存放在别处",
    ),
    "init_share": (
        "share {number} of {count}, for one custodian, shown once",
        "第 {number} 份（共 {count} 份），交一位保管人，仅显示一次",
    ),
    # -- reference data and keys
    "not_found": ("no {kind} {key}", "没有 {kind} {key}"),
    "unchanged": ("nothing changed", "没有变化"),
    "applied": ("{kind} {key}: version {version}", "{kind} {key}：版本 {version}"),
    "component": (
        "component {number} in hex (empty: no more)",
        "第 {number} 个分量，十六进制（空行结束）",
    ),
    "component_refused": (
        "--{option} takes hex only with --demo; otherwise leave it out (prompt) or give @FILE",
        "--{option} 仅在 --demo 下可直接写十六进制；否则请省略（交互输入）或使用 @文件",
    ),
    "key_stored": (
        "{owner} {usage}: version {version}, check value {check_value}",
        "{owner} {usage}：版本 {version}，校验值 {check_value}",
    ),
    "key_refused": ("the key was refused: {reason}", "密钥被拒绝：{reason}"),
    "shortage": ("not built yet: {what}", "尚未实现：{what}"),
    "usage": ("wrong use: {reason}", "用法错误：{reason}"),
    "share": ("share of a custodian (empty: no more)", "保管人份额（空行结束）"),
    "count": ("{count} rows", "共 {count} 行"),
    "nothing": ("nothing found", "没有记录"),
}


def say(key: str, language: str, **values: Any) -> str:
    """The text in the language, with its values.

    >>> say("stopped", "zh")
    '已停止'
    """
    return TEXTS[key][LANGUAGES.index(language)].format(**values)
