"""A journal played to this tree's switch: it comes out as it was recorded, and the same every time.

Method: a small day, in this process; the facts of every line against those that were recorded, and the
messages that must have crossed. Then what was not recorded, or can not be played.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from switch.replay import player
from switch.replay.export import KINDS
from switch.replay.journal_file import (
    Attempted,
    Day,
    Head,
    Reference,
    Request,
    Settlement,
    Writer,
    read,
)
from switch.replay.player import WatchedStore, play
from tests.switch.replay.traffic import (
    CARD,
    HEAD,
    answered,
    day,
    decided,
    reference,
    request,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from switch.replay.happened import Crossed, Played
    from switch.replay.journal_file import Event
    from switch.replay.player import End


def played(path: Path, events: Sequence[Event] | None = None) -> tuple[list[Played], End]:
    told: list[Played] = []
    lines = read(write(path, events))
    _, head = next(lines)
    assert isinstance(head, Head)
    end = play(head, lines, told.append)
    return told, end


def crossed(of: Played, *, money: bool = True) -> list[str]:
    return [f"{one.elements['0']} {one.sender} {one.receiver}" for one in of.messages if money]


def test_a_day_comes_out_as_it_was_recorded(tmp_path: Path) -> None:
    told, end = played(tmp_path / "j.jsonl")
    assert len(told) == len(day())
    for each in told:
        assert {name: each.facts.get(name, "") for name in each.recorded} == each.recorded
        assert each.notes == []
    assert end.refused == {}
    assert end.failures == {}
    assert end.unplaced == 0
    approved, declined, silent, void, _, undone, advice, settled = told
    assert crossed(approved) == [
        "0200 terminal switch",
        "0200 switch bank_a",
        "0210 bank_a switch",
        "0210 switch terminal",
    ]
    assert declined.messages[-1].elements["39"] == "51"
    assert crossed(silent)[2:] == [
        "0210 switch terminal",
        "0420 switch bank_a",
        "0430 bank_a switch",
    ]
    named = approved.messages[1].elements
    assert void.messages[1].elements["90"].startswith("0200" + named["11"] + named["7"])
    assert undone.facts["reversal 1"] == "terminal, reason 96, capture cancel"
    assert crossed(advice)[2:] == ["0220 switch bank_a", "0221 switch bank_a", "0230 bank_a switch"]
    assert settled.facts["result"] == "11"


def test_answers_take_as_long_as_they_took(tmp_path: Path) -> None:
    told, _ = played(tmp_path / "j.jsonl")
    sent, heard = told[0].messages[1:3]
    assert heard.at - sent.at == pytest.approx(0.2, abs=1e-5)


def test_the_same_every_time_and_no_card_in_it(tmp_path: Path) -> None:
    first, second = (played(tmp_path / name) for name in ("a.jsonl", "b.jsonl"))
    assert first == second
    data = msgspec.json.encode(first).decode()
    assert CARD not in data
    assert "4912" not in data.replace(CARD, "")


def test_a_late_approval(tmp_path: Path) -> None:
    """The answer comes 2 s after the link's timer: stored as late, never an approval."""
    late = request(
        1, 1.0, attempts=answered(1.0, after_s=10.0), outcome=decided(9.0, "unknown", "98")
    )
    (told,), _ = played(tmp_path / "j.jsonl", [late])
    assert told.facts["state"] == "unknown"
    assert told.facts["late answer"] == "00 (late)"
    assert "no reversal was recorded: it is answered 00" in told.notes


def test_an_answer_whose_mac_was_wrong(tmp_path: Path) -> None:
    (attempt,) = answered(1.0)
    spoilt = msgspec.structs.replace(attempt.answers[0], fault="mac")
    line = request(1, 1.0, attempts=(msgspec.structs.replace(attempt, answers=(spoilt,)),))
    (told,), _ = played(tmp_path / "j.jsonl", [line])
    assert told.facts["state"] == "unknown"
    assert told.facts["late answer"] == "00 (mac)"


def test_silence_where_nothing_was_recorded(tmp_path: Path) -> None:
    refused = msgspec.structs.replace(decided(1.0, "refused", "61"), rule="risk.some")
    (told,), _ = played(tmp_path / "j.jsonl", [request(1, 1.0, outcome=refused)])
    assert told.facts["state"] == "unknown"
    assert told.recorded["state"] == "refused"
    assert "nothing was recorded that a bank answered: it is silent" in told.notes


