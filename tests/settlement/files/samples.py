"""One file of every type, with what the link says of it: for tests that hold for all of them."""

from datetime import date
from typing import Any

import msgspec

from settlement.clearing import FileName
from settlement.files import (
    acoma,
    alfee,
    csv_file,
    erra,
    ipm,
    merchant_check,
    presentment,
    zm,
    zsum,
)
from settlement.files.registry import FORMATS, parse
from settlement.files.rows import CodedExpected, Context, Expected, Parsed
from tests.settlement.world import ACQUIRER, DAY, PAN, PANS, billed, com_file, trade

NAMES = {
    "COM": "IND26080301ACOM",
    "ACOMA": "IND26080332ACOMA",
    "ALFEE": "IND26080399ALFEE",
    "ERRA": "IND26080332AERRA",
    "ZSUM": "INO26080332ZSUM",
    "ZPSUM": "INO26080399ZPSUM",
    "ZM": "INN26080388ZM_777290058110097",
    "CHECK": "check_20260803.txt",
    "PRESENTMENT": "offline_260803_2",
    "CSV": "settle_20260803.csv",
    "IPM": "T112.20260803",
}
CSV = csv_file.CsvExpected(
    name=r"settle_(?P<date>\d{8})\.csv",
    encoding="gbk",
    thousands_mark=",",
    trailer=csv_file.CsvTrailer(mark="合计", count=2, amount=4, fee=5),
    columns=(
        csv_file.CsvColumn("type", "类型"),
        csv_file.CsvColumn("rrn", "参考号"),
        csv_file.CsvColumn("time", "时间", "%Y-%m-%d %H:%M:%S"),
        csv_file.CsvColumn("amount", "金额"),
        csv_file.CsvColumn("fee", "手续费"),
        csv_file.CsvColumn("pan", "卡号"),
        csv_file.CsvColumn("merchant", "商户"),
        csv_file.CsvColumn("", "备注"),
    ),
    gives=("消费",),
    takes_back=("退货",),
)
EXPECTED: dict[str, Expected] = {
    "CHECK": merchant_check.CheckExpected(
        name=r"check_(?P<date>\d{8})\.txt", gives=("S22",), takes_back=("R07",)
    ),
    "PRESENTMENT": Expected(name=r"offline_(?P<date>\d{6})_(?P<sequence>\d)"),
    "CSV": CSV,
    "IPM": ipm.IpmExpected(name=r"T112\.(?P<date>\d{8})"),
    "ZM": CodedExpected(),
}
MERCHANT = "104110058120001"


def file_name(type_: str, settlement_date: date = DAY) -> FileName:
    return FileName(ACQUIRER, NAMES[type_], type_, settlement_date, 1)


def context(type_: str, **changes: Any) -> Context:
    made = Context(
        token=PANS.token, mask=PANS.mask, expected=EXPECTED.get(type_, FORMATS[type_].expected())
    )
    return msgspec.structs.replace(made, **changes)


def read(type_: str, data: bytes, **changes: Any) -> Parsed:
    return parse(data, file_name(type_), context(type_, **changes))


def acoma_row(number: int = 1, amount: int = 10_000, **changes: Any) -> dict[str, Any]:
    return {
        **billed(trade(number, amount)),
        "settlement_date": "0803",
        "merchant_name": "老茶馆",
        "currency": "156",
        "merchant_fee": -60,
        "institution_1": "48021000",
        "role_fee_1": 12,
    } | changes


def alfee_row(**changes: Any) -> dict[str, Any]:
    return {
        "debit_credit": "01",
        "acquirer_id": "48021000",
        "mti": "0200",
        "processing_code": "000000",
        "stan": 1,
        "transmission_time": "0803101500",
        "pan": PAN,
        "merchant": MERCHANT,
        "rrn": "621500000001",
        "amount": 10_000,
        "brand_fee": -3,
        "net": -3,
    } | changes


def erra_row(**changes: Any) -> dict[str, Any]:
    return {
        "error_type": "E05",
        "acquirer_id": "48021000",
        "stan": 9,
        "transmission_time": "0803101500",
        "pan": PAN,
        "amount": 10_000,
        "reason": "4515",
        "payable": 10_000,
        "original_rrn": "621500000001",
        "original_stan": 1,
        "original_settlement_date": "0721",
        "original_amount": 10_000,
        "merchant": MERCHANT,
        "merchant_name": "老茶馆",
    } | changes


