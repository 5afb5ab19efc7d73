"""What every command needs: configuration, language, the store, output, and how it fails."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager, contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from settlement.four_eyes import RefusedError, require
from switch import config as configs
from switch.config import Config
from switch.texts import say

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
    from pathlib import Path

    from hsm.lmk import Lmk
    from settlement.four_eyes import Actor
    from settlement.said import SaidError
    from switch.adapters.postgres.key_custody import PostgresKeyCustody
    from switch.adapters.reading import Reader
    from switch.people.ports import Operators, People
    from switch.reference import ReferenceStore
    from switch.store import Store


class Exit(IntEnum):
    """Exit codes (rules §18)."""

    DONE = 0
    DIFFERENCES = 1
    USAGE = 2
    WAITING = 3
    FAILURE = 4
    INTERRUPTED = 130


class CommandError(Exception):
    """What went wrong, for the operator, and the exit code."""

    def __init__(self, text: str, code: Exit = Exit.FAILURE) -> None:
        super().__init__(text)
        self.code = code


class Login(msgspec.Struct, frozen=True):
    """How the operator of a command shows who he is; what is not given is asked for."""

    operator: str = ""
    password_fd: int | None = None
    totp: str = ""


NOT_SAID = Login()


class Node(msgspec.Struct, frozen=True):
    """Where a command works: the configuration, the language, which LMK; and for whom."""

    config: Config
    language: str
    demo: bool = False
    passphrase_fd: int | None = None
    login: Login = NOT_SAID

    def say(self, text: str, /, **values: Any) -> str:
        return say(text, self.language, **values)

    def told(self, error: SaidError) -> str:
        """What an error of the core says, in the operator's language."""
        return error.told(chinese=self.language == "zh")

    @contextmanager
    def store(self) -> Iterator[Store]:
        """The running store, or one of our own for as long as the command runs."""
        from switch.store import Store

        quiet_logs()
        with Store(self.config, self.language) as store:
            yield store

    def lmk(self) -> Lmk:
        from pathlib import Path

        from switch.lmk_file import open_lmk

        return open_lmk(
            Path(self.config.hsm.lmk_file),
            demo=self.demo,
            language=self.language,
            passphrase_fd=self.passphrase_fd,
        )


def quiet_logs() -> None:
    """A command's own words are its answer; of the log only warnings, on stderr."""
    from switch import logs
    from switch.adapters.system import SystemClock

    logs.configure(SystemClock(), "", level="warning", file=None)


def node(
    config: Path | None,
    data: Path | None,
    lang: str,
    *,
    demo: bool = False,
    passphrase_fd: int | None = None,
    login: Login = NOT_SAID,
) -> Node:
    loaded = configs.with_data(configs.load(config), data)
    return Node(loaded, configs.operator_language(lang, loaded), demo, passphrase_fd, login)


@asynccontextmanager
async def reading(dsn: str) -> AsyncIterator[Reader]:
    """The store for lists: one connection, one snapshot, nothing written."""
    from switch.adapters.reading import Reader

    async with Reader.open(dsn) as reader:
        yield reader


@asynccontextmanager
async def reference(dsn: str) -> AsyncIterator[ReferenceStore]:
    """The store for reference data and keys."""
    from switch.adapters.postgres.reference import PostgresReference
    from switch.adapters.postgres.sessions import Sessions
    from switch.adapters.servers import Servers

    sessions = Sessions(Servers(dsn), "tongbao command", 1)
    try:
        yield PostgresReference(sessions)
    finally:
        await sessions.close()


@asynccontextmanager
async def custody(dsn: str) -> AsyncIterator[PostgresKeyCustody]:
    """The store for stored keys as their custodians see them."""
    from switch.adapters.postgres.key_custody import PostgresKeyCustody
    from switch.adapters.postgres.sessions import Sessions
    from switch.adapters.servers import Servers

    sessions = Sessions(Servers(dsn), "tongbao keys", 1)
    try:
        yield PostgresKeyCustody(sessions)
    finally:
        await sessions.close()