def test_what_can_not_be_asked(tmp_path: Path) -> None:
    stranger = request(1, 1.0, terminal="19999999", attempts=answered(1.0))
    odd = request(2, 2.0, currency="Ω", attempts=answered(2.0))
    (first, second), end = played(tmp_path / "j.jsonl", [stranger, odd])
    assert first.notes == ["its terminal is not in the reference data"]
    assert second.notes[0].startswith("it can not be said in unionpay_pos: ")
    assert end.lines["request"] == 2


def test_a_line_that_never_ends_holds_up_nobody_for_ever(tmp_path: Path) -> None:
    """Its reversal is never answered; it is told at the end, as not over."""
    (deliver,) = (each for each in day() if isinstance(each, Request) and each.id == 3)
    (reversal,) = deliver.deliveries
    unanswered = msgspec.structs.replace(reversal, ended_at=None, response_code="")
    lines = [
        msgspec.structs.replace(deliver, id=1, trace=1, deliveries=(unanswered,)),
        request(2, 6.0, attempts=answered(6.0)),
    ]
    (first, second), _ = played(tmp_path / "j.jsonl", lines)
    assert (first.line, second.line) == (6, 7)
    assert "not over" in first.notes
    assert len([one for one in first.messages if one.elements["0"] == "0421"]) > 3
    assert second.notes == []


def test_batches_are_those_of_this_switch(tmp_path: Path) -> None:
    """Recorded batches 7 and 8 are told 1 and 2; a settlement lies between."""
    lines: list[Event] = [
        request(1, 1.0, attempts=answered(1.0)),
        Settlement(
            at=5.0,
            merchant=request(1, 0.0).merchant,
            terminal=request(1, 0.0).terminal,
            batch=7,
            said=(1_000, 1, 0, 0, 0, 0, 0, 0),
            result="11",
        ),
        request(2, 10.0, batch=8, session=2, attempts=answered(10.0)),
    ]
    (first, settled, second), _ = played(tmp_path / "j.jsonl", lines)
    asked: list[Crossed] = [first.messages[0], settled.messages[0], second.messages[0]]
    assert [one.elements["60"][2:8] for one in asked] == ["000001", "000001", "000002"]
    assert second.facts["state"] == "approved"


def test_another_route_is_answered_as_the_issuer_answered(tmp_path: Path) -> None:
    """What went to a bank that is not the link's any more: the issuer is the same."""
    (attempt,) = answered(1.0, "51")
    elsewhere = Attempted(at=1.0, acquirer="bank_z", answers=attempt.answers)
    (told,), _ = played(tmp_path / "j.jsonl", [request(1, 1.0, attempts=(elsewhere,))])
    assert told.facts["response_code"] == "51"


def test_a_routing_rule_of_the_file_routes(tmp_path: Path) -> None:
    """Requests of the day that its rules sent elsewhere must be able to go there."""
    assert {"routing_rule", "routing_cost"} <= set(KINDS)  # of what an export has
    link = {"acquirer": "bank_b", "host": "bank_b", "port": 1, "de32": "2"}
    rule = {"name": "all", "order": 1, "when": {"types": ["purchase"]}, "to": ["bank_b"]}
    lines: list[Event] = [
        request(1, 1.0, attempts=answered(1.0)),
        Reference(at=2.0, of="link", key="bank_b", version=1, content=link),
        Reference(at=5.0, of="routing_rule", key="all", version=1, content=rule),
        request(2, 12.0, attempts=answered(12.0)),
    ]
    (before, after), _ = played(tmp_path / "j.jsonl", lines)
    assert "0200 switch bank_a" in crossed(before)
    assert "0200 switch bank_b" in crossed(after)


def test_a_list_of_cards_is_one_here_too(tmp_path: Path) -> None:
    """The file names its cards by their test numbers; the switch of here knows them by its tokens."""
    listed = {"name": "stolen", "members": [f"card:{CARD}", "0" * 32]}
    rule = {
        "name": "stolen",
        "scope": "card",
        "measure": "listed",
        "list": "stolen",
        "action": "decline",
        "response_code": "43",
    }
    lines: list[Event] = [
        Reference(at=0.0, of="risk_list", key="stolen", version=1, content=listed),
        request(1, 1.0, attempts=answered(1.0)),
        Reference(at=5.0, of="risk_rule", key="stolen", version=1, content=rule),
        request(2, 6.0, attempts=answered(6.0)),
    ]
    (before, after), _ = played(tmp_path / "j.jsonl", lines)
    assert (before.facts["response_code"], after.facts["response_code"]) == ("00", "43")


