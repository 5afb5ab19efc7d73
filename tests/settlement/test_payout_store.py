"""One suite for payouts in memory and on PostgreSQL; then what only a real database can show."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import date
from decimal import Decimal
from typing import Any

import asyncpg
import msgspec
import pytest

from settlement.adapters import payout_commit
from settlement.adapters.case_lock import lock_cases
from settlement.adapters.payout_postgres import PostgresPayouts, open_payouts
from settlement.adapters.postgres import PostgresStore
from settlement.entry_columns import entry_relation
from settlement.four_eyes import Actor, RefusedError, judge
from settlement.iso20022.camt053 import StatementError
from settlement.ledger import movements
from settlement.payouts.dates import bring_on, find_overdue
from settlement.payouts.desk import Desk, PayoutError
from settlement.payouts.export import export
from settlement.payouts.ports import (
    Balance,
    DateState,
    Decision,
    Facts,
    Payable,
    Receivable,
    RollingReserve,
    StaleError,
    Statement,
)
from settlement.payouts.propose import propose
from settlement.payouts.release import release
from settlement.ports import Facts as CloseFacts, Step
from settlement.reserve import reserve_check
from settlement.statements import case_id, take_in
from switch.commands.common import office
from tests.database import FreshDatabase
from tests.settlement.payout_world import (
    AT,
    BOOKS,
    CHECKER,
    CNY,
    MAKER,
    MONDAY,
    NOODLES,
    ONE_DAY,
    OWN,
    REFERENCES,
    RESERVE,
    TEA,
    Bank,
    Place,
    Told,
    Town,
    let_go,
    merchant,
    pay,
    sold,
    told,
)
from tests.settlement.test_payout import PAYER, everything, town_and_statements
from tests.settlement.test_store import publish
from tests.settlement.world import PANS, Sink

TUESDAY, WEDNESDAY = MONDAY + ONE_DAY, MONDAY + 2 * ONE_DAY
Check = Callable[[Place], Awaitable[None]]
WITH_TERMS = [
    *REFERENCES[:-2],
    merchant(BOOKS, reserve_rate=Decimal("0.1"), reserve_days=1),
    merchant(NOODLES, payout_cycle="T+0", payout_account=OWN, advance_fee_rate=Decimal("0.01")),
]


class PostgresTown:
    """The town on a database; the switch's business dates are set as their owner would."""

    def __init__(self, payouts: PostgresPayouts, people: Any, owner: Any) -> None:
        self.payouts = payouts
        self.people = people
        self.bank = Bank()
        self.books = PostgresStore(payouts._pool)
        self._owner = owner

    def desk(self, actor: Actor = MAKER) -> Desk:
        return Desk(self.payouts, self.people, actor, AT)

    async def day(
        self,
        business_date: date,
        sales: Mapping[Any, int],
        settlement_date: date | None = None,
        acquirer: str = "bank-a",
        discount_minor: int = 0,
    ) -> None:
        nets, entries = sold(
            business_date, sales, settlement_date or business_date, acquirer, discount_minor
        )
        await self.books.finish(
            Step(business_date, "post", "0" * 64, {}), CloseFacts(entries=entry_relation(entries))
        )
        await self._state(business_date, "frozen")
        await self._state(business_date + ONE_DAY, "open")
        await self.books.seal(business_date)
        await self._state(business_date, "posted")
        await self.books.finish(Step(business_date, "net", "0" * 64, {}), CloseFacts(nets=nets))

    async def _state(self, business_date: date, state: str) -> None:
        await self._owner.execute(
            "INSERT INTO switch.business_date (business_date, state) VALUES ($1, $2) "
            "ON CONFLICT (business_date) DO UPDATE SET state = excluded.state",
            business_date,
            state,
        )

    async def balance(self, account: str, owner: str = "", currency: str = CNY) -> int:
        return int(
            await self._owner.fetchval(
                "SELECT coalesce(sum(amount_minor), 0) FROM settlement.posting "
                "WHERE (account, currency) = ($1, $2) AND $3 IN ('', owner)",
                account,
                currency,
                owner,
            )
        )


