"""The file of `tongbao data apply`: reference data as TOML, one array of tables a kind.

    [[merchant]]
    merchant = "100000000000001"
    name = "Corner shop"

    [[fee_plan]]
    name = "retail"
    [[fee_plan.components]]
    name = "merchant_discount"
    rates = [{ rate = "0.0060", cap_minor = 8000 }]

A mistake is told with the file, the table, its number (from 1) and the key's path. What the tables
name (a terminal's merchant, a route's acquirer) must be in the file or in force already.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from hsm.keys import USAGES, KeyUsage
from hsm.mac_profiles import profiles_for
from hsm.working_keys import MAK_LENGTHS
from iso8583 import amount
from iso8583.dialects import registry
from settlement.calendars import Calendar, problems
from settlement.contracts import NAME, BankAccount, is_cycle
from settlement.fee_check import faults
from settlement.fees import BUILT_IN, Plan
from settlement.iso20022.pain001 import ACCOUNT_MAX, BANK_MAX
from settlement.shares import Agent, contract_faults, tree_fault
from switch import routing_check
from switch.acquirers import forms
from switch.config import is_time_zone
from switch.reference import Link, Route
from switch.reference_lines import line_of
from switch.risk_check import faults as risk_faults
from switch.risk_rules import Listed, Rule
from switch.routing_rules import RoutingCost, RoutingRule
from terminals.download_data import Aid, CaKey, DownloadSet, Parameters, faults as download_faults
from terminals.registry import Merchant, Profile, Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

Content = dict[str, Any]
Entry = tuple[str, str, Content]  # kind, key, content

ITEMS_MAX = 1_000_000
NO_PARENTS: Mapping[str, str] = {}
NOTHING: Mapping[tuple[str, str], Content] = {}
MERCHANT_CHARACTERS, TERMINAL_CHARACTERS = 15, 8  # DE 42, DE 41
ACQUIRER = re.compile(r"[A-Za-z0-9_-]+")
LINK_TIMES = (
    "connect_timeout_s", "reconnect_s", "echo_idle_s", "retry_s", "retry_max_s", "retry_total_s",
)  # fmt: skip
LINK_BOUNDS = ("max_connections", "in_flight_max", "retry_tries", "queue_max", "queue_concurrency")
CUTOFF = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
TERMINAL_MACS = profiles_for(MAK_LENGTHS)
LINK_MACS = profiles_for(USAGES[KeyUsage.ZAK].lengths)
SETTLEMENT_DAYS_MAX = 99  # as of payout cycles; `calendars` counts no further than 400


class Kind(msgspec.Struct, frozen=True):
    """One kind of reference data: its shape, and how an item is called."""

    shape: type[msgspec.Struct]
    key: Callable[[Any], str]


# In the order in which they are applied and shown: what is named comes before what names it.
KINDS: dict[str, Kind] = {
    "risk_list": Kind(Listed, lambda item: item.name),
    "ca_key": Kind(CaKey, lambda item: item.name),
    "aid": Kind(Aid, lambda item: item.aid),
    "parameters": Kind(Parameters, lambda item: item.name),
    "download_set": Kind(DownloadSet, lambda item: item.name),
    "profile": Kind(Profile, lambda item: item.name),
    "fee_plan": Kind(Plan, lambda item: item.name),
    "calendar": Kind(Calendar, lambda item: item.name),
    "bank_account": Kind(BankAccount, lambda item: item.name),
    "agent": Kind(Agent, lambda item: item.agent),
    "link": Kind(Link, lambda item: item.acquirer),
    "route": Kind(Route, lambda item: item.prefix),
    "routing_cost": Kind(RoutingCost, lambda item: item.key),
    "merchant": Kind(Merchant, lambda item: item.merchant),
    "terminal": Kind(Terminal, lambda item: item.name),
    "routing_rule": Kind(RoutingRule, lambda item: item.name),
    "risk_rule": Kind(Rule, lambda item: item.name),
}


class ReferenceFileError(Exception):
    """What is wrong, and where: `file: merchant[2].mcc: reason`; `line` 0: that can not be said."""

    def __init__(self, source: str, at: str, reason: str, line: int = 0) -> None:
        super().__init__(f"{source}: {at}: {reason}" if at else f"{source}: {reason}")
        self.source, self.at, self.reason, self.line = source, at, reason, line

    @property
    def with_line(self) -> str:
        """As editors take it: `file:14: merchant[2].mcc: reason`."""
        return f"{self.source}:{self.line}: {self.at}: {self.reason}" if self.line else str(self)


def parse(
    text: str,
    source: str,
    in_force: dict[str, set[str]],
    parents: Mapping[str, str] = NO_PARENTS,
    standing: Mapping[tuple[str, str], Content] = NOTHING,
) -> list[Entry]:
    """The items of a file. `in_force`: keys by kind that the store knows already; `parents`: of
    its agents; `standing`: what routing rules are held against, as the store has it."""
    try:
        return _parse(text, source, in_force, parents, standing)
    except ReferenceFileError as error:
        line = line_of(text, error.at)
        raise ReferenceFileError(error.source, error.at, error.reason, line) from error


def _parse(
    text: str,
    source: str,
    in_force: dict[str, set[str]],
    parents: Mapping[str, str],
    standing: Mapping[tuple[str, str], Content],
) -> list[Entry]:
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ReferenceFileError(source, "", f"is not TOML: {error}") from error
    for name, value in tables.items():
        if name not in KINDS:
            raise ReferenceFileError(source, name, f"no such table; there are {', '.join(KINDS)}")
        if not isinstance(value, list):
            raise ReferenceFileError(source, name, f"write [[{name}]], an array of tables")
    if sum(len(value) for value in tables.values()) > ITEMS_MAX:
        raise ReferenceFileError(source, "", f"more than {ITEMS_MAX} items")
    entries: dict[tuple[str, str], Content] = {}
    items: list[tuple[str, msgspec.Struct]] = []
    for kind in KINDS:
        for number, table in enumerate(tables.get(kind, ()), 1):
            at = f"{kind}[{number}]"
            try:
                item = convert(kind, table)
            except (ItemError, msgspec.ValidationError) as error:
                path, reason = _explain(error)
                raise ReferenceFileError(source, f"{at}{path}", reason) from error
            key = KINDS[kind].key(item)
            if (kind, key) in entries:
                raise ReferenceFileError(source, at, f"{kind} {key} stands twice in the file")
            entries[kind, key] = msgspec.to_builtins(item)
            items.append((at, item))
    known = {kind: set(in_force.get(kind, ())) for kind in KINDS}
    for kind, key in entries:
        known[kind].add(key)
    for at, item in items:
        for path, kind, key in named_by(item):
            if key not in known[kind]:
                raise ReferenceFileError(source, f"{at}.{path}", f"there is no {kind} {key}")
    agents = {item.agent: (at, item.parent) for at, item in items if isinstance(item, Agent)}
    fault = tree_fault({**parents, **{key: parent for key, (_, parent) in agents.items()}})
    if fault is not None:
        key, reason = fault
        at = f"{agents[key][0]}.parent" if key in agents else "agent"
        raise ReferenceFileError(source, at, f"agent {key} {reason}")
    for key, path, reason in routing_check.whole_of({**standing, **entries}, entries):
        numbers = {of.name: at for at, of in items if isinstance(of, RoutingRule)}
        place = ".".join(filter(None, (numbers.get(key, f"routing_rule {key}"), path)))
        since = "" if key in numbers else " (in force already)"
        raise ReferenceFileError(source, f"{place}{since}", reason)
    return [(kind, key, content) for (kind, key), content in entries.items()]


class ItemError(ValueError):
    """One item by itself is wrong: the key's path, the reason."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(reason)
        self.path = path


