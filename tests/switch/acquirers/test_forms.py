"""What is wrong with a form is told where it stands, before it is in force."""

from __future__ import annotations

from typing import Any

import pytest

from switch.acquirers.forms import SHIPPED, faults, form_of
from switch.reference_file import ReferenceFileError, parse, render

LINK = """
[[link]]
acquirer = "bank_b"
host = "b"
port = 1
de32 = "48000000"
dialect = "iso1987_binary.key_16"
key_form = "hex"
"""
ADDRESS = "{ name = 'to', hex = '0001', answer = 'from' }"


def refused(form: str, more: str = "") -> str:
    with pytest.raises(ReferenceFileError) as caught:
        parse(LINK + more + f"form = {form}\n", "f", {})
    return str(caught.value).removeprefix("f: link[1].")


def based(**changes: Any) -> str:
    """The shipped form with one thing other, as TOML."""
    return f"{{ base = 'binary_host', {', '.join(f'{k} = {v}' for k, v in changes.items())} }}"


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ("'nobody'", "form: no 'nobody'; there are binary_host"),
        ("{ base = 'nobody' }", "form.base: no 'nobody'; there are binary_host"),
        (based(colour="'red'"), "form: object contains unknown field `colour`"),
        (based(addresses="{ city = '00' }"), "form.addresses.city: no such field"),
        (based(addresses="{ length = '0000' }"), "form.addresses.length: no such field"),
        (based(addresses="{ source = '00' }"), "form.addresses.source: 4 hex digits"),
        (based(addresses="{ source = '000G' }"), "form.addresses.source: 4 hex digits"),
        (based(addresses="'0001'"), "form.addresses: a table"),
        (based(header=f"[{ADDRESS}]"), "form.header[1].answer: a field of the header, as wide"),
        (based(header="[{ name = 'a', hex = '0' }]"), "form.header[1].hex: whole bytes in hex"),
        (based(header="[{ name = 'a' }]"), "form.header[1].hex: whole bytes in hex"),
        (based(header="[{ name = 'a', length = 9 }]"), "form.header[1].length: 1 to 4 bytes"),
        (based(header="[{ name = 'A', hex = '00' }]"), "form.header[1].name: small letters"),
        (
            based(header="[{ name = 'a', hex = '00' }, { name = 'a', hex = '01' }]"),
            "form.header: two fields have one name",
        ),
        (based(mtis="{ 020 = '20' }"), "form.mtis.020: three digits of an MTI"),
        (based(mtis="{ 020 = '021', 022 = '021' }"), "form.mtis: two of ours are one of theirs"),
        (based(elements="{}"), "form.elements: says which elements stand in which message"),
        (based(elements="{ 020 = [200] }"), "form.elements.020: dialect iso1987_binary.key_16"),
        (based(moves="{ 59 = 200 }"), "form.moves.59: dialect iso1987_binary.key_16 has no DE 200"),
        (based(moves="{ 59 = 125, 60 = 125 }"), "form.moves: two of ours go to one of theirs"),
        (based(compose="{ 200 = '' }"), "form.compose.200: dialect"),
        (based(values="{ 39 = { 00 = '00' } }"), "form.values.39: has a table of its own"),
        (based(values="{ 22 = { 05 = '5' } }"), "form.values.22.05: a beginning and another"),
        (
            based(values="{ 70 = { 001 = '071', 002 = '071' } }"),
            "form.values.70: two of ours are one of theirs",
        ),
        (based(types="[{ mti = '20', code = '00' }]"), "form.types[1].mti: three digits"),
        (based(types="[{ mti = '020', code = '0' }]"), "form.types[1].code: two digits"),
        (
            based(types="[{ mti = '020', code = '00' }, { mti = '020', code = '00' }]"),
            "form.types[2]: stands twice",
        ),
        (
            based(
                types="[{ mti = '020', code = '00', their_code = '50' },"
                " { mti = '010', code = '20', their_code = '50' }]"
            ),
            "form.types[2].their_code: 50 of 042 is another of ours already",
        ),
        (based(codes_in="{ 00 = '000' }"), "form.codes_in.00: two characters of DE 39 to two"),
        (based(codes_in="{ 00 = 'ZZ' }"), "form.codes_in.00: ZZ stands for what is in no table"),
        (based(original="['mti', 'stan']"), "form.original: each of mti, stan, time, de32, de33"),
        (based(mac_element="'64'"), "form.mac_element: invalid enum value '64'"),
        (
            based(key="{ usage = 53, usages = { TMK = '01' }, key = 96 }"),
            "form.key.usages: ZPK and ZAK, each with a value of its own",
        ),
        (
            based(key="{ usage = 53, usages = { ZPK = '01' }, key = 200 }"),
            "form.key.key: dialect iso1987_binary.key_16 has no DE 200",
        ),
    ],
)
def test_what_is_refused(form: str, says: str) -> None:
    assert refused(form).startswith(says)


def test_a_form_needs_a_dialect_that_can_carry_it() -> None:
    link = LINK.replace("iso1987_binary.key_16", "unionpay_pos")
    with pytest.raises(ReferenceFileError, match=r"form: dialect unionpay_pos lacks DE 7$"):
        parse(link + "form = 'binary_host'\n", "f", {})
    with pytest.raises(ReferenceFileError, match="key_form: hex: DE 96 of the form has no room"):
        parse(LINK.replace("hex", "tr31") + "form = 'binary_host'\n", "f", {})
    assert refused("'binary_host'", "header_hex = '00'\n").startswith("header_hex: the form has")


def test_what_is_shipped_is_right_and_comes_back() -> None:
    for name, form in SHIPPED.items():
        assert not list(faults(form, "iso1987_binary.key_16"))
        assert form_of(name) == form
    text = LINK + "form = { base = 'binary_host', addresses = { network = '0601' } }\n"
    entries = parse(text, "f", {})
    assert parse(render(entries), "f", {}) == entries
    changed = form_of(entries[0][2]["form"])
    assert changed is not None
    assert changed.header[0].hex == "0601"
    assert changed.types == SHIPPED["binary_host"].types
