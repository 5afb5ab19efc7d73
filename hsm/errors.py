"""What the vault refuses, as exceptions. None of them ever carries a key, a PIN or a PIN block.

A caller at the switch maps two of them: `PinBlockError` is answer 99, any other `VaultError` is 96.
"""


class VaultError(Exception):
    """The vault can not or may not do what was asked."""


class PinBlockError(VaultError):
    """A PIN block that does not open: its length, or control nibble, PIN length, digits or fill.

    It means a wrong key, a wrong PAN or a damaged message, never a wrong PIN (ISO 9564-1).
    """


class ReplayError(VaultError):
    """A DUKPT transaction counter that its device has used already, or gone past."""


class PinLengthError(PinBlockError):
    """A PIN block whose length digit is none of a PIN: 4 to 12."""


class PinFormatError(VaultError):
    """A PIN block format that is unknown, not read here, or may not become the one asked for."""


class KeyBlockError(VaultError):
    """A TR-31 block that is malformed, was changed, or was wrapped under another key."""


class KeyUsageError(VaultError):
    """A key offered for another purpose than its own (one key, one purpose)."""


class WeakKeyError(VaultError):
    """A DES key that should not exist: weak, all zero, or one of the kinds below; an AES key of zeros."""


class KeyLengthError(WeakKeyError):
    """A key of a length that its algorithm, its scheme or its purpose does not have."""


class KeyParityError(WeakKeyError):
    """A DES key with wrong parity: mistyped, or deciphered with another key or variant than its own."""


class MasqueradingKeyError(WeakKeyError):
    """A DES key with equal parts, which is a shorter one in disguise."""


class KeyTypeError(VaultError):
    """A key type code that is not in the table of the variant scheme."""


class KeySchemeError(VaultError):
    """A key scheme letter that is unknown, or not for this key."""


class PinError(VaultError):
    """A clear PIN that is none: it has 4 to 12 decimal digits."""


class PanError(VaultError):
    """A PAN or account number that is too short, too long or not of digits."""


class DecimalisationTableError(VaultError):
    """A decimalisation table of the wrong form, or one that tells too much about PINs."""