@asynccontextmanager
async def a_town(
    dsn: FreshDatabase, references: Iterable[Any] = WITH_TERMS
) -> AsyncIterator[PostgresTown]:
    await publish(dsn.owner, [], [], list(references))
    owner = await asyncpg.connect(dsn.owner)
    await owner.execute("DELETE FROM switch.business_date")
    try:
        async with open_payouts(dsn.app) as payouts, office(dsn.app) as desk:
            town = PostgresTown(payouts, desk.people, owner)
            await town._state(MONDAY, "open")
            yield town
    finally:
        await owner.close()


def on_its_store(
    request: pytest.FixtureRequest, references: Iterable[Any] = WITH_TERMS
) -> Callable[[Check], None]:
    """What a check runs in: a town in memory, or on a database, as the fixture's parameter says."""
    dsn: FreshDatabase | None = None
    if request.param == "postgres":
        dsn = request.getfixturevalue("database_dsn")

    async def run(check: Check) -> None:
        if dsn is None:
            await check(Town(references))
            return
        async with a_town(dsn, references) as town:
            await check(town)

    return lambda check: asyncio.run(run(check))


@pytest.fixture(params=["memory", "postgres"])
def with_town(request: pytest.FixtureRequest) -> Callable[[Check], None]:
    return on_its_store(request)


def test_what_is_owed_and_by_whom(with_town: Callable[[Check], None]) -> None:
    async def check(town: Place) -> None:
        payouts = town.payouts
        assert await payouts.posted() == await payouts.payables(TUESDAY) == []
        await town.day(MONDAY, {TEA: 10_000, BOOKS: 5_000}, acquirer="bank-b")
        await town.day(TUESDAY, {TEA: -300}, settlement_date=WEDNESDAY)
        assert await payouts.posted() == [MONDAY, TUESDAY]
        assert [one.merchant for one in await payouts.nets(MONDAY)] == [TEA, BOOKS]
        for _ in range(2):  # counted now, and read as counted
            assert await payouts.payables(MONDAY) == [
                Payable(TEA, CNY, 10_000, 9_700, 0, 0),
                Payable(BOOKS, CNY, 5_000, 5_000, 0, 0),
            ]
        assert await payouts.receivables() == [
            Receivable("bank-a", WEDNESDAY, CNY, -300),
            Receivable("bank-b", MONDAY, CNY, 15_000),
        ]
        assert await payouts.receivables_moved(MONDAY) == ["bank-b/2026-08-03"]
        assert await payouts.receivables_moved(TUESDAY) == ["bank-a/2026-08-05"]
        assert await payouts.balances(MONDAY) == [
            Balance("merchant_payable", CNY, -15_000),
            Balance("network_receivable", CNY, 15_000),
        ]
        await town.day(WEDNESDAY, {"agent/north": 70})
        assert (await payouts.payables(WEDNESDAY))[-1] == Payable("agent/north", CNY, 70, 70, 0, 0)
        assert (await payouts.payables(TUESDAY))[-1] == Payable("agent/north", CNY, 0, 70, 0, 0)
        await bring_on(town.desk(), MONDAY)
        # a tenth of Monday's books waits; it counts for Monday and comes back on Tuesday
        assert (await payouts.payables(MONDAY))[1] == Payable(BOOKS, CNY, 4_500, 4_500, 0, 500)
        assert (await payouts.payables(MONDAY - ONE_DAY))[1].through_minor == 0
        assert await payouts.reserves(MONDAY) == []
        (kept,) = await payouts.reserves(TUESDAY)
        assert kept == RollingReserve(MONDAY, BOOKS, CNY, "withheld", 500, TUESDAY)
        await bring_on(town.desk(), TUESDAY)
        assert await payouts.reserves(TUESDAY) == []
        assert (await payouts.payables(MONDAY))[1] == Payable(BOOKS, CNY, 5_000, 5_000, 0, 0)

    with_town(check)


def test_money_that_does_not_come_is_a_break_until_it_comes(
    with_town: Callable[[Check], None],
) -> None:
    async def check(town: Place) -> None:
        payouts, kind = town.payouts, "receivable_overdue"
        await town.day(MONDAY, {TEA: 10_000})
        assert await payouts.standing_breaks(kind) == []
        desk = msgspec.structs.replace(town.desk(), at=AT + 3 * ONE_DAY)
        (one,) = await find_overdue(desk)
        assert one.id == "20260804-W00000101"
        assert await payouts.standing_breaks(kind) == [one]
        assert await payouts.standing_breaks("statement_unmatched") == []
        closed = msgspec.structs.replace(one, id="x", business_date=MONDAY)
        with pytest.raises(StaleError):
            await desk.commit(Facts(await payouts.generation(), "late", breaks=[closed]))
        await told(town, TUESDAY, Told(10_000, counterparty=PAYER))
        assert await find_overdue(desk) == []
        assert await payouts.standing_breaks(kind) == []
        assert await payouts.resolved([one.id]) == {one.id}

    with_town(check)


