"""The `tongbao` command: what each sub-command answers, and its exit code.

Method: in one process where the answer counts (typer's runner on a database of the test), and as a
process of its own where the exit code, the streams or the start do.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from Crypto.Cipher import DES3
from typer.testing import CliRunner

from iso8583.codec import codec_for
from settlement.files import com
from switch import cli
from switch.adapters.postgres import PostgresStore
from switch.adapters.system import SystemClock
from switch.journal import Commit, Stored
from switch.texts import TEXTS
from tests.schemas import assert_valid
from tests.switch import rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.database import FreshDatabase

ROOT = Path(__file__).resolve().parents[2]
MERCHANT, TERMINAL = "100000000000001", "00000001"
TMK = "0123456789ABCDEFFEDCBA9876543210"


_SIGN_ON = bytes.fromhex("6000030000603100310000") + codec_for("unionpay_pos").encode(
    {0: "0800", 11: "000001", 41: "70000001", 42: MERCHANT, 60: "00000001003", 63: "01 "}
)
SIGN_ON = f"{len(_SIGN_ON):04x}{_SIGN_ON.hex()}"
COM_ROW: dict[str, str | int | None] = {
    "acquirer_id": "48021000", "stan": "000001", "transmission_time": "0302101010",
    "pan": "6222021234567890123", "amount": 100, "mti": "0200", "processing_code": "000000",
    "terminal": "70000001", "merchant": MERCHANT,
}  # fmt: skip

# Commands that take an operator and no key: the demo's.
CHANGING = {("merchant", "add"), ("terminal", "suspend"), ("data", "apply")}


class Answer:
    def __init__(self, code: int, out: str, err: str, error: BaseException | None) -> None:
        self.code, self.out, self.err, self.error = code, out, err, error

    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def run(tmp_path: Path, database_dsn: FreshDatabase) -> Callable[..., Answer]:
    """`run("merchant", "list")`: a command on a database of this test."""
    config = tmp_path / "node.toml"
    config.write_text(f'[database]\ndsn = "{database_dsn.owner}"\n')

    def call(*words: str) -> Answer:
        as_whom = ["--demo"] if words[:2] in CHANGING else []
        answer = CliRunner().invoke(
            cli.app, [*words, *as_whom, "--config", str(config), "--lang", "en"]
        )
        return Answer(answer.exit_code, answer.stdout, answer.stderr, answer.exception)

    return call


def process(*words: str, given: str = "", cwd: Path | None = None) -> Answer:
    """`tongbao …` as a process of its own."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tongbao" / "__main__.py"), *words],
        input=given,
        capture_output=True,
        text=True,
        cwd=cwd or ROOT,
        check=False,
        timeout=600,
    )
    return Answer(done.returncode, done.stdout, done.stderr, None)


# -- reference data and keys ----------------------------------------------------------------------


def test_a_merchant_is_added_listed_shown_and_changed(run: Callable[..., Answer]) -> None:
    assert run("merchant", "list", "--json").lines() == []
    added = run("merchant", "add", MERCHANT, "--name", "Shop", "--name-zh", "小店", "--mcc", "5411")
    assert (added.code, added.out) == (0, f"merchant {MERCHANT}: version 1\n")
    again = run("merchant", "add", MERCHANT, "--name", "Shop", "--name-zh", "小店", "--mcc", "5411")
    assert (again.code, again.out) == (0, "nothing changed\n")
    assert run("merchant", "add", MERCHANT, "--name", "Store").code == 0
    (listed,) = run("merchant", "list", "--json").lines()
    assert (listed["name"], listed["version"]) == ("Store", 2)
    shown = json.loads(run("merchant", "show", MERCHANT, "--json").out)
    assert [each["version"] for each in shown["versions"]] == [2, 1]
    assert 'name = "Store"' in run("merchant", "show", MERCHANT).out
    assert "Store" in run("merchant", "list").out


