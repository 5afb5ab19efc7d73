"""What is kept of a PIN, made or changed: DE, BK, DU, EE by IBM 3624; DG, FW, CU by Visa PVV.

A new offset or PVV is made of a PIN in format 01 or 47 alone (29), after ANSI X9.8.

Fields as in payShield host command descriptions; BK, FW and DU as observed in
github.com/softwaregroup-bg/ut-codec-payshield. The fields of the IBM method: `hsm.host.ibm_fields`.
"""

from typing import Final

from hsm import pin_verify
from hsm.host import pin_fields as pins, vault as uses
from hsm.host.codes import HostError
from hsm.host.dispatch import Command
from hsm.host.fields import Fields
from hsm.host.ibm_fields import read_checked_offset, read_ibm, read_offset
from hsm.host.key_forms import BLOCK, same_form
from hsm.host.pin_fields import account_of
from hsm.host.vault import HostVault
from hsm.pin_translation import PinFormat
from hsm.vault import OpenKey

_PIN_KEYS: Final = {"001": uses.ZPK, "002": uses.TPK, "70D": uses.TPK, BLOCK: uses.TPK}


def offset_of_stored(vault: HostVault, fields: Fields) -> bytes:
    """DE: the IBM offset of a PIN under the LMK.

    PVK (16H, or scheme) · PIN under the LMK L · check length 2 · account 12 · decimalisation table 16 · validation
    data 12. Answer: offset 12H. Errors: 11 PVK, 14 PIN under the LMK, 22 account, 25 table, 27 PVK too short.
    """
    pvk = vault.key(fields.key(16), uses.PVK_IBM)
    stored = pins.read_stored(vault, fields)
    ibm = read_ibm(vault, fields)
    fields.end()
    return ibm.offset(pvk, pins.from_store(vault.variant, stored, ibm.account))


def offset_of_block(vault: HostVault, fields: Fields) -> bytes:
    """BK: the IBM offset of a PIN that a customer chose.

    Key type 3 (001 ZPK, 002 or 70D TPK, FFF block) · key (16H, or scheme) · PVK (16H, or scheme) · PIN block 16H ·
    format 2 · check length 2 · account 12 · decimalisation table 16 · validation data 12. Answer: offset 12H.
    Errors: as DA, and 28 key type, 29 format.
    """
    opened = read_pin_key(vault, fields)
    pvk = vault.key(fields.key(16), uses.PVK_IBM)
    block = pins.read_block(fields, opened)
    source = read_creation_format(fields)
    ibm = read_ibm(vault, fields)
    fields.end()
    return ibm.offset(pvk, pins.open_pin(opened, source, block, ibm.pan))


def change_offset(vault: HostVault, fields: Fields) -> bytes:
    """DU: verify a PIN by IBM 3624, and make the offset of the new one.

    Key type 3 (001 ZPK, 002 or 70D TPK, FFF block) · key (16H, or scheme) · PVK (16H, or scheme) · PIN block 16H ·
    format 2, of both · check length 2 · account 12 · decimalisation table 16 · validation data 12 · offset 12H ·
    new PIN block 16H. Answer: offset 12H. Errors: as DA, and 28 key type, 29 format.
    """
    opened = read_pin_key(vault, fields)
    pvk = vault.key(fields.key(16), uses.PVK_IBM)
    block = pins.read_block(fields, opened)
    source = read_creation_format(fields)
    ibm = read_ibm(vault, fields)
    offset = read_checked_offset(fields, ibm)
    new_block = pins.read_block(fields, opened)
    fields.end()

    def agrees() -> bool:
        return ibm.verify(pvk, pins.open_pin(opened, source, block, ibm.pan), offset)

    vault.failures.judge(ibm.counted(source), pvk, agrees)
    return ibm.offset(pvk, pins.open_pin(opened, source, new_block, ibm.pan))


def derive_pin(vault: HostVault, fields: Fields) -> bytes:
    """EE: the PIN that IBM 3624 gives, with an offset or with none.

    PVK (16H, or scheme) · offset 12H (0000FFFFFFFF for none) · check length 2, the PIN's length · account 12 ·
    decimalisation table 16 · validation data 12. Answer: PIN under the LMK L.
    Errors: 11 PVK, 15 an offset longer than the PIN, 22 account, 24 PIN length, 25 table, 27 PVK too short.
    """
    pvk = vault.key(fields.key(16), uses.PVK_IBM)
    offset = read_offset(fields)
    ibm = read_ibm(vault, fields)
    fields.end()
    pin = pin_verify.pin_of_offset(pvk.key, ibm.validation, ibm.table, offset, ibm.check_length)
    return pins.to_store(vault, pin, ibm.account)


