"""Charges: a chain is read from its sale on, whatever ids its requests were given."""

import asyncio

import pytest

from settlement.clearing import Transaction
from tests.settlement.world import DAY, inbox, run_close, trade, world


@pytest.mark.parametrize("refunds", [(7, 9), (9, 7), (10_001, 10_002), (3, 10_002)])
def test_a_sale_comes_before_refunds_with_smaller_ids(refunds: tuple[int, int]) -> None:
    """Two workers take request ids from blocks of their own: 10 000 sold, 7 refunded, later."""
    first, second = refunds

    def refund(number: int, amount: int, time: str) -> Transaction:
        return trade(
            number,
            amount,
            type="refund",
            original_request_id=10_000,
            transmission_time=time,
        )

    trades = [
        refund(second, 100_000, "0803120300"),
        trade(10_000, 500_000, transmission_time="0803120000"),
        refund(first, 300_000, "0803120200"),
    ]
    store = world(trades)
    asyncio.run(run_close(store, inbox(("IND26080301ACOM", b""))))
    made = asyncio.run(store.merchant_fees(DAY))
    steps = {one.key: (one.net_before_minor, one.net_after_minor) for one in made}
    assert steps == {
        "c10000": (0, 500_000),
        f"c{first}": (500_000, 200_000),
        f"c{second}": (200_000, 100_000),
    }
    assert sum(one.discount_minor for one in made) == 500  # 0.5 % of what is left
