"""Rates of sources and terminals: never more than promised, never less to who keeps to it, bounded.

Method: a second implementation, a bucket that is refilled token by token in exact fractions, held
against the product's over drawn arrivals; the bounds of memory looked at from outside.
"""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, strategies as st

from switch.config import Rates
from switch.rates import DEBT_S, Rate, Sources

GAPS = st.lists(st.integers(0, 40), min_size=1, max_size=80)  # of 1/8 s: exact as floats
T0_S = 1_000.0


class Bucket:
    """Tokens as one would count them."""

    def __init__(self, per_s: int, burst: int) -> None:
        self.per_s, self.burst, self.tokens, self.at = per_s, burst, Fraction(burst), Fraction(0)

    def refill(self, now: Fraction) -> None:
        self.tokens = min(Fraction(self.burst), self.tokens + (now - self.at) * self.per_s)
        self.at = now


@given(st.sampled_from([1, 2, 4, 8]), st.integers(1, 10), GAPS)
def test_takes_what_a_bucket_of_tokens_would(per_s: int, burst: int, gaps: list[int]) -> None:
    rate, bucket, now = Rate(per_s, burst, 10), Bucket(per_s, burst), Fraction(0)
    for gap in gaps:
        now += Fraction(gap, 8)
        bucket.refill(now)
        taken = bucket.tokens >= 1
        bucket.tokens -= taken
        assert rate.takes("source", T0_S + float(now)) == taken


@given(
    st.sampled_from([1, 2, 4, 8]),
    st.integers(1, 10),
    GAPS,
    st.lists(st.integers(0, 30), min_size=1),
)
def test_lends_and_says_when_it_is_paid_back(
    per_s: int, burst: int, gaps: list[int], counts: list[int]
) -> None:
    rate, bucket, now = Rate(per_s, burst, 10), Bucket(per_s, burst), Fraction(0)
    for step, gap in enumerate(gaps):
        now += Fraction(gap, 8)
        bucket.refill(now)
        count = counts[step % len(counts)]
        bucket.tokens = max(bucket.tokens - count, -Fraction(DEBT_S) * per_s)
        rate.spend("source", T0_S + float(now), count)
        owed = max(Fraction(0), -bucket.tokens) / per_s
        assert rate.owes_s("source", T0_S + float(now)) == pytest.approx(float(owed), abs=1e-6)


def test_sources_do_not_share_and_the_least_recently_used_is_forgotten() -> None:
    rate = Rate(1, 1, 2)
    assert rate.takes("a", T0_S)
    assert not rate.takes("a", T0_S)
    assert rate.takes("b", T0_S)
    assert not rate.takes("a", T0_S)
    assert rate.takes("c", T0_S)  # a is dropped: it used its bucket before b
    assert len(rate) == 2
    assert not rate.takes("b", T0_S)
    assert rate.takes("a", T0_S)


@given(st.lists(st.integers(0, 10_000), max_size=300))
def test_memory_is_bounded_whoever_comes(sources: list[int]) -> None:
    rate = Rate(1, 1, 16)
    for at, source in enumerate(sources):
        rate.takes(source, T0_S + at / 1_000)
        rate.spend(-source, T0_S + at / 1_000, 1)
        assert len(rate) <= 16


def test_no_bound_remembers_nothing() -> None:
    rate = Rate(0, 1, 16)
    assert all(rate.takes("a", T0_S) for _ in range(1_000))
    rate.spend("a", T0_S, 1_000_000)
    assert rate.owes_s("a", T0_S) == 0
    assert len(rate) == 0


def test_open_connections_of_a_source_are_counted_exactly() -> None:
    sources = Sources(Rates(source_connections=2, ipv4_bits=24))
    here = sources.prefix("192.0.2.1")
    assert here == sources.prefix("192.0.2.200") != sources.prefix("192.0.3.1")
    assert [sources.enter(here, T0_S) for _ in range(3)] == ["", "", "rates.source_connections"]
    assert sources.enter(sources.prefix("192.0.3.1"), T0_S) == ""
    sources.leave(here)
    assert sources.enter(here, T0_S) == ""
    sources.leave(here)
    sources.leave(here)
    sources.leave("192.0.3.0/24")
    assert not sources._open  # nothing is kept of who is gone
    with pytest.raises(KeyError):
        sources.leave(here)


def test_new_connections_of_a_source_a_second() -> None:
    sources = Sources(Rates(source_connections_per_s=2, source_connections_burst=3))
    rule = "rates.source_connections_per_s"
    assert [sources.enter("a", T0_S) for _ in range(4)] == ["", "", "", rule]
    for _ in range(3):
        sources.leave("a")
    assert sources.enter("a", T0_S + 0.4) == rule  # closing gives nothing back
    assert sources.enter("a", T0_S + 0.5) == ""
    assert sources.enter("b", T0_S + 0.5) == ""


def test_what_somebody_else_sends_in_a_terminals_name_costs_it_nothing() -> None:
    sources = Sources(Rates(terminal_messages_per_s=1, terminal_messages_burst=2))
    foreign = [sources.terminals.takes(("203.0.113.9", "M/T"), T0_S) for _ in range(3)]
    assert foreign == [True, True, False]
    assert sources.terminals.takes(("192.0.2.1", "M/T"), T0_S)
    assert sources.terminals.takes(("203.0.113.9", "M/U"), T0_S)