class Office(NamedTuple):
    """Who works here, what is proposed, and what was done."""

    people: People
    operators: Operators


@asynccontextmanager
async def office(dsn: str) -> AsyncIterator[Office]:
    """The store for people, approvals and the audit log."""
    from switch.adapters.postgres.operators import PostgresOperators
    from switch.adapters.postgres.people import PostgresPeople
    from switch.adapters.postgres.sessions import Sessions
    from switch.adapters.servers import Servers

    sessions = Sessions(Servers(dsn), "tongbao people", 1)
    try:
        yield Office(PostgresPeople(sessions), PostgresOperators(sessions))
    finally:
        await sessions.close()


def actor(node: Node, dsn: str | None = None) -> Actor:
    """The operator who runs this command, once he has shown who he is; CommandError where he has not.

    `dsn` is that of the open store; without it one is opened for the moment.
    """
    from switch.commands.login import authenticate

    if dsn is None:
        with node.store() as store:
            return actor(node, store.dsn)
    return asyncio.run(authenticate(node, dsn))


def authorised(node: Node, act: str, subject: str, dsn: str) -> Actor:
    """The same, where he may do `act` alone; else RefusedError, and that is written down."""

    async def judge(who: Actor) -> None:
        async with office(dsn) as desk, refusals(desk.people, who, f"do:{act}", subject):
            require(who, f"do:{act}")

    who = actor(node, dsn)
    asyncio.run(judge(who))
    return who


@asynccontextmanager
async def refusals(people: People, who: Actor, act: str, subject: str) -> AsyncIterator[None]:
    """Writes down what is refused in the block."""
    try:
        yield
    except RefusedError as error:
        await people.refused(who.operator, act, subject, error)
        raise


# -- output -------------------------------------------------------------------------------------


def print_line(text: str) -> None:
    sys.stdout.write(text + "\n")


def written(path: Path, data: str) -> None:
    """A page that the command makes beside what it prints."""
    try:
        path.write_text(data, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from error


def print_progress(text: str) -> None:
    """What is no part of the answer: stderr, so that JSON stays JSON."""
    sys.stderr.write(text + "\n")


def print_objects(objects: Iterable[Any]) -> None:
    """JSON lines: a list is one object a line."""
    for value in objects:
        print_line(msgspec.json.encode(value, enc_hook=str).decode())


def print_object(value: Any) -> None:
    print_line(msgspec.json.format(msgspec.json.encode(value, enc_hook=str)).decode())


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    Console(width=None if sys.stdout.isatty() else 200, markup=False, highlight=False).print(table)


def show_content(kind: str, key: str, version: int, content: dict[str, Any]) -> None:
    print_line(f"{kind} {key} (version {version})")
    for name, value in content.items():
        print_line(f"  {name} = {json.dumps(value, ensure_ascii=False)}")


# -- key components -----------------------------------------------------------------------------


def components(node: Node, option: str, given: Sequence[str]) -> list[bytes]:
    """Components that one person gives, `@FILE` or hex: with `--demo` alone, for else one would have had
    them all in his hands."""
    if given and node.config.hsm.device:  # the node's vault could not open what this one made
        raise CommandError(node.say("components_on_device"), Exit.USAGE)
    if given and not node.demo:
        raise CommandError(node.say("component_refused", option=option), Exit.USAGE)
    return [component_bytes(node, component_text(value)) for value in given]


def component_text(value: str) -> str:
    if not value.startswith("@"):
        return value
    from pathlib import Path

    try:
        return Path(value[1:]).read_text(encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{value[1:]}: {error.strerror}", Exit.USAGE) from error


def component_bytes(node: Node, text: str, lengths: Sequence[int] = ()) -> bytes:
    """What is typed or written for a component. `lengths`: the bytes it may have."""
    try:
        part = bytes.fromhex("".join(text.split()))
    except ValueError:
        raise CommandError(node.say("component_not_hex")) from None
    if lengths and len(part) not in lengths:
        known = ", ".join(map(str, lengths))
        raise CommandError(node.say("component_length", lengths=known, found=len(part)))
    return part
