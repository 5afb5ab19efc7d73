"""A bank on the other end of the link (`reference/link.md`): a core without I/O and a thin shell.

Theory of operation. `Bank` holds the accounts and what every request was answered; a `Session` is
one connection's framing and sign-on. Bytes go in, effects come out:

    receive_bytes(data) -> [Send(delay, bytes, elsewhere), Close(delay), Later(delay, body)]

and the shell (`BankServer`) performs them with the running loop's timers. A request is known by
(DE 7, 11, 32, 33): coming again, in whatever repeat form, it gets the answer it got, and no second
effect; with other content 94. A 0420 that finds no original answers 25 and is remembered, so that
the original, should it still come, gets 12.

Faults are drawn one a message from a seeded `Dice`; what they do to the books is as a real failure
would: an answer that is late, lost, doubled or spoilt belongs to a request that was processed, a
`lost` request was not, and `forget` answers yes and keeps nothing.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import Counter
from typing import TYPE_CHECKING, Final, Literal, cast

import msgspec

from hsm import key_block, mac, pin_block
from hsm.check_values import tdes_check_value
from hsm.ciphers import tdes_ecb_decrypt
from hsm.errors import KeyBlockError, PinBlockError
from iso8583.codec import codec_for
from iso8583.errors import DecodeError, FramingError
from iso8583.framing import Frame, Framer, FramingSpec, build
from iso8583.message import Message, mask_pan, response_mti
from iso8583.mti import is_request
from terminals.simulator.accounts import Accounts, Asked, Entry, Kind, LinkKey, Rules
from terminals.simulator.card import BANK_A, CardRange
from terminals.simulator.com_file import BreakPlan, ClearingFile, clearing_file
from terminals.simulator.dice import Bits, Dice

if TYPE_CHECKING:
    from collections.abc import Callable

FaultName = Literal[
    "none",
    "late",
    "silent",
    "lost",
    "twice",
    "drop",
    "forget",
    "wrong_mac",
    "elsewhere",
    "overtaken",
    "system_error",
    "crossed",
    "withheld",
]

ECHOED: Final[tuple[int, ...]] = (2, 3, 4, 7, 11, 12, 13, 32, 33, 37, 41, 42, 49)
NEVER_OF_REVERSALS: Final = ("forget", "crossed", "withheld")
MALFORMED_MAX: Final = 3  # undecodable messages before a connection is closed


class BankFaults(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Share of money messages (0 to 1) that meet each fault; together at most 1.

    `late`: answered `late_s` after it was processed · `silent`: processed, never answered · `lost`:
    never processed · `twice`: answered twice · `drop`: processed, then the connection is closed ·
    `forget`: approved and forgotten (not reversals) · `wrong_mac`: answered under a wrong MAC ·
    `elsewhere`: answered on another connection · `overtaken`: processed and answered only after
    `late_s` · `system_error`: answered 96 · `crossed`: as `overtaken`, and a reversal that comes
    meanwhile is answered 25 and not remembered · `withheld`: as `crossed`, and that 25 itself leaves
    `late_s` later: the approval is there before it.
    """

    late: float = 0.0
    silent: float = 0.0
    lost: float = 0.0
    twice: float = 0.0
    drop: float = 0.0
    forget: float = 0.0
    wrong_mac: float = 0.0
    elsewhere: float = 0.0
    overtaken: float = 0.0
    system_error: float = 0.0
    crossed: float = 0.0
    withheld: float = 0.0
    late_s: float = 35.0
    on_reversals: bool = True

    def __post_init__(self) -> None:
        rates = [rate for _, rate in self.rates()]
        if min(rates) < 0 or sum(rates) > 1 + 1e-9:
            raise ValueError("fault rates are 0 to 1, together at most 1")

    def rates(self) -> list[tuple[FaultName, float]]:
        """(fault, share), in the order of drawing; without the rest that meets none."""
        return [
            ("late", self.late),
            ("silent", self.silent),
            ("lost", self.lost),
            ("twice", self.twice),
            ("drop", self.drop),
            ("forget", self.forget),
            ("wrong_mac", self.wrong_mac),
            ("elsewhere", self.elsewhere),
            ("overtaken", self.overtaken),
            ("system_error", self.system_error),
            ("crossed", self.crossed),
            ("withheld", self.withheld),
        ]


class BankOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A bank. Keys are hex and clear: this is a test tool. `latency_s` is the answer's mean delay,
    exponentially distributed; 0 answers at once."""

    name: str = "bank-a"
    institution_id: str = "01020000"
    zpk: str
    zak: str
    zmk: str = ""
    cards: tuple[CardRange, ...] = BANK_A
    rules: Rules = Rules()
    faults: BankFaults = BankFaults()
    breaks: BreakPlan = BreakPlan()
    latency_s: float = 0.0
    kind: Literal["reference", "binary_host"] = "reference"  # binary_host: `binary_bank.py`
    network: str = "0001"  # of a binary host's header, as are the next two; hex
    station: str = "0002"  # the bank itself
    peer: str = "0001"  # who is connected
    dialect: str = "iso1987_ascii"
    mac_profile: str = "x9.19-binary"
    mac_on_management: bool = False
    length: Literal["binary2", "ascii4"] = "binary2"
    length_inclusive: bool = False
    header_hex: str = ""

    def __repr__(self) -> str:
        return f"BankOptions({self.name})"

    def __post_init__(self) -> None:
        for name in ("zpk", "zak", "zmk"):
            if len(bytes.fromhex(getattr(self, name))) not in (0, 16, 24):
                raise ValueError(f"the {name} has 16 or 24 bytes")
        for name in ("network", "station", "peer"):
            if len(bytes.fromhex(getattr(self, name))) != 2:
                raise ValueError(f"{name} is four hex digits")

    @property
    def framing(self) -> FramingSpec:
        """How the link frames its messages."""
        return FramingSpec(
            length=self.length,
            inclusive=self.length_inclusive,
            header_bytes=len(self.header_hex) // 2,
        )


class KeyFaults(msgspec.Struct):
    """Of changes of keys, shares: `lost`: a 101 of theirs never arrives, their answer to ours neither ·
    `unanswered`: their key is taken, and our answer lost · `refused`: it is not taken."""

    lost: float
    unanswered: float
    refused: float
    dice: Dice

    def draw(self) -> str:
        point = self.dice.random()
        for name in ("lost", "unanswered", "refused"):
            point -= getattr(self, name)
            if point < 0:
                return name
        return ""


# -- effects --------------------------------------------------------------------


class Send(msgspec.Struct, frozen=True):
    """Write `data` after `delay_s`; `elsewhere` on another signed-on connection if there is one."""

    delay_s: float
    data: bytes
    elsewhere: bool = False


class Close(msgspec.Struct, frozen=True):
    """Close this connection."""

    delay_s: float = 0.0


class Later(msgspec.Struct, frozen=True):
    """Process this message only now: give it to `Session.process` after `delay_s`."""

    delay_s: float
    body: bytes


Effect = Send | Close | Later


class Stored(msgspec.Struct):
    """What a request was answered, for its repeats. `content` decides whether it is the same."""

    content: tuple[str, ...]
    answer: Message


class Bank:
    """The bank's side of every connection together. `settlement_date` is set by its owner."""

    def __init__(self, options: BankOptions, settlement_date: dt.date, bits: Bits) -> None:
        self.options = options
        self.settlement_date = settlement_date
        self.accounts = Accounts(
            (card for card_range in options.cards for card in card_range.cards()), options.rules
        )
        self.forgotten: list[Entry] = []
        self.counts: Counter[tuple[str, str]] = Counter()  # (MTI + kind, answer)
        self.faults: Counter[str] = Counter()
        self.key_changes = 0
        self.codec = codec_for(options.dialect)
        # the key in force first, then the former one, which stays good until the next change
        self._keys = {
            "ZPK": [bytes.fromhex(options.zpk)],
            "ZAK": [bytes.fromhex(options.zak)],
        }
        self._offered: dict[str, bytes] = {}  # sent in a 101 that is not known to be taken yet
        self._offers: dict[tuple[str, str], str] = {}  # (DE 7, DE 11) of a 101 → usage
        self.key_faults: KeyFaults | None = None
        self._announced = 0
        self.on_answer: Callable[[tuple[str, str]], None] = lambda _: None  # (DE 7, 11) of ours
        self._dice = Dice.from_bits(bits)
        self._file_seed = Dice.from_bits(bits).bits64()
        self._stored: dict[LinkKey, Stored] = {}
        self._barred: set[LinkKey] = set()  # reversed before they came
        self.crossed: set[LinkKey] = (
            set()
        )  # their reversal was answered 25 while they were under way
        self._crossing: set[LinkKey] = set()  # under way inside, where no reversal finds them
        self._withheld: set[LinkKey] = set()  # of these: the answer to their reversal waits

    def __repr__(self) -> str:
        return f"Bank({self.options.name} {self.settlement_date})"

    def session(self) -> Session:
        """A new connection."""
        return Session(self)

    def draw_delay_s(self) -> float:
        """How long the next answer takes."""
        mean_s = self.options.latency_s
        return self._dice.exponential_s(mean_s) if mean_s > 0 else 0.0

    def draw_fault(self, mti: str) -> FaultName:
        """The fault of the next message. Always draws, so that one rate does not shift the rest."""
        point = self._dice.random()
        reversal = mti[1] == "4"
        if reversal and not self.options.faults.on_reversals:
            return "none"
        for name, rate in self.options.faults.rates():
            point -= rate
            if point < 0:
                return "none" if reversal and name in NEVER_OF_REVERSALS else name
        return "none"

    # -- money messages --------------------------------------------------------

    def handle(self, request: Message, fault: FaultName) -> Message:
        """The answer to a money message whose MAC was right, without its MAC."""
        key = _link_key(request)
        content = _content(request)
        mti = _text(request, 0)
        answer: Message = {de: request[de] for de in ECHOED if de in request}
        answer[0] = response_mti(mti)
        stored = self._stored.get(key)
        if stored is not None:
            if stored.content != content:
                answer[39] = "94"
                return answer
            return dict(stored.answer)
        if fault == "system_error":
            answer[39] = "96"
            return answer
        if mti[1] == "4":
            self._reverse(key, request, answer)
        else:
            entry = self._decide(key, request, answer)
            if fault == "forget" and entry is not None and may_be_forgotten(entry):
                self.accounts.forget(entry)
                self.forgotten.append(entry)
                return answer
        self._stored[key] = Stored(content, dict(answer))
        return answer

    def crosses(self, request: Message, *, withheld: bool) -> None:
        """It was taken in, and no reversal finds it before it is decided."""
        self._crossing.add(_link_key(request))
        if withheld:
            self._withheld.add(_link_key(request))

    def withholds(self, request: Message) -> bool:
        """Does the answer to this reversal wait until its original is approved? Once each."""
        original = _original(request)
        if original is None or original not in self._withheld & self._crossing:
            return False
        self._withheld.discard(original)
        return True

    def _decide(self, key: LinkKey, request: Message, answer: Message) -> Entry | None:
        if key in self._barred:
            answer[39] = "12"
            return None
        try:
            pin = self._open_pin(request)
        except PinBlockError:
            answer[39] = "99"
            return None
        self._crossing.discard(key)
        self.forgotten = [one for one in self.forgotten if one.asked.key != key]
        pan = _text(request, 2) or self.accounts.pan_of(_text(request, 59)[5:])
        entry = self.accounts.decide(_asked(key, request, pan, pin), self.settlement_date)
        answer[39] = entry.response_code
        if entry.approved:
            answer[15] = f"{entry.settlement_date:%m%d}"
            if entry.auth_code and _text(request, 0)[2] == "0":
                answer[38] = entry.auth_code
        if entry.response_code == "10":
            answer[4] = f"{entry.approved_minor:012}"
        if entry.balance_minor is not None:
            sign = "D" if entry.balance_minor < 0 else "C"
            answer[54] = f"0202156{sign}{abs(entry.balance_minor):012}"
        return entry

    def _reverse(self, key: LinkKey, request: Message, answer: Message) -> None:
        original = _original(request)
        if original is None:
            answer[39] = "30"
            return
        amount_minor = int(_text(request, 4) or "0")
        code = self.accounts.reverse(original, key, amount_minor, self.settlement_date)
        if code == "25":
            (self.crossed if original in self._crossing else self._barred).add(original)
            self.forgotten = [one for one in self.forgotten if one.asked.key != original]
        answer[39] = code
        entry = self.accounts.find(original)
        if entry is not None:
            answer[15] = f"{self.settlement_date:%m%d}"

    def _open_pin(self, request: Message) -> str | None:
        sealed = request.get(52)
        if sealed is None:
            return None
        assert isinstance(sealed, bytes)
        return self.open_pin(sealed, _text(request, 2))

    def open_pin(self, sealed: bytes, pan: str) -> str:
        """The PIN in DE 52. PinBlockError: no key of the link opens it."""
        for key in self._good("ZPK"):
            try:
                pin = pin_block.decode_format0(tdes_ecb_decrypt(key, sealed), pan)
            except PinBlockError:
                continue
            self._in_use("ZPK", key)
            return pin
        raise PinBlockError("no key of the link opens it")

    # -- MAC and frames ----------------------------------------------------------

    def read(self, body: bytes) -> Message:
        """The message in a frame. Raises DecodeError."""
        return self.codec.decode(body)

    def overheard(self, body: bytes) -> Message:
        """A message of either side, for who listens on the line. Raises DecodeError."""
        return self.codec.decode(body)

    def mac_right(self, request: Message, body: bytes) -> bool:
        """Whether DE 64 or 128 is the MAC of what stands before it."""
        sent = request.get(128, request.get(64))
        if not isinstance(sent, bytes):
            return self.options.mac_profile == "off"
        profile = self.options.mac_profile
        for key in self._good("ZAK"):
            if mac.verify(profile, key, body[:-8], sent):
                self._in_use("ZAK", key)
                return True
        return False

    def framed(
        self,
        message: Message,
        *,
        signed: bool = True,
        spoilt: bool = False,
        to: Message | None = None,
    ) -> bytes:
        """The bytes of a message, with its MAC in DE 64, or in 128 where any DE is above 64.

        `to`: the message that it answers.
        """
        message = dict(message)
        if signed and self.options.mac_profile != "off":
            de = 128 if max(message) > 64 else 64
            message[de] = bytes(8)
            data = self.codec.encode(message)[:-8]
            right = mac.compute(self.options.mac_profile, self._keys["ZAK"][0], data)
            body = data + (bytes([right[0] ^ 0xFF]) + right[1:] if spoilt else right)
        else:
            body = self.codec.encode(message)
        header = bytes.fromhex(self.options.header_hex)
        return build(Frame(b"", header, body), self.options.framing)

    # -- management of our own -------------------------------------------------------

    def announce(self, code: str, more: Message | None = None) -> bytes:
        """A framed 0800 of the bank: 101, 201, 202 or 301. Its DE 7 counts instead of telling time."""
        self._announced += 1
        transmission_time, stan = self.announced_as()
        message: Message = {
            0: "0800",
            7: transmission_time,
            11: stan,
            32: self.options.institution_id,
            70: code,
        }
        return self.framed(message | (more or {}), signed=self.options.mac_on_management)

    def announced_as(self) -> tuple[str, str]:
        """DE 7 and 11 of the last announcement."""
        number = self._announced
        time = f"{number // 3600 % 24:02}{number // 60 % 60:02}{number % 60:02}"
        return f"{self.settlement_date:%m%d}{time}", f"{number % 1_000_000:06}"

    def new_key(self, usage: Literal["ZPK", "ZAK"], key: bytes) -> bytes:
        """A framed key change (101): the key as TR-31 block under the ZMK. It is in force at once."""
        data = self.offer_key(usage, key)
        self._accepted(usage)
        return data

    def offer_key(self, usage: Literal["ZPK", "ZAK"], key: bytes) -> bytes:
        """The same, but in force only once the other side has answered 00 or uses it; until then
        either key is good."""
        sealed = self.key_out(usage, key)
        self._offered[usage] = key
        data = self.announce("101", {48: usage + sealed})
        self._offers[self.announced_as()] = usage
        return data

    def key_out(self, usage: Literal["ZPK", "ZAK"], key: bytes) -> str:
        """A key under the ZMK: a TR-31 block."""
        tr31_usage, mode = ("P0", "B") if usage == "ZPK" else ("M3", "C")
        header = key_block.Header("B", tr31_usage, "T", mode, exportability="S")

        def entropy(count: int) -> bytes:
            return b"".join(self._dice.bits64().to_bytes(8, "big") for _ in range(count))[:count]

        return key_block.wrap(bytes.fromhex(self.options.zmk), header, key, entropy, pad_to=24)

    def key_in(self, usage: str, content: str) -> bytes | None:
        """The key in it, TR-31, or hex under the ZMK in ECB and six digits of check value; None where it
        is not one of that usage."""
        zmk = bytes.fromhex(self.options.zmk)
        try:
            if len(content) in (38, 54):
                key = tdes_ecb_decrypt(zmk, bytes.fromhex(content[:-6]))
                return key if tdes_check_value(key).hex().upper() == content[-6:] else None
            header, key = key_block.unwrap(zmk, content)
        except (KeyBlockError, ValueError):
            return None
        right = header.usage[0] == ("P" if usage == "ZPK" else "M") and len(key) in (16, 24)
        return key if right else None

    def answered(self, answer: Message) -> None:
        """The other side's answer to a management message of ours."""
        usage = self._offers.pop((_text(answer, 7), _text(answer, 11)), "")
        if usage and self.key_faults is not None and self.key_faults.draw() == "lost":
            self.faults["key answer lost"] += 1
            return
        if usage and _text(answer, 39) == "94":
            self._offered.pop(usage, None)  # they are changing it themselves
        if usage and _text(answer, 39) == "00":
            self._accepted(usage)

    def _accepted(self, usage: str) -> None:
        if usage in self._offered:
            self._install(usage, self._offered.pop(usage))
            self.key_changes += 1

    def offers_key(self, usage: str, key: bytes) -> bool:
        """Is it not known yet whether the other side has taken this one?"""
        return self._offered.get(usage) == key

    def withdraw_key(self, usage: str, key: bytes) -> None:
        """It was never sent."""
        if self.offers_key(usage, key):
            del self._offered[usage]

    def check_values(self, usage: str) -> list[str]:
        """Of all keys that are good now, the one in force first."""
        return [tdes_check_value(key).hex().upper() for key in self._good(usage)]

    def _in_use(self, usage: str, key: bytes) -> None:
        """The other side has used a key: if it is the offered one, it was taken."""
        if key == self._offered.get(usage):
            self._accepted(usage)

    def _good(self, usage: str) -> list[bytes]:
        offered = self._offered.get(usage)
        return [*self._keys[usage], *([] if offered is None else [offered])]

    def take_key(self, content: str) -> str:
        """DE 48 of a 101 that the other side sent; the response code."""
        usage = content[:3]
        if usage not in self._keys or not self.options.zmk:
            return "40"
        key = self.key_in(usage, content[3:])
        if key is None:
            return "96"
        self._offered.pop(usage, None)  # what they send now is newer than what we had no answer to
        self._install(usage, key)
        return "00"

    def _install(self, usage: str, key: bytes) -> None:
        """In force; the one before stays good. Sent again, because our answer was lost, it is no change."""
        if key != self._keys[usage][0]:
            self._keys[usage] = [key, self._keys[usage][0]]

    # -- the day's end -------------------------------------------------------------

    def cut_over(self, settlement_date: dt.date) -> None:
        """From now on DE 15 says `settlement_date`."""
        assert settlement_date > self.settlement_date
        self.settlement_date = settlement_date

    def clearing_file(self, settlement_date: dt.date) -> ClearingFile:
        """The file of a date, with the planned mistakes; the same when asked again."""
        return clearing_file(
            self.accounts.entries,
            settlement_date,
            forgotten=self.forgotten,
            plan=self.options.breaks,
            dice=Dice(self._file_seed ^ settlement_date.toordinal()),
            receiver_id=self.options.institution_id,
        )

    def settlement_dates(self) -> list[dt.date]:
        """The dates on which anything was decided, ascending."""
        return sorted({entry.settlement_date for entry in self.accounts.entries})

    def report(self) -> BankReport:
        """What happened, for people and scripts; PANs masked."""
        entries = self.accounts.entries
        return BankReport(
            name=self.options.name,
            settlement_date=self.settlement_date,
            counts={f"{what} {code}": n for (what, code), n in sorted(self.counts.items())},
            faults=dict(sorted(self.faults.items())),
            entries=len(entries),
            standing_minor=sum(entry.effect_minor for entry in entries),
            taken_minor=self.accounts.taken_minor,
            forgotten_minor=sum(one.taken_minor for one in self.forgotten),
        )

    def view(self) -> list[BankView]:
        """The bank's view of the money: one line a request that was decided."""
        return [
            BankView(
                kind=entry.asked.kind,
                transmission_time=entry.asked.key.transmission_time,
                stan=entry.asked.key.stan,
                acquirer_id=entry.asked.key.acquirer_id,
                forwarder_id=entry.asked.key.forwarder_id,
                rrn=entry.asked.rrn,
                merchant=entry.asked.merchant,
                terminal=entry.asked.terminal,
                pan_masked=mask_pan(entry.asked.pan),
                amount_minor=entry.asked.amount_minor,
                approved_minor=entry.approved_minor,
                effect_minor=entry.effect_minor,
                response_code=entry.response_code,
                state=entry.state,
                settlement_date=entry.settlement_date,
            )
            for entry in self.accounts.entries
        ]


