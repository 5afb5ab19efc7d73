"""Which server of a DSN is used: two real servers, killed, paused, promoted, come back.

Also the two answers of a commit that look like success and prove nothing: one whose standby was not
waited for, and one that the former primary gave before another took its place.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections import Counter
from typing import TYPE_CHECKING

import asyncpg
import pytest
import structlog

from switch.adapters.postgres import PostgresStore
from switch.adapters.postgres.connections import (
    PROBES_S,
    Peer,
    backend_of,
    connect,
    wait_until_gone,
)
from switch.adapters.servers import NoPrimaryError, Servers, timeline_of
from switch.adapters.system import SystemClock
from switch.journal import Commit, StoreDownError
from tests.contract.worlds import DAY, outcome, request, stored, wait_for
from tests.standby import Pair, ask, promote

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator

    from switch.adapters.servers import Connection

pytestmark = pytest.mark.xdist_group("standby")


@pytest.fixture
def pair() -> Iterator[Pair]:
    with Pair() as pair:
        yield pair


async def port_of(connection: Connection) -> int:
    return int(await connection.fetchval("SELECT inet_server_port()"))


def test_the_primary_is_followed(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it stands in the DSN; a former one that comes back is left alone.

    One that never answers is waited for without end here: it is not what the other is found by.
    """
    monkeypatch.setattr("switch.adapters.servers.CONNECT_TIMEOUT_S", 3_600.0)

    async def scenario() -> None:
        servers = Servers(pair.dsn())
        connection = await servers.connect()
        assert await port_of(connection) == pair.primary.port
        await connection.close()
        pair.primary.signal(signal.SIGSTOP)  # it takes connections and never answers
        await promote(pair.standby)
        async with asyncio.timeout(60.0):
            connection = await servers.connect()
        assert await port_of(connection) == pair.standby.port
        assert await timeline_of(connection) == 2
        assert (
            await servers.primary() == Servers(pair.standby.dsn("tongbao_app", "tongbao"))._dsns[0]
        )
        await connection.close()
        pair.primary.signal(signal.SIGCONT)  # nobody fenced it: it takes writes again
        for known in (servers, Servers(pair.dsn())):
            connection = await known.connect()
            assert await port_of(connection) == pair.standby.port
            await connection.close()
        pair.standby.kill()
        with pytest.raises(NoPrimaryError, match=f"{pair.primary.port} is of timeline 1, before"):
            await servers.connect()

    asyncio.run(scenario())


def test_no_primary_is_told_server_by_server(pair: Pair) -> None:
    async def scenario() -> None:
        pair.primary.kill()
        with pytest.raises(NoPrimaryError) as caught:
            await Servers(pair.dsn()).connect()
        assert f"127.0.0.1:{pair.primary.port} failed (ConnectionRefusedError" in str(caught.value)
        assert f"127.0.0.1:{pair.standby.port} is a standby" in str(caught.value)
        with pytest.raises(NoPrimaryError, match="is a standby"):
            await Servers(pair.standby.dsn()).connect()
        with pytest.raises(ConnectionRefusedError):
            await Servers(pair.primary.dsn()).connect()

    asyncio.run(scenario())


def test_a_backend_of_the_former_primary_is_not_awaited(pair: Pair) -> None:
    """A process of the same number and start on the new primary would be another one."""

    async def scenario() -> None:
        servers = Servers(pair.dsn())
        lost = await connect(servers, "former")
        former = await backend_of(lost)
        lost.terminate()
        pair.primary.kill()
        await promote(pair.standby)
        connection = await connect(servers, "new")
        witness = await connect(servers, "witness")
        there = await backend_of(witness)
        async with asyncio.timeout(60.0):
            await wait_until_gone(connection, there._replace(timeline=former.timeline))
        assert not witness.is_closed()
        assert await witness.fetchval("SELECT 1") == 1
        async with asyncio.timeout(60.0):
            await wait_until_gone(connection, there)  # of this timeline it is told to end
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await witness.fetchval("SELECT 1")
        connection.terminate()
        witness.terminate()

    asyncio.run(scenario())


