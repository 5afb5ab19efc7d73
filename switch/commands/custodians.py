"""Who sits at a ceremony: custodians, each named, each shown to be who he is, none of them twice.

At a terminal they are asked one after the other; what they enter is not shown. A script gives one JSON
object a line and custodian (`--from-fd`): `custodian`, then what the step asks of him: `component` or
`share` with his `check_value`, and `password` and `totp` where he is an operator with a password. Lines are
read as they are needed: who is handed something reads its check value off what was printed, and says it
on a second line of his own (`custodian`, `check_value`).
"""

from __future__ import annotations

import asyncio
import getpass
import os
import sys
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol

import msgspec

from switch.adapters.system import SystemClock
from switch.commands.common import CommandError, Exit, Login, component_bytes, office, print_line
from switch.commands.login import at_terminal, authenticate
from switch.lmk_file import CeremonyLog
from switch.texts import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from hsm.ceremony_log import Facts, Record
    from hsm.keys import Algorithm
    from switch.commands.common import Node

LINE_BYTES_MAX = 1 << 16  # of a script
DIGITS_MIN = 6  # of a check value that is read out
TRIES = 3  # at a terminal
NAME_CHARACTERS_MAX = 64
CLEAR = "\x1b[H\x1b[2J\x1b[3J"  # the screen, and what was scrolled off it


class Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line of the script."""

    custodian: str
    component: str = ""
    share: str = ""
    check_value: str = ""
    password: str = ""
    totp: str = ""

    def __repr__(self) -> str:
        return f"Said({self.custodian!r})"


class Sitting(Protocol):
    """Where custodians say what they have to say."""

    tries: int

    def custodian(self, prompt: str) -> str:
        """The next one's name."""
        ...

    def login(self, name: str) -> AbstractContextManager[Login]:
        """How he shows who he is."""
        ...

    def secret(self, field: str, prompt: str) -> str:
        """His component or share, unseen."""
        ...

    def check_value(self, prompt: str) -> str:
        """What he reads off his paper."""
        ...

    def shown(self, prompt: str) -> None:
        """He has written down what was shown: it goes."""
        ...


class Keyboard:
    """A terminal."""

    tries = TRIES

    def __init__(self, language: str) -> None:
        if not at_terminal():
            raise CommandError(say("not_asked", language, option="--from-fd"), Exit.USAGE)

    def custodian(self, prompt: str) -> str:
        return input(prompt).strip()

    @contextmanager
    def login(self, name: str) -> Iterator[Login]:
        yield Login(operator=name)

    def secret(self, field: str, prompt: str) -> str:
        del field
        return getpass.getpass(prompt)

    def check_value(self, prompt: str) -> str:
        return input(prompt).strip()

    def shown(self, prompt: str) -> None:
        input(prompt)
        sys.stdout.write(CLEAR)
        sys.stdout.flush()


class Script:
    """Lines from a descriptor, each read when it is needed."""

    tries = 1

    def __init__(self, descriptor: int, language: str) -> None:
        self._language = language
        self._descriptor = descriptor
        self._number = 0
        self._read = b""
        self._now = Said("")

    def _wrong(self) -> CommandError:
        return CommandError(say("script_line", self._language, line=self._number), Exit.USAGE)

    def _next(self) -> Said:
        """The next line that is not blank."""
        sys.stdout.flush()  # who writes it may have to read first what was printed
        self._number += 1
        line = b"\n"
        while line and not line.strip():
            line = self._line()
        if not line:
            raise CommandError(say("script_ended", self._language, line=self._number), Exit.USAGE)
        try:
            return msgspec.json.decode(line, type=Said)
        except msgspec.MsgspecError:
            raise self._wrong() from None  # its text may tell what was on the line

    def _line(self) -> bytes:
        """Up to a line feed, the bound, or the end."""
        while b"\n" not in self._read and len(self._read) < LINE_BYTES_MAX:
            try:
                more = os.read(self._descriptor, LINE_BYTES_MAX)
            except OSError as error:
                where = f"--from-fd {self._descriptor}"
                raise CommandError(f"{where}: {error.strerror}", Exit.USAGE) from error
            if not more:
                break
            self._read += more
        line, end, self._read = self._read.partition(b"\n")
        return line + end

    def custodian(self, prompt: str) -> str:
        del prompt
        self._now = self._next()
        return self._now.custodian.strip()

    @contextmanager
    def login(self, name: str) -> Iterator[Login]:
        reading, writing = os.pipe()
        os.write(writing, f"{self._now.password}\n".encode())
        os.close(writing)
        try:
            yield Login(operator=name, password_fd=reading, totp=self._now.totp)
        finally:
            if not self._now.password:  # else whoever read it has closed it
                _close(reading)

    def secret(self, field: str, prompt: str) -> str:
        del prompt
        value: str = getattr(self._now, field)
        if not value:
            raise self._wrong()
        return value

    def check_value(self, prompt: str) -> str:
        del prompt
        said = self._now
        if not (said.check_value or said.component or said.share):  # he was handed something
            said = self._next()
        if not said.check_value or said.custodian.strip() != self._now.custodian.strip():
            raise self._wrong()
        return said.check_value.strip()

    def shown(self, prompt: str) -> None:
        del prompt


def _close(descriptor: int) -> None:
    try:
        os.close(descriptor)
    except OSError:
        return


def check_count(node: Node, components: int) -> None:
    """Before anybody is asked."""
    from hsm.ceremony import COMPONENTS_MAX, COMPONENTS_MIN

    if not COMPONENTS_MIN <= components <= COMPONENTS_MAX:
        text = node.say("components_range", least=COMPONENTS_MIN, most=COMPONENTS_MAX)
        raise CommandError(text, Exit.USAGE)


