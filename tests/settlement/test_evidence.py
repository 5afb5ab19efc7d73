"""Evidence: whatever is changed is named, in the bundle and in the store.

Method: a date is closed, its bundle made; then every member of the bundle is changed, added, taken
away and moved, and every kind of fact in the store is changed behind the program's back. The
decisions are made once more after later dates have been closed on top.
"""

import asyncio
import copy
import io
import zipfile
from collections.abc import Awaitable, Callable
from datetime import date
from functools import cache
from typing import Any

import asyncpg
import msgspec
import pytest
from hypothesis import given, settings as hypothesis, strategies as st

from hsm.ciphers import ed25519_public, ed25519_sign, ed25519_verify
from settlement.adapters.evidence_memory import MemoryEvidence
from settlement.adapters.evidence_postgres import (
    EvidenceKey,
    PostgresEvidence,
    add_evidence_key,
    evidence_keys,
)
from settlement.adapters.extracts import MemoryExtracts
from settlement.adapters.memory import MemoryStore
from settlement.adapters.postgres import open_postgres
from settlement.cases import Break, Resolution
from settlement.evidence import (
    MANIFEST,
    SIGNATURE,
    Bundle,
    Finding,
    checked,
    first_difference,
    made,
)
from settlement.evidence_facts import (
    AGAIN,
    compared,
    decided_again,
    documents,
)
from settlement.fees import Tariffs
from settlement.kept_sums import BatchTotal
from settlement.ports import REFERENCE_KINDS, NoProgress, Store
from settlement.run import Run, WaitingError
from settlement.settings import DEFAULTS, Settings
from settlement.zips import members, packed
from tests.database import FreshDatabase
from tests.settlement.test_fee_book import WITH_AGENTS, close_both, two_days
from tests.settlement.test_store import publish
from tests.settlement.world import (
    AT,
    DAY,
    ENGINE,
    FAST,
    NEXT,
    PANS,
    Dates,
    Inbox,
    Sink,
    captures_of,
    casework_of,
    payouts_of,
    trade,
    world,
)

KEY = bytes(range(32))
PUBLIC = ed25519_public(KEY)


class Signer:
    public_key = PUBLIC

    def sign(self, data: bytes) -> bytes:
        return ed25519_sign(KEY, data)


# totals of one terminal that the close finds to differ, and of one that has captured nothing
SAID = [
    BatchTotal(trade(1).merchant, trade(1).terminal, 1, 55_000, 10, 1_000, 1),
    BatchTotal("nobody", "12345678", 1, 0, 0, 0, 0),
]


def closed() -> MemoryStore:
    """A store of its own in which both days are closed."""
    return copy.deepcopy(closed_once())


pytestmark = pytest.mark.xdist_group("evidence")  # one worker closes the days


@cache
def closed_once() -> MemoryStore:
    store = world(two_days()[0], WITH_AGENTS)
    store.batches = [(DAY, said) for said in SAID]
    asyncio.run(close_both(store))
    return store


def bundle_of(store: Store, day: date = DAY) -> bytes:
    return made(day, AT, asyncio.run(documents(store, day, FAST)), Signer())


@pytest.fixture(scope="module")
def bundle() -> bytes:
    return bundle_of(MemoryEvidence(closed(), DAY))


def findings(data: bytes, *trusted: bytes) -> list[Finding]:
    return checked(data, ed25519_verify, trusted or (PUBLIC,))[1]


def test_ed25519_known_answer() -> None:
    """RFC 8032, section 7.1, test 2."""
    private = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    public = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    signature = bytes.fromhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert ed25519_public(private) == public
    assert ed25519_sign(private, b"\x72") == signature
    assert ed25519_verify(public, b"\x72", signature)
    assert not ed25519_verify(public, b"\x73", signature)
    assert not ed25519_verify(public, b"\x72", signature[:-1])
    assert not ed25519_verify(b"", b"\x72", signature)


