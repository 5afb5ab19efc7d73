"""The answer to a terminal, element by element (rules §11). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from iso8583.mti import is_response, response_mti
from switch.bounded import Remembered

if TYPE_CHECKING:
    import datetime as dt

    from iso8583.message import Message
    from switch.journal import AttemptRow, OutcomeRow, RequestRow

ECHOED = (2, 3, 4, 25, 49, 60)  # where they were sent; 11, 41 and 42 were, or there is no answer
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder().decode


def answer_money(
    asked: Message,
    response_code: str,
    request: RequestRow,
    attempt: AttemptRow | None,
    outcome: OutcomeRow | None,
) -> Message:
    """0110, 0210, 0230, 0410 …: echoes, then what is known of the outcome."""
    answer = echo(asked, response_code, request.rrn, request.local_time)
    if 14 in asked:
        answer[14] = asked[14]
    if attempt is not None and attempt.de32:
        answer[32] = attempt.de32
    if outcome is not None:
        if outcome.settlement_date is not None:
            answer[15] = MONTH_DAY[outcome.settlement_date]
        if outcome.auth_code:
            answer[38] = outcome.auth_code
        if response_code == "10" and outcome.approved_amount_minor is not None:
            answer[4] = f"{outcome.approved_amount_minor:012d}"
        if outcome.answer:
            # untyped: msgspec knows no union of str and bytes
            answer.update(_unpack(outcome.answer))
    return answer


def kept(elements: Message) -> bytes:
    """What the terminal is told of a host's answer and no column holds: for its repeats too."""
    return _pack(elements) if elements else b""


def month_day(date: dt.date) -> str:
    """DE 15: MMDD."""
    return f"{date:%m%d}"


MONTH_DAY = Remembered(month_day, 64)


def echo(asked: Message, response_code: str, rrn: str, local_time: str) -> Message:
    """The part that every answer has. `local_time` is MMDDhhmmss."""
    answer: Message = {
        0: ANSWER_MTI[asked[0]],
        11: asked[11],
        12: local_time[4:],
        13: local_time[:4],
        37: rrn,
        39: response_code,
        41: asked[41],
        42: asked[42],
    }
    for de in ECHOED:
        if de in asked:
            answer[de] = asked[de]
    return answer


def answer_mti(asked: str | bytes) -> str:
    """An answer that a terminal sends by mistake is refused under its own (rules §19)."""
    mti = str(asked)
    return mti if is_response(mti) else response_mti(mti)


ANSWER_MTI = Remembered(answer_mti, 1_024)


def unjournalled_rrn(asked: Message, local_time: str) -> str:
    """DE 37 of an answer that no journal row stands behind: local time and the trace's end."""
    return f"{local_time}{str(asked[11])[-2:]}"


def bare(answer: Message) -> Message:
    """Only what names the parties: for a request whose other elements can not be echoed."""
    return {de: answer[de] for de in (0, 11, 12, 13, 37, 39, 41, 42) if de in answer}
