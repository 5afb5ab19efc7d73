"""Entries of one posting rule for a whole relation: what `ledger.entry` makes of one record.

`legs` adds to each line what the rule's legs come to; `entries` and `moved` are read from that. The
rule and the chart stay data: nothing here knows an account's name.
"""

from collections.abc import Mapping
from datetime import date
from functools import cache
from typing import TYPE_CHECKING, Final

import ibis  # type: ignore[import-untyped]

from settlement.chart import CHART
from settlement.columns import schema_of
from settlement.entry_columns import ENTRY_COLUMNS
from settlement.ledger import FIELD, ITEM, Entry, Movement
from settlement.posting_rules import POSTING_RULES, Leg
from settlement.records import exact

if TYPE_CHECKING:
    import ibis.expr.types as ir  # type: ignore[import-untyped]

# what a line says of its entry
LINE: Final = (
    *("key", "currency", "acquirer", "settlement_date", "merchant", "terminal", "batch", "layer"),
)


def legs(
    rule_name: str, lines: "ir.Table", variables: Mapping[str, "ir.IntegerValue"]
) -> "ir.Table":
    """The lines with `amount_n` and `owner_n` of every leg; those whose legs are all zero go."""
    rule = POSTING_RULES[rule_name]
    assert rule.variables == variables.keys(), f"{rule_name} takes {sorted(rule.variables)}"
    made = lines.select(
        *LINE,
        **{f"amount_{n}": _amount(leg, variables) for n, leg in enumerate(rule.legs)},
        **{f"owner_{n}": _owner(leg.account, lines) for n, leg in enumerate(rule.legs)},
    )
    moves = made.amount_0 != 0
    for n in range(1, len(rule.legs)):
        moves |= made[f"amount_{n}"] != 0
    return made.filter(moves)


def _amount(leg: Leg, variables: Mapping[str, "ir.IntegerValue"]) -> "ir.IntegerValue":
    amount = ibis.literal(0, "int64")
    for name, weight in leg.weights.items():
        amount += variables[name] * weight
    return amount.cast("int64")


def _owner(account: str, lines: "ir.Table") -> "ir.StringValue":
    kind = CHART[account].owner
    if kind == "acquirer_day":
        return lines.acquirer + "/" + lines.settlement_date.cast("string")
    return {"acquirer": lines.acquirer, "merchant": lines.merchant, "own": ibis.literal("")}[kind]


def entries(
    rule_name: str, source: str, made: "ir.Table", business_date: date, step: str
) -> "ir.Table":
    """The entries of lines with their legs, as `ledger.entry_relation` has them, hash last."""
    rule = POSTING_RULES[rule_name]
    present = [made[f"amount_{n}"] != 0 for n in range(len(rule.legs))]
    accounts = [ibis.literal(leg.account) for leg in rule.legs]
    owners = [made[f"owner_{n}"] for n in range(len(rule.legs))]
    amounts = [made[f"amount_{n}"].cast("string") for n in range(len(rule.legs))]
    columns = {
        "business_date": ibis.literal(business_date),
        "step": ibis.literal(step),
        "source": ibis.literal(source),
        "key": made.key,
        "rule": ibis.literal(rule.name),
        "rule_version": ibis.literal(rule.version, "int64"),
        **{name: made[name] for name in LINE if name != "key"},
    }
    lists = {
        "accounts": (_joined(accounts, present, ITEM), _array(accounts, present, quoted=True)),
        "owners": (_joined(owners, present, ITEM), _array(owners, present, quoted=True)),
        "amounts": (_joined(amounts, present, ITEM), _array(amounts, present, quoted=False)),
    }
    canonical = None
    for name in Entry.__struct_fields__:
        text = lists[name][0] if name in lists else columns[name].cast("string")
        canonical = text if canonical is None else canonical + FIELD + text
    assert canonical is not None
    return made.select(
        **{
            name: lists[name][1] if name in lists else columns[name]
            for name in schema_of(Entry).names
        },
        hash="\\x" + canonical.hexdigest("sha256"),
    )[ENTRY_COLUMNS.names]


def _joined(
    texts: list["ir.StringValue"], present: list["ir.BooleanValue"], separator: str
) -> "ir.StringValue":
    """The present ones of some texts."""
    joined = ibis.literal("")
    for text, there in zip(texts, present, strict=True):
        joined += ibis.ifelse(there, separator + text, "")
    return joined.substr(len(separator))


def _array(
    texts: list["ir.StringValue"], present: list["ir.BooleanValue"], *, quoted: bool
) -> "ir.StringValue":
    """The same as PostgreSQL writes an array (`columns.table_of`)."""
    if quoted:
        texts = ['"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text in texts]
    return "{" + _joined(texts, present, ",") + "}"


@cache
def moved(rule_name: str, made: "ir.Table") -> "ir.Table":
    """What lines with their legs move: `ledger.movements`, by account, owner and currency."""
    rule = POSTING_RULES[rule_name]
    postings = ibis.union(
        *(
            made.select(
                "currency",
                account=ibis.literal(leg.account),
                owner=made[f"owner_{n}"],
                amount=made[f"amount_{n}"],
            )
            for n, leg in enumerate(rule.legs)
        )
    )
    postings = postings.filter(postings.amount != 0)
    debit = ibis.ifelse(postings.amount > 0, postings.amount, 0)
    return (
        postings.group_by("account", "owner", "currency")
        .agg(
            count=postings.count(),
            debit_minor=exact(debit.sum()),
            credit_minor=exact((debit - postings.amount).sum()),
        )
        .mutate(rule=ibis.literal(rule.name))[list(Movement.__struct_fields__)]
        .order_by("account", "owner", "currency")
    )
