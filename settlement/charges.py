"""The day's fees: our discount on every record, the networks' fees beside ours."""

from datetime import date
from typing import Final

import msgspec

from settlement.clearing import ClearingRecord, ClearingRow
from settlement.fees import MerchantFee, NetworkCost, Plan, Tariffs, entry_class
from settlement.ports import Facts
from settlement.reconcile import Match, break_of
from settlement.run import Run, in_minor, number
from settlement.settings import Settings
from settlement.shares import RecordShare, Volumes, shares_of

Chains = dict[int, list[ClearingRecord]]
NO_VOLUMES: Final[Volumes] = {}


async def fees(run: Run) -> tuple[Facts, dict[str, int]]:
    records = [record for record in await run.store.records(run.date) if record.captured]
    matches = await run.store.matches(run.date)
    matched = await _costed(run, matches)
    chains = await _chains(run, [*records, *(record for record, _ in matched)])
    volumes = await _volumes(run, chains)
    discounts = merchant_fees(run.date, records, chains, run.tariffs, volumes)
    costs = network_costs(run.date, matched, chains, run.tariffs, run.settings)
    shares = shares_of(
        run.date, records, chains, run.tariffs, await _earlier_shares(run, chains), volumes
    )
    by_key = {record.key: (record, row) for record, row in matched}
    currency = {r.key: r.currency for r in (*records, *(record for record, _ in matched))}
    breaks = []
    for cost in costs:
        if cost.excess_minor:
            record, row = by_key[cost.key]
            ours = cost.issuer_ours_minor + cost.network_ours_minor
            theirs = ours + cost.difference_minor
            found = break_of(run.date, "fee_mismatch", record, row, ours, theirs, "")
            breaks.append(
                msgspec.structs.replace(found, step="fees", difference_minor=-cost.excess_minor)
            )
    return Facts(
        merchant_fees=discounts,
        network_costs=costs,
        agent_shares=shares,
        breaks=number(breaks, run.date, "F"),
    ), {
        **in_minor("discount", ((currency[d.key], d.discount_minor) for d in discounts), run.home),
        **in_minor("issuer_fee", ((currency[c.key], c.issuer_minor) for c in costs), run.home),
        **in_minor("network_fee", ((currency[c.key], c.network_minor) for c in costs), run.home),
        **in_minor("agent_share", ((s.currency, sum(s.shares_minor)) for s in shares), run.home),
        "fee_mismatch": len(breaks),
    }


async def _volumes(run: Run, chains: Chains) -> Volumes:
    """The turnovers of the months in which the chains' sales stand; none where no plan asks."""
    if not run.tariffs.asks_volumes:
        return {}
    book = run.store.fee_book()
    return {
        (day, *of): volume
        for day in sorted({chain[0].business_date for chain in chains.values()})
        for of, volume in (await book.month_volumes(day)).items()
    }


async def _earlier_shares(run: Run, chains: Chains) -> dict[str, RecordShare]:
    sales = [chain[0] for chain in chains.values()]
    keys = [sale.key for sale in sales if sale.business_date < run.date]
    return await run.store.fee_book().shares_by_key(keys)


async def _costed(run: Run, matches: list[Match]) -> list[tuple[ClearingRecord, ClearingRow]]:
    """Pairs whose file row bears a fee: a captured record with a billed row, by record."""
    wanted = [
        match
        for match in matches
        if match.record.startswith("c")
        and match.row
        and match.match_class in ("matched", "cutoff_shift", "amount_mismatch")
    ]
    records = await run.store.records_by_key([match.record for match in wanted])
    rows = await run.store.rows_by_id([match.row for match in wanted])
    return [(records[match.record], rows[match.row]) for match in wanted]


async def _chains(run: Run, records: list[ClearingRecord]) -> Chains:
    """The captured records of every chain, oldest first."""
    follow_up = {
        record.root_request_id
        for record in records
        if record.request_id != record.root_request_id or record.state == "opposite"
    }
    known = {record.key: record for record in records}
    known |= {record.key: record for record in await run.store.records_by_root(sorted(follow_up))}
    chains: Chains = {}
    for record in sorted(known.values(), key=_age):
        chains.setdefault(record.root_request_id, []).append(record)
    return chains


