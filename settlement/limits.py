"""Least and greatest balances, as `chart` has them: an agent's float may not go below zero.

The judge is pure. A store locks the balances that `limited_moves` names, in its order, gives the
judge what they are, and writes entries and new balances in one commit.
"""

from collections.abc import Iterable, Mapping

import msgspec

from settlement.chart import CHART, LIMITED
from settlement.ledger import Entry
from settlement.said import Said, SaidError, said


class LedgerLimitError(SaidError):
    """The entries would take a balance beyond its account's limits; none of them stands."""


class Limited(msgspec.Struct, frozen=True, order=True):
    """A balance that must stay within its account's limits."""

    account: str
    owner: str
    currency: str


class Layered(msgspec.Struct, frozen=True):
    """An amount by layer, debit plus."""

    pending_minor: int = 0
    settled_minor: int = 0

    def __add__(self, other: "Layered") -> "Layered":
        return Layered(
            self.pending_minor + other.pending_minor, self.settled_minor + other.settled_minor
        )


def limited_moves(entries: Iterable[Entry]) -> dict[Limited, Layered]:
    """What entries move on balances with limits, in the order in which a store locks them."""
    moved: dict[Limited, Layered] = {}
    for made in entries:
        for account, owner, amount in zip(made.accounts, made.owners, made.amounts, strict=True):
            if account in LIMITED:
                key = Limited(account, owner, made.currency)
                add = Layered(amount, 0) if made.layer == "pending" else Layered(0, amount)
                moved[key] = moved.get(key, Layered()) + add
    return {key: moved[key] for key in sorted(moved)}


def judge_limits(before: Mapping[Limited, Layered], moved: Mapping[Limited, Layered]) -> None:
    """Raise `LedgerLimitError` for the first balance that would be beyond its limits.

    A limit holds with what is pending and without it: money that may still fail to come can not be
    spent, and money that may still go is not there any more. A move towards the limits is let through,
    so that a balance which stands beyond them, its limit being new, can be mended.
    """
    for key, move in moved.items():
        account = CHART[key.account]
        was = before.get(key, Layered())
        now = was + move
        for old, new in (
            (was.settled_minor, now.settled_minor),
            (was.settled_minor + was.pending_minor, now.settled_minor + now.pending_minor),
        ):
            old_own, new_own = old * account.sign, new * account.sign
            least, most = account.minimum_minor, account.maximum_minor
            if least is not None and new_own < min(least, old_own):
                raise LedgerLimitError(_beyond(key, old_own, new_own, "balance_least", least))
            if most is not None and new_own > max(most, old_own):
                raise LedgerLimitError(_beyond(key, old_own, new_own, "balance_most", most))


def _beyond(key: Limited, old: int, new: int, rule: str, limit: int) -> Said:
    place = f"{key.account} of {key.owner}" if key.owner else key.account
    return said(rule, place=place, currency=key.currency, old=old, new=new, limit=limit)
