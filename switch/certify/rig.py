"""The switch between one terminal and one link: its code, a store in memory, the link's own wire.

Every life of the link is a life of the switch: it signs on when it starts and off when it drains, on
the same store, so that numbers go on. The terminal is the simulated one; it sits in memory, also
where the link is a real bank's.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING, Final, cast

import msgspec

from hsm.adapters.local import LocalHsm
from hsm.keys import KeyUsage
from iso8583.framing import POS, Framer
from switch import data_keys
from switch.adapters.memory import MemoryStore
from switch.certify.tap import Tap
from switch.config import Config, Engine, Listener, Queue
from switch.reference import Route
from switch.transactions import TYPES
from switch.virtual.network import Network, Weather
from switch.virtual.ports import NoLog
from switch.wiring import Ports, Switch, build, stores_of
from terminals.registry import Merchant, StoredKey, Terminal as Registered
from terminals.simulator.dice import Dice
from terminals.simulator.terminal import Terminal, TerminalOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsm.lmk import Lmk
    from hsm.local import LocalVault
    from iso8583.framing import Frame
    from switch.ports import Clock, Transport
    from switch.reference import Link
    from terminals.simulator.terminal import Outcome, Request

HOST: Final = "switch"
PORT: Final = 8583
TMK: Final = "1F3D5B79A7C5E3011032547698BADCFE"  # of the rig's own terminals, which are nobody's
USABLE_S: Final = 15.0  # for the link to sign on
ANSWER_MORE_S: Final = 10.0  # a terminal waits for longer than the link does
CONFIG: Final = Config(
    node="certify",
    workers=1,
    listeners=(Listener(host=HOST, port=PORT),),
    queue=Queue(poll_s=0.5),
    engine=Engine(links_wait_s=USABLE_S, drain_s=10.0),
)


class LinkDownError(Exception):
    """The link could not be signed on."""


class Rig:
    """`keys` are the link's, under the LMK of `vault`; `prefixes` are those of the cards."""

    def __init__(
        self,
        link: Link,
        *,
        merchant: Merchant,
        terminals: tuple[str, str],
        keys: Sequence[StoredKey],
        prefixes: Sequence[str],
        lmk: Lmk,
        vault: LocalVault,
        clock: Clock,
        transport: Transport,
    ) -> None:
        self.link = link
        self.clock = clock
        self._lmk = lmk
        self._vault = vault
        self._merchant = merchant
        self._names = terminals
        self._keys = keys
        self._prefixes = prefixes
        self._begun_s = 0.0
        self.tap = Tap(link, transport, self.now_s, self._mac_right)
        self.terminals: dict[bool, Terminal] = {}  # by whether it takes partial approvals
        self._till: Till
        self._store: MemoryStore
        self._switch: Switch | None = None

    def now_s(self) -> float:
        """Since the rig was opened."""
        return asyncio.get_running_loop().time() - self._begun_s

    async def open(self) -> None:
        self._begun_s = asyncio.get_running_loop().time()
        self._store = MemoryStore(
            self.clock,
            business_date=self.clock.now().date(),
            lease=dt.timedelta(seconds=CONFIG.engine.lease_s),
        )
        network = Network(Dice(1), Weather(delay_s=(0.0005, 0.0005)))
        self._till = Till(network, self.link.timeout_s + ANSWER_MORE_S)
        self._network = network
        await self._prepare()

    async def _prepare(self) -> None:
        """Reference data and keys, as a node would have them."""
        reference = self._store.reference
        items: list[tuple[str, str, msgspec.Struct]] = [
            ("merchant", self._merchant.merchant, self._merchant),
            ("link", self.link.acquirer, self.link),
        ]
        acquirer = self.link.acquirer
        items += [
            ("route", prefix, Route(prefix=prefix, acquirer=acquirer)) for prefix in self._prefixes
        ]
        await data_keys.ensure(reference, self._vault)
        for at, name in enumerate(self._names):
            registered = Registered(merchant=self._merchant.merchant, terminal=name)
            items.append(("terminal", registered.name, registered))
            made = self._vault.import_components(
                KeyUsage.TMK, [bytes.fromhex(TMK)], allow_weak=True
            )
            await reference.add_key(
                StoredKey(
                    owner=f"terminal:{registered.name}",
                    usage=KeyUsage.TMK.value,
                    version=0,
                    block=made.block,
                    check_value=made.check_value,
                    lmk_id=made.lmk_id,
                )
            )
            self.terminals[bool(at)] = Terminal(
                TerminalOptions(
                    merchant=self._merchant.merchant,
                    terminal=name,
                    tmk=TMK,
                    partial_approval=bool(at),
                ),
                tpdu_source=f"{at + 1:04d}",
            )
        for key in self._keys:
            await reference.add_key(key)
        await reference.apply(
            [(kind, key, msgspec.to_builtins(item)) for kind, key, item in items], maker="certify"
        )

    # -- the link ------------------------------------------------------------------------------

    async def sign_on(self) -> None:
        """A life of the switch, and of its link. LinkDownError."""
        store = self._store
        ports = Ports(
            stores=stores_of(store),
            hsm=LocalHsm(self._vault),
            pans=data_keys.open_pans(self._lmk, await store.reference.snapshot()),
            clock=self.clock,
            transport=self.tap,
            log=NoLog(),
        )
        switch = self._switch = build(CONFIG, 0, ports)
        await switch.start([None])
        self._network.listen(HOST, PORT, switch.servers[0].accept, None)
        if not all(host.ready for host, _ in switch.links):
            raise LinkDownError(self.link.acquirer)

    async def sign_off(self) -> None:
        switch, self._switch = self._switch, None
        if switch is not None:
            self._till.hang_up()
            self._network.stop_listening(HOST, PORT)
            await switch.drain()

    @property
    def signed_on(self) -> bool:
        return self._switch is not None

    @property
    def link_keys(self) -> list[StoredKey]:
        """All that the link has had."""
        owner = f"link:{self.link.acquirer}"
        return [key for key in self._store.stored_keys if key.owner == owner]

    def _mac_right(self, covered: bytes, code: bytes) -> bool:
        """Under the keys of the link in force, or the one before."""
        profile = self.link.mac_algorithm
        if profile == "off":
            return True
        blocks = [key.block for key in self.link_keys if key.usage == KeyUsage.ZAK.value]
        return any(
            self._vault.verify_mac(block, profile, covered, code) for block in reversed(blocks)
        )

    # -- the terminal ---------------------------------------------------------------------------

    async def ask(self, terminal: Terminal, request: Request) -> Outcome:
        return await self._till.ask(terminal, request)


class Till(asyncio.Protocol):
    """One connection of a terminal at a time."""

    def __init__(self, network: Network, timeout_s: float) -> None:
        self._network = network
        self._timeout_s = timeout_s
        self._framer = Framer(POS)
        self._transport: asyncio.Transport | None = None
        self._frames: asyncio.Queue[Frame] = asyncio.Queue()

    async def ask(self, terminal: Terminal, request: Request) -> Outcome:
        if self._transport is None or self._transport.is_closing():
            await self._network.connect(lambda: self, HOST, PORT)
        assert self._transport is not None
        self._transport.write(request.frame)
        try:
            async with asyncio.timeout(self._timeout_s):
                while True:
                    frame = await self._frames.get()
                    if terminal.expects(frame):
                        return terminal.answer(frame)
        except TimeoutError:
            return terminal.no_answer()

    def hang_up(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._framer = Framer(POS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        for frame in self._framer.receive_bytes(data):
            self._frames.put_nowait(frame)


def every_type(merchant: str, name: str) -> Merchant:
    """A merchant that may do everything, for the rig."""
    return Merchant(
        merchant=merchant,
        name=name,
        allowed_types=tuple(TYPES),
        partial_approval=True,
        unreferenced_refund=False,
    )
