"""What terminals have downloaded, in PostgreSQL: `store_ports.Downloads`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from switch.store_ports import DownloadFact, KeptDownload

if TYPE_CHECKING:
    from collections.abc import Callable

    from switch.adapters.postgres.sessions import Sessions

# Writers of one terminal's facts, one after the other; another key than that of its batches.
_LOCK = "SELECT pg_advisory_xact_lock(8591, hashtext($1 || '/' || $2))"

_FACT = ", ".join(DownloadFact.__struct_fields__)
_OTHERS = [name for name in DownloadFact.__struct_fields__ if name != "shown"]

_NEWEST = f"""
    SELECT {_FACT} FROM switch.download
    WHERE merchant = $1 AND terminal = $2 AND topic = $3 ORDER BY download_id DESC LIMIT 1
"""  # noqa: S608 # constants

# An address that has sent a verified MAC since has shown itself.
_KEPT = f"""
    SELECT merchant, terminal, download_id, at, {", ".join(_OTHERS)},
           shown OR EXISTS (SELECT FROM switch.source AS s
                            WHERE (s.merchant, s.terminal, s.address)
                                = (newest.merchant, newest.terminal, newest.address)) AS shown
    FROM (
        SELECT DISTINCT ON (merchant, terminal, topic, act = 'ended', shown) * FROM switch.download
        WHERE $1::text IS NULL OR (merchant = $1 AND terminal = $2)
        ORDER BY merchant, terminal, topic, act = 'ended', shown, download_id DESC) AS newest
    ORDER BY merchant, terminal, download_id
"""  # noqa: S608


class PostgresDownloads:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def of(self, merchant: str, terminal: str) -> list[KeptDownload]:
        return [_kept(row) for row in await self._sessions.rows(_KEPT, merchant, terminal)]

    async def every(self) -> dict[tuple[str, str], list[KeptDownload]]:
        found: dict[tuple[str, str], list[KeptDownload]] = {}
        for row in await self._sessions.rows(_KEPT, None, None):
            found.setdefault((row["merchant"], row["terminal"]), []).append(_kept(row))
        return found

    async def step(
        self,
        merchant: str,
        terminal: str,
        topic: str,
        judge: Callable[[DownloadFact | None], DownloadFact | None],
    ) -> DownloadFact | None:
        async def write(connection: Any) -> DownloadFact | None:
            await connection.execute(_LOCK, merchant, terminal)
            row = await connection.fetchrow(_NEWEST, merchant, terminal, topic)
            fact = judge(None if row is None else _fact(row))
            if fact is not None:
                await connection.execute(
                    "INSERT INTO switch.download (merchant, terminal, topic, act, version, source,"
                    " stan, address, shown, detail) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                    merchant,
                    terminal,
                    fact.topic,
                    fact.act,
                    fact.version,
                    fact.source,
                    fact.stan,
                    fact.address,
                    fact.shown,
                    fact.detail,
                )
            return fact

        return await self._sessions.transaction(write)


def _kept(row: Any) -> KeptDownload:
    return KeptDownload(row["download_id"], _fact(row), row["at"])


def _fact(row: Any) -> DownloadFact:
    return DownloadFact(**{name: row[name] for name in DownloadFact.__struct_fields__})
