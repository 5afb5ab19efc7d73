"""The promises, checked from outside: bytes on the wires, facts in the store, books at the banks.

Nothing here asks the switch what it thinks. A tap on the network sees every message at the moment it
leaves; the store tells every commit at the moment it stands. Each is checked when it happens; when
faults have stopped and the queues are empty, the three views of the money are laid side by side. What
is allowed to differ is named: `Explained`.

P1, P2, P3, P6 and P10 are checked at every message and commit, P6 at every line of the logs too, P9 at
every reversal, P8 (connections to a bank) at every connect, P4 and P5 in the end. Facts are checked
here, messages in `wires.py`, what terminals and banks hold in `views.py`, what holds at rest in `rest.py`.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from switch.journal import Key, OutcomeState
from switch.routing import ROUTE_RULE
from switch.transactions import TOMBSTONE, TYPES, OnUnknown
from terminals.simulator.terminal import APPROVED
from tests.simulation.edge import SENDING_PORT, Knock
from tests.simulation.limits import Limits
from tests.simulation.lines import Lines
from tests.simulation.rest import Cases, ClosedDates, nothing_waits
from tests.simulation.routes import Routes
from tests.simulation.secrecy import Secrets
from tests.simulation.store import CALLER
from tests.simulation.views import Views
from tests.simulation.wires import SETTLES_S, Identity, Wires

if TYPE_CHECKING:
    import datetime as dt

    from switch.journal import AttemptRow, Commit, OutcomeRow, QueueRow, RequestRow
    from switch.virtual.loop import Process
    from switch.virtual.network import Connection, Endpoint
    from tests.simulation.node import Boot
    from tests.simulation.world import World

FINAL_REVERSALS: Final = frozenset({"00", "25", "94"})
SEVERAL: Final = frozenset(
    {"refund", "moto_refund", "adjustment", "tip"}
)  # types of which one original may have several
UNDECIDED_CODES: Final = frozenset({"98"})  # unknown, or still in flight, or pending
# What the trace tells of the rows of a commit.
TOLD_OF_ROWS: Final = {
    "attempt": ("acquirer",),
    "outcome": ("state", "rule"),
    "reversal": ("seq", "origin"),
    "queue": ("kind", "item_id"),
    "late_answer": ("response_code", "reason"),
    "reversal_request": ("response_code", "rule"),
    "case": ("kind",),
}


class Broken(AssertionError):  # noqa: N818 - a promise is broken; it is not an error of the program
    """A promise was broken, at this moment of this seed."""

    def __init__(self, promise: str, detail: str) -> None:
        super().__init__(f"{promise}: {detail}")
        self.promise = promise


def named(row: RequestRow) -> str:
    """A request, as everything that is told of it names it."""
    key = row.key
    return (
        f"{row.type} {key.terminal}/{key.batch}/{key.stan:06d} (request {row.request_id}, "
        f"DE 37 {row.rrn})"
    )


class Checkers:
    def __init__(self, world: World) -> None:
        self.world = world
        self.broken: Broken | None = None
        self.checked: Counter[str] = Counter()
        self.wires = Wires(self)
        self.views = Views(self)
        # facts, in the order in which they came to stand
        self.requests: dict[int, RequestRow] = {}
        self.by_key: dict[object, RequestRow] = {}
        self.by_rrn: dict[str, RequestRow] = {}
        self.attempts: dict[Identity, int] = {}  # → request id
        self.after_outcome: set[Identity] = set()  # attempts that came when all was decided
        self.dates: dict[int, dt.date] = {}  # request id → the business date it was stored on
        self.acquirers: dict[tuple[int, int], str] = {}  # (request id, attempt) → where it goes
        self.reversed_at_s: dict[int, float] = {}
        self.outcomes: dict[int, OutcomeRow] = {}
        self.reversed_by: dict[int, list[str]] = {}  # request id → origins of its reversals
        self.queue: dict[Identity, QueueRow] = {}
        self.items: dict[int, int] = {}  # queue item → request id
        self.sent_facts: dict[int, int] = {}  # queue item → tries that stand
        self.ended: dict[int, str] = {}
        self.late_codes: dict[int, list[str]] = {}  # request id → DE 39 of answers that came late
        self.secrets = Secrets()
        self.closed_dates = ClosedDates(world)
        self.cases = Cases(world)
        self.limits = Limits(world)
        self.routes = Routes(world)
        self.lines = Lines(world)

    def fail(self, promise: str, detail: str) -> None:
        """The first one counts: what follows may be its consequence."""
        if self.broken is None:
            self.broken = Broken(promise, detail)
            self.world.note("BROKEN", promise, detail)
            self.world.stop()

    def check(self, promise: str, right: object, detail: str) -> bool:
        self.checked[promise] += 1
        if not right:
            self.fail(promise, detail)
        return bool(right)

    # -- connections ------------------------------------------------------------------------------

    def connected(self, made: Connection) -> None:
        """A bank has no more connections than it grants.

        Those of a process that stands still do not count: its lease has ended, others may have its
        slots, and nobody but itself can close what its kernel keeps open. It does so on waking. A
        store whose clock is set forward ends every lease before its time: until each process has
        asked again, two may have a slot.
        """
        bank, dialled = self.world.bank_side(made)
        if bank is None or self.world.now_s() < self.world.store_stepped_s + SETTLES_S:
            return
        open_ = [
            one
            for one in self.world.network.connections.values()
            if self.world.bank_side(one) == (bank, dialled)
            and (one.to[1] == SENDING_PORT) == (made.to[1] == SENDING_PORT)
            and self._taken(one.server if dialled else one.client)
        ]
        granted = self.world.plan.link_connections
        self.check(
            "P8", len(open_) <= granted, f"{bank.options.name} grants {granted}, open are {open_}"
        )

    def _taken(self, ours: Endpoint) -> bool:
        """Our end is in use: not closing, of a process that runs, and not in a backlog."""
        waits = ours.protocol is None or isinstance(ours.protocol, Knock)
        return not (waits or ours.is_closing()) and _runs(ours.process)

    # -- facts ------------------------------------------------------------------------------------

    def committed(self, commit: Commit, sent: tuple[int, int] | None) -> None:
        """No number is given twice, reversals count up, an item ends once; what was decided says why."""
        self._note_commit(commit, sent)
        end = commit.end
        if commit.request is not None:
            self._request_stands(commit.request)
        if commit.attempt is not None:
            row = commit.attempt
            identity = (row.acquirer, row.transmission_time, row.link_stan)
            self.check("P3", identity not in self.attempts, f"numbers given twice: {identity}")
            self.attempts[identity] = row.request_id
            self.acquirers[row.request_id, row.attempt] = row.acquirer
            named = ROUTE_RULE.fullmatch(row.route_rule)
            self.check("P10", named, f"{identity} goes there by {row.route_rule!r}")
            if row.request_id in self.outcomes:
                self.after_outcome.add(identity)
            self._follow_up_stands(row)
        if commit.outcome is not None:
            self._outcome_stands(commit.outcome)
        self._taken_over(commit)
        if commit.reversal is not None:
            origins = self.reversed_by.setdefault(commit.reversal.original_request_id, [])
            self.check(
                "P4",
                commit.reversal.seq == len(origins) + 1,
                f"{self.name_of(commit.reversal.original_request_id)} has {len(origins)} reversals, "
                f"and gets number {commit.reversal.seq}",
            )
            self._may_reverse(commit.reversal.original_request_id, commit.reversal.origin)
            origins.append(commit.reversal.origin)
            if commit.reversal.origin == "late_approval":
                how = " at the end of a reversal" if end is not None else ""
                self.world.count(f"late approval reversed anew{how}")
        if commit.late_answer is not None and commit.late_answer.reason == "late":
            late = commit.late_answer
            self.late_codes.setdefault(late.request_id, []).append(late.response_code)
        if commit.queue is not None:
            row_ = commit.queue
            identity = (row_.acquirer, row_.transmission_time, row_.link_stan)
            if row_.kind == "reversal":
                taken = identity in self.attempts or identity in self.queue
                self.check("P3", not taken, f"numbers given twice: {identity}")
            self.queue[identity] = row_
            self.items[row_.item_id] = row_.request_id
        if sent is not None:
            self.sent_facts[sent[0]] = max(sent[1], self.sent_facts.get(sent[0], 0))
        if end is not None:
            self.check("P4", end.item_id not in self.ended, f"item {end.item_id} ended twice")
            self.ended[end.item_id] = end.response_code
        self.cases.committed(commit, "" if end is None else self._kind_of_item(end.item_id))
        self.limits.committed(commit)
        self.routes.committed(commit)
        self.no_secrets("a commit", commit)

    def _note_commit(self, commit: Commit, sent: tuple[int, int] | None) -> None:
        """Its rows, the process that asked for it, and the request that it concerns."""
        rows, request_id = [], 0
        for name in commit.__struct_fields__:
            row = getattr(commit, name)
            if not row or name == "end":  # that says "item … ended"
                continue
            more = [str(getattr(row, field)) for field in TOLD_OF_ROWS.get(name, ())]
            rows.append(f"{name}({' '.join(more)})" if more else name)
            concerned = getattr(row, "request_id", None) or getattr(row, "original_request_id", 0)
            request_id = request_id or concerned or 0
        end = commit.end
        ended = None if end is None else (end.item_id, end.response_code)
        for item, what in ((ended, "ended"), (sent, "sent")):
            if item is not None:
                rows.append(f"item {item[0]} {what}({item[1]})")
                request_id = request_id or self.items.get(item[0], 0)
        caller = CALLER.get()
        who = "" if caller is None else caller.process.name
        of = self.requests.get(request_id, commit.request)
        name = f"request {request_id}" if of is None else named(of)
        self.world.note("stands", who, ", ".join(rows), "of", name)

    def _request_stands(self, row: RequestRow) -> None:
        """One key, one request; DE 37 is given once."""
        self.check("P2", row.key not in self.by_key, f"a second request of {row.key}")
        self.check("P3", row.rrn not in self.by_rrn, f"DE 37 {row.rrn} given twice")
        self.requests[row.request_id] = row
        self.dates[row.request_id] = self.world.store.today
        self.by_key[row.key] = row
        self.by_rrn[row.rrn] = row

    def _outcome_stands(self, row: OutcomeRow) -> None:
        """One outcome; an approval is what the bank (of an advice, the terminal) said, and captures on
        the right date."""
        name = self.name_of(row.request_id)
        self.check("P10", row.rule, f"{name} is {row.state}, and no rule says why")
        self.check("P2", row.request_id not in self.outcomes, f"{name} has a second outcome")
        self.outcomes[row.request_id] = row
        if row.state is not OutcomeState.APPROVED:
            self.check("P5", row.effect_minor is None, f"{name} captures without approval")
            return
        reversed_before = self.reversed_by.get(row.request_id)
        self.check("P3", not reversed_before, f"{name} is approved after its reversal")
        type_ = TYPES[self.requests[row.request_id].type]
        if type_.advice:  # taken at the terminal's word
            said = [("00", self.requests[row.request_id].amount_minor)]
        else:
            said = self._bank_said(row.request_id)
        approved = [amount for code, amount in said if code in APPROVED | {"10"}]
        self.check(
            "P3",
            row.approved_amount_minor in approved,
            f"{name} is approved for {row.approved_amount_minor}, and the bank said {said}",
        )
        if row.effect_minor is not None:
            store = self.world.store
            repeats = type_.on_unknown is OnUnknown.REPEAT
            right = store.today if repeats else self.dates[row.request_id]
            date = store.outcomes[row.request_id].business_date
            self.check("P5", date == right, f"{name} captures on {date}, not on {right}")

    def _bank_said(self, request_id: int) -> list[tuple[str, int]]:
        """(DE 39, DE 4) of what was answered to its attempts."""
        return [
            self.wires.bank_said[identity]
            for identity, of in self.attempts.items()
            if of == request_id and identity in self.wires.bank_said
        ]

    def _taken_over(self, commit: Commit) -> None:
        """Only an owner whose lease has ended, or an earlier life of the same worker, is recovered."""
        request_id = None
        if commit.outcome is not None and commit.outcome.rule.startswith("recovery."):
            request_id = commit.outcome.request_id
        elif commit.queue is not None and commit.queue.kind == "repeat" and commit.end is None:
            request_id = commit.queue.request_id
        caller = CALLER.get()
        if request_id is None or caller is None:
            return
        store, node = self.world.store, caller.node
        owner = store.owner_rows[self.requests[request_id].owner_id]
        itself = (owner.node, owner.worker) == (node.config.node, node.worker)
        self.check(
            "P3",
            itself or owner.lease_until <= store.clock.now(),
            f"{self.name_of(request_id)} is taken over by {node.name}, and the lease of "
            f"{owner.node}-{owner.worker} runs until {owner.lease_until:%H:%M:%S.%f}",
        )

    def drained(self, boot: Boot) -> None:
        """A process that drained and closed its owner leaves nothing undecided behind."""
        for owner in self.world.store.owner_rows.values():
            if owner.owner_id <= boot.owners_before or not owner.closed:
                continue
            if (owner.node, owner.worker) != (boot.node.config.node, boot.node.worker):
                continue
            left = [
                self.name_of(request_id)
                for request_id in self.undecided()
                if self.requests[request_id].owner_id == owner.owner_id
            ]
            self.check("P4", not left, f"{boot.process.name} drained, and nobody decides {left}")

    def _follow_up_stands(self, row: AttemptRow) -> None:
        """What follows goes where its original was approved, and no two of them end it."""
        request = self.requests[row.request_id]
        if request.original_request_id is None:
            return
        name = self.name_of(row.request_id)
        original_id = request.original_request_id
        outcome = self.outcomes.get(original_id)
        approved = outcome is not None and outcome.state is OutcomeState.APPROVED
        standing = approved and original_id not in self.reversed_by
        if not self.check("P2", standing, f"{name} follows {self.name_of(original_id)}: {outcome}"):
            return
        assert outcome is not None
        acquirer = self.acquirers[original_id, outcome.attempt or 1]
        self.check("P5", row.acquirer == acquirer, f"{name} goes to {row.acquirer}, not {acquirer}")
        if request.type == "script_result":
            return  # it ends nothing
        taken = [
            each
            for each in self.requests.values()
            if each.original_request_id == original_id
            and self._may_stand(each.request_id)
            and each.type != "script_result"
        ]
        alone = any(each.type not in SEVERAL for each in taken)
        self.check(
            "P2", not alone or len(taken) == 1, f"{name} is one of {len(taken)} that follow it"
        )
        if request.type in ("adjustment", "tip"):
            return  # a new total: what is captured, `Views.agree` compares
        back = sum(each.amount_minor for each in taken if each.type not in ("adjustment", "tip"))
        most = outcome.approved_amount_minor or 0
        most += sum(
            self.outcomes[each.request_id].effect_minor or 0
            for each in taken
            if each.type in ("adjustment", "tip")
        )
        if request.type.startswith("completion") and not request.type.endswith("void"):
            most = most * 115 // 100
        self.check("P2", back <= most, f"{name}: {back} is taken of {most}")

    def _may_stand(self, request_id: int) -> bool:
        outcome = self.outcomes.get(request_id)
        undone = request_id in self.reversed_by
        return not undone and (outcome is None or outcome.state is OutcomeState.APPROVED)

    def _may_reverse(self, request_id: int, origin: str) -> None:
        """Only types that reverse, and for a terminal only while the date is not posted."""
        name = self.name_of(request_id)
        self.reversed_at_s.setdefault(request_id, self.world.now_s())
        kind = TYPES.get(self.requests[request_id].type)
        reverses = kind is not None and kind.on_unknown is OnUnknown.REVERSE
        reverses = reverses or (kind is not None and kind.advice and origin == "rule")
        self.check("P3", reverses, f"{name} is reversed, and its type never is")
        outcome = self.world.store.outcomes.get(request_id)
        if origin == "terminal" and outcome is not None and outcome.row.effect_minor is not None:
            posted = self.world.store.dates[outcome.business_date] == "posted"
            self.check("P9", not posted, f"{name} is reversed, and its date is posted")

    def _kind_of_item(self, item_id: int) -> str:
        return self.world.store.queue_items[item_id].kind

    def no_secrets(self, where: str, *said: object) -> None:
        """No PAN, track, PIN block or clear key in what is kept, asked of the store, or logged."""
        found = self.secrets.found_in(*said)
        self.check("P6", not found, f"{found} stands in {where}: {said!r}"[:300] if found else "")

    def name_of(self, request_id: int) -> str:
        row = self.requests.get(request_id)
        return f"request {request_id}" if row is None else named(row)

    def by_parts(self, key: tuple[str, str, int, int, str]) -> RequestRow | None:
        return self.by_key.get(Key(*key))

    # -- the end ------------------------------------------------------------------------------------

    def undelivered(self) -> list[QueueRow]:
        """Queue items without an end, and requests without an outcome that are not in the queue."""
        return [row for row in self.queue.values() if row.item_id not in self.ended]

    def undecided(self) -> list[int]:
        pending = {row.request_id for row in self.undelivered() if row.kind == "repeat"}
        return [
            request_id
            for request_id, row in self.requests.items()
            if row.type != TOMBSTONE
            and request_id not in self.outcomes
            and request_id not in pending
        ]

    def left_over(self) -> str:
        """What nobody has decided or delivered, in words."""
        never = [f"{self.name_of(each)} was never decided" for each in self.undecided()]
        for row in self.undelivered():
            name = self.name_of(row.request_id)
            never.append(f"{row.kind} of {name} was never delivered (item {row.item_id})")
        return "; ".join(never[:5])

    def final(self) -> None:
        """When faults have stopped, everything is decided and delivered, and reversals have ended."""
        left = self.left_over()
        self.check("P4", not left, left)
        for request_id, row in self.requests.items():
            self._unknown_is_reversed(request_id, row)
        for item in self.queue.values():
            code = self.ended.get(item.item_id, "")
            if item.kind == "reversal":
                name = self.name_of(item.request_id)
                self.check("P4", code in FINAL_REVERSALS, f"reversal of {name} ended {code!r}")
        self.views.agree()
        self.cases.opened()
        self.limits.rest()
        self.lines.rest()
        self.closed_dates.stand()
        nothing_waits(self.world)

    def _unknown_is_reversed(self, request_id: int, row: RequestRow) -> None:
        """What left and got no answer that counts has a reversal, where its type reverses."""
        kind = TYPES.get(row.type)
        outcome = self.outcomes.get(request_id)
        if kind is None or outcome is None or kind.on_unknown is not OnUnknown.REVERSE:
            return
        left = row.rrn in self.wires.sent_requests
        if left and outcome.state in (OutcomeState.UNKNOWN, OutcomeState.REVERSED):
            self.check(
                "P4", request_id in self.reversed_by, f"{self.name_of(request_id)} is not reversed"
            )


def _runs(process: Process | None) -> bool:
    return process is not None and not process.gone and not process.paused