def test_a_terminal_with_its_tmk_is_added_and_suspended(run: Callable[..., Answer]) -> None:
    words = ("terminal", "add", MERCHANT, TERMINAL, "--demo", "--tmk-component", TMK)
    unknown = run(*words)
    assert (unknown.code, unknown.err) == (4, f"tongbao: no merchant {MERCHANT}\n")
    assert run("keys", "list", "--json").lines() == []
    run("merchant", "add", MERCHANT, "--name", "Shop")
    added = run(*words, "--check-value", "08D7B4", "--mac-profile", "x9.19")
    assert added.code == 0, added.err
    assert f"terminal:{MERCHANT}/{TERMINAL} TMK: version 1, check value 08D7B4" in added.out
    assert TMK not in added.out + added.err
    (key,) = run("keys", "list", "--json").lines()
    assert (key["usage"], key["check_value"]) == ("TMK", "08D7B4")
    assert "block" not in key
    assert run("terminal", "suspend", MERCHANT, TERMINAL).code == 0
    (listed,) = run("terminal", "list", "--json").lines()
    assert (listed["status"], listed["mac_profile"], listed["version"]) == ("suspended", "x9.19", 2)
    assert run("terminal", "suspend", MERCHANT, TERMINAL, "--resume").code == 0
    assert (
        json.loads(run("terminal", "show", MERCHANT, TERMINAL, "--json").out)["status"] == "active"
    )


def test_components_are_given_by_one_person_with_demo_only(
    run: Callable[..., Answer], tmp_path: Path
) -> None:
    run("merchant", "add", MERCHANT, "--name", "Shop")
    parts = []
    for number, digits in enumerate(("0123456789ABCDEFFEDCBA9876543210", "1C" * 16), 1):
        file = tmp_path / f"part{number}"
        file.write_text(digits + "\n")
        parts += ["--tmk-component", f"@{file}"]
    for given in (["--tmk-component", TMK], parts):
        refused = run("terminal", "add", MERCHANT, TERMINAL, *given)
        assert refused.code == 2
        assert "keys import" in refused.err
        assert TMK not in refused.err
    assert run("terminal", "add", MERCHANT, TERMINAL, "--demo", *parts).code == 0
    wrong = run("terminal", "add", MERCHANT, TERMINAL, "--demo", *parts, "--check-value", "000000")
    assert wrong.code == 4
    missing = run("terminal", "add", MERCHANT, TERMINAL, "--demo", "--tmk-component", "@/none")
    assert missing.code == 2


def test_a_links_keys_come_as_components_and_under_its_zmk(run: Callable[..., Answer]) -> None:
    words = ("keys", "import", "--link", "BANKA", "--demo")
    assert run(*words, "--usage", "zmk", "--component", TMK).code == 4  # no such link yet
    file = ROOT / "tests" / "switch" / "link.toml"
    applied = run("data", "apply", str(file))
    assert applied.code == 0, applied.err
    assert run(*words, "--usage", "zpk", "--under-zmk", "00" * 16).code == 4  # no ZMK yet
    assert run(*words, "--usage", "zmk", "--component", TMK).code == 0
    zpk = bytes.fromhex("13" * 8 + "32" * 8)
    under_zmk = DES3.new(bytes.fromhex(TMK), DES3.MODE_ECB).encrypt(zpk).hex()
    check = DES3.new(zpk, DES3.MODE_ECB).encrypt(bytes(8))[:3].hex().upper()
    words_zpk = (*words, "--usage", "zpk", "--under-zmk", under_zmk, "--check-value")
    assert run(*words_zpk, "000000").code == 4
    imported = run(*words_zpk, check)
    assert imported.out == f"link:BANKA ZPK: version 1, check value {check}\n"
    assert run(*words_zpk, check).out.startswith("link:BANKA ZPK: version 2")
    assert run(*words, "--usage", "tmk", "--component", TMK).code == 2
    assert run(*words, "--usage", "zmk", "--under-zmk", "00").code == 2
    assert run(*words, "--usage", "zpk").code == 2
    assert run(*words, "--usage", "zmk", "--component", "xyz").code == 4
    listed = run("keys", "list", "--json").lines()
    assert [(key["owner"], key["usage"], key["version"]) for key in listed] == [
        ("link:BANKA", "ZMK", 1),
        ("link:BANKA", "ZPK", 1),
        ("link:BANKA", "ZPK", 2),
    ]


