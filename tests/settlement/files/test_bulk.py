"""A file at once: the same rows as line by line, which is the reference, or not at once at all.

Method: rows of every format that is read at once are drawn from its sample, with whatever else its
table allows in the fields; then bytes, lines and ends of lines are changed.
"""

from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings, strategies as st

from settlement.clearing import ClearingRow
from settlement.columns import schema_of, structs_of
from settlement.files import bulk
from settlement.files.bulk import OddError
from settlement.files.layout import FileError, Layout
from settlement.files.registry import FORMATS
from settlement.files.rows import Parsed
from tests.depth import examples
from tests.settlement.files import samples
from tests.settlement.files.samples import FILES, context, file_name, read
from tests.settlement.files.test_round_trips import value_of
from tests.settlement.world import PAN, billed, trade

TYPES = [name for name, form in FORMATS.items() if form.at_once is not None]
ROWS = {
    "COM": billed(trade(1)),
    "ACOMA": samples.acoma_row(),
    "ALFEE": samples.alfee_row(),
    "ERRA": samples.erra_row(),
    "ZM": samples.zm_row(),
    "PRESENTMENT": samples.presentment_row(),
}
# what a draw of any value would nearly always refuse
JUDGED = {"transmission_time", "original_time", "original_settlement_date", "settlement_date"}
JUDGED |= {"mti", "response_code", "debit_credit", "type", "pan", "reversal_flag", "void_flag"}
ODD_BYTES = b' 0159CDZ,"\n\r\x1a\x00\xb2\xc0\xcf'
SLOW = settings(max_examples=examples(20), deadline=None)


def at_once(type_: str, data: bytes) -> Parsed | None:
    form = FORMATS[type_]
    assert form.at_once is not None
    try:
        batches = list(form.at_once(data, file_name(type_), context(type_)))
    except OddError:
        return None
    table = pa.Table.from_batches([one.transactions for one in batches], schema_of(ClearingRow))
    transactions = structs_of(ClearingRow, table)
    return Parsed(
        transactions=sorted(transactions, key=lambda row: row.line),
        rows=sorted((row for one in batches for row in one.rows), key=lambda row: row.line),
    )


def line_by_line(type_: str, data: bytes) -> Parsed | None:
    try:
        return read(type_, data)
    except FileError:
        return None


@st.composite
def rows_of(draw: st.DrawFn, type_: str) -> dict[str, Any]:
    (layout,) = FORMATS[type_].layouts
    assert isinstance(layout, Layout)
    others = [field for field in layout.fields if field.name not in JUDGED]
    chosen = draw(st.lists(st.sampled_from(others), max_size=8, unique=True))
    changes = {field.name: draw(value_of(field)) for field in chosen}
    if type_ in ("COM", "ACOMA") and draw(st.booleans()):
        changes |= {"mti": "0420", "original_stan": "000001", "partial_amount": 1}
    if type_ == "ACOMA":
        changes["rrn"] = draw(st.sampled_from((None, "621500000001")))
        changes["reversal_flag"] = draw(st.sampled_from((None, None, "R")))
        changes["void_flag"] = draw(st.sampled_from((None, None, "C")))
    if type_ == "ERRA":
        changes["original_settlement_date"] = draw(st.sampled_from((None, "0000", "1231", "0229")))
    return {**ROWS[type_], "pan": draw(st.sampled_from((PAN, "6222021234567"))), **changes}


def rendered(type_: str, rows: list[dict[str, Any]], end: bytes) -> bytes:
    (layout,) = FORMATS[type_].layouts
    assert isinstance(layout, Layout)
    return layout.render(rows, end)


def test_every_sample_of_one_width_is_read_at_once() -> None:
    assert set(TYPES) == set(ROWS)
    for type_ in TYPES:
        assert at_once(type_, FILES[type_]) == read(type_, FILES[type_])


@pytest.mark.parametrize("type_", TYPES)
@SLOW
@given(st.data())
def test_a_right_file_is_read_at_once(type_: str, data: st.DataObject) -> None:
    rows = data.draw(st.lists(rows_of(type_), max_size=4))
    text = rendered(type_, rows, data.draw(st.sampled_from((b"\n", b"\r\n"))))
    found = line_by_line(type_, text)
    assert at_once(type_, text) == found


@pytest.mark.parametrize("type_", TYPES)
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_what_is_read_at_once_is_what_lines_say(type_: str, data: st.DataObject) -> None:
    """With any byte of it changed, a line trimmed or added to: at once the same, or not at once."""
    rows = data.draw(st.lists(rows_of(type_), min_size=1, max_size=3))
    text = bytearray(rendered(type_, rows, b"\n"))
    for _ in range(data.draw(st.integers(0, 2))):
        place = data.draw(st.integers(0, len(text) - 1))
        text[place] = data.draw(st.sampled_from(ODD_BYTES))
    ends = [b"\n", b" \n", b" 1\n", b"x\n", b"", b"\n\x1a", b"\n\n"]
    changed = bytes(text).replace(b"\n", data.draw(st.sampled_from(ends)))
    found = at_once(type_, changed)
    if found is not None:
        assert found == line_by_line(type_, changed)


def test_batches_are_one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs of flagged rows may stand in different batches."""
    monkeypatch.setattr(bulk, "LINES", 2)
    flagged = [
        samples.acoma_row(1, void_flag="C"),
        *(samples.acoma_row(number) for number in range(2, 6)),
        samples.acoma_row(1, void_flag="C", processing_code="200000"),
    ]
    text = rendered("ACOMA", flagged, b"\n")
    found = at_once("ACOMA", text)
    assert found == read("ACOMA", text)
    assert [row.kind for row in found.rows].count("left_out") == 2
