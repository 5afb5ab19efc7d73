"""The networks' files come in: sealed, parsed, stored whole or refused whole."""

import hashlib
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from datetime import date
from functools import cache
from typing import TYPE_CHECKING, Final, cast

import msgspec
import pyarrow as pa  # type: ignore[import-untyped]

from settlement.cases import Break, Resolution
from settlement.clearing import ClearingRow, FileName, HeldFile, IncomingFile
from settlement.columns import Relation, schema_of, table_of
from settlement.expected_files import described, expected_from, is_known, members, missing
from settlement.files.bulk import Batch, OddError
from settlement.files.registry import FORMATS, parse
from settlement.files.rows import Context, FileRow
from settlement.ports import Facts, Step
from settlement.records import different, exact, records_table
from settlement.rows import fee_of, rows_table
from settlement.run import Run, UsageError, WaitingError, breathe, extract, number
from settlement.said import said

if TYPE_CHECKING:
    import ibis.expr.types as ir  # type: ignore[import-untyped]

UNKNOWN_SHOWN: Final = 5


async def intake(run: Run) -> tuple[Facts, dict[str, int]]:
    absent: list[str] = []
    unknown: list[str] = []
    taken: list[IncomingFile] = []
    settles_on = await _settles_on(run)
    for acquirer, named in settles_on.items():
        await _look(run, acquirer)
        await _take_in_approved(run, acquirer)
        files = await run.store.files(acquirer)
        expected = expected_from(run.tariffs, acquirer)
        lacking = missing(acquirer, due_dates(run.date, named), expected, files)
        absent += lacking
        unknown += _unknown(run, acquirer) if lacking else []
        taken += [file for file in files if file.business_date == run.date]
    if absent:
        why = said("files_absent", files=", ".join(absent))
        if unknown:
            why = said("files_unknown", absent=why, files=", ".join(unknown))
        raise WaitingError(why)
    late = [
        _file_break(run, "file_late", file, file.sha256.hex())
        for file in taken
        if await run.dates.state(file.settlement_date) == "posted"
    ]
    inputs = [f"{f.acquirer}/{f.name}/{f.version}/{f.rows}/{f.sha256.hex()}" for f in taken]
    return Facts(
        inputs=inputs, breaks=number(late, run.date, "L"), resolutions=await _approved(run, taken)
    ), {
        "files_taken_in": len(taken),
        "rows_taken_in": sum(file.rows for file in taken),
    }


async def intake_after(run: Run) -> None:
    """Every run looks again: a plaintext left behind goes, other content becomes a case."""
    for acquirer in await _settles_on(run):
        await _look(run, acquirer)


async def _settles_on(run: Run) -> dict[str, set[date]]:
    """acquirer -> settlement dates that the date's captures name; every acquirer with a link."""
    named: dict[str, set[date]] = {acquirer: set() for acquirer in run.tariffs.acquirers}
    await extract(run, "records")
    for acquirer, day in cast("list[tuple[str, date]]", run.engine.rows(_named())):
        named.setdefault(acquirer, set()).add(day)
    return dict(sorted(named.items()))


@cache
def _named() -> "ir.Table":
    records = records_table("records")
    captured = records.filter(records.effect_minor != 0)
    return different(captured, "acquirer", "settlement_date")


def due_dates(business_date: date, named: set[date]) -> set[date]:
    """The settlement dates whose files a close must have: those that its captures name, up to the
    business date. Where they name later ones only (the network's day ends before ours begins), the
    first of these; where there are no captures, the business date.

    Whatever else settles later waits, carried, for the close of its own date.
    """
    if not named:
        return {business_date}
    return {day for day in named if day <= business_date} or {min(named)}


async def _look(run: Run, acquirer: str) -> None:
    """Every file with a known name, whatever its date. What is not taken in stays in the inbox."""
    expected = expected_from(run.tariffs, acquirer)
    for name in run.files.names(acquirer):
        if not is_known(acquirer, name, expected):
            continue
        done = False
        data = run.files.take(acquirer, name)
        try:
            inside = members(acquirer, name, data, expected)
            done = bool(inside) and all([await _see(run, *one) for one in inside])
        finally:
            if done:
                run.files.remove(acquirer, name)
            elif kept := run.files.put_back(acquirer, name):
                run.notes.append(said("file_kept", acquirer=acquirer, file=name, kept=kept))


def _unknown(run: Run, acquirer: str) -> list[str]:
    """The first files in the inbox whose names say nothing to us: one may be what is waited for."""
    expected = expected_from(run.tariffs, acquirer)
    names = [name for name in run.files.names(acquirer) if not is_known(acquirer, name, expected)]
    return [name.encode(errors="backslashreplace").decode() for name in names[:UNKNOWN_SHOWN]]


async def _see(run: Run, name: FileName, data: bytes) -> bool:
    """Whether the plaintext may go: the file is stored, now or before."""
    if len(data) > run.settings.file_max_mib << 20:
        raise WaitingError(
            "file_too_big",
            acquirer=name.acquirer,
            file=name.name,
            size=len(data),
            most=run.settings.file_max_mib,
        )
    sha256 = hashlib.sha256(data)
    files = await run.store.files(name.acquirer)
    key = name.type, name.settlement_date, sha256.digest()
    if any((file.type, file.settlement_date, file.sha256) == key for file in files):
        return True  # the same again changes nothing
    if any(file.name == name.name for file in files) and (
        "intake" in run.steps
        or sha256.hexdigest() not in run.approved
        or await run.store.in_use(name.acquirer, name.name)
    ):
        await _hold(run, name, data)
        return True
    if "intake" in run.steps:
        return False  # the next date's close takes it in
    await _take_in(run, name, data)
    return True


