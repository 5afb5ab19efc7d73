"""`tongbao explain`: find a transaction by any of its keys, and tell its whole life."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
from typing import TYPE_CHECKING, Any

import msgspec

from settlement.story import request_of
from switch.adapters.system import SystemClock
from switch.commands.common import (
    CommandError,
    Exit,
    print_line,
    print_object,
    print_objects,
    print_table,
    written,
)
from switch.explain import page, text
from switch.explain.facts import Facts, Stages, Wanted
from switch.explain.story import story_of
from switch.numbers import rrn_date

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from settlement.adapters.story_postgres import BooksReader
    from switch.adapters.telling import Teller
    from switch.commands.common import Node
    from switch.explain.facts import Linked
    from switch.explain.story import Story

ID_MAX = 2**63 - 1  # request ids are int8
NEAR = dt.timedelta(days=3)  # a business date may be another than the day, and last over a holiday
RRN = re.compile(r"[0-9A-Za-z]{12}")
CASE = re.compile(r"[0-9A-Za-z][0-9A-Za-z._/:-]{2,80}")
DIGITS = re.compile(r"[0-9]+")
COLUMNS = (
    "request_id",
    "business_date",
    "merchant",
    "terminal",
    "batch",
    "stan",
    "rrn",
    "type",
    "amount_minor",
    "currency",
    "state",
    "response_code",
)


class Options(msgspec.Struct, frozen=True):
    """What the command line says; the names are those of its options."""

    key: str = ""
    merchant: str | None = None
    terminal: str | None = None
    batch: str | None = None
    trace: str | None = None
    link_stan: str | None = None
    transmission_time: str | None = None
    acquirer: str | None = None
    auth_code: str | None = None
    date: dt.date | None = None


def run(node: Node, options: Options, html: Path | None, *, as_json: bool) -> Exit:
    narrowed = narrowing(node, options)
    if not options.key and narrowed == Wanted():
        raise CommandError(node.say("explain_no_key"), Exit.USAGE)

    today = SystemClock().now().date()

    async def read(dsn: str) -> tuple[list[Linked], Story | None, list[str]]:
        from settlement.adapters.story_postgres import BooksReader
        from switch.adapters.telling import telling

        async with telling(dsn) as teller:
            books = BooksReader(teller.connection)
            found, places = await search(teller, books, options.key, narrowed, today)
            if len(found) != 1:
                return await teller.linked(found), None, places
            return [], await told(node, teller, books, found[0]), places

    with node.store() as store:
        found, story, places = asyncio.run(read(store.dsn))
    if story is None and not found:
        if options.key and not places:
            raise CommandError(node.say("explain_bad_key", key=options.key), Exit.USAGE)
        asked = [
            f"--{name.replace('_', '-')} {value}"
            for name, value in msgspec.structs.asdict(options).items()
            if name != "key" and value is not None
        ]
        raise CommandError(node.say("explain_nothing", places="; ".join([*places, *asked])))
    if story is None:
        return several(node, options, found, as_json=as_json)
    chinese = node.language == "zh"
    if html is not None:
        written(html, page.render(story, chinese=chinese))
        if not as_json:
            print_line(node.say("explain_written", path=html))
    if as_json:
        print_object(text.to_object(story))
    elif html is None:
        print_line(text.render(story, chinese=chinese))
    return Exit.DONE


# -- looking for it -------------------------------------------------------------------------------


def narrowing(node: Node, options: Options) -> Wanted:
    """What the options narrow by; CommandError for one that can not be such a value."""
    return Wanted(
        merchant=options.merchant,
        terminal=options.terminal,
        batch=six_digits(node, "--batch", options.batch),
        stan=six_digits(node, "--trace", options.trace),
        link_stan=padded(node, "--link-stan", options.link_stan, 6),
        transmission_time=padded(node, "--transmission-time", options.transmission_time, 10),
        acquirer=options.acquirer,
        auth_code=options.auth_code,
        first=options.date,
        last=options.date,
    )


def padded(node: Node, option: str, value: str | None, width: int) -> str | None:
    if value is None:
        return None
    if not DIGITS.fullmatch(value) or len(value) > width:
        what = f"1-{width} digits"
        raise CommandError(
            node.say("explain_bad_option", option=option, what=what, value=value), Exit.USAGE
        )
    return value.zfill(width)


def six_digits(node: Node, option: str, value: str | None) -> int | None:
    digits = padded(node, option, value, 6)
    return None if digits is None else int(digits)


def readings(key: str, today: dt.date) -> Iterator[tuple[str, Wanted]]:
    """What a key may be, the likeliest first, with the place that it is looked for in.

    An RRN of ours says its day: it is looked for there before it is looked for everywhere, where a long
    history takes its time.

    >>> [place for place, _ in readings("606300000001", dt.date(2026, 3, 5))]
    ['RRN of 2026-03-04', 'RRN', 'request id']
    >>> [place for place, _ in readings("captured/c48", dt.date(2026, 3, 5))]
    ['clearing record']
    """
    if RRN.fullmatch(key):
        issued = rrn_date(key, today)
        if issued is not None:
            yield f"RRN of {issued}", Wanted(rrn=key, first=issued - NEAR, last=issued + NEAR)
        yield "RRN", Wanted(rrn=key)
    if DIGITS.fullmatch(key) and len(key) <= len(str(ID_MAX)) and int(key) <= ID_MAX:
        yield "request id", Wanted(request_ids=(int(key),))
    named = request_of(key)
    if named is not None and named <= ID_MAX:
        yield "clearing record", Wanted(request_ids=(named,))


async def search(
    teller: Teller, books: BooksReader, key: str, narrowed: Wanted, today: dt.date
) -> tuple[list[int], list[str]]:
    """The requests, and what the key was read as; the first reading that finds something counts."""
    if not key:
        return await teller.find(narrowed), []
    places = []
    for place, reading in readings(key, today):
        places.append(place)
        found = await teller.find(merged(reading, narrowed))
        if found:
            return found, places
    if CASE.fullmatch(key):
        places.append("case, dispute")
        named = sorted({*await teller.case(key), *await books.named(key)})
        if named:
            return await teller.find(merged(Wanted(request_ids=tuple(named)), narrowed)), places
    return [], places


def merged(reading: Wanted, narrowed: Wanted) -> Wanted:
    """What an option says counts."""
    said = {
        name: value
        for name, value in msgspec.structs.asdict(reading).items()
        if value is not None and getattr(narrowed, name) is None
    }
    return msgspec.structs.replace(narrowed, **said)


def several(node: Node, options: Options, found: list[Linked], *, as_json: bool) -> Exit:
    """The list, and which options tell them apart."""
    from switch.adapters.telling import FOUND_MAX

    shown = [text.listed(of) for of in found[:FOUND_MAX]]
    if as_json:
        print_objects(shown)
    else:
        print_table(COLUMNS, ([row[name] for name in COLUMNS] for row in shown))
    key = "explain_more" if len(found) > FOUND_MAX else "explain_several"
    if not as_json:
        narrow = " ".join(telling_apart(options, shown))
        print_line(node.say(key, count=len(shown), options=narrow))
    return Exit.DIFFERENCES


def telling_apart(options: Options, shown: list[dict[str, Any]]) -> list[str]:
    """Options whose values differ among those found; a request id always does."""
    names = (
        ("--merchant", "merchant"),
        ("--terminal", "terminal"),
        ("--batch", "batch"),
        ("--trace", "stan"),
        ("--date", "business_date"),
    )
    by_link = options.link_stan is not None or options.transmission_time is not None
    return [
        *(["--acquirer"] if by_link and options.acquirer is None else []),
        *(option for option, name in names if len({row[name] for row in shown}) > 1),
        *(["REQUEST_ID"] if shown else []),
    ]


# -- telling it -----------------------------------------------------------------------------------


async def told(node: Node, teller: Teller, books: BooksReader, request_id: int) -> Story:
    facts = await teller.facts(request_id)
    assert facts is not None, request_id
    return story_of(
        msgspec.structs.replace(
            facts,
            books=await books.books(request_id),
            stages=logged(node.config.log_folder, facts),
        )
    )


def logged(folder: Path, facts: Facts) -> Stages | None:
    """The stages of the request's line in the logs that this node still has."""
    of = facts.transaction
    mark = f'"rrn":"{of["rrn"]}"'.encode()
    for path in sorted(folder.glob("authorizations-*.jsonl*")):
        try:
            with path.open("rb") as file:
                lines = [line for line in file if mark in line]
        except OSError:
            continue  # turned meanwhile
        for line in lines:
            try:
                found = msgspec.json.decode(line)
            except msgspec.DecodeError:
                continue  # cut short by a full disk
            names = ("merchant", "terminal", "stan", "type")
            if all(str(found.get(name)) == str(of[name]) for name in names):
                return msgspec.convert(found, Stages)
    return None
