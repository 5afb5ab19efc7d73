"""The supervisor, with a worker that does nothing: what dies comes back, what must end ends.

Method: the real process, started as `tongbao serve` starts it, on a database of the test; processes
are killed, and what is left is looked at from outside (sockets, process ids, files).
"""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen

import asyncpg
import pytest

from hsm.lmk import TEST_LMK
from switch.adapters.embedded_postgres import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.database import FreshDatabase

ROOT = Path(__file__).resolve().parents[2]
START = """
import sys
from switch import cli, supervisor
supervisor.WORKER = ("-P", "-m", "tests.switch.dummy_worker")
cli.main(sys.argv[1:])
"""
PATIENCE_S = 120.0


def eventually(what: Callable[[], Any]) -> Any:
    """The first true answer; an error while it is asked counts as not yet."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        with suppress(OSError, ValueError, KeyError, AssertionError):
            answer = what()
            if answer:
                return answer
        time.sleep(0.02)
    raise AssertionError(f"not within {PATIENCE_S} s: {what}")


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


class Node:
    """A running `tongbao serve`."""

    def __init__(self, folder: Path, process: subprocess.Popen[str]) -> None:
        self.folder = folder
        self.process = process
        self.ready_file = folder / "ready.json"

    def facts(self) -> dict[str, Any]:
        found: dict[str, Any] = eventually(lambda: json.loads(self.ready_file.read_text()))
        return found

    def ask(self) -> int:
        """The process id of the worker that answers at the terminals' port."""
        at = self.facts()["terminals"][0]
        with socket.create_connection((at["host"], at["port"]), timeout=PATIENCE_S) as connection:
            connection.sendall(b"?\n")
            return int(connection.recv(64))

    def metric(self, name: str) -> float:
        at = self.facts()["metrics"]
        with urlopen(f"http://{at['host']}:{at['port']}{at['path']}", timeout=PATIENCE_S) as answer:
            text = answer.read().decode()
        found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
        assert found, name
        return float(found[1])

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, out, err


