"""`settlement.fee_book.FeeBook` over the store in memory."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from datetime import date
from typing import TYPE_CHECKING

from settlement.clearing import ClearingRecord
from settlement.fee_book import AgentLine, CostLine, DiscountLine
from settlement.fees import NetworkCost, month_start
from settlement.reports.csv import lines
from settlement.shares import RecordShare, ShareLine

if TYPE_CHECKING:
    from settlement.adapters.memory import MemoryStore


class MemoryFeeBook:
    def __init__(self, store: "MemoryStore") -> None:
        self._store = store
        self.stored: dict[str, RecordShare] = {}

    def add(self, shares: Collection[RecordShare]) -> None:
        for one in shares:
            assert one.key not in self.stored
            self.stored[one.key] = one

    async def month_volumes(self, business_date: date) -> dict[tuple[str, str], int]:
        sums: Counter[tuple[str, str]] = Counter()
        day = month_start(business_date)
        while day < business_date:
            for net in await self._store.nets(day):
                sums[net.merchant, net.currency] += net.gross_minor + net.taken_back_minor
            day = date.fromordinal(day.toordinal() + 1)
        return {key: sums[key] for key in sorted(sums)}

    async def shares(self, business_date: date) -> list[RecordShare]:
        found = [one for one in self.stored.values() if one.business_date == business_date]
        return sorted(found, key=lambda one: int(one.key[1:]))

    async def shares_by_key(self, keys: Collection[str]) -> dict[str, RecordShare]:
        return {key: self.stored[key] for key in sorted(set(keys)) if key in self.stored}

    async def share_lines(self, agent: str, first: date, last: date) -> list[ShareLine]:
        sums: dict[tuple[date, str, str], list[int]] = {}
        for one in self.stored.values():
            for name, share in zip(one.agents, one.shares_minor, strict=True):
                if name == agent and first <= one.business_date <= last:
                    key = (one.business_date, one.merchant, one.currency)
                    _add(sums.setdefault(key, [0, 0]), 1, share)
        return sorted(ShareLine(*key, *line) for key, line in sums.items())

    async def agent_lines(self, business_date: date) -> list[AgentLine]:
        sums: dict[tuple[str, str], list[int]] = {}
        for one in await self.shares(business_date):
            for agent, share in zip(one.agents, one.shares_minor, strict=True):
                _add(sums.setdefault((agent, one.currency), [0, 0]), 1, share)
        return sorted(AgentLine(*key, *line) for key, line in sums.items())

    async def discount_lines(self, business_date: date) -> list[DiscountLine]:
        fees = await self._store.merchant_fees(business_date)
        records = await self._store.records_by_key([fee.key for fee in fees])
        sums: dict[tuple[str, int, str, str], list[int]] = {}
        for fee in fees:
            record = records[fee.key]
            key = (fee.plan, fee.plan_version, fee.card_type, record.currency)
            _add(sums.setdefault(key, [0, 0, 0]), 1, record.effect_minor, fee.discount_minor)
        return sorted(DiscountLine(*key, *line) for key, line in sums.items())

    async def cost_lines(self, business_date: date) -> list[CostLine]:
        costs = await self._store.network_costs(business_date)
        records = await self._store.records_by_key([cost.key for cost in costs])
        sums: dict[tuple[str, str, str, int, str], list[int]] = {}
        for cost in costs:
            record = records[cost.key]
            file = cost.row.removeprefix(f"{record.acquirer}/").partition("/")[0]
            key = (record.acquirer, file, cost.plan, cost.plan_version, record.currency)
            _add(sums.setdefault(key, [0] * 8), *_figures(cost))
        return sorted(CostLine(*key, *line) for key, line in sums.items())

    async def detail(
        self, business_date: date, write: Callable[[bytes], None], merchant: str = ""
    ) -> None:
        fees = {fee.key: fee for fee in await self._store.merchant_fees(business_date)}
        matches = {one.record: one for one in await self._store.matches(business_date)}
        records = [
            record
            for record in await self._store.records(business_date)
            if record.captured and merchant in ("", record.merchant)
        ]

        def cells() -> Iterator[tuple[object, ...]]:
            for record in sorted(records, key=_order):
                fee, match = fees[record.key], matches.get(record.key)
                yield (
                    record.business_date,
                    record.settlement_date,
                    record.merchant,
                    record.terminal,
                    f"{record.batch:06d}",
                    f"{record.stan:06d}",
                    record.rrn,
                    record.type,
                    record.pan_masked,
                    record.card_type,
                    record.acquirer,
                    record.currency,
                    record.effect_minor,
                    fee.discount_minor,
                    record.effect_minor - fee.discount_minor,
                    f"{fee.plan}/{fee.plan_version}",
                    match.match_class if match else "open",
                    f"{match.rule}/{match.rule_version}" if match else "",
                )

        for line in lines(cells()):
            write(line)


def _order(record: ClearingRecord) -> tuple[str, str, int, int, int]:
    return (record.merchant, record.terminal, record.batch, record.stan, int(record.key[1:]))


def _figures(cost: NetworkCost) -> tuple[int, ...]:
    issuer, network = cost.issuer_file_minor, cost.network_file_minor
    return (
        1,
        int(cost.difference_minor != 0),
        cost.issuer_ours_minor,
        cost.issuer_ours_minor if issuer is None else issuer,
        cost.issuer_minor,
        cost.network_ours_minor,
        cost.network_ours_minor if network is None else network,
        cost.network_minor,
    )


def _add(line: list[int], *figures: int) -> None:
    for index, figure in enumerate(figures):
        line[index] += figure
