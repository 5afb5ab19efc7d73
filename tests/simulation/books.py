"""The day's end of a simulated world: the banks' files against the journal, by the production code.

The banks write their clearing files, every business date is closed in order, and what is left open
must be what injected faults explain, exactly: an approval that its bank forgot is short in the file,
one that nobody heard after its reversal was answered is long in it.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Final

import msgspec

from settlement.adapters.cases_memory import MemoryCasework
from settlement.adapters.extracts import MemoryExtracts
from settlement.adapters.memory import MemoryStore
from settlement.adapters.payout_memory import MemoryPayouts
from settlement.clearing import Capture, Reference, Transaction
from settlement.close import DIFFERENCES, DONE, close
from settlement.fees import REFORM_96
from settlement.settings import Settings
from switch import data_keys
from switch.journal import OutcomeState
from tests.engine import small_engine
from tests.settlement.world import Inbox, Sink

if TYPE_CHECKING:
    from settlement.adapters.duckdb_engine import DuckDbEngine
    from settlement.cases import Break
    from switch.journal import AttemptRow
    from tests.simulation.world import World

AT: Final = dt.datetime(2026, 1, 20, 1, 30, tzinfo=dt.UTC)
SINCE: Final = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
SETTINGS: Final = Settings(freeze_wait_s=0.0, freeze_poll_s=0.0)
PLAN: Final = "flat"


@cache
def engine() -> DuckDbEngine:
    """One a process: its queries stay compiled."""
    return small_engine()


class Dates:
    """`settlement.ports.Dates` on the simulated store."""

    def __init__(self, world: World) -> None:
        self._store = world.store
        self.state = world.store.days.state
        self.cut_over = world.store.days.cut_over
        self.freeze = world.store.days.freeze
        self.mark_posted = world.store.days.mark_posted

    async def unposted_before(self, business_date: dt.date) -> dt.date | None:
        return min(
            (
                date
                for date, state in self._store.dates.items()
                if date < business_date and state != "posted"
            ),
            default=None,
        )


async def close_books(world: World) -> list[str]:
    """Every date closed; in words what the faults do not explain, or what they do and is not found."""
    files = world.clearing_files()
    last = max(date for _, date in files)
    captures, transactions = facts_of(world)
    books = MemoryStore(captures, transactions, references_of(world))
    pans = data_keys.open_pans(world.lmk, await world.store.reference.snapshot())
    for posted in [date for date, state in world.store.dates.items() if state == "posted"]:
        world.store.dates[posted] = "frozen"  # the trade saw it posted early; its files come now
    dates = Dates(world)
    inbox = Inbox({(name, file.name): file.data for (name, _), file in files.items()})
    wrong: list[str] = []
    date = min(world.store.dates)
    while date <= last:
        result = await close(
            date,
            inbox,
            books,
            dates,
            pans,
            Sink(),
            casework=MemoryCasework(books, dates, within_close=True),
            payouts=MemoryPayouts(books),
            engine=engine(),
            extracts=MemoryExtracts(engine()),
            at=AT,
            settings=SETTINGS,
        )
        if result.exit_code not in (DONE, DIFFERENCES):
            return [f"the close of {date} ends with {result.exit_code}: {result.message}"]
        balance = sum(line.balance_minor for line in result.trial_balance)
        if balance:
            wrong.append(f"the ledger of {date} sums to {balance}")
        date += dt.timedelta(days=1)
    found = {name_of(one): one for one in await books.open_breaks(last + dt.timedelta(days=1))}
    world.checkers.checked["P5"] += len(captures)
    for one in found.values():
        world.count(f"break {one.break_class}")
    expected = expected_breaks(world)
    unheard = world.checkers.views.explained.unheard
    told = Counter(dict.fromkeys(unheard, 0))
    for name, one in found.items():
        rrn = one.keys.get("rrn", "")
        if one.theirs_minor == unheard.get(rrn) and not one.ours_minor:
            expected[name] = f"approved by {one.acquirer} unheard: DE 37 {rrn}"
            told[rrn] += 1
    wrong += [
        f"{times} breaks of DE 37 {rrn}, not one" for rrn, times in told.items() if times != 1
    ]
    wrong += [f"not found: {name}, {why}" for name, why in expected.items() if name not in found]
    wrong += [
        f"not explained: {name}, {found[name].evidence}" for name in found if name not in expected
    ]
    return wrong


def name_of(one: Break) -> str:
    return (
        f"{one.break_class} {one.acquirer} record {one.record} row {one.row} "
        f"ours {one.ours_minor} theirs {one.theirs_minor}"
    )


def expected_breaks(world: World) -> dict[str, str]:
    """Captures that stand and that their bank forgot; a chain that is absent and sums to zero is none."""
    forgotten = {
        entry.asked.rrn: bank.options.name for bank in world.banks for entry in bank.forgotten
    }
    effects: dict[int, int] = {}
    captures: dict[int, list[tuple[int, int]]] = {}
    for request_id, seq, _, effect in world.store.captures():
        effects[request_id] = effects.get(request_id, 0) + effect
        captures.setdefault(request_id, []).append((request_id * 16 + seq, effect))
    chains: dict[int, int] = {}
    short: dict[int, str] = {}
    for request_id, effect in effects.items():
        row = world.store.requests[request_id].row
        if row.rrn in forgotten and effect:
            root = root_of(world, request_id)
            chains[root] = chains.get(root, 0) + effect
            short[request_id] = forgotten[row.rrn]
    expected: dict[str, str] = {}
    for request_id, bank in short.items():
        row = world.store.requests[request_id].row
        if chains[root_of(world, request_id)]:
            for capture_id, effect in captures[request_id]:
                name = f"network_short {bank} record c{capture_id} row  ours {effect} theirs None"
                expected[name] = f"forgotten by {bank}: DE 37 {row.rrn}"
    return expected


def root_of(world: World, request_id: int) -> int:
    """The request that its chain began with: of a completion's void, the pre-authorisation."""
    original_id = world.store.requests[request_id].row.original_request_id
    return request_id if original_id is None else root_of(world, original_id)


