"""The switch's store on PostgreSQL. `PostgresStore.open(dsn, clock)` has every port of it.

Reading order: `schema/0001_journal.sql` (the facts), `0020_flush.sql` (one call a flush),
`writer.py` (group commit), `decisions.py`, then the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from switch.adapters.postgres.batches import PostgresBatches
from switch.adapters.postgres.connections import PEER, Peer, connect
from switch.adapters.postgres.downloads import PostgresDownloads
from switch.adapters.postgres.journal import PostgresJournal, PostgresQueue
from switch.adapters.postgres.key_custody import PostgresKeyCustody
from switch.adapters.postgres.key_exchange import PostgresKeyExchanges
from switch.adapters.postgres.link_facts import PostgresLinkFacts
from switch.adapters.postgres.numbers import (
    LEASE_S,
    PostgresDays,
    PostgresNumbers,
    PostgresOwners,
)
from switch.adapters.postgres.reference import PostgresReference
from switch.adapters.postgres.risk import PostgresRisk
from switch.adapters.postgres.sessions import Sessions
from switch.adapters.postgres.writer import GROUP_MAX, WAITING_MAX, Writer
from switch.adapters.servers import Servers

if TYPE_CHECKING:
    from switch.ports import Clock

POOL_SIZE = 3
IDLE_S = (
    10.0  # that a decision may stand still: its process is paused, and others wait for its locks
)


class PostgresStore:
    """All ports of one process on one database."""

    def __init__(
        self,
        dsn: str,
        clock: Clock,
        *,
        pool_size: int = POOL_SIZE,
        peer: Peer = PEER,
        group_max: int = GROUP_MAX,
        queue_max: int = WAITING_MAX,
        lease_s: float = LEASE_S,
    ) -> None:
        servers = Servers(dsn)
        self.writer = Writer(
            lambda: connect(servers, "tongbao journal", peer),
            group_max=group_max,
            queue_max=queue_max,
        )
        self.sessions = Sessions(servers, "tongbao", pool_size, peer, idle_s=IDLE_S)
        # Leases and numbers are what the process lives by: no crowd of decisions may come before
        # them. Their statements are short, and one connection answers them in turn.
        self.leases = Sessions(servers, "tongbao leases", 1, peer)
        self.journal = PostgresJournal(self.sessions, self.writer)
        self.numbers = PostgresNumbers(self.leases)
        self.owners = PostgresOwners(self.leases, self.sessions, lease_s)
        self.queue = PostgresQueue(self.leases, self.sessions, self.writer, clock, lease_s)
        self.batches = PostgresBatches(self.sessions, self.writer.next_commit_id)
        self.downloads = PostgresDownloads(self.sessions)
        self.days = PostgresDays(self.sessions)
        self.reference = PostgresReference(self.sessions)
        self.custody = PostgresKeyCustody(self.sessions)
        self.risk = PostgresRisk(self.sessions)
        self.link_facts = PostgresLinkFacts(self.sessions)
        self.key_exchanges = PostgresKeyExchanges(self.sessions)

    @classmethod
    async def open(
        cls,
        dsn: str,
        clock: Clock,
        *,
        pool_size: int = POOL_SIZE,
        peer: Peer = PEER,
        group_max: int = GROUP_MAX,
        queue_max: int = WAITING_MAX,
        lease_s: float = LEASE_S,
    ) -> PostgresStore:
        """Connect the writer. Raises what `Servers.connect` does where no primary is there."""
        store = cls(
            dsn,
            clock,
            pool_size=pool_size,
            peer=peer,
            group_max=group_max,
            queue_max=queue_max,
            lease_s=lease_s,
        )
        await store.writer.open()
        return store

    async def close(self) -> None:
        """Answer what was asked, then disconnect."""
        await self.writer.close()
        await self.sessions.close()
        await self.leases.close()
