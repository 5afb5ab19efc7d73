"""What a worker says of its work: the line of each authorisation, refusals (sampled), metrics."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import OrderedDict
from typing import TYPE_CHECKING

import msgspec
import structlog

from hsm.errors import VaultError
from switch.journal import OwnerTakenError, StoreDownError
from switch.logs import mask_text
from switch.routing import read_route_rule
from switch.watch import authorization_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from switch.config import Config
    from switch.effects import Reply
    from switch.logs import AuthorizationLine, LogFile
    from switch.metrics import Registry, Series
    from switch.reception import Received
    from switch.store_ports import Undecided
    from switch.watch import Watch

REFUSAL_WINDOW_S = 60.0
STORE_SAID_S = 60.0  # between lines on what the store refused
MANAGED = frozenset(("0320", "0500", "0800", "0820"))
STORE = (StoreDownError, OwnerTakenError)
STAGES = ("decode", "check", "commit1", "send", "acquirer", "commit2", "reply")  # as they follow
RESULTS = frozenset(("approved", "declined", "reversed"))
STAGED_A_FLUSH = 32  # lines whose stages are observed: at speed a part tells enough
COUNTED_MAX = 4_096  # kinds of lines whose series are remembered
CODE_DIGITS = 3  # of DE 60.3 and of an MTI's class: what a peer chose is no label

# Of a line: type, response code, acquirer, route, rule of its route, state; whether it answers a repeat.
Alike = tuple[str, str, str, str, str, str, bool]

_log = structlog.get_logger(__name__)


class Reporter:
    """`engine.Log`. Refusals before the MAC check are counted all and written a few per source.

    What was answered waits, `log.lines_max` at most, until `flush`, which the owner calls every `log.flush_s`
    and at the end: lines that are made, counted and written one after the other cost half of what they would
    among the requests. `file`: where they go, if anywhere; `others`: whose lost lines count too.
    """

    def __init__(
        self,
        config: Config,
        registry: Registry,
        file: LogFile | None,
        others: Sequence[LogFile] = (),
    ) -> None:
        self._bounds = config.server
        self._file = file
        self._files = others if file is None else (file, *others)
        self._waiting: list[tuple[Reply, Watch]] = []
        self._lines_max = config.log.lines_max
        self._encoder = msgspec.json.Encoder()
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._answered = registry.counter(
            "tongbao_authorizations_total", "answers to money requests", "type", "response_code"
        )
        self._took = registry.histogram(
            "tongbao_authorization_seconds", "from a request's last byte to its answer", "type"
        )
        stages = registry.histogram(
            "tongbao_stage_seconds", "of an authorisation, by stage of its line", "stage"
        )
        self._stages = [stages.of(stage) for stage in STAGES]
        self._bounds_us = [round(bound_s * 1e6) for bound_s in stages.bounds]
        self._counted: dict[Alike, tuple[list[Series], Series]] = {}
        self._approvals = registry.counter(
            "tongbao_approvals_total",
            "what came of requests that had a route, by range of cards",
            "issuer",
            "result",
        )
        self._routes = registry.counter(
            "tongbao_routed_total",
            "what came of requests that had an attempt, by the rule and link of the last",
            "rule",
            "acquirer",
            "result",
        )
        self._passed = registry.counter(
            "tongbao_route_passed_total",
            "links that were passed over for the next; failover: after an attempt was committed there",
            "acquirer",
            "reason",
            "when",
        )
        self._managed = registry.counter(
            "tongbao_managements_total", "answers to messages that move no money", "mti", "rule"
        )
        self._refused = registry.counter(
            "tongbao_refusals_total", "refusals before anything was stored", "response_code"
        )
        self._connections = registry.counter(
            "tongbao_connections_total", "terminals' connections: what became of them", "event"
        )
        self._downloads = registry.counter(
            "tongbao_downloads_total",
            "downloads of terminals: asked for, begun, mixed by a change of the data, ended",
            "topic",
            "act",
        )
        self._recovered = registry.counter(
            "tongbao_recovered_total", "requests decided for a process that died"
        )
        self._lost = registry.counter(
            "tongbao_log_lines_lost_total", "log lines that found no room on disk"
        )
        self._store_said_s = -STORE_SAID_S
        self._failed = registry.counter(
            "tongbao_failures_total", "errors of our own", "error", "part"
        )

    def authorized(self, reply: Reply, watch: Watch) -> None:
        self._waiting.append((reply, watch))
        if len(self._waiting) >= self._lines_max:
            self.flush()

    def _count(self, line: AuthorizationLine) -> None:
        repeat = line.rule[:7] == "repeat."
        alike = (
            line.type,
            line.response_code,
            line.acquirer,
            line.route,
            line.route_rule,
            line.state,
            repeat,
        )
        numbers, took = self._counted.get(alike) or self._counted_in(alike)
        for number in numbers:
            number.value += 1.0
        took.value += line.total_us / 1e6
        took.buckets[bisect_left(self._bounds_us, line.total_us)] += 1
        if " after " in line.route_rule and not repeat:
            self._note_passed(line)

    def _counted_in(self, alike: Alike) -> tuple[list[Series], Series]:
        """The series that lines which are so far alike are counted in."""
        type_, response_code, acquirer, route, route_rule, state, repeat = alike
        numbers = [self._answered.of(type_, response_code)]
        if acquirer and not repeat:
            result = state if state in RESULTS else "unknown"
            rule = read_route_rule(route_rule)
            numbers += (
                self._approvals.of(route.partition("@")[0] or "none", result),
                self._routes.of(rule.rule.partition("@")[0], rule.acquirer, result),
            )
        found = numbers, self._took.of(type_)
        if len(self._counted) < COUNTED_MAX:
            self._counted[alike] = found
        return found

    def _note_passed(self, line: AuthorizationLine) -> None:
        for at, (acquirer, reason) in enumerate(read_route_rule(line.route_rule).passed):
            failover = line.attempts > 1 and at == 0
            self._passed.add(acquirer, reason, "failover" if failover else "before")

    def _observe_stages(self, line: AuthorizationLine) -> None:
        took_us = (
            line.decode_us,
            line.check_us,
            line.commit1_us,
            line.send_us,
            line.acquirer_us,
            line.commit2_us,
            line.reply_us,
        )
        for series, us in zip(self._stages, took_us, strict=True):
            if us:  # a refusal sends nothing
                series.value += us / 1e6
                series.buckets[bisect_left(self._bounds_us, us)] += 1

    def managed(self, received: Received, response_code: str, rule: str) -> None:
        mti = received.mti if received.mti in MANAGED else "other"
        self._managed.add(mti, rule_label(rule))
        _log.info(
            "management_answered",
            merchant=received.merchant_id,
            terminal=received.terminal_id,
            mti=received.mti,
            response_code=response_code,
            rule=rule,
        )

    def refused(self, source: str, response_code: str, rule: str) -> None:
        self._refused.add(response_code or "closed")
        if self._sampled(source):
            _log.warning(
                "message_refused", source=source, response_code=response_code, rule=mask_text(rule)
            )

    def noted(self, event: str) -> None:
        self._connections.add(event)

    def downloaded(self, topic: str, act: str) -> None:
        self._downloads.add(topic, act)

    def recovered(self, undecided: Undecided) -> None:
        self._recovered.add()
        _log.info(
            "request_recovered",
            request_id=undecided.request.request_id,
            type=undecided.request.type,
            attempts=len(undecided.attempts),
        )

    def failed(self, error: BaseException) -> None:
        """An error of ours. Of a store that is away the journal says when it began and ended."""
        part = "store" if isinstance(error, STORE) else "switch"
        part = "vault" if isinstance(error, VaultError) else part
        self._failed.add(type(error).__name__, part)
        if not isinstance(error, StoreDownError):
            _log.error("request_failed", exc_info=error)
        elif (now_s := asyncio.get_running_loop().time()) - self._store_said_s >= STORE_SAID_S:
            self._store_said_s = now_s
            _log.warning("store_refused", reason=str(error))

    def flush(self) -> None:
        """Count and write what waits; count what was lost."""
        waiting, self._waiting = self._waiting, []
        lines = []
        for reply, watch in waiting:
            try:
                lines.append(authorization_line(reply, watch))
            except Exception as error:  # noqa: BLE001 - one request's failure is that request's alone
                self.failed(error)
        for line in lines:
            self._count(line)
        for line in lines[:STAGED_A_FLUSH]:
            self._observe_stages(line)
        if lines and self._file is not None:
            self._file.write(self._encoder.encode_lines(lines))
        lost = sum(file.lost for file in self._files)
        self._lost.add(amount=lost - self._lost.value())

    def _sampled(self, source: str) -> bool:
        """At most `refusals_per_source` lines a minute from one address; few addresses are known."""
        now_s = asyncio.get_running_loop().time()
        since_s, count = self._seen.get(source, (now_s, 0))
        if now_s - since_s > REFUSAL_WINDOW_S:
            since_s, count = now_s, 0
        self._seen[source] = (since_s, count + 1)
        if len(self._seen) > self._bounds.refusal_sources:
            self._seen.popitem(last=False)
        return count < self._bounds.refusals_per_source


def rule_label(rule: str) -> str:
    """The rule's name alone: these messages are unsigned, and who sends them chooses the rest.

    >>> rule_label("upload.form: DE 48 at byte 3: ..."), rule_label("type.080.999")
    ('upload.form', 'type')
    >>> rule_label("upload.207"), rule_label("settle.21")
    ('upload', 'settle.21')
    """
    words = rule.partition(":")[0].split(".")
    return ".".join(word for word in words if len(word) < CODE_DIGITS or not word.isdigit())
