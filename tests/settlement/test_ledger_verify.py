"""The verifier: whatever is changed in the database behind the ledger's back is named.

Method: two sealed dates in chunks of ten and an open one on PostgreSQL; each row of the table forges
something as the owner of the database, who may do everything, and says what must be found first.
"""

import asyncio
from collections.abc import Iterator
from datetime import date

import asyncpg
import msgspec
import pytest
from hypothesis import given, strategies as st

from settlement.adapters.ledger_memory import MemoryLedger, MemoryStored
from settlement.adapters.ledger_postgres import PostgresLedger
from settlement.adapters.ledger_stored import PostgresStored, open_stored
from settlement.chunk_verify import StoredEntry, explain, flaw_of
from settlement.ledger_verify import Unwatched, Verified, verify
from settlement.posting_port import Ledger
from tests.database import DatabaseServer, FreshDatabase
from tests.settlement.test_ledger_store import AFTER, OTHER, held, sale
from tests.settlement.world import DAY, NEXT

CHUNK = 10

# An entry's hash made by SQL: what a forger would write, and a second opinion on the canonical form.
HASH = """sha256(convert_to(concat_ws(E'\\x1f', business_date, step, source, key, rule, rule_version,
    currency, merchant, acquirer, terminal, batch, settlement_date, array_to_string(accounts, E'\\x1e'),
    array_to_string(owners, E'\\x1e'), array_to_string(amounts, E'\\x1e'), layer), 'UTF8'))"""
REHASH = f"UPDATE settlement.entry SET hash = {HASH}"
UNCHECKED = "ALTER TABLE settlement.entry DROP CONSTRAINT entry_sums_to_zero"
ROW = (
    "(source, key, business_date, step, rule, rule_version, currency, merchant, acquirer, "
    "terminal, batch, settlement_date, accounts, owners, amounts, hash, layer)"
)


def put_in(key: str, day: str = "2026-08-03", step: str = "post") -> str:
    """A copy of an entry under another name, with its right hash."""
    return (
        f"INSERT INTO settlement.entry SELECT source, '{key}', '{day}', '{step}', rule, rule_version, "
        "currency, merchant, acquirer, terminal, batch, settlement_date, accounts, owners, amounts, "
        f"hash, layer FROM settlement.entry WHERE key = 'c101'; {REHASH} WHERE key = '{key}'"
    )


async def fill(ledger: Ledger) -> None:
    """c101 … c125 and two cases on the first date, c201 … c203 on the second, one open."""
    await ledger.post([sale(100 + n, 1_000 * n) for n in range(1, 26)])
    await ledger.post([held(1, 100), held(2, 200, merchant=OTHER)])
    await ledger.seal(DAY)
    await ledger.post([sale(200 + n, 10 * n, 1, day=NEXT) for n in range(1, 4)])
    await ledger.seal(NEXT)
    await ledger.post([held(3, -50, day=AFTER)])


@pytest.fixture(scope="module")
def filled(_database_server: DatabaseServer) -> Iterator[FreshDatabase]:
    """The ledger that all forgers forge, each in a transaction that is undone."""
    database = _database_server.clone()

    async def scenario() -> None:
        async with asyncpg.create_pool(database.app, min_size=1, max_size=2) as pool:
            await fill(PostgresLedger(pool, CHUNK))

    asyncio.run(scenario())
    yield database
    _database_server.drop(database)


def verified_after(
    dsn: FreshDatabase,
    *forgeries: str,
    first: date | None = None,
    last: date | None = None,
) -> Verified:
    async def scenario() -> Verified:
        owner = await asyncpg.connect(dsn.owner)
        try:
            async with owner.transaction():
                for forgery in forgeries:
                    await owner.execute(forgery)
                found = await verify(PostgresStored(owner), Unwatched(), first=first, last=last)
                raise UndoneError(found)
        except UndoneError as undone:
            return undone.found
        finally:
            await owner.close()

    return asyncio.run(scenario())


class UndoneError(Exception):
    def __init__(self, found: Verified) -> None:
        super().__init__()
        self.found = found