def convert(kind: str, table: Any) -> msgspec.Struct:
    """A table as its struct, with what a type can not say checked. `ItemError`, `ValidationError`."""
    item = msgspec.convert(table, KINDS[kind].shape)
    check(item)
    return item


def check(item: msgspec.Struct) -> None:
    """What a type can not say about one item."""
    if isinstance(item, Merchant | Terminal):
        _exactly("merchant", item.merchant, MERCHANT_CHARACTERS)
    if isinstance(item, Terminal):
        _exactly("terminal", item.terminal, TERMINAL_CHARACTERS)
    if isinstance(item, Terminal | Profile | Link) and item.dialect:
        _one_of("dialect", item.dialect, registry.names())
    if isinstance(item, Terminal | Profile) and item.mac_profile:
        _one_of("mac_profile", item.mac_profile, TERMINAL_MACS)
    if isinstance(item, Link):
        _one_of("mac_algorithm", item.mac_algorithm, LINK_MACS)
        _one_of("length", item.length, ("binary2", "ascii4"))
        _one_of("key_form", item.key_form, ("tr31", "hex"))
        _one_of("key_bytes", str(item.key_bytes), ("16", "24", "32"))
        if item.circuit_pause_max_s < item.circuit_pause_s:
            raise ItemError("circuit_pause_max_s", "not below circuit_pause_s")
        _check_bounds(item)
        _check_clearing(item.clearing)
        _check_form(item)
        if not amount.is_currency(item.currency):
            raise ItemError("currency", "a currency's three digits, as in DE 49")
        _check_connections(item)
        if not CUTOFF.fullmatch(item.settlement_cutoff):
            raise ItemError("settlement_cutoff", "hh:mm")
        if not 0 <= item.settlement_days <= SETTLEMENT_DAYS_MAX:
            raise ItemError("settlement_days", f"0 to {SETTLEMENT_DAYS_MAX} working days")
    if isinstance(item, Link | Merchant) and not is_time_zone(item.timezone):
        raise ItemError("timezone", f"no time zone {item.timezone!r}")
    if isinstance(item, Profile):
        _one_of("management_check", item.management_check, ("session", "mac", "open"))
        _one_of("mak_bytes", str(item.mak_bytes), ("8", "16"))
        for number, layout in enumerate(item.key_layouts):
            _one_of(f"key_layouts[{number}]", layout, ("001", "003", "004"))
        _one_of("ca_expiry", item.ca_expiry, ("ascii", "bcd"))
        if not 400 <= item.download_bytes <= 999:
            raise ItemError("download_bytes", "400 to 999: a key or an AID is never divided")
        if not 10 <= item.blacklist_digits <= 19:
            raise ItemError("blacklist_digits", "10 to 19")
    if isinstance(item, Route):
        _one_of("card_type", item.card_type, ("debit", "credit"))
        if not (item.prefix.isascii() and item.prefix.isdecimal()):
            raise ItemError("prefix", "digits only")
        for number, name in enumerate(item.alternates):
            if name == item.acquirer or name in item.alternates[:number]:
                raise ItemError(f"alternates[{number}]", f"{name} is named before: each link once")
    if isinstance(item, Link) and not ACQUIRER.fullmatch(item.acquirer):
        raise ItemError("acquirer", "letters, digits, - and _ only: it names folders and accounts")
    if isinstance(item, Agent) and not ACQUIRER.fullmatch(item.agent):
        raise ItemError("agent", "letters, digits, - and _ only: it names accounts")
    if isinstance(item, Plan | Agent):
        for path, reason in faults(item) if isinstance(item, Plan) else contract_faults(item):
            raise ItemError(path, reason)
    if isinstance(item, Rule | Listed):
        for path, reason in risk_faults(item):
            raise ItemError(path, reason)
    if isinstance(item, CaKey | Aid | Parameters | DownloadSet):
        for path, reason in download_faults(item):
            raise ItemError(path, reason)
    if isinstance(item, RoutingRule | RoutingCost):
        for path, reason in routing_check.faults(item):
            raise ItemError(path, reason)
    if isinstance(item, Calendar):
        for path, reason in problems(item):
            raise ItemError(path, reason)
    if isinstance(item, BankAccount):
        _check_bank_account(item)
    if isinstance(item, Merchant | Agent):
        _check_payee(item)
    if isinstance(item, Merchant):
        _check_contract(item)


