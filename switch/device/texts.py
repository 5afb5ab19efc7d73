# ruff: noqa: RUF001 - full-width punctuation is how Chinese is written
"""What a device and its console say, in English and Chinese; part of `switch.texts.TEXTS`."""

TEXTS: dict[str, tuple[str, str]] = {
    "hsm_demo_statement": (
        "DEMO: the public test LMK and the published variant LMK are in use. No key here is secret.",
        "演示模式：正在使用公开的测试主密钥，此处没有任何密钥是保密的。",
    ),
    "hsm_listening": (
        "tongbao hsm ready: host commands at {host}:{port}; LMK {lmk_id}",
        "通宝加密机已就绪：主机命令地址 {host}:{port}；主密钥 {lmk_id}",
    ),
    "hsm_not_bound": (
        "the host port {host}:{port} can not be opened: {reason}; `host` and `port` stand in the --config file",
        "无法打开主机端口 {host}:{port}：{reason}；`host` 与 `port` 在 --config 文件中设置",
    ),
    "hsm_plain": (
        "The host port has no TLS: let nothing but the switch reach it, or set [tls].",
        "主机端口未启用 TLS：请确保只有交换系统能访问它，或配置 [tls]。",
    ),
    "hsm_stopped": ("the device has stopped", "加密机已停止"),
    "hsm_no_officers": (
        "this device has no officers: put two into its file (`tongbao hsm officer NAME`)",
        "此加密机没有安全员：请在其配置文件中加入两名（`tongbao hsm officer NAME`）",
    ),
    "hsm_officer_name": (
        "an officer's name has 1 to 32 letters, digits, dots, dashes and underscores",
        "安全员名称由 1 到 32 个字母、数字、点、连字符或下划线组成",
    ),
    "hsm_two_officers": (
        "the authorised state takes two different officers: --officer A --officer B",
        "进入授权状态需要两名不同的安全员：--officer A --officer B",
    ),
    "hsm_duration": (
        "--minutes: more than 0, at most {longest_min:g} (authorised_max_s)",
        "--minutes：应大于 0 且不超过 {longest_min:g}（authorised_max_s）",
    ),
    "hsm_wrong_officer": (
        "one of the officers or passwords is wrong",
        "安全员或密码有误",
    ),
    "hsm_not_understood": (
        "the device did not understand: is it of the same version?",
        "加密机无法理解该请求：两者版本是否一致？",
    ),
    "hsm_passwords": (
        "--passwords-fd: {count} lines are wanted, one password each, in the officers' order",
        "--passwords-fd：需要 {count} 行，每行一个密码，顺序与安全员一致",
    ),
    "hsm_no_terminal": (
        "passwords are typed at a terminal, or come by --passwords-fd",
        "密码须在终端输入，或用 --passwords-fd 提供",
    ),
    "hsm_password_of": ("Password of {name}", "{name} 的密码"),
    "hsm_password_length": (
        "a password has 12 to 1024 characters",
        "密码长度须为 12 到 1024 个字符",
    ),
    "hsm_not_running": (
        "no device answers at {path}: is `tongbao hsm serve` running with this --config?",
        "{path} 处没有加密机应答：是否已用此 --config 启动 `tongbao hsm serve`？",
    ),
    "help_hsm": (
        "The vault as a device: serve host commands, and its console.",
        "作为设备运行的加密机：提供主机命令及其控制台。",
    ),
    "help_hsm_serve": (
        "Serve the host commands of a payShield-like HSM over TCP.",
        "通过 TCP 提供类 payShield 加密机的主机命令。",
    ),
    "help_hsm_status": (
        "What a running device has done: connections, commands, errors.",
        "运行中的加密机状态：连接、命令与错误统计。",
    ),
    "help_hsm_authorise": (
        "Two officers put the device into the authorised state for a while.",
        "由两名安全员使加密机在一段时间内处于授权状态。",
    ),
    "help_hsm_cancel": ("End the authorised state.", "结束授权状态。"),
    "help_hsm_officer": (
        "Print an officer's lines for the device's file; asks for the password.",
        "输入密码后打印安全员配置行，供写入加密机配置文件。",
    ),
    "help_hsm_commands": ("The host commands that can be served.", "可提供的主机命令列表。"),
    "help_opt_device": (
        "Settings of the device (TOML); without it, loopback port 1500.",
        "加密机配置文件（TOML）；缺省为本机 1500 端口。",
    ),
    "help_opt_officer": ("An officer's name; twice.", "安全员姓名；须给出两次。"),
    "help_arg_officer": ("The officer's name.", "安全员姓名。"),
    "help_opt_minutes": ("How long.", "持续时间（分钟）。"),
    "help_opt_passwords_fd": (
        "Read the passwords from this descriptor, one a line.",
        "从此文件描述符逐行读取密码。",
    ),
}
