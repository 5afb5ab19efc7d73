"""UnionPay ACOMA: the flow of transactions that were cleared for us as an agency (代理清算流水).

A COM row, then who shares in it: nine pairs of service institution and role fee, the merchant's fee,
and two flags. Name: `IN` + party letter + `YYMMDD` + 2 digits + `ACOMA`. No header, no trailer.

Both rows of a reversed (`R`) or voided (`C`) pair are flagged, and are left out where the flagged
rows of one retrieval reference number cancel one another to zero. A flagged row without its other
half stays a transaction, so that money never disappears by a flag alone.

Source: settlement reference [C1, C3]. Unverified: the width of the settlement bank's fee and of the
three custom fees (9, as the other fees of this file), which of the fees may be signed (each may), and
what follows the transfer-in card (not read).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, Final

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from settlement.clearing import ClearingRow, FileName
from settlement.columns import structs_of, table_of
from settlement.files import com
from settlement.files.bulk import NONE, Batch, batches, rows_of, transactions_of
from settlement.files.layout import Layout, column, laid_out
from settlement.files.lines import Values, lines_of
from settlement.files.names import unionpay
from settlement.files.rows import AgencyFee, Context, FileRow, LeftOut, Parsed
from settlement.said import said

ROLES: Final = range(1, 10)
CUSTOM_FEES: Final = range(1, 4)
REVERSED, VOIDED = "R", "C"

SHARES: Final = Layout(
    "ACOMA behind COM",
    laid_out(
        (
            column("sender_institution", 11, "n..", "发送方清算机构"),
            column("receiver_institution", 11, "n..", "接收方清算机构"),
            column("reversal_flag", 1, "an", "冲正标志 R"),
            column("void_flag", 1, "an", "撤销标志 C"),
            column("settlement_date", 4, "n", "清算日期 MMDD"),
            column("session", 2, "an", "清算场次"),
            column("merchant_name", 40, "ans", "商户名称地址 F43"),
            column("currency", 3, "n", "交易币种 F49"),
            column("discount", 9, "xn", "自动优惠手续费"),
            column("merchant_fee", 9, "xn", "商户手续费"),
            column("bank", 11, "n..", "商户结算行"),
            column("bank_fee", 9, "xn", "结算行手续费"),
            *(
                one
                for role in ROLES
                for one in (
                    column(f"institution_{role}", 11, "n..", f"收单服务机构 {role}"),
                    column(f"role_fee_{role}", 9, "xn", f"角色手续费 {role}"),
                )
            ),
            *(column(f"custom_fee_{n}", 9, "xn", f"自定义费用 {n}") for n in CUSTOM_FEES),
            column("in_card", 19, "n..", "转入卡卡号", secret=True),
        ),
        start=com.COM.length + 1,
    ),
    start=com.COM.length + 1,
)
ACOMA: Final = Layout("ACOMA", (*com.COM.fields, *SHARES.fields))

render: Final = ACOMA.render  # rows as dicts by the names of the table
parse_name: Final = unionpay("ACOMA", "ACOMA")


def parse(data: bytes, file: FileName, context: Context) -> Parsed:
    """The transactions with their shares, and the pairs that cancel; or FileError."""
    transactions: list[ClearingRow] = []
    rows: list[FileRow] = []
    flagged: list[tuple[ClearingRow, str]] = []
    for line in lines_of(data, ACOMA, file, tail=True):
        columns = _fields(line, context)
        row, flag = ClearingRow(**columns), _flag(line)
        if flag:
            flagged.append((row, flag))
        else:
            transactions.append(row)
            rows.append(AgencyFee(**_shares(line, columns)))
    standing, left_out = _settled(flagged)
    return Parsed(
        transactions=sorted([*transactions, *standing], key=lambda row: row.line),
        rows=sorted([*rows, *left_out], key=lambda row: row.line),
    )


def at_once(data: bytes, file: FileName, context: Context) -> Iterator[Batch]:
    """The same in columns; flagged rows come last."""
    flagged: list[tuple[ClearingRow, str]] = []
    for lines in batches(data, ACOMA, file, tail=True):
        columns, flags = _fields(lines, context), _flag(lines)
        made = transactions_of(columns, len(lines))
        shares = rows_of(AgencyFee, _shares(lines, columns), len(lines))
        if any(flags):
            plain = pa.array([not flag for flag in flags])
            rows = structs_of(ClearingRow, pa.Table.from_batches([made.filter(pc.invert(plain))]))
            flagged += zip(rows, filter(None, flags), strict=True)
            made = made.filter(plain)
            shares = [one for one, flag in zip(shares, flags, strict=True) if not flag]
        yield Batch(made, shares)
    if flagged:
        standing, left_out = _settled(flagged)
        yield Batch(next(iter(table_of(ClearingRow, standing).to_batches()), NONE), left_out)


def _flag(line: Values) -> Any:
    """What flags a row; "" where nothing does."""
    line.check("reversal_flag", ("", REVERSED).__contains__, said("file_blank_or", value=REVERSED))
    line.check("void_flag", ("", VOIDED).__contains__, said("file_blank_or", value=VOIDED))
    return line.joined("reversal_flag", "void_flag")


def _fields(line: Values, context: Context) -> dict[str, Any]:
    line.same_date("settlement_date")
    return com.fields(line, context) | {
        # whether a row is flagged is part of what it says
        "content": line.content(context, com.COM, SHARES),
        "currency": line.mapped("currency", lambda own: own or context.currency),
    }


def _settled(
    flagged: Iterable[tuple[ClearingRow, str]],
) -> tuple[list[ClearingRow], list[LeftOut]]:
    """Of the flagged rows those that stand, and those that cancel one another."""
    by_rrn: dict[str, list[tuple[ClearingRow, str]]] = defaultdict(list)
    for row, flag in flagged:
        by_rrn[row.rrn].append((row, flag))
    standing: list[ClearingRow] = []
    left_out: list[LeftOut] = []
    for rrn, group in by_rrn.items():
        if rrn and sum(row.effect_minor for row, _ in group) == 0:
            left_out += [_left_out(row, flag) for row, flag in group]
        else:
            standing += [row for row, _ in group]
    return standing, left_out


def _left_out(row: ClearingRow, flag: str) -> LeftOut:
    return LeftOut(
        acquirer=row.acquirer,
        file=row.file,
        version=row.version,
        line=row.line,
        settlement_date=row.settlement_date,
        merchant=row.merchant,
        rrn=row.rrn,
        pan_token=row.pan_token,
        pan_masked=row.pan_masked,
        amount_minor=row.effect_minor,
        currency=row.currency,
        flag=flag,
        de32=row.de32,
        de33=row.de33,
        stan=row.stan,
        transmission_time=row.transmission_time,
        mti=row.mti,
        processing_code=row.processing_code,
        terminal=row.terminal,
    )


_OF_TRANSACTION: Final = (
    *("acquirer", "file", "version", "line", "settlement_date", "merchant", "rrn"),
    *("pan_token", "pan_masked", "currency"),
)


def _shares(line: Values, columns: dict[str, Any]) -> dict[str, Any]:
    """An `AgencyFee` of a line whose transaction is `columns`."""
    pairs = ((line.text(f"institution_{n}"), line.minor(f"role_fee_{n}")) for n in ROLES)
    return {
        **{name: columns[name] for name in _OF_TRANSACTION},
        "amount_minor": line.effect(columns["amount_minor"]),
        "merchant_name": line.text("merchant_name"),
        "sender_institution": line.text("sender_institution"),
        "receiver_institution": line.text("receiver_institution"),
        "session": line.text("session"),
        "discount_minor": line.minor("discount"),
        "merchant_fee_minor": line.minor("merchant_fee"),
        "bank": line.text("bank"),
        "bank_fee_minor": line.minor("bank_fee"),
        "shares": line.together(*(line.together(*pair) for pair in pairs)),
        "custom_fees_minor": line.together(*(line.minor(f"custom_fee_{n}") for n in CUSTOM_FEES)),
    }
