"""The variant scheme of a local master key: twenty pairs of DES keys, one purpose a pair and variant.

What Racal and Thales devices call a variant LMK, and the older form in which their host commands carry
keys. The pairs here come of the same ceremony as the AES key of `hsm.lmk`: they are derived from it. Under
the public test LMK they are the published test set, so that others' clients and examples work.

A key under the LMK is text: a scheme letter, then the hex of the key's parts (8 bytes each), enciphered by
an LMK pair with two bytes changed:

* byte 0 of the pair is XORed with the *variant* of the key's type (`VARIANTS`, 1 to 9; 0 changes nothing);
* byte 8 is XORed with the *scheme variant* of the part's place, in schemes U and T.

    letter  key bytes  how each part of the key is enciphered, all ECB
    Z, none 8          Triple DES with the pair; text is written without the letter
    none    16         as X; old commands have it
    U       16         scheme variants A6, 5A
    T       24         scheme variants 6A, DE, 2B
    X, Y    16, 24     ANSI X9.17: the same pair for every part. Parts can be swapped: prefer U and T

Keys under a ZMK or TMK of double length have the same schemes, without a type's variant. Nothing but the
parity of the clear key tells that a cryptogram was deciphered under its own type: 1 in 65,536 wrong ones
passes for 16 bytes. Key blocks do not have that weakness.

Sources: pairs, variants, schemes and the codes up to 00A as observed in
github.com/nickntg/thalessimulatorlibrary (KeyTypeTable.vb, LMKStorage.vb, Variants.vb); the codes marked
`verified=False` are the field's common knowledge, without a source at hand.
"""

import re
from typing import ClassVar, Final, Self

import msgspec

from hsm import ciphers
from hsm.des_keys import des_key_fault, has_odd_parity, with_odd_parity
from hsm.errors import KeyLengthError, KeyParityError, KeySchemeError, KeyTypeError, VaultError
from hsm.lmk import Lmk, is_test_lmk

PAIRS: Final = 20
VARIANTS: Final = bytes.fromhex("00A65A6ADE2B50749CFA")

_DERIVATION_LABEL: Final = b"Tongbao variant LMK"
_CHECK_VALUE_LABEL: Final = b"Tongbao variant LMK check value"


class KeyType(msgspec.Struct, frozen=True):
    """What a key type code of three characters means: variant digit, then the code of a pair."""

    code: str
    names: str  # usages, as `hsm.keys` and the field name them
    pair: int  # index of the pair: 2 is LMK 04-05
    generated: str = "free"  # free, in authorised state, or never
    imported: str = "free"
    exported: str = "authorised"
    verified: bool = True

    @property
    def variant(self) -> int:
        """0 to 9."""
        return int(self.code[0])


# Whether generation, import and export need the authorised state: KeyTypeTable.vb, as above.
KEY_TYPES: Final = {
    row.code: row
    for row in (
        KeyType("000", "ZMK", 2, generated="authorised", imported="never", exported="never"),
        KeyType("001", "ZPK", 3),
        KeyType("002", "TMK, TPK, PVK", 7),
        # An initial key has no parity, and nothing else tells in this form whether a key opened.
        KeyType("302", "IK", 7, imported="never", exported="never", verified=False),
        KeyType("402", "CVK", 7),
        KeyType("003", "TAK", 8),
        KeyType("005", "PVK, not on us", 10, generated="never", verified=False),
        KeyType("405", "CVK, not on us", 10, generated="never", verified=False),
        KeyType("006", "WWK", 11),
        KeyType("007", "ZTK", 12, generated="never", verified=False),
        KeyType("008", "ZAK", 13),
        KeyType("009", "BDK, type 1", 14),
        KeyType("109", "MK-AC", 14),
        KeyType("209", "MK-SMI", 14),
        KeyType("309", "MK-SMC", 14),
        KeyType("409", "MK-DAC", 14),
        KeyType("509", "MK-DN", 14),
        KeyType("609", "BDK, type 2", 14, verified=False),
        KeyType("709", "MK-CVC3", 14, verified=False),
        KeyType("809", "BDK, type 3", 14, verified=False),
        KeyType("00A", "ZEK", 15),
        KeyType("00B", "DEK", 16, verified=False),
        KeyType("30B", "TEK", 16, verified=False),
        # The split of 002 in PCI HSM mode.
        KeyType("70D", "TPK", 18, verified=False),
        KeyType("80D", "TMK", 18, verified=False),
        KeyType("90D", "TKR", 18, verified=False),
    )
}

