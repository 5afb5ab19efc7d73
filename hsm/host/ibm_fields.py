"""What commands of the IBM 3624 method read beside the key.

* Check length 2: how many digits of the PIN, on the right, the offset covers, 04 to 12.
* Decimalisation table 16: under the LMK (command LO), or clear where the device is set so; 25 for a wrong one,
  and for one that tells too much about PINs.
* Validation data 12: hex digits and one N, which stands for the last 5 digits of the account.
* Offset 12: digits, filled with F.

PVKs have two or three parts: a single-length one, which the devices still take, is refused (27), and the
warning 02 that they give for a longer one is left out.
"""

import re
from typing import Final

import msgspec

from hsm import pin_verify
from hsm.host import pin_fields as pins
from hsm.host.codes import HostError
from hsm.host.fields import Fields
from hsm.host.pin_fields import account_of
from hsm.host.vault import HostVault
from hsm.pin_translation import PinFormat
from hsm.vault import OpenKey

_OFFSET: Final = re.compile(r"([0-9]{4,12})F*")


class Ibm(msgspec.Struct, frozen=True):
    """What the IBM method takes beside the key."""

    check_length: int
    pan: str
    table: str
    validation: str

    def __repr__(self) -> str:
        return "Ibm(…)"

    @property
    def account(self) -> str:
        return account_of(self.pan)

    def counted(self, source: PinFormat) -> str:
        """The digits of the account by which wrong PINs are counted.

        Validation data has the last 5. A PAN-bound block hides the first ones too, as many as the PIN has
        digits after the second; with 8 counted none is free up to PINs of 6.
        """
        return self.account[-8 if source in pins.BOUND else -5 :]

    def verify(self, pvk: OpenKey, pin: str, offset: str) -> bool:
        return pin_verify.verify_offset(
            pvk.key, self.validation, self.table, pin, offset, self.check_length
        )

    def offset(self, pvk: OpenKey, pin: str) -> bytes:
        """12 characters; 15 where the check length is more than the PIN has."""
        found = pin_verify.offset_of_pin(
            pvk.key, self.validation, self.table, pin, self.check_length
        )
        return found.ljust(12, "F").encode()


def read_ibm(vault: HostVault, fields: Fields, *formats: PinFormat) -> Ibm:
    """Check length 2 · account 12 · decimalisation table 16 · validation data 12."""
    check_length = fields.number(2)
    pan = pins.read_pan(fields, *formats)
    table, template = fields.text(16), fields.text(12)
    return Ibm(
        check_length,
        pan,
        pins.open_table(vault, table.upper()),
        pin_verify.insert_account(template, account_of(pan)),
    )


def read_offset(fields: Fields) -> str:
    found = _OFFSET.fullmatch(fields.text(12).upper())
    if found is None:
        raise HostError("15")
    return found[1]


def read_checked_offset(fields: Fields, ibm: Ibm) -> str:
    """An offset that has the digits that are to be checked; 15 before any PIN block is opened."""
    offset = read_offset(fields)
    if not 4 <= ibm.check_length <= len(offset):
        raise HostError("15")
    return offset
