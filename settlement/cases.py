"""A break: a difference between the books and a file, as a value. `casework` makes it a case.

長款 / 短款 are said from the books' side: *long* means the file has more than our books.
"""

from datetime import date
from typing import Final

import msgspec

CASES: Final = "cases"  # in the evidence: ids of other breaks that may be about the same money

# class -> what it means; the order of this table is the order in reports
BREAK_CLASSES: Final[dict[str, str]] = {
    "network_long": "the file has a row, our books have no success",
    "network_short": "our books have a success, the file has no row",
    "amount_mismatch": "both have it, with different amounts",
    "status_mismatch": "one side has it reversed, the other as standing",
    "duplicate": "the file bills one transaction more than once",
    "orphan_refund": "the file takes money back for which we know no refund",
    "fee_mismatch": "the file's fee differs from ours by more than the tolerance",
    "file_changed": "other content under the name of a file already taken in",
    "file_late": "a file of a settlement date that is posted already",
    "terminal_totals": "a terminal's totals of its batch are not what the journal captured",
    "file_totals": "a network's sums of a settlement date are not what our records come to",
    "receivable_overdue": "a network's money of a settlement date has not come in time",
    "statement_unmatched": "a line of a bank statement that nothing in the books explains",
    "reserve_difference": "the reserve account and what it must cover differ",
}
# class -> what it means; opened by something else than the day's end
OPENED_CLASSES: Final[dict[str, str]] = {
    "adjustment_unplaced": "a row of an error file that no transaction or dispute of ours explains",
}
# kind -> what it means; found by the switch while it ran, `switch.case_v1`
SWITCH_CLASSES: Final[dict[str, str]] = {
    "reversal_refused": "a terminal's reversal that was answered 12",
    "late_approval": "a bank approved what had been given up and was reversed",
    "undelivered": "a reversal or repeat that the bank never answered finally",
    "repeat_duplicate": "a repeat that the bank says it has had already (94)",
    "advice_refused": "the bank refused what had been captured already",
    "advice_held": "an advice that could not be taken at its word: told 00, not captured, not sent",
    "unreferenced_refund": "a refund without a found original, sent by its card",
    "risk_review": "a risk rule wants a person to look at an approved transaction",
    "batch_long": "a terminal's upload has what the journal has not",
    "batch_short": "the journal has what the terminal's upload has not",
}
# Breaks with one side only: a later close may find the other.
ONE_SIDED: Final = frozenset({"network_long", "network_short", "duplicate", "orphan_refund"})
# Dispositions that settle both sides and need nobody.
MATCH_CLASSES: Final = ("matched", "cutoff_shift", "reversed_both")


class Break(msgspec.Struct, frozen=True):
    """One break. `theirs_minor - ours_minor` is what its entry moves to suspense."""

    id: str
    business_date: date  # of the close that found it
    break_class: str
    acquirer: str
    currency: str
    keys: dict[str, str]
    ours_minor: int | None
    theirs_minor: int | None
    record: str = ""  # key of our clearing record
    row: str = ""  # id of their row
    evidence: dict[str, str] = {}
    step: str = "reconcile"
    settlement_date: date | None = None  # the receivable that its entry moves
    merchant: str = ""
    difference_minor: int = 0  # what the entry moved: theirs net of fees less ours

    @property
    def amount_minor(self) -> int:
        """What it is about: the difference, or where none stands in suspense, what is known of it."""
        ours, theirs = self.ours_minor, self.theirs_minor
        if self.difference_minor or ours is None or theirs is None:
            return self.difference_minor or theirs or ours or 0
        return theirs - ours


class Resolution(msgspec.Struct, frozen=True):
    """A later close found the other side of an open break."""

    break_id: str
    business_date: date
    reason: str
    settlement_date: date  # of the receivable on which the difference goes back
