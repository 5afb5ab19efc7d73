"""The day's end: P5, killed at every boundary, waiting, versions, and what the next day resolves."""

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from settlement import ports
from settlement.adapters.files import DirectoryInbox
from settlement.adapters.ledger_memory import MemoryStored
from settlement.adapters.memory import MemoryStore
from settlement.cases import MATCH_CLASSES
from settlement.clearing import Capture, Transaction
from settlement.close import CloseResult
from settlement.disputes.day_end import DISPUTES
from settlement.ledger_verify import Unwatched, verify
from settlement.ports import STEPS, Facts, Step
from settlement.posting import assert_conserved, posted_totals_of
from tests.depth import examples, sampled
from tests.settlement.oracle import totals_of
from tests.settlement.world import (
    ACQUIRER,
    AT,
    DAY,
    NEXT,
    PAN,
    PANS,
    REFERENCES,
    Dates,
    Inbox,
    Sink,
    billed,
    captures_of,
    com_file,
    inbox,
    reference,
    run_close,
    trade,
    world,
)


def a_day() -> tuple[list[Transaction], list[dict[str, Any]]]:
    """Sales, a void, a part refund, a reversal, a decline; a file with one break of each kind."""
    sales = [trade(n, 1_000 * n) for n in range(1, 11)]
    void = trade(11, 1_000, type="void", processing_code="200000", original_request_id=1)
    refund = trade(
        12, 500, type="refund", mti="0220", processing_code="200000", original_request_id=2
    )
    gone = [trade(13, state="reversed"), trade(14, state="declined", approved_amount_minor=None)]
    rows = [billed(one) for one in (*sales, void, refund)]
    del rows[4]  # request 5: missing
    rows[4]["amount"] = 6_100  # request 6
    rows += [billed(sales[6]), billed(trade(99, 700)), billed(gone[0])]
    return [*sales, void, refund, *gone], rows


PLANTED = {
    "network_short": 1,
    "amount_mismatch": 1,
    "duplicate": 1,
    "network_long": 1,
    "status_mismatch": 1,
}


def close_a_day(store: MemoryStore | None = None, **options: Any) -> tuple[CloseResult, Sink]:
    trades, rows = a_day()
    sink = options.pop("sink", None) or Sink()
    files = options.pop("files", None) or inbox(com_file(rows))
    return asyncio.run(run_close(store or world(trades), files, sink=sink, **options)), sink


def test_a_day_closes_and_finds_exactly_what_is_planted() -> None:
    result, sink = close_a_day()
    assert result.exit_code == 1
    assert [step.state for step in result.steps] == ["done"] * len(STEPS)
    assert Counter(one.break_class for one in result.breaks) == Counter(PLANTED)
    assert sum(line.balance_minor for line in result.trial_balance) == 0
    (net,) = result.nets
    assert (net.gross_minor, net.taken_back_minor) == (55_000, -1_500)
    assert net.held_minor == 5_000 - 25
    assert net.net_minor == 55_000 - 1_500 - net.discount_minor - net.held_minor
    assert sorted(sink.files) == sorted(output.name for output in result.files)


def test_json_is_what_scripts_were_promised() -> None:
    result, _ = close_a_day()
    told = json.loads(result.to_json())
    assert {"steps", "totals", "breaks", "nets", "trial_balance"} <= told.keys()
    one = told["breaks"][0]
    assert {"class", "keys", "ours_minor", "theirs_minor"} <= one.keys()
    assert told["business_date"] == "2026-08-03"


@pytest.mark.parametrize("moment", ["after fees", "after post"])
def test_the_receivable_is_what_the_file_says(moment: str) -> None:
    """Asserted before the entries are written and when they are read back: a row that reached the
    ledger with another amount than its file's is a failure, and the date stays unlocked."""
    trades, rows = a_day()
    dates, files = Dates({DAY: "open"}), inbox(com_file(rows))
    store = KilledAt(moment).store(world(trades))
    with pytest.raises(Killed):
        asyncio.run(run_close(store, files, dates=dates))
    matched_rows = store.matched_rows

    async def other_amounts(business_date: Any) -> list[Any]:
        found = await matched_rows(business_date)
        return [msgspec.structs.replace(row, amount_minor=row.amount_minor + 1) for row in found]

    store.matched_rows = other_amounts  # type: ignore[method-assign]
    result = asyncio.run(run_close(store, files, dates=dates))
    assert (result.exit_code, "(booked, filed)" in result.message) == (4, True)
    assert ("post" in asyncio.run(store.steps(DAY))) == (moment == "after post")
    assert dates.states[DAY] == "frozen"


def test_an_agreeing_day_ends_with_0_and_a_day_without_transactions_too() -> None:
    sale = trade(1)
    assert asyncio.run(run_close(world([sale]), inbox(com_file([billed(sale)])))).exit_code == 0
    empty = asyncio.run(run_close(world([]), inbox(com_file([]))))
    assert (empty.exit_code, empty.breaks, empty.nets, empty.trial_balance) == (0, [], [], [])


def test_currencies_are_totalled_apart() -> None:
    home, abroad = trade(1), trade(2, 500, currency="344", acquirer="bank-b")
    links = [
        reference("link", "bank-b", {"acquirer": "bank-b", "currency": "344"}),
        *REFERENCES,
    ]
    files = inbox(com_file([billed(home)]))
    name, data = com_file([billed(abroad)])
    files.files["bank-b", name] = data
    result = asyncio.run(run_close(world([home, abroad], links), files))
    assert (result.exit_code, result.totals["matched"]) == (0, 2)
    captured = {k: v for k, v in result.totals.items() if k.startswith("captured_")}
    assert captured == {"captured_minor": 10_000, "captured_minor_344": 500}
    assert result.totals["net_minor_344"] == 500 - result.totals["discount_minor_344"]
    assert {line.currency for line in result.trial_balance} == {"156", "344"}


