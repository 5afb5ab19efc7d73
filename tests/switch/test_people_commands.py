"""`tongbao operator`, `approval`, `audit`, and what runs as an operator: as people use them.

Method: the commands in this process, on a database of the test. Operators of the flows show an SSH key
(an agent of the test signs); passwords and codes have tests of their own, for each code is good once.
"""

from __future__ import annotations

import asyncio
import base64
import getpass
import gzip
import hashlib
import json
import os
import re
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlparse

import asyncpg
import pytest
import typer
from typer.testing import CliRunner

from hsm.ciphers import tdes_ecb_encrypt
from hsm.keys import KeyUsage
from hsm.lmk import TEST_LMK
from switch import cli
from switch.commands import approval, login, operator
from switch.commands.close import accepted_files, file_that_came
from switch.commands.common import actor, node, office
from switch.people import credentials
from switch.people.operators import DEMO, DEMO_MAKER
from switch.store import prepare_data_keys
from tests.hsm.device import TestDevice, Threaded, odd
from tests.schemas import assert_valid
from tests.switch.people.agent import Agent
from tests.switch.people.codes import codes_of_now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from settlement.four_eyes import Proposal
    from tests.database import FreshDatabase

MERCHANT = "100000000000001"
PASSWORD = "correct horse battery"


class Shop:
    """A database with its operators: `shop("an", "merchant", "add", …)` runs a command as `an`."""

    def __init__(
        self, folder: Path, database: FreshDatabase, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.folder = folder
        self.database = database
        self.config = folder / "node.toml"
        self.config.write_text(
            f'[database]\ndsn = "{database.owner}"\n[people]\nfailures_max = 2\n'
        )
        self.agents: dict[str, Agent] = {}
        self._stack = ExitStack()
        self._monkeypatch = monkeypatch
        monkeypatch.delenv("TONGBAO_OPERATOR", raising=False)
        monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)

    def close(self) -> None:
        self._stack.close()

    def key(self, name: str) -> str:
        """A key of this name: its public half's file. From now on its agent answers for it."""
        self.agents[name] = self._stack.enter_context(Agent(self.folder / f"{name}.agent"))
        path = self.folder / f"{name}.pub"
        path.write_text(self.agents[name].line + "\n")
        return str(path)

    def __call__(self, who: str, *words: str, code: int | None = 0, password: str = "") -> Any:
        with self._monkeypatch.context() as patch:
            if who in self.agents:
                patch.setenv("SSH_AUTH_SOCK", str(self.folder / f"{who}.agent"))
            line = ["--operator", who, *words] if who else list(words)
            if password:
                reading, writing = os.pipe()
                os.write(writing, f"{password}\n".encode())
                os.close(writing)
                line += ["--password-fd", str(reading)]
            answer = CliRunner().invoke(
                cli.app, [*line, "--config", str(self.config), "--lang", "en"]
            )
        if code is not None:
            assert answer.exit_code == code, (line, answer.stdout, answer.stderr)
        return answer

    def proposed(self, who: str, *words: str) -> tuple[str, str]:
        """A command that ends with a proposal: its id and hash."""
        answer = self(who, *words, code=3)
        (found,) = re.findall(r"P\d{6}(?= waits)", answer.stdout + answer.stderr)
        shown = json.loads(self("", "approval", "show", found, "--json").stdout)
        return found, shown["sha256"]

    def approve(self, who: str, proposal: tuple[str, str], code: int = 0) -> Any:
        return self(who, "approval", "approve", proposal[0], "--sha256", proposal[1], code=code)

    def records(self) -> list[dict[str, Any]]:
        verified = json.loads(self("", "audit", "verify", "--json").stdout)
        assert_valid("audit-verification", verified)
        assert verified["intact"]
        return self.listed("audit-record", "audit", "list")

    def listed(self, shape: str, *words: str) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self("", *words, "--json").stdout.splitlines()]
        for each in found:
            assert_valid(shape, each)
        return found

    def superuser(self, statement: str) -> None:
        """What only who owns the database can do."""

        async def do() -> None:
            connection = await asyncpg.connect(self.database.superuser)
            try:
                await connection.execute(statement)
            finally:
                await connection.close()

        asyncio.run(do())

    def furnish(self) -> None:
        """Two admins; `li` of operations, `wang` who checks."""
        self("", "operator", "bootstrap", "an", "--ssh-key", self.key("an"))
        self("an", "operator", "bootstrap", "bo", "--ssh-key", self.key("bo"))
        for name, role in (("li", "operations"), ("wang", "finance_checker")):
            words = ("operator", "add", name, "--role", role, "--ssh-key", self.key(name))
            self.approve("bo", self.proposed("an", *words))


