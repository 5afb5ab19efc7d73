"""The chart of accounts: one line an account. Debits are plus, credits are minus, everywhere.

`owner` says what an account is kept by: a receivable by acquirer and settlement date, a payable
by merchant; the books' own accounts have the owner "". Accounts are final: entries stand on them.
Composites only add up what is below them, so that a trial balance has subtotals.
A change of an account's kind, owner, parent or limits is a new version; see `definitions.py`.
"""

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

Kind = Literal["asset", "liability", "income", "expense"]
Owner = Literal["acquirer_day", "acquirer", "merchant", "agent", "own"]

CREDIT_KINDS: Final = ("liability", "income")  # a credit makes them more


class Account(msgspec.Struct, frozen=True):
    """A final account. Limits are of its balance by owner and currency, in its own sign: plus is
    what it is normally, debit for assets and expenses, credit for liabilities and income."""

    code: str
    kind: Kind
    owner: Owner
    name: str
    name_zh: str
    parent: str = ""  # a composite; empty: the one of its kind
    minimum_minor: int | None = None
    maximum_minor: int | None = None
    version: int = 1

    @property
    def sign(self) -> int:
        """+1 where a debit makes it more, -1 where a credit does."""
        return -1 if self.kind in CREDIT_KINDS else 1


class Composite(msgspec.Struct, frozen=True):
    """A subtotal: of accounts and composites that name it as their parent."""

    code: str
    kind: Kind
    name: str
    name_zh: str
    parent: str = ""  # empty: at the top
    version: int = 1


_COMPOSITES: Final = (
    Composite("assets", "asset", "Assets", "资产"),
    Composite("cash", "asset", "Cash and reserve", "货币资金", "assets"),
    Composite("receivables", "asset", "Receivables", "应收款项", "assets"),
    Composite("liabilities", "liability", "Liabilities", "负债"),
    Composite("customer_money", "liability", "Customers' money", "客户资金", "liabilities"),
    Composite("income", "income", "Income", "收入"),
    Composite("expenses", "expense", "Expenses", "费用"),
)

_ACCOUNTS: Final = (
    Account(
        "network_receivable",
        "asset",
        "acquirer_day",
        "Network receivable",
        "应收网络清算款",
        "receivables",
    ),
    Account("bank_reserve", "asset", "own", "Bank reserve account", "备付金银行存款", "cash"),
    Account("payout_in_transit", "asset", "own", "Payouts in transit", "在途付款", "cash"),
    Account("bank_own", "asset", "own", "Own-funds bank account", "自有资金银行存款"),
    Account("advance_in_transit", "asset", "own", "Advances in transit", "在途垫款"),
    Account("own_claim", "asset", "own", "Own funds' claim on the reserve", "应收备付金垫款"),
    Account("short_suspense", "asset", "acquirer", "Short suspense", "短款垫款", "receivables"),
    Account(
        "chargeback_receivable",
        "asset",
        "merchant",
        "Chargebacks receivable",
        "应收退单款",
        "receivables",
    ),
    Account("cash_in_kiosk", "asset", "own", "Cash in kiosks", "自助终端现金", "cash"),
    Account("cash_in_transit", "asset", "own", "Cash in transit", "在途现金", "cash"),
    Account(
        "merchant_payable",
        "liability",
        "merchant",
        "Merchant payable",
        "应付商户款",
        "customer_money",
    ),
    Account(
        "merchant_held",
        "liability",
        "merchant",
        "Merchant money held",
        "商户冻结款",
        "customer_money",
        minimum_minor=0,  # nothing is released that was not held
    ),
    Account(
        "merchant_reserve",
        "liability",
        "merchant",
        "Rolling reserve",
        "商户风险保证金",
        "customer_money",
        minimum_minor=0,  # nothing is released that was not withheld
    ),
    Account("own_due", "liability", "own", "Advances due to own funds", "应付自有资金垫款"),
    Account("own_funds", "liability", "own", "Own funds", "自有资金"),
    Account("long_suspense", "liability", "acquirer", "Long suspense", "长款挂账"),
    Account("agent_share_payable", "liability", "agent", "Agent shares payable", "应付代理分润"),
    Account("vat_payable", "liability", "own", "VAT payable", "应交增值税"),
    Account(
        "card_liability",
        "liability",
        "own",
        "Prepaid card liability",
        "预付卡负债",
        "customer_money",
    ),
    Account(
        "agent_float",
        "liability",
        "agent",
        "Agent float",
        "代理商预存款",
        "customer_money",
        minimum_minor=0,  # an agent spends what he has paid in
    ),
    Account("merchant_discount", "income", "own", "Merchant discount income", "商户手续费收入"),
    Account("write_off_gain", "income", "own", "Differences written off", "差错核销收入"),
    Account("advance_fee", "income", "own", "Fees of T+0 advances", "垫资手续费收入"),
    Account("income_swept", "income", "own", "Own income swept from the reserve", "已划转自有收入"),
    Account("issuer_fee", "expense", "own", "Issuer fee", "发卡行服务费"),
    Account("network_fee", "expense", "own", "Network fee", "网络服务费"),
    Account("fee_rounding", "expense", "own", "Fee rounding", "手续费尾差"),
    Account("write_off_loss", "expense", "own", "Losses written off", "差错核销损失"),
)

