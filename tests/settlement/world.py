"""A small acquirer for the tests: what the switch would publish, what a bank would send."""

import hashlib
import hmac
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from settlement import ports
from settlement.adapters.cases_memory import MemoryCasework
from settlement.adapters.cases_postgres import PostgresCasework
from settlement.adapters.extracts import MemoryExtracts
from settlement.adapters.memory import MemoryStore
from settlement.adapters.payout_memory import MemoryPayouts
from settlement.adapters.payout_postgres import PostgresPayouts
from settlement.adapters.postgres import PostgresStore
from settlement.casework.ports import Casework
from settlement.clearing import NEGATIVE_TYPES, Capture, Reference, Transaction
from settlement.close import CloseResult, close
from settlement.fees import REFORM_96
from settlement.files import com
from settlement.payouts.ports import Payouts
from settlement.ports import Store
from settlement.settings import Settings
from tests.engine import small_engine

DAY = date(2026, 8, 3)
NEXT = date(2026, 8, 4)
AT = datetime(2026, 8, 4, 1, 30, tzinfo=UTC)
PAN = "6222021234567890123"
ACQUIRER = "bank-a"
DE32 = "48021000"
FAST = Settings(freeze_wait_s=0.0, freeze_poll_s=0.0)
ENGINE = small_engine()


class Pans:
    """Real AES-GCM and HMAC under keys of the test."""

    def __init__(self) -> None:
        self._key = b"k" * 32

    def token(self, pan: str) -> bytes:
        return hmac.digest(self._key, pan.encode(), "sha256")

    def mask(self, pan: str) -> str:
        return pan[:6] + "*" * (len(pan) - 10) + pan[-4:]

    def seal(self, data: bytes, name: str) -> bytes:
        nonce = os.urandom(12)
        return nonce + AESGCM(self._key).encrypt(nonce, data, name.encode())

    def open(self, sealed: bytes, name: str) -> bytes:
        return AESGCM(self._key).decrypt(sealed[:12], sealed[12:], name.encode())


PANS = Pans()


class Dates:
    """The switch's business dates, in memory."""

    def __init__(self, states: dict[date, str], undecided: int = 0) -> None:
        self.states = states
        self.undecided = undecided
        self.calls: list[str] = []

    async def state(self, business_date: date) -> str | None:
        return self.states.get(business_date)

    async def unposted_before(self, business_date: date) -> date | None:
        return min(
            (d for d, state in self.states.items() if d < business_date and state != "posted"),
            default=None,
        )

    async def cut_over(self, new_date: date) -> None:
        self.calls.append("cut_over")
        for day, state in self.states.items():
            if state == "open":
                self.states[day] = "cut"
        self.states[new_date] = "open"

    async def freeze(self, business_date: date) -> int:
        self.calls.append("freeze")
        if not self.undecided:
            self.states[business_date] = "frozen"
        return self.undecided

    async def mark_posted(self, business_date: date) -> None:
        self.calls.append("mark_posted")
        assert self.states[business_date] == "frozen"
        self.states[business_date] = "posted"


class Inbox:
    def __init__(self, files: dict[tuple[str, str], bytes] | None = None) -> None:
        self.files = dict(files or {})

    def names(self, acquirer: str) -> list[str]:
        return sorted(name for owner, name in self.files if owner == acquirer)

    def take(self, acquirer: str, name: str) -> bytes:
        return self.files[acquirer, name]

    def remove(self, acquirer: str, name: str) -> None:
        del self.files[acquirer, name]

    def put_back(self, acquirer: str, name: str) -> str | None:
        assert (acquirer, name) in self.files
        return None


class Sink:
    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def write(self, name: str, data: bytes) -> None:
        if name in self.files:
            assert self.files[name] == data, f"{name} was written with other bytes"
        self.files[name] = data

    def sync(self) -> None: ...

    def sha256(self, name: str) -> str | None:
        data = self.files.get(name)
        return None if data is None else hashlib.sha256(data).hexdigest()


def reference(
    kind: str,
    key: str,
    content: dict[str, object],
    version: int = 1,
    since: date = date(2026, 1, 1),
) -> Reference:
    moment = datetime(since.year, since.month, since.day, tzinfo=UTC)
    return Reference(kind, key, version, moment, content)


REFERENCES = [
    reference(
        "link",
        "bank-a-1",
        {
            "acquirer": ACQUIRER,
            "de32": DE32,
            "clearing": {"COM": {}, "ERRA": {"optional": True}},
        },
    ),
    reference("route", "622202", {"prefix": "622202", "card_type": "debit"}),
    reference("route", "622888", {"prefix": "622888", "card_type": "credit"}),
    reference(
        "merchant",
        "104110058120001",
        {"name": "Tea House", "name_zh": "老茶馆", "fee_plan": "standard"},
    ),
]


