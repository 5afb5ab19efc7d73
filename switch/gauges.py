"""What a worker shows of its present state, looked at once a second: nothing is paid for it by requests.

What counts up elsewhere (a link's counters, the writer's) is carried over as what was added since the
last look, so a link that is made anew begins at nothing and takes nothing back.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from switch.acquirers.link_connection import ANSWER_S, Counters, SlotCounters

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from switch.acquirers.iso8583_link import IsoLink
    from switch.metrics import Metric, Registry
    from switch.ports import EdgeError
    from switch.wiring import Switch

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
STATM = Path("/proc/self/statm")
WHATS = tuple(name for name in Counters.__slots__ if not name.startswith("answer_"))
SLOT_WHATS = SlotCounters.__slots__


class Gauges:
    """Everything of a worker that is not counted where it happens."""

    def __init__(self, registry: Registry) -> None:
        gauge, counter, level = registry.gauge, registry.counter, registry.level
        self._connections = gauge("tongbao_terminal_connections", "open connections of terminals")
        self._inside = gauge("tongbao_requests_inside", "requests that are worked on")
        self._in_flight = gauge("tongbao_requests_in_flight", "requests, waits for banks included")
        self._waiting = gauge("tongbao_journal_waiting", "commits that wait for a flush")
        self._down = level("tongbao_journal_down", "1 while the writer has no store")
        self._flushes = counter("tongbao_journal_flushes_total", "groups of commits written")
        self._commits = counter("tongbao_journal_commits_total", "commits in them")
        self._reruns = counter("tongbao_journal_reruns_total", "groups that were asked about again")
        self._link_ready = level(
            "tongbao_link_ready", "1 where some worker can send to the bank", "acquirer"
        )
        self._link_lacking = level(
            "tongbao_link_lacking",
            "1 where the node's configuration lacks what the link needs of it",
            "acquirer",
            "setting",
        )
        self._link_connections = gauge(
            "tongbao_link_connections", "connections to the bank, by state", "acquirer", "state"
        )
        self._link_in_flight = gauge(
            "tongbao_link_in_flight", "messages to the bank that wait for their answer", "acquirer"
        )
        self._link_circuit = gauge(
            "tongbao_link_circuit", "workers by their circuit's state", "acquirer", "state"
        )
        self._slot_in_flight = gauge(
            "tongbao_link_slot_in_flight",
            "messages that left on a connection and wait, by its slot",
            "acquirer",
            "slot",
        )
        self._slot_events = counter(
            "tongbao_link_slot_events_total",
            "what happened on the connections of a slot",
            "acquirer",
            "slot",
            "event",
        )
        self._link_messages = counter(
            "tongbao_link_events_total", "what happened on the link", "acquirer", "event"
        )
        self._answers = registry.histogram(
            "tongbao_link_answer_seconds",
            "from a message to the bank to its answer",
            "acquirer",
            bounds=ANSWER_S,
        )
        self._delivered = counter(
            "tongbao_queue_delivered_total",
            "items of store and forward, by their end",
            "acquirer",
            "end",
        )
        self._lag = level("tongbao_loop_lag_seconds", "how late the last look came")
        self._cpu = counter("tongbao_cpu_seconds_total", "of all workers")
        self._memory = gauge("tongbao_resident_bytes", "memory of all workers")
        self._seen: dict[str, tuple[Any, dict[str, float]]] = {}
        self._due_s = 0.0

    def sample(self, switch: Switch, writer: Any, period_s: float) -> None:
        """Look at everything; the next look is due in `period_s`."""
        now_s = asyncio.get_running_loop().time()
        self._lag.set(max(0.0, now_s - self._due_s) if self._due_s else 0.0)
        self._due_s = now_s + period_s
        self._connections.set(sum(len(server.connections) for server in switch.servers))
        self._inside.set(switch.load.inside)
        self._in_flight.set(switch.engine.in_flight)
        self._waiting.set(writer.waiting)
        self._down.set(float(writer.down))
        for counter, name in (
            (self._flushes, "flushes"),
            (self._commits, "commits"),
            (self._reruns, "reruns"),
        ):
            counter.reach(getattr(writer, name))
        self._cpu.reach(time.process_time())
        self._memory.set(int(STATM.read_text().split()[1]) * PAGE_BYTES)
        self.sample_links(switch.links, switch.lacking)

    def sample_links(
        self, running: Iterable[tuple[IsoLink, Any]], lacking: Mapping[str, EdgeError]
    ) -> None:
        """Those that run, and those that can not be run here."""
        for gauge in (
            self._link_ready,
            self._link_lacking,
            self._link_connections,
            self._link_in_flight,
            self._link_circuit,
            self._slot_in_flight,
        ):
            gauge.clear()
        for name, error in lacking.items():
            self._link_ready.set(0.0, name)
            self._link_lacking.set(1.0, name, error.setting)
        for host, forwarder in running:
            name = host.name
            connections = host.connections()
            self._link_ready.set(float(host.ready), name)
            self._link_connections.set(len(connections), name, "open")
            self._link_connections.set(sum(usable for _, usable in connections), name, "usable")
            self._link_in_flight.set(host.in_flight, name)
            self._link_circuit.set(1.0, name, host.circuit_state)
            counted = {of: float(getattr(host.counters, of)) for of in WHATS}
            added = self._added(f"link {name}", host.counters, counted)
            for event, number in added.items():
                self._link_messages.add(name, event, amount=number)
            self._answer_times(name, host.counters)
            for slot, of_slot, waiting in host.slots():
                self._slot_in_flight.add(name, str(slot), amount=waiting)
                events = {of: float(getattr(of_slot, of)) for of in SLOT_WHATS}
                for event, number in self._added(f"slot {name} {slot}", of_slot, events).items():
                    self._slot_events.add(name, str(slot), event, amount=number)
            ends = {"delivered": forwarder.delivered, "undelivered": forwarder.undelivered}
            for end, number in self._added(f"queue {name}", forwarder, ends).items():
                self._delivered.add(name, end, amount=number)

    def _answer_times(self, name: str, counters: Counters) -> None:
        now = {str(place): float(count) for place, count in enumerate(counters.answer_buckets)}
        added = self._added(f"answers {name}", counters, now | {"s": counters.answer_s})
        series = self._answers.of(name)
        series.value += added.pop("s")
        series.buckets = [
            count + int(added[str(place)]) for place, count in enumerate(series.buckets)
        ]

    def _added(self, key: str, whose: object, now: dict[str, float]) -> dict[str, float]:
        """What was counted since the last look, by this object."""
        of, before = self._seen.get(key, (None, {}))
        self._seen[key] = whose, now
        if of is not whose:
            before = {}
        return {name: number - before.get(name, 0) for name, number in now.items()}


def metrics_of_workers() -> list[Metric]:
    """What a worker shows, with nothing counted: name, kind, labels, meaning."""
    from switch.config import Config
    from switch.metrics import Registry
    from switch.reporter import Reporter
    from switch.vaults import DeviceMetrics

    registry = Registry()
    Reporter(Config(), registry, None)
    Gauges(registry)
    DeviceMetrics(registry)
    return registry.metrics
