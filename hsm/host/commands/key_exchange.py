"""Keys of one type each, made for a partner or a terminal, or moved between the LMK and a ZMK or TMK.

The older commands beside A0, A6 and A8. All take the key that carries in either form: of the variant
scheme, or `S` and a block, and then the key that is carried has the same form under the LMK. After the keys may
stand

    `;` · scheme under the ZMK or TMK 1 · scheme under the LMK 1 · check value type 1 (0: 16H, 1: 6H)

where a scheme of 0 is the default: the scheme in which the key came, or U (S) for a key that is made. The
devices' own default for a key that is made is a single-length one; that is refused here but for MAC keys
and PIN keys of terminals, and never the default. Without `;` the check value has 16H, 6H where the key is
not Triple DES.

A key that is taken in with wrong parity is answered with 01 and all the data: see A6. Whatever leaves the
LMK needs the authorised state, but for keys just made.

Layouts as observed in github.com/nickntg/thalessimulatorlibrary.
"""

from typing import Final

import msgspec

from hsm.host import key_forms as forms, vault as uses
from hsm.host.codes import HostError
from hsm.host.commands.keys import des_check_digits, make_block_key, make_key, with_header
from hsm.host.dispatch import Command
from hsm.host.fields import Fields
from hsm.host.key_forms import BLOCK
from hsm.host.vault import HostVault, KeyUse


class Schemes(msgspec.Struct, frozen=True):
    """What stands after `;`; "" is the default."""

    under_carrier: str = ""
    under_lmk: str = ""
    digits: int = 16


def read_schemes(fields: Fields) -> Schemes:
    if not fields.skip_if(";"):
        return Schemes()
    under_carrier, under_lmk = (fields.text(1).replace("0", "") for _ in range(2))
    return Schemes(under_carrier, under_lmk, 6 if fields.choice("01") == "1" else 16)


def code_for(text: str, code: str) -> str:
    """The key type, or FFF where the carrying key is in a block."""
    return BLOCK if text[0] == "S" else code


# -- in and out --------------------------------------------------------------------------------


def take_in(vault: HostVault, fields: Fields, code: str, bare: int = 16) -> bytes:
    zmk, text = fields.key(32), fields.key(bare)
    schemes = read_schemes(fields)
    fields.end()
    usages = forms.TYPE_USAGES[code]
    code = code_for(zmk, code)
    carrier = forms.open_carrier(vault, uses.ZMK_IN, zmk, code)
    found, parity = forms.from_carrier(vault, carrier, text, usages)
    forms.require_carried(carrier, found, code)
    scheme = schemes.under_lmk or default_scheme(text, code)
    answer = forms.under_lmk(vault, found, code, scheme) + des_check_digits(found, schemes.digits)
    if not parity:
        raise HostError("01", answer.encode())
    return answer.encode()


def default_scheme(text: str, code: str) -> str:
    if code == BLOCK:
        return "S"
    return "U" if text[0] in forms.BLOCK_SCHEMES else forms.scheme_of(text)


def send_out(
    vault: HostVault, fields: Fields, code: str, bare: int = 16, use: KeyUse = uses.ZMK_OUT
) -> bytes:
    under, text = fields.key(32), fields.key(bare)
    schemes = read_schemes(fields)
    fields.end()
    usages = forms.TYPE_USAGES[code]
    code = code_for(under, code)
    carrier = forms.open_carrier(vault, use, under, code)
    opened = forms.open_key(vault, text, code, "11")
    scheme = schemes.under_carrier or forms.scheme_of(text)
    if code == BLOCK:
        forms.same_form(code, scheme)
        if opened.usage not in usages:
            raise HostError("A6")
        if opened.exportability == "N":
            raise HostError("AA")
    elif scheme in forms.BLOCK_SCHEMES:
        opened = with_header(opened, code)
    forms.require_carried(carrier, opened, code)
    answer = forms.under_carrier(vault, carrier, opened, scheme)
    return (answer + des_check_digits(opened, schemes.digits)).encode()


