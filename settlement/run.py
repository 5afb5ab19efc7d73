"""What the steps of one run share: its date and instant, its ports, what is done so far."""

import asyncio
from collections.abc import Iterable
from datetime import date, datetime

import msgspec

from settlement.cases import Break
from settlement.casework.ports import Casework
from settlement.columns import Relation, relation, schema_of
from settlement.fees import Tariffs
from settlement.ledger import Movement
from settlement.payouts.ports import Payouts
from settlement.ports import (
    SHAPES,
    Dates,
    Engine,
    Extracted,
    Extracts,
    FileSink,
    Inbox,
    Pans,
    Progress,
    Step,
    Store,
)
from settlement.said import Said, SaidError
from settlement.settings import Settings


class WaitingError(SaidError):
    """The step waits for input: a file, a decision, an earlier date."""


class UsageError(SaidError):
    """The date can not be closed as asked."""


class Run(msgspec.Struct):
    """One run's ports and what its steps share; rebuilt from the store by every run."""

    date: date
    at: datetime
    files: Inbox
    store: Store
    casework: Casework  # under the date's lock, which the run holds
    payouts: Payouts
    dates: Dates
    pans: Pans
    sink: FileSink
    engine: Engine
    extracts: Extracts
    progress: Progress
    settings: Settings
    approved: frozenset[str]
    tariffs: Tariffs
    steps: dict[str, Step]
    at_hand: dict[str, Relation] = {}  # what this run has made or read of the date's extracts
    moved: list[Movement] | None = None  # as read back from the ledger
    found: list[Break] | None = None  # of the date, as the store has them since the last step
    earlier: list[Break] | None = None  # of earlier dates, open when the date's close began
    written: set[str] = set()  # files that this run has written
    notes: list[Said] = []  # what the operator must know, however the run ends
    step: str = ""  # that is under way; while two are, the one that is waited for

    @property
    def home(self) -> str:
        """The currency whose totals bear no code."""
        return self.settings.currency

    async def movements(self) -> list[Movement]:
        """What the date's entries moved, out of the store, once a run."""
        if self.moved is None:
            self.moved = await self.store.movements(self.date)
        return self.moved

    async def breaks(self) -> list[Break]:
        """`Store.breaks` of the date, once between two commits of steps."""
        if self.found is None:
            self.found = await self.store.breaks(self.date)
        return self.found

    async def open_breaks(self) -> list[Break]:
        """`Store.open_breaks` of the date, once a run: what earlier dates left is not changed any more."""
        if self.earlier is None:
            self.earlier = await self.store.open_breaks(self.date)
        return self.earlier


async def breathe() -> None:
    """Where a step computes for long: lets what the step before still writes take its next turn."""
    await asyncio.sleep(0)


async def extract(run: Run, name: Extracted) -> Relation:
    """What a step of the date added, under its name in the engine: as this run or an earlier one
    left it, else out of the store."""
    if name not in run.at_hand:
        shape = SHAPES[name]
        digest = (await run.store.extracts(run.date)).get(name, relation(shape).sha256)
        found = run.extracts.find(name, digest)
        if found is None:
            found = await load(run, name, name, run.date, ordered=True)
            assert found.sha256 == digest, f"the {name} of {run.date} are not what was written"
            found.forget_text()
        run.at_hand[name] = found
    return run.at_hand[name]


async def load(
    run: Run, table: str, name: Extracted, *dates: date, ordered: bool = False
) -> Relation:
    """A read of the store as the engine's `table`."""
    batches = run.store.extract(name, *dates, ordered=ordered)
    return await run.extracts.load(table, schema_of(SHAPES[name]), batches)


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