def _check_bank_account(item: BankAccount) -> None:
    if not NAME.fullmatch(item.name):
        raise ItemError("name", "letters, digits, - and _ only: it names objects")
    if not amount.is_currency(item.currency):
        raise ItemError("currency", "a currency's three digits, as in DE 49")
    _at_most("account", item.account, ACCOUNT_MAX)
    _at_most("bank", item.bank, BANK_MAX)
    if not (item.account and item.bank and item.holder):
        raise ItemError("account", "account, bank and holder are what payments bear")


def _check_payee(item: Merchant | Agent) -> None:
    """How and where to a merchant or an agent is paid."""
    if not is_cycle(item.payout_cycle):
        raise ItemError("payout_cycle", "T+0, T+1 … in working days; or M+1 … of the next month")
    _at_most("settlement_account", item.settlement_account, ACCOUNT_MAX)
    _at_most("settlement_bank", item.settlement_bank, BANK_MAX)
    if item.payout_minimum_minor < 0:
        raise ItemError("payout_minimum_minor", "from 0 on")


def _check_contract(item: Merchant) -> None:
    """What an agent's contract has not."""
    if item.payout_cycle == "T+0" and item.settlement_account and not item.payout_account:
        raise ItemError("payout_account", "T+0 names the own-funds account that advances it")
    for path in ("reserve_rate", "advance_fee_rate"):
        if not 0 <= getattr(item, path) < 1:
            raise ItemError(path, "0 to below 1, a part of the amount")
    for path in ("reserve_days", "reserve_cap_minor"):
        if (getattr(item, path) or 0) < 0:
            raise ItemError(path, "from 0 on")
    if item.reserve_rate and not item.reserve_days:
        raise ItemError("reserve_days", "a rolling reserve comes back after so many days")


