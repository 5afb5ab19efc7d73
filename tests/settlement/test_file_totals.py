"""The networks' sums of a settlement date: what counts as ours, when it is compared, what differs.

Method: closes of two or three days in memory with ZSUM and ZPSUM beside the COM file; then days
whose trades come in any order and are spread over closes in any way.
"""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given, settings as hypothesis, strategies as st

from settlement.adapters.evidence_memory import MemoryEvidence
from settlement.adapters.evidence_postgres import PostgresEvidence
from settlement.adapters.memory import MemoryStore
from settlement.adapters.postgres import open_postgres
from settlement.cases import Break
from settlement.clearing import Transaction
from settlement.close import CloseResult
from settlement.evidence_facts import AGAIN
from settlement.file_totals import Group, compare
from settlement.files import zsum
from settlement.files.rows import MerchantTotal, PayoutLine
from settlement.kept_sums import SettledSum
from tests.database import FreshDatabase
from tests.settlement.files.samples import zpsum_row, zsum_row
from tests.settlement.test_evidence import again as decided
from tests.settlement.test_store import publish
from tests.settlement.world import (
    ACQUIRER,
    DAY,
    DE32,
    NEXT,
    REFERENCES,
    Dates,
    billed,
    captures_of,
    com_file,
    inbox,
    reference,
    run_close,
    trade,
)

THIRD = NEXT + timedelta(days=1)
TEA, BOOKS = "104110058120001", "104110058120002"
CLEARING = {"COM": {}, "ZSUM": {"optional": True}, "ZPSUM": {"optional": True}}
WITH_SUMS = [
    reference("link", "bank-a-1", {"acquirer": ACQUIRER, "de32": DE32, "clearing": CLEARING}),
    *REFERENCES[1:],
    reference("merchant", BOOKS, {"name": "Books", "name_zh": "书店", "fee_plan": "standard"}),
]

File = tuple[str, bytes]


def zsum_file(amounts: dict[str, int], day: date = DAY, number: int = 32) -> File:
    rows = [zsum_row(merchant=merchant, amount=amount) for merchant, amount in amounts.items()]
    return f"INO{day:%y%m%d}{number}ZSUM", zsum.render_zsum(rows)


def zpsum_file(sums: dict[str, tuple[int, int]], day: date = DAY) -> File:
    rows = [
        zpsum_row(merchant=merchant, count=count, amount=amount)
        for merchant, (count, amount) in sums.items()
    ]
    return f"INO{day:%y%m%d}99ZPSUM", zsum.render_zpsum(rows)


class Days:
    """A store and its dates, closed one after the other."""

    def __init__(self, *trades: Transaction) -> None:
        self.store = MemoryStore(captures_of(trades), trades, WITH_SUMS)
        self.dates = Dates({DAY: "open"})
        self.files = inbox()

    def close(
        self,
        day: date,
        rows: Iterable[dict[str, Any]],
        *files: File,
        approved: Sequence[str] = (),
    ) -> CloseResult:
        for name, data in (com_file(rows, day), *files):
            self.files.files[ACQUIRER, name] = data
        result = asyncio.run(
            run_close(self.store, self.files, day=day, dates=self.dates, approved=approved)
        )
        assert result.exit_code in (0, 1), result.message
        return result


def found(result: CloseResult) -> list[Break]:
    return [one for one in result.breaks if one.break_class == "file_totals"]


SALES = trade(1), trade(2, 4_000), trade(3, 700, merchant=BOOKS)


def test_sums_are_compared_when_the_window_has_passed() -> None:
    days = Days(*SALES)
    wrong = {TEA: 14_000, BOOKS: 600}
    first = days.close(DAY, map(billed, SALES), zsum_file(wrong), zpsum_file({TEA: (2, 14_000)}))
    assert (found(first), first.totals["file_totals_compared"]) == ([], 0)
    second = days.close(NEXT, [])
    assert second.totals["file_totals_compared"] == 2
    of_payouts, of_merchants = found(second)
    assert of_merchants.id == "20260804-Z000002"
    assert (of_merchants.ours_minor, of_merchants.theirs_minor) == (14_700, 14_600)
    assert of_merchants.keys == {
        "type": "ZSUM",
        "settlement_date": "2026-08-03",
        "files": "INO26080332ZSUM",
    }
    assert of_merchants.evidence == {"merchants": "1", "merchant_01": f"{BOOKS}: 700 / 600"}
    assert (of_merchants.settlement_date, of_merchants.difference_minor) == (DAY, 0)
    assert of_payouts.evidence["ours_count"] == "3"
    assert of_payouts.evidence["file_count"] == "2"
    assert days.close(THIRD, []).totals["file_totals_compared"] == 0
    again = asyncio.run(decided(MemoryEvidence(days.store, NEXT), NEXT))
    assert [one.finding for one in again] == [None] * len(AGAIN)


