"""Downloads on the wire: which messages there are, and what DE 62 of their answers has. Pure.

Source: `reference/pos-messages.md` §5.4; the blacklist as observed at a working terminal's (S1,
`TransDownloadBlkCard`). What no page says is a setting of the profile (`Wire`): docs/pos.md.

| topic | digit | list (0820) | get (0800) | end (0800) | DE 62 of the request |
| --- | --- | --- | --- | --- | --- |
| parameters | 1 | | 360 | 361 | none |
| ca_keys | 4 | 372 | 370 | 371 | list: `1` + n2 received; get: 9F06 RID, 9F22 index |
| aids | 5 | 382 | 380 | 381 | list: `1` + n2 received; get: 9F06 AID |
| tms | 6 | | 364 | 365 | `1` + n2 blocks received |
| blacklist | 7 | | 390 | 391 | n3: 000, then the place of the next card, from 1 |
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from iso8583 import tlv
from iso8583.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from terminals.download_data import Aid, CaKey, Parameters

NONE, ALL, MORE, LAST = b"0", b"1", b"2", b"3"  # control character of DE 62
MERCHANT_NAME_BYTES: Final = 40
PHONE_CHARACTERS: Final = 14
CARDS_MAX: Final = 999  # of a blacklist: its places have three digits

Step = Literal["list", "get", "end"]


class Topic(msgspec.Struct, frozen=True):
    """One thing that terminals download. `guarded`: not for an address that has shown no MAC."""

    name: str
    digit: int  # processing request of the header that asks for it
    get: str  # DE 60.3
    end: str
    list: str = ""
    guarded: bool = False


TOPICS: Final = (
    Topic("parameters", 1, "360", "361"),
    Topic("ca_keys", 4, "370", "371", "372"),
    Topic("aids", 5, "380", "381", "382"),
    Topic("blacklist", 7, "390", "391", guarded=True),
    Topic("tms", 6, "364", "365", guarded=True),
)
STATUS, STATUS_CODE, STATUS_DIGIT = "status", "362", 2
SIGN_ON_DIGIT: Final = 3
BY_NAME: Final = {topic.name: topic for topic in TOPICS}
# (MTI, DE 60.3) → what it asks
STEPS: Final[dict[tuple[str, str], tuple[Topic, Step]]] = {
    ("0800", topic.get): (topic, "get") for topic in TOPICS
}
STEPS.update({("0800", topic.end): (topic, "end") for topic in TOPICS})
STEPS.update({("0820", topic.list): (topic, "list") for topic in TOPICS if topic.list})


class Wire(msgspec.Struct, frozen=True):
    """Where networks and makes differ; keys of a profile."""

    bytes_max: int = 512  # of DE 62
    ca_expiry: str = "ascii"  # DF05: 8 digits, or "bcd": 4 bytes
    blacklist_digits: int = 14  # of a card number, the first ones: what a terminal compares


# -- requests -------------------------------------------------------------------------------------


def received_of(de62: bytes) -> int:
    """How many a terminal says it has: `1` and two digits; without DE 62 none. DecodeError.

    >>> received_of(b"105"), received_of(b"")
    (5, 0)
    """
    if not de62:
        return 0
    if len(de62) != 3 or de62[:1] != b"1" or not de62.isdigit():
        raise DecodeError(62, 0, "1 and two digits: how many were received")
    return int(de62[1:])


def cards_of(de62: bytes) -> int:
    """The same for a blacklist, which names the next card's place: 000 and 001 are the first.

    >>> cards_of(b"000"), cards_of(b"001"), cards_of(b"032")
    (0, 0, 31)
    """
    if not de62:
        return 0
    if len(de62) != 3 or not de62.isdigit():
        raise DecodeError(62, 0, "three digits: the place of the next card")
    return max(int(de62) - 1, 0)


def key_named(de62: bytes) -> str:
    """The CA key of a get, as its item is called: 9F06 RID, 9F22 index. DecodeError."""
    tags = dict(tlv.parse(de62, 62))
    rid, index = tags.get("9F06", b""), tags.get("9F22", b"")
    if len(rid) != 5 or len(index) != 1:
        raise DecodeError(62, 0, "9F06 with a RID of 5 bytes and 9F22 with an index of 1")
    return f"{rid.hex()}/{index.hex()}".upper()


def aid_named(de62: bytes) -> str:
    """The AID of a get: 9F06. DecodeError."""
    aid = dict(tlv.parse(de62, 62)).get("9F06", b"")
    if not 5 <= len(aid) <= 16:
        raise DecodeError(62, 0, "9F06 with an AID of 5 to 16 bytes")
    return aid.hex().upper()


# -- answers --------------------------------------------------------------------------------------


def page(groups: Sequence[bytes], received: int, bytes_max: int) -> bytes:
    """Control character, and as many groups behind those received as fit: all, more follow, the last.

    >>> page([b"aa", b"bb", b"cc"], 0, 5), page([b"aa", b"bb", b"cc"], 2, 5), page([], 0, 5)
    (b'2aabb', b'3cc', b'0')
    """
    return _control(groups, received, received + _fitting(groups[received:], bytes_max - 1))


def card_page(numbers: Sequence[str], received: int, wire: Wire, *, more: bool) -> bytes:
    """Control character, n3 cards of the list up to the end of this message, and for each card
    n2 digits that count and the digits, filled with blanks to `blacklist_digits`.

    >>> card_page(["6220000000000011"], 31, Wire(), more=False)
    b'30321462200000000000'
    """
    width = wire.blacklist_digits
    control = NONE if not numbers else MORE if more else LAST if received else ALL
    groups = [f"{min(len(n), width):02}{n[:width]:<{width}}" for n in numbers]
    return control + f"{received + len(numbers):03}{''.join(groups)}".encode()


def cards_a_page(wire: Wire) -> int:
    """How many fit in one message."""
    return (wire.bytes_max - 4) // (2 + wire.blacklist_digits)


def _fitting(groups: Sequence[bytes], room: int) -> int:
    fitting = 0
    for group in groups:
        room -= len(group)
        if room < 0:
            break
        fitting += 1
    return fitting


def _control(groups: Sequence[bytes], first: int, end: int) -> bytes:
    if first >= len(groups):
        return NONE
    control = MORE if end < len(groups) else (LAST if first else ALL)
    return control + b"".join(groups[first:end])


def ca_group(key: CaKey, wire: Wire) -> bytes:
    """A key in the list: RID, index, expiry; 23 bytes with an expiry in ASCII."""
    return tlv.build(_ca_head(key, wire), 62)


def ca_tags(key: CaKey, wire: Wire) -> bytes:
    """The whole key."""
    rest = (
        ("DF06", key.hash_algorithm),
        ("DF07", key.key_algorithm),
        ("DF02", key.modulus),
        ("DF04", key.exponent),
        ("DF03", key.sha1),
    )
    tags = [*_ca_head(key, wire), *((tag, bytes.fromhex(value)) for tag, value in rest)]
    return tlv.build(tags, 62)


def _ca_head(key: CaKey, wire: Wire) -> list[tuple[str, bytes]]:
    ascii_ = wire.ca_expiry == "ascii"
    expiry = key.expiry.encode() if ascii_ else bytes.fromhex(key.expiry)
    return [
        ("9F06", bytes.fromhex(key.rid)),
        ("9F22", bytes.fromhex(key.index)),
        ("DF05", expiry),
    ]


def aid_group(aid: Aid) -> bytes:
    """An AID in the list."""
    return tlv.build([("9F06", bytes.fromhex(aid.aid))], 62)


def aid_tags(aid: Aid) -> bytes:
    """The whole of an AID's parameters; limits of 9F1B and DF15 binary, all others n12."""
    tags = [
        ("9F06", bytes.fromhex(aid.aid)),
        ("DF01", bytes.fromhex(aid.selection)),
        ("9F08", bytes.fromhex(aid.version)),
        ("DF11", bytes.fromhex(aid.tac_default)),
        ("DF12", bytes.fromhex(aid.tac_online)),
        ("DF13", bytes.fromhex(aid.tac_denial)),
        ("9F1B", aid.floor_limit_minor.to_bytes(4, "big")),
        ("DF15", aid.threshold_minor.to_bytes(4, "big")),
        ("DF16", bytes.fromhex(f"{aid.target_percent_max:02}")),
        ("DF17", bytes.fromhex(f"{aid.target_percent:02}")),
        ("DF14", bytes.fromhex(aid.ddol)),
        ("DF18", bytes([aid.online_pin])),
    ]
    limits = (
        ("9F7B", aid.e_cash_limit_minor),
        ("DF19", aid.contactless_floor_limit_minor),
        ("DF20", aid.contactless_limit_minor),
        ("DF21", aid.contactless_cvm_limit_minor),
    )
    tags += [(tag, bytes.fromhex(f"{limit:012}")) for tag, limit in limits if limit is not None]
    return tlv.build(tags, 62)


