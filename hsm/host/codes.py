# ruff: noqa: RUF001 - Chinese texts have Chinese punctuation
"""Error codes of host commands, as published for payShield devices, with texts for operators."""

from typing import Final

from hsm.errors import (
    DecimalisationTableError,
    KeyBlockError,
    KeyLengthError,
    KeyParityError,
    KeySchemeError,
    KeyTypeError,
    KeyUsageError,
    MasqueradingKeyError,
    PanError,
    PinBlockError,
    PinError,
    PinFormatError,
    PinLengthError,
    ReplayError,
    VaultError,
    WeakKeyError,
)

OK: Final = "00"

# code -> (English, Chinese)
CODES: Final[dict[str, tuple[str, str]]] = {
    "00": ("no error", "成功"),
    "01": ("verification failed, or an imported key had wrong parity", "校验失败，或导入密钥奇偶性有误"),
    "02": ("mode, or key of a length or algorithm, that this command does not take", "模式、密钥长度或算法不适用"),
    "03": ("invalid format or message type flag", "数据格式标志无效"),
    "04": ("invalid key type code", "密钥类型代码无效"),
    "05": ("invalid key length flag", "密钥长度标志无效"),
    "06": ("data is not whole blocks, or invalid flag", "数据不是整块或标志无效"),
    "09": ("invalid padding method", "填充方式无效"),
    "10": ("parity of the source key", "源密钥奇偶校验错误"),
    "11": ("parity of the destination key, or a key of zeros", "目标密钥奇偶校验错误或全零"),
    "12": ("user storage is empty", "用户存储区为空"),
    "13": ("invalid LMK identifier", "主密钥标识无效"),
    "14": ("PIN under the LMK is invalid", "主密钥加密的PIN无效"),
    "15": ("invalid input data", "输入数据无效"),
    "16": ("console or printer is not ready", "控制台或打印机未就绪"),
    "17": ("not in the authorised state", "未处于授权状态"),
    "18": ("no print format is loaded", "未装载打印格式"),
    "19": ("Diebold table is invalid", "Diebold表无效"),
    "20": ("PIN block does not hold valid values", "PIN块内容无效"),
    "21": ("invalid index", "索引无效"),
    "22": ("invalid account number", "账号无效"),
    "23": ("invalid PIN block format code", "PIN块格式代码无效"),
    "24": ("PIN is shorter than 4 or longer than 12 digits", "PIN长度不在4到12位之间"),
    "25": ("decimalisation table is invalid", "十进制转换表无效"),
    "26": ("invalid key scheme", "密钥方案无效"),
    "27": ("incompatible key length", "密钥长度不兼容"),
    "28": ("invalid key type", "密钥类型无效"),
    "29": ("function is not permitted", "功能不允许"),
    "33": ("LMK key change storage is corrupted", "主密钥更换存储区损坏"),
    "39": ("fraud detection: too many wrong PINs, or a DUKPT counter that was used", "欺诈检测：PIN错误次数过多或DUKPT计数器已使用"),
    "40": ("invalid checksum", "校验和无效"),
    "41": ("internal error", "内部错误"),
    "42": ("DES failure", "DES故障"),
    "47": ("algorithm is not licensed", "算法未授权"),
    "49": ("private key error", "私钥错误"),
    "51": ("invalid message header", "报文头无效"),
    "52": ("invalid branch or height of a session key tree", "会话密钥树参数无效"),
    "65": ("key scheme is none of this device", "本设备无此密钥方案"),
    "67": ("command is not licensed", "命令未授权"),
    "68": ("command is disabled or unknown", "命令被禁用或未知"),
    "69": ("PIN block format is disabled", "PIN块格式被禁用"),
    "74": ("invalid digest information syntax", "摘要信息语法无效"),
    "75": ("single-length key masquerading as a longer one", "单倍长密钥冒充多倍长密钥"),
    "80": ("data length error", "数据长度错误"),
    "81": ("no data where some is needed", "缺少必要数据"),
    "82": ("invalid check value length", "校验值长度无效"),
    "83": ("key block format error", "密钥块格式错误"),
    "84": ("key block check value error", "密钥块校验值错误"),
    "90": ("data parity error in the request", "请求数据奇偶错误"),
    "A1": ("incompatible LMK schemes", "主密钥方案不兼容"),
    "A2": ("incompatible LMK identifiers", "主密钥标识不兼容"),
    "A3": ("incompatible key block LMK identifiers", "密钥块主密钥标识不兼容"),
    "A4": ("key block authentication failed", "密钥块认证失败"),
    "A5": ("incompatible key length", "密钥长度不兼容"),
    "A6": ("invalid key usage", "密钥用途无效"),
    "A7": ("invalid algorithm", "算法无效"),
    "A8": ("invalid mode of use", "使用模式无效"),
    "A9": ("invalid key version number", "密钥版本号无效"),
    "AA": ("invalid export field", "导出属性无效"),
    "AB": ("invalid number of optional blocks", "可选块数量无效"),
    "AC": ("optional header block error", "可选头块错误"),
    "B0": ("key status: optional block error", "密钥状态可选块错误"),
    "B8": ("error in TR-31 import or export", "TR-31导入导出错误"),
}  # fmt: skip


class HostError(Exception):
    """A command that ends with a code; `data` follows the code where the command gives some."""

    def __init__(self, code: str, data: bytes = b"") -> None:
        assert code in CODES
        super().__init__(f"{code} {CODES[code][0]}")
        self.code = code
        self.data = data


def code_of(error: VaultError) -> str:
    """The code of what the vault refused; which half of a check failed does not show."""
    if isinstance(error, PinBlockError):
        return "24" if isinstance(error, PinLengthError) else "20"
    if isinstance(error, KeyBlockError):
        return "A4"
    if isinstance(error, KeyUsageError):
        return "A6"
    if isinstance(error, ReplayError):
        return "39"
    for kind, code in _KINDS:
        if isinstance(error, kind):
            return code
    return "15"


# the first kind that fits
_KINDS: Final = (
    (PinFormatError, "23"),
    (PinError, "24"),
    (PanError, "22"),
    (DecimalisationTableError, "25"),
    (MasqueradingKeyError, "75"),
    (KeyLengthError, "27"),
    (KeyParityError, "10"),
    (WeakKeyError, "11"),
    (KeyTypeError, "04"),
    (KeySchemeError, "26"),
)
