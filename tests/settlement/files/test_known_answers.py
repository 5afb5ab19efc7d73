"""Known answers: lines put together by hand from the reference's widths, without our renderer.

Goal: the tables are the standard's, and every column goes where it belongs. Method: the reference's
own words, as they stand there, give the widths; lines are joined column by column from literals.
"""

import re
from datetime import date

import pytest

from settlement.clearing import ClearingRow
from settlement.files import acoma, alfee, com, erra, merchant_check, presentment, zm, zsum
from settlement.files.layout import FileError, Layout
from settlement.files.lines import latest_date
from settlement.files.rows import (
    Adjustment,
    AgencyFee,
    BrandFee,
    LeftOut,
    MerchantTotal,
    PayoutLine,
)
from tests.settlement.files.samples import acoma_row, read, zpsum_row, zsum_row
from tests.settlement.world import PAN, PANS

# settlement reference §1, as it stands there; repeats are written out
WIDTHS = {
    "ACOMA": (
        acoma.ACOMA,
        "sender 11, receiver 11, reversal flag 1, void flag 1, settlement date 4, session 2, name 40, "
        "currency 3, discount 9, merchant fee 9, bank 11, its fee 9, "
        + "role 11, role fee 9, " * 9
        + "custom 9, custom 9, custom 9, transfer-in card 19",
    ),
    "ALFEE": (
        alfee.ALFEE,
        "level-1 branch 11, UnionPay standard card 1, debit/credit 2, terminal type 2, medium 1, "
        "region 1, MCC 4, level-2 branch 11, acquirer 11, forwarder 11, issuer 11, receiver 11, "
        "collecting inst 11, MTI 4, proc 6, condition 2, trace 6, time 10, PAN 19, out card 28, in "
        "card 28, original info 42, terminal 8, merchant 15, RRN 12, amount 12, acquirer fee 12, "
        "brand fee 12, reserved 12, net 13, initiator 1, reserved 99",
    ),
    "ERRA": (
        erra.ERRA,
        "error type 3, acquirer 11, forwarder 11, trace 6, time 10, PAN 19, amount 12, MTI 4, proc 6, "
        "MCC 4, terminal 8, previous RRN 12, condition 2, auth 6, receiver 11, issuer 11, previous "
        "trace 6, response 2, entry 3, fee recv 12, fee pay 12, instalment fee 12, cardholder fee 12, "
        "receivable 12, payable 12, reason 4, out inst 11, out account 19, in inst 11, in account 19, "
        "previous date time 10, card seq 3, reader 1, IC 1, previous settlement date 4, previous "
        "amount 12, region 1, ECI 2, merchant 15, clearing inst 11, clearing inst 11, clearing inst "
        "11, previous terminal type 2, name 40, special fee type 2, level 1, reserved 8, product 24, "
        "original code 3, initiator 1, account type 2, reserved 46, original type 3, merchant fee 9, "
        "bank 11, bank fee 9",
    ),
    "ZSUM": (zsum.ZSUM, "merchant 15, name 80, amount 13, fee 13, net 13, reserved 200"),
    "ZPSUM": (
        zsum.ZPSUM,
        "merchant 15, MCC 4, name 80, bank name 60, CNAPS code 12, clearing no 12, account 32, account "
        "name 80, area 6, normal count 8, amount 13, fee 13, error count 8, amount 13, refunded fee "
        "13, other 13, net settle 13, two-line fee offset 13, party 1, released 13, held 13, top-up "
        "13, credited amount 13, responsible party 1, top-up type 1, reserved 198",
    ),
    "ZM": (
        zm.ZM,
        "trade code 3, acquirer 11, sender 11, trace 6, time 10, PAN 19, amount 12, MCC 4, terminal "
        "type 2, query id 21, pay type old 2, order 32, card type 2, original trace 6, original time "
        "10, fee 13, net 13, pay type 4, group merchant 15, txn type 2, sub type 2, biz 6, account 2, "
        "bill type 4, bill no 32, interact 1, original query id 21, merchant 15, split mode 1, sub "
        "merchant 15, name 32, sub amount 13, net 13, terminal 8, custom 32, discount 13, invoice 13, "
        "instalment fee 12, periods 2, medium 1, reserved 131",
    ),
    "CHECK": (
        merchant_check.CHECK,
        "settle date 8, code 3, trace 6, time 10, acquirer 11, forwarder 11, issuer 11, PAN 19, amount "
        "12, MCC 4, RRN 12, auth 6, terminal 8, merchant 15, name 40, debit fee 8, credit fee 8, "
        "status 5, reserved 100",
    ),
}
# name of ours -> offset in the reference
PRESENTED = {
    "pan": 0, "amount": 19, "currency": 31, "transmission_time": 34, "stan": 44, "auth_code": 50,
    "auth_date": 56, "rrn": 60, "acquirer_id": 72, "forwarder_id": 83, "mcc": 94, "terminal": 98,
    "merchant": 106, "merchant_name": 121, "original": 161, "reason": 184, "conversion": 188,
    "cups_serial": 189, "receiver_id": 198, "issuer_id": 209, "cryptogram": 262, "entry_mode": 278,
    "card_sequence": 281, "tvr": 292, "unpredictable_number": 302, "issuer_data": 318, "atc": 382,
    "aip": 386, "date": 390, "auth_amount": 403,
}  # fmt: skip


