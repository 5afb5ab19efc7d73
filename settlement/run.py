"""What the steps of one run share: its date and instant, its ports, what is done so far."""

from collections.abc import Iterable
from datetime import date, datetime

import msgspec

from settlement.cases import Break
from settlement.fees import Tariffs
from settlement.ports import Dates, Engine, FileSink, Inbox, Pans, Progress, Step, Store
from settlement.settings import Settings


class WaitingError(Exception):
    """The step waits for input: a file, a decision, an earlier date."""


class UsageError(Exception):
    """The date can not be closed as asked."""


class Run(msgspec.Struct):
    """One run's ports and what its steps share; rebuilt from the store by every run."""

    date: date
    at: datetime
    files: Inbox
    store: Store
    dates: Dates
    pans: Pans
    sink: FileSink
    engine: Engine
    progress: Progress
    settings: Settings
    approved: frozenset[str]
    tariffs: Tariffs
    steps: dict[str, Step]

    @property
    def home(self) -> str:
        """The currency whose totals bear no code."""
        return self.settings.currency


def number(breaks: list[Break], business_date: date, letter: str) -> list[Break]:
    """Ids by (date, step, sequence)."""
    return [
        msgspec.structs.replace(one, id=f"{business_date:%Y%m%d}-{letter}{sequence:06d}")
        for sequence, one in enumerate(breaks, 1)
    ]


def in_minor(name: str, amounts: Iterable[tuple[str, int]], currency: str) -> dict[str, int]:
    """A step's total by currency: `name`_minor in `currency`, others with their code behind it.

    >>> in_minor("net", [("156", 5), ("344", 7), ("156", 1)], "156")
    {'net_minor': 6, 'net_minor_344': 7}
    """
    sums = {currency: 0}
    for code, amount in sorted(amounts):
        sums[code] = sums.get(code, 0) + amount
    return {
        f"{name}_minor" if code == currency else f"{name}_minor_{code}": amount
        for code, amount in sums.items()
    }
