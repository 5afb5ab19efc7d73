"""The first look at a frame: what it is, who sent it, whether its MAC is right.

A frame that can be answered becomes a `Received`; what is wrong with it raises `Refused` with the
answer's code. Everything here comes before the journal (rules §11): nothing is stored, and refusals
are counted and sampled, not journalled.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING

import msgspec
import structlog

from hsm.errors import KeyBlockError
from iso8583.codec import Codec, codec_for
from iso8583.dialects import registry
from iso8583.errors import DecodeError
from iso8583.framing import header_is_test
from switch import intake
from terminals.registry import Merchant, Profile, Terminal

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Awaitable, Callable

    from hsm.ports import Hsm
    from iso8583.message import Message
    from switch.access import Access, AccessCache
    from switch.intake import Refusal
    from switch.reference import Snapshot
    from switch.store_ports import Session

# What an answer has to name: MTI, trace, terminal, merchant.
NAMES = (0, 11, 41, 42)
_who = itemgetter(42, 41)

_log = structlog.get_logger(__name__)


class UnreadableError(Exception):
    """Nothing in the frame says whom to answer: the connection's fault is counted."""


class RefusedError(Exception):
    """Answered unsigned, before anything is known to be true."""

    def __init__(self, response_code: str, rule: str, message: Message, codec: Codec) -> None:
        super().__init__(rule)
        self.response_code = response_code
        self.rule = rule
        self.message = message
        self.codec = codec


class Sender(msgspec.Struct, frozen=True, gc=False):
    """A terminal of ours with all that reference data say of it, put together once a snapshot."""

    name: str  # "merchant/terminal"
    merchant_id: str
    terminal_id: str
    terminal: Terminal
    profile: Profile
    merchant: Merchant | None
    status: intake.Refusal | None  # 58 or 03: stands unless this is a repeat (rules §3)
    dialect: str  # its own
    mac_profile: str  # its own
    timezone: str  # its merchant's, "" for the node's
    decision: str  # how the decisions over its requests begin, as JSON


class Received(msgspec.Struct, gc=False):
    """A message that its sender's dialect decodes, from a terminal of ours."""

    message: dict[int, str | bytes]
    body: bytes
    codec: Codec
    sender: Sender
    mti: str

    @property
    def merchant_id(self) -> str:
        return self.sender.merchant_id

    @property
    def terminal_id(self) -> str:
        return self.sender.terminal_id

    @property
    def terminal(self) -> Terminal:
        return self.sender.terminal

    @property
    def profile(self) -> Profile:
        return self.sender.profile

    @property
    def merchant(self) -> Merchant | None:
        return self.sender.merchant

    @property
    def status(self) -> intake.Refusal | None:
        return self.sender.status


def check_header(header: bytes) -> None:
    """A terminal in test state is served by the demonstration alone (rules §10)."""
    if header_is_test(header):
        raise UnreadableError("terminal in test state")


def receive(body: bytes, dialect: str, snapshot: Snapshot) -> Received:
    """Decode in the listener's dialect, find the terminal, decode again where its own differs.

    Raises `UnreadableError` and `RefusedError` (30, 96, 97).
    """
    codec = codec_for(dialect)
    error: DecodeError | None = None
    try:
        message = codec.decode(body)
    except DecodeError:
        message, error = codec.decode_partial(body)
    sender = sent_by(message, snapshot)
    if sender is None or error is not None or sender.dialect != dialect:
        return _received_otherwise(body, dialect, snapshot, message, error, sender)
    return Received(message, body, codec, sender, str(message[0]))


def _received_otherwise(
    body: bytes,
    dialect: str,
    snapshot: Snapshot,
    message: Message,
    error: DecodeError | None,
    sender: Sender | None,
) -> Received:
    """Not known, not read, or not the listener's dialect."""
    codec = codec_for(dialect)
    if error is not None and sender is None:
        other = other_dialect(body, dialect, snapshot)
        if other:
            return receive(body, other, snapshot)
    if intake.sender(message) is None or 0 not in message:
        raise UnreadableError(str(error) if error else "DE 11, 41 or 42 is missing")
    if sender is None:
        code, rule = ("30", f"form.decode: {error}") if error else ("97", "terminal.unknown")
        raise RefusedError(code, rule, message, codec)
    own = sender.dialect
    if own != dialect:
        if not registry.is_known(own):  # the node lacks the file of a dialect
            raise RefusedError("96", f"dialect.unknown: {own}", message, codec)
        codec = codec_for(own)
        who = {de: message[de] for de in NAMES}
        message, error = codec.decode_partial(body)
        if error is not None:  # before those, maybe: what the listener's read names whom to answer
            message = message | who
    if error is not None:
        raise RefusedError("30", f"form.decode: {error}", message, codec)
    return Received(message, body, codec, sender, str(message[0]))


