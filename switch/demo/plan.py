"""The day as data: who trades, with which keys, what goes wrong and what the banks' files get wrong.

Everything is a function of the seed, so two runs of one seed have the same merchants, keys, cards
and plans. What becomes of them (which requests a killed worker held, which answer a fault hit) is
real and differs.
"""

from __future__ import annotations

import hashlib
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from hsm.des_keys import with_odd_parity
from settlement.fees import Component, Plan, Rate
from switch.reference import Link, Route
from switch.transactions import TYPES
from terminals.registry import Merchant, Profile, Terminal
from terminals.simulator.bank import BankFaults, BankOptions
from terminals.simulator.card import CardRange
from terminals.simulator.com_file import BreakPlan
from terminals.simulator.fleet import FleetOptions, Mix, TerminalFaults
from terminals.simulator.terminal import TerminalOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

TRANSACTIONS: Final = 5_000
TERMINALS_PER_MERCHANT: Final = 3
RATE_TPS: Final = 250.0
CARDS_PER_RANGE: Final = 400

LINK_CONNECTIONS: Final = 4  # two for each worker
LINK_TIMEOUT_S: Final = 2.0  # short, so that a day of faults fits into a minute
LATE_S: Final = LINK_TIMEOUT_S + 1.0
LINK_DOWN_SHARE: Final = 0.05  # of the time of trading
TERMINAL_TIMEOUT_S: Final = 15.0

# When trouble comes, as shares of the transactions done.
LINK_B_DROPS_AT, WORKER_DIES_AT, LINK_A_DROPS_AT = 0.25, 0.5, 0.75


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator chose."""

    data: Path
    seed: int = 1
    transactions: int = TRANSACTIONS
    language: str = "en"

    @property
    def banks_folder(self) -> Path:
        """The banks' own files, which hold card numbers: outside the data folder (rules §12)."""
        return self.data.with_name(f"{self.data.name}-banks")


def key(seed: int, name: str) -> bytes:
    """A test key, double length, odd parity: anybody can compute it.

    >>> len(key(1, "tmk")), key(1, "tmk") == key(1, "tmk"), key(1, "tmk") == key(2, "tmk")
    (16, True, False)
    """
    return with_odd_parity(hashlib.sha256(f"tongbao demo {seed} {name}".encode()).digest()[:16])


# -- the estate ---------------------------------------------------------------------------------

MERCHANTS: Final = (
    # name                    name_zh         MCC     fee plan
    ("Corner Grocery",        "街角便利店",   "5411", "retail"),
    ("Harbour Seafood",       "海港海鲜酒家", "5812", "catering"),
    ("Lotus Noodles",         "莲花面馆",     "5812", "catering"),
    ("Jade Jewellery",        "翠玉珠宝",     "5944", "catering"),
    ("East Gate Books",       "东门书店",     "5942", "retail"),
    ("Bright Pharmacy",       "光明药房",     "5912", "retail"),
    ("People's Hospital",     "人民医院",     "8062", "welfare"),
    ("No. 3 Middle School",   "第三中学",     "8211", "welfare"),
    ("Blue Sky Petrol",       "蓝天加油站",   "5541", "retail"),
    ("Golden Dragon Hotel",   "金龙大酒店",   "7011", "catering"),
    ("River Cinema",          "江边影院",     "7832", "retail"),
    ("Old Town Tea",          "老城茶庄",     "5499", "retail"),
    ("Swift Phones",          "迅捷手机",     "4812", "retail"),
    ("Home Appliances City",  "家电城",       "5722", "retail"),
    ("Silk Road Clothing",    "丝路服装",     "5651", "retail"),
    ("Green Leaf Market",     "绿叶超市",     "5411", "retail"),
    ("Northern Dumplings",    "北方饺子馆",   "5812", "catering"),
    ("Sunrise Bakery",        "朝阳面包房",   "5462", "catering"),
    ("Peak Sports",           "高峰体育",     "5941", "retail"),
    ("City Parking",          "城市停车场",   "7523", "retail"),
)  # fmt: skip

