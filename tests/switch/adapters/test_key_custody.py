"""Goal: every stored key and key set moves to the next LMK, whatever happens on the way, and no other row.

Method: a store of PostgreSQL with keys of three owners and key sets of two terminals, one of them with
more sign-ons than anybody looks back; the rotation is run whole, stopped at every commit and run again,
and run beside itself and beside a node that changes keys.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from hsm import lmk as lmks
from hsm.errors import VaultError
from hsm.keys import KeyUsage
from hsm.local import LocalVault
from switch import key_rotation
from switch.adapters.postgres import PostgresStore
from switch.adapters.system import SystemClock
from switch.key_rotation import NotHeldError, rotate
from switch.store_ports import SESSIONS_LOOKED_AT, Session
from terminals.registry import StoredKey
from tests.hsm.support import seeded

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tests.database import FreshDatabase

OLD, LATER = lmks.make(seeded(1)), lmks.make(seeded(2))
NEW = lmks.following(LATER, OLD)
AT = dt.datetime(2026, 3, 5, tzinfo=dt.UTC)
TERMINALS = ("T1", "T2")


class Books:
    """A store with keys under the old LMK, and what is asked of it afterwards."""

    def __init__(self, store: PostgresStore, dsn: FreshDatabase) -> None:
        self.store = store
        self.dsn = dsn
        self.vault = LocalVault(OLD, seeded(3))
        self.check_values: dict[tuple[str, str, int], str] = {}

    async def furnish(self, extra_sessions: int = 0) -> None:
        for owner, usage, length in (
            ("data", KeyUsage.DATA, 32),
            ("data", KeyUsage.TOKEN, 32),
            ("link:BANKA", KeyUsage.ZMK, 16),
            ("link:BANKA", KeyUsage.ZPK, 16),
            ("link:BANKA", KeyUsage.ZPK, 24),
            *((f"terminal:M/{name}", KeyUsage.TMK, 16) for name in TERMINALS),
        ):
            await self.add(owner, usage, length)
        for name in TERMINALS:
            await self.sign_on(name)
        for _ in range(extra_sessions):
            await self.sign_on("T1")

    async def add(self, owner: str, usage: KeyUsage, length: int, **more: Any) -> StoredKey:
        made = self.vault.generate_key(usage, length)
        kept = await self.store.reference.add_key(
            StoredKey(
                owner=owner,
                usage=usage.value,
                version=0,
                block=made.block,
                check_value=made.check_value,
                lmk_id=made.lmk_id,
                **more,
            )
        )
        self.check_values[owner, usage.value, kept.version] = made.check_value
        return kept

    async def sign_on(self, name: str) -> None:
        tmk = self.vault.generate_key(KeyUsage.TMK, 16).block
        made = self.vault.generate_working_keys(tmk, "004", 16)
        await self.store.batches.sign_on(
            Session(0, "M", name, "004", made.pik, made.mak, made.tdk, AT, False, made.lmk_id)
        )

    async def check(self, vault: LocalVault) -> None:
        """Every key is what it was, and opens in a vault that has only this LMK."""
        snapshot = await (await self.another()).reference.snapshot()
        for (owner, usage, version), check_value in self.check_values.items():
            key = {each.version: each for each in snapshot.keys(owner, usage)}[version]
            assert vault.check_value(key.block) == check_value == key.check_value
            assert key.lmk_id == vault.lmk_id
        for name in TERMINALS:
            for session in await self.store.batches.sessions("M", name):
                assert session.lmk_id == vault.lmk_id
                for block in (session.pik, session.mak, session.tdk):
                    assert block is not None
                    vault.check_value(block)

    async def another(self) -> PostgresStore:
        """A process that has read nothing yet."""
        store = PostgresStore(self.dsn.app, SystemClock())
        self.others.append(store)
        return store

    others: list[PostgresStore]

    async def query(self, sql: str) -> list[Any]:
        connection = await asyncpg.connect(self.dsn.superuser)
        try:
            return list(await connection.fetch(sql))
        finally:
            await connection.close()


@pytest.fixture
def run(
    database_dsn: FreshDatabase,
) -> Callable[[Callable[[Books], Coroutine[Any, Any, None]]], None]:
    async def whole(scenario: Callable[[Books], Coroutine[Any, Any, None]]) -> None:
        store = await PostgresStore.open(database_dsn.app, SystemClock())
        books = Books(store, database_dsn)
        books.others = []
        try:
            await scenario(books)
        finally:
            for each in (*books.others,):
                await each.sessions.close()
                await each.leases.close()
            await store.close()

    return lambda scenario: asyncio.run(whole(scenario))


def test_everything_moves_and_stays_the_same_key(run: Any) -> None:
    async def scenario(books: Books) -> None:
        await books.furnish()
        custody = books.store.custody
        seen = await books.store.reference.snapshot()
        told: list[int] = []
        done = await rotate(
            custody, LocalVault(NEW, seeded(4)), "an", lambda each: told.append(each.keys)
        )
        assert (done.keys, done.sessions, done.erased) == (7, 2, 0)
        assert told[-1] == 7
        await books.check(LocalVault(LATER, seeded(5)))
        assert await custody.under(OLD.lmk_id) == (0, 0)
        assert await custody.left(LATER.lmk_id) == (0, 0)
        later = await books.store.reference.snapshot()  # a node follows by what has changed
        assert later.generation == seen.generation  # no decision is stale by it
        assert later.lmk_ids() == {LATER.lmk_id}
        assert later.key("link:BANKA", "ZPK").version == 2  # type: ignore[union-attr]
        again = await rotate(custody, LocalVault(NEW, seeded(6)), "an")
        assert (again.keys, again.sessions, again.erased) == (0, 0, 0)

    run(scenario)


def test_keys_that_a_device_keeps_stay_as_they_are(run: Any) -> None:
    key = StoredKey(
        owner="link:BANKB",
        usage="ZPK",
        version=0,
        block="ZPK:U" + "1" * 32,
        check_value="08D7B4",
        lmk_id="2686047509018540",
    )

    async def scenario(books: Books) -> None:
        await books.furnish()
        await books.store.reference.add_key(key)
        await books.store.batches.sign_on(
            Session(0, "M", "T3", "003", "TPK:U" + "2" * 32, "MAK:U" + "3" * 32, None, AT, False,
                    key.lmk_id)
        )  # fmt: skip
        custody = books.store.custody
        done = await rotate(custody, LocalVault(NEW, seeded(4)), "an")
        assert (done.keys, done.sessions) == (7, 2)
        assert await custody.under(OLD.lmk_id) == (0, 0)
        assert await custody.left(LATER.lmk_id) == (0, 0)
        snapshot = await (await books.another()).reference.snapshot()
        kept = snapshot.key("link:BANKB", "ZPK")
        assert kept is not None
        assert (kept.block, kept.lmk_id) == (key.block, key.lmk_id)
        await books.check(LocalVault(LATER, seeded(5)))

    run(scenario)


def test_it_is_resumed_wherever_it_was_killed(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_rotation, "BATCH", 2)

    class KilledError(Exception):
        pass

    def dying(after: int) -> Callable[[object], None]:
        commits = iter(range(after))

        def told(_: object) -> None:
            if next(commits, None) is None:
                raise KilledError

        return told

    async def scenario(books: Books) -> None:
        await books.furnish()
        killed = 0
        while True:
            try:
                await rotate(
                    books.store.custody, LocalVault(NEW, seeded(4)), "an", dying(killed % 2)
                )
                break
            except KilledError:
                killed += 1
            for owner, usage, version in books.check_values:  # at every step all keys open
                snapshot = await books.store.reference.snapshot()
                key = {each.version: each for each in snapshot.keys(owner, usage)}[version]
                LocalVault(NEW, seeded(5)).check_value(key.block)
        assert killed > 2
        await books.check(LocalVault(LATER, seeded(5)))

    run(scenario)


def test_two_at_once_and_keys_that_come_meanwhile(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_rotation, "BATCH", 3)

    async def scenario(books: Books) -> None:
        await books.furnish()
        books.vault = LocalVault(NEW, seeded(8))  # a node that has taken the new LMK

        async def work() -> None:
            for _ in range(10):
                await books.add("link:BANKB", KeyUsage.ZAK, 16)
                await books.sign_on("T2")

        other = await books.another()
        await asyncio.gather(
            rotate(books.store.custody, LocalVault(NEW, seeded(4)), "an"),
            rotate(other.custody, LocalVault(NEW, seeded(5)), "bo"),
            work(),
        )
        await books.check(LocalVault(LATER, seeded(6)))
        assert await books.store.custody.under(OLD.lmk_id) == (0, 0)

    run(scenario)


def test_key_sets_that_nobody_looks_back_to_are_erased(run: Any) -> None:
    async def scenario(books: Books) -> None:
        await books.furnish(extra_sessions=SESSIONS_LOOKED_AT + 1)
        done = await rotate(books.store.custody, LocalVault(NEW, seeded(4)), "an")
        assert (done.sessions, done.erased) == (SESSIONS_LOOKED_AT + 1, 2)
        rows = await books.query(
            "SELECT terminal, pik = '' AS erased, lmk_id FROM switch.session ORDER BY session_id"
        )
        assert [row["erased"] for row in rows if row["terminal"] == "T1"][:3] == [True, True, False]
        assert not any(row["erased"] for row in rows if row["terminal"] == "T2")
        assert await books.store.custody.left(LATER.lmk_id) == (0, 0)
        await books.check(LocalVault(LATER, seeded(5)))

    run(scenario)


def test_key_sets_of_the_release_before_move_too(run: Any) -> None:
    async def scenario(books: Books) -> None:
        await books.furnish()
        await books.query("UPDATE switch.session SET lmk_id = NULL")
        assert await books.store.custody.under(OLD.lmk_id) == (7, 2)
        await rotate(books.store.custody, LocalVault(NEW, seeded(4)), "an")
        await books.check(LocalVault(LATER, seeded(5)))

    run(scenario)


def test_nothing_moves_while_a_worker_can_not_follow(run: Any) -> None:
    async def scenario(books: Books) -> None:
        await books.furnish()
        custody = books.store.custody
        for worker in range(2):
            await books.store.owners.register("n1", worker)
        for known in (None, (OLD.lmk_id,), (OLD.lmk_id, LATER.lmk_id)):
            if known:
                await custody.hold("n1", 1, known)
            await custody.hold("n1", 0, NEW.lmk_ids)
            with pytest.raises(NotHeldError, match="n1/1"):
                await rotate(custody, LocalVault(NEW, seeded(4)), "an")
        assert await custody.under(LATER.lmk_id) == (0, 0)
        await custody.hold("n1", 1, NEW.lmk_ids)
        assert (await rotate(custody, LocalVault(NEW, seeded(4)), "an")).keys == 7

    run(scenario)


def test_a_key_under_another_lmk_is_named(run: Any) -> None:
    async def scenario(books: Books) -> None:
        await books.furnish()
        books.vault = LocalVault(lmks.make(seeded(9)), seeded(9))
        await books.add("link:LOST", KeyUsage.ZAK, 16)
        with pytest.raises(VaultError, match="link:LOST ZAK does not open"):
            await rotate(books.store.custody, LocalVault(NEW, seeded(4)), "an")

    run(scenario)


def test_keys_wait_come_into_force_and_end(run: Any) -> None:
    async def scenario(books: Books) -> None:
        store, custody = books.store, books.store.custody
        await books.add("link:BANKA", KeyUsage.ZPK, 16)
        waiting = await books.add("link:BANKA", KeyUsage.ZPK, 16, status="pending")
        assert waiting.status == "pending"

        async def versions() -> list[int]:
            follows = await store.reference.snapshot()
            fresh = await (await books.another()).reference.snapshot()
            found = [each.version for each in follows.keys("link:BANKA", "ZPK")]
            assert found == [each.version for each in fresh.keys("link:BANKA", "ZPK")]
            return found

        assert await versions() == [1]
        assert await custody.activate("link:BANKA", "ZPK", 2, "an")
        assert not await custody.activate("link:BANKA", "ZPK", 2, "an")
        assert await versions() == [2, 1]
        assert await custody.retire("link:BANKA", "ZPK", 1, "an")
        assert not await custody.retire("link:BANKA", "ZPK", 1, "an")
        assert not await custody.activate("link:BANKA", "ZPK", 1, "an")
        assert not await custody.retire("link:BANKA", "ZPK", 9, "an")
        assert await versions() == [2]
        rows = await books.query("SELECT actor, act, after FROM switch.audit_record ORDER BY seq")
        assert [(row["actor"], row["act"]) for row in rows][-2:] == [
            ("an", "keys.activate"),
            ("an", "keys.retire"),
        ]

    run(scenario)
