"""The store as simulated processes see it: behind a wire, with commits that get lost in every way.

`WatchedStore` is the in-memory store that tells every commit that stands, at the instant at which it
does. `Remote` stands between a process and a port of the store: a call travels there, is performed
whether or not the process still lives, and its answer travels back to it.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from switch.adapters.memory import LEASE, MemoryStore
from switch.adapters.memory.faults import Faults, LostAcknowledgementError
from switch.at_once import told_of
from switch.journal import Stored, StoreDownError
from switch.store_ports import Lease

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from switch.journal import Commit, Verdict
    from terminals.simulator.dice import Dice
    from tests.simulation.node import Boot

CALLER: contextvars.ContextVar[Boot | None] = contextvars.ContextVar("caller", default=None)
ASKED_AGAIN: contextvars.ContextVar[bool] = contextvars.ContextVar("asked_again", default=False)


DISK_FULL = "simulated: could not extend file: No space left on device (53100)"

# What writes. What comes by the clock and not with the trade is left out: the renewals of leases,
# and looks for the dead while nobody is (`WatchedStore.someone_died`).
WRITES = frozenset(
    {
        "add_key",
        "ask",
        "commit",
        "confirm_session",
        "decide",
        "end",
        "finish",
        "finish_upload",
        "keep_unmatched",
        "freeze",
        "link_stans",
        "made",
        "note_source",
        "recovered",
        "register",
        "release",
        "request_ids",
        "rrns",
        "sent",
        "settle",
        "sign_on",
        "step",
        "take",
        "take_over",
        "upload",
    }
)
LOOKS = frozenset(
    {"due", "exchanges", "generation", "open_items", "overdue_uploads"}
)  # a few times a second
JUDGED = frozenset({"commit", "decide"})  # told to `on_commit`, as they stand


class StoreFaults(msgspec.Struct, frozen=True, kw_only=True):
    """Rates are per commit, that of `slow` per call.

    `slow`: a call takes up to `slow_s` · `crash_before`: the process dies before its commit stands ·
    `crash_after`: it dies when it stands, before it hears so · `lost_acknowledgement`: it stands, nobody
    says so, and it is asked again within `reconnect_s` · `down`: refused, and certainly nothing stands ·
    `pause_after`: the process stands still for longer than any lease when it stands, before it hears so.
    """

    delay_s: tuple[float, float] = (0.0005, 0.004)
    slow: float = 0.0
    slow_s: float = 3.0
    crash_before: float = 0.0
    crash_after: float = 0.0
    lost_acknowledgement: float = 0.0
    reconnect_s: float = 2.0
    down: float = 0.0
    pause_after: float = 0.0


class Disturbed(Faults):
    """Around every commit: crashes of its process, lost acknowledgements, refusals."""

    def __init__(self, dice: Dice) -> None:
        self.dice = dice
        self.rates = StoreFaults()
        self.down = False  # an outage: everything is refused
        self.freed = asyncio.Event()  # not set: the disk is full, what writes is refused
        self.freed.set()
        self.counts: Counter[str] = Counter()
        self.writes: list[str] = []  # of every kind, as they came
        self.crash_at = 0  # the process that asks for this write dies …
        self.crash_late = False  # … before it stands, or after

    def count(self, what: str) -> None:
        self.counts[f"store {what}"] += 1

    async def before(self, commit: Commit | None) -> None:
        """`commit` is None where it is still to be judged."""
        rates, caller = self.rates, CALLER.get()
        if self.dice.chance(rates.crash_before) and caller is not None:
            caller.node.crash("before a commit")
            raise asyncio.CancelledError
        if ASKED_AGAIN.get():
            await self.freed.wait()
            return  # it may stand already: only the store's word decides, however long it takes
        if not self.freed.is_set():
            raise StoreDownError(DISK_FULL)
        if self.down or self.dice.chance(rates.down):
            self.count("refuses a commit")
            raise StoreDownError("simulated outage")

    async def after(self, commit: Commit | None) -> None:
        rates, caller = self.rates, CALLER.get()
        if self.dice.chance(rates.crash_after) and caller is not None:
            caller.node.crash("after a commit")
        if rates.pause_after and self.dice.chance(rates.pause_after) and caller is not None:
            self.count("stops a process behind its commit")
            caller.node.pause(6.0 + 20.0 * self.dice.random())
        if self.dice.chance(rates.lost_acknowledgement):
            self.count("loses an acknowledgement")
            await asyncio.sleep(rates.reconnect_s * self.dice.random())
            ASKED_AGAIN.set(True)
            raise LostAcknowledgementError


class WatchedStore(MemoryStore):
    """Tells `on_commit` of (commit, the queue item that it notes sent and which try that is)."""

    on_commit: Callable[[Commit, tuple[int, int] | None], None]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._told: set[int] = set()

    def apply(
        self,
        commit: Commit,
        commit_id: int,
        sent: tuple[int, int] | None = None,
    ) -> Verdict:
        verdict = super().apply(commit, commit_id, sent)
        if isinstance(verdict, Stored) and commit_id not in self._told:
            self._told.add(commit_id)
            self.on_commit(commit, sent)
        return verdict

    def someone_died(self) -> bool:
        """Whether there is an owner to be taken over: its lease has expired."""
        now = self.clock.now()
        return any(
            not owner.closed and owner.lease_until <= now for owner in self.owner_rows.values()
        )


class Remote:
    """A port of the store for one boot of one process."""

    def __init__(self, boot: Boot, port: Any, dice: Dice, disturbed: Disturbed) -> None:
        self._boot = boot
        self._port = port
        self._dice = dice
        self._disturbed = disturbed

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        method = getattr(self._port, name)

        async def look(*args: Any, **options: Any) -> Any:
            """Nothing stands after it, whatever becomes of who asked: no task of the store's own."""
            await asyncio.sleep(self._delay_s())
            if self._disturbed.down:
                raise StoreDownError("simulated outage")
            return await method(*args, **options)

        async def call(*args: Any, **options: Any) -> Any:
            asked_s = self._boot.clock.monotonic_ns() / 1e9
            loop = asyncio.get_running_loop()
            answer: asyncio.Future[Any] = loop.create_future()
            if not self._boot.process.gone:
                if name in WRITES - JUDGED:
                    self._boot.node.world.checkers.no_secrets(f"a call of {name}", args, options)
                context = self._boot.node.world.context.copy()
                context.run(CALLER.set, self._boot)
                at_start = options.get("at_start", False)
                work = self._serve(answer, name, lambda: method(*args, **options), at_start)
                self._boot.node.world.serve(loop.create_task(work, context=context))
            found = await answer
            if isinstance(found, Lease):
                # until when is counted on the holder's clock, from before it asked
                found = Lease(found.epoch, asked_s + LEASE.total_seconds())
            return found

        return look if name in LOOKS else call

    def submit(self, commit: Commit, told: Callable[[Any], None]) -> None:
        told_of(self.commit(commit), told)

    async def _serve(
        self,
        answer: asyncio.Future[Any],
        name: str,
        perform: Callable[[], Coroutine[Any, Any, Any]],
        at_start: bool,
    ) -> None:
        await asyncio.sleep(self._delay_s())
        result, failure = None, None
        disturbed, dies = self._disturbed, False
        if name in WRITES and (
            name != "take_over" or at_start or self._boot.node.world.store.someone_died()
        ):
            disturbed.writes.append(name)
            dies = len(disturbed.writes) == disturbed.crash_at
        if dies and not disturbed.crash_late:
            self._boot.node.crash(f"before write {disturbed.crash_at} ({name})")
            return
        try:
            if disturbed.down:
                raise StoreDownError("simulated outage")
            if not disturbed.freed.is_set() and name in WRITES | {"renew", "lease"}:
                disturbed.count("has no space")
                raise StoreDownError(DISK_FULL)
            result = await perform()
        except Exception as error:  # noqa: BLE001 - it is the caller's
            failure = error
        if dies:
            self._boot.node.crash(f"after write {disturbed.crash_at} ({name})")
            return
        await asyncio.sleep(self._delay_s())
        if answer.done() or self._boot.process.gone:
            return
        if failure is not None:
            answer.set_exception(failure)
        else:
            answer.set_result(result)

    def _delay_s(self) -> float:
        rates = self._disturbed.rates
        low_s, high_s = rates.delay_s
        delay_s = low_s + (high_s - low_s) * self._dice.random()
        if self._dice.chance(rates.slow):
            delay_s += rates.slow_s * self._dice.random()
        return delay_s
