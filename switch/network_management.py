"""The life of one connection of a bank link: sign-on, echo, key change, cut-over, sign-off.

Theory of operation. A connection is good for business only after the host has answered our sign-on
(0800, DE 70 = 001) with 00. While nothing is heard for `echo_idle_s` an echo (301) asks whether the
host still lives; two in a row without answer close the connection, as does a refused or unanswered
sign-on: the owner then connects again, after a pause. The host may ask too: every management request
is answered, in any phase. When the host signs off, the connection stays, carries nothing, and asks
to sign on again when the line has been quiet for `echo_idle_s`.

Where it is the host who signs on (`Link.sign_on` "bank") a connection waits for that instead, at first
and after a sign-off, and ends where nothing is heard for `echo_idle_s`.

The table `TRANSITIONS` is the machine: (phase, event) → (phase, effects). An event that has no row
in a phase changes nothing. Pure: the owner of the socket executes the effects and tells the events.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from switch.acquirers.forms import HEADER

if TYPE_CHECKING:
    from iso8583.message import Message

SIGN_ON: Final = "001"
SIGN_OFF: Final = "002"
KEY_CHANGE: Final = "101"
CUTOVER_BEGINS: Final = "201"
CUTOVER_ENDED: Final = "202"
ECHO: Final = "301"

MISSES_MAX: Final = 2
# For the answer to a key change, where a link's timer is longer: it is sent again well within the time
# for which the former key is good.
KEY_ANSWER_S: Final = 10.0


class Phase(StrEnum):
    OPENED = "opened"
    SIGNING_ON = "signing_on"
    AWAITING = "awaiting"  # the host's sign-on, where that is its part
    SIGNED_ON = "signed_on"
    SIGNED_OFF = "signed_off"  # by the host
    SIGNING_OFF = "signing_off"  # by us: draining
    CLOSED = "closed"


class Event(StrEnum):
    CONNECTED = "connected"
    CONNECTED_TO_WAIT = "connected_to_wait"  # … and it is the host who signs on
    ACCEPTED = "accepted"  # our 0800 was answered 00
    REFUSED = "refused"  # … with another code
    MISSED = "missed"  # … not at all in time
    IDLE = "idle"  # nothing heard for echo_idle_s
    HOST_SIGN_ON = "host_sign_on"
    HOST_SIGN_OFF = "host_sign_off"
    DRAIN = "drain"
    LOST = "lost"


class Effect(StrEnum):
    SEND_SIGN_ON = "send_sign_on"
    SEND_SIGN_OFF = "send_sign_off"
    SEND_ECHO = "send_echo"
    READY = "ready"  # business may go here
    NOT_READY = "not_ready"
    CLOSE = "close"


P, E, F = Phase, Event, Effect

# In SIGNED_ON a missed echo is counted: the first is sent again, the second closes (`step`).
TRANSITIONS: Final[dict[tuple[Phase, Event], tuple[Phase, tuple[Effect, ...]]]] = {
    (P.OPENED, E.CONNECTED): (P.SIGNING_ON, (F.SEND_SIGN_ON,)),
    (P.OPENED, E.CONNECTED_TO_WAIT): (P.AWAITING, ()),
    (P.OPENED, E.DRAIN): (P.CLOSED, (F.CLOSE,)),
    (P.OPENED, E.LOST): (P.CLOSED, ()),
    (P.SIGNING_ON, E.ACCEPTED): (P.SIGNED_ON, (F.READY,)),
    (P.SIGNING_ON, E.REFUSED): (P.CLOSED, (F.CLOSE,)),
    (P.SIGNING_ON, E.MISSED): (P.CLOSED, (F.CLOSE,)),
    (P.SIGNING_ON, E.DRAIN): (P.CLOSED, (F.CLOSE,)),
    (P.SIGNING_ON, E.LOST): (P.CLOSED, ()),
    (P.AWAITING, E.HOST_SIGN_ON): (P.SIGNED_ON, (F.READY,)),
    (P.AWAITING, E.IDLE): (P.CLOSED, (F.CLOSE,)),
    (P.AWAITING, E.DRAIN): (P.CLOSED, (F.CLOSE,)),
    (P.AWAITING, E.LOST): (P.CLOSED, ()),
    (P.SIGNED_ON, E.IDLE): (P.SIGNED_ON, (F.SEND_ECHO,)),
    (P.SIGNED_ON, E.MISSED): (P.SIGNED_ON, (F.SEND_ECHO,)),
    (P.SIGNED_ON, E.HOST_SIGN_OFF): (P.SIGNED_OFF, (F.NOT_READY,)),
    (P.SIGNED_ON, E.DRAIN): (P.SIGNING_OFF, (F.NOT_READY, F.SEND_SIGN_OFF)),
    (P.SIGNED_ON, E.LOST): (P.CLOSED, (F.NOT_READY,)),
    (P.SIGNED_OFF, E.HOST_SIGN_ON): (P.SIGNED_ON, (F.READY,)),
    (P.SIGNED_OFF, E.IDLE): (P.SIGNING_ON, (F.SEND_SIGN_ON,)),
    (P.SIGNED_OFF, E.DRAIN): (P.CLOSED, (F.CLOSE,)),
    (P.SIGNED_OFF, E.LOST): (P.CLOSED, ()),
    (P.SIGNING_OFF, E.ACCEPTED): (P.CLOSED, (F.CLOSE,)),
    (P.SIGNING_OFF, E.REFUSED): (P.CLOSED, (F.CLOSE,)),
    (P.SIGNING_OFF, E.MISSED): (P.CLOSED, (F.CLOSE,)),
    (P.SIGNING_OFF, E.LOST): (P.CLOSED, ()),
}


class Connection(msgspec.Struct, frozen=True):
    """State of one connection. `misses`: echoes in a row without answer. `waits`: it is the host who
    signs on."""

    phase: Phase = Phase.OPENED
    misses: int = 0
    waits: bool = False


def step(connection: Connection, event: Event) -> tuple[Connection, tuple[Effect, ...]]:
    """The next state and what the owner must do, in this order.

    >>> signing_on, effects = step(Connection(), Event.CONNECTED)
    >>> signing_on.phase.value, [effect.value for effect in effects]
    ('signing_on', ['send_sign_on'])
    """
    row = TRANSITIONS.get((connection.phase, event))
    if row is None:
        return connection, ()
    phase, effects = row
    waits = connection.waits or event is Event.CONNECTED_TO_WAIT
    if waits and phase is Phase.SIGNED_OFF:
        phase = Phase.AWAITING
    if connection.phase is Phase.SIGNED_ON and event is Event.MISSED:
        misses = connection.misses + 1
        if misses >= MISSES_MAX:
            return Connection(Phase.CLOSED), (Effect.NOT_READY, Effect.CLOSE)
        return Connection(phase, misses, waits), effects
    misses = connection.misses if event is Event.IDLE else 0
    return Connection(phase, misses, waits), effects


def heard(connection: Connection) -> Connection:
    """Any whole message shows that the host lives: missed echoes no longer count."""
    if not connection.misses:
        return connection
    return Connection(connection.phase, waits=connection.waits)


class Ask(msgspec.Struct, frozen=True):
    """What the host's 0800 asks, and the answer it gets."""

    code: str  # DE 70
    response_code: str
    event: Event | None = None
    import_key: tuple[str, str] | None = None  # (usage, key under the ZMK): answered when stored
    cutover: tuple[str, str] | None = None  # (DE 70, DE 15)


