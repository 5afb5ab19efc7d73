"""What is checked at every message that leaves: for a bank, for a terminal."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from iso8583.codec import codec_for
from iso8583.errors import DecodeError
from iso8583.framing import POS, Framer, FramingSpec
from switch.journal import OutcomeState
from switch.transactions import TOMBSTONE, TYPES, kind_of, reversed_kind
from terminals.simulator.terminal import APPROVED

if TYPE_CHECKING:
    from iso8583.message import Message
    from switch.journal import OutcomeRow, RequestRow
    from switch.virtual.loop import Process
    from switch.virtual.network import Endpoint
    from terminals.simulator.bank import Bank
    from tests.simulation.checkers import Checkers

Identity = tuple[str, str, str]  # acquirer, DE 7, DE 11

SETTLES_S: Final = 15.0  # after the store's clock was set, until all leases are new ones
# What the trace tells of a message.
TOLD_OF_MESSAGES: Final = (3, 4, 7, 11, 37, 39, 41, 70)
NOT_OF_THE_REQUEST: Final = frozenset({"94", "96", "98", "A0", "77", "30", "03"})


class Wire:
    """Frames of one direction of one connection, whatever the pieces."""

    def __init__(self, spec: FramingSpec) -> None:
        self._framer = Framer(spec)

    def bodies(self, data: bytes) -> list[bytes]:
        return [frame.body for frame in self._framer.receive_bytes(data)]


class Wires:
    """A tap on the network: bytes into messages, and what each of them may be."""

    def __init__(self, checkers: Checkers) -> None:
        self._checkers = checkers
        self._world = checkers.world
        self._wires: dict[tuple[int, bool], Wire] = {}
        self._pos = codec_for("unionpay_pos")
        self.left: Counter[tuple[Identity, str]] = Counter()  # (identity, MTI) that left for a bank
        self.sent_requests: dict[str, Identity] = {}  # RRN → of the first 01xx, 02xx that left
        self.bank_said: dict[Identity, tuple[str, int]] = {}  # → first (DE 39, DE 4) of its answer
        self.told: dict[int, tuple[str, str]] = {}  # request id → first final (DE 39, DE 38)
        self.asked_s: dict[tuple[int, str], float] = {}  # (connection, DE 11) → first asked there

    def tap(self, end: Endpoint, data: bytes) -> None:
        """Bytes leave. Who writes is known by what it is connected to."""
        connection = end.connection
        bank, bank_dialled = self._world.bank_side(connection)
        from_client = end is connection.client
        at = (connection.serial, from_client)
        wire = self._wires.get(at)
        if wire is None:
            spec = POS if bank is None else bank.options.framing
            wire = self._wires[at] = Wire(spec)
        for body in wire.bodies(data):
            if bank is not None:
                message = bank.overheard(body)
                name = bank.options.name
                ours = connection.server if bank_dialled else connection.client
                process = ours.process
                if end is ours:
                    self._note_message(f"{_name_of(process)} to {name}", message)
                    self._leaves_for_bank(name, message, process)
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
            self._world.count("wrap of a terminal's trace")
        self.asked_s.setdefault((line, str(message.get(11))), self._world.now_s())
        block = message.get(52)
        if isinstance(block, bytes):
            self._checkers.secrets.add("a PIN block", block)

    def _lease_cut_short(self, outcome: OutcomeRow) -> bool:
        """A store whose clock is set forward ends every lease before its time. Until a process has
        renewed its own, another may recover what this one still signs; its reversal follows it."""
        just_stepped = self._world.now_s() < self._world.store_stepped_s + SETTLES_S
        return just_stepped and outcome.rule == "recovery.unknown"

    def _note_message(self, what: str, message: Message) -> None:
        elements = [f"{de}={message[de]!s}" for de in TOLD_OF_MESSAGES if de in message]
        self._world.note(what, str(message[0]), *elements)

    def _leaves_for_bank(self, bank: str, message: Message, process: Process | None) -> None:
        """What leaves stands as an attempt, leaves once, and not after its outcome."""
        mti = str(message[0])
        if message[11] == "999999":
            self._world.count("wrap of a link's STAN")
        if mti[1] == "8":
            return
        identity = (bank, str(message[7]), str(message[11]))
        rrn = str(message[37])
        block = message.get(52)
        if isinstance(block, bytes):
            self._checkers.secrets.add("a PIN block", block)
        before = self.left[identity, mti[:3]]
        self.left[identity, mti[:3]] += 1
        if mti[1] == "4" or mti in ("0221", "0621") or self._is_advice(identity):
            self._queued_leaves(identity, mti, before)
            return
        request_id = self._checkers.attempts.get(identity)
        if not self._checkers.check(
            "P1", request_id is not None, f"{mti} {identity} leaves, no attempt stands"
        ):
            return
        assert request_id is not None
        self._checkers.lines.leaves(bank, process, request_id, rrn)
        name = self._checkers.name_of(request_id)
        self._checkers.check("P3", before == 0, f"{name} is sent again as new")
        first = self.sent_requests.setdefault(rrn, identity)
        self._checkers.check(
            "P3", first == identity, f"{name} is sent as {first} and as {identity}"
        )
        outcome = self._checkers.outcomes.get(request_id)
        # a 0400 that won meanwhile reverses the attempts that stood then, and only those may leave
        covered = (
            outcome is not None
            and outcome.state is OutcomeState.REVERSED
            and identity not in self._checkers.after_outcome
        )
        if outcome is not None and not covered and not self._lease_cut_short(outcome):
            self._checkers.fail(
                "P3", f"{name} is sent after its outcome {outcome.state} ({outcome.rule})"
            )

    def _is_advice(self, identity: Identity) -> bool:
        """It is answered before it is sent: all its tries come out of the queue."""
        request_id = self._checkers.attempts.get(identity, 0)
        row = self._checkers.requests.get(request_id)
        return row is not None and row.type in TYPES and TYPES[row.type].advice

    def _queued_leaves(self, identity: Identity, mti: str, before: int) -> None:
        """A reversal or repeat stands in the queue, is noted as sent, and says so when it repeats."""
        row = self._checkers.queue.get(identity)
        if not self._checkers.check(
            "P1", row is not None, f"{mti} {identity} leaves, nothing is queued"
        ):
            return
        assert row is not None
        tries = self._checkers.sent_facts.get(row.item_id, 0)
        self._checkers.check(
            "P1", tries > 0, f"{mti} {identity} leaves, and that it may have is not noted"
        )
        if before and (row.kind == "reversal" or self._is_advice(identity)):
            self._checkers.check("P4", mti[3] == "1", f"{identity} is repeated without its flag")

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
        if mti[1] not in "1246" or 64 not in message:
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
        row = self._checkers.by_parts(key)
        if mti[1] == "4":
            self._reversal_told(key, row, code)
        else:
            self._told(key, row, code, message, self.asked_s.get((line, str(message[11])), 0.0))

    def _reversal_told(self, key: object, row: RequestRow | None, code: str) -> None:
        """0410: 25 leaves a tombstone, 00 a reversal, or there was nothing to reverse."""
        if code == "25":
            tombstone = row is not None and row.type == TOMBSTONE
            self._checkers.check("P1", tombstone, f"0410 25 for {key}, and no tombstone stands")
        elif code == "00":
            if not self._checkers.check(
                "P1", row is not None, f"0410 00 for {key}, which is not known"
            ):
                return
            assert row is not None
            outcome = self._checkers.outcomes.get(row.request_id)
            reversed_ = row.request_id in self._checkers.reversed_by
            nothing = outcome is not None and outcome.state is not OutcomeState.APPROVED
            self._checkers.check(
                "P1",
                reversed_ or nothing,
                f"0410 00 for {self._checkers.name_of(row.request_id)}, and no reversal stands",
            )

    def _told(
        self, key: object, row: RequestRow | None, code: str, message: Message, asked_s: float
    ) -> None:
        """An answer is its outcome's, the same to everyone who asks, and 12 once that is reversed."""
        if code in NOT_OF_THE_REQUEST:
            return
        if not self._checkers.check(
            "P1", row is not None, f"answer {code} for {key}, and no request stands"
        ):
            return
        assert row is not None
        name = self._checkers.name_of(row.request_id)
        outcome = self._checkers.outcomes.get(row.request_id)
        if code == "12" and self._fell(row):
            return
        if not self._checkers.check(
            "P1", outcome is not None, f"answer {code} for {name}, no outcome stands"
        ):
            return
        assert outcome is not None
        self._checkers.check(
            "P1",
            outcome.response_code == code,
            f"answer {code} for {name}, and its outcome is {outcome.response_code}",
        )
        if code in APPROVED:
            self._checkers.check(
                "P1", message.get(37) == row.rrn, f"{name} is answered another DE 37"
            )
            amounts = (row.amount_minor, outcome.approved_amount_minor or 0)
            amount = int(str(message.get(4, "0")))
            self._checkers.check(
                "P2", amount in amounts, f"{name} is approved to one who asked for {amount}"
            )
            fell_s = self._checkers.reversed_at_s.get(row.request_id, asked_s)
            self._checkers.check(
                "P2", fell_s >= asked_s, f"{name} is approved to one who asks, and reversed"
            )
        again = (code, str(message.get(38, "")))
        first = self.told.setdefault(row.request_id, again)
        self._checkers.check("P2", first == again, f"{name} was told {first}, now {again}")

    def _fell(self, row: RequestRow) -> bool:
        """It was reversed, before or after it came, or a void has asked for it."""
        return (
            row.type == TOMBSTONE
            or row.request_id in self._checkers.reversed_by
            or any(
                each.type.endswith("void") and each.original_request_id == row.request_id
                for each in self._checkers.requests.values()
            )
        )


def _name_of(process: Process | None) -> str:
    return "nobody" if process is None else process.name
