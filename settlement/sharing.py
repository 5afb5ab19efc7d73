"""The step `fees`: charges (`charges`), and the date's shares in columns.

A sale that nothing has followed yet shares by what its price and its agents are: as for charges, that
is computed once for each different combination and joined back. The few chains with more records
go through `shares.shares_of`, one by one.
"""

from collections.abc import AsyncIterator, Iterator
from datetime import date
from functools import cache
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
import pyarrow as pa  # type: ignore[import-untyped]

from settlement.charges import (
    COST_PLANS,
    PRICE,
    PRICE_FIELDS,
    VOLUMES,
    basis_of,
    charges,
    columns_of,
    parts,
    priced_table,
    several,
)
from settlement.clearing import ClearingRecord
from settlement.columns import Relation, relation, schema_of, structs_of, table_of
from settlement.fees import DISCOUNT
from settlement.ports import Facts
from settlement.records import different, exact, number_of, table_named
from settlement.run import Run, in_minor
from settlement.shares import (
    Level,
    RecordShare,
    Sale,
    Volumes,
    levels_of,
    record_share,
    shares_of,
    step_shares,
)

if TYPE_CHECKING:
    import ibis.expr.types as ir  # type: ignore[import-untyped]

COST: Final = ("cost_plan", "cost_plan_version")
LEVELS: Final = pa.schema(
    [
        ("merchant", pa.string()),
        ("sale_settlement_date", pa.date32()),
        ("levels", pa.int64()),  # merchants of one number have the same agents on the same terms
    ]
)
_PRICES: Final = ("levels", *PRICE, *COST)
ALIKE: Final = pa.schema(
    [
        ("levels", pa.int64()),
        *PRICE_FIELDS,
        ("cost_plan", pa.string()),
        ("cost_plan_version", pa.int64()),
        ("alike", pa.int64()),  # prices of one number share alike, whatever the amount
    ]
)
_STEP: Final = ("alike", "effect_minor", "refund")
_SHARED: Final = [
    name
    for name in RecordShare.__struct_fields__
    if name not in ("business_date", "key", "merchant", "currency")
]
FOLLOWED_ROWS: Final = 20_000  # records of followed chains that are objects at one time


async def fees(run: Run) -> tuple[Facts, dict[str, int]]:
    facts, totals = await charges(run)
    shares = await share(run)
    return msgspec.structs.replace(facts, agent_shares=shares), {
        **totals,
        **in_minor("agent_share", _sums(run), run.home),
    }


async def share(run: Run) -> Relation:
    """The shares of the date's records, by key; none where nobody is an agent."""
    if not run.tariffs.keys("agent"):
        run.engine.load("agent_shares", table_of(RecordShare, ()))
        return relation(RecordShare)
    run.progress.advanced("fees", "agents' shares")
    sales = _load_levels(run)
    _load_changes(run, sales)
    followed = [table_of(RecordShare, found) async for found in _followed(run)]
    schema = schema_of(RecordShare)
    run.engine.load("shares_followed", pa.concat_tables([schema.empty_table(), *followed]))
    return run.extracts.keep("agent_shares", _shares(run.date), schema)


def _load_levels(run: Run) -> list[tuple[Level, ...]]:
    """`share_levels`: the agents over each merchant that sold; the different ones, by number."""
    numbers: dict[tuple[Level, ...], int] = {}
    lines = []
    for merchant, day in cast("list[tuple[str, date]]", run.engine.rows(_merchants(run.date))):
        levels = levels_of(run.tariffs, merchant, day)
        if levels:
            lines.append((merchant, day, numbers.setdefault(levels, len(numbers))))
    run.engine.load("share_levels", columns_of(lines, LEVELS))
    return list(numbers)


@cache
def _alone(business_date: date) -> "ir.Table":
    priced = priced_table()
    return priced.filter(priced.alone & (priced.business_date == business_date))


@cache
def _merchants(business_date: date) -> "ir.Table":
    return different(_alone(business_date), "merchant", "sale_settlement_date")


@cache
def _shared(business_date: date) -> "ir.Table":
    """Sales that agents share in, with their price, what they cost by plan, and who shares."""
    levels = table_named("share_levels", LEVELS)
    plans = table_named("cost_plans", COST_PLANS)
    of = _alone(business_date).join(levels, ["merchant", "sale_settlement_date"])
    return of.join(plans, ["acquirer", "sale_settlement_date"])


