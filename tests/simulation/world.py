"""The whole thing in one process and in virtual time, out of one seed.

Processes of the switch (the production code above the ports) on one in-memory store, two banks and
their links, terminals, and the network between them. A world trades under faults, then the faults
stop, everything is brought to its end within a bounded time, and the checkers have the last word.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import hashlib
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from hsm.keys import KeyUsage
from hsm.lmk import TEST_LMK
from hsm.local import LocalVault
from hsm.pans import mask
from switch import data_keys
from switch.acquirers.sibling_messages import Unpacker
from switch.authorization import NumbersExhaustedError
from switch.journal import StoreDownError
from switch.reference import Link, Route
from switch.transactions import TYPES
from switch.virtual.loop import PROCESS, Process, run_virtual
from switch.virtual.network import FAIR, Network, Weather
from switch.virtual.ports import Machine, SimulatedClock, entropy_of
from terminals.registry import Merchant, StoredKey, Terminal as RegisteredTerminal
from terminals.simulator.accounts import Rules
from terminals.simulator.bank import Bank, BankFaults, BankOptions, BankServer, KeyFaults
from terminals.simulator.bank_lines import Dialler, Greeting, SimplexServer
from terminals.simulator.binary_bank import bank_of
from terminals.simulator.card import CardRange, card_pools
from terminals.simulator.dice import Dice
from terminals.simulator.terminal import Terminal, TerminalOptions
from tests.simulation import limits, routes
from tests.simulation.books import close_books
from tests.simulation.checkers import Broken, Checkers
from tests.simulation.edge import BANK_SOURCE, LINK_PORTS, SENDING_PORT
from tests.simulation.estate import Estate, WatchedDownloads
from tests.simulation.lines import CIRCUIT, NO_CIRCUIT, LinkPlan, disturb
from tests.simulation.node import PORT, Bounds, Node
from tests.simulation.store import Disturbed, StoreFaults, WatchedStore
from tests.simulation.till import Mix, Till, TillFaults
from tests.simulation.upheaval import Upheaval, cut_over, next_day, odd, upheave, weights_of
from tests.simulation.vault import DeviceFaults, VaultBusyError, VaultFaults

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable, Coroutine, Iterator, MutableMapping

    from hsm.lmk import Lmk
    from switch.virtual.network import Connection, Endpoint
    from terminals.simulator.com_file import ClearingFile

BASIC_TYPES = Merchant(merchant="", name="").allowed_types
BUSINESS_DATE = dt.date(2026, 1, 5)
TMK = "11111111111111112222222222222222"
TRACE_KEPT = 50_000
BALANCE_MINOR = 2_000_00
LOCAL_DICE = 0x2545F4914F6CDD1D
ROUTING_DICE = 0x9FB21C651E98DF25
THIRD_DICE = 0x94D049BB133111EB  # of links
SECOND_DICE = 0x5DEECE66D1CEB00F  # of what came later: it shifts nothing of what was there
BINARY_HOST: dict[str, Any] = {  # settings of a link to such a bank
    "dialect": "iso1987_binary.key_16",
    "form": "binary_host",
    "mac_algorithm": "tdes-cbc-binary",
    "key_form": "hex",
}
BANK_PORTS = (1, 2)  # a link that moves from one to the other needs new connections
ALIVE_S = 180.0  # the longest pause, and what a process needs after it
TRACE_MAX = LINK_STANS = 999_999


class ChaosRates(msgspec.Struct, frozen=True, kw_only=True):
    """Weights of what happens to whole parts, one every `every_s` on average; 0: never.

    `crash`: a process is killed, and starts again within 8 s · `pause`: it stands still for up to 20 s ·
    `drain`: it is told to end, and starts again within 5 s · `link_drop`: a bank closes its connections ·
    `bank_cut_off`: a cut cable, for up to 43 s · `clock_step`: a wall clock is set by up to a minute ·
    `outage`: the store refuses everything for up to 6.5 s · `cut_over`: the business date moves on.
    """

    every_s: float = 0.0
    crash: float = 3.0
    pause: float = 3.0
    drain: float = 1.0
    link_drop: float = 2.0
    bank_cut_off: float = 1.0
    clock_step: float = 1.0
    outage: float = 1.0
    cut_over: float = 0.3


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a world is made of and what goes wrong in it."""

    seed: int
    nodes: int = 3
    terminals: int = 6
    transactions: int = 120
    think_s: float = 4.0
    weather: Weather = FAIR
    store: StoreFaults = StoreFaults()
    bank: BankFaults = BankFaults()
    till: TillFaults = TillFaults()
    mix: Mix = Mix()
    chaos: ChaosRates = ChaosRates()
    upheaval: Upheaval = Upheaval()
    alternates: bool = False  # routes with a second choice
    workers: int = 2  # of a node, as far as there are processes
    link_connections: int = 2  # granted to a node: with fewer than workers, these hand over
    partial: bool = False  # banks approve what is left, and every second terminal takes that
    every_type: bool = False  # merchants are allowed every type of transaction
    siblings: Weather = FAIR  # of the streams between the workers of a node
    bounds: Bounds | None = None
    binary_host: bool = False  # bank_b is of the binary kind, with a header and codes of its own
    links: LinkPlan | None = None  # what happens to links besides
    bank_connects: bool = False  # bank_a connects to us, and signs on
    simplex: str = ""  # bank_b sends on another connection: dialled by us, or accepted
    risk: bool = False  # limits and risk rules are in force (`limits.RULES`)
    routing: bool = False  # routing rules are in force, and change (`routes.RULES`)
    downloads: bool = False  # terminals download, and the data change under way (`estate`)
    link_timeout_s: float = 8.0
    trade_max_s: float = 20_000.0
    calm_max_s: float = 1_500.0


