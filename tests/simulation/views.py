"""What terminals hold, what the journal captures, what the banks took: the three views of the money."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from switch.journal import OutcomeState
from switch.transactions import TYPES
from terminals.simulator.terminal import APPROVED
from tests.simulation.till import NEVER_STORED
from tests.simulation.wires import NOT_OF_THE_REQUEST

if TYPE_CHECKING:
    from switch.journal import RequestRow
    from terminals.simulator.terminal import Outcome, Slip, Terminal
    from tests.simulation.checkers import Checkers

TAKES_NO_KEY: Final = NEVER_STORED | {"98"}


class Explained(msgspec.Struct):
    """Differences between the views that injected faults account for, by RRN."""

    forgotten: dict[str, int] = {}  # the bank approved and forgot: what it would have taken
    unheard: dict[str, int] = {}  # approved after its reversal was answered, and nobody heard that
    posted: dict[str, None] = {}  # its 0400 came when its date was posted: a person's case
    advice_refused: dict[str, None] = {}  # told 00, and its bank said no: a person's case
    copy_refused: list[str] = []  # sent twice, and 96 or A0 was the answer to one of the copies


class Views:
    """Terminals' acts as they happen; at the end the views side by side."""

    def __init__(self, checkers: Checkers) -> None:
        self._checkers = checkers
        self._world = checkers.world
        self.explained = Explained()

    def accepted(self, slip: Slip) -> None:
        """A terminal takes an approval: it stands in the journal, and nothing has reversed it."""
        request_id = self._request_of(slip)
        if not self._checkers.check(
            "P1", request_id is not None, f"{slip} is approved, and no request stands"
        ):
            return
        assert request_id is not None
        name = self._checkers.name_of(request_id)
        outcome = self._checkers.outcomes.get(request_id)
        approved = outcome is not None and outcome.state is OutcomeState.APPROVED
        if self.advice_refused(slip):
            return
        self._checkers.check("P3", approved, f"the terminal took an approval of {name}: {outcome}")
        if slip.state == "approved":
            standing = request_id not in self._checkers.reversed_by
            self._checkers.check(
                "P3", standing, f"the terminal took an approval of {name}, which is reversed"
            )

    def approved_by(self, slip: Slip) -> str:
        """The bank whose approval it is; "" where nothing stands."""
        request_id = self._request_of(slip)
        outcome = None if request_id is None else self._checkers.outcomes.get(request_id)
        if request_id is None or outcome is None:
            return ""
        return self._checkers.acquirers[request_id, outcome.attempt or 1]

    def repeated(self, terminal: str, first: Outcome, again: Outcome) -> None:
        """A repeat of a finished request is told the same, or 96 when nothing can be told."""
        if first.response_code in NOT_OF_THE_REQUEST or again.response_code in {"96", "77", "A0"}:
            return
        self._checkers.check(
            "P2",
            (first.response_code, first.rrn) == (again.response_code, again.rrn),
            f"{terminal} {first.kind} {first.trace} was told {first.response_code} {first.rrn}, "
            f"and repeated {again.response_code} {again.rrn}",
        )

    def settled(self, terminal: Terminal, *, balanced: bool) -> None:
        """0510: the journal's totals of a batch are the terminal's, or a fault explains why not."""
        self._world.count("settled balanced" if balanced else "settled unbalanced")
        self._world.note("settled", terminal.options.terminal, str(balanced))
        if not balanced:
            name = f"{terminal.options.terminal} {terminal.batch}"
            self._world.unbalanced.append(name)
            copied = any(
                slip.batch == terminal.batch
                and (self.copy_refused(slip) or self.posted(slip) or self.advice_refused(slip))
                for slip in terminal.slips
            )
            self._checkers.check(
                "P5", copied, f"batch {name} is not balanced, and nothing explains it"
            )

    def _request_of(self, slip: Slip) -> int | None:
        row = TYPES.get(slip.kind)
        if row is None:
            return None
        kind = row.kind if row.code else f"{row.kind}00"  # scripts are of purchases here
        key = (slip.merchant, slip.terminal, int(slip.batch), int(slip.trace), kind)
        found = self._checkers.by_parts(key)
        return None if found is None else found.request_id

    def agree(self) -> None:
        """What terminals hold approved, what the journal captures and what the banks took is the same."""
        journal: dict[str, int] = {}
        for request_id, _, _, effect in self._world.store.captures():
            rrn = self._checkers.requests[request_id].rrn
            journal[rrn] = journal.get(rrn, 0) + effect
        terminals, states = self._terminals_view()
        banks, forgotten = self._banks_view()
        for rrn in sorted({*journal, *terminals, *banks}):
            ours, theirs = journal.get(rrn, 0), banks.get(rrn, 0)
            slip = terminals.get(rrn, 0)
            row = self._checkers.by_rrn.get(rrn)
            name = rrn if row is None else self._checkers.name_of(row.request_id)
            if ours != theirs and rrn in forgotten:
                self.explained.forgotten[rrn] = forgotten[rrn]
                theirs = ours
            if ours != theirs and row is not None and self._unheard(row):
                self.explained.unheard[rrn] = theirs
                theirs = ours
            self._checkers.check("P5", ours == theirs, f"{name}: journal {ours}, bank {theirs}")
            if ours != slip and rrn in self.explained.posted:
                slip = ours
            if ours != slip and row is not None and self._word_refused(row):
                self.explained.advice_refused[rrn] = None
                slip = ours
            if ours != slip and self._copy_refused(rrn):
                self.explained.copy_refused.append(rrn)
                slip = ours
            self._checkers.check(
                "P5",
                ours == slip,
                f"{name}: journal {ours}, terminal {slip} ({states.get(rrn, 'no slip')})",
            )

    def _terminals_view(self) -> tuple[dict[str, int], dict[str, str]]:
        """Every slip has an end, and none stands that the journal does not know."""
        effects: dict[str, int] = {}
        states: dict[str, str] = {}
        for till in self._world.tills:
            for slip in till.terminal.slips:
                request_id = self._request_of(slip)
                ended = slip.state in ("approved", "declined", "reversed") or slip.kind == "balance"
                ended = ended or self.posted(slip)
                self._checkers.check("P4", ended, f"{slip} is left {slip.state}")
                if request_id is None:
                    self._checkers.check("P5", not slip.effect_minor, f"{slip} stands nowhere")
                    continue
                rrn = self._checkers.requests[request_id].rrn
                effects[rrn] = effects.get(rrn, 0) + slip.effect_minor
                states[rrn] = f"{slip.state} {slip.response_code}"
        return effects, states

    def _unheard(self, row: RequestRow) -> bool:
        """Did its bank approve it after the answer to its reversal, and was that approval lost?"""
        return (
            any(
                entry.asked.rrn == row.rrn and entry.asked.key in bank.crossed
                for bank in self._world.banks
                for entry in bank.accounts.entries
            )
            and row.request_id in self._checkers.reversed_by
            and not APPROVED.intersection(self._checkers.late_codes.get(row.request_id, ()))
        )

    def posted(self, slip: Slip) -> bool:
        """Was its 0400 refused because its date is posted, with a case for a person?"""
        request_id = self._request_of(slip)
        if request_id is None or slip.state != "not_reversed":
            return False
        found = any(
            case.request_id == request_id and "reversal.date_posted" in case.detail
            for case in self._world.store.cases.values()
        )
        if found:
            self.explained.posted[self._checkers.requests[request_id].rrn] = None
        return found

    def advice_refused(self, slip: Slip) -> bool:
        """Was it told 00, and not captured, or no longer, with a case?"""
        request_id = self._request_of(slip)
        return request_id is not None and self._advice_refused(request_id)

    def _advice_refused(self, request_id: int) -> bool:
        return any(
            case.request_id == request_id and case.kind in ("advice_refused", "advice_held")
            for case in self._world.store.cases.values()
        )

    def _word_refused(self, row: RequestRow) -> bool:
        """Of it, or of another adjustment of the same sale: they build on one another.

        One that was held before its original was looked for names it on its slip alone.
        """
        slips = [slip for till in self._world.tills for slip in till.terminal.slips]
        named = {
            (slip.terminal, slip.original)
            for slip in slips
            if slip.original is not None and self._request_of(slip) == row.request_id
        }
        beside = {
            each.request_id
            for each in self._checkers.requests.values()
            if row.original_request_id is not None
            and each.original_request_id == row.original_request_id
        }
        beside |= {
            request_id
            for slip in slips
            if (slip.terminal, slip.original) in named
            and (request_id := self._request_of(slip)) is not None
        }
        return self._advice_refused(row.request_id) or any(
            self._advice_refused(each) or self._copy_refused(self._checkers.requests[each].rrn)
            for each in beside
        )

    def copy_refused(self, slip: Slip) -> bool:
        """Was it sent twice, and was one of the copies told what takes no key? The other one, on its
        way for a while, is then a new request: its merchant may be active again (rules section 11)."""
        copied = any(
            (slip.batch, slip.trace) in till.copied
            for till in self._world.tills
            if till.name == slip.terminal
        )
        return copied and slip.state == "declined" and slip.response_code in TAKES_NO_KEY

    def _copy_refused(self, rrn: str) -> bool:
        row = self._checkers.by_rrn.get(rrn)
        return row is not None and any(
            self._request_of(slip) == row.request_id and self.copy_refused(slip)
            for till in self._world.tills
            for slip in till.terminal.slips
        )

    def _banks_view(self) -> tuple[dict[str, int], dict[str, int]]:
        """A bank did nothing twice, and its own books add up."""
        effects: dict[str, int] = {}
        forgotten: dict[str, int] = {}
        for bank in self._world.banks:
            approvals: Counter[str] = Counter()
            for entry in bank.accounts.entries:
                rrn = entry.asked.rrn
                effects[rrn] = effects.get(rrn, 0) + entry.effect_minor
                approvals[rrn] += entry.standing and entry.asked.kind != "balance"
                self._checkers.check("P2", approvals[rrn] <= 1, f"{bank} did {rrn} twice")
            for entry in bank.forgotten:
                forgotten[entry.asked.rrn] = entry.taken_minor
            standing = sum(entry.effect_minor for entry in bank.accounts.entries)
            self._checkers.check(
                "P5", standing == bank.accounts.taken_minor, f"{bank} does not add up"
            )
        return effects, forgotten