def test_p5_is_asserted_and_its_breach_is_a_failure() -> None:
    store = world([trade(1)])

    async def captured_totals(_: Any) -> list[Any]:
        return []

    store.captured_totals = captured_totals  # type: ignore[assignment]
    dates = Dates({DAY: "open"})
    result = asyncio.run(run_close(store, inbox(com_file([])), dates=dates))
    assert result.exit_code == 4
    assert "P5" in result.message
    assert [step.state for step in result.steps if step.name == "post"] == ["failed"]
    assert asyncio.run(dates.state(DAY)) == "frozen"


@pytest.mark.parametrize("bulk_from", [1, ports.BULK_FROM])
def test_files_are_taken_in_while_the_freeze_is_written(
    bulk_from: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "BULK_FROM", bulk_from)
    trades, rows = a_day()
    undisturbed = asyncio.run(run_close(world(trades), inbox(com_file(rows))))
    store, taken, recorded = world(trades), asyncio.Event(), list[str]()
    finish, take_in = store.finish, store.take_in

    async def late_finish(step: Step, facts: Facts) -> bool:
        if step.name == "freeze":
            await asyncio.wait_for(taken.wait(), 60)
        recorded.append(step.name)
        return await finish(step, facts)

    async def told_take_in(*values: Any) -> None:
        await take_in(*values)
        taken.set()

    store.finish = late_finish  # type: ignore[method-assign]
    store.take_in = told_take_in  # type: ignore[method-assign,assignment]
    result = asyncio.run(run_close(store, inbox(com_file(rows))))
    assert [name for name in recorded if name in STEPS] == list(STEPS)
    assert result == undisturbed


def test_a_freeze_that_is_not_written_stops_what_began_beside_it() -> None:
    trades, rows = a_day()
    undisturbed = asyncio.run(run_close(world(trades), inbox(com_file(rows))))
    store, files, dates = world(trades), inbox(com_file(rows)), Dates({DAY: "open"})
    finish = store.finish

    async def failing_finish(step: Step, facts: Facts) -> bool:
        if step.name == "freeze":
            raise AssertionError("no room")
        return await finish(step, facts)

    store.finish = failing_finish  # type: ignore[method-assign]
    failed = asyncio.run(run_close(store, files, dates=dates))
    assert (failed.exit_code, failed.message) == (4, "AssertionError: no room")
    assert [step.state for step in failed.steps[:3]] == ["done", "failed", "pending"]
    assert list(asyncio.run(store.steps(DAY))) == ["cut"]
    store.finish = finish  # type: ignore[method-assign]
    assert asyncio.run(run_close(store, files, dates=dates)) == undisturbed


def test_p5_after_the_day_by_every_dimension() -> None:
    trades, rows = a_day()
    store = world(trades)
    asyncio.run(run_close(store, inbox(com_file(rows))))

    async def check() -> None:
        assert_conserved(
            DAY,
            ("captures", await store.captured_totals(DAY)),
            ("records", totals_of(await store.records(DAY))),
            ("postings", await store.posted_totals(DAY)),
            ("postings, summed here", posted_totals_of(await store.entries(DAY))),
        )
        verified = await verify(MemoryStored(store.ledger), Unwatched())
        assert verified.findings == []
        assert (verified.dates, verified.open_entries) == (1, 0)

    asyncio.run(check())


# -- killed and run again ---------------------------------------------------------------------


class Killed(BaseException):
    """As abrupt as a test can be: nothing below catches it."""


class KilledAt:
    """Kills the run before or after the commit of one step, or before a file is written."""

    def __init__(self, moment: str) -> None:
        self.moment = moment

    def store(self, inner: MemoryStore) -> MemoryStore:
        finish, take_in = inner.finish, inner.take_in

        async def killing_finish(step: Step, facts: Facts) -> bool:
            self.at(f"before {step.name}")
            stored = await finish(step, facts)
            self.at(f"after {step.name}")
            return stored

        async def killing_take_in(*values: Any) -> None:
            self.at("before take_in")
            await take_in(*values)
            self.at("after take_in")

        inner.finish = killing_finish  # type: ignore[method-assign]
        inner.take_in = killing_take_in  # type: ignore[assignment]
        return inner

    def sink(self, inner: Sink) -> Sink:
        write = inner.write
        written = iter(range(99))

        def killing_write(name: str, data: bytes) -> None:
            number = next(written)
            self.at(f"before file {number}")
            write(name, data)
            self.at(f"after file {number}")

        inner.write = killing_write  # type: ignore[method-assign]
        return inner

    def dates(self, inner: Dates) -> Dates:
        mark_posted, cut_over = inner.mark_posted, inner.cut_over

        async def killing_mark(day: Any) -> None:
            self.at("before mark_posted")
            await mark_posted(day)
            self.at("after mark_posted")

        async def killing_cut(day: Any) -> None:
            await cut_over(day)
            self.at("after cut_over")

        inner.mark_posted = killing_mark  # type: ignore[assignment]
        inner.cut_over = killing_cut  # type: ignore[assignment]
        return inner

    def at(self, moment: str) -> None:
        if moment == self.moment:
            self.moment = ""
            raise Killed(moment)


FILES = [f"file {number}" for number in range(5)]
ORDER = (
    *("cut_over", "cut", "freeze", "take_in", "intake", DISPUTES, "reconcile", "fees", "post"),
    *("mark_posted", "net", *FILES, "reports"),
)
MOMENTS = [f"{when} {what}" for what in ORDER for when in ("before", "after")][1:]
assert {*STEPS} < {*ORDER}  # and what is written beside their ends


