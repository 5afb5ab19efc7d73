"""A bank of our own script and a wire in memory, for tests of a link in virtual time.

`Bank` listens on the far side of `MemoryTransport`: it signs on, answers, and does to single messages
what a test tells it. It speaks bytes, with the real codec and the real vault.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import random
from typing import TYPE_CHECKING, Any, Self, cast

from hsm.adapters.local import LocalHsm
from hsm.keys import Algorithm, KeyUsage
from hsm.lmk import TEST_LMK
from hsm.local import LocalVault
from iso8583.codec import codec_for
from iso8583.framing import Frame, Framer, FramingSpec, build
from iso8583.mti import response_mti
from switch.acquirers.iso8583_link import IsoLink, tell
from switch.journal import AttemptRow
from switch.reference import Link, Snapshot
from switch.slots import Slot
from terminals.registry import StoredKey

if TYPE_CHECKING:
    from collections.abc import Callable

    from iso8583.message import Message
    from switch.acquirers.ports import Answer
    from switch.acquirers.siblings import Siblings
    from switch.acquirers.unmatched import UnmatchedAnswer
    from switch.ports import Accepts, Transport

EPOCH = dt.datetime(2026, 3, 1, 4, 0, 0, tzinfo=dt.UTC)  # noon in Shanghai
FAR_NS = 10**18


class VirtualClock:
    def now(self) -> dt.datetime:
        return EPOCH + dt.timedelta(seconds=asyncio.get_running_loop().time())

    def monotonic_ns(self) -> int:
        return int(asyncio.get_running_loop().time() * 1e9)


class MemoryNumbers:
    """`Numbers` without a store. `delay_s`: how long a block takes."""

    def __init__(self, first: int = 0, delay_s: float = 0.0) -> None:
        self.next = first
        self.delay_s = delay_s

    async def request_ids(self, count: int) -> tuple[int, int]:
        return await self.link_stans("", count)

    async def rrns(self, count: int) -> tuple[int, int]:
        return await self.link_stans("", count)

    async def link_stans(self, acquirer: str, count: int) -> tuple[int, int]:
        await asyncio.sleep(self.delay_s)
        first, self.next = self.next, self.next + count
        return first, self.next - 1


class MemoryPipe(asyncio.Transport):
    """One side's transport: bytes arrive at the other side's protocol `latency_s` later."""

    def __init__(self, latency_s: float) -> None:
        super().__init__()
        self.latency_s = latency_s
        self.protocol: asyncio.Protocol | None = None
        self.peer: MemoryPipe | None = None
        self.closing = False
        self.written: list[bytes] = []

    def write(self, data: Any) -> None:
        assert not self.closing, "written after close"
        self.written.append(bytes(data))
        asyncio.get_running_loop().call_later(self.latency_s, self._arrive, bytes(data))

    def _arrive(self, data: bytes) -> None:
        peer = self.peer
        if peer is not None and not peer.closing and peer.protocol is not None:
            peer.protocol.data_received(data)

    def is_closing(self) -> bool:
        return self.closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def close(self) -> None:
        if self.closing:
            return
        self.closing = True
        loop = asyncio.get_running_loop()
        if self.protocol is not None:
            loop.call_soon(self.protocol.connection_lost, None)
        if self.peer is not None:
            loop.call_later(self.latency_s, self.peer.close)

    def abort(self) -> None:
        self.close()


class MemoryTransport:
    """`Transport` onto one bank."""

    def __init__(self, bank: Bank, latency_s: float = 0.001) -> None:
        self.bank = bank
        self.latency_s = latency_s
        self.down = False

    async def connect(
        self, factory: Callable[[], asyncio.Protocol], host: str, port: int
    ) -> asyncio.Transport:
        await asyncio.sleep(self.latency_s)
        if self.down:
            raise ConnectionRefusedError(host, port)
        ours, theirs = MemoryPipe(self.latency_s), MemoryPipe(self.latency_s)
        ours.peer, theirs.peer = theirs, ours
        ours.protocol, theirs.protocol = factory(), BankConnection(self.bank)
        theirs.protocol.connection_made(theirs)
        ours.protocol.connection_made(ours)
        return ours


class Bank:
    """What the host of a link does. Tests set `silent`, `change`, `delay_s` or `on_message`."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.codec = codec_for(link.dialect)
        self.vault = LocalVault(TEST_LMK, random.Random(7).randbytes)
        self.zmk = self.vault.generate_key(KeyUsage.ZMK, 16)
        self.zak = self.vault.generate_key(KeyUsage.ZAK, 16).block
        self.connections: list[BankConnection] = []
        self.received: list[Message] = []
        self.received_on: list[BankConnection] = []
        self.answered_to_us: list[Message] = []
        self.silent: set[str] = set()  # MTIs, or DE 70 codes, that get no answer
        self.response_codes: dict[str, list[str]] = {}  # MTI → DE 39 of the next answers
        self.change: Callable[[Message], Message] = lambda message: message
        self.sign: Callable[[bytes], bytes] = lambda mac: mac
        self.delay_s = 0.0
        self.answer_on: Callable[[BankConnection], BankConnection] = lambda connection: connection

    def seen(self, *mtis: str) -> list[Message]:
        return [message for message in self.received if message[0] in mtis]

    def asked(self, code: str) -> list[Message]:
        return [m for m in self.received if m[0] == "0800" and m.get(70) == code]

    def on_message(self, connection: BankConnection, message: Message, body: bytes) -> None:
        mti = str(message[0])
        if mti[1] != "8":
            self._check_mac(message, body)
        self.received.append(message)
        self.received_on.append(connection)
        if mti[2] in "13":
            self.answered_to_us.append(message)
            return
        if mti in self.silent or message.get(70) in self.silent:
            return
        answer = self.answer(message)
        asyncio.get_running_loop().call_later(
            self.delay_s, lambda: self.answer_on(connection).send(answer)
        )

    def answer(self, message: Message) -> Message:
        mti = str(message[0])
        codes = self.response_codes.get(mti)
        code = (codes.pop(0) if len(codes) > 1 else codes[0]) if codes else "00"
        echoed = (2, 3, 4, 7, 11, 12, 13, 32, 33, 37, 41, 42, 49, 70)
        answer: Message = {0: response_mti(mti), 39: code}
        answer.update({de: message[de] for de in echoed if de in message})
        if mti[1] in "12" and code == "00":
            answer[15] = "0301"
            answer[38] = "A12345"
        return self.change(dict(sorted(answer.items())))

    def sealed(self, message: Message) -> bytes:
        if str(message[0])[1] == "8" or self.link.mac_algorithm == "off":
            return self.codec.encode(message)
        de = 128 if max(message) > 64 else 64
        covered = self.codec.encode({**message, de: bytes(8)})[:-8]
        return covered + self.sign(self.vault.mac(self.zak, self.link.mac_algorithm, covered))

    def _check_mac(self, message: Message, body: bytes) -> None:
        if self.link.mac_algorithm == "off":
            return
        mac = message[128 if max(message) > 64 else 64]
        assert isinstance(mac, bytes)
        assert self.vault.verify_mac(self.zak, self.link.mac_algorithm, body[:-8], mac)

    def drop(self) -> None:
        for connection in list(self.connections):
            assert connection.transport is not None
            connection.transport.close()


