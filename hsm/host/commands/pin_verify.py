"""PIN verification: DA, EA, DC, EC; by DUKPT CK, CM, GO, GQ. LO puts a decimalisation table under the LMK.

A verification answers 00 or 01 and nothing else: whether PIN, offset or key was the wrong one does not
show. Wrong PINs are counted by account (`hsm.host.failures`, 39).

Fields as in payShield host command descriptions, GO and GQ also as observed in
github.com/softwaregroup-bg/ut-codec-payshield. The fields of the IBM method: `hsm.host.ibm_fields`.
"""

from typing import Final

from hsm import pin_verify
from hsm.errors import DecimalisationTableError
from hsm.host import pin_fields as pins, vault as uses
from hsm.host.codes import HostError
from hsm.host.dispatch import Command
from hsm.host.dukpt import open_pin as open_dukpt_pin, read_ksn
from hsm.host.fields import Fields
from hsm.host.ibm_fields import read_checked_offset, read_ibm
from hsm.host.pin_fields import account_of
from hsm.host.vault import HostVault, KeyUse
from hsm.pin_translation import PinFormat

# -- verification ------------------------------------------------------------------------------------


def verify_terminal_offset(vault: HostVault, fields: Fields) -> bytes:
    """DA: verify a PIN under a TPK by IBM 3624.

    TPK (16H, or scheme) · PVK (16H, or scheme) · maximum PIN length 2 · PIN block 16H (32H under AES) · format 2 ·
    check length 2 · account 12 · decimalisation table 16 · validation data 12 · offset 12H.
    Errors: 01 wrong PIN, 10 TPK, 11 PVK, 20 PIN block, 22 account, 23 format, 24 PIN length, 25 table,
    27 PVK too short, 39 too many wrong PINs.
    """
    return verify_offset(vault, fields, uses.TPK)


def verify_zone_offset(vault: HostVault, fields: Fields) -> bytes:
    """EA: verify a PIN under a ZPK by IBM 3624.

    Fields and errors as DA, with a ZPK in place of the TPK.
    """
    return verify_offset(vault, fields, uses.ZPK)


def verify_offset(vault: HostVault, fields: Fields, use: KeyUse) -> bytes:
    opened = vault.key(fields.key(16), use)
    pvk = vault.key(fields.key(16), uses.PVK_IBM)
    longest = pins.read_longest(fields)
    block = pins.read_block(fields, opened)
    source = pins.read_opened_format(fields)
    ibm = read_ibm(vault, fields, source)
    offset = read_checked_offset(fields, ibm)
    fields.end()

    def agrees() -> bool:
        pin = pins.open_pin(opened, source, block, ibm.pan)
        if len(pin) > longest:
            raise HostError("24")
        return ibm.verify(pvk, pin, offset)

    vault.failures.judge(ibm.counted(source), pvk, agrees)
    return b""


def verify_terminal_pvv(vault: HostVault, fields: Fields) -> bytes:
    """DC: verify a PIN under a TPK by Visa PVV.

    TPK (16H, or scheme) · PVK (32H, or scheme) · PIN block 16H (32H under AES) · format 2 · account 12 · PVKI 1 · PVV 4.
    Errors: 01 wrong PIN, 10 TPK, 11 PVK, 20 PIN block, 22 account, 23 format, 27 PVK not of double length,
    39 too many wrong PINs.
    """
    return verify_pvv(vault, fields, uses.TPK)


def verify_zone_pvv(vault: HostVault, fields: Fields) -> bytes:
    """EC: verify a PIN under a ZPK by Visa PVV.

    Fields and errors as DC, with a ZPK in place of the TPK.
    """
    return verify_pvv(vault, fields, uses.ZPK)


def verify_pvv(vault: HostVault, fields: Fields, use: KeyUse) -> bytes:
    opened = vault.key(fields.key(16), use)
    pvk = vault.key(fields.key(32), uses.PVK_VISA)
    block = pins.read_block(fields, opened)
    source = pins.read_opened_format(fields)
    pan = pins.read_pan(fields, source)
    key_index, value = fields.digits(1), fields.digits(4)
    fields.end()
    account = account_of(pan)

    def agrees() -> bool:
        pin = pins.open_pin(opened, source, block, pan)
        return pin_verify.verify_pvv(pvk.key, account, key_index, pin, value)

    vault.failures.judge(account[-pin_verify.PVV_ACCOUNT_DIGITS :], pvk, agrees)
    return b""


# -- verification by DUKPT ------------------------------------------------------------------------------


def verify_dukpt_offset_plain(vault: HostVault, fields: Fields) -> bytes:
    """CK: verify a PIN under a DUKPT key by IBM 3624, format 01.

    BDK (32H, or scheme) · PVK (16H, or scheme) · KSN descriptor 3H · KSN 12 to 20H · PIN block 16H · check
    length 2 · account 12 · decimalisation table 16 · validation data 12 · offset 12H.
    Errors: as DA; 10 BDK; 39 also for a KSN whose counter was used. The key is of Triple DES, as GO's.
    """
    return verify_dukpt_offset(vault, fields, PinFormat.ISO_0)