def test_the_business_date_moves_on(tmp_path: Path) -> None:
    """A void names a sale of the date before: refused, as it was."""
    void = request(
        2,
        10.0,
        type="void",
        processing_code="200000",
        usage="23",
        amount_minor=1_000,
        original=1,
        entry_mode="012",
        pin=False,
    )
    lines: list[Event] = [
        request(1, 1.0, attempts=answered(1.0)),
        Day(at=5.0, business_date="2026-03-05"),
        void,
    ]
    (_, refused), end = played(tmp_path / "j.jsonl", lines)
    assert refused.facts["state"] == "refused"
    assert end.lines["day"] == 1


def test_a_host_of_another_form(tmp_path: Path) -> None:
    """The same day, with a bank whose messages have a header, BCD, other codes and reversals as 0400."""
    plain = reference()
    link = next(each for each in plain if isinstance(each, Reference) and each.of == "link")
    form = {
        "dialect": "iso1987_binary.key_16",
        "form": "binary_host",
        "mac_algorithm": "tdes-cbc-binary",
    }
    other = msgspec.structs.replace(link, content=link.content | form)
    path = tmp_path / "j.jsonl"
    writer = Writer(path, HEAD)
    for line in [*(other if each is link else each for each in plain), *day()]:
        writer.add(line)
    writer.end()
    told: list[Played] = []
    lines = read(path)
    _, head = next(lines)
    assert isinstance(head, Head)
    play(head, lines, told.append)
    for each in told:
        assert {name: each.facts.get(name, "") for name in each.recorded} == each.recorded
        assert each.notes == []
    codes = [one.elements.get("64") for one in told[0].messages if one.receiver == "bank_a"]
    assert codes == ["right"]


def batches(count: int, size: int) -> list[Event]:
    """Settled batches; the first sale of each is refunded in the next, the second reversed late."""
    lines: list[Event] = []
    at, number = 1.0, 0
    plain = request(1, 0.0)
    for batch in range(7, 7 + count):
        for place in range(size):
            number += 1
            at += 0.5
            lines.append(
                request(
                    number,
                    at,
                    batch=batch,
                    session=batch,
                    amount_minor=1_000,
                    named=place == 0,
                    attempts=answered(at),
                    outcome=decided(at + 0.2, "approved", "00", 1_000),
                )
            )
        refunds = (0, 0) if batch == 7 else (1_000, 1)
        if batch > 7:
            number += 1
            at += 0.5
            lines.append(
                request(
                    number,
                    at,
                    type="refund",
                    mti="0220",
                    processing_code="200000",
                    usage="25",
                    entry_mode="012",
                    pin=False,
                    batch=batch,
                    session=batch,
                    amount_minor=1_000,
                    named=False,
                    original=number - 2 * size if batch == 8 else number - 2 * size - 1,
                    attempts=answered(at),
                    outcome=decided(at + 0.2, "approved", "00", -1_000),
                )
            )
        said = (1_000 * size, size, *refunds, 0, 0, 0, 0)
        at += 5
        lines.append(
            Settlement(
                at=at,
                merchant=plain.merchant,
                terminal=plain.terminal,
                batch=batch,
                said=said,
                result="11",
            )
        )
        at += 5
    return lines


def test_what_is_settled_is_forgotten_and_nobody_notices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores: list[WatchedStore] = []

    class Seen(WatchedStore):
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            stores.append(self)

    monkeypatch.setattr(player, "WatchedStore", Seen)
    lines = batches(5, 6)
    whole = played(tmp_path / "whole.jsonl", lines)
    monkeypatch.setattr(player, "FORGET_MIN", 1)
    monkeypatch.setattr(player, "FORGET_PART", 1_000)
    assert played(tmp_path / "short.jsonl", lines) == whole
    for each in whole[0]:
        assert {name: each.facts.get(name, "") for name in each.recorded} == each.recorded
    kept = [sorted(row.row.type for row in store.requests.values()) for store in stores]
    assert kept[0] == ["purchase"] * 30 + ["refund"] * 4
    # sales that are named, refunds that name one, and the last batch, which was settled a moment ago
    assert kept[1].count("refund") == 4
    assert kept[1].count("purchase") <= 5 + 5
