"""Fee plans as data. A fee is computed on the absolute amount, rounded, then signed.

One formula serves every record: the fee of the chain's net after it less the fee of the net
before it, by the plan of the chain's sale. So a sale bears fee(amount), a void gives all of it
back, a part refund gives back what the smaller net no longer bears (a capped fee gives back
nothing until the net falls below the cap), and the sum over a chain is the fee of its net.

A plan has components, a component has lines; the first line whose conditions all hold applies.
What merchants pay is one component `merchant_discount`, or the parts `issuer`, `network` and
`acquirer`, each with lines of its own: then the discount is their sum. What a bank and its network
take from us (a link's cost plan) is `issuer` and `network`.
Rules: rules of money, section 17; figures: the 96 reform (2016-09-06), settlement reference [C8].
"""

from collections.abc import Iterable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from typing import Final, Literal
from zoneinfo import ZoneInfo

import msgspec

from settlement.clearing import Reference
from settlement.said import SaidError

ONE: Final = Decimal(1)
DISCOUNT: Final = "merchant_discount"
PARTS: Final = ("issuer", "network", "acquirer")
COMPONENTS: Final = (DISCOUNT, *PARTS)
ZONE: Final = ZoneInfo("Asia/Shanghai")

Rounding = Literal["half_up", "down", "half_even"]
ROUNDINGS: Final[dict[Rounding, str]] = {
    "half_up": ROUND_HALF_UP,
    "down": ROUND_DOWN,
    "half_even": ROUND_HALF_EVEN,
}
# What a refund does to a component: gives back the difference of the fees of the chain's net
# before and after; gives back the fee of what was left, but only if it leaves nothing; nothing.
OnRefund = Literal["difference", "whole", "none"]

# First two digits of DE 22 -> class. QR codes: 03 and 04, 93 and 94 in networks' files [C2].
ENTRY_CLASSES: Final[dict[str, tuple[str, ...]]] = {
    "qr": ("03", "04", "93", "94"),
    "contactless_no_pin": (),  # the contactless modes, and the third digit says: no PIN
    "contactless": ("07", "91", "96", "98"),
    "chip": ("05", "95"),
    "stripe": ("02", "90"),
    "keyed": ("01", "92"),
}
_CLASS_OF: Final = {mode: name for name, modes in ENTRY_CLASSES.items() for mode in modes}
NO_PIN: Final = "2"


def entry_class(entry_mode: str) -> str:
    """The class of DE 22 that prices ask for; empty where it is none of them.

    >>> entry_class("072"), entry_class("071"), entry_class("032"), entry_class("051"), entry_class("")
    ('contactless_no_pin', 'contactless', 'qr', 'chip', '')
    """
    found = _CLASS_OF.get(entry_mode[:2], "")
    if found == "contactless" and entry_mode[2:3] == NO_PIN:
        return "contactless_no_pin"
    return found


class Basis(msgspec.Struct, frozen=True):
    """What of a sale decides its price, but for the amount."""

    card_type: str  # debit or credit
    mcc: str
    entry: str = ""  # a class of ENTRY_CLASSES
    volume_minor: int = 0  # the merchant's turnover of the month; see `month_start`