def _load_changes(run: Run, levels: list[tuple[Level, ...]]) -> None:
    """Every different share: `share_alike` (price -> number) and `share_change`."""
    alike: dict[object, int] = {}
    sales: list[Sale] = []
    lines = []
    for line in cast("list[tuple[Any, ...]]", run.engine.rows(_prices(run.date))):
        sale = _sale(run, levels, line)
        index = alike.setdefault(_likeness(sale), len(alike))
        if index == len(sales):
            sales.append(sale)
        lines.append((*line, index))
    run.engine.load("share_alike", columns_of(lines, ALIKE))
    steps = cast("list[tuple[int, int, bool]]", run.engine.rows(_steps(run.date)))
    found = [
        record_share(
            run.date, "", "", "", sales[index], *step_shares(sales[index], ((effect, refund),))
        )
        for index, effect, refund in steps
    ]
    table = table_of(RecordShare, found).select(_SHARED)
    for name, column in zip(_STEP, columns_of(steps, _STEPS).columns, strict=True):
        table = table.append_column(name, column)
    run.engine.load("share_change", table)


_STEPS: Final = pa.schema(
    [("alike", pa.int64()), ("effect_minor", pa.int64()), ("refund", pa.bool_())]
)


def _sale(run: Run, levels: list[tuple[Level, ...]], line: tuple[Any, ...]) -> Sale:
    number, plan, version, card_type, mcc, entry_mode, volume, cost_plan, cost_version = line
    return Sale(
        run.tariffs.plan(plan, version),
        run.tariffs.plan(cost_plan, cost_version),
        levels[number],
        basis_of(card_type, mcc, entry_mode, volume),
    )


def _likeness(sale: Sale) -> object:
    """Sales of one likeness share alike, whatever the amount."""
    of = [(sale.plan, (DISCOUNT,)), (sale.cost_plan, ("issuer", "network"))]
    of += [(level.plan, (DISCOUNT,)) for level in sale.levels if level.plan]
    return sale.levels, *(
        (plan.name, plan.version, plan.alike(names, sale.basis)) for plan, names in of
    )


@cache
def _prices(business_date: date) -> "ir.Table":
    return different(_shared(business_date), *_PRICES)


@cache
def _steps(business_date: date) -> "ir.Table":
    numbered = _shared(business_date).join(table_named("share_alike", ALIKE), _PRICES)
    return different(numbered, *_STEP)


@cache
def _shares(business_date: date) -> "ir.Table":
    schema = schema_of(RecordShare)
    kept = [*(field for field in schema if field.name in _SHARED), *_STEPS]
    numbered = _shared(business_date).join(table_named("share_alike", ALIKE), _PRICES)
    known = numbered.join(table_named("share_change", pa.schema(kept)), _STEP)
    every = known[schema.names].union(table_named("shares_followed", schema))
    return every.order_by(number_of(every.key))


@cache
def _agreed() -> "ir.Table":
    made = table_named("agent_shares", schema_of(RecordShare))
    sums = made.group_by("currency").agg(
        amount=exact(made.discount_minor.sum())
        - exact(made.cost_minor.sum())
        - exact(made.own_minor.sum())
    )
    return sums.order_by("currency")


def _sums(run: Run) -> list[tuple[str, int]]:
    """(currency, all shares together): the margin less what is ours."""
    return [(str(code), int(cast("Any", amount))) for code, amount in run.engine.rows(_agreed())]


# -- chains with more records -------------------------------------------------------------------


async def _followed(run: Run) -> AsyncIterator[list[RecordShare]]:
    """The shares of the date's records in such chains, some thousand records at a time."""
    book = run.store.fee_book()
    volumes = _volumes(run)
    for chains in _chains(run):
        today = [one for chain in chains.values() for one in chain if one.business_date == run.date]
        sales = [chain[0] for chain in chains.values()]
        earlier = await book.shares_by_key(
            [sale.key for sale in sales if sale.business_date < run.date]
        )
        yield shares_of(run.date, today, chains, run.tariffs, earlier, volumes)


def _volumes(run: Run) -> Volumes:
    table = table_named("volumes", VOLUMES)
    found = cast(
        "list[tuple[date, str, str, int]]", run.engine.rows(table.order_by(*VOLUMES.names))
    )
    return {(day, merchant, currency): reached for day, merchant, currency, reached in found}


def _chains(run: Run) -> Iterator[dict[int, list[ClearingRecord]]]:
    """Whole chains, each oldest first, in order of root."""
    chains: dict[int, list[ClearingRecord]] = {}
    rows = 0
    for batch in run.engine.table(_chained()).to_batches(FOLLOWED_ROWS):
        for record in structs_of(ClearingRecord, pa.Table.from_batches([batch])):
            if rows >= FOLLOWED_ROWS and record.root_request_id not in chains:
                yield chains
                chains, rows = {}, 0
            chains.setdefault(record.root_request_id, []).append(record)
            rows += 1
    if chains:
        yield chains


@cache
def _chained() -> "ir.Table":
    """The records of chains with more than one, in the order in which they counted; see
    `charges`."""
    every = parts().semi_join(several(), "root_request_id")
    opposite = every.state == "opposite"
    follows = (every.request_id != every.root_request_id) | opposite
    return every.order_by(
        "root_request_id",
        "business_date",
        follows.cast("int64"),
        opposite.cast("int64"),
        "transmission_time",
        number_of(every.key),
    )
