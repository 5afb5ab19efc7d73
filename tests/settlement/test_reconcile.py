"""Reconciliation: one scenario a line, then properties over whole days."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from settlement import plain
from settlement.cases import Break
from settlement.clearing import ClearingRecord, ClearingRow, FileName, Transaction
from settlement.columns import schema_of, structs_of, table_of
from settlement.files import com
from settlement.matches import Match
from settlement.reconcile import VERSIONS, reconcile
from tests.depth import examples
from tests.settlement.oracle import records_of
from tests.settlement.world import (
    ACQUIRER,
    DAY,
    ENGINE,
    NEXT,
    PAN,
    PANS,
    billed,
    captures_of,
    trade,
)


def rows_of(rows: Sequence[dict[str, Any]], sequence: int = 1, day: Any = DAY) -> list[ClearingRow]:
    name = FileName(ACQUIRER, com.render_name(day, sequence), "COM", day, sequence)
    return com.parse(com.render(rows), name, token=PANS.token, mask=PANS.mask)


class Result(msgspec.Struct):
    """A day's plain pairs and the rest together."""

    matches: list[Match]
    breaks: list[Break]
    carried_records: int
    carried_rows: int


def run(trades: Sequence[Transaction], rows: Sequence[ClearingRow]) -> Result:
    records = records_of(DAY, captures_of(trades), list(trades), {})
    ENGINE.load("records", table_of(ClearingRecord, records))
    for name, shape in (
        ("open_records", ClearingRecord),
        ("shorts", ClearingRecord),
        ("ahead", Transaction),
        ("mismatched", ClearingRow),
    ):
        ENGINE.load(name, table_of(shape, []))
    ENGINE.load("incoming_rows", table_of(ClearingRow, rows))
    rest = plain.split(ENGINE, DAY, 1, broken=(), taken_in=())
    found = reconcile(DAY, rest)
    pairs = ENGINE.table(plain.matches(VERSIONS, DAY)[schema_of(Match).names])
    return Result(
        structs_of(Match, pairs) + found.matches,
        found.breaks,
        rest.carried_records + len(found.carried_records),
        rest.carried_rows + len(found.carried_rows),
    )


def classes(result: Result) -> Counter[str]:
    """Classes of what settles and of what breaks; a two-sided break counts once."""
    found = Counter(match.match_class for match in result.matches)
    one_sided = {"network_long", "network_short", "duplicate", "orphan_refund", "fee_mismatch"}
    return found + Counter(b.break_class for b in result.breaks if b.break_class in one_sided)


SALE = trade(1)
VOID = trade(2, type="void", processing_code="200000", original_request_id=1)
REFUND = trade(3, 4_000, type="refund", mti="0220", processing_code="200000")
OTHER_KEYS: dict[str, Any] = {"stan": 777, "transmission_time": "0803235959"}
REVERSAL: dict[str, Any] = {
    "mti": "0420",
    "stan": 900,
    "original_stan": "000001",
    "original_time": "0803101500",
    "fee_payable": 0,
    "fee_receivable": 35,
    "switching_fee": 3,
}
NO_FEE: dict[str, Any] = {"fee_receivable": 0, "switching_fee": 0}


