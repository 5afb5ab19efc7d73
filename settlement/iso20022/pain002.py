"""pain.002.001.10, CustomerPaymentStatusReportV10: what a bank says of a file of ours (pain.001).

    OrgnlGrpInfAndSts        of the whole file: GrpSts
      OrgnlPmtInfAndSts      of its payment information, of which ours has one: PmtInfSts
        TxInfAndSts          of one order: TxSts; what is said of an order itself goes before the others

Taken whole or refused whole, with the line. A status is a code of the external list ISO 20022
ExternalPaymentTransactionStatus1Code (and PART, of groups only); one that is not in the table is
refused: it may say that money did not move. Source: ISO 20022, message set of 2019, as pain.001.001.09.
"""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, Literal

import msgspec

from iso8583.message import mask_text
from settlement.iso20022.camt053 import NUMERIC
from settlement.iso20022.xml import Element, XmlError, parse as parse_xml
from settlement.said import SaidError, said

NAMESPACE: Final = "urn:iso:std:iso:20022:tech:xsd:pain.002.001.10"
ORDERS_MAX: Final = 10_000  # of one report: as many as a file of ours has
TEXT_MAX: Final = 500  # characters of the bank's words that are kept, card numbers masked

Meaning = Literal["accepted", "pending", "executed", "blocked", "rejected"]
STATUSES: Final[dict[str, Meaning]] = {
    "RCVD": "accepted",  # received
    "ACTC": "accepted",  # technical validation passed
    "ACCP": "accepted",  # customer profile checked
    "ACFC": "accepted",  # funds checked
    "ACWC": "accepted",  # with a change, such as another date
    "ACSP": "accepted",  # settlement in process
    "PATC": "pending",  # waits for another authorisation
    "PDNG": "pending",  # further checks
    "ACSC": "executed",  # settled on our account
    "ACWP": "executed",  # settled, not posted to the creditor yet
    "ACCC": "executed",  # settled on the creditor's account
    "BLCK": "blocked",  # settled, neither posted to the creditor nor returned
    "RJCT": "rejected",
    "CANC": "rejected",  # cancelled before it was executed
}
PART: Final = "PART"  # some are accepted, some not: each order is told for itself
_ID: Final = re.compile(r"[!-.0-~]{1,35}")  # printable, without / and blank: it names objects
_AMOUNT: Final = re.compile(r"[0-9]{1,18}(\.[0-9]{1,17})?")


class ReportError(SaidError):
    """The report can not be taken in; it names the line and the reason."""

    def __init__(self, line: int, key: str, /, **values: object) -> None:
        super().__init__("at_line", line=line, reason=said(key, **values))


class Said(msgspec.Struct, frozen=True):
    """A status at one place. `end_to_end_id` is empty where it is of all orders."""

    line: int
    end_to_end_id: str
    status: str
    reason: str  # a code of ISO 20022 or the bank's
    text: str
    amount: Decimal | None = None  # where the original is told again
    currency: str = ""  # ISO 4217 numeric


class Report(msgspec.Struct, frozen=True):
    id: str  # the bank's
    made_at: datetime  # the bank's; without a zone it counts as UTC
    message: str  # id of our file
    line: int  # of that id
    count: int | None  # of our file's orders, where told
    total: Decimal | None  # of their amounts
    whole: Said | None  # of the file: where an order is not named, this is its status
    orders: list[Said]