class Rate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of a component; the first line whose conditions hold applies."""

    rate: Decimal  # of the amount: "0.0035" is 0.35 %
    card_type: str | None = None  # debit or credit; None: any
    mcc: tuple[str, ...] | None = None  # codes and ranges ("5811-5814"); None: any
    fixed_minor: int = 0
    minimum_minor: int = 0
    cap_minor: int | None = None
    entry: tuple[str, ...] | None = None  # classes of ENTRY_CLASSES; None: any
    amount_from_minor: int = 0
    amount_up_to_minor: int | None = None  # inclusive; None: without end
    volume_from_minor: int = 0  # of the month's turnover before the sale's business date

    def unmet(self, amount_minor: int, basis: Basis) -> str:
        """The first condition that does not hold, by its key; empty where the line applies."""
        if amount_minor < self.amount_from_minor:
            return "amount_from_minor"
        if self.amount_up_to_minor is not None and amount_minor > self.amount_up_to_minor:
            return "amount_up_to_minor"
        return self.unmet_by(basis)

    def unmet_by(self, basis: Basis) -> str:
        """The same without those that ask for the amount."""
        if self.card_type not in (None, basis.card_type):
            return "card_type"
        if self.mcc is not None and not any(_within(basis.mcc, codes) for codes in self.mcc):
            return "mcc"
        if self.entry is not None and basis.entry not in self.entry:
            return "entry"
        if basis.volume_minor < self.volume_from_minor:
            return "volume_from_minor"
        return ""

    def exact(self, amount_minor: int) -> Decimal:
        """The fee before rounding, minimum and cap."""
        return Decimal(amount_minor) * self.rate + self.fixed_minor

    def fee(self, amount_minor: int, rounding: Rounding = "half_up") -> int:
        """The fee of an amount >= 0, rounded to the minor unit, then at least the minimum and at
        most the cap; nothing bears nothing.

        >>> Rate(Decimal("0.0035"), cap_minor=1300).fee(1_000_000)
        1300
        >>> Rate(Decimal("0.000325")).fee(10_000)
        3
        """
        assert amount_minor >= 0
        if amount_minor == 0:
            return 0
        rounded = self.exact(amount_minor).quantize(ONE, ROUNDINGS[rounding])
        fee = max(int(rounded), self.minimum_minor)
        return fee if self.cap_minor is None else min(fee, self.cap_minor)


def _within(mcc: str, codes: str) -> bool:
    first, _, last = codes.partition("-")
    return first <= mcc <= (last or first)


class Component(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str  # one of COMPONENTS
    rates: tuple[Rate, ...]
    rounding: Rounding = "half_up"
    on_refund: OnRefund = "difference"

    def line(self, amount_minor: int, basis: Basis) -> int | None:
        """The number of the line that applies, from 0; None: the component asks nothing."""
        for number, rate in enumerate(self.rates):
            if not rate.unmet(amount_minor, basis):
                return number
        return None

    def fee(self, amount_minor: int, basis: Basis) -> int:
        number = self.line(amount_minor, basis)
        return 0 if number is None else self.rates[number].fee(amount_minor, self.rounding)

    def change(self, before: int, after: int, basis: Basis, *, refund: bool) -> int:
        if refund and (self.on_refund == "none" or (self.on_refund == "whole" and after)):
            return 0
        return self._signed(after, basis) - self._signed(before, basis)

    def _signed(self, net: int, basis: Basis) -> int:
        fee = self.fee(abs(net), basis)
        return -fee if net < 0 else fee


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fee plan: content of `fee_plan` reference data."""

    components: tuple[Component, ...]
    name: str = ""
    version: int = 1

    def parts(self, component: str) -> Iterator[Component]:
        """The components that make up one: of a plan with an `acquirer` part the discount is the
        sum of the parts; else every component is itself."""
        names = {part.name for part in self.components}
        summed = component == DISCOUNT and "acquirer" in names
        for part in self.components:
            if part.name == component or (summed and part.name in PARTS):
                yield part

    def fee(
        self,
        component: str,
        amount_minor: int,
        card_type: str,
        mcc: str,
        *,
        entry: str = "",
        volume_minor: int = 0,
    ) -> int:
        """The fee of one amount >= 0."""
        basis = Basis(card_type, mcc, entry, volume_minor)
        return sum(part.fee(amount_minor, basis) for part in self.parts(component))

    def change(
        self,
        component: str,
        before: int,
        after: int,
        card_type: str,
        mcc: str,
        *,
        refund: bool,
        entry: str = "",
        volume_minor: int = 0,
    ) -> int:
        """What the step of a chain's net from `before` to `after` changes in its fee. Depends on
        nothing but its arguments: of equal combinations one is computed."""
        basis = Basis(card_type, mcc, entry, volume_minor)
        return self.change_on(basis, component, before, after, refund=refund)

    def change_on(
        self, basis: Basis, component: str, before: int, after: int, *, refund: bool
    ) -> int:
        """`change` on a basis that is made already."""
        return sum(
            part.change(before, after, basis, refund=refund) for part in self.parts(component)
        )

    def alike(self, components: Iterable[str], basis: Basis) -> tuple[bool, ...]:
        """Which of the lines may apply on a basis. Where this is the same, so are the changes of
        these components, whatever the amounts."""
        return tuple(
            not rate.unmet_by(basis)
            for component in components
            for part in self.parts(component)
            for rate in part.rates
        )

    @property
    def volume_steps(self) -> tuple[int, ...]:
        """Where the month's turnover changes a price, ascending; () where it never does."""
        return tuple(
            sorted(
                {
                    rate.volume_from_minor
                    for part in self.components
                    for rate in part.rates
                    if rate.volume_from_minor
                }
            )
        )


