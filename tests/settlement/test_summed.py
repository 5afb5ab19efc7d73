"""The day's end over files whose rows are sums of our records, or parts of one."""

import asyncio
import csv
import io
import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest

from settlement.adapters.cases_memory import MemoryCasework
from settlement.adapters.evidence_memory import MemoryEvidence
from settlement.adapters.evidence_postgres import PostgresEvidence
from settlement.adapters.postgres import open_postgres
from settlement.casework import told, work
from settlement.clearing import Transaction
from settlement.close import CloseResult
from settlement.evidence_facts import AGAIN
from settlement.fees import REFORM_96
from settlement.matches import Member
from tests.database import FreshDatabase
from tests.depth import sampled
from tests.settlement.test_close import Killed, KilledAt
from tests.settlement.test_evidence import again
from tests.settlement.test_store import publish
from tests.settlement.world import (
    ACQUIRER,
    DAY,
    DE32,
    NEXT,
    REFERENCES,
    Dates,
    Inbox,
    Sink,
    captures_of,
    reference,
    run_close,
    trade,
    world,
)

COLUMNS = ("merchant", "terminal", "rrn", "auth_code", "amount", "fee", "network_fee")
CSV = {
    "name": r"settle_(?P<date>\d{8})_(?P<sequence>\d)\.csv",
    "unit": "minor",
    "sign": "amount",
    "columns": [{"field": name, "title": name} for name in COLUMNS],
}
LINK: dict[str, object] = {"acquirer": ACQUIRER, "de32": DE32, "clearing": {"CSV": CSV}}
LINKS = [reference("link", "bank-a-1", LINK), *REFERENCES[1:]]
SHOP, TILL = "104110058120001", "12345678"
Row = dict[str, Any]


def row(amount: int, rrn: str = "", **changes: Any) -> Row:
    """A row with the fees that we compute of its amount."""
    sign = 1 if amount > 0 else -1
    values = {
        "merchant": SHOP,
        "terminal": TILL,
        "rrn": rrn,
        "auth_code": "",
        "amount": amount,
        "fee": sign * REFORM_96.fee("issuer", abs(amount), "debit", "5812"),
        "network_fee": sign * REFORM_96.fee("network", abs(amount), "debit", "5812"),
    }
    return values | changes


def file(rows: Sequence[Row], day: date = DAY, sequence: int = 1) -> tuple[str, bytes]:
    lines = [",".join(COLUMNS), *(",".join(str(one[name]) for name in COLUMNS) for one in rows)]
    return f"settle_{day:%Y%m%d}_{sequence}.csv", "".join(line + "\n" for line in lines).encode()


def row_id(line: int, sequence: int = 1, day: date = DAY) -> str:
    return f"{ACQUIRER}/settle_{day:%Y%m%d}_{sequence}.csv/1:{line + 1}"


class Days:
    """Dates on one store."""

    def __init__(self, *trades: Transaction) -> None:
        self.store = world(trades, LINKS)
        self.dates, self.sink = Dates({DAY: "open"}), Sink()

    def close(self, *files: tuple[str, bytes], day: date = DAY, **options: Any) -> CloseResult:
        inbox = Inbox({(ACQUIRER, name): data for name, data in files})
        at = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
        return asyncio.run(
            run_close(
                self.store, inbox, day=day, dates=self.dates, sink=self.sink, at=at, **options
            )
        )

    def members(self, day: date = DAY) -> list[Member]:
        return asyncio.run(self.store.members(day))

    def balances(self) -> dict[str, int]:
        sums: Counter[str] = Counter()
        for day in (DAY, NEXT):
            for line in asyncio.run(self.store.movements(day)):
                sums[line.account] += line.amount_minor
        return {account: amount for account, amount in sums.items() if amount}


SALES = [trade(1, 10_000), trade(2, 20_000), trade(3, 5_000)]
SPLIT = [trade(1, 30_000)]
JOINED = [trade(1, 10_000), trade(2, 20_000, rrn="621500000001")]
RRN = "621500000001"