@contextmanager
def serving(folder: Path, dsn: str, node: str = "n1", more: str = "") -> Iterator[Node]:
    folder.mkdir(exist_ok=True)
    (folder / "node.toml").write_text(
        f'node = "{node}"\n{more}\n[database]\ndsn = "{dsn}"\n'
        if dsn
        else f'node = "{node}"\n{more}\n[postgres]\nfsync = false\n'
    )
    words = ["serve", "--demo", "--lang", "en", "--config", str(folder / "node.toml")]
    words += ["--ready-file", str(folder / "ready.json")]
    process = subprocess.Popen(
        [sys.executable, "-c", START, *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    node_running = Node(folder, process)
    try:
        yield node_running
    finally:
        with suppress(OSError, ValueError, KeyError):
            for pid in json.loads(node_running.ready_file.read_text())["pids"]["workers"]:
                os.kill(pid, signal.SIGKILL)
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def dsn(database_dsn: FreshDatabase) -> str:
    return database_dsn.owner


def test_the_ready_file_says_where_everything_is(tmp_path: Path, dsn: str) -> None:
    with serving(tmp_path, dsn) as node:
        facts = node.facts()
        assert facts["pids"]["supervisor"] == node.process.pid
        assert len(facts["pids"]["workers"]) == 2
        assert facts["links"] == [{"acquirer": "BANKA", "address": "127.0.0.1:9001"}]
        assert facts["admin"] is None
        assert facts["database"]["embedded"] is False
        assert facts["terminals"][0]["dialect"] == "unionpay_pos"
        assert node.ready_file.stat().st_mode & 0o777 == 0o600
        assert node.ask() in facts["pids"]["workers"]
        assert node.metric("tongbao_workers") == 2.0
        with urlopen(
            f"http://127.0.0.1:{facts['metrics']['port']}/ready", timeout=PATIENCE_S
        ) as answer:
            body = json.load(answer)
        assert (body["ready"], body["workers"], body["draining"]) == (True, 2, False)
        assert [check["check"] for check in body["checks"] if check["state"] != "ok"] == [
            "link.BANKA"
        ]
        with urlopen(
            f"http://127.0.0.1:{facts['metrics']['port']}/health", timeout=PATIENCE_S
        ) as answer:
            assert json.load(answer)["healthy"]
        eventually(lambda: node.metric("tongbao_store_up") == 1.0)
        assert node.metric("tongbao_dates_unposted") == 0.0
        node.process.send_signal(signal.SIGTERM)
        code, out, err = node.end()
        assert code == 0, err
        assert out.splitlines() == [
            f"tongbao {facts['version']} ready: terminals 127.0.0.1:{facts['terminals'][0]['port']};"
            f" 2 workers; metrics http://127.0.0.1:{facts['metrics']['port']}/metrics"
        ]
        assert "can never be certified" in err
        assert not node.ready_file.exists()


def test_a_killed_worker_comes_back_and_what_it_counted_stays(tmp_path: Path, dsn: str) -> None:
    with serving(tmp_path, dsn) as node:
        asked = [node.ask() for _ in range(10)]
        eventually(lambda: node.metric("tongbao_answers_total") == 10.0)
        victim = asked[0]
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: victim not in node.facts()["pids"]["workers"])
        assert eventually(lambda: node.metric("tongbao_workers") == 2.0)
        assert node.metric("tongbao_worker_restarts_total") == 1.0
        assert node.metric("tongbao_answers_total") == 10.0
        assert node.ask() != victim
        node.process.send_signal(signal.SIGTERM)
        assert node.end()[0] == 0


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_drains_the_workers(tmp_path: Path, dsn: str, how: signal.Signals) -> None:
    with serving(tmp_path, dsn, node="slow") as node:
        workers = node.facts()["pids"]["workers"]
        node.process.send_signal(how)
        assert node.end()[0] == 0
        assert sorted(path.name for path in (tmp_path / "var").glob("drained-*")) == [
            "drained-0",
            "drained-1",
        ]
        assert not any(alive(pid) for pid in workers)


def test_a_second_signal_ends_at_once(tmp_path: Path, dsn: str) -> None:
    with serving(tmp_path, dsn, node="stuck", more="[engine]\ndrain_s = 600") as node:
        workers = node.facts()["pids"]["workers"]
        node.process.send_signal(signal.SIGTERM)
        for index in range(len(workers)):
            eventually((tmp_path / "var" / f"draining-{index}").exists)
        assert all(alive(pid) for pid in workers)
        node.process.send_signal(signal.SIGTERM)
        assert node.end()[0] == 0
        assert not any(alive(pid) for pid in workers)


def test_a_worker_that_does_not_end_is_cut_off(tmp_path: Path, dsn: str) -> None:
    with serving(tmp_path, dsn, node="stuck", more="[engine]\ndrain_s = 1") as node:
        workers = node.facts()["pids"]["workers"]
        node.process.send_signal(signal.SIGTERM)
        assert node.end()[0] == 0
        assert not any(alive(pid) for pid in workers)
        log = (tmp_path / "var" / "log" / "worker-0.jsonl").read_text()
        assert '"drain_cut_off"' in log


def test_workers_of_a_killed_supervisor_drain_and_the_next_one_serves(
    tmp_path: Path, dsn: str
) -> None:
    with serving(tmp_path, dsn, node="slow") as node:
        workers = node.facts()["pids"]["workers"]
        port = node.facts()["terminals"][0]["port"]
        node.process.kill()
        node.process.wait()
        node.ready_file.unlink()
        with serving(tmp_path, dsn, more=f"[[listeners]]\nport = {port}") as second:
            eventually(lambda: not any(alive(pid) for pid in workers))
            assert (tmp_path / "var" / "drained-0").exists()
            assert (tmp_path / "var" / "drained-1").exists()
            assert eventually(second.ask) in second.facts()["pids"]["workers"]
            second.process.send_signal(signal.SIGTERM)
            assert second.end()[0] == 0


def test_workers_that_never_get_ready_end_the_node(tmp_path: Path, dsn: str) -> None:
    with serving(tmp_path, dsn, node="broken") as node:
        code, out, err = node.end()
        assert code == 4
        assert out == ""
        assert "before they were ready" in err
        written = (tmp_path / "var" / "log" / "worker-0.jsonl").read_text()
        assert "broken on purpose" in written
        assert "4111111111111111" not in written + err


def test_one_supervisor_a_data_folder(tmp_path: Path, dsn: str) -> None:
    with serving(tmp_path, dsn) as node:
        node.facts()
        with serving(tmp_path, dsn) as second:
            code, _, err = second.end()
            assert code == 4
            assert f"(process {node.process.pid})" in err
        assert node.ready_file.exists()


def test_a_port_in_use_is_named(tmp_path: Path, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from switch import supervisor

    monkeypatch.setattr(supervisor, "BIND_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(supervisor.SupervisorError, match=rf"127.0.0.1:{port} can not be bound"):
            supervisor.bind("127.0.0.1", port, 1, "en")


def test_postgres_is_started_again_and_adopted_and_given_back(data_folder: Path) -> None:
    with serving(data_folder, "") as node:
        facts = node.facts()
        first = facts["pids"]["postgres"]
        os.kill(first, signal.SIGKILL)
        second = eventually(lambda: (now := node.facts()["pids"]["postgres"]) != first and now)
        assert node.metric("tongbao_postgres_restarts_total") == 1.0
        node.process.kill()
        node.process.wait()
        assert alive(second)
        node.ready_file.unlink()
        with serving(data_folder, "") as next_one:
            assert next_one.facts()["pids"]["postgres"] == second
            next_one.process.send_signal(signal.SIGTERM)
            assert next_one.end()[0] == 0
        assert not alive(second)


def test_workers_leave_no_core_and_show_no_key(tmp_path: Path, dsn: str) -> None:
    with serving(tmp_path, dsn) as node:
        for pid in (*node.facts()["pids"]["workers"], node.process.pid):
            limits = Path(f"/proc/{pid}/limits").read_text()
            assert re.search(r"Max core file size +0 +0 ", limits)
            seen = Path(f"/proc/{pid}/cmdline").read_bytes()
            seen += Path(f"/proc/{pid}/environ").read_bytes() if os.geteuid() == 0 else b""
            assert b"TONGBAO PUBLIC TEST LMK" not in seen
            assert b"TONGBAO PUBLIC TEST LMK".hex().encode() not in seen.lower()


def test_the_embedded_server_lets_go_of_a_test_folder(data_folder: Path) -> None:
    """The fixture's folder is reachable for the server's user: what the test above relies on."""
    server = EmbeddedPostgres.start(data_folder / "var", fsync=False)
    server.stop()
    assert not server.is_running()


def test_a_node_of_its_own_lmk_starts_with_its_passphrase_and_takes_no_other(
    tmp_path: Path, dsn: str
) -> None:
    passphrase = "correct horse battery"
    config = tmp_path / "node.toml"
    config.write_text(f'[database]\ndsn = "{dsn}"\n')
    ready = tmp_path / "ready.json"

    def tongbao(*words: str, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", START, *words, "--config", str(config), "--lang", "en"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    made = tongbao("init", "--passphrase-fd", "0")
    made.communicate(passphrase, timeout=PATIENCE_S)
    assert made.returncode == 0

    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "tongbao-lmk-passphrase").write_text(passphrase + "\n")
    environment = {**os.environ, "CREDENTIALS_DIRECTORY": str(credentials)}
    served = tongbao("serve", "--ready-file", str(ready), env=environment)
    facts = eventually(lambda: json.loads(ready.read_text()))
    assert facts["demo"] is False
    served.send_signal(signal.SIGTERM)
    _, err = served.communicate(timeout=PATIENCE_S)
    assert served.returncode == 0, err
    assert "DEMO" not in err

    other = tongbao("serve", "--demo")
    _, err = other.communicate(timeout=PATIENCE_S)
    assert other.returncode == 4
    assert "under LMK" in err


# -- the store, and the audit log -----------------------------------------------------------------


def records(dsn: str) -> list[tuple[str, str, str, dict[str, Any]]]:
    async def read() -> list[Any]:
        connection = await asyncpg.connect(dsn)
        try:
            query = "SELECT actor, act, object, after FROM switch.audit_record ORDER BY seq"
            return list(await connection.fetch(query))
        finally:
            await connection.close()

    return [(*row[:3], json.loads(row["after"])) for row in asyncio.run(read())]


def test_a_node_that_starts_and_stops_is_in_the_audit_log(tmp_path: Path, dsn: str) -> None:
    """Nobody logs in: who of the system's users it was, and under which LMK, is written down."""
    with serving(tmp_path, dsn) as node:
        pid = node.facts()["pids"]["supervisor"]
        node.process.send_signal(signal.SIGTERM)
        assert node.end()[0] == 0
    started, stopped = [one for one in records(dsn) if one[1].startswith("node.")]
    assert [one[:3] for one in (started, stopped)] == [
        ("node", "node.start", "n1"),
        ("node", "node.stop", "n1"),
    ]
    assert started[3] == stopped[3]
    assert started[3]["pid"] == pid
    assert started[3]["user"] == pwd.getpwuid(os.geteuid()).pw_name
    assert (started[3]["demo"], started[3]["lmk_id"]) == (True, TEST_LMK.lmk_id)


def test_a_killed_node_has_no_stop_and_the_next_start_shows_it(tmp_path: Path, dsn: str) -> None:
    for _ in range(2):
        with serving(tmp_path, dsn) as node:
            node.facts()
            node.process.kill()
            node.process.wait()
            for pid in node.facts()["pids"]["workers"]:
                os.kill(pid, signal.SIGKILL)
            node.ready_file.unlink()
    acts = [one[1] for one in records(dsn) if one[1].startswith("node.")]
    assert acts == ["node.start", "node.start"]


@contextmanager
def starting_server() -> Iterator[int]:
    """A PostgreSQL that says to everybody that it is starting up (57P03); its port."""

    def answer(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            asked = connection.recv(4096)
            if asked[4:8] == b"\x04\xd2\x16\x2f":  # SSLRequest
                connection.sendall(b"N")
                connection.recv(4096)
            text = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0"
            connection.sendall(b"E" + (len(text) + 4).to_bytes(4, "big") + text)

    def accept() -> None:
        with suppress(OSError):
            while True:
                answer(listening.accept()[0])

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.mark.parametrize("state", ["starting", "absent"])
def test_without_a_store_it_waits_within_a_bound_and_says_why(tmp_path: Path, state: str) -> None:
    with starting_server() as starting, socket.create_server(("127.0.0.1", 0)) as unused:
        port = starting if state == "starting" else unused.getsockname()[1]
        if state == "absent":
            unused.close()
        dsn = f'postgresql://tongbao_app@127.0.0.1:{port}/tongbao"\nstart_wait_s = 1.2\n#'
        began = time.monotonic()
        with serving(tmp_path, dsn) as node:
            code, out, err = node.end()
    assert (code, out) == (4, "")
    assert time.monotonic() - began > 1.0
    assert "Traceback" not in err
    reason = "starting up" if state == "starting" else "refused|Connect call failed"
    said = [line for line in err.splitlines() if re.search(reason, line)]
    assert [line.split(":")[0] for line in said] == [
        "waiting for the store",
        "the store can not be used",
    ]


def test_it_goes_on_when_the_store_is_there(tmp_path: Path, database_dsn: FreshDatabase) -> None:
    """Nobody listens when it starts; then a server is there, on the port that was named."""
    folder = parse_qs(urlsplit(database_dsn.owner).query)["host"][0]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    there = urlsplit(database_dsn.owner)
    dsn = f"postgresql://{there.username}@127.0.0.1:{port}{there.path}"
    with serving(tmp_path, dsn) as node:
        assert node.process.stderr is not None
        while "waiting for the store" not in node.process.stderr.readline():
            assert node.process.poll() is None
        relay = [sys.executable, "-c", RELAY, str(port), f"{folder}/.s.PGSQL.5432"]
        with subprocess.Popen(relay) as relaying:
            try:
                assert len(node.facts()["pids"]["workers"]) == 2
                node.process.send_signal(signal.SIGTERM)
                code, _, err = node.end()
            finally:
                relaying.kill()
    assert code == 0, err


RELAY = """
import asyncio, sys

async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()

async def connected(reader, writer):
    there, back = await asyncio.open_unix_connection(sys.argv[2])
    await asyncio.gather(pump(reader, back), pump(there, writer))

async def main():
    server = await asyncio.start_server(connected, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()

asyncio.run(main())
"""
