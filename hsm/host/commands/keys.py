"""Keys of every type: A0 makes them, A6 and A8 move them, BU tells their check values, BW changes their LMK.

A2 (print a component) is not here, since there is no printer, and A4 (a key from components that a host
sends) is not either: components are entered by custodians in a ceremony.

Layouts as observed in github.com/softwaregroup-bg/ut-codec-payshield (messages.json and its tests) and
github.com/nickntg/thalessimulatorlibrary; what only one of them or neither has is marked [unverified].
"""

from typing import Final

import msgspec

from hsm import check_values
from hsm.errors import VaultError
from hsm.host import key_forms as forms, vault as uses
from hsm.host.codes import HostError
from hsm.host.dispatch import Command
from hsm.host.dukpt import BDK_TYPES, read_initial_key
from hsm.host.fields import Fields
from hsm.host.key_forms import BLOCK, Attributes
from hsm.host.vault import HostVault
from hsm.keys import Algorithm, KeyUsage
from hsm.variant import KeyType, read
from hsm.vault import OpenKey

_BDK_KINDS: Final = dict(zip("123", BDK_TYPES, strict=True))
_LENGTH_FLAGS: Final = {"0": 8, "1": 16, "2": 24}


def generate(vault: HostVault, fields: Fields) -> bytes:
    """A0: a key, random or an initial key of DUKPT, under the LMK, and under a ZMK or TMK.

    Mode 1 (0 random, under the LMK; 1 also under another key; A and B the same with an initial key) · key type 3H
    (FFF: key block) · scheme under the LMK 1 (Z U T X Y; S) · in modes A and B: derivation 1 (0 DUKPT) · kind of
    BDK 1 (1 009, 2 609, 3 809, 4 AES) · BDK (32H, or scheme) · KSN without its counter 15H (16H of AES) · in modes
    1 and B: [`;` · flag 1 (0 ZMK, 1 TMK)] · ZMK or TMK (32H, or scheme) · scheme under it 1 (R and S: TR-31) ·
    [`%` · LMK id 2] · for FFF: `#` · usage 2 · algorithm 2 (D1 T2 T3 A1 A2 A3) · mode of use 1 · version 2 (00) ·
    exportability 1 (E N S) · count 2 · optional blocks (LB with a usage's name).
    Answer: key under the LMK · [key under ZMK or TMK] · check value 6H.

    A ZMK is made in the authorised state alone, and of the variant form under the LMK alone (29). A right that the usage does not have is left out of the header:
    ZMK and TMK are always N, a mode of use is narrowed to the usage's own. An initial key has key type 302, or
    usage B1. It has no parity, so in the variant form it goes to a terminal here (mode B) and can not be opened
    again; in a block it can.
    """
    mode = fields.choice("01AB")
    code = fields.text(3)
    scheme = fields.text(1)
    initial = read_initial(vault, fields, code) if mode in "AB" else None
    under = forms.read_carrier(fields) if mode in "1B" else None
    scheme_under = fields.text(1) if under else ""
    fields.lmk()
    attributes = forms.read_attributes(fields, with_algorithm=True)
    fields.end()
    forms.same_form(code, scheme)
    if (attributes is not None) is not (code == BLOCK):
        raise HostError("15")
    carrier = forms.open_carrier(vault, *under, code) if under else None
    if mode == "1" and code != BLOCK:  # an initial key's way out is mode B
        forms.require_authorised(vault, leaving(forms.key_type(code)))
    if initial is not None:
        made = initial if attributes is None else initial_block_key(initial, attributes)
    elif attributes is not None:
        made = make_block_key(vault, attributes, carrier)
    else:
        made = make_variant_key(vault, code, scheme)
    answer = forms.under_lmk(vault, made, code, scheme)
    if carrier is not None:
        forms.same_form(code, scheme_under)
        forms.require_carried(carrier, made, code)
        answer += forms.under_carrier(vault, carrier, made, scheme_under)
    return (answer + forms.check_digits(made)).encode()


def leaving(row: KeyType) -> str:
    """What a key just made needs to go under another key too: nothing, unless its type never leaves."""
    return "never" if row.exported == "never" else "free"


def make_variant_key(vault: HostVault, code: str, scheme: str) -> OpenKey:
    forms.require_authorised(vault, forms.key_type(code).generated)
    if scheme not in forms.SCHEME_BYTES:
        raise HostError("26")
    return make_key(vault, forms.TYPE_USAGES[code][0], forms.SCHEME_BYTES[scheme])