def step_reached(volume_minor: int, steps: Iterable[int]) -> int:
    """The highest step that a turnover has reached. It stands for the turnover wherever prices
    are asked for, so that merchants on one step make one combination."""
    return max((step for step in steps if step <= volume_minor), default=0)


def month_start(business_date: date) -> date:
    """First of the business dates whose nets make up a sale's turnover of the month; the last is
    the one before the sale's own. They are closed when the sale's date closes, so the turnover is
    the same whenever it is asked for."""
    return business_date.replace(day=1)


class MerchantFee(msgspec.Struct, frozen=True):
    """Our discount on one record."""

    business_date: date
    key: str
    plan: str
    plan_version: int
    card_type: str
    net_before_minor: int
    net_after_minor: int
    discount_minor: int


class NetworkCost(msgspec.Struct, frozen=True):
    """The issuer's and the network's fee of one matched record: ours, the file's, the booked."""

    business_date: date
    key: str
    row: str
    plan: str
    plan_version: int
    issuer_ours_minor: int
    network_ours_minor: int
    issuer_file_minor: int | None
    network_file_minor: int | None
    issuer_minor: int
    network_minor: int

    @property
    def difference_minor(self) -> int:
        """The file's less ours."""
        issuer = (
            self.issuer_ours_minor if self.issuer_file_minor is None else self.issuer_file_minor
        )
        network = (
            self.network_ours_minor if self.network_file_minor is None else self.network_file_minor
        )
        return issuer + network - self.issuer_ours_minor - self.network_ours_minor

    @property
    def excess_minor(self) -> int:
        """What of the file's fee was not booked as cost."""
        booked = self.issuer_minor + self.network_minor
        return self.issuer_ours_minor + self.network_ours_minor + self.difference_minor - booked


# Non-profit hospitals, schools, welfare: the 96 reform waives issuer and network fee.
WAIVED_MCC: Final = ("8062", "8211", "8220", "8398")

REFORM_96: Final = Plan(
    name="reform-96",
    version=1,
    components=(
        Component(
            "issuer",
            (
                Rate(Decimal(0), mcc=WAIVED_MCC),
                Rate(Decimal("0.0035"), card_type="debit", cap_minor=1_300),
                Rate(Decimal("0.0045"), card_type="credit"),
            ),
        ),
        # 0.065 % in total, capped at 6.50 yuan; the acquirer bears half, the issuer the other.
        Component(
            "network",
            (Rate(Decimal(0), mcc=WAIVED_MCC), Rate(Decimal("0.000325"), cap_minor=325)),
        ),
    ),
)
STANDARD: Final = Plan(
    name="standard",
    version=1,
    components=(
        Component(
            "merchant_discount",
            (
                Rate(Decimal("0.0050"), card_type="debit", cap_minor=2_000),
                Rate(Decimal("0.0060"), card_type="credit"),
            ),
        ),
    ),
)
NO_FEE: Final = Plan(name="none", version=1, components=())
BUILT_IN: Final = {plan.name: plan for plan in (REFORM_96, STANDARD, NO_FEE)}


class NotInForceError(SaidError):
    """What a record or other reference data names is not in force on that date."""


