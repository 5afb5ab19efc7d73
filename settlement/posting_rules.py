"""Record type -> balanced postings, as data.

A leg names an account and, for each variable of the record, how often it counts there: +1 is a
debit of that variable, -1 a credit. Because the coefficients of every variable sum to zero, an
entry balances whatever the amounts are; that is checked when the table is built.
A change of a rule is a new version; entries keep the version they were made by. Versions that are no
longer made stay in the table, last version last: `POSTING_RULES` has the ones in force.
"""

from typing import Final

import msgspec

from settlement.chart import CHART


class Leg(msgspec.Struct, frozen=True):
    account: str
    weights: dict[str, int]


class PostingRule(msgspec.Struct, frozen=True):
    name: str
    version: int
    meaning: str
    legs: tuple[Leg, ...]

    @property
    def variables(self) -> frozenset[str]:
        return frozenset(name for leg in self.legs for name in leg.weights)


def _rule(name: str, version: int, meaning: str, *legs: tuple[str, dict[str, int]]) -> PostingRule:
    rule = PostingRule(name, version, meaning, tuple(Leg(a, w) for a, w in legs))
    for variable in rule.variables:
        assert sum(leg.weights.get(variable, 0) for leg in rule.legs) == 0, f"{name}: {variable}"
    assert all(leg.account in CHART for leg in rule.legs), name
    assert all(weight for leg in rule.legs for weight in leg.weights.values()), f"{name}: a zero"
    return rule


_RULES: Final = (
    _rule(
        "captured",
        1,
        "a captured effect: owed by the network, owed to the merchant less our discount",
        ("network_receivable", {"effect": 1}),
        ("merchant_payable", {"effect": -1, "discount": 1}),
        ("merchant_discount", {"discount": -1}),
    ),
    _rule(
        "network_cost",
        1,
        "the file's fees as booked; the network keeps them back from what it owes",
        ("issuer_fee", {"issuer": 1}),
        ("network_fee", {"network": 1}),
        ("network_receivable", {"issuer": -1, "network": -1}),
    ),
    _rule(
        "fee_over",
        1,
        "the file's fee above ours by more than the tolerance",
        ("short_suspense", {"excess": 1}),
        ("network_receivable", {"excess": -1}),
    ),
    _rule(
        "fee_under",
        1,
        "the file's fee below ours by more than the tolerance (the excess is minus)",
        ("long_suspense", {"excess": 1}),
        ("network_receivable", {"excess": -1}),
    ),
    _rule(
        "difference_long",
        1,
        "the file owes us more than our books say",
        ("network_receivable", {"difference": 1}),
        ("long_suspense", {"difference": -1}),
    ),
    _rule(
        "difference_short",
        1,
        "the file owes us less than our books say (the difference is minus)",
        ("network_receivable", {"difference": 1}),
        ("short_suspense", {"difference": -1}),
    ),
    _rule(
        "cutoff_transfer",
        1,
        "a record settles on another settlement date than its own; see `ledger.entry`",
        ("network_receivable", {"effect": 1}),
        ("network_receivable", {"effect": -1}),
    ),
    _rule(
        "confirmed",
        1,
        "a capture that waited for its file: once out of pending, once into settled",
        ("network_receivable", {"effect": 1}),
        ("merchant_payable", {"effect": -1, "discount": 1}),
        ("merchant_discount", {"discount": -1}),
    ),
    _rule(
        "payout_hold",
        1,
        "the merchant's money of an open short waits (minus: is released)",
        ("merchant_payable", {"held": 1}),
        ("merchant_held", {"held": -1}),
    ),
    _rule(
        "agent_share",
        1,
        "an agent's shares of a date, out of our discount (minus: refunds take back)",
        ("merchant_discount", {"share": 1}),
        ("agent_share_payable", {"share": -1}),
    ),
)

POSTING_RULES: Final[dict[str, PostingRule]] = {rule.name: rule for rule in _RULES}
RULE_VERSIONS: Final[dict[tuple[str, int], PostingRule]] = {
    (rule.name, rule.version): rule for rule in _RULES
}
for _name, _last in POSTING_RULES.items():
    _versions = [version for name, version in RULE_VERSIONS if name == _name]
    assert _versions == list(range(1, _last.version + 1)), f"{_name}: versions {_versions}"


def rules_on(account: str) -> list[str]:
    """The rules that, in some version, post on an account: where to look for its entries.

    >>> rules_on("fee_rounding")
    []
    """
    return sorted(
        {
            rule.name
            for rule in RULE_VERSIONS.values()
            if any(leg.account == account for leg in rule.legs)
        }
    )
