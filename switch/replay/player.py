"""Plays a journal to this build's switch, in virtual time: everything above the ports is production code.

One process of the switch, on the store in memory, between played terminals and played banks, on a
network where every byte takes as long. Lines are read as their time comes.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import msgspec

from hsm.adapters.local import LocalHsm
from hsm.keys import Algorithm, KeyUsage
from hsm.lmk import TEST_LMK
from hsm.local import LocalVault
from hsm.mac_profiles import PROFILES
from iso8583.dialects import registry
from iso8583.dialects.from_toml import from_toml
from iso8583.framing import FramingSpec
from switch import data_keys
from switch.adapters.memory import MemoryStore
from switch.config import Batch, Config, Engine, Listener, Queue, Rules, Section
from switch.journal import Stored
from switch.reference import Link
from switch.replay.export import CARD
from switch.replay.happened import Happened, Played
from switch.replay.journal_file import Day, Head, Reference, Request, Reversal, Settlement
from switch.replay.played_bank import PlayedBank
from switch.replay.played_terminal import PlayedTerminal, Told, master_key
from switch.replay.wire import Wire
from switch.virtual.loop import run_virtual
from switch.virtual.network import Network, Weather
from switch.virtual.ports import Machine, NetworkTransport, NoLog, SimulatedClock, entropy_of
from switch.wiring import Ports, build, stores_of
from terminals.registry import StoredKey
from terminals.simulator.dice import Dice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from hsm.pans import Pans
    from iso8583.message import Message
    from switch.journal import Commit, Verdict
    from switch.reception import Received
    from switch.replay.journal_file import Event, Line
    from switch.wiring import Switch

Of = TypeVar("Of", bound=Section)
BatchKey = tuple[str, str, int]  # merchant, terminal, number

HOST: Final = "switch"
PORT: Final = 8583
WIRE_S: Final = 0.0005  # every byte takes as long: a message more shifts no other
LINK_S: Final = 5.0  # before the first line, for links to sign on
AFTER_S: Final = 900.0  # behind the last line, for what still waits
FORGET_MIN: Final = 1_000  # requests of settled batches, and a part of all: then they are forgotten
FORGET_PART: Final = 4
# What is periodic comes rarer than in production: a quiet night costs little, no answer depends on it.
CALM: Final = Engine(
    lease_s=60.0, lease_renew_s=20.0, takeover_s=60.0, reference_poll_s=30.0, links_wait_s=4.0
)


class End(msgspec.Struct, kw_only=True):
    """What a run comes to."""

    lines: dict[str, int]  # by kind
    virtual_s: float
    refused: dict[str, int]  # refusals that are not stored, by code and rule
    failures: dict[str, int]  # the switch's own
    unplaced: int


class WatchedStore(MemoryStore):
    """Tells `heard` of every commit that stands; forgets what nothing asks for any more."""

    heard: Callable[[Commit, tuple[int, int] | None], None]

    def apply(self, commit: Commit, commit_id: int, sent: tuple[int, int] | None = None) -> Verdict:
        verdict = super().apply(commit, commit_id, sent)
        if isinstance(verdict, Stored):
            self.heard(commit, sent)
        return verdict

    def forget(self, batches: Iterable[BatchKey], named: Callable[[int], bool]) -> None:
        """Of settled batches the decided requests that nothing names and that name nothing.

        `named` says of a request whether a later line may name it.
        """
        waiting = {item.row.request_id for item in self.queue_open.values()}
        gone: set[int] = set()
        for batch in batches:
            ids = self.by_batch.get(batch, [])
            over = [
                each
                for each in ids
                if each in self.outcomes
                and each not in waiting
                and self.requests[each].row.original_request_id is None
                and not named(each)
            ]
            gone.update(over)
            self.by_batch[batch] = [each for each in ids if each not in gone]
        merchants = {self.requests[each].row.key.merchant for each in sorted(gone)}
        for each in sorted(gone):
            self._forget_one(each)
        for merchant in merchants:
            ids = self.by_merchant[merchant]
            self.by_merchant[merchant] = [each for each in ids if each not in gone]
        late = self.late_answers
        self.late_answers = {of: row for of, row in late.items() if row.request_id not in gone}

    def _forget_one(self, request_id: int) -> None:
        key = self.requests.pop(request_id).row.key
        self.keys.pop(key, None)
        self.told.pop(key, None)
        self.by_stan[key.merchant, key.stan].remove(request_id)
        subjects = [(request_id, "repeat", 0)]
        subjects += [
            (request_id, "reversal", each.row.seq) for each in self.reversals.get(request_id, ())
        ]
        for subject in subjects:
            item_id = self.queue_by_subject.pop(subject, 0)
            self.queue_items.pop(item_id, None)
            self.queue_sent.pop(item_id, None)
            self.queue_end.pop(item_id, None)
        self.outcomes.pop(request_id, None)
        self.reversals.pop(request_id, None)
        self.risk_moves.pop(request_id, None)
        self.follow_ups.pop(request_id, None)


class Player:
    def __init__(
        self, head: Head, lines: Iterator[tuple[int, Line]], tell: Callable[[Played], None]
    ) -> None:
        self._lines = lines
        self._tell = tell
        self.happened = Happened(self._told_line, self.now_s)
        self._settled: list[Settlement] = []  # whose lines, and all before them, are told
        self._settlements: dict[int, Settlement] = {}  # by line, until it is told
        self.counts: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        begins_at = dt.datetime.fromisoformat(head.begins_at)
        self._clock = SimulatedClock(Machine(), begins_at - dt.timedelta(seconds=LINK_S))
        self._vault = LocalVault(TEST_LMK, entropy_of(Dice(1)))
        self._network = Network(Dice(2), Weather(delay_s=(WIRE_S, WIRE_S)))
        for text in head.dialects:
            registry.add(from_toml(text, registry.get))
        self._business_date = dt.date.fromisoformat(head.business_date)
        self._config = Config(
            node="replay",
            workers=1,
            timezone=head.timezone,
            listeners=(Listener(host=HOST, port=PORT),),
            rules=settings_of(Rules, head.settings.get("rules", {})),
            batch=settings_of(Batch, head.settings.get("batch", {})),
            engine=CALM,
            queue=Queue(poll_s=1.0),
        )
        self._framing = FramingSpec(tpdu=True, header_bytes=self._config.listeners[0].header_bytes)
        self._store: WatchedStore
        self._switch: Switch
        self._pans: Pans
        self._with_keys: set[str] = set()  # owners
        self._banks: dict[str, PlayedBank] = {}
        self._wires: dict[str, Wire] = {}
        self._requests: dict[int, Request] = {}  # by the file's id: those that may be named
        self._told: dict[int, Told] = {}

    def now_s(self) -> float:
        """Seconds of the file."""
        return asyncio.get_running_loop().time() - LINK_S

    async def run(self) -> End:
        self._store = WatchedStore(
            self._clock,
            business_date=self._business_date,
            lease=dt.timedelta(seconds=CALM.lease_s),
        )
        self._store.heard = self.happened.committed
        following = await self._begin()
        self._switch = await self._built()
        await self._switch.start([None])
        self._network.listen(HOST, PORT, self._switch.servers[0].accept, None)
        if following is not None:
            await self._play(*following)
        for number, line in self._lines:
            assert not isinstance(line, Head)
            await self._play(number, cast("Event", line))
        await self._rest()
        return End(
            lines=dict(sorted(self.counts.items())),
            virtual_s=round(self.now_s(), 3),
            refused=dict(sorted(self.refused.items())),
            failures=dict(sorted(self.failures.items())),
            unplaced=self.happened.unplaced,
        )

    async def _begin(self) -> tuple[int, Event] | None:
        """Data keys, and the reference data of the beginning; the first line that is another."""
        await data_keys.ensure(self._store.reference, self._vault)
        self._pans = data_keys.open_pans(TEST_LMK, await self._store.reference.snapshot())
        for number, line in self._lines:
            if not isinstance(line, Reference) or line.at > 0:
                return number, cast("Event", line)
            self.counts["reference"] += 1
            await self._refer(line)
        return None

    async def _built(self) -> Switch:
        store = self._store
        ports = Ports(
            stores=stores_of(store),
            hsm=LocalHsm(self._vault),
            pans=self._pans,
            clock=self._clock,
            transport=NetworkTransport(self._network, HOST),
            log=PlayerLog(self),
        )
        return build(self._config, 0, ports)

    async def _rest(self) -> None:
        """What waits comes to its end, in bounded time."""
        until_s = self.now_s() + AFTER_S
        self.happened.tell()
        while self.happened.waiting and self.now_s() < until_s:
            await asyncio.sleep(1.0)
            self.happened.tell()
        self.happened.tell(everything=True)

    def _told_line(self, played: Played) -> None:
        settled = self._settlements.pop(played.line, None)
        if settled is not None:
            self._settled.append(settled)
        self._tell(played)

    def _forget(self) -> None:
        """Lines are told in order: what is of a batch that was settled is over.

        In rounds, each of a good part of what is kept: so it costs every request the same.
        """
        store, batches = self._store, []
        for of in self._settled:
            wire = self._wires.get(f"{of.merchant}/{of.terminal}")
            if wire is not None:
                batches.append((of.merchant, of.terminal, int(wire.terminal.batch_of(of.batch))))
        count = sum(len(store.by_batch.get(batch, ())) for batch in batches)
        if count >= FORGET_MIN and count * FORGET_PART >= len(store.requests):
            store.forget(batches, self.happened.named)
            self.happened.forget(store.requests)
            self._settled.clear()

    # -- lines ---------------------------------------------------------------------------------

    async def _play(self, number: int, line: Event) -> None:
        due_s = line.at - self.now_s()
        if due_s > 0:
            await asyncio.sleep(due_s)
        self.counts[str(type(line).__struct_config__.tag)] += 1
        if isinstance(line, Reference):
            await self._refer(line)
            await self._switch.reference.refresh()
        elif isinstance(line, Day):
            await self._store.days.cut_over(dt.date.fromisoformat(line.business_date))
        else:
            self._ask(number, line)
        self.happened.tell()
        if self._settled:
            self._forget()

    def _ask(self, number: int, line: Request | Reversal | Settlement) -> None:
        trace = "" if isinstance(line, Settlement) else f"/{line.trace:06d}"
        what = str(type(line).__struct_config__.tag)
        self.happened.begin(
            Played(
                line=number,
                what=what,
                name=f"{line.merchant}/{line.terminal} {line.batch:06d}{trace}",
                type=line.type if isinstance(line, Request) else what,
                at=round(self.now_s(), 6),
                recorded=recorded_of(line),
            ),
            line if isinstance(line, Request) else None,
        )
        if isinstance(line, Request) and line.named:
            self._requests[line.id] = line
        elif isinstance(line, Settlement):
            self._settlements[number] = line
        wire = self._wire_of(f"{line.merchant}/{line.terminal}")
        if wire is None:
            self.happened.note(number, "its terminal is not in the reference data")
            self.happened.answered(number)
        else:
            wire.ask(number, line)

    def _wire_of(self, name: str) -> Wire | None:
        wire = self._wires.get(name)
        if wire is None:
            snapshot = self._switch.reference.snapshot()
            terminal = snapshot.terminals.get(name)
            if terminal is None:
                return None
            number = len(self._wires) + 1
            played = PlayedTerminal(terminal, snapshot.profile(terminal), self._framing, number)
            wire = self._wires[name] = Wire(self, played, self._network, number)
        return wire

    async def _refer(self, line: Reference) -> None:
        """An item of reference data, with the keys that its like has: nobody's but a replay's."""
        reference, content = self._store.reference, self._with_tokens(line)
        if line.of == "link":
            self._open_bank(msgspec.convert(content, Link))
        await reference.apply([(line.of, line.key, content)], maker="replay")
        owner = f"{line.of}:{line.key}"
        if owner in self._with_keys:
            return
        if line.of == "terminal":
            await self._add_key(owner, KeyUsage.TMK, master_key(line.key))
        elif line.of == "link":
            bank = self._banks[line.key]
            await self._add_key(owner, KeyUsage.ZPK, bank.zpk)
            if bank.link.mac_algorithm != "off":
                algorithm = algorithm_of(bank.link.mac_algorithm)
                await self._add_key(owner, KeyUsage.ZAK, bank.zak, algorithm)

    def _with_tokens(self, line: Reference) -> dict[str, Any]:
        """Lists name cards by the token that they have here."""
        return {
            name: [
                self._pans.token(one.removeprefix(CARD)).hex() if one.startswith(CARD) else one
                for one in value
            ]
            if name in ("members", "only") and line.of.startswith("risk_")
            else value
            for name, value in line.content.items()
        }

    def _open_bank(self, link: Link) -> None:
        bank = self._banks[link.acquirer] = PlayedBank(
            link, self.happened.asked, self.happened.heard
        )
        self._network.listen(link.host, link.port, bank.protocol, None)

    async def _add_key(
        self, owner: str, usage: KeyUsage, clear: bytes, algorithm: Algorithm | None = None
    ) -> None:
        self._with_keys.add(owner)
        made = self._vault.import_components(usage, [clear], algorithm=algorithm, allow_weak=True)
        await self._store.reference.add_key(
            StoredKey(
                owner=owner,
                usage=usage.value,
                version=0,
                block=made.block,
                check_value=made.check_value,
                lmk_id=made.lmk_id,
            )
        )

    # -- what wires ask -----------------------------------------------------------------------------

    def original_of(self, line: Request) -> Told | None:
        return None if line.original is None else self._told.get(line.original)

    def request_of(self, line: Reversal) -> Request | None:
        return None if line.original is None else self._requests.get(line.original)

    def told(self, line: Request, batch: str, message: Message) -> None:
        if line.named:
            self._told[line.id] = Told(batch, f"{line.trace:06d}", message)


class PlayerLog(NoLog):
    """Refusals that are not stored are counted, and what fails."""

    def __init__(self, player: Player) -> None:
        self._player = player

    def managed(self, received: Received, response_code: str, rule: str) -> None:
        if response_code != "00":
            self._player.refused[f"{received.mti} {response_code} {rule}"] += 1

    def refused(self, source: str, response_code: str, rule: str) -> None:
        self._player.refused[f"{response_code} {rule}"] += 1

    def failed(self, error: BaseException) -> None:
        self._player.failures[type(error).__name__] += 1


def play(head: Head, lines: Iterator[tuple[int, Line]], tell: Callable[[Played], None]) -> End:
    """The whole journal. What comes of each line is told as soon as it is over."""
    return run_virtual(Player(head, lines, tell).run())[0]


def recorded_of(line: Request | Reversal | Settlement) -> dict[str, str]:
    """The facts that a journal has, by the names that a replay gives them."""
    if isinstance(line, Reversal):
        return {"response_code": line.response_code, "rule": line.rule}
    if isinstance(line, Settlement):
        return {"result": line.result}
    if line.outcome is None:
        return {}
    of = line.outcome
    return {
        "type": line.type,
        "state": of.state,
        "response_code": of.response_code,
        "rule": of.rule,
        "approved_amount_minor": _text(of.approved_amount_minor),
        "effect_minor": _text(of.effect_minor),
    }


def _text(value: int | None) -> str:
    return "" if value is None else str(value)


def settings_of(section: type[Of], said: dict[str, Any]) -> Of:
    """Of a section's settings those that this build has."""
    known = {name: said[name] for name in section.__struct_fields__ if name in said}
    return msgspec.convert(known, section)


def algorithm_of(mac_profile: str) -> Algorithm:
    """What a key of 16 bytes for it is a key of."""
    algorithms = PROFILES[mac_profile].key_algorithms
    for algorithm in (Algorithm.AES, Algorithm.SM4, Algorithm.HMAC):
        if algorithm in algorithms:
            return algorithm
    return Algorithm.TDES
