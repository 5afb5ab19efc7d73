"""A codec of messages of our page that writes and reads them in a link's form. Pure.

`FormCodec` has what a link asks of a `Codec`: `encode` and `decode`. What it writes begins with the
form's header, `unsigned_bytes` wide, which no MAC covers. A management request that was read carries
that header under the key `HEADER`, so that its answer can swap and echo what the header's rules say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import structlog

from iso8583.codec import Codec, codec_for
from iso8583.errors import DecodeError, EncodeError
from switch.acquirers.forms import HEADER, ORIGINAL, PLACE, UNKNOWN_CODE, form_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iso8583.message import Message
    from switch.acquirers.forms import Form, HeaderField, TypeRow
    from switch.reference import Link

_log = structlog.get_logger(__name__)

_KEY_CHANGE: Final = "101"


def codec_of(link: Link) -> Codec | FormCodec:
    """The codec of a link. Where it has no form that is its dialect's own."""
    form = form_of(link.form)
    codec = codec_for(link.dialect)
    return codec if form is None else FormCodec(form, codec, link.acquirer)


class FormCodec:
    """Messages of our page out, theirs in, and back."""

    def __init__(self, form: Form, codec: Codec, acquirer: str) -> None:
        self.form: Final = form
        self.unsigned_bytes: Final = form.header_bytes
        self._codec: Final = codec
        self._acquirer: Final = acquirer
        self._rows: Final = {row.de: row for row in codec.dialect.elements}
        self._header: Final = _Header(form)
        self._elements: Final = {mti: frozenset((0, *of)) for mti, of in form.elements.items()}
        both = list(form.mtis.items())
        both += [(_answer(ours), _answer(theirs)) for ours, theirs in both]
        self._their_mti: Final = dict(both)
        self._our_mti: Final = {theirs: ours for ours, theirs in both}
        self._types: Final = {(row.mti, row.code, row.condition): row for row in form.types}
        self._our_code: Final = _codes_back(form)
        self._values: Final = {de: _longest_first(table) for de, table in form.values.items()}
        self._values_back: Final = {
            de: _longest_first({theirs: ours for ours, theirs in table.items()})
            for de, table in form.values.items()
        }
        self._compose: Final = {de: PLACE.split(text) for de, text in form.compose.items()}

    @property
    def key_in_hex(self) -> bool:
        """Whether a key that is sent must be hex under the ZMK: the host's element has bytes."""
        fields = self.form.key
        return fields is not None and self._rows[fields.key].content == "b"

    # -- ours to theirs -------------------------------------------------------------------------

    def encode(self, message: Message) -> bytes:
        """Header and message. Raises EncodeError where the form has no such message, or no place for
        what it says."""
        ours = dict(message)
        answered = ours.pop(HEADER, b"")
        mac = ours.pop(64, None) or ours.pop(128, None)
        mti = str(ours[0])
        theirs = self._theirs(mti, ours)
        allowed = self._elements.get(_request(mti))
        if allowed is None:
            raise EncodeError(0, f"the link's form has no {_request(mti)}0")
        wire = {de: theirs[de] for de in sorted(allowed.intersection(theirs))}
        if mac is not None:
            last = 128 if self.form.mac_element == "128" or max(wire) > 64 else 64
            wire[last] = mac
        body = self._codec.encode(wire)
        return (
            self._header.build(len(body), answered if isinstance(answered, bytes) else b"") + body
        )

    def _theirs(self, mti: str, ours: Message) -> Message:
        theirs = dict(ours)
        theirs[0] = self._their_mti.get(mti[:3], mti[:3]) + mti[3]
        typed = self._typed(mti, ours, theirs)
        for de, table in self._values.items():
            if de in ours and not (typed and de == 25):
                theirs[de] = _replaced(str(ours[de]), table)
        if 39 in ours:
            theirs[39] = self.form.codes_out.get(str(ours[39]), ours[39])
        if 90 in ours:
            theirs[90] = self._original(str(ours[90]))
        if ours.get(70) == _KEY_CHANGE and 48 in ours and self.form.key is not None:
            del theirs[48]
            theirs |= self._key_fields(str(ours[48]))
        for de, parts in self._compose.items():
            composed = _composed(parts, ours)
            if composed is not None:
                theirs[de] = composed
        for de, to in self.form.moves.items():
            if de in theirs:
                theirs[to] = theirs.pop(de)
        return theirs

    def _typed(self, mti: str, ours: Message, theirs: Message) -> bool:
        """DE 3 and 25 by the kind of message; of a reversal by its original's, which DE 90 names."""
        code, condition = str(ours.get(3, "")), str(ours.get(25, ""))
        if mti[1] == "4" and 90 in ours:
            mti = str(ours[90])
        row = self._type(mti[:3], code[:2], condition)
        if row is None or not code:
            return False
        theirs[3] = (row.their_code or row.code) + code[2:]
        if row.their_condition and 25 in ours:
            theirs[25] = row.their_condition
            return True
        return False

    def _type(self, mti: str, code: str, condition: str) -> TypeRow | None:
        return self._types.get((mti, code, condition)) or self._types.get((mti, code, ""))

    def _original(self, digits: str) -> str:
        parts: dict[str, str] = {}
        at = 0
        for name, width in ORIGINAL.items():
            parts[name] = digits[at : at + width]
            at += width
        parts["mti"] = self._their_mti.get(parts["mti"][:3], parts["mti"][:3]) + parts["mti"][3:]
        return "".join(parts[name] for name in self.form.original)

    def _key_fields(self, content: str) -> Message:
        """Our DE 48 of a key change, `ZPK` or `ZAK` and the key, in the host's elements."""
        fields = self.form.key
        assert fields is not None
        usage, key = fields.usages.get(content[:3]), content[3:]
        if usage is None:
            raise EncodeError(48, "the link's form has no such usage of a key")
        if self._rows[fields.key].content != "b":
            return {fields.usage: usage, fields.key: key}
        if not _is_cryptogram(key):
            raise EncodeError(
                fields.key, "only a key in hex under the ZMK fits, with its check value"
            )
        elements: Message = {fields.usage: usage, fields.key: bytes.fromhex(key[:-6])}
        if fields.check:
            elements[fields.check] = key[-6:]
        return elements

    # -- theirs to ours -------------------------------------------------------------------------

    def decode(self, data: bytes) -> Message:
        """The message of our page. Raises DecodeError; offsets count from the header's first byte."""
        width = self.unsigned_bytes
        self._header.check(data)
        try:
            theirs = self._codec.decode(data[width:])
        except DecodeError as error:
            raise DecodeError(error.de, error.offset + width, error.reason) from error
        return self._ours(theirs, data[:width])

    def _ours(self, theirs: Message, header: bytes) -> Message:
        mac = theirs.pop(128, None) or theirs.pop(64, None)
        ours = dict(theirs)
        mti = str(theirs[0])
        ours[0] = self._our_mti.get(mti[:3], mti[:3]) + mti[3]
        for de, to in self.form.moves.items():
            if to in ours:
                ours[de] = ours.pop(to)
        code = str(theirs.get(3, ""))
        if code:
            known = self._our_code.get((_request(str(ours[0])), code[:2]))
            ours[3] = code if known is None else known + code[2:]
        for de, table in self._values_back.items():
            if de in ours and de != 25:
                ours[de] = _replaced(str(ours[de]), table)
        if 39 in theirs and self.form.codes_in:
            ours[39] = self._code(str(theirs[39]), theirs)
        if ours.get(70) == _KEY_CHANGE and self.form.key is not None:
            self._key_content(ours, theirs)
        ours.pop(64, None)
        last = max(ours)
        if header and mti[1] == "8" and mti[2] in "02":  # we are to answer it
            ours[HEADER] = header
        if mac is not None:
            ours[128 if last > 64 else 64] = mac
        return ours

    def _code(self, theirs: str, message: Message) -> str:
        code = self.form.codes_in.get(theirs)
        if code is None:
            _log.warning(
                "link_code_unknown",
                acquirer=self._acquirer,
                code=theirs,
                stan=message.get(11),
                rrn=message.get(37),
            )
            return UNKNOWN_CODE
        return code

    def _key_content(self, ours: Message, theirs: Message) -> None:
        """The host's elements of a key change as our DE 48; left as they are where they say nothing.

        The usage is read as it came: `values` may have made something else of it, as of a DE 53 that
        says 01, which with a PIN block is a format."""
        fields = self.form.key
        assert fields is not None
        key = ours.get(fields.key)
        usage = next(
            (use for use, value in fields.usages.items() if value == theirs.get(fields.usage)), ""
        )
        if not usage or key is None:
            return
        content = key.hex().upper() if isinstance(key, bytes) else key
        check = str(ours.get(fields.check, "")) if fields.check and isinstance(key, bytes) else ""
        for de in (fields.usage, fields.key, fields.check):
            ours.pop(de, None)
        ours[48] = usage + content + check