def pvv_of_stored(vault: HostVault, fields: Fields) -> bytes:
    """DG: the PVV of a PIN under the LMK.

    PVK (32H, or scheme) · PIN under the LMK L · account 12 · PVKI 1. Answer: PVV 4.
    Errors: 11 PVK, 14 PIN under the LMK, 22 account, 27 PVK not of double length.
    """
    pvk = vault.key(fields.key(32), uses.PVK_VISA)
    stored = pins.read_stored(vault, fields)
    account = fields.digits(pins.ACCOUNT_DIGITS, "22")
    key_index = fields.digits(1)
    fields.end()
    pin = pins.from_store(vault.variant, stored, account)
    return pin_verify.pvv(pvk.key, account, key_index, pin).encode()


def pvv_of_block(vault: HostVault, fields: Fields) -> bytes:
    """FW: the PVV of a PIN that a customer chose.

    Key type 3 (001 ZPK, 002 or 70D TPK, FFF block) · key (16H, or scheme) · PVK (32H, or scheme) · PIN block 16H ·
    format 2 · account 12 · PVKI 1. Answer: PVV 4. Errors: as DC, and 28 key type, 29 format.
    """
    opened = read_pin_key(vault, fields)
    pvk = vault.key(fields.key(32), uses.PVK_VISA)
    block = pins.read_block(fields, opened)
    source = read_creation_format(fields)
    pan = pins.read_pan(fields)
    key_index = fields.digits(1)
    fields.end()
    pin = pins.open_pin(opened, source, block, pan)
    return pin_verify.pvv(pvk.key, account_of(pan), key_index, pin).encode()


def change_pvv(vault: HostVault, fields: Fields) -> bytes:
    """CU: verify a PIN by Visa PVV, and make the PVV of the new one.

    Key type 3 (001 ZPK, 002 or 70D TPK, FFF block) · key (16H, or scheme) · PVK (32H, or scheme) · PIN block 16H ·
    format 2, of both · account 12 · PVKI 1 · PVV 4 · new PIN block 16H. Answer: PVV 4.
    Errors: as DC, and 28 key type, 29 format.
    """
    opened = read_pin_key(vault, fields)
    pvk = vault.key(fields.key(32), uses.PVK_VISA)
    block = pins.read_block(fields, opened)
    source = read_creation_format(fields)
    pan = pins.read_pan(fields)
    key_index, value = fields.digits(1), fields.digits(4)
    new_block = pins.read_block(fields, opened)
    fields.end()
    account = account_of(pan)

    def agrees() -> bool:
        pin = pins.open_pin(opened, source, block, pan)
        return pin_verify.verify_pvv(pvk.key, account, key_index, pin, value)

    vault.failures.judge(account[-pin_verify.PVV_ACCOUNT_DIGITS :], pvk, agrees)
    new_pin = pins.open_pin(opened, source, new_block, pan)
    return pin_verify.pvv(pvk.key, account, key_index, new_pin).encode()


# -- fields ----


def read_pin_key(vault: HostVault, fields: Fields) -> OpenKey:
    """Key type 3 · TPK or ZPK."""
    code = fields.text(3)
    use = _PIN_KEYS.get(code)
    if use is None:
        raise HostError("28")
    text = fields.key(16)
    same_form(code, text)
    return vault.key(text, use)


def read_creation_format(fields: Fields) -> PinFormat:
    found = pins.format_of(fields.text(pins.FORMAT_CHARACTERS))
    pins.require_creation(found)
    return found


COMMANDS: Final = (
    Command("DE", offset_of_stored, "IBM offset of a PIN under the LMK", "LMK下PIN生成IBM偏移"),
    Command("BK", offset_of_block, "IBM offset of a chosen PIN", "自选PIN生成IBM偏移"),
    Command("DU", change_offset, "Change a PIN, IBM", "修改PIN (IBM)"),
    Command("EE", derive_pin, "PIN by IBM", "IBM法推导PIN"),
    Command("DG", pvv_of_stored, "PVV of a PIN under the LMK", "LMK下PIN生成PVV"),
    Command("FW", pvv_of_block, "PVV of a chosen PIN", "自选PIN生成PVV"),
    Command("CU", change_pvv, "Change a PIN, PVV", "修改PIN (PVV)"),
)