@pytest.mark.parametrize(
    ("trades", "rows", "rule", "ours", "theirs"),
    [
        (SPLIT, [row(10_000, RRN), row(20_000, RRN)], "split-capture", ["c1"], [1, 2]),
        (JOINED, [row(30_000, RRN)], "joined-capture", ["c1", "c2"], [1]),
        (SALES, [row(35_000)], "day-total", ["c1", "c2", "c3"], [1]),
    ],
)
def test_a_match_of_one_with_several_settles_both_sides(
    trades: list[Transaction], rows: list[Row], rule: str, ours: list[str], theirs: list[int]
) -> None:
    days = Days(*trades)
    result = days.close(file(rows))
    assert (result.exit_code, result.breaks) == (0, []), result.message
    assert (result.totals["matched"], result.totals["summed"]) == (1, 1)
    match_id = ours[0] if len(ours) == 1 else row_id(theirs[0])
    expected = [Member(DAY, match_id, rule, 1, "ours", key) for key in ours]
    expected += [Member(DAY, match_id, rule, 1, "theirs", row_id(line)) for line in theirs]
    assert days.members() == expected
    costs = asyncio.run(days.store.network_costs(DAY))
    assert [one.key for one in costs] == ours
    charged = sum(one["fee"] + one["network_fee"] for one in rows)
    assert sum(one.issuer_minor + one.network_minor for one in costs) == charged
    gross = sum(one.amount_minor for one in trades)
    assert days.balances()["network_receivable"] == gross - charged


def test_a_refund_is_part_of_a_days_total() -> None:
    refund = trade(4, 1_000, type="refund", processing_code="200000", original_request_id=1)
    days = Days(*SALES, refund)
    result = days.close(file([row(34_000)]))
    assert (result.exit_code, result.totals["summed"]) == (0, 1), result.breaks
    assert len(days.members()) == 5


def test_the_fees_of_a_match_are_compared_once_and_its_difference_names_it() -> None:
    ours = sum(row(one.amount_minor)["fee"] for one in SALES)
    days = Days(*SALES)
    result = days.close(file([row(35_000, fee=ours + 500)]))
    (one,) = result.breaks
    assert (one.break_class, one.record, one.row) == ("fee_mismatch", "c1", row_id(1))
    assert (one.evidence["match"], one.evidence["rule"]) == (row_id(1), "day-total/1")
    # the network's part agrees but for what three lines round apart
    network = sum(row(each.amount_minor)["network_fee"] for each in SALES)
    apart = row(35_000)["network_fee"] - network
    assert one.difference_minor == -(500 + apart)
    costs = asyncio.run(days.store.network_costs(DAY))
    assert [cost.issuer_minor for cost in costs] == [row(t.amount_minor)["fee"] for t in SALES]
    assert [cost.difference_minor for cost in costs] == [500 + apart, 0, 0]


@pytest.mark.parametrize(("over", "breaks"), [(6, 0), (7, 1)])
def test_the_tolerance_of_a_row_counts_for_every_line(over: int, breaks: int) -> None:
    ours = {
        name: sum(row(one.amount_minor)[name] for one in SALES) for name in ("fee", "network_fee")
    }
    days = Days(*SALES)
    result = days.close(file([row(35_000, **ours | {"fee": ours["fee"] + over})]))
    assert len(result.breaks) == breaks
    costs = asyncio.run(days.store.network_costs(DAY))
    booked = sum(one.issuer_minor for one in costs)
    assert booked == ours["fee"] + (0 if breaks else over)


def test_a_match_whose_rows_state_no_fee_costs_what_we_compute() -> None:
    days = Days(*SALES)
    result = days.close(file([row(35_000, fee="", network_fee="")]))
    assert result.exit_code == 0, result.breaks
    costs = asyncio.run(days.store.network_costs(DAY))
    assert [one.issuer_file_minor for one in costs] == [None] * 3
    assert days.balances()["issuer_fee"] == sum(row(one.amount_minor)["fee"] for one in SALES)


