"""Round trips: whatever a table can hold comes back from the line that renders it.

Method: values are drawn field by field from what the format of each allows, for every table; a line
is rendered, split, and compared. Files with trailers are rendered whole and read back.
"""

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from iso8583.dialects.ipm import IPM
from iso8583.dialects.table import Element
from settlement.files import ipm, merchant_check, vbs
from settlement.files.layout import Field, Layout, signed
from settlement.files.registry import FORMATS
from tests.settlement.files.samples import check_row, csv_text, file_name, presented, read
from tests.settlement.world import PAN

TABLES = {
    table.name: table
    for form in FORMATS.values()
    for table in form.layouts
    if isinstance(table, Layout)
}
TEXT = st.text("茶馆老Tea 9-()", min_size=1).map(str.strip).filter(bool)


def value_of(field: Field) -> st.SearchStrategy[Any]:
    if field.format == "n":
        made: st.SearchStrategy[Any] = st.text(
            "0123456789", min_size=field.length, max_size=field.length
        )
    elif field.format == "n..":
        made = st.text("0123456789", min_size=1, max_size=field.length)
    elif field.format in ("x+n", "xn"):
        most = 10 ** (field.length - 1) - 1
        made = st.integers(-most, most)
    else:
        made = TEXT.map(lambda text: cut(text, field.length))
    return st.none() | made if field.optional else made


def cut(text: str, width: int) -> str | None:
    while len(text.encode("gbk")) > width:
        text = text[:-1]
    return text.strip() or None


@pytest.mark.parametrize("name", TABLES)
@given(data=st.data())
@settings(max_examples=40)
def test_a_line_comes_back_as_it_was(name: str, data: st.DataObject) -> None:
    table = TABLES[name]
    values = {field.name: data.draw(value_of(field), field.name) for field in table.fields}
    if any(not f.optional and values[f.name] is None for f in table.fields):
        return
    line = table.join(values)
    assert len(line) == table.length + len(table.separator)
    found = dict(zip(table.names, table.split(line, "x", 1), strict=True))
    for field in table.fields:
        if field.format in ("x+n", "xn"):
            assert signed(found[field.name]) == values[field.name], field.name
        else:
            assert found[field.name] == values[field.name], field.name


AMOUNTS = st.lists(st.tuples(st.booleans(), st.integers(0, 10**10)), max_size=6)


@given(AMOUNTS)
def test_a_check_file_comes_back_with_its_sums(amounts: list[tuple[bool, int]]) -> None:
    rows = [
        check_row(stan=n, code="R07" if back else "S22", amount=amount)
        for n, (back, amount) in enumerate(amounts)
    ]
    parsed = read("CHECK", merchant_check.render(rows))
    effects = [-amount if back else amount for back, amount in amounts]
    assert [row.effect_minor for row in parsed.transactions] == effects


@given(AMOUNTS)
def test_a_csv_comes_back_with_its_sums(amounts: list[tuple[bool, int]]) -> None:
    def yuan(minor: int) -> str:
        return f'"{minor // 100:,}.{minor % 100:02d}"'

    rows = [
        f"{'退货' if back else '消费'},{n},2026-08-03 00:00:00,{yuan(amount)},0,{PAN},m,"
        for n, (back, amount) in enumerate(amounts)
    ]
    total = yuan(sum(amount for _, amount in amounts))
    parsed = read("CSV", csv_text(*rows, count=len(rows), amount=total, fee="0"))
    effects = [-amount if back else amount for back, amount in amounts]
    assert [row.effect_minor for row in parsed.transactions] == effects


def element(row: Element) -> st.SearchStrategy[Any]:
    least = row.size if row.prefix == "fixed" else 1
    if row.content == "b":
        return st.binary(min_size=least, max_size=row.size)
    characters = {"n": "0123456789", "an": "09AZaz"}.get(row.content, "AZ az09-./\\")
    return st.text(
        characters, min_size=least, max_size=min(row.size, 60) if least == 1 else row.size
    )


OTHERS = [row for row in IPM.elements if row.de not in (*ipm.PDS_ELEMENTS, 71)]


@given(
    data=st.data(),
    ebcdic=st.booleans(),
    hexed=st.booleans(),
    blocked=st.booleans(),
    count=st.integers(0, 5),
)
def test_ipm_comes_back_in_every_coding(
    data: st.DataObject, ebcdic: bool, hexed: bool, blocked: bool, count: int
) -> None:
    messages: list[dict[int, Any]] = []
    for number in range(count):
        chosen = data.draw(st.sets(st.sampled_from(OTHERS), max_size=8))
        message = {row.de: data.draw(element(row)) for row in chosen}
        messages.append({**presented(number), **message, 24: "200"})
    expected = ipm.IpmExpected(ebcdic=ebcdic, hex_bitmap=hexed)
    written = ipm.render(messages, "0022608030000001234500001", expected, blocked=blocked)
    assert vbs.is_blocked(written) == blocked
    records = ipm.read(written, file_name("IPM"), expected)
    found = [{de: v for de, v in one.message.items() if de != 71} for one in records]
    assert found == messages


@given(st.lists(st.binary(min_size=1, max_size=2_500), max_size=5), st.booleans())
def test_vbs_comes_back(records: list[bytes], blocked: bool) -> None:
    written = vbs.write(records, blocked=blocked)
    if vbs.is_blocked(written) == blocked:  # noise may look blocked
        assert vbs.read(written, "x") == records
