"""What a close does about disputes: error files it takes in open and move them, deadlines pass.

Method: the second date is closed with an error file, in memory and on PostgreSQL; it is killed between
rows and run again; what comes out is what a close that nobody disturbed comes to.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from settlement.adapters.cases_memory import MemoryCasework
from settlement.adapters.memory import MemoryStore
from settlement.casework.ports import Casework, Work
from settlement.close import DIFFERENCES, DONE, WAITING, CloseResult
from settlement.disputes.day_end import DISPUTES
from settlement.files import erra
from tests.depth import sampled
from tests.settlement.desk import NOW, Desk, a_desk, moved
from tests.settlement.test_casework_store import at_a_desk
from tests.settlement.test_close import Killed
from tests.settlement.test_disputes_files import NAME, about_sale
from tests.settlement.world import ACQUIRER, FAST, NEXT, Sink, com_file, inbox, run_close

__all__ = ("at_a_desk",)  # a fixture, asked for by its name

Check = Callable[[Desk], Awaitable[None]]
THIRD = NEXT + timedelta(days=1)
ROWS = (
    about_sale("E23", 3_000, fee_receivable=11),
    about_sale("E24", 1_000),
    about_sale("E23", 500, original_rrn="999999999999"),
)


async def close_with(
    desk: Desk, *rows: dict[str, Any], day: Any = NEXT, casework: Casework | None = None, **how: Any
) -> CloseResult:
    files = [com_file([], day)]
    if rows:
        files.append((NAME, erra.render(rows)))
    return await run_close(
        desk.books, inbox(*files), day=day, dates=desk.dates, at=NOW, casework=casework, **how
    )


async def everything(desk: Desk) -> list[Any]:
    disputes = await desk.casework.disputes(ended=True)
    steps = await desk.books.steps(NEXT)
    return [disputes, steps, await desk.books.seals(NEXT), await desk.entries()]


def test_an_error_file_that_a_close_takes_in_moves_disputes(
    at_a_desk: Callable[[Check], None],
) -> None:
    async def check(desk: Desk) -> None:
        result = await close_with(desk, *ROWS)
        assert result.exit_code == DIFFERENCES  # the row that nothing explains is a case
        assert result.message == ""
        (facts,) = await desk.casework.disputes()
        assert (facts.state, facts.charged_minor) == ("represented", 2_000)
        # on the date itself, in its chain
        assert {one.business_date for one in facts.events} == {NEXT}
        entries = await desk.books.entries(NEXT)
        assert moved(one for one in entries if one.step == "dispute")["merchant_held"] == -3_000
        totals = {"dispute_rows": 3, "dispute_cases": 1, "disputes_expired": 0}
        assert (await desk.books.steps(NEXT))[DISPUTES].totals == totals
        assert totals.items() <= result.totals.items()
        assert await desk.books.in_use(ACQUIRER, NAME)
        assert not await desk.books.in_use(ACQUIRER, "IND26080433AERRA")

        before = await everything(desk)
        again = await close_with(desk)
        assert again.to_json() == result.to_json()
        assert await everything(desk) == before

    at_a_desk(check)


def test_what_was_due_before_the_date_has_passed(at_a_desk: Callable[[Check], None]) -> None:
    """One working day for a re-presentment, by Monday to Friday."""
    settings = msgspec.structs.replace(
        FAST, dispute_deadlines_days=(*FAST.dispute_deadlines_days, ("representment", 1))
    )

    async def check(desk: Desk) -> None:
        await close_with(desk, ROWS[0], settings=settings)
        (facts,) = await desk.casework.disputes()
        assert facts.last is not None
        assert facts.last.deadline == THIRD
        result = await close_with(desk, day=THIRD, settings=settings)
        assert result.totals["disputes_expired"] == 0  # the whole day is left to answer
        result = await close_with(desk, day=THIRD + timedelta(days=1), settings=settings)
        assert result.exit_code == DONE, result.message
        assert result.totals["disputes_expired"] == 1
        facts = await desk.casework.dispute(facts.dispute.id) or facts
        assert (facts.state, facts.held_minor) == ("lost", 0)

    at_a_desk(check)


class KilledAtCommit:
    """Kills the run before or after the n-th commit of casework."""

    def __init__(self, casework: MemoryCasework, number: int, *, after: bool) -> None:
        self._commit, self._left, self._after = casework.commit, number, after
        casework.commit = self.commit  # type: ignore[method-assign]

    async def commit(self, work: Work) -> None:
        self._left -= 1
        if not self._left and not self._after:
            raise Killed
        await self._commit(work)
        if not self._left:
            raise Killed


@pytest.mark.parametrize(
    ("number", "after"),
    sampled(
        [(number, after) for number in (1, 2, 3) for after in (False, True)],
        lambda row: row in ((1, True), (3, False)),
    ),
)
def test_killed_between_rows_it_comes_to_the_same(number: int, after: bool) -> None:
    async def scenario() -> None:
        undisturbed = await a_desk()
        await close_with(undisturbed, *ROWS)
        desk = await a_desk()
        assert isinstance(desk.books, MemoryStore)
        casework = MemoryCasework(desk.books, desk.dates, within_close=True)
        KilledAtCommit(casework, number, after=after)
        with pytest.raises(Killed):
            await close_with(desk, *ROWS, casework=casework)
        assert DISPUTES not in await desk.books.steps(NEXT)
        result = await close_with(desk)
        assert result.exit_code == DIFFERENCES
        assert await everything(desk) == await everything(undisturbed)

    asyncio.run(scenario())


def test_a_date_that_was_posted_without_is_left_alone() -> None:
    """By an earlier release: its evidence and its dates stay as they are."""

    async def scenario() -> None:
        desk = await a_desk()
        assert isinstance(desk.books, MemoryStore)
        sink = Sink()
        await close_with(desk, *ROWS, sink=sink)
        del desk.books._steps[NEXT, DISPUTES]
        before = await desk.entries()
        assert (await close_with(desk, sink=sink)).exit_code == DONE
        assert DISPUTES not in await desk.books.steps(NEXT)
        assert await desk.entries() == before

    asyncio.run(scenario())


def test_a_calendar_that_is_not_there_is_waited_for() -> None:
    async def scenario() -> None:
        desk = await a_desk()
        settings = msgspec.structs.replace(FAST, dispute_calendar="cn")
        result = await close_with(desk, *ROWS, settings=settings)
        assert (result.exit_code, "no calendar cn" in result.message) == (WAITING, True)
        assert "reconcile" not in await desk.books.steps(NEXT)
        assert (await close_with(desk)).exit_code == DIFFERENCES

    asyncio.run(scenario())
