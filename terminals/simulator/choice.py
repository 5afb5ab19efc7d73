"""What a shop does next, as a request of its terminal: the name of a kind becomes a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from terminals.simulator.terminal import SALES, VOIDED_ONLY

if TYPE_CHECKING:
    from terminals.simulator.card import Card
    from terminals.simulator.terminal import Request, Slip, Terminal

COMPLETION_PERCENT: Final = 115
OTHER_SALES: Final = frozenset({"moto_sale", *VOIDED_ONLY})
# tags of a script's result: 95, 82, 9F36, 9F26, DF31
SCRIPT: Final = bytes.fromhex(
    "9505000000000082027C009F360200019F2608AABBCCDDEEFF0011DF31050000000000"
)


def make(
    terminal: Terminal, kind: str, card: Card, amount_minor: int, pin: str | None, pick: float
) -> Request:
    """The request of a kind. What follows something picks one by `pick` (0 to 1) among what there is;
    where there is none, a pre-authorisation or a purchase is made to have one next time."""
    follows = _follow_up(terminal, kind, amount_minor, pick)
    if follows is not None:
        return follows
    if kind in OTHER_SALES:
        return terminal.sell(kind, card, amount_minor, pin=pin)
    match kind:
        case "balance":
            return terminal.balance(card, pin=card.pin if pin is None else pin)
        case "points_query":
            return terminal.points(card, pin=pin)
        case "qr_payment":
            return terminal.pay_by_code(card, amount_minor)
        case "offline_sale":
            return terminal.offline_sale(card, amount_minor, "V12345")
        case "e_cash_sale":
            return terminal.e_cash_sale(card, amount_minor)
        case "pre_authorisation" | "release" | "completion" | "completion_advice":
            return terminal.pre_authorise(card, amount_minor, pin=pin)
        case "additional_pre_authorisation":
            return terminal.pre_authorise(card, amount_minor, pin=pin, additional=True)
    return terminal.purchase(card, amount_minor, pin=pin)


def _follow_up(terminal: Terminal, kind: str, amount_minor: int, pick: float) -> Request | None:
    """None: the kind follows nothing, or there is nothing that it could follow."""
    slips = _named(terminal, kind)
    if not slips:
        return None
    slip = slips[int(pick * len(slips))]
    match kind:
        case "void":
            return terminal.void(slip)
        case "refund":
            part = max(slip.approved_minor // 2, 1) if amount_minor % 2 else None
            return terminal.refund(slip, part)
        case "release":
            return terminal.pre_authorisation_void(slip)
        case "completion_void":
            return terminal.completion_void(slip)
        case "adjustment":
            return terminal.adjust(slip, amount_minor)
        case "tip":
            return terminal.tip(slip, 1 + amount_minor // 10)
        case "script_result":
            return terminal.script_result(slip, SCRIPT)
    percent = 1 + amount_minor % COMPLETION_PERCENT
    minor = max(slip.approved_minor * percent // 100, 1)
    return terminal.complete(slip, minor, advice=kind == "completion_advice")


def _named(terminal: Terminal, kind: str) -> list[Slip]:
    match kind:
        case "void":
            return terminal.voidable()
        case "refund":
            return terminal.refundable()
        case "release" | "completion" | "completion_advice":
            return terminal.holding()
        case "completion_void":
            return terminal.completed()
        case "adjustment" | "tip":
            return terminal.adjustable()
        case "script_result":
            return [slip for slip in terminal.refundable() if slip.kind == SALES[0]]
    return []
