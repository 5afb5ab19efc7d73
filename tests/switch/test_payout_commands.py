"""`tongbao payout`, `statement`, `reserve`, `date`: a date from its close to the bank's word.

Method: the commands in this process on a database of the test, reference data by `data apply`, the
closed date written as the day's end would; maker and checker are the demo's two.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from typer.testing import CliRunner

from hsm.lmk import TEST_LMK
from settlement.adapters.payout_postgres import open_payouts
from switch import cli
from switch.commands.common import office
from switch.store import prepare_data_keys
from tests.schemas import assert_valid
from tests.settlement.payout_world import (
    BOOKS,
    MONDAY,
    NUMBERS,
    ONE_DAY,
    OWN,
    RESERVE,
    TEA,
    Bank,
    Told,
)
from tests.settlement.test_payout_status import document, says
from tests.settlement.test_payout_store import PostgresTown
from tests.settlement.world import com_file

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from tests.database import FreshDatabase

TUESDAY, WEDNESDAY = MONDAY + ONE_DAY, MONDAY + 2 * ONE_DAY
DATA = f"""
[[calendar]]
name = "CN"
years = [2026]
holidays = [{{ first = 2026-10-01, last = 2026-10-07, name = "国庆节" }}]
make_up_days = [2026-10-10]

[[bank_account]]
name = "{RESERVE}"
purpose = "reserve"
account = "{NUMBERS[RESERVE]}"
bank = "PBOCCNBJ"
holder = "Tongbao Payments"
calendar = "CN"

[[bank_account]]
name = "{OWN}"
purpose = "own"
account = "{NUMBERS[OWN]}"
bank = "102584002000"
holder = "Tongbao Payments"
calendar = "CN"

[[link]]
acquirer = "bank-a"
host = "127.0.0.1"
port = 9001
de32 = "48025840"
settlement_payer = "990001"

[[merchant]]
merchant = "{TEA}"
name = "Tea House"
settlement_account = "6222021234567890123"
settlement_bank = "102100099996"

[[merchant]]
merchant = "{BOOKS}"
name = "Books"
settlement_account = "440000000000000002"
settlement_bank = "102100099996"
payout_cycle = "T+0"
payout_account = "{OWN}"
advance_fee_rate = "0.01"
"""


SHAPES = {
    ("approval", "list"): "proposal",
    ("payout", "due"): "payout-position",
    ("payout", "propose"): "payout-batch",
    ("payout", "list"): "payout-batch",
    ("payout", "show"): "payout-batch",
    ("payout", "returns"): "payout-order",
    ("payout", "export"): "payout-file",
    ("reserve", "own"): "own-money",
    ("reserve", "sweep"): "payout-batch",
    ("statement", "import"): "bank-statement-import",
    ("statement", "list"): "bank-statement",
    ("statement", "show"): "bank-statement-line",
    ("reserve", "check"): "reserve-check",
    ("date", "show"): "date",
}


class Command:
    def __init__(self, folder: Path, database: FreshDatabase) -> None:
        self.folder = folder
        self.database = database
        self.bank = Bank()
        self.config = folder / "node.toml"
        self.config.write_text(
            f'data = "{folder / "var"}"\n[database]\ndsn = "{database.app}"\n'
            f'owner_dsn = "{database.owner}"\n'
        )

    def __call__(
        self, *words: str, code: int = 0, who: str = "demo", demo: bool = True, lang: str = "en"
    ) -> Any:
        line = ["--operator", who, *words, *(["--demo"] if demo else [])]
        answer = CliRunner().invoke(cli.app, [*line, "--config", str(self.config), "--lang", lang])
        assert answer.exit_code == code, (line, answer.stdout, answer.stderr)
        return answer

    def read(self, *words: str, code: int = 0) -> list[Any]:
        out = self(*words, "--json", code=code, demo=False).stdout
        found = [json.loads(line) for line in out.splitlines()]
        for one in found:
            assert_valid(SHAPES[words[0], words[1]], one)
        return found

    def one(self, *words: str, code: int = 0, demo: bool = False) -> Any:
        found = json.loads(self(*words, "--json", code=code, demo=demo).stdout)
        assert_valid(SHAPES[words[0], words[1]], found)
        for order in found.get("orders", ()):
            assert_valid("payout-order", order)
        return found

    def statement(self, day: Any, *told: Told, code: int = 0, account: str = RESERVE) -> str:
        path = self.folder / "statement.xml"
        path.write_bytes(self.bank.statement(day, *told, account=account))
        out: str = self("statement", "import", str(path), code=code).stdout
        return out

    def close(self, day: date, sales: dict[Any, int]) -> None:
        """What the day's end would have left; `day` is open until then."""

        async def run() -> None:
            owner = await asyncpg.connect(self.database.owner)
            if day == MONDAY:
                await owner.execute("DELETE FROM switch.business_date")
            try:
                async with (
                    open_payouts(self.database.app) as payouts,
                    office(self.database.app) as desk,
                ):
                    town = PostgresTown(payouts, desk.people, owner)
                    await town._state(day, "open")
                    await town.day(day, sales)
                today = "UPDATE switch.business_day SET business_date = $1"
                await owner.execute(today, day + ONE_DAY)
            finally:
                await owner.close()

        asyncio.run(run())

    def release(self) -> list[str]:
        """Everything that waits, by the demo's checker."""
        names = []
        for one in self.read("approval", "list"):
            names.append(one["subject"])
            words = ("payout", "release", one["subject"], "--sha256", one["sha256"])
            self(*words, who="demo-checker")
        return names


