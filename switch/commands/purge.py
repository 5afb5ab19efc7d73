"""`tongbao purge`: drop what is older than the settings keep, and say what stays and why."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from switch.adapters.postgres.purge import BusyError, NotAllowedError, purger
from switch.adapters.system import SystemClock
from switch.commands.common import (
    CommandError,
    Exit,
    authorised,
    print_line,
    print_object,
    print_progress,
)

if TYPE_CHECKING:
    from switch.adapters.postgres.purge import Went
    from switch.commands.common import Node

ACT = "store.purge"


def run(node: Node, *, dry: bool, as_json: bool) -> int:
    """The exit code: 3 where another purge runs."""
    clock = SystemClock()
    began_ns = clock.monotonic_ns()

    def told(went: Went) -> None:
        text = said(node, went, dry=dry)
        if text:
            (print_progress if as_json else print_line)(text)

    async def work(dsn: str, by: str) -> list[Went]:
        async with purger(dsn, node.config.retention, by) as of:
            return await of.run(dry=dry, told=told)

    with node.store() as store:
        by = node.config.node if dry else authorised(node, ACT, "", store.dsn).operator
        try:
            done = asyncio.run(work(store.owner_dsn, by))
        except BusyError:
            raise CommandError(node.say("purge_busy"), Exit.WAITING) from None
        except NotAllowedError as error:
            raise CommandError(node.say("purge_not_allowed", role=error)) from None
    rows = sum(went.rows for went in done)
    seconds = (clock.monotonic_ns() - began_ns) / 1e9
    if as_json:
        print_object({"dry_run": dry, "rows": rows, "seconds": round(seconds, 3), "tables": done})
    else:
        print_line(node.say("purge_done", rows=rows, seconds=seconds))
    return Exit.DONE


def said(node: Node, went: Went, *, dry: bool) -> str:
    """What is told of a table or date; nothing of a table without rows to go."""
    if went.held:
        reason = node.say(f"purge_held_{went.held}")
        return node.say("purge_held", date=went.business_date, reason=reason)
    if went.business_date is not None:
        key = "purge_would" if dry else "purge_dropped"
        return node.say(key, table=went.table, date=went.business_date, rows=went.rows)
    if not went.rows:
        return ""
    return node.say("purge_rows_would" if dry else "purge_rows", table=went.table, rows=went.rows)
