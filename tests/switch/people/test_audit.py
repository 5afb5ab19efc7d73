"""The chain and its verifier.

Goal: whatever one row is made to say afterwards, the verifier names that row. Method: chains of drawn
texts, one row changed, dropped, doubled, exchanged or rewritten with its hash.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from switch.people.audit import GENESIS, Anchor, Broken, Record, Verifier, append, record_hash

AT = dt.datetime(2026, 3, 4, 5, 6, 7, 8, tzinfo=dt.UTC)
TEXTS = st.text(max_size=8)
FIELDS = ("actor", "act", "object", "before", "after")


def chain(contents: list[tuple[str, str, str, str, str]]) -> list[Record]:
    made: list[Record] = []
    for number, texts in enumerate(contents):
        at = AT + dt.timedelta(seconds=number)
        made.append(append(made[-1] if made else None, at, *texts[:5]))
    return made


CHAINS = st.lists(st.tuples(*[TEXTS] * 5), min_size=1, max_size=6).map(chain)


def verify(records: list[Record], anchor: Anchor | None = None) -> Broken | None:
    verifier = Verifier(anchor)
    for record in records:
        broken = verifier.take(record)
        if broken is not None:
            return broken
    return verifier.end()


def rehashed(record: Record) -> Record:
    return msgspec.structs.replace(record, hash=record_hash(record))


@given(CHAINS)
def test_a_chain_holds_and_its_end_is_the_anchor(records: list[Record]) -> None:
    verifier = Verifier()
    assert [verifier.take(record) for record in records] == [None] * len(records)
    assert verifier.end() is None
    assert verify(records, Anchor.parse(str(verifier.anchor))) is None


def changed(record: Record, data: st.DataObject) -> Record:
    """The record with one field that is another."""
    name = data.draw(st.sampled_from([*FIELDS, "at", "result", "previous", "hash"]))
    former = getattr(record, name)
    others: dict[str, st.SearchStrategy[Any]] = {
        "at": st.just(AT - dt.timedelta(microseconds=1)),
        "result": st.just("refused"),
        "previous": st.binary(min_size=32, max_size=32),
        "hash": st.binary(min_size=32, max_size=32),
    }
    value = data.draw(others.get(name, TEXTS).filter(lambda value: value != former))
    return msgspec.structs.replace(record, **{name: value})


@given(CHAINS, st.data())
def test_a_changed_row_is_named(records: list[Record], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(records) - 1))
    records[at] = changed(records[at], data)
    assert verify(records) == Broken(at + 1, "changed")


@given(CHAINS, st.data())
def test_a_row_that_was_changed_with_its_hash_is_named(
    records: list[Record], data: st.DataObject
) -> None:
    """All but the last: against that, and against a whole new end, stands the anchor."""
    anchor = Anchor(records[-1].seq, records[-1].hash)
    at = data.draw(st.integers(0, len(records) - 1))
    false = rehashed(changed(records[at], data))
    if false == records[at]:  # only its hash was changed, and so is right again
        return
    records[at] = false
    first_fits = records[0].previous == GENESIS
    if at < len(records) - 1:
        assert verify(records) == Broken(at + 1, "rehashed")
    assert first_fits or at == 0
    broken = verify(records, anchor)
    assert broken is not None
    assert broken.seq == at + 1 or (broken.seq, broken.reason) == (at, "rehashed")


@given(CHAINS.filter(lambda records: len(records) > 1), st.data())
def test_a_row_that_is_missing_is_named(records: list[Record], data: st.DataObject) -> None:
    anchor = Anchor(records[-1].seq, records[-1].hash)
    at = data.draw(st.integers(0, len(records) - 1))
    del records[at]
    without_anchor = None if at == len(records) else Broken(at + 1, "missing")
    assert verify(records) == without_anchor
    assert verify(records, anchor) == Broken(at + 1, "missing")


@given(CHAINS, st.data())
def test_a_row_that_was_put_in_is_named(records: list[Record], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(records) - 1))
    records.insert(at, records[at])
    assert verify(records) == Broken(at + 1, "twice")


@given(CHAINS.filter(lambda records: len(records) > 1), st.data())
def test_rows_that_changed_places_are_named(records: list[Record], data: st.DataObject) -> None:
    """As rows of the table do: the content of one under the number of the other."""
    first = data.draw(st.integers(0, len(records) - 2))
    second = data.draw(st.integers(first + 1, len(records) - 1))
    one, other = records[first], records[second]
    records[first] = msgspec.structs.replace(other, seq=one.seq)
    records[second] = msgspec.structs.replace(one, seq=other.seq)
    assert verify(records) == Broken(first + 1, "changed")


@given(CHAINS)
def test_another_chain_altogether_is_not_the_anchors(records: list[Record]) -> None:
    noted = Anchor(records[-1].seq, bytes(31) + b"\1")
    assert verify(records, noted) == Broken(records[-1].seq, "not_the_anchor")


@pytest.mark.parametrize(
    "text", ["", "1", ":" + "00" * 32, "1:00", "x:" + "00" * 32, "1:" + "zz" * 32]
)
def test_what_is_no_anchor(text: str) -> None:
    with pytest.raises(ValueError, match=r"an anchor|hex"):
        Anchor.parse(text)


def test_fields_can_not_run_into_each_other() -> None:
    """`length:bytes`: moving a character from one field into the next makes another hash."""
    one, other = (append(None, AT, *texts, "", "", "") for texts in (("a", "bc"), ("ab", "c")))
    assert one.hash != other.hash