@pytest.fixture
def run(tmp_path: Path, database_dsn: FreshDatabase) -> Command:
    made = Command(tmp_path, database_dsn)
    (tmp_path / "data.toml").write_text(DATA)
    asyncio.run(prepare_data_keys(database_dsn.app, TEST_LMK))
    apply = (
        "data",
        "apply",
        str(tmp_path / "data.toml"),
        "--effective-from",
        "2026-01-01T00:00:00Z",
    )
    assert "takes two" in made(*apply, code=3).stdout
    for one in made.read("approval", "list"):
        assert (one["act"], one["payload"]["former"]) == ("bank.account", None)
        approve = ("approval", "approve", one["id"], "--sha256", one["sha256"])
        assert one["subject"] in made(*approve, who="demo-checker").stdout
    assert made(*apply).stdout == "nothing changed\n"

    made.close(MONDAY, {TEA: 10_000, BOOKS: 5_000})
    return made


def test_a_date_from_posted_to_confirmed(run: Command) -> None:
    on = ("--date", TUESDAY.isoformat())
    due = {one["payee"]: one for one in run.read("payout", "due", *on)}
    assert (due[TEA]["reason"], due[BOOKS]["reason"]) == ("not_funded", "pay")
    assert due[TEA]["through"] is None
    assert due[BOOKS]["amount_minor"] == 4_950
    assert "1 lines taken in, 0 unexplained" in run.statement(
        TUESDAY, Told(15_000, counterparty="990001")
    )
    shown = run.one("date", "show", MONDAY.isoformat())
    assert (shown["state"], shown["states"]) == ("posted", ["withheld", "funded"])
    proposed = run("payout", "propose", *on, code=3).stdout
    assert "20260804-001: 1 orders, 49.50 156 from own-a; P" in proposed
    assert "20260804-002: 1 orders, 100.00 156 from reserve-a; P" in proposed
    assert run("payout", "propose", *on, code=3).stdout == proposed, "nothing new"
    batches = run.read("payout", "propose", *on, "--demo", code=3)
    assert [one["state"] for one in batches] == ["proposed"] * 2
    refused = run("payout", "export", "20260804-002", code=4)
    assert "not released" in refused.stderr
    waiting = run.read("approval", "list")
    own = run("payout", "release", "20260804-002", "--sha256", waiting[1]["sha256"], code=4).stderr
    assert "own proposal" in own
    assert run.release() == ["20260804-001", "20260804-002"]
    again = ("payout", "release", "20260804-002", "--sha256", waiting[1]["sha256"])
    assert "already" in run(*again, code=4, who="demo-checker").stderr

    written = run.one("payout", "export", "20260804-002", demo=True)
    data = (run.folder / "var" / "payouts" / written["name"]).read_bytes()
    assert b"<CdtrAcct><Id><Othr><Id>6222021234567890123</Id>" in data
    assert run.one("payout", "export", "20260804-002", demo=True) == written
    states = {one["id"]: one["state"] for one in run.read("payout", "list")}
    assert states == {"20260804-001": "released", "20260804-002": "exported"}
    shown = run.one("payout", "show", "20260804-002")
    (order,) = shown["orders"]
    assert order["creditor_account"] == "***************0123"
    (advance,) = run.one("payout", "show", "20260804-001")["orders"]
    assert (advance["amount_minor"], advance["fee_minor"]) == (4_950, 50)

    run.statement(TUESDAY, Told(-10_000, order["end_to_end_id"]))
    run.statement(TUESDAY, Told(-4_950, advance["end_to_end_id"]), account=OWN)
    shown = run.one("date", "show", MONDAY.isoformat())
    assert shown["states"] == ["withheld", "funded", "paid", "confirmed"]
    assert run("payout", "propose", *on).stdout == "nothing is due\n"
    (check,) = run.read("reserve", "check", "--date", MONDAY.isoformat(), "--demo")
    assert (check["bank_difference_minor"], check["cover_difference_minor"]) == (0, 0)
    table = (run.folder / "var" / "reports" / "2026-08-03" / "reserve.csv").read_text()
    assert "2026-08-03,156,assets,network_receivable,15000\n" in table
    assert "2026-08-03,156,liabilities,merchant_payable,15000\n" in table
    run("audit", "verify", demo=False)


