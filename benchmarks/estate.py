"""A node with an estate of many terminals, and the closed loop that draws on all of them.

    python -m benchmarks.estate    the terminals; commands and answers as in `benchmarks.load`

Fifty thousand sign-ons would be most of a benchmark, so the estate is written into the store as it is
after them: reference data, a TMK, a key set and an open batch for each terminal. Both sides derive the
working keys from the terminal's name. Terminals share connections (a concentrator does so too): one
stays with its connection where there are at least as many terminals, so its worker stays the same.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from array import array
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import msgspec

from benchmarks import report
from benchmarks.history import keep_numbers
from benchmarks.load import CARDS, CHECKED_ANSWERS, TMK, Identity, Plan, Process, Wire, obey, run
from benchmarks.switch import LINK_MAC, Node
from hsm.des_keys import with_odd_parity
from hsm.keys import KeyUsage
from hsm.lmk import TEST_LMK
from hsm.local import LocalVault
from switch.adapters.postgres.reference import encode
from switch.adapters.postgres_place import OWNER
from switch.adapters.system import SystemClock
from switch.reference import Link, Route
from switch.store import Store
from terminals.registry import Merchant, Terminal

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from iso8583.framing import Frame
    from switch.config import Config

AGAIN_S: Final = 0.5  # before a terminal that was refused asks again
IDLE_S: Final = 86_400
OPENING: Final = 64  # connections that are made at the same time
TAIL_S: Final = 60.0  # after the last request was sent, its answer must have come


class Estate(msgspec.Struct, frozen=True):
    """How many terminals, and the batch that is open for each of them."""

    terminals: int
    batch: int = 1
    per_merchant: int = 5

    def name(self, at: int) -> str:
        return f"{at:08d}"

    def merchant(self, at: int) -> str:
        return f"{100_000_000_000_000 + at // self.per_merchant:015d}"

    def places(self) -> range:
        return range(self.terminals)


def working_key(usage: KeyUsage, name: str) -> bytes:
    """The PIK or MAK of a terminal, on both sides of the wire."""
    return with_odd_parity(hashlib.sha256(f"{usage.value}/{name}".encode()).digest()[:16])


# -- the node -----------------------------------------------------------------------------------


class EstateNode(Node):
    """A node whose store holds an estate, signed on."""

    def __init__(
        self, stack: ExitStack, folder: Path, workers: int, estate: Estate, *, server: str = ""
    ) -> None:
        """`server`: further settings of that table."""
        self.estate = estate
        folder.mkdir(mode=0o711, exist_ok=True)  # PostgreSQL's own user passes through
        more = f"[server]\nidle_s = {IDLE_S}\n{server}"  # a node waits for its turn
        super().__init__(stack, folder, workers, Plan(port=0, lines=0, tmk=TMK), more=more)
        self.owner_dsn: str = self.facts["database"]["owner_dsn"]

    def fill(self, config: Config, plan: Plan, zak: bytes, zpk: bytes) -> None:
        del plan
        link = Link(
            acquirer="bank", host="127.0.0.1", port=self.bank.ready["port"], de32="48000000",
            max_connections=config.workers, mac_algorithm=LINK_MAC,
        )  # fmt: skip
        with Store(config, "en") as store:
            assert store.embedded is not None
            asyncio.run(write_estate(store.embedded.dsn(OWNER), self.estate, link, zak, zpk))

    def used(self) -> dict[str, float]:
        """Seconds of processor so far; what autovacuum does in the background stays out."""
        switch, postgres = self.pids()
        serving = [pid for pid in postgres if not report.title(pid).count("autovacuum worker")]
        return {"switch": report.ran_s(switch), "postgres": report.ran_s(serving)}

    def connections(self) -> list[int]:
        """Of terminals, of each worker."""
        return [report.established(pid, self.port) for pid in self.pids()[0][1:]]

    def memory(self) -> dict[str, float]:
        """Resident MiB of the switch's processes; a page that two share counts for both."""
        switch, postgres = self.pids()
        return {
            "switch_mib": sum(map(resident_mib, switch)),
            "workers_mib": sum(map(resident_mib, switch[1:])),
            "postgres_mib": sum(map(resident_mib, postgres)),
        }


def resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


