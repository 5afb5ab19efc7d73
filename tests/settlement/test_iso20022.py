"""pain.001 out and camt.053 in, against the standard's own schemas.

Goal: a bank takes our file, and what a bank may send is read as it means it or refused as a whole.
Method: files are validated by `xmlschema` with the schemas that ISO 20022 publishes; statements are
written by hand (`payout_world.camt`), then bent one thing at a time; hostile XML is refused.
"""

from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
import xmlschema
from hypothesis import given, settings, strategies as st

from settlement.iso20022 import camt053, pain001
from settlement.iso20022.camt053 import StatementError
from settlement.iso20022.xml import DEPTH_MAX, XmlError, parse
from settlement.payouts.orders import end_to_end_id, orders_hash
from settlement.payouts.ports import Batch, Order
from tests.settlement.payout_world import MONDAY, NUMBERS, RESERVE, TEA, Told, camt

SCHEMAS = Path(__file__).parent.parent / "vectors" / "iso20022"
AT = datetime(2026, 8, 4, 10, 0, 0, tzinfo=UTC)


@cache
def schema(name: str) -> xmlschema.XMLSchema:
    return xmlschema.XMLSchema(str(SCHEMAS / f"{name}.xsd"))


def valid(name: str, data: bytes) -> None:
    schema(name).validate(data.decode())


# -- pain.001 -------------------------------------------------------------------------------------


def batch_of(*orders: Order, currency: str = "156", name: str = "Tongbao", bank: str = "") -> Batch:
    return Batch(
        "20260804-001",
        MONDAY,
        RESERVE,
        currency,
        "payout",
        len(orders),
        sum(order.amount_minor for order in orders),
        orders_hash(orders),
        name,
        "110000000000000001",
        bank or "PBOCCNBJ",
        AT,
        "ma",
    )


def order(number: int = 1, amount: int = 12_345, **changes: Any) -> Order:
    made = Order(
        "20260804-001",
        end_to_end_id(MONDAY, "T+1", TEA, "156", number),
        TEA,
        "156",
        "T+1",
        number,
        amount,
        0,
        MONDAY,
        "Tea House",
        "6222020200012345678",
        "102100099996",
    )
    return msgspec.structs.replace(made, **changes)


def test_a_file_is_as_the_schema_wants_it_and_says_what_the_orders_say() -> None:
    orders = [order(1), order(2, 5, creditor_name="老茶馆 & <Söhne>", creditor_bank="DEUTDEFF500")]
    data = pain001.render(batch_of(*orders), orders)
    valid("pain.001.001.09", data)
    found: Any = schema("pain.001.001.09").to_dict(data.decode())
    of = found["CstmrCdtTrfInitn"]
    assert of["GrpHdr"]["MsgId"] == "TB20260804-001"
    assert of["GrpHdr"]["CreDtTm"] == "2026-08-04T10:00:00Z"
    assert str(of["GrpHdr"]["CtrlSum"]) == "123.50"
    (payment,) = of["PmtInf"]
    assert payment["ReqdExctnDt"] == {"Dt": "2026-08-03"}
    first, second = payment["CdtTrfTxInf"]
    assert first["PmtId"]["EndToEndId"] == orders[0].end_to_end_id
    assert first["CdtrAgt"]["FinInstnId"]["ClrSysMmbId"]["MmbId"] == "102100099996"
    assert second["CdtrAgt"]["FinInstnId"]["BICFI"] == "DEUTDEFF500"
    assert second["Cdtr"]["Nm"] == "老茶馆 & <Söhne>"
    assert str(second["Amt"]["InstdAmt"]["$"]) == "0.05"


def test_the_order_of_the_orders_does_not_count() -> None:
    orders = [order(1), order(2), order(3)]
    batch = batch_of(*orders)
    assert pain001.render(batch, orders) == pain001.render(batch, orders[::-1])


