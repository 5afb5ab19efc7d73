# ruff: noqa: RUF001 - full-width punctuation is how Chinese is written
"""What `tongbao explain` says, in English and Chinese. Of an event: the sentence, and a label for the
diagram where it has a place there. Names of rules and links stay as they are stored. What stands in
square brackets is left out where a value in it is empty."""

from __future__ import annotations

SENTENCES: dict[str, tuple[str, str]] = {
    # -- the wire
    "received": (
        "{mti} {type}, {amount} {currency}: trace {stan}, batch {batch}[, entry mode {entry_mode}]"
        "[, card {pan_masked}]",
        "收到 {mti} {type}，{amount} {currency}：流水号 {stan}，批次 {batch}[，输入方式 {entry_mode}]"
        "[，卡号 {pan_masked}]",
    ),
    "mac_verified": (
        "MAC verified under key set {session_id}[, issued {issued_at}]",
        "以密钥组 {session_id}[（{issued_at} 下发）] 验证 MAC 通过",
    ),
    "versions": (
        "decided on business date {business_date} under reference data of generation {generation}:"
        " merchant version {merchant}, terminal version {terminal}",
        "按营业日 {business_date}、参数第 {generation} 代判断：商户版本 {merchant}，终端版本 {terminal}",
    ),
    "decision": ("rested on {name} = {value}", "判断依据 {name} = {value}"),
    "original": (
        "names the {type} {rrn} of {amount} {currency}, now {state}",
        "原交易为 {type} {rrn}，{amount} {currency}，现状态 {state}",
    ),
    "check_failed": (
        "check {rule} failed: {response_code}",
        "检查 {rule} 未通过：{response_code}",
    ),
    "checks_passed": ("every check passed", "全部检查通过"),
    "candidate": (
        "candidate {place}, {acquirer}[, costs {cost} {currency} by {by}][, weight {weight} %]: {state}[,"
        " {reason}]",
        "候选 {place}，{acquirer}[，成本 {cost} {currency}，依据 {by}][，权重 {weight} %]：{state}[，{reason}]",
    ),
    "routed": (
        "[route {route} of the card; ]sent to {acquirer} by {rule}",
        "[卡路由 {route}；]发往 {acquirer}，规则 {rule}",
    ),
    "passed_over": (
        "{acquirer} passed over: {reason}",
        "跳过 {acquirer}：{reason}",
    ),
    "recorded": (
        "recorded as request {request_id} before anything is sent",
        "先记为请求 {request_id}，之后才发送",
    ),
    "attempt": (
        "attempt {attempt} to {acquirer}: STAN {link_stan}, DE 7 {transmission_time}[, DE 32 {de32}]"
        "[, DE 33 {de33}]",
        "第 {attempt} 次发往 {acquirer}：流水号 {link_stan}，域 7 {transmission_time}[，域 32 {de32}]"
        "[，域 33 {de33}]",
    ),
    "pin_translated": (
        "PIN block translated to the PIN key of {acquirer}, version {version}, check value {check_value}",
        "PIN 已转换到 {acquirer} 的 PIN 密钥，版本 {version}，校验值 {check_value}",
    ),
    "link_signed": (
        "message signed under the MAC key of {acquirer}, version {version}, check value {check_value}",
        "报文以 {acquirer} 的 MAC 密钥签名，版本 {version}，校验值 {check_value}",
    ),
    "answer_verified": (
        "MAC of the answer verified under a key of {acquirer} in force then: version {version}, check value"
        " {check_value}, or the one before it within its grace",
        "以 {acquirer} 当时有效的密钥验证应答 MAC：版本 {version}，校验值 {check_value}，或宽限期内的前一版本",
    ),
    "not_sent": (
        "attempt {attempt} certainly did not reach {acquirer}[: {reason}]",
        "第 {attempt} 次确定未发到 {acquirer}[：{reason}]",
    ),
    "rerouted": (
        "the next candidate: {acquirer}, by {rule}",
        "改走下一候选 {acquirer}，规则 {rule}",
    ),
    "answered": (
        "{acquirer} answers {response_code}[, authorisation code {auth_code}][, its RRN {acquirer_rrn}]",
        "{acquirer} 应答 {response_code}[，授权码 {auth_code}][，对方检索参考号 {acquirer_rrn}]",
    ),
    "no_answer": (
        "no answer of {acquirer} that counts in time: {rule}",
        "{acquirer} 未在时限内给出有效应答：{rule}",
    ),
    "outcome": (
        "outcome {state}, {response_code}, by {rule}[; approved {approved_amount} {currency}]",
        "结果：{state}，应答码 {response_code}，规则 {rule}[；批准金额 {approved_amount} {currency}]",
    ),
    "captured": (
        "captured effect {effect} {currency}",
        "入账金额 {effect} {currency}",
    ),
    "told": (
        "the terminal is told {response_code}[, authorisation code {auth_code}]",
        "答复终端 {response_code}[，授权码 {auth_code}]",
    ),
    "reversal_request": (
        "0400 of the terminal, reason {reason}: told {response_code}, by {rule}",
        "终端发起冲正 0400，原因 {reason}：答复 {response_code}，规则 {rule}",
    ),
    "reversal_queued": (
        "reversal {seq} queued: wanted by {origin}, reason {reason}",
        "冲正 {seq} 入队：来源 {origin}，原因 {reason}",
    ),
    "reversal_not_needed": (
        "reversal {seq} noted, wanted by {origin}, reason {reason}: nothing was sent that must be"
        " taken back",
        "记下冲正 {seq}，来源 {origin}，原因 {reason}：无已发送内容需要撤回",
    ),
    "capture_cancel": (
        "reversal {seq} cancels the captured effect",
        "冲正 {seq} 取消入账金额",
    ),
    "capture_opposite": (
        "reversal {seq} captures the opposite on the current date",
        "冲正 {seq} 在当前营业日入账反向金额",
    ),
    "repeat_queued": (
        "left to the queue, to be repeated until {acquirer} answers: STAN {link_stan}, DE 7"
        " {transmission_time}",
        "转入队列重发，直至 {acquirer} 应答：流水号 {link_stan}，域 7 {transmission_time}",
    ),
    "sent_again": (
        "{mti} to {acquirer}, try {try}: STAN {link_stan}, DE 7 {transmission_time}",
        "向 {acquirer} 发送 {mti}，第 {try} 次：流水号 {link_stan}，域 7 {transmission_time}",
    ),
    "delivered": (
        "{acquirer} answers the {kind} finally: {response_code}",
        "{acquirer} 对 {kind} 的最终应答：{response_code}",
    ),
    "given_up": (
        "the {kind} was given up: {acquirer} never answered it finally",
        "放弃发送 {kind}：{acquirer} 始终没有最终应答",
    ),
    "waiting": (
        "the {kind} still waits for {acquirer}",
        "{kind} 仍在等待 {acquirer}",
    ),
    "late_answer": (
        "answer to attempt {attempt} that does not count, {reason}: {response_code}"
        "[, {amount} {currency}][, authorisation code {auth_code}]",
        "第 {attempt} 次发送的应答不予采用（{reason}）：{response_code}"
        "[，{amount} {currency}][，授权码 {auth_code}]",
    ),
    "unmatched_answer": (
        "an answer of {acquirer} that counted for nothing and looks most like one to this, {reason}:"
        " {mti} {response_code}[, {detail}][; {differences}]",
        "{acquirer} 的一条未匹配应答，与本笔最接近（{reason}）：{mti} {response_code}[，{detail}]"
        "[；{differences}]",
    ),
    "follow_up": (
        "{type} {rrn} of {amount} {currency} follows: {state}",
        "后续交易 {type} {rrn}，{amount} {currency}：{state}",
    ),
    "batch_frozen": ("batch {batch} is being settled", "批次 {batch} 开始结算"),
    "batch_settled": (
        "batch {batch}: totals compared, result {result}",
        "批次 {batch} 对账，结果 {result}",
    ),
    "uploaded": (
        "uploaded with batch {batch}",
        "随批次 {batch} 批上送",
    ),
    "batch_closed": ("batch {batch} closed: {rule}", "批次 {batch} 关闭：{rule}"),
    "case_opened": ("case {case} opened: {kind}", "登记差错 {case}：{kind}"),
    # -- the books
    "capture_stands": (
        "capture {capture_id} of {effect} {currency} stands",
        "入账记录 {capture_id}，{effect} {currency}，有效",
    ),
    "record": (
        "clearing record {key}: {amount} {currency}, {state}, settles {settlement_date}",
        "清算记录 {key}：{amount} {currency}，{state}，清算日 {settlement_date}",
    ),
    "matched": (
        "{match_class} by {rule}/{version}[, row {row}][, {theirs} {currency}]",
        "{match_class}，规则 {rule}/{version}[，对方记录 {row}][，{theirs} {currency}]",
    ),
    "match_member": (
        "part of the match {match_id} by {rule}/{version}",
        "属于合并匹配 {match_id}，规则 {rule}/{version}",
    ),
    "not_matched": (
        "no row of a file is matched to {key} yet",
        "尚无清算文件记录与 {key} 匹配",
    ),
    "fee": (
        "merchant discount {discount} {currency} by plan {plan}/{version}[, card {card_type}]",
        "商户手续费 {discount} {currency}，方案 {plan}/{version}[，卡种 {card_type}]",
    ),
    "cost": (
        "cost: issuer {issuer}, network {network} {currency} by plan {plan}/{version}",
        "成本：发卡方 {issuer}，转接方 {network} {currency}，方案 {plan}/{version}",
    ),
    "share": (
        "share of agent {agent}: {share} {currency}, contract version {version}",
        "代理商 {agent} 分润 {share} {currency}，合同版本 {version}",
    ),
    "posted": (
        "posted {entry} by {rule}/{version}, {layer}: {postings} {currency}",
        "记账 {entry}，规则 {rule}/{version}，{layer}：{postings} {currency}",
    ),
    "net": (
        "part of {net} {currency} for merchant {merchant}, transactions of the date: {count}",
        "计入商户 {merchant} 当日净额 {net} {currency}，共 {count} 笔",
    ),
    "payout": (
        "payout order {order} of {amount} {currency} pays through {through}: batch {batch}, {state}",
        "付款指令 {order}，{amount} {currency}，付至 {through}：批次 {batch}，{state}",
    ),
    "payout_event": (
        "payout order {order} {kind}: statement line {statement}[, reason {reason}]",
        "付款指令 {order} {kind}：对账单行 {statement}[，原因 {reason}]",
    ),
    "case": (
        "case {case}, {kind}: {state}[, owner {owner}][, difference {difference} {currency}]",
        "差错 {case}，{kind}：{state}[，负责人 {owner}][，差额 {difference} {currency}]",
    ),
    "case_event": (
        "case {case} {kind} by {operator}[, checker {checker}]: {state}[. {text}]",
        "差错 {case} {kind}，操作员 {operator}[，复核 {checker}]：{state}[。{text}]",
    ),
    "case_resolved": (
        "case {case} resolved by a close: {reason}",
        "差错 {case} 由日终了结：{reason}",
    ),
    "dispute": (
        "dispute {dispute}: {state}, charged {charged} {currency}",
        "争议 {dispute}：{state}，已扣 {charged} {currency}",
    ),
    "dispute_event": (
        "dispute {dispute}, {event} by {by}: {state}, {amount} {currency}[, reason {reason}]"
        "[, deadline {deadline}]",
        "争议 {dispute}，{event}（{by}）：{state}，{amount} {currency}[，原因 {reason}][，期限 {deadline}]",
    ),
}

