"""Fixtures that every test may use.

A database for a test:

    def test_something(database_dsn: FreshDatabase) -> None:
        async def scenario() -> None:
            connection = await asyncpg.connect(database_dsn.app)
            ...
        asyncio.run(scenario())

`database_dsn` is a database of this test alone, on a real PostgreSQL, migrated to the schema of the
tree; it is dropped afterwards, sessions that are still open included. It has `.app` (what the switch
connects as), `.owner` (owns the schemas), `.reader`, `.superuser` and `.name`. `fresh_database()`
makes more of them in one test.

The server starts when the first test asks for it, one for each process of pytest-xdist, and runs
without fsync: it survives a killed process, not a power cut. It is shared, so a test that kills or
stops PostgreSQL starts its own in `data_folder` with `EmbeddedPostgres.start(data_folder)`, and with
fsync where durability is what it tests. Works as root (the server runs as nobody) and as anybody.
"""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.database import (
    MEMORY,
    DatabaseServer,
    FreshDatabase,
    database_server,
    room_in_memory,
    temporary_folder,
)
from tests.depth import DEPTH

# Every run draws the same examples, so that none fails by chance; a deep one draws others each time.
# How long an example takes is the machine's affair.
settings.register_profile(
    "tongbao",
    deadline=None,
    derandomize=DEPTH == 1,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tongbao")

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # as `make test &` has it; children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

if room_in_memory():  # `tmp_path` too: a node's PostgreSQL is a thousand files
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Groups of pytest-xdist do hold: else tests that need the machine alone run at the same time."""
    if getattr(session.config.option, "loadgroup", False):
        for item in session.items:
            for mark in item.iter_markers("xdist_group"):
                if not item.nodeid.endswith(f"@{mark.args[0]}"):
                    raise pytest.UsageError("this pytest-xdist forgets its groups: make .venv anew")


@pytest.fixture(scope="session")
def _database_server() -> Iterator[DatabaseServer]:
    with database_server() as server:
        yield server


@pytest.fixture
def fresh_database(_database_server: DatabaseServer) -> Iterator[Callable[[], FreshDatabase]]:
    """A function that makes a fresh database at every call; all are dropped after the test."""
    made: list[FreshDatabase] = []

    def make() -> FreshDatabase:
        made.append(_database_server.clone())
        return made[-1]

    yield make
    for database in made:
        _database_server.drop(database)


@pytest.fixture
def database_dsn(fresh_database: Callable[[], FreshDatabase]) -> FreshDatabase:
    """A fresh database of this test."""
    return fresh_database()


@pytest.fixture
def data_folder() -> Iterator[Path]:
    """A folder for a PostgreSQL of this test's own; what runs on it is killed afterwards."""
    with temporary_folder() as folder:
        yield folder