def read_ask(message: Message) -> Ask:
    """A management request of the host (0800 or 0820).

    DE 48 of a key change holds `ZPK` or `ZAK`, then the key under the ZMK.
    """
    code = str(message.get(70, ""))
    if code == SIGN_ON:
        return Ask(code, "00", event=Event.HOST_SIGN_ON)
    if code == SIGN_OFF:
        return Ask(code, "00", event=Event.HOST_SIGN_OFF)
    if code == ECHO:
        return Ask(code, "00")
    if code == KEY_CHANGE:
        content = str(message.get(48, ""))
        if content[:3] not in ("ZPK", "ZAK") or len(content) < 4:
            return Ask(code, "30")
        return Ask(code, "00", import_key=(content[:3], content[3:]))
    if code in (CUTOVER_BEGINS, CUTOVER_ENDED):
        return Ask(code, "00", cutover=(code, str(message.get(15, ""))))
    return Ask(code, "40" if code else "30")


def ask(code: str, link_stan: str, transmission_time: str, de32: str, de33: str) -> Message:
    """Our own 0800."""
    message: Message = {0: "0800", 7: transmission_time, 11: link_stan, 32: de32, 70: code}
    if de33:
        message[33] = de33
    return message


def ask_key_change(
    content: str, link_stan: str, transmission_time: str, de32: str, de33: str
) -> Message:
    """Our own 101: DE 48 is `ZPK` or `ZAK`, then the key under the ZMK."""
    message = ask(KEY_CHANGE, link_stan, transmission_time, de32, de33)
    message[48] = content
    return dict(sorted(message.items()))


def reply(request: Message, response_code: str) -> Message:
    """The answer to the host's 0800 or 0820."""
    mti = "0830" if str(request[0]).startswith("082") else "0810"
    answer: Message = {0: mti}
    for de in (HEADER, 7, 11, 15, 32, 33):
        if de in request:
            answer[de] = request[de]
    answer[39] = response_code
    if 70 in request:
        answer[70] = request[70]
    return answer
