"""Charges: a chain is read from its sale on, whatever ids its requests were given."""

from datetime import date

import pytest

from settlement.charges import merchant_fees
from settlement.clearing import ClearingRecord, Reference
from settlement.fees import Tariffs

DATE = date(2026, 3, 5)


def record(
    request_id: int, root: int, effect_minor: int, time: str, **changes: str
) -> ClearingRecord:
    return ClearingRecord(
        key=f"c{request_id * 16}",
        business_date=DATE,
        settlement_date=DATE,
        request_id=request_id,
        root_request_id=root,
        type=changes.get("type", "purchase" if request_id == root else "refund"),
        state=changes.get("state", "approved"),
        merchant="M",
        terminal="T",
        batch=1,
        stan=1,
        acquirer="bank",
        effect_minor=effect_minor,
        amount_minor=effect_minor,
        currency="156",
        de32="1",
        de33="1",
        link_stan="000001",
        transmission_time=time,
        rrn="",
        auth_code="",
        pan_token=b"",
        pan_masked="",
        mcc="5411",
        entry_mode="",
        response_code="00",
        card_type="debit",
        plan="standard",
        plan_version=1,
    )


@pytest.mark.parametrize("refunds", [(7, 9), (9, 7), (10_001, 10_002), (3, 10_002)])
def test_a_sale_comes_before_refunds_with_smaller_ids(refunds: tuple[int, int]) -> None:
    """Two workers take request ids from blocks of their own: 10 000 sold, 7 refunded, later."""
    first, second = refunds
    chain = [
        record(second, 10_000, -100_000, "0305120300"),
        record(10_000, 10_000, 500_000, "0305120000"),
        record(first, 10_000, -300_000, "0305120200"),
    ]
    references: list[Reference] = []
    made = merchant_fees(DATE, chain, {10_000: sorted_as_read(chain)}, Tariffs(references))
    steps = {one.key: (one.net_before_minor, one.net_after_minor) for one in made}
    assert steps == {
        "c160000": (0, 500_000),
        f"c{first * 16}": (500_000, 200_000),
        f"c{second * 16}": (200_000, 100_000),
    }
    assert sum(one.discount_minor for one in made) == 500  # 0.5 % of what is left


def sorted_as_read(chain: list[ClearingRecord]) -> list[ClearingRecord]:
    from settlement.charges import _age

    return sorted(chain, key=_age)