_PIN_PAIR: Final = 1  # LMK 02-03: PINs under the LMK
_TABLE_VARIANT: Final = 1  # on the same pair; no key type has it: decimalisation tables


class Scheme(msgspec.Struct, frozen=True):
    """How a key of one length is enciphered and written."""

    letter: str  # as written before the hex
    key_bytes: int
    part_variants: bytes = b""  # none: the same key for every part


SCHEMES: Final = {
    "Z": Scheme("", 8),
    "U": Scheme("U", 16, bytes.fromhex("A65A")),
    "T": Scheme("T", 24, bytes.fromhex("6ADE2B")),
    "X": Scheme("X", 16),
    "Y": Scheme("Y", 24),
}
_UNLABELLED: Final = {16: SCHEMES["Z"], 32: Scheme("", 16)}  # hex digits -> scheme
_HEX: Final = re.compile(r"[0-9A-F]+")


def encrypt_under(carrier: bytes, clear: bytes, scheme: str) -> str:
    """A clear key in a scheme (`U`, `T`, `X`, `Y`, `Z`, or `` as X without its letter) under a carrier.

    `carrier` is a clear ZMK or TMK of 16 bytes; in the schemes without variants 8 or 24 will do too.
    """
    row = Scheme("", 16) if scheme == "" else SCHEMES.get(scheme)
    if row is None:
        raise KeySchemeError("a key scheme is one of U, T, X, Y and Z")
    if len(clear) != row.key_bytes:
        raise KeyLengthError(f"scheme {scheme or 'X'} is for keys of {row.key_bytes} bytes")
    if not row.part_variants:
        return row.letter + ciphers.tdes_ecb_encrypt(carrier, clear).hex().upper()
    return (
        row.letter
        + "".join(
            ciphers.tdes_ecb_encrypt(
                part_key(carrier, variant), clear[8 * place : 8 * place + 8]
            ).hex()
            for place, variant in enumerate(row.part_variants)
        ).upper()
    )


def decrypt_under(carrier: bytes, text: str) -> bytes:
    """The clear key as deciphered, whatever came out: judge it by `hsm.des_keys.des_key_fault`."""
    row, cryptogram = read(text)
    if not row.part_variants:
        return ciphers.tdes_ecb_decrypt(carrier, cryptogram)
    return b"".join(
        ciphers.tdes_ecb_decrypt(part_key(carrier, variant), cryptogram[8 * place : 8 * place + 8])
        for place, variant in enumerate(row.part_variants)
    )


def read(text: str) -> tuple[Scheme, bytes]:
    """The scheme and the cryptogram of a key's text; needs no key."""
    letter = text[:1]
    digits = text[1:] if letter in SCHEMES else text
    if _HEX.fullmatch(digits) is None:
        raise KeySchemeError(
            "a key is a scheme letter U, T, X, Y or Z, or none, and upper-case hex"
        )
    row = SCHEMES.get(letter) or _UNLABELLED.get(len(digits))
    if row is None or len(digits) != 2 * row.key_bytes:
        raise KeyLengthError("the key's length is not that of its scheme")
    return row, bytes.fromhex(digits)


def part_key(carrier: bytes, variant: int) -> bytes:
    """The carrier with a scheme variant on byte 8."""
    if len(carrier) != 16:
        raise KeyLengthError("schemes U and T need a carrying key of 16 bytes")
    return carrier[:8] + bytes((carrier[8] ^ variant,)) + carrier[9:]


def key_type(code: str) -> KeyType:
    """The row of a key type code."""
    row = KEY_TYPES.get(code)
    if row is None:
        raise KeyTypeError("unknown key type")
    return row


