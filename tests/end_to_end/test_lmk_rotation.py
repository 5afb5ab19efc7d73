"""All keys of a running node from one LMK to the next, and the old one dropped, with terminals selling.

Goal: no transaction fails, from the ceremony to the retirement, on one node; then the old LMK opens
nothing any more, in the node, the store or the file. Method: the real commands beside a real node with
two workers and slow banks; terminals sell with PINs without a pause and sign on again and again; the
rotation is killed on its way; a worker is killed after it; the node is started again.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from hsm import lmk as lmks
from hsm.errors import KeyBlockError
from hsm.keys import KeyUsage
from hsm.local import LocalVault
from switch.lmk_socket import Dropped, Handed, ask, running
from switch.people.ssh import Fields
from terminals.simulator.card import BANK_A, BANK_B, card_pools
from tests.end_to_end.node import (
    ROOT,
    Hosts,
    Node,
    descriptor_of,
    furnish,
    kill,
    make_terminals,
)
from tests.end_to_end.wire import Wire
from tests.switch.people.agent import Agent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from terminals.simulator.terminal import Request, Terminal

pytestmark = pytest.mark.xdist_group("end_to_end_2")

FIRST, SECOND = "a passphrase of the first", "a passphrase of the second"
TERMINALS = 6
THINK_S = 0.1
LATENCY_S = 0.3  # of the banks: requests are in flight at every step
ANSWERED_S = 15.0  # by a bank: it shares two cores with everything else here
SALES_A_SESSION = 8
OTHER_KEYS = 1_000  # TMKs of terminals that do not sell: several commits of the rotation
CARDS = card_pools(BANK_A + BANK_B).sound
LEFT = """
    SELECT (SELECT count(*) FROM switch.stored_key WHERE lmk_id <> $1)
         + (SELECT count(*) FROM switch.session WHERE lmk_id IS DISTINCT FROM $1)
"""


class Table(Agent):
    """The agent of those who sit at one table: it has the keys of all."""

    def __init__(self, path: Path, others: Sequence[Agent]) -> None:
        super().__init__(path)
        self._others = others

    def _answer(self, request: Fields) -> bytes:
        said = request._data
        answers = (each._answer(Fields(said)) for each in self._others)
        return next((answer for answer in answers if answer != b"\x05"), b"\x05")


class Town:
    """A node with an LMK of its own, its operators, and who runs commands beside it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.lmk_file = folder / "safe" / "lmk.sealed"
        self.node = Node(
            folder,
            passphrase=FIRST,
            more=f'[hsm]\nlmk_file = "{self.lmk_file}"\n[rules]\nsign_ons = 1000\n',
        )
        self.node.config.write_text(f'[hsm]\nlmk_file = "{self.lmk_file}"\n')
        self._stack = stack
        self.agents: list[Agent] = []
        self.failed: list[str] = []
        self.sold = 0

    def key(self, name: str) -> str:
        agent = self._stack.enter_context(Agent(self.folder / f"{name}.agent"))
        self.agents.append(agent)
        path = self.folder / f"{name}.pub"
        path.write_text(agent.line + "\n")
        return str(path)

    def start(self, who: str, *words: str, secrets: dict[str, str] | None = None) -> Any:
        """The command, as `who`, as a process."""
        line = [sys.executable, "-m", "tongbao", *words]
        line += ["--config", str(self.node.config), "--data", str(self.folder / "data")]
        given = {name: descriptor_of(value) for name, value in (secrets or {}).items()}
        for name, descriptor in given.items():
            line += [f"--{name}-fd", str(descriptor)]
        environment = {**os.environ, "LANG": "C.UTF-8"}
        if who:
            line += ["--operator", who]
            agent = "table" if "ceremony" in words else who
            environment["SSH_AUTH_SOCK"] = str(self.folder / f"{agent}.agent")
        process = subprocess.Popen(
            line,
            cwd=ROOT,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=tuple(given.values()),
        )
        for descriptor in given.values():
            os.close(descriptor)
        return process

    def run(
        self, who: str, *words: str, code: int = 0, secrets: dict[str, str] | None = None
    ) -> str:
        with self.start(who, *words, secrets=secrets) as process:
            out, err = process.communicate(timeout=600)
        assert process.returncode == code, (words, out, err, self.node.log())
        return str(out + err)

    async def command(self, who: str, *words: str, **more: Any) -> str:
        """Beside the terminals."""
        return await asyncio.to_thread(self.run, who, *words, **more)

    def people(self) -> None:
        self.run("", "operator", "bootstrap", "an", "--ssh-key", self.key("an"))
        self.run("an", "operator", "bootstrap", "bo", "--ssh-key", self.key("bo"))
        words = ("operator", "add", "kong", "--role", "keys", "--ssh-key", self.key("kong"))
        self.run("an", *words, code=3)
        (found,) = json.loads(f"[{self.run('', 'approval', 'list', '--json')}]")
        self.run("bo", "approval", "approve", found["id"], "--sha256", found["sha256"])
        self._stack.enter_context(Table(self.folder / "table.agent", self.agents))

    async def query(self, sql: str, *values: Any) -> Any:
        connection = await asyncpg.connect(self.node.facts["database"]["owner_dsn"])
        try:
            return await connection.fetch(sql, *values)
        finally:
            await connection.close()

    def opened(self, passphrase: str) -> lmks.Lmk:
        return lmks.open_with_passphrase(self.lmk_file.read_bytes(), passphrase)

    async def sell(self, terminal: Terminal, stop: asyncio.Event, sales: int | None) -> None:
        """With a sign-on after so many sales; None: with the keys of the first one to the end."""
        async with Wire(self.node.address) as wire:
            while not stop.is_set() and not self.failed:
                await self._ask(wire, terminal, terminal.sign_on())
                for _ in itertools.count() if sales is None else range(sales):
                    if stop.is_set() or self.failed:
                        break
                    card = CARDS[self.sold % len(CARDS)]
                    await self._ask(wire, terminal, terminal.purchase(card, 1_00, pin=card.pin))
                    self.sold += 1
                    await asyncio.sleep(THINK_S)

    async def _ask(self, wire: Wire, terminal: Terminal, request: Request) -> None:
        try:
            outcome = await wire.ask(terminal, request)
        except (OSError, EOFError, TimeoutError) as error:
            self.failed.append(f"{request.kind} {request.trace}: {error!r}")
            return
        if outcome.response_code != "00":
            self.failed.append(repr(outcome))

    async def known(self, terminal: Terminal) -> None:
        """Until every worker knows the terminals: connections in a row, whichever worker takes them."""
        in_a_row = 0
        async with asyncio.timeout(180):
            while in_a_row < 4 * len(self.node.workers):
                async with Wire(self.node.address) as wire:
                    outcome = await wire.ask(terminal, terminal.sign_on())
                in_a_row = in_a_row + 1 if outcome.response_code == "00" else 0
                await asyncio.sleep(0.05)

    async def goes_on(self) -> None:
        """Some sales more, begun and ended after now; none failed so far."""
        wanted = self.sold + 3 * TERMINALS
        async with asyncio.timeout(180):
            while self.sold < wanted and not self.failed:  # noqa: ASYNC110 - a number tells nobody
                await asyncio.sleep(0.05)
        assert not self.failed, (self.failed, self.node.log())