def parameters(of: Parameters, merchant_name: str) -> bytes:
    """Two-digit tags, each with a value of fixed width: ASCII, the name in GBK, tag 26 binary."""
    phones = (
        ("14", of.phone_1),
        ("15", of.phone_2),
        ("16", of.phone_3),
        ("17", of.management_phone),
    )
    values: list[tuple[str, bytes | None]] = [
        ("11", _digits(of.retransmission, 2)),
        ("12", _digits(of.timeout_s, 2)),
        ("13", _digits(of.dial_retries, 1)),
        *((tag, None if n is None else n.ljust(PHONE_CHARACTERS).encode()) for tag, n in phones),
        ("18", _digits(of.tip, 1)),
        ("19", _digits(of.tip_percent, 2)),
        ("20", _digits(of.keyed_entry, 1)),
        ("21", _digits(of.auto_sign_off, 1)),
        ("22", name_bytes(merchant_name) if of.merchant_name else None),
        ("23", _digits(of.resends, 1)),
        ("24", _digits(of.offline_upload_mode, 1)),
        ("25", _digits(of.tmk_index, 1)),
        ("26", bytes.fromhex(of.transaction_switches) if of.transaction_switches else None),
        ("27", _digits(of.offline_max, 2)),
    ]
    return b"".join(tag.encode() + value for tag, value in values if value is not None)


