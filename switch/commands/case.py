"""`tongbao case`: the breaks that people work, from finding to the entry that ends them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from settlement.cases import BREAK_CLASSES, OPENED_CLASSES, SWITCH_CLASSES
from settlement.casework import told, work
from settlement.casework.ports import Wanted
from settlement.casework.states import STATES
from settlement.reports.figures import money, pairs
from switch.adapters.system import SystemClock
from switch.cli import (
    ConfigFile,
    DataFolder,
    Demo,
    Json,
    Lang,
    bounded,
    end,
    group,
    node_of,
    said,
)
from switch.commands.casework import (
    act,
    heading,
    opened,
    propose as offer,
    read,
    terms,
    today,
    word,
)
from switch.commands.common import (
    CommandError,
    Exit,
    office,
    print_line,
    print_object,
    print_objects,
    print_table,
)

if TYPE_CHECKING:
    from datetime import date

    from settlement.casework.ports import Casework
    from settlement.casework.states import Case, CaseEvent
    from settlement.four_eyes import Actor, Approval, Proposal
    from switch.commands.common import Node
    from switch.people.ports import People

app = group()
CaseId = Annotated[str, typer.Argument(metavar="CASE", help="help_arg_case")]
Text = Annotated[str, typer.Option("--text", help="help_opt_text", callback=bounded)]
Reason = Annotated[str, typer.Option("--reason", help="help_opt_reason", callback=bounded)]
Words = Annotated[str, typer.Argument(metavar="TEXT", help="help_arg_text", callback=said)]
Entry = Annotated[str, typer.Option("--entry", metavar="SOURCE/KEY", help="help_opt_entry")]
Amount = Annotated[int | None, typer.Option("--amount", min=1, help="help_opt_amount")]
COLUMNS = (
    *("id", "class", "state", "owner", "age", "acquirer", "merchant"),
    *("amount", "left", "held"),
)
CLASSES = (*BREAK_CLASSES, *OPENED_CLASSES, *SWITCH_CLASSES)
SHADES = "░▒▓█▮"  # of a bar's parts, young to old


# -- reading --------------------------------------------------------------------------------------


@app.command("list", help="help_case_list")
def list_cases(
    case_class: Annotated[str, typer.Option("--class", help="help_opt_class")] = "",
    state: Annotated[str, typer.Option("--state", help="help_opt_state")] = "",
    owner: Annotated[str, typer.Option("--owner", help="help_opt_case_owner")] = "",
    age: Annotated[int, typer.Option("--age", min=0, help="help_opt_age")] = 0,
    acquirer: Annotated[str, typer.Option("--acquirer", help="help_opt_acquirer")] = "",
    json: Json = False,  # noqa: FBT002 - a flag of the command line
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    if state and state not in STATES:
        raise typer.BadParameter(", ".join(STATES), param_hint="--state")
    if case_class and case_class not in CLASSES:
        raise typer.BadParameter(", ".join(CLASSES), param_hint="--class")
    node = node_of(config, data, lang)
    now = today(node)
    wanted = Wanted(case_class, acquirer, ended=state == "ended")

    async def find(casework: Casework) -> list[Case]:
        return await work.cases(casework, wanted, state=state, owner=owner, age_days=age, today=now)

    found: list[Case] = read(node, find)
    if json:
        print_objects(told.case_object(each, now) for each in found)
    else:
        print_table(
            heading(node, *(f"case_{name}" for name in COLUMNS)),
            (_line(node, each, now) for each in found),
        )
    end(Exit.DONE)


def _line(node: Node, one: Case, now: date) -> list[str]:
    found = one.facts.found
    return [
        one.id,
        word(node, "class", found.break_class),
        word(node, "case_state", one.state),
        one.owner,
        str(one.age_days(now)),
        found.acquirer,
        found.merchant,
        money(found.amount_minor, found.currency),
        money(one.left_minor, found.currency),
        money(one.held_minor, found.currency),
    ]


@app.command("show", help="help_show")
def show(
    case_id: CaseId,
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang)
    now = today(node)

    async def find(casework: Casework) -> dict[str, Any]:
        one = await work.case(casework, case_id)
        sent = [event.dispute for event in one.facts.events if event.kind == "disputed"]
        found = [await casework.dispute(each) for each in sent]
        disputes = [each for each in found if each is not None]
        match = await casework.match_of(one.facts.found)
        return told.whole_case(one, now, disputes, match, await work.related(casework, one))

    whole = read(node, find)
    if json:
        print_object(whole)
    else:
        _print_whole(node, whole)
    end(Exit.DONE)


def _print_whole(node: Node, whole: dict[str, Any]) -> None:
    currency = whole["currency"]
    shown: dict[str, str] = {
        "id": whole["id"],
        "class": word(node, "class", whole["class"]),
        "state": word(node, "case_state", whole["state"]),
        "owner": whole["owner"],
        "age": str(whole["age_days"]),
        "acquirer": whole["acquirer"],
        "merchant": whole["merchant"],
        **{
            name: money(whole[f"{name}_minor"], currency)
            for name in ("amount", "ours", "theirs", "difference", "left", "held")
        },
        "keys": pairs(whole["keys"]),
        "evidence": pairs(whole["evidence"]),
        "acts": ", ".join(f"{name} ({word(node, 'act', name)})" for name in whole["acts"]),
    }
    if whole["match"]:
        rule = whole["match"][0]["rule"]
        lines = " ".join(f"{one['side']}={one['line']}" for one in whole["match"])
        shown["match"] = f"{rule}: {lines}"
    if whole["related"]:
        shown["related"] = " ".join(whole["related"])
    if whole["resolution"]:
        shown["resolution"] = pairs({k: str(v) for k, v in whole["resolution"].items()})
    print_table(
        ("", ""), [(heading(node, f"case_{name}")[0], text) for name, text in shown.items()]
    )
    if whole["history"]:
        print_line("")
        _print_history(node, whole["history"], currency)
    for each in whole["disputes"]:
        print_line(f"{each['id']} {word(node, 'dispute_state', each['state'])}")


def _print_history(node: Node, events: Any, currency: str) -> None:
    def line(event: CaseEvent) -> list[str]:
        done = word(node, "case_kind", event.kind)
        return [
            str(event.sequence),
            event.at.isoformat(timespec="seconds"),
            f"{done}: {word(node, 'act', event.act)}" if event.act else done,
            event.operator,
            event.checker,
            word(node, "case_state", event.state),
            money(event.difference_minor, currency) if event.difference_minor else "",
            money(event.released_minor, currency) if event.released_minor else "",
            event.owner or event.entry or event.dispute or event.proposal,
            event.text,
        ]

    names = ("sequence", "at", "event", "operator", "checker", "state", "moved", "released")
    print_table(
        heading(node, *(f"case_{name}" for name in (*names, "about", "text"))),
        [line(event) for event in events],
    )


@app.command("history", help="help_case_history")
def history(
    case_id: CaseId,
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang)
    one: Case = read(node, lambda casework: work.case(casework, case_id))
    if json:
        print_objects(one.facts.events)
    else:
        _print_history(node, one.facts.events, one.facts.found.currency)
    end(Exit.DONE)


@app.command("ageing", help="help_case_ageing")
def ageing(
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang)
    now = today(node)
    found: list[Case] = read(node, lambda casework: work.cases(casework, Wanted(), today=now))
    lines = told.ageing(found, now)
    if json:
        print_objects(lines)
    else:
        _print_ageing(node, lines)
    end(Exit.DONE)


def _print_ageing(node: Node, lines: list[told.Ageing]) -> None:
    """Counts by class and age, the money, and a bar a class whose parts are the ages."""
    most = max((sum(line.counts) for line in lines), default=1)
    names = [told.age_name(place) for place in range(len(told.AGES))]
    print_table(
        [
            *heading(node, "case_class"),
            *(f"{shade} {name}" for shade, name in zip(SHADES, names, strict=True)),
            *heading(node, "case_long", "case_short", "case_held"),
            "",
        ],
        [
            [
                word(node, "class", line.case_class),
                *(str(count or "") for count in line.counts),
                *(
                    money(amount, line.currency)
                    for amount in (line.long_minor, line.short_minor, line.held_minor)
                ),
                bar(line.counts, most),
            ]
            for line in lines
        ],
    )


def bar(counts: tuple[int, ...], most: int, width: int = 30) -> str:
    """Parts in proportion, each at least one wide where it counts anything.

    >>> bar((2, 0, 1, 0, 0), 3, 9)
    '░░░░░░▓▓▓'
    """
    return "".join(
        shade * (max(1, round(count * width / most)) if count else 0)
        for shade, count in zip(SHADES, counts, strict=True)
    )


# -- doing ----------------------------------------------------------------------------------------


@app.command("assign", help="help_case_assign")
def assign(
    case_id: CaseId,
    owner: Annotated[str, typer.Argument(metavar="OPERATOR", help="help_arg_operator")],
    text: Text = "",
    json: Json = False,  # noqa: FBT002
    demo: Demo = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node, now = node_of(config, data, lang, demo=demo), SystemClock().now()

    async def do(casework: Casework, _: People, who: Actor) -> Case:
        return await work.assign(casework, case_id, owner, who, now, text)

    _say(node, act(node, "do:case.work", case_id, do, owner=owner), as_json=json)


@app.command("note", help="help_case_note")
def note(
    case_id: CaseId,
    text: Words,
    json: Json = False,  # noqa: FBT002
    demo: Demo = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node, now = node_of(config, data, lang, demo=demo), SystemClock().now()

    async def do(casework: Casework, _: People, who: Actor) -> Case:
        return await work.note(casework, case_id, text, who, now)

    _say(node, act(node, "do:case.work", case_id, do), as_json=json)


@app.command("withdraw", help="help_case_withdraw")
def withdraw(
    case_id: CaseId,
    text: Words,
    json: Json = False,  # noqa: FBT002
    demo: Demo = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    """The event makes what is proposed void; then it leaves the list of what waits, too."""
    node, now = node_of(config, data, lang, demo=demo), SystemClock().now()

    async def do(casework: Casework, people: People, who: Actor) -> Case:
        one = await work.withdraw(casework, case_id, text, who, now)
        for each in await people.pending():
            if each.subject == case_id:
                await people.withdraw(each.id, who.operator)
        return one

    _say(node, act(node, "do:case.work", case_id, do), as_json=json)


def _say(node: Node, one: Case, *, as_json: bool) -> None:
    if as_json:
        print_object(told.case_object(one, today(node)))
        end(Exit.DONE)
    state = word(node, "case_state", one.state)
    print_line(node.say("case_now", case=one.id, state=state, owner=one.owner or "-"))
    end(Exit.DONE)


@app.command("propose", help="help_case_propose")
def propose(
    case_id: CaseId,
    act_name: Annotated[str, typer.Argument(metavar="ACT", help="help_arg_act")],
    amount: Amount = None,
    entry: Entry = "",
    reason: Reason = "",
    json: Json = False,  # noqa: FBT002
    demo: Demo = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node, now = node_of(config, data, lang, demo=demo), SystemClock().now()

    async def do(casework: Casework, people: People, who: Actor) -> Proposal:
        return await work.propose(
            casework,
            people,
            case_id,
            act_name,
            who,
            now,
            amount_minor=amount,
            reason=reason,
            entry=entry,
        )

    offer(node, act_name, case_id, do, as_json=json)


@app.command("approve", help="help_case_approve")
def approve(
    case_id: CaseId,
    sha256: Annotated[str | None, typer.Option("--sha256", help="help_opt_sha256")] = None,
    demo: Demo = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    """`approval approve` of the one proposal that is pending on the case."""
    from switch.commands import approval

    node = node_of(config, data, lang, demo=demo)

    async def pending(dsn: str) -> list[Proposal]:
        async with office(dsn) as desk:
            return [each for each in await desk.people.pending() if each.subject == case_id]

    with node.store() as store:
        found = asyncio.run(pending(store.dsn))
    if len(found) != 1:
        names = ", ".join(each.id for each in found)
        raise CommandError(node.say("case_pending", case=case_id, proposals=names or "-"))
    approval.approve(found[0].id, sha256=sha256, demo=demo, config=config, data=data, lang=lang)


async def do_approved(node: Node, dsn: str, approval: Approval) -> None:
    """What an approved proposal on a case says."""
    async with opened(node, dsn) as casework:
        one = await work.do(casework, approval, SystemClock().now(), await terms(node, casework))
    state = word(node, "case_state", one.state)
    print_line(node.say("case_now", case=one.id, state=state, owner=one.owner or "-"))
