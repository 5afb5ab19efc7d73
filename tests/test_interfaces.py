"""`docs/interfaces.md` and its schemas against the program.

Goal: what others script against is written down, and what is written down is true. Method: every
enumeration, key, default, metric, column and exit code of the page is compared with the code that has
it, both ways; every schema is one, and real objects made without a node validate. Real commands on a
real node are in `tests/end_to_end/test_interfaces.py`.
"""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import asyncpg
import msgspec
import pytest

from hsm.keys import KeyUsage
from iso8583.inspect import inspect_message
from settlement.cases import BREAK_CLASSES, MATCH_CLASSES, SWITCH_CLASSES, Break
from settlement.casework import acts as casework, states
from settlement.close import CloseResult, StepResult
from settlement.disputes import table as disputes
from settlement.ledger import TrialLine
from settlement.netting import Net
from settlement.ports import STEPS, Output
from switch.commands.acts import ACTS
from switch.commands.common import Exit
from switch.journal import OutcomeState
from switch.people.audit import Broken
from switch.people.operators import ALONE, ROLES, TOGETHER
from switch.reference_file import KINDS, parse
from switch.transactions import TYPES, UNSUPPORTED
from tests.iso8583.corpus import record
from tests.schemas import SCHEMAS, assert_valid, schema
from tests.settlement.world import DAY
from tests.tables import sections, table

if TYPE_CHECKING:
    from tests.database import FreshDatabase

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "interfaces.md").read_text(encoding="utf-8")
HEADINGS = sections(PAGE)


def first_column(heading: str) -> list[str]:
    return [row[0] for row in table(HEADINGS[heading])]


# -- enumerations -------------------------------------------------------------------------------


def test_exit_codes() -> None:
    assert [int(code) for code in first_column("Exit codes")] == list(Exit)


def test_break_classes() -> None:
    rows = {row[0]: row[1] for row in table(HEADINGS["Break classes"])}
    assert rows == BREAK_CLASSES
    assert all(f"`{name}`" in HEADINGS["Break classes"] for name in MATCH_CLASSES)
    assert schema("close")["properties"]["breaks"]["items"]["properties"]["class"]["enum"] == list(
        BREAK_CLASSES
    )


def test_states_and_steps() -> None:
    states = [*(state.value for state in OutcomeState), "in_flight", "pending"]
    properties = schema("transaction")["properties"]
    assert sorted(first_column("States")) == sorted(states)
    assert sorted(properties["state"]["enum"]) == sorted(states)
    assert sorted(properties["type"]["enum"]) == sorted([*TYPES, UNSUPPORTED.name])
    steps = ", ".join(f"`{name}`" for name in STEPS)
    assert steps in HEADINGS["States"].replace("\n", " ")
    of_step = schema("close")["properties"]["steps"]["items"]["properties"]
    assert of_step["name"]["enum"] == list(STEPS)


def test_cases_and_reversals_are_named(database_dsn: FreshDatabase) -> None:
    """Their names stand in several modules: every literal of them is looked for in the page."""
    sources = "\n".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "switch").rglob("*.py")
        if "demo" not in path.parts
    )
    told = HEADINGS["States"]
    for pattern in (
        r"CaseRow\(\s*kind=\"(\w+)\"",
        r"case_of\(\s*item, \"(\w+)\"",
        r"Difference\(\s*\"(\w+)\"",
        r"origin=\"(\w+)\"",
        r"Ended\(\"(\w+)\"",
    ):
        found = re.findall(pattern, sources)
        assert found, pattern
        assert {name for name in found if f"`{name}`" not in told} == set()
    cases = {
        name
        for pattern in (r"CaseRow\(\s*kind=\"(\w+)\"", r"Difference\(\s*\"(\w+)\"")
        for name in re.findall(pattern, sources)
    }
    assert cases <= SWITCH_CLASSES.keys()
    assert {name for name in SWITCH_CLASSES if f"`{name}`" not in told} == set()
    origins = schema("transaction")["properties"]["reversals"]["items"]["properties"]["origin"]
    assert all(f"`{name}`" in told for name in origins["enum"])