def test_data_goes_in_as_a_file_and_comes_out_as_one(
    run: Callable[..., Answer], tmp_path: Path
) -> None:
    file = ROOT / "tests" / "switch" / "link.toml"
    assert run("data", "apply", str(file)).out.splitlines() == [
        "link BANKA: version 1",
        "route 62: version 1",
    ]
    shown = tmp_path / "shown.toml"
    shown.write_text(run("data", "show").out)
    assert run("data", "apply", str(shown)).out == "nothing changed\n"
    kinds = [item["kind"] for item in run("data", "show", "--json").lines()]
    assert kinds == ["link", "route"]
    bad = tmp_path / "bad.toml"
    bad.write_text(shown.read_text().replace('prefix = "62"', 'prefix = "62"\ncolour = "red"'))
    line = bad.read_text().splitlines().index('colour = "red"') + 1
    refused = run("data", "apply", str(bad))
    told = f"tongbao: {bad}:{line}: route[1].colour: no such key\n"
    assert (refused.code, refused.err) == (2, told)
    assert run("data", "apply", str(tmp_path / "none.toml")).code == 2


# -- the journal ----------------------------------------------------------------------------------


def test_an_empty_journal_lists_nothing_and_shows_nothing(run: Callable[..., Answer]) -> None:
    assert run("journal", "list", "--json").out == ""
    assert run("journal", "list", "--json", "--date", "2026-11-21").code == 0
    assert run("journal", "list", "--date", "yesterday").code == 2
    nowhere = run("journal", "export", "/nowhere/day.jsonl", "--date", "2026-11-21")
    assert (nowhere.code, nowhere.err) == (2, "tongbao: there is no folder /nowhere\n")
    assert run("journal", "show", "632500000001").code == 4
    assert run("journal", "show", "a b").code == 2


def test_a_transaction_is_listed_and_explained(
    run: Callable[..., Answer], database_dsn: FreshDatabase
) -> None:
    asyncio.run(store_purchase(database_dsn.app))
    (listed,) = run("journal", "list", "--json").lines()
    assert listed["merchant"] == "M00000000000001"
    assert (listed["batch"], listed["stan"], listed["rrn"]) == ("000007", "000042", "606300000001")
    assert (listed["amount_minor"], listed["approved_amount_minor"]) == (10_000, 10_000)
    assert (listed["state"], listed["response_code"]) == ("approved", "00")
    assert listed["pan_masked"] == "622000******0001"
    (attempt,) = listed["attempts"]
    assert (attempt["acquirer"], attempt["link_stan"]) == ("bank_a", "000001")
    assert listed["reversals"] == []
    date = listed["business_date"]
    assert run("journal", "list", "--json", "--date", date, "--limit", "5").lines() == [listed]
    assert run("journal", "list", "--json", "--date", "2001-01-01").lines() == []
    assert run("journal", "list", "--json", "--terminal", "other").lines() == []
    shown = json.loads(run("journal", "show", "606300000001", "--json").out)
    assert shown == {**listed, "late_answers": [], "reversal_requests": []}
    assert json.loads(run("journal", "show", str(listed["request_id"]), "--json").out) == shown
    assert "606300000001" in run("journal", "list").out


async def store_purchase(dsn: str) -> None:
    store = await PostgresStore.open(dsn, SystemClock())
    try:
        owner = await store.owners.register("n1", 0)
        request = msgspec.structs.replace(
            rows.REQUEST, owner_id=owner, generation=await store.reference.generation()
        )
        attempt = msgspec.structs.replace(rows.ATTEMPT, request_date=None)
        outcome = msgspec.structs.replace(rows.APPROVED, request_date=None)
        stored = await store.journal.commit(
            Commit(request=request, attempt=attempt, outcome=outcome)
        )
        assert isinstance(stored, Stored), stored
    finally:
        await store.close()


# -- usage, configuration, faults -----------------------------------------------------------------


def test_wrong_use_is_2_and_says_what(tmp_path: Path) -> None:
    assert process("nonsense").code == 2
    assert process("merchant", "add").code == 2
    config = tmp_path / "node.toml"
    config.write_text("workers = 0\n")
    refused = process("serve", "--config", str(config))
    assert refused.code == 2
    assert refused.err == f"tongbao: {config}: workers: expected `int` >= 1\n"
    refused = process("journal", "show", os.fsdecode(b"\xff\xfe"))
    assert (refused.code, refused.err) == (2, "tongbao: not UTF-8: '\\udcff\\udcfe'\n")


@pytest.mark.parametrize("name", ["9" * 19, "9" * 5_000, "x" * 11, "²" * 12, ""])
def test_what_can_be_no_name_of_a_transaction_is_usage(name: str) -> None:
    answer = process("journal", "show", name)
    assert (answer.code, len(answer.err.splitlines())) == (2, 1)


