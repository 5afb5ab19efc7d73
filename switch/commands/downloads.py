"""`tongbao terminal downloads`: which terminal has which version of what it downloads."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from switch.commands.common import Exit, print_objects, print_table, reference
from switch.downloads import had
from switch.offers import Offers
from terminals.downloads import STATUS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from switch.commands.common import Node
    from switch.offers import Offered
    from switch.reference import Snapshot
    from switch.store_ports import KeptDownload

COLUMNS = ("merchant", "terminal", "topic", "state", "version", "wanted", "source", "at")
Kept = dict[tuple[str, str], list["KeptDownload"]]


def list_downloads(
    node: Node, merchant: str, terminal: str, *, due_only: bool, as_json: bool
) -> Exit:
    async def read(dsn: str) -> tuple[Snapshot, Kept]:
        from switch.adapters.postgres.downloads import PostgresDownloads
        from switch.adapters.postgres.sessions import Sessions
        from switch.adapters.servers import Servers

        sessions = Sessions(Servers(dsn), "tongbao downloads", 1)
        try:
            async with reference(dsn) as store:
                return await store.snapshot(), await PostgresDownloads(sessions).every()
        finally:
            await sessions.close()

    with node.store() as store:
        snapshot, kept = asyncio.run(read(store.dsn))
    rows = [
        row
        for row in objects(snapshot, kept)
        if merchant in ("", row["merchant"])
        and terminal in ("", row["terminal"])
        and not (due_only and row["state"] in ("current", "reported"))
    ]
    if as_json:
        print_objects(rows)
    else:
        heading = [node.say(f"download_{name}") for name in COLUMNS]
        print_table(heading, ([_word(node, name, row[name]) for name in COLUMNS] for row in rows))
    return Exit.DONE


def _word(node: Node, name: str, value: Any) -> Any:
    return node.say(f"download_state_{value}") if name == "state" else value


def objects(snapshot: Snapshot, kept: Kept) -> Iterator[dict[str, Any]]:
    """As `docs/schemas/terminal-download.json`, in order of merchant, terminal and topic.

    What a terminal has counts here as it does for an address that it has not come from before.
    """
    offers = Offers(snapshot)
    for name, terminal in sorted(snapshot.terminals.items()):
        merchant = snapshot.merchants.get(terminal.merchant)
        offered = offers.of(terminal, merchant, snapshot.profile(terminal))
        facts = kept.get((terminal.merchant, terminal.terminal), [])
        assert name == terminal.name
        yield from _of_terminal(terminal.merchant, terminal.terminal, offered, facts)


def _of_terminal(
    merchant: str, terminal: str, offered: Offered | None, facts: list[KeptDownload]
) -> Iterator[dict[str, Any]]:
    has = had(facts, "")
    wanted = {} if offered is None else {n: o.version for n, o in offered.offers.items()}
    newest = {kept.fact.topic: kept for kept in facts}
    for topic in sorted({*wanted, *newest}):
        of, last = has.get(topic), newest.get(topic)
        version = None if of is None else of.fact.version
        yield {
            "merchant": merchant,
            "terminal": terminal,
            "topic": topic,
            "state": state_of(topic, version, wanted.get(topic), last),
            "version": version or None,
            "wanted": wanted.get(topic),
            "source": None if of is None else of.fact.source or None,
            "at": None if last is None else last.at,
            "address": None if last is None else last.fact.address,
            "status": _status(of),
        }


def state_of(
    topic: str, version: str | None, wanted: str | None, newest: KeptDownload | None
) -> str:
    """One word for it: see `docs/interfaces.md`."""
    if topic == STATUS:
        return "reported"
    if wanted is None:
        return "not_assigned"
    if version == wanted:
        return "current"
    if newest is None:
        return "due"
    if newest.fact.act != "ended":
        return {"begun": "under_way", "mixed": "mixed"}[newest.fact.act]
    return "due" if newest.fact.shown else "unverified"


def _status(kept: KeptDownload | None) -> dict[str, str] | None:
    if kept is None or not kept.fact.detail:
        return None
    return msgspec.json.decode(kept.fact.detail, type=dict[str, str])
