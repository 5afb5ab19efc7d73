"""What the commands of cases and disputes share: the store, deadlines, the operator's words."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import msgspec

from settlement.adapters.cases_postgres import open_casework
from settlement.calendars import CalendarError
from settlement.casework.acts import NotPossibleError
from settlement.casework.ports import BusyError, ChangedError
from settlement.casework.states import NotNowError
from settlement.casework.work import Terms, UnknownCaseError
from settlement.disputes.deadlines import WeekDays
from settlement.disputes.money import RefusedEventError
from settlement.disputes.work import UnknownDisputeError
from settlement.texts import TEXTS
from switch.adapters.servers import Servers
from switch.adapters.system import SystemClock
from switch.cli import end
from switch.commands.common import (
    CommandError,
    Exit,
    actor,
    office,
    print_line,
    print_object,
    refusals,
)
from switch.people.operators import DEMO

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from datetime import date

    from settlement.casework.ports import Casework
    from settlement.four_eyes import Actor, Proposal
    from switch.commands.common import Node
    from switch.people.ports import People


@asynccontextmanager
async def opened(node: Node, dsn: str) -> AsyncIterator[Casework]:
    """Casework; what goes wrong there as a line and an exit code."""
    async with open_casework(await Servers(dsn).primary()) as casework:
        try:
            yield casework
        except UnknownCaseError as error:
            raise CommandError(
                node.say("not_found", kind=word(node, "kind", "case"), key=error)
            ) from error
        except UnknownDisputeError as error:
            raise CommandError(
                node.say("not_found", kind=word(node, "kind", "dispute"), key=error)
            ) from error
        except BusyError as error:
            raise CommandError(
                node.say("close_under_way", reason=node.told(error)), Exit.WAITING
            ) from error
        except ChangedError as error:
            raise CommandError(
                node.say("case_changed", case=node.told(error)), Exit.WAITING
            ) from error
        except CalendarError as error:
            raise CommandError(node.told(error)) from error
        except (NotPossibleError, NotNowError, RefusedEventError) as error:
            raise CommandError(node.told(error), Exit.USAGE) from error


async def terms(node: Node, casework: Casework) -> Terms:
    """Deadlines as the node's file has them, by the calendar that it names."""
    days = msgspec.structs.asdict(node.config.disputes)
    name = days.pop("calendar")
    calendar = await casework.calendar(name) if name else WeekDays()
    if calendar is None:
        raise CommandError(node.say("not_found", kind="calendar", key=name))
    return Terms(calendar, days)


def word(node: Node, prefix: str, key: str) -> str:
    """A class, state, act in the operator's language; the key itself where there is no text."""
    text = TEXTS.get(f"{prefix}_{key}")
    return key if text is None else text[int(node.language == "zh")]


def heading(node: Node, *keys: str) -> list[str]:
    return [TEXTS[key][int(node.language == "zh")] for key in keys]


def today(node: Node) -> date:
    """The operator's day, by which ages and deadlines are counted."""
    return SystemClock().now().astimezone(ZoneInfo(node.config.timezone)).date()


def read(node: Node, reader: Callable[[Casework], Awaitable[Any]]) -> Any:
    """What `reader` finds in the store."""

    async def reading(dsn: str) -> Any:
        async with opened(node, dsn) as casework:
            return await reader(casework)

    with node.store() as store:
        return asyncio.run(reading(store.dsn))


def act(
    node: Node,
    permission: str,
    subject: str,
    do: Callable[[Casework, People, Actor], Awaitable[Any]],
    *,
    owner: str = "",
) -> Any:
    """What `do` does as the operator of the command; a refusal is written down. `owner` must be an
    operator, where one is named."""

    async def acting(dsn: str, who: Actor) -> Any:
        async with (
            office(dsn) as desk,
            refusals(desk.people, who, permission, subject),
            opened(node, dsn) as casework,
        ):
            known = {each.id for each in await desk.operators.operators()} if owner else set()
            if owner and owner not in (DEMO if node.demo else known):
                raise CommandError(node.say("not_found", kind="operator", key=owner))
            return await do(casework, desk.people, who)

    with node.store() as store:
        return asyncio.run(acting(store.dsn, actor(node, store.dsn)))


def propose(
    node: Node,
    act_name: str,
    subject: str,
    do: Callable[[Casework, People, Actor], Awaitable[Proposal]],
    *,
    as_json: bool,
) -> None:
    """What `do` proposes waits for a second operator: says under which number, and ends with 3."""
    made: Proposal = act(node, f"propose:{act_name}", subject, do)
    if as_json:
        names = ("id", "act", "subject", "payload", "sha256", "maker")
        print_object({name: getattr(made, name) for name in names})
    else:
        print_line(node.say("proposed", proposal=made.id))
    end(Exit.WAITING)
