"""Accounts, composites and posting rules as they are recorded beside the entries made under them.

When a date is sealed, each version's content must be what it was when it was first used: a change
without a new version is refused.
"""

import hashlib
from typing import Literal

import msgspec

from settlement.chart import CHART, COMPOSITES
from settlement.posting_rules import RULE_VERSIONS


class Definition(msgspec.Struct, frozen=True):
    """One version of an account, composite or rule. `content` is canonical JSON."""

    kind: Literal["account", "composite", "rule"]
    name: str
    version: int
    content: str

    @property
    def sha256(self) -> bytes:
        return hashlib.sha256(self.content.encode()).digest()


def definitions() -> list[Definition]:
    """Everything that is in force or ever was, by (kind, name, version)."""
    found = [
        Definition("account", account.code, account.version, _content(account))
        for account in CHART.values()
    ]
    found += [
        Definition("composite", composite.code, composite.version, _content(composite))
        for composite in COMPOSITES.values()
    ]
    found += [
        Definition("rule", rule.name, rule.version, _content(rule))
        for rule in RULE_VERSIONS.values()
    ]
    return sorted(found, key=lambda one: (one.kind, one.name, one.version))


def _content(definition: msgspec.Struct) -> str:
    return msgspec.json.encode(definition, order="sorted").decode()
