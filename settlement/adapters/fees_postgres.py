"""`settlement.fee_book.FeeBook` and the keys of evidence on PostgreSQL."""

from collections.abc import Callable, Collection
from datetime import date
from typing import Any, Final, TypeVar

import asyncpg
import msgspec

from settlement.fee_book import AgentLine, CostLine, DiscountLine
from settlement.fees import month_start
from settlement.shares import RecordShare, ShareLine

Struct = TypeVar("Struct", bound=msgspec.Struct)

SHARE_COLUMNS: Final = ", ".join(RecordShare.__struct_fields__)
_NULL: Final = "\\N"  # no cell is null; without another word for it empty cells would be quoted

# The columns of `fee_book.DETAIL`; text that a spreadsheet would run is marked as text.
_DETAIL: Final = """
SELECT r.business_date, r.settlement_date, {merchant}, {terminal}, to_char(r.batch, 'FM000000'),
    to_char(r.stan, 'FM000000'), {rrn}, r.type, r.pan_masked, r.card_type, {acquirer}, r.currency,
    r.effect_minor, f.discount_minor, r.effect_minor - f.discount_minor,
    {plan}, coalesce(m.match_class, 'open'), coalesce(m.rule || '/' || m.rule_version, '')
FROM settlement.clearing_record AS r
JOIN settlement.merchant_fee AS f USING (key)
LEFT JOIN settlement.match AS m
    ON m.record = r.key AND m.business_date = r.business_date
WHERE r.business_date = $1 AND r.effect_minor <> 0 AND ($2 = '' OR r.merchant = $2)
ORDER BY r.merchant, r.terminal, r.batch, r.stan, substr(r.key, 2)::bigint
"""


def _as_text(cell: str) -> str:
    return f"CASE WHEN left({cell}, 1) IN ('=', '+', '-', '@', chr(9)) THEN '''' || {cell} ELSE {cell} END"


DETAIL_QUERY: Final = _DETAIL.format(
    merchant=_as_text("r.merchant"),
    terminal=_as_text("r.terminal"),
    rrn=_as_text("r.rrn"),
    acquirer=_as_text("r.acquirer"),
    plan=_as_text("(f.plan || '/' || f.plan_version)"),
)


class PostgresFeeBook:
    """Over a pool that its owner closes."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def _read(self, shape: type[Struct], query: str, *values: object) -> list[Struct]:
        return [shape(**row) for row in await self._pool.fetch(query, *values)]

    async def month_volumes(self, business_date: date) -> dict[tuple[str, str], int]:
        rows = await self._pool.fetch(
            "SELECT merchant, currency, sum(gross_minor + taken_back_minor)::bigint AS volume "
            "FROM settlement.net WHERE business_date >= $1 AND business_date < $2 "
            "GROUP BY merchant, currency ORDER BY merchant, currency",
            month_start(business_date),
            business_date,
        )
        return {(row["merchant"], row["currency"]): row["volume"] for row in rows}

    async def shares(self, business_date: date) -> list[RecordShare]:
        rows = await self._pool.fetch(
            f"SELECT {SHARE_COLUMNS} FROM settlement.agent_share "  # noqa: S608 - our columns
            "WHERE business_date = $1 ORDER BY substr(key, 2)::bigint",
            business_date,
        )
        return [_share(row) for row in rows]

    async def shares_by_key(self, keys: Collection[str]) -> dict[str, RecordShare]:
        rows = await self._pool.fetch(
            f"SELECT {SHARE_COLUMNS} FROM settlement.agent_share "  # noqa: S608 - our columns
            "WHERE key = ANY ($1::text[]) ORDER BY key",
            sorted(set(keys)),
        )
        return {row["key"]: _share(row) for row in rows}

    async def share_lines(self, agent: str, first: date, last: date) -> list[ShareLine]:
        found = await self._read(
            ShareLine,
            "SELECT s.business_date, s.merchant, s.currency, count(*) AS count, "
            "sum(p.share)::bigint AS share_minor FROM settlement.agent_share AS s, "
            "unnest(s.agents, s.shares_minor) AS p (agent, share) "
            "WHERE s.business_date BETWEEN $2 AND $3 AND p.agent = $1 GROUP BY 1, 2, 3",
            agent,
            first,
            last,
        )
        return sorted(found)

    async def agent_lines(self, business_date: date) -> list[AgentLine]:
        found = await self._read(
            AgentLine,
            "SELECT p.agent, s.currency, count(*) AS count, sum(p.share)::bigint AS share_minor "
            "FROM settlement.agent_share AS s, unnest(s.agents, s.shares_minor) AS p (agent, share) "
            "WHERE s.business_date = $1 GROUP BY 1, 2",
            business_date,
        )
        return sorted(found)

    async def discount_lines(self, business_date: date) -> list[DiscountLine]:
        found = await self._read(
            DiscountLine,
            "SELECT f.plan, f.plan_version, f.card_type, r.currency, count(*) AS count, "
            "sum(r.effect_minor)::bigint AS effect_minor, "
            "sum(f.discount_minor)::bigint AS discount_minor "
            "FROM settlement.merchant_fee AS f JOIN settlement.clearing_record AS r USING (key) "
            "WHERE f.business_date = $1 GROUP BY 1, 2, 3, 4",
            business_date,
        )
        return sorted(found)

    async def cost_lines(self, business_date: date) -> list[CostLine]:
        found = await self._read(
            CostLine,
            # a row's id is acquirer/file/version:line
            "SELECT r.acquirer, split_part(substr(c.row, length(r.acquirer) + 2), '/', 1) AS file, "
            "c.plan, c.plan_version, r.currency, count(*) AS count, "
            "count(*) FILTER (WHERE coalesce(c.issuer_file_minor, c.issuer_ours_minor) "
            "+ coalesce(c.network_file_minor, c.network_ours_minor) "
            "<> c.issuer_ours_minor + c.network_ours_minor) AS differing, "
            "sum(c.issuer_ours_minor)::bigint AS issuer_ours_minor, "
            "sum(coalesce(c.issuer_file_minor, c.issuer_ours_minor))::bigint AS issuer_file_minor, "
            "sum(c.issuer_minor)::bigint AS issuer_minor, "
            "sum(c.network_ours_minor)::bigint AS network_ours_minor, "
            "sum(coalesce(c.network_file_minor, c.network_ours_minor))::bigint AS network_file_minor, "
            "sum(c.network_minor)::bigint AS network_minor "
            "FROM settlement.network_cost AS c JOIN settlement.clearing_record AS r USING (key) "
            "WHERE c.business_date = $1 GROUP BY 1, 2, 3, 4, 5",
            business_date,
        )
        return sorted(found)

    async def detail(
        self, business_date: date, write: Callable[[bytes], None], merchant: str = ""
    ) -> None:
        async def take(piece: bytes) -> None:
            write(piece)

        async with self._pool.acquire() as connection:
            await connection.copy_from_query(
                DETAIL_QUERY, business_date, merchant, output=take, format="csv", null=_NULL
            )


def _share(row: Any) -> RecordShare:
    lists = ("agents", "versions", "terms", "shares_minor")
    return RecordShare(**{**row, **{name: tuple(row[name]) for name in lists}})
