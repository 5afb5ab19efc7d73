"""Two real PostgreSQL servers, a primary and its synchronous standby, on loopback ports.

They are made of the binaries that the embedded server uses: `initdb`, `pg_basebackup`, streaming
replication. Everything is written through (fsync) and confirmed by the standby before it is
committed. Their folders go when the process goes (`tests.database`).
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

import asyncpg

from switch.adapters.embedded_postgres import _create_roles_and_database
from switch.adapters.postgres_place import (
    SUPERUSER,
    _account_for_new_data,
    _binaries_for,
    settings_for,
)
from switch.adapters.schema_runner import migrate
from tests.database import temporary_folder

UP_S = 120.0
STANDBY = "standby"  # what the primary waits for


class Server:
    """One server on a folder and a port; started, killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._account = _account_for_new_data("nobody")
        self._binaries, self._version = _binaries_for(self._account, None)
        self.data = folder / "postgres" / "data"
        self.data.parent.mkdir()
        os.chown(self.data.parent, self._account.uid, self._account.gid)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    def dsn(self, role: str = SUPERUSER, database: str = "postgres") -> str:
        return f"postgresql://{role}@127.0.0.1:{self.port}/{database}?sslmode=disable"

    def initialise(self) -> None:
        self._run("initdb", "-D", self.data, f"--username={SUPERUSER}", "--auth=trust",
                  "--encoding=UTF8", "--locale=C", "--locale-provider=builtin",
                  "--builtin-locale=C.UTF-8", "--no-sync")  # fmt: skip

    def copy(self, primary: Server) -> None:
        """Become a standby of it, from its bytes."""
        at = f"host=127.0.0.1 port={primary.port} user={SUPERUSER} application_name={STANDBY}"
        self._run(
            "pg_basebackup",
            "-D",
            self.data,
            "-d",
            at,
            "-R",
            "-X",
            "stream",
            "-c",
            "fast",
            "--no-sync",
        )

    def _run(self, program: str, *words: str | Path) -> None:
        done = subprocess.run(
            [self._binaries / program, *words],
            capture_output=True,
            check=False,
            **self._account.popen_options(),
        )
        assert done.returncode == 0, done.stderr.decode()

    def start(self) -> None:
        settings = settings_for(self._version, fsync=True) | {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "logging_collector": "off",
            "max_wal_senders": "4",
        }
        words = [f"{name}={value}" for name, value in settings.items()]
        options = [word for pair in zip(["-c"] * len(words), words, strict=True) for word in pair]
        with (self.data.parent.parent / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self.data, *options],
                stdout=log,
                stderr=log,
                **self._account.popen_options(),
            )
        until = time.monotonic() + UP_S
        while True:
            with suppress(OSError, asyncpg.PostgresError):
                asyncio.run(ask(self.dsn(), "SELECT 1"))
                return
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < until, self.log()
            time.sleep(0.02)

    def log(self) -> str:
        return (self.data.parent.parent / "server.log").read_text()[-4_000:]

    def pids(self) -> list[int]:
        """The server and its children."""
        assert self.process is not None
        found = [self.process.pid]
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                if int(stat.read_text().rpartition(")")[2].split()[1]) == self.process.pid:
                    found.append(int(stat.parent.name))
        return found

    def signal(self, number: int) -> None:
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """All of its processes at once, as when its machine fails."""
        assert self.process is not None
        self.signal(signal.SIGKILL)
        self.process.wait(UP_S)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(UP_S)


class Pair:
    """`primary` and its `standby`. After `promote` the standby takes writes, the primary should not."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.primary, self.standby = (
            Server(self._stack.enter_context(temporary_folder())) for _ in range(2)
        )

    def __enter__(self) -> Self:
        try:
            self.primary.initialise()
            self.primary.start()
            asyncio.run(prepare(self.primary))
            self.standby.copy(self.primary)
            self.standby.start()
            asyncio.run(
                ask(self.primary.dsn(), f"ALTER SYSTEM SET synchronous_standby_names = '{STANDBY}'")
            )
            asyncio.run(ask(self.primary.dsn(), "SELECT pg_reload_conf()"))
            asyncio.run(until_synchronous(self.primary))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.standby.stop()
        self.primary.stop()
        self._stack.close()

    def dsn(self, role: str = "tongbao_app", more: str = "") -> str:
        """Both servers, the first primary first."""
        at = f"127.0.0.1:{self.primary.port},127.0.0.1:{self.standby.port}"
        return f"postgresql://{role}@{at}/tongbao?sslmode=disable{more}"

    def promote(self) -> None:
        asyncio.run(promote(self.standby))


async def promote(server: Server) -> None:
    """Returns when it takes writes."""
    assert (await ask(server.dsn(), "SELECT pg_promote()"))[0][0]


async def prepare(server: Server) -> None:
    """Roles, the database and its schema."""
    connection = await asyncpg.connect(server.dsn())
    await _create_roles_and_database(connection)
    await connection.close()
    await migrate(server.dsn("tongbao_owner", "tongbao"))


async def until_synchronous(server: Server) -> None:
    until_s = asyncio.get_running_loop().time() + UP_S
    while not await ask(
        server.dsn(), "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"
    ):
        assert asyncio.get_running_loop().time() < until_s, "no synchronous standby"
        await asyncio.sleep(0.02)


async def ask(dsn: str, query: str, *values: Any) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn, timeout=60.0)
    try:
        return list(await connection.fetch(query, *values))
    finally:
        await connection.close()
