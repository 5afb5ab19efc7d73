"""What a match of one with several costs: its rows' charges beside ours, compared once.

Our fees stay each record's own. The rows' fees are summed over the match, and so are ours; the
difference of the two sums is the match's, as a pair's is its own. It stands on the match's first
record (the lowest number), all others are charged as we compute them: so a record's cost adds up to
what the files charge, and a difference is told once. Each line rounds by itself, so the tolerance of a
row counts once for every line on the side of several.
"""

from functools import cache
from typing import TYPE_CHECKING, Final

import ibis  # type: ignore[import-untyped]

from settlement.columns import schema_of
from settlement.matches import Member
from settlement.records import exact, number_of, table_named
from settlement.rows import id_of, issuer_fee_of, network_fee_of, rows_table

if TYPE_CHECKING:
    import ibis.expr.types as ir  # type: ignore[import-untyped]

PARTS: Final = ("issuer", "network")


def members_table() -> "ir.Table":
    return table_named("members", schema_of(Member))


@cache
def asked() -> "ir.Table":
    """(match_id, key, row, file, issuer_file, network_file, lines) of every record of such a match:
    what its rows ask together, NULL where none of them states it, and its first row by content."""
    every = members_table()
    theirs = every.filter(every.side == "theirs").select("match_id", row="member")
    ours = every.filter(every.side == "ours").select("match_id", key="member")
    rows = rows_table("incoming_rows")
    stated = rows.select(
        "content",
        row=id_of(rows),
        file=rows.acquirer + "/" + rows.file,
        issuer_file=issuer_fee_of(rows),
        network_file=network_fee_of(rows),
    )
    known = theirs.join(stated, "row")
    in_order = ibis.window(group_by=known.match_id, order_by=[known.content, known.row])
    first = known.mutate(nth=ibis.row_number().over(in_order))
    first = first.filter(first.nth == 0).select("match_id", "row", "file")
    sums = known.group_by("match_id").agg(
        issuer_file=exact(known.issuer_file.sum()), network_file=exact(known.network_file.sum())
    )
    lines = every.group_by("match_id").agg(
        lines=every.count() - 1
    )  # without the one that is the sum
    return ours.join(first, "match_id").join(sums, "match_id").join(lines, "match_id")


def shared_out(costs: "ir.Table") -> "ir.Table":
    """Each record's part of what its match's rows ask: ours, and on the first the difference, too.

    `costs` have `match_id`, `key`, our `issuer` and `network`, and what the rows ask in `<part>_file`.
    """
    window = ibis.window(group_by=costs.match_id)
    in_order = ibis.window(group_by=costs.match_id, order_by=number_of(costs.key))
    ranked = costs.mutate(
        nth=ibis.row_number().over(in_order),
        **{f"{part}_sum": costs[part].sum().over(window) for part in PARTS},
    )
    parts = {}
    for part in PARTS:
        ours, file = ranked[part], ranked[f"{part}_file"]
        difference = file - exact(ranked[f"{part}_sum"])
        mine = ours + ibis.ifelse(ranked.nth == 0, difference, 0)
        parts[f"{part}_file"] = ibis.ifelse(file.notnull(), mine, ibis.null("int64"))
    return ranked.mutate(**parts)[costs.columns]
