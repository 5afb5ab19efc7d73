"""What a device on a network can serve, by MAC profile and layout of working keys: the one table.

The switch refuses at start, by name, what its device can not do (rules §13). The vault in the process can do
all of it. `docs/hsm.md` sets every operation beside its host commands.
"""
# ruff: noqa: RUF001 - Chinese texts have Chinese punctuation

from typing import Final

from hsm.mac_profiles import MacAlgorithm, MacProfile

# What a device makes with commands M6 and M8, as their algorithm code. The UnionPay fold is composed: the
# XOR of the blocks here, the two encryptions there (`hsm.host.client.covered_by`).
MAC_ALGORITHMS: Final[dict[MacAlgorithm, str]] = {
    MacAlgorithm.UNIONPAY_ECB: "1",
    MacAlgorithm.X9_9: "1",
    MacAlgorithm.X9_19: "3",
    MacAlgorithm.TDES_CMAC: "6",
}
OTHER_KEYS: Final = "a device with a variant LMK keeps DES and Triple DES keys alone"

# Layouts of working keys (DE 60.3) that a device makes.
LAYOUTS: Final = frozenset({"003", "004"})

# Reason -> (English, Chinese)
REASONS: Final[dict[str, tuple[str, str]]] = {
    "mac": (
        "MAC profile {name}: its keys are not Triple DES, and a device with a variant LMK keeps no others",
        "MAC方案{name}：其密钥不是三重DES密钥，使用变体主密钥的设备不保存其他密钥",
    ),
    "layout": (
        "working-key layout {name}: a device tells no check value of 4 bytes of a single-length PIN key",
        "工作密钥格式{name}：设备不提供单倍长PIN密钥的4字节校验值",
    ),
}


def serves_mac(profile: MacProfile) -> bool:
    """Whether a device makes and verifies DE 64 of this profile."""
    return profile.algorithm is MacAlgorithm.NONE or profile.algorithm in MAC_ALGORITHMS


def fault_of_mac(profile: MacProfile) -> str | None:
    """In English, why not."""
    return None if serves_mac(profile) else REASONS["mac"][0].format(name=profile.name)
