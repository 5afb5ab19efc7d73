"""PINs from key to key, and PINs under the LMK: CA, CC, JC, JE, JG, JA, BA, BG, QK.

A PIN under the LMK is as long for all PINs of a device (`PinSettings.stored_digits`, L below) and bound to its
account. NG, which shows a PIN in clear, is not served.

Fields as in payShield host command descriptions; formats, account numbers and what is [unverified] of them:
`hsm.host.pin_fields`.
"""

from typing import Final

from hsm import pin_block
from hsm.host import pin_fields as pins, vault as uses
from hsm.host.codes import HostError
from hsm.host.dispatch import Command
from hsm.host.fields import Fields
from hsm.host.pin_fields import FORMAT_CHARACTERS, account_of
from hsm.host.vault import HostVault, KeyUse
from hsm.pin_verify import random_pin

FORMATS_0_TO_0: Final = "0101"

# -- from key to key -------------------------------------------------------------------------------


def translate_from_terminal(vault: HostVault, fields: Fields) -> bytes:
    """CA: a PIN block from a TPK to a ZPK.

    TPK (16H, or scheme) · ZPK (16H, or scheme) · maximum PIN length 2 · PIN block 16H (32H under AES) · its
    format 2 · format that it gets 2 · account 12. Answer: PIN length 2 · PIN block · format 2.
    Errors: 10 TPK, 11 ZPK, 20 PIN block, 22 account, 23 unknown format, 24 PIN length in the block, or over the maximum,
    29 this format may not become that one.
    """
    return translate(vault, fields, uses.TPK)


def translate_between_zones(vault: HostVault, fields: Fields) -> bytes:
    """CC: a PIN block from a ZPK to a ZPK.

    Fields, answer and errors as CA, with a ZPK in place of the TPK.
    """
    return translate(vault, fields, uses.ZPK)


def translate(vault: HostVault, fields: Fields, source_use: KeyUse) -> bytes:
    source = vault.key(fields.key(16), source_use)
    destination = vault.key(fields.key(16), uses.ZPK_TO)
    longest = pins.read_longest(fields)
    block = pins.read_block(fields, source)
    formats = fields.text(2 * FORMAT_CHARACTERS)
    decrypt, encrypt = source.pin_decrypt, destination.pin_encrypt
    if formats == FORMATS_0_TO_0 and decrypt is not None and encrypt is not None:
        # The usual case: the clear block is judged and stays as it is; no PIN is made of it.
        account = int(fields.digits(pins.ACCOUNT_DIGITS, "22"), 16)
        fields.end()
        clear = decrypt(block)
        if not pin_block.format0_is_valid(clear, account):
            pin_block.decode_format0(clear, f"{account:012x}0")  # says which rule was broken
            raise AssertionError("two readings of format 0 disagree")
        length = clear[0]
        if length > longest:
            raise HostError("24")
        return b"%02d%s01" % (length, encrypt(clear).hex().upper().encode())
    from_format = pins.format_of(formats[:FORMAT_CHARACTERS])
    to_format = pins.format_of(formats[FORMAT_CHARACTERS:])
    pan = pins.read_pan(fields, from_format, to_format)
    fields.end()
    pins.require_translation(from_format, to_format)
    pin = pins.open_pin(source, from_format, block, pan)
    if len(pin) > longest:
        raise HostError("24")
    closed = pins.close_pin(vault, destination, to_format, pin, pan)
    return b"%02d%s%s" % (len(pin), closed, formats[FORMAT_CHARACTERS:].encode())


# -- to the LMK and back -----------------------------------------------------------------------------


def store_from_terminal(vault: HostVault, fields: Fields) -> bytes:
    """JC: a PIN from a TPK to the LMK.

    TPK (16H, or scheme) · PIN block 16H · format 2 · account 12. Answer: PIN under the LMK L.
    Errors: 10 TPK, 20 PIN block, 22 account, 23 format, 24 a PIN longer than L has room for.
    """
    return store(vault, fields, uses.TPK)


def store_from_zone(vault: HostVault, fields: Fields) -> bytes:
    """JE: a PIN from a ZPK to the LMK.

    ZPK (16H, or scheme) · PIN block 16H · format 2 · account 12. Answer and errors as JC.
    """
    return store(vault, fields, uses.ZPK)


def store(vault: HostVault, fields: Fields, use: KeyUse) -> bytes:
    source = vault.key(fields.key(16), use)
    block = pins.read_block(fields, source)
    from_format = pins.read_opened_format(fields)
    pan = pins.read_pan(fields, from_format)
    fields.end()
    return pins.to_store(vault, pins.open_pin(source, from_format, block, pan), account_of(pan))


