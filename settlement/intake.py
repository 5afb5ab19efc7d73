"""The networks' files come in: sealed, parsed, stored whole or refused whole."""

import hashlib
from datetime import date, timedelta

from settlement.cases import Break
from settlement.clearing import FileName, IncomingFile
from settlement.files import com
from settlement.ports import Facts, Step
from settlement.run import Run, WaitingError


async def intake(run: Run) -> tuple[Facts, dict[str, int]]:
    missing: list[str] = []
    taken: list[IncomingFile] = []
    for acquirer, named in (await _settles_on(run)).items():
        for name, data in _arrived(run, acquirer, named):
            await _take_in(run, name, data)
        files = await run.store.files(acquirer)
        present = {file.settlement_date for file in files}
        missing += [f"{acquirer} of {day}" for day in sorted(due_dates(run.date, named) - present)]
        taken += [file for file in files if file.business_date == run.date]
    if missing:
        raise WaitingError(f"no clearing file yet from {', '.join(missing)}")
    inputs = [f"{f.acquirer}/{f.name}/{f.version}/{f.rows}/{f.sha256.hex()}" for f in taken]
    return Facts(inputs=inputs), {
        "files_taken_in": len(taken),
        "rows_taken_in": sum(file.rows for file in taken),
    }


async def _settles_on(run: Run) -> dict[str, set[date]]:
    """acquirer -> settlement dates that the date's captures name; every acquirer with a link."""
    named: dict[str, set[date]] = {acquirer: set() for acquirer in run.tariffs.acquirers}
    for record in await run.store.records(run.date):
        if record.captured:
            named.setdefault(record.acquirer, set()).add(record.settlement_date)
    return dict(sorted(named.items()))


def due_dates(business_date: date, named: set[date]) -> set[date]:
    """The settlement dates whose files a close must have: those that its captures name, up to the
    business date. Where they name later ones only (the network's day ends before ours begins), the
    first of these; where there are no captures, the business date.

    Whatever else settles later waits, carried, for the close of its own date.
    """
    if not named:
        return {business_date}
    return {day for day in named if day <= business_date} or {min(named)}


def _arrived(run: Run, acquirer: str, named: set[date]) -> list[tuple[FileName, bytes]]:
    """Files of the settlement dates around the business date, and of those the captures name."""
    window = timedelta(days=run.settings.window_days)
    found: list[tuple[FileName, bytes]] = []
    for name in run.files.names(acquirer):
        file = com.parse_name(acquirer, name)
        if file is None:
            continue
        if file.settlement_date in named or abs(file.settlement_date - run.date) <= window:
            found.append((file, run.files.read(acquirer, name)))
    return found


async def _take_in(run: Run, name: FileName, data: bytes) -> None:
    sha256 = hashlib.sha256(data)
    files = await run.store.files(name.acquirer)
    same_day = [file for file in files if file.settlement_date == name.settlement_date]
    if any(file.sha256 == sha256.digest() for file in same_day):
        run.files.remove(name.acquirer, name.name)  # the same again changes nothing
        return
    versions = [file.version for file in same_day if file.name == name.name]
    approved = sha256.hexdigest() in run.approved
    if versions and ("intake" in run.steps or not approved):
        await _refuse_version(run, name, sha256.hexdigest())
        return
    if "intake" in run.steps:
        return  # a late file: the next date's close takes it in
    run.progress.advanced("intake", f"{name.acquirer}/{name.name}")
    rows = com.parse(
        data,
        name,
        token=run.pans.token,
        mask=run.pans.mask,
        currency=run.settings.currency,
    )
    turnover, fees = sum(r.amount_minor for r in rows), sum(abs(r.fee_minor) for r in rows)
    if fees * 1_000_000 > turnover * run.settings.file_fee_bound_ppm and not approved:
        raise WaitingError(
            f"{name.acquirer}/{name.name}: fees of {fees} on {turnover} are beyond the bound; "
            f"a second person may approve {sha256.hexdigest()}"
        )
    sealed_as = f"{name.acquirer}/{name.name}/{len(versions) + 1}"
    await run.store.take_in(
        IncomingFile(
            acquirer=name.acquirer,
            name=name.name,
            type=name.type,
            settlement_date=name.settlement_date,
            sequence=name.sequence,
            version=len(versions) + 1,
            sha256=sha256.digest(),
            rows=len(rows),
            business_date=run.date,
            sealed=run.pans.seal(data, sealed_as),
        ),
        rows,
    )
    run.files.remove(name.acquirer, name.name)


async def _refuse_version(run: Run, name: FileName, sha256: str) -> None:
    """A case for other content under a known name; recorded once as a step of its own."""
    step = f"refused-{sha256[:16]}"
    if step in run.steps:
        return
    found = Break(
        id=f"{run.date:%Y%m%d}-V{sha256[:16]}",
        business_date=run.date,
        break_class="file_changed",
        acquirer=name.acquirer,
        currency=run.settings.currency,
        keys={"file": name.name, "sha256": sha256},
        ours_minor=None,
        theirs_minor=None,
        step=step,
        settlement_date=name.settlement_date,
    )
    facts = Facts(breaks=[found])
    await run.store.finish(Step(run.date, step, facts.content, {"files_refused": 1}), facts)
    run.steps = await run.store.steps(run.date)


async def intake_after(run: Run) -> None:
    """Every run looks again: a plaintext left behind goes, other content becomes a case."""
    for acquirer, named in (await _settles_on(run)).items():
        for name, data in _arrived(run, acquirer, named):
            await _take_in(run, name, data)
