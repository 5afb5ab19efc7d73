"""Goal: every file runs once, whole, in order; what does not fit is refused before anything runs.

Method: trees of small files on real databases; the decision alone as a table.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from switch.adapters.schema_runner import (
    FOLDERS,
    Migration,
    SchemaError,
    choose_missing,
    find_migrations,
    migrate,
)
from tests.database import ROOT, FreshDatabase


def write(root: Path, name: str, sql: str) -> None:
    folder, _, file = name.partition("/")
    path = root / folder / "adapters" / "schema" / f"{file}.sql"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(sql, encoding="utf-8")


def run(dsn: str, root: Path) -> list[str]:
    return [str(migration) for migration in asyncio.run(migrate(dsn, root=root))]


def value(dsn: str, statement: str) -> Any:
    async def ask() -> Any:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(ask())


@pytest.fixture
def empty(fresh_database: Callable[[], FreshDatabase]) -> FreshDatabase:
    """A database in which nothing has run."""
    database = fresh_database()
    schemas = ", ".join(("schema_runner", *FOLDERS))
    value(database.owner, "SELECT 1")

    async def drop() -> None:
        connection = await asyncpg.connect(database.owner)
        await connection.execute(f"DROP SCHEMA IF EXISTS {schemas} CASCADE")
        await connection.close()

    asyncio.run(drop())
    return database


def test_the_tree_itself(empty: FreshDatabase) -> None:
    expected = [str(migration) for migration in find_migrations()]
    assert run(empty.owner, ROOT) == expected
    assert run(empty.owner, ROOT) == []


def test_files_run_once_in_order_in_the_schema_of_their_folder(
    empty: FreshDatabase, tmp_path: Path
) -> None:
    write(tmp_path, "terminals/0001_a", "CREATE TABLE t AS SELECT * FROM switch.v;")
    write(tmp_path, "switch/0002_b", "CREATE VIEW switch.v AS SELECT x + 1 AS x FROM t;")
    write(tmp_path, "switch/0001_a", "CREATE TABLE t (x int); INSERT INTO t VALUES (1);")
    assert run(empty.owner, tmp_path) == ["switch/0001_a", "switch/0002_b", "terminals/0001_a"]
    assert run(empty.owner, tmp_path) == []
    assert value(empty.owner, "SELECT x FROM terminals.t") == 2
    write(tmp_path, "switch/0003_c", "INSERT INTO t VALUES (2)")
    assert run(empty.owner, tmp_path) == ["switch/0003_c"]
    assert value(empty.owner, "SELECT count(*) FROM switch.t") == 2
    assert value(empty.owner, "SELECT count(*) FROM schema_runner.applied") == 4


def test_two_at_once_apply_each_file_once(empty: FreshDatabase, tmp_path: Path) -> None:
    for number in range(1, 5):
        write(tmp_path, f"switch/{number:04d}_x", f"CREATE TABLE t{number} (x int)")

    async def both() -> list[list[Migration]]:
        return await asyncio.gather(*(migrate(empty.owner, root=tmp_path) for _ in range(3)))

    assert sorted(len(applied) for applied in asyncio.run(both())) == [0, 0, 4]


def test_a_failing_file_leaves_nothing_and_names_its_line(
    empty: FreshDatabase, tmp_path: Path
) -> None:
    write(tmp_path, "switch/0001_good", "CREATE TABLE good (x int)")
    write(tmp_path, "switch/0002_bad", "CREATE TABLE half (x int);\n\nSELECT nonsense;\n")
    with pytest.raises(SchemaError, match=r"switch/0002_bad\.sql:3: column .nonsense. does not"):
        run(empty.owner, tmp_path)
    assert value(empty.owner, "SELECT to_regclass('switch.half')") is None
    write(tmp_path, "switch/0002_bad", "CREATE TABLE half (x int);")
    assert run(empty.owner, tmp_path) == ["switch/0002_bad"]


def test_a_changed_file_is_refused_before_anything_runs(
    empty: FreshDatabase, tmp_path: Path
) -> None:
    write(tmp_path, "terminals/0001_a", "CREATE TABLE t (x int)")
    run(empty.owner, tmp_path)
    write(tmp_path, "terminals/0001_a", "CREATE TABLE t (x bigint)")
    write(tmp_path, "switch/0001_a", "CREATE TABLE t (x int)")
    with pytest.raises(SchemaError, match=r"terminals/0001_a is not the file that was applied"):
        run(empty.owner, tmp_path)
    assert value(empty.owner, "SELECT to_regclass('switch.t')") is None


def test_a_file_that_commits_is_refused(empty: FreshDatabase, tmp_path: Path) -> None:
    write(tmp_path, "switch/0001_a", "CREATE TABLE t (x int); COMMIT; SELECT 1")
    with pytest.raises(SchemaError, match="ends the transaction"):
        run(empty.owner, tmp_path)


def test_only_the_owner_migrates(empty: FreshDatabase) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        run(empty.app, ROOT)


@pytest.mark.parametrize("name", ["1_a", "0000_a", "0001-a", "0001_A", "00001_a", "a"])
def test_a_file_with_another_name_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path, f"switch/{name}", "")
    with pytest.raises(SchemaError, match="is not named NNNN_name"):
        find_migrations(tmp_path)


def test_a_number_given_twice_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "switch/0001_a", "")
    write(tmp_path, "switch/0001_b", "")
    with pytest.raises(SchemaError, match="0001_a and 0001_b share a number"):
        find_migrations(tmp_path)


def file(number: int, content: str = "") -> Migration:
    return Migration("switch", number, f"{number:04d}_x", f"hash of {content}", content)


# numbers in the tree, numbers applied -> numbers to run, or the reason why not
CHOICES: list[tuple[list[int], list[int], list[int] | str]] = [
    ([], [], []),
    ([1, 2], [], [1, 2]),
    ([1, 2, 3], [1, 2], [3]),
    ([1, 2], [1, 2], []),
    ([1, 2], [1, 2, 3], []),  # the database is ahead: a node of the former release
    ([], [1], []),
    ([1, 2, 3], [1, 3], "switch/0002_x is new, but switch/0003 was applied before it"),
    ([1, 3], [1, 2], "switch/0002_x was applied and is gone"),
]


@pytest.mark.parametrize(("tree", "applied", "expected"), CHOICES)
def test_what_is_missing(tree: list[int], applied: list[int], expected: list[int] | str) -> None:
    records = {("switch", n): (file(n).name, file(n).sha256) for n in applied}
    if isinstance(expected, str):
        with pytest.raises(SchemaError, match=expected):
            choose_missing([file(n) for n in tree], records)
    else:
        chosen = choose_missing([file(n) for n in tree], records)
        assert [migration.number for migration in chosen] == expected


def test_a_renamed_file_is_refused() -> None:
    with pytest.raises(SchemaError, match="not the file that was applied"):
        choose_missing([file(1)], {("switch", 1): ("0001_other", file(1).sha256)})
