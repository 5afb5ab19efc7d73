"""Where the time of one request goes: durations on the monotonic clock, for its line in the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from switch.authorization import NOTHING_SENT, Stage
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
    replied_ns: int = 0

    def staged(self, stage: Stage, now_ns: int) -> None:
        """A stage of its authorisation has ended."""
        took_ns = now_ns - self.since_ns
        self.since_ns = now_ns
        if stage is Stage.EXCHANGING:
            self.exchanged_ns += took_ns
        elif stage in NOTHING_SENT or stage is Stage.REROUTING:
            self.recorded_ns += took_ns
        else:
            self.settled_ns += took_ns


class Decided(msgspec.Struct, gc=False):
    """Of `RequestRow.decision` what the line tells."""

    route: str = ""


_decided = msgspec.json.Decoder(Decided)


def authorization_line(reply: Reply, watch: Watch, total_ns: int) -> AuthorizationLine:
    request, attempt = reply.request, reply.attempt
    exchanged_ns = watch.exchanged_ns - watch.sent_ns  # the link's part and the bank's
    return AuthorizationLine(
        time=request.received_at,
        merchant=request.key.merchant,
        terminal=request.key.terminal,
        stan=f"{request.key.stan:06d}",
        rrn=request.rrn,
        type=request.type,
        amount_minor=request.amount_minor,
        currency=request.currency,
        pan_masked=request.pan_masked,
        response_code=reply.response_code,
        acquirer="" if attempt is None else attempt.acquirer,
        rule=reply.rule,
        decode_us=watch.decoded_ns // 1_000,
        commit1_us=watch.recorded_ns // 1_000,
        acquirer_us=exchanged_ns // 1_000,
        commit2_us=watch.settled_ns // 1_000,
        total_us=total_ns // 1_000,
        check_us=watch.checked_ns // 1_000,
        send_us=watch.sent_ns // 1_000,
        reply_us=watch.replied_ns // 1_000,
        request_id=request.request_id,
        batch=f"{request.key.batch:06d}",
        mti=request.mti,
        entry_mode=request.entry_mode,
        state="" if reply.outcome is None else reply.outcome.state,
        route=_decided.decode(request.decision).route if request.decision else "",
        route_rule="" if attempt is None else attempt.route_rule,
        attempts=0 if attempt is None else attempt.attempt,
        link_stan="" if attempt is None else attempt.link_stan,
    )
