"""PostgreSQL as a node or a command uses it: found or started, and at the schema of this tree."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import structlog

from hsm.local import LocalVault
from switch import data_keys, logs, vaults
from switch.adapters.embedded_postgres import EmbeddedPostgres
from switch.adapters.postgres.people import PostgresPeople
from switch.adapters.postgres.reference import PostgresReference
from switch.adapters.postgres.sessions import Sessions, when_it_answers
from switch.adapters.postgres_place import APP, OWNER, READER, EmbeddedPostgresError
from switch.adapters.schema_runner import SchemaError, migrate
from switch.adapters.servers import Servers
from switch.adapters.system import SystemEntropy
from switch.reference import NODE
from switch.texts import say
from switch.upkeep.manifest import RESTORING

if TYPE_CHECKING:
    from hsm.lmk import Lmk
    from switch.config import Config, Hsm


class StoreError(Exception):
    """The store can not be used; the text is for the operator."""


class Store:
    """The embedded server (adopted while it runs, else started), or the one that the DSN names.

    Plain and blocking: it is made before there is a loop. Closing gives the embedded server back,
    which stops it unless another process uses it.
    """

    def __init__(self, config: Config, language: str, *, wait_s: float = 0.0) -> None:
        """`wait_s`: for a server that is away or starting, told on stderr; then `StoreError`."""
        self._language = language
        self.embedded: EmbeddedPostgres | None = None
        database, postgres = config.database, config.postgres
        if (config.data_folder / RESTORING).exists():
            raise StoreError(say("restore_unfinished", language, path=config.data_folder))
        try:
            if not database.dsn:
                self.embedded = EmbeddedPostgres.start(
                    config.data_folder,
                    postgres_bin=Path(postgres.bin) if postgres.bin else None,
                    fsync=postgres.fsync,
                    service_user=postgres.user,
                )
            self.dsn = self.embedded.dsn(APP) if self.embedded else database.dsn
            self.owner_dsn = (
                self.embedded.dsn(OWNER) if self.embedded else database.owner_dsn or self.dsn
            )
            for migration in asyncio.run(
                when_it_answers(lambda: migrate(self.owner_dsn), wait_s, self._wait)
            ):
                structlog.get_logger().info("schema_migrated", file=str(migration))
        except (EmbeddedPostgresError, SchemaError, OSError) as error:
            self.close()
            raise StoreError(say("store_failed", language, reason=error)) from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait(self, reason: str) -> None:
        sys.stderr.write(say("store_awaited", self._language, reason=reason) + "\n")
        sys.stderr.flush()

    def close(self) -> None:
        if self.embedded is not None:
            self.embedded.stop()

    def facts(self) -> dict[str, Any]:
        """For the ready file: how to read the store. A server's password stays out."""
        if self.embedded is None:
            return {"dsn": logs.mask_text(self.dsn), "embedded": False}
        return {
            "dsn": self.dsn,
            "reader_dsn": self.embedded.dsn(READER),
            "owner_dsn": self.embedded.dsn(OWNER),
            "embedded": True,
        }


async def record_of_node(dsn: str, node: str, act: str, facts: dict[str, object]) -> None:
    """Into the audit log: what a node does as itself, with no operator. Raises `StoreDownError`."""
    sessions = Sessions(Servers(dsn), "tongbao node", 1)
    try:
        await PostgresPeople(sessions).audit(NODE, act, node, after=facts)
    finally:
        await sessions.close()


async def check_vault(dsn: str, settings: Hsm, language: str) -> None:
    """Can the node's vault serve what the store names? Raises `vaults.VaultUnusableError`."""
    sessions = Sessions(Servers(dsn), "tongbao vault", 1)
    try:
        snapshot = await PostgresReference(sessions).snapshot()
    finally:
        await sessions.close()
    await vaults.check(settings, snapshot, language)


async def prepare_data_keys(dsn: str, lmk: Lmk) -> None:
    """The data keys of a node that starts, made before its workers, which then find them."""
    sessions = Sessions(Servers(dsn), "tongbao data keys", 1)
    try:
        await data_keys.ensure(PostgresReference(sessions), LocalVault(lmk, SystemEntropy().bytes))
    finally:
        await sessions.close()
