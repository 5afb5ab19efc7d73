"""The chart of accounts: one line an account. Debits are plus, credits are minus, everywhere.

`owner` says what an account is kept by: a receivable by acquirer and settlement date, a payable
by merchant; the books' own accounts have the owner "".
"""

from typing import Final, Literal

import msgspec

Owner = Literal["acquirer_day", "acquirer", "merchant", "agent", "own"]


class Account(msgspec.Struct, frozen=True):
    code: str
    kind: Literal["asset", "liability", "income", "expense"]
    owner: Owner
    name: str
    name_zh: str


_ACCOUNTS: Final = (
    Account("network_receivable", "asset", "acquirer_day", "Network receivable", "应收网络清算款"),
    Account("bank_reserve", "asset", "own", "Bank reserve account", "备付金银行存款"),
    Account("short_suspense", "asset", "acquirer", "Short suspense", "短款垫款"),
    Account("chargeback_receivable", "asset", "merchant", "Chargebacks receivable", "应收退单款"),
    Account("cash_in_kiosk", "asset", "own", "Cash in kiosks", "自助终端现金"),
    Account("cash_in_transit", "asset", "own", "Cash in transit", "在途现金"),
    Account("merchant_payable", "liability", "merchant", "Merchant payable", "应付商户款"),
    Account("merchant_held", "liability", "merchant", "Merchant money held", "商户冻结款"),
    Account("long_suspense", "liability", "acquirer", "Long suspense", "长款挂账"),
    Account("agent_share_payable", "liability", "agent", "Agent shares payable", "应付代理分润"),
    Account("vat_payable", "liability", "own", "VAT payable", "应交增值税"),
    Account("card_liability", "liability", "own", "Prepaid card liability", "预付卡负债"),
    Account("agent_float", "liability", "own", "Agent float", "代理商预存款"),
    Account("merchant_discount", "income", "own", "Merchant discount income", "商户手续费收入"),
    Account("issuer_fee", "expense", "own", "Issuer fee", "发卡行服务费"),
    Account("network_fee", "expense", "own", "Network fee", "网络服务费"),
    Account("fee_rounding", "expense", "own", "Fee rounding", "手续费尾差"),
)

CHART: Final[dict[str, Account]] = {account.code: account for account in _ACCOUNTS}
assert len(CHART) == len(_ACCOUNTS)
