"""A client's side of host ports: connections to one device, kept open, pipelined, watched.

Theory of operation. A device is asked over a few connections, each with any number of commands under way
up to a bound; the header of a command is a running number, by which its answer is matched, whatever order
answers come in. A new connection is asked for the device's LMK first and serves only where it is the
one that is expected. A command has a timer. When one runs out and the connection has said nothing since it was
asked, the connection is taken for dead: it is closed, and what else was under way on it fails at once. A
number whose answer never came is not used again on that connection. What can not be an answer closes the
connection too: nothing after it could be trusted.

Neither events nor errors carry what was sent or received.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Final, NamedTuple, cast

import msgspec

from hsm.errors import VaultError
from hsm.host import client
from hsm.host.client import AnswerError, Ask, DeviceDownError, DeviceTimeoutError
from hsm.host.dispatch import answer_code
from hsm.host.framing import FrameTooLongError, HostFramer, frame

OWED_MAX: Final = 1_000  # answers that never came; then the connection is made anew
TOGETHER_MAX: Final = 64  # commands in one write
WRITE_BUFFER_BYTES: Final = 1_048_576  # unsent; then the connection takes no command

Told = Callable[..., None]


class NetworkSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How devices are asked; bounds are those of one process."""

    addresses: tuple[tuple[str, int], ...]
    tls: ssl.SSLContext | None = None
    tls_name: str = ""  # whom the device's certificate names; "": the host of its address
    header_bytes: int = 4
    connections: int = 2  # to each device
    in_flight: int = 256  # commands on one connection
    timeout_s: float = 1.0  # for PIN blocks, MACs and the diagnostics
    key_timeout_s: float = 5.0  # for what makes or moves keys
    connect_timeout_s: float = 3.0
    probe_s: float = 5.0  # a connection that says nothing for so long is asked for its LMK again
    reconnect_s: float = 0.1  # pause after the first failure; doubles up to
    reconnect_max_s: float = 10.0


class Answer(NamedTuple):
    code: str  # error code, 2 characters
    data: bytes

    def __repr__(self) -> str:
        return f"Answer({self.code}, {len(self.data)} bytes)"


class Pending:
    """A command under way."""

    __slots__ = ("asked_s", "code", "command", "future", "timer")

    def __init__(
        self, command: str, future: asyncio.Future[Answer], timer: asyncio.TimerHandle, now_s: float
    ) -> None:
        self.command = command
        self.code = answer_code(command).encode("latin-1")
        self.future = future
        self.timer = timer
        self.asked_s = now_s