def _check_clearing(clearing: object) -> None:
    # here, for it brings Arrow, and most commands that read reference data have no link before them
    from settlement.files.registry import ExpectedError, expected_of

    try:
        expected_of(clearing)
    except ExpectedError as error:
        at = f"clearing.{error.path}" if error.path else "clearing"
        raise ItemError(at, error.reason) from error


def _check_bounds(link: Link) -> None:
    """Times and numbers with which a link would do nothing, or one thing without a pause."""
    for path in LINK_TIMES:
        if not getattr(link, path) > 0:
            raise ItemError(path, "seconds, more than 0")
    for path in LINK_BOUNDS:
        if getattr(link, path) < 1:
            raise ItemError(path, "from 1 on")


def _check_connections(link: Link) -> None:
    """Who connects to whom, and what with."""
    _one_of("connects", link.connects, ("us", "bank"))
    _one_of("sign_on", link.sign_on, ("us", "bank"))
    _one_of("receive_on", link.receive_on, ("same", "dialled", "accepted"))
    if link.connects == "us":
        if not link.host:
            raise ItemError("host", "the bank's, where we connect")
        _check_host("host", link.host)
        if not 0 < link.port < 65_536:
            raise ItemError("port", "1 to 65535")
    elif link.receive_on != "same":
        raise ItemError("receive_on", "another connection is for links where we connect")
    if link.receive_on == "dialled" and not 0 < link.receive_port < 65_536:
        raise ItemError("receive_port", "1 to 65535, where receive_on is dialled")
    if not 0 < link.extra_s <= 60:
        raise ItemError("extra_s", "more than 0, at most 60 seconds")
    if (link.tls_name or link.tls_pins) and not link.tls:
        raise ItemError("tls", "must be true where a name or pins are given")
    _check_host("tls_name", link.tls_name)
    for number, pin in enumerate(link.tls_pins, 1):
        digits = pin.replace(":", "")
        if len(digits) != 64 or digits.strip("0123456789abcdefABCDEF"):
            raise ItemError(f"tls_pins[{number}]", "64 hex digits, SHA-256 of a certificate")


def _check_host(path: str, name: str) -> None:
    """What a resolver would not even look for."""
    try:
        plain = name.encode("idna").decode()
    except UnicodeError:
        plain = " "
    if not plain.isprintable() or " " in plain or name.startswith("."):
        raise ItemError(path, f"{name!r} is neither an address nor a name of a host")


def _check_form(link: Link) -> None:
    try:
        form = forms.form_of(link.form)
        if form is not None:
            forms.check(form, link.dialect)
    except forms.FormError as error:
        raise ItemError(f"form.{error.path}" if error.path else "form", str(error)) from error
    if form is not None and form.header and link.header_hex:
        raise ItemError("header_hex", "the form has the header")
    if form is not None and form.key is not None and link.key_form != "hex":
        element = registry.get(link.dialect).element(form.key.key)
        if element is not None and element.content == "b":
            raise ItemError("key_form", f"hex: DE {form.key.key} of the form has no room for TR-31")


def _exactly(path: str, value: str, characters: int) -> None:
    if len(value) != characters or not (value.isascii() and value.isprintable()):
        raise ItemError(path, f"exactly {characters} printable ASCII characters, as on the wire")


