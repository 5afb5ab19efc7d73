"""What is kept of DE 55: the same whether its layout is known or not.

Method: hypothesis draws tags that may and may not be kept, several messages of one layout through one
filter, and bytes that are no TLV; the parser of `iso8583.tlv` is the judge.
"""

from __future__ import annotations

from hypothesis import given, strategies as st

from iso8583 import tlv
from iso8583.errors import DecodeError
from switch import chip
from switch.chip import CHIP_TAGS, LAYOUTS_MAX, ChipFilter

TAGS = sorted({*CHIP_TAGS, "57", "5A", "5F20", "9F6E"})


def judged(data: bytes) -> bytes | None:
    try:
        return tlv.keep(data, CHIP_TAGS) or None
    except DecodeError:
        return None


@st.composite
def same_layout(draw: st.DrawFn) -> list[bytes]:
    heads = draw(st.lists(st.tuples(st.sampled_from(TAGS), st.integers(0, 140)), max_size=12))
    return [
        tlv.build(
            [(tag, draw(st.binary(min_size=size, max_size=size))) for tag, size in heads]
        )
        for _ in range(3)
    ]  # fmt: skip


@given(st.lists(same_layout(), min_size=1, max_size=4))
def test_a_known_layout_keeps_what_the_parser_keeps(families: list[list[bytes]]) -> None:
    known = ChipFilter()
    for message in [one for family in families for one in family]:
        assert known.kept(message) == judged(message)


@given(st.lists(st.binary(max_size=24), max_size=20))
def test_noise_is_not_kept(noise: list[bytes]) -> None:
    known = ChipFilter()
    for message in noise * 2:
        assert known.kept(message) == judged(message)


def test_fillers_and_long_lengths_are_parsed_each_time() -> None:
    known = ChipFilter()
    for message in ("00009A03260304", "9A81032603045A02621F", "9A0326030400"):
        data = bytes.fromhex(message)
        assert known.kept(data) == known.kept(data) == judged(data)
    assert not known._layouts


def test_the_memory_is_bounded() -> None:
    known = ChipFilter()
    for length in range(1, chip.LENGTHS_MAX + 8):
        size = length % 120 + 1
        for tag in TAGS[: LAYOUTS_MAX + 4]:
            known.kept(tlv.build([(tag, bytes(size)), ("9A", bytes(length // 120))]))
    assert len(known._layouts) <= chip.LENGTHS_MAX
    assert max(map(len, known._layouts.values())) <= LAYOUTS_MAX
