# ruff: noqa: RUF001 - full-width punctuation is how Chinese is written
"""What the certification pack says, in English and Chinese."""

from __future__ import annotations

TEXTS: dict[str, tuple[str, str]] = {
    "help_certify": (
        "Run the certification cases against a bank's link and write a pack for the bank.",
        "对银行链路执行认证案例，并生成可交付银行的资料包。",
    ),
    "help_arg_pack": ("folder of the pack; must not be there yet", "资料包目录；不得已存在"),
    "help_opt_certify_link": (
        "link of the reference data: a bank's test host; without it the simulated bank",
        "参数中的链路：银行测试主机；缺省为模拟银行",
    ),
    "help_opt_cards": (
        "test cards by role (docs/example-certification-cards.toml)",
        "按用途列出的测试卡（docs/example-certification-cards.toml）",
    ),
    "help_opt_case": ("only this case; may be repeated", "只执行该案例；可重复"),
    "help_opt_cases": (
        "folder of cases; without it those that come along",
        "案例目录；缺省为自带案例",
    ),
    "help_opt_patience": (
        "seconds to wait for what the bank must begin",
        "等待银行发起动作的秒数",
    ),
    "help_opt_certify_merchant": (
        "merchant id that the test host knows (DE 42)",
        "测试主机登记的商户号（域 42）",
    ),
    "help_opt_certify_terminals": (
        "two terminal ids that it knows (DE 41), by a comma",
        "测试主机登记的两个终端号（域 41），以逗号分隔",
    ),
    "help_opt_certify_kind": (
        "of the simulated bank: reference, binary_host",
        "模拟银行的种类：reference、binary_host",
    ),
    "certify_no_kind": (
        "no kind of bank {kind}; there are {kinds}",
        "没有 {kind} 类银行；现有 {kinds}",
    ),
    "certify_exists": ("{path} is there already", "{path} 已存在"),
    "certify_needs_cards": (
        "a bank's test host needs its test cards: --cards FILE",
        "银行测试主机需要测试卡：--cards 文件",
    ),
    "certify_no_link": ("there is no link {link} in the reference data", "参数中没有链路 {link}"),
    "certify_dials": (
        "link {link}: only a link that we dial, without TLS and with one connection both ways, can be"
        " certified; give the test host such a [[link]] of its own",
        "链路 {link}：认证测试只支持由我方发起、不用 TLS、单连接双向的链路；请为测试主机另设这样的 [[link]]",
    ),
    "certify_no_such_case": ("there is no case {case}", "没有案例 {case}"),
    "certify_not_down": (
        "link {link} could not be signed on: is the test host there, and is nobody else on the link?",
        "链路 {link} 未能签到：测试主机是否可达，是否另有连接占用该链路？",
    ),
    "certify_begin": (
        "ask the bank to begin: {title} ({seconds:g} s)",
        "请银行发起：{title}（{seconds:g} 秒内）",
    ),
    "certify_done": (
        "{path}: {passed} passed, {failed} failed, {not_run} not run",
        "{path}：通过 {passed}，未通过 {failed}，未执行 {not_run}",
    ),
    "certify_passed": ("passed", "通过"),
    "certify_failed": ("failed", "未通过"),
    "certify_not_run": ("not run", "未执行"),
    "certify_title": ("Certification of the link {link}", "链路 {link} 认证报告"),
    "certify_simulated": ("simulated bank", "模拟银行"),
    "certify_real": ("bank's test host", "银行测试主机"),
    "certify_facts": (
        "{against}; dialect {dialect}; MAC {mac}; begun {at}; tongbao {version}",
        "{against}；报文格式 {dialect}；MAC {mac}；开始于 {at}；通宝 {version}",
    ),
    "certify_masked": (
        "Card numbers are masked; PINs, keys, tracks and expiries are not in this pack.",
        "卡号已屏蔽；本资料包不含密码、密钥、磁道与有效期。",
    ),
    "certify_to_bank": ("to the bank", "发往银行"),
    "certify_to_switch": ("from the bank", "来自银行"),
    "certify_fault_lose_answer": (
        "on purpose not taken in by us",
        "按案例要求，我方不接收",
    ),
    "certify_fault_late_answer": ("on purpose taken in late by us", "按案例要求，我方延迟接收"),
    "certify_fault_spoil_answer": (
        "on purpose taken in with a wrong MAC",
        "按案例要求，我方以错误 MAC 接收",
    ),
    "certify_fault_spoil_request": (
        "on purpose sent with a wrong MAC",
        "按案例要求，以错误 MAC 发送",
    ),
    "certify_no_card": ("no test card for {roles}", "缺少测试卡：{roles}"),
    "certify_not_begun": ("the bank did not begin it in time", "银行未在时限内发起"),
    "certify_impossible": ("the terminal can not do it: {why}", "终端无法执行：{why}"),
    "certify_told": (
        "the terminal was told {told}, expected {pattern}",
        "终端得到 {told}，应为 {pattern}",
    ),
    "certify_unexpected": ("{mti} to the {to} was not expected", "不应出现 {mti}（发往 {to}）"),
    "certify_missing": ("{mti} to the {to} did not come", "未出现 {mti}（发往 {to}）"),
    "certify_mac": ("{mti}: its MAC is {mac}", "{mti}：MAC 核对结果 {mac}"),
    "certify_there": ("{mti} DE {de}: should be absent", "{mti} 域 {de}：不应存在"),
    "certify_absent": ("{mti} DE {de}: is missing", "{mti} 域 {de}：缺失"),
    "certify_not_cards": ("{mti} DE {de}: is not the card's", "{mti} 域 {de}：与卡不符"),
    "certify_not_echoed": (
        "{mti} DE {de}: is not as in the request",
        "{mti} 域 {de}：与请求不一致",
    ),
    "certify_not_original": (
        "{mti} DE {de}: does not name the original",
        "{mti} 域 {de}：未指明原交易",
    ),
    "certify_other": ("{mti} DE {de}: is not {pattern}", "{mti} 域 {de}：不符合 {pattern}"),
}