def _age(record: ClearingRecord) -> tuple[date, bool, bool, str, int]:
    """A chain's sale first, its linked opposites last, between them by DE 7. Request ids are given
    out in blocks to each process, so a refund's may well be below its sale's."""
    opposite = record.state == "opposite"
    return (
        record.business_date,
        record.request_id != record.root_request_id or opposite,
        opposite,
        record.transmission_time,
        int(record.key[1:]),
    )


def merchant_fees(
    business_date: date,
    records: list[ClearingRecord],
    chains: Chains,
    tariffs: Tariffs,
    volumes: Volumes = NO_VOLUMES,
) -> list[MerchantFee]:
    """Our discount on each record, by the plan and version of its chain's sale."""
    made: list[MerchantFee] = []
    for record in sorted(records, key=_age):
        sale, before = _before(record, chains)
        plan = tariffs.plan(sale.plan, sale.plan_version)
        after = before + record.effect_minor
        change = plan.change(
            "merchant_discount",
            before,
            after,
            sale.card_type,
            sale.mcc,
            refund=record.type == "refund",
            entry=entry_class(sale.entry_mode),
            volume_minor=plan.volume_step(
                volumes.get((sale.business_date, sale.merchant, sale.currency), 0)
            ),
        )
        made.append(
            MerchantFee(
                business_date,
                record.key,
                plan.name,
                plan.version,
                sale.card_type,
                before,
                after,
                change,
            )
        )
    return made


def _before(record: ClearingRecord, chains: Chains) -> tuple[ClearingRecord, int]:
    """The chain's sale, and the chain's net before the record."""
    chain = chains[record.root_request_id]
    older = chain[: next(i for i, one in enumerate(chain) if one.key == record.key)]
    return chain[0], sum(one.effect_minor for one in older)


def network_costs(
    business_date: date,
    matched: list[tuple[ClearingRecord, ClearingRow]],
    chains: Chains,
    tariffs: Tariffs,
    settings: Settings,
) -> list[NetworkCost]:
    """The file's fee within tolerance per row and file; else ours, and the rest is an excess."""
    made: list[tuple[str, NetworkCost]] = []
    differing: dict[str, int] = {}
    for record, row in sorted(matched, key=lambda pair: _age(pair[0])):
        sale, before = _before(record, chains)
        plan = tariffs.cost_plan(record.acquirer, sale.settlement_date)
        # Where the amounts differ the file's fee may be of either.
        issuer, network = min(
            (
                _fees_of(plan, record, sale, before, amount)
                for amount in (row.effect_minor, record.effect_minor)
            ),
            key=lambda ours, row=row: abs(row.fee_minor - sum(ours)),  # type: ignore[misc]
        )
        theirs = (
            issuer if row.issuer_fee_minor is None else row.issuer_fee_minor,
            network if row.network_fee_minor is None else row.network_fee_minor,
        )
        cost = NetworkCost(
            business_date=business_date,
            key=record.key,
            row=row.id,
            plan=plan.name,
            plan_version=plan.version,
            issuer_ours_minor=issuer,
            network_ours_minor=network,
            issuer_file_minor=row.issuer_fee_minor,
            network_file_minor=row.network_fee_minor,
            issuer_minor=theirs[0],
            network_minor=theirs[1],
        )
        file = f"{row.acquirer}/{row.file}"
        if abs(cost.difference_minor) > settings.fee_tolerance_row_minor:
            cost = _ours(cost)
        else:
            differing[file] = differing.get(file, 0) + abs(cost.difference_minor)
        made.append((file, cost))
    beyond = {f for f, total in differing.items() if total > settings.fee_tolerance_file_minor}
    return [_ours(cost) if file in beyond else cost for file, cost in made]


def _fees_of(
    plan: Plan, record: ClearingRecord, sale: ClearingRecord, before: int, amount: int
) -> tuple[int, int]:
    """Issuer's and network's fee of a record that moves its chain's net by `amount`."""
    issuer, network = (
        plan.change(
            part,
            before,
            before + amount,
            sale.card_type,
            sale.mcc,
            refund=record.type == "refund",
            entry=entry_class(sale.entry_mode),
        )
        for part in ("issuer", "network")
    )
    return issuer, network


def _ours(cost: NetworkCost) -> NetworkCost:
    return msgspec.structs.replace(
        cost, issuer_minor=cost.issuer_ours_minor, network_minor=cost.network_ours_minor
    )
