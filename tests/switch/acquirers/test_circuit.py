"""The circuit of a link: when it opens, whom it lets out, when it closes.

Properties over any course of events, a second implementation that keeps every event of the window in a
list, and the link itself in virtual time against a bank that stops answering.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st
from structlog.testing import capture_logs

from switch.acquirers.circuit import NEVER, SLICES, Circuit, CircuitState
from switch.acquirers.ports import Answer, Health, NoAnswerError, NotSentError
from tests.switch.acquirers.test_iso8583_link import ask, loop_time, tell
from tests.switch.acquirers.test_siblings import original_of
from tests.switch.acquirers.wire import FAR_NS, World, answer_to, make_link

if TYPE_CHECKING:
    from switch.reference import Link

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN


def circuit_of(**changes: Any) -> tuple[Circuit, list[tuple[CircuitState, str]]]:
    told: list[tuple[CircuitState, str]] = []
    return Circuit(make_link(**changes), lambda *change: told.append(change)), told


def fails(circuit: Circuit, now_s: float, times: int = 1) -> None:
    for _ in range(times):
        number = circuit.take(now_s)
        assert number is not None
        circuit.failed(number, now_s)


def succeeds(circuit: Circuit, now_s: float, times: int = 1) -> None:
    for _ in range(times):
        number = circuit.take(now_s)
        assert number is not None
        circuit.succeeded(number, now_s)


# -- known answers ----------------------------------------------------------------------------------


def test_so_many_failures_in_a_row_open_it() -> None:
    circuit, told = circuit_of(circuit_in_row=3, circuit_share_percent=0)
    fails(circuit, 1.0, 2)
    succeeds(circuit, 1.0)
    fails(circuit, 1.0, 2)
    assert circuit.state(1.0) is CLOSED
    fails(circuit, 1.0)
    assert circuit.state(1.0) is OPEN
    assert told == [(OPEN, "in_row")]
    assert circuit.take(1.0) is None


def test_a_row_that_began_before_the_window_is_none() -> None:
    circuit, _ = circuit_of(circuit_in_row=3, circuit_share_percent=0, circuit_window_s=10)
    for now_s in (0.0, 8.0, 16.0, 24.0, 32.0):
        fails(circuit, now_s)
    assert circuit.closed


def test_a_share_of_enough_requests_opens_it() -> None:
    settings_of = {"circuit_in_row": 0, "circuit_share_percent": 50, "circuit_requests": 10}
    circuit, told = circuit_of(**settings_of)
    for _ in range(4):
        fails(circuit, 1.0)
        succeeds(circuit, 1.0)
    succeeds(circuit, 1.0)
    assert circuit.closed  # 4 of 9
    fails(circuit, 1.0)
    assert told == [(OPEN, "share")]  # 5 of 10


def test_what_has_left_the_window_counts_no_more() -> None:
    circuit, _ = circuit_of(
        circuit_in_row=0, circuit_share_percent=50, circuit_requests=10, circuit_window_s=10
    )
    fails(circuit, 0.0, 9)
    fails(circuit, 12.0)
    assert circuit.closed


def test_half_open_lets_so_many_probes_out_and_their_success_closes_it() -> None:
    circuit, told = circuit_of(circuit_in_row=1, circuit_pause_s=5, circuit_probes=2)
    fails(circuit, 0.0)
    assert circuit.take(4.9) is None
    first, second = circuit.take(5.0), circuit.take(5.0)
    assert first is not None
    assert second is not None
    assert circuit.take(5.0) is None
    circuit.succeeded(first, 5.1)
    third = circuit.take(5.1)
    assert third is not None
    circuit.succeeded(second, 5.2)
    assert circuit.closed
    circuit.failed(third, 5.3)  # of a state that is over
    assert circuit.closed
    assert [state for state, _ in told] == [OPEN, HALF_OPEN, CLOSED]


def test_a_probe_that_fails_opens_it_for_twice_as_long_up_to_the_bound() -> None:
    circuit, _ = circuit_of(circuit_in_row=1, circuit_pause_s=5, circuit_pause_max_s=15)
    fails(circuit, 0.0)
    for opened_s, pause_s in ((5.0, 10.0), (15.0, 15.0), (30.0, 15.0)):
        fails(circuit, opened_s)
        assert circuit.state(opened_s + pause_s - 0.1) is OPEN
        assert circuit.state(opened_s + pause_s) is HALF_OPEN
    succeeds(circuit, 45.0, 3)
    fails(circuit, 46.0)
    assert circuit.state(50.9) is OPEN
    assert circuit.state(51.0) is HALF_OPEN  # closed meanwhile: the pause begins anew


def test_a_probe_that_did_not_leave_gives_its_place_back() -> None:
    circuit, _ = circuit_of(circuit_in_row=1, circuit_probes=1)
    fails(circuit, 0.0)
    probe = circuit.take(5.0)
    assert probe is not None
    assert not circuit.takes(5.0)
    circuit.released(probe)
    assert circuit.takes(5.0)


def test_store_and_forward_is_not_judged_while_it_is_not_closed() -> None:
    circuit, _ = circuit_of(circuit_in_row=1)
    assert circuit.watch() != NEVER
    fails(circuit, 0.0)
    assert circuit.watch() == NEVER
    circuit.succeeded(NEVER, 1.0)
    circuit.failed(NEVER, 1.0)
    assert circuit.state(1.0) is OPEN


# -- properties ---------------------------------------------------------------------------------------

Course = list[tuple[str, float, int]]
courses = st.lists(
    st.tuples(
        st.sampled_from(("take", "good", "bad", "bad", "back")),
        st.floats(0, 8, allow_nan=False),
        st.integers(0, 5),
    ),
    max_size=120,
)


class Naive:
    """The same rules with every event of the window in a list; slices as `Circuit` cuts them."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.events: list[tuple[int, bool]] = []  # (slice, good)
        self.row: list[float] = []
        self.slice = 0
        self.slice_ends_s = 0.0

    def opens(self, *, good: bool, now_s: float) -> bool:
        link, slice_s = self.link, self.link.circuit_window_s / SLICES
        if now_s >= self.slice_ends_s:
            passed = min(int((now_s - self.slice_ends_s) / slice_s), SLICES)
            self.slice += 1 + passed
            self.slice_ends_s = now_s + slice_s
        self.events.append((self.slice, good))
        if good:
            self.row = []
            return False
        if self.row and now_s - self.row[0] > link.circuit_window_s:
            self.row = []
        self.row.append(now_s)
        counted = [good for at, good in self.events if at >= self.slice - SLICES]
        bad = counted.count(False)
        return len(self.row) >= link.circuit_in_row or (
            len(counted) >= link.circuit_requests
            and 100 * bad >= link.circuit_share_percent * len(counted)
        )


