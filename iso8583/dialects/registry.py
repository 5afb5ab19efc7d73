"""The dialects by name: ours, and those that a node's configuration brings (`add`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from iso8583.dialects.base24 import BASE24
from iso8583.dialects.ipm import IPM, IPM_EBCDIC, IPM_EBCDIC_HEX, IPM_HEX
from iso8583.dialects.iso1987_ascii import (
    ISO1987_ASCII,
    ISO1987_ASCII_BINARY_HEX,
    ISO1987_ASCII_HEX,
)
from iso8583.dialects.iso1987_binary import (
    ISO1987_BINARY,
    ISO1987_BINARY_FILLER_LEFT,
    ISO1987_BINARY_KEY_16,
)
from iso8583.dialects.iso1987_ebcdic import (
    ISO1987_EBCDIC,
    ISO1987_EBCDIC_HEX,
    ISO1987_EBCDIC_PREFIX_BCD,
)
from iso8583.dialects.iso1993 import (
    ISO1993_ASCII,
    ISO1993_ASCII_HEX,
    ISO1993_BINARY,
    ISO1993_BINARY_FILLER_RIGHT,
    ISO1993_EBCDIC,
)
from iso8583.dialects.iso2003 import ISO2003_BINARY
from iso8583.dialects.unionpay_pos import UNIONPAY_POS
from iso8583.dialects.variants import VARIANTS
from iso8583.dialects.visa import VISA

if TYPE_CHECKING:
    from iso8583.dialects.table import Dialect

# Bases before their variants, terminals before hosts: the order in which the inspector tries them.
SHIPPED: Final[tuple[Dialect, ...]] = (
    UNIONPAY_POS,
    ISO1987_ASCII,
    ISO1987_ASCII_HEX,
    *VARIANTS,
    ISO1987_BINARY,
    ISO1987_EBCDIC,
    ISO1993_ASCII,
    ISO1993_BINARY,
    ISO1993_EBCDIC,
    ISO2003_BINARY,
    BASE24,
    VISA,
    IPM,
    IPM_EBCDIC,
    ISO1987_ASCII_BINARY_HEX,
    ISO1987_BINARY_FILLER_LEFT,
    ISO1987_BINARY_KEY_16,
    ISO1987_EBCDIC_HEX,
    ISO1987_EBCDIC_PREFIX_BCD,
    ISO1993_ASCII_HEX,
    ISO1993_BINARY_FILLER_RIGHT,
    IPM_HEX,
    IPM_EBCDIC_HEX,
)
ADDED_MAX: Final = 64
_DIALECTS: Final = {dialect.name: dialect for dialect in SHIPPED}
assert len(_DIALECTS) == len(SHIPPED), "dialect names are unique"


def get(name: str) -> Dialect:
    """The dialect of that name; raises LookupError naming those there are."""
    dialect = _DIALECTS.get(name)
    if dialect is None:
        raise LookupError(f"no dialect {name!r}; there are {', '.join(_DIALECTS)}")
    return dialect


def is_known(name: str) -> bool:
    """Whether there is a dialect of that name in this process."""
    return name in _DIALECTS


def names() -> tuple[str, ...]:
    """All names, bases before their variants: the order in which the inspector tries them."""
    return tuple(_DIALECTS)


def added() -> tuple[Dialect, ...]:
    """Those that were added in this process."""
    return tuple(_DIALECTS.values())[len(SHIPPED) :]


def add(dialect: Dialect) -> None:
    """Make a dialect known in this process, as when the configuration names its file.

    The same table again changes nothing. Raises ValueError where the name means another table
    already, or `ADDED_MAX` were added.
    """
    known = _DIALECTS.get(dialect.name)
    if known == dialect:
        return
    if known is not None:
        raise ValueError(f"there is a dialect {dialect.name} already")
    if len(_DIALECTS) - len(SHIPPED) >= ADDED_MAX:
        raise ValueError(f"more than {ADDED_MAX} dialects were added")
    _DIALECTS[dialect.name] = dialect
