"""When a node lets a connection go, so that a bank which connects to us finds the node that has none.

Goal: exactly one is let go, only where that can help, and a bank that does not come is not kept out for
it. Method: what a process sees of a link's slots, one look after the other; then drawn clusters with a
bank that takes the next address, in which every node has a connection in the end where there are enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, strategies as st

from switch.spread import AFTER_S, FOR_S, PAUSE_MAX_S, PAUSE_S, Spread
from switch.store_ports import SlotHeld

if TYPE_CHECKING:
    from collections.abc import Sequence


def slots(*held: tuple[str, bool | None]) -> list[SlotHeld]:
    """Node and whether it has a connection there, of slot 1 and the following."""
    return [SlotHeld(number, *each) for number, each in enumerate(held, 1)]


TWO_AND_NONE = slots(("a", True), ("b", False), ("a", True))
MINE = (1, 3)


def test_the_newest_of_several_is_let_go_once_another_node_has_waited() -> None:
    spread = Spread()
    assert spread.look(0.0, TWO_AND_NONE, MINE) is None
    assert spread.holds_back
    assert spread.look(AFTER_S, TWO_AND_NONE, MINE) == 3
    assert spread.look(AFTER_S + 1.0, TWO_AND_NONE, MINE) is None, "one is enough"
    found = slots(("a", True), ("b", True), ("a", False))
    assert spread.look(AFTER_S + 2.0, found, (1,)) is None
    assert not spread.holds_back


def test_of_two_workers_the_one_that_has_it_lets_it_go_and_neither_takes_more() -> None:
    one, other = Spread(), Spread()
    for spread, mine, gives in ((one, (1,), None), (other, (3,), 3)):
        spread.look(0.0, TWO_AND_NONE, mine)
        assert spread.look(AFTER_S, TWO_AND_NONE, mine) == gives
        assert spread.holds_back


def test_nobody_lets_its_only_one_go_but_takes_no_second() -> None:
    spread, each = Spread(), slots(("a", True), ("b", False), ("c", True))
    for now_s in (0.0, AFTER_S, FOR_S - 1.0):
        assert spread.look(now_s, each, (1,)) is None
        assert spread.holds_back


def test_of_two_nodes_with_as_many_one_lets_one_go() -> None:
    each = slots(("a", True), ("a", True), ("b", True), ("b", True), ("c", False))
    gave = []
    for mine in ((1, 2), (3, 4)):
        spread = Spread()
        spread.look(0.0, each, mine)
        gave.append(spread.look(AFTER_S, each, mine))
    assert gave == [None, 4]


def test_who_has_none_itself_takes_whatever_comes() -> None:
    """A bank that is away: all of them wait."""
    spread = Spread()
    for each in (slots(("a", False), ("b", False)), slots(("a", False), ("b", True), ("b", True))):
        for now_s in (0.0, AFTER_S):
            assert spread.look(now_s, each, (1,)) is None
            assert not spread.holds_back


def test_a_node_that_has_said_nothing_does_not_count() -> None:
    """Of the former release."""
    spread, each = Spread(), slots(("a", True), ("b", None), ("a", True))
    spread.look(0.0, each, MINE)
    assert spread.look(AFTER_S, each, MINE) is None
    assert not spread.holds_back


def test_a_bank_that_does_not_come_is_let_in_again_and_tried_ever_more_rarely() -> None:
    spread = Spread()
    let_go, held_back = [], 0
    day_s = 24 * 3_600
    for now_s in range(day_s):
        if spread.look(float(now_s), TWO_AND_NONE, MINE) is not None:
            let_go.append(now_s)
        held_back += spread.holds_back
    assert let_go[:3] == [AFTER_S, AFTER_S + FOR_S + PAUSE_S, AFTER_S + 2 * FOR_S + 3 * PAUSE_S]
    assert let_go[-1] - let_go[-2] == FOR_S + PAUSE_MAX_S
    assert held_back < 0.015 * day_s


def test_another_node_that_waits_is_another_reason() -> None:
    spread = Spread()
    for now_s in (0.0, AFTER_S, FOR_S):
        spread.look(now_s, TWO_AND_NONE, MINE)
    assert not spread.holds_back
    more = [*TWO_AND_NONE, SlotHeld(4, "c", False)]
    assert spread.look(FOR_S + 1.0, more, MINE) is None
    assert spread.look(FOR_S + 1.0 + AFTER_S, more, MINE) == 3


@given(
    rooms=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    first=st.lists(st.integers(0, 3), min_size=1, max_size=6),
)
def test_every_node_has_one_in_the_end(rooms: list[int], first: list[int]) -> None:
    """`rooms`: slots of each node. `first`: which node each connection of the bank is at."""
    nodes = "abcd"[: len(rooms)]
    held = [(node, number) for at, node in enumerate(nodes) for number in range(rooms[at])]
    at = dict.fromkeys(held, False)
    for each in first:
        if place := room_at(at, nodes[each % len(nodes)]):
            at[place] = True
    made = sum(at.values())
    spreads = {node: Spread() for node in nodes}
    for second in range(200):
        view = slots(*((node, at[node, number]) for node, number in held))
        for node, spread in spreads.items():
            mine = [slot.slot for slot in view if slot.node == node and slot.connected]
            gives = spread.look(float(second), view, mine)
            if gives is not None:
                at[held[gives - 1]] = False
                connect_anew(at, spreads, after=node)
    counts = [sum(at[place] for place in held if place[0] == node) for node in nodes]
    assert sum(counts) == made
    assert sum(count > 0 for count in counts) == min(made, len(nodes))


def room_at(at: dict[tuple[str, int], bool], node: str) -> tuple[str, int] | None:
    return next((place for place, taken in at.items() if place[0] == node and not taken), None)


def connect_anew(
    at: dict[tuple[str, int], bool], spreads: dict[str, Spread], *, after: str
) -> None:
    """The same address first, then the next."""
    nodes: Sequence[str] = [*spreads]
    begin = nodes.index(after)
    for node in (*nodes[begin:], *nodes[:begin]):
        place = room_at(at, node)
        if place and not spreads[node].holds_back:
            at[place] = True
            return
    raise AssertionError("nobody lets it in")
