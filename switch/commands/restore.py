"""`tongbao restore DIR`: an empty node becomes the one of the backup. It never writes over anything.

The data folder is marked before the first file goes in, and the mark goes last: nothing serves from a restore
that was broken off, and the same command again begins anew. The database comes in one transaction.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from switch.adapters.embedded_postgres import EmbeddedPostgres
from switch.adapters.postgres.dump import (
    SKIP_OTHERS,
    SKIP_REQUESTS,
    ToolError,
    go_on_after,
    is_empty,
    load,
)
from switch.adapters.postgres_place import DATABASE, OWNER, EmbeddedPostgresError
from switch.adapters.schema_runner import find_migrations
from switch.adapters.system import SystemClock
from switch.commands.backup import checked, tool_failed
from switch.commands.common import (
    CommandError,
    Exit,
    print_line,
    print_object,
    print_progress,
    quiet_logs,
)
from switch.logs import mask_text
from switch.upkeep import manifest as manifests

if TYPE_CHECKING:
    from collections.abc import Iterator

    from switch.commands.common import Node
    from switch.upkeep.manifest import Manifest


def run(node: Node, source: Path, *, verify_only: bool, as_json: bool) -> int:
    clock = SystemClock()
    began_ns = clock.monotonic_ns()
    manifest = checked(node, source)
    if verify_only:
        said = node.say("backup_good", path=source, files=len(manifest.files), at=manifest.at)
        if as_json:
            print_object({"path": str(source), "at": manifest.at, "files": len(manifest.files)})
        else:
            print_line(said)
        return Exit.DONE
    known = {str(migration) for migration in find_migrations()}
    unknown = [name for name in manifest.schema if name not in known]
    if unknown:
        raise CommandError(node.say("restore_newer", found=unknown[0], version=manifest.version))
    quiet_logs()
    requests = restore(node, source, manifest)
    seconds = (clock.monotonic_ns() - began_ns) / 1e9
    facts = {
        "data": node.config.data,
        "at": manifest.at,
        "requests": requests,
        "tables": len(manifest.tables),
        "files": len(manifest.files) - 1,
        "audit_anchor": manifest.audit_anchor,
        "ledger_anchor": manifest.ledger_anchor,
        "seconds": round(seconds, 3),
    }
    if as_json:
        print_object(facts)
    else:
        print_line(
            node.say(
                "restore_done",
                path=node.config.data,
                at=manifest.at,
                requests=requests,
                files=facts["files"],
                seconds=seconds,
            )
        )
    return Exit.DONE


def restore(node: Node, source: Path, manifest: Manifest) -> int:
    """How many requests there are."""
    data = node.config.data_folder
    mark = data / manifests.RESTORING
    again = mark.exists()
    if not again and data.exists() and any(data.iterdir()):
        raise CommandError(node.say("restore_not_empty", what=data), Exit.USAGE)
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    mark.touch(mode=0o600)
    for path in data.iterdir():  # of a restore that was broken off
        if path.is_dir() and path.name != "postgres":
            shutil.rmtree(path)
    prefix = f"{manifests.FILES}/"
    for file in manifest.files:
        if file.name.startswith(prefix):
            copied = manifests.copy(
                source / file.name, data / file.name.removeprefix(prefix), file.name
            )
            if copied != file:
                raise CommandError(node.say("backup_bad", what=file.name))
    with database(node, again=again) as dsn_owner:
        if not asyncio.run(is_empty(dsn_owner)):
            mark.unlink()
            raise CommandError(node.say("restore_not_empty", what=mask_text(dsn_owner)), Exit.USAGE)
        print_progress(node.say("restore_database"))
        postgres_bin = Path(node.config.postgres.bin) if node.config.postgres.bin else None
        try:
            tables = asyncio.run(load(dsn_owner, source / manifests.DUMP, postgres_bin))
        except ToolError as error:
            raise tool_failed(node, error) from error
        before = {table.name: table for table in manifest.tables}
        for table in tables:
            if before.pop(table.name, None) != table:
                raise CommandError(node.say("backup_bad", what=table.name))
        if before:
            raise CommandError(node.say("backup_bad", what=", ".join(before)))
        detail = json.dumps(
            {"at": manifest.at, "node": manifest.node, "version": manifest.version},
            sort_keys=True,
            separators=(",", ":"),
        )
        requests = asyncio.run(go_on_after(dsn_owner, node.config.node, detail))
        print_progress(node.say("restore_skipped", requests=SKIP_REQUESTS, others=SKIP_OTHERS))
    mark.unlink()
    return requests


@contextmanager
def database(node: Node, *, again: bool) -> Iterator[str]:
    """The owner's DSN of the database to fill: nothing is made in it but what the dump brings.

    `again`: what a restore that was broken off has left in an embedded one is dropped.
    """
    config = node.config
    if config.database.dsn:
        yield config.database.owner_dsn or config.database.dsn
        return
    try:
        server = EmbeddedPostgres.start(
            config.data_folder,
            postgres_bin=Path(config.postgres.bin) if config.postgres.bin else None,
            fsync=config.postgres.fsync,
            service_user=config.postgres.user,
        )
    except (EmbeddedPostgresError, OSError) as error:
        raise CommandError(node.say("store_failed", reason=error)) from error
    with server:
        if again:
            server.drop_database(DATABASE)
            server.create_database(DATABASE)
        yield server.dsn(OWNER)