BESIDE = {"before take_in", "after take_in"}  # the freeze that is written meanwhile
ALONE = {"after freeze", "before post", "after mark_posted", "after file 0", *BESIDE}


@cache
def undisturbed() -> tuple[CloseResult, Sink]:
    return close_a_day()


@pytest.mark.parametrize("moment", sampled(MOMENTS, lambda moment: moment in ALONE))
def test_killed_anywhere_and_run_again_gives_the_same_bytes(moment: str) -> None:
    """Some moments alone; every one in `make test-deep`, and one after the other below."""
    killed_and_run_again([moment])


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_again_and_again_gives_the_same_bytes(when: str) -> None:
    """Every moment: each run comes as far as the next one."""
    moments = [one for one in MOMENTS if one.startswith(when) and one not in BESIDE]
    killed_and_run_again(moments)


def killed_and_run_again(moments: Sequence[str]) -> None:
    expected, expected_sink = undisturbed()
    trades, rows = a_day()
    killer = KilledAt("")
    store, sink = killer.store(world(trades)), killer.sink(Sink())
    dates, files = killer.dates(Dates({DAY: "open"})), inbox(com_file(rows))
    for moment in moments:
        killer.moment = moment
        with pytest.raises(Killed, match=moment):
            asyncio.run(run_close(store, files, dates=dates, sink=sink))
    later = AT + timedelta(hours=7)
    again = asyncio.run(run_close(store, files, dates=dates, sink=sink, at=later))
    assert again.to_json() == expected.to_json()
    assert sink.files == expected_sink.files
    assert (dates.states[DAY], dates.states[NEXT]) == ("posted", "open")
    assert files.files == {}
    third = asyncio.run(run_close(store, files, dates=dates, sink=sink, at=later))
    assert third.to_json() == expected.to_json()


def test_reports_that_are_gone_are_written_again_as_they_were() -> None:
    """G: the date is done, its files are not there, or were changed by hand."""
    trades, rows = a_day()
    store, dates, sink = world(trades), Dates({DAY: "open"}), Sink()
    asyncio.run(run_close(store, inbox(com_file(rows)), dates=dates, sink=sink))
    expected = dict(sink.files)
    gone, changed, *_ = sorted(expected)
    del sink.files[gone]
    sink.files[changed] = b""
    written: list[str] = []

    def write(name: str, data: bytes) -> None:
        written.append(name)
        sink.files[name] = data

    sink.write = write  # type: ignore[method-assign]
    asyncio.run(run_close(store, inbox(), dates=dates, sink=sink))
    assert (sink.files, sorted(written)) == (expected, [gone, changed])


def test_two_machines_write_the_same_bytes() -> None:
    one, other = close_a_day()[1], close_a_day()[1]
    assert one.files == other.files


# -- waiting ----------------------------------------------------------------------------------


def test_a_missing_file_makes_the_day_wait_and_is_not_an_empty_one() -> None:
    sale = trade(1)
    store, dates, files = world([sale]), Dates({DAY: "open"}), Inbox()
    result = asyncio.run(run_close(store, files, dates=dates))
    assert (result.exit_code, result.breaks) == (3, [])
    assert "bank-a of 2026-08-03" in result.message
    assert [step.state for step in result.steps][:4] == ["done", "done", "waiting", "pending"]
    name, data = com_file([billed(sale)])
    files.files[ACQUIRER, name] = data
    assert asyncio.run(run_close(store, files, dates=dates)).exit_code == 0
    assert dates.calls.count("cut_over") == 1


def test_undecided_requests_make_the_day_wait() -> None:
    dates = Dates({DAY: "open"}, undecided=2)
    store = world([trade(1)])
    result = asyncio.run(run_close(store, inbox(com_file([])), dates=dates))
    assert result.exit_code == 3
    assert "2 requests" in result.message
    assert "tongbao serve" in result.message
    dates.undecided = 0
    again = asyncio.run(run_close(store, inbox(com_file([billed(trade(1))])), dates=dates))
    assert again.exit_code == 0


def test_dates_close_in_order_and_only_dates_that_exist() -> None:
    dates = Dates({DAY: "cut", NEXT: "open"})
    result = asyncio.run(run_close(world([]), Inbox(), day=NEXT, dates=dates))
    assert (result.exit_code, "2026-08-03" in result.message) == (3, True)
    unknown = asyncio.run(run_close(world([]), Inbox(), day=NEXT, dates=Dates({DAY: "open"})))
    assert unknown.exit_code == 2


def test_a_bad_file_of_a_killed_run_is_kept_beside_what_came_since(tmp_path: Path) -> None:
    sale = trade(1)
    name, good = com_file([billed(sale)])
    bad = good[:30] + b"!" + good[31:]
    folder = tmp_path / ACQUIRER
    folder.mkdir()
    (folder / f".{name}.taken").write_bytes(bad)
    (folder / name).write_bytes(good)
    store, dates, files = world([sale]), Dates({DAY: "open"}), DirectoryInbox(tmp_path)
    refused = asyncio.run(run_close(store, files, dates=dates))
    kept = f"{name}.{hashlib.sha256(bad).hexdigest()[:16]}.refused"
    assert refused.exit_code == 2
    assert f"what was refused is kept as {kept}, {name} is the later one" in refused.message
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {name: good, kept: bad}
    done = asyncio.run(run_close(store, files, dates=dates))
    assert (done.exit_code, done.message) == (0, "")
    assert [path.name for path in folder.iterdir()] == [kept]


