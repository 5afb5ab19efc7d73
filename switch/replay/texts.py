# ruff: noqa: RUF001 - full-width punctuation is how Chinese is written
"""What the journal's export and replay say, in English and Chinese."""

from __future__ import annotations

TEXTS: dict[str, tuple[str, str]] = {
    "help_replay": (
        "Play a journal to two builds in virtual time and print what they differ in.",
        "在虚拟时间中让两个版本重放同一份流水，并列出差异。",
    ),
    "help_arg_journal_file": (
        "file of `tongbao journal export`",
        "`tongbao journal export` 写出的文件",
    ),
    "help_opt_build": (
        "a checkout, wheel, environment or git revision; twice",
        "源码目录、wheel、安装环境或 git 版本；给出两次",
    ),
    "help_opt_ignore": (
        "what does not count: a rule, `39`, `0210:39`, a fact's name, timing, notes",
        "不计入差异的项：规则名、`39`、`0210:39`、事实名、timing、notes",
    ),
    "help_opt_compare": (
        "a rule that is not applied: stan, rrn, time, original",
        "不套用的规则：stan、rrn、time、original",
    ),
    "help_opt_replay_limit": ("lines that are shown one by one", "逐条显示的行数"),
    "help_opt_until": ("last business date; without: that of --date", "最后营业日；缺省同 --date"),
    "help_journal_export": (
        "Write recorded traffic, without card numbers, for `tongbao replay`.",
        "导出流水供 `tongbao replay` 使用，其中没有卡号。",
    ),
    "help_arg_export_to": ("file to be made; .gz: compressed", "要写的文件；.gz 则压缩"),
    "export_exists": ("{path} is there already", "{path} 已存在"),
    "export_no_folder": ("there is no folder {path}", "没有文件夹 {path}"),
    "export_progress": ("{done} of {requests} transactions", "已写 {done}/{requests} 笔"),
    "export_done": (
        "{path}: {lines} lines, {requests} transactions of {first} to {last}, {early} from before",
        "{path}：{lines} 行，{first} 至 {last} 共 {requests} 笔交易，另有此前 {early} 笔",
    ),
    "replay_two_builds": (
        "name two builds: --build A --build B",
        "请给出两个版本：--build A --build B",
    ),
    "replay_no_rule": (
        "there is no rule {word}; there are {names}",
        "没有规则 {word}；现有 {names}",
    ),
    "replay_no_build": (
        "build {build}: neither a checkout, a wheel, an environment with tongbao, nor a git revision",
        "版本 {build}：既不是源码目录、wheel、装有 tongbao 的环境，也不是 git 版本",
    ),
    "replay_no_player": (
        "build {build} has no player (switch/replay): it is older than `tongbao replay`",
        "版本 {build} 没有重放器（switch/replay）：早于 `tongbao replay`",
    ),
    "replay_other_protocol": (
        "build {build} speaks another version of the replay's protocol or reads older journals only",
        "版本 {build} 的重放协议版本不同，或只能读更早的流水格式",
    ),
    "replay_other_code": (
        "build {build}: its player runs the code of {code}",
        "版本 {build}：其重放器运行的是 {code} 的代码",
    ),
    "replay_failed": ("build {build} failed: {why}", "版本 {build} 失败：{why}"),
    "replay_progress": ("{done} of {lines} lines", "已重放 {done}/{lines} 行"),
    "replay_line": ("line {line}: {type} {name}", "第 {line} 行：{type} {name}"),
    "replay_lines": ("lines that differ", "有差异的行"),
    "replay_more": ("… and {count} lines more", "……另有 {count} 行"),
    "replay_by_element": ("differences", "差异"),
    "replay_by_type": ("by type", "按交易类型"),
    "replay_outcomes": ("answers", "应答码"),
    "replay_by_rule": ("expected, or ignored, by rule", "按规则不计的差异"),
    "replay_as_recorded": (
        "{build}: {same} of {of} came out as recorded",
        "{build}：{of} 笔中 {same} 笔与记录一致",
    ),
    "replay_same": (
        "no difference between {a} and {b} in {lines} lines",
        "{a} 与 {b} 在 {lines} 行中没有差异",
    ),
    "replay_differ": (
        "{a} and {b} differ in {differing} of {lines} lines",
        "{a} 与 {b} 在 {lines} 行中有 {differing} 行不同",
    ),
}
