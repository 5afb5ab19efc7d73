"""Logs: JSON lines in `<data>/log`, and a human line on stderr. One processor masks everything.

An event is a past-tense name with keys: `log.info("reversal_sent", stan="000123", attempt=2)`.
Masking is by key (what is named like a secret is never shown) and by pattern (whatever looks like a
PAN, a track or a key in any text). The one line per authorisation takes another way, 40 times as
fast: an `AuthorizationLine` of fields that are masked already, written in batches.
"""

from __future__ import annotations

import datetime as dt
import errno
import logging
import os
import re
import sys
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from iso8583.message import mask_pan
from iso8583.track import luhn_ok

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping
    from pathlib import Path

    from switch.ports import Clock

HIDDEN = "***"

# -- masking ------------------------------------------------------------------------------------

# Keys whose value is never shown, whatever it is.
SECRET_KEYS = frozenset((
    "pin", "pin_block", "cvv", "cvv2", "cvc", "cvn", "track", "track1", "track2", "track3",
    "expiry", "emv", "chip", "icc", "component", "components", "share", "shares", "passphrase",
    "password", "secret", "lmk", "tmk", "zmk", "tpk", "pik", "mak", "zpk", "zak", "tdk", "dek",
    "kek", "session_key", "working_keys", "clear", "plaintext", "dsn", "body", "frame", "raw",
))  # fmt: skip
# Data elements of a message (a dict with integer keys) that are never shown.
SECRET_ELEMENTS = frozenset((14, 35, 36, 45, 46, 47, 48, 52, 55, 57, 59, 61, 62, 63, 96, 125))
# Keys whose numbers and digests are what they say: masked by key only.
PLAIN_KEYS = frozenset((
    "request_id", "original_request_id", "root_request_id", "item_id", "owner_id", "session_id",
    "generation", "pid", "sha256", "check_value", "lmk_id",
))  # fmt: skip

_PAN = re.compile(r"(?:[0-9][ -]?){12,}[0-9]")
_TRACK2 = re.compile(r"([0-9]{12,19})[=dD][0-9][0-9=fF?]*")
_TRACK1 = re.compile(r"[A-Z]?([0-9]{12,19})\^[^^]{0,40}\^[^\s\"']*")
_HEX = re.compile(r"[0-9A-Fa-f]{16,}")
_DSN_PASSWORD = re.compile(r"(postgres(?:ql)?://[^\s:/@]*):[^\s@]*@")


def mask_text(text: str) -> str:
    """The text without PANs, tracks, keys and passwords.

    >>> mask_text("card 4111 1111 1111 1111 refused")
    'card 411111******1111 refused'
    >>> mask_text("6212345678901265=25122010000012345678")
    '621234******1265=***'
    >>> mask_text("key 0123456789ABCDEFFEDCBA9876543210")
    'key [32 hex digits]'
    """
    text = _HEX.sub(_mask_hex, text)  # first: half a masked key is half a key shown
    text = _TRACK1.sub(lambda match: f"{mask_pan(match[1])}^{HIDDEN}", text)
    text = _TRACK2.sub(lambda match: f"{mask_pan(match[1])}={HIDDEN}", text)
    text = _PAN.sub(_mask_run, text)
    return _DSN_PASSWORD.sub(rf"\1:{HIDDEN}@", text)


def _mask_run(match: re.Match[str]) -> str:
    """A run of digits in which any 13 to 19 in a row pass Luhn is masked as a whole."""
    digits = match[0].replace(" ", "").replace("-", "")
    for length in range(13, 20):
        for start in range(len(digits) - length + 1):
            if luhn_ok(digits[start : start + length]):
                return mask_pan(digits)
    return match[0]


def _mask_hex(match: re.Match[str]) -> str:
    return match[0] if match[0].isdecimal() else f"[{len(match[0])} hex digits]"


