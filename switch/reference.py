"""Reference data as the switch reads it: one immutable snapshot, replaced when its generation grows.

Every item is (kind, key, version, effective from, content). A decision names the versions it used,
and its commit is refused as stale when the generation has grown since (`journal.Stale`).
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Annotated, Any, Final, Protocol

import msgspec

from settlement.contracts import BankAccount
from settlement.four_eyes import RefusedError
from switch.risk_rules import NO_RULES, Listed, Rule, RuleSet
from switch.routing import Table
from switch.routing_rules import RoutingCost, RoutingRule
from terminals.download_data import Aid, CaKey, DownloadSet, Parameters
from terminals.registry import Merchant, Profile, StoredKey, Terminal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from settlement.four_eyes import Approval

ACCOUNT = "merchant.account"  # the act of changing a merchant's settlement account
OURS = "bank.account"  # the act of adding an account of ours, or changing it
ROUTING: Final = ("route", "routing_rule", "routing_cost")  # what the table of routing is made of
NODE = "node"  # who makes what a node makes for itself, in the audit log


class Link(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A bank link (`docs/interfaces.md`, "The bank link"). Kind `link`, key = acquirer."""

    acquirer: str
    host: str = ""  # the bank's; "" where only the bank connects
    port: int = 0
    connects: str = "us"  # or bank: then it connects to addresses of the nodes' configuration
    sign_on: str = "us"  # or bank: who sends the first 0800 of a connection
    receive_on: str = "same"  # or dialled, accepted: another connection carries what the bank sends
    receive_port: int = 0  # of the bank's host, where that one is dialled
    extra_s: float = 1.0  # a connection beyond those granted is closed after so long
    tls: bool = False  # files and addresses: `links` of each node's configuration
    tls_name: str = ""  # in the bank's certificate; "": host
    tls_pins: tuple[str, ...] = ()  # SHA-256 of the bank's certificates, hex; (): any that verifies
    de32: str  # acquirer id on the link
    de33: str = ""
    dialect: str = "iso1987_ascii"
    length: str = "binary2"  # or ascii4
    length_inclusive: bool = False
    header_hex: str = ""
    form: str | dict[str, Any] = ""  # other messages than the page's (`acquirers/forms.py`)
    mac_algorithm: str = "x9.19-binary"  # or cmac; off for none
    mac_on_management: bool = False
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=240)] = 30.0  # below store_ports.HOLDS_MAX_S
    connect_timeout_s: float = 5.0
    reconnect_s: float = 1.0
    echo_idle_s: float = 60.0
    echo_waiting_s: Annotated[float, msgspec.Meta(gt=0)] = (
        10.0  # the same, where requests wait on it
    )
    connection_in_flight_max: Annotated[int, msgspec.Meta(ge=0)] = (
        0  # of each connection; 0: no bound
    )
    max_connections: int = 2  # granted by the bank; shared out among the workers of all nodes
    in_flight_max: int = 4_096  # messages of a process that wait for their answer
    # Circuit (`switch/acquirers/circuit.py`): opens after so many failures in a row, or at such a share
    # of at least so many requests, within the window; 0 in one of the first two: not by that.
    circuit_in_row: Annotated[int, msgspec.Meta(ge=0)] = 10
    circuit_share_percent: Annotated[int, msgspec.Meta(ge=0, le=100)] = 50
    circuit_requests: Annotated[int, msgspec.Meta(ge=1)] = 20
    circuit_window_s: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    circuit_pause_s: Annotated[float, msgspec.Meta(gt=0)] = 5.0  # open so long; doubles up to:
    circuit_pause_max_s: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    circuit_probes: Annotated[int, msgspec.Meta(ge=1)] = 3  # let out at a time when half open
    circuit_codes: tuple[str, ...] = ("96",)  # DE 39 that say the host itself has failed
    key_form: str = "tr31"  # of a key that we send: tr31, or hex: ECB under the ZMK and check value
    key_bytes: Annotated[int, msgspec.Meta(ge=16, le=32)] = 16  # of a key that we make
    key_renew_h: Annotated[float, msgspec.Meta(ge=0)] = (
        0.0  # we send a new ZPK, ZAK so often; 0: never
    )
    unmatched_per_s: Annotated[int, msgspec.Meta(ge=0)] = 5  # answers to nothing kept, a process
    timezone: str = "Asia/Shanghai"  # of DE 7
    settlement_cutoff: str = (
        "23:00"  # local time after which a transaction without DE 15 is tomorrow's
    )
    approved: tuple[str, ...] = ("00",)
    approved_with_remark: tuple[str, ...] = ("11", "A2", "A4", "A5", "A6")
    partial: tuple[str, ...] = ("10",)
    declined: tuple[str, ...] = ()  # (): every other code of the table of response codes
    replacement_amounts: bool = False  # DE 95 in reversals of partial approvals
    reversal_unknown_after_s: float = (
        60.0  # 25 is final this long after the original's connection closed
    )
    retry_s: float = 2.0  # first backoff of store-and-forward; doubles up to retry_max_s
    retry_max_s: float = 60.0
    retry_tries: int = 1_000
    retry_total_s: float = 86_400.0
    queue_max: int = 100_000
    queue_concurrency: int = 8
    # its clearing files: com, none, or type -> what settlement.files.registry.expected_of takes
    clearing: str | dict[str, Any] = "com"
    currency: str = "156"  # of clearing files that name none
    cost_plan: str = "reform-96"  # fee plan of what the bank and the network take
    settlement_payer: str = (
        ""  # account that its money comes from, as our bank's statements name it
    )
    settlement_days: int = 1  # working days after a settlement date in which its money is due
    settlement_calendar: str = ""  # that counts them; empty: our reserve account's

    @property
    def accepts(self) -> bool:
        """Does the bank connect to us, at least with what it sends on?"""
        return self.connects == "bank" or self.receive_on == "accepted"

    @property
    def wire(self) -> tuple[Any, ...]:
        """What both ends of a connection agree on; where it changes, new connections are needed."""
        return (
            self.acquirer,
            self.host,
            self.port,
            self.connects,
            self.sign_on,
            self.receive_on,
            self.receive_port,
            self.tls,
            self.tls_name,
            self.tls_pins,
            self.dialect,
            self.length,
            self.length_inclusive,
            self.header_hex,
            self.form,
            self.mac_algorithm,
            self.mac_on_management,
        )


