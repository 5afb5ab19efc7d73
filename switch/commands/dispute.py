"""`tongbao dispute`: what issuers ask of us and we of them; answers, evidence, deadlines."""

from __future__ import annotations

import datetime as dt
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from settlement.casework import told
from settlement.disputes import files, work
from settlement.disputes.reasons import EVENT_OF, REASONS, meaning
from settlement.disputes.table import STARTED_BY_US, STATES
from settlement.reports.figures import money
from switch.adapters.system import SystemClock
from switch.cli import (
    ConfigFile,
    DataFolder,
    Demo,
    Json,
    Lang,
    bounded,
    day,
    end,
    group,
    node_of,
    said,
)
from switch.commands.casework import act, heading, opened, propose, read, terms, today, word
from switch.commands.common import (
    CommandError,
    Exit,
    print_line,
    print_object,
    print_objects,
    print_table,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from settlement.casework.ports import Casework
    from settlement.disputes.table import DisputeFacts, Event, Placed
    from settlement.four_eyes import Actor, Approval, Proposal
    from switch.commands.common import Node
    from switch.people.ports import People

app = group()
DisputeId = Annotated[str, typer.Argument(metavar="DISPUTE", help="help_arg_dispute")]
Text = Annotated[str, typer.Argument(metavar="TEXT", help="help_arg_text", callback=said)]
Reason = Annotated[str, typer.Option("--reason", help="help_opt_reason", callback=bounded)]
Document = Annotated[Path, typer.Argument(metavar="FILE", help="help_arg_evidence")]
COLUMNS = ("id", "state", "deadline", "reason", "acquirer", "merchant", "rrn", "charged", "held")
READ_BYTES = 1 << 20
TAKE_DAYS = 40  # before and after today, where the line says no dates


# -- reading --------------------------------------------------------------------------------------


@app.command("list", help="help_dispute_list")
def list_disputes(
    state: Annotated[str, typer.Option("--state", help="help_opt_dispute_state")] = "",
    merchant: Annotated[str, typer.Option("--merchant", help="help_arg_merchant")] = "",
    due: Annotated[int | None, typer.Option("--due", min=0, help="help_opt_due")] = None,
    ended: Annotated[bool, typer.Option("--ended", help="help_opt_ended")] = False,  # noqa: FBT002
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    if state and state not in STATES:
        raise typer.BadParameter(", ".join(STATES), param_hint="--state")
    node = node_of(config, data, lang)
    now = today(node)
    found: list[DisputeFacts] = read(
        node, lambda casework: casework.disputes(ended=ended or bool(state))
    )
    shown = [
        told.dispute_object(each, now)
        for each in found
        if state in ("", each.state)
        and merchant in ("", each.dispute.merchant)
        and (due is None or _due(each, now, due))
    ]
    if json:
        print_objects(shown)
    else:
        names = heading(node, *(f"case_{name}" for name in COLUMNS))
        print_table(names, (_line(node, one) for one in shown))
    end(Exit.DONE)


def _due(facts: DisputeFacts, now: dt.date, within_days: int) -> bool:
    left = told.days_left(facts, now)
    return left is not None and left <= within_days


def _line(node: Node, one: dict[str, Any]) -> list[str]:
    return [
        one["id"],
        word(node, "dispute_state", one["state"]),
        f"{one['deadline']} ({one['days_left']:+})" if one["deadline"] else "",
        meaning(one["reason"], chinese=node.language == "zh"),
        *(one[name] for name in ("acquirer", "merchant", "rrn")),
        *(money(one[f"{name}_minor"], one["currency"]) for name in ("charged", "held")),
    ]


@app.command("show", help="help_show")
def show(
    dispute_id: DisputeId,
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang)
    now = today(node)
    facts: DisputeFacts = read(node, lambda casework: work.dispute(casework, dispute_id))
    whole = told.whole_dispute(facts, now)
    if json:
        print_object(whole)
    else:
        _print_whole(node, facts, whole)
    end(Exit.DONE)


def _print_whole(node: Node, facts: DisputeFacts, whole: dict[str, Any]) -> None:
    about = facts.dispute
    shown = {
        "id": about.id,
        "state": word(node, "dispute_state", facts.state),
        "deadline": f"{whole['deadline'] or ''}",
        "acquirer": about.acquirer,
        "merchant": about.merchant,
        "rrn": about.rrn,
        "original": money(about.original_minor, about.currency),
        "charged": money(facts.charged_minor, about.currency),
        "held": money(facts.held_minor, about.currency),
        "acts": ", ".join(f"{name} ({word(node, 'event', name)})" for name in whole["ours"]),
    }
    print_table(("", ""), [(heading(node, f"case_{k}")[0], text) for k, text in shown.items()])
    print_line("")
    names = ("sequence", "at", "event", "state", "amount", "reason", "operator", "checker", "text")
    print_table(
        heading(node, *(f"case_{name}" for name in names)),
        (
            [
                event.sequence,
                event.at.isoformat(timespec="seconds"),
                word(node, "event", event.event),
                word(node, "dispute_state", event.state),
                money(event.amount_minor, about.currency) if event.amount_minor else "",
                meaning(event.reason, chinese=node.language == "zh"),
                event.operator or event.by,
                event.checker,
                event.text,
            ]
            for event in facts.events
        ),
    )
    for item in facts.evidence:
        print_line(f"{item.name} {item.sha256} {item.size} {item.operator} {item.at:%Y-%m-%d}")


@app.command("reasons", help="help_dispute_reasons")
def reasons(
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang)
    if json:
        print_objects({"reason": code, "en": en, "zh": zh} for code, (en, zh) in REASONS.items())
    else:
        chinese = node.language == "zh"
        print_table(
            heading(node, "case_reason", "case_text"),
            ((code, meaning(code, chinese=chinese)) for code in REASONS),
        )
    end(Exit.DONE)


# -- doing ----------------------------------------------------------------------------------------


def _act(
    node: Node,
    dispute_id: str,
    do: Callable[[Casework, People, Actor], Awaitable[Any]],
    *,
    as_json: bool,
) -> None:
    """What `do` does to the dispute, which is then told."""
    facts = act(node, "do:dispute.work", dispute_id, do)
    if as_json:
        print_object(told.dispute_object(facts, today(node)))
    else:
        _say(node, facts)
    end(Exit.DONE)


def _say(node: Node, facts: DisputeFacts) -> None:
    last = facts.last
    deadline = f"{last.deadline}" if last is not None and last.deadline is not None else "-"
    state = word(node, "dispute_state", facts.state)
    print_line(node.say("dispute_now", dispute=facts.dispute.id, state=state, deadline=deadline))


@app.command("answer", help="help_dispute_answer")
def answer(
    dispute_id: DisputeId,
    text: Text,
    json: Json = False,  # noqa: FBT002
    demo: Demo = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node, now = node_of(config, data, lang, demo=demo), SystemClock().now()

    async def do(casework: Casework, _: People, who: Actor) -> DisputeFacts:
        return await work.answer(casework, dispute_id, text, who, now, await terms(node, casework))

    _act(node, dispute_id, do, as_json=json)


@app.command("refused", help="help_dispute_refused")
def refused(
    dispute_id: DisputeId,
    text: Text,
    json: Json = False,  # noqa: FBT002
    demo: Demo = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node, now = node_of(config, data, lang, demo=demo), SystemClock().now()

    async def do(casework: Casework, _: People, who: Actor) -> DisputeFacts:
        return await work.refused(casework, dispute_id, text, who, now, await terms(node, casework))

    _act(node, dispute_id, do, as_json=json)


@app.command("evidence", help="help_dispute_evidence")
def evidence(
    dispute_id: DisputeId,
    file: Document,
    text: Annotated[str, typer.Option("--text", help="help_opt_text", callback=bounded)] = "",
    json: Json = False,  # noqa: FBT002
    demo: Demo = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node, now = node_of(config, data, lang, demo=demo), SystemClock().now()
    sha256, size = _hash(file)

    async def do(casework: Casework, _: People, who: Actor) -> DisputeFacts:
        return await work.add_evidence(
            casework, dispute_id, file.name, sha256, size, who, now, text
        )

    _act(node, dispute_id, do, as_json=json)


def _hash(file: Path) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    try:
        with file.open("rb") as document:
            while part := document.read(READ_BYTES):
                digest.update(part)
                size += len(part)
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}", Exit.USAGE) from error
    return digest.hexdigest(), size


@app.command("take", help="help_dispute_take")
def take(
    first: Annotated[str | None, typer.Option("--from", help="help_opt_settled_from")] = None,
    last: Annotated[str | None, typer.Option("--to", help="help_opt_settled_to")] = None,
    json: Json = False,  # noqa: FBT002
    demo: Demo = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    """Exit code 1 where a row became a case."""
    node, now = node_of(config, data, lang, demo=demo), SystemClock().now()
    since = day(first) or today(node) - dt.timedelta(days=TAKE_DAYS)
    until = day(last) or today(node) + dt.timedelta(days=TAKE_DAYS)

    async def do(casework: Casework, _: People, who: Actor) -> list[Placed]:
        return await files.take(casework, since, until, now, await terms(node, casework), who)

    found: list[Placed] = act(node, "do:dispute.work", "", do)
    if json:
        print_objects(found)
    else:
        names = heading(node, *(f"case_{name}" for name in ("event", "reason", "amount", "about")))
        print_table(names, (_placed(node, each) for each in found))
    end(Exit.DIFFERENCES if any(each.case_id for each in found) else Exit.DONE)


def _placed(node: Node, one: Placed) -> list[str]:
    event = EVENT_OF.get(one.error_type)
    return [
        word(node, "event", event) if event else one.error_type,
        meaning(one.reason, chinese=node.language == "zh"),
        money(one.effect_minor, one.currency),
        one.dispute_id or one.case_id,
    ]


@app.command("expire", help="help_dispute_expire")
def expire(
    json: Json = False,  # noqa: FBT002
    demo: Demo = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node, now = node_of(config, data, lang, demo=demo), SystemClock().now()

    async def do(
        casework: Casework, _: People, who: Actor
    ) -> list[tuple[DisputeFacts, DisputeFacts]]:
        return await work.expire(casework, today(node), now, await terms(node, casework), who)

    moved = act(node, "do:dispute.work", "", do)
    if json:
        print_objects(
            {"id": after.dispute.id, "before": before.state, "after": after.state}
            for before, after in moved
        )
    else:
        for _, after in moved:
            _say(node, after)
    end(Exit.DONE)


# -- with a checker -------------------------------------------------------------------------------


@app.command("open", help="help_dispute_open")
def open_dispute(
    record: Annotated[str, typer.Argument(metavar="RECORD", help="help_arg_record")],
    event: Annotated[str, typer.Argument(metavar="EVENT", help="help_arg_started")],
    amount: Annotated[int, typer.Option("--amount", min=1, help="help_opt_amount")],
    code: Annotated[
        str, typer.Option("--code", help="help_opt_reason_code", callback=bounded)
    ] = "",
    reason: Reason = "",
    json: Json = False,  # noqa: FBT002
    demo: Demo = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang, demo=demo)
    chosen = _one_of(event, STARTED_BY_US)

    async def do(casework: Casework, people: People, who: Actor) -> Proposal:
        return await work.propose_opening(
            casework, people, record, chosen, amount, who, code=code, reason=reason
        )

    propose(node, "dispute.open", record, do, as_json=json)


@app.command("give-up", help="help_dispute_give_up")
def give_up(
    dispute_id: DisputeId,
    event: Annotated[str, typer.Argument(metavar="accept|absorb", help="help_arg_give_up")],
    reason: Reason = "",
    json: Json = False,  # noqa: FBT002
    demo: Demo = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang, demo=demo)
    chosen = _one_of(event, ("accept", "absorb"))

    async def do(casework: Casework, people: People, who: Actor) -> Proposal:
        return await work.propose(casework, people, dispute_id, chosen, who, reason=reason)

    propose(node, f"dispute.{event}", dispute_id, do, as_json=json)


def _one_of(event: str, events: tuple[Event, ...]) -> Event:
    for each in events:
        if each == event:
            return each
    raise typer.BadParameter(", ".join(events))


async def do_approved(node: Node, dsn: str, approval: Approval) -> None:
    """What an approved proposal on a dispute says."""
    async with opened(node, dsn) as casework:
        _say(
            node,
            await work.do(casework, approval, SystemClock().now(), await terms(node, casework)),
        )