def verify_dukpt_offset_any(vault: HostVault, fields: Fields) -> bytes:
    """GO: verify a PIN under a DUKPT key by IBM 3624.

    Mode 1 (0) · fields as CK, with the format 2 (01, 05, 47; 48 with an AES BDK) after the PIN block (32H with an AES
    BDK). Errors: as CK; 29 mode 1, which verifies a MAC too, and is not served.
    """
    read_mode(fields)
    return verify_dukpt_offset(vault, fields, None)


def verify_dukpt_offset(vault: HostVault, fields: Fields, source: PinFormat | None) -> bytes:
    bdk = vault.key(fields.key(32), uses.BDK)
    pvk = vault.key(fields.key(16), uses.PVK_IBM)
    ksn = read_ksn(fields, bdk)
    block = pins.read_block(fields, bdk)
    used = source or pins.read_opened_format(fields)
    ibm = read_ibm(vault, fields, used)
    offset = read_checked_offset(fields, ibm)
    fields.end()

    def agrees() -> bool:
        return ibm.verify(pvk, open_dukpt_pin(vault, bdk, ksn, used, block, ibm.pan), offset)

    vault.failures.judge(ibm.counted(used), pvk, agrees)
    return b""


def verify_dukpt_pvv_plain(vault: HostVault, fields: Fields) -> bytes:
    """CM: verify a PIN under a DUKPT key by Visa PVV, format 01.

    BDK (32H, or scheme) · PVK (32H, or scheme) · KSN descriptor 3H · KSN 12 to 20H · PIN block 16H · account 12 ·
    PVKI 1 · PVV 4. Errors: as DC; 10 BDK; 39 also for a KSN whose counter was used.
    """
    return verify_dukpt_pvv(vault, fields, PinFormat.ISO_0)


def verify_dukpt_pvv_any(vault: HostVault, fields: Fields) -> bytes:
    """GQ: verify a PIN under a DUKPT key by Visa PVV.

    Mode 1 (0) · fields as CM, with the format 2 (01, 05, 47; 48 with an AES BDK) after the PIN block (32H with an AES
    BDK). Errors: as CM; 29 mode 1, which verifies a MAC too, and is not served.
    """
    read_mode(fields)
    return verify_dukpt_pvv(vault, fields, None)


def verify_dukpt_pvv(vault: HostVault, fields: Fields, source: PinFormat | None) -> bytes:
    bdk = vault.key(fields.key(32), uses.BDK)
    pvk = vault.key(fields.key(32), uses.PVK_VISA)
    ksn = read_ksn(fields, bdk)
    block = pins.read_block(fields, bdk)
    used = source or pins.read_opened_format(fields)
    pan = pins.read_pan(fields, used)
    key_index, value = fields.digits(1), fields.digits(4)
    fields.end()
    account = account_of(pan)

    def agrees() -> bool:
        pin = open_dukpt_pin(vault, bdk, ksn, used, block, pan)
        return pin_verify.verify_pvv(pvk.key, account, key_index, pin, value)

    vault.failures.judge(account[-pin_verify.PVV_ACCOUNT_DIGITS :], pvk, agrees)
    return b""


# -- decimalisation tables ------------------------------------------------------------------------------


def encrypt_table(vault: HostVault, fields: Fields) -> bytes:
    """LO: a decimalisation table under the LMK.

    Table 16 digits. Answer: table under the LMK 16H. Errors: 17 authorised state, 25 a table that is none or tells
    too much about PINs. Devices encrypt tables at their console [unverified: that LO does it too].
    """
    table = fields.text(16)
    fields.end()
    try:
        pin_verify.check_table(table)
    except DecimalisationTableError:
        raise HostError("25") from None
    return vault.variant.encrypt_decimalisation_table(table).encode()


# -- fields -----------------------------------------------------------------------------------------------


def read_mode(fields: Fields) -> None:
    if fields.choice("01") != "0":
        raise HostError("29")


COMMANDS: Final = (
    Command("DA", verify_terminal_offset, "Verify a PIN under a TPK, IBM", "验证TPK下PIN (IBM)"),
    Command("EA", verify_zone_offset, "Verify a PIN under a ZPK, IBM", "验证ZPK下PIN (IBM)"),
    Command("DC", verify_terminal_pvv, "Verify a PIN under a TPK, PVV", "验证TPK下PIN (PVV)"),
    Command("EC", verify_zone_pvv, "Verify a PIN under a ZPK, PVV", "验证ZPK下PIN (PVV)"),
    Command("CK", verify_dukpt_offset_plain, "Verify a PIN by DUKPT, IBM", "验证DUKPT PIN (IBM)"),
    Command("CM", verify_dukpt_pvv_plain, "Verify a PIN by DUKPT, PVV", "验证DUKPT PIN (PVV)"),
    Command("GO", verify_dukpt_offset_any, "Verify a PIN by DUKPT, IBM", "验证DUKPT PIN (IBM)"),
    Command("GQ", verify_dukpt_pvv_any, "Verify a PIN by DUKPT, PVV", "验证DUKPT PIN (PVV)"),
    Command(
        "LO",
        encrypt_table,
        "Decimalisation table under the LMK",
        "加密十进制转换表",
        authorised=True,
    ),
)
