"""A PostgreSQL of our own on a data folder: started, adopted while it runs, stopped by its last user.

How it works. `start` returns with a server that answers: the one that already runs on the folder,
or a new one. Every process that uses the server holds a shared lock on `users.lock`; whoever stops
and finds nobody else stops the server. So `tongbao serve` and a command beside it may begin and end
in any order, and a process that is killed lets go of its lock without being asked.

The server runs in a session of its own, so Ctrl-C does not reach it before us, and it outlives us
when we are killed. It holds `server.lock` by inheritance, as do all its children: as long as one of
them lives, in whatever PID namespace, nobody starts a second server on the folder. A server that was
started by other means is found by `postmaster.pid` and by who works in the folder (`/proc`).

Files, in `<data_dir>/postgres` unless that is out of reach (`postgres_place.py`):

    start.lock     exclusive while somebody starts or stops; always in <data_dir>/postgres
    moved-to       the pointer, if the rest lies elsewhere; always in <data_dir>/postgres
    users.lock     shared by every process that uses the server
    server.lock    held by the server and its children
    socket         the path of the socket's folder
    *.conf         written at every start; they belong to us, not to the server
    console.log    what initdb and the server said until its own log was open
    data/          PostgreSQL's data folder, with its log/

Roles: `postgres` (superuser, for what follows), `tongbao_owner` owns the database and its schemas,
`tongbao_app` is the switch and owns nothing, `tongbao_reader` reads. Who may connect is decided by
the operating system (peer): the server's user and root may be any of them, everybody else none.

Plain and blocking: it runs before the loop.
"""

import asyncio
import fcntl
import os
import re
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar
from urllib.parse import quote

import asyncpg

from switch.adapters.postgres_place import (
    APP,
    DATABASE,
    DURABILITY,
    OWNER,
    POLL_S,
    PORT,
    READER,
    SUPERUSER,
    EmbeddedPostgresError,
    Place,
    locked,
    make_folder,
    open_lock,
    prepare,
    remove_socket_dir,
    settings_for,
    write_configuration,
)

START_TIMEOUT_S = 600.0  # crash recovery of max_wal_size on a slow disk
STOP_FAST_TIMEOUT_S = 30.0  # then sessions are not waited for any more
STOP_IMMEDIATE_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 10.0
ORPHANS_TIMEOUT_S = 5.0  # sessions that outlive a killed server, before they are killed too

_T = TypeVar("_T")


