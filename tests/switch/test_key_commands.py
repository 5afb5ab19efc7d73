"""`tongbao keys`: what custodians and operators type, what they are shown, and what they are refused.

Method: the commands in this process on a database of the test, custodians from a script; a ceremony's
secrets are computed a second time from the components on "paper". Who is an operator has a password and
a code, of which each is good once.
"""

from __future__ import annotations

import asyncio
import base64
import getpass
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlparse

import psec
import pytest
from Crypto.Cipher import AES, DES3
from Crypto.Hash import CMAC
from typer.testing import CliRunner

from hsm import lmk as lmks
from hsm.ceremony_log import verify
from hsm.errors import VaultError
from hsm.local import LocalVault
from switch import cli
from switch.adapters.system import SystemClock
from switch.commands import custodians
from switch.lmk_file import CeremonyLog, LmkError, ceremony_alone, open_lmk, secret_text
from switch.people import credentials
from switch.store import prepare_data_keys
from tests.schemas import assert_valid
from tests.switch.people.codes import codes_of_now
from tests.switch.test_people_commands import PASSWORD, Shop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.database import FreshDatabase

ROOT = Path(__file__).resolve().parents[2]
PAPER = [bytes(range(at, at + 32)) for at in (1, 40, 90)]
NEXT = [bytes(range(at, at + 32)) for at in (7, 50, 130)]
NAMES = ("wang", "li", "zhao", "qian", "sun")
PASSPHRASE, LATER = "a passphrase of the first", "a passphrase of the second"


def check_value(key: bytes) -> str:
    """Of AES, by another library."""
    return CMAC.new(key, ciphermod=AES).update(bytes(16)).digest()[:5].hex().upper()


def xor(parts: list[bytes]) -> bytes:
    return bytes(a ^ b ^ c for a, b, c in zip(*parts, strict=True))


def entry(name: str, part: bytes, **more: str) -> dict[str, str]:
    found = {"custodian": name, "component": part.hex(), "check_value": check_value(part)}
    return {**found, **more}


def entries(parts: list[bytes]) -> list[dict[str, str]]:
    return [entry(name, part) for name, part in zip(NAMES, parts, strict=False)]


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sealed file whose passphrase costs nothing to try."""
    assert lmks.seal.__kwdefaults__ is not None
    monkeypatch.setitem(lmks.seal.__kwdefaults__, "cost", 1 << 4)


class Desk:
    """A node's files, before it has a store; `desk("keys", "list")` runs a command."""

    def __init__(self, folder: Path, dsn: str) -> None:
        self.folder = folder
        self.lmk_file = folder / "safe" / "lmk.sealed"
        self.config = folder / "node.toml"
        text = f'data = "{folder}/data"\n[hsm]\nlmk_file = "{self.lmk_file}"\n'
        self.config.write_text(text + (f'[database]\ndsn = "{dsn}"\n' if dsn else ""))
        self.handed: list[str] = []

    def __call__(
        self,
        *words: str,
        script: list[dict[str, str]] | None = None,
        code: int = 0,
        **secrets: str,
    ) -> str:
        """`script`: lines of --from-fd. `secrets`: passphrase, new_passphrase."""
        line = [*words]
        given = {name: value + "\n" for name, value in secrets.items()}
        if script is not None:
            given["from"] = "".join(json.dumps(each) + "\n" for each in script)
        for name, text in given.items():
            reading, writing = os.pipe()
            os.write(writing, text.encode())
            os.close(writing)
            line += [f"--{name.replace('_', '-')}-fd", str(reading)]
        answer = CliRunner().invoke(cli.app, [*line, "--config", str(self.config), "--lang", "en"])
        assert answer.exit_code == code, (words, answer.stdout, answer.stderr)
        return answer.stdout + answer.stderr

    def first(self) -> None:
        self("keys", "ceremony", "lmk", script=entries(PAPER), new_passphrase=PASSPHRASE)

    def log(self) -> list[dict[str, Any]]:
        answer = json.loads(self("keys", "ceremony", "log", "--json"))
        assert_valid("ceremony-log", answer)
        assert answer["intact"]
        return list(answer["records"])

    def acts(self) -> list[str]:
        return [each["act"] for each in self.log()]

    def opened(self, passphrase: str) -> lmks.Lmk:
        return lmks.open_with_passphrase(self.lmk_file.read_bytes(), passphrase)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, "")


# -- the LMK --------------------------------------------------------------------------------------