class BankConnection(asyncio.Protocol):
    def __init__(self, bank: Bank) -> None:
        self.bank = bank
        header = bytes.fromhex(bank.link.header_hex)
        self.header = header
        self.spec = FramingSpec(
            length="ascii4" if bank.link.length == "ascii4" else "binary2",
            inclusive=bank.link.length_inclusive,
            header_bytes=len(header),
        )
        self.framer = Framer(self.spec)
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.bank.connections.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.bank.connections.remove(self)

    def data_received(self, data: bytes) -> None:
        for frame in self.framer.receive_bytes(data):
            self.bank.on_message(self, self.bank.codec.decode(frame.body), frame.body)

    def send(self, message: Message) -> None:
        self.send_body(self.bank.sealed(message))

    def send_body(self, body: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(build(Frame(b"", self.header, body), self.spec))


class FixedSlots:
    """`switch.slots.SlotSource` of a process that is alone: so many, from the beginning."""

    def __init__(self, count: int) -> None:
        self.used: dict[int, Slot] = {}
        self.holds_back = False
        self._free: asyncio.Queue[Slot] = asyncio.Queue()
        for number in range(1, count + 1):
            self._free.put_nowait(Slot(number))

    async def take(self) -> Slot:
        slot = await self._free.get()
        self.used[slot.number] = slot
        return slot

    def give_back(self, slot: Slot) -> None:
        del self.used[slot.number]
        if not slot.ended.is_set():
            self._free.put_nowait(slot)


class World:
    """A link, its bank and what the link told."""

    def __init__(
        self,
        link: Link | None = None,
        *,
        connections: int = 1,
        numbers: MemoryNumbers | None = None,
        bank: Bank | None = None,
        siblings: Siblings | None = None,
        transport: Transport | None = None,
        accepts: Accepts | None = None,
    ) -> None:
        self.link = link or make_link()
        self.bank = bank or Bank(self.link)
        self.transport = MemoryTransport(self.bank)
        self.late: list[tuple[AttemptRow | None, Message, str]] = []
        self.unmatched: list[UnmatchedAnswer] = []
        self.cutovers: list[tuple[str, str]] = []
        self.stored: list[StoredKey] = [
            make_key("ZMK", self.bank.zmk.block),
            make_key("ZAK", self.bank.zak),
        ]
        self.snapshot = Snapshot(1, [], self.stored)
        self.slots = FixedSlots(connections)
        self.iso = IsoLink(
            self.link,
            slots=self.slots,
            transport=transport or self.transport,
            accepts=accepts,
            sources=("10.0.0.0/8",),
            clock=VirtualClock(),
            hsm=LocalHsm(self.bank.vault),
            numbers=numbers or MemoryNumbers(),
            reference=lambda: self.snapshot,
            reload=self.reload,
            on_late=lambda *told: self.late.append(told),
            on_unmatched=lambda answer: self.unmatched.append(answer),
            store_key=self.store_key,
            on_cutover=lambda code, date: self.cutovers.append((code, date)),
            siblings=siblings,
        )

    async def __aenter__(self) -> Self:
        await self.iso.start()
        await asyncio.sleep(1)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.iso.stop()

    async def reload(self) -> Snapshot:
        await asyncio.sleep(0.01)
        self.snapshot = Snapshot(self.snapshot.generation + 1, [], self.stored)
        return self.snapshot

    async def store_key(self, key: StoredKey) -> StoredKey:
        await asyncio.sleep(0.01)
        version = 1 + sum(other.usage == key.usage for other in self.stored)
        stored = make_key(key.usage, key.block, version)
        self.stored.append(stored)
        return stored

    def message(self, **changes: str) -> tuple[Message, AttemptRow]:
        """A purchase with numbers of its own; `changes` as de_4="…"."""
        numbers = self.iso.numbers()
        assert numbers is not None
        stan, transmission_time = numbers
        message: Message = {
            0: "0200",
            2: "6222020000000000004",
            3: "000000",
            4: "000000010000",
            7: transmission_time,
            11: stan,
            12: "120000",
            13: "0301",
            32: self.link.de32,
            37: f"606000{stan}",
            41: "10000001",
            42: "104290000000001",
            49: "156",
        }
        message.update({int(de[3:]): value for de, value in changes.items()})
        attempt = AttemptRow(
            request_id=int(stan),
            attempt=1,
            acquirer=self.link.acquirer,
            link_stan=stan,
            transmission_time=transmission_time,
            de32=self.link.de32,
            de33="",
            route_rule="test",
        )
        return message, attempt


async def answer_to(iso: IsoLink, message: Message, attempt: AttemptRow, send_by_ns: int) -> Answer:
    """`IsoLink.send` for who waits. Raises NotSentError or NoAnswerError."""
    answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    iso.send(message, attempt, send_by_ns, functools.partial(tell, answered))
    return await answered


def make_link(**changes: Any) -> Link:
    fields: dict[str, Any] = {"acquirer": "bank_a", "host": "bank", "port": 1, "de32": "10200001"}
    fields["max_connections"] = 4
    fields["echo_waiting_s"] = 60.0  # no echo of it between the messages of a story
    return Link(**(fields | changes))


def make_key(usage: str, block: str, version: int = 1) -> StoredKey:
    return StoredKey(
        owner="link:bank_a",
        usage=usage,
        version=version,
        block=block,
        check_value="",
        lmk_id=TEST_LMK.lmk_id,
    )


__all__ = ["FAR_NS", "Algorithm", "Bank", "MemoryNumbers", "VirtualClock", "World", "make_link"]