def test_a_peer_that_vanished_is_noticed(pair: Pair) -> None:
    """By the kernel, within idle time + user time-out, on a connection that only waits too."""

    async def scenario() -> None:
        connection = await connect(Servers(pair.dsn()), "test", Peer(7.0, 9.0))
        sock = connection._transport.get_extra_info("socket")
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_USER_TIMEOUT)
        found = [sock.getsockopt(socket.IPPROTO_TCP, option) for option in options]
        assert found == [7, PROBES_S, 9_000]
        assert await connection.fetchval("SHOW tcp_keepalives_interval") == str(PROBES_S)
        await connection.close()

    asyncio.run(scenario())


# -- a standby that was not waited for ----------------------------------------------------------


async def cut_over(store: PostgresStore, date: dt.date) -> None:
    """As a caller would: again while a promotion takes longer than the few tries of one call."""
    while True:
        try:
            return await store.days.cut_over(date)
        except StoreDownError:
            await asyncio.sleep(0.2)


def test_a_cancelled_wait_for_the_standby_answers_nothing(pair: Pair) -> None:
    """The commit looks like success but for a warning: it is run again, and told when it is safe."""

    async def scenario() -> None:
        store = await PostgresStore.open(pair.dsn(), SystemClock())
        date = stored(await store.journal.commit(Commit(request=request(1))))
        pair.standby.signal(signal.SIGSTOP)
        cut = asyncio.create_task(cut_over(store, date + DAY))
        waits = asyncio.create_task(store.journal.commit(Commit(outcome=outcome(1, date))))

        cancelled: Counter[str] = Counter()
        async with asyncio.timeout(60.0):
            # of what is committed, and of what is written before that is run again
            while cancelled["tongbao journal"] < 5 or cancelled["tongbao"] < 2:
                most = [name for name, times in cancelled.items() if times >= 5]
                found = await ask(
                    pair.primary.dsn(),
                    "SELECT application_name, pg_cancel_backend(pid) FROM pg_stat_activity"
                    " WHERE wait_event = 'SyncRep' AND application_name <> ALL ($1::text[])",
                    [*most, "tongbao"] if cancelled["tongbao"] >= 2 else most,
                )
                cancelled.update(row[0] for row in found)
                await asyncio.sleep(0.02)
        assert store.writer.reruns
        there = await ask(
            pair.primary.dsn("postgres", "tongbao"), "SELECT count(*) FROM switch.outcome"
        )
        assert there[0][0] == 1  # here, and nowhere else
        assert not waits.done()
        assert not cut.done()
        pair.primary.kill()
        pair.standby.signal(signal.SIGCONT)
        await promote(pair.standby)
        stored(await asyncio.wait_for(waits, 60.0))
        await asyncio.wait_for(cut, 60.0)
        assert await store.days.business_date() == date + DAY
        await store.close()
        found = await ask(
            pair.standby.dsn("postgres", "tongbao"),
            "SELECT count(*) AS outcomes, (SELECT count(*) FROM switch.capture_v1) AS captures"
            " FROM switch.outcome",
        )
        assert tuple(found[0]) == (1, 1)

    asyncio.run(scenario())


def test_while_no_standby_confirms_new_requests_are_refused_early(pair: Pair) -> None:
    """The commit that waits stays unknown, outcomes wait, and all goes on when it is there again."""

    async def scenario() -> None:
        store = await PostgresStore.open(pair.dsn(), SystemClock())
        date = stored(await store.journal.commit(Commit(request=request(1))))
        pair.standby.signal(signal.SIGSTOP)
        waits = asyncio.create_task(store.journal.commit(Commit(request=request(2))))
        await wait_for(store.writer._is_away)
        for number in range(3, 10):
            with pytest.raises(StoreDownError):
                await asyncio.wait_for(store.journal.commit(Commit(request=request(number))), 60.0)
        last = asyncio.create_task(store.journal.commit(Commit(outcome=outcome(1, date))))
        await asyncio.sleep(0.2)
        assert not waits.done()
        assert not last.done()
        pair.standby.signal(signal.SIGCONT)
        for task in (waits, last):
            stored(await asyncio.wait_for(task, 60.0))
        stored(await store.journal.commit(Commit(request=request(10))))
        assert store.writer.reruns == 0
        await store.close()

    with structlog.testing.capture_logs() as said:
        asyncio.run(scenario())
    assert [event["event"] for event in said] == ["journal_store_away", "journal_store_back"]
    assert said[0]["reason"] == "no answer"
