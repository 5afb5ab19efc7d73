"""Accepting on a listening socket that several workers inherited, so that each gets its share.

Theory of operation. Whoever looks first takes who waits, and who has least to do does not look first: of
64 terminals that came together one worker of two got 57. So each worker says in a page that all of
them map how many connections it has. One that has more than another, by an eighth, leaves who comes to the
others for `POLITE_S`; after that it takes one whoever it is, so that nobody waits long for that. A worker that has
not said anything for `SILENT_S` counts for nothing. Who comes is taken one a turn of the loop: the others
get theirs, and terminals that are in already are served between.
"""

from __future__ import annotations

import asyncio
import errno
import mmap
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

POLITE_S: Final = 0.005  # that who comes is left to others
SILENT_S: Final = 3.0  # without a word, and a worker is none; they speak every second
EIGHTH: Final = 8
NO_ROOM_S: Final = 1.0  # until we try again, where the system has no room
# Who comes has gone while he waited: Linux hands on what has happened to his connection (accept(2)).
GONE: Final = frozenset(
    (
        errno.ECONNABORTED, errno.EPROTO, errno.ENOPROTOOPT, errno.EOPNOTSUPP, errno.ENETDOWN,
        errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENONET,
    )
)  # fmt: skip
WORKER_BYTES: Final = 16  # connections; ms of the machine's monotonic clock when that was said


class Shares:
    """What the workers of a node say of their connections at one listener.

    The page is a file in the run folder: for each worker two native int64, which are written whole.
    """

    def __init__(self, file: Path, worker: int, workers: int) -> None:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.ftruncate(descriptor, workers * WORKER_BYTES)
            page = mmap.mmap(descriptor, workers * WORKER_BYTES)
        finally:
            os.close(descriptor)
        self._said = memoryview(page).cast("q")
        self._own = 2 * worker
        self._others = [2 * n for n in range(workers) if n != worker]

    def say(self, connections: int, now_s: float) -> None:
        self._said[self._own] = connections
        self._said[self._own + 1] = int(now_s * 1e3)

    def more_than_another(self, connections: int, now_s: float) -> bool:
        said, since_ms = self._said, (now_s - SILENT_S) * 1e3
        for other in self._others:
            theirs = said[other]
            if said[other + 1] > since_ms and connections > theirs + theirs // EIGHTH:
                return True
        return False


class Entrance(NamedTuple):
    """Where terminals connect."""

    listening: socket.socket
    shares: Shares | None = None  # None: this process has it alone


class Door:
    """Takes connections from one listening socket, which is its own, until it is closed.

    `take` gets each, not blocking, and the address it comes from; `stay_out` says that others
    are to have who comes now. A descriptor is kept to close who comes when none is left: he should not wait for
    nothing. `no_room` is called for each.
    """

    def __init__(
        self,
        listening: socket.socket,
        take: Callable[[socket.socket, str], None],
        stay_out: Callable[[], bool],
        no_room: Callable[[], None],
    ) -> None:
        self._listening = listening
        self._take = take
        self._stay_out = stay_out
        self._no_room = no_room
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        self._spare: int | None = os.open(os.devnull, os.O_RDONLY)
        listening.settimeout(0)
        self._loop.add_reader(listening.fileno(), self._knock)

    def take_all(self, most: int) -> None:
        """Those who wait in the kernel's queue are connected as far as they know."""
        for _ in range(most):
            if not self._take_one():
                return

    def close(self) -> None:
        """Our copy of the socket too: when the last is closed, who connects is refused."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listening.fileno())
        self._listening.close()
        self._give_spare()

    def _knock(self) -> None:
        if self._stay_out():
            self._rest(POLITE_S)
        else:
            self._take_one()

    def _rest(self, pause_s: float) -> None:
        self._loop.remove_reader(self._listening.fileno())
        self._pause = self._loop.call_later(pause_s, self._return)

    def _return(self) -> None:
        self._pause = None
        if self._spare is None:
            with suppress(OSError):
                self._spare = os.open(os.devnull, os.O_RDONLY)
        self._loop.add_reader(self._listening.fileno(), self._knock)
        self._take_one()

    def _take_one(self) -> bool:
        """False: nobody waits any more, or there is no room."""
        try:
            taken, address = self._listening.accept()
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in GONE:
                return True  # others wait behind it
            return self._without_room(error)
        taken.settimeout(0)
        self._take(taken, str(address[0]))
        return True

    def _without_room(self, error: OSError) -> bool:
        """Close who comes, where it is descriptors that are missing; True: it was done."""
        self._no_room()
        if error.errno in (errno.EMFILE, errno.ENFILE) and self._spare is not None:
            self._give_spare()
            with suppress(OSError):
                self._listening.accept()[0].close()
            with suppress(OSError):
                self._spare = os.open(os.devnull, os.O_RDONLY)
                return True
        if self._pause is None:
            self._rest(NO_ROOM_S)
        return False

    def _give_spare(self) -> None:
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None