class BankView(msgspec.Struct, frozen=True):
    """One request as the bank's books have it."""

    kind: str
    transmission_time: str
    stan: str
    acquirer_id: str
    forwarder_id: str
    rrn: str
    merchant: str
    terminal: str
    pan_masked: str
    amount_minor: int
    approved_minor: int
    effect_minor: int
    response_code: str
    state: str
    settlement_date: dt.date


class BankReport(msgspec.Struct, frozen=True):
    """Counts and sums. `standing_minor` (the entries) always equals `taken_minor` (the cards)."""

    name: str
    settlement_date: dt.date
    counts: dict[str, int]
    faults: dict[str, int]
    entries: int
    standing_minor: int
    taken_minor: int
    forgotten_minor: int


def may_be_forgotten(entry: Entry) -> bool:
    """An adjustment is not: the next one of its sale would make up for it, and no line be missing."""
    return entry.approved_minor > 0 and entry.asked.kind != "adjustment"


class Session:
    """One connection: framing, sign-on, and what to do with each message."""

    def __init__(self, bank: Bank) -> None:
        self.signed_on = False
        self._bank = bank
        self._framer = Framer(bank.options.framing)
        self._malformed = 0

    def receive_bytes(self, data: bytes) -> list[Effect]:
        """What to do about bytes that came."""
        try:
            frames = self._framer.receive_bytes(data)
        except FramingError:
            self._bank.faults["bad_frame"] += 1
            return [Close()]
        effects: list[Effect] = []
        for frame in frames:
            effects += self.process(frame.body)
        return effects

    def process(self, body: bytes, *, delayed: bool = False) -> list[Effect]:
        """What to do about one message. `delayed`: it comes back from a `Later`."""
        bank = self._bank
        try:
            request = bank.read(body)
        except DecodeError:
            bank.faults["undecodable"] += 1
            self._malformed += 1
            return [Close()] if self._malformed >= MALFORMED_MAX else []
        mti = _text(request, 0)
        if not is_request(mti):
            bank.counts[mti, _text(request, 39)] += 1
            if mti[1] == "8":
                bank.answered(request)
                bank.on_answer((_text(request, 7), _text(request, 11)))
                if _text(request, 70) == "001" and _text(request, 39) == "00":
                    self.signed_on = True  # we asked for it
            return []
        if mti[1] == "8":
            return self._manage(request)
        if not {7, 11, 32} <= request.keys():
            return self._refuse(request, "30")
        if not self.signed_on:
            return self._refuse(request, "91")
        if not bank.mac_right(request, body):
            return self._refuse(request, "A0")
        if mti[1] not in "1246":
            return self._refuse(request, "40")
        fault: FaultName = "none" if delayed else bank.draw_fault(mti)
        delay_s = bank.draw_delay_s()
        if fault != "none":
            bank.faults[fault] += 1
        if fault == "lost":
            return []
        if fault in ("crossed", "withheld"):
            bank.crosses(request, withheld=fault == "withheld")
        if fault in ("overtaken", "crossed", "withheld"):
            return [Later(bank.options.faults.late_s, body)]
        answer = bank.handle(request, fault)
        bank.counts[_label(request), _text(answer, 39)] += 1
        data = bank.framed(answer, spoilt=fault == "wrong_mac", to=request)
        if fault == "silent":
            return []
        if fault == "drop":
            return [Close()]
        if fault == "late" or (mti[1] == "4" and bank.withholds(request)):
            return [Send(bank.options.faults.late_s, data)]
        sends: list[Effect] = [Send(delay_s, data, elsewhere=fault == "elsewhere")]
        return sends * 2 if fault == "twice" else sends

    def _refuse(self, request: Message, code: str) -> list[Effect]:
        bank = self._bank
        answer: Message = {de: request[de] for de in ECHOED if de in request}
        answer |= {0: response_mti(_text(request, 0)), 39: code}
        bank.counts[_label(request), code] += 1
        return [Send(0.0, bank.framed(answer, to=request))]

    def _manage(self, request: Message) -> list[Effect]:
        """0800: DE 70 says what."""
        bank = self._bank
        code = _text(request, 70)
        answer: Message = {de: request[de] for de in (7, 11, 32, 33, 70) if de in request}
        answer[0] = response_mti(_text(request, 0))
        if code == "101":
            fault = "" if bank.key_faults is None else bank.key_faults.draw()
            if fault:
                bank.faults[f"key {fault}"] += 1
            if fault == "lost":
                return []
            answer[39] = "05" if fault == "refused" else bank.take_key(_text(request, 48))
            if fault == "unanswered":
                return []
        else:
            answer[39] = "00" if code in ("001", "002", "301", "201", "202") else "40"
        if code == "001":
            self.signed_on = True
        elif code == "002":
            self.signed_on = False
        bank.counts[f"0800 {code}", _text(answer, 39)] += 1
        data = bank.framed(answer, signed=bank.options.mac_on_management, to=request)
        return [Send(0.0, data)]


