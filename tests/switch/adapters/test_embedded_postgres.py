"""Goal: the embedded PostgreSQL keeps what was committed, and never runs twice on one folder.

Method: real servers in folders of their own; kill -9 of the server, of a session, of the process
that started it; forged and stale files; starters that race; other users, by fork and setuid, where
the tests run as root. Without fsync but where the settings themselves are tested: killed processes
do not need it.
"""

import asyncio
import multiprocessing
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from switch.adapters import embedded_postgres, postgres_place
from switch.adapters.embedded_postgres import EmbeddedPostgres, attach_or_start
from switch.adapters.postgres_place import (
    SETTINGS,
    SOCKET_PATH_BYTES_MAX,
    Account,
    EmbeddedPostgresError,
    find_binaries,
)
from tests.database import ROOT, temporary_folder

AS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not AS_ROOT, reason="needs root: starts servers as other users")


def query(dsn: str, *statements: str) -> Any:
    """Run the statements; the single value of the last one."""

    async def run() -> Any:
        connection = await asyncpg.connect(dsn)
        try:
            for statement in statements[:-1]:
                await connection.execute(statement)
            return await connection.fetchval(statements[-1])
        finally:
            await connection.close()

    return asyncio.run(run())


def kill_and_wait(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: state_of(pid) in ("Z", None))


