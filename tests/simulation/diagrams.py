"""State diagrams out of the code that has the states: none is drawn by hand.

Three ways, as the code stands. A table is asked for every row. A machine whose table names steps and
not where they lead (`switch.authorization`) is read: what its functions assign and return. States that
are read from facts (batch, business date) are explored: every operation is tried in every state.
Each gives edges (from, to) → labels; `mermaid` writes them down.
"""

from __future__ import annotations

import ast
import asyncio
import datetime as dt
import inspect
from typing import TYPE_CHECKING, Final

from settlement.ports import STEPS
from switch import authorization
from switch.acquirers.ports import Answer, AnswerKind
from switch.adapters.memory import MemoryStore
from switch.network_management import MISSES_MAX, Connection, Event, Phase, step
from switch.store_and_forward import judge_delivery
from switch.store_ports import BatchItem, BatchTotals, Session

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

OUTSIDE: Final = "[*]"
ENDS: Final = {
    "Reply": "answered",
    "Reconsider": "reconsidered",
}  # effects after which no event comes
Edges = dict[tuple[str, str], list[str]]


def mermaid(edges: Edges) -> str:
    """A `stateDiagram-v2`: one line for each two states, with all that leads from one to the other."""
    lines = ["stateDiagram-v2"]
    for (before, after), labels in edges.items():
        told = f": {', '.join(labels)}" if any(labels) else ""
        lines.append(f"    {before} --> {after}{told}")
    return "\n".join(["```mermaid", *lines, "```"])


def edge(edges: Edges, before: str, after: str, label: str) -> None:
    labels = edges.setdefault((before, after), [])
    if label not in labels:
        labels.append(label)


# -- an authorisation: the table names the steps, the steps say where they lead ------------------


def authorization_edges() -> Edges:
    """From `TABLE`; where a step leads is what it, or what it calls, assigns to `stage` or returns."""
    leads = _leads()
    edges: Edges = {}
    for way_in in ("record", "refuse", "judge", "repeat"):
        for after in leads[way_in]:
            edge(edges, OUTSIDE, after, way_in)
    for (stage, event), taken in authorization.TABLE.items():
        for after in leads[taken.__name__]:
            edge(edges, stage.name, after, event.__name__)
    return edges | {(after, OUTSIDE): [""] for after in ENDS.values()}


def _leads() -> dict[str, list[str]]:
    """Function of the module or method of `Authorization` → the stages and ends it may lead to."""
    tree = ast.parse(inspect.getsource(authorization))
    methods = next(
        node.body
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == authorization.Authorization.__name__
    )
    functions = {
        node.name: node for node in (*tree.body, *methods) if isinstance(node, ast.FunctionDef)
    }

    def reached(name: str, seen: tuple[str, ...]) -> dict[str, None]:
        found: dict[str, None] = {}
        for node in ast.walk(functions[name]):
            if isinstance(node, ast.Assign) and _is_stage(node.targets[0]):
                assert isinstance(node.value, ast.Name)
                found[node.value.id] = None
            elif isinstance(node, ast.Call):
                called = _name_of(node.func)
                if called in ENDS:
                    found[ENDS[called]] = None
                elif called in functions and called not in seen:
                    found |= reached(called, (*seen, called))
        return found

    return {name: list(reached(name, (name,))) for name in functions}


def _is_stage(target: ast.expr) -> bool:
    return isinstance(target, ast.Attribute) and target.attr == "stage"


