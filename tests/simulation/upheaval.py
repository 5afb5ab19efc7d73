"""What happens to a whole world in the middle of its trade, besides `ChaosRates`.

Clocks are set by up to an hour (the store's where a plan says so), disks fill up, the vault goes away for
a while, banks change their keys and their settlement date, operators change links and suspend merchants.
It has dice of its own: what it draws shifts nothing else, so that older seeds keep their meaning.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING, Literal

import msgspec

from terminals.registry import Merchant, Status
from tests.simulation.vault import DeviceFaults, VaultFaults

if TYPE_CHECKING:
    from terminals.simulator.bank import Bank
    from terminals.simulator.dice import Dice
    from tests.simulation.world import World

KEY_CHANGE_GAP_S = 90.0  # the former key of a link is good for a minute; no bank changes faster
LINK_TIMEOUTS_S = (6.0, 8.0, 10.0)
DAY = dt.timedelta(days=1)
MOVES = 0.4  # of the changes of a link


class UpheavalRates(msgspec.Struct, frozen=True, kw_only=True):
    """Weights of what happens to a whole world, one every `every_s` on average; 0: never.

    `clock_hour`: a wall clock is set by up to an hour · `long_pause`: a process stands still for longer
    than any lease · `disk_full`: the store takes no row, and is read all the same · `vault_away`: the
    vault of a process refuses everything · `key_change`: a bank sends a new ZPK or ZAK under the ZMK ·
    `bank_cut_over`: a bank's settlement date moves on · `freeze`: the date is cut and, soon after, frozen:
    its captures are clearing records · `link_change`: every process replaces a link · `suspension`: of a
    merchant, and back · `post`: the date is cut, frozen and posted: nothing of it changes any more ·
    `store_clock_hour`: the store's clock is set by up to an hour.
    """

    every_s: float = 0.0
    clock_hour: float = 1.0
    long_pause: float = 1.0
    disk_full: float = 1.0
    vault_away: float = 1.0
    key_change: float = 3.0
    bank_cut_over: float = 1.0
    freeze: float = 1.0
    link_change: float = 1.0
    suspension: float = 1.0
    post: float = 0.0
    store_clock_hour: float = 0.0


class Upheaval(msgspec.Struct, frozen=True, kw_only=True):
    """All that is drawn from the second dice of a seed."""

    rates: UpheavalRates = UpheavalRates()
    vault: VaultFaults = VaultFaults()
    device: DeviceFaults = DeviceFaults()
    wrap: bool = False  # the numbers of links and terminals begin a little below 999999
    drift: float = 0.0002  # at most, of every clock, either way


async def upheave(world: World, rates: UpheavalRates, dice: Dice) -> None:
    weights = weights_of(rates)
    while True:
        await asyncio.sleep(dice.exponential_s(rates.every_s))
        what = dice.weighted(weights)
        node, amount = dice.choice(world.nodes), dice.random()
        bank = dice.choice(world.banks)
        world.note("upheaval", what, node.name, bank.options.name)
        world.count(f"upheaval {what}")
        if what == "clock_hour":
            node.clock.machine.ahead_s += (amount - 0.5) * 7_200.0
        elif what == "store_clock_hour":
            world.clock.machine.ahead_s += (amount - 0.5) * 7_200.0
            world.store_stepped_s = world.now_s()
        elif what == "long_pause":
            node.pause(6.0 + 60.0 * amount)
        elif what == "disk_full":
            world.disturbed.freed.clear()
            world.call_later(0.5 + 15.0 * amount, world.disturbed.freed.set)
        elif what == "vault_away":
            node.vault.refusing = True
            world.call_later(0.2 + 8.0 * amount, setattr, node.vault, "refusing", False)
        elif what == "key_change":
            change_key(world, bank, "ZPK" if amount < 0.5 else "ZAK", dice)
        elif what == "bank_cut_over":
            world.bank_cut_over(bank)
        elif what == "freeze":
            await cut_over(world)
            world.serve(world.create_task(freeze(world, 5.0 + 30.0 * amount)))
        elif what == "post":
            await cut_over(world)
            world.serve(world.create_task(post(world, 5.0 + 20.0 * amount)))
        elif what == "link_change":
            await change_link(world, bank, dice)
        elif what == "suspension":
            await suspend(world, dice, 5.0 + 25.0 * amount)


def weights_of(rates: msgspec.Struct) -> tuple[tuple[str, float], ...]:
    """What may happen, each as often as its weight says."""
    weights = msgspec.structs.asdict(rates)
    return tuple((name, weight) for name, weight in weights.items() if name != "every_s")


async def cut_over(world: World) -> None:
    """Our date moves on, unless what was queued before it began still waits: no real day is shorter
    than a queue's retries. It takes along a bank that would be two days behind: no real one is, and
    the day's end looks a day to either side (`settlement.window_days`)."""
    waiting = [item.position for item in world.store.queue_open.values()]
    if min(waiting, default=world.queued_before + 1) <= world.queued_before:
        world.count("date kept")
        return
    world.queued_before = max(waiting, default=world.queued_before)
    await world.store.days.cut_over(next_day(world.store.today))
    for bank in world.banks:
        while world.store.today - bank.settlement_date > DAY:
            world.bank_cut_over(bank)


