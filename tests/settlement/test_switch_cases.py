"""Cases that the switch found, in casework: what they say, and how they end.

Method: one suite over the store in memory and PostgreSQL, where the switch's view is stood in for; then the
view itself, over commits of the switch's own store.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec
import pytest

from settlement.adapters.cases_postgres import PostgresCasework, open_casework
from settlement.adapters.memory import MemoryStore
from settlement.cases import SWITCH_CLASSES
from settlement.casework import work
from settlement.casework.acts import NotPossibleError, acts_of
from settlement.casework.ports import Wanted
from settlement.casework.switch_cases import SwitchCase, break_of
from settlement.four_eyes import RefusedError
from settlement.texts import TEXTS
from switch.journal import CaseRow, Commit, OutcomeState
from tests.contract.worlds import MERCHANT, TERMINAL, PostgresWorld, stored
from tests.database import FreshDatabase
from tests.settlement.desk import LI, NOW, TERMS, WANG, Desk, case_of_class
from tests.settlement.test_casework_store import at_a_desk
from tests.settlement.test_views import REFERENCES, trade as switch_trade
from tests.settlement.world import ACQUIRER, DAY

__all__ = ("at_a_desk",)  # a fixture, asked for by its name

Check = Callable[[Desk], Awaitable[None]]
LATE = SwitchCase(
    case_id="20260803-W77-0",
    kind="late_approval",
    business_date=DAY,
    opened_at=datetime(2026, 8, 3, 4, 5, tzinfo=UTC),
    merchant="104110058120001",
    terminal="12345678",
    request_id=9,
    detail='{"amount_minor":500,"response_code":"00","rrn":"621500000009","tries":2}',
    acquirer=ACQUIRER,
    currency="156",
    amount_minor=500,
    settlement_date=DAY,
    type="purchase",
    state="unknown",
    batch=1,
    stan=9,
    rrn="621500000009",
    link_stan="000009",
    transmission_time="0803101500",
    pan_masked="622202*********0123",
)
UPLOADED = SwitchCase(
    case_id="20260803-W78-1",
    kind="batch_long",
    business_date=DAY,
    opened_at=datetime(2026, 8, 3, 5, 5, tzinfo=UTC),
    merchant="104110058120001",
    terminal="12345678",
    request_id=None,
    detail='{"batch":1,"ours_minor":null,"stan":3,"terminal_minor":700}',
    acquirer="",
    currency="",
    amount_minor=None,
    settlement_date=None,
    type="",
    state="",
    batch=None,
    stan=None,
    rrn="",
    link_stan="",
    transmission_time="",
    pan_masked="",
)


async def find(desk: Desk, *found: SwitchCase) -> None:
    """The switch found these."""
    if isinstance(desk.books, MemoryStore):
        desk.books.switch_cases += found
        return
    assert isinstance(desk.casework, PostgresCasework)
    await stand_in(desk.casework._pool, *found)


async def stand_in(connection: Any, *found: SwitchCase) -> None:
    """As rows of what stands in for the switch's view."""
    await connection.copy_records_to_table(
        "case_v1",
        schema_name="switch",
        columns=[*SwitchCase.__struct_fields__, "commit_id", "seq"],
        records=[
            (*msgspec.structs.astuple(one), *map(int, one.case_id[10:].split("-"))) for one in found
        ],
    )


def test_they_stand_in_the_list_with_what_they_are_about(
    at_a_desk: Callable[[Check], None],
) -> None:
    async def check(desk: Desk) -> None:
        before = await desk.casework.cases(Wanted())
        await find(desk, LATE, UPLOADED)
        every = await desk.casework.cases(Wanted())
        assert [one.found.id for one in every] == sorted(
            [LATE.case_id, UPLOADED.case_id, *(one.found.id for one in before)]
        )
        (late,) = await desk.casework.cases(Wanted(case_class="late_approval"))
        assert late == await desk.casework.case(LATE.case_id)
        assert late.found.amount_minor == 500
        assert late.found.keys["pan_masked"] == LATE.pan_masked
        assert late.found.evidence["transaction"] == "unknown"
        assert late.found.evidence["tries"] == "2"
        uploaded = await work.case(desk.casework, UPLOADED.case_id)
        found = uploaded.facts.found
        assert (found.ours_minor, found.theirs_minor, found.amount_minor) == (None, 700, 700)
        assert (found.keys["batch"], found.keys["stan"]) == ("1", "3")
        assert acts_of(uploaded) == ("link", "acknowledge")
        assert await desk.casework.case("20260803-W79-0") is None
        assert await desk.casework.cases(Wanted(acquirer="bank-z")) == []
        mine = await desk.casework.cases(Wanted(acquirer=ACQUIRER))
        assert LATE.case_id in {one.found.id for one in mine}

    at_a_desk(check)


