"""What `tongbao ledger` shows to people: tables in their language, money in its own unit."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Self

import msgspec
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from settlement.chart import BY_HAND, CHART, COMPOSITES, Account, ancestors
from settlement.ledger_queries import CHART_ORDER
from settlement.reports.figures import money
from settlement.texts import TEXTS
from switch.commands.common import print_line

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Sequence
    from types import TracebackType

    from settlement.chain import Anchor
    from settlement.ledger import Entry
    from settlement.ledger_queries import Balance, Statement, TrialRow
    from settlement.ledger_verify import Verified
    from settlement.posting_rules import PostingRule
    from switch.commands.common import Node

BAR = 24  # columns of the longest bar


def text(node: Node, key: str, **values: Any) -> str:
    return TEXTS[key][int(node.language == "zh")].format(**values)


def plain(found: msgspec.Struct) -> dict[str, Any]:
    made: dict[str, Any] = msgspec.to_builtins(found)
    return made


def show(
    node: Node, columns: Sequence[str], rows: Iterable[Sequence[str]], title: str = ""
) -> None:
    """A column whose key ends in > stands to the right."""
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(
            text(node, column.rstrip(">")) if column else "",
            justify="right" if column.endswith(">") else "left",
            overflow="fold",
            no_wrap=column.endswith(">"),
        )
    for row in rows:
        table.add_row(*row)
    width = None if sys.stdout.isatty() else 200
    Console(width=width, markup=False, highlight=False).print(table)


def name_of(node: Node, code: str) -> str:
    found = COMPOSITES[code] if code in COMPOSITES else CHART[code]
    return found.name_zh if node.language == "zh" else found.name


def accounts(node: Node) -> None:
    rows = []
    for code in CHART_ORDER:
        found = COMPOSITES[code] if code in COMPOSITES else CHART[code]
        limits = _limits(node, found) if isinstance(found, Account) else ""
        owner = found.owner if isinstance(found, Account) else ""
        kind = text(node, found.kind)
        by_hand = text(node, "yes") if code in BY_HAND else ""
        indented = f"{'  ' * len(ancestors(code))}{code}"
        rows.append((indented, name_of(node, code), kind, owner, limits, by_hand))
    show(node, ("account", "name", "kind", "owner", "limits", "by_hand"), rows)


def _limits(node: Node, account: Account) -> str:
    parts = [
        f"{text(node, key)} {limit}"
        for key, limit in (("at_least", account.minimum_minor), ("at_most", account.maximum_minor))
        if limit is not None
    ]
    return ", ".join(parts)


def rules(node: Node, found: Sequence[PostingRule]) -> None:
    """A line a leg: the account, and what of the record counts there, debit plus."""
    rows: list[tuple[str, str, str]] = []
    for rule in found:
        rows.append((f"{rule.name}@{rule.version}", "", rule.meaning))
        rows += [("", name_of(node, leg.account), _weights(leg.weights)) for leg in rule.legs]
    show(node, ("rule", "account", ""), rows)


def _weights(weights: dict[str, int]) -> str:
    """
    >>> _weights({"effect": -1, "discount": 1})
    '- effect + discount'
    """
    parts = [
        f"{'+' if weight > 0 else '-'} {'' if abs(weight) == 1 else f'{abs(weight)} '}{name}"
        for name, weight in weights.items()
    ]
    return " ".join(parts).removeprefix("+ ")


def balances(node: Node, found: Sequence[Balance]) -> None:
    """With a bar, drawn to the largest of its currency."""
    largest: dict[str, int] = {}
    for one in found:
        largest[one.currency] = max(largest.get(one.currency, 0), abs(one.balance_minor))
    show(
        node,
        ("owner", "layer", "currency", "balance>", ""),
        (
            (
                one.owner,
                text(node, one.layer),
                one.currency,
                money(one.balance_minor, one.currency),
                "█" * round(BAR * abs(one.balance_minor) / largest[one.currency]),
            )
            for one in found
        ),
    )


def statement(node: Node, found: Statement) -> None:
    currency = found.currency
    rows = [("", text(node, "opening"), "", "", "", money(found.opening_minor, currency))]
    rows += [
        (
            one.business_date.isoformat(),
            f"{one.source} {one.key}",
            f"{one.rule}@{one.rule_version}",
            text(node, one.layer),
            money(one.amount_minor, currency),
            money(one.balance_minor, currency),
        )
        for one in found.lines
    ]
    title = " ".join(part for part in (name_of(node, found.account), found.owner, currency) if part)
    columns = ("business_date", "entry", "rule", "layer", "amount>", "balance>")
    show(node, columns, rows, title)
    if found.more is not None:
        print_line(text(node, "more", place=found.more))


def trial_balance(node: Node, rows: Sequence[TrialRow]) -> None:
    for currency in sorted({row.currency for row in rows}):
        show(
            node,
            ("account", "opening>", "debit>", "credit>", "closing>"),
            (
                (
                    f"{'  ' * row.depth}{name_of(node, row.account)}",
                    money(row.opening_minor, currency),
                    money(row.debit_minor, currency),
                    money(row.credit_minor, currency),
                    money(row.closing_minor, currency),
                )
                for row in rows
                if row.currency == currency
            ),
            f"{text(node, 'trial_balance')} {currency}",
        )


def entry_object(found: Entry) -> dict[str, Any]:
    """An entry with its postings as objects, and its hash."""
    made = plain(found)
    postings = zip(found.accounts, found.owners, found.amounts, strict=True)
    for name in ("accounts", "owners", "amounts"):
        del made[name]
    return {
        **made,
        "postings": [
            {"account": account, "owner": owner, "amount_minor": amount}
            for account, owner, amount in postings
        ],
        "hash": found.hash.hex(),
    }


def entry(node: Node, found: Entry) -> None:
    title = f"{found.source} {found.key}  {found.rule}@{found.rule_version}"
    title += f"  {found.business_date} {found.step}  {text(node, found.layer)}"
    rows = (
        (
            name_of(node, account),
            owner,
            money(max(amount, 0) or None, found.currency),
            money(max(-amount, 0) or None, found.currency),
        )
        for account, owner, amount in zip(found.accounts, found.owners, found.amounts, strict=True)
    )
    show(node, ("account", "owner", "debit>", "credit>"), rows, title)


def anchors(node: Node, found: Sequence[Anchor]) -> None:
    rows = ((one.business_date.isoformat(), str(one.entries), one.hash.hex()) for one in found)
    show(node, ("business_date", "entries>", "anchor"), rows)


def verified(node: Node, found: Verified) -> None:
    if not found.findings:
        print_line(text(node, "verified", **plain(found)))
        if found.anchor:
            print_line(f"{text(node, 'anchor')} {found.last}: {found.anchor}")
        return
    show(
        node,
        ("finding", "business_date", "step", "chunk>", "entry", ""),
        (
            (
                text(node, f"finding_{one.kind}"),
                one.business_date.isoformat(),
                one.step,
                "" if one.chunk is None else str(one.chunk),
                f"{one.source} {one.key}",
                one.text,
            )
            for one in found.findings
        ),
        text(node, "not_verified"),
    )


class Watching:
    """Counts entries on stderr while they are verified."""

    def __init__(self, node: Node) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description} {task.fields[date]} {task.completed:,.0f}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task(text(node, "verifying"), total=None, date="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def advanced(self, business_date: dt.date, entries: int) -> None:
        self._progress.update(self._task, advance=entries, date=business_date.isoformat())
