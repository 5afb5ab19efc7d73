"""Planted bugs of banks that connect to us, of simplex pairs and of forms, and the world they live in."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING
from unittest import mock

import msgspec

from switch.acquirers.form_codec import FormCodec
from switch.acquirers.incoming import Incoming, Place
from switch.acquirers.link_connection import Connection
from switch.acquirers.reach import PairedConnection
from switch.spread import Spread
from terminals.simulator.bank import BankFaults
from tests.simulation.plans import fair, few_connections
from tests.simulation.world import ChaosRates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.simulation.world import Plan


def odd_lines(seed: int) -> Plan:
    """One bank connects to us, the other is of the binary kind and sends on connections of its own.
    Banks are silent now and then, and drop their connections."""
    only_drops = dict.fromkeys(("crash", "pause", "drain", "bank_cut_off", "clock_step"), 0.0)
    return msgspec.structs.replace(
        fair(seed, 60),
        bank=BankFaults(silent=0.05, lost=0.05, late=0.05, late_s=10.0),
        chaos=ChaosRates(every_s=20.0, outage=0.0, cut_over=0.0, **only_drops),
        bank_connects=True,
        simplex="accepted" if seed % 2 else "dialled",
        binary_host=True,
    )


@contextlib.contextmanager
def every_connection_taken() -> Iterator[None]:
    """A bank that connects once more than it grants is let in (P8)."""
    next_ = Incoming._next

    def hospitable(incoming: Incoming) -> Place | None:
        place = next_(incoming)
        if place is None:
            owner = incoming._owner
            connection = Connection(owner, 1_000 + owner.counters.connections_opened, 1)
            place = Place(connection, connection.protocol)
        return place

    with mock.patch.object(Incoming, "_next", hospitable):
        yield


@contextlib.contextmanager
def lost_half_unnoticed() -> Iterator[None]:
    """Where one connection of a pair drops, the pair is taken for whole (P8)."""

    def unmoved(connection: PairedConnection, _exc: Exception | None) -> None:
        pass

    with mock.patch.object(PairedConnection, "half_lost", unmoved):
        yield


@contextlib.contextmanager
def node_left_waiting() -> Iterator[None]:
    """A node that waits for the bank to connect is left waiting, wherever its connections are (P8)."""
    with mock.patch.object(Spread, "look", return_value=None):
        yield


@contextlib.contextmanager
def original_in_another_order() -> Iterator[None]:
    """DE 90 for a host with a form has the parts in an order that is not the host's (P4, P5)."""

    def muddled(codec: FormCodec, digits: str) -> str:
        return digits[:4] + digits[20:] + digits[4:20]

    with mock.patch.object(FormCodec, "_original", muddled):
        yield


@contextlib.contextmanager
def unknown_code_taken_for_an_approval() -> Iterator[None]:
    """What no table has is a yes: here the host's own way to say that a PIN can not be read (P3, P5)."""

    def hopeful(codec: FormCodec, theirs: str, _message: object) -> str:
        return "00" if theirs not in ("00", "10", "12", "25", "96") else theirs

    with mock.patch.object(FormCodec, "_code", hopeful):
        yield


EDGE_MUTATIONS: dict[str, tuple[Callable[[], contextlib.AbstractContextManager[None]], str]] = {
    "every connection of a bank taken": (every_connection_taken, "P8"),
    "lost half of a pair unnoticed": (lost_half_unnoticed, "P8"),
    "node left waiting for the bank": (node_left_waiting, "P8"),
    "DE 90 of a form in another order": (original_in_another_order, "P3 P4 P5"),
    "code that no form has taken for an approval": (unknown_code_taken_for_an_approval, "P1 P3 P5"),
}
EDGE_WORLDS: dict[str, Callable[[int], Plan]] = {
    **dict.fromkeys(EDGE_MUTATIONS, odd_lines),
    "node left waiting for the bank": few_connections,
}
