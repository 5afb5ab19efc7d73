"""The dialects by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from iso8583.dialects.variants import ALL

if TYPE_CHECKING:
    from iso8583.dialects.table import Dialect

_DIALECTS: Final = {dialect.name: dialect for dialect in ALL}
assert len(_DIALECTS) == len(ALL), "dialect names are unique"


def get(name: str) -> Dialect:
    """The dialect of that name; raises LookupError naming those there are."""
    dialect = _DIALECTS.get(name)
    if dialect is None:
        raise LookupError(f"no dialect {name!r}; there are {', '.join(_DIALECTS)}")
    return dialect


def names() -> tuple[str, ...]:
    """All names, bases before their variants: the order in which the inspector tries them."""
    return tuple(_DIALECTS)
