"""One suite for casework in memory and on PostgreSQL; then what only a real database can show."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import date, timedelta

import asyncpg
import msgspec
import pytest

from settlement.adapters.cases_postgres import PostgresCasework
from settlement.adapters.memory import MemoryStore
from settlement.casework import work
from settlement.casework.acts import ACTS, NotPossibleError, acts_of
from settlement.casework.ports import (
    BusyError,
    ChangedError,
    DateMovedError,
    Wanted,
    Work,
)
from settlement.casework.states import CaseEvent, CaseFacts, NotNowError
from settlement.disputes import work as disputes
from settlement.disputes.deadlines import WeekDays
from settlement.disputes.intake import take_in
from settlement.disputes.table import DisputeFacts
from settlement.four_eyes import Approval, RefusedError
from switch.adapters.postgres.people import PostgresPeople
from switch.adapters.postgres.sessions import Sessions
from switch.adapters.servers import Servers
from tests.database import FreshDatabase
from tests.settlement.desk import (
    LI,
    NOW,
    TERMS,
    WANG,
    ZHAO,
    Desk,
    a_desk,
    case_of_class,
    moved,
)
from tests.settlement.test_casework import close_next_day, suspense_by_case
from tests.settlement.test_close import PLANTED, a_day
from tests.settlement.test_disputes import row
from tests.settlement.test_store import a_day_on
from tests.settlement.world import DAY, NEXT, com_file, inbox, reference, run_close

Check = Callable[[Desk], Awaitable[None]]


@asynccontextmanager
async def a_desk_on(dsn: FreshDatabase) -> AsyncIterator[Desk]:
    _, rows = a_day()
    sessions = Sessions(Servers(dsn.app), "test", 1)
    try:
        async with (
            a_day_on(dsn) as (books, dates),
            asyncpg.create_pool(dsn.app, min_size=1, max_size=4) as pool,
        ):
            await run_close(books, inbox(com_file(rows)), dates=dates)
            yield Desk(books, dates, PostgresCasework(pool), PostgresPeople(sessions))
    finally:
        await sessions.close()


@pytest.fixture(params=["memory", "postgres"])
def at_a_desk(request: pytest.FixtureRequest) -> Callable[[Check], None]:
    dsn = request.getfixturevalue("database_dsn") if request.param == "postgres" else None

    async def scenario(check: Check) -> None:
        if dsn is None:
            await check(await a_desk())
            return
        async with a_desk_on(dsn) as desk:
            await check(desk)

    return lambda check: asyncio.run(scenario(check))


def test_cases_of_a_close_and_what_is_read_of_them(at_a_desk: Callable[[Check], None]) -> None:
    async def check(desk: Desk) -> None:
        found = await desk.casework.cases(Wanted())
        assert [one.found for one in found] == await desk.books.breaks(DAY)
        assert len(found) == sum(PLANTED.values())
        assert all(one.standing and one.resolution is None for one in found)
        assert sorted(one.hold_minor for one in found) == [0, 0, 0, 0, 4_975]
        (short,) = await desk.casework.cases(Wanted(case_class="network_short"))
        assert await desk.casework.case(short.found.id) == short
        assert await desk.casework.case("none") is None
        assert await desk.casework.cases(Wanted(acquirer="bank-z")) == []
        record, row_of = await desk.casework.sides(short.found)
        assert record is not None
        assert (record.key, row_of) == (short.found.record, None)
        assert await desk.casework.record(record.key) == record
        assert await desk.casework.originals(record.acquirer, [record.rrn, "x"]) == [record]
        assert await desk.casework.originals("bank-z", [record.rrn]) == []
        assert await desk.casework.earliest_unposted() == NEXT
        assert await desk.casework.calendar("cn") is None

    at_a_desk(check)


def test_events_come_back_in_order_and_an_end_leaves_the_list(
    at_a_desk: Callable[[Check], None],
) -> None:
    async def check(desk: Desk) -> None:
        one = await case_of_class(desk, "network_short")
        await work.assign(desk.casework, one.id, "wang", LI, NOW, "yours")
        await desk.do(one.id, "release", 75)
        ended = await desk.do(one.id, "write_off")
        assert ended.state == "ended"
        facts = await desk.casework.case(one.id)
        assert facts is not None
        kinds = [event.kind for event in facts.events]
        assert kinds == ["assigned", "proposed", "released", "proposed", "adjusted"]
        assert facts == ended.facts
        assert one.id not in [each.found.id for each in await desk.casework.cases(Wanted())]
        every = await desk.casework.cases(Wanted(ended=True))
        assert one.id in [each.found.id for each in every]
        linked = await desk.casework.linked_entries(one.id)
        assert [made.rule for made in linked] == ["case_write_off_short"]
        assert await desk.books.freed([one.id, "none"]) == {one.id: 4_975}

    at_a_desk(check)


def test_cases_as_they_stood_when_a_date_ended(at_a_desk: Callable[[Check], None]) -> None:
    """What was done on later dates is left out, so that a lost report is written as it was; and a date
    that is posted takes no event, not even a note."""

    async def check(desk: Desk) -> None:
        before = await desk.casework.cases(Wanted())
        short = await case_of_class(desk, "network_short")
        await desk.do(short.id, "write_off")
        await work.note(desk.casework, before[0].found.id, "looked at", LI, NOW)
        await close_next_day(desk, with_missing=True)  # and found by a close, so it is open again
        assert await desk.casework.cases(Wanted(as_of=DAY)) == before
        now = {one.found.id: one for one in await desk.casework.cases(Wanted())}
        assert now[short.id].resolution is not None
        assert await desk.casework.cases(Wanted(as_of=NEXT)) == list(now.values())
        assert await desk.casework.cases(Wanted(as_of=DAY - timedelta(days=1))) == []
        late = work.next_event(
            await work.case(desk.casework, short.id), "noted", NOW, NEXT, operator="li"
        )
        with pytest.raises(DateMovedError):
            await desk.casework.commit(Work(NEXT, case_events=[late]))

    at_a_desk(check)


def test_a_close_beside_casework(at_a_desk: Callable[[Check], None]) -> None:
    """Written off, then found by the next close, then taken back: nothing is left anywhere."""

    async def check(desk: Desk) -> None:
        one = await case_of_class(desk, "network_short")
        await desk.do(one.id, "write_off")
        await close_next_day(desk, with_missing=True)
        (again,) = await desk.casework.cases(Wanted(case_class="network_short"))
        assert again.resolution is not None
        ended = await desk.do(one.id, "take_back")
        assert ended.state == "ended"
        assert await desk.casework.cases(Wanted(case_class="network_short")) == []
        assert await desk.casework.earliest_unposted() > NEXT

    at_a_desk(check)


def test_disputes_and_rows_come_back(at_a_desk: Callable[[Check], None]) -> None:
    async def check(desk: Desk) -> None:
        rows = [row("E23", -3_000), row("E99", -5)]
        placed = await take_in(desk.casework, rows, NOW, TERMS, LI)
        assert await take_in(desk.casework, rows, NOW, TERMS, LI) == placed
        keys = [one.key for one in placed]
        assert await desk.casework.placed([*keys, "none"]) == dict(
            sorted(zip(keys, placed, strict=True))
        )
        key = placed[0].dispute_id
        await disputes.add_evidence(desk.casework, key, "b.pdf", "b" * 64, 2, LI, NOW)
        await disputes.add_evidence(desk.casework, key, "a.pdf", "a" * 64, 1, LI, NOW)
        facts = await disputes.answer(desk.casework, key, "see slip", LI, NOW, TERMS)
        assert [one.event for one in facts.events] == ["chargeback", "answer"]
        assert [one.name for one in facts.evidence] == ["a.pdf", "b.pdf"]
        rrn = facts.dispute.rrn
        acquirer = facts.dispute.acquirer
        assert await desk.casework.disputes() == [facts]
        assert await desk.casework.disputes_by_rrn(acquirer, [rrn, "x"]) == [facts]
        assert await desk.casework.disputes_by_rrn("bank-z", [rrn]) == []
        assert await desk.casework.dispute("none") is None
        made = await disputes.propose(
            desk.casework, desk.people, key, "accept", LI, reason="no slip"
        )
        ended = await disputes.do(desk.casework, await desk.judged(made), NOW, TERMS)
        assert ended.state == "lost"
        assert await desk.casework.disputes() == []
        assert await desk.casework.disputes(ended=True) == [ended]
        case = await desk.casework.case(placed[1].case_id)
        assert case is not None
        assert case.standing
        books = moved(await desk.entries())
        assert (books["chargeback_receivable"], books["merchant_held"]) == (0, -4_975)

    at_a_desk(check)


def test_who_comes_second_changes_nothing(at_a_desk: Callable[[Check], None]) -> None:
    async def check(desk: Desk) -> None:
        one = await case_of_class(desk, "network_long")
        event = CaseEvent(one.id, 1, "noted", "open", "li", NOW, NEXT, text="first")
        await desk.casework.commit(Work(NEXT, case_events=[event]))
        before = await desk.entries()
        made = await desk.propose(one.id, "write_off")
        entries = before[:1]
        for late in (
            Work(NEXT, case_events=[event], entries=entries),
            Work(NEXT, case_events=[_second(event, resolved=True)]),
        ):
            with pytest.raises(ChangedError):
                await desk.casework.commit(late)
        with pytest.raises(DateMovedError):
            await desk.casework.commit(Work(DAY, approval=Approval(made, "wang")))
        async with desk.books.alone(NEXT):
            with pytest.raises(BusyError):
                await desk.casework.commit(Work(NEXT, approval=Approval(made, "wang")))
        assert not await desk.people.used(made.id)
        assert await desk.entries() == before
        assert (await desk.approve(made)).state == "ended"
        assert await desk.people.used(made.id)

    at_a_desk(check)


def _second(event: CaseEvent, *, resolved: bool) -> CaseEvent:
    return msgspec.structs.replace(event, sequence=3, resolved=resolved)


def test_the_newest_version_of_a_calendar_counts() -> None:
    async def scenario() -> None:
        desk = await a_desk()
        assert isinstance(desk.books, MemoryStore)
        day = date(2026, 10, 1)
        for version, off in ((1, []), (2, [{"first": "2026-10-01", "last": "2026-10-07"}])):
            content: dict[str, object] = {"name": "cn", "years": [2026], "holidays": off}
            desk.books.reference.append(reference("calendar", "cn", content, version))
        found = await desk.casework.calendar("cn")
        assert found is not None
        assert found.add_working_days(day, 1) == date(2026, 10, 8)
        assert WeekDays().add_working_days(day, 1) == date(2026, 10, 2)

    asyncio.run(scenario())


# -- on a real database ------------------------------------------------------------------------------


def test_two_checkers_at_once_are_one_approval(database_dsn: FreshDatabase) -> None:
    async def scenario() -> None:
        async with a_desk_on(database_dsn) as desk:
            one = await case_of_class(desk, "network_short")
            made = await desk.propose(one.id, "write_off", 1_000)
            results = await asyncio.gather(
                *(desk.approve(made, checker) for checker in (WANG, ZHAO, WANG)),
                return_exceptions=True,
            )
            refused = [each for each in results if isinstance(each, RefusedError | BusyError)]
            assert len(refused) == 2, results
            assert (await work.case(desk.casework, one.id)).left_minor == -4_000
            # whoever met the other's lock may ask again, and is told that it was used
            with pytest.raises(RefusedError) as error:
                await desk.approve(made, ZHAO)
            assert error.value.reason == "replayed"

    asyncio.run(scenario())


def test_the_database_refuses_a_checker_who_is_the_maker(database_dsn: FreshDatabase) -> None:
    async def scenario() -> None:
        async with a_desk_on(database_dsn) as desk:
            one = await case_of_class(desk, "network_long")
            event = CaseEvent(
                *(one.id, 1, "adjusted", "ended", "li", NOW, NEXT),
                proposal="p1",
                checker="li",
                difference_minor=one.left_minor,
            )
            with pytest.raises(asyncpg.CheckViolationError):
                await desk.casework.commit(Work(NEXT, case_events=[event]))
            connection = await asyncpg.connect(database_dsn.app)
            for change in (
                "UPDATE settlement.case_event SET text = ''",
                "DELETE FROM settlement.dispute",
            ):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(change)
            await connection.close()

    asyncio.run(scenario())


def test_the_same_casework_comes_to_the_same_on_both(database_dsn: FreshDatabase) -> None:
    """The same acts over both stores: the same cases, disputes and entries."""

    async def worked(desk: Desk) -> tuple[list[CaseFacts], list[DisputeFacts], date]:
        short = await case_of_class(desk, "network_short")
        long = await case_of_class(desk, "network_long")
        await desk.do(short.id, "release", 100)
        await desk.do(short.id, "claim", 2_000)
        await desk.do(long.id, "credit_adjustment")
        sent = {one.dispute.case_id: one for one in await desk.casework.disputes()}
        rows = [
            row("E22", 2_000, rrn=sent[short.id].dispute.rrn),
            row("E32", -700, rrn=sent[long.id].dispute.rrn, issuer_fee_minor=-2),
            row("E23", -3_000),
            row("E24", 1_000, line=2),
        ]
        await take_in(desk.casework, rows, NOW, TERMS, LI)
        await disputes.expire(desk.casework, date(2027, 1, 1), NOW, TERMS, LI)
        await close_next_day(desk, with_missing=True)
        return (
            await desk.casework.cases(Wanted(ended=True)),
            await desk.casework.disputes(ended=True),
            await desk.casework.earliest_unposted(),
        )

    async def scenario() -> None:
        memory = await a_desk()
        expected = await worked(memory), await memory.entries()
        async with a_desk_on(database_dsn) as desk:
            assert (await worked(desk), await desk.entries()) == expected

    asyncio.run(scenario())


async def tried(desk: Desk, case_id: str, name: str, amount: int | None) -> str:
    """Propose and approve; who finds a close under way tries again, as he is told."""
    for _ in range(4_000):
        try:
            await desk.do(case_id, name, amount)
        except BusyError:
            await asyncio.sleep(0.05)
        except (RefusedError, ChangedError, NotPossibleError, NotNowError) as refusal:
            return type(refusal).__name__
        else:
            return "done"
    return "busy"


def test_casework_beside_a_close_keeps_its_books(database_dsn: FreshDatabase) -> None:
    """Four desks work all cases while the next date closes: every act is done once or refused, and
    suspense is what open cases have left."""

    async def scenario() -> None:
        async with a_desk_on(database_dsn) as desk:
            cases = [one.found.id for one in await desk.casework.cases(Wanted())]
            said: list[str] = []

            async def work_at(seed: int) -> None:
                for number in range(8):
                    one = await work.case(desk.casework, cases[(seed + number) % len(cases)])
                    if not (names := [n for n in acts_of(one) if not ACTS[n].dispute]):
                        continue
                    parts = [each for each in names if ACTS[each].part]
                    chosen = names if number == 7 else parts or names
                    name = chosen[(seed * 7 + number) % len(chosen)]
                    amount = 10 if ACTS[name].part and number < 7 else None
                    said.append(await tried(desk, one.id, name, amount))

            await asyncio.gather(
                *(work_at(seed) for seed in range(4)), close_next_day(desk, with_missing=True)
            )
            assert said.count("done") > 5, said
            assert "busy" not in said
            found = await work.cases(desk.casework, Wanted(ended=True), today=NEXT)
            entries = await desk.entries()
            sums = suspense_by_case(entries, found)
            assert sums == {one.id: -one.left_minor for one in found}
            assert sum(one.held_minor for one in found) == -moved(entries)["merchant_held"]
            assert len({(made.source, made.key) for made in entries}) == len(entries)

    asyncio.run(scenario())
