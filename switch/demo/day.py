"""One day: the switch starts, terminals trade with trouble, batches close, the day closes, all is counted.

Banks and terminals live in this process, on its loop, and speak bytes over TCP; the switch is the
child process of `node.py`. What is believed of the switch comes from its answers, its files and its
store, read without writing.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import resource
import signal
from random import Random  # noqa: TID251 - seeded test traffic; nothing here needs entropy
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from hsm import lmk as lmks
from hsm.keys import KeyUsage
from settlement.adapters.postgres import open_postgres
from settlement.close import CloseResult
from settlement.ports import Progress
from switch.adapters.onlooker import Onlooker, ReversalCount
from switch.demo import node as nodes, plan
from switch.demo.breaks import Comparison, compare_breaks
from switch.demo.money import Money, SlipName, count_money
from switch.demo.node import DemoError, Node
from terminals.simulator.bank import Bank, BankReport, BankServer
from terminals.simulator.fleet import Fleet, FleetResult
from terminals.simulator.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from settlement.adapters.postgres import PostgresStore
    from switch.demo.plan import Options
    from terminals.simulator.com_file import PlantedBreak

QUIET_S = 90.0  # until nothing is undecided and every queue is empty
QUIET_POLL_S = 0.2
SIGNED_ON_S = 30.0
REPLACED_S = 20.0


class Watch(Protocol):
    """Whoever looks on."""

    def stage(self, name: str, total: int | None = None) -> None: ...

    def advance(self) -> None: ...

    def event(self, key: str, **values: object) -> None: ...


class Check(msgspec.Struct, frozen=True):
    """One thing that must hold; `name` is a key of the texts."""

    name: str
    passed: bool
    detail: str = ""


class Day(msgspec.Struct, kw_only=True):
    """What the day came to."""

    seed: int
    business_date: dt.date
    fleet: FleetResult
    banks: list[BankReport]
    events: list[str]
    reversals: list[ReversalCount]
    batches: dict[str, int]
    cases: dict[str, int]
    breaks: Comparison
    money: Money
    close: CloseResult
    checks: list[Check]
    files: list[str]
    stages_s: dict[str, float] = {}
    wall_s: float = 0.0
    cpu_s: dict[str, float] = {}

    @property
    def right(self) -> bool:
        return all(check.passed for check in self.checks)


class Banks:
    """The two banks and their listening sockets."""

    def __init__(self, seed: int, settlement_date: dt.date) -> None:
        bits = Random(seed)  # noqa: S311 - see the import
        self.banks = [Bank(plan.bank_options(seed, of), settlement_date, bits) for of in plan.BANKS]
        self.servers = {bank.options.name: BankServer(bank) for bank in self.banks}
        self.ports = dict.fromkeys(self.servers, 0)
        self._listening: dict[str, asyncio.Server] = {}

    async def listen(self, name: str) -> None:
        loop = asyncio.get_running_loop()
        self._listening[name] = await loop.create_server(
            self.servers[name].protocol, "127.0.0.1", self.ports[name]
        )
        self.ports[name] = self._listening[name].sockets[0].getsockname()[1]

    async def listen_all(self) -> None:
        for name in self.servers:
            await self.listen(name)

    async def drop(self, name: str, down_s: float) -> None:
        """The line is cut: connections break, and nobody answers for a while."""
        self._listening[name].close()
        self.servers[name].close()
        await asyncio.sleep(down_s)
        await self.listen(name)

    def connections(self, name: str) -> int:
        """Signed-on connections."""
        return sum(one.session.signed_on for one in self.servers[name].connections)

    def late(self) -> int:
        """Answers that were, or still will be, held back."""
        return sum(bank.faults["late"] + bank.faults["overtaken"] for bank in self.banks)

    def close(self) -> None:
        for listening in self._listening.values():
            listening.close()
        for server in self.servers.values():
            server.close()


class Stopwatch:
    """A watch that also notes how long each stage took."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._name = ""
        self._since_s = 0.0
        self.stages_s: dict[str, float] = {}

    def stage(self, name: str, total: int | None = None) -> None:
        self.finish()
        self._name = name.removeprefix("stage_")
        self._watch.stage(name, total)

    def finish(self) -> None:
        now_s = asyncio.get_running_loop().time()
        if self._name:
            taken_s = self.stages_s.get(self._name, 0.0) + now_s - self._since_s
            self.stages_s[self._name] = round(taken_s, 1)
        self._name, self._since_s = "", now_s

    def advance(self) -> None:
        self._watch.advance()

    def event(self, key: str, **values: object) -> None:
        self._watch.event(key, **values)


