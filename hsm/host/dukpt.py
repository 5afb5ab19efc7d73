"""DUKPT in host commands: which key a base derivation key and a key serial number make.

A command names the transaction by a KSN descriptor (3H: how the KSN is divided; read and not used, since the
counter's place is fixed) and the KSN, 20H for a Triple DES BDK and 24H for AES. Whether a KSN was
seen before a vault knows only where it was given a guard (`HostVault.check_counter`); a PIN block that opens and a
MAC that is right use a counter up, data does not, since nothing tells that it was right.
"""

from typing import Final

from hsm import dukpt_aes, dukpt_tdes
from hsm.dukpt_aes import AesKeyType, AesUsage
from hsm.dukpt_tdes import TdesUsage
from hsm.errors import VaultError
from hsm.host.codes import HostError
from hsm.host.fields import Fields
from hsm.keys import Algorithm, KeyUsage
from hsm.vault import OpenKey

BDK_TYPES: Final = ("009", "609", "809")

_OF_LENGTH: Final = {16: AesKeyType.AES128, 24: AesKeyType.AES192, 32: AesKeyType.AES256}


def read_ksn(fields: Fields, bdk: OpenKey) -> bytes:
    """KSN descriptor 3H · KSN 20H, or 24H with an AES BDK."""
    fields.hex_number(3)
    return fields.hex(24 if bdk.algorithm is Algorithm.AES else 20)


def working_key(bdk: OpenKey, ksn: bytes, tdes: TdesUsage, aes: AesUsage) -> OpenKey:
    """The transaction's key for one purpose, as a key of a terminal; of an AES BDK as long as it is.

    15 for a KSN that no transaction can have.
    """
    usage = (
        KeyUsage.TDK if tdes in (TdesUsage.DATA_REQUEST, TdesUsage.DATA_RESPONSE) else KeyUsage.MAK
    )
    try:
        if bdk.algorithm is Algorithm.AES:
            initial = dukpt_aes.initial_key(bdk.key, dukpt_aes.device_of(ksn))
            derivation = dukpt_aes.derivation_key(initial, ksn)
            key = dukpt_aes.working_key(derivation, ksn, aes, _OF_LENGTH[len(bdk.key)])
            return OpenKey(usage, Algorithm.AES, key)
        transaction = dukpt_tdes.transaction_key(dukpt_tdes.initial_key(bdk.key, ksn), ksn)
    except VaultError:
        raise HostError("15") from None
    return OpenKey(usage, Algorithm.TDES, dukpt_tdes.working_key(transaction, tdes))


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
