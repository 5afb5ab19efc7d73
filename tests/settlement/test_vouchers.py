"""Entries by hand. Goal: two people, once, on accounts that take them, on a date that is open.

Method: one suite in memory and on PostgreSQL; then what only a real database shows: approvals refused
by the store, two checkers at once, a commit that dies at each of its statements.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import date
from typing import Any

import asyncpg
import msgspec
import pytest

from settlement.adapters import vouchers_postgres
from settlement.adapters.ledger_memory import MemoryLedger
from settlement.adapters.ledger_postgres import PostgresLedger
from settlement.adapters.ledger_reading import PostgresLedgerQueries
from settlement.adapters.ledger_stored import open_stored
from settlement.adapters.vouchers_memory import MemoryVouchers
from settlement.adapters.vouchers_postgres import PostgresVouchers, open_vouchers
from settlement.chart import BY_HAND, CHART
from settlement.four_eyes import Actor, Approval, Proposal, RefusedError, judge
from settlement.ledger_verify import Unwatched, verify
from settlement.limits import LedgerLimitError
from settlement.vouchers import (
    ENTRY,
    REVERSAL,
    Leg,
    Voucher,
    VoucherError,
    Vouchers,
    legs_of,
    post,
    propose_entry,
    propose_reversal,
)
from switch.commands.common import office
from tests.database import FreshDatabase
from tests.settlement.desk import MemoryPeople
from tests.settlement.payout_world import MONDAY, ONE_DAY, TEA, agent, merchant
from tests.settlement.test_store import publish

TUESDAY = MONDAY + ONE_DAY
MAKER = Actor("ma", frozenset({f"propose:{ENTRY}", f"propose:{REVERSAL}", f"approve:{ENTRY}"}))
CHECKER = Actor("chen", frozenset({f"approve:{ENTRY}", f"approve:{REVERSAL}"}))
GOODWILL = Voucher(
    "2026-001",
    "156",
    MONDAY,
    legs_of(["write_off_loss=500"], [f"merchant_payable/{TEA}=500"]),
    "goodwill for a late payout",
    "letter 17/2026",
)


class Books:
    """The vouchers under test, who proposes, and how a date is ended."""

    def __init__(self, vouchers: Any, people: Any, end: Callable[[date], Awaitable[None]]) -> None:
        self.vouchers: Vouchers = vouchers
        self.people = people
        self.end = end

    async def propose(self, asked: Voucher = GOODWILL, who: Actor = MAKER) -> Proposal:
        made: Proposal = await propose_entry(self.vouchers, self.people, who, asked)
        return made

    async def post(self, proposal: Proposal, who: Actor = CHECKER) -> Any:
        used = await self.people.used(proposal.id)
        return await post(self.vouchers, judge(proposal, who, seen=proposal.sha256, used=used))


Check = Callable[[Books], Awaitable[None]]


@asynccontextmanager
async def on_postgres(dsn: FreshDatabase) -> AsyncIterator[Books]:
    await publish(dsn.owner, [], [], [merchant(TEA), agent("north")])
    owner = await asyncpg.connect(dsn.owner)
    await owner.execute("DELETE FROM switch.business_date")
    await owner.execute(
        "INSERT INTO switch.business_date (business_date, state) VALUES ($1, 'frozen'), ($2, 'open')",
        MONDAY,
        TUESDAY,
    )

    async def end(day: date) -> None:
        await owner.execute("INSERT INTO settlement.posting_end (business_date) VALUES ($1)", day)

    try:
        async with open_vouchers(dsn.app) as vouchers, office(dsn.app) as desk:
            yield Books(vouchers, desk.people, end)
    finally:
        await owner.close()


@pytest.fixture(params=["memory", "postgres"])
def with_books(request: pytest.FixtureRequest) -> Callable[[Check], None]:
    dsn: FreshDatabase | None = None
    if request.param == "postgres":
        dsn = request.getfixturevalue("database_dsn")

    async def run(check: Check) -> None:
        if dsn is not None:
            async with on_postgres(dsn) as books:
                await check(books)
            return
        ledger = MemoryLedger(first=MONDAY)
        vouchers = MemoryVouchers(ledger, {("merchant", TEA), ("agent", "north")})

        async def end(day: date) -> None:
            await ledger.seal(day)

        await check(Books(vouchers, MemoryPeople(vouchers.approved), end))

    return lambda check: asyncio.run(run(check))


def changed(**values: Any) -> Voucher:
    return msgspec.structs.replace(GOODWILL, **values)


# -- one entry, and its reversal ------------------------------------------------------------------


def test_posted_once_on_the_earliest_open_date_and_undone_by_a_linked_entry(
    with_books: Callable[[Check], None],
) -> None:
    async def check(books: Books) -> None:
        proposal = await books.propose()
        await books.end(MONDAY)  # the date that was open when it was proposed
        made = await books.post(proposal)
        assert (made.source, made.key, made.step) == ("voucher", "2026-001", "voucher")
        assert (made.business_date, made.settlement_date, made.merchant) == (TUESDAY, MONDAY, TEA)
        stands = await books.vouchers.entry("voucher", "2026-001")
        assert stands == made
        (note,) = await books.vouchers.notes()
        assert (note.reason, note.evidence) == (GOODWILL.reason, GOODWILL.evidence)
        assert (note.maker, note.checker, note.proposal) == ("ma", "chen", proposal.id)

        back = await propose_reversal(
            books.vouchers, books.people, MAKER, "2026-001", "wrong merchant", "letter 18/2026"
        )
        undone = await books.post(back)
        assert (undone.source, undone.key) == ("voucher_reversal", made.key)
        assert (undone.accounts, undone.owners) == (made.accounts, made.owners)
        assert undone.amounts == tuple(-amount for amount in made.amounts)
        assert await books.vouchers.entry("voucher", "2026-001") == made, "never an edit"
        with pytest.raises(RefusedError) as twice:
            await propose_reversal(books.vouchers, books.people, MAKER, "2026-001", "x", "y")
        assert twice.value.reason == "replayed"

    with_books(check)


def test_the_same_number_is_posted_once_whoever_proposes_it(
    with_books: Callable[[Check], None],
) -> None:
    async def check(books: Books) -> None:
        first = await books.propose()
        other = await books.propose(changed(reason="again"), Actor("mo", MAKER.permissions))
        await books.post(first)
        for again in (first, other):
            with pytest.raises(RefusedError) as refused:
                await books.post(again)
            assert refused.value.reason == "replayed"
        with pytest.raises(RefusedError) as stands:
            await books.propose()
        assert stands.value.reason == "replayed"
        assert len(await books.vouchers.notes()) == 1

    with_books(check)


def test_what_is_refused(with_books: Callable[[Check], None]) -> None:
    async def check(books: Books) -> None:
        with pytest.raises(RefusedError, match="no permission"):
            await books.propose(who=CHECKER)
        proposal = await books.propose()
        with pytest.raises(RefusedError) as own:
            await books.post(proposal, MAKER)
        assert own.value.reason == "self_approval"
        bent = msgspec.structs.replace(
            proposal, payload={**proposal.payload, "reason": "something else"}
        )
        with pytest.raises(RefusedError) as swapped:
            await books.post(bent)
        assert swapped.value.reason == "changed"
        assert await books.vouchers.entry("voucher", "2026-001") is None

    with_books(check)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"reason": " "}, "reason"),
        ({"evidence": ""}, "evidence"),
        ({"evidence": "a\nb"}, "evidence"),
        ({"number": "a b"}, "no number"),
        ({"currency": "999x"}, "no currency"),
        ({"legs": (Leg("vat_payable", "", 1),)}, "2 to 20"),
        ({"legs": legs_of(["vat_payable=2"], ["merchant_discount=1"])}, "differ by 1"),
        ({"legs": legs_of(["vat_payable=0"], ["merchant_discount=0"])}, "zero"),
        ({"legs": legs_of(["vat_payable=1"], ["vat_payable=1"])}, "twice"),
        ({"legs": legs_of(["nothing=1"], ["vat_payable=1"])}, "no account nothing"),
        ({"legs": legs_of(["bank_reserve=1"], ["vat_payable=1"])}, "control account"),
        ({"legs": legs_of(["vat_payable/x=1"], ["merchant_discount=1"])}, "no owners"),
        ({"legs": legs_of(["vat_payable=1"], ["merchant_payable/1=1"])}, "no merchant '1'"),
        ({"legs": legs_of(["vat_payable=1"], ["agent_share_payable/x=1"])}, "no agent 'x'"),
        (
            {"legs": legs_of([f"merchant_payable/{TEA}=1"], ["merchant_payable/2=1"])},
            "two merchants",
        ),
    ],
)
def test_what_is_no_voucher(values: dict[str, Any], why: str) -> None:
    async def scenario() -> None:
        vouchers = MemoryVouchers(MemoryLedger(first=MONDAY), {("merchant", TEA)})
        with pytest.raises(VoucherError, match=why):
            await propose_entry(vouchers, MemoryPeople(vouchers.approved), MAKER, changed(**values))

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "text", ["vat_payable", "vat_payable=-1", "vat_payable=1.5", "=", "x=\uff11"]
)
def test_amounts_are_minor_units(text: str) -> None:
    with pytest.raises(VoucherError, match="minor units"):
        legs_of([text], [])


def test_a_limit_of_an_account_holds(with_books: Callable[[Check], None]) -> None:
    """An agent's float is never below zero, by hand neither."""

    async def check(books: Books) -> None:
        paid_in = changed(
            number="f1", legs=legs_of(["cash_in_transit=300"], ["agent_float/north=300"])
        )
        await books.post(await books.propose(paid_in))
        over = changed(
            number="f2", legs=legs_of(["agent_float/north=301"], ["cash_in_transit=301"])
        )
        proposal = await books.propose(over)
        with pytest.raises(LedgerLimitError):
            await books.post(proposal)
        assert not await books.people.used(proposal.id)

    with_books(check)