# On the diagram, above the arrow: a few words.
LABELS: dict[str, tuple[str, str]] = {
    "received": ("{mti} {type} {amount}", "{mti} {type} {amount}"),
    "mac_verified": ("MAC, keys {session_id}", "MAC，密钥组 {session_id}"),
    "versions": ("generation {generation}", "参数第 {generation} 代"),
    "decision": ("{name}", "{name}"),
    "original": ("original {rrn}", "原交易 {rrn}"),
    "check_failed": ("{rule}", "{rule}"),
    "checks_passed": ("checks passed", "检查通过"),
    "candidate": ("{acquirer}: {state}", "{acquirer}：{state}"),
    "routed": ("{rule}", "{rule}"),
    "passed_over": ("{acquirer}: {reason}", "{acquirer}：{reason}"),
    "recorded": ("request {request_id}", "请求 {request_id}"),
    "pin_translated": ("PIN, ZPK {version}", "PIN，ZPK {version}"),
    "link_signed": ("MAC, ZAK {version}", "MAC，ZAK {version}"),
    "attempt": ("{acquirer} STAN {link_stan}", "{acquirer} 流水号 {link_stan}"),
    "not_sent": ("not sent", "未发出"),
    "rerouted": ("second attempt", "第二次尝试"),
    "answered": ("{response_code}[ {auth_code}]", "{response_code}[ {auth_code}]"),
    "answer_verified": ("MAC of the answer", "应答 MAC"),
    "no_answer": ("no answer", "无应答"),
    "outcome": ("{state} {response_code}", "{state} {response_code}"),
    "captured": ("captured {effect}", "入账 {effect}"),
    "told": ("{response_code}[ {auth_code}]", "{response_code}[ {auth_code}]"),
    "reversal_request": ("0400, told {response_code}", "冲正 0400，答复 {response_code}"),
    "reversal_queued": ("reversal: {origin}", "冲正：{origin}"),
    "reversal_not_needed": ("reversal not needed", "无需冲正"),
    "capture_cancel": ("capture cancelled", "取消入账"),
    "capture_opposite": ("opposite captured", "反向入账"),
    "repeat_queued": ("to be repeated", "待重发"),
    "sent_again": ("{mti} try {try}, STAN {link_stan}", "{mti} 第 {try} 次，流水号 {link_stan}"),
    "delivered": ("{kind}: {response_code}", "{kind}：{response_code}"),
    "given_up": ("{kind} given up", "放弃 {kind}"),
    "waiting": ("{kind} waits", "{kind} 等待中"),
    "late_answer": ("late: {response_code}[ {auth_code}]", "迟到：{response_code}[ {auth_code}]"),
    "unmatched_answer": ("{reason}: {mti} {response_code}", "{reason}：{mti} {response_code}"),
    "follow_up": ("{type} {rrn}", "{type} {rrn}"),
    "batch_frozen": ("0500 batch {batch}", "0500 批次 {batch}"),
    "batch_settled": ("0510 result {result}", "0510 结果 {result}"),
    "uploaded": ("0320", "批上送 0320"),
    "batch_closed": ("batch closed", "批次关闭"),
    "case_opened": ("case {kind}", "差错 {kind}"),
}

