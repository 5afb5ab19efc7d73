"""Chip cards: KQ and KW judge a card's cryptogram and make the issuer's answer, KU makes a script's MAC.

PAN and PAN sequence number come made up: the 16 rightmost digits of both, 8 bytes (option A), or what option B
gives. Data goes under a cryptogram as it stands, with zeros to whole blocks: a scheme that wants an 80 after it has
it in the client's data. Devices give the right cryptogram after a wrong one in the authorised state; not here.

Fields as in payShield host command descriptions; KW's schemes and modes beside 0, and KU, as observed in
github.com/softwaregroup-bg/ut-codec-payshield and at clients [unverified]. The letters among KQ's schemes are ours.
"""

from typing import Final

import msgspec

from hsm import emv_cryptograms, emv_keys, emv_profiles, emv_scripts, pin_block, pin_translation
from hsm.emv_profiles import EmvProfile
from hsm.emv_scripts import DataStyle
from hsm.host import pin_fields as pins, vault as uses
from hsm.host.codes import HostError
from hsm.host.dispatch import Command
from hsm.host.fields import Fields
from hsm.host.key_forms import BLOCK_SCHEMES
from hsm.host.vault import HostVault
from hsm.keys import Algorithm
from hsm.vault import OpenKey

VERIFY, BOTH, ANSWER = "012"

# Scheme id and algorithm of the master key -> profile.
KQ_PROFILES: Final = {
    ("0", Algorithm.TDES): "visa-cvn10",
    ("1", Algorithm.TDES): "mastercard-cvn16",
    ("B", Algorithm.TDES): "pboc",
    ("B", Algorithm.SM4): "pboc-sm4",
    ("C", Algorithm.TDES): "unionpay-uics",
}
_KQ_SCHEMES: Final = frozenset(scheme for scheme, _ in KQ_PROFILES)

TREES: Final = {"0": (2, 16), "1": (4, 8)}  # branches, levels
_TREE, _COMMON = "0", "2"

PIN_FORMAT_EMV, PIN_FORMAT_VISA = "34", "41"


# -- cryptograms -------------------------------------------------------------------------------------


def judge_cryptogram(vault: HostVault, fields: Fields) -> bytes:
    """KQ: verify a cryptogram, or make the answer to one, or both.

    Mode 1 (0 verify, 1 both, 2 answer) · scheme 1 (0 Visa, 1 Mastercard; B PBOC, C UnionPay UICS [unverified]) · MK-AC (32H,
    or scheme) · PAN and sequence 8 binary · ATC 2 binary · unpredictable number 4 binary · in modes 0 and 1: length
    2H, in bytes · data · `;` · then cryptogram 8 binary · in modes 1 and 2: response code 2 binary.
    Answer: in modes 1 and 2 ARPC 8 binary, by method 1.
    Errors: 01 the cryptogram is wrong, 04 mode, 05 scheme, 10 MK-AC, 81 no data, A7 an algorithm that the scheme has not.
    """
    mode = fields.choice("012", "04")
    scheme = fields.text(1)
    if scheme not in _KQ_SCHEMES:
        raise HostError("05")
    issuer_key = vault.key(fields.key(32), uses.MK_AC)
    card, atc, number = fields.binary(8), fields.binary(2), fields.binary(4)
    data = read_data(fields) if mode in (VERIFY, BOTH) else b""
    cryptogram = fields.binary(8)
    response_code = fields.binary(2) if mode in (BOTH, ANSWER) else b""
    fields.end()
    name = KQ_PROFILES.get((scheme, issuer_key.algorithm))
    if name is None:
        raise HostError("A7")
    profile = emv_profiles.profile_named(name)
    master = card_key(profile, issuer_key, card)
    session = emv_profiles.session_key(profile, master, {"9F36": atc, "9F37": number})
    if mode in (VERIFY, BOTH):
        require_right(made_cryptogram(profile, session, data), cryptogram)
    if mode == VERIFY:
        return b""
    key = session if profile.arpc_with_session_key else master
    if profile.cipher == "SM4":
        return emv_cryptograms.arpc_method_1_sm4(key, cryptogram, response_code)
    return emv_cryptograms.arpc_method_1(key, cryptogram, response_code)