def test_from_proposal_to_confirmation(with_town: Callable[[Check], None]) -> None:
    async def check(town: Place) -> None:
        payouts = town.payouts
        await town.day(MONDAY, {TEA: 10_000, NOODLES: 2_000})
        (taken,) = await told(town, TUESDAY, Told(12_000, counterparty=PAYER))
        assert taken.state == "taken_in"
        (statement,) = await payouts.statements(RESERVE)
        assert statement == taken.statement
        assert await payouts.statements("other") == []
        (line,) = await payouts.lines(RESERVE, statement.id)
        (match,) = await payouts.matches(RESERVE, statement.id)
        assert (line.amount_minor, match.rule, match.objects) == (
            12_000,
            "one-date",
            ("bank-a/2026-08-03",),
        )
        assert await payouts.open_lines() == []
        await bring_on(town.desk(), TUESDAY)
        assert [one.state for one in await payouts.states(MONDAY)] == ["funded", "withheld"]
        assert await payouts.states(TUESDAY) == []
        batches = await pay(town, TUESDAY)
        assert [(one.account, one.kind) for one in batches] == [
            (OWN, "advance"),
            (RESERVE, "payout"),
        ]
        assert await payouts.batches() == await payouts.batches(TUESDAY) == batches
        assert await payouts.batches(MONDAY) == []
        orders = await payouts.orders()
        assert await payouts.orders([batches[1].id]) == orders[1:]
        assert await payouts.open_orders() == orders
        names = [order.end_to_end_id for order in orders]
        assert await payouts.orders_by_id([*names, "x"]) == dict(zip(names, orders, strict=True))
        assert [one.decision for one in await payouts.decisions()] == ["released"] * 2
        sink = Sink()
        made = await export(town.desk(), batches[1].id, sink)
        assert await payouts.files() == await payouts.files([batches[1].id]) == [made]
        await told(
            town,
            WEDNESDAY,
            Told(-10_000, orders[1].end_to_end_id),
            Told(10_000, orders[1].end_to_end_id, reason="AC01"),
            Told(5, text="who knows"),
        )
        events = await payouts.events(names)
        assert [(one.kind, one.reason) for one in events] == [
            ("confirmed", ""),
            ("returned", "AC01"),
        ]
        assert await payouts.returned_orders() == orders[1:]
        assert await payouts.open_orders() == orders[:1]
        (open_line,) = await payouts.open_lines()
        assert open_line.text == "who knows"
        assert await payouts.resolved([]) == set()
        (check,) = await reserve_check(town.desk(), MONDAY)
        assert await payouts.checks(MONDAY) == [check]
        assert await payouts.checks(TUESDAY) == []

    with_town(check)


def test_one_of_two_commits_stands(with_town: Callable[[Check], None]) -> None:
    async def check(town: Place) -> None:
        at = await town.payouts.generation()
        first = Facts(at, "a", at=AT, actor="x", states=[DateState(MONDAY, "funded")])
        second = Facts(at, "b", at=AT, actor="x", states=[DateState(TUESDAY, "funded")])
        await town.payouts.commit(first)
        with pytest.raises(StaleError):
            await town.payouts.commit(second)
        assert await town.payouts.states() == [DateState(MONDAY, "funded", at + 1)]
        assert await town.payouts.generation() == at + 1

    with_town(check)


def test_a_statement_stands_on_no_closed_date(with_town: Callable[[Check], None]) -> None:
    """Also one that moves nothing: the date's reserve check has been made without it."""

    async def check(town: Place) -> None:
        await town.day(MONDAY, {TEA: 10_000})
        at = await town.payouts.generation()
        quiet = Statement(
            RESERVE, "1", None, MONDAY, MONDAY, CNY, 0, 0, 0, "0" * 64, business_date=MONDAY
        )
        facts = Facts(at, "statement.import", at=AT, actor="x", statements=[quiet])
        with pytest.raises(StaleError):
            await town.payouts.commit(facts)
        today = msgspec.structs.replace(quiet, business_date=TUESDAY)
        await town.payouts.commit(msgspec.structs.replace(facts, statements=[today]))
        assert await town.payouts.statements() == [today]

    with_town(check)