LANES: dict[str, tuple[str, str]] = {
    "terminal": ("terminal", "终端"),
    "switch": ("switch", "交换"),
    "vault": ("vault", "加密机"),
    "store": ("store", "数据库"),
    "bank": ("bank", "银行"),
}

# Names that are stored, and have a word of their own.
NAMES: dict[str, tuple[str, str]] = {
    "in_flight": ("in flight", "处理中"),
    "pending": ("pending", "待银行应答"),
    "approved": ("approved", "批准"),
    "declined": ("declined", "银行拒绝"),
    "refused": ("refused", "本方拒绝"),
    "unknown": ("unknown", "结果未知"),
    "reversed": ("reversed", "已冲正"),
    "reversal": ("reversal", "冲正"),
    "repeat": ("repeat", "重发"),
    "terminal": ("terminal", "终端"),
    "time_out": ("time-out", "超时"),
    "recovery": ("recovery", "故障恢复"),
    "late_approval": ("late approval", "迟到的批准"),
    "rule": ("rule", "规则"),
    "late": ("late", "迟到"),
    # of a case
    "open": ("open", "待处理"),
    "assigned": ("assigned", "已分派"),
    "proposed": ("proposed", "待复核"),
    "disputed": ("with the network", "差错处理中"),
    "ended": ("ended", "已了结"),
    "mac": ("MAC wrong", "MAC 错"),
    "mismatch": ("mismatch", "内容不符"),
    # of a link among the candidates for a request
    "taken": ("taken", "选用"),
    "spare": ("in reserve", "备用"),
    "passed_over": ("passed over", "跳过"),
    # why a link was passed over, or nothing was sent
    "attempts_max": ("attempts at their bound", "尝试次数已达上限"),
    "backpressure": ("it takes no bytes", "对端不收数据"),
    "circuit_open": ("circuit open", "熔断"),
    "connection_gone": ("the connection closed", "连接已断开"),
    "connection_in_flight_max": ("every connection has as much as it may", "各连接在途数已达上限"),
    "connection_not_usable": ("the connection took nothing more", "连接不再接收请求"),
    "draining": ("we are stopping", "本进程正在退出"),
    "encode": ("its dialect can not say this", "其报文格式无法表达"),
    "gone": ("taken out of the reference data", "已从参数中移除"),
    "in_flight_max": ("as much in flight as it may have", "在途数已达上限"),
    "in_flight_twice": ("its numbers are in flight", "其流水号在途"),
    "internal": ("an error of our own", "本系统内部错误"),
    "link_down": ("not signed on", "未签到"),
    "no_link": ("no such link here", "本节点无此线路"),
    "no_numbers": ("no numbers are left", "流水号用尽"),
    "queue_full": ("its queue is at its bound", "其存储转发队列已满"),
    "send_by_passed": ("the time to send was over", "已过发送时限"),
    "unmatched": ("no match", "无匹配请求"),
    "twice": ("came twice", "重复应答"),
    "undecodable": ("unreadable", "无法解析"),
}