class _Header:
    """The form's header: built for a message, checked of one."""

    def __init__(self, form: Form) -> None:
        self._fields: Final = form.header
        self._hex: Final = {field.name: bytes.fromhex(field.hex) for field in form.header}
        self._at: Final[dict[str, int]] = {}
        at = 0
        for field in form.header:
            self._at[field.name] = at
            at += field.width
        self.width: Final = at

    def build(self, body_bytes: int, answered: bytes) -> bytes:
        return b"".join(self._field(field, body_bytes, answered) for field in self._fields)

    def _field(self, field: HeaderField, body_bytes: int, answered: bytes) -> bytes:
        if field.length:
            size = self.width + body_bytes
            if size >= 256**field.length:
                raise EncodeError(None, f"longer than the header's {field.name} can say")
            return size.to_bytes(field.length, "big")
        if answered and field.answer:
            at = self._at[field.answer]
            return answered[at : at + field.width]
        return self._hex[field.name]

    def check(self, data: bytes) -> None:
        """Is this header one that the other side sends us? Raises DecodeError."""
        if not self.width:
            return
        if len(data) <= self.width:
            raise DecodeError(None, len(data), f"header needs {self.width} bytes, {len(data)} left")
        for field in self._fields:
            at = self._at[field.name]
            found = data[at : at + field.width]
            if field.length:
                if int.from_bytes(found, "big") != len(data):
                    raise DecodeError(None, at, f"header, {field.name}: counts other bytes")
            elif field.answer != field.name:
                expected = self._hex[field.answer or field.name]
                if found != expected:
                    raise DecodeError(
                        None, at, f"header, {field.name}: {found.hex()}, not {expected.hex()}"
                    )