def sent_by(message: Message, snapshot: Snapshot) -> Sender | None:
    """Who sent it, where that can be read and is a terminal of ours."""
    try:
        who = _who(message)
    except KeyError:
        return None
    known: Sender | None = snapshot.senders.get(who)
    if known is not None:
        return known if 11 in message else None
    named = intake.sender(message)
    if named is None or snapshot.terminal(named[0], named[1]) is None:
        return None
    known = snapshot.senders[who] = sender_of(named[0], named[1], snapshot)
    return known


def sender_of(merchant_id: str, terminal_id: str, snapshot: Snapshot) -> Sender:
    """A terminal that there is."""
    name = f"{merchant_id}/{terminal_id}"
    terminal = snapshot.terminals[name]
    profile = snapshot.profile(terminal)
    merchant = snapshot.merchants.get(merchant_id)
    versions = snapshot.version("merchant", merchant_id), snapshot.version("terminal", name)
    return Sender(
        name=name,
        merchant_id=merchant_id,
        terminal_id=terminal_id,
        terminal=terminal,
        profile=profile,
        merchant=merchant,
        status=intake.allowed_to_send(snapshot, terminal, merchant_id),
        dialect=terminal.dialect or profile.dialect,
        mac_profile=terminal.mac_profile or profile.mac_profile,
        timezone="" if merchant is None else merchant.timezone,
        decision=f'{{"generation":{snapshot.generation},"merchant":{versions[0]},"terminal":{versions[1]},',
    )


def other_dialect(body: bytes, dialect: str, snapshot: Snapshot) -> str:
    """The dialect of a terminal of ours that alone makes sense of the message; "" where none does.

    What differs may stand before DE 41 and 42, so that the listener's dialect never reads who it is.
    """
    for other in snapshot.dialects:
        if other != dialect and registry.is_known(other):
            message, _ = codec_for(other).decode_partial(body)
            sender = sent_by(message, snapshot)
            if sender is not None and sender.dialect == other:
                return other
    return ""


def mac_profile(received: Received) -> str:
    return received.sender.mac_profile


class Verified(msgspec.Struct, gc=False):
    """Under which session its MAC is right."""

    access: "Access"
    session: "Session"


def verify(
    received: Received, cache: AccessCache, hsm: Hsm, now: Callable[[], dt.datetime]
) -> Verified | Awaitable[Verified | Refusal]:
    """The session under whose MAK the message verifies; 77 or A0 after a second look at the store.

    A right MAC shows that what is remembered is not of a former sign-on. Without MACs nothing does:
    such a terminal's session is read every time. Something to await comes where the store has to be
    asked, or a vault takes its time.
    """
    sender = received.sender
    known = cache.get(sender.merchant_id, sender.terminal_id)
    if known is None or not known.sessions or sender.mac_profile == "off":
        return _verify_anew(received, cache, hsm, now)
    newest = Verified(known, known.sessions[0])
    right = verifies(received, newest.session, hsm)
    if isinstance(right, bool):
        return newest if right else _verify_anew(received, cache, hsm, now)
    return _verify_later(newest, right, received, cache, hsm, now)


async def _verify_later(
    newest: Verified,
    right: Awaitable[bool],
    received: Received,
    cache: AccessCache,
    hsm: Hsm,
    now: Callable[[], dt.datetime],
) -> Verified | Refusal:
    if await right and newest.session is newest.access.sessions[0]:
        return newest
    return await _verify_anew(received, cache, hsm, now)


async def _verify_anew(
    received: Received, cache: AccessCache, hsm: Hsm, now: Callable[[], dt.datetime]
) -> Verified | Refusal:
    fresh = await cache.read(received.sender.merchant_id, received.sender.terminal_id)
    if not fresh.sessions:
        return intake.Refusal("77", "session.not_signed_on")
    for session in fresh.usable(now()):
        right = verifies(received, session, hsm)
        if right if isinstance(right, bool) else await right:
            return Verified(fresh, session)
    return intake.Refusal("A0", "session.mac")


def verifies(received: Received, session: Session, hsm: Hsm) -> bool | Awaitable[bool]:
    """MAC over MTI to the byte before DE 64 (rules §19); `off` profiles carry none.

    A session whose keys this vault can not open verifies nothing.
    """
    body, mac = received.body, received.message.get(64, b"")
    assert isinstance(mac, bytes)
    covered = body[: -len(mac)] if mac else body
    try:
        right = hsm.verify_mac(session.mak, received.sender.mac_profile, covered, mac)
    except KeyBlockError:
        return of_another_vault(received)
    return right if isinstance(right, bool) else _verifies(received, right)


async def _verifies(received: Received, right: Awaitable[bool]) -> bool:
    try:
        return await right
    except KeyBlockError:
        return of_another_vault(received)


def of_another_vault(received: Received) -> bool:
    """Its keys were made before a change of vaults: False, and the terminal signs on again."""
    _log.warning(
        "session_of_another_vault", merchant=received.merchant_id, terminal=received.terminal_id
    )
    return False
