"""The line between a played terminal and the replayed switch: one connection, asked in order.

A terminal signs on before the first of its lines, and wherever the journal has it under new keys. It
asks at the recorded times whether or not the former answer is there; answers find their line by MTI
and trace.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from iso8583.errors import DecodeError, EncodeError
from iso8583.framing import Framer
from iso8583.message import response_mti
from switch.journal import Key
from switch.replay.journal_file import Request, Reversal, Settlement
from switch.transactions import kind_of

if TYPE_CHECKING:
    from iso8583.framing import Frame
    from iso8583.message import Message
    from switch.replay.played_terminal import PlayedTerminal
    from switch.replay.player import Player
    from switch.virtual.network import Network

ANSWER_S: Final = 300.0  # no timer of a link is longer
SIGN_ON_S: Final = 10.0
PORT: Final = 8583

Asked = Request | Reversal | Settlement


class Wire(asyncio.Protocol):
    def __init__(
        self, player: Player, terminal: PlayedTerminal, network: Network, number: int
    ) -> None:
        self.terminal = terminal
        self._player = player
        self._network = network
        self._source = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        self._framer = Framer(terminal.framing)
        self._transport: asyncio.Transport | None = None
        self._waiting: dict[tuple[str, str], asyncio.Future[tuple[Message, Frame]]] = {}
        self._lines: asyncio.Queue[tuple[int, Asked]] = asyncio.Queue()
        self._worker: asyncio.Task[None] | None = None
        self._asking: dict[asyncio.Task[None], None] = {}

    def ask(self, number: int, line: Asked) -> None:
        self._lines.put_nowait((number, line))
        if self._worker is None:
            self._worker = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        """Until nothing is left to ask: the next line begins it anew."""
        while not self._lines.empty():
            number, line = self._lines.get_nowait()
            wrong = await self._signed_on(line)
            if wrong:
                self._player.happened.note(number, wrong)
            task = asyncio.get_running_loop().create_task(self._ask(number, line))
            self._asking[task] = None
            task.add_done_callback(lambda done: self._asking.pop(done, None))
        self._worker = None

    async def _signed_on(self, line: Asked) -> str:
        """Sign on where the line was asked under other keys than the last; what went wrong, or ""."""
        terminal = self.terminal
        session = line.session if isinstance(line, Request) else terminal.session
        if terminal.session is not None and session == terminal.session:
            return ""
        answer = await self._exchange(terminal.sign_on(), SIGN_ON_S)
        if answer is None:
            return "the sign-on was not answered"
        terminal.session = session or 0
        return terminal.take_keys(answer[0], line.batch)

    async def _ask(self, number: int, line: Asked) -> None:
        player, terminal = self._player, self.terminal
        try:
            message = self._message(line)
            data = terminal.framed(message)
        except EncodeError as error:
            player.happened.note(number, f"it can not be said in {terminal.dialect}: {error}")
            player.happened.answered(number)
            return
        key, reversal = self._keys_of(line, message)
        player.happened.asks(number, key, reversal)
        player.happened.message(number, "terminal", "switch", message)
        answer = await self._exchange(message, ANSWER_S, data)
        if answer is None:
            player.happened.fact(number, "answer", "none")
        else:
            told = dict(answer[0])
            if 64 in told:
                right = terminal.mac_right(told, answer[1].body)
                told[64] = b"right" if right else b"wrong"
            player.happened.message(number, "switch", "terminal", told)
            if isinstance(line, Request):
                player.told(line, terminal.batch_of(line.batch), told)
            elif isinstance(line, Settlement):
                digits = str(told.get(48, ""))
                player.happened.fact(number, "result", digits[30:31] + digits[61:62])
                if digits[30:31] == "2" or digits[61:62] == "2":
                    await self._exchange(terminal.upload_end(line), ANSWER_S)
        player.happened.answered(number)

    def _message(self, line: Asked) -> Message:
        if isinstance(line, Request):
            return self.terminal.request(line, self._player.original_of(line))
        if isinstance(line, Reversal):
            return self.terminal.reversal(line, self._player.request_of(line))
        return self.terminal.settle(line)

    def _keys_of(
        self, line: Asked, message: Message
    ) -> tuple[Key | None, tuple[str, str, int, int] | None]:
        """By what the store knows the line."""
        if isinstance(line, Settlement):
            return None, None
        place = (line.merchant, line.terminal, int(str(message[60])[2:8]), line.trace)
        if isinstance(line, Reversal):
            return None, place
        return Key(*place, kind_of(line.mti, line.processing_code)), None

    async def _exchange(
        self, message: Message, timeout_s: float, data: bytes = b""
    ) -> tuple[Message, Frame] | None:
        """The answer, or None where there is none in time."""
        if self._transport is None or self._transport.is_closing():
            host = "switch"
            await self._network.connect(lambda: self, host, PORT, self._source)
        loop = asyncio.get_running_loop()
        of = (response_mti(str(message[0])), str(message[11]))
        answer = self._waiting[of] = loop.create_future()
        assert self._transport is not None
        self._transport.write(data or self.terminal.framed(message))
        try:
            async with asyncio.timeout(timeout_s):
                answered: tuple[Message, Frame] = await answer
                return answered
        except TimeoutError:
            return None
        finally:
            if self._waiting.get(of) is answer:
                del self._waiting[of]

    # -- asyncio.Protocol -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._framer = Framer(self.terminal.framing)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        for frame in self._framer.receive_bytes(data):
            try:
                message = self.terminal.codec.decode(frame.body)
            except DecodeError:
                continue
            answer = self._waiting.get((str(message.get(0)), str(message.get(11))))
            if answer is not None and not answer.done():
                answer.set_result((message, frame))
