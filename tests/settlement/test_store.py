"""One suite for the store in memory and on PostgreSQL; then whole days on PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import date, timedelta
from typing import Any

import asyncpg
import msgspec
import pytest

from settlement import ports
from settlement.adapters.bulk_postgres import QUERIES
from settlement.adapters.ledger_memory import MemoryStored
from settlement.adapters.ledger_stored import open_stored
from settlement.adapters.memory import MemoryStore
from settlement.adapters.postgres import PostgresDates, PostgresStore, open_postgres
from settlement.cases import Break, Resolution
from settlement.clearing import (
    Capture,
    ClearingRecord,
    ClearingRow,
    FileName,
    HeldFile,
    IncomingFile,
    Reference,
    Transaction,
)
from settlement.columns import relation, table_of
from settlement.entry_columns import entry_relation
from settlement.files import com
from settlement.kept_sums import BatchTotal
from settlement.ledger import Entry, LedgerConflictError, entry, movements
from settlement.ledger_verify import Unwatched, verify
from settlement.matches import Match, Member
from settlement.ports import Facts, Output, Step, Store
from settlement.terminal_totals import check_totals
from tests.database import FreshDatabase
from tests.depth import sampled
from tests.settlement.oracle import records_of
from tests.settlement.test_close import PLANTED, Killed, KilledAt, a_day
from tests.settlement.world import (
    ACQUIRER,
    AT,
    DAY,
    ENGINE,
    NEXT,
    PANS,
    REFERENCES,
    Sink,
    billed,
    captures_of,
    com_file,
    inbox,
    run_close,
    trade,
)

# What the switch publishes, as tables that a test may fill.
STAND_IN = """
DROP VIEW IF EXISTS switch.transaction_v1, switch.capture_v1, switch.reference_v1 CASCADE;
CREATE TABLE switch.transaction_v1 (
    request_id bigint, business_date date, settlement_date date, type text, state text,
    merchant text, terminal text, batch int, stan int, mti text, processing_code text,
    amount_minor bigint, approved_amount_minor bigint, currency text, acquirer text,
    link_stan text, transmission_time text, de32 text, de33 text, rrn text, acquirer_rrn text,
    auth_code text, response_code text, route_rule text, original_request_id bigint,
    pan_token bytea, pan_masked text, mcc text, entry_mode text, condition_code text,
    received_at timestamptz, route text);
CREATE TABLE switch.capture_v1 (
    capture_id bigint, request_id bigint, business_date date, settlement_date date,
    merchant text, terminal text, batch int, stan int, type text, acquirer text,
    effect_minor bigint, currency text, original_request_id bigint, request_date date);
CREATE TABLE switch.reference_v1 (
    kind text, key text, version int, effective_from timestamptz, content jsonb);
CREATE TABLE switch.case_v1 (
    case_id text, commit_id bigint, seq int, kind text, business_date date, opened_at timestamptz,
    merchant text, terminal text, request_id bigint, detail text, acquirer text, currency text,
    amount_minor bigint, settlement_date date, type text, state text, batch int, stan int, rrn text,
    link_stan text, transmission_time text, pan_masked text);
GRANT SELECT ON switch.transaction_v1, switch.capture_v1, switch.reference_v1, switch.case_v1
    TO tongbao_app;
GRANT INSERT ON switch.case_v1 TO tongbao_app;
"""


async def publish(
    dsn: str,
    transactions: list[Transaction],
    captures: list[Capture],
    references: list[Reference] = REFERENCES,
    said: Sequence[BatchTotal] = (),
) -> None:
    """Stand in for the switch's views, and make DAY the open business date, on which terminals have
    `said` their totals."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(STAND_IN)
        for view, shape, facts in (
            ("transaction_v1", Transaction, transactions),
            ("capture_v1", Capture, captures),
        ):
            await connection.copy_records_to_table(
                view,
                schema_name="switch",
                columns=list(shape.__struct_fields__),
                records=[msgspec.structs.astuple(one) for one in facts],
            )
        await connection.execute(
            "UPDATE switch.capture_v1 AS c SET request_date = t.business_date "
            "FROM switch.transaction_v1 AS t WHERE t.request_id = c.request_id"
        )
        for one in references:
            await connection.execute(
                "INSERT INTO switch.reference_v1 VALUES ($1, $2, $3, $4, $5)",
                one.kind,
                one.key,
                one.version,
                one.effective_from,
                msgspec.json.encode(one.content).decode(),
            )
        await connection.execute("DELETE FROM switch.business_date")
        await connection.execute(
            "INSERT INTO switch.business_date (business_date, state) VALUES ($1, 'open')", DAY
        )
        await connection.execute("UPDATE switch.business_day SET business_date = $1", DAY)
        for total in said:
            # half of it by cards of the other side of DE 48
            debits = total.debit_minor, total.debit_count
            credits_ = total.credit_minor, total.credit_count
            await connection.execute(
                "INSERT INTO switch.batch_settled (merchant, terminal, batch, said, ours, result)"
                " VALUES ($1, $2, $3, $4, $4, '11')",
                *total.key,
                [0, 0, *credits_, *debits, 0, 0],
            )
    finally:
        await connection.close()


