"""Reports: what they say, that they are well formed, and that they are the same bytes again.

Method: a day with every class of break is closed and its pages are parsed, its workbooks read back
as XML, its CSV by csv; the detail's cutting into merchants is drawn at any piece boundaries.
"""

import asyncio
import csv
import io
import re
import zipfile
from datetime import UTC, datetime
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from settlement.adapters.memory import MemoryStore
from settlement.cases import Break
from settlement.columns import table_of
from settlement.fee_book import DETAIL, AgentLine, CostLine, DiscountLine
from settlement.payouts.ports import ReserveCheck, ReserveTerm
from settlement.reports import (
    breaks,
    csv as csvs,
    fees,
    html,
    merchant,
    reserve,
    shares,
    sums,
    xlsx,
)
from settlement.reports.figures import money
from settlement.reports.model import (
    PAGE_ROWS,
    Bar,
    Chart,
    Column,
    Money,
    Report,
    Table,
    Words,
    totals,
)
from settlement.reports.sums import SumLine, SumLines
from settlement.shares import ShareLine, statements
from tests.settlement.test_close import a_day
from tests.settlement.world import DAY, Sink, com_file, inbox, run_close, world

AT = datetime(2026, 8, 4, 1, 30, tzinfo=UTC)
SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


class Page(HTMLParser):
    """Asserts that tags close in order; keeps tables, text, and what a page may not have."""

    VOID = frozenset({"meta"})

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.seen: set[str] = set()
        self.words: list[str] = []
        self.feed(data.decode())
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        assert all("http" not in (value or "") for _, value in attrs), "not self-contained"
        if tag not in self.VOID and tag != "rect":
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data