def test_right_sums_and_no_sums_are_no_break() -> None:
    days = Days(*SALES)
    right = zsum_file({TEA: 14_000, BOOKS: 700}), zpsum_file({TEA: (2, 14_000), BOOKS: (1, 700)})
    days.close(DAY, map(billed, SALES), *right)
    second = days.close(NEXT, [])
    assert (found(second), second.totals["file_totals_compared"]) == ([], 2)
    days = Days(*SALES)
    days.close(DAY, map(billed, SALES))
    second = days.close(NEXT, [])
    assert (found(second), second.totals["file_totals_compared"]) == ([], 0)


def test_a_file_without_lines_says_that_there_was_nothing() -> None:
    days = Days(*SALES)
    days.close(DAY, map(billed, SALES), zsum_file({}))
    (one,) = found(days.close(NEXT, []))
    assert (one.ours_minor, one.theirs_minor, one.evidence["merchants"]) == (14_700, 0, "2")


def test_where_the_network_settles_counts_and_what_no_file_has_does_not() -> None:
    sale, late = trade(1), trade(2, 4_000)
    gone = trade(3, 500)
    void = trade(4, 500, type="void", processing_code="200000", original_request_id=3)
    days = Days(sale, late, gone, void)
    first = days.close(DAY, [billed(sale)], zsum_file({TEA: 10_000}))
    assert first.totals["reversed_both"] == 2
    second = days.close(NEXT, [billed(late)], zsum_file({TEA: 4_000}, NEXT))
    assert second.totals["cutoff_shift"] == 1
    assert (found(second), second.totals["file_totals_compared"]) == ([], 1)
    third = days.close(THIRD, [])
    assert (found(third), third.totals["file_totals_compared"]) == ([], 1)


def test_a_record_with_another_amount_counts_where_its_row_is() -> None:
    late = trade(1, 4_000)
    days = Days(late)
    days.close(DAY, [], zsum_file({}))
    second = days.close(NEXT, [billed(late, amount=4_100)], zsum_file({TEA: 4_100}, NEXT))
    assert (found(second), second.totals["file_totals_compared"]) == ([], 1)
    (one,) = found(days.close(THIRD, []))
    assert (one.ours_minor, one.theirs_minor) == (4_000, 4_100)


def test_another_file_of_the_date_is_compared_again_with_all() -> None:
    days = Days(*SALES)
    days.close(DAY, map(billed, SALES), zsum_file({TEA: 14_000}))
    second = days.close(NEXT, [])
    (one,) = found(second)
    late = days.close(THIRD, [], zsum_file({BOOKS: 700}, number=33))
    assert (found(late), late.totals["file_totals_compared"]) == ([], 1)
    (ended,) = asyncio.run(days.store.resolutions(THIRD))
    assert (ended.break_id, ended.reason) == (one.id, "compared again")
    for day in (NEXT, THIRD):
        again = asyncio.run(decided(MemoryEvidence(days.store, day), day))
        assert [line.finding for line in again] == [None] * len(AGAIN)


def test_both_stores_compare_and_decide_the_same(database_dsn: FreshDatabase) -> None:
    files = zsum_file({TEA: 14_000, BOOKS: 600}), zpsum_file({TEA: (2, 14_000)})
    days = Days(*SALES)
    days.close(DAY, map(billed, SALES), *files)
    expected = days.close(NEXT, [])

    async def scenario() -> None:
        trades = list(SALES)
        await publish(database_dsn.owner, trades, captures_of(trades), WITH_SUMS)
        async with open_postgres(database_dsn.app) as (store, dates):
            came = inbox(com_file(map(billed, SALES)), *files)
            await run_close(store, came, dates=dates)
            result = await run_close(store, inbox(com_file([], NEXT)), day=NEXT, dates=dates)
            assert result.to_json() == expected.to_json()
            assert len(found(result)) == 2
            sums = await store.settled_before(NEXT, [DAY])
            assert sums == await days.store.settled_before(NEXT, [DAY])
            assert [(one.merchant, one.count, one.amount_minor) for one in sums] == [
                (TEA, 2, 14_000),
                (BOOKS, 1, 700),
            ]
            assert await store.settled_before(DAY, [DAY]) == []
            assert await store.settled_before(NEXT, [NEXT]) == []
            evidence = PostgresEvidence(store._pool, NEXT)
            assert [one.finding for one in await decided(evidence, NEXT)] == [None] * len(AGAIN)

    asyncio.run(scenario())