SAID = [BatchTotal("m1", "t1", 1, 10_000, 2, 4_000, 1), BatchTotal("m1", "t2", 7, 0, 0, 0, 0)]


def facts_of_a_day() -> tuple[list[Transaction], list[Capture]]:
    late = trade(20, business_date=NEXT, settlement_date=DAY)
    trades = [
        trade(1),
        trade(2, type="void", original_request_id=1),
        trade(3, state="declined"),
        late,
    ]
    captures = captures_of(trades)
    # a refund of the day before, answered today
    earlier = trade(4, type="refund", business_date=DAY - timedelta(days=1))
    captures += [msgspec.structs.replace(captures_of([earlier])[0], business_date=DAY)]
    return [*trades, earlier], captures


Check = Callable[[Store], Awaitable[None]]


@pytest.fixture(params=["memory", "postgres"])
def with_store(request: pytest.FixtureRequest) -> Callable[[Check], None]:
    """Runs a check against a store that knows `facts_of_a_day`."""
    transactions, captures = facts_of_a_day()
    dsn: FreshDatabase | None = None
    if request.param == "postgres":
        dsn = request.getfixturevalue("database_dsn")

    async def memory(check: Check) -> None:
        store = MemoryStore(captures, transactions, REFERENCES)
        store.batches = [(DAY, said) for said in SAID]
        await check(store)

    async def postgres(check: Check) -> None:
        assert dsn is not None
        await publish(dsn.owner, transactions, captures, said=SAID)
        async with open_postgres(dsn.app) as (store, _):
            await check(store)

    chosen = memory if request.param == "memory" else postgres
    return lambda check: asyncio.run(chosen(check))


def step(name: str = "freeze", day: date = DAY) -> Step:
    return Step(day, name, "0" * 64, {"captures": 3})


def test_what_the_switch_publishes(with_store: Callable[[Check], None]) -> None:
    async def check(store: Store) -> None:
        assert [one.capture_id for one in await store.captures(DAY)] == [1, 2, 4]
        assert [one.request_id for one in await store.transactions(DAY)] == [1, 2, 3, 4]
        assert [one.request_id for one in await store.transactions_ahead(DAY, DAY)] == [20]
        (total,) = await store.captured_totals(DAY)
        assert (total.merchant, total.batch, total.amount_minor) == (trade(1).merchant, 1, -10_000)
        found = await store.references(["link", "route"])
        assert [(one.kind, one.key) for one in found] == [
            ("link", "bank-a-1"),
            ("route", "622202"),
            ("route", "622888"),
        ]
        assert found[1].content["card_type"] == "debit"

    with_store(check)


def test_the_first_instant_stays(with_store: Callable[[Check], None]) -> None:
    async def check(store: Store) -> None:
        assert await store.begin(DAY, AT) == AT
        assert await store.begin(DAY, AT + timedelta(hours=1)) == AT

    with_store(check)