def test_a_return_is_listed_and_sent_again(run: Command) -> None:
    on = ("--date", TUESDAY.isoformat())
    run.statement(TUESDAY, Told(15_000, counterparty="990001"))
    run("payout", "propose", *on, code=3)
    run.release()
    (order,) = run.one("payout", "show", "20260804-002")["orders"]
    name = order["end_to_end_id"]
    unknown = run.statement(
        TUESDAY, Told(-10_000, name), Told(10_000, name, reason="AC04"), Told(-7), code=1
    )
    assert "3 lines taken in, 1 unexplained" in unknown
    (back,) = run.read("payout", "returns")
    assert (back["end_to_end_id"], back["state"], back["reason"]) == (name, "returned", "AC04")
    lines = run.read("statement", "show", RESERVE, "S0002")
    assert [one["match"] and one["match"]["kind"] for one in lines] == ["payout", "return", None]
    assert run("payout", "propose", *on).stdout == "nothing is due\n"
    run("payout", "propose", *on, "--replace", name, code=3)
    assert run.release() == ["20260804-003"]
    (new,) = run.one("payout", "show", "20260804-003")["orders"]
    assert (new["replaces"], new["sequence"]) == (name, 2)
    assert run.read("payout", "returns") == []
    statements = run.read("statement", "list")
    assert [one["missing_before"] for one in statements] == [None, None]
    (again,) = run.read("statement", "import", str(run.folder / "statement.xml"), "--demo", code=1)
    assert (again["state"], again["matched"], again["unmatched"]) == ("known", 2, 1)
    run.bank.statement(TUESDAY, Told(3))  # never comes
    run.statement(TUESDAY, Told(4), code=1)
    *_, last = run.read("statement", "list", code=1)
    assert last["missing_before"]["missing_minor"] == 3


def test_an_order_that_the_bank_did_not_execute(run: Command) -> None:
    run("payout", "propose", "--date", TUESDAY.isoformat(), code=3)
    run.release()
    (order,) = run.one("payout", "show", "20260804-001")["orders"]
    asked = ("payout", "reject", order["end_to_end_id"], "--reason", "AC01 6222021234567890123")
    assert run(*asked[:-1], " ", code=2).stderr
    assert "waits for a checker" in run(*asked, code=3).stdout
    (waiting,) = run.read("approval", "list")
    why = "AC01 622202*********0123"  # a card number is masked
    assert waiting["payload"]["reason"] == why
    said = ("approval", "approve", waiting["id"], "--sha256", waiting["sha256"])
    assert "is rejected" in run(*said, who="demo-checker").stdout
    (back,) = run.read("payout", "returns")
    assert (back["state"], back["reason"]) == ("rejected", why)
    assert "is rejected already" in run(*asked, code=4).stderr