async def write_estate(dsn: str, estate: Estate, link: Link, zak: bytes, zpk: bytes) -> None:
    """As the owner of the store: everything that `data apply`, `keys import` and sign-ons make."""
    vault = LocalVault(TEST_LMK, os.urandom)

    def stored(owner: str, usage: KeyUsage, key: bytes) -> tuple[Any, ...]:
        made = vault.import_components(usage, [key], allow_weak=True)
        return owner, usage.value, 1, made.block, made.check_value, made.lmk_id

    items: list[tuple[str, str, msgspec.Struct]] = [
        ("link", link.acquirer, link),
        ("route", "622000", Route(prefix="622000", acquirer="bank", pin_required=True)),
    ]
    keys = [stored("link:bank", KeyUsage.ZAK, zak), stored("link:bank", KeyUsage.ZPK, zpk)]
    sessions: list[tuple[Any, ...]] = []
    batches: list[tuple[Any, ...]] = []
    items += [
        ("merchant", merchant, Merchant(merchant=merchant, name=f"M {merchant}"))
        for merchant in sorted({estate.merchant(at) for at in estate.places()})
    ]
    now = SystemClock().now()
    for at in estate.places():
        name, merchant = estate.name(at), estate.merchant(at)
        items.append(("terminal", f"{merchant}/{name}", Terminal(merchant=merchant, terminal=name)))
        keys.append(stored(f"terminal:{merchant}/{name}", KeyUsage.TMK, bytes.fromhex(TMK)))
        pik, mak = (
            stored("", usage, working_key(usage, name))[3] for usage in (KeyUsage.TPK, KeyUsage.MAK)
        )
        sessions.append((at + 1, merchant, name, "003", pik, mak, None, now))
        batches += [(merchant, name, number, number) for number in range(1, estate.batch + 1)]
    contents = [(kind, key, encode(msgspec.to_builtins(item))) for kind, key, item in items]

    connection = await asyncpg.connect(dsn)
    try:
        await keep_numbers(connection)
        for table, columns, rows in (
            (
                "reference_item",
                ("kind", "key", "version", "effective_from", "content", "sha256", "maker"),
                [
                    (kind, key, 1, now, content.decode(), hashlib.sha256(content).digest(), "b")
                    for kind, key, content in contents
                ],
            ),
            (
                "stored_key",
                ("owner", "usage", "version", "block", "check_value", "lmk_id"),
                keys,
            ),
            (
                "session",
                ("session_id", "merchant", "terminal", "layout", "pik", "mak", "tdk", "created_at"),
                sessions,
            ),
            ("session_confirmed", ("session_id",), [(row[0],) for row in sessions]),
            ("batch", ("merchant", "terminal", "batch", "position"), batches),
        ):
            await connection.copy_records_to_table(
                table, schema_name="switch", columns=columns, records=rows
            )
        await connection.fetchrow(
            "SELECT setval('switch.session_id', $1), switch.bump_generation()", estate.terminals
        )
    finally:
        await connection.close()


# -- the terminals ------------------------------------------------------------------------------


def identities(estate: Estate, count: int) -> list[Identity]:
    """The first `count` terminals, each with its keys."""
    made = []
    for at in range(count):
        plan = Plan(port=0, lines=0, merchant=estate.merchant(at), tmk=TMK)
        name = estate.name(at)
        identity = Identity(plan, name, CARDS.card(1 + at))
        pik, mak = (working_key(usage, name) for usage in (KeyUsage.TPK, KeyUsage.MAK))
        identity.take_keys(f"{estate.batch:06d}", pik, mak)
        made.append(identity)
    return made


class Line(Wire):
    """One connection with the requests that are on it; an answer finds its own by TPDU and trace."""

    def __init__(self, load: Load) -> None:
        super().__init__(load.fail)
        self.load = load
        self.waiting: dict[bytes, tuple[Identity, int]] = {}  # and when it was sent

    def purchase(self, identity: Identity) -> None:
        frame = identity.next_frame()
        key = frame[5:7] + identity.trace_bytes  # the TPDU's source
        self.waiting[key] = identity, time.perf_counter_ns()
        self.transport.write(frame)

    def heard(self, frame: Frame, now_ns: int) -> None:
        trace_at, code_at = self.load.shape(frame.body)
        key = frame.tpdu[1:3] + frame.body[trace_at : trace_at + 3]
        identity, sent_ns = self.waiting.pop(key)
        if identity.trace <= CHECKED_ANSWERS:
            identity.check(frame)
        code = frame.body[code_at : code_at + 2].decode()
        if code == "96":  # a busy machine: the same terminal asks again
            self.load.refused += 1
            asyncio.get_running_loop().call_later(AGAIN_S, self.purchase, identity)
        else:
            self.load.answered(code, now_ns - sent_ns)


