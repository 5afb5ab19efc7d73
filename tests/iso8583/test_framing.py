"""Frames come out whole whatever the network does to the bytes.

Goal: any split gives the same frames, what is held is bounded, a bad length is named with its place
in the stream. Method: tables of bad lengths; hypothesis cuts streams at will.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from iso8583.errors import FramingError
from iso8583.framing import (
    LINK,
    POS,
    Frame,
    Framer,
    FramingSpec,
    answer_header,
    answer_tpdu,
    build,
    header_is_test,
)

SPECS = [
    LINK,
    POS,
    FramingSpec(tpdu=True),
    FramingSpec(header_bytes=6),
    FramingSpec(length="ascii4"),
    FramingSpec(length="ascii4", inclusive=True, header_bytes=46),
    FramingSpec(inclusive=True, tpdu=True, header_bytes=7, max_frame_bytes=300),
]
BODY = bytes.fromhex("08200020000000000000000001")


def frame_of(spec: FramingSpec, body: bytes, filler: int = 0x60) -> Frame:
    return Frame(bytes([filler]) * (5 if spec.tpdu else 0), bytes([1]) * spec.header_bytes, body)


KNOWN = [
    (LINK, "000D" + BODY.hex()),
    (POS, "0018 6060606060 010101010101" + BODY.hex()),
    (FramingSpec(length="ascii4"), b"0013".hex() + BODY.hex()),
    (FramingSpec(length="ascii4", inclusive=True), b"0017".hex() + BODY.hex()),
    (FramingSpec(inclusive=True), "000F" + BODY.hex()),
]


@pytest.mark.parametrize(("spec", "octets"), KNOWN)
def test_known_answers(spec: FramingSpec, octets: str) -> None:
    frame = frame_of(spec, BODY)
    assert build(frame, spec) == bytes.fromhex(octets)
    assert Framer(spec).receive_bytes(bytes.fromhex(octets)) == [frame]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_split_gives_the_same_frames(data: st.DataObject) -> None:
    spec = data.draw(st.sampled_from(SPECS))
    bodies = data.draw(st.lists(st.binary(min_size=1, max_size=200), max_size=6))
    frames = [frame_of(spec, body) for body in bodies]
    stream = b"".join(build(frame, spec) for frame in frames)
    rest = data.draw(st.integers(0, len(stream)))
    cuts = sorted([*data.draw(st.lists(st.integers(0, len(stream)), max_size=8)), rest])
    framer = Framer(spec)
    got: list[Frame] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += framer.receive_bytes(stream[start:end])
        assert len(framer.held) < spec.max_frame_bytes
    assert got == frames
    assert not framer.held


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_bytes_in_any_split_end_alike(data: st.DataObject) -> None:
    """Noise gives the same frames and the same error whole or byte by byte, and holds little."""
    spec = data.draw(st.sampled_from(SPECS))
    stream = data.draw(st.binary(max_size=400))
    outcomes = []
    for step in (1, 7, 400):
        framer = Framer(spec)
        frames: list[Frame] = []
        error = None
        for at in range(0, len(stream), step):
            try:
                frames += framer.receive_bytes(stream[at : at + step])
            except FramingError as bad:
                error = bad
                break
            assert len(framer.held) < spec.max_frame_bytes
        error = error or framer.error
        outcomes.append((frames, None if error is None else error.args))
    assert outcomes[0] == outcomes[1] == outcomes[2]


BAD = [
    (POS, "FFFF", "frame of 65537 bytes, at most 4096"),
    (POS, "0FFF", "frame of 4097 bytes, at most 4096"),
    (POS, "0000", "length leaves no room for a message"),
    (POS, "000B", "length leaves no room for a message"),
    (LINK, "0000", "length leaves no room for a message"),
    (FramingSpec(inclusive=True), "0001", "length leaves no room for a message"),
    (FramingSpec(length="ascii4"), b"00 1".hex(), "length is not four digits"),
    (FramingSpec(length="ascii4"), b"00\xb21".hex(), "length is not four digits"),
    (FramingSpec(length="ascii4"), b"+001".hex(), "length is not four digits"),
    (FramingSpec(length="ascii4"), b"9999".hex(), "frame of 10003 bytes, at most 4096"),
]


@pytest.mark.parametrize(("spec", "octets", "reason"), BAD)
def test_a_bad_length_closes(spec: FramingSpec, octets: str, reason: str) -> None:
    framer = Framer(spec)
    for _ in range(2):  # and it stays closed
        with pytest.raises(FramingError) as refused:
            framer.receive_bytes(bytes.fromhex(octets))
        assert (refused.value.offset, refused.value.reason) == (0, reason)
    assert not framer.held


def test_good_frames_before_a_bad_length_are_given() -> None:
    framer = Framer(POS)
    good = frame_of(POS, BODY)
    octets = build(good, POS)
    assert framer.receive_bytes(octets[:9]) == []
    assert framer.receive_bytes(octets[9:] + octets + b"\xff\xff\x00") == [good, good]
    assert framer.error is not None
    assert framer.error.offset == 2 * len(octets)
    with pytest.raises(FramingError):
        framer.receive_bytes(b"")


def test_the_largest_frame_passes() -> None:
    frame = frame_of(POS, bytes(4096 - 2 - 11))
    octets = build(frame, POS)
    assert len(octets) == 4096
    assert Framer(POS).receive_bytes(octets) == [frame]
    with pytest.raises(FramingError):
        build(frame_of(POS, bytes(4096 - 2 - 10)), POS)


@pytest.mark.parametrize(
    "frame",
    [Frame(b"", b"", b"x"), Frame(bytes(5), bytes(5), b"x"), Frame(bytes(5), bytes(6), b"")],
)
def test_parts_that_do_not_fit_are_not_built(frame: Frame) -> None:
    with pytest.raises(FramingError):
        build(frame, POS)


@pytest.mark.parametrize(
    "columns",
    [
        {"header_bytes": -1},
        {"max_frame_bytes": 5, "tpdu": True},
        {"max_frame_bytes": 1 << 20},
        {"length": "bcd2"},
    ],
)
def test_a_spec_is_checked(columns: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"is |must"):
        FramingSpec(**columns)  # type: ignore[arg-type]


def test_tpdu_and_header_of_the_answer() -> None:
    assert answer_tpdu(bytes.fromhex("6012345678")) == bytes.fromhex("6056781234")
    header = bytes.fromhex("603110310000")
    assert header_is_test(header)
    assert not header_is_test(bytes.fromhex("603100311904"))
    assert answer_header(header, 3) == bytes.fromhex("603113310000")
    assert answer_header(b"\x01\x00", 3) == b"\x01\x00"


def test_a_frame_shows_no_body() -> None:
    shown = repr(frame_of(POS, BODY))
    assert BODY.hex() not in shown.lower()
    assert str(BODY) not in shown