WORDS: dict[str, tuple[str, str]] = {
    "title": (
        "{type} {amount} {currency}: {state}",
        "{type} {amount} {currency}：{state}",
    ),
    "diagram": ("On the wire", "报文往来"),
    "timeline": ("Timeline", "时间线"),
    "books": ("In the books", "账务"),
    "message": ("The request, as it is kept", "留存的请求报文"),
    "stages": ("Where the time went", "各阶段耗时"),
    "stages_of": (
        "decoded {decode_us} us, checked {check_us} us, recorded {commit1_us} us, sent {send_us} us,"
        " bank {acquirer_us} us, outcome stored {commit2_us} us, answered {reply_us} us,"
        " in all {total_us} us",
        "解码 {decode_us} 微秒，检查 {check_us} 微秒，记录 {commit1_us} 微秒，发送 {send_us} 微秒，"
        "银行 {acquirer_us} 微秒，存结果 {commit2_us} 微秒，应答 {reply_us} 微秒，合计 {total_us} 微秒",
    ),
    "stages_none": (
        "not in the logs of this node that are kept",
        "本节点留存的日志中没有",
    ),
    "chain": ("The same sale", "同一笔消费的其他交易"),
    "chain_of": (
        "{type} {rrn} (request {request_id}) of {amount} {currency}: {state}",
        "{type} {rrn}（请求 {request_id}），{amount} {currency}：{state}",
    ),
    "not_recorded": ("Not recorded", "未记录"),
    "vault_calls": (
        "calls to the vault by themselves: those above follow from the key set, from whether there was a PIN, and"
        " from the keys that were in force",
        "对加密机的逐次调用：以上各次由密钥组、是否有 PIN 及当时有效的密钥得出",
    ),
    "first_send_time": (
        "when the first attempt left: it stands at the instant of its request",
        "首次发送的时刻：以收到请求的时刻计",
    ),
    "terminal_answer_time": (
        "when the terminal's answer left: it stands at the instant of the decision",
        "答复终端的时刻：以作出结果的时刻计",
    ),
    "terminal_repeats": (
        "repeats by the terminal, which got the stored answer",
        "终端的重发（得到原应答）",
    ),
    "identity": (
        "RRN {rrn}, request {request_id}; merchant {merchant}, terminal {terminal}, batch {batch},"
        " trace {stan}",
        "检索参考号 {rrn}，请求 {request_id}；商户 {merchant}，终端 {terminal}，批次 {batch}，"
        "流水号 {stan}",
    ),
    "dates": (
        "business date {business_date}[, settlement date {settlement_date}]",
        "营业日 {business_date}[，清算日 {settlement_date}]",
    ),
    "masked": (
        "Card numbers are masked. Times are UTC.",
        "卡号已屏蔽。时间为 UTC。",
    ),
    "nothing": ("nothing yet", "暂无"),
}