class EmbeddedPostgres:
    """A server that runs, and our share in it. `start` makes one, `stop` gives it back."""

    def __init__(self, place: Place, users_lock: int, *, fsync: bool) -> None:
        self._place = place
        self._users_lock: int | None = users_lock
        self._fsync = fsync
        self._pid = 0
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(
        cls,
        data_dir: Path,
        *,
        postgres_bin: Path | None = None,
        fsync: bool = True,
        service_user: str = "nobody",
    ) -> Self:
        """Adopt the server that runs on `data_dir`, or start one; returns when it answers.

        `postgres_bin` names the folder with other binaries than the wheel's. `service_user` is whom
        the server runs as when we are root and the data is new; data that exists decides itself.
        `fsync=False` is for tests. Raises EmbeddedPostgresError.
        """
        folder = make_folder(data_dir)
        with locked(folder / "start.lock"):
            place = prepare(folder, postgres_bin, service_user, fsync=fsync)
            users_lock = open_lock(place.home / "users.lock")
            try:
                fcntl.flock(users_lock, fcntl.LOCK_SH)
                server = cls(place, users_lock, fsync=fsync)
                server._run_or_adopt()
            except BaseException:
                os.close(users_lock)
                raise
        return server

    @property
    def pid(self) -> int:
        """Process id of the server (its postmaster)."""
        return self._pid

    @property
    def socket_dir(self) -> Path:
        """The folder of the Unix socket, for `psql -h`."""
        return self._place.socket_dir()

    def dsn(self, role: str = APP, database: str = DATABASE) -> str:
        """How `role` connects; the same after every restart on this data."""
        host = quote(str(self.socket_dir), safe="")
        return f"postgresql://{role}@/{quote(database, safe='')}?host={host}&port={PORT}"

    def is_running(self) -> bool:
        """Whether the server's process lives. It may be another one than at the start."""
        return self._live_pid() is not None

    def ensure_running(self) -> bool:
        """Start the server again if it died; whether that was needed. The DSN stays the same."""
        assert self._users_lock is not None, "stopped"
        with locked(self._place.folder / "start.lock"):
            if self._live_pid() == self._pid:
                return False
            self._run_or_adopt()
        return True

    def create_database(self, name: str, *, template: str = "template0") -> None:
        """Make a database of the owner's in which only our roles may connect.

        The template's schemas and grants come along; nobody may be connected to it.
        """
        _run(self.dsn(SUPERUSER, "postgres"), lambda to: _create_database(to, name, template))

    def drop_database(self, name: str) -> None:
        """Drop a database, and the sessions in it."""
        statement = f"DROP DATABASE IF EXISTS {_identifier(name)} WITH (FORCE)"
        _run(self.dsn(SUPERUSER, "postgres"), lambda to: to.execute(statement))

    def stop(self) -> None:
        """Give the server back: stop it, unless another process uses it. Again: nothing.

        Fast shutdown (sessions end, a checkpoint is written), after a bound the immediate one.
        """
        if self._users_lock is None:
            return
        try:
            with locked(self._place.folder / "start.lock"):
                if self._is_last_user():
                    self._stop_server()
        finally:
            os.close(self._users_lock)
            self._users_lock = None
            if self._process is not None and self._process.poll() is None:
                self._process.returncode = 0  # others use it: no child to wait for any more

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # -- start

    def _run_or_adopt(self) -> None:
        while True:
            found = self._live_pid()
            adopted = None if found is None else self._adopt(found)
            if adopted is not None:
                self._pid = adopted
                self._bootstrap()
                return
            if _outwait_orphans(self._place):
                break
        _remove_stale_files(self._place)
        self._pid = self._spawn()
        try:
            self._bootstrap()
        except BaseException:
            self._stop_server()
            raise

    def _adopt(self, pid: int) -> int | None:
        """Wait until the live server `pid` answers; None if it turns out to be on its way out."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while self._live_pid() == pid:
            found = _read_pid_file(self._place.data)
            if found is not None and found.status == "ready":
                if found.socket_dir != str(self.socket_dir):
                    raise EmbeddedPostgresError(
                        f"a PostgreSQL that tongbao did not start (pid {pid}) runs on"
                        f" {self._place.data}; stop it first"
                    )
                return pid
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(
                    f"PostgreSQL (pid {pid}) on {self._place.data} runs but is not ready"
                    f" after {START_TIMEOUT_S:.0f} s"
                )
            time.sleep(POLL_S)
        return None

    def _spawn(self) -> int:
        place = self._place
        found = (place.data / "PG_VERSION").read_text(encoding="ascii").strip()
        if found != str(place.version):
            raise EmbeddedPostgresError(
                f"{place.data} is of PostgreSQL {found}, {place.binaries} is {place.version}:"
                " name binaries of the same version, or dump and restore"
            )
        write_configuration(place, fsync=self._fsync)
        settings = settings_for(place.version, fsync=self._fsync)
        # Said again where ALTER SYSTEM can not overrule it.
        durability = [item for name in DURABILITY for item in ("-c", f"{name}={settings[name]}")]
        self._reap()
        server_lock = open_lock(place.home / "server.lock")
        try:
            try:
                fcntl.flock(server_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise EmbeddedPostgresError(
                    f"processes of a former PostgreSQL still work on {place.data}"
                    " and can not be seen from here (another container?)"
                ) from None
            console_log = place.home / "console.log"
            console_log.unlink(missing_ok=True)
            with console_log.open("xb") as console:
                self._process = subprocess.Popen(  # noqa: S603 # our binary, no shell
                    [
                        place.binaries / "postgres",
                        *("-D", place.data),
                        *("-c", f"config_file={place.home / 'postgresql.conf'}"),
                        *durability,
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=console,
                    stderr=subprocess.STDOUT,
                    pass_fds=(server_lock,),
                    **place.account.popen_options(),
                )
        finally:
            os.close(server_lock)
        try:
            self._wait_until_ready(self._process)
        except BaseException:
            self._process.send_signal(signal.SIGQUIT)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_IMMEDIATE_TIMEOUT_S)
            self._process.kill()
            self._process.wait()
            raise
        return self._process.pid

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            found = _read_pid_file(self._place.data)
            if found is not None and found.pid == process.pid and found.status == "ready":
                return
            if process.poll() is not None:
                raise EmbeddedPostgresError(
                    f"PostgreSQL ended with {process.returncode} at its start:\n"
                    + _last_words(self._place)
                )
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(
                    f"PostgreSQL was not ready after {START_TIMEOUT_S:.0f} s:\n"
                    + _last_words(self._place)
                )
            time.sleep(POLL_S)

    def _bootstrap(self) -> None:
        """Roles and database, if missing; then the durability that every session really gets."""
        _run(self.dsn(SUPERUSER, "postgres"), _create_roles_and_database)
        weakened = _run(self.dsn(SUPERUSER), _weakened_durability)
        if self._fsync and weakened:
            raise EmbeddedPostgresError(
                f"PostgreSQL on {self._place.data} would not keep what it commits:"
                f" {', '.join(weakened)}. If it was left running by a test, stop it; settings of a"
                f" role or database are removed by ALTER … RESET in"
                f" {self._place.binaries / 'postgres'} --single"
            )

    # -- stop

    def _is_last_user(self) -> bool:
        assert self._users_lock is not None
        try:
            fcntl.flock(self._users_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _stop_server(self) -> None:
        for number, timeout_s in (
            (signal.SIGINT, STOP_FAST_TIMEOUT_S),
            (signal.SIGQUIT, STOP_IMMEDIATE_TIMEOUT_S),
            (signal.SIGKILL, STOP_IMMEDIATE_TIMEOUT_S),
        ):
            pid = self._live_pid()
            if pid is None:
                break
            with suppress(ProcessLookupError):
                os.kill(pid, number)
            deadline = time.monotonic() + timeout_s
            while self._live_pid() == pid and time.monotonic() < deadline:
                time.sleep(POLL_S)
        if self._live_pid() is not None:
            raise EmbeddedPostgresError(f"PostgreSQL on {self._place.data} can not be stopped")
        self._reap()
        _outwait_orphans(self._place)
        remove_socket_dir(self._place)

    def _reap(self) -> None:
        """Take note of the end of our child, if the server was one, now that it is dead or dying."""
        if self._process is not None:
            self._process.wait(STOP_IMMEDIATE_TIMEOUT_S)
            self._process = None

    def _live_pid(self) -> int | None:
        if self._process is not None:
            self._process.poll()  # our own dead child is reaped
        return _live_postmaster(self._place)


def attach_or_start(
    data_dir: Path, *, postgres_bin: Path | None = None, fsync: bool = True
) -> EmbeddedPostgres:
    """For commands: `with attach_or_start(data_dir) as server:`.

    The same as `start`, because the last user stops the server: beside a running `tongbao serve`
    the command attaches and leaves, alone it starts one and stops it.
    """
    return EmbeddedPostgres.start(data_dir, postgres_bin=postgres_bin, fsync=fsync)


# -- who lives ----------------------------------------------------------------------------------


class _PidFile(NamedTuple):
    pid: int
    socket_dir: str
    status: str


def _read_pid_file(data: Path) -> _PidFile | None:
    """`postmaster.pid`: one item a line; the first is the process, 5 the socket, 8 the status."""
    try:
        lines = (data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        pid = int(lines[0])
    except (FileNotFoundError, IndexError, ValueError):
        return None
    lines += [""] * 8
    return _PidFile(pid, lines[4].strip(), lines[7].strip())


def _live_postmaster(place: Place) -> int | None:
    """The server's process id, if that process lives, is the server user's, and works in the data.

    A zombie is dead. A number that another program got since is not the server.
    """
    found = _read_pid_file(place.data)
    if found is None or found.pid <= 1:
        return None
    return found.pid if _works_in(found.pid, place) else None


def _works_in(pid: int, place: Place) -> bool:
    proc = Path("/proc") / str(pid)
    if not Path("/proc/self").exists():  # no Linux: the number is all there is
        try:
            os.kill(pid, 0)
        except OSError:
            return False
        return True
    try:
        status = (proc / "status").read_text(encoding="utf-8", errors="replace")
        state = re.search(r"^State:\s*(\S)", status, re.MULTILINE)
        owner = re.search(r"^Uid:\s*\d+\s+(\d+)", status, re.MULTILINE)
        if state is None or state[1] in "ZX" or owner is None:
            return False
        if int(owner[1]) != place.account.uid:
            return False
        try:
            return (proc / "cwd").samefile(place.data)
        except PermissionError:  # root in a container without CAP_SYS_PTRACE
            words = (proc / "cmdline").read_bytes()
            return bytes(place.data) in words.split(b"\0") or words.startswith(
                f"postgres: {place.cluster_name}:".encode()
            )
    except (FileNotFoundError, ProcessLookupError):
        return False


def _workers(place: Place) -> list[int]:
    """Every process that works in the data folder."""
    if not Path("/proc/self").exists():
        return []
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())
    return [pid for pid in pids if _works_in(pid, place)]


def _outwait_orphans(place: Place) -> bool:
    """Wait until nobody works in the data; False if a server turns up there meanwhile.

    Sessions of a server that was killed end by themselves, or are ended: nobody hears them.
    """
    deadline = time.monotonic() + ORPHANS_TIMEOUT_S
    while workers := _workers(place):
        if _live_postmaster(place) is not None:
            return False
        if time.monotonic() > deadline + ORPHANS_TIMEOUT_S:
            raise EmbeddedPostgresError(f"processes {workers} work on {place.data} and do not end")
        if time.monotonic() > deadline:
            for pid in workers:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(POLL_S)
    return _live_postmaster(place) is None


def _remove_stale_files(place: Place) -> None:
    """What a killed server left, once nobody works there: PostgreSQL itself takes zombies and
    numbers that were given again for a live server, and refuses to start.
    """
    assert not _workers(place)
    lock = open_lock(place.home / "server.lock")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return  # `_spawn` says so
    else:
        for path in (
            place.data / "postmaster.pid",
            place.socket_dir() / f".s.PGSQL.{PORT}",
            place.socket_dir() / f".s.PGSQL.{PORT}.lock",
        ):
            path.unlink(missing_ok=True)
    finally:
        os.close(lock)


def _last_words(place: Place) -> str:
    """The end of what the server said, for an error message. Its log holds no rows or statements."""
    logs = sorted((place.data / "log").glob("*.log"), key=lambda path: path.stat().st_mtime)
    words = b"".join(path.read_bytes()[-2000:] for path in (place.home / "console.log", *logs[-1:]))
    return words.decode(errors="replace").strip()


# -- inside the database ------------------------------------------------------------------------


def _run(dsn: str, statements: Callable[[Any], Awaitable[_T]]) -> _T:
    """Run `statements` on a connection of its own."""

    async def run() -> _T:
        connection = await _connect(dsn)
        try:
            return await statements(connection)
        finally:
            await connection.close()

    return asyncio.run(run())


async def _connect(dsn: str) -> Any:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            return await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S)
        except asyncpg.CannotConnectNowError:  # it recovers, because a session of its crashed
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(POLL_S)


async def _create_roles_and_database(connection: Any) -> None:
    present = {row["rolname"] for row in await connection.fetch("SELECT rolname FROM pg_roles")}
    for role in (OWNER, APP, READER):
        if role not in present:
            await connection.execute(f"CREATE ROLE {role} LOGIN")
    await connection.execute(f"ALTER ROLE {READER} SET default_transaction_read_only = on")
    if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
        await _create_database(connection, DATABASE, "template0")


async def _create_database(connection: Any, name: str, template: str) -> None:
    database = _identifier(name)
    # nobody writes to a template of ours: its files are copied, half the work of logging each block
    how = "wal_log" if template == "template0" else "file_copy"
    await connection.execute(
        f"CREATE DATABASE {database} TEMPLATE {_identifier(template)} OWNER {OWNER} STRATEGY {how}"
    )
    await connection.execute(f"REVOKE ALL ON DATABASE {database} FROM PUBLIC")
    await connection.execute(f"GRANT CONNECT ON DATABASE {database} TO {APP}, {READER}")


async def _weakened_durability(connection: Any) -> list[str]:
    """Each setting that is not on, for all sessions or for those of some role or database."""
    weakened = []
    for name in DURABILITY:
        value = await connection.fetchval(f"SHOW {name}")
        if value != "on":
            weakened.append(f"{name} is {value}")
    overrides = await connection.fetch(
        "SELECT setconfig, coalesce(rolname, 'all roles') AS role, coalesce(datname, 'all') AS db"
        " FROM pg_db_role_setting LEFT JOIN pg_roles r ON r.oid = setrole"
        " LEFT JOIN pg_database d ON d.oid = setdatabase ORDER BY role, db"
    )
    for row in overrides:
        for setting in row["setconfig"]:
            name, _, value = setting.partition("=")
            if name in DURABILITY and value != "on":
                weakened.append(f"{name} is {value} for {row['role']} in database {row['db']}")
    return weakened


def _identifier(name: str) -> str:
    assert re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", name), name
    return f'"{name}"'
