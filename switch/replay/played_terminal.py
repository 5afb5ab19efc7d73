"""A terminal that says again what a journal recorded: its messages, its keys, what it was told. No I/O.

Its working keys are those that the replayed switch hands out, under a master key made for it. What a
message needs of an earlier answer (batch, RRN, authorisation code, date) is what this switch told,
not what was recorded: so a build that numbers otherwise still understands its own numbers.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from hsm import mac, pin_block
from hsm.ciphers import tdes_ecb_encrypt
from hsm.mac_profiles import MacAlgorithm
from iso8583.codec import codec_for
from iso8583.framing import Frame, build
from switch.acquirers.link_messages import elements_of
from switch.transactions import BY_CODE, TYPES
from terminals.simulator.terminal import PRIVATE, open_key_layout

if TYPE_CHECKING:
    from iso8583.framing import FramingSpec
    from iso8583.message import Message
    from switch.replay.journal_file import Request, Reversal, Settlement
    from terminals.registry import Profile, Terminal

PIN: Final = "246810"
CARRIES_TRACK: Final = frozenset({"02", "05", "07", "90"})  # DE 22: magnetic, chip
SIGNED: Final = "1246"  # classes of MTI with a MAC


class Told:
    """What an answer said that later messages repeat."""

    def __init__(self, batch: str, trace: str, message: Message) -> None:
        self.batch, self.trace = batch, trace
        self.rrn = str(message.get(37, ""))
        self.auth_code = str(message.get(38, ""))
        self.date = str(message.get(13, "0000"))


class PlayedTerminal:
    def __init__(
        self, terminal: Terminal, profile: Profile, framing: FramingSpec, number: int
    ) -> None:
        self.terminal = terminal
        self.profile = profile
        self.dialect = terminal.dialect or profile.dialect
        self.mac_profile = terminal.mac_profile or profile.mac_profile
        self.codec = codec_for(self.dialect)
        self.framing = framing
        self.tmk = master_key(terminal.name)
        self.session: int | None = None
        self.batch = "000001"
        self._batches: dict[int, str] = {}  # recorded → told
        self._trace = 999_000  # of its own management messages: nothing recorded is near
        self._tpdu = bytes.fromhex("600003") + (number % 65_536).to_bytes(2, "big")
        self._algorithm = mac.profile_named(self.mac_profile).algorithm
        self._pik = self._mak = b""

    def __repr__(self) -> str:
        return f"PlayedTerminal({self.terminal.name})"

    # -- what it says ------------------------------------------------------------------------

    def sign_on(self) -> Message:
        message = self._head("0800", self.profile.key_layouts[0])
        serial = self.terminal.serial or "REPLAY"
        message[62] = f"Sequence No{len(serial):02}{serial}".encode()
        message[63] = "01 "
        return message

    def request(self, line: Request, original: Told | None) -> Message:
        """A request of the journal. Elements that its dialect has not are left out."""
        batch = self.batch_of(line.batch)
        message: Message = {
            0: line.mti,
            3: line.processing_code,
            11: f"{line.trace:06d}",
            41: line.terminal,
            42: line.merchant,
            49: line.currency,
            60: f"{line.usage or '00'}{batch}{'951' if line.type == 'script_result' else '000'}50"
            + ("1" if line.partial else "0"),
        }
        if line.amount_minor or not line.processing_code.startswith("31"):
            message[4] = f"{line.amount_minor:012d}"
        if line.entry_mode:
            message[22] = line.entry_mode
        if line.condition:
            message[25] = line.condition
        if line.card_sequence:
            message[23] = line.card_sequence
        if line.card:
            self._show_card(message, line)
        if line.chip:
            message[55] = bytes.fromhex(line.chip)
        if line.type in PRIVATE:
            message[62] = PRIVATE[line.type]
        kind = TYPES.get(line.type)
        if kind is not None and kind.follows:
            self._name_original(message, original)
        return message

    def _show_card(self, message: Message, line: Request) -> None:
        if line.entry_mode.startswith(BY_CODE):
            message[59] = f"A3{len(line.card):03d}{line.card}"
            return
        message[2], message[14] = line.card, line.expiry
        if line.entry_mode[:2] in CARRIES_TRACK:
            message[35] = track_of(line.card, line.expiry)
        if line.pin and self._pik:
            clear = pin_block.encode_format0(PIN, line.card)
            message[26], message[52] = "12", tdes_ecb_encrypt(self._pik, clear)
            message[53] = ("26" if len(self._pik) == 16 else "20").ljust(16, "0")

    def _name_original(self, message: Message, original: Told | None) -> None:
        """By everything that a terminal knows of it; one that was never found, by nothing true."""
        if original is None:
            message[61] = "0" * 16
            return
        message[61] = original.batch + original.trace + original.date
        if original.rrn:
            message[37] = original.rrn
        if original.auth_code:
            message[38] = original.auth_code

    def reversal(self, line: Reversal, of: Request | None) -> Message:
        """A 0400 of the journal; `of` is the request that it means, where the file has it."""
        message: Message = {
            0: "0400",
            3: line.processing_code,
            4: f"{0 if of is None else of.amount_minor:012d}",
            11: f"{line.trace:06d}",
            22: "012" if of is None or not of.entry_mode else of.entry_mode,
            25: "00" if of is None or not of.condition else of.condition,
            39: line.reason,
            41: line.terminal,
            42: line.merchant,
            49: "156" if of is None else of.currency,
            60: f"{line.usage or '00'}{self.batch_of(line.batch)}000500",
        }
        if of is not None and of.card:
            if of.entry_mode.startswith(BY_CODE):
                message[59] = f"A3{len(of.card):03d}{of.card}"
            else:
                message[2], message[14] = of.card, of.expiry
        return message

    def settle(self, line: Settlement) -> Message:
        message = self._head("0500", "201", self.batch_of(line.batch))
        sides = ("".join(totals(line.said[at : at + 4])) + "0" for at in (0, 4))
        message[48] = "".join(sides)
        message[49], message[63] = "156", "01 "
        return message

    def upload_end(self, line: Settlement) -> Message:
        """Nothing is listed: the items of an upload are not in the file."""
        return self._head("0320", "202", self.batch_of(line.batch)) | {48: "0000"}

    def _head(self, mti: str, code: str, batch: str = "") -> Message:
        self._trace = 999_000 + (self._trace - 999_000 + 1) % 999
        return {
            0: mti,
            11: f"{self._trace:06d}",
            41: self.terminal.terminal,
            42: self.terminal.merchant,
            60: "00" + (batch or self.batch) + code,
        }

    def batch_of(self, recorded: int) -> str:
        """The batch of here; where it was not open here, the recorded number."""
        return self._batches.get(recorded, f"{recorded:06d}")

    # -- what it hears --------------------------------------------------------------------------

    def take_keys(self, answer: Message, recorded_batch: int) -> str:
        """Keys and batch of a sign-on's answer; what is wrong with them, or nothing."""
        if answer.get(39) != "00":
            return "sign-on answered " + str(answer.get(39, "nothing"))
        self.batch = str(answer.get(60, ""))[2:8]
        self._batches[recorded_batch] = self.batch
        aes = self._algorithm is MacAlgorithm.AES_CMAC
        layout = self.profile.key_layouts[0]
        try:
            self._pik, self._mak, _ = open_key_layout(
                answer.get(62, b""), self.tmk, layout, self.profile.mak_bytes, aes=aes
            )
        except (ValueError, AssertionError) as error:
            return str(error)
        return ""

    def mac_right(self, answer: Message, body: bytes) -> bool:
        code = answer.get(64, b"")
        assert isinstance(code, bytes)
        return bool(code) and mac.verify(self.mac_profile, self._mak, body[: -len(code)], code)

    # -- bytes --------------------------------------------------------------------------------------

    def framed(self, message: Message) -> bytes:
        known = elements_of(self.dialect)
        message = {de: message[de] for de in sorted(known.intersection(message))}
        signed = str(message[0])[1] in SIGNED and self._algorithm is not MacAlgorithm.NONE
        if signed and self._mak:
            message[64] = bytes(8)
            covered = self.codec.encode(message)[:-8]
            body = covered + mac.compute(self.mac_profile, self._mak, covered)
        else:
            body = self.codec.encode(message)
        header = bytes.fromhex("603100310000")[: self.framing.header_bytes]
        return build(
            Frame(self._tpdu, header.ljust(self.framing.header_bytes, b"\0"), body), self.framing
        )


def master_key(terminal: str) -> bytes:
    return made_key(f"tmk {terminal}")


def made_key(label: str) -> bytes:
    """16 bytes of odd parity that belong to nobody: the same in every replay."""
    digest = hashlib.sha256(b"tongbao replay " + label.encode()).digest()[:16]
    return bytes(byte & 0xFE | (bin(byte >> 1).count("1") + 1) % 2 for byte in digest)


def track_of(card: str, expiry: str) -> str:
    return f"{card}={expiry}220".ljust(37, "0")[:37]


def totals(four: tuple[int, ...]) -> str:
    """A half of DE 48: debit amount 12, count 3, credit amount 12, count 3."""
    debit, debits, credit, credits_ = four
    return f"{debit:012d}{debits:03d}{credit:012d}{credits_:03d}"