def trade(number: int, amount: int = 10_000, **changes: Any) -> Transaction:
    """Request `number`; approved purchase of a debit card unless `changes` say otherwise."""
    values: dict[str, Any] = {
        "request_id": number,
        "business_date": DAY,
        "settlement_date": DAY,
        "type": "purchase",
        "state": "approved",
        "merchant": "104110058120001",
        "terminal": "12345678",
        "batch": 1,
        "stan": number,
        "mti": "0200",
        "processing_code": "000000",
        "amount_minor": amount,
        "approved_amount_minor": amount,
        "currency": "156",
        "acquirer": ACQUIRER,
        "link_stan": f"{number:06d}",
        "transmission_time": "0803101500",
        "de32": DE32,
        "de33": None,
        "rrn": f"6215{number:08d}",
        "auth_code": f"{number % 1_000_000:06d}",
        "response_code": "00",
        "pan_token": PANS.token(PAN),
        "pan_masked": PANS.mask(PAN),
        "mcc": "5812",
        "entry_mode": "021",
        "condition_code": "00",
        "route": "622202@1",
    }
    return Transaction(**(values | changes))


def captures_of(transactions: Iterable[Transaction]) -> list[Capture]:
    return [
        Capture(
            capture_id=one.request_id,
            request_id=one.request_id,
            business_date=one.business_date,
            settlement_date=one.settlement_date,
            merchant=one.merchant,
            terminal=one.terminal,
            batch=one.batch,
            stan=one.stan,
            type=one.type,
            acquirer=one.acquirer or "",
            effect_minor=(-1 if one.type in NEGATIVE_TYPES else 1)
            * (one.approved_amount_minor or 0),
            currency=one.currency,
            original_request_id=one.original_request_id,
        )
        for one in transactions
        if one.state == "approved"
    ]


def billed(one: Transaction, pan: str = PAN, **changes: Any) -> dict[str, Any]:
    """The bank's COM row of a request, with the fees of the 96 reform on a debit card."""
    amount = one.approved_amount_minor or one.amount_minor
    minus = one.type in NEGATIVE_TYPES
    issuer = REFORM_96.fee("issuer", amount, "debit", one.mcc)
    network = REFORM_96.fee("network", amount, "debit", one.mcc)
    values: dict[str, Any] = {
        "acquirer_id": one.de32,
        "forwarder_id": one.de32,
        "stan": one.link_stan,
        "transmission_time": one.transmission_time,
        "pan": pan,
        "amount": amount,
        "partial_amount": 0,
        "cardholder_fee": 0,
        "mti": one.mti,
        "processing_code": "200000" if minus else "000000",
        "mcc": one.mcc,
        "terminal": one.terminal,
        "merchant": one.merchant,
        "rrn": one.rrn,
        "condition_code": one.condition_code,
        "auth_code": one.auth_code,
        "receiver_id": one.de32,
        "original_stan": 0,
        "response_code": "00",
        "entry_mode": one.entry_mode,
        "fee_receivable": issuer if minus else 0,
        "fee_payable": 0 if minus else issuer,
        "switching_fee": network if minus else -network,
        "original_time": 0,
        "issuer_id": "01020000",
    }
    return values | changes


def com_file(
    rows: Iterable[dict[str, Any]], day: date = DAY, sequence: int = 1
) -> tuple[str, bytes]:
    return com.render_name(day, sequence), com.render(rows)


def inbox(*files: tuple[str, bytes], acquirer: str = ACQUIRER) -> Inbox:
    return Inbox({(acquirer, name): data for name, data in files})


def world(
    transactions: Sequence[Transaction], references: Sequence[Reference] = REFERENCES
) -> MemoryStore:
    return MemoryStore(captures_of(transactions), transactions, references)


def casework_of(store: Store, dates: ports.Dates) -> Casework:
    """As the close has it, over the same store."""
    if isinstance(store, PostgresStore):
        return PostgresCasework(store.pool, within_close=True)
    assert isinstance(store, MemoryStore)
    return MemoryCasework(store, dates, within_close=True)


def payouts_of(store: Store) -> Payouts:
    if isinstance(store, PostgresStore):
        return PostgresPayouts(store.pool)
    assert isinstance(store, MemoryStore)
    return MemoryPayouts(store)


async def run_close(
    store: Store,
    files: ports.Inbox,
    *,
    day: date = DAY,
    dates: ports.Dates | None = None,
    sink: Sink | None = None,
    at: datetime = AT,
    approved: Sequence[str] = (),
    settings: Settings = FAST,
    engine: ports.Engine = ENGINE,
    extracts: ports.Extracts | None = None,
    casework: Casework | None = None,
) -> CloseResult:
    dates = dates or Dates({day: "open"})
    return await close(
        day,
        files,
        store,
        dates,
        PANS,
        sink or Sink(),
        payouts=payouts_of(store),
        casework=casework or casework_of(store, dates),
        engine=engine,
        extracts=extracts or MemoryExtracts(engine),
        at=at,
        approved=approved,
        settings=settings,
    )
