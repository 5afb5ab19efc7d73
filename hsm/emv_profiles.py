"""What each card scheme does: one row a profile, and the steps an issuer takes with one.

A profile says how a card's master key comes from the issuer's, its session key from that, what the
card puts under its cryptogram and how it is padded, how the answer (ARPC) is made, and the keys and
data of issuer scripts. `render()` prints the table as the documentation shows it.

Chip data is a mapping of tags to values, as DE 55 carries them: `{"9F26": …, "9F36": …}`. No value
of it stands in an error's text.

Pure functions on clear keys. Sources stand in the rows; "as pyemv" means that another implementation
agrees, and tests hold both together. Rows marked [unverified] rest on hearsay: check them against the
scheme's own book before a real card meets them.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final

import msgspec

from hsm import emv_cryptograms, emv_keys, emv_scripts, pin_block
from hsm.emv_scripts import DataStyle
from hsm.errors import VaultError


class SessionKey(Enum):
    """How the key of an application cryptogram comes from the card's master key."""

    NONE = "none"  # the master key itself
    COMMON = "csk"  # R = ATC ‖ six zero bytes
    MASTERCARD = "skd"  # R = ATC ‖ 0000 ‖ unpredictable number
    PBOC = "pboc"  # ATC and complement


class ScriptKey(Enum):
    """How the keys of issuer scripts come from the card's master keys."""

    COMMON = "csk"  # R = ARQC
    VISA = "visa"  # ATC and complement by XOR
    PBOC = "pboc"  # ATC and complement encrypted
    NOT_HERE = "-"


class ScriptPin(Enum):
    """The PIN block of a PIN change."""

    VISA = "visa"
    VISA_OVER_CURRENT = "visa/2"  # Visa's where the current PIN is given, else format 2
    FORMAT_2 = "2"


Pieces = tuple[tuple[int, int | None], ...]  # of tag 9F10: from, before (None: to its end)

_WHOLE: Final[Pieces] = ((0, None),)
_VISA_CVR: Final[Pieces] = ((3, 7),)  # length, key index, CVN, CVR (4 bytes)
_MCHIP_CVR: Final[Pieces] = ((2, 8),)  # key index, CVN, CVR (6 bytes), DAC (2), counters
_MCHIP_COUNTERS: Final[Pieces] = ((2, 8), (10, None))


class EmvProfile(msgspec.Struct, frozen=True):
    """One row."""

    name: str
    cipher: str  # TDES or SM4
    option: str  # of the card's master key: A or B
    session_key: SessionKey
    padding: int  # of the cryptogram, ISO 9797-1 method
    issuer_data: Pieces  # what of tag 9F10 is under the cryptogram
    arpc_method: int
    arpc_with_session_key: bool
    script_key: ScriptKey
    script_data: DataStyle
    script_pin: ScriptPin
    source: str


_T, _S = SessionKey, ScriptKey
_D, _P = DataStyle, ScriptPin
_ROWS: Final = (
    # name               cipher  opt session key    pad 9F10           ARPC, SK   script key   script data    script PIN            source
    ("visa-cvn10",       "TDES", "A", _T.NONE,       1, _VISA_CVR,      1, False, _S.VISA,     _D.VISA,       _P.VISA,              "Visa VIS, as pyemv"),
    ("visa-cvn18",       "TDES", "B", _T.COMMON,     2, _WHOLE,         2, True,  _S.VISA,     _D.VISA,       _P.VISA,              "Visa VIS, as pyemv"),
    ("visa-cvn22",       "TDES", "B", _T.COMMON,     2, _WHOLE,         2, True,  _S.COMMON,   _D.VISA,       _P.VISA_OVER_CURRENT, "Visa VIS, as pyemv"),
    ("mastercard-cvn16", "TDES", "A", _T.MASTERCARD, 2, _MCHIP_CVR,     1, False, _S.COMMON,   _D.MASTERCARD, _P.FORMAT_2,          "M/Chip, as pyemv"),
    ("mastercard-cvn17", "TDES", "A", _T.MASTERCARD, 2, _MCHIP_COUNTERS, 1, False, _S.COMMON,  _D.MASTERCARD, _P.FORMAT_2,          "M/Chip, as pyemv"),
    ("mastercard-cvn20", "TDES", "A", _T.COMMON,     2, _MCHIP_CVR,     1, True,  _S.COMMON,   _D.MASTERCARD, _P.FORMAT_2,          "M/Chip, as pyemv"),
    ("mastercard-cvn21", "TDES", "A", _T.COMMON,     2, _MCHIP_COUNTERS, 1, True, _S.COMMON,   _D.MASTERCARD, _P.FORMAT_2,          "M/Chip, as pyemv"),
    ("emv-csk",          "TDES", "A", _T.COMMON,     2, _WHOLE,         2, True,  _S.COMMON,   _D.EMV,        _P.FORMAT_2,          "EMV 4.3 Book 2, CCD"),
    ("unionpay-uics",    "TDES", "A", _T.COMMON,     2, _VISA_CVR,      1, True,  _S.COMMON,   _D.EMV,        _P.FORMAT_2,          "UICS [unverified]"),
    ("pboc",             "TDES", "A", _T.PBOC,       2, _VISA_CVR,      1, True,  _S.PBOC,     _D.VISA,       _P.VISA,              "PBOC 2.0 [unverified]"),
    ("pboc-sm4",         "SM4",  "A", _T.PBOC,       2, _VISA_CVR,      1, True,  _S.NOT_HERE, _D.VISA,       _P.VISA,              "PBOC 3.0 part 17 [unverified]"),
)  # fmt: skip

