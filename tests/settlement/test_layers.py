"""Layers over several closes: pending is what no file has confirmed and no break is about.

Method: small histories of closes in memory; after each one the pending layer is held against the clearing
records that neither a match nor a break has named so far, and the ledger is verified.
"""

import asyncio
from collections import Counter
from datetime import timedelta

from settlement.adapters.ledger_memory import MemoryStored
from settlement.ledger import owner_of_day
from settlement.ledger_queries import trial_rows
from settlement.ledger_verify import Unwatched, verify
from tests.settlement.test_close import TwoDays
from tests.settlement.world import ACQUIRER, DAY, NEXT, billed, trade

AFTER = NEXT + timedelta(days=1)
LATE = {"settlement_date": NEXT, "transmission_time": "0803233000"}


def pending(days: TwoDays) -> dict[str, int]:
    """The pending receivables by owner, as the ledger has them; asserts that they are what waits."""

    async def read() -> dict[str, int]:
        store = days.store
        waiting: Counter[str] = Counter()
        heard = {one.record for day in (DAY, NEXT, AFTER) for one in await store.matches(day)}
        heard |= {one.record for day in (DAY, NEXT, AFTER) for one in await store.breaks(day)}
        for day in (DAY, NEXT, AFTER):
            for record in await store.records(day):
                if record.captured and record.key not in heard:
                    owner = owner_of_day(record.acquirer, record.settlement_date)
                    waiting[owner] += record.effect_minor
        found = {
            one.owner: one.balance_minor
            for one in await store.ledger.balances("network_receivable")
            if one.layer == "pending"
        }
        assert found == {owner: amount for owner, amount in waiting.items() if amount}
        trial_rows(await store.ledger.turnover(None, AFTER), "pending")
        verified = await verify(MemoryStored(store.ledger), Unwatched())
        assert (verified.findings, verified.open_entries) == ([], 0)
        return found

    return asyncio.run(read())


def test_what_waits_for_its_file_is_pending_until_the_file_has_it() -> None:
    days = TwoDays(trade(1), trade(2, 700, **LATE))
    days.close(DAY, billed(trade(1)))
    assert pending(days) == {f"{ACQUIRER}/{NEXT}": 700}
    days.close(NEXT, billed(trade(2, 700, **LATE)))
    assert pending(days) == {}
    sources = [(one.source, one.key, one.layer) for one in days.store.ledger.entries(NEXT)]
    assert ("confirm_in", "c2", "settled") in sources
    assert ("confirm_out", "c2", "pending") in sources


def test_what_no_file_has_is_a_break_and_not_pending_any_more() -> None:
    days = TwoDays(trade(1), trade(2, 700, **LATE))
    days.close(DAY, billed(trade(1)))
    result = days.close(NEXT)
    assert [one.break_class for one in result.breaks] == ["network_short"]
    assert pending(days) == {}
    # found by a later file: it is confirmed once, not again
    days.close(AFTER, billed(trade(2, 700, **LATE)))
    assert pending(days) == {}
    made = [one for one in days.store.ledger.entries(AFTER) if one.source.startswith("confirm")]
    assert made == []


def test_a_break_of_the_first_day_was_never_pending() -> None:
    days = TwoDays(trade(1), trade(2, 700))
    result = days.close(DAY, billed(trade(1)))
    assert [one.break_class for one in result.breaks] == ["network_short"]
    assert pending(days) == {}
