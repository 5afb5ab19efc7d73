"""What the messages of an IPM file mean to the books: transactions and adjustments."""

import hashlib
from datetime import date

from settlement.clearing import ClearingRow, FileName
from settlement.files.ipm import CHIP, REVERSAL, IpmExpected, Record, read
from settlement.files.layout import FileError
from settlement.files.rows import Adjustment, Context, Parsed
from settlement.said import Said, said

FIRST_PRESENTMENT = ("1240", "200")
ADJUSTING = ("1240", "1442", "1740")
ADMINISTRATION = "1644"


def parse(data: bytes, file: FileName, context: Context) -> Parsed:
    """Presentments as transactions, the rest that moves money as adjustments; or FileError."""
    expected = context.expected
    assert isinstance(expected, IpmExpected)
    transactions: list[ClearingRow] = []
    adjustments: list[Adjustment] = []
    for record in read(data, file, expected):
        mti = record.function[0]
        if record.function == FIRST_PRESENTMENT:
            transactions.append(_transaction(record, file, context))
        elif mti in ADJUSTING:
            adjustments.append(_adjustment(record, file, context))
        elif mti != ADMINISTRATION:
            raise _refuse(file, record, 0, said("file_ipm_other"))
    return Parsed(transactions=transactions, rows=list(adjustments))


def _transaction(record: Record, file: FileName, context: Context) -> ClearingRow:
    pan, amount, currency, code = (_needed(record, file, de) for de in (2, 4, 49, 3))
    return ClearingRow(
        acquirer=file.acquirer,
        file=file.name,
        version=context.version,
        line=record.number,
        settlement_date=file.settlement_date,
        content=_content(record, file, context),
        de32=record.text(32),
        de33=record.text(33),
        stan="",
        transmission_time=_moment(record, file),
        pan_token=context.token(pan),
        pan_masked=context.mask(pan),
        amount_minor=int(amount),
        currency=currency,
        mti="0420" if record.pds.get(REVERSAL, "")[:1] == "R" else "0220",
        processing_code=code,
        mcc=record.text(26),
        terminal=record.text(41).strip(),
        merchant=record.text(42).strip(),
        rrn=record.text(37).strip(),
        condition_code="",
        auth_code=record.text(38).strip(),
        original_stan="",
        original_time="",
        response_code="",
        entry_mode=record.text(22),
        fee_receivable_minor=None,
        fee_payable_minor=None,
        switching_fee_minor=None,
    )


def _adjustment(record: Record, file: FileName, context: Context) -> Adjustment:
    pan = record.text(2)
    original = record.text(30)[:12]
    return Adjustment(
        acquirer=file.acquirer,
        file=file.name,
        version=context.version,
        line=record.number,
        settlement_date=file.settlement_date,
        merchant=record.text(42).strip(),
        rrn=record.text(37).strip(),
        pan_token=context.token(pan) if pan else b"",
        pan_masked=context.mask(pan) if pan else "",
        amount_minor=int(_needed(record, file, 4)),
        currency=_needed(record, file, 49),
        error_type="/".join(record.function),
        reason=record.text(25),
        de32=record.text(32),
        de33=record.text(33),
        transmission_time=_moment(record, file),
        mti=record.function[0],
        processing_code=record.text(3),
        mcc=record.text(26),
        terminal=record.text(41).strip(),
        auth_code=record.text(38).strip(),
        entry_mode=record.text(22),
        receiver_id=record.text(93) or record.text(100),
        initiator=record.text(94),
        original_amount_minor=int(original) if original.strip("0") else None,
    )


def _needed(record: Record, file: FileName, de: int) -> str:
    value = record.text(de)
    if not value:
        raise _refuse(file, record, de, said("file_missing"))
    return value


def _moment(record: Record, file: FileName) -> str:
    """MMDDhhmmss out of DE 12, YYMMDDhhmmss; "" where it is absent."""
    value = record.text(12)
    if not value:
        return ""
    try:
        date(2000 + int(value[:2]), int(value[2:4]), int(value[4:6]))
    except ValueError:
        raise _refuse(file, record, 12, said("file_no_date")) from None
    if value[6:8] > "23" or value[8:10] > "59" or value[10:] > "59":
        raise _refuse(file, record, 12, said("file_no_time"))
    return value[2:]


def _content(record: Record, file: FileName, context: Context) -> bytes:
    """SHA-256 of settlement date and message; the PAN's token stands for it, DE 55 and 71 are left
    out: cryptogram and place in the file do not make it another transaction."""
    digest = hashlib.sha256(file.settlement_date.isoformat().encode())
    for de in sorted(record.message):
        if de not in (CHIP, 71):
            value = record.text(de)
            digest.update(
                f"\x1f{de}=".encode() + (context.token(value) if de == 2 else value.encode())
            )
    return digest.digest()


def _refuse(file: FileName, record: Record, de: int, reason: Said) -> FileError:
    if de:
        reason = said("file_field", field=f"DE {de}", reason=reason)
    return FileError(file.name, record.number, 1, "", reason)
