"""What of the ledger is own money, and what of it lies in the reserve."""

from collections.abc import Mapping
from typing import Final

from settlement.chart import CHART

OWN: Final = frozenset({"bank_own", "advance_in_transit", "own_claim", "own_funds"})


def own_income(balances: Mapping[str, int]) -> int:
    """All income less all expense, of balances by account: ours, and not yet swept."""
    return -sum(
        balances.get(account.code, 0)
        for account in CHART.values()
        if account.kind in ("income", "expense")
    )
