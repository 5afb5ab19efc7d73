"""The types of transaction, one row a type (rules §2; elements from the terminals' interface).

Everything that depends on the type is asked of this table: how a terminal's message is recognised,
what unknown leads to, what is captured, and which types may follow which.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class OnUnknown(StrEnum):
    """What follows when no answer came in time."""

    REVERSE = "reverse"
    REPEAT = "repeat"  # the same message again, until answered; never reversed
    FORGET = "forget"


class Side(StrEnum):
    """Where a terminal's settlement totals count it (DE 48 of 0500)."""

    DEBIT = "debit"
    CREDIT = "credit"
    NONE = "none"


class Search(StrEnum):
    """Whose transactions may be the original that it names (rules §7)."""

    TERMINAL = "terminal"
    MERCHANT = "merchant"  # all terminals of the merchant


class TransactionType(msgspec.Struct, frozen=True, kw_only=True):
    """One row. `sign` is the captured effect's: +1, -1, or 0 for none. Of an adjustment or a tip
    the effect is DE 4, the new total, less what stands captured of its original."""

    name: str
    mti: str
    code: str  # first two digits of DE 3; "": those of its original
    condition: str  # DE 25; "": any
    usage: str  # DE 60.1
    on_unknown: OnUnknown
    sign: int
    side: Side
    terminal_may_reverse: bool
    follows: tuple[str, ...] = ()  # types of the original it names in DE 61
    judge: str = ""  # which rules of `follow_up` decide over that original
    search: Search = Search.MERCHANT
    entry: str = ""  # first digits of DE 22, where only these tell it from another row
    advice: bool = False  # tells what has happened: answered 00 once durable, never declined
    amount: bool = True  # DE 4 says what it is about
    pin: bool = False  # the card's route may ask for a PIN
    name_zh: str = ""

    @property
    def opens(self) -> bool:
        """It begins something new at a card: what is too much, too late or not allowed is declined."""
        return not self.follows and self.on_unknown is not OnUnknown.REPEAT

    @property
    def kind(self) -> str:
        """The part of a request's key that tells types apart: "020.00"."""
        return f"{self.mti[:3]}.{self.code}"


# What money was taken with: what a refund or an adjustment may name.
SALES = (
    "purchase", "qr_payment", "completion", "completion_advice", "offline_sale", "e_cash_sale",
)  # fmt: skip
HOLDS = ("pre_authorisation", "additional_pre_authorisation")
BY_CODE = "03"  # DE 22: a code was scanned, DE 59 has it in place of a card (rules §19)