def _name_of(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


# -- a link's connection: a table ----------------------------------------------------------------


def connection_edges() -> Edges:
    """`network_management.step`, asked for every phase and event, and for a second missed echo."""
    edges: Edges = {(OUTSIDE, Phase.OPENED.value): [""]}
    for phase in Phase:
        for event in Event:
            for misses in (0, MISSES_MAX - 1):
                before = Connection(phase, misses)
                after, asked = step(before, event)
                if after == before and not asked:
                    continue
                again = after.phase is not step(Connection(phase), event)[0].phase
                times = " again" if again else ""
                edge(edges, phase.value, after.phase.value, f"{event.value}{times}")
    edges[Phase.CLOSED.value, OUTSIDE] = [""]
    return edges


# -- a reversal in its queue: a function of the answer --------------------------------------------


def reversal_edges() -> Edges:
    """`store_and_forward.judge_delivery`, asked for the answers that it knows, and others."""
    edges: Edges = {(OUTSIDE, "queued"): ["with its outcome, in one commit"]}
    edge(edges, "queued", "sent", "noted, then sent")
    for code in ("00", "94", "25", "12", "30", "68", "91", "96", "98", "05"):
        for overtook in (False, True):
            said = Answer(AnswerKind.DECLINED, code, None)
            ended = judge_delivery("reversal", said, overtook=overtook)
            if overtook and ended == judge_delivery("reversal", said, overtook=False):
                continue
            label = f"{code} too early to count" if overtook else code
            if ended is None:
                edge(edges, "sent", "queued", label)
            else:
                edge(edges, "sent", "ended_with_a_case" if ended.case else "ended", label)
    edge(edges, "sent", "queued", "no answer")
    edge(edges, "queued", "undelivered", "its bound")
    for after in ("ended", "ended_with_a_case", "undelivered"):
        edges[after, OUTSIDE] = [""]
    return edges


# -- what is read from facts: every operation in every state ---------------------------------------

TODAY: Final = dt.date(2026, 1, 5)
AT: Final = dt.datetime(2026, 1, 5, 2, 0, tzinfo=dt.UTC)
SHOP: Final = ("104290000000001", "10000001")
AGREE: Final = (BatchTotals(), BatchTotals())
DIFFER: Final = (BatchTotals(debit_minor=100, debit_count=1), BatchTotals())
SESSION: Final = Session(0, *SHOP, "001", "", "", None, AT, confirmed=False)

Operation = "Callable[[MemoryStore], Awaitable[object]]"


class StoppedClock:
    """`switch.ports.Clock`."""

    def now(self) -> dt.datetime:
        return AT

    def monotonic_ns(self) -> int:
        return 0


def explored(
    operations: dict[str, Callable[[MemoryStore], Awaitable[object]]],
    state_of: Callable[[MemoryStore], Awaitable[str | None]],
) -> Edges:
    """Breadth first from an empty store; what an operation refuses or leaves as it is has no edge."""

    async def after(path: tuple[str, ...]) -> str:
        store = MemoryStore(StoppedClock(), business_date=TODAY)
        for name in path:
            await operations[name](store)
        return await state_of(store) or OUTSIDE

    edges: Edges = {}
    paths: dict[str, tuple[str, ...]] = {asyncio.run(after(())): ()}
    for before in (waiting := list(paths)):
        for name in operations:
            try:
                found = asyncio.run(after((*paths[before], name)))
            except (ValueError, AssertionError):
                continue
            if found == before:
                continue
            edge(edges, before, found, name)
            if found not in paths:
                paths[found] = (*paths[before], name)
                waiting.append(found)
    return edges


def batch_edges() -> Edges:
    """The newest batch of a terminal, through the port that sign-on, 0500 and 0320 use."""

    async def settle(store: MemoryStore, totals: tuple[BatchTotals, BatchTotals]) -> None:
        batch = await _batch(store)
        assert not await store.batches.freeze(*SHOP, batch)
        await store.batches.settle(*SHOP, batch, totals)

    async def freeze(store: MemoryStore) -> None:
        await store.batches.freeze(*SHOP, await _batch(store))

    async def upload(store: MemoryStore) -> None:
        await store.batches.upload(*SHOP, await _batch(store), [BatchItem(1, 100)])

    async def finish(store: MemoryStore) -> None:
        await store.batches.finish_upload(*SHOP, await _batch(store))

    async def state_of(store: MemoryStore) -> str | None:
        batch = await store.batches.current(*SHOP)
        return None if batch is None else batch.state

    return explored(
        {
            "sign-on": lambda store: store.batches.sign_on(SESSION),
            "0500 while requests are in flight": freeze,
            "0500 that agrees": lambda store: settle(store, AGREE),
            "0500 that differs": lambda store: settle(store, DIFFER),
            "0320": upload,
            "end of the upload, or its time-out": finish,
        },
        state_of,
    )


async def _batch(store: MemoryStore) -> int:
    batch = await store.batches.current(*SHOP)
    assert batch is not None
    return batch.batch


def date_edges() -> Edges:
    """One business date, through the port that cut-over and the day's end use."""
    edges = explored(
        {
            "cut-over to the next": lambda store: store.days.cut_over(TODAY + dt.timedelta(days=1)),
            "freeze, when all of it is decided": lambda store: store.days.freeze(TODAY),
            "posted": lambda store: store.days.mark_posted(TODAY),
        },
        lambda store: store.days.state(TODAY),
    )
    return {(OUTSIDE, "open"): ["cut-over of the one before"]} | edges


def close_edges() -> Edges:
    """The steps of the day's end, in their order."""
    return {
        (before, after): [""]
        for before, after in zip((OUTSIDE, *STEPS), (*STEPS, OUTSIDE), strict=True)
    }