async def _take_in(run: Run, name: FileName, data: bytes) -> None:
    earlier = [file for file in await run.store.files(name.acquirer) if file.name == name.name]
    if earlier and await run.store.in_use(name.acquirer, name.name):
        raise UsageError(
            "file_in_use", acquirer=name.acquirer, file=name.name, version=len(earlier)
        )
    run.progress.advanced("intake", f"{name.acquirer}/{name.name}")
    version = len(earlier) + 1
    rows, others = await _read(run, name, data, version)
    sha256 = hashlib.sha256(data)
    ((turnover, fees),) = cast("list[tuple[int, int]]", run.engine.rows(_turnover()))
    if (
        fees * 1_000_000 > turnover * run.settings.file_fee_bound_ppm
        and sha256.hexdigest() not in run.approved
    ):
        raise WaitingError(
            "file_fees_bound",
            acquirer=name.acquirer,
            file=name.name,
            fees=fees,
            turnover=turnover,
            sha256=sha256.hexdigest(),
        )
    await run.store.take_in(
        IncomingFile(
            acquirer=name.acquirer,
            name=name.name,
            type=name.type,
            settlement_date=name.settlement_date,
            sequence=name.sequence,
            version=version,
            sha256=sha256.digest(),
            rows=len(rows) + len(others),
            business_date=run.date,
            sealed=run.pans.seal(data, f"{name.acquirer}/{name.name}/{version}"),
        ),
        rows,
        others,
    )


async def _read(
    run: Run, name: FileName, data: bytes, version: int
) -> tuple[Relation, Sequence[FileRow]]:
    """The transactions of a file, as the engine's `intake_rows`, and its other rows. A file of one
    fixed width all at once where it is plainly right; else line by line, which says what is wrong."""
    context = Context(
        token=run.pans.token,
        mask=run.pans.mask,
        currency=str(run.tariffs.link(name.acquirer).get("currency") or run.settings.currency),
        version=version,
        approved=run.tariffs.approved_codes(name.acquirer),
        expected=described(name.type, expected_from(run.tariffs, name.acquirer)),
    )

    others: list[FileRow] = []

    async def counted(batches: Iterable[Batch]) -> AsyncIterator[pa.RecordBatch]:
        lines = 0
        for batch in batches:
            yield batch.transactions
            await breathe()
            others.extend(batch.rows)
            lines += max(batch.transactions.num_rows, len(batch.rows))
            run.progress.advanced("intake", f"{name.acquirer}/{name.name}: {lines:,}")

    schema = schema_of(ClearingRow)
    at_once = FORMATS[name.type].at_once
    if at_once is not None:
        with suppress(OddError):
            batches = counted(at_once(data, name, context))
            return await run.extracts.load("intake_rows", schema, batches), others
        others.clear()
    parsed = parse(data, name, context)
    rows = table_of(ClearingRow, parsed.transactions).to_batches()
    loaded = await run.extracts.load("intake_rows", schema, counted(map(Batch, rows)))
    return loaded, parsed.rows


@cache
def _turnover() -> "ir.Table":
    rows = rows_table("intake_rows")
    return rows.agg(
        turnover=exact(rows.amount_minor.sum()).fill_null(0),
        fees=exact(fee_of(rows).abs().sum()).fill_null(0),
    )


# -- other content under a known name: sealed and held, a case, taken in by approval --------------


async def _hold(run: Run, name: FileName, data: bytes) -> None:
    """One case a content, on the first date whose books are open; its step holds the file."""
    sha256 = hashlib.sha256(data)
    held = await run.store.held(name.acquirer)
    if any(one.name == name.name and one.sha256 == sha256.digest() for one in held):
        return
    business_date = await run.dates.unposted_before(date.max) or run.date
    what = f"{name.acquirer}/{name.name}/{sha256.hexdigest()}"
    key = hashlib.sha256(what.encode()).hexdigest()[:16]
    found = _file_break(run, "file_changed", name, sha256.hexdigest())
    one = HeldFile(
        acquirer=name.acquirer,
        name=name.name,
        sha256=sha256.digest(),
        break_id=f"{business_date:%Y%m%d}-V{key}",
        sealed=run.pans.seal(data, what),
    )
    step = f"refused-{key}"
    found = msgspec.structs.replace(found, id=one.break_id, business_date=business_date, step=step)
    facts = Facts(breaks=[found], held=[one])
    await run.store.finish(Step(business_date, step, facts.content, {"files_refused": 1}), facts)


async def _take_in_approved(run: Run, acquirer: str) -> None:
    files = await run.store.files(acquirer)
    for one in await run.store.held(acquirer):
        sha256 = one.sha256.hex()
        known = {(file.name, file.sha256) for file in files}
        if sha256 in run.approved and (one.name, one.sha256) not in known:
            earlier = next(file for file in files if file.name == one.name)
            name = FileName(
                acquirer, one.name, earlier.type, earlier.settlement_date, earlier.sequence
            )
            data = run.pans.open(one.sealed, f"{acquirer}/{one.name}/{sha256}")
            await _take_in(run, name, data)


async def _approved(run: Run, taken: list[IncomingFile]) -> list[Resolution]:
    """The cases of held files that are in now."""
    return [
        Resolution(one.break_id, run.date, "approved", file.settlement_date)
        for file in taken
        for one in await run.store.held(file.acquirer)
        if (one.name, one.sha256) == (file.name, file.sha256)
    ]


def _file_break(run: Run, found: str, file: FileName | IncomingFile, sha256: str) -> Break:
    return Break(
        id="",
        business_date=run.date,
        break_class=found,
        acquirer=file.acquirer,
        currency=run.settings.currency,
        keys={"file": file.name, "sha256": sha256},
        ours_minor=None,
        theirs_minor=None,
        step="intake",
        settlement_date=file.settlement_date,
    )