TYPES: dict[str, TransactionType] = {
    row.name: row
    for row in (
        TransactionType(
            name="balance", mti="0200", code="31", condition="00", usage="01",
            on_unknown=OnUnknown.FORGET, sign=0, side=Side.NONE, terminal_may_reverse=False,
            amount=False, pin=True, name_zh="余额查询",
        ),
        TransactionType(
            name="purchase", mti="0200", code="00", condition="00", usage="22",
            on_unknown=OnUnknown.REVERSE, sign=+1, side=Side.DEBIT, terminal_may_reverse=True,
            pin=True, name_zh="消费",
        ),
        TransactionType(
            name="void", mti="0200", code="20", condition="00", usage="23",
            on_unknown=OnUnknown.REVERSE, sign=-1, side=Side.CREDIT, terminal_may_reverse=True,
            follows=("purchase", "qr_payment"), judge="void", search=Search.TERMINAL,
            name_zh="消费撤销",
        ),
        TransactionType(
            name="refund", mti="0220", code="20", condition="00", usage="25",
            on_unknown=OnUnknown.REPEAT, sign=-1, side=Side.CREDIT, terminal_may_reverse=False,
            follows=SALES, judge="refund", name_zh="退货",
        ),
        TransactionType(
            name="pre_authorisation", mti="0100", code="03", condition="06", usage="10",
            on_unknown=OnUnknown.REVERSE, sign=0, side=Side.NONE, terminal_may_reverse=True,
            pin=True, name_zh="预授权",
        ),
        TransactionType(
            name="additional_pre_authorisation", mti="0100", code="03", condition="60", usage="10",
            on_unknown=OnUnknown.REVERSE, sign=0, side=Side.NONE, terminal_may_reverse=True,
            pin=True, name_zh="追加预授权",
        ),
        TransactionType(
            name="pre_authorisation_void", mti="0100", code="20", condition="06", usage="11",
            on_unknown=OnUnknown.REVERSE, sign=0, side=Side.NONE, terminal_may_reverse=True,
            follows=HOLDS, judge="release", name_zh="预授权撤销",
        ),
        TransactionType(
            name="completion", mti="0200", code="00", condition="06", usage="20",
            on_unknown=OnUnknown.REVERSE, sign=+1, side=Side.DEBIT, terminal_may_reverse=True,
            follows=HOLDS, judge="completion", name_zh="预授权完成",
        ),
        TransactionType(
            name="completion_void", mti="0200", code="20", condition="06", usage="21",
            on_unknown=OnUnknown.REVERSE, sign=-1, side=Side.CREDIT, terminal_may_reverse=True,
            follows=("completion", "completion_advice"), judge="void", name_zh="预授权完成撤销",
        ),
        TransactionType(
            name="completion_advice", mti="0220", code="00", condition="06", usage="24",
            on_unknown=OnUnknown.REPEAT, sign=+1, side=Side.DEBIT, terminal_may_reverse=False,
            follows=HOLDS, judge="completion", advice=True, name_zh="预授权完成通知",
        ),
        TransactionType(
            name="offline_sale", mti="0220", code="00", condition="00", usage="30",
            on_unknown=OnUnknown.REPEAT, sign=+1, side=Side.DEBIT, terminal_may_reverse=False,
            advice=True, name_zh="离线结算",
        ),
        TransactionType(
            name="adjustment", mti="0220", code="00", condition="00", usage="32",
            on_unknown=OnUnknown.REPEAT, sign=+1, side=Side.DEBIT, terminal_may_reverse=False,
            follows=SALES, judge="adjustment", search=Search.TERMINAL, advice=True,
            name_zh="结算调整",
        ),
        TransactionType(
            name="tip", mti="0220", code="00", condition="00", usage="34",
            on_unknown=OnUnknown.REPEAT, sign=+1, side=Side.DEBIT, terminal_may_reverse=False,
            follows=SALES, judge="adjustment", search=Search.TERMINAL, advice=True,
            name_zh="追加小费",
        ),
        TransactionType(
            name="e_cash_sale", mti="0220", code="00", condition="00", usage="36",
            on_unknown=OnUnknown.REPEAT, sign=+1, side=Side.DEBIT, terminal_may_reverse=False,
            advice=True, name_zh="电子现金脱机消费",
        ),
        TransactionType(
            name="qr_payment", mti="0200", code="00", condition="00", usage="22",
            on_unknown=OnUnknown.REVERSE, sign=+1, side=Side.DEBIT, terminal_may_reverse=True, entry=BY_CODE,
            name_zh="扫码付",
        ),
        TransactionType(
            name="moto_sale", mti="0200", code="00", condition="08", usage="22",
            on_unknown=OnUnknown.REVERSE, sign=+1, side=Side.DEBIT, terminal_may_reverse=True,
            name_zh="订购消费",
        ),
        TransactionType(
            name="moto_void", mti="0200", code="20", condition="08", usage="23",
            on_unknown=OnUnknown.REVERSE, sign=-1, side=Side.CREDIT, terminal_may_reverse=True,
            follows=("moto_sale",), judge="void", search=Search.TERMINAL, name_zh="订购消费撤销",
        ),
        TransactionType(
            name="moto_refund", mti="0220", code="20", condition="08", usage="25",
            on_unknown=OnUnknown.REPEAT, sign=-1, side=Side.CREDIT, terminal_may_reverse=False,
            follows=("moto_sale",), judge="refund", name_zh="订购退货",
        ),
        TransactionType(
            name="instalment", mti="0200", code="00", condition="64", usage="22",
            on_unknown=OnUnknown.REVERSE, sign=+1, side=Side.DEBIT, terminal_may_reverse=True, pin=True,
            name_zh="分期付款消费",
        ),
        TransactionType(
            name="instalment_void", mti="0200", code="20", condition="64", usage="23",
            on_unknown=OnUnknown.REVERSE, sign=-1, side=Side.CREDIT, terminal_may_reverse=True,
            follows=("instalment",), judge="void", search=Search.TERMINAL, name_zh="分期付款撤销",
        ),
        TransactionType(
            name="points_sale", mti="0200", code="00", condition="65", usage="22",
            on_unknown=OnUnknown.REVERSE, sign=+1, side=Side.DEBIT, terminal_may_reverse=True, pin=True,
            name_zh="积分消费",
        ),
        TransactionType(
            name="points_void", mti="0200", code="20", condition="65", usage="23",
            on_unknown=OnUnknown.REVERSE, sign=-1, side=Side.CREDIT, terminal_may_reverse=True,
            follows=("points_sale",), judge="void", search=Search.TERMINAL, name_zh="积分消费撤销",
        ),
        TransactionType(
            name="points_query", mti="0200", code="31", condition="65", usage="03",
            on_unknown=OnUnknown.FORGET, sign=0, side=Side.NONE, terminal_may_reverse=False,
            amount=False, pin=True, name_zh="积分查询",
        ),
        TransactionType(
            name="reservation", mti="0200", code="00", condition="67", usage="54",
            on_unknown=OnUnknown.REVERSE, sign=+1, side=Side.DEBIT, terminal_may_reverse=True,
            name_zh="预约消费",
        ),
        TransactionType(
            name="reservation_void", mti="0200", code="20", condition="67", usage="53",
            on_unknown=OnUnknown.REVERSE, sign=-1, side=Side.CREDIT, terminal_may_reverse=True,
            follows=("reservation",), judge="void", search=Search.TERMINAL, name_zh="预约消费撤销",
        ),
        TransactionType(
            name="script_result", mti="0620", code="", condition="", usage="00",
            on_unknown=OnUnknown.REPEAT, sign=0, side=Side.NONE, terminal_may_reverse=False,
            follows=("purchase", "instalment", "points_sale", "completion", *HOLDS),
            judge="script", advice=True, amount=False, name_zh="脚本结果通知",
        ),
    )
}  # fmt: skip

