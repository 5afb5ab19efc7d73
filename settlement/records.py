"""Captures and requests become clearing records: the day's freeze, as expressions.

    key         of
    c<number>   a captured effect; `opposite` where it takes back what an earlier date captured
    r<number>   a request that reached the acquirer and left no standing capture: effect 0

Only chains (a void, a refund, a completion and what they follow) are looked at one by one, to find
the request that each began with.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from functools import cache
from typing import TYPE_CHECKING, Final

import ibis  # type: ignore[import-untyped]
import pyarrow as pa  # type: ignore[import-untyped]

from settlement.clearing import EITHER_TYPES, NEGATIVE_TYPES, Capture, ClearingRecord, Transaction
from settlement.columns import schema_of

if TYPE_CHECKING:
    import ibis.expr.types as ir  # type: ignore[import-untyped]

CHAIN_MAX: Final = 16  # a chain is pre-authorisation, completion, refund: far below the bound
ROOTS: Final = pa.schema([("request_id", pa.int64()), ("root_request_id", pa.int64())])
CARD_TYPES: Final = pa.schema([("route", pa.string()), ("card_type", pa.string())])
PLANS: Final = pa.schema(
    [
        ("merchant", pa.string()),
        ("settlement_date", pa.date32()),
        ("plan", pa.string()),
        ("plan_version", pa.int64()),
    ]
)
# of a request, what its record shows: column of the record -> column of the transaction
_OF_LINK: Final = {
    "link_stan": "link_stan",
    "transmission_time": "transmission_time",
    "rrn": "rrn",
    "auth_code": "auth_code",
    "pan_token": "pan_token",
    "pan_masked": "pan_masked",
    "route": "route",
    "mcc": "mcc",
    "entry_mode": "entry_mode",
    "response_code": "response_code",
}


def table_named(name: str, schema: pa.Schema) -> "ir.Table":
    """The engine's table of that name."""
    return ibis.table(ibis.Schema.from_pyarrow(schema), name=name)


def records_table(name: str) -> "ir.Table":
    return table_named(name, schema_of(ClearingRecord))


def number_of(key: "ir.StringValue") -> "ir.IntegerValue":
    """A record's number, which is its key without the letter."""
    return key.substr(1).cast("int64")


def exact(total: "ir.Value") -> "ir.IntegerValue":
    """A sum as int64. DuckDB's sum over BIGINT is a HUGEINT, which leaves it as a double; ibis takes
    it for an int64 and drops a plain cast."""
    return total.cast("decimal(38, 0)").cast("int64")


def different(lines: "ir.Table", *columns: str) -> "ir.Table":
    """Every combination that stands in some columns, once, in order. By groups: of a SELECT DISTINCT
    with an order ibis makes, for Spark, one over the columns of its filters, too."""
    return lines.group_by(columns).agg().order_by(columns)


def institution_of(code: "ir.StringValue") -> "ir.StringValue":
    """`clearing.institution` of a column."""
    return code.fill_null("").strip().re_replace("^0+", "")


@cache
def follow_ups(business_date: date) -> "ir.Table":
    """(request, original or NULL) of everything whose root is not plainly itself: what names an
    original, and what an earlier date's close may know already. Captures come last: they prevail."""
    captures = table_named("captures", schema_of(Capture))
    transactions = table_named("transactions", schema_of(Transaction))
    asked = transactions.filter(
        transactions.original_request_id.notnull() | (transactions.business_date != business_date)
    ).select("request_id", "original_request_id", rank=ibis.literal(0, "int64"))
    captured = captures.filter(captures.original_request_id.notnull()).select(
        "request_id", "original_request_id", rank=ibis.literal(1, "int64")
    )
    every = asked.union(captured)
    return every.order_by("rank", "request_id", "original_request_id")


def roots_of(
    found: Iterable[tuple[int, int | None]], known: Mapping[int, int]
) -> list[tuple[int, int]]:
    """(request, root) of `follow_ups`; `known` has the roots of earlier dates' records.

    >>> roots_of([(2, 1), (3, 2), (5, 4)], {4: 1})
    [(2, 1), (3, 1), (5, 1)]
    """
    originals = dict(found)
    return [(request_id, _root(request_id, originals, known)) for request_id in sorted(originals)]


def _root(request_id: int, originals: Mapping[int, int | None], known: Mapping[int, int]) -> int:
    for _ in range(CHAIN_MAX):
        if request_id in known:
            return known[request_id]
        original = originals.get(request_id)
        if original is None or original == request_id:
            break
        request_id = original
    return request_id


@cache
def routes() -> "ir.Table":
    return different(table_named("transactions", schema_of(Transaction)), "route")


@cache
def captured_merchants(business_date: date) -> "ir.Table":
    """(merchant, settlement date) of every captured effect."""
    unpriced = _unpriced(business_date)
    return different(unpriced.filter(unpriced.effect_minor != 0), "merchant", "settlement_date")


