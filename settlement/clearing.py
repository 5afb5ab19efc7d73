"""What the day's end reads: captures and requests of the switch, rows of the networks' files.

`ClearingRecord` is ours, `ClearingRow` is theirs. Amounts are integers in minor units; `effect`
is signed: plus is owed to the merchant, minus is taken back.
"""

from datetime import date, datetime
from typing import Final

import msgspec

# Types whose captured effect is negative; an adjustment has either sign.
NEGATIVE_TYPES: Final = frozenset({"void", "refund", "completion_void"})
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
        """Signed: 20xxxx takes back (void, refund); a reversal takes back what its code gave."""
        sign = -1 if self.processing_code[:2] == "20" else 1
        return self.amount_minor * (-sign if self.is_reversal else sign)

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


def records_of(
    business_date: date,
    captures: list[Capture],
    transactions: list[Transaction],
    roots: dict[int, int],
) -> list[ClearingRecord]:
    """The clearing records of a frozen date, by key; `roots` knows the chains of earlier dates."""
    by_request = {transaction.request_id: transaction for transaction in transactions}
    originals = {t.request_id: t.original_request_id for t in transactions}
    originals |= {c.request_id: c.original_request_id for c in captures if c.original_request_id}
    records: list[ClearingRecord] = []
    linked: set[int] = set()
    for capture in sorted(captures, key=lambda capture: capture.capture_id):
        if capture.effect_minor == 0:
            continue
        transaction = by_request.get(capture.request_id)
        # The linked opposite that a reversal posts after the freeze keeps the link keys of its
        # original: the network's row for it, if any, is a reversal that names these.
        opposite = capture.request_id in linked or (
            capture.type != "adjustment"
            and (capture.effect_minor < 0) != (capture.type in NEGATIVE_TYPES)
        )
        linked.add(capture.request_id)
        records.append(
            _record(
                f"c{capture.capture_id}",
                capture,
                transaction,
                _root(capture.request_id, originals, roots),
                "opposite" if opposite else "approved",
                capture.effect_minor,
                capture.effect_minor,
            )
        )
    for transaction in sorted(transactions, key=lambda transaction: transaction.request_id):
        if (
            transaction.request_id in linked
            or transaction.link_stan is None
            or transaction.acquirer is None
            or transaction.business_date != business_date
        ):
            continue
        asked = -1 if transaction.type in NEGATIVE_TYPES else 1
        records.append(
            _record(
                f"r{transaction.request_id}",
                transaction,
                transaction,
                _root(transaction.request_id, originals, roots),
                transaction.state,
                0,
                asked * transaction.amount_minor,
            )
        )
    return records


def _root(request_id: int, originals: dict[int, int | None], roots: dict[int, int]) -> int:
    for _ in range(16):  # a chain is pre-authorisation, completion, refund: far below the bound
        if request_id in roots:
            return roots[request_id]
        original = originals.get(request_id)
        if original is None or original == request_id:
            break
        request_id = original
    return request_id


def _record(
    key: str,
    source: Capture | Transaction,
    link: Transaction | None,
    root: int,
    state: str,
    effect_minor: int,
    amount_minor: int,
) -> ClearingRecord:
    assert source.acquirer is not None
    de32 = institution(link.de32) if link else ""
    settlement_date = source.settlement_date or source.business_date
    if state == "opposite":
        # The view shows its original's. The reversal goes out with or after its commit, so it
        # settles on that date or later.
        settlement_date = max(settlement_date, source.business_date)
    return ClearingRecord(
        key=key,
        business_date=source.business_date,
        settlement_date=settlement_date,
        request_id=source.request_id,
        root_request_id=root,
        type=source.type,
        state=state,
        merchant=source.merchant,
        terminal=source.terminal,
        batch=source.batch,
        stan=source.stan,
        acquirer=source.acquirer,
        effect_minor=effect_minor,
        amount_minor=amount_minor,
        currency=source.currency,
        de32=de32,
        de33=(institution(link.de33) or de32) if link else "",
        link_stan=(link.link_stan or "") if link else "",
        transmission_time=(link.transmission_time or "") if link else "",
        rrn=(link.rrn or "") if link else "",
        auth_code=(link.auth_code or "") if link else "",
        pan_token=link.pan_token if link else b"",
        pan_masked=link.pan_masked if link else "",
        card_type=link.route if link else "",
        mcc=link.mcc if link else "",
        entry_mode=link.entry_mode if link else "",
        response_code=(link.response_code or "") if link else "",
    )