def zpk_in(vault: HostVault, fields: Fields) -> bytes:
    """FA: a ZPK from a ZMK to the LMK.

    ZMK (32H, or scheme) · ZPK under it (16H, scheme, or R or S and a TR-31 block) · [schemes].
    Answer: ZPK under the LMK · check value.
    """
    return take_in(vault, fields, "001")


def zpk_out(vault: HostVault, fields: Fields) -> bytes:
    """GC: a ZPK from the LMK to a ZMK, in the authorised state.

    ZMK (32H, or scheme) · ZPK (16H, or scheme) · [schemes]. Answer: ZPK under the ZMK · check value.
    """
    return send_out(vault, fields, "001")


def terminal_key_in(vault: HostVault, fields: Fields) -> bytes:
    """FC: a TMK, TPK or PVK from a ZMK to the LMK; fields and answer as FA."""
    return take_in(vault, fields, "002")


def terminal_key_out(vault: HostVault, fields: Fields) -> bytes:
    """FE: a TMK, TPK or PVK from the LMK to a ZMK, in the authorised state; fields and answer as GC."""
    return send_out(vault, fields, "002")


def zone_key_in(vault: HostVault, fields: Fields) -> bytes:
    """FK: a ZEK or ZAK from a ZMK to the LMK: flag 1 (0 ZEK, 1 ZAK), then fields and answer as FA."""
    return take_in(vault, fields, zone_type(fields))


def zone_key_out(vault: HostVault, fields: Fields) -> bytes:
    """FM: a ZEK or ZAK from the LMK to a ZMK, in the authorised state: flag 1 (0 ZEK, 1 ZAK), then as GC."""
    return send_out(vault, fields, zone_type(fields))


def tak_in(vault: HostVault, fields: Fields) -> bytes:
    """MI: a TAK from a ZMK to the LMK; fields and answer as FA. In a block it goes under no ZMK (A6)."""
    return take_in(vault, fields, "003")


def tak_out(vault: HostVault, fields: Fields) -> bytes:
    """MG: a TAK from the LMK to a ZMK, in the authorised state; as GC. In a block it does not leave (AA)."""
    return send_out(vault, fields, "003")


def tak_to_terminal(vault: HostVault, fields: Fields) -> bytes:
    """AG: a TAK from the LMK to a TMK, in the authorised state.

    TMK (32H, or scheme) · TAK (16H, or scheme) · [schemes]. Answer: TAK under the TMK · check value.
    """
    return send_out(vault, fields, "003", use=uses.TMK_OUT)


def bdk_in(vault: HostVault, fields: Fields) -> bytes:
    """DW: a BDK from a ZMK to the LMK; fields and answer as FA, the BDK 32H, or scheme."""
    return take_in(vault, fields, "009", 32)


def bdk_out(vault: HostVault, fields: Fields) -> bytes:
    """DY: a BDK from the LMK to a ZMK, in the authorised state; as GC, the BDK 32H, or scheme."""
    return send_out(vault, fields, "009", 32)


def zone_type(fields: Fields) -> str:
    return "00A" if fields.choice("01") == "0" else "008"


# -- made for somebody ------------------------------------------------------------------------


def make_for(
    vault: HostVault, fields: Fields, code: str, use: KeyUse, *, with_check_value: bool
) -> bytes:
    under = fields.key(32)
    schemes = read_schemes(fields)
    fields.lmk()
    attributes = forms.read_attributes(fields, with_algorithm=True)
    fields.end()
    usage = forms.TYPE_USAGES[code][0]
    several = len(forms.TYPE_USAGES[code]) > 1
    code = code_for(under, code)
    default = "S" if code == BLOCK else "U"
    under_carrier, under_lmk = schemes.under_carrier or default, schemes.under_lmk or default
    forms.same_form(code, under_carrier, under_lmk)
    if (attributes is not None) is not (code == BLOCK and several):
        raise HostError("15")
    carrier = forms.open_carrier(vault, use, under, code)
    if attributes is not None:
        made = make_block_key(vault, attributes, carrier)
    elif code == BLOCK:
        made = make_key(vault, usage, 16)
    elif under_lmk not in forms.SCHEME_BYTES:
        raise HostError("26")
    else:
        made = make_key(vault, usage, forms.SCHEME_BYTES[under_lmk])
    forms.require_carried(carrier, made, code)
    answer = forms.under_carrier(vault, carrier, made, under_carrier)
    answer += forms.under_lmk(vault, made, code, under_lmk)
    if with_check_value:
        answer += des_check_digits(made, schemes.digits)
    return answer.encode()


