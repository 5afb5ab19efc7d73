"""The day's end of one business date: eight named steps, in order, each done once.

    cut        the business date moves on; nothing new joins this one
    freeze     nothing is undecided any more; captures become clearing records
    intake     the networks' files: sealed, parsed, stored; the plaintext leaves the inbox; then
               rows of error files open and move disputes, and deadlines pass
    reconcile  records against rows: matches, and breaks as values
    fees       our discount on every record; the file's fees beside ours
    post       balanced entries, sealed into the chain; P5; then the date is locked
    net        what every merchant is owed, read back from the ledger
    reports    CSV and a page to read

A step's facts and its record are one commit, so a run killed anywhere starts again at the first
step without a record and comes to the same facts. What touches the outside after a commit (remove
a plaintext, lock the date) is repeated by every run and may be. The instant of the date's first
run is the only time that reaches a file, and ids derive from (date, step, sequence): the same
files again, byte for byte.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from datetime import date, datetime, timedelta
from typing import Final, Literal

import msgspec

from settlement.cases import Break
from settlement.casework.ports import Casework
from settlement.disputes.day_end import DISPUTES, disputes
from settlement.fees import NotInForceError, Tariffs
from settlement.files.layout import FileError
from settlement.freeze import freeze
from settlement.intake import intake, intake_after
from settlement.ledger import LedgerConflictError, TrialLine, trial_balance
from settlement.netting import Net
from settlement.payouts.ports import Payouts
from settlement.ports import (
    BESIDE_WRITING,
    REFERENCE_KINDS,
    STEPS,
    Dates,
    Engine,
    Extracts,
    Facts,
    FileSink,
    Inbox,
    NoProgress,
    Output,
    Pans,
    Progress,
    Step,
    Store,
)
from settlement.posting import net, post, post_after
from settlement.reconciliation import reconcile_day
from settlement.reports.step import reports, reports_after
from settlement.run import Run, UsageError, WaitingError, breathe
from settlement.said import Said, said
from settlement.settings import DEFAULTS, Settings
from settlement.sharing import fees

DONE, DIFFERENCES, USAGE, WAITING, FAILURE = 0, 1, 2, 3, 4  # exit codes, rules section 18


class StepResult(msgspec.Struct, frozen=True):
    name: str
    state: Literal["done", "waiting", "failed", "pending"]
    content: str
    totals: dict[str, int]


class CloseResult(msgspec.Struct, frozen=True):
    """What a run of the day's end came to; the shape of `close --json`."""

    business_date: date
    exit_code: int
    said: list[Said]  # why it is not done, and what else there is to know
    steps: list[StepResult]
    totals: dict[str, int]
    breaks: list[Break]
    nets: list[Net]
    trial_balance: list[TrialLine]
    files: list[Output]

    def __repr__(self) -> str:
        """Short: where a loop ends, asyncio and `signal` make it of the task that returned this."""
        return f"CloseResult({self.business_date}, exit_code={self.exit_code})"

    @property
    def message(self) -> str:
        return self.told(chinese=False)

    def told(self, *, chinese: bool) -> str:
        return "; ".join(one.told(chinese=chinese) for one in self.said)

    def to_json(self) -> bytes:
        return msgspec.json.format(
            msgspec.json.encode(
                {
                    "business_date": self.business_date,
                    "exit_code": self.exit_code,
                    "message": self.message,
                    "steps": self.steps,
                    "totals": self.totals,
                    "breaks": [break_object(one) for one in self.breaks],
                    "nets": self.nets,
                    "trial_balance": [
                        {**msgspec.to_builtins(line), "balance_minor": line.balance_minor}
                        for line in self.trial_balance
                    ],
                    "files": self.files,
                }
            ),
            indent=2,
        )


def break_object(one: Break) -> dict[str, object]:
    return {
        "id": one.id,
        "business_date": one.business_date,
        "class": one.break_class,
        "acquirer": one.acquirer,
        "currency": one.currency,
        "keys": one.keys,
        "ours_minor": one.ours_minor,
        "theirs_minor": one.theirs_minor,
        "difference_minor": one.difference_minor,
        "evidence": one.evidence,
    }


StepFunction = Callable[[Run], Awaitable[tuple[Facts, dict[str, int]]]]


async def close(
    business_date: date,
    files: Inbox,
    store: Store,
    dates: Dates,
    pans: Pans,
    sink: FileSink,
    progress: Progress | None = None,
    *,
    casework: Casework,
    payouts: Payouts,
    engine: Engine,
    extracts: Extracts,
    at: datetime,
    approved: Collection[str] = (),
    settings: Settings = DEFAULTS,
) -> CloseResult:
    """Close one business date, or go on with its close; safe to repeat at any time.

    `at` is the wall clock now: it counts only where no earlier run of the date recorded one.
    `casework` commits under the date's lock, which the close holds.
    `approved` holds SHA-256 (hex) of files that a second person lets in: other content under a
    known name, fees beyond the sanity bound.
    """
    code, why = DONE, list[Said]()
    run: Run | None = None
    async with store.alone(business_date) as alone:
        if not alone:
            under_way = said("another_run", date=business_date)
            return await _result(store, None, business_date, WAITING, [under_way], "")
        try:
            run = await _begin(
                business_date,
                files,
                store,
                casework,
                payouts,
                dates,
                pans,
                sink,
                progress,
                engine,
                extracts,
                at,
                approved,
                settings,
            )
            await _run_steps(run)
        except (WaitingError, NotInForceError) as waiting:
            code, why = WAITING, [waiting.said]
        except (UsageError, FileError) as usage:
            code, why = USAGE, [usage.said]
        except LedgerConflictError as conflict:
            code, why = FAILURE, [conflict.said]
        except AssertionError as fault:
            code, why = FAILURE, [said("fault", kind=type(fault).__name__, text=fault)]
        if run is not None:
            why += run.notes
    return await _result(store, run, business_date, code, why, run.step if run else "")