@pytest.mark.parametrize("change", ["amount", "one missing", "none"])
def test_a_batch_that_is_not_its_orders_is_never_written(change: str) -> None:
    orders = [order(1), order(2)]
    batch = batch_of(*orders)
    bent = {"amount": [order(1), order(2, 1)], "one missing": [order(1)], "none": []}[change]
    with pytest.raises(AssertionError):
        pain001.render(batch, bent)


@settings(max_examples=60, deadline=None)
@given(
    name=st.text(max_size=200),
    account=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=34),
    bank=st.sampled_from(["102100099996", "PBOCCNBJ", "PBOCCNBJXXX", "x"]),
    amount=st.integers(1, 10**13),
    currency=st.sampled_from(["156", "392", "048"]),
)
def test_whatever_reference_data_says_the_file_is_valid(
    name: str, account: str, bank: str, amount: int, currency: str
) -> None:
    one = order(
        1,
        amount,
        creditor_name=name,
        creditor_account=account,
        creditor_bank=bank,
        currency=currency,
    )
    data = pain001.render(batch_of(one, currency=currency, name=name, bank=bank), [one])
    valid("pain.001.001.09", data)


@pytest.mark.parametrize("change", [{"creditor_account": "1" * 35}, {"creditor_bank": "1" * 36}])
def test_an_account_that_is_too_long_is_never_cut(change: dict[str, Any]) -> None:
    one = order(1, **change)
    with pytest.raises(AssertionError):
        pain001.render(batch_of(one), [one])


def test_an_iban_is_told_as_one_and_a_number_that_looks_like_one_is_not() -> None:
    orders = [
        order(1, creditor_account="DE89370400440532013000"),
        order(2, creditor_account="DE88370400440532013000"),
    ]
    data = pain001.render(batch_of(*orders), orders)
    valid("pain.001.001.09", data)
    assert data.count(b"<IBAN>DE89370400440532013000</IBAN>") == data.count(b"<IBAN>") == 1


def test_end_to_end_ids_differ_wherever_the_payouts_do() -> None:
    made = {
        end_to_end_id(day, cycle, merchant, currency, sequence)
        for day in (MONDAY, date(2026, 8, 4))
        for cycle in ("T+0", "T+1", "T+10")
        for merchant in (TEA, "A 1            ", "A-1            ", "茶" * 15)
        for currency in ("156", "344")
        for sequence in (1, 2, 999)
    }
    assert len(made) == 2 * 3 * 4 * 2 * 3
    assert all(len(one) <= 35 and one.isalnum() for one in made)


# -- camt.053 -------------------------------------------------------------------------------------


def ours(number: str) -> str | None:
    return RESERVE if number == NUMBERS[RESERVE] else None


def statement(*told: Told, opening: int = 100, closing: int | None = None, **bent: Any) -> bytes:
    if closing is None:
        closing = opening + sum(one.amount_minor for one in told if one.status == "BOOK")
    values: dict[str, Any] = {
        "statement_id": "S1",
        "number": 7,
        "account": NUMBERS[RESERVE],
        "day": MONDAY,
        "opening": opening,
        "told": told,
        "closing": closing,
    }
    return camt(**(values | bent))


LINES = (
    Told(15_000, counterparty="990001", text="2026-08-03 settlement"),
    Told(-1_234, "P1"),
    Told(1_234, "P1", reason="AC04"),
    Told(-1, batch="TB20260804-001"),
    Told(999, status="PDNG"),
)


def test_a_statement_is_what_the_schema_knows_and_read_as_it_means() -> None:
    data = statement(*LINES)
    valid("camt.053.001.08", data)
    (found,) = camt053.parse(data, ours)
    of = found.statement
    assert (of.account, of.id, of.sequence, of.currency) == (RESERVE, "S1", 7, "156")
    assert (of.opening_minor, of.closing_minor, of.lines) == (100, 15_099, 4)
    assert of.first == of.last == MONDAY
    credit, debit, back, batch = found.lines
    assert (credit.amount_minor, credit.counterparty, credit.text) == (
        15_000,
        "990001",
        "2026-08-03 settlement",
    )
    assert (debit.amount_minor, debit.end_to_end_id, debit.return_reason) == (-1_234, "P1", "")
    assert (back.amount_minor, back.return_reason) == (1_234, "AC04")
    assert (batch.amount_minor, batch.batch, batch.end_to_end_id) == (-1, "TB20260804-001", "")


