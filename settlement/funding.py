"""What a line of a bank statement is: a payout or its return, a network's money, or unexplained.

The rules in order, each with name and version; the first that fits, counts:

    sweep-received     on the own-funds account that a sweep of ours goes to, its id and amount
    end-to-end-id      our order's id, its amount to the minor unit, on the account that paid it
    batch              our file's id: the bank booked all orders of it as one amount
    named-date         the text names a settlement date, and its receivable is the amount
    one-date           one receivable of the payer is the amount; of several equal ones the oldest
    consecutive-dates  receivables of the payer, one settlement date after another, sum to the amount
    own-funds          on an own-funds account: no business of these books, but its balance is

The payer is known by the account number in its link's item; where that says nothing, a credit goes
to the one network that it fits, and to none if it fits several. Amounts fit exactly or not at all:
what is left over is a case, never a rounding.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from datetime import date
from typing import Final, Literal

import msgspec

from settlement.contracts import BankAccount
from settlement.iso20022.pain001 import message_id
from settlement.payouts.orders import is_sweep
from settlement.payouts.ports import LineMatch, Order, OrderEvent, Receivable, StatementLine

VERSION: Final = 1  # of the rules
DATES_MAX: Final = 31  # settlement dates that one credit may settle
_DATE: Final = re.compile(r"(?<![0-9])(20[0-9]{2})-?([01][0-9])-?([0-3][0-9])(?![0-9])")


def may_be_part(line: StatementLine, of: Receivable, payers: Mapping[str, str]) -> bool:
    """Whether a credit that nothing explains may be a part of what a network owes."""
    return (
        line.currency == of.currency
        and 0 < line.amount_minor < of.amount_minor
        and of.settlement_date <= line.booked_on
        and payers.get(of.acquirer, "") in ("", line.counterparty)
    )


class Known(msgspec.Struct, frozen=True):
    """What lines are compared with, as it was when the act began."""

    accounts: Mapping[str, BankAccount]  # ours, by name
    payers: Mapping[str, str]  # acquirer -> account its credits come from, "" where not said
    orders: Mapping[str, Order]  # released ones that the lines name, by end-to-end id
    batch_accounts: Mapping[str, str]  # released batch -> account that pays it
    events: Collection[OrderEvent]  # of those orders
    receivables: Collection[Receivable]  # that are not zero


class Explained(msgspec.Struct, frozen=True):
    """One line and what it is; `why` says what was wrong where no rule fits."""

    line: StatementLine
    match: LineMatch | None
    orders: tuple[Order, ...] = ()
    event: Literal["confirmed", "received", "returned", ""] = ""
    receivables: tuple[Receivable, ...] = ()
    why: str = ""


def explain(lines: Iterable[StatementLine], known: Known, business_date: date) -> list[Explained]:
    """Each of the lines, in the order they were booked; what one settles is not there for the next."""
    explainer = _Explainer(known, business_date)
    return [explainer.explain(line) for line in sorted(lines, key=booked)]


def booked(line: StatementLine) -> tuple[date, str, str, int]:
    return (line.booked_on, line.account, line.statement, line.line)


class _Explainer:
    def __init__(self, known: Known, business_date: date) -> None:
        self._known = known
        self._date = business_date
        self._events = {(one.end_to_end_id, one.kind) for one in known.events}
        self._open: dict[tuple[str, str], dict[date, Receivable]] = {}
        for one in sorted(known.receivables):
            self._open.setdefault((one.acquirer, one.currency), {})[one.settlement_date] = one
        self._by_batch: dict[str, list[Order]] = {}
        for order in known.orders.values():
            self._by_batch.setdefault(message_id(order.batch), []).append(order)

    def explain(self, line: StatementLine) -> Explained:
        order = self._known.orders.get(line.end_to_end_id)
        if order is not None:
            if is_sweep(order) and self._known.accounts[line.account].purpose == "own":
                return self._received(line, order)
            return self._order(line, order)
        if line.batch in self._by_batch:
            return self._batch(line, self._by_batch[line.batch])
        if self._known.accounts[line.account].purpose == "own":
            return Explained(line, self._match(line, "own-funds", "own", ()))
        return self._receivable(line)

    def _match(
        self,
        line: StatementLine,
        rule: str,
        kind: Literal["payout", "return", "receivable", "own"],
        objects: Iterable[str],
    ) -> LineMatch:
        return LineMatch(
            line.account,
            line.statement,
            line.line,
            rule,
            VERSION,
            kind,
            tuple(objects),
            self._date,
        )

    # -- our own orders

    def _order(self, line: StatementLine, order: Order) -> Explained:
        if why := self._unlike(line, order):
            return Explained(line, None, why=why)
        event: Literal["confirmed", "returned"] = (
            "confirmed" if line.amount_minor < 0 else "returned"
        )
        self._events.add((order.end_to_end_id, event))
        kind: Literal["payout", "return"] = "payout" if event == "confirmed" else "return"
        found = self._match(line, "end-to-end-id", kind, [order.end_to_end_id])
        return Explained(line, found, (order,), event)

    def _received(self, line: StatementLine, order: Order) -> Explained:
        """The other end of a sweep: its money is own funds from here on."""
        name = order.end_to_end_id
        asked = (order.amount_minor, order.currency, order.creditor_account)
        if (line.amount_minor, line.currency, self._known.accounts[line.account].account) != asked:
            return Explained(line, None, why=f"order {name} is of {order.amount_minor}, to another")
        if (name, "rejected") in self._events:
            return Explained(line, None, why=f"order {name} was rejected")
        if (name, "received") in self._events:
            return Explained(line, None, why=f"order {name} was received before")
        self._events.add((name, "received"))
        found = self._match(line, "sweep-received", "own", [name])
        return Explained(line, found, (order,), "received")

    def _unlike(self, line: StatementLine, order: Order) -> str:
        name = order.end_to_end_id
        if self._known.batch_accounts[order.batch] != line.account:
            return f"order {name} is paid by {self._known.batch_accounts[order.batch]}"
        if (abs(line.amount_minor), line.currency) != (order.amount_minor, order.currency):
            return f"order {name} is of {order.amount_minor}"
        if (name, "rejected") in self._events:
            return f"order {name} was rejected"
        if line.amount_minor < 0:
            return f"order {name} was paid before" if (name, "confirmed") in self._events else ""
        if (name, "confirmed") not in self._events:
            return f"order {name} comes back, but no statement shows that it was paid"
        return f"order {name} came back before" if (name, "returned") in self._events else ""

    def _batch(self, line: StatementLine, orders: list[Order]) -> Explained:
        total = sum(order.amount_minor for order in orders)
        if any((order.end_to_end_id, "confirmed") in self._events for order in orders):
            return Explained(line, None, why=f"orders of {line.batch} were paid before")
        account = self._known.batch_accounts[orders[0].batch]
        if (line.amount_minor, line.currency, line.account) != (
            -total,
            orders[0].currency,
            account,
        ):
            return Explained(line, None, why=f"{line.batch} is {total} from {account}")
        ordered = tuple(sorted(orders, key=lambda one: one.end_to_end_id))
        ids = [order.end_to_end_id for order in ordered]
        self._events |= {(one, "confirmed") for one in ids}
        return Explained(line, self._match(line, "batch", "payout", ids), ordered, "confirmed")

    # -- the networks' money

    def _receivable(self, line: StatementLine) -> Explained:
        for rule, find in (
            ("named-date", self._named),
            ("one-date", self._one),
            ("consecutive-dates", self._consecutive),
        ):
            fits = {
                acquirer: found
                for acquirer in self._payers(line)
                if (found := find(line, self._due(acquirer, line)))
            }
            if len(fits) > 1:
                return Explained(line, None, why=f"{rule}: fits {', '.join(sorted(fits))}")
            for found in fits.values():
                for one in found:
                    del self._open[one.acquirer, one.currency][one.settlement_date]
                objects = [one.owner for one in found]
                match = self._match(line, rule, "receivable", objects)
                return Explained(line, match, receivables=tuple(found))
        return Explained(line, None, why=f"no order, and no receivable of {line.amount_minor}")

    def _payers(self, line: StatementLine) -> list[str]:
        """Acquirers whose money the line can be."""
        payers = self._known.payers
        named = [a for a, account in payers.items() if account and account == line.counterparty]
        return sorted(named) or sorted(
            acquirer for acquirer, _ in self._open if not payers.get(acquirer)
        )

    def _due(self, acquirer: str, line: StatementLine) -> list[Receivable]:
        """Open ones of settlement dates that have come, the oldest first."""
        open_ones = self._open.get((acquirer, line.currency), {})
        return [one for day, one in sorted(open_ones.items()) if day <= line.booked_on]

    @staticmethod
    def _named(line: StatementLine, due: list[Receivable]) -> list[Receivable]:
        named = {"-".join(found) for found in _DATE.findall(f"{line.text} {line.end_to_end_id}")}
        return [
            one
            for one in due
            if one.settlement_date.isoformat() in named and one.amount_minor == line.amount_minor
        ][:1]

    @staticmethod
    def _one(line: StatementLine, due: list[Receivable]) -> list[Receivable]:
        return [one for one in due if one.amount_minor == line.amount_minor][:1]

    @staticmethod
    def _consecutive(line: StatementLine, due: list[Receivable]) -> list[Receivable]:
        for first in range(len(due)):
            total = 0
            for last in range(first, min(first + DATES_MAX, len(due))):
                total += due[last].amount_minor
                if last > first and total == line.amount_minor:
                    return due[first : last + 1]
        return []
