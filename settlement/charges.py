"""The day's fees: our discount on every record, the networks' fees beside ours.

A fee is the change of its chain's fee (`Plan.change`), by the plan of the chain's sale. What a plan
says is computed once for each different combination of price, net before and net after, and joined
back: a day has far fewer of these than records.
"""

from collections.abc import Iterable, Sequence
from datetime import date
from functools import cache
from typing import TYPE_CHECKING, Any, Final, cast

import ibis  # type: ignore[import-untyped]
import msgspec
import pyarrow as pa  # type: ignore[import-untyped]

from settlement.cases import Break
from settlement.clearing import REFUND_TYPES, ClearingRecord
from settlement.columns import Relation, schema_of, table_of
from settlement.fees import (
    Basis,
    MerchantFee,
    NetworkCost,
    Plan,
    Tariffs,
    entry_class,
    step_reached,
)
from settlement.matches import Match
from settlement.ports import Facts
from settlement.reconcile import break_of
from settlement.records import different, exact, number_of, records_table, table_named
from settlement.rows import effect_of, id_of, issuer_fee_of, network_fee_of, rows_table
from settlement.run import Run, breathe, extract, in_minor, load, number
from settlement.settings import Settings
from settlement.sum_costs import PARTS, asked, members_table, shared_out

if TYPE_CHECKING:
    import ibis.expr.types as ir  # type: ignore[import-untyped]

    from settlement.ports import Engine

# a price: what a plan asks, besides the amounts
PRICE: Final = {
    "plan": "string",
    "plan_version": "int64",
    "card_type": "string",
    "mcc": "string",
    "entry_mode": "string",
    "volume": "int64",
}
PRICE_FIELDS: Final = [(name, pa.type_for_alias(kind)) for name, kind in PRICE.items()]
ALIKE: Final = pa.schema(
    [
        *PRICE_FIELDS,
        ("alike", pa.int64()),  # prices of one number give the same fee for every amount
    ]
)
STEP: Final = ("alike", "before", "after", "refund")
COST_PLANS: Final = pa.schema(
    [
        ("acquirer", pa.string()),
        ("sale_settlement_date", pa.date32()),
        ("cost_plan", pa.string()),
        ("cost_plan_version", pa.int64()),
    ]
)
# the step that a merchant's turnover of the month has reached, where a plan asks for it
VOLUMES: Final = pa.schema(
    [
        ("sale_business_date", pa.date32()),
        ("merchant", pa.string()),
        ("currency", pa.string()),
        ("reached", pa.int64()),
    ]
)


async def charges(run: Run) -> tuple[Facts, dict[str, int]]:
    await extract(run, "records")
    await extract(run, "matches")
    has_sums = len(await extract(run, "members")) > 0
    await load_matched(run)
    await _load_chains(run)
    await _load_volumes(run)
    run.engine.keep("priced", _priced())
    await breathe()
    run.progress.advanced("fees", "discounts")
    price(run.engine, run.tariffs, "discount", ("merchant_discount",), _discount_steps())
    discounts = run.extracts.keep("merchant_fees", _discounts(run.date), schema_of(MerchantFee))
    await breathe()
    run.progress.advanced("fees", "network costs")
    _load_cost_plans(run)
    run.engine.keep("costed", _costed())
    if has_sums:
        run.engine.keep("costed_sums", _costed_sums())
    price(run.engine, run.tariffs, "cost", PARTS, _cost_steps(sums=has_sums))
    costs = run.extracts.keep(
        "network_costs", _costs(run.date, run.settings, sums=has_sums), schema_of(NetworkCost)
    )
    run.at_hand |= {"merchant_fees": discounts, "network_costs": costs}
    breaks = await _breaks(run)
    found = [(str(name), str(code), _int(n)) for name, code, n in run.engine.rows(_sums())]
    sums = {
        f"{name}_{unit}": amount
        for name in ("discount", "issuer_fee", "network_fee")
        for unit, amount in _of(found, name, run.home).items()
    }
    return Facts(merchant_fees=discounts, network_costs=costs, breaks=breaks), {
        **sums,
        "fee_mismatch": len(breaks),
    }


def _of(found: list[tuple[str, str, int]], name: str, home: str) -> dict[str, int]:
    made = in_minor(name, ((code, amount) for kind, code, amount in found if kind == name), home)
    return {key.removeprefix(f"{name}_"): amount for key, amount in made.items()}