TEXTS: dict[str, tuple[str, str]] = {
    "help_explain": (
        "One transaction's whole life, out of what was stored.",
        "一笔交易的全过程（据存储记录）。",
    ),
    "help_arg_explain": (
        "RRN, request id, case, dispute, clearing record (c1, r1) or entry SOURCE/KEY.",
        "检索参考号、请求编号、差错、争议、清算记录（c1、r1）或分录 来源/键。",
    ),
    "help_opt_trace": ("DE 11 of the terminal.", "终端流水号（域 11）。"),
    "help_opt_batch_number": ("DE 60.2.", "批次号（域 60.2）。"),
    "help_opt_link_stan": ("DE 11 on a link.", "联机侧流水号（域 11）。"),
    "help_opt_transmission_time": ("DE 7 on a link, MMDDhhmmss.", "联机侧域 7，MMDDhhmmss。"),
    "help_opt_of_acquirer": ("Name of the link.", "联机（收单侧）名称。"),
    "help_opt_auth_code": ("DE 38; give --date, too.", "授权码（域 38）；请同时给出 --date。"),
    "help_opt_html": ("Write one self-contained page.", "写出独立网页文件。"),
    "explain_no_key": (
        "give a key: an RRN, a request id, a case … or options such as --terminal and --trace",
        "请给出一个键：检索参考号、请求编号、差错……或 --terminal、--trace 等选项",
    ),
    "explain_bad_key": (
        "{key} is no RRN (12 characters), request id, case, dispute, clearing record or entry",
        "{key} 不是检索参考号（12 位）、请求编号、差错、争议、清算记录或分录",
    ),
    "explain_bad_option": (
        "{option} is {what}, not {value}",
        "{option} 应为 {what}，而不是 {value}",
    ),
    "explain_nothing": (
        "no transaction. Looked in: {places}",
        "没有找到交易。已查找：{places}",
    ),
    "explain_several": (
        "{count} transactions; narrow with {options}",
        "共 {count} 笔；可用 {options} 缩小范围",
    ),
    "explain_more": (
        "more than {count} transactions, the first are listed; narrow with {options}",
        "超过 {count} 笔，仅列出前面的；可用 {options} 缩小范围",
    ),
    "explain_written": ("written to {path}", "已写入 {path}"),
}
