"""A real node for the tests: `tongbao serve --demo` as a child, banks and terminals around it.

The node runs on the embedded PostgreSQL in a folder of its own; banks and terminals are the
simulators, in the test's process, over real sockets. What the test believes it learns from bytes and
from the database's published views, never from the node's insides.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import asyncpg
import msgspec

from hsm import lmk as lmks
from hsm.keys import KeyUsage
from hsm.local import LocalVault
from switch.adapters.postgres import PostgresStore
from switch.adapters.system import SystemClock
from terminals.registry import StoredKey
from terminals.simulator.bank import BankFaults, BankOptions, BankServer
from terminals.simulator.binary_bank import bank_of
from terminals.simulator.card import BANK_A, BANK_B
from terminals.simulator.terminal import Terminal, TerminalOptions
from tests.end_to_end.wire import known
from tests.loop_thread import LoopThread

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hsm.lmk import Lmk

RefItem = tuple[str, str, dict[str, Any]]  # kind, key, content
KeptKey = Callable[[str, KeyUsage, str], StoredKey]  # owner, usage, clear hex

ROOT = Path(__file__).resolve().parent.parent.parent
READY_S = 120.0
STOP_S = 120.0
SETTLEMENT_DATE = dt.date(2026, 3, 5)

BINARY_HOST = {  # settings of a link to such a bank
    "dialect": "iso1987_binary.key_16",
    "form": "binary_host",
    "mac_algorithm": "tdes-cbc-binary",
    "key_form": "hex",
}

CONFIG = """
node = "{name}"
workers = {workers}
dialects = {dialects}
[postgres]
fsync = {fsync}
[engine]
drain_s = 15
repeat_wait_s = 8
[[listeners]]
port = {port}
{more}
"""


class Node:
    """One `tongbao serve --demo`; started, killed and started again on the same data.

    With a `passphrase` it is none of the demo, and that opens its LMK. `more`: further tables of its configuration, as TOML. `dialects`: files of its own. `open_files`: the limit it is started with.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str = "test",
        workers: int = 2,
        fsync: bool = False,
        more: str = "",
        dialects: Sequence[Path] = (),
        open_files: int = 0,
        passphrase: str = "",
    ) -> None:
        self.folder = folder
        self.config = folder / "tongbao.toml"
        self._settings = {
            "name": name,
            "workers": workers,
            "fsync": str(fsync).lower(),
            "more": more,
            "dialects": msgspec.json.encode([str(file) for file in dialects]).decode(),
        }
        self.ready_file = folder / "ready.json"
        self.facts: dict[str, Any] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self._open_files = open_files
        self.passphrase = passphrase

    def start(self, *, same_port: bool = False) -> None:
        port = self.address[1] if same_port else 0
        self.config.write_text(CONFIG.format(port=port, **self._settings))
        self.ready_file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "tongbao", "serve"]
        command += ["--config", str(self.config), "--data", str(self.folder / "data")]
        command += ["--ready-file", str(self.ready_file)]
        given: tuple[int, ...] = ()
        if self.passphrase:
            given = (descriptor_of(self.passphrase),)
            command += ["--passphrase-fd", str(given[0])]
        else:
            command.append("--demo")
        if self._open_files:
            command = ["prlimit", f"--nofile={self._open_files}", *command]
        with (self.folder / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdout=log, stderr=log, pass_fds=given
            )
        for descriptor in given:
            os.close(descriptor)
        until = time.monotonic() + READY_S
        while not self.ready_file.exists():
            if self.process.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"not ready: {self.log()}")
            time.sleep(0.05)
        self.read_facts()

    def read_facts(self) -> None:
        self.facts = msgspec.json.decode(self.ready_file.read_bytes())

    def log(self) -> str:
        return (self.folder / "serve.log").read_text(errors="replace")[-4_000:]

    @property
    def address(self) -> tuple[str, int]:
        at = self.facts["terminals"][0]
        return at["host"], at["port"]

    @property
    def workers(self) -> list[int]:
        return list(self.facts["pids"]["workers"])

    @property
    def postgres(self) -> int:
        return int(self.facts["pids"]["postgres"])

    def stop(self) -> int:
        """Drain; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_S)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(STOP_S)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.kill()

    async def query(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        """Read what the node publishes, as its reader role may."""
        connection = await asyncpg.connect(self.facts["database"]["reader_dsn"])
        try:
            return list(await connection.fetch(sql, *arguments))
        finally:
            await connection.close()


@contextlib.contextmanager
def running(folder: Path, **options: Any) -> Iterator[Node]:
    node = Node(folder, **options)
    try:
        node.start()
        yield node
    finally:
        node.close()


def descriptor_of(secret: str) -> int:
    """A pipe from which a command reads it."""
    reading, writing = os.pipe()
    os.write(writing, f"{secret}\n".encode())
    os.close(writing)
    return reading


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


# -- banks and terminals ------------------------------------------------------------------------


class Hosts:
    """Two simulated banks that listen on free ports."""

    def __init__(
        self,
        faults: Sequence[BankFaults] = (),
        latency_s: float = 0.0,
        kinds: Sequence[Literal["reference", "binary_host"]] = ("reference", "reference"),
    ) -> None:
        ranges = (BANK_A, BANK_B)
        self.banks = [
            bank_of(
                BankOptions(
                    kind=kinds[index],
                    name=f"bank-{letter}",
                    institution_id=f"0102000{index}",
                    zpk=bytes([0x13 + 2 * index] * 8 + [0x32] * 8).hex(),
                    zak=bytes([0x23] * 8 + [0x45 + 2 * index - index % 2] * 8).hex(),
                    cards=ranges[index],
                    faults=faults[index] if faults else BankFaults(),
                    latency_s=latency_s,
                ),
                SETTLEMENT_DATE,
                random.Random(index),
            )
            for index, letter in enumerate("ab")
        ]
        self.servers = [BankServer(bank) for bank in self.banks]
        self.settings: dict[str, dict[str, Any]] = {}  # of links, where they are other
        self.ports: list[int] = []
        self._listening: list[asyncio.Server] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for server in self.servers:
            listening = await loop.create_server(server.protocol, "127.0.0.1", 0)
            self._listening.append(listening)
            self.ports.append(listening.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        for listening in self._listening:
            listening.close()
        for server in self.servers:
            server.close()

    async def signed_on(self, connections: int) -> None:
        """Until the node has, at each bank, all the connections that are granted to it."""
        async with asyncio.timeout(READY_S):
            for server in self.servers:
                while connections > sum(one.session.signed_on for one in server.connections):  # noqa: ASYNC110 - a list tells nobody
                    await asyncio.sleep(0.02)


@contextlib.contextmanager
def banks() -> Iterator[tuple[LoopThread, Hosts]]:
    """For several tests: they answer between two of them too."""
    hosts = Hosts()
    with LoopThread() as loop:
        loop.run(hosts.__aenter__())
        try:
            yield loop, hosts
        finally:
            loop.run(hosts.__aexit__())


def merchant_id(index: int) -> str:
    return f"M{index:014d}"


def terminal_options(index: int, **more: Any) -> TerminalOptions:
    key = bytes([(0x10 + index) & 0xFE | 1] * 8 + [0x3B] * 8)
    return TerminalOptions(
        merchant=merchant_id(index // 3), terminal=f"T{index:07d}", tmk=key.hex(), **more
    )


async def furnish(
    node: Node,
    hosts: Hosts,
    terminals: int,
    *,
    timeout_s: float = 30.0,
    link_connections: int = 2,
    dsn: str = "",
    lmk: Lmk = lmks.TEST_LMK,
    kept: KeptKey | None = None,
    types: Sequence[str] = (),
    ready: bool = True,
) -> None:
    """Merchants, terminals, links, routes and their keys, as `data apply` and `keys import` would.

    Returns when every worker knows them and is signed on at the banks, else what comes next would be
    refused for that; `ready` False: at once.
    `dsn`: of the store, where the node is not on a PostgreSQL of its own. `kept`: a clear key as the
    node's vault keeps it; the one in the process where not given.
    """
    items: list[RefItem] = []
    keys: list[StoredKey] = []

    def keep(owner: str, usage: KeyUsage, clear: str) -> None:
        if kept is not None:
            keys.append(kept(owner, usage, clear))
        else:
            keys.append(stored_key(owner, usage, clear, lmk))

    for index in range((terminals + 2) // 3):
        name = merchant_id(index)
        merchant: dict[str, Any] = {"merchant": name, "name": f"Shop {index}"}
        if types:  # beside, or instead of, what every merchant may send
            merchant["allowed_types"] = list(types)
        items.append(("merchant", name, merchant))
    for index in range(terminals):
        options = terminal_options(index)
        name = f"{options.merchant}/{options.terminal}"
        items.append(
            ("terminal", name, {"merchant": options.merchant, "terminal": options.terminal})
        )
        keep(f"terminal:{name}", KeyUsage.TMK, options.tmk)
    for bank, port in zip(hosts.banks, hosts.ports, strict=True):
        name = bank.options.name.replace("-", "_")
        link = {
            "acquirer": name,
            "host": "127.0.0.1",
            "port": port,
            "de32": bank.options.institution_id,
            "timeout_s": timeout_s,
            "max_connections": link_connections,
            "reconnect_s": 0.2,
            "retry_s": 0.2,
            "retry_max_s": 1.0,
            "echo_idle_s": 1.0,
            "reversal_unknown_after_s": 1.0,
        }
        if bank.options.kind == "binary_host":
            link |= BINARY_HOST
        link |= hosts.settings.get(name, {})
        items.append(("link", name, link))
        for cards in bank.options.cards:
            route = {"prefix": cards.bin, "acquirer": name, "card_type": cards.kind}
            items.append(("route", cards.bin, route))
        keep(f"link:{name}", KeyUsage.ZPK, bank.options.zpk)
        keep(f"link:{name}", KeyUsage.ZAK, bank.options.zak)
    await bring_in(node, items, keys, dsn=dsn)
    if ready:
        await hosts.signed_on(link_connections)
        last = terminal_options(terminals - 1)
        await known(node, last.merchant, last.terminal)


def stored_key(owner: str, usage: KeyUsage, clear: str, lmk: Lmk = lmks.TEST_LMK) -> StoredKey:
    """A clear key, in hex, as `keys import --demo` stores it; published weak ones too."""
    vault = LocalVault(lmk, os.urandom)
    made = vault.import_components(usage, [bytes.fromhex(clear)], allow_weak=True)
    return StoredKey(
        owner=owner,
        usage=usage.value,
        version=0,
        block=made.block,
        check_value=made.check_value,
        lmk_id=made.lmk_id,
    )


async def bring_in(
    node: Node, items: Sequence[RefItem], keys: Sequence[StoredKey], *, dsn: str = ""
) -> None:
    store = await PostgresStore.open(dsn or node.facts["database"]["dsn"], SystemClock())
    for key in keys:
        await store.reference.add_key(key)
    await store.reference.apply(items, maker="test")
    await store.close()


def make_terminals(count: int) -> list[Terminal]:
    return [Terminal(terminal_options(index), f"{index:04X}") for index in range(count)]
