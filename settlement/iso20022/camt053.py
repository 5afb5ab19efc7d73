"""camt.053.001.08, BankToCustomerStatementV08: a bank's statement, as lines that can be matched.

Taken whole or refused whole: the balances must add up (opening + booked entries = closing), every
amount must fit the currency's places, and an entry's details must add up to the entry. An entry
with several details is one line for each of them. Entries that are not booked (PDNG, INFO, FUTR)
move no money yet and are left out. Source: ISO 20022, camt.053.001.08, schema of 2019.
"""

import hashlib
import re
from collections.abc import Callable, Iterable
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Final

import msgspec

from iso8583.amount import CURRENCIES
from iso8583.message import mask_text
from settlement.iso20022.xml import Element, XmlError, parse as parse_xml
from settlement.payouts.ports import Statement, StatementLine
from settlement.said import SaidError

NAMESPACE: Final = "urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"
NUMERIC: Final = {letters: numeric for numeric, (letters, _) in CURRENCIES.items()}
OPENING: Final = ("OPBD", "PRCD", "ITBD")  # the first that there is; ITBD on later pages
CLOSING: Final = ("CLBD", "ITBD")
LINES_MAX: Final = 1_000_000
MINOR_MAX: Final = 10**15  # of one amount: 15 digits and no more, as in clearing files
_AMOUNT: Final = re.compile(r"[0-9]{1,18}(\.[0-9]{1,5})?")
_NUMBER: Final = re.compile(r"[0-9]{1,18}")  # ISO 20022: Number
_ID: Final = re.compile(r"[!-.0-~]{1,70}")  # printable, without / and blank: it names objects


class StatementError(SaidError):
    """The document can not be taken in; the text names the statement and the entry."""


class Parsed(msgspec.Struct, frozen=True):
    statement: Statement
    lines: list[StatementLine]


def parse(data: bytes, name_of: Callable[[str], str | None]) -> list[Parsed]:
    """The document's statements. `name_of` tells what an account number is called here; None for
    an account that is not ours. Raises `StatementError`."""
    try:
        root = parse_xml(data, NAMESPACE)
    except XmlError as error:
        raise StatementError(error.said) from error
    statements = root.all("BkToCstmrStmt/Stmt")
    if root.tag != "Document" or not statements:
        raise StatementError("bank_no_statement")
    found = [_statement(one, name_of) for one in statements]
    ids = {(one.statement.account, one.statement.id) for one in found}
    if len(ids) != len(found):
        raise StatementError("bank_twice")
    return found


def _statement(of: Element, name_of: Callable[[str], str | None]) -> Parsed:
    number = of.value("Acct/Id/IBAN", "Acct/Id/Othr/Id")
    account = name_of(number)
    statement_id = of.value("Id")
    if page := of.value("StmtPgntn/PgNb"):
        statement_id = f"{statement_id}.{page}"
    if not _ID.fullmatch(statement_id):
        raise StatementError("bank_statement_id", id=statement_id)
    if account is None:
        raise StatementError("bank_account_unknown", statement=statement_id, number=number)
    try:
        return _booked(of, account, statement_id)
    except StatementError as error:
        raise StatementError("bank_in_statement", statement=statement_id, reason=error) from None


def _booked(of: Element, account: str, statement_id: str) -> Parsed:
    opening, opened_on, currency = _balance(of, OPENING, last=False)
    closing, closed_on, other = _balance(of, CLOSING, last=True)
    if other != currency:
        raise StatementError("bank_currencies", opening=currency, closing=other)
    lines: list[StatementLine] = []
    for number, entry in enumerate(of.all("Ntry"), 1):
        if _code(entry, "Sts") != "BOOK":
            continue
        try:
            lines += _lines(entry, account, statement_id, currency, len(lines) + 1)
        except StatementError as error:
            raise StatementError("bank_in_entry", number=number, reason=error) from None
        if len(lines) > LINES_MAX:
            raise StatementError("bank_many_lines", most=LINES_MAX)
    moved = sum(line.amount_minor for line in lines)
    if opening + moved != closing:
        raise StatementError("bank_balances", opening=opening, moved=moved, closing=closing)
    sequence = of.value("ElctrncSeqNb", "LglSeqNb")
    statement = Statement(
        account=account,
        id=statement_id,
        sequence=int(sequence) if _NUMBER.fullmatch(sequence) else None,
        first=_day(of.value("FrToDt/FrDtTm")) if of.first("FrToDt") else opened_on,
        last=_day(of.value("FrToDt/ToDtTm")) if of.first("FrToDt") else closed_on,
        currency=currency,
        opening_minor=opening,
        closing_minor=closing,
        lines=len(lines),
        sha256="",
    )
    said = hashlib.sha256(msgspec.json.encode([statement, lines])).hexdigest()
    return Parsed(msgspec.structs.replace(statement, sha256=said), [_masked(one) for one in lines])


def _masked(line: StatementLine) -> StatementLine:
    """What people write to each other may hold a card number; the hash is of what was said."""
    name, text = mask_text(line.counterparty_name), mask_text(line.text)
    return msgspec.structs.replace(line, counterparty_name=name, text=text)


