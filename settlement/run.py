"""What the steps of one run share: its date and instant, its ports, what is done so far."""

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


def number(breaks: list[Break], business_date: date, letter: str) -> list[Break]:
    """Ids by (date, step, sequence)."""
    return [
        msgspec.structs.replace(one, id=f"{business_date:%Y%m%d}-{letter}{sequence:06d}")
        for sequence, one in enumerate(breaks, 1)
    ]