FEE_PLANS: Final = tuple(
    Plan(
        name=name,
        components=(
            Component(
                "merchant_discount",
                (
                    Rate(Decimal(debit), card_type="debit", cap_minor=cap_minor),
                    Rate(Decimal(credit), card_type="credit"),
                ),
            ),
        ),
    )
    for name, debit, cap_minor, credit in (
        ("retail", "0.0050", 2_000, "0.0060"),
        ("catering", "0.0055", 2_500, "0.0065"),
        ("welfare", "0", 0, "0"),
    )
)

# Four makes of terminals: (profile, what its terminals do). The third terminal of a merchant is old.
MAKES: Final[tuple[tuple[Profile, dict[str, Any]], ...]] = (
    (Profile(name="make-a"), {}),
    (
        Profile(name="make-b", mac_profile="x9.19", key_layouts=("004",)),
        {"mac_profile": "x9.19", "key_layout": "004"},
    ),
    (
        Profile(name="make-c", mac_profile="x9.9", mak_bytes=8, key_layouts=("001",)),
        {"mac_profile": "x9.9", "mak_bytes": 8, "key_layout": "001"},
    ),
)


def merchant_id(index: int) -> str:
    """DE 42: region, MCC, number."""
    return f"1025840{MERCHANTS[index][2]}{index + 1:04d}"