async def live(options: Options, node: Node, onlooker: Watch, *, began_s: float) -> Day:
    """The whole day; the node is started here and stopped by whoever made it."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    watch = Stopwatch(onlooker)
    watch.stage("stage_start")
    await node.start()
    async with Onlooker.open(node.dsn) as store, open_postgres(node.dsn) as (books, _):
        date = await store.business_date()
        banks = Banks(options.seed, date)
        await banks.listen_all()
        try:
            watch.stage("stage_furnish")
            await furnish(options, node, banks)
            trade = Trade(options, node, banks, watch)
            await trade.run()
            watch.stage("stage_quiet")
            left = await quiet(store, date, banks, calm_s=plan.LATE_S + 0.5)
            watch.stage("stage_settle", len(trade.terminals))
            await trade.settle()
            left += await quiet(store, date, banks, calm_s=0.0)
            planted = deliver(options, banks.banks, date)
            day_end = DayEnd(options, node.dsn, date, watch)
            result = await day_end.close()
            before = day_end.hashes()
            again = await day_end.close("stage_again")
            watch.stage("stage_check")
            day = await count(options, store, books, date, banks, trade, planted, result)
            watch.finish()
        finally:
            banks.close()
    same = day_end.hashes() == before and again.to_json() == result.to_json()
    day.checks.append(Check("check_again", same, str(len(before))))
    day.checks.insert(2, Check("check_undecided", left == 0, str(left) if left else ""))
    day.files = paths(options, node, result)
    day.stages_s = watch.stages_s
    day.wall_s = loop.time() - began_s
    day.cpu_s = cpu()
    return day


async def furnish(options: Options, node: Node, banks: Banks) -> None:
    """Reference data and keys; returns when both links are signed on everywhere."""
    keys: list[tuple[str, KeyUsage, str]] = []
    for bank in banks.banks:
        of = bank.options
        for usage, clear in (
            (KeyUsage.ZMK, of.zmk),
            (KeyUsage.ZPK, of.zpk),
            (KeyUsage.ZAK, of.zak),
        ):
            keys.append((f"link:{of.name}", usage, clear))
    for terminal in plan.terminal_options(options.seed):
        owner = f"terminal:{terminal.merchant}/{terminal.terminal}"
        keys.append((owner, KeyUsage.TMK, terminal.tmk))
    await nodes.furnish(node, plan.reference(options.seed, banks.ports), keys)

    def signed_on() -> bool:
        """By every connection: then every worker has read the reference data."""
        return all(banks.connections(name) >= plan.LINK_CONNECTIONS for name in banks.servers)

    await node.wait(signed_on, "links", SIGNED_ON_S)


# -- trading --------------------------------------------------------------------------------------


class Trade:
    """The fleet, and the troubles that come at their time."""

    def __init__(self, options: Options, node: Node, banks: Banks, watch: Watch) -> None:
        self.terminals = [
            Terminal(each, f"{index + 1:04X}")
            for index, each in enumerate(plan.terminal_options(options.seed))
        ]
        self.events: list[str] = []
        self.lost_slips: list[SlipName] = []
        self.unbalanced: list[str] = []
        self.killed = 0
        self._options = options
        self._node = node
        self._banks = banks
        self._watch = watch
        self._done = 0
        self._changed = asyncio.Event()
        self._fleet = Fleet(
            self.terminals,
            plan.fleet_options(options, *node.address),
            Random(options.seed),  # noqa: S311 - see the import
            connect,
            self._notice,
        )

    @property
    def result(self) -> FleetResult:
        return self._fleet.result

    def _notice(self, kind: str, code: str) -> None:
        while self._done < self._fleet.result.transactions:
            self._done += 1
            self._watch.advance()
            self._changed.set()

    async def run(self) -> None:
        """Until every terminal has done its share and nothing of it is owed."""
        self._watch.stage("stage_trade", self._options.transactions)
        troubles = asyncio.create_task(self._troubles())
        try:
            await self._fleet.run()
            if not self._fleet.result.gave_up:
                await asyncio.wait([troubles], timeout=REPLACED_S)
        finally:
            troubles.cancel()
            await asyncio.gather(troubles, return_exceptions=True)

    async def _troubles(self) -> None:
        await self._reached(plan.LINK_B_DROPS_AT)
        await self._drop_link("bank-b")
        await self._reached(plan.WORKER_DIES_AT)
        self.killed = self._node.kill_worker()
        self._tell("event_worker", pid=self.killed)
        await self._reached(plan.LINK_A_DROPS_AT)
        await self._drop_link("bank-a")

    async def _reached(self, share: float) -> None:
        while self._done < share * self._options.transactions:
            self._changed.clear()
            await self._changed.wait()

    async def _drop_link(self, name: str) -> None:
        self._tell("event_link", bank=name)
        await self._banks.drop(name, plan.link_down_s(self._options))

    def _tell(self, key: str, **values: object) -> None:
        self.events.append(key)
        self._watch.event(key, **values)

    async def settle(self) -> None:
        """Every terminal closes its batch. One has lost a slip, so its totals are wrong."""
        for terminal in self.terminals:
            if slips := terminal.voidable():
                slip = slips[0]
                terminal.slips.remove(slip)
                self.lost_slips.append(
                    (slip.merchant, slip.terminal, int(slip.batch), int(slip.trace))
                )
                self.unbalanced.append(terminal.options.terminal)
                break

        async def one(agent: Any) -> None:
            try:
                await agent.settle()
            except ConnectionError as error:
                self.result.gave_up.append(f"{agent.terminal.options.terminal}: {error}")
            await agent.trunk.hang_up()
            self._watch.advance()

        await asyncio.gather(*(one(agent) for agent in self._fleet.agents))

    async def replaced(self) -> bool:
        """Whether another process has the place of the killed worker."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + REPLACED_S
        while loop.time() < until_s:
            self._node.read_facts()
            if self.killed and self.killed not in self._node.workers and all(self._node.workers):
                return True
            await asyncio.sleep(QUIET_POLL_S)
        return False


