"""Texts for people: key -> (English, Chinese)."""

from typing import Final

TEXTS: Final[dict[str, tuple[str, str]]] = {
    "title": ("Day's end", "日终报告"),
    "business_date": ("Business date", "营业日"),
    "recorded_at": ("First run", "首次执行时间"),
    "steps": ("Steps", "步骤"),
    "step": ("Step", "步骤"),
    "state": ("State", "状态"),
    "step_cut": ("Cut-over", "日切"),
    "step_freeze": ("Captures frozen", "冻结交易"),
    "step_intake": ("Files taken in", "接收清算文件"),
    "step_reconcile": ("Reconciled", "对账"),
    "step_fees": ("Fees", "手续费"),
    "step_post": ("Posted", "记账"),
    "step_net": ("Netted", "轧差"),
    "step_reports": ("Reports", "报表"),
    "totals": ("Totals", "合计"),
    "content": ("Content hash", "内容摘要"),
    "chart_nets": ("Net payable by merchant (largest)", "商户应付净额前列"),
    "chart_breaks": ("Breaks by class", "差错分类"),
    "merchants": ("Merchant nets", "商户净额"),
    "merchant": ("Merchant", "商户"),
    "name": ("Name", "名称"),
    "count": ("Count", "笔数"),
    "gross": ("Gross", "交易额"),
    "taken_back": ("Refunds and voids", "退货及撤销"),
    "discount": ("Discount", "手续费"),
    "held": ("Held", "冻结"),
    "net": ("Net", "净额"),
    "breaks": ("Breaks", "差错"),
    "no_breaks": ("No breaks: the books and the files agree.", "无差错, 账务与清算文件一致"),
    "class": ("Class", "类别"),
    "acquirer": ("Acquirer", "收单机构"),
    "keys": ("Keys", "要素"),
    "ours": ("Ours", "我方金额"),
    "theirs": ("File", "文件金额"),
    "difference": ("To suspense", "挂账金额"),
    "trial_balance": ("Trial balance", "试算平衡表"),
    "account": ("Account", "科目"),
    "debit": ("Debit", "借方"),
    "credit": ("Credit", "贷方"),
    "balance": ("Balance", "余额"),
    "currency": ("Currency", "币种"),
    "total": ("Total", "合计"),
    "class_network_long": ("Network long", "长款"),
    "class_network_short": ("Network short", "短款"),
    "class_amount_mismatch": ("Amount mismatch", "金额不符"),
    "class_status_mismatch": ("Status mismatch", "状态不符"),
    "class_duplicate": ("Duplicate", "重复清算"),
    "class_orphan_refund": ("Refund without original", "无原交易退货"),
    "class_fee_mismatch": ("Fee mismatch", "手续费不符"),
    "class_file_changed": ("File changed", "文件内容变更"),
    "class_file_late": ("File late", "文件迟到"),
    "class_terminal_totals": ("Terminal totals differ", "终端结算总计不符"),
    "class_bank_mismatch": ("Bank credit differs", "银行入账金额不符"),
    "class_bank_missing": ("Bank credit missing", "银行款项逾期未到"),
    "class_statement_unmatched": ("Statement line unmatched", "银行流水未匹配"),
}


def both(key: str) -> str:
    """English and Chinese side by side, as pages show them.

    >>> both("net")
    'Net · 净额'
    """
    return " · ".join(TEXTS[key])
