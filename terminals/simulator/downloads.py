"""What a simulated terminal downloads, and how far it is: no I/O, no encoder of the host's.

Theory of operation (`reference/pos-messages.md` §5.4). A digit in the header of an answer asks for one
topic. Lists are asked for page by page until the control character says that nothing follows, then what
they name is got one by one, then the end is told. What is interrupted goes on where it was, by the count
in DE 62; a topic that is asked for anew begins at nothing.

    idle ── digit ──▶ listing ── 1, 3, 0 ──▶ getting ── all got ──▶ ending ── 00 ──▶ idle
                        └─ 2 ─┘                └─ each ─┘
"""

from __future__ import annotations

from typing import Final

import msgspec

TOPIC_OF: Final = {
    "1": "parameters",
    "2": "status",
    "4": "ca_keys",
    "5": "aids",
    "6": "tms",
    "7": "blacklist",
}
# topic → DE 60.3 of list, get and end
CODES: Final = {
    "parameters": ("", "360", "361"),
    "status": ("", "362", ""),
    "ca_keys": ("372", "370", "371"),
    "aids": ("382", "380", "381"),
    "tms": ("", "364", "365"),
    "blacklist": ("", "390", "391"),
}
CARDS_HEAD, CARD_LENGTH = 4, 2  # control and n3; digits that count


class Has(msgspec.Struct):
    """What is in the terminal. Keys and AIDs: the name as 9F06 (and 9F22) have it → all its tags."""

    parameters: bytes = b""
    ca_keys: dict[bytes, bytes] = {}
    aids: dict[bytes, bytes] = {}
    blacklist: list[str] = []
    tms: bytes = b""


class Step(msgspec.Struct, frozen=True):
    mti: str
    code: str  # DE 60.3
    de62: bytes
    ends: bool = False


class Underway(msgspec.Struct):
    topic: str
    phase: str  # listing, getting, ending
    listed: list[bytes] = []  # 9F06 (and 9F22) of each
    got: dict[bytes, bytes] = {}
    cards: list[str] = []
    blocks: list[bytes] = []
    taken: int = 0  # of what is listed


class Downloads:
    """Of one terminal. `card_digits`: width of a card in the blacklist, as its make has it."""

    def __init__(self, card_digits: int = 14, *, parameters_end: bool = True) -> None:
        self.has = Has()
        self.ended: dict[str, int] = {}  # topic → how often
        self._card_digits = card_digits
        self._parameters_end = parameters_end
        self._asked: dict[str, None] = {}  # topics, in the order in which they were asked for
        self._underway: Underway | None = None

    @property
    def due(self) -> bool:
        return self._underway is not None or bool(self._asked)

    def ask(self, digit: str) -> None:
        """The header of an answer had this digit."""
        topic = TOPIC_OF.get(digit)
        if topic is not None and (self._underway is None or self._underway.topic != topic):
            self._asked[topic] = None

    def give_up(self) -> None:
        """Power is cut: what was under way is not gone on with."""
        self._underway = None
        self._asked.clear()

    def step(self, status: bytes) -> Step:
        """The next message of what is under way, or asked for."""
        if self._underway is None:
            topic = next(iter(self._asked))
            del self._asked[topic]
            listing = bool(CODES[topic][0])
            self._underway = Underway(topic, "listing" if listing else "getting")
        now = self._underway
        listed, get, end = CODES[now.topic]
        if now.phase == "ending":
            return Step("0800", end, b"", ends=True)
        if now.phase == "listing":
            return Step("0820", listed, f"1{len(now.listed):02}".encode())
        if now.topic == "status":
            return Step("0820", get, status, ends=True)
        if now.topic == "blacklist":
            place = len(now.cards) + 1 if now.cards else 0
            return Step("0800", get, f"{place:03}".encode())
        if now.topic == "tms":
            return Step("0800", get, f"1{len(now.blocks):02}".encode())
        de62 = now.listed[now.taken] if now.listed else b""
        return Step("0800", get, de62)

    def answered(self, code: str, de62: bytes) -> str:
        """Take what came. What is wrong with it, or nothing; then what was under way is dropped."""
        now = self._underway
        assert now is not None
        if code != "00":
            self._underway = None
            return f"{now.topic} answered {code}"
        wrong = ""
        if now.phase == "ending" or now.topic == "status":
            self._end(now)
        elif now.phase == "listing":
            wrong = self._list(now, de62)
        elif now.topic == "parameters":
            self.has.parameters = de62
            self._got_all(now)
        elif now.topic == "blacklist":
            wrong = self._cards(now, de62)
        elif now.topic == "tms":
            now.blocks.append(de62[1:])
            if de62[:1] != b"2":
                self.has.tms = b"".join(now.blocks)
                self._got_all(now)
        else:
            wrong = self._get(now, de62)
        if wrong:
            self._underway = None
        return wrong

    def _end(self, now: Underway) -> None:
        self.ended[now.topic] = self.ended.get(now.topic, 0) + 1
        self._underway = None

    def _got_all(self, now: Underway) -> None:
        now.phase = "ending"
        if now.topic == "parameters" and not self._parameters_end:
            self._end(now)

    def _list(self, now: Underway, de62: bytes) -> str:
        """9F06, and of keys 9F22, name each; what follows in the list is not kept."""
        for tag, whole in elements(de62[1:]):
            if tag == b"\x9f\x06":
                now.listed.append(whole)
            elif tag == b"\x9f\x22":
                now.listed[-1] += whole
        if de62[:1] != b"2":
            now.phase = "getting"
            if not now.listed:
                self._keep(now)
        elif not de62[1:]:
            return f"{now.topic}: more follow, and none came"
        return ""

    def _get(self, now: Underway, de62: bytes) -> str:
        name = now.listed[now.taken]
        if de62[:1] == b"1":
            if not de62[1:].startswith(name[:3]):
                return f"{now.topic}: another than asked for"
            now.got[name] = de62[1:]
        elif (
            now.topic == "aids"
        ):  # a listed AID without parameters ends it (S1); a key is passed over
            return "aids: listed, and not there"
        now.taken += 1
        if now.taken == len(now.listed):
            self._keep(now)
        return ""

    def _keep(self, now: Underway) -> None:
        if now.topic == "ca_keys":
            self.has.ca_keys = now.got
        else:
            self.has.aids = now.got
        self._got_all(now)

    def _cards(self, now: Underway, de62: bytes) -> str:
        width = CARD_LENGTH + self._card_digits
        upto = int(de62[1:CARDS_HEAD])
        at = CARDS_HEAD
        while len(now.cards) < upto:
            group = de62[at : at + width].decode("ascii")
            if len(group) < width:
                return "blacklist: cut"
            now.cards.append(group[CARD_LENGTH : CARD_LENGTH + int(group[:CARD_LENGTH])])
            at += width
        if de62[:1] != b"2":
            self.has.blacklist = now.cards
            self._got_all(now)
        return ""


def elements(data: bytes) -> list[tuple[bytes, bytes]]:
    """(tag, the whole element) of TLV with tags of two bytes, which is all that these messages have.

    >>> elements(bytes.fromhex("9F0602AABB9F220108"))[1]
    (b'\\x9f"', b'\\x9f"\\x01\\x08')
    """
    found = []
    at = 0
    while at < len(data):
        head = at + 3
        length = data[at + 2]
        if length == 0x81:
            length, head = data[at + 3], at + 4
        found.append((data[at : at + 2], data[at : head + length]))
        at = head + length
    return found
