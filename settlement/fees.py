"""Fee plans as data. A fee is computed on the absolute amount, rounded half up, then signed.

One formula serves every record: the fee of the chain's net after it less the fee of the net
before it, by the plan of the chain's sale. So a sale bears fee(amount), a void gives all of it
back, a part refund gives back what the smaller net no longer bears (a capped fee gives back
nothing until the net falls below the cap), and the sum over a chain is the fee of its net.
Rules: rules of money, section 17; figures: the 96 reform (2016-09-06), settlement reference [C8].
"""

from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from settlement.clearing import Reference

ONE: Final = Decimal(1)
COMPONENTS: Final = ("merchant_discount", "issuer", "network")
ZONE: Final = ZoneInfo("Asia/Shanghai")


class Rate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of a component; the first line whose conditions hold applies."""

    rate: Decimal  # of the amount: "0.0035" is 0.35 %
    card_type: str | None = None  # debit or credit; None: any
    mcc: tuple[str, ...] | None = None  # None: any
    fixed_minor: int = 0
    minimum_minor: int = 0
    cap_minor: int | None = None

    def applies(self, card_type: str, mcc: str) -> bool:
        return self.card_type in (None, card_type) and (self.mcc is None or mcc in self.mcc)

    def fee(self, amount_minor: int) -> int:
        """The fee of an amount >= 0, rounded half up to the minor unit.

        >>> Rate(Decimal("0.0035"), cap_minor=1300).fee(1_000_000)
        1300
        >>> Rate(Decimal("0.000325")).fee(10_000)
        3
        """
        assert amount_minor >= 0
        if amount_minor == 0:
            return 0
        exact = Decimal(amount_minor) * self.rate + self.fixed_minor
        fee = max(int(exact.quantize(ONE, ROUND_HALF_UP)), self.minimum_minor)
        return fee if self.cap_minor is None else min(fee, self.cap_minor)


class Component(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str  # one of COMPONENTS
    rates: tuple[Rate, ...]
    returned_on_refund: bool = True


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fee plan: content of `fee_plan` reference data."""

    components: tuple[Component, ...]
    name: str = ""
    version: int = 1

    def fee(self, component: str, amount_minor: int, card_type: str, mcc: str) -> int:
        for part in self.components:
            if part.name == component:
                for rate in part.rates:
                    if rate.applies(card_type, mcc):
                        return rate.fee(amount_minor)
        return 0

    def change(
        self, component: str, before: int, after: int, card_type: str, mcc: str, *, refund: bool
    ) -> int:
        """What the step of a chain's net from `before` to `after` changes in its fee."""
        kept = [part for part in self.components if part.name == component]
        if refund and kept and not kept[0].returned_on_refund:
            return 0
        return self._signed(component, after, card_type, mcc) - self._signed(
            component, before, card_type, mcc
        )

    def _signed(self, component: str, net: int, card_type: str, mcc: str) -> int:
        fee = self.fee(component, abs(net), card_type, mcc)
        return -fee if net < 0 else fee


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


class NotInForceError(Exception):
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
            raise NotInForceError(f"merchant {merchant} is not in force on {on}")
        return self.plan_on(str(found.content.get("fee_plan") or STANDARD.name), on)

    def plan_on(self, name: str, on: date) -> Plan:
        found = self.in_force("fee_plan", name, on)
        if found is not None:
            return self.plan(name, found.version)
        if name not in BUILT_IN:
            raise NotInForceError(f"fee plan {name} is not in force on {on}")
        return BUILT_IN[name]

    def plan(self, name: str, version: int) -> Plan:
        """One version of a plan by name; the sale's, when a refund asks."""
        if (name, version) not in self._plans:
            found = [
                one for one in self._versions.get(("fee_plan", name), []) if one.version == version
            ]
            if not found:
                return BUILT_IN[name]
            content = {**found[0].content, "name": name, "version": version}
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
