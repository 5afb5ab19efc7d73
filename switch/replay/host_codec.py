"""The codec of a link's other side: reads what we write to the host, writes what it answers. Pure.

Without a form both sides speak the dialect. A form is mirrored: its header with the two addresses
exchanged, its response codes read the other way; a host may answer with any element of its dialect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from iso8583.codec import codec_for
from switch.acquirers.form_codec import FormCodec
from switch.acquirers.forms import form_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iso8583.codec import Codec
    from iso8583.message import Message
    from switch.acquirers.forms import Form
    from switch.reference import Link


def host_codec_of(link: Link) -> Codec | FormCodec:
    form, codec = form_of(link.form), codec_for(link.dialect)
    return codec if form is None else HostCodec(form, codec, link.acquirer)


def unsigned_bytes_of(codec: Codec | FormCodec) -> int:
    """What stands before the message that a MAC covers."""
    return codec.unsigned_bytes if isinstance(codec, FormCodec) else 0


class HostCodec(FormCodec):
    """Reads DE 25 back too, which no answer has and so nobody on our side has to."""

    def __init__(self, form: Form, codec: Codec, acquirer: str) -> None:
        every = tuple(row.de for row in codec.dialect.elements)
        super().__init__(mirrored(form, every), codec, acquirer)
        self._our_condition = {row.their_condition: row.condition for row in form.types}
        self._our_condition |= {theirs: ours for ours, theirs in form.values.get(25, {}).items()}

    def decode(self, data: bytes) -> Message:
        message = super().decode(data)
        condition = str(message.get(25, ""))
        if condition:
            message[25] = self._our_condition.get(condition, condition)
        return message


def mirrored(form: Form, every: tuple[int, ...]) -> Form:
    """The form as the host would write it down. What we say in DE 39 it reads as it is."""
    at = {field.name: field.hex for field in form.header}
    return msgspec.structs.replace(
        form,
        header=tuple(
            msgspec.structs.replace(field, hex=at[field.answer]) if field.answer else field
            for field in form.header
        ),
        elements=dict.fromkeys(form.elements, every),
        codes_in={},
        codes_out=back(form.codes_in),
    )


def back(codes: Mapping[str, str]) -> dict[str, str]:
    """Of several that are read alike the one that is written so.

    >>> back({"85": "00", "00": "00", "76": "14"})
    {'00': '00', '14': '76'}
    """
    found: dict[str, str] = {}
    for theirs, ours in codes.items():
        if ours not in found or theirs == ours:
            found[ours] = theirs
    return found
