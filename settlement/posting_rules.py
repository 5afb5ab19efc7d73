"""Record type -> balanced postings, as data.

A leg names an account and, for each variable of the record, how often it counts there: +1 is a
debit of that variable, -1 a credit. Because the coefficients of every variable sum to zero, an
entry balances whatever the amounts are; that is checked when the table is built.
A change of a rule is a new version; entries keep the version they were made by. Versions that are no
longer made stay in the table, last version last: `POSTING_RULES` has the ones in force.
"""

from typing import Final

import msgspec

from settlement.chart import BY_HAND, CHART


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


def _of_case(
    name: str, version: int, meaning: str, *legs: tuple[str, dict[str, int]]
) -> list[PostingRule]:
    """A rule that takes a case's difference out of suspense, for either suspense account."""
    return [
        _rule(f"{name}_{side}", version, meaning, (f"{side}_suspense", {"difference": 1}), *legs)
        for side in ("long", "short")
    ]


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
    # -- casework: `difference` is the case's, long plus, short minus
    *_of_case(
        "case_follow_file",
        1,
        "the merchant gets the file's amount less our discount; the row's fees become cost",
        ("issuer_fee", {"issuer": 1}),
        ("network_fee", {"network": 1}),
        (
            "merchant_payable",
            {"difference": -1, "issuer": -1, "network": -1, "discount": 1},
        ),
        ("merchant_discount", {"discount": -1}),
    ),
    *_of_case(
        "case_accept_fee",
        1,
        "the file's fee is right after all: the excess is cost",
        ("network_fee", {"difference": -1}),
    ),
    *_of_case(
        "case_merchant",
        1,
        "the merchant gets it, or bears it, without discount",
        ("merchant_payable", {"difference": -1}),
    ),
    _rule(
        "case_write_off_long",
        1,
        "nobody claims it: ours",
        ("long_suspense", {"difference": 1}),
        ("write_off_gain", {"difference": -1}),
    ),
    _rule(
        "case_write_off_short",
        1,
        "nobody pays it: our loss",
        ("short_suspense", {"difference": 1}),
        ("write_off_loss", {"difference": -1}),
    ),
    _rule(
        "case_receivable_lost",
        1,
        "a network will not pay what it owes of a settlement date, or a part of it: our loss",
        ("write_off_loss", {"amount": 1}),
        ("network_receivable", {"amount": -1}),
    ),
    # -- disputes: `amount` is the effect on what the network owes us, its fees beside it
    _rule(
        "dispute_chargeback",
        1,
        "the issuer takes a sale back (minus), or must give it up again (plus)",
        ("network_receivable", {"amount": 1, "issuer": -1, "network": -1}),
        ("issuer_fee", {"issuer": 1}),
        ("network_fee", {"network": 1}),
        ("chargeback_receivable", {"amount": -1}),
    ),
    _rule(
        "dispute_charge",
        1,
        "a lost chargeback is the merchant's",
        ("merchant_payable", {"charged": 1}),
        ("chargeback_receivable", {"charged": -1}),
    ),
    _rule(
        "dispute_absorb",
        1,
        "a lost chargeback is our loss",
        ("write_off_loss", {"charged": 1}),
        ("chargeback_receivable", {"charged": -1}),
    ),
    _rule(
        "dispute_merchant",
        1,
        "what we adjusted through the network, out of or to the merchant's account",
        ("network_receivable", {"amount": 1, "issuer": -1, "network": -1}),
        ("issuer_fee", {"issuer": 1}),
        ("network_fee", {"network": 1}),
        ("merchant_payable", {"amount": -1}),
    ),
    *(
        _rule(
            f"dispute_{side}",
            1,
            "what we adjusted through the network, out of a case; its row's fees become cost",
            ("network_receivable", {"amount": 1, "issuer": -1, "network": -1}),
            ("issuer_fee", {"issuer": 1, "issuer_borne": 1}),
            ("network_fee", {"network": 1, "network_borne": 1}),
            (f"{side}_suspense", {"amount": -1, "issuer_borne": -1, "network_borne": -1}),
        )
        for side in ("long", "short")
    ),
    _rule(
        "payout_released",
        1,
        "a payout is on its way from the reserve account",
        ("merchant_payable", {"amount": 1}),
        ("payout_in_transit", {"amount": -1}),
    ),
    _rule(
        "agent_payout_released",
        1,
        "a payout of an agent's shares is on its way",
        ("agent_share_payable", {"amount": 1}),
        ("payout_in_transit", {"amount": -1}),
    ),
    _rule(
        "agent_payout_returned",
        1,
        "the payout came back: it is the agent's again",
        ("bank_reserve", {"amount": 1}),
        ("agent_share_payable", {"amount": -1}),
    ),
    _rule(
        "agent_payout_rejected",
        1,
        "the bank did not execute the agent's payout: it never left",
        ("payout_in_transit", {"amount": 1}),
        ("agent_share_payable", {"amount": -1}),
    ),
    _rule(
        "payout_confirmed",
        1,
        "the bank's statement shows the payout",
        ("payout_in_transit", {"amount": 1}),
        ("bank_reserve", {"amount": -1}),
    ),
    _rule(
        "payout_returned",
        1,
        "the payout came back: it is the merchant's again",
        ("bank_reserve", {"amount": 1}),
        ("merchant_payable", {"amount": -1}),
    ),
    _rule(
        "payout_rejected",
        1,
        "the bank did not execute the payout: it never left",
        ("payout_in_transit", {"amount": 1}),
        ("merchant_payable", {"amount": -1}),
    ),
    _rule(
        "advance_released",
        1,
        "own funds pay the merchant and take over his claim on the reserve, less a fee (T+0)",
        ("merchant_payable", {"amount": 1, "fee": 1}),
        ("own_due", {"amount": -1}),
        ("advance_fee", {"fee": -1}),
        ("own_claim", {"amount": 1}),
        ("advance_in_transit", {"amount": -1}),
    ),
    _rule(
        "advance_confirmed",
        1,
        "the statement of the own-funds account shows the advance",
        ("advance_in_transit", {"amount": 1}),
        ("bank_own", {"amount": -1}),
    ),
    _rule(
        "advance_returned",
        1,
        "the advance came back: the claim and the fee are the merchant's again",
        ("bank_own", {"amount": 1}),
        ("own_claim", {"amount": -1}),
        ("own_due", {"amount": 1}),
        ("advance_fee", {"fee": 1}),
        ("merchant_payable", {"amount": -1, "fee": -1}),
    ),
    _rule(
        "advance_rejected",
        1,
        "the bank did not execute the advance: it never left",
        ("advance_in_transit", {"amount": 1}),
        ("own_claim", {"amount": -1}),
        ("own_due", {"amount": 1}),
        ("advance_fee", {"fee": 1}),
        ("merchant_payable", {"amount": -1, "fee": -1}),
    ),
    # -- own money out of the reserve; its statement confirms it as any payout
    *(
        rule
        for what, account, mirror in (
            ("income", "income_swept", "own_funds"),
            ("advances", "own_due", "own_claim"),
        )
        for rule in (
            _rule(
                f"own_{what}_released",
                1,
                "own money is on its way from the reserve to own funds",
                (account, {"amount": 1}),
                ("payout_in_transit", {"amount": -1}),
            ),
            _rule(
                f"own_{what}_received",
                1,
                "the statement of the own-funds account shows it",
                ("bank_own", {"amount": 1}),
                (mirror, {"amount": -1}),
            ),
            _rule(
                f"own_{what}_returned",
                1,
                "it came back: it is own money in the reserve again",
                ("bank_reserve", {"amount": 1}),
                (account, {"amount": -1}),
            ),
            _rule(
                f"own_{what}_rejected",
                1,
                "the bank did not execute it: it never left",
                ("payout_in_transit", {"amount": 1}),
                (account, {"amount": -1}),
            ),
        )
    ),
    _rule(
        "rolling_reserve",
        1,
        "a part of a date's sales waits by contract (minus: is released)",
        ("merchant_payable", {"withheld": 1}),
        ("merchant_reserve", {"withheld": -1}),
    ),
    _rule(
        "funded",
        1,
        "the bank's credit (minus: debit) settles a network's receivable of one settlement date",
        ("bank_reserve", {"amount": 1}),
        ("network_receivable", {"amount": -1}),
    ),
    _rule(
        "bank_long",
        1,
        "the bank's statement has a credit that nothing explains yet (minus: now something does)",
        ("bank_reserve", {"amount": 1}),
        ("long_suspense", {"amount": -1}),
    ),
    _rule(
        "bank_short",
        1,
        "the same of a debit, whose amount is minus (plus: now something explains it)",
        ("bank_reserve", {"amount": 1}),
        ("short_suspense", {"amount": -1}),
    ),
    _rule(
        "own_movement",
        1,
        "the own-funds account moves by what is no business of these books",
        ("bank_own", {"amount": 1}),
        ("own_funds", {"amount": -1}),
    ),
    _rule(
        "agent_share",
        1,
        "an agent's shares of a date, out of our discount (minus: refunds take back)",
        ("merchant_discount", {"share": 1}),
        ("agent_share_payable", {"share": -1}),
    ),
    # -- by hand: legs are the voucher's own, on accounts of `chart.BY_HAND`; see `vouchers.py`
    _rule("voucher", 1, "an entry by hand of two people, with reason and evidence"),
    _rule("voucher_reversal", 1, "undoes a voucher whole, by the opposite of its postings"),
)

FREE: Final = frozenset({"voucher", "voucher_reversal"})  # rules without legs of their own
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
    ['voucher', 'voucher_reversal']
    """
    return sorted(
        {
            rule.name
            for rule in RULE_VERSIONS.values()
            if any(leg.account == account for leg in rule.legs)
            or (rule.name in FREE and account in BY_HAND)
        }
    )