def test_the_same_statement_again_and_another_under_its_name(
    with_town: Callable[[Check], None],
) -> None:
    async def check(town: Place) -> None:
        data = town.bank.statement(MONDAY, Told(7), Told(8))
        (first,) = await take_in(town.desk(), "a.xml", data, PANS)
        at = await town.payouts.generation()
        (again,) = await take_in(town.desk(), "b.xml", data, PANS)
        assert (again.statement, again.state) == (first.statement, "known")
        assert await town.payouts.generation() == at
        bent = data.replace(b">0.07<", b">0.06<").replace(b">0.08<", b">0.09<")
        with pytest.raises(StatementError, match="other content"):
            await take_in(town.desk(), "c.xml", bent, PANS)
        assert await town.payouts.generation() == at

    with_town(check)


# -- PostgreSQL itself ----------------------------------------------------------------------------


def test_a_days_work_on_postgres_equals_the_one_in_memory(database_dsn: FreshDatabase) -> None:
    async def scenario() -> None:
        memory, statements = await town_and_statements()
        expected = Sink()
        await everything(memory, expected, statements)
        references = memory.books.reference
        async with a_town(database_dsn, references) as town:
            await town.day(MONDAY, {TEA: 10_000, BOOKS: 5_000, NOODLES: 2_000})
            sink = Sink()
            await everything(town, sink, statements)  # type: ignore[arg-type]
            assert sink.files == expected.files
            for day in (MONDAY, TUESDAY):
                ours = memory.books.ledger.entries(day)
                assert movements(await town.books.entries(day)) == movements(ours)
            assert await town.payouts.states() == await memory.payouts.states()

    asyncio.run(scenario())


def test_many_who_propose_and_release_at_once_pay_once(database_dsn: FreshDatabase) -> None:
    """Sessions of their own, all at the same books: one order a merchant, one release a batch."""

    async def scenario() -> None:
        async with a_town(database_dsn) as town:
            await town.day(MONDAY, {TEA: 10_000, BOOKS: 5_000})
            await told(town, TUESDAY, Told(15_000, counterparty=PAYER))
            await bring_on(town.desk(), MONDAY)

            async def one() -> None:
                async with open_payouts(database_dsn.app) as payouts:
                    desk = Desk(payouts, town.people, MAKER, AT)
                    for _, proposal in await propose(desk, TUESDAY):
                        with suppress(RefusedError, PayoutError):
                            approval = judge(proposal, CHECKER, seen=proposal.sha256, used=False)
                            await release(Desk(payouts, town.people, CHECKER, AT), approval)

            await asyncio.gather(*(one() for _ in range(6)), return_exceptions=True)
            orders = await town.payouts.orders()
            assert sorted(order.payee for order in orders) == [TEA, BOOKS]
            assert await town.balance("payout_in_transit") == -14_500
            assert await town.balance("merchant_payable") == 0

    asyncio.run(scenario())


