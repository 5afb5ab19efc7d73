# ruff: noqa: RUF001 - full-width punctuation is how Chinese is written
"""What the demonstration says, in English and Chinese."""

from __future__ import annotations

from typing import Any

LANGUAGES = ("en", "zh")

TEXTS: dict[str, tuple[str, str]] = {
    # -- options
    "help_demo": (
        "A whole day with simulated terminals and banks, then the day's end.",
        "用模拟终端与银行跑完一天交易，并完成日终。",
    ),
    "help_data": (
        "Data folder; a former demo in it is removed.",
        "数据目录；其中旧的演示数据将被清除。",
    ),
    "help_keep": (
        "Keep the data folder afterwards (reports and journal can be looked at).",
        "结束后保留数据目录（可查看报表与流水）。",
    ),
    "help_seed": ("The same seed draws the same plans.", "相同种子产生相同的交易计划。"),
    "help_transactions": ("Transactions of the day.", "当日交易笔数。"),
    "help_json": ("Print the result as one JSON object.", "以一个 JSON 对象输出结果。"),
    "help_lang": ("en or zh.", "en 或 zh。"),
    # -- stages
    "stage_start": ("switch, vault and PostgreSQL start", "启动交换系统、加密机与数据库"),
    "stage_furnish": ("merchants, terminals, links and keys", "登记商户、终端、链路与密钥"),
    "stage_trade": ("60 terminals trade", "60 台终端交易中"),
    "stage_quiet": ("reversals end, queues empty", "冲正完成，队列清空"),
    "stage_settle": ("terminals close their batches", "终端批结算"),
    "stage_close": ("day's end", "日终处理"),
    "stage_again": ("day's end once more", "重跑日终"),
    "stage_check": ("money is counted", "核对资金"),
    "event_link": ("link to {bank} drops", "与 {bank} 的链路中断"),
    "event_worker": ("worker {pid} is killed", "工作进程 {pid} 被强制终止"),
    # -- failures that end it
    "not_a_demo": (
        "{path} is not empty and no demo made it: name another --data",
        "{path} 非空且不是演示目录：请用 --data 指定其他目录",
    ),
    "serve_ended": (
        "the switch ended with code {code}; see {log}",
        "交换系统已退出（代码 {code}）；请查看 {log}",
    ),
    "too_slow": ("{what} took more than {seconds:g} s", "{what} 超过 {seconds:g} 秒"),
    # -- tables
    "traffic": ("Traffic by type and answer", "交易类型与应答"),
    "type": ("type", "类型"),
    "count": ("count", "笔数"),
    "answers": ("answers", "应答"),
    "p50": ("p50 ms", "p50 毫秒"),
    "p99": ("p99 ms", "p99 毫秒"),
    "faults": ("Faults that happened", "发生的故障"),
    "where": ("where", "位置"),
    "what": ("what", "内容"),
    "fault_terminals": ("terminals", "终端"),
    "fault_node": ("node", "节点"),
    "reversals": ("Reversals", "冲正"),
    "origin": ("asked by", "发起方"),
    "answer": ("final answer", "最终应答"),
    "batches": ("Batches", "批次"),
    "breaks": ("Breaks: planted or explained, and found", "差错：埋入或已解释，与对账发现"),
    "class": ("class", "类别"),
    "acquirer": ("bank", "银行"),
    "planted": ("planted", "埋入"),
    "explained": ("bank forgot", "银行遗忘"),
    "found": ("found", "发现"),
    "nets": ("Merchants' nets", "商户净额"),
    "merchant": ("merchant", "商户"),
    "gross": ("sales", "消费"),
    "taken_back": ("voids, refunds", "撤销与退货"),
    "discount": ("discount", "手续费"),
    "net": ("net", "净额"),
    "total": ("total", "合计"),
    "trial_balance": ("Trial balance", "试算平衡表"),
    "account": ("account", "科目"),
    "debit": ("debit", "借方"),
    "credit": ("credit", "贷方"),
    "balance": ("balance", "余额"),
    "money": (
        "Money counter: the day's turnover, counted by each party",
        "资金核对：各方独立统计的当日净交易额",
    ),
    "party": ("counted by", "统计方"),
    "amount": ("amount", "金额"),
    "explains": ("what lies between", "差额说明"),
    "view_cardholders": ("cardholders: what left their accounts", "持卡人：账户支出"),
    "view_banks": ("banks: what their entries say", "银行：账务记录"),
    "view_files": (
        "banks' clearing files, beside their entries",
        "银行清算文件（与其账务对照）",
    ),
    "view_journal": ("switch: captured in the journal", "交换系统：流水入账"),
    "view_ledger": ("books: posted to the ledger", "账务：总账记账"),
    "view_terminals": ("terminals: slips that stand", "终端：有效签购单"),
    "gap_planted": ("{count} planted breaks", "埋入差错 {count} 笔"),
    "gap_forgotten": ("{count} approved, then forgotten by a bank", "银行批准后遗忘 {count} 笔"),
    "gap_lost_slip": (
        "{count} slips lost by a terminal on purpose",
        "终端故意丢失签购单 {count} 笔",
    ),
    "gap_unexplained": ("{count} NOT EXPLAINED", "{count} 笔无法解释"),
    "gap_none": ("agree item by item", "逐笔一致"),
    "files": ("Files", "文件"),
    "checks": ("Checks", "检查"),
    "passed": ("passed", "通过"),
    "failed": ("FAILED", "失败"),
    "check_terminals": ("every terminal came to its end", "所有终端正常结束"),
    "check_repeats": ("every repeat got the stored answer", "重发均得到原应答"),
    "check_undecided": ("nothing is undecided, no queue holds anything", "无未决交易，队列为空"),
    "check_reversals": ("every reversal of a terminal ended", "终端冲正均已结束"),
    "check_batches": (
        "every batch closed, unbalanced only on purpose",
        "批次均已关闭，仅故意造成的不平",
    ),
    "check_breaks": ("reconciliation found exactly the planted breaks", "对账恰好发现所埋差错"),
    "check_money": ("the views of the money agree or are explained", "各方资金一致或差额已解释"),
    "check_trial": ("the trial balance is zero", "试算平衡"),
    "check_again": ("the close run again wrote the same bytes", "重跑日终输出逐字节相同"),
    "check_worker": ("the killed worker was replaced", "被终止的工作进程已恢复"),
    "verdict_good": ("The day is closed and every fen is accounted for.", "日终完成，分文不差。"),
    "verdict_bad": ("The demonstration FAILED: see the checks.", "演示失败：请查看检查结果。"),
    "took": (
        "{transactions} transactions, {wall:.0f} s in all ({trading:.0f} s of trading), seed {seed}",
        "{transactions} 笔交易，共 {wall:.0f} 秒（其中交易 {trading:.0f} 秒），种子 {seed}",
    ),
}


def say(key: str, language: str, /, **values: Any) -> str:
    """The text in the language, with its values.

    >>> say("count", "zh")
    '笔数'
    """
    return TEXTS[key][LANGUAGES.index(language)].format(**values)
