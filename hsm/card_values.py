"""Card verification values (Visa CVV, CVV2, iCVV; Mastercard CVC): one algorithm, three uses.

Pure functions on a clear key. The value stands on the card: CVV in the tracks, CVV2 printed on it,
iCVV in the chip's copy of track 2. They differ in the service code that goes in, so that a value read
at one place is worth nothing at another. It may be kept only until the answer (PCI DSS 3.3.1).

Errors are `VaultError`, for a PAN its kind `PanError`; a wrong value is an answer, False.
"""

import hmac
from enum import Enum
from typing import Final

import msgspec

from hsm import ciphers
from hsm.digits import are_digits, check_digits, decimalise
from hsm.errors import PanError, VaultError

VALUE_DIGITS: Final = 3


def card_value(cvk: bytes, pan: str, expiry: str, service_code: str) -> str:
    """The 3 digits for what goes in, as it goes in: `expiry` is 4 digits in the issuer's order.

    PAN (12 to 19 digits), expiry and service code (3) are filled with zeros on the right to 32 digits,
    two blocks. E(KA) of the first, XOR the second, E(KA), D(KB), E(KA); decimalised in two passes.

    >>> card_value(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"),
    ...            "4123456789012345", "8701", "101")
    '561'
    """
    if len(cvk) != 16:
        raise VaultError("a card verification key has 16 bytes")
    if not are_digits(pan, 12, 19):
        raise PanError("a PAN has 12 to 19 digits")
    check_digits("an expiry date", expiry, 4)
    check_digits("a service code", service_code, 3)
    blocks = bytes.fromhex(f"{pan}{expiry}{service_code}".ljust(32, "0"))
    first = int.from_bytes(ciphers.tdes_ecb_encrypt(cvk[:8], blocks[:8]), "big")
    second = first ^ int.from_bytes(blocks[8:], "big")
    # E(KA) D(KB) E(KA) is Triple DES with both halves.
    return decimalise(ciphers.tdes_ecb_encrypt(cvk, second.to_bytes(8, "big")), VALUE_DIGITS)


def verify(cvk: bytes, pan: str, expiry: str, service_code: str, value: str) -> bool:
    """Whether the value is the card's, compared in the same time for any answer."""
    check_digits("a card verification value", value, VALUE_DIGITS)
    return hmac.compare_digest(card_value(cvk, pan, expiry, service_code), value)


class CardValue(Enum):
    """Where the value stands."""

    CVV = "CVV"  # in the tracks: the card's own service code
    CVV2 = "CVV2"  # printed
    ICVV = "iCVV"  # in the chip


class CardValueProfile(msgspec.Struct, frozen=True, kw_only=True):
    """How an issuer makes its values. The orders are usual ones [unverified]: ask the issuer."""

    cvv_expiry: str = "YYMM"  # also of the iCVV: the tracks' order
    cvv2_expiry: str = "MMYY"
    cvv2_service_code: str = "000"
    icvv_service_code: str = "999"

    def __post_init__(self) -> None:
        for order in (self.cvv_expiry, self.cvv2_expiry):
            if order not in ("YYMM", "MMYY"):
                raise VaultError("an expiry date is YYMM or MMYY")
        check_digits("a service code", self.cvv2_service_code, 3)
        check_digits("a service code", self.icvv_service_code, 3)

    def inputs(self, kind: CardValue, expiry_yymm: str, service_code: str) -> tuple[str, str]:
        """Expiry date and service code as they go in; the card's own code counts for the CVV alone.

        >>> CardValueProfile().inputs(CardValue.CVV2, "3012", "201")
        ('1230', '000')
        """
        check_digits("an expiry date", expiry_yymm, 4)
        if not "01" <= expiry_yymm[2:] <= "12":
            raise VaultError("an expiry date ends with a month, 01 to 12")
        order = self.cvv2_expiry if kind is CardValue.CVV2 else self.cvv_expiry
        expiry = expiry_yymm if order == "YYMM" else expiry_yymm[2:] + expiry_yymm[:2]
        if kind is CardValue.CVV:
            return expiry, service_code
        return expiry, (
            self.cvv2_service_code if kind is CardValue.CVV2 else self.icvv_service_code
        )