class Tariffs:
    """The reference data that fees need, by the date it is in force on: of the versions effective
    by its end the newest, which is the switch's rule (`switch.reference.Snapshot`), too."""

    def __init__(self, references: Iterable[Reference]) -> None:
        self._versions: dict[tuple[str, str], list[Reference]] = {}
        for one in references:
            self._versions.setdefault((one.kind, one.key), []).append(one)
        for versions in self._versions.values():
            versions.sort(key=lambda one: one.version)
        self._plans: dict[tuple[str, int], Plan] = {}
        self._in_force: dict[tuple[str, str, date], Reference | None] = {}

    @property
    def acquirers(self) -> list[str]:
        """Acquirers with a link, whose clearing files the day's end waits for."""
        names = {
            str(versions[-1].content.get("acquirer", key))
            for (kind, key), versions in self._versions.items()
            if kind == "link" and versions[-1].content.get("clearing") != "none"
        }
        return sorted(names)

    def link(self, acquirer: str) -> dict[str, object]:
        """What the acquirer's link says now; {} where it has none."""
        for (kind, key), versions in self._versions.items():
            if kind == "link" and versions[-1].content.get("acquirer", key) == acquirer:
                return versions[-1].content
        return {}

    def approved_codes(self, acquirer: str) -> frozenset[str] | None:
        """The codes of DE 39 that the link takes as approvals; None where it names none."""
        tables = ("approved", "approved_with_remark", "partial")
        named = [code for table in tables for code in _texts(self.link(acquirer).get(table))]
        return frozenset(named) or None

    def keys(self, kind: str) -> list[str]:
        return sorted(key for known, key in self._versions if known == kind)

    @property
    def volume_steps(self) -> tuple[int, ...]:
        """Where the month's turnover changes a price of any version of any plan, ascending."""
        steps = {
            step
            for (kind, key), versions in self._versions.items()
            if kind == "fee_plan"
            for one in versions
            for step in self.plan(key, one.version).volume_steps
        }
        return tuple(sorted(steps))

    def versioned(self, kind: str, key: str, version: int) -> Reference | None:
        versions = self._versions.get((kind, key), [])
        return next((one for one in versions if one.version == version), None)

    def in_force(self, kind: str, key: str, on: date) -> Reference | None:
        """The version in force at the end of that day, Shanghai time."""
        known = (kind, key, on)
        if known not in self._in_force:
            self._in_force[known] = self._find(kind, key, on)
        return self._in_force[known]

    def _find(self, kind: str, key: str, on: date) -> Reference | None:
        end = datetime.combine(on + timedelta(days=1), time(), ZONE)
        versions = self._versions.get((kind, key), [])
        standing = [one for one in versions if one.effective_from < end]
        return standing[-1] if standing else None

    def merchant_plan(self, merchant: str, on: date) -> Plan:
        found = self.in_force("merchant", merchant, on)
        if found is None:
            raise NotInForceError("merchant_not_in_force", merchant=merchant, date=on)
        return self.plan_on(str(found.content.get("fee_plan") or STANDARD.name), on)

    def plan_on(self, name: str, on: date) -> Plan:
        found = self.in_force("fee_plan", name, on)
        if found is not None:
            return self.plan(name, found.version)
        if name not in BUILT_IN:
            raise NotInForceError("plan_not_in_force", plan=name, date=on)
        return BUILT_IN[name]

    def plan(self, name: str, version: int) -> Plan:
        """One version of a plan by name; the sale's, when a refund asks."""
        if (name, version) not in self._plans:
            found = self.versioned("fee_plan", name, version)
            if found is None:
                return BUILT_IN[name]
            content = {**found.content, "name": name, "version": version}
            self._plans[name, version] = msgspec.convert(content, Plan, strict=False)
        return self._plans[name, version]

    def cost_plan(self, acquirer: str, on: date) -> Plan:
        for (kind, key), versions in self._versions.items():
            if kind == "link" and versions[-1].content.get("acquirer", key) == acquirer:
                found = self.in_force(kind, key, on)
                if found is not None and found.content.get("cost_plan"):
                    return self.plan_on(str(found.content["cost_plan"]), on)
        return self.plan_on(REFORM_96.name, on)

    def card_type(self, route: str) -> str:
        """debit or credit by the route (prefix@version) that the switch decided on; credit, the
        dearer, where a card has none."""
        prefix, _, version = route.rpartition("@")
        for one in self._versions.get(("route", prefix), ()):
            if str(one.version) == version:
                return str(one.content.get("card_type") or "credit")
        return "credit"


def _texts(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list | tuple) else []
