"""Agents' shares (分润): who brought a merchant gets part of our margin on its transactions.

Agents form a tree under the house; a merchant hangs on one of them. From the merchant upwards every
level keeps the difference between what it is paid and what its parent asks of it (its cost price,
a fee plan), or a fixed part of the amount:

    merchant ── discount ──▶ agent ── its cost price ──▶ parent ── its cost price ──▶ house ── cost ──▶ bank

A price never rises on its way up and never falls below what bank and network take, so that shares
are never minus, never more than the margin, and the levels farther from the merchant go without
first. What is left of the margin is the house's own, remainders of roundings included:
Σ shares + own = discount - cost, exactly (rules of money, section 17).

Shares are a function of a chain's state; a record's share is what its step changes in it. So a
refund takes back, on its own date, what the smaller net no longer earns, and a chain that ends at
nothing leaves nothing. Cost here is ours by plan: what a file says otherwise is the house's risk.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from typing import Final

import msgspec

from settlement.clearing import REFUND_TYPES, ClearingRecord
from settlement.fees import (
    DISCOUNT,
    ONE,
    Basis,
    NotInForceError,
    Plan,
    Tariffs,
    entry_class,
    step_reached,
)
from settlement.ledger import Entry, entry

DEPTH_MAX: Final = 9  # levels over one merchant; ACOMA has as many [C1]
PER_MILLE: Final = " per mille"


class Agent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An agent and its contract: content of `agent` reference data, key = agent. The version in
    force on the sale's settlement date counts, for the sale and all that follows it."""

    agent: str
    name: str
    name_zh: str = ""
    parent: str = ""  # the agent above; empty: the house
    cost_plan: str = ""  # fee plan whose merchant_discount is what the level above asks of it
    per_mille: Decimal = Decimal(0)  # or, instead: its fixed part of the amount, of a thousand
    vat_rate: Decimal = Decimal("0.06")  # contained in its shares
    settlement_account: str = ""  # where its shares are paid to, as a merchant's
    settlement_bank: str = ""
    settlement_name: str = ""  # of the account's holder; "": name
    payout_cycle: str = "M+1"  # n-th working day of the next month
    payout_calendar: str = ""
    payout_account: str = ""
    payout_minimum_minor: int = 0


class Level(msgspec.Struct, frozen=True):
    """One agent of a chain as its contract stood on the sale's settlement date."""

    agent: str
    version: int
    plan: Plan | None  # its cost price
    per_mille: Decimal

    @property
    def terms(self) -> str:
        """What it is paid by: `plan/version`, or `0.5 per mille`."""
        if self.plan is None:
            return f"{self.per_mille}{PER_MILLE}"
        return f"{self.plan.name}/{self.plan.version}"


class RecordShare(msgspec.Struct, frozen=True):
    """One record's shares, from the merchant's agent upwards. All amounts are what the record's
    step changed: `sum(shares_minor) + own_minor = discount_minor - cost_minor`."""

    business_date: date
    key: str  # of the clearing record
    merchant: str
    currency: str
    agents: tuple[str, ...]
    versions: tuple[int, ...]  # of their contracts
    terms: tuple[str, ...]
    shares_minor: tuple[int, ...]
    discount_minor: int
    cost_minor: int
    own_minor: int

    def __post_init__(self) -> None:
        levels = len(self.agents)
        assert 0 < levels <= DEPTH_MAX, f"{self.key}: {levels} agents"
        assert levels == len(self.versions) == len(self.terms) == len(self.shares_minor)
        margin = self.discount_minor - self.cost_minor
        assert sum(self.shares_minor) + self.own_minor == margin, f"{self.key}: not the margin"


class State(msgspec.Struct, frozen=True):
    """What a chain has come to: everything that shares depend on."""

    net_minor: int = 0
    discount_minor: int = 0
    cost_minor: int = 0
    prices_minor: tuple[int, ...] = ()  # by level; of one with a fixed part 0


NOTHING: Final = State()