def test_the_hash_is_of_what_is_said_and_not_of_the_bytes() -> None:
    data = statement(*LINES)
    (one,) = camt053.parse(data, ours)
    (other,) = camt053.parse(data.replace(b"\n", b"\n\n  "), ours)
    assert one == other
    (third,) = camt053.parse(data.replace(b"990001", b"990002"), ours)
    assert one.statement.sha256 != third.statement.sha256


DETAIL = (
    '<TxDtls><Refs><EndToEndId>{id}</EndToEndId></Refs><Amt Ccy="CNY">{amount}</Amt>'
    "<CdtDbtInd>DBIT</CdtDbtInd></TxDtls>"
)


def collective(*amounts: str) -> bytes:
    details = "".join(DETAIL.format(id=f"P{n}", amount=a) for n, a in enumerate(amounts, 1))
    data = statement(Told(-300, "X")).decode()
    first, rest = data.split("<NtryDtls>")
    return f"{first}<NtryDtls>{details}</NtryDtls>{rest.split('</NtryDtls>')[1]}".encode()


def test_a_card_number_in_the_text_of_a_line_is_masked() -> None:
    card, other = "6222021234567890123", "6222021234560000123"
    told = [statement(Told(1, text=f"refund to {one}")) for one in (card, other)]
    (first,), (second,) = (camt053.parse(one, ours) for one in told)
    assert first.lines[0].text == second.lines[0].text == "refund to 622202*********0123"
    assert first.statement.sha256 != second.statement.sha256, "other content all the same"


def test_an_entry_with_several_details_is_several_lines() -> None:
    data = collective("1.00", "2.00")
    valid("camt.053.001.08", data)
    (found,) = camt053.parse(data, ours)
    assert [(x.line, x.end_to_end_id, x.amount_minor) for x in found.lines] == [
        (1, "P1", -100),
        (2, "P2", -200),
    ]
    with pytest.raises(StatementError, match="S1: entry 1: its details sum to -400"):
        camt053.parse(collective("1.00", "3.00"), ours)
    with pytest.raises(StatementError, match="its detail is -100, the entry is -300"):
        camt053.parse(collective("1.00"), ours)


BENT: list[tuple[bytes, str]] = [
    (statement(*LINES, closing=15_098), "opening 100 and entries 14999 are not closing 15098"),
    (statement(account="4711"), "no bank account of ours has the number '4711'"),
    (statement(statement_id="a/b"), "'a/b' is no statement id"),
    (statement(statement_id=""), "is no statement id"),
    (statement(Told(1)).replace(b"0.01", b"0.011", 3), "more decimal places"),
    (statement(Told(1)).replace(b"0.01", b"1e3", 3), "'1e3' is no amount"),
    (statement(Told(1)).replace(b"0.01", b"-0.01", 3), "is no amount"),
    (statement(Told(1)).replace(b"0.01", b"9" * 15, 3), "is beyond what the books hold"),
    (statement(Told(1)).replace(b'"CNY">0.01', b'"XXX">0.01'), "currency 'XXX' is not known"),
    (statement(Told(1)).replace(b'"CNY">0.01', b'"HKD">0.01'), "in 344, the account is in 156"),
    (statement(Told(1)).replace(b"CRDT", b"BOTH"), "neither CRDT nor DBIT"),
    (statement(Told(1)).replace(b"<Dt>2026-08-03</Dt>", b"<Dt>3.8.2026</Dt>"), "is no date"),
    (statement().replace(b"OPBD", b"XXXX"), "no balance OPBD or PRCD or ITBD"),
    (statement().replace(b"Stmt>", b"Rpt>"), "no BkToCstmrStmt/Stmt"),
    (statement().replace(b"camt.053.001.08", b"camt.053.001.02"), "the document is"),
    (statement()[:-20], "line"),
    (b"", "line 1"),
    (b"\xff\xfe", "line 1"),
    (statement(Told(1, text="\x01")), "line"),
    (statement().replace(b"<Document", b"<!DOCTYPE Document><Document"), "document type"),
    (
        statement().replace(
            b"<Document", b'<!DOCTYPE D [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><Document'
        ),
        "document type is not allowed",
    ),
    (
        statement(Told(1, text="&x;")).replace(
            b"<Document", b'<!DOCTYPE D [<!ENTITY x SYSTEM "file:///etc/passwd">]><Document'
        ),
        "document type is not allowed",
    ),
    (statement(Told(1, text="x" * 5_000)), "more than 4096 characters"),
    (statement(Told(1, text="<a>" * 40 + "</a>" * 40)), f"more than {DEPTH_MAX} elements"),
]


