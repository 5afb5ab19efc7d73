"""A tiny acquirer for terminals: it opens batches, hands out keys, and approves what it is told to.

It keeps just enough to answer as `reference/pos-messages.md` §10 wants: no bank, no store. Tests
script it through `answers` (response codes for the next money requests) and `spoil` (a function
that changes an answer's elements before it is signed).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from hsm import mac
from hsm.check_values import aes_ecb_check_value, tdes_check_value
from hsm.ciphers import tdes_ecb_encrypt
from iso8583.codec import codec_for
from iso8583.framing import POS, Frame, Framer, answer_header, answer_tpdu, build
from iso8583.message import Message, response_mti

if TYPE_CHECKING:
    from collections.abc import Callable

PIK = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
MAK = bytes.fromhex("55036372B17543ECB173730768B8D6C4")
TDK = bytes.fromhex("89ABCDEF0123456776543210FEDCBA98")
TMK = "11111111111111112222222222222222"
UNSIGNED = ("97", "A0", "30")


class TinyHost:
    """Answers every frame of any terminal that shares `tmk` and the fixed working keys."""

    def __init__(
        self,
        tmk: str = TMK,
        mac_profile: str = "unionpay-ecb",
        mak_bytes: int = 16,
        dialect: str = "unionpay_pos",
    ) -> None:
        self.tmk = bytes.fromhex(tmk)
        self.mac_profile = mac_profile
        self.mak = MAK[:mak_bytes]
        self.codec = codec_for(dialect)
        self.batches: dict[str, int] = {}
        self.closed: set[str] = set()
        self.seen: list[Message] = []
        self.stored: dict[tuple[str, ...], Message] = {}
        self.answers: deque[str] = deque()
        self.spoil: Callable[[Message], None] | None = None
        self.after_mac: Callable[[Message], None] | None = None
        self.processing_request = 0
        self.balanced = True
        self.rrn = 0

    def frame(self, data: bytes) -> Frame:
        """The one frame of `data`, as a terminal sent it."""
        (frame,) = Framer(POS).receive_bytes(data)
        return frame

    def reply(self, frame: Frame) -> bytes:
        """The framed answer to a frame."""
        request = self.codec.decode(frame.body)
        self.seen.append(request)
        answer = self.answer(request, frame.body)
        signed = request[0] in ("0100", "0200", "0220", "0400") and answer[39] not in UNSIGNED
        if self.spoil is not None:
            self.spoil(answer)
        if signed:
            answer[64] = bytes(8)
            data = self.codec.encode(answer)[:-8]
            answer[64] = mac.compute(self.mac_profile, self.mak, data)
        if self.after_mac is not None:
            self.after_mac(answer)
        body = self.codec.encode(answer)
        header = answer_header(frame.header, self.processing_request)
        return build(Frame(answer_tpdu(frame.tpdu), header, body), POS)

    def __call__(self, data: bytes) -> Frame:
        """The answer to framed bytes, as a frame: what a terminal's `answer` takes."""
        return self.frame(self.reply(self.frame(data)))

    def answer(self, request: Message, body: bytes) -> Message:
        mti = str(request[0])
        self.rrn += 1
        echoed = (2, 3, 4, 11, 25, 41, 42, 49, 60)
        answer: Message = {de: request[de] for de in echoed if de in request}
        answer |= {0: response_mti(mti), 12: "101112", 13: "0609", 37: f"{self.rrn:012}", 39: "00"}
        if mti == "0800":
            answer |= self.sign_on(request)
        elif mti == "0500":
            digits = str(request[48])
            answer[48] = digits[:30] + ("1" if self.balanced else "2") + digits[31:61] + "0"
            if self.balanced:
                self.closed.add(str(request[41]))
        elif mti == "0320" and str(request[60])[8:11] in ("202", "207"):
            self.closed.add(str(request[41]))
        elif mti in ("0100", "0200", "0220", "0400"):
            if not self.mac_right(request, body):
                answer[39] = "A0"
                return answer
            key = tuple(str(request[de]) for de in (0, 41, 42, 60, 11))
            if key in self.stored:
                return dict(self.stored[key])
            answer[39] = self.answers.popleft() if self.answers else "00"
            answer[15] = "0609"
            if answer[39] == "00":
                answer[38] = f"{self.rrn:06}"
            if request[3] == "310000":
                answer[54] = "0202156C000000012345"
            self.stored[key] = dict(answer)
        return answer

    def mac_right(self, request: Message, body: bytes) -> bool:
        sent = request.get(64, b"")
        assert isinstance(sent, bytes)
        return mac.verify(self.mac_profile, self.mak, body[:-8], sent)

    def sign_on(self, request: Message) -> Message:
        layout = str(request[60])[8:11]
        terminal = str(request[41])
        if terminal not in self.batches:
            self.batches[terminal] = 1
        elif terminal in self.closed:
            self.batches[terminal] += 1
            self.closed.remove(terminal)
        batch = self.batches[terminal]
        return {60: f"00{batch:06}{layout}", 62: self.keys(layout), 32: "01020000"}

    def keys(self, layout: str) -> bytes:
        def sealed(key: bytes, slot: int) -> bytes:
            return tdes_ecb_encrypt(self.tmk, key).ljust(slot, b"\0")

        aes = self.mac_profile == "cmac"
        check = (
            aes_ecb_check_value(self.mak, 4) if aes else tdes_check_value(self.mak, 4, on_wire=True)
        )
        pik = PIK[:8] if layout == "001" else PIK
        keys = sealed(pik, len(pik)) + tdes_check_value(pik, 4, on_wire=True)
        keys += sealed(self.mak, 8 if layout == "001" else 16) + check
        if layout == "004":
            keys += sealed(TDK, 16) + tdes_check_value(TDK, 4, on_wire=True)
        return keys