def test_an_untouched_ledger_holds(filled: FreshDatabase) -> None:
    found = verified_after(filled)
    assert found.findings == []
    assert (found.dates, found.entries, found.open_entries) == (2, 30, 1)

    async def anchor_in_memory() -> str:
        ledger = MemoryLedger(DAY, CHUNK)
        await fill(ledger)
        in_memory = await verify(MemoryStored(ledger), Unwatched())
        assert in_memory == found
        return in_memory.anchor

    assert asyncio.run(anchor_in_memory()) == found.anchor


def test_sql_makes_the_same_hashes(filled: FreshDatabase) -> None:
    found = verified_after(filled, REHASH)
    assert found.findings == []


# what is forged, and what is found: kind, date, step, chunk, key
FORGERIES: dict[str, tuple[list[str], tuple[str, date, str, int | None, str]]] = {
    "an amount": (
        ["UPDATE settlement.entry SET amounts = '{9,-9}' , accounts = accounts[1:2], "
         "owners = owners[1:2] WHERE key = 'c117'"],
        ("changed", DAY, "post", 1, "c117"),
    ),
    "a merchant, with its right hash": (
        ["UPDATE settlement.entry SET merchant = 'm' WHERE key = 'c117'", REHASH],
        ("replaced", DAY, "post", 1, "c117"),
    ),
    "a layer": (
        ["UPDATE settlement.entry SET layer = 'pending' WHERE key = 'c202'"],
        ("changed", NEXT, "post", 0, "c202"),
    ),
    "a hash": (
        ["UPDATE settlement.entry SET hash = sha256('x') WHERE key = 'h2'"],
        ("changed", DAY, "case", 0, "h2"),
    ),
    "two rows swapped": (
        ["UPDATE settlement.entry AS e SET amounts = o.amounts, hash = o.hash "
         "FROM settlement.entry AS o WHERE (e.key, o.key) IN (('c103', 'c118'), ('c118', 'c103'))"],
        ("changed", DAY, "post", 0, "c103"),
    ),
    "two rows swapped, with their right hashes": (
        ["UPDATE settlement.entry AS e SET amounts = o.amounts "
         "FROM settlement.entry AS o WHERE (e.key, o.key) IN (('c103', 'c118'), ('c118', 'c103'))",
         REHASH],
        ("replaced", DAY, "post", 0, "c103"),
    ),
    "a row that does not sum to zero": (
        [UNCHECKED, "UPDATE settlement.entry SET amounts[1] = 5 WHERE key = 'c112'", REHASH],
        ("unbalanced", DAY, "post", 1, "c112"),
    ),
    "a row deleted": (
        ["DELETE FROM settlement.entry WHERE key = 'c115'"],
        ("missing", DAY, "post", 1, "c116"),
    ),
    "a chunk's first row deleted": (
        ["DELETE FROM settlement.entry WHERE key = 'c111'"],
        ("missing", DAY, "post", 1, "c112"),
    ),
    "a chunk's last row deleted": (
        ["DELETE FROM settlement.entry WHERE key = 'c125'"],
        ("missing", DAY, "post", 2, "c124"),
    ),
    "a chunk deleted": (
        ["DELETE FROM settlement.entry WHERE key BETWEEN 'c111' AND 'c120'"],
        ("missing", DAY, "post", 1, ""),
    ),
    "a step deleted": (
        ["DELETE FROM settlement.entry WHERE step = 'case' AND business_date = '2026-08-03'"],
        ("missing", DAY, "case", 0, ""),
    ),
    "a row put in": ([put_in("c1150")], ("inserted", DAY, "post", 1, "c1150")),
    "a row put in front": ([put_in("a")], ("inserted", DAY, "post", 0, "a")),
    "a row put behind": ([put_in("d")], ("inserted", DAY, "post", 2, "d")),
    "a row put into another step": (
        [put_in("x", step="aaa")],
        ("outside", DAY, "aaa", None, "x"),
    ),
    "a row put on a date that never was": (
        [put_in("x", day="2026-08-01")],
        ("outside", date(2026, 8, 1), "post", None, "x"),
    ),
    "one row for another": (
        ["DELETE FROM settlement.entry WHERE key = 'c115'", put_in("c1190")],
        ("missing", DAY, "post", 1, "c116"),
    ),
    "a row moved to an open date": (
        ["UPDATE settlement.entry SET business_date = '2026-08-05' WHERE key = 'c115'", REHASH],
        ("missing", DAY, "post", 1, "c116"),
    ),
    "an open row": (
        ["UPDATE settlement.entry SET merchant = 'x' WHERE key = 'h3'"],
        ("changed", AFTER, "case", None, "h3"),
    ),
    "a link": (
        ["UPDATE settlement.seal SET hash = sha256('x') WHERE step = 'post' AND chunk = 0 "
         "AND business_date = '2026-08-03'"],
        ("link", DAY, "post", 0, ""),
    ),
    "a link's place": (
        ["UPDATE settlement.seal SET previous = 'x' WHERE step = 'post' AND chunk = 1"],
        ("link", DAY, "post", 1, ""),
    ),
    "a link's count": (
        [UNCHECKED, "ALTER TABLE settlement.seal DROP CONSTRAINT seal_check",
         "UPDATE settlement.seal SET count = 9 WHERE chunk = 1"],
        ("link", DAY, "post", 1, ""),
    ),
    "a link deleted": (
        ["DELETE FROM settlement.seal WHERE step = 'post' AND chunk = 1"],
        ("inserted", DAY, "post", 0, "c111"),
    ),
    "a link's first row": (
        ["UPDATE settlement.seal SET first_key = 'h2', chunk = 1 WHERE step = 'case'"],
        ("missing", DAY, "case", 1, "h2"),
    ),
    "the last date's anchor and links deleted": (
        ["DELETE FROM settlement.anchor WHERE business_date = '2026-08-04'",
         "DELETE FROM settlement.seal WHERE business_date = '2026-08-04'"],
        ("anchor", NEXT, "", None, ""),
    ),
    "all links deleted": (
        ["DELETE FROM settlement.seal"],
        ("outside", DAY, "case", None, "h1"),
    ),
    "an anchor's count": (
        ["UPDATE settlement.anchor SET entries = 26 WHERE business_date = '2026-08-03'"],
        ("anchor", DAY, "", None, ""),
    ),
    "an anchor": (
        ["UPDATE settlement.anchor SET hash = sha256('x') WHERE business_date = '2026-08-04'"],
        ("anchor", NEXT, "", None, ""),
    ),
    "a date's anchor deleted": (
        ["DELETE FROM settlement.anchor WHERE business_date = '2026-08-03'"],
        ("link", NEXT, "post", 0, ""),
    ),
    "a closing balance": (
        ["UPDATE settlement.checkpoint SET balance_minor = 0 WHERE account = 'merchant_payable' "
         "AND business_date = '2026-08-04'"],
        ("checkpoint", NEXT, "", None, ""),
    ),
    "a closing balance deleted": (
        ["DELETE FROM settlement.checkpoint WHERE account = 'merchant_held'"],
        ("checkpoint", DAY, "", None, ""),
    ),
    "a closing balance put in": (
        ["INSERT INTO settlement.checkpoint VALUES "
         "('bank_reserve', '', '156', 'settled', '2026-08-04', 1, 5, 0, 5)"],
        ("checkpoint", NEXT, "", None, ""),
    ),
    "a balance with a limit": (
        ["UPDATE settlement.limited_balance SET settled_minor = 0"],
        ("limit", date.min, "", None, ""),
    ),
}  # fmt: skip


