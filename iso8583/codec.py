"""The codec of a dialect: specialised code for the shapes that traffic has, the table for the rest.

A shape is what stands before the elements: MTI and bitmap when reading, the keys in their order when
writing. Once the generic codec has accepted `SIGHTINGS` messages of a shape, source is made for it
(`iso8583.specialise`), at most `SHAPES_MAX` each way; `warm` does so at once. Specialised code only
ever says yes: on anything odd the generic codec looks again, and says what is wrong. So both give
the same results, and a peer that sends many shapes costs the generic codec's time and no memory.
"""

from __future__ import annotations

from functools import cache
from struct import error as StructError  # noqa: N812 - its own name says nothing
from typing import TYPE_CHECKING, Final, NamedTuple

from iso8583.dialects import registry
from iso8583.generic import Explanation, GenericCodec, elements_of
from iso8583.specialise_reading import Decoder, decoder
from iso8583.specialise_writing import Encoder, encoder

if TYPE_CHECKING:
    from collections.abc import Iterable

    from iso8583.dialects.table import Dialect
    from iso8583.errors import DecodeError
    from iso8583.message import Message

__all__ = ["Codec", "Explanation", "codec_for", "elements_of"]

# At the bound nothing more is admitted: whoever came first is served, and noise can not churn.
SHAPES_MAX: Final = 256
SIGHTINGS: Final = 8
CANDIDATES_MAX: Final = 1024  # shapes that are being counted; at the bound the counts start anew
# What generated code raises on values and bytes that it was not made for.
_ODD: Final = (TypeError, ValueError, LookupError, AttributeError, StructError)


class CacheInfo(NamedTuple):
    """How much specialised code there is: shapes each way, their bound, bytes of bytecode (constants apart)."""

    decoders: int
    encoders: int
    shapes_max: int
    code_bytes: int


class Codec:
    """Reads and writes messages of one dialect. Holds no state but bounded caches."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect: Final = dialect
        self.generic: Final = GenericCodec(dialect)
        self._head: Final = self.generic.mti_width + self.generic.bitmap_width
        self._long_head: Final = self._head + self.generic.bitmap_width
        # what stands before the elements, by the first byte of the bitmap
        self._at_bitmap: Final = self.generic.mti_width
        self._heads: Final = tuple(
            self._long_head if self.generic.announces_second(octet) else self._head
            for octet in range(256)
        )
        self._decoders: Final[dict[bytes, Decoder]] = {}
        self._encoders: Final[dict[tuple[int, ...], Encoder]] = {}
        self._seen: Final[dict[bytes | tuple[int, ...], int]] = {}

    def decode(self, data: bytes) -> Message:
        """The message that `data` is: MTI to the last byte of the last element, no framing.

        Raises DecodeError with element and offset; also for bytes left over. Anything but a
        message raises DecodeError and nothing else.
        """
        try:
            message = self._decoders[data[: self._heads[data[self._at_bitmap]]]](data)
        except _ODD:
            message = None
        if message is None:
            message = self.generic.decode(data)
            self._meet(self._shape(data))
        return message

    def encode(self, message: Message) -> bytes:
        """The bytes of the message, MTI to last element, bitmap made from the keys.

        Raises EncodeError where a value, its type or its length is not the dialect's: whatever is
        returned decodes to an equal message.
        """
        try:
            data = self._encoders[tuple(message)](message)
        except _ODD:
            data = None
        if data is None:
            data = self.generic.encode(message)
            self._meet(tuple(message))
        return data

    def decode_partial(self, data: bytes) -> tuple[Message, DecodeError | None]:
        """As much of the message as can be read, and the first error, None when there is none.

        Goes on behind an element whose extent is known but whose content is bad, so that a peer
        with one bad element can still be answered by DE 11, 41, 42.
        """
        message, error, _ = self.generic.explain(data)
        return message, error

    def spans(self, data: bytes) -> dict[int, tuple[int, int]]:
        """Where each element lies: DE -> (offset, length); as far as the message can be read."""
        return self.generic.explain(data).spans

    def explain(self, data: bytes) -> Explanation:
        """`decode_partial` and `spans` in one pass; never raises."""
        return self.generic.explain(data)

    def warm(self, messages: Iterable[Message]) -> None:
        """Make the code for these messages' shapes now; raises EncodeError on one that is none."""
        for message in messages:
            data = self.generic.encode(message)
            self._admit(tuple(message))
            self._admit(self._shape(data))

    def cache_info(self) -> CacheInfo:
        """What the specialised code takes."""
        made = [*self._decoders.values(), *self._encoders.values()]
        size = sum(len(one.__code__.co_code) for one in made)
        return CacheInfo(len(self._decoders), len(self._encoders), SHAPES_MAX, size)

    def _shape(self, data: bytes) -> bytes:
        return data[: self.generic.bitmap(data)[1]]

    def _meet(self, shape: bytes | tuple[int, ...]) -> None:
        """Count a shape that the generic codec accepted, and admit it when it came often enough."""
        made = self._decoders if isinstance(shape, bytes) else self._encoders
        if shape in made or len(made) >= SHAPES_MAX:
            return  # at the bound nothing more is admitted, so nothing is counted
        seen = self._seen.get(shape, 0) + 1
        if seen >= SIGHTINGS:
            self._seen.pop(shape, None)
            self._admit(shape)
            return
        if len(self._seen) >= CANDIDATES_MAX:
            self._seen.clear()
        self._seen[shape] = seen

    def _admit(self, shape: bytes | tuple[int, ...]) -> None:
        if shape in self._decoders or shape in self._encoders:
            return
        if isinstance(shape, bytes):
            if len(self._decoders) < SHAPES_MAX and len(shape) <= self._long_head:
                self._decoders[shape] = decoder(self.generic, shape)
        elif len(self._encoders) < SHAPES_MAX:
            self._encoders[shape] = encoder(self.generic, shape)


@cache  # bounded by the registry's names
def codec_for(name: str) -> Codec:
    """The shared codec of a registered dialect; raises LookupError on an unknown name."""
    return Codec(registry.get(name))