# What no row is like: refused, and its row says so. Nothing is asked of it.
UNSUPPORTED = TransactionType(
    name="unsupported", mti="", code="", condition="", usage="", on_unknown=OnUnknown.FORGET, sign=0,
    side=Side.NONE, terminal_may_reverse=False,
)  # fmt: skip
# Of the request row that a 0400 leaves for an original it came before, whatever its batch.
TOMBSTONE = "tombstone"
TOMBSTONE_TYPE = msgspec.structs.replace(UNSUPPORTED, name=TOMBSTONE, advice=True)

_PLAIN = [row for row in TYPES.values() if not row.entry]
_BY_USAGE = {(row.mti[:3], row.code, row.condition, row.usage): row for row in _PLAIN}
# The first row prevails: without DE 60.1 an offline sale can not be told from an adjustment.
_BY_CODE = {(row.mti[:3], row.code, row.condition): row for row in reversed(_PLAIN)}
_BY_ENTRY = {
    (row.mti[:3], row.code, row.condition, row.entry): row for row in TYPES.values() if row.entry
}
_REVERSIBLE = {(row.code, row.usage): row for row in TYPES.values() if row.terminal_may_reverse}


def find(
    mti: str, processing_code: str, condition: str, usage: str, entry: str = ""
) -> TransactionType | None:
    """The type of a terminal's request, or None where no row matches.

    `usage` is DE 60.1; "" where the dialect's DE 60 has none: then DE 25 alone tells. `entry` is DE 22.
    """
    where = (mti[:3], processing_code[:2], condition)
    row = _BY_USAGE.get((*where, usage)) if usage else _BY_CODE.get(where)
    row = row or _BY_USAGE.get((mti[:3], "", "", usage))
    scanned = _BY_ENTRY.get((*where, entry[:2]))
    return scanned if scanned is not None and usage in ("", scanned.usage) else row


def kind_of(mti: str, processing_code: str) -> str:
    return f"{mti[:3]}.{processing_code[:2]}"


def reversed_kind(processing_code: str, usage: str) -> str:
    """The kind of the original that a 0400 with these elements names (its own DE 3 and DE 60.1).

    A code that no table row reverses is taken for a financial request: its tombstone harms nobody.
    """
    row = _REVERSIBLE.get((processing_code[:2], usage))
    return row.kind if row is not None else f"020.{processing_code[:2]}"