@settings(max_examples=200)
@given(courses)
def test_it_opens_when_a_list_of_all_events_says_so(course: Course) -> None:
    link = make_link(circuit_in_row=4, circuit_requests=6, circuit_window_s=20)
    told: list[CircuitState] = []
    circuit, naive = Circuit(link, lambda state, _: told.append(state)), Naive(link)
    now_s = 0.0
    for what, passed_s, _ in course:
        now_s += passed_s
        number = circuit.take(now_s)
        assert number is not None
        if what == "good":
            circuit.succeeded(number, now_s)
        else:
            circuit.failed(number, now_s)
        if naive.opens(good=what == "good", now_s=now_s):
            assert told == [OPEN]
            return
        assert not told


@given(courses)
def test_whatever_happens_its_promises_hold(course: Course) -> None:
    """Never more probes out than allowed; from open only over half open to closed; no state for ever."""
    link = make_link(circuit_in_row=2, circuit_pause_s=3, circuit_pause_max_s=9, circuit_probes=2)
    told: list[CircuitState] = []
    circuit = Circuit(link, lambda state, _: told.append(state))
    out: list[int] = []
    now_s = 0.0
    for what, passed_s, which in course:
        now_s += passed_s
        before = circuit.state(now_s)
        if what == "take":
            number = circuit.take(now_s)
            assert (number is None) == (
                before is OPEN
                or (before is HALF_OPEN and out.count(circuit._number) >= link.circuit_probes)
            )
            if number is not None:
                out.append(number)
        elif out:
            number = out.pop(which % len(out))
            {"good": circuit.succeeded, "bad": circuit.failed}.get(
                what, lambda number, _: circuit.released(number)
            )(number, now_s)
        if circuit.state(now_s) is HALF_OPEN:
            assert out.count(circuit._number) <= link.circuit_probes
    allowed = {(CLOSED, OPEN), (OPEN, HALF_OPEN), (HALF_OPEN, OPEN), (HALF_OPEN, CLOSED)}
    assert set(zip([CLOSED, *told], told, strict=False)) <= allowed
    for number in out:
        circuit.released(number)
    assert circuit.takes(now_s + link.circuit_pause_max_s)


# -- the link -----------------------------------------------------------------------------------------

QUICK = {"timeout_s": 2.0, "circuit_in_row": 3, "circuit_pause_s": 5.0, "circuit_probes": 2}


