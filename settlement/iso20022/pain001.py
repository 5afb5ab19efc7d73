"""pain.001.001.09, CustomerCreditTransferInitiationV09: the file of one batch of payouts.

A function of the stored batch and orders alone: the same orders are the same bytes. Elements stand
in the order of the message's schema; texts longer than the schema allows are cut, signs that XML
1.0 does not know stand as blanks. Source: ISO 20022, pain.001.001.09, schema of 2019-02-14.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC
from typing import Final

from iso8583.amount import CURRENCIES
from settlement.payouts.ports import Batch, Order

NAMESPACE: Final = "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"
ACCOUNT_MAX: Final = 34  # characters
BANK_MAX: Final = 35
_BIC: Final = re.compile(r"[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}([A-Z0-9]{3})?")
_IBAN: Final = re.compile(r"[A-Z]{2}[0-9]{2}[a-zA-Z0-9]{1,30}")
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def message_id(batch_id: str) -> str:
    """
    >>> message_id("20260804-001")
    'TB20260804-001'
    """
    return f"TB{batch_id}"


def render(batch: Batch, orders: Sequence[Order]) -> bytes:
    """The batch's file, UTF-8. Asserts that count and sum are those of the orders."""
    ordered = sorted(orders, key=lambda order: order.end_to_end_id)
    assert batch.count == len(ordered) > 0, batch.id
    assert batch.sum_minor == sum(order.amount_minor for order in ordered), batch.id
    letters, _ = CURRENCIES[batch.currency]
    total = decimal(batch.sum_minor, batch.currency)
    made = batch.made_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<Document xmlns="{NAMESPACE}">',
        " <CstmrCdtTrfInitn>",
        "  <GrpHdr>",
        f"   <MsgId>{message_id(batch.id)}</MsgId>",
        f"   <CreDtTm>{made}</CreDtTm>",
        f"   <NbOfTxs>{batch.count}</NbOfTxs>",
        f"   <CtrlSum>{total}</CtrlSum>",
        f"   <InitgPty><Nm>{text(batch.debtor_name, 140)}</Nm></InitgPty>",
        "  </GrpHdr>",
        "  <PmtInf>",
        f"   <PmtInfId>{message_id(batch.id)}</PmtInfId>",
        "   <PmtMtd>TRF</PmtMtd>",
        "   <BtchBookg>false</BtchBookg>",  # one booking an order: each can be found by its id
        f"   <NbOfTxs>{batch.count}</NbOfTxs>",
        f"   <CtrlSum>{total}</CtrlSum>",
        f"   <ReqdExctnDt><Dt>{batch.payout_date.isoformat()}</Dt></ReqdExctnDt>",
        f"   <Dbtr><Nm>{text(batch.debtor_name, 140)}</Nm></Dbtr>",
        f"   <DbtrAcct>{_account(batch.debtor_account)}<Ccy>{letters}</Ccy></DbtrAcct>",
        f"   <DbtrAgt>{_agent(batch.debtor_bank)}</DbtrAgt>",
        *(line for order in ordered for line in _transfer(order, letters)),
        "  </PmtInf>",
        " </CstmrCdtTrfInitn>",
        "</Document>",
        "",
    ]
    return "\n".join(lines).encode()


def _transfer(order: Order, letters: str) -> Iterable[str]:
    assert order.amount_minor > 0, order.end_to_end_id
    yield "   <CdtTrfTxInf>"
    yield f"    <PmtId><EndToEndId>{text(order.end_to_end_id, 35)}</EndToEndId></PmtId>"
    amount = decimal(order.amount_minor, order.currency)
    yield f'    <Amt><InstdAmt Ccy="{letters}">{amount}</InstdAmt></Amt>'
    yield f"    <CdtrAgt>{_agent(order.creditor_bank)}</CdtrAgt>"
    yield f"    <Cdtr><Nm>{text(order.creditor_name, 140)}</Nm></Cdtr>"
    yield f"    <CdtrAcct>{_account(order.creditor_account)}</CdtrAcct>"
    what = " ".join(filter(None, (order.payee, order.cycle, order.through.isoformat())))
    yield f"    <RmtInf><Ustrd>{text(what, 140)}</Ustrd></RmtInf>"
    yield "   </CdtTrfTxInf>"


def _account(number: str) -> str:
    """A number that is too long is never cut: the money would go elsewhere."""
    assert 0 < len(number) <= ACCOUNT_MAX, number
    if _IBAN.fullmatch(number) and is_iban(number):
        return f"<Id><IBAN>{number}</IBAN></Id>"
    return f"<Id><Othr><Id>{text(number, ACCOUNT_MAX)}</Id></Othr></Id>"


def is_iban(number: str) -> bool:
    """Its check digits are right (ISO 13616, ISO 7064 MOD 97-10).

    >>> is_iban("DE89370400440532013000"), is_iban("DE88370400440532013000")
    (True, False)
    """
    return int("".join(str(int(sign, 36)) for sign in number[4:] + number[:4])) % 97 == 1


def _agent(bank: str) -> str:
    """A BIC, or a code of the Chinese clearing system (CNAPS, a code of the external list)."""
    if _BIC.fullmatch(bank):
        return f"<FinInstnId><BICFI>{bank}</BICFI></FinInstnId>"
    assert 0 < len(bank) <= BANK_MAX, bank
    member = f"<ClrSysId><Cd>CNAPS</Cd></ClrSysId><MmbId>{text(bank, BANK_MAX)}</MmbId>"
    return f"<FinInstnId><ClrSysMmbId>{member}</ClrSysMmbId></FinInstnId>"


def decimal(amount_minor: int, currency: str) -> str:
    """
    >>> decimal(5, "156"), decimal(123456, "156"), decimal(1500, "392")
    ('0.05', '1234.56', '1500')
    """
    _, places = CURRENCIES[currency]
    whole, part = divmod(amount_minor, 10**places)
    return f"{whole}.{part:0{places}d}" if places else str(whole)


def text(value: str, characters: int) -> str:
    """As the schema's text of at most so many characters, at least one.

    >>> text("Tea & House", 7)
    'Tea &amp; H'
    """
    cut = _NOT_XML.sub(" ", value)[:characters] or "-"
    return cut.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
