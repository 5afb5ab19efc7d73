"""Which proposals are overtaken: what they rest on has changed, so no checker could let them through.

That they are void is decided where they would be done; this asks the same beforehand, for lists. An
act that is not named here rests on nothing that others change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement import vouchers
from settlement.adapters.cases_postgres import open_casework
from settlement.adapters.payout_postgres import open_payouts
from settlement.adapters.vouchers_postgres import open_vouchers
from settlement.casework import work as casework
from settlement.disputes import work as disputes
from settlement.payouts import rejection, release
from switch.adapters.servers import Servers
from switch.commands import reference as accounts
from switch.commands.common import office, reference

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from settlement.four_eyes import Proposal

    Standing = Callable[[str, Proposal], Awaitable[bool]]  # of the open store's DSN


async def overtaken(dsn: str, proposals: Sequence[Proposal]) -> set[str]:
    """The ids of those that are void."""
    return {
        one.id for one in proposals if one.act in STANDING and not await STANDING[one.act](dsn, one)
    }


async def _case(dsn: str, proposal: Proposal) -> bool:
    async with open_casework(await Servers(dsn).primary()) as books:
        return await casework.still_stands(books, proposal)


async def _dispute(dsn: str, proposal: Proposal) -> bool:
    async with open_casework(await Servers(dsn).primary()) as books:
        return await disputes.still_stands(books, proposal)


async def _release(dsn: str, proposal: Proposal) -> bool:
    async with open_payouts(await Servers(dsn).primary()) as payouts:
        return await release.still_stands(payouts, proposal)


async def _rejection(dsn: str, proposal: Proposal) -> bool:
    async with open_payouts(await Servers(dsn).primary()) as payouts:
        return await rejection.still_stands(payouts, proposal)


async def _voucher(dsn: str, proposal: Proposal) -> bool:
    async with open_vouchers(await Servers(dsn).primary()) as books:
        return await vouchers.still_stands(books, proposal)


async def _file(dsn: str, proposal: Proposal) -> bool:
    """Two people let a file in once."""
    async with office(dsn) as desk:
        let_in = await desk.people.approved([proposal.act])
    return all(one.proposal.subject != proposal.subject for one in let_in)


async def _account(dsn: str, proposal: Proposal) -> bool:
    async with reference(dsn) as store:
        return accounts.still_stands(await accounts.account_now(store, proposal), proposal)


async def _operator(dsn: str, proposal: Proposal) -> bool:
    async with office(dsn) as desk:
        return all(one.id != proposal.subject for one in await desk.operators.operators())


STANDING: dict[str, Standing] = {
    **dict.fromkeys(("case.adjust", "case.write_off", "case.release"), _case),
    **dict.fromkeys(("dispute.open", "dispute.accept", "dispute.absorb"), _dispute),
    **dict.fromkeys(("payout.release", "reserve.sweep"), _release),
    "payout.reject": _rejection,
    **dict.fromkeys(("ledger.entry", "ledger.reversal"), _voucher),
    "file.accept": _file,
    **dict.fromkeys(("merchant.account", "bank.account"), _account),
    "operator.add": _operator,
}