def test_a_late_file_ends_what_its_total_is_the_sum_of() -> None:
    days = Days(*SALES)
    first = days.close(file([]))
    assert [one.break_class for one in first.breaks] == ["network_short"] * 3
    second = days.close(file([row(35_000)], sequence=2), file([], NEXT), day=NEXT)
    assert (second.totals["summed"], second.totals["resolved"]) == (1, 3), second.message
    assert [one.break_class for one in second.breaks if one.break_class != "file_late"] == []
    assert "short_suspense" not in days.balances()
    assert days.balances()["network_receivable"] == 35_000 - sum(
        row(35_000)[name] for name in ("fee", "network_fee")
    )


def test_records_that_come_later_end_a_total_that_was_long() -> None:
    days = Days()
    first = days.close(file([row(35_000)]))
    assert [one.break_class for one in first.breaks] == ["network_long"]
    late = [trade(n, one.amount_minor, business_date=NEXT) for n, one in enumerate(SALES, 1)]
    days.store.requests += late
    days.store.captured += captures_of(late)
    second = days.close(file([], NEXT), day=NEXT)
    assert (second.exit_code, second.totals["summed"], second.totals["resolved"]) == (0, 1, 1)
    assert "long_suspense" not in days.balances()


def test_a_match_waits_for_the_date_that_captures_the_last_of_its_lines() -> None:
    after_cut = trade(3, 5_000, business_date=NEXT)
    days = Days(*SALES[:2], after_cut)
    first = days.close(file([row(35_000)]))
    assert (first.exit_code, first.totals["summed"]) == (0, 0), first.breaks
    assert (first.totals["carried_records"], first.totals["carried_rows"]) == (2, 1)
    assert days.members() == []
    second = days.close(file([], NEXT), day=NEXT)
    assert (second.exit_code, second.totals["summed"]) == (0, 1), second.breaks
    assert [one.member for one in days.members(NEXT)] == ["c1", "c2", "c3", row_id(1)]
    assert "merchant_held" not in days.balances()


def test_decisions_come_out_the_same_whatever_was_closed_since() -> None:
    days = Days(*SALES[:2], trade(3, 5_000, business_date=NEXT), trade(4, 100, terminal="2"))
    split = [row(40, "621500000004", terminal="2"), row(60, "621500000004", terminal="2")]
    assert days.close(file([row(35_000, fee=999), *split])).totals["summed"] == 1
    assert days.close(file([], NEXT), day=NEXT).totals["summed"] == 1
    for day in (DAY, NEXT):
        decided = asyncio.run(again(MemoryEvidence(days.store, day), day))
        assert [one.finding for one in decided] == [None] * len(AGAIN), day


def test_a_run_that_goes_on_reads_the_members_from_the_store() -> None:
    whole, halves = Days(*SALES), Days(*SALES)
    files = [file([row(35_000, fee=999)])]
    expected = whole.close(*files)
    killed = KilledAt("after reconcile")
    halves.store = killed.store(halves.store)
    with pytest.raises(Killed):
        halves.close(*files)
    assert halves.close().to_json() == expected.to_json()
    assert halves.sink.files == whole.sink.files


@pytest.mark.parametrize("seed", sampled(range(6), lambda seed: seed < 2))
def test_order_split_files_and_files_sent_twice_change_nothing(seed: int) -> None:
    """A whole day of matches of every rule, and what matches nothing."""
    chance = random.Random(seed)
    trades, rows = a_day(chance)
    first = Days(*trades).close(file(rows))
    assert first.exit_code in (0, 1), first.message
    mixed = Days(*chance.sample(trades, len(trades)))
    shuffled = chance.sample(rows, len(rows))
    half = chance.randrange(len(rows) + 1)
    files = [file(shuffled[:half]), file(shuffled[half:], sequence=2)]
    second = mixed.close(*files)
    told = {k: v for k, v in first.totals.items() if "files" not in k and "bytes" not in k}
    assert {k: second.totals[k] for k in told} == told, second.message
    assert shapes(second) == shapes(first)
    assert mixed.close(*files).exit_code == second.exit_code, "sent again"
    used = [one.member for one in mixed.members()]
    assert len(set(used)) == len(used)
    matches = asyncio.run(mixed.store.matches(DAY))
    settled = [side for one in matches for side in (one.record, one.row) if side]
    assert len(set(settled)) == len(settled)
    assert set(used) <= set(settled)
    broken = [side for one in second.breaks for side in (one.record, one.row) if side]
    left = {f"c{one.request_id}" for one in trades} | {
        row_id(line, sequence)
        for sequence, part in enumerate((shuffled[:half], shuffled[half:]), 1)
        for line in range(1, len(part) + 1)
    }
    assert set(settled) | set(broken) == left, "matched and open are both sides"