@pytest.mark.parametrize("name", WIDTHS)
def test_tables_have_the_references_widths_in_its_order(name: str) -> None:
    table, words = WIDTHS[name]
    wanted = [int(item.rsplit(" ", 1)[1]) for item in words.split(", ")]
    known = len(com.COM.fields) if name == "ACOMA" else 0
    assert [field.length for field in table.fields[known:]] == wanted
    gap = len(table.separator)
    assert table.length == sum(field.length + gap for field in table.fields) - gap


def test_the_presentments_offsets() -> None:
    offsets = {field.name: field.offset for field in presentment.PRESENTMENT.fields}
    assert {name: offsets[name] for name in PRESENTED} == PRESENTED


# -- lines by hand --------------------------------------------------------------------------------


def line(table: Layout, **values: str | bytes) -> bytes:
    """Literal cells at the widths of the reference, blanks elsewhere: nothing is filled or signed."""
    parts = []
    for field in table.fields:
        value = values.pop(field.name, "")
        raw = value if isinstance(value, bytes) else value.encode("gbk")
        assert len(raw) <= field.length, field.name
        parts.append(raw + b" " * (field.length - len(raw)))
    assert not values, values
    return table.separator.join(parts) + table.separator + b"\n"


COM_PART = {
    "acquirer_id": "48021000",
    "forwarder_id": "00010000",
    "stan": "000007",
    "transmission_time": "0803101500",
    "pan": PAN,
    "amount": "000000012345",
    "mti": "0200",
    "processing_code": "000000",
    "mcc": "5812",
    "terminal": "12345678",
    "merchant": "104110058120001",
    "rrn": "621500000007",
    "response_code": "00",
    "fee_payable": "000000000043",
    "switching_fee": "D00000000004",
}


def test_acoma_by_hand() -> None:
    data = line(
        acoma.ACOMA,
        **COM_PART,
        sender_institution="00010000",
        settlement_date="0803",
        session="01",
        merchant_name="老茶馆",
        currency="156",
        merchant_fee="D00000074",
        bank="01020000",
        bank_fee="000000005",
        institution_1="48021000",
        role_fee_1="C00000012",
        institution_9="99999999",
        role_fee_9="D00000001",
        custom_fee_3="        3".replace(" ", "0"),
    )
    parsed = read("ACOMA", data)
    (row,) = parsed.transactions
    assert (row.amount_minor, row.issuer_fee_minor, row.network_fee_minor) == (12345, 43, 4)
    (share,) = parsed.rows
    assert isinstance(share, AgencyFee)
    assert (share.merchant_name, share.session, share.bank) == ("老茶馆", "01", "01020000")
    assert (share.merchant_fee_minor, share.bank_fee_minor, share.amount_minor) == (-74, 5, 12345)
    assert share.shares[0] == ("48021000", 12)
    assert share.shares[8] == ("99999999", -1)
    assert share.shares[1:8] == (("", 0),) * 7
    assert share.custom_fees_minor == (0, 0, 3)


