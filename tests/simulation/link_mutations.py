"""Planted bugs of links, and the worlds in which each is looked for."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any
from unittest import mock

import msgspec

from switch import key_exchange
from switch.acquirers import link_answers
from switch.acquirers.circuit import Circuit, CircuitState
from switch.acquirers.link_keys import LinkMac
from switch.adapters.memory import key_exchange as memory
from switch.adapters.memory.key_exchange import MemoryKeyExchanges
from switch.unmatched_answers import UnmatchedAnswers
from tests.simulation.edge_mutations import EDGE_WORLDS
from tests.simulation.plans import (
    changing_keys,
    hunting_sleepers,
    links_at_their_worst,
    standing_still,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from iso8583.message import Message
    from switch.reference import Snapshot
    from switch.store_ports import KeyExchange, UnmatchedRow
    from terminals.registry import StoredKey
    from tests.simulation.world import Plan


@contextlib.contextmanager
def circuit_ignored() -> Iterator[None]:
    """It opens, is told of, and everything leaves all the same (P8)."""

    def take(circuit: Circuit, _now_s: float) -> int:
        return circuit._number

    with mock.patch.object(Circuit, "take", take):
        yield


@contextlib.contextmanager
def probes_not_bounded() -> Iterator[None]:
    """Half open is as good as closed (P8)."""

    def takes(circuit: Circuit, now_s: float) -> bool:
        return circuit.closed or circuit.state(now_s) is CircuitState.HALF_OPEN

    with mock.patch.object(Circuit, "takes", takes):
        yield


@contextlib.contextmanager
def circuit_never_closed() -> Iterator[None]:
    """What becomes of a probe that is answered is not noted (P8)."""
    succeeded = Circuit.succeeded

    def deaf(circuit: Circuit, number: int, now_s: float) -> None:
        if circuit.closed:
            succeeded(circuit, number, now_s)

    with mock.patch.object(Circuit, "succeeded", deaf):
        yield


@contextlib.contextmanager
def waiting_key_not_good() -> Iterator[None]:
    """A host that has taken our key, and whose 0810 was lost, is not understood any more (P7)."""
    refresh = LinkMac.refresh

    def forgetful(mac: LinkMac, snapshot: Snapshot) -> None:
        refresh(mac, snapshot)
        mac._waiting = []

    with mock.patch.object(LinkMac, "refresh", forgetful):
        yield


@contextlib.contextmanager
def key_in_force_before_it_is_answered() -> Iterator[None]:
    """A new key signs as soon as it is made (P7)."""
    made = MemoryKeyExchanges.made

    async def hurried(
        store: MemoryKeyExchanges, exchange: KeyExchange, key: StoredKey
    ) -> KeyExchange | None:
        later = await made(store, exchange, key)
        store._store.stored_keys = [
            msgspec.structs.replace(one, status="active") if one.status == "pending" else one
            for one in store._store.stored_keys
        ]
        return later

    with mock.patch.object(MemoryKeyExchanges, "made", hurried):
        yield


@contextlib.contextmanager
def refused_key_in_force() -> Iterator[None]:
    """Any answer to a change of key puts it in force (P7, P8)."""
    with mock.patch.dict(memory.STATUS, {"refused": "active"}):
        yield


@contextlib.contextmanager
def key_sent_once() -> Iterator[None]:
    """A key whose answer is lost is not sent again (P4)."""
    next_step = key_exchange.next_step

    def patient(exchange: KeyExchange, timeout_s: float) -> key_exchange.Step:
        step = next_step(exchange, timeout_s)
        return key_exchange.Step.WAIT if exchange.state == "sent" else step

    with mock.patch.object(key_exchange, "next_step", patient):
        yield


@contextlib.contextmanager
def request_of_an_answer_guessed() -> Iterator[None]:
    """What an answer looks like counts for more than its numbers (P10)."""

    async def guessed(_answers: UnmatchedAnswers, row: UnmatchedRow) -> UnmatchedRow:
        return row

    with mock.patch.object(UnmatchedAnswers, "_named", guessed):
        yield


@contextlib.contextmanager
def kept_in_clear() -> Iterator[None]:
    """An answer that is kept is not masked (P6)."""

    def clear(message: Message, _family: str) -> dict[str, Any]:
        return {str(de): str(value) for de, value in message.items()}

    with mock.patch.object(link_answers, "shown", clear):
        yield


# name → (the change, the promises of which one must be seen to break)
LINK_MUTATIONS: dict[str, tuple[Callable[[], contextlib.AbstractContextManager[None]], str]] = {
    "circuit ignored": (circuit_ignored, "P8"),
    "probes not bounded": (probes_not_bounded, "P8"),
    "circuit never closed": (circuit_never_closed, "P8"),
    "waiting key not good": (waiting_key_not_good, "P7"),
    "key in force before it is answered": (key_in_force_before_it_is_answered, "P7"),
    "refused key in force": (refused_key_in_force, "P7 P8"),
    "key sent once": (key_sent_once, "P4 P7"),
    "request of an answer guessed": (request_of_an_answer_guessed, "P10"),
    "answer kept in clear": (kept_in_clear, "P6"),
}
WORLDS: dict[str, Callable[[int], Plan]] = {
    "owner acting after its lease": hunting_sleepers,
    "circuit ignored": standing_still,
    "probes not bounded": standing_still,
    "circuit never closed": standing_still,
    "waiting key not good": changing_keys,
    "key in force before it is answered": changing_keys,
    "refused key in force": changing_keys,
    "key sent once": changing_keys,
    "request of an answer guessed": links_at_their_worst,
    "answer kept in clear": links_at_their_worst,
    **EDGE_WORLDS,
}
