"""DUKPT in host commands: which key a base derivation key and a key serial number make.

A command names the transaction by a KSN descriptor and a KSN. The descriptor, 3H, says how many digits BDK id, sub-key
and device id have; the counter's 5 follow them. So 605 goes with a KSN of 16 digits and A05 with one of 20.
A KSN that is filled to 20 digits with F is taken too, since clients send it so. With an AES BDK a KSN has 24H and
the descriptor is read and not used [unverified].

A counter is accepted once for PINs and once for MACs that are verified, where the device remembers counters
(`hsm.dukpt_replay`); code 39 else. Data that is deciphered does not show whether it is genuine: its
counters are not remembered.
"""

from typing import Final

from hsm import dukpt_aes, dukpt_tdes
from hsm.dukpt_aes import AesDukpt, AesKeyType, AesUsage
from hsm.dukpt_replay import Purpose
from hsm.dukpt_tdes import TdesUsage
from hsm.errors import VaultError
from hsm.host import pin_fields
from hsm.host.codes import HostError
from hsm.host.fields import Fields
from hsm.host.vault import HostVault
from hsm.keys import Algorithm, KeyUsage
from hsm.pin_translation import PinFormat
from hsm.vault import OpenKey

BDK_TYPES: Final = ("009", "609", "809")

_KSN_DIGITS: Final = 2 * dukpt_tdes.KSN_BYTES
_COUNTER_DIGITS: Final = 5
_OF_LENGTH: Final = {16: AesKeyType.AES128, 24: AesKeyType.AES192, 32: AesKeyType.AES256}
_USAGES: Final = {
    TdesUsage.PIN: KeyUsage.TPK,
    TdesUsage.DATA_REQUEST: KeyUsage.TDK,
    TdesUsage.DATA_RESPONSE: KeyUsage.TDK,
}  # of the others: MAK


def read_ksn(fields: Fields, bdk: OpenKey) -> bytes:
    """KSN descriptor 3H · KSN 12 to 20H, or 24H with an AES BDK."""
    descriptor = fields.hex_number(3)
    if bdk.algorithm is Algorithm.AES:
        return fields.hex(2 * dukpt_aes.KSN_BYTES)
    count = (descriptor >> 8) + (descriptor >> 4 & 15) + (descriptor & 15) + _COUNTER_DIGITS
    if not 12 <= count <= _KSN_DIGITS:
        raise HostError("15")
    fill = _KSN_DIGITS - count
    if fields.peek(fill) == "F" * fill:
        count = _KSN_DIGITS
    return dukpt_tdes.parse_ksn(fields.text(count))


def working_key(
    vault: HostVault, bdk: OpenKey, ksn: bytes, tdes: TdesUsage, aes: AesUsage
) -> OpenKey:
    """The transaction's key for one purpose, as a key of a terminal; of an AES BDK as long as it is.

    15 for a KSN that no transaction can have, A6 for an initial key in the place of a BDK.
    """
    if bdk.usage is not KeyUsage.BDK:
        raise HostError("A6")
    usage = _USAGES.get(tdes, KeyUsage.MAK)
    deriver = vault.deriver(bdk)
    try:
        if isinstance(deriver, AesDukpt):
            key = deriver.working_key(ksn, aes, _OF_LENGTH[len(bdk.key)])
            return OpenKey(usage, Algorithm.AES, key)
        return OpenKey(usage, Algorithm.TDES, deriver.working_key(ksn, tdes))
    except VaultError:
        raise HostError("15") from None


def open_pin(
    vault: HostVault, bdk: OpenKey, ksn: bytes, source: PinFormat, block: bytes, pan: str
) -> str:
    """The PIN of a block under the transaction's key; its counter can not come again after that."""
    vault.check_counter(bdk, Purpose.PIN, ksn)
    opened = working_key(vault, bdk, ksn, TdesUsage.PIN, AesUsage.PIN)
    pin = pin_fields.open_pin(opened, source, block, pan)
    vault.accept_counter(bdk, Purpose.PIN, ksn)
    return pin


def read_initial_key(fields: Fields, bdk: OpenKey) -> OpenKey:
    """The initial key of a device named by its KSN without counter: 15H, or 16H with an AES BDK.

    The last of 15 digits is even: its lowest bit is the counter's.
    """
    if bdk.algorithm is Algorithm.AES:
        return OpenKey(KeyUsage.IK, Algorithm.AES, dukpt_aes.initial_key(bdk.key, fields.hex(16)))
    number = fields.hex_number(15)
    if number & 1:
        raise HostError("15")
    ksn = bytes.fromhex(f"{number:015X}00000")
    return OpenKey(KeyUsage.IK, Algorithm.TDES, dukpt_tdes.initial_key(bdk.key, ksn))
