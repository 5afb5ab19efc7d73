"""One suite for people in memory and on PostgreSQL; then what only a real PostgreSQL can show.

Goal: an act for two people needs two, once, over exactly what was shown; an operator is who he says; and
whatever happens stands in one chain that no row leaves unnoticed.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
from typing import TYPE_CHECKING, Any, NamedTuple

import asyncpg
import msgspec
import pytest

from settlement.adapters import four_eyes_postgres as transactions
from settlement.four_eyes import Actor, Approval, Proposal, RefusedError, content_hash, judge
from switch.adapters.memory import MemoryStore
from switch.adapters.memory.people import MemoryOperators, MemoryPeople
from switch.adapters.postgres.operators import PostgresOperators
from switch.adapters.postgres.people import PostgresPeople
from switch.adapters.postgres.reference import PostgresReference
from switch.adapters.postgres.sessions import Sessions
from switch.adapters.servers import Servers
from switch.adapters.system import SystemClock
from switch.config import People as Settings
from switch.people import credentials, login
from switch.people.audit import Broken, Record, Verifier
from switch.people.credentials import Credential
from switch.people.operators import Operator
from switch.reference import DESTINATION, bank_account
from terminals.registry import StoredKey
from tests.switch.people.codes import codes_of_now

if TYPE_CHECKING:
    from collections.abc import Callable

    from switch.people.login import Standing, Verdict
    from switch.people.ports import Operators, People
    from switch.reference import ReferenceStore
    from tests.database import FreshDatabase

ACT = "case.adjust"
MAKER = Actor("li", frozenset({f"propose:{ACT}"}))
CHECKER = Actor("wang", frozenset({f"approve:{ACT}"}))
PAYLOAD: dict[str, object] = {"text": 'a "quoted" 通宝\n', "amount_minor": -100, "a": [1, None]}
SETTINGS = Settings(failures_max=3, lock_out_s=60.0)


class Desk(NamedTuple):
    people: People
    operators: Operators


Scenario = "Callable[[Desk], Awaitable[None]]"


@pytest.fixture(params=["memory", "postgres"])
def run(request: pytest.FixtureRequest) -> Callable[[Any], None]:
    database = request.getfixturevalue("database_dsn") if request.param == "postgres" else None

    def runner(scenario: Any) -> None:
        async def main() -> None:
            if database is None:
                people = MemoryPeople(SystemClock())
                await scenario(Desk(people, MemoryOperators(people)))
            else:
                await on_postgres(database.app, scenario)

        asyncio.run(main())

    return runner


async def on_postgres(dsn: str, scenario: Any) -> None:
    sessions = Sessions(Servers(dsn), "test", 2)
    try:
        await scenario(Desk(PostgresPeople(sessions), PostgresOperators(sessions)))
    finally:
        await sessions.close()


async def chain(desk: Desk) -> list[Record]:
    """The log, which must hold."""
    records = [record async for record in desk.people.records()]
    verifier = Verifier()
    assert [verifier.take(record) for record in records] == [None] * len(records)
    assert verifier.end() is None
    return records


async def told(desk: Desk) -> list[tuple[str, str, str, str]]:
    return [(each.actor, each.act, each.object, each.result) for each in await chain(desk)]


async def approval_of(desk: Desk, proposal: Proposal, checker: Actor = CHECKER) -> Approval:
    used = await desk.people.used(proposal.id)
    return judge(proposal, checker, seen=proposal.sha256, used=used)


# -- maker and checker ----------------------------------------------------------------------------


def test_a_proposal_is_kept_whole_and_approved_once(run: Callable[[Any], None]) -> None:
    async def scenario(desk: Desk) -> None:
        made = await desk.people.propose(ACT, "c1", PAYLOAD, MAKER)
        assert made == await desk.people.proposal(made.id)
        assert (made.payload, made.maker) == (PAYLOAD, "li")
        assert made.sha256 == content_hash(ACT, "c1", PAYLOAD)
        assert await desk.people.propose(ACT, "c1", PAYLOAD, MAKER) == made  # pending already
        assert await desk.people.pending() == await desk.people.pending([ACT]) == [made]
        assert await desk.people.pending(["payout.release"]) == []
        assert not await desk.people.used(made.id)

        approval = await approval_of(desk, made)
        await desk.people.approve(approval)
        assert await desk.people.used(made.id)
        assert await desk.people.pending() == []
        assert await desk.people.approved([ACT]) == [approval]
        assert await desk.people.approved(["payout.release"]) == []
        for checker in ("wang", "zhao"):
            with pytest.raises(RefusedError) as refused:
                await desk.people.approve(Approval(made, checker))
            assert refused.value.reason == "replayed"
        again = await desk.people.propose(ACT, "c1", PAYLOAD, MAKER)
        assert again.id != made.id
        assert await told(desk) == [
            ("li", f"propose:{ACT}", "c1", "done"),
            ("wang", f"approve:{ACT}", "c1", "done"),
            ("li", f"propose:{ACT}", "c1", "done"),
        ]

    run(scenario)


@pytest.mark.parametrize(
    ("changes", "checker", "reason"),
    [
        ({}, "li", "self_approval"),
        ({"sha256": "0" * 64}, "wang", "changed"),
        ({"id": "P999999"}, "wang", "unknown"),
    ],
)
def test_the_store_refuses_by_itself(
    run: Callable[[Any], None], changes: dict[str, str], checker: str, reason: str
) -> None:
    """Whatever a command forgot to judge."""

    async def scenario(desk: Desk) -> None:
        made = await desk.people.propose(ACT, "c1", PAYLOAD, MAKER)
        with pytest.raises(RefusedError) as refused:
            await desk.people.approve(Approval(msgspec.structs.replace(made, **changes), checker))
        assert refused.value.reason == reason
        assert not await desk.people.used(made.id)
        await desk.people.refused(checker, f"approve:{ACT}", "c1", refused.value)
        record = (await chain(desk))[-1]
        assert (record.actor, record.result) == (checker, "refused")
        assert msgspec.json.decode(record.after)["reason"] == reason

    run(scenario)


def test_who_may_not_propose(run: Callable[[Any], None]) -> None:
    async def scenario(desk: Desk) -> None:
        with pytest.raises(RefusedError) as refused:
            await desk.people.propose(ACT, "c1", PAYLOAD, CHECKER)
        assert refused.value.reason == "not_allowed"
        assert await desk.people.pending() == []

    run(scenario)


def test_what_was_withdrawn_is_not_approved(run: Callable[[Any], None]) -> None:
    async def scenario(desk: Desk) -> None:
        made = await desk.people.propose(ACT, "c1", PAYLOAD, MAKER)
        assert await desk.people.withdraw(made.id, "li")
        assert not await desk.people.withdraw(made.id, "li")
        assert not await desk.people.withdraw("P999999", "li")
        assert await desk.people.pending() == []
        with pytest.raises(RefusedError) as refused:
            await desk.people.approve(await approval_of(desk, made))
        assert refused.value.reason == "unknown"
        again = await desk.people.propose(ACT, "c1", PAYLOAD, MAKER)
        await desk.people.approve(await approval_of(desk, again))
        assert not await desk.people.withdraw(again.id, "li")

    run(scenario)


def test_the_log_keeps_what_was_before_and_after(run: Callable[[Any], None]) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.people.audit("li", "link.change", "bank-a", {"b": 1, "a": "旧"}, {"b": 2})
        await desk.people.audit("li", "link.end", "bank-a", {"b": 2})
        first, second = await chain(desk)
        assert (first.before, first.after) == ('{"a":"旧","b":1}', '{"b":2}')
        assert (second.seq, second.after, second.previous) == (2, "", first.hash)

    run(scenario)


# -- operators ------------------------------------------------------------------------------------

PASSWORD, TOTP_SECRET = "correct horse battery", bytes(20)


def operator(name: str, *roles: str, **more: Any) -> Operator:
    return Operator(id=name, version=0, name=name.title(), roles=roles, **more)


def password(name: str) -> Credential:
    return credentials.of_password(name, PASSWORD, TOTP_SECRET, os.urandom)


def trying(given: str, code: str = "", settings: Settings = SETTINGS) -> Any:
    def judge_it(standing: Standing) -> Verdict:
        step = int(standing.now.timestamp()) // 30
        shown = code or credentials.totp(TOTP_SECRET, step)
        return login.by_password(standing, given, shown, settings)

    return judge_it


def test_the_first_two_admins_are_made_without_a_checker(run: Callable[[Any], None]) -> None:
    async def scenario(desk: Desk) -> None:
        first, second = operator("an", "admin"), operator("bo", "admin")
        make = desk.operators.bootstrap
        assert not await make(first, password("an"), "an", first=False)
        assert await make(first, password("an"), "os:root", first=True)
        assert not await make(second, password("bo"), "bo", first=True)
        assert not await make(first, password("an"), "an", first=False)
        assert await make(second, password("bo"), "an", first=False)
        assert not await make(operator("cy", "admin"), password("cy"), "an", first=False)
        found = await desk.operators.operators()
        assert [(each.id, each.version, each.roles) for each in found] == [
            ("an", 1, ("admin",)),
            ("bo", 1, ("admin",)),
        ]
        assert await told(desk) == [
            ("os:root", "operator.bootstrap", "an", "done"),
            ("an", "operator.bootstrap", "bo", "done"),
        ]
        for record in await chain(desk):
            assert "$scrypt" not in record.after

    run(scenario)


def test_a_key_is_one_operators(run: Callable[[Any], None]) -> None:
    async def scenario(desk: Desk) -> None:
        make = desk.operators.bootstrap
        key = Credential("an", "ssh_key", public_key="ssh-ed25519 AAAA")
        assert await make(operator("an", "admin"), key, "an", first=True)
        again = msgspec.structs.replace(key, operator="bo")
        with pytest.raises(RefusedError) as refused:
            await make(operator("bo", "admin"), again, "an", first=False)
        assert str(refused.value) == "the key of bo is that of an"
        assert [each.id for each in await desk.operators.operators()] == ["an"]
        other = msgspec.structs.replace(again, public_key="ssh-ed25519 BBBB")
        assert await make(operator("bo", "admin"), other, "an", first=False)

    run(scenario)


def test_an_operator_is_added_by_an_approval_and_enrols_with_a_code(
    run: Callable[[Any], None],
) -> None:
    async def scenario(desk: Desk) -> None:
        admin = Actor("an", frozenset({"propose:operator.add"}))
        checker = Actor("bo", frozenset({"approve:operator.add"}))
        wanted: dict[str, object] = {"name": "Li", "roles": ["finance"], "public_key": ""}
        made = await desk.people.propose("operator.add", "li", wanted, admin)
        soon = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
        enrolment = credentials.of_enrolment("li", "ABCDEF", soon, os.urandom)
        approval = await approval_of(desk, made, checker)
        change = desk.operators.change
        for other, credential in (
            (operator("li", "admin"), enrolment),
            (operator("zhao", "finance"), enrolment),
            (operator("li", "finance", state="suspended"), enrolment),
            (operator("li", "finance"), None),
            (operator("li", "finance"), Credential("li", "ssh_key", public_key="ssh-rsa A")),
        ):
            with pytest.raises(RefusedError) as refused:
                await change("operator.add", "an", other, credential, approval)
            assert refused.value.reason == "changed"
        await change("operator.add", "an", operator("li", "finance"), enrolment, approval)
        with pytest.raises(RefusedError):  # there is one now
            await change("operator.add", "an", operator("li", "finance"), enrolment, approval)
        for act, alone in (
            ("operator.suspend", operator("li", "admin", state="suspended")),
            ("operator.suspend", operator("li", "finance")),
            ("operator.roles", operator("li", "admin")),
            ("operator.suspend", operator("zhao", state="suspended")),
        ):
            with pytest.raises(RefusedError) as refused:
                await change(act, "an", alone)
            assert refused.value.reason == "not_allowed"
        assert [each.roles for each in await desk.operators.operators()] == [("finance",)]

        def enrolling(code: str) -> Any:
            return lambda standing: login.by_enrolment(standing, code, SETTINGS)

        assert (await desk.operators.login("li", trying(PASSWORD))).reason == "other_credential"
        mine = password("li")
        assert not (await desk.operators.enrol("li", enrolling("ABCDEX"), mine)).passed
        assert (await desk.operators.enrol("li", enrolling("abcdef"), mine)).passed
        assert await desk.operators.credential("li") == mine
        assert not (await desk.operators.enrol("li", enrolling("ABCDEF"), mine)).passed
        assert (await desk.operators.login("li", trying(PASSWORD))).passed
        suspended = operator("li", "finance", state="suspended")
        assert (await change("operator.suspend", "an", suspended)).version == 2
        assert (await desk.operators.login("li", trying(PASSWORD))).reason == "suspended"

    run(scenario)


def test_a_code_is_taken_once(run: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch) -> None:
    step = codes_of_now(monkeypatch)

    async def scenario(desk: Desk) -> None:
        await desk.operators.bootstrap(operator("an", "admin"), password("an"), "an", first=True)
        once = trying(PASSWORD, credentials.totp(TOTP_SECRET, step))
        assert (await desk.operators.login("an", once)).passed
        assert (await desk.operators.login("an", once)).reason == "replayed_code"
        assert await told(desk) == [
            ("an", "operator.bootstrap", "an", "done"),
            ("an", "login", "an", "refused"),
        ]

    run(scenario)


def test_failures_in_a_row_lock_out_until_somebody_unlocks(run: Callable[[Any], None]) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.operators.bootstrap(operator("an", "admin"), password("an"), "an", first=True)
        wrong, right = trying("wrong password"), trying(PASSWORD)
        for _ in range(2):
            assert (await desk.operators.login("an", wrong)).reason == "wrong"
        assert (await desk.operators.login("an", right)).passed  # and they count anew
        for _ in range(3):
            assert (await desk.operators.login("an", wrong)).reason == "wrong"
        locked = await desk.operators.login("an", right)
        assert locked.reason == "locked"
        assert locked.until is not None
        await desk.operators.unlock("an", "bo")
        later = await desk.operators.login("an", right)
        assert later.reason in ("", "replayed_code")  # the code of the same half minute is used up
        assert [each for each in await told(desk) if each[1] == "operator.unlock"] == [
            ("bo", "operator.unlock", "an", "done")
        ]

    run(scenario)


def test_nobody_is_nobody(run: Callable[[Any], None]) -> None:
    async def scenario(desk: Desk) -> None:
        assert (await desk.operators.login("ghost", trying(PASSWORD))).reason == "wrong"
        assert await desk.operators.credential("ghost") is None
        assert await told(desk) == [("ghost", "login", "ghost", "refused")]

    run(scenario)


# -- on PostgreSQL --------------------------------------------------------------------------------


def test_guesses_at_once_are_counted_one_by_one(database_dsn: FreshDatabase) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.operators.bootstrap(operator("an", "admin"), password("an"), "an", first=True)
        verdicts = await asyncio.gather(
            *(desk.operators.login("an", trying(f"wrong {number}")) for number in range(6))
        )
        assert sorted(each.reason for each in verdicts) == ["locked"] * 3 + ["wrong"] * 3

    asyncio.run(on_postgres(database_dsn.app, scenario))


def test_two_checkers_at_once_use_an_approval_once(database_dsn: FreshDatabase) -> None:
    async def scenario(desk: Desk) -> None:
        for number in range(10):
            made = await desk.people.propose(ACT, f"c{number}", PAYLOAD, MAKER)
            outcomes = await asyncio.gather(
                *(
                    desk.people.approve(Approval(made, checker))
                    for checker in ("wang", "zhao", "sun", "zhou")
                ),
                return_exceptions=True,
            )
            refused = [each for each in outcomes if isinstance(each, RefusedError)]
            assert [each.reason for each in refused] == ["replayed"] * 3
            assert outcomes.count(None) == 1
        assert len(await chain(desk)) == 20

    asyncio.run(on_postgres(database_dsn.app, scenario))


def test_nobody_waits_for_ever(database_dsn: FreshDatabase) -> None:
    """An act with its record and approval, and a withdrawal that comes between: no deadlock."""

    async def scenario(desk: Desk) -> None:
        made = await desk.people.propose(ACT, "c1", PAYLOAD, MAKER)
        one, other = [await asyncpg.connect(database_dsn.app) for _ in range(2)]
        try:
            async with one.transaction():
                await transactions.audit(one, "li", ACT, made.subject)
                withdrawal = asyncio.create_task(
                    other.fetchval("SELECT switch.withdraw_v1($1, 'li')", made.id)
                )
                await asyncio.sleep(0.2)  # it waits now
                await transactions.approve(one, Approval(made, "wang"))
            assert await withdrawal is False
        finally:
            await one.close()
            await other.close()

    asyncio.run(on_postgres(database_dsn.app, scenario))


def test_an_old_snapshot_can_not_fork_the_chain(database_dsn: FreshDatabase) -> None:
    async def scenario(desk: Desk) -> None:
        connection = await asyncpg.connect(database_dsn.app)
        try:
            transaction = connection.transaction(isolation="repeatable_read")
            await transaction.start()
            await connection.execute("SELECT FROM switch.audit_record")
            await desk.people.audit("li", "test", "x")
            with pytest.raises(asyncpg.UniqueViolationError):
                await transactions.audit(connection, "wang", "test", "x")
            await transaction.rollback()
        finally:
            await connection.close()
        assert [each.actor for each in await chain(desk)] == ["li"]

    asyncio.run(on_postgres(database_dsn.app, scenario))


def test_many_writers_make_one_chain(database_dsn: FreshDatabase) -> None:
    async def writer(name: str) -> None:
        connection = await asyncpg.connect(database_dsn.app)
        try:
            for number in range(25):
                await connection.execute(
                    "SELECT switch.audit_v1($1, 'test', $2, '', '')", name, str(number)
                )
        finally:
            await connection.close()

    async def scenario(desk: Desk) -> None:
        await asyncio.gather(*(writer(f"writer{number}") for number in range(6)))
        assert len(await chain(desk)) == 150

    asyncio.run(on_postgres(database_dsn.app, scenario))


async def as_superuser(database: FreshDatabase, *statements: str) -> None:
    connection = await asyncpg.connect(database.superuser)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


def test_a_payload_that_was_changed_in_the_table_is_refused(database_dsn: FreshDatabase) -> None:
    async def scenario(desk: Desk) -> None:
        made = await desk.people.propose(ACT, "c1", PAYLOAD, MAKER)
        approval = await approval_of(desk, made)
        change = "UPDATE switch.proposal SET payload = replace(payload, '-100', '-900')"
        await as_superuser(database_dsn, change)
        found = await desk.people.proposal(made.id)
        assert found is not None
        assert found.payload["amount_minor"] == -900
        with pytest.raises(RefusedError) as refused:
            judge(found, CHECKER, seen=found.sha256, used=False)
        assert refused.value.reason == "changed"
        with pytest.raises(RefusedError) as refused:
            await desk.people.approve(approval)  # as it was shown before
        assert refused.value.reason == "changed"

    asyncio.run(on_postgres(database_dsn.app, scenario))


@pytest.mark.parametrize(
    ("tampering", "broken"),
    [
        ("UPDATE switch.audit_record SET actor = 'x' WHERE seq = 3", Broken(3, "changed")),
        ("UPDATE switch.audit_record SET after = '{}' WHERE seq = 5", Broken(5, "changed")),
        ("UPDATE switch.audit_record SET at = at - interval '1 us' WHERE seq = 1", Broken(1, "changed")),
        ("UPDATE switch.audit_record SET result = 'refused' WHERE seq = 2", Broken(2, "changed")),
        ("DELETE FROM switch.audit_record WHERE seq = 4", Broken(4, "missing")),
        ("UPDATE switch.audit_record SET seq = 9 WHERE seq = 2", Broken(2, "missing")),
        (
            "UPDATE switch.audit_record SET actor = 'x', hash = switch.audit_hash(previous, seq, at,"
            " 'x', act, object, result, before, after) WHERE seq = 2",
            Broken(2, "rehashed"),
        ),
        (
            "INSERT INTO switch.audit_record SELECT 6, at, actor, act, object, result, before, after,"
            " hash, sha256(hash) FROM switch.audit_record WHERE seq = 5",
            Broken(6, "changed"),
        ),
    ],
)  # fmt: skip
def test_tampering_is_named(database_dsn: FreshDatabase, tampering: str, broken: Broken) -> None:
    async def scenario(desk: Desk) -> None:
        for number in range(5):
            await desk.people.audit("li", "test", f"o{number}", None, {"n": number})
        _ = await chain(desk)
        await as_superuser(database_dsn, "SET search_path TO switch", tampering)
        verifier = Verifier()
        found = None
        async for record in desk.people.records():
            found = found or verifier.take(record)
        assert (found or verifier.end()) == broken

    asyncio.run(on_postgres(database_dsn.app, scenario))


def test_where_nothing_can_be_written_down_nothing_is_done(database_dsn: FreshDatabase) -> None:
    async def scenario(desk: Desk) -> None:
        made = await desk.people.propose(ACT, "c1", PAYLOAD, MAKER)
        await desk.operators.bootstrap(operator("an", "admin"), password("an"), "an", first=True)
        await as_superuser(
            database_dsn,
            "ALTER TABLE switch.audit_record ADD CONSTRAINT full_up CHECK (seq <= 2)",
        )
        for act in (
            desk.people.propose(ACT, "c2", PAYLOAD, MAKER),
            desk.people.approve(Approval(made, "wang")),
            desk.people.withdraw(made.id, "li"),
            desk.people.audit("li", "test", "x"),
            desk.operators.change(
                "operator.suspend", "an", operator("an", "admin", state="suspended")
            ),
            desk.operators.unlock("an", "an"),
        ):
            with pytest.raises(asyncpg.CheckViolationError):
                await act
        assert await desk.people.pending() == [made]
        assert [each.state for each in await desk.operators.operators()] == ["active"]
        assert len(await chain(desk)) == 2

    asyncio.run(on_postgres(database_dsn.app, scenario))


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO switch.audit_record SELECT * FROM switch.audit_record",
        "UPDATE switch.audit_record SET actor = 'x'",
        "DELETE FROM switch.audit_record",
        "INSERT INTO switch.approval (proposal_id, checker) VALUES ('P000001', 'li')",
        "UPDATE switch.proposal SET payload = '{}'",
        "UPDATE switch.operator SET roles = '{admin}'",
        "UPDATE switch.credential SET secret = ''",
        "DELETE FROM switch.login",
        "SELECT switch.audit_hash('', 1, now(), '', '', '', '', '', '')",
    ],
)
def test_the_switch_itself_can_not_go_around_it(
    database_dsn: FreshDatabase, statement: str
) -> None:
    refused_to(database_dsn.app, statement)


@pytest.mark.parametrize("table", ["credential", "login", "operator", "proposal", "audit_record"])
def test_the_reader_of_views_reads_none_of_it(database_dsn: FreshDatabase, table: str) -> None:
    refused_to(database_dsn.reader, f"SELECT FROM switch.{table}")


def refused_to(dsn: str, statement: str) -> None:
    async def scenario() -> None:
        connection = await asyncpg.connect(dsn)
        try:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(scenario())


# -- reference data -------------------------------------------------------------------------------

SHOP, KEY = {"merchant": "M1", "name": "Shop"}, "M1"


@pytest.fixture(params=["memory", "postgres"])
def with_reference(request: pytest.FixtureRequest) -> Callable[[Any], None]:
    """Runs a scenario over (desk, reference store) of one store."""
    database = request.getfixturevalue("database_dsn") if request.param == "postgres" else None

    def runner(scenario: Any) -> None:
        async def main() -> None:
            if database is None:
                store = MemoryStore(SystemClock())
                desk = Desk(store.people, MemoryOperators(store.people))
                await scenario(desk, store.reference)
                return
            sessions = Sessions(Servers(database.app), "test", 2)
            try:
                desk = Desk(PostgresPeople(sessions), PostgresOperators(sessions))
                await scenario(desk, PostgresReference(sessions))
            finally:
                await sessions.close()

        asyncio.run(main())

    return runner


def shop(account: str) -> tuple[str, str, dict[str, Any]]:
    return ("merchant", KEY, {**SHOP, "settlement_account": account})


def test_an_account_is_changed_by_an_approval_of_just_that(
    with_reference: Callable[[Any], None],
) -> None:
    maker = Actor("li", frozenset({"propose:merchant.account"}))
    checker = Actor("wang", frozenset({"approve:merchant.account"}))

    async def scenario(desk: Desk, reference: ReferenceStore) -> None:
        await reference.apply([shop("first")], maker="li")

        async def approval_for(key: str, account: str) -> Approval:
            payload: dict[str, object] = {"settlement_account": account}
            made = await desk.people.propose("merchant.account", key, payload, maker)
            return await approval_of(desk, made, checker)

        second = await approval_for(KEY, "second")
        for account, approval, reason in (
            ("second", None, "not_allowed"),
            ("third", second, "changed"),
            ("second", await approval_for("M2", "second"), "changed"),
            ("second", Approval(second.proposal, "li"), "self_approval"),
        ):
            with pytest.raises(RefusedError) as refused:
                await reference.apply([shop(account)], maker="li", approval=approval)
            assert refused.value.reason == reason
        (item,) = await reference.items("merchant")
        assert item.content["settlement_account"] == "first"
        assert not await desk.people.used(second.proposal.id)

        (item,) = await reference.apply(
            [shop("second")], maker="li", act="merchant.account", approval=second
        )
        assert (item.version, item.content["settlement_account"]) == (2, "second")
        with pytest.raises(RefusedError) as refused:
            await reference.apply([shop("first")], maker="li", approval=second)
        assert refused.value.reason == "changed"
        record = (await chain(desk))[-2]
        assert (record.act, record.object) == ("merchant.account", "merchant M1")
        before, after = msgspec.json.decode(record.before), msgspec.json.decode(record.after)
        assert before["content"]["settlement_account"] == "first"
        assert after["content"]["settlement_account"] == "second"

    with_reference(scenario)


@pytest.mark.parametrize(
    ("kind", "key", "payee", "shape"),
    [
        ("merchant", KEY, KEY, SHOP),
        ("agent", "north", "agent/north", {"agent": "north", "name": "N", "per_mille": "1"}),
    ],
)
@pytest.mark.parametrize("field", DESTINATION)
def test_all_that_says_where_a_payees_money_goes_takes_two(
    with_reference: Callable[[Any], None],
    kind: str,
    key: str,
    payee: str,
    shape: dict[str, Any],
    field: str,
) -> None:
    maker = Actor("li", frozenset({"propose:merchant.account"}))
    checker = Actor("wang", frozenset({"approve:merchant.account"}))

    async def scenario(desk: Desk, reference: ReferenceStore) -> None:
        await reference.apply([(kind, key, shape)], maker="li")
        other = (kind, key, {**shape, field: "elsewhere"})
        with pytest.raises(RefusedError) as refused:
            await reference.apply([other], maker="li")
        assert refused.value.reason == "not_allowed"
        made = await desk.people.propose("merchant.account", payee, {field: "elsewhere"}, maker)
        approval = await approval_of(desk, made, checker)
        (item,) = await reference.apply(
            [other], maker="li", act="merchant.account", approval=approval
        )
        assert item.content[field] == "elsewhere"

    with_reference(scenario)


OURS = {
    "name": "reserve-a",
    "purpose": "reserve",
    "account": "110000000000000001",
    "bank": "PBOCCNBJ",
    "holder": "Tongbao",
}


def test_an_account_of_ours_takes_two_from_the_first_on(
    with_reference: Callable[[Any], None],
) -> None:
    may = {f"{verb}:bank.account" for verb in ("propose", "approve")}
    maker, checker = Actor("li", frozenset(may)), Actor("wang", frozenset(may))

    async def scenario(desk: Desk, reference: ReferenceStore) -> None:
        async def approved(subject: str, **values: str) -> Approval:
            made = await desk.people.propose("bank.account", subject, {**OURS, **values}, maker)
            return await approval_of(desk, made, checker)

        def ours(**values: str) -> tuple[str, str, dict[str, Any]]:
            return "bank_account", "reserve-a", {**OURS, **values}

        async def refused(item: Any, approval: Approval | None, reason: str) -> None:
            with pytest.raises(RefusedError) as error:
                await reference.apply([item], maker="li", approval=approval)
            assert error.value.reason == reason

        await refused(ours(), None, "not_allowed")
        first = await approved("reserve-a")
        await refused(ours(account="2"), first, "changed")
        await refused(ours(), await approved("other"), "changed")
        await refused(ours(), Approval(first.proposal, "li"), "self_approval")
        assert await reference.items("bank_account") == []
        (item,) = await reference.apply([ours()], maker="li", act="bank.account", approval=first)
        assert item.version == 1
        await refused(ours(account="2"), first, "changed")
        for name in ("account", "bank", "holder", "calendar"):
            await refused(ours(**{name: "elsewhere"}), None, "not_allowed")
        await refused(ours(purpose="own"), None, "not_allowed")
        # without a difference nothing takes two, defaults written out or not
        (again,) = await reference.apply([ours(currency="156")], maker="li")
        assert bank_account(again.content) == bank_account(item.content)
        assert [one.act for one in (await chain(desk))[-3:]].count("bank.account") == 1

    with_reference(scenario)


def test_reference_data_and_keys_stand_in_the_log(with_reference: Callable[[Any], None]) -> None:
    async def scenario(desk: Desk, reference: ReferenceStore) -> None:
        await reference.apply([shop(""), ("route", "62", {"prefix": "62"})], maker="li")
        await reference.apply([shop("")], maker="li")  # nothing changed, nothing told
        key = StoredKey(
            owner="data", usage="DATA", version=0, block="D0", check_value="00", lmk_id="L"
        )
        await reference.add_key(key, maker="wang")
        assert await told(desk) == [
            ("li", "data.apply", "merchant M1", "done"),
            ("li", "data.apply", "route 62", "done"),
            ("wang", "keys.import", "data DATA", "done"),
        ]
        assert '"D0"' not in (await chain(desk))[-1].after

    with_reference(scenario)


def test_where_nothing_can_be_written_down_no_reference_data_changes(
    database_dsn: FreshDatabase,
) -> None:
    async def scenario() -> None:
        await as_superuser(
            database_dsn, "ALTER TABLE switch.audit_record ADD CONSTRAINT full_up CHECK (seq < 2)"
        )
        sessions = Sessions(Servers(database_dsn.app), "test", 1)
        try:
            reference = PostgresReference(sessions)
            with pytest.raises(asyncpg.CheckViolationError):
                await reference.apply([shop("a"), ("route", "62", {})], maker="li")
            assert await reference.items() == []
        finally:
            await sessions.close()

    asyncio.run(scenario())
