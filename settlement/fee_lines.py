"""The fee lines of a date's reports out of the relations of its run: `FeeBook`'s lines, without the store."""

from functools import cache
from typing import TYPE_CHECKING, Any, cast

from settlement.charges import load_matched, subjects
from settlement.columns import schema_of
from settlement.fee_book import CostLine, DiscountLine
from settlement.fees import MerchantFee, NetworkCost
from settlement.records import exact, records_table, table_named
from settlement.run import Run, extract

if TYPE_CHECKING:
    import ibis.expr.types as ir  # type: ignore[import-untyped]


async def discount_lines(run: Run) -> list[DiscountLine]:
    await extract(run, "records")
    await extract(run, "merchant_fees")
    return [DiscountLine(*cast("Any", line)) for line in run.engine.rows(_discounts())]


async def cost_lines(run: Run) -> list[CostLine]:
    for name in ("records", "matches", "network_costs"):
        await extract(run, name)
    await load_matched(run)
    return [CostLine(*cast("Any", line)) for line in run.engine.rows(_costs())]


@cache
def _discounts() -> "ir.Table":
    fees = table_named("merchant_fees", schema_of(MerchantFee))
    records = records_table("records").select("key", "currency", "effect_minor")
    known = fees.join(records, "key")
    names = ["plan", "plan_version", "card_type", "currency"]
    return (
        known.group_by(names)
        .agg(
            count=known.count(),
            effect=exact(known.effect_minor.sum()),
            discount=exact(known.discount_minor.sum()),
        )
        .order_by(names)
    )


@cache
def _costs() -> "ir.Table":
    costs = table_named("network_costs", schema_of(NetworkCost))
    known = costs.join(subjects().select("key", "acquirer", "currency"), "key")
    # a row's id is acquirer/file/version:line
    rest = known.row.substr(known.acquirer.length() + 1)
    issuer = known.issuer_file_minor.fill_null(known.issuer_ours_minor)
    network = known.network_file_minor.fill_null(known.network_ours_minor)
    differs = issuer + network != known.issuer_ours_minor + known.network_ours_minor
    known = known.mutate(
        file=rest.split("/")[0], issuer_file=issuer, network_file=network, differs=differs
    )
    names = ["acquirer", "file", "plan", "plan_version", "currency"]
    return (
        known.group_by(names)
        .agg(
            count=known.count(),
            differing=known.differs.sum(),
            issuer_ours=exact(known.issuer_ours_minor.sum()),
            issuer_file_sum=exact(known.issuer_file.sum()),
            issuer=exact(known.issuer_minor.sum()),
            network_ours=exact(known.network_ours_minor.sum()),
            network_file_sum=exact(known.network_file.sum()),
            network=exact(known.network_minor.sum()),
        )
        .order_by(names)
    )
