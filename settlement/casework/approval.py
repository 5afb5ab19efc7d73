"""An approved act done: its work is built on what stands now, and committed with the approval."""

from collections.abc import Awaitable, Callable
from typing import Final

from settlement.casework.acts import NotPossibleError
from settlement.casework.ports import Casework, ChangedError, DateMovedError, Work
from settlement.casework.states import NotNowError
from settlement.disputes.money import RefusedEventError
from settlement.four_eyes import Approval, Proposal, RefusedError

TRIES: Final = 3  # while the business date moves on under us


async def commit_approved(
    casework: Casework, approval: Approval, build: Callable[[Approval], Awaitable[Work]]
) -> None:
    """Build the work, commit it. Raises RefusedError where what was proposed no longer fits, which
    the caller writes down; BusyError while a close is under way."""
    for _ in range(TRIES):
        try:
            await casework.commit(await build(approval))
        except DateMovedError:
            continue
        except (ChangedError, NotNowError, NotPossibleError, RefusedEventError) as error:
            # one who was beaten by his own approval has replayed, and not met a change
            replayed = await casework.approved(approval.proposal.id)
            raise RefusedError("replayed" if replayed else "changed", error.said) from error
        return
    raise RefusedError("changed", "date_moves")


def of_another(proposal: Proposal) -> RefusedError:
    """What was proposed is not for this act or subject."""
    return RefusedError(
        "changed",
        "proposal_of_other",
        proposal=proposal.id,
        act=proposal.act,
        subject=proposal.subject,
    )