@pytest.mark.parametrize(("data", "why"), BENT, ids=[why for _, why in BENT])
def test_what_does_not_add_up_or_is_hostile_is_refused_whole(data: bytes, why: str) -> None:
    with pytest.raises(StatementError) as refused:
        camt053.parse(data, ours)
    assert why in str(refused.value)


@pytest.mark.parametrize("number", ["9" * 19, "\u0663", "-1", ""])
def test_a_number_that_is_none_is_not_told(number: str) -> None:
    """The statement stands without it; what is told fits the store's bigint."""
    data = statement().replace(b"SeqNb>7<", f"SeqNb>{number}<".encode())
    assert data != statement()
    (found,) = camt053.parse(data, ours)
    assert found.statement.sequence is None


def test_the_same_statement_twice_in_a_document() -> None:
    one = statement().decode()
    inside = one[one.index("<Stmt>") : one.index("</Stmt>") + 7]
    with pytest.raises(StatementError, match="stands twice"):
        camt053.parse(one.replace("</Stmt>", f"</Stmt>{inside}").encode(), ours)


def test_an_extension_of_someone_else_is_not_taken_for_the_standard() -> None:
    data = statement(Told(1)).replace(
        b"</Stmt>", b'<x:Ntry xmlns:x="urn:x"><Amt Ccy="CNY">5</Amt></x:Ntry></Stmt>'
    )
    (found,) = camt053.parse(data, ours)
    assert found.statement.lines == 1


def test_a_document_of_many_megabytes_is_refused_before_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("settlement.iso20022.xml.BYTES_MAX", 100)
    with pytest.raises(XmlError, match="more than 100"):
        parse(b"x" * 101, camt053.NAMESPACE)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_byte_changed_anywhere_is_refused_or_still_adds_up(data: st.DataObject) -> None:
    good = statement(*LINES)
    at = data.draw(st.integers(0, len(good) - 1))
    bent = good[:at] + bytes([data.draw(st.integers(0, 255))]) + good[at + 1 :]
    try:
        found = camt053.parse(bent, ours)
    except StatementError:
        return
    for one in found:
        moved = sum(line.amount_minor for line in one.lines)
        assert one.statement.opening_minor + moved == one.statement.closing_minor


AMOUNTS = st.integers(-(10**12), 10**12).filter(bool)


@settings(max_examples=50, deadline=None)
@given(st.lists(AMOUNTS, max_size=20), st.integers(0, 10**12))
def test_amounts_go_through_unchanged(amounts: list[int], opening: int) -> None:
    data = statement(*(Told(amount) for amount in amounts), opening=opening)
    valid("camt.053.001.08", data)
    (found,) = camt053.parse(data, ours)
    assert [line.amount_minor for line in found.lines] == amounts
    assert found.statement.opening_minor == opening
