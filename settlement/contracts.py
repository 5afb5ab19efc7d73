"""What reference data says about being paid: a merchant's contract, our bank accounts, calendars."""

import re
from collections.abc import Iterable
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Final, Literal, TypeVar

import msgspec

from settlement.calendars import COUNT_MAX, Calendar, CalendarError
from settlement.clearing import Reference
from settlement.fees import Tariffs

KINDS: Final = ("merchant", "bank_account", "calendar", "link")
Shape = TypeVar("Shape", bound=msgspec.Struct)
NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,35}")  # of a bank account: it is part of keys
_CYCLE: Final = re.compile(r"T\+(\d{1,3})")


class BankAccount(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An account of ours. Kind `bank_account`, key = name."""

    name: str
    purpose: Literal["reserve", "own"]  # customers' money, or our own funds
    account: str  # IBAN, or the bank's own number; as its statements name it
    bank: str  # BIC, or CNAPS code (12 digits)
    holder: str
    currency: str = "156"
    calendar: str = ""  # the bank's working days; empty: those of the merchant's calendar


class Contract(msgspec.Struct, frozen=True):
    """How a merchant is paid, out of its item of reference data; other keys are not read here."""

    merchant: str = ""
    name: str = ""
    status: str = "active"
    payout_cycle: str = "T+1"
    payout_calendar: str = ""
    payout_account: str = ""  # ours that pays; empty: the first reserve account of the currency
    payout_minimum_minor: int = 0
    settlement_account: str = ""
    settlement_bank: str = ""
    settlement_name: str = ""  # empty: name
    reserve_rate: Decimal = Decimal(0)  # of a date's gross sales
    reserve_days: int = 0
    reserve_cap_minor: int | None = None
    advance_fee_rate: Decimal = Decimal(0)  # of what T+0 pays

    @property
    def days(self) -> int:
        """n of T+n, in working days."""
        days = cycle_days(self.payout_cycle)
        assert days is not None, self.payout_cycle
        return days

    @property
    def is_advance(self) -> bool:
        return self.days == 0

    def withheld(self, gross_minor: int, net_minor: int, standing_minor: int) -> int:
        """What a date adds to the rolling reserve: half up, up to the cap, never beyond the net."""
        wanted = part_of(gross_minor, self.reserve_rate)
        if self.reserve_cap_minor is not None:
            wanted = min(wanted, self.reserve_cap_minor - standing_minor)
        return max(0, min(wanted, net_minor))


def part_of(amount_minor: int, rate: Decimal) -> int:
    """
    >>> part_of(1050, Decimal("0.10")), part_of(1049, Decimal("0.1"))
    (105, 105)
    """
    return int((amount_minor * rate).quantize(Decimal(1), rounding=ROUND_HALF_UP))


def cycle_days(payout_cycle: str) -> int | None:
    """
    >>> cycle_days("T+0"), cycle_days("T+5"), cycle_days("weekly")
    (0, 5, None)
    """
    found = _CYCLE.fullmatch(payout_cycle)
    if found is None or int(found[1]) > COUNT_MAX:
        return None
    return int(found[1])


class Contracts:
    """The reference data in force on one date, by its shapes."""

    def __init__(self, references: Iterable[Reference], on: date) -> None:
        tariffs = Tariffs(references)

        def items(kind: str, shape: type[Shape]) -> dict[str, Shape]:
            found = ((key, tariffs.in_force(kind, key, on)) for key in tariffs.keys(kind))
            return {
                key: msgspec.convert(item.content, shape) for key, item in found if item is not None
            }

        self.merchants = items("merchant", Contract)
        self.accounts = items("bank_account", BankAccount)
        self.calendars = items("calendar", Calendar)
        self.payers = {  # acquirer -> account that its credits come from; "": not said
            str(item.content.get("acquirer", key)): str(item.content.get("settlement_payer", ""))
            for key in tariffs.keys("link")
            if (item := tariffs.in_force("link", key, on)) is not None
        }

    def paying_account(self, contract: Contract, currency: str) -> BankAccount | None:
        """Ours that pays the merchant; None where there is none that may."""
        purpose = "own" if contract.is_advance else "reserve"  # T+0: never customers' money
        if contract.payout_account:
            named = self.accounts.get(contract.payout_account)
            fits = named and (named.purpose, named.currency) == (purpose, currency)
            return named if fits else None
        if contract.is_advance:
            return None  # T+0 names its account
        fitting = (one for _, one in sorted(self.accounts.items()) if one.purpose == purpose)
        return next((one for one in fitting if one.currency == currency), None)

    def calendars_of(self, contract: Contract, account: BankAccount) -> list[Calendar]:
        """The merchant's and the bank's. Raises `CalendarError` where neither names one."""
        names = sorted({contract.payout_calendar, account.calendar} - {""})
        if not names:
            raise CalendarError(f"neither {contract.merchant} nor {account.name} has a calendar")
        for name in names:
            if name not in self.calendars:
                raise CalendarError(f"there is no calendar {name}")
        return [self.calendars[name] for name in names]

    def account_of(self, number: str) -> BankAccount | None:
        """Ours with that number."""
        return next((one for one in self.accounts.values() if one.account == number), None)