def test_a_bad_file_fails_whole_and_stays() -> None:
    sale = trade(1)
    name, data = com_file([billed(sale), billed(sale)])
    files = inbox((name, data[:330] + b"!" + data[331:]))
    store, dates = world([sale]), Dates({DAY: "open"})
    result = asyncio.run(run_close(store, files, dates=dates))
    assert result.exit_code == 2
    assert [one.state for one in result.steps][:3] == ["done", "done", "failed"]
    assert f"{name}: line 2, column" in result.message
    assert f"{name}:第 2 行" in result.told(chinese=True)
    assert asyncio.run(store.files(ACQUIRER)) == []
    assert files.names(ACQUIRER) == [name]


def test_reference_data_that_is_named_but_not_in_force_makes_the_day_wait() -> None:
    sale = trade(1)
    for references, expected in (
        (REFERENCES[:3], f"merchant {sale.merchant} is not in force on {DAY}"),
        (
            [*REFERENCES[:3], reference("merchant", sale.merchant, {"fee_plan": "tea"})],
            f"fee plan tea is not in force on {DAY}",
        ),
    ):
        result = asyncio.run(run_close(world([sale], references), inbox(com_file([billed(sale)]))))
        assert (result.exit_code, result.message) == (3, expected)
        assert result.steps[1].state == "waiting"


# -- the same file again, and other content under its name -------------------------------------


def test_the_same_file_again_changes_nothing() -> None:
    trades, rows = a_day()
    store, dates, sink = world(trades), Dates({DAY: "open"}), Sink()
    name, data = com_file(rows)
    first = asyncio.run(run_close(store, inbox((name, data)), dates=dates, sink=sink))
    again = inbox((name, data), (com_file([], sequence=2)[0], data))
    second = asyncio.run(run_close(store, again, dates=dates, sink=sink))
    assert second.to_json() == first.to_json()
    assert again.files == {}, "a plaintext was left behind"
    assert len(asyncio.run(store.files(ACQUIRER))) == 1


def test_other_content_under_the_name_is_held_with_one_case() -> None:
    """On the first date whose books are open; nothing in clear stays, nothing is added to a
    posted date, and looking again opens no second case."""
    sale = trade(1)
    store, dates, sink = world([sale]), Dates({DAY: "open"}), Sink()
    first = asyncio.run(run_close(store, inbox(com_file([billed(sale)])), dates=dates, sink=sink))
    other = com_file([billed(sale, amount=1)])
    for _ in range(2):
        files = inbox(other)
        result = asyncio.run(run_close(store, files, dates=dates, sink=sink))
        assert result.to_json() == first.to_json()
        assert files.files == {}, "a plaintext was left behind"
    (kept,) = asyncio.run(store.files(ACQUIRER))
    assert kept.version == 1
    (held,) = asyncio.run(store.held(ACQUIRER))
    assert PANS.open(held.sealed, f"{ACQUIRER}/{held.name}/{held.sha256.hex()}") == other[1]
    files = inbox(com_file([], NEXT), other)
    second = asyncio.run(run_close(store, files, day=NEXT, dates=dates, sink=sink))
    assert second.exit_code == 1
    assert [one.break_class for one in second.breaks] == ["file_changed"]
    assert files.files == {}


def test_a_version_whose_predecessor_is_in_the_books_is_not_taken_in() -> None:
    """C: approved after the close; version 1's rows stand in matches and are billed no second
    time, nor can they be hidden."""
    trades = [trade(1), trade(2, 2_000)]
    days = TwoDays(*trades)
    assert days.close(DAY, *(billed(one) for one in trades)).exit_code == 0
    other = com_file([billed(trade(9, 7_777)), billed(trades[0]), billed(trade(2, 3_000))])
    approved = [hashlib.sha256(other[1]).hexdigest()]
    files = inbox(other, com_file([], NEXT))

    def close_next(approved: list[str]) -> CloseResult:
        return asyncio.run(
            run_close(days.store, files, day=NEXT, dates=days.dates, approved=approved)
        )

    refused = close_next(approved)
    assert (refused.exit_code, "in the books" in refused.message) == (2, True)
    assert files.files == {}, "sealed and held all the same"
    second = close_next([])
    assert [one.break_class for one in second.breaks] == ["file_changed"]
    assert (second.exit_code, files.files) == (1, {})
    assert {file.version for file in asyncio.run(days.store.files(ACQUIRER))} == {1}


def test_a_held_version_is_taken_in_by_approval_and_ends_its_case() -> None:
    sale, second_bank = trade(1), reference("link", "bank-b", {"acquirer": "bank-b"})
    store, dates = world([sale], [*REFERENCES, second_bank]), Dates({DAY: "open"})
    name, data = com_file([billed(sale)])
    for rows, found in (([billed(sale, amount=9_000)], []), ([billed(sale)], ["file_changed"])):
        waits = asyncio.run(run_close(store, inbox(com_file(rows)), dates=dates))
        assert waits.exit_code == 3  # bank-b is missing
        assert [one.break_class for one in waits.breaks] == found
    files = Inbox({("bank-b", name): b""})
    approved = [hashlib.sha256(data).hexdigest()]
    result = asyncio.run(run_close(store, files, dates=dates, approved=approved))
    assert (result.exit_code, result.totals["matched"]) == (0, 1)
    assert [file.version for file in asyncio.run(store.files(ACQUIRER))] == [1, 2]


@pytest.mark.parametrize("days_late", sampled([1, 2, 5], lambda days: days < 5))
def test_a_late_file_is_taken_in_whatever_its_date_with_a_case(days_late: int) -> None:
    """E: a second file of DAY, when DAY is posted."""
    days = TwoDays(trade(1), trade(2))
    first = days.close(DAY, billed(trade(1)))
    assert [one.break_class for one in first.breaks] == ["network_short"]
    for offset in range(1, days_late):
        assert days.close(DAY + timedelta(days=offset)).exit_code == 0
    day = DAY + timedelta(days=days_late)
    files = inbox(com_file([billed(trade(2))], DAY, 2), com_file([], day))
    result = asyncio.run(run_close(days.store, files, day=day, dates=days.dates, sink=days.sink))
    assert [one.break_class for one in result.breaks] == ["file_late"]
    assert (result.totals["matched"], result.totals["resolved"]) == (1, 1)
    assert files.files == {}
    balances = days.balances(days_late + 1)
    assert {account for account, _ in balances} == {account for account, _ in PAID} | {
        "network_receivable"
    }