def test_a_bundle_holds_and_is_the_same_bytes_again(bundle: bytes) -> None:
    assert findings(bundle) == []
    assert bundle_of(MemoryEvidence(closed(), DAY)) == bundle
    found, _ = checked(bundle, ed25519_verify, [PUBLIC])
    assert found is not None
    assert found.manifest.business_date == DAY
    assert {one["name"] for one in found.document("results.json")["steps"]} >= set(AGAIN)
    assert found.document("inputs.json")["files"][0]["sha256"]
    assert found.document("rules.json")["passes"][0]["name"] == "exact"
    assert b"6222021234567890123" not in bundle


def test_a_key_that_nobody_trusts_does_not_vouch_for_itself(bundle: bytes) -> None:
    (found,) = findings(bundle, bytes(32))
    assert (found.place, "not a key you trust" in found.problem) == (MANIFEST, True)


NAMES = [
    MANIFEST,
    SIGNATURE,
    "breaks.json",
    "inputs.json",
    "results.json",
    "rules.json",
    "seals.json",
    "settings.json",
    "trial-balance.json",
]


def test_every_member_is_listed(bundle: bytes) -> None:
    assert [name for name, _ in members(bundle)] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_member_is_named(bundle: bytes, name: str) -> None:
    contents = dict(members(bundle))
    for place in (0, len(contents[name]) // 2, len(contents[name]) - 1):
        data = bytearray(contents[name])
        data[place] ^= 1
        (found, *_) = findings(packed((contents | {name: bytes(data)}).items()))
        assert found.place in ((MANIFEST, "archive") if name in (MANIFEST, SIGNATURE) else (name,))


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_member_is_named(bundle: bytes, name: str) -> None:
    contents = dict(members(bundle))
    del contents[name]
    (found,) = findings(packed(contents.items()))
    assert name in f"{found.place} {found.problem}"


def test_what_was_added_moved_or_hidden_is_found(bundle: bytes) -> None:
    contents = dict(members(bundle))
    (found,) = findings(packed([*contents.items(), ("x.json", b"{}")]))
    assert found == Finding("x.json", "is not in the manifest")
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = packed([*contents.items(), ("breaks.json", b"[]")])
    (found,) = findings(twice)
    assert (found.place, "twice" in found.problem) == ("archive", True)
    assert findings(packed(sorted(contents.items(), reverse=True))) != []
    assert findings(bundle + b"more") != []
    data = io.BytesIO(bundle)
    with zipfile.ZipFile(data, "a") as archive:
        archive.comment = b"hello"
    assert findings(data.getvalue()) != []
    for nothing in (b"", b"PK", bundle[: len(bundle) // 2]):
        assert findings(nothing)[0].place == "archive"


@given(st.data())
@hypothesis(max_examples=200, deadline=None)  # the first makes the bundle
def test_no_changed_byte_goes_unseen(data: st.DataObject) -> None:
    whole = _whole()
    place = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[place] ^= data.draw(st.integers(1, 255))
    assert findings(bytes(changed)) != []


_KEPT: list[bytes] = []


def _whole() -> bytes:
    if not _KEPT:
        _KEPT.append(bundle_of(MemoryEvidence(closed(), DAY)))
    return _KEPT[0]


def test_the_first_difference_is_named_by_its_path() -> None:
    old = {"a": [1, {"b": 2}], "c": 1}
    assert first_difference("d", old, old) is None
    assert first_difference("d", old, {"a": [1, {"b": 2}], "c": 2}) == Finding("d.c", "was 1, is 2")
    assert first_difference("d", old, {"a": [1], "c": 1}) == Finding("d.a", "had 2 items, has 1")
    assert first_difference("d", old, {"a": [1, {"b": 2}]}) == Finding("d.c", "is gone")


# -- against the store -----------------------------------------------------------------------------


def documents_of(bundle: bytes) -> dict[str, Any]:
    found, wrong = checked(bundle, ed25519_verify, [PUBLIC])
    assert isinstance(found, Bundle)
    assert wrong == []
    return {name: found.document(name) for name in found.contents}


async def run_of(store: Store, day: date, settings: Settings = FAST) -> Run:
    dates = Dates({day: "posted"})
    return Run(
        date=day,
        at=AT,
        files=Inbox(),
        store=store,
        casework=casework_of(store, dates),
        payouts=payouts_of(store),
        dates=dates,
        pans=PANS,
        sink=Sink(),
        engine=ENGINE,
        extracts=MemoryExtracts(ENGINE),
        progress=NoProgress(),
        settings=settings,
        approved=frozenset(),
        tariffs=Tariffs(await store.references(REFERENCE_KINDS)),
        steps=await store.steps(day),
    )


async def again(store: Store, day: date, settings: Settings = FAST) -> list[Any]:
    return [one async for one in decided_again(await run_of(store, day, settings))]


@pytest.mark.parametrize("day", [DAY, NEXT])
def test_decisions_come_out_the_same_whatever_was_closed_since(day: date) -> None:
    store = MemoryEvidence(closed(), day)
    decided = asyncio.run(again(store, day))
    assert [one.step for one in decided] == list(AGAIN)
    assert [one.finding for one in decided] == [None] * len(AGAIN)
    recorded = asyncio.run(store.steps(day))
    assert [one.content for one in decided] == [recorded[name].content for name in AGAIN]


def test_what_other_acts_find_and_end_on_a_date_is_not_its_close_s() -> None:
    store = closed()
    late = Break("x", DAY, "receivable_overdue", "bank-a", "156", {}, 5, 0, step="funding")
    also = msgspec.structs.replace(late, id="y", business_date=NEXT)
    store.add(breaks=[late, also], resolutions=[Resolution(n, NEXT, "came", DAY) for n in "xy"])
    decided = asyncio.run(again(MemoryEvidence(store, NEXT), NEXT))
    assert [one.finding for one in decided] == [None] * len(AGAIN)


def test_a_date_that_is_not_closed_has_no_evidence() -> None:
    with pytest.raises(WaitingError):
        asyncio.run(documents(MemoryEvidence(world([]), DAY), DAY, DEFAULTS))


def test_other_settings_are_seen() -> None:
    """A tolerance that was another one at the close: the bundle says which, the store decides so."""
    lax = msgspec.structs.replace(FAST, fee_tolerance_row_minor=10**6)
    store = MemoryEvidence(closed(), DAY)
    decided = {one.step: one.finding for one in asyncio.run(again(store, DAY, lax))}
    assert decided["reconcile"] is None
    assert decided["fees"] is not None


# Every kind of fact, changed in the table as its owner might, and where that is named.
TAMPERED = [
    ("UPDATE settlement.clearing_record SET amount_minor = amount_minor + 1, "
     "effect_minor = effect_minor + 1 WHERE key = 'c50'", "results.json", "reconcile"),
    ("UPDATE settlement.clearing_row SET amount_minor = amount_minor + 1 WHERE stan = '000051'",
     "", "reconcile"),
    ("DELETE FROM settlement.match WHERE record = 'c52'", "results.json", "reconcile.matches"),
    ("UPDATE settlement.match SET rule = 'rrn' WHERE record = 'c53'", "results.json",
     "reconcile.matches"),
    ("UPDATE settlement.break_case SET ours_minor = 1 WHERE break_class = 'network_short'",
     "breaks.json", "reconcile.breaks"),
    ("UPDATE settlement.merchant_fee SET discount_minor = discount_minor + 1 WHERE key = 'c54'",
     "results.json", "fees.merchant_fees"),
    ("UPDATE settlement.network_cost SET issuer_minor = issuer_minor + 1 WHERE key = 'c55'",
     "results.json", "fees.network_costs"),
    ("UPDATE settlement.agent_share SET shares_minor[1] = shares_minor[1] + 1, "
     "own_minor = own_minor - 1 WHERE key = 'c56'", "results.json", "fees.agent_shares"),
    ("UPDATE settlement.net SET net_minor = net_minor + 1, gross_minor = gross_minor + 1 "
     "WHERE business_date = '2026-08-03'", "results.json", "net.nets"),
    ("UPDATE settlement.step SET content = repeat('0', 64) "
     "WHERE (business_date, name) = ('2026-08-03', 'fees')", "results.json", "fees"),
    ("UPDATE settlement.output SET size = size + 1 WHERE business_date = '2026-08-03'",
     "results.json", ""),
    ("UPDATE settlement.incoming_file SET sha256 = sha256(sha256) "
     "WHERE business_date = '2026-08-03'", "inputs.json", ""),
    ("UPDATE switch.capture_v1 SET effect_minor = effect_minor + 1 WHERE capture_id = 57",
     "inputs.json", ""),
    ("UPDATE switch.reference_v1 SET content = jsonb_set(content, '{per_mille}', '\"0.9\"') "
     "WHERE kind = 'agent' AND key = 'a'", "inputs.json", "fees.agent_shares"),
    ("UPDATE settlement.batch_sum SET debit_minor = debit_minor + 1 "
     "WHERE business_date = '2026-08-03'", "", "reconcile.batch_sums"),
    ("UPDATE settlement.settled_sum SET amount_minor = amount_minor + 1 "
     "WHERE business_date = '2026-08-03'", "", "reconcile.settled_sums"),
    ("DELETE FROM settlement.batch_checked WHERE merchant = 'nobody'", "",
     "reconcile.batches_checked"),
    ("UPDATE switch.batch_settled SET said[3] = said[3] + 1 WHERE merchant = 'nobody'", "",
     "reconcile.breaks"),
]  # fmt: skip


async def tampered(dsn: str, sql: str) -> Callable[[], Awaitable[None]]:
    """Change a table behind the program's back; what undoes it."""
    table = sql.split()[2 if sql.startswith("DELETE") else 1]

    async def execute(*statements: str) -> str:
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute("SET session_replication_role = replica")  # no foreign keys
            done = [str(await connection.execute(each)) for each in statements]
            return done[-1]
        finally:
            await connection.close()

    async def undo() -> None:
        await execute(
            f"DELETE FROM {table}", f"INSERT INTO {table} SELECT * FROM kept", "DROP TABLE kept"
        )

    changed = await execute(f"CREATE TABLE kept AS SELECT * FROM {table}", sql)
    assert not changed.endswith(" 0"), changed
    return undo


def test_a_fact_changed_in_the_store_is_named(database_dsn: FreshDatabase) -> None:
    trades, _ = two_days()

    async def scenario() -> None:
        await publish(database_dsn.owner, trades, captures_of(trades), WITH_AGENTS, SAID)
        async with open_postgres(database_dsn.app) as (kept, _):
            await close_both(kept)
            store = PostgresEvidence(kept._pool, DAY)
            signed = documents_of(made(DAY, AT, await documents(store, DAY, FAST), Signer()))
            assert await compared(store, signed, DAY) == []
            assert [one.finding for one in await again(store, DAY)] == [None] * len(AGAIN)
            for sql, place, where in TAMPERED:
                undo = await tampered(database_dsn.superuser, sql)
                found = await compared(store, signed, DAY)
                step = where.partition(".")[0]
                run = await run_of(store, DAY)
                decided = [one.finding async for one in decided_again(run, [step])]
                await undo()
                assert not place or any(one.place.startswith(place) for one in found), (sql, found)
                assert [bool(one and one.place.startswith(where)) for one in decided] == (
                    [True] if step else []
                ), (sql, decided)
            assert await compared(store, signed, DAY) == []

    asyncio.run(scenario())


def test_keys_of_evidence_are_kept_and_only_added(database_dsn: FreshDatabase) -> None:
    async def scenario() -> None:
        assert await evidence_keys(database_dsn.app) == []
        first = EvidenceKey(1, PUBLIC.hex(), b"sealed")
        await add_evidence_key(database_dsn.app, first, "amy")
        with pytest.raises(asyncpg.UniqueViolationError):
            await add_evidence_key(database_dsn.app, EvidenceKey(1, "00" * 32, b"x"), "amy")
        await add_evidence_key(database_dsn.app, EvidenceKey(2, "00" * 32, b"x"), "amy")
        assert [one.version for one in await evidence_keys(database_dsn.app)] == [2, 1]

    asyncio.run(scenario())


def test_both_stores_give_the_same_evidence(database_dsn: FreshDatabase, bundle: bytes) -> None:
    trades, _ = two_days()

    async def scenario() -> bytes:
        await publish(database_dsn.owner, trades, captures_of(trades), WITH_AGENTS, SAID)
        async with open_postgres(database_dsn.app) as (kept, _):
            await close_both(kept)
            store = PostgresEvidence(kept._pool, DAY)
            return made(DAY, AT, await documents(store, DAY, FAST), Signer())

    assert asyncio.run(scenario()) == bundle