def test_what_the_bank_reports_of_a_file(run: Command) -> None:
    on = ("--date", TUESDAY.isoformat())
    run.statement(TUESDAY, Told(15_000, counterparty="990001"))
    run("payout", "propose", *on, code=3)
    run.release()
    (order,) = run.one("payout", "show", "20260804-002")["orders"]
    name = order["end_to_end_id"]
    assert (order["reported"], order["reported_reason"]) == ("", "")
    path = run.folder / "report.xml"

    def report(*orders: str, code: int = 0, **options: str) -> Any:
        path.write_bytes(document(*orders, message="TB20260804-002", **options))
        return run("payout", "import-status", str(path), code=code)

    assert "never written" in report(says(name, "ACSP"), code=2).stderr
    run("payout", "export", "20260804-002")
    assert "line 8: P999 is no order" in report(says("P999", "RJCT"), code=2).stderr
    assert "1 orders, 0 rejected" in report(says(name, "ACSP")).stdout
    assert "taken in before" in report(says(name, "ACSP")).stdout
    (order,) = run.one("payout", "show", "20260804-002")["orders"]
    assert (order["state"], order["reported"]) == ("", "ACSP")
    at = "2026-08-04T13:00:00+08:00"
    report(says(name, "RJCT", "AC01"), report="R2", at=at)
    (back,) = run.read("payout", "returns")
    assert (back["state"], back["reason"], back["reported"]) == ("rejected", "AC01", "RJCT")
    found = json.loads(run("payout", "import-status", str(path), "--json").stdout)
    assert_valid("payout-report", found)
    assert (found["state"], found["rejected"]) == ("known", [])
    later = report(says(name, "ACSC"), report="R3", at="2026-08-04T14:00:00+08:00", code=1)
    assert "it is rejected" in later.stdout
    assert "AC01" in run("payout", "returns", demo=False, lang="zh").stdout
    run("payout", "import-status", str(run.folder / "none.xml"), code=2)
    path.write_text("<x/>")
    assert "line 1" in run("payout", "import-status", str(path), code=2).stderr


def test_own_money_leaves_the_reserve_by_two_people(run: Command) -> None:
    on = ("--date", TUESDAY.isoformat())
    assert run("reserve", "sweep", *on).stdout == "nothing may be swept\n"
    run.statement(TUESDAY, Told(15_000, counterparty="990001"))
    run("payout", "propose", *on, code=3)
    run.release()
    run.close(TUESDAY, {})  # what the advance laid out and earned stands on Tuesday
    found = {one["what"]: one for one in run.read("reserve", "own")}
    assert {key: one["amount_minor"] for key, one in found.items()} == {"income": 0, "advances": 0}
    run("payout", "due", demo=False)
    run("reserve", "check", "--date", MONDAY.isoformat())  # brings the dates on
    found = {one["what"]: one for one in run.read("reserve", "own")}
    amounts = {key: one["amount_minor"] for key, one in found.items()}
    assert amounts == {"income": 50, "advances": 4_950}
    assert "May go" in run("reserve", "own", demo=False).stdout
    assert "可划转" in run("reserve", "own", demo=False, lang="zh").stdout
    part = ("reserve", "sweep", *on, "--what", "advances", "--amount", "4951")
    assert "at most 4950" in run(*part, code=4).stderr
    run("reserve", "sweep", *on, "--what", "dust", code=2)
    (batch,) = run.read("reserve", "sweep", *on, "--demo", code=3)
    assert (batch["kind"], batch["sum_minor"], batch["count"]) == ("sweep", 5_000, 2)
    assert run.read("reserve", "sweep", *on, "--demo", code=3) == [batch], "told again"
    assert run.release() == [batch["id"]]
    run("payout", "export", batch["id"])
    orders = run.one("payout", "show", batch["id"])["orders"]
    run.statement(
        TUESDAY, *(Told(one["amount_minor"], one["end_to_end_id"]) for one in orders), account=OWN
    )
    shown = run.one("payout", "show", batch["id"])["orders"]
    assert [one["state"] for one in shown] == ["received"] * 2
    run.statement(TUESDAY, *(Told(-one["amount_minor"], one["end_to_end_id"]) for one in orders))
    shown = run.one("payout", "show", batch["id"])["orders"]
    assert [one["state"] for one in shown] == ["confirmed"] * 2
    assert "own money" in run("payout", "list", demo=False).stdout
    assert run("reserve", "sweep", *on).stdout == "nothing may be swept\n"


