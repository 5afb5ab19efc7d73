"""One message to one answer: header, command, data in; header, answer code, error code, data out.

Layout of a message: header (a fixed number of bytes for the port, repeated in the answer), command
(2 characters), data, optionally `%` and an LMK id, optionally X'19' and a trailer. The answer's code is the
command's with its second character one up; two characters of error follow it (see `codes`).

Whatever comes in, something goes out: no exception leaves `Dispatcher.answer`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from hsm.errors import VaultError
from hsm.host.codes import HostError, code_of
from hsm.host.fields import TRAILER_BYTES_MAX, Fields
from hsm.host.vault import HostVault

HEADER_BYTES: Final = 4

Function = Callable[[HostVault, Fields], bytes]


class Command(msgspec.Struct, frozen=True):
    """A row of the table of commands. `function` reads every field and calls `Fields.end`."""

    code: str
    function: Function
    title: str  # English
    title_zh: str
    authorised: bool = False  # needs the authorised state


class Counter(msgspec.Struct):
    """What became of one command's calls since start; by error code."""

    calls: int = 0
    errors: dict[str, int] = {}


class Dispatcher:
    """The commands of one port. `allowed` None means all; `failed` is told of what should not happen."""

    def __init__(
        self,
        vault: HostVault,
        commands: Mapping[str, Command],
        *,
        header_bytes: int = HEADER_BYTES,
        allowed: Iterable[str] | None = None,
        failed: Callable[[str, BaseException], None] | None = None,
    ) -> None:
        self.vault = vault
        self._header_bytes = header_bytes
        names = commands if allowed is None else frozenset(allowed)
        self._commands = {
            code.encode(): (command, Counter(), answer_code(code).encode())
            for code, command in commands.items()
            if code in names
        }
        self._failed = failed
        self.unknown = Counter()

    def counters(self) -> dict[str, Counter]:
        """Per command, in the table's order."""
        return {code.decode(): counter for code, (_, counter, _) in self._commands.items()}

    def answer(self, message: bytes) -> bytes | None:
        """The answer, without its length; None where the message has no room for a command."""
        start = self._header_bytes
        code = message[start : start + 2]
        if len(code) < 2:
            return None
        found = self._commands.get(code)
        if found is None:
            self.unknown.calls += 1
            return message[:start] + answer_code(code.decode("latin-1")).encode("latin-1") + b"68"
        command, counter, answer = found
        counter.calls += 1
        fields = Fields(message[start + 2 :])
        try:
            data = run(command, self.vault, fields)
        except HostError as error:
            error_code, data = error.code, error.data
        except VaultError as error:
            error_code, data = code_of(error), b""
        except Exception as error:  # noqa: BLE001 - a peer gets an answer, whatever we did wrong
            if self._failed is not None:
                self._failed(command.code, error)
            error_code, data = "41", b""
        else:
            return message[:start] + answer + b"00" + data + fields.trailer
        counter.errors[error_code] = counter.errors.get(error_code, 0) + 1
        return message[:start] + answer + error_code.encode() + data + trailer_of(fields, message)


def run(command: Command, vault: HostVault, fields: Fields) -> bytes:
    if command.authorised and not vault.authorised:
        raise HostError("17")
    return command.function(vault, fields)


def answer_code(code: str) -> str:
    """The code of the answer to a command.

    >>> answer_code("CA"), answer_code("NO"), answer_code("A9")
    ('CB', 'NP', 'A:')
    """
    return code[0] + chr((ord(code[1]) + 1) & 0xFF)


def trailer_of(fields: Fields, message: bytes) -> bytes:
    """The trailer; of a message whose fields were not read to the end, as far as it can be told."""
    if fields.ended:
        return fields.trailer
    at = message.rfind(b"\x19", -TRAILER_BYTES_MAX - 1)
    trailer = message[at:] if at >= 0 else b""
    return trailer if trailer[1:].isascii() else b""