def sheets(data: bytes) -> dict[str, list[list[str]]]:
    """Sheet name -> rows of cells as they are stored."""
    with zipfile.ZipFile(io.BytesIO(data)) as book:
        assert {member.date_time for member in book.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        shared = ET.fromstring(book.read("xl/sharedStrings.xml"))
        strings = ["".join(one.itertext()) for one in shared.iter(f"{SHEET}si")]
        names = re.findall(r'<sheet name="([^"]+)"', book.read("xl/workbook.xml").decode())
        found = {}
        for number, name in enumerate(names, 1):
            root = ET.fromstring(book.read(f"xl/worksheets/sheet{number}.xml"))
            assert not list(root.iter(f"{SHEET}f")), "a formula"
            found[name] = [
                [
                    strings[int(value)] if cell.get("t") == "s" else value
                    for cell in row.iter(f"{SHEET}c")
                    if (value := cell.findtext(f"{SHEET}v")) is not None
                ]
                for row in root.iter(f"{SHEET}row")
            ]
        return found


def a_closed_day() -> tuple[MemoryStore, Sink]:
    trades, rows = a_day()
    store, sink = world(trades), Sink()
    asyncio.run(run_close(store, inbox(com_file(rows)), sink=sink))
    return store, sink


def of(sink: Sink, name: str) -> bytes:
    return sink.files[f"{DAY.isoformat()}/{name}"]


def test_a_day_s_files() -> None:
    _, sink = a_closed_day()
    names = {name.removeprefix(f"{DAY.isoformat()}/") for name in sink.files}
    assert names == {
        "merchants.csv",
        "breaks.csv",
        "cases.csv",
        "reserve.csv",
        "trial-balance.csv",
        "fees.csv",
        "fee-files.csv",
        "agent-shares.csv",
        "sums.csv",
        "report.xlsx",
        "report.html",
        "settlement/104110058120001.csv",
    }
    for name in names:
        data = of(sink, name)
        assert not data.startswith(b"\xef\xbb\xbf")
        if name.endswith(".csv"):
            heading, *lines = csv.reader(io.StringIO(data.decode(), newline=""))
            assert all(len(line) == len(heading) for line in lines), name


def test_the_page_says_what_the_csv_says() -> None:
    _, sink = a_closed_day()
    page = Page(of(sink, "report.html"))
    assert "script" not in page.seen
    assert {"svg", "table"} <= page.seen
    (line,) = csv.DictReader(io.StringIO(of(sink, "merchants.csv").decode()))
    nets = next(table for table in page.tables if table[0][0].startswith("Merchant"))
    assert nets[1] == [
        line["merchant"],
        line["name_zh"],
        line["currency"],
        line["count"],
        *(
            money(int(line[f"{name}_minor"]), "156")
            for name in ("gross", "taken_back", "discount", "held", "net")
        ),
    ]
    found = list(csv.DictReader(io.StringIO(of(sink, "breaks.csv").decode())))
    shown = next(table for table in page.tables if table[0][0].startswith("Number"))
    assert [row[0] for row in shown[1:]] == [one["id"] for one in found]


def test_the_workbook_says_what_the_csv_says() -> None:
    _, sink = a_closed_day()
    found = sheets(of(sink, "report.xlsx"))
    (line,) = csv.DictReader(io.StringIO(of(sink, "merchants.csv").decode()))
    heading, row = found["Merchant nets · 商户净额"]
    assert heading[-1] == "Net · 净额"
    assert float(row[-1]) == int(line["net_minor"]) / 100
    assert row[1] == line["merchant"]  # text, with all its zeros


def test_the_fee_tables_add_up_to_the_ledger() -> None:
    store, sink = a_closed_day()
    moved: dict[str, int] = {}
    for movement in asyncio.run(store.movements(DAY)):
        moved[movement.account] = moved.get(movement.account, 0) + movement.amount_minor
    by_plan = list(csv.DictReader(io.StringIO(of(sink, "fees.csv").decode())))
    by_file = list(csv.DictReader(io.StringIO(of(sink, "fee-files.csv").decode())))
    assert sum(int(one["discount_minor"]) for one in by_plan) == -moved["merchant_discount"]
    assert sum(int(one["issuer_minor"]) for one in by_file) == moved["issuer_fee"]
    assert sum(int(one["network_minor"]) for one in by_file) == moved["network_fee"]


def test_one_merchant_s_report() -> None:
    store, sink = a_closed_day()
    pieces: list[bytes] = []
    asyncio.run(store.fee_book().detail(DAY, pieces.append, "104110058120001"))
    detail = b"".join(pieces)
    assert merchant.HEADING + detail == of(sink, "settlement/104110058120001.csv")
    nets = asyncio.run(store.nets(DAY))
    made = merchant.report(DAY, AT, "104110058120001", "老茶馆", nets, detail)
    page = Page(html.render(made))
    records = page.tables[-1]
    assert len(records) - 2 == detail.count(b"\n")  # heading and total
    (net,) = nets
    assert records[-1][-2] == money(
        net.gross_minor + net.taken_back_minor - net.discount_minor, "156"
    )
    asyncio.run(store.fee_book().detail(DAY, lambda _: pytest.fail("nobody's"), "nobody"))
    rows = sheets(xlsx.render(made))["Transactions · 交易明细"]
    assert len(rows) - 1 == detail.count(b"\n")
    assert len(rows[0]) == len(DETAIL)


# -- the writers -----------------------------------------------------------------------------------

HOSTILE = '<script>alert(1)</script>&"=cmd|calc"'
COLUMNS = (
    Column("merchant"),
    Column("business_date", shown="data"),
    Column("count", "count"),
    Column("gross", "money"),
)


def a_report(rows: Any) -> Report:
    table = Table(
        "merchants", COLUMNS, rows, totals(rows, COLUMNS, Words("Total", "合计")), "merchants.csv"
    )
    chart = Chart("chart_nets", (Bar(HOSTILE, 3, "3"), Bar("", 0, "0")), "156")
    return Report("report_day", HOSTILE, AT, (chart, table, Table("breaks", COLUMNS, ())))


def test_text_stays_text_everywhere() -> None:
    rows = [(HOSTILE, DAY, 1, Money(5, "156")), ("=1+1", DAY, 1, Money(None, "156"))]
    made = a_report(rows)
    page = Page(html.render(made))
    assert "script" not in page.seen
    assert page.tables[0][1][0] == HOSTILE
    cells = sheets(xlsx.render(made))["Merchant nets · 商户净额"]
    assert cells[1][0] == HOSTILE
    assert cells[2][0] == "=1+1"  # a string, not a formula
    lines = list(csv.reader(io.StringIO(b"".join(csvs.render(made.tables[0])).decode())))
    assert lines[0] == ["merchant", "business_date", "count", "gross_minor"]
    assert lines[1] == [HOSTILE, "2026-08-03", "1", "5"]
    assert lines[2] == ["'=1+1", "2026-08-03", "1", ""]


def test_totals_are_by_currency_and_of_all_rows() -> None:
    rows = [("m", DAY, 1, Money(amount, code)) for amount, code in ((5, "156"), (7, "344"))] * 400
    page = Page(html.render(a_report(rows)))
    table = page.tables[0]
    assert len(table) == 1 + PAGE_ROWS + 2
    assert [row[-1] for row in table[-2:]] == [money(2_000, "156"), money(2_800, "344")]
    assert f"+ {800 - PAGE_ROWS:,}" in " ".join(page.words)
    assert "merchants.csv" in " ".join(page.words)


def test_amounts_beyond_a_double_are_written_as_text() -> None:
    cells = sheets(xlsx.render(a_report([("m", DAY, 1, Money(10**17 + 1, "156"))])))
    assert cells["Merchant nets · 商户净额"][1][-1] == "1,000,000,000,000,000.01"
    yen = sheets(xlsx.render(a_report([("m", DAY, 1, Money(1_500, "392"))])))
    assert yen["Merchant nets · 商户净额"][1][-1] == "1500"


def test_the_same_values_are_the_same_bytes() -> None:
    rows = [("m", DAY, 1, Money(5, "156"))]
    for render in (html.render, xlsx.render):
        assert render(a_report(rows)) == render(a_report(rows))


CHECK = ReserveCheck(
    DAY,
    "156",
    (
        ReserveTerm("bank", "reserve-1/1", 10),
        ReserveTerm("assets", "bank_reserve", 9),
        ReserveTerm("liabilities", "merchant_payable", 8),
        ReserveTerm("liabilities", "own_income", 3),
    ),
    bank_difference_minor=1,
    cover_difference_minor=-2,
)


@pytest.mark.parametrize(
    "made",
    [
        breaks.report(DAY, AT, [Break("1", DAY, "duplicate", "b", "156", {"a": "1"}, None, 5)]),
        fees.report(
            DAY,
            AT,
            [DiscountLine("p", 1, "debit", "156", 2, 100, 1)],
            [CostLine("b", "f", "c", 1, "156", 2, 1, 1, 2, 3, 4, 5, 6)],
            [AgentLine("a", "156", 1, -7)],
        ),
        shares.report(DAY, AT, [AgentLine("a", "156", 1, -7), AgentLine("b", "344", 1, 9)]),
        shares.statement(
            AT,
            "a",
            "2026-08",
            statements("a", "2026-08", Decimal(0), [ShareLine(DAY, "m", "156", 1, 3)]),
        ),
        reserve.report(DAY, AT, [CHECK]),
        breaks.report(DAY, AT, []),
    ],
)
def test_every_report_in_every_form(made: Report) -> None:
    Page(html.render(made))
    sheets(xlsx.render(made))
    for table in made.tables:
        lines = list(csv.reader(io.StringIO(b"".join(csvs.render(table)).decode())))
        assert len({len(line) for line in lines}) == 1
        assert len(lines) == 1 + len(table.rows)


def test_a_reserve_that_differs_says_by_how_much() -> None:
    made = reserve.report(DAY, AT, [CHECK])
    assert any(isinstance(part, Chart) and part.alarm for part in made.parts)
    rows = Page(html.render(made)).tables[0]
    assert [row[-1] for row in rows[-2:]] == ["0.01", "-0.02"]
    assert rows[-3][2] == "Own income not yet swept · 未划转自有收入"


def test_open_cases_and_the_reserve_stand_in_the_days_files() -> None:
    _, sink = a_closed_day()
    broken = [row["id"] for row in csv.DictReader(io.StringIO(of(sink, "breaks.csv").decode()))]
    open_cases = list(csv.DictReader(io.StringIO(of(sink, "cases.csv").decode())))
    assert sorted(row["id"] for row in open_cases) == sorted(broken)
    assert {row["state"] for row in open_cases} == {"open"}
    terms = list(csv.DictReader(io.StringIO(of(sink, "reserve.csv").decode())))
    by_side = dict.fromkeys(("assets", "liabilities", "difference"), 0)
    for row in terms:
        by_side[row["side"]] = by_side.get(row["side"], 0) + int(row["amount_minor"])
    assert by_side["assets"] == by_side["liabilities"] != 0
    page = of(sink, "report.html").decode()
    for text in ("Open cases by age", "未了结差错", "Reserve check", "备付金核对"):
        assert text in page, text
    found = sheets(of(sink, "report.xlsx"))
    assert {"Open cases · 未了结差错", "Reserve check · 备付金核对"} <= set(found)


def test_lines_of_sums_are_rows_however_they_are_asked_for() -> None:
    lines = [
        SumLine(DAY, "c1", "one-to-many/1", side, f"{side}{n}", "m", "t", f"{n}", "156", n)
        for n in range(sums.AT_ONCE // 2 + 1)
        for side in ("ours", "theirs")
    ]
    rows = SumLines(table_of(SumLine, lines))
    every = list(rows)
    assert len(every) == len(rows) == len(lines) > sums.AT_ONCE
    assert [row[5] for row in every] == [one.member for one in lines]
    assert every[-1][-1] == Money(lines[-1].amount_minor, "156")
    assert (rows[0], rows[-1], rows[sums.AT_ONCE]) == (every[0], every[-1], every[sums.AT_ONCE])
    assert (list(rows[3:7]), list(rows[:0]), list(rows[len(rows) :])) == (every[3:7], [], [])
    (sheet,) = sheets(xlsx.render(sums.report(DAY, AT, rows))).values()
    assert len(sheet) == len(lines) + 1