def read_initial(vault: HostVault, fields: Fields, code: str) -> OpenKey:
    if code not in ("302", BLOCK):
        raise HostError("04")
    fields.choice("0")
    kind = fields.choice("1234")
    text = fields.key(32)
    forms.same_form(code, text)
    use = uses.BDK
    if kind in _BDK_KINDS:
        use = msgspec.structs.replace(use, types=(_BDK_KINDS[kind],))
    bdk = vault.key(text, use)
    if (bdk.algorithm is Algorithm.AES) is not (kind == "4"):
        raise HostError("A7")
    return read_initial_key(fields, bdk)


def initial_block_key(initial: OpenKey, attributes: Attributes) -> OpenKey:
    if attributes.usage != "B1":
        raise HostError("A6")
    if attributes.algorithm != (initial.algorithm, len(initial.key)):
        raise HostError("A7")
    return forms.restricted(
        KeyUsage.IK,
        initial.algorithm,
        initial.key,
        attributes.mode,
        attributes.exportability,
    )


def make_key(vault: HostVault, usage: KeyUsage, length: int) -> OpenKey:
    """A random DES key of a length that the usage has (27)."""
    algorithm = Algorithm.DES if length == 8 else Algorithm.TDES
    key = vault.keys.random_key(algorithm, length)
    forms.check_length(usage, algorithm, key)
    return OpenKey(usage, algorithm, key)


def make_block_key(vault: HostVault, attributes: Attributes, carrier: OpenKey | None) -> OpenKey:
    assert attributes.algorithm is not None
    algorithm, length = attributes.algorithm
    usage = forms.usage_of(attributes.usage, algorithm, attributes.label, carrier)
    if usage is KeyUsage.ZMK and not vault.authorised:
        raise HostError("17")
    key = vault.keys.random_key(algorithm, length)
    forms.check_length(usage, algorithm, key)
    return forms.restricted(usage, algorithm, key, attributes.mode, attributes.exportability)


def import_key(vault: HostVault, fields: Fields) -> bytes:
    """A6: a key from a ZMK to the LMK.

    Key type 3H (FFF: key block) · ZMK (32H, or scheme) · key under it (16H, scheme, or R or S and a TR-31
    block of version B, D under AES) · scheme under the LMK 1 · [`%` · LMK id 2] · for FFF and a key without a
    header: `#` · usage 2 · mode of use 1 · version 2 · exportability 1 · count 2 · optional blocks.
    Answer: key under the LMK · check value 6H. 01 with both: the parity was wrong and has been set odd, which
    is what a wrong ZMK looks like.
    """
    code = fields.text(3)
    zmk = fields.key(32)
    text = fields.key(16)
    scheme = fields.text(1)
    fields.lmk()
    attributes = forms.read_attributes(fields, with_algorithm=False)
    fields.end()
    forms.same_form(code, scheme)
    if code != BLOCK:
        forms.require_authorised(vault, forms.key_type(code).imported)
    carrier = forms.open_carrier(vault, uses.ZMK_IN, zmk, code)
    if code != BLOCK:
        found, parity = forms.from_carrier(vault, carrier, text, forms.TYPE_USAGES[code])
    else:
        found, parity = import_block_key(vault, carrier, text, attributes)
    answer = forms.under_lmk(vault, found, code, scheme) + forms.check_digits(found)
    if not parity:
        raise HostError("01", answer.encode())
    return answer.encode()


def import_block_key(
    vault: HostVault, carrier: OpenKey, text: str, attributes: Attributes | None
) -> tuple[OpenKey, bool]:
    if text[0] in forms.BLOCK_SCHEMES:
        if attributes is not None:
            raise HostError("15")
        return forms.from_carrier(vault, carrier, text, ())
    if attributes is None:
        raise HostError("15")
    length = read(text.upper())[0].key_bytes
    algorithm = Algorithm.DES if length == 8 else Algorithm.TDES
    usage = forms.usage_of(attributes.usage, algorithm, attributes.label, carrier)
    found, parity = forms.from_carrier(vault, carrier, text, (usage,))
    return forms.restricted(
        usage, algorithm, found.key, attributes.mode, attributes.exportability
    ), parity


def export_key(vault: HostVault, fields: Fields) -> bytes:
    """A8: a key from the LMK to a ZMK or TMK, in the authorised state.

    Key type 3H (FFF: key block) · [`;` · flag 1 (0 ZMK, 1 TMK)] · ZMK or TMK (32H, or scheme) · key (16H, or
    scheme) · scheme under it 1 (R and S: TR-31; of a key block no other) · [`%` · LMK id 2] · [`&` ·
    exportability 1 of the sent block].
    Answer: key under the ZMK or TMK · check value 6H. AA: the key's header does not let it leave, or `&` asks
    for more than it has. A6: its usage does not go under this key.
    """
    code = fields.text(3)
    use, under = forms.read_carrier(fields)
    text = fields.key(16)
    scheme = fields.text(1)
    fields.lmk()
    asked = fields.choice("ENS", "AA") if fields.skip_if("&") else ""
    fields.end()
    if code != BLOCK:
        forms.require_authorised(vault, forms.key_type(code).exported)
    carrier = forms.open_carrier(vault, use, under, code)
    opened = forms.open_key(vault, text, code, "11")
    if code == BLOCK:
        forms.same_form(code, scheme)
        if opened.exportability == "N" or (opened.exportability, asked) == ("E", "S"):
            raise HostError("AA")
    elif scheme in forms.BLOCK_SCHEMES:
        opened = with_header(opened, code)
    forms.require_carried(carrier, opened, code)
    answer = forms.under_carrier(vault, carrier, opened, scheme, asked)
    return (answer + forms.check_digits(opened)).encode()