def new_terminal_key(vault: HostVault, fields: Fields) -> bytes:
    """HC: a new TMK, TPK or PVK under the LMK and under the terminal's present TMK.

    TMK (32H, or scheme) · [schemes] · in the block form: [`%` · LMK id 2] · `#` and attributes as A0.
    Answer: key under the TMK · key under the LMK.
    """
    return make_for(vault, fields, "002", uses.TMK_OUT, with_check_value=False)


def new_tak(vault: HostVault, fields: Fields) -> bytes:
    """HA: a new TAK under the LMK and under a TMK.

    TMK (32H, or scheme) · [schemes]. Answer: TAK under the TMK · TAK under the LMK.
    """
    return make_for(vault, fields, "003", uses.TMK_OUT, with_check_value=False)


def new_zpk(vault: HostVault, fields: Fields) -> bytes:
    """IA: a new ZPK under the LMK and under a ZMK.

    ZMK (32H, or scheme) · [schemes]. Answer: ZPK under the ZMK · ZPK under the LMK · check value.
    """
    return make_for(vault, fields, "001", uses.ZMK_OUT, with_check_value=True)


def new_zone_key(vault: HostVault, fields: Fields) -> bytes:
    """FI: a new ZEK or ZAK under the LMK and under a ZMK: flag 1 (0 ZEK, 1 ZAK), then as IA."""
    return make_for(vault, fields, zone_type(fields), uses.ZMK_OUT, with_check_value=True)


COMMANDS: Final = (
    Command("FA", zpk_in, "ZPK from a ZMK to the LMK", "ZPK由ZMK转LMK"),
    Command("GC", zpk_out, "ZPK from the LMK to a ZMK", "ZPK由LMK转ZMK", authorised=True),
    Command("FC", terminal_key_in, "TMK, TPK or PVK from a ZMK", "TMK、TPK或PVK由ZMK转LMK"),
    Command(
        "FE",
        terminal_key_out,
        "TMK, TPK or PVK to a ZMK",
        "TMK、TPK或PVK由LMK转ZMK",
        authorised=True,
    ),
    Command("FK", zone_key_in, "ZEK or ZAK from a ZMK to the LMK", "ZEK或ZAK由ZMK转LMK"),
    Command(
        "FM",
        zone_key_out,
        "ZEK or ZAK from the LMK to a ZMK",
        "ZEK或ZAK由LMK转ZMK",
        authorised=True,
    ),
    Command("MI", tak_in, "TAK from a ZMK to the LMK", "TAK由ZMK转LMK"),
    Command("MG", tak_out, "TAK from the LMK to a ZMK", "TAK由LMK转ZMK", authorised=True),
    Command("AG", tak_to_terminal, "TAK from the LMK to a TMK", "TAK由LMK转TMK", authorised=True),
    Command("DW", bdk_in, "BDK from a ZMK to the LMK", "BDK由ZMK转LMK"),
    Command("DY", bdk_out, "BDK from the LMK to a ZMK", "BDK由LMK转ZMK", authorised=True),
    Command("HC", new_terminal_key, "New TMK, TPK or PVK under a TMK", "在TMK下生成TMK、TPK或PVK"),
    Command("HA", new_tak, "New TAK under a TMK", "在TMK下生成TAK"),
    Command("IA", new_zpk, "New ZPK under a ZMK", "在ZMK下生成ZPK"),
    Command("FI", new_zone_key, "New ZEK or ZAK under a ZMK", "在ZMK下生成ZEK或ZAK"),
)