@pytest.mark.parametrize("forged", FORGERIES)
def test_what_is_forged_is_named(filled: FreshDatabase, forged: str) -> None:
    forgeries, expected = FORGERIES[forged]
    found = verified_after(filled, *forgeries)
    assert found.findings
    first = found.findings[0]
    assert (first.kind, first.business_date, first.step, first.chunk, first.key) == expected
    assert "(" not in first.text, "a value as the program writes it, not as people read it"


def test_fingerprints_are_no_part_of_the_chain(filled: FreshDatabase) -> None:
    found = verified_after(
        filled,
        "UPDATE settlement.seal SET fingerprints = decode(repeat('00', 8 * count), 'hex')",
    )
    assert found.findings == []


def test_a_chain_made_anew_has_another_anchor(database_dsn: FreshDatabase) -> None:
    """Who owns the database can forge everything; the anchor that was kept elsewhere tells it."""

    async def sealed(pool: asyncpg.Pool, kept: dict[date, str]) -> Verified:
        ledger = PostgresLedger(pool, CHUNK)
        await ledger.seal(DAY)
        await ledger.seal(NEXT)
        async with open_stored(database_dsn.app) as stored:
            return await verify(stored, Unwatched(), kept=kept)

    async def scenario() -> None:
        owner = await asyncpg.connect(database_dsn.owner)
        async with asyncpg.create_pool(database_dsn.app, min_size=1, max_size=2) as pool:
            await fill(PostgresLedger(pool, CHUNK))
            true = await sealed(pool, {})
            again = await sealed(pool, {NEXT: true.anchor})
            await owner.execute("UPDATE settlement.entry SET merchant = 'm' WHERE key = 'c117'")
            await owner.execute(REHASH)
            await owner.execute(
                "TRUNCATE settlement.seal, settlement.anchor, settlement.checkpoint, "
                "settlement.posting_end"
            )
            forged = await sealed(pool, {})
            told = await sealed(pool, {NEXT: true.anchor})
        await owner.close()
        assert true.findings == again.findings == forged.findings == []
        assert true.anchor != forged.anchor
        (finding,) = told.findings
        assert (finding.kind, finding.business_date) == ("anchor", NEXT)
        assert true.anchor in finding.text

    asyncio.run(scenario())


