"""The usual shapes are those that traffic has, and warm code is made of them once.

Goal: a switch that was warmed meets no shape of an everyday day for the first time. Method: every
message that a simulated day encodes and decodes; the codec's counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from iso8583.codec import SHAPES_MAX, SIGHTINGS, Codec, codec_for
from iso8583.dialects import registry, usual
from tests.iso8583.corpus import record
from tests.simulation.plans import plan_of
from tests.simulation.world import simulate

if TYPE_CHECKING:
    from iso8583.message import Message


@pytest.mark.parametrize("name", registry.names())
def test_usual_shapes_of_every_dialect_have_code(name: str) -> None:
    codec = Codec(registry.get(name))
    family = codec.dialect.family
    count = usual.warm(codec)
    assert family in usual.SHAPES
    assert 10 <= count <= SHAPES_MAX
    before = codec.cache_info()
    usual.warm(codec)
    assert codec.cache_info() == before
    for message in usual.usual(codec):
        assert codec.decode(codec.encode(message)) == message
    assert codec.cache_info() == before
    assert not codec._seen


@pytest.mark.parametrize("name", registry.names())
def test_every_usual_shape_is_one_of_the_dialect_and_comes_once(name: str) -> None:
    """A shape of the family with an element that its dialect lacks would never be warmed."""
    dialect = registry.get(name)
    shapes = usual.SHAPES[dialect.family]
    assert len({*shapes}) == len(shapes)
    messages = usual.usual(Codec(dialect))
    assert len(messages) >= 0.9 * len(shapes)
    if not dialect.base and name != "iso2003_binary":
        assert len(messages) == len(shapes)


@pytest.mark.parametrize(
    ("record_id", "name", "before"),
    [("ipm-ascii-raw", "ipm", 0), ("jpos-iso93ebcdic", "iso1993_ebcdic", 9)],
)
def test_messages_of_the_corpus_have_usual_shapes(record_id: str, name: str, before: int) -> None:
    codec = Codec(registry.get(name))
    data = bytes.fromhex(record(record_id)["hex"])[before:]
    usual.warm(codec)
    made = codec.cache_info()
    for _ in range(2 * SIGHTINGS):
        assert codec.encode(codec.decode(data)) == data
    assert codec.cache_info() == made


def test_nothing_is_made_at_import() -> None:
    assert Codec(registry.get("unionpay_pos")).cache_info().decoders == 0


def test_a_day_has_no_shape_that_is_not_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes `SIGHTINGS` times in a day would be compiled in the middle of it."""
    orders: dict[tuple[str, tuple[int, ...]], int] = {}
    heads: dict[tuple[str, str, frozenset[int]], int] = {}
    encode, decode = Codec.encode, Codec.decode

    def count_encoded(codec: Codec, message: Message) -> bytes:
        key = (codec.dialect.name, tuple(message))
        orders[key] = orders.get(key, 0) + 1
        return encode(codec, message)

    def count_decoded(codec: Codec, data: bytes) -> Message:
        message = decode(codec, data)
        key = (codec.dialect.name, str(message[0]), frozenset(message))
        heads[key] = heads.get(key, 0) + 1
        return message

    monkeypatch.setattr(Codec, "encode", count_encoded)
    monkeypatch.setattr(Codec, "decode", count_decoded)
    assert not simulate(plan_of(1, 120)).broken
    assert len(orders) > 20
    for name in ("unionpay_pos", "iso1987_ascii"):
        messages = usual.usual(codec_for(name))
        known_orders = {tuple(message) for message in messages}
        known_heads = {(message[0], frozenset(message)) for message in messages}
        often = {keys for (of, keys), n in orders.items() if of == name and n >= 2 * SIGHTINGS}
        assert often <= known_orders, sorted(often - known_orders)
        met = {(mti, s) for (of, mti, s), n in heads.items() if of == name and n >= 2 * SIGHTINGS}
        assert met <= known_heads, sorted(map(str, met - known_heads))