def test_alfee_by_hand() -> None:
    data = line(
        alfee.ALFEE,
        standard="1",
        debit_credit="02",
        mcc="5812",
        acquirer_id="48021000",
        issuer_id="01020000",
        collecting_institution="00010000",
        mti="0200",
        processing_code="000000",
        stan="000007",
        transmission_time="0803101500",
        pan=PAN,
        out_card="",
        original="0200000001080310140048021000   00010000",
        terminal="12345678",
        merchant="104110058120001",
        rrn="621500000007",
        amount="000000012345",
        acquirer_fee="C00000000001",
        brand_fee="D00000000012",
        net="D000000000011",
        initiator="1",
    )
    (row,) = read("ALFEE", data).rows
    assert isinstance(row, BrandFee)
    assert (row.debit_credit, row.standard_card, row.collecting_institution) == (
        "02",
        "1",
        "00010000",
    )
    assert (row.amount_minor, row.acquirer_fee_minor, row.brand_fee_minor) == (12345, 1, -12)
    assert (row.net_minor, row.stan, row.terminal, row.initiator) == (
        -11,
        "000007",
        "12345678",
        "1",
    )
    assert row.original == "0200000001080310140048021000   00010000"
    assert (row.pan_token, row.pan_masked) == (PANS.token(PAN), PANS.mask(PAN))


def test_erra_by_hand() -> None:
    data = line(
        erra.ERRA,
        error_type="E05",
        acquirer_id="48021000",
        stan="000009",
        transmission_time="0803090000",
        pan=PAN,
        amount="000000012345",
        original_rrn="612300000001",
        original_stan="000001",
        fee_receivable="000000000043",
        payable="000000012345",
        reason="4515",
        in_account=PAN,
        original_time="1231235959",
        original_settlement_date="1231",
        original_amount="000000020000",
        merchant="104110058120001",
        merchant_name="老茶馆",
        original_type="S22",
        merchant_fee="D00000074",
    )
    (row,) = read("ERRA", data).rows
    assert isinstance(row, Adjustment)
    assert (row.error_type, row.reason, row.stan) == ("E05", "4515", "000009")
    assert (row.rrn, row.original_stan, row.original_time) == (
        "612300000001",
        "000001",
        "1231235959",
    )
    assert row.original_settlement_date == date(2025, 12, 31)
    assert (row.amount_minor, row.original_amount_minor) == (12345, 20000)
    assert (row.payable_minor, row.fee_receivable_minor, row.net_minor) == (12345, 43, -12302)
    assert (row.merchant_fee_minor, row.original_type) == (-74, "S22")
    assert row.in_account_masked == "*" * 15 + "0123"
    assert PAN not in repr(row)


def test_zsum_and_zpsum_by_hand() -> None:
    (total,) = read(
        "ZSUM",
        line(
            zsum.ZSUM,
            merchant="104110058120001",
            name="老茶馆",
            amount="C000000012345",
            fee="D000000000074",
            net="0000000012271",
        ),
    ).rows
    assert isinstance(total, MerchantTotal)
    assert (total.name, total.amount_minor, total.fee_minor, total.net_minor) == (
        "老茶馆",
        12345,
        -74,
        12271,
    )
    (payout,) = read(
        "ZPSUM",
        line(
            zsum.ZPSUM,
            merchant="104110058120001",
            mcc="5812",
            name="老茶馆",
            bank_name="工商银行",
            bank_code="102100099996",
            account="0200000109098765432",
            account_name="老茶馆有限公司",
            count="00000003",
            amount="C000000012345",
            fee="D000000000074",
            error_count="00000001",
            error_amount="D000000001000",
            refunded_fee="C000000000006",
            net="C000000011277",
            held=" 000000001277",
            credited="C000000010000",
            responsible_party="1",
        ),
    ).rows
    assert isinstance(payout, PayoutLine)
    assert (payout.count, payout.amount_minor, payout.fee_minor) == (3, 12345, -74)
    assert (payout.error_count, payout.error_amount_minor, payout.refunded_fee_minor) == (
        1,
        -1000,
        6,
    )
    assert (payout.net_minor, payout.held_minor, payout.credited_minor) == (11277, 1277, 10000)
    assert (payout.bank_name, payout.account_name) == ("工商银行", "老茶馆有限公司")
    assert payout.account_masked == "*" * 15 + "5432"
    assert payout.account_token == PANS.token("0200000109098765432")


