# ruff: noqa: RUF001 - full-width punctuation is how Chinese is written
"""What operators read, in English and Chinese. Keys, log events and JSON stay in English."""

from __future__ import annotations

from typing import Any

from switch.certify import texts as certify_texts
from switch.device import texts as device_texts
from switch.explain import texts as explain_texts
from switch.replay import texts as replay_texts
from switch.upkeep import texts as upkeep_texts

LANGUAGES = ("en", "zh")

TEXTS: dict[str, tuple[str, str]] = {
    **certify_texts.TEXTS,
    **device_texts.TEXTS,
    **explain_texts.TEXTS,
    **replay_texts.TEXTS,
    **upkeep_texts.TEXTS,
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
    "already_serving": (
        "another `tongbao serve` (process {pid}) uses {path}",
        "另一个 `tongbao serve`（进程 {pid}）正在使用 {path}",
    ),
    "not_bound": ("{host}:{port} can not be bound: {reason}", "无法绑定 {host}:{port}：{reason}"),
    "certificate_unusable": (
        "TLS can not be served at {reason}",
        "无法提供 TLS：{reason}",
    ),
    "open_files_too_few": (
        "only {files} open files are allowed a process; at least {least} are needed: raise the hard limit"
        " (ulimit -Hn, LimitNOFILE=)",
        "每个进程只允许打开 {files} 个文件，至少需要 {least} 个：请提高硬限制（ulimit -Hn、LimitNOFILE=）",
    ),
    "connections_lowered": (
        "server.connections is lowered from {wanted} to {connections}: only {files} open files are allowed a"
        " process. For all, raise the hard limit to {enough} (ulimit -Hn, LimitNOFILE=)",
        "server.connections 由 {wanted} 降为 {connections}：每个进程只允许打开 {files} 个文件。"
        "要全部可用，请将硬限制提高到 {enough}（ulimit -Hn、LimitNOFILE=）",
    ),
    "workers_failed": (
        "workers ended {times} times before they were ready; see {log}",
        "工作进程在就绪前已退出 {times} 次；请查看 {log}",
    ),
    "store_awaited": ("waiting for the store: {reason}", "等待数据库：{reason}"),
    "not_recorded": (
        "that the node stopped is not in the audit log: {reason}",
        "节点停止未能记入审计日志：{reason}",
    ),
    "vault_refuses": (
        "the vault can not serve this node; `hsm.device` says which vault, docs/hsm.md what each can do:",
        "加密机无法为本节点提供服务；`hsm.device`指明所用加密机，各加密机的能力见docs/hsm.md：",
    ),
    "device_away": (
        "no HSM answers: {reason}. Start it, or correct hsm.device",
        "加密机无应答：{reason}。请启动加密机或更正hsm.device",
    ),
    "device_terminals": (
        "  terminal {terminal} and {others} more (profile {profile}): {reason}",
        "  终端{terminal}等（另有{others}台，参数模板{profile}）：{reason}",
    ),
    "device_link": ("  link {link}: {reason}", "  线路{link}：{reason}"),
    "key_of_another_vault": (
        "  the newest {usage} of {owner} and {others} more are of another vault (LMK {lmk_id}): move them,"
        " see docs/hsm.md, Moving keys between vaults",
        "  {owner}等（另有{others}个）最新的{usage}属于另一加密机（主密钥{lmk_id}）：请迁移，见docs/hsm.md"
        "“Moving keys between vaults”一节",
    ),
    "store_failed": ("the store can not be used: {reason}", "数据库不可用：{reason}"),
    "interrupted": ("interrupted", "已中断"),
    "close_interrupted": (
        "interrupted: the close of {date} is not complete. Run the same command again: what is done"
        " stays done, and it goes on after the last step that was finished",
        "已中断：{date} 的日终尚未完成。请再次运行同一命令：已完成的步骤不变，从最后完成的步骤之后继续",
    ),
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
    "init_no_passphrase": (
        "give the passphrase with --passphrase-fd or at a terminal, or --shares K/N",
        "请用 --passphrase-fd 或在终端输入口令，或使用 --shares K/N",
    ),
    "again": ("once more", "再输入一次"),
    "not_the_same": ("the two differ", "两次输入不一致"),
    # -- reference data and keys
    "not_found": ("no {kind} {key}", "没有 {kind} {key}"),
    "unchanged": ("nothing changed", "没有变化"),
    "applied": ("{kind} {key}: version {version}", "{kind} {key}：版本 {version}"),
    "component_refused": (
        "--{option} is there with --demo only, for nobody may hold all components of a key; leave it out: "
        "`tongbao keys import` asks each custodian for his own",
        "--{option} 仅限 --demo：任何人不得持有一把密钥的全部分量；请省略它，由 `tongbao keys import` 逐一询问各保管人",
    ),
    "key_stored": (
        "{owner} {usage}: version {version}, check value {check_value}",
        "{owner} {usage}：版本 {version}，校验值 {check_value}",
    ),
    "key_refused": ("the key was refused: {reason}", "密钥被拒绝：{reason}"),
    "share": ("share of a custodian (empty: no more)", "保管人份额（空行结束）"),
    "key_waits": (
        "{owner} {usage}: version {version}, check value {check_value}; it waits until `tongbao keys activate`",
        "{owner} {usage}：版本 {version}，校验值 {check_value}；待 `tongbao keys activate` 后启用",
    ),
    "key_ended": ("{key} has ended", "{key} 已停用"),
    "key_overtaken": (
        "version {newer} is in force: {key} comes too late; make a new one",
        "版本 {newer} 已生效：{key} 已过时，请重新生成",
    ),
    "key_active": (
        "{owner} {usage}: version {version} is in force",
        "{owner} {usage}：版本 {version} 已生效",
    ),
    "key_retired": (
        "{owner} {usage}: version {version} has ended",
        "{owner} {usage}：版本 {version} 已停用",
    ),
    "key_in_use": (
        "{key} is the one in use: make or activate the next one first, or give --in-use to be without",
        "{key} 正在使用：请先生成或启用下一个，或用 --in-use 表示不再需要",
    ),
    "retire_older_first": (
        "without {key} version {older} would be used again: retire that first",
        "停用 {key} 后会重新使用版本 {older}：请先停用该版本",
    ),
    "data_key_stays": (
        "data keys do not end: what they encrypted is still read with them",
        "数据密钥不可停用：已加密的数据仍需用其读取",
    ),
    "under_zmk_use": (
        "--under-zmk: for a ZPK, ZAK or TMK, with the --link whose ZMK it is under, and without components",
        "--under-zmk：用于 ZPK、ZAK 或 TMK，须用 --link 指明其 ZMK 所属链路，且不可同时给出分量",
    ),
    "export_proposed": (
        "{proposal} waits for a second person, who is shown {subject}: `tongbao approval approve {proposal}`",
        "{proposal} 待第二人批准，批准后向其显示 {subject}：`tongbao approval approve {proposal}`",
    ),
    "exported": (
        "{key} under ZMK version {zmk} ({zmk_check_value}); check value {check_value}",
        "{key}，以 ZMK 版本 {zmk}（{zmk_check_value}）加密；校验值 {check_value}",
    ),
    "rotate_what": (
        "give --lmk, or --link and --usage",
        "请给出 --lmk，或者 --link 与 --usage",
    ),
    # -- custodians
    "custodian_component": (
        "custodian {number} of {count}, who brings a component",
        "第 {number} 位分量保管人（共 {count} 位）",
    ),
    "custodian_share": (
        "custodian {number} of {count}, who brings a share",
        "第 {number} 位份额保管人（共 {count} 位）",
    ),
    "custodian_holder": (
        "custodian {number} of {count}, who is to keep one",
        "第 {number} 位接收保管人（共 {count} 位）",
    ),
    "custodian_unnamed": (
        "a custodian has a name of 1 to 64 printable characters",
        "保管人须有 1 至 64 个可显示字符的姓名",
    ),
    "component_not_hex": ("a component is hex digits", "分量须为十六进制数字"),
    "component_length": (
        "a component has {lengths} bytes, not {found}",
        "分量长度须为 {lengths} 字节，而不是 {found} 字节",
    ),
    "component_twice": (
        "two custodians entered the same component",
        "两位保管人输入了相同的分量",
    ),
    "custodian_twice": (
        "{custodian} had a turn: every part is another person's",
        "{custodian} 已经操作过：每一份须由不同的人负责",
    ),
    "custodian_unknown": (
        "{custodian} is no active operator of this store",
        "{custodian} 不是本库的有效操作员",
    ),
    "enter_component": ("component of {custodian}, in hex", "{custodian} 的分量（十六进制）"),
    "enter_share": ("share of {custodian}", "{custodian} 的份额"),
    "enter_check_value": (
        "check value on the paper of {custodian}",
        "{custodian} 纸上的校验值",
    ),
    "check_value_agreed": (
        "{custodian}: check value {check_value} agrees",
        "{custodian}：校验值 {check_value} 一致",
    ),
    "check_value_differs": (
        "the check value {custodian} reads is not that of what was entered or shown: look at every digit again",
        "{custodian} 读出的校验值与输入或显示的内容不符：请逐位核对",
    ),
    "for_custodian": (
        "for {custodian} alone, shown once; nobody else looks",
        "仅供 {custodian}，只显示一次，他人回避",
    ),
    "its_check_value": ("  check value {check_value}", "  校验值 {check_value}"),
    "written_down": (
        "{custodian}: Enter when it is written down; the screen is cleared",
        "{custodian}：抄好后按回车，屏幕随即清除",
    ),
    "component_typed": ("component in hex", "分量（十六进制）"),
    "script_line": (
        "--from-fd: line {line} is not a JSON object with what this step asks of its custodian",
        "--from-fd：第 {line} 行不是本步骤所需的 JSON 对象",
    ),
    "script_ended": (
        "--from-fd: no line {line}: one a custodian, in the order they are asked",
        "--from-fd：缺少第 {line} 行：按询问顺序每位保管人一行",
    ),
    "log_broken": (
        "{path}: line {line} is not what was written ({reason}); keep the file, find out why, and begin"
        " another by moving this one away",
        "{path}：第 {line} 行与写入时不符（{reason}）；请保留该文件并查明原因，移开后方可另起新日志",
    ),
    "ceremony_runs": (
        "another ceremony at {path} has not ended",
        "{path} 的另一次仪式尚未结束",
    ),
    "log_not_written": (
        "{path}: no room for a line; nothing was done",
        "{path}：无法写入日志，操作未执行",
    ),
    "log_torn": (
        "line {line} was never finished, and its act was not done",
        "第 {line} 行未写完，其操作未执行",
    ),
    "log_intact": (
        "{lines} lines stand; anchor {anchor}",
        "{lines} 行完好；锚点 {anchor}",
    ),
    "log_anchor": (
        "note the anchor of the ceremony log on paper: {anchor}",
        "请在纸上记下仪式日志的锚点：{anchor}",
    ),
    "anchor_form": ("--anchor: NUMBER:HASH, as it was noted", "--anchor：NUMBER:HASH，即所记锚点"),
    # -- another LMK
    "generate_needs_shares": (
        "--generate: with --shares K/N; sealed by a passphrase alone, `tongbao init` makes one",
        "--generate 须与 --shares K/N 一起使用；仅用口令封存请用 `tongbao init`",
    ),
    "components_range": (
        "--components: {least} to {most}",
        "--components：{least} 至 {most}",
    ),
    "former_not_retired": (
        "LMK {lmk_id} is not retired yet: `tongbao keys rotate --lmk`, then `tongbao keys retire --lmk {lmk_id}`",
        "主密钥 {lmk_id} 尚未停用：请先 `tongbao keys rotate --lmk`，再 `tongbao keys retire --lmk {lmk_id}`",
    ),
    "lmk_made": (
        "LMK {lmk_id}: every custodian notes this check value",
        "主密钥 {lmk_id}：请各保管人记下此校验值",
    ),
    "lmk_sealed": ("LMK {lmk_id} sealed into {path}", "主密钥 {lmk_id} 已封存到 {path}"),
    "lmk_next_step": (
        "LMK {lmk_id} takes over from {former}. On every other node put this file in place and run `tongbao"
        " keys ceremony admit`; then `tongbao keys rotate --lmk`, then `tongbao keys retire --lmk {former}`",
        "主密钥 {lmk_id} 接替 {former}。其他节点请放置此文件并运行 `tongbao keys ceremony admit`；"
        "然后 `tongbao keys rotate --lmk`，最后 `tongbao keys retire --lmk {former}`",
    ),
    "old_copies": (
        "the former shares still open former copies of the file: destroy those, backups too",
        "原份额仍可打开旧文件：请销毁旧文件及其备份",
    ),
    "no_node_runs": ("no node runs on {data}", "{data} 上没有节点在运行"),
    "node_is_told": (
        "the node is told; requests in flight end first",
        "正在通知节点；处理中的交易先完成",
    ),
    "node_not_told": (
        "the node was not told ({reason}): run `tongbao keys ceremony admit`, or start it again",
        "未能通知节点（{reason}）：请运行 `tongbao keys ceremony admit`，或重新启动节点",
    ),
    "workers_waiting": (
        "worker {workers} has not followed yet: run `tongbao keys ceremony admit` again",
        "工作进程 {workers} 尚未切换：请再次运行 `tongbao keys ceremony admit`",
    ),
    "node_follows": (
        "the node opens keys under {lmk_ids}",
        "节点现可打开以 {lmk_ids} 加密的密钥",
    ),
    "rotating": (
        "{keys} keys, {sessions} key sets of terminals",
        "已处理 {keys} 个密钥、{sessions} 组终端工作密钥",
    ),
    "rotated": (
        "under LMK {lmk_id}: {keys} keys, {sessions} key sets of terminals; {erased} superseded key sets erased",
        "已改用主密钥 {lmk_id}：{keys} 个密钥、{sessions} 组终端工作密钥；清除过期密钥组 {erased} 个",
    ),
    "keys_left": (
        "{keys} keys and {sessions} key sets are still under another LMK: run it again",
        "仍有 {keys} 个密钥、{sessions} 组工作密钥使用其他主密钥：请再次运行",
    ),
    "keys_under": (
        "{keys} keys and {sessions} key sets are, or may be, under LMK {lmk_id}: `tongbao keys rotate --lmk` first",
        "仍有（或可能有）{keys} 个密钥、{sessions} 组工作密钥使用主密钥 {lmk_id}：请先 `tongbao keys rotate --lmk`",
    ),
    "lmk_not_held": (
        "node {node}, worker {worker} can not open keys under LMK {lmk_id} yet: there, put the sealed file in"
        " place and run `tongbao keys ceremony admit`",
        "节点 {node} 的工作进程 {worker} 尚不能使用主密钥 {lmk_id}：请在该节点放置封存文件并运行"
        " `tongbao keys ceremony admit`",
    ),
    "lmk_retired": (
        "LMK {lmk_id} is gone from {path}; on every other node run the same, and destroy copies and backups",
        "主密钥 {lmk_id} 已从 {path} 移除；请在其他节点执行同样命令，并销毁其副本和备份",
    ),
    "lmk_of_the_demo": (
        "the demo works with the public test LMK and stays with it",
        "演示使用公开的测试主密钥，不可更换",
    ),
    "lmk_not_former": (
        "that is the LMK this node works with, not the one before it",
        "这是本节点正在使用的主密钥，不是前一个",
    ),
    "lmk_not_following": (
        "that LMK does not take over from the one this node works with",
        "该主密钥不是接替本节点当前主密钥的那一个",
    ),
    # -- people
    "operator_missing": (
        "who are you? --operator ID or TONGBAO_OPERATOR",
        "请用 --operator 或 TONGBAO_OPERATOR 指明操作员",
    ),
    "no_operators": (
        "there is no operator yet: `tongbao operator bootstrap ID`, or try with --demo",
        "尚无操作员：请先运行 `tongbao operator bootstrap 操作员号`，或用 --demo 试用",
    ),
    "not_of_the_demo": ("--demo has the operators {names}", "--demo 只有操作员 {names}"),
    "demo_refused": (
        "this store is not one of the demo: it has operators, or keys under another LMK",
        "此数据库不是演示库：已有操作员，或密钥不在测试主密钥之下",
    ),
    "operator_password": ("password", "口令"),
    "operator_totp": ("six-digit code", "六位动态码"),
    "not_asked": ("not at a terminal: give {option}", "不在终端上：请给出 {option}"),
    "ssh_agent_missing": (
        "no SSH agent: SSH_AUTH_SOCK is not set",
        "没有 SSH 代理：SSH_AUTH_SOCK 未设置",
    ),
    "ssh_agent_refused": ("the SSH agent did not sign: {reason}", "SSH 代理未签名：{reason}"),
    "login_wrong": (
        "{operator}: password, code or signature is wrong",
        "{operator}：口令、动态码或签名有误",
    ),
    "login_replayed_code": (
        "{operator}: this code, or a later one, was used already; wait for the next",
        "{operator}：该动态码或其后的动态码已用过，请等下一个",
    ),
    "login_locked": (
        "{operator} is locked out until {until}",
        "{operator} 已锁定，至 {until}",
    ),
    "login_suspended": ("{operator} is suspended", "{operator} 已停用"),
    "login_other_credential": (
        "{operator} has no such credential; who is new enrols first: `tongbao operator enrol {operator}`",
        "{operator} 没有此类凭证；新操作员请先运行 `tongbao operator enrol {operator}`",
    ),
    "login_expired": (
        "the enrolment code of {operator} has expired: have a new one approved",
        "{operator} 的登记码已过期：请重新申请",
    ),
    "password_length": (
        "a password has {least} characters at least",
        "口令至少 {least} 个字符",
    ),
    "new_password": ("new password", "新口令"),
    "totp_secret": ("for the authenticator application: {uri}", "动态码应用请登记：{uri}"),
    "totp_refused": (
        "that is not the code of this secret; check the clocks, then begin again",
        "动态码不符；请核对时钟后重新开始",
    ),
    "terminal_needed": ("only at a terminal", "只能在终端上执行"),
    "operator_made": ("operator {operator}: {roles}", "操作员 {operator}：{roles}"),
    "operator_known": ("there is an operator {key} already", "操作员 {key} 已存在"),
    "operator_id_refused": (
        "{operator}: an id is a to z, then also 0 to 9 . _ -, 32 characters at most",
        "{operator}：操作员号以 a 至 z 开头，其后可用 0 至 9 . _ -，最多 32 个字符",
    ),
    "roles_refused": ("--role: one or more of {roles}", "--role：一个或多个：{roles}"),
    "operator_suspended": ("operator {operator} is suspended", "操作员 {operator} 已停用"),
    "operator_unlocked": ("operator {operator} may try again", "操作员 {operator} 已解锁"),
    "bootstrap_over": (
        "there are two admins already, or one of this id: `tongbao operator add`",
        "已有两名管理员，或该操作员号已存在：请用 `tongbao operator add`",
    ),
    "bootstrap_in_the_demo": (
        "this data folder is under the public test LMK (`--demo`), which has operators of its own: "
        "make another with `tongbao init`",
        "此数据目录使用公开测试 LMK（`--demo`），已有演示操作员：请用 `tongbao init` 另建",
    ),
    "enrolment_code": (
        "enrolment code for {operator}, shown once, to be handed over in person: {code}",
        "{operator} 的登记码（仅显示一次，请当面交付）：{code}",
    ),
    "enrolment_code_asked": ("enrolment code", "登记码"),
    "credential_chosen": ("{operator} has a new credential", "{operator} 的凭证已更新"),
    "proposed": (
        "{proposal} waits for a checker (`tongbao approval show {proposal}`)",
        "{proposal} 待复核（`tongbao approval show {proposal}`）",
    ),
    "approve_this": ("approve this", "确认复核通过"),
    "approved": ("{proposal} is approved", "{proposal} 已复核通过"),
    "withdrawn": ("{proposal} is withdrawn", "{proposal} 已撤回"),
    "not_pending": ("{proposal} is not pending", "{proposal} 不在待复核状态"),
    "act_unknown": (
        "nothing here does {act}: another release has proposed it",
        "本版本不支持 {act}：该申请由其他版本提出",
    ),
    "audit_intact": (
        "{count} records, none broken; anchor {anchor}",
        "共 {count} 条记录，链完整；锚点 {anchor}",
    ),
    "audit_changed": ("record {seq} was changed", "第 {seq} 条记录被篡改"),
    "audit_rehashed": (
        "record {seq} was changed, its hash with it",
        "第 {seq} 条记录连同其散列值被篡改",
    ),
    "audit_missing": ("record {seq} is missing", "第 {seq} 条记录缺失"),
    "audit_twice": ("record {seq} stands twice", "第 {seq} 条记录重复"),
    "audit_not_the_anchor": (
        "record {seq} is not the one whose anchor was noted: it, or one before it, was replaced",
        "第 {seq} 条记录与所记锚点不符：该条或其之前的记录被替换",
    ),
    "account_proposed": (
        "merchant {subject}: another settlement account takes two; {proposal} waits for a checker"
        " (`tongbao approval show {proposal}`)",
        "商户 {subject}：变更结算账户须复核；{proposal} 待复核（`tongbao approval show {proposal}`）",
    ),
    "ours_proposed": (
        "bank account {subject}: takes two; {proposal} waits for a checker"
        " (`tongbao approval show {proposal}`)",
        "银行账户 {subject}：须复核；{proposal} 待复核（`tongbao approval show {proposal}`）",
    ),
    "proposal_overtaken": (
        "{proposal}: what it would change has changed since; propose it again",
        "{proposal}：待变更内容已改变，请重新提出",
    ),
    # -- cases and disputes
    "case_now": ("{case}: {state}, owner {owner}", "{case}：{state}，负责人 {owner}"),
    "case_pending": (
        "not one proposal is pending on {case}, but: {proposals}; see `tongbao approval list`",
        "{case} 没有唯一的待复核提请：{proposals}；请查看 `tongbao approval list`",
    ),
    "overtaken": (
        "overtaken: what it rests on has changed; withdraw it",
        "已失效：所依据的情况已变动，请撤回",
    ),
    "case_changed": (
        "somebody was first ({case}): look again",
        "已有他人先行处理（{case}）：请重新查看",
    ),
    "close_under_way": ("{reason}: try again", "{reason}：请稍后再试"),
    "dispute_now": (
        "{dispute}: {state}, until {deadline}",
        "{dispute}：{state}，期限 {deadline}",
    ),
    # -- help
    "help_tongbao": (
        "Tongbao: POS payment switch and settlement engine.",
        "通宝：POS 支付交换与清结算系统。",
    ),
    "help_init": (
        "Make an LMK, sealed into its file, and a data folder.",
        "生成主密钥（封存到文件）并建立数据目录。",
    ),
    "inspect_two": (
        "compare two messages: tongbao inspect --diff A B",
        "请给出两条报文：tongbao inspect --diff A B",
    ),
    "inspect_no_file": (
        "{path}: no such file, and no hex or base64 of a message",
        "{path}：没有该文件，也不是报文的十六进制或base64",
    ),
    "inspect_kinds": ("no such kind; there are {known}", "没有该类型；可用：{known}"),
    "inspect_line": ("line", "行"),
    "inspect_lines_left_out": (
        "the rest is left out: {count} lines are shown at most",
        "其余省略：最多显示{count}行",
    ),
    "inspect_column": ("column", "列"),
    "inspect_field": ("field", "字段"),
    "inspect_format": ("format", "格式"),
    "inspect_value": ("value", "值"),
    "inspect_meaning": ("meaning", "含义"),
    "diff_none": ("no element differs", "各域均相同"),
    "diff_name": ("name", "名称"),
    "diff_change": ("change", "变化"),
    "diff_added": ("added", "新增"),
    "diff_removed": ("removed", "缺失"),
    "diff_changed": ("changed", "变更"),
    "help_serve": (
        "Start the node and stay; Ctrl-C or SIGTERM drains it.",
        "启动节点并保持运行；Ctrl-C 或 SIGTERM 时排空退出。",
    ),
    "help_demo": (
        "A whole day with simulated terminals and banks, then the day's end.",
        "用模拟终端与银行跑完一天交易，并完成日终。",
    ),
    "help_inspect": (
        "Why does it not parse? Explain messages: hex, dumps, base64, files, captures; `-` reads stdin.",
        "报文为何无法解析？可读十六进制、转储、base64、文件、抓包；`-` 表示标准输入。",
    ),
    "help_merchant": ("Merchants.", "商户。"),
    "help_terminal": ("Terminals.", "终端。"),
    "help_data": ("Reference data as a file.", "以文件管理参数数据。"),
    "help_keys": ("Keys of links, kept under the LMK.", "链路密钥（以主密钥加密保存）。"),
    "help_journal": ("The journal of transactions.", "交易流水。"),
    "help_close": ("The day's end of a business date.", "某营业日的日终处理。"),
    "help_ledger": (
        "The ledger: balances, statements, trial balance, and whether it is whole.",
        "总账：余额、明细账、试算平衡表，以及完整性校验。",
    ),
    "help_ledger_accounts": (
        "The chart of accounts, with subtotals and limits.",
        "会计科目表，含汇总科目与余额限制。",
    ),
    "help_ledger_rules": (
        "The posting rules, every version: what of a record counts on which account.",
        "记账规则及其各版本：记录的哪一项记入哪个科目。",
    ),
    "help_ledger_balance": (
        "An account's balances, now or at the end of a date.",
        "某科目的余额：当前，或某营业日终了时。",
    ),
    "help_ledger_statement": (
        "What moved an account, entry by entry, with the balance after each.",
        "某科目的逐笔明细及每笔之后的余额。",
    ),
    "help_ledger_trial": (
        "Opening, debit, credit and closing of every account; sums to zero.",
        "各科目的期初、借方、贷方、期末；合计为零。",
    ),
    "help_ledger_entry": ("One entry with its postings.", "一笔分录及其各条记账。"),
    "help_ledger_propose_entry": (
        "Propose an entry by hand on accounts that take it; a second operator approves.",
        "提交手工记账凭证（仅限可手工记账的科目），须另一人复核。",
    ),
    "help_ledger_propose_reversal": (
        "Propose to undo an entry by hand: one linked entry of the opposite amounts.",
        "提交红字冲销：以一笔金额相反的关联分录冲销手工凭证。",
    ),
    "help_ledger_approve_entry": (
        "Let through what is proposed of a voucher, as its checker.",
        "复核并过账手工凭证。",
    ),
    "help_ledger_vouchers": (
        "Entries by hand: why, on what evidence, by whom.",
        "手工凭证：事由、依据、经办与复核。",
    ),
    "help_arg_voucher": (
        "Number of the voucher: letters, digits, . _ -, at most 35; once only.",
        "凭证号：字母、数字与 . _ -，至多 35 位，不可重复。",
    ),
    "help_opt_debit": (
        "ACCOUNT=AMOUNT or ACCOUNT/OWNER=AMOUNT, in minor units; several times.",
        "借方：科目=金额 或 科目/归属=金额，以最小货币单位计，可多次给出。",
    ),
    "help_opt_credit": ("The same of the credit side.", "贷方，写法同借方。"),
    "help_opt_voucher_reason": ("Why the entry is made.", "记账事由。"),
    "help_opt_voucher_evidence": (
        "Where the proof lies: a document's number, a file's hash.",
        "依据：文件编号或文件摘要。",
    ),
    "help_opt_voucher_date": (
        "Date that the entry is about, YYYY-MM-DD; default: today.",
        "凭证所涉日期，YYYY-MM-DD；默认今日。",
    ),
    "voucher_pending": (
        "not one proposal of voucher {voucher} waits, but: {proposals}",
        "凭证 {voucher} 待复核的提案不止一项或没有：{proposals}",
    ),
    "voucher_posted": (
        "{source} {key} is posted on {day}",
        "{source} {key} 已记入 {day}",
    ),
    "help_ledger_anchors": (
        "The sealed dates, each with the hash that the ledger up to it rests on.",
        "已封存的营业日，各附总账截至该日的锚定摘要。",
    ),
    "help_ledger_verify": (
        "Hold every entry, link, anchor and balance against each other; 1 where one does not hold.",
        "逐笔核对分录、链节、锚与余额；任何一处不符则返回 1。",
    ),
    "help_arg_account": ("Account of the chart.", "科目代码。"),
    "help_arg_source": ("Source of the entry, such as captured.", "分录来源，如 captured。"),
    "help_arg_key": ("Its key there.", "分录在来源中的键。"),
    "help_opt_owner": (
        "Whom the account is kept by: a merchant, an agent, acquirer/date.",
        "科目的归属：商户、代理商、收单机构/日期。",
    ),
    "help_opt_currency": ("ISO 4217 numeric.", "ISO 4217 数字代码。"),
    "help_opt_layer": ("pending or settled; default: both.", "pending 或 settled；默认两层合计。"),
    "help_opt_from": ("First business date, YYYY-MM-DD.", "起始营业日，YYYY-MM-DD。"),
    "help_opt_to": ("Last business date, YYYY-MM-DD.", "截止营业日，YYYY-MM-DD。"),
    "help_opt_ledger_anchor": (
        "An anchor that was kept elsewhere; the ledger must still rest on it.",
        "另行保存的锚定摘要；总账必须仍以其为准。",
    ),
    "help_opt_after": (
        "Go on behind this entry: what the page before said.",
        "从此分录之后继续：取自上一页末尾的提示。",
    ),
    "help_payout": (
        "Payouts to merchants: due, proposed, released, written, returned.",
        "商户付款：应付、提交、放行、出盘、退回。",
    ),
    "help_payout_due": (
        "What each merchant can be paid on a date, and why not more.",
        "各商户在某付款日可付金额及原因。",
    ),
    "help_payout_propose": (
        "Make batches of what is due; a second person releases them.",
        "按应付金额生成付款批次，由复核人放行。",
    ),
    "help_payout_release": (
        "Let a batch go, as the second person; `approval approve` by its name.",
        "作为复核人放行批次（等同 `approval approve`）。",
    ),
    "help_payout_withdraw": ("Give up a batch that was not released.", "撤回未放行的批次。"),
    "help_payout_export": (
        "Write a released batch's pain.001; again: the same bytes.",
        "为已放行批次写出 pain.001；重复执行内容不变。",
    ),
    "help_payout_reject": (
        "Propose that the bank did not execute an order; it can be paid again.",
        "提交：银行未执行该指令，款项可重新支付。",
    ),
    "help_arg_order": ("End-to-end id of the order.", "付款指令的端到端编号。"),
    "help_opt_reject_reason": ("The bank's reason, such as AC01.", "银行给出的原因，如 AC01。"),
    "payout_rejected": ("{order} is rejected", "{order} 已作拒付处理"),
    "help_payout_import_status": (
        "Take in a bank's report of a payout file (pain.002); 1 where it contradicts what is known.",
        "导入银行付款状态报告（pain.002）；与已知情况矛盾时返回 1。",
    ),
    "help_arg_status_file": ("The pain.002 document.", "pain.002 文件。"),
    "report_taken_in": (
        "report {report} of {batch}: {orders} orders, {rejected} rejected",
        "报告 {report}（批次 {batch}）：{orders} 笔，其中 {rejected} 笔退回",
    ),
    "report_known": (
        "report {report} of {batch} was taken in before: {orders} orders",
        "报告 {report}（批次 {batch}）此前已导入：{orders} 笔",
    ),
    "help_payout_list": ("Batches and their states.", "付款批次及状态。"),
    "help_payout_show": ("A batch with its orders.", "批次及其付款指令。"),
    "help_payout_returns": (
        "Orders that came back and wait for a new one.",
        "已退回、待重新付款的指令。",
    ),
    "help_statement": ("Bank statements (camt.053).", "银行对账单（camt.053）。"),
    "help_statement_import": (
        "Take in a statement; 1 where a line is left unexplained.",
        "导入对账单；有未匹配流水时返回 1。",
    ),
    "help_statement_list": (
        "Statements; 1 where one is missing between two.",
        "对账单列表；中间有缺失时返回 1。",
    ),
    "help_statement_show": ("A statement's lines and what they are.", "对账单流水及匹配结果。"),
    "help_reserve": ("Customers' money.", "客户备付金。"),
    "help_reserve_own": (
        "Own money in the reserve: what may go to own funds, and why not more.",
        "备付金账户中的自有资金：可划转金额及其限制。",
    ),
    "help_reserve_sweep": (
        "Propose to move own money from the reserve to own funds; a second operator releases it.",
        "提交自有资金划转（备付金账户至自有资金账户），须另一人放行。",
    ),
    "help_opt_sweep_what": ("income or advances; default: both.", "income 或 advances；默认两者。"),
    "help_opt_sweep_amount": (
        "A part only, in minor units.",
        "仅划转部分金额，以最小货币单位计。",
    ),
    "help_opt_sweep_to": (
        "Name of the own-funds account, where there are several.",
        "收款的自有资金账户名称（有多个时）。",
    ),
    "sweep_nothing": ("nothing may be swept", "没有可划转的自有资金"),
    "help_reserve_check": (
        "Hold the bank's balance and what is owed against each other; 1 where they differ.",
        "核对银行余额与应付客户资金；不平时返回 1。",
    ),
    "help_date": ("Business dates.", "营业日。"),
    "help_date_show": (
        "How far a date has come: steps, posted, funded, paid, confirmed.",
        "某营业日的进度：日终步骤、入账、到账、付款、确认。",
    ),
    "help_arg_batch": ("Batch, such as 20260804-001.", "批次号，如 20260804-001。"),
    "help_arg_statement": ("camt.053 file.", "camt.053 文件。"),
    "help_arg_bank_account": ("Name of the bank account.", "银行账户名称。"),
    "help_arg_statement_id": ("The statement's id.", "对账单编号。"),
    "help_opt_payout_date": (
        "Day on which the bank is to pay; default: today.",
        "付款日；默认今天。",
    ),
    "help_opt_replace": (
        "End-to-end id of an order that came back, to be sent again; may be repeated.",
        "需重新付款的退回指令的端到端编号；可重复。",
    ),
    "payout_nothing": ("nothing is due", "没有应付款项"),
    "payout_proposed": (
        "{batch}: {count} orders, {amount} {currency} from {account}; {proposal} waits for a second person",
        "{batch}：{count} 笔，{amount} {currency}，付款账户 {account}；{proposal} 待复核",
    ),
    "payout_released": ("{batch} is released", "{batch} 已放行"),
    "overdue_found": (
        "{case}: {amount} {currency} of {acquirer} of {date} has not come",
        "{case}：{acquirer} {date} 的清算款 {amount} {currency} 逾期未到",
    ),
    "payout_withdrawn": ("{batch} is withdrawn", "{batch} 已撤回"),
    "statement_taken_in": (
        "{account}/{statement}: {lines} lines taken in, {unmatched} unexplained",
        "{account}/{statement}：导入 {lines} 条，未匹配 {unmatched} 条",
    ),
    "statement_known": (
        "{account}/{statement}: known already, {unmatched} of {lines} lines unexplained",
        "{account}/{statement}：此前已导入，{lines} 条中未匹配 {unmatched} 条",
    ),
    "help_simulate": (
        "Simulated terminals or banks alone, against any switch.",
        "单独运行模拟终端或模拟银行。",
    ),
    "help_dialect": (
        "Dialects: how hosts and terminals write messages.",
        "报文方言：主机与终端如何编写报文。",
    ),
    "help_dialect_list": ("All dialects and variants.", "列出全部方言及变体。"),
    "help_dialect_show": (
        "The table of one, to hold beside the standard's page.",
        "显示某方言的域表，可与标准对照。",
    ),
    "help_dialect_check": (
        "Whether a TOML file is a dialect; says key and line if not.",
        "检查 TOML 文件是否为有效方言；有误时指出键与行号。",
    ),
    "help_arg_dialect": ("A name of `dialect list`, or a TOML file.", "方言名称，或 TOML 文件。"),
    "help_arg_dialect_file": ("A dialect as TOML.", "TOML 方言文件。"),
    "dialect_is_one": ("{name}: {count} elements", "{name}：{count} 个域"),
    "dialect_replaced": (
        "other than in {base}: DE {elements}",
        "与 {base} 不同的域：{elements}",
    ),
    "dialect_added": ("not in {base}: DE {elements}", "{base} 没有的域：{elements}"),
    "dialect_removed": ("only in {base}: DE {elements}", "仅 {base} 有的域：{elements}"),
    "help_files": (
        "Clearing files: what is in one, and how they are laid out.",
        "清算文件：查看内容与版式。",
    ),
    "help_files_show": (
        "The rows of a file, masked, or where it is wrong. Needs no node.",
        "显示文件各行（卡号屏蔽），或指出错误位置；无需节点。",
    ),
    "help_files_layout": ("All types, or the table of one.", "列出全部类型，或某类型的版式。"),
    "help_files_list": ("Files that were taken in.", "列出已接收的文件。"),
    "help_files_rows": (
        "Rows that are no transactions, of the last version of each file.",
        "列出非交易类的行（各文件的最新版本）。",
    ),
    "help_arg_kind": (
        "adjustment, agency_fee, brand_fee, left_out, merchant_total, payout_line.",
        "行的种类：adjustment、agency_fee、brand_fee、left_out、merchant_total、payout_line。",
    ),
    "help_opt_file_type": ("Type of the file: COM, ERRA …", "文件类型：COM、ERRA 等。"),
    "help_opt_settlement_date": ("Settlement date, YYYY-MM-DD.", "清算日期，YYYY-MM-DD。"),
    "help_opt_expected": (
        "TOML as in a link's `clearing`: a table for each type.",
        "TOML 文件，同链路的 `clearing`：每种类型一个表。",
    ),
    "help_opt_markdown": ("The whole page about all types.", "输出全部类型的说明页。"),
    "help_arg_clearing_file": (
        "The file; .Z, .gz and .tar.gz are unpacked.",
        "文件；.Z、.gz、.tar.gz 自动解包。",
    ),
    "file_type": ("type", "类型"),
    "file_title": ("what", "内容"),
    "file_settlement_date": ("settlement date", "清算日期"),
    "file_acquirer": ("acquirer", "收单机构"),
    "file_name": ("file", "文件"),
    "file_version": ("version", "版本"),
    "file_rows": ("rows", "行数"),
    "file_business_date": ("taken in by", "接收营业日"),
    "file_sha256": ("SHA-256", "SHA-256 摘要"),
    "file_line": ("line", "行"),
    "file_kind": ("kind", "种类"),
    "file_merchant": ("merchant", "商户"),
    "file_terminal": ("terminal", "终端"),
    "file_rrn": ("RRN", "参考号"),
    "file_stan": ("trace", "跟踪号"),
    "file_pan": ("card", "卡号"),
    "file_amount": ("amount", "金额"),
    "file_fee": ("fee", "手续费"),
    "file_net": ("net", "净额"),
    "file_refused": ("refused: {error}", "文件被拒绝：{error}"),
    "help_add": ("Add, or change by adding the next version.", "新增；已存在时生成新版本。"),
    "help_list": ("List all.", "列出全部。"),
    "help_show": ("Show one.", "显示一个。"),
    "help_show_data": (
        "Show everything as a file that `apply` takes.",
        "以 `apply` 可用的文件格式显示全部。",
    ),
    "help_suspend": ("Suspend a terminal; --resume takes it back.", "停用终端；--resume 恢复。"),
    "help_apply": (
        "Bring in a TOML file, as a whole or not at all.",
        "导入 TOML 文件，要么全部生效，要么全不生效。",
    ),
    "help_import": (
        "Import a link's ZMK, ZPK or ZAK, or a terminal's TMK.",
        "导入链路的 ZMK、ZPK、ZAK，或终端的 TMK。",
    ),
    "help_generate": (
        "Make a link's key, stored, and printed under its ZMK; a ZMK as components.",
        "生成链路密钥：入库并以 ZMK 加密打印；ZMK 以分量打印。",
    ),
    "help_export": (
        "Ask a second person to let a link's key out, under its ZMK.",
        "申请由第二人批准后，以 ZMK 加密导出链路密钥。",
    ),
    "help_activate": ("Put a key that waits in force.", "启用待用的密钥。"),
    "help_rotate": (
        "The next key of a link, or all stored keys under the next LMK.",
        "更换链路密钥，或把全部密钥改用新主密钥加密。",
    ),
    "help_retire": (
        "End a key, or the LMK before this one.",
        "停用一个密钥，或停用前一个主密钥。",
    ),
    "help_component": (
        "A new component, shown once; or the check value of one.",
        "生成一个分量（仅显示一次），或计算分量的校验值。",
    ),
    "help_ceremony": ("The LMK and its custodians.", "主密钥及其保管人。"),
    "help_ceremony_lmk": (
        "An LMK by its custodians: the first, or the next one.",
        "由保管人生成主密钥：首个或接替者。",
    ),
    "help_ceremony_shares": (
        "Issue other shares of the LMK's file; the former ones no longer open it.",
        "重新分发份额；原份额不再能打开主密钥文件。",
    ),
    "help_ceremony_admit": (
        "Hand the LMK of the file to the node that runs.",
        "把文件中的主密钥交给正在运行的节点。",
    ),
    "help_ceremony_log": (
        "The ceremony log, verified line by line.",
        "显示并逐行校验仪式日志。",
    ),
    "help_take": (
        "Take a key that a network HSM keeps: as its console showed it, or under the link's ZMK.",
        "登记由网络加密机保存的密钥：其控制台显示的密文，或线路ZMK下的密文。",
    ),
    "help_opt_take_terminal": ("MERCHANT/TERMINAL, for its TMK", "商户/终端（其TMK）"),
    "help_opt_device_key": (
        "the key under the device's LMK, e.g. U and 32 hex digits",
        "加密机主密钥下的密钥，例如U加32位十六进制数",
    ),
    "generate_on_device": (
        "hsm.device names a network HSM: make the key there (A0, or its console), then `keys take`",
        "hsm.device指明了网络加密机：请在该设备上生成密钥（A0 命令或其控制台），再用`keys take`登记",
    ),
    "components_on_device": (
        "hsm.device names a network HSM: enter components at its console, then `keys take --key`",
        "hsm.device指明了网络加密机：请在其控制台输入密钥分量，再用`keys take --key`登记",
    ),
    "no_device": (
        "hsm.device names no network HSM: keys of the vault in this process come by `keys import`",
        "hsm.device未指明网络加密机：本进程加密机的密钥请用`keys import`导入",
    ),
    "help_operator": ("Operators, credentials, roles.", "操作员、凭证与角色。"),
    "help_bootstrap": (
        "Make the first admin, and as the first the second.",
        "建立首位管理员，再由其建立第二位。",
    ),
    "help_operator_add": ("Propose a new operator.", "申请新增操作员。"),
    "help_operator_roles": (
        "Propose an operator's roles; a suspended one becomes active.",
        "申请变更操作员角色；已停用的恢复启用。",
    ),
    "help_operator_credential": (
        "Propose a new credential: a code to enrol with, or an SSH key.",
        "申请更换凭证：登记码或 SSH 公钥。",
    ),
    "help_operator_suspend": ("Suspend an operator at once.", "立即停用操作员。"),
    "help_operator_unlock": ("End an operator's lock-out.", "解除操作员锁定。"),
    "help_enrol": (
        "Choose password and authenticator, with the code that was handed over.",
        "凭登记码设置口令与动态码。",
    ),
    "help_password": ("Change one's own password.", "修改本人口令。"),
    "help_approval": ("What waits for a second person.", "待复核事项。"),
    "help_approval_list": ("List what is pending.", "列出待复核事项。"),
    "help_approve": ("Let a proposal through, and do it.", "复核通过并执行。"),
    "help_withdraw": ("Take a proposal back.", "撤回申请。"),
    "help_audit": ("The log of privileged acts.", "审计日志。"),
    "help_audit_list": ("List the records.", "列出审计记录。"),
    "help_audit_verify": (
        "Name the first record that is not as it was appended; print the anchor.",
        "指出首条被改动的记录；打印锚点。",
    ),
    "help_opt_anchor": (
        "NUMBER:HASH that was noted: nothing up to it may differ or be missing.",
        "所记锚点 序号:散列值：其之前不得有改动或缺失。",
    ),
    "help_opt_actor": ("Only what this operator did.", "仅限该操作员。"),
    "help_opt_last": ("Only the last so many.", "仅最后若干条。"),
    "help_opt_act": ("Only this act; may be repeated.", "仅限该事项；可重复。"),
    "help_opt_sha256": (
        "Hash of the proposal as `show` printed it; default: shown and asked.",
        "`show` 所显示申请的散列值；默认显示后询问。",
    ),
    "help_opt_name": ("The operator's name.", "操作员姓名。"),
    "help_opt_role": ("A role; may be repeated.", "角色；可重复。"),
    "help_opt_ssh_key": (
        "File of an SSH public key, instead of a password.",
        "SSH 公钥文件，代替口令。",
    ),
    "help_opt_code": ("Enrolment code; default: asked for.", "登记码；默认交互输入。"),
    "help_arg_operator": ("Operator id.", "操作员号。"),
    "help_arg_proposal": ("Proposal id.", "申请编号。"),
    "help_opt_operator": (
        "Who runs the command; default: TONGBAO_OPERATOR. May stand anywhere.",
        "操作员；默认取 TONGBAO_OPERATOR。可写在任意位置。",
    ),
    "help_opt_password_fd": (
        "Read the operator's password from this descriptor.",
        "从该文件描述符读取操作员口令。",
    ),
    "help_opt_totp": (
        "The operator's six-digit code; default: asked for.",
        "操作员的六位动态码；默认交互输入。",
    ),
    "help_case": ("Cases: breaks, worked to their end.", "差错：从发现到了结。"),
    "help_dispute": ("Disputes with issuers, through the network.", "与发卡方的差错争议。"),
    "help_case_list": ("Open cases, oldest first.", "未了结的差错，由旧到新。"),
    "help_case_history": ("What was done about a case.", "差错的处理经过。"),
    "help_case_ageing": ("Open cases by class and age.", "按类别与账龄统计未了结差错。"),
    "help_case_assign": ("Give a case to an operator.", "把差错分派给操作员。"),
    "help_case_note": ("Write a note on a case.", "为差错添加备注。"),
    "help_case_withdraw": (
        "What is proposed for a case shall not be done.",
        "撤回对差错的提请。",
    ),
    "help_case_propose": (
        "Propose an act on a case; another operator approves it.",
        "提请差错处理，由另一操作员复核。",
    ),
    "help_case_approve": (
        "Approve the one proposal that is pending on a case.",
        "复核差错唯一的待复核提请。",
    ),
    "help_dispute_list": ("Disputes under way.", "处理中的争议。"),
    "help_dispute_reasons": ("The network's reason codes.", "网络的原因码。"),
    "help_dispute_answer": (
        "Answer; claim again; file for arbitration: by the state.",
        "按状态回复、再请款或提请仲裁。",
    ),
    "help_dispute_refused": ("The network refused what we sent.", "网络拒绝了我方提交。"),
    "help_dispute_evidence": (
        "Note a document that speaks for us, by its hash.",
        "登记证据文件（记录摘要）。",
    ),
    "help_dispute_expire": (
        "Let every deadline that has passed take effect.",
        "处理所有已逾期的期限。",
    ),
    "help_dispute_take": (
        "Place the rows of error files that were taken in; each once.",
        "处理已接收差错文件的记录，每条一次。",
    ),
    "help_opt_settled_from": ("First settlement date.", "起始清算日。"),
    "help_opt_settled_to": ("Last settlement date.", "截止清算日。"),
    "help_dispute_open": (
        "Propose to start a dispute about a sale of ours.",
        "提请就我方交易发起差错。",
    ),
    "help_dispute_give_up": (
        "Propose to give a chargeback up.",
        "提请接受退单。",
    ),
    "help_arg_case": ("Id of the case.", "差错编号。"),
    "help_arg_dispute": ("Id of the dispute.", "争议编号。"),
    "help_arg_text": ("What to write down.", "说明文字。"),
    "help_arg_act": ("What to do; `case show` lists it.", "操作；见 `case show`。"),
    "help_arg_evidence": ("The document.", "证据文件。"),
    "help_arg_record": ("Key of the sale's clearing record.", "交易的清算记录编号。"),
    "help_arg_started": (
        "credit_adjustment, claim, collection or manual_refund.",
        "credit_adjustment、claim、collection 或 manual_refund（贷记调整、请款、托收、手工退货）。",
    ),
    "help_arg_give_up": (
        "accept: the merchant bears it; absorb: we do.",
        "accept：商户承担；absorb：我方承担。",
    ),
    "help_opt_text": ("What to write down with it.", "附加说明。"),
    "help_opt_reason": ("Why; the checker reads it.", "理由，供复核人阅读。"),
    "help_opt_reason_code": ("The network's reason code.", "网络原因码。"),
    "help_opt_entry": (
        "Of `link`: the entry that moved the money; `ledger statement` lists them.",
        "用于 `link`：已处理资金的分录；见 `ledger statement`。",
    ),
    "help_opt_amount": ("Minor units; default: the whole.", "最小货币单位；默认全部。"),
    "help_opt_class": ("Of this class.", "差错类别。"),
    "help_opt_state": (
        "open, assigned, proposed, disputed or ended.",
        "open、assigned、proposed、disputed 或 ended（状态）。",
    ),
    "help_opt_case_owner": ("Given to this operator.", "负责的操作员。"),
    "help_opt_age": ("At least so many days old.", "账龄至少天数。"),
    "help_opt_acquirer": ("Of this acquirer.", "收单方。"),
    "help_opt_dispute_state": ("In this state.", "争议状态。"),
    "help_opt_due": ("Due within so many days.", "多少天内到期。"),
    "help_opt_ended": ("Ended ones, too.", "包括已结束的。"),
    "help_opt_config": ("Configuration file.", "配置文件。"),
    "help_opt_data": (
        "Data folder; default: the configuration's, ./var.",
        "数据目录；默认取配置，即 ./var。",
    ),
    "help_opt_lang": ("Language of texts: en or zh.", "界面语言：en 或 zh。"),
    "help_opt_demo": (
        "Use the public test LMK, and only it.",
        "使用公开的测试主密钥（仅限演示）。",
    ),
    "help_opt_ready": (
        "Write this JSON file when everything serves.",
        "全部就绪时写出此 JSON 文件。",
    ),
    "help_opt_passphrase": (
        "Read the LMK's passphrase from this descriptor.",
        "从该文件描述符读取主密钥口令。",
    ),
    "help_opt_json": (
        "JSON: one object a line; of a single thing, one object.",
        "JSON 输出：列表每行一个对象。",
    ),
    "help_opt_shares": (
        "K/N: also seal with N shares, any K of which open it.",
        "K/N：另分成 N 份，任意 K 份可打开。",
    ),
    "help_opt_component": (
        "With --demo: a component, @FILE or hex; repeat. Else each custodian is asked for his own.",
        "仅限 --demo：密钥分量，@文件或十六进制；可重复。否则逐一询问各保管人。",
    ),
    "help_opt_check_value": ("The key's check value, to be agreed.", "用于核对的密钥校验值。"),
    "help_opt_algorithm": ("tdes or aes.", "tdes 或 aes。"),
    "help_opt_under_zmk": (
        "The key under the link's ZMK: TR-31 block, or hex (ECB).",
        "以链路 ZMK 加密的密钥：TR-31 或十六进制（ECB）。",
    ),
    "help_opt_sent_usage": ("zpk or zak.", "zpk 或 zak。"),
    "help_opt_usage": ("zmk, zpk or zak; of a terminal tmk.", "zmk、zpk 或 zak；终端为 tmk。"),
    "help_opt_key_terminal": ("The terminal whose key it is.", "密钥所属终端。"),
    "help_opt_key_version": ("Version of the key.", "密钥版本。"),
    "help_opt_key_form": (
        "tr31: key block; x: hex under the ZMK with its scheme, X or Y; hex: without.",
        "tr31：密钥块；x：ZMK 加密的十六进制并带方案字符 X 或 Y；hex：不带。",
    ),
    "help_opt_bytes": ("Length in bytes.", "长度（字节）。"),
    "help_opt_components": ("How many components; 2 to 9.", "分量个数，2 至 9。"),
    "help_opt_now": (
        "In force at once, though the link has a key: the other side must have it already.",
        "立即生效，即使链路已有密钥：对方须已持有新密钥。",
    ),
    "help_opt_from_fd": (
        "Read from this descriptor what custodians enter: one JSON object a line.",
        "从该文件描述符读取保管人的输入：每行一个 JSON 对象。",
    ),
    "help_opt_rotate_lmk": ("All stored keys under the LMK.", "把全部密钥改用当前主密钥加密。"),
    "help_opt_retire_lmk": (
        "Check value of the LMK that was taken over from.",
        "被接替的主密钥的校验值。",
    ),
    "help_opt_in_use": (
        "Though it is the only one in use.",
        "即使它是唯一在用的密钥。",
    ),
    "help_opt_generate": ("Make one.", "生成一个分量。"),
    "help_opt_generate_lmk": (
        "Made by the machine, with --shares, and not of components.",
        "由机器生成（须配合 --shares），不用分量。",
    ),
    "help_opt_new_passphrase": (
        "Read the passphrase that is to seal it from this descriptor.",
        "从该文件描述符读取用于封存的新口令。",
    ),
    "help_opt_anchor_log": (
        "NUMBER:HASH that was noted: the log must have it.",
        "所记锚点 NUMBER:HASH：日志中必须一致。",
    ),
    "help_opt_link": ("The acquirer whose link it is.", "链路所属收单方。"),
    "help_opt_dialect": ("Dialect of the messages.", "报文方言。"),
    "help_opt_mac": ("MAC profile.", "MAC 算法配置。"),
    "help_opt_profile": ("Profile that says how the terminal speaks.", "终端通信配置。"),
    "help_opt_serial": ("Serial number, checked at sign-on.", "终端序列号，签到时核对。"),
    "help_opt_as": (
        "What it is: hex, dump, base64, binary, pcap, vbs, lines, or a type of clearing file.",
        "输入类型：hex、dump、base64、binary、pcap、vbs、lines，或清算文件类型。",
    ),
    "help_opt_candidates": ("Show so many other guesses.", "显示的候选解释数。"),
    "help_opt_diff": ("Compare two messages by element.", "逐域比较两条报文。"),
    "help_opt_unmask": ("Show card data in clear.", "明文显示卡数据。"),
    "help_opt_date": ("Business date, YYYY-MM-DD.", "营业日，YYYY-MM-DD。"),
    "help_opt_limit": ("At most so many.", "最多显示的条数。"),
    "help_opt_effective": (
        "In force from, RFC 3339; default: at once.",
        "生效时间，RFC 3339；默认立即生效。",
    ),
    "help_opt_resume": ("Make it active again.", "重新启用。"),
    "help_opt_field": ("See the merchant's registration.", "见商户登记项。"),
    "help_opt_files": (
        "Folder of the networks' files: DIR/<acquirer>/<file>.",
        "清算文件目录：DIR/<收单方>/<文件>。",
    ),
    "help_opt_approve": (
        "SHA-256 of a file to take in: proposed by the first, let in by the second; repeatable.",
        "待放行文件的 SHA-256：首位操作员申请，第二位放行；可重复。",
    ),
    "help_fees": ("Fee plans: check a file, explain a price.", "费率方案：检查文件、解释计价。"),
    "help_fees_check": (
        "Judge every fee plan of a file, without a store.",
        "检查文件中的全部费率方案，无需数据库。",
    ),
    "help_fees_explain": (
        "Which line of a plan applies to an amount, and why.",
        "某笔金额适用方案的哪一行，以及原因。",
    ),
    "help_opt_plan": ("Name of the fee plan.", "费率方案名称。"),
    "help_opt_plan_file": ("Look in this file, not in the store.", "从该文件而非数据库中查找。"),
    "help_opt_priced_amount": ("Amount in minor units.", "金额，以最小货币单位计。"),
    "help_opt_card_type": ("debit or credit.", "debit（借记）或 credit（贷记）。"),
    "help_opt_mcc": ("The merchant's category code.", "商户类别码。"),
    "help_opt_entry_mode": ("DE 22, such as 072.", "DE 22，如 072。"),
    "help_opt_volume": (
        "The merchant's turnover of the month before, in minor units.",
        "商户本月此前的交易额，以最小货币单位计。",
    ),
    "help_opt_refund": (
        "Also what a refund of this much gives back.",
        "同时计算退货该金额时退还的手续费。",
    ),
    "fees_checked": ("{count} fee plans, no faults", "{count} 个费率方案，未发现问题"),
    "fees_component": ("component", "组成"),
    "fees_line": ("line", "适用行"),
    "fees_how": ("how", "计算"),
    "fees_fee": ("fee", "手续费"),
    "fees_back": ("refund", "退还"),
    "fees_why": ("passed over: asks, has", "未适用：要求、实际"),
    "help_route": (
        "Routing: where a card would go and why, what a file would change, the rules.",
        "路由：卡交易将发往何处及原因、文件将带来的变化、规则列表。",
    ),
    "help_route_try": (
        "Where a request would go and why; nothing is sent. 1 where it would be refused.",
        "某笔请求将发往何处及原因；不发送任何报文。会被拒绝时退出码为 1。",
    ),
    "help_route_diff": (
        "Which of the last requests would go elsewhere with this file applied. 1 where some would.",
        "应用该文件后，最近的请求中哪些会改走他处。有变化时退出码为 1。",
    ),
    "help_route_rules": (
        "The rules in their order, each in its newest version.",
        "按顺序列出规则，各取最新版本。",
    ),
    "help_opt_route_card": (
        "The first digits of the card number, 1 to 12; never the whole number.",
        "卡号的前 1 至 12 位；切勿输入完整卡号。",
    ),
    "help_opt_route_type": ("Type of transaction, such as purchase.", "交易类型，如 purchase。"),
    "help_opt_route_currency": ("DE 49; default: the merchant's.", "DE 49；默认取商户币种。"),
    "help_opt_route_batch": ("Batch, for rules with weights.", "批次号，用于按权重的规则。"),
    "help_opt_route_trace": ("Trace number, for rules with weights.", "流水号，用于按权重的规则。"),
    "help_opt_route_down": ("Take this link for down; repeatable.", "假定该线路不可用；可重复。"),
    "help_opt_route_file": (
        "Under this file of reference data, as if it were applied.",
        "按该参数文件计算，视同已应用。",
    ),
    "help_opt_route_last": ("So many of the last requests.", "查看最近的请求笔数。"),
    "route_objection": ("not {rule}: its {key} says otherwise", "不适用 {rule}：其 {key} 不符"),
    "route_decides": (
        "route {route} of the card; {rule} decides",
        "卡路由 {route}；由 {rule} 决定",
    ),
    "route_more_digits": (
        "more digits may matter: cards of {prefixes} may go elsewhere",
        "更多位数可能有影响：前缀为 {prefixes} 的卡可能走向不同",
    ),
    "route_refused_15": (
        "15: no route has cards that begin with {card}",
        "15：没有路由包含以 {card} 开头的卡",
    ),
    "route_refused_91": ("91: every candidate is down", "91：所有候选线路均不可用"),
    "route_state_taken": ("taken", "选用"),
    "route_state_passed_over": ("passed over", "跳过"),
    "route_state_spare": ("in reserve", "备用"),
    "route_compared": (
        "{count} requests: {different} would go elsewhere, of {undetermined} the masked number leaves it open",
        "共 {count} 笔请求：{different} 笔将改走他处，{undetermined} 笔因卡号掩码无法判定",
    ),
    "route_undetermined": ("left open by the mask", "掩码无法判定"),
    "route_place": ("place", "顺位"),
    "route_link": ("link", "线路"),
    "route_state": ("state", "状态"),
    "route_cost": ("cost or weight", "成本或权重"),
    "route_by": ("by", "依据"),
    "route_rrn": ("RRN", "检索参考号"),
    "route_merchant": ("merchant", "商户"),
    "route_type": ("type", "类型"),
    "route_amount": ("amount", "金额"),
    "route_card": ("card", "卡号"),
    "route_sent_to": ("went to", "实际发往"),
    "route_now": ("now", "现行"),
    "route_then": ("with the file", "应用后"),
    "route_order": ("order", "顺序"),
    "route_name": ("rule", "规则"),
    "route_version": ("version", "版本"),
    "route_enabled": ("enabled", "启用"),
    "route_when": ("when", "条件"),
    "route_choose": ("choose", "选择方式"),
    "route_to": ("to", "线路"),
    "route_fallbacks": ("fallbacks", "后备"),
    "help_link": (
        "What happened on bank links and belongs to no request.",
        "银行链路上不属于任何请求的事件。",
    ),
    "help_link_keys": (
        "New keys that were sent to banks, the newest first, and what came of each.",
        "向银行发送的新密钥及结果，最新在前。",
    ),
    "help_keys_send": (
        "Have a new ZPK or ZAK made and sent to the bank over its link.",
        "生成新的 ZPK 或 ZAK 并经链路发送给银行。",
    ),
    "key_asked_for": (
        "key change {number}: {link} {usage}; tongbao link keys shows what comes of it",
        "密钥更换 {number}：{link} {usage}；结果见 tongbao link keys",
    ),
    "key_under_way": (
        "{link} {usage}: a change is under way; tongbao link keys",
        "{link} {usage}：已有更换进行中；见 tongbao link keys",
    ),
    "exchange_exchange": ("change", "更换"),
    "exchange_link": ("link", "链路"),
    "exchange_usage": ("usage", "用途"),
    "exchange_state": ("state", "状态"),
    "exchange_version": ("version", "版本"),
    "exchange_sends": ("times sent", "发送次数"),
    "exchange_asked_by": ("asked by", "申请人"),
    "exchange_asked_at": ("asked at", "申请时间"),
    "key_exchange_asked": ("asked", "已申请"),
    "key_exchange_made": ("made", "已生成"),
    "key_exchange_sent": ("sent", "已发送"),
    "key_exchange_accepted": ("accepted", "已接受"),
    "key_exchange_refused": ("refused", "被拒绝"),
    "key_exchange_given_up": ("given up", "已放弃"),
    "help_link_unmatched": (
        "Answers that counted for no request, the newest first, with the request they look most like"
        " and in what they differ.",
        "未匹配的银行应答，最新在前，附最接近的请求及差异。",
    ),
    "help_opt_unmatched_reason": (
        "mac, unmatched, mismatch, late, twice or undecodable.",
        "mac、unmatched、mismatch、late、twice 或 undecodable。",
    ),
    "help_opt_unmatched_request": (
        "Those that look most like an answer to this request.",
        "仅与该请求最接近者。",
    ),
    "help_opt_unmatched_hours": ("Of the last hours.", "仅最近若干小时。"),
    "unmatched_received_at": ("received at", "收到时间"),
    "unmatched_link": ("link", "链路"),
    "unmatched_slot": ("connection", "连接"),
    "unmatched_reason": ("reason", "原因"),
    "unmatched_mti": ("MTI", "报文类型"),
    "unmatched_stan": ("STAN", "流水号"),
    "unmatched_rrn": ("RRN", "检索参考号"),
    "unmatched_response_code": ("DE 39", "应答码"),
    "unmatched_request_id": ("nearest request", "最接近的请求"),
    "unmatched_differences": ("what differs", "差异"),
    "unmatched_differs": (
        "DE {de}: asked {asked}, answered {answered}",
        "DE {de}：请求 {asked}，应答 {answered}",
    ),
    "unmatched_is_mac": ("MAC wrong", "MAC 错"),
    "unmatched_is_unmatched": ("no match", "无匹配请求"),
    "unmatched_is_mismatch": ("mismatch", "内容不符"),
    "unmatched_is_late": ("late", "迟到"),
    "unmatched_is_twice": ("came twice", "重复应答"),
    "unmatched_is_undecodable": ("unreadable", "无法解析"),
    "help_risk": (
        "Limits and risk rules: alerts, counters, what is in force.",
        "限额与风控规则：告警、计数器、生效规则。",
    ),
    "help_risk_alerts": ("Alerts that rules have raised.", "规则产生的告警。"),
    "help_risk_take": ("Take an alert: it is yours now.", "受理告警，由本人负责。"),
    "help_risk_close": ("Close an alert, with the reason.", "关闭告警并注明理由。"),
    "help_risk_rules": ("The rules, each in its newest version.", "规则列表，各取最新版本。"),
    "help_risk_counters": (
        "What rules have counted, by subject and bucket of time.",
        "规则的计数，按对象与时间段。",
    ),
    "help_risk_token": (
        "A card's token, for a list of cards; the number comes by stdin.",
        "卡号令牌，用于名单；卡号由标准输入读取。",
    ),
    "help_opt_risk_sealed": (
        "With the number sealed behind it: for a list that terminals download, too.",
        "令牌后附加密卡号：名单同时供终端下载时使用。",
    ),
    "help_terminal_downloads": (
        "Which terminal has which version of what it downloads.",
        "各终端的参数、公钥、黑名单等下载版本。",
    ),
    "help_opt_of_merchant": ("Of this merchant only.", "仅该商户。"),
    "help_opt_of_terminal": ("Of this terminal only.", "仅该终端。"),
    "help_opt_downloads_due": ("Only what is not up to date.", "仅列出未更新的项。"),
    "download_merchant": ("merchant", "商户"),
    "download_terminal": ("terminal", "终端"),
    "download_topic": ("topic", "内容"),
    "download_state": ("state", "状态"),
    "download_version": ("has", "现有版本"),
    "download_wanted": ("wanted", "应有版本"),
    "download_source": ("from", "来源"),
    "download_at": ("at", "时间"),
    "download_state_current": ("current", "已是最新"),
    "download_state_due": ("due", "待下载"),
    "download_state_under_way": ("under way", "下载中"),
    "download_state_mixed": ("mixed: asked again", "数据已变更，将重新下载"),
    "download_state_unverified": ("ended, address not verified", "已结束，来源地址未验证"),
    "download_state_not_assigned": ("not assigned any more", "已取消分配"),
    "download_state_reported": ("reported", "已上送"),
    "help_arg_alert": ("Number of the alert.", "告警编号。"),
    "help_arg_risk_rule": ("Name of a rule; default: all.", "规则名，默认全部。"),
    "help_opt_alert_reason": ("What was found, and done.", "核查结果与处理。"),
    "help_opt_alert_state": ("open, taken or closed.", "open、taken 或 closed。"),
    "help_opt_risk_rule": ("Of this rule only.", "仅该规则。"),
    "risk_alert": ("alert", "告警"),
    "risk_state": ("state", "状态"),
    "risk_owner": ("owner", "负责人"),
    "risk_rule": ("rule", "规则"),
    "risk_subject": ("subject", "对象"),
    "risk_measured": ("measured", "实际值"),
    "risk_threshold": ("threshold", "阈值"),
    "risk_raised_at": ("raised at", "产生时间"),
    "risk_name": ("rule", "规则"),
    "risk_version": ("version", "版本"),
    "risk_enabled": ("enabled", "启用"),
    "risk_scope": ("scope", "范围"),
    "risk_measure": ("measure", "度量"),
    "risk_window_s": ("window, s", "窗口（秒）"),
    "risk_action": ("action", "动作"),
    "risk_counter": ("counter", "计数器"),
    "risk_bucket": ("bucket", "时间段"),
    "risk_count": ("count", "笔数"),
    "risk_amount_minor": ("amount, minor units", "金额（最小单位）"),
    "risk_state_open": ("open", "未受理"),
    "risk_state_taken": ("taken", "处理中"),
    "risk_state_closed": ("closed", "已关闭"),
    "risk_done": ("alert {alert}: {state}, {owner}", "告警 {alert}：{state}，{owner}"),
    "risk_closed": (
        "alert {alert} is closed, by {owner}; a new one is raised where the rule fires again",
        "告警 {alert} 已由 {owner} 关闭；规则再次触发时会产生新告警",
    ),
    "risk_changed": (
        "alert {alert} was changed by somebody else meanwhile: look at it again",
        "告警 {alert} 已被他人处理，请重新查看",
    ),
    "risk_pan": (
        "not a card number: one line of digits on stdin, the last one right",
        "不是卡号：请从标准输入提供一行数字，校验位须正确",
    ),
    "help_report": ("Reports of closed dates, in any form.", "已日终日期的报表，可选多种格式。"),
    "help_report_day": ("The overview of a date.", "某日总览。"),
    "help_report_breaks": ("The breaks of a date.", "某日差错明细。"),
    "help_report_cases": (
        "Cases that were open when a date ended.",
        "某日终了时未了结的差错。",
    ),
    "help_report_sums": (
        "Matches of one line with several of a date, line by line.",
        "某日一对多勾对逐笔明细。",
    ),
    "help_report_fees": (
        "Fees of a date by plan and by file.",
        "某日手续费，按方案与文件汇总。",
    ),
    "help_report_shares": ("Agents' shares of a date.", "某日代理分润。"),
    "help_report_reserve": (
        "The reserve check of a date, as it was recorded.",
        "某日备付金核对结果（以已记录为准）。",
    ),
    "help_report_merchant": (
        "One merchant's settlement report of a date.",
        "某商户某日的结算单。",
    ),
    "help_report_statement": (
        "An agent's statement of a month, with tax.",
        "代理商月度分润结算单，含税额。",
    ),
    "help_opt_form": ("text, html, xlsx or csv.", "text、html、xlsx 或 csv。"),
    "help_opt_out": ("Write into this file.", "写入该文件。"),
    "help_opt_table": (
        "Only this table; csv: the first where none is named.",
        "仅此表；csv 未指定时取第一张表。",
    ),
    "help_opt_agent": ("The agent.", "代理商。"),
    "help_opt_month": ("Month of business dates.", "营业日所在月份。"),
    "help_evidence": (
        "Signed evidence of a date's close.",
        "日终的签名证据包。",
    ),
    "help_evidence_init": (
        "Make the key that signs, and print its public half.",
        "生成签名密钥并显示其公钥。",
    ),
    "help_evidence_keys": ("List the public keys.", "列出公钥。"),
    "help_evidence_make": ("Make the bundle of a closed date.", "生成已日终日期的证据包。"),
    "help_evidence_verify": (
        "Check a bundle; with --rerun the store and its decisions, too.",
        "核验证据包；--rerun 时并核对数据库及其决定。",
    ),
    "help_opt_new_key": (
        "Make the next key; the former stay to be trusted.",
        "生成下一把密钥；旧公钥仍可信任。",
    ),
    "help_opt_evidence_key": (
        "Public key you trust: 64 hex digits or @FILE; repeat.",
        "所信任的公钥：64 位十六进制或 @文件；可重复。",
    ),
    "help_opt_rerun": (
        "Compare with the store, and decide the date once more.",
        "与数据库比对，并重新作出该日的决定。",
    ),
    "help_arg_bundle": ("Bundle of evidence.", "证据包文件。"),
    "evidence_no_key": (
        "there is no key that signs: tongbao evidence init",
        "尚无签名密钥：请先运行 tongbao evidence init",
    ),
    "evidence_differs": (
        "{path} stands with other content",
        "{path} 已存在且内容不同",
    ),
    "evidence_holds": ("signature and hashes hold", "签名与摘要均有效"),
    "evidence_rerun_holds": (
        "signature and hashes hold; the store says the same and decides the same",
        "签名与摘要均有效；数据库内容一致，重新作出的决定一致",
    ),
    "help_arg_merchant": ("Merchant id (DE 42), 15 characters.", "商户号（DE 42），15 位。"),
    "help_arg_terminal": ("Terminal id (DE 41), 8 characters.", "终端号（DE 41），8 位。"),
    "help_arg_message": (
        "Hex digits, a file, or - for standard input.",
        "十六进制数字、文件，或 - 表示标准输入。",
    ),
    "help_arg_file": ("TOML file.", "TOML 文件。"),
    "help_arg_transaction": ("RRN (DE 37) or request id.", "参考号（DE 37）或请求编号。"),
}


def say(key: str, language: str, /, **values: Any) -> str:
    """The text in the language, with its values.

    >>> say("stopped", "zh")
    '已停止'
    """
    return TEXTS[key][LANGUAGES.index(language)].format(**values)