async def freeze(world: World, after_s: float) -> None:
    """Every date that is cut, once nothing of it is undecided."""
    await asyncio.sleep(after_s)
    for date, state in list(world.store.dates.items()):
        if state == "cut":
            left = await world.store.days.freeze(date)
            world.count("dates not frozen yet" if left else "dates frozen")
            if not left:
                world.checkers.closed_dates.frozen(date)


async def post(world: World, after_s: float) -> None:
    """Every date that could be frozen is posted, as the day's end would."""
    await freeze(world, after_s)
    for date, state in list(world.store.dates.items()):
        if state == "frozen":
            await world.store.days.mark_posted(date)
            world.count("dates posted")


def change_key(world: World, bank: Bank, usage: Literal["ZPK", "ZAK"], dice: Dice) -> None:
    """Under the ZMK, on the first connection that is signed on. In use once it is accepted."""
    now_s = asyncio.get_running_loop().time()
    at = (bank.options.name, usage)
    if now_s - world.key_changes.get(at, -KEY_CHANGE_GAP_S) < KEY_CHANGE_GAP_S:
        return
    server = world.bank_servers[world.banks.index(bank)]
    if not any(one.session.signed_on for one in server.connections):
        return
    world.key_changes[at] = now_s
    key = odd(b"".join(dice.bits64().to_bytes(8, "big") for _ in range(2)))
    world.checkers.secrets.add("a clear key", key)
    server.broadcast(bank.offer_key(usage, key))
    world.count(f"key changes begun {usage}")


def odd(key: bytes) -> bytes:
    """With odd parity, as a bank would make it."""
    return bytes(byte & 0xFE | (bin(byte >> 1).count("1") + 1) % 2 for byte in key)


async def change_link(world: World, bank: Bank, dice: Dice) -> None:
    """Another time-out, which a running link takes up; or another port, and each is replaced."""
    at = world.banks.index(bank)
    link = msgspec.structs.replace(world.links[at], timeout_s=dice.choice(LINK_TIMEOUTS_S))
    if dice.chance(MOVES):
        link = msgspec.structs.replace(link, port=3 - link.port)
        world.count("links moved")
    world.links[at] = link
    await world.store.reference.apply(
        [("link", link.acquirer, msgspec.to_builtins(link))], maker="simulation"
    )


async def suspend(world: World, dice: Dice, for_s: float) -> None:
    merchant = dice.choice(world.merchants)
    await _apply(world, msgspec.structs.replace(merchant, status=Status.SUSPENDED))

    async def back() -> None:
        await asyncio.sleep(for_s)
        await _apply(world, merchant)

    world.serve(world.create_task(back()))


async def _apply(world: World, merchant: Merchant) -> None:
    await world.store.reference.apply(
        [("merchant", merchant.merchant, msgspec.to_builtins(merchant))], maker="simulation"
    )


def next_day(date: dt.date) -> dt.date:
    return date + DAY
