"""`tongbao case` and `tongbao dispute`: what they answer, in both languages, and their exit codes.

Method: a day with one break of each class is closed on a database of the test; the demo's two
operators work it with typer's runner.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from settlement.adapters.cases_postgres import open_casework
from settlement.disputes.intake import take_in
from switch import cli
from switch.commands.case import bar
from tests.settlement.desk import LI, NOW, TERMS
from tests.settlement.test_close import PLANTED, a_day
from tests.settlement.test_disputes import row
from tests.settlement.test_store import a_day_on
from tests.settlement.test_switch_cases import LATE, stand_in
from tests.settlement.world import PAN, com_file, inbox, run_close

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.database import FreshDatabase

SCHEMAS = Path(__file__).resolve().parents[2] / "docs" / "schemas"


@pytest.fixture
def run(tmp_path: Path, database_dsn: FreshDatabase) -> Callable[..., tuple[int, str]]:
    """`run("case", "list")`: exit code and output, on a store with a closed day and a chargeback."""

    async def close() -> None:
        _, rows = a_day()
        async with a_day_on(database_dsn) as (store, dates):
            await run_close(store, inbox(com_file(rows)), dates=dates)
        async with open_casework(database_dsn.app) as casework:
            await take_in(casework, [row("E23", -3_000)], NOW, TERMS, LI)

    asyncio.run(close())
    config = tmp_path / "node.toml"
    config.write_text(f'[database]\ndsn = "{database_dsn.owner}"\n')

    def call(*words: str, by: str = "", lang: str = "en") -> tuple[int, str]:
        whom = ["--demo"] if by else []
        login = ["--operator", by] if by else []
        line = [*login, *words, *whom, "--config", str(config), "--lang", lang]
        answer = CliRunner().invoke(cli.app, line)
        return answer.exit_code, answer.output

    return call


def lines(output: str) -> list[Any]:
    return [json.loads(line) for line in output.splitlines()]


def fits(name: str, value: Any) -> Any:
    """The value, which its published schema allows."""
    schema = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(value)
    # all that is told is written down
    assert set(value) <= set(schema["properties"])
    return value


def case_id(run: Callable[..., tuple[int, str]], name: str) -> str:
    _, out = run("case", "list", "--class", name, "--json")
    (found,) = lines(out)
    assert isinstance(found["id"], str)
    return found["id"]


def test_a_case_is_worked_to_its_end(run: Callable[..., tuple[int, str]]) -> None:
    code, out = run("case", "list", "--json")
    assert code == 0
    assert sorted(fits("case", one)["class"] for one in lines(out)) == sorted(PLANTED)
    found = case_id(run, "network_short")
    code, out = run("case", "assign", found, "demo", "--text", "yours", by="demo")
    assert (code, out.strip()) == (0, f"{found}: assigned, owner demo")
    assert run("case", "note", found, "asked the bank", by="demo-checker")[0] == 0
    assert run("case", "propose", found, "write_off", "--amount", "5", by="demo")[0] == 3
    code, out = run("case", "withdraw", found, "all of it", by="demo-checker")
    assert (code, "assigned" in out) == (0, True), out
    assert run("approval", "list", "--json")[1] == ""
    code, out = run("case", "propose", found, "write_off", "--reason", "too small", by="demo")
    assert code == 3, out
    (pending,) = lines(run("approval", "list", "--json")[1])
    assert pending["id"] in out
    assert not fits("proposal", pending)["overtaken"]
    assert (pending["act"], pending["subject"]) == ("case.write_off", found)
    sha256 = pending["sha256"]
    code, out = run("case", "approve", found, "--sha256", sha256, by="demo")
    assert (code, "own proposal" in out) == (4, True)
    code, out = run("case", "approve", found, "--sha256", sha256, by="demo-checker")
    assert code == 0, out
    assert f"{found}: ended" in out
    code, out = run("case", "show", found, "--json")
    shown = fits("case", json.loads(out))
    assert (shown["state"], shown["left_minor"], shown["held_minor"]) == ("ended", 0, 0)
    kinds = [one["kind"] for one in shown["history"]]
    assert kinds == ["assigned", "noted", "proposed", "withdrawn", "proposed", "adjusted"]
    assert shown["history"][-1]["checker"] == "demo-checker"
    assert found not in run("case", "list")[1]
    assert found in run("case", "list", "--state", "ended")[1]
    # the refusal stands in the audit log, and the chain holds
    _, out = run("audit", "list", "--json")
    refused = [one for one in lines(out) if one["result"] == "refused"]
    assert [(one["actor"], one["object"]) for one in refused] == [("demo", found)]
    done = [one["act"] for one in lines(out) if one["object"] == found and one["result"] == "done"]
    assert sorted(done) == sorted(
        [
            *["case.work"] * 5,
            *["propose:case.write_off"] * 2,
            "withdraw:case.write_off",
            "case.write_off",
            "approve:case.write_off",
        ]
    )
    assert run("audit", "verify")[0] == 0


def test_a_case_of_the_switch_is_worked_like_the_others(
    run: Callable[..., tuple[int, str]], database_dsn: FreshDatabase
) -> None:
    async def find() -> None:
        connection = await asyncpg.connect(database_dsn.owner)
        try:
            await stand_in(connection, LATE)
        finally:
            await connection.close()

    asyncio.run(find())
    _, out = run("case", "list", "--class", "late_approval", "--json")
    (found,) = lines(out)
    assert fits("case", found)["amount_minor"] == 500
    assert (found["id"], found["state"], found["evidence"]["tries"]) == (LATE.case_id, "open", "2")
    assert "迟到的批准" in run("case", "list", lang="zh")[1]
    code, out = run("case", "assign", LATE.case_id, "demo", "--json", by="demo")
    assert (code, fits("case", json.loads(out))["owner"]) == (0, "demo")
    code, out = run("case", "propose", LATE.case_id, "link", by="demo")
    assert (code, "SOURCE/KEY" in out) == (2, True)
    code, out = run("case", "propose", LATE.case_id, "write_off", by="demo")
    assert (code, "link, acknowledge" in out) == (2, True)  # says what it takes
    code, out = run("case", "propose", LATE.case_id, "acknowledge", "--json", by="demo")
    made = json.loads(out)
    assert (code, made["act"], made["subject"]) == (3, "case.adjust", LATE.case_id)
    code, out = run("case", "approve", LATE.case_id, "--sha256", made["sha256"], by="demo-checker")
    assert (code, f"{LATE.case_id}: ended" in out) == (0, True), out


def test_what_people_read(run: Callable[..., tuple[int, str]]) -> None:
    found = case_id(run, "network_short")
    run("case", "note", found, "asked", by="demo")
    for words, en, zh in (
        (("case", "list"), "Network short", "短款"),
        (("case", "show", found), "claim from the issuer", "请款"),
        (("case", "history", found), "noted", "备注"),
        (("case", "ageing"), "Network long", "长款"),
        (("dispute", "list"), "charged back", "一次退单"),
        (("dispute", "show", "c3-D001"), "Transaction not recognized", "持卡人否认已完成的交易"),
        (("dispute", "reasons"), "Duplicate processing", "交易重复提交清算"),
    ):
        for lang, text in (("en", en), ("zh", zh)):
            code, out = run(*words, lang=lang)
            assert code == 0, out
            assert text in out
    code, out = run("case", "ageing", "--json")
    assert {one["case_class"] for one in lines(out)} == set(PLANTED)


def test_a_dispute_is_answered_and_given_up(
    run: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    key = "c3-D001"
    code, out = run("dispute", "list", "--json", "--due", "10000")
    (one,) = lines(out)
    fits("dispute", one)
    assert (one["id"], one["state"], one["charged_minor"]) == (key, "charged_back", 3_000)
    slip = tmp_path / "slip.pdf"
    slip.write_bytes(b"signed")
    code, out = run("dispute", "evidence", key, str(slip), by="demo")
    assert code == 0, out
    code, out = run("dispute", "answer", key, "slip attached", by="demo")
    assert (code, "claimed again" in out) == (0, True)
    assert run("dispute", "answer", key, "again", by="demo")[0] == 2
    code, out = run("dispute", "give-up", key, "accept", "--reason", "no answer", by="demo")
    assert code == 3
    _, out = run("approval", "list", "--json")
    (pending,) = lines(out)
    code, out = run(
        "approval", "approve", pending["id"], "--sha256", pending["sha256"], by="demo-checker"
    )
    assert (code, "lost" in out) == (0, True), out
    shown = fits("dispute", json.loads(run("dispute", "show", key, "--json")[1]))
    assert shown["state"] == "lost"
    assert [item["name"] for item in shown["evidence"]] == ["slip.pdf"]
    assert run("dispute", "list", "--json")[1] == ""
    assert len(lines(run("dispute", "list", "--ended", "--json")[1])) == 1


def test_a_sale_is_refunded_by_hand_and_forgotten_by_the_network(
    run: Callable[..., tuple[int, str]],
) -> None:
    line = ("dispute", "open", "c4", "manual_refund", "--amount", "100", "--code", "9707")
    assert run(*line, by="demo")[0] == 3
    (pending,) = lines(run("approval", "list", "--json")[1])
    code, out = run(
        "approval", "approve", pending["id"], "--sha256", pending["sha256"], by="demo-checker"
    )
    assert (code, "c4-D001: manual refund sent" in out) == (0, True), out
    code, out = run("dispute", "refused", "c4-D001", "card is closed", by="demo")
    assert (code, "closed" in out) == (0, True)
    assert run("dispute", "expire", "--json", by="demo")[0] == 0


REFUSED: list[tuple[tuple[str, ...], str, int, str]] = [
    (("case", "show", "nothing"), "", 4, "no case nothing"),
    (("case", "list", "--state", "asleep"), "", 2, "assigned"),
    (("dispute", "show", "nothing"), "", 4, "no dispute nothing"),
    (("dispute", "give-up", "c3-D001", "laugh"), "demo", 2, "accept, absorb"),
    (("dispute", "open", "c9999", "claim", "--amount", "1"), "demo", 2, "no captured sale"),
]


def test_what_can_not_be_done_is_said(run: Callable[..., tuple[int, str]]) -> None:
    for words, by, code, said in REFUSED:
        answer = run(*words, by=by)
        assert answer[0] == code, answer
        assert said in answer[1]


def test_acts_that_do_not_fit_are_usage(run: Callable[..., tuple[int, str]]) -> None:
    found = case_id(run, "duplicate")
    for act in ("follow_file", "sell"):
        code, _ = run("case", "propose", found, act, by="demo")
        assert code == 2
    code, out = run("case", "approve", found, by="demo-checker")
    assert (code, "not one proposal" in out) == (4, True)
    code, out = run("case", "note", found, "hello", by="somebody")
    assert code == 2, out


def test_a_case_is_given_to_an_operator_and_told_something(
    run: Callable[..., tuple[int, str]],
) -> None:
    found = case_id(run, "duplicate")
    code, out = run("case", "assign", found, "nobody", by="demo")
    assert (code, "no operator nobody" in out) == (4, True)
    for words in ("", " ", "x" * (cli.TEXT_MAX + 1)):
        assert run("case", "note", found, words, by="demo")[0] == 2
    assert run("case", "propose", found, "write_off", "--reason", "x" * 2_001, by="demo")[0] == 2
    assert json.loads(run("case", "show", found, "--json")[1])["history"] == []
    assert run("case", "note", found, "x" * cli.TEXT_MAX, by="demo")[0] == 0


def test_a_card_number_in_an_operators_words_is_masked(run: Callable[..., tuple[int, str]]) -> None:
    found, told = case_id(run, "duplicate"), f"the holder of {PAN} called"
    run("case", "note", found, told, by="demo")
    run("case", "propose", found, "write_off", "--reason", told, by="demo")
    pages = [run("case", "show", found, "--json"), run("audit", "list", "--json")]
    pages.append(run("approval", "list", "--json"))
    for _, page in pages:
        assert "622202*********0123 called" in page
        assert PAN not in page


def test_a_bar_shows_every_part_that_counts() -> None:
    assert bar((1, 0, 999, 0, 0), 1_000, 10) == "░" + "▓" * 10
    assert bar((0, 0, 0, 0, 0), 1, 10) == ""


def test_a_proposal_that_is_overtaken_is_told_to_be_void(
    run: Callable[..., tuple[int, str]],
) -> None:
    found = case_id(run, "network_short")
    assert run("case", "propose", found, "write_off", "--reason", "small", by="demo")[0] == 3
    (first,) = lines(run("approval", "list", "--json")[1])
    assert run("case", "propose", found, "settle_with_merchant", by="demo-checker")[0] == 3
    second = next(one for one in lines(run("approval", "list", "--json")[1]) if one != first)
    assert (first["overtaken"], second["overtaken"]) == (False, False)
    code, out = run("case", "approve", found, "--sha256", first["sha256"], by="demo-checker")
    assert code == 4, out  # there are two: which is meant?
    approve = ("approval", "approve", first["id"], "--sha256", first["sha256"])
    code, out = run(*approve, by="demo-checker")
    assert code == 0, out
    (void,) = lines(run("approval", "list", "--json")[1])
    assert fits("proposal", void) == {**second, "overtaken": True}
    assert "overtaken" in run("approval", "list")[1]
    assert "已失效" in run("approval", "show", second["id"], lang="zh")[1]
    code, out = run(
        "approval", "approve", second["id"], "--sha256", second["sha256"], by="demo", lang="zh"
    )
    assert (code, f"{found} 在 {second['id']} 提请后已变动" in out) == (4, True), out
    assert run("approval", "withdraw", second["id"], by="demo-checker")[0] == 0
    assert run("approval", "list", "--json")[1] == ""
