"""Who does an act of payouts, on which ports; and how often an act is tried that others overtake."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final, TypeVar

import msgspec

from settlement.four_eyes import Actor, People
from settlement.payouts.ports import Facts, Payouts, StaleError
from settlement.said import SaidError
from settlement.settings import DEFAULTS

TRIES: Final = 8  # of an act that others overtake
Done = TypeVar("Done")


class PayoutError(SaidError):
    """The act can not be done as asked; the text is for the operator."""


class Desk(msgspec.Struct, frozen=True):
    """The ports of one command, and who runs it. `at` is the wall clock now: it becomes the instant
    of new files."""

    payouts: Payouts
    people: People
    actor: Actor
    at: datetime
    overdue_days: int = DEFAULTS.overdue_days

    async def commit(self, facts: Facts) -> None:
        """In the actor's name, at the desk's instant."""
        done = msgspec.structs.replace(facts, actor=self.actor.operator, at=self.at)
        await self.payouts.commit(done)


async def tried(once: Callable[[], Awaitable[Done]]) -> Done:
    """What `once` comes to, which reads, decides and commits; again where others were first."""
    for _ in range(TRIES):
        try:
            return await once()
        except StaleError:
            continue
    raise PayoutError("books_change")