def test_an_lmk_of_three_components(desk: Desk) -> None:
    told = desk("keys", "ceremony", "lmk", script=entries(PAPER), new_passphrase=PASSPHRASE)
    lmk_id = check_value(xor(PAPER))
    assert f"LMK {lmk_id} sealed into {desk.lmk_file}" in told
    for part in PAPER:
        assert check_value(part) in told  # each agrees his own
        assert part.hex() not in told.lower()
    assert lmks.hand_over(desk.opened(PASSPHRASE)) == xor(PAPER)
    assert desk.lmk_file.stat().st_mode & 0o777 == 0o600
    log = CeremonyLog(desk.lmk_file, SystemClock().now, "en")
    assert log.path.stat().st_mode & 0o777 == 0o600
    assert desk.acts() == [
        "ceremony.begun",
        *["component.entered"] * 3,
        "lmk.made",
        "lmk.sealed",
    ]
    entered = [each for each in desk.log() if each["act"] == "component.entered"]
    assert [(each["who"], each["facts"]["check_value"]) for each in entered] == [
        (name, check_value(part)) for name, part in zip(NAMES, PAPER, strict=False)
    ]
    text = log.path.read_text().lower()
    assert not any(secret.hex() in text for secret in (*PAPER, xor(PAPER)))
    assert PASSPHRASE not in text


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ([entry("wang", PAPER[0]), entry("Wang", PAPER[1])], "Wang had a turn"),
        ([entry("", PAPER[0])], "has a name"),
        ([entry("wang", PAPER[0], check_value="000000")], "not that of what was entered"),
        ([entry("wang", PAPER[0], check_value="")], "line 1 is not"),
        ([entry("wang", PAPER[0][:16])], "32 bytes, not 16"),
        ([{**entry("wang", PAPER[0]), "component": "xyz"}], "hex digits"),
        ([entry("wang", PAPER[0])], "no line 2"),
        ([entry("wang", PAPER[0]), entry("li", PAPER[0])], "the same component"),
        ([entry("wang", bytes(32)), *entries(PAPER)[1:]], "of zeros"),
        ([{**entry("wang", PAPER[0]), "colour": "red"}], "line 1 is not"),
    ],
)
def test_what_is_refused_leaves_no_lmk(desk: Desk, script: list[dict[str, str]], said: str) -> None:
    words = ("keys", "ceremony", "lmk")
    code = 2 if "line" in said or "has a name" in said else 4
    told = desk(*words, script=script, new_passphrase=PASSPHRASE, code=code)
    assert said in told
    assert not desk.lmk_file.exists()
    assert desk.acts()[-1] == "ceremony.broken_off"
    for part in PAPER:
        assert part.hex() not in told.lower() + json.dumps(desk.log()).lower()


def test_a_passphrase_that_is_no_text_is_not_shown() -> None:
    for option in ("--passphrase-fd", "--new-passphrase-fd"):
        reading, writing = os.pipe()
        os.write(writing, b"half of it \xff\n")
        os.close(writing)
        with pytest.raises(VaultError, match=f"{option} [0-9]+: .*not UTF-8") as caught:
            secret_text(reading, option)
        assert "half" not in str(caught.value)
    with pytest.raises(VaultError, match="Bad file descriptor"):
        secret_text(99_999, "--passphrase-fd")


def test_wrong_use_is_named(desk: Desk) -> None:
    words = ("keys", "ceremony", "lmk")
    assert "--from-fd" in desk(*words, code=2)
    assert "2 to 9" in desk(*words, "--components", "1", script=[], code=2)
    assert "tongbao init" in desk(*words, "--generate", script=[], code=2)
    assert "K/N" in desk(*words, "--shares", "three", script=[], code=2)
    assert "K <= N" in desk(*words, "--shares", "3/2", script=[], code=2)
    assert "tongbao init" in desk(
        "keys", "ceremony", "shares", "--shares", "2/3", script=[], code=4
    )
    inside = desk.config.read_text().replace(str(desk.lmk_file), f"{desk.folder}/data/lmk")
    desk.config.write_text(inside)
    assert "inside the data folder" in desk(*words, script=[], code=2)


def test_the_published_test_lmk_is_refused(desk: Desk) -> None:
    known = lmks.hand_over(lmks.TEST_LMK)
    parts = [PAPER[0], PAPER[1], xor([PAPER[0], PAPER[1], known])]
    assert xor(parts) == known
    told = desk("keys", "ceremony", "lmk", script=entries(parts), new_passphrase=PASSPHRASE, code=4)
    assert "public test LMK" in told
    assert not desk.lmk_file.exists()


