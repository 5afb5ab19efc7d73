"""`tongbao journal`: what was stored of every transaction, and why it was decided so."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from switch.adapters.reading import Filter
from switch.commands.common import (
    CommandError,
    Exit,
    print_object,
    print_objects,
    print_table,
    reading,
)

if TYPE_CHECKING:
    from switch.commands.common import Node

COLUMNS = (
    "business_date",
    "merchant",
    "terminal",
    "batch",
    "stan",
    "rrn",
    "type",
    "amount_minor",
    "currency",
    "acquirer",
    "state",
    "response_code",
    "pan_masked",
)
RRN_DIGITS = 12
ID_MAX = 2**63 - 1  # request ids are int8


def list_transactions(node: Node, wanted: Filter, limit: int | None, *, as_json: bool) -> Exit:
    """JSON: one object a line, while they are read."""

    async def read(dsn: str) -> list[dict[str, Any]]:
        kept = []
        async with reading(dsn) as reader:
            async for each in reader.transactions(wanted, limit):
                if as_json:
                    print_objects([each])
                else:
                    kept.append(each)
        return kept

    with node.store() as store:
        rows = asyncio.run(read(store.dsn))
    if not as_json:
        print_table(COLUMNS, ([row[name] for name in COLUMNS] for row in rows))
    return Exit.DONE


def show_transaction(node: Node, name: str, *, as_json: bool) -> Exit:
    """One transaction by DE 37 or by its request id, with all that came later."""
    if not name.isascii() or not name.isalnum():
        raise CommandError("give an RRN (12 characters) or a request id", Exit.USAGE)
    by_rrn = len(name) == RRN_DIGITS
    if not by_rrn and not (
        name.isdecimal() and len(name) <= len(str(ID_MAX)) and int(name) <= ID_MAX
    ):
        raise CommandError("give an RRN (12 characters) or a request id", Exit.USAGE)
    wanted = Filter(rrn=name) if by_rrn else Filter(request_id=int(name))

    async def read(dsn: str) -> list[dict[str, Any]]:
        async with reading(dsn) as reader:
            found = [each async for each in reader.transactions(wanted)]
            return [{**each, **await reader.explain(each["request_id"])} for each in found]

    with node.store() as store:
        found = asyncio.run(read(store.dsn))
    if not found:
        raise CommandError(node.say("not_found", kind="transaction", key=name))
    for each in found:
        if as_json:
            print_object(each)
        else:
            print_table(("", ""), each.items())
    return Exit.DONE