# -- reading a request ----------------------------------------------------------------


def _text(message: Message, de: int) -> str:
    value = message.get(de, "")
    assert isinstance(value, str)
    return value


def _link_key(request: Message) -> LinkKey:
    return LinkKey(
        _text(request, 7),
        _text(request, 11),
        _text(request, 32).lstrip("0"),
        _text(request, 33).lstrip("0"),
    )


def _original(request: Message) -> LinkKey | None:
    """DE 90: MTI 4, STAN 6, DE 7 10, DE 32 11, DE 33 11."""
    digits = _text(request, 90)
    if len(digits) != 42:
        return None
    return LinkKey(
        digits[10:20], digits[4:10], digits[20:31].lstrip("0"), digits[31:42].lstrip("0")
    )


def _content(request: Message) -> tuple[str, ...]:
    """What must be the same in a repeat: everything that decides about money."""
    plain = _text(request, 0)
    return (plain[:3], *(_text(request, de) for de in (2, 3, 4, 25, 41, 42, 49, 90)))


_KINDS: Final[dict[tuple[str, str, bool], Kind]] = {
    # class and function, DE 3, DE 25 = 06
    ("020", "31", False): "balance",
    ("020", "00", False): "purchase",
    ("020", "00", True): "completion",
    ("020", "20", False): "void",
    ("020", "20", True): "completion_void",
    ("010", "00", True): "pre_authorisation",
    ("010", "03", True): "pre_authorisation",
    ("010", "00", False): "pre_authorisation",  # an additional one
    ("010", "20", True): "pre_authorisation_void",
    ("022", "00", False): "offline_sale",
    ("022", "00", True): "completion_advice",
    ("022", "20", False): "refund",
}