def test_part_of_the_dates(filled: FreshDatabase) -> None:
    forgery = "UPDATE settlement.entry SET merchant = 'x' WHERE key = 'c101'"
    assert verified_after(filled, forgery, first=NEXT).findings == []
    assert verified_after(filled, forgery, first=NEXT, last=NEXT).findings == []
    found = verified_after(filled, forgery, last=DAY)
    assert [one.key for one in found.findings] == ["c101"]
    assert (found.entries, found.open_entries) == (27, 0)


def test_each_broken_chunk_is_told_once(filled: FreshDatabase) -> None:
    found = verified_after(filled, "UPDATE settlement.entry SET merchant = 'x'")
    assert [(one.kind, one.step, one.chunk, one.key) for one in found.findings] == [
        ("changed", "case", 0, "h1"),
        ("changed", "post", 0, "c101"),
        ("changed", "post", 1, "c111"),
        ("changed", "post", 2, "c121"),
        ("changed", "post", 0, "c201"),
        ("changed", "case", None, "h3"),
    ]


def test_a_long_run_of_rows_put_in_is_found_in_bounded_memory() -> None:
    seen = [(bytes([n % 251]) * 32, ("post", "s", f"k{n:05d}")) for n in range(5_000)]
    sealed = b"".join(row_hash[:8] for row_hash, _ in seen[:3])
    kind, order, _ = explain(sealed, seen, "post")
    assert (kind, order) == ("inserted", ("post", "s", "k00003"))


@given(st.lists(st.binary(min_size=8, max_size=8), max_size=6, unique=True), st.data())
def test_one_change_of_a_chunk_is_named_where_it_is(
    sealed: list[bytes], data: st.DataObject
) -> None:
    rows = list(sealed)
    change = data.draw(st.sampled_from(["insert", "delete", "replace"]))
    new = data.draw(st.binary(min_size=8, max_size=8).filter(lambda one: one not in sealed))
    if change == "insert":
        at = data.draw(st.integers(0, len(rows)))
        rows.insert(at, new)
    elif not rows:
        return
    else:
        at = data.draw(st.integers(0, len(rows) - 1))
        if change == "delete":
            del rows[at]
        else:
            rows[at] = new
    named = [(one.ljust(32), ("post", "s", str(n))) for n, one in enumerate(rows)]
    kind, order, text = explain(b"".join(sealed), named, "post")
    assert kind == {"insert": "inserted", "delete": "missing", "replace": "replaced"}[change]
    assert f"row {at + 1} " in text
    if change != "delete":
        assert order == ("post", "s", str(at))


def test_a_row_that_holds_a_separator_is_changed() -> None:
    made = sale(1)
    fields = list(msgspec.structs.astuple(made))
    fields[6] = "15\x1f6"
    assert flaw_of(StoredEntry(tuple(fields), made.hash)) == (
        "changed",
        "it holds a separator of the canonical form",
    )