def judge_session_cryptogram(vault: HostVault, fields: Fields) -> bytes:
    """KW: verify a cryptogram, or make the answer to one, by EMV's own session keys.

    Mode 1 (0 verify, 1 both, 2 answer; 3 both, 4 answer by method 2) · scheme 1 (0 EMV2000 tree, 2 common session
    key) · MK-AC (32H, or scheme) · PAN and sequence 8 binary · of scheme 0: tree 1 (0: 2 branches and 16 levels, 1: 4
    and 8) · ATC 2 binary · in modes 0, 1 and 3: length 2H, in bytes · data · `;` · then cryptogram 8 binary · in modes 1
    and 2: response code 2 binary · in modes 3 and 4: card status update 4 binary · length 1H · proprietary data.
    Answer: in modes 1 and 2 ARPC 8 binary; in 3 and 4 ARPC 4 binary and the card status update [unverified].
    Errors: 01 the cryptogram is wrong, 04 mode, 05 scheme, 10 MK-AC, 52 tree, 81 no data, A7 an algorithm other than
    Triple DES. The session key makes the answer too. The tree starts from a vector of zeros.
    """
    mode = fields.choice("01234", "04")
    scheme = fields.choice(_TREE + _COMMON, "05")
    issuer_key = vault.key(fields.key(32), uses.MK_AC)
    card = fields.binary(8)
    tree = fields.choice("01", "52") if scheme == _TREE else ""
    atc = fields.binary(2)
    verifies = mode in "013"
    data = read_data(fields) if verifies else b""
    cryptogram = fields.binary(8)
    response_code = fields.binary(2) if mode in "12" else b""
    status_update = fields.binary(4) if mode in "34" else b""
    proprietary = fields.binary(fields.hex_number(1)) if mode in "34" else b""
    fields.end()
    require_tdes(issuer_key)
    if len(proprietary) > emv_cryptograms.PROPRIETARY_MAX:
        raise HostError("80")
    master = emv_keys.master_key(issuer_key.key, card)
    if scheme == _TREE:
        branches, levels = TREES[tree]
        session = emv_keys.emv2000_session_key(master, atc, branch=branches, height=levels)
    else:
        session = emv_keys.common_session_key(master, emv_keys.r_of_atc(atc))
    if verifies:
        require_right(emv_cryptograms.application_cryptogram(session, data, 1), cryptogram)
    if response_code:
        return emv_cryptograms.arpc_method_1(session, cryptogram, response_code)
    if not status_update:
        return b""
    made = emv_cryptograms.arpc_method_2(session, cryptogram, status_update, proprietary)
    return made + status_update


def read_data(fields: Fields) -> bytes:
    data = fields.binary(fields.hex_number(2))
    if not data:
        raise HostError("81")
    if not fields.skip_if(";"):
        raise HostError("15")
    return data


def card_key(profile: EmvProfile, issuer_key: OpenKey, card: bytes) -> bytes:
    if profile.cipher == "SM4":
        return emv_keys.master_key_sm4(issuer_key.key, card)
    return emv_keys.master_key(issuer_key.key, card)


def made_cryptogram(profile: EmvProfile, session: bytes, data: bytes) -> bytes:
    if profile.cipher == "SM4":
        return emv_cryptograms.application_cryptogram_sm4(session, data)
    return emv_cryptograms.application_cryptogram(session, data, 1)


def require_right(expected: bytes, given: bytes) -> None:
    if not emv_cryptograms.verify(expected, given):
        raise HostError("01")


def require_tdes(opened: OpenKey) -> None:
    if opened.algorithm is not Algorithm.TDES:
        raise HostError("A7")


# -- scripts --------------------------------------------------------------------------------------------