@contextlib.contextmanager
def town_in(folder: Path) -> Iterator[Town]:
    with ExitStack() as stack:
        town = Town(folder, stack)
        town.run("", "init", secrets={"passphrase": FIRST})
        try:
            town.node.start()
            town.people()
            yield town
        finally:
            town.node.close()


def components() -> tuple[bytes, str]:
    """The next LMK, and what its custodians enter: operators, who are asked by their agent."""
    parts = [os.urandom(32) for _ in range(2)]
    lines = [
        {"custodian": name, "component": part.hex(), "check_value": lmks.Lmk(part).check_value}
        for name, part in zip(("an", "bo"), parts, strict=True)
    ]
    key = bytes(a ^ b for a, b in zip(*parts, strict=True))
    return key, "\n".join(json.dumps(line) for line in lines)


async def held_up(town: Town, work: Callable[[Town], None]) -> None:
    """`work` beside somebody who holds one of the last keys: whoever moves them can not get past it."""
    connection = await asyncpg.connect(town.node.facts["database"]["owner_dsn"])
    try:
        async with connection.transaction():
            last = await connection.fetch(
                "SELECT owner FROM switch.stored_key WHERE owner = 'terminal:M/999' FOR UPDATE"
            )
            assert last
            await asyncio.to_thread(work, town)
    finally:
        await connection.close()


def killed_on_its_way(town: Town) -> None:
    """Begin the rotation, and kill it when it has said that it moved something."""
    secrets = {"passphrase": SECOND}
    with town.start("kong", "keys", "rotate", "--lmk", secrets=secrets) as process:
        assert "key sets" in process.stderr.readline()
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


