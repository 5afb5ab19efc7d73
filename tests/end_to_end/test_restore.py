"""The restore drill: a node is backed up while it serves, restored to an empty place, and comes to the same.

Method: a day is traded and its close begun, so that the instant of its reports is recorded; then the backup.
What was restored must verify both chains to the anchors of the backup, and the close must come on both
sides to the same hashes and the same files, byte for byte. The time that it took is printed. A backup with one bit
turned, and a place that is not empty, are refused; a restore that is killed serves nothing and begins anew.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from switch.adapters.embedded_postgres import EmbeddedPostgres
from switch.adapters.postgres_place import OWNER
from switch.upkeep import manifest as manifests
from tests.end_to_end import command
from tests.end_to_end.day import quiet, trade
from tests.end_to_end.node import Hosts, Node, furnish, running
from tests.schemas import assert_valid

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.xdist_group("end_to_end_2")

STEPS = "SELECT business_date, name, content, totals FROM settlement.step ORDER BY 1, 2"
ENTRIES = "SELECT source, key, encode(hash, 'hex') FROM settlement.entry ORDER BY 1, 2"
# a process that is killed as soon as the database is loaded
KILLED = """
import os, sys
from switch import cli
from switch.adapters.postgres import dump
from switch.commands import restore
async def die(*_): os._exit(9)
restore.go_on_after = die
cli.main(sys.argv[1:])
"""


def tongbao(config: Path, data: Path, *words: str, code: int = 0) -> str:
    return command.tongbao(*words, *command.place(config, data), code=code)


def tree(folder: Path) -> dict[str, str]:
    """Every file by its hash."""
    return {
        path.relative_to(folder).as_posix(): manifests.hash_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


async def trade_a_day(node: Node, clearing: Path) -> str:
    """The business date, with the banks' files of it in `clearing`."""
    async with Hosts() as hosts:
        rows = await node.query("SELECT business_date FROM switch.business_day")
        for bank in hosts.banks:
            bank.settlement_date = rows[0]["business_date"]
        await furnish(node, hosts, terminals=3)
        await trade(node, 3, 45)
        await quiet(node)
        for bank in hosts.banks:
            folder = clearing / bank.options.name.replace("-", "_")
            folder.mkdir(parents=True)
            for date in bank.settlement_dates():
                file = bank.clearing_file(date)
                (folder / file.name).write_bytes(file.data)
    return str(rows[0]["business_date"])


def test_what_was_restored_comes_to_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clearing, away = tmp_path / "clearing", tmp_path / "away"
    backup, restored = tmp_path / "backup", tmp_path / "restored"
    with running(tmp_path) as node:
        config, data = node.config, tmp_path / "data"
        date = asyncio.run(trade_a_day(node, clearing))
        shutil.copytree(clearing, away)
        shutil.rmtree(clearing / "bank_b")
        close = ("close", "--demo", "--date", date, "--json", "--files")
        tongbao(config, data, *close, str(clearing), code=3)  # waits for the second bank
        made = json.loads(tongbao(config, data, "backup", str(backup), "--json"))
        assert_valid("backup", made)
        for words in (("--dry-run",), ("--demo",)):
            purged = json.loads(tongbao(config, data, "purge", *words, "--json"))
            assert_valid("purge", purged)
            assert purged["rows"] == 0, "nothing is old"
            assert purged["dry_run"] == (words == ("--dry-run",))
        tongbao(config, data, "purge", code=2)  # nobody said who
        again = tongbao(config, data, "backup", str(backup), code=2)
        assert not again

        shutil.copytree(away / "bank_b", clearing / "bank_b")
        done = tongbao(config, data, *close, str(clearing))
        steps = asyncio.run(of_owner(node.facts["database"]["owner_dsn"], STEPS))
        entries = asyncio.run(of_owner(node.facts["database"]["owner_dsn"], ENTRIES))
        assert len(entries) > 30

    # -- what is refused
    tongbao(config, data, "restore", str(backup), code=2)
    tongbao(config, restored, "restore", str(tmp_path / "nothing"), code=2)
    spoilt = tmp_path / "spoilt"
    shutil.copytree(backup, spoilt)
    with (spoilt / manifests.DUMP).open("r+b") as file:
        file.seek(200)
        byte = file.read(1)
        file.seek(200)
        file.write(bytes([byte[0] ^ 1]))
    tongbao(config, restored, "restore", str(spoilt), code=4)
    assert not restored.exists()

    # -- killed, and begun anew
    where = command.place(config, restored)
    command.process("restore", str(backup), *where, code=9, script=KILLED)
    assert (restored / manifests.RESTORING).exists()
    tongbao(config, restored, "journal", "list", "--json", code=4)
    drill = json.loads(tongbao(config, restored, "restore", str(backup), "--json"))
    assert_valid("restore", drill)
    tongbao(config, restored, "restore", str(backup), code=2)

    # -- the same
    manifest = manifests.read(backup)
    verified = json.loads(
        tongbao(config, restored, "audit", "verify", "--json", "--anchor", manifest.audit_anchor)
    )
    assert verified["intact"]
    rest = tmp_path / "rest"
    rest.mkdir()
    shutil.copytree(away / "bank_b", rest / "bank_b")
    assert tongbao(config, restored, *close, str(rest)) == done
    assert tree(restored / "reports") == tree(data / "reports")
    tongbao(config, restored, "ledger", "verify")
    with EmbeddedPostgres.start(restored, fsync=False) as server:
        dsn = server.dsn(OWNER)
        assert asyncio.run(of_owner(dsn, STEPS)) == steps
        assert asyncio.run(of_owner(dsn, ENTRIES)) == entries
        # numbers go on behind all that may have been given out meanwhile
        given = asyncio.run(of_owner(dsn, "SELECT given FROM switch.number_block"))
        assert all(row[0] >= 10_000_000 for row in given)
    with capsys.disabled():
        print(  # noqa: T201
            f"\nrestore drill: {drill['requests']} requests,"
            f" {len(manifest.files)} files, {made['bytes']} bytes;"
            f" backup {made['seconds']} s, restore {drill['seconds']} s"
        )


async def of_owner(dsn: str, query: str) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(dsn)
    try:
        return [tuple(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()
