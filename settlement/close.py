"""The day's end of one business date: eight named steps, in order, each done once.

    cut        the business date moves on; nothing new joins this one
    freeze     nothing is undecided any more; captures become clearing records
    intake     the networks' files: sealed, parsed, stored; the plaintext leaves the inbox
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
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from datetime import date, datetime, timedelta
from typing import Final, Literal

import msgspec

from settlement import reports
from settlement.cases import BREAK_CLASSES, MATCH_CLASSES, ONE_SIDED, Break, Resolution
from settlement.charges import fees
from settlement.clearing import NEGATIVE_TYPES, Capture, ClearingRecord, ClearingRow, records_of
from settlement.fees import NotInForceError, Tariffs
from settlement.files.layout import FileError
from settlement.intake import intake, intake_after
from settlement.ledger import LedgerConflictError, TrialLine, trial_balance
from settlement.netting import Net
from settlement.ports import (
    Dates,
    Engine,
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
from settlement.posting import assert_conserved, net, post, post_after, totals_of
from settlement.reconcile import Result, reconcile
from settlement.run import Run, UsageError, WaitingError, in_minor, number
from settlement.settings import DEFAULTS, Settings

STEPS: Final = ("cut", "freeze", "intake", "reconcile", "fees", "post", "net", "reports")
OTHER_STEPS_FIND: Final = frozenset(
    {"fee_mismatch", "file_changed", "file_late", "terminal_totals"}
    | {"bank_mismatch", "bank_missing", "statement_unmatched"}
)
REFERENCE_KINDS: Final = ("merchant", "fee_plan", "link", "route")

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
    message: str
    steps: list[StepResult]
    totals: dict[str, int]
    breaks: list[Break]
    nets: list[Net]
    trial_balance: list[TrialLine]
    files: list[Output]

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
    engine: Engine,
    at: datetime,
    approved: Collection[str] = (),
    settings: Settings = DEFAULTS,
) -> CloseResult:
    """Close one business date, or go on with its close; safe to repeat at any time.

    `at` is the wall clock now: it counts only where no earlier run of the date recorded one.
    `approved` holds SHA-256 (hex) of files that a second person lets in: other content under a
    known name, fees beyond the sanity bound.
    """
    code, message, failed = DONE, "", ""
    async with store.alone(business_date) as alone:
        if not alone:
            under_way = f"another run of {business_date} is under way"
            return await _result(store, business_date, WAITING, under_way, "")
        try:
            run = await _begin(
                business_date,
                files,
                store,
                dates,
                pans,
                sink,
                progress,
                engine,
                at,
                approved,
                settings,
            )
            for name in STEPS:
                failed = name
                await _run_step(run, name)
            failed = ""
        except (WaitingError, NotInForceError) as waiting:
            code, message = WAITING, str(waiting)
        except UsageError as usage:
            code, message = USAGE, str(usage)
        except (FileError, AssertionError, LedgerConflictError) as failure:
            code, message = FAILURE, f"{type(failure).__name__}: {failure}"
    return await _result(store, business_date, code, message, failed)


async def _begin(
    business_date: date,
    files: Inbox,
    store: Store,
    dates: Dates,
    pans: Pans,
    sink: FileSink,
    progress: Progress | None,
    engine: Engine,
    at: datetime,
    approved: Collection[str],
    settings: Settings,
) -> Run:
    state = await dates.state(business_date)
    if state is None:
        raise UsageError(f"{business_date} is no business date of this switch")
    steps = await store.steps(business_date)
    earlier = await dates.unposted_before(business_date)
    if earlier is not None and "post" not in steps:
        raise WaitingError(f"{earlier} is not closed yet; dates close in order")
    return Run(
        date=business_date,
        at=await store.begin(business_date, at),
        files=files,
        store=store,
        dates=dates,
        pans=pans,
        sink=sink,
        engine=engine,
        progress=progress or NoProgress(),
        settings=settings,
        approved=frozenset(approved),
        tariffs=Tariffs(await store.references(REFERENCE_KINDS)),
        steps=steps,
    )


async def _run_step(run: Run, name: str) -> None:
    do, after = _FUNCTIONS[name]
    if name not in run.steps:
        run.progress.started(name)
        facts, totals = await do(run)
        content = facts.content
        if not await run.store.finish(Step(run.date, name, content, totals), facts):
            # another run of this date was first; its facts stand
            assert (await run.store.steps(run.date))[name].content == content, name
        run.steps = await run.store.steps(run.date)
    if after is not None:
        await after(run)
    run.progress.finished(name, run.steps[name].totals)


async def _result(
    store: Store, business_date: date, code: int, message: str, failed: str
) -> CloseResult:
    done = await store.steps(business_date)
    reached = False
    steps: list[StepResult] = []
    for name in STEPS:
        state: Literal["done", "waiting", "failed", "pending"] = "pending"
        if name in done and name != failed:
            state = "done"
        elif not reached and code in (WAITING, FAILURE):
            state = "waiting" if code == WAITING else "failed"
            reached = True
        step = done.get(name)
        steps.append(
            StepResult(name, state, step.content if step else "", step.totals if step else {})
        )
    breaks = await store.breaks(business_date)
    resolved = await store.resolved([one.id for one in breaks])  # by a later close, mostly
    if code == DONE and any(one.id not in resolved for one in breaks):
        code = DIFFERENCES
    totals = {
        key: value for name in STEPS if name in done for key, value in done[name].totals.items()
    }
    return CloseResult(
        business_date=business_date,
        exit_code=code,
        message=message,
        steps=steps,
        totals=totals,
        breaks=breaks,
        nets=await store.nets(business_date),
        trial_balance=trial_balance(await store.movements(business_date)),
        files=await store.outputs(business_date),
    )


# -- cut, freeze ------------------------------------------------------------------------------


async def _cut(run: Run) -> tuple[Facts, dict[str, int]]:
    if await run.dates.state(run.date) == "open":
        await run.dates.cut_over(run.date + timedelta(days=run.settings.offset_days))
    return Facts(), {}


async def _freeze(run: Run) -> tuple[Facts, dict[str, int]]:
    loop = asyncio.get_running_loop()
    until = loop.time() + run.settings.freeze_wait_s
    while left := await run.dates.freeze(run.date):
        if loop.time() >= until:
            raise WaitingError(
                f"{left} requests of {run.date} are still undecided; a running node decides them "
                "once their timers have passed: start `tongbao serve`, then close again"
            )
        run.progress.advanced("freeze", f"{left} undecided")
        await asyncio.sleep(run.settings.freeze_poll_s)
    captures = await run.store.captures(run.date)
    transactions = await run.store.transactions(run.date)
    known = {one.original_request_id for one in captures if one.original_request_id}
    known |= {one.original_request_id for one in transactions if one.original_request_id}
    known |= {one.request_id for one in captures}
    roots = await run.store.roots(known)
    records = [
        _with_tariff(run.tariffs, record)
        for record in records_of(run.date, captures, transactions, roots)
    ]
    assert_conserved(
        run.date,
        ("captures", await run.store.captured_totals(run.date)),
        ("clearing records", totals_of(records)),
    )
    captured = [record for record in records if record.captured]
    return Facts(records=records), {
        "captures": len(captured),
        **in_minor("captured", ((r.currency, r.effect_minor) for r in captured), run.home),
        "requests_without_capture": len(records) - len(captured),
    }


def _with_tariff(tariffs: Tariffs, record: ClearingRecord) -> ClearingRecord:
    record = msgspec.structs.replace(record, card_type=tariffs.card_type(record.card_type))
    if not record.captured:
        return record
    plan = tariffs.merchant_plan(record.merchant, record.settlement_date)
    return msgspec.structs.replace(record, plan=plan.name, plan_version=plan.version)


# -- reconcile --------------------------------------------------------------------------------


async def _reconcile(run: Run) -> tuple[Facts, dict[str, int]]:
    window = timedelta(days=run.settings.window_days)
    records = await run.store.records(run.date)
    named = {record.settlement_date for record in records if record.captured} | {run.date}
    named |= await _late_dates(run)
    first, last = min(named) - window, max(named) + window
    records += await run.store.open_records(run.date, first)
    rows = await run.store.rows(first, last)
    open_breaks = await run.store.open_breaks(run.date)
    # however old: the other side of a short may still come
    shorts = [one.record for one in open_breaks if one.break_class == "network_short"]
    read = {record.key for record in records}
    short_records = await run.store.records_by_key(set(shorts) - read)
    records += [short_records[key] for key in sorted(short_records)]
    mismatches = [one for one in open_breaks if one.break_class == "status_mismatch"]
    result = reconcile(
        run.date,
        records,
        rows,
        run.engine,
        mismatched=await _rows_of(run, mismatches),
        reversed_there=await _records_of(run, mismatches),
        ahead=await _standing_ahead(run, last),
        taken_in=await _taken_in(run, {record.acquirer for record in records}),
        broken={side for one in open_breaks for side in (one.record, one.row) if side},
        window_days=run.settings.window_days,
    )
    resolutions = _resolutions(run, open_breaks, result)
    breaks = number(result.breaks, run.date, "R")
    counts = Counter(one.match_class for one in result.matches)
    counts.update(one.break_class for one in breaks if one.break_class in ONE_SIDED)
    by_class = {
        name: counts[name]
        for name in (*MATCH_CLASSES, *BREAK_CLASSES)
        if name not in OTHER_STEPS_FIND
    }
    return Facts(matches=result.matches, breaks=breaks, resolutions=resolutions), {
        **by_class,
        "carried_records": len(result.carried_records),
        "carried_rows": len(result.carried_rows),
        "resolved": len(resolutions),
    }


def _resolutions(run: Run, open_breaks: list[Break], result: Result) -> list[Resolution]:
    """Open breaks whose other side this close found. What stood in suspense goes back on the
    break's own receivable; where either side reversed later, on that reversal's."""
    settled = {side for one in result.matches for side in (one.record, one.row) if side}
    found: list[Resolution] = []
    day: date | None
    for one in open_breaks:
        if one.row in result.taken_back:
            day, reason = result.taken_back[one.row], "taken back by a later file"
        elif one.break_class == "status_mismatch" and one.record in result.reversed_since:
            day, reason = result.reversed_since[one.record], "reversed on our side, too"
        elif one.break_class in ONE_SIDED and (one.row or one.record) in settled:
            day, reason = one.settlement_date, "found by a later close"
        else:
            continue
        assert day is not None
        found.append(Resolution(one.id, run.date, reason, day))
    return found


async def _late_dates(run: Run) -> set[date]:
    """Earlier settlement dates whose files came today."""
    return {
        file.settlement_date
        for acquirer in run.tariffs.acquirers
        for file in await run.store.files(acquirer)
        if file.business_date == run.date and file.settlement_date < run.date
    }


async def _rows_of(run: Run, mismatches: list[Break]) -> list[ClearingRow]:
    """Rows that were billed though we had taken them back: the network may yet take them back."""
    rows = await run.store.rows_by_id([one.row for one in mismatches if one.theirs_minor])
    return [rows[row_id] for row_id in sorted(rows)]


async def _records_of(run: Run, mismatches: list[Break]) -> list[ClearingRecord]:
    """Captures that the network had reversed: we may have reversed them since."""
    records = await run.store.records_by_key([one.record for one in mismatches if one.ours_minor])
    return [records[key] for key in sorted(records)]


async def _taken_in(run: Run, acquirers: set[str]) -> set[tuple[str, date]]:
    return {
        (file.acquirer, file.settlement_date)
        for acquirer in sorted(acquirers)
        for file in await run.store.files(acquirer)
    }


async def _standing_ahead(run: Run, last: date) -> list[ClearingRecord]:
    """Approved requests of later dates that settle up to `last`: they only hold rows back."""
    later = await run.store.transactions_ahead(run.date, last)
    captures = [
        Capture(
            capture_id=-one.request_id,  # no capture's: these are not frozen yet
            request_id=one.request_id,
            business_date=one.business_date,
            settlement_date=one.settlement_date,
            merchant=one.merchant,
            terminal=one.terminal,
            batch=one.batch,
            stan=one.stan,
            type=one.type,
            acquirer=one.acquirer,
            effect_minor=(-1 if one.type in NEGATIVE_TYPES else 1)
            * (one.approved_amount_minor or one.amount_minor),
            currency=one.currency,
        )
        for one in later
        if one.acquirer is not None
    ]
    return records_of(run.date, captures, later, {})


# -- reports ----------------------------------------------------------------------------------


async def _reports(run: Run) -> tuple[Facts, dict[str, int]]:
    outputs: list[Output] = []
    for name, data in reports.render(await _day(run)):
        digest = hashlib.sha256(data).hexdigest()
        outputs.append(Output(f"{run.date.isoformat()}/{name}", digest, len(data)))
        run.sink.write(outputs[-1].name, data)
        run.progress.advanced("reports", name)
    return Facts(outputs=outputs), {
        "files_written": len(outputs),
        "bytes_written": sum(output.size for output in outputs),
    }


async def _reports_after(run: Run) -> None:
    """Files that are gone or were changed are written again, and only as they were."""
    outputs = {one.name: one.sha256 for one in await run.store.outputs(run.date)}
    lost = {name for name, digest in outputs.items() if run.sink.sha256(name) != digest}
    if not lost:
        return
    for short_name, data in reports.render(await _day(run)):
        name = f"{run.date.isoformat()}/{short_name}"
        if name in lost:
            digest = hashlib.sha256(data).hexdigest()
            assert digest == outputs[name], f"{name} would not be what was written first"
            run.sink.write(name, data)


async def _day(run: Run) -> reports.Day:
    return reports.Day(
        business_date=run.date,
        at=run.at,
        steps=[run.steps[name] for name in STEPS if name in run.steps and name != "reports"],
        records=[record for record in await run.store.records(run.date) if record.captured],
        discounts={one.key: one for one in await run.store.merchant_fees(run.date)},
        matches={one.record: one for one in await run.store.matches(run.date) if one.record},
        breaks=await run.store.breaks(run.date),
        nets=await run.store.nets(run.date),
        trial=trial_balance(await run.store.movements(run.date)),
        merchant_names=_merchant_names(run),
    )


def _merchant_names(run: Run) -> dict[str, tuple[str, str]]:
    names: dict[str, tuple[str, str]] = {}
    for merchant in run.tariffs.keys("merchant"):
        found = run.tariffs.in_force("merchant", merchant, run.date)
        if found is not None:
            content = found.content
            names[merchant] = (str(content.get("name", "")), str(content.get("name_zh", "")))
    return names


_FUNCTIONS: Final[dict[str, tuple[StepFunction, Callable[[Run], Awaitable[None]] | None]]] = {
    "cut": (_cut, None),
    "freeze": (_freeze, None),
    "intake": (intake, intake_after),
    "reconcile": (_reconcile, None),
    "fees": (fees, None),
    "post": (post, post_after),
    "net": (net, None),
    "reports": (_reports, _reports_after),
}
assert tuple(_FUNCTIONS) == STEPS
