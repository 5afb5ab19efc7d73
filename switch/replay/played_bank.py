"""A bank that answers as a journal recorded: the same words, as late, or not at all.

It knows a message by what the replayed switch stored before it sent it (P1): which request's attempt,
which item of the queue. A try that was recorded is answered as it was. One at another bank than then
is answered as the issuer answered there; a reversal or advice that was not recorded, 00; a request
that never left then, by silence.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING, Final, cast

from hsm import mac
from iso8583.errors import DecodeError, FramingError
from iso8583.framing import Frame, Framer, FramingSpec, build
from iso8583.message import response_mti
from iso8583.mti import is_request
from switch.acquirers.forms import HEADER
from switch.acquirers.link_messages import elements_of
from switch.replay.host_codec import host_codec_of, unsigned_bytes_of
from switch.replay.journal_file import Answered
from switch.replay.played_terminal import made_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from iso8583.message import Message
    from switch.reference import Link
    from switch.replay.journal_file import Attempted, Delivered

ECHOED: Final = (2, 3, 4, 7, 11, 12, 13, 32, 33, 37, 41, 42, 49, 60, 61)
MANAGEMENT: Final = (7, 11, 32, 33, 70)
SPOILT: Final = 0xFF
UNRECORDED_S: Final = 0.05  # until what was not recorded is answered 00

Said = list[tuple[float, Answered]]  # after how long, what


def recorded_answers(attempts: tuple[Attempted, ...], at: int, acquirer: str) -> Said | None:
    """The answers to try `at` (from 0) at a bank; None where nothing like it was recorded."""
    if at < len(attempts) and attempts[at].acquirer == acquirer:
        found = attempts[at]
    else:
        there = [one for one in attempts if one.acquirer == acquirer] or list(attempts)
        if not there:
            return None
        found = next((one for one in reversed(there) if one.answers), there[-1])
    return [(max(answer.at - found.at, 0.0), answer) for answer in found.answers]


def recorded_end(deliveries: tuple[Delivered, ...], queue: str, seq: int, nth: int) -> Said | None:
    """The answers to the `nth` sending (from 0) of an item of the queue: silence until its last."""
    for one in deliveries:
        if (one.queue, one.seq) == (queue, seq):
            if one.ended_at is None or one.response_code in ("", "--") or nth + 1 < len(one.sends):
                return []
            left = one.sends[-1] if one.sends else one.ended_at
            return [
                (max(one.ended_at - left, 0.0), Answered(at=0.0, response_code=one.response_code))
            ]
    return None


UNRECORDED: Final[Said] = [(UNRECORDED_S, Answered(at=0.0, response_code="00"))]


class PlayedBank:
    """`asked` says what is answered to a money message, `heard` is told of every answer."""

    def __init__(
        self,
        link: Link,
        asked: Callable[[PlayedBank, Message], Said],
        heard: Callable[[PlayedBank, Message], None],
    ) -> None:
        self.link = link
        self.codec = host_codec_of(link)
        self._unsigned = unsigned_bytes_of(self.codec)
        self.framing = FramingSpec(
            length="ascii4" if link.length == "ascii4" else "binary2",
            inclusive=link.length_inclusive,
            header_bytes=len(link.header_hex) // 2,
        )
        self.zpk = made_key(f"zpk {link.acquirer}")
        self.zak = made_key(f"zak {link.acquirer}")
        self._asked = asked
        self._heard = heard

    def __repr__(self) -> str:
        return f"PlayedBank({self.link.acquirer})"

    def protocol(self) -> BankConnection:
        return BankConnection(self)

    def take(self, message: Message, connection: BankConnection) -> None:
        """A message of the switch."""
        mti = str(message.get(0, ""))
        if not is_request(mti):
            return
        if mti[1] == "8":
            answer: Message = {de: message[de] for de in (HEADER, *MANAGEMENT) if de in message}
            connection.send(
                answer | {0: response_mti(mti), 39: "00"}, signed=self.link.mac_on_management
            )
            return
        for delay_s, said in self._asked(self, message):
            asyncio.get_running_loop().call_later(
                delay_s, connection.answer, self._answer(message, said), said.fault == "mac"
            )

    def _answer(self, message: Message, said: Answered) -> Message:
        answer: Message = {de: message[de] for de in ECHOED if de in message}
        answer |= {0: response_mti(str(message[0])), 39: said.response_code}
        if said.amount_minor is not None:
            answer[4] = f"{said.amount_minor:012d}"
        if said.auth_code:
            answer[38] = said.auth_code
        if said.settlement_date:
            answer[15] = f"{dt.date.fromisoformat(said.settlement_date):%m%d}"
        if said.rrn:
            answer[37] = said.rrn
        for de, value in said.elements.items():
            answer[int(de)] = value
        if said.fault == "mismatch":
            answer[41] = str(answer.get(41, "")).swapcase().ljust(8, "X")[:7] + "?"
        known = elements_of(self.link.dialect)
        return {de: answer[de] for de in sorted(known.intersection(answer))}

    def framed(self, message: Message, *, signed: bool, spoilt: bool = False) -> bytes:
        message = dict(message)
        if signed and self.link.mac_algorithm != "off":
            message[128 if max(message) > 64 else 64] = bytes(8)
            covered = self.codec.encode(message)[:-8]
            code = mac.compute(self.link.mac_algorithm, self.zak, covered[self._unsigned :])
            body = covered + (bytes([code[0] ^ SPOILT]) + code[1:] if spoilt else code)
        else:
            body = self.codec.encode(message)
        return build(Frame(b"", bytes.fromhex(self.link.header_hex), body), self.framing)

    def mac_right(self, message: Message, body: bytes) -> bool:
        code = message.get(128, message.get(64))
        if self.link.mac_algorithm == "off" or not isinstance(code, bytes):
            return code is None
        covered = body[self._unsigned : -len(code)]
        return mac.verify(self.link.mac_algorithm, self.zak, covered, code)

    def heard(self, message: Message) -> None:
        """It has answered."""
        self._heard(self, message)


class BankConnection(asyncio.Protocol):
    def __init__(self, bank: PlayedBank) -> None:
        self._bank = bank
        self._framer = Framer(bank.framing)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._framer.receive_bytes(data):
                message = self._bank.codec.decode(frame.body)
                right = self._bank.mac_right(message, frame.body)
                code = 128 if max(message) > 64 else 64
                if code in message:
                    message[code] = b"right" if right else b"wrong"
                self._bank.take(message, self)
        except (DecodeError, FramingError):  # nobody's message: the switch waits in vain
            if self._transport is not None:
                self._transport.close()

    def answer(self, message: Message, spoilt: bool) -> None:  # noqa: FBT001 - by a timer
        self._bank.heard(message)
        self.send(message, signed=True, spoilt=spoilt)

    def send(self, message: Message, *, signed: bool, spoilt: bool = False) -> None:
        if self._transport is not None:
            self._transport.write(self._bank.framed(message, signed=signed, spoilt=spoilt))