def _kind(request: Message) -> Kind:
    if _text(request, 0)[1] == "6":
        return "script_result"
    where = (_text(request, 0)[:3], _text(request, 3)[:2], _text(request, 25) == "06")
    kind = _KINDS.get(where, "unknown")
    return "adjustment" if kind == "offline_sale" and 90 in request else kind


def _label(request: Message) -> str:
    """What it is counted as: MTI and kind."""
    mti = _text(request, 0)
    return mti + " " + ("reversal" if mti[1:2] == "4" else _kind(request))


def _asked(key: LinkKey, request: Message, pan: str, pin: str | None) -> Asked:
    return Asked(
        key=key,
        mti=_text(request, 0),
        kind=_kind(request),
        processing_code=_text(request, 3),
        pan=pan,
        amount_minor=int(_text(request, 4) or "0"),
        currency=_text(request, 49),
        expiry=_text(request, 14),
        pin=pin,
        rrn=_text(request, 37),
        terminal=_text(request, 41),
        merchant=_text(request, 42),
        mcc=_text(request, 18),
        entry_mode=_text(request, 22),
        condition=_text(request, 25),
        card_sequence=_text(request, 23),
        original=_original(request),
    )


# -- the shell --------------------------------------------------------------------------


class BankProtocol(asyncio.Protocol):
    """One connection on the running loop; performs its session's effects."""

    def __init__(self, server: BankServer) -> None:
        self.session = server.bank.session()
        self.transport: asyncio.Transport | None = None
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._server.connections.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._server.connections.remove(self)

    def data_received(self, data: bytes) -> None:
        self.perform(self.session.receive_bytes(data))

    def perform(self, effects: list[Effect]) -> None:
        """Now, or when their time comes."""
        loop = asyncio.get_running_loop()
        for effect in effects:
            if effect.delay_s > 0:
                loop.call_later(effect.delay_s, self._perform_one, effect)
            else:
                self._perform_one(effect)

    def _perform_one(self, effect: Effect) -> None:
        if isinstance(effect, Later):
            self.perform(self.session.process(effect.body, delayed=True))
            return
        if isinstance(effect, Close):
            if self.transport is not None:
                self.transport.close()
            return
        self.tell(effect.data, elsewhere=effect.elsewhere)

    def tell(self, data: bytes, *, elsewhere: bool = False) -> None:
        """Write, on another signed-on connection if `elsewhere` and there is one."""
        to = self._server.other(self) if elsewhere else self
        if to.transport is not None:
            to.transport.write(data)


