"""The estate's reference data: merchants, terminals and the profiles that say how a terminal speaks.

They are versioned items (kind, key, version, effective from, content); `tongbao data apply` brings
them in, `merchant add` and `terminal add` are the short ways. What changes by itself (working keys,
batches) is not here.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Literal

import msgspec


class Status(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"


class Merchant(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An acceptor (rules §15). Kind `merchant`, key = merchant id."""

    merchant: str  # DE 42, 15 characters
    name: str
    name_zh: str = ""
    mcc: str = "5999"
    place: str = ""  # DE 43 on links: name and place, 40 characters
    agent: str = ""
    fee_plan: str = ""
    settlement_account: str = ""  # where payouts go: IBAN, or the bank's own number
    settlement_bank: str = ""  # BIC, or CNAPS code
    settlement_name: str = ""  # of the account's holder; "": name
    payout_cycle: str = (
        "T+1"  # n in working days; T+0 is an advance from own funds; M+n by the month
    )
    payout_calendar: str = ""  # whose working days; "": those of the bank that pays
    payout_account: str = ""  # ours that pays; "": the first reserve account of the currency
    payout_minimum_minor: int = 0  # less is carried
    reserve_rate: Decimal = Decimal(0)  # of a date's gross sales: waits reserve_days
    reserve_days: int = 0
    reserve_cap_minor: int | None = None
    advance_fee_rate: Decimal = Decimal(0)  # of what T+0 pays
    status: Status = Status.ACTIVE
    timezone: str = "Asia/Shanghai"
    currency: str = "156"  # DE 49 its terminals may use
    allowed_types: tuple[str, ...] = ("purchase", "void", "refund", "balance")
    partial_approval: bool = False
    unreferenced_refund: bool = False  # a refund whose original is not found: held for review
    amount_limit_minor: int = 5_000_000_00  # one transaction; above it 61
    downloads: str = ""  # a download_set: what it says its terminals have before their profile's


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How terminals of one make speak. Kind `profile`, key = name."""

    name: str
    dialect: str = "unionpay_pos"
    mac_profile: str = "unionpay-ecb"
    mak_bytes: int = 16  # 8 or 16
    key_layouts: tuple[str, ...] = ("003", "004")  # DE 60.3 of sign-on: 001, 003, 004
    management_check: str = (
        "session"  # what 0500 and 0320 must show: session, mac, open (rules §10)
    )
    settlement_response_code: bool = True  # False: 0510 without DE 39
    batch_in_message: bool = True  # False: the host's open batch counts
    downloads: str = (
        ""  # a download_set of all of the make; a merchant's or a terminal's comes first
    )
    download_bytes: int = 512  # of DE 62 in an answer, 400 to 999
    ca_expiry: str = "ascii"  # DF05: eight digits, or bcd: four bytes
    blacklist_digits: int = 14  # of a card number that a terminal compares: 10 to 19
    parameters_end: bool = True  # False: no 361 follows, the answer to 360 is the end


class Terminal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Kind `terminal`, key = "merchant/terminal". Its TMK is a stored key, never in here."""

    merchant: str
    terminal: str  # DE 41, 8 characters
    profile: str = "default"
    status: Status = Status.ACTIVE
    serial: str = ""  # checked against DE 62 of the sign-on where given
    dialect: str = ""  # "": the profile's
    mac_profile: str = ""  # "": the profile's
    downloads: str = ""  # a download_set: what it says comes before the merchant's and profile's

    @property
    def name(self) -> str:
        return f"{self.merchant}/{self.terminal}"


KeyStatus = Literal["pending", "active", "retired"]


class StoredKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as its vault returned it. `owner`: "terminal:merchant/terminal", "link:acquirer", "data"."""

    owner: str
    usage: str  # hsm.keys.KeyUsage name
    version: int
    block: str  # opaque form under the LMK
    check_value: str
    lmk_id: str
    status: KeyStatus = "active"  # nodes use what is active, and nothing else
