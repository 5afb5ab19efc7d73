"""Is the node alive, and shall a balancer send terminals to it? Pure: from what is known, the answer.

*Ready* means that new connections are welcome here. A bank that is away does not make a node unready:
its terminals are answered 91 or take another route, and reversals and advices must be taken in all the
same; a node out of the balancer could not. It is told as degraded. So is a certificate that has ended:
whether to believe it is the terminals' decision, and all nodes that share it would be gone at once.
"""

from __future__ import annotations

from typing import Any

import msgspec

STORE_AWAY_S = (
    10.0  # after so long without an answer of the store new terminals are better off elsewhere
)
CERTIFICATE_SOON_S = 14 * 86_400.0


class Certificate(msgspec.Struct, frozen=True):
    """One TLS listener's, as it is in force."""

    listener: str
    ends_at: str
    left_s: int  # below 0: it has ended
    valid: bool
    refused: str | None  # why what its files hold now is not in force


class Known(msgspec.Struct, frozen=True):
    """What a supervisor knows at one instant."""

    workers: int  # that serve
    workers_wanted: int
    draining: bool
    was_ready: bool  # all workers have served at once since the start
    lmk_id: str
    listeners: int  # addresses that are bound
    store_away_s: float  # 0: it answers
    store_reason: str = ""
    links: dict[str, bool] = {}  # acquirer -> some worker can send
    circuits: dict[str, int] = {}  # acquirer -> workers whose circuit is not closed
    lacking: dict[str, str] = {}  # acquirer -> setting of this node that its link needs
    certificates: tuple[Certificate, ...] = ()


class Check(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that was looked at. State: ok, degraded (told), failed (not ready)."""

    check: str
    state: str
    reason: str = ""


def checks(known: Known) -> list[Check]:
    """Everything that is looked at, in a fixed order."""
    return [
        _draining(known),
        _workers(known),
        _listeners(known),
        Check("lmk", "ok", known.lmk_id) if known.lmk_id else Check("lmk", "failed", "not opened"),
        _store(known),
        *(_link(known, name, ready) for name, ready in sorted(known.links.items())),
        *map(_certificate, known.certificates),
    ]


def ready(known: Known) -> tuple[int, dict[str, Any]]:
    """HTTP status (200 or 503) and body of /ready."""
    found = checks(known)
    failed = [check for check in found if check.state == "failed"]
    return 503 if failed else 200, {
        "ready": not failed,
        "workers": known.workers,
        "draining": known.draining,
        "degraded": any(check.state == "degraded" for check in found),
        "reasons": [f"{check.check}: {check.reason}" for check in found if check.state != "ok"],
        "checks": found,
        "certificates": known.certificates,
    }


def health(known: Known, uptime_s: float, version: str, node: str) -> tuple[int, dict[str, Any]]:
    """HTTP status and body of /health: whoever reads it can tell a dead process from an unready one."""
    healthy = known.workers > 0 or known.draining or not known.was_ready
    return 200 if healthy else 503, {
        "healthy": healthy,
        "node": node,
        "version": version,
        "uptime_s": int(uptime_s),
        "workers": known.workers,
        "workers_wanted": known.workers_wanted,
    }


def _draining(known: Known) -> Check:
    if known.draining:
        return Check("draining", "failed", "told to stop")
    return Check("draining", "ok")


def _workers(known: Known) -> Check:
    of = f"{known.workers} of {known.workers_wanted} serve"
    if not known.was_ready or known.workers == 0:
        return Check("workers", "failed", of)
    return Check("workers", "ok" if known.workers == known.workers_wanted else "degraded", of)


def _listeners(known: Known) -> Check:
    return Check("listeners", "ok" if known.listeners else "failed", f"{known.listeners} bound")


def _store(known: Known) -> Check:
    if not known.store_away_s:
        return Check("store", "ok")
    state = "failed" if known.store_away_s >= STORE_AWAY_S else "degraded"
    return Check("store", state, f"away for {known.store_away_s:.0f} s: {known.store_reason}")


def _link(known: Known, name: str, ready: bool) -> Check:  # noqa: FBT001 - as it is known
    broken = known.circuits.get(name, 0)
    if name in known.lacking:
        return Check(f"link.{name}", "degraded", f"not on this node: see {known.lacking[name]}")
    if not ready:
        return Check(f"link.{name}", "degraded", "not signed on")
    if broken:
        return Check(f"link.{name}", "degraded", f"circuit open in {broken} of {known.workers}")
    return Check(f"link.{name}", "ok")


def _certificate(of: Certificate) -> Check:
    name = f"certificate.{of.listener}"
    if not of.valid:
        return Check(name, "degraded", f"ended {of.ends_at}")
    if of.refused:
        return Check(name, "degraded", f"its files: {of.refused}")
    days = f"{of.left_s / 86_400:.0f} days left"
    return Check(name, "degraded" if of.left_s < CERTIFICATE_SOON_S else "ok", days)
