"""Totals of a batch and its comparison with an upload, pure: both stores compute with this."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec

from switch.store_ports import UPLOAD_ITEMS_MAX, BatchTotals
from switch.transactions import TYPES, Side

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from switch.store_ports import BatchItem

Totals = tuple[BatchTotals, BatchTotals]  # RMB, foreign

BALANCED, NOT_BALANCED = "1", "2"


class CapturedItem(msgspec.Struct, frozen=True, gc=False):
    """A request of the batch whose captured effect stands."""

    request_id: int
    stan: int
    type: str
    effect_minor: int
    foreign: bool
    amount_minor: int = 0  # DE 4 of the request


class Difference(msgspec.Struct, frozen=True, gc=False):
    """What one side has and the other lacks: "batch_long" is the terminal's excess over ours."""

    kind: str
    request_id: int | None
    detail: str


def side_of(item: CapturedItem) -> Side:
    row = TYPES.get(item.type)
    if row is not None:
        return row.side
    return Side.DEBIT if item.effect_minor > 0 else Side.CREDIT


def totals_of(items: Iterable[CapturedItem]) -> Totals:
    """Debit and credit of either table side (DE 48 of 0500, rules §9)."""
    sums = [[0, 0, 0, 0], [0, 0, 0, 0]]
    for item in items:
        side = side_of(item)
        if side is Side.NONE:
            continue
        into = sums[item.foreign]
        if side is Side.DEBIT:
            into[0] += item.effect_minor
            into[1] += 1
        else:
            into[2] -= item.effect_minor
            into[3] += 1
    return BatchTotals(*sums[0]), BatchTotals(*sums[1])


def counted(items: Iterable[CapturedItem]) -> int:
    """How many on the fuller side: what the three digits of a count in DE 48 must hold."""
    sides = [side_of(item) for item in items]
    return max(sides.count(Side.DEBIT), sides.count(Side.CREDIT))


def result_of(said: Totals, ours: Totals) -> str:
    """The two result digits of the 0510: RMB, foreign."""
    return "".join(
        BALANCED if theirs == mine else NOT_BALANCED
        for theirs, mine in zip(said, ours, strict=True)
    )


def pack(totals: Totals) -> list[int]:
    return [number for side in totals for number in msgspec.structs.astuple(side)]


def unpack(numbers: Sequence[int]) -> Totals:
    return BatchTotals(*numbers[:4]), BatchTotals(*numbers[4:])


def new_items(items: Iterable[BatchItem], known: Collection[int]) -> list[BatchItem]:
    """Of an upload's items those that are kept: the first of a trace, while there is room."""
    new: dict[int, BatchItem] = {}
    for item in items:
        if item.stan not in known:
            new.setdefault(item.stan, item)
    return list(new.values())[: max(0, UPLOAD_ITEMS_MAX - len(known))]


def _told_minor(item: CapturedItem) -> int:
    """The amount that a terminal uploads: of an adjustment its DE 4, the new total."""
    row = TYPES.get(item.type)
    adjusts = row is not None and row.judge == "adjustment"
    return item.amount_minor if adjusts else abs(item.effect_minor)


def compare(ours: Iterable[CapturedItem], uploaded: Sequence[BatchItem]) -> list[Difference]:
    """By trace number; another amount is a shortage of ours and an excess of theirs."""
    mine = {item.stan: item for item in ours if side_of(item) is not Side.NONE}
    theirs = {item.stan: item for item in uploaded}
    differences = []
    for stan in sorted(mine.keys() | theirs.keys()):
        item, said = mine.get(stan), theirs.get(stan)
        amount = None if item is None else _told_minor(item)
        said_amount = None if said is None else said.amount_minor
        if amount == said_amount:
            continue
        detail = json.dumps({"stan": stan, "ours_minor": amount, "terminal_minor": said_amount})
        request_id = None if item is None else item.request_id
        if said is not None:
            differences.append(Difference("batch_long", request_id, detail))
        if item is not None:
            differences.append(Difference("batch_short", request_id, detail))
    return differences