async def connect(
    host: str, port: int, factory: Callable[[], asyncio.Protocol]
) -> tuple[asyncio.BaseTransport, asyncio.Protocol]:
    return await asyncio.get_running_loop().create_connection(factory, host, port)


async def quiet(store: Onlooker, date: dt.date, banks: Banks, *, calm_s: float) -> int:
    """Until nothing is undecided, the queues are empty and no bank held an answer back for `calm_s`.

    Returns what was left when the time was up, 0 for nothing.
    """
    loop = asyncio.get_running_loop()
    until_s = loop.time() + QUIET_S
    held, since_s = banks.late(), loop.time()
    while True:
        if banks.late() != held:
            held, since_s = banks.late(), loop.time()
        left = await store.left_over(date)
        now_s = loop.time()
        if left == 0 and now_s - since_s >= calm_s:
            return 0
        if now_s > until_s:
            return left
        await asyncio.sleep(QUIET_POLL_S)


# -- the day's end --------------------------------------------------------------------------------


def deliver(
    options: Options, banks: list[Bank], date: dt.date
) -> dict[str, tuple[PlantedBreak, ...]]:
    """Each bank's clearing file into the folder for the close, a copy and its mistakes for itself."""
    planted: dict[str, tuple[PlantedBreak, ...]] = {}
    for bank in banks:
        name = bank.options.name
        file = bank.clearing_file(date)
        for folder in (inbox(options) / name, options.banks_folder / name):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(folder / file.name, file.data)
        listed = msgspec.json.format(msgspec.json.encode(file.planted))
        write_private(options.banks_folder / name / f"{file.name}.breaks.json", listed)
        planted[name] = file.planted
    return planted


def inbox(options: Options) -> Path:
    return options.banks_folder / "delivered"