PROFILES: Final[dict[str, EmvProfile]] = {row[0]: EmvProfile(*row) for row in _ROWS}

# Tag -> bytes, in the order a card puts them under its cryptogram (EMV 4.3 Book 2, table 26; the
# schemes above all have it); what a profile takes of 9F10 follows.
ELEMENTS: Final[dict[str, int]] = {
    "9F02": 6,  # amount, authorised
    "9F03": 6,  # amount, other
    "9F1A": 2,  # terminal's country
    "95": 5,  # terminal verification results
    "5F2A": 2,  # currency
    "9A": 3,  # date
    "9C": 1,  # transaction type
    "9F37": 4,  # unpredictable number
    "82": 2,  # application interchange profile
    "9F36": 2,  # application transaction counter (ATC)
}
ISSUER_DATA_MAX: Final = 32
CRYPTOGRAM: Final = "9F26"

Tags = Mapping[str, bytes]


def profile_named(name: str) -> EmvProfile:
    """The table's row, or `VaultError`."""
    row = PROFILES.get(name)
    if row is None:
        raise VaultError(f"no EMV profile is called {name[:32]!r}")
    return row


# -- cryptograms --------------------------------------------------------------------------


def cryptogram_data(profile: EmvProfile, tags: Tags) -> bytes:
    """What a card of this scheme puts under its cryptogram, from the tags of DE 55."""
    parts = [value_of(tags, tag, length) for tag, length in ELEMENTS.items()]
    issuer_data = tags.get("9F10")
    if issuer_data is None:
        raise VaultError("tag 9F10 is missing from the chip data")
    start, end = profile.issuer_data[-1]
    if not (start + 1 if end is None else end) <= len(issuer_data) <= ISSUER_DATA_MAX:
        raise VaultError(f"tag 9F10 has not the length of a card of profile {profile.name}")
    parts += [issuer_data[start:end] for start, end in profile.issuer_data]
    return b"".join(parts)


def cryptogram(profile: EmvProfile, issuer_key: bytes, pan: str, psn: str, tags: Tags) -> bytes:
    """The ARQC, TC or AAC that the card would make, 8 bytes; `issuer_key` is MK-AC."""
    data = cryptogram_data(profile, tags)
    key = session_key(profile, master_key(profile, issuer_key, pan, psn), tags)
    if profile.cipher == "SM4":
        return emv_cryptograms.application_cryptogram_sm4(key, data)
    return emv_cryptograms.application_cryptogram(key, data, profile.padding)


def verify(profile: EmvProfile, issuer_key: bytes, pan: str, psn: str, tags: Tags) -> bool:
    """Whether tag 9F26 is the card's; the comparison takes the same time for any answer."""
    theirs = value_of(tags, CRYPTOGRAM, 8)
    return emv_cryptograms.verify(cryptogram(profile, issuer_key, pan, psn, tags), theirs)


def issuer_authentication_data(
    profile: EmvProfile,
    issuer_key: bytes,
    pan: str,
    psn: str,
    tags: Tags,
    answer: bytes,
    proprietary: bytes = b"",
) -> bytes:
    """The value of tag 91: ARPC (8 bytes by method 1, 4 by method 2) and what it answers.

    `answer`: the authorisation response code, 2 bytes, by method 1; the card status update, 4
    bytes, by method 2, which can have up to 8 proprietary bytes after it.
    """
    key = master_key(profile, issuer_key, pan, psn)
    if profile.arpc_with_session_key:
        key = session_key(profile, key, tags)
    theirs = value_of(tags, CRYPTOGRAM, 8)
    if profile.arpc_method == 2:
        made = emv_cryptograms.arpc_method_2(key, theirs, answer, proprietary)
        return made + answer + proprietary
    if proprietary:
        raise VaultError(f"profile {profile.name} has no proprietary authentication data")
    if profile.cipher == "SM4":
        return emv_cryptograms.arpc_method_1_sm4(key, theirs, answer) + answer
    return emv_cryptograms.arpc_method_1(key, theirs, answer) + answer