def references_of(world: World) -> list[Reference]:
    found = [Reference("fee_plan", PLAN, 1, SINCE, msgspec.to_builtins(REFORM_96))]
    for item, _ in world.store.items:
        content = dict(item.content)
        if item.kind == "merchant":
            content["fee_plan"] = PLAN
        found.append(Reference(item.kind, item.key, item.version, SINCE, content))
    return found


def facts_of(world: World) -> tuple[list[Capture], list[Transaction]]:
    """What `switch.capture_v1` and `switch.transaction_v1` show of the simulated store."""
    store = world.store
    transactions = {
        request_id: _transaction(world, request_id)
        for request_id, request in store.requests.items()
        if request.row.type != "tombstone"
    }
    captures = []
    for request_id, seq, date, effect in store.captures():
        of = transactions[request_id]
        captures.append(
            Capture(
                capture_id=request_id * 16 + seq,
                request_id=request_id,
                business_date=date,
                settlement_date=of.settlement_date,
                merchant=of.merchant,
                terminal=of.terminal,
                batch=of.batch,
                stan=of.stan,
                type=of.type,
                acquirer=of.acquirer or "",
                effect_minor=effect,
                currency=of.currency,
                original_request_id=of.original_request_id,
            )
        )
    return captures, list(transactions.values())


def _transaction(world: World, request_id: int) -> Transaction:
    store = world.store
    request = store.requests[request_id]
    row, outcome = request.row, store.outcomes.get(request_id)
    state = "pending" if store.is_pending(request_id) else "in_flight"
    if outcome is not None:
        approved = outcome.row.state is OutcomeState.APPROVED
        state = str(outcome.row.state)
        if approved and request_id in store.reversals:
            state = "reversed"
    attempt = _attempt(request.attempts, None if outcome is None else outcome.row.attempt)
    said = None if outcome is None else outcome.row
    return Transaction(
        request_id=request_id,
        business_date=request.date,
        settlement_date=None if said is None else said.settlement_date,
        type=row.type,
        state=state,
        merchant=row.key.merchant,
        terminal=row.key.terminal,
        batch=row.key.batch,
        stan=row.key.stan,
        mti=row.mti,
        processing_code=row.processing_code,
        amount_minor=row.amount_minor,
        currency=row.currency,
        approved_amount_minor=None if said is None else said.approved_amount_minor,
        acquirer=None if attempt is None else attempt.acquirer,
        link_stan=None if attempt is None else attempt.link_stan,
        transmission_time=None if attempt is None else attempt.transmission_time,
        de32=None if attempt is None else attempt.de32,
        de33=None if attempt is None else attempt.de33,
        rrn=row.rrn,
        auth_code=None if said is None else said.auth_code,
        response_code=None if said is None else said.response_code,
        route_rule=None if attempt is None else attempt.route_rule,
        original_request_id=row.original_request_id,
        pan_token=row.pan_token or b"",
        pan_masked=row.pan_masked,
        mcc=row.mcc,
        entry_mode=row.entry_mode,
        condition_code=row.condition_code,
        received_at=row.received_at,
        route=_route(row.decision),
    )


def _attempt(attempts: list[AttemptRow], answered: int | None) -> AttemptRow | None:
    """The one that was answered, else the last."""
    found = [one for one in attempts if answered in (None, one.attempt)]
    return found[-1] if found else None


def _route(decision: str) -> str:
    return str(msgspec.json.decode(decision).get("route", "")) if decision else ""
