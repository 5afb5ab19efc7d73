"""One worker: `python -m switch.worker CONTROL_FD LISTENER_FD…`, spawned by the supervisor alone.

It reads `Start` (configuration, LMK) from the control socket, then runs `switch.wiring.run_worker`
on uvloop. It drains when the supervisor says so, when the supervisor is gone, or at SIGTERM, and is
bounded in that: what has not ended `engine.drain_s` later ends with the process.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from iso8583.dialects import registry
from switch import control as messages, logs
from switch.adapters.system import SystemClock, core_dumps_off, raise_open_files
from switch.metrics import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from switch.config import Config
    from switch.control import Start
    from switch.tls import Pem

METRICS_S = 1.0  # between snapshots to the supervisor
DRAIN_GRACE_S = 5.0  # after engine.drain_s, for flushing; then the process ends
EXIT_DRAIN_TOO_LONG = 75


class Control:
    """The worker's side of the line to its supervisor, and what the supervisor told it."""

    def __init__(self, start: Start, writer: asyncio.StreamWriter, log_file: logs.LogFile) -> None:
        self.log_file = log_file
        self.demo = start.demo
        self.index = start.index
        self.run_folder = Path(start.run_folder)
        self.registry = Registry()
        self._drain_s = start.config.engine.drain_s
        self._certificates = start.certificates
        self._use_certificates: Callable[[Sequence[Pem | None]], None] | None = None
        self._writer = writer
        self._drain = asyncio.Event()
        self._changes: asyncio.Queue[bytes] = asyncio.Queue()

    def ready(self, links: dict[str, str] | None = None) -> None:
        """Terminals and links are served. What lives now lives long: the collector skips it."""
        gc.collect()
        gc.freeze()
        self._send(messages.Ready(links or {}))
        structlog.get_logger().info("worker_ready")

    def held(self, lmk_ids: Sequence[str]) -> None:
        """Tell the supervisor which LMKs keys are opened under here."""
        self._send(messages.Held(tuple(lmk_ids)))

    def new_lmk(self, lmk: bytes) -> None:
        self._changes.put_nowait(lmk)

    async def next_lmk(self) -> bytes:
        """The LMK that the supervisor wants to be worked with, each time it says so, in order."""
        return await self._changes.get()

    def on_certificates(self, use: Callable[[Sequence[Pem | None]], None]) -> None:
        """Use those of the listeners now, and whenever there are others."""
        self._use_certificates = use
        if self._certificates:
            use(self._certificates)

    def renew(self, certificates: Sequence[Pem | None]) -> None:
        self._certificates = tuple(certificates)
        if self._use_certificates is not None:
            self._use_certificates(self._certificates)
            structlog.get_logger().info("certificates_renewed")

    async def drain_requested(self) -> None:
        """Returns when the worker is to stop accepting, to finish what is in flight and to return."""
        await self._drain.wait()

    @property
    def draining(self) -> bool:
        return self._drain.is_set()

    def metrics(self, snapshot: bytes) -> None:
        """Tell the supervisor all numbers so far; done every second with those of `registry`."""
        self._send(messages.Numbers(snapshot))

    def request_drain(self, reason: str) -> None:
        """Drain, from whatever side it came; the process ends within a bound."""
        if self._drain.is_set():
            return
        structlog.get_logger().info("drain_requested", reason=reason)
        self._drain.set()
        loop = asyncio.get_running_loop()
        loop.call_later(self._drain_s + DRAIN_GRACE_S, self._end)

    def _end(self) -> None:
        structlog.get_logger().error("drain_cut_off")
        os._exit(EXIT_DRAIN_TOO_LONG)

    def _send(self, message: messages.FromWorker) -> None:
        if not self._writer.is_closing():
            self._writer.write(messages.pack(message))


async def serve(
    start: Start, line: socket.socket, listeners: list[socket.socket], log_file: logs.LogFile
) -> None:
    """Everything that happens on the loop."""
    from switch.wiring import run_worker

    reader, writer = await asyncio.open_unix_connection(sock=line)
    control = Control(start, writer, log_file)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, control.request_drain, "signal")
    listening = asyncio.create_task(listen(reader, control))
    counting = asyncio.create_task(count(control))
    try:
        await run_worker(start.config, start.index, listeners, start.lmk, control)
    finally:
        listening.cancel()
        counting.cancel()
        control.metrics(control.registry.snapshot())
        writer.close()


async def listen(reader: asyncio.StreamReader, control: Control) -> None:
    """Wait for the word to drain; the supervisor's end is one."""
    try:
        while True:
            message = await messages.receive_from_supervisor(reader)
            assert not isinstance(message, messages.Start), "Start comes once"
            if isinstance(message, messages.NewLmk):
                control.new_lmk(message.lmk)
            elif isinstance(message, messages.Certificates):
                control.renew(message.certificates)
            else:
                control.request_drain("supervisor")
    except (asyncio.IncompleteReadError, OSError):
        control.request_drain("supervisor_gone")


async def count(control: Control) -> None:
    while True:
        await asyncio.sleep(METRICS_S)
        control.metrics(control.registry.snapshot())


def configure_logs(config: Config, index: int) -> logs.LogFile:
    name = f"worker-{index}"
    file = logs.LogFile(
        config.log_folder / f"{name}.jsonl", config.log.file_bytes, config.log.files
    )
    logs.configure(SystemClock(), name, level=config.log.level, file=file)
    return file


def main(arguments: list[str]) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor's to answer
    core_dumps_off()
    raise_open_files()
    line = socket.socket(fileno=int(arguments[0]))
    listeners = [socket.socket(fileno=int(argument)) for argument in arguments[1:]]
    for inherited in (line, *listeners):
        inherited.set_inheritable(False)
    try:
        start = messages.receive_start(line)
    except EOFError:
        return 0  # the supervisor ended before it said anything
    for dialect in start.dialects:
        registry.add(dialect)
    line.settimeout(0)
    for listener in listeners:
        listener.settimeout(0)
    log_file = configure_logs(start.config, start.index)
    # Messages are dicts of strings, which the collector does not track: it has little to find.
    gc.set_threshold(50_000, 50, 1_000)

    import uvloop

    log = structlog.get_logger()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(start, line, listeners, log_file))
    except Exception:
        log.exception("worker_failed")
        return 1
    log.info("worker_ended")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
