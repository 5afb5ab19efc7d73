# ruff: noqa: RUF001 - full-width punctuation is how Chinese is written
"""What operators read of backup, restore and purge, in English and Chinese."""

from __future__ import annotations

TEXTS: dict[str, tuple[str, str]] = {
    "help_purge": (
        "Drop what is older than [retention] keeps; what is not settled stays.",
        "清理超过 [retention] 保存期限的数据；未了结的一律保留。",
    ),
    "help_opt_dry_run": ("Only count what would go.", "只统计，不删除。"),
    "help_backup": (
        "Write a backup of the store and of the data folder's files into a new folder.",
        "将数据库与数据目录中的文件备份到一个新目录。",
    ),
    "help_restore": (
        "Make an empty node from a backup; refuses a place that holds anything.",
        "用备份恢复一个空节点；目标位置有任何内容即拒绝。",
    ),
    "help_arg_backup_to": ("New folder; must not exist.", "新目录；必须尚不存在。"),
    "help_arg_backup_from": ("Folder of a backup.", "备份所在目录。"),
    "help_opt_verify_only": (
        "Check the backup against its manifest, and stop.",
        "只按清单校验备份。",
    ),
    "purge_busy": ("another purge runs", "另一个清理正在进行"),
    "purge_not_allowed": (
        "{role} does not own the schema: purging needs database.owner_dsn",
        "{role} 不是数据库结构的所有者：清理需要 database.owner_dsn",
    ),
    "purge_dropped": (
        "{table} {date}: {rows} rows dropped",
        "{table} {date}：已删除 {rows} 行",
    ),
    "purge_would": (
        "{table} {date}: {rows} rows would go",
        "{table} {date}：将删除 {rows} 行",
    ),
    "purge_rows": ("{table}: {rows} rows deleted", "{table}：已删除 {rows} 行"),
    "purge_rows_would": ("{table}: {rows} rows would go", "{table}：将删除 {rows} 行"),
    "purge_held": ("{date} stays: {reason}", "{date} 保留：{reason}"),
    "purge_held_unposted": ("not posted yet", "尚未入账"),
    "purge_held_undelivered": ("a reversal or refund waits", "有冲正或退货待发送"),
    "purge_held_undecided": ("a request has no outcome", "有交易尚无结果"),
    "purge_held_dispute": ("a dispute is open", "有未结争议"),
    "purge_held_case": ("a case is open", "有未结差错"),
    "purge_done": ("{rows} rows, {seconds:.1f} s", "共 {rows} 行，用时 {seconds:.1f} 秒"),
    "backup_exists": (
        "{path} exists: a backup goes into a folder that does not",
        "{path} 已存在：备份须写入尚不存在的目录",
    ),
    "backup_database": ("the database …", "正在备份数据库…"),
    "backup_files": ("{count} files, {mib:.1f} MiB", "{count} 个文件，{mib:.1f} MiB"),
    "backup_checking": ("checking {count} files", "正在校验 {count} 个文件"),
    "backup_done": (
        "{path}: {files} files, {mib:.1f} MiB, {seconds:.1f} s; the LMK file ({lmk}) and the settings are"
        " not in it: keep them apart",
        "{path}：{files} 个文件，{mib:.1f} MiB，用时 {seconds:.1f} 秒；不含主密钥文件（{lmk}）与配置文件，请另行保存",
    ),
    "backup_tool": (
        "{tool} ended with {code}: {said}",
        "{tool} 以 {code} 结束：{said}",
    ),
    "backup_bad": ("the backup is not what was written: {what}", "备份与写入时不符：{what}"),
    "backup_missing": (
        "{path} is no backup: it has no manifest.json",
        "{path} 不是备份：缺少 manifest.json",
    ),
    "backup_good": (
        "{path}: {files} files are as they were written at {at}",
        "{path}：{files} 个文件与 {at} 写入时一致",
    ),
    "restore_not_empty": (
        "{what} is not empty: a restore goes to an empty place only",
        "{what} 不为空：只能恢复到空位置",
    ),
    "restore_newer": (
        "the backup has {found}, which this release does not know: restore with release {version}",
        "备份包含本版本不认识的 {found}：请用版本 {version} 恢复",
    ),
    "restore_database": ("loading the database …", "正在装载数据库…"),
    "restore_skipped": (
        "numbers go on {requests} request ids, {others} other numbers further",
        "号段已跳过 {requests} 个请求号、其他各 {others} 个",
    ),
    "restore_done": (
        "restored to {path} as of {at}: {requests} requests, {files} files, {seconds:.1f} s",
        "已恢复到 {path}，时点 {at}：交易 {requests} 笔，文件 {files} 个，用时 {seconds:.1f} 秒",
    ),
    "restore_unfinished": (
        "{path} is a restore that did not end: run `tongbao restore` again",
        "{path} 的恢复尚未完成：请重新运行 `tongbao restore`",
    ),
}