def wait_until(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def state_of(pid: int) -> str | None:
    """The letter of /proc, or None."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def pid_file(folder: Path) -> Path:
    return folder / "postgres" / "data" / "postmaster.pid"


# -- what a server is like


@pytest.fixture(scope="module")
def safe() -> Iterator[EmbeddedPostgres]:
    """A server as `tongbao serve` has it, fsync on."""
    with temporary_folder() as folder, EmbeddedPostgres.start(folder) as server:
        yield server


def test_what_is_committed_is_durable(safe: EmbeddedPostgres) -> None:
    for role in ("tongbao_app", "tongbao_owner"):
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            assert query(safe.dsn(role), f"SHOW {setting}") == "on"


def test_every_setting_is_in_force(safe: EmbeddedPostgres) -> None:
    for name, value in SETTINGS.items():
        assert query(safe.dsn("postgres"), f"SHOW {name}") == value


def test_text_is_ordered_by_code_point(safe: EmbeddedPostgres) -> None:
    ordered = "SELECT string_agg(x, '' ORDER BY x) FROM unnest(ARRAY['a', 'é', 'B', '通']) x"
    assert query(safe.dsn(), ordered) == "Baé通"
    assert query(safe.dsn(), "SHOW server_encoding") == "UTF8"
    if query(safe.dsn(), "SHOW server_version_num") >= "170000":
        provider = (
            "SELECT datlocprovider::text || datlocale FROM pg_database WHERE datname = 'tongbao'"
        )
        assert query(safe.dsn("postgres"), provider) == "bC.UTF-8"


def test_nothing_listens_but_a_socket_of_the_servers_user(safe: EmbeddedPostgres) -> None:
    assert query(safe.dsn("postgres"), "SHOW listen_addresses") == ""
    folder = safe.socket_dir.lstat()
    assert folder.st_mode & 0o777 == 0o700
    assert folder.st_uid == Path(f"/proc/{safe.pid}").stat().st_uid
    assert (folder.st_uid == 0) is False
    kinds = query(
        safe.dsn("postgres"), "SELECT string_agg(DISTINCT auth_method, ',') FROM pg_hba_file_rules"
    )
    assert kinds == "peer"


def test_roles_have_no_more_than_they_need(safe: EmbeddedPostgres) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        query(safe.dsn("tongbao_app"), "CREATE TABLE public.x (a int)")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        query(safe.dsn("tongbao_app"), "CREATE TEMP TABLE x (a int)")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        query(safe.dsn("tongbao_app"), "CREATE SCHEMA x")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        query(safe.dsn("tongbao_app"), "SET ROLE tongbao_owner")
    assert query(safe.dsn("tongbao_reader"), "SHOW default_transaction_read_only") == "on"
    attributes = (
        "SELECT bool_or(rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls)"
        " FROM pg_roles WHERE rolname LIKE 'tongbao_%'"
    )
    assert query(safe.dsn(), attributes) is False
    owns = (
        "SELECT count(*) FROM pg_shdepend WHERE refobjid = 'tongbao_app'::regrole AND deptype = 'o'"
    )
    assert query(safe.dsn("postgres"), owns) == 0


def test_the_log_holds_no_rows_and_no_statements(safe: EmbeddedPostgres) -> None:
    pan = "6222020000000000001"
    with pytest.raises(asyncpg.UniqueViolationError, match="duplicate key"):
        query(
            safe.dsn("tongbao_owner"),
            "CREATE TABLE canary (pan text PRIMARY KEY)",
            f"INSERT INTO canary VALUES ('{pan}')",
            f"INSERT INTO canary VALUES ('{pan}')",
        )

    def log() -> bytes:
        return b"".join(p.read_bytes() for p in (safe._place.data / "log").iterdir())

    until_s = time.monotonic() + 60.0
    while b"duplicate key" not in log():  # a process of its own writes it, after the answer
        assert time.monotonic() < until_s
        time.sleep(0.02)
    assert pan.encode() not in log()


@needs_root
def test_another_user_may_not_connect(safe: EmbeddedPostgres) -> None:
    safe.socket_dir.chmod(0o711)  # even if the folder let them through
    path = safe.socket_dir / ".s.PGSQL.5432"
    path.chmod(0o777)
    try:

        async def connect() -> None:
            with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError, match="eer"):
                await asyncpg.connect(safe.dsn())

        as_user("daemon", lambda: asyncio.run(connect()))
    finally:
        path.chmod(0o700)
        safe.socket_dir.chmod(0o700)


# -- life and death


def test_start_stop_start_keeps_data_and_dsn(data_folder: Path) -> None:
    with EmbeddedPostgres.start(data_folder, fsync=False) as server:
        dsn, pid, folder = server.dsn("tongbao_owner"), server.pid, server.socket_dir
        query(dsn, "CREATE TABLE kept AS SELECT 1 AS x", "SELECT 1")
        assert server.is_running()
        assert not server.ensure_running()
    server.stop()  # again: nothing
    assert state_of(pid) is None
    assert not folder.exists()
    assert not pid_file(data_folder).exists()
    with EmbeddedPostgres.start(data_folder, fsync=False) as server:
        assert server.dsn("tongbao_owner") == dsn
        assert query(dsn, "SELECT x FROM kept") == 1


def test_killed_server_under_load_keeps_every_acknowledged_row(data_folder: Path) -> None:
    async def write_until_killed(dsn: str, pid: int) -> int:
        connection = await asyncpg.connect(dsn)
        await connection.execute("CREATE TABLE kept (x int)")
        acknowledged = 0
        with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            while True:
                await connection.execute("INSERT INTO kept VALUES ($1)", acknowledged)
                acknowledged += 1
                if acknowledged == 200:
                    for process in (pid, *children_of(pid)):
                        os.kill(process, signal.SIGKILL)
        connection.terminate()
        return acknowledged

    with EmbeddedPostgres.start(data_folder) as server:
        dsn = server.dsn("tongbao_owner")
        acknowledged = asyncio.run(write_until_killed(dsn, server.pid))
        assert acknowledged >= 200
        wait_until(lambda: not server.is_running())
        assert server.ensure_running()
        assert server.dsn("tongbao_owner") == dsn
        kept = query(dsn, "SELECT count(*) FROM kept")
        assert kept in (acknowledged, acknowledged + 1)


def test_server_recovers_by_itself_from_a_killed_session(data_folder: Path) -> None:
    async def kill_own_session() -> None:
        connection = await asyncpg.connect(server.dsn())
        os.kill(await connection.fetchval("SELECT pg_backend_pid()"), signal.SIGKILL)
        connection.terminate()

    with EmbeddedPostgres.start(data_folder, fsync=False) as server:
        asyncio.run(kill_own_session())
        with EmbeddedPostgres.start(data_folder, fsync=False) as other:  # waits for the recovery
            assert other.pid == server.pid
            assert query(other.dsn(), "SELECT 1") == 1


def test_zombie_is_no_server(data_folder: Path) -> None:
    first = EmbeddedPostgres.start(data_folder, fsync=False)
    kill_and_wait(first.pid)
    assert state_of(first.pid) == "Z"  # we are its parent and have not looked
    assert pid_file(data_folder).exists()
    with EmbeddedPostgres.start(data_folder, fsync=False) as second:
        assert second.pid != first.pid
        assert state_of(first.pid) == "Z"
        first.stop()  # the second is in use
        assert query(second.dsn(), "SELECT 1") == 1


def test_number_given_to_another_program_is_no_server(data_folder: Path) -> None:
    with EmbeddedPostgres.start(data_folder, fsync=False) as server:
        account = server._place.account
        kill_and_wait(server.pid)
        lines = pid_file(data_folder).read_text().splitlines()
        with subprocess.Popen(("sleep", "60"), **account.popen_options()) as stranger:
            stale = "\n".join([str(stranger.pid), *lines[1:]]) + "\n"
            pid_file(data_folder).write_text(stale)
            lock = server.socket_dir / ".s.PGSQL.5432.lock"
            lock.write_text(f"{stranger.pid}\n")
            assert not server.is_running()
            assert server.ensure_running()
            assert query(server.dsn(), "SELECT 1") == 1
            assert stranger.poll() is None, "a stranger was killed"
            stranger.kill()


def test_nonsense_in_the_pid_file_is_no_server(data_folder: Path) -> None:
    for content in ("", "\n", "x\n", "0\n", "-1\n", "1\n", "999999999\n"):
        with EmbeddedPostgres.start(data_folder, fsync=False) as server:
            assert query(server.dsn(), "SELECT 1") == 1
        pid_file(data_folder).write_text(content)


def test_sessions_of_a_killed_server_are_outwaited_or_ended(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_postgres, "ORPHANS_TIMEOUT_S", 0.3)

    async def leave_a_busy_session(dsn: str) -> int:
        connection = await asyncpg.connect(dsn)
        session: int = await connection.fetchval("SELECT pg_backend_pid()")
        busy = asyncio.create_task(connection.execute("DO $$ BEGIN LOOP END LOOP; END $$"))
        await asyncio.sleep(0.1)
        busy.cancel()
        connection.terminate()
        return session

    with EmbeddedPostgres.start(data_folder, fsync=False) as server:
        session = asyncio.run(leave_a_busy_session(server.dsn()))
        os.kill(session, signal.SIGSTOP)  # it can not notice by itself
        kill_and_wait(server.pid)
        assert state_of(session) == "T"
        assert server.ensure_running()
        assert state_of(session) in ("Z", None)
        assert query(server.dsn(), "SELECT 1") == 1


def test_a_server_that_can_not_be_seen_is_not_joined_by_another(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in another PID namespace: only the inherited lock tells."""
    with EmbeddedPostgres.start(data_folder, fsync=False) as server:
        with monkeypatch.context() as patch:
            patch.setattr(embedded_postgres, "_works_in", lambda pid, place: False)
            with pytest.raises(EmbeddedPostgresError, match="can not be seen"):
                EmbeddedPostgres.start(data_folder, fsync=False)
        assert query(server.dsn(), "SELECT 1") == 1
        assert pid_file(data_folder).exists()


# -- several users of one server


def test_the_last_user_stops_the_server(data_folder: Path) -> None:
    serve = EmbeddedPostgres.start(data_folder, fsync=False)
    with attach_or_start(data_folder, fsync=False) as command:
        assert command.pid == serve.pid
    assert state_of(serve.pid) not in ("Z", None)
    command = attach_or_start(data_folder, fsync=False)
    serve.stop()
    assert query(command.dsn(), "SELECT 1") == 1
    command.stop()
    assert state_of(command.pid) in ("Z", None)


def test_server_of_a_killed_process_is_adopted(data_folder: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path\n"
        "from switch.adapters.embedded_postgres import EmbeddedPostgres\n"
        "print(EmbeddedPostgres.start(Path(sys.argv[1]), fsync=False).pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    command: list[str | Path] = [sys.executable, "-c", script, data_folder]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        pid = int(child.stdout.readline())
        child.kill()
    with EmbeddedPostgres.start(data_folder, fsync=False) as server:
        assert server.pid == pid
        assert query(server.dsn(), "SELECT 1") == 1
    assert state_of(pid) in ("Z", None)


def test_starters_that_race_share_one_server(data_folder: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from switch.adapters.embedded_postgres import EmbeddedPostgres\n"
        "print('imported', flush=True); sys.stdin.readline()\n"
        "with EmbeddedPostgres.start(Path(sys.argv[1]), fsync=False) as server:\n"
        "    print(server.pid, flush=True); sys.stdin.readline()\n"
    )
    command: list[str | Path] = [sys.executable, "-c", script, data_folder]
    with ExitStack() as stack:
        racers = [
            stack.enter_context(
                subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            )
            for _ in range(3)
        ]

        def hear() -> set[bytes]:
            return {racer.stdout.readline().strip() for racer in racers if racer.stdout}

        def say_go() -> None:
            for racer in racers:
                assert racer.stdin is not None
                racer.stdin.write(b"\n")
                racer.stdin.flush()

        assert hear() == {b"imported"}
        say_go()
        pids = hear()
        say_go()
        assert [racer.wait(120) for racer in racers] == [0, 0, 0]
    assert len(pids) == 1
    assert state_of(int(pids.pop())) in ("Z", None)
    assert not pid_file(data_folder).exists()


# -- stopping


def test_open_sessions_do_not_delay_the_stop(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_postgres, "STOP_FAST_TIMEOUT_S", 300.0)

    async def stop_beside_a_session() -> float:
        connection = await asyncpg.connect(server.dsn())
        await connection.execute("BEGIN")
        began = time.monotonic()
        await asyncio.to_thread(server.stop)
        connection.terminate()
        return time.monotonic() - began

    server = EmbeddedPostgres.start(data_folder, fsync=False)
    assert asyncio.run(stop_beside_a_session()) < embedded_postgres.STOP_FAST_TIMEOUT_S / 2


def test_a_session_that_hangs_is_not_waited_for(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_postgres, "STOP_FAST_TIMEOUT_S", 0.3)

    async def hang() -> None:
        connection = await asyncpg.connect(server.dsn())
        os.kill(await connection.fetchval("SELECT pg_backend_pid()"), signal.SIGSTOP)
        connection.terminate()

    server = EmbeddedPostgres.start(data_folder, fsync=False)
    asyncio.run(hang())
    server.stop()
    assert state_of(server.pid) in ("Z", None)
    with EmbeddedPostgres.start(data_folder, fsync=False) as server:
        assert query(server.dsn(), "SELECT 1") == 1


# -- what is refused


def test_durability_can_not_be_switched_off_behind_our_back(data_folder: Path) -> None:
    with EmbeddedPostgres.start(data_folder) as server:
        query(server.dsn("postgres"), "ALTER SYSTEM SET fsync = off", "SELECT 1")
    with EmbeddedPostgres.start(data_folder) as server:  # ours counts more
        assert query(server.dsn(), "SHOW fsync") == "on"
        query(
            server.dsn("postgres"),
            "ALTER ROLE tongbao_app IN DATABASE tongbao SET synchronous_commit = off",
            "SELECT 1",
        )
    with pytest.raises(EmbeddedPostgresError, match="synchronous_commit is off for tongbao_app"):
        EmbeddedPostgres.start(data_folder)
    assert not pid_file(data_folder).exists()


def test_server_without_fsync_is_not_adopted_for_real_work(data_folder: Path) -> None:
    with EmbeddedPostgres.start(data_folder, fsync=False) as server:
        with pytest.raises(EmbeddedPostgresError, match="fsync is off"):
            EmbeddedPostgres.start(data_folder)
        assert query(server.dsn(), "SELECT 1") == 1


def test_server_started_by_hand_is_not_adopted(data_folder: Path) -> None:
    with EmbeddedPostgres.start(data_folder, fsync=False) as server:
        place = server._place
    command: list[str | Path] = [
        place.binaries / "postgres",
        "-D",
        place.data,
        "-k",
        "",
        "-h",
        "127.0.0.1",
    ]
    command += ["-p", str(free_port())]
    options = place.account.popen_options()
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, **options) as by_hand:
        wait_until(pid_file(data_folder).exists)
        wait_until(lambda: "ready" in pid_file(data_folder).read_text())
        with pytest.raises(EmbeddedPostgresError, match="did not start"):
            EmbeddedPostgres.start(data_folder, fsync=False)
        by_hand.send_signal(signal.SIGINT)


def test_data_of_another_version_is_refused(data_folder: Path) -> None:
    with EmbeddedPostgres.start(data_folder, fsync=False) as server:
        version = server._place.data / "PG_VERSION"
    version.write_text("16\n")
    with pytest.raises(EmbeddedPostgresError, match="is of PostgreSQL 16"):
        EmbeddedPostgres.start(data_folder, fsync=False)


def test_broken_data_says_what_the_server_said(data_folder: Path) -> None:
    with EmbeddedPostgres.start(data_folder, fsync=False) as server:
        control = server._place.data / "global" / "pg_control"
    control.write_bytes(bytes(8192))
    with pytest.raises(EmbeddedPostgresError, match=r"(?s)at its start:.*FATAL"):
        EmbeddedPostgres.start(data_folder, fsync=False)


def test_missing_binaries_are_named(data_folder: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match=f"no postgres in {data_folder}"):
        EmbeddedPostgres.start(data_folder, postgres_bin=data_folder)


# -- places and users


def test_long_path_is_no_matter_for_the_socket(data_folder: Path) -> None:
    deep = data_folder / ("d" * 120) / ("it's a \\ 通宝 folder " * 3)
    deep.mkdir(parents=True)
    deep.parent.chmod(0o755)
    deep.chmod(0o755)
    with EmbeddedPostgres.start(deep, fsync=False) as server:
        assert len(bytes(server.socket_dir / ".s.PGSQL.5432")) <= SOCKET_PATH_BYTES_MAX
        assert query(server.dsn(), "SELECT 1") == 1


def test_initialisation_cut_short_begins_anew(data_folder: Path) -> None:
    half = data_folder / "postgres" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres.start(data_folder, fsync=False) as server:
        assert query(server.dsn(), "SELECT 1") == 1
    assert not half.exists()


def test_socket_folder_that_is_not_ours_is_not_used(data_folder: Path) -> None:
    with EmbeddedPostgres.start(data_folder, fsync=False) as server:
        former = server.socket_dir
    former.mkdir(mode=0o777)
    former.chmod(0o777)
    try:
        with EmbeddedPostgres.start(data_folder, fsync=False) as server:
            assert server.socket_dir != former
            assert query(server.dsn(), "SELECT 1") == 1
    finally:
        former.rmdir()


def test_folder_that_is_not_ours_is_refused_with_its_owner() -> None:
    def start() -> None:
        with pytest.raises(EmbeddedPostgresError, match=r"not writable for .*belongs to root"):
            EmbeddedPostgres.start(Path("/usr"))

    if AS_ROOT:
        as_user("daemon", start)
    else:
        start()


@needs_root
def test_data_of_another_user_is_refused(data_folder: Path) -> None:
    with EmbeddedPostgres.start(data_folder, fsync=False):
        pass
    (data_folder / "postgres").chmod(0o777)

    def start() -> None:
        with pytest.raises(EmbeddedPostgresError, match=r"belongs to (root|nobody)"):
            EmbeddedPostgres.start(data_folder, fsync=False)

    as_user("daemon", start)


@needs_root
def test_ordinary_user_has_the_same_and_root_may_help(data_folder: Path) -> None:
    mine = data_folder / "mine"
    mine.mkdir()
    user = pwd.getpwnam("daemon")
    os.chown(mine, user.pw_uid, user.pw_gid)
    account = Account(user.pw_name, user.pw_uid, user.pw_gid)
    binaries, _ = postgres_place._binaries_for(account, None)

    def work() -> None:
        with EmbeddedPostgres.start(mine, fsync=False, postgres_bin=binaries) as server:
            assert Path(f"/proc/{server.pid}").stat().st_uid == user.pw_uid
            statement = "INSERT INTO public.work VALUES (1) RETURNING x"
            query(
                server.dsn("tongbao_owner"),
                "CREATE TABLE IF NOT EXISTS public.work (x int)",
                statement,
            )
            kill_and_wait(server.pid)
            assert server.ensure_running()
            assert query(server.dsn("tongbao_owner"), "SELECT count(*) >= 1 FROM public.work")

    as_user("daemon", work)
    with EmbeddedPostgres.start(mine, fsync=False) as server:  # as root: the data's owner runs it
        assert Path(f"/proc/{server.pid}").stat().st_uid == user.pw_uid
        assert query(server.dsn("tongbao_owner"), "SELECT count(*) FROM public.work") == 1
    as_user("daemon", work)


@needs_root
def test_root_moves_what_the_service_user_can_not_reach(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root_of_moved = data_folder / "var-lib-tongbao"
    monkeypatch.setattr(postgres_place, "RELOCATION_ROOT", root_of_moved)
    private = data_folder / "private"
    private.mkdir(mode=0o700)
    binaries = find_binaries(None)
    package, site = binaries.parent.parent, binaries.parent.parent.parent
    shutil.copytree(binaries.parent, private / package.name / "pginstall18")
    shutil.copytree(site / f"{package.name}.libs", private / f"{package.name}.libs")
    unreachable = private / package.name / "pginstall18" / "bin"
    monkeypatch.setattr(postgres_place, "find_binaries", lambda _: unreachable)
    data = private / "var"
    with EmbeddedPostgres.start(data, fsync=False) as server:
        query(server.dsn("tongbao_owner"), "CREATE TABLE kept (x int)", "SELECT 1")
        pointer = (data / "postgres" / "moved-to").read_text().strip()
        assert Path(pointer).parent == root_of_moved
        executable = Path(f"/proc/{server.pid}/exe").resolve()
        assert executable.is_relative_to(root_of_moved)
    for attempt in ("again", "reachable meanwhile"):
        with EmbeddedPostgres.start(data, fsync=False) as server:
            assert query(server.dsn("tongbao_owner"), "SELECT count(*) FROM kept") == 0, attempt
        private.chmod(0o755)
    private.chmod(0o700)

    # The data is gone: not silently an empty database.
    home = Path(pointer)
    home.rename(home.with_name("mislaid"))
    with pytest.raises(EmbeddedPostgresError, match="gone or out of reach"):
        EmbeddedPostgres.start(data, fsync=False)
    home.with_name("mislaid").rename(home)

    # A data folder that was removed and made anew begins anew; the former data is set aside.
    shutil.rmtree(data)
    with EmbeddedPostgres.start(data, fsync=False) as server:
        assert query(server.dsn("tongbao_owner"), "SELECT to_regclass('kept')") is None
    assert (home.with_name(home.name + ".former") / "data").is_dir()


@needs_root
def test_data_that_went_out_of_reach_is_refused(data_folder: Path) -> None:
    data = data_folder / "var"
    with EmbeddedPostgres.start(data, fsync=False):
        pass
    data.chmod(0o700)
    with pytest.raises(EmbeddedPostgresError, match="can not reach it any more"):
        EmbeddedPostgres.start(data, fsync=False)


@needs_root
def test_without_the_right_to_look_into_processes(data_folder: Path) -> None:
    """Root in a container has no CAP_SYS_PTRACE: `/proc/*/cwd` of the server can not be read."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("no setpriv")
    script = (
        "import os, signal, sys, time; from pathlib import Path\n"
        "from switch.adapters.embedded_postgres import EmbeddedPostgres\n"
        "start = lambda: EmbeddedPostgres.start(Path(sys.argv[1]), fsync=False)\n"
        "with start() as server, start() as again:\n"
        "    assert server.pid == again.pid\n"
        "    try: os.readlink(f'/proc/{server.pid}/cwd')\n"
        "    except PermissionError: pass\n"
        "    else: raise AssertionError('may look')\n"
        "    os.kill(server.pid, signal.SIGKILL)\n"
        "    stat = Path(f'/proc/{server.pid}/stat')\n"
        "    while stat.exists() and stat.read_text().rpartition(')')[2].split()[0] != 'Z':\n"
        "        time.sleep(0.02)\n"
        "    assert again.ensure_running() and again.pid != server.pid\n"
    )
    command = [setpriv, "--bounding-set=-sys_ptrace", sys.executable, "-c", script]
    done = subprocess.run(
        [*command, data_folder], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not pid_file(data_folder).exists()


@needs_root
def test_account_of_a_server_never_is_root() -> None:
    with pytest.raises(EmbeddedPostgresError, match="does not run as root"):
        postgres_place._account_for_new_data("root")
    with pytest.raises(EmbeddedPostgresError, match="entry in passwd"):
        postgres_place._account_for_new_data("nobody-of-this-name")
    assert postgres_place._account_for_new_data("nobody") == Account(*_nobody())


def _nobody() -> tuple[str, int, int]:
    entry = pwd.getpwnam("nobody")
    return entry.pw_name, entry.pw_uid, entry.pw_gid


def as_user(name: str, work: Callable[[], None]) -> None:
    """Do `work` in a child that is that user; its failure is ours.

    By fork, because the interpreter may lie where that user can not reach it (below /root).
    """
    user = pwd.getpwnam(name)

    def child(errors: Any) -> None:
        try:
            os.setgroups([])
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
            os.chdir("/")
            work()
            errors.put(None)
        except BaseException:
            errors.put(traceback.format_exc())
            raise

    fork = multiprocessing.get_context("fork")
    errors = fork.SimpleQueue()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside xdist's thread
        process = fork.Process(target=child, args=(errors,))
        process.start()
    error = errors.get()
    process.join()
    assert error is None, error
