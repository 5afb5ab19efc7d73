"""A bank that connects to us, and that has put all its connections on some nodes: when to let one go.

Theory of operation. Where the bank connects, it chooses the node. Of a link for which it makes fewer
connections than it grants, one node may have several while another holds a slot and waits: after a
restart the bank stays where it went meanwhile, and the node that is back answers 91. Nobody can call
the bank; but it connects anew when a connection ends, and whoever is not let in tries another address.

So while a node waits in vain, those that have a connection take no more, and after `AFTER_S` the one
that has most lets one go, if it has two or more. All see the same slots in the store, and so agree who
that is. A bank that does not know the other address, or can not reach it, must not be kept out for that:
after `FOR_S` it may connect wherever it likes, and it is tried again after a pause that doubles.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from switch.store_ports import SlotHeld

AFTER_S: Final = 5.0  # a node has waited for so long: others let a connection go
FOR_S: Final = 30.0  # from when it waits: then the bank does not come, and others take more again
PAUSE_S: Final = 30.0  # until it is tried again; doubles
PAUSE_MAX_S: Final = 3_600.0


class Spread:
    """Of one link in one process."""

    def __init__(self) -> None:
        self.holds_back = False  # this process takes no further connection
        self._in_vain: frozenset[str] = frozenset()  # nodes that wait
        self._since_s = 0.0
        self._pause_s = PAUSE_S
        self._decided = False

    def look(self, now_s: float, slots: Sequence[SlotHeld], mine: Collection[int]) -> int | None:
        """The one of `mine`, the slots that this process holds, to be let go now.

        `slots`: all of the link that anybody holds.
        """
        connected = Counter(slot.node for slot in slots if slot.connected)
        in_vain = frozenset(slot.node for slot in slots if slot.connected is False)
        in_vain -= connected.keys()
        if in_vain != self._in_vain:
            self._begin(now_s, PAUSE_S)
            self._in_vain = in_vain
        waited_s = now_s - self._since_s
        if waited_s >= FOR_S + self._pause_s:
            self._begin(now_s, min(self._pause_s * 2, PAUSE_MAX_S))
            waited_s = 0.0
        node = next((slot.node for slot in slots if slot.slot in mine), "")
        self.holds_back = bool(in_vain and connected[node]) and waited_s < FOR_S
        if not self.holds_back or waited_s < AFTER_S or self._decided:
            return None
        self._decided = True
        gives, most = max(connected.items(), key=lambda each: (each[1], each[0]))
        last = max(slot.slot for slot in slots if slot.connected and slot.node == gives)
        return last if most > 1 and last in mine else None

    def _begin(self, now_s: float, pause_s: float) -> None:
        self._since_s = now_s
        self._pause_s = pause_s
        self._decided = False