class VariantLmk:
    """An LMK of twenty pairs. Like `hsm.lmk.Lmk` it has no public bytes.

    `check_value`, six hex digits, tells sets apart. It is ours (the first 3 bytes of HMAC-SHA-256 with all
    the pairs, in order, as the key): how devices reckon theirs is not published.
    """

    __slots__ = ("_pairs", "check_value")

    TEST: ClassVar["VariantLmk"]  # the published test set

    def __init__(self, pairs: tuple[bytes, ...]) -> None:
        if len(pairs) != PAIRS or any(len(pair) != 16 for pair in pairs):
            raise VaultError(f"a variant LMK has {PAIRS} pairs of 16 bytes")
        self._pairs = pairs
        self.check_value: Final = (
            ciphers.hmac_sha256(b"".join(pairs), _CHECK_VALUE_LABEL)[:3].hex().upper()
        )

    def __repr__(self) -> str:
        return f"VariantLmk({self.check_value})"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("an LMK is not pickled")

    @classmethod
    def of(cls, lmk: Lmk) -> "VariantLmk":
        """The pairs that go with an LMK: the published test set with the public test LMK, else derived."""
        return cls.TEST if is_test_lmk(lmk) else cls.derived(lmk)

    @classmethod
    def derived(cls, lmk: Lmk) -> Self:
        """The pairs of an LMK, by a KDF in counter mode (NIST SP 800-108 clause 4.1, one round a pair).

        The PRF is AES-CMAC with the LMK, over `00000001`, the label `Tongbao variant LMK`, `00`, the
        context (pair number 0 to 19, 1 byte; attempt, 1 byte), and `00000080`, the length in bits. Every
        byte gets odd parity. Attempt counts from 0 to the first key that `des_key_fault` lets pass.
        """
        return cls(tuple(derive_pair(lmk, number) for number in range(PAIRS)))

    # -- keys ---------------------------------------------------------------------------

    def encrypt_key(self, clear: bytes, key_type_code: str, scheme: str) -> str:
        """The text of a clear key of this type under the LMK."""
        return encrypt_under(self._carrier(key_type_code), clear, scheme)

    def decrypt_key(self, text: str, key_type_code: str) -> bytes:
        """The clear key; `KeyParityError` if what comes out has wrong parity, as under another type."""
        clear = decrypt_under(self._carrier(key_type_code), text)
        if not has_odd_parity(clear):
            raise KeyParityError("the key has wrong parity: another type's, or not under this LMK")
        return clear

    def _carrier(self, key_type_code: str) -> bytes:
        row = key_type(key_type_code)
        return self._with_variant(row.pair, row.variant)

    def _with_variant(self, pair: int, variant: int) -> bytes:
        key = self._pairs[pair]
        return bytes((key[0] ^ VARIANTS[variant],)) + key[1:]

    # -- PINs and decimalisation tables -----------------------------------------------------

    def encrypt_pin(self, pin: str, account: str, width: int) -> str:
        """A PIN for the host's store: `width` hex digits, as many for every PIN of one device.

        `width` is the longest PIN plus one, 5 to 13, a setting of the device; `account` the 12 rightmost
        digits of the PAN without its check digit. The plain text is the PIN filled with F. It goes through
        a Feistel network of ten rounds over the two halves of its bits (`feistel`), keyed by LMK 02-03 and
        bound to the account. Devices have a secret method of their own; hosts keep the field unread.
        """
        if not (4 <= len(pin) < width and pin.isascii() and pin.isdigit()):
            raise VaultError(f"a PIN has 4 to {width - 1} digits")
        value = feistel(self._pairs[_PIN_PAIR], int(pin.ljust(width, "F"), 16), account, width)
        return f"{value:0{width}X}"

    def decrypt_pin(self, text: str, account: str) -> str:
        """The PIN; `VaultError` where no PIN of this account comes out (host code 14)."""
        width = len(text)
        if _HEX.fullmatch(text) is None:
            raise VaultError("a PIN under the LMK is upper-case hex")
        value = feistel(self._pairs[_PIN_PAIR], int(text, 16), account, width, backwards=True)
        found = _FILLED_PIN.fullmatch(f"{value:0{width}X}")
        if found is None:
            raise VaultError("not a PIN of this account under this LMK")
        return found[1]

    def encrypt_decimalisation_table(self, table: str) -> str:
        """16 hex digits of a table of 16 decimal ones, under LMK 02-03 variant 1 (own choice)."""
        if not (len(table) == 16 and table.isascii() and table.isdigit()):
            raise VaultError("a decimalisation table has 16 decimal digits")
        key = self._with_variant(_PIN_PAIR, _TABLE_VARIANT)
        return ciphers.tdes_ecb_encrypt(key, bytes.fromhex(table)).hex().upper()

    def decrypt_decimalisation_table(self, text: str) -> str:
        """The table; `VaultError` where none comes out (host code 25)."""
        if len(text) != 16 or _HEX.fullmatch(text) is None:
            raise VaultError("an encrypted decimalisation table has 16 upper-case hex digits")
        key = self._with_variant(_PIN_PAIR, _TABLE_VARIANT)
        table = ciphers.tdes_ecb_decrypt(key, bytes.fromhex(text)).hex()
        if not table.isdecimal():
            raise VaultError("not a decimalisation table under this LMK")
        return table


