"""Our end of a bank's wire: every message that crosses it is noted, and one may be lost, late or spoilt.

A fault is done on this side, so that a bank's test host needs to do nothing for it: an answer that the
bank gave is not handed on, is handed on late, or with another MAC than it came with; a request leaves
with a wrong MAC.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import msgspec

from iso8583.codec import codec_for
from iso8583.errors import DecodeError, FramingError
from iso8583.framing import Framer, FramingSpec, build
from iso8583.message import Message
from iso8583.mti import is_request
from switch.acquirers.form_codec import codec_of
from switch.replay.host_codec import host_codec_of, unsigned_bytes_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from iso8583.codec import Codec
    from iso8583.framing import Frame
    from switch.acquirers.form_codec import FormCodec
    from switch.ports import Transport
    from switch.reference import Link

SPOILT: Final = 0x01
MONEY: Final = "1246"  # classes of MTI


class Crossing(msgspec.Struct):
    """A message on the link. In clear: `message` is matched here and never written, `wire` is what
    is shown of it, masked: the elements as the host has them, where the link has a form."""

    to: str  # bank, switch
    at: float
    message: Message
    wire: Message
    mac: str  # right, wrong, none
    header: str = ""  # of a form, hex
    fault: str = ""


class Tap:
    """A `Transport` for the link. `mac_right` asks the vault."""

    def __init__(
        self,
        link: Link,
        transport: Transport,
        now_s: Callable[[], float],
        mac_right: Callable[[bytes, bytes], bool],
    ) -> None:
        self.crossings: list[Crossing] = []
        self.fault = ""  # for the next message about money
        self.late_s = 0.0
        self._link = link
        self._transport = transport
        self._now_s = now_s
        self._mac_right = mac_right
        self._spoken = codec_for(link.dialect)
        self._ours, self._theirs = (
            host_codec_of(link),
            codec_of(link),
        )  # who reads what we, they write
        self._unsigned = unsigned_bytes_of(self._ours)
        self.framing = FramingSpec(
            length="ascii4" if link.length == "ascii4" else "binary2",
            inclusive=link.length_inclusive,
            header_bytes=len(link.header_hex) // 2,
        )

    async def connect(
        self, factory: Callable[[], asyncio.Protocol], host: str, port: int
    ) -> asyncio.Transport:
        made: list[_Ours] = []

        def tapped() -> asyncio.Protocol:
            made.append(_Ours(self, factory()))
            return made[0]

        await self._transport.connect(tapped, host, port)
        ours: asyncio.Transport = made[0].transport
        return ours

    def leaving(self, frame: Frame) -> bytes:
        """A frame of ours as it leaves."""
        message = self._decoded(self._ours, frame)
        fault = self._taken("spoil_request", message, request=True)
        if fault:
            frame = spoilt(frame)
        self._note("bank", frame, message, fault)
        return build(frame, self.framing)

    def coming(self, frame: Frame, hand_on: Callable[[bytes], None]) -> None:
        """A frame of the bank: handed on, or what the fault makes of it."""
        message = self._decoded(self._theirs, frame)
        for fault in ("lose_answer", "late_answer", "spoil_answer"):
            if self._taken(fault, message, request=False):
                break
        else:
            fault = ""
        self._note("switch", frame, message, fault)
        if fault == "lose_answer":
            return
        if fault == "spoil_answer":
            frame = spoilt(frame)
        data = build(frame, self.framing)
        if fault == "late_answer":
            asyncio.get_running_loop().call_later(self.late_s, hand_on, data)
        else:
            hand_on(data)

    def _taken(self, fault: str, message: Message, *, request: bool) -> str:
        """The fault, where it is for this message; once."""
        mti = str(message.get(0, "0000"))
        if self.fault != fault or mti[1] not in MONEY or is_request(mti) != request:
            return ""
        self.fault = ""
        return fault

    @staticmethod
    def _decoded(codec: Codec | FormCodec, frame: Frame) -> Message:
        try:
            return codec.decode(frame.body)
        except DecodeError:
            return {0: "????"}

    def _note(self, to: str, frame: Frame, message: Message, fault: str) -> None:
        code = message.get(128, message.get(64))
        mac = "none"
        if isinstance(code, bytes):
            right = self._mac_right(frame.body[self._unsigned : -len(code)], code)
            mac = "right" if right else "wrong"
        head, body = frame.body[: self._unsigned], frame.body[self._unsigned :]
        wire = self._decoded(self._spoken, msgspec.structs.replace(frame, body=body))
        at = round(self._now_s(), 6)
        self.crossings.append(Crossing(to, at, message, wire, mac, head.hex().upper(), fault))


def spoilt(frame: Frame) -> Frame:
    """Its last byte, which is the MAC's, is another."""
    body = frame.body[:-1] + bytes([frame.body[-1] ^ SPOILT])
    return msgspec.structs.replace(frame, body=body)


class _Ours(asyncio.Protocol):
    """The link's protocol with the tap before it."""

    def __init__(self, tap: Tap, inner: asyncio.Protocol) -> None:
        self._tap = tap
        self._inner = inner
        self._framer = Framer(tap.framing)
        self.transport: Any

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = _Written(self._tap, transport)
        self._inner.connection_made(self.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._framer.receive_bytes(data):
                self._tap.coming(frame, self._inner.data_received)
        except FramingError:
            self._inner.data_received(data)  # the link says what it makes of it

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()


class _Written:
    """The transport that the link sees; what it writes passes the tap."""

    def __init__(self, tap: Tap, transport: Any) -> None:
        self._tap = tap
        self._transport = transport
        self._framer = Framer(tap.framing)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        for frame in self._framer.receive_bytes(data):
            self._transport.write(self._tap.leaving(frame))

    def writelines(self, many: Any) -> None:
        for data in many:
            self.write(data)