def write_private(path: Path, data: bytes) -> None:
    """Clearing files hold card numbers: 0600."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


class DayEnd(Progress):
    """The real close, with its steps as progress."""

    def __init__(self, options: Options, dsn: str, date: dt.date, watch: Watch) -> None:
        self._options = options
        self._dsn = dsn
        self._date = date
        self._watch = watch

    @property
    def reports(self) -> Path:
        from switch.commands.close import REPORTS

        return self._options.data / REPORTS

    async def close(self, stage: str = "stage_close") -> CloseResult:
        from settlement.close import DIFFERENCES, DONE
        from settlement.ports import STEPS
        from switch.commands.close import close_date

        self._watch.stage(stage, len(STEPS))
        result = await close_date(
            self._dsn,
            lmks.TEST_LMK,
            self._date,
            files=inbox(self._options),
            reports=self.reports,
            progress=self,
        )
        if result.exit_code not in (DONE, DIFFERENCES):
            raise DemoError(f"close: {result.message}")
        return result

    def started(self, step: str) -> None:
        pass

    def advanced(self, step: str, note: str) -> None:
        pass

    def finished(self, step: str, totals: dict[str, int]) -> None:
        self._watch.advance()

    def hashes(self) -> dict[str, bytes]:
        """Every file of the reports, byte for byte."""
        return {
            str(path.relative_to(self.reports)): path.read_bytes()
            for path in sorted(self.reports.rglob("*"))
            if path.is_file()
        }


# -- counting -------------------------------------------------------------------------------------


async def count(
    options: Options,
    store: Onlooker,
    books: PostgresStore,
    date: dt.date,
    banks: Banks,
    trade: Trade,
    planted: dict[str, tuple[PlantedBreak, ...]],
    result: CloseResult,
) -> Day:
    """Read everybody's records and compare them."""
    slips = [slip for terminal in trade.terminals for slip in terminal.slips]
    money = count_money(
        banks=banks.banks,
        planted=planted,
        file_effects=await store.filed(date),
        captures=await books.captures(date),
        transactions=await books.transactions(date),
        ledger_minor=sum(total.amount_minor for total in await books.posted_totals(date)),
        slips=slips,
        lost_slips=set(trade.lost_slips),
    )
    of_terminals = sorted(
        one.keys["terminal"] for one in result.breaks if one.break_class == "terminal_totals"
    )
    comparison = compare_breaks(
        planted, [one for one in result.breaks if one.break_class != "terminal_totals"]
    )
    fleet = trade.result
    fleet.slips = slips
    closed = await store.batches()
    batches = {rule: len(terminals) for rule, terminals in closed.items()}
    cases = await store.cases()
    reversals = await store.reversals()
    open_reversals = sum(one.count for one in reversals if one.answer == "?")
    undecided = [str(slip) for slip in fleet.undecided]
    trial = sum(line.balance_minor for line in result.trial_balance)
    checks = [
        Check("check_terminals", not fleet.gave_up, "; ".join(fleet.gave_up[:3])),
        Check("check_worker", await trade.replaced(), str(trade.killed)),
        Check(
            "check_repeats",
            not fleet.repeats_different,
            "; ".join(fleet.repeats_different[:3]) or str(fleet.repeats_same),
        ),
        Check(
            "check_reversals",
            not undecided and not open_reversals,
            "; ".join(undecided[:3]) or str(sum(fleet.reversals.values())),
        ),
        Check(
            "check_batches",
            set(batches) <= {"balanced", "uploaded"}
            and closed.get("uploaded", []) == trade.unbalanced
            and sum(number for kind, number in cases.items() if kind.startswith("batch_"))
            == len(trade.lost_slips)
            and of_terminals == sorted(trade.unbalanced),
            " ".join(f"{rule}={number}" for rule, number in (*batches.items(), *cases.items())),
        ),
        Check(
            "check_breaks",
            comparison.right,
            f"{len(result.breaks)}"
            if comparison.right
            else f"{comparison.not_found[:3]} / {comparison.not_expected[:3]}",
        ),
        Check("check_money", money.right, "; ".join(money.unexplained[:3])),
        Check("check_trial", trial == 0 and bool(result.trial_balance), str(trial)),
    ]
    return Day(
        seed=options.seed,
        business_date=date,
        fleet=fleet,
        banks=[bank.report() for bank in banks.banks],
        events=trade.events,
        reversals=reversals,
        batches=batches,
        cases=cases,
        breaks=comparison,
        money=money,
        close=result,
        checks=checks,
        files=[],
    )


def paths(options: Options, node: Node, result: CloseResult) -> list[str]:
    """What was written, for whoever wants to look."""
    from switch.commands.close import REPORTS

    reports = [str(options.data / REPORTS / output.name) for output in result.files]
    banks = sorted(str(path) for path in options.banks_folder.glob("bank-*/*"))
    logs = sorted(str(path) for path in node.log.parent.iterdir() if path.is_file())
    return [*reports, *banks, *logs, str(options.data / "reference.toml")]


def cpu() -> dict[str, float]:
    """CPU seconds of this process; the child's are known when it has ended."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    return {"demo": round(own.ru_utime + own.ru_stime, 1)}
