"""`tongbao close`: gives the day's end (`settlement.cli`) the store, the vault and the files."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import msgspec

from settlement.adapters.cases_postgres import PostgresCasework
from settlement.adapters.payout_postgres import PostgresPayouts
from settlement.adapters.postgres import open_postgres
from settlement.cli import close_books, close_command
from settlement.files.layout import FileError
from settlement.files.packed import unpack
from settlement.payouts.dates import find_overdue
from settlement.reports.figures import money
from settlement.settings import DEFAULTS, Settings
from switch.adapters.servers import Servers
from switch.adapters.system import SystemClock, core_dumps_off
from switch.commands.approval import let_through
from switch.commands.common import (
    CommandError,
    Exit,
    authorised,
    office,
    print_progress,
    reference,
    refusals,
)
from switch.commands.desk import desk_of, told
from switch.data_keys import open_pans

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import AsyncIterator, Collection
    from pathlib import Path

    from hsm.lmk import Lmk
    from settlement.casework.ports import Casework
    from settlement.close import CloseResult
    from settlement.four_eyes import Actor
    from settlement.payouts.ports import Payouts
    from settlement.ports import Dates, Pans, Progress, Store
    from switch.commands.common import Node
    from switch.config import Config

ACCEPT = "file.accept"
REPORTS = "reports"  # folder in the data folder; file names carry the date
BOOKS = "books"  # its relations, a cache of what the store holds


def run(
    node: Node, business_date: dt.date, files: Path, accept: Collection[str], *, as_json: bool
) -> Exit:
    """Close one business date, or go on with its close. The exit code is the result's.

    `accept` holds SHA-256 (hex) of files: the first operator who names one proposes that it is taken
    in, the second lets it in.
    """
    if not files.is_dir():
        raise CommandError(f"--files: no folder {files}", Exit.USAGE)
    core_dumps_off()
    lmk = node.lmk()
    try:
        code = close_in_store(node, lmk, business_date, files, accept, as_json=as_json)
    except KeyboardInterrupt:  # what was under way is undone by PostgreSQL
        text = node.say("close_interrupted", date=business_date)
        raise CommandError(text, Exit.INTERRUPTED) from None
    return Exit(code)


def close_in_store(
    node: Node,
    lmk: Lmk,
    business_date: dt.date,
    files: Path,
    accept: Collection[str],
    *,
    as_json: bool,
) -> int:
    with node.store() as store:
        who = authorised(node, "day.close", business_date.isoformat(), store.dsn)
        asyncio.run(begin(node, store.dsn, who, business_date, files, accept))
        code = close_command(
            business_date,
            files,
            node.config.data_folder / REPORTS,
            node.config.data_folder / BOOKS,
            lambda: books(store.dsn, lmk),
            at=SystemClock().now(),
            as_json=as_json,
            approved=asyncio.run(accepted_files(store.dsn)),
            chinese=node.language == "zh",
            settings=settings_of(node.config),
        )
        if code in (Exit.DONE, Exit.DIFFERENCES):
            asyncio.run(look_for_overdue(node, store.dsn, who))
        return code


async def look_for_overdue(node: Node, dsn: str, who: Actor) -> None:
    """Every day, whether statements come or not: money that has not come is a case."""
    async with desk_of(node, dsn, who) as desk:
        with told(node):
            found = await find_overdue(desk)
    for one in found:
        print_progress(
            node.say(
                "overdue_found",
                case=one.id,
                acquirer=one.acquirer,
                date=one.settlement_date,
                amount=money(one.ours_minor or 0, one.currency),
                currency=one.currency,
            )
        )


async def begin(
    node: Node,
    dsn: str,
    who: Actor,
    business_date: dt.date,
    files: Path,
    accept: Collection[str],
) -> None:
    """Write down who closes, and what he says of files that wait for a second person."""
    async with office(dsn) as desk:
        await desk.people.audit(who.operator, "day.close", business_date.isoformat())
        accepted = await accepted_files(dsn)
        for sha256 in dict.fromkeys(accept):
            if sha256 in accepted:
                continue
            pending = [
                each
                for each in await desk.people.pending([ACCEPT])
                if each.subject == sha256 and each.maker != who.operator
            ]
            if pending:
                await let_through(node, dsn, pending[0].id, who, pending[0].sha256)
                text = node.say("approved", proposal=pending[0].id)
            else:
                payload = await file_of(node, dsn, files, sha256)
                async with refusals(desk.people, who, f"propose:{ACCEPT}", sha256):
                    made = await desk.people.propose(ACCEPT, sha256, payload, who)
                text = node.say("proposed", proposal=made.id)
            print_progress(text)


async def accepted_files(dsn: str) -> set[str]:
    """SHA-256 (hex) of the files that two people have let in."""
    async with office(dsn) as desk:
        return {each.proposal.subject for each in await desk.people.approved([ACCEPT])}


async def file_of(node: Node, dsn: str, files: Path, sha256: str) -> dict[str, object]:
    """What a checker must know of a file: among those that came, and those that are held."""
    if came := file_that_came(files, sha256):
        return came
    async with reference(dsn) as store:
        acquirers = {item.key for item in await store.items("link")}
    async with open_postgres(await Servers(dsn).primary()) as (store_of_books, _):
        for acquirer in sorted(acquirers):
            for held in await store_of_books.held(acquirer):
                if held.sha256.hex() == sha256:
                    return {"acquirer": acquirer, "file": held.name}
    raise CommandError(node.say("not_found", kind="file", key=sha256))


def file_that_came(files: Path, sha256: str) -> dict[str, object] | None:
    """Among what lies in the inbox; of a packed one the files inside count, as they do for the close."""
    for path in sorted(files.glob("*/*")):
        if not path.is_file():
            continue
        with suppress(FileError):  # what can not be unpacked, the close tells
            for name, data in unpack(path.name, path.read_bytes()):
                if hashlib.sha256(data).hexdigest() == sha256:
                    return {"acquirer": path.parent.name, "file": name}
    return None


async def close_date(
    dsn: str, lmk: Lmk, business_date: dt.date, *, files: Path, reports: Path, progress: Progress
) -> CloseResult:
    """The day's end on the store at `dsn`, for a program that shows the result itself."""
    at = SystemClock().now()
    return await close_books(
        business_date,
        files,
        reports,
        reports.parent / BOOKS,
        lambda: books(dsn, lmk),
        progress,
        at,
    )


@asynccontextmanager
async def books(dsn: str, lmk: Lmk) -> AsyncIterator[tuple[Store, Casework, Payouts, Dates, Pans]]:
    """What only the switch can open: the store's tables and the keys of card numbers."""
    async with reference(dsn) as store:
        pans = open_pans(lmk, await store.snapshot())
    async with open_postgres(await Servers(dsn).primary()) as (store_of_books, dates):
        casework = PostgresCasework(store_of_books.pool, within_close=True)
        yield store_of_books, casework, PostgresPayouts(store_of_books.pool), dates, pans


def settings_of(config: Config) -> Settings:
    """The day's end's settings as the node's file has them."""
    deadlines_days = msgspec.structs.asdict(config.disputes)
    calendar = deadlines_days.pop("calendar")
    return msgspec.structs.replace(
        DEFAULTS,
        **msgspec.structs.asdict(config.settlement),
        dispute_calendar=calendar,
        dispute_deadlines_days=tuple(deadlines_days.items()),
    )
