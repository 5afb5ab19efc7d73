"""The life of a link connection: every row of the table once, and every pair without a row."""

from __future__ import annotations

import pytest

from iso8583.codec import codec_for
from switch import network_management as management
from switch.network_management import TRANSITIONS, Connection, Effect, Event, Phase, read_ask, step


def walk(*events: Event) -> tuple[Connection, list[str]]:
    state, said = Connection(), []
    for event in events:
        state, effects = step(state, event)
        said += [effect.value for effect in effects]
    return state, said


@pytest.mark.parametrize(
    ("events", "phase", "said"),
    [
        ("connected", "signing_on", "send_sign_on"),
        ("connected accepted", "signed_on", "send_sign_on ready"),
        ("connected refused", "closed", "send_sign_on close"),
        ("connected missed", "closed", "send_sign_on close"),
        ("connected lost", "closed", "send_sign_on"),
        ("connected accepted idle", "signed_on", "send_sign_on ready send_echo"),
        ("connected accepted idle accepted", "signed_on", "send_sign_on ready send_echo"),
        (
            "connected accepted idle missed",
            "signed_on",
            "send_sign_on ready send_echo send_echo",
        ),
        (
            "connected accepted idle missed missed",
            "closed",
            "send_sign_on ready send_echo send_echo not_ready close",
        ),
        ("connected accepted lost", "closed", "send_sign_on ready not_ready"),
        (
            "connected accepted host_sign_off",
            "signed_off",
            "send_sign_on ready not_ready",
        ),
        (
            "connected accepted host_sign_off host_sign_on",
            "signed_on",
            "send_sign_on ready not_ready ready",
        ),
        (
            "connected accepted host_sign_off idle accepted",
            "signed_on",
            "send_sign_on ready not_ready send_sign_on ready",
        ),
        (
            "connected accepted drain accepted",
            "closed",
            "send_sign_on ready not_ready send_sign_off close",
        ),
        (
            "connected accepted drain missed",
            "closed",
            "send_sign_on ready not_ready send_sign_off close",
        ),
        ("connected drain", "closed", "send_sign_on close"),
        ("drain", "closed", "close"),
    ],
)
def test_stories(events: str, phase: str, said: str) -> None:
    state, effects = walk(*(Event(event) for event in events.split()))
    assert (state.phase.value, " ".join(effects)) == (phase, said)


def test_a_pair_without_a_row_changes_nothing() -> None:
    for phase in Phase:
        for event in Event:
            if (phase, event) not in TRANSITIONS:
                assert step(Connection(phase, 1), event) == (Connection(phase, 1), ())


def test_every_phase_ends() -> None:
    for phase in Phase:
        if phase is not Phase.CLOSED:
            assert TRANSITIONS[phase, Event.LOST][0] is Phase.CLOSED
            ways = {after for (before, _), (after, _) in TRANSITIONS.items() if before is phase}
            assert Phase.CLOSED in ways


def test_an_echo_answered_or_anything_heard_forgets_the_miss() -> None:
    missed, _ = walk(Event.CONNECTED, Event.ACCEPTED, Event.IDLE, Event.MISSED)
    assert missed.misses == 1
    assert management.heard(missed).misses == 0
    state, effects = step(management.heard(missed), Event.MISSED)
    assert (state.phase, effects) == (Phase.SIGNED_ON, (Effect.SEND_ECHO,))


@pytest.mark.parametrize(
    ("elements", "response_code", "event", "import_key", "cutover"),
    [
        ({70: "001"}, "00", Event.HOST_SIGN_ON, None, None),
        ({70: "002"}, "00", Event.HOST_SIGN_OFF, None, None),
        ({70: "301"}, "00", None, None, None),
        ({70: "201", 15: "0304"}, "00", None, None, ("201", "0304")),
        ({70: "202"}, "00", None, None, ("202", "")),
        ({70: "101", 48: "ZPKB0096"}, "00", None, ("ZPK", "B0096"), None),
        ({70: "101", 48: "TMKB0096"}, "30", None, None, None),
        ({70: "101"}, "30", None, None, None),
        ({70: "270"}, "40", None, None, None),
        ({}, "30", None, None, None),
    ],
)
def test_what_the_host_asks(
    elements: dict[int, str | bytes],
    response_code: str,
    event: Event | None,
    import_key: tuple[str, str] | None,
    cutover: tuple[str, str] | None,
) -> None:
    asked = read_ask({0: "0800", **elements})
    assert (asked.response_code, asked.event) == (response_code, event)
    assert (asked.import_key, asked.cutover) == (import_key, cutover)


def test_messages_can_be_written() -> None:
    codec = codec_for("iso1987_ascii")
    ask = management.ask("001", "000001", "0304120000", "48000000", "33")
    reply = management.reply(ask, "00")
    assert codec.decode(codec.encode(ask)) == ask
    assert codec.decode(codec.encode(reply)) == reply
    assert reply == {0: "0810", 7: "0304120000", 11: "000001", 32: "48000000", 33: "33",
                     39: "00", 70: "001"}  # fmt: skip
    assert management.reply({0: "0820", 70: "301"}, "00")[0] == "0830"
