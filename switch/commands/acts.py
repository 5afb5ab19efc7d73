"""What an approval lets through: for each act that takes two people, the function that does it.

A function gets the approval and does what its payload says, and nothing else, in one commit with the
approval (`four_eyes_postgres.approve`, or a store that calls it). It prints what it did. A part that
has an act of its own adds a line here, its name to `switch.people.operators`, and a role that has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from switch.commands import case, dispute, key_acts, operator, payout, reference, vouchers
from switch.commands.common import office

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from settlement.four_eyes import Approval
    from switch.commands.common import Node

    Act = Callable[[Node, str, Approval], Awaitable[None]]  # the second is the open store's DSN


async def stands(_node: Node, dsn: str, approval: Approval) -> None:
    """The approval itself is the act; what looks for it later acts on it."""
    async with office(dsn) as desk:
        await desk.people.approve(approval)


ACTS: dict[str, Act] = {
    "file.accept": stands,  # the day's end takes the file in
    "merchant.account": reference.change_account,
    "bank.account": reference.change_ours,
    **dict.fromkeys(("case.adjust", "case.write_off", "case.release"), case.do_approved),
    **dict.fromkeys(("dispute.open", "dispute.accept", "dispute.absorb"), dispute.do_approved),
    **dict.fromkeys(("payout.release", "reserve.sweep"), payout.release_approved),
    "payout.reject": payout.reject_approved,
    **dict.fromkeys(("ledger.entry", "ledger.reversal"), vouchers.post_approved),
    "keys.export": key_acts.export_approved,
    "operator.add": operator.add_approved,
    "operator.roles": operator.change_approved,
    "operator.credential": operator.renew_approved,
}
