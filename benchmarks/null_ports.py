"""A store, a vault and a log that cost nothing, to see what the rest of the switch costs.

Everything is answered at once: commits are stored, MACs right, numbers endless. Nothing of this is
true; it is for `benchmarks.forward` and `benchmarks.path` alone, which both have `null_switch`. The second
can put a true vault and log into it (`real_ports`).
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from hsm import pans
from switch.adapters.system import SystemClock
from switch.config import Batch as BatchBounds, Config, Listener, Rates
from switch.journal import Stored
from switch.reference import Item, Link, Route, Snapshot
from switch.store_ports import Batch, Held, Lease, Session, SlotHeld
from terminals.registry import Merchant, StoredKey, Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from benchmarks.load import Plan
    from switch.journal import Commit
    from switch.ports import Transport
    from switch.wiring import Switch

DATE = dt.date(2026, 3, 4)
LONG_AGO = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
MAC = bytes(8)
STORED = Stored(DATE)


class NullVault:
    """`hsm.ports.Hsm`, as far as an authorisation asks it."""

    lmk_id = "000000"

    def translate_pin(
        self, pin_block: bytes, _source_key: str, _destination_key: str, _pan: str
    ) -> bytes:
        return pin_block

    def mac(self, _key: str, _profile: str, _data: bytes) -> bytes:
        return MAC

    def verify_mac(self, _key: str, _profile: str, _data: bytes, _mac: bytes) -> bool:
        return True


class NullPans:
    """`hsm.pans.Pans` without a cipher."""

    def protect(self, _pan: str, _expiry: str | None, _row_id: int, _column: str) -> bytes:
        return MAC

    def reveal(self, _cipher: bytes, _row_id: int, _column: str) -> tuple[str, str | None]:
        raise AssertionError("nothing is revealed here")

    def token(self, _pan: str) -> bytes:
        return MAC

    def mask(self, pan: str) -> str:
        return pans.mask(pan)

    def content(self, _parts: Iterable[str | None]) -> bytes:
        return MAC


class NullLog:
    """`switch.engine.Log`: failures alone are told."""

    def authorized(self, reply: Any, watch: Any) -> None: ...

    def managed(self, received: Any, response_code: str, rule: str) -> None: ...

    def noted(self, event: str) -> None: ...

    def downloaded(self, topic: str, act: str) -> None: ...

    def recovered(self, undecided: Any) -> None: ...

    def refused(self, source: str, response_code: str, rule: str) -> None:
        raise AssertionError(f"{source} was answered {response_code}: {rule}")

    def failed(self, error: BaseException) -> None:
        raise error


class NullStore:
    """The ports of the store that a purchase and the duties of a worker use."""

    def __init__(self, snapshot: Snapshot, session_keys: Mapping[str, tuple[str, str]]) -> None:
        """`session_keys`: blocks of PIK and MAK by terminal."""
        self._snapshot = snapshot
        self._session_keys = session_keys
        self._next = 1
        self._waiting: list[Callable[[Any], None]] = []

    # journal
    async def commit(self, _commit: Commit) -> Stored:
        return STORED

    def submit(self, _commit: Commit, told: Callable[[Any], None]) -> None:
        """As a group commit: those of one turn of the loop are told together."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._tell)
        self._waiting.append(told)

    def _tell(self) -> None:
        waiting, self._waiting = self._waiting, []
        for told in waiting:
            told(STORED)

    # numbers
    async def request_ids(self, count: int) -> tuple[int, int]:
        first = self._next
        self._next += count
        return first, self._next - 1

    async def link_stans(self, _acquirer: str, count: int) -> tuple[int, int]:
        return await self.request_ids(count)

    async def rrns(self, count: int) -> tuple[int, int]:
        return await self.request_ids(count)

    # owners
    async def register(self, _node: str, _worker: int) -> int:
        return 1

    async def renew(self, _owner_id: int, _undecided_from_id: int) -> bool:
        return True

    async def release(self, _owner_id: int) -> None: ...

    async def take_over(
        self, _owner_id: int, _node: str, _worker: int, *, at_start: bool = False
    ) -> list[Any]:
        return []

    async def hold_slots(
        self, _owner_id: int, _acquirer: str, granted: int, _keep: Sequence[int]
    ) -> Held:
        return Held(granted, tuple(range(1, granted + 1)))

    async def tell_connected(
        self, _owner_id: int, _acquirer: str, _connected: Sequence[int]
    ) -> tuple[SlotHeld, ...]:
        return ()

    # queue
    async def lease(self, _acquirer: str, _owner_id: int) -> Lease | None:
        return None

    async def due(self, _acquirer: str, _limit: int, _exclude: Sequence[int]) -> list[Any]:
        return []

    async def open_items(self, _acquirer: str) -> int:
        return 0

    # batches
    async def sessions(self, merchant: str, terminal: str) -> list[Session]:
        pik, mak = self._session_keys[terminal]
        return [Session(1, merchant, terminal, "003", pik, mak, None, LONG_AGO, confirmed=True)]

    async def current(self, merchant: str, terminal: str) -> Batch:
        return Batch(merchant, terminal, 1, "open", 0, None, None, "", ())

    async def standing(self, merchant: str, terminal: str) -> tuple[list[Session], Batch]:
        return await self.sessions(merchant, terminal), await self.current(merchant, terminal)

    async def note_source(self, merchant: str, terminal: str, batch: int, address: str) -> None: ...

    async def overdue_uploads(self, _older_than_s: float) -> list[Any]:
        return []

    # downloads
    async def of(self, _merchant: str, _terminal: str) -> list[Any]:
        return []

    async def step(self, _merchant: str, _terminal: str, _topic: str, _judge: Any) -> Any:
        raise AssertionError("nothing is downloaded here")

    # links
    async def keep_unmatched(self, _rows: Sequence[Any]) -> None: ...

    async def exchanges(self, _acquirer: str, *, only_open: bool, limit: int) -> list[Any]:
        del only_open, limit
        return []

    async def take(self, key: StoredKey) -> StoredKey:
        raise AssertionError(f"the bank sends no keys: {key.usage}")

    # reference data
    async def generation(self) -> int:
        return self._snapshot.generation

    async def snapshot(self) -> Snapshot:
        return self._snapshot

    async def add_key(self, key: StoredKey) -> StoredKey:
        raise AssertionError(f"no key is entered here: {key.usage}")


