"""Where the time of one request goes: durations on the monotonic clock, for its line in the log."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from switch.authorization import DECIDING, EXCHANGING, OVERTAKEN, Stage
from switch.logs import AuthorizationLine

if TYPE_CHECKING:
    from switch.effects import Reply


class Watch(msgspec.Struct, gc=False):
    started_ns: int
    since_ns: int  # of the stage that it is in
    decoded_ns: int = 0
    checked_ns: int = 0
    recorded_ns: int = 0
    sent_ns: int = 0  # of what was exchanged, our part
    exchanged_ns: int = 0
    settled_ns: int = 0
    ended_ns: int = 0

    def staged(self, stage: Stage, now_ns: int) -> None:
        """A stage of its authorisation has ended."""
        took_ns = now_ns - self.since_ns
        self.since_ns = now_ns
        if stage is EXCHANGING:
            self.exchanged_ns += took_ns
        elif stage is DECIDING or stage is OVERTAKEN:
            self.settled_ns += took_ns
        else:
            self.recorded_ns += took_ns


class Decided(msgspec.Struct, gc=False):
    """Of `RequestRow.decision` what the line tells."""

    route: str = ""


_decided = msgspec.json.Decoder(Decided)


@lru_cache(4_096)  # one a terminal and range of cards, until reference data change
def route_of(decision: str) -> str:
    return _decided.decode(decision).route if decision else ""


def authorization_line(reply: Reply, watch: Watch) -> AuthorizationLine:
    request, attempt, outcome = reply.request, reply.attempt, reply.outcome
    key = request.key
    acquirer = route_rule = link_stan = ""
    attempts = 0
    if attempt is not None:
        acquirer, route_rule = attempt.acquirer, attempt.route_rule
        attempts, link_stan = attempt.attempt, attempt.link_stan
    # By position, in the order of its fields: by name the whole line costs five times as much.
    return AuthorizationLine(
        request.received_at,
        key.merchant,
        key.terminal,
        str(key.stan).zfill(6),
        request.rrn,
        request.type,
        request.amount_minor,
        request.currency,
        request.pan_masked,
        reply.response_code,
        acquirer,
        reply.rule,
        watch.decoded_ns // 1_000,
        watch.recorded_ns // 1_000,
        (watch.exchanged_ns - watch.sent_ns) // 1_000,  # the link's part and the bank's
        watch.settled_ns // 1_000,
        (watch.ended_ns - watch.started_ns) // 1_000,
        watch.checked_ns // 1_000,
        watch.sent_ns // 1_000,
        (watch.ended_ns - watch.since_ns) // 1_000,  # the reply's
        request.request_id,
        str(key.batch).zfill(6),
        request.mti,
        request.entry_mode,
        "" if outcome is None else outcome.state,
        route_of(request.decision),
        route_rule,
        attempts,
        link_stan,
    )
