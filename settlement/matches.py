"""What reconciliation found to belong together, as it is stored; how it is found stands in `reconcile`
and `sums`, which bring ibis along."""

from datetime import date
from typing import Literal

import msgspec


class Match(msgspec.Struct, frozen=True):
    """One disposition: a record with a row, or either alone where its pair is on its own side."""

    business_date: date
    match_class: str
    rule: str
    rule_version: int
    record: str  # key, or ""
    row: str  # id, or ""


class Member(msgspec.Struct, frozen=True):
    """A line of a match of one with several; the line that is the sum is a member, too."""

    business_date: date
    match_id: str  # identity of the line that is the sum
    rule: str
    rule_version: int
    side: Literal["ours", "theirs"]
    member: str  # key of a record, or id of a row