@pytest.fixture
def shop(
    tmp_path: Path, database_dsn: FreshDatabase, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shop]:
    made = Shop(tmp_path, database_dsn, monkeypatch)
    yield made
    made.close()


ADD = ("merchant", "add", MERCHANT, "--name", "Shop")


# -- who runs a command ---------------------------------------------------------------------------


def test_nobody_changes_anything(shop: Shop) -> None:
    assert "bootstrap" in shop("", *ADD, code=2).stderr
    assert "wrong" in shop("an", *ADD, "--totp", "000000", password=PASSWORD, code=4).stderr
    shop.furnish()
    assert "--operator" in shop("", *ADD, code=2).stderr
    assert "not one of the demo" in shop("", *ADD, "--demo", code=2).stderr
    assert shop("", "merchant", "list", "--json").stdout == ""


def test_an_operator_does_what_his_roles_say_and_no_more(shop: Shop) -> None:
    shop.furnish()
    shop("li", *ADD)
    refused = shop("wang", "terminal", "suspend", MERCHANT, "00000001", code=4)
    assert refused.stderr == "tongbao: wang has no permission do:terminal.suspend\n"
    shop("li", "operator", "add", "mo", "--role", "admin", code=4)
    last = shop.records()[-2:]
    assert [(each["actor"], each["act"], each["result"]) for each in last] == [
        ("wang", "do:terminal.suspend", "refused"),
        ("li", "propose:operator.add", "refused"),
    ]


def test_the_operator_may_be_named_anywhere_and_by_the_environment(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.furnish()
    guess = ("--totp=000000", "--operator=ghost")
    assert "ghost: " in shop("", *ADD, *guess, password=PASSWORD, code=4).stderr
    monkeypatch.setenv("TONGBAO_OPERATOR", "li")
    monkeypatch.setenv("SSH_AUTH_SOCK", str(shop.folder / "li.agent"))
    shop("", *ADD)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(shop.folder / "wang.agent"))  # has not his key
    assert "did not sign" in shop("", *ADD, code=4).stderr
    monkeypatch.delenv("SSH_AUTH_SOCK")
    assert "SSH_AUTH_SOCK" in shop("", *ADD, code=4).stderr