def master_key(profile: EmvProfile, issuer_key: bytes, pan: str, psn: str) -> bytes:
    """The card's master key from the issuer's."""
    y = emv_keys.diversifier(pan, psn, option=profile.option)
    if profile.cipher == "SM4":
        return emv_keys.master_key_sm4(issuer_key, y)
    return emv_keys.master_key(issuer_key, y)


def session_key(profile: EmvProfile, master: bytes, tags: Tags) -> bytes:
    """The key of the card's cryptogram."""
    if profile.session_key is SessionKey.NONE:
        return master
    atc = value_of(tags, "9F36", 2)
    if profile.session_key is SessionKey.PBOC:
        if profile.cipher == "SM4":
            return emv_keys.pboc_session_key_sm4(master, atc)
        return emv_keys.pboc_session_key(master, atc)
    if profile.session_key is SessionKey.MASTERCARD:
        r = emv_keys.r_of_atc_and_number(atc, value_of(tags, "9F37", 4))
        return emv_keys.common_session_key(master, r)
    return emv_keys.common_session_key(master, emv_keys.r_of_atc(atc))


# -- issuer scripts -------------------------------------------------------------------------


def script_key(profile: EmvProfile, issuer_key: bytes, pan: str, psn: str, tags: Tags) -> bytes:
    """Session key of scripts; `issuer_key` is MK-SMI for MACs, MK-SMC for encryption."""
    if profile.script_key is ScriptKey.NOT_HERE:
        raise VaultError(f"issuer scripts of profile {profile.name} are not built")
    master = master_key(profile, issuer_key, pan, psn)
    if profile.script_key is ScriptKey.COMMON:
        return emv_keys.common_session_key(master, value_of(tags, CRYPTOGRAM, 8))
    atc = value_of(tags, "9F36", 2)
    if profile.script_key is ScriptKey.VISA:
        return emv_keys.visa_script_key(master, atc)
    return emv_keys.pboc_session_key(master, atc)


def pin_change(
    profile: EmvProfile,
    issuer_keys: tuple[bytes, bytes, bytes],
    pan: str,
    psn: str,
    tags: Tags,
    pin: str,
    current_pin: str | None = None,
) -> bytes:
    """The PIN CHANGE command for a card; `issuer_keys` are MK-AC, MK-SMI, MK-SMC."""
    key_ac, key_smi, key_smc = issuer_keys
    visa = profile.script_pin is ScriptPin.VISA or (
        profile.script_pin is ScriptPin.VISA_OVER_CURRENT and current_pin is not None
    )
    if visa:
        master = master_key(profile, key_ac, pan, psn)
        block = emv_scripts.visa_pin_block(master, pin, current_pin)
    elif current_pin is None:
        block = pin_block.encode_format2(pin)
    else:
        raise VaultError(f"a PIN change of profile {profile.name} takes no current PIN")
    return emv_scripts.pin_change(
        script_key(profile, key_smi, pan, psn, tags),
        script_key(profile, key_smc, pan, psn, tags),
        block,
        profile.script_data,
        atc=value_of(tags, "9F36", 2),
        cryptogram=value_of(tags, CRYPTOGRAM, 8),
        with_current_pin=current_pin is not None,
    )


def value_of(tags: Tags, tag: str, length: int) -> bytes:
    """A tag's value, or `VaultError` if it is missing or has another length."""
    value = tags.get(tag)
    if value is None:
        raise VaultError(f"tag {tag} is missing from the chip data")
    if len(value) != length:
        raise VaultError(f"tag {tag} of the chip data has {length} bytes")
    return value


def render() -> str:
    """The table as text, one profile a line.

    >>> print(render().splitlines()[1])
    visa-cvn10       TDES   A   none 1   3-6         1 MK visa visa       visa   Visa VIS, as pyemv
    """
    lines = [
        f"{'profile':<16} {'cipher':<6} key {'SK':<4} pad {'9F10':<11} ARPC "
        f"{'script':<4} {'data':<10} {'PIN':<6} source"
    ]
    for row in PROFILES.values():
        scripts = (row.script_data.value, row.script_pin.value)
        if row.script_key is ScriptKey.NOT_HERE:
            scripts = ("-", "-")
        pieces = ",".join(f"{a}-{'' if b is None else b - 1}" for a, b in row.issuer_data)
        lines.append(
            f"{row.name:<16} {row.cipher:<6} {row.option:<3} {row.session_key.value:<4} "
            f"{row.padding:<3} {pieces:<11} {row.arpc_method} "
            f"{'SK' if row.arpc_with_session_key else 'MK'} {row.script_key.value:<4} "
            f"{scripts[0]:<10} {scripts[1]:<6} {row.source}"
        )
    return "\n".join(lines)
