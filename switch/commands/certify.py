"""`tongbao certify`: the certification cases against a link, and the pack for the bank."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from switch.certify import cards as test_cards, simulated
from switch.certify.case import FOLDER, CaseError, load
from switch.certify.pack import files, head_of
from switch.certify.rig import LinkDownError, Rig, every_type
from switch.certify.runner import Runner
from switch.commands.common import (
    CommandError,
    Exit,
    print_line,
    print_object,
    print_progress,
    reference,
)
from switch.version import version
from switch.virtual.ports import EPOCH

if TYPE_CHECKING:
    import datetime as dt

    from switch.certify.case import Case
    from switch.certify.runner import CaseResult
    from switch.certify.tap import Crossing
    from switch.commands.common import Node
    from switch.reference import Link
    from terminals.registry import StoredKey


MERCHANT_CHARACTERS = 15
TERMINAL_CHARACTERS = 8


class Options(msgspec.Struct, frozen=True):
    target: Path
    link: str = ""
    cards: Path | None = None
    cases: Path | None = None
    only: tuple[str, ...] = ()
    patience_s: float = 60.0
    merchant: str = simulated.MERCHANT
    terminals: tuple[str, str] = simulated.TERMINALS
    kind: str = "reference"  # of the simulated bank
    json: bool = False


def run(node: Node, options: Options) -> Exit:
    if options.kind not in simulated.LINKS:
        kinds = ", ".join(simulated.LINKS)
        text = node.say("certify_no_kind", kind=options.kind, kinds=kinds)
        raise CommandError(text, Exit.USAGE)
    if options.target.exists():
        raise CommandError(node.say("certify_exists", path=options.target), Exit.USAGE)
    try:
        cases = chosen(node, options)
        if options.link:
            link, begun_at, results, crossings = against(node, options, cases)
        else:
            silent_logs()
            link, begun_at = simulated.LINKS[options.kind], EPOCH
            results, crossings = simulated.run(
                cases, link, on_case=lambda one: told(node, options, one)
            )
    except (CaseError, test_cards.CardFileError) as error:
        raise CommandError(str(error), Exit.USAGE) from error
    except LinkDownError as error:
        raise CommandError(node.say("certify_not_down", link=error)) from error
    head = head_of(link, simulated=not options.link, begun_at=begun_at, version=version())
    made = files(head, results, crossings, chinese=node.language == "zh")
    for path, data in made.items():
        place = options.target / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    counts = Counter(result.result for result in results)
    counted = {name: counts[name] for name in ("passed", "failed", "not_run")}
    if options.json:
        print_object(
            {
                "path": str(options.target),
                **counted,
                "cases": [
                    {"id": one.case.id, "result": one.result, "title": one.case.title}
                    for one in results
                ],
            }
        )
    else:
        print_line(node.say("certify_done", path=options.target, **counted))
    return Exit.DIFFERENCES if counts["failed"] else Exit.DONE


def with_ids(options: Options, merchant: str | None, terminals: str | None) -> Options:
    """The ids that a test host knows."""
    made = options
    if merchant is not None:
        if len(merchant) != MERCHANT_CHARACTERS:
            raise CommandError(f"--merchant: {MERCHANT_CHARACTERS} characters", Exit.USAGE)
        made = msgspec.structs.replace(made, merchant=merchant)
    if terminals is not None:
        first, _, second = terminals.partition(",")
        if len(first) != TERMINAL_CHARACTERS or len(second) != TERMINAL_CHARACTERS:
            raise CommandError(f"--terminals: two of {TERMINAL_CHARACTERS} characters", Exit.USAGE)
        made = msgspec.structs.replace(made, terminals=(first, second))
    return made


def silent_logs() -> None:
    """What the switch logs of the faults that are done on purpose is no news."""
    from switch import logs
    from switch.adapters.system import SystemClock

    logs.configure(SystemClock(), "", level="critical", file=None)


def chosen(node: Node, options: Options) -> list[Case]:
    cases = load(options.cases or FOLDER)
    known = {case.id for case in cases}
    for name in options.only:
        if name not in known:
            raise CommandError(node.say("certify_no_such_case", case=name), Exit.USAGE)
    return [case for case in cases if not options.only or case.id in options.only]


def told(node: Node, options: Options, result: CaseResult) -> None:
    if options.json:
        return
    title = result.case.title_zh if node.language == "zh" else result.case.title
    word = node.say(f"certify_{result.result}")
    print_line(f"{word}  {result.case.id}  {title}")
    for reason in [*result.why, *(one for step in result.steps for one in step.wrong)]:
        print_line(f"    {node.say(reason.key, **reason.values)}")


# -- a bank's test host -----------------------------------------------------------------------------


def against(
    node: Node, options: Options, cases: list[Case]
) -> tuple[Link, dt.datetime, list[CaseResult], list[Crossing]]:
    """The link of the reference data, with its keys under the node's LMK, on real sockets. Keys that
    the bank sends meanwhile are stored, as the node would."""
    from hsm.local import LocalVault
    from switch.adapters.system import SystemClock, SystemEntropy, SystemTransport

    if options.cards is None:
        raise CommandError(node.say("certify_needs_cards"), Exit.USAGE)
    cards = test_cards.read(options.cards)
    clock = SystemClock()
    begun_at = clock.now()

    async def main(dsn: str) -> tuple[Link, list[CaseResult], list[Crossing]]:
        async with reference(dsn) as store:
            snapshot = await store.snapshot()
            link = snapshot.links.get(options.link)
            if link is None:
                raise CommandError(node.say("certify_no_link", link=options.link), Exit.USAGE)
            if link.tls or link.connects == "bank" or link.receive_on != "same":
                raise CommandError(node.say("certify_dials", link=options.link), Exit.USAGE)
            owner = f"link:{link.acquirer}"
            keys = [key for key in snapshot.newest_keys() if key.owner == owner]
            lmk = node.lmk()
            rig = Rig(
                msgspec.structs.replace(link, max_connections=1),
                merchant=every_type(options.merchant, "CERTIFICATION"),
                terminals=options.terminals,
                keys=keys,
                prefixes=test_cards.prefixes(cards.values()),
                lmk=lmk,
                vault=LocalVault(lmk, SystemEntropy().bytes),
                clock=clock,
                transport=SystemTransport(),
            )
            runner = Runner(
                rig,
                cards,
                None,
                options.patience_s,
                on_case=lambda one: told(node, options, one),
                on_bank=lambda case: asked(node, options, case),
            )
            try:
                results = await runner.run(cases)
            finally:
                for key in new_keys(rig, keys):
                    await store.add_key(key, act="certify.key")
        return link, results, rig.tap.crossings

    with node.store() as store:
        silent_logs()
        link, results, crossings = asyncio.run(main(store.dsn))
    return link, begun_at, results, crossings


def new_keys(rig: Rig, given: list[StoredKey]) -> list[StoredKey]:
    """Those that came over the link."""
    known = {key.block for key in given}
    return [key for key in rig.link_keys if key.block not in known]


def asked(node: Node, options: Options, case: Case) -> None:
    title = case.title_zh if node.language == "zh" else case.title
    print_progress(node.say("certify_begin", title=title, seconds=options.patience_s))
