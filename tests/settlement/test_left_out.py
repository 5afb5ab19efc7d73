"""Pairs that a network's file leaves out, because its rows cancel one another (ACOMA)."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec

from settlement.clearing import Transaction
from settlement.close import CloseResult
from settlement.files import acoma
from tests.settlement.files.samples import acoma_row
from tests.settlement.test_close import opposite_of
from tests.settlement.world import (
    ACQUIRER,
    DAY,
    DE32,
    NEXT,
    REFERENCES,
    Dates,
    Inbox,
    Sink,
    reference,
    run_close,
    trade,
    world,
)

LINK: dict[str, object] = {"acquirer": ACQUIRER, "de32": DE32, "clearing": {"ACOMA": {}}}
LINKS = [reference("link", "bank-a-1", LINK), *REFERENCES[1:]]
SALE = trade(1)
VOID = trade(2, type="void", processing_code="200000", original_request_id=1, rrn=SALE.rrn)
OTHER = trade(3)
VOIDED = [
    acoma_row(1, void_flag="C"),
    acoma_row(2, void_flag="C", rrn=SALE.rrn, processing_code="200000"),
]
REVERSED = [
    acoma_row(1, reversal_flag="R"),
    acoma_row(4, reversal_flag="R", rrn=SALE.rrn, mti="0420"),
]


class Days:
    """Dates on one store, closed on files of ACOMA."""

    def __init__(self, *trades: Transaction) -> None:
        self.store = world(trades, LINKS)
        self.dates, self.sink = Dates({DAY: "open"}), Sink()

    def close(self, *rows: dict[str, Any], day: date = DAY) -> CloseResult:
        inbox = Inbox({(ACQUIRER, f"IND{day:%y%m%d}32ACOMA"): acoma.render(rows)})
        at = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
        return asyncio.run(
            run_close(self.store, inbox, day=day, dates=self.dates, sink=self.sink, at=at)
        )

    def left(self, *accounts: str) -> int:
        """What both dates moved on the accounts."""
        return sum(
            line.amount_minor
            for day in (DAY, NEXT)
            for line in asyncio.run(self.store.movements(day))
            if line.account in accounts
        )


def found(result: CloseResult) -> dict[str, int]:
    assert result.exit_code in (0, 1), result.message
    names = ("matched", "reversed_both", "network_short", "resolved")
    return {name: result.totals[name] for name in names if result.totals[name]}


def test_a_voided_pair_that_the_file_leaves_out_is_no_short() -> None:
    days = Days(SALE, VOID, OTHER)
    result = days.close(*VOIDED, acoma_row(3))
    assert (result.exit_code, found(result)) == (0, {"matched": 1, "reversed_both": 2})
    assert days.left("short_suspense", "long_suspense", "merchant_held") == 0


def test_a_pair_that_we_reverse_after_the_date_is_one_short_that_ends() -> None:
    days = Days(SALE, OTHER)
    days.store.captured.append(opposite_of(SALE))
    first = days.close(*REVERSED, acoma_row(3))
    assert found(first) == {"matched": 1, "network_short": 1}
    second = days.close(day=NEXT)
    assert (second.exit_code, found(second)) == (0, {"reversed_both": 2, "resolved": 1})
    assert days.left("short_suspense", "merchant_held") == 0


def test_a_void_that_settles_on_the_next_date_ends_the_short_of_its_sale() -> None:
    late = msgspec.structs.replace(VOID, settlement_date=NEXT, transmission_time="0803235900")
    days = Days(SALE, late, OTHER)
    first = days.close(*VOIDED, acoma_row(3))
    assert found(first) == {"matched": 1, "network_short": 1}
    second = days.close(day=NEXT)
    assert (second.exit_code, found(second)) == (0, {"reversed_both": 2, "resolved": 1})
    assert days.left("short_suspense", "merchant_held") == 0


def test_a_pair_is_left_out_though_something_else_of_its_chain_is_missing() -> None:
    """A refund that was taken back, and another that the network does not have."""
    refund = trade(2, 4_000, type="refund", processing_code="200000", original_request_id=1)
    missing = trade(4, 1_000, type="refund", processing_code="200000", original_request_id=1)
    days = Days(SALE, refund, missing)
    days.store.captured.append(
        msgspec.structs.replace(opposite_of(refund), business_date=DAY, original_request_id=1)
    )
    result = days.close(acoma_row(1))
    assert found(result) == {"matched": 1, "reversed_both": 2, "network_short": 1}
    (one,) = result.breaks
    assert one.record == "c4"
    assert days.left("long_suspense") == -1_000