def secure_script(vault: HostVault, fields: Fields) -> bytes:
    """KU: MAC of a command to a card; a change of its PIN.

    Mode 1 (0 MAC, 4 MAC and PIN) · scheme 1 (0 Visa, 1 Mastercard) · MK-SMI (32H, or scheme) · PAN and sequence 8 binary ·
    session data 8 binary (Visa: zeros and the ATC; Mastercard: the cryptogram) · length 4H, in bytes · data · `;` · in
    mode 4: MK-SMC (32H, or scheme) · session data 8 binary · offset 4H · length 4H (0008) · PIN block 8 binary · `;` · key
    type 1 (0 ZPK, 1 TPK, F block) · key (16H, or scheme) · its format 2 (01, 47) · format that it gets 2 (34; 41 Visa's
    own) · account 12 · for format 41: MK-AC (32H, or scheme).
    Answer: MAC 8 binary · in mode 4: length 4H, in bytes · enciphered PIN. The data is CLA INS P1 P2 Lc, ATC, cryptogram
    and command data; the enciphered PIN goes in at the offset, and all is padded with 80 and zeros.
    Errors: 04 mode, 05 scheme, 10 MK-SMI or MK-AC, 11 MK-SMC, 20 PIN block, 22 account, 23 format, 28 key type, 29 format,
    80 lengths. Modes 1 to 3, and format 42 over the card's current PIN, are not served.
    """
    mode = fields.choice("04", "04")
    scheme = fields.choice("01", "05")
    integrity = vault.key(fields.key(32), uses.MK_SMI)
    card, session_data = fields.binary(8), fields.binary(8)
    data = fields.binary(fields.hex_number(4))
    if not 0 < len(data) <= emv_cryptograms.AC_DATA_MAX:
        raise HostError("80")
    if not fields.skip_if(";"):
        raise HostError("15")
    require_tdes(integrity)
    sealed, offset = b"", 0
    if mode == "4":
        change = read_pin_change(vault, fields)
        fields.end()
        if change.offset > len(data):
            raise HostError("80")
        sealed, offset = sealed_pin(change, scheme, card), change.offset
    else:
        fields.end()
    key = session_key(integrity, scheme, card, session_data)
    made = emv_cryptograms.application_cryptogram(key, data[:offset] + sealed + data[offset:], 2)
    return made + (b"%04X" % len(sealed) + sealed if sealed else b"")


class PinChange(msgspec.Struct, frozen=True):
    """What mode 4 of KU has more."""

    confidentiality: OpenKey
    session_data: bytes
    offset: int
    block: bytes
    pin_key: OpenKey
    source: pin_translation.PinFormat
    destination: str
    pan: str
    cryptogram_key: OpenKey | None

    def __repr__(self) -> str:
        return "PinChange(…)"


def read_pin_change(vault: HostVault, fields: Fields) -> PinChange:
    confidentiality = vault.key(fields.key(32), uses.MK_SMC)
    session_data = fields.binary(8)
    offset = fields.hex_number(4)
    if fields.hex_number(4) != 8:
        raise HostError("80")
    block = fields.binary(8)
    if not fields.skip_if(";"):
        raise HostError("15")
    kind, text = fields.choice("01F", "28"), fields.key(16)
    if (text[0] in BLOCK_SCHEMES) is not (kind == "F"):
        raise HostError("A1")
    pin_key = vault.key(text, uses.ZPK if kind == "0" else uses.TPK)
    source = pins.format_of(fields.text(pins.FORMAT_CHARACTERS))
    destination = fields.text(pins.FORMAT_CHARACTERS)
    if destination not in (PIN_FORMAT_EMV, PIN_FORMAT_VISA):
        raise HostError("23")
    pan = pins.read_pan(fields)
    visa = destination == PIN_FORMAT_VISA
    cryptogram_key = vault.key(fields.key(32), uses.MK_AC) if visa else None
    require_tdes(confidentiality)
    pins.require_creation(source)
    if cryptogram_key is not None:
        require_tdes(cryptogram_key)
    return PinChange(
        confidentiality, session_data, offset, block, pin_key, source, destination, pan, cryptogram_key
    )  # fmt: skip


def sealed_pin(change: PinChange, scheme: str, card: bytes) -> bytes:
    pin = pins.open_pin(change.pin_key, change.source, change.block, change.pan)
    if change.cryptogram_key is None:
        block = pin_block.encode_format2(pin)
    else:
        master = emv_keys.master_key(change.cryptogram_key.key, card)
        block = emv_scripts.visa_pin_block(master, pin)
    key = session_key(change.confidentiality, scheme, card, change.session_data)
    style = DataStyle.VISA if scheme == "0" else DataStyle.MASTERCARD
    return emv_scripts.encrypt_data(key, block, style)


def session_key(issuer_key: OpenKey, scheme: str, card: bytes, session_data: bytes) -> bytes:
    """Visa's from the ATC on the right, Mastercard's from the cryptogram."""
    master = emv_keys.master_key(issuer_key.key, card)
    if scheme == "0":
        return emv_keys.visa_script_key(master, session_data[6:])
    return emv_keys.common_session_key(master, session_data)


COMMANDS: Final = (
    Command("KQ", judge_cryptogram, "Cryptogram of a chip card", "验证芯片卡应用密文"),
    Command(
        "KW",
        judge_session_cryptogram,
        "Cryptogram by EMV session keys",
        "验证应用密文 (EMV会话密钥)",
    ),
    Command("KU", secure_script, "Script of a chip card", "发卡行脚本报文鉴别"),
)
