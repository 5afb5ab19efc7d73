"""What a date's close does about disputes: rows of error files open and move them, deadlines pass.

It comes after the files are taken in and before anything is reconciled, so that what it moves stands on
the date itself and in its chain. Every row and every deadline is a commit of its own, which a second
run finds done; the record `disputes` of the date says once what they came to.
"""

from datetime import date, timedelta
from typing import Final

import msgspec

from settlement.calendars import CalendarError
from settlement.casework.ports import ChangedError, DateMovedError
from settlement.casework.work import Terms
from settlement.disputes.deadlines import WeekDays
from settlement.disputes.files import adjustment_of
from settlement.disputes.intake import take_in
from settlement.disputes.table import Placed
from settlement.disputes.work import WORK, expire
from settlement.four_eyes import Actor
from settlement.ports import Facts, Step
from settlement.run import Run, WaitingError

DISPUTES: Final = "disputes"  # name of the record beside those of the eight steps
# Who the audit log says it was; no operator can have that id.
CLOSE: Final = Actor("(close)", frozenset({WORK}))
TAKE_DAYS: Final = 40  # settlement dates of error files, before and after the business date


async def disputes(run: Run) -> None:
    """Place what error files brought up to the date, let pass what was due before it; once."""
    if DISPUTES in run.steps or "post" in run.steps:
        return
    run.progress.advanced("intake", DISPUTES)
    try:
        terms = await _terms(run)
        placed = await _place(run, terms)
        await expire(run.casework, run.date, run.at, terms, CLOSE)
    except (ChangedError, DateMovedError) as error:
        raise WaitingError("disputes_busy", reason=error) from error
    except CalendarError as error:
        raise WaitingError("dispute_deadlines", reason=error) from error
    passed = [one for one in await run.casework.dispute_events(run.date) if one.event == "expired"]
    facts = Facts(
        inputs=[
            *(msgspec.json.encode(one).decode() for one in placed),
            *(msgspec.json.encode(one).decode() for one in passed),
        ]
    )
    totals = {
        "dispute_rows": len(placed),
        "dispute_cases": sum(bool(one.case_id) for one in placed),
        "disputes_expired": len(passed),
    }
    await run.store.finish(Step(run.date, DISPUTES, facts.content, totals), facts)
    run.steps = await run.store.steps(run.date)


async def _terms(run: Run) -> Terms:
    name = run.settings.dispute_calendar
    calendar = await run.casework.calendar(name) if name else WeekDays()
    if calendar is None:
        raise CalendarError("calendar_unknown", calendar=name)
    return Terms(calendar, dict(run.settings.dispute_deadlines_days))


async def _place(run: Run, terms: Terms) -> list[Placed]:
    """What became of the rows of the files that the date took in, in their order. Those of earlier
    dates that are not placed yet are placed, too."""
    first, last = (run.date + timedelta(days=days) for days in (-TAKE_DAYS, TAKE_DAYS))
    taken_in: dict[tuple[str, str], date] = {}
    for file in await run.store.files_between(first, last):
        taken_in[file.acquirer, file.name] = file.business_date  # of its last version
    rows = [
        row
        for row in await run.casework.adjustments(first, last)
        if taken_in[row.acquirer, row.file] <= run.date
    ]
    found = await take_in(run.casework, [adjustment_of(r) for r in rows], run.at, terms, CLOSE)
    return [
        one
        for one, row in zip(found, rows, strict=True)
        if taken_in[row.acquirer, row.file] == run.date
    ]
