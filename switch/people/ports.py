"""Where people, proposals and the audit log are kept. In memory and on PostgreSQL alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from settlement import four_eyes

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection

    from settlement.four_eyes import Approval
    from switch.people.audit import Record
    from switch.people.credentials import Credential
    from switch.people.login import Standing, Verdict
    from switch.people.operators import Operator

    Judge = Callable[[Standing], Verdict]


class People(four_eyes.People, Protocol):
    """Proposals, approvals and the audit log."""

    async def approve(self, approval: Approval) -> None:
        """Use an approval whose whole act is that it stands, such as file.accept. RefusedError."""

    async def withdraw(self, proposal_id: str, operator: str) -> bool:
        """Take a proposal back; False where it is not pending."""
        ...

    async def approved(self, acts: Collection[str]) -> list[Approval]:
        """Every approval of these acts, in the order of their proposals."""
        ...

    async def audit(
        self, actor: str, act: str, subject: str, before: object = None, after: object = None
    ) -> None:
        """Record an act that the store does not commit by itself; in a transaction of its own."""

    def records(self) -> AsyncGenerator[Record, None]:
        """The audit log, in order. Who may stop before its end closes it."""
        ...


class Operators(Protocol):
    """Operators, their credentials and their tries. Every change is in the audit log by its commit."""

    async def operators(self) -> list[Operator]:
        """The last version of each, by id."""
        ...

    async def credential(self, operator_id: str) -> Credential | None: ...

    async def login(self, operator_id: str, judge: Judge) -> Verdict:
        """Ask `judge`, alone for this operator, and keep what counts; a failure goes to the log."""
        ...

    async def enrol(self, operator_id: str, judge: Judge, credential: Credential) -> Verdict:
        """The same, and where it passes the credential takes the enrolment's place."""
        ...

    async def bootstrap(
        self, operator: Operator, credential: Credential, actor: str, *, first: bool
    ) -> bool:
        """Make one of the first `operators.ADMINS` admins, `first` of all operators or not.

        False, and nothing, once there were so many, or where there is one of this id.
        """
        ...

    async def change(
        self,
        act: str,
        actor: str,
        operator: Operator,
        credential: Credential | None = None,
        approval: Approval | None = None,
    ) -> Operator:
        """The next version (`operator.version` is ignored), and a credential where one is given.

        RefusedError where the approval may not be used. Without one, `act` is one person's.
        """
        ...

    async def unlock(self, operator_id: str, actor: str) -> None:
        """Begin to count failures anew."""
        ...