class ClientConnection(asyncio.Protocol):
    """One connection to a device."""

    def __init__(self, device: "Device") -> None:
        self.device = device
        self.closed = asyncio.Event()
        self.usable = False  # its LMK is the one that is expected
        self.why = ""  # it was closed, in a word
        self._settings = device.settings
        self._framer = HostFramer()
        self._transport: asyncio.Transport | None = None
        self._pending: dict[bytes, Pending] = {}
        self._owed: set[bytes] = set()
        self._number = 0
        self._numbers = 10 ** min(device.settings.header_bytes, 9)
        self._outgoing: list[bytes] = []
        self._paused = False
        self.heard_s = 0.0

    @property
    def under_way(self) -> int:
        return len(self._pending)

    @property
    def takes(self) -> bool:
        """Whether a command may be sent on it now."""
        return self.usable and not self._paused and len(self._pending) < self._settings.in_flight

    # -- asking --------------------------------------------------------------------------------

    def ask(self, ask: Ask, timeout_s: float) -> asyncio.Future[Answer]:
        """Send a command. The answer, or `DeviceTimeoutError`, `DeviceDownError`, `AnswerError`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        transport = self._transport
        if transport is None or transport.is_closing():
            future.set_exception(DeviceDownError(f"no connection to {self.device.name}"))
            return future
        header = self._header()
        timer = loop.call_later(timeout_s, self._timed_out, header)
        self._pending[header] = Pending(ask.command, future, timer, loop.time())
        if not self._outgoing:
            loop.call_soon(self._flush)
        self._outgoing.append(frame(header + ask.command.encode() + ask.data))
        if len(self._outgoing) >= TOGETHER_MAX:
            self._flush()
        return future

    def _header(self) -> bytes:
        """The next number that no command under way has, and none whose answer is owed."""
        size = self._settings.header_bytes
        while True:
            self._number = (self._number + 1) % self._numbers
            header = b"%0*d" % (size, self._number)
            if header not in self._pending and header not in self._owed:
                return header

    def _flush(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        if outgoing and self._transport is not None:
            self._transport.write(b"".join(outgoing))

    def _timed_out(self, header: bytes) -> None:
        pending = self._pending.pop(header)
        self.device.told("hsm_command_timed_out", device=self.device.name, command=pending.command)
        fail(
            pending,
            DeviceTimeoutError(f"{self.device.name} did not answer {pending.command} in time"),
        )
        self._owed.add(header)
        if self.heard_s < pending.asked_s or len(self._owed) >= min(OWED_MAX, self._numbers // 2):
            self.close("silent")

    # -- answers -------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self.heard_s = asyncio.get_running_loop().time()
        try:
            for message in self._framer.receive(data):
                self._answered(message)
        except (FrameTooLongError, AnswerError):
            self.close("not an answer")

    def _answered(self, message: bytes) -> None:
        size = self._settings.header_bytes
        header = message[:size]
        pending = self._pending.get(header)
        if pending is None:
            if header not in self._owed:
                raise AnswerError("an answer to nothing")
            self._owed.discard(header)  # too late, but it came
            return
        code = message[size + 2 : size + 4]
        if message[size : size + 2] != pending.code or len(code) != 2:
            raise AnswerError("an answer to another command")
        del self._pending[header]
        pending.timer.cancel()
        if not pending.future.done():  # else whoever asked has gone
            pending.future.set_result(Answer(code.decode("latin-1"), message[size + 4 :]))

    # -- life ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        if self.why:  # connecting took too long
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self.heard_s = asyncio.get_running_loop().time()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False

    def close(self, why: str) -> None:
        self.why = self.why or why
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        self.why = self.why or (type(exc).__name__ if exc else "closed by the device")
        self.closed.set()
        pending, self._pending = self._pending, {}
        for each in pending.values():
            each.timer.cancel()
            fail(
                each, DeviceDownError(f"the connection to {self.device.name} was lost: {self.why}")
            )


def fail(pending: Pending, error: VaultError) -> None:
    if not pending.future.done():
        pending.future.set_exception(error)
        pending.future.exception()  # whoever asked may have gone: then nobody looks


class Device:
    """One device: its connections, made again whenever they are lost."""

    def __init__(
        self,
        address: tuple[str, int],
        settings: NetworkSettings,
        expected: Callable[["Device", str], str],
        told: Told,
    ) -> None:
        """`expected`: the LMK that the device must have, asked with the one that it has."""
        self.host, self.port = address
        self.name = f"{self.host}:{self.port}"
        self.settings = settings
        self.told = told
        self.fault = "not connected yet"  # why it does not serve, for errors
        self.connections: list[ClientConnection] = []
        self.changed = asyncio.Event()  # it serves now, or a try has failed
        self._expected = expected
        self._keepers: list[asyncio.Task[None]] = []

    def __repr__(self) -> str:
        return f"Device({self.name})"

    @property
    def serves(self) -> bool:
        return any(connection.usable for connection in self.connections)

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._keepers = [
            loop.create_task(self._keep(), name=f"hsm {self.name} {number}")
            for number in range(self.settings.connections)
        ]

    async def stop(self) -> None:
        for keeper in self._keepers:
            keeper.cancel()
        for connection in self.connections:
            connection.close("stopped")
        await asyncio.gather(*self._keepers, return_exceptions=True)

    async def _keep(self) -> None:
        settings = self.settings
        pause_s = settings.reconnect_s
        while True:
            connection = ClientConnection(self)
            self.connections.append(connection)
            try:
                await self._connect(connection)
                await self._check(connection)
                self._now_serves(connection)
                pause_s = settings.reconnect_s
                await self._watch(connection)
            except (OSError, VaultError, TimeoutError, UnicodeError) as error:
                self._failed(connection, error)
            finally:
                connection.close("stopped")
                self.connections.remove(connection)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, settings.reconnect_max_s)

    async def _connect(self, connection: ClientConnection) -> None:
        settings = self.settings
        name = (settings.tls_name or self.host) if settings.tls is not None else None
        async with asyncio.timeout(settings.connect_timeout_s):
            await asyncio.get_running_loop().create_connection(
                lambda: connection,
                self.host,
                self.port,
                ssl=settings.tls,
                server_hostname=name,
            )

    async def _check(self, connection: ClientConnection) -> None:
        """Ask for the LMK; `VaultError` unless it is the one that is expected."""
        try:
            answer = await connection.ask(client.DIAGNOSTICS, self.settings.timeout_s)
        except DeviceDownError as error:
            if self.settings.tls is None or connection.usable:
                raise
            # TLS 1.3: the handshake is over for us before the device has judged our certificate
            hint = "so a device ends one whose certificate it does not take (hsm.tls_certificate)"
            raise DeviceDownError(f"{error}; {hint}") from error
        if answer.code != "00":
            raise client.refused(client.DIAGNOSTICS.command, answer.code)
        found = client.read_lmk(answer.data)
        expected = self._expected(self, found)
        if found != expected:
            self.told("hsm_lmk_differs", device=self.name, expected=expected, found=found)
            raise VaultError(f"the LMK of {self.name} is {found}, not {expected}")

    def _now_serves(self, connection: ClientConnection) -> None:
        connection.usable = True
        self.fault = ""
        self.changed.set()
        self.told("hsm_device_connected", device=self.name, connections=len(self.connections))

    async def _watch(self, connection: ClientConnection) -> None:
        """Until it is lost. One that is silent is asked; what no answer comes to closes it."""
        loop = asyncio.get_running_loop()
        while not connection.closed.is_set():
            quiet_s = loop.time() - connection.heard_s
            if quiet_s >= self.settings.probe_s:
                await self._check(connection)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.settings.probe_s - quiet_s):
                    await connection.closed.wait()
        raise DeviceDownError(f"the connection to {self.name} was lost: {connection.why}")

    def _failed(self, connection: ClientConnection, error: Exception) -> None:
        was_usable = connection.usable or connection.closed.is_set()
        connection.close("failed")
        reason = str(error) if isinstance(error, VaultError) else reason_of(error)
        if not self.serves:
            self.fault = reason
        self.told(
            "hsm_device_lost" if was_usable else "hsm_device_not_reached",
            device=self.name,
            reason=reason,
        )
        self.changed.set()


def reason_of(error: Exception) -> str:
    """Of the system, or of TLS: what they say names hosts and certificates, never data."""
    return str(error) or type(error).__name__