def _balance(of: Element, codes: tuple[str, ...], *, last: bool) -> tuple[int, date, str]:
    """(minor units, date, currency) of the statement's balance of the first code that it has."""
    for code in codes:
        found = [one for one in of.all("Bal") if one.value("Tp/CdOrPrtry/Cd") == code]
        if found:
            one = found[-1 if last else 0]
            amount, currency = _amount(one)
            return amount, _day(one.value("Dt/Dt", "Dt/DtTm")), currency
    raise StatementError("bank_no_balance", codes=" or ".join(codes))


def _lines(
    entry: Element, account: str, statement_id: str, currency: str, first: int
) -> Iterable[StatementLine]:
    amount, entry_currency = _amount(entry)
    if entry_currency != currency:
        raise StatementError("bank_currency", found=entry_currency, account=currency)
    booked_on = _day(entry.value("BookgDt/Dt", "BookgDt/DtTm"))
    value_on = entry.value("ValDt/Dt", "ValDt/DtTm")
    details = entry.all("NtryDtls/TxDtls")
    if len(details) > 1:
        amounts = [_detail_amount(one, entry, currency) for one in details]
        if sum(amounts) != amount:
            raise StatementError("bank_details", details=sum(amounts), entry=amount)
    else:
        amounts = [amount]
        if details and details[0].first("Amt") is not None:
            told, told_currency = _amount(details[0], entry)
            if told_currency == currency and told != amount:
                raise StatementError("bank_detail", detail=told, entry=amount)
    moving = [
        (one, part) for one, part in zip(details or [entry], amounts, strict=True) if part
    ]  # a line of zero would move nothing
    for number, (one, part) in enumerate(moving, first):
        payer = "Dbtr" if part > 0 else "Cdtr"
        yield StatementLine(
            account=account,
            statement=statement_id,
            line=number,
            booked_on=booked_on,
            value_on=_day(value_on) if value_on else booked_on,
            currency=currency,
            amount_minor=part,
            end_to_end_id=one.value("Refs/EndToEndId"),
            batch=_batch_id(one, entry),
            reference=one.value("Refs/AcctSvcrRef") or entry.value("AcctSvcrRef", "NtryRef"),
            counterparty=one.value(
                f"RltdPties/{payer}Acct/Id/IBAN", f"RltdPties/{payer}Acct/Id/Othr/Id"
            ),
            counterparty_name=one.value(f"RltdPties/{payer}/Pty/Nm", f"RltdPties/{payer}/Nm"),
            text=" ".join(text.text for text in one.all("RmtInf/Ustrd"))
            or entry.value("AddtlNtryInf"),
            return_reason=_return_reason(one, entry),
        )


def _batch_id(detail: Element, entry: Element) -> str:
    """The id of our file, where the bank booked it as a whole: without details of its own."""
    if detail is not entry and detail.value("Refs/EndToEndId"):
        return ""
    return entry.value("NtryDtls/Btch/PmtInfId", "NtryDtls/Btch/MsgId") or detail.value(
        "Refs/PmtInfId", "Refs/MsgId"
    )


def _return_reason(detail: Element, entry: Element) -> str:
    reason = detail.value("RtrInf/Rsn/Cd", "RtrInf/Rsn/Prtry")
    if not reason and (detail.first("RtrInf") or entry.value("RvslInd") == "true"):
        return "NARR"  # ISO 20022: the reason is told in words, or not at all
    return reason


def _detail_amount(detail: Element, entry: Element, currency: str) -> int:
    if detail.first("Amt") is None:
        raise StatementError("bank_detail_amount")
    amount, told = _amount(detail, entry)
    if told != currency:
        raise StatementError("bank_detail_currency", found=told, account=currency)
    return amount


def _amount(of: Element, entry: Element | None = None) -> tuple[int, str]:
    """Signed minor units and numeric currency of `Amt` and `CdtDbtInd`; a detail without an
    indicator goes its entry's way."""
    found = of.first("Amt")
    said = found.text if found else ""
    letters = found.attributes.get("Ccy", "") if found else ""
    numeric = NUMERIC.get(letters)
    if numeric is None:
        raise StatementError("bank_currency_unknown", currency=letters)
    if not _AMOUNT.fullmatch(said):
        raise StatementError("bank_no_amount", said=said)
    way = of.value("CdtDbtInd") or (entry.value("CdtDbtInd") if entry else "")
    if way not in ("CRDT", "DBIT"):
        raise StatementError("bank_way", said=way)
    try:
        minor = Decimal(said).scaleb(CURRENCIES[numeric][1])
    except InvalidOperation as error:
        raise StatementError("bank_no_amount", said=said) from error
    if minor != int(minor):
        raise StatementError("bank_places", amount=said, currency=letters)
    if minor > MINOR_MAX:
        raise StatementError("bank_beyond", amount=said, currency=letters)
    return (int(minor) if way == "CRDT" else -int(minor)), numeric


def _code(of: Element, path: str) -> str:
    return of.value(f"{path}/Cd", f"{path}/Prtry", path)


def _day(text: str) -> date:
    """A date, or the date of a date and time as the bank wrote it."""
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        raise StatementError("bank_no_date", said=text) from None
