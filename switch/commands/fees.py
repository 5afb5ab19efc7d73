"""`tongbao fees`: judge fee plans before they are stored, and explain a price."""

from __future__ import annotations

import asyncio
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import msgspec
import typer

from settlement.fee_check import Explanation, explain, faults
from settlement.fees import DISCOUNT, Basis, NotInForceError, Plan, Tariffs, entry_class
from settlement.reports.figures import money
from switch.cli import ConfigFile, DataFolder, Day, Json, Lang, day, end, group, node_of
from switch.commands.common import (
    CommandError,
    Exit,
    print_line,
    print_object,
    print_objects,
    print_table,
    reference,
)

if TYPE_CHECKING:
    import datetime as dt

    from settlement.clearing import Reference
    from switch.commands.common import Node

app = group()

PlanFile = Annotated[Path, typer.Argument(metavar="FILE", help="help_arg_file")]
InFile = Annotated[Path | None, typer.Option("--file", help="help_opt_plan_file")]


@app.command("check", help="help_fees_check")
def check_command(
    file: PlanFile,
    json: Json = False,  # noqa: FBT002 - a flag of the command line
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    end(check(node_of(config, data, lang), file, as_json=json))


@app.command("explain", help="help_fees_explain")
def explain_command(
    plan: Annotated[str, typer.Option("--plan", help="help_opt_plan")],
    amount: Annotated[int, typer.Option("--amount", min=0, help="help_opt_priced_amount")],
    card_type: Annotated[str, typer.Option("--card-type", help="help_opt_card_type")] = "debit",
    mcc: Annotated[str, typer.Option("--mcc", help="help_opt_mcc")] = "5999",
    entry_mode: Annotated[str, typer.Option("--entry-mode", help="help_opt_entry_mode")] = "",
    volume: Annotated[int, typer.Option("--volume", min=0, help="help_opt_volume")] = 0,
    refund: Annotated[int, typer.Option("--refund", min=0, help="help_opt_refund")] = 0,
    currency: Annotated[str, typer.Option("--currency", help="help_opt_field")] = "156",
    file: InFile = None,
    date: Day = None,
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    if card_type not in ("debit", "credit"):
        raise typer.BadParameter("debit, credit", param_hint="--card-type")
    if refund > amount:
        raise typer.BadParameter("<= --amount", param_hint="--refund")
    node = node_of(config, data, lang)
    found = plan_of_file(file, plan) if file else stored_plan(node, plan, day(date))
    basis = Basis(card_type, mcc, entry_class(entry_mode), volume)
    end(tell(node, found, amount, basis, refund, currency, as_json=json))


def plans_of(path: Path) -> list[tuple[str, Any]]:
    """(place, table) of every fee plan in a file of `data apply`."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CommandError(f"{path}: {error}", Exit.USAGE) from error
    found = tables.get("fee_plan", [])
    if not isinstance(found, list):
        raise CommandError(f"{path}: write [[fee_plan]], an array of tables", Exit.USAGE)
    return [(f"fee_plan[{number}]", table) for number, table in enumerate(found, 1)]


def check(node: Node, path: Path, *, as_json: bool) -> Exit:
    """Every fault of every plan in a file, not only the first; exit 2 where there are some."""
    told: list[dict[str, Any]] = []
    names: list[str] = []
    for place, table in plans_of(path):
        try:
            plan = msgspec.convert(table, Plan)
        except msgspec.ValidationError as error:
            told.append({"at": place, "problem": str(error)})
            continue
        found = [
            {"at": f"{place}.{at}".rstrip("."), "problem": reason} for at, reason in faults(plan)
        ]
        if plan.name in names:
            found.append({"at": f"{place}.name", "problem": f"{plan.name} stands twice"})
        names.append(plan.name)
        told += found
    if as_json:
        print_objects(told)
    elif told:
        print_table(("", ""), ((one["at"], one["problem"]) for one in told))
    else:
        print_line(node.say("fees_checked", count=len(names)))
    return Exit.USAGE if told else Exit.DONE


def plan_of_file(path: Path, name: str) -> Plan:
    for place, table in plans_of(path):
        try:
            plan = msgspec.convert(table, Plan)
        except msgspec.ValidationError as error:
            raise CommandError(f"{path}: {place}: {error}", Exit.USAGE) from error
        if plan.name == name:
            for at, reason in faults(plan):
                raise CommandError(f"{path}: {place}.{at}: {reason}", Exit.USAGE)
            return plan
    raise CommandError(f"{path}: no fee_plan {name}", Exit.USAGE)


def stored_plan(node: Node, name: str, on: dt.date | None) -> Plan:
    """The version in force at the end of a day; of today where none is given."""
    from switch.adapters.system import SystemClock

    day = on or SystemClock().now().astimezone(ZoneInfo("Asia/Shanghai")).date()
    with node.store() as store:
        tariffs = Tariffs(asyncio.run(references(store.dsn)))
    try:
        return tariffs.plan_on(name, day)
    except NotInForceError as error:
        raise CommandError(node.told(error)) from error


async def references(dsn: str) -> list[Reference]:
    from settlement.clearing import Reference

    async with reference(dsn) as store:
        return [
            Reference(item.kind, item.key, item.version, item.effective_from, item.content)
            for item in await store.items("fee_plan")
        ]


def tell(
    node: Node,
    plan: Plan,
    amount_minor: int,
    basis: Basis,
    refund_minor: int,
    currency: str,
    *,
    as_json: bool,
) -> Exit:
    """Each component: the line that applied, why those before it did not, what bounded the fee."""
    told = explain(plan, amount_minor, basis)
    returned = {
        part.name: part.change(amount_minor, amount_minor - refund_minor, basis, refund=True)
        for part in plan.components
    }
    discount = sum(part.fee(amount_minor, basis) for part in plan.parts(DISCOUNT))
    if as_json:
        print_object(
            {
                "plan": plan.name,
                "version": plan.version,
                "currency": currency,
                "basis": basis,
                "components": [
                    {**msgspec.to_builtins(one), "refund_minor": returned[one.component]}
                    for one in told
                ],
                "merchant_discount_minor": discount,
            }
        )
        return Exit.DONE
    print_line(f"{plan.name}/{plan.version} {money(amount_minor, currency)} {currency}")
    print_table(
        tuple(
            node.say(f"fees_{name}") for name in ("component", "line", "how", "fee", "back", "why")
        ),
        (
            (
                one.component,
                "" if one.line is None else f"rates[{one.line}]",
                how(one),
                money(one.fee_minor, currency),
                money(returned[one.component], currency) if refund_minor else "",
                "; ".join(
                    f"rates[{line.line}] {line.condition}={_text(line.asks)}, {_text(line.has)}"
                    for line in one.passed_over
                ),
            )
            for one in told
        ),
    )
    return Exit.DONE


def how(one: Explanation) -> str:
    """
    >>> from decimal import Decimal
    >>> how(Explanation("issuer", 100, 0, (), Decimal("0.01"), Decimal(1), "half_up", "", 1))
    '0.01 -> 1 half_up'
    """
    if one.line is None:
        return ""
    return f"{one.rate} -> {one.exact} {one.rounding} {one.bound}".rstrip()


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