@pytest.fixture(params=["few", "bulk"])
def any_bulk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Facts as few as these are, and the same stored as bulk is: on a thread of its own."""
    if request.param == "bulk":
        monkeypatch.setattr(ports, "BULK_FROM", 1)


@pytest.mark.usefixtures("any_bulk")
def test_a_step_stands_once_with_its_facts(with_store: Callable[[Check], None]) -> None:
    async def check(store: Store) -> None:
        transactions, captures = facts_of_a_day()
        records = records_of(DAY, captures[:2], transactions[:3], {})
        assert await store.finish(
            step(), Facts(records=relation(ClearingRecord, records), inputs=["x"])
        )
        assert not await store.finish(step(), Facts(records=relation(ClearingRecord, records)))
        assert await store.steps(DAY) == {"freeze": step()}
        assert await store.records(DAY) == records
        assert [one.key for one in records] == ["c1", "c2", "r3"]
        assert await store.records_by_key(["c2", "r3", "c9"]) == {
            one.key: one for one in records[1:]
        }
        assert [one.key for one in await store.records_by_root([1])] == ["c1", "c2"]
        assert await store.roots([2, 3]) == {2: 1}

    with_store(check)


def test_batches_are_checked_once_over_all_their_dates(
    with_store: Callable[[Check], None],
) -> None:
    async def check(store: Store) -> None:
        first, second = SAID
        before = DAY - timedelta(days=1)
        assert await store.batches_said(before) == []
        assert await store.batches_said(DAY) == [first, second]
        earlier = BatchTotal("m1", "t1", 1, 4_000, 1, 0, 0)
        await store.finish(step("reconcile", before), Facts(batch_sums=[earlier]))
        today = BatchTotal("m1", "t1", 1, 6_000, 1, 4_000, 1)
        other = BatchTotal("m2", "t1", 1, 1, 1, 0, 0)
        await store.finish(
            step("reconcile"), Facts(batch_sums=[today, other], batches_checked=[first.key])
        )
        assert await store.batches_captured([first.key, second.key]) == [earlier, today]
        assert await store.batches_said(DAY) == [second]
        assert await store.batch_sums(DAY) == [today, other]
        assert await store.batches_checked(DAY) == [first.key]
        assert (await store.batch_sums(NEXT), await store.batches_checked(NEXT)) == ([], [])
        ENGINE.load("records", table_of(ClearingRecord, []))
        found = await check_totals(store, NEXT, ENGINE, "156")
        assert (found.batches, found.breaks, found.sums) == ([second.key], [], [])

    with_store(check)


def test_lines_of_one_match_stand_in_no_other(with_store: Callable[[Check], None]) -> None:
    async def check(store: Store) -> None:
        members = [
            Member(DAY, "c1", "split-capture", 1, "ours", "c1"),
            Member(DAY, "c1", "split-capture", 1, "theirs", "r1"),
            Member(DAY, "c1", "split-capture", 1, "theirs", "r2"),
        ]
        of = relation(Member, members)
        alone = [
            Match(DAY, "matched", "split-capture", 1, record, row)
            for record, row in (("c1", ""), ("", "r1"), ("", "r2"))
        ]
        with pytest.raises(AssertionError, match="is in no match"):
            await store.finish(step(), Facts(matches=relation(Match, alone[:2]), members=of))
        assert await store.finish(step(), Facts(matches=relation(Match, alone), members=of))
        assert await store.members(DAY) == members
        assert await store.members(NEXT) == []
        assert await store.matched_with(["r2", "c7"]) == members
        assert await store.matched_with(["c7"]) == []
        with pytest.raises((asyncpg.UniqueViolationError, AssertionError)):
            await store.finish(
                step("again"),
                Facts(matches=relation(Match, [Match(DAY, "matched", "exact", 2, "c9", "r2")])),
            )

    with_store(check)


def test_matches_close_and_open_sides_stay(with_store: Callable[[Check], None]) -> None:
    async def check(store: Store) -> None:
        transactions, captures = facts_of_a_day()
        records = records_of(DAY, captures[:2], transactions[:3], {})
        await store.finish(step(), Facts(records=relation(ClearingRecord, records)))
        name = FileName(ACQUIRER, "IND26080301ACOM", "COM", DAY, 1)
        rows = com.parse(
            com.render([billed(trade(1)), billed(trade(9))]),
            name,
            token=PANS.token,
            mask=PANS.mask,
        )
        file = IncomingFile(ACQUIRER, name.name, "COM", DAY, 1, 1, b"h" * 32, 2, DAY, b"sealed")
        await store.take_in(file, relation(ClearingRow, rows))
        assert await store.files(ACQUIRER) == [msgspec.structs.replace(file, sealed=b"")] or (
            await store.files(ACQUIRER) == [file]
        )
        assert await store.rows(DAY, DAY) == rows
        assert await store.rows(NEXT, NEXT) == []
        matches = [
            Match(DAY, "matched", "exact", 1, "c1", rows[0].id),
            Match(DAY, "reversed_both", "voided-pair", 1, "c2", ""),
        ]
        found = Break(
            "20260803-R000001",
            DAY,
            "network_long",
            ACQUIRER,
            "156",
            {"rrn": "1", "merchant": "老茶馆"},
            None,
            700,
            row=rows[1].id,
            evidence={"line": "2"},
            settlement_date=DAY,
            difference_minor=690,
        )
        await store.finish(
            step("reconcile"), Facts(matches=relation(Match, matches), breaks=[found])
        )
        assert await store.matches(DAY) == matches
        assert await store.rows(DAY, DAY) == rows[1:]
        assert await store.rows_by_id([rows[1].id]) == {rows[1].id: rows[1]}
        assert [one.key for one in await store.open_records(NEXT, DAY)] == ["r3"]
        assert await store.breaks(DAY) == [found]
        assert await store.open_breaks(DAY) == []
        assert await store.open_breaks(NEXT) == [found]
        ended = Resolution(found.id, NEXT, "found", DAY)
        await store.finish(step("reconcile", NEXT), Facts(resolutions=[ended]))
        assert await store.resolutions(NEXT) == [ended]
        assert await store.open_breaks(NEXT) == [found], "open when NEXT's close began"
        assert await store.open_breaks(NEXT + timedelta(days=1)) == []

    with_store(check)


def test_nothing_stands_in_two_matches(with_store: Callable[[Check], None]) -> None:
    async def check(store: Store) -> None:
        first = Match(DAY, "matched", "exact", 1, "c1", "bank-a/f:1")
        await store.finish(step("reconcile"), Facts(matches=relation(Match, [first])))
        for other in (
            msgspec.structs.replace(first, record="c2"),
            msgspec.structs.replace(first, row="bank-a/f:2"),
        ):
            with pytest.raises((AssertionError, asyncpg.UniqueViolationError)):
                await store.finish(step("reconcile", NEXT), Facts(matches=relation(Match, [other])))
        assert await store.steps(NEXT) == {}, "the step went with its facts"

    with_store(check)


def an_entry(key: str, amount: int = 100, rule: str = "captured") -> Entry:
    made = entry(
        rule,
        "captured",
        key,
        {"effect": amount, "discount": 1},
        business_date=DAY,
        step="post",
        currency="156",
        acquirer=ACQUIRER,
        settlement_date=DAY,
        merchant="老茶馆",
        terminal="12345678",
        batch=1,
    )
    assert made is not None
    return made


@pytest.mark.usefixtures("any_bulk")
def test_entries_are_idempotent_by_source_and_key(with_store: Callable[[Check], None]) -> None:
    async def check(store: Store) -> None:
        made = [an_entry("c1"), an_entry("c2", -40)]
        assert await store.finish(step("post"), Facts(entries=entry_relation(made)))
        assert await store.entries(DAY) == made
        assert await store.finish(step("again"), Facts(entries=entry_relation(made)))
        assert await store.entries(DAY) == made
        with pytest.raises(LedgerConflictError):
            await store.finish(
                step("other"), Facts(entries=entry_relation([an_entry("c3"), an_entry("c1", 99)]))
            )
        assert await store.entries(DAY) == made
        assert await store.movements(DAY) == movements(made)
        (total,) = await store.posted_totals(DAY)
        assert (total.batch, total.amount_minor) == (1, 60)
        assert await store.seals(DAY) == []
        assert (await store.seal(DAY)).entries == 2
        assert [link.count for link in await store.seals(DAY)] == [2]

    with_store(check)


def test_outputs(with_store: Callable[[Check], None]) -> None:
    async def check(store: Store) -> None:
        written = [Output("a.csv", "0" * 64, 3), Output("b.csv", "1" * 64, 0)]
        await store.finish(step("reports"), Facts(outputs=written))
        assert await store.outputs(DAY) == written

    with_store(check)


# -- PostgreSQL itself --------------------------------------------------------------------------


# of `a_day`: its terminal has forgotten the refund
SAID_WRONG = BatchTotal(trade(1).merchant, trade(1).terminal, 1, 55_000, 10, 1_000, 1)


def a_day_in_memory() -> MemoryStore:
    trades, _ = a_day()
    store = MemoryStore(captures_of(trades), trades, REFERENCES)
    store.batches = [(DAY, SAID_WRONG)]
    return store


@asynccontextmanager
async def a_day_on(
    dsn: FreshDatabase, said: Sequence[BatchTotal] = ()
) -> AsyncIterator[tuple[PostgresStore, PostgresDates]]:
    trades, _ = a_day()
    await publish(dsn.owner, trades, captures_of(trades), said=said)
    async with open_postgres(dsn.app) as (store, dates):
        yield store, dates


def test_a_day_on_postgres_equals_the_day_in_memory(database_dsn: FreshDatabase) -> None:
    async def scenario() -> None:
        _, rows = a_day()
        expected_sink, sink = Sink(), Sink()
        memory = a_day_in_memory()
        expected = await run_close(memory, inbox(com_file(rows)), sink=expected_sink)
        async with a_day_on(database_dsn, [SAID_WRONG]) as (store, dates):
            result = await run_close(store, inbox(com_file(rows)), dates=dates, sink=sink)
            assert result.to_json() == expected.to_json()
            assert sink.files == expected_sink.files
            assert sum(PLANTED.values()) + 1 == len(result.breaks)
            assert await dates.state(DAY) == "posted"
            assert await dates.state(NEXT) == "open"
            assert (await store.seals(DAY)) == (await memory.seals(DAY))
            async with open_stored(database_dsn.app) as stored:
                verified = await verify(stored, Unwatched())
                held = await stored.limited()
            assert verified == await verify(MemoryStored(memory.ledger), Unwatched())
            assert (verified.findings, verified.dates) == ([], 1)
            assert {one.account for one in held} == {"merchant_held"}, "moved by the bulk"
            again = await run_close(store, inbox(), dates=dates, sink=sink)
            assert again.to_json() == expected.to_json()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "moment",
    sampled(
        ["before post", "after post", "after take_in", "after mark_posted", "after reports"],
        lambda moment: moment in ("after post", "after mark_posted"),
    ),
)
def test_killed_on_postgres_and_run_again(database_dsn: FreshDatabase, moment: str) -> None:
    async def scenario() -> None:
        _, rows = a_day()
        expected_sink, sink = Sink(), Sink()
        memory = a_day_in_memory()
        expected = await run_close(memory, inbox(com_file(rows)), sink=expected_sink)
        files = inbox(com_file(rows))
        async with a_day_on(database_dsn, [SAID_WRONG]) as (store, dates):
            killer = KilledAt(moment)
            killing: Any = killer.store(store)  # type: ignore[arg-type]
            killing_dates: Any = killer.dates(dates)  # type: ignore[arg-type]
            with pytest.raises(Killed):
                await run_close(killing, files, dates=killing_dates, sink=sink)
        async with open_postgres(database_dsn.app) as (store, dates):
            late = AT + timedelta(hours=5)
            result = await run_close(store, files, dates=dates, sink=sink, at=late)
            assert result.to_json() == expected.to_json()
            assert sink.files == expected_sink.files

    asyncio.run(scenario())


def test_two_closes_at_once_come_to_one(database_dsn: FreshDatabase) -> None:
    """From the first intake on, each with its own inbox: one closes, others wait (exit code 3)
    and, run again, come to the same."""

    async def scenario() -> None:
        _, rows = a_day()
        sink = Sink()
        async with a_day_on(database_dsn, [SAID_WRONG]) as (store, dates):
            results = await asyncio.gather(
                *(run_close(store, inbox(com_file(rows)), dates=dates, sink=sink) for _ in range(3))
            )
            assert sorted(one.exit_code for one in results) == [1, 3, 3]
            assert all("another run" in one.message for one in results if one.exit_code == 3)
            expected = next(one.to_json() for one in results if one.exit_code == 1)
            again = await run_close(store, inbox(com_file(rows)), dates=dates, sink=sink)
            assert again.to_json() == expected

    asyncio.run(scenario())


def test_a_file_is_stored_once(with_store: Callable[[Check], None]) -> None:
    async def check(store: Store) -> None:
        name = FileName(ACQUIRER, "IND26080301ACOM", "COM", DAY, 1)
        rows = com.parse(com.render([billed(trade(1))]), name, token=PANS.token, mask=PANS.mask)
        file = IncomingFile(ACQUIRER, name.name, "COM", DAY, 1, 1, b"h" * 32, 1, DAY, b"sealed")
        for _ in range(2):
            await store.take_in(file, relation(ClearingRow, rows))
        assert await store.rows(DAY, DAY) == rows
        assert not await store.in_use(ACQUIRER, name.name)
        match = Match(DAY, "matched", "exact", 1, "c1", rows[0].id)
        await store.finish(step("reconcile"), Facts(matches=relation(Match, [match])))
        assert await store.in_use(ACQUIRER, name.name)
        assert not await store.in_use(ACQUIRER, "IND26080302ACOM")

    with_store(check)


def test_a_held_file(with_store: Callable[[Check], None]) -> None:
    async def check(store: Store) -> None:
        found = Break("b1", DAY, "file_changed", ACQUIRER, "156", {}, None, None)
        held = HeldFile(ACQUIRER, "IND26080301ACOM", b"h" * 32, "b1", b"sealed")
        await store.finish(step("refused"), Facts(breaks=[found], held=[held]))
        assert await store.held(ACQUIRER) == [held]
        assert await store.held("bank-b") == []
        assert await store.resolved(["b1"]) == set()
        await store.finish(step("intake"), Facts(resolutions=[Resolution("b1", DAY, "x", DAY)]))
        assert await store.resolved(["b1", "b2"]) == {"b1"}

    with_store(check)


def test_the_database_refuses_what_the_core_would_not_write(database_dsn: FreshDatabase) -> None:
    async def scenario() -> None:
        connection = await asyncpg.connect(database_dsn.app)
        insert = (
            "INSERT INTO settlement.entry VALUES ('s', 'k', '2026-08-03', 'post', 'r', 1, '156', "
            "'', '', '', 0, '2026-08-03', $1, $2, $3, $4)"
        )
        two = ["network_receivable", "merchant_payable"]
        try:
            for accounts, owners, amounts in (
                (two, ["", ""], [1, -2]),
                (two, ["", ""], []),
                (two, [""], [1, -1]),
                (two[:1], [""], [0]),
            ):
                with pytest.raises(asyncpg.CheckViolationError):
                    await connection.execute(insert, accounts, owners, amounts, b"0" * 32)
            await connection.execute(insert, two, ["", ""], [1, -1], b"0" * 32)
            for change in ("UPDATE settlement.entry SET key = 'x'", "DELETE FROM settlement.entry"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(change)
        finally:
            await connection.close()

    asyncio.run(scenario())


def test_an_entry_changed_in_the_database_is_found_when_read(database_dsn: FreshDatabase) -> None:
    async def scenario() -> None:
        async with open_postgres(database_dsn.app) as (store, _):
            await store.finish(step("post"), Facts(entries=entry_relation([an_entry("c1")])))
            owner = await asyncpg.connect(database_dsn.owner)
            await owner.execute("UPDATE settlement.entry SET amounts = '{200,-199,-1}'")
            await owner.close()
            with pytest.raises(AssertionError, match="c1 is not what was written"):
                await store.entries(DAY)

    asyncio.run(scenario())


def test_the_views_of_the_switch_have_what_is_read(database_dsn: FreshDatabase) -> None:
    async def scenario() -> None:
        async with open_postgres(database_dsn.app) as (store, dates):
            today = DAY
            assert await store.captures(today) == []
            assert await store.captured_totals(today) == []
            assert await store.transactions(today) == []
            assert await store.transactions_ahead(today, today) == []
            assert await store.references(["merchant"]) == []
            assert await dates.state(date(2000, 1, 1)) is None

    asyncio.run(scenario())


def test_a_run_that_goes_on_reads_rows_of_its_matches_files_only(
    database_dsn: FreshDatabase,
) -> None:
    """Not what the books have had in years: the plan takes the dates of files from their index."""

    async def check() -> None:
        connection = await asyncpg.connect(database_dsn.app)
        try:
            for way in ("seqscan", "indexscan", "indexonlyscan", "nestloop"):
                await connection.execute(f"SET enable_{way} = off")
            text = QUERIES["matched_rows"].text.replace("$1", f"DATE '{DAY}'")
            plan = "\n".join(line for (line,) in await connection.fetch(f"EXPLAIN {text}"))
        finally:
            await connection.close()
        assert "Index Scan on clearing_row_date" in plan, plan

    asyncio.run(check())