def _at_most(path: str, value: str, characters: int) -> None:
    if len(value) > characters or not (value.isascii() and (value.isprintable() or not value)):
        raise ItemError(path, f"at most {characters} printable ASCII characters")


def _one_of(path: str, value: str, names: tuple[str, ...]) -> None:
    if value not in names:
        raise ItemError(path, f"no {value!r}; there are {', '.join(names)}")


def named_by(item: msgspec.Struct) -> Iterator[tuple[str, str, str]]:
    """The items that this one names: (path, kind, key). Built-in names need no item."""
    if isinstance(item, Merchant) and item.fee_plan and item.fee_plan not in BUILT_IN:
        yield "fee_plan", "fee_plan", item.fee_plan
    if isinstance(item, Merchant | Agent) and item.payout_calendar:
        yield "payout_calendar", "calendar", item.payout_calendar
    if isinstance(item, Merchant | Agent) and item.payout_account:
        yield "payout_account", "bank_account", item.payout_account
    if isinstance(item, BankAccount) and item.calendar:
        yield "calendar", "calendar", item.calendar
    if isinstance(item, Merchant) and item.agent:
        yield "agent", "agent", item.agent
    if isinstance(item, Agent) and item.parent:
        yield "parent", "agent", item.parent
    if isinstance(item, Agent) and item.cost_plan and item.cost_plan not in BUILT_IN:
        yield "cost_plan", "fee_plan", item.cost_plan
    if isinstance(item, Link) and item.settlement_calendar:
        yield "settlement_calendar", "calendar", item.settlement_calendar
    if isinstance(item, Link) and item.cost_plan not in BUILT_IN:
        yield "cost_plan", "fee_plan", item.cost_plan
    if isinstance(item, Profile | Merchant | Terminal) and item.downloads:
        yield "downloads", "download_set", item.downloads
    if isinstance(item, DownloadSet):
        for number, name in enumerate(item.ca_keys or ()):
            yield f"ca_keys[{number}]", "ca_key", name
        for number, name in enumerate(item.aids or ()):
            yield f"aids[{number}]", "aid", name
        if item.parameters:
            yield "parameters", "parameters", item.parameters
        if item.blacklist:
            yield "blacklist", "risk_list", item.blacklist
    if isinstance(item, Terminal):
        yield "merchant", "merchant", item.merchant
        if item.profile != "default":
            yield "profile", "profile", item.profile
    if isinstance(item, Rule):
        if item.list:
            yield "list", "risk_list", item.list
        kind = {"terminal": "terminal", "merchant": "merchant", "agent": "agent"}.get(item.scope)
        for number, subject in enumerate(item.only if kind else ()):
            yield f"only[{number}]", str(kind), subject
    if isinstance(item, RoutingCost):
        yield "acquirer", "link", item.acquirer
    if isinstance(item, RoutingRule):
        for path in ("to", "fallbacks"):
            for number, name in enumerate(getattr(item, path)):
                yield f"{path}[{number}]", "link", name
        for number, name in enumerate(item.when.merchants):
            yield f"when.merchants[{number}]", "merchant", name
    if isinstance(item, Route):
        yield "acquirer", "link", item.acquirer
        for number, alternate in enumerate(item.alternates):
            yield f"alternates[{number}]", "link", alternate


def _explain(error: Exception) -> tuple[str, str]:
    if isinstance(error, ItemError):
        return f".{error.path}", str(error)
    reason, _, at = str(error).partition(" - at `$")
    path = at.rstrip("`")
    unknown = "Object contains unknown field `"
    if reason.startswith(unknown):
        return f"{path}.{reason.removeprefix(unknown).rstrip('`')}", "no such key"
    return path, reason[:1].lower() + reason[1:]


def render(entries: list[Entry]) -> str:
    """Items as a file that `parse` takes; `data show`."""
    lines: list[str] = []
    for kind in KINDS:
        for of, _, content in entries:
            if of == kind:
                lines += [f"[[{kind}]]"]
                lines += [
                    f"{name} = {_toml(value)}"
                    for name, value in content.items()
                    if value is not None
                ]
                lines += [""]
    return "\n".join(lines)


def _toml(value: Any) -> str:
    """A TOML value; what is None is left out, in tables and inline tables."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        inside = ", ".join(f"{k} = {_toml(v)}" for k, v in value.items() if v is not None)
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(each) for each in value)}]"
    return msgspec.json.encode(value).decode()