def test_key_usages_that_are_stored() -> None:
    assert set(schema("key")["properties"]["usage"]["enum"]) <= set(KeyUsage.__members__)


def test_metrics() -> None:
    defined = {
        name: (kind, re.findall(r"\w+", labels))
        for path in (ROOT / "switch").rglob("*.py")
        for kind, name, labels in re.findall(
            r"\b(counter|gauge|level|histogram)\(\s*\"(\w+)\",\s*\"[^\"]*\",?((?:\s*\"\w+\",?)*)",
            path.read_text(encoding="utf-8"),
        )
    }
    told = {
        name: (kind, re.findall(r"\w+", labels))
        for name, kind, labels, _ in table(HEADINGS["Metrics"])
    }
    assert told == defined


def test_acts_and_who_may_do_them() -> None:
    told = {name: (takes, what) for name, takes, what in table(HEADINGS["Acts"])}
    alone = {name: ("one", what) for name, what in ALONE.items()}
    assert told == alone | {name: ("two", what) for name, what in TOGETHER.items()}
    assert set(ACTS) <= set(TOGETHER)
    page = sections((ROOT / "docs" / "operations.md").read_text(encoding="utf-8"))
    roles = {
        role: frozenset(
            f"{verb}:{act}"
            for verb, acts in zip(("do", "propose", "approve"), columns, strict=True)
            for act in re.findall(r"[\w.]+", acts)
        )
        for role, *columns in table(page["People"])
    }
    assert roles == ROLES
    assert schema("operator")["properties"]["roles"]["items"]["enum"] == list(ROLES)
    assert schema("audit-verification")["properties"]["broken"]["oneOf"][1]["properties"]["reason"][
        "enum"
    ] == list(get_args(get_type_hints(Broken)["reason"]))


# -- database and reference data ----------------------------------------------------------------


def test_views(database_dsn: FreshDatabase) -> None:
    async def read() -> dict[str, list[str]]:
        connection = await asyncpg.connect(database_dsn.reader)
        try:
            rows = await connection.fetch(
                "SELECT c.relname AS name, array_agg(a.attname::text ORDER BY a.attnum) AS columns"
                " FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0"
                " WHERE c.relkind = 'v' AND c.relname ~ '_v[0-9]+$' GROUP BY c.relname"
            )
            for row in rows:  # and the reader may read them
                await connection.fetch(f"SELECT * FROM switch.{row['name']} LIMIT 1")
        finally:
            await connection.close()
        return {f"switch.{row['name']}": row["columns"] for row in rows}

    told = {name: columns.split(", ") for name, _, columns in table(HEADINGS["Database views"])}
    assert told == asyncio.run(read())
    transaction = schema("transaction")
    assert sorted(told["switch.journal_v1"]) == sorted(transaction["required"])


@pytest.mark.parametrize("kind", KINDS)
def test_reference_data(kind: str) -> None:
    """Keys in the order of the shape, mandatory ones in bold, defaults as TOML."""
    rows = [(row[0], row[1]) for row in table(HEADINGS[kind])]
    expected = []
    for field in msgspec.structs.fields(KINDS[kind].shape):
        if field.required:
            expected.append((f"**{field.name}**", ""))
        else:
            default = msgspec.to_builtins(field.default)
            expected.append((field.name, f"`{json.dumps(default, ensure_ascii=False)}`"))
    assert rows == expected


def test_the_example_files_apply() -> None:
    entries = [
        entry
        for name in ("example-data.toml", "example-downloads.toml")
        for entry in parse((ROOT / "docs" / name).read_text(encoding="utf-8"), "", {})
    ]
    assert {kind for kind, _, _ in entries} == set(KINDS) - {"terminal", "agent"}