class Papers:
    """Custodians who are handed something write it down and read its check back."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shown: dict[str, str] = {}
        papers = self

        class Reading(custodians.Ceremony):
            def hand_out(self, custodian: str, what: str, check_value: str) -> None:
                papers.shown[custodian] = what
                super().hand_out(custodian, what, check_value)

            def confirm(self, custodian: str, check_value: str) -> None:
                if custodian in papers.shown:
                    said = self.table._now  # type: ignore[attr-defined]
                    if not said.check_value:
                        self.table._now = custodians.msgspec.structs.replace(  # type: ignore[attr-defined]
                            said, check_value=check_value
                        )
                super().confirm(custodian, check_value)

        from switch.commands import ceremony, key_acts

        monkeypatch.setattr(ceremony, "Ceremony", Reading)
        monkeypatch.setattr(key_acts, "Ceremony", Reading)

    def holders(self, *names: str) -> list[dict[str, str]]:
        return [{"custodian": name} for name in names]

    def bring(self, *names: str) -> list[dict[str, str]]:
        return [
            {"custodian": name, "share": self.shown[name], "check_value": self.shown[name][-4:]}
            for name in names
        ]


def test_shares_are_handed_out_opened_with_and_issued_anew(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    papers = Papers(monkeypatch)
    words = ("keys", "ceremony", "lmk", "--generate", "--shares", "2/3")
    desk(*words, script=papers.holders("wang", "li", "zhao"))
    assert len(papers.shown) == 3
    former = dict(papers.shown)
    sealed = lmks.read_sealed(desk.lmk_file.read_bytes())
    assert sealed.passphrase is None
    again = ("keys", "ceremony", "shares", "--shares", "2/4")
    script = [*papers.bring("li", "zhao"), *papers.holders("wang", "li", "qian", "sun")]
    desk(*again, script=script)
    payload = desk.lmk_file.read_bytes()
    lmk = lmks.open_with_shares(payload, [papers.shown["qian"], papers.shown["wang"]])
    assert lmk.lmk_id == sealed.lmk_id
    with pytest.raises(VaultError, match="does not open"):
        lmks.open_with_shares(payload, [former["wang"], former["zhao"]])
    reading, writing = os.pipe()  # as `serve` and other commands take them: one a line
    os.write(writing, f"{papers.shown['sun']}\n\n{papers.shown['li']}\n".encode())
    os.close(writing)
    opened = open_lmk(desk.lmk_file, demo=False, language="en", passphrase_fd=reading)
    assert opened.lmk_id == lmk.lmk_id
    told = desk(*again, script=papers.bring("li", "li"), code=4)
    assert "li had a turn" in told
    told = desk(*again, script=[{**papers.bring("li")[0], "check_value": "zzzz"}], code=4)
    assert "not that of what was entered" in told
    for share in (*former.values(), *papers.shown.values()):
        assert share.split("-")[2] not in json.dumps(desk.log())


def test_a_custodian_who_read_wrongly_stops_it_before_the_file_is_written(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    papers = Papers(monkeypatch)
    words = ("keys", "ceremony", "lmk", "--generate", "--shares", "2/2")
    script = [*papers.holders("wang"), {"custodian": "li", "check_value": "0000"}]
    script[1]["check_value"] = "????"
    desk(*words, script=script, code=4)
    assert not desk.lmk_file.exists()


def test_a_script_reads_what_it_is_handed_before_it_answers(desk: Desk) -> None:
    """Another process, as a script of custodians would start it: nothing is known beforehand."""
    reading, writing = os.pipe()
    words = ("keys", "ceremony", "lmk", "--generate", "--shares", "2/3", "--lang", "en")
    line = [sys.executable, "-m", "tongbao", *words, "--config", str(desk.config)]
    shares = []
    with (
        subprocess.Popen(
            [*line, "--from-fd", str(reading)],
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, pass_fds=(reading,),
        ) as process,
        os.fdopen(writing, "w", buffering=1) as script,
    ):  # fmt: skip
        os.close(reading)
        assert process.stdout is not None
        for name in NAMES[:3]:
            script.write(json.dumps({"custodian": name}) + "\n")
            while not (told := process.stdout.readline()).startswith("  check value"):
                assert told
                if told.count("-") == 3:
                    shares.append(told.strip())
            script.write(json.dumps({"custodian": name, "check_value": told.split()[-1]}) + "\n")
        process.stdout.read()
        assert process.wait(60) == 0
    lmks.open_with_shares(desk.lmk_file.read_bytes(), shares[1:])


def test_nobody_reads_back_for_another(desk: Desk) -> None:
    words = ("keys", "ceremony", "lmk", "--generate", "--shares", "2/2")
    script = [{"custodian": "wang"}, {"custodian": "li", "check_value": "0000"}]
    assert "line 2" in desk(*words, script=script, code=2)
    assert not desk.lmk_file.exists()


def test_at_a_terminal_nothing_that_is_entered_is_shown(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = iter([PAPER[0].hex()[:-1], *(part.hex() for part in PAPER), PASSPHRASE, PASSPHRASE])
    unseen: list[str] = []

    def hidden(prompt: str) -> str:
        unseen.append(prompt)
        return next(typed)

    monkeypatch.setattr(getpass, "getpass", hidden)
    monkeypatch.setattr(custodians, "at_terminal", lambda: True)
    prompts: list[str] = []

    def asked(prompt: str) -> str:
        prompts.append(prompt)
        if prompt.startswith("check value"):
            return {"wang": check_value(PAPER[0]), "li": check_value(PAPER[1])}.get(
                prompt.split()[-1].rstrip(":"), check_value(PAPER[2])
            )
        return {1: "wang", 2: "wang", 3: "li", 4: "zhao"}[
            sum(each.startswith("custodian") for each in prompts)
        ]

    monkeypatch.setattr("builtins.input", asked)
    monkeypatch.setattr("switch.commands.init.at_terminal", lambda: True)
    told = desk("keys", "ceremony", "lmk")
    assert "wang had a turn" in told
    assert len([prompt for prompt in unseen if prompt.startswith("component")]) == 4
    assert not any(part.hex() in told.lower() for part in PAPER)
    assert lmks.hand_over(desk.opened(PASSPHRASE)) == xor(PAPER)


def test_what_is_handed_out_at_a_terminal_goes_when_it_is_written_down(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = iter(["wang", "li"])
    screen: list[str] = []

    def asked(prompt: str) -> str:
        screen.append(prompt)
        if prompt.startswith("custodian"):
            return next(names)
        if not prompt.startswith("check value"):
            return ""  # it is written down
        misread = sum(each.startswith("check value") for each in screen) == 1
        return "0000" if misread else papers[-1][-4:]

    papers: list[str] = []
    hand_out = custodians.Ceremony.hand_out

    def handed(self: Any, custodian: str, what: str, check_value: str) -> None:
        papers.append(what)
        hand_out(self, custodian, what, check_value)

    monkeypatch.setattr(custodians.Ceremony, "hand_out", handed)
    monkeypatch.setattr(custodians, "at_terminal", lambda: True)
    monkeypatch.setattr("builtins.input", asked)
    told = desk("keys", "ceremony", "lmk", "--generate", "--shares", "2/2")
    lmks.open_with_shares(desk.lmk_file.read_bytes(), papers)
    for paper in papers:
        assert told.count(paper) == 1
        assert custodians.CLEAR in told[told.index(paper) :]
    assert told.index(papers[1]) > told.index(custodians.CLEAR)
    assert "look at every digit again" in told


# -- the log --------------------------------------------------------------------------------------


def test_the_log_is_verified_and_its_first_broken_line_named(desk: Desk) -> None:
    desk.first()
    path = desk.lmk_file.with_name("lmk.sealed.log")
    whole = path.read_bytes()
    anchor = desk.log()[-1]
    noted = f"{anchor['seq']}:{anchor['hash']}"
    assert f"6 lines stand; anchor {noted}" in desk("keys", "ceremony", "log", "--anchor", noted)
    path.write_bytes(whole.replace(b'"li"', b'"lo"', 1))
    told = desk("keys", "ceremony", "log", code=1)
    assert "line 3 is not what was written (changed)" in told
    answer = json.loads(desk("keys", "ceremony", "log", "--json", code=1))
    assert_valid("ceremony-log", answer)
    assert answer["broken"] == {"line": 3, "reason": "changed"}
    told = desk("keys", "ceremony", "admit", passphrase=PASSPHRASE, code=4)
    assert "line 3" in told  # nothing is done where it can not be written down
    path.write_bytes(whole.rpartition(b"\n")[0].rpartition(b"\n")[0] + b"\n")
    told = desk("keys", "ceremony", "log", "--anchor", noted, code=1)
    assert "line 6 is not what was written (missing)" in told
    for other in ("6", f"0:{anchor['hash']}"):
        assert "NUMBER:HASH" in desk("keys", "ceremony", "log", "--anchor", other, code=2)
    # as a person may copy it
    path.write_bytes(whole)
    desk("keys", "ceremony", "log", "--anchor", f"06:{anchor['hash'].upper()}")
    wrong = f"06:{anchor['hash'][::-1]}"
    told = desk("keys", "ceremony", "log", "--anchor", wrong, code=1)
    assert "line 6 is not what was written (not_the_anchor)" in told


def test_a_torn_last_line_is_told_and_gone_on_from(desk: Desk) -> None:
    desk.first()
    path = desk.lmk_file.with_name("lmk.sealed.log")
    path.write_bytes(path.read_bytes()[:-20])
    assert "line 6 was never finished" in desk("keys", "ceremony", "log")
    desk("keys", "ceremony", "admit", passphrase=PASSPHRASE, code=4)  # no node runs
    assert desk.acts()[5:] == [
        "log.torn",
        "ceremony.begun",
        "lmk.opened",
        "lmk.handed",
        "ceremony.broken_off",
    ]


def test_writers_of_the_log_at_once(desk: Desk) -> None:
    async def write(number: int) -> None:
        log = CeremonyLog(desk.lmk_file, SystemClock().now, "en")
        await asyncio.to_thread(log.append, "lmk.opened", f"n{number}", {"number": number})

    async def all_at_once() -> None:
        await asyncio.gather(*(write(number) for number in range(20)))

    asyncio.run(all_at_once())
    found = verify(desk.lmk_file.with_name("lmk.sealed.log").read_bytes())
    assert found.broken is None
    assert len(found.records) == 20


def test_two_ceremonies_at_once_are_one_too_many(desk: Desk) -> None:
    with ceremony_alone(desk.lmk_file, "en"):
        told = desk("keys", "ceremony", "lmk", script=[], new_passphrase=PASSPHRASE, code=4)
    assert "another ceremony" in told
    assert not desk.lmk_file.exists()
    desk.first()


def test_a_broken_log_takes_no_more_lines(desk: Desk) -> None:
    log = CeremonyLog(desk.lmk_file, SystemClock().now, "en")
    log.append("lmk.opened", "wang", {})
    log.path.write_bytes(log.path.read_bytes().replace(b"wang", b"mung"))
    with pytest.raises(LmkError, match="line 1"):
        log.append("lmk.opened", "wang", {})


def test_init_begins_the_log(desk: Desk) -> None:
    desk("init", passphrase=PASSPHRASE)
    assert desk.acts() == ["lmk.sealed"]
    assert lmks.read_sealed(desk.lmk_file.read_bytes()).version == 1


# -- components -----------------------------------------------------------------------------------


def test_a_component_is_made_and_shown_once(desk: Desk) -> None:
    told = desk("keys", "component", "--generate")
    digits, said = told.splitlines()[:2]
    part = bytes.fromhex(digits)
    assert len(part) == 32
    assert said.strip() == f"check value {check_value(part)}"
    told = desk("keys", "component", "--generate", "--algorithm", "tdes", "--bytes", "16")
    part = bytes.fromhex(told.splitlines()[0])
    assert len(part) == 16
    assert all(bin(byte).count("1") % 2 for byte in part)
    assert DES3.new(part, DES3.MODE_ECB).encrypt(bytes(8))[:3].hex().upper() in told
    assert "no component of 8 bytes" in desk(
        "keys", "component", "--generate", "--algorithm", "tdes", "--bytes", "8", code=4
    )
    assert "--generate" in desk("keys", "component", code=2)


# -- keys of a link -------------------------------------------------------------------------------


class Vault:
    """A store with operators, an LMK of its custodians, and a link."""

    def __init__(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shop = shop
        self.papers = Papers(monkeypatch)
        shop.config.write_text(
            shop.config.read_text() + f'[hsm]\nlmk_file = "{shop.folder}/lmk.sealed"\n'
        )
        shop.furnish()
        for name in ("kong", "kang"):
            words = ("operator", "add", name, "--role", "keys", "--ssh-key", shop.key(name))
            shop.approve("bo", shop.proposed("an", *words))
        shop("li", "data", "apply", str(ROOT / "tests" / "switch" / "link.toml"))

    def __call__(self, who: str, *words: str, code: int = 0, script: Any = None) -> str:
        reading, writing = os.pipe()
        os.write(writing, f"{PASSPHRASE}\n".encode())
        os.close(writing)
        line = [*words, "--passphrase-fd", str(reading)]
        if script is not None:
            reading, writing = os.pipe()
            os.write(writing, "".join(json.dumps(each) + "\n" for each in script).encode())
            os.close(writing)
            line += ["--from-fd", str(reading)]
        answer = self.shop(who, *line, code=code)
        return str(answer.stdout + answer.stderr)

    def begin(self) -> None:
        self("", "init")

    def listed(self) -> list[dict[str, Any]]:
        return self.shop.listed("key", "keys", "list")

    def log(self) -> list[dict[str, Any]]:
        return list(
            json.loads(self.shop("", "keys", "ceremony", "log", "--json").stdout)["records"]
        )


@pytest.fixture
def vault(
    tmp_path: Path, database_dsn: FreshDatabase, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Vault]:
    made = Shop(tmp_path, database_dsn, monkeypatch)
    found = Vault(made, monkeypatch)
    found.begin()
    # custodians of these tests sign nothing: that operators must is tried apart
    monkeypatch.setattr(custodians.Ceremony, "_authenticate", lambda *_: None)
    yield found
    made.close()


def zmk_of(papers: Papers, names: tuple[str, ...]) -> bytes:
    """The key of the components on paper, with odd parity."""
    parts = [bytes.fromhex(papers.shown[name]) for name in names]
    key = bytes(parts[0])
    for part in parts[1:]:
        key = bytes(a ^ b for a, b in zip(key, part, strict=True))
    return bytes(byte if bin(byte).count("1") % 2 else byte ^ 1 for byte in key)


def test_a_links_keys_are_made_for_both_sides(vault: Vault) -> None:
    generate = ("keys", "generate", "--link", "BANKA", "--usage")
    refused = vault("li", *generate, "zpk", code=4)
    assert "no permission do:keys.generate" in refused
    assert "no ZMK" in vault("kong", *generate, "zpk", code=4)
    assert vault.listed() == []
    names = ("an", "bo", "li")
    told = vault("kong", *generate, "zmk", script=vault.papers.holders(*names))
    zmk = zmk_of(vault.papers, names)
    zmk_check = DES3.new(zmk, DES3.MODE_ECB).encrypt(bytes(8))[:3].hex().upper()
    assert f"link:BANKA ZMK: version 1, check value {zmk_check}" in told
    told = vault("kong", *generate, "zpk", "--form", "x")
    found = re.search(r"  X([0-9A-F]{32})\n", told)
    assert found, told
    zpk = DES3.new(zmk, DES3.MODE_ECB).decrypt(bytes.fromhex(found[1]))
    check = DES3.new(zpk, DES3.MODE_ECB).encrypt(bytes(8))[:3].hex().upper()
    assert f"link:BANKA ZPK: version 1, check value {check}" in told
    # the next one waits until the other side has it
    told = vault("kong", "keys", "rotate", "--link", "BANKA", "--usage", "zpk")
    assert "version 2" in told
    assert "it waits" in told
    assert [key["status"] for key in vault.listed()] == ["active", "active", "pending"]
    shop = vault.shop
    words = ("--link", "BANKA", "--usage", "zpk", "--version")
    shop("kong", "keys", "activate", *words, "2")
    shop("kong", "keys", "activate", *words, "2")
    assert "is the one in use" not in str(shop("kong", "keys", "retire", *words, "1").stderr)
    assert "is the one in use" in shop("kong", "keys", "retire", *words, "2", code=4).stderr
    shop("kong", "keys", "retire", *words, "2", "--in-use")
    assert [key["status"] for key in vault.listed()] == ["active", "retired", "retired"]
    assert "no ZPK" in vault.shop("kong", "keys", "export", *words[:4], code=4).stderr
    told = vault("kong", *generate, "zak")
    acts = [each["act"] for each in shop.records() if each["act"].startswith("keys.")]
    assert acts == [
        *["keys.generate"] * 3,
        "keys.activate",
        *["keys.retire"] * 2,
        "keys.generate",
    ]


def test_each_component_of_a_key_that_comes_in_is_entered_by_another_custodian(
    vault: Vault,
) -> None:
    parts = [
        bytes.fromhex(text)
        for text in ("13" * 8 + "C4" * 8, "2C" * 8 + "4A" * 8, "62" * 8 + "A7" * 8)
    ]
    key = xor(parts)
    key = bytes(byte if bin(byte).count("1") % 2 else byte ^ 1 for byte in key)

    def check(of: bytes) -> str:
        return DES3.new(of, DES3.MODE_ECB).encrypt(bytes(8))[:3].hex().upper()

    script = [
        {"custodian": name, "component": part.hex(), "check_value": check(part)}
        for name, part in zip(("an", "bo", "li"), parts, strict=True)
    ]
    words = ("keys", "import", "--link", "BANKA", "--usage", "zmk")
    paper = vault.shop.folder / "paper"
    paper.write_text(parts[0].hex())
    told = vault("kong", *words, "--component", f"@{paper}", "--component", f"@{paper}", code=2)
    assert "nobody may hold all components" in told
    assert "2 to 9" in vault("kong", *words, "--components", "1", script=script, code=2)
    twice = [script[0], {**script[1], "custodian": "an"}]
    assert "an had a turn" in vault("kong", *words, script=twice, code=4)
    same = [script[0], {**script[0], "custodian": "bo"}]
    assert "the same component" in vault("kong", *words, script=same, code=4)
    wrong = [{**script[0], "check_value": "000000"}]
    assert "check value an reads" in vault("kong", *words, script=wrong, code=4)
    short = [{**script[0], "component": "13" * 8}]
    assert "16, 24 bytes, not 8" in vault("kong", *words, script=short, code=4)
    other = vault("kong", *words, "--check-value", "000000", script=script, code=4)
    assert check(key) not in other
    assert "no permission do:keys.import" in vault("li", *words, script=script, code=4)
    assert vault.listed() == []
    told = vault("kong", *words, "--check-value", check(key), script=script)
    assert f"link:BANKA ZMK: version 1, check value {check(key)}" in told
    assert not any(part.hex().upper() in told.upper() for part in parts)
    log = [each for each in vault.log() if each["act"] == "component.entered"][-3:]
    assert [each["who"] for each in log] == ["an", "bo", "li"]
    assert {each["facts"]["key"] for each in log} == {"link:BANKA"}


@pytest.mark.filterwarnings("ignore:.*TripleDES:Warning")  # psec's own
def test_what_is_done_under_a_zmk(vault: Vault) -> None:
    """Three things that do not touch each other, on one store: one is costly to furnish."""
    vault("kong", "keys", "generate", "--link", "BANKA", "--usage", "zmk",
          script=vault.papers.holders("an", "bo", "li"))  # fmt: skip
    zmk = zmk_of(vault.papers, ("an", "bo", "li"))
    retiring_the_newest_does_not_bring_an_older_one_back(vault)
    a_key_is_let_out_by_two(vault, zmk)
    a_terminals_key_comes_under_a_zmk_in_every_version(vault, zmk)


def retiring_the_newest_does_not_bring_an_older_one_back(vault: Vault) -> None:
    for _ in range(2):
        vault("kong", "keys", "generate", "--link", "BANKA", "--usage", "zak", "--now")
    words = ("keys", "retire", "--link", "BANKA", "--usage", "zak", "--version", "2", "--in-use")
    told = vault.shop("kong", *words, code=4).stderr
    assert "version 1 would be used again" in told


def a_key_is_let_out_by_two(vault: Vault, zmk: bytes) -> None:
    vault("kong", "keys", "generate", "--link", "BANKA", "--usage", "zpk")
    shop = vault.shop
    words = ("keys", "export", "--link", "BANKA", "--usage", "zpk", "--form", "hex")
    assert "no permission propose:keys.export" in shop("li", *words, code=4).stderr
    proposal = shop.proposed("kong", *words)
    approve = ("approval", "approve", proposal[0], "--sha256", proposal[1])
    assert "own proposal" in vault("kong", *approve, code=4)
    told = vault("kang", *approve)
    (key,) = [key for key in vault.listed() if key["usage"] == "ZPK"]
    found = re.search(r"  ([0-9A-F]{32})\n", told)
    assert found, told
    zpk = DES3.new(zmk, DES3.MODE_ECB).decrypt(bytes.fromhex(found[1]))
    assert DES3.new(zpk, DES3.MODE_ECB).encrypt(bytes(8))[:3].hex().upper() == key["check_value"]
    vault("kang", *approve, code=4)  # once
    assert "--usage" in shop("kong", *words[:5], "zmk", code=2).stderr
    assert "--form" in shop("kong", *words[:-1], "base64", code=2).stderr


def a_terminals_key_comes_under_a_zmk_in_every_version(vault: Vault, zmk: bytes) -> None:
    shop = vault.shop
    shop("li", "merchant", "add", "100000000000001", "--name", "Shop")
    shop("li", "terminal", "add", "100000000000001", "00000001")
    tmk = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
    check = DES3.new(tmk, DES3.MODE_ECB).encrypt(bytes(8))[:3].hex().upper()
    words = ("keys", "import", "--terminal", "100000000000001/00000001", "--usage", "tmk")
    under = DES3.new(zmk, DES3.MODE_ECB).encrypt(tmk).hex().upper()
    blocks = [
        under,
        f"X{under}",
        *(psec.tr31.wrap(zmk, f"{version}0000K0TB00E0000", tmk) for version in ("A", "B", "C")),
    ]
    for number, block in enumerate(blocks, 1):
        told = vault(
            "kong", *words, "--link", "BANKA", "--under-zmk", block, "--check-value", check
        )
        assert f"TMK: version {number}, check value {check}" in told
    assert "--under-zmk" in vault("kong", *words, "--under-zmk", under, code=2)
    assert "no terminal" in vault(
        "kong", *words[:3], "nobody/1", *words[4:], "--link", "BANKA", "--under-zmk", under, code=4
    )


# -- the next LMK ---------------------------------------------------------------------------------


def test_the_next_lmk_takes_over(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    shop, path = vault.shop, vault.shop.folder / "lmk.sealed"
    old = lmks.open_with_passphrase(path.read_bytes(), PASSPHRASE)
    asyncio.run(prepare_data_keys(shop.database.app, old))
    vault("kong", "keys", "generate", "--link", "BANKA", "--usage", "zmk",
          script=vault.papers.holders("an", "bo", "li"))  # fmt: skip
    vault("kong", "keys", "generate", "--link", "BANKA", "--usage", "zpk")
    before = {(k["owner"], k["usage"], k["version"]): k["check_value"] for k in vault.listed()}

    def fd(text: str) -> str:
        reading, writing = os.pipe()
        os.write(writing, text.encode())
        os.close(writing)
        return str(reading)

    script = "".join(
        json.dumps(entry(name, part)) + "\n"
        for name, part in zip(("an", "bo", "wang"), NEXT, strict=True)
    )
    new_id = check_value(xor(NEXT))
    words = ("keys", "ceremony", "lmk", "--new-passphrase-fd", fd(f"{LATER}\n"), "--from-fd")
    assert "no active operator" in vault("", *words, fd(script.replace('"an"', '"nobody"')), code=4)
    told = vault("", *words[:4], fd(f"{LATER}\n"), "--from-fd", fd(script))
    assert f"LMK {new_id} takes over from {old.lmk_id}" in told
    sealed = lmks.read_sealed(path.read_bytes())
    assert (sealed.version, sealed.lmk_ids) == (2, (new_id, old.lmk_id))
    # a second one has to wait; the former one can not go while keys are under it
    told = vault("", *words[:4], fd(f"{LATER}\n"), "--from-fd", fd(script), code=4)
    assert f"LMK {old.lmk_id} is not retired yet" in told
    retire = ("keys", "retire", "--lmk", old.lmk_id.lower())
    assert f"under LMK {old.lmk_id}" in shop("kong", *retire, code=3).stderr
    assert "no permission" in shop("li", *retire, code=4).stderr
    rotate = ("keys", "rotate", "--lmk", "--passphrase-fd")
    told = shop("kong", *rotate, fd(f"{LATER}\n")).stdout
    assert f"under LMK {new_id}: 4 keys, 0 key sets" in told
    told = shop("kong", *rotate, fd(f"{LATER}\n")).stdout
    assert f"under LMK {new_id}: 0 keys" in told
    listed = vault.listed()
    assert {key["lmk_id"] for key in listed} == {new_id}
    assert {(k["owner"], k["usage"], k["version"]): k["check_value"] for k in listed} == before
    assert "not the one before it" in shop("kong", "keys", "retire", "--lmk", new_id, code=2).stderr
    shop("kong", *retire)
    shop("kong", *retire)  # again is as good as once
    sealed = lmks.read_sealed(path.read_bytes())
    assert (sealed.version, sealed.lmk_ids) == (1, (new_id,))
    vault_now = LocalVault(lmks.open_with_passphrase(path.read_bytes(), LATER), os.urandom)
    assert vault_now.lmk_ids == (new_id,)
    shop("kong", "keys", "generate", "--link", "BANKA", "--usage", "zak",
         "--passphrase-fd", fd(f"{LATER}\n"))  # fmt: skip
    records = [each for each in shop.records() if "lmk" in each["object"]]
    acts = [(each["actor"], each["act"]) for each in records if each["result"] == "done"]
    assert acts == [
        ("an", "lmk.sealed"),
        *[("kong", "keys.rotate")] * 2,  # data keys, then all others
        ("kong", "keys.retire"),
        ("kong", "keys.retire"),
    ]


def test_custodians_who_are_operators_show_it(
    tmp_path: Path, database_dsn: FreshDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(tmp_path, database_dsn, monkeypatch)
    made = shop("", "operator", "bootstrap", "an", password=PASSWORD)
    uri = re.search(r"otpauth://\S+", made.stdout)
    assert uri
    secret = base64.b32decode(parse_qs(urlparse(uri[0]).query)["secret"][0])
    desk = Desk(tmp_path, database_dsn.owner)
    code = credentials.totp(secret, codes_of_now(monkeypatch))
    words = ("keys", "ceremony", "lmk")
    for more, said in (
        ({}, "--totp"),
        ({"password": PASSWORD, "totp": "000000"}, "wrong"),
        ({"password": "a guess of one", "totp": code}, "wrong"),
    ):
        script = [entry("an", PAPER[0], **more)]
        answer = desk(*words, script=script, new_passphrase=PASSPHRASE, code=2 if not more else 4)
        assert said in answer
    script = [entry("an", PAPER[0], password=PASSWORD, totp=code), entry("bo", PAPER[1])]
    told = desk(*words, script=script, new_passphrase=PASSPHRASE, code=4)
    assert f"an: check value {check_value(PAPER[0])} agrees" in told
    assert "bo is no active operator" in told
    shop.close()
