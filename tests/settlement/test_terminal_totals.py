"""The terminals' totals against the journal: what counts, over which dates, and what differs."""

import asyncio

import msgspec
import pytest

from settlement.clearing import ClearingRecord
from settlement.columns import table_of
from settlement.kept_sums import BatchTotal
from settlement.terminal_totals import batch_sums, terminal_leg
from tests.settlement.oracle import records_of
from tests.settlement.world import DAY, ENGINE, captures_of, inbox, run_close, trade, world


def test_journal_sums_count_as_a_settlement_does() -> None:
    sale, refund = trade(1), trade(2, 4_000, type="refund")
    void = trade(3, type="void", original_request_id=1)
    declined = trade(4, state="declined")
    other = trade(5, terminal="87654321")
    trades = [sale, refund, void, declined, other]
    records = records_of(DAY, captures_of(trades), trades, {})
    ENGINE.load("records", table_of(ClearingRecord, records))
    assert batch_sums(ENGINE) == [
        BatchTotal(sale.merchant, sale.terminal, 1, 10_000, 1, 14_000, 2),
        BatchTotal(sale.merchant, "87654321", 1, 10_000, 1, 0, 0),
    ]


SAID = BatchTotal("m", "t", 1, 10_000, 2, 4_000, 1)


@pytest.mark.parametrize(
    ("captured", "differs"),
    [
        ([SAID], None),
        # over two dates
        (
            [BatchTotal("m", "t", 1, 6_000, 1, 0, 0), BatchTotal("m", "t", 1, 4_000, 1, 4_000, 1)],
            None,
        ),
        ([BatchTotal("m", "t", 1, 9_000, 2, 4_000, 1)], 5_000),
        ([BatchTotal("m", "t", 1, 10_000, 1, 4_000, 1)], 6_000),  # counts alone
        ([], 0),
        ([SAID, BatchTotal("m", "t", 2, 1, 1, 0, 0)], None),  # another batch's
    ],
)
def test_terminal_leg(captured: list[BatchTotal], differs: int | None) -> None:
    found = terminal_leg(DAY, [SAID], captured, "156")
    if differs is None:
        assert found == []
        return
    (one,) = found
    assert (one.break_class, one.ours_minor, one.theirs_minor) == (
        "terminal_totals",
        differs,
        6_000,
    )
    assert one.keys == {"merchant": "m", "terminal": "t", "batch": "000001"}
    assert one.difference_minor == 0
    assert one.evidence["terminal_debit_minor"] == "10000"


def test_a_close_checks_the_batches_that_were_settled_by_then_once() -> None:
    async def scenario() -> None:
        store = world([trade(1), trade(2, 4_000)])
        right = BatchTotal(trade(1).merchant, trade(1).terminal, 1, 14_000, 2, 0, 0)
        store.batches = [
            (DAY, msgspec.structs.replace(right, debit_minor=13_000)),
            (DAY, BatchTotal("nobody", "t", 1, 0, 0, 0, 0)),
        ]
        result = await run_close(store, inbox(("IND26080301ACOM", b"")))
        found = [one for one in result.breaks if one.break_class == "terminal_totals"]
        assert [(one.id, one.ours_minor, one.theirs_minor) for one in found] == [
            ("20260803-T000001", 14_000, 13_000)
        ]
        assert result.totals["batches_checked"] == 2
        assert await store.batches_said(DAY) == []
        assert await store.batches_captured([right.key]) == [right]

    asyncio.run(scenario())