def with_header(opened: OpenKey, code: str) -> OpenKey:
    """A key of the variant scheme that leaves in a TR-31 block: its type must stand for one usage (28)."""
    (usage, *others) = forms.TYPE_USAGES[code]
    if others:
        raise HostError("28")
    return OpenKey(usage, opened.algorithm, opened.key, exportability="N")


def check_value(vault: HostVault, fields: Fields) -> bytes:
    """BU: the check value of a key.

    Key type code 2 (the pair's code, 00 to 0E; or variant and last digit, as 42 for 402; FF: see below) · key
    length flag 1 (0 single, 1 double, 2 triple, F key block) · key · [`;` · key type 3H] · [`;` · reserved 2 (00) ·
    check value type 1 (0: 16H, 1: 6H)].
    Answer: check value 16H or 6H; of other algorithms than DES as many digits as they have, at most 10.
    Of a single-length key 16H are refused (29): they help whoever tries all keys.
    """
    code, text = read_typed_key(fields)
    digits = 16
    if fields.skip_if(";"):
        if fields.text(2) != "00":
            raise HostError("15")
        digits = 6 if fields.choice("01") == "1" else 16
    fields.end()
    opened = forms.open_key(vault, text, code)
    return des_check_digits(opened, digits).encode()


def des_check_digits(opened: OpenKey, digits: int) -> str:
    if opened.algorithm not in (Algorithm.DES, Algorithm.TDES):
        return forms.check_digits(opened, digits)
    try:
        return check_values.tdes_check_value(opened.key, digits // 2).hex().upper()
    except VaultError:
        raise HostError("29") from None


def read_typed_key(fields: Fields) -> tuple[str, str]:
    """Key type code 2, length flag 1, key, and for FF `;` and a key type: how BU and BW begin."""
    short = fields.text(2)
    flag = fields.choice("012F", "05")
    if flag == "F":
        text = fields.key()
        if text[0] != "S":
            raise HostError("05")
    else:
        length = _LENGTH_FLAGS[flag]
        text = fields.key(2 * length)
        if text[0] in forms.BLOCK_SCHEMES or read(text.upper())[0].key_bytes != length:
            raise HostError("05")
    code = f"{short[0]}0{short[1]}"
    if short == "FF":
        if not fields.skip_if(";"):
            raise HostError("15")
        code = fields.text(3)
    return code, text


def new_lmk(vault: HostVault, fields: Fields) -> bytes:
    """BW: a key from the LMK before this one to this one.

    Key type code 2 · key length flag 1 · key · [`;` · key type 3H], as BU · [`;` · reserved 1 (0) · scheme
    under the LMK 1 (0: as it came) · reserved 1 (0)] · [`%` · LMK id 2] · [`!` · flag 1 (1: with its check value) ·
    check value type 1 (0: 16H, 1: 6H)] [unverified: the meaning of what follows `!`].
    Answer: key under the LMK · [check value]. 33: there is no former LMK here.
    """
    code, text = read_typed_key(fields)
    scheme = "0"
    if fields.skip_if(";"):
        scheme = fields.text(3)[1]
    fields.lmk()
    digits = 0
    if fields.skip_if("!"):
        given, kind = fields.choice("01"), fields.choice("01")
        digits = 0 if given == "0" else 16 if kind == "0" else 6
    fields.end()
    if vault.former is None:
        raise HostError("33")
    if scheme == "0":
        scheme = forms.scheme_of(text)
    opened = forms.open_key(vault.former, text, code)
    answer = forms.under_lmk(vault, opened, code, scheme)
    return (answer + (des_check_digits(opened, digits) if digits else "")).encode()


COMMANDS: Final = (
    Command("A0", generate, "Make a key", "生成密钥"),
    Command("A6", import_key, "Import a key from a ZMK", "从ZMK导入密钥"),
    Command(
        "A8", export_key, "Export a key to a ZMK or TMK", "向ZMK或TMK导出密钥", authorised=True
    ),
    Command("BU", check_value, "Check value of a key", "密钥校验值"),
    Command("BW", new_lmk, "Key from the former LMK to this one", "密钥由旧LMK转新LMK"),
)
