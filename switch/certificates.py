"""The supervisor's eye on certificate files: read when they change, told before they end.

A file that can not be used leaves the certificate in place that is; that is said once, and shown in
/metrics and /ready for as long as it lasts. Files are believed when they have stood still from one
look to the next: a certificate and its key are written one after the other.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from switch.readiness import Certificate
from switch.tls import Pem, TlsError, context_of, link_context, validity_of

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Sequence

    from switch.config import LinkEdge, Listener, Tls
    from switch.metrics import Registry
    from switch.ports import Clock
    from switch.tls import Validity

FILE_BYTES_MAX: Final = 131_072  # of each; all of 32 listeners fit into one message to a worker
DAY_S: Final = 86_400.0
ENDED_DAYS: Final = -1  # told after every threshold

_log = structlog.get_logger(__name__)

Stamp = tuple[tuple[int, int, int] | None, ...]


class Watched:
    """One listener's or link's files: what is in force, what was last seen, what was last told.

    `files`: certificate, key, authorities of the other side; "" where there is none.
    """

    def __init__(self, files: Sequence[str], name: str, check: Callable[[Pem], object]) -> None:
        """`check` raises `TlsError` where they can not be used; so does this."""
        self.name = name
        self._files = [Path(file) if file else None for file in files]
        self._check = check
        self._seen = self._read = self._stamp()
        self.pem, self.validity = self._usable()
        self.refused = ""  # why what is in the files now is not in force
        self.told_days: float = float("inf")

    def look(self, now: dt.datetime) -> bool:
        """Whether another certificate is in force than before."""
        stamp, seen = self._stamp(), self._seen
        self._seen = stamp
        if stamp != seen or (stamp == self._read and not self.refused):
            return False
        self._read = stamp
        try:
            return self._renew(now)
        except TlsError as error:
            if self.refused != str(error):
                self.refused = str(error)
                _log.error("certificate_refused", listener=self.name, reason=self.refused)
            return False

    def _renew(self, now: dt.datetime) -> bool:
        pem, validity = self._usable()
        if not validity.begins_at <= now < validity.ends_at:
            raise TlsError(f"certificate: it holds from {validity.begins_at} to {validity.ends_at}")
        self.refused = ""
        if pem == self.pem:
            return False
        self.pem, self.validity, self.told_days = pem, validity, float("inf")
        _log.info("certificate_read", listener=self.name, ends_at=validity.ends_at.isoformat())
        return True

    def warn(self, now: dt.datetime, warn_days: Sequence[int]) -> None:
        """Say it once for each threshold."""
        left_days = self.left_s(now) / DAY_S
        due = (
            ENDED_DAYS
            if left_days <= 0
            else min((d for d in warn_days if left_days <= d), default=None)
        )
        if due is None or due >= self.told_days:
            return
        self.told_days = due
        say = _log.error if due == ENDED_DAYS else _log.warning
        event = "certificate_ended" if due == ENDED_DAYS else "certificate_ends_soon"
        ends_at = self.validity.ends_at.isoformat()
        say(event, listener=self.name, ends_at=ends_at, days=round(left_days, 1))

    def left_s(self, now: dt.datetime) -> float:
        return (self.validity.ends_at - now).total_seconds()

    def _stamp(self) -> Stamp:
        return tuple(stamp_of(file) for file in self._files if file is not None)

    def _usable(self) -> tuple[Pem, Validity]:
        pem = Pem(*(b"" if file is None else read(file) for file in self._files))
        try:
            self._check(pem)
            return pem, validity_of(pem)
        except TlsError as error:
            files = ", ".join(str(file) for file in self._files if file is not None)
            raise TlsError(f"{error} ({files})") from error


class Certificates:
    """Those of all listeners of a node, then those of its links."""

    def __init__(
        self,
        listeners: Sequence[tuple[str, Listener]],
        tls: Tls,
        clock: Clock,
        registry: Registry,
        links: Sequence[LinkEdge] = (),
    ) -> None:
        """`listeners`: each with its address. Raises `TlsError` with who it is for and the file."""
        self._tls = tls
        self._clock = clock
        self._watched: list[Watched | None] = []
        for name, listener in listeners:
            files = (listener.tls_certificate, listener.tls_key, listener.tls_clients)
            self._watch(files if listener.tls_certificate else (), name, context_of)
        for link in links:
            files = (link.tls_certificate, link.tls_key, link.tls_authorities)
            serves = bool(link.listen_host)
            check = partial(link_context, serves=serves)
            self._watch(files if any(files) else (), f"link {link.acquirer}", check)
        self._expires = registry.gauge(
            "tongbao_certificate_expires_seconds", "until the certificate ends", "listener"
        )
        self._refused = registry.gauge(
            "tongbao_certificate_refused", "1: what is in the files can not be used", "listener"
        )
        self._tell()

    def _watch(self, files: Sequence[str], name: str, check: Callable[[Pem], object]) -> None:
        try:
            self._watched.append(Watched(files, name, check) if files else None)
        except TlsError as error:
            raise TlsError(f"{name}: {error}") from error

    def look(self) -> bool:
        """Whether workers are to be given `pems` anew."""
        now = self._clock.now()
        changed = [each.look(now) for each in self._watched if each is not None]
        self._tell()
        return any(changed)

    def pems(self) -> tuple[Pem | None, ...]:
        return tuple(None if each is None else each.pem for each in self._watched)

    def states(self) -> tuple[Certificate, ...]:
        """For /ready."""
        now = self._clock.now()
        return tuple(
            Certificate(
                listener=each.name,
                ends_at=each.validity.ends_at.isoformat(),
                left_s=int(each.left_s(now)),
                valid=each.left_s(now) > 0,
                refused=each.refused or None,
            )
            for each in self._watched
            if each is not None
        )

    def _tell(self) -> None:
        now = self._clock.now()
        for each in self._watched:
            if each is not None:
                self._expires.set(each.left_s(now), each.name)
                self._refused.set(float(bool(each.refused)), each.name)
                each.warn(now, self._tls.warn_days)


def stamp_of(file: Path) -> tuple[int, int, int] | None:
    """What tells one content of a file from another without reading it."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            content = opened.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise TlsError(f"{file}: {error.strerror}") from error
    if len(content) > FILE_BYTES_MAX:
        raise TlsError(f"{file}: longer than {FILE_BYTES_MAX} bytes")
    return content