_TOPS: Final[dict[Kind, str]] = {
    "asset": "assets",
    "liability": "liabilities",
    "income": "income",
    "expense": "expenses",
}


def chart_of(accounts: Iterable[Account], composites: dict[str, Composite]) -> dict[str, Account]:
    """The chart by code. Asserts that codes are unique, that every parent is a composite of the
    same kind, and that limits leave room."""
    chart: dict[str, Account] = {}
    for account in accounts:
        if not account.parent:
            account = msgspec.structs.replace(account, parent=_TOPS[account.kind])
        code = account.code
        assert code not in chart, f"{code} stands twice"
        assert code not in composites, f"{code} is a composite"
        assert account.parent in composites, f"{code}: no composite {account.parent}"
        assert composites[account.parent].kind == account.kind, f"{code}: parent of another kind"
        limits = [one for one in (account.minimum_minor, account.maximum_minor) if one is not None]
        assert limits == sorted(limits), f"{code}: no balance is within its limits"
        chart[code] = account
    return chart


def composites_of(composites: Iterable[Composite]) -> dict[str, Composite]:
    """Composites by code, parents before what is below them."""
    found: dict[str, Composite] = {}
    for composite in composites:
        assert composite.code not in found, f"{composite.code} stands twice"
        parent = found.get(composite.parent)
        assert parent or not composite.parent, f"{composite.code}: {composite.parent} comes later"
        assert parent is None or parent.kind == composite.kind, f"{composite.code}: another kind"
        found[composite.code] = composite
    return found


COMPOSITES: Final[dict[str, Composite]] = composites_of(_COMPOSITES)
CHART: Final[dict[str, Account]] = chart_of(_ACCOUNTS, COMPOSITES)
# Accounts that take entries by hand (`vouchers.py`). All others are control accounts, touched by rules only:
# what they hold is said a second time by bank statements, orders, cases, disputes, withheld reserves or
# own funds, and would no longer agree. A set beside the accounts, because it changes no entry's meaning.
BY_HAND: Final[frozenset[str]] = frozenset(
    {
        "merchant_payable",
        "agent_share_payable",
        "vat_payable",
        "card_liability",
        "agent_float",
        "cash_in_kiosk",
        "cash_in_transit",
        "merchant_discount",
        "advance_fee",
        "write_off_gain",
        "issuer_fee",
        "network_fee",
        "fee_rounding",
        "write_off_loss",
    }
)
assert set(CHART) >= BY_HAND
LIMITED: Final[frozenset[str]] = frozenset(
    code
    for code, account in CHART.items()
    if account.minimum_minor is not None or account.maximum_minor is not None
)


def ancestors(code: str) -> list[str]:
    """The composites above an account or composite, nearest first.

    >>> ancestors("merchant_payable")
    ['customer_money', 'liabilities']
    """
    found: list[str] = []
    parent = CHART[code].parent if code in CHART else COMPOSITES[code].parent
    while parent:
        found.append(parent)
        parent = COMPOSITES[parent].parent
    return found
