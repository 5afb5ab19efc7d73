"""Which usage goes with which algorithm and mode of use in a key block's header.

`fault` is asked of every block that comes from another party, before its key becomes one of ours. The
table is that of TR-31:2018 A.5.1 and X9.143:2021 clause 6.3.1, as far as it can be read from public
descriptions of it: the valid key attributes of AWS Payment Cryptography (docs.aws.amazon.com, "keys
validattributes") and the usages of github.com/openemv/tr31. Where these are silent the row is the
narrower reading. N, no restriction, goes with every usage of a symmetric key. Single DES (D) is left to
the three usages that terminals of old still have.
"""

from typing import Final

import msgspec

from hsm.key_block_header import Header


class UsageRule(msgspec.Struct, frozen=True):
    """One usage: what it is, and the algorithms and modes it goes with."""

    name: str
    algorithms: str
    modes: str


def _rules(*rows: tuple[str, str, str, str]) -> dict[str, UsageRule]:
    return {usage: UsageRule(name, algorithms, modes) for usage, name, algorithms, modes in rows}


# A AES, D DES, E elliptic curve, H HMAC, R RSA, S DSA, T Triple DES.
# B both ways, C MAC both, D decrypt, E encrypt, G generate, N any, S sign, V verify, X derive, Y variants.
RULES: Final = _rules(
    ("B0", "base derivation key", "TA", "XN"),
    ("B1", "initial DUKPT key", "TA", "XN"),
    ("B2", "base key variant key", "TA", "XYN"),
    ("B3", "key derivation key", "TA", "XN"),
    ("C0", "card verification key", "TA", "CGVN"),
    ("D0", "data key", "DTA", "BDEN"),
    ("D1", "asymmetric data key", "RE", "BDE"),
    ("D2", "decimalisation table key", "TA", "BDEN"),
    ("D3", "sensitive data key", "TA", "BDEN"),
    ("E0", "EMV master key, application cryptograms", "TA", "XN"),
    ("E1", "EMV master key, confidentiality", "TA", "XN"),
    ("E2", "EMV master key, integrity", "TA", "XN"),
    ("E3", "EMV master key, data authentication codes", "TA", "XN"),
    ("E4", "EMV master key, dynamic numbers", "TA", "XN"),
    ("E5", "EMV master key, card personalisation", "TA", "XN"),
    ("E6", "EMV master key, other", "TA", "XN"),
    ("E7", "EMV asymmetric key, PIN encryption", "RE", "BDE"),
    ("I0", "initialisation vector", "TA", "N"),
    ("K0", "key encryption key", "TA", "BDEN"),
    ("K1", "key block protection key", "TA", "BDEN"),
    ("K2", "asymmetric key of a TR-34 device", "R", "BDE"),
    ("K3", "asymmetric key, wrapping or agreement", "RE", "BDEX"),
    ("K4", "ISO 20038 key block protection key", "A", "BDEN"),
    ("M0", "MAC key, ISO 16609 algorithm 1", "T", "CGVN"),
    ("M1", "MAC key, ISO 9797-1 algorithm 1", "DT", "CGVN"),
    ("M2", "MAC key, ISO 9797-1 algorithm 2", "T", "CGVN"),
    ("M3", "MAC key, ISO 9797-1 algorithm 3", "T", "CGVN"),
    ("M4", "MAC key, ISO 9797-1 algorithm 4", "T", "CGVN"),
    ("M5", "MAC key, ISO 9797-1:1999 algorithm 5", "TA", "CGVN"),
    ("M6", "MAC key, CMAC", "TA", "CGVN"),
    ("M7", "HMAC key", "H", "CGVN"),
    ("M8", "MAC key, ISO 9797-1 algorithm 6", "TA", "CGVN"),
    ("P0", "PIN encryption key", "DTA", "BDEN"),
    ("P1", "PIN generation key", "TA", "GN"),
    ("S0", "asymmetric key, signature", "RES", "SV"),
    ("S1", "asymmetric key, certification", "RES", "SV"),
    ("S2", "asymmetric key, other", "RES", "SV"),
    ("V0", "PIN verification key, other", "TA", "CGVN"),
    ("V1", "PIN verification key, IBM 3624", "TA", "CGVN"),
    ("V2", "PIN verification key, PVV", "TA", "CGVN"),
    ("V3", "PIN verification key, X9.132 algorithm 1", "TA", "CGVN"),
    ("V4", "PIN verification key, X9.132 algorithm 2", "TA", "CGVN"),
    ("V5", "PIN verification key, X9.132 algorithm 3", "TA", "CGVN"),
)

# Optional blocks that belong to some usages: the id of an initial key, the derivations of a key.
_USAGES_OF_OPTIONAL: Final = {"IK": ("B1",), "DA": ("B3",)}


class HeaderFault(msgspec.Struct, frozen=True):
    """What is wrong: the element of `Header`, and a sentence. `str` gives the sentence."""

    element: str
    text: str

    def __str__(self) -> str:
        return self.text


def fault(header: Header) -> HeaderFault | None:
    """Why a block with this header is not taken from another party, or None.

    >>> print(fault(Header("B", "M3", "A", "C")))
    a key block of usage M3 is not for algorithm A
    """
    rule = RULES.get(header.usage)
    if rule is None:
        return HeaderFault("usage", f"a key block of unknown usage {header.usage}")
    named = f"a key block of usage {header.usage}"
    if header.algorithm not in rule.algorithms:
        return HeaderFault("algorithm", f"{named} is not for algorithm {header.algorithm}")
    if header.mode not in rule.modes:
        return HeaderFault("mode", f"{named} does not have mode of use {header.mode}")
    if header.key_version[0] == "c":
        return HeaderFault("key_version", "the key block holds a component of a key")
    if header.context == "1":
        return HeaderFault("context", "the key block is for storage where it was made")
    for identifier, _ in header.optional:
        usages = _USAGES_OF_OPTIONAL.get(identifier)
        if usages is not None and header.usage not in usages:
            return HeaderFault("optional", f"{named} does not have optional block {identifier}")
    return None
