"""The journal's export from a real store: a span of dates, what it names of before, and no card number.

Method: rows as the writer stores them, with sealed card numbers, on two business dates; then the lines
of the second. What a file may hold at all is in tests/switch/replay; a whole day is in tests/end_to_end.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING, Any

import msgspec

from hsm.lmk import TEST_LMK
from hsm.local import LocalVault
from switch import data_keys
from switch.adapters.recorded import Recorded, Span
from switch.journal import Commit, EndRow, OutcomeState, Stored
from switch.replay.journal_file import Day, Reference, Request, Reversal
from switch.rows import PAN_COLUMN
from tests.contract.worlds import (
    MERCHANT,
    PostgresWorld,
    attempt,
    key,
    outcome,
    queued,
    request,
    reversal,
    reversal_request,
)

if TYPE_CHECKING:
    from hsm.pans import Pans
    from switch.replay.journal_file import Event
    from tests.database import FreshDatabase

CARDS = ("6212345678901265", "6212349999990001", "6225881234567894")
ROUTES = ("621234", "62123499", "6225")


def of_card(pans: Pans, request_id: int, pan: str, route: str, **more: Any) -> Any:
    return msgspec.structs.replace(
        request(request_id),
        pan_token=pans.token(pan),
        pan_masked=pans.mask(pan),
        pan_cipher=pans.protect(pan, "2912", request_id, PAN_COLUMN),
        decision=f'{{"route":"{route}@1"}}',
        entry_mode="021",
        session_id=1,
        received_at=dt.datetime.now(dt.UTC),
        **more,
    )


async def filled(world: PostgresWorld) -> tuple[dt.date, dt.date]:
    """Two dates: a sale on the first; on the second its refund, two sales, silence, a 0400."""
    store = await world.process()
    reference = store.reference
    vault = LocalVault(TEST_LMK, lambda count: bytes(range(count)))
    await data_keys.ensure(reference, vault)
    pans = data_keys.open_pans(TEST_LMK, await reference.snapshot())
    token = pans.token(CARDS[0]).hex()
    items: list[tuple[str, str, dict[str, Any]]] = [
        ("route", prefix, {"prefix": prefix, "acquirer": "bank"}) for prefix in ROUTES
    ]
    items.append(("risk_list", "stolen", {"name": "stolen", "members": [token]}))
    items.append(
        ("merchant", MERCHANT, {"merchant": MERCHANT, "name": "x", "settlement_account": "DE1"})
    )
    await reference.apply(items, maker="test")
    generation = (await reference.snapshot()).generation
    (first,) = (
        row[0] for row in await world.query("SELECT business_date FROM switch.business_day")
    )
    second = first + dt.timedelta(days=1)

    async def stored(*commits: Commit) -> None:
        for each in commits:
            assert isinstance(await store.journal.commit(each), Stored)

    def sale(request_id: int, card: int, **more: Any) -> Commit:
        row = of_card(pans, request_id, CARDS[card], ROUTES[card], generation=generation, **more)
        return Commit(request=row, attempt=attempt(request_id))

    await stored(sale(1, 0), Commit(outcome=outcome(1, first, acquirer_response_code="00")))
    await stored(sale(2, 2), Commit(outcome=outcome(2, first, acquirer_response_code="00")))
    await world.query("SELECT switch.cut_over($1)", second)
    await stored(
        sale(3, 0, type="refund", original_request_id=1),
        Commit(outcome=outcome(3, second, effect_minor=-100, acquirer_response_code="00")),
        sale(4, 1),
        Commit(
            outcome=outcome(4, second, acquirer_response_code="51", state=OutcomeState.DECLINED)
        ),
        sale(5, 0),
        Commit(
            outcome=outcome(5, second, state=OutcomeState.UNKNOWN, effect_minor=None),
            reversal=reversal(5, second),
            queue=queued(50, 5, second),
        ),
        Commit(end=EndRow(50, "00")),
        Commit(reversal_request=reversal_request(key(5), 5, "00")),
    )
    return first, second


def test_a_span_with_what_it_names(database_dsn: FreshDatabase) -> None:
    async def main() -> tuple[list[Event], Recorded, dt.date, dt.date]:
        world = PostgresWorld(database_dsn)
        try:
            first, second = await filled(world)
            async with Recorded.open(database_dsn.app, Span(second, second)) as recorded:
                return [line async for line in recorded.lines()], recorded, first, second
        finally:
            await world.close()

    lines, recorded, first, second = asyncio.run(main())
    requests = [line for line in lines if isinstance(line, Request)]
    assert (recorded.requests, recorded.early, len(requests)) == (4, 1, 4)
    assert recorded.business_date == first
    assert [line.business_date for line in lines if isinstance(line, Day)] == [str(second)]
    assert [line.at for line in lines] == sorted(line.at for line in lines)

    sale, refund, declined, silent = requests
    assert (sale.id, refund.original) == (1, 1)
    assert [line.named for line in requests] == [True, False, False, True]
    (day,) = (line for line in lines if isinstance(line, Day))
    assert sale.at < day.at < refund.at
    assert sale.card == refund.card == silent.card
    assert sale.card.startswith("621234")
    assert not sale.card.startswith("62123499")
    assert declined.card.startswith("62123499")
    assert declined.attempts[0].answers[0].response_code == "51"
    assert silent.attempts[0].answers == ()
    (delivered,) = silent.deliveries
    assert (delivered.queue, delivered.response_code) == ("reversal", "00")
    (undone,) = (line for line in lines if isinstance(line, Reversal))
    assert (undone.original, undone.usage) == (silent.id, "22")

    data = msgspec.json.encode(lines).decode()
    for card in CARDS:
        assert card not in data
        assert card[6:] not in data
    assert "2912" not in data
    assert "DE1" not in data
    (stolen,) = (line for line in lines if isinstance(line, Reference) and line.of == "risk_list")
    assert stolen.content["members"] == [f"card:{sale.card}"]


def test_a_span_without_anything(database_dsn: FreshDatabase) -> None:
    async def main() -> list[Event]:
        nothing = dt.date(2020, 1, 1)
        async with Recorded.open(database_dsn.app, Span(nothing, nothing)) as recorded:
            return [line async for line in recorded.lines()]

    assert asyncio.run(main()) == []
