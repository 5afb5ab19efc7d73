"""The file of `data apply`: what comes in comes out again, and each mistake is told by its place."""

from __future__ import annotations

import re

import pytest

from switch.reference_file import ReferenceFileError, parse, render

GOOD = """
[[merchant]]
merchant = "100000000000001"
name = "Corner shop"
name_zh = "街角小店"

[[terminal]]
merchant = "100000000000001"
terminal = "00000001"
profile = "mobile"

[[profile]]
name = "mobile"
management_check = "open"

[[link]]
acquirer = "BANKA"
host = "127.0.0.1"
port = 9001
de32 = "48020000"

[[route]]
prefix = "62"
acquirer = "BANKA"

[[fee_plan]]
name = "retail"
[[fee_plan.components]]
name = "merchant_discount"
rates = [{ rate = "0.0060", cap_minor = 8000 }]
"""

# change of GOOD (from, to), place, part of the reason
REFUSED = [
    ('name = "Corner shop"', "name = 5", "merchant[1].name", "expected `str`"),
    ('name = "Corner shop"', "", "merchant[1]", "required field `name`"),
    ('name_zh = "', 'nickname = "', "merchant[1].nickname", "no such key"),
    ('[[merchant]]\nmerchant = "1000', '[[merchant]]\nmerchant = "9', "merchant[1].merchant", "15"),
    ('terminal = "00000001"', 'terminal = "1"', "terminal[1].terminal", "exactly 8"),
    ('terminal = "00000001"', 'terminal = "终端终端终端终端"', "terminal[1].terminal", "ASCII"),
    ('profile = "mobile"', 'profile = "radio"', "terminal[1].profile", "no profile radio"),
    ('profile = "mobile"', 'dialect = "klingon"', "terminal[1].dialect", "there are unionpay_pos"),
    ('profile = "mobile"', 'mac_profile = "md5"', "terminal[1].mac_profile", "unionpay-ecb"),
    ('profile = "mobile"', 'mac_profile = "sm4-cbc"', "terminal[1].mac_profile", "x9.19-pad2"),
    ('management_check = "open"', 'management_check = "no"', "profile[1].management_check", "session"),
    ('management_check = "open"', "mak_bytes = 24", "profile[1].mak_bytes", "8, 16"),
    ('management_check = "open"', 'key_layouts = ["002"]', "profile[1].key_layouts[0]", "001, 003"),
    ('acquirer = "BANKA"\nhost', 'acquirer = "a/b"\nhost', "link[1].acquirer", "letters, digits"),
    ("merchant_discount", "merchant_discuont", "fee_plan[1].components[0].name", "there are merch"),
    ('"0.0060"', '"-0.5"', "fee_plan[1].components[0].rates[0].rate", "0 to 1"),
    ('"0.0060"', '"0.6", minimum_minor = 8001', "fee_plan[1].components[0].rates[0].cap_minor", "not below"),
    ('"0.0060"', '"0.6", fixed_minor = -1', "fee_plan[1].components[0].rates[0]", "from 0 on"),
    ("port = 9001", "port = 0", "link[1].port", "1 to 65535"),
    ("port = 9001", "port = 1\necho_idle_s = 0.0", "link[1].echo_idle_s", "more than 0"),
    ("port = 9001", "port = 1\nreconnect_s = nan", "link[1].reconnect_s", "more than 0"),
    ("port = 9001", "port = 1\nqueue_concurrency = 0", "link[1].queue_concurrency", "from 1"),
    ('host = "127.0.0.1"', 'host = "bank..example"', "link[1].host", "neither an address"),
    ("port = 9001", 'port = 1\ntls = true\ntls_name = ".bank"', "link[1].tls_name", "neither an address"),
    ("port = 9001", 'port = 1\nclearing = "tcr"', "link[1].clearing", "com, none"),
    ("port = 9001", "port = 1\nclearing = { COM = {}, TCR = {} }", "link[1].clearing.TCR", "no such type"),
    ("port = 9001", "port = 1\nclearing = { CSV = { name = '(' } }", "link[1].clearing.CSV", "columns: 1"),
    ("port = 9001", 'port = 1\ncost_plan = "free"', "link[1].cost_plan", "no fee_plan free"),
    ("port = 9001", 'port = 1\ntimezone = "Mars"', "link[1].timezone", "no time zone"),
    ("port = 9001", 'port = 1\ntimezone = "Asia"', "link[1].timezone", "no time zone"),
    ("port = 9001", 'port = 1\nsettlement_cutoff = "24:00"', "link[1].settlement_cutoff", "hh:mm"),
    ("port = 9001", "port = 1\nsettlement_days = -1", "link[1].settlement_days", "0 to 99"),
    ("port = 9001", "port = 1\nsettlement_days = 100", "link[1].settlement_days", "0 to 99"),
    ('name_zh = "', 'fee_plan = "retial"\nname_zh = "', "merchant[1].fee_plan", "no fee_plan retial"),
    ('prefix = "62"', 'prefix = "62"\ncard_type = "gold"', "route[1].card_type", "debit, credit"),
    ('prefix = "62"', 'prefix = "6x"', "route[1].prefix", "digits"),
    ('prefix = "62"\nacquirer = "BANKA"', 'prefix = "62"\nacquirer = "B"', "route[1].acquirer", "no link B"),
    ('"BANKA"\n\n[[fee', '"BANKA"\nalternates = ["C"]\n\n[[fee', "route[1].alternates[0]", "no link C"),
    ('rate = "0.0060"', "rat = 1", "fee_plan[1].components[0].rates[0].rat", "no such key"),
    ("[[route]]", '[[calendar]]\nname = "CN"\nyears = []\n[[route]]', "calendar[1].years", "at least one"),
    ("[[route]]", '[[calendar]]\nname = "CN"\nyears = [2026]\nmake_up_days = [2026-08-03]\n[[route]]', "calendar[1].make_up_days[0]", "no weekend day"),
    ('name_zh = "', 'payout_cycle = "weekly"\nname_zh = "', "merchant[1].payout_cycle", "T+0"),
    ('name_zh = "', 'payout_calendar = "XX"\nname_zh = "', "merchant[1].payout_calendar", "no calendar XX"),
    ('name_zh = "', 'payout_account = "own"\nname_zh = "', "merchant[1].payout_account", "no bank_account own"),
    ('name_zh = "', f'settlement_account = "{"1" * 35}"\nname_zh = "', "merchant[1].settlement_account", "at most 34"),
    ('name_zh = "', 'payout_cycle = "T+0"\nsettlement_account = "1"\nname_zh = "', "merchant[1].payout_account", "own-funds"),
    ('name_zh = "', 'reserve_rate = "1.5"\nname_zh = "', "merchant[1].reserve_rate", "below 1"),
    ('name_zh = "', 'reserve_rate = "0.1"\nname_zh = "', "merchant[1].reserve_days", "comes back"),
    ('name_zh = "', 'payout_minimum_minor = -1\nname_zh = "', "merchant[1].payout_minimum_minor", "from 0"),
    ("[[route]]", '[[bank_account]]\nname = "a/b"\npurpose = "own"\naccount = "1"\nbank = "2"\nholder = "x"\n[[route]]', "bank_account[1].name", "letters"),
    ("[[route]]", '[[bank_account]]\nname = "a"\npurpose = "own"\naccount = ""\nbank = "2"\nholder = "x"\n[[route]]', "bank_account[1].account", "payments bear"),
    ("[[profile]]", "[[profiles]]", "profiles", "no such table"),
    ("[[profile]]", "[profile]", "profile", "write [[profile]]"),
    ("[[profile]]", "[[profile", "", "is not TOML"),
    (
        "[[route]]",
        '[[route]]\nprefix = "62"\nacquirer = "BANKA"\n[[route]]',
        "route[2]",
        "stands twice",
    ),
]  # fmt: skip


