"""Downloads: what a message comes to, and who is asked for what.

Goal: whoever ends a download has all of one version; who has it is not asked. Method: a table of facts and
messages; then the product's own simulated terminal, byte by byte, against a process's management on the
in-memory store, with data that change and processes that know of it late.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from iso8583.framing import POS, Frame, Framer, answer_header, answer_tpdu
from switch import listed_cards, reception
from switch.config import Config, Downloads as Settings
from switch.downloads import LATE_TRACES, due, had, is_late, taken
from switch.offers import Offers
from switch.store_ports import DownloadFact, KeptDownload
from terminals.download_data import check_sum
from terminals.simulator.terminal import Terminal, TerminalOptions
from tests.switch.test_management import HERE, LOCAL, MERCHANT, NOW, TERMINAL, TMK, Desk, run
from tests.terminals.test_downloads import AID, KEY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from switch.reference import Snapshot

CARDS = ("6220000000000011", "6220000000000029", "6217990000000015")


# -- what a message comes to ------------------------------------------------------------------------


def fact(act: str, version: str = "A", stan: int = 100) -> DownloadFact:
    return DownloadFact(
        topic="aids", act=act, version=version, source="s@1", stan=stan, address=HERE, shown=True
    )


# newest fact, message: (version, trace), step, is it the first part → act of what is stored, ""
TAKEN: list[tuple[DownloadFact | None, tuple[str, int], Any, bool, str]] = [
    (None, ("A", 1), "list", True, "begun"),
    (None, ("A", 1), "list", False, ""),
    (None, ("A", 1), "get", False, ""),
    (None, ("A", 1), "end", False, ""),
    (fact("begun"), ("A", 101), "get", False, ""),
    (fact("begun"), ("A", 101), "end", False, "ended"),
    (fact("begun"), ("B", 101), "get", False, "mixed"),
    (fact("begun"), ("B", 101), "list", False, "mixed"),
    (fact("begun"), ("B", 101), "end", False, ""),
    (fact("begun"), ("B", 101), "list", True, "begun"),  # it begins anew
    (fact("begun"), ("A", 101), "list", True, "begun"),
    (fact("begun"), ("A", 100), "list", True, ""),  # the same message again
    (fact("begun"), ("B", 100), "list", True, "mixed"),  # it may have taken either answer
    (fact("begun"), ("B", 99), "list", True, ""),  # held up: it has gone on
    (fact("begun"), ("B", 99), "get", False, ""),
    (fact("begun"), ("A", 99), "end", False, ""),
    (fact("begun"), ("B", 100 - LATE_TRACES - 1), "list", True, "begun"),  # its trace began anew
    (fact("mixed"), ("A", 101), "end", False, ""),
    (fact("mixed"), ("A", 101), "get", False, ""),
    (fact("mixed"), ("A", 101), "list", True, "begun"),
    (fact("mixed"), ("A", 100), "list", True, ""),
    (fact("ended"), ("A", 101), "end", False, ""),
    (fact("ended"), ("A", 100), "end", False, ""),
    (fact("ended"), ("B", 101), "get", False, ""),
    (fact("ended"), ("B", 101), "list", True, "begun"),
    (None, ("", 1), "list", True, ""),
    (fact("begun"), ("", 101), "list", True, "mixed"),  # told that there is nothing
    (fact("begun"), ("", 101), "list", False, "mixed"),
    (fact("begun"), ("", 101), "end", False, ""),
    (fact("ended"), ("", 101), "list", True, ""),
    (fact("begun", stan=999_999), ("A", 1), "end", False, "ended"),
    (fact("begun", stan=1), ("B", 999_999), "get", False, ""),
]


@pytest.mark.parametrize(("before", "message", "step", "first", "act"), TAKEN)
def test_what_becomes_of_a_topic(
    before: DownloadFact | None, message: tuple[str, int], step: Any, first: bool, act: str
) -> None:
    version, stan = message
    now = fact("", version, stan)
    found = taken(before, now, step, first=first)
    assert ("" if found is None else found.act) == act
    if found is not None:
        assert found.version == version


def test_a_trace_that_wraps_is_not_late() -> None:
    assert not is_late(1, 999_999)
    assert is_late(999_999, 1)


def kept(number: int, of: DownloadFact, **changes: Any) -> KeptDownload:
    return KeptDownload(number, msgspec.structs.replace(of, **changes), NOW)


def test_an_end_counts_for_its_address_and_for_all_once_that_has_shown_itself() -> None:
    ended = fact("ended")
    facts = [
        kept(1, ended, version="A"),
        kept(2, ended, version="B", shown=False, address="192.0.2.9"),
    ]
    assert had(facts, HERE)["aids"].fact.version == "A"
    assert had(facts, "192.0.2.9")["aids"].fact.version == "B"


def test_what_was_begun_since_may_have_replaced_what_was_ended() -> None:
    for act in ("begun", "mixed"):
        assert had([kept(1, fact("ended")), kept(2, fact(act))], HERE) == {}
    assert "aids" in had([kept(1, fact("begun")), kept(2, fact("ended"))], HERE)


# -- a terminal and its host ------------------------------------------------------------------------


def ca_key(index: str, expiry: str = "20301231") -> dict[str, Any]:
    key = msgspec.structs.replace(KEY, index=index, expiry=expiry)
    content: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(key, sha1=check_sum(key)))
    return content


def ca_items(*indices: str) -> list[tuple[str, str, dict[str, Any]]]:
    return [("ca_key", f"{KEY.rid}/{index}", ca_key(index)) for index in indices]


def set_of(**says: Any) -> tuple[str, str, dict[str, Any]]:
    return ("download_set", "chip", {"name": "chip", **says})


class Estate(Desk):
    """A desk with a terminal at it; `stale` is a process that has not read the data anew."""

    def __init__(self, **profile: Any) -> None:
        super().__init__(**{"downloads": "chip", **profile})
        self.digits: list[int] = []
        self.rules: list[str] = []
        self.device = Terminal(TerminalOptions(merchant=MERCHANT, terminal=TERMINAL, tmk=TMK.hex()))

    async def told(self, *items: tuple[str, str, dict[str, Any]]) -> Snapshot:
        await self.store.reference.apply(items, maker="test")
        self.snapshot = await self.store.reference.snapshot()
        return self.snapshot

    async def send(self, request: Any, snapshot: Snapshot | None = None, source: str = HERE) -> int:
        """One message there and back; the digit of its answer."""
        snapshot = snapshot or self.snapshot
        [frame] = Framer(POS).receive_bytes(request.frame)
        received = reception.receive(frame.body, "unionpay_pos", snapshot)
        answer, rule = await self.management.answer(received, snapshot, source, LOCAL)
        self.rules.append(rule)
        digit = await self.management.request(received, snapshot, source, rule)
        self.digits.append(digit)
        back = Frame(
            answer_tpdu(frame.tpdu),
            answer_header(frame.header, digit),
            received.codec.encode(answer),
        )
        self.outcome = self.device.answer(back)
        return digit

    async def download(self, snapshot: Snapshot | None = None, source: str = HERE) -> int:
        """Everything that is asked for; how many messages it took."""
        messages = 0
        while self.device.downloads.due:
            await self.send(self.device.download(), snapshot, source)
            messages += 1
            assert messages < 200
        return messages

    async def opened(self, *items: tuple[str, str, dict[str, Any]], ask_s: float = 0.0) -> Estate:
        await self.open(Config(downloads=Settings(ask_s=ask_s)))
        await self.told(*items)
        await self.send(self.device.sign_on())
        return self

    async def versions(self) -> dict[str, str]:
        facts = await self.store.downloads.of(MERCHANT, TERMINAL)
        return {topic: each.fact.version for topic, each in had(facts, HERE).items()}

    async def wanted(self) -> dict[str, str]:
        offered = Offers(self.snapshot).of(
            self.snapshot.terminals[f"{MERCHANT}/{TERMINAL}"],
            self.snapshot.merchants[MERCHANT],
            self.snapshot.profiles["make"],
        )
        assert offered is not None
        return {name: offer.version for name, offer in offered.offers.items()}


def test_a_terminal_takes_everything_in_order_and_is_asked_no_more() -> None:
    async def scenario() -> None:
        estate = await Estate().opened(
            *ca_items("08", "09", "0A"),
            ("aid", AID.aid, msgspec.to_builtins(AID)),
            ("parameters", "counter", {"name": "counter", "timeout_s": 30}),
            set_of(
                parameters="counter",
                ca_keys=[f"{KEY.rid}/{index}" for index in ("08", "09", "0A")],
                aids=[AID.aid],
                tms_hex="AB" * 1_000,
                status_hours=24,
            ),
        )
        assert estate.digits == [1]  # of the sign-on
        await estate.shown()
        await estate.download()
        asked = [digit for digit in estate.digits if digit]
        assert asked == [1, 4, 5, 6, 2]
        has = estate.device.downloads.has
        assert len(has.ca_keys) == 3
        assert list(has.aids) == [bytes.fromhex("9F0608" + AID.aid)]
        assert has.parameters.startswith(b"1230")
        assert has.tms == b"\xab" * 1_000
        assert await estate.versions() == {**await estate.wanted(), "status": ""}
        await estate.send(estate.device.echo())
        assert estate.digits[-1] == 0
        estate.clock.instant += dt.timedelta(hours=24)
        await estate.send(estate.device.echo())
        assert estate.digits[-1] == 2

    run(scenario)


def test_a_long_list_is_had_page_by_page() -> None:
    async def scenario() -> None:
        indices = [f"{number:02X}" for number in range(50)]
        estate = await Estate(download_bytes=400).opened(
            *ca_items(*indices), set_of(ca_keys=[f"{KEY.rid}/{index}" for index in indices])
        )
        await estate.download()
        assert estate.rules.count("download.ca_keys.list") == 3  # 17 keys of 23 bytes a message
        assert len(estate.device.downloads.has.ca_keys) == 50
        assert await estate.versions() == await estate.wanted()

    run(scenario)


@pytest.mark.parametrize("change", ["a key more", "a key less", "another set", "nothing more"])
@pytest.mark.parametrize("at", [0, 1, 2, 3, 4])
def test_data_that_change_under_way_never_leave_a_mixture(change: str, at: int) -> None:
    """The terminal ends what it has begun, and is asked again until it has what is in force."""
    changes: dict[str, Sequence[tuple[str, str, dict[str, Any]]]] = {
        "a key more": [*ca_items("0B"), set_of(ca_keys=names("08", "09", "0A", "0B"))],
        "a key less": [set_of(ca_keys=names("08"))],
        "another set": [*ca_items("10", "11"), set_of(ca_keys=names("10", "11"))],
        "nothing more": [set_of(ca_keys=[])],
    }

    async def scenario() -> None:
        estate = await Estate().opened(
            *ca_items("08", "09", "0A"), set_of(ca_keys=names("08", "09", "0A"))
        )
        messages = 0
        while estate.device.downloads.due:
            if messages == at:
                await estate.told(*changes[change])
            await estate.send(estate.device.download())
            messages += 1
            assert messages < 50
        assert await estate.versions() == await estate.wanted()
        names_of = {name[-1:].hex().upper() for name in estate.device.downloads.has.ca_keys}
        last = dict(changes)[change][-1][2]["ca_keys"]
        assert names_of == {str(name).partition("/")[2] for name in last}

    run(scenario)


def test_data_that_change_and_come_back_are_mixed_all_the_same() -> None:
    async def scenario() -> None:
        first = set_of(ca_keys=names("08", "09"))
        other = set_of(ca_keys=names("08", "0A"))
        estate = await Estate().opened(*ca_items("08", "09", "0A"), first)
        await estate.send(estate.device.download())  # the list
        await estate.told(other)
        await estate.send(estate.device.download())  # 08, the same in both
        await estate.told(first)
        await estate.send(estate.device.download())  # 09
        assert await estate.versions() == {}
        await estate.send(estate.device.download())  # its end
        assert await estate.versions() == {}
        assert estate.digits[-1] == 4
        await estate.download()
        assert await estate.versions() == await estate.wanted()

    run(scenario)


def test_processes_that_know_of_a_change_late_give_no_mixture() -> None:
    async def scenario() -> None:
        estate = await Estate().opened(*ca_items("08", "09"), set_of(ca_keys=names("08")))
        stale = estate.snapshot
        await estate.told(set_of(ca_keys=names("08", "09")))
        await estate.send(estate.device.download())  # the list, of the new data
        await estate.send(estate.device.download(), stale)  # 08, where they are not known
        await estate.send(estate.device.download())  # 09
        await estate.send(estate.device.download())
        assert await estate.versions() == {}
        await estate.download()
        assert await estate.versions() == await estate.wanted()

    run(scenario)


def test_what_was_interrupted_goes_on_by_its_count() -> None:
    async def scenario() -> None:
        indices = [f"{number:02X}" for number in range(40)]
        estate = await Estate().opened(*ca_items(*indices), set_of(ca_keys=names(*indices)))
        await estate.send(estate.device.download())
        estate.device.download()
        estate.device.no_answer()
        await estate.send(estate.device.download())  # 1 and two digits: how many it has
        assert estate.rules[-1] == "download.ca_keys.list"
        estate.device.download()
        estate.device.no_answer()
        await estate.download()
        assert len(estate.device.downloads.has.ca_keys) == 40
        assert await estate.versions() == await estate.wanted()

    run(scenario)


def test_the_same_message_twice_changes_nothing() -> None:
    async def scenario() -> None:
        estate = await Estate().opened(*ca_items("08"), set_of(ca_keys=names("08")))
        while estate.device.downloads.due:
            await estate.send(estate.device.download())
            await estate.send(estate.device.repeat())
        facts = estate.store.download_facts[MERCHANT, TERMINAL]
        assert [each.fact.act for each in facts] == ["begun", "ended"]

    run(scenario)


# -- who may have what --------------------------------------------------------------------------------


def test_card_numbers_are_for_addresses_that_have_shown_themselves() -> None:
    async def scenario() -> None:
        estate = Estate(blacklist_digits=19)
        await estate.open(Config(downloads=Settings(ask_s=0.0)))
        members = [listed_cards.seal(estate.pans, pan) for pan in CARDS]
        listed = {"name": "stop", "members": [*members, "ab" * 16]}
        await estate.told(("risk_list", "stop", listed), set_of(blacklist="stop"))
        await estate.send(estate.device.sign_on())
        assert estate.digits == [0]
        estate.device.downloads.ask("7")
        await estate.send(estate.device.download())
        assert estate.rules[-1] == "download.source_not_verified"
        assert estate.outcome.response_code == "77"
        await estate.shown()
        await estate.send(estate.device.echo())
        assert estate.digits[-1] == 7
        device = estate.device.downloads
        device._card_digits = 19
        await estate.download()
        assert device.has.blacklist == list(CARDS)
        assert await estate.versions() == await estate.wanted()

    run(scenario)


def test_an_end_from_elsewhere_does_not_stop_the_terminal_from_being_asked() -> None:
    """Anybody can send a 371; the terminal that has shown itself is asked all the same."""

    async def scenario() -> None:
        estate = await Estate().opened(*ca_items("08"), set_of(ca_keys=names("08")))
        await estate.download(source="203.0.113.9")
        estate.device.downloads.has.ca_keys = {}
        await estate.shown()
        await estate.send(estate.device.echo())
        assert estate.digits[-1] == 4
        await estate.download()
        assert len(estate.device.downloads.has.ca_keys) == 1
        await estate.send(estate.device.echo())
        assert estate.digits[-1] == 0

    run(scenario)


def test_mac_asks_for_de_64_of_downloads_too() -> None:
    async def scenario() -> None:
        estate = await Estate(management_check="mac").opened(
            *ca_items("08"), set_of(ca_keys=names("08"))
        )
        estate.device.downloads.ask("4")
        await estate.send(estate.device.download())
        assert estate.rules[-1] == "management.mac"

    run(scenario)


# -- who has which set ---------------------------------------------------------------------------------


def test_the_nearest_set_that_speaks_of_a_topic_counts() -> None:
    async def scenario() -> None:
        estate = await Estate().opened(
            *ca_items("08", "09"),
            ("aid", AID.aid, msgspec.to_builtins(AID)),
            ("parameters", "common", {"name": "common", "timeout_s": 30}),
            ("parameters", "own", {"name": "own", "timeout_s": 45, "merchant_name": False}),
            set_of(ca_keys=names("08"), aids=[AID.aid], parameters="common"),
            ("download_set", "shop", {"name": "shop", "ca_keys": names("09")}),
            ("download_set", "own", {"name": "own", "parameters": "own"}),
        )
        merchant = {"merchant": MERCHANT, "name": "Shop", "downloads": "shop"}
        await estate.told(
            ("merchant", MERCHANT, merchant),
            ("terminal", f"{MERCHANT}/{TERMINAL}", {**estate.terminal, "downloads": "own"}),
        )
        estate.device.downloads.give_up()
        await estate.send(estate.device.echo())
        await estate.download()
        has = estate.device.downloads.has
        assert has.parameters == b"1245"
        assert [name[-1:] for name in has.ca_keys] == [b"\x09"]
        assert len(has.aids) == 1
        facts = await estate.store.downloads.of(MERCHANT, TERMINAL)
        assert {topic: each.fact.source for topic, each in had(facts, HERE).items()} == {
            "parameters": "own@1",
            "ca_keys": "shop@1",
            "aids": "chip@1",
        }

    run(scenario)


def test_the_merchants_name_is_part_of_the_version() -> None:
    async def scenario() -> None:
        estate = await Estate().opened(("parameters", "p", {"name": "p"}), set_of(parameters="p"))
        await estate.download()
        assert estate.device.downloads.has.parameters == b"22" + b"Shop".ljust(40)
        await estate.told(
            ("merchant", MERCHANT, {"merchant": MERCHANT, "name": "x", "name_zh": "小店"})
        )
        await estate.send(estate.device.echo())
        assert estate.digits[-1] == 1
        await estate.download()
        assert estate.device.downloads.has.parameters == b"22" + "小店".encode("gbk").ljust(40)

    run(scenario)


def test_parameters_without_an_end_where_the_make_sends_none() -> None:
    async def scenario() -> None:
        estate = Estate(parameters_end=False)
        estate.device.downloads._parameters_end = False
        await estate.opened(("parameters", "p", {"name": "p"}), set_of(parameters="p"))
        assert await estate.download() == 1
        await estate.send(estate.device.echo())
        assert estate.digits == [1, 0, 0]

    run(scenario)


def test_nothing_assigned_is_told_in_the_protocols_own_words() -> None:
    async def scenario() -> None:
        estate = await Estate().opened(set_of())
        for digit in "45":
            estate.device.downloads.ask(digit)
        await estate.download()
        assert estate.rules[1:] == [
            "download.ca_keys.list.nothing",
            "download.ca_keys.end",
            "download.aids.list.nothing",
            "download.aids.end",
        ]
        estate.device.downloads.ask("1")
        await estate.send(estate.device.download())
        assert estate.outcome.response_code == "40"
        assert await estate.versions() == {}

    run(scenario)


def test_a_terminal_that_does_not_take_it_is_asked_again_after_a_while_and_for_the_next() -> None:
    async def scenario() -> None:
        estate = await Estate().opened(
            *ca_items("08"),
            ("parameters", "p", {"name": "p"}),
            set_of(parameters="p", ca_keys=names("08")),
            ask_s=3_600.0,
        )
        for _ in range(3):
            await estate.send(estate.device.echo())
        assert estate.digits == [1, 4, 0, 0]
        await estate.told(set_of(parameters="p", ca_keys=[]))
        await estate.send(estate.device.echo())
        assert estate.digits[-1] == 4  # another version

    run(scenario)


def test_a_set_that_is_not_in_force_yet_says_nothing() -> None:
    async def scenario() -> None:
        estate = await Estate().opened()
        assert estate.digits == [0]
        assert (
            Offers(estate.snapshot).of(
                estate.snapshot.terminals[f"{MERCHANT}/{TERMINAL}"],
                None,
                estate.snapshot.profiles["make"],
            )
            is None
        )

    run(scenario)


def test_due_leaves_out_what_is_guarded() -> None:
    async def scenario() -> None:
        estate = await Estate().opened(set_of(tms_hex="AB", ca_keys=[]))
        offered = Offers(estate.snapshot).of(
            estate.snapshot.terminals[f"{MERCHANT}/{TERMINAL}"],
            None,
            estate.snapshot.profiles["make"],
        )
        assert offered is not None
        shown = [topic for topic, _ in due(offered, {}, NOW, shown=True)]
        unshown = [topic for topic, _ in due(offered, {}, NOW, shown=False)]
        assert (shown, unshown) == (["ca_keys", "tms"], ["ca_keys"])

    run(scenario)


def names(*indices: str) -> list[str]:
    return [f"{KEY.rid}/{index}" for index in indices]
