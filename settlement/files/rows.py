"""What clearing files say besides transactions, one shape a kind, whatever file it came in.

Transactions are `settlement.clearing.ClearingRow`. Amounts are integers in minor units; where a file
signs them, C (credit to us) is plus and D is minus. PANs and account numbers are token and mask.
"""

from collections.abc import Callable, Collection
from datetime import date
from typing import ClassVar, Final

import msgspec

from settlement.clearing import ClearingRow


class FileRow(msgspec.Struct, frozen=True, kw_only=True):
    """What every row has: where it stands, and what it is looked up by."""

    kind: ClassVar[str] = ""

    acquirer: str
    file: str
    version: int
    line: int
    settlement_date: date
    merchant: str = ""
    rrn: str = ""
    pan_token: bytes = b""
    pan_masked: str = ""
    amount_minor: int = 0
    currency: str = "156"

    @property
    def id(self) -> str:
        """Names the row within all files."""
        return f"{self.acquirer}/{self.file}/{self.version}:{self.line}"


class Adjustment(FileRow, frozen=True, kw_only=True):
    """A chargeback, re-presentment or other correction (ERRA; IPM 1442, 1240/205).

    `original_*` names the transaction that it is about; `original_settlement_date` is the latest
    such day not after the file's. What it moves on this settlement date is `net_minor`.
    """

    kind: ClassVar[str] = "adjustment"

    error_type: str  # as the file has it: E05, or MTI/DE 24
    reason: str = ""  # four digits
    de32: str = ""
    de33: str = ""
    stan: str = ""
    transmission_time: str = ""
    mti: str = ""
    processing_code: str = ""
    mcc: str = ""
    terminal: str = ""
    auth_code: str = ""
    response_code: str = ""
    entry_mode: str = ""
    condition_code: str = ""
    receiver_id: str = ""
    issuer_id: str = ""
    original_stan: str = ""
    original_time: str = ""
    original_settlement_date: date | None = None
    original_amount_minor: int | None = None
    original_type: str = ""
    out_institution: str = ""
    out_account_masked: str = ""
    in_institution: str = ""
    in_account_masked: str = ""
    initiator: str = ""
    receivable_minor: int = 0
    payable_minor: int = 0
    fee_receivable_minor: int = 0
    fee_payable_minor: int = 0
    cardholder_fee_minor: int = 0
    instalment_fee_minor: int = 0
    merchant_fee_minor: int = 0

    @property
    def net_minor(self) -> int:
        """Plus comes to us."""
        return (
            self.receivable_minor
            - self.payable_minor
            + self.fee_receivable_minor
            - self.fee_payable_minor
        )


class BrandFee(FileRow, frozen=True, kw_only=True):
    """The network's brand service fee of one transaction (ALFEE)."""

    kind: ClassVar[str] = "brand_fee"

    debit_credit: str = ""  # 01 debit, 02 and 03 credit
    standard_card: str = ""
    de32: str = ""
    de33: str = ""
    stan: str = ""
    transmission_time: str = ""
    mti: str = ""
    processing_code: str = ""
    mcc: str = ""
    terminal: str = ""
    issuer_id: str = ""
    receiver_id: str = ""
    collecting_institution: str = ""
    original: str = ""  # MTI, trace, time and institutions of the original, as the file has them
    initiator: str = ""
    acquirer_fee_minor: int = 0
    brand_fee_minor: int = 0
    net_minor: int = 0


class MerchantTotal(FileRow, frozen=True, kw_only=True):
    """A merchant's day as the network sums it (ZSUM): amount, fee, net."""

    kind: ClassVar[str] = "merchant_total"

    name: str = ""
    fee_minor: int = 0
    net_minor: int = 0


class PayoutLine(FileRow, frozen=True, kw_only=True):
    """What the network pays a merchant for us (ZPSUM). `amount_minor` is the normal turnover."""

    kind: ClassVar[str] = "payout_line"

    name: str = ""
    mcc: str = ""
    bank_name: str = ""
    bank_code: str = ""  # CNAPS
    clearing_number: str = ""
    account_token: bytes = b""
    account_masked: str = ""
    account_name: str = ""
    area: str = ""
    count: int = 0
    fee_minor: int = 0
    error_count: int = 0
    error_amount_minor: int = 0
    refunded_fee_minor: int = 0
    other_minor: int = 0
    net_minor: int = 0
    offset_fee_minor: int = 0
    offset_party: str = ""
    released_minor: int = 0
    held_minor: int = 0
    top_up_minor: int = 0
    credited_minor: int = 0
    responsible_party: str = ""
    top_up_type: str = ""


class AgencyFee(FileRow, frozen=True, kw_only=True):
    """Who shares in one transaction that was cleared for us as an agency (ACOMA)."""

    kind: ClassVar[str] = "agency_fee"

    merchant_name: str = ""
    sender_institution: str = ""
    receiver_institution: str = ""
    session: str = ""
    discount_minor: int = 0  # fee by automatic discount
    merchant_fee_minor: int = 0
    bank: str = ""  # of the merchant's settlement account
    bank_fee_minor: int = 0
    shares: tuple[tuple[str, int], ...] = ()  # (institution, minor units) by role, 1 to 9
    custom_fees_minor: tuple[int, ...] = ()


class LeftOut(FileRow, frozen=True, kw_only=True):
    """One of the rows that cancel one another, which settle nothing (a reversed or voided pair of
    ACOMA). `amount_minor` is its signed effect; those of one `rrn` sum to zero."""

    kind: ClassVar[str] = "left_out"

    flag: str  # R reversed, C voided
    de32: str = ""
    de33: str = ""
    stan: str = ""
    transmission_time: str = ""
    mti: str = ""
    processing_code: str = ""
    terminal: str = ""


KINDS: Final[dict[str, type[FileRow]]] = {
    shape.kind: shape
    for shape in (Adjustment, AgencyFee, BrandFee, LeftOut, MerchantTotal, PayoutLine)
}


class Expected(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a link's `clearing` says of one type of file. Formats with options of their own add them.

    `name` is a regular expression of the whole file name with a group `date` (YYMMDD or YYYYMMDD)
    and, where a day has several files, `sequence` (digits). Empty: the standard's own names.
    """

    optional: bool = False  # its absence is no reason to wait
    name: str = ""


class CodedExpected(Expected, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For files whose rows say by a code of their own whether money came or went. A code in neither
    list refuses the file."""

    gives: tuple[str, ...] = ()  # sale, completion
    takes_back: tuple[str, ...] = ()  # void, refund


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What a parser is given besides the bytes."""

    token: Callable[[str], bytes]
    mask: Callable[[str], str]
    currency: str = "156"  # where the file names none
    version: int = 1
    approved: Collection[str] | None = None  # DE 39 of what moved money; None: the format's own
    expected: Expected = Expected()


class Parsed(msgspec.Struct, frozen=True, kw_only=True):
    """A whole file."""

    transactions: list[ClearingRow] = []
    rows: list[FileRow] = []

    @property
    def totals(self) -> dict[str, int]:
        """Counts and sums of what was read, for people and for the step's record."""
        found = {"transactions": len(self.transactions), "rows": len(self.rows)}
        if self.transactions:
            found["effect_minor"] = sum(row.effect_minor for row in self.transactions)
            found["fee_minor"] = sum(row.fee_minor for row in self.transactions)
        for row in self.rows:
            found[row.kind] = found.get(row.kind, 0) + 1
            found[f"{row.kind}_minor"] = found.get(f"{row.kind}_minor", 0) + row.amount_minor
        return found