def test_a_file_comes_out_as_it_came_in() -> None:
    entries = parse(GOOD, "data.toml", {})
    assert [(kind, key) for kind, key, _ in entries] == [
        ("profile", "mobile"),
        ("fee_plan", "retail"),
        ("link", "BANKA"),
        ("route", "62"),
        ("merchant", "100000000000001"),
        ("terminal", "100000000000001/00000001"),
    ]
    assert parse(render(entries), "again.toml", {}) == entries


def test_what_a_link_expects_comes_out_as_it_came_in() -> None:
    clearing = (
        r"""clearing = { COM = {}, CHECK = { name = 'c(?P<date>\d{8})', gives = ["S22"] } }"""
    )
    entries = parse(GOOD.replace("port = 9001", f"port = 9001\n{clearing}", 1), "data.toml", {})
    (link,) = (content for kind, _, content in entries if kind == "link")
    assert link["clearing"]["CHECK"] == {"name": r"c(?P<date>\d{8})", "gives": ["S22"]}
    assert parse(render(entries), "again.toml", {}) == entries


@pytest.mark.parametrize(("before", "after", "at", "reason"), REFUSED)
def test_a_mistake_is_told_with_its_place(before: str, after: str, at: str, reason: str) -> None:
    assert before in GOOD
    with pytest.raises(ReferenceFileError, match=re.escape(reason)) as caught:
        parse(GOOD.replace(before, after, 1), "data.toml", {})
    assert caught.value.at == at
    assert str(caught.value).startswith(f"data.toml: {at}")