def _codes_back(form: Form) -> dict[tuple[str, str], str]:
    """(our MTI, their code) → our code. Reversals have the codes of what they reverse."""
    found = {(row.mti, row.their_code or row.code): row.code for row in form.types}
    reversed_ = {("042", theirs): ours for (_, theirs), ours in found.items()}
    return reversed_ | found


def _request(mti: str) -> str:
    """Three digits of the request that an MTI asks or answers.

    >>> _request("0210"), _request("0221"), _request("0810")
    ('020', '022', '080')
    """
    return mti[:2] + str(int(mti[2]) & ~1)


def _answer(mti: str) -> str:
    """An answer's MTI has an odd third digit."""
    return mti[:2] + str(int(mti[2]) | 1)


def _longest_first(table: Mapping[str, str]) -> list[tuple[str, str]]:
    return sorted(table.items(), key=lambda pair: (-len(pair[0]), pair[0]))


def _replaced(value: str, table: list[tuple[str, str]]) -> str:
    for beginning, other in table:
        if value.startswith(beginning):
            return other + value[len(beginning) :]
    return value


def _composed(parts: list[str], ours: Mapping[int, Any]) -> str | None:
    """Text with our elements in it; None where one of them is not there."""
    made = []
    for number, part in enumerate(parts):
        if number % 2 == 0:
            made.append(part)
        elif int(part) in ours:
            made.append(str(ours[int(part)]))
        else:
            return None
    return "".join(made)


def _is_cryptogram(key: str) -> bool:
    return len(key) in (38, 54) and not key.strip("0123456789ABCDEFabcdef")
