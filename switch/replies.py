"""What a terminal is told: answers signed under the keys that verified its request, and refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hsm.errors import VaultError
from iso8583.errors import EncodeError
from iso8583.mti import is_response
from switch import answers
from switch.effects import Reply
from switch.intake import Refusal

if TYPE_CHECKING:
    from hsm.ports import Hsm
    from iso8583.codec import Codec
    from iso8583.framing import Frame
    from iso8583.message import Message
    from switch.engine import Log, Peer
    from switch.ports import Clock
    from switch.reception import Received, Verified
    from switch.rows import Rows
    from switch.watch import Watch

NO_MAC = bytes(8)  # in its place


class Replies:
    def __init__(self, hsm: Hsm, rows: Rows, clock: Clock, log: Log) -> None:
        self._hsm = hsm
        self._rows = rows
        self._monotonic_ns = clock.monotonic_ns
        self._log = log

    async def reply(
        self,
        received: Received,
        verified: Verified,
        frame: Frame,
        peer: Peer,
        reply: Reply | Refusal,
        watch: Watch,
        digit: int,
    ) -> None:
        """Answer, signed under the keys that verified the request, and write its line."""
        body = b""
        try:
            body = self.body(received, peer, reply)
            mac: bytes | Exception = b""
            if received.sender.mac_profile != "off":
                made = self._hsm.mac(verified.session.mak, received.sender.mac_profile, body)
                mac = made if isinstance(made, bytes) else await made
        except (EncodeError, VaultError) as error:
            mac = error
        self.tell(frame, peer, body, mac, digit, reply, watch)

    def body(self, received: Received, peer: Peer, reply: Reply | Refusal) -> bytes:
        """The answer up to its MAC. Raises EncodeError."""
        if isinstance(reply, Refusal):
            answer = self._plain_answer(received.message, reply.response_code)
            self._log.refused(peer.source, reply.response_code, reply.rule)
        else:
            answer = answers.answer_money(
                received.message, reply.response_code, reply.request, reply.attempt, reply.outcome
            )
        if received.sender.mac_profile == "off":
            return received.codec.encode(answer)
        answer[64] = NO_MAC
        return received.codec.encode(answer)[:-8]

    def tell(
        self,
        frame: Frame,
        peer: Peer,
        body: bytes,
        mac: bytes | Exception,
        digit: int,
        reply: Reply | Refusal,
        watch: Watch,
    ) -> None:
        """Send it with its MAC, or log why there is none; and write its line."""
        if isinstance(mac, bytes):
            peer.answer(frame, body + mac, digit)
        else:
            self._log.failed(mac)
        if isinstance(reply, Reply):
            watch.ended_ns = self._monotonic_ns()
            self._log.authorized(reply, watch)

    def refuse(self, received: Received, frame: Frame, peer: Peer, refusal: Refusal) -> None:
        self.unsigned(peer, frame, received.message, received.codec, refusal)

    def unsigned(
        self, peer: Peer, frame: Frame, message: Message, codec: Codec, refusal: Refusal
    ) -> None:
        if is_response(str(message[0])):
            refusal = Refusal("40", "type.answer")
            peer.odd()  # two peers that answer each other's answers would never end
        self._log.refused(peer.source, refusal.response_code, refusal.rule)
        answer = self._plain_answer(message, refusal.response_code)
        try:
            peer.answer(frame, codec.encode(answer))
        except EncodeError:  # what it echoes is the very element that was bad
            peer.answer(frame, codec.encode(answers.bare(answer)))

    def _plain_answer(self, message: Message, response_code: str) -> Message:
        local_time = self._rows.local().text
        rrn = answers.unjournalled_rrn(message, local_time)
        return answers.echo(message, response_code, rrn, local_time)
