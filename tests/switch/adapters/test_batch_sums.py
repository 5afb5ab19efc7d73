"""Totals of a batch and its comparison with an upload.

Goal: rules §9 for every type of sale. Method: items by hand.
"""

from __future__ import annotations

from switch.adapters.batch_sums import CapturedItem, compare, counted, totals_of
from switch.store_ports import BatchItem, BatchTotals

SALE = CapturedItem(1, 11, "purchase", 10_000, foreign=False, amount_minor=10_000)
TIP = CapturedItem(2, 12, "tip", 1_500, foreign=False, amount_minor=11_500)
LESS = CapturedItem(3, 13, "adjustment", -2_000, foreign=False, amount_minor=9_500)
VOID = CapturedItem(4, 14, "completion_void", -300, foreign=False, amount_minor=300)


def test_an_adjustment_counts_by_its_change() -> None:
    items = [SALE, TIP, LESS, VOID]
    assert totals_of(items)[0] == BatchTotals(9_500, 3, 300, 1)
    assert counted(items) == 3


def test_an_upload_names_an_adjustments_new_total() -> None:
    uploaded = [
        BatchItem(11, 10_000),
        BatchItem(12, 11_500),
        BatchItem(13, 9_500),
        BatchItem(14, 300),
    ]
    assert compare([SALE, TIP, LESS, VOID], uploaded) == []
    wrong = [*uploaded[:1], BatchItem(12, 1_500), *uploaded[2:]]
    assert [each.kind for each in compare([SALE, TIP, LESS, VOID], wrong)] == [
        "batch_long",
        "batch_short",
    ]
