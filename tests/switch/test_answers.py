"""The answer to a terminal: what of the outcome it is told.

Method: rows of `tests/switch/rows.py`, changed as told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from switch.answers import answer_money
from tests.switch.rows import APPROVED, ATTEMPT, REQUEST

if TYPE_CHECKING:
    from iso8583.message import Message

ASKED: Message = {
    0: "0200", 3: "000000", 4: "000000010000", 11: "000042", 41: "T0000001", 42: "M00000000000001",
}  # fmt: skip


def test_what_the_host_said_beside_its_code() -> None:
    """Text and bytes of the stored outcome (DE 44, 54, 55) come back as they were; nothing else does."""
    told: Message = {44: "0102", 54: "0202156C000000010000", 55: b"\x91\x02\x30\x30", 38: "A00001"}
    outcome = msgspec.structs.replace(APPROVED, answer=msgspec.msgpack.encode(told))
    answer = answer_money(ASKED, "00", REQUEST, ATTEMPT, outcome)
    assert {de: answer.get(de) for de in (38, 44, 54, 55)} == {**told, 38: APPROVED.auth_code}


def test_a_partial_approval_says_its_amount() -> None:
    outcome = msgspec.structs.replace(APPROVED, approved_amount_minor=4_000)
    assert answer_money(ASKED, "10", REQUEST, ATTEMPT, outcome)[4] == "000000004000"
    assert answer_money(ASKED, "00", REQUEST, ATTEMPT, outcome)[4] == ASKED[4]