def snapshot_of(items: Sequence[msgspec.Struct], keys: Sequence[StoredKey]) -> Snapshot:
    """Merchants, terminals, links and routes as reference data in force."""
    kinds = {
        Merchant: ("merchant", "merchant"),
        Terminal: ("terminal", "name"),
        Link: ("link", "acquirer"),
        Route: ("route", "prefix"),
    }
    return Snapshot(
        1,
        [
            Item(
                kind=kinds[type(item)][0],
                key=getattr(item, kinds[type(item)][1]),
                version=1,
                effective_from=LONG_AGO,
                content=msgspec.to_builtins(item),
            )
            for item in items
        ],
        keys,
    )


def null_key(owner: str, usage: str) -> StoredKey:
    return StoredKey(
        owner=owner, usage=usage, version=1, block=usage, check_value="000000", lmk_id="000000"
    )


class Parts(msgspec.Struct, frozen=True):
    """What can be null or true."""

    hsm: Any
    pans: Any
    log: Any
    link_keys: Sequence[StoredKey]
    session_keys: Mapping[str, tuple[str, str]]


def null_parts(plan: Plan, link: Link) -> Parts:
    return Parts(
        hsm=NullVault(),
        pans=NullPans(),
        log=NullLog(),
        link_keys=[null_key(f"link:{link.acquirer}", usage) for usage in ("ZAK", "ZPK")],
        session_keys=dict.fromkeys(plan.names(), ("PIK", "MAK")),
    )


def null_switch(plan: Plan, link: Link, transport: Transport, parts: Parts | None = None) -> Switch:
    """The engine as in production, for the terminals of `plan` and one bank."""
    from switch.wiring import Ports, Stores, build

    parts = parts or null_parts(plan, link)
    snapshot = snapshot_of(
        [
            Merchant(merchant=plan.merchant, name="Benchmark"),
            *(Terminal(merchant=plan.merchant, terminal=name) for name in plan.names()),
            Route(prefix="622000", acquirer=link.acquirer, pin_required=True),
            link,
        ],
        parts.link_keys,
    )
    store: Any = NullStore(snapshot, parts.session_keys)
    config = Config(
        workers=1,
        listeners=(Listener(),),
        batch=BatchBounds(items_max=1 << 60),
        rates=Rates(terminal_messages_per_s=100_000),  # counted, and never refused
    )
    ports = Ports(
        stores=Stores(**dict.fromkeys(Stores.__struct_fields__, store)),
        hsm=parts.hsm,
        pans=parts.pans,
        clock=SystemClock(),
        transport=transport,
        log=parts.log,
    )
    return build(config, 0, ports)