class World:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.dice = Dice(plan.seed)
        self.second_dice = Dice(plan.seed ^ SECOND_DICE)
        self.key_changes: dict[tuple[str, str], float] = {}  # (bank, usage) → when
        self.files: dict[tuple[str, dt.date], ClearingFile] = {}  # of settlement dates that ended
        self.lmk: Lmk = TEST_LMK
        self.context: contextvars.Context = Process("world").context
        self.context.run(_nobody)
        self.clock = SimulatedClock(Machine())
        self.queued_before = 0  # the last place in the queues when our date began
        self.store_stepped_s = -1e9  # when the store's clock was last set
        self.counts: Counter[str] = Counter()
        self.unbalanced: list[str] = []
        self.trace: deque[str] = deque(maxlen=TRACE_KEPT)
        self.steps = 0
        self._hash = hashlib.sha256()
        self._work: dict[asyncio.Task[Any], None] = {}
        self._stopped: asyncio.Event = asyncio.Event()
        self.checkers = Checkers(self)
        self.closing = close_books  # the day's end, and what is wrong with it
        self.network = Network(self._dice())
        self.network.taps.append(self.checkers.wires.tap)
        self.network.on_connect = self.checkers.connected
        self.local = Network(Dice(plan.seed ^ LOCAL_DICE), name="siblings")
        self.local.taps.append(self._overheard)
        self.disturbed = Disturbed(self._dice())
        self.store = WatchedStore(self.clock, business_date=BUSINESS_DATE, faults=self.disturbed)
        self.store.on_commit = self.checkers.committed
        self.estate: Estate | None = None
        if plan.downloads:
            self.estate = Estate(self)
            self.store.downloads = WatchedDownloads(self.store, self.estate.stands)
        self.vault = LocalVault(self.lmk, entropy_of(self._dice()))
        ranges = (
            CardRange("622000", "01020000", count=12, expired_every=0, poor_every=4),
            CardRange("621799", "04030000", count=12, expired_every=0, poor_every=4),
        )
        self.banks: list[Bank] = []
        self.bank_servers: list[BankServer] = []
        self.bank_at: dict[tuple[str, int], Bank] = {}
        for name, institution, own in (
            ("bank_a", "01020000", ranges),
            ("bank_b", "04030000", ranges[::-1]),
        ):
            self._add_bank(name, institution, own if plan.routing else own[:1])
        self.links = [
            Link(
                acquirer=name,
                host=name,
                port=1,
                de32=f"{at + 1}0200001",
                timeout_s=plan.link_timeout_s,
                connect_timeout_s=3.0,
                reconnect_s=0.5,
                echo_idle_s=15.0,
                max_connections=plan.link_connections,
                reversal_unknown_after_s=10.0,
                retry_s=1.0,
                retry_max_s=10.0,
            )
            for at, name in enumerate(("bank_a", "bank_b"))
        ]
        circuit = CIRCUIT if plan.links is not None and plan.links.circuit else NO_CIRCUIT
        self.links = [msgspec.structs.replace(link, **circuit) for link in self.links]
        if plan.bounds is not None:
            self.links = [
                msgspec.structs.replace(
                    link,
                    in_flight_max=plan.bounds.link_in_flight,
                    queue_concurrency=plan.bounds.link_concurrency,
                )
                for link in self.links
            ]
        if plan.bank_connects:
            self.links[0] = msgspec.structs.replace(
                self.links[0], connects="bank", sign_on="bank", host="", port=0
            )
        if plan.simplex:
            self.links[1] = msgspec.structs.replace(
                self.links[1], receive_on=plan.simplex, receive_port=SENDING_PORT
            )
        if plan.binary_host:
            self.links[1] = msgspec.structs.replace(self.links[1], **BINARY_HOST)
        self.nodes: list[Node] = []
        for at in range(plan.nodes):
            self._add_node(*divmod(at, plan.workers))
        self.merchants = list(
            {
                merchant_of(at): Merchant(
                    merchant=merchant_of(at),
                    name=f"Shop {at}",
                    partial_approval=plan.partial,
                    allowed_types=tuple(TYPES) if plan.every_type else BASIC_TYPES,
                    downloads="shop" if plan.downloads and at >= 2 else "",
                )
                for at in range(plan.terminals)
            }.values()
        )
        if plan.upheaval.wrap:
            for link in self.links:
                begin = LINK_STANS * (1 + self.second_dice.below(3)) - self.second_dice.below(120)
                self.store.blocks[f"stan:{link.acquirer}"] = begin
        self.addresses = [(node.host, PORT) for node in self.nodes]
        pools = card_pools(ranges)
        for card in (*pools.sound, *pools.poor):
            self.checkers.secrets.add("a card number", card.pan)
            self.checkers.secrets.add("a track", card.track2)
            for number in (card.pan, card.payment_code):
                self.checkers.routes.know(number, mask(number))
            if plan.every_type:
                self.checkers.secrets.add("a payment code", card.payment_code)
        self.checkers.secrets.add("a clear key", bytes.fromhex(TMK))
        self.tills = [
            self._till(at, list(pools.sound), list(pools.poor)) for at in range(plan.terminals)
        ]

    def _dice(self) -> Dice:
        return Dice(self.dice.bits64())

    def _overheard(self, _from: Endpoint, data: bytes) -> None:
        for said in Unpacker(len(data)).receive(data):
            self.count(f"hand-over {type(said).__name__}")

    def _add_node(self, number: int, worker: int) -> None:
        plan, at = self.plan, len(self.nodes)
        workers = min(plan.workers, plan.nodes - number * plan.workers)
        first = self.nodes[at - worker] if worker else None
        node = Node(
            self, f"n{number + 1}", worker, workers, f"10.0.0.{at + 1}", self._dice(), first
        )
        self.nodes.append(node)

    def _add_bank(self, name: str, institution: str, cards: tuple[CardRange, ...]) -> None:
        binary = self.plan.binary_host and name == "bank_b"
        keys = {use: entropy_of(self._dice())(16) for use in ("zpk", "zak")}
        options = BankOptions(
            name=name,
            kind="binary_host" if binary else "reference",
            institution_id=institution,
            zpk=odd(keys["zpk"]).hex(),
            zak=odd(keys["zak"]).hex(),
            zmk=odd(entropy_of(Dice(self.second_dice.bits64()))(16)).hex(),
            cards=cards,
            faults=self.plan.bank,
            latency_s=0.05,
            rules=Rules(partial_approvals=self.plan.partial),
        )
        for key in (options.zpk, options.zak, options.zmk):
            self.checkers.secrets.add("a clear key", bytes.fromhex(key))
        bank = bank_of(options, BUSINESS_DATE, Bits(self._dice()))
        server = self._server(name, bank)
        self.banks.append(bank)
        self.bank_servers.append(server)
        ports = (*BANK_PORTS, SENDING_PORT)
        self.bank_at |= dict.fromkeys([(name, port) for port in ports], bank)

    def _server(self, name: str, bank: Bank) -> BankServer:
        """`bank_a` may dial, `bank_b` may send on connections of their own."""
        plan = self.plan
        if name == "bank_b" and plan.simplex:
            return SimplexServer(bank)
        greets = name == "bank_a" and plan.bank_connects
        return BankServer(bank, Greeting) if greets else BankServer(bank)

    def _diallers(self) -> Iterator[Dialler]:
        """Of banks that connect to us: each to every process that has room for it."""
        plan = self.plan
        bank_a, bank_b = self.bank_servers
        dials: list[tuple[str, Callable[[], asyncio.Protocol]]] = []
        if plan.bank_connects:
            dials.append(("bank_a", bank_a.protocol))
        if plan.simplex == "accepted":
            assert isinstance(bank_b, SimplexServer)
            dials.append(("bank_b", bank_b.sender))
        for name, protocol in dials:
            addresses = [(node.host, LINK_PORTS[name]) for node in self.nodes]
            for at in range(len(addresses)):
                turned = addresses[at:] + addresses[:at]
                yield Dialler(self._dial, turned, protocol, count=1, pause_s=0.7 + 0.1 * at)

    async def _dial(
        self, factory: Callable[[], asyncio.Protocol], host: str, port: int
    ) -> Endpoint:
        async with asyncio.timeout(3.0):
            return await self.network.connect(factory, host, port, BANK_SOURCE)

    def bank_side(self, connection: Connection) -> tuple[Bank | None, bool]:
        """The bank at one end of a connection, and whether it is the one who dialled."""
        _, port = connection.to
        for name, at in LINK_PORTS.items():
            if port == at:
                return next(bank for bank in self.banks if bank.options.name == name), True
        return self.bank_at.get(connection.to), False

    def _till(self, at: int, cards: list[Any], poor: list[Any]) -> Till:
        plan = self.plan
        first = TRACE_MAX - self.second_dice.below(20) if plan.upheaval.wrap else 1
        terminal = Terminal(
            TerminalOptions(
                first_trace=first,
                merchant=merchant_of(at),
                terminal=f"1000000{at + 1}",
                tmk=TMK,
                reversal_tries=1_000_000,
                partial_approval=plan.partial and at % 2 == 0,
            ),
            tpdu_source=f"{at + 1:04d}",
        )
        quota = plan.transactions // plan.terminals + (at < plan.transactions % plan.terminals)
        return Till(
            self,
            terminal,
            dice=self._dice(),
            quota=quota,
            cards=cards,
            poor=poor,
            source=f"10.1.0.{at + 1}",
            mix=plan.mix,
            faults=plan.till,
            think_s=plan.think_s,
        )

    # -- what the parts ask of their world --------------------------------------------------------

    def note(self, event: str, *details: object) -> None:
        """One line of the trace. Its hash is what two runs of a seed are compared by."""
        now_s = self.now_s()
        line = " ".join([f"{now_s:.6f}", event, *map(str, details)])
        self.steps += 1
        self._hash.update(line.encode() + b"\n")
        self.trace.append(line)

    def now_s(self) -> float:
        try:
            return asyncio.get_running_loop().time()
        except RuntimeError:  # what the garbage collector ends after the loop
            return -1.0

    @property
    def trace_hash(self) -> str:
        return self._hash.hexdigest()

    def count(self, what: str) -> None:
        self.counts[what] += 1

    def count_all(self) -> None:
        """What the parts have counted of their own, too."""
        self.counts += self.network.counts + self.local.counts + self.disturbed.counts
        self.counts["opposite of a frozen capture"] += len(self.store.opposites)
        for bank in self.banks:
            self.counts += Counter({f"bank {what}": count for what, count in bank.faults.items()})
            self.counts["key changes taken"] += bank.key_changes

    def stop(self) -> None:
        """A promise is broken: nothing that follows matters."""
        self._stopped.set()

    def call_later(self, delay_s: float, callback: Callable[..., object], *args: Any) -> None:
        asyncio.get_running_loop().call_later(delay_s, callback, *args, context=self.context)

    def create_task(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return asyncio.get_running_loop().create_task(work, context=self.context.copy())

    def serve(self, task: asyncio.Task[Any]) -> None:
        """Work of nobody's process; cancelled with the world."""
        self._work[task] = None
        task.add_done_callback(self._served)

    def _served(self, task: asyncio.Task[Any]) -> None:
        """Nothing in the simulation itself fails."""
        self._work.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.checkers.fail("P7", f"the simulation itself failed: {error!r}")

    def failed_inside(self, who: str, error: BaseException | str) -> None:
        """The switch logs no failure of its own that no fault explains."""
        self.note("failed", who, repr(error))
        self.checkers.no_secrets("a failure", repr(error))
        if not isinstance(error, StoreDownError | NumbersExhaustedError | VaultBusyError):
            self.checkers.fail("P7", f"{who} failed: {error!r}")

    def logged(self, _logger: object, method: str, event: MutableMapping[str, Any]) -> Any:
        """A structlog processor: everything the switch logs is in the trace."""
        text = " ".join(f"{key}={value}" for key, value in event.items())
        with contextlib.suppress(RuntimeError):  # outside the loop
            self.note("log", method, text)
            self.checkers.no_secrets("the log", text)
            self.checkers.lines.logged(event)
            error = str(event.get("error", ""))
            explained = ("StoreDown", "Taken", "VaultBusy")
            if method in ("error", "exception") and not any(one in text for one in explained):
                self.failed_inside("log", f"{event.get('event')} {error}")
        raise structlog.DropEvent

    # -- its life ---------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """Reference data and keys, as `data apply` and `keys import` leave them."""
        reference = self.store.reference
        items: list[tuple[str, str, dict[str, Any]]] = [
            ("merchant", merchant.merchant, msgspec.to_builtins(merchant))
            for merchant in self.merchants
        ]
        for at in range(self.plan.terminals):
            registered = RegisteredTerminal(merchant=merchant_of(at), terminal=f"1000000{at + 1}")
            items.append(("terminal", registered.name, msgspec.to_builtins(registered)))
        items += [("link", link.acquirer, msgspec.to_builtins(link)) for link in self.links]
        for prefix, first, second in (
            ("622000", "bank_a", "bank_b"),
            ("621799", "bank_b", "bank_a"),
        ):
            alternates = (second,) if self.plan.alternates else ()
            route = Route(prefix=prefix, acquirer=first, alternates=alternates)
            items.append(("route", prefix, msgspec.to_builtins(route)))
        if self.plan.risk:
            items += limits.items()
        if self.plan.routing:
            items += routes.items()
        await reference.apply(list({item[:2]: item for item in items}.values()), maker="simulation")
        await data_keys.ensure(reference, self.vault)
        if self.estate is not None:
            await self.estate.open()
        for at in range(self.plan.terminals):
            owner = f"terminal:{merchant_of(at)}/1000000{at + 1}"
            await self._add_key(owner, KeyUsage.TMK, bytes.fromhex(TMK))
        for bank in self.banks:
            owner = f"link:{bank.options.name}"
            await self._add_key(owner, KeyUsage.ZPK, bytes.fromhex(bank.options.zpk))
            await self._add_key(owner, KeyUsage.ZAK, bytes.fromhex(bank.options.zak))
            await self._add_key(owner, KeyUsage.ZMK, bytes.fromhex(bank.options.zmk))

    async def _add_key(self, owner: str, usage: KeyUsage, clear: bytes) -> None:
        made = self.vault.import_components(usage, [clear], allow_weak=True)
        await self.store.reference.add_key(
            StoredKey(
                owner=owner,
                usage=usage.value,
                version=0,
                block=made.block,
                check_value=made.check_value,
                lmk_id=made.lmk_id,
            )
        )

    async def run(self) -> None:
        """A life: trade under faults, calm down, check; the day's end finds just the breaks that faults explain."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._loop_failed)
        with logging_into(self):
            try:
                await self.open()
                await self.until(self.trade(), self.plan.trade_max_s, "the day's trade never ended")
                await self.calm_down()
                await self.until(self._prove_alive(), 20 * ALIVE_S, "purchases never ended")
                await self.come_to_rest()
                self.checkers.final()
                if self.estate is not None:
                    await self.estate.rest()
                self.raise_broken()
                for wrong in await self.closing(self):
                    self.checkers.fail("P5", f"day's end: {wrong}")
                self.raise_broken()
            finally:
                await self.close()

    async def open(self) -> None:
        await self.prepare()
        for server in self.bank_servers:
            for port in BANK_PORTS:
                self.network.listen(server.bank.options.name, port, server.protocol, None)
        if self.plan.simplex == "dialled":
            bank_b = self.bank_servers[1]
            assert isinstance(bank_b, SimplexServer)
            self.network.listen("bank_b", SENDING_PORT, bank_b.sender, None)
        for node in self.nodes:
            node.start()
        for dialler in self._diallers():
            self.serve(self.create_task(dialler.run()))
        await asyncio.sleep(3.0)

    async def trade(self) -> None:
        plan = self.plan
        self.network.weather = plan.weather
        self.local.weather = plan.siblings
        self.disturbed.rates = plan.store
        disturbing = []
        if plan.chaos.every_s > 0:
            disturbing.append(self._chaos(plan.chaos, self._dice()))
        if self.estate is not None:
            disturbing.append(self.estate.change())
        if plan.upheaval.rates.every_s > 0:
            disturbing.append(upheave(self, plan.upheaval.rates, self.second_dice))
        if plan.routing:
            disturbing.append(routes.change(self, Dice(plan.seed ^ ROUTING_DICE)))
        if plan.links is not None:
            disturbing.append(disturb(self, plan.links, Dice(plan.seed ^ THIRD_DICE)))
            for bank in self.banks:
                bank.key_faults = KeyFaults(
                    lost=plan.links.lost,
                    unanswered=plan.links.unanswered,
                    refused=plan.links.refused,
                    dice=Dice(plan.seed ^ THIRD_DICE ^ len(bank.options.name)),
                )
        tasks = [self.create_task(each) for each in disturbing]
        for task in tasks:
            self.serve(task)
        for node in self.nodes:
            node.vault.faults = plan.upheaval.vault
            node.vault.device = plan.upheaval.device
        await asyncio.gather(*[till.trade() for till in self.tills])
        for task in tasks:
            task.cancel()

    async def calm_down(self) -> None:
        """No fault from now on. Terminals end what they owe, queues empty, in bounded time."""
        self.note("calm")
        self.network.weather = self.local.weather = FAIR
        self.network.cut_off.clear()
        self.disturbed.rates = StoreFaults()
        self.disturbed.down = False
        self.disturbed.freed.set()
        for node in self.nodes:
            node.vault.faults = VaultFaults()
            node.vault.device = DeviceFaults()
            node.vault.refusing = False
        self.banks_do(BankFaults())
        for bank in self.banks:
            bank.key_faults = None
        await self.until(
            self._settle_all(), self.plan.calm_max_s, "terminals could not end their day"
        )

    async def come_to_rest(self) -> None:
        """Nothing is left to decide or to deliver, in bounded time."""
        await self.until(
            self._drained(), 2 * self.plan.calm_max_s, "the world did not come to rest"
        )

    def banks_do(self, faults: BankFaults) -> None:
        """From now on every bank does this to its messages."""
        for bank in self.banks:
            bank.options = msgspec.structs.replace(bank.options, faults=faults)

    async def _settle_all(self) -> None:
        await asyncio.gather(*[till.finish() for till in self.tills])

    async def _prove_alive(self) -> None:
        """Every process has a purchase approved by every bank again, soon after faults have stopped.

        Where a bank grants fewer connections than there are nodes, not every node has one: then any may.
        """
        till = self.tills[0]
        places: list[tuple[str, int] | None] = [*self.addresses]
        if self.plan.link_connections < len({node.config.node for node in self.nodes}):
            places = [None]
        for till.only in places:
            for bank in self.banks:
                approved = False
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(ALIVE_S):
                        approved = await till.buy_at(bank)
                self.count("alive")
                who = "any process" if till.only is None else till.only[0]
                what = f"{bank.options.name} approves nothing any more that comes by {who}"
                self.checkers.check("P8", approved, what)
        till.hang_up()

    async def _drained(self) -> None:
        for _ in range(int(self.plan.calm_max_s)):
            await asyncio.sleep(1.0)
            if not self.checkers.left_over():
                break
        await asyncio.sleep(
            2 * self.plan.link_timeout_s + 30.0
        )  # for what should not come any more

    async def until(self, work: Coroutine[Any, Any, None], bound_s: float, late: str) -> None:
        """It ends within its time, unless a promise is broken meanwhile."""
        task = asyncio.get_running_loop().create_task(work)
        stop = asyncio.get_running_loop().create_task(self._stopped.wait())
        await asyncio.wait((task, stop), timeout=bound_s, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if task.done():
            task.result()
        else:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self.checkers.fail("P4", f"{late} within {bound_s:.0f} s; {self.checkers.left_over()}")
        self.raise_broken()

    def raise_broken(self) -> None:
        if self.checkers.broken is not None:
            raise self.checkers.broken

    async def close(self) -> None:
        """Kill everything, so that nothing is left to the garbage collector."""
        for node in self.nodes:
            if node.alive:
                node.crash("closed")
        for _ in range(100):
            tasks = list(self._work)
            if not tasks:
                break
            if all(not node.boot.process.tasks for node in self.nodes if node.boot):
                for task in tasks:
                    task.cancel()
            await asyncio.sleep(0)

    def _loop_failed(self, _loop: object, context: dict[str, Any]) -> None:
        """No task or callback of the switch ends with an exception that nobody takes."""
        error = context.get("exception")
        self.checkers.fail("P7", f"{context.get('message')}: {error!r}")

    # -- what happens to whole parts ----------------------------------------------------------------

    async def _chaos(self, rates: ChaosRates, dice: Dice) -> None:
        weights = weights_of(rates)
        while True:
            await asyncio.sleep(dice.exponential_s(rates.every_s))
            what = dice.weighted(weights)
            node = dice.choice(self.nodes)
            amount = dice.random()
            self.note("chaos", what, node.name)
            self.count(f"chaos {what}")
            if what == "crash":
                node.crash("killed")
            elif what == "pause":
                node.pause(0.5 + 20.0 * amount)
            elif what == "drain":
                node.drain(0.2 + 5.0 * amount)
            elif what == "link_drop":
                self._drop_links(dice)
            elif what == "bank_cut_off":
                self._cut_off(dice.choice(self.banks).options.name, 3.0 + 40.0 * amount)
            elif what == "clock_step":
                node.clock.machine.ahead_s += (amount - 0.5) * 120.0
            elif what == "outage":
                self.disturbed.down = True
                self.call_later(0.5 + 6.0 * amount, self._store_up)
            elif what == "cut_over":
                await cut_over(self)

    def bank_cut_over(self, bank: Bank) -> None:
        """The settlement date of a bank ends: its file is written, DE 15 says the next."""
        name, date = bank.options.name, bank.settlement_date
        if date <= self.store.today:  # no bank is more than a day ahead of us
            self.files[name, date] = bank.clearing_file(date)
            server = self.bank_servers[self.banks.index(bank)]
            server.cut_over(next_day(date))

    def clearing_files(self) -> dict[tuple[str, dt.date], ClearingFile]:
        """All of them, now that nothing will be decided any more: one a bank and date."""
        last = max(self.store.today, *(bank.settlement_date for bank in self.banks))
        for bank in self.banks:
            while bank.settlement_date <= last:
                date = bank.settlement_date
                self.files[bank.options.name, date] = bank.clearing_file(date)
                bank.cut_over(next_day(date))
        return self.files

    def _store_up(self) -> None:
        self.disturbed.down = False

    def _drop_links(self, dice: Dice) -> None:
        server = dice.choice(self.bank_servers)
        for connection in list(server.connections):
            if connection.transport is not None and dice.chance(0.7):
                if dice.chance(0.5):
                    connection.transport.close()
                else:
                    connection.transport.abort()

    def _cut_off(self, host: str, for_s: float) -> None:
        """A cut cable: connections fall silent, new ones hang."""
        for connection in self.network.connections.values():
            bank, _ = self.bank_side(connection)
            if bank is not None and bank.options.name == host:
                connection.silent = True
        ends = [(host, port) for port in (*BANK_PORTS, SENDING_PORT)]
        for end in (*ends, *((node.host, LINK_PORTS[host]) for node in self.nodes)):
            self.network.cut_off.add(end)
            self.call_later(for_s, self.network.cut_off.discard, end)


class Bits:
    """`random.Random`'s `getrandbits` from dice."""

    def __init__(self, dice: Dice) -> None:
        self._dice = dice

    def getrandbits(self, k: int, /) -> int:
        value = 0
        for _ in range((k + 63) // 64):
            value = value << 64 | self._dice.bits64()
        return value & ((1 << k) - 1)


@contextlib.contextmanager
def logging_into(world: World) -> Iterator[None]:
    """structlog writes into the trace meanwhile."""
    before = structlog.get_config()
    structlog.configure(
        processors=[world.logged],
        wrapper_class=structlog.BoundLogger,
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)


def _nobody() -> None:
    """In the context of the world no process is running."""
    PROCESS.set(None)


def merchant_of(at: int) -> str:
    return f"10429000000000{at // 2 + 1}"


class Report(msgspec.Struct):
    """What a world was like, for people and for comparing runs."""

    seed: int
    trace_hash: str
    steps: int
    virtual_s: float
    checked: dict[str, int]
    counts: dict[str, int]
    forgotten: int
    copy_refused: int
    unbalanced: list[str]
    broken: str = ""
    tail: list[str] = []


def simulate(
    plan: Plan, prepare: Callable[[World], None] | None = None, *, keep_trace: bool = True
) -> Report:
    """One seed, start to end. A broken promise is in `broken`, with the end of the trace."""
    made: list[World] = []

    async def main() -> str:
        world = World(plan)
        made.append(world)
        if prepare is not None:
            prepare(world)
        try:
            await world.run()
        except Broken as broken:
            return str(broken)
        return ""

    broken, virtual_s = run_virtual(main())
    (world,) = made
    world.count_all()
    return Report(
        seed=plan.seed,
        trace_hash=world.trace_hash,
        steps=world.steps,
        virtual_s=virtual_s,
        checked=dict(sorted(world.checkers.checked.items())),
        counts=dict(sorted(world.counts.items())),
        forgotten=len(world.checkers.views.explained.forgotten),
        copy_refused=len(world.checkers.views.explained.copy_refused),
        unbalanced=world.unbalanced,
        broken=broken,
        tail=list(world.trace) if broken or keep_trace else [],
    )
