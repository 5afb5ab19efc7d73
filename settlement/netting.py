"""What each merchant is owed for a date, out of the ledger's movements."""

from collections.abc import Iterable
from datetime import date

import msgspec

from settlement.ledger import Movement


class Net(msgspec.Struct, frozen=True, order=True):
    """One merchant's net in one currency. `net = gross + taken_back - discount - held`; a minus
    is carried, never paid as minus."""

    business_date: date
    merchant: str
    currency: str
    count: int
    gross_minor: int  # sales, completions: plus effects
    taken_back_minor: int  # refunds, voids: minus effects, a minus
    discount_minor: int
    held_minor: int
    net_minor: int


class MerchantTotal(msgspec.Struct, frozen=True, order=True):
    """A merchant's captured effects and discount, from the clearing records."""

    merchant: str
    currency: str
    count: int
    gross_minor: int
    taken_back_minor: int
    discount_minor: int


def nets(
    business_date: date, totals: Iterable[MerchantTotal], moved: Iterable[Movement]
) -> list[Net]:
    """Nets of all merchants with a movement. Asserts that records and ledger agree."""
    payable: dict[tuple[str, str], int] = {}
    held: dict[tuple[str, str], int] = {}
    for line in moved:
        if line.account == "merchant_payable":
            key = (line.owner, line.currency)
            payable[key] = payable.get(key, 0) - line.amount_minor
            if line.rule == "payout_hold":
                held[key] = held.get(key, 0) + line.amount_minor
    by_merchant = {(total.merchant, total.currency): total for total in totals}
    made: list[Net] = []
    for key in sorted(payable.keys() | by_merchant.keys()):
        total = by_merchant.get(key) or MerchantTotal(*key, 0, 0, 0, 0)
        net = payable.get(key, 0)
        on_hold = held.get(key, 0)
        expected = total.gross_minor + total.taken_back_minor - total.discount_minor - on_hold
        assert net == expected, f"net of {key}: ledger {net}, records {expected}"
        made.append(
            Net(
                business_date,
                total.merchant,
                total.currency,
                total.count,
                total.gross_minor,
                total.taken_back_minor,
                total.discount_minor,
                on_hold,
                net,
            )
        )
    return made
