"""Goal: the database fixtures give what `tests/conftest.py` promises. Method: use them."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from switch.adapters.schema_runner import find_migrations
from tests.database import ROOT, FreshDatabase


@pytest.mark.parametrize("attempt", [1, 2])
def test_each_test_has_a_migrated_database_without_the_rows_of_another(
    database_dsn: FreshDatabase, attempt: int
) -> None:
    async def scenario() -> None:
        connection = await asyncpg.connect(database_dsn.owner)
        applied = await connection.fetchval("SELECT count(*) FROM schema_runner.applied")
        assert applied == len(find_migrations())
        await connection.execute("CREATE TABLE public.mark (x int)")  # refused if there already
        await connection.close()

    asyncio.run(scenario())


def test_databases_are_apart(fresh_database: Callable[[], FreshDatabase]) -> None:
    async def scenario() -> None:
        first = await asyncpg.connect(fresh_database_dsns[0].app)
        second = await asyncpg.connect(fresh_database_dsns[1].app)
        names = [await c.fetchval("SELECT current_database()") for c in (first, second)]
        assert names[0] != names[1]
        await first.close()  # the second stays open, and is ended by the fixture
        assert await second.fetchval("SELECT current_user") == "tongbao_app"
        second.terminate()

    fresh_database_dsns = [fresh_database(), fresh_database()]
    asyncio.run(scenario())


def test_server_and_folder_go_when_the_test_process_is_killed() -> None:
    script = (
        "from tests.database import database_server\n"
        "with database_server() as server:\n"
        "    print(server.postgres.pid, server.postgres._place.home, server.postgres.socket_dir,"
        " flush=True)\n"
        "    import time; time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        pid, *folders = child.stdout.readline().split()
        os.kill(child.pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    left = [Path(f"/proc/{int(pid)}/cwd"), *(Path(os.fsdecode(folder)) for folder in folders)]
    while any(os.path.lexists(path) for path in left) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not [path for path in left if os.path.lexists(path)]
