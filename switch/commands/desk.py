"""What the commands of payouts, statements, dates and the reserve share: the store, and who acts."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, TypeVar
from zoneinfo import ZoneInfo

from settlement.adapters.payout_postgres import open_payouts
from settlement.iso20022.camt053 import StatementError
from settlement.iso20022.pain002 import ReportError
from settlement.iso20022.xml import XmlError
from settlement.payouts.desk import Desk, PayoutError
from switch.adapters.servers import Servers
from switch.adapters.system import SystemClock
from switch.commands.common import CommandError, Exit, actor, office, refusals

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from settlement.four_eyes import Actor
    from settlement.payouts.ports import Payouts
    from switch.commands.common import Node

Answer = TypeVar("Answer")

FOLDER = "payouts"  # in the data folder; what the bank is given


def asked(node: Node, ask: Callable[[Payouts], Awaitable[Answer]]) -> Answer:
    """The store's answer; nothing is written."""

    async def read(dsn: str) -> Answer:
        async with open_payouts(await Servers(dsn).primary()) as payouts:
            return await ask(payouts)

    with node.store() as store:
        return asyncio.run(read(store.dsn))


def done(
    node: Node, verb: str, subject: str, act: Callable[[Desk, str], Awaitable[Answer]]
) -> Answer:
    """An act of the authenticated operator; `act` also gets the open store's DSN. A refusal of
    `verb` is written down."""

    async def run(dsn: str, who: Actor) -> Answer:
        async with (
            desk_of(node, dsn, who) as desk,
            office(dsn) as people,
            refusals(people.people, who, verb, subject),
        ):
            return await act(desk, dsn)

    with node.store() as store:
        who = actor(node, store.dsn)
        with told(node):
            return asyncio.run(run(store.dsn, who))


@asynccontextmanager
async def desk_of(node: Node, dsn: str, who: Actor) -> AsyncIterator[Desk]:
    async with open_payouts(await Servers(dsn).primary()) as payouts, office(dsn) as people:
        overdue_days = node.config.settlement.overdue_days
        yield Desk(payouts, people.people, who, SystemClock().now(), overdue_days)


@contextmanager
def told(node: Node) -> Iterator[None]:
    """What the core can not do is the command's failure; a file that it can not take in is wrong."""
    try:
        yield
    except PayoutError as error:
        raise CommandError(node.told(error)) from error
    except (ReportError, StatementError, XmlError) as error:
        raise CommandError(node.told(error), Exit.USAGE) from error


def payout_date(node: Node, given: dt.date | None) -> dt.date:
    """The date given, or today where the operators are."""
    return given or SystemClock().now().astimezone(ZoneInfo(node.config.timezone)).date()
