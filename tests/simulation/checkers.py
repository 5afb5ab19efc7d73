"""The promises, checked from outside: bytes on the wires, facts in the store, books at the banks.

Nothing here asks the switch what it thinks. A tap on the network sees every message at the moment it
leaves; the store tells every commit at the moment it stands. Each is checked when it happens; when
faults have stopped and the queues are empty, the three views of the money are laid side by side. What
is allowed to differ is named: `Explained`.

P1, P2, P3, P6 and P10 are checked at every message and commit, P6 at every line of the logs too, P9 at
every reversal, P8 (connections to a bank) at every connect, P4 and P5 in the end. What holds at rest
is in `rest.py`.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from iso8583.codec import codec_for
from iso8583.errors import DecodeError
from iso8583.framing import POS, Framer, FramingSpec
from switch.journal import Key, OutcomeState
from switch.transactions import TOMBSTONE, TYPES, OnUnknown, kind_of, reversed_kind
from terminals.simulator.terminal import APPROVED
from tests.simulation.rest import Cases, ClosedDates, nothing_waits
from tests.simulation.secrecy import Secrets
from tests.simulation.store import CALLER
from tests.simulation.till import NEVER_STORED

if TYPE_CHECKING:
    import datetime as dt

    from iso8583.message import Message
    from switch.journal import AttemptRow, Commit, OutcomeRow, QueueRow, RequestRow
    from terminals.simulator.bank import Bank
    from terminals.simulator.terminal import Outcome, Slip, Terminal
    from tests.simulation.loop import Process
    from tests.simulation.network import Connection, Endpoint
    from tests.simulation.node import Boot
    from tests.simulation.world import World

Identity = tuple[str, str, str]  # acquirer, DE 7, DE 11

FINAL_REVERSALS: Final = frozenset({"00", "25", "94"})
UNDECIDED_CODES: Final = frozenset({"98"})  # unknown, or still in flight, or pending
SETTLES_S: Final = 15.0  # until all leases are new ones
RULE_WITH_VERSION: Final = re.compile(r".+@\d+")
# What the trace tells of a message, and of the rows of a commit.
TOLD_OF_MESSAGES: Final = (3, 4, 7, 11, 37, 39, 41, 70)
TOLD_OF_ROWS: Final = {
    "attempt": ("acquirer",),
    "outcome": ("state", "rule"),
    "reversal": ("seq", "origin"),
    "queue": ("kind", "item_id"),
    "late_answer": ("response_code", "reason"),
    "reversal_request": ("response_code", "rule"),
    "case": ("kind",),
}
TAKES_NO_KEY: Final = NEVER_STORED | {"98"}
NOT_OF_THE_REQUEST: Final = frozenset({"94", "96", "98", "A0", "77", "30", "03"})


class Broken(AssertionError):  # noqa: N818 - a promise is broken; it is not an error of the program
    """A promise was broken, at this moment of this seed."""

    def __init__(self, promise: str, detail: str) -> None:
        super().__init__(f"{promise}: {detail}")
        self.promise = promise


class Explained(msgspec.Struct):
    """Differences between the views that injected faults account for, by RRN."""

    forgotten: dict[str, int] = {}  # the bank approved and forgot: what it would have taken
    unheard: dict[str, int] = {}  # approved after its reversal was answered, and nobody heard that
    posted: dict[str, None] = {}  # its 0400 came when its date was posted: a person's case
    copy_refused: list[str] = []  # sent twice, and 96 or A0 was the answer to one of the copies


def named(row: RequestRow) -> str:
    """A request, as everything that is told of it names it."""
    key = row.key
    return (
        f"{row.type} {key.terminal}/{key.batch}/{key.stan:06d} (request {row.request_id}, "
        f"DE 37 {row.rrn})"
    )


def _name_of(process: Process | None) -> str:
    return "nobody" if process is None else process.name


class Wire:
    """Frames of one direction of one connection, whatever the pieces."""

    def __init__(self, spec: FramingSpec) -> None:
        self._framer = Framer(spec)

    def bodies(self, data: bytes) -> list[bytes]:
        return [frame.body for frame in self._framer.receive_bytes(data)]


class Checkers:
    def __init__(self, world: World) -> None:
        self.world = world
        self.broken: Broken | None = None
        self.checked: Counter[str] = Counter()
        self.explained = Explained()
        self._wires: dict[tuple[int, bool], Wire] = {}
        self._pos = codec_for("unionpay_pos")
        self._link = codec_for("iso1987_ascii")
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
        # bytes
        self.left: Counter[tuple[Identity, str]] = Counter()  # (identity, MTI) that left for a bank
        self.sent_requests: dict[
            str, Identity
        ] = {}  # RRN → identity of the first 01xx, 02xx that left
        self.bank_said: dict[
            Identity, tuple[str, int]
        ] = {}  # first (DE 39, DE 4) of a bank's answer
        self.told: dict[int, tuple[str, str]] = {}  # request id → first final (DE 39, DE 38)
        self.secrets = Secrets()
        self.closed_dates = ClosedDates(world)
        self.cases = Cases(world)
        self.asked_s: dict[tuple[int, str], float] = {}  # (connection, DE 11) → first asked there

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
        bank = self.world.bank_at.get(made.to)
        if bank is None or self.world.now_s() < self.world.store_stepped_s + SETTLES_S:
            return
        open_ = [
            one
            for one in self.world.network.connections.values()
            if one.to[0] == made.to[0] and not one.client.is_closing() and _runs(one.client.process)
        ]
        granted = self.world.plan.link_connections
        self.check(
            "P8", len(open_) <= granted, f"{bank.options.name} grants {granted}, open are {open_}"
        )

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
            named = RULE_WITH_VERSION.fullmatch(row.route_rule)
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
        self.no_secrets("a commit", commit)

    def _note_commit(self, commit: Commit, sent: tuple[int, int] | None) -> None:
        """Its rows, the process that asked for it, and the request that it concerns."""
        rows, request_id = [], 0
        for name in commit.__struct_fields__:
            row = getattr(commit, name)
            if row is None or name == "end":  # that says "item … ended"
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
        """One outcome; an approval is what the bank said, and captures on the right date."""
        name = self.name_of(row.request_id)
        self.check("P10", row.rule, f"{name} is {row.state}, and no rule says why")
        self.check("P2", row.request_id not in self.outcomes, f"{name} has a second outcome")
        self.outcomes[row.request_id] = row
        if row.state is not OutcomeState.APPROVED:
            self.check("P5", row.effect_minor is None, f"{name} captures without approval")
            return
        reversed_before = self.reversed_by.get(row.request_id)
        self.check("P3", not reversed_before, f"{name} is approved after its reversal")
        said = [
            self.bank_said[identity]
            for identity, request_id in self.attempts.items()
            if request_id == row.request_id and identity in self.bank_said
        ]
        approved = [amount for code, amount in said if code in APPROVED | {"10"}]
        self.check(
            "P3",
            row.approved_amount_minor in approved,
            f"{name} is approved for {row.approved_amount_minor}, and the bank said {said}",
        )
        if row.effect_minor is not None:
            store = self.world.store
            kind = TYPES[self.requests[row.request_id].type]
            repeats = kind.on_unknown is OnUnknown.REPEAT
            right = store.today if repeats else self.dates[row.request_id]
            date = store.outcomes[row.request_id].business_date
            self.check("P5", date == right, f"{name} captures on {date}, not on {right}")

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
        """A void or refund goes where its original was approved, and no two of them take it back."""
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
        taken = [
            each
            for each in self.requests.values()
            if each.original_request_id == original_id and self._may_stand(each.request_id)
        ]
        voided = any(each.type.endswith("void") for each in taken)
        self.check(
            "P2", not voided or len(taken) == 1, f"{name} is one of {len(taken)} beside a void"
        )
        back = sum(each.amount_minor for each in taken)
        most = outcome.approved_amount_minor or 0
        self.check("P2", back <= most, f"{name}: {back} is taken back of {most}")

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

    # -- bytes ------------------------------------------------------------------------------------

    def tap(self, end: Endpoint, data: bytes) -> None:
        """Bytes leave. Who writes is known by what it is connected to."""
        connection = end.connection
        bank = self.world.bank_at.get(connection.to)
        from_client = end is connection.client
        at = (connection.serial, from_client)
        wire = self._wires.get(at)
        if wire is None:
            spec = POS if bank is None else bank.options.framing
            wire = self._wires[at] = Wire(spec)
        for body in wire.bodies(data):
            if bank is not None:
                message = self._link.decode(body)
                name, process = bank.options.name, connection.client.process
                if from_client:
                    self._note_message(f"{_name_of(process)} to {name}", message)
                    self._leaves_for_bank(name, message)
                else:
                    self._note_message(f"{name} to {_name_of(process)}", message)
                    self._bank_answers(bank, message, body)
            elif not from_client:
                message = self._pos.decode(body)
                self._note_message(f"{_name_of(end.process)} to terminal", message)
                self._leaves_for_terminal(message, connection.serial)
            else:
                self._asked_by_terminal(body, connection.serial)

    def _asked_by_terminal(self, body: bytes, line: int) -> None:
        try:
            message = self._pos.decode(body)
        except DecodeError:
            return
        self._note_message("terminal asks", message)
        if message.get(11) == "999999":
            self.world.count("wrap of a terminal's trace")
        self.asked_s.setdefault((line, str(message.get(11))), self.world.now_s())
        block = message.get(52)
        if isinstance(block, bytes):
            self.secrets.add("a PIN block", block)

    def _note_message(self, what: str, message: Message) -> None:
        elements = [f"{de}={message[de]!s}" for de in TOLD_OF_MESSAGES if de in message]
        self.world.note(what, str(message[0]), *elements)

    def _leaves_for_bank(self, bank: str, message: Message) -> None:
        """What leaves stands as an attempt, leaves once, and not after its outcome."""
        mti = str(message[0])
        if message[11] == "999999":
            self.world.count("wrap of a link's STAN")
        if mti[1] == "8":
            return
        identity = (bank, str(message[7]), str(message[11]))
        rrn = str(message[37])
        block = message.get(52)
        if isinstance(block, bytes):
            self.secrets.add("a PIN block", block)
        before = self.left[identity, mti[:3]]
        self.left[identity, mti[:3]] += 1
        if mti[1] == "4" or mti == "0221":
            self._queued_leaves(identity, mti, before)
            return
        request_id = self.attempts.get(identity)
        if not self.check(
            "P1", request_id is not None, f"{mti} {identity} leaves, no attempt stands"
        ):
            return
        assert request_id is not None
        name = self.name_of(request_id)
        self.check("P3", before == 0, f"{name} is sent again as new")
        first = self.sent_requests.setdefault(rrn, identity)
        self.check("P3", first == identity, f"{name} is sent as {first} and as {identity}")
        outcome = self.outcomes.get(request_id)
        # a 0400 that won meanwhile reverses the attempts that stood then, and only those may leave
        covered = (
            outcome is not None
            and outcome.state is OutcomeState.REVERSED
            and identity not in self.after_outcome
        )
        if outcome is not None and not covered:
            self.fail("P3", f"{name} is sent after its outcome {outcome.state} ({outcome.rule})")

    def _queued_leaves(self, identity: Identity, mti: str, before: int) -> None:
        """A reversal or repeat stands in the queue, is noted as sent, and says so when it repeats."""
        row = self.queue.get(identity)
        if not self.check("P1", row is not None, f"{mti} {identity} leaves, nothing is queued"):
            return
        assert row is not None
        tries = self.sent_facts.get(row.item_id, 0)
        self.check("P1", tries > 0, f"{mti} {identity} leaves, and that it may have is not noted")
        if before and row.kind == "reversal":
            self.check("P4", mti[3] == "1", f"{identity} is repeated without its flag")

    def _bank_answers(self, bank: Bank, message: Message, body: bytes) -> None:
        mti, name = str(message[0]), bank.options.name
        if mti[1] in "12" and mti[2] in "13" and bank.mac_right(message, body):
            identity = (name, str(message[7]), str(message[11]))
            said = (str(message[39]), int(str(message.get(4, "0"))))
            former = self.bank_said.setdefault(identity, said)
            if former[0] == "96" or (former[0] not in APPROVED and said[0] in APPROVED):
                self.bank_said[identity] = said

    def _leaves_for_terminal(self, message: Message, line: int) -> None:
        mti = str(message[0])
        if mti[1] not in "124" or 64 not in message:
            return  # management, or a refusal before the MAC check
        code = str(message[39])
        usage, batch = str(message[60])[:2], int(str(message[60])[2:8])
        key = (
            str(message[42]),
            str(message[41]),
            batch,
            int(str(message[11])),
            reversed_kind(str(message[3]), usage)
            if mti[1] == "4"
            else kind_of(f"{mti[:2]}{int(mti[2]) - 1}0", str(message[3])),
        )
        row = self._by_parts(key)
        if mti[1] == "4":
            self._reversal_told(key, row, code)
        else:
            self._told(key, row, code, message, self.asked_s.get((line, str(message[11])), 0.0))

    def _by_parts(self, key: tuple[str, str, int, int, str]) -> RequestRow | None:
        return self.by_key.get(Key(*key))

    def _reversal_told(self, key: object, row: RequestRow | None, code: str) -> None:
        """0410: 25 leaves a tombstone, 00 a reversal, or there was nothing to reverse."""
        if code == "25":
            tombstone = row is not None and row.type == TOMBSTONE
            self.check("P1", tombstone, f"0410 25 for {key}, and no tombstone stands")
        elif code == "00":
            if not self.check("P1", row is not None, f"0410 00 for {key}, which is not known"):
                return
            assert row is not None
            outcome = self.outcomes.get(row.request_id)
            reversed_ = row.request_id in self.reversed_by
            nothing = outcome is not None and outcome.state is not OutcomeState.APPROVED
            self.check(
                "P1",
                reversed_ or nothing,
                f"0410 00 for {self.name_of(row.request_id)}, and no reversal stands",
            )

    def _told(
        self, key: object, row: RequestRow | None, code: str, message: Message, asked_s: float
    ) -> None:
        """An answer is its outcome's, the same to everyone who asks, and 12 once that is reversed."""
        if code in NOT_OF_THE_REQUEST:
            return
        if not self.check("P1", row is not None, f"answer {code} for {key}, and no request stands"):
            return
        assert row is not None
        name = self.name_of(row.request_id)
        outcome = self.outcomes.get(row.request_id)
        if code == "12" and self._fell(row):
            return
        if not self.check(
            "P1", outcome is not None, f"answer {code} for {name}, no outcome stands"
        ):
            return
        assert outcome is not None
        self.check(
            "P1",
            outcome.response_code == code,
            f"answer {code} for {name}, and its outcome is {outcome.response_code}",
        )
        if code in APPROVED:
            self.check("P1", message.get(37) == row.rrn, f"{name} is answered another DE 37")
            amounts = (row.amount_minor, outcome.approved_amount_minor or 0)
            amount = int(str(message.get(4, "0")))
            self.check("P2", amount in amounts, f"{name} is approved to one who asked for {amount}")
            fell_s = self.reversed_at_s.get(row.request_id, asked_s)
            self.check("P2", fell_s >= asked_s, f"{name} is approved to one who asks, and reversed")
        again = (code, str(message.get(38, "")))
        first = self.told.setdefault(row.request_id, again)
        self.check("P2", first == again, f"{name} was told {first}, now {again}")

    def _fell(self, row: RequestRow) -> bool:
        """It was reversed, before or after it came, or a void has asked for it."""
        return (
            row.type == TOMBSTONE
            or row.request_id in self.reversed_by
            or any(
                each.type.endswith("void") and each.original_request_id == row.request_id
                for each in self.requests.values()
            )
        )

    # -- what terminals do with it ------------------------------------------------------------------

    def accepted(self, slip: Slip) -> None:
        """A terminal takes an approval: it stands in the journal, and nothing has reversed it."""
        request_id = self._request_of(slip)
        if not self.check(
            "P1", request_id is not None, f"{slip} is approved, and no request stands"
        ):
            return
        assert request_id is not None
        name = self.name_of(request_id)
        outcome = self.outcomes.get(request_id)
        approved = outcome is not None and outcome.state is OutcomeState.APPROVED
        self.check("P3", approved, f"the terminal took an approval of {name}: {outcome}")
        if slip.state == "approved":
            standing = request_id not in self.reversed_by
            self.check(
                "P3", standing, f"the terminal took an approval of {name}, which is reversed"
            )

    def approved_by(self, slip: Slip) -> str:
        """The bank whose approval it is; "" where nothing stands."""
        request_id = self._request_of(slip)
        outcome = None if request_id is None else self.outcomes.get(request_id)
        if request_id is None or outcome is None:
            return ""
        return self.acquirers[request_id, outcome.attempt or 1]

    def repeated(self, terminal: str, first: Outcome, again: Outcome) -> None:
        """A repeat of a finished request is told the same, or 96 when nothing can be told."""
        if first.response_code in NOT_OF_THE_REQUEST or again.response_code in {"96", "77", "A0"}:
            return
        self.check(
            "P2",
            (first.response_code, first.rrn) == (again.response_code, again.rrn),
            f"{terminal} {first.kind} {first.trace} was told {first.response_code} {first.rrn}, "
            f"and repeated {again.response_code} {again.rrn}",
        )

    def settled(self, terminal: Terminal, *, balanced: bool) -> None:
        """0510: the journal's totals of a batch are the terminal's, or a fault explains why not."""
        self.world.count("settled balanced" if balanced else "settled unbalanced")
        self.world.note("settled", terminal.options.terminal, str(balanced))
        if not balanced:
            name = f"{terminal.options.terminal} {terminal.batch}"
            self.world.unbalanced.append(name)
            copied = any(
                slip.batch == terminal.batch and (self.copy_refused(slip) or self.posted(slip))
                for slip in terminal.slips
            )
            self.check("P5", copied, f"batch {name} is not balanced, and nothing explains it")

    def _request_of(self, slip: Slip) -> int | None:
        row = TYPES.get(slip.kind)
        if row is None:
            return None
        key = (slip.merchant, slip.terminal, int(slip.batch), int(slip.trace), row.kind)
        found = self._by_parts(key)
        return None if found is None else found.request_id

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
        self._views_agree()
        self.cases.opened()
        self.closed_dates.stand()
        nothing_waits(self.world)

    def _unknown_is_reversed(self, request_id: int, row: RequestRow) -> None:
        """What left and got no answer that counts has a reversal, where its type reverses."""
        kind = TYPES.get(row.type)
        outcome = self.outcomes.get(request_id)
        if kind is None or outcome is None or kind.on_unknown is not OnUnknown.REVERSE:
            return
        left = row.rrn in self.sent_requests
        if left and outcome.state in (OutcomeState.UNKNOWN, OutcomeState.REVERSED):
            self.check(
                "P4", request_id in self.reversed_by, f"{self.name_of(request_id)} is not reversed"
            )

    def _views_agree(self) -> None:
        """What terminals hold approved, what the journal captures and what the banks took is the same."""
        journal: dict[str, int] = {}
        for request_id, _, _, effect in self.world.store.captures():
            rrn = self.requests[request_id].rrn
            journal[rrn] = journal.get(rrn, 0) + effect
        terminals, states = self._terminals_view()
        banks, forgotten = self._banks_view()
        for rrn in sorted({*journal, *terminals, *banks}):
            ours, theirs = journal.get(rrn, 0), banks.get(rrn, 0)
            slip = terminals.get(rrn, 0)
            row = self.by_rrn.get(rrn)
            name = rrn if row is None else self.name_of(row.request_id)
            if ours != theirs and rrn in forgotten:
                self.explained.forgotten[rrn] = forgotten[rrn]
                theirs = ours
            if ours != theirs and row is not None and self._unheard(row):
                self.explained.unheard[rrn] = theirs
                theirs = ours
            self.check("P5", ours == theirs, f"{name}: journal {ours}, bank {theirs}")
            if ours != slip and rrn in self.explained.posted:
                slip = ours
            if ours != slip and self._copy_refused(rrn):
                self.explained.copy_refused.append(rrn)
                slip = ours
            self.check(
                "P5",
                ours == slip,
                f"{name}: journal {ours}, terminal {slip} ({states.get(rrn, 'no slip')})",
            )

    def _terminals_view(self) -> tuple[dict[str, int], dict[str, str]]:
        """Every slip has an end, and none stands that the journal does not know."""
        effects: dict[str, int] = {}
        states: dict[str, str] = {}
        for till in self.world.tills:
            for slip in till.terminal.slips:
                request_id = self._request_of(slip)
                ended = slip.state in ("approved", "declined", "reversed") or slip.kind == "balance"
                ended = ended or self.posted(slip)
                self.check("P4", ended, f"{slip} is left {slip.state}")
                if request_id is None:
                    self.check("P5", not slip.effect_minor, f"{slip} stands nowhere")
                    continue
                rrn = self.requests[request_id].rrn
                effects[rrn] = effects.get(rrn, 0) + slip.effect_minor
                states[rrn] = f"{slip.state} {slip.response_code}"
        return effects, states

    def _unheard(self, row: RequestRow) -> bool:
        """Did its bank approve it after the answer to its reversal, and was that approval lost?"""
        return (
            any(
                entry.asked.rrn == row.rrn and entry.asked.key in bank.crossed
                for bank in self.world.banks
                for entry in bank.accounts.entries
            )
            and row.request_id in self.reversed_by
            and not APPROVED.intersection(self.late_codes.get(row.request_id, ()))
        )

    def posted(self, slip: Slip) -> bool:
        """Was its 0400 refused because its date is posted, with a case for a person?"""
        request_id = self._request_of(slip)
        if request_id is None or slip.state != "not_reversed":
            return False
        found = any(
            case.request_id == request_id and "reversal.date_posted" in case.detail
            for case in self.world.store.cases.values()
        )
        if found:
            self.explained.posted[self.requests[request_id].rrn] = None
        return found

    def copy_refused(self, slip: Slip) -> bool:
        """Was it sent twice, and was one of the copies told what takes no key? The other one, on its
        way for a while, is then a new request: its merchant may be active again (rules section 11)."""
        copied = any(
            (slip.batch, slip.trace) in till.copied
            for till in self.world.tills
            if till.name == slip.terminal
        )
        return copied and slip.state == "declined" and slip.response_code in TAKES_NO_KEY

    def _copy_refused(self, rrn: str) -> bool:
        row = self.by_rrn.get(rrn)
        return row is not None and any(
            self._request_of(slip) == row.request_id and self.copy_refused(slip)
            for till in self.world.tills
            for slip in till.terminal.slips
        )

    def _banks_view(self) -> tuple[dict[str, int], dict[str, int]]:
        """A bank did nothing twice, and its own books add up."""
        effects: dict[str, int] = {}
        forgotten: dict[str, int] = {}
        for bank in self.world.banks:
            approvals: Counter[str] = Counter()
            for entry in bank.accounts.entries:
                rrn = entry.asked.rrn
                effects[rrn] = effects.get(rrn, 0) + entry.effect_minor
                approvals[rrn] += entry.standing and entry.asked.kind != "balance"
                self.check("P2", approvals[rrn] <= 1, f"{bank} did {rrn} twice")
            for entry in bank.forgotten:
                forgotten[entry.asked.rrn] = entry.taken_minor
            standing = sum(entry.effect_minor for entry in bank.accounts.entries)
            self.check("P5", standing == bank.accounts.taken_minor, f"{bank} does not add up")
        return effects, forgotten


def _runs(process: Process | None) -> bool:
    return process is not None and not process.gone and not process.paused
