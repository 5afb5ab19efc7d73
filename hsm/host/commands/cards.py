"""Card verification values: CW makes one, CY verifies one. CVV, CVV2, iCVV and CVC differ in what goes in.

The value stands in the tracks, on the card or in the chip; the client says which by expiry date and service
code: 000 makes a CVV2, 999 an iCVV, and in a CVV2 the date's order is mostly MMYY.

Fields as in payShield host command descriptions.
"""

from typing import Final

import msgspec

from hsm import card_values
from hsm.digits import are_digits
from hsm.host import vault as uses
from hsm.host.codes import HostError
from hsm.host.dispatch import Command
from hsm.host.fields import Fields
from hsm.host.vault import HostVault

PAN_DIGITS_MAX: Final = 19


class Card(msgspec.Struct, frozen=True):
    """What goes into a value."""

    pan: str
    expiry: str
    service_code: str

    def __repr__(self) -> str:
        return "Card(…)"


def make(vault: HostVault, fields: Fields) -> bytes:
    """CW: make a card verification value.

    CVK (32H, or scheme) · PAN, 12 to 19 digits, and `;` · expiry 4 · service code 3. Answer: value 3.
    Errors: 10 CVK, 22 PAN, 27 CVK not of double length.
    """
    cvk = vault.key(fields.key(32), uses.CVK)
    card = read_card(fields)
    fields.end()
    return card_values.card_value(cvk.key, card.pan, card.expiry, card.service_code).encode()


def verify(vault: HostVault, fields: Fields) -> bytes:
    """CY: verify a card verification value.

    CVK (32H, or scheme) · value 3 · PAN, 12 to 19 digits, and `;` · expiry 4 · service code 3. Errors: 01 it is
    another, 10 CVK, 22 PAN, 27 CVK not of double length.
    """
    cvk = vault.key(fields.key(32), uses.CVK)
    value = fields.digits(card_values.VALUE_DIGITS)
    card = read_card(fields)
    fields.end()
    if not card_values.verify(cvk.key, card.pan, card.expiry, card.service_code, value):
        raise HostError("01")
    return b""


def read_card(fields: Fields) -> Card:
    pan = fields.until(";", PAN_DIGITS_MAX)
    if not are_digits(pan, 12, PAN_DIGITS_MAX):
        raise HostError("22")
    return Card(pan, fields.digits(4), fields.digits(3))


COMMANDS: Final = (
    Command("CW", make, "Make a card verification value", "生成卡校验值 (CVV)"),
    Command("CY", verify, "Verify a card verification value", "验证卡校验值 (CVV)"),
)