def test_a_fault_of_ours_is_4_and_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    from switch.commands import inspect

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("card 4111111111111111")

    monkeypatch.setattr(inspect, "run", fail)
    answer = CliRunner().invoke(cli.app, ["inspect", "0800"])
    assert answer.exit_code == 4
    assert "RuntimeError: card 411111******1111" in answer.stderr


def test_serve_without_an_lmk_names_init_and_demo(tmp_path: Path) -> None:
    answer = process("serve", "--lang", "en", cwd=tmp_path)
    assert answer.code == 4
    assert "tongbao init" in answer.err
    assert "--demo" in answer.err


def test_init_seals_an_lmk_once(tmp_path: Path) -> None:
    passphrase = "correct horse battery"
    words = ("init", "--lang", "en", "--passphrase-fd", "0", "--shares", "2/3")
    made = process(*words, given=passphrase, cwd=tmp_path)
    assert made.code == 0, made.err
    file = tmp_path / "tongbao.lmk"
    assert file.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "var").stat().st_mode & 0o777 == 0o700
    assert made.out.count("for one custodian") == 3
    again = process(*words, given=passphrase, cwd=tmp_path)
    assert again.code == 4
    assert "never overwritten" in again.err

    inside = tmp_path / "inside.toml"
    inside.write_text('[hsm]\nlmk_file = "var/lmk"\n')
    assert process(*words, "--config", str(inside), given=passphrase, cwd=tmp_path).code == 2
    assert process("init", "--data", str(tmp_path / "other"), cwd=tmp_path / "var").code == 2

    wrong = process("serve", "--lang", "en", "--passphrase-fd", "0", given="not it", cwd=tmp_path)
    assert wrong.code == 4
    assert "was not opened" in wrong.err
    file.chmod(0o640)
    open_file = process(
        "serve", "--lang", "en", "--passphrase-fd", "0", given=passphrase, cwd=tmp_path
    )
    assert open_file.code == 4
    assert "0640" in open_file.err


# -- inspect --------------------------------------------------------------------------------------


def test_inspect_answers_json_and_tells_by_its_code() -> None:
    bad = process("inspect", "0800", "--json")
    assert bad.code == 1
    (answer,) = bad.lines()
    assert set(answer) >= {"dialect", "framing", "mti", "fields", "error", "mistakes", "elements"}
    assert set(answer["framing"]) == {"length", "tpdu", "header"}
    assert set(answer["error"]) == {"de", "offset", "reason"}
    assert process("inspect", "0800zz", "--json").code == 2  # no file, and next to no hex
    assert process("inspect", "08002000zz", "--json").code == 1
    unknown = process("inspect", "0800", "--dialect", "klingon")
    assert unknown.code == 2
    assert "unionpay_pos" in unknown.err


def test_inspect_reads_lines_and_answers_lines() -> None:
    answer = process("inspect", "-", "--json", given="0800\n\n0200\n")
    assert answer.code == 1
    assert len(answer.lines()) == 2


def test_inspect_reads_files_and_says_what_they_are(tmp_path: Path) -> None:
    message = bytes.fromhex(SIGN_ON)
    file = tmp_path / "capture.bin"
    file.write_bytes(message + message)
    answer = process("inspect", str(file), "--json")
    assert answer.code == 0, answer.err
    assert [(one["source"], one["mti"]) for one in answer.lines()] == [
        ("frame 1", "0800"),
        ("frame 2", "0800"),
    ]
    one = process("inspect", str(file), "--as", "binary", "--json", "--candidates", "2")
    assert len(one.lines()[0]["candidates"]) == 2
    assert (
        process(
            "inspect", "-", "--json", given=f"00000000: {SIGN_ON[:32]}\n00000010: {SIGN_ON[32:]}\n"
        ).code
        == 0
    )
    missing = process("inspect", str(tmp_path / "none.bin"))
    assert missing.code == 2
    assert "no such file" in missing.err or "没有" in missing.err
    for word in ("hello world", "none.bin", str(tmp_path), "message"):
        assert process("inspect", word).code == 2, word
    assert process("inspect", "-", given="").code == 1
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(message,))
    writer.start()
    assert process("inspect", str(pipe), "--json").lines()[0]["mti"] == "0800"
    writer.join()
    assert process("inspect", SIGN_ON, "--as", "klingon").code == 2


