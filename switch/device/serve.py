"""One device: opens the LMK, listens, answers, logs, stops. One process, one thread of commands."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from hsm.adapters.replay_file import FileCounters
from hsm.adapters.server import HostPort, HostServer
from hsm.dukpt_replay import ReplayGuard
from hsm.errors import VaultError
from hsm.host.commands import COMMANDS
from hsm.host.dispatch import Dispatcher
from hsm.host.vault import HostVault, Identity, PinSettings, firmware_of
from hsm.variant import VariantLmk
from switch import logs
from switch.adapters.system import SystemClock, SystemEntropy, core_dumps_off
from switch.device.control import Ask, Control, fault_of
from switch.lmk_file import LmkError, open_lmk
from switch.texts import say
from switch.version import version

if TYPE_CHECKING:
    from hsm.lmk import Lmk
    from switch.device.config import Device

_log = structlog.get_logger(__name__)

EXIT_FAILURE = 1
COUNTERS = "dukpt-counters"  # file in the device's folder


def serve(
    device: Device,
    *,
    demo: bool,
    language: str,
    ready_file: Path | None = None,
    passphrase_fd: int | None = None,
) -> int:
    """Run the device until it is told to stop; the exit code."""
    import uvloop

    core_dumps_off()
    try:
        lmk = open_lmk(
            Path(device.lmk_file), demo=demo, language=language, passphrase_fd=passphrase_fd
        )
        folder = Path(device.folder)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = logs.LogFile(folder / "log" / "hsm.jsonl", device.log.file_bytes, device.log.files)
        logs.configure(SystemClock(), "hsm", level=device.log.level, file=file)
        tell("hsm_statement", language)
        if demo:
            tell("hsm_demo_statement", language)
        running = Running(device, lmk, language=language, demo=demo, ready_file=ready_file)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(running.run())
    except (LmkError, VaultError, OSError, ssl.SSLError) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_FAILURE
    except KeyboardInterrupt:
        return EXIT_FAILURE
    tell("hsm_stopped", language)
    return 0


def tell(key: str, language: str, **values: Any) -> None:
    sys.stderr.write(say(key, language, **values) + "\n")
    sys.stderr.flush()


def tls_context(device: Device) -> ssl.SSLContext | None:
    """TLS 1.2 or later with the device's certificate; clients must show theirs where asked."""
    if not device.tls.certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(device.tls.certificate, device.tls.key)
    if device.tls.clients:
        context.load_verify_locations(device.tls.clients)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class Running:
    """A device that listens."""

    def __init__(
        self, device: Device, lmk: Lmk, *, language: str, demo: bool, ready_file: Path | None
    ) -> None:
        self._device = device
        self._language = language
        self._ready_file = ready_file
        self._lmk_id = lmk.lmk_id
        self._variant = VariantLmk.of(lmk)
        self._counters = (
            FileCounters(Path(device.folder) / COUNTERS) if device.dukpt_replay else None
        )
        self.vault = HostVault(
            lmk,
            self._variant,
            SystemEntropy().bytes,
            monotonic_s,
            allow_weak=demo,
            identity=Identity(firmware_of(version()), device.message_bytes, device.connections),
            replay=ReplayGuard(self._counters) if self._counters is not None else None,
            pins=PinSettings(
                stored_digits=device.pin_digits_max + 1,
                clear_tables=device.tables == "clear",
                failures_max=device.pin_failures,
            ),
        )
        self.vault.take_over_from(lmk.former)
        self._tls = tls_context(device)
        self._server = HostServer(
            Dispatcher(
                self.vault,
                COMMANDS,
                header_bytes=device.header_bytes,
                allowed=device.commands or None,
                failed=failed,
            ),
            HostPort(
                device.host,
                device.port,
                tls=self._tls,
                connections_max=device.connections,
                message_bytes_max=device.message_bytes,
                idle_timeout_s=device.idle_s,
            ),
            _log.info,
        )
        self._started_at = SystemClock().now()

    async def run(self) -> None:
        """Listen until SIGINT or SIGTERM; SIGHUP reads the certificate again."""
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for of in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(of, stop.set)
        loop.add_signal_handler(signal.SIGHUP, self.reload_certificate)
        control = Control(self._device.control, self.answer)
        try:
            host, port = await self.listen()
            await control.start()  # after the port: a second device takes no console from the first
            _log.info("hsm_started", host=host, port=port, lmk_id=self._lmk_id)
            tell("hsm_listening", self._language, host=host, port=port, lmk_id=self._lmk_id)
            if self._tls is None:
                tell("hsm_plain", self._language)
            if self._ready_file is not None:
                self._ready_file.write_text(f"{host}:{port}\n", encoding="utf-8")
            await stop.wait()
        finally:
            await control.close()
            await self._server.close()
            if self._counters is not None:
                self._counters.close()
            _log.info("hsm_stopped")

    async def listen(self) -> tuple[str, int]:
        try:
            return await self._server.start()
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            host, port = self._device.host, self._device.port
            raise OSError(
                say("hsm_not_bound", self._language, host=host, port=port, reason=reason)
            ) from error

    def reload_certificate(self) -> None:
        """Connections made from now on see the new one; a bad file leaves the old one in place."""
        if self._tls is None:
            return
        try:
            self._tls.load_cert_chain(self._device.tls.certificate, self._device.tls.key)
        except (OSError, ssl.SSLError) as error:
            _log.error("hsm_certificate_refused", error=type(error).__name__)
        else:
            _log.info("hsm_certificate_read")

    # -- the console ------------------------------------------------------------------------

    def answer(self, ask: Ask) -> dict[str, Any]:
        if ask.what == "status":
            return self.status()
        if ask.what == "cancel":
            self.vault.cancel_authorised()
            _log.warning("hsm_authorised_state_cancelled")
            return self.status()
        if ask.what != "authorise":
            return {"fault": "hsm_not_understood"}
        names = sorted(officer.name for officer in ask.officers)
        fault = fault_of(ask, self._device)
        if fault is not None:
            _log.warning("hsm_authorised_state_refused", officers=names, why=fault)
            return {"fault": fault}
        self.vault.authorise(ask.duration_s)
        _log.warning("hsm_authorised_state", officers=names, duration_s=ask.duration_s)
        return self.status()

    def status(self) -> dict[str, Any]:
        """What `tongbao hsm status` shows."""
        dispatcher = self._server.dispatcher
        return {
            "lmk_id": self._lmk_id,
            "variant_check_value": self._variant.check_value,
            "started_at": self._started_at.isoformat(timespec="seconds"),
            "connections": len(self._server.connections),
            "connections_refused": self._server.refused,
            "authorised": self.vault.authorised,
            "unknown_commands": dispatcher.unknown.calls,
            "commands": [
                {"command": code, "calls": counter.calls, "errors": counter.errors}
                for code, counter in dispatcher.counters().items()
                if counter.calls
            ],
        }


def monotonic_s() -> float:
    return SystemClock().monotonic_ns() / 1e9


def failed(command: str, error: BaseException) -> None:
    """A fault of ours: the client got 41; the error's text may hold data and is not logged."""
    _log.error("hsm_command_failed", command=command, error=type(error).__name__)
