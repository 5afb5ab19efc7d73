"""The bodies of `tongbao simulate`: options from files and flags, a loop, progress, tables, files.

The one module of the simulators that touches the outside world.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import signal
import ssl
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random  # noqa: TID251 - seeded test traffic; nothing here needs entropy
from typing import TYPE_CHECKING, Any, TypeVar
from zoneinfo import ZoneInfo

import msgspec
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from terminals.simulator.bank import BankOptions, BankServer
from terminals.simulator.bank_lines import Dialler, Greeting, SimplexServer
from terminals.simulator.binary_bank import bank_of
from terminals.simulator.fleet import Fleet, FleetOptions, FleetResult
from terminals.simulator.terminal import Terminal, TerminalOptions
from terminals.texts import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from terminals.simulator.bank import Bank
    from terminals.simulator.com_file import ClearingFile
    from terminals.simulator.fleet import Progress as Notice

T = TypeVar("T")

EXIT_DONE, EXIT_DIFFERENCES, EXIT_USAGE, EXIT_FAILURE = 0, 1, 2, 4
ZONE = ZoneInfo("Asia/Shanghai")
TPDU_SOURCES = 10_000
CONNECT_S = 5.0  # of a bank that connects: until it gives up
DIAL_PAUSE_S = 1.0  # before it tries again
SILENT_S = 200.0  # of a bank that signs on: a switch that says nothing for so long is gone


class UsageError(Exception):
    """What the operator gave can not be used; exit code 2."""


# -- reading options -----------------------------------------------------------------


def read_key(text: str) -> str:
    """A key in hex, or `@file` holding one."""
    value = Path(text[1:]).read_text(encoding="ascii").strip() if text.startswith("@") else text
    try:
        bytes.fromhex(value)
    except ValueError:
        raise UsageError("a key is hex digits, or @file") from None
    return value


def read_pairs(items: Sequence[str]) -> dict[str, float]:
    """`name=number` options, also several in one with commas.

    >>> read_pairs(["late=0.1,lost=0.2", "twice=1"])
    {'late': 0.1, 'lost': 0.2, 'twice': 1.0}
    """
    pairs: dict[str, float] = {}
    for item in ",".join(items).split(","):
        if item:
            name, _, value = item.partition("=")
            try:
                pairs[name.strip()] = float(value)
            except ValueError:
                raise UsageError(f"{item!r} is not name=number") from None
    return pairs


def read_file(path: Path) -> Any:
    """A TOML or JSON file as plain values."""
    data = path.read_bytes()
    return msgspec.toml.decode(data) if path.suffix == ".toml" else msgspec.json.decode(data)


def shaped(values: dict[str, Any], shape: type[T]) -> T:
    """Values as an option struct; UsageError names what is wrong."""
    try:
        return msgspec.convert(values, shape, strict=False)
    except (msgspec.ValidationError, ValueError) as error:
        raise UsageError(str(error)) from None


def read_terminals(path: Path) -> list[TerminalOptions]:
    """A JSON list, or a TOML file with `[[terminal]]` tables, of `TerminalOptions`."""
    values = read_file(path)
    rows = values if isinstance(values, list) else values.get("terminal", [])
    if not rows:
        raise UsageError(f"{path} lists no terminals")
    return [shaped({**row, "tmk": read_key(row.get("tmk", ""))}, TerminalOptions) for row in rows]


def client_tls(
    authority: Path | None, certificate: Path | None, key: Path | None
) -> ssl.SSLContext:
    """TLS of who connects. Without an authority the switch's certificate is not checked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # we are told an address, and trust our own authority
    context.verify_mode = ssl.CERT_NONE if authority is None else ssl.CERT_REQUIRED
    return furnished(context, authority, certificate, key)