def test_inspect_marks_the_byte_and_names_the_mistake() -> None:
    answer = process("inspect", SIGN_ON[:-6], "--lang", "en")
    assert answer.code == 1
    size = len(SIGN_ON) // 2 - 2
    assert f"likely: cut: the length says {size} bytes, {size - 3} follow" in answer.out
    assert ">" in answer.out
    told = process("inspect", SIGN_ON[4:], "--lang", "zh")
    assert told.code == 0
    assert "未去除TPDU" in told.out


def test_inspect_compares_two_messages() -> None:
    other = SIGN_ON.replace("3730303030303031", "3730303030303032")
    answer = process("inspect", "--diff", SIGN_ON, other, "--json")
    assert answer.code == 1
    (told,) = answer.lines()
    assert_valid("inspection-differences", told)
    assert [one["element"] for one in told["differences"]] == [41]
    same = process("inspect", "--diff", SIGN_ON, SIGN_ON, "--lang", "en")
    assert same.code == 0
    assert same.out.endswith("no element differs\n")
    assert process("inspect", "--diff", SIGN_ON).code == 2


def test_inspect_explains_a_line_of_a_clearing_file(tmp_path: Path) -> None:
    file = tmp_path / "flow"
    file.write_bytes(com.COM.render([COM_ROW]))
    answer = process("inspect", str(file), "--as", "com", "--json")
    assert answer.code == 0, answer.err
    (line,) = answer.lines()
    assert_valid("clearing-line", line)
    assert line["fields"]["pan"] == "622202*********0123"
    guessed = process("inspect", str(file), "--json")
    assert guessed.lines() == [line]
    file.write_bytes(com.COM.render([COM_ROW])[:60])
    broken = process("inspect", str(file), "--as", "com", "--lang", "en")
    assert broken.code == 1
    assert "column" in broken.out


def test_inspect_imports_nothing_it_does_not_need() -> None:
    code = (
        "import sys\nfrom switch import cli\n"
        "try:\n    cli.main(['inspect', '0800', '--json'])\nexcept SystemExit:\n    pass\n"
        "heavy = ('asyncpg', 'structlog', 'ibis', 'duckdb', 'uvloop', 'cryptography',"
        " 'prometheus_client', 'rich.console')\n"
        "sys.stderr.write(' '.join(name for name in heavy if name in sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert done.stderr == ""


def brought_along(groups: list[str], heavy: tuple[str, ...]) -> str:
    """Which of `heavy` are imported with these groups of commands."""
    code = (
        "import importlib, sys\n"
        f"for name in {groups}: importlib.import_module('switch.commands.' + name)\n"
        f"sys.stdout.write(' '.join(name for name in {heavy} if name in sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    return done.stdout


def test_only_the_days_end_brings_its_engine_along() -> None:
    """ibis alone takes half a second to import: nobody who works a case should wait for it."""
    groups = [
        "approval",
        "audit",
        "case",
        "data",
        "date",
        "dispute",
        "files",
        "journal",
        "keys",
        "ledger",
        "merchant",
        "operator",
        "payout",
        "report",
        "statement",
        "terminal",
    ]
    assert brought_along(groups, ("ibis", "duckdb", "pandas")) == ""


def test_reference_data_bring_no_arrow_along() -> None:
    """It is half of what such a command took to begin."""
    groups = ["data", "keys", "merchant", "risk", "route", "terminal"]
    assert brought_along(groups, ("pyarrow", "numpy")) == ""


@pytest.mark.parametrize("group", ["case", "payout", "reserve", "ledger", "evidence", "demo"])
def test_help_of_a_group_says_what_it_is(group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    answer = process(group, "--help")
    assert (answer.code, TEXTS[f"help_{group}"][1] in answer.out) == (0, True), answer.out


def test_help_names_every_command() -> None:
    answer = process("--help")
    assert answer.code == 0
    for name in ("init", "serve", "merchant", "terminal", "data", "keys", "journal", "close"):
        assert name in answer.out
    for name in ("simulate", "inspect", "demo"):
        assert name in answer.out


@pytest.mark.parametrize("words", [("inspect", "0200"), ("inspect", "0200", "--json")])
def test_a_reader_that_went_away_is_no_difference(words: tuple[str, ...]) -> None:
    """`tongbao … | head`: 4, never the 1 that says "differences found"."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "tongbao", *words]
    try:
        done = subprocess.run(command, cwd=ROOT, stdout=writing, timeout=600, check=False)
    finally:
        os.close(writing)
    assert done.returncode == 4
