"""A PostgreSQL for tests: one a process, gone when the process is gone, however it ended.

`conftest.py` has the fixtures and says how to use them. Run as a script, this file is the watchdog:
it waits until its standard input ends, that is until the test process stopped or died, and then
ends the server and removes its folder. A pipe does what PR_SET_PDEATHSIG can not: it depends on the
process, not on the thread that started the server, survives the change of user, and cleans up.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = "tongbao_template"
WATCHDOG_TIMEOUT_S = 60.0  # a loaded machine takes seconds to begin it
MEMORY = Path("/dev/shm")
MEMORY_NEEDED = 2 << 30  # bytes that a server of tests may fill: write-ahead log, databases


class FreshDatabase(NamedTuple):
    """A database of its own for one test: how each role connects to it, with asyncpg."""

    name: str
    owner: str
    app: str
    reader: str
    superuser: str


class DatabaseServer:
    """The server, with a migrated template; `clone` and `drop` are quick."""

    def __init__(self, folder: Path) -> None:
        from switch.adapters.embedded_postgres import EmbeddedPostgres
        from switch.adapters.schema_runner import migrate

        self.postgres = EmbeddedPostgres.start(folder, fsync=False)
        try:
            self.postgres.create_database(TEMPLATE)
            asyncio.run(migrate(self.postgres.dsn("tongbao_owner", TEMPLATE)))
        except BaseException:
            self.postgres.stop()
            raise
        self._cloned = 0

    def clone(self) -> FreshDatabase:
        """Make a database with the schema of the tree and no rows but what the migrations put in."""
        self._cloned += 1
        name = f"test_{self._cloned}"
        self.postgres.create_database(name, template=TEMPLATE)
        dsns = (
            self.postgres.dsn(role, name)
            for role in ("tongbao_owner", "tongbao_app", "tongbao_reader", "postgres")
        )
        return FreshDatabase(name, *dsns)

    def drop(self, database: FreshDatabase) -> None:
        """Drop it, and the sessions that a test left in it."""
        self.postgres.drop_database(database.name)


def room_in_memory() -> bool:
    """Is there a file system in main memory, and room on it for a server of each test process?"""
    if not os.path.ismount(MEMORY):
        return False
    lines = Path("/proc/meminfo").read_text().splitlines()
    available = next(
        int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable")
    )
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", os.cpu_count() or 1))
    return min(available, shutil.disk_usage(MEMORY).free) >= MEMORY_NEEDED * processes


@contextmanager
def temporary_folder(*, in_memory: bool = False) -> Iterator[Path]:
    """A data folder that a server of the service user can reach; watched by the watchdog.

    pytest's own `tmp_path` can not be reached: its parent is 0700. `in_memory`: where there is room,
    for servers without fsync. A database is 700 files, which are most of a short test's cost on a disk.
    """
    place = MEMORY if in_memory and room_in_memory() else Path("/tmp")
    folder = Path(tempfile.mkdtemp(prefix="tongbao-test-", dir=place))
    folder.chmod(0o711)
    watchdog = subprocess.Popen(
        [sys.executable, __file__, folder],
        stdin=subprocess.PIPE,
        start_new_session=True,
        cwd="/",
    )
    assert watchdog.stdin is not None
    try:
        yield folder
    finally:
        watchdog.stdin.close()
        watchdog.wait(WATCHDOG_TIMEOUT_S * 2)


@contextmanager
def database_server() -> Iterator[DatabaseServer]:
    """Run a server until the end of the block."""
    with temporary_folder(in_memory=True) as folder:
        server = DatabaseServer(folder)
        try:
            yield server
        finally:
            server.postgres.stop()


def _clean_up(folder: Path) -> None:
    """End what still runs on `folder`, without a shutdown, and remove it."""
    postgres = folder / "postgres"
    with suppress(OSError, ValueError, IndexError):
        lines = (postgres / "data" / "postmaster.pid").read_text().splitlines()
        pid = int(lines[0])
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        if bytes(postgres / "data") in command.split(b"\0"):
            os.kill(pid, signal.SIGQUIT)
            deadline = time.monotonic() + WATCHDOG_TIMEOUT_S
            while Path(f"/proc/{pid}/cwd").exists() and time.monotonic() < deadline:
                time.sleep(0.02)
    with suppress(OSError):
        shutil.rmtree((postgres / "socket").read_text().strip())
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.stdin.buffer.read()
    _clean_up(Path(sys.argv[1]))