def _digits(value: int | None, width: int) -> bytes | None:
    return None if value is None else f"{int(value):0{width}}".encode()


def name_bytes(name: str) -> bytes:
    """40 bytes of GBK, cut behind a whole character; what GBK has not is a question mark.

    >>> name_bytes("店" * 21) == ("店" * 20).encode("gbk")
    True
    """
    whole = b""
    for character in name:
        coded = character.encode("gbk", "replace")
        if len(whole) + len(coded) > MERCHANT_NAME_BYTES:
            break
        whole += coded
    return whole.ljust(MERCHANT_NAME_BYTES)


def version_of(parts: Sequence[bytes]) -> str:
    """What a terminal has when it has all of them: 16 hex digits of a SHA-256, the same everywhere.

    >>> version_of([b"a", b"b"]) == version_of([b"ab"])
    False
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(4, "big") + part)
    return digest.hexdigest()[:16]


# -- status ---------------------------------------------------------------------------------------

# Tag → what it tells, width. Source: S1 `MakeTermStatusData`.
STATUS_FIELDS: Final = {
    "01": ("device_1", 1),
    "02": ("device_2", 1),
    "03": ("device_3", 1),
    "04": ("device_4", 1),
    "05": ("device_5", 1),
    "11": ("retransmission", 2),
    "12": ("timeout_s", 2),
    "13": ("dial_retries", 1),
    "14": ("phone_1", 14),
    "15": ("phone_2", 14),
    "16": ("phone_3", 14),
    "17": ("management_phone", 14),
    "18": ("tip", 1),
    "19": ("tip_percent", 2),
    "20": ("keyed_entry", 1),
    "21": ("auto_sign_off", 1),
    "22": ("merchant_name", 40),
    "23": ("resends", 1),
    "24": ("offline_upload_mode", 1),
    "25": ("tmk_index", 1),
    "26": ("transaction_switches", 4),
    "27": ("offline_max", 2),
    "51": ("statistics", 12),
}


def status(de62: bytes) -> dict[str, str]:
    """What a terminal says of itself, by name. `statistics`: hours 4, dials 5, success in percent 3.

    DecodeError for a tag that the table has not, or a value that is cut.

    >>> status(b"011" b"1260" b"51" b"007200123" b"100")
    {'device_1': '1', 'timeout_s': '60', 'statistics': '007200123100'}
    """
    told: dict[str, str] = {}
    at = 0
    while at < len(de62):
        tag = de62[at : at + 2].decode("latin-1")
        if tag not in STATUS_FIELDS:
            raise DecodeError(62, at, "no tag of a status upload")
        name, width = STATUS_FIELDS[tag]
        value = de62[at + 2 : at + 2 + width]
        if len(value) < width:
            raise DecodeError(62, at, f"tag {tag} has {width} bytes")
        told[name] = value.hex() if tag == "26" else value.decode("gbk", "replace").strip()
        at += 2 + width
    return told