class BankServer:
    """The connections of one bank. Give `protocol` to whatever listens:

    `await loop.create_server(server.protocol, host, port)`, or an in-memory transport.
    """

    def __init__(
        self, bank: Bank, bank_protocol: Callable[[BankServer], BankProtocol] = BankProtocol
    ) -> None:
        self.bank = bank
        self.connections: list[BankProtocol] = []
        self._make = bank_protocol

    def protocol(self) -> BankProtocol:
        """The protocol of a new connection."""
        return self._make(self)

    def other(self, than: BankProtocol) -> BankProtocol:
        """Another signed-on connection, or `than` itself where it is alone."""
        others = [one for one in self.connections if one is not than and one.session.signed_on]
        return others[0] if others else than

    def broadcast(self, data: bytes) -> bool:
        """Send a management message on the first signed-on connection; False where there is none."""
        for connection in self.connections:
            if connection.session.signed_on and connection.transport is not None:
                connection.tell(data)
                return True
        return False

    def cut_over(self, settlement_date: dt.date) -> None:
        """The bank's day ends: 201, then DE 15 says the new date, then 202."""
        self.broadcast(self.bank.announce("201", {15: f"{settlement_date:%m%d}"}))
        self.bank.cut_over(settlement_date)
        self.broadcast(self.bank.announce("202", {15: f"{settlement_date:%m%d}"}))

    def close(self) -> None:
        """Close every connection; the listening socket is its owner's."""
        for connection in list(self.connections):
            if connection.transport is not None:
                connection.transport.close()
