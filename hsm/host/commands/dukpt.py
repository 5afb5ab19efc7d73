"""PIN blocks from a DUKPT key to a ZPK: CI, G0. KSNs, and counters that come again: `hsm.host.dukpt`.

Fields as in payShield host command descriptions, G0's flag as observed in
github.com/softwaregroup-bg/ut-codec-payshield.
"""

from typing import Final

import msgspec

from hsm.host import pin_fields as pins, vault as uses
from hsm.host.dispatch import Command
from hsm.host.dukpt import open_pin, read_ksn
from hsm.host.fields import Fields
from hsm.host.vault import HostVault
from hsm.pin_translation import PinFormat
from hsm.vault import OpenKey

_BDK_FLAGS: Final = {"*": ("009",), "~": ("609",)}


def translate_plain(vault: HostVault, fields: Fields) -> bytes:
    """CI: a PIN block from a DUKPT key to a ZPK, from format 01.

    BDK (32H, or scheme) · ZPK (16H, or scheme) · KSN descriptor 3H · KSN 12 to 20H · PIN block 16H · format that
    it gets 2 · account 12. Answer: PIN length 2 · PIN block · format 2.
    Errors: 10 BDK, 11 ZPK, 15 KSN, 20 PIN block, 22 account, 23 unknown format, 29 format 01 may not become
    that one, 39 the KSN's counter was used.
    The key is of Triple DES, as G0's; devices make a single-length key here, which nobody should use any more.
    """
    bdk = vault.key(fields.key(32), uses.BDK)
    return translate(vault, fields, bdk, PinFormat.ISO_0)


def translate_any(vault: HostVault, fields: Fields) -> bytes:
    """G0: a PIN block from a DUKPT key to a ZPK.

    [flag 1: `*` a BDK of type 009, `~` of type 609] · BDK (32H, or scheme) · ZPK (16H, or scheme) · KSN
    descriptor 3H · KSN 12 to 20H (24H of AES) · PIN block 16H (32H of AES) · its format 2 (01, 05, 47; 48 of AES) · format
    that it gets 2 · account 12. Answer and errors as CI. A BDK in place of the ZPK is not served.
    """
    use = uses.BDK
    types = _BDK_FLAGS.get(fields.peek())
    if types is not None:
        fields.text(1)
        use = msgspec.structs.replace(use, types=types)
    return translate(vault, fields, vault.key(fields.key(32), use), None)


def translate(
    vault: HostVault, fields: Fields, bdk: OpenKey, source_format: PinFormat | None
) -> bytes:
    destination = vault.key(fields.key(16), uses.ZPK_TO)
    ksn = read_ksn(fields, bdk)
    block = pins.read_block(fields, bdk)
    from_format = source_format or pins.format_of(fields.text(pins.FORMAT_CHARACTERS))
    code = fields.text(pins.FORMAT_CHARACTERS)
    to_format = pins.format_of(code)
    pan = pins.read_pan(fields, from_format, to_format)
    fields.end()
    pins.require_translation(from_format, to_format)
    pins.require_cipher(destination, to_format)
    pin = open_pin(vault, bdk, ksn, from_format, block, pan)
    return b"%02d%s%s" % (
        len(pin),
        pins.close_pin(vault, destination, to_format, pin, pan),
        code.encode(),
    )


COMMANDS: Final = (
    Command("CI", translate_plain, "PIN block from a DUKPT key to a ZPK", "PIN块由DUKPT转ZPK"),
    Command(
        "G0",
        translate_any,
        "PIN block from a DUKPT key to a ZPK, any format",
        "PIN块由DUKPT转ZPK (各格式)",
    ),
)
