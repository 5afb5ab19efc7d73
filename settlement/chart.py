"""The chart of accounts: one line an account. Debits are plus, credits are minus, everywhere.

`owner` says what an account is kept by: a receivable by acquirer and settlement date, a payable
by merchant; the books' own accounts have the owner "".
"""

from typing import Final, Literal

import msgspec

Owner = Literal["acquirer_day", "acquirer", "merchant", "own"]


class Account(msgspec.Struct, frozen=True):
    code: str
    kind: Literal["asset", "liability", "income", "expense"]
    owner: Owner
    name: str
    name_zh: str


_ACCOUNTS: Final = (
    Account("network_receivable", "asset", "acquirer_day", "Network receivable", "应收网络清算款"),
    Account("bank_reserve", "asset", "own", "Bank reserve account", "备付金银行存款"),
    Account("payout_in_transit", "asset", "own", "Payouts in transit", "在途付款"),
    Account("bank_own", "asset", "own", "Own-funds bank account", "自有资金银行存款"),
    Account("advance_in_transit", "asset", "own", "Advances in transit", "在途垫款"),
    Account("own_claim", "asset", "own", "Own funds' claim on the reserve", "应收备付金垫款"),
    Account("short_suspense", "asset", "acquirer", "Short suspense", "短款垫款"),
    Account("chargeback_receivable", "asset", "merchant", "Chargebacks receivable", "应收退单款"),
    Account("cash_in_kiosk", "asset", "own", "Cash in kiosks", "自助终端现金"),
    Account("cash_in_transit", "asset", "own", "Cash in transit", "在途现金"),
    Account("merchant_payable", "liability", "merchant", "Merchant payable", "应付商户款"),
    Account("merchant_held", "liability", "merchant", "Merchant money held", "商户冻结款"),
    Account("merchant_reserve", "liability", "merchant", "Rolling reserve", "商户风险保证金"),
    Account("own_due", "liability", "own", "Advances due to own funds", "应付自有资金垫款"),
    Account("own_funds", "liability", "own", "Own funds", "自有资金"),
    Account("long_suspense", "liability", "acquirer", "Long suspense", "长款挂账"),
    Account("agent_share_payable", "liability", "own", "Agent shares payable", "应付代理分润"),
    Account("vat_payable", "liability", "own", "VAT payable", "应交增值税"),
    Account("card_liability", "liability", "own", "Prepaid card liability", "预付卡负债"),
    Account("agent_float", "liability", "own", "Agent float", "代理商预存款"),
    Account("merchant_discount", "income", "own", "Merchant discount income", "商户手续费收入"),
    Account("advance_fee", "income", "own", "Fees of T+0 advances", "垫资手续费收入"),
    Account("income_swept", "income", "own", "Own income swept from the reserve", "已划转自有收入"),
    Account("issuer_fee", "expense", "own", "Issuer fee", "发卡行服务费"),
    Account("network_fee", "expense", "own", "Network fee", "网络服务费"),
    Account("fee_rounding", "expense", "own", "Fee rounding", "手续费尾差"),
)

CHART: Final[dict[str, Account]] = {account.code: account for account in _ACCOUNTS}
assert len(CHART) == len(_ACCOUNTS)