def zsum_row(**changes: Any) -> dict[str, Any]:
    row = {"merchant": MERCHANT, "name": "老茶馆", "amount": 10_000, "fee": -60, "net": 9_940}
    return row | changes


def zpsum_row(**changes: Any) -> dict[str, Any]:
    return {
        "merchant": MERCHANT,
        "name": "老茶馆",
        "account": PAN,
        "count": 1,
        "amount": 10_000,
        "fee": -60,
        "net": 9_940,
        "held": 940,
        "credited": 9_000,
    } | changes


def zm_row(**changes: Any) -> dict[str, Any]:
    return {
        "acquirer_id": "48021000",
        "stan": 1,
        "transmission_time": "0803101500",
        "pan": PAN,
        "amount": 10_000,
        "type": "01",
        "merchant": "777290058110097",
        "fee": -60,
        "net": 9_940,
    } | changes


def check_row(**changes: Any) -> dict[str, Any]:
    return {
        "settlement_date": "20260803",
        "code": "S22",
        "stan": 1,
        "transmission_time": "0803101500",
        "acquirer_id": "48021000",
        "pan": PAN,
        "amount": 10_000,
        "rrn": "621500000001",
        "terminal": "12345678",
        "merchant": MERCHANT,
        "debit_fee": 60,
        "credit_fee": 0,
    } | changes


def presentment_row(**changes: Any) -> dict[str, Any]:
    return {
        "pan": PAN,
        "amount": 10_000,
        "currency": "156",
        "transmission_time": "0803101500",
        "stan": 1,
        "acquirer_id": "48021000",
        "terminal": "12345678",
        "merchant": MERCHANT,
        "entry_mode": "071",
    } | changes


def presented(number: int = 1, amount: int = 10_000, **changes: Any) -> dict[int, Any]:
    """A first presentment as a message; `changes` by `de<number>`."""
    message: dict[int, Any] = {
        0: "1240",
        2: PAN,
        3: "000000",
        4: f"{amount:012d}",
        12: "260803101500",
        22: "051051514C04",
        24: "200",
        26: "5812",
        31: "05123456789012345678901",
        32: "48021000",
        37: f"6215{number:08d}",
        38: "000001",
        41: "12345678",
        42: MERCHANT,
        43: "OLD TEA HOUSE\\1 LANE\\SHANGHAI\\200000    SH CHN",
        48: "0023003POI0148003156",
        49: "156",
        55: bytes.fromhex("9F2608A1B2C3D4E5F60708"),
    }
    return message | {int(key[2:]): value for key, value in changes.items()}


def csv_text(*rows: str, count: int, amount: str, fee: str) -> bytes:
    lines = [
        "类型,参考号,时间,金额,手续费,卡号,商户,备注",
        *rows,
        f"合计,{count},,{amount},{fee},,,",
    ]
    return "".join(f"{line}\r\n" for line in lines).encode("gbk")


FILES: dict[str, bytes] = {
    "COM": com_file([billed(trade(1)), billed(trade(2, 2_000))])[1],
    "ACOMA": acoma.render([acoma_row(1), acoma_row(2, 2_000)]),
    "ALFEE": alfee.render([alfee_row(), alfee_row(stan=2)]),
    "ERRA": erra.render([erra_row(), erra_row(stan=10, error_type="E25")]),
    "ZSUM": zsum.render_zsum([zsum_row(), zsum_row(merchant="104110058120002")]),
    "ZPSUM": zsum.render_zpsum([zpsum_row(), zpsum_row(merchant="104110058120002")]),
    "ZM": zm.render([zm_row(), zm_row(stan=2, type="04", fee=60)]),
    "CHECK": merchant_check.render(
        [check_row(), check_row(stan=2, code="R07", amount=500, debit_fee=0, credit_fee=3)]
    ),
    "PRESENTMENT": presentment.render([presentment_row(), presentment_row(stan=2)]),
    "CSV": csv_text(
        f'消费,621500000001,2026-08-03 10:15:00,"1,000.00",0.60,{PAN},{MERCHANT},"你好, 茶"',
        f"退货,621500000002,2026-08-03 10:16:00,5.00,0.03,{PAN},{MERCHANT},",
        count=2,
        amount='"1,005.00"',
        fee="0.63",
    ),
    "IPM": ipm.render(
        [
            presented(1),
            presented(2, 2_000, de48="0025007R2608030148003156"),
            presented(3, 500, de0="1442", de24="450", de25="4853"),
        ],
        "0022608030000001234500001",
        ipm.IpmExpected(),
    ),
}
assert FILES.keys() == FORMATS.keys()
