"""What terminals download, as reference data: CA public keys, AID parameters, terminal parameters, and
the sets that say which terminal has which.

A set is named by a profile, a merchant or a terminal (`downloads`). What a terminal's own set does not
say its merchant's does, and what that does not say its profile's.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

HEX: Final = re.compile(r"(?:[0-9A-F]{2})*")
NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")
PHONE: Final = re.compile(r"[0-9*#,]{0,14}")
MODULUS_BYTES: Final = (64, 248)  # EMV Book 2 annex D1: at most 248
EXPONENTS: Final = ("03", "010001")
DDOL_BYTES_MAX: Final = 252
LISTED_MAX: Final = 99  # keys or AIDs of a set: the count that a terminal sends has two digits
TMS_BYTES_MAX: Final = 40_000
AMOUNT_MAX: Final = 10**12 - 1
MERCHANT_NAME_BYTES: Final = 40


class CaKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A scheme's public key, for offline data authentication. Kind `ca_key`, key = "RID/index".

    `sha1` is over RID, index, modulus and exponent (EMV Book 2 §5.2): checked before it is stored.
    """

    rid: str  # 10 hex digits
    index: str  # 2 hex digits
    expiry: str  # YYYYMMDD
    modulus: str  # hex
    exponent: str = "03"  # or 010001
    sha1: str  # 40 hex digits
    hash_algorithm: str = "01"  # SHA-1
    key_algorithm: str = "01"  # RSA

    @property
    def name(self) -> str:
        return f"{self.rid}/{self.index}"