def shares(state: State, levels: Sequence[Level]) -> tuple[int, ...]:
    """Every level's share of a chain's state, from the merchant's agent upwards.

    >>> level = Level("a", 1, None, Decimal(2))
    >>> shares(State(10_000, 60, 38, (0,)), [level]), shares(State(10_000, 60, 50, (0,)), [level])
    ((20,), (10,))
    >>> shares(State(-10_000, -60, -38, (0,)), [level])
    (-20,)
    """
    if state.discount_minor < 0:  # a refund of a sale that is not ours: what a sale earns, minus
        return tuple(-share for share in shares(_opposite(state), levels))
    floor = max(state.cost_minor, 0)
    price = state.discount_minor
    made = []
    for level, asked in zip(levels, state.prices_minor or (0,) * len(levels), strict=True):
        wanted = price - asked if level.plan else _part(state.net_minor, level.per_mille)
        share = min(max(wanted, 0), max(price - floor, 0))
        made.append(share)
        price -= share
    return tuple(made)


def _opposite(state: State) -> State:
    return State(
        -state.net_minor,
        -state.discount_minor,
        -state.cost_minor,
        tuple(-price for price in state.prices_minor),
    )


def _part(net_minor: int, per_mille: Decimal) -> int:
    return int((Decimal(abs(net_minor)) * per_mille / 1_000).quantize(ONE, ROUND_DOWN))


# -- a chain's states -------------------------------------------------------------------------


class Sale(msgspec.Struct, frozen=True):
    """What of a chain's sale decides its shares, but for the amounts."""

    plan: Plan
    cost_plan: Plan
    levels: tuple[Level, ...]
    basis: Basis

    def after(self, state: State, effect_minor: int, *, refund: bool) -> State:
        """The state after one more step."""
        before, after = state.net_minor, state.net_minor + effect_minor

        def change(plan: Plan, *components: str) -> int:
            return sum(
                plan.change_on(self.basis, component, before, after, refund=refund)
                for component in components
            )

        prices = state.prices_minor or (0,) * len(self.levels)
        return State(
            net_minor=after,
            discount_minor=state.discount_minor + change(self.plan, DISCOUNT),
            cost_minor=state.cost_minor + change(self.cost_plan, "issuer", "network"),
            prices_minor=tuple(
                price + (change(level.plan, DISCOUNT) if level.plan else 0)
                for price, level in zip(prices, self.levels, strict=True)
            ),
        )


Steps = tuple[tuple[int, bool], ...]  # effects of a chain, oldest first, and whether a refund


def step_shares(sale: Sale, steps: Steps) -> tuple[State, State, tuple[int, ...]]:
    """The states before and after a chain's last step, and what the step gives every level.
    Depends on nothing but its arguments: of equal chains one is computed."""
    state = before = NOTHING
    for effect_minor, refund in steps:
        before, state = state, sale.after(state, effect_minor, refund=refund)
    earned = zip(shares(before, sale.levels), shares(state, sale.levels), strict=True)
    return before, state, tuple(now - then for then, now in earned)


# -- a date's shares --------------------------------------------------------------------------


def levels_of(tariffs: Tariffs, merchant: str, on: date) -> tuple[Level, ...]:
    """The agents over a merchant as their contracts stood on a day, the merchant's own first."""
    found = tariffs.in_force("merchant", merchant, on)
    name = str(found.content.get("agent") or "") if found else ""
    made: list[Level] = []
    while name:
        if any(level.agent == name for level in made) or len(made) == DEPTH_MAX:
            raise NotInForceError("agents_endless", merchant=merchant, date=on)
        contract = tariffs.in_force("agent", name, on)
        if contract is None:
            raise NotInForceError("agent_not_in_force", agent=name, date=on)
        made.append(_level(tariffs, contract.content, contract.version, on))
        name = str(contract.content.get("parent") or "")
    return tuple(made)


