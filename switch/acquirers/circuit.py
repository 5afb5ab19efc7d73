"""Whether a link takes new requests: closed, open, half open. Pure: times are given, nothing is awaited.

Theory of operation. A host that does not answer costs each of its requests the link's whole timer and
leaves each unknown, with a reversal to follow. So what requests come to is judged: a *failure* is no
answer in time, or an answer with a code of `Link.circuit_codes`; whatever else counts is a *success*, a
decline too. Where failures within the window are so many in a row, or such a share of enough requests,
the circuit opens:

    CLOSED ──so many failures──▶ OPEN ──after the pause──▶ HALF_OPEN ──so many successes──▶ CLOSED
                                  ▲                            │
                                  └────────one failure─────────┘   the pause doubles, up to its bound

While it is open nothing new is sent: another route, or 91 at once. Half open it lets `circuit_probes`
requests out at a time; so many successes close it. What was sent before the circuit last changed says
nothing of the host as it is now, and is not counted: each request carries the number of the state it left
in (`take`, `watch`), and gives it back with what came of it.

Store and forward asks nobody: reversals end whatever the state. While the circuit is not closed it sends
one item at a time, and what comes of that counts for nothing: a host may well take reversals and fail
at all else.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from switch.reference import Link

SLICES: Final = 10  # of the window
NEVER: Final = -1  # a number that no state has: what carries it counts for nothing


class CircuitState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Circuit:
    """One process's judgement of one link. `on_change` is told of every new state, with its cause."""

    def __init__(self, link: Link, on_change: Callable[[CircuitState, str], None]) -> None:
        self.closed = True  # what nearly every request asks
        self._on_change = on_change
        self._number = 0  # of the present state
        self._open_until_s: float | None = None  # None: half open, or closed
        self._pause_s = link.circuit_pause_s
        self._out = 0  # probes under way
        self._good = 0  # probes that succeeded
        self._row = 0  # failures in a row
        self._row_since_s = 0.0
        self._successes = 0  # in the present slice
        self._failures = 0
        self._slice_ends_s = 0.0
        self._slices: deque[tuple[int, int]] = deque(maxlen=SLICES)  # (successes, failures)
        self.change(link)

    def change(self, link: Link) -> None:
        """Other settings. What was counted stays."""
        self._link = link
        self._slice_s = link.circuit_window_s / SLICES
        self._pause_s = min(max(self._pause_s, link.circuit_pause_s), link.circuit_pause_max_s)

    def state(self, now_s: float) -> CircuitState:
        if self.closed:
            return CircuitState.CLOSED
        if self._open_until_s is not None and now_s < self._open_until_s:
            return CircuitState.OPEN
        return CircuitState.HALF_OPEN

    def takes(self, now_s: float) -> bool:
        """Would a request be let out now?"""
        return self.closed or (
            self.state(now_s) is CircuitState.HALF_OPEN and self._out < self._link.circuit_probes
        )

    def take(self, now_s: float) -> int | None:
        """Let a request out: the number that it carries; None: it may not leave."""
        if self.closed:
            return self._number
        if not self.takes(now_s):
            return None
        if self._open_until_s is not None:
            self._open_until_s = None
            self._turn(CircuitState.HALF_OPEN, "pause_over")
        self._out += 1
        return self._number

    def watch(self) -> int:
        """A message that leaves whatever the state."""
        return self._number if self.closed else NEVER

    def released(self, number: int) -> None:
        """It did not leave after all, or nobody waited for what would come of it."""
        if number == self._number and self._out:
            self._out -= 1

    def succeeded(self, number: int, now_s: float) -> None:
        if number != self._number:
            return
        if self.closed:
            self._row = 0
            if now_s >= self._slice_ends_s:
                self._roll(now_s)
            self._successes += 1
            return
        self._out -= 1
        self._good += 1
        if self._good >= self._link.circuit_probes:
            self._pause_s = self._link.circuit_pause_s
            self.closed = True
            self._forget()
            self._turn(CircuitState.CLOSED, "probes_answered")

    def failed(self, number: int, now_s: float) -> None:
        if number != self._number:
            return
        link = self._link
        if not self.closed:
            self._pause_s = min(2 * self._pause_s, link.circuit_pause_max_s)
            self._open(now_s, "probe_failed")
            return
        if self._row and now_s - self._row_since_s > link.circuit_window_s:
            self._row = 0
        if not self._row:
            self._row_since_s = now_s
        self._row += 1
        self._roll(now_s)
        self._failures += 1
        if link.circuit_in_row and self._row >= link.circuit_in_row:
            self._open(now_s, "in_row")
            return
        failures = self._failures + sum(failures for _, failures in self._slices)
        requests = failures + self._successes + sum(successes for successes, _ in self._slices)
        share = link.circuit_share_percent
        if share and requests >= link.circuit_requests and 100 * failures >= share * requests:
            self._open(now_s, "share")

    def _open(self, now_s: float, cause: str) -> None:
        self.closed = False
        self._open_until_s = now_s + self._pause_s
        self._forget()
        self._turn(CircuitState.OPEN, cause)

    def _turn(self, state: CircuitState, cause: str) -> None:
        self._number += 1
        self._out = self._good = 0
        self._on_change(state, cause)

    def _forget(self) -> None:
        self._row = self._successes = self._failures = 0
        self._slices.clear()

    def _roll(self, now_s: float) -> None:
        """Begin another slice where the present one has ended; those out of the window go."""
        if now_s < self._slice_ends_s:
            return
        passed = min(int((now_s - self._slice_ends_s) / self._slice_s), SLICES)
        self._slices.append((self._successes, self._failures))
        self._slices.extend([(0, 0)] * passed)
        self._successes = self._failures = 0
        self._slice_ends_s = now_s + self._slice_s