def _int(value: object) -> int:
    return int(cast("Any", value))


# -- what the date's matches rest on --------------------------------------------------------------


async def load_matched(run: Run) -> None:
    """Records of earlier dates that the date's matches settle, as `earlier`; the rows of its matches
    are among `incoming_rows`."""
    if "incoming_rows" not in run.at_hand:
        run.at_hand["incoming_rows"] = await load(run, "incoming_rows", "matched_rows", run.date)
    if "earlier" not in run.at_hand:
        keys = [str(key) for (key,) in run.engine.rows(_earlier_keys())]
        found = await run.store.records_by_key(keys)
        earlier = table_of(ClearingRecord, [found[key] for key in keys])
        run.engine.load("earlier", earlier)
        run.at_hand["earlier"] = Relation(earlier)


@cache
def _earlier_keys() -> "ir.Table":
    matches = table_named("matches", schema_of(Match))
    records = records_table("records")
    named = matches.filter(matches.record != "")
    return named.anti_join(records, named.record == records.key).select("record").order_by("record")


@cache
def subjects() -> "ir.Table":
    """The date's captured records and the earlier ones that it settles."""
    every = records_table("records").union(records_table("earlier"))
    return every.filter(every.effect_minor != 0)


# -- chains ---------------------------------------------------------------------------------------


async def _load_chains(run: Run) -> None:
    """The earlier parts of chains that began before the date, as `chains`."""
    roots = [_int(root) for (root,) in run.engine.rows(_older_roots())]
    found = await run.store.records_by_root(roots)
    run.engine.load("chains", table_of(ClearingRecord, found))


async def _load_volumes(run: Run) -> None:
    """The turnovers of the months in which chains began; none where no plan asks."""
    steps = run.tariffs.volume_steps
    lines = []
    for (day,) in run.engine.rows(_days()) if steps else ():
        found = await run.store.fee_book().month_volumes(cast("date", day))
        lines += [(day, *of, step_reached(volume, steps)) for of, volume in found.items()]
    run.engine.load("volumes", columns_of(lines, VOLUMES))


@cache
def _days() -> "ir.Table":
    return different(parts(), "business_date")


@cache
def _older_roots() -> "ir.Table":
    every = subjects()
    begun = every.filter((every.request_id == every.root_request_id) & (every.state != "opposite"))
    follow_ups = every.filter(
        (every.request_id != every.root_request_id) | (every.state == "opposite")
    )
    older = follow_ups.anti_join(begun, "root_request_id")
    return different(older, "root_request_id")


@cache
def parts() -> "ir.Table":
    """The records of the chains that the date's records and matches touch."""
    chains = records_table("chains")
    return subjects().union(chains.anti_join(subjects(), "key"))


@cache
def several() -> "ir.Table":
    """Roots of the chains with more than one record."""
    counted = parts().group_by("root_request_id").agg(parts=parts().count())
    return counted.filter(counted.parts > 1)


@cache
def _priced() -> "ir.Table":
    """Each subject with its chain's sale, and the chain's net before it.

    A chain's sale comes first, its linked opposites last, between them by DE 7. Request ids are
    given out in blocks to each process, so a refund's may well be below its sale's.
    """
    alone = _with_sale(parts().anti_join(several(), "root_request_id"), None)
    chained = parts().semi_join(several(), "root_request_id")
    opposite = chained.state == "opposite"
    follows = (chained.request_id != chained.root_request_id) | opposite
    aged = chained.mutate(
        age_1=follows.cast("int64"), age_2=opposite.cast("int64"), age_3=number_of(chained.key)
    )
    order = ["business_date", "age_1", "age_2", "transmission_time", "age_3"]
    made = alone.union(_with_sale(aged, order))
    volumes = table_named("volumes", VOLUMES)
    known = made.left_join(volumes, ["sale_business_date", "merchant", "currency"])
    return known.mutate(volume=known.reached.fill_null(0))[list(_PRICED)]


def _with_sale(records: "ir.Table", order: Sequence[str] | None) -> "ir.Table":
    sale: dict[str, Any] = {
        "plan": records.plan,
        "plan_version": records.plan_version,
        "card_type": records.card_type,
        "mcc": records.mcc,
        "entry_mode": records.entry_mode,
        "merchant": records.merchant,
        "sale_business_date": records.business_date,
        "sale_settlement_date": records.settlement_date,
    }
    before: Any = ibis.literal(0, "int64")
    if order is not None:
        so_far = ibis.cumulative_window(
            group_by=records.root_request_id, order_by=[records[name] for name in order]
        )
        sale = {name: column.first().over(so_far) for name, column in sale.items()}
        before = exact(records.effect_minor.sum().over(so_far)) - records.effect_minor
    return records.select(
        "key",
        "business_date",
        "acquirer",
        "currency",
        "effect_minor",
        before=before,
        refund=records.type.isin(REFUND_TYPES),
        alone=ibis.literal(order is None),
        **sale,
    )