ROUTING = """
[[routing_cost]]
acquirer = "BANKA"
currency = "156"
fixed_minor = 10
most_minor = 500

[[routing_rule]]
name = "cheap"
order = 3
when = { mccs = ["58"], currencies = ["156"], foreign = false, amount_to_minor = 900 }
choose = "cost"
to = ["BANKA"]

[[routing_rule]]
name = "rest"
order = 4
to = [
    "BANKA",
]
[routing_rule.when]
types = ["purchase"]
"""


def test_routing_rules_come_out_as_they_came_in() -> None:
    entries = parse(GOOD + ROUTING, "data.toml", {})
    assert parse(render(entries), "again.toml", {}) == entries


# what is changed, where it is told, on which line of ROUTING
ROUTING_REFUSED = [
    ('to = ["BANKA"]', 'to = ["BANKX"]', "routing_rule[1].to[0]", 'to = ["BANKX"]'),
    ('mccs = ["58"]', 'mcc = ["58"]', "routing_rule[1].when.mcc", "when ="),
    ("order = 4", "order = 3", "routing_rule[2].order", "order = 3"),
    ('types = ["purchase"]', 'types = ["void"]', "routing_rule[2].when.types[0]", 'types = ["void"]'),
    ("fixed_minor = 10", "fixed_minor = -1", "routing_cost[1].fixed_minor", "fixed_minor = -1"),
    ("fixed_minor = 10", "least_minor = 501", "routing_cost[1].most_minor", "most_minor = 500"),
    ('currency = "156"', 'currency = "840"', "routing_rule[1].to[0]", 'to = ["BANKA"]'),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "at", "line"), ROUTING_REFUSED)
def test_a_mistake_in_routing_is_told_with_its_line(
    before: str, after: str, at: str, line: str
) -> None:
    text = GOOD + ROUTING.replace(before, after, 1)
    with pytest.raises(ReferenceFileError) as caught:
        parse(text, "data.toml", {})
    assert caught.value.at == at
    assert text.splitlines()[caught.value.line - 1].startswith(line)
    assert caught.value.with_line.startswith(f"data.toml:{caught.value.line}: {at}: ")


def test_a_routes_links_are_named_once() -> None:
    text = GOOD.replace('"BANKA"\n\n[[fee', '"BANKA"\nalternates = ["BANKA"]\n\n[[fee', 1)
    with pytest.raises(ReferenceFileError, match="named before"):
        parse(text, "data.toml", {})


def test_what_is_in_force_already_may_be_named() -> None:
    text = '[[terminal]]\nmerchant = "100000000000001"\nterminal = "00000002"\n'
    with pytest.raises(ReferenceFileError, match="no merchant 100000000000001"):
        parse(text, "data.toml", {})
    assert len(parse(text, "data.toml", {"merchant": {"100000000000001"}})) == 1