def test_an_approved_second_version_supersedes_before_the_close() -> None:
    sale, second_bank = trade(1), reference("link", "bank-b", {"acquirer": "bank-b"})
    store, dates = world([sale], [*REFERENCES, second_bank]), Dates({DAY: "open"})
    files = inbox(com_file([billed(sale, amount=9_000)]))
    assert asyncio.run(run_close(store, files, dates=dates)).exit_code == 3  # bank-b is missing
    name, data = com_file([billed(sale)])
    files.files[ACQUIRER, name] = data
    approved = [hashlib.sha256(data).hexdigest()]
    asyncio.run(run_close(store, files, dates=dates, approved=approved))
    files.files["bank-b", name] = b""
    result = asyncio.run(run_close(store, files, dates=dates))
    assert (result.exit_code, result.totals["matched"]) == (0, 1)
    assert [file.version for file in asyncio.run(store.files(ACQUIRER))] == [1, 2]


def test_files_are_sealed_and_nothing_keeps_a_pan() -> None:
    trades, rows = a_day()
    store, sink = world(trades), Sink()
    name, data = com_file(rows)
    result = asyncio.run(run_close(store, inbox((name, data)), sink=sink))
    sealed = asyncio.run(store.sealed(ACQUIRER, name, 1))
    assert PANS.open(sealed, f"{ACQUIRER}/{name}/1") == data
    everything = repr(vars(store)) + result.to_json().decode()
    assert PAN not in everything
    assert not any(PAN.encode() in content for content in sink.files.values())


# -- fees -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payable", "booked", "excess", "suspense"),
    [
        (35, 35, 0, None),
        (36, 36, 0, None),  # within tolerance: the file's
        (33, 33, 0, None),
        (60, 35, 25, "short_suspense"),
        (10, 35, -25, "long_suspense"),
        (None, 35, 0, None),  # not stated
    ],
)
def test_the_files_fee_is_booked_within_tolerance(
    payable: int | None, booked: int, excess: int, suspense: str | None
) -> None:
    sale = trade(1)
    receivable = None if payable is None else 0
    row = billed(sale, fee_payable=payable, fee_receivable=receivable)
    result = asyncio.run(run_close(world([sale]), inbox(com_file([row]))))
    balances = {line.account: line.balance_minor for line in result.trial_balance}
    assert balances["issuer_fee"] == booked
    assert [one.break_class for one in result.breaks] == (["fee_mismatch"] if excess else [])
    if suspense:
        assert balances[suspense] == excess
        assert result.breaks[0].theirs_minor == 35 + 3 + excess
    paid = 35 if payable is None else payable
    assert balances["network_receivable"] == 10_000 - paid - 3


