"""Goal: an LMK reaches a running supervisor from who knows its present one, and from nobody else.

Method: the socket itself with an answer of the test, asked rightly, wrongly and not to the end; the
supervisor of a demo, over its real socket; the rule of who may follow, by keys.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import stat
from typing import TYPE_CHECKING

import pytest

from hsm import lmk as lmks
from hsm.lmk import Lmk
from switch import lmk_socket
from switch.lmk_socket import Answer, Dropped, Handed, Request, ask, listen, running
from tests.hsm.support import seeded
from tests.switch.test_supervisor import serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.database import FreshDatabase

OLD, NEW, OTHER = (lmks.make(seeded(seed)) for seed in (1, 2, 3))


def test_requests_are_answered_one_after_the_other(tmp_path: Path) -> None:
    asked: list[Request] = []
    at_once = 0

    async def answer(request: Request) -> Answer:
        nonlocal at_once
        at_once += 1
        assert at_once == 1
        await asyncio.sleep(0.01)
        at_once -= 1
        asked.append(request)
        return Answer(("A", "B"), waiting=(1,))

    async def scenario() -> None:
        server = await listen(tmp_path, answer)
        assert stat.S_IMODE((tmp_path / lmk_socket.NAME).stat().st_mode) == 0o600
        handed = Handed(lmks.hand_over(NEW))
        answers = await asyncio.gather(*(ask(tmp_path, handed) for _ in range(3)))
        assert answers == [Answer(("A", "B"), waiting=(1,))] * 3
        await ask(tmp_path, Dropped("A"))
        assert asked == [*[handed] * 3, Dropped("A")]
        server.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "sent", [b"", b"\0", b"\0\0\0\5abc", b"\0\0\0\1\xc1", b"\xff\xff\xff\xff", b"\0\0\0\2{}"]
)
def test_what_is_no_request_is_not_answered(tmp_path: Path, sent: bytes) -> None:
    async def answer(_: Request) -> Answer:
        raise AssertionError

    async def scenario() -> None:
        server = await listen(tmp_path, answer)
        reader, writer = await asyncio.open_unix_connection(tmp_path / lmk_socket.NAME)
        writer.write(sent)
        writer.write_eof()
        async with asyncio.timeout(60):
            assert await reader.read() == b""
        writer.close()
        server.close()

    asyncio.run(scenario())


def test_another_user_is_not_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(_: Request) -> Answer:
        raise AssertionError

    async def scenario() -> None:
        server = await listen(tmp_path, answer)
        monkeypatch.setattr(lmk_socket, "peer_uid", lambda _: os.geteuid() + 1)
        with pytest.raises(ConnectionResetError):
            await ask(tmp_path, Dropped("A"))
        server.close()

    asyncio.run(scenario())


def test_which_supervisor_runs_is_told_by_its_lock(tmp_path: Path) -> None:
    assert running(tmp_path) is None
    lock = tmp_path / "serve.lock"
    lock.write_text(f"123\n{tmp_path}/run\n")
    assert running(tmp_path) is None  # it has ended
    with lock.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert running(tmp_path) == tmp_path / "run"
        file.truncate(4)
        assert running(tmp_path) is None  # it has not begun


def test_who_may_follow_whom() -> None:
    both = lmks.following(NEW, OLD)
    assert lmks.may_follow(both, OLD)
    assert lmks.may_follow(both, both)
    assert lmks.may_follow(NEW, both)
    assert lmks.may_follow(OLD, OLD)
    for asked, present in (
        (NEW, OLD),  # a new one that does not bring the present one along
        (lmks.following(NEW, OTHER), OLD),
        (OLD, both),  # backwards
        (lmks.following(OTHER, NEW), both),  # the former one is not retired
        (lmks.following(OLD, NEW), both),
        (OTHER, both),
    ):
        assert not lmks.may_follow(asked, present), (asked, present)


def test_of_the_same_check_value_is_not_the_same() -> None:
    forged = lmks.make(seeded(4))
    object.__setattr__(forged, "lmk_id", OLD.lmk_id)
    assert not lmks.may_follow(lmks.following(NEW, forged), OLD)


def test_a_node_of_the_demo_stays_with_its_lmk(tmp_path: Path, database_dsn: FreshDatabase) -> None:
    with serving(tmp_path, database_dsn.owner, more='data = "' + f'{tmp_path}/data"') as node:
        node.facts()
        folder = running(tmp_path / "data")
        assert folder is not None
        answer = asyncio.run(ask(folder, Handed(lmks.hand_over(Lmk(bytes(range(32)), OLD)))))
        assert answer.lmk_ids == lmks.TEST_LMK.lmk_ids
        assert "stays with it" in answer.refused
