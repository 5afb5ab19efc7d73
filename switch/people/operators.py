"""Operators, what they may do, and by which role: the tables of `docs/operations.md`.

A permission is `do:ACT`, for what one person does; or `propose:ACT` and `approve:ACT`, for what takes
two. Nobody has a permission but by a role, and an operator's roles are changed by two admins.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from settlement.four_eyes import Actor, Approval, RefusedError

# act -> what it is. One person does it.
ALONE: dict[str, str] = {
    "data.apply": "bring in reference data: profiles, fee plans, links, routes, merchants, terminals",
    "merchant.add": "register or change a merchant, but for its settlement account",
    "terminal.add": "register or change a terminal, bring in its TMK",
    "terminal.suspend": "suspend a terminal, or take it back",
    "keys.import": "bring in a link's key, or a terminal's",
    "keys.generate": "make a link's key, and the cryptogram for the other side",
    "keys.activate": "put a key that waits in force",
    "keys.rotate": "put all stored keys under the next LMK",
    "keys.retire": "end a key, or the LMK before this one",
    "evidence.key": "make a key that signs evidence",
    "day.close": "run the day's end",
    "store.purge": "drop what is older than the settings keep",
    "case.work": "assign a case, note on it, withdraw what is proposed for it",
    "risk.work": "take a risk alert, close it, make a card's token for a list",
    "dispute.work": "answer a dispute, add evidence, take error files' rows, let deadlines pass",
    "payout.withdraw": "take a payout back before it is sent",
    "payout.export": "write the bank's file of a released payout",
    "payout.status": "take in a bank's report of a payout file",
    "statement.import": "take in a bank's statement",
    "reserve.check": "run the daily check of customers' money",
    "operator.suspend": "suspend an operator",
    "operator.unlock": "end an operator's lock-out",
}

# act -> what it is. A maker proposes it, another operator approves it.
TOGETHER: dict[str, str] = {
    "keys.export": "give a link's key out again, under the link's ZMK",
    "file.accept": "take in other content under a clearing file's name, or fees beyond the bound",
    "merchant.account": "change a merchant's settlement account",
    "bank.account": "add a bank account of ours, or change it",
    "case.adjust": "end a case by an adjusting entry, or through the network",
    "case.write_off": "write a difference off",
    "case.release": "release a merchant's money before its case ends",
    "dispute.open": "start a dispute about a sale: refund by hand, adjust, claim",
    "dispute.accept": "give a chargeback up; the merchant bears it",
    "dispute.absorb": "give a chargeback up; we bear it",
    "payout.release": "send payouts to the bank",
    "payout.reject": "say that the bank did not execute a payout, so that it can be paid again",
    "reserve.sweep": "move own money out of the reserve to own funds",
    "ledger.entry": "post an entry by hand, on accounts that take it",
    "ledger.reversal": "undo an entry by hand",
    "operator.add": "add an operator with its roles",
    "operator.roles": "change an operator's roles, or take a suspended one back",
    "operator.credential": "let an operator choose a new credential",
}

_CASEWORK = (
    *("case.adjust", "case.write_off", "case.release"),
    *("dispute.open", "dispute.accept", "dispute.absorb"),
)
_MONEY = ("payout.release", "payout.reject", "reserve.sweep", "ledger.entry", "ledger.reversal")

_KEYS = ("keys.import", "keys.generate", "keys.activate", "keys.rotate", "keys.retire")

# role -> acts done alone, proposed, approved
_ROLES: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "admin": (
        ("operator.suspend", "operator.unlock"),
        ("operator.add", "operator.roles", "operator.credential"),
        ("operator.add", "operator.roles", "operator.credential"),
    ),
    "keys": (
        (*_KEYS, "evidence.key", "terminal.add"),
        ("keys.export",),
        ("keys.export",),
    ),
    "operations": (
        (
            "data.apply",
            "merchant.add",
            "terminal.add",
            "terminal.suspend",
            "day.close",
            "store.purge",
            "case.work",
            "risk.work",
        ),
        ("merchant.account", "bank.account", "file.accept"),
        (),
    ),
    "finance": (
        (
            "day.close",
            "case.work",
            "dispute.work",
            "payout.withdraw",
            "payout.export",
            "payout.status",
            "statement.import",
            "reserve.check",
        ),
        ("merchant.account", "bank.account", "file.accept", *_CASEWORK, *_MONEY),
        (),
    ),
    "finance_checker": (
        ("case.work", "dispute.work"),
        (),
        ("merchant.account", "bank.account", "file.accept", *_CASEWORK, *_MONEY),
    ),
    "auditor": ((), (), ()),  # reads, as everybody who has the store may; and changes nothing
}

ROLES: dict[str, frozenset[str]] = {
    role: frozenset(
        f"{verb}:{act}"
        for verb, acts in zip(("do", "propose", "approve"), table, strict=True)
        for act in acts
    )
    for role, table in _ROLES.items()
}

EVERYTHING = frozenset(
    {f"do:{act}" for act in ALONE}
    | {f"{verb}:{act}" for verb in ("propose", "approve") for act in TOGETHER}
)
assert frozenset().union(*ROLES.values()) == EVERYTHING, (
    "every act has a role, every role's act is one"
)

# Of `--demo`, and nowhere else: two, so that maker and checker can be tried. They have no credential.
DEMO_MAKER, DEMO_CHECKER = "demo", "demo-checker"
DEMO = {name: Actor(name, EVERYTHING) for name in (DEMO_MAKER, DEMO_CHECKER)}

ADMINS = 2  # the first two are made without a checker; from then on it takes two
ID = re.compile(r"[a-z][a-z0-9._-]{0,31}")


class Operator(msgspec.Struct, frozen=True):
    """One version of an operator; the last one counts."""

    id: str  # as `ID`
    version: int
    name: str
    roles: tuple[str, ...]  # of `ROLES`
    state: Literal["active", "suspended"] = "active"

    def actor(self) -> Actor:
        """What the operator may do; nothing while suspended."""
        roles = self.roles if self.state == "active" else ()
        return Actor(self.id, frozenset().union(*(ROLES.get(role, frozenset()) for role in roles)))


def check_key(operator_id: str, holder: str | None) -> None:
    """`holder` has, or had, the SSH key already. One key for two operators would be one person as two."""
    if holder is not None and holder != operator_id:
        raise RefusedError("not_allowed", "key_of_other", operator=operator_id, holder=holder)


def check_change(
    act: str,
    former: Operator | None,
    later: Operator,
    public_key: str | None,
    approval: Approval | None,
) -> None:
    """One admin suspends; all else is what two agreed on, to the letter. RefusedError.

    `public_key` is that of a new credential, empty where it is a code; None: the credential stays.
    """
    if approval is None:
        if former is None or act != "operator.suspend":
            raise RefusedError("not_allowed", "takes_two", act=act)
        if later.roles != former.roles or later.state != "suspended" or public_key is not None:
            raise RefusedError("not_allowed", "changes_nothing_else", act=act)
        return
    payload = approval.proposal.payload
    roles: object = payload.get("roles")
    state = "active"
    if act == "operator.credential" and former is not None:
        roles, state = list(former.roles), former.state
    key = None if act == "operator.roles" else payload.get("public_key")
    asked = (act, later.id, list(later.roles), later.state, public_key)
    agreed = (approval.proposal.act, approval.proposal.subject, roles, state, key)
    if asked != agreed or (former is None) != (act == "operator.add"):
        raise RefusedError(
            "changed", "change_of_other", proposal=approval.proposal.id, operator=later.id
        )
