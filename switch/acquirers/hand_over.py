"""One link's part in the hand-over between siblings: which of theirs it uses, whose frames it wrote."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from switch.acquirers.sibling_messages import Came
from switch.bounded import remember

if TYPE_CHECKING:
    from collections.abc import Callable

    from switch.acquirers.sibling_messages import MatchKey, Send
    from switch.acquirers.sibling_stream import Mirrored, Sibling
    from switch.acquirers.siblings import SharedLink, Siblings

HANDED_IN_MAX: Final = 65_536  # frames of siblings of which it is known whose they were


class HandOver:
    """`siblings` None: the node has one worker, and nothing here ever happens."""

    def __init__(self, name: str, siblings: Siblings | None) -> None:
        self.on = siblings is not None
        self.mirrored: dict[int, Mirrored] = {}  # the siblings' connections, by our serial
        self._name = name
        self._siblings = siblings
        self._number = 0  # of this link among the siblings'
        self._ticket = 0
        # whose; answered until; on which connection
        self._handed_in: OrderedDict[MatchKey, tuple[Sibling, float, int]] = OrderedDict()

    @property
    def usable(self) -> bool:
        return any(way.usable for way in self.mirrored.values())

    def attach(self, link: SharedLink) -> None:
        if self._siblings is not None:
            self._number = self._siblings.attach(link)

    def detach(self) -> None:
        if self._siblings is not None:
            self._siblings.detach(self._number)

    def announce(self, serial: int, *, is_open: bool, usable: bool) -> None:
        """One of our connections has come, changed or gone."""
        if self._siblings is not None:
            self._siblings.announce(self._number, serial, is_open=is_open, usable=usable)

    def send(self, way: Mirrored, data: bytes, send_by_ns: int, key: MatchKey) -> int:
        """Over a sibling's connection; the ticket by which it may say that nothing left."""
        self._ticket += 1
        way.hand_over(self._name, data, send_by_ns, key, self._ticket)
        return self._ticket

    # -- what siblings have on our connections ----------------------------------------------------

    def note(self, message: Send, sibling: Sibling, timeout_s: float) -> None:
        """Their frame leaves now."""
        until_s = asyncio.get_running_loop().time() + timeout_s
        handed_in = sibling, until_s, message.serial
        remember(self._handed_in, message.key, handed_in, HANDED_IN_MAX)

    def awaited(self, serial: int | None = None) -> bool:
        """Does a sibling still wait for an answer, on this connection or on any?"""
        now_s = asyncio.get_running_loop().time()
        return any(
            until_s > now_s and serial in (None, on) for _, until_s, on in self._handed_in.values()
        )

    def waits_for(self, key: MatchKey) -> bool:
        """Has a sibling's frame that this answers left here, and had no answer yet?"""
        _, until_s, _ = self._handed_in.get(key, (None, 0.0, 0))
        return until_s > asyncio.get_running_loop().time()

    def pass_on(self, key: MatchKey, body: bytes, otherwise: Callable[[], None]) -> None:
        """An answer to nothing of ours: to the sibling that handed it in, else to whoever knows it."""
        assert self._siblings is not None
        sibling, _, serial = self._handed_in.get(key, (None, 0.0, 0))
        if sibling is not None and not sibling.closed.is_set():
            # a second answer takes the same way; only the first was in flight
            self._handed_in[key] = sibling, 0.0, serial
            sibling.say(Came(self._name, body))
            return
        self._siblings.offer(self._number, body, otherwise)
