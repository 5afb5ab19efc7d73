"""Metrics: merging loses nothing, dead workers included; the text form is Prometheus'."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, strategies as st
from prometheus_client.parser import text_string_to_metric_families

from switch.metrics import SERIES_MAX, Registry, merged
from switch.metrics_http import CONNECTIONS_MAX, MetricsProtocol


def numbers(registry: Registry) -> dict[tuple[str, str], float]:
    """Every sample of the text form."""
    text = registry.render().decode()
    return {
        (sample.name, ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def worker(counts: list[int], latencies: list[float], alive: float) -> Registry:
    registry = Registry()
    answered = registry.counter("tongbao_answers_total", "Answers", "code")
    for code, amount in enumerate(counts):
        answered.add(f"{code:02d}", amount=amount)
    histogram = registry.histogram("tongbao_total_seconds", "Whole request", bounds=(0.1, 1.0))
    for latency in latencies:
        histogram.observe(latency)
    registry.gauge("tongbao_connections", "Open").set(alive)
    return registry


workers = st.builds(
    worker,
    st.lists(st.integers(0, 1000), max_size=3),
    st.lists(st.floats(0, 5), max_size=5),
    st.integers(0, 9).map(float),
)


@given(st.lists(workers, max_size=4), st.lists(workers, max_size=2))
def test_the_sum_of_all_workers_is_shown_and_gauges_of_the_living(
    live: list[Registry], dead: list[Registry]
) -> None:
    shown = numbers(merged([w.snapshot() for w in live], [w.snapshot() for w in dead]))
    for name in {at for each in (*live, *dead) for at in numbers(each)}:
        gauge = name[0] == "tongbao_connections"
        of = live if gauge else [*live, *dead]
        expected = sum(numbers(each).get(name, 0.0) for each in of)
        assert shown[name] == pytest.approx(expected)


def test_of_a_level_the_highest_is_shown_and_a_dead_worker_has_none() -> None:
    snapshots = []
    for value in (2.0, 5.0, 3.0):
        registry = Registry()
        registry.level("tongbao_queue_items", "Items", "acquirer").set(value, "A")
        snapshots.append(registry.snapshot())
    shown = numbers(merged([snapshots[0], snapshots[2]], [snapshots[1]]))
    assert shown == {("tongbao_queue_items", "acquirer=A"): 3.0}


def test_a_histogram_counts_each_value_at_its_bound() -> None:
    shown = numbers(worker([], [0.1, 0.5, 1.0, 7.0], 0))
    assert shown["tongbao_total_seconds_bucket", "le=0.1"] == 1
    assert shown["tongbao_total_seconds_bucket", "le=1.0"] == 3
    assert shown["tongbao_total_seconds_bucket", "le=+Inf"] == 4
    assert shown["tongbao_total_seconds_sum", ""] == pytest.approx(8.6)


def test_label_values_of_a_peer_can_not_grow_without_bound() -> None:
    registry = Registry()
    refused = registry.counter("tongbao_refusals_total", "Refusals", "source")
    for number in range(SERIES_MAX + 50):
        refused.add(str(number))
    assert len(refused.series) == SERIES_MAX + 1
    assert refused.value("other") == 50


def test_counters_without_labels_show_zero_from_the_start() -> None:
    registry = Registry()
    registry.counter("tongbao_restarts_total", "Restarts")
    assert numbers(registry) == {("tongbao_restarts_total", ""): 0.0}


REQUESTS = [
    (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 200 OK", b"hello"),
    (b"GET /metrics?x=1 HTTP/1.0\r\n\r\n", b"HTTP/1.1 200 OK", b"hello"),
    (b"GET /other HTTP/1.1\r\n\r\n", b"HTTP/1.1 404", b"no such page"),
    (b"POST /metrics HTTP/1.1\r\n\r\n", b"HTTP/1.1 405", b"GET only"),
    (b"\x00\x01 garbage\r\n\r\n", b"HTTP/1.1 400", b"not HTTP/1.1"),
    (b"GET /" + b"x" * 9000, b"HTTP/1.1 400", b"too long"),
]


@pytest.mark.parametrize(("request_bytes", "status", "body"), REQUESTS)
def test_the_metrics_server_answers_and_closes(
    request_bytes: bytes, status: bytes, body: bytes
) -> None:
    async def scenario() -> bytes:
        loop = asyncio.get_running_loop()
        pages = {"/metrics": lambda: (200, "text/plain", b"hello")}
        server = await loop.create_server(lambda: MetricsProtocol(pages), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_bytes)
        answer = await asyncio.wait_for(reader.read(), 60)
        writer.close()
        await asyncio.sleep(0)
        server.close()
        await server.wait_closed()
        return answer

    answer = asyncio.run(scenario())
    assert answer.startswith(status)
    assert body in answer


def test_more_scrapers_than_the_bound_are_turned_away() -> None:
    async def scenario() -> bytes:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: MetricsProtocol({}), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CONNECTIONS_MAX)]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answer = await asyncio.wait_for(reader.read(), 60)
        for _, each in [*idle, (reader, writer)]:
            each.close()
            await each.wait_closed()
        server.close()
        await server.wait_closed()
        async with asyncio.timeout(60):
            while MetricsProtocol.open_connections:  # noqa: ASYNC110 - looked at from outside
                await asyncio.sleep(0.01)
        return answer

    assert asyncio.run(scenario()).startswith(b"HTTP/1.1 503")
    assert MetricsProtocol.open_connections == 0