def test_a_bank_that_stands_still_costs_so_many_time_outs_and_then_nothing() -> None:
    async def story(world: World) -> None:
        world.bank.silent.add("0200")
        results = await asyncio.gather(*(ask(world) for _ in range(3)), return_exceptions=True)
        assert all(isinstance(result, NoAnswerError) for result in results)
        assert world.iso.health() is Health.OPEN
        started_s, sent = loop_time(), len(world.bank.seen("0200"))
        with pytest.raises(NotSentError, match="circuit_open"):
            await ask(world)
        assert loop_time() == started_s
        assert len(world.bank.seen("0200")) == sent
        await asyncio.sleep(5)
        assert world.iso.health() is Health.PROBING
        results = await asyncio.gather(*(ask(world) for _ in range(3)), return_exceptions=True)
        assert [type(result) for result in results] == [NoAnswerError, NoAnswerError, NotSentError]
        world.bank.silent.clear()
        await asyncio.sleep(10)  # twice the pause
        assert [(await ask(world)).response_code for _ in range(2)] == ["00", "00"]
        assert world.iso.health() is Health.UP
        assert world.iso.counters.circuit_opened == 2

    tell(story, make_link(**QUICK))


def test_answers_that_say_the_host_has_failed_open_it_and_declines_do_not() -> None:
    async def story(world: World) -> None:
        world.bank.response_codes["0200"] = ["05"]
        for _ in range(5):
            await ask(world)
        assert world.iso.health() is Health.UP
        world.bank.response_codes["0200"] = ["96"]
        for _ in range(3):
            await ask(world)
        assert world.iso.health() is Health.OPEN

    tell(story, make_link(**QUICK))


def test_a_request_that_does_not_leave_is_no_probe_for_ever() -> None:
    async def story(world: World) -> None:
        world.bank.silent.add("0200")
        await asyncio.gather(*(ask(world) for _ in range(3)), return_exceptions=True)
        await asyncio.sleep(5)
        assert world.iso.health() is Health.PROBING
        message, attempt = world.message()
        with pytest.raises(NotSentError, match="send_by_passed"):
            await answer_to(world.iso, message, attempt, 0)
        assert world.iso.health() is Health.PROBING

    tell(story, make_link(**QUICK))


def test_a_reversal_leaves_whatever_the_circuit_says() -> None:
    async def story(world: World) -> None:
        world.bank.silent.add("0200")
        requests = [world.message() for _ in range(3)]
        await asyncio.gather(
            *(answer_to(world.iso, *each, FAR_NS) for each in requests), return_exceptions=True
        )
        assert world.iso.spared
        reversal, _ = world.message(de_0="0420")
        original = original_of(*requests[0])
        delivery = await world.iso.deliver(reversal, original, loop_time(), FAR_NS)
        assert delivery.answer.response_code == "00"
        assert world.iso.health() is Health.OPEN

    tell(story, make_link(**QUICK))


def test_settings_that_change_hold_from_the_next_request_on() -> None:
    async def story(world: World) -> None:
        world.bank.response_codes["0200"] = ["96"]
        await ask(world)
        await ask(world)
        assert world.iso.health() is Health.UP
        world.iso.change(make_link(**QUICK | {"circuit_in_row": 0, "circuit_share_percent": 0}))
        for _ in range(20):
            assert isinstance(await ask(world), Answer)
        assert world.iso.health() is Health.UP

    tell(story, make_link(**QUICK))


def test_a_link_that_ends_says_nothing_though_it_does_not_drain_yet() -> None:
    """Its queue is given up first, which may take the store a while."""

    async def story(world: World) -> None:
        world.bank.silent.add("0200")
        asked = [asyncio.create_task(ask(world)) for _ in range(3)]
        await asyncio.sleep(0.1)
        world.iso.ending = True
        with capture_logs() as logs:
            await asyncio.gather(*asked, return_exceptions=True)
        assert not world.iso.circuit.closed
        assert "link_circuit" not in [log["event"] for log in logs]

    tell(story, make_link(**QUICK))


def test_a_link_that_ends_says_nothing_of_the_one_that_follows() -> None:
    async def story(world: World) -> None:
        world.bank.silent.add("0200")
        asked = [asyncio.create_task(ask(world)) for _ in range(3)]
        await asyncio.sleep(0.1)
        with capture_logs() as logs:
            await world.iso.drain(5.0)
        results = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(result, NoAnswerError) for result in results)
        assert not world.iso.circuit.closed
        assert "link_circuit" not in [log["event"] for log in logs]

    tell(story, make_link(**QUICK))
