"""People in memory, for tests: what `postgres/people.py` keeps, with the same refusals."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from settlement.four_eyes import (
    Approval,
    Proposal,
    RefusedError,
    canonical,
    content_hash,
    require,
)
from settlement.said import said
from switch.people.audit import Record, append
from switch.people.login import Standing, Verdict
from switch.people.operators import ADMINS, check_change, check_key

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import AsyncGenerator, Collection

    from settlement.four_eyes import Actor
    from switch.people.audit import Result
    from switch.people.credentials import Credential
    from switch.people.operators import Operator
    from switch.people.ports import Judge
    from switch.ports import Clock


class MemoryPeople:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.chain: list[Record] = []
        self._proposals: dict[str, Proposal] = {}
        self._checkers: dict[str, str] = {}
        self._withdrawn: set[str] = set()

    # -- proposals

    async def propose(
        self, act: str, subject: str, payload: dict[str, object], maker: Actor
    ) -> Proposal:
        require(maker, f"propose:{act}")
        await asyncio.sleep(0)
        sha256 = content_hash(act, subject, payload)
        for each in self._pending():
            if (each.act, each.subject, each.sha256, each.maker) == (
                act,
                subject,
                sha256,
                maker.operator,
            ):
                return each
        proposal = Proposal(
            id=f"P{len(self._proposals) + 1:06d}",
            act=act,
            subject=subject,
            payload=msgspec.json.decode(canonical(payload)),
            sha256=sha256,
            maker=maker.operator,
            made_at=self.clock.now(),
        )
        self._proposals[proposal.id] = proposal
        self.append(maker.operator, f"propose:{act}", subject, None, _told(proposal))
        return proposal

    async def proposal(self, proposal_id: str) -> Proposal | None:
        await asyncio.sleep(0)
        return self._proposals.get(proposal_id)

    async def pending(self, acts: Collection[str] = ()) -> list[Proposal]:
        await asyncio.sleep(0)
        return [each for each in self._pending() if not acts or each.act in acts]

    def _pending(self) -> list[Proposal]:
        gone = self._withdrawn | set(self._checkers)
        return [each for each in self._proposals.values() if each.id not in gone]

    async def used(self, proposal_id: str) -> bool:
        await asyncio.sleep(0)
        return proposal_id in self._checkers

    async def approved(self, acts: Collection[str]) -> list[Approval]:
        await asyncio.sleep(0)
        return [
            Approval(each, self._checkers[each.id])
            for each in self._proposals.values()
            if each.act in acts and each.id in self._checkers
        ]

    async def approve(self, approval: Approval) -> None:
        await asyncio.sleep(0)
        self.use(approval)

    def use(self, approval: Approval) -> None:
        """What `switch.approve_v1` does, for another store in memory to call with its act."""
        proposal = self.may_use(approval)
        self._checkers[proposal.id] = approval.checker
        act = f"approve:{proposal.act}"
        self.append(approval.checker, act, proposal.subject, None, _told(proposal))

    def may_use(self, approval: Approval) -> Proposal:
        """The proposal as it is kept; RefusedError where it may not be approved so."""
        proposal = self._proposals.get(approval.proposal.id)
        checker = approval.checker
        why = said("not_approvable", proposal=approval.proposal.id, checker=checker)
        if proposal is None or proposal.id in self._withdrawn:
            raise RefusedError("unknown", why)
        if proposal.id in self._checkers:
            raise RefusedError("replayed", why)
        if proposal.maker == checker:
            raise RefusedError("self_approval", why)
        holds = content_hash(proposal.act, proposal.subject, proposal.payload)
        if not holds == proposal.sha256 == approval.proposal.sha256:
            raise RefusedError("changed", why)
        return proposal

    async def withdraw(self, proposal_id: str, operator: str) -> bool:
        await asyncio.sleep(0)
        found = next((each for each in self._pending() if each.id == proposal_id), None)
        if found is None:
            return False
        self._withdrawn.add(proposal_id)
        self.append(operator, f"withdraw:{found.act}", found.subject, _told(found), None)
        return True

    # -- the audit log

    async def refused(self, operator: str, act: str, subject: str, error: RefusedError) -> None:
        await asyncio.sleep(0)
        after = {"reason": error.reason, "text": str(error)}
        self.append(operator, act, subject, None, after, "refused")

    async def audit(
        self, actor: str, act: str, subject: str, before: object = None, after: object = None
    ) -> None:
        await asyncio.sleep(0)
        self.append(actor, act, subject, before, after)

    def append(
        self,
        actor: str,
        act: str,
        subject: str,
        before: object,
        after: object,
        result: Result = "done",
    ) -> None:
        last = self.chain[-1] if self.chain else None
        at = max(self.clock.now(), last.at) if last else self.clock.now()
        values = canonical(before), canonical(after)
        self.chain.append(append(last, at, actor, act, subject, *values, result))

    async def records(self) -> AsyncGenerator[Record, None]:
        for record in tuple(self.chain):
            await asyncio.sleep(0)
            yield record


def _told(proposal: Proposal) -> dict[str, str]:
    return {"proposal": proposal.id, "sha256": proposal.sha256}


class MemoryOperators:
    """Operators beside the audit log of `people`."""

    def __init__(self, people: MemoryPeople) -> None:
        self._people = people
        self._versions: dict[str, list[Operator]] = {}
        self._credentials: dict[str, Credential] = {}
        self._holders: dict[str, str] = {}  # public key → operator
        self._failures: dict[str, tuple[dt.datetime, ...]] = {}
        self._totp_steps: dict[str, int] = {}

    async def operators(self) -> list[Operator]:
        await asyncio.sleep(0)
        return [versions[-1] for _, versions in sorted(self._versions.items())]

    async def credential(self, operator_id: str) -> Credential | None:
        await asyncio.sleep(0)
        return self._credentials.get(operator_id)

    async def login(self, operator_id: str, judge: Judge) -> Verdict:
        await asyncio.sleep(0)
        return self._tried(operator_id, judge)

    def _tried(self, operator_id: str, judge: Judge) -> Verdict:
        failures = self._failures.get(operator_id, ())
        now = self._people.clock.now()
        versions = self._versions.get(operator_id)
        verdict = judge(
            Standing(
                now=now,
                operator=versions[-1] if versions else None,
                credential=self._credentials.get(operator_id),
                failures=failures,
                totp_step=self._totp_steps.get(operator_id, 0),
            )
        )
        if verdict.counts:
            self._failures[operator_id] = () if verdict.passed else (*failures, now)
        if verdict.totp_step is not None:
            self._totp_steps[operator_id] = verdict.totp_step
        if not verdict.passed:
            after = {"reason": verdict.reason}
            self._people.append(operator_id or "?", "login", operator_id, None, after, "refused")
        return verdict

    async def enrol(self, operator_id: str, judge: Judge, credential: Credential) -> Verdict:
        await asyncio.sleep(0)
        verdict = self._tried(operator_id, judge)
        if verdict.passed:
            self._credentials[operator_id] = credential
            after = {"credential": credential.kind}
            self._people.append(operator_id, "operator.enrol", operator_id, None, after)
        return verdict

    async def bootstrap(
        self, operator: Operator, credential: Credential, actor: str, *, first: bool
    ) -> bool:
        await asyncio.sleep(0)
        admins = [
            versions
            for versions in self._versions.values()
            if any("admin" in version.roles for version in versions)
        ]
        taken = operator.id in self._versions
        if len(admins) >= ADMINS or taken or first != (not self._versions):
            return False
        self._change("operator.bootstrap", actor, operator, credential)
        return True

    async def change(
        self,
        act: str,
        actor: str,
        operator: Operator,
        credential: Credential | None = None,
        approval: Approval | None = None,
    ) -> Operator:
        await asyncio.sleep(0)
        versions = self._versions.get(operator.id)
        public_key = None if credential is None else credential.public_key
        check_change(act, versions[-1] if versions else None, operator, public_key, approval)
        if approval is not None:
            self._people.may_use(approval)
        made = self._change(act, actor, operator, credential)
        if approval is not None:
            self._people.use(approval)
        return made

    def _change(
        self, act: str, actor: str, operator: Operator, credential: Credential | None
    ) -> Operator:
        versions = self._versions.get(operator.id, [])
        former = versions[-1] if versions else None
        made = msgspec.structs.replace(operator, version=len(versions) + 1)
        if credential is not None:
            check_key(operator.id, self._holders.get(credential.public_key))
            self._credentials[operator.id] = credential
            if credential.public_key:
                self._holders[credential.public_key] = operator.id
        self._versions[operator.id] = [*versions, made]
        self._people.append(actor, act, operator.id, former, made)
        return made

    async def unlock(self, operator_id: str, actor: str) -> None:
        await asyncio.sleep(0)
        self._failures.pop(operator_id, None)
        self._people.append(actor, "operator.unlock", operator_id, None, None)
