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


class ReportError(Exception):
    """The report can not be taken in; the text names the line and the reason."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")


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
        raise XmlError(f"line {root.line}: no CstmrPmtStsRpt in the document")
    header = _one(report, "GrpHdr")
    group = _one(report, "OrgnlGrpInfAndSts")
    message = _one(group, "OrgnlMsgId")
    found = _id(_one(header, "MsgId"))
    whole = _said(group, "GrpSts")
    orders: list[Said] = []
    for payment in report.all("OrgnlPmtInfAndSts"):
        named = payment.first("OrgnlPmtInfId")
        if named is not None and named.text != message.text:
            raise ReportError(named.line, f"{named.text} is no payment of {message.text}")
        own = _said(payment, "PmtInfSts")
        _assert_together(whole, own)
        whole = own or whole
        for transaction in payment.all("TxInfAndSts"):
            orders.append(_order(transaction, whole))
            if len(orders) > ORDERS_MAX:
                raise ReportError(transaction.line, f"more than {ORDERS_MAX} orders")
    _assert_once(orders)
    if whole is None and not orders:
        raise ReportError(group.line, "no status of the file, of its payment, or of an order")
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
            raise ReportError(of.line, f"no status of {name.text}")
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
        raise ReportError(status.line, f"{status.text!r} is no status that is known here")
    reasons = of.all("StsRsnInf")
    code = next((one.value("Rsn/Cd", "Rsn/Prtry") for one in reasons), "")
    words = " ".join(words.text for one in reasons for words in one.all("AddtlInf"))
    return Said(status.line, end_to_end_id, status.text, code, mask_text(words)[:TEXT_MAX])


def _assert_together(whole: Said | None, part: Said | None) -> None:
    """Of what is rejected as a whole, no part is anything else."""
    if whole is None or part is None or STATUSES.get(whole.status) != "rejected":
        return
    if STATUSES.get(part.status) != "rejected":
        raise ReportError(part.line, f"{part.status} within a file that is {whole.status}")


def _assert_once(orders: list[Said]) -> None:
    lines: dict[str, int] = {}
    for one in orders:
        first = lines.setdefault(one.end_to_end_id, one.line)
        if first != one.line:
            raise ReportError(one.line, f"{one.end_to_end_id} stands in line {first} already")


def _one(of: Element, path: str) -> Element:
    found = of.first(path)
    if found is None or not (found.text or found.children):
        raise ReportError(of.line, f"no {path} in {of.tag}")
    return found


def _id(of: Element) -> str:
    if not _ID.fullmatch(of.text):
        raise ReportError(of.line, f"{of.text!r} is no id: printable, no blank, no /")
    return of.text


def _instant(of: Element) -> datetime:
    try:
        made = datetime.fromisoformat(of.text)
    except ValueError:
        raise ReportError(of.line, f"{of.text!r} is no date and time") from None
    return made if made.tzinfo else made.replace(tzinfo=UTC)


def _count(group: Element) -> int | None:
    found = group.first("OrgnlNbOfTxs")
    if found is None:
        return None
    if not re.fullmatch(r"[0-9]{1,15}", found.text):
        raise ReportError(found.line, f"{found.text!r} is no number of orders")
    return int(found.text)


def _decimal(of: Element | None) -> Decimal | None:
    if of is None:
        return None
    if _AMOUNT.fullmatch(of.text):
        return Decimal(of.text)
    raise ReportError(of.line, f"{of.text!r} is no amount")
