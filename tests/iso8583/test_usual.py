"""The usual shapes are those that traffic has, and warm code is made of them once.

Goal: a switch that was warmed meets no shape of an everyday day for the first time. Method: every
message that a simulated day encodes and decodes; the codec's counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from iso8583.codec import SIGHTINGS, Codec, codec_for
from iso8583.dialects import registry, usual
from tests.simulation.plans import plan_of
from tests.simulation.world import simulate

if TYPE_CHECKING:
    from iso8583.message import Message


@pytest.mark.parametrize("name", registry.names())
def test_usual_shapes_of_every_dialect_have_code(name: str) -> None:
    codec = Codec(registry.get(name))
    family = codec.dialect.family
    count = usual.warm(codec)
    assert (count > 0) is (family in usual.SHAPES)
    before = codec.cache_info()
    usual.warm(codec)
    assert codec.cache_info() == before
    for message in usual.usual(codec):
        assert codec.decode(codec.encode(message)) == message
    assert codec.cache_info() == before
    assert not codec._seen


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
