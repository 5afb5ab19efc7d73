"""One suite for the ledger in memory and on PostgreSQL: posting, sealing, and what can be asked of it.

Then random days: posted in any order and in any parts both answer alike, and P5 holds in every layer.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import date, timedelta
from typing import Any

import asyncpg
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from settlement.adapters.ledger_memory import MemoryLedger, MemoryStored
from settlement.adapters.ledger_postgres import PostgresLedger
from settlement.adapters.ledger_reading import PostgresLedgerQueries
from settlement.adapters.ledger_stored import open_stored
from settlement.ledger import (
    LAYERS,
    Entry,
    Layer,
    LedgerClosedError,
    LedgerConflictError,
    confirmed,
    entry,
)
from settlement.ledger_queries import LedgerQueries, StatementLine, assert_zero, trial_rows
from settlement.ledger_verify import Unwatched, Verified, verify
from settlement.limits import LedgerLimitError
from settlement.posting_port import Ledger
from tests.database import FreshDatabase
from tests.depth import examples
from tests.settlement.world import ACQUIRER, DAY, NEXT

AFTER = NEXT + timedelta(days=1)
DAYS = (DAY, NEXT, AFTER)
SHOP, OTHER = "104110058120001", "104110058120002"


class Books(msgspec.Struct):
    """A ledger, what answers about it, and how it is verified."""

    ledger: Ledger
    queries: LedgerQueries
    verified: Callable[[], Awaitable[Verified]]


@asynccontextmanager
async def memory_books() -> AsyncIterator[Books]:
    ledger = MemoryLedger(DAY)
    yield Books(ledger, ledger, lambda: verify(MemoryStored(ledger), Unwatched()))


@asynccontextmanager
async def postgres_books(dsn: FreshDatabase) -> AsyncIterator[Books]:
    owner = await asyncpg.connect(dsn.owner)
    await owner.execute("DELETE FROM switch.business_date")
    await owner.executemany(
        "INSERT INTO switch.business_date (business_date, state) VALUES ($1, 'frozen')",
        [(day,) for day in DAYS],
    )
    await owner.close()
    async with asyncpg.create_pool(dsn.app, min_size=1, max_size=4) as pool:

        async def verified() -> Verified:
            async with open_stored(dsn.app) as stored:
                return await verify(stored, Unwatched())

        yield Books(PostgresLedger(pool), PostgresLedgerQueries(pool), verified)


Check = Callable[[Books], Awaitable[None]]


@pytest.fixture(params=["memory", "postgres"])
def with_books(request: pytest.FixtureRequest) -> Callable[[Check], None]:
    dsn: FreshDatabase | None = None
    if request.param == "postgres":
        dsn = request.getfixturevalue("database_dsn")

    async def run(check: Check) -> None:
        async with memory_books() if dsn is None else postgres_books(dsn) as books:
            await check(books)

    return lambda check: asyncio.run(run(check))


def sale(
    number: int,
    amount: int = 10_000,
    discount: int = 60,
    *,
    day: date = DAY,
    merchant: str = SHOP,
    currency: str = "156",
    layer: Layer = "settled",
) -> Entry:
    return made_of(
        "captured",
        "captured",
        f"c{number}",
        {"effect": amount, "discount": discount},
        day=day,
        step="post",
        merchant=merchant,
        currency=currency,
        layer=layer,
    )


def held(number: int, amount: int, *, day: date = DAY, merchant: str = SHOP) -> Entry:
    return made_of(
        "payout_hold", "hold", f"h{number}", {"held": amount}, day=day, merchant=merchant
    )


def made_of(
    rule: str,
    source: str,
    key: str,
    variables: dict[str, int],
    *,
    day: date = DAY,
    step: str = "case",
    merchant: str = SHOP,
    currency: str = "156",
    layer: Layer = "settled",
) -> Entry:
    made = entry(
        rule,
        source,
        key,
        variables,
        business_date=day,
        step=step,
        currency=currency,
        acquirer=ACQUIRER,
        settlement_date=day,
        merchant=merchant,
        terminal="12345678",
        batch=1,
        layer=layer,
    )
    assert made is not None
    return made


# -- posting ------------------------------------------------------------------------------------


def test_the_same_again_is_nothing_and_other_content_is_refused_whole(
    with_books: Callable[[Check], None],
) -> None:
    async def check(books: Books) -> None:
        await books.ledger.post([sale(1), sale(2)])
        await books.ledger.post([sale(2), sale(2), sale(1), sale(3)])
        assert await books.queries.open_entries() == 3
        for others in ([sale(4), sale(1, 10_001)], [sale(4), sale(4, 10_001)]):
            with pytest.raises(
                LedgerConflictError, match=r"captured c\d stands .* amounts \(10"
            ) as e:
                await books.ledger.post(others)
            assert "10000" in str(e.value)
            assert "10001" in str(e.value)
        assert await books.queries.entry("captured", "c4") is None
        assert await books.queries.entry("captured", "c1") == sale(1)
        await books.ledger.post([])

    with_books(check)


def test_a_date_takes_entries_until_it_is_sealed(with_books: Callable[[Check], None]) -> None:
    async def check(books: Books) -> None:
        ledger = books.ledger
        assert await ledger.open_date() == DAY
        await ledger.post([sale(1), held(1, 100)])
        anchor = await ledger.seal(DAY)
        assert anchor.entries == 2
        assert await ledger.seal(DAY) == anchor
        assert await ledger.open_date() == NEXT
        with pytest.raises(LedgerClosedError, match="hold h2: 2026-08-03 is posted"):
            await ledger.post([held(2, 100), held(3, 1, day=NEXT)])
        assert await books.queries.entry("hold", "h3") is None
        await ledger.post([sale(1), held(1, 100)])  # they stand: nothing
        # asked again after the date was posted, for the date that is open now
        await ledger.post([msgspec.structs.replace(held(1, 100), business_date=NEXT)])
        found = await books.queries.entry("hold", "h1")
        assert found == held(1, 100)
        # an entry of the day's end has its date
        with pytest.raises(LedgerConflictError, match="business_date"):
            await ledger.post([sale(1, day=NEXT)])
        await ledger.seal(NEXT)  # a date without entries
        verified = await books.verified()
        assert (verified.findings, verified.dates, verified.entries) == ([], 2, 2)

    with_books(check)


def test_dates_are_sealed_in_order(with_books: Callable[[Check], None]) -> None:
    async def check(books: Books) -> None:
        await books.ledger.post([sale(1), sale(2, day=NEXT)])
        with pytest.raises(AssertionError, match="2026-08-03 has entries and is not posted"):
            await books.ledger.seal(NEXT)
        first = await books.ledger.seal(DAY)
        second = await books.ledger.seal(NEXT)
        assert second.previous == first.hash
        with pytest.raises(AssertionError, match="2026-08-02 was passed over"):
            await books.ledger.seal(DAY - timedelta(days=1))

    with_books(check)


def test_a_balance_stays_within_its_limits(with_books: Callable[[Check], None]) -> None:
    async def check(books: Books) -> None:
        await books.ledger.post([held(1, 100), held(2, -30)])
        with pytest.raises(LedgerLimitError, match="from 70 to -1; it must be at least 0"):
            await books.ledger.post([sale(7), held(3, -71)])
        assert await books.queries.entry("captured", "c7") is None
        with pytest.raises(LedgerLimitError, match=OTHER):
            await books.ledger.post([held(4, -1, merchant=OTHER)])
        await books.ledger.post([held(1, 100), held(5, -70)])  # what stands does not move twice
        await books.ledger.seal(DAY)
        await books.ledger.post([held(6, 5, day=NEXT), held(7, -5, day=NEXT)])
        with pytest.raises(LedgerLimitError):
            await books.ledger.post([held(8, -1, day=NEXT)])
        assert (await books.verified()).findings == []

    with_books(check)


# -- questions ----------------------------------------------------------------------------------


async def three_days(books: Books) -> None:
    """Sales of two shops and two currencies; one waits for its file until the second day. Two days are
    sealed, the third is open."""
    waits = sale(3, 500, 5, layer="pending")
    await books.ledger.post([sale(1), sale(2, -4_000, -24), waits, sale(4, 700, 7, merchant=OTHER)])
    await books.ledger.post([held(1, 300)])
    await books.ledger.seal(DAY)
    await books.ledger.post([*confirmed(waits, NEXT), sale(5, 900, 9, day=NEXT, currency="344")])
    await books.ledger.seal(NEXT)
    await books.ledger.post([held(2, -300, day=AFTER), sale(6, 100, 0, day=AFTER)])


def test_balances(with_books: Callable[[Check], None]) -> None:
    async def check(books: Books) -> None:
        await three_days(books)

        async def found(account: str, owner: str | None = None, at: date | None = None) -> Any:
            return [
                (one.owner, one.currency, one.layer, one.balance_minor)
                for one in await books.queries.balances(account, owner, at)
            ]

        assert await found("merchant_payable", SHOP, DAY) == [
            (SHOP, "156", "pending", -495),
            (SHOP, "156", "settled", -9_940 + 3_976 + 300),
        ]
        assert await found("merchant_payable", SHOP, NEXT) == [
            (SHOP, "156", "settled", -9_940 + 3_976 + 300 - 495),
            (SHOP, "344", "settled", -891),
        ]
        assert await found("merchant_payable") == [
            (SHOP, "156", "settled", -9_940 + 3_976 - 495 - 100),
            (SHOP, "344", "settled", -891),
            (OTHER, "156", "settled", -693),
        ]
        assert await found("merchant_held") == []
        assert await found("merchant_held", SHOP, NEXT) == [(SHOP, "156", "settled", -300)]
        assert await found("merchant_payable", SHOP, DAY - timedelta(days=1)) == []
        assert await found("network_receivable", f"{ACQUIRER}/{DAY}", DAY) == [
            (f"{ACQUIRER}/{DAY}", "156", "pending", 500),
            (f"{ACQUIRER}/{DAY}", "156", "settled", 6_700),
        ]
        assert await found("bank_reserve") == []

    with_books(check)


def test_a_statement_goes_on_from_page_to_page(with_books: Callable[[Check], None]) -> None:
    async def check(books: Books) -> None:
        await three_days(books)
        asked = ("merchant_payable", SHOP, "156", DAY, AFTER)
        whole = await books.queries.statement(*asked)
        assert [
            (one.source, one.key, one.amount_minor, one.balance_minor) for one in whole.lines
        ] == [
            ("hold", "h1", 300, 300),
            ("captured", "c1", -9_940, -9_640),
            ("captured", "c2", 3_976, -5_664),
            ("captured", "c3", -495, -6_159),
            ("confirm_in", "c3", -495, -6_654),
            ("confirm_out", "c3", 495, -6_159),
            ("hold", "h2", -300, -6_459),
            ("captured", "c6", -100, -6_559),
        ]
        assert (whole.opening_minor, whole.closing_minor, whole.more) == (0, -6_559, None)
        for size in (1, 3, 7):
            lines: list[StatementLine] = []
            after = None
            for _ in range(20):
                page = await books.queries.statement(*asked, after=after, limit=size)
                assert page.opening_minor == (lines[-1].balance_minor if lines else 0)
                lines += page.lines
                if (after := page.more) is None:
                    break
            assert lines == list(whole.lines)
        later = await books.queries.statement("merchant_payable", SHOP, "156", NEXT, NEXT)
        assert (later.opening_minor, later.closing_minor) == (-6_159, -6_159)
        settled = await books.queries.statement(*asked, layer="settled")
        assert settled.closing_minor == -6_559
        assert len(settled.lines) == 6
        none = await books.queries.statement("bank_reserve", "", "156", DAY, AFTER)
        assert (none.lines, none.opening_minor, none.more) == ((), 0, None)

    with_books(check)


def test_the_trial_balance_has_subtotals(with_books: Callable[[Check], None]) -> None:
    async def check(books: Books) -> None:
        await three_days(books)
        rows = trial_rows(await books.queries.turnover(NEXT, NEXT))
        assert [
            (one.account, one.depth, one.opening_minor, one.debit_minor, one.credit_minor)
            for one in rows
            if one.currency == "156"
        ] == [
            ("assets", 0, 7_200, 500, 500),
            ("receivables", 1, 7_200, 500, 500),
            ("network_receivable", 2, 7_200, 500, 500),
            ("liabilities", 0, -7_152, 495, 495),
            ("customer_money", 1, -7_152, 495, 495),
            ("merchant_payable", 2, -6_852, 495, 495),
            ("merchant_held", 2, -300, 0, 0),
            ("income", 0, -48, 5, 5),
            ("merchant_discount", 1, -48, 5, 5),
        ]
        pending = trial_rows(await books.queries.turnover(None, DAY), "pending")
        assert {one.account: one.closing_minor for one in pending if one.depth == 0} == {
            "assets": 500,
            "liabilities": -495,
            "income": -5,
        }
        for first, last in ((None, AFTER), (AFTER, AFTER), (DAY, NEXT)):
            trial_rows(await books.queries.turnover(first, last))

    with_books(check)


# -- random days --------------------------------------------------------------------------------


@st.composite
def days(draw: st.DrawFn) -> list[list[Entry]]:
    """Three days of entries on few accounts: effects of both signs, layers, currencies, merchants."""
    made: list[list[Entry]] = []
    number = 0
    waiting: list[Entry] = []
    for day in DAYS:
        entries: list[Entry] = []
        for one in waiting:
            entries += confirmed(one, day)
        waiting = []
        for _ in range(draw(st.integers(0, 8))):
            number += 1
            effect = draw(st.integers(-(10**12), 10**12).filter(bool))
            one = sale(
                number,
                effect,
                draw(st.integers(-100, 100)),
                day=day,
                merchant=draw(st.sampled_from([SHOP, OTHER])),
                currency=draw(st.sampled_from(["156", "344"])),
                layer=draw(st.sampled_from(LAYERS)),
            )
            entries.append(one)
            if one.layer == "pending":
                waiting.append(one)
        for amount in draw(st.lists(st.integers(1, 10**9), max_size=3)):
            number += 1
            entries.append(held(number, amount, day=day))
        made.append(entries)
    return made


async def answers(books: Books, made: Sequence[Sequence[Entry]], parts: st.DataObject) -> list[Any]:
    """Post the days in a drawn order and in drawn parts, seal the first two, and ask everything."""
    anchors = []
    for day, entries in zip(DAYS, made, strict=True):
        shuffled = parts.draw(st.permutations(entries))
        while shuffled:
            size = parts.draw(st.integers(1, len(shuffled)))
            await books.ledger.post(shuffled[:size])
            shuffled = shuffled[size:]
        if day != AFTER:
            anchors.append(await books.ledger.seal(day))
    told: list[Any] = [anchors]
    for first, last in ((None, DAY), (NEXT, NEXT), (DAY, AFTER)):
        turnover = await books.queries.turnover(first, last)
        assert_zero(turnover)
        told.append(turnover)
    for at in DAYS:
        for account in ("merchant_payable", "network_receivable", "merchant_discount"):
            balances = await books.queries.balances(account, None, at)
            told.append(balances)
            for owner, currency in sorted({(one.owner, one.currency) for one in balances}):
                whole = await books.queries.statement(
                    account, owner, currency, DAY, at, limit=1_000
                )
                standing = sum(
                    one.balance_minor
                    for one in balances
                    if (one.owner, one.currency) == (owner, currency)
                )
                assert sum(one.amount_minor for one in whole.lines) == standing
                assert whole.closing_minor == standing
                of_day = await books.queries.statement(
                    account, owner, currency, at, at, limit=1_000
                )
                assert of_day.closing_minor == standing
                assert whole.lines[len(whole.lines) - len(of_day.lines) :] == of_day.lines
                told += [whole, of_day]
    assert (await books.verified()).findings == []
    return told


@given(days(), st.data())
@settings(max_examples=examples(15))
def test_the_order_of_posting_does_not_show(made: list[list[Entry]], data: st.DataObject) -> None:
    async def scenario() -> None:
        async with memory_books() as one, memory_books() as other:
            assert await answers(one, made, data) == await answers(other, made, data)

    asyncio.run(scenario())


def test_postgres_answers_as_memory_does(fresh_database: Callable[[], FreshDatabase]) -> None:
    dsn = fresh_database()

    @given(days(), st.data())
    @settings(max_examples=examples(8), deadline=None, suppress_health_check=list(HealthCheck))
    def run(made: list[list[Entry]], data: st.DataObject) -> None:
        async def scenario() -> None:
            await empty(dsn)
            async with memory_books() as one, postgres_books(dsn) as other:
                assert await answers(one, made, data) == await answers(other, made, data)

        asyncio.run(scenario())

    run()


async def empty(dsn: FreshDatabase) -> None:
    owner = await asyncpg.connect(dsn.owner)
    await owner.execute(
        "TRUNCATE settlement.entry, settlement.seal, settlement.anchor, settlement.checkpoint, "
        "settlement.posting_end, settlement.limited_balance"
    )
    await owner.close()
