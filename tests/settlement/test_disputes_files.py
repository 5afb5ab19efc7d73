"""Error files as banks send them, from their bytes to disputes and cases.

Method: rows are rendered by the layout, parsed by it, stored as intake stores them, and placed; then
the same file comes a second time under another name.
"""

import asyncio
from collections import Counter
from typing import Any

import pytest

from settlement.adapters.memory import MemoryStore
from settlement.clearing import ClearingRow, IncomingFile
from settlement.columns import relation
from settlement.disputes.files import adjustment_of, take
from settlement.files import erra
from settlement.files.rows import Adjustment, Context
from tests.settlement.desk import LI, NOW, TERMS, Desk, a_desk, moved
from tests.settlement.files.samples import erra_row
from tests.settlement.world import ACQUIRER, DAY, NEXT, PANS, trade

SALE = trade(3)  # of `a_day`: 3,000, matched
NAME = "IND26080432AERRA"


def parsed(*rows: dict[str, Any], name: str = NAME) -> list[Adjustment]:
    file = erra.parse_name(ACQUIRER, name)
    assert file is not None
    found = erra.parse(erra.render(rows), file, Context(token=PANS.token, mask=PANS.mask)).rows
    return [row for row in found if isinstance(row, Adjustment)]


def about_sale(error_type: str, amount: int, **changes: Any) -> dict[str, Any]:
    side = "receivable" if error_type in ("E22", "E24", "E73") else "payable"
    return erra_row(
        **{
            "error_type": error_type,
            "amount": amount,
            "payable": 0,
            side: amount,
            "original_rrn": SALE.rrn,
            "original_stan": SALE.stan,
            "original_amount": 3_000,
            **changes,
        }
    )


async def taken_in(desk: Desk, rows: list[Adjustment], name: str = NAME) -> None:
    assert isinstance(desk.books, MemoryStore)
    file = IncomingFile(ACQUIRER, name, "ERRA", NEXT, 32, 1, name.encode().ljust(32), 1, NEXT)
    await desk.books.take_in(file, relation(ClearingRow), rows)


def test_an_error_file_opens_and_moves_disputes_once() -> None:
    async def scenario() -> None:
        desk = await a_desk()
        rows = [
            about_sale("E23", 3_000, fee_receivable=11),
            about_sale("E24", 1_000),
            about_sale("E23", 500, original_rrn="999999999999"),
            about_sale("E99", 1),
        ]
        await taken_in(desk, parsed(*rows))
        placed = await take(desk.casework, NEXT, NEXT, NOW, TERMS, LI)
        assert [bool(one.dispute_id) for one in placed] == [True, True, False, False]
        facts = await desk.casework.dispute(placed[1].dispute_id)
        assert facts is not None
        assert (facts.state, facts.charged_minor) == ("represented", 2_000)
        books = moved([one for one in await desk.entries() if one.step == "dispute"])
        assert books == Counter(
            {
                "network_receivable": -1_989,
                "issuer_fee": -11,
                "chargeback_receivable": 2_000,
                "merchant_payable": 3_000,
                "merchant_held": -3_000,
            }
        )
        before = await desk.entries()
        again = "IND26080433AERRA"
        await taken_in(desk, parsed(*reversed(rows), name=again), again)
        twice = await take(desk.casework, NEXT, NEXT, NOW, TERMS, LI)
        assert {one.key: one for one in twice} == {one.key: one for one in placed}
        assert await take(desk.casework, DAY, DAY, NOW, TERMS, LI) == []
        assert await desk.entries() == before

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("changes", "effect"),
    [
        ({"error_type": "E23", "payable": 10_000}, -10_000),
        ({"error_type": "E24", "payable": 0, "receivable": 10_000}, 10_000),
        # a file that says no direction leaves it to the event
        ({"error_type": "E23", "payable": 0}, -10_000),
        ({"error_type": "E24", "payable": 0}, 10_000),
        ({"error_type": "E05", "payable": 0}, 0),
        ({"error_type": "E99", "payable": 0}, 0),
    ],
)
def test_the_direction_of_a_row(changes: dict[str, Any], effect: int) -> None:
    (row,) = parsed(erra_row(**changes))
    assert adjustment_of(row).effect_minor == effect


def test_the_content_of_a_row_is_not_where_it_stands() -> None:
    (one,) = parsed(erra_row())
    (other,) = parsed(erra_row(), name="IND26080433AERRA")
    (third,) = parsed(erra_row(reason="4512"))
    assert adjustment_of(one).content == adjustment_of(other).content
    assert adjustment_of(one).content != adjustment_of(third).content
