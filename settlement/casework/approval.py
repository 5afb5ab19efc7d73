"""An approved act done: judge the approval, build its work on what stands now, commit both as one."""

from collections.abc import Awaitable, Callable
from typing import Final

from settlement.casework.acts import NotPossibleError
from settlement.casework.ports import Casework, ChangedError, DateMovedError, Work
from settlement.casework.states import NotNowError
from settlement.disputes.money import RefusedEventError
from settlement.four_eyes import Actor, Approval, People, Proposal, RefusedError, judge

TRIES: Final = 3  # while the business date moves on under us
Builder = Callable[[Approval], Awaitable[Work]]


async def propose(
    people: People, act: str, subject: str, content: dict[str, object], maker: Actor
) -> Proposal:
    """A maker's proposal; RefusedError, written down, where he may not."""
    if f"propose:{act}" not in maker.permissions:
        error = RefusedError("not_allowed", f"{maker.operator} may not propose {act}")
        await people.refused(maker.operator, act, subject, error)
        raise error
    return await people.propose(act, subject, content, maker)


async def commit_approved(
    casework: Casework,
    people: People,
    proposal_id: str,
    seen: str,
    checker: Actor,
    build: Builder,
) -> Approval:
    """Judge, build, commit. Raises RefusedError, which is written down; BusyError."""
    proposal = await people.proposal(proposal_id)
    try:
        return await _commit(casework, people, proposal, proposal_id, seen, checker, build)
    except RefusedError as error:
        act, subject = (proposal.act, proposal.subject) if proposal else ("", proposal_id)
        await people.refused(checker.operator, act, subject, error)
        raise


async def _commit(
    casework: Casework,
    people: People,
    proposal: Proposal | None,
    proposal_id: str,
    seen: str,
    checker: Actor,
    build: Builder,
) -> Approval:
    if proposal is None:
        raise RefusedError("unknown", f"no proposal {proposal_id}")
    for _ in range(TRIES):
        approval = judge(proposal, checker, seen=seen, used=await people.used(proposal_id))
        try:
            await casework.commit(await build(approval))
        except DateMovedError:
            continue
        except (ChangedError, NotNowError, NotPossibleError, RefusedEventError) as error:
            # one who was beaten by himself has replayed, and not met a change
            replayed = await people.used(proposal_id)
            raise RefusedError("replayed" if replayed else "changed", str(error)) from error
        return approval
    raise RefusedError("changed", "the business date moves on")
