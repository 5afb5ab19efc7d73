"""PIN blocks from key to key: CA, CC."""

from typing import Final

from hsm import pin_block
from hsm.host import vault as uses
from hsm.host.codes import HostError
from hsm.host.dispatch import Command
from hsm.host.fields import Fields
from hsm.host.vault import HostVault, KeyUse

PIN_LENGTH_MAX: Final = 12


def translate_from_terminal(vault: HostVault, fields: Fields) -> bytes:
    """CA: a PIN block from a TPK to a ZPK.

    TPK (16H, or scheme) · ZPK (16H, or scheme) · maximum PIN length 2 · PIN block 16H · format 2 ·
    format 2 · account 12. Answer: PIN length 2 · PIN block 16H · format 2.
    """
    return translate(vault, fields, uses.TPK)


def translate_between_zones(vault: HostVault, fields: Fields) -> bytes:
    """CC: a PIN block from a ZPK to a ZPK; fields as CA."""
    return translate(vault, fields, uses.ZPK)


def translate(vault: HostVault, fields: Fields, source_use: KeyUse) -> bytes:
    source = vault.key(fields.key(16), source_use)
    destination = vault.key(fields.key(16), uses.ZPK_TO)
    if fields.number(2) > PIN_LENGTH_MAX:
        raise HostError("24")
    block = fields.hex(16, "20")
    from_format, to_format = fields.text(2), fields.text(2)
    account = fields.digits(12, "22")
    fields.end()
    if from_format != "01" or to_format != "01":
        raise HostError("23")
    decrypt, encrypt = source.pin_decrypt, destination.pin_encrypt
    if decrypt is None or encrypt is None:
        raise HostError("02")
    clear = decrypt(block)
    number = int(account, 16)
    if not pin_block.format0_is_valid(clear, number):
        raise HostError("20")
    length = (clear[0] ^ number >> 56) & 0x0F
    return b"%02d%s01" % (length, encrypt(clear).hex().upper().encode())


COMMANDS: Final = (
    Command("CA", translate_from_terminal, "PIN block from a TPK to a ZPK", "PIN块由TPK转ZPK"),
    Command("CC", translate_between_zones, "PIN block from a ZPK to a ZPK", "PIN块由ZPK转ZPK"),
)
