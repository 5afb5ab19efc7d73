"""Why a bank's statement or report is refused, and a payout not made: key -> (English, Chinese)."""

from typing import Final

ERRORS: Final[dict[str, tuple[str, str]]] = {
    "at_line": ("line {line}: {reason}", "第 {line} 行:{reason}"),
    "bank_account_unknown": (
        "{statement}: no bank account of ours has the number {number!r}",
        "{statement}:我方没有账号 {number!r}",
    ),
    "bank_balances": (
        "opening {opening} and entries {moved} are not closing {closing}",
        "期初 {opening} 加发生额 {moved} 不等于期末 {closing}",
    ),
    "bank_beyond": (
        "{amount} {currency} is beyond what the books hold",
        "{amount} {currency} 超出账务可容纳的范围",
    ),
    "bank_currencies": (
        "balances in {opening} and in {closing}",
        "余额币种分别为 {opening} 和 {closing}",
    ),
    "bank_currency": (
        "in {found}, the account is in {account}",
        "币种 {found},账户币种为 {account}",
    ),
    "bank_currency_unknown": ("currency {currency!r} is not known", "币种 {currency!r} 未知"),
    "bank_detail": (
        "its detail is {detail}, the entry is {entry}",
        "明细金额 {detail},该笔金额 {entry}",
    ),
    "bank_detail_amount": ("a detail without an amount among several", "多笔明细中有一笔没有金额"),
    "bank_detail_currency": (
        "a detail in {found}, the account is in {account}",
        "明细币种 {found},账户币种为 {account}",
    ),
    "bank_details": (
        "its details sum to {details}, the entry is {entry}",
        "明细合计 {details},该笔金额 {entry}",
    ),
    "bank_in_entry": ("entry {number}: {reason}", "第 {number} 笔:{reason}"),
    "bank_in_statement": ("{statement}: {reason}", "{statement}:{reason}"),
    "bank_many_lines": ("more than {most} lines", "超过 {most} 行"),
    "bank_many_orders": ("more than {most} orders", "超过 {most} 笔指令"),
    "bank_no_amount": ("{said!r} is no amount", "{said!r} 不是金额"),
    "bank_no_balance": ("no balance {codes}", "没有余额 {codes}"),
    "bank_no_count": ("{said!r} is no number of orders", "{said!r} 不是指令笔数"),
    "bank_no_date": ("{said!r} is no date", "{said!r} 不是日期"),
    "bank_no_id": (
        "{said!r} is no id: printable, no blank, no /",
        "{said!r} 不是编号:须为可见字符,无空格,无 /",
    ),
    "bank_no_instant": ("{said!r} is no date and time", "{said!r} 不是日期时间"),
    "bank_no_report": (
        "line {line}: no CstmrPmtStsRpt in the document",
        "第 {line} 行:文件中没有 CstmrPmtStsRpt",
    ),
    "bank_no_statement": ("no BkToCstmrStmt/Stmt in the document", "文件中没有 BkToCstmrStmt/Stmt"),
    "bank_no_status": (
        "no status of the file, of its payment, or of an order",
        "文件、付款、指令都没有状态",
    ),
    "bank_no_status_of": ("no status of {order}", "{order} 没有状态"),
    "bank_nothing_in": ("no {path} in {tag}", "{tag} 中没有 {path}"),
    "bank_order_twice": ("{order} stands in line {line} already", "{order} 在第 {line} 行已出现"),
    "bank_other_payment": ("{payment} is no payment of {file}", "{payment} 不是 {file} 的付款"),
    "bank_places": (
        "{amount} {currency} has more decimal places than the currency",
        "{amount} {currency} 的小数位多于该币种",
    ),
    "bank_statement_id": (
        "{id!r} is no statement id: printable, no blank, no /",
        "{id!r} 不是对账单编号:须为可见字符,无空格,无 /",
    ),
    "bank_status_unknown": ("{status!r} is no status that is known here", "{status!r} 是未知状态"),
    "bank_status_within": (
        "{status} within a file that is {whole}",
        "整个文件为 {whole},其中却有 {status}",
    ),
    "bank_twice": ("the same statement stands twice in the document", "同一对账单在文件中重复"),
    "bank_way": ("{said!r} is neither CRDT nor DBIT", "{said!r} 既非 CRDT 也非 DBIT"),
    "order_is": ("order {order} is {state} already", "指令 {order} 已是 {state}"),
    "order_not_released": ("order {order} is not released", "指令 {order} 尚未放行"),
    "order_unknown": ("there is no order {order}", "没有指令 {order}"),
    "payout_barred": (
        "{order}: {payee} can not be paid: {reason}",
        "{order}:{payee} 不能付款:{reason}",
    ),
    "payout_less": ("{order}: {payee} has less than this by now", "{order}:{payee} 现有余额不足"),
    "payout_not_back": (
        "{order} did not come back, or has a new order already",
        "{order} 没有退回,或已有新指令",
    ),
    "payout_not_now": ("{order}: {payee} can not be paid now", "{order}:{payee} 目前不能付款"),
    "payout_not_now_for": (
        "{order}: {payee} can not be paid now: {reason}",
        "{order}:{payee} 目前不能付款:{reason}",
    ),
    "payout_nothing_left": (
        "{order}: nothing is left to pay, the balance is {left}",
        "{order}:没有可付余额,余额为 {left}",
    ),
    "payout_other_account": (
        "{order}: {payee} has another account by now",
        "{order}:{payee} 的账户已变更",
    ),
    "payout_other_file": (
        "{batch} would not be the file that was written first: {sha256}",
        "{batch} 将不同于首次写出的文件:{sha256}",
    ),
    "report_amount": ("{what} is of {amount}, not {told}", "{what} 金额 {amount},而非 {told}"),
    "report_count": (
        "{batch} has {count} orders, not {told}",
        "{batch} 有 {count} 笔指令,而非 {told}",
    ),
    "report_no_file": ("no file of ours is {file}", "没有我方文件 {file}"),
    "report_no_order": ("{order} is no order of {batch}", "{order} 不是 {batch} 的指令"),
    "report_not_written": ("the file of {batch} was never written", "{batch} 的文件从未写出"),
    "report_other": (
        "report {report} was taken in with other content: {sha256} stands",
        "报告 {report} 曾以其他内容接收:现存 {sha256}",
    ),
    "statement_other": (
        "{account}/{statement} was taken in with other content: {stands} stands, this is {sha256}",
        "{account}/{statement} 曾以其他内容接收:现存 {stands},本次 {sha256}",
    ),
    "sweep_account": ("{order}: its account is not ours any more", "{order}:收款账户已非我方账户"),
    "sweep_accounts": (
        "{currency}: a reserve account and one own account: {names}",
        "{currency}:须有一个备付金账户和一个自有账户:{names}",
    ),
    "sweep_day": ("{account}: {date} is no working day", "{account}:{date} 不是工作日"),
    "sweep_most": ("at most {most} may go, not {asked}", "最多可划 {most},不足 {asked}"),
    "sweep_nothing": ("there is nothing to sweep", "没有可划转的资金"),
    "sweep_part_of": ("a part of what: {several}", "请指明划转哪一项的部分:{several}"),
    "xml_at": ("line {line}, column {column}: {reason}", "第 {line} 行第 {column} 列:{reason}"),
    "xml_depth": ("more than {most} elements within each other", "元素嵌套超过 {most} 层"),
    "xml_doctype": ("a document type is not allowed", "不允许文档类型声明"),
    "xml_elements": ("more than {most} elements", "超过 {most} 个元素"),
    "xml_namespace": ("the document is {found!r}, not {wanted}", "文件为 {found!r},应为 {wanted}"),
    "xml_size": ("{size} bytes are more than {most}", "{size} 字节超过 {most}"),
    "xml_text": (
        "a text of more than {most} characters in {tag}",
        "{tag} 中的文本超过 {most} 个字符",
    ),
}
