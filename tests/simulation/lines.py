"""What happens to the links of a world, and what must hold of them: circuits, keys, answers kept.

Banks stand still for a while; keys change in both directions, with answers to the change lost, keys
refused and sent again. The checkers see what leaves for a bank, what is logged of circuits, and at the end
the store.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import msgspec

from switch.virtual.loop import PROCESS

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from switch.logs import AuthorizationLine
    from switch.virtual.loop import Process
    from terminals.simulator.bank import Bank
    from terminals.simulator.dice import Dice
    from tests.simulation.world import World

CIRCUIT: Final = {"circuit_in_row": 3, "circuit_window_s": 60.0, "circuit_pause_s": 4.0,
                  "circuit_pause_max_s": 16.0, "circuit_probes": 2}  # fmt: skip
NO_CIRCUIT: Final = {"circuit_in_row": 0, "circuit_share_percent": 0, "echo_waiting_s": 15.0}
SETTLES_S: Final = 0.5  # what was let out just before a circuit opened may leave just after
GAP_S: Final = 75.0  # between two changes of one key: the former is good for a minute
OFFER_AGAIN_S: Final = 2.0
# Answers that nothing but a key can be the reason for, where nothing else goes wrong.
OF_KEYS: Final = frozenset({"91", "96", "98", "99", "A0"})


class LinkPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to links, one thing every `every_s` on average.

    `circuit`: circuits are on · `stand_still_s`: a bank answers nothing for so long, now and then ·
    `keys`: keys change both ways · `lost`: a key of ours never arrives, or the answer to one of the
    bank's · `unanswered`: ours is taken, and its answer lost · `refused`: ours is not taken ·
    `flawless`: nothing else goes wrong, and no request may fail.
    """

    circuit: bool = False
    stand_still_s: float = 0.0
    keys: bool = False
    every_s: float = 20.0
    lost: float = 0.0
    unanswered: float = 0.0
    refused: float = 0.0
    flawless: bool = False


async def disturb(world: World, plan: LinkPlan, dice: Dice) -> None:
    last: dict[tuple[str, str], float] = {}
    while True:
        await asyncio.sleep(dice.exponential_s(plan.every_s))
        bank, usage = dice.choice(world.banks), dice.choice(("ZPK", "ZAK"))
        ours, still = dice.chance(0.5), dice.chance(0.4)
        if plan.stand_still_s and (still or not plan.keys):
            world.serve(world.create_task(stand_still(world, bank, plan.stand_still_s)))
            continue
        at, now_s = (bank.options.name, usage), world.now_s()
        if not plan.keys or now_s - last.get(at, -GAP_S) < GAP_S:
            continue
        last[at] = now_s
        if ours:
            asked = await world.store.key_exchanges.ask(*at, "simulation")
            world.count("keys of ours asked for" if asked else "keys of ours under way")
        else:
            world.serve(world.create_task(offer(world, bank, usage, dice)))


async def stand_still(world: World, bank: Bank, for_s: float) -> None:
    """It reads, and answers nothing."""
    name = bank.options.name
    if bank.options.faults.silent == 1.0:
        return
    world.note("stands still", name)
    world.count("banks stood still")
    before = bank.options.faults
    silent = msgspec.structs.replace(type(before)(), silent=1.0, late_s=before.late_s)
    bank.options = msgspec.structs.replace(bank.options, faults=silent)
    await asyncio.sleep(for_s)
    if bank.options.faults is silent:  # else the world has calmed down
        bank.options = msgspec.structs.replace(bank.options, faults=before)
    world.note("answers again", name)


async def offer(world: World, bank: Bank, usage: Any, dice: Dice) -> None:
    """A new key of the bank's: the same again until it is answered, refused or used. Once it has left
    it may have been taken: a bank whose connections are gone by then keeps it, and sends it later."""
    from tests.simulation.upheaval import odd

    key = odd(b"".join(dice.bits64().to_bytes(8, "big") for _ in range(2)))
    world.checkers.secrets.add("a clear key", key)
    server = world.bank_servers[world.banks.index(bank)]
    world.count("keys of banks offered")
    for number in range(60):
        left = server.broadcast(bank.offer_key(usage, key))
        if not (left or number):
            bank.withdraw_key(usage, key)
            return
        if left and number:
            world.count("keys of banks offered again")
        await asyncio.sleep(OFFER_AGAIN_S)
        if not bank.offers_key(usage, key):
            return