def test_check_file_by_hand() -> None:
    table = merchant_check.CHECK
    rows = [
        line(
            table,
            settlement_date="20260803",
            code=code,
            stan="000007",
            transmission_time="0803101500",
            acquirer_id="48021000",
            pan=PAN,
            amount=amount,
            rrn="621500000007",
            terminal="12345678",
            merchant="104110058120001",
            merchant_name="老茶馆",
            debit_fee=debit,
            credit_fee=credit,
        )
        for code, amount, debit, credit in (
            ("S22", "000000012345", "00000074", "00000000"),
            ("R07", "000000000345", "00000000", "00000002"),
        )
    ]
    trailer = b"9" * 10 + b" " * 69 + b"000000012690" + b" " * 85 + b"00000074" + b"00000002"
    data = b"0" * 297 + b"\n" + b"".join(rows) + trailer.ljust(297) + b"\n"
    sale, refund = read("CHECK", data).transactions
    assert (sale.effect_minor, sale.issuer_fee_minor) == (12345, 74)
    assert (refund.effect_minor, refund.issuer_fee_minor) == (-345, -2)
    off = data.replace(b"000000012690", b"000000012691")
    with pytest.raises(FileError, match="amount: the rows sum to 12690") as refused:
        read("CHECK", off)
    assert (refused.value.line, refused.value.column) == (4, 80)


def test_zm_by_hand() -> None:
    data = line(
        zm.ZM,
        acquirer_id="48021000",
        stan="000007",
        transmission_time="0803101500",
        amount="000000012345",
        query_id="202608031015000000078",
        type="04",
        fee="C000000000074",
        net="D000000012271",
        merchant="777290058110097",
    )
    (row,) = read("ZM", data).transactions
    assert (row.effect_minor, row.issuer_fee_minor, row.pan_masked) == (-12345, -74, "")
    assert (row.stan, row.transmission_time, row.merchant) == (
        "000007",
        "0803101500",
        "777290058110097",
    )
    with pytest.raises(FileError, match="type: not a type that gives or takes back"):
        read("ZM", data.replace(b" 04 ", b" 02 "))


def test_presentment_by_hand() -> None:
    data = (
        PAN.encode()
        + b"000000012345"
        + b"344"
        + b"0803101500"
        + b"000007"
        + b"123456"
        + b"0803"
        + b"621500000007"
        + b"48021000   "
        + b"00010000   "
        + b"5812"
        + b"12345678"
        + b"104110058120001"
        + "老茶馆".encode("gbk").ljust(40)
    ).ljust(278) + b"071"
    (row,) = read("PRESENTMENT", data.ljust(505) + b"\r\n").transactions
    assert (row.amount_minor, row.currency, row.rrn) == (12345, "344", "621500000007")
    assert (row.de32, row.de33, row.entry_mode) == ("48021000", "00010000", "071")
    assert row.mti == "0220"
    assert read("PRESENTMENT", data.ljust(519) + b"\r\n").transactions == [row]


# -- pairs that cancel ----------------------------------------------------------------------------


def pair(flag: str, *amounts: int, rrns: tuple[str, ...] = ("621500000009",) * 2) -> bytes:
    """A purchase and what takes it back, both flagged."""
    field = {"R": "reversal_flag", "C": "void_flag"}[flag]
    first = acoma_row(1, amounts[0], rrn=rrns[0], **{field: flag})
    second = acoma_row(2, amounts[1], rrn=rrns[1], **{field: flag})
    second |= {"mti": "0420"} if flag == "R" else {"processing_code": "200000"}
    return acoma.render([first, second, acoma_row(3)])


@pytest.mark.parametrize("flag", ["R", "C"])
def test_both_rows_of_a_flagged_pair_are_left_out(flag: str) -> None:
    parsed = read("ACOMA", pair(flag, 500, 500))
    assert [row.line for row in parsed.transactions] == [3]
    gone = [row for row in parsed.rows if isinstance(row, LeftOut)]
    assert [(row.line, row.flag, row.amount_minor) for row in gone] == [
        (1, flag, 500),
        (2, flag, -500),
    ]
    assert [row.line for row in parsed.rows if isinstance(row, AgencyFee)] == [3]