def server_tls(authority: Path | None, certificate: Path, key: Path | None) -> ssl.SSLContext:
    """TLS of who listens. Without an authority whoever connects need not show a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_NONE if authority is None else ssl.CERT_REQUIRED
    return furnished(context, authority, certificate, key)


def furnished(
    context: ssl.SSLContext, authority: Path | None, certificate: Path | None, key: Path | None
) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if authority is not None:
            context.load_verify_locations(authority)
        if certificate is not None:
            context.load_cert_chain(certificate, key, password=lambda: "")
    except ssl.SSLError as error:
        raise UsageError(f"TLS: {error.reason or error}") from None
    return context


def read_address(text: str) -> tuple[str, int]:
    """`host:port`; an IPv6 address in brackets.

    >>> read_address("[::1]:9100")
    ('::1', 9100)
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise UsageError(f"{text!r} is not host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)


# -- terminals ------------------------------------------------------------------------


def terminals(
    rows: Sequence[TerminalOptions],
    options: FleetOptions,
    *,
    seed: int,
    as_json: bool,
    views: Path | None,
    language: str,
    tls: ssl.SSLContext | None = None,
) -> int:
    """Run a fleet and show what it saw. Exit code 1 when repeats differed or terminals gave up."""
    if len(rows) >= TPDU_SOURCES:
        raise UsageError(f"at most {TPDU_SOURCES - 1} terminals")
    fleet_terminals = [Terminal(row, f"{index + 1:04}") for index, row in enumerate(rows)]
    with notice_of(options, language, quiet=as_json) as notice:
        result = run_loop(drive(fleet_terminals, options, seed, notice, language, tls))
    if views is not None:
        write_file(views, msgspec.json.format(msgspec.json.encode(result.views())))
    if as_json:
        sys.stdout.write(msgspec.json.encode(summary_of(result)).decode() + "\n")
    else:
        show_fleet(result, language)
    return EXIT_DIFFERENCES if result.repeats_different or result.gave_up else EXIT_DONE


async def drive(
    fleet_terminals: Sequence[Terminal],
    options: FleetOptions,
    seed: int,
    notice: Notice | None,
    language: str,
    tls: ssl.SSLContext | None = None,
) -> FleetResult:
    """One fleet on the running loop; the first signal ends trading, the second the process."""
    loop = asyncio.get_running_loop()

    async def connect(
        host: str, port: int, factory: Callable[[], asyncio.Protocol]
    ) -> tuple[asyncio.BaseTransport, asyncio.Protocol]:
        return await loop.create_connection(factory, host, port, ssl=tls)

    bits = Random(seed)  # noqa: S311 - see the import
    fleet = Fleet(fleet_terminals, options, bits, connect, notice)

    def stop() -> None:
        if fleet.stopping:
            raise SystemExit(130)
        sys.stderr.write(say("stopping", language) + "\n")
        fleet.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    return await fleet.run()


def summary_of(result: FleetResult) -> dict[str, Any]:
    """The result for scripts: everything but the slips, which `views` has."""
    shown = {name: getattr(result, name) for name in result.__struct_fields__ if name != "slips"}
    return {
        **shown,
        "slips": len(result.slips),
        "undecided": len(result.undecided),
        "effect_minor": result.effect_minor,
    }


def show_fleet(result: FleetResult, language: str) -> None:
    """Two tables."""
    console = Console()
    traffic = Table(title=say("traffic", language))
    for heading in (say("type", language), say("answers", language), say("count", language)):
        traffic.add_column(heading)
    for heading in ("p50 ms", "p99 ms"):
        traffic.add_column(heading, justify="right")
    for kind, codes in sorted(result.counts.items()):
        latency = result.latency.get(kind)
        answers = "  ".join(f"{code} x{count}" for code, count in sorted(codes.items()))
        times = (f"{latency.p50_ms:.1f}", f"{latency.p99_ms:.1f}") if latency else ("", "")
        traffic.add_row(kind, answers, str(sum(codes.values())), *times)
    console.print(traffic)
    outcome = Table(title=say("outcome", language), show_header=False)
    outcome.add_column()
    outcome.add_column()
    rows: list[tuple[str, object]] = [
        ("transactions", result.transactions),
        ("elapsed", f"{result.elapsed_s:.1f}"),
        ("reversals", pairs_text(result.reversals)),
        ("settlements", pairs_text(result.settlements)),
        ("faults", pairs_text(result.faults)),
        ("repeats", f"{result.repeats_same} / {len(result.repeats_different)}"),
        ("surprises", pairs_text(result.surprises)),
        ("undecided", len(result.undecided)),
        ("gave_up", len(result.gave_up)),
        ("effect", result.effect_minor),
    ]
    for name, value in rows:
        outcome.add_row(say(name, language), str(value))
    console.print(outcome)
    for line in result.repeats_different + result.gave_up:
        console.print(line, markup=False)


def pairs_text(counts: dict[str, int]) -> str:
    """`name xcount`, by name."""
    return "  ".join(f"{name} x{count}" for name, count in sorted(counts.items())) or "-"


@contextmanager
def notice_of(options: FleetOptions, language: str, *, quiet: bool) -> Iterator[Notice | None]:
    """A progress bar on a terminal's stderr, else nothing."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        total = options.transactions or None
        task = progress.add_task(say("trading", language), total=total)

        def notice(kind: str, code: str) -> None:
            if kind not in ("sign_on", "reversal", "settle", "upload", "upload_end"):
                progress.advance(task)

        yield notice


# -- bank --------------------------------------------------------------------------------


class Planted(msgspec.Struct, frozen=True):
    """`<file>.breaks.json`: what is wrong with a clearing file, for whoever checks the books."""

    file: str
    settlement_date: dt.date
    rows: int
    breaks: tuple[Any, ...]


class BankLines(msgspec.Struct, frozen=True, kw_only=True):
    """How a bank is connected: it listens, connects, or reads on one connection and sends on another.

    `simplex`: it reads on those that are made to `port`, and sends on those that are made to `send_port`
    (0: any free one), or that it makes to `dial`. `signs_on`: it says 001 on each connection.
    """

    host: str
    port: int
    dial: tuple[tuple[str, int], ...] = ()
    connections: int = 1  # that it keeps to `dial`
    signs_on: bool = False
    simplex: bool = False
    send_port: int = 0
    dial_tls: ssl.SSLContext | None = None
    listen_tls: ssl.SSLContext | None = None

    def shell(self, of: Bank) -> BankServer:
        if self.simplex:
            return SimplexServer(of)
        if self.signs_on:
            return BankServer(of, partial(Greeting, idle_s=SILENT_S))
        return BankServer(of)


def bank(
    options: BankOptions,
    lines: BankLines,
    *,
    settlement_date: dt.date | None,
    seed: int,
    files: Path | None,
    ready_file: Path | None,
    duration_s: float,
    as_json: bool,
    language: str,
) -> int:
    """Trade until a signal or the end of `duration_s`; then write the clearing files.

    SIGHUP is the cut-over: the current date's file is written and the next date begins.
    """
    date = settlement_date or dt.datetime.now(ZONE).date()  # noqa: TID251 - the entry point's default
    of = bank_of(options, date, Random(seed))  # noqa: S311 - see the import
    run_loop(serve(of, lines, files, ready_file, duration_s, language))
    written = write_day(of, files, of.settlement_dates(), language)
    if as_json:
        report = {
            "report": of.report(),
            "files": [str(path) for path in written],
            "entries": of.view(),
        }
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    else:
        report_of = of.report()
        text = say(
            "bank",
            language,
            name=report_of.name,
            entries=report_of.entries,
            taken=report_of.taken_minor,
        )
        sys.stdout.write(text + "\n")
        sys.stdout.write(pairs_text(report_of.counts) + "\n" + pairs_text(report_of.faults) + "\n")
    return EXIT_DONE


async def serve(
    of: Bank,
    lines: BankLines,
    files: Path | None,
    ready_file: Path | None,
    duration_s: float,
    language: str,
) -> None:
    """The bank on the running loop."""
    loop = asyncio.get_running_loop()
    shell = lines.shell(of)
    servers, ready = await listen(shell, lines, language)
    dialling = loop.create_task(dial(shell, lines, language))
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)

    def cut_over() -> None:
        closed = of.settlement_date
        shell.cut_over(closed + dt.timedelta(days=1))
        write_day(of, files, [closed], language)

    loop.add_signal_handler(signal.SIGHUP, cut_over)
    if ready_file is not None:
        known = {"bank": of.options.name, "host": lines.host, **ready, "pid": os.getpid()}
        write_file(ready_file, msgspec.json.encode(known) + b"\n")
    try:
        async with asyncio.timeout(duration_s or None):
            await stopped.wait()
    except TimeoutError:
        pass
    dialling.cancel()
    for server in servers:
        server.close()
    shell.close()
    await asyncio.gather(dialling, return_exceptions=True)


async def listen(
    shell: BankServer, lines: BankLines, language: str
) -> tuple[list[asyncio.Server], dict[str, int]]:
    """The listening sockets, and their ports as the ready file names them."""
    wanted: dict[str, tuple[int, Callable[[], asyncio.Protocol]]] = {}
    if lines.simplex or not lines.dial:
        wanted["port"] = lines.port, shell.protocol
    if isinstance(shell, SimplexServer) and not lines.dial:
        wanted["send_port"] = lines.send_port, shell.sender
    servers, ports = [], {}
    for name, (port, protocol) in wanted.items():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(protocol, lines.host, port, ssl=lines.listen_tls)
        at = ports[name] = server.sockets[0].getsockname()[1]
        servers.append(server)
        of = shell.bank
        told = {"name": of.options.name, "host": lines.host, "port": at, "date": of.settlement_date}
        sys.stderr.write(say("listening", language, **told) + "\n")
    return servers, ports


async def dial(shell: BankServer, lines: BankLines, language: str) -> None:
    """Keep the connections that the bank makes; why one is not made is told once an address."""
    if not lines.dial:
        return
    of = shell.bank
    addresses = ", ".join(f"{host}:{port}" for host, port in lines.dial)
    told = {"name": of.options.name, "addresses": addresses, "date": of.settlement_date}
    sys.stderr.write(say("dialling", language, **told) + "\n")
    reasons: dict[tuple[str, int], str] = {}

    async def connect(factory: Callable[[], asyncio.Protocol], host: str, port: int) -> object:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_S):
            return await loop.create_connection(factory, host, port, ssl=lines.dial_tls)

    def failed(host: str, port: int, error: OSError) -> None:
        reason = str(error) or repr(error)
        if reasons.get((host, port)) != reason:
            reasons[host, port] = reason
            sys.stderr.write(f"{of.options.name}: {host}:{port}: {reason}\n")

    protocol = shell.sender if isinstance(shell, SimplexServer) else shell.protocol
    await Dialler(
        connect, lines.dial, protocol, count=lines.connections, pause_s=DIAL_PAUSE_S, failed=failed
    ).run()


def write_day(of: Bank, files: Path | None, dates: Sequence[dt.date], language: str) -> list[Path]:
    """The clearing file of each date and, beside it, the list of its planted breaks."""
    if files is None:
        return []
    folder = files / of.options.name
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    written: list[Path] = []
    for date in dates:
        file: ClearingFile = of.clearing_file(date)
        path = folder / file.name
        write_file(path, file.data)
        planted = Planted(file.name, date, file.rows, file.planted)
        write_file(
            folder / f"{file.name}.breaks.json", msgspec.json.format(msgspec.json.encode(planted))
        )
        written.append(path)
        text = say("wrote", language, path=path, rows=file.rows, planted=len(file.planted))
        sys.stderr.write(text + "\n")
    return written


# -- the outside world ----------------------------------------------------------------------


def write_file(path: Path, data: bytes) -> None:
    """Whole or not at all; only the owner can read it (clearing files hold PANs)."""
    part = path.with_name(path.name + ".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    part.replace(path)


def run_loop(main: Any) -> Any:
    """Run a coroutine on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)
