"""The pack against the simulated bank: every case passes, the same bytes again, no secret in any of them.

Method: all cases in virtual time, once for the module; then the files are read as who gets them reads
them, and searched for every card number, PIN, track, expiry and key that was used. A link that reads its
bank otherwise must fail by name.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import xml.etree.ElementTree as ET
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest
from typer.testing import CliRunner

from hsm.keys import KeyUsage
from switch.certify import simulated
from switch.certify.cards import simulated as cards_of
from switch.certify.case import load
from switch.certify.pack import files, head_of
from switch.certify.rig import TMK, LinkDownError
from switch.certify.runner import KEYS, Runner
from switch.cli import app
from switch.replay.played_terminal import made_key
from switch.transactions import TYPES
from switch.virtual.ports import EPOCH
from tests.schemas import assert_valid

if TYPE_CHECKING:
    from pathlib import Path

    from switch.certify.rig import Rig
    from switch.certify.runner import CaseResult
    from switch.certify.tap import Crossing

HEAD = head_of(simulated.LINK, simulated=True, begun_at=EPOCH, version="1")
Ran = tuple[list["CaseResult"], list["Crossing"]]


@pytest.fixture(scope="module", params=simulated.LINKS)
def ran(request: pytest.FixtureRequest) -> Ran:
    """Against the bank of each kind: what is asked is the same, the wire is not."""
    return simulated.run(load(), simulated.LINKS[request.param])


@pytest.fixture(scope="module")
def pack(ran: Ran) -> dict[str, bytes]:
    return files(HEAD, *ran, chinese=False)


def test_every_case_passes(ran: Ran) -> None:
    results, _ = ran
    wrong = {
        one.case.id: [(each.key, each.values) for step in one.steps for each in step.wrong]
        for one in results
        if one.result != "passed"
    }
    assert wrong == {}
    assert len(results) == len(load())


def test_every_type_of_transaction_and_every_fault_is_in_it(ran: Ran) -> None:
    results, crossings = ran
    assert {name for one in results for name in one.case.covers} == set(TYPES)
    faults = {one.fault for one in crossings}
    assert faults == {"", "lose_answer", "late_answer", "spoil_answer", "spoil_request"}
    told = {step.told for one in results for step in one.steps}
    assert {"00", "10", "51", "55", "98", "A0"} <= told


def test_the_same_bytes_again() -> None:
    first, second = (files(HEAD, *simulated.run(load()), chinese=False) for _ in "ab")
    assert first == second


def test_no_secret_is_in_it(ran: Ran, pack: dict[str, bytes]) -> None:
    cards = cards_of(step.card for one in ran[0] for step in one.case.step)
    used = {str(one.message.get(2)) for one in ran[1]} - {"None"}
    assert used <= {card.pan for card in cards.values()}
    secrets = {text for card in cards.values() for text in (card.pan, card.pin, card.payment_code)}
    secrets |= {card.track2[20:] for card in cards.values()}
    secrets |= {f'"{card.expiry}"' for card in cards.values()}
    keys = [bytes.fromhex(TMK), *KEYS.values()]
    keys += [made_key(f"certify {usage.value}") for usage in KeyUsage]
    secrets |= {text for key in keys for text in (key.hex(), key.hex().upper())}
    for one in ran[1]:
        for de in (48, 52, 55, 96):
            value = one.wire.get(de)
            if value:
                secrets.add(value.hex().upper() if isinstance(value, bytes) else value)
    for path, data in pack.items():
        text = data.decode()
        assert not [secret for secret in secrets if secret in text], path


def test_what_it_says_of_itself(pack: dict[str, bytes]) -> None:
    told = json.loads(pack["pack.json"])
    assert_valid("certification-pack", told)
    manifest = json.loads(pack["manifest.json"])
    for file in manifest["files"]:
        data = pack[file["path"]]
        assert (file["bytes"], file["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert {file["path"] for file in manifest["files"]} == pack.keys() - {"manifest.json"}
    for case in told["cases"]:
        assert_valid("certification-trace", json.loads(pack[case["trace"]]))
        assert f"cases/{case['id']}.json" in pack


def test_the_page_is_one(pack: dict[str, bytes]) -> None:
    text = pack["report.html"].decode().removeprefix("<!doctype html>\n")
    page = ET.fromstring(text)
    assert page.tag == "html"
    assert len(list(page.iter("details"))) == 2 * len(load())
    assert "<script" not in text
    assert "http" not in text.replace("http-equiv", "")


def test_times_and_elements_are_named(ran: Ran, pack: dict[str, bytes]) -> None:
    trace = json.loads(pack["traces/time_out.json"])
    mtis = [(one["mti"], one["to"], one["fault"]) for one in trace["messages"]]
    reversal = "0400" if ran[1][0].header else "0420"  # as the host calls it
    assert mtis == [
        ("0200", "bank", ""),
        ("0210", "switch", "lose_answer"),
        (reversal, "bank", ""),
        (f"{reversal[:2]}{int(reversal[2]) + 1}0", "switch", ""),
    ]
    elements: dict[int, dict[str, Any]] = {
        one["de"]: one for one in trace["messages"][0]["elements"]
    }
    assert elements[2]["value"].count("*") == 9
    assert elements[52]["value"] == "[8 bytes]"
    assert {"[MAC, right]"} <= {one["value"] for one in elements.values()}
    assert (elements[4]["name"], elements[4]["name_zh"]) == ("amount, transaction", "交易金额")
    assert trace["messages"][2]["at"] - trace["messages"][0]["at"] > simulated.LINK.timeout_s


def only(*names: str) -> list[Any]:
    return [case for case in load() if case.id in names]


def test_a_bank_that_answers_otherwise_fails_by_name() -> None:
    """The link reads 00 as a decline, and knows no other answer that approves."""
    other = msgspec.structs.replace(simulated.LINK, approved=("11",), declined=("00",))
    (result,), _ = simulated.run(only("void"), other)
    assert result.result == "failed"
    assert result.steps[-1].do == "void"
    (silent,), _ = simulated.run(
        only("purchase"),
        msgspec.structs.replace(simulated.LINK, approved=("11",), declined=("51",)),
    )
    assert [each.key for step in silent.steps for each in step.wrong] == ["certify_unexpected"] * 2


def test_an_element_that_is_not_as_expected_is_named() -> None:
    (case,) = only("purchase")
    (step,) = case.step
    asked, answer = step.link
    wrong = msgspec.structs.replace(asked, elements=asked.elements | {"25": "06"})
    changed = msgspec.structs.replace(
        case, step=(msgspec.structs.replace(step, link=(wrong, answer)),)
    )
    (result,), crossings = simulated.run([changed])
    (fault,) = result.steps[0].wrong
    assert (fault.key, fault.values) == (
        "certify_other",
        {"pattern": "06", "mti": "0200", "de": "25"},
    )
    made = files(HEAD, [result], crossings, chinese=True)
    assert "不符合 06" in made["report.html"].decode()


def test_a_test_host_that_is_not_there_is_no_failed_case() -> None:
    """Nothing crossed the line: 61 failed cases and a pack would say something of the bank that is not so."""

    class Nobody:
        tap = SimpleNamespace(crossings=[], fault="", late_s=0.0)
        signed_on, open_ = False, True

        async def open(self) -> None: ...

        async def sign_on(self) -> None:
            raise LinkDownError("bank_a")

        async def sign_off(self) -> None:
            self.open_ = False

        def now_s(self) -> float:
            return 0.0

    rig = Nobody()
    told: list[object] = []
    runner = Runner(cast("Rig", rig), cards_of(["sound", "pin"]), None, 1.0, on_case=told.append)
    case = next(each for each in load() if each.id == "purchase")
    with pytest.raises(LinkDownError):
        asyncio.run(runner.run([case]))
    assert (rig.open_, told) == (False, [])


def test_the_command(tmp_path: Path) -> None:
    target = tmp_path / "pack"
    words = ["certify", str(target), "--case", "purchase", "--case", "time_out", "--json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)
    assert_valid("certify", told)
    assert [case["id"] for case in told["cases"]] == ["purchase", "time_out"]
    assert (target / "traces" / "time_out.json").exists()
    assert CliRunner().invoke(app, words).exit_code == 2  # it is there already
    other = ["certify", str(tmp_path / "other"), "--case", "no_such"]
    assert CliRunner().invoke(app, other).exit_code == 2
    assert CliRunner().invoke(app, ["certify", str(tmp_path / "x"), "--link", "a"]).exit_code == 2