_FILLED_PIN: Final = re.compile(r"([0-9]{4,12})F+")
_ROUNDS: Final = 10


def feistel(key: bytes, value: int, account: str, width: int, *, backwards: bool = False) -> int:
    """A permutation of the numbers of `width` hex digits, another for every key and account.

    The shape of FF1 (NIST SP 800-38G) with Triple DES: the number's bits fall in two halves, left L and
    right R; a round makes (R, L xor F(R)), and F is the low bits of a CBC MAC over `width` (1 byte), round
    (1 byte), account (6 bytes, BCD), half (8 bytes).
    """
    if not 5 <= width <= 13:
        raise VaultError("a PIN under the LMK has 5 to 13 digits")
    if not (len(account) == 12 and account.isascii() and account.isdigit()):
        raise VaultError("an account number has 12 digits")
    bits = 2 * width
    mask = (1 << bits) - 1
    bound = bytes.fromhex(account)
    cbc_mac = ciphers.tdes(key).cbc_mac

    def mix(number: int, half: int) -> int:
        block = bytes((width, number)) + bound + half.to_bytes(8, "big")
        return int.from_bytes(cbc_mac(block), "big") & mask

    left, right = value >> bits, value & mask
    if backwards:
        for number in reversed(range(_ROUNDS)):
            left, right = right ^ mix(number, left), left
    else:
        for number in range(_ROUNDS):
            left, right = right, left ^ mix(number, right)
    return left << bits | right


def derive_pair(lmk: Lmk, number: int) -> bytes:
    """See `VariantLmk.derived`."""
    cmac = ciphers.Aes(lmk._key).cmac  # noqa: SLF001 - the vault
    for attempt in range(256):
        context = bytes((number, attempt))
        pair = with_odd_parity(
            cmac(b"\0\0\0\1" + _DERIVATION_LABEL + b"\0" + context + b"\0\0\0\x80")
        )
        if des_key_fault(pair) is None:
            return pair
    raise AssertionError("256 weak keys in a row")


# The public test set of these devices (LMKStorage.vb, as above). Keys under it are public.
VariantLmk.TEST = VariantLmk(
    tuple(
        bytes.fromhex(pair)
        for pair in (
            "01010101010101017902CD1FD36EF8BA",
            "20202020202020203131313131313131",
            "40404040404040405151515151515151",
            "61616161616161617070707070707070",
            "80808080808080809191919191919191",
            "A1A1A1A1A1A1A1A1B0B0B0B0B0B0B0B0",
            "C1C1010101010101D0D0010101010101",
            "E0E0010101010101F1F1010101010101",
            "1C587F1C13924FEF0101010101010101",
            "01010101010101010101010101010101",
            "02020202020202020404040404040404",
            "07070707070707071010101010101010",
            "13131313131313131515151515151515",
            "16161616161616161919191919191919",
            "1A1A1A1A1A1A1A1A1C1C1C1C1C1C1C1C",
            "23232323232323232525252525252525",
            "26262626262626262929292929292929",
            "2A2A2A2A2A2A2A2A2C2C2C2C2C2C2C2C",
            "2F2F2F2F2F2F2F2F3131313131313131",
            "01010101010101010101010101010101",
        )
    )
)
