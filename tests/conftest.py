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

import gc
import os
import signal
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator
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

WHOLE = 3_000  # reports, three a test: what is more is not a file or two

if room_in_memory():  # `tmp_path` too: a node's PostgreSQL is a thousand files
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def pytest_xdist_auto_num_workers() -> int:
    """`-n auto`: one more than there are cores, for a real node's day is half waiting."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_collection_finish(session: pytest.Session) -> None:
    """Groups of pytest-xdist do hold: else tests that need the machine alone run at the same time."""
    if getattr(session.config.option, "loadgroup", False):
        for item in session.items:
            for mark in item.iter_markers("xdist_group"):
                if not item.nodeid.endswith(f"@{mark.args[0]}"):
                    raise pytest.UsageError("this pytest-xdist forgets its groups: make .venv anew")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """What a failed test leaves open is its own failure, not that of whichever test collects it."""
    failed = item.session.testsfailed
    done = yield
    if item.session.testsfailed > failed and not item.config.getoption("usepdb"):
        for kept in ("last_type", "last_value", "last_traceback"):  # for whoever wants to look
            sys.__dict__.pop(kept, None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
    return done


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Where the time of a whole run went: look here before a test is added that takes seconds."""
    took_s: defaultdict[str, float] = defaultdict(float)
    reports = [one for some in terminalreporter.stats.values() for one in some]
    for one in reports:
        if isinstance(one, pytest.TestReport):
            name, _, group = one.nodeid.partition("::")
            _, at, group = group.rpartition("]")[2].rpartition("@")
            took_s[f"group {group}" if at else name] += one.duration
    if len(reports) < WHOLE:
        return
    terminalreporter.section("where the time went")
    for name, duration_s in sorted(took_s.items(), key=lambda one: -one[1])[:15]:
        terminalreporter.write_line(f"{duration_s:6.0f} s  {name}")
    terminalreporter.write_line(f"{sum(took_s.values()):6.0f} s  of all workers together")


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
