"""`tongbao route`, and what `data apply`, `journal show` and `explain` say of routing; in both languages.

Method: a database of the test with reference data and a few stored requests; commands with typer's runner.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from typer.testing import CliRunner

from switch import cli
from switch.adapters.postgres import PostgresStore
from switch.adapters.system import SystemClock
from switch.journal import Commit, Stored
from switch.reference_file import parse
from switch.routing import route_rule
from tests.contract.worlds import attempt, outcome, request
from tests.schemas import assert_valid

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.database import FreshDatabase

MERCHANT = "M00000000000001"
BASE = f"""
[[link]]
acquirer = "bank-a"
host = "127.0.0.1"
port = 9001
de32 = "48025840"
[[link]]
acquirer = "bank-b"
host = "127.0.0.1"
port = 9002
de32 = "48025841"
[[route]]
prefix = "622000"
acquirer = "bank-a"
alternates = ["bank-b"]
[[route]]
prefix = "62258801"
acquirer = "bank-a"
card_type = "credit"
[[routing_cost]]
acquirer = "bank-a"
currency = "156"
basis_points = 38
[[routing_cost]]
acquirer = "bank-b"
currency = "156"
fixed_minor = 30
basis_points = 30
[[merchant]]
merchant = "{MERCHANT}"
name = "Diner"
mcc = "5812"
"""
RULE = """
[[routing_rule]]
name = "diners"
order = 10
when = { mccs = ["58"], currencies = ["156"] }
choose = "cost"
to = ["bank-a", "bank-b"]
"""
HIGHER = """
[[routing_rule]]
name = "large"
order = 5
to = ["bank-b"]
fallbacks = ["bank-a"]
[routing_rule.when]
prefixes = ["622000"]
currencies = ["156"]
amount_from_minor = 50000
"""

FAILED_OVER = {
    "generation": 2,
    "merchant": 1,
    "terminal": 0,
    "route": "622000@1",
    "routing": {
        "rule": "route.622000@1",
        "choose": "order",
        "candidates": [{"acquirer": "bank-a"}, {"acquirer": "bank-b"}],
    },
}


@pytest.fixture
def run(tmp_path: Path, database_dsn: FreshDatabase) -> Callable[..., tuple[int, str]]:
    """Commands on a store with BASE in force and four requests: of 1.00, of 600.00 that failed over,
    of a card of which the mask says too little, and a void."""

    async def fill() -> None:
        store = await PostgresStore.open(database_dsn.app, SystemClock())
        try:
            await store.reference.apply(parse(BASE, "base.toml", {}), maker="test")
            rows: list[tuple[int, dict[str, Any]]] = [
                (1, {"amount_minor": 100}),
                (2, {"amount_minor": 60_000, "decision": json.dumps(FAILED_OVER)}),
                (3, {"amount_minor": 60_000, "pan_masked": "622588******0019"}),
                (4, {"type": "void", "original_request_id": 1}),
            ]
            for number, more in rows:
                said = {
                    "pan_masked": "622000******0019",
                    "mcc": "5411",
                    "entry_mode": "051",
                    **more,
                }
                decision = said.pop("decision", '{"route":"622000@1"}')
                row = request(number, generation=99, **said)
                row = msgspec.structs.replace(row, decision=decision)
                first = route_rule("route.622000@1", "bank-a", 1)
                sent = msgspec.structs.replace(attempt(number), acquirer="bank-a", route_rule=first)
                verdict = await store.journal.commit(Commit(request=row, attempt=sent))
                assert isinstance(verdict, Stored)
                date = verdict.business_date
                if number == 2:
                    over = (("bank-a", "link_down"),)
                    second = attempt(number, 2, request_date=date)
                    second = msgspec.structs.replace(
                        second,
                        acquirer="bank-b",
                        link_stan="000777",
                        route_rule=route_rule("route.622000@1", "bank-b", 1, over),
                    )
                    assert isinstance(await store.journal.commit(Commit(attempt=second)), Stored)
                last = 2 if number == 2 else 1
                end = msgspec.structs.replace(outcome(number, date), attempt=last)
                assert isinstance(await store.journal.commit(Commit(outcome=end)), Stored)
        finally:
            await store.close()

    asyncio.run(fill())
    config = tmp_path / "node.toml"
    config.write_text(f'[database]\ndsn = "{database_dsn.owner}"\n')

    def call(*words: str, by: str = "", lang: str = "en") -> tuple[int, str]:
        whom = ["--demo"] if by else []
        login = ["--operator", by] if by else []
        place = ["--config", str(config), "--lang", lang]
        answer = CliRunner().invoke(cli.app, [*login, *words, *whom, *place])
        return answer.exit_code, answer.output

    return call


def test_what_a_card_would_do_under_data_in_force_and_under_a_file(
    run: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    asked = ("--card", "622000", "--merchant", MERCHANT, "--amount", "60000", "--json")
    code, output = run("route", "try", *asked)
    assert code == 0
    trial = json.loads(output)
    assert_valid("route-trial", trial)
    assert (trial["rule"], trial["route"]) == ("route.622000@1", "622000@1")
    assert [each["state"] for each in trial["candidates"]] == ["taken", "spare"]
    file = tmp_path / "rules.toml"
    file.write_text(HIGHER + RULE)
    code, output = run("route", "try", *asked, "--file", str(file))
    trial = json.loads(output)
    assert_valid("route-trial", trial)
    assert (trial["rule"], trial["candidates"][0]["acquirer"]) == ("rule.large@1", "bank-b")
    code, output = run(
        "route",
        "try",
        "--card",
        "622000",
        "--merchant",
        MERCHANT,
        "--amount",
        "30000",
        "--file",
        str(file),
        "--json",
    )
    trial = json.loads(output)
    assert trial["objections"] == [{"rule": "rule.large@1", "key": "amount"}]
    assert trial["rule"] == "rule.diners@1"
    assert [(each["acquirer"], each["cost_minor"]) for each in trial["candidates"]] == [
        ("bank-a", 114),
        ("bank-b", 120),
    ]
    assert [each["by"] for each in trial["candidates"]] == ["bank-a/156/any@1", "bank-b/156/any@1"]
    assert run("route", "try", *asked[:-1], "--down", "bank-z")[0] == 4  # a slip, not a link
    code, output = run("route", "try", *asked[:-1], "--file", str(file), "--down", "bank-b")
    assert code == 0
    assert "passed over" in output
    code, output = run(
        "route", "try", *asked[:-1], "--down", "bank-a", "--down", "bank-b", lang="zh"
    )
    assert (code, "91" in output) == (1, True)


def test_a_card_that_no_route_has_and_one_of_which_too_little_is_said(
    run: Callable[..., tuple[int, str]],
) -> None:
    code, output = run("route", "try", "--card", "4111", "--json")
    trial = json.loads(output)
    assert_valid("route-trial", trial)
    assert (code, trial["response_code"]) == (1, "15")
    code, output = run("route", "try", "--card", "622588", "--json")
    assert json.loads(output)["more_digits"] == ["62258801"]
    assert run("route", "try", "--card", "6220000000000019")[0] == 2, "no whole card number"
    assert run("route", "try", "--card", "622000", "--type", "void")[0] == 2
    assert run("route", "try", "--card", "622000", "--merchant", "2" * 15)[0] == 4


def test_what_a_file_would_change_of_the_last_requests(
    run: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(HIGHER)
    code, output = run("route", "diff", str(file), "--json")
    (found,) = [json.loads(line) for line in output.splitlines()]
    assert_valid("route-difference", found)
    assert code == 1
    assert (found["request_id"], found["sent_to"]) == (2, "bank-b"), "where it really went"
    assert found["now"] == {"rule": "route.622000@1", "candidates": ["bank-a", "bank-b"]}
    assert found["then"] == {"rule": "rule.large@1", "candidates": ["bank-b", "bank-a"]}
    assert "622000******0019" in output
    code, output = run("route", "diff", str(file), "--last", "1", "--json")
    assert (code, output) == (0, ""), "the newest is not among those that differ"
    file.write_text(HIGHER.replace('prefixes = ["622000"]', 'prefixes = ["6225880"]'))
    code, output = run("route", "diff", str(file), "--json")
    (found,) = [json.loads(line) for line in output.splitlines()]
    assert (found["request_id"], found["undetermined"]) == (3, True)
    code, output = run("route", "diff", str(file), lang="zh")
    assert "无法判定" in output


def test_a_bad_file_is_refused_whole_with_its_line(
    run: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    file = tmp_path / "rules.toml"
    text = HIGHER + RULE.replace("order = 10", "order = 20").replace(
        '{ mccs = ["58"], currencies = ["156"] }',
        '{ prefixes = ["6220001"], currencies = ["156"], amount_from_minor = 90000 }',
    )
    file.write_text(text)
    code, output = run("data", "apply", str(file), by="demo")
    line = text.splitlines().index("order = 20") + 1
    assert code == 2, output
    assert (
        f"rules.toml:{line}: routing_rule[2].order: never asked: rule large of order 5"
        in output.replace("\n", " ")
    )
    assert run("route", "rules", "--json") == (0, ""), "nothing of it stands"
    file.write_text(RULE + HIGHER)
    code, output = run("data", "apply", str(file), by="demo")
    assert code == 0, output
    code, output = run("route", "rules", "--json")
    rules = [json.loads(line) for line in output.splitlines()]
    for each in rules:
        assert_valid("routing-rule", each)
    assert [(each["name"], each["order"], each["version"]) for each in rules] == [
        ("large", 5, 1),
        ("diners", 10, 1),
    ]
    assert run("route", "rules", lang="zh")[0] == 0
    file.write_text('[[route]]\nprefix = "622000"\nacquirer = "bank-a"\ncard_type = "credit"\n')
    code, output = run("data", "apply", str(file), by="demo")
    assert code == 0, "a card's type may change where no rule asks for it"


def test_what_stands_in_force_is_held_against_a_file(
    run: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    """The route of a rule's cards changes its type: the rule, which is not in the file, is named."""
    file = tmp_path / "rules.toml"
    file.write_text(
        '[[routing_rule]]\nname = "debits"\norder = 1\nto = ["bank-b"]\n'
        'when = { prefixes = ["622000"], card_types = ["debit"] }\n'
    )
    assert run("data", "apply", str(file), by="demo")[0] == 0
    file.write_text('[[route]]\nprefix = "622000"\nacquirer = "bank-a"\ncard_type = "credit"\n')
    code, output = run("data", "apply", str(file), by="demo")
    assert code == 2
    assert "routing_rule debits.when.prefixes[0] (in force already)" in output.replace("\n", " ")


def test_the_journal_and_the_story_tell_a_second_attempt(
    run: Callable[..., tuple[int, str]],
) -> None:
    code, output = run("journal", "show", "2", "--json")
    shown = json.loads(output)
    assert code == 0
    assert_valid(
        "transaction",
        {name: shown[name] for name in shown if name not in ("late_answers", "reversal_requests")},
    )
    assert shown["decision"]["routing"] == FAILED_OVER["routing"]
    assert [each["route_rule"] for each in shown["attempts"]] == [
        "route.622000@1/bank-a@1",
        "route.622000@1/bank-b@1 after bank-a link_down",
    ]
    assert shown["acquirer"] == "bank-b"
    code, output = run("explain", "2")
    assert "attempt 1 certainly did not reach bank-a: not signed on" in output
    assert "candidate 2, bank-b: in reserve" in output