@pytest.mark.parametrize(
    ("trades", "rows", "expected"),
    [
        ([SALE], [billed(SALE)], "matched"),
        ([SALE], [], "network_short"),
        ([], [billed(SALE)], "network_long"),
        ([], [billed(REFUND)], "orphan_refund"),
        ([], [billed(SALE, **REVERSAL)], "orphan_refund"),
        ([SALE], [billed(SALE, amount=9_900)], "amount_mismatch"),
        ([SALE], [billed(SALE), billed(SALE)], "matched duplicate"),
        ([SALE], [billed(SALE), billed(SALE), billed(SALE)], "matched duplicate duplicate"),
        ([SALE], [billed(SALE), billed(SALE, amount=9_900)], "matched network_long"),
        ([trade(1, state="reversed")], [billed(SALE)], "status_mismatch"),
        ([trade(1, state="reversed")], [], ""),
        ([trade(1, state="declined")], [billed(SALE)], "network_long"),
        ([trade(1, state="unknown")], [billed(SALE)], "status_mismatch"),
        ([trade(1, state="pending")], [billed(SALE)], "network_long"),
        ([trade(1, state="declined")], [], ""),
        # the file's own reversal
        ([SALE], [billed(SALE), billed(SALE, **REVERSAL)], "status_mismatch reversed_both"),
        (
            [trade(1, state="reversed")],
            [billed(SALE), billed(SALE, **REVERSAL)],
            "reversed_both reversed_both",
        ),
        ([], [billed(SALE), billed(SALE, **REVERSAL)], "reversed_both reversed_both"),
        # a reversal of another amount is not that of the row
        (
            [trade(1, state="reversed")],
            [billed(SALE), billed(SALE, **REVERSAL, amount=1)],
            "status_mismatch orphan_refund",
        ),
        ([SALE], [billed(SALE), billed(SALE, **REVERSAL, amount=1)], "matched orphan_refund"),
        # a fee that the network keeps of a pair
        (
            [],
            [billed(SALE), billed(SALE, **REVERSAL) | NO_FEE],
            "reversed_both reversed_both fee_mismatch",
        ),
        # void: both rows in the file, or both left out, or one
        ([SALE, VOID], [billed(SALE), billed(VOID)], "matched matched"),
        ([SALE, VOID], [], "reversed_both reversed_both"),
        ([SALE, VOID], [billed(SALE)], "matched network_short"),
        ([REFUND], [billed(REFUND)], "matched"),
        ([REFUND], [], "network_short"),
        # weaker keys
        ([SALE], [billed(SALE, **OTHER_KEYS)], "matched"),
        ([SALE], [billed(SALE, **OTHER_KEYS, rrn="X")], "matched"),
        (
            [SALE],
            [billed(SALE, **OTHER_KEYS, rrn="X", auth_code="X")],
            "network_long network_short",
        ),
        ([SALE], [billed(SALE, **OTHER_KEYS, amount=1)], "network_long network_short"),
        (
            [SALE],
            [billed(SALE, **OTHER_KEYS, rrn="X", pan="6222021234567890000")],
            "network_long network_short",
        ),
        # equal link keys at another terminal are another transaction's, unless weaker keys agree
        (
            [SALE],
            [billed(SALE, terminal="99999999", auth_code="X")],
            "network_long network_short",
        ),
        ([SALE], [billed(SALE, terminal="99999999")], "matched"),
        # institution codes: filled, unfilled, absent forwarder
        ([SALE], [billed(SALE, acquirer_id="00048021000", rrn="X", auth_code="X")], "matched"),
        ([SALE], [billed(SALE, forwarder_id=None, rrn="X", auth_code="X")], "matched"),
        # types without effect never break
        ([trade(1, 0, type="balance", processing_code="310000")], [], ""),
        ([trade(1, state="declined", link_stan=None)], [], ""),
        # partial approval: what was approved counts
        ([trade(1, approved_amount_minor=6_000)], [billed(SALE, amount=6_000)], "matched"),
        ([trade(1, approved_amount_minor=6_000)], [billed(SALE, partial_amount=6_000)], "matched"),
        ([trade(1, approved_amount_minor=6_000)], [billed(SALE)], "amount_mismatch"),
    ],
)
def test_class(trades: list[Transaction], rows: list[dict[str, Any]], expected: str) -> None:
    assert classes(run(trades, rows_of(rows))) == Counter(expected.split())


def test_every_match_names_its_rule() -> None:
    trades = [trade(n) for n in (1, 2, 3)]
    rows = [
        billed(trades[0]),
        billed(trades[1], **OTHER_KEYS),
        billed(trades[2], **{**OTHER_KEYS, "stan": 778}, rrn="X"),
    ]
    found = {
        match.record: f"{match.rule}/{match.rule_version}"
        for match in run(trades, rows_of(rows)).matches
    }
    assert found == {"c1": "exact/2", "c2": "rrn/1", "c3": "auth-day/1"}


@pytest.mark.parametrize(
    ("settles", "row_day", "expected", "carried"),
    [
        (DAY, DAY, "matched", 0),
        (DAY, NEXT, "cutoff_shift", 0),
        (NEXT, NEXT, "matched", 0),
        (NEXT, DAY, "cutoff_shift", 0),
        (NEXT, None, "", 1),
        (None, DAY, "matched", 0),
    ],
)
def test_settlement_days(settles: Any, row_day: Any, expected: str, carried: int) -> None:
    sale = trade(1, settlement_date=settles)
    rows = rows_of([billed(sale)], day=row_day) if row_day else []
    result = run([sale], rows)
    assert classes(result) == Counter(expected.split())
    assert result.carried_records == carried


