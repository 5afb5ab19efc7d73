"""Every test here runs against every store."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.worlds import MemoryWorld, PostgresWorld, World

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    Scenario = Callable[[World], Coroutine[Any, Any, None]]


@pytest.fixture(params=["memory", "postgres"])
def run(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Scenario], None]:
    """Runs a scenario in a fresh world, whose store is not taken for away where the machine is slow."""
    monkeypatch.setattr("switch.adapters.postgres.writer.HUNG_AFTER_S", 60.0)
    # only PostgreSQL's runs start a server
    database = request.getfixturevalue("database_dsn") if request.param == "postgres" else None

    def runner(scenario: Scenario) -> None:
        async def main() -> None:
            world: World = MemoryWorld() if database is None else PostgresWorld(database)
            try:
                await scenario(world)
            finally:
                await world.close()

        asyncio.run(main())

    return runner
