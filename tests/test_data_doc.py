"""`docs/data.md` against a migrated database: every column is named, with what may be in it.

Goal: nothing is kept that the page does not tell. Method: the page's tables are read and compared with
`information_schema`, both ways; a column whose type can hide something (bytes) or whose name speaks of
cards or keys must have a class that says how it is hidden.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg

if TYPE_CHECKING:
    from tests.database import FreshDatabase

PAGE = Path(__file__).resolve().parent.parent / "docs" / "data.md"
CLASSES = {"clear", "masked", "token", "ciphertext", "key block", "hash"}
SCHEMAS = ["switch", "settlement", "terminals"]

COLUMNS = """
SELECT c.table_schema || '.' || c.table_name || '.' || c.column_name AS name, c.udt_name AS type
FROM information_schema.columns AS c
JOIN information_schema.tables AS t USING (table_schema, table_name)
JOIN pg_class AS r ON r.relname = c.table_name
 AND r.relnamespace = c.table_schema::regnamespace AND NOT r.relispartition
WHERE c.table_schema = ANY ($1) AND t.table_type = 'BASE TABLE'
"""

# Bytes that need no hiding: elements of the host's answer, and the chip's tags, both chosen by table.
CLEAR_BYTES = {"switch.outcome.answer", "switch.request.chip"}
# What a name says must be hidden, and how. Check values and ids of keys are made to be shown.
HIDDEN = [
    (re.compile(r"(^|_)pan_masked$"), {"masked"}),
    (re.compile(r"(^|_)pan_token$"), {"token"}),
    (re.compile(r"(^|_)(pan|pan_cipher|expiry|sealed)$"), {"ciphertext"}),
    (re.compile(r"^(pik|mak|tdk|tmk|zmk|zpk|zak|block)$"), {"key block"}),
    (re.compile(r"(^|_)(track\d?|pin|pin_block|cvv2?|cvn2?)$"), set()),  # never
]


def test_every_column_is_told_with_its_class(database_dsn: FreshDatabase) -> None:
    async def read() -> dict[str, str]:
        connection = await asyncpg.connect(database_dsn.owner)
        try:
            rows = await connection.fetch(COLUMNS, SCHEMAS)
        finally:
            await connection.close()
        return {row["name"]: row["type"] for row in rows}

    kept, told = asyncio.run(read()), columns_told()
    assert sorted(set(kept) - set(told)) == [], "columns that docs/data.md does not name"
    assert sorted(set(told) - set(kept)) == [], "columns that docs/data.md names and nobody has"
    assert len(kept) > 200
    for name, type_of in sorted(kept.items()):
        of, says = told[name]
        assert of in CLASSES, f"{name}: no class {of!r}"
        assert says, f"{name}: not said what it holds"
        if type_of in ("bytea", "_bytea") and name not in CLEAR_BYTES:
            assert of in ("token", "ciphertext", "hash"), f"{name}: bytes of class {of}"
        for pattern, classes in HIDDEN:
            if pattern.search(name.rpartition(".")[2]):
                assert of in classes, f"{name}: class {of}"


def columns_told() -> dict[str, tuple[str, str]]:
    """`schema.table.column` → (class, what it holds), from the page's tables."""
    told: dict[str, tuple[str, str]] = {}
    table = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            table = line.removeprefix("#### ") if line.startswith("#### ") else ""
        elif table and line.startswith("| "):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if cells[0] == "column" or cells[0].startswith("---"):
                continue
            name, of, says = cells
            assert f"{table}.{name}" not in told, f"{table}.{name} stands twice"
            told[f"{table}.{name}"] = (of, says)
    return told