def mask(value: Any, key: str | int = "") -> Any:
    """A value as it may be logged under `key`; containers are walked."""
    if isinstance(key, int):
        if key in SECRET_ELEMENTS:
            return HIDDEN
        return mask_pan(str(value)) if key == 2 else mask(value, "element")
    name = key.lower()
    if name in SECRET_KEYS:
        return HIDDEN
    if name == "pan":
        return mask_pan(str(value))
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        if name in PLAIN_KEYS or abs(value) < 10**12:
            return value
        masked = mask_text(str(value))
        return value if masked == str(value) else masked
    if isinstance(value, str):
        return value if name in PLAIN_KEYS else mask_text(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(value)} bytes]"
    if isinstance(value, dict):
        return {
            (inner if isinstance(inner, int) else mask_text(str(inner))): mask(
                of, inner if isinstance(inner, int) else str(inner)
            )
            for inner, of in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [mask(of, name) for of in value]
    return mask_text(str(value))


def mask_event(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """The masking processor."""
    return {key: mask(value, key) for key, value in event.items()}


# -- files --------------------------------------------------------------------------------------


class LogFile:
    """Lines appended to a file of bounded size: `name`, then `name.1` … the oldest is dropped.

    Where nothing can be written (a full disk) lines are lost, never a request: they are counted, it
    is said once when that begins and once when it ends, and the file holds whole lines all the same.
    """

    def __init__(self, path: Path, file_bytes: int, files: int) -> None:
        self._path = path
        self._file_bytes = file_bytes
        self._files = files
        self._fd: int | None = None
        self._size = 0
        self.lost = 0  # lines, from the start
        self._lost_before: int | None = None  # while lines are being lost: how many were before
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(self._path, flags, 0o600)
        self._size = os.fstat(self._fd).st_size

    def write(self, lines: bytes) -> None:
        """Whole lines, each with its end."""
        written = 0
        try:
            if self._fd is None:
                self._open()
            if self._size and self._size + len(lines) > self._file_bytes:
                self._turn()
            written = self._append(lines)
        except OSError as error:
            self._lose(lines.count(b"\n"), error)
            return
        if written < len(lines):
            self._lose(
                lines.count(b"\n", written), OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            )
        elif self._lost_before is not None:
            lost, self._lost_before = self.lost - self._lost_before, None
            # in all, too: where the disk is full again at once, this line is lost as well
            structlog.get_logger().warning(
                "log_written_again", file=self._path.name, lost=lost, lost_in_all=self.lost
            )

    def _append(self, lines: bytes) -> int:
        """How many bytes of whole lines are there now; what was written of a further one is not."""
        assert self._fd is not None
        written = os.write(self._fd, lines)
        whole = lines.rfind(b"\n", 0, written) + 1
        if whole < written:
            os.ftruncate(self._fd, os.fstat(self._fd).st_size - written + whole)
        self._size += whole
        return whole

    def _lose(self, lines: int, error: OSError) -> None:
        begins = self._lost_before is None
        if begins:
            self._lost_before = self.lost
        self.lost += lines
        if begins:  # the console has it at least
            structlog.get_logger().error(
                "log_lines_lost", file=self._path.name, reason=error.strerror
            )

    def _turn(self) -> None:
        self.close()
        paths = [self._path, *(self._numbered(n) for n in range(1, self._files))]
        for older, newer in zip(paths[:0:-1], paths[-2::-1], strict=True):
            if newer.exists():
                newer.replace(older)
        if self._files == 1:
            self._path.unlink()
        self._open()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def close(self) -> None:
        if self._fd is not None:
            fd, self._fd = self._fd, None
            os.close(fd)


# -- events -------------------------------------------------------------------------------------


class _Sink:
    """structlog's logger: a JSON line to the file, a human line to stderr from a level on."""

    def __init__(self, file: LogFile | None, console_level: int) -> None:
        self._file = file
        self._console_level = console_level

    def msg(self, event: Mapping[str, Any]) -> None:
        if self._file is not None:
            self._file.write(msgspec.json.encode(event, enc_hook=str) + b"\n")
        if logging.getLevelNamesMapping()[event["level"].upper()] >= self._console_level:
            with suppress(OSError):  # stderr may be a file on the same full disk
                sys.stderr.write(human(event) + "\n")
                sys.stderr.flush()

    debug = info = warning = error = critical = msg


NOT_FOR_PEOPLE = frozenset(("time", "level", "event", "process", "traceback"))


def human(event: Mapping[str, Any]) -> str:
    """One line for a person: time of day, level if it matters, event, keys; tracebacks are in the file."""
    level = "" if event["level"] in ("debug", "info") else f" {event['level'].upper()}"
    rest = {k: v for k, v in event.items() if k not in NOT_FOR_PEOPLE}
    words = " ".join(f"{key}={value}" for key, value in rest.items())
    who = f" {event['process']}" if event.get("process") else ""
    return f"{event['time'][11:19]}{who}{level} {event['event']} {words}".rstrip()


def configure(
    clock: Clock, process: str, *, level: str, file: LogFile | None, console_level: str = "warning"
) -> None:
    """Set up the logs of this process; warnings of libraries come in too."""

    def stamp(
        _logger: Any, method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        time = clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        level = {"warn": "warning", "exception": "error"}.get(method, method)
        name = event.pop("event", "")
        return {"time": time, "level": level, "process": process, "event": name, **event}

    levels = logging.getLevelNamesMapping()
    structlog.configure(
        processors=[stamp, explain_exception, mask_event, _hand_on],
        wrapper_class=structlog.make_filtering_bound_logger(levels[level.upper()]),
        logger_factory=lambda *_: _Sink(file, levels[console_level.upper()]),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_Library()], level=logging.WARNING, force=True)


def _hand_on(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return (dict(event),), {}


def explain_exception(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """`exc_info` as text, without the values of variables."""
    info = event.pop("exc_info", None)
    error = sys.exc_info()[1] if info is True else info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event["error"] = f"{type(error).__name__}: {error}"
        event["traceback"] = "".join(traceback.format_exception(error, limit=20))
    return event


class _Library(logging.Handler):
    """Python's own logging (asyncio, asyncpg) as events."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger()
        write: Callable[..., None] = log.error if record.levelno >= logging.ERROR else log.warning
        write(
            "library_said", library=record.name, text=record.getMessage(), exc_info=record.exc_info
        )


# -- the line of an authorisation ---------------------------------------------------------------


class AuthorizationLine(msgspec.Struct, frozen=True, gc=False):
    """What happened to one request. `pan_masked` is masked already; timings in µs, 0 where none.

    The stages follow each other; what of `total_us` is in none of them is waiting for the loop.
    docs/interfaces.md tells each field.
    """

    time: dt.datetime
    merchant: str
    terminal: str
    stan: str
    rrn: str
    type: str
    amount_minor: int
    currency: str
    pan_masked: str
    response_code: str
    acquirer: str
    rule: str
    decode_us: int = 0
    commit1_us: int = 0
    acquirer_us: int = 0
    commit2_us: int = 0
    total_us: int = 0
    check_us: int = 0
    send_us: int = 0
    reply_us: int = 0
    request_id: int = 0
    batch: str = ""
    mti: str = ""
    entry_mode: str = ""
    state: str = ""  # of the outcome
    route: str = ""  # prefix@version
    route_rule: str = ""
    attempts: int = 0
    link_stan: str = ""
