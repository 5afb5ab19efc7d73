"""A specification of pyiso8583 becomes a dialect that gives what pyiso8583 gives.

Goal: the same bytes, the same values, for the specifications that pyiso8583 ships and for others that
its documentation allows; where ours refuses what theirs takes, the reason is one of those that
`from_pyiso8583` lists. Method: hypothesis draws specifications, messages and mutated bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st

from iso8583.codec import Codec
from iso8583.dialects.from_pyiso8583 import from_pyiso8583, header_row
from iso8583.errors import DecodeError
from iso8583.reading import build_reader
from iso8583.writing import build_writer
from tests.depth import examples
from tests.iso8583.strategies import messages
from tests.oracle import load_pyiso8583

if TYPE_CHECKING:
    from iso8583.message import Message

oracle = load_pyiso8583()
SHIPPED: dict[str, dict[str, Any]] = {
    name: spec
    for name, spec in vars(oracle.specs).items()
    if isinstance(spec, dict) and {"h", "t", "p", "1", "2"} <= spec.keys()
}
CODECS = {name: Codec(from_pyiso8583(spec, name)) for name, spec in SHIPPED.items()}


def test_those_it_ships_are_known() -> None:
    assert {"default", "default_ascii"} <= SHIPPED.keys()


def theirs(message: Message) -> dict[str, Any]:
    return {"t" if de == 0 else str(de): value for de, value in message.items()}


def ours(decoded: dict[str, str]) -> dict[int, str]:
    kept = {key: value for key, value in decoded.items() if key not in {"h", "p", "1"}}
    return {0 if key == "t" else int(key): value for key, value in kept.items()}


FIELDS = st.one_of(
    st.fixed_dictionaries(
        {
            "data_enc": st.just("b"),
            "len_enc": st.sampled_from(["b", "bcd", "ascii", "cp500"]),
            "len_type": st.sampled_from([0, 1, 2, 3]),
            "max_len": st.integers(1, 9),
            "len_count": st.sampled_from(["bytes", "nibbles"]),
        },
        optional={
            "left_pad": st.sampled_from("0123456789ABCDEF"),
            "right_pad": st.sampled_from("0F"),
        },
    ),
    st.fixed_dictionaries(
        {
            "data_enc": st.sampled_from(["ascii", "cp500", "cp037", "latin-1", "utf-8", "gbk"]),
            "len_enc": st.sampled_from(["b", "bcd", "ascii", "cp500", "latin-1"]),
            "len_type": st.sampled_from([0, 1, 2, 3]),
            "max_len": st.integers(1, 9),
        }
    ),
)


@st.composite
def specifications(draw: st.DrawFn) -> dict[str, Any]:
    text = {"len_enc": "ascii", "len_type": 0}
    bitmap = draw(st.sampled_from(["b", "ascii", "cp500"]))
    spec: dict[str, Any] = {
        "h": {"data_enc": "ascii", "max_len": 0, **text},
        "t": {"data_enc": draw(st.sampled_from(["b", "ascii", "cp500"])), "max_len": 4, **text},
        "p": {"data_enc": bitmap, "max_len": 8, **text},
        "1": {"data_enc": bitmap, "max_len": 8, **text},
    }
    numbers = st.integers(2, 192).filter(lambda de: de != 65)
    for de in draw(st.lists(numbers, unique=True, min_size=1, max_size=12)):
        field = draw(FIELDS)
        odd = field.get("len_count") == "nibbles" and field["max_len"] in {1, 3, 5, 7, 9}
        if odd and field["len_type"] == 0:
            field.setdefault("right_pad", "0")  # nothing could be written otherwise
        spec[str(de)] = field
    return spec


@settings(max_examples=examples(80), deadline=None)
@given(st.data())
def test_same_bytes_same_values(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([*SHIPPED, "drawn"]))
    spec = SHIPPED[name] if name in SHIPPED else data.draw(specifications())
    codec = CODECS[name] if name in SHIPPED else usable(spec)
    message = data.draw(messages(codec.dialect))
    codec.warm([message])
    octets, _ = oracle.encode(theirs(message), spec)
    assert codec.encode(message) == bytes(octets) == codec.generic.encode(message)
    decoded, _ = oracle.decode(octets, spec)
    assert codec.decode(bytes(octets)) == ours(decoded) == message


# what pyiso8583 takes although it would not write it
LENIENT = (
    "length prefix is not digits",  # int() takes blanks, signs and underscores
    "wrong filler nibble",  # right_pad, where left_pad is declared, too
    "not four digits",
    "not a character of the encoding",  # a second writing of the same text
    "what it counts comes in pairs",
    "not in the dialect",  # fields with max_len 0
)


@settings(max_examples=examples(80), deadline=None)
@given(st.data())
def test_mutated_bytes(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([*SHIPPED, "drawn"]))
    spec = SHIPPED[name] if name in SHIPPED else data.draw(specifications())
    codec = CODECS[name] if name in SHIPPED else usable(spec)
    octets = bytearray(codec.encode(data.draw(messages(codec.dialect))))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(octets) - 1))
        octets[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del octets[data.draw(st.integers(0, len(octets))) :]
    try:
        decoded, _ = oracle.decode(bytes(octets), spec)
    except (oracle.DecodeError, KeyError):  # KeyError: a bit without a field
        with pytest.raises(DecodeError):
            codec.decode(bytes(octets))
        return
    try:
        read = codec.decode(bytes(octets))
    except DecodeError as error:
        why = error.reason
        assert why.endswith(LENIENT) or " in " in why, why
    else:
        assert read == ours(decoded)


def usable(spec: dict[str, Any]) -> Codec:
    return Codec(from_pyiso8583(spec, "drawn"))


def test_a_header_stands_before() -> None:
    spec = dict(SHIPPED["default_ascii"])
    spec["h"] = {"data_enc": "ascii", "len_enc": "ascii", "len_type": 2, "max_len": 12}
    row = header_row(spec)
    assert row is not None
    octets, _ = oracle.encode({"h": "ISO025000055", "t": "0800", "11": "000001"}, spec)
    message: Message = {}
    end = build_reader(row)(bytes(octets), octets.hex(), octets.decode("latin-1"), 0, message)
    assert (end, message) == (14, {2: "ISO025000055"})
    assert build_writer(row)("ISO025000055") == octets[:14]
    assert CODECS["default_ascii"].decode(bytes(octets[14:])) == {0: "0800", 11: "000001"}
    assert header_row(SHIPPED["default"]) is None


WRONG = [
    ({"2": {"data_enc": "utf-16"}}, "field 2: data_enc 'utf-16'"),
    ({"2": {"data_enc": "nonsense"}}, "field 2: data_enc 'nonsense'"),
    ({"3": {"len_type": 2, "len_enc": "utf-16"}}, "field 3: 'utf-16' writes digits"),
    ({"5": {"data_enc": "b", "len_count": "nibbles", "max_len": 3}}, "field 5: 3 nibbles need"),
    ({"p": {"data_enc": "b"}}, "fields p and 1"),
    ({"4": {"data_enc": "b", "len_count": "nibbles", "max_len": 3, "left_pad": "X"}}, "field 4: left_pad 'x'"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "reason"), WRONG)
def test_what_can_not_become_a_dialect(changes: dict[str, Any], reason: str) -> None:
    spec = SHIPPED["default_ascii"]
    wrong = spec | {key: spec[key] | change for key, change in changes.items()}
    with pytest.raises(ValueError, match=reason):
        from_pyiso8583(wrong, "wrong")