def test_a_row_of_the_next_date_waits_for_its_own_close() -> None:
    tomorrow = billed(SALE, transmission_time="0804101500")
    result = run([], rows_of([tomorrow], day=NEXT))
    assert (result.breaks, result.carried_rows) == ([], 1)


def test_breaks_carry_both_amounts_and_the_keys() -> None:
    (found,) = run([SALE], rows_of([billed(SALE, amount=9_900)])).breaks
    assert (found.ours_minor, found.theirs_minor, found.difference_minor) == (10_000, 9_900, -100)
    assert found.keys["link_stan"] == "000001"
    assert found.keys["pan_masked"] == "622202*********0123"
    assert found.evidence["rule"] == "exact-keys/2"
    assert PAN not in repr(found)


def test_what_a_long_moves_is_net_of_the_fees_that_nobody_bears() -> None:
    (found,) = run([], rows_of([billed(SALE)])).breaks
    assert found.difference_minor == 10_000 - 35 - 3


# -- properties -------------------------------------------------------------------------------

STATES = ("approved", "approved", "approved", "declined", "reversed", "unknown")
FAULTS: dict[str, Callable[[dict[str, Any]], list[dict[str, Any]]]] = {
    "none": lambda row: [row],
    "missing": lambda row: [],
    "amount": lambda row: [{**row, "amount": row["amount"] + 1}],
    "duplicate": lambda row: [row, row],
    "stan": lambda row: [{**row, "stan": 500_000 + int(row["stan"])}],
}


@st.composite
def days(draw: st.DrawFn) -> tuple[list[Transaction], list[dict[str, Any]]]:
    """Trades with colliding weak keys, and a file with faults."""
    count = draw(st.integers(0, 8))
    trades: list[Transaction] = []
    rows: list[dict[str, Any]] = []
    for number in range(1, count + 1):
        minus = draw(st.booleans())
        one = trade(
            number,
            draw(st.sampled_from((100, 200))),
            type="refund" if minus else "purchase",
            processing_code="200000" if minus else "000000",
            state=draw(st.sampled_from(STATES)),
            rrn=draw(st.sampled_from(("R1", "R2", ""))) or None,
            auth_code=draw(st.sampled_from(("A1", "A2", ""))) or None,
        )
        trades.append(one)
        rows += FAULTS[draw(st.sampled_from(sorted(FAULTS)))](billed(one))
    return trades, rows


def summary(result: Result) -> Any:
    """What may not depend on the order or the splitting of files."""
    return (
        sorted((m.match_class, m.rule, m.record) for m in result.matches),
        sorted(
            (
                b.break_class,
                sorted(b.keys.items()),
                b.ours_minor or 0,
                b.theirs_minor or 0,
                b.difference_minor,
            )
            for b in result.breaks
        ),
    )


@settings(max_examples=examples(6), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(days(), st.randoms(use_true_random=False), st.integers(0, 30))
def test_order_and_splits_change_nothing(
    day: tuple[list[Transaction], list[dict[str, Any]]], chance: Any, at: int
) -> None:
    trades, rows = day
    expected = summary(run(trades, rows_of(rows)))
    chance.shuffle(rows)
    chance.shuffle(trades)
    split = rows_of(rows[:at], 1) + rows_of(rows[at:], 2)
    chance.shuffle(split)
    assert summary(run(trades, split)) == expected


@settings(max_examples=examples(6), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(days())
def test_matched_and_open_are_both_sides(
    day: tuple[list[Transaction], list[dict[str, Any]]],
) -> None:
    # the partition itself is asserted in every run; here: the money of both sides is explained
    trades, made = day
    rows = rows_of(made)
    result = run(trades, rows)
    records = {r.key: r for r in records_of(DAY, captures_of(trades), trades, {})}
    by_id = {row.id: row for row in rows}
    ours = sum(record.effect_minor for record in records.values())
    theirs = sum(row.effect_minor for row in rows)
    differences = sum((b.theirs_minor or 0) - (b.ours_minor or 0) for b in result.breaks)
    dropped = sum(
        (records[m.record].effect_minor if m.record else 0)
        - (by_id[m.row].effect_minor if m.row else 0)
        for m in result.matches
        if m.match_class == "reversed_both"
    )
    assert theirs - ours == differences - dropped
