"""Issuer scripts (tags 71, 72 and 86) as people may see them: which command, never what it carries.

A command is CLA, INS, P1, P2, length 1, data: an enciphered PIN, limits, records with card data, and a
MAC; only the five bytes before the data are shown. A template holds an identifier (9F18) and commands
(86). Source: EMV Book 3 §6.5 and §10.10; what the instructions are called there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from iso8583 import tlv

if TYPE_CHECKING:
    from iso8583.codes import Text

HEAD_BYTES: Final = 5
TAGS: Final = frozenset({"71", "72", "86"})
COMMANDS: Final[dict[int, Text]] = {
    0x16: ("card block", "卡锁定"),
    0x18: ("application unblock", "应用解锁"),
    0x1E: ("application block", "应用锁定"),
    0x24: ("PIN change or unblock", "PIN修改或解锁"),
    0xDA: ("put data", "设置数据"),
    0xDC: ("update record", "修改记录"),
}


def shown(tag: str, value: bytes) -> str:
    """The script without the data of its commands; its width where it is none.

    >>> shown("71", bytes.fromhex("9F180400000001" "860D8424000008" "0123456789ABCDEF"))
    '9F18 00000001, 86 8424000008 [8 bytes]'
    """
    commands = _commands(tag, value)
    if not commands:
        return f"[{len(value)} bytes]"
    said = [_command(octets) if one == "86" else octets.hex().upper() for one, octets in commands]
    if tag == "86":
        return said[0]
    return ", ".join(f"{one} {text}" for (one, _), text in zip(commands, said, strict=True))


def meaning(tag: str, value: bytes) -> Text:
    """What the commands are called, in English and Chinese."""
    names = [
        COMMANDS.get(octets[1], ("", "")) for one, octets in _commands(tag, value) if one == "86"
    ]
    return "; ".join(n for n, _ in names if n), "; ".join(n for _, n in names if n)


def _commands(tag: str, value: bytes) -> list[tuple[str, bytes]]:
    """Identifier and commands; empty where the value is not made of them alone."""
    parts, error = ([("86", value)], None) if tag == "86" else tlv.parse_partial(value, None)
    good = error is None and all(
        len(octets) == 4 if one == "9F18" else one == "86" and _is_command(octets)
        for one, octets in parts
    )
    return parts if good else []


def _is_command(octets: bytes) -> bool:
    head, data = octets[:HEAD_BYTES], octets[HEAD_BYTES:]
    return len(head) == HEAD_BYTES and head[4] == len(data)


def _command(octets: bytes) -> str:
    data = len(octets) - HEAD_BYTES
    return octets[:HEAD_BYTES].hex().upper() + (f" [{data} bytes]" if data else "")
