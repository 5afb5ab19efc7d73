"""What the day's end reads: captures and requests of the switch, rows of the networks' files.

`ClearingRecord` is ours, `ClearingRow` is theirs. Amounts are integers in minor units; `effect`
is signed: plus is owed to the merchant, minus is taken back.
"""

from datetime import date, datetime
from typing import Final

import msgspec

# Types whose captured effect is negative.
REFUND_TYPES: Final = ("refund", "moto_refund")
NEGATIVE_TYPES: Final = frozenset(
    {
        *REFUND_TYPES,
        *("void", "completion_void", "moto_void", "instalment_void"),
        *("points_void", "reservation_void"),
    }
)
# Types of which it has either sign: a new total less the old one.
EITHER_TYPES: Final = ("adjustment", "tip")
# Types that never move money: they take part only as evidence.
PAIRED_MTI: Final = "04"


class Capture(msgspec.Struct, frozen=True):
    """One row of `switch.capture_v1`: a standing signed effect."""

    capture_id: int
    request_id: int
    business_date: date
    settlement_date: date | None
    merchant: str
    terminal: str
    batch: int
    stan: int
    type: str
    acquirer: str
    effect_minor: int
    currency: str
    original_request_id: int | None = None


class Transaction(msgspec.Struct, frozen=True):
    """One row of `switch.transaction_v1`: a request, with the attempt that counts."""

    request_id: int
    business_date: date
    settlement_date: date | None
    type: str
    state: str
    merchant: str
    terminal: str
    batch: int
    stan: int
    mti: str
    processing_code: str
    amount_minor: int
    currency: str
    approved_amount_minor: int | None = None
    acquirer: str | None = None
    link_stan: str | None = None
    transmission_time: str | None = None
    de32: str | None = None
    de33: str | None = None
    rrn: str | None = None
    acquirer_rrn: str | None = None
    auth_code: str | None = None
    response_code: str | None = None
    route_rule: str | None = None
    original_request_id: int | None = None
    pan_token: bytes = b""
    pan_masked: str = ""
    mcc: str = ""
    entry_mode: str = ""
    condition_code: str = ""
    received_at: datetime | None = None
    route: str = ""  # prefix@version that the decision rested on


class Reference(msgspec.Struct, frozen=True):
    """One version of a piece of reference data."""

    kind: str
    key: str
    version: int
    effective_from: datetime
    content: dict[str, object]


class ClearingRecord(msgspec.Struct, frozen=True):
    """Our side of a match. `c<capture id>` is a captured effect; `r<request id>` is a request
    that reached the acquirer and left no standing capture (declined, unknown, reversed, ...):
    effect 0, `amount_minor` what was asked, there to explain a row of the file."""

    key: str
    business_date: date
    settlement_date: date
    request_id: int
    root_request_id: int
    type: str
    state: str
    merchant: str
    terminal: str
    batch: int
    stan: int
    acquirer: str
    effect_minor: int
    amount_minor: int  # signed by type; equals effect_minor where captured
    currency: str
    de32: str = ""
    de33: str = ""
    link_stan: str = ""
    transmission_time: str = ""
    rrn: str = ""
    auth_code: str = ""
    pan_token: bytes = b""
    pan_masked: str = ""
    card_type: str = ""  # until the tariffs are read, the route
    mcc: str = ""
    entry_mode: str = ""
    response_code: str = ""
    plan: str = ""
    plan_version: int = 0

    @property
    def captured(self) -> bool:
        return self.key[0] == "c"


class FileName(msgspec.Struct, frozen=True):
    """What the name of a clearing file says."""

    acquirer: str
    name: str
    type: str
    settlement_date: date
    sequence: int


class IncomingFile(msgspec.Struct, frozen=True):
    """A file as it was taken in: sealed, with the hash of what was inside."""

    acquirer: str
    name: str
    type: str
    settlement_date: date
    sequence: int
    version: int
    sha256: bytes
    rows: int
    business_date: date
    sealed: bytes = b""


class HeldFile(msgspec.Struct, frozen=True):
    """Other content under the name of a file that is in already: sealed, until it is approved."""

    acquirer: str
    name: str
    sha256: bytes
    break_id: str
    sealed: bytes


class ClearingRow(msgspec.Struct, frozen=True):
    """One row of a network's file. The PAN left as token and mask at the parser."""

    acquirer: str
    file: str
    version: int
    line: int
    settlement_date: date
    content: bytes  # SHA-256 of settlement date and line: the order that no shuffling changes
    de32: str
    de33: str
    stan: str
    transmission_time: str
    pan_token: bytes
    pan_masked: str
    amount_minor: int  # unsigned, as billed
    currency: str
    mti: str
    processing_code: str
    mcc: str
    terminal: str
    merchant: str
    rrn: str
    condition_code: str
    auth_code: str
    original_stan: str
    original_time: str
    response_code: str
    entry_mode: str
    fee_receivable_minor: int | None
    fee_payable_minor: int | None
    switching_fee_minor: int | None

    @property
    def id(self) -> str:
        """Names the row within all files."""
        return f"{self.acquirer}/{self.file}/{self.version}:{self.line}"

    @property
    def is_reversal(self) -> bool:
        return self.mti[:2] == PAIRED_MTI

    @property
    def effect_minor(self) -> int:
        return effect_of(self.amount_minor, self.mti, self.processing_code)

    @property
    def issuer_fee_minor(self) -> int | None:
        """What the file charges us for the issuer; minus comes back. None: not stated."""
        if self.fee_payable_minor is None and self.fee_receivable_minor is None:
            return None
        return (self.fee_payable_minor or 0) - (self.fee_receivable_minor or 0)

    @property
    def network_fee_minor(self) -> int | None:
        return None if self.switching_fee_minor is None else -self.switching_fee_minor

    @property
    def fee_minor(self) -> int:
        return (self.issuer_fee_minor or 0) + (self.network_fee_minor or 0)


def effect_of(amount_minor: int, mti: str, processing_code: str) -> int:
    """Signed: 20xxxx takes back (void, refund); a reversal takes back what its code gave."""
    sign = -1 if processing_code[:2] == "20" else 1
    return amount_minor * (-sign if mti[:2] == PAIRED_MTI else sign)


def institution(value: str | None) -> str:
    """An institution code as both sides compare it: no blanks, no leading zeros.

    >>> institution("00048021000"), institution("48021000   "), institution(None)
    ('48021000', '48021000', '')
    """
    return (value or "").strip().lstrip("0")


def infer_date(month_day: str, settlement_date: date) -> date | None:
    """The date of MMDD: in the year that brings it nearest to the settlement date.

    >>> infer_date("1231", date(2027, 1, 1)).isoformat()
    '2026-12-31'
    >>> infer_date("0101", date(2026, 12, 31)).isoformat()
    '2027-01-01'
    """
    near: list[date] = []
    for year in (settlement_date.year, settlement_date.year - 1, settlement_date.year + 1):
        try:
            near.append(date(year, int(month_day[:2]), int(month_day[2:])))
        except ValueError:
            continue
    return min(near, key=lambda day: abs(day - settlement_date), default=None)
