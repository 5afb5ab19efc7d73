"""`tongbao backup DIR`: one snapshot of the database, and the data folder's files, whole or not at all.

Files are copied after the snapshot was taken: what the database names is there by then, and is never changed.
The LMK and the settings are no part of it: who finds a backup must not find its key beside it.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from switch.adapters.postgres.dump import ToolError, note_backup, snapshot
from switch.adapters.system import SystemClock
from switch.commands.common import (
    CommandError,
    Exit,
    print_line,
    print_object,
    print_progress,
)
from switch.store import record_of_node
from switch.upkeep import manifest as manifests
from switch.upkeep.manifest import Manifest, ManifestError
from switch.version import version

if TYPE_CHECKING:
    from switch.commands.common import Node

MIB = 1 << 20


def run(node: Node, target: Path, *, as_json: bool) -> int:
    clock = SystemClock()
    began_ns = clock.monotonic_ns()
    target = target.absolute()
    if target.exists():
        raise CommandError(node.say("backup_exists", path=target), Exit.USAGE)
    partial = target.with_name(target.name + manifests.PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
    partial.mkdir(mode=0o700, parents=True)
    with node.store() as store:
        manifest = asyncio.run(write(node, store.owner_dsn, partial, version()))
        sha256 = manifests.write(partial, manifest)
        for folder in (partial, *(path for path in partial.rglob("*") if path.is_dir())):
            manifests.sync(folder)
        partial.rename(target)
        manifests.sync(target.parent)
        size = sum(file.size for file in manifest.files)
        facts = {"sha256": sha256, "files": len(manifest.files), "bytes": size}
        detail = json.dumps(facts, sort_keys=True, separators=(",", ":"))
        asyncio.run(note_backup(store.dsn, node.config.node, target.name, size, detail))
        asyncio.run(
            record_of_node(
                store.dsn, node.config.node, "store.backup", {**facts, "to": target.name}
            )
        )
    seconds = (clock.monotonic_ns() - began_ns) / 1e9
    if as_json:
        print_object(
            {"path": str(target), "at": manifest.at, **facts, "seconds": round(seconds, 3)}
        )
    else:
        print_line(
            node.say(
                "backup_done",
                path=target,
                files=len(manifest.files),
                mib=size / MIB,
                seconds=seconds,
                lmk=node.config.hsm.lmk_file,
            )
        )
    return Exit.DONE


async def write(node: Node, dsn_owner: str, partial: Path, version: str) -> Manifest:
    """The dump, the files, and what is known of both; all but the manifest's own file."""
    config = node.config
    postgres_bin = Path(config.postgres.bin) if config.postgres.bin else None
    async with snapshot(dsn_owner) as instant:
        print_progress(node.say("backup_database"))
        dump = partial / manifests.DUMP
        try:
            await asyncio.to_thread(instant.dump, dump, postgres_bin)
        except ToolError as error:
            raise tool_failed(node, error) from error
        dump.chmod(0o600)
        tables = await instant.tables()
        facts = await instant.facts()
    files = [manifests.File(manifests.DUMP, dump.stat().st_size, manifests.hash_of(dump))]
    for path in manifests.to_keep(config.data_folder):
        name = f"{manifests.FILES}/{path.relative_to(config.data_folder).as_posix()}"
        try:
            files.append(manifests.copy(path, partial / name, name))
        except FileNotFoundError:
            continue  # a cache's file, made anew meanwhile
    size = sum(file.size for file in files)
    print_progress(node.say("backup_files", count=len(files), mib=size / MIB))
    at = instant.at.isoformat(timespec="microseconds")
    return Manifest(version=version, node=config.node, at=at, tables=tables, files=files, **facts)


def tool_failed(node: Node, error: ToolError) -> CommandError:
    return CommandError(node.say("backup_tool", tool=error.tool, code=error.code, said=error.said))


def checked(node: Node, source: Path) -> Manifest:
    """The manifest of a backup whose every file is as it was written."""
    try:
        manifest = manifests.read(source)
        print_progress(node.say("backup_checking", count=len(manifest.files)))
        manifests.check(source, manifest)
    except FileNotFoundError:
        raise CommandError(node.say("backup_missing", path=source), Exit.USAGE) from None
    except ManifestError as error:
        raise CommandError(node.say("backup_bad", what=error)) from error
    return manifest
