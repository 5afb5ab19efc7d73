"""The baseline of `benchmarks.forward`: a forwarder on pyiso8583 and uvloop, as short as it can be.

It does what a forwarder must, and no more: decode the terminal's message, look up its answer by the
link's trace, encode for the link; decode the bank's answer, encode for the terminal. No table of
terminals, no checks, no route, no timer. Both ends speak `unionpay_pos` or the link
`iso1987_ascii`; pyiso8583's specifications are made from our tables.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Any, cast

from benchmarks.load import ECHOED, obey, run
from iso8583.dialects import registry
from iso8583.framing import LINK, POS, Framer, answer_tpdu
from tests.iso8583.test_against_pyiso8583 import specification
from tests.oracle import load_pyiso8583

if TYPE_CHECKING:
    from collections.abc import Callable

    from iso8583.framing import Frame, FramingSpec

pyiso8583 = load_pyiso8583()

POS_SPEC = specification(registry.get("unionpay_pos"))
TO_LINK = ("2", "3", "4", "14", "22", "23", "25", "35", "41", "42", "49", "52", "53", "55")
BACK = ("15", "37", "38", "39", "55")
KEPT = ("2", "3", "4", "11", "14", "25", "41", "42", "49", "60")


class Peer(asyncio.Protocol):
    """One connection of either side; frames go to `take`."""

    def __init__(self, framing: FramingSpec, take: Callable[[Peer, Frame], None]) -> None:
        self.framer = Framer(framing)
        self.take = take
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        for frame in self.framer.receive_bytes(data):
            self.take(self, frame)


class Forwarder:
    def __init__(self, dialect: str) -> None:
        self.pos_link = dialect == "unionpay_pos"
        self.link_spec = POS_SPEC if self.pos_link else specification(registry.get(dialect))
        self.waiting: dict[str, tuple[Peer, Frame, dict[str, str]]] = {}
        self.trace = 0
        self.link: Peer

    def from_terminal(self, peer: Peer, frame: Frame) -> None:
        message, _ = pyiso8583.decode(frame.body, POS_SPEC)
        self.trace = self.trace % 999_999 + 1
        trace = f"{self.trace:06d}"
        now = time.localtime()
        onward: dict[str, Any] = {de: message[de] for de in TO_LINK if de in message}
        onward |= {"t": "0200", "11": trace, "37": f"606300{trace}", "64": "0" * 16}
        onward |= {"32": "48000000"}
        if self.pos_link:
            onward |= {"26": message["26"], "60": message["60"]}
        else:
            if "35" in onward:
                onward["35"] = onward["35"].replace("D", "=")
            onward |= {
                "7": time.strftime("%m%d%H%M%S", now), "12": time.strftime("%H%M%S", now),
                "13": time.strftime("%m%d", now), "18": "5999", "43": "Benchmark".ljust(40),
            }  # fmt: skip
        self.waiting[trace] = peer, frame, message
        body, _ = pyiso8583.encode(onward, self.link_spec)
        self.link.transport.write(len(body).to_bytes(2, "big") + body)

    def from_bank(self, _link: Peer, frame: Frame) -> None:
        answer, _ = pyiso8583.decode(frame.body, self.link_spec)
        if answer["t"] == "0810":
            return
        peer, asked, message = self.waiting.pop(answer["11"])
        now = time.localtime()
        back = {de: message[de] for de in KEPT if de in message}
        back |= {de: answer[de] for de in BACK if de in answer}
        back |= {
            "t": "0210", "12": time.strftime("%H%M%S", now), "13": time.strftime("%m%d", now),
            "32": "48000000", "64": "0" * 16,
        }  # fmt: skip
        body, _ = pyiso8583.encode(back, POS_SPEC)
        head = answer_tpdu(asked.tpdu) + asked.header
        peer.transport.write((len(head) + len(body)).to_bytes(2, "big") + head + body)


async def serve(dialect: str, bank_port: int) -> None:
    forwarder = Forwarder(dialect)
    loop = asyncio.get_running_loop()
    _, forwarder.link = await loop.create_connection(
        lambda: Peer(LINK, forwarder.from_bank), "127.0.0.1", bank_port
    )
    server = await loop.create_server(
        lambda: Peer(POS, forwarder.from_terminal), "127.0.0.1", 0, backlog=1024
    )

    async def perform(_command: dict[str, Any]) -> dict[str, Any]:
        return {}

    await obey(perform, port=server.sockets[0].getsockname()[1])


if __name__ == "__main__":
    assert set(map(int, BACK)) - {15, 38, 39, 55} <= set(ECHOED)
    run(serve(sys.argv[1], int(sys.argv[2])))
