"""Subfields: real elements are cut as other people cut them, and joined again; noise is refused in place.

Goal: every composite element of the corpus has its subfields, or is named here with the reason;
what is cut comes back by `build`; errors name subfield and offset. Method: known answers from
`reference/pos-messages.md`, `reference/link.md` and the corpus's own parses; hypothesis over all layouts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st

from iso8583.codec import codec_for
from iso8583.composites import build, layouts, parse, parse_partial
from iso8583.dialects import registry
from iso8583.errors import DecodeError, EncodeError
from iso8583.subfields.layout import Tagged
from tests.iso8583.corpus import body, record, terminal_records
from tests.iso8583.test_corpus import VARIANT_OF

if TYPE_CHECKING:
    from iso8583.dialects.table import Dialect
    from iso8583.message import Message

POS, LINK = registry.get("unionpay_pos"), registry.get("iso1987_ascii")
KEYS_40 = bytes(range(40))


def values(de: int, value: str | bytes, dialect: Dialect, message: Any = None) -> dict[str, str]:
    return {part.number: part.value for part in parse(de, value, dialect, message)}


# dialect, message around it, element, value, what it is made of (number=value), meanings looked for
KNOWN = [
    ("unionpay_pos", {}, 3, "200000", "3.1=20 3.2=00 3.3=00", "void or refund"),
    ("unionpay_pos", {}, 22, "051", "22.1=05 22.2=1", "chip, contact"),
    ("iso1993_ascii", {}, 22, "51010151334C",
     "22.1=5 22.2=1 22.3=0 22.4=1 22.5=0 22.6=1 22.7=5 22.8=1 22.9=3 22.10=3 22.11=4 22.12=C",
     "12 characters"),
    ("unionpay_pos", {}, 44, "03050000   48024500   ", "44.1=03050000 44.2=48024500", ""),
    ("unionpay_pos", {0: "0500"}, 48, "000000012345002" "000000000100001" "0" + "0" * 31,
     "48.1=000000012345 48.2=002 48.3=000000000100 48.4=001 48.5=0", "123.45 CNY"),
    ("unionpay_pos", {0: "0320", 60: "00000001201"}, 48,
     "01" "00" "000123" "00006220000000012402" "000000000100",
     "48.1=01 48.2=00 48.3=000123 48.4=00006220000000012402 48.5=000000000100", "UnionPay card"),
    ("unionpay_pos", {0: "0320", 60: "00000001207"}, 48, "0003", "48.1=0003", ""),
    ("unionpay_pos", {}, 53, "2610000000000000", "53.1=2 53.2=6 53.3=1", "PIN block with PAN"),
    ("unionpay_pos", {}, 54, "1002156C000000012345", "54.1=10 54.2=02 54.3=156 54.4=C",
     "123.45 CNY"),
    ("unionpay_pos", {}, 60, "22000001000601048",
     "60.1=22 60.2=000001 60.3=000 60.4=6 60.5=0 60.6=1 60.7=048", "contactless"),
    ("unionpay_pos", {}, 60, "00000001301", "60.1=00 60.2=000001 60.3=301", "echo"),
    ("unionpay_pos", {}, 61, "0000010000020803", "61.1=000001 61.2=000002 61.3=0803", ""),
    ("unionpay_pos", {0: "0810"}, 62, KEYS_40,
     f"62.1={KEYS_40[:16].hex().upper()} 62.2=10111213 62.3={KEYS_40[20:36].hex().upper()}", ""),
    ("unionpay_pos", {0: "0810"}, 62, bytes(24), "62.2=00000000", ""),
    ("unionpay_pos", {0: "0810"}, 62, bytes(60), "62.6=00000000", ""),
    ("unionpay_pos", {0: "0800"}, 62, b"Sequence No16YB0001SN12345678", "62.2=16", ""),
    ("unionpay_pos", {0: "0320"}, 62, b"610000000000012345156", "62.1=61 62.4=000000012345",
     "123.45 CNY"),
    ("unionpay_pos", {}, 63, "CUP" + "成功".ljust(18), "63.1=CUP", ""),
    ("iso1987_ascii", {}, 90, "020000000108031015000000000123400000000000",
     "90.1=0200 90.2=000001 90.3=0803101500 90.4=00000001234 90.5=00000000000", ""),
    ("iso1987_ascii", {}, 95, "000000000100000000000000C00000000D00000000",
     "95.1=000000000100 95.3=C00000000", ""),
    ("iso1987_ascii", {}, 54, "0001156C000000000100" "0002156D000000000200", "54.1=00 54.2=02",
     "ledger balance"),
    ("iso1993_ascii", {}, 30, "000000000100000000000200", "30.1=000000000100", ""),
    ("iso1993_ascii", {}, 56, "1200" "000001" "260803101500" "06" "123456", "56.4=06 56.5=123456", ""),
    ("iso2003_binary", {}, 4, "1562000000012345", "4.1=156 4.2=2 4.3=000000012345", "CNY"),
    ("visa", {}, 22, "0510", "22.1=05 22.2=1 22.3=0", ""),
]  # fmt: skip


@pytest.mark.parametrize(("name", "around", "de", "value", "wanted", "meaning"), KNOWN)
def test_known_elements(
    name: str, around: Message, de: int, value: str | bytes, wanted: str, meaning: str
) -> None:
    dialect = registry.get(name)
    parts = parse(de, value, dialect, around or None)
    found = {part.number: part.value.strip() for part in parts}
    for pair in wanted.split():
        number, _, expected = pair.partition("=")
        assert found[number] == expected
    assert any(meaning in part.meaning[0] for part in parts)
    assert all(all(part.names) for part in parts)
    assert build(de, [part.value for part in parts], dialect, around or None) == value


# Elements of the corpus whose content is a host's own: id, element.
OTHERWISE = {
    ("cup-cardinfolink-tmk-req-b", 62): "a key request in TLV",
    ("cup-vfwz-download-response", 62): "keys as hex text",
    ("cup-whty-signin-resp", 62): "104 bytes of keys",
    ("cup-xfer-sale-dcc60", 60): "currency conversion in DE 60",
    **{
        (f"cup-payby-{name}", 60): "46 or 64 characters of the host's own"
        for name in (
            "purchase-req",
            "purchase-resp",
            "refund-resp",
            "reversal-req",
            "reversal-resp",
        )
    },
}


@pytest.mark.parametrize(
    "row", [r for r in terminal_records() if r["clean"]], ids=lambda r: r["id"]
)
def test_composite_elements_of_the_corpus(row: dict[str, Any]) -> None:
    codec = codec_for(VARIANT_OF.get(row["id"], "unionpay_pos"))
    message = codec.decode(body(row))
    for de, value in message.items():
        parts, error = parse_partial(de, value, codec.dialect, message)
        if (row["id"], de) in OTHERWISE:
            assert error is not None
            continue
        assert error is None
        if parts:
            back = build(de, [part.value for part in parts], codec.dialect, message)
            assert back == value, f"DE {de}"


def test_working_keys_of_the_known_sign_on() -> None:
    """DE 62 of cup-go8583-signin-resp: PIK and MAK with check values, as its source states them."""
    message = codec_for("unionpay_pos").decode(body(record("cup-go8583-signin-resp")))
    parts = parse(62, message[62], POS, message)
    assert [part.number for part in parts] == ["62.1", "62.2", "62.3", "62.4"]
    assert [part.secret for part in parts] == [True, False, True, False]
    assert "".join(part.value for part in parts) == bytes(message[62]).hex().upper()  # type: ignore[arg-type]


def test_what_others_cut_is_cut_alike() -> None:
    """jPOS's DE 59 of the Visa kind, cardutil's DE 43 and PDS of IPM."""
    visa = codec_for("visa")
    message = visa.decode(bytes.fromhex(record("jpos-field59-2")["hex"]))
    assert values(59, message[59], visa.dialect) == record("jpos-field59-2")["expected"]
    for name, dialect in (("ipm-ascii-raw", "ipm"), ("ipm-ebcdic-raw-hex", "ipm_ebcdic.hex")):
        ipm = codec_for(dialect)
        stated = record(name)["expected"]
        message = ipm.decode(bytes.fromhex(record(name)["hex"]))
        place = values(43, message[43], ipm.dialect)
        numbers = ("NAME", "ADDRESS", "SUBURB", "POSTCODE", "STATE", "COUNTRY")
        for number, key in enumerate(numbers, 1):
            assert place[f"43.{number}"].strip() == stated[f"DE43_{key}"]
        assert values(48, message[48], ipm.dialect) == {"0001": stated["PDS0001"]}


REFUSED = [
    ("unionpay_pos", 22, "05", 2, "22.2: needs 1, 0 left"),
    ("unionpay_pos", 60, "2200000", 2, "60.2: needs 6, 5 left"),
    ("unionpay_pos", 60, "220000010006010489", 17, "1 more than its subfields have"),
    ("unionpay_pos", 60, "22A00001", 2, "60.2: not a digit"),
    ("unionpay_pos", 61, "²00001000001", 0, "61.1: not a digit"),
    ("unionpay_pos", 61, "成", 0, "characters that the element can not have"),
    ("unionpay_pos", 63, "CUP" + "a" * 19 + "成", 3, "63.2.1: a character is cut"),
    ("iso1987_ascii", 54, "0001156C0000000001", 8, "54.5: needs 12, 10 left"),
    ("iso1987_ascii", 54, "0001156C000000000100" * 7, 120, "20 more than"),
    ("ipm", 48, "0001005Y", 7, "PDS 0001: needs 5, 1 left"),
    ("ipm", 48, "0001X", 0, "no tag of 4 digits and length of 3"),
    ("ipm", 48, "0001000" * 256, 1785, "more than 255 tags"),
    ("ipm", 43, "BIG BOBS", 0, "43.1: no \\ within 99"),
]


@pytest.mark.parametrize(("name", "de", "value", "offset", "reason"), REFUSED)
def test_a_wrong_element_is_refused_in_place(
    name: str, de: int, value: str, offset: int, reason: str
) -> None:
    dialect = registry.get(name)
    with pytest.raises(DecodeError) as refused:
        parse(de, value, dialect)
    assert (refused.value.de, refused.value.offset) == (de, offset), refused.value
    assert refused.value.reason.startswith(reason)


def test_values_that_make_no_element() -> None:
    for wrong, reason in (
        (["22"], "1 values for 7 subfields"),
        (["22", "1"], "60.2: wants n 6"),
        (["22", "00000A"], "60.2: not a digit"),
        (["2²", "000001"], "60.1: not a digit"),
    ):
        with pytest.raises(EncodeError, match=reason):
            build(60, wrong, POS)
    with pytest.raises(EncodeError, match="DE 4: has no subfields in the dialect"):
        build(4, ["1"], POS)
    assert parse(4, "000000000100", POS) == []
    assert layouts(4, POS) == []


@pytest.mark.parametrize("name", registry.names())
def test_noise_is_cut_or_refused_in_place(name: str) -> None:
    dialect = registry.get(name)
    composite = sorted({de for de in range(2, 129) if layouts(de, dialect)})

    @settings(max_examples=60, deadline=None)
    @given(
        st.sampled_from(composite),
        st.text("0123456789CD\\ ", max_size=130) | st.text(max_size=60) | st.binary(max_size=99),
        st.sampled_from([None, {0: "0500"}, {0: "0320", 60: "00000001201"}, {0: "0810"}]),
    )
    def check(de: int, value: str | bytes, around: Message | None) -> None:
        parts, error = parse_partial(de, value, dialect, around)
        assert [part.offset for part in parts] == sorted(part.offset for part in parts)
        if error is not None:
            assert error.de == de
            assert 0 <= error.offset <= 2 * len(value)
        elif parts and isinstance(value, str) and not isinstance(layouts(de, dialect)[0], Tagged):
            row = dialect.element(de)
            if row is None or row.content != "b":
                assert build(de, [part.value for part in parts], dialect, around) == value

    check()


def test_every_layout_has_both_names_and_rows() -> None:
    for name in registry.names():
        dialect = registry.get(name)
        for de in range(2, 129):
            for layout in layouts(de, dialect):
                if isinstance(layout, Tagged):
                    assert all(all(names) for names in layout.names.values())
                    continue
                assert all(layout.titles)
                assert all(all(part.names) for part in layout.subfields)
                row = dialect.element(de)
                if row is None or row.encoding == "bcd":
                    continue
                least = sum(part.size for part in layout.subfields[: max(layout.group_at, 0)])
                assert least <= row.size