class Aid(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How terminals treat one chip application. Kind `aid`, key = AID.

    Amounts are in minor units; what is None is not sent.
    """

    aid: str  # 10 to 32 hex digits
    selection: str = "00"  # DF01, 2 hex digits: cards' longer AIDs match, or (makes differ) do not
    version: str = "0020"  # 9F08, 4 hex digits
    tac_default: str  # DF11, 10 hex digits, as the two below
    tac_online: str  # DF12
    tac_denial: str  # DF13
    floor_limit_minor: int = 0  # 9F1B
    threshold_minor: int = 0  # DF15, of biased random selection
    target_percent: int = 0  # DF17
    target_percent_max: int = 0  # DF16
    ddol: str = "9F3704"  # DF14, hex
    online_pin: bool = True  # DF18
    e_cash_limit_minor: int | None = None  # 9F7B
    contactless_floor_limit_minor: int | None = None  # DF19
    contactless_limit_minor: int | None = None  # DF20
    contactless_cvm_limit_minor: int | None = None  # DF21


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Parameters of a terminal, by the tags of DE 62. Kind `parameters`, key = name.

    What is None is not sent, and stays as it is in the terminal.
    """

    name: str
    retransmission: int | None = None  # 11, two digits; its use is the make's
    timeout_s: int | None = None  # 12, for an answer
    dial_retries: int | None = None  # 13
    phone_1: str | None = None  # 14
    phone_2: str | None = None  # 15
    phone_3: str | None = None  # 16
    management_phone: str | None = None  # 17
    tip: bool | None = None  # 18
    tip_percent: int | None = None  # 19
    keyed_entry: bool | None = None  # 20
    auto_sign_off: bool | None = None  # 21
    merchant_name: bool = True  # 22: the merchant's own, Chinese where it has one
    resends: int | None = None  # 23, of a reversal
    offline_upload_mode: int | None = None  # 24
    tmk_index: int | None = None  # 25
    transaction_switches: str | None = None  # 26, 8 hex digits
    offline_max: int | None = None  # 27, offline transactions kept


class DownloadSet(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a group of terminals has. Kind `download_set`, key = name. None and "": not said here."""

    name: str
    parameters: str = ""
    ca_keys: tuple[str, ...] | None = None  # "RID/index", in the order in which they are listed
    aids: tuple[str, ...] | None = None
    blacklist: str = ""  # a risk_list of cards, as far as its members are sealed (docs/risk.md)
    tms_hex: str = ""  # what the terminal manager's parameters are is its make's business
    status_hours: int = 0  # between status uploads; 0: none is asked for


# -- what a type can not say ----------------------------------------------------------------------

DIGITS_OF: Final = (  # of Parameters: field, highest value
    ("retransmission", 99),
    ("timeout_s", 99),
    ("dial_retries", 9),
    ("tip_percent", 99),
    ("resends", 9),
    ("offline_upload_mode", 9),
    ("tmk_index", 9),
    ("offline_max", 99),
)


def faults(item: CaKey | Aid | Parameters | DownloadSet) -> Iterator[tuple[str, str]]:
    """What is wrong with an item by itself: the key's path, the reason."""
    if isinstance(item, CaKey):
        yield from _of_ca_key(item)
    elif isinstance(item, Aid):
        yield from _of_aid(item)
    elif isinstance(item, Parameters):
        yield from _of_parameters(item)
    else:
        yield from _of_set(item)


def check_sum(item: CaKey) -> str:
    """SHA-1 over RID, index, modulus and exponent, as DF03 has it (EMV Book 2 §5.2)."""
    covered = bytes.fromhex(item.rid + item.index + item.modulus + item.exponent)
    return hashlib.sha1(covered, usedforsecurity=False).hexdigest().upper()


def _of_ca_key(item: CaKey) -> Iterator[tuple[str, str]]:
    widths = (("rid", 5), ("index", 1), ("sha1", 20), ("hash_algorithm", 1), ("key_algorithm", 1))
    hexadecimal = True
    for path, size in widths:
        for fault in _hex(path, getattr(item, path), size, size):
            hexadecimal = False
            yield fault
    for fault in _hex("modulus", item.modulus, *MODULUS_BYTES):
        hexadecimal = False
        yield fault
    if item.exponent not in EXPONENTS:
        hexadecimal = False
        yield "exponent", f"one of {', '.join(EXPONENTS)}, in hex"
    try:
        dt.datetime.strptime(item.expiry, "%Y%m%d").replace(tzinfo=dt.UTC)
    except ValueError:
        yield "expiry", "a date, YYYYMMDD"
    if len(item.expiry) != 8:
        yield "expiry", "a date, YYYYMMDD"
    if hexadecimal and item.sha1 != check_sum(item):
        yield (
            "sha1",
            (
                f"is not that of RID, index, modulus and exponent, which is {check_sum(item)}: one of"
                " the five was copied wrongly"
            ),
        )


def _of_aid(item: Aid) -> Iterator[tuple[str, str]]:
    yield from _hex("aid", item.aid, 5, 16)
    yield from _hex("selection", item.selection, 1, 1)
    yield from _hex("version", item.version, 2, 2)
    for path in ("tac_default", "tac_online", "tac_denial"):
        yield from _hex(path, getattr(item, path), 5, 5)
    yield from _hex("ddol", item.ddol, 1, DDOL_BYTES_MAX)
    for path in ("floor_limit_minor", "threshold_minor"):
        yield from _within(path, getattr(item, path), 0, 0xFFFFFFFF)
    for path in ("target_percent", "target_percent_max"):
        yield from _within(path, getattr(item, path), 0, 99)
    if item.target_percent_max < item.target_percent:
        yield "target_percent_max", "at least target_percent"
    for path in (
        "e_cash_limit_minor",
        "contactless_floor_limit_minor",
        "contactless_limit_minor",
        "contactless_cvm_limit_minor",
    ):
        yield from _within(path, getattr(item, path), 0, AMOUNT_MAX)


def _of_parameters(item: Parameters) -> Iterator[tuple[str, str]]:
    yield from _name(item.name)
    for path, highest in DIGITS_OF:
        yield from _within(path, getattr(item, path), 0, highest)
    for path in ("phone_1", "phone_2", "phone_3", "management_phone"):
        if not PHONE.fullmatch(getattr(item, path) or ""):
            yield path, "at most 14 digits, * # and the comma of a pause among them"
    if item.transaction_switches is not None:
        yield from _hex("transaction_switches", item.transaction_switches, 4, 4)


def _of_set(item: DownloadSet) -> Iterator[tuple[str, str]]:
    yield from _name(item.name)
    for path in ("ca_keys", "aids"):
        members = getattr(item, path) or ()
        if len(members) > LISTED_MAX:
            yield path, f"at most {LISTED_MAX}: a terminal counts them with two digits"
        for number, member in enumerate(members):
            if member in members[:number]:
                yield f"{path}[{number}]", f"{member} stands twice"
    yield from _hex("tms_hex", item.tms_hex, 0, TMS_BYTES_MAX)
    yield from _within("status_hours", item.status_hours, 0, 8_760)


def _hex(path: str, value: str, low: int, high: int) -> Iterator[tuple[str, str]]:
    if not HEX.fullmatch(value) or not 2 * low <= len(value) <= 2 * high:
        size = f"{2 * low}" if low == high else f"{2 * low} to {2 * high}"
        yield path, f"{size} hex digits, in upper case"


def _within(path: str, value: int | None, low: int, high: int) -> Iterator[tuple[str, str]]:
    if value is not None and not low <= value <= high:
        yield path, f"{low} to {high}"


def _name(name: str) -> Iterator[tuple[str, str]]:
    if not NAME.fullmatch(name):
        yield "name", "1 to 40 letters, digits, - and _"