def test_control_accounts_are_what_others_say_a_second_time() -> None:
    """Bank mirrors, money on its way, suspense, holds, disputes, own funds: never by hand."""
    control = set(CHART) - BY_HAND
    assert {
        *("bank_reserve", "bank_own", "payout_in_transit", "advance_in_transit"),
        *("long_suspense", "short_suspense", "merchant_held", "merchant_reserve"),
        *("chargeback_receivable", "network_receivable", "own_claim", "own_due", "own_funds"),
        "income_swept",
    } <= control


# -- on a real database ---------------------------------------------------------------------------


def test_two_checkers_at_once_post_once(database_dsn: FreshDatabase) -> None:
    async def scenario() -> None:
        async with on_postgres(database_dsn) as books:
            proposal = await books.propose()

            async def one(name: str) -> Any:
                async with open_vouchers(database_dsn.app) as vouchers:
                    return await post(vouchers, Approval(proposal, name))

            done = await asyncio.gather(*(one(f"c{n}") for n in range(4)), return_exceptions=True)
            assert sum(isinstance(one, RefusedError) for one in done) == 3, done
            assert len(await books.vouchers.notes()) == 1

    asyncio.run(scenario())


def test_killed_between_the_statements_of_its_commit_nothing_stands(
    database_dsn: FreshDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with on_postgres(database_dsn) as books:
            proposal = await books.propose()
            for step in ("post_entries", "audit", "approve"):
                real = getattr(vouchers_postgres, step)

                async def dying(
                    connection: Any, *values: Any, real: Any = real, **named: Any
                ) -> None:
                    await real(connection, *values, **named)
                    connection.terminate()

                monkeypatch.setattr(vouchers_postgres, step, dying)
                with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
                    await books.post(proposal)
                monkeypatch.setattr(vouchers_postgres, step, real)
                assert await books.vouchers.entry("voucher", "2026-001") is None
                assert await books.vouchers.notes() == []
                assert not await books.people.used(proposal.id)
            await books.post(proposal)
            assert len(await books.vouchers.notes()) == 1

    asyncio.run(scenario())


def test_the_store_refuses_what_a_command_forgot(database_dsn: FreshDatabase) -> None:
    """Own approval, and a payload changed in the table, without `judge` before it; a posted date."""

    async def scenario() -> None:
        async with on_postgres(database_dsn) as books:
            proposal = await books.propose()
            with pytest.raises((RefusedError, asyncpg.CheckViolationError)):
                await post(books.vouchers, Approval(proposal, "ma"))
            other = msgspec.structs.replace(proposal, sha256="0" * 64)
            with pytest.raises(RefusedError) as changed_:
                await post(books.vouchers, Approval(other, "chen"))
            assert changed_.value.reason == "changed"
            assert await books.vouchers.entry("voucher", "2026-001") is None
            await books.end(MONDAY)
            assert isinstance(books.vouchers, PostgresVouchers)
            made = await books.post(proposal)
            assert made.business_date == TUESDAY

    asyncio.run(scenario())


def test_sealed_with_its_date_the_ledger_holds(database_dsn: FreshDatabase) -> None:
    """Balances by owner, statement, checkpoint and limit are those of the vouchers."""

    async def scenario() -> None:
        async with on_postgres(database_dsn) as books:
            await books.post(await books.propose())
            paid_in = changed(
                number="f1", legs=legs_of(["cash_in_transit=300"], ["agent_float/north=300"])
            )
            await books.post(await books.propose(paid_in))
            assert isinstance(books.vouchers, PostgresVouchers)
            ledger = PostgresLedger(books.vouchers._pool)
            anchor = await ledger.seal(MONDAY)
            assert anchor.entries == 2
            back = await propose_reversal(books.vouchers, books.people, MAKER, "2026-001", "x", "y")
            assert (await books.post(back)).business_date == TUESDAY
            queries = PostgresLedgerQueries(books.vouchers._pool)
            for day, expected in ((MONDAY, [-500]), (TUESDAY, [])):
                found = await queries.balances("merchant_payable", TEA, day)
                assert [one.balance_minor for one in found] == expected, day
            moved = await queries.statement("merchant_payable", TEA, "156", MONDAY, TUESDAY)
            assert [(one.source, one.amount_minor) for one in moved.lines] == [
                ("voucher", -500),
                ("voucher_reversal", 500),
            ]
            async with open_stored(database_dsn.app) as stored:
                assert (await verify(stored, Unwatched())).findings == []

    asyncio.run(scenario())