def test_the_fee_of_a_row_with_another_amount_may_be_of_either_amount() -> None:
    sale = trade(1)
    for fee in (35, 70):
        row = billed(sale, amount=20_000, fee_payable=fee, switching_fee=-3 * fee // 35)
        result = asyncio.run(run_close(world([sale]), inbox(com_file([row]))))
        assert [one.break_class for one in result.breaks] == ["amount_mismatch"]


def test_fees_beyond_the_bound_wait_for_a_second_person() -> None:
    sale = trade(1)
    name, data = com_file([billed(sale, fee_payable=9_999)])
    store, dates = world([sale]), Dates({DAY: "open"})
    waits = asyncio.run(run_close(store, inbox((name, data)), dates=dates))
    assert (waits.exit_code, "second person" in waits.message) == (3, True)
    approved = [waits.message.rsplit(" ", 1)[1]]
    done = asyncio.run(run_close(store, inbox((name, data)), dates=dates, approved=approved))
    assert done.exit_code == 1


# -- the next day -----------------------------------------------------------------------------


class TwoDays:
    """Two dates on one store."""

    def __init__(self, *trades: Transaction, captures: list[Capture] | None = None) -> None:
        self.store = world(trades)
        if captures is not None:
            self.store.captured = captures
        self.dates, self.sink = Dates({DAY: "open"}), Sink()

    def close(
        self, day: Any, *rows: dict[str, Any], early: list[dict[str, Any]] | None = None
    ) -> CloseResult:
        """`early`: rows of the next date's file, which is here already."""
        at = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
        files = inbox(com_file(rows, day))
        if early is not None:
            name, data = com_file(early, day + timedelta(days=1))
            files.files[ACQUIRER, name] = data
        return self.close_with(day, files, at)

    def close_with(self, day: Any, files: Inbox, at: datetime = AT) -> CloseResult:
        return asyncio.run(
            run_close(self.store, files, day=day, dates=self.dates, sink=self.sink, at=at)
        )

    def balances(self, days: int = 2) -> Counter[tuple[str, str]]:
        sums: Counter[tuple[str, str]] = Counter()
        for number in range(days):
            for line in asyncio.run(self.store.movements(DAY + timedelta(days=number))):
                sums[line.account, line.owner] += line.amount_minor
        return Counter({key: amount for key, amount in sums.items() if amount})


SALE = trade(1)
RECEIVABLE, RECEIVABLE_NEXT = f"{ACQUIRER}/{DAY}", f"{ACQUIRER}/{NEXT}"
PAID = {
    ("merchant_payable", SALE.merchant): -9_950,
    ("merchant_discount", ""): -50,
    ("issuer_fee", ""): 35,
    ("network_fee", ""): 3,
}


def test_a_short_that_the_next_file_has_is_resolved_and_paid() -> None:
    days = TwoDays(SALE)
    first = days.close(DAY)
    assert [one.break_class for one in first.breaks] == ["network_short"]
    assert (first.nets[0].held_minor, first.nets[0].net_minor) == (9_950, 0)
    second = days.close(NEXT, billed(SALE))
    assert (second.exit_code, second.totals["resolved"], second.totals["cutoff_shift"]) == (0, 1, 1)
    assert days.close(DAY).exit_code == 0, "nothing of it is open any more"
    assert second.nets[0].net_minor == 9_950
    assert days.balances() == {**PAID, ("network_receivable", RECEIVABLE_NEXT): 9_962}


def test_a_record_that_settles_tomorrow_waits_without_a_break() -> None:
    days = TwoDays(trade(1, settlement_date=NEXT), trade(2))
    first = days.close(DAY, billed(trade(2)))
    assert (first.exit_code, first.totals["carried_records"]) == (0, 1)
    assert days.close(NEXT, billed(SALE)).totals["matched"] == 1


def test_a_date_that_settles_tomorrow_altogether_closes_on_tomorrows_file() -> None:
    """Trading after the network's 23:00: our date, its next; breaks are found as on any day."""
    late = [trade(n, settlement_date=NEXT, transmission_time="0803233000") for n in (1, 2)]
    days = TwoDays(*late)
    assert days.close(DAY).exit_code == 3, "the file of DAY is not what these settle in"
    extra = trade(9, settlement_date=NEXT, transmission_time="0803233100")
    files = inbox(com_file([billed(late[0]), billed(extra)], NEXT))
    result = asyncio.run(run_close(days.store, files, dates=days.dates, sink=days.sink))
    assert [one.break_class for one in result.breaks] == ["network_long", "network_short"]
    assert result.totals["matched"] == 1


def test_a_date_that_nobody_cut_for_days_is_matched_file_by_file() -> None:
    far = DAY + timedelta(days=4)
    days = TwoDays(trade(1), trade(2, settlement_date=far, transmission_time="0807101500"))
    assert days.close(DAY, billed(trade(1))).totals["carried_records"] == 1
    for offset in (1, 2, 3):
        assert days.close(DAY + timedelta(days=offset)).exit_code == 0
    last = days.close(far, billed(trade(2), transmission_time="0807101500"))
    assert (last.exit_code, last.totals["matched"]) == (0, 1)


def test_a_row_ahead_of_our_date_waits_for_it() -> None:
    tomorrow = trade(1, business_date=NEXT, settlement_date=DAY)
    days = TwoDays(tomorrow)
    first = days.close(DAY, billed(tomorrow))
    assert (first.exit_code, first.totals["carried_rows"]) == (0, 1)
    assert days.close(NEXT).totals["matched"] == 1
    assert days.balances() == {**PAID, ("network_receivable", RECEIVABLE): 9_962}


def test_a_long_whose_approval_comes_tomorrow_is_resolved() -> None:
    pending = trade(1, 4_000, type="refund", state="pending", processing_code="200000")
    days = TwoDays(pending)
    row = billed(pending)
    assert [one.break_class for one in days.close(DAY, row).breaks] == ["network_long"]
    approved = trade(1, 4_000, type="refund", processing_code="200000", settlement_date=DAY)
    days.store.requests = [approved]
    days.store.captured = [
        Capture(**{**to_dict(one), "business_date": NEXT}) for one in captures_of([approved])
    ]
    second = days.close(NEXT)
    assert (second.exit_code, second.totals["resolved"], second.totals["matched"]) == (0, 1, 1)
    assert {account for account, _ in days.balances()} == {
        "network_receivable",
        "merchant_payable",
        "merchant_discount",
        "issuer_fee",
        "network_fee",
    }


def to_dict(one: Capture) -> dict[str, Any]:
    return {name: getattr(one, name) for name in Capture.__struct_fields__}


def reversed_after_the_freeze() -> TwoDays:
    days = TwoDays(SALE)
    days.store.captured.append(
        Capture(
            **{
                **to_dict(days.store.captured[0]),
                "capture_id": 1001,
                "business_date": NEXT,
                "settlement_date": NEXT,
                "effect_minor": -10_000,
                "original_request_id": 1,
            }
        )
    )
    return days


def test_a_reversal_after_the_freeze_meets_the_files_own() -> None:
    days = reversed_after_the_freeze()
    assert days.close(DAY, billed(SALE)).exit_code == 0
    reversal = billed(
        SALE,
        mti="0420",
        stan=900,
        original_stan=SALE.link_stan,
        original_time=SALE.transmission_time,
        fee_payable=0,
        fee_receivable=35,
        switching_fee=3,
    )
    second = days.close(NEXT, reversal)
    assert (second.exit_code, second.totals["matched"]) == (0, 1)
    assert days.balances() == {
        ("network_receivable", RECEIVABLE): 9_962,
        ("network_receivable", RECEIVABLE_NEXT): -9_962,
    }


def test_a_reversal_after_the_freeze_of_what_no_file_has_cancels_out() -> None:
    days = reversed_after_the_freeze()
    assert days.close(DAY).exit_code == 1
    second = days.close(NEXT)
    assert (second.exit_code, second.totals["resolved"]) == (0, 1)
    assert days.balances() == {}


# -- two days, a scenario a line ----------------------------------------------------------------

AFTER = NEXT + timedelta(days=1)
LATE = trade(1, settlement_date=NEXT, transmission_time="0803231000")
LATE_VOID = trade(
    2,
    type="void",
    processing_code="200000",
    original_request_id=1,
    settlement_date=NEXT,
    transmission_time="0803232000",
)

# Makes the file of DAY due whatever else settles; no file ever has them.
DROPPED = [
    trade(8),
    trade(9, type="void", processing_code="200000", original_request_id=8),
]


def reversal_of(one: Transaction, **changes: Any) -> dict[str, Any]:
    """The network's row of a reversal; it gives the fees of 100.00 back."""
    return billed(
        one,
        mti="0420",
        stan=900,
        original_stan=one.link_stan,
        original_time=one.transmission_time,
        **{"fee_payable": 0, "fee_receivable": 35, "switching_fee": 3, **changes},
    )


def opposite_of(one: Transaction) -> Capture:
    """What `switch.capture_v1` shows of a reversal after the freeze: its original's settlement
    date, the date of its own commit."""
    (capture,) = captures_of([one])
    return Capture(
        **{
            **to_dict(capture),
            "capture_id": capture.capture_id + 1000,
            "business_date": NEXT,
            "effect_minor": -capture.effect_minor,
        }
    )


@pytest.mark.parametrize(
    ("trades", "reversed_late", "files", "expected", "left"),
    [
        pytest.param(
            [LATE, LATE_VOID],
            [],
            [[], [billed(LATE), billed(LATE_VOID)]],
            ["carried_records carried_records", "matched matched"],
            {},
            id="A: sale and void settle tomorrow and are billed",
        ),
        pytest.param(
            [LATE, LATE_VOID],
            [],
            [[], []],
            ["carried_records carried_records", "reversed_both reversed_both"],
            {},
            id="A: sale and void settle tomorrow and are left out",
        ),
        pytest.param(
            [LATE],
            [LATE],
            [[], [billed(LATE), reversal_of(LATE)]],
            ["carried_records", "matched matched"],
            {},
            id="B: sale, linked opposite and both their rows in one file",
        ),
        pytest.param(
            [SALE],
            [SALE],
            [[billed(SALE), reversal_of(SALE)], []],
            ["status_mismatch reversed_both", "reversed_both resolved"],
            {},
            id="B2: the file reverses it the day before we do",
        ),
        pytest.param(
            [SALE],
            [SALE],
            [[billed(SALE)], [], [reversal_of(SALE)]],
            ["matched", "carried_records", "cutoff_shift"],
            {("network_receivable", DAY): 9_962, ("network_receivable", AFTER): -9_962},
            id="the reversal settles two days after the sale",
        ),
        pytest.param(
            [SALE],
            [SALE],
            [[billed(SALE)], [], [], [reversal_of(SALE)]],
            ["matched", "carried_records", "network_short", "cutoff_shift resolved"],
            {
                ("network_receivable", DAY): 9_962,
                ("network_receivable", AFTER + timedelta(days=1)): -9_962,
            },
            id="the reversal is delivered after its window",
        ),
        pytest.param(
            [SALE],
            [SALE],
            [[], [billed(SALE), reversal_of(SALE)]],
            ["network_short", "cutoff_shift matched resolved"],
            {},
            id="both rows come a day late, with the opposite",
        ),
        pytest.param(
            [trade(1, state="reversed")],
            [],
            [[billed(SALE), reversal_of(SALE, fee_receivable=0, switching_fee=0)]],
            ["reversed_both reversed_both fee_mismatch"],
            {("network_receivable", DAY): -38, ("short_suspense", None): 38},
            id="H: the network keeps its fee of a reversed pair",
        ),
        pytest.param(
            [trade(1, state="reversed")],
            [],
            [[billed(SALE)], [reversal_of(SALE, fee_receivable=0, switching_fee=0)]],
            ["status_mismatch", "reversed_both fee_mismatch resolved"],
            {
                ("network_receivable", DAY): 9_962,
                ("network_receivable", NEXT): -10_000,
                ("short_suspense", None): 38,
            },
            id="the network keeps its fee of what it takes back later",
        ),
        pytest.param(
            [trade(1, state="reversed")],
            [],
            [[billed(SALE), reversal_of(SALE, amount=1, fee_receivable=0, switching_fee=0)]],
            ["status_mismatch orphan_refund"],
            {
                ("network_receivable", DAY): 9_961,
                ("long_suspense", None): -9_962,
                ("short_suspense", None): 1,
            },
            id="H2: a reversal row of another amount cancels nothing",
        ),
        pytest.param(
            [trade(1, state="declined")],
            [],
            [[], [reversal_of(SALE)], [billed(SALE)]],
            ["", "orphan_refund", "reversed_both reversed_both resolved"],
            {("network_receivable", NEXT): -9_962, ("network_receivable", AFTER): 9_962},
            id="the network's reversal is billed before what it reverses",
        ),
    ],
)
def test_days(
    trades: list[Transaction],
    reversed_late: list[Transaction],
    files: list[list[dict[str, Any]]],
    expected: list[str],
    left: dict[tuple[str, Any], int],
) -> None:
    days = TwoDays(*trades, *DROPPED)
    days.store.captured += [opposite_of(one) for one in reversed_late]
    counted = (*MATCH_CLASSES, "carried_records", "carried_rows", "resolved")
    for number, (rows, classes) in enumerate(zip(files, expected, strict=True)):
        result = days.close(DAY + timedelta(days=number), *rows)
        assert result.exit_code in (0, 1), result.message
        found = Counter({name: result.totals[name] for name in counted})
        if number == 0:
            found["reversed_both"] -= len(DROPPED)
        found.update(one.break_class for one in result.breaks)
        assert +found == Counter(classes.split()), f"day {number + 1}: {result.message}"
    balances = days.balances(len(files))
    expected_left = {
        (account, f"{ACQUIRER}/{day}" if day else ACQUIRER): amount
        for (account, day), amount in left.items()
    }
    earned = {("merchant_payable", SALE.merchant), ("merchant_discount", "")}
    assert {k: v for k, v in balances.items() if k not in earned} == expected_left
    assert not earned & balances.keys(), "the pair gives the merchant nothing"


@st.composite
def three_days(
    draw: st.DrawFn,
) -> tuple[list[Transaction], list[Capture], list[list[dict[str, Any]]]]:
    """Chains in every state, each row of theirs in any of three files, once, twice or not at all."""
    trades, opposites = list(DROPPED), []
    files: list[list[dict[str, Any]]] = [[], [], []]

    def bill(row: dict[str, Any]) -> None:
        for at in draw(st.lists(st.sampled_from((0, 0, 1, 2)), max_size=2)):
            faults: list[dict[str, Any]] = [{}, {}, {"amount": 9_000}, {"switching_fee": None}]
            files[at].append(row | draw(st.sampled_from(faults)))

    for number in range(10, 10 + draw(st.integers(0, 4))):
        day = draw(st.sampled_from((DAY, DAY, NEXT)))
        one = trade(
            number,
            state=draw(st.sampled_from(("approved", "approved", "reversed", "declined"))),
            settlement_date=day,
            transmission_time=f"{day:%m%d}101500",
        )
        trades.append(one)
        bill(billed(one))
        if one.state == "approved" and draw(st.booleans()):
            opposites.append(opposite_of(one))
        elif one.state == "approved" and draw(st.booleans()):
            changes: dict[str, Any] = {
                "settlement_date": NEXT,
                "business_date": draw(st.sampled_from((DAY, NEXT))),
            }
            void = trade(
                number + 100,
                type="void",
                processing_code="200000",
                original_request_id=number,
                **changes,
            )
            trades.append(void)
            bill(billed(void))
        if draw(st.booleans()):
            bill(reversal_of(one, fee_receivable=draw(st.sampled_from((35, 0)))))
    return trades, opposites, files


@settings(max_examples=examples(3), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(three_days())
def test_whatever_the_files_say_the_books_follow(
    days: tuple[list[Transaction], list[Capture], list[list[dict[str, Any]]]],
) -> None:
    # each close asserts it of its own entries; a failed assertion is exit code 4
    trades, opposites, files = days
    closing = TwoDays(*trades)
    closing.store.captured += opposites
    for number, rows in enumerate(files):
        result = closing.close(DAY + timedelta(days=number), *rows)
        assert result.exit_code in (0, 1), result.message


@pytest.mark.parametrize(
    ("state", "expected"), [("declined", "network_long"), ("unknown", "status_mismatch")]
)
def test_a_row_that_the_network_takes_back_later_is_resolved(state: str, expected: str) -> None:
    days = TwoDays(trade(1, state=state))
    assert [one.break_class for one in days.close(DAY, billed(SALE)).breaks] == [expected]
    reversal = billed(
        SALE,
        mti="0420",
        stan=900,
        original_stan=SALE.link_stan,
        original_time=SALE.transmission_time,
        fee_payable=0,
        fee_receivable=35,
        switching_fee=3,
    )
    second = days.close(NEXT, reversal)
    assert (second.exit_code, second.totals["resolved"]) == (0, 1)
    assert days.balances() == {
        ("network_receivable", RECEIVABLE): 9_962,
        ("network_receivable", RECEIVABLE_NEXT): -9_962,
    }


@pytest.mark.parametrize("state", ["declined", "unknown", "reversed"])
def test_what_the_next_file_takes_back_waits_where_both_files_are_here_already(state: str) -> None:
    """The date is closed late: the file that bills and the one that reverses come in together."""
    days = TwoDays(trade(1, state=state), *DROPPED)
    assert days.close(DAY, billed(SALE), early=[reversal_of(SALE)]).exit_code == 1
    files = Inbox()  # of the next date, which is in
    second = days.close_with(NEXT, files)
    assert (second.exit_code, second.totals["resolved"]) == (0, 1), second.message
    assert days.balances() == {
        ("network_receivable", RECEIVABLE): 9_962,
        ("network_receivable", RECEIVABLE_NEXT): -9_962,
    }


def test_a_long_that_is_a_request_of_the_next_date_is_taken_back_with_it() -> None:
    """Sent after our cut and before the network's, unknown, reversed after the network's."""
    days = TwoDays(trade(1, state="unknown", business_date=NEXT, settlement_date=None), *DROPPED)
    first = days.close(DAY, billed(SALE))
    assert [one.break_class for one in first.breaks] == ["network_long"]
    second = days.close(NEXT, reversal_of(SALE))
    assert (second.exit_code, second.totals["resolved"]) == (0, 1), second.breaks
    assert days.balances() == {
        ("network_receivable", RECEIVABLE): 9_962,
        ("network_receivable", RECEIVABLE_NEXT): -9_962,
    }


def test_an_open_break_is_not_broken_again() -> None:
    days = TwoDays(SALE)
    days.close(DAY)
    second = days.close(NEXT)
    assert (second.exit_code, second.breaks) == (0, [])
    assert days.balances()["short_suspense", ACQUIRER] == 10_000


def test_a_refund_on_a_later_day_uses_the_sales_plan() -> None:
    sale = trade(1, 1_000_000)
    refund = trade(
        2,
        400_000,
        type="refund",
        business_date=NEXT,
        settlement_date=NEXT,
        processing_code="200000",
        original_request_id=1,
    )
    days = TwoDays(sale, refund)
    days.close(DAY, billed(sale))
    second = days.close(NEXT, billed(refund, fee_receivable=0, switching_fee=-0))
    # 0.5 % capped at 20 yuan: 6 000 yuan left still bear the cap, so nothing comes back
    assert (second.exit_code, second.nets[0].discount_minor) == (1, 0)  # network: 0.0325 % of 4 000
    assert [one.break_class for one in second.breaks] == ["fee_mismatch"]