def sitting(node: Node, from_fd: int | None) -> Sitting:
    return Keyboard(node.language) if from_fd is None else Script(from_fd, node.language)


class Ceremony:
    """One ceremony: who has sat at it, and the lines it has written so far."""

    def __init__(self, node: Node, table: Sitting, lmk_file: Path, dsn: str | None) -> None:
        self.node = node
        self.table = table
        self.log = CeremonyLog(lmk_file, SystemClock().now, node.language)
        self._dsn = dsn
        self._operators = asyncio.run(_operators(dsn)) if dsn and not node.demo else {}
        self._seated: dict[str, set[str]] = {}
        self.last: Record | None = None

    def write(self, act: str, who: str, **facts: str | int | list[str]) -> None:
        kept: Facts = dict(facts)
        self.last = self.log.append(act, who, kept)

    def custodian(self, role: str, number: int, count: int) -> str:
        """The next custodian in this role: named, no one who was in it before, and shown to be himself
        where the store knows operators."""
        node = self.node
        prompt = node.say(f"custodian_{role}", number=number, count=count) + ": "
        for left in reversed(range(self.table.tries)):
            try:
                name = self._named(role, self.table.custodian(prompt))
                self._authenticate(name)
            except CommandError as error:
                if not left:
                    raise
                print_line(str(error))
                continue
            self._seated.setdefault(role, set()).add(name.casefold())
            return name
        raise AssertionError("unreachable")

    def _named(self, role: str, name: str) -> str:
        if not name or len(name) > NAME_CHARACTERS_MAX or not name.isprintable():
            raise CommandError(self.node.say("custodian_unnamed"), Exit.USAGE)
        if name.casefold() in self._seated.get(role, set()):
            raise CommandError(self.node.say("custodian_twice", custodian=name))
        if self._operators and self._operators.get(name) != "active":
            raise CommandError(self.node.say("custodian_unknown", custodian=name))
        return name

    def _authenticate(self, name: str) -> None:
        if not self._operators:
            return
        assert self._dsn is not None
        with self.table.login(name) as login:
            node = msgspec.structs.replace(self.node, login=login)
            asyncio.run(authenticate(node, self._dsn))

    def entered(
        self, custodian: str, field: str, read: Callable[[str], tuple[bytes, str]]
    ) -> bytes:
        """What a custodian enters, agreed with the check value on his own paper.

        `read` takes what was entered apart: the secret and its check value; `VaultError` where it is
        none.
        """
        from hsm.errors import VaultError

        node = self.node
        for left in reversed(range(self.table.tries)):
            try:
                secret, check_value = read(
                    self.table.secret(field, node.say(f"enter_{field}", custodian=custodian) + ": ")
                )
                self.confirm(custodian, check_value)
            except (VaultError, CommandError) as error:
                if not left:
                    raise
                print_line(str(error))
                continue
            return secret
        raise AssertionError("unreachable")

    def components(
        self, count: int, lengths: Sequence[int], algorithm: Algorithm, **facts: str
    ) -> list[bytes]:
        """The components of one key, each of another custodian. `facts`: more for the log's lines."""
        from hsm import ceremony

        def read(typed: str) -> tuple[bytes, str]:
            part = component_bytes(self.node, typed, lengths)
            return part, ceremony.component_check_value(part, algorithm)

        parts: list[bytes] = []
        for number in range(1, count + 1):
            who = self.custodian("component", number, count)
            part = self.entered(who, "component", read)
            if part in parts:
                raise CommandError(self.node.say("component_twice"))
            check_value = ceremony.component_check_value(part, algorithm)
            self.write(
                "component.entered", who, number=number, of=count, check_value=check_value, **facts
            )
            parts.append(part)
        return parts

    def confirm(self, custodian: str, check_value: str) -> None:
        """He reads the check value on his paper; it must be this one."""
        prompt = self.node.say("enter_check_value", custodian=custodian) + ": "
        said = "".join(self.table.check_value(prompt).split()).upper()
        if len(said) < min(DIGITS_MIN, len(check_value)) or not check_value.startswith(said):
            raise CommandError(self.node.say("check_value_differs", custodian=custodian))
        print_line(
            self.node.say("check_value_agreed", custodian=custodian, check_value=check_value)
        )

    def hand_out(self, custodian: str, what: str, check_value: str) -> None:
        """Show a custodian, once, what is his alone; he reads its check value back."""
        print_line(self.node.say("for_custodian", custodian=custodian))
        print_line(f"  {what}")
        print_line(self.node.say("its_check_value", check_value=check_value))
        self.table.shown(self.node.say("written_down", custodian=custodian))
        for left in reversed(range(self.table.tries)):
            try:
                self.confirm(custodian, check_value)
            except CommandError as error:
                if not left:
                    raise
                print_line(str(error))
                continue
            return

    def told(self, act: str, subject: str, after: dict[str, object]) -> None:
        """Into the audit log of the store, where there is one; with the anchor of the ceremony log."""
        if self._dsn is None:
            return
        names = sorted(set().union(*self._seated.values())) if self._seated else []
        actor = self.node.login.operator or (names[0] if names else "custodians")
        anchor = self.last.anchor if self.last else ""

        async def write(dsn: str) -> None:
            async with office(dsn) as desk:
                more = {**after, "custodians": names, "ceremony_log": anchor}
                await desk.people.audit(actor, act, subject, None, more)

        asyncio.run(write(self._dsn))


async def _operators(dsn: str) -> dict[str, str]:
    async with office(dsn) as desk:
        return {each.id: each.state for each in await desk.operators.operators()}