class Load:
    """All connections, all terminals, and what one run saw."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.identities: list[Identity] = []
        self.shapes: dict[int, tuple[int, int]] = {}  # an answer's length -> DE 11, 39
        self.codes: dict[str, int] = {}
        self.latencies_ns = array("q")
        self.refused = 0
        self.turn = 0
        self.to_send = 0
        self.left = 0
        self.done: asyncio.Future[None]

    async def perform(self, command: dict[str, Any]) -> dict[str, Any]:
        match command.pop("do"):
            case "know":
                estate = Estate(command["terminals"], command["batch"])
                self.identities = identities(estate, command["count"])
                return {}
            case "connect":
                return await self.connect(command["port"], command["lines"])
            case "run":
                return await self.run(command["requests"], command["in_flight"])
            case other:
                raise RuntimeError(f"no command {other}")

    async def connect(self, port: int, lines: int) -> dict[str, Any]:
        """As many connections as that, with those there are."""
        loop = asyncio.get_running_loop()
        while len(self.lines) < lines:
            made = await asyncio.gather(
                *(
                    loop.create_connection(lambda: Line(self), "127.0.0.1", port)
                    for _ in range(min(OPENING, lines - len(self.lines)))
                )
            )
            self.lines += [line for _, line in made]
        return {"lines": len(self.lines)}

    async def run(self, requests: int, in_flight: int) -> dict[str, Any]:
        """So many purchases, so many at a time, terminals and connections in turn."""
        self.codes = {}
        self.refused = 0
        self.latencies_ns = array("q")
        self.done = asyncio.get_running_loop().create_future()
        self.to_send = self.left = requests
        started_ns = time.perf_counter_ns()
        for _ in range(min(in_flight, requests)):
            self.send()
        await asyncio.wait_for(self.done, TAIL_S + requests / 100)
        took_s = (time.perf_counter_ns() - started_ns) / 1e9
        latency_ms = report.percentiles(self.latencies_ns)
        return {
            "transactions": len(self.latencies_ns),
            "seconds": took_s,
            "codes": self.codes,
            "refused": self.refused,
            **{f"latency_ms_{name}": value for name, value in latency_ms.items()},
        }

    def send(self) -> None:
        self.to_send -= 1
        line = self.lines[self.turn % len(self.lines)]
        identity = self.identities[self.turn % len(self.identities)]
        self.turn += 1
        line.purchase(identity)

    def shape(self, body: bytes) -> tuple[int, int]:
        found = self.shapes.get(len(body))
        if found is None:
            spans = self.identities[0].codec.spans(body)
            found = self.shapes[len(body)] = spans[11][0], spans[39][0]
        return found

    def answered(self, code: str, latency_ns: int) -> None:
        self.codes[code] = self.codes.get(code, 0) + 1
        self.latencies_ns.append(latency_ns)
        self.left -= 1
        if self.to_send:
            self.send()
        elif not self.left:
            self.done.set_result(None)

    def fail(self, error: Exception) -> None:
        if self.left and not self.done.done():
            self.done.set_exception(error)


class Traffic:
    """A node of an estate, its terminals, and what a transaction costs there."""

    def __init__(self, node: EstateNode, stack: ExitStack, *, lines: int, used: int) -> None:
        """`used`: how many of the estate's terminals trade."""
        self.node = node
        self.load = Process("benchmarks.estate")
        stack.callback(self.load.stop)
        self.load.ask(
            120.0, do="know", terminals=node.estate.terminals, batch=node.estate.batch, count=used
        )
        self.connect(lines)

    def connect(self, lines: int) -> None:
        self.load.ask(120.0, do="connect", port=self.node.port, lines=lines)

    def trade(
        self, requests: int, in_flight: int, meanwhile: Callable[[], object] = lambda: None
    ) -> dict[str, Any]:
        """So many purchases approved; processor time of each side for one."""
        before = self.node.used()
        limit_s = TAIL_S + requests / 100 + 30.0
        with ThreadPoolExecutor(1) as aside:
            happened = aside.submit(meanwhile)
            result = self.load.ask(limit_s, do="run", requests=requests, in_flight=in_flight)
            happened.result()
        after = self.node.used()
        if result["codes"] != {"00": requests}:
            raise RuntimeError(f"not every purchase was approved: {result['codes']}")
        spent_us = {name: (after[name] - before[name]) * 1e6 / requests for name in after}
        return {
            "cpu_us": spent_us["switch"] + spent_us["postgres"],
            "switch_us": spent_us["switch"],
            "postgres_us": spent_us["postgres"],
            "tps": requests / result["seconds"],
            "refused": result["refused"],
            "latency_ms_p99": result["latency_ms_p99"],
            "latency_ms_max": result["latency_ms_max"],
        }


if __name__ == "__main__":
    run(obey(Load().perform))