def close_for_zone(vault: HostVault, fields: Fields) -> bytes:
    """JG: a PIN from the LMK to a ZPK.

    ZPK (16H, or scheme) · format 2 (01, 47, 48) · account 12 · PIN under the LMK L. Answer: PIN block 16H.
    Errors: 11 ZPK, 14 PIN under the LMK, 22 account, 23 format, 29 a format that would part PIN and account.
    """
    destination = vault.key(fields.key(16), uses.ZPK_TO)
    to_format = pins.read_made_format(fields)
    pan = pins.read_pan(fields, to_format)
    stored = pins.read_stored(vault, fields)
    fields.end()
    pin = pins.from_store(vault.variant, stored, account_of(pan))
    return pins.close_pin(vault, destination, to_format, pin, pan)


# -- under the LMK alone -----------------------------------------------------------------------------


def make_random(vault: HostVault, fields: Fields) -> bytes:
    """JA: a random PIN.

    Account 12 · PIN length 2 (04 to 12; 04 where it is left out). Answer: PIN under the LMK L.
    Errors: 22 account, 24 PIN length. A PIN is not kept from being a weak one, as 1234.
    """
    account = fields.digits(pins.ACCOUNT_DIGITS, "22")
    length = fields.number(2) if fields.peek().isdigit() else 4
    fields.end()
    if not 4 <= length < vault.pins.stored_digits:
        raise HostError("24")
    return pins.to_store(vault, random_pin(length, vault.entropy), account)


def encrypt_clear(vault: HostVault, fields: Fields) -> bytes:
    """BA: a clear PIN under the LMK.

    PIN L, filled with F · account 12. Answer: PIN under the LMK L. Errors: 17 authorised state, 22 account,
    24 PIN length.
    """
    pin = pins.read_clear(vault, fields)
    account = fields.digits(pins.ACCOUNT_DIGITS, "22")
    fields.end()
    return pins.to_store(vault, pin, account)


def new_lmk(vault: HostVault, fields: Fields) -> bytes:
    """BG: a PIN from the former LMK to this one.

    Account 12 · PIN under the former LMK L. Answer: PIN under the LMK L. Errors: 14 PIN under the LMK, 22
    account, 33 there is no former LMK here.
    """
    account = fields.digits(pins.ACCOUNT_DIGITS, "22")
    stored = pins.read_stored(vault, fields)
    fields.end()
    if vault.former is None:
        raise HostError("33")
    pin = pins.from_store(vault.former.variant, stored, account)
    return pins.to_store(vault, pin, account)


def other_account(vault: HostVault, fields: Fields) -> bytes:
    """QK: a PIN under the LMK for another account, as when a card gets a new number.

    PIN under the LMK L · account 12 · new account 12. Answer: PIN under the LMK L. Errors: 14 PIN under the
    LMK, 17 authorised state, 22 account.
    The authorised state is asked for here because a PIN that changes its account can be tried against any
    card; whether the devices ask for it too is [unverified].
    """
    stored = pins.read_stored(vault, fields)
    account = fields.digits(pins.ACCOUNT_DIGITS, "22")
    new_account = fields.digits(pins.ACCOUNT_DIGITS, "22")
    fields.end()
    return pins.to_store(vault, pins.from_store(vault.variant, stored, account), new_account)


COMMANDS: Final = (
    Command("CA", translate_from_terminal, "PIN block from a TPK to a ZPK", "PIN块由TPK转ZPK"),
    Command("CC", translate_between_zones, "PIN block from a ZPK to a ZPK", "PIN块由ZPK转ZPK"),
    Command("JC", store_from_terminal, "PIN from a TPK to the LMK", "PIN由TPK转LMK"),
    Command("JE", store_from_zone, "PIN from a ZPK to the LMK", "PIN由ZPK转LMK"),
    Command("JG", close_for_zone, "PIN from the LMK to a ZPK", "PIN由LMK转ZPK"),
    Command("JA", make_random, "Random PIN", "生成随机PIN"),
    Command("BA", encrypt_clear, "Clear PIN under the LMK", "明文PIN加密", authorised=True),
    Command("BG", new_lmk, "PIN from the former LMK to this one", "PIN由旧LMK转新LMK"),
    Command("QK", other_account, "PIN for another account", "PIN更换账号", authorised=True),
)
