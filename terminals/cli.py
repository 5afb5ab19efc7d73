"""`tongbao simulate`: the two ends of the wire alone, against any switch.

Nothing of a command is imported before it runs. Everything that has no flag can stand in the file
that `--options` names (TOML or JSON; the fields of `FleetOptions` and `BankOptions`).
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
    help="Simulated terminals or banks alone, against any switch.",
)

Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
Seed = Annotated[int, typer.Option("--seed", help="The same seed draws the same plans.")]
Lang = Annotated[str, typer.Option("--lang", help="en or zh.")]
OptionsFile = Annotated[
    Path | None, typer.Option("--options", help="TOML or JSON with any of the options; flags win.")
]
CardsFile = Annotated[
    Path | None,
    typer.Option("--cards", help="TOML or JSON with `card` ranges; must be the same at both ends."),
]


def pairs_help(what: str) -> Any:
    return typer.Option(metavar="NAME=NUMBER", help=what)


@app.callback()
def root() -> None:
    """Simulated terminals or banks alone, against any switch."""


@app.command("terminals")
def simulate_terminals(
    host: Annotated[str, typer.Option("--host")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port")] = 8583,
    terminals: Annotated[
        Path | None,
        typer.Option(
            "--terminals",
            help="JSON list, or TOML with [[terminal]], of merchant, terminal, tmk (hex or @file) …",
        ),
    ] = None,
    merchant: Annotated[str, typer.Option("--merchant", help="One terminal: DE 42.")] = "",
    terminal: Annotated[str, typer.Option("--terminal", help="One terminal: DE 41.")] = "",
    tmk: Annotated[str, typer.Option("--tmk", help="One terminal: hex or @file.")] = "",
    transactions: Annotated[
        int | None, typer.Option("--transactions", help="All terminals together.")
    ] = None,
    duration_s: Annotated[float | None, typer.Option("--duration", help="Seconds.")] = None,
    rate_tps: Annotated[
        float | None, typer.Option("--rate", help="Transactions a second, all together.")
    ] = None,
    think_s: Annotated[
        float | None, typer.Option("--think", help="Mean pause of a terminal, seconds.")
    ] = None,
    ramp_s: Annotated[float | None, typer.Option("--ramp", help="Spread the starts, s.")] = None,
    terminals_per_line: Annotated[
        int | None, typer.Option("--per-line", help="Terminals that share a connection (TPDU).")
    ] = None,
    one_shot: Annotated[
        float | None,
        typer.Option("--one-shot", help="Share of terminals that connect for every message."),
    ] = None,
    answer_timeout_s: Annotated[
        float | None, typer.Option("--timeout", help="Seconds a terminal waits.")
    ] = None,
    settle: Annotated[
        bool | None, typer.Option("--settle/--no-settle", help="Close the batches at the end.")
    ] = None,
    mix: Annotated[
        list[str] | None,
        pairs_help("Weights: purchase void refund balance wrong_pin expired_card poor_card …"),
    ] = None,
    fault: Annotated[
        list[str] | None,
        pairs_help(
            "Shares: hang_up repeat repeat_lost double bad_mac garbage print_failure bad_answer."
        ),
    ] = None,
    tls: Annotated[bool, typer.Option("--tls", help="Connect by TLS 1.2 or later.")] = False,  # noqa: FBT002
    tls_authority: Annotated[
        Path | None,
        typer.Option("--tls-authority", help="PEM; who must have signed the switch's certificate."),
    ] = None,
    tls_certificate: Annotated[
        Path | None, typer.Option("--tls-certificate", help="PEM; what all terminals show.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", help="Its key, PEM.")] = None,
    cards: CardsFile = None,
    options: OptionsFile = None,
    views: Annotated[
        Path | None, typer.Option("--views", help="Write every slip, masked, as JSON.")
    ] = None,
    seed: Seed = 1,
    json: Json = False,  # noqa: FBT002 - a flag of the command line
    lang: Lang = "en",
) -> None:
    """POS terminals that trade: sign on, sell, void, refund, reverse, settle."""
    from terminals.simulator import commands
    from terminals.simulator.fleet import FleetOptions
    from terminals.simulator.terminal import TerminalOptions

    def body() -> int:
        values = commands.read_file(options) if options else {}
        flags = {
            "host": host,
            "port": port,
            "transactions": transactions,
            "duration_s": duration_s,
            "rate_tps": rate_tps,
            "think_s": think_s,
            "ramp_s": ramp_s,
            "terminals_per_line": terminals_per_line,
            "one_shot": one_shot,
            "answer_timeout_s": answer_timeout_s,
            "settle": settle,
        }
        values |= {name: value for name, value in flags.items() if value is not None}
        if mix:
            values["mix"] = values.get("mix", {}) | commands.read_pairs(mix)
        if fault:
            values["faults"] = values.get("faults", {}) | commands.read_pairs(fault)
        if cards:
            values["cards"] = card_rows(commands.read_file(cards))
        if not values.get("transactions") and not values.get("duration_s"):
            values["transactions"] = 100
        if terminals is not None:
            rows = commands.read_terminals(terminals)
        elif merchant and terminal and tmk:
            one = {"merchant": merchant, "terminal": terminal, "tmk": commands.read_key(tmk)}
            rows = [commands.shaped(one, TerminalOptions)]
        else:
            raise commands.UsageError("give --terminals, or --merchant, --terminal and --tmk")
        shown = tls_authority, tls_certificate, tls_key
        if any(shown) and not tls:
            raise commands.UsageError("--tls-authority, --tls-certificate and --tls-key need --tls")
        return commands.terminals(
            rows,
            commands.shaped(values, FleetOptions),
            seed=seed,
            as_json=json,
            views=views,
            language=lang,
            tls=commands.client_tls(*shown) if tls else None,
        )

    end(body)


@app.command("bank")
def simulate_bank(
    zpk: Annotated[str, typer.Option("--zpk", help="Hex or @file.")],
    zak: Annotated[str, typer.Option("--zak", help="Hex or @file.")],
    zmk: Annotated[str, typer.Option("--zmk", help="Hex or @file.")] = "",
    host: Annotated[str, typer.Option("--host")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="0: any free one; see --ready-file.")] = 9001,
    dial: Annotated[
        list[str] | None,
        typer.Option("--dial", help="host:port; connect there, not listen. Several: in turn."),
    ] = None,
    connections: Annotated[
        int, typer.Option("--connections", min=1, help="So many, where it connects.")
    ] = 1,
    signs_on: Annotated[  # noqa: FBT002 - a flag of the command line
        bool, typer.Option("--signs-on", help="Says 001 on every connection, and the switch waits.")
    ] = False,
    simplex: Annotated[  # noqa: FBT002
        bool,
        typer.Option("--simplex", help="Read on --port; send by --send-port, or by --dial."),
    ] = False,
    send_port: Annotated[
        int, typer.Option("--send-port", help="With --simplex; 0: any free one.")
    ] = 0,
    tls: Annotated[bool, typer.Option("--tls", help="TLS 1.2 or later, whoever connects.")] = False,  # noqa: FBT002
    tls_authority: Annotated[
        Path | None,
        typer.Option("--tls-authority", help="PEM; who must have signed the switch's certificate."),
    ] = None,
    tls_certificate: Annotated[
        Path | None, typer.Option("--tls-certificate", help="PEM; what the bank shows.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", help="Its key, PEM.")] = None,
    name: Annotated[str | None, typer.Option("--name")] = None,
    kind: Annotated[
        str | None,
        typer.Option("--kind", help="reference, or binary_host: header, BCD, codes of its own."),
    ] = None,
    settlement_date: Annotated[
        str, typer.Option("--settlement-date", help="YYYY-MM-DD; today in Shanghai if absent.")
    ] = "",
    latency_s: Annotated[
        float | None, typer.Option("--latency", help="Mean delay of an answer, seconds.")
    ] = None,
    fault: Annotated[
        list[str] | None,
        pairs_help(
            "Shares: late silent lost twice drop forget wrong_mac elsewhere overtaken"
            " system_error crossed withheld; and late_s."
        ),
    ] = None,
    plant: Annotated[
        list[str] | None,
        pairs_help("Breaks in the file: missing extra amount duplicate reversed_but_billed."),
    ] = None,
    cards: CardsFile = None,
    options: OptionsFile = None,
    files: Annotated[
        Path | None, typer.Option("--files", help="Folder for <name>/<clearing file>.")
    ] = None,
    ready_file: Annotated[
        Path | None, typer.Option("--ready-file", help="Written when it listens: JSON.")
    ] = None,
    duration_s: Annotated[
        float, typer.Option("--duration", help="Seconds; 0: until a signal.")
    ] = 0.0,
    seed: Seed = 1,
    json: Json = False,  # noqa: FBT002 - a flag of the command line
    lang: Lang = "en",
) -> None:
    """A bank by the reference link, or of another kind; at the end it writes its clearing files. SIGHUP: cut-over."""
    from terminals.simulator import commands
    from terminals.simulator.bank import BankOptions

    def body() -> int:
        values = commands.read_file(options) if options else {}
        values |= {"zpk": commands.read_key(zpk), "zak": commands.read_key(zak)}
        if zmk:
            values["zmk"] = commands.read_key(zmk)
        if name is not None:
            values["name"] = name
        if kind is not None:
            values["kind"] = kind
        if latency_s is not None:
            values["latency_s"] = latency_s
        if fault:
            values["faults"] = values.get("faults", {}) | commands.read_pairs(fault)
        if plant:
            values["breaks"] = values.get("breaks", {}) | commands.read_pairs(plant)
        if cards:
            values["cards"] = card_rows(commands.read_file(cards))
        try:
            date = dt.date.fromisoformat(settlement_date) if settlement_date else None
        except ValueError:
            raise commands.UsageError("--settlement-date is YYYY-MM-DD") from None
        shown = tls_authority, tls_certificate, tls_key
        if any(shown) and not tls:
            raise commands.UsageError("--tls-authority, --tls-certificate and --tls-key need --tls")
        if simplex and signs_on:
            raise commands.UsageError("--simplex and --signs-on do not go together")
        listens = tls and (simplex or not dial)
        if listens and tls_certificate is None:
            raise commands.UsageError("a bank that listens by --tls needs --tls-certificate")
        lines = commands.BankLines(
            host=host,
            port=port,
            dial=tuple(commands.read_address(each) for each in dial or ()),
            connections=connections,
            signs_on=signs_on,
            simplex=simplex,
            send_port=send_port,
            dial_tls=commands.client_tls(*shown) if tls and dial else None,
            listen_tls=commands.server_tls(tls_authority, tls_certificate, tls_key)
            if listens and tls_certificate is not None
            else None,
        )
        return commands.bank(
            commands.shaped(values, BankOptions),
            lines,
            settlement_date=date,
            seed=seed,
            files=files,
            ready_file=ready_file,
            duration_s=duration_s,
            as_json=json,
            language=lang,
        )

    end(body)


def card_rows(values: Any) -> Any:
    """A JSON list of ranges, or TOML with [[card]] tables."""
    return values if isinstance(values, list) else values.get("card", [])


def end(body: Any) -> None:
    """Run it; failures that the operator can do something about are a line and an exit code."""
    from terminals.simulator.commands import EXIT_FAILURE, EXIT_USAGE, UsageError

    try:
        code = body()
    except UsageError as error:
        typer.echo(f"tongbao: {error}", err=True)
        code = EXIT_USAGE
    except OSError as error:
        typer.echo(f"tongbao: {error}", err=True)
        code = EXIT_FAILURE
    raise typer.Exit(code)
