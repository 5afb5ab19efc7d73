"""A scripted switch for one bank connection: builds signed requests, reads signed answers."""

from __future__ import annotations

import datetime as dt
import random
from typing import TYPE_CHECKING

from hsm import mac, pin_block
from hsm.ciphers import tdes_ecb_encrypt
from iso8583.codec import codec_for
from iso8583.framing import LINK, Frame, Framer, build
from terminals.simulator.bank import Bank, BankFaults, BankOptions, Effect, Later, Send
from terminals.simulator.card import BANK_A

if TYPE_CHECKING:
    from iso8583.message import Message
    from terminals.simulator.card import Card

ZPK = "33333333333333334444444444444444"
ZAK = "55555555555555556666666666666666"
DATE = dt.date(2026, 6, 9)
CARD = BANK_A[0].card(1)


def options(**changes: object) -> BankOptions:
    return BankOptions(**({"zpk": ZPK, "zak": ZAK} | changes))  # type: ignore[arg-type]


def bank(seed: int = 1, *, faults: dict[str, float] | None = None, **changes: object) -> Bank:
    if faults is not None:
        changes["faults"] = BankFaults(**faults)  # type: ignore[arg-type]
    return Bank(options(**changes), DATE, random.Random(seed))


class ScriptedSwitch:
    """One connection to a bank, driven by hand."""

    def __init__(self, to: Bank, *, sign_on: bool = True) -> None:
        self.bank = to
        self.session = to.session()
        self.codec = codec_for("iso1987_ascii")
        self.stan = 0
        if sign_on:
            assert self.ask(self.management("001"))[39] == "00"

    # -- what the bank does later ------------------------------------------------

    def taken_in(self, request: Message) -> Later:
        """It is decided later, and nothing is answered now."""
        (later,) = self.effects(request)
        assert isinstance(later, Later)
        return later

    def decided(self, later: Later) -> str:
        """DE 39, now that its time has come."""
        (send,) = self.session.process(later.body, delayed=True)
        assert isinstance(send, Send)
        return str(self.read(send)[39])

    # -- messages --------------------------------------------------------------

    def management(self, code: str) -> Message:
        self.stan += 1
        return {0: "0800", 7: "0609101112", 11: f"{self.stan:06}", 32: "48021000", 70: code}

    def request(self, mti: str, code: str, card: Card, amount_minor: int | None) -> Message:
        self.stan += 1
        message: Message = {
            0: mti,
            2: card.pan,
            3: code,
            7: f"0609{self.stan // 3600 % 24:02}{self.stan // 60 % 60:02}{self.stan % 60:02}",
            11: f"{self.stan:06}",
            12: "101112",
            13: "0609",
            14: card.expiry,
            18: "5411",
            22: "022",
            25: "00",
            32: "48021000",
            37: f"616010{self.stan:06}",
            41: "10000001",
            42: "898100000000001",
            43: "SHOP                        SHANGHAI  CN",
            49: "156",
        }
        if amount_minor is not None:
            message[4] = f"{amount_minor:012}"
        return message

    def purchase(self, card: Card = CARD, amount_minor: int = 1000, pin: str = "") -> Message:
        message = self.request("0200", "000000", card, amount_minor)
        if pin:
            block = pin_block.encode_format0(pin, card.pan)
            message |= {22: "021", 53: "2600000000000000"}
            message[52] = tdes_ecb_encrypt(bytes.fromhex(ZPK), block)
        return message

    def follow_up(self, mti: str, code: str, original: Message, amount_minor: int) -> Message:
        message = self.request(mti, code, CARD, amount_minor)
        message[2] = original[2]
        message[25] = original[25]
        message[90] = original_data(original)
        return message

    def void(self, original: Message) -> Message:
        return self.follow_up("0200", "200000", original, int(str(original[4])))

    def refund(self, original: Message, amount_minor: int) -> Message:
        return self.follow_up("0220", "200000", original, amount_minor)

    def reversal(self, original: Message) -> Message:
        self.stan += 1
        kept = (2, 3, 4, 12, 13, 14, 18, 22, 25, 32, 37, 41, 42, 43, 49)
        message: Message = {de: original[de] for de in kept if de in original}
        message |= {0: "0420", 7: f"0609{self.stan:06}"[:10], 11: f"{self.stan:06}", 39: "68"}
        message[90] = original_data(original)
        return message

    # -- bytes ------------------------------------------------------------------

    def framed(self, message: Message, *, zak: str = ZAK) -> bytes:
        message = dict(message)
        if not str(message[0]).startswith("08"):
            message[128 if max(message) > 64 else 64] = bytes(8)
            data = self.codec.encode(message)[:-8]
            body = data + mac.compute("x9.19-binary", bytes.fromhex(zak), data)
        else:
            body = self.codec.encode(message)
        return build(Frame(b"", b"", body), LINK)

    def effects(self, message: Message, *, zak: str = ZAK) -> list[Effect]:
        return self.session.receive_bytes(self.framed(message, zak=zak))

    def ask(self, message: Message, *, zak: str = ZAK) -> Message:
        """The one answer, given at once."""
        (effect,) = self.effects(message, zak=zak)
        assert isinstance(effect, Send)
        assert effect.delay_s == 0
        return self.read(effect)

    def code(self, message: Message) -> str:
        return str(self.ask(message)[39])

    def read(self, effect: Send) -> Message:
        """The message of a Send, its MAC checked."""
        (frame,) = Framer(LINK).receive_bytes(effect.data)
        message = self.codec.decode(frame.body)
        if not str(message[0]).startswith("08"):
            sent = message[64]
            assert isinstance(sent, bytes)
            data = frame.body[:-8]
            assert mac.verify("x9.19-binary", bytes.fromhex(ZAK), data, sent), "MAC wrong"
        return message


def original_data(original: Message) -> str:
    """DE 90."""
    return (
        str(original[0])
        + str(original[11])
        + str(original[7])
        + str(original[32]).zfill(11)
        + str(original.get(33, "")).zfill(11)
    )


def repeated(message: Message) -> Message:
    """0221 of a 0220, 0421 of a 0420."""
    return message | {0: str(message[0])[:3] + "1"}
