"""An answer after the outcome waits for a store that is away: a bank says it once."""

from __future__ import annotations

import asyncio
import datetime as dt
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from structlog.testing import capture_logs

from switch.adapters.memory import MemoryStore
from switch.journal import Commit, StoreDownError
from switch.late_answers import LateAnswers
from switch.virtual.loop import run_virtual
from tests.switch.acquirers.wire import VirtualClock
from tests.switch.rows import ATTEMPT, REQUEST, TODAY

if TYPE_CHECKING:
    from iso8583.message import Message

ANSWER: Message = {
    0: "0210",
    4: "000000010000",
    7: ATTEMPT.transmission_time,
    11: ATTEMPT.link_stan,
    38: "123456",
    39: "00",
}


class Bench:
    def __init__(self) -> None:
        self.failed: list[BaseException] = []
        self.clock = VirtualClock()
        self.store = MemoryStore(self.clock, business_date=TODAY)
        log: Any = SimpleNamespace(failed=self.failed.append)
        rows: Any = SimpleNamespace(identity=lambda _acquirer: None)
        self.late = LateAnswers(self.store.journal, rows, self.clock, log, lambda _name: None)
        self.journal: Any = self.store.journal
        self.decide = self.journal.decide

    def down(self) -> None:
        def refuse(*_: Any) -> Any:
            raise StoreDownError("gone")

        self.journal.decide = refuse

    def up(self) -> None:
        self.journal.decide = self.decide


def test_it_is_stored_when_the_store_is_back_as_of_when_it_came() -> None:
    async def story() -> None:
        bench = Bench()
        await bench.journal.commit(Commit(request=REQUEST, attempt=ATTEMPT))
        bench.down()
        came_at = bench.clock.now()
        bench.late.of("bank_a")(ATTEMPT, ANSWER, "late")
        await asyncio.sleep(60)
        assert not bench.store.late_answers
        bench.up()
        await bench.late.drain(10.0)
        (row,) = bench.store.late_answers.values()
        assert (row.response_code, row.reason) == ("00", "late")
        assert row.received_at - came_at < dt.timedelta(seconds=1)
        assert not bench.failed

    with capture_logs():
        run_virtual(story())


def test_a_drain_waits_no_longer_than_it_is_given() -> None:
    async def story() -> None:
        bench = Bench()
        await bench.journal.commit(Commit(request=REQUEST, attempt=ATTEMPT))
        bench.down()
        bench.late.of("bank_a")(ATTEMPT, ANSWER, "late")
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        await bench.late.drain(3.0)
        assert loop.time() - began_s < 3.1

    with capture_logs() as lines:
        run_virtual(story())
    assert [line["count"] for line in lines if line["event"] == "late_answers_not_stored"] == [1]
