"""The terminals' totals against the journal: what counts, over which dates, and what differs."""

import pytest

from settlement.terminal_totals import BatchTotal, batch_sums, terminal_leg
from tests.settlement.oracle import records_of
from tests.settlement.world import DAY, captures_of, trade


def test_journal_sums_count_as_a_settlement_does() -> None:
    sale, refund = trade(1), trade(2, 4_000, type="refund")
    void = trade(3, type="void", original_request_id=1)
    declined = trade(4, state="declined")
    other = trade(5, terminal="87654321")
    trades = [sale, refund, void, declined, other]
    records = records_of(DAY, captures_of(trades), trades, {})
    assert batch_sums(records) == [
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