def test_killed_between_the_statements_of_a_commit_nothing_stands(
    database_dsn: FreshDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection dies within the transaction, at each of its statements in turn."""

    async def scenario() -> None:
        async with a_town(database_dsn) as town:
            await town.day(MONDAY, {TEA: 10_000})
            await told(town, TUESDAY, Told(10_000, counterparty=PAYER))
            await bring_on(town.desk(), MONDAY)
            ((_, proposal),) = await propose(town.desk(), TUESDAY)
            at = await town.payouts.generation()
            for step in ("_number", "_add", "post_entries", "audit", "approve"):
                real = getattr(payout_commit, step)

                async def dying(
                    connection: Any, *values: Any, real: Any = real, **named: Any
                ) -> None:
                    await real(connection, *values, **named)
                    connection.terminate()

                monkeypatch.setattr(payout_commit, step, dying)
                with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
                    await let_go(town, proposal)
                monkeypatch.setattr(payout_commit, step, real)
                assert await town.payouts.generation() == at
                assert await town.payouts.decisions() == []
                assert not await town.people.used(proposal.id)
                assert await town.balance("payout_in_transit") == 0
            await let_go(town, proposal)
            assert await town.balance("payout_in_transit") == -10_000

    asyncio.run(scenario())


def test_the_database_refuses_what_the_core_would_not_write(database_dsn: FreshDatabase) -> None:
    async def scenario() -> None:
        async with a_town(database_dsn) as town:
            await town.day(MONDAY, {TEA: 10_000})
            await told(town, TUESDAY, Told(10_000, counterparty=PAYER))
            await bring_on(town.desk(), MONDAY)
            (batch,) = await pay(town, TUESDAY)
            (order,) = await town.payouts.orders()
            app = await asyncpg.connect(database_dsn.app)
            try:
                for change in (
                    "UPDATE settlement.payout_order SET amount_minor = 1",
                    "DELETE FROM settlement.payout_decision",
                    "DELETE FROM settlement.payout_act",
                    "UPDATE settlement.statement SET closing_minor = 0",
                ):
                    with pytest.raises(asyncpg.InsufficientPrivilegeError):
                        await app.execute(change)
            finally:
                await app.close()
            at = await town.payouts.generation()
            bent = [
                Facts(
                    at,
                    "minus",
                    at=AT,
                    actor="x",
                    orders=[changed(order, end_to_end_id="y", amount_minor=-1)],
                ),
                Facts(at, "twice", at=AT, actor="x", orders=[order]),
                Facts(
                    at,
                    "again",
                    at=AT,
                    actor="x",
                    decisions=[Decision(batch.id, "withdrawn", "x", MONDAY)],
                ),
            ]
            for facts in bent:
                with pytest.raises(asyncpg.IntegrityConstraintViolationError):
                    await town.payouts.commit(facts)
            assert await town.payouts.generation() == at

    asyncio.run(scenario())


def test_a_line_whose_case_people_work_on_stays_theirs(database_dsn: FreshDatabase) -> None:
    async def scenario() -> None:
        async with a_town(database_dsn) as town:
            await told(town, TUESDAY, Told(10_000, counterparty=PAYER))
            (line,) = await town.payouts.open_lines()
            await town._owner.execute(
                "INSERT INTO settlement.case_event VALUES ($1, 1, 'ended', 'ended', 'li', now(), "
                "$2, '', '', 'write_off', 'p1', 'wang', '', 10000, 0, false)",
                case_id(line),
                MONDAY,
            )
            await town.day(MONDAY, {TEA: 10_000})
            await bring_on(town.desk(), TUESDAY)
            assert await town.balance("network_receivable") == 10_000
            assert await town.balance("long_suspense") == -10_000, "theirs to move"
            assert await town.payouts.open_lines() == [line]

    asyncio.run(scenario())


def test_a_line_and_its_case_at_once_move_the_money_once(database_dsn: FreshDatabase) -> None:
    """A checker's commit is under way while the line is explained: the line waits, and looks again."""

    async def scenario() -> None:
        async with a_town(database_dsn) as town:
            await told(town, TUESDAY, Told(10_000, counterparty=PAYER))
            (line,) = await town.payouts.open_lines()
            await town.day(MONDAY, {TEA: 10_000})
            async with town._owner.transaction():
                await lock_cases(town._owner, [case_id(line)])
                explained = asyncio.create_task(bring_on(town.desk(), TUESDAY))
                waiting = (
                    "SELECT count(*) FROM pg_locks WHERE classid = 8593 AND NOT granted "
                    "AND locktype = 'advisory'"
                )
                async with asyncio.timeout(60):
                    while not await town._owner.fetchval(waiting):  # noqa: ASYNC110 - of a server
                        await asyncio.sleep(0.05)
                await town._owner.execute(
                    "INSERT INTO settlement.case_event VALUES ($1, 1, 'ended', 'ended', 'li', now(), "
                    "$2, '', '', 'write_off', 'p1', 'wang', '', 10000, 0, false)",
                    case_id(line),
                    MONDAY,
                )
            await explained
            assert await town.balance("network_receivable") == 10_000
            assert await town.balance("long_suspense") == -10_000, "theirs to move"
            assert await town.payouts.open_lines() == [line]

    asyncio.run(scenario())


def changed(order: Any, **values: Any) -> Any:
    return msgspec.structs.replace(order, **values)
