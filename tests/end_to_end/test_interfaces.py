"""What the real commands of a real node print, against the schemas that scripts rely on.

Goal: `docs/interfaces.md` is what comes out, whatever happened. Method: a day with silence, reversals,
voids, refunds and a file with planted breaks on a real node; then every command with `--json`, each
object validated with no field that the schema does not name. Commands run in the test's process, for
half of what one takes is its start; a few are processes of their own, and print the same.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import gzip
import json
import random
import urllib.request
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from hsm.keys import KeyUsage
from iso8583.message import mask_pan
from settlement.adapters.story_postgres import BooksReader
from switch.adapters.telling import telling
from switch.commands.common import Node as Place
from switch.commands.explain import told
from switch.config import load, with_data
from switch.explain import page, text
from switch.reference_file import parse
from terminals.simulator.bank import Bank, BankFaults, BankOptions, BankServer
from terminals.simulator.card import BANK_A, BANK_B, card_pools
from terminals.simulator.fleet import Mix, TerminalFaults
from tests.end_to_end import command
from tests.end_to_end.day import quiet, trade, within
from tests.end_to_end.node import (
    ROOT,
    Hosts,
    Node,
    RefItem,
    bring_in,
    furnish,
    merchant_id,
    running,
    stored_key,
)
from tests.schemas import assert_valid
from tests.tables import sections, table

if TYPE_CHECKING:
    from pathlib import Path

    from switch.explain.story import Story

pytestmark = pytest.mark.xdist_group("end_to_end_2")

SALES = Mix(void=0.0, refund=0.0, balance=0.0, wrong_pin=0.0, expired_card=0.0, poor_card=0.0)
EXAMPLE = ROOT / "docs" / "example-downloads.toml"
DOWNLOADED = ("parameters", "ca_keys", "aids", "blacklist")
PAGE = ROOT / "docs" / "interfaces.md"


def tongbao(node: Node, *words: str, code: int = 0) -> str:
    """The stdout of a command."""
    return command.tongbao(*words, *([] if words[0] == "inspect" else place_of(node)), code=code)


def place_of(node: Node) -> list[str]:
    return command.place(node.config, node.folder / "data")


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_everything_that_a_script_reads(tmp_path: Path) -> None:
    async def day(node: Node) -> None:
        async with Hosts() as hosts:
            rows = await node.query("SELECT business_date FROM switch.business_day")
            for bank in hosts.banks:
                bank.settlement_date = rows[0]["business_date"]
            await bring_in(node, downloads(), [])  # first: who signs on is asked at once
            await furnish(node, hosts, terminals=3, timeout_s=1.5)
            faults_of = TerminalFaults(hang_up=0.05, repeat=0.05, print_failure=0.05)
            result = await trade(node, 3, 84, faults_of)
            asked = ("parameters", "ca_keys", "aids", "blacklist", "status")
            assert [topic for topic in asked if result.downloads.get(topic, 0) < 3] == []
            await approved_late(node, hosts)
            await quiet(node)
            for bank in hosts.banks:
                folder = tmp_path / "clearing" / bank.options.name.replace("-", "_")
                folder.mkdir(parents=True)
                for date in bank.settlement_dates():
                    file = bank.clearing_file(date)
                    (folder / file.name).write_bytes(file.data)

    with running(tmp_path) as node:
        asyncio.run(day(node))
        ready = json.loads(node.ready_file.read_bytes())
        assert_valid("ready-file", ready)

        listed = lines(tongbao(node, "journal", "list", "--json"))
        assert lines(command.process("journal", "list", "--json", *place_of(node))) == listed
        assert len(listed) >= 80  # a line that is cut may take its request with it
        for each in listed:
            assert_valid("transaction", each)
        assert {"approved", "unknown"} <= {each["state"] for each in listed}
        assert any(each["original"] for each in listed)
        reversed_one = next(each for each in listed if each["reversals"])
        for name in (reversed_one["rrn"], str(reversed_one["request_id"])):
            shown = json.loads(tongbao(node, "journal", "show", name, "--json"))
            assert_valid("transaction", shown)
            assert {"late_answers", "reversal_requests"} <= set(shown)
        some = tongbao(node, "journal", "list", "--json", "--terminal", "T0000001", "--limit", "3")
        assert len(lines(some)) == 3
        assert tongbao(node, "journal", "show", "999999999999", "--json", code=4) == ""

        for schema, of in (
            ("merchant", [merchant_id(0)]),
            ("terminal", [merchant_id(0), "T0000001"]),
        ):
            for each in lines(tongbao(node, schema, "list", "--json")):
                assert_valid(schema, each)
            item = json.loads(tongbao(node, schema, "show", *of, "--json"))
            assert_valid(schema, item)
            assert item["versions"]
        downloaded = lines(tongbao(node, "terminal", "downloads", "--json"))
        for each in downloaded:
            assert_valid("terminal-download", each)
        states = Counter((each["topic"], each["state"]) for each in downloaded)
        assert states == {
            **dict.fromkeys([(name, "current") for name in DOWNLOADED], 3),
            ("status", "reported"): 3,
        }
        assert tongbao(node, "terminal", "downloads", "--due", "--json") == ""
        shown_zh = tongbao(node, "terminal", "downloads", "--terminal", "T0000001", "--lang", "zh")
        assert shown_zh.count("已是最新") == len(DOWNLOADED)
        for each in lines(tongbao(node, "keys", "list", "--json")):
            assert_valid("key", each)
        for each in lines(tongbao(node, "data", "show", "--json")):
            assert_valid("item", each)
        again = tmp_path / "again.toml"
        again.write_text(tongbao(node, "data", "show"))
        tongbao(node, "data", "apply", "--demo", str(again))

        log = lines(tongbao(node, "audit", "list", "--json"))
        for each in log:
            assert_valid("audit-record", each)
        assert {each["actor"] for each in log} >= {"node", "test"}
        verified = json.loads(tongbao(node, "audit", "verify", "--json"))
        assert_valid("audit-verification", verified)
        assert (verified["intact"], verified["records"]) == (True, len(log))

        assert_valid("inspection", json.loads(tongbao(node, "inspect", "0200", "--json", code=1)))

        check_metrics(ready)
        check_replay(node, listed, tmp_path)
        asyncio.run(check_certify(node, tmp_path))
        check_close(node, listed[0]["business_date"], tmp_path / "clearing")
        check_stories(node, listed)
        asyncio.run(check_every_story(node, listed))


async def approved_late(node: Node, hosts: Hosts) -> None:
    """Sales that both banks approve when they have been reversed: no answer, a reversal, a case."""
    late = BankFaults(late=1.0, late_s=3.0, on_reversals=False)
    for bank in hosts.banks:
        bank.options = msgspec.structs.replace(bank.options, faults=late)

    async def told() -> bool:
        return bool(await node.query("SELECT 1 FROM switch.case_v1 WHERE kind = 'late_approval'"))

    for _ in range(10):  # where the machine stood still, an answer overtook its reversal: anew
        await trade(node, 3, 6, mix=SALES)
        if await within(2 * late.late_s, told):
            return
    raise AssertionError("no late approval has become a case")


def downloads() -> list[RefItem]:
    """The example, for all terminals."""
    entries = parse(EXAMPLE.read_text(encoding="utf-8"), EXAMPLE.name, {})
    kept = [each for each in entries if each[0] != "profile"]
    return [*kept, ("profile", "default", {"name": "default", "downloads": "chip"})]


def check_metrics(ready: dict[str, Any]) -> None:
    at = ready["metrics"]
    with urllib.request.urlopen(
        f"http://{at['host']}:{at['port']}{at['path']}", timeout=120
    ) as page:
        text = page.read().decode()
    families = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    told = {row[0] for row in table(sections(PAGE.read_text(encoding="utf-8"))["Metrics"])}
    assert families == told
    with urllib.request.urlopen(f"http://{at['host']}:{at['port']}/ready", timeout=120) as page:
        body = json.load(page)
    assert_valid("ready", body)
    assert (body["ready"], body["workers"], body["draining"]) == (True, 2, False)


def check_replay(node: Node, listed: list[dict[str, Any]], folder: Path) -> None:
    """The day leaves without a card number, and comes out again as it was, twice the same."""
    journal = folder / "journal.jsonl"
    export = ("journal", "export", str(journal), "--date", listed[0]["business_date"])
    told = json.loads(tongbao(node, *export, "--json"))
    assert_valid("journal-export", told)
    assert (told["requests"], told["early"]) == (len(listed), 0)
    text = journal.read_text()
    for each in text.splitlines():
        assert_valid("journal-line", json.loads(each))
    cards = {card.pan for bank in (BANK_A, BANK_B) for of in bank for card in of.cards()}
    traded = {one["pan_masked"] for one in listed}
    dealt = {pan for pan in cards if mask_pan(pan) in traded}
    assert dealt
    shown = {json.loads(each).get("card", "") for each in text.splitlines()} - {""}
    assert len(shown) == len(traded)
    again = journal.with_name("again.jsonl.gz")
    tongbao(node, *export[:2], str(again), *export[3:])
    assert gzip.decompress(again.read_bytes()) == journal.read_bytes()
    builds = ("--build", str(ROOT), "--build", str(ROOT))
    (summary,) = lines(command.process("replay", str(journal), *builds, "--json"))
    assert_valid("replay", summary)
    faithful = summary["builds"][0]["as_recorded"]
    # what came within one millisecond may have been taken in another order: a cut line is not in the file
    assert faithful >= summary["builds"][0]["with_facts"] * 0.8


async def check_certify(node: Node, folder: Path) -> None:
    """The pack against a test host on real sockets: a link of the reference data, its keys in the store."""
    bank = Bank(
        BankOptions(name="bank-c", zpk="13" * 8 + "32" * 8, zak="25" * 8 + "46" * 8, cards=BANK_A),
        dt.date(2026, 1, 5),
        random.Random(3),
    )
    server = BankServer(bank)
    listening = await asyncio.get_running_loop().create_server(server.protocol, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    link = {
        "acquirer": "bank_c",
        "host": "127.0.0.1",
        "port": port,
        "de32": "01020009",
        "timeout_s": 4.0,
        "clearing": "none",
    }
    keys = [
        stored_key("link:bank_c", usage, clear)
        for usage, clear in (
            (KeyUsage.ZPK, bank.options.zpk),
            (KeyUsage.ZAK, bank.options.zak),
        )
    ]
    await bring_in(node, [("link", "bank_c", link)], keys)
    card = card_pools(BANK_A).sound[0]
    cards = folder / "cards.toml"
    cards.write_text(
        f'[[card]]\nrole = "sound"\npan = "{card.pan}"\nexpiry = "{card.expiry}"\n'
        f'pin = "{card.pin}"\ntrack2 = "{card.track2}"\n'
    )
    words = ["certify", str(folder / "pack"), "--link", "bank_c", "--cards", str(cards), "--demo"]
    for case in ("link_sign_on", "void", "time_out", "declined_51", "bank_echo"):
        words += ["--case", case]
    words += ["--patience", "1", "--json", *place_of(node)]
    text = await asyncio.to_thread(command.process, *words)
    told = json.loads(text)
    assert_valid("certify", told)
    assert {case["id"]: case["result"] for case in told["cases"]} == {
        "link_sign_on": "passed",
        "bank_echo": "not_run",  # nobody asked the bank
        "void": "passed",
        "declined_51": "not_run",  # no card of that role
        "time_out": "passed",
    }
    pack = json.loads((folder / "pack" / "pack.json").read_bytes())
    assert_valid("certification-pack", pack)
    assert (pack["against"]["link"], pack["against"]["simulated"]) == ("bank_c", False)
    for file in (folder / "pack").rglob("*.*"):
        assert card.pan not in file.read_text()
        assert card.pin not in file.read_text()
    listening.close()
    server.close()


def check_close(node: Node, date: str, files: Path) -> None:
    """It waits for an absent file; then it ends with the differences that the silence left."""
    absent = files / "bank_b"
    away = files.with_name("away")
    absent.rename(away)
    close = ("close", "--demo", "--date", date, "--json", "--files", str(files))
    waiting = json.loads(tongbao(node, *close, code=3))
    assert_valid("close", waiting)
    assert "waiting" in {step["state"] for step in waiting["steps"]}
    away.rename(absent)
    # the last row of the file is lost: whatever it was, that is a break
    file = next(path for path in sorted(absent.iterdir()) if path.suffix != ".json")
    rows = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(rows[:-1]))
    done = json.loads(tongbao(node, *close, code=1))
    assert_valid("close", done)
    assert done["exit_code"] == 1
    assert done["breaks"]
    for output in done["files"]:
        assert (node.folder / "data" / "reports" / output["name"]).stat().st_size == output["size"]
    assert json.loads(tongbao(node, *close, code=1)) == done


def check_stories(node: Node, listed: list[dict[str, Any]]) -> None:
    """`explain` by each kind of key, of one and of several."""
    one = next(each for each in listed if each["reversals"])
    story = json.loads(tongbao(node, "explain", one["rrn"], "--json"))
    assert_valid("story", story)
    assert_valid("transaction", story["transaction"])
    assert story["transaction"]["request_id"] == one["request_id"]
    assert story["stages"]["total_us"] > 0
    undo = one["reversals"][0]
    number = ("--link-stan", undo["link_stan"], "--transmission-time", undo["transmission_time"])
    by_number = tongbao(node, "explain", *number, "--acquirer", one["acquirer"], "--json")
    assert json.loads(by_number) == story
    for each in lines(tongbao(node, "explain", "--terminal", one["terminal"], "--json", code=1)):
        assert_valid("found-transaction", each)
    (case, *_) = lines(tongbao(node, "case", "list", "--json", "--class", "late_approval"))
    about = json.loads(tongbao(node, "explain", case["id"], "--json"))
    assert case["id"] in [step["values"].get("case") for step in about["timeline"]]


async def check_every_story(node: Node, listed: list[dict[str, Any]]) -> None:
    """What a story must tell of each state; and no card is in the clear in any of them."""
    cards = {card.pan for bank in (BANK_A, BANK_B) for each in bank for card in each.cards()}
    place = Place(with_data(load(node.config), node.folder / "data"), "en")
    async with telling(node.facts["database"]["dsn"]) as teller:
        books = BooksReader(teller.connection)
        for each in listed:
            story = await told(place, teller, books, each["request_id"])
            for made in (
                text.render(story, chinese=False),
                page.render(story, chinese=True),
                msgspec.json.encode(text.to_object(story)).decode(),
            ):
                assert not [pan for pan in cards if pan in made]
            check_story(story, each)


def check_story(story: Story, of: dict[str, Any]) -> None:
    events = {step.event for step in story.steps}
    booked = {step.event for step in story.books}
    assert {"received", "mac_verified", "recorded"} <= events
    if of["state"] == "approved":
        assert {"answered", "told"} <= events
    if of["state"] == "approved" and of["effect_minor"]:
        assert {"captured", "attempt"} <= events
        assert {"capture_stands", "record", "fee", "posted", "net"} <= booked, of
        assert booked & {"matched", "case"}, of
    if of["state"] == "unknown":
        assert "no_answer" in events
    if of["reversals"]:
        assert {"reversal_queued", "sent_again", "delivered"} <= events
    if of["original"]:
        assert "original" in events
        assert story.facts.originals[0].rrn == of["original"]["rrn"]