def a_day(chance: random.Random) -> tuple[list[Transaction], list[Row]]:
    trades, rows = [], []
    for number in range(1, 25):
        terminal = f"T{number % 7}"
        one = trade(number, 100 * chance.randint(2, 60), terminal=terminal)
        trades.append(one)
        if number % 7 == 0:  # of the day's total of this terminal
            continue
        assert one.rrn is not None
        part = 100 if chance.random() < 0.5 else 0
        amounts = [one.amount_minor - part, part] if part else [one.amount_minor]
        named = [row(each, one.rrn, terminal=terminal) for each in amounts]
        rows += named[: chance.choice((0, 1, 2, 2, 2))]
    total = sum(one.amount_minor for one in trades if one.terminal == "T0")
    rows.append(row(total + chance.choice((0, 0, 1)), terminal="T0"))
    return trades, rows


def shapes(result: CloseResult) -> Counter[tuple[Any, ...]]:
    """Breaks without the names of files and lines."""
    return Counter(
        (one.break_class, one.record, one.keys.get("rrn"), one.difference_minor, one.merchant)
        for one in result.breaks
    )


def test_a_case_and_the_reports_show_every_line_of_the_match() -> None:
    days = Days(*SALES)
    (one,) = days.close(file([row(35_000, fee=999)])).breaks
    casework = MemoryCasework(days.store, days.dates)

    async def shown() -> dict[str, Any]:
        case = await work.case(casework, one.id)
        return told.whole_case(case, NEXT, [], await casework.match_of(case.facts.found))

    match = [("ours", f"c{n}") for n in (1, 2, 3)] + [("theirs", row_id(1))]
    assert asyncio.run(shown())["match"] == [
        {"rule": "day-total/1", "side": side, "line": line} for side, line in match
    ]
    text = days.sink.files[f"{DAY}/sums.csv"].decode()
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [(line["side"], line["line"]) for line in lines] == match
    assert [line["amount_minor"] for line in lines] == ["10000", "20000", "5000", "35000"]
    page = days.sink.files[f"{DAY}/report.html"].decode()
    assert page.count("day-total/1") >= len(match)


def test_both_stores_come_to_the_same(database_dsn: FreshDatabase) -> None:
    drawn = [*SALES[:2], trade(3, 5_000, business_date=NEXT), trade(4, 100, terminal="2")]
    seen = datetime(2026, 8, 4, tzinfo=UTC)  # before the close: it is known what follows
    trades = [msgspec.structs.replace(one, received_at=seen) for one in drawn]
    split = [row(40, "621500000004", terminal="2"), row(60, "621500000004", terminal="2")]
    files = {DAY: file([row(35_000, fee=999), *split]), NEXT: file([], NEXT)}
    here = Days(*trades)
    expected = [here.close(each, day=day) for day, each in files.items()]

    async def scenario() -> None:
        await publish(database_dsn.owner, trades, captures_of(trades), LINKS)
        async with open_postgres(database_dsn.app) as (store, dates):
            sink = Sink()
            for (day, (name, data)), made in zip(files.items(), expected, strict=True):
                at = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
                inbox = Inbox({(ACQUIRER, name): data})
                done = await run_close(store, inbox, day=day, dates=dates, sink=sink, at=at)
                assert done.to_json() == made.to_json()
                assert await store.members(day) == await here.store.members(day)
            assert sink.files == here.sink.files
            for day in files:
                decided = await again(PostgresEvidence(store.pool, day), day)
                assert [one.finding for one in decided] == [None] * len(AGAIN), day

    asyncio.run(scenario())
