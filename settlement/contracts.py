"""What reference data says about being paid: contracts, our bank accounts, calendars.

A payee is a merchant, by its id, or an agent, as `agent/ID`.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Final, Literal, TypeVar

import msgspec

from settlement.calendars import ONE_DAY, Calendar, CalendarError, add_working_days, last_due
from settlement.clearing import Reference
from settlement.fees import Tariffs

KINDS: Final = ("merchant", "agent", "bank_account", "calendar", "link")
AGENT: Final = "agent/"
AGENT_CYCLE: Final = "M+1"  # shares are paid by the month, and never in advance
Shape = TypeVar("Shape", bound=msgspec.Struct)
NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,35}")  # of a bank account: it is part of keys
_CYCLE: Final = re.compile(r"T\+[0-9]{1,2}|M\+(?:[1-9]|1[0-9])")  # a month has 20 or so


class BankAccount(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An account of ours. Kind `bank_account`, key = name."""

    name: str
    purpose: Literal["reserve", "own"]  # customers' money, or our own funds
    account: str  # IBAN, or the bank's own number; as its statements name it
    bank: str  # BIC, or CNAPS code (12 digits)
    holder: str
    currency: str = "156"
    calendar: str = ""  # the bank's working days; empty: those of the payee's calendar


class Contract(msgspec.Struct, frozen=True):
    """How a payee is paid, out of its item of reference data; other keys are not read here."""

    payee: str = ""
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
    def is_advance(self) -> bool:
        return self.payout_cycle == "T+0"

    def last_due(self, calendars: Sequence[Calendar], payout_date: date) -> date:
        """The last business date that is due on `payout_date`."""
        unit, days = cycle_of(self.payout_cycle)
        if unit == "T":
            return last_due(calendars, payout_date, days)
        before = payout_date.replace(day=1) - ONE_DAY  # the last of the month before
        if add_working_days(calendars, before, days) <= payout_date:
            return before
        return before.replace(day=1) - ONE_DAY

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


def is_cycle(text: str) -> bool:
    """
    >>> [is_cycle(one) for one in ("T+0", "T+5", "M+3", "M+0", "weekly", "T+100")]
    [True, True, True, False, False, False]
    """
    return _CYCLE.fullmatch(text) is not None


def cycle_of(payout_cycle: str) -> tuple[str, int]:
    """Unit and working days. T+n: n after the business date; M+n: the n-th of the next month, which
    pays the whole month.

    >>> cycle_of("T+1"), cycle_of("M+10")
    (('T', 1), ('M', 10))
    """
    found = _CYCLE.fullmatch(payout_cycle)
    assert found is not None, payout_cycle
    unit, _, days = payout_cycle.partition("+")
    return unit, int(days)


def agent_of(payee: str) -> str:
    """The agent's id; empty for a merchant.

    >>> agent_of("agent/north"), agent_of("104110058120001")
    ('north', '')
    """
    return payee.removeprefix(AGENT) if payee.startswith(AGENT) else ""


class SettlementTerms(msgspec.Struct, frozen=True):
    """When and whence a network's money comes, out of its link's item; other keys are not read."""

    settlement_payer: str = ""  # account that its credits come from; empty: not said
    settlement_days: int = 1  # working days after the settlement date
    settlement_calendar: str = ""


class Contracts:
    """The reference data in force on one date, by its shapes."""

    def __init__(self, references: Iterable[Reference], on: date) -> None:
        tariffs = Tariffs(references)

        def items(kind: str, shape: type[Shape]) -> dict[str, Shape]:
            found = ((key, tariffs.in_force(kind, key, on)) for key in tariffs.keys(kind))
            return {
                key: msgspec.convert(item.content, shape) for key, item in found if item is not None
            }

        self.payees = {
            key: msgspec.structs.replace(one, payee=key)
            for key, one in items("merchant", Contract).items()
        }
        for key, one in items("agent", Contract).items():
            monthly = one.payout_cycle if one.payout_cycle.startswith("M") else AGENT_CYCLE
            self.payees[AGENT + key] = msgspec.structs.replace(
                one, payee=AGENT + key, payout_cycle=monthly
            )
        self.accounts = items("bank_account", BankAccount)
        self.calendars = items("calendar", Calendar)
        self._terms = {  # by acquirer
            str(item.content.get("acquirer", key)): msgspec.convert(item.content, SettlementTerms)
            for key in tariffs.keys("link")
            if (item := tariffs.in_force("link", key, on)) is not None
        }
        self.payers = {key: terms.settlement_payer for key, terms in self._terms.items()}

    def terms(self, acquirer: str) -> SettlementTerms:
        """The defaults where it has no link any more."""
        return self._terms.get(acquirer, SettlementTerms())

    def reserve_calendar(self, currency: str) -> str:
        """Of our first reserve account of the currency that names one; else empty."""
        named = (
            one.calendar
            for _, one in sorted(self.accounts.items())
            if (one.purpose, one.currency) == ("reserve", currency) and one.calendar
        )
        return next(named, "")

    def paying_account(self, contract: Contract, currency: str) -> BankAccount | None:
        """Ours that pays; None where there is none that may."""
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
        """The payee's and the bank's. Raises `CalendarError` where neither names one."""
        names = sorted({contract.payout_calendar, account.calendar} - {""})
        if not names:
            raise CalendarError("payee_no_calendar", payee=contract.payee, account=account.name)
        for name in names:
            if name not in self.calendars:
                raise CalendarError("calendar_unknown", calendar=name)
        return [self.calendars[name] for name in names]