@pytest.mark.parametrize(
    "data",
    [
        pair("C", 500, 400),
        pair("C", 500, 500, rrns=("621500000009", "621500000010")),
        pair("R", 500, 500, rrns=("", "")),
    ],
)
def test_a_flag_alone_makes_no_money_disappear(data: bytes) -> None:
    parsed = read("ACOMA", data)
    assert [row.line for row in parsed.transactions] == [1, 2, 3]
    assert not [row for row in parsed.rows if isinstance(row, LeftOut)]


# -- text and dates -------------------------------------------------------------------------------


def test_a_name_may_lose_half_a_character_to_its_width() -> None:
    name = ("茶" * 40).encode("gbk")[1:]  # every character straddles: 79 bytes, the first is cut
    whole = ("a" + "茶" * 40).encode("gbk")[:80]
    assert len(whole) == 80
    data = line(zsum.ZSUM, merchant="104110058120001", name=whole, amount="C" + "0" * 12,
                fee="C" + "0" * 12, net="C" + "0" * 12)  # fmt: skip
    (row,) = read("ZSUM", data).rows
    assert isinstance(row, MerchantTotal)
    assert row.name == "a" + "茶" * 39
    with pytest.raises(FileError, match="name: not gbk text"):
        read("ZSUM", data.replace(whole, b"\xff" + name))


def test_a_key_may_not_lose_half_a_character() -> None:
    data = zsum.render_zsum([zsum_row()]).replace(b"104110058120001", b"10411005812000\xb2")
    with pytest.raises(FileError, match="merchant: not gbk text"):
        read("ZSUM", data)


@pytest.mark.parametrize(
    ("month_day", "settled", "expected"),
    [
        ("1231", date(2027, 1, 1), date(2026, 12, 31)),
        ("0803", date(2026, 8, 3), date(2026, 8, 3)),
        ("0804", date(2026, 8, 3), date(2025, 8, 4)),
        ("0101", date(2026, 12, 31), date(2026, 1, 1)),
        ("0229", date(2027, 3, 1), date(2024, 2, 29)),
        ("0230", date(2027, 3, 1), None),
    ],
)
def test_what_was_settled_before_is_never_in_the_future(
    month_day: str, settled: date, expected: date | None
) -> None:
    assert latest_date(month_day, settled) == expected


def test_a_merchant_stands_once_in_totals_and_once_an_account_in_payouts() -> None:
    with pytest.raises(FileError, match="merchant: stands twice") as refused:
        read("ZSUM", zsum.render_zsum([zsum_row(), zsum_row()]))
    assert refused.value.line == 2
    assert len(read("ZPSUM", zsum.render_zpsum([zpsum_row(), zpsum_row(account="1234")])).rows) == 2
    with pytest.raises(FileError, match="merchant: stands twice"):
        read("ZPSUM", zsum.render_zpsum([zpsum_row(), zpsum_row()]))


def test_a_row_of_another_settlement_date_refuses_the_file() -> None:
    with pytest.raises(FileError, match="not the settlement date of the file"):
        read("ACOMA", acoma.render([acoma_row(settlement_date="0804")]))


def test_the_currency_of_a_row_is_its_own() -> None:
    (row,) = read("ACOMA", acoma.render([acoma_row(currency="344")])).transactions
    assert isinstance(row, ClearingRow)
    assert row.currency == "344"


def test_more_than_the_table_knows_is_refused_unless_it_may_have_a_tail() -> None:
    good = zsum.render_zsum([zsum_row()]).rstrip(b"\n")
    with pytest.raises(FileError, match="more behind reserved"):
        read("ZSUM", good + b"1\n")
    longer = acoma.render([acoma_row()]).rstrip(b"\n") + b"more of a newer version\n"
    assert len(read("ACOMA", longer).transactions) == 1


def test_widths_are_what_the_words_say() -> None:
    for _, words in WIDTHS.values():
        assert re.fullmatch(r"(?:[^,]+ \d+, )+[^,]+ \d+", words)