_PRICED: Final = {
    "key": "string",
    "business_date": "date",
    "acquirer": "string",
    "currency": "string",
    "effect_minor": "int64",
    "before": "int64",
    "refund": "boolean",
    "alone": "boolean",  # a chain of one record
    **PRICE,
    "merchant": "string",
    "sale_business_date": "date",
    "sale_settlement_date": "date",
}


def priced_table() -> "ir.Table":
    return ibis.table(_PRICED, name="priced")


# -- what plans say -------------------------------------------------------------------------------


def price(
    engine: "Engine",
    tariffs: Tariffs,
    name: str,
    components: Sequence[str],
    steps: "ir.Table",
) -> None:
    """Ask the plans for every different step of `steps` (a price, before, after, refund): the tables
    `<name>_alike` (price -> number) and `<name>_change` (number and step -> change by component)."""
    alike: dict[object, int] = {}
    prices: dict[int, tuple[Plan, Basis]] = {}
    lines = []
    found = cast("list[tuple[str, int, str, str, str, int]]", engine.rows(_prices(steps)))
    for of in found:
        plan, basis = tariffs.plan(*of[:2]), basis_of(*of[2:])
        same = (*of[:2], plan.alike(components, basis))
        index = alike.setdefault(same, len(alike))
        prices.setdefault(index, (plan, basis))
        lines.append((*of, index))
    engine.load(f"{name}_alike", columns_of(lines, ALIKE))
    different = cast("list[tuple[int, int, int, bool]]", engine.rows(_different(name, steps)))
    changes = []
    for index, before, after, refund in different:
        plan, basis = prices[index]
        made = (plan.change_on(basis, part, before, after, refund=refund) for part in components)
        changes.append((index, before, after, refund, *made))
    engine.load(f"{name}_change", columns_of(changes, _change_schema(components)))


def basis_of(card_type: str, mcc: str, entry_mode: str, volume: int) -> Basis:
    """What of a line of `PRICE` plans look at."""
    return Basis(card_type, mcc, entry_class(entry_mode), volume)


def columns_of(lines: Sequence[tuple[object, ...]], schema: pa.Schema) -> pa.Table:
    columns: Iterable[Any] = zip(*lines, strict=True) if lines else [()] * len(schema)
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema)


def _change_schema(components: Sequence[str]) -> pa.Schema:
    steps = [("alike", pa.int64()), ("before", pa.int64()), ("after", pa.int64())]
    refund = [("refund", pa.bool_())]
    return pa.schema([*steps, *refund, *((part, pa.int64()) for part in components)])


@cache
def _prices(steps: "ir.Table") -> "ir.Table":
    return different(steps, *PRICE)


@cache
def _different(name: str, steps: "ir.Table") -> "ir.Table":
    numbered = steps.join(table_named(f"{name}_alike", ALIKE), [*PRICE])
    return different(numbered, *STEP)


def _changed(name: str, components: Sequence[str], steps: "ir.Table") -> "ir.Table":
    """`steps` with the change that `price` found for each component."""
    numbered = steps.join(table_named(f"{name}_alike", ALIKE), [*PRICE])
    return numbered.join(table_named(f"{name}_change", _change_schema(components)), STEP)


# -- our discount ---------------------------------------------------------------------------------


@cache
def _discount_steps() -> "ir.Table":
    priced = priced_table()
    return priced.mutate(after=priced.before + priced.effect_minor)


@cache
def _discounts(business_date: date) -> "ir.Table":
    steps = _discount_steps()
    changed = _changed(
        "discount", ("merchant_discount",), steps.filter(steps.business_date == business_date)
    )
    made = changed.select(
        "business_date",
        "key",
        "plan",
        "plan_version",
        "card_type",
        net_before_minor=changed.before,
        net_after_minor=changed.after,
        discount_minor=changed.merchant_discount,
    )
    return made.order_by(number_of(made.key))


# -- the networks' fees ---------------------------------------------------------------------------


