"""Messages that other people's terminals sent, with their keys, to the running switch.

Goal: a published message whose MAC is known is taken by a real node for what it is: any answer but
A0, signed so that its own terminal would believe it. Method: every corpus record with keys and a known
MAC is a terminal of the node's estate, its working keys stored as a sign-on would have stored them
(published and weak ones, so `--demo`); the record is framed, given its DE 64 and sent.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from hsm import mac
from hsm.keys import KeyUsage
from iso8583.codec import codec_for
from iso8583.framing import POS, Frame, build
from switch.adapters.postgres import PostgresStore
from switch.adapters.system import SystemClock
from switch.store_ports import Session
from tests.end_to_end.node import RefItem, bring_in, running, stored_key
from tests.end_to_end.wire import Wire, known
from tests.iso8583.corpus import body, frame_parts, record, records

if TYPE_CHECKING:
    from pathlib import Path

    from tests.end_to_end.node import Node

pytestmark = pytest.mark.xdist_group("end_to_end_2")

TPDU, HEADER = bytes.fromhex("6000030001"), bytes.fromhex("603100310000")
NO_PIK = "1C" * 8 + "2F" * 8  # where the source publishes none
NO_TMK = "3B" * 8 + "4A" * 8


class Case(msgspec.Struct, frozen=True):
    """One record: how its terminal signs, and the answer that follows from its content."""

    mac_profile: str
    answer: str
    why: str
    dialect: str = "unionpay_pos"


CASES = {
    "cup-lyx-reversal-resp-x919": Case("x9.19-binary", "25", "a 0400 without an original"),
    "cup-mac-agiledata": Case("unionpay-ecb", "77", "batch 001437 is not the open one"),
    "cup-mac-halalah": Case(
        "unionpay-ecb", "14", "batch 000001; no PAN in clear", "unionpay_pos.de35_cipher_de60_long"
    ),
    "cup-mac-secretutil": Case("unionpay-ecb", "15", "batch 000001; no route for the card"),
}
# Keys, but no answer that anybody could reproduce with them: whatever is sent has a wrong MAC.
WITHOUT_ANSWER = {"cup-hms-purchase-macin", "cup-mac-cryptoutils-reversal", "cup-mac-steel-ccb"}
ELSEWHERE = {"cup-go8583-signin-resp"}  # an answer, opened in tests/hsm/test_corpus.py


def test_every_record_with_keys_has_its_place() -> None:
    keyed = {row["id"] for row in records() if row.get("keys")}
    assert keyed == set(CASES) | WITHOUT_ANSWER | ELSEWHERE


def signed_body(name: str) -> bytes:
    """The message as its terminal sent it; where the source has the MAC's input only, with DE 64."""
    row = record(name)
    if not row.get("mac_input"):
        return body(row)
    known: str = row["kat"]["field64_ascii"]
    return body(row) + known.encode()


def identity(name: str) -> tuple[str, str]:
    fields = record(name)["decoded"]["fields"]
    return fields["42"], fields["41"]


async def furnish(node: Node) -> None:
    """One merchant, profile and terminal a record, and the session that it is in."""
    items: list[RefItem] = []
    keys = []
    for name, case in CASES.items():
        merchant, terminal = identity(name)
        of = f"{merchant}/{terminal}"
        clear = record(name)["keys"]
        items += [
            ("merchant", merchant, {"merchant": merchant, "name": name}),
            (
                "profile",
                name,
                {
                    "name": name,
                    "dialect": case.dialect,
                    "mac_profile": case.mac_profile,
                    "mak_bytes": len(clear["mak"]) // 2,
                },
            ),
            ("terminal", of, {"merchant": merchant, "terminal": terminal, "profile": name}),
        ]
        keys.append(stored_key(f"terminal:{of}", KeyUsage.TMK, clear.get("tmk", NO_TMK)))
    await bring_in(node, items, keys)
    store = await PostgresStore.open(node.facts["database"]["dsn"], SystemClock())
    for name in CASES:
        merchant, terminal = identity(name)
        clear = record(name)["keys"]
        await store.batches.sign_on(
            Session(
                session_id=0,
                merchant=merchant,
                terminal=terminal,
                layout="003",
                pik=stored_key("", KeyUsage.TPK, clear.get("pik", NO_PIK)).block,
                mak=stored_key("", KeyUsage.MAK, clear["mak"]).block,
                tdk=None,
                created_at=dt.datetime.now(dt.UTC),
                confirmed=False,
            )
        )
    await store.close()
    await known(node, *identity(next(reversed(CASES))))


async def answer_of(wire: Wire, name: str, data: bytes) -> Frame:
    row = record(name)
    _, tpdu, header = frame_parts(row)
    wire.send(build(Frame(tpdu or TPDU, header or HEADER, data), POS))
    return await wire.frame()


def check(name: str, case: Case, frame: Frame) -> None:
    answer: dict[int, Any] = codec_for(case.dialect).decode(frame.body)
    assert answer[39] == case.answer, (name, case.why, answer)
    key = bytes.fromhex(record(name)["keys"]["mak"])
    assert mac.verify(case.mac_profile, key, frame.body[:-8], answer[64]), name
    fields = record(name)["decoded"]["fields"]
    assert (answer[11], answer[41], answer[42]) == (fields["11"], fields["41"], fields["42"])


def test_known_macs_are_taken_and_answered_under_the_same_keys(tmp_path: Path) -> None:
    async def scenario(node: Node) -> None:
        await furnish(node)
        async with Wire(node.address) as wire:
            for name, case in CASES.items():
                data = signed_body(name)
                check(name, case, await answer_of(wire, name, data))
                spoilt = await answer_of(wire, name, data[:-1] + bytes([data[-1] ^ 1]))
                assert codec_for(case.dialect).decode(spoilt.body)[39] == "A0", name
                again = await answer_of(wire, name, data)
                check(name, case, again)

    with running(tmp_path, more="[server]\nidle_s = 60\n") as node:
        asyncio.run(scenario(node))
        assert node.stop() == 0, node.log()