def test_the_lmk_changes_under_a_node_that_serves(tmp_path: Path) -> None:
    key, script = components()
    later = lmks.Lmk(key)

    async def day(town: Town) -> None:
        old = town.opened(FIRST)
        async with Hosts(latency_s=LATENCY_S) as hosts:
            await furnish(town.node, hosts, TERMINALS, lmk=old, timeout_s=ANSWERED_S)
            await other_keys(town, old)
            terminals = make_terminals(TERMINALS)
            await town.known(terminals[0])
            stop = asyncio.Event()
            selling = [
                asyncio.create_task(town.sell(each, stop, None if at % 2 else SALES_A_SESSION))
                for at, each in enumerate(terminals)
            ]
            try:
                await town.goes_on()
                await change(town, script, old)
                stop.set()
                await asyncio.gather(*selling)
                assert not town.failed
            finally:
                for task in selling:
                    task.cancel()
            await check_gone(town, old)
            assert await asyncio.to_thread(town.node.stop) == 0, town.node.log()
            town.node.passphrase = SECOND
            await asyncio.to_thread(town.node.start, same_port=True)
            async with Wire(town.node.address) as wire:
                terminal = make_terminals(1)[0]
                await town._ask(wire, terminal, terminal.sign_on())
            assert not town.failed

    async def change(town: Town, script: str, old: lmks.Lmk) -> None:
        blocks = await town.query("SELECT block FROM switch.stored_key")
        told = await town.command(
            "an", "keys", "ceremony", "lmk", "--components", "2",
            secrets={"passphrase": FIRST, "new-passphrase": SECOND, "from": script},
        )  # fmt: skip
        assert f"the node opens keys under {later.lmk_id}, {old.lmk_id}" in told
        await town.goes_on()
        await town.command("an", "keys", "ceremony", "admit", secrets={"passphrase": SECOND})
        folder = running(town.folder / "data")
        assert folder is not None
        for request in (
            Handed(lmks.hand_over(lmks.following(lmks.make(os.urandom), lmks.Lmk(key)))),
            Handed(lmks.hand_over(old)),
            Dropped(later.lmk_id),
        ):
            answer = await ask(folder, request)
            assert answer.refused, request
            assert answer.lmk_ids == (later.lmk_id, old.lmk_id)
        retire = ("keys", "retire", "--lmk", old.lmk_id)
        await town.command("kong", *retire, code=3)
        await held_up(town, killed_on_its_way)
        (left,) = (await town.query(LEFT, later.lmk_id))[0]
        assert left > 0
        await town.goes_on()
        rotate = ("keys", "rotate", "--lmk")
        await town.command("kong", *rotate, secrets={"passphrase": SECOND})
        (left,) = (await town.query(LEFT, later.lmk_id))[0]
        assert left == 0
        await town.goes_on()
        told = await town.command("kong", *retire)
        assert f"the node opens keys under {later.lmk_id}\n" in told
        await town.goes_on()
        await asyncio.to_thread(opens_nowhere, town, [row["block"] for row in blocks])

    async def check_gone(town: Town, old: lmks.Lmk) -> None:
        assert town.opened(SECOND).lmk_ids == (later.lmk_id,)
        held = await town.query("SELECT DISTINCT lmk_ids FROM switch.lmk_holder")
        assert [list(row["lmk_ids"]) for row in held] == [[later.lmk_id]]
        pids = set(town.node.workers)
        kill(town.node.workers[0])  # the next one gets the LMK of now
        async with asyncio.timeout(180):
            while not set(town.node.workers) - pids or len(set(town.node.workers)) != len(pids):
                await asyncio.sleep(0.1)
                town.node.read_facts()
        async with Wire(town.node.address) as wire:
            terminal = make_terminals(TERMINALS)[-1]
            await town._ask(wire, terminal, terminal.sign_on())
        assert not town.failed
        acts = [row["act"] for row in await town.query(
            "SELECT act FROM switch.audit_record WHERE object LIKE 'lmk:%' AND result = 'done'"
        )]  # fmt: skip
        assert (acts[0], acts[-1]) == ("lmk.sealed", "keys.retire")
        assert set(acts[1:-1]) == {"keys.rotate"}
        del old

    with town_in(tmp_path) as town:
        asyncio.run(day(town))
        assert town.node.stop() == 0, town.node.log()


def opens_nowhere(town: Town, blocks: list[str]) -> None:
    """The forms of before, under what the file has now. In a thread: the banks live on our loop."""
    vault = LocalVault(town.opened(SECOND), os.urandom)
    for block in blocks:
        with pytest.raises(KeyBlockError):
            vault.check_value(block)


async def other_keys(town: Town, lmk: lmks.Lmk) -> None:
    """Keys that are in nobody's way."""
    vault = LocalVault(lmk, os.urandom)
    made = [vault.generate_key(KeyUsage.TMK, 16) for _ in range(OTHER_KEYS)]
    connection = await asyncpg.connect(town.node.facts["database"]["owner_dsn"])
    try:
        await connection.executemany(
            "INSERT INTO switch.stored_key (owner, usage, version, block, check_value, lmk_id)"
            " VALUES ($1, 'TMK', 1, $2, $3, $4)",
            [
                (f"terminal:M/{number}", key.block, key.check_value, key.lmk_id)
                for number, key in enumerate(made)
            ],
        )
    finally:
        await connection.close()