def test_withdraw_and_what_there_is_not(run: Command) -> None:
    on = ("--date", TUESDAY.isoformat())
    run("payout", "propose", *on, code=3)
    run("payout", "withdraw", "20260804-001")
    assert "withdrawn already" in run("payout", "withdraw", "20260804-001", code=4).stderr
    assert [one["state"] for one in run.read("payout", "list")] == ["withdrawn"]
    for words in (
        ("payout", "show", "20260804-009"),
        ("payout", "release", "20260804-009"),
        ("statement", "show", RESERVE, "S0001"),
        ("date", "show", "2020-01-01"),
    ):
        assert words[-1] in run(*words, code=4, demo=False).stderr
    assert "no working day" in run("payout", "due", "--date", "2026-08-08", demo=False).stdout
    assert "非工作日" in run("payout", "due", "--date", "2026-08-08", demo=False, lang="zh").stdout
    bad = run.folder / "bad.xml"
    bad.write_text("<!DOCTYPE x><x/>")
    assert "document type" in run("statement", "import", str(bad), code=2).stderr
    run("statement", "import", str(run.folder / "none.xml"), code=2)


def test_money_that_never_came_is_a_case_until_it_comes(run: Command) -> None:
    """Months ago, by the wall clock. The close of the next date looks for it."""
    name, data = com_file([], TUESDAY)
    files = run.folder / "files" / "bank-a"
    files.mkdir(parents=True)
    (files / name).write_bytes(data)
    closing = ("close", "--date", TUESDAY.isoformat(), "--files", str(files.parent))
    closed = run(*closing)
    assert "150.00 156 of bank-a of 2026-08-03 has not come" in closed.stderr
    assert "has not come" not in run(*closing).stderr, "told once"
    cases = ("case", "list", "--class", "receivable_overdue", "--json")
    (one,) = map(json.loads, run(*cases, demo=False).stdout.splitlines())
    assert (one["state"], one["acquirer"], one["difference_minor"]) == ("open", "bank-a", 0)
    shown = run("case", "show", one["id"], demo=False, lang="zh").stdout
    assert "清算款逾期未到" in shown
    assert "due_on=2026-08-04" in shown
    name, data = com_file([], WEDNESDAY)
    (files / name).write_bytes(data)
    run("close", "--date", WEDNESDAY.isoformat(), "--files", str(files.parent), code=1)
    run("case", "propose", one["id"], "write_off_receivable", "--amount", "5", code=3)
    (pending,) = map(json.loads, run("approval", "list", "--json", demo=False).stdout.splitlines())
    approve = ("approval", "approve", pending["id"], "--sha256", pending["sha256"])
    run(*approve, who="demo-checker")
    lost = run("ledger", "balance", "write_off_loss", "--json", demo=False)
    assert json.loads(lost.stdout)["balance_minor"] == 5
    run.statement(WEDNESDAY + ONE_DAY, Told(14_995, counterparty="990001"))
    assert run(*cases, demo=False).stdout == ""
    whole = json.loads(run("case", "show", one["id"], "--json", demo=False).stdout)
    assert (whole["state"], whole["resolution"]["reason"]) == ("ended", "nothing is owed any more")


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_tables_for_people(run: Command, lang: str) -> None:
    on = ("--date", TUESDAY.isoformat())
    run.statement(TUESDAY, Told(15_000, counterparty="990001"), Told(-7), code=1)
    lost = run.bank.statement(TUESDAY, Told(3))
    assert lost
    run.statement(TUESDAY, Told(4), code=1)
    run("payout", "propose", *on, code=3)
    for words, code in (
        (("payout", "due", *on), 0),
        (("payout", "list"), 0),
        (("payout", "show", "20260804-001"), 0),
        (("payout", "returns"), 0),
        (("statement", "list"), 1),
        (("statement", "show", RESERVE, "S0001"), 0),
        (("date", "show", MONDAY.isoformat()), 0),
    ):
        assert run(*words, demo=False, lang=lang, code=code).stdout
    shown = run("reserve", "check", "--date", MONDAY.isoformat(), lang=lang).stdout
    assert ("Network receivable" if lang == "en" else "应收网络清算款") in shown