def test_password_and_code_and_the_lock_out(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    made = shop("", "operator", "bootstrap", "an", password=PASSWORD)
    uri = re.search(r"otpauth://\S+", made.stdout)
    assert uri is not None
    digits = parse_qs(urlparse(uri[0]).query)["secret"][0]
    secret = base64.b32decode(digits)
    unlock = ("operator", "unlock", "an", "--totp")
    step = codes_of_now(monkeypatch)  # a step either way is good
    this, later = credentials.totp(secret, step), credentials.totp(secret, step + 1)
    shop("an", *unlock, this, password=PASSWORD)
    assert "used already" in shop("an", *unlock, this, password=PASSWORD, code=4).stderr
    shop("an", *unlock, later, password=PASSWORD)
    for _ in range(2):
        assert "is wrong" in shop("an", *unlock, later, password="guessed it", code=4).stderr
    assert "locked out" in shop("an", *unlock, later, password=PASSWORD, code=4).stderr
    assert "--totp" in shop("an", "operator", "unlock", "an", password=PASSWORD, code=2).stderr
    assert PASSWORD not in json.dumps(shop.records())
    assert digits not in json.dumps(shop.records())


def test_a_short_password_is_not_taken(shop: Shop) -> None:
    assert (
        "12 characters" in shop("", "operator", "bootstrap", "an", password="short", code=2).stderr
    )
    assert shop("", "operator", "list", "--json").stdout == ""


def test_a_command_without_an_open_store_authenticates_all_the_same(shop: Shop) -> None:
    who = actor(node(shop.config, None, "en", demo=True))
    assert who == DEMO[DEMO_MAKER]
    assert "approve:payout.release" in who.permissions


# -- operators ------------------------------------------------------------------------------------


def test_bootstrap_ends_with_the_second_admin(shop: Shop) -> None:
    shop.furnish()
    again = ("operator", "bootstrap", "mo", "--ssh-key", shop.key("mo"))
    shop("", *again, code=2)
    assert "two admins" in shop("an", *again, code=4).stderr
    assert "two admins" in shop("li", *again, code=4).stderr


def test_a_folder_of_the_demo_gets_no_operators(shop: Shop) -> None:
    """With one, `--demo` would be refused from then on, and there is no other way in."""
    asyncio.run(prepare_data_keys(shop.database.app, TEST_LMK))
    refused = shop("", "operator", "bootstrap", "an", "--ssh-key", shop.key("an"), code=2)
    assert "`tongbao init`" in refused.stderr
    assert shop("", "operator", "list", "--json").stdout == ""


def test_an_operator_enrols_with_the_code_that_the_checker_was_told(shop: Shop) -> None:
    shop.furnish()
    proposal = shop.proposed("an", "operator", "add", "zhao", "--role", "auditor", "--name", "赵")
    told = shop.approve("bo", proposal).stdout
    code = re.search(r"(?:[A-Z2-7]{6}-){3}[A-Z2-7]{6}", told)
    assert code is not None
    enrol = ("operator", "enrol", "zhao", "--code")
    assert "wrong" in shop("", *enrol, "AAAAAA", password=PASSWORD, code=4).stderr
    shop("", *enrol, code[0], password=PASSWORD)
    assert "no such credential" in shop("", *enrol, code[0], password=PASSWORD, code=4).stderr
    listed = shop.listed("operator", "operator", "list")
    zhao = {"id": "zhao", "version": 1, "name": "赵", "roles": ["auditor"], "state": "active"}
    assert zhao in listed
    assert code[0] not in json.dumps(shop.records())


def test_roles_change_by_two_and_suspension_is_at_once(shop: Shop) -> None:
    shop.furnish()
    shop.approve("bo", shop.proposed("an", "operator", "roles", "wang", "--role", "operations"))
    shop("wang", *ADD)
    shop("bo", "operator", "suspend", "wang")
    assert "suspended" in shop("wang", *ADD, code=4).stderr
    shop.approve("bo", shop.proposed("an", "operator", "roles", "wang", "--role", "operations"))
    shop("wang", *ADD)
    new = ("operator", "credential", "wang", "--ssh-key", shop.key("new"))
    shop.approve("bo", shop.proposed("an", *new))
    assert "did not sign" in shop("wang", *ADD, code=4).stderr
    shop("an", "operator", "add", "wang", "--role", "auditor", code=4)
    shop("an", "operator", "add", "x", "--role", "king", code=2)
    shop("an", "operator", "add", "X!", "--role", "auditor", code=2)
    shop("an", "operator", "suspend", "ghost", code=4)
    twice = ("operator", "add", "wu", "--role", "auditor", "--ssh-key", str(shop.folder / "li.pub"))
    refused = shop.approve("bo", shop.proposed("an", *twice), code=4)
    assert "is that of li" in refused.stderr


# -- at a terminal --------------------------------------------------------------------------------


class Terminal:
    """Somebody who sits there: answers by the prompt, reads what is printed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.password, self.new = PASSWORD, PASSWORD
        self.step = codes_of_now(monkeypatch)
        self.secret = bytes(20)
        monkeypatch.setattr(login, "at_terminal", lambda: True)
        monkeypatch.setattr(operator, "at_terminal", lambda: True)
        monkeypatch.setattr(approval, "at_terminal", lambda: True)
        monkeypatch.setattr(getpass, "getpass", self.answer)
        monkeypatch.setattr(credentials, "totp_uri", self.scan)

    def scan(self, _operator: str, secret: bytes) -> str:
        self.secret = secret
        return "otpauth://"

    def answer(self, prompt: str) -> str:
        code = credentials.totp(self.secret, self.step)
        answers = {"password": self.password, "six-digit code": code}
        return answers.get(prompt.removesuffix(": "), self.new)


def test_somebody_at_a_terminal(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    somebody = Terminal(monkeypatch)
    somebody.step += 9
    assert "not the code" in shop("", "operator", "bootstrap", "an", code=4).stderr
    somebody.step -= 9
    shop("", "operator", "bootstrap", "an")
    somebody.step += 1
    somebody.new = "another password"
    shop("", "operator", "password", "an")
    assert "wrong" in shop("an", "operator", "unlock", "an", code=4).stderr
    somebody.password = somebody.new
    assert "used already" in shop("an", "operator", "unlock", "an", code=4).stderr


def test_a_checker_sees_all_and_says_yes(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    Terminal(monkeypatch)
    shop("", *ADD, "--demo", "--settlement-account", "first")
    proposal, _ = shop.proposed("", *ADD, "--demo", "--settlement-account", "second")
    for answer, code in (("n", 3), ("y", 0)):
        monkeypatch.setattr(typer, "confirm", lambda _: answer == "y")  # noqa: B023
        told = shop("demo-checker", "approval", "approve", proposal, "--demo", code=code)
        assert "payload.settlement_account" in told.stdout
        assert "second" in told.stdout
    assert account(shop) == "second"


# -- maker and checker ----------------------------------------------------------------------------


def account(shop: Shop) -> str:
    (line,) = shop("", "merchant", "list", "--json").stdout.splitlines()
    found: str = json.loads(line)["settlement_account"]
    return found


def test_another_settlement_account_takes_two(shop: Shop) -> None:
    shop.furnish()
    shop("li", *ADD, "--settlement-account", "first")
    shop("li", *ADD, "--mcc", "5411")  # what is not said of the account leaves it
    assert account(shop) == "first"
    changed = (*ADD, "--mcc", "5412", "--settlement-account", "second")
    proposal = shop.proposed("li", *changed)
    assert account(shop) == "first"
    assert shop.proposed("li", *changed) == proposal  # waits already
    shown = json.loads(shop("", "approval", "show", proposal[0], "--json").stdout)
    elsewhere = {"settlement_bank": "", "settlement_name": ""}
    assert shown["payload"] == {
        "settlement_account": "second",
        **elsewhere,
        "former": {"settlement_account": "first", **elsewhere},
    }
    assert "second" in shop("", "approval", "show", proposal[0]).stdout
    assert_valid("proposal", shown)
    assert [each["id"] for each in shop.listed("proposal", "approval", "list")] == [proposal[0]]

    assert "own proposal" in shop.approve("li", proposal, code=4).stderr
    assert "may not approve" in shop.approve("an", proposal, code=4).stderr
    assert "not what" in shop.approve("wang", (proposal[0], "0" * 64), code=4).stderr
    assert account(shop) == "first"
    assert "merchant" in shop.approve("wang", proposal).stdout
    assert account(shop) == "second"
    assert "already" in shop.approve("wang", proposal, code=4).stderr
    assert shop("", "approval", "list", "--json").stdout == ""
    told = [
        (each["actor"], each["act"], each["result"])
        for each in shop.records()
        if "merchant.account" in each["act"]
    ]
    assert told == [
        ("li", "propose:merchant.account", "done"),
        ("li", "approve:merchant.account", "refused"),
        ("an", "approve:merchant.account", "refused"),
        ("wang", "approve:merchant.account", "refused"),
        ("li", "merchant.account", "done"),
        ("wang", "approve:merchant.account", "done"),
        ("wang", "approve:merchant.account", "refused"),
    ]


def test_a_proposal_that_was_overtaken_or_withdrawn_does_nothing(shop: Shop) -> None:
    shop.furnish()
    shop("li", *ADD, "--settlement-account", "first")
    second = shop.proposed("li", *ADD, "--settlement-account", "second")
    third = shop.proposed("li", *ADD, "--settlement-account", "third")
    shop.approve("wang", third)
    (void,) = shop.listed("proposal", "approval", "list")
    assert (void["id"], void["overtaken"]) == (second[0], True)
    assert "has changed since" in shop.approve("wang", second, code=4).stderr
    assert account(shop) == "third"
    shop("bo", "approval", "withdraw", second[0], code=4)
    shop("li", "approval", "withdraw", second[0])
    shop.approve("wang", second, code=4)
    assert "not pending" in shop("li", "approval", "withdraw", second[0], code=4).stderr
    shop("li", "approval", "show", "P999999", code=4)


def test_what_was_changed_in_the_table_is_not_done(shop: Shop) -> None:
    shop.furnish()
    shop("li", *ADD, "--settlement-account", "first")
    proposal = shop.proposed("li", *ADD, "--settlement-account", "second")
    shop.superuser("UPDATE switch.proposal SET payload = replace(payload, 'second', 'thieves')")
    assert "not what" in shop.approve("wang", proposal, code=4).stderr
    assert account(shop) == "first"
    assert shop.records()[-1]["result"] == "refused"


def test_a_file_that_waits_is_let_in_by_a_second_person(shop: Shop) -> None:
    asyncio.run(prepare_data_keys(shop.database.app, TEST_LMK))
    date = today(shop)
    inbox = shop.folder / "clearing"
    (inbox / "bank-a").mkdir(parents=True)
    (inbox / "bank-a" / "file").write_bytes(b"other content")
    sha256 = hashlib.sha256(b"other content").hexdigest()
    close = ("close", "--demo", "--date", date, "--files", str(inbox), "--json", "--approve")
    unknown = shop("", *close, "00" * 32, code=4)
    assert "no file" in unknown.stderr
    for _ in range(2):  # the same person does not get further by saying it again
        first = shop("", *close, sha256, code=0)
        assert "waits for a checker" in first.stderr
        assert json.loads(first.stdout)["exit_code"] == 0
    assert asyncio.run(accepted_files(shop.database.app)) == set()
    assert "is approved" in shop("demo-checker", *close, sha256).stderr
    assert asyncio.run(accepted_files(shop.database.app)) == {sha256}
    assert shop("", *close, sha256).stderr.count("P0") == 0
    (proposal,) = asyncio.run(approved(shop.database.app))
    assert proposal.payload == {"acquirer": "bank-a", "file": "file"}
    assert [each["act"] for each in shop.records()].count("day.close") == 5


def test_of_a_packed_file_the_one_inside_is_let_in(tmp_path: Path) -> None:
    """The close names the hash of what was inside, so that is what people approve."""
    (tmp_path / "bank-a").mkdir()
    (tmp_path / "bank-a" / "cut-off.gz").write_bytes(gzip.compress(b"x")[:-1])
    (tmp_path / "bank-a" / "IND26080301ACOM.gz").write_bytes(gzip.compress(b"content"))
    inside = hashlib.sha256(b"content").hexdigest()
    assert file_that_came(tmp_path, inside) == {"acquirer": "bank-a", "file": "IND26080301ACOM"}
    assert file_that_came(tmp_path, "00" * 32) is None


def today(shop: Shop) -> str:
    async def read() -> str:
        connection = await asyncpg.connect(shop.database.app)
        try:
            found = await connection.fetchval("SELECT business_date FROM switch.business_day")
        finally:
            await connection.close()
        return str(found)

    return asyncio.run(read())


async def approved(dsn: str) -> list[Proposal]:
    async with office(dsn) as desk:
        return [each.proposal for each in await desk.people.approved(["file.accept"])]


# -- the log --------------------------------------------------------------------------------------


def test_the_log_is_listed_and_verified(shop: Shop) -> None:
    shop.furnish()
    shop("li", *ADD, "--settlement-account", "6222021234567890128")
    last = shop.records()[-1]
    assert (last["act"], last["object"]) == ("merchant.add", f"merchant {MERCHANT}")
    after = json.loads(last["after"])["content"]
    assert after["settlement_account"] == "622202*********0128"
    shown = json.loads(shop("", "audit", "verify", "--json").stdout)
    assert (shown["records"], shown["broken"]) == (last["seq"], None)
    assert shown["anchor"] == f"{last['seq']}:{last['hash']}"
    assert shown["anchor"] in shop("", "audit", "verify", "--anchor", shown["anchor"]).stdout
    assert "li" in shop("", "audit", "list", "--actor", "li", "--limit", "1").stdout
    shop("", "audit", "verify", "--anchor", "nonsense", code=2)
    shop.superuser(f"DELETE FROM switch.audit_record WHERE seq = {last['seq']}")
    shop("", "audit", "verify")
    told = shop("", "audit", "verify", "--anchor", shown["anchor"], "--json", code=1)
    assert_valid("audit-verification", json.loads(told.stdout))
    broken = shop("", "audit", "verify", "--anchor", shown["anchor"], code=1)
    assert broken.stdout == f"record {last['seq']} is missing\n"
    shop.superuser("UPDATE switch.audit_record SET actor = 'x' WHERE seq = 2")
    broken = shop("", "audit", "verify", code=1)
    assert (broken.stdout, broken.stderr) == ("record 2 was changed\n", "")


# -- the demo -------------------------------------------------------------------------------------


def test_the_demo_has_two_operators(shop: Shop) -> None:
    shop("", *ADD, "--demo", "--settlement-account", "first")
    proposal = shop.proposed("", *ADD, "--demo", "--settlement-account", "second")
    words = ("approval", "approve", proposal[0], "--sha256", proposal[1], "--demo")
    assert "own proposal" in shop("", *words, code=4).stderr
    assert "demo-checker" in shop("thief", *words, code=2).stderr
    shop("demo-checker", *words)
    assert account(shop) == "second"
    assert [each["actor"] for each in shop.records()][-1] == "demo-checker"


# -- keys that a network device keeps ---------------------------------------------------------------


def test_keys_that_a_device_keeps_are_taken_as_its_console_showed_them(shop: Shop) -> None:
    shop.furnish()
    custodian = ("operator", "add", "ke", "--role", "keys", "--ssh-key", shop.key("ke"))
    shop.approve("bo", shop.proposed("an", *custodian))
    link = str(Path(__file__).resolve().parent / "link.toml")
    shop("li", "data", "apply", link)
    shop("li", *ADD)
    shop("ke", "terminal", "add", MERCHANT, "00000001")
    words = ("keys", "take", "--link", "BANKA", "--usage")
    none = shop("ke", *words, "zpk", "--key", "U" + "0" * 32, code=2)
    assert "hsm.device names no network HSM" in none.stderr
    zmk, zpk, tmk = odd(1, 16), odd(2, 16), odd(3, 16)
    with Threaded(TestDevice()) as threaded:
        device = threaded.device
        settings = f'[hsm]\ndevice = "tcp://127.0.0.1:{device.port}"\nstart_wait_s = 1\n'
        shop.config.write_text(shop.config.read_text() + settings)

        def text(usage: KeyUsage, key: bytes) -> str:
            return device.key(usage, key).partition(":")[2]

        part = shop.folder / "part"
        part.write_text(zmk.hex())
        entered = ("keys", "import", "--link", "BANKA", "--usage", "zmk", "--component", f"@{part}")
        assert "at its console" in shop("ke", *entered, code=2).stderr
        made = ("keys", "generate", "--link", "BANKA", "--usage", "zpk")
        assert "make the key there" in shop("ke", *made, code=2).stderr
        shop("ke", *words, "zmk", "--key", text(KeyUsage.ZMK, zmk))
        sent = tdes_ecb_encrypt(zmk, zpk).hex()
        check = tdes_ecb_encrypt(zpk, bytes(8))[:3].hex().upper()
        moved = (*words, "zpk", "--under-zmk", sent, "--check-value")
        shop("ke", *moved, "000000", code=4)
        taken = shop("ke", *moved, check)
        assert taken.stdout == f"link:BANKA ZPK: version 1, check value {check}\n"
        wrong = shop("ke", *words, "zak", "--key", text(KeyUsage.ZPK, zpk), code=4)
        assert "host command BU: 10" in wrong.stderr
        owner = ("keys", "take", "--terminal", f"{MERCHANT}/00000001", "--usage")
        shop("ke", *owner, "tmk", "--key", text(KeyUsage.TMK, tmk))
    away = shop("ke", *words, "zmk", "--key", "U" + "0" * 32, code=4)
    assert "127.0.0.1" in away.stderr
    listed = shop.listed("key", "keys", "list")
    assert {(key["owner"], key["usage"], key["check_value"]) for key in listed} == {
        ("link:BANKA", "ZMK", tdes_ecb_encrypt(zmk, bytes(8))[:3].hex().upper()),
        ("link:BANKA", "ZPK", check),
        (f"terminal:{MERCHANT}/00000001", "TMK", tdes_ecb_encrypt(tmk, bytes(8))[:3].hex().upper()),
    }
    assert {key["lmk_id"] for key in listed} == {device.vault.variant.check_value.ljust(16, "0")}
    done = [each for each in shop.records() if each["act"] == "keys.import"]
    assert {each["actor"] for each in done} == {"ke"}
