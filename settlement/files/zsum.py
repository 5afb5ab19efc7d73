"""UnionPay ZSUM (a merchant's day, summed) and ZPSUM (what is paid to a merchant's account).

Names: `IN` + party letter + `YYMMDD` + 2 digits + `ZSUM` or `ZPSUM`. No header, no trailer; a ZPSUM
may be absent on a day. One line a merchant (ZPSUM: a merchant's account), none
twice. Source: settlement reference [C1].
Unverified: the sign of the 13-byte amounts (C, D, blank or a digit in the first place).
"""

from collections.abc import Callable
from typing import Final

from settlement.clearing import FileName
from settlement.files.layout import Layout, column, laid_out
from settlement.files.lines import Line, last_four, lines_of
from settlement.files.names import unionpay
from settlement.files.rows import Context, FileRow, MerchantTotal, Parsed, PayoutLine
from settlement.said import said

ZSUM: Final = Layout(
    "ZSUM",
    laid_out(
        (
            column("merchant", 15, "an", "商户 F42", optional=False),
            column("name", 80, "ans", "商户名称"),
            column("amount", 13, "xn", "交易金额", optional=False),
            column("fee", 13, "xn", "商户手续费", optional=False),
            column("net", 13, "xn", "净额", optional=False),
            column("reserved", 200, "ans", "保留使用"),
        )
    ),
)

ZPSUM: Final = Layout(
    "ZPSUM",
    laid_out(
        (
            column("merchant", 15, "an", "商户 F42", optional=False),
            column("mcc", 4, "n", "商户类型 F18"),
            column("name", 80, "ans", "商户名称"),
            column("bank_name", 60, "ans", "开户行名称"),
            column("bank_code", 12, "an", "联行号 CNAPS"),
            column("clearing_number", 12, "an", "清算号"),
            column("account", 32, "an", "账号", secret=True),
            column("account_name", 80, "ans", "账户名称"),
            column("area", 6, "an", "地区代码"),
            column("count", 8, "n", "正常交易笔数"),
            column("amount", 13, "xn", "正常交易金额", optional=False),
            column("fee", 13, "xn", "正常交易手续费"),
            column("error_count", 8, "n", "差错交易笔数"),
            column("error_amount", 13, "xn", "差错交易金额"),
            column("refunded_fee", 13, "xn", "回退费用"),
            column("other", 13, "xn", "其他金额"),
            column("net", 13, "xn", "清算净额", optional=False),
            column("offset_fee", 13, "xn", "收支两条线轧差费用"),
            column("offset_party", 1, "an", "轧差方"),
            column("released", 13, "xn", "解冻金额"),
            column("held", 13, "xn", "暂扣金额"),
            column("top_up", 13, "xn", "补足金额"),
            column("credited", 13, "xn", "入账金额", optional=False),
            column("responsible_party", 1, "an", "责任方"),
            column("top_up_type", 1, "an", "补足类型"),
            column("reserved", 198, "ans", "保留使用"),
        )
    ),
)

render_zsum: Final = ZSUM.render  # rows as dicts by the names of the table
render_zpsum: Final = ZPSUM.render
parse_zsum_name: Final = unionpay("ZSUM", "ZSUM")
parse_zpsum_name: Final = unionpay("ZPSUM", "ZPSUM")


def parse_zsum(data: bytes, file: FileName, context: Context) -> Parsed:
    """Every merchant's total, or FileError and nothing."""
    return _parse(data, file, ZSUM, lambda line: _total(line, context))


def parse_zpsum(data: bytes, file: FileName, context: Context) -> Parsed:
    """Every merchant's payout, or FileError and nothing."""
    return _parse(data, file, ZPSUM, lambda line: _payout(line, context))


def _parse(data: bytes, file: FileName, layout: Layout, row: Callable[[Line], FileRow]) -> Parsed:
    rows: list[FileRow] = []
    seen: set[tuple[str | None, str | None]] = set()
    for line in lines_of(data, layout, file):
        key = line.values["merchant"], line.values.get("account")
        if key in seen:
            raise line.refuse("merchant", said("file_twice"))
        seen.add(key)
        rows.append(row(line))
    return Parsed(rows=rows)


def _total(line: Line, context: Context) -> MerchantTotal:
    return MerchantTotal(
        acquirer=line.file.acquirer,
        file=line.file.name,
        version=context.version,
        line=line.number,
        settlement_date=line.file.settlement_date,
        merchant=line.text("merchant"),
        amount_minor=line.minor("amount"),
        currency=context.currency,
        name=line.text("name"),
        fee_minor=line.minor("fee"),
        net_minor=line.minor("net"),
    )


def _payout(line: Line, context: Context) -> PayoutLine:
    account = line.text("account")
    return PayoutLine(
        acquirer=line.file.acquirer,
        file=line.file.name,
        version=context.version,
        line=line.number,
        settlement_date=line.file.settlement_date,
        merchant=line.text("merchant"),
        amount_minor=line.minor("amount"),
        currency=context.currency,
        name=line.text("name"),
        mcc=line.text("mcc"),
        bank_name=line.text("bank_name"),
        bank_code=line.text("bank_code"),
        clearing_number=line.text("clearing_number"),
        account_token=context.token(account) if account else b"",
        account_masked=last_four(account),
        account_name=line.text("account_name"),
        area=line.text("area"),
        count=line.minor("count"),
        fee_minor=line.minor("fee"),
        error_count=line.minor("error_count"),
        error_amount_minor=line.minor("error_amount"),
        refunded_fee_minor=line.minor("refunded_fee"),
        other_minor=line.minor("other"),
        net_minor=line.minor("net"),
        offset_fee_minor=line.minor("offset_fee"),
        offset_party=line.text("offset_party"),
        released_minor=line.minor("released"),
        held_minor=line.minor("held"),
        top_up_minor=line.minor("top_up"),
        credited_minor=line.minor("credited"),
        responsible_party=line.text("responsible_party"),
        top_up_type=line.text("top_up_type"),
    )