def test_they_are_worked_like_others_and_end_without_money(
    at_a_desk: Callable[[Check], None],
) -> None:
    async def check(desk: Desk) -> None:
        await find(desk, LATE)
        before = await desk.entries()
        await work.assign(desk.casework, LATE.case_id, "wang", LI, NOW)
        await work.note(desk.casework, LATE.case_id, "reversed by the bank", WANG, NOW)
        made = await desk.propose(LATE.case_id, "acknowledge")
        with pytest.raises(RefusedError):
            await desk.approve(made, LI)  # his own
        ended = await desk.approve(made)
        assert (ended.state, ended.owner) == ("ended", "wang")
        assert await desk.entries() == before
        assert LATE.case_id not in {one.found.id for one in await desk.casework.cases(Wanted())}
        assert LATE.case_id in {
            one.found.id for one in await desk.casework.cases(Wanted(ended=True))
        }

    at_a_desk(check)


def test_one_ends_by_the_entry_that_moved_its_money(at_a_desk: Callable[[Check], None]) -> None:
    async def check(desk: Desk) -> None:
        await find(desk, LATE)
        long = await case_of_class(desk, "network_long")
        await desk.do(long.id, "follow_file")
        (entry,) = await desk.casework.linked_entries(long.id)
        named = f"{entry.source}/{entry.key}"
        for wrong, why in (("", "SOURCE/KEY"), ("case/none", "no entry case/none")):
            with pytest.raises(NotPossibleError, match=why):
                await work.propose(
                    desk.casework, desk.people, LATE.case_id, "link", LI, NOW, entry=wrong
                )
        made = await work.propose(
            desk.casework, desk.people, LATE.case_id, "link", LI, NOW, entry=named
        )
        moves = made.payload["moves"]
        assert isinstance(moves, dict)
        assert moves["linked"]["amounts"] == list(entry.amounts)  # what the checker sees
        ended = await work.do(desk.casework, await desk.judged(made), NOW, TERMS)
        assert ended.state == "ended"
        assert ended.facts.events[-1].entry == named
        short = await case_of_class(desk, "network_short")
        with pytest.raises(NotPossibleError):  # a case with money in suspense ends by its own
            await work.propose(desk.casework, desk.people, short.id, "link", LI, NOW, entry=named)

    at_a_desk(check)


def test_an_entry_of_another_merchant_is_no_end(at_a_desk: Callable[[Check], None]) -> None:
    async def check(desk: Desk) -> None:
        other = msgspec.structs.replace(LATE, merchant="104110058129999")
        await find(desk, other)
        entry = next(one for one in await desk.entries() if one.merchant)
        with pytest.raises(NotPossibleError, match="of merchant"):
            await work.propose(
                desk.casework,
                desk.people,
                other.case_id,
                "link",
                LI,
                NOW,
                entry=f"{entry.source}/{entry.key}",
            )

    at_a_desk(check)


def test_every_kind_has_a_text() -> None:
    assert {f"class_{kind}" for kind in SWITCH_CLASSES} <= TEXTS.keys()


def test_the_view_over_the_switchs_own_commits(database_dsn: FreshDatabase) -> None:
    async def scenario() -> None:
        world = PostgresWorld(database_dsn)
        try:
            store = await world.process()
            long_ago = datetime(2020, 1, 1, tzinfo=UTC)
            await store.reference.apply(REFERENCES, maker="test", effective_from=long_ago)
            generation = await store.reference.generation()
            day = await switch_trade(store, 1, generation, OutcomeState.DECLINED)
            at = datetime(2026, 8, 3, 4, 5, tzinfo=UTC)
            detail = json.dumps({"rrn": "x", "amount_minor": 10_000})
            for number, kind in ((1, "late_approval"), (None, "undelivered")):
                row = CaseRow(kind, number, MERCHANT, TERMINAL, detail, at)
                stored(await store.journal.commit(Commit(case=row)))
            async with open_casework(database_dsn.app) as casework:
                about, without = await casework.cases(Wanted())
                assert (about.found.break_class, without.found.break_class) == (
                    *("late_approval", "undelivered"),
                )
                assert await casework.case(about.found.id) == about
                assert about.found.business_date == day
                assert about.found.ours_minor == without.found.ours_minor == 10_000
                assert about.found.acquirer != ""
                assert about.found.evidence["transaction"] == "declined"
                assert about.found.keys["rrn"].startswith("6063")
                assert without.found.acquirer == ""
                await work.note(casework, about.found.id, "seen", LI, at)
                assert len((await work.case(casework, about.found.id)).facts.events) == 1
            reader = await asyncpg.connect(database_dsn.app)
            try:
                rows = await reader.fetch("SELECT * FROM switch.case_v1 ORDER BY commit_id")
                columns = SwitchCase.__struct_fields__
                cases = [SwitchCase(**{name: row[name] for name in columns}) for row in rows]
                assert [break_of(one) for one in cases] == [about.found, without.found]
            finally:
                await reader.close()
        finally:
            await world.close()

    asyncio.run(scenario())