# -- any order, any split --------------------------------------------------------------------------

AMOUNTS = st.lists(
    st.tuples(st.sampled_from([TEA, BOOKS]), st.integers(-5_000, 5_000).filter(bool)), max_size=12
)


@given(AMOUNTS, st.randoms(use_true_random=False))
@hypothesis(max_examples=100)
def test_order_and_split_do_not_matter(amounts: list[tuple[str, int]], random: Any) -> None:
    """The same sales as one close's sums or several closes', the same lines as one file or two."""
    group = Group(ACQUIRER, DAY, "ZPSUM")
    ours = [SettledSum(ACQUIRER, DAY, "156", name, 1, amount) for name, amount in amounts]
    theirs = [line(name, amount, number) for number, (name, amount) in enumerate(amounts, 1)]
    random.shuffle(ours)
    random.shuffle(theirs)
    assert compare(NEXT, group, ["f"], ours, theirs, "156") == []
    whole: dict[str, list[int]] = {}
    for name, amount in amounts:
        whole.setdefault(name, []).append(amount)
    summed = [
        SettledSum(ACQUIRER, DAY, "156", name, len(found), sum(found))
        for name, found in whole.items()
    ]
    assert compare(NEXT, group, ["f"], summed, theirs, "156") == []
    other = line("104110058120003", 1, len(theirs) + 1)
    once = compare(NEXT, group, ["f"], ours, [*theirs, other], "156")
    assert once == compare(NEXT, group, ["f"], summed, [other, *reversed(theirs)], "156")
    assert [one.evidence["merchants"] for one in once] == ["1"]


def line(merchant: str, amount: int, number: int) -> PayoutLine:
    return PayoutLine(
        acquirer=ACQUIRER,
        file="f",
        version=1,
        line=number,
        settlement_date=DAY,
        merchant=merchant,
        amount_minor=amount,
        count=1,
    )


@pytest.mark.parametrize(
    ("order", "earlier"), [((0, 1, 2, 3, 4), 5), ((4, 3, 2, 1, 0), 2), ((2, 0, 4, 1, 3), 0)]
)
def test_sums_of_closes_add_up(order: tuple[int, ...], earlier: int) -> None:
    """Sales of one settlement date, of which some belong to the business date before."""
    sales = [trade(n, 100 * n, settlement_date=NEXT) for n in range(1, 6)]
    for number in range(earlier, 5):
        sales[number] = trade(
            number + 1, 100 * (number + 1), business_date=NEXT, settlement_date=NEXT
        )
    other = trade(9)
    days = Days(other, *(sales[n] for n in order))
    days.close(DAY, [billed(other)])
    rows = [billed(sales[n]) for n in order]
    days.close(NEXT, rows, zsum_file({TEA: 1_500}, NEXT), zpsum_file({TEA: (5, 1_500)}, NEXT))
    third = days.close(THIRD, [])
    assert (found(third), third.totals["file_totals_compared"]) == ([], 2)


def test_other_currencies_are_compared_where_the_file_has_them() -> None:
    group = Group(ACQUIRER, DAY, "ZSUM")
    ours = [SettledSum(ACQUIRER, DAY, "344", TEA, 1, 500)]
    assert compare(NEXT, group, ["f"], ours, [], "156") == []
    theirs = MerchantTotal(
        acquirer=ACQUIRER,
        file="f",
        version=1,
        line=1,
        settlement_date=DAY,
        merchant=TEA,
        amount_minor=400,
        currency="344",
    )
    (one,) = compare(NEXT, group, ["f"], ours, [theirs], "156")
    assert (one.currency, one.ours_minor, one.theirs_minor) == ("344", 500, 400)