def test_every_kind_of_item_is_named() -> None:
    assert schema("item")["properties"]["kind"]["enum"] == list(KINDS)


@pytest.mark.parametrize("kind", ["merchant", "terminal"])
def test_listed_items_have_the_keys_of_data_apply(kind: str) -> None:
    fields = KINDS[kind].shape.__struct_fields__
    assert set(schema(kind)["properties"]) == {*fields, "version", "versions"}


def test_cases_and_disputes() -> None:
    of_case = schema("case")["properties"]
    assert of_case["state"]["enum"] == list(states.STATES)
    assert of_case["acts"]["items"]["enum"] == list(casework.ACTS)
    told = of_case["history"]["items"]["properties"]
    assert set(told) == set(states.CaseEvent.__struct_fields__)
    of_dispute = schema("dispute")["properties"]
    assert of_dispute["state"]["enum"] == list(disputes.STATES)
    of_event = of_dispute["events"]["items"]["properties"]
    assert of_event["event"]["enum"] == list(disputes.EVENTS)
    assert set(of_event) == set(disputes.DisputeEvent.__struct_fields__)
    evidence = of_dispute["evidence"]["items"]["properties"]
    assert set(evidence) == set(disputes.Evidence.__struct_fields__)


# -- objects ------------------------------------------------------------------------------------


def test_every_schema_is_linked() -> None:
    linked = set(re.findall(r"\(schemas/([\w-]+)\.json\)", PAGE))
    assert linked == {path.stem for path in SCHEMAS.glob("*.json")}


@pytest.mark.parametrize(
    "message",
    [
        "",
        "zz",
        "0011",
        "02007024048000C00001",
        "003560000300006031003100000800002000000000C000120000013730303030303031",
    ],
)
def test_inspections(message: str) -> None:
    assert_valid("inspection", inspect_message(message, candidates=3).to_json_dict())


def test_an_inspection_of_chip_data_and_mistakes() -> None:
    row = record("cup-lzy-sale-chip")
    whole = inspect_message(row["hex"][4:], candidates=2).to_json_dict()
    assert_valid("inspection", whole)
    assert whole["mistakes"][0]["rule"] == "tpdu_not_stripped"
    assert any(element["parts"] for element in whole["elements"])


def test_a_close_with_a_break_of_each_class() -> None:
    breaks = [
        Break(
            id=f"{DAY}-R{number}",
            business_date=DAY,
            break_class=name,
            acquirer="bank-a",
            currency="156",
            keys={"stan": "000001", "rrn": "606300000001"},
            ours_minor=None if number % 2 else 100,
            theirs_minor=100 if number % 2 else None,
            evidence={"pass": "exact"},
        )
        for number, name in enumerate(BREAK_CLASSES)
    ]
    result = CloseResult(
        business_date=DAY,
        exit_code=Exit.DIFFERENCES,
        said=[],
        steps=[
            StepResult(name, "done" if name != "net" else "waiting", "", {"rows": 1})
            for name in STEPS
        ],
        totals={"rows": 8},
        breaks=breaks,
        nets=[Net(DAY, "M" * 15, "156", 1, 100, 0, 1, 0, 99)],
        trial_balance=[TrialLine("merchant_payable", "156", 0, 99)],
        files=[Output("report.html", "0" * 64, 1)],
    )
    assert_valid("close", json.loads(result.to_json()))


def test_what_is_not_written_down_does_not_validate() -> None:
    key: dict[str, Any] = {
        "owner": "data",
        "usage": "DATA",
        "version": 1,
        "check_value": "00",
        "lmk_id": "00",
        "created_at": "2026-03-04T00:00:00Z",
        "status": "pending",
        "active_at": None,
        "retired_at": None,
    }
    assert_valid("key", key)
    for wrong in ({**key, "block": "D0"}, {**key, "version": "1"}, {**key, "created_at": "today"}):
        with pytest.raises(AssertionError):
            assert_valid("key", wrong)