def parse(data: bytes) -> Report:
    """The document's report. Raises `ReportError`, or `XmlError` where it is no such document."""
    root = parse_xml(data, NAMESPACE)
    report = root.first("CstmrPmtStsRpt")
    if root.tag != "Document" or report is None:
        raise XmlError("bank_no_report", line=root.line)
    header = _one(report, "GrpHdr")
    group = _one(report, "OrgnlGrpInfAndSts")
    message = _one(group, "OrgnlMsgId")
    found = _id(_one(header, "MsgId"))
    whole = _said(group, "GrpSts")
    orders: list[Said] = []
    for payment in report.all("OrgnlPmtInfAndSts"):
        named = payment.first("OrgnlPmtInfId")
        if named is not None and named.text != message.text:
            raise ReportError(
                named.line, "bank_other_payment", payment=named.text, file=message.text
            )
        own = _said(payment, "PmtInfSts")
        _assert_together(whole, own)
        whole = own or whole
        for transaction in payment.all("TxInfAndSts"):
            orders.append(_order(transaction, whole))
            if len(orders) > ORDERS_MAX:
                raise ReportError(transaction.line, "bank_many_orders", most=ORDERS_MAX)
    _assert_once(orders)
    if whole is None and not orders:
        raise ReportError(group.line, "bank_no_status")
    if whole is not None and whole.status == PART:
        whole = None
    return Report(
        found,
        _instant(_one(header, "CreDtTm")),
        message.text,
        message.line,
        _count(group),
        _decimal(group.first("OrgnlCtrlSum")),
        whole,
        orders,
    )


def _order(of: Element, whole: Said | None) -> Said:
    name = _one(of, "OrgnlEndToEndId")
    said = _said(of, "TxSts", name.text)
    if said is None:
        if whole is None or whole.status == PART:
            raise ReportError(of.line, "bank_no_status_of", order=name.text)
        said = msgspec.structs.replace(whole, line=of.line, end_to_end_id=name.text)
    _assert_together(whole, said)
    amount = of.first("OrgnlTxRef/Amt/InstdAmt")
    if amount is None:
        return said
    currency = NUMERIC.get(amount.attributes.get("Ccy", ""), "")
    return msgspec.structs.replace(said, amount=_decimal(amount), currency=currency)


def _said(of: Element, tag: str, end_to_end_id: str = "") -> Said | None:
    status = of.first(tag)
    if status is None:
        return None
    if status.text not in STATUSES and not (status.text == PART and not end_to_end_id):
        raise ReportError(status.line, "bank_status_unknown", status=status.text)
    reasons = of.all("StsRsnInf")
    code = next((one.value("Rsn/Cd", "Rsn/Prtry") for one in reasons), "")
    words = " ".join(words.text for one in reasons for words in one.all("AddtlInf"))
    return Said(status.line, end_to_end_id, status.text, code, mask_text(words)[:TEXT_MAX])


def _assert_together(whole: Said | None, part: Said | None) -> None:
    """Of what is rejected as a whole, no part is anything else."""
    if whole is None or part is None or STATUSES.get(whole.status) != "rejected":
        return
    if STATUSES.get(part.status) != "rejected":
        raise ReportError(part.line, "bank_status_within", status=part.status, whole=whole.status)


def _assert_once(orders: list[Said]) -> None:
    lines: dict[str, int] = {}
    for one in orders:
        first = lines.setdefault(one.end_to_end_id, one.line)
        if first != one.line:
            raise ReportError(one.line, "bank_order_twice", order=one.end_to_end_id, line=first)


def _one(of: Element, path: str) -> Element:
    found = of.first(path)
    if found is None or not (found.text or found.children):
        raise ReportError(of.line, "bank_nothing_in", path=path, tag=of.tag)
    return found


def _id(of: Element) -> str:
    if not _ID.fullmatch(of.text):
        raise ReportError(of.line, "bank_no_id", said=of.text)
    return of.text


def _instant(of: Element) -> datetime:
    try:
        made = datetime.fromisoformat(of.text)
    except ValueError:
        raise ReportError(of.line, "bank_no_instant", said=of.text) from None
    return made if made.tzinfo else made.replace(tzinfo=UTC)


def _count(group: Element) -> int | None:
    found = group.first("OrgnlNbOfTxs")
    if found is None:
        return None
    if not re.fullmatch(r"[0-9]{1,15}", found.text):
        raise ReportError(found.line, "bank_no_count", said=found.text)
    return int(found.text)


def _decimal(of: Element | None) -> Decimal | None:
    if of is None:
        return None
    if _AMOUNT.fullmatch(of.text):
        return Decimal(of.text)
    raise ReportError(of.line, "bank_no_amount", said=of.text)