def levels_recorded(tariffs: Tariffs, share: RecordShare | None) -> tuple[Level, ...]:
    """The agents of a sale as they were recorded with it; () where it had none."""
    if share is None:
        return ()
    made = []
    for agent, version, terms in zip(share.agents, share.versions, share.terms, strict=True):
        if terms.endswith(PER_MILLE):
            made.append(Level(agent, version, None, Decimal(terms.removesuffix(PER_MILLE))))
        else:
            name, _, of = terms.rpartition("/")
            made.append(Level(agent, version, tariffs.plan(name, int(of)), Decimal(0)))
    return tuple(made)


def _level(tariffs: Tariffs, content: Mapping[str, object], version: int, on: date) -> Level:
    agent = msgspec.convert(content, Agent, strict=False)
    plan = tariffs.plan_on(agent.cost_plan, on) if agent.cost_plan else None
    return Level(agent.agent, version, plan, agent.per_mille)


Volumes = Mapping[tuple[date, str, str], int]  # (business date, merchant, currency) -> turnover


def shares_of(
    business_date: date,
    records: Iterable[ClearingRecord],
    chains: Mapping[int, Sequence[ClearingRecord]],
    tariffs: Tariffs,
    earlier: Mapping[str, RecordShare],
    volumes: Volumes,
) -> list[RecordShare]:
    """The shares of a date's captured records whose merchants have agents, by key.

    `chains` are the captured records of every chain, oldest first (`charges`); `earlier` has the
    shares of sales of earlier dates by key, whose agents and terms count for what follows them;
    `volumes`, the turnovers that plans ask for.
    """
    made: list[RecordShare] = []
    levels: dict[tuple[str, date], tuple[Level, ...]] = {}
    known: dict[tuple[Sale, Steps], tuple[State, State, tuple[int, ...]]] = {}
    for record in sorted(records, key=lambda one: int(one.key[1:])):
        chain = chains[record.root_request_id]
        sale = chain[0]
        over = (sale.merchant, sale.settlement_date)
        if sale.business_date < business_date:
            agreed = levels_recorded(tariffs, earlier.get(sale.key))
        else:
            if over not in levels:
                levels[over] = levels_of(tariffs, *over)
            agreed = levels[over]
        if not agreed:
            continue
        plan = tariffs.plan(sale.plan, sale.plan_version)
        volume = volumes.get((sale.business_date, sale.merchant, sale.currency), 0)
        plans = (plan, *(level.plan for level in agreed if level.plan))
        step = step_reached(volume, (step for one in plans for step in one.volume_steps))
        of = Sale(
            plan,
            tariffs.cost_plan(sale.acquirer, sale.settlement_date),
            agreed,
            Basis(sale.card_type, sale.mcc, entry_class(sale.entry_mode), step),
        )
        steps = _steps(chain, record.key)
        if (of, steps) not in known:
            known[of, steps] = step_shares(of, steps)
        made.append(
            record_share(
                business_date, record.key, record.merchant, record.currency, of, *known[of, steps]
            )
        )
    return made


def _steps(chain: Sequence[ClearingRecord], key: str) -> Steps:
    made = []
    for one in chain:
        made.append((one.effect_minor, one.type in REFUND_TYPES))
        if one.key == key:
            break
    return tuple(made)


def record_share(
    business_date: date,
    key: str,
    merchant: str,
    currency: str,
    sale: Sale,
    before: State,
    after: State,
    given: tuple[int, ...],
) -> RecordShare:
    """What `step_shares` found, as the share of one record."""
    discount = after.discount_minor - before.discount_minor
    cost = after.cost_minor - before.cost_minor
    return RecordShare(
        business_date=business_date,
        key=key,
        merchant=merchant,
        currency=currency,
        agents=tuple(level.agent for level in sale.levels),
        versions=tuple(level.version for level in sale.levels),
        terms=tuple(level.terms for level in sale.levels),
        shares_minor=given,
        discount_minor=discount,
        cost_minor=cost,
        own_minor=discount - cost - sum(given),
    )