class Route(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A range of cards and where it goes. Kind `route`, key = prefix. The longest prefix wins."""

    prefix: str
    acquirer: str
    alternates: tuple[str, ...] = ()
    card_type: str = "debit"  # or credit: the fee plan's key
    foreign: bool = False  # counts on the foreign side of settlement totals
    pin_required: bool = False


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One version of one item as stored."""

    kind: str
    key: str
    version: int
    effective_from: dt.datetime
    content: dict[str, Any]
    maker: str = ""


# Where a payee's money goes, of merchants and agents.
DESTINATION: Final = ("settlement_account", "settlement_bank", "settlement_name")


def payee_of(kind: str, key: str) -> str:
    """As payouts name it; empty where the item is no payee.

    >>> payee_of("merchant", "104110058120001"), payee_of("agent", "north"), payee_of("link", "a")
    ('104110058120001', 'agent/north', '')
    """
    return {"merchant": key, "agent": f"agent/{key}"}.get(kind, "")


def destination(content: dict[str, Any]) -> dict[str, Any]:
    return {name: content.get(name, "") for name in DESTINATION}


def check_account(
    kind: str,
    key: str,
    former: dict[str, Any] | None,
    content: dict[str, Any],
    approval: Approval | None,
) -> None:
    """Where a payee's money goes, and our own accounts, are changed by two people: RefusedError where
    they are not.

    `former` is the newest version; who is registered brings its first account along. An account of
    ours takes two from the first on: a new one may be the one that pays, or is paid.
    """
    if kind == "bank_account":
        check_ours(key, former, content, approval)
        return
    payee, wanted = payee_of(kind, key), destination(content)
    if not payee or former is None or destination(former) == wanted:
        return
    if approval is None:
        raise RefusedError("not_allowed", "account_takes_two", kind=kind, key=key)
    of = approval.proposal
    if (of.act, of.subject) != (ACCOUNT, payee) or destination(of.payload) != wanted:
        raise RefusedError("changed", "account_other", proposal=of.id, kind=kind, key=key)


def check_ours(
    key: str, former: dict[str, Any] | None, content: dict[str, Any], approval: Approval | None
) -> None:
    """The whole of a bank account is what two agreed on. RefusedError."""
    if former is not None and bank_account(former) == bank_account(content):
        return
    if approval is None:
        raise RefusedError("not_allowed", "ours_takes_two", key=key)
    of = approval.proposal
    if (of.act, of.subject) != (OURS, key) or bank_account(of.payload) != bank_account(content):
        raise RefusedError("changed", "ours_other", proposal=of.id, key=key)


def bank_account(content: dict[str, Any]) -> dict[str, Any]:
    """An account of ours, with the default of every key that it was stored without.

    >>> bank_account({"name": "a", "purpose": "own", "account": "1", "bank": "2", "holder": "x"})["currency"]
    '156'
    """
    known = {name: content[name] for name in BankAccount.__struct_fields__ if name in content}
    made: dict[str, Any] = msgspec.to_builtins(msgspec.convert(known, BankAccount))
    return made


class Snapshot:
    """All items in force at one instant. Reads are dictionary look-ups; once served it never changes."""

    def __init__(
        self, generation: int, items: Iterable[Item] = (), keys: Iterable[StoredKey] = ()
    ) -> None:
        self.generation = generation
        self.merchants: dict[str, Merchant] = {}
        self.terminals: dict[str, Terminal] = {}
        self.profiles: dict[str, Profile] = {"default": Profile(name="default")}
        self.links: dict[str, Link] = {}
        self.routes: dict[str, Route] = {}
        self.risk = NO_RULES
        self.ca_keys: dict[str, CaKey] = {}
        self.aids: dict[str, Aid] = {}
        self.parameters: dict[str, Parameters] = {}
        self.download_sets: dict[str, DownloadSet] = {}
        self.routing = Table()
        self.routing_rules: dict[str, RoutingRule] = {}
        self.routing_costs: dict[str, RoutingCost] = {}
        self._risk_rules: dict[str, Rule] = {}
        self.risk_lists: dict[str, Listed] = {}
        self._versions: dict[str, dict[str, int]] = {}  # kind -> key -> version
        self._keys: dict[str, tuple[StoredKey, ...]] = {}  # owner -> its keys, the newest first
        self._waiting: dict[str, tuple[StoredKey, ...]] = {}
        self._spoken: dict[str, None] = {}  # dialects that terminals have of their own
        self._prefix_lengths: list[int] = []
        # What its users have put together of it when it was first asked for, gone with it: who sends,
        # by DE 42 and 41; what decisions say of a route, with a PIN or without; what attempts say of a
        # routing rule and a link.
        self.senders: dict[tuple[object, object], Any] = {}
        self.routes_told: dict[tuple[str, bool], str] = {}
        self.attempts_told: dict[tuple[str, str], str] = {}
        self.take(items, keys)

    def copy(self, generation: int) -> Snapshot:
        """The same under another generation, to `take` what makes the difference."""
        other = Snapshot(generation)
        other.merchants = self.merchants.copy()
        other.terminals = self.terminals.copy()
        other.profiles = self.profiles.copy()
        other.links = self.links.copy()
        other.routes = self.routes.copy()
        other.risk = self.risk
        other.routing = self.routing
        other.routing_rules = self.routing_rules.copy()
        other.routing_costs = self.routing_costs.copy()
        other._risk_rules = self._risk_rules.copy()
        other.risk_lists = self.risk_lists.copy()
        other.ca_keys = self.ca_keys.copy()
        other.aids = self.aids.copy()
        other.parameters = self.parameters.copy()
        other.download_sets = self.download_sets.copy()
        other._versions = {kind: versions.copy() for kind, versions in self._versions.items()}
        other._keys = self._keys.copy()
        other._waiting = self._waiting.copy()
        other._spoken = self._spoken.copy()
        other._prefix_lengths = self._prefix_lengths
        return other

    def take(self, items: Iterable[Item], keys: Iterable[StoredKey]) -> None:
        """Of several versions the highest counts, in whatever order they come."""
        risk_moved = routing_moved = False
        for item in items:
            versions = self._versions.setdefault(item.kind, {})
            if item.version > versions.get(item.key, 0):
                versions[item.key] = item.version
                self._set(item)
                risk_moved |= item.kind.startswith("risk_")
                routing_moved |= item.kind in ROUTING
        if risk_moved:
            versions = self._versions.get("risk_rule", {})
            self.risk = RuleSet(self._risk_rules, self.risk_lists, versions)
        if routing_moved:
            versions_of = {kind: self._versions.get(kind, {}) for kind in ROUTING}
            self.routing = Table(self.routing_rules, self.routing_costs, versions_of)
        for key in keys:
            self._set_key(key)

    def _set_key(self, key: StoredKey) -> None:
        """The last that is read of a version counts: it may have come under another LMK, or ended."""
        this = (key.usage, key.version)
        others = (one for one in self._keys.get(key.owner, ()) if (one.usage, one.version) != this)
        kept = (*others, key) if key.status == "active" else tuple(others)
        self._keys[key.owner] = tuple(sorted(kept, key=lambda one: -one.version))
        waiting = self._waiting.get(key.owner, ())
        if waiting or key.status == "pending":
            waiting = tuple(one for one in waiting if (one.usage, one.version) != this)
            self._waiting[key.owner] = (*waiting, key) if key.status == "pending" else waiting

    def _set(self, item: Item) -> None:
        match item.kind:
            case "merchant":
                self.merchants[item.key] = msgspec.convert(item.content, Merchant)
            case "terminal":
                terminal = self.terminals[item.key] = msgspec.convert(item.content, Terminal)
                if terminal.dialect:
                    self._spoken[terminal.dialect] = None
            case "profile":
                self.profiles[item.key] = msgspec.convert(item.content, Profile)
            case "link":
                self.links[item.key] = msgspec.convert(item.content, Link)
            case "route":
                self.routes[item.key] = msgspec.convert(item.content, Route)
                lengths = {*self._prefix_lengths, len(item.key)}
                self._prefix_lengths = sorted(lengths, reverse=True)
            case "routing_rule":
                self.routing_rules[item.key] = msgspec.convert(item.content, RoutingRule)
            case "routing_cost":
                self.routing_costs[item.key] = msgspec.convert(item.content, RoutingCost)
            case "risk_rule":
                self._risk_rules[item.key] = msgspec.convert(item.content, Rule)
            case "risk_list":
                self.risk_lists[item.key] = msgspec.convert(item.content, Listed)
            case "ca_key":
                self.ca_keys[item.key] = msgspec.convert(item.content, CaKey)
            case "aid":
                self.aids[item.key] = msgspec.convert(item.content, Aid)
            case "parameters":
                self.parameters[item.key] = msgspec.convert(item.content, Parameters)
            case "download_set":
                self.download_sets[item.key] = msgspec.convert(item.content, DownloadSet)

    @property
    def dialects(self) -> list[str]:
        """That some terminal may speak."""
        return sorted({*self._spoken, *(profile.dialect for profile in self.profiles.values())})

    def version(self, kind: str, key: str) -> int:
        """The version of an item in force; 0 where there is none (a built-in default)."""
        return self._versions.get(kind, {}).get(key, 0)

    def terminal(self, merchant: str, terminal: str) -> Terminal | None:
        return self.terminals.get(f"{merchant}/{terminal}")

    def profile(self, terminal: Terminal) -> Profile:
        return self.profiles[terminal.profile]

    def route(self, pan: str) -> Route | None:
        """The route of the longest matching prefix."""
        for length in self._prefix_lengths:
            found = self.routes.get(pan[:length])
            if found is not None:
                return found
        return None

    def key(self, owner: str, usage: str) -> StoredKey | None:
        """The newest key of an owner for a usage, of those in force."""
        for key in self._keys.get(owner, ()):
            if key.usage == usage:
                return key
        return None

    def lmk_ids(self) -> set[str]:
        """The LMKs that stored keys are under."""
        return {key.lmk_id for keys in self._keys.values() for key in keys}

    def newest_keys(self) -> list[StoredKey]:
        """Of each owner and usage."""
        newest: dict[tuple[str, str], StoredKey] = {}
        for keys in self._keys.values():
            for key in keys:
                newest.setdefault((key.owner, key.usage), key)
        return list(newest.values())

    def keys(self, owner: str, usage: str) -> list[StoredKey]:
        """The newest first."""
        return [key for key in self._keys.get(owner, ()) if key.usage == usage]

    def waiting_keys(self, owner: str, usage: str) -> list[StoredKey]:
        """Not in force yet: the other side may have one and use it before we hear so."""
        return [key for key in self._waiting.get(owner, ()) if key.usage == usage]


class ReferenceStore(Protocol):
    """Where reference data and stored keys live. Every change bumps the generation."""

    async def generation(self) -> int: ...

    async def snapshot(self) -> Snapshot:
        """What is in force now by the store's clock."""
        ...

    async def items(self, kind: str | None = None) -> list[Item]: ...

    async def apply(
        self,
        items: Sequence[tuple[str, str, dict[str, Any]]],
        *,
        maker: str,
        act: str = "data.apply",
        effective_from: dt.datetime | None = None,
        approval: Approval | None = None,
    ) -> list[Item]:
        """New versions of the (kind, key, content) that differ from what is in force; returns those.

        Each is in the audit log as the maker's `act`. Another settlement account of a merchant, and
        an account of ours, take the approval of just that (RefusedError).
        """
        ...

    async def add_key(
        self, key: StoredKey, *, maker: str = NODE, act: str = "keys.import"
    ) -> StoredKey:
        """Store a key as the next version of (owner, usage); `key.version` is ignored.

        Its status is active, or pending until it is put in force.
        """
        ...
