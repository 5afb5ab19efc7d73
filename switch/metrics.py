"""Counters, gauges and histograms of one process; the supervisor merges those of all workers.

Adding costs a dictionary look-up: no lock (one thread), no text. A worker sends a snapshot every
second; the supervisor adds them up, keeps what a dead worker had counted, and prints the sum in
Prometheus' text form.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

GAUGES = ("gauge", "level")
SERIES_MAX = 1_000  # of one metric; further label values are counted under "other"

# Upper bounds of latencies in seconds; the last bucket has none.
LATENCY_S = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
)


class Series(msgspec.Struct, gc=False):
    """One line of a metric: its label values, and its number or its buckets."""

    labels: tuple[str, ...]
    value: float = 0.0  # of a histogram: the sum of what was observed
    buckets: list[int] = []


class Metric(msgspec.Struct):
    """All series of one name. `kind`: counter, gauge, level, histogram.

    A level is a gauge that every process sees whole: of several the highest is shown, not the sum.
    """

    name: str
    kind: str
    says: str
    labels: tuple[str, ...]
    bounds: tuple[float, ...] = ()
    series: dict[str, Series] = {}

    def _at(self, labels: tuple[str, ...]) -> Series:
        key = "\0".join(labels)
        found = self.series.get(key)
        if found is None:
            assert len(labels) == len(self.labels), f"{self.name} has labels {self.labels}"
            if len(self.series) >= SERIES_MAX and labels:
                labels = ("other",) * len(self.labels)
                key = "\0".join(labels)
            found = self.series.setdefault(key, Series(labels, 0.0, [0] * self._width()))
        return found

    def _width(self) -> int:
        return len(self.bounds) + 1 if self.kind == "histogram" else 0

    def add(self, *labels: str, amount: float = 1.0) -> None:
        """One more (or `amount` more) in a counter or gauge."""
        assert amount >= 0 or self.kind in GAUGES
        self._at(labels).value += amount

    def set(self, value: float, *labels: str) -> None:
        assert self.kind in GAUGES
        self._at(labels).value = value

    def reach(self, total: float, *labels: str) -> None:
        """A counter follows a number that somebody else counts, and that begins anew at 0."""
        assert self.kind == "counter"
        series = self._at(labels)
        series.value = max(series.value, total)

    def clear(self) -> None:
        """What a gauge showed of things that may be gone."""
        assert self.kind in GAUGES
        self.series.clear()

    def of(self, *labels: str) -> Series:
        """The series itself, for who observes at every request."""
        return self._at(labels)

    def observe(self, value: float, *labels: str) -> None:
        assert self.kind == "histogram"
        series = self._at(labels)
        series.value += value
        series.buckets[bisect_left(self.bounds, value)] += 1

    def value(self, *labels: str) -> float:
        """The present value of a counter or gauge, the number of observations of a histogram."""
        found = self.series.get("\0".join(labels))
        if found is None:
            return 0.0
        return float(sum(found.buckets)) if self.kind == "histogram" else found.value

    def merge(self, other: Metric, *, gauges: bool) -> None:
        """Add the other's numbers to ours; its gauges only where `gauges` says so."""
        if other.kind in GAUGES and not gauges:
            return
        for theirs in other.series.values():
            ours = self._at(theirs.labels)
            ours.value = (
                max(ours.value, theirs.value) if self.kind == "level" else ours.value + theirs.value
            )
            if theirs.buckets:
                ours.buckets = [a + b for a, b in zip(ours.buckets, theirs.buckets, strict=True)]


class Registry:
    """The metrics of a process, by name. Names begin with `tongbao_`."""

    def __init__(self) -> None:
        self._metrics: dict[str, Metric] = {}

    def counter(self, name: str, says: str, *labels: str) -> Metric:
        """A number that only grows; its name ends in `_total`."""
        assert name.endswith("_total"), name
        return self._define(Metric(name, "counter", says, labels))

    def gauge(self, name: str, says: str, *labels: str) -> Metric:
        """A number that rises and falls; of several workers the sum is shown."""
        return self._define(Metric(name, "gauge", says, labels))

    def level(self, name: str, says: str, *labels: str) -> Metric:
        """A number that rises and falls and is the same for all: the highest is shown."""
        return self._define(Metric(name, "level", says, labels))

    def histogram(
        self, name: str, says: str, *labels: str, bounds: tuple[float, ...] = LATENCY_S
    ) -> Metric:
        assert list(bounds) == sorted(set(bounds)), "bounds ascend"
        return self._define(Metric(name, "histogram", says, labels, bounds))

    def _define(self, metric: Metric) -> Metric:
        known = self._metrics.setdefault(metric.name, metric)
        assert (known.kind, known.labels, known.bounds) == (
            metric.kind,
            metric.labels,
            metric.bounds,
        ), f"{metric.name} is defined twice"
        if not known.labels:
            known._at(())  # noqa: SLF001 - shown from the start, as 0
        return known

    @property
    def metrics(self) -> list[Metric]:
        return list(self._metrics.values())

    def snapshot(self) -> bytes:
        """Everything counted so far, for `merged`."""
        return msgspec.msgpack.encode(list(self._metrics.values()))

    def render(self) -> bytes:
        """Prometheus' text exposition."""
        return render(self._metrics.values())


def merged(live: Iterable[bytes], dead: Iterable[bytes] = ()) -> Registry:
    """The sum of snapshots: of processes that live, and of the last words of those that died."""
    total = Registry()
    for snapshots, gauges in ((live, True), (dead, False)):
        for snapshot in snapshots:
            for metric in msgspec.msgpack.decode(snapshot, type=list[Metric]):
                empty = Metric(metric.name, metric.kind, metric.says, metric.labels, metric.bounds)
                total._define(empty).merge(metric, gauges=gauges)  # noqa: SLF001 - same module
    return total


def render(metrics: Iterable[Metric]) -> bytes:
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )
    from prometheus_client.registry import Collector

    Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily  # noqa: N806 - a type

    def family(metric: Metric) -> Family:
        if metric.kind == "histogram":
            histogram = HistogramMetricFamily(metric.name, metric.says, labels=metric.labels)
            for series in metric.series.values():
                count, buckets = 0, []
                for bound, number in zip((*metric.bounds, "+Inf"), series.buckets, strict=True):
                    count += number
                    buckets.append((str(bound), float(count)))
                histogram.add_metric(series.labels, buckets, series.value)
            return histogram
        shape = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
        numbers = shape(metric.name, metric.says, labels=metric.labels)
        for series in metric.series.values():
            numbers.add_metric(series.labels, series.value)
        return numbers

    class Merged(Collector):
        def collect(self) -> Iterable[Family]:
            return [family(metric) for metric in metrics]

    registry = CollectorRegistry()
    registry.register(Merged())
    return generate_latest(registry)