def terminal_options(seed: int) -> list[TerminalOptions]:
    """The 60 terminals, as their owners know them."""
    made = []
    for index in range(len(MERCHANTS) * TERMINALS_PER_MERCHANT):
        _, fields = MAKES[index % len(MAKES)]
        made.append(
            msgspec.convert(
                {
                    "merchant": merchant_id(index // TERMINALS_PER_MERCHANT),
                    "terminal": f"7{index + 1:07d}",
                    "tmk": key(seed, f"tmk {index}").hex(),
                    "reversal_tries": 40,
                    **fields,
                },
                TerminalOptions,
            )
        )
    return made


def reference(seed: int, ports: Mapping[str, int]) -> list[tuple[str, str, dict[str, Any]]]:
    """What `data apply` brings in: (kind, key, content), links at the banks' ports."""
    items: list[tuple[str, msgspec.Struct]] = []
    items += [("profile", profile) for profile, _ in MAKES]
    items += [("fee_plan", plan) for plan in FEE_PLANS]
    for bank in BANKS:
        link = Link(
            acquirer=bank.name,
            host="127.0.0.1",
            port=ports[bank.name],
            de32="48025840",
            de33="48025840",
            timeout_s=LINK_TIMEOUT_S,
            connect_timeout_s=1.0,
            reconnect_s=0.25,
            max_connections=LINK_CONNECTIONS,
            echo_idle_s=2.0,  # how soon 25 to a reversal is believed (link.md, "Times")
            reversal_unknown_after_s=1.0,
            retry_s=0.5,
            retry_max_s=2.0,
            queue_concurrency=32,
        )
        items.append(("link", link))
        items += [
            ("route", Route(prefix=of.bin[:6], acquirer=bank.name, card_type=of.kind))
            for of in bank.cards
        ]
    for index, (name, name_zh, mcc, plan) in enumerate(MERCHANTS):
        merchant = Merchant(
            merchant=merchant_id(index),
            allowed_types=tuple(TYPES),
            name=name,
            name_zh=name_zh,
            mcc=mcc,
            place=f"{name:<25}SHENZHEN     CN"[:40],
            fee_plan=plan,
            settlement_account=f"62170001300{index:08d}",
        )
        items.append(("merchant", merchant))
    for index, options in enumerate(terminal_options(seed)):
        profile, _ = MAKES[index % len(MAKES)]
        terminal = Terminal(
            merchant=options.merchant, terminal=options.terminal, profile=profile.name
        )
        items.append(("terminal", terminal))
    keys = {"profile": "name", "fee_plan": "name", "link": "acquirer", "route": "prefix"}
    keys |= {"merchant": "merchant", "terminal": "name"}
    return [(kind, getattr(item, keys[kind]), msgspec.to_builtins(item)) for kind, item in items]


# -- the banks ----------------------------------------------------------------------------------


class BankPlan(msgspec.Struct, frozen=True):
    """A bank before it has keys."""

    name: str
    institution_id: str
    cards: tuple[CardRange, ...]
    faults: BankFaults
    breaks: BreakPlan


# The digits behind the issuer's six make cards that no other bytes are mistaken for (the canary test).
BANKS: Final = (
    BankPlan(
        "bank-a",
        "01020000",
        (
            CardRange("6220008153", "01020000", count=CARDS_PER_RANGE),
            CardRange(
                "6225881746", "01020000", kind="credit", pan_length=16, count=CARDS_PER_RANGE
            ),
        ),
        BankFaults(
            late=0.004,
            silent=0.003,
            lost=0.003,
            twice=0.01,
            drop=0.0008,
            forget=0.002,
            wrong_mac=0.002,
            elsewhere=0.02,
            system_error=0.004,
            late_s=LATE_S,
        ),
        BreakPlan(missing=3, extra=2, amount=2, duplicate=2, reversed_but_billed=2),
    ),
    BankPlan(
        "bank-b",
        "04030000",
        (
            CardRange("6217993628", "04030000", count=CARDS_PER_RANGE),
            CardRange(
                "6250019475", "04030000", kind="credit", pan_length=16, count=CARDS_PER_RANGE
            ),
        ),
        BankFaults(
            late=0.003,
            silent=0.004,
            lost=0.003,
            twice=0.01,
            drop=0.0008,
            forget=0.002,
            wrong_mac=0.002,
            elsewhere=0.02,
            overtaken=0.004,
            system_error=0.002,
            late_s=LATE_S,
        ),
        BreakPlan(missing=1, extra=3, amount=1, duplicate=1, reversed_but_billed=3),
    ),
)


def bank_options(seed: int, plan: BankPlan) -> BankOptions:
    """The bank with its keys."""
    return BankOptions(
        name=plan.name,
        institution_id=plan.institution_id,
        zmk=key(seed, f"{plan.name} zmk").hex(),
        zpk=key(seed, f"{plan.name} zpk").hex(),
        zak=key(seed, f"{plan.name} zak").hex(),
        cards=plan.cards,
        faults=plan.faults,
        breaks=plan.breaks,
        latency_s=0.01,
    )


def link_down_s(options: Options) -> float:
    """How long a cut line stays cut."""
    return min(LINK_DOWN_SHARE * options.transactions / RATE_TPS, 1.5)


# -- the fleet ----------------------------------------------------------------------------------


# Mostly sales; of everything else that a terminal can do, a little.
MIX = Mix(
    pre_authorisation=3.0,
    release=0.5,
    completion=1.0,
    completion_advice=1.0,
    completion_void=0.5,
    offline_sale=1.0,
    adjustment=0.5,
    tip=1.0,
    qr_payment=3.0,
    moto_sale=1.0,
    instalment=1.0,
    reservation=0.5,
)


def fleet_options(options: Options, host: str, port: int) -> FleetOptions:
    """How the terminals trade. They settle when the demonstration says so."""
    return FleetOptions(
        host=host,
        port=port,
        transactions=options.transactions,
        rate_tps=RATE_TPS,
        ramp_s=1.0,
        one_shot=0.2,
        cards=tuple(of for bank in BANKS for of in bank.cards),
        amount_min_minor=1_00,
        amount_max_minor=9_000_00,
        mix=MIX,
        faults=TerminalFaults(
            hang_up=0.006,
            repeat=0.01,
            repeat_lost=0.004,
            double=0.005,
            bad_mac=0.003,
            garbage=0.003,
            print_failure=0.006,
            bad_answer=0.003,
        ),
        answer_timeout_s=TERMINAL_TIMEOUT_S,
        retry_s=0.3,
        tries=100,
        refund_tries=400,
        settle=False,
    )
