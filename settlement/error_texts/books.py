"""Why the day's end waits or stops, and an act on cases, disputes or the ledger is not done: key -> (English, Chinese)."""

from typing import Final

ERRORS: Final[dict[str, tuple[str, str]]] = {
    "account_other": (
        "{proposal} is not for this account of {kind} {key}",
        "{proposal} 不针对 {kind} {key} 的此账户",
    ),
    "account_takes_two": (
        "{kind} {key}: another settlement account takes two",
        "{kind} {key}:变更结算账户须两人",
    ),
    "account_unknown": ("there is no account {account}", "没有科目 {account}"),
    "act_about": ("{case} is about {about}, not {asked}", "{case} 金额 {about},不足 {asked}"),
    "act_entry_unknown": ("no entry {entry} stands in the ledger", "账簿中没有分录 {entry}"),
    "act_holds": ("{case} holds {holds}, not {asked}", "{case} 余额 {holds},不足 {asked}"),
    "act_no_entry": (
        "link names the entry that moved the money: --entry SOURCE/KEY",
        "link 须指明已处理资金的分录:--entry SOURCE/KEY",
    ),
    "act_no_merchant": ("{case} names no merchant", "{case} 没有商户"),
    "act_not_in_force": ("{reason}", "没有生效的资料:{reason}"),
    "act_not_known": ("no act {act}; {case} takes {takes}", "没有操作 {act};{case} 可用:{takes}"),
    "act_not_taken": (
        "{case} ({state}) does not take {act}, but: {takes}",
        "{case} ({state}) 不能 {act},可用:{takes}",
    ),
    "act_nothing_owed": (
        "{case}: the network owes nothing any more",
        "{case}:对方已无欠款",
    ),
    "act_other_entry": (
        "{entry} is of {of_entry}, {case} of {of_case}",
        "{entry} 属于 {of_entry},{case} 属于 {of_case}",
    ),
    "act_whole": (
        "{act} takes the whole of what is left: leave --amount out",
        "{act} 须处理全部余额:请勿使用 --amount",
    ),
    "acts_since": (
        "a payout or statement came before {act}: what it rests on may have changed",
        "{act} 之前有新的付款或对账单:所依据的情况可能已变动",
    ),
    "agent_not_in_force": (
        "agent {agent} is not in force on {date}",
        "代理 {agent} 在 {date} 没有生效",
    ),
    "agents_endless": (
        "the agents over merchant {merchant} do not end on {date}",
        "商户 {merchant} 的上级代理在 {date} 没有终点",
    ),
    "another_run": ("another run of {date} is under way", "{date} 的日终正由另一进程执行"),
    "approved_already": ("{what} has been approved already", "{what} 已复核"),
    "balance_least": (
        "{place} in {currency} would go from {old} to {new}; it must be at least {limit}",
        "{place} 币种 {currency} 将由 {old} 变为 {new},不得低于 {limit}",
    ),
    "balance_most": (
        "{place} in {currency} would go from {old} to {new}; it must be at most {limit}",
        "{place} 币种 {currency} 将由 {old} 变为 {new},不得高于 {limit}",
    ),
    "batch_unknown": ("there is no batch {batch}", "没有批次 {batch}"),
    "books_change": ("others change the books all the time: try again", "账务不断变动:请稍后再试"),
    "calendar_unknown": ("there is no calendar {calendar}", "没有日历 {calendar}"),
    "calendar_year": (
        "calendar {calendar} has no days of {year}",
        "日历 {calendar} 没有 {year} 年的数据",
    ),
    "case_not_now": (
        "{case} is {state}: it can not be {kind}",
        "{case} 状态为 {state}:不能执行 {kind}",
    ),
    "change_of_other": (
        "{proposal} is not for this change of {operator}",
        "{proposal} 不针对 {operator} 的此变更",
    ),
    "changed_since": ("{what} has changed since {proposal}", "{what} 在 {proposal} 提请后已变动"),
    "changes_nothing_else": ("{act} changes nothing else", "{act} 不能变更其他内容"),
    "close_under_way": ("a close of {date} is under way", "{date} 正在日终处理"),
    "currency_unknown": ("there is no currency {currency}", "没有币种 {currency}"),
    "date_moves": ("the business date moves on", "营业日正在切换"),
    "date_not_closed": ("{date} is not closed yet", "{date} 尚未日终"),
    "date_not_ended": ("{date} is not closed", "{date} 未日终"),
    "date_posted": ("{date} is posted", "{date} 已记账"),
    "date_unknown": ("{date} is no business date of this switch", "{date} 不是本系统的营业日"),
    "dates_posted": ("dates are posted all the time: try again", "营业日不断记账:请稍后再试"),
    "dispute_answered": ("{amount} answered, {sent} was sent", "回复金额 {amount},提交金额 {sent}"),
    "dispute_case_holds": (
        "{event} of {effect}: the case holds {left}",
        "{event} 金额 {effect}:差错余额 {left}",
    ),
    "dispute_deadlines": ("deadlines of disputes: {reason}", "争议期限:{reason}"),
    "dispute_effect": ("{event} has the effect {effect}", "{event} 的金额方向为 {effect}"),
    "dispute_event": (
        "a dispute that is {state} has no {event} by {by}",
        "状态为 {state} 的争议没有 {by} 的 {event}",
    ),
    "dispute_given_back": (
        "{amount} given back, {taken} was taken",
        "退回金额 {amount},被退金额 {taken}",
    ),
    "dispute_needs_checker": ("{event} needs a checker: propose it", "{event} 需要复核:请先提请"),
    "dispute_no_sale": ("{record} is no captured sale", "{record} 不是已入账的消费"),
    "dispute_not_given_up": (
        "a dispute that is {state} can not be given up by {event}",
        "状态为 {state} 的争议不能以 {event} 放弃",
    ),
    "dispute_not_ours": ("{event} is not ours to start", "{event} 不能由我方发起"),
    "dispute_of_sale": ("{event} is about a sale, not a case", "{event} 只针对消费,不针对差错"),
    "dispute_taken": (
        "{amount} taken, {left} is left of the sale",
        "请求金额 {amount},该笔消费余额 {left}",
    ),
    "disputes_busy": (
        "disputes are worked on meanwhile, run it again: {reason}",
        "争议正在处理中,请再次执行:{reason}",
    ),
    "earlier_open": (
        "{date} is not closed yet; dates close in order",
        "{date} 尚未日终;营业日须按顺序日终",
    ),
    "engine_missing": (
        "engine {engine} needs PySpark: pip install 'tongbao[spark]', and Java 17",
        "引擎 {engine} 需要 PySpark:pip install 'tongbao[spark]',以及 Java 17",
    ),
    "entry_closed": ("{source} {key}: {date} is posted", "{source} {key}:{date} 已记账"),
    "entry_conflict": (
        "{source} {key} stands with other content: {differences}",
        "分录 {source} {key} 已存在且内容不同:{differences}",
    ),
    "fault": ("{kind}: {text}", "程序错误 {kind}:{text}"),
    "file_fees_bound": (
        "{acquirer}/{file}: fees of {fees} on {turnover} are beyond the bound; a second person may approve {sha256}",
        "{acquirer}/{file}:交易额 {turnover} 的手续费 {fees} 超出上限;须由第二人复核 {sha256}",
    ),
    "file_in_use": (
        "{acquirer}/{file}: rows of version {version} are in the books; other content can not take their place, its case stays open",
        "{acquirer}/{file}:第 {version} 版的记录已入账;不能以其他内容替换,其差错仍未了结",
    ),
    "file_too_big": (
        "{acquirer}/{file}: {size:,} bytes are more than settlement.file_max_mib ({most:,} MiB), for a file is sealed as one value: let the network send the day in several files, each with its own sequence",
        "{acquirer}/{file}:{size:,} 字节超过 settlement.file_max_mib({most:,} MiB),文件须作为整体加密保存:请机构将当日分成多个文件,各有序号",
    ),
    "files_absent": ("no clearing file yet from {files}", "尚未收到清算文件:{files}"),
    "files_unknown": (
        "{absent}; no type that is expected is called {files}",
        "{absent};下列文件名不属于任何应收类型:{files}",
    ),
    "is_already": ("{what} is {state} already", "{what} 已是 {state}"),
    "key_of_other": ("the key of {operator} is that of {holder}", "{operator} 的公钥属于 {holder}"),
    "merchant_not_in_force": (
        "merchant {merchant} is not in force on {date}",
        "商户 {merchant} 在 {date} 没有生效资料",
    ),
    "no_permission": (
        "{operator} has no permission {permission}",
        "{operator} 没有权限 {permission}",
    ),
    "not_approvable": (
        "{proposal} may not be approved by {checker}",
        "{checker} 不能复核 {proposal}",
    ),
    "not_as_shown": (
        "{proposal} is not what was proposed and shown",
        "{proposal} 与提请及显示的内容不一致",
    ),
    "not_checker": ("{operator} may not approve {act}", "{operator} 不能复核 {act}"),
    "not_released": ("{what} is not released", "{what} 尚未放行"),
    "not_withdrawer": ("{operator} may not withdraw {proposal}", "{operator} 不能撤回 {proposal}"),
    "opened_already": ("{what} has been opened already", "{what} 已发起"),
    "orders_changed": (
        "the orders of {batch} are not what was proposed",
        "{batch} 的指令与提请时不一致",
    ),
    "other_side_found": ("{case}: its other side has been found", "{case}:另一方记录已找到"),
    "ours_other": (
        "{proposal} is not for this bank account {key}",
        "{proposal} 不针对此银行账户 {key}",
    ),
    "ours_takes_two": ("bank account {key} takes two", "银行账户 {key} 须两人"),
    "own_proposal": ("{proposal} is {maker}'s own proposal", "{proposal} 是 {maker} 本人提请的"),
    "payee_no_calendar": (
        "neither {payee} nor {account} has a calendar",
        "{payee} 与 {account} 都没有日历",
    ),
    "plan_not_in_force": (
        "fee plan {plan} is not in force on {date}",
        "费率方案 {plan} 在 {date} 没有生效",
    ),
    "proposal_of_other": (
        "{proposal} is no {act} of {subject}",
        "{proposal} 不是针对 {subject} 的 {act}",
    ),
    "proposal_other_kind": (
        "{proposal} is not for a batch of {kind}",
        "{proposal} 不适用于 {kind} 批次",
    ),
    "proposes_no_payout": ("{proposal} proposes no payout", "{proposal} 不是付款提请"),
    "proposes_no_rejection": ("{proposal} rejects no payout", "{proposal} 不是退汇提请"),
    "proposes_no_voucher": ("{proposal} proposes no voucher", "{proposal} 不是凭证提请"),
    "proposes_other_voucher": ("{proposal} is about another voucher", "{proposal} 针对另一张凭证"),
    "somebody_first": ("{what}: somebody was first", "{what}:已有他人先行处理"),
    "stands_otherwise": ("{what} stands otherwise now", "{what} 已变动"),
    "takes_two": ("{act} takes two", "{act} 须两人"),
    "undecided": (
        "{count} requests of {date} are still undecided; a running node decides them once their timers have passed: start `tongbao serve`, then close again",
        "{date} 还有 {count} 笔请求未决;运行中的节点在超时后会了结:请启动 `tongbao serve`,然后再次日终",
    ),
    "voucher_control": (
        "{account} is a control account: only rules post on it",
        "{account} 为统驭科目:只能由规则记账",
    ),
    "voucher_differs": ("debits and credits differ by {difference}", "借贷不平,相差 {difference}"),
    "voucher_leg": (
        "{said}: write ACCOUNT=AMOUNT or ACCOUNT/OWNER=AMOUNT, minor units",
        "{said}:请写 科目=金额 或 科目/户主=金额,最小货币单位",
    ),
    "voucher_legs": (
        "2 to {most} postings, not {count}",
        "须有 2 至 {most} 条分录,而非 {count} 条",
    ),
    "voucher_merchants": (
        "two merchants: an entry names one, so make two vouchers",
        "涉及两个商户:一笔分录只属一个商户,请分两张凭证",
    ),
    "voucher_no_owner": (
        "{account} has no owners, not {owner}",
        "{account} 没有户主,不能为 {owner}",
    ),
    "voucher_not_reversed": (
        "voucher {voucher} is not what was to be reversed",
        "凭证 {voucher} 与拟冲销的不一致",
    ),
    "voucher_number": (
        "{said!r} is no number: letters, digits, . _ -, at most 35",
        "{said!r} 不是凭证号:字母、数字、. _ -,最多 35 位",
    ),
    "voucher_owner": ("{account}: there is no {kind} {owner!r}", "{account}:没有 {kind} {owner!r}"),
    "voucher_reversed": ("voucher {voucher} is reversed already", "凭证 {voucher} 已冲销"),
    "voucher_stands": ("voucher {voucher} stands already", "凭证 {voucher} 已存在"),
    "voucher_twice": ("an account of one owner stands twice", "同一户主的科目重复"),
    "voucher_unknown": ("there is no voucher {voucher}", "没有凭证 {voucher}"),
    "voucher_words": (
        "{name}: one line of 1 to {most} characters",
        "{name}:须为一行,1 至 {most} 个字符",
    ),
    "voucher_zero": ("{account}: an amount of zero", "{account}:金额为零"),
    "was_approved": ("{what} was approved already", "{what} 此前已复核"),
}