@cache
def records(business_date: date) -> "ir.Table":
    """The clearing records of a frozen date, in order of kind and number."""
    unpriced = _unpriced(business_date)
    card_types = table_named("card_types", CARD_TYPES)
    plans = table_named("plans", PLANS)
    typed = unpriced.left_join(card_types, "route").drop("route_right")
    priced = typed.left_join(
        plans,
        [
            typed.merchant == plans.merchant,
            typed.settlement_date == plans.settlement_date,
            typed.effect_minor != 0,
        ],
    )
    return priced.mutate(
        card_type=priced.card_type.fill_null(""),
        plan=priced.plan.fill_null(""),
        plan_version=priced.plan_version.fill_null(0),
    ).order_by(priced.key.substr(0, 1), number_of(priced.key))[schema_of(ClearingRecord).names]


@cache
def _unpriced(business_date: date) -> "ir.Table":
    """Records with their route, before card type and plan."""
    captures = table_named("captures", schema_of(Capture))
    transactions = table_named("transactions", schema_of(Transaction))
    roots = table_named("roots", ROOTS)
    standing = captures.filter(captures.effect_minor != 0)
    captured = _of_captures(standing, transactions)
    asked = transactions.filter(
        transactions.link_stan.notnull()
        & transactions.acquirer.notnull()
        & (transactions.business_date == business_date)
    )
    left = _of_requests(asked.anti_join(standing, "request_id"))
    every = captured.union(left)
    joined = every.left_join(roots, "request_id")
    return joined.mutate(root_request_id=joined.root_request_id.fill_null(joined.request_id)).drop(
        "request_id_right"
    )


def _of_captures(standing: "ir.Table", transactions: "ir.Table") -> "ir.Table":
    # The linked opposite that a reversal posts after the freeze keeps the link keys of its
    # original: the network's row for it, if any, is a reversal that names these. It goes out with
    # or after its commit, so it settles on that date or later.
    nth = ibis.row_number().over(
        ibis.window(group_by=standing.request_id, order_by=standing.capture_id)
    )
    numbered = standing.mutate(nth=nth)
    sign = ibis.ifelse(numbered.type.isin(sorted(NEGATIVE_TYPES)), -1, 1)
    opposite = (numbered.nth > 0) | (
        ~numbered.type.isin(EITHER_TYPES) & (numbered.effect_minor * sign < 0)
    )
    settled = numbered.settlement_date.fill_null(numbered.business_date)
    shown = numbered.select(
        "request_id",
        "business_date",
        "type",
        "merchant",
        "terminal",
        "batch",
        "stan",
        "acquirer",
        "effect_minor",
        "currency",
        key="c" + numbered.capture_id.cast("string"),
        state=ibis.ifelse(opposite, "opposite", "approved"),
        settlement_date=ibis.ifelse(
            opposite, ibis.greatest(settled, numbered.business_date), settled
        ),
        amount_minor=numbered.effect_minor,
    )
    link = transactions.select(
        "request_id", "de32", "de33", **{n: transactions[of] for n, of in _OF_LINK.items()}
    )
    joined = shown.left_join(link, "request_id")
    return _with_link(joined.drop("request_id_right"))


def _of_requests(asked: "ir.Table") -> "ir.Table":
    signed = ibis.ifelse(
        asked.type.isin(sorted(NEGATIVE_TYPES)), -asked.amount_minor, asked.amount_minor
    )
    shown = asked.select(
        "request_id",
        "business_date",
        "type",
        "merchant",
        "terminal",
        "batch",
        "stan",
        "acquirer",
        "currency",
        "state",
        "de32",
        "de33",
        key="r" + asked.request_id.cast("string"),
        settlement_date=asked.settlement_date.fill_null(asked.business_date),
        effect_minor=ibis.literal(0, "int64"),
        amount_minor=signed,
        **{name: asked[of] for name, of in _OF_LINK.items()},
    )
    return _with_link(shown)


def _with_link(shown: "ir.Table") -> "ir.Table":
    """With institutions as both sides compare them, and nothing where a link left none."""
    de32, de33 = institution_of(shown.de32), institution_of(shown.de33)
    names = [name for name in schema_of(ClearingRecord).names if name in shown.columns]
    return shown.mutate(
        de32=de32,
        de33=ibis.ifelse(de33 == "", de32, de33),
        **{name: shown[name].fill_null("") for name in _OF_LINK},
    )[[*names, "route"]]


@cache
def ahead(business_date: date) -> "ir.Table":
    """Approved requests of later dates as records: they only hold rows back. `ahead` has them."""
    waiting = table_named("ahead", schema_of(Transaction))
    held = waiting.filter(waiting.acquirer.notnull())
    asked = held.mutate(
        amount_minor=ibis.ifelse(
            held.approved_amount_minor.fill_null(0) == 0,
            held.amount_minor,
            held.approved_amount_minor,
        )
    )
    shown = _of_requests(asked)
    effect = shown.amount_minor
    names = schema_of(ClearingRecord).names
    return shown.filter(effect != 0).mutate(
        key="c-" + shown.request_id.cast("string"),  # no capture's: these are not frozen yet
        effect_minor=effect,
        root_request_id=shown.request_id,
        card_type=shown.route,
        plan=ibis.literal(""),
        plan_version=ibis.literal(0, "int64"),
    )[names]
