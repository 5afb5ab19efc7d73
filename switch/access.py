"""What a process remembers of a terminal's session: key sets, open batch, sources (rules §10).

The store is the truth and other workers write to it, so before a terminal is told A0 or 77 its
session is read again, and nothing is believed longer than former keys may live. Memory here is bounded;
what was read first is forgotten first, and would be read again first in any case.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from switch.store_ports import Batch, Batches, KeptDownload, Session


class Access:
    """One terminal's session as last read."""

    __slots__ = (
        "added",
        "asked",
        "batch",
        "downloads",
        "former_keys_s",
        "items",
        "sessions",
        "sources",
        "until_s",
    )

    def __init__(self, sessions: list[Session], batch: Batch | None, former_keys_s: float) -> None:
        self.until_s = 0.0  # loop time, set by the cache: then it is read again
        self.sessions = sessions
        self.former_keys_s = former_keys_s
        self.batch = batch
        self.items = batch.items if batch is not None else 0  # in the store when it was read
        self.added = 0  # by this process since
        self.sources: set[str] = set()
        self.downloads: list[KeptDownload] | None = None  # as last read
        self.asked: dict[str, tuple[str, float]] = {}  # topic → version, loop time

    def count_is_old(self, items_max: int, workers: int) -> bool:
        """Could the batch be full by now? Of the room that was left, each worker may use its share
        before it asks the store again: a few times a batch, not at every item near the bound."""
        return self.added > 0 and (self.added + 1) * workers > items_max - self.items

    def usable(self, now: dt.datetime) -> list[Session]:
        """Key sets that a message may verify under, newest first.

        The former set is valid until the first message that verifies under the new one, at most
        `rules.old_keys_s` after the new one was made.
        """
        if len(self.sessions) > 1:
            newest = self.sessions[0]
            age_s = (now - newest.created_at).total_seconds()
            if newest.confirmed or age_s > self.former_keys_s:
                return self.sessions[:1]
        return self.sessions


class AccessCache:
    def __init__(self, batches: Batches, bound: int, former_keys_s: float) -> None:
        self._batches = batches
        self._bound = bound
        self._former_keys_s = former_keys_s
        self._known: OrderedDict[tuple[str, str], Access] = OrderedDict()  # by when it was read
        self._time: Callable[[], float]  # of the loop that it was read in

    def get(self, merchant: str, terminal: str) -> Access | None:
        """As last read; None where that is too long ago: other workers may know of newer keys."""
        access = self._known.get((merchant, terminal))
        return None if access is None or self._time() > access.until_s else access

    async def read(self, merchant: str, terminal: str) -> Access:
        """Read from the store, and remember."""
        sessions, batch = await self._batches.standing(merchant, terminal)
        former = self._known.pop((merchant, terminal), None)
        access = Access(sessions, batch, self._former_keys_s)
        self._time = asyncio.get_running_loop().time
        access.until_s = self._time() + self._former_keys_s
        if former is not None and former.batch is not None and batch is not None:
            access.sources = former.sources if former.batch.batch == batch.batch else set()
        if former is not None:
            access.asked = former.asked
        self._known[merchant, terminal] = access
        if len(self._known) > self._bound:
            self._known.popitem(last=False)
        return access

    def forget(self, merchant: str, terminal: str) -> None:
        self._known.pop((merchant, terminal), None)

    def forget_keys(self) -> None:
        """Read every terminal's session again before it is used; what else is known of it stays."""
        for access in self._known.values():
            access.until_s = float("-inf")