def totals(made: Iterable[RecordShare]) -> dict[tuple[str, str], int]:
    """(agent, currency) -> its shares of a date, zero sums left out, sorted: what is accrued."""
    sums: dict[tuple[str, str], int] = {}
    for one in made:
        for agent, share in zip(one.agents, one.shares_minor, strict=True):
            sums[agent, one.currency] = sums.get((agent, one.currency), 0) + share
    return {key: sums[key] for key in sorted(sums) if sums[key]}


def accruals(business_date: date, owed: Mapping[tuple[str, str], int]) -> list[Entry]:
    """One entry for each (agent, currency) of `totals`: out of our discount, owed to the agent."""
    entries = [
        entry(
            "agent_share",
            "agent_share",
            f"{business_date:%Y%m%d}/{agent}/{currency}",
            {"share": share},
            business_date=business_date,
            step="post",
            currency=currency,
            acquirer="",
            settlement_date=business_date,
            agent=agent,
        )
        for (agent, currency), share in sorted(owed.items())
    ]
    return [one for one in entries if one is not None]


# -- the month's statement --------------------------------------------------------------------


class ShareLine(msgspec.Struct, frozen=True, order=True):
    """What one merchant brought one agent on one date."""

    business_date: date
    merchant: str
    currency: str
    count: int  # records
    share_minor: int


class Statement(msgspec.Struct, frozen=True):
    """What an agent is owed for a month in one currency; refunds count in the month they occur.
    `gross = net + vat`."""

    agent: str
    month: str  # YYYY-MM, of business dates
    currency: str
    vat_rate: Decimal
    lines: tuple[ShareLine, ...]
    gross_minor: int
    net_minor: int
    vat_minor: int


def statements(
    agent: str, month: str, vat_rate: Decimal, lines: Collection[ShareLine]
) -> list[Statement]:
    """One statement a currency, in order of currency."""
    made = []
    for currency in sorted({line.currency for line in lines}):
        own = tuple(sorted(line for line in lines if line.currency == currency))
        gross = sum(line.share_minor for line in own)
        net, vat = without_vat(gross, vat_rate)
        made.append(Statement(agent, month, currency, vat_rate, own, gross, net, vat))
    return made


def without_vat(gross_minor: int, vat_rate: Decimal) -> tuple[int, int]:
    """(net, tax) of an amount that contains its tax, the net rounded half up.

    >>> without_vat(10_600, Decimal("0.06")), without_vat(-10_600, Decimal("0.06"))
    ((10000, 600), (-10000, -600))
    """
    net = int((Decimal(abs(gross_minor)) / (1 + vat_rate)).quantize(ONE, ROUND_HALF_UP))
    net = -net if gross_minor < 0 else net
    return net, gross_minor - net


# -- judging contracts ------------------------------------------------------------------------


def contract_faults(agent: Agent) -> Iterable[tuple[str, str]]:
    """What is wrong with one contract by itself: (path, reason)."""
    if bool(agent.cost_plan) == bool(agent.per_mille):
        yield "cost_plan", "either cost_plan or per_mille"
    if not (agent.per_mille.is_finite() and 0 <= agent.per_mille <= 1_000):
        yield "per_mille", "0 to 1000, thousandths of the amount"
    if not (agent.vat_rate.is_finite() and 0 <= agent.vat_rate < 1):
        yield "vat_rate", "0 to below 1"
    if agent.parent == agent.agent:
        yield "parent", "an agent is not above itself"
    if not agent.payout_cycle.startswith("M"):
        yield "payout_cycle", "M+n: shares are paid by the month"


def tree_fault(parents: Mapping[str, str]) -> tuple[str, str] | None:
    """(agent, reason) of the first agent, by name, over whom the levels do not end at the house."""
    for agent in sorted(parents):
        above = agent
        for _ in range(DEPTH_MAX):
            above = parents.get(above, "")
            if not above or above == agent:
                break
        if above:
            reason = "stands above itself" if above == agent else f"over {DEPTH_MAX} levels"
            return agent, reason
    return None
