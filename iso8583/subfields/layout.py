"""What stands inside an element, as data: subfields of fixed widths, in order, some in groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from iso8583.codes import Text
from iso8583.dialects.table import Content

if TYPE_CHECKING:
    from iso8583.message import Message


class Subfield(msgspec.Struct, frozen=True):
    """One subfield: number, names, content and size as in a dialect's row.

    `codes` is what its values mean. `rest` takes what is left, at most `size`; `until` ends it at a
    character that is no part of it. `is_always` is the only value it can have. An amount is in the
    currency that stands before it in its group, or in `currency`. `secret` is a PAN or a key.
    """

    number: str
    names: Text
    content: Content
    size: int
    codes: dict[str, Text] | None = None
    rest: bool = False
    until: str = ""
    is_always: str = ""
    role: Literal["", "currency", "amount"] = ""
    currency: str = ""
    secret: bool = False

    @property
    def format(self) -> str:
        """The standard's notation.

        >>> Subfield("60.2", ("batch", "批次号"), "n", 6).format
        'n 6'
        """
        return f"{self.content}{'..' if self.rest or self.until else ' '}{self.size}"

    def name(self, lang: str = "en") -> str:
        """The name, in Chinese with `lang` "zh"."""
        return self.names[lang.startswith("zh")]


class Layout(msgspec.Struct, frozen=True):
    """The subfields of one use of an element.

    A value may end after any subfield from the `least`th on; of a layout that is a group, so many
    groups at least. From `group_at` on (none where it is -1) they come again, `groups_max` times.
    `mtis` are beginnings of the MTIs that have it, version left out (`"32"` of 0320 and 0330), and
    `managements` the DE 60.3; all have it where these are empty.
    """

    de: int
    titles: Text
    subfields: tuple[Subfield, ...]
    least: int = 1
    group_at: int = -1
    groups_max: int = 1
    mtis: tuple[str, ...] = ()
    managements: tuple[str, ...] = ()

    def is_of(self, message: Message | None) -> bool:
        """Whether a message of this kind has it; unknown without one: yes."""
        if message is None:
            return True
        mti, private = message.get(0), message.get(60)
        if self.mtis and isinstance(mti, str) and not mti[1:].startswith(self.mtis):
            return False
        return not (
            self.managements and isinstance(private, str) and private[8:11] not in self.managements
        )


class Tagged(msgspec.Struct, frozen=True):
    """Tag and length in digits of so many characters, then the value, over and over."""

    de: int
    title: str
    tag: int
    length: int
    names: dict[str, Text]
