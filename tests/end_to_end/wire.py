"""A terminal's line as the tests need it: raw bytes out, frames in, over a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import re
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Self

from iso8583.codec import codec_for
from iso8583.framing import POS, Frame, Framer, build

if TYPE_CHECKING:
    from iso8583.message import Message
    from terminals.simulator.terminal import Outcome, Request, Terminal
    from tests.end_to_end.node import Node

ANSWER_S = 120.0  # more than any event takes on the slowest machine


class Wire:
    """One connection to the node."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._framer = Framer(POS)
        self._frames: list[Frame] = []
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection(*self._address)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def frame(self) -> Frame:
        """The next frame; EOFError when the node has closed instead."""
        async with asyncio.timeout(ANSWER_S):
            while not self._frames:
                data = await self.reader.read(65_536)
                if not data:
                    raise EOFError
                self._frames = self._framer.receive_bytes(data)
        return self._frames.pop(0)

    async def message(self, dialect: str = "unionpay_pos") -> Message:
        return codec_for(dialect).decode((await self.frame()).body)

    async def closed(self) -> bool:
        """Whether the node closes, with nothing more to say."""
        try:
            await self.frame()
        except (EOFError, ConnectionResetError):
            return True
        return False

    async def ask(self, terminal: Terminal, request: Request) -> Outcome:
        """Send a simulated terminal's request and let it judge the answer."""
        self.send(request.frame)
        while True:
            frame = await self.frame()
            if terminal.expects(frame):
                return terminal.answer(frame)


def framed(message: Message, *, header: bytes = bytes.fromhex("603100310000")) -> bytes:
    body = codec_for("unionpay_pos").encode(message)
    return build(Frame(bytes.fromhex("6000030099"), header, body), POS)


def echo_request(merchant: str, terminal: str, trace: int = 1) -> Message:
    return {0: "0820", 11: f"{trace:06}", 41: terminal, 42: merchant, 60: "00000001301"}


async def known(node: Node, merchant: str, terminal: str) -> None:
    """Until every worker knows a terminal: connections in a row, whichever worker takes them."""
    in_a_row = 0
    async with asyncio.timeout(ANSWER_S):
        while in_a_row < 8 * len(node.workers):
            async with Wire(node.address) as wire:
                wire.send(framed(echo_request(merchant, terminal)))
                served = (await wire.message())[39] == "00"
            in_a_row = in_a_row + 1 if served else 0
            await asyncio.sleep(0.02)


def metrics(node: Node) -> dict[str, float]:
    """Every number of /metrics by its line's name and labels."""
    at = node.facts["metrics"]
    url = f"http://{at['host']}:{at['port']}{at['path']}"
    with urllib.request.urlopen(url, timeout=ANSWER_S) as page:
        lines = page.read().decode().splitlines()
    split = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in split}


def total(numbers: dict[str, float], name: str, **labels: str) -> float:
    """The sum of a metric over the series that have these labels."""
    wanted = {f'{key}="{value}"' for key, value in labels.items()}
    return sum(
        value
        for line, value in numbers.items()
        if line.partition("{")[0] == name and wanted <= set(re.findall(r'\w+="[^"]*"', line))
    )


def resident_bytes(pid: int) -> int:
    """RSS of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1_024
