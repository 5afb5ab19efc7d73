"""What terminals have downloaded: facts that are judged one after the other, in every store."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from switch.adapters.postgres.purge import purger
from switch.config import Retention
from switch.downloads import taken
from switch.store_ports import DownloadFact
from tests.contract.worlds import MERCHANT, TERMINAL, PostgresWorld

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tests.contract.worlds import Store, World
    from tests.database import FreshDatabase

    Run = Callable[[Callable[[World], Coroutine[Any, Any, None]]], None]

NOW = DownloadFact(
    topic="aids",
    act="",
    version="A",
    source="chip@1",
    stan=1,
    address="192.0.2.1",
    shown=True,
)


async def does(store: Store, step: Any, *, terminal: str = TERMINAL, **changes: Any) -> str:
    """One message of a download; the act that it becomes."""
    now = msgspec.structs.replace(NOW, **changes)
    first = step == "list"
    made: DownloadFact | None = await store.downloads.step(
        MERCHANT, terminal, now.topic, lambda before: taken(before, now, step, first=first)
    )
    return "" if made is None else made.act


def test_the_newest_of_each_topic_is_told(run: Run) -> None:
    async def scenario(world: World) -> None:
        store, other = await world.process(), await world.process()
        assert await store.downloads.of(MERCHANT, TERMINAL) == []
        assert await does(store, "list") == "begun"
        assert await does(other, "get", stan=2) == ""
        assert await does(other, "end", stan=3) == "ended"
        assert await does(store, "end", stan=3) == ""
        assert await does(store, "list", stan=4, version="B", shown=False) == "begun"
        assert await does(other, "get", stan=5, version="C") == "mixed"
        assert await does(store, "list", stan=6, version="C", topic="ca_keys") == "begun"
        assert await does(store, "list", stan=1, terminal="00000002") == "begun"
        told = [
            (kept.fact.topic, kept.fact.act, kept.fact.version, kept.fact.shown)
            for kept in await store.downloads.of(MERCHANT, TERMINAL)
        ]
        assert told == [
            ("aids", "ended", "A", True),
            ("aids", "begun", "B", False),
            ("aids", "mixed", "C", True),
            ("ca_keys", "begun", "C", True),
        ]
        every = await other.downloads.every()
        assert list(every) == [(MERCHANT, TERMINAL), (MERCHANT, "00000002")]
        assert every[MERCHANT, TERMINAL] == await store.downloads.of(MERCHANT, TERMINAL)

    run(scenario)


def test_an_address_that_shows_itself_later_has_shown_itself(run: Run) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        await does(store, "list", shown=False)
        await does(store, "end", stan=2, shown=False)
        await does(store, "list", shown=False, topic="ca_keys", address="192.0.2.9")
        await store.batches.note_source(MERCHANT, TERMINAL, 7, "192.0.2.1")
        await store.batches.note_source(MERCHANT, "00000002", 7, "192.0.2.9")
        told = [
            (kept.fact.act, kept.fact.shown)
            for kept in await store.downloads.of(MERCHANT, TERMINAL)
        ]
        assert told == [("begun", True), ("ended", True), ("begun", False)]

    run(scenario)


def test_a_status_keeps_what_was_said(run: Run) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        told = msgspec.structs.replace(NOW, topic="status", act="ended", detail='{"tip": "1"}')
        await store.downloads.step(MERCHANT, TERMINAL, "status", lambda _before: told)
        (kept,) = await store.downloads.of(MERCHANT, TERMINAL)
        assert kept.fact == told
        assert kept.at.tzinfo is not None

    run(scenario)


def test_processes_that_race_judge_one_after_the_other(run: Run) -> None:
    """Copies of one message, of two versions: whoever comes second sees the first."""

    async def scenario(world: World) -> None:
        stores = [await world.process() for _ in range(3)]
        acts = await asyncio.gather(
            *(does(stores[at % 3], "list", version="AB"[at % 2]) for at in range(6))
        )
        assert sorted(acts) == ["", "", "", "", "begun", "mixed"]

    run(scenario)


def test_a_purge_leaves_what_says_what_a_terminal_has(database_dsn: FreshDatabase) -> None:
    async def scenario() -> None:
        world = PostgresWorld(database_dsn)
        try:
            store = await world.process()
            for stan in range(1, 9, 2):
                await does(store, "list", stan=stan)
                await does(store, "end", stan=stan + 1)
            before = await store.downloads.of(MERCHANT, TERMINAL)
            await world.query("UPDATE switch.download SET at = at - interval '200 days'")
            async with purger(database_dsn.owner, Retention(), "node1") as purge:
                went = {each.table: each.rows for each in await purge.run() if not each.held}
            assert went["download"] == 6
            after = await store.downloads.of(MERCHANT, TERMINAL)
            assert [kept.download_id for kept in after] == [kept.download_id for kept in before]
        finally:
            await world.close()

    asyncio.run(scenario())
