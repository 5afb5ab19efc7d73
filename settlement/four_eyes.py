"""Maker and checker: what moves money by hand, or trust, needs two different operators.

A maker proposes an act; a checker approves the proposal, and the approval is stored in the same
commit as what the act does, so an approval is used once or not at all. Refused, and told to the
audit log: approving one's own proposal, approving twice, approving something other than what was
proposed or shown, and acting without the role (rules section 14).
"""

import hashlib
import re
from collections.abc import Collection
from datetime import datetime
from typing import Literal, Protocol

import msgspec

from settlement.said import Said, SaidError

Reason = Literal["self_approval", "replayed", "changed", "unknown", "not_allowed"]


class Actor(msgspec.Struct, frozen=True):
    """An operator who has shown his credential, and what he may do."""

    operator: str
    permissions: frozenset[str] = (
        frozenset()
    )  # names of acts; `propose:` and `approve:` before them


class Proposal(msgspec.Struct, frozen=True):
    """What a maker wants done. `payload` holds JSON values only and is all that the act reads."""

    id: str
    act: str  # such as case.adjust, payout.release
    subject: str  # what it acts on, such as a case's id
    payload: dict[str, object]
    sha256: str  # `content_hash` of the three, hex
    maker: str
    made_at: datetime


class Approval(msgspec.Struct, frozen=True):
    """A proposal that a checker has let through: what a store needs to commit the act."""

    proposal: Proposal
    checker: str


class RefusedError(SaidError):
    """The act may not be done as asked; whoever catches it tells the audit log."""

    def __init__(self, reason: Reason, key: str | Said, /, **values: object) -> None:
        super().__init__(key, **values)
        self.reason = reason


class People(Protocol):
    """Proposals, wherever they are kept. Every write is in the audit log by the same commit."""

    async def propose(
        self, act: str, subject: str, payload: dict[str, object], maker: Actor
    ) -> Proposal:
        """Needs `propose:ACT` (RefusedError). The maker's own that is pending already is returned."""

    async def proposal(self, proposal_id: str) -> Proposal | None: ...

    async def pending(self, acts: Collection[str] = ()) -> list[Proposal]:
        """Not approved and not withdrawn, oldest first; of these acts, or of all."""

    async def used(self, proposal_id: str) -> bool:
        """Whether an approval of it has been committed."""

    async def refused(self, operator: str, act: str, subject: str, error: RefusedError) -> None:
        """Write a refusal down."""


def content_hash(act: str, subject: str, payload: dict[str, object]) -> str:
    """SHA-256 over (act, subject, payload) in canonical JSON: keys sorted, no blanks; hex.

    Act and subject have nothing that JSON would escape, so that a store can make the hash, too.
    """
    assert re.fullmatch(r"[a-z_.]+", act), act
    assert subject.isprintable(), subject
    assert not {'"', "\\"} & set(subject), subject
    return hashlib.sha256(canonical([act, subject, payload]).encode()).hexdigest()


def canonical(value: object) -> str:
    """JSON with keys sorted and without blanks; empty for None: there is nothing."""
    return "" if value is None else msgspec.json.encode(value, order="sorted").decode()


def require(actor: Actor, permission: str) -> None:
    """Raises RefusedError unless the actor has the permission, such as `propose:case.adjust`."""
    if permission not in actor.permissions:
        raise RefusedError(
            "not_allowed", "no_permission", operator=actor.operator, permission=permission
        )


def judge(proposal: Proposal, checker: Actor, *, seen: str, used: bool) -> Approval:
    """The checker's approval, or RefusedError.

    `seen` is the hash that the checker was shown; `used`, whether an approval stands already. That
    two checkers at once can not both use it is the store's unique key on the proposal.
    """
    if used:
        raise RefusedError("replayed", "approved_already", what=proposal.id)
    if checker.operator == proposal.maker:
        raise RefusedError(
            "self_approval", "own_proposal", proposal=proposal.id, maker=proposal.maker
        )
    if f"approve:{proposal.act}" not in checker.permissions:
        raise RefusedError(
            "not_allowed", "not_checker", operator=checker.operator, act=proposal.act
        )
    holds = content_hash(proposal.act, proposal.subject, proposal.payload)
    if holds != proposal.sha256 or seen != proposal.sha256:
        raise RefusedError("changed", "not_as_shown", proposal=proposal.id)
    return Approval(proposal, checker.operator)