def _load_cost_plans(run: Run) -> None:
    found = cast("list[tuple[str, date]]", run.engine.rows(_sale_days()))
    plans = [run.tariffs.cost_plan(acquirer, day) for acquirer, day in found]
    lines = [(*one, plan.name, plan.version) for one, plan in zip(found, plans, strict=True)]
    run.engine.load("cost_plans", columns_of(lines, COST_PLANS))


@cache
def _sale_days() -> "ir.Table":
    return different(priced_table(), "acquirer", "sale_settlement_date")


@cache
def _costed() -> "ir.Table":
    """Pairs whose file row bears a fee: a captured record with a billed row."""
    matches = table_named("matches", schema_of(Match))
    wanted = matches.filter(
        matches.match_class.isin(["matched", "cutoff_shift", "amount_mismatch"])
        & (matches.row != "")
        & (matches.record.substr(0, 1) == "c")
    ).select(key=matches.record, row=matches.row)
    rows = rows_table("incoming_rows")
    billed = rows.select(
        row=id_of(rows),
        file=rows.acquirer + "/" + rows.file,
        billed=effect_of(rows),
        issuer_file=issuer_fee_of(rows),
        network_file=network_fee_of(rows),
    )
    paired = wanted.join(billed, "row").join(priced_table(), "key")
    return _with_cost_plan(paired)[list(_COSTED)]


def _with_cost_plan(paired: "ir.Table") -> "ir.Table":
    plans = table_named("cost_plans", COST_PLANS)
    found = paired.join(plans, ["acquirer", "sale_settlement_date"])
    return found.mutate(plan=found.cost_plan, plan_version=found.cost_plan_version)


_COSTED: Final = {
    "key": "string",
    "row": "string",
    "file": "string",
    "billed": "int64",
    "issuer_file": "int64",
    "network_file": "int64",
    "currency": "string",
    "effect_minor": "int64",
    "before": "int64",
    "refund": "boolean",
    **PRICE,
}


def _costed_table() -> "ir.Table":
    return ibis.table(_COSTED, name="costed")


@cache
def _costed_sums() -> "ir.Table":
    """The captured records of matches of one with several, with what their rows ask together."""
    found = _with_cost_plan(asked().join(priced_table(), "key"))
    return found.mutate(billed=found.effect_minor)[list(_COSTED_SUMS)]


_COSTED_SUMS: Final = {**_COSTED, "match_id": "string", "lines": "int64"}


def _costed_sums_table() -> "ir.Table":
    return ibis.table(_COSTED_SUMS, name="costed_sums")


@cache
def _cost_steps(*, sums: bool) -> "ir.Table":
    """Where the amounts differ the file's fee may be of either."""
    costed = _costed_table()
    names = [*PRICE, "before", "after", "refund"]
    by_row = costed.mutate(after=costed.before + costed.billed)[names]
    differing = costed.filter(costed.billed != costed.effect_minor)
    by_record = differing.mutate(after=differing.before + differing.effect_minor)[names]
    steps = by_row.union(by_record)
    if sums:
        of_sums = _costed_sums_table()
        steps = steps.union(of_sums.mutate(after=of_sums.before + of_sums.effect_minor)[names])
    return steps


@cache
def _costs(business_date: date, settings: Settings, *, sums: bool) -> "ir.Table":
    """The file's fee within tolerance per row and file; else ours, and the rest is an excess."""
    ours = _nearer().mutate(lines=ibis.literal(1, "int64"))
    if sums:
        ours = ours.union(_of_sums()[ours.columns])
    issuer_file, network_file = ours.issuer_file, ours.network_file
    compared = ours.mutate(
        differs=issuer_file.fill_null(ours.issuer)
        + network_file.fill_null(ours.network)
        - ours.issuer
        - ours.network
    )
    tolerance = compared.lines * settings.fee_tolerance_row_minor
    judged = compared.mutate(within=compared.differs.abs() <= tolerance)
    near = judged.filter(judged.within)
    files = near.group_by("file").agg(differing=exact(near.differs.abs().sum()))
    beyond = files.filter(files.differing > settings.fee_tolerance_file_minor)
    booked = judged.mutate(theirs=judged.within & judged.file.notin(beyond.file))
    made = booked.select(
        "key",
        "row",
        "plan",
        "plan_version",
        business_date=ibis.literal(business_date),
        issuer_ours_minor=booked.issuer,
        network_ours_minor=booked.network,
        issuer_file_minor=booked.issuer_file,
        network_file_minor=booked.network_file,
        issuer_minor=ibis.ifelse(
            booked.theirs, booked.issuer_file.fill_null(booked.issuer), booked.issuer
        ),
        network_minor=ibis.ifelse(
            booked.theirs, booked.network_file.fill_null(booked.network), booked.network
        ),
    )
    return made.order_by(number_of(made.key))[list(NetworkCost.__struct_fields__)]