class Lines:
    """What is seen of links while a world lives."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._open_since: dict[tuple[str, str], float] = {}  # (process, bank) → since
        self._half_open: dict[tuple[str, str], list[str]] = {}  # → DE 37 of the probes under way

    def logged(self, event: MutableMapping[str, Any]) -> None:
        if event.get("event") == "link_connection_let_go":
            self._world.count("link connection let go")
        process = PROCESS.get()
        if event.get("event") not in ("link_circuit", "link_started") or process is None:
            return
        at = (process.name, str(event["acquirer"]))
        self._open_since.pop(at, None)
        self._half_open.pop(at, None)
        if event["event"] == "link_started":
            return  # its circuit is closed, whatever that of the link before it was
        self._world.count(f"circuit {event['state']}")
        if event["state"] == "open":
            self._open_since[at] = self._world.now_s()
        elif event["state"] == "half_open":
            self._half_open[at] = []

    def leaves(self, bank: str, process: Process | None, request_id: int, rrn: str) -> None:
        """A new request: not while its worker's circuit is open; of probes so many at a time."""
        if process is None or not self._is_of(process, request_id):
            return  # handed over: it was let out by another
        at = (process.name, bank)
        since_s = self._open_since.get(at)
        self._world.checkers.check(
            "P8",
            since_s is None or self._world.now_s() - since_s < SETTLES_S,
            f"{rrn} leaves for {bank}, whose circuit is open in {process.name}",
        )
        probes = self._half_open.get(at)
        if probes is not None:
            probes.append(rrn)
            most = CIRCUIT["circuit_probes"]
            under_way = [one for one in probes if self._waits(one)]
            self._world.checkers.check(
                "P8",
                len(under_way) <= most,
                f"{len(under_way)} probes are under way to {bank}, and {most} may be",
            )

    def _waits(self, rrn: str) -> bool:
        row = self._world.checkers.by_rrn.get(rrn)
        return row is not None and row.request_id not in self._world.checkers.outcomes

    def _is_of(self, process: Process, request_id: int) -> bool:
        row = self._world.checkers.requests.get(request_id)
        owner = None if row is None else self._world.store.owner_rows.get(row.owner_id)
        return owner is not None and process.name.startswith(f"{owner.node}-{owner.worker}.")

    def answered(self, line: AuthorizationLine) -> None:
        plan = self._world.plan.links
        if plan is not None and plan.flawless:
            self._world.checkers.check(
                "P7",
                line.response_code not in OF_KEYS,
                f"{line.rrn} is answered {line.response_code} ({line.rule}): only keys changed",
            )

    def rest(self) -> None:
        """No change of key is left over, both sides have the same keys, and what was kept can be
        explained."""
        if self._world.plan.links is None:
            return
        for exchange in self._world.store.exchange_rows.values():
            self._world.count(f"key exchange {exchange.state}")
            self._world.checkers.check(
                "P4", not exchange.open, f"key change {exchange.exchange_id} is {exchange.state}"
            )
        self._same_keys()
        self._explained()

    def _same_keys(self) -> None:
        """The ZAK and ZPK that we have in force is one that the bank takes, and signs with."""
        for bank in self._world.banks:
            owner = f"link:{bank.options.name}"
            for usage in ("ZPK", "ZAK"):
                stored = [
                    key
                    for key in self._world.store.stored_keys
                    if (key.owner, key.usage, key.status) == (owner, usage, "active")
                ]
                newest = max(stored, key=lambda key: key.version)
                good = bank.check_values(usage)
                self._world.checkers.check(
                    "P8",
                    newest.check_value in good,
                    f"{owner} {usage} is {newest.check_value}, and the bank has {good}",
                )

    def _explained(self) -> None:
        """Whatever is kept names its own request where its numbers say which that is."""
        reasons: Counter[str] = Counter()
        for row in self._world.store.unmatched.values():
            answer = row.answer
            reasons[answer.reason] += 1
            if answer.nearest is None or answer.reason == "undecodable" or answer.mti[1] == "8":
                continue
            identity = (answer.acquirer, answer.transmission_time, answer.stan)
            checkers = self._world.checkers
            owner = checkers.attempts.get(identity)
            if owner is None and (item := checkers.queue.get(identity)) is not None:
                owner = item.request_id
            checkers.check(
                "P10",
                owner in (None, answer.nearest.request_id),
                f"an answer to {identity} is said to look like {answer.nearest.request_id}",
            )
        for reason, count in reasons.items():
            self._world.counts[f"kept: {reason}"] += count
