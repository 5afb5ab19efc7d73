"""Elements that are made of parts: DE 3, 22, 48, 53, 54, 60 and others, cut into named subfields.

What a family of dialects has in them is data, in `iso8583/subfields/`; this cuts and joins. Positions
count from 0 in the element as it is written: digits of BCD, bytes of anything else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from iso8583 import amount
from iso8583.contents import CONTENT
from iso8583.errors import DecodeError, EncodeError
from iso8583.subfields import ipm, iso1987, iso1993, iso2003, unionpay, visa
from iso8583.subfields.layout import Layout, Subfield, Tagged

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from iso8583.codes import Text
    from iso8583.dialects.table import Dialect
    from iso8583.message import Message

_FAMILIES: Final[dict[str, tuple[Layout | Tagged, ...]]] = {
    "unionpay_pos": unionpay.LAYOUTS,
    "visa": visa.LAYOUTS,
    "ipm": ipm.LAYOUTS,
    "ipm_ebcdic": ipm.LAYOUTS,
}
_STANDARDS: Final[dict[str, tuple[Layout | Tagged, ...]]] = {
    "0": iso1987.LAYOUTS,
    "1": iso1993.LAYOUTS,
    "2": iso2003.LAYOUTS,
}
TAGS_MAX: Final = 255


class Part(NamedTuple):
    """One subfield of a value: `secret` where it is a PAN or a key, to be shown only unmasked."""

    number: str
    names: Text
    value: str  # bytes as upper-case hex
    meaning: Text
    offset: int
    secret: bool = False

    def name(self, lang: str = "en") -> str:
        """The name, in Chinese with `lang` "zh"."""
        return self.names[lang.startswith("zh")]


def layouts(de: int, dialect: Dialect) -> list[Layout | Tagged]:
    """What a dialect may have in an element, the usual first; none where it is not composite."""
    family = _FAMILIES.get(dialect.family) or _STANDARDS.get(dialect.versions[0], ())
    return [layout for layout in family if layout.de == de]


def is_tagged(de: int, dialect: Dialect) -> bool:
    """Whether the element is a list of tags, of which there may be one."""
    return any(isinstance(layout, Tagged) for layout in layouts(de, dialect))


def parse(
    de: int, value: str | bytes, dialect: Dialect, message: Message | None = None
) -> list[Part]:
    """The subfields of a value, in order; none where the dialect has none in the element.

    `message` tells which layout is meant where an element has several (DE 48 of a settlement or of a
    batch upload). Raises DecodeError with the offset in the element.

    >>> from iso8583.dialects import registry
    >>> [part[0::2] for part in parse(60, "22000001000", registry.get("unionpay_pos"))]
    [('60.1', '22', 0), ('60.2', '000001', 2), ('60.3', '000', 8)]
    """
    parts, error = parse_partial(de, value, dialect, message)
    if error is not None:
        raise error
    return parts


def parse_partial(
    de: int, value: str | bytes, dialect: Dialect, message: Message | None = None
) -> tuple[list[Part], DecodeError | None]:
    """The subfields before the first error, and the error; of several layouts that which fits best."""
    octets = _octets(de, value, dialect)
    if isinstance(octets, DecodeError):
        return [], octets
    best: tuple[list[Part], DecodeError | None] = ([], None)
    for layout in layouts(de, dialect):
        if isinstance(layout, Layout) and not layout.is_of(message):
            continue
        found: list[Part] = []
        try:
            for part in _cut(layout, octets, _encoding(de, dialect)):
                found.append(part)  # noqa: PERF402 - what came before an error counts
        except DecodeError as error:
            if best == ([], None) or len(found) > len(best[0]):
                best = (found, error)
            continue
        return found, None
    return best


def build(
    de: int, values: Sequence[str], dialect: Dialect, message: Message | None = None
) -> str | bytes:
    """The value of subfields in order, groups one after the other; bytes where the dialect has bytes.

    Raises EncodeError naming the subfield whose value does not fit, or where no layout takes as many.

    >>> from iso8583.dialects import registry
    >>> build(90, ["0200", "000001", "0803101500", "00000000001", "0" * 11],
    ...       registry.get("iso1987_ascii"))
    '020000000108031015000000000000100000000000'
    """
    refused = EncodeError(de, "has no subfields in the dialect")
    encoding = _encoding(de, dialect)
    row = dialect.element(de)
    for layout in layouts(de, dialect):
        if isinstance(layout, Tagged) or not layout.is_of(message):
            continue
        try:
            octets = _join(layout, values, encoding)
        except (EncodeError, DecodeError) as error:
            reason = error.reason
            refused = EncodeError(de, reason) if refused.reason.startswith("has") else refused
            continue
        return octets if row is not None and row.content == "b" else octets.decode(encoding)
    raise refused


# -- cutting -------------------------------------------------------------------------------------


def _encoding(de: int, dialect: Dialect) -> str:
    """How text in the element is written, as far as widths are concerned."""
    row = dialect.element(de)
    return "gbk" if row is not None and row.encoding == "gbk" else "latin-1"


def _octets(de: int, value: str | bytes, dialect: Dialect) -> bytes | DecodeError:
    if isinstance(value, bytes):
        return value
    try:
        return value.encode(_encoding(de, dialect))
    except UnicodeError:
        return DecodeError(de, 0, "characters that the element can not have")


def _cut(layout: Layout | Tagged, octets: bytes, encoding: str) -> Iterator[Part]:
    return (
        _cut_tagged(layout, octets)
        if isinstance(layout, Tagged)
        else _cut_layout(layout, octets, encoding)
    )


def _cut_layout(layout: Layout, octets: bytes, encoding: str) -> Iterator[Part]:
    at, groups = 0, 0
    for number, part in enumerate(layout.subfields):
        if number == layout.group_at:
            break
        if at == len(octets) and number >= layout.least:
            return
        found, at = _part(layout, part, octets, at, encoding, "")
        yield found
    group = layout.subfields[layout.group_at :] if layout.group_at >= 0 else ()
    while group and at < len(octets) and groups < layout.groups_max:
        currency = ""
        for part in group:
            found, at = _part(layout, part, octets, at, encoding, currency)
            currency = found.value if part.role == "currency" else currency
            yield found
        groups += 1
    if at < len(octets):
        raise DecodeError(layout.de, at, f"{len(octets) - at} more than its subfields have")
    if group and groups < layout.least:
        raise DecodeError(layout.de, at, "no subfields")


def _part(
    layout: Layout, part: Subfield, octets: bytes, at: int, encoding: str, currency: str
) -> tuple[Part, int]:
    """One subfield and where the next begins."""
    de, left = layout.de, len(octets) - at
    end, after = at + part.size, at + part.size
    if part.until:
        found = octets.find(part.until.encode(), at, at + part.size + 1)
        if found < 0:
            raise DecodeError(de, at, f"{part.number}: no {part.until} within {part.size}")
        end, after = found, found + 1
    elif part.rest:
        end = after = min(end, len(octets))
    elif left < part.size:
        raise DecodeError(de, at, f"{part.number}: needs {part.size}, {left} left")
    value = _value(de, part, octets[at:end], at, encoding)
    return Part(
        part.number, part.names, value, _meaning(part, value, currency), at, part.secret
    ), after


def _value(de: int, part: Subfield, octets: bytes, at: int, encoding: str) -> str:
    if part.content == "b":
        return octets.hex().upper()
    try:
        value = octets.decode(encoding)
    except UnicodeError:
        raise DecodeError(de, at, f"{part.number}: a character is cut") from None
    is_content, reason = CONTENT[part.content]
    if not is_content(value) or not (value.isascii() or part.content == "ans"):
        raise DecodeError(de, at, f"{part.number}: {reason}")
    if part.is_always and value != part.is_always:
        raise DecodeError(de, at, f"{part.number}: not {part.is_always}")
    return value


def _meaning(part: Subfield, value: str, currency: str) -> Text:
    if part.codes is not None:
        return part.codes.get(value, ("", ""))
    if part.role == "currency" and amount.is_currency(value):
        letters = amount.CURRENCIES[value][0]
        return letters, letters
    if part.role == "amount" and value.isdigit():
        code = currency or part.currency
        if amount.is_currency(code):
            text = f"{amount.format_minor(int(value), code)} {amount.CURRENCIES[code][0]}"
            return text, text
    return "", ""


def _cut_tagged(layout: Tagged, octets: bytes) -> Iterator[Part]:
    """Tag, length, value, over and over, all characters."""
    de, at, head, found = layout.de, 0, layout.tag + layout.length, 0
    while at < len(octets):
        tag, count = octets[at : at + layout.tag], octets[at + layout.tag : at + head]
        if len(count) < layout.length or not (tag + count).isdigit():
            raise DecodeError(
                de, at, f"no tag of {layout.tag} digits and length of {layout.length}"
            )
        found += 1
        if found > TAGS_MAX:
            raise DecodeError(de, at, f"more than {TAGS_MAX} tags")
        end = at + head + int(count)
        if end > len(octets):
            reason = (
                f"{layout.title} {tag.decode()}: needs {int(count)}, {len(octets) - at - head} left"
            )
            raise DecodeError(de, at + head, reason)
        name = tag.decode()
        names = layout.names.get(name, (f"{layout.title} {name}", f"{layout.title} {name}"))
        value = octets[at + head : end].decode("latin-1")
        yield Part(name, names, value, ("", ""), at + head)
        at = end


# -- joining -------------------------------------------------------------------------------------


def _join(layout: Layout, values: Sequence[str], encoding: str) -> bytes:
    subfields = list(layout.subfields)
    if layout.group_at >= 0:
        group = subfields[layout.group_at :]
        while len(subfields) < len(values):
            subfields += group
    if not layout.least <= len(values) <= len(subfields):
        raise EncodeError(layout.de, f"{len(values)} values for {len(subfields)} subfields")
    octets = b"".join(
        _written(layout.de, part, value, encoding)
        for part, value in zip(subfields, values, strict=False)
    )
    if [part.value for part in _cut(layout, octets, encoding)] != list(values):
        raise EncodeError(layout.de, "would be read as other subfields")
    return octets


def _written(de: int, part: Subfield, value: str, encoding: str) -> bytes:
    try:
        octets = bytes.fromhex(value) if part.content == "b" else value.encode(encoding)
    except ValueError:
        raise EncodeError(de, f"{part.number}: wants {part.format}") from None
    variable = part.rest or bool(part.until)
    if len(octets) > part.size if variable else len(octets) != part.size:
        raise EncodeError(de, f"{part.number}: wants {part.format}")
    return octets + part.until.encode()