async def _begin(
    business_date: date,
    files: Inbox,
    store: Store,
    casework: Casework,
    payouts: Payouts,
    dates: Dates,
    pans: Pans,
    sink: FileSink,
    progress: Progress | None,
    engine: Engine,
    extracts: Extracts,
    at: datetime,
    approved: Collection[str],
    settings: Settings,
) -> Run:
    state = await dates.state(business_date)
    if state is None:
        raise UsageError("date_unknown", date=business_date)
    steps = await store.steps(business_date)
    earlier = await dates.unposted_before(business_date)
    if earlier is not None and "post" not in steps:
        raise WaitingError("earlier_open", date=earlier)
    return Run(
        date=business_date,
        at=await store.begin(business_date, at),
        files=files,
        store=store,
        casework=casework,
        payouts=payouts,
        dates=dates,
        pans=pans,
        sink=sink,
        engine=engine,
        extracts=extracts,
        progress=progress or NoProgress(),
        settings=settings,
        approved=frozenset(approved),
        tariffs=Tariffs(await store.references(REFERENCE_KINDS)),
        steps=steps,
    )


async def _run_steps(run: Run) -> None:
    """One after the other, and so they are recorded; but one of BESIDE_WRITING begins while the facts
    of the one before go into the store."""
    writing: asyncio.Task[None] | None = None
    try:
        for name in STEPS:
            if name not in BESIDE_WRITING:
                await _written(run, writing)
            run.step = name
            made = None
            if name not in run.steps:
                run.progress.started(name)
                made = await _FUNCTIONS[name][0](run)
            await _written(run, writing)
            run.step = name
            writing = asyncio.create_task(_write(run, name, made), name=name)
            await breathe()
        await _written(run, writing)
        run.step = ""
    finally:
        if writing is not None:  # a commit that has begun is not given up for what failed beside it
            await asyncio.wait({writing})


async def _written(run: Run, writing: asyncio.Task[None] | None) -> None:
    if writing is not None:
        run.step = writing.get_name()
        await writing


async def _write(run: Run, name: str, made: tuple[Facts, dict[str, int]] | None) -> None:
    if made is not None:
        facts, totals = made
        content = await _content(facts)
        if not await run.store.finish(Step(run.date, name, content, totals), facts):
            # another run of this date was first; its facts stand
            assert (await run.store.steps(run.date))[name].content == content, name
        run.steps = await run.store.steps(run.date)
        run.found = None
    after = _FUNCTIONS[name][1]
    if after is not None:
        await after(run)
    run.progress.finished(name, run.steps[name].totals)


async def _content(facts: Facts) -> str:
    if not facts.is_bulk:
        return facts.content
    return await asyncio.to_thread(lambda: facts.content)


async def facts_of(run: Run, name: str) -> tuple[Facts, dict[str, int]]:
    """What a step makes of the run's store, and its totals; nothing is stored."""
    return await _FUNCTIONS[name][0](run)


async def _result(
    store: Store, run: Run | None, business_date: date, code: int, why: list[Said], failed: str
) -> CloseResult:
    done = await store.steps(business_date)
    totals = {name: step.totals for name, step in done.items()}
    if DISPUTES in done:  # told with the files that brought them
        totals["intake"] = totals["intake"] | totals[DISPUTES]
    reached = False
    steps: list[StepResult] = []
    for name in STEPS:
        state: Literal["done", "waiting", "failed", "pending"] = "pending"
        if name in done and name != failed:
            state = "done"
        elif not reached and (code in (WAITING, FAILURE) or (code == USAGE and failed)):
            state = "waiting" if code == WAITING else "failed"
            reached = True
        content = done[name].content if name in done else ""
        steps.append(StepResult(name, state, content, totals.get(name, {})))
    breaks = await (run.breaks() if run else store.breaks(business_date))
    resolved = await store.resolved([one.id for one in breaks])  # by a later close, mostly
    unplaced = DISPUTES in done and done[DISPUTES].totals["dispute_cases"]
    if code == DONE and (unplaced or any(one.id not in resolved for one in breaks)):
        code = DIFFERENCES
    moved = await (run.movements() if run else store.movements(business_date))
    return CloseResult(
        business_date=business_date,
        exit_code=code,
        said=why,
        steps=steps,
        totals={
            key: value for name in STEPS if name in done for key, value in totals[name].items()
        },
        breaks=breaks,
        nets=await store.nets(business_date),
        trial_balance=trial_balance(moved),
        files=await store.outputs(business_date),
    )


# -- cut -------------------------------------------------------------------------------------


async def _cut(run: Run) -> tuple[Facts, dict[str, int]]:
    if await run.dates.state(run.date) == "open":
        await run.dates.cut_over(run.date + timedelta(days=run.settings.offset_days))
    return Facts(), {}


async def _intake_after(run: Run) -> None:
    await intake_after(run)
    await disputes(run)


_FUNCTIONS: Final[dict[str, tuple[StepFunction, Callable[[Run], Awaitable[None]] | None]]] = {
    "cut": (_cut, None),
    "freeze": (freeze, None),
    "intake": (intake, _intake_after),
    "reconcile": (reconcile_day, None),
    "fees": (fees, None),
    "post": (post, post_after),
    "net": (net, None),
    "reports": (reports, reports_after),
}
assert tuple(_FUNCTIONS) == STEPS