def _of_sums() -> "ir.Table":
    """Our fees of each record, and its part of what the rows ask."""
    costed = _costed_sums_table()
    steps = costed.mutate(after=costed.before + costed.effect_minor)
    return shared_out(_changed("cost", PARTS, steps))


def _nearer() -> "ir.Table":
    """Our fees on the row's amount; on the record's, where that is nearer to what the file asks."""
    costed = _costed_table()
    by_row = _changed("cost", PARTS, costed.mutate(after=costed.before + costed.billed))
    differing = costed.filter(costed.billed != costed.effect_minor)
    other = _changed(
        "cost", PARTS, differing.mutate(after=differing.before + differing.effect_minor)
    )
    also = other.select("key", record_issuer=other.issuer, record_network=other.network)
    both = by_row.left_join(also, "key")
    asked = both.issuer_file.fill_null(0) + both.network_file.fill_null(0)
    on_row = (asked - both.issuer - both.network).abs()
    on_record = (asked - both.record_issuer - both.record_network).abs()
    nearer = on_record < on_row  # NULL, where the amounts are the same, is not nearer
    return both.mutate(
        issuer=ibis.ifelse(nearer, both.record_issuer, both.issuer),
        network=ibis.ifelse(nearer, both.record_network, both.network),
    )[[*_COSTED, *PARTS]]


@cache
def _sums() -> "ir.Table":
    """(total, currency, amount) of what was booked."""
    discounts = table_named("merchant_fees", schema_of(MerchantFee))
    costs = table_named("network_costs", schema_of(NetworkCost))
    currencies = priced_table().select("key", "currency")
    lines = []
    for name, facts, column in (
        ("discount", discounts, "discount_minor"),
        ("issuer_fee", costs, "issuer_minor"),
        ("network_fee", costs, "network_minor"),
    ):
        known = facts.join(currencies, "key")
        sums = known.group_by("currency").agg(amount=exact(known[column].sum()))
        lines.append(sums.select("currency", "amount", name=ibis.literal(name)))
    every = ibis.union(*lines)
    return every.select("name", "currency", "amount").order_by("name", "currency")


# -- breaks ---------------------------------------------------------------------------------------


async def _breaks(run: Run) -> list[Break]:
    found = [NetworkCost(**line) for line in run.engine.table(unbooked_costs()).to_pylist()]
    records = await run.store.records_by_key([cost.key for cost in found])
    rows = await run.store.rows_by_id([cost.row for cost in found])
    sums = {key: of for key, *of in run.engine.rows(_unbooked_sums())} if found else {}
    breaks = []
    for cost in found:
        ours = cost.issuer_ours_minor + cost.network_ours_minor
        theirs = ours + cost.difference_minor
        record, row = records[cost.key], rows[cost.row]
        match, rule = (str(one) for one in sums.get(cost.key, ("", "")))
        one = break_of(run.date, "fee_mismatch", record, row, ours, theirs, rule)
        breaks.append(
            msgspec.structs.replace(
                one,
                step="fees",
                difference_minor=-cost.excess_minor,
                evidence=one.evidence | ({"match": match} if match else {}),
            )
        )
    return number(breaks, run.date, "F")


@cache
def unbooked_costs() -> "ir.Table":
    """Costs of which not all was booked."""
    costs = table_named("network_costs", schema_of(NetworkCost))
    asked = costs.issuer_file_minor.fill_null(costs.issuer_ours_minor) + (
        costs.network_file_minor.fill_null(costs.network_ours_minor)
    )
    unbooked = costs.filter(asked != costs.issuer_minor + costs.network_minor)
    return unbooked.order_by(number_of(unbooked.key))


@cache
def _unbooked_sums() -> "ir.Table":
    """(record, match, rule) of those that stand for a match of one with several."""
    members = members_table()
    ours = members.filter(members.side == "ours")
    found = ours.semi_join(unbooked_costs(), ours.member == unbooked_costs().key)
    return found.select("member", "match_id", "rule").order_by("member")
